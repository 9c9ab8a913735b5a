// SPDX-License-Identifier: Apache-2.0
// The instance's memory as its device model sees it: the partition's mapping, bounded, with a note of every page
// written. A touch that the hypervisor cannot populate (the bound is used up) is an answer of false, not a signal: the
// first MappedMemory installs a SIGBUS handler that only such touches meet; any other SIGBUS acts as before.
// Thread safety: none; the Instance serialises. The handler is per thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "phone-side/devices/guest_memory.hpp"

namespace amphion::instance {

class MappedMemory final : public devices::GuestMemory {
 public:
  explicit MappedMemory(std::span<std::byte> memory);

  [[nodiscard]] bool contains(std::uint64_t address, std::uint64_t bytes) const override;
  [[nodiscard]] bool read(std::uint64_t address, std::span<std::byte> out) override;
  [[nodiscard]] bool write(std::uint64_t address, std::span<const std::byte> in) override;
  [[nodiscard]] std::optional<std::uint16_t> load16(std::uint64_t address) override;
  [[nodiscard]] bool store16(std::uint64_t address, std::uint16_t value) override;

  // Makes sure that this process has the page mapped.
  [[nodiscard]] bool touch(std::uint32_t page);

  // Pages written by this side since the last call.
  [[nodiscard]] std::vector<std::uint32_t> take_dirty();

 private:
  [[nodiscard]] std::byte* at(std::uint64_t address) const;
  void note_written(std::uint64_t address, std::uint64_t bytes);

  std::span<std::byte> memory_;
  std::vector<std::uint32_t> dirty_;
};

}  // namespace amphion::instance
