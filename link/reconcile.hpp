// SPDX-License-Identifier: Apache-2.0
// After a link broke, or at any new session: compares what both sides' durable records claim about one instance, and
// says what this side has to do. Both sides call it with the arguments the other way round, and come to fitting
// decisions. Rule: the higher generation is right, and says where the instance is. Called by Session's owners, with no
// hand-over of that instance under way. Thread safety: pure functions, but `apply`.
#pragma once

#include "link/records.hpp"

namespace amphion::link {

enum class Verdict {
  agree,             // nothing to do
  discard_prepared,  // agree, and what is prepared here was never committed: drop it
  take,              // the other committed what is prepared here: record it, and start the instance
  other_takes,       // the other will take what it has prepared (this side's record already says it has left)
  follow,            // this side is behind, and the instance is with the other: record that, do not run it
  leads,             // the other is behind and will follow
  lost,              // the instance should be at the side whose image is gone: do not start it, tell the user
  conflict,          // the same generation in two places, or none: nobody starts anything new, tell the user
};

// `theirs` empty: the other side has no record of it.
[[nodiscard]] Verdict reconcile(Place my_side, const pb::Claim& mine, const pb::Claim* theirs);
[[nodiscard]] std::string_view text(Verdict verdict);

// Does durably what the verdict asks of the record (take, discard_prepared, follow), and makes sure that the record as
// it is read is the durable one (all). The caller then does the rest. An instance that is here afterwards and does not
// run is started as start_decision() says: the disk may have failed a `take` halfway. take: DestinationImage::start();
// discard_prepared: DestinationImage::discard(); follow: discard() as well if something was prepared, and stop the
// instance if it runs here.
Result<InstanceRecord> apply(Verdict verdict, Records& records, const std::string& instance, const pb::Claim& theirs);

// What a side does with an instance when its program starts, before it has spoken to the other.
enum class StartDecision {
  start_saved,  // place is here and there is a durable image: start from it (the phone: use_saved() first)
  cold_boot,    // place is here, no image: from disk (phone); in the cloud: an error to report
  ask,          // prepared and not committed: wait for the other's word
  elsewhere,    // it lives with the other
};
[[nodiscard]] StartDecision start_decision(Place my_side, const InstanceRecord& record);

}  // namespace amphion::link
