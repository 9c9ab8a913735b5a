// SPDX-License-Identifier: Apache-2.0
// Keeps a clone's vCPUs apart by processor affinity where no scheduler does it: the part of SBCO that balance
// scheduling is. Each of a clone's vCPU threads gets CPUs that no sibling has; among them the kernel chooses. Thread
// safety: VcpuPlacement: all functions from any thread.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

namespace amphion::cloud {

using Cpus = std::vector<int>;  // their numbers, rising

// Which of `cpus` each of a clone's vCPUs may use: siblings share none, as long as there are enough; those beyond may
// use all. `turn` rotates the shares from clone to clone, because guests use their first vCPU most.
[[nodiscard]] std::vector<Cpus> apart(const Cpus& cpus, std::size_t vcpus, std::size_t turn);

// The system's calls, as an interface for tests.
class Affinity {
 public:
  virtual ~Affinity() = default;
  [[nodiscard]] virtual Cpus own() const = 0;                // that this process may use
  virtual bool set(int thread, const Cpus& cpus) const = 0;  // false: there is no such thread, or it is not ours
  [[nodiscard]] virtual bool lives(int process) const = 0;
};
[[nodiscard]] const Affinity& system_affinity();

class VcpuPlacement {
 public:
  explicit VcpuPlacement(const Affinity& affinity = system_affinity());

  // A clone that runs now, and the threads of its vCPUs in order.
  void add(int process, std::vector<int> threads);
  // Whether vCPUs are kept apart here; all clones' threads are set accordingly.
  void keep_apart(bool wanted);

 private:
  struct Clone {
    std::vector<int> threads;
    std::size_t turn;
  };
  void place(const Clone& clone) const;

  const Affinity& affinity_;
  const Cpus cpus_;
  std::mutex mutex_;  // guards what follows
  std::map<int, Clone> clones_;
  std::size_t turns_ = 0;
  bool apart_ = false;
};

}  // namespace amphion::cloud
