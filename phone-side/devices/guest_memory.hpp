// SPDX-License-Identifier: Apache-2.0
// How a device model reaches the instance's memory: by guest physical address, bounded, never by pointer.
// An implementation answers false for whatever is not wholly inside memory or cannot be populated, and notes every page
// that it writes for the dirty log, because the hypervisor does not see the host's writes.
// Thread safety: implementations need none; a DeviceModel calls them from one thread at a time. The guest's vCPUs write
// the same bytes meanwhile: load16/store16 are single accesses, and a value read twice may differ.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace amphion::devices {

class GuestMemory {
 public:
  virtual ~GuestMemory() = default;

  [[nodiscard]] virtual bool contains(std::uint64_t address, std::uint64_t bytes) const = 0;
  [[nodiscard]] virtual bool read(std::uint64_t address, std::span<std::byte> out) = 0;
  [[nodiscard]] virtual bool write(std::uint64_t address, std::span<const std::byte> in) = 0;

  // Aligned to 2; acquire and release.
  [[nodiscard]] virtual std::optional<std::uint16_t> load16(std::uint64_t address) = 0;
  [[nodiscard]] virtual bool store16(std::uint64_t address, std::uint16_t value) = 0;
};

// As much of a buffer as `bytes` needs.
template <typename T>
[[nodiscard]] constexpr std::span<T> at_most(std::span<T> buffer, std::uint64_t bytes) {
  return buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), bytes)));
}

// Little-endian fields of guest structures.
template <typename T>
[[nodiscard]] constexpr T load_le(std::span<const std::byte> bytes, std::size_t offset) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value | static_cast<T>(static_cast<T>(bytes[offset + i]) << (8 * i)));
  return value;
}

template <typename T>
constexpr void store_le(std::span<std::byte> bytes, std::size_t offset, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes[offset + i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
}

}  // namespace amphion::devices
