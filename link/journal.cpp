// SPDX-License-Identifier: Apache-2.0
// Format: header "AmJn", version u32, next sequence u64, CRC-32 of those; then records: first sequence u64, count u32,
// events (type u16, code u16, value i32) each, CRC-32 of the record. Little-endian. See journal.hpp.
#include "link/journal.hpp"

#include <algorithm>
#include <array>

namespace amphion::link {
namespace {

constexpr std::string_view magic = "AmJn";
constexpr std::uint32_t format_version = 1;
constexpr std::size_t header_bytes = 20;
constexpr std::size_t event_bytes = 8;
constexpr std::size_t record_fixed_bytes = 8 + 4 + 4;
constexpr std::uint64_t max_journal_bytes = 16u << 20;
constexpr std::size_t rewrite_above_dead = 1024;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr auto crc_table = make_crc_table();

std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const char c : bytes) crc = (crc >> 8) ^ crc_table[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

void put_le(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

std::uint64_t get_le(std::string_view bytes, std::size_t at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value |= std::uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  return value;
}

std::string encode_header(std::uint64_t next) {
  std::string out(magic);
  put_le(out, format_version, 4);
  put_le(out, next, 8);
  put_le(out, crc32(out), 4);
  return out;
}

std::string encode_record(std::uint64_t first, std::span<const InputEvent> events) {
  std::string out;
  put_le(out, first, 8);
  put_le(out, events.size(), 4);
  for (const InputEvent& event : events) {
    put_le(out, event.type, 2);
    put_le(out, event.code, 2);
    put_le(out, static_cast<std::uint32_t>(event.value), 4);
  }
  put_le(out, crc32(out), 4);
  return out;
}

}  // namespace

Result<std::unique_ptr<Journal>> Journal::open(Files& files, const std::string& path, std::uint64_t next) {
  std::unique_ptr<Journal> journal(new Journal(files, path));
  if (Status s = journal->load(next); !s.ok()) return s.error();
  return journal;
}

Status Journal::load(std::uint64_t next) {
  next_ = next;
  const auto bytes = files_.read(path_, max_journal_bytes);
  if (!bytes && bytes.error().code != ErrorCode::not_found) return bytes.error();
  if (!bytes) return rewrite();
  const std::string_view all = *bytes;
  if (all.size() < header_bytes || all.substr(0, 4) != magic)
    return {ErrorCode::damaged, path_ + " is no input journal"};
  if (get_le(all, 4, 4) != format_version) {
    return {ErrorCode::version, path_ + " has format version " + std::to_string(get_le(all, 4, 4)) +
                                    ", this program knows " + std::to_string(format_version)};
  }
  if (get_le(all, 16, 4) != crc32(all.substr(0, 16))) return {ErrorCode::damaged, path_ + " is damaged in its header"};
  std::uint64_t expected = get_le(all, 8, 8);
  std::size_t at = header_bytes;
  while (at + record_fixed_bytes <= all.size()) {
    const auto count = static_cast<std::size_t>(get_le(all, at + 8, 4));
    if (count == 0 || count > journal_max_record_events) break;
    const std::size_t size = record_fixed_bytes + count * event_bytes;
    if (at + size > all.size() || get_le(all, at + size - 4, 4) != crc32(all.substr(at, size - 4))) break;
    Record record{get_le(all, at, 8), {}};
    if (record.first != expected) break;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t e = at + 12 + i * event_bytes;
      record.events.push_back({static_cast<std::uint16_t>(get_le(all, e, 2)),
                              static_cast<std::uint16_t>(get_le(all, e + 2, 2)),
                              static_cast<std::int32_t>(get_le(all, e + 4, 4))});
    }
    expected += count;
    kept_ += count;
    records_.push_back(std::move(record));
    at += size;
  }
  if (expected < next) {
    records_.clear();
    kept_ = 0;
    expected = next;
  }
  next_ = expected;
  return rewrite();  // cuts a torn tail
}

// The file anew with what is kept; durable.
Status Journal::rewrite() {
  file_.reset();
  std::string bytes = encode_header(records_.empty() ? next_ : records_.front().first);
  for (const Record& record : records_) bytes += encode_record(record.first, record.events);
  if (Status s = write_durably(files_, path_, bytes); !s.ok()) return s;
  auto file = files_.open(path_, false);
  if (!file) return file.error();
  file_ = std::move(*file);
  file_bytes_ = bytes.size();
  dead_ = 0;
  broken_ = false;
  return {};
}

Result<std::uint64_t> Journal::append(std::span<const InputEvent> frames) {
  const std::lock_guard lock(mutex_);
  if (frames.empty() || frames.size() > journal_max_record_events) {
    return Error{ErrorCode::invalid,
                 "a journal record holds 1 to " + std::to_string(journal_max_record_events) + " events"};
  }
  if (kept_ + frames.size() > journal_max_events) {
    return Error{ErrorCode::no_space, "the input journal " + path_ + " is full: nothing takes its events"};
  }
  if (broken_ || !file_) {
    if (Status s = rewrite(); !s.ok()) return s.error();
  }
  const std::string bytes = encode_record(next_, frames);
  Status status = file_->append(bytes);
  if (status.ok()) status = file_->sync();
  if (!status.ok()) {
    broken_ = !file_->truncate(file_bytes_).ok();
    return status.error();
  }
  file_bytes_ += bytes.size();
  records_.push_back({next_, {frames.begin(), frames.end()}});
  kept_ += frames.size();
  next_ += frames.size();
  return next_ - 1;
}

pb::InputEvents Journal::after(std::uint64_t sequence, std::size_t max_events) const {
  const std::lock_guard lock(mutex_);
  pb::InputEvents out;
  const auto begin = std::partition_point(records_.begin(), records_.end(), [&](const Record& record) {
    return record.first + record.events.size() - 1 <= sequence;
  });
  for (auto record = begin; record != records_.end(); ++record) {
    if (out.events_size() > 0 && static_cast<std::size_t>(out.events_size()) + record->events.size() > max_events) break;
    for (std::size_t i = 0; i < record->events.size(); ++i) {
      if (record->first + i <= sequence) continue;
      if (out.events().empty()) out.set_first_sequence(record->first + i);
      pb::InputEvent& event = *out.add_events();
      event.set_type(record->events[i].type);
      event.set_code(record->events[i].code);
      event.set_value(record->events[i].value);
    }
  }
  return out;
}

Status Journal::trim(std::uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  while (!records_.empty() && records_.front().first + records_.front().events.size() - 1 <= sequence) {
    kept_ -= records_.front().events.size();
    dead_ += records_.front().events.size();
    records_.pop_front();
  }
  return dead_ > rewrite_above_dead && dead_ > kept_ ? rewrite() : Status();
}

std::uint64_t Journal::last() const {
  const std::lock_guard lock(mutex_);
  return next_ - 1;
}

std::uint64_t Journal::first() const {
  const std::lock_guard lock(mutex_);
  return records_.empty() ? next_ : records_.front().first;
}

std::size_t Journal::size() const {
  const std::lock_guard lock(mutex_);
  return kept_;
}

}  // namespace amphion::link
