// SPDX-License-Identifier: Apache-2.0
// The one command line of a clone: the phone machine as QEMU 11.1 makes it. Templates, clones and tests all start QEMU
// with it, because a stream fits only the machine that it was saved from.
// Features, queue sizes and slots come from machine/. Thread safety: pure functions.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "machine/network.hpp"
#include "machine/phone.hpp"

namespace amphion::qemu {

struct Machine {
  machine::Shape shape;
  std::uint32_t counter_frequency;
  std::filesystem::path memory;  // file of shape.memory_bytes, shared with QEMU
  std::filesystem::path disk;    // raw image
  std::filesystem::path folder;  // for sockets and logs
  machine::Mac mac{2, 0, 0, 0, 0, 1};
  bool network = false;  // joined to the folder's passt; else its cable leads nowhere
};

// Names inside a clone's folder.
inline constexpr char qmp_socket[] = "qmp.sock";
inline constexpr char console_socket[] = "console.sock";
inline constexpr char grow_socket[] = "grow.sock";
inline constexpr char network_socket[] = "network.sock";
inline constexpr char pid_file[] = "qemu.pid";
inline constexpr char log_file[] = "qemu.log";

// QOM paths, for queue queries and the guest's own figures.
inline constexpr char keyboard_path[] = "/machine/peripheral/keyboard";
inline constexpr char balloon_path[] = "/machine/peripheral/balloon";

// Arguments without the program: the machine, stopped (-S), daemonized, ready for QMP. A guest that switches itself off
// or resets itself leaves the process standing still, so that its disk and state can still be taken.
[[nodiscard]] std::vector<std::string> machine_arguments(const Machine& machine);

// A longer path does not fit a unix socket's address.
[[nodiscard]] bool folder_too_long(const std::filesystem::path& folder);

}  // namespace amphion::qemu
