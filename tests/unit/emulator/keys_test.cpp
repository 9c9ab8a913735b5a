// SPDX-License-Identifier: Apache-2.0
// Characters, names and terminal bytes as key presses.
#include "emulator/keys.hpp"

#include <gtest/gtest.h>

namespace amphion::emulator {
namespace {

TEST(Keys, EveryPrintableCharacterIsOnAKey) {
  for (char c = ' '; c < 0x7f; ++c) EXPECT_TRUE(combination_of(c).has_value()) << c;
  EXPECT_TRUE(combination_of('\n').has_value());
}

TEST(Keys, NoTwoPrintableCharactersShareACombination) {
  for (char a = ' '; a < 0x7f; ++a) {
    for (char b = static_cast<char>(a + 1); b < 0x7f; ++b) EXPECT_NE(combination_of(a), combination_of(b)) << a << b;
  }
}

TEST(Keys, CharactersOutsideAsciiAreOnNoKey) {
  EXPECT_FALSE(combination_of(static_cast<char>(0x80)).has_value());
  EXPECT_FALSE(combination_of('\0').has_value());
}

TEST(Keys, CombinationsAreNamesJoinedByDashes) {
  EXPECT_EQ(parse_combination("alt-f2"), (Combination{"alt", "f2"}));
  EXPECT_EQ(parse_combination("ret"), Combination{"ret"});
  EXPECT_FALSE(parse_combination("").has_value());
  EXPECT_FALSE(parse_combination("alt-").has_value());
  EXPECT_FALSE(parse_combination("alt--f2").has_value());
  EXPECT_FALSE(parse_combination("a b").has_value());
}

TEST(Keys, TerminalSequencesBecomeKeys) {
  std::string bytes = "a\x1b[A\x1b[1;3Q\x1bx\r";
  const std::vector<Combination> expected{{"a"}, {"up"}, {"alt", "f2"}, {"alt", "x"}, {"ret"}};
  EXPECT_EQ(take_terminal_keys(bytes), expected);
  EXPECT_TRUE(bytes.empty());
}

TEST(Keys, AnIncompleteSequenceStays) {
  std::string bytes = "a\x1b[1";
  EXPECT_EQ(take_terminal_keys(bytes).size(), 1u);
  bytes += ";3P";
  EXPECT_EQ(take_terminal_keys(bytes), (std::vector<Combination>{{"alt", "f1"}}));
}

TEST(Keys, AnUnknownOrEndlessSequenceIsDropped) {
  std::string unknown = "\x1b[99~b";
  EXPECT_EQ(take_terminal_keys(unknown), std::vector<Combination>{{"b"}});
  std::string endless = "\x1b[" + std::string(100, '1');
  EXPECT_TRUE(take_terminal_keys(endless).empty());
  EXPECT_TRUE(endless.empty());
}

}  // namespace
}  // namespace amphion::emulator
