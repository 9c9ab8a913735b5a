// SPDX-License-Identifier: Apache-2.0
// The table of verdicts, read top to bottom; the first line that fits counts. See reconcile.hpp.
#include "link/reconcile.hpp"

#include <algorithm>

namespace amphion::link {
namespace {

Verdict same_generation(Place my_side, const pb::Claim& mine, const pb::Claim& theirs) {
  if (mine.place() != theirs.place()) return Verdict::conflict;
  if (mine.prepared() == 0) return Verdict::agree;
  return mine.place() == my_side ? Verdict::conflict : Verdict::discard_prepared;
}

Verdict they_are_ahead(Place my_side, const pb::Claim& mine, const pb::Claim& theirs) {
  if (theirs.place() != my_side) return Verdict::follow;
  return mine.prepared() == theirs.generation() ? Verdict::take : Verdict::lost;
}

Verdict i_am_ahead(Place my_side, const pb::Claim& mine, const pb::Claim& theirs) {
  if (mine.place() == my_side) return Verdict::leads;
  return theirs.prepared() == mine.generation() ? Verdict::other_takes : Verdict::lost;
}

}  // namespace

Verdict reconcile(Place my_side, const pb::Claim& mine, const pb::Claim* theirs) {
  if (theirs == nullptr) return mine.place() == my_side ? Verdict::agree : Verdict::lost;
  if (mine.generation() == theirs->generation()) return same_generation(my_side, mine, *theirs);
  return mine.generation() < theirs->generation() ? they_are_ahead(my_side, mine, *theirs)
                                                  : i_am_ahead(my_side, mine, *theirs);
}

std::string_view text(Verdict verdict) {
  switch (verdict) {
    case Verdict::agree:
      return "both sides agree";
    case Verdict::discard_prepared:
      return "a hand-over was broken off before its commit";
    case Verdict::take:
      return "the other side has committed: the instance is here";
    case Verdict::other_takes:
      return "this side has committed: the instance is with the other";
    case Verdict::follow:
      return "this side is behind: the instance is with the other";
    case Verdict::leads:
      return "the other side is behind: the instance is here";
    case Verdict::lost:
      return "the side that should have the instance has no image of it";
    case Verdict::conflict:
      return "both sides claim different places in the same generation";
  }
  return "unknown";
}

Result<InstanceRecord> apply(Verdict verdict, Records& records, const std::string& instance, const pb::Claim& theirs) {
  auto record = records.load(instance);
  if (!record) return record;
  switch (verdict) {
    case Verdict::take:
      if (record->prepared != theirs.generation()) {
        return Error{ErrorCode::conflict,
                     instance + " is not prepared in generation " + std::to_string(theirs.generation())};
      }
      record->place = records.side();
      record->generation = record->saved = record->base = record->prepared;
      break;
    case Verdict::follow:
      if (record->place == records.side()) record->base = 0;  // it has run here since
      record->place = records.other_side();
      record->generation = theirs.generation();
      record->saved = 0;
      break;
    case Verdict::discard_prepared:
      break;
    default:
      break;
  }
  if (verdict == Verdict::take || verdict == Verdict::follow || verdict == Verdict::discard_prepared)
    record->prepared = 0;
  record->attempt = std::max(record->attempt, record->generation);
  if (Status s = records.store(*record); !s.ok()) return s.error();
  records.drop_hashes(instance, record->base);
  return record;
}

StartDecision start_decision(Place my_side, const InstanceRecord& record) {
  if (record.place == my_side) return record.saved != 0 ? StartDecision::start_saved : StartDecision::cold_boot;
  return record.prepared != 0 ? StartDecision::ask : StartDecision::elsewhere;
}

}  // namespace amphion::link
