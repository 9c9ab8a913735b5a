// SPDX-License-Identifier: Apache-2.0
// Feeds journaled input into a clone, exactly once and in order, also across amphiond's death.
// How: every event that the guest receives raises the used index of its keyboard queue by one. A checkpoint in the
// clone's folder pairs a sequence number with a used index; what the index has gained since tells which frames arrived,
// whoever injected them. QEMU delivers a frame whole or not at all, so `reached` moves by frames.
// Thread safety: one thread at a time. Invariant: at most one frame is injected between two readings of the index.
#pragma once

#include <cstdint>
#include <filesystem>

#include "cloud-side/amphiond/clone_control.hpp"

namespace amphion::cloud {

class InputFeed {
 public:
  // `checkpoint`: path of the checkpoint's file. The journal must outlive this.
  InputFeed(link::Journal& journal, std::filesystem::path checkpoint)
      : journal_(journal), path_(std::move(checkpoint)) {}

  // The clone was started from a state that had received everything up to `sequence`.
  link::Status begin(CloneControl& clone, std::uint64_t sequence);
  // The clone was adopted: works out what it has received. not_found, damaged: no usable checkpoint.
  link::Status adopt(CloneControl& clone);

  enum class Step { idle, moved, full };  // nothing to do; a frame arrived; the guest takes nothing now
  link::Result<Step> step(CloneControl& clone);
  // Takes note of what has arrived without giving more.
  link::Status settle(CloneControl& clone);

  [[nodiscard]] std::uint64_t reached() const { return reached_; }

 private:
  link::Status save();

  link::Journal& journal_;
  std::filesystem::path path_;
  std::uint64_t reached_ = 0;
  std::uint16_t used_ = 0;  // the index when everything up to reached_, and nothing else, had arrived
};

// The first whole frame of `events` (up to and with SYN_REPORT), what can be injected of it first: key presses and
// releases. `events` is how many sequence numbers it takes, `weight` how many places in the guest's queue.
struct InputFrame {
  std::vector<link::InputEvent> injectable;  // ends with SYN_REPORT; empty if the frame has no key
  std::uint64_t events = 0;
  [[nodiscard]] std::uint16_t weight() const { return static_cast<std::uint16_t>(injectable.size()); }
};
[[nodiscard]] InputFrame first_frame(const link::pb::InputEvents& events, int from);

}  // namespace amphion::cloud
