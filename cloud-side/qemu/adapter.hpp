// SPDX-License-Identifier: Apache-2.0
// Between the neutral saved state (machine/state.proto) and QEMU's migration stream.
// A stream is never written from nothing: to_qemu() writes the state into a *template*, the stream that a QEMU of the
// same version, command line and shape saved of itself before its guest ran (clone.hpp makes and keeps templates).
// Thread safety: pure functions. Neither function changes its inputs; on failure nothing is produced.
#pragma once

#include <optional>
#include <string>

#include "cloud-side/qemu/bytes.hpp"
#include "machine/state.pb.h"

namespace amphion::qemu {

// One line for the user, or none if it went well.
using Problem = std::optional<std::string>;

// What a stream does not say.
struct Surroundings {
  View ram;                         // the instance's memory from ram_base on, as it is while the machine stands still
  std::uint64_t disk_sectors;       // of disk0
  std::uint32_t counter_frequency;  // Hz
};

// `state` is complete but for input_sequence (0) and vcpus_allowed (all), and passes machine::validate().
[[nodiscard]] Problem from_qemu(View stream, const Surroundings& surroundings, machine::InstanceState& state);

// Refuses a state that does not pass machine::validate() or does not fit the template's number of vCPUs. `ram`: the
// instance's memory from ram_base on.
[[nodiscard]] Problem to_qemu(View template_stream, const machine::InstanceState& state, View ram, Bytes& stream);

}  // namespace amphion::qemu
