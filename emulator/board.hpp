// SPDX-License-Identifier: Apache-2.0
// The emulated phone's board: one QEMU process, its files in a state folder, its power. Keys and screen: panel.hpp.
//
// State folder: pid, qmp.sock (commands), front.sock (the terminal front), serial.sock and serial.log (the console),
// board.json (what it was started with). A saved phone is a folder too: saved.hpp. Thread safety: one thread an object;
// several processes may use one folder. Failures are std::runtime_error with one line that says what to do.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "emulator/machine.hpp"
#include "emulator/qmp.hpp"

namespace amphion::emulator {

class Board {
 public:
  explicit Board(std::filesystem::path state_folder);

  // Returns when QEMU runs (the phone itself boots on). Refuses when one is running in this folder.
  void start(const BoardOptions& options) const;
  // Freezes the running phone into a new folder and ends it.
  void save(const std::filesystem::path& folder) const;
  // Goes on from a saved phone, which stays as it is. CPUs, memory and control port are the saved ones; `data` is made.
  void start_from(const std::filesystem::path& folder, BoardOptions options) const;
  // Presses the power key (orangepi-pc: its keyboard's) and waits for the orderly end; after the limit it pulls the
  // plug and returns false.
  bool stop(std::chrono::seconds limit) const;
  // A power cut: what the phone has not flushed to its disk may be lost, nothing is told to it.
  void power_off() const;

  [[nodiscard]] std::optional<int> running() const;  // process id
  [[nodiscard]] nlohmann::json describe() const;     // board.json, with "pid" when it runs

  [[nodiscard]] Qmp commands() const { return Qmp(path("qmp.sock")); }
  [[nodiscard]] std::string path(const char* name) const { return (folder_ / name).string(); }

 private:
  void require_running() const;
  void require_stopped() const;
  [[nodiscard]] bool boots_from_card() const;
  bool stop_by_keyboard(std::chrono::steady_clock::time_point end) const;
  void launch(const BoardOptions& options, bool incoming) const;
  std::filesystem::path folder_;
};

}  // namespace amphion::emulator
