// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace amphion::qemu {

link::Status MappedFile::open(const std::filesystem::path& path, std::uint64_t bytes) {
  close();
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {link::ErrorCode::io, path.string() + ": " + std::strerror(errno)};
  struct stat status {};
  if (fstat(fd, &status) != 0 || static_cast<std::uint64_t>(status.st_size) != bytes) {
    ::close(fd);
    return {link::ErrorCode::damaged, path.string() + " is not " + std::to_string(bytes) + " bytes long"};
  }
  void* address = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  const int reason = errno;
  ::close(fd);
  if (address == MAP_FAILED) return {link::ErrorCode::io, path.string() + ": " + std::strerror(reason)};
  data_ = static_cast<const std::uint8_t*>(address);
  size_ = bytes;
  return {};
}

void MappedFile::close() {
  if (data_ != nullptr) munmap(const_cast<std::uint8_t*>(data_), size_);
  data_ = nullptr;
  size_ = 0;
}

}  // namespace amphion::qemu
