// SPDX-License-Identifier: Apache-2.0
// See front.hpp. Only rows that changed are drawn again. A terminal that is lower than the screen shows the part in which
// the cursor stands.
#include "emulator/front.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <stdexcept>

#include "emulator/panel.hpp"

namespace amphion::emulator {
namespace {

constexpr int frame_ms = 120;
constexpr char front_key = 0x1d;  // Ctrl-]

std::size_t terminal_rows() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 ? size.ws_row : 24;
}

class RawTerminal {
 public:
  RawTerminal() {
    if (isatty(STDIN_FILENO) == 0 || tcgetattr(STDIN_FILENO, &before_) != 0) {
      throw std::runtime_error("the front needs a terminal; without one use: amphion-emulator screen, type, key");
    }
    termios raw = before_;
    cfmakeraw(&raw);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    std::printf("\x1b[?1049h\x1b[?7l\x1b[2J");  // alternate screen; long lines are cut
  }
  ~RawTerminal() {
    std::printf("\x1b[?7h\x1b[?25h\x1b[?1049l");
    std::fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
};

class Front {
 public:
  Front(const Board& board, const Font& font)
      : panel_(open_panel(board, true)), font_(font), hint_(hint(board.describe())) {}

  void loop() {
    while (!done_) {
      pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
      if (poll(&input, 1, frame_ms) > 0) read_keys();
      draw();
    }
  }

 private:
  static std::string hint(const nlohmann::json& description) {
    std::string text = "Ctrl-] 1 / 2: switch   Ctrl-] q: leave";
    if (description.contains("vnc")) text += "   picture: VNC at " + description["vnc"].get<std::string>();
    return text;
  }

  void read_keys() {
    std::array<char, 256> chunk{};
    const ssize_t got = read(STDIN_FILENO, chunk.data(), chunk.size());
    if (got <= 0) {
      done_ = true;
      return;
    }
    for (ssize_t i = 0; i < got && !done_; ++i) take(chunk[static_cast<std::size_t>(i)]);
    for (const Combination& keys : take_terminal_keys(typed_)) panel_->press(keys);
  }

  void take(char character) {
    if (!own_) {
      own_ = character == front_key;
      if (!own_) typed_ += character;
      return;
    }
    own_ = false;
    if (character == 'q') done_ = true;
    if (character >= '1' && character <= '9') panel_->press({"alt", std::string("f") + character});
    if (character == front_key) panel_->press({"ctrl", "bracket_right"});
  }

  void draw() {
    const Picture picture = panel_->look();
    std::vector<std::string> rows = read_text(picture, font_);
    if (const auto cursor = find_cursor(picture, font_)) cursor_ = *cursor;  // it blinks
    const std::size_t height = std::min(terminal_rows() - 1, rows.size());
    const std::size_t first = cursor_.row < height ? 0 : std::min(cursor_.row + 1, rows.size()) - height;
    rows = {rows.begin() + static_cast<std::ptrdiff_t>(first),
            rows.begin() + static_cast<std::ptrdiff_t>(first + height)};
    rows.push_back("\x1b[7m " + hint_ + " \x1b[0m");
    if (shown_.size() != rows.size()) {
      std::printf("\x1b[2J");
      shown_.assign(rows.size(), {});
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i] == shown_[i]) continue;
      std::printf("\x1b[%zu;1H\x1b[2K%s", i + 1, rows[i].c_str());
      shown_[i] = rows[i];
    }
    std::printf("\x1b[%zu;%zuH", cursor_.row - first + 1, cursor_.column + 1);
    std::fflush(stdout);
  }

  std::unique_ptr<Panel> panel_;
  const Font& font_;
  std::string hint_;
  std::string typed_;
  std::vector<std::string> shown_;
  Cell cursor_{};
  bool own_ = false;
  bool done_ = false;
};

}  // namespace

void run_front(const Board& board, const Font& font) {
  Front front(board, font);
  RawTerminal terminal;
  front.loop();
}

}  // namespace amphion::emulator
