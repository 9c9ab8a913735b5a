// SPDX-License-Identifier: Apache-2.0
// Pixels and text.
#include "phone-side/phoned/picture.hpp"

#include <gtest/gtest.h>

namespace amphion::phoned {
namespace {

constexpr PixelFormat xrgb{4, {16, 8}, {8, 8}, {0, 8}};
constexpr PixelFormat r5g6b5{2, {11, 5}, {5, 6}, {0, 5}};

TEST(Picture, ConvertsColours) {
  EXPECT_EQ(convert_pixel(0xffff, xrgb), 0x00ffffffu);
  EXPECT_EQ(convert_pixel(0x0000, xrgb), 0u);
  EXPECT_EQ(convert_pixel(0xf800, xrgb), 0x00ff0000u);
  EXPECT_EQ(convert_pixel(0x07e0, xrgb), 0x0000ff00u);
  EXPECT_EQ(convert_pixel(0x001f, xrgb), 0x000000ffu);
  for (const std::uint16_t pixel : std::initializer_list<std::uint16_t>{0x1234, 0xabcd, 0xffff})
    EXPECT_EQ(convert_pixel(pixel, r5g6b5), pixel);
}

TEST(Picture, ConvertsRows) {
  const std::vector<std::uint16_t> row{0, 0xffff, 0xffff, 0xf800};
  std::vector<std::uint8_t> out(16);
  convert_row(row, xrgb, out);
  EXPECT_EQ(out, (std::vector<std::uint8_t>{0, 0, 0, 0, 255, 255, 255, 0, 255, 255, 255, 0, 0, 0, 255, 0}));
}

TEST(Picture, ChecksFormats) {
  EXPECT_TRUE(xrgb.valid());
  EXPECT_TRUE(r5g6b5.valid());
  EXPECT_FALSE((PixelFormat{3, {16, 8}, {8, 8}, {0, 8}}.valid()));
  EXPECT_FALSE((PixelFormat{2, {16, 8}, {8, 8}, {0, 8}}.valid()));
  EXPECT_FALSE((PixelFormat{4, {16, 0}, {8, 8}, {0, 8}}.valid()));
}

TEST(Picture, DrawsTextAndCutsWhatDoesNotFit) {
  Font font;
  font.glyphs['x'].fill(0xff);
  const std::vector<std::string> lines(40, std::string(100, 'x'));
  const Picture full = draw_text(font, lines);
  ASSERT_EQ(full.size(), picture_pixels);
  EXPECT_EQ(full[0], full[picture_pixels - 1]);
  EXPECT_NE(full[0], 0);
  const Picture one = draw_text(font, {" x"});
  EXPECT_EQ(one[0], 0);
  EXPECT_NE(one[8], 0);
  EXPECT_EQ(one[16], 0);
}

}  // namespace
}  // namespace amphion::phoned
