// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/shrink.hpp"

#include <algorithm>

namespace amphion::cloud {

link::Result<std::uint64_t> shrink(const ShrinkPort& port, const ShrinkTarget& target, const ShrinkLimits& limits) {
  if (auto asked = port.ask(target); !asked) return asked.error();
  std::uint64_t best_memory = ~std::uint64_t{0};
  std::uint32_t best_vcpus = ~0u;
  std::chrono::milliseconds waited{0};
  while (true) {
    if (port.cancelled()) return link::Error{link::ErrorCode::cancelled, "undocking was broken off"};
    const auto memory = port.memory();
    if (!memory) return memory.error();
    const std::uint32_t vcpus = port.vcpus();
    port.progress(*memory);
    const bool done = *memory <= target.memory_bytes && vcpus <= target.vcpus;
    if (done || waited >= limits.patience) return *memory;
    const bool moved = *memory < best_memory || vcpus < best_vcpus;
    waited = moved ? std::chrono::milliseconds(0) : waited + limits.poll;
    best_memory = std::min(best_memory, *memory);
    best_vcpus = std::min(best_vcpus, vcpus);
    port.sleep(limits.poll);
  }
}

std::string refusal(const std::string& instance, std::uint64_t uses_bytes, std::uint64_t bound_bytes) {
  constexpr std::uint64_t mib = 1 << 20;
  return instance + " uses " + std::to_string((uses_bytes + mib - 1) / mib) + " MiB, this phone gives it " +
         std::to_string(bound_bytes / mib) + " MiB";
}

}  // namespace amphion::cloud
