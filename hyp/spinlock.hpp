// SPDX-License-Identifier: Apache-2.0
// A lock that whoever comes first after a release takes. Not a queue: on an emulated board a CPU is a thread that may
// not be running, and the first in a queue would hold up all behind it. Interrupts stay masked while the hypervisor
// runs, so a holder is never interrupted on its own CPU. Lock order (outer to inner) stands in hyp/README.md; of the
// locks in this library: Stage2 -> PagePool; Uart, VirtioSlots -> Vgic, which takes no other lock. Freestanding
// (libstdc++'s <atomic> is not, for AArch32 without floating point: hence the built-ins).
#pragma once

#include <cstdint>

namespace amphion::hyp {

class SpinLock {
 public:
  constexpr SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() {
    while (__atomic_exchange_n(&held_, 1u, __ATOMIC_ACQUIRE) != 0) {
      while (__atomic_load_n(&held_, __ATOMIC_RELAXED) != 0) relax();
    }
  }
  void unlock() { __atomic_store_n(&held_, 0u, __ATOMIC_RELEASE); }

 private:
  static void relax() {
#if defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#endif
  }

  std::uint32_t held_ = 0;
};

class [[nodiscard]] LockGuard {
 public:
  explicit LockGuard(SpinLock& lock) : lock_(lock) { lock_.lock(); }
  ~LockGuard() { lock_.unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace amphion::hyp
