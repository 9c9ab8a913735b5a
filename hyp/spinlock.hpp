// SPDX-License-Identifier: Apache-2.0
// A ticket lock: first come, first served. Interrupts stay masked while the hypervisor runs, so a holder is never
// interrupted on its own CPU. Lock order (outer to inner) stands in hyp/README.md; of the locks in this library:
// Stage2 -> PagePool; Vgic takes no other lock.
// Freestanding (libstdc++'s <atomic> is not, for AArch32 without floating point: hence the built-ins).
#pragma once

#include <cstdint>

namespace amphion::hyp {

class SpinLock {
 public:
  constexpr SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() {
    const std::uint32_t ticket = __atomic_fetch_add(&next_, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&serving_, __ATOMIC_ACQUIRE) != ticket) relax();
  }
  void unlock() { __atomic_store_n(&serving_, serving_ + 1, __ATOMIC_RELEASE); }

 private:
  static void relax() {
#if defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#endif
  }

  std::uint32_t next_ = 0;
  std::uint32_t serving_ = 0;  // written by the holder only
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
