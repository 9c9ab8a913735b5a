// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/data_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace amphion::cloud {
namespace {

std::string holder(int fd) {
  std::array<char, 32> text{};
  const ssize_t got = pread(fd, text.data(), text.size() - 1, 0);
  return got > 0 ? std::string(text.data(), static_cast<std::size_t>(got)) : "unknown";
}

}  // namespace

DataLock::DataLock(const std::filesystem::path& data) {
  std::error_code error;
  std::filesystem::create_directories(data, error);
  if (error) throw std::runtime_error("cannot make the data folder " + data.string() + ": " + error.message());
  (void)chmod(data.c_str(), 0700);
  const auto path = data / "lock";
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) throw std::runtime_error("cannot write " + path.string() + ": " + std::strerror(errno));
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const std::string other = holder(fd_);
    close(fd_);
    throw std::runtime_error("another amphiond (process " + other + ") has the data folder " + data.string() +
                             "; stop it or choose another --data");
  }
  const std::string self = std::to_string(getpid());
  if (ftruncate(fd_, 0) != 0 || pwrite(fd_, self.data(), self.size(), 0) < 0) {
    close(fd_);
    throw std::runtime_error("cannot write " + path.string() + ": " + std::strerror(errno));
  }
}

DataLock::~DataLock() { close(fd_); }

}  // namespace amphion::cloud
