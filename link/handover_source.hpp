// SPDX-License-Identifier: Apache-2.0
// The source's side of a hand-over: sends what differs from the synchronised copy while the instance runs, stops it,
// sends the rest, and commits. phoned runs it to dock, amphiond to undock. Thread safety: run() blocks and belongs to
// one thread; cancel() from any. Invariant: resume() is called if and only if the instance was stopped and its record
// says that it is still here.
#pragma once

#include <atomic>

#include "link/handover.hpp"

namespace amphion::link {

using Bitmap = std::vector<std::uint32_t>;  // bit n % 32 of word n / 32 is block n

struct SavedState {
  std::string sealed;  // machine's envelope, at most max_state_bytes
  std::uint64_t input_sequence = 0;
};

// The instance as the engine sees it. Calls come from the engine's thread, in the order of this list.
class SourceImage {
 public:
  virtual ~SourceImage() = default;
  // Memory and disks with their sizes in blocks; does not change afterwards.
  [[nodiscard]] virtual std::vector<RegionSize> regions() const = 0;
  // From now on take_dirty() reports what is written.
  virtual Status start_tracking() = 0;
  // Blocks that may differ from the synchronised copy (`base_held`), or that may not be zero (otherwise): set their
  // bits in `out`, which has regions()' size and is all clear. Called once a region, after start_tracking(). Default:
  // all.
  virtual Status candidates(pb::Region region, bool base_held, Bitmap& out);
  // Contents of whole blocks from `first` on; may tear while the instance runs (then the block is dirty). A page that
  // was never touched reads as zeros, and reading must not populate it.
  virtual Status read(pb::Region region, std::uint64_t first, std::span<std::byte> out) = 0;
  // Sets the bits of blocks written since the last call (or start_tracking()), and forgets them. After stop(): what was
  // written up to the stop.
  virtual Status take_dirty(pb::Region region, Bitmap& out) = 0;
  // Stops the instance, its devices included (disk writes are in the image), and returns its state.
  virtual Result<SavedState> stop() = 0;
  // It goes on here: undoes stop() (if it was called) and start_tracking().
  virtual void resume() = 0;
  // Committed: it is gone. What stands here is the synchronised copy; never run it.
  virtual void left(std::uint64_t generation) = 0;
};

struct SourceOptions {
  std::uint32_t vcpus_allowed = 0;  // told to the destination
  std::uint64_t bound_bytes = 0;
  std::uint64_t stop_below_blocks = 256;  // stop when no more than this is dirty,
  std::uint32_t max_rounds = 6;           // or after this many rounds, or when a round does not shrink
  int zstd_level = 1;
  std::chrono::milliseconds answer_timeout{120000};  // destination making things durable
  std::chrono::milliseconds commit_timeout{20000};   // waiting for Committed
};

class HandoverSource {
 public:
  HandoverSource(Channel& channel, Records& records, SourceImage& image, std::string instance,
                 SourceOptions options = {}, ProgressFn progress = {});
  ~HandoverSource();

  // Precondition: a record whose place is this side, and nothing prepared. Never throws.
  HandoverReport run();
  // Before the commit point: abort as soon as possible. After it: no effect.
  void cancel() { cancelled_ = true; }

 private:
  struct Work;
  Channel& channel_;
  Records& records_;
  SourceImage& image_;
  std::string instance_;
  SourceOptions options_;
  ProgressFn progress_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace amphion::link
