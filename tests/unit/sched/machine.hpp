// SPDX-License-Identifier: Apache-2.0
// Machines for tests: Parts are CPUs' queues, entities and the scheduler over them; a Machine lets them run in virtual
// time, one entity a CPU.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "sched/core/policy.hpp"

namespace amphion::sched {

inline constexpr uint64_t ms = 1'000'000;

struct Parts {
  Parts(uint32_t cpus, uint32_t count)
      : entities(count), queues(make(cpus, entities)), scheduler({queues.get(), cpus}, entities, tuning) {
    tuning.policy = &sbco;
    tuning.latency_ticks = 20 * ms;
    tuning.granularity_ticks = 4 * ms;
  }
  Queue& queue(uint32_t cpu) { return queues.get()[cpu]; }

  struct Destroy {
    uint32_t cpus;
    void operator()(Queue* first) const {
      std::destroy_n(first, cpus);
      ::operator delete(first);
    }
  };
  std::vector<Entity> entities;
  std::unique_ptr<Queue, Destroy> queues;
  Tuning tuning;
  Scheduler scheduler;

 private:
  static std::unique_ptr<Queue, Destroy> make(uint32_t cpus, std::vector<Entity>& entities) {
    auto* first = static_cast<Queue*>(::operator new(sizeof(Queue) * cpus));
    for (uint32_t cpu = 0; cpu < cpus; ++cpu) new (first + cpu) Queue(static_cast<uint8_t>(cpu), entities);
    return {first, Destroy{cpus}};
  }
};

class Machine : public Parts {
 public:
  Machine(uint32_t cpus, uint32_t count)
      : Parts(cpus, count), cpus_(cpus), left_(count, never), wakes_at_(count, never) {}

  // Entities `first` .. `first + count - 1` are an instance.
  void instance(uint32_t first, uint32_t count, uint32_t cpu = 0, uint32_t weight_log2 = 0, uint32_t allowed = ~0u) {
    for (uint32_t id = first; id < first + count; ++id) {
      scheduler.create(id, first, count, static_cast<uint8_t>(cpu), weight_log2, allowed);
    }
  }
  void start() {
    for (uint32_t id = 0; id < entities.size(); ++id) wake(id);
  }
  void prefer(uint32_t id) {
    const uint32_t cpu = entities[id].place().cpu;
    scheduler.arrive(cpu, now);
    scheduler.prefer(id);
    decide(cpu);
  }
  void yield(uint32_t cpu) {
    if (on_[cpu].id == none) return;
    settle(cpu);
    scheduler.yield(on_[cpu].id);
    decide(cpu);
  }

  // How long an entity runs before it sleeps, and how long it sleeps; asked for each burst.
  std::function<uint64_t(uint32_t)> burst = [](uint32_t) { return never; };
  std::function<uint64_t(uint32_t)> sleep = [](uint32_t) { return ms; };
  std::function<void()> after_each_event = [] {};

  void run_until(uint64_t end) {
    for (;;) {
      uint64_t next = end;
      for (const On& on : on_) next = std::min(next, on.until);
      for (const uint64_t at : wakes_at_) next = std::min(next, at);
      now = next;
      if (now >= end) break;
      for (uint32_t id = 0; id < entities.size(); ++id) {
        if (wakes_at_[id] <= now) wakes_at_[id] = never, wake(id);
      }
      for (uint32_t cpu = 0; cpu < cpus_; ++cpu) {
        if (on_[cpu].until <= now) decide(cpu);
      }
      ASSERT_EQ(scheduler.broken(), nullptr);
      after_each_event();
    }
    for (uint32_t cpu = 0; cpu < cpus_; ++cpu) settle(cpu);
    for (uint32_t id = 0; id < entities.size(); ++id) {
      if (entities[id].place().life == Life::queued) longest_wait = std::max(longest_wait, now - ready_since_[id]);
    }
  }

  [[nodiscard]] uint64_t run_time(uint32_t id) const {
    uint64_t time = entities[id].statistics.run_ticks;
    for (const On& on : on_) time += on.id == id ? now - on.since : 0;
    return time;
  }
  [[nodiscard]] uint64_t far() { return sum(&QueueStatistics::far); }
  [[nodiscard]] uint64_t sum(Count QueueStatistics::*figure) {
    uint64_t result = 0;
    for (uint32_t cpu = 0; cpu < cpus_; ++cpu) result += queue(cpu).statistics.*figure;
    return result;
  }
  // The longest that one has been ready without running; also who waits now.
  uint64_t longest_wait = 0;
  uint64_t now = 0;

 private:
  static constexpr uint64_t never = ~uint64_t{0};
  struct On {
    uint32_t id = none;
    uint64_t since = 0, until = never;
  };

  void wake(uint32_t id) {
    const uint32_t cpu = entities[id].place().cpu;
    left_[id] = burst(id);
    ready_since_[id] = now;
    settle(cpu);
    scheduler.wake(id, now);
    decide(cpu);
  }
  void settle(uint32_t cpu) {
    On& on = on_[cpu];
    if (on.id != none && now > on.since) {
      scheduler.charge(on.id, now - on.since);
      if (left_[on.id] != never) left_[on.id] -= now - on.since;
    }
    on.since = now;
  }
  void decide(uint32_t first) {
    uint32_t kicked = 1u << first;
    while (kicked != 0) {
      const auto cpu = static_cast<uint32_t>(std::countr_zero(kicked));
      kicked &= kicked - 1;
      settle(cpu);
      On& on = on_[cpu];
      if (on.id != none && left_[on.id] == 0) {
        scheduler.block(on.id, now);
        wakes_at_[on.id] = now + sleep(on.id);
        on.id = none;
      }
      const uint32_t ran = on.id;
      const Turn turn = scheduler.pick(cpu, now);
      on.id = turn.id;
      on.until = turn.id == none ? never : std::min(turn.ticks, left_[turn.id]);
      if (on.until != never) on.until += now;
      if (ran != on.id) {
        if (ran != none) ready_since_[ran] = now;
        if (on.id != none) longest_wait = std::max(longest_wait, now - ready_since_[on.id]);
      }
      kicked |= scheduler.take_kicks(cpu);
    }
  }

  uint32_t cpus_;
  std::vector<On> on_ = std::vector<On>(cpus_);
  std::vector<uint64_t> left_, wakes_at_;
  std::map<uint32_t, uint64_t> ready_since_;
};

}  // namespace amphion::sched
