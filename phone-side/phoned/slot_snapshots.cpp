// SPDX-License-Identifier: Apache-2.0
// Snapshots of an instance: memory, disk and state at one moment, as files under its folder; see slot.hpp.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <ctime>

#include "phone-side/phoned/new_disk.hpp"
#include "phone-side/phoned/picture.hpp"
#include "phone-side/phoned/slot.hpp"
#include "phone-side/phoned/slot_move.hpp"
#include "phone-side/phoned/snapshot_writer.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

void must(const link::Status& status, const std::string& what) {
  if (!status.ok()) throw CommandError(what + ": " + status.error().text);
}

Snapshot& find(InstanceEntry& entry, std::uint64_t number) {
  return *std::find_if(entry.snapshots.begin(), entry.snapshots.end(),
                       [&](const Snapshot& one) { return one.number == number; });
}

std::uint64_t ms_since(link::Clock::time_point begun) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(link::Clock::now() - begun).count());
}

std::uint64_t mib(std::uint64_t bytes) { return (bytes + (1u << 20) - 1) >> 20; }

std::string labels(const InstanceEntry& entry) {
  std::string all;
  for (const Snapshot& one : entry.snapshots) {
    if (one.whole) all += (all.empty() ? "" : ", ") + one.label;
  }
  return all.empty() ? "there is none; amphion snapshot " + entry.config.name + " takes one" : "there are: " + all;
}

Snapshot wanted_snapshot(const std::optional<InstanceEntry>& entry, const std::string& name, const std::string& label) {
  const Snapshot* found = entry ? entry->snapshot(label) : nullptr;
  if (found == nullptr)
    throw CommandError(name + " has no snapshot \"" + label + "\"; " + (entry ? labels(*entry) : std::string()));
  return *found;
}

}  // namespace

json Slot::snapshot(const std::string& label, const ProgressSink& progress) {
  const auto begun = link::Clock::now();
  const auto move = begin_move(Act::snapshot, SlotState::snapshotting);
  std::uint64_t number = 0;
  const auto give_up = [&](const std::string& why) {
    if (number != 0) drop_snapshot(number);
    back_to(SlotState::running);
    throw CommandError("no snapshot of " + name() + " was taken: " + why);
  };
  const auto live = this->live();
  const std::uint64_t needed = live->stats().populated_bytes + disk_use(disk());
  if (auto space = check_space(needed, free_bytes(), "it"); !space.ok()) give_up(space.error().text);
  std::string taken = label;
  std::string refused;
  const auto entered = services_.list.change(name(), [&](InstanceEntry& entry) {
    if (taken.empty()) taken = "snapshot-" + std::to_string(entry.last_snapshot + 1);
    if (!valid_label(taken)) refused = "a label is 1 to 32 letters, digits, '-', '_' and '.'";
    if (entry.snapshot(taken) != nullptr)
      refused = "there is a snapshot " + taken + " already; choose another label, or remove that one by --delete";
    if (entry.snapshots.size() >= max_snapshots)
      refused = "it has " + std::to_string(max_snapshots) + " already; --delete removes one";
    if (!refused.empty()) return;
    number = ++entry.last_snapshot;
    entry.snapshots.push_back({number, taken, static_cast<std::int64_t>(std::time(nullptr)), 0, 0, false});
  });
  if (!refused.empty()) give_up(refused);
  if (!entered.ok()) {
    number = 0;
    give_up(entered.error().text);
  }
  if (auto made = services_.files.make_folder(snapshots()); !made.ok()) give_up(made.error().text);
  spdlog::info("{}: takes snapshot {}", name(), taken);
  DockImage source(*this, live);
  SavedImage target(snapshots(), number);
  SnapshotWriter writer(source, target, [&](unsigned percent) {
    progress({{"step", "copying"}, {"percent", percent}, {"total_ms", ms_since(begun)}});
  });
  if (const auto written = writer.write(); !written.ok()) give_up(written.error().text);
  const std::uint64_t memory = target.memory_use(), disk = target.disk_use();
  const auto done = services_.list.change(name(), [&](InstanceEntry& entry) {
    Snapshot& one = find(entry, number);
    one.memory_bytes = memory;
    one.disk_bytes = disk;
    one.whole = true;
  });
  if (!done.ok()) give_up(done.error().text);
  back_to(SlotState::running);
  const auto stopped = static_cast<std::uint64_t>(writer.stopped().count());
  spdlog::info("{}: snapshot {} is taken in {} ms, stopped for {} ms", name(), taken, ms_since(begun), stopped);
  return {{"ok", true},         {"instance", name()},          {"label", taken},       {"memory_bytes", memory},
          {"disk_bytes", disk}, {"total_ms", ms_since(begun)}, {"stopped_ms", stopped}};
}

// The image is made complete beside what runs; the record decides; only then what runs ends.
json Slot::restore(const std::string& label, const ProgressSink& progress) {
  const auto begun = link::Clock::now();
  const auto move = begin_move(Act::restore, SlotState::restoring);
  const auto give_up = [&](const std::string& why) {
    move->undo();
    throw CommandError(name() + " was not restored: " + why);
  };
  link::InstanceRecord record = this->record();
  if (record.instance.empty()) give_up("its record cannot be read");
  Snapshot from;
  try {
    from = wanted_snapshot(services_.list.find(name()), name(), label);
  } catch (const CommandError&) {
    move->undo();
    throw;
  }
  const std::uint64_t needed = from.memory_bytes + picture_pixels * sizeof(std::uint16_t);
  std::uint64_t bound = 0;
  {
    const std::lock_guard lock(mutex_);
    bound = wanted_.bound_bytes;
  }
  if (needed > bound) {
    give_up("the snapshot uses " + std::to_string(mib(needed)) + " MiB, this phone gives it " +
            std::to_string(mib(bound)) + " MiB; amphion set " + name() + " --memory gives it more");
  }
  if (auto space = check_space(from.disk_bytes, free_bytes(), "its disk"); !space.ok()) give_up(space.error().text);
  const SavedImage image(folder_, record.generation);
  SavedImage mine(folder_, record.generation);
  const auto copied = mine.take_over(SavedImage(snapshots(), from.number), [&](std::uint64_t done, std::uint64_t all) {
    progress({{"step", "copying"}, {"percent", all == 0 ? 100 : done * 100 / all}, {"total_ms", ms_since(begun)}});
  });
  if (!copied.ok()) {
    image.discard();
    give_up(copied.error().text);
  }
  {
    const std::lock_guard lock(keys_mutex_);
    record.input_sequence = route_->last();  // what was typed before is not for the restored one
    route_->start(KeyRoute::Mode::held, record.input_sequence);
  }
  record.saved = record.generation;
  if (const auto stored = services_.records.store(record); !stored.ok()) {
    image.discard();
    const std::lock_guard lock(keys_mutex_);
    route_->stay();
    give_up(stored.error().text);
  }
  try {
    mark_stopped(false);
  } catch (const CommandError& error) {
    spdlog::warn("{}", error.what());  // it starts all the same; the phone's next start leaves it stopped
  }
  set_record(record);
  spdlog::info("{}: goes back to snapshot {}", name(), label);
  end_here(name() + " was restored; open its console again");
  take_wanted();
  start_saved(record);
  const std::lock_guard lock(mutex_);
  if (state_ == SlotState::failed) throw CommandError(name() + " was restored, but " + note_);
  return {{"ok", true}, {"instance", name()}, {"label", label}, {"total_ms", ms_since(begun)}};
}

json Slot::delete_snapshot(const std::string& label) {
  const auto move = begin_move(Act::delete_snapshot);
  const Snapshot gone = wanted_snapshot(services_.list.find(name()), name(), label);
  must(services_.list.change(name(), [&](InstanceEntry& entry) { find(entry, gone.number).whole = false; }), name());
  drop_snapshot(gone.number);
  return {{"ok", true}, {"instance", name()}, {"label", label}};
}

// Of one that is not whole, or must not be: its files, then its name. What fails is left to sweep().
void Slot::drop_snapshot(std::uint64_t number) {
  SavedImage(snapshots(), number).discard();
  const auto forgotten = services_.list.change(name(), [&](InstanceEntry& entry) {
    std::erase_if(entry.snapshots, [&](const Snapshot& one) { return one.number == number; });
  });
  if (!forgotten.ok()) spdlog::warn("{}: {}", name(), forgotten.error().text);
}

void Slot::sweep() {
  const auto entry = services_.list.find(name());
  if (!entry) return;
  for (const Snapshot& one : entry->snapshots) {
    if (!one.whole) drop_snapshot(one.number);
  }
}

}  // namespace amphion::phoned
