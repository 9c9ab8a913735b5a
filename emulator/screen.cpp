// SPDX-License-Identifier: Apache-2.0
// See screen.hpp.
#include "emulator/screen.hpp"

#include <fstream>
#include <stdexcept>
#include <string_view>

namespace amphion::emulator {
namespace {

constexpr std::uint32_t cell_width = 8;
constexpr std::uint32_t cell_height = 16;
constexpr std::uint32_t side_limit = 8192;

// Code page 437 from 0x80 on, and what stands for 0x01..0x1f.
constexpr std::u32string_view high_half =
    U"ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡"
    U"±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";
constexpr std::u32string_view low_controls = U" ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
static_assert(high_half.size() == 128 && low_controls.size() == 32);

std::string utf8(char32_t code) {
  std::string out;
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xe0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
  return out;
}

char32_t code_of(std::size_t index) {
  if (index < 32) return low_controls[index];
  if (index >= 128) return high_half[index - 128];
  return index == 127 ? U'⌂' : static_cast<char32_t>(index);
}

Font::Glyph without_cursor_lines(Font::Glyph glyph) {
  glyph[14] = glyph[15] = 0;
  return glyph;
}

Font::Glyph inverted(Font::Glyph glyph) {
  for (std::uint8_t& line : glyph) line = static_cast<std::uint8_t>(~line);
  return glyph;
}

// Bits are set where the pixel differs from the cell's first pixel: right or exactly inverted.
Font::Glyph cut(const Picture& picture, std::uint32_t left, std::uint32_t top) {
  Font::Glyph glyph{};
  const std::uint32_t first = picture.pixels[std::size_t{top} * picture.width + left];
  for (std::uint32_t y = 0; y < cell_height; ++y) {
    const std::size_t row = std::size_t{top + y} * picture.width + left;
    for (std::uint32_t x = 0; x < cell_width; ++x) {
      if (picture.pixels[row + x] != first) glyph[y] = static_cast<std::uint8_t>(glyph[y] | (0x80u >> x));
    }
  }
  return glyph;
}

std::string read_cell(const Picture& picture, std::uint32_t left, std::uint32_t top, const Font& font) {
  const Font::Glyph glyph = cut(picture, left, top);
  if (glyph == Font::Glyph{}) return " ";
  if (auto text = font.find(glyph); !text.empty()) return text;
  if (auto text = font.find(inverted(glyph)); !text.empty()) return text;
  return "\xef\xbf\xbd";
}

}  // namespace

Picture read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  std::uint32_t maximum = 0;
  Picture picture;
  file >> magic >> picture.width >> picture.height >> maximum;
  file.get();
  if (!file || magic != "P6" || maximum != 255 || picture.width == 0 || picture.height == 0 ||
      picture.width > side_limit || picture.height > side_limit) {
    throw std::runtime_error(path + " is not a picture in PPM form");
  }
  std::vector<unsigned char> bytes(std::size_t{picture.width} * picture.height * 3);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw std::runtime_error(path + " is cut short");
  picture.pixels.resize(std::size_t{picture.width} * picture.height);
  for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
    picture.pixels[i] = static_cast<std::uint32_t>((bytes[3 * i] << 16) | (bytes[3 * i + 1] << 8) | bytes[3 * i + 2]);
  }
  return picture;
}

Font::Font(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  for (std::size_t i = 0; i < 256; ++i) {
    Glyph glyph{};
    file.read(reinterpret_cast<char*>(glyph.data()), glyph.size());
    if (!file) throw std::runtime_error("no console font in " + path + ": run toolchain/font.sh");
    const std::string text = utf8(code_of(i));
    // The plain characters win where two glyphs look alike.
    const bool plain = i >= 32 && i < 127;
    if (plain || !whole_.contains(glyph)) whole_[glyph] = text;
    const Glyph upper = without_cursor_lines(glyph);
    if (plain || !above_cursor_.contains(upper)) above_cursor_[upper] = text;
  }
}

bool Font::under_cursor(const Glyph& glyph) const {
  return glyph[14] == 0xff && glyph[15] == 0xff && !whole_.contains(glyph) &&
         above_cursor_.contains(without_cursor_lines(glyph));
}

std::string Font::find(const Glyph& glyph) const {
  if (const auto exact = whole_.find(glyph); exact != whole_.end()) return exact->second;
  if (glyph[14] != 0xff || glyph[15] != 0xff) return {};
  const auto hidden = above_cursor_.find(without_cursor_lines(glyph));
  return hidden == above_cursor_.end() ? std::string{} : hidden->second;
}

std::vector<std::string> read_text(const Picture& picture, const Font& font) {
  std::vector<std::string> rows;
  for (std::uint32_t top = 0; top + cell_height <= picture.height; top += cell_height) {
    std::string row;
    for (std::uint32_t left = 0; left + cell_width <= picture.width; left += cell_width) {
      row += read_cell(picture, left, top, font);
    }
    row.erase(row.find_last_not_of(' ') + 1);
    rows.push_back(row);
  }
  return rows;
}

std::optional<Cell> find_cursor(const Picture& picture, const Font& font) {
  for (std::uint32_t top = 0; top + cell_height <= picture.height; top += cell_height) {
    for (std::uint32_t left = 0; left + cell_width <= picture.width; left += cell_width) {
      if (font.under_cursor(cut(picture, left, top))) return Cell{top / cell_height, left / cell_width};
    }
  }
  return {};
}

}  // namespace amphion::emulator
