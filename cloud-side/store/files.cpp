// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/store/files.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace amphion::cloud {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& what, const fs::path& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  const std::string why = full ? "the cloud's disk is full" : std::strerror(error);
  throw StoreError("cannot " + what + " " + path.string() + ": " + why, full);
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, fs::path path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  void read(std::uint64_t offset, std::span<std::byte> into) override {
    while (!into.empty()) {
      const ssize_t n = pread(fd_, into.data(), into.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("read", path_, n == 0 ? EIO : errno);
      offset += static_cast<std::uint64_t>(n);
      into = into.subspan(static_cast<std::size_t>(n));
    }
  }
  void write(std::uint64_t offset, std::span<const std::byte> from) override {
    while (!from.empty()) {
      const ssize_t n = pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("write", path_, n == 0 ? EIO : errno);
      offset += static_cast<std::uint64_t>(n);
      from = from.subspan(static_cast<std::size_t>(n));
    }
  }
  void zero(std::uint64_t offset, std::uint64_t bytes) override {
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (bytes != 0 && fallocate(fd_, mode, static_cast<off_t>(offset), static_cast<off_t>(bytes)) != 0) {
      fail("clear a range of", path_, errno);
    }
  }
  void resize(std::uint64_t bytes) override {
    if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) fail("resize", path_, errno);
  }
  void sync() override {
    if (fdatasync(fd_) != 0) fail("make durable", path_, errno);
  }
  std::uint64_t size() override {
    struct stat status {};
    if (fstat(fd_, &status) != 0) fail("look at", path_, errno);
    return static_cast<std::uint64_t>(status.st_size);
  }
  std::optional<Extent> next_data(std::uint64_t offset) override {
    const off_t begin = lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
    if (begin < 0 && errno == ENXIO) return std::nullopt;
    if (begin < 0) fail("look for data in", path_, errno);
    const off_t end = lseek(fd_, begin, SEEK_HOLE);
    if (end < 0) fail("look for holes in", path_, errno);
    return Extent{static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end)};
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  fs::path path_;
};

std::unique_ptr<PosixFile> open_posix(const fs::path& path, Files::Mode mode) {
  int flags = O_CLOEXEC;
  if (mode == Files::Mode::read) flags |= O_RDONLY;
  if (mode == Files::Mode::write) flags |= O_RDWR;
  if (mode == Files::Mode::create) flags |= O_RDWR | O_CREAT | O_TRUNC;
  const int fd = ::open(path.c_str(), flags, 0600);
  if (fd < 0) fail("open", path, errno);
  return std::make_unique<PosixFile>(fd, path);
}

void copy_range(PosixFile& from, PosixFile& to, const Extent& extent) {
  constexpr std::size_t piece = 1 << 20;
  std::vector<std::byte> buffer(piece);
  for (std::uint64_t at = extent.begin; at < extent.end; at += piece) {
    const auto span =
        std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(piece, extent.end - at)));
    from.read(at, span);
    to.write(at, span);
  }
}

}  // namespace

std::unique_ptr<File> PosixFiles::open(const fs::path& path, Mode mode) { return open_posix(path, mode); }

bool PosixFiles::exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::vector<std::string> PosixFiles::list(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

void PosixFiles::make_folder(const fs::path& folder) {
  const fs::path parent = folder.has_parent_path() ? folder.parent_path() : fs::path(".");
  std::error_code error;
  if (!fs::exists(parent, error)) make_folder(parent);
  const bool made = fs::create_directory(folder, error);
  if (error) fail("make the folder", folder, error.value());
  if (made) sync_folder(parent);
  (void)chmod(folder.c_str(), 0700);
}

void PosixFiles::remove_all(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) fail("remove", path, error.value());
}

void PosixFiles::rename(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail("rename", from, errno);
}

void PosixFiles::sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail("open", folder, errno);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  if (result != 0) fail("make durable", folder, error);
}

void PosixFiles::copy(const fs::path& from, const fs::path& to) {
  const auto source = open_posix(from, Mode::read);
  const auto target = open_posix(to, Mode::create);
  if (ioctl(target->fd(), FICLONE, source->fd()) == 0) return;
  target->resize(source->size());
  for (auto extent = source->next_data(0); extent; extent = source->next_data(extent->end)) {
    copy_range(*source, *target, *extent);
  }
}

std::vector<std::byte> read_small(Files& files, const fs::path& path, std::uint64_t limit) {
  const auto file = files.open(path, Files::Mode::read);
  const std::uint64_t bytes = file->size();
  if (bytes > limit) throw StoreError(path.string() + " is longer than it may be", false);
  std::vector<std::byte> content(static_cast<std::size_t>(bytes));
  file->read(0, content);
  return content;
}

void write_small(Files& files, const fs::path& path, std::span<const std::byte> bytes) {
  const auto file = files.open(path, Files::Mode::create);
  file->write(0, bytes);
  file->sync();
}

}  // namespace amphion::cloud
