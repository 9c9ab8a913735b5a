// SPDX-License-Identifier: Apache-2.0
// `amphiond pair`, `amphiond unpair` and `amphiond status`: ask the amphiond that runs, through its admin socket, and say what it
// answered. Thread safety: functions without shared state.
#pragma once

#include <iosfwd>

#include "cloud-side/amphiond/options.hpp"

namespace amphion::cloud {

// The exit code: 0 done, 1 refused or nobody there (one line on `err`).
[[nodiscard]] int run_command(const Options& options, std::ostream& out, std::ostream& err);

}  // namespace amphion::cloud
