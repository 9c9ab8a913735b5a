// SPDX-License-Identifier: Apache-2.0
// The file operations under the cloud's images: large sparse files, their copies, and what it takes to make them
// durable. An interface, so that tests fail any operation (disk full, I/O error) and see what is left behind. Errors:
// StoreError with a one-line text; what was not synchronised may be lost with the machine's power. Thread safety: a
// Files may be shared; a File belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace amphion::cloud {

class StoreError : public std::runtime_error {
 public:
  StoreError(const std::string& what, bool full) : std::runtime_error(what), disk_full(full) {}
  bool disk_full;
};

struct Extent {
  std::uint64_t begin;
  std::uint64_t end;
};

class File {
 public:
  virtual ~File() = default;
  // The whole span, or StoreError; a read past the end is an error.
  virtual void read(std::uint64_t offset, std::span<std::byte> into) = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> from) = 0;
  // Afterwards the range reads as zeros and takes no room.
  virtual void zero(std::uint64_t offset, std::uint64_t bytes) = 0;
  virtual void resize(std::uint64_t bytes) = 0;
  virtual void sync() = 0;
  [[nodiscard]] virtual std::uint64_t size() = 0;
  // The next range at or after `offset` that may hold anything but zeros; none up to the end.
  [[nodiscard]] virtual std::optional<Extent> next_data(std::uint64_t offset) = 0;
};

class Files {
 public:
  virtual ~Files() = default;
  enum class Mode { read, write, create };
  [[nodiscard]] virtual std::unique_ptr<File> open(const std::filesystem::path& path, Mode mode) = 0;
  [[nodiscard]] virtual bool exists(const std::filesystem::path& path) = 0;
  [[nodiscard]] virtual std::vector<std::string> list(const std::filesystem::path& folder) = 0;  // sorted names
  virtual void make_folder(const std::filesystem::path& folder) = 0;  // durable, parents too
  virtual void remove_all(const std::filesystem::path& path) = 0;                                // absent: nothing
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  virtual void sync_folder(const std::filesystem::path& folder) = 0;
  // Shares blocks where the file system can (reflink), else copies the data and leaves the holes.
  virtual void copy(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
};

class PosixFiles final : public Files {
 public:
  [[nodiscard]] std::unique_ptr<File> open(const std::filesystem::path& path, Mode mode) override;
  [[nodiscard]] bool exists(const std::filesystem::path& path) override;
  [[nodiscard]] std::vector<std::string> list(const std::filesystem::path& folder) override;
  void make_folder(const std::filesystem::path& folder) override;
  void remove_all(const std::filesystem::path& path) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void sync_folder(const std::filesystem::path& folder) override;
  void copy(const std::filesystem::path& from, const std::filesystem::path& to) override;
};

// A whole small file, at most `limit` bytes; StoreError when it is longer.
[[nodiscard]] std::vector<std::byte> read_small(Files& files, const std::filesystem::path& path, std::uint64_t limit);
// Writes and synchronises a new file (its folder is not synchronised).
void write_small(Files& files, const std::filesystem::path& path, std::span<const std::byte> bytes);

}  // namespace amphion::cloud
