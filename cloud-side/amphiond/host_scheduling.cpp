// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/host_scheduling.hpp"

#include <spdlog/spdlog.h>

#include <stdexcept>

namespace amphion::cloud {

HostScheduling::HostScheduling(Scheduling wanted, const std::filesystem::path& amphion_scx, const Affinity& affinity)
    : placement_(affinity) {
  if (wanted == Scheduling::kernel) return;
  if (wanted == Scheduling::affinity) {
    set("affinity", "");
    spdlog::info("clones' vCPUs are kept apart by processor affinity");
    return;
  }
  set("sbco", "");
  auto started = SbcoProcess::start(amphion_scx, [this](const std::string& why) { fall_back(why); });
  if (started) {
    sbco_ = std::move(*started);
    spdlog::info("SBCO schedules clones' vCPUs (sched_ext)");
    return;
  }
  if (wanted == Scheduling::sbco) throw std::runtime_error("SBCO cannot schedule here: " + started.error().text);
  set("affinity", started.error().text);
  spdlog::info("SBCO cannot schedule here ({}): clones' vCPUs are kept apart by processor affinity",
               started.error().text);
}

HostScheduling::~HostScheduling() = default;

void HostScheduling::set(const char* policy, std::string note) {
  placement_.keep_apart(std::string_view(policy) == "affinity");  // first: who reads "affinity" finds it done
  const std::lock_guard lock(mutex_);
  policy_ = policy;
  note_ = std::move(note);
}

void HostScheduling::fall_back(const std::string& why) {
  spdlog::error("SBCO has ended ({}): clones' vCPUs are kept apart by processor affinity", why);
  set("affinity", "SBCO has ended: " + why);
}

void HostScheduling::took(int process, std::vector<int> threads) { placement_.add(process, std::move(threads)); }

nlohmann::json HostScheduling::describe() const {
  const std::lock_guard lock(mutex_);
  return {{"policy", policy_}, {"note", note_}};
}

}  // namespace amphion::cloud
