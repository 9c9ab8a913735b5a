// SPDX-License-Identifier: Apache-2.0
// The real files (POSIX), durable replacement, and the envelope around formats. See files.hpp.
#include "link/files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "link/hash_list.hpp"

namespace amphion::link {
namespace {

Error failed(const std::string& what, const std::string& path) {
  const int number = errno;
  ErrorCode code = ErrorCode::io;
  if (number == ENOENT) code = ErrorCode::not_found;
  if (number == ENOSPC || number == EDQUOT) code = ErrorCode::no_space;
  return {code, "cannot " + what + " " + path + ": " + std::strerror(number)};
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

class RealFile : public File {
 public:
  RealFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  Status append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return failed("write", path_);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
  }
  Status truncate(std::uint64_t size) override {
    return ::ftruncate(fd_.get(), static_cast<off_t>(size)) == 0 ? Status() : failed("truncate", path_);
  }
  Status sync() override { return ::fdatasync(fd_.get()) == 0 ? Status() : failed("sync", path_); }

 private:
  Descriptor fd_;
  std::string path_;
};

class RealFiles : public Files {
 public:
  Result<std::string> read(const std::string& path, std::uint64_t max_bytes) override {
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info {};
    if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) return failed("read", path);
    if (!S_ISREG(info.st_mode) || static_cast<std::uint64_t>(info.st_size) > max_bytes) {
      return Error{ErrorCode::invalid, path + " is no file of at most " + std::to_string(max_bytes) + " bytes"};
    }
    std::string contents(static_cast<std::size_t>(info.st_size), '\0');
    std::size_t have = 0;
    while (have < contents.size()) {
      const ssize_t got = ::read(fd.get(), contents.data() + have, contents.size() - have);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return failed("read", path);
      if (got == 0) break;
      have += static_cast<std::size_t>(got);
    }
    contents.resize(have);
    return contents;
  }

  Result<std::unique_ptr<File>> open(const std::string& path, bool empty) override {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (empty ? O_TRUNC : 0), 0600);
    if (fd < 0) return failed("open", path);
    return std::unique_ptr<File>(std::make_unique<RealFile>(fd, path));
  }

  Status rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? Status() : failed("rename", from);
  }

  Status remove(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 || errno == ENOENT ? Status() : failed("remove", path);
  }

  Status make_folder(const std::string& path) override {
    for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
      const std::string part = path.substr(0, end);
      const bool made = ::mkdir(part.c_str(), 0700) == 0;
      if (!made && errno != EEXIST) return failed("create folder", part);
      if (const Status synced = made ? sync_folder(parent_of(part)) : Status(); !synced.ok()) return synced;
      if (end == std::string::npos) break;
    }
    return {};
  }

  Status sync_folder(const std::string& path) override {
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0 || ::fsync(fd.get()) != 0) return failed("sync folder", path);
    return {};
  }

  Result<std::vector<std::string>> list(const std::string& folder) override {
    DIR* dir = ::opendir(folder.c_str());
    if (dir == nullptr) return failed("list", folder);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    ::closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }
};

constexpr std::size_t magic_bytes = 4;
constexpr std::size_t header_bytes = magic_bytes + 4 + 8 + 32;

void put_le(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

std::uint64_t get_le(std::string_view bytes, std::size_t at, int count) {
  std::uint64_t value = 0;
  for (int i = 0; i < count; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)])} << (8 * i);
  }
  return value;
}

std::string digest_of(std::string_view body) {
  const Hash hash = sha256(std::as_bytes(std::span(body)));
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

}  // namespace

Files& real_files() {
  static RealFiles files;
  return files;
}

Status write_durably(Files& files, const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".new";
  auto file = files.open(temporary, true);
  if (!file) return file.error();
  Status status = (*file)->append(bytes);
  if (status.ok()) status = (*file)->sync();
  file->reset();
  if (status.ok()) status = files.rename(temporary, path);
  if (!status.ok()) {
    (void)files.remove(temporary);
    return status;
  }
  return files.sync_folder(parent_of(path));
}

std::string seal(std::string_view magic, std::uint32_t version, std::string_view body) {
  std::string out(magic.substr(0, magic_bytes));
  put_le(out, version, 4);
  put_le(out, body.size(), 8);
  out += digest_of(body);
  out += body;
  return out;
}

Result<std::string> unseal(std::string_view magic, std::uint32_t version, std::string_view sealed,
                           const std::string& what) {
  if (sealed.size() < header_bytes || sealed.substr(0, magic_bytes) != magic.substr(0, magic_bytes)) {
    return Error{ErrorCode::damaged, what + " is truncated or is something else"};
  }
  const std::uint64_t has_version = get_le(sealed, magic_bytes, 4);
  if (has_version != version) {
    return Error{ErrorCode::version, what + " has format version " + std::to_string(has_version) +
                                         ", this program knows " + std::to_string(version)};
  }
  const std::string_view body = sealed.substr(header_bytes);
  if (get_le(sealed, magic_bytes + 4, 8) != body.size() || sealed.substr(header_bytes - 32, 32) != digest_of(body)) {
    return Error{ErrorCode::damaged, what + " is damaged: its digest does not match"};
  }
  return std::string(body);
}

}  // namespace amphion::link
