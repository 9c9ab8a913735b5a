// SPDX-License-Identifier: Apache-2.0
// The instances of this phone, in one durable file that is replaced whole: what each is, whether its owner has stopped
// it, its snapshots. The file is the only judge of what exists. Whoever makes files for something enters it first as
// unfinished, and as whole when its files are durable; whoever removes files marks it unfinished first. So what a power
// cut leaves half done is found at the next start, and cleared away (Phone, Slot).
// A new phone's list is that of its configuration; after that the configuration's is not looked at.
// Where an instance lives and in which generation is link/records.hpp's.
// File: envelope "AmIn" version 1 (link/files.hpp) around JSON, README.md shows it.
// Thread safety: all functions from any thread. After an error the list is as before, here; the file may have the new.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "link/files.hpp"
#include "phone-side/phoned/config.hpp"

namespace amphion::phoned {

inline constexpr std::size_t max_snapshots = 16;  // of one instance

struct Snapshot {
  std::uint64_t number = 0;  // of its files; never used twice
  std::string label;
  std::int64_t taken_s = 0;                        // since 1970, by the phone's clock
  std::uint64_t memory_bytes = 0, disk_bytes = 0;  // that its files take
  bool whole = false;

  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

struct InstanceEntry {
  InstanceConfig config;
  std::size_t number = 0;  // 0..max_instances - 1: Alt+F1 gives the focus to number 0
  bool stopped = false;    // by its owner: it stays so until its owner starts it
  bool whole = false;
  std::uint64_t last_snapshot = 0;  // highest number ever given
  std::vector<Snapshot> snapshots;

  [[nodiscard]] const Snapshot* snapshot(const std::string& label) const;  // whole; null: none
};

// 1..32 of letters, digits, '-', '_', '.' that begins with a letter or digit.
[[nodiscard]] bool valid_label(std::string_view label);

class InstanceList {
 public:
  InstanceList(link::Files& files, std::string file) : files_(files), file_(std::move(file)) {}

  // Reads the file. None: `first` are the instances.
  [[nodiscard]] link::Status open(const std::vector<InstanceConfig>& first);

  [[nodiscard]] std::vector<InstanceEntry> entries() const;
  [[nodiscard]] std::optional<InstanceEntry> find(const std::string& name) const;

  // All durable when they return done. add(): under the lowest number that is free; conflict: the name is taken, or no
  // number is free. `allow` sees the others and may refuse.
  using Allow = std::function<link::Status(const std::vector<InstanceEntry>& others)>;
  [[nodiscard]] link::Result<InstanceEntry> add(InstanceEntry entry, const Allow& allow);
  [[nodiscard]] link::Status change(const std::string& name, const std::function<void(InstanceEntry&)>& change,
                                    const Allow& allow = {});
  [[nodiscard]] link::Status remove(const std::string& name);

 private:
  [[nodiscard]] link::Status store(std::vector<InstanceEntry> entries);

  link::Files& files_;
  const std::string file_;
  mutable std::mutex mutex_;
  std::vector<InstanceEntry> entries_;
};

}  // namespace amphion::phoned
