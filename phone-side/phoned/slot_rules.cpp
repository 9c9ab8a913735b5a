// SPDX-License-Identifier: Apache-2.0
// The table; see slot_rules.hpp.
#include "phone-side/phoned/slot_rules.hpp"

namespace amphion::phoned {
namespace {

using enum SlotState;

bool busy(SlotState state) {
  switch (state) {
    case starting:
    case stopping:
    case snapshotting:
    case restoring:
    case removing:
    case docking:
    case undocking:
      return true;
    default:
      return false;
  }
}

bool runs(SlotState state) { return state == running || state == out_of_memory; }
bool away(SlotState state) { return state == docked || state == asking; }

std::optional<std::string> refusal_away(Act act, SlotState state, const std::string& name, bool force) {
  if (state == asking && !(act == Act::remove && force))
    return "waits for the cloud's word on where it lives; amphion status says whether the cloud is connected";
  if (act == Act::undock || (act == Act::remove && force)) return std::nullopt;
  if (act == Act::dock) return "is already docked";
  const std::string home = "is docked and lives in the cloud; amphion undock " + name + " brings it home first";
  return act == Act::remove ? home + ", or --force gives up what it has done there" : home;
}

std::optional<std::string> refusal_here(Act act, SlotState state, const std::string& name, bool force) {
  const std::string start_it = "; amphion start " + name + " starts it";
  const std::string is = "is " + std::string(text(state));
  switch (act) {
    case Act::undock:
      return "is not docked; it is on this phone";
    case Act::start:
      return runs(state) ? std::optional("runs already; amphion reset " + name + " starts it anew") : std::nullopt;
    case Act::stop:
      return state == stopped ? std::optional<std::string>("is stopped already") : std::nullopt;
    case Act::dock:
      return runs(state) ? std::nullopt : std::optional("cannot move now: it " + is + start_it);
    case Act::reset:
      return runs(state) ? std::nullopt : std::optional(is + start_it);
    case Act::snapshot:
      return runs(state) ? std::nullopt : std::optional(is + ", and a snapshot is of one that runs" + start_it);
    case Act::remove:
      return runs(state) && !force
                 ? std::optional("runs; amphion stop " + name + " stops it first, or --force ends it at once")
                 : std::nullopt;
    case Act::set:
    case Act::restore:
    case Act::delete_snapshot:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::string_view text(SlotState state) {
  switch (state) {
    case starting:
      return "starting";
    case running:
      return "running";
    case off:
      return "off";
    case stopped:
      return "stopped";
    case stopping:
      return "stopping";
    case out_of_memory:
      return "out of memory";
    case snapshotting:
      return "snapshotting";
    case restoring:
      return "restoring";
    case removing:
      return "removing";
    case docking:
      return "docking";
    case docked:
      return "docked";
    case undocking:
      return "undocking";
    case asking:
      return "asking";
    case failed:
      return "failed";
  }
  return "unknown";
}

std::optional<std::string> refusal(Act act, SlotState state, const std::string& name, bool force) {
  if (busy(state)) return "is busy (" + std::string(text(state)) + "); try again when that is done";
  return away(state) ? refusal_away(act, state, name, force) : refusal_here(act, state, name, force);
}

}  // namespace amphion::phoned
