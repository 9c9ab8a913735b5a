// SPDX-License-Identifier: Apache-2.0
// Numbering, remembering and handing over of keys; see key_route.hpp.
#include "phone-side/phoned/key_route.hpp"

#include <linux/input-event-codes.h>

#include <algorithm>

namespace amphion::phoned {
namespace {

// Consecutive events cut into frames; the first may be the rest of one.
std::vector<Frame> frames_of(const std::deque<NumberedEvent>& events) {
  std::vector<Frame> frames;
  bool begin = true;
  for (const NumberedEvent& one : events) {
    if (begin) frames.emplace_back();
    frames.back().push_back(one.event);
    begin = one.event.type == EV_SYN && one.event.code == SYN_REPORT;
  }
  return frames;
}

// Frames together as far as a record of the journal goes; a larger frame by itself, in parts.
std::vector<Frame> records_of(std::span<const Frame> frames) {
  constexpr std::size_t most = KeyJournal::most_record_events;
  std::vector<Frame> records;
  for (const Frame& frame : frames) {
    for (std::size_t at = 0; at < frame.size(); at += most) {
      const auto part = std::span(frame).subspan(at, std::min(most, frame.size() - at));
      if (records.empty() || records.back().size() + part.size() > most) records.emplace_back();
      records.back().insert(records.back().end(), part.begin(), part.end());
    }
  }
  return records;
}

}  // namespace

void KeyRoute::start(Mode mode, std::uint64_t recorded) {
  mode_ = mode;
  last_ = std::max(journal_.last(), recorded);
  given_ = reached_ = last_;
  acknowledged_ = recorded;
  remembered_.clear();
}

void KeyRoute::deliver(std::span<const Frame> frames) {
  for (const Frame& record : records_of(frames)) {
    std::vector<NumberedEvent> events;
    for (const KeyEvent& event : record) events.push_back({last_ + events.size() + 1, event});
    if (mode_ == Mode::away) journal_.append(record);
    last_ += record.size();
    if (mode_ == Mode::away) {
      link_(events);
      continue;
    }
    remember(events);
    if (mode_ == Mode::local) give(events);
  }
}

void KeyRoute::give(const std::vector<NumberedEvent>& events) {
  if (events.empty()) return;
  given_ = events.back().sequence;
  local_(events);
}

void KeyRoute::remember(const std::vector<NumberedEvent>& events) {
  for (const NumberedEvent& one : events) {
    if (remembered_.empty() || one.sequence > remembered_.back().sequence) remembered_.push_back(one);
  }
}

void KeyRoute::reached(std::uint64_t sequence) {
  if (mode_ == Mode::away) return;
  reached_ = std::max(reached_, std::min(sequence, last_));
  while (!remembered_.empty() && remembered_.front().sequence <= reached_) remembered_.pop_front();
}

void KeyRoute::hold() { mode_ = Mode::held; }

void KeyRoute::leave(std::uint64_t input_sequence) {
  reached(input_sequence);
  journal_.restart(input_sequence + 1);
  for (const Frame& record : records_of(frames_of(remembered_))) journal_.append(record);
  acknowledged_ = input_sequence;
  mode_ = Mode::away;
}

void KeyRoute::stay() {
  std::vector<NumberedEvent> late;
  if (mode_ == Mode::away) remember(journal_.after(given_));
  for (const NumberedEvent& one : remembered_) {
    if (one.sequence > given_) late.push_back(one);
  }
  mode_ = Mode::local;
  give(late);
}

void KeyRoute::arrive(std::uint64_t input_sequence) {
  const std::vector<NumberedEvent> late = journal_.after(input_sequence);
  given_ = reached_ = input_sequence;
  last_ = std::max(last_, input_sequence);
  remembered_.assign(late.begin(), late.end());
  mode_ = Mode::local;
  give(late);
}

void KeyRoute::acknowledged(std::uint64_t sequence) {
  if (mode_ != Mode::away || sequence <= acknowledged_) return;
  acknowledged_ = std::min(sequence, last_);
  journal_.trim(acknowledged_);
}

}  // namespace amphion::phoned
