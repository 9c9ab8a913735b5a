// SPDX-License-Identifier: Apache-2.0
// The command line of `amphion`: parsing, running, exit codes. main.cpp only calls it; tests do too, against a fake
// phone.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace amphion::cli {

inline constexpr int exit_done = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_usage = 2;

// Arguments without the program's name. Writes what is asked for to `out`, one line for an error to `err`; with --json
// an error is {"ok":false,"error":"one line"} on `out`.
[[nodiscard]] int run(std::vector<std::string> arguments, std::ostream& out, std::ostream& err);

}  // namespace amphion::cli
