// SPDX-License-Identifier: Apache-2.0
// The commands that make, start, stop, change and remove instances: create, start, stop, reset, remove, set, snapshot,
// logs. Thread safety: one thread.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>

#include "phone-side/cli/perform.hpp"

namespace amphion::cli {

// `options` and `out` outlive the app's parsing.
void add_instance_commands(CLI::App& app, Options& options, std::ostream& out);

// "256M", "1G", or a number of MiB; none: it is no size.
[[nodiscard]] std::optional<std::uint64_t> size_in_mib(const std::string& text);

}  // namespace amphion::cli
