// SPDX-License-Identifier: Apache-2.0
// fbdev and console ioctls; see board_screen.hpp.
#include "phone-side/phoned/board_screen.hpp"

#include <fcntl.h>
#include <linux/fb.h>
#include <linux/kd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace amphion::phoned {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

// The kernel hands out 32 bytes a glyph, whatever its height.
std::optional<Font> console_font(int console) {
  constexpr std::size_t glyph_bytes = 32;
  std::array<std::uint8_t, 512 * glyph_bytes> data{};
  console_font_op request{};
  request.op = KD_FONT_OP_GET;
  request.width = 32;
  request.height = 32;
  request.charcount = 512;
  request.data = data.data();
  if (ioctl(console, KDFONTOP, &request) != 0) return std::nullopt;
  if (request.width != Font::width || request.height != Font::height || request.charcount < 256) return std::nullopt;
  Font font;
  for (std::size_t glyph = 0; glyph < font.glyphs.size(); ++glyph) {
    std::memcpy(font.glyphs[glyph].data(), &data[glyph * glyph_bytes], Font::height);
  }
  return font;
}

}  // namespace

BoardScreen::BoardScreen(const std::string& framebuffer, const std::string& console) : shown_(picture_pixels) {
  try {
    open_framebuffer(framebuffer);
    take_console(console);
  } catch (...) {
    if (framebuffer_ >= 0) close(framebuffer_);
    throw;
  }
}

BoardScreen::~BoardScreen() {
  munmap(pixels_, bytes_);
  close(framebuffer_);
  if (console_ < 0) return;
  ioctl(console_, KDSETMODE, KD_TEXT);
  close(console_);
}

void BoardScreen::open_framebuffer(const std::string& file) {
  framebuffer_ = open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (framebuffer_ < 0) fail(file);
  fb_var_screeninfo variable{};
  fb_fix_screeninfo fixed{};
  if (ioctl(framebuffer_, FBIOGET_VSCREENINFO, &variable) != 0) fail(file);
  if (ioctl(framebuffer_, FBIOGET_FSCREENINFO, &fixed) != 0) fail(file);
  format_ = {variable.bits_per_pixel / 8,
             {variable.red.offset, variable.red.length},
             {variable.green.offset, variable.green.length},
             {variable.blue.offset, variable.blue.length}};
  if (!format_.valid())
    throw std::runtime_error(file + ": its pixels are neither 16 nor 32 bits of red, green and blue");
  stride_ = fixed.line_length;
  bytes_ = fixed.smem_len;
  width_ = std::min<std::size_t>(variable.xres, machine::Screen::width);
  height_ = std::min<std::size_t>(variable.yres, machine::Screen::height);
  first_ = (variable.yres - height_) / 2 * stride_ + (variable.xres - width_) / 2 * format_.bytes;
  if (height_ == 0 || first_ + (height_ - 1) * stride_ + width_ * format_.bytes > bytes_) {
    throw std::runtime_error(file + ": its memory is smaller than its picture");
  }
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, framebuffer_, 0);
  if (memory == MAP_FAILED) fail(file);
  pixels_ = static_cast<std::uint8_t*>(memory);
}

// The console takes over the screen with its first character; only then it has a font, and only in text mode (which a
// phoned that was killed did not give back).
void BoardScreen::take_console(const std::string& file) {
  console_ = open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (console_ < 0) return;
  ioctl(console_, KDSETMODE, KD_TEXT);
  [[maybe_unused]] const auto written = write(console_, "\r\n", 2);
  font_ = console_font(console_);
  ioctl(console_, KDSETMODE, KD_GRAPHICS);
}

bool BoardScreen::show(std::span<const std::uint16_t> picture) {
  bool changed = false;
  for (std::size_t y = 0; y < height_; ++y) {
    const auto row = picture.subspan(y * machine::Screen::width, width_);
    std::uint16_t* before = &shown_[y * machine::Screen::width];
    if (!blank_ && std::memcmp(before, row.data(), row.size_bytes()) == 0) continue;
    std::memcpy(before, row.data(), row.size_bytes());
    convert_row({before, width_}, format_, {pixels_ + first_ + y * stride_, width_ * format_.bytes});
    changed = true;
  }
  blank_ = false;
  return changed;
}

}  // namespace amphion::phoned
