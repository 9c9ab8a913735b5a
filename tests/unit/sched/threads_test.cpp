// SPDX-License-Identifier: Apache-2.0
// CPUs as real threads. Each touches its own queue only; what it wants of another goes through that one's inbox and an
// interrupt. A CPU without work waits for an interrupt, as a real one does: a kick that is lost ends in a test that
// does not end, an entity that is lost as well.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <bit>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/sched/machine.hpp"

namespace amphion::sched {
namespace {

constexpr uint32_t cpus = 4, instances = 5, count = cpus * instances;
constexpr uint32_t turns_each = 1500;

struct Cpu {
  std::atomic<uint32_t> interrupt{0};
  std::atomic<uint64_t> inbox{0};  // entities that somebody wants to be woken, or stopped for a moment
};

class Threads : public testing::TestWithParam<const Policy*> {
 protected:
  Threads() : parts_(cpus, count) {
    parts_.tuning.policy = GetParam();
    parts_.tuning.latency_ticks = 200;
    parts_.tuning.granularity_ticks = 40;
    parts_.tuning.threshold = 300;
    for (uint32_t id = 0; id < count; ++id) parts_.scheduler.create(id, id / cpus * cpus, cpus, 0);
  }

  void interrupt(uint32_t cpu) {
    cpus_[cpu].interrupt.store(1, std::memory_order_release);
    cpus_[cpu].interrupt.notify_one();
  }
  // Its CPU is to wake it, or to stop it if it is ready; wherever it is by then.
  void disturb(uint32_t id) {
    const uint32_t cpu = parts_.entities[id].place().cpu;
    cpus_[cpu].inbox.fetch_or(uint64_t{1} << id, std::memory_order_release);
    interrupt(cpu);
  }

  void serve_inbox(uint32_t cpu, uint32_t random) {
    Scheduler& scheduler = parts_.scheduler;
    scheduler.arrive(cpu, now());
    for (uint64_t left = cpus_[cpu].inbox.exchange(0, std::memory_order_acquire); left != 0; left &= left - 1) {
      const auto id = static_cast<uint32_t>(std::countr_zero(left));
      if (!scheduler.has_arrived(id, cpu)) {
        disturb(id);
      } else if (parts_.entities[id].place().life == Life::asleep) {
        if (turns_[id] < turns_each) scheduler.wake(id, now(), random % cpus);
      } else if (random % 2 == 0) {
        scheduler.prefer(id);
      } else {  // stopped and started
        scheduler.block(id, now());
        scheduler.wake(id, now());
      }
    }
  }
  uint64_t now() { return clock_.fetch_add(1, std::memory_order_relaxed); }

  // One turn of whoever is picked, until all have had theirs.
  void run(uint32_t cpu) {
    std::mt19937 random(cpu + 1);
    Scheduler& scheduler = parts_.scheduler;
    uint32_t running = none;
    while (unfinished_.load(std::memory_order_acquire) != 0) {
      serve_inbox(cpu, static_cast<uint32_t>(random()));
      if (running != none && parts_.queue(cpu).running == running && parts_.queue(cpu).keep_running) {
        end_burst(running, random);
      }
      const Turn turn = scheduler.pick(cpu, now());
      for (uint32_t kicks = scheduler.take_kicks(cpu); kicks != 0; kicks &= kicks - 1) {
        interrupt(static_cast<uint32_t>(std::countr_zero(kicks)));
      }
      running = turn.id;
      if (running == none) cpus_[cpu].interrupt.wait(0, std::memory_order_acquire);
      cpus_[cpu].interrupt.exchange(0, std::memory_order_acquire);
    }
  }
  void end_burst(uint32_t id, std::mt19937& random) {
    Scheduler& scheduler = parts_.scheduler;
    scheduler.charge(id, random() % 60);
    if (random() % 8 == 0) scheduler.yield(id);
    if (random() % 4 == 0) disturb(static_cast<uint32_t>(random() % count));
    if (++turns_[id] == turns_each) {
      scheduler.block(id, now());
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        for (uint32_t other = 0; other < cpus; ++other) interrupt(other);
      }
    } else if (random() % 4 == 0) {
      scheduler.block(id, now());
      disturb(id);
    }
  }

  Parts parts_;
  std::array<Cpu, cpus> cpus_;
  std::array<uint32_t, count> turns_{};  // each its CPU's
  std::atomic<uint32_t> unfinished_{count};
  std::atomic<uint64_t> clock_{0};
};

TEST_P(Threads, LoseNothing) {
  for (uint32_t id = 0; id < count; ++id) disturb(id);
  std::vector<std::thread> threads;
  for (uint32_t cpu = 0; cpu < cpus; ++cpu) threads.emplace_back([this, cpu] { run(cpu); });
  for (std::thread& thread : threads) thread.join();

  for (int round = 0; round < 4; ++round) {  // what is still on its way, and debts that follow it
    for (uint32_t cpu = 0; cpu < cpus; ++cpu) static_cast<void>(parts_.scheduler.pick(cpu, now()));
  }
  EXPECT_EQ(parts_.scheduler.broken(), nullptr);
  uint64_t far = 0, applied = 0, lends = 0, debts = 0;
  for (uint32_t cpu = 0; cpu < cpus; ++cpu) {
    const Queue& queue = parts_.queue(cpu);
    far += queue.statistics.far, applied += queue.statistics.debts_applied;
    EXPECT_EQ(queue.coming.load(), 0u);
  }
  for (uint32_t id = 0; id < count; ++id) {
    const Entity& entity = parts_.entities[id];
    lends += entity.statistics.lends, debts += entity.statistics.debts;
    EXPECT_GE(turns_[id], turns_each);
    EXPECT_FALSE(entity.away);
    EXPECT_NE(entity.tag.load(), Tag::owed);
  }
  EXPECT_EQ(far, applied);
  EXPECT_EQ(lends, far);
  EXPECT_EQ(debts, far);
  if (GetParam() == &sbco) {
    EXPECT_GT(far, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, Threads, testing::ValuesIn(policies), [](const auto& of) { return of.param->name; });

}  // namespace
}  // namespace amphion::sched
