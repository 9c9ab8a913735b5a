// SPDX-License-Identifier: Apache-2.0
// Pictures of the phone's screen: 640x480 pixels r5g6b5, text drawn into them, conversion to the board's pixels.
// Pure; who owns a framebuffer is screen.hpp's business. Thread safety: values only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "machine/phone.hpp"

namespace amphion::phoned {

// A row of a framebuffer is 640 pixels, rows are not padded (machine::Screen).
inline constexpr std::size_t picture_pixels = std::size_t{machine::Screen::width} * machine::Screen::height;
using Picture = std::vector<std::uint16_t>;  // picture_pixels of them

// An 8x16 font of 256 glyphs, a byte a row, the leftmost pixel in the highest bit.
struct Font {
  static constexpr std::size_t width = 8;
  static constexpr std::size_t height = 16;
  std::array<std::array<std::uint8_t, height>, 256> glyphs{};
};

// None where the file is no font of this form (toolchain/font.sh).
[[nodiscard]] std::optional<Font> read_font(const std::string& file);

// Lines of text from the upper left corner; what does not fit is cut. Bytes are glyph numbers (ASCII).
[[nodiscard]] Picture draw_text(const Font& font, const std::vector<std::string>& lines);

// How the board's framebuffer stores a pixel: where each colour begins and how many bits it has.
struct PixelFormat {
  struct Colour {
    std::uint32_t offset, length;
  };
  std::uint32_t bytes;  // 2 or 4
  Colour red, green, blue;

  [[nodiscard]] bool valid() const;
};

// One pixel r5g6b5 in the board's format; the highest bits are repeated below so that white stays white.
[[nodiscard]] std::uint32_t convert_pixel(std::uint16_t pixel, const PixelFormat& format);

// One row into `out`, which holds format.bytes for each pixel of `row`.
void convert_row(std::span<const std::uint16_t> row, const PixelFormat& format, std::span<std::uint8_t> out);

}  // namespace amphion::phoned
