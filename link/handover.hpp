// SPDX-License-Identifier: Apache-2.0
// What both engines of a hand-over share: progress, report, bounds. The protocol is in docs/design.md ("Hand-over").
#pragma once

#include <chrono>
#include <functional>

#include "link/channel.hpp"
#include "link/hash_list.hpp"
#include "link/records.hpp"

namespace amphion::link {

inline constexpr std::size_t blocks_per_batch = 64;  // 256 KiB raw
inline constexpr std::size_t window_batches = 16;    // unacknowledged at a time
inline constexpr std::size_t max_state_bytes = 4u << 20;

enum class Phase { offering, copying, stopping, sending_rest, preparing, committing, done };
[[nodiscard]] std::string_view text(Phase phase);

struct Progress {
  Phase phase = Phase::offering;
  std::uint32_t round = 0;         // 1: everything that differs, 2...: what became dirty meanwhile
  std::uint64_t blocks_total = 0;  // of all regions
  std::uint64_t blocks_examined = 0;
  std::uint64_t blocks_sent = 0;  // with contents (zeros excluded)
  std::uint64_t zero_blocks = 0;
  std::uint64_t raw_bytes = 0;   // contents before compression
  std::uint64_t sent_bytes = 0;  // messages as encoded, before TLS
  std::chrono::milliseconds total{0};
  std::chrono::milliseconds stopped{0};  // since stop() was called, to the end of this side's part
};
using ProgressFn = std::function<void(const Progress&)>;  // called by the engine's thread, several times a second

// Keeps the times of one hand-over and tells who listens. Thread safety: the engine's thread only.
class ProgressReporter {
 public:
  explicit ProgressReporter(const ProgressFn& listener) : listener_(listener) {}

  Progress now;

  void enter(Phase phase);  // and tells
  void tell();              // unless it has just been told
  void stopped(std::chrono::milliseconds ago = {}) { stopped_at_ = Clock::now() - ago; }
  void update_times();

 private:
  void tell_at(Deadline time);

  const ProgressFn& listener_;
  const Deadline started_ = Clock::now();
  Deadline stopped_at_{};  // none yet
  Deadline told_{};
};

enum class Outcome {
  committed,    // source: it has left. Destination: it is here and was started
  unconfirmed,  // source: it has left, and the link broke before the answer. Reconciliation does the rest
  aborted,      // source: the instance goes on here. Destination: nothing is left of the attempt
  prepared,     // destination: everything is durable, the link broke before Commit. Reconciliation does the rest
  stuck,  // this side's record could not be read back: the instance is stopped here and must not run; tell the user
};
[[nodiscard]] std::string_view text(Outcome outcome);

struct HandoverReport {
  Outcome outcome = Outcome::aborted;
  std::uint64_t generation = 0;
  std::string reason;  // one line, unless committed
  Progress progress;
};

}  // namespace amphion::link
