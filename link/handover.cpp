// SPDX-License-Identifier: Apache-2.0
// Texts of a hand-over's phases and outcomes. See handover.hpp.
#include "link/handover.hpp"

namespace amphion::link {

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
