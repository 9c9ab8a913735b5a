// SPDX-License-Identifier: Apache-2.0
// The emulated phone's board: one QEMU process, its files in a state folder, its keyboard, screen and power.
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

#include "emulator/keys.hpp"
#include "emulator/qmp.hpp"
#include "emulator/screen.hpp"

namespace amphion::emulator {

struct BoardOptions {
  std::filesystem::path bundle;
  std::filesystem::path data;                      // the data disk's image, ext4
  std::optional<std::filesystem::path> write_log;  // lists the data disk's writes and flushes (QEMU's blklogwrites)
  std::uint32_t cpus = 2;
  std::uint32_t memory_mib = 1024;
  std::uint16_t control_port = 7447;  // loopback port that leads to phoned's
  std::optional<std::uint16_t> vnc_display;
  std::string qemu = "qemu-system-arm";
};

// What of QEMU's command line makes the machine itself, without paths and ports: a saved phone is bound to it.
[[nodiscard]] std::vector<std::string> machine_words(const BoardOptions& options);

class Board {
 public:
  explicit Board(std::filesystem::path state_folder);

  // Returns when QEMU runs (the phone itself boots on). Refuses when one is running in this folder.
  void start(const BoardOptions& options) const;
  // Freezes the running phone into a new folder and ends it.
  void save(const std::filesystem::path& folder) const;
  // Goes on from a saved phone, which stays as it is. CPUs, memory and control port are the saved ones; `data` is made.
  void start_from(const std::filesystem::path& folder, BoardOptions options) const;
  // Presses the power key and waits for the orderly end; after the limit it pulls the plug and returns false.
  bool stop(std::chrono::seconds limit) const;
  // A power cut: what the phone has not flushed to its disk may be lost, nothing is told to it.
  void power_off() const;

  [[nodiscard]] std::optional<int> running() const;  // process id
  [[nodiscard]] nlohmann::json describe() const;     // board.json, with "pid" when it runs

  [[nodiscard]] Qmp commands() const { return Qmp(path("qmp.sock")); }
  [[nodiscard]] Qmp front() const { return Qmp(path("front.sock")); }
  [[nodiscard]] std::string path(const char* name) const { return (folder_ / name).string(); }

 private:
  void require_running() const;
  void require_stopped() const;
  void launch(const BoardOptions& options, bool incoming) const;
  std::filesystem::path folder_;
};

// Presses and releases; waits before while the phone's keyboard queue is nearly full, because QEMU drops what does not
// fit.
void press(Qmp& qmp, const Combination& keys);
// Throws before the first key if a character is on no key.
void type_text(Qmp& qmp, const std::string& text, std::chrono::milliseconds gap);

// The board's screen; `scratch` is a file that is overwritten.
[[nodiscard]] Picture take_picture(Qmp& qmp, const std::string& scratch);
void save_picture(Qmp& qmp, const std::string& file, const std::string& format);  // "png" or "ppm"

}  // namespace amphion::emulator
