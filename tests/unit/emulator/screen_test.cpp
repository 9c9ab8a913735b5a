// SPDX-License-Identifier: Apache-2.0
// Screens drawn with a made-up font are read back, cursor and inversion included; damaged pictures are refused.
#include "emulator/screen.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string_view>

namespace amphion::emulator {
namespace {

// Glyph n: its number in line 3 (bits), a bar in line 8 unless it is the blank; the left column and the top stay clear.
Font::Glyph glyph_of(unsigned char code) {
  Font::Glyph glyph{};
  if (code == ' ' || code == 0) return glyph;
  glyph[3] = static_cast<std::uint8_t>(code & 0x7f);
  glyph[4] = static_cast<std::uint8_t>(code >> 7);
  glyph[8] = 0x7e;
  return glyph;
}

class Screen : public testing::Test {
 protected:
  Screen() {
    const auto name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ =
        std::filesystem::temp_directory_path() / ("amphion-screen-" + std::string(name) + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
    std::ofstream file(path("font"), std::ios::binary);
    for (int code = 0; code < 256; ++code) {
      const auto glyph = glyph_of(static_cast<unsigned char>(code));
      file.write(reinterpret_cast<const char*>(glyph.data()), glyph.size());
    }
  }
  ~Screen() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path(const char* name) const { return (folder_ / name).string(); }

  static Picture draw(std::string_view text, std::uint32_t ink, std::uint32_t paper) {
    Picture picture{.width = static_cast<std::uint32_t>(text.size()) * 8, .height = 16, .pixels = {}};
    picture.pixels.assign(std::size_t{picture.width} * 16, paper);
    for (std::uint32_t i = 0; i < text.size(); ++i) {
      const auto glyph = glyph_of(static_cast<unsigned char>(text[i]));
      for (std::uint32_t y = 0; y < 16; ++y) {
        for (std::uint32_t x = 0; x < 8; ++x) {
          if ((glyph[y] >> (7 - x)) & 1) picture.pixels[y * picture.width + i * 8 + x] = ink;
        }
      }
    }
    return picture;
  }

  std::filesystem::path folder_;
};

TEST_F(Screen, TextIsReadBack) {
  const Font font(path("font"));
  EXPECT_EQ(read_text(draw("root@work:~# ", 0xaaaaaa, 0), font), std::vector<std::string>{"root@work:~#"});
  EXPECT_EQ(read_text(draw("bright", 0xffffff, 0x0000aa), font), std::vector<std::string>{"bright"});
}

TEST_F(Screen, ACursorUnderACharacterHidesNothing) {
  Picture picture = draw("ab ", 0xaaaaaa, 0);
  for (std::uint32_t y = 14; y < 16; ++y) {
    for (std::uint32_t x = 8; x < 24; ++x) picture.pixels[y * picture.width + x] = 0xaaaaaa;
  }
  const Font font(path("font"));
  EXPECT_EQ(read_text(picture, font), std::vector<std::string>{"ab"});
  const auto cursor = find_cursor(picture, font);
  ASSERT_TRUE(cursor);
  EXPECT_EQ(cursor->row, 0u);
  EXPECT_EQ(cursor->column, 1u);
  EXPECT_FALSE(find_cursor(draw("ab_ ", 0xaaaaaa, 0), font));
}

TEST_F(Screen, WhatIsNoCharacterIsMarked) {
  Picture picture = draw("a", 0xaaaaaa, 0);
  picture.pixels[1 * picture.width + 3] = 0xaaaaaa;
  EXPECT_EQ(read_text(picture, Font(path("font"))), std::vector<std::string>{"\xef\xbf\xbd"});
}

TEST_F(Screen, AShortFontIsRefused) {
  std::ofstream(path("short")) << "too short";
  EXPECT_THROW(Font(path("short")), std::runtime_error);
}

TEST_F(Screen, DamagedPicturesAreRefused) {
  for (const char* text :
       {"", "P5 1 1 255\nabc", "P6 0 1 255\n", "P6 99999 1 255\n", "P6 2 2 255\nabc", "P6 1 1 65535\nabcdef"}) {
    std::ofstream(path("picture")) << text;
    EXPECT_THROW((void)read_ppm(path("picture")), std::runtime_error) << text;
  }
  std::ofstream(path("picture")) << "P6 1 1 255\n\x01\x02\x03";
  EXPECT_EQ(read_ppm(path("picture")).pixels.at(0), 0x010203u);
}

}  // namespace
}  // namespace amphion::emulator
