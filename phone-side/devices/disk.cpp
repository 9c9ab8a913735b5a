// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace amphion::devices {
namespace {

constexpr std::uint64_t sector_bytes = 512;

// Calls pread or pwrite until all is done.
template <typename Call>
bool whole(std::size_t bytes, Call call) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t n = call(done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

std::uint64_t size_of(int fd) {
  const off_t end = lseek(fd, 0, SEEK_END);
  return end < 0 ? 0 : static_cast<std::uint64_t>(end);
}

}  // namespace

std::unique_ptr<FileDisk> FileDisk::open(const std::string& path, std::string& error) {
  OwnedFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (file.valid()) return adopt(std::move(file), path, error);
  error = "cannot open the disk " + path + ": " + std::strerror(errno);
  return nullptr;
}

std::unique_ptr<FileDisk> FileDisk::adopt(OwnedFd file, const std::string& name, std::string& error) {
  const std::uint64_t bytes = size_of(file.get());
  if (bytes == 0 || bytes % sector_bytes != 0) {
    error = "the disk " + name + " must be a raw image of a multiple of 512 bytes";
    return nullptr;
  }
  return std::unique_ptr<FileDisk>(new FileDisk(std::move(file), bytes));
}

bool FileDisk::read(std::uint64_t offset, std::span<std::byte> out) {
  return whole(out.size(), [&](std::size_t done) {
    return pread(file_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
  });
}

bool FileDisk::write(std::uint64_t offset, std::span<const std::byte> in) {
  return whole(in.size(), [&](std::size_t done) {
    return pwrite(file_.get(), in.data() + done, in.size() - done, static_cast<off_t>(offset + done));
  });
}

bool FileDisk::flush() { return fdatasync(file_.get()) == 0; }

TrackedDisk::TrackedDisk(std::unique_ptr<Disk> disk) : disk_(std::move(disk)), dirty_((blocks() + 31) / 32) {}

std::uint32_t TrackedDisk::blocks() const {
  return static_cast<std::uint32_t>((size_bytes() + disk_block_bytes - 1) / disk_block_bytes);
}

bool TrackedDisk::write(std::uint64_t offset, std::span<const std::byte> in) {
  // Before the write: a part of it may reach the disk even if it fails.
  for (std::uint64_t b = offset / disk_block_bytes; b * disk_block_bytes < offset + in.size(); ++b)
    dirty_[static_cast<std::size_t>(b / 32)] |= 1u << (b % 32);
  return disk_->write(offset, in);
}

std::vector<std::uint32_t> TrackedDisk::take_dirty() {
  return std::exchange(dirty_, std::vector<std::uint32_t>(dirty_.size()));
}

}  // namespace amphion::devices
