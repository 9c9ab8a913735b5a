// SPDX-License-Identifier: Apache-2.0
// Instances that come and go by their owner's command; see phone.hpp.
#include <spdlog/spdlog.h>

#include <filesystem>
#include <numeric>

#include "phone-side/phoned/new_disk.hpp"
#include "phone-side/phoned/phone.hpp"

namespace amphion::phoned {
namespace {

using link::ErrorCode;
using link::Status;
using nlohmann::json;

std::string in_mib(std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

// All of them can run at a time, so that each can be started, and come home, at any time.
InstanceList::Allow Phone::fits(const std::string& name, std::uint64_t bound_bytes) const {
  return [this, name, bound_bytes](const std::vector<InstanceEntry>& others) -> Status {
    const std::uint64_t taken =
        std::accumulate(others.begin(), others.end(), std::uint64_t{0},
                        [](std::uint64_t sum, const InstanceEntry& one) { return sum + one.config.bound_bytes; });
    const std::uint64_t pool = pool_bytes();
    if (bound_bytes == 0 || taken + bound_bytes <= pool) return {};
    const std::uint64_t left = pool - std::min(pool, taken);
    return {ErrorCode::no_space, "--memory: " + in_mib(bound_bytes) + " for " + name + " and " + in_mib(taken) +
                                     " for the other instances are more than the " + in_mib(pool) +
                                     " that this phone has for them; at most " + in_mib(left) + " are left"};
  };
}

json Phone::create(const Request& request, const Progress& progress) {
  const std::string& name = request.instance;
  if (!valid_new_name(name)) {
    throw CommandError("\"" + name + "\" is no name for an instance: " + std::string(name_rule));
  }
  InstanceEntry entry;
  try {
    entry.config = new_instance(config_.instance_template, name, request.with);
  } catch (const ConfigError& error) {
    throw CommandError(error.what());
  }
  entry.stopped = true;
  const auto refuse = [&](const Status& status) {
    if (!status.ok()) throw CommandError(name + " was not created: " + status.error().text);
  };
  refuse(check_images(entry.config));
  refuse(check_name(entry.config));
  const auto added = list_.add(entry, fits(name, entry.config.bound_bytes));
  if (!added.ok()) refuse(added.error());
  try {
    make_files(entry.config, progress);
    refuse(list_.change(name, [](InstanceEntry& mine) { mine.whole = true; }));
  } catch (const CommandError&) {
    const auto gone = Slot::forget(records_, logs_, config_.data + "/instances", name);
    if (const auto forgotten = gone.ok() ? list_.remove(name) : gone; !forgotten.ok()) {
      spdlog::warn("{}: what was made of it is left until the phone's next start: {}", name, forgotten.error().text);
    }
    throw;
  }
  auto slot = make_slot(entry.config);
  slot->start();
  spdlog::info("{}: was created by its owner", name);
  json answer = slot->summary();
  put_slot(added->number, std::move(slot));
  answer["ok"] = true;
  answer["instance"] = name;
  return answer;
}

// A name that the cloud knows: its record here goes on from what is known, and the machine must be like the one that
// the cloud knows.
Status Phone::check_name(const InstanceConfig& config) {
  if (list_.find(config.name)) return {ErrorCode::conflict, "there is an instance " + config.name + " already"};
  const std::string folder = config_.data + "/instances/" + config.name;
  if (std::filesystem::exists(folder))
    return {ErrorCode::conflict, folder + " has files of an instance that is not in the phone's list; move it away"};
  if (const auto session = cloud_.session()) {
    for (const auto& claim : session->peer().instances()) {
      if (claim.instance() != config.name) continue;
      const auto known = records_.load(config.name);
      if (!known.ok() || known->generation < claim.generation())
        return {ErrorCode::conflict, "the cloud has an instance " + config.name +
                                         " of this phone, which this phone does not know; choose another name"};
    }
  }
  const auto known = records_.load(config.name);
  if (!known.ok()) return known.error().code == ErrorCode::not_found ? Status() : Status(known.error());
  const bool same = known->shape.vcpus == config.shape.vcpus && known->shape.memory_bytes == config.shape.memory_bytes;
  if (same) return {};
  return {ErrorCode::conflict, "the cloud keeps a copy of an earlier " + config.name +
                                   "; choose another name, or its shape: --cpus-max " +
                                   std::to_string(known->shape.vcpus) + " --memory-max " +
                                   std::to_string(known->shape.memory_bytes >> 20) + "M"};
}

void Phone::make_files(const InstanceConfig& config, const Progress& progress) {
  const std::string folder = config_.data + "/instances/" + config.name;
  const auto must = [&](const Status& status) {
    if (!status.ok()) throw CommandError(config.name + " was not created: " + status.error().text);
  };
  const auto begun = link::Clock::now();
  must(check_space(disk_use(config.disk), free_bytes(config_.data), "its disk"));
  must(link::real_files().make_folder(folder));
  must(make_disk(link::real_files(), config, folder, [&](std::uint64_t done, std::uint64_t all) {
    const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(link::Clock::now() - begun);
    progress({{"step", "copying"}, {"percent", all == 0 ? 100 : done * 100 / all}, {"total_ms", since.count()}});
  }));
}

json Phone::remove(const Request& request) {
  const std::size_t number = index_of(request.instance);
  const auto slot = this->slot(request.instance);
  const bool was_docked = slot->view().docked;
  json answer = slot->remove(request.force);
  put_slot(number, nullptr);
  if (was_docked) cloud_.begin_anew(request.instance + " was removed");
  return answer;
}

}  // namespace amphion::phoned
