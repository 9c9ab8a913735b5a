// SPDX-License-Identifier: Apache-2.0
// Reads a text console's picture back as text, by comparing its 8x16 cells with the console's font.
// Thread safety: Font is constant after construction; read_text is pure.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace amphion::emulator {

struct Picture {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::vector<std::uint32_t> pixels;  // 0xRRGGBB, row by row
};

// A binary PPM (P6, 8 bits), as QEMU's screendump writes it. Throws std::runtime_error.
[[nodiscard]] Picture read_ppm(const std::string& path);

class Font {
 public:
  using Glyph = std::array<std::uint8_t, 16>;

  // 256 glyphs of 16 bytes in code page 437 (toolchain/font.sh). Throws std::runtime_error.
  explicit Font(const std::string& path);

  // UTF-8 of the character; empty if no glyph looks like this. A cursor may hide the lowest two lines.
  [[nodiscard]] std::string find(const Glyph& glyph) const;
  [[nodiscard]] bool under_cursor(const Glyph& glyph) const;

 private:
  std::map<Glyph, std::string> whole_;
  std::map<Glyph, std::string> above_cursor_;  // lowest two lines cleared
};

// One string a row, without blanks at the end; a cell that is no character reads as U+FFFD.
[[nodiscard]] std::vector<std::string> read_text(const Picture& picture, const Font& font);

struct Cell {
  std::size_t row, column;
};
// Where the cursor stands; nothing while it blinks, or where there is none.
[[nodiscard]] std::optional<Cell> find_cursor(const Picture& picture, const Font& font);

}  // namespace amphion::emulator
