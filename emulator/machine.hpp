// SPDX-License-Identifier: Apache-2.0
// The boards that QEMU emulates, as its command line. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace amphion::emulator {

inline constexpr char development_board[] = "qemu-virt";
inline constexpr char card_board[] = "orangepi-pc";  // boots from an SD card; QEMU shows no screen of it

struct BoardOptions {
  std::string board = development_board;
  std::filesystem::path bundle;                    // qemu-virt: what it loads
  std::filesystem::path data;                      // qemu-virt: the data disk's image; orangepi-pc: its SD card's
  std::filesystem::path pki;                       // orangepi-pc: the owner's certificate, to see the screen
  std::optional<std::filesystem::path> write_log;  // lists the data disk's writes and flushes (QEMU's blklogwrites)
  std::uint32_t cpus = 2;
  std::uint32_t memory_mib = 1024;
  std::uint16_t control_port = 7447;  // loopback port that leads to phoned's
  std::optional<std::uint16_t> vnc_display;
  std::string qemu = "qemu-system-arm";
};

// Throws std::runtime_error with one line where the board cannot be started so.
void check(const BoardOptions& options);

// What makes the machine itself, without paths and ports: a saved phone is bound to it.
[[nodiscard]] std::vector<std::string> machine_words(const BoardOptions& options);

// Where its disk, network, console and screen lead to on this PC. `in_folder` finds a file of the state folder.
[[nodiscard]] std::vector<std::string> backend_words(const BoardOptions& options,
                                                     const std::function<std::string(const char*)>& in_folder);

// The keyboard's device as QEMU's monitor knows it, and its name in machine_words.
inline constexpr char keyboard_path[] = "/machine/peripheral/keyboard";

}  // namespace amphion::emulator
