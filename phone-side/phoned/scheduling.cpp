// SPDX-License-Identifier: Apache-2.0
// See scheduling.hpp.
#include "phone-side/phoned/scheduling.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

namespace amphion::phoned {
namespace {

using link::Error;
using link::ErrorCode;
using nlohmann::json;

constexpr std::array<std::string_view, AMPHION_SCHED_SBCO + 1> policies = AMPHION_SCHED_NAMES;
constexpr double us_of_ms = 1000;
constexpr char period_bounds[] = "must be 0.1 to 100 ms";
static_assert(AMPHION_SCHED_SHORTEST_US == 100 && AMPHION_SCHED_LONGEST_US == 100'000);

// A number between both, times `unit`.
std::optional<std::uint32_t> scaled(const json& value, double from, double to, double unit) {
  if (!value.is_number()) return std::nullopt;
  const double number = value.get<double>() * unit;
  if (!(number >= from && number <= to)) return std::nullopt;
  return static_cast<std::uint32_t>(std::lround(number));
}

std::optional<std::uint32_t> period(const json& value) {
  return scaled(value, AMPHION_SCHED_SHORTEST_US, AMPHION_SCHED_LONGEST_US, us_of_ms);
}

std::optional<std::uint32_t> policy(const json& value) {
  if (!value.is_string()) return std::nullopt;
  const auto found = std::find(policies.begin(), policies.end(), value.get_ref<const std::string&>());
  if (found == policies.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - policies.begin());
}

std::string policy_choice() {
  std::string names;
  for (const std::string_view name : policies) names += (names.empty() ? "" : ", ") + std::string(name);
  return "must be one of " + names;
}

double thousandths(double value) { return std::round(value * 1000) / 1000; }

}  // namespace

json settings_json(const amphion_sched& now) {
  return {{"policy", now.policy < policies.size() ? policies[now.policy] : "unknown"},
          {"threshold", thousandths(static_cast<double>(now.threshold) / AMPHION_SCHED_THRESHOLD_ONE)},
          {"latency_ms", now.latency_us / us_of_ms},
          {"granularity_ms", now.granularity_us / us_of_ms},
          {"hand_over", now.hand_over != 0}};
}

link::Result<amphion_sched> changed_settings(const amphion_sched& now, const json& wishes) {
  amphion_sched wanted{};
  wanted.policy = now.policy;
  wanted.threshold = now.threshold;
  wanted.latency_us = now.latency_us;
  wanted.granularity_us = now.granularity_us;
  wanted.hand_over = now.hand_over;
  for (const auto& [key, value] : wishes.items()) {
    const auto take = [](const std::optional<std::uint32_t>& given, amphion_u32& field) {
      field = given.value_or(field);
      return given.has_value();
    };
    if (key == "policy") {
      if (!take(policy(value), wanted.policy)) return Error{ErrorCode::invalid, "--policy: " + policy_choice()};
    } else if (key == "threshold") {
      if (!take(scaled(value, 0, AMPHION_SCHED_THRESHOLD_ONE, AMPHION_SCHED_THRESHOLD_ONE), wanted.threshold))
        return Error{ErrorCode::invalid, "--threshold: must be 0 to 1, a fraction of the queue's length"};
    } else if (key == "latency_ms") {
      if (!take(period(value), wanted.latency_us))
        return Error{ErrorCode::invalid, std::string("--latency: ") + period_bounds};
    } else if (key == "granularity_ms") {
      if (!take(period(value), wanted.granularity_us))
        return Error{ErrorCode::invalid, std::string("--granularity: ") + period_bounds};
    } else if (key == "hand_over") {
      if (!value.is_boolean()) return Error{ErrorCode::invalid, "--hand-over: must be on or off"};
      wanted.hand_over = value.get<bool>() ? 1 : 0;
    } else {
      return Error{ErrorCode::invalid, "\"sched\" knows no setting \"" + key.substr(0, 64) + "\""};
    }
  }
  return wanted;
}

json cpus_json(const amphion_sched& now) {
  json all = json::array();
  for (std::uint32_t n = 0; n < std::min(now.cpus, AMPHION_MAX_CPUS); ++n) {
    const amphion_sched_cpu& one = now.cpu[n];
    all.push_back({{"cpu", n},
                   {"run_ns", one.run_ns},
                   {"idle_ns", one.idle_ns},
                   {"wait_ns", one.wait_ns},
                   {"decisions", one.decisions},
                   {"switches", one.switches},
                   {"moves", one.moved_away},
                   {"lends", one.far},
                   {"debts", one.debts_applied},
                   {"stackings_avoided", one.stackings_avoided}});
  }
  return all;
}

json vcpus_json(const std::string& instance, std::span<const amphion_sched_vcpu> vcpus) {
  json all = json::array();
  for (std::size_t n = 0; n < vcpus.size(); ++n) {
    const amphion_sched_vcpu& one = vcpus[n];
    if (one.switches == 0) continue;  // of one that is off something may have been asked, for which it has paid
    all.push_back({{"instance", instance},
                   {"vcpu", n},
                   {"run_ns", one.run_ns},
                   {"wait_ns", one.wait_ns},
                   {"switches", one.switches},
                   {"moves", one.moves},
                   {"lends", one.lends},
                   {"debts", one.debts}});
  }
  return all;
}

}  // namespace amphion::phoned
