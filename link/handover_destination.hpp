// SPDX-License-Identifier: Apache-2.0
// The destination's side of a hand-over: takes blocks, checks each against its hash and the whole against the digest,
// makes everything durable, and starts the instance once the source has committed. amphiond runs it to dock, phoned to
// undock. Thread safety: run() blocks and belongs to one thread; cancel() from any. Invariant: start() is called only
// after this side's durable record says that the instance is here.
#pragma once

#include <atomic>

#include "link/handover.hpp"

namespace amphion::link {

// Where the arriving instance is put. Calls come from the engine's thread, in the order of this list.
// Advice: keep an image in a folder or file named by its generation; then start() needs no renaming, and discard() is
// removal.
class DestinationImage {
 public:
  virtual ~DestinationImage() = default;
  // May this instance come here (name, shape, space, owner)? The error's text goes to the other side's user.
  virtual Status admit(const pb::Offer& offer) = 0;
  // Is the synchronised copy of generation `base` still here, as it was? (Not on a phone that has been switched off.)
  [[nodiscard]] virtual bool has_base(std::uint64_t base) { return base != 0; }
  // A new image of `generation`: a copy of the synchronised copy (of generation `base`), or zeros when base is 0.
  virtual Status begin(std::uint64_t generation, const std::vector<RegionSize>& regions, std::uint64_t base) = 0;
  // Whole blocks, inside the regions; may repeat.
  virtual Status write(pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) = 0;
  virtual Status zero(pb::Region region, std::uint64_t first, std::uint64_t count) = 0;
  // The state, before anything depends on it: machine's envelope and validate(). The error goes to the other side's
  // user.
  virtual Status check_state(const std::string& sealed) = 0;
  // Everything of this image and the state is on stable storage when it returns done (files and folders synced).
  virtual Status make_durable(const std::string& sealed) = 0;
  // Drops a begun or prepared image of `generation`. Also called after a restart, on a new object.
  virtual void discard(std::uint64_t generation) = 0;
  // The record says that it is here, and record.saved names the image: run it. Also called after a restart, on a new
  // object. The phone calls use_saved() first thing.
  // After an error nothing runs, and it may be called again with the same record.
  virtual Status start(const InstanceRecord& record) = 0;
};

struct DestinationOptions {
  std::chrono::milliseconds idle_timeout{120000};  // nothing from the source for so long: abort
};

class HandoverDestination {
 public:
  HandoverDestination(Channel& channel, Records& records, DestinationImage& image, DestinationOptions options = {},
                      ProgressFn progress = {});
  ~HandoverDestination();

  // `offer` as it arrived. Never throws.
  HandoverReport run(const pb::Offer& offer);
  // Before Prepared: abort as soon as possible. Afterwards no effect.
  void cancel() { cancelled_ = true; }

 private:
  struct Work;
  Channel& channel_;
  Records& records_;
  DestinationImage& image_;
  DestinationOptions options_;
  ProgressFn progress_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace amphion::link
