// SPDX-License-Identifier: Apache-2.0
// How the memory code reaches physical memory, and what it asks of the CPU afterwards.
// Memory is a value: the distance between a physical address and the pointer through which it is reached. The
// hypervisor maps RAM one to one, so its distance is 0; a test gives the distance to an array of its own.
// Maintenance is implemented by the hypervisor with CP15 operations, and by tests with a recorder.
// Freestanding.
#pragma once

#include <cstdint>

#include "hyp/address.hpp"

namespace amphion::hyp {

class Memory {
 public:
  constexpr Memory() = default;
  constexpr explicit Memory(std::uintptr_t distance) : distance_(distance) {}

  [[nodiscard]] void* at(Phys address) const {
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address.value()) + distance_);
  }
  // A descriptor is read by table walks of other CPUs: one single-copy atomic access (LDRD/STRD or exclusives).
  static void store(std::uint64_t* slot, std::uint64_t value) { __atomic_store_n(slot, value, __ATOMIC_RELEASE); }
  static std::uint64_t load(const std::uint64_t* slot) { return __atomic_load_n(slot, __ATOMIC_RELAXED); }

 private:
  std::uintptr_t distance_ = 0;
};

using Vmid = std::uint8_t;

// Every operation acts on all CPUs of the inner-shareable domain and has completed when it returns.
class Maintenance {
 public:
  // Descriptors were written at [start, start + bytes): make them visible to table walks (DSB; clean if needed).
  virtual void publish(const void* start, std::uint32_t bytes) = 0;
  // Stage 2: forget the translation of one page, or of a whole instance (stage 1 entries derived from it, too).
  virtual void invalidate_ipa(Vmid vmid, Ipa address) = 0;
  virtual void invalidate_vmid(Vmid vmid) = 0;
  // Data caches: clean and invalidate to the point of coherency. An instance may run with its caches off.
  virtual void clean_invalidate(Phys start, std::uint32_t bytes) = 0;
  // Instruction caches, whole: pages lost their owner and will hold something else.
  virtual void invalidate_instructions() = 0;

 protected:
  ~Maintenance() = default;
};

}  // namespace amphion::hyp
