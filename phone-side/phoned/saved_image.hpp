// SPDX-License-Identifier: Apache-2.0
// An instance's image in the phone's data folder: what an undock brings, complete and durable before it is relied upon.
// Files in the instance's folder: disk0 (the disk that is in use), and for an image of generation G: G.ram (sparse),
// G.disk0, G.state (sealed). adopt() makes G.disk0 the disk in use; it may be repeated, whatever was cut off before.
// Thread safety: one thread at a time for an object; objects of different generations do not disturb one another.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "link/error.hpp"
#include "link/handover_source.hpp"
#include "phone-side/devices/owned_fd.hpp"

namespace amphion::phoned {

using devices::OwnedFd;

// Bytes copied so far, of how many; may be empty.
using CopyProgress = std::function<void(std::uint64_t done, std::uint64_t all)>;

// Copies a file with its holes; `to` is made or replaced, and synced. `bytes`: its size, the rest a hole; 0: the same.
[[nodiscard]] link::Status copy_sparse(const std::string& from, const std::string& to, std::uint64_t bytes = 0,
                                       const CopyProgress& progress = {});
// What a file takes on its disk: holes do not count. 0: there is none.
[[nodiscard]] std::uint64_t disk_use(const std::string& file);
[[nodiscard]] std::string disk_file(const std::string& folder);

class SavedImage {
 public:
  SavedImage(std::string folder, std::uint64_t generation) : folder_(std::move(folder)), generation_(generation) {}

  [[nodiscard]] std::uint64_t generation() const { return generation_; }

  // New files of these sizes, full of zeros; a disk of 0 bytes: none.
  [[nodiscard]] link::Status create(std::uint64_t ram_bytes, std::uint64_t disk_bytes);
  // Starts the disk from the one in use instead of zeros. After create().
  [[nodiscard]] link::Status base_disk();

  [[nodiscard]] link::Status write(link::pb::Region region, std::uint64_t offset, std::span<const std::byte> bytes);
  [[nodiscard]] link::Status zero(link::pb::Region region, std::uint64_t offset, std::uint64_t bytes);
  // What was written so far: on stable storage. While the instance still runs elsewhere, so that seal() has little left
  // to do.
  [[nodiscard]] link::Status flush() const;
  // Everything, the state and the names: on stable storage when it returns done.
  [[nodiscard]] link::Status seal(const std::string& state);

  // A complete image.
  [[nodiscard]] link::Result<std::string> state() const;
  // Memory that is not a hole, to write(offset, contents).
  using Write = std::function<link::Status(std::uint64_t, std::span<const std::byte>)>;
  [[nodiscard]] link::Status load_memory(std::uint64_t memory_bytes, const Write& write) const;
  // A hole is read as zeros.
  [[nodiscard]] link::Status load_page(std::uint64_t page, std::span<std::byte> into) const;
  [[nodiscard]] link::Status adopt_disk() const;
  // Makes this a complete image like `other`, which stays: its memory is shared (nobody writes it), its disk copied.
  [[nodiscard]] link::Status take_over(const SavedImage& other, const CopyProgress& progress);
  [[nodiscard]] std::uint64_t memory_use() const;
  [[nodiscard]] std::uint64_t disk_use() const;

  void discard() const;         // all of this generation
  void discard_memory() const;  // ram and state: used up

 private:
  [[nodiscard]] std::string file(const char* kind) const;
  [[nodiscard]] const OwnedFd& of(link::pb::Region region) const;

  std::string folder_;
  std::uint64_t generation_;
  mutable OwnedFd ram_;
  OwnedFd disk_;
  std::uint64_t unflushed_bytes_ = 0;
};

}  // namespace amphion::phoned
