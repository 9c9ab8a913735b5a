// SPDX-License-Identifier: Apache-2.0
// What the cloud keeps of one instance, by generation:
//   g<N>/       a complete image: memory, disk0, disk1 (when there is one), state; never written again
//   part/       an image that arrives or is being brought up to date; means nothing after a restart
//   run/        the running clone's own copies and its sockets, written by QEMU; while run/fresh vouches for it,
//               an untouched copy of one generation
// Which of them counts is said by the instance's durable record, not here.
// Invariants: g<N> appears by one rename, after everything in it was made durable.
// Thread safety: one thread at a time. Errors: StoreError.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "cloud-side/store/files.hpp"

namespace amphion::cloud {

inline constexpr std::size_t region_count = 3;
inline constexpr std::array<const char*, region_count> region_names{"memory", "disk0", "disk1"};
using RegionSizes = std::array<std::uint64_t, region_count>;  // bytes; 0: the instance has no such disk

class InstanceFolder {
 public:
  InstanceFolder(Files& files, std::filesystem::path folder) : files_(files), folder_(std::move(folder)) {}

  [[nodiscard]] const std::filesystem::path& path() const { return folder_; }
  [[nodiscard]] std::filesystem::path generation(std::uint64_t n) const;
  [[nodiscard]] std::filesystem::path staging() const { return folder_ / "part"; }
  [[nodiscard]] std::filesystem::path run() const { return folder_ / "run"; }
  [[nodiscard]] Files& files() const { return files_; }

  [[nodiscard]] bool has(std::uint64_t n) const { return files_.exists(generation(n)); }
  [[nodiscard]] std::vector<std::uint64_t> generations() const;  // complete ones, ascending

  // A new staging folder, its regions of these sizes: copies of generation `base`, or zeros.
  // On an error nothing of it is left.
  void begin_staging(std::optional<std::uint64_t> base, const RegionSizes& sizes);
  // Makes the staged files durable and renames the folder to g<n>. On an error the staging folder remains.
  void finish_staging(std::uint64_t n);
  void discard_staging() { files_.remove_all(staging()); }
  void keep_only(std::uint64_t n);  // removes every other complete generation
  void remove_generation(std::uint64_t n) { files_.remove_all(generation(n)); }

  // run/ as a fresh copy of g<n>; nothing is done if it is one already.
  void make_run(std::uint64_t n);
  [[nodiscard]] bool run_is_fresh(std::uint64_t n) const;
  void use_run() { files_.remove_all(run() / "fresh"); }  // call before anything may write into run/
  void discard_run() { files_.remove_all(run()); }

 private:
  [[nodiscard]] static std::string voucher(std::uint64_t n);

  Files& files_;
  std::filesystem::path folder_;
};

}  // namespace amphion::cloud
