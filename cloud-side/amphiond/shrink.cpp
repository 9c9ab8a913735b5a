// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/shrink.hpp"

#include <algorithm>

namespace amphion::cloud {

namespace {

constexpr std::uint64_t smallest_step_bytes = 1 << 20;

// One look and one step.
class Shrinker {
 public:
  Shrinker(const ShrinkPort& port, const ShrinkTarget& target, const ShrinkLimits& limits)
      : port_(port), target_(target), limits_(limits) {}

  link::Status look() {
    const auto memory = port_.memory();
    if (!memory) return memory.error();
    const std::uint32_t vcpus = port_.vcpus();
    moved_ = *memory != memory_ || vcpus != vcpus_;
    memory_ = *memory;
    vcpus_ = vcpus;
    port_.progress(memory_);
    return {};
  }
  // Three quarters of what the guest can spare, once for each report that speaks of the balloon as it stands.
  link::Status step() {
    const auto said = port_.guest_memory();
    if (!said) return said.error().code == link::ErrorCode::not_found ? link::Status() : link::Status(said.error());
    if (moved_ || said->report == stale_report_) {
      stale_report_ = said->report;
      return {};
    }
    stale_report_ = said->report;
    needs_ = memory_ - std::min(memory_, said->available_bytes);
    if (too_large() || said->available_bytes <= limits_.reserve_bytes) return {};
    const std::uint64_t room = (said->available_bytes - limits_.reserve_bytes) / 4 * 3;
    const std::uint64_t next = std::max(target_.memory_bytes, memory_ - std::min(memory_, room));
    if (memory_ - next < smallest_step_bytes && next != target_.memory_bytes) return {};
    return port_.set_memory(next);
  }
  [[nodiscard]] bool done() const { return memory_ <= target_.memory_bytes && vcpus_ <= target_.vcpus; }
  [[nodiscard]] bool too_large() const { return needs_ && *needs_ > target_.memory_bytes + limits_.reserve_bytes; }
  [[nodiscard]] Shrunk result() const { return {memory_, too_large() ? needs_ : std::nullopt}; }
  [[nodiscard]] bool moved() const { return moved_; }
  [[nodiscard]] std::uint64_t memory() const { return memory_; }

 private:
  const ShrinkPort& port_;
  const ShrinkTarget& target_;
  const ShrinkLimits& limits_;
  std::uint64_t memory_ = ~std::uint64_t{0};
  std::uint32_t vcpus_ = ~0u;
  std::uint64_t stale_report_ = 0;  // made, for all we know, before the balloon last moved
  std::optional<std::uint64_t> needs_;
  bool moved_ = false;
};

}  // namespace

link::Result<Shrunk> shrink(const ShrinkPort& port, const ShrinkTarget& target, const ShrinkLimits& limits) {
  Shrinker shrinker(port, target, limits);
  if (auto asked = port.set_vcpus(target.vcpus); !asked) return asked.error();
  std::chrono::milliseconds still{0};
  while (true) {
    if (port.cancelled()) return link::Error{link::ErrorCode::cancelled, "undocking was broken off"};
    if (auto status = shrinker.look(); !status) return status.error();
    still = shrinker.moved() ? std::chrono::milliseconds(0) : still + limits.poll;
    if (shrinker.done() || shrinker.too_large() || still >= limits.patience) break;
    if (auto status = shrinker.step(); !status) return status.error();
    port.sleep(limits.poll);
  }
  // What it was asked for and did not give must not be taken later.
  if (shrinker.memory() > target.memory_bytes) (void)port.set_memory(shrinker.memory());
  return shrinker.result();
}

std::string refusal(const std::string& instance, std::uint64_t uses_bytes, std::uint64_t bound_bytes) {
  constexpr std::uint64_t mib = 1 << 20;
  return instance + " uses " + std::to_string((uses_bytes + mib - 1) / mib) + " MiB, this phone gives it " +
         std::to_string(bound_bytes / mib) + " MiB";
}

}  // namespace amphion::cloud
