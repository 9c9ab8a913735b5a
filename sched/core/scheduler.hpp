// SPDX-License-Identifier: MIT OR GPL-2.0-only
// The scheduler of a machine's CPUs. See sched/README.md for the policy as an essay.
//
// Order of calls: create() each entity, then from the CPU that owns it (Entity::place().cpu): wake(), block(),
// charge(), yield(), prefer(); from CPU c: pick(c). What a call leaves in take_kicks(c) must be told to these CPUs:
// they have to call pick() soon. Time is an argument, in ticks of any clock that the CPUs share.
// Thread safety: as Entity and Queue say; `tuning` may be changed at any time, each field takes effect by itself.
//
// What it promises, and why (docs/scheduling.md has the bounds):
// - Nobody starves. Whoever runs pays at least half of it itself, for it borrows only half a turn for each whole one,
//   so all others' keys pass that of one that waits. Who lends is passed over once before its turn; who joins a
//   sibling, a wake-up, a preference and a co-scheduler's force put nobody further ahead than a bounded virtual time.
// - What one lends another receives, once: a debt has one owner at a time (Tag), and follows its vCPU.
// - Virtual time may wrap around: only differences count.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <span>
#include <utility>

#include "sched/core/decision.h"
#include "sched/core/placement.hpp"
#include "sched/core/queue.hpp"

namespace amphion::sched {

class Scheduler;

// What a policy decides; the fair queue below is common to all.
struct Policy {
  const char* name;
  bool spread;  // siblings are kept on different CPUs as long as there are enough
  // Which queued entity goes next; the queue is not empty. May set Queue::turn_most_vt.
  uint32_t (*choose)(Scheduler&, Queue&);
  // `id` begins a turn.
  void (*dispatched)(Scheduler&, Queue&, uint32_t id);
};

struct Tuning {
  std::atomic<const Policy*> policy;
  std::atomic<uint32_t> latency_ticks;                      // S_latency
  std::atomic<uint32_t> granularity_ticks;                  // S_min
  std::atomic<uint32_t> threshold{SBCO_THRESHOLD_DEFAULT};  // alpha
  std::atomic<bool> hand_over{true};                        // prefer() does something
};

struct Turn {
  uint32_t id = none;  // none: nothing is ready
  uint64_t ticks = 0;  // until pick() must be called again; `forever` if nobody waits
};
inline constexpr uint64_t forever = ~uint64_t{0};

class Scheduler {
 public:
  // Called on the CPU that owns an entity, before it is posted to another one.
  using Leaving = void (*)(uint32_t id);

  Scheduler(std::span<Queue> queues, std::span<Entity> entities, Tuning& tuning, Leaving leaving = nullptr)
      : queues_(queues), entities_(entities), placement_(queues, entities), tuning_(tuning), leaving_(leaving) {}

  // An entity that sleeps on `cpu`. Before CPUs run, or by the one that owns a sleeping entity that is given anew.
  void create(uint32_t id, uint32_t first_sibling, uint32_t siblings, uint8_t cpu, uint32_t weight_log2 = 0,
              uint32_t allowed = ~0u);

  // Entities `first` .. `first + count - 1` are siblings from now on; all of them sleep. Their statistics begin anew.
  void group(uint32_t first, uint32_t count);

  // It is ready now: placed on a CPU by the policy. `waker`: the CPU of who woke it, if that is known.
  void wake(uint32_t id, uint64_t now, uint32_t waker = none);
  // It sleeps: whether it was running or not. Only if it has_arrived().
  void block(uint32_t id, uint64_t now);
  // It used its CPU, or somebody did for it. Only if it has_arrived().
  void charge(uint32_t id, uint64_t ticks);
  // It has nothing useful to do before others have run.
  void yield(uint32_t id);
  // An interrupt came for it: a sibling may be spinning until it answers. It goes next, in a short turn, if it is not
  // ahead of the others by more than a turn and half a latency, with which a wake-up puts them behind it.
  void prefer(uint32_t id);

  // Takes in what was posted to `cpu`: from here on it owns them. pick() begins with it.
  void arrive(uint32_t cpu, uint64_t now);
  // Whether `cpu` owns it. One that is on its way belongs to nobody.
  [[nodiscard]] bool has_arrived(uint32_t id, uint32_t cpu) const {
    return entities_[id].place().cpu == cpu && !entities_[id].away;
  }
  // A scheduling point of `cpu`: who runs from now on.
  [[nodiscard]] Turn pick(uint32_t cpu, uint64_t now);
  // CPUs that must call pick(), a bit each; forgets them.
  [[nodiscard]] uint32_t take_kicks(uint32_t cpu);

  // For policies.
  [[nodiscard]] Entity& entity(uint32_t id) { return entities_[id]; }
  [[nodiscard]] std::span<Queue> queues() { return queues_; }
  [[nodiscard]] const Tuning& tuning() const { return tuning_; }
  // `from`, the first of its queue, lends virtual time to `to`, which is queued on another CPU: half a turn, of the CPU
  // where that is less. False if either may not (Tag).
  [[nodiscard]] bool lend(Queue& queue, uint32_t from, uint32_t to);
  [[nodiscard]] const Placement& placement() const { return placement_; }

  // For tests: the first invariant that does not hold; null if all do. No CPU may be inside a call.
  [[nodiscard]] const char* broken() const;

 private:
  static constexpr uint32_t published_whole = 16;   // up to here all ordinates are rewritten in each decision
  static constexpr uint32_t published_at_once = 8;  // of a longer queue
  static constexpr uint32_t looked_at_for_others = 8;
  static constexpr uint32_t most_behind_latencies = 4;  // nobody waits longer for what one long operation took
  static constexpr uint32_t short_turns_in_turn = 16;   // enough for an interrupt's handler
  static constexpr uint32_t grains_in_granularity = 4;  // who wakes takes over if it is behind by one of them
  static constexpr uint32_t most_forced_latencies = 2;  // who is further ahead is not forced on

  [[nodiscard]] const Policy& policy() const { return *tuning_.policy.load(std::memory_order_relaxed); }
  [[nodiscard]] static uint32_t weight(const Entity& entity) { return 1u << entity.weight_log2; }
  [[nodiscard]] Queue& queue_of(uint32_t id) const { return queues_[entities_[id].place().cpu]; }
  [[nodiscard]] auto debt_links() {
    return [this](uint32_t id) -> uint32_t& { return entities_[id].debt_link; };
  }

  // Virtual time.
  void advance(Queue& queue);
  [[nodiscard]] uint64_t least_vt(const Queue& queue) const;  // of the ready ones; there is one
  [[nodiscard]] uint64_t most_vt(const Queue& queue) const {
    return queue.minimum_vt + uint64_t{most_behind_latencies} * tuning_.latency_ticks.load(std::memory_order_relaxed);
  }
  [[nodiscard]] static uint64_t later(uint64_t a, uint64_t b) { return before(a, b) ? b : a; }
  void set_key(Queue& queue, uint32_t id, uint64_t key);

  // Queue and boxes.
  void insert(Queue& queue, uint32_t id, uint64_t now);
  void erase(Queue& queue, uint32_t id);
  void enqueue(Queue& queue, uint32_t id, uint64_t now);
  void dequeue(Queue& queue, uint32_t id);
  static void has_waited(Queue& queue, Entity& entity, uint64_t now);
  void ready_changed(Queue& queue);
  void post(Queue& from, uint32_t id, uint32_t cpu);
  void take_debts(Queue& queue);
  [[nodiscard]] uint16_t ordinate(const Queue& queue, uint32_t id) const;
  void publish(Queue& queue);

  // Placement.
  void move(Queue& queue, uint32_t id, const Target& to);
  // Rare: pick() keeps its registers for the rest.
  [[gnu::cold]] void answer_wishes(Queue& queue, uint64_t now);
  [[gnu::cold]] void look_for_work(Queue& queue);

  // The steps of pick().
  [[nodiscard]] bool waits_here(const Queue& queue, uint32_t id) const;
  [[nodiscard]] bool may_be_preferred(const Queue& queue, uint32_t id) const;
  [[nodiscard]] bool may_be_forced(const Queue& queue, uint32_t id) const;
  [[nodiscard]] bool goes_on(const Queue& queue, uint32_t forced) const;
  void put_back(Queue& queue, uint64_t now);
  [[nodiscard]] uint32_t choose(Queue& queue, uint32_t forced);
  [[nodiscard]] static bool may_be_adjusted_again(const Entity& entity);
  void begin_turn(Queue& queue, uint32_t id, uint64_t now);
  [[nodiscard]] uint64_t turn_length(const Queue& queue) const;
  [[nodiscard]] Turn rest_of_turn(const Queue& queue) const;

  std::span<Queue> queues_;
  std::span<Entity> entities_;
  const Placement placement_;
  Tuning& tuning_;
  Leaving leaving_;
};

// To what the queue has reached: one that was alone for long has not been put back meanwhile.
inline void Scheduler::advance(Queue& queue) {
  if (queue.ready() != 0) queue.minimum_vt = later(queue.minimum_vt, least_vt(queue));
}

inline uint64_t Scheduler::least_vt(const Queue& queue) const {
  const uint32_t first = queue.tree.first();
  if (!queue.keep_running) return entities_[first].node.key;
  const uint64_t running = entities_[queue.running].node.key;
  return first != none && before(entities_[first].node.key, running) ? entities_[first].node.key : running;
}

// ---- queue and boxes

inline void Scheduler::create(uint32_t id, uint32_t first_sibling, uint32_t siblings, uint8_t cpu, uint32_t weight_log2,
                              uint32_t allowed) {
  Entity& entity = entities_[id];  // a debt to the one that had this number before may be on its way: it is taken over
  entity.first_sibling = first_sibling;
  entity.siblings = siblings;
  entity.weight_log2 = weight_log2;
  entity.allowed = allowed;
  entity.node.key = queues_[cpu].minimum_vt;
  entity.publish({cpu, Life::asleep, 0});
}

inline void Scheduler::group(uint32_t first, uint32_t count) {
  for (uint32_t id = first; id < first + count; ++id) {
    entities_[id].first_sibling = first;
    entities_[id].siblings = count;
    entities_[id].statistics = {};
    entities_[id].run_ticks_when_lent = 0;
  }
}

inline void Scheduler::insert(Queue& queue, uint32_t id, uint64_t now) {
  Entity& entity = entities_[id];
  entity.since = now;
  queue.tree.insert(id);
  entity.publish({queue.cpu, Life::queued, ordinate(queue, id)});
}

inline void Scheduler::erase(Queue& queue, uint32_t id) {
  if (queue.published_to == id) queue.published_to = queue.tree.next(id);
  queue.tree.erase(id);
}

inline void Scheduler::enqueue(Queue& queue, uint32_t id, uint64_t now) {
  const uint64_t key = entities_[id].node.key;
  queue.weight += weight(entities_[id]);
  if (!queue.anew || before(key, queue.anew_vt)) queue.anew_vt = key;
  queue.anew = true;
  insert(queue, id, now);
  ready_changed(queue);
}

inline void Scheduler::dequeue(Queue& queue, uint32_t id) {
  queue.weight -= weight(entities_[id]);
  erase(queue, id);
  ready_changed(queue);
}

// Since it became ready here.
inline void Scheduler::has_waited(Queue& queue, Entity& entity, uint64_t now) {
  const uint64_t ticks = now - entity.since;
  entity.statistics.wait_ticks += ticks;
  queue.statistics.wait_ticks += ticks;
}

// A turn costs no more than latency or granularity, as the weights sum up to the length at least: 32 bits suffice.
inline void Scheduler::ready_changed(Queue& queue) {
  queue.length.store(queue.ready(), std::memory_order_relaxed);
  if (queue.weight == 0) return;
  const uint64_t period = sbco_period(queue.ready(), tuning_.latency_ticks.load(std::memory_order_relaxed),
                                      tuning_.granularity_ticks.load(std::memory_order_relaxed));
  const bool narrow = period >> 32 == 0;  // spares the division of 64 bits, which CPUs of 32 bits do in software
  queue.turn_vt.store(
      narrow ? static_cast<uint32_t>(period) / queue.weight : static_cast<uint32_t>(period / queue.weight),
      std::memory_order_relaxed);
}

// Virtual time travels relative to what the queue has reached.
inline void Scheduler::post(Queue& from, uint32_t id, uint32_t cpu) {
  Entity& entity = entities_[id];
  Queue& to = queues_[cpu];
  if (leaving_ != nullptr) leaving_(id);
  entity.node.key -= from.minimum_vt;
  entity.away = true;
  ++entity.statistics.moves;
  ++from.statistics.pushed;
  to.coming.fetch_add(1, std::memory_order_relaxed);
  entity.publish({to.cpu, Life::queued, static_cast<uint16_t>(to.load())});
  to.arrivals.push(id, [this](uint32_t at) -> uint32_t& { return entities_[at].arrival_link; });
  from.kicks |= 1u << cpu;
}

inline void Scheduler::arrive(uint32_t cpu, uint64_t now) {
  Queue& queue = queues_[cpu];
  for (uint32_t id = queue.arrivals.take(), next = none; id != none; id = next) {
    Entity& entity = entities_[id];
    next = entity.arrival_link;
    entity.node.key += queue.minimum_vt;
    entity.away = false;
    enqueue(queue, id, now);
    queue.coming.fetch_sub(1, std::memory_order_relaxed);
  }
}

// A debt follows its vCPU: to the CPU it went to meanwhile, or to the next time if it is still on its way.
inline void Scheduler::take_debts(Queue& queue) {
  for (uint32_t id = queue.debts.take(), next = none; id != none; id = next) {
    Entity& entity = entities_[id];
    next = entity.debt_link;
    const Place place = entity.place();
    if (place.cpu != queue.cpu || entity.away) {
      queues_[place.cpu].debts.push(id, debt_links());
      continue;
    }
    set_key(queue, id, entity.node.key - entity.debt_vt);
    ++entity.statistics.debts;
    ++queue.statistics.debts_applied;
    entity.run_ticks_when_lent = entity.statistics.run_ticks;
    entity.set_tag(Tag::borrowed);
  }
}

inline void Scheduler::set_key(Queue& queue, uint32_t id, uint64_t key) {
  Entity& entity = entities_[id];
  const bool in_tree = entity.place().life == Life::queued;
  if (in_tree) erase(queue, id);
  entity.node.key = key;
  if (in_tree) queue.tree.insert(id);
}

inline uint16_t Scheduler::ordinate(const Queue& queue, uint32_t id) const {
  const uint32_t before = queue.tree.rank(id) + (queue.keep_running ? 1 : 0);
  return static_cast<uint16_t>(before < 0xffff ? before : 0xffff);
}

// In turns, if the queue is long: a decision costs O(log n), and an ordinate is old by about n / 8 of them.
inline void Scheduler::publish(Queue& queue) {
  const bool whole = queue.tree.size() <= published_whole;
  const uint32_t most = whole ? published_whole : published_at_once;
  uint32_t id = whole ? none : queue.published_to;
  uint32_t at = id == none ? queue.keep_running : ordinate(queue, id);
  if (id == none) id = queue.tree.first();
  for (uint32_t count = 0; id != none && count < most; ++count, ++at) {
    Entity& entity = entities_[id];
    if (entity.siblings > 1) {
      entity.publish({queue.cpu, Life::queued, static_cast<uint16_t>(at < 0xffff ? at : 0xffff)});
    }
    id = queue.tree.next(id);
  }
  queue.published_to = id;
}

// ---- placement

// It is out of its queue already.
inline void Scheduler::move(Queue& queue, uint32_t id, const Target& to) {
  if (to.leaves_sibling) ++queue.statistics.stackings_avoided;
  post(queue, id, to.cpu);
}

// One of the last goes to each CPU that has nothing to do.
inline void Scheduler::answer_wishes(Queue& queue, uint64_t now) {
  for (uint32_t left = queue.wanted.exchange(0, std::memory_order_acquire); left != 0; left &= left - 1) {
    const auto cpu = static_cast<uint32_t>(std::countr_zero(left));
    if (queues_[cpu].load() != 0) continue;
    uint32_t id = queue.tree.last();
    for (uint32_t looked = 0; id != none && looked < looked_at_for_others; ++looked, id = queue.tree.previous(id)) {
      if ((entities_[id].allowed >> cpu & 1) == 0 || queue.ready() < 2) continue;
      dequeue(queue, id);
      has_waited(queue, entities_[id], now);
      post(queue, id, cpu);
      break;
    }
  }
}

inline void Scheduler::look_for_work(Queue& queue) {
  Queue& busiest = queues_[placement_.busiest(queue.cpu)];
  const uint32_t bit = 1u << queue.cpu;
  if (busiest.load() < 2) return;
  if ((busiest.wanted.fetch_or(bit, std::memory_order_acq_rel) & bit) == 0) queue.kicks |= 1u << busiest.cpu;
}

// ---- what happens to an entity

inline void Scheduler::wake(uint32_t id, uint64_t now, uint32_t waker) {
  Entity& entity = entities_[id];
  Queue& queue = queue_of(id);
  if (entity.place().life != Life::asleep) return;
  advance(queue);
  uint64_t earliest = queue.minimum_vt - tuning_.latency_ticks.load(std::memory_order_relaxed) / 2;
  if (entity.tag.load(std::memory_order_relaxed) == Tag::borrowed) earliest -= entity.debt_vt;  // it is due to it still
  entity.node.key = later(entity.node.key, earliest);
  if (const uint64_t most = most_vt(queue); before(most, entity.node.key)) entity.node.key = most;
  if (queue.running == id &&
      !placement_.stacked(queue, id, policy().spread)) {  // it stopped, and nobody was picked since
    queue.keep_running = true;
    queue.weight += weight(entity);
    ready_changed(queue);
    entity.publish({queue.cpu, Life::running, 0});
    return;
  }
  if (queue.running == id) queue.running = none;
  const Target to = placement_.for_waking(id, waker, policy().spread);
  if (to.cpu == queue.cpu) {
    enqueue(queue, id, now);
  } else {
    move(queue, id, to);
  }
}

inline void Scheduler::block(uint32_t id, uint64_t now) {
  Entity& entity = entities_[id];
  Queue& queue = queue_of(id);
  const Place place = entity.place();
  if (place.life == Life::asleep) return;
  if (place.life == Life::running) {
    queue.keep_running = false;
    queue.weight -= weight(entity);
    ready_changed(queue);
  } else {
    dequeue(queue, id);
    has_waited(queue, entity, now);
  }
  entity.publish({queue.cpu, Life::asleep, 0});
}

inline void Scheduler::charge(uint32_t id, uint64_t ticks) {
  Entity& entity = entities_[id];
  Queue& queue = queue_of(id);
  entity.statistics.run_ticks += ticks;
  if (queue.running == id) entity.turn_ticks += ticks;
  const uint64_t most = most_vt(queue);
  uint64_t key = entity.node.key + (ticks >> entity.weight_log2);
  if (before(most, key)) key = later(entity.node.key, most);
  set_key(queue, id, key);
}

inline void Scheduler::yield(uint32_t id) {
  Queue& queue = queue_of(id);
  if (queue.running != id) return;
  const uint32_t last = queue.tree.last();
  if (last == none) return;
  queue.yielded = true;
  entities_[id].node.key = later(entities_[id].node.key, entities_[last].node.key + 1);
}

inline void Scheduler::prefer(uint32_t id) {
  if (!tuning_.hand_over.load(std::memory_order_relaxed)) return;
  const Place place = entities_[id].place();
  if (place.life == Life::queued) queues_[place.cpu].preferred = id;
}

inline bool Scheduler::lend(Queue& queue, uint32_t from, uint32_t to) {
  Entity& lender = entities_[from];
  Entity& borrower = entities_[to];
  if (!borrower.change_tag(Tag::clean, Tag::owed)) return false;
  if (!lender.change_tag(Tag::clean, Tag::lent) && !lender.change_tag(Tag::borrowed, Tag::lent)) {
    borrower.set_tag(Tag::clean);
    return false;
  }
  Queue& other = queue_of(to);
  const uint32_t turn_vt = queue.turn_vt.load(std::memory_order_relaxed),
                 other_turn_vt = other.turn_vt.load(std::memory_order_relaxed);
  const uint32_t amount_vt = (turn_vt < other_turn_vt ? turn_vt : other_turn_vt) / 2;
  ++lender.statistics.lends;
  ++queue.statistics.far;
  set_key(queue, from, lender.node.key + amount_vt);
  borrower.debt_vt = amount_vt;
  other.debts.push(to, debt_links());
  return true;
}

// ---- a scheduling point

// Who was preferred or forced may have gone elsewhere meanwhile.
inline bool Scheduler::waits_here(const Queue& queue, uint32_t id) const {
  if (id == none) return false;
  const Place place = entities_[id].place();
  return place.life == Life::queued && place.cpu == queue.cpu && !entities_[id].away;
}

// One that has just woken stands half a latency behind the rest, who are preferred beside it all the same.
inline bool Scheduler::may_be_preferred(const Queue& queue, uint32_t id) const {
  if (!waits_here(queue, id)) return false;
  const uint64_t most = queue.turn_vt.load(std::memory_order_relaxed) +
                        uint64_t{tuning_.latency_ticks.load(std::memory_order_relaxed)} / 2;
  return !before(least_vt(queue) + most, entities_[id].node.key);
}

inline bool Scheduler::may_be_forced(const Queue& queue, uint32_t id) const {
  if (!waits_here(queue, id)) return false;
  const uint64_t most = uint64_t{most_forced_latencies} * tuning_.latency_ticks.load(std::memory_order_relaxed);
  return !before(least_vt(queue) + most, entities_[id].node.key);
}

inline bool Scheduler::goes_on(const Queue& queue, uint32_t forced) const {
  if (!queue.keep_running) return false;
  if (queue.tree.size() == 0) return true;
  if (forced != none || queue.preferred != none || queue.yielded) return false;
  const Entity& running = entities_[queue.running];
  if (running.turn_ticks >= turn_length(queue)) return false;
  if (!queue.anew) return true;  // who is behind was so when this turn began
  const uint64_t grain = tuning_.granularity_ticks.load(std::memory_order_relaxed) / grains_in_granularity;
  return !before(queue.anew_vt + grain, running.node.key);
}

inline void Scheduler::put_back(Queue& queue, uint64_t now) {
  const uint32_t id = queue.running;
  queue.running = none;
  if (id == none || !queue.keep_running) return;
  queue.keep_running = false;
  const Target to = placement_.after_turn(queue, id, policy().spread);
  if (to.cpu == queue.cpu) return insert(queue, id, now);
  move(queue, id, to);
  queue.weight -= weight(entities_[id]);
  ready_changed(queue);
}

inline uint32_t Scheduler::choose(Queue& queue, uint32_t forced) {
  const uint32_t preferred = queue.preferred;
  queue.preferred = none;
  queue.turn_most_vt = unlimited_vt;
  if (forced != none) return forced;
  if (preferred == none) return policy().choose(*this, queue);
  queue.turn_most_vt = queue.turn_vt.load(std::memory_order_relaxed) / short_turns_in_turn;
  return preferred;
}

// A turn of who lends nothing, half of one that is borrowed: its key advances by half of what it runs at least.
inline bool Scheduler::may_be_adjusted_again(const Entity& entity) {
  const Tag tag = entity.tag.load(std::memory_order_relaxed);
  if (tag != Tag::borrowed) return tag == Tag::lent;
  const uint64_t ran_ticks = entity.statistics.run_ticks - entity.run_ticks_when_lent;
  return ran_ticks >> entity.weight_log2 >= 2 * uint64_t{entity.debt_vt};
}

inline void Scheduler::begin_turn(Queue& queue, uint32_t id, uint64_t now) {
  Entity& entity = entities_[id];
  ++queue.statistics.decisions;
  erase(queue, id);
  has_waited(queue, entity, now);
  entity.turn_ticks = 0;
  queue.running = id;
  queue.keep_running = true;
  entity.publish({queue.cpu, Life::running, 0});
  if (may_be_adjusted_again(entity)) entity.set_tag(Tag::clean);
  if (id != queue.ran_last || entity.statistics.switches == 0) {
    queue.ran_last = id;
    ++entity.statistics.switches;
    ++queue.statistics.switches;
  }
  policy().dispatched(*this, queue, id);
}

inline uint64_t Scheduler::turn_length(const Queue& queue) const {
  const uint32_t turn_vt = queue.turn_vt.load(std::memory_order_relaxed);
  return uint64_t{turn_vt < queue.turn_most_vt ? turn_vt : queue.turn_most_vt} << entities_[queue.running].weight_log2;
}

inline Turn Scheduler::rest_of_turn(const Queue& queue) const {
  if (queue.running == none || queue.tree.size() == 0) return {queue.running, forever};
  const uint64_t ticks = turn_length(queue), used = entities_[queue.running].turn_ticks;
  return {queue.running, ticks > used ? ticks - used : 1};
}

inline Turn Scheduler::pick(uint32_t cpu, uint64_t now) {
  Queue& queue = queues_[cpu];
  arrive(cpu, now);
  take_debts(queue);
  if (queue.wanted.load(std::memory_order_relaxed) != 0) answer_wishes(queue, now);
  uint32_t forced = none;
  if (queue.forced.load(std::memory_order_relaxed) != none) {
    forced = queue.forced.exchange(none, std::memory_order_acquire);
    if (!may_be_forced(queue, forced)) forced = none;
  }
  if (!may_be_preferred(queue, queue.preferred)) queue.preferred = none;
  if (goes_on(queue, forced)) return rest_of_turn(queue);
  advance(queue);
  put_back(queue, now);
  queue.anew = queue.yielded = false;
  if (queue.tree.size() != 0) begin_turn(queue, choose(queue, forced), now);
  publish(queue);
  if (queue.running == none) look_for_work(queue);
  return rest_of_turn(queue);
}

inline uint32_t Scheduler::take_kicks(uint32_t cpu) { return std::exchange(queues_[cpu].kicks, 0u); }

// ---- for tests

inline const char* Scheduler::broken() const {
  for (const Queue& queue : queues_) {
    if (!queue.tree.check()) return "a tree is no red-black tree, or an RB index is wrong";
    uint32_t here = 0, weights = 0;
    for (uint32_t id = 0; id < entities_.size(); ++id) {
      const Entity& entity = entities_[id];
      const Place place = entity.place();
      if (place.cpu != queue.cpu || entity.away || place.life == Life::asleep) continue;
      ++here;
      weights += weight(entity);
      if ((place.life == Life::running) != (queue.running == id && queue.keep_running)) {
        return "an entity that runs is not the one that its queue runs";
      }
    }
    if (here != queue.ready()) return "a queue does not hold the entities that are ready there";
    if (weights != queue.weight) return "a queue's weight is not the sum of its entities'";
    if (queue.length.load() != queue.ready()) return "a queue's published length is wrong";
  }
  return nullptr;
}

}  // namespace amphion::sched
