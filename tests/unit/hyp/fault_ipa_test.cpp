// SPDX-License-Identifier: Apache-2.0
#include "hyp/fault_ipa.hpp"

#include <gtest/gtest.h>

namespace amphion::hyp {
namespace {

TEST(FaultIpa, HpfarHoldsFortyBits) {
  EXPECT_EQ(ipa_of_hpfar(0x0004'0000, 0xc000'0123), 0x0400'0123u);
  EXPECT_EQ(ipa_of_hpfar(0x0140'0000, 0xc000'0fff), 0x1'4000'0fffu) << "not RAM at 1 GiB";
  EXPECT_EQ(ipa_of_hpfar(0xffff'ffff, 0), 0xff'ffff'f000u) << "bits 3:0 are no address";
}

TEST(FaultIpa, ParInTheShortFormat) {
  EXPECT_EQ(ipa_of_par(0x4123'4000, 0xc000'0567), 0x4123'4567u);
  EXPECT_EQ(ipa_of_par(0x4123'4468, 0xc000'0567), 0x4123'4567u) << "attributes are no address";
  EXPECT_EQ(ipa_of_par(0x4123'4001, 0xc000'0567), std::nullopt);
}

TEST(FaultIpa, ParOfASupersection) {
  EXPECT_EQ(ipa_of_par(0x4100'0002, 0xc0ab'cdef), 0x41ab'cdefu);
  EXPECT_EQ(ipa_of_par(0x4112'0002, 0xc0ab'cdef), 0x12'41ab'cdefu) << "bits 39:32";
  EXPECT_EQ(ipa_of_par(0x4112'0003, 0xc0ab'cdef), std::nullopt);
}

TEST(FaultIpa, ParInTheLongFormat) {
  EXPECT_EQ(ipa_of_par(0xff00'0000'4123'4800, 0xc000'0567), 0x4123'4567u);
  EXPECT_EQ(ipa_of_par(0xff00'0012'4123'4b80, 0xc000'0567), 0x12'4123'4567u);
  EXPECT_EQ(ipa_of_par(0x80b, 0), std::nullopt);
}

}  // namespace
}  // namespace amphion::hyp
