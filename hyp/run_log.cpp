// SPDX-License-Identifier: Apache-2.0
// See run_log.hpp.
#include "hyp/run_log.hpp"

#include "hyp/bundle.hpp"

namespace amphion::hyp {
namespace {

constexpr std::uint32_t magic = 0x474c'4d41;  // "AMLG"

const std::uint8_t* bytes_of(const void* start) { return static_cast<const std::uint8_t*>(start); }

std::uint32_t crc_of(const RunLog::Header& header) {
  return bundle_crc32(bytes_of(&header), offsetof(RunLog::Header, header_crc));
}

bool valid(const RunLog::Header& header, std::uint32_t room) {
  return header.magic == magic && header.header_crc == crc_of(header) && header.bytes <= room &&
         header.text_crc == bundle_crc32(bytes_of(&header + 1), header.bytes);
}

}  // namespace

void RunLog::begin(std::span<std::byte> region, Clean clean) {
  const std::size_t each = region.size() / 2 & ~std::size_t{3};
  auto* const first = reinterpret_cast<Header*>(region.data());
  auto* const second = reinterpret_cast<Header*>(region.data() + each);
  room_ = static_cast<std::uint32_t>(each - sizeof(Header));
  clean_ = clean;
  const bool first_valid = valid(*first, room_), second_valid = valid(*second, room_);
  const bool second_is_last = second_valid && (!first_valid || static_cast<std::int32_t>(second->run - first->run) > 0);
  const Header* const last = second_is_last ? second : first_valid ? first : nullptr;
  if (last != nullptr && last->ended == 0) last_ = {reinterpret_cast<const char*>(last + 1), last->bytes};

  header_ = last == first ? second : first;
  const std::uint32_t run = last == nullptr ? 1 : last->run + 1;
  *header_ = {.magic = magic, .run = run, .bytes = 0, .ended = 0, .text_crc = 0, .header_crc = 0};
  bytes_ = 0;
  commit();
}

void RunLog::put(char c) {
  if (header_ == nullptr) return;
  if (bytes_ >= room_) drop_older_half();
  text()[bytes_++] = c;
  if (c == '\n') commit();
}

void RunLog::end_in_order() {
  if (header_ == nullptr) return;
  header_->ended = 1;
  seal();
}

// Only what is new is read: a line costs what it is long.
void RunLog::commit() {
  const std::uint32_t before = header_->bytes;
  header_->text_crc = bundle_crc32(bytes_of(text()) + before, bytes_ - before, header_->text_crc);
  header_->bytes = bytes_;
  clean_(text() + before, bytes_ - before);
  seal();
}

// From a line's beginning on, if there is one.
void RunLog::drop_older_half() {
  std::uint32_t from = room_ / 2;
  while (from < room_ && text()[from - 1] != '\n') ++from;
  if (from == room_) from = room_ / 2;
  for (std::uint32_t i = from; i < room_; ++i) text()[i - from] = text()[i];
  bytes_ = room_ - from;
  header_->bytes = 0;
  header_->text_crc = 0;
  commit();
}

void RunLog::seal() const {
  header_->header_crc = crc_of(*header_);
  clean_(header_, sizeof(Header));
}

}  // namespace amphion::hyp
