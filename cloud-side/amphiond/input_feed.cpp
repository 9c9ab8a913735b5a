// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/input_feed.hpp"

#include <linux/input-event-codes.h>

#include <fstream>

namespace amphion::cloud {
namespace {

using link::ErrorCode;

}  // namespace

InputFrame first_frame(const link::pb::InputEvents& events, int from) {
  InputFrame frame;
  for (int i = from; i < events.events_size(); ++i) {
    const auto& event = events.events(i);
    ++frame.events;
    if (event.type() == EV_SYN && event.code() == SYN_REPORT) break;
    if (event.type() != EV_KEY || event.value() < 0 || event.value() > 1 || event.code() > KEY_MAX) continue;
    frame.injectable.push_back({EV_KEY, static_cast<std::uint16_t>(event.code()), event.value()});
  }
  if (!frame.injectable.empty()) frame.injectable.push_back({EV_SYN, SYN_REPORT, 0});
  return frame;
}

link::Status InputFeed::begin(CloneControl& clone, std::uint64_t sequence) {
  const auto used = clone.keyboard_used();
  if (!used) return used.error();
  reached_ = sequence;
  used_ = *used;
  return save();
}

link::Status InputFeed::adopt(CloneControl& clone) {
  std::ifstream file(path_);
  std::uint64_t sequence = 0;
  std::uint32_t used = 0;
  if (!(file >> sequence >> used) || used > 0xffff) {
    return {ErrorCode::damaged, path_.string() + " does not say what input the clone has received"};
  }
  reached_ = sequence;
  used_ = static_cast<std::uint16_t>(used);
  return settle(clone);
}

link::Status InputFeed::settle(CloneControl& clone) {
  const auto now = clone.keyboard_used();
  if (!now) return now.error();
  auto gained = static_cast<std::uint16_t>(*now - used_);
  if (gained == 0) return {};
  const auto events = journal_.after(reached_);
  for (int at = 0; at < events.events_size() && gained != 0;) {
    const auto frame = first_frame(events, at);
    if (frame.weight() > gained) break;
    gained = static_cast<std::uint16_t>(gained - frame.weight());
    used_ = static_cast<std::uint16_t>(used_ + frame.weight());
    reached_ += frame.events;
    at += static_cast<int>(frame.events);
  }
  used_ = *now;  // what is left over is not ours: nothing else may be counted for it
  return save();
}

link::Result<InputFeed::Step> InputFeed::step(CloneControl& clone) {
  const auto events = journal_.after(reached_, 1);
  if (events.events_size() == 0) return Step::idle;
  const auto frame = first_frame(events, 0);
  if (frame.weight() != 0) {
    const auto taken = clone.inject(frame.injectable);
    if (!taken && taken.error().code != ErrorCode::invalid) return taken.error();
    if (taken && !*taken) return Step::full;
    if (taken) {
      const std::uint64_t before = reached_;
      if (auto status = settle(clone); !status) return status.error();
      return reached_ == before ? Step::full : Step::moved;
    }
  }
  reached_ += frame.events;  // nothing in it that a keyboard of this machine could say
  if (auto status = save(); !status) return status.error();
  return Step::moved;
}

link::Status InputFeed::save() {
  const auto temporary = path_.string() + ".new";
  std::ofstream file(temporary, std::ios::trunc);
  file << reached_ << ' ' << used_ << '\n';
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(temporary, path_, error);
  if (!file || error) return {ErrorCode::io, "cannot write " + path_.string()};
  return {};
}

}  // namespace amphion::cloud
