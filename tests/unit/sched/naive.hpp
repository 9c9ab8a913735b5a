// SPDX-License-Identifier: Apache-2.0
// The scheduler as one would write it if nothing cost anything: sorted lists, no atomics, numbers as they are in
// docs/scheduling.md. Calls are those of sched::Scheduler.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sched/core/policy.hpp"

namespace amphion::sched {

struct NaiveEntity {
  uint32_t cpu = 0;
  Life life = Life::asleep;
  uint32_t ordinate = 0;  // as last published
  bool away = false;
  int64_t key = 0;
  uint32_t weight = 1;
  uint32_t first_sibling = 0, siblings = 1, allowed = ~0u;
  int64_t used = 0;  // of the turn
  Tag tag = Tag::clean;
  int64_t debt = 0, ran = 0;  // given to it last, what it has run since
};

struct NaiveQueue {
  std::vector<uint32_t> waiting;  // by key
  std::optional<uint32_t> running, ran_last, preferred, forced, published_to;
  bool keep = false, yielded = false;
  std::optional<int64_t> anew;  // the least key of those that became ready since the turn began
  std::optional<int64_t> most;  // what the turn may cost at most
  int64_t reached = 0;
  int64_t turn = 0;
  std::vector<uint32_t> arrivals, debts;  // the last is taken first
  uint32_t wanted = 0, kicks = 0;
};

class Naive {
 public:
  struct Settings {
    std::string policy = "sbco";
    int64_t latency = 20000, granularity = 4000;
    uint32_t threshold = SBCO_THRESHOLD_DEFAULT;
    bool hand_over = true;
  };
  Settings settings;
  std::vector<NaiveEntity> entities;
  std::vector<NaiveQueue> queues;

  void wake(uint32_t id, std::optional<uint32_t> waker) {
    NaiveEntity& e = entities[id];
    if (e.life != Life::asleep) return;
    NaiveQueue& q = queues[e.cpu];
    advance(q);
    e.key = std::max(e.key, q.reached - settings.latency / 2 - (e.tag == Tag::borrowed ? e.debt : 0));
    e.key = std::min(e.key, q.reached + 4 * settings.latency);
    if (q.running == id && !(spread() && in(e.cpu, siblings_at(id)) && free_of_siblings(id) != 0)) {
      q.keep = true;
      e.life = Life::running;
      e.ordinate = 0;
      return resize(q);
    }
    if (q.running == id) q.running.reset();
    const uint32_t target = place_for(id, waker);
    if (target == e.cpu) {
      add(target, id);
    } else {
      post(id, target);
    }
  }

  void block(uint32_t id) {
    NaiveEntity& e = entities[id];
    if (e.life == Life::asleep) return;
    NaiveQueue& q = queues[e.cpu];
    if (e.life == Life::running) {
      q.keep = false;
    } else {
      remove(q, id);
    }
    e.life = Life::asleep;
    e.ordinate = 0;
    resize(q);
  }

  void charge(uint32_t id, int64_t ticks) {
    NaiveEntity& e = entities[id];
    NaiveQueue& q = queues[e.cpu];
    if (q.running == id) e.used += ticks;
    e.ran += ticks;
    const int64_t most = q.reached + 4 * settings.latency;
    set_key(id, std::max(e.key, std::min(e.key + ticks / e.weight, most)));
  }

  void yield(uint32_t id) {
    NaiveQueue& q = queues[entities[id].cpu];
    if (q.running != id || q.waiting.empty()) return;
    q.yielded = true;
    entities[id].key = std::max(entities[id].key, entities[q.waiting.back()].key + 1);
  }

  void prefer(uint32_t id) {
    if (settings.hand_over && entities[id].life == Life::queued) queues[entities[id].cpu].preferred = id;
  }

  void arrive(uint32_t cpu) {
    NaiveQueue& q = queues[cpu];
    for (; !q.arrivals.empty(); q.arrivals.pop_back()) {
      const uint32_t id = q.arrivals.back();
      entities[id].key += q.reached;
      entities[id].away = false;
      add(cpu, id);
    }
  }

  // The one that runs, and how long.
  std::pair<std::optional<uint32_t>, int64_t> pick(uint32_t cpu) {
    NaiveQueue& q = queues[cpu];
    arrive(cpu);
    take_debts(cpu);
    answer(cpu);
    std::optional<uint32_t> forced = q.forced;
    q.forced.reset();
    if (!forced || !waits(cpu, *forced) || entities[*forced].key > least(q) + 2 * settings.latency) forced.reset();
    if (q.preferred &&
        (!waits(cpu, *q.preferred) || entities[*q.preferred].key > least(q) + q.turn + settings.latency / 2))
      q.preferred.reset();
    if (!goes_on(q, forced)) decide(cpu, forced);
    if (!q.running || q.waiting.empty()) return {q.running, -1};
    return {q.running, std::max<int64_t>(1, length_of_turn(q) - entities[*q.running].used)};
  }

  uint32_t take_kicks(uint32_t cpu) { return std::exchange(queues[cpu].kicks, 0u); }
  [[nodiscard]] uint32_t load(uint32_t cpu) const {
    return ready(queues[cpu]) + static_cast<uint32_t>(queues[cpu].arrivals.size());
  }

 private:
  [[nodiscard]] bool spread() const { return settings.policy != "dft"; }
  [[nodiscard]] static bool in(uint32_t cpu, uint32_t cpus) { return (cpus >> cpu & 1) != 0; }
  [[nodiscard]] static uint32_t ready(const NaiveQueue& q) {
    return static_cast<uint32_t>(q.waiting.size()) + (q.keep ? 1 : 0);
  }
  [[nodiscard]] uint32_t all() const { return (1u << queues.size()) - 1; }
  [[nodiscard]] bool waits(uint32_t cpu, uint32_t id) const {
    return entities[id].life == Life::queued && entities[id].cpu == cpu && !entities[id].away;
  }
  [[nodiscard]] int64_t least(const NaiveQueue& q) const {
    int64_t result = INT64_MAX;
    if (q.keep) result = entities[*q.running].key;
    for (uint32_t id : q.waiting) result = std::min(result, entities[id].key);
    return result;
  }
  void advance(NaiveQueue& q) const {
    if (ready(q) != 0) q.reached = std::max(q.reached, least(q));
  }
  void resize(NaiveQueue& q) const {
    int64_t weight = q.keep ? entities[*q.running].weight : 0;
    for (uint32_t id : q.waiting) weight += entities[id].weight;
    if (weight != 0) q.turn = std::max(settings.latency, settings.granularity * ready(q)) / weight;
  }

  void remove(NaiveQueue& q, uint32_t id) {
    const auto at = std::find(q.waiting.begin(), q.waiting.end(), id);
    if (q.published_to == id) {
      q.published_to = at + 1 == q.waiting.end() ? std::nullopt : std::optional<uint32_t>(*(at + 1));
    }
    q.waiting.erase(at);
  }
  void insert(NaiveQueue& q, uint32_t id) {
    const auto at = std::upper_bound(q.waiting.begin(), q.waiting.end(), entities[id].key,
                                     [&](int64_t key, uint32_t other) { return key < entities[other].key; });
    entities[id].ordinate = static_cast<uint32_t>(at - q.waiting.begin()) + (q.keep ? 1 : 0);
    q.waiting.insert(at, id);
  }
  void add(uint32_t cpu, uint32_t id) {
    NaiveQueue& q = queues[cpu];
    entities[id].life = Life::queued;
    entities[id].cpu = cpu;
    q.anew = std::min(entities[id].key, q.anew.value_or(entities[id].key));
    insert(q, id);
    resize(q);
  }
  void set_key(uint32_t id, int64_t key) {
    NaiveEntity& e = entities[id];
    const uint32_t ordinate = e.ordinate;
    if (e.life == Life::queued) remove(queues[e.cpu], id);
    e.key = key;
    if (e.life == Life::queued) insert(queues[e.cpu], id);
    e.ordinate = ordinate;  // published with the next decision
  }
  void post(uint32_t id, uint32_t cpu) {
    NaiveEntity& e = entities[id];
    NaiveQueue& from = queues[e.cpu];
    e.key -= from.reached;
    e.away = true;
    e.life = Life::queued;
    e.cpu = cpu;
    queues[cpu].arrivals.push_back(id);
    e.ordinate = load(cpu);
    from.kicks |= 1u << cpu;
  }

  void take_debts(uint32_t cpu) {
    std::vector<uint32_t> debts = std::exchange(queues[cpu].debts, {});
    for (; !debts.empty(); debts.pop_back()) {
      const uint32_t id = debts.back();
      NaiveEntity& e = entities[id];
      if (e.cpu != cpu || e.away) {
        queues[e.cpu].debts.push_back(id);
        continue;
      }
      set_key(id, e.key - e.debt);
      e.tag = Tag::borrowed;
      e.ran = 0;
    }
  }

  [[nodiscard]] uint32_t siblings_at(uint32_t id) const {
    const NaiveEntity& e = entities[id];
    uint32_t cpus = 0;
    for (uint32_t s = e.first_sibling; s < e.first_sibling + e.siblings; ++s) {
      if (s != id && entities[s].life != Life::asleep) cpus |= 1u << entities[s].cpu;
    }
    return cpus;
  }
  [[nodiscard]] uint32_t free_of_siblings(uint32_t id) const { return entities[id].allowed & all() & ~siblings_at(id); }
  // The CPU with the least load; `own` if none has less.
  [[nodiscard]] uint32_t shortest(uint32_t cpus, uint32_t own) const {
    uint32_t best = in(own, cpus) ? own : none;
    for (uint32_t cpu = 0; cpu < queues.size(); ++cpu) {
      if (in(cpu, cpus) && (best == none || load(cpu) < load(best))) best = cpu;
    }
    return best;
  }
  [[nodiscard]] uint32_t place_for(uint32_t id, std::optional<uint32_t> waker) const {
    const NaiveEntity& e = entities[id];
    const uint32_t allowed = e.allowed & all();
    if (spread()) return shortest(free_of_siblings(id) != 0 ? free_of_siblings(id) : allowed, e.cpu);
    uint32_t best = in(e.cpu, allowed) ? e.cpu : shortest(allowed, e.cpu);
    if (waker && in(*waker, allowed) && load(*waker) < load(best)) best = *waker;
    const uint32_t idle = shortest(allowed, best);
    return load(idle) == 0 ? idle : best;
  }

  void answer(uint32_t cpu) {
    NaiveQueue& q = queues[cpu];
    const uint32_t wanted = std::exchange(q.wanted, 0u);
    for (uint32_t other = 0; other < queues.size(); ++other) {
      if (!in(other, wanted) || load(other) != 0) continue;
      const auto last = static_cast<int>(q.waiting.size()) - 1;
      for (int at = last; at >= 0 && at > last - 8; --at) {
        const uint32_t id = q.waiting[static_cast<size_t>(at)];
        if (!in(other, entities[id].allowed) || ready(q) < 2) continue;
        remove(q, id);
        resize(q);
        post(id, other);
        break;
      }
    }
  }

  [[nodiscard]] int64_t length_of_turn(const NaiveQueue& q) const {
    return std::min(q.turn, q.most.value_or(q.turn)) * entities[*q.running].weight;
  }
  [[nodiscard]] bool goes_on(const NaiveQueue& q, std::optional<uint32_t> forced) const {
    if (!q.keep) return false;
    if (q.waiting.empty()) return true;
    if (forced || q.preferred || q.yielded || entities[*q.running].used >= length_of_turn(q)) return false;
    return !q.anew || entities[*q.running].key <= *q.anew + settings.granularity / 4;
  }

  [[nodiscard]] bool moved_away(uint32_t cpu, uint32_t id) {
    uint32_t cpus = entities[id].allowed & all();
    if (spread() && entities[id].siblings > 1) {
      const uint32_t free = free_of_siblings(id);
      if (in(cpu, siblings_at(id)) && free != 0) {
        post(id, shortest_but_for(free, cpu));
        return true;
      }
      if (free != 0) cpus = free;
    }
    const uint32_t target = shortest_but_for(cpus, cpu);
    if (target == cpu || load(target) >= queues[cpu].waiting.size()) return false;
    post(id, target);
    return true;
  }
  // As shortest(), for one that still counts at `own`.
  [[nodiscard]] uint32_t shortest_but_for(uint32_t cpus, uint32_t own) {
    queues[own].keep = true;
    const uint32_t best = shortest(cpus, own);
    queues[own].keep = false;
    return best;
  }

  void decide(uint32_t cpu, std::optional<uint32_t> forced) {
    NaiveQueue& q = queues[cpu];
    advance(q);
    if (q.running && q.keep) {
      const uint32_t id = *q.running;
      q.keep = false;
      if (moved_away(cpu, id)) {
        resize(q);
      } else {
        entities[id].life = Life::queued;
        insert(q, id);
      }
    }
    q.running.reset();
    q.anew.reset();
    q.yielded = false;
    if (!q.waiting.empty()) begin(cpu, next(cpu, forced));
    publish(q);
    if (!q.running) wish(cpu);
  }

  [[nodiscard]] bool sibling_runs(uint32_t id) const {
    const NaiveEntity& e = entities[id];
    for (uint32_t s = e.first_sibling; s < e.first_sibling + e.siblings; ++s) {
      if (s != id && entities[s].life == Life::running) return true;
    }
    return false;
  }
  // Within half a turn of the first, and one of the first eight.
  [[nodiscard]] std::optional<uint32_t> joining(const NaiveQueue& q) const {
    if (q.waiting.size() < 3) return std::nullopt;
    for (size_t at = 0; at < std::min<size_t>(8, q.waiting.size()); ++at) {
      const uint32_t id = q.waiting[at];
      if (entities[id].key > entities[q.waiting.front()].key + q.turn / 2) break;
      if (id != q.ran_last && sibling_runs(id)) return id;
    }
    return std::nullopt;
  }

  [[nodiscard]] uint32_t next(uint32_t cpu, std::optional<uint32_t> forced) {
    NaiveQueue& q = queues[cpu];
    const std::optional<uint32_t> preferred = q.preferred;
    q.preferred.reset();
    q.most.reset();
    if (forced) return *forced;
    if (preferred) {
      q.most = q.turn / 16;
      return *preferred;
    }
    const uint32_t first = q.waiting.front();
    if (settings.policy != "sbco") return first;
    if (const auto joins = joining(q)) {
      q.most = q.turn - q.turn / 3 - (entities[*joins].key - entities[first].key);
      return *joins;
    }
    if (q.waiting.size() < 2 || entities[first].siblings == 1) return first;
    std::optional<uint32_t> slowest;
    for (uint32_t s = entities[first].first_sibling; s < entities[first].first_sibling + entities[first].siblings;
         ++s) {
      const NaiveEntity& e = entities[s];
      if (e.life != Life::queued || e.cpu == cpu || e.tag != Tag::clean || e.ordinate == 0) continue;
      if (!slowest || e.ordinate > entities[*slowest].ordinate) slowest = s;
    }
    const auto length = static_cast<double>(q.waiting.size());
    if (!slowest || entities[*slowest].ordinate < std::max(1.0, length * settings.threshold / 1024)) return first;
    NaiveEntity &lender = entities[first], &borrower = entities[*slowest];
    if (lender.tag == Tag::owed || lender.tag == Tag::lent) return first;
    const uint32_t successor = q.waiting[1];
    borrower.debt = std::min(q.turn, queues[borrower.cpu].turn) / 2;
    borrower.tag = Tag::owed;
    queues[borrower.cpu].debts.push_back(*slowest);
    lender.tag = Tag::lent;
    set_key(first, lender.key + borrower.debt);
    return successor;
  }

  void begin(uint32_t cpu, uint32_t id) {
    NaiveQueue& q = queues[cpu];
    NaiveEntity& e = entities[id];
    remove(q, id);
    e.used = 0;
    q.running = q.ran_last = id;
    q.keep = true;
    e.life = Life::running;
    e.ordinate = 0;
    if (e.tag == Tag::lent || (e.tag == Tag::borrowed && e.ran / e.weight >= 2 * e.debt)) e.tag = Tag::clean;
    const bool forces =
        (settings.policy == "procco" && e.first_sibling == id) || (settings.policy == "cpuco" && cpu == 0);
    if (!forces) return;
    for (uint32_t s = e.first_sibling; s < e.first_sibling + e.siblings; ++s) {
      if (entities[s].life != Life::queued || entities[s].cpu == cpu) continue;
      queues[entities[s].cpu].forced = s;
      q.kicks |= 1u << entities[s].cpu;
    }
  }

  void publish(NaiveQueue& q) {
    uint32_t at = 0;
    if (q.waiting.size() > 16 && q.published_to) {
      at = static_cast<uint32_t>(std::find(q.waiting.begin(), q.waiting.end(), *q.published_to) - q.waiting.begin());
    }
    uint32_t count = 0;
    const uint32_t most = q.waiting.size() > 16 ? 8 : 16;
    for (; at < q.waiting.size() && count < most; ++at, ++count) {
      if (entities[q.waiting[at]].siblings > 1) entities[q.waiting[at]].ordinate = at + (q.keep ? 1 : 0);
    }
    if (count != 0) q.published_to = at < q.waiting.size() ? std::optional(q.waiting[at]) : std::nullopt;
  }

  void wish(uint32_t cpu) {
    uint32_t busiest = cpu;
    for (uint32_t other = 0; other < queues.size(); ++other) {
      if (load(other) > load(busiest)) busiest = other;
    }
    if (load(busiest) < 2) return;
    if (!in(cpu, queues[busiest].wanted)) queues[cpu].kicks |= 1u << busiest;
    queues[busiest].wanted |= 1u << cpu;
  }
};

}  // namespace amphion::sched
