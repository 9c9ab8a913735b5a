// SPDX-License-Identifier: Apache-2.0
// `amphion sched`: the hypervisor's scheduler, its settings and its statistics. Thread safety: one thread.
#pragma once

#include <iosfwd>

#include "phone-side/cli/perform.hpp"

namespace amphion::cli {

// `options` and `out` outlive the app's parsing.
void add_sched_command(CLI::App& app, Options& options, std::ostream& out);

}  // namespace amphion::cli
