// SPDX-License-Identifier: Apache-2.0
// The guests that this host image carries, in the order in which they run: a list (*.suite) that CMake names in
// LAB_SUITE, read here and by images.S.
#pragma once

#include <span>

#include "hyp/types.hpp"

namespace amphion::lab {

struct Test {
  const char* name;
  std::span<const hyp::u8> image;
  hyp::u32 instances;  // at a time
  hyp::u32 vcpus, allowed;
};

[[nodiscard]] std::span<const Test> suite();

}  // namespace amphion::lab
