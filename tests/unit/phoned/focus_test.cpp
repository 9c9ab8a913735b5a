// SPDX-License-Identifier: Apache-2.0
// The focus: frames, repeats, combinations, and that every instance sees balanced keys.
#include "phone-side/phoned/focus.hpp"

#include <gtest/gtest.h>
#include <linux/input-event-codes.h>

#include <map>
#include <random>

namespace amphion::phoned {
namespace {

constexpr KeyEvent syn{EV_SYN, SYN_REPORT, 0};
KeyEvent key(std::uint16_t code, std::int32_t value) { return {EV_KEY, code, value}; }
Frame frame(std::uint16_t code, std::int32_t value) { return {{EV_MSC, MSC_SCAN, 7}, key(code, value), syn}; }

TEST(Focus, PassesKeysInFramesWithoutScanCodes) {
  Focus focus(2);
  const auto out = focus.frame(frame(KEY_A, 1));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].instance, 0u);
  EXPECT_EQ(out[0].frame, (Frame{key(KEY_A, 1), syn}));
}

TEST(Focus, KeepsSeveralKeysOfOneFrameTogether) {
  Focus focus(1);
  const auto out = focus.frame({key(KEY_A, 1), key(KEY_B, 1), syn});
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].frame, (Frame{key(KEY_A, 1), key(KEY_B, 1), syn}));
}

TEST(Focus, DropsRepeatsUnknownCodesAndOddValues) {
  Focus focus(1);
  EXPECT_EQ(focus.frame(frame(KEY_A, 1)).size(), 1u);
  EXPECT_TRUE(focus.frame(frame(KEY_A, 2)).empty());
  EXPECT_TRUE(focus.frame(frame(KEY_A, 1)).empty()) << "pressed already";
  EXPECT_TRUE(focus.frame(frame(KEY_A, -1)).empty());
  EXPECT_TRUE(focus.frame(frame(BTN_LEFT, 1)).empty());
  EXPECT_TRUE(focus.frame({syn}).empty());
}

TEST(Focus, ThePowerKeyReachesNobody) {
  Focus focus(1);
  EXPECT_TRUE(focus.frame(frame(KEY_POWER, 1)).empty());
  EXPECT_TRUE(focus.frame(frame(KEY_POWER, 0)).empty());
  const auto out = focus.frame({key(KEY_POWER, 1), key(KEY_A, 1), syn});
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].frame, (Frame{key(KEY_A, 1), syn}));
}

TEST(Focus, FunctionKeyWithAltGivesTheFocusAndIsSwallowed) {
  Focus focus(2);
  EXPECT_EQ(focus.frame(frame(KEY_LEFTALT, 1)).size(), 1u);
  const auto out = focus.frame(frame(KEY_F2, 1));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].instance, 0u) << "the old one sees Alt released";
  EXPECT_EQ(out[0].frame, (Frame{key(KEY_LEFTALT, 0), syn}));
  EXPECT_EQ(focus.focused(), 1u);
  EXPECT_TRUE(focus.frame(frame(KEY_F2, 0)).empty());
  EXPECT_TRUE(focus.frame(frame(KEY_LEFTALT, 0)).empty()) << "the new one never saw it pressed";
  EXPECT_EQ(focus.frame(frame(KEY_C, 1))[0].instance, 1u);
}

TEST(Focus, FunctionKeyBeyondTheInstancesIsAnOrdinaryKey) {
  Focus focus(2);
  (void)focus.frame(frame(KEY_LEFTALT, 1));
  const auto out = focus.frame(frame(KEY_F3, 1));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].frame, (Frame{key(KEY_F3, 1), syn}));
}

TEST(Focus, OwnFunctionKeyIsSwallowedWithoutRelease) {
  Focus focus(2);
  (void)focus.frame(frame(KEY_LEFTALT, 1));
  EXPECT_TRUE(focus.frame(frame(KEY_F1, 1)).empty());
  EXPECT_EQ(focus.frame(frame(KEY_LEFTALT, 0)).size(), 1u);
}

TEST(Focus, SuperTabGoesAround) {
  Focus focus(2);
  for (const std::size_t next : {1u, 0u}) {
    (void)focus.frame(frame(KEY_LEFTMETA, 1));
    (void)focus.frame(frame(KEY_TAB, 1));
    EXPECT_EQ(focus.focused(), next);
    (void)focus.frame(frame(KEY_TAB, 0));
    (void)focus.frame(frame(KEY_LEFTMETA, 0));
  }
}

TEST(Focus, CommandReleasesWhatIsHeld) {
  Focus focus(2);
  (void)focus.frame({key(KEY_LEFTSHIFT, 1), key(KEY_A, 1), syn});
  const auto out = focus.switch_to(1);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].frame.size(), 3u);
  EXPECT_TRUE(focus.switch_to(1).empty());
  EXPECT_TRUE(focus.switch_to(2).empty());
  EXPECT_EQ(focus.focused(), 1u);
}

TEST(Focus, LostKeyboardReleasesEverything) {
  Focus focus(1);
  (void)focus.frame({key(KEY_A, 1), key(KEY_B, 1), syn});
  ASSERT_EQ(focus.release_all().size(), 1u);
  EXPECT_TRUE(focus.release_all().empty());
}

TEST(Focus, RandomKeysStayBalanced) {
  std::mt19937 random(7);
  Focus focus(3);
  std::map<std::size_t, std::map<std::uint16_t, bool>> seen;
  const std::uint16_t codes[] = {KEY_A,  KEY_LEFTALT, KEY_RIGHTALT, KEY_F1, KEY_F2,
                                 KEY_F3, KEY_F4,      KEY_LEFTMETA, KEY_TAB};
  for (int i = 0; i < 20000; ++i) {
    const std::size_t before = focus.focused();
    const auto out = focus.frame(frame(codes[random() % std::size(codes)], static_cast<std::int32_t>(random() % 3)));
    for (const Delivery& one : out) {
      ASSERT_GE(one.frame.size(), 2u);
      ASSERT_EQ(one.frame.back(), syn);
      for (const KeyEvent& event : one.frame) {
        if (event.type != EV_KEY) continue;
        ASSERT_NE(seen[one.instance][event.code], event.value == 1) << "pressed twice or released twice";
        seen[one.instance][event.code] = event.value == 1;
      }
    }
    if (focus.focused() == before) continue;
    for (const auto& [code, down] : seen[before]) ASSERT_FALSE(down) << "held in an instance that lost the focus";
  }
}

TEST(Focus, InstancesComeAndGoAndKeepTheirNumbers) {
  Focus focus(1);
  focus.set_present(2, true);
  EXPECT_EQ(focus.focused(), 0u);
  (void)focus.frame(frame(KEY_LEFTALT, 1));
  EXPECT_FALSE(focus.frame(frame(KEY_F2, 1)).empty()) << "nobody is there: the key is the instance's";
  EXPECT_EQ(focus.focused(), 0u);
  (void)focus.frame(frame(KEY_F3, 1));
  EXPECT_EQ(focus.focused(), 2u);
  focus.set_present(2, false);
  EXPECT_EQ(focus.focused(), 0u) << "of one that goes the focus is the next one's";
  EXPECT_TRUE(focus.switch_to(2).empty());
  EXPECT_EQ(focus.focused(), 0u);
  focus.set_present(0, false);
  focus.set_present(5, true);
  EXPECT_EQ(focus.focused(), 5u) << "the only one";
}

}  // namespace
}  // namespace amphion::phoned
