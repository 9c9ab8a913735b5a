// SPDX-License-Identifier: Apache-2.0
// The board's own screen: /dev/fb0 by mmap, and the console that would draw over it.
// Opening takes the font of the kernel's console (for notices) and then puts the console into KD_GRAPHICS; closing
// gives it back. Thread safety: one thread. Invariant: only rows that changed since the last picture are written.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "phone-side/phoned/picture.hpp"

namespace amphion::phoned {

class BoardScreen {
 public:
  // Throws std::system_error or std::runtime_error with one line when there is no usable screen.
  BoardScreen(const std::string& framebuffer, const std::string& console);
  ~BoardScreen();
  BoardScreen(const BoardScreen&) = delete;
  BoardScreen& operator=(const BoardScreen&) = delete;

  // `picture` holds picture_pixels; centred, or cut where the board's screen is smaller. True: something had changed.
  bool show(std::span<const std::uint16_t> picture);

  // None: the kernel's console has no 8x16 font.
  [[nodiscard]] const std::optional<Font>& font() const { return font_; }

 private:
  void open_framebuffer(const std::string& file);
  void take_console(const std::string& file);

  int framebuffer_ = -1;
  int console_ = -1;
  std::uint8_t* pixels_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t stride_ = 0;
  std::size_t width_ = 0, height_ = 0;  // of the part that is used
  std::size_t first_ = 0;               // byte offset of the upper left pixel
  PixelFormat format_{};
  std::optional<Font> font_;
  Picture shown_;
  bool blank_ = true;  // `shown_` is not on the screen yet
};

}  // namespace amphion::phoned
