// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/input_feed.hpp"

#include <linux/input-event-codes.h>

#include <fstream>

namespace amphion::cloud {
namespace {

using link::ErrorCode;

struct Frame {
  std::vector<link::InputEvent> keys;  // without SYN_REPORT
  int events = 0;
};

Frame frame_at(const link::pb::InputEvents& events, int from) {
  Frame frame;
  for (int i = from; i < events.events_size(); ++i) {
    const auto& event = events.events(i);
    ++frame.events;
    if (event.type() == EV_SYN && event.code() == SYN_REPORT) break;
    if (event.type() != EV_KEY || event.value() < 0 || event.value() > 1 || event.code() > KEY_MAX) continue;
    frame.keys.push_back({EV_KEY, static_cast<std::uint16_t>(event.code()), event.value()});
  }
  return frame;
}

}  // namespace

InputPortion first_portion(const link::pb::InputEvents& events) {
  const auto first = frame_at(events, 0);
  InputPortion portion{first.keys, static_cast<std::uint64_t>(first.events)};
  if (first.keys.size() == 1 && first.keys[0].value == 1) {
    const auto second = frame_at(events, first.events);
    portion.held = second.events == 0;
    if (second.keys.size() == 1 && second.keys[0].code == first.keys[0].code && second.keys[0].value == 0) {
      portion.injectable.push_back(second.keys[0]);
      portion.events += static_cast<std::uint64_t>(second.events);
    }
  }
  if (!portion.injectable.empty()) portion.injectable.push_back({EV_SYN, SYN_REPORT, 0});
  return portion;
}

link::Status InputFeed::begin(CloneControl& clone, std::uint64_t sequence) {
  const auto used = clone.keyboard_used();
  if (!used) return used.error();
  reached_ = sequence;
  used_ = *used;
  pending_events_ = 0;
  pending_weight_ = 0;
  return save();
}

link::Status InputFeed::adopt(CloneControl& clone) {
  std::ifstream file(path_);
  std::uint64_t sequence = 0;
  std::uint64_t events = 0;
  std::uint32_t used = 0;
  std::uint32_t weight = 0;
  if (!(file >> sequence >> used >> events >> weight) || used > 0xffff || weight > 0xffff) {
    return {ErrorCode::damaged, path_.string() + " does not say what input the clone has received"};
  }
  reached_ = sequence;
  used_ = static_cast<std::uint16_t>(used);
  pending_events_ = events;
  pending_weight_ = static_cast<std::uint16_t>(weight);
  return settle(clone);
}

link::Status InputFeed::settle(CloneControl& clone) {
  const auto now = clone.keyboard_used();
  if (!now) return now.error();
  if (*now == used_) return {};
  reached_ += pending_events_;
  used_ = *now;
  pending_events_ = 0;
  pending_weight_ = 0;
  return save();
}

bool InputFeed::waits_for_release(const InputPortion& portion) {
  if (!portion.held) return false;
  const auto now = Clock::now();
  if (press_ != reached_ + 1) {
    press_ = reached_ + 1;
    press_seen_ = now;
  }
  return now - press_seen_ < patience_;
}

link::Result<InputFeed::Step> InputFeed::step(CloneControl& clone) {
  if (pending_weight_ != 0) {
    if (auto settled = settle(clone); !settled) return settled.error();
  }
  const auto events = journal_.after(reached_, 2 * link::journal_max_record_events);
  if (events.events_size() == 0) return Step::idle;
  if (events.first_sequence() > reached_ + 1) {  // the journal was trimmed since: those events cannot be had again
    reached_ = events.first_sequence() - 1;
    if (auto saved = save(); !saved) return saved.error();
  }
  const auto portion = first_portion(events);
  if (waits_for_release(portion)) return Step::wait;
  if (portion.weight() != 0) return give(clone, portion);
  reached_ += portion.events;  // nothing in it that a keyboard of this machine could say
  if (auto saved = save(); !saved) return saved.error();
  return Step::moved;
}

link::Result<InputFeed::Step> InputFeed::give(CloneControl& clone, const InputPortion& portion) {
  pending_events_ = portion.events;
  pending_weight_ = portion.weight();
  if (auto saved = save(); !saved) return saved.error();
  const auto taken = clone.inject(portion.injectable);
  if (!taken && taken.error().code == ErrorCode::invalid) {  // a key that the clone's keyboard does not have
    reached_ += portion.events;
    pending_events_ = 0;
    pending_weight_ = 0;
    if (auto saved = save(); !saved) return saved.error();
    return Step::moved;
  }
  if (!taken) return taken.error();
  if (!*taken) return Step::wait;
  const std::uint64_t before = reached_;
  if (auto settled = settle(clone); !settled) return settled.error();
  return reached_ == before ? Step::wait : Step::moved;
}

link::Status InputFeed::save() {
  const auto temporary = path_.string() + ".new";
  std::ofstream file(temporary, std::ios::trunc);
  file << reached_ << ' ' << used_ << ' ' << pending_events_ << ' ' << pending_weight_ << '\n';
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(temporary, path_, error);
  if (!file || error) return {ErrorCode::io, "cannot write " + path_.string()};
  return {};
}

}  // namespace amphion::cloud
