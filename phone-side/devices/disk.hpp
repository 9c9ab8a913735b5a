// SPDX-License-Identifier: Apache-2.0
// What stands behind a virtio block device: bytes that can be read, written and made durable; and a wrapper that notes
// which 4 KiB blocks were written, for docking.
// Thread safety: none; the DeviceModel serialises. Errors: false, the guest then sees an I/O error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "phone-side/devices/owned_fd.hpp"

namespace amphion::devices {

inline constexpr std::uint32_t disk_block_bytes = 4096;

class Disk {
 public:
  virtual ~Disk() = default;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  [[nodiscard]] virtual bool read(std::uint64_t offset, std::span<std::byte> out) = 0;
  [[nodiscard]] virtual bool write(std::uint64_t offset, std::span<const std::byte> in) = 0;
  [[nodiscard]] virtual bool flush() = 0;
};

// A raw image file (or block device). Owns the descriptor.
class FileDisk final : public Disk {
 public:
  // Null and a text if the file cannot be opened or is no multiple of 512 bytes.
  [[nodiscard]] static std::unique_ptr<FileDisk> open(const std::string& path, std::string& error);
  // The same of a file that is open; `name` is for the error.
  [[nodiscard]] static std::unique_ptr<FileDisk> adopt(OwnedFd file, const std::string& name, std::string& error);

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) override;
  [[nodiscard]] bool write(std::uint64_t offset, std::span<const std::byte> in) override;
  [[nodiscard]] bool flush() override;

 private:
  FileDisk(OwnedFd file, std::uint64_t size_bytes) : file_(std::move(file)), size_bytes_(size_bytes) {}
  OwnedFd file_;
  std::uint64_t size_bytes_;
};

// Notes written blocks: bit n of the bitmap is block n.
class TrackedDisk final : public Disk {
 public:
  explicit TrackedDisk(std::unique_ptr<Disk> disk);

  [[nodiscard]] std::uint64_t size_bytes() const override { return disk_->size_bytes(); }
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) override { return disk_->read(offset, out); }
  [[nodiscard]] bool write(std::uint64_t offset, std::span<const std::byte> in) override;
  [[nodiscard]] bool flush() override { return disk_->flush(); }

  [[nodiscard]] std::uint32_t blocks() const;
  // What was written since the last call; all clear from now on.
  [[nodiscard]] std::vector<std::uint32_t> take_dirty();

 private:
  std::unique_ptr<Disk> disk_;
  std::vector<std::uint32_t> dirty_;
};

}  // namespace amphion::devices
