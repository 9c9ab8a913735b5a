// SPDX-License-Identifier: Apache-2.0
// What docs/scheduling.md promises, in virtual time.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "tests/unit/sched/machine.hpp"
#include "tests/unit/sched/seed.hpp"

namespace amphion::sched {
namespace {

constexpr uint64_t second = 1000 * ms;
constexpr uint64_t century = uint64_t{100} * 365 * 86400 * second;

class Promises : public testing::TestWithParam<const Policy*> {};
class Spreading : public Promises {};

// Who would run sooner than after three rounds of its queue: a round, half of one that it lent, half of one that others
// borrowed, and the turn that everybody else has begun.
TEST_P(Promises, WhoeverIsReadyRunsWithinThreeRounds) {
  for (const uint32_t cpus : {1u, 2u, 4u, 8u}) {
    for (const uint32_t length : {2u, 3u, 8u, 12u}) {
      for (const uint32_t threshold : {0u, SBCO_THRESHOLD_DEFAULT}) {
        Machine machine(cpus, cpus * length);
        machine.tuning.policy = GetParam();
        machine.tuning.threshold = threshold;
        for (uint32_t vm = 0; vm < length; ++vm) machine.instance(vm * cpus, cpus);
        machine.start();
        ASSERT_NO_FATAL_FAILURE(machine.run_until(2 * second));  // plain fair scheduling starts all on one CPU
        machine.longest_wait = 0;
        ASSERT_NO_FATAL_FAILURE(machine.run_until(6 * second));
        const uint64_t round = sbco_period(length, 20 * ms, 4 * ms);
        EXPECT_LE(machine.longest_wait, 3 * round) << cpus << " CPUs, queues of " << length;
        if (GetParam() == &sbco && threshold == 0 && cpus > 1) {
          EXPECT_GT(machine.far(), 10u);
        }
      }
    }
  }
}

// Everything at once: in the time that one waits, each of the others that came by had what it may be ahead by, half a
// latency for waking up and two for being forced on, and the rounds that it would have without.
TEST_P(Promises, NobodyStarvesWhateverOthersDo) {
  Random random(3);
  for (int run = 0; run < 12; ++run) {
    const uint32_t cpus = 1 + random.below(8), count = cpus + random.below(40 - cpus);
    Machine machine(cpus, count);
    machine.tuning.policy = GetParam();
    machine.tuning.threshold = random.below(SBCO_THRESHOLD_ONE);
    uint64_t weights = 0;
    uint32_t longest = 0;
    for (uint32_t first = 0; first < count;) {
      const uint32_t siblings = std::min(count - first, 1 + random.below(8)), weight_log2 = random.below(2);
      machine.instance(first, siblings, random.below(cpus), weight_log2);
      first += siblings, weights += siblings << weight_log2;
    }
    machine.burst = [&](uint32_t id) {
      return id % 3 == 0 ? ~uint64_t{0} : 1 + random.below(id % 3 == 1 ? 100'000 : 30'000'000);
    };
    machine.sleep = [&](uint32_t) { return 1 + random.below(5'000'000); };
    machine.after_each_event = [&] {
      if (random.one_in(3)) machine.prefer(random.below(count));
      if (random.one_in(3)) machine.yield(random.below(cpus));
      for (uint32_t cpu = 0; cpu < cpus; ++cpu) longest = std::max(longest, machine.queue(cpu).load());
    };
    machine.start();
    ASSERT_NO_FATAL_FAILURE(machine.run_until(3 * second));
    const bool forces = GetParam() == &procco || GetParam() == &cpuco;
    const uint64_t ahead = 10 * ms + (forces ? 40 * ms : 0), round = sbco_period(longest, 20 * ms, 4 * ms);
    EXPECT_LE(machine.longest_wait, weights * ahead + 4 * round);
  }
}

// Siblings in queues of two lend whenever they can to one in a long queue: it must not keep that CPU for itself.
TEST(Lending, CannotBeHoarded) {
  constexpr uint32_t cpus = 8, siblings = 6, beside = 10;
  Machine machine(cpus, siblings * 2 + beside + 5);
  machine.tuning.threshold = 0;
  for (uint32_t vm = 0; vm < 2; ++vm) {
    machine.instance(vm * siblings, siblings);
    for (uint32_t n = 0; n < siblings; ++n) {
      const uint32_t id = vm * siblings + n, cpu = n == 0 ? 0 : 1 + (vm + n) % 7;
      machine.scheduler.create(id, vm * siblings, siblings, static_cast<uint8_t>(cpu), 0, 1u << cpu);
    }
  }
  const uint32_t first_beside = 2 * siblings;
  for (uint32_t id = first_beside; id < first_beside + beside; ++id) machine.instance(id, 1, 0, 0, 1);
  for (uint32_t n = 0; n < 5; ++n) machine.instance(first_beside + beside + n, 1, 1 + n, 0, 2u << n);
  machine.start();
  ASSERT_NO_FATAL_FAILURE(machine.run_until(60 * second));
  EXPECT_GT(machine.far(), 100u);
  EXPECT_LE(machine.longest_wait, 3 * 12 * 4 * ms);
  for (uint32_t id = first_beside; id < first_beside + beside; ++id) {  // a lend halves what a turn costs, no more
    EXPECT_GE(machine.run_time(id), 60 * second / 12 / 2);
  }
}

// The same, and the borrower's turns are cut short, so that it gets turns faster than it runs.
TEST(Lending, CannotBeHoardedInShortTurns) {
  constexpr uint32_t cpus = 8, siblings = 7;
  Machine machine(cpus, siblings + cpus + 4);
  machine.tuning.threshold = 0;
  for (uint32_t id = 0; id < siblings; ++id) {
    machine.scheduler.create(id, 0, siblings, static_cast<uint8_t>(id), 0, 1u << id);
  }
  for (uint32_t n = 0; n < cpus; ++n) machine.instance(siblings + n, 1, n, 0, 1u << n);
  const uint32_t brief = siblings + cpus;  // wake all the time on the borrower's CPU
  for (uint32_t id = brief; id < brief + 4; ++id) machine.instance(id, 1, 0, 0, 1);
  machine.burst = [&](uint32_t id) { return id >= brief ? ms / 20 : ~uint64_t{0}; };
  machine.sleep = [&](uint32_t id) { return ms / 2 + id % 4 * ms / 5; };
  machine.start();
  ASSERT_NO_FATAL_FAILURE(machine.run_until(20 * second));
  EXPECT_GT(machine.far(), 100u);
  EXPECT_GE(machine.run_time(siblings), 20 * second / 6);
}

// Whoever may lend to it does, at every occasion, however near it is.
TEST(Lending, NobodyLivesOnLoans) {
  constexpr uint32_t cpus = 8, borrower = 0, beside = 3, turns = 2000;
  Parts parts(cpus, cpus + beside + cpus);
  for (uint32_t id = 0; id < parts.entities.size(); ++id) {
    const bool sibling = id < cpus;
    const uint32_t cpu = sibling ? id : id < cpus + beside ? 0 : id - cpus - beside;
    parts.scheduler.create(id, sibling ? 0 : id, sibling ? cpus : 1, static_cast<uint8_t>(cpu), 0, 1u << cpu);
  }
  parts.tuning.policy = &bal;  // lends nothing by itself
  for (uint32_t id = 0; id < parts.entities.size(); ++id) parts.scheduler.wake(id, 0);
  for (uint32_t turn = 0; turn < turns; ++turn) {
    for (uint32_t cpu = 0; cpu < cpus; ++cpu) {
      Queue& queue = parts.queue(cpu);
      const uint64_t ticks = cpu == 0 ? 4 * ms : 10 * ms;
      if (queue.running != none) parts.scheduler.charge(queue.running, ticks);
      static_cast<void>(parts.scheduler.pick(cpu, 0));
      const bool waits = parts.entities[borrower].place().life == Life::queued;
      if (waits && cpu != 0 && queue.running != cpu) static_cast<void>(parts.scheduler.lend(queue, cpu, borrower));
    }
  }
  const uint64_t all = turns * 4 * ms;
  EXPECT_GT(parts.entities[borrower].statistics.debts, turns / 10);
  EXPECT_LE(parts.entities[borrower].statistics.run_ticks, all * 2 / (beside + 3));  // its share, weighing twice
}

// What all have lent is what all have received, when nothing is on its way.
TEST(Lending, EveryFarSiblingIsOneDebtAppliedOnce) {
  Random random(4);
  for (int run = 0; run < 20; ++run) {
    const uint32_t cpus = 2 + random.below(7);
    Machine machine(cpus, cpus * 6);
    machine.tuning.threshold = random.below(SBCO_THRESHOLD_DEFAULT);
    for (uint32_t vm = 0; vm < 6; ++vm) machine.instance(vm * cpus, cpus);
    machine.burst = [&](uint32_t) { return 1 + random.below(40'000'000); };
    machine.sleep = [&](uint32_t) { return 1 + random.below(20'000'000); };
    machine.start();
    ASSERT_NO_FATAL_FAILURE(machine.run_until(2 * second));
    for (int round = 0; round < 4; ++round) {  // a debt may follow an arrival
      for (uint32_t cpu = 0; cpu < cpus; ++cpu) static_cast<void>(machine.scheduler.pick(cpu, machine.now));
    }
    uint64_t lends = 0, debts = 0;
    for (const Entity& entity : machine.entities) {
      lends += entity.statistics.lends, debts += entity.statistics.debts;
      EXPECT_NE(entity.tag.load(), Tag::owed);
    }
    EXPECT_GT(lends, 0u);
    EXPECT_EQ(lends, debts);
    EXPECT_EQ(machine.far(), machine.sum(&QueueStatistics::debts_applied));
    EXPECT_EQ(machine.far(), lends);
  }
}

// Two thirds of a turn from the first of the queue is where it ends, whatever else it waits for.
TEST(Joining, EndsTwoThirdsOfATurnAheadOfTheFirst) {
  constexpr uint32_t turn = 5 * ms;  // four on each CPU
  Parts parts(2, 8);
  for (uint32_t id = 0; id < 8; ++id) {
    const uint32_t first = id < 2 ? 0 : id;
    parts.scheduler.create(id, first, id < 2 ? 2 : 1, static_cast<uint8_t>(id % 2), 0, 1u << id % 2);
  }
  const auto pick = [&](uint32_t cpu) { return parts.scheduler.pick(cpu, 0); };
  for (const uint32_t id : {2u, 4u, 6u, 3u, 5u, 7u, 0u}) parts.scheduler.wake(id, 0);
  EXPECT_EQ(pick(1).id, 3u);
  EXPECT_EQ(pick(0).id, 2u);  // 0's sibling sleeps
  parts.scheduler.wake(1, 0);
  parts.scheduler.prefer(1);
  EXPECT_EQ(pick(1).id, 1u);
  parts.scheduler.charge(0, turn / 2);
  parts.scheduler.charge(2, turn);
  const Turn joined = pick(0);
  EXPECT_EQ(joined.id, 0u);  // 4 and 6 stand before it
  EXPECT_EQ(joined.ticks, turn - turn / 3 - turn / 2);
  parts.scheduler.charge(0, joined.ticks);
  const Turn next = pick(0);
  EXPECT_EQ(next.id, 4u);
  EXPECT_EQ(next.ticks, turn);
  parts.scheduler.charge(4, turn);
  EXPECT_EQ(pick(0).id, 6u);  // 0 is more than half a turn ahead of it now
}

// The first of the queue is behind who joins a sibling anyway: only who wakes counts.
TEST(Joining, GoesOnIfWhoWakesIsNotBehind) {
  constexpr uint32_t turn = 5 * ms;  // four on CPU 0 in the end
  Parts parts(2, 6);
  for (uint32_t id = 0; id < 6; ++id) {
    const uint32_t first = id < 2 ? 0 : id;
    parts.scheduler.create(id, first, id < 2 ? 2 : 1, static_cast<uint8_t>(id == 1), 0, id == 1 ? 2u : 1u);
  }
  const auto pick = [&](uint32_t cpu) { return parts.scheduler.pick(cpu, 0); };
  for (const uint32_t id : {1u, 0u, 2u, 3u}) parts.scheduler.wake(id, 0);
  ASSERT_EQ(pick(1).id, 1u);
  parts.scheduler.charge(0, turn / 2);
  ASSERT_EQ(pick(0).id, 0u);
  parts.scheduler.charge(4, 2 * turn);  // somebody worked for it
  parts.scheduler.wake(4, 0);
  EXPECT_EQ(pick(0).id, 0u);
  parts.scheduler.wake(5, 0);
  EXPECT_NE(pick(0).id, 0u);
}

// The largest difference of instances' run time in windows that begin anywhere. With four CPUs and a queue of four, a
// turn of 5 ms, instances may be 20 ms apart in one round; one on loan makes it 30.
TEST_P(Promises, InstancesGetTheSameWithin30Ms) {
  constexpr uint32_t cpus = 4, instances = 4, in_second = 125;
  Machine machine(cpus, cpus * instances);
  machine.tuning.policy = GetParam();
  for (uint32_t vm = 0; vm < instances; ++vm) machine.instance(vm * cpus, cpus);
  std::array<bool, cpus * instances> begun{};
  machine.burst = [&](uint32_t id) { return std::exchange(begun[id], true) ? ~uint64_t{0} : 1; };
  machine.sleep = [&](uint32_t id) { return id / cpus * 3 * ms + 1; };  // they do not begin at once
  machine.start();
  std::vector<std::array<uint64_t, instances>> at;
  for (uint32_t now = in_second; now <= 130 * in_second; ++now) {
    ASSERT_NO_FATAL_FAILURE(machine.run_until(now * second / in_second));
    std::array<uint64_t, instances> sums{};
    for (uint32_t id = 0; id < cpus * instances; ++id) sums[id / cpus] += machine.run_time(id);
    at.push_back(sums);
  }
  for (const size_t window : {1u, 5u, 120u}) {
    uint64_t lag = 0;
    for (size_t begin = 0, end = window * in_second; end < at.size(); ++begin, ++end) {
      std::array<uint64_t, instances> got{};
      for (size_t vm = 0; vm < instances; ++vm) got[vm] = at[end][vm] - at[begin][vm];
      lag = std::max(lag, *std::max_element(got.begin(), got.end()) - *std::min_element(got.begin(), got.end()));
    }
    EXPECT_LE(lag, 30 * ms) << window << " s";
  }
}

TEST_P(Spreading, SiblingsAreOnDifferentCpusWhileThereAreEnough) {
  Random random(5);
  for (const uint32_t cpus : {2u, 4u, 8u}) {
    Machine machine(cpus, 5 * cpus);
    machine.tuning.policy = GetParam();
    for (uint32_t vm = 0; vm < 5; ++vm) machine.instance(vm * cpus, cpus);
    machine.burst = [&](uint32_t id) { return id % 4 == 0 ? ~uint64_t{0} : 1 + random.below(30'000'000); };
    machine.sleep = [&](uint32_t) { return 1 + random.below(20'000'000); };
    machine.after_each_event = [&] {
      for (uint32_t id = 0; id < 5 * cpus; ++id) {
        const Place place = machine.entities[id].place();
        if (place.life == Life::asleep) continue;
        ASSERT_EQ(machine.scheduler.placement().cpus_of_siblings(id) >> place.cpu & 1, 0u) << "at " << machine.now;
      }
    };
    machine.start();
    ASSERT_NO_FATAL_FAILURE(machine.run_until(4 * second));
  }
}

// More vCPUs than CPUs, then fewer: who stands beside a sibling leaves at the end of a turn.
TEST_P(Spreading, StackedSiblingsPartWhenACpuIsFreeOfThem) {
  Machine machine(4, 8);
  machine.tuning.policy = GetParam();
  machine.instance(0, 6);
  machine.instance(6, 2);
  machine.burst = [&](uint32_t id) { return id == 4 || id == 5 ? second : ~uint64_t{0}; };
  machine.sleep = [](uint32_t) { return 100 * second; };
  machine.start();
  ASSERT_NO_FATAL_FAILURE(machine.run_until(8 * second));
  uint32_t cpus = 0;
  for (uint32_t id = 0; id < 4; ++id) cpus |= 1u << machine.entities[id].place().cpu;
  EXPECT_EQ(machine.entities[4].place().life, Life::asleep);
  EXPECT_EQ(cpus, 0xfu);
}

// No CPU has nothing to do for longer than a turn while another has two.
TEST_P(Promises, NoCpuIdlesForLongWhileOneWaits) {
  Random random(6);
  Machine machine(4, 24);
  machine.tuning.policy = GetParam();
  for (uint32_t vm = 0; vm < 6; ++vm) machine.instance(vm * 4, 4);
  machine.burst = [&](uint32_t) { return 1 + random.below(60'000'000); };
  machine.sleep = [&](uint32_t) { return 1 + random.below(60'000'000); };
  std::array<uint64_t, 4> idle_since{};
  machine.after_each_event = [&] {
    bool one_waits = false;
    for (uint32_t cpu = 0; cpu < 4; ++cpu) one_waits |= machine.queue(cpu).load() > 1;
    for (uint32_t cpu = 0; cpu < 4; ++cpu) {
      if (machine.queue(cpu).load() != 0 || !one_waits) idle_since[cpu] = machine.now;
      ASSERT_LE(machine.now - idle_since[cpu], 20 * ms);
    }
  };
  machine.start();
  ASSERT_NO_FATAL_FAILURE(machine.run_until(20 * second));
}

// The same machine at the beginning, after 100 years, and where virtual time wraps around takes the same decisions.
TEST_P(Promises, HundredYearsOfUptimeChangeNothing) {
  std::vector<std::vector<uint64_t>> runs;
  for (const uint64_t origin : {uint64_t{0}, century, ~uint64_t{0} - second, (uint64_t{1} << 63) - second}) {
    Machine machine(4, 24);
    machine.tuning.policy = GetParam();
    machine.tuning.threshold = 400;
    for (uint32_t cpu = 0; cpu < 4; ++cpu) machine.queue(cpu).minimum_vt = origin;
    for (uint32_t vm = 0; vm < 6; ++vm) machine.instance(vm * 4, 4, vm % 4, vm / 2);
    if (origin == century) machine.now = century;
    const uint64_t start = machine.now;
    std::mt19937 engine(7);  // NOLINT: the same in each run
    machine.burst = [&](uint32_t) { return 1 + engine() % 40'000'000; };
    machine.sleep = [&](uint32_t) { return 1 + engine() % 20'000'000; };
    machine.start();
    ASSERT_NO_FATAL_FAILURE(machine.run_until(start + 10 * second));
    std::vector<uint64_t> times;
    for (uint32_t id = 0; id < 24; ++id) times.push_back(machine.run_time(id));
    times.push_back(machine.longest_wait);
    times.push_back(machine.far());
    runs.push_back(times);
  }
  for (const auto& run : runs) EXPECT_EQ(run, runs.front());
}

TEST_P(Promises, WeightsAreShares) {
  Machine machine(1, 3);
  machine.tuning.policy = GetParam();
  for (uint32_t id = 0; id < 3; ++id) machine.instance(id, 1, 0, id);
  machine.start();
  ASSERT_NO_FATAL_FAILURE(machine.run_until(7 * second));
  for (uint32_t id = 0; id < 3; ++id) {
    EXPECT_NEAR(static_cast<double>(machine.run_time(id)), static_cast<double>(second << id), 20 * ms);
  }
}

constexpr auto name_of = [](const auto& of) { return of.param->name; };
INSTANTIATE_TEST_SUITE_P(Policies, Promises, testing::ValuesIn(policies), name_of);
INSTANTIATE_TEST_SUITE_P(Policies, Spreading, testing::Values(&bal, &procco, &cpuco, &sbco), name_of);

TEST(Settings, ChangeWhileTheMachineRuns) {
  Random random(8);
  Machine machine(4, 24);
  for (uint32_t vm = 0; vm < 6; ++vm) machine.instance(vm * 4, 4);
  machine.burst = [&](uint32_t) { return 1 + random.below(40'000'000); };
  machine.sleep = [&](uint32_t) { return 1 + random.below(20'000'000); };
  machine.after_each_event = [&] {
    if (!random.one_in(20)) return;
    machine.tuning.policy = policies[random.below(policies.size())];
    machine.tuning.latency_ticks = static_cast<uint32_t>((1 + random.below(30)) * ms);
    machine.tuning.granularity_ticks = static_cast<uint32_t>((1 + random.below(4)) * ms);
    machine.tuning.threshold = random.below(SBCO_THRESHOLD_ONE + 1);
  };
  machine.start();
  ASSERT_NO_FATAL_FAILURE(machine.run_until(20 * second));
  EXPECT_LE(machine.longest_wait, second);
}

TEST(Settings, PoliciesHaveNames) {
  for (const Policy* policy : policies) EXPECT_EQ(policy_named(policy->name), policy);
  EXPECT_EQ(policy_named("cfs"), nullptr);
  EXPECT_EQ(policy_named(""), nullptr);
}

// The share of the time that pairs of siblings run together; each instance gets its share under SBCO as without it.
TEST(Joining, LetsSiblingsRunTogether) {
  const auto together = [](const Policy& policy) {
    Machine machine(4, 20);
    machine.tuning.policy = &policy;
    for (uint32_t vm = 0; vm < 4; ++vm) machine.instance(vm * 4, 4);
    for (uint32_t id = 16; id < 20; ++id) machine.instance(id, 1, id - 16, 0, 1u << (id - 16));
    Random random(9);  // these sleep and wake, so that turns begin at different times
    machine.burst = [&](uint32_t id) { return id < 16 ? ~uint64_t{0} : 1 + random.below(4'000'000); };
    machine.sleep = [&](uint32_t) { return 1 + random.below(40'000'000); };
    uint64_t since = 0, pairs = 0, time = 0;
    machine.after_each_event = [&] {
      time += (machine.now - since) * pairs;  // as it has been until now
      since = machine.now;
      pairs = 0;
      for (uint32_t a = 0; a < 4; ++a) {
        for (uint32_t b = a + 1; b < 4; ++b) {
          const uint32_t vm = machine.queue(a).running / 4;
          pairs += vm < 4 && vm == machine.queue(b).running / 4 ? 1 : 0;
        }
      }
    };
    machine.start();
    machine.run_until(20 * second);
    std::array<uint64_t, 4> ran{};
    for (uint32_t id = 0; id < 16; ++id) ran[id / 4] += machine.run_time(id);
    EXPECT_LE(*std::ranges::max_element(ran) - *std::ranges::min_element(ran), 100 * ms) << policy.name;
    return static_cast<double>(time) / (6.0 * 20 * second);
  };
  const double sbco_share = together(sbco), bal_share = together(bal);
  EXPECT_GT(sbco_share, 1.5 * bal_share);
}

// What a policy does that plain fair scheduling does not.
TEST(Coscheduling, ProccoForcesSiblingsOnWhenVcpu0Begins) {
  Machine machine(2, 4);
  machine.tuning.policy = &procco;
  machine.instance(0, 2);
  machine.instance(2, 2);
  machine.start();
  uint64_t together = 0, events = 0;
  machine.after_each_event = [&] {
    ++events;
    const bool both = machine.entities[0].place().life == machine.entities[1].place().life;
    together += both ? 1 : 0;
  };
  ASSERT_NO_FATAL_FAILURE(machine.run_until(2 * second));
  EXPECT_GT(together * 10, events * 9);
}

TEST(Coscheduling, CpucoLetsOthersFollowCpu0) {
  Machine machine(3, 6);
  machine.tuning.policy = &cpuco;
  machine.instance(0, 3);
  machine.instance(3, 3);
  machine.start();
  uint64_t follow = 0, events = 0;
  machine.after_each_event = [&] {
    for (uint32_t cpu = 1; cpu < 3; ++cpu) {
      ++events;
      follow += machine.queue(cpu).running / 3 == machine.queue(0).running / 3 ? 1 : 0;
    }
  };
  ASSERT_NO_FATAL_FAILURE(machine.run_until(2 * second));
  EXPECT_GT(follow * 10, events * 9);
}

}  // namespace
}  // namespace amphion::sched
