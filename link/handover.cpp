// SPDX-License-Identifier: Apache-2.0
// Progress, and texts of a hand-over's phases and outcomes. See handover.hpp.
#include "link/handover.hpp"

namespace amphion::link {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds progress_interval{200};

}  // namespace

void ProgressReporter::enter(Phase phase) {
  now.phase = phase;
  tell_at(Clock::now());
}

void ProgressReporter::tell() {
  const auto time = Clock::now();
  if (time - told_ >= progress_interval) tell_at(time);
}

void ProgressReporter::tell_at(Deadline time) {
  if (!listener_) return;
  told_ = time;
  update_times();
  listener_(now);
}

void ProgressReporter::update_times() {
  const auto time = Clock::now();
  now.total = std::chrono::duration_cast<milliseconds>(time - started_);
  if (stopped_at_ != Deadline{}) now.stopped = std::chrono::duration_cast<milliseconds>(time - stopped_at_);
}

std::string_view text(Phase phase) {
  switch (phase) {
    case Phase::offering:
      return "offering";
    case Phase::copying:
      return "copying";
    case Phase::stopping:
      return "stopping";
    case Phase::sending_rest:
      return "sending the rest";
    case Phase::preparing:
      return "preparing";
    case Phase::committing:
      return "committing";
    case Phase::done:
      return "done";
  }
  return "unknown";
}

std::string_view text(Outcome outcome) {
  switch (outcome) {
    case Outcome::committed:
      return "committed";
    case Outcome::unconfirmed:
      return "committed, not yet confirmed";
    case Outcome::aborted:
      return "aborted";
    case Outcome::prepared:
      return "prepared";
    case Outcome::stuck:
      return "stuck";
  }
  return "unknown";
}

}  // namespace amphion::link
