// SPDX-License-Identifier: Apache-2.0
// Image files; see saved_image.hpp.
#include "phone-side/phoned/saved_image.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "link/files.hpp"

namespace amphion::phoned {
namespace {

using link::ErrorCode;
using link::Status;

constexpr std::size_t chunk_bytes = 256 * 1024;
constexpr std::uint64_t writeback_bytes = 4u << 20;

Status failed(const std::string& file) {
  const int error = errno;
  const std::string text = std::generic_category().message(error);
  if (error == ENOSPC) return {ErrorCode::no_space, file + ": the phone's data disk is full"};
  return {ErrorCode::io, file + ": " + text};
}

std::size_t at_most(std::uint64_t bytes, std::size_t most) {
  return bytes < most ? static_cast<std::size_t>(bytes) : most;
}

Status write_all(int fd, const std::string& name, std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return failed(name);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
  return {};
}

Status read_all(int fd, const std::string& name, std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t done = pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return failed(name);
    if (done == 0) return {ErrorCode::damaged, name + ": is shorter than it must be"};
    into = into.subspan(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
  return {};
}

// Calls visit(offset, bytes) for each part of the file that is not a hole.
template <typename Visit>
Status each_extent(int fd, const std::string& name, const Visit& visit) {
  off_t at = 0;
  for (;;) {
    const off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0) return errno == ENXIO ? Status() : failed(name);
    const off_t hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return failed(name);
    if (auto status = visit(static_cast<std::uint64_t>(data), static_cast<std::uint64_t>(hole - data)); !status.ok()) {
      return status;
    }
    at = hole;
  }
}

// Calls write(offset, contents) for all that is not a hole.
template <typename Write>
Status each_chunk(int fd, const std::string& name, const Write& write) {
  std::vector<std::byte> chunk(chunk_bytes);
  return each_extent(fd, name, [&](std::uint64_t offset, std::uint64_t bytes) -> Status {
    while (bytes > 0) {
      const std::span part(chunk.data(), at_most(bytes, chunk_bytes));
      if (auto status = read_all(fd, name, offset, part); !status.ok()) return status;
      if (auto status = write(offset, std::span<const std::byte>(part)); !status.ok()) return status;
      offset += part.size();
      bytes -= part.size();
    }
    return {};
  });
}

Status copy_extents(int from, int to, const std::string& name, const CopyProgress& progress = {}) {
  struct stat facts {};
  const std::uint64_t all = fstat(from, &facts) == 0 ? static_cast<std::uint64_t>(facts.st_blocks) * 512 : 0;
  std::uint64_t done = 0;
  return each_chunk(from, name, [&](std::uint64_t offset, std::span<const std::byte> bytes) {
    done += bytes.size();
    if (progress) progress(std::min(done, all), all);
    return write_all(to, name, offset, bytes);
  });
}

Status make(OwnedFd& fd, const std::string& name, std::uint64_t bytes) {
  fd = OwnedFd(open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid() || ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return failed(name);
  return {};
}

}  // namespace

std::string disk_file(const std::string& folder) { return folder + "/disk0"; }

std::uint64_t disk_use(const std::string& file) {
  struct stat facts {};
  return stat(file.c_str(), &facts) == 0 ? static_cast<std::uint64_t>(facts.st_blocks) * 512 : 0;
}

Status copy_sparse(const std::string& from, const std::string& to, std::uint64_t bytes, const CopyProgress& progress) {
  const OwnedFd source(open(from.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat facts {};
  if (!source.valid() || fstat(source.get(), &facts) != 0) return failed(from);
  OwnedFd target;
  const std::uint64_t size = bytes != 0 ? bytes : static_cast<std::uint64_t>(facts.st_size);
  if (auto status = make(target, to, size); !status.ok()) return status;
  if (auto status = copy_extents(source.get(), target.get(), to, progress); !status.ok()) return status;
  return fdatasync(target.get()) == 0 ? Status() : failed(to);
}

std::string SavedImage::file(const char* kind) const {
  return folder_ + "/" + std::to_string(generation_) + "." + kind;
}

const OwnedFd& SavedImage::of(link::pb::Region region) const {
  return region == link::pb::REGION_MEMORY ? ram_ : disk_;
}

Status SavedImage::create(std::uint64_t ram_bytes, std::uint64_t disk_bytes) {
  discard();
  if (auto status = make(ram_, file("ram"), ram_bytes); !status.ok()) return status;
  return disk_bytes == 0 ? Status() : make(disk_, file("disk0"), disk_bytes);
}

Status SavedImage::base_disk() {
  const OwnedFd current(open(disk_file(folder_).c_str(), O_RDONLY | O_CLOEXEC));
  if (!current.valid()) return failed(disk_file(folder_));
  return copy_extents(current.get(), disk_.get(), file("disk0"));
}

Status SavedImage::write(link::pb::Region region, std::uint64_t offset, std::span<const std::byte> bytes) {
  unflushed_bytes_ += bytes.size();
  if (unflushed_bytes_ >= writeback_bytes) {  // only begun, not waited for; seal() does that
    sync_file_range(of(region).get(), 0, 0, SYNC_FILE_RANGE_WRITE);
    unflushed_bytes_ = 0;
  }
  return write_all(of(region).get(), file(region == link::pb::REGION_MEMORY ? "ram" : "disk0"), offset, bytes);
}

Status SavedImage::zero(link::pb::Region region, std::uint64_t offset, std::uint64_t bytes) {
  const int fd = of(region).get();
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(bytes)) == 0) {
    return {};
  }
  if (errno != EOPNOTSUPP) return failed(file("ram"));
  const std::vector<std::byte> zeros(chunk_bytes);
  for (std::uint64_t done = 0; done < bytes; done += chunk_bytes) {
    const std::span part(zeros.data(), at_most(bytes - done, chunk_bytes));
    if (auto status = write(region, offset + done, part); !status.ok()) return status;
  }
  return {};
}

Status SavedImage::flush() const {
  if (fdatasync(ram_.get()) != 0) return failed(file("ram"));
  if (disk_.valid() && fdatasync(disk_.get()) != 0) return failed(file("disk0"));
  return {};
}

Status SavedImage::seal(const std::string& state) {
  if (auto status = flush(); !status.ok()) return status;
  return link::write_durably(link::real_files(), file("state"), state);  // syncs the folder, and so all names
}

link::Result<std::string> SavedImage::state() const {
  return link::real_files().read(file("state"), link::max_state_bytes);
}

Status SavedImage::load_memory(std::uint64_t memory_bytes, const Write& write) const {
  if (!ram_.valid()) ram_ = OwnedFd(open(file("ram").c_str(), O_RDONLY | O_CLOEXEC));
  struct stat facts {};
  if (!ram_.valid() || fstat(ram_.get(), &facts) != 0) return failed(file("ram"));
  if (static_cast<std::uint64_t>(facts.st_size) != memory_bytes) {
    return {ErrorCode::damaged, file("ram") + ": is not as large as the instance's memory"};
  }
  return each_chunk(ram_.get(), file("ram"), write);
}

Status SavedImage::load_page(std::uint64_t page, std::span<std::byte> into) const {
  if (!ram_.valid()) ram_ = OwnedFd(open(file("ram").c_str(), O_RDONLY | O_CLOEXEC));
  if (!ram_.valid()) return failed(file("ram"));
  return read_all(ram_.get(), file("ram"), page * link::block_bytes, into);
}

Status SavedImage::adopt_disk() const {
  if (access(file("disk0").c_str(), F_OK) != 0) return {};  // done before, or it has none
  auto& files = link::real_files();
  if (auto status = files.rename(file("disk0"), disk_file(folder_)); !status.ok()) return status;
  return files.sync_folder(folder_);
}

Status SavedImage::take_over(const SavedImage& other, const CopyProgress& progress) {
  discard();
  for (const char* kind : {"ram", "state"}) {
    if (::link(other.file(kind).c_str(), file(kind).c_str()) != 0) return failed(other.file(kind));
  }
  if (auto status = copy_sparse(other.file("disk0"), file("disk0"), 0, progress); !status.ok()) return status;
  return link::real_files().sync_folder(folder_);
}

std::uint64_t SavedImage::memory_use() const { return phoned::disk_use(file("ram")); }
std::uint64_t SavedImage::disk_use() const { return phoned::disk_use(file("disk0")); }

void SavedImage::discard() const {
  discard_memory();
  unlink(file("disk0").c_str());
}

void SavedImage::discard_memory() const {
  unlink(file("ram").c_str());
  unlink(file("state").c_str());
}

}  // namespace amphion::phoned
