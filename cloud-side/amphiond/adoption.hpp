// SPDX-License-Identifier: Apache-2.0
// What amphiond does with an instance when it starts, before any phone has spoken. A pure function over what stands on
// disk and which clones run; recover() in instance.cpp acts on it. Thread safety: pure.
#pragma once

#include <string_view>

#include "link/reconcile.hpp"

namespace amphion::cloud {

enum class Adoption {
  adopt,      // the clone outlived the last amphiond: take it up again
  start,      // committed, and the clone was never started: start it, nothing is lost
  restart,    // it was started, and its process is gone: start it from its durable state, tell the user
  lost,       // it should be here and there is no image: tell the user
  wait,       // prepared, not committed: the phone's word decides
  end_clone,  // it lives with the phone, and a clone is left over: end it
  nothing,    // it lives with the phone
};

struct AdoptionFacts {
  link::StartDecision record;
  bool clone_runs;    // a process that answers in run/
  bool image;         // g<saved> is there
  bool run_is_fresh;  // run/ was never used
};

[[nodiscard]] constexpr Adoption decide(const AdoptionFacts& facts) {
  switch (facts.record) {
    case link::StartDecision::ask:
      return Adoption::wait;
    case link::StartDecision::elsewhere:
      return facts.clone_runs ? Adoption::end_clone : Adoption::nothing;
    case link::StartDecision::start_saved:
    case link::StartDecision::cold_boot:
      break;
  }
  if (facts.clone_runs) return Adoption::adopt;
  if (facts.record == link::StartDecision::cold_boot || !facts.image) return Adoption::lost;
  return facts.run_is_fresh ? Adoption::start : Adoption::restart;
}

[[nodiscard]] constexpr std::string_view text(Adoption adoption) {
  switch (adoption) {
    case Adoption::adopt:
      return "its clone still runs and is adopted";
    case Adoption::start:
      return "its clone is started";
    case Adoption::restart:
      return "its clone is gone and is started again from its durable state";
    case Adoption::lost:
      return "it should be here, and there is no image of it";
    case Adoption::wait:
      return "it is prepared here and waits for the phone's word";
    case Adoption::end_clone:
      return "it lives on the phone, its left-over clone is ended";
    case Adoption::nothing:
      return "it lives on the phone";
  }
  return "unknown";
}

}  // namespace amphion::cloud
