// SPDX-License-Identifier: MIT OR GPL-2.0-only
// The policies that stand beside one another on the same fair queue:
//   DFT     plain fair scheduling, as Linux's CFS: who has least virtual run time goes next
//   BAL     the same, and siblings are kept on different CPUs (Sukwong and Kim, EuroSys 2011)
//   PROCCO  BAL, and when an instance's vCPU 0 begins a turn its siblings are forced on
//   CPUCO   BAL, and whichever instance CPU 0 runs, the others run its siblings
//   SBCO    BAL, and who is too far ahead of a sibling lends it virtual time and lets its successor go first; among
//           those about equal, whoever has a sibling that runs at this moment goes first
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "sched/core/scheduler.hpp"

namespace amphion::sched {

namespace policy_detail {

inline uint32_t least_run_time(Scheduler&, Queue& queue) { return queue.tree.first(); }
inline void nothing(Scheduler&, Queue&, uint32_t) {}

// All siblings that wait on other CPUs go on there at once.
inline void force_siblings(Scheduler& scheduler, Queue& queue, uint32_t id) {
  const Entity& entity = scheduler.entity(id);
  for (uint32_t sibling = entity.first_sibling; sibling < entity.first_sibling + entity.siblings; ++sibling) {
    const Place place = scheduler.entity(sibling).place();
    if (place.life != Life::queued || place.cpu == queue.cpu) continue;
    scheduler.queues()[place.cpu].forced.store(sibling, std::memory_order_release);
    queue.kicks |= 1u << place.cpu;
  }
}
inline void vcpu_0_forces_siblings(Scheduler& scheduler, Queue& queue, uint32_t id) {
  if (scheduler.entity(id).first_sibling == id) force_siblings(scheduler, queue, id);
}
inline void cpu_0_forces_siblings(Scheduler& scheduler, Queue& queue, uint32_t id) {
  if (queue.cpu == 0) force_siblings(scheduler, queue, id);
}

// SCHED_BALANCE in the pick of the next: who is too far ahead lends to its slowest sibling.
inline uint32_t not_too_far_ahead(Scheduler& scheduler, Queue& queue) {
  const uint32_t first = queue.tree.first(), successor = queue.tree.next(first);
  const Entity& entity = scheduler.entity(first);
  const Tag tag = entity.tag.load(std::memory_order_relaxed);
  if (successor == none || entity.siblings == 1 || tag == Tag::owed || tag == Tag::lent) return first;
  const uint32_t threshold =
      sbco_threshold(queue.tree.size(), scheduler.tuning().threshold.load(std::memory_order_relaxed));
  uint32_t slowest = none, most_before = 0;
  for (uint32_t sibling = entity.first_sibling; sibling < entity.first_sibling + entity.siblings; ++sibling) {
    const Entity& other = scheduler.entity(sibling);
    const Place place = other.place(std::memory_order_relaxed);
    if (place.life != Life::queued || place.cpu == queue.cpu || place.ordinate <= most_before) continue;
    if (other.tag.load(std::memory_order_relaxed) != Tag::clean) continue;
    slowest = sibling;
    most_before = place.ordinate;
  }
  if (slowest == none || !sbco_far(0, most_before, threshold)) return first;
  return scheduler.lend(queue, first, slowest) ? successor : first;
}

// Among those that are about equal, within half a turn of the first, the first that has a sibling running elsewhere, so
// that both run at once.
inline uint32_t who_joins_a_sibling(Scheduler& scheduler, Queue& queue) {
  uint32_t id = queue.tree.first();
  const uint64_t first = scheduler.entity(id).node.key;
  const uint32_t turn_vt = queue.turn_vt.load(std::memory_order_relaxed);
  for (uint32_t looked = 0; id != none && looked < SBCO_JOINING_LOOKED_AT; ++looked, id = queue.tree.next(id)) {
    const Entity& entity = scheduler.entity(id);
    const uint64_t ahead = entity.node.key - first;
    if (!sbco_may_join(ahead, turn_vt)) break;
    if (id == queue.ran_last || entity.siblings == 1 || !scheduler.placement().sibling_runs(id)) continue;
    queue.turn_most_vt = static_cast<uint32_t>(sbco_joined_turn(ahead, turn_vt));
    return id;
  }
  return none;
}

inline uint32_t joins_or_not_too_far_ahead(Scheduler& scheduler, Queue& queue) {
  const uint32_t joins = queue.tree.size() >= SBCO_JOINING_LENGTH ? who_joins_a_sibling(scheduler, queue) : none;
  return joins != none ? joins : not_too_far_ahead(scheduler, queue);
}

}  // namespace policy_detail

inline constexpr Policy dft{"dft", false, policy_detail::least_run_time, policy_detail::nothing};
inline constexpr Policy bal{"bal", true, policy_detail::least_run_time, policy_detail::nothing};
inline constexpr Policy procco{"procco", true, policy_detail::least_run_time, policy_detail::vcpu_0_forces_siblings};
inline constexpr Policy cpuco{"cpuco", true, policy_detail::least_run_time, policy_detail::cpu_0_forces_siblings};
inline constexpr Policy sbco{"sbco", true, policy_detail::joins_or_not_too_far_ahead, policy_detail::nothing};

inline constexpr std::array<const Policy*, 5> policies{&dft, &bal, &procco, &cpuco, &sbco};

// Null: there is none of that name.
[[nodiscard]] constexpr const Policy* policy_named(std::string_view name,
                                                   std::span<const Policy* const> among = policies) {
  for (const Policy* policy : among) {
    if (policy->name == name) return policy;
  }
  return nullptr;
}

}  // namespace amphion::sched
