// SPDX-License-Identifier: Apache-2.0
// Starting a daemonizing QEMU and finding it again by its process id.
// Thread safety: functions without shared state.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "link/error.hpp"

namespace amphion::qemu {

// Runs the program until its first process exits (a daemon's child goes on). An exit code other than 0 gives the last
// line that it wrote to stderr.
link::Status run_daemon(const std::filesystem::path& program, const std::vector<std::string>& arguments);

// The program's standard output; for `--version`.
link::Result<std::string> run_and_read(const std::filesystem::path& program, const std::vector<std::string>& arguments);

// Process `pid` lives and its command line names `folder`. Ids are used again, so both count.
[[nodiscard]] bool process_serves(int pid, const std::filesystem::path& folder);
[[nodiscard]] int read_pid_file(const std::filesystem::path& file);  // 0: none
// SIGKILL, and waits until it is gone.
void kill_and_wait(int pid, const std::filesystem::path& folder);

}  // namespace amphion::qemu
