// SPDX-License-Identifier: Apache-2.0
// For cost.py, what a decision of the scheduler costs: the running vCPU's time is charged, it is put back, the next one
// is picked and taken out. Four CPUs whose queues are equally long take turns; instances have a vCPU on each.
//
// Ratios are medians over rounds in which all cases follow one another, so that what else the machine does is in all of
// them. `run` only decides, for a counter of instructions around the program: the difference of two counts of
// decisions.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sched/core/policy.hpp"

namespace {

using namespace amphion::sched;

constexpr uint32_t cpus = 4;
constexpr uint32_t turn_ticks = 4'000'000, longest_turn_ticks = 10'000'000;

class Load {
 public:
  Load(const Policy& policy, uint32_t length)
      : entities_(cpus * length), queues_{{{0, entities_}, {1, entities_}, {2, entities_}, {3, entities_}}} {
    tuning_.policy = &policy;
    tuning_.latency_ticks = 20'000'000;
    tuning_.granularity_ticks = turn_ticks;
    for (uint32_t id = 0; id < entities_.size(); ++id) {
      const uint32_t cpu = id % cpus;
      scheduler_.create(id, id - cpu, cpus, static_cast<uint8_t>(cpu), 0, 1u << cpu);
      scheduler_.wake(id, 0);
    }
    for (uint32_t cpu = 0; cpu < cpus; ++cpu) static_cast<void>(scheduler_.pick(cpu, 0));
    decide(cpus * length);
  }

  void decide(uint32_t decisions) {
    for (uint32_t count = 0; count < decisions; ++count) {
      const uint32_t cpu = count % cpus;
      // Turns that differ: otherwise all are always put back last, and the CPU that measures knows every branch.
      random_ = random_ * 1'664'525 + 1'013'904'223;
      scheduler_.charge(queues_[cpu].running, longest_turn_ticks + random_ % longest_turn_ticks);
      now_ += turn_ticks / cpus;
      static_cast<void>(scheduler_.pick(cpu, now_));
      static_cast<void>(scheduler_.take_kicks(cpu));
    }
  }
  // The running one goes on.
  void look(uint32_t times) {
    for (uint32_t count = 0; count < times; ++count) static_cast<void>(scheduler_.pick(count % cpus, now_));
  }
  [[nodiscard]] uint64_t lends() const {
    uint64_t sum = 0;
    for (const Queue& queue : queues_) sum += queue.statistics.far;
    return sum;
  }

 private:
  std::vector<Entity> entities_;
  std::array<Queue, cpus> queues_;
  Tuning tuning_;
  Scheduler scheduler_{queues_, entities_, tuning_};
  uint64_t now_ = 0;
  uint32_t random_ = 1;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

struct Case {
  const Policy* policy;
  uint32_t length;
  std::unique_ptr<Load> load;
  std::vector<double> ns;
};

void print(const char* name, double value, const char* unit, const char* how, bool last = false) {
  std::printf("  {\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\", \"how\": \"%s\"}%s\n", name, value, unit, how,
              last ? "" : ",");
}

int measure() {
  constexpr uint32_t rounds = 400, decisions = 2000;
  std::vector<Case> cases;
  for (const Policy* policy : {&dft, &sbco}) {
    for (const uint32_t length : {2u, 12u, 1000u}) {
      cases.push_back({policy, length, std::make_unique<Load>(*policy, length), {}});
    }
  }
  for (uint32_t round = 0; round < rounds; ++round) {
    for (Case& one : cases) {
      const auto begin = std::chrono::steady_clock::now();
      one.load->decide(decisions);
      one.ns.push_back(std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count() /
                       decisions);
    }
  }
  const auto ns = [&](const Policy& policy, uint32_t length) {
    const auto at = std::find_if(cases.begin(), cases.end(),
                                 [&](const Case& one) { return one.policy == &policy && one.length == length; });
    return median(at->ns);
  };
  std::printf("[\n");
  print("pick_1000_over_12", ns(sbco, 1000) / ns(sbco, 12), "ratio",
        "a decision of SBCO with 1000 queued on each CPU over one with 12");
  print("pick_over_dft", ns(sbco, 12) / ns(dft, 12), "ratio", "a decision of SBCO over one of DFT, 12 queued");
  print("pick_over_dft_q2", ns(sbco, 2) / ns(dft, 2), "ratio", "the same with 2");
  print("pick_over_dft_q1000", ns(sbco, 1000) / ns(dft, 1000), "ratio", "the same with 1000");
  for (const uint32_t length : {2u, 12u, 1000u}) {
    print(("pick_ns_q" + std::to_string(length)).c_str(), ns(sbco, length), "ns", "a decision of SBCO, on this machine",
          length == 1000);
  }
  std::printf("]\n");
  return 0;
}

bool number(std::string_view text, uint32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

constexpr const char* usage =
    "usage: sched-cost                                what a decision costs, as JSON\n"
    "       sched-cost run POLICY LENGTH DECISIONS    only decides, for a counter of instructions\n"
    "       sched-cost look POLICY LENGTH TIMES       the same where the running vCPU goes on\n"
    "POLICY: dft, bal, procco, cpuco or sbco; LENGTH: vCPUs of each of the four CPUs, 1 to 16384\n";

}  // namespace

int main(int count, char** arguments) {
  if (count == 1) return measure();
  const std::string_view command = arguments[1];
  if (command == "--help") return std::fputs(usage, stdout), 0;
  uint32_t length = 0, decisions = 0;
  const Policy* policy = count == 5 ? policy_named(arguments[2]) : nullptr;
  if ((command != "run" && command != "look") || policy == nullptr || !number(arguments[3], length) || length == 0 ||
      length > 16384 || !number(arguments[4], decisions)) {
    std::fputs(usage, stderr);
    return 2;
  }
  Load load(*policy, length);
  command == "run" ? load.decide(decisions) : load.look(decisions);
}
