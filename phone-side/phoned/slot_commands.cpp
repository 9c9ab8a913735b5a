// SPDX-License-Identifier: Apache-2.0
// The owner's commands on an instance that is here: on, off, anew, its share of the phone, its end; see slot.hpp.
// Snapshots are in slot_snapshots.cpp.
#include <linux/input-event-codes.h>
#include <spdlog/spdlog.h>

#include <charconv>
#include <filesystem>

#include "phone-side/phoned/new_disk.hpp"
#include "phone-side/phoned/slot.hpp"
#include "phone-side/phoned/slot_move.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

void must(const link::Status& status, const std::string& what) {
  if (!status.ok()) throw CommandError(what + ": " + status.error().text);
}

std::vector<Frame> power_key() {
  return {{{EV_KEY, KEY_POWER, 1}, {EV_SYN, SYN_REPORT, 0}}, {{EV_KEY, KEY_POWER, 0}, {EV_SYN, SYN_REPORT, 0}}};
}

std::string cpus(std::uint32_t count) { return std::to_string(count) + (count == 1 ? " CPU" : " CPUs"); }

}  // namespace

void Slot::take_wanted() {
  const std::lock_guard lock(mutex_);
  config_ = wanted_;
}

std::uint64_t Slot::home_bound() const {
  const std::lock_guard lock(mutex_);
  return std::min(config_.bound_bytes, wanted_.bound_bytes);
}

bool Slot::stopped_by_owner() const {
  const auto entry = services_.list.find(name());
  return entry && entry->stopped;
}

void Slot::mark_stopped(bool stopped) {
  must(services_.list.change(name(), [&](InstanceEntry& entry) { entry.stopped = stopped; }), name());
}

std::uint64_t Slot::free_bytes() const {
  return services_.free_bytes ? services_.free_bytes(folder_) : phoned::free_bytes(folder_);
}

// ---- On and off ----

json Slot::switch_on() {
  const auto move = begin_move(Act::start, SlotState::starting);
  try {
    mark_stopped(false);
  } catch (const CommandError&) {
    move->undo();
    throw;
  }
  start_again();
  const std::lock_guard lock(mutex_);
  if (state_ == SlotState::failed) throw CommandError(name() + ": " + note_);
  return {{"ok", true}, {"instance", name()}, {"state", text(state_)}};
}

// Also one that has failed: perhaps because its record could not be read.
void Slot::start_again() {
  take_wanted();
  try {
    if (record().instance.empty() || !route_) load_record();
  } catch (const std::runtime_error& error) {
    return fail(error.what());
  }
  start_by_record();
}

json Slot::switch_off(bool force, const ProgressSink& progress) {
  const auto move = begin_move(Act::stop, SlotState::stopping);
  try {
    mark_stopped(true);  // first: if power goes now, it stays off, as it was asked for
  } catch (const CommandError&) {
    move->undo();
    throw;
  }
  if (move->before() == SlotState::running && !force && !ask_off(progress)) {
    bool ending = false;
    {
      const std::lock_guard lock(mutex_);
      ending = ending_;
    }
    if (!ending) mark_stopped(false);
    back_to(SlotState::running);
    if (ending) throw CommandError("the phone is being switched off");
    throw CommandError(name() + " has not switched itself off within " +
                       std::to_string(services_.off_patience.count() / 1000) + " s, and goes on; amphion stop " +
                       name() + " --force ends it at once, as if its power were cut");
  }
  end_here(name() + " was stopped");
  spdlog::info("{}: was stopped by its owner", name());
  set_state(SlotState::stopped);
  return {{"ok", true}, {"instance", name()}, {"state", text(SlotState::stopped)}};
}

// True: it is off, or has ended otherwise.
bool Slot::ask_off(const ProgressSink& progress) {
  spdlog::info("{}: is asked to switch itself off", name());
  const auto begun = link::Clock::now();
  const auto until = begun + services_.off_patience;
  const auto last_ask = begun + services_.off_patience * 2 / 3;  // who hears it has time to obey
  auto ask_at = begun;
  std::unique_lock lock(mutex_);
  while (state_ == SlotState::stopping && !ending_ && link::Clock::now() < until) {
    lock.unlock();
    if (link::Clock::now() >= ask_at) {
      keys(power_key());
      ask_at = link::in(services_.off_again);
      if (ask_at > last_ask) ask_at = until;
    }
    const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(link::Clock::now() - begun);
    progress({{"step", "switching off"}, {"total_ms", since.count()}});
    lock.lock();
    moved_.wait_until(lock, std::min({until, ask_at, link::in(std::chrono::seconds(1))}),
                      [&] { return state_ != SlotState::stopping || ending_; });
  }
  return state_ != SlotState::stopping;
}

// What runs here ends, and its memory is free.
void Slot::end_here(const std::string& why) {
  console_.end_all(why);
  serial_.end_all(why);
  if (const auto live = this->live()) {
    if (const auto status = live->pause(); !status.ok()) spdlog::warn("{}: {}", name(), status.error().text);
  }
  drop_live();
}

json Slot::reset() {
  const auto move = begin_move(Act::reset, SlotState::starting);
  spdlog::info("{}: is reset by its owner", name());
  if (const auto live = this->live()) {
    if (const auto status = live->pause(); !status.ok()) spdlog::warn("{}: {}", name(), status.error().text);
  }
  start_cold();
  const std::lock_guard lock(mutex_);
  if (state_ == SlotState::failed) throw CommandError(name() + ": " + note_);
  return {{"ok", true}, {"instance", name()}, {"state", text(state_)}};
}

// ---- Its share of the phone ----

json Slot::set(const json& wishes, const InstanceList::Allow& allow) {
  const auto move = begin_move(Act::set);
  InstanceConfig wanted;
  {
    const std::lock_guard lock(mutex_);
    wanted = wanted_;
  }
  try {
    wanted = changed_instance(wanted, wishes);
  } catch (const ConfigError& error) {
    throw CommandError(error.what());
  }
  must(services_.list.change(
           name(), [&](InstanceEntry& entry) { entry.config = wanted; }, allow),
       name());
  std::uint32_t now = 0;
  {
    const std::lock_guard lock(mutex_);
    wanted_ = wanted;
    now = config_.vcpus_allowed;
  }
  json answer{
      {"ok", true}, {"instance", name()}, {"vcpus_allowed", wanted.vcpus_allowed}, {"bound_bytes", wanted.bound_bytes}};
  const auto live = this->live();
  const bool runs = live && move->before() == SlotState::running;
  answer["next_start"] = runs && wanted.bound_bytes != config_.bound_bytes;
  if (!runs || wanted.vcpus_allowed == now) return answer;
  if (wanted.vcpus_allowed > now) must(live->allow(wanted.vcpus_allowed), name());
  const auto online = ask_cpus(*live, wanted.vcpus_allowed);
  if (wanted.vcpus_allowed < now) must(live->allow(wanted.vcpus_allowed), name());
  {
    const std::lock_guard lock(mutex_);
    config_.vcpus_allowed = wanted.vcpus_allowed;
  }
  if (online) {
    answer["vcpus_online"] = *online;
  } else {
    answer["note"] = "nothing in " + name() + " takes up or gives back CPUs by itself: it has " +
                     cpus(wanted.vcpus_allowed) + " from its next start";
  }
  return answer;
}

// How many its guest has online, by the word of its service; none: it has none, or that says nothing.
std::optional<std::uint32_t> Slot::ask_cpus(LiveInstance& live, std::uint32_t vcpus) {
  {
    const std::lock_guard lock(mutex_);
    cpus_said_.reset();
    grow_said_.clear();
  }
  if (!live.grow("cpus " + std::to_string(vcpus) + "\n").ok()) return std::nullopt;
  std::unique_lock lock(mutex_);
  moved_.wait_for(lock, services_.grow_patience, [&] { return cpus_said_.has_value() || ending_; });
  return cpus_said_;
}

// "cpus M ok" and a line's end, in pieces of any size; what is not that is not for us.
void Slot::on_grow(std::string_view text) {
  constexpr std::string_view begin = "cpus ", end = " ok";
  constexpr std::size_t longest = 64;
  const std::lock_guard lock(mutex_);
  for (const char c : text) {
    if (c != '\n' && grow_said_.size() < longest) grow_said_ += c;
    if (c != '\n') continue;
    const std::string line = std::exchange(grow_said_, {});
    if (!line.starts_with(begin) || !line.ends_with(end) || line.size() <= begin.size() + end.size()) continue;
    std::uint32_t count = 0;
    const char* last = line.data() + line.size() - end.size();
    const auto read = std::from_chars(line.data() + begin.size(), last, count);
    if (read.ec == std::errc() && read.ptr == last && count >= 1 && count <= machine::max_vcpus) cpus_said_ = count;
  }
  moved_.notify_all();
}

// ---- Its end ----

json Slot::remove(bool force) {
  const auto move = begin_move(Act::remove, SlotState::removing, force);
  if (const auto marked = services_.list.change(name(), [](InstanceEntry& entry) { entry.whole = false; });
      !marked.ok()) {
    move->undo();
    throw CommandError(name() + " was not removed: " + marked.error().text);
  }
  {
    const std::lock_guard lock(mutex_);
    removed_ = true;
  }
  end_here(name() + " was removed");
  {
    const std::lock_guard lock(keys_mutex_);
    route_.reset();
    journal_.reset();
  }
  std::string note;
  auto gone = forget(services_.records, services_.logs, services_.folder, name(), &note);
  if (gone.ok()) gone = services_.list.remove(name());
  if (!gone.ok()) {
    spdlog::warn("{}: {}", name(), gone.error().text);
    note +=
        (note.empty() ? "" : "; ") + std::string("the phone's next start removes the rest of it: ") + gone.error().text;
  }
  spdlog::info("{}: was removed by its owner", name());
  json answer{{"ok", true}, {"instance", name()}};
  if (!note.empty()) answer["note"] = note;
  return answer;
}

// One that has been in the cloud leaves its generation: whatever the cloud still knows of it is behind, and a clone of
// it ends.
link::Status Slot::forget(link::Records& records, Logs& logs, const std::string& instances, const std::string& name,
                          std::string* note) {
  auto known = records.load(name);
  const bool unknown = !known.ok() && known.error().code == link::ErrorCode::not_found;
  if (known.ok() && (known->attempt > 1 || known->generation > 1)) {
    if (known->place == link::pb::SIDE_CLOUD) {
      known->generation = std::max({known->generation, known->attempt, known->prepared}) + 1;
      known->attempt = known->generation;
      known->place = link::pb::SIDE_PHONE;
    }
    known->prepared = known->saved = known->base = 0;
    if (auto status = records.store(*known); !status.ok()) return status;
    records.drop_hashes(name, 0);
    if (note != nullptr)
      *note =
          "the cloud keeps its copy of " + name + " as of the last time it was there; that is removed by hand there";
  } else if (!unknown) {  // or it is of no use to anybody
    if (auto status = records.remove(name); !status.ok()) return status;
  }
  logs.forget(name);
  std::error_code failed;
  std::filesystem::remove_all(instances + "/" + name, failed);
  if (failed) return {link::ErrorCode::io, instances + "/" + name + ": " + failed.message()};
  return {};
}

json Slot::details() const {
  const auto entry = services_.list.find(name());
  json more{{"number", 0}, {"snapshots", json::array()}};
  if (entry) {
    more["number"] = entry->number + 1;
    for (const Snapshot& one : entry->snapshots) {
      if (!one.whole) continue;
      more["snapshots"].push_back({{"label", one.label},
                                   {"taken_s", one.taken_s},
                                   {"memory_bytes", one.memory_bytes},
                                   {"disk_bytes", one.disk_bytes}});
    }
  }
  std::error_code none;
  const std::string file = disk();
  const auto size = file.empty() ? 0 : std::filesystem::file_size(file, none);
  more["disk"] = {{"size_bytes", none ? 0 : size}, {"used_bytes", disk_use(file)}};
  return more;
}

}  // namespace amphion::phoned
