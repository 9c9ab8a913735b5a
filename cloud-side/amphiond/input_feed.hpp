// SPDX-License-Identifier: Apache-2.0
// Feeds journaled input into a clone, exactly once and in order, also across amphiond's death.
// How: every event that the guest receives raises the used index of its keyboard queue by one, and QEMU delivers what
// it is given at a time whole or not at all. Before something is given, a checkpoint in the clone's folder says where
// the index stands and what is about to be given; so whoever comes after knows from the index whether it arrived.
// A key press is given together with its release where both are there, and a last press waits a little for its release:
// otherwise the time between the two would be ours, and a guest repeats a key that seems to be held.
// Thread safety: one thread at a time. Invariant: at most one portion is under way between two readings of the index.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "cloud-side/amphiond/clone_control.hpp"

namespace amphion::cloud {

// What is given at a time: one frame, or a press and its release. `events` is how many sequence numbers it takes,
// `injectable` what the guest gets of it: key presses and releases, one SYN_REPORT last; empty if there is no key in
// it.
struct InputPortion {
  std::vector<link::InputEvent> injectable;
  std::uint64_t events = 0;
  bool held = false;  // a press of which no release is known
  [[nodiscard]] std::uint16_t weight() const { return static_cast<std::uint16_t>(injectable.size()); }
};
[[nodiscard]] InputPortion first_portion(const link::pb::InputEvents& events);

class InputFeed {
 public:
  // `checkpoint`: path of the checkpoint's file. `patience`: how long a press waits for its release. The journal must
  // outlive this.
  InputFeed(link::Journal& journal, std::filesystem::path checkpoint,
            std::chrono::milliseconds patience = std::chrono::milliseconds(400))
      : journal_(journal), path_(std::move(checkpoint)), patience_(patience) {}

  // The clone was started from a state that had received everything up to `sequence`.
  link::Status begin(CloneControl& clone, std::uint64_t sequence);
  // The clone was adopted: works out what it has received. damaged: no usable checkpoint.
  link::Status adopt(CloneControl& clone);

  enum class Step { idle, moved, wait };  // nothing to do; a portion arrived; try again in a moment
  link::Result<Step> step(CloneControl& clone);
  // Takes note of what has arrived without giving more.
  link::Status settle(CloneControl& clone);

  [[nodiscard]] std::uint64_t reached() const { return reached_; }

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] bool waits_for_release(const InputPortion& portion);
  link::Result<Step> give(CloneControl& clone, const InputPortion& portion);
  link::Status save();

  link::Journal& journal_;
  std::filesystem::path path_;
  std::chrono::milliseconds patience_;
  std::uint64_t reached_ = 0;
  std::uint16_t used_ = 0;            // the index when everything up to reached_, and nothing else, had arrived
  std::uint64_t pending_events_ = 0;  // what was given after that, if it has arrived
  std::uint16_t pending_weight_ = 0;
  std::uint64_t press_ = 0;  // sequence number of the press that waits for its release,
  Clock::time_point press_seen_{};
};

}  // namespace amphion::cloud
