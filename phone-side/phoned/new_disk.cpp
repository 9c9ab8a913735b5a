// SPDX-License-Identifier: Apache-2.0
// Copying and checking; see new_disk.hpp.
#include "phone-side/phoned/new_disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace amphion::phoned {
namespace {

using link::ErrorCode;
using link::Status;

constexpr std::uint64_t mib = 1u << 20;
constexpr std::uint64_t spare_bytes = 16 * mib;

Status check_image(const std::string& file, const std::string& option, std::uint64_t& bytes) {
  struct stat facts {};
  if (file.empty()) return {};
  if (stat(file.c_str(), &facts) != 0) {
    return {ErrorCode::not_found,
            option + " " + file + ": " + std::generic_category().message(errno) + "; name a file on the phone"};
  }
  if (!S_ISREG(facts.st_mode)) return {ErrorCode::invalid, option + " " + file + ": is no file"};
  bytes = static_cast<std::uint64_t>(facts.st_size);
  return {};
}

Status empty_disk(const std::string& file, std::uint64_t bytes) {
  const OwnedFd fd(open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (fd.valid() && ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0 && fsync(fd.get()) == 0) return {};
  return {ErrorCode::io, file + ": " + std::generic_category().message(errno)};
}

}  // namespace

Status check_images(const InstanceConfig& config) {
  std::uint64_t bytes = 0, disk = 0;
  if (auto status = check_image(config.kernel, "--kernel", bytes); !status.ok()) return status;
  if (auto status = check_image(config.initrd, "--initrd", bytes); !status.ok()) return status;
  if (auto status = check_image(config.disk, "--disk-image", disk); !status.ok()) return status;
  if (!config.has_disk())
    return {ErrorCode::invalid, "it has no disk; give it one by --disk SIZE or --disk-image FILE"};
  if (config.disk_bytes != 0 && config.disk_bytes < disk) {
    return {ErrorCode::invalid,
            "--disk: must be at least " + std::to_string((disk + mib - 1) / mib) + " MiB, the size of " + config.disk};
  }
  return {};
}

std::uint64_t free_bytes(const std::string& folder) {
  struct statvfs facts {};
  return statvfs(folder.c_str(), &facts) == 0 ? std::uint64_t{facts.f_bavail} * facts.f_frsize : 0;
}

Status check_space(std::uint64_t needed_bytes, std::uint64_t free_bytes, const std::string& what) {
  const std::uint64_t needed = needed_bytes + spare_bytes;
  if (needed <= free_bytes) return {};
  return {ErrorCode::no_space, what + " takes " + std::to_string((needed + mib - 1) / mib) +
                                   " MiB of the phone's data disk, and " + std::to_string(free_bytes / mib) +
                                   " MiB are free; remove snapshots or instances"};
}

Status make_disk(link::Files& files, const InstanceConfig& config, const std::string& folder,
                 const CopyProgress& progress) {
  const std::string disk = disk_file(folder), unfinished = disk + ".new";
  if (!config.has_disk() || access(disk.c_str(), F_OK) == 0) return {};
  auto status = config.disk.empty() ? empty_disk(unfinished, config.disk_bytes)
                                    : copy_sparse(config.disk, unfinished, config.disk_bytes, progress);
  if (status.ok()) status = files.rename(unfinished, disk);
  if (status.ok()) status = files.sync_folder(folder);
  if (!status.ok()) unlink(unfinished.c_str());
  return status;
}

}  // namespace amphion::phoned
