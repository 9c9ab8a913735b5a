// SPDX-License-Identifier: Apache-2.0
// See panel.hpp.
#include "emulator/panel.hpp"

#include <filesystem>
#include <stdexcept>
#include <thread>
#include <vector>

#include "emulator/machine.hpp"
#include "phone-side/cli/screen.hpp"

namespace amphion::emulator {
namespace {

using std::chrono::milliseconds;

constexpr int tries = 500;
constexpr milliseconds between_tries{10};

void send_key(Qmp& qmp, const std::string& name, bool down) {
  const nlohmann::json key{{"type", "qcode"}, {"data", name}};
  const nlohmann::json event{{"type", "key"}, {"data", {{"down", down}, {"key", key}}}};
  qmp.execute("input-send-event", {{"events", nlohmann::json::array({event})}});
}

void send_keys(Qmp& qmp, const Combination& keys) {
  std::vector<std::string> held;
  const auto release = [&] {
    for (; !held.empty(); held.pop_back()) send_key(qmp, held.back(), false);
  };
  try {
    for (const std::string& key : keys) {
      send_key(qmp, key, true);
      held.push_back(key);
    }
  } catch (const std::exception&) {
    release();  // a name that QEMU does not know leaves no key down
    throw;
  }
  release();
}

// A display that QEMU shows, and a virtio keyboard whose queue QEMU tells of.
class DisplayPanel final : public Panel {
 public:
  DisplayPanel(const std::string& socket, std::string scratch) : qmp_(socket), scratch_(std::move(scratch)) {}

  void press(const Combination& keys) override {
    wait_for_buffers();
    send_keys(qmp_, keys);
  }
  Picture look() override {
    save(scratch_, "ppm");
    return read_ppm(scratch_);
  }
  void save(const std::string& file, const std::string& format) override {
    qmp_.execute("screendump", {{"filename", std::filesystem::absolute(file).string()}, {"format", format}});
  }

 private:
  // Buffers that the phone's keyboard driver has left for events. QEMU without this query answers with an error.
  std::uint16_t free_buffers() {
    const auto element = qmp_.execute("x-query-virtio-queue-element", {{"path", keyboard_path}, {"queue", 0}});
    const auto offered = element.at("avail").at("idx").get<std::uint16_t>();
    const auto filled = element.at("used").at("idx").get<std::uint16_t>();
    return static_cast<std::uint16_t>(offered - filled);
  }
  void wait_for_buffers() {
    constexpr std::uint16_t enough = 32;  // of 64; one press of three keys takes 12
    for (int i = 0; i < tries; ++i) {
      try {
        if (free_buffers() >= enough) return;
      } catch (const std::exception&) {
        // Its driver is not there yet: wait, as for a full queue.
      }
      std::this_thread::sleep_for(between_tries);
    }
    throw std::runtime_error("the phone takes no keys: its keyboard queue stays full, or it has not started yet");
  }

  Qmp qmp_;
  std::string scratch_;
};

// No display, and a USB keyboard that keeps 16 events and tells nobody: phoned counts the keys that it has taken.
class OwnersPanel final : public Panel {
 public:
  OwnersPanel(const std::string& socket, const cli::Target& phone) : qmp_(socket), phone_(cli::connect(phone)) {
    seen_ = sent_ = taken();
  }

  void press(const Combination& keys) override {
    constexpr std::uint64_t room = 8;  // another client may have left some, too
    const std::uint64_t events = 2 * keys.size();
    for (int i = 0; sent_ + events > seen_ + room; ++i) {
      if (i == tries) throw std::runtime_error("the phone takes no keys; has its keyboard driver started?");
      std::this_thread::sleep_for(between_tries);
      seen_ = taken();
    }
    send_keys(qmp_, keys);
    sent_ += events;
  }
  Picture look() override {
    constexpr phoned::PixelFormat rgb{.bytes = 4, .red = {16, 8}, .green = {8, 8}, .blue = {0, 8}};
    Picture picture{.width = machine::Screen::width, .height = machine::Screen::height, .pixels = {}};
    for (const std::uint16_t pixel : cli::look(phone_)) picture.pixels.push_back(phoned::convert_pixel(pixel, rgb));
    return picture;
  }
  void save(const std::string& file, const std::string& format) override {
    if (format != "ppm") throw std::runtime_error("QEMU shows no screen of this board: only --ppm can be written");
    cli::write_ppm(cli::look(phone_), file);
  }

 private:
  std::uint64_t taken() {
    return phone_.ask(phoned::to_json({phoned::Operation::keys, {}})).at("keys").get<std::uint64_t>();
  }

  Qmp qmp_;
  cli::Client phone_;
  std::uint64_t seen_ = 0;
  std::uint64_t sent_ = 0;
};

}  // namespace

std::unique_ptr<Panel> open_panel(const Board& board, bool front) {
  const std::string socket = board.path(front ? "front.sock" : "qmp.sock");
  const nlohmann::json record = board.describe();
  if (record.value("board", development_board) != card_board) {
    return std::make_unique<DisplayPanel>(socket, board.path(front ? "front.ppm" : "screen.ppm"));
  }
  const std::string port = std::to_string(record.at("control_port").get<int>());
  return std::make_unique<OwnersPanel>(socket, cli::Target{"127.0.0.1:" + port, record.at("pki")});
}

void type_text(Panel& panel, const std::string& text, milliseconds gap) {
  std::vector<Combination> presses;
  for (const char character : text) {
    const auto keys = combination_of(character);
    if (!keys) throw std::runtime_error("only ASCII can be typed on the emulated keyboard");
    presses.push_back(*keys);
  }
  for (const Combination& keys : presses) {
    panel.press(keys);
    std::this_thread::sleep_for(gap);
  }
}

}  // namespace amphion::emulator
