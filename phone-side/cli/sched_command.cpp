// SPDX-License-Identifier: Apache-2.0
// See sched_command.hpp.
#include "phone-side/cli/sched_command.hpp"

#include <memory>
#include <optional>

#include "hyp/abi/amphion_hypercall.h"
#include "phone-side/cli/format.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;
using phoned::Operation;
using phoned::Request;

struct Wishes {
  std::optional<std::string> policy, hand_over;
  std::optional<double> threshold, latency_ms, granularity_ms;
};

json to_json(const Wishes& wishes) {
  json with = json::object();
  const auto put = [&with](const char* key, const auto& wish) {
    if (wish) with[key] = *wish;
  };
  put("policy", wishes.policy);
  put("threshold", wishes.threshold);
  put("latency_ms", wishes.latency_ms);
  put("granularity_ms", wishes.granularity_ms);
  if (wishes.hand_over) with["hand_over"] = *wishes.hand_over == "on";
  return with;
}

}  // namespace

void add_sched_command(CLI::App& app, Options& options, std::ostream& out) {
  const auto wishes = std::make_shared<Wishes>();
  CLI::App* command = add_command(
      app, options, "sched",
      "how the hypervisor schedules vCPUs; what is changed holds until the phone's next boot (docs/scheduling.md)",
      false);
  const auto period = CLI::Range(AMPHION_SCHED_SHORTEST_US / 1000.0, AMPHION_SCHED_LONGEST_US / 1000.0);
  const std::vector<CLI::Option*> settings{
      command
          ->add_option("--policy", wishes->policy,
                       "dft: plain fair; bal: siblings on different CPUs; procco, cpuco: and forced on together; "
                       "sbco: and run at once where it costs nobody his share, and virtual time lent to those that lag")
          ->check(CLI::IsMember(std::vector<std::string> AMPHION_SCHED_NAMES)),
      command
          ->add_option("--threshold", wishes->threshold,
                       "sbco: how far a vCPU may be ahead of a sibling, as a fraction of the queue, say 0.667")
          ->check(CLI::Range(0.0, 1.0)),
      command->add_option("--latency", wishes->latency_ms, "ms in which each of a few vCPUs gets its turn")
          ->check(period),
      command->add_option("--granularity", wishes->granularity_ms, "ms of a turn where there are many")->check(period),
      command->add_option("--hand-over", wishes->hand_over, "whether an interrupt's vCPU goes next, for a short turn")
          ->check(CLI::IsMember({"on", "off"}))};
  CLI::App* stats =
      add_command(*command, options, "stats",
                  "what the scheduler has done since boot, by CPU and by vCPU of the instances that run here", false);
  stats->footer(
      "RUN %, IDLE %, CPU %: of one CPU's time since boot. WAITED: vCPUs were ready, but did not run.\n"
      "UNSTACKED: vCPUs that left a CPU where a sibling was.\n" +
      stats->get_footer());
  for (CLI::Option* one : settings) stats->excludes(one);
  stats->callback([&options, &out] { perform(options, {Operation::sched_stats}, out, format_sched_stats); });
  command->callback([stats, wishes, &options, &out] {
    if (stats->parsed()) return;
    Request request{Operation::sched};
    request.with = to_json(*wishes);
    perform(options, request, out, [&](const json& answer) {
      return format_sched(answer) + (request.with.empty() ? "" : "this holds until the phone's next boot\n");
    });
  });
}

}  // namespace amphion::cli
