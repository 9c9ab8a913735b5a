// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/vcpu_placement.hpp"

#include <sched.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace amphion::cloud {
namespace {

class SystemAffinity final : public Affinity {
 public:
  [[nodiscard]] Cpus own() const override {
    Cpus cpus;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {  // more than 1,024 CPUs
      spdlog::warn("vCPUs are not kept apart: this machine's CPUs cannot be read: {}", std::strerror(errno));
      return cpus;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
    return cpus;
  }
  bool set(int thread, const Cpus& cpus) const override {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int cpu : cpus) CPU_SET(cpu, &set);
    return sched_setaffinity(thread, sizeof set, &set) == 0;
  }
  [[nodiscard]] bool lives(int process) const override { return ::kill(process, 0) == 0 || errno == EPERM; }
};

}  // namespace

const Affinity& system_affinity() {
  static const SystemAffinity affinity;
  return affinity;
}

std::vector<Cpus> apart(const Cpus& cpus, std::size_t vcpus, std::size_t turn) {
  const std::size_t shares = std::min(cpus.size(), vcpus);
  std::vector<Cpus> all(vcpus);
  for (std::size_t at = 0; at < cpus.size() && shares > 0; ++at) {
    const std::size_t share = at * shares / cpus.size();
    all[(share + turn) % shares].push_back(cpus[at]);
  }
  for (std::size_t vcpu = shares; vcpu < vcpus; ++vcpu) all[vcpu] = cpus;
  return all;
}

VcpuPlacement::VcpuPlacement(const Affinity& affinity) : affinity_(affinity), cpus_(affinity.own()) {}

void VcpuPlacement::add(int process, std::vector<int> threads) {
  const std::lock_guard lock(mutex_);
  std::erase_if(clones_, [&](const auto& known) { return known.first == process || !affinity_.lives(known.first); });
  place(clones_[process] = {std::move(threads), turns_++});
}

void VcpuPlacement::keep_apart(bool wanted) {
  const std::lock_guard lock(mutex_);
  apart_ = wanted;
  std::erase_if(clones_, [&](const auto& known) { return !affinity_.lives(known.first); });
  for (const auto& [process, clone] : clones_) place(clone);
}

void VcpuPlacement::place(const Clone& clone) const {
  if (cpus_.empty()) return;
  const auto shares = apart(cpus_, clone.threads.size(), clone.turn);
  for (std::size_t vcpu = 0; vcpu < clone.threads.size(); ++vcpu) {
    if (affinity_.set(clone.threads[vcpu], apart_ ? shares[vcpu] : cpus_)) continue;
    spdlog::warn("vCPU {} (thread {}) keeps its processor affinity: {}", vcpu, clone.threads[vcpu],
                 std::strerror(errno));
  }
}

}  // namespace amphion::cloud
