// SPDX-License-Identifier: Apache-2.0
#include "sched/sim/machine.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace amphion::sim {
namespace {

constexpr uint64_t begin_within_ns = 100 * ms;  // instances begin at different times, as no two are started at once

uint64_t sum(uint64_t a, uint64_t b) { return a == forever || b == forever ? forever : a + b; }

}  // namespace

Machine::Machine(const Scenario& scenario, const sched::Policy& policy, uint64_t seed)
    : scenario_(scenario), seed_(seed), random_(seed), cpus_(scenario.cpus) {
  tuning_.policy = &policy;
  tuning_.latency_ticks = static_cast<uint32_t>(scenario.latency_ns);
  tuning_.granularity_ticks = static_cast<uint32_t>(scenario.granularity_ns);
  tuning_.threshold = static_cast<uint32_t>(std::lround(scenario.alpha * SBCO_THRESHOLD_ONE));
  tuning_.hand_over = scenario.hand_over;
  uint32_t entities = 0;
  for (const InstanceSpec& spec : scenario.instances) entities += spec.vcpus;
  entities_ = std::vector<sched::Entity>(entities);
  queues_ = queue_memory_.allocate(scenario.cpus);
  for (uint32_t cpu = 0; cpu < scenario.cpus; ++cpu) {
    std::construct_at(queues_ + cpu, static_cast<uint8_t>(cpu), std::span(entities_));
  }
  scheduler_ = std::make_unique<sched::Scheduler>(std::span(queues_, scenario.cpus), std::span(entities_), tuning_);

  // Created as a fair scheduler does it, where fewest are; so siblings begin apart under every policy.
  uint32_t created = random_.below(scenario.cpus);
  for (uint32_t i = 0; i < scenario.instances.size(); ++i) {
    const InstanceSpec& spec = scenario.instances[i];
    const auto first = static_cast<uint32_t>(owner_.size());
    for (uint32_t v = 0; v < spec.vcpus; ++v, ++created) {
      scheduler_->create(first + v, first, spec.vcpus, static_cast<uint8_t>(created % scenario.cpus));
      owner_.push_back(i);
    }
    guests_.push_back(
        std::make_unique<Guest>(spec, first, scenario.guest_slice_ns, scenario.ipi_ns, seed * 1000 + i, *this));
    set({.at = random_.below(begin_within_ns), .kind = Timer::Kind::start, .guest = guests_.back().get()});
    sampled_.push_back({.name = spec.name, .vcpus = spec.vcpus, .measured = spec.measured});
    sampled_.back().distances.resize(1);
  }
  run_history_.resize(scenario.windows_s.empty() ? 0 : guests_.size());
  set({.at = scenario.sample_ns, .kind = Timer::Kind::sample});
  if (scenario.count_from_ns != 0) set({.at = scenario.count_from_ns, .kind = Timer::Kind::count});
}

Machine::~Machine() {
  std::destroy_n(queues_, scenario_.cpus);
  queue_memory_.deallocate(queues_, scenario_.cpus);
}

// ---- the run

Result Machine::run() {
  while (!over()) {
    Cpu* first = &cpus_[0];
    for (Cpu& cpu : cpus_) {
      if (cpu.next < first->next) first = &cpu;
    }
    if (timers_.top().at <= first->next) {
      const Timer timer = timers_.top();
      timers_.pop();
      now_ = timer.at;
      fire(timer);
    } else {
      now_ = first->next;
      cpu_event(static_cast<uint32_t>(first - cpus_.data()));
    }
  }
  return report();
}

bool Machine::over() const {
  if (now_ >= scenario_.limit_ns) return true;
  if (scenario_.duration_ns != 0) return now_ >= scenario_.duration_ns;
  return std::ranges::all_of(guests_, [](const auto& guest) { return !guest->spec().measured || guest->finished(); });
}

void Machine::set(Timer timer) {
  timer.order = timers_set_++;
  timers_.push(timer);
}

void Machine::fire(const Timer& timer) {
  switch (timer.kind) {
    case Timer::Kind::start:
      timer.guest->start();
      return;
    case Timer::Kind::call_back:
      timer.guest->called_back(timer.subject);
      return;
    case Timer::Kind::sample:
      sample();
      set({.at = now_ + scenario_.sample_ns, .kind = Timer::Kind::sample});
      return;
    case Timer::Kind::count:
      begin_to_count();
      return;
    case Timer::Kind::wake: {
      const uint32_t cpu = cpu_of(timer.subject);
      settle_cpu(cpus_[cpu]);
      charge(cpus_[cpu]);
      const uint32_t waker = timer.waker == sched::none ? sched::none : cpu_of(timer.waker);
      scheduler_->wake(timer.subject, now_, waker);
      reschedule(cpu);
      return;
    }
    case Timer::Kind::interrupt:
      scheduler_->prefer(timer.subject);
      reschedule(cpu_of(timer.subject));
      return;
  }
}

void Machine::cpu_event(uint32_t number) {
  Cpu& cpu = cpus_[number];
  settle_cpu(cpu);
  if (cpu.kick_at <= now_ || cpu.turn_end <= now_) {
    reschedule(number);
    return;
  }
  Guest& guest = guest_of(cpu.running);
  guest.event(cpu.running);
  if (guest.idle(cpu.running)) {
    charge(cpu);
    scheduler_->block(cpu.running, now_);
    reschedule(number);
  } else {
    plan(cpu);
  }
}

void Machine::settle_cpu(Cpu& cpu) {
  if (cpu.running != sched::none) {
    const uint64_t elapsed = now_ - cpu.settled, overhead = std::min(elapsed, cpu.overhead);
    cpu.overhead -= overhead;
    guest_of(cpu.running).ran(cpu.running, elapsed - overhead);
  }
  cpu.settled = now_;
}

void Machine::charge(Cpu& cpu) {
  if (cpu.running != sched::none && now_ != cpu.charged) scheduler_->charge(cpu.running, now_ - cpu.charged);
  cpu.charged = now_;
}

void Machine::plan(Cpu& cpu) {
  cpu.next = std::min(cpu.kick_at, cpu.turn_end);
  if (cpu.running == sched::none) return;
  const uint64_t until = sum(guest_of(cpu.running).until_event(cpu.running), cpu.settled + cpu.overhead);
  cpu.next = std::min(cpu.next, until);
}

void Machine::reschedule(uint32_t number) {
  Cpu& cpu = cpus_[number];
  settle_cpu(cpu);
  charge(cpu);
  if (cpu.kick_at <= now_) cpu.kick_at = forever;
  const sched::Turn turn = scheduler_->pick(number, now_);
  tell_kicks(number);
  if (turn.id != cpu.running) switch_to(number, turn.id);
  cpu.turn_end = turn.ticks == sched::forever ? forever : now_ + turn.ticks;
  plan(cpu);
}

void Machine::switch_to(uint32_t number, uint32_t entity) {
  Cpu& cpu = cpus_[number];
  for (const uint32_t changes : {cpu.running, entity}) {
    if (changes != sched::none) settle_siblings(changes);
  }
  const uint32_t before = std::exchange(cpu.running, entity);
  cpu.overhead = 0;
  if (before != sched::none) guest_of(before).descheduled(before);
  if (entity == sched::none) return;
  if (entity != cpu.ran_last) cpu.overhead = scenario_.switch_ns + scenario_.warm_up_ns;
  cpu.ran_last = entity;
  guest_of(entity).dispatched(entity);
}

void Machine::settle_siblings(uint32_t entity) {
  const sched::Entity& its = entities_[entity];
  if (its.siblings == 1) return;
  for (Cpu& cpu : cpus_) {
    if (cpu.running != sched::none && entities_[cpu.running].first_sibling == its.first_sibling) settle_cpu(cpu);
  }
}

void Machine::tell_kicks(uint32_t number) {
  for (uint32_t kicks = scheduler_->take_kicks(number); kicks != 0; kicks &= kicks - 1) {
    Cpu& other = cpus_[static_cast<uint32_t>(std::countr_zero(kicks))];
    other.kick_at = std::min(other.kick_at, now_ + scenario_.ipi_ns);
    other.next = std::min(other.next, other.kick_at);
  }
}

// ---- what guests ask for

bool Machine::running(uint32_t entity) const { return cpus_[cpu_of(entity)].running == entity; }

void Machine::settle(uint32_t entity) {
  if (running(entity)) settle_cpu(cpus_[cpu_of(entity)]);
}

void Machine::changed(uint32_t entity) {
  if (running(entity)) plan(cpus_[cpu_of(entity)]);
}

void Machine::wake(uint32_t entity, uint32_t waker) {
  set({.at = now_ + scenario_.ipi_ns,
       .kind = Timer::Kind::wake,
       .subject = entity,
       .waker = waker == nobody ? sched::none : waker});
}

void Machine::interrupt(uint32_t entity) {
  if (scenario_.hand_over) {
    set({.at = now_ + scenario_.ipi_ns, .kind = Timer::Kind::interrupt, .subject = entity});
  }
}

void Machine::call_back(uint64_t at, Guest& guest, uint32_t thread) {
  set({.at = at, .kind = Timer::Kind::call_back, .subject = thread, .guest = &guest});
}

// ---- what is reported

void Machine::begin_to_count() {
  for (Cpu& cpu : cpus_) settle_cpu(cpu);
  for (sched::Queue& queue : std::span(queues_, scenario_.cpus)) queue.statistics = {};
  for (size_t i = 0; i < guests_.size(); ++i) {
    guests_[i]->count_anew();
    InstanceResult& result = sampled_[i];
    result = {.name = result.name, .vcpus = result.vcpus, .measured = result.measured, .run_ns = run_ns(*guests_[i])};
    result.distances.resize(1);
  }
}

uint64_t Machine::run_ns(const Guest& guest) const {
  uint64_t all = 0;
  for (uint32_t v = 0; v < guest.spec().vcpus; ++v) {
    const uint32_t entity = guest.first_entity() + v;
    all += entities_[entity].statistics.run_ticks;
    if (running(entity)) all += now_ - cpus_[cpu_of(entity)].charged;
  }
  return all;
}

void Machine::sample() {
  for (size_t i = 0; i < guests_.size(); ++i) {
    if (guests_[i]->spec().vcpus > 1 && !guests_[i]->finished()) sample_distance(*guests_[i], sampled_[i]);
    if (!run_history_.empty() && guests_[i]->spec().vcpus > 1 && now_ >= 2 * begin_within_ns) {
      run_history_[i].push_back(run_ns(*guests_[i]));
    }
  }
}

// Ordinates as they are, not as they were published.
void Machine::sample_distance(const Guest& guest, InstanceResult& result) const {
  uint32_t cpus = 0, ready = 0, first = ~0u, last = 0, longest = 0;
  bool stacked = false;
  for (uint32_t v = 0; v < guest.spec().vcpus; ++v) {
    const uint32_t entity = guest.first_entity() + v;
    const sched::Place place = entities_[entity].place();
    if (place.life == sched::Life::asleep) continue;
    ++ready;
    const uint32_t bit = 1u << place.cpu;
    stacked = stacked || (cpus & bit) != 0;
    cpus |= bit;
    const sched::Queue& queue = queues_[place.cpu];
    const bool queued = place.life == sched::Life::queued && !entities_[entity].away;
    const uint32_t at = queued ? queue.tree.rank(entity) + (queue.keep_running ? 1 : 0) : place.ordinate;
    first = std::min(first, at);
    last = std::max(last, at);
    longest = std::max(longest, queue.ready());
  }
  ++result.samples;
  const uint32_t distance = ready < 2 ? 0 : last - first;
  if (distance >= result.distances.size()) result.distances.resize(distance + 1);
  ++result.distances[distance];
  const auto all = static_cast<uint32_t>((uint64_t{1} << scenario_.cpus) - 1);
  result.stacked += stacked ? 1 : 0;
  result.stacked_with_free += stacked && (all & ~cpus) != 0 ? 1 : 0;
  result.far += ready > 1 && distance >= scenario_.alpha * longest ? 1 : 0;
}

Lag Machine::lag(double window_s) const {
  Lag out{.window_s = window_s};
  const auto width = static_cast<size_t>(
      std::lround(window_s * static_cast<double>(second) / static_cast<double>(scenario_.sample_ns)));
  const auto shortest = *std::min_element(scenario_.windows_s.begin(), scenario_.windows_s.end());
  const auto every = static_cast<size_t>(
      std::lround(shortest * static_cast<double>(second) / static_cast<double>(scenario_.sample_ns)));
  size_t length = ~size_t{0};
  for (const auto& history : run_history_) {
    if (!history.empty()) length = std::min(length, history.size());
  }
  for (size_t at = 0; length != ~size_t{0} && at + width < length; ++at) {
    uint64_t least = forever, most = 0;
    for (const auto& history : run_history_) {
      if (history.empty()) continue;
      const uint64_t ran = history[at + width] - history[at];
      least = std::min(least, ran);
      most = std::max(most, ran);
    }
    const double lag_ms = static_cast<double>(most - least) / static_cast<double>(ms);
    out.anywhere_ms = std::max(out.anywhere_ms, lag_ms);
    if (at % every != 0) continue;
    out.maximal_ms = std::max(out.maximal_ms, lag_ms);
    out.mean_ms += lag_ms;
    ++out.positions;
  }
  if (out.positions != 0) out.mean_ms /= static_cast<double>(out.positions);
  return out;
}

Result Machine::report() {
  Result out{.policy = tuning_.policy.load()->name, .seed = seed_, .virtual_ns = now_ - scenario_.count_from_ns};
  out.complete = now_ < scenario_.limit_ns || scenario_.duration_ns == scenario_.limit_ns;
  for (uint32_t cpu = 0; cpu < scenario_.cpus; ++cpu) {
    const sched::QueueStatistics& its = queues_[cpu].statistics;
    out.decisions += its.decisions;
    out.switches += its.switches;
    out.far += its.far;
    out.debts += its.debts_applied;
    out.stackings_avoided += its.stackings_avoided;
    out.moves += its.pushed;
  }
  for (size_t i = 0; i < guests_.size(); ++i) {
    InstanceResult& result = sampled_[i];
    result.run_ns = run_ns(*guests_[i]) - result.run_ns;
    const double samples = result.samples == 0 ? 1 : static_cast<double>(result.samples);
    result.stacked /= samples;
    result.stacked_with_free /= samples;
    result.far /= samples;
    result.guest = guests_[i]->statistics();
    out.instances.push_back(result);
  }
  for (const double window : scenario_.windows_s) out.lags.push_back(lag(window));
  return out;
}

}  // namespace amphion::sim
