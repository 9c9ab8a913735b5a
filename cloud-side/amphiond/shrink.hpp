// SPDX-License-Identifier: Apache-2.0
// Before an undock: asks the clone to need no more than the phone gives it, and says how far it came.
// The guest is asked, never forced. Its balloon driver would take the last page and let its kernel kill processes, so
// each step takes only a part of what the guest itself says is available, and the next waits for a report made after
// the balloon came to rest: one made on the way would count pages as available that the balloon has since taken. A
// guest that needs more than the target is left alone, and when nothing has moved for `patience`, that is the answer.
// Thread safety: a function of its arguments; time goes through them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "cloud-side/amphiond/clone_control.hpp"

namespace amphion::cloud {

struct ShrinkTarget {
  std::uint64_t memory_bytes;
  std::uint32_t vcpus;
};

struct ShrinkPort {
  std::function<link::Status(std::uint64_t bytes)> set_memory;
  std::function<link::Status(std::uint32_t count)> set_vcpus;
  std::function<link::Result<std::uint64_t>()> memory;  // what the guest has now
  std::function<link::Result<CloneControl::GuestMemory>()> guest_memory;
  std::function<std::uint32_t()> vcpus;  // what it last said it has online; 0: it never answered
  std::function<void(std::uint64_t memory_bytes)> progress;
  std::function<void(std::chrono::milliseconds)> sleep;
  std::function<bool()> cancelled;
};

struct ShrinkLimits {
  std::chrono::milliseconds poll{200};
  std::chrono::milliseconds patience{6000};
  std::uint64_t reserve_bytes = 8u << 20;  // left available in the guest
};

struct Shrunk {
  std::uint64_t has_bytes;                   // memory that the guest has in the end
  std::optional<std::uint64_t> needs_bytes;  // more than the target: what it says it cannot do without
};

// Errors: cancelled, and what the port reports. It is no error if the target is not reached.
[[nodiscard]] link::Result<Shrunk> shrink(const ShrinkPort& port, const ShrinkTarget& target,
                                                 const ShrinkLimits& limits = {});

// "work uses 700 MiB, this phone gives it 256 MiB": used is rounded up, given down.
[[nodiscard]] std::string refusal(const std::string& instance, std::uint64_t uses_bytes, std::uint64_t bound_bytes);

}  // namespace amphion::cloud
