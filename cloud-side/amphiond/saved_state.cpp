// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/saved_state.hpp"

#include "machine/envelope.hpp"

namespace amphion::cloud {

link::Result<machine::InstanceState> open_state(const std::string& sealed) {
  machine::InstanceState state;
  if (auto problem = machine::open_envelope(sealed, state)) return link::Error{link::ErrorCode::damaged, *problem};
  return state;
}

std::string seal_state(const machine::InstanceState& state) { return machine::seal(state); }

}  // namespace amphion::cloud
