// SPDX-License-Identifier: MIT OR GPL-2.0-only
// The run queue of one CPU: its ready entities but the running one in a tree by virtual run time, and the boxes in
// which other CPUs leave arrivals, debts and wishes for it.
//
// Thread safety: own CPU only, but for the atomics.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "sched/core/entity.hpp"

namespace amphion::sched {

struct EntityNodes {
  std::span<Entity> entities;
  Node& operator()(uint32_t id) const { return entities[id].node; }
};

struct QueueStatistics {  // read by others at any time
  Count decisions;
  Count switches;
  Count far;  // a sibling was too far behind: one debt each
  Count debts_applied;
  Count stackings_avoided;  // moved away from a sibling
  Count pushed;             // moved to another CPU
  Count wait_ticks;         // of all entities that were ready here, but not running
};

inline constexpr uint32_t unlimited_vt = ~0u;

struct Queue {
  constexpr Queue(uint8_t cpu_number, std::span<Entity> entities) : cpu(cpu_number), tree(EntityNodes{entities}) {}

  const uint8_t cpu;
  Tree<EntityNodes> tree;
  uint32_t running = none;               // not in the tree
  bool keep_running = false;             // `running` is ready
  uint32_t preferred = none;             // goes next if it is not too far ahead
  uint32_t turn_most_vt = unlimited_vt;  // what `running`'s turn may cost, if that is less than turn_vt
  bool yielded = false;                  // `running` has nothing useful to do before others have run
  bool anew = false;                     // somebody became ready since the turn began
  uint64_t anew_vt = 0;                  // if so: the least of their virtual run times
  uint32_t ran_last = none;
  uint64_t minimum_vt = 0;       // what the queue has reached; never goes back
  uint32_t weight = 0;           // sum of all ready entities'
  uint32_t published_to = none;  // the entity at which the next publication goes on
  uint32_t kicks = 0;            // CPUs that must reach a scheduling point
  QueueStatistics statistics;

  Box arrivals;
  Box debts;
  std::atomic<uint32_t> wanted{0};     // CPUs that have nothing to do, a bit each
  std::atomic<uint32_t> forced{none};  // a co-scheduler wants this entity to run now
  std::atomic<uint32_t> length{0};     // ready entities, the running one counted
  std::atomic<uint32_t> turn_vt{0};    // what a turn costs as the queue stands, alike for all weights
  std::atomic<uint32_t> coming{0};     // posted to `arrivals` and not taken

  [[nodiscard]] uint32_t ready() const { return tree.size() + (keep_running ? 1 : 0); }
  // For other CPUs.
  [[nodiscard]] uint32_t load() const {
    return length.load(std::memory_order_relaxed) + coming.load(std::memory_order_relaxed);
  }
};

}  // namespace amphion::sched
