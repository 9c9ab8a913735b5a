// SPDX-License-Identifier: Apache-2.0
#include "sched/sim/machine.hpp"

#include <gtest/gtest.h>

#include "sched/sim/policies.hpp"
#include "sched/sim/report.hpp"

namespace amphion::sim {
namespace {

Scenario scenario(const std::string& text) {
  auto parsed = parse(text, std::string(SCENARIOS) + "/test.json");
  if (const auto* error = std::get_if<std::string>(&parsed)) {
    ADD_FAILURE() << *error;
    return {};
  }
  return std::get<Scenario>(parsed);
}

const char* const small = R"({
  "cpus": 4, "switch_us": 3, "warm_up_us": 20, "ipi_us": 2, "sample_ms": 10, "duration_s": 2, "windows_s": [0.1, 1],
  "instances": [ { "name": "dedup", "vcpus": 4, "measured": true, "workload": "models/dedup.json" },
                 { "name": "npb", "vcpus": 4, "count": 2, "workload": "models/npb.json" } ],
  "host_tasks": [ { "name": "daemon", "count": 4, "workload": "models/host.json" } ] })";

TEST(Machine, TheSameSeedGivesTheSameBytes) {
  const Scenario at = scenario(small);
  for (const sched::Policy* policy : policies) {
    const std::string once = to_json({Machine(at, *policy, 7).run()});
    EXPECT_EQ(once, to_json({Machine(at, *policy, 7).run()})) << policy->name;
    EXPECT_NE(once, to_json({Machine(at, *policy, 8).run()})) << policy->name;
  }
}

TEST(Machine, TheSchedulersInvariantsHoldAtTheEnd) {
  const Scenario at = scenario(small);
  for (const sched::Policy* policy : policies) {
    Machine machine(at, *policy, 3);
    const Result result = machine.run();
    EXPECT_EQ(machine.broken(), nullptr) << policy->name << ": " << machine.broken();
    EXPECT_TRUE(result.complete);
    EXPECT_LE(result.debts, result.far);
  }
}

TEST(Machine, NoTimeIsLostOrInvented) {
  const Scenario at = scenario(R"({ "cpus": 2, "duration_s": 3,
    "instances": [ { "name": "a", "vcpus": 2, "measured": true, "workload": "models/superpi.json" },
                   { "name": "b", "vcpus": 2, "workload": "models/superpi.json" } ] })");
  for (const sched::Policy* policy : policies) {
    const Result result = Machine(at, *policy, 1).run();
    const uint64_t ran = result.instances[0].run_ns + result.instances[1].run_ns;
    EXPECT_LE(ran, 2 * 3 * second) << policy->name;
    EXPECT_GE(ran, 2 * 3 * second - 2 * 100 * ms) << policy->name << ": all begin within 100 ms";
  }
}

TEST(Machine, WhatWasBeforeIsNotCounted) {
  const Scenario at = scenario(R"({ "cpus": 1, "switch_us": 3, "count_from_s": 1, "duration_s": 3,
    "instances": [ { "name": "a", "measured": true,
                     "workload": { "threads": [ { "steps": [ { "compute_us": 10000 }, { "done": true } ] } ] } } ] })");
  const Result result = Machine(at, sched::sbco, 1).run();
  EXPECT_EQ(result.virtual_ns, 2 * second);
  EXPECT_EQ(result.switches, 0u) << "there was one, at its beginning";
  EXPECT_EQ(result.instances[0].run_ns, 2 * second);
  EXPECT_EQ(result.instances[0].guest.done, 200u);
}

TEST(Machine, AloneItTakesItsTimeAndOneSwitch) {
  const Scenario at = scenario(R"({ "cpus": 1, "switch_us": 3, "warm_up_us": 20,
    "instances": [ { "name": "a", "measured": true,
                     "workload": { "threads": [ { "each": 10, "steps": [ { "compute_us": 10000 } ] } ] } } ] })");
  const Result result = Machine(at, sched::sbco, 1).run();
  EXPECT_EQ(result.instances[0].run_ns, 100 * ms + 23 * us);
  EXPECT_EQ(result.switches, 1u);
}

// Whoever joins a running sibling is behind those it passed: the others' share is not touched.
TEST(Machine, JoiningASiblingTakesNobodysShare) {
  const Scenario at = scenario(R"({ "cpus": 4, "duration_s": 20,
    "instances": [ { "name": "a", "vcpus": 4, "measured": true, "workload": "models/npb.json" },
                   { "name": "b", "vcpus": 4, "count": 2, "workload": "models/superpi.json" } ],
    "host_tasks": [ { "name": "hog", "count": 4, "workload": "models/hog.json" } ] })");
  const Result result = Machine(at, sched::sbco, 1).run();
  for (const InstanceResult& instance : result.instances) {
    const double share = static_cast<double>(instance.run_ns) / static_cast<double>(instance.vcpus * 5 * second);
    EXPECT_NEAR(share, 1, 0.02) << instance.name;
  }
}

// One CPU, two that compute: turns of half the latency, each begun with a switch.
TEST(Machine, TwoOnOneCpuTakeTurns) {
  const Scenario at = scenario(R"({ "cpus": 1, "latency_ms": 20, "granularity_ms": 4, "duration_s": 10,
    "instances": [ { "name": "a", "measured": true, "workload": "models/hog.json" },
                   { "name": "b", "workload": "models/hog.json" } ] })");
  const Result result = Machine(at, sched::dft, 1).run();
  EXPECT_NEAR(static_cast<double>(result.switches), 10.0 / 0.010, 12);
  EXPECT_NEAR(static_cast<double>(result.instances[0].run_ns), static_cast<double>(result.instances[1].run_ns),
              static_cast<double>(110 * ms));
}

TEST(Machine, SiblingsAreKeptApartByAllPoliciesButPlainFairScheduling) {
  Scenario at = scenario(small);
  at.sample_ns = 1 * ms;
  for (const sched::Policy* policy : policies) {
    if (!policy->spread) continue;
    for (const InstanceResult& instance : Machine(at, *policy, 5).run().instances) {
      EXPECT_EQ(instance.stacked_with_free, 0) << policy->name << ": " << instance.name;
    }
  }
}

}  // namespace
}  // namespace amphion::sim
