// SPDX-License-Identifier: Apache-2.0
// Text and pixels; see picture.hpp.
#include "phone-side/phoned/picture.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>

namespace amphion::phoned {
namespace {

constexpr std::uint16_t paper = 0x0000;
constexpr std::uint16_t ink = 0xad55;  // the grey of a Linux console

void draw_glyph(const Font& font, std::uint8_t glyph, std::size_t x, std::size_t y, Picture& picture) {
  for (std::size_t row = 0; row < Font::height; ++row) {
    std::uint16_t* to = &picture[(y + row) * machine::Screen::width + x];
    for (std::size_t bit = 0; bit < Font::width; ++bit) {
      to[bit] = (font.glyphs[glyph][row] & (0x80u >> bit)) != 0 ? ink : paper;
    }
  }
}

// `value` of `from` bits in `to` bits.
std::uint32_t widen(std::uint32_t value, std::uint32_t from, std::uint32_t to) {
  if (to <= from) return value >> (from - to);
  return (value << (to - from)) | (value >> (2 * from - std::min(to, 2 * from)));
}

}  // namespace

std::optional<Font> read_font(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  Font font;
  for (auto& glyph : font.glyphs) in.read(reinterpret_cast<char*>(glyph.data()), glyph.size());
  if (!in || in.peek() != std::ifstream::traits_type::eof()) return std::nullopt;
  return font;
}

Picture draw_text(const Font& font, const std::vector<std::string>& lines) {
  constexpr std::size_t columns = machine::Screen::width / Font::width;
  constexpr std::size_t rows = machine::Screen::height / Font::height;
  Picture picture(picture_pixels, paper);
  for (std::size_t row = 0; row < std::min(rows, lines.size()); ++row) {
    for (std::size_t column = 0; column < std::min(columns, lines[row].size()); ++column) {
      const auto glyph = static_cast<std::uint8_t>(lines[row][column]);
      draw_glyph(font, glyph, column * Font::width, row * Font::height, picture);
    }
  }
  return picture;
}

bool PixelFormat::valid() const {
  const auto fits = [&](const Colour& colour) {
    return colour.length >= 1 && colour.length <= 8 && colour.offset + colour.length <= bytes * 8;
  };
  return (bytes == 2 || bytes == 4) && fits(red) && fits(green) && fits(blue);
}

std::uint32_t convert_pixel(std::uint16_t pixel, const PixelFormat& format) {
  const std::uint32_t red = pixel >> 11;
  const std::uint32_t green = (pixel >> 5) & 0x3fu;
  const std::uint32_t blue = pixel & 0x1fu;
  return widen(red, 5, format.red.length) << format.red.offset |
         widen(green, 6, format.green.length) << format.green.offset |
         widen(blue, 5, format.blue.length) << format.blue.offset;
}

void convert_row(std::span<const std::uint16_t> row, const PixelFormat& format, std::span<std::uint8_t> out) {
  std::uint16_t last = 0;
  std::uint32_t converted = convert_pixel(last, format);
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i] != last) {
      last = row[i];
      converted = convert_pixel(last, format);
    }
    std::memcpy(out.data() + i * format.bytes, &converted, format.bytes);  // both little endian
  }
}

}  // namespace amphion::phoned
