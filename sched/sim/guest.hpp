// SPDX-License-Identifier: Apache-2.0
// One instance: its vCPUs, the threads on them, and what the threads wait for. It knows nothing of CPUs; the machine
// (Host) tells it how long each vCPU ran, and asks what it will do next.
//
// Spin locks are held and awaited by a vCPU's current thread only, because a kernel that holds or wants one does not
// switch threads. So a lock's waiters and its holder are vCPUs, and what a waiter loses is counted directly: the time
// that it runs and spins while the holder (or who is to have the lock next and does not know yet) does not run.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "sched/sim/random.hpp"
#include "sched/sim/scenario.hpp"

namespace amphion::sim {

inline constexpr uint32_t nobody = ~uint32_t{0};

class Guest;

// What a guest asks of the machine. vCPUs are named by their entity.
class Host {
 public:
  virtual ~Host() = default;
  [[nodiscard]] virtual uint64_t now() const = 0;
  [[nodiscard]] virtual bool running(uint32_t entity) const = 0;
  virtual void settle(uint32_t entity) = 0;   // accounts its time up to now; before what it does is changed
  virtual void changed(uint32_t entity) = 0;  // what it does has been changed
  virtual void wake(uint32_t entity, uint32_t waker) = 0;  // waker: the entity that did it, or nobody
  virtual void interrupt(uint32_t entity) = 0;             // somebody waits for it, and it does not run
  virtual void call_back(uint64_t at, Guest& guest, uint32_t thread) = 0;
};

struct GuestStatistics {
  uint64_t finished_at_ns = 0;  // 0: not yet
  uint64_t done = 0;            // steps `done` that were passed
  uint64_t lock_holdings = 0;
  uint64_t lock_waits = 0;
  uint64_t holders_preempted = 0;  // taken off the CPU while it held a lock
  uint64_t lock_spin_ns = 0;       // all spinning for locks
  uint64_t lost_to_holder_ns = 0;  // of it, while the holder did not run
  uint64_t lost_to_waiter_ns = 0;  // of it, while the lock had been handed to a waiter that did not run
  uint64_t call_spin_ns = 0;       // waiting for siblings to answer a call
  uint64_t barrier_spin_ns = 0;
};

class Guest {
 public:
  Guest(const InstanceSpec& spec, uint32_t first_entity, uint64_t slice_ns, uint64_t ipi_ns, uint64_t seed, Host& host);

  void start();  // its threads begin

  // Of a vCPU that runs.
  [[nodiscard]] uint64_t until_event(uint32_t entity) const;
  void ran(uint32_t entity, uint64_t ns);
  void event(uint32_t entity);  // until_event() has passed

  [[nodiscard]] bool idle(uint32_t entity) const { return vcpu(entity).current == nobody; }
  void dispatched(uint32_t entity);  // it runs from now on
  void descheduled(uint32_t entity);
  void called_back(uint32_t thread);  // its sleep is over

  [[nodiscard]] const InstanceSpec& spec() const { return spec_; }
  [[nodiscard]] uint32_t first_entity() const { return first_entity_; }
  [[nodiscard]] bool finished() const { return alive_ == 0; }
  [[nodiscard]] const GuestStatistics& statistics() const { return statistics_; }
  void count_anew() { statistics_ = {}; }

 private:
  enum class Doing : uint8_t { compute, hold, wait_for_lock, spin_at_barrier, wait_for_call, blocked, finished };

  struct Thread {
    uint32_t group = 0;
    uint32_t vcpu = 0;
    uint32_t step = 0;
    uint32_t iterations = 0;
    Doing doing = Doing::compute;
    bool fresh = true;          // has not begun its first step
    bool lock_follows = false;  // after what it computes now
    uint32_t lock = nobody;     // held or wanted
    uint32_t unanswered = 0;    // calls
    uint64_t left_ns = 0;       // of what it does now; forever while somebody else decides
    uint64_t work_ns = 0;       // of its step after that
    uint64_t hold_ns = 0;       // of the lock that it waits for
  };
  struct Vcpu {
    uint32_t current = nobody;  // thread; nobody: idle
    std::deque<uint32_t> ready;
    uint64_t slice_left_ns = 0;
    uint64_t interrupts_ns = 0;  // to be handled before it goes on
    std::vector<uint32_t> callers;
  };
  struct Lock {
    uint32_t owner = nobody;
    bool entered = false;  // the owner has run since it got the lock
    std::deque<uint32_t> waiters;
  };
  struct BarrierState {
    uint32_t arrived = 0;
    std::vector<uint32_t> waiting;
  };
  struct PipeState {
    uint32_t filled = 0;
    uint32_t producers = 0;  // threads that have not ended
    bool closed = false;
    std::deque<uint32_t> pushers, poppers;
  };

  [[nodiscard]] uint32_t entity_of(const Thread& thread) const { return first_entity_ + thread.vcpu; }
  [[nodiscard]] const Vcpu& vcpu(uint32_t entity) const { return vcpus_[entity - first_entity_]; }
  [[nodiscard]] Vcpu& vcpu(uint32_t entity) { return vcpus_[entity - first_entity_]; }
  [[nodiscard]] const ThreadGroup& group(const Thread& thread) const { return spec_.workload.threads[thread.group]; }
  [[nodiscard]] bool is_current(uint32_t id) const { return vcpus_[threads_[id].vcpu].current == id; }
  [[nodiscard]] static bool preemptible(const Thread& thread) {
    return thread.doing == Doing::compute || thread.doing == Doing::spin_at_barrier;
  }

  // A thread's steps.
  void go_on(uint32_t id);                       // its step is done: begins others until one takes time
  [[nodiscard]] bool next_step(Thread& thread);  // false: it has done all
  [[nodiscard]] bool begin_step(uint32_t id);    // true: it takes time, or the thread waits
  void compute_on(Thread& thread);
  void finish(uint32_t id);
  void close_behind(const Thread& thread);

  // What threads wait for.
  void acquire(uint32_t id);
  void release(uint32_t id);
  void grant(Lock& lock, uint32_t id);
  [[nodiscard]] bool arrive(uint32_t id);
  [[nodiscard]] bool push(uint32_t id);
  [[nodiscard]] bool pop(uint32_t id);
  void call(uint32_t id);
  void step_passed(uint32_t id, uint32_t waker);  // by another: it goes on as soon as it runs

  // Threads on vCPUs.
  void block(uint32_t id);
  void make_ready(uint32_t id, uint32_t waker);
  void next_thread(Vcpu& vcpu);
  [[nodiscard]] uint32_t steal();

  const InstanceSpec& spec_;
  const uint32_t first_entity_;
  const uint64_t slice_ns_, ipi_ns_;
  Host& host_;
  Random random_;
  std::vector<Thread> threads_;
  std::vector<Vcpu> vcpus_;
  std::vector<Lock> locks_;
  std::vector<double> lock_rates_;  // of each LockUse: holdings per ns of computing without a lock
  double lock_rate_ = 0;
  std::vector<BarrierState> barriers_;
  std::vector<PipeState> pipes_;
  std::vector<uint32_t> together_left_;
  uint32_t alive_ = 0;
  uint32_t acting_ = nobody;  // the entity whose event is handled
  GuestStatistics statistics_;
};

}  // namespace amphion::sim
