// SPDX-License-Identifier: MIT OR GPL-2.0-only
// One vCPU as the scheduler sees it, and what other CPUs may know of it.
//
// Who owns what: an entity belongs to the CPU in `place`, asleep or not; only that CPU touches its plain fields. From
// post to arrival (Box) it belongs to nobody. Others read `place`, and change the tag from `clean` to `owed`: who did
// owns `debt_vt` and `debt_link` until the debt is posted.
#pragma once

#include <atomic>
#include <cstdint>

#include "sched/core/count.hpp"
#include "sched/core/tree.hpp"

namespace amphion::sched {

enum class Life : uint8_t { asleep, queued, running };

// Where a vCPU is, in one word that is read at once.
struct Place {
  uint8_t cpu = 0;
  Life life = Life::asleep;
  uint16_t ordinate = 0;  // turns before its own; old by at most one decision of its CPU (Queue::publish)
};

// The dirty tag: who is not clean is not adjusted. Others change it from `clean` to `owed`, the owner does the rest.
enum class Tag : uint32_t {
  clean,
  owed,      // virtual time is on its way to it
  borrowed,  // got it, and has not run for twice as long since: may lend, but not borrow more
  lent,      // since its last turn
};

struct Statistics {  // of an entity; read by others at any time. Counts of 32 bits may wrap around
  Count run_ticks;
  Count wait_ticks;       // ready, but not running
  uint32_t switches = 0;  // turns that began after another vCPU's
  uint32_t moves = 0;     // to another CPU
  uint32_t lends = 0;     // gave virtual time to a sibling
  uint32_t debts = 0;     // got virtual time from a sibling
};

// Two cache lines: what a decision reads of others in the queue, and what it needs of the one that stops or starts.
struct alignas(64) Entity {
  Node node;  // key: virtual run time

 private:
  std::atomic<uint32_t> place_{0};

 public:
  std::atomic<Tag> tag{Tag::clean};
  uint32_t first_sibling = 0;
  uint32_t siblings = 1;     // itself counted: entities first_sibling .. first_sibling + siblings - 1
  uint32_t weight_log2 = 0;  // share of its CPU as a power of two
  uint32_t debt_vt = 0;      // given to it last
  uint32_t debt_link = none;
  bool away = false;  // posted, not arrived

  uint64_t since = 0;                // when it began to wait
  uint64_t turn_ticks = 0;           // of its turn, as far as it has run
  uint64_t run_ticks_when_lent = 0;  // had run so long when it was given that
  Statistics statistics;
  uint32_t allowed = ~0u;  // CPUs, a bit each
  uint32_t arrival_link = none;

  // Relaxed: as a hint, where nothing else of it is read.
  [[nodiscard]] Place place(std::memory_order order = std::memory_order_acquire) const {
    const uint32_t word = place_.load(order);
    return {static_cast<uint8_t>(word), static_cast<Life>(word >> 8 & 0xff), static_cast<uint16_t>(word >> 16)};
  }
  void publish(Place place) {
    place_.store(place.cpu | static_cast<uint32_t>(place.life) << 8 | static_cast<uint32_t>(place.ordinate) << 16,
                 std::memory_order_release);
  }
  [[nodiscard]] bool change_tag(Tag from, Tag to) {
    return tag.compare_exchange_strong(from, to, std::memory_order_acq_rel);
  }
  void set_tag(Tag value) { tag.store(value, std::memory_order_release); }
};
static_assert(sizeof(Entity) == 128);

// What CPUs hand to one of them: a list of entities that anyone may push to, and that its owner takes whole.
class Box {
 public:
  template <class Link>  // Link: entity number -> its link for this kind of box
  void push(uint32_t id, Link link) {
    uint32_t head = head_.load(std::memory_order_relaxed);
    do {
      link(id) = head;
    } while (!head_.compare_exchange_weak(head, id, std::memory_order_release, std::memory_order_relaxed));
  }
  [[nodiscard]] uint32_t take() {
    return head_.load(std::memory_order_relaxed) == none ? none : head_.exchange(none, std::memory_order_acquire);
  }

 private:
  std::atomic<uint32_t> head_{none};
};

}  // namespace amphion::sched
