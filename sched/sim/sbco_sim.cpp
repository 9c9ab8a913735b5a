// SPDX-License-Identifier: Apache-2.0
// sbco-sim: runs a scenario in virtual time under one policy or all of them.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "sched/sim/machine.hpp"
#include "sched/sim/policies.hpp"
#include "sched/sim/report.hpp"

using namespace amphion;

int main(int argc, char** argv) {
  CLI::App app{
      "Runs a scenario of vCPUs on CPUs in virtual time, under the scheduler of sched/core.\n"
      "The same scenario, policy and seed give the same result. sched/sim/README.md describes scenarios."};
  std::string file;
  std::vector<std::string> names{"all"};
  uint64_t seed = 1;
  uint32_t seeds = 1;
  bool json = false;
  app.add_option("FILE", file, "scenario, JSON (sched/sim/scenarios has some)")->required();
  app.add_option("--policy", names, "dft, bal, procco, cpuco, sbco, sbco-text or all; several with commas")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--seed", seed, "the first seed")->capture_default_str();
  app.add_option("--seeds", seeds, "how many seeds, one after another")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  app.add_flag("--json", json, "print JSON instead of a table");
  CLI11_PARSE(app, argc, argv);

  std::vector<const sched::Policy*> policies;
  for (const std::string& name : names) {
    if (name == "all") {
      policies.assign(sim::policies.begin(), sim::policies.end());
    } else if (const sched::Policy* policy = sim::policy_named(name)) {
      policies.push_back(policy);
    } else {
      std::fprintf(stderr, "sbco-sim: there is no policy '%s': dft, bal, procco, cpuco, sbco, sbco-text or all\n",
                   name.c_str());
      return 2;
    }
  }
  const auto loaded = sim::load(file);
  if (const auto* error = std::get_if<std::string>(&loaded)) {
    std::fprintf(stderr, "sbco-sim: %s\n", error->c_str());
    return 2;
  }
  std::vector<sim::Result> results;
  for (uint32_t n = 0; n < seeds; ++n) {
    for (const sched::Policy* policy : policies) {
      results.push_back(sim::Machine(std::get<sim::Scenario>(loaded), *policy, seed + n).run());
    }
  }
  std::fputs((json ? sim::to_json(results) : sim::to_text(results)).c_str(), stdout);
  return 0;
}
