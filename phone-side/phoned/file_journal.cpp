// SPDX-License-Identifier: Apache-2.0
// The journal file of one instance; see file_journal.hpp.
#include "phone-side/phoned/file_journal.hpp"

#include <stdexcept>

namespace amphion::phoned {
namespace {

void must(const link::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.error().text);
}

std::unique_ptr<link::Journal> opened(link::Files& files, const std::string& path, std::uint64_t next) {
  auto journal = link::Journal::open(files, path, next);
  if (!journal.ok()) throw std::runtime_error(journal.error().text);
  return std::move(*journal);
}

}  // namespace

FileJournal::FileJournal(link::Files& files, std::string path, std::uint64_t next)
    : files_(files), path_(std::move(path)), journal_(opened(files_, path_, next)) {}

void FileJournal::restart(std::uint64_t next) {
  journal_.reset();
  must(files_.remove(path_));
  journal_ = opened(files_, path_, next);
}

void FileJournal::append(std::span<const KeyEvent> frames) {
  static_assert(most_record_events <= link::journal_max_record_events);
  std::vector<link::InputEvent> events;
  for (const KeyEvent& one : frames) events.push_back({one.type, one.code, one.value});
  const auto last = journal_->append(events);
  if (!last.ok()) throw std::runtime_error(last.error().text);
}

std::vector<NumberedEvent> FileJournal::after(std::uint64_t sequence) const {
  std::vector<NumberedEvent> all;
  for (;;) {
    const link::pb::InputEvents part = journal_->after(sequence);
    if (part.events().empty()) return all;
    std::uint64_t number = part.first_sequence();
    for (const auto& one : part.events()) {
      const KeyEvent event{static_cast<std::uint16_t>(one.type()), static_cast<std::uint16_t>(one.code()), one.value()};
      if (number > sequence) all.push_back({number, event});
      ++number;
    }
    sequence = number - 1;
  }
}

void FileJournal::trim(std::uint64_t sequence) { must(journal_->trim(sequence)); }

}  // namespace amphion::phoned
