// SPDX-License-Identifier: Apache-2.0
// What a guest's threads do, with a machine that the test moves by hand.
#include "sched/sim/guest.hpp"

#include <gtest/gtest.h>

#include <array>

namespace amphion::sim {
namespace {

class ByHand : public Host {
 public:
  [[nodiscard]] uint64_t now() const override { return time; }
  [[nodiscard]] bool running(uint32_t entity) const override { return runs[entity]; }
  void settle(uint32_t) override {}
  void changed(uint32_t) override {}
  void wake(uint32_t entity, uint32_t) override { ++woken[entity]; }
  void interrupt(uint32_t entity) override { ++interrupted[entity]; }
  void call_back(uint64_t, Guest&, uint32_t thread) override { asleep = thread; }

  uint64_t time = 0;
  std::array<bool, 4> runs{};
  std::array<int, 4> woken{}, interrupted{};
  uint32_t asleep = nobody;
};

struct TwoVcpus {
  explicit TwoVcpus(const Workload& workload)
      : spec{"test", 2, true, workload}, guest(spec, 0, 10 * ms, 2 * us, 1, host) {
    guest.start();
  }
  void on(uint32_t entity) {
    host.runs[entity] = true;
    guest.dispatched(entity);
  }
  void off(uint32_t entity) {
    host.runs[entity] = false;
    guest.descheduled(entity);
  }
  void to_next_event(uint32_t entity) {
    guest.ran(entity, guest.until_event(entity));
    guest.event(entity);
  }
  [[nodiscard]] const GuestStatistics& statistics() const { return guest.statistics(); }

  ByHand host;
  InstanceSpec spec;
  Guest guest;
};

Workload locking(bool ticket) {
  Workload workload;
  workload.locks = {{"lock", 0.5, 1.0 * ms, 1}};
  workload.ticket = ticket;
  workload.threads = {{.name = "t", .count = 2, .bound = true, .steps = {{.mean_ns = 1e12}}}};
  return workload;
}

TEST(Guest, WhatAWaiterLosesIsCountedWhileTheHolderDoesNotRun) {
  TwoVcpus at(locking(true));
  at.on(0);
  while (at.statistics().lock_holdings == 0) at.to_next_event(0);
  at.off(0);
  EXPECT_EQ(at.statistics().holders_preempted, 1u);
  at.on(1);
  while (at.statistics().lock_waits == 0) at.to_next_event(1);
  EXPECT_EQ(at.guest.until_event(1), forever);

  at.guest.ran(1, 5 * ms);
  EXPECT_EQ(at.statistics().lost_to_holder_ns, 5 * ms);
  at.on(0);
  at.guest.ran(1, 2 * ms);
  EXPECT_EQ(at.statistics().lost_to_holder_ns, 5 * ms);
  EXPECT_EQ(at.statistics().lock_spin_ns, 7 * ms);

  at.to_next_event(0);  // released
  EXPECT_NE(at.guest.until_event(1), forever);
  at.off(1);
  EXPECT_EQ(at.statistics().holders_preempted, 2u);
}

// In order, a waiter that does not run is handed the lock, and who comes later loses its time to it.
TEST(Guest, AnOrderedLockGoesToAWaiterThatDoesNotRun) {
  TwoVcpus at(locking(true));
  at.on(0);
  while (at.statistics().lock_holdings == 0) at.to_next_event(0);
  at.on(1);
  while (at.statistics().lock_waits == 0) at.to_next_event(1);
  at.off(1);
  at.to_next_event(0);  // released
  while (at.statistics().lock_waits == 1) at.to_next_event(0);
  at.guest.ran(0, 3 * ms);
  EXPECT_EQ(at.statistics().lost_to_waiter_ns, 3 * ms);
  EXPECT_EQ(at.statistics().lost_to_holder_ns, 0u);
}

TEST(Guest, AnUnorderedLockGoesToWhoRuns) {
  TwoVcpus at(locking(false));
  at.on(0);
  while (at.statistics().lock_holdings == 0) at.to_next_event(0);
  at.on(1);
  while (at.statistics().lock_waits == 0) at.to_next_event(1);
  at.off(1);
  at.to_next_event(0);  // released
  const uint64_t before = at.statistics().lock_holdings;
  while (at.statistics().lock_holdings < before + 3) at.to_next_event(0);
  EXPECT_EQ(at.statistics().lock_waits, 1u);
  at.off(0);
  at.on(1);
  if (at.statistics().holders_preempted == 0) {
    EXPECT_NE(at.guest.until_event(1), forever) << "the lock was free when it came back";
  }
}

TEST(Guest, ACallWaitsForTheSiblingThatDoesNotRun) {
  Workload workload;
  workload.threads = {{.name = "caller", .each = 1, .bound = true, .steps = {{.kind = Step::Kind::call}}},
                      {.name = "other", .bound = true, .steps = {{.mean_ns = 1e9}}}};
  TwoVcpus at(workload);
  at.on(0);
  at.to_next_event(0);
  EXPECT_EQ(at.host.interrupted[1], 1);
  EXPECT_EQ(at.guest.until_event(0), forever);
  at.on(1);
  EXPECT_EQ(at.guest.until_event(0), 4 * us);
  at.to_next_event(0);
  EXPECT_TRUE(at.guest.idle(0));
}

TEST(Guest, ABoundedQueueStopsBothSidesAndLosesNothing) {
  Workload workload;
  workload.pipes = {{"pipe", 2}};
  workload.threads = {{.name = "in", .each = 5, .bound = true, .steps = {{.mean_ns = 1e3}, {.kind = Step::Kind::push}}},
                      {.name = "out",
                       .bound = true,
                       .steps = {{.kind = Step::Kind::pop}, {.mean_ns = 1e3}, {.kind = Step::Kind::done}}}};
  TwoVcpus at(workload);
  at.on(0);
  while (!at.guest.idle(0)) at.to_next_event(0);  // two are in the queue, the third waits
  at.on(1);
  while (!at.guest.idle(1)) at.to_next_event(1);  // three are out; the producer goes on
  EXPECT_EQ(at.statistics().done, 3u);
  while (!at.guest.idle(0)) at.to_next_event(0);
  while (!at.guest.idle(1)) at.to_next_event(1);
  EXPECT_EQ(at.statistics().done, 5u);
  EXPECT_TRUE(at.guest.finished());
}

TEST(Guest, ABarrierLetsAllPassWhenTheLastArrives) {
  Workload workload;
  workload.barriers = {{"barrier", 2, 0}};
  workload.threads = {{.name = "t",
                       .count = 2,
                       .each = 3,
                       .bound = true,
                       .steps = {{.mean_ns = 1e6}, {.kind = Step::Kind::barrier}, {.kind = Step::Kind::done}}}};
  TwoVcpus at(workload);
  at.on(0);
  while (!at.guest.idle(0)) at.to_next_event(0);
  EXPECT_EQ(at.statistics().done, 0u);
  at.on(1);
  while (at.statistics().done == 0) at.to_next_event(1);
  EXPECT_FALSE(at.guest.idle(0));
  EXPECT_EQ(at.host.woken[0], 2) << "at the start, and by who arrived last";
}

}  // namespace
}  // namespace amphion::sim
