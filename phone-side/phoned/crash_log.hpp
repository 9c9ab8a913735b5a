// SPDX-License-Identifier: Apache-2.0
// What the board's last run said before it ended without order (the hypervisor's panic, the host kernel's, a hang),
// kept in the data folder: crashes/crash-DATE.log, the latest few of them. DATE is when it was found, in UTC. Thread
// safety: pure functions over `files`.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "link/files.hpp"

namespace amphion::phoned {

inline constexpr std::size_t most_crash_logs = 8;
inline constexpr std::uint64_t max_crash_log_bytes = 64 * 1024;

// What /dev/amphion gives; empty: the last run was ended in order, or power was cut.
[[nodiscard]] link::Result<std::string> read_last_log(const std::string& device);

// Durable when it returns the file's path. Of what came from outside only printable characters and line ends are kept.
[[nodiscard]] link::Result<std::string> keep_crash_log(link::Files& files, const std::string& folder,
                                                       std::string_view text,
                                                       std::chrono::system_clock::time_point now);

// Both, once in a run of the board (`mark` is a file that goes with the power): a phoned that starts again finds it
// done.
[[nodiscard]] link::Result<std::optional<std::string>> keep_last_log_once(link::Files& files, const std::string& device,
                                                                          const std::string& folder,
                                                                          const std::string& mark);

}  // namespace amphion::phoned
