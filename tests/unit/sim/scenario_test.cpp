// SPDX-License-Identifier: Apache-2.0
#include "sched/sim/scenario.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace amphion::sim {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string error_of(const std::string& text) {
  const auto parsed = parse(text, std::string(SCENARIOS) + "/test.json");
  const auto* error = std::get_if<std::string>(&parsed);
  return error == nullptr ? "" : *error;
}

std::string with_thread(const std::string& thread) {
  return R"({ "duration_s": 1, "instances": [ { "workload": { "pipes": [ { "name": "p", "capacity": 1 } ], "threads": [ )" +
         thread + " ] } } ] }";
}

TEST(Scenario, AMistakeGivesOneLineThatSaysWhereAndWhat) {
  const std::pair<std::string, std::string> mistakes[] = {
      {"{", "is not JSON"},
      {"[]", "must be an object"},
      {"{}", "instances: there are none"},
      {R"({ "cpus": 0 })", "cpus: must be a whole number from 1 to 32"},
      {R"({ "cpus": 33 })", "cpus: must be a whole number from 1 to 32"},
      {R"({ "cpus": 1.5 })", "cpus: must be a whole number"},
      {R"({ "alpha": 1.01 })", "alpha: must be a number from 0 to 1"},
      {R"({ "alpha": "x" })", "alpha: must be a number"},
      {R"({ "latency_ms": 0 })", "latency_ms: must be at least"},
      {R"({ "windows_s": [0] })", "windows_s: must be numbers"},
      {R"({ "windows_s": [0.5], "sample_ms": 600 })", "windows_s: must be at least sample_ms"},
      {R"({ "instances": {} })", "instances: must be a list"},
      {R"({ "instances": [ {} ] })", "instances[0].workload: is missing"},
      {R"({ "instances": [ { "workload": "none.json" } ] })", "instances[0].workload: cannot read"},
      {R"({ "instances": [ { "vcpus": 65, "workload": "models/hog.json" } ] })", "instances[0].vcpus: must be"},
      {R"({ "instances": [ { "workload": "models/hog.json" } ] })", "duration_s: is missing"},
      {R"({ "instances": [ { "measured": true, "workload": "models/hog.json" } ] })", "works for ever"},
      {R"({ "duration_s": 1, "count_from_s": 1, "instances": [ { "workload": "models/hog.json" } ] })",
       "count_from_s: must be less"},
      {R"({ "duration_s": 1, "cpu": 4, "instances": [ { "workload": "models/hog.json" } ] })",
       "cpu: nobody knows this word"},
      {with_thread(R"({ "steps": [ { "done": true } ] })"), "threads[0].steps: take no time"},
      {with_thread(R"({ "steps": [ { "push": "q" } ] })"), "steps[0].push: there is no 'q'"},
      {with_thread(R"({ "steps": [ { "compute_us": 1, "pop": "p" } ] })"), "steps[0]: a step is one of"},
      {with_thread(R"({ "steps": [ { "compute_us": -1 } ] })"), "compute_us: must be a number from 0"},
      {with_thread(R"({ "each": 1, "together": 1, "steps": [ { "compute_us": 1 } ] })"), "say one of them"},
  };
  for (const auto& [text, expected] : mistakes) {
    EXPECT_THAT(error_of(text), AllOf(HasSubstr("test.json: "), HasSubstr(expected), Not(HasSubstr("\n")))) << text;
  }
}

TEST(Scenario, WhatIsThereCanBeRead) {
  for (const char* name : {"kernbench.json", "fairness.json"}) {
    const auto loaded = load(std::string(SCENARIOS) + "/" + name);
    EXPECT_TRUE(std::holds_alternative<Scenario>(loaded)) << std::get<std::string>(loaded);
  }
  const auto missing = load("/nonexistent.json");
  ASSERT_TRUE(std::holds_alternative<std::string>(missing));
  EXPECT_THAT(std::get<std::string>(missing), HasSubstr("/nonexistent.json: cannot be read"));
}

}  // namespace
}  // namespace amphion::sim
