// SPDX-License-Identifier: Apache-2.0
// See crash_log.hpp.
#include "phone-side/phoned/crash_log.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "phone-side/devices/owned_fd.hpp"

namespace amphion::phoned {
namespace {

constexpr std::string_view prefix = "crash-", suffix = ".log";

bool is_crash_log(std::string_view name) { return name.starts_with(prefix) && name.ends_with(suffix); }

std::string printable(std::string_view text) {
  std::string kept;
  for (const char c : text.substr(0, max_crash_log_bytes)) {
    if (c == '\n' || c == '\t' || (c >= ' ' && c <= '~')) kept += c;
  }
  return kept;
}

// Sorted by name is sorted by date; a clock that stands still or goes back makes a name twice.
std::string free_name(const std::vector<std::string>& taken, std::chrono::system_clock::time_point now) {
  const std::string date = fmt::format("{:%Y%m%dT%H%M%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(now)));
  for (int again = 1;; ++again) {
    std::string name(prefix);
    name += again == 1 ? date : fmt::format("{}-{:03}", date, again);
    name += suffix;
    if (std::find(taken.begin(), taken.end(), name) == taken.end()) return name;
  }
}

}  // namespace

link::Result<std::string> read_last_log(const std::string& device) {
  const devices::OwnedFd file(open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return link::Error{link::ErrorCode::io, device + ": " + std::strerror(errno)};
  std::string text;
  std::array<char, 4096> part;
  while (text.size() < max_crash_log_bytes) {
    const ssize_t got = read(file.get(), part.data(), part.size());
    if (got < 0) return link::Error{link::ErrorCode::io, device + ": " + std::strerror(errno)};
    if (got == 0) break;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  return text;
}

link::Result<std::string> keep_crash_log(link::Files& files, const std::string& folder, std::string_view text,
                                         std::chrono::system_clock::time_point now) {
  if (auto made = files.make_folder(folder); !made.ok()) return made.error();
  const auto listed = files.list(folder);
  if (!listed) return listed.error();
  std::vector<std::string> names = *listed;
  names.erase(std::remove_if(names.begin(), names.end(), [](const auto& name) { return !is_crash_log(name); }),
              names.end());
  const std::string path = folder + "/" + free_name(names, now);
  if (auto written = link::write_durably(files, path, printable(text)); !written.ok()) return written.error();
  for (std::size_t i = 0; i + most_crash_logs <= names.size(); ++i) {
    if (auto removed = files.remove(folder + "/" + names[i]); !removed.ok()) return removed.error();
  }
  return path;
}

link::Result<std::optional<std::string>> keep_last_log_once(link::Files& files, const std::string& device,
                                                            const std::string& folder, const std::string& mark) {
  if (std::filesystem::exists(mark)) return std::optional<std::string>();
  const auto text = read_last_log(device);
  if (!text) return text.error();
  std::optional<std::string> path;
  if (!text->empty()) {
    auto kept = keep_crash_log(files, folder, *text, std::chrono::system_clock::now());
    if (!kept) return kept.error();
    path = *kept;
  }
  if (auto marked = files.open(mark, true); !marked) return marked.error();
  return path;
}

}  // namespace amphion::phoned
