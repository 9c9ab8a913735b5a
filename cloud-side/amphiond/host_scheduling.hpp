// SPDX-License-Identifier: Apache-2.0
// Who schedules the clones' vCPUs on this machine: SBCO in the kernel (sched/scx) where it can be loaded, else the
// kernel's own scheduler with siblings kept apart by processor affinity. Says which in the log and in describe().
// Thread safety: made and destroyed by main(); the other functions from any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cloud-side/amphiond/options.hpp"
#include "cloud-side/amphiond/sbco_process.hpp"
#include "cloud-side/amphiond/vcpu_placement.hpp"

namespace amphion::cloud {

class HostScheduling {
 public:
  // Throws std::runtime_error: SBCO was demanded and cannot be had.
  HostScheduling(Scheduling wanted, const std::filesystem::path& amphion_scx,
                 const Affinity& affinity = system_affinity());
  ~HostScheduling();

  // A clone runs, with these threads as its vCPUs.
  void took(int process, std::vector<int> threads);
  // {"policy":"sbco"|"affinity"|"kernel","note":why it is not what was wanted, or ""}
  [[nodiscard]] nlohmann::json describe() const;

 private:
  void set(const char* policy, std::string note);
  void fall_back(const std::string& why);

  VcpuPlacement placement_;
  mutable std::mutex mutex_;  // guards policy_ and note_
  const char* policy_ = "kernel";
  std::string note_;
  std::unique_ptr<SbcoProcess> sbco_;  // last: its thread calls fall_back()
};

}  // namespace amphion::cloud
