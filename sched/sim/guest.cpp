// SPDX-License-Identifier: Apache-2.0
#include "sched/sim/guest.hpp"

#include <algorithm>
#include <utility>

namespace amphion::sim {
namespace {

constexpr uint64_t call_handler_ns = 1 * us;

uint64_t less(uint64_t from, uint64_t what) { return from == forever ? forever : from - std::min(from, what); }

}  // namespace

Guest::Guest(const InstanceSpec& spec, uint32_t first_entity, uint64_t slice_ns, uint64_t ipi_ns, uint64_t seed,
             Host& host)
    : spec_(spec), first_entity_(first_entity), slice_ns_(slice_ns), ipi_ns_(ipi_ns), host_(host), random_(seed) {
  const Workload& workload = spec.workload;
  vcpus_.resize(spec.vcpus);
  barriers_.resize(workload.barriers.size());
  pipes_.resize(workload.pipes.size());
  double share = 0;
  uint32_t locks = 0;
  for (const LockUse& use : workload.locks) {
    share += use.share;
    locks += use.number;
  }
  locks_.resize(locks);
  for (const LockUse& use : workload.locks) {
    lock_rates_.push_back(use.share / use.holding_ns / (1 - share));
    lock_rate_ += lock_rates_.back();
  }
  for (uint32_t g = 0; g < workload.threads.size(); ++g) {
    together_left_.push_back(workload.threads[g].together);
    for (uint32_t i = 0; i < workload.threads[g].count; ++i) {
      Thread thread;
      thread.group = g;
      thread.vcpu = static_cast<uint32_t>(threads_.size()) % spec.vcpus;
      threads_.push_back(thread);
      for (const Step& step : workload.threads[g].steps) {
        if (step.kind == Step::Kind::push) ++pipes_[step.object].producers;
      }
    }
  }
  alive_ = static_cast<uint32_t>(threads_.size());
}

void Guest::start() {
  for (uint32_t id = 0; id < threads_.size(); ++id) vcpus_[threads_[id].vcpu].ready.push_back(id);
  for (uint32_t v = 0; v < vcpus_.size(); ++v) {
    if (vcpus_[v].ready.empty()) continue;
    next_thread(vcpus_[v]);
    host_.wake(first_entity_ + v, nobody);
  }
}

// ---- a vCPU that runs

uint64_t Guest::until_event(uint32_t entity) const {
  const Vcpu& at = vcpu(entity);
  if (at.current == nobody) return 0;
  const Thread& thread = threads_[at.current];
  uint64_t left = thread.left_ns;
  if (preemptible(thread) && !at.ready.empty()) left = std::min(left, at.slice_left_ns);
  return left == forever ? forever : left + at.interrupts_ns;
}

void Guest::ran(uint32_t entity, uint64_t ns) {
  Vcpu& at = vcpu(entity);
  const uint64_t interrupts = std::min(ns, at.interrupts_ns);
  at.interrupts_ns -= interrupts;
  ns -= interrupts;
  if (at.current == nobody || ns == 0) return;
  Thread& thread = threads_[at.current];
  thread.left_ns = less(thread.left_ns, ns);
  at.slice_left_ns = less(at.slice_left_ns, ns);
  if (thread.doing == Doing::wait_for_lock) {
    const Lock& lock = locks_[thread.lock];
    statistics_.lock_spin_ns += ns;
    if (lock.owner != nobody && !host_.running(entity_of(threads_[lock.owner]))) {
      (lock.entered ? statistics_.lost_to_holder_ns : statistics_.lost_to_waiter_ns) += ns;
    }
  } else if (thread.doing == Doing::wait_for_call) {
    statistics_.call_spin_ns += ns;
  } else if (thread.doing == Doing::spin_at_barrier) {
    statistics_.barrier_spin_ns += ns;
  }
}

void Guest::event(uint32_t entity) {
  Vcpu& at = vcpu(entity);
  const uint32_t id = at.current;
  Thread& thread = threads_[id];
  acting_ = entity;
  if (thread.left_ns != 0) {  // the thread's turn is over
    at.ready.push_back(id);
    next_thread(at);
  } else if (thread.doing == Doing::compute && thread.lock_follows) {
    acquire(id);
  } else if (thread.doing == Doing::hold) {
    release(id);
    compute_on(thread);
  } else if (thread.doing == Doing::spin_at_barrier) {  // long enough
    block(id);
  } else {
    go_on(id);
  }
  acting_ = nobody;
}

// Whether a holder runs decides what its waiters lose from now on, so what they lost so far is settled first.
void Guest::dispatched(uint32_t entity) {
  Vcpu& at = vcpu(entity);
  if (!at.callers.empty()) {
    at.interrupts_ns += at.callers.size() * call_handler_ns;
    for (const uint32_t caller : at.callers) {
      if (--threads_[caller].unanswered != 0) continue;
      host_.settle(entity_of(threads_[caller]));
      threads_[caller].left_ns = 2 * ipi_ns_;
      host_.changed(entity_of(threads_[caller]));
    }
    at.callers.clear();
  }
  if (at.current == nobody || threads_[at.current].lock == nobody) return;
  Lock& lock = locks_[threads_[at.current].lock];
  if (lock.owner == nobody) {
    grant(lock, at.current);
  } else if (lock.owner == at.current) {
    lock.entered = true;
  }
}

void Guest::descheduled(uint32_t entity) {
  const Vcpu& at = vcpu(entity);
  if (at.current == nobody || threads_[at.current].lock == nobody) return;
  if (locks_[threads_[at.current].lock].owner == at.current) ++statistics_.holders_preempted;
}

void Guest::called_back(uint32_t thread) { step_passed(thread, nobody); }

// ---- a thread's steps

bool Guest::next_step(Thread& thread) {
  const ThreadGroup& its = group(thread);
  if (!thread.fresh) {
    if (++thread.step < its.steps.size()) return true;
    if (++thread.iterations == its.each) return false;
  }
  thread.fresh = false;
  thread.step = 0;
  if (its.together == 0) return true;
  if (together_left_[thread.group] == 0) return false;
  --together_left_[thread.group];
  return true;
}

void Guest::go_on(uint32_t id) {
  do {
    if (!next_step(threads_[id])) {
      finish(id);
      return;
    }
  } while (!begin_step(id));
}

bool Guest::begin_step(uint32_t id) {
  Thread& thread = threads_[id];
  const Step& step = group(thread).steps[thread.step];
  thread.doing = Doing::compute;
  switch (step.kind) {
    case Step::Kind::compute:
      thread.work_ns = random_.draw(step.spread, step.mean_ns);
      compute_on(thread);
      return thread.left_ns != 0;
    case Step::Kind::sleep:
      host_.call_back(host_.now() + random_.draw(step.spread, step.mean_ns), *this, id);
      block(id);
      return true;
    case Step::Kind::barrier:
      return arrive(id);
    case Step::Kind::push:
      return push(id);
    case Step::Kind::pop:
      return pop(id);
    case Step::Kind::call:
      call(id);
      return true;
    case Step::Kind::done:
      ++statistics_.done;
      return false;
  }
  return false;
}

// Up to the next lock, or to the end of the step. Holding is part of the work.
void Guest::compute_on(Thread& thread) {
  thread.doing = Doing::compute;
  thread.left_ns = thread.work_ns;
  thread.lock_follows = false;
  if (lock_rate_ > 0 && group(thread).locks && thread.work_ns != 0) {
    const uint64_t free = 1 + static_cast<uint64_t>(random_.exponential(1 / lock_rate_));
    thread.lock_follows = free < thread.work_ns;
    if (thread.lock_follows) thread.left_ns = free;
  }
  thread.work_ns -= thread.left_ns;
}

void Guest::finish(uint32_t id) {
  Thread& thread = threads_[id];
  const bool current = is_current(id);
  thread.doing = Doing::finished;
  thread.left_ns = forever;
  if (--alive_ == 0) statistics_.finished_at_ns = host_.now();
  close_behind(thread);
  if (current) next_thread(vcpus_[thread.vcpu]);
}

// The last producer of a pipe closes it; who waits for more of it ends.
void Guest::close_behind(const Thread& thread) {
  for (const Step& step : group(thread).steps) {
    if (step.kind != Step::Kind::push) continue;
    PipeState& pipe = pipes_[step.object];
    if (--pipe.producers != 0) continue;
    pipe.closed = true;
    const std::deque<uint32_t> waiting = std::exchange(pipe.poppers, {});
    for (const uint32_t popper : waiting) finish(popper);
  }
}

// ---- what threads wait for

void Guest::acquire(uint32_t id) {
  Thread& thread = threads_[id];
  const std::vector<LockUse>& uses = spec_.workload.locks;
  uint32_t kind = 0, first = 0;
  for (double at = random_.unit() * lock_rate_ - lock_rates_[0]; at >= 0 && kind + 1 < uses.size(); ++kind) {
    first += uses[kind].number;
    at -= lock_rates_[kind + 1];
  }
  thread.lock = first + random_.below(uses[kind].number);
  thread.hold_ns = 1 + static_cast<uint64_t>(random_.exponential(uses[kind].holding_ns));
  thread.work_ns = less(thread.work_ns, thread.hold_ns);
  ++statistics_.lock_holdings;
  Lock& lock = locks_[thread.lock];
  if (lock.owner == nobody) {
    lock.owner = id;
    lock.entered = true;
    thread.doing = Doing::hold;
    thread.left_ns = thread.hold_ns;
    return;
  }
  ++statistics_.lock_waits;
  lock.waiters.push_back(id);
  thread.doing = Doing::wait_for_lock;
  thread.left_ns = forever;
}

void Guest::release(uint32_t id) {
  Lock& lock = locks_[std::exchange(threads_[id].lock, nobody)];
  lock.owner = nobody;
  const auto next =
      spec_.workload.ticket ? lock.waiters.begin() : std::ranges::find_if(lock.waiters, [this](uint32_t waiter) {
        return host_.running(entity_of(threads_[waiter]));
      });
  if (next != lock.waiters.end()) grant(lock, *next);
}

void Guest::grant(Lock& lock, uint32_t id) {
  Thread& thread = threads_[id];
  host_.settle(entity_of(thread));
  std::erase(lock.waiters, id);
  lock.owner = id;
  lock.entered = host_.running(entity_of(thread));
  thread.doing = Doing::hold;
  thread.left_ns = thread.hold_ns;
  host_.changed(entity_of(thread));
}

bool Guest::arrive(uint32_t id) {
  Thread& thread = threads_[id];
  const uint32_t which = group(thread).steps[thread.step].object;
  const Barrier& barrier = spec_.workload.barriers[which];
  BarrierState& state = barriers_[which];
  if (++state.arrived >= barrier.parties) {
    state.arrived = 0;
    const std::vector<uint32_t> waiting = std::exchange(state.waiting, {});
    for (const uint32_t waiter : waiting) step_passed(waiter, acting_);
    return false;
  }
  state.waiting.push_back(id);
  if (barrier.spin_ns == 0) {
    block(id);
  } else {
    thread.doing = Doing::spin_at_barrier;
    thread.left_ns = barrier.spin_ns;
  }
  return true;
}

bool Guest::push(uint32_t id) {
  const uint32_t which = group(threads_[id]).steps[threads_[id].step].object;
  PipeState& pipe = pipes_[which];
  if (!pipe.poppers.empty()) {
    const uint32_t popper = pipe.poppers.front();
    pipe.poppers.pop_front();
    step_passed(popper, acting_);
    return false;
  }
  if (pipe.filled < spec_.workload.pipes[which].capacity) {
    ++pipe.filled;
    return false;
  }
  pipe.pushers.push_back(id);
  block(id);
  return true;
}

bool Guest::pop(uint32_t id) {
  PipeState& pipe = pipes_[group(threads_[id]).steps[threads_[id].step].object];
  if (pipe.filled != 0) {
    --pipe.filled;
    if (pipe.pushers.empty()) return false;
    const uint32_t pusher = pipe.pushers.front();
    pipe.pushers.pop_front();
    ++pipe.filled;
    step_passed(pusher, acting_);
    return false;
  }
  if (pipe.closed) {
    finish(id);
  } else {
    pipe.poppers.push_back(id);
    block(id);
  }
  return true;
}

// All siblings that have something to do must answer, as when a page's mapping is taken back. Idle ones need not.
void Guest::call(uint32_t id) {
  Thread& thread = threads_[id];
  thread.doing = Doing::wait_for_call;
  thread.unanswered = 0;
  for (uint32_t v = 0; v < vcpus_.size(); ++v) {
    const uint32_t entity = first_entity_ + v;
    if (v == thread.vcpu || vcpus_[v].current == nobody) continue;
    if (host_.running(entity)) {
      host_.settle(entity);
      vcpus_[v].interrupts_ns += call_handler_ns;
      host_.changed(entity);
    } else {
      vcpus_[v].callers.push_back(id);
      ++thread.unanswered;
      host_.interrupt(entity);
    }
  }
  thread.left_ns = thread.unanswered == 0 ? 2 * ipi_ns_ : forever;
}

void Guest::step_passed(uint32_t id, uint32_t waker) {
  Thread& thread = threads_[id];
  const bool blocked = thread.doing == Doing::blocked;
  if (!blocked && is_current(id)) host_.settle(entity_of(thread));
  thread.doing = Doing::compute;
  thread.left_ns = thread.work_ns = 0;
  thread.lock_follows = false;
  if (blocked) {
    make_ready(id, waker);
  } else if (is_current(id)) {
    host_.changed(entity_of(thread));
  }
}

// ---- threads on vCPUs

void Guest::block(uint32_t id) {
  threads_[id].doing = Doing::blocked;
  next_thread(vcpus_[threads_[id].vcpu]);
}

// Where it was, or where nothing runs.
void Guest::make_ready(uint32_t id, uint32_t waker) {
  Thread& thread = threads_[id];
  if (!group(thread).bound && vcpus_[thread.vcpu].current != nobody) {
    const auto idle = std::ranges::find(vcpus_, nobody, &Vcpu::current);
    if (idle != vcpus_.end()) thread.vcpu = static_cast<uint32_t>(idle - vcpus_.begin());
  }
  Vcpu& at = vcpus_[thread.vcpu];
  if (at.current != nobody) {
    host_.settle(entity_of(thread));
    at.ready.push_back(id);
    host_.changed(entity_of(thread));
    return;
  }
  at.current = id;
  at.slice_left_ns = slice_ns_;
  host_.wake(entity_of(thread), waker);
}

void Guest::next_thread(Vcpu& at) {
  at.slice_left_ns = slice_ns_;
  if (!at.ready.empty()) {
    at.current = at.ready.front();
    at.ready.pop_front();
    return;
  }
  at.current = steal();
  if (at.current != nobody) threads_[at.current].vcpu = static_cast<uint32_t>(&at - vcpus_.data());
}

// From the vCPU where most wait.
uint32_t Guest::steal() {
  const auto from = std::ranges::max_element(vcpus_, {}, [](const Vcpu& at) { return at.ready.size(); });
  const auto found = std::ranges::find_if(from->ready, [this](uint32_t id) { return !group(threads_[id]).bound; });
  if (found == from->ready.end()) return nobody;
  const uint32_t id = *found;
  from->ready.erase(found);
  return id;
}

}  // namespace amphion::sim
