// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/store/instance_folder.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>

namespace amphion::cloud {
namespace {

std::optional<std::uint64_t> generation_of(std::string_view name) {
  if (name.size() < 2 || name.front() != 'g') return std::nullopt;
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), n);
  if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return n;
}

void lay_out(Files& files, const std::filesystem::path& to, const std::filesystem::path* base,
             const RegionSizes& sizes) {
  for (std::size_t region = 0; region < region_count; ++region) {
    if (sizes[region] == 0) continue;
    const auto target = to / region_names[region];
    const bool copied = base != nullptr && files.exists(*base / region_names[region]);
    if (copied) files.copy(*base / region_names[region], target);
    files.open(target, copied ? Files::Mode::write : Files::Mode::create)->resize(sizes[region]);
  }
}

}  // namespace

std::filesystem::path InstanceFolder::generation(std::uint64_t n) const { return folder_ / ("g" + std::to_string(n)); }

std::vector<std::uint64_t> InstanceFolder::generations() const {
  std::vector<std::uint64_t> found;
  for (const auto& name : files_.list(folder_)) {
    if (const auto n = generation_of(name)) found.push_back(*n);
  }
  std::sort(found.begin(), found.end());
  return found;
}

void InstanceFolder::begin_staging(std::optional<std::uint64_t> base, const RegionSizes& sizes) {
  discard_staging();
  try {
    files_.make_folder(staging());
    const auto from = base ? generation(*base) : std::filesystem::path{};
    lay_out(files_, staging(), base ? &from : nullptr, sizes);
  } catch (const StoreError&) {
    discard_staging();
    throw;
  }
}

void InstanceFolder::finish_staging(std::uint64_t n) {
  for (const auto& name : files_.list(staging())) files_.open(staging() / name, Files::Mode::write)->sync();
  files_.sync_folder(staging());
  files_.remove_all(generation(n));
  files_.rename(staging(), generation(n));
  files_.sync_folder(folder_);
}

void InstanceFolder::keep_only(std::uint64_t n) {
  for (const auto other : generations()) {
    if (other != n) files_.remove_all(generation(other));
  }
}

// What vouches for run/: which generation it is a copy of, and in which boot of this machine it was made. Nothing of
// run/ is synced, so after another boot it may be anything.
std::string InstanceFolder::voucher(std::uint64_t n) {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string boot;
  std::getline(in, boot);
  return std::to_string(n) + " " + boot;
}

void InstanceFolder::make_run(std::uint64_t n) {
  if (run_is_fresh(n)) return;
  discard_run();
  try {
    files_.make_folder(run());
    for (const auto* name : region_names) {
      if (files_.exists(generation(n) / name)) files_.copy(generation(n) / name, run() / name);
    }
    const std::string text = voucher(n);
    write_small(files_, run() / "fresh", std::as_bytes(std::span(text)));
  } catch (const StoreError&) {
    discard_run();
    throw;
  }
}

bool InstanceFolder::run_is_fresh(std::uint64_t n) const {
  try {
    if (!files_.exists(run() / "fresh")) return false;
    const auto bytes = read_small(files_, run() / "fresh", 128);
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == voucher(n);
  } catch (const StoreError&) {
    return false;
  }
}

}  // namespace amphion::cloud
