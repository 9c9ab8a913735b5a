// SPDX-License-Identifier: Apache-2.0
// The neutral saved state in machine's envelope, as link errors. Pure functions.
#pragma once

#include <string>

#include "link/error.hpp"
#include "machine/state.pb.h"

namespace amphion::cloud {

// Checks the envelope whole, decodes, and validates against the machine. Errors: damaged, version, invalid.
[[nodiscard]] link::Result<machine::InstanceState> open_state(const std::string& sealed);
[[nodiscard]] std::string seal_state(const machine::InstanceState& state);

}  // namespace amphion::cloud
