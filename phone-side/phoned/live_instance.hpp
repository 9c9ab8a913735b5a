// SPDX-License-Identifier: Apache-2.0
// One instance that has memory and vCPUs on this phone, as phoned needs it: ConfinedInstance on phones, a test's double
// in unit tests. Made stopped; ends with its object (memory freed and scrubbed by the hypervisor), or is lost before
// that with its device model: then all of it is gone, and every function says so. Thread safety: functions from any
// thread, but boot/load/run/pause/save/retire by one at a time. Events come from the instance's own thread and must not
// block or call back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hyp/abi/amphion_hypercall.h"
#include "link/handover_source.hpp"
#include "phone-side/phoned/config.hpp"
#include "phone-side/phoned/key_route.hpp"

namespace amphion::phoned {

struct LiveStats {
  std::uint64_t populated_bytes = 0;
  std::uint64_t bound_bytes = 0;
  std::uint64_t run_ns = 0;  // of all vCPUs
  bool waits_for_memory = false;
  std::vector<amphion_sched_vcpu> vcpus{};  // of its shape; one that is off stays as it was
};

class LiveInstance {
 public:
  struct Events {
    std::function<void(std::uint64_t)> keys_reached;  // the keyboard's queue has received up to this event
    std::function<void(std::string_view)> console;    // hvc0
    std::function<void(std::string_view)> serial;
    std::function<void(std::string_view)> grow;    // of the guest's service at the grow port
    std::function<void()> off;                     // the guest switched itself off
    std::function<void()> out_of_memory;           // a vCPU waits for memory beyond the bound
    std::function<void(const std::string&)> lost;  // why; it does not run any more and has no memory
  };

  virtual ~LiveInstance() = default;

  // From kernel and disk; runs. Keys are numbered from `input_sequence` + 1 on.
  [[nodiscard]] virtual link::Status boot(std::uint64_t input_sequence) = 0;
  // State of an instance that does not run and whose memory is already right; stays stopped.
  [[nodiscard]] virtual link::Status load(const std::string& sealed, std::uint64_t input_sequence) = 0;
  [[nodiscard]] virtual link::Status run() = 0;
  [[nodiscard]] virtual link::Status pause() = 0;                   // returns when it is stopped
  [[nodiscard]] virtual link::Result<link::SavedState> save() = 0;  // of a stopped one; its disk is flushed
  virtual void retire() = 0;  // of a stopped one: only its memory stays, until boot() or load()
  [[nodiscard]] virtual bool lost() = 0;

  // Memory by offset in bytes. Reading a page populates it; what has no room below the bound reads as zeros.
  [[nodiscard]] virtual std::uint64_t memory_bytes() const = 0;
  [[nodiscard]] virtual link::Status read(std::uint64_t offset, std::span<std::byte> out) = 0;
  [[nodiscard]] virtual link::Status write(std::uint64_t offset, std::span<const std::byte> in) = 0;
  [[nodiscard]] virtual link::Status populated(link::Bitmap& out) = 0;  // sets bits of pages that have memory
  [[nodiscard]] virtual link::Status discard(std::uint64_t first_page, std::uint64_t pages) = 0;
  [[nodiscard]] virtual link::Status track(bool on) = 0;  // what is written, memory and disk
  [[nodiscard]] virtual link::Status take_dirty(link::pb::Region region, link::Bitmap& out) = 0;
  virtual void keys(std::span<const NumberedEvent> events) = 0;
  // These two wait a little for a guest that is slow to read.
  virtual void console_input(std::string_view bytes) = 0;
  virtual void serial_input(std::string_view bytes) = 0;
  // A line to the guest's service at the grow port; an error: nobody listens.
  [[nodiscard]] virtual link::Status grow(std::string_view line) = 0;
  [[nodiscard]] virtual link::Status allow(std::uint32_t vcpus) = 0;  // how many its guest may bring up from now on
  [[nodiscard]] virtual LiveStats stats() = 0;
  [[nodiscard]] virtual bool screen(std::span<std::uint16_t> picture) = 0;  // a copy of picture_pixels, may tear
};

// `disk`: the instance's disk file; empty: none.
using InstanceFactory = std::function<link::Result<std::shared_ptr<LiveInstance>>(
    const InstanceConfig& config, const std::string& disk, LiveInstance::Events events)>;

}  // namespace amphion::phoned
