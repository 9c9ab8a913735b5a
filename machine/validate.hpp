// SPDX-License-Identifier: Apache-2.0
// Checks a decoded saved state against the phone machine, field by field, before anything acts upon it.
// Values that only the guest itself can be harmed by (its registers) are not judged, only their number and width.
// Thread safety: a pure function.
#pragma once

#include <optional>
#include <string>

#include "machine/network.hpp"
#include "machine/phone.hpp"
#include "machine/state.pb.h"

namespace amphion::machine {

// None if the state is valid; otherwise one line that names the first field that is not.
[[nodiscard]] std::optional<std::string> validate(const InstanceState& state);

// None if it is no address that an instance can have.
[[nodiscard]] std::optional<Mac> mac_of(const VirtioNetwork& network);

[[nodiscard]] inline Shape shape_of(const InstanceState& state) {
  return {state.shape().vcpus(), state.shape().memory_bytes()};
}

}  // namespace amphion::machine
