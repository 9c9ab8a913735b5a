// SPDX-License-Identifier: Apache-2.0
// CPUs in virtual time around the scheduler of sched/core, which is used as it is: a CPU calls pick() when a turn ends,
// when it is told to by another CPU (one interrupt's way later), and when its vCPU sleeps or one that it owns wakes.
// Between two events nothing changes, so a run is exact and depends on nothing but scenario, policy and seed.
#pragma once

#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "sched/core/policy.hpp"
#include "sched/sim/guest.hpp"
#include "sched/sim/scenario.hpp"

namespace amphion::sim {

struct InstanceResult {
  std::string name;
  uint32_t vcpus = 1;
  bool measured = false;
  uint64_t run_ns = 0;
  double stacked = 0;                 // share of samples in which two ready siblings were on one CPU
  double stacked_with_free = 0;       // ... while another CPU had none of them
  double far = 0;                     // ... in which the distance was at least alpha of the longest queue's length
  std::vector<uint64_t> distances{};  // samples by distance
  uint64_t samples = 0;
  GuestStatistics guest{};
};

// The largest difference of two instances' run time in a window.
struct Lag {
  double window_s = 0;
  double maximal_ms = 0;  // of windows that begin every shortest window
  double mean_ms = 0;
  uint64_t positions = 0;
  double anywhere_ms = 0;  // the maximum of windows that begin at any sample
};

struct Result {
  std::string policy;
  uint64_t seed = 0;
  uint64_t virtual_ns = 0;
  bool complete = true;  // what is measured has ended, or the duration is over; false: the limit came first
  uint64_t decisions = 0, switches = 0, far = 0, debts = 0, stackings_avoided = 0, moves = 0;
  std::vector<InstanceResult> instances{};
  std::vector<Lag> lags{};
};

class Machine final : public Host {
 public:
  Machine(const Scenario& scenario, const sched::Policy& policy, uint64_t seed);
  ~Machine() override;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  [[nodiscard]] Result run();

  // For tests: see Scheduler::broken().
  [[nodiscard]] const char* broken() const { return scheduler_->broken(); }

 private:
  struct Cpu {
    uint32_t running = sched::none;
    uint32_t ran_last = sched::none;
    uint64_t settled = 0;   // its vCPU's time is accounted up to here
    uint64_t charged = 0;   // ... and charged up to here
    uint64_t overhead = 0;  // of the last switch, not yet spent
    uint64_t turn_end = forever;
    uint64_t kick_at = forever;
    uint64_t next = forever;  // event
  };
  struct Timer {
    enum class Kind : uint8_t { wake, interrupt, call_back, start, sample, count };
    uint64_t at = 0;
    uint64_t order = 0;  // as they were set, where times are equal
    Kind kind = Kind::wake;
    uint32_t subject = 0;  // entity, or thread of `guest`
    uint32_t waker = sched::none;
    Guest* guest = nullptr;
    bool operator>(const Timer& other) const { return at != other.at ? at > other.at : order > other.order; }
  };

  // Host.
  [[nodiscard]] uint64_t now() const override { return now_; }
  [[nodiscard]] bool running(uint32_t entity) const override;
  void settle(uint32_t entity) override;
  void changed(uint32_t entity) override;
  void wake(uint32_t entity, uint32_t waker) override;
  void interrupt(uint32_t entity) override;
  void call_back(uint64_t at, Guest& guest, uint32_t thread) override;

  [[nodiscard]] Guest& guest_of(uint32_t entity) { return *guests_[owner_[entity]]; }
  [[nodiscard]] uint32_t cpu_of(uint32_t entity) const { return entities_[entity].place().cpu; }
  void set(Timer timer);
  void fire(const Timer& timer);
  void cpu_event(uint32_t number);
  void settle_cpu(Cpu& cpu);
  void charge(Cpu& cpu);
  void reschedule(uint32_t number);
  void switch_to(uint32_t number, uint32_t entity);
  void settle_siblings(uint32_t entity);
  void tell_kicks(uint32_t number);
  void plan(Cpu& cpu);
  [[nodiscard]] bool over() const;
  void begin_to_count();
  void sample();
  void sample_distance(const Guest& guest, InstanceResult& result) const;
  [[nodiscard]] uint64_t run_ns(const Guest& guest) const;
  [[nodiscard]] Result report();
  [[nodiscard]] Lag lag(double window_s) const;

  const Scenario& scenario_;
  const uint64_t seed_;
  Random random_;
  sched::Tuning tuning_;
  std::vector<sched::Entity> entities_;
  std::allocator<sched::Queue> queue_memory_;  // queues cannot move
  sched::Queue* queues_;
  std::unique_ptr<sched::Scheduler> scheduler_;
  std::vector<std::unique_ptr<Guest>> guests_;
  std::vector<uint32_t> owner_;  // of an entity: its guest
  std::vector<Cpu> cpus_;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  uint64_t timers_set_ = 0;
  uint64_t now_ = 0;
  std::vector<InstanceResult> sampled_;
  std::vector<std::vector<uint64_t>> run_history_;  // run time of each guest with vCPUs, at each sample
};

}  // namespace amphion::sim
