// SPDX-License-Identifier: Apache-2.0
// A file mapped shared and read-only: a clone's memory, as QEMU changes it.
// Thread safety: none needed after open(). Ownership: unmapped by the destructor.
#pragma once

#include <filesystem>

#include "cloud-side/qemu/bytes.hpp"
#include "link/error.hpp"

namespace amphion::qemu {

class MappedFile {
 public:
  MappedFile() = default;
  ~MappedFile() { close(); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  link::Status open(const std::filesystem::path& path, std::uint64_t bytes);  // `bytes` must be the file's size
  void close();
  [[nodiscard]] View view() const { return {data_, size_}; }

 private:
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace amphion::qemu
