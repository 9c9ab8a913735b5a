// SPDX-License-Identifier: Apache-2.0
// The scheduler's storage and settings; see sched.hpp.
#include "hyp/sched.hpp"

#include <optional>
#include <string_view>

#include "hyp/console.hpp"
#include "hyp/cpu.hpp"
#include "hyp/instance.hpp"
#include "hyp/maintenance.hpp"
#include "hyp/panic.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/timer.hpp"

namespace amphion::hyp {
namespace {

constexpr u32 entity_count = instance_count * AMPHION_MAX_VCPUS;
static_assert(entity_count <= 64, "a bit each in a CPU's inbox");
constexpr std::array<std::string_view, sched::policies.size()> policy_names = AMPHION_SCHED_NAMES;
static_assert([] {
  for (u32 i = 0; i < policy_names.size(); ++i) {
    if (policy_names[i] != sched::policies[i]->name) return false;
  }
  return true;
}());
static_assert(policy_names[AMPHION_SCHED_DFT] == "dft" && policy_names[AMPHION_SCHED_SBCO] == "sbco" &&
              AMPHION_SCHED_THRESHOLD_ONE == SBCO_THRESHOLD_ONE);

constexpr u32 host_weight_log2 = 1;  // everybody waits for its devices; much more, and its own work would hold them up
constexpr amphion_sched by_itself{.policy = AMPHION_SCHED_SBCO,
                                  .threshold = SBCO_THRESHOLD_DEFAULT,
                                  .latency_us = 6000,
                                  .granularity_us = 3000,
                                  .hand_over = 1,
                                  .cpus = 0,
                                  .pad = 0,
                                  .cpu = {},
                                  .host = {}};

constinit std::array<sched::Entity, entity_count> entities;
constinit std::array<sched::Queue, max_cpus> queues{sched::Queue(0, entities), sched::Queue(1, entities),
                                                    sched::Queue(2, entities), sched::Queue(3, entities)};
constinit sched::Tuning tuning;
constinit std::optional<sched::Scheduler> machine_scheduler;
constinit u64 began_at = 0;

// What a CPU still has of a vCPU that goes to another one: its registers, and lines of its memory that set/way
// operations over there would not reach.
void leave(u32 entity) {
  Vcpu& vcpu = vcpu_of(entity);
  Cpu& cpu = this_cpu();
  let_go(cpu, vcpu);
  clean_invalidate_own_cache();
}

amphion_sched_cpu statistics_of(u32 cpu) {
  const sched::QueueStatistics& from = queues[cpu].statistics;
  const u64 idle_ticks = cpus[cpu].idle.ticks(now), ticks = now() - began_at;
  return {.run_ns = ns_of_ticks(ticks - idle_ticks),
          .idle_ns = ns_of_ticks(idle_ticks),
          .wait_ns = ns_of_ticks(from.wait_ticks),
          .decisions = from.decisions,
          .switches = from.switches,
          .far = from.far,
          .debts_applied = from.debts_applied,
          .stackings_avoided = from.stackings_avoided,
          .moved_away = from.pushed};
}

amphion_sched over(amphion_sched settings, const BundleSched& chosen) {
  if (chosen.policy != 0) settings.policy = chosen.policy - 1;
  if (chosen.threshold != 0) settings.threshold = chosen.threshold - 1;
  if (chosen.latency_us != 0) settings.latency_us = chosen.latency_us;
  if (chosen.granularity_us != 0) settings.granularity_us = chosen.granularity_us;
  if (chosen.hand_over != 0) settings.hand_over = chosen.hand_over - 1;
  return settings;
}

}  // namespace

sched::Scheduler& scheduler() { return *machine_scheduler; }

Vcpu& vcpu_of(u32 entity) { return instance(entity / AMPHION_MAX_VCPUS).vcpu[entity % AMPHION_MAX_VCPUS]; }

u32 cpu_of(const Vcpu& vcpu) { return entities[vcpu.entity].place().cpu; }

void init_scheduler(const BundleSched& chosen) {
  began_at = now();
  machine_scheduler.emplace(std::span(queues).first(cpu_count()), entities, tuning, leave);
  const amphion_sched begin = over(by_itself, chosen);
  if (!set_scheduling(begin)) panic("the scheduler refuses how it is to begin");
  Line() << "scheduling by " << sched::policies[begin.policy]->name << ", threshold " << begin.threshold << " of "
         << AMPHION_SCHED_THRESHOLD_ONE << ", latency " << begin.latency_us << " us, granularity "
         << begin.granularity_us << " us, hand-over " << (begin.hand_over != 0 ? "on" : "off");
  for (u32 id = 0; id < entity_count; ++id) {
    const bool of_host = id / AMPHION_MAX_VCPUS == host_id;
    const u32 index = id % AMPHION_MAX_VCPUS, cpu = (id / AMPHION_MAX_VCPUS + index) % cpu_count();
    scheduler().create(id, id - index, AMPHION_MAX_VCPUS, static_cast<u8>(cpu), of_host ? host_weight_log2 : 0,
                       of_host ? 1u << cpu : ~0u);
    vcpu_of(id).entity = id;
  }
}

bool set_scheduling(const amphion_sched& wanted) {
  const auto period = [](u32 us) { return us >= AMPHION_SCHED_SHORTEST_US && us <= AMPHION_SCHED_LONGEST_US; };
  if (wanted.policy >= sched::policies.size() || wanted.threshold > SBCO_THRESHOLD_ONE || wanted.hand_over > 1 ||
      !period(wanted.latency_us) || !period(wanted.granularity_us)) {
    return false;
  }
  tuning.policy.store(sched::policies[wanted.policy]);
  tuning.threshold.store(wanted.threshold);
  tuning.latency_ticks.store(static_cast<u32>(ticks_of_us(wanted.latency_us)));
  tuning.granularity_ticks.store(static_cast<u32>(ticks_of_us(wanted.granularity_us)));
  tuning.hand_over.store(wanted.hand_over != 0);
  return true;
}

amphion_sched scheduling() {
  const auto us = [](u32 ticks) { return static_cast<u32>((ns_of_ticks(ticks) + 500) / 1000); };
  amphion_sched result{};
  const sched::Policy* const policy = tuning.policy.load();
  while (sched::policies[result.policy] != policy) ++result.policy;
  result.threshold = tuning.threshold.load();
  result.latency_us = us(tuning.latency_ticks.load());
  result.granularity_us = us(tuning.granularity_ticks.load());
  result.hand_over = tuning.hand_over.load() ? 1 : 0;
  result.cpus = cpu_count();
  for (u32 cpu = 0; cpu < result.cpus; ++cpu) {
    result.cpu[cpu] = statistics_of(cpu);
    result.host[cpu] = scheduling_of(host().vcpu[cpu]);
  }
  return result;
}

amphion_sched_vcpu scheduling_of(const Vcpu& vcpu) {
  const sched::Statistics& from = entities[vcpu.entity].statistics;
  return {.run_ns = ns_of_ticks(from.run_ticks),
          .wait_ns = ns_of_ticks(from.wait_ticks),
          .switches = from.switches,
          .moves = from.moves,
          .lends = from.lends,
          .debts = from.debts};
}

}  // namespace amphion::hyp
