// SPDX-License-Identifier: Apache-2.0
// The list's file and its changes; see instance_list.hpp.
#include "phone-side/phoned/instance_list.hpp"

#include <algorithm>

namespace amphion::phoned {
namespace {

using link::ErrorCode;
using link::Status;
using nlohmann::json;

constexpr std::string_view magic = "AmIn";
constexpr std::uint32_t format_version = 1;
constexpr std::uint64_t max_file_bytes = 256 * 1024;

json to_json(const Snapshot& one) {
  return {{"number", one.number},         {"label", one.label},
          {"taken_s", one.taken_s},       {"memory_bytes", one.memory_bytes},
          {"disk_bytes", one.disk_bytes}, {"whole", one.whole}};
}

json to_json(const InstanceEntry& entry) {
  json snapshots = json::array();
  for (const Snapshot& one : entry.snapshots) snapshots.push_back(to_json(one));
  return {{"instance", phoned::to_json(entry.config)},
          {"number", entry.number},
          {"stopped", entry.stopped},
          {"whole", entry.whole},
          {"last_snapshot", entry.last_snapshot},
          {"snapshots", std::move(snapshots)}};
}

// These throw json::exception and ConfigError: the file is not what this program writes.
Snapshot snapshot_of(const json& value) {
  return {value.at("number").get<std::uint64_t>(),     value.at("label").get<std::string>(),
          value.at("taken_s").get<std::int64_t>(),     value.at("memory_bytes").get<std::uint64_t>(),
          value.at("disk_bytes").get<std::uint64_t>(), value.at("whole").get<bool>()};
}

InstanceEntry entry_of(const json& value) {
  InstanceEntry entry;
  entry.config = parse_instance(value.at("instance"), "instance.");
  entry.number = value.at("number").get<std::size_t>();
  entry.stopped = value.at("stopped").get<bool>();
  entry.whole = value.at("whole").get<bool>();
  entry.last_snapshot = value.at("last_snapshot").get<std::uint64_t>();
  for (const json& one : value.at("snapshots")) entry.snapshots.push_back(snapshot_of(one));
  if (entry.number >= max_instances) throw ConfigError("instance.number is too large");
  return entry;
}

Status damaged(const std::string& file, const std::string& why) {
  return {ErrorCode::damaged, file + " is no list of instances: " + why};
}

}  // namespace

const Snapshot* InstanceEntry::snapshot(const std::string& label) const {
  const auto found = std::find_if(snapshots.begin(), snapshots.end(),
                                  [&](const Snapshot& one) { return one.whole && one.label == label; });
  return found == snapshots.end() ? nullptr : &*found;
}

bool valid_label(std::string_view label) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  const auto good = [&](char c) { return plain(c) || c == '-' || c == '_' || c == '.'; };
  return !label.empty() && label.size() <= 32 && plain(label.front()) && std::all_of(label.begin(), label.end(), good);
}

Status InstanceList::open(const std::vector<InstanceConfig>& first) {
  const std::lock_guard lock(mutex_);
  const auto sealed = files_.read(file_, max_file_bytes);
  if (!sealed.ok() && sealed.error().code != ErrorCode::not_found) return sealed.error();
  std::vector<InstanceEntry> entries;
  if (!sealed.ok()) {
    for (const InstanceConfig& one : first) {
      entries.push_back({one, entries.size(), false, true, 0, {}});
    }
    return store(std::move(entries));
  }
  const auto body = link::unseal(magic, format_version, *sealed, file_);
  if (!body.ok()) return body.error();
  try {
    const json all = json::parse(*body);
    for (const json& one : all.at("instances")) entries.push_back(entry_of(one));
  } catch (const json::exception& error) {
    return damaged(file_, error.what());
  } catch (const ConfigError& error) {
    return damaged(file_, error.what());
  }
  entries_ = std::move(entries);
  return {};
}

std::vector<InstanceEntry> InstanceList::entries() const {
  const std::lock_guard lock(mutex_);
  return entries_;
}

std::optional<InstanceEntry> InstanceList::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  for (const InstanceEntry& one : entries_) {
    if (one.config.name == name) return one;
  }
  return std::nullopt;
}

link::Result<InstanceEntry> InstanceList::add(InstanceEntry entry, const Allow& allow) {
  const std::lock_guard lock(mutex_);
  std::vector<bool> taken(max_instances);
  for (const InstanceEntry& one : entries_) {
    taken[one.number] = true;
    if (one.config.name == entry.config.name)
      return link::Error{ErrorCode::conflict, "there is an instance " + entry.config.name + " already"};
  }
  const auto free = std::find(taken.begin(), taken.end(), false);
  if (free == taken.end()) {
    return link::Error{ErrorCode::conflict, "a phone has at most " + std::to_string(max_instances) +
                                                " instances; amphion remove makes room"};
  }
  entry.number = static_cast<std::size_t>(free - taken.begin());
  if (auto status = allow(entries_); !status.ok()) return status.error();
  std::vector<InstanceEntry> entries = entries_;
  entries.push_back(entry);
  if (auto status = store(std::move(entries)); !status.ok()) return status.error();
  return entry;
}

Status InstanceList::change(const std::string& name, const std::function<void(InstanceEntry&)>& change,
                            const Allow& allow) {
  const std::lock_guard lock(mutex_);
  std::vector<InstanceEntry> entries = entries_;
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const InstanceEntry& one) { return one.config.name == name; });
  if (found == entries.end()) return {ErrorCode::not_found, "there is no instance " + name};
  if (allow) {
    std::vector<InstanceEntry> others = entries;
    others.erase(others.begin() + (found - entries.begin()));
    if (auto status = allow(others); !status.ok()) return status;
  }
  change(*found);
  return store(std::move(entries));
}

Status InstanceList::remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  std::vector<InstanceEntry> entries = entries_;
  std::erase_if(entries, [&](const InstanceEntry& one) { return one.config.name == name; });
  return store(std::move(entries));
}

Status InstanceList::store(std::vector<InstanceEntry> entries) {
  json all = json::array();
  for (const InstanceEntry& one : entries) all.push_back(to_json(one));
  const json body{{"instances", std::move(all)}};
  auto status = link::write_durably(files_, file_, link::seal(magic, format_version, body.dump()));
  if (status.ok()) entries_ = std::move(entries);
  return status;
}

}  // namespace amphion::phoned
