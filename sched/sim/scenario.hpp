// SPDX-License-Identifier: Apache-2.0
// What a simulation is made of, and how it is read from JSON (README.md describes the format). A Scenario that parse()
// returned is whole and consistent: every object that a step names exists, every number is in its range.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

namespace amphion::sim {

inline constexpr uint64_t us = 1000, ms = 1000 * us, second = 1000 * ms;
inline constexpr uint64_t forever = ~uint64_t{0};

enum class Spread : uint8_t { constant, exponential, uniform };  // uniform: from 0 to twice the mean

struct Step {
  enum class Kind : uint8_t { compute, sleep, barrier, push, pop, call, done };
  Kind kind = Kind::compute;
  Spread spread = Spread::constant;
  double mean_ns = 0;   // compute, sleep
  uint32_t object = 0;  // barrier, pipe
};

struct ThreadGroup {
  std::string name;
  uint32_t count = 1;
  uint32_t each = 0;      // times that each thread does its steps
  uint32_t together = 0;  // times that all of the group do them in all; both 0: for ever, or until a pipe is closed
  bool bound = false;     // each to a vCPU of its own, in turn
  bool locks = true;      // computing takes the kernel's locks
  std::vector<Step> steps;

  [[nodiscard]] bool ends() const;  // by itself
};

// Spin locks of a kernel that are taken while threads compute.
struct LockUse {
  std::string name;
  double share = 0;       // of the time of computing that one of them is held
  double holding_ns = 0;  // mean; exponential
  uint32_t number = 1;    // of locks, taken with equal probability
};

struct Barrier {
  std::string name;
  uint32_t parties = 1;
  uint64_t spin_ns = 0;  // how long a thread spins before it blocks
};

struct Pipe {
  std::string name;
  uint32_t capacity = 1;
};

struct Workload {
  std::vector<LockUse> locks;
  bool ticket = true;  // locks are served in order; if not, whoever runs and spins first gets one
  std::vector<Barrier> barriers;
  std::vector<Pipe> pipes;
  std::vector<ThreadGroup> threads;
};

struct InstanceSpec {
  std::string name;
  uint32_t vcpus = 1;     // 1 and `task`: a task of the host
  bool measured = false;  // its end is the run's end
  Workload workload;
};

struct Scenario {
  uint32_t cpus = 1;
  uint64_t latency_ns = 20 * ms;
  uint64_t granularity_ns = 4 * ms;
  double alpha = 2.0 / 3;
  bool hand_over = false;
  uint64_t switch_ns = 0;   // of a switch to another vCPU
  uint64_t warm_up_ns = 0;  // what is lost to cold caches after it
  uint64_t ipi_ns = 0;
  uint64_t guest_slice_ns = 10 * ms;  // turns of threads on a vCPU
  uint64_t duration_ns = 0;           // 0: until what is measured has ended
  uint64_t count_from_ns = 0;         // what was before is in no result but the lags
  uint64_t limit_ns = 3600 * second;
  uint64_t sample_ns = 1 * second;
  std::vector<double> windows_s;  // of the lag between instances
  std::vector<InstanceSpec> instances;
};

// The text of `file` is `text`: workloads that it names are looked for beside it. On failure one line that says where
// and what to do.
[[nodiscard]] std::variant<Scenario, std::string> parse(const std::string& text, const std::filesystem::path& file);
[[nodiscard]] std::variant<Scenario, std::string> load(const std::filesystem::path& file);

}  // namespace amphion::sim
