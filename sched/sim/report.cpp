// SPDX-License-Identifier: Apache-2.0
#include "sched/sim/report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace amphion::sim {
namespace {

using nlohmann::ordered_json;

double seconds(uint64_t ns) { return static_cast<double>(ns) / static_cast<double>(second); }

ordered_json json_of(const InstanceResult& instance, double length_s) {
  const GuestStatistics& guest = instance.guest;
  ordered_json out{{"name", instance.name}, {"vcpus", instance.vcpus}, {"run_s", seconds(instance.run_ns)}};
  if (guest.finished_at_ns != 0) out["completed_s"] = seconds(guest.finished_at_ns);
  if (guest.done != 0) {
    out["done"] = guest.done;
    out["done_per_s"] = static_cast<double>(guest.done) / length_s;
  }
  if (guest.lock_holdings != 0) {
    out["lock_holdings"] = guest.lock_holdings;
    out["lock_waits"] = guest.lock_waits;
    out["holders_preempted"] = guest.holders_preempted;
    out["lock_spin_s"] = seconds(guest.lock_spin_ns);
    out["lost_to_holder_s"] = seconds(guest.lost_to_holder_ns);
    out["lost_to_waiter_s"] = seconds(guest.lost_to_waiter_ns);
  }
  if (guest.call_spin_ns != 0) out["call_spin_s"] = seconds(guest.call_spin_ns);
  if (guest.barrier_spin_ns != 0) out["barrier_spin_s"] = seconds(guest.barrier_spin_ns);
  if (instance.samples != 0) {
    out["samples"] = instance.samples;
    out["stacked"] = instance.stacked;
    out["stacked_with_free"] = instance.stacked_with_free;
    out["far"] = instance.far;
    out["distances"] = instance.distances;
  }
  return out;
}

ordered_json json_of(const Result& result) {
  ordered_json out{{"policy", result.policy},
                   {"seed", result.seed},
                   {"complete", result.complete},
                   {"virtual_s", seconds(result.virtual_ns)},
                   {"decisions", result.decisions},
                   {"switches", result.switches},
                   {"far_detections", result.far},
                   {"debts_applied", result.debts},
                   {"stackings_avoided", result.stackings_avoided},
                   {"moves", result.moves}};
  for (const InstanceResult& instance : result.instances) {
    if (instance.vcpus > 1 || instance.measured) {
      out["instances"].push_back(json_of(instance, seconds(result.virtual_ns)));
    }
  }
  for (const Lag& lag : result.lags) {
    out["lags"].push_back({{"window_s", lag.window_s},
                           {"maximal_ms", lag.maximal_ms},
                           {"mean_ms", lag.mean_ms},
                           {"positions", lag.positions},
                           {"anywhere_ms", lag.anywhere_ms}});
  }
  return out;
}

}  // namespace

std::string to_json(const std::vector<Result>& results) {
  ordered_json out = ordered_json::array();
  for (const Result& result : results) out.push_back(json_of(result));
  return out.dump(1) + "\n";
}

std::string to_text(const std::vector<Result>& results) {
  std::string out =
      fmt::format("{:<7} {:>5} {:<14} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>8} {:>7}\n", "policy", "seed", "instance",
                  "ended s", "run s", "done/s", "lhp s", "wait s", "preempted", "stacked", "far");
  for (const Result& result : results) {
    const double length_s = seconds(result.virtual_ns);
    for (const InstanceResult& instance : result.instances) {
      const GuestStatistics& guest = instance.guest;
      if (instance.vcpus == 1 && !instance.measured) continue;
      const std::string ended = guest.finished_at_ns == 0 ? "-" : fmt::format("{:.3f}", seconds(guest.finished_at_ns));
      out += fmt::format("{:<7} {:>5} {:<14} {:>9} {:>9.3f} {:>10.1f} {:>9.3f} {:>9.3f} {:>9} {:>7.2f}% {:>6.2f}%\n",
                         result.policy, result.seed, instance.name, ended, seconds(instance.run_ns),
                         static_cast<double>(guest.done) / length_s, seconds(guest.lost_to_holder_ns),
                         seconds(guest.lost_to_waiter_ns), guest.holders_preempted, 100 * instance.stacked,
                         100 * instance.far);
    }
    out += fmt::format("{:<7} {:>5} in all: {:.3f} s, {} switches, {} moves, {} far, {} debts applied{}\n",
                       result.policy, result.seed, length_s, result.switches, result.moves, result.far, result.debts,
                       result.complete ? "" : "; NOT FINISHED within limit_s");
    for (const Lag& lag : result.lags) {
      out += fmt::format(
          "{:<7} {:>5} lag in {:g} s: at most {:.2f} ms, mean {:.2f} ms, {} windows; anywhere at most {:.2f} ms\n",
          result.policy, result.seed, lag.window_s, lag.maximal_ms, lag.mean_ms, lag.positions, lag.anywhere_ms);
    }
  }
  return out;
}

}  // namespace amphion::sim
