// SPDX-License-Identifier: Apache-2.0
// A Debian guest for tests: its files from the cache, a folder to run in, a cold start, a shell on hvc0, and a
// keyboard. Thread safety: none.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "cloud-side/qemu/clone.hpp"

namespace amphion::qemu::test {

inline constexpr std::uint32_t frequency = 62'500'000;

// $AMPHION_CACHE, or ~/.cache/amphion.
[[nodiscard]] std::filesystem::path cache();
[[nodiscard]] CloneOptions options(const std::filesystem::path& folder);

// A folder under /tmp with a short path, removed at the end; clones started in folders below it are killed.
class Folder {
 public:
  Folder();
  ~Folder();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // A folder for a clone. The memory and disk of `from` are moved into it.
  [[nodiscard]] std::filesystem::path clone(const std::string& name, const std::filesystem::path& from = {}) const;

 private:
  std::filesystem::path path_;
};

// Fills folder/memory and folder/disk0 for a cold start and gives its state.
[[nodiscard]] machine::InstanceState boot_state(const std::filesystem::path& folder, const machine::Shape& shape,
                                                const std::string& cmdline);

// A root shell on hvc0. Every function throws std::runtime_error with what the guest said instead.
class Shell {
 public:
  explicit Shell(Clone& clone) : clone_(clone) {}
  void log_in(std::chrono::seconds within);
  // The command's output, without the last newline.
  std::string run(const std::string& command, std::chrono::seconds within = std::chrono::seconds(30));
  void expect(const std::string& text, std::chrono::seconds within);
  // Waits until the first virtual terminal (the screen) shows `text`.
  void expect_on_screen(const std::string& text, std::chrono::seconds within);

 private:
  Clone& clone_;
  std::string heard_;
  int commands_ = 0;
};

// Types text (lower-case letters, digits, space, '/', '.', '-', '>' and newline) on the keyboard, waiting for room.
void type(Clone& clone, const std::string& text);

}  // namespace amphion::qemu::test
