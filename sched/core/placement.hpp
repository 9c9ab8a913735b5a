// SPDX-License-Identifier: MIT OR GPL-2.0-only
// Which CPU a vCPU goes to: when it wakes, and at the end of a turn, which is where one that never sleeps can be moved.
// Answers only: Scheduler moves it. `spread`: the policy keeps siblings on different CPUs (SCHED_DISPATCH) while there
// are enough; a plain fair scheduler does not.
//
// Thread safety: any CPU, for reads what CPUs publish of themselves and of their entities (Entity::place, Queue::load).
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "sched/core/queue.hpp"

namespace amphion::sched {

struct Target {
  uint32_t cpu;
  bool leaves_sibling;  // it has stood beside one
};

class Placement {
 public:
  Placement(std::span<const Queue> queues, std::span<const Entity> entities) : queues_(queues), entities_(entities) {}

  // CPUs where a sibling is ready, a bit each.
  [[nodiscard]] uint32_t cpus_of_siblings(uint32_t id) const;
  [[nodiscard]] bool sibling_runs(uint32_t id) const;
  // Beside a sibling, though there is a CPU without one.
  [[nodiscard]] bool stacked(const Queue& queue, uint32_t id, bool spread) const;

  // `waker`: the CPU of who woke it, or none.
  [[nodiscard]] Target for_waking(uint32_t id, uint32_t waker, bool spread) const;
  // Away from a sibling, or to a shorter queue; its own CPU if no other is better. It is out of its queue already.
  [[nodiscard]] Target after_turn(const Queue& queue, uint32_t id, bool spread) const;
  // The CPU with the most ready ones, `own` if none has more.
  [[nodiscard]] uint32_t busiest(uint32_t own) const;

 private:
  [[nodiscard]] uint32_t all_cpus() const { return static_cast<uint32_t>((uint64_t{1} << queues_.size()) - 1); }
  [[nodiscard]] uint32_t least_loaded(uint32_t cpus, uint32_t own) const;

  std::span<const Queue> queues_;
  std::span<const Entity> entities_;
};

inline uint32_t Placement::cpus_of_siblings(uint32_t id) const {
  const uint32_t first = entities_[id].first_sibling;
  uint32_t cpus = 0;
  for (uint32_t sibling = first; sibling < first + entities_[id].siblings; ++sibling) {
    if (sibling == id) continue;
    const Place place = entities_[sibling].place(std::memory_order_relaxed);
    if (place.life != Life::asleep) cpus |= 1u << place.cpu;
  }
  return cpus;
}

inline bool Placement::sibling_runs(uint32_t id) const {
  const uint32_t first = entities_[id].first_sibling;
  for (uint32_t sibling = first; sibling < first + entities_[id].siblings; ++sibling) {
    if (sibling != id && entities_[sibling].place(std::memory_order_relaxed).life == Life::running) return true;
  }
  return false;
}

// `own` if no other is better.
inline uint32_t Placement::least_loaded(uint32_t cpus, uint32_t own) const {
  uint32_t best = (cpus >> own & 1) != 0 ? own : none;
  for (uint32_t left = cpus; left != 0; left &= left - 1) {
    const auto cpu = static_cast<uint32_t>(std::countr_zero(left));
    if (best == none || queues_[cpu].load() < queues_[best].load()) best = cpu;
  }
  return best;
}

// Without spreading: where it was or where it was woken from, or where nothing runs.
inline Target Placement::for_waking(uint32_t id, uint32_t waker, bool spread) const {
  const Entity& entity = entities_[id];
  const uint32_t own = entity.place().cpu, allowed = entity.allowed & all_cpus();
  if (allowed == 1u << own) return {own, false};
  if (spread) {
    const uint32_t taken = cpus_of_siblings(id), free = allowed & ~taken;
    return {least_loaded(free != 0 ? free : allowed, own), (taken >> own & 1) != 0 && free != 0};
  }
  uint32_t best = (allowed >> own & 1) != 0 ? own : least_loaded(allowed, own);
  if (waker != none && (allowed >> waker & 1) != 0 && queues_[waker].load() < queues_[best].load()) best = waker;
  const uint32_t least = least_loaded(allowed, best);
  return {queues_[least].load() == 0 ? least : best, false};
}

inline bool Placement::stacked(const Queue& queue, uint32_t id, bool spread) const {
  const uint32_t allowed = entities_[id].allowed & all_cpus();
  if (!spread || entities_[id].siblings == 1 || allowed == 1u << queue.cpu) return false;
  const uint32_t taken = cpus_of_siblings(id);
  return (taken >> queue.cpu & 1) != 0 && (allowed & ~taken) != 0;
}

inline Target Placement::after_turn(const Queue& queue, uint32_t id, bool spread) const {
  const Entity& entity = entities_[id];
  uint32_t allowed = entity.allowed & all_cpus();
  const Target own{queue.cpu, false};
  if (allowed == 1u << queue.cpu) return own;
  if (spread && entity.siblings > 1) {
    const uint32_t taken = cpus_of_siblings(id), free = allowed & ~taken;
    if ((taken >> queue.cpu & 1) != 0 && free != 0) return {least_loaded(free, queue.cpu), true};
    if (free != 0) allowed = free;
  }
  const uint32_t least = least_loaded(allowed, queue.cpu);
  return queues_[least].load() < queue.ready() ? Target{least, false} : own;
}

inline uint32_t Placement::busiest(uint32_t own) const {
  uint32_t busiest = own;
  for (const Queue& other : queues_) {
    if (other.load() > queues_[busiest].load()) busiest = other.cpu;
  }
  return busiest;
}

}  // namespace amphion::sched
