// SPDX-License-Identifier: Apache-2.0
// A spin lock that counts what it costs when its holder is preempted. No YIELD, no WFE: who waits executes
// instructions.
//
// A vCPU that finds two readings of the counter, a few instructions apart, further apart than `absence_us` was off its
// CPU in between. Each holding is a *tenure* with a number. A waiter adds up, in a slot of its own, how long it spun in
// this tenure; what it was absent itself is not in it. A holder that was absent takes these sums when it releases.
// A tenure's first reading lies between LDREX and STREX, because a preemption there makes the store fail. Not seen are
// preemptions in the last instructions of a tenure, behind the last reading, and absences shorter than `absence_us`.
// Counted is what happens in a window of time that all vCPUs share. Waiters count each piece of spinning by itself, so
// what a tenure lost is what was spun for it in the window, whenever it began and ends: never more than was spun.
// Thread safety: any vCPU of the instance; LockStatistics and slots are a vCPU's own.
#pragma once

#include <array>

#include "machine/phone.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

namespace amphion::lab {

inline constexpr u32 absence_us = 64;  // more than a holding with an interrupt in it, less than a turn

[[nodiscard]] inline u32 ticks_now() { return static_cast<u32>(counter()); }

// [begins, ends) in ticks; all its moments are less than half of what 32 bits hold away.
struct Window {
  u32 begins = 0, ends = 0;

  [[nodiscard]] bool has(u32 at) const { return at - begins < ends - begins; }
  [[nodiscard]] bool is_over(u32 at) const { return static_cast<int>(at - ends) >= 0; }
  // Ticks of [from, to) in it.
  [[nodiscard]] u32 part_of(u32 from, u32 to) const {
    const int first = static_cast<int>(from - begins), last = static_cast<int>(to - begins);
    const int all = static_cast<int>(ends - begins), part = (last < all ? last : all) - (first > 0 ? first : 0);
    return part > 0 ? static_cast<u32>(part) : 0;
  }
};

struct LockStatistics {
  u32 holdings = 0, waits = 0;
  u32 preempted = 0;     // holdings during which the holder was absent
  u32 handed = 0;        // a lock in order: handed to a waiter that was absent
  u64 absent_ticks = 0;  // holders'
  u64 lost_ticks = 0;    // waiters' spinning in tenures whose holder was absent
  u64 handed_ticks = 0;  // waiters' spinning until an absent one took what it had been handed
  u64 spun_ticks = 0;    // all spinning
};

class CountedLock {
 public:
  void init(bool in_order, Window window) {
    in_order_ = in_order;
    window_ = window;
    absence_ticks_ = static_cast<u32>(ticks_of_us(absence_us));
  }

  void acquire(u32 vcpu, LockStatistics& statistics) {
    in_order_ ? acquire_in_order(vcpu, statistics) : acquire_any(vcpu, statistics);
  }

  void release(LockStatistics& statistics) {
    const u32 tenure = entered_, began = since_, now = ticks_now();
    if (now - began > absence_ticks_) {
      statistics.preempted += window_.has(began);
      statistics.absent_ticks += window_.part_of(began, now);
      statistics.lost_ticks += sum(spun_in_tenure_, tenure) + sum(spun_for_next_, tenure) - handed_ticks_;
    }
    if (in_order_) {
      __atomic_store_n(&serving_, tenure + 1, __ATOMIC_RELEASE);
    } else {
      __atomic_store_n(&held_, 0u, __ATOMIC_RELEASE);
    }
    statistics.holdings += window_.has(began);
  }

 private:
  struct Spun {
    u32 tenure = 0, ticks = 0;

    void add(u32 to, u32 more) {
      if (tenure != to) tenure = to, ticks = 0;
      ticks += more;
    }
  };
  using SpunByVcpu = std::array<Spun, machine::max_vcpus>;

  static u32 sum(const SpunByVcpu& spun, u32 tenure) {
    u32 ticks = 0;
    for (const Spun& one : spun) {
      if (__atomic_load_n(&one.tenure, __ATOMIC_RELAXED) == tenure)
        ticks += __atomic_load_n(&one.ticks, __ATOMIC_RELAXED);
    }
    return ticks;
  }

  // `word` from `seen` to `next`; false: it was not `seen`, or an exception came between. `ticks`: a reading in
  // between.
  static bool exchange(u32& word, u32 seen, u32 next, u32& ticks) {
    u32 now, failed;
    __asm__ volatile("ldrex %0, [%1]" : "=r"(now) : "r"(&word) : "memory");
    ticks = ticks_now();
    if (now != seen) return false;
    __asm__ volatile("strex %0, %2, [%1]\n dmb" : "=&r"(failed) : "r"(&word), "r"(next) : "memory");
    return failed == 0;
  }

  void acquire_any(u32 vcpu, LockStatistics& statistics) {
    u32 began;
    if (!exchange(held_, 0, 1, began)) {
      u32 last = ticks_now();
      statistics.waits += window_.has(last);
      for (;;) {
        const u32 tenure = __atomic_load_n(&entered_, __ATOMIC_RELAXED);
        const bool held = __atomic_load_n(&held_, __ATOMIC_RELAXED) != 0;
        const u32 passed = lap(last);
        statistics.spun_ticks += passed;
        if (held) {
          spun_in_tenure_[vcpu].add(tenure, passed);
        } else if (exchange(held_, 0, 1, began)) {
          break;
        }
      }
    }
    since_ = began;
    __atomic_store_n(&entered_, entered_ + 1, __ATOMIC_RELAXED);
  }

  void acquire_in_order(u32 vcpu, LockStatistics& statistics) {
    u32 began, mine;
    do mine = __atomic_load_n(&next_, __ATOMIC_RELAXED);
    while (!exchange(next_, mine, mine + 1, began));
    if (__atomic_load_n(&serving_, __ATOMIC_ACQUIRE) != mine) {
      began = wait_until_served(vcpu, mine, statistics);
    } else {
      handed_ticks_ = 0;
    }
    since_ = began;
    __atomic_store_n(&entered_, mine, __ATOMIC_RELAXED);
  }

  // Returns the first reading since it was served.
  u32 wait_until_served(u32 vcpu, u32 mine, LockStatistics& statistics) {
    u32 last = ticks_now();
    statistics.waits += window_.has(last);
    for (bool was_absent = false;;) {  // before it looked whether it is served
      const u32 serving = __atomic_load_n(&serving_, __ATOMIC_ACQUIRE);
      const bool entered = __atomic_load_n(&entered_, __ATOMIC_RELAXED) == serving;
      const u32 before = last, passed = lap(last);
      const bool absent = last - before > absence_ticks_;
      statistics.spun_ticks += passed;
      if (serving != mine) {
        (entered ? spun_in_tenure_ : spun_for_next_)[vcpu].add(serving, passed);
        was_absent = absent;
        continue;
      }
      handed_ticks_ = absent || was_absent ? sum(spun_for_next_, mine) : 0;
      statistics.handed_ticks += handed_ticks_;
      statistics.handed += (absent || was_absent) && window_.has(last);
      return last;
    }
  }

  // Time that this vCPU executed since `last`, which becomes now; 0 if it was absent, and outside the window.
  u32 lap(u32& last) const {
    const u32 now = ticks_now(), passed = now - last;
    last = now;
    return passed > absence_ticks_ || !window_.has(now) ? 0 : passed;
  }

  u32 held_ = 0;                // who comes first has it
  u32 next_ = 1, serving_ = 1;  // or in order
  u32 entered_ = 0;             // the tenure, in order: its number in the queue
  u32 since_ = 0;               // the holder's
  u32 handed_ticks_ = 0;        // in order: counted when the holder found itself served, not again at its release
  u32 absence_ticks_ = 0;
  bool in_order_ = false;
  Window window_;
  SpunByVcpu spun_in_tenure_{}, spun_for_next_{};
};

}  // namespace amphion::lab
