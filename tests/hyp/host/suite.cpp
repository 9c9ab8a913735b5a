// SPDX-License-Identifier: Apache-2.0
// The table of test guests; see suite.hpp.
#include "tests/hyp/host/suite.hpp"

#define GUEST(name, instances, vcpus, allowed) extern "C" const amphion::hyp::u8 name##_image[], name##_image_end[];
#include LAB_SUITE
#undef GUEST

namespace amphion::lab {

std::span<const Test> suite() {
#define GUEST(name, instances, vcpus, allowed) Test{#name, {name##_image, name##_image_end}, instances, vcpus, allowed},
  static const Test tests[] = {
#include LAB_SUITE
  };
#undef GUEST
  return tests;
}

}  // namespace amphion::lab
