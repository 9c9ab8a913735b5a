// SPDX-License-Identifier: Apache-2.0
// Writes a snapshot of an instance that runs: most of it while it goes on, the rest while it is stopped. What is
// stopped goes on, whatever fails. Thread safety: the thread that holds the slot's move.
#pragma once

#include <chrono>
#include <functional>

#include "phone-side/phoned/dock_image.hpp"

namespace amphion::phoned {

class SnapshotWriter {
 public:
  // `percent` is told how far the first round is.
  SnapshotWriter(DockImage& source, SavedImage& target, std::function<void(unsigned percent)> percent)
      : source_(source), target_(target), percent_(std::move(percent)) {}

  // A complete image, durable, when it returns done; otherwise the target has to be discarded.
  [[nodiscard]] link::Status write();
  [[nodiscard]] std::chrono::milliseconds stopped() const { return stopped_; }

 private:
  [[nodiscard]] link::Status first_round();
  [[nodiscard]] link::Status what_changed(std::uint64_t& blocks);
  [[nodiscard]] link::Result<std::string> rest();  // stopped: the state
  [[nodiscard]] link::Status copy(const link::RegionSize& of, const link::Bitmap& blocks, bool again);

  DockImage& source_;
  SavedImage& target_;
  std::function<void(unsigned)> percent_;
  std::chrono::milliseconds stopped_{0};
};

}  // namespace amphion::phoned
