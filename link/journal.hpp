// SPDX-License-Identifier: Apache-2.0
// The input journal of one instance: every captured event with its sequence number, durable before it is sent or shown
// to the instance elsewhere. A file of records (first sequence, event count, events, CRC-32), each of whole input
// frames. A torn last record (power lost while writing) is cut off at opening. Trimming rewrites the file when half of
// it is dead. Thread safety: all functions from any thread. Invariant: sequence numbers rise by one from `first()` to
// `last()`, also across trims and restarts.
#pragma once

#include <deque>
#include <mutex>
#include <span>

#include "link/files.hpp"
#include "link/link.pb.h"

namespace amphion::link {

struct InputEvent {
  std::uint16_t type;
  std::uint16_t code;
  std::int32_t value;
  friend bool operator==(const InputEvent&, const InputEvent&) = default;
};

inline constexpr std::size_t journal_max_events = 65536;  // unsent or unacknowledged; then append says no_space
inline constexpr std::size_t journal_max_record_events = 64;

class Journal {
 public:
  // `next`: number of the first event if there is no journal yet, or if what it holds ends below (the instance has
  // received input up to next - 1 by another way).
  static Result<std::unique_ptr<Journal>> open(Files& files, const std::string& path, std::uint64_t next = 1);

  // One record: frames that came together cost one sync. Durable when it returns. Gives its last event's number.
  Result<std::uint64_t> append(std::span<const InputEvent> frames);
  // Events after `sequence`, in order, whole records, at most about `max_events`. Empty: none.
  [[nodiscard]] pb::InputEvents after(std::uint64_t sequence, std::size_t max_events = 512) const;
  // Events up to and including `sequence` are no longer needed.
  Status trim(std::uint64_t sequence);

  [[nodiscard]] std::uint64_t last() const;   // number of the last event ever appended (next - 1 if none)
  [[nodiscard]] std::uint64_t first() const;  // number of the oldest event kept; last() + 1 if none
  [[nodiscard]] std::size_t size() const;     // events kept

 private:
  struct Record {
    std::uint64_t first;
    std::vector<InputEvent> events;
  };
  Journal(Files& files, std::string path) : files_(files), path_(std::move(path)) {}
  Status load(std::uint64_t next);
  Status rewrite();

  Files& files_;
  std::string path_;
  mutable std::mutex mutex_;
  std::unique_ptr<File> file_;
  std::uint64_t file_bytes_ = 0;  // good bytes in the file
  std::uint64_t next_ = 1;
  std::size_t kept_ = 0;
  std::size_t dead_ = 0;  // events in the file that are trimmed
  std::deque<Record> records_;
  bool broken_ = false;  // a write failed: the tail must be cut before the next append
};

}  // namespace amphion::link
