// SPDX-License-Identifier: Apache-2.0
// The screen in an answer: what was shown comes out again, and nothing that is not a whole picture does; and how a
// board without a screen of its own draws.
#include "phone-side/phoned/control_picture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "phone-side/phoned/control_protocol.hpp"
#include "phone-side/phoned/display.hpp"

namespace amphion::phoned {
namespace {

Picture noise() {
  Picture picture(picture_pixels);
  std::mt19937 random(1);
  for (auto& pixel : picture) pixel = static_cast<std::uint16_t>(random());
  return picture;
}

TEST(ControlPicture, EveryPictureFitsAnAnswerAndRoundTrips) {
  for (const Picture& picture : {Picture(picture_pixels, 0xad55), noise()}) {
    const auto answer = picture_answer(picture);
    EXPECT_LT(encode_line(answer).size(), max_reply_bytes);
    EXPECT_EQ(picture_of(answer), picture);
  }
}

TEST(ControlPicture, RefusesWhatIsNoWholePicture) {
  const auto good = picture_answer(noise());
  EXPECT_FALSE(picture_of(nlohmann::json::object()));
  for (const auto& [key, value] : {std::pair<const char*, nlohmann::json>{"width", 641},
                                   {"height", nullptr},
                                   {"pixels", 7},
                                   {"pixels", "not base64!"},
                                   {"pixels", ""},
                                   {"pixels", good["pixels"].get<std::string>().substr(0, 4000)}}) {
    auto bad = good;
    bad[key] = value;
    EXPECT_FALSE(picture_of(bad)) << key << ": " << value.dump().substr(0, 40);
  }
  std::string longer(picture_pixels * 2 + 2, 'x');
  auto bad = picture_answer(noise());
  bad["pixels"] = to_base64(longer);
  EXPECT_FALSE(picture_of(bad));
}

TEST(Display, WithoutAScreenDrawsOnlyForThoseWhoLook) {
  std::atomic<int> drawn{0};
  std::atomic<int> rested{0};
  Display display(
      [&](std::span<std::uint16_t> picture) {
        std::fill(picture.begin(), picture.end(), static_cast<std::uint16_t>(++drawn));
        return std::vector<std::string>();
      },
      [&] { ++rested; });
  display.start();
  while (rested == 0) std::this_thread::yield();
  EXPECT_EQ(drawn, 0);
  const auto first = display.look();
  ASSERT_TRUE(first);
  EXPECT_GE(first->front(), 1);
  const auto second = display.look();
  ASSERT_TRUE(second);
  EXPECT_GT(second->front(), first->front()) << "drawn after it was asked for";
  display.stop();
  EXPECT_FALSE(display.look());
}

}  // namespace
}  // namespace amphion::phoned
