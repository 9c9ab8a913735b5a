// SPDX-License-Identifier: Apache-2.0
// amphion-emulator: starts and stops the emulated phone, types on its keyboard, reads its screen. See README.md.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <thread>

#include "emulator/board.hpp"
#include "emulator/front.hpp"
#include "emulator/panel.hpp"

namespace amphion::emulator {
namespace {

struct Arguments {
  std::string state = "build/phone-state";
  std::string font;
  BoardOptions board;
  std::uint16_t vnc = 0;
  std::string text, combination, png, ppm;
  std::string saved, write_log;
  std::uint32_t gap_ms = 5;
  std::uint32_t seconds = 30;
  bool in_serial = false;
  bool json = false;
};

std::string default_font() {
  const char* cache = std::getenv("AMPHION_CACHE");
  const char* home = std::getenv("HOME");
  const std::string base = cache != nullptr ? cache : std::string(home != nullptr ? home : "") + "/.cache/amphion";
  return base + "/rootfs/font-8x16";
}

std::string screen_text(const Board& board, const Font& font) {
  std::string text;
  for (const std::string& row : read_text(open_panel(board)->look(), font)) text += row + "\n";
  text.erase(text.find_last_not_of('\n') + 1);
  return text + "\n";
}

void show_screen(const Board& board, const Arguments& arguments) {
  if (arguments.png.empty() && arguments.ppm.empty()) {
    std::cout << screen_text(board, Font(arguments.font));
    return;
  }
  const auto panel = open_panel(board);
  if (!arguments.png.empty()) panel->save(arguments.png, "png");
  if (!arguments.ppm.empty()) panel->save(arguments.ppm, "ppm");
}

std::string serial_text(const Board& board) {
  std::ifstream file(board.path("serial.log"), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void wait_for_text(const Board& board, const Arguments& arguments) {
  const Font font(arguments.font);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(arguments.seconds);
  while (true) {
    const std::string seen = arguments.in_serial ? serial_text(board) : screen_text(board, font);
    if (seen.find(arguments.text) != std::string::npos) return;
    if (!board.running())
      throw std::runtime_error("the emulated phone ended before \"" + arguments.text + "\" appeared");
    if (std::chrono::steady_clock::now() > end) {
      throw std::runtime_error("\"" + arguments.text + "\" did not appear in " + std::to_string(arguments.seconds) +
                               " s");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

void show_status(const Board& board, const Arguments& arguments) {
  const auto description = board.describe();
  if (arguments.json) {
    std::cout << description.dump() << "\n";
  } else if (description["running"].get<bool>()) {
    std::cout << "running, process " << description["pid"] << ", control port " << description["control_port"] << "\n";
  } else {
    std::cout << "not running\n";
  }
}

void press_named(const Board& board, const std::string& text) {
  const auto keys = parse_combination(text);
  if (!keys) throw std::runtime_error("\"" + text + "\" is no key combination; write for instance alt-f2 or ret");
  open_panel(board)->press(*keys);
}

void add_start(CLI::App& app, Arguments& arguments, std::function<void()>& action) {
  auto* start = app.add_subcommand("start", "start the emulated phone");
  start->add_option("--board", arguments.board.board, "qemu-virt, or orangepi-pc, which boots from an SD card")
      ->capture_default_str();
  start->add_option("--bundle", arguments.board.bundle, "what qemu-virt loads (board/qemu-virt/bundle.sh)");
  start->add_option("--data", arguments.board.data, "image of its data disk; orangepi-pc: of its SD card")->required();
  start->add_option("--pki", arguments.board.pki, "orangepi-pc: folder of the owner's certificate, to see the screen");
  auto* cpus = start->add_option("--cpus", arguments.board.cpus, "CPUs");
  cpus->check(CLI::Range(1, 4))->capture_default_str();
  auto* memory = start->add_option("--memory", arguments.board.memory_mib, "RAM in MiB");
  memory->check(CLI::Range(512, 3072))->capture_default_str();
  auto* port = start->add_option("--control-port", arguments.board.control_port, "loopback port of phoned");
  port->capture_default_str();
  auto* from = start->add_option("--from", arguments.saved, "go on from a saved phone; makes the data disk's image");
  from->excludes(cpus, memory, port);
  start->add_option("--write-log", arguments.write_log, "list the data disk's writes and flushes in a file");
  auto* vnc = start->add_option("--vnc", arguments.vnc, "also show the picture at VNC display N on the loopback");
  start->add_option("--qemu", arguments.board.qemu, "the QEMU to run")->capture_default_str();
  start->callback([&, vnc, cpus] {
    if (vnc->count() != 0) arguments.board.vnc_display = arguments.vnc;
    if (arguments.board.board == card_board && cpus->count() == 0) arguments.board.cpus = 4;
    if (!arguments.write_log.empty()) arguments.board.write_log = arguments.write_log;
    action = [&] {
      const Board board(arguments.state);
      if (arguments.saved.empty()) return board.start(arguments.board);
      board.start_from(arguments.saved, arguments.board);
    };
  });
  auto* save = app.add_subcommand("save", "freeze it into a folder, from which start --from goes on, and end it");
  save->add_option("folder", arguments.saved, "is made")->required();
  save->callback([&] { action = [&] { Board(arguments.state).save(arguments.saved); }; });
}

void add_power(CLI::App& app, Arguments& arguments, std::function<void()>& action) {
  auto* stop = app.add_subcommand("stop", "press the power key and wait for the orderly end");
  stop->add_option("--seconds", arguments.seconds, "limit, then the plug is pulled")->capture_default_str();
  stop->callback([&] {
    action = [&] {
      if (!Board(arguments.state).stop(std::chrono::seconds(arguments.seconds))) {
        throw std::runtime_error("the phone did not end by itself; its power was cut");
      }
    };
  });
  app.add_subcommand("power-off", "cut the power")->callback([&] {
    action = [&] { Board(arguments.state).power_off(); };
  });
  auto* status = app.add_subcommand("status", "tell whether it runs");
  status->add_flag("--json", arguments.json, "as JSON");
  status->callback([&] { action = [&] { show_status(Board(arguments.state), arguments); }; });
}

void add_keyboard(CLI::App& app, Arguments& arguments, std::function<void()>& action) {
  auto* type = app.add_subcommand("type", "type a text on its keyboard (\\n is Enter when given by the shell)");
  type->add_option("text", arguments.text, "ASCII")->required();
  type->add_option("--gap-ms", arguments.gap_ms, "time between two keys")->capture_default_str();
  type->callback([&] {
    action = [&] {
      const auto panel = open_panel(Board(arguments.state));
      type_text(*panel, arguments.text, std::chrono::milliseconds(arguments.gap_ms));
    };
  });
  auto* key = app.add_subcommand("key", "press a combination, for instance alt-f2, ctrl-c, ret");
  key->add_option("combination", arguments.combination, "QEMU key names joined by -")->required();
  key->callback([&] { action = [&] { press_named(Board(arguments.state), arguments.combination); }; });
}

void add_screen(CLI::App& app, Arguments& arguments, std::function<void()>& action) {
  auto* screen = app.add_subcommand("screen", "show its screen as text");
  screen->add_option("--png", arguments.png, "write the picture instead");
  screen->add_option("--ppm", arguments.ppm, "write the picture instead");
  screen->callback([&] { action = [&] { show_screen(Board(arguments.state), arguments); }; });
  auto* wait = app.add_subcommand("wait", "wait until a text is on its screen");
  wait->add_option("text", arguments.text, "what to wait for")->required();
  wait->add_option("--seconds", arguments.seconds, "limit")->capture_default_str();
  wait->add_flag("--serial", arguments.in_serial, "look in the log of its serial console instead");
  wait->callback([&] { action = [&] { wait_for_text(Board(arguments.state), arguments); }; });
  app.add_subcommand("front", "use it from this terminal; Ctrl-] q leaves")->callback([&] {
    action = [&] { run_front(Board(arguments.state), Font(arguments.font)); };
  });
}

}  // namespace
}  // namespace amphion::emulator

int main(int argc, char** argv) {
  using namespace amphion::emulator;
  Arguments arguments;
  arguments.font = default_font();
  std::function<void()> action;
  CLI::App app{"The emulated phone: a board with Cortex-A7 CPUs in QEMU that starts in HYP mode."};
  app.require_subcommand(1);
  app.add_option("--state", arguments.state, "its state folder")->capture_default_str();
  app.add_option("--font", arguments.font, "the console's font, to read screens with");
  add_start(app, arguments, action);
  add_power(app, arguments, action);
  add_keyboard(app, arguments, action);
  add_screen(app, arguments, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    action();
  } catch (const std::exception& error) {
    std::cerr << "amphion-emulator: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
