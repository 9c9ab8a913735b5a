// SPDX-License-Identifier: Apache-2.0
// What an owner may do with an instance in which state: the table. Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace amphion::phoned {

enum class SlotState {
  starting,
  running,
  off,            // switched itself off
  stopped,        // by its owner, until its owner starts it
  stopping,       // it was asked to switch itself off, and runs
  out_of_memory,  // waits for memory beyond its bound
  snapshotting,   // a snapshot of it is taken while it runs
  restoring,
  removing,
  docking,
  docked,
  undocking,
  asking,  // came home but for the last word, which the cloud has
  failed,  // `note` says why
};
[[nodiscard]] std::string_view text(SlotState state);

enum class Act { dock, undock, start, stop, reset, set, snapshot, restore, delete_snapshot, remove };

// None: it may. Otherwise why not, and what to do: "work " is to come before it. `force` is what the owner said.
[[nodiscard]] std::optional<std::string> refusal(Act act, SlotState state, const std::string& name, bool force);

}  // namespace amphion::phoned
