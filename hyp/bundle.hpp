// SPDX-License-Identifier: Apache-2.0
// The bundle: what stands behind the hypervisor's image in the one file that the board loads.
//
//   file offset 0                              the hypervisor (amphion-hyp-<board>.bin), padded with zeros to 4 KiB
//   bundle_offset(size of the .bin)            BundleHeader, its total_bytes count from here
//   header + kernel.offset, initrd.., dtb..    the host instance's kernel (zImage), initramfs, device tree (finished)
//
// Written by the PC tool, checked whole by check() before the hypervisor acts upon it. Little-endian, no pointers.
// Invariants: freestanding and without dependencies, so that both sides compile the same text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace amphion::hyp {

inline constexpr std::uint32_t bundle_alignment = 4096;
inline constexpr std::array<std::uint8_t, 8> bundle_magic{'A', 'M', 'P', 'H', 'B', 'N', 'D', 'L'};
inline constexpr std::uint32_t bundle_version = 2;
inline constexpr std::size_t bundle_pool_ranges = 4;

struct BundleRange {
  std::uint64_t base;   // physical, multiple of 4 KiB (host memory: of 2 MiB)
  std::uint64_t bytes;  // 0: not used
};

struct BundleItem {
  std::uint32_t offset;  // from the header's first byte, multiple of 4
  std::uint32_t bytes;   // 0: absent (only the initramfs may be)
  std::uint64_t load;    // physical, inside the host's memory, multiple of 4 KiB
};

// How the scheduler begins; 0: as it does by itself.
struct BundleSched {
  std::uint32_t policy;          // AMPHION_SCHED_* + 1
  std::uint32_t threshold;       // 0..AMPHION_SCHED_THRESHOLD_ONE, + 1
  std::uint32_t latency_us;      // AMPHION_SCHED_SHORTEST_US..AMPHION_SCHED_LONGEST_US
  std::uint32_t granularity_us;  // the same bounds
  std::uint32_t hand_over;       // 1: off, 2: on
  std::uint32_t pad;             // 0
};

struct BundleHeader {
  std::array<std::uint8_t, 8> magic;
  std::uint32_t version;
  std::uint32_t crc32;         // of bytes [16, total_bytes), polynomial as in zlib
  std::uint32_t total_bytes;   // header and payload
  std::uint32_t header_bytes;  // sizeof(BundleHeader)
  BundleRange host;
  std::array<BundleRange, bundle_pool_ranges> pool;
  BundleItem kernel;
  BundleItem initrd;
  BundleItem dtb;
  BundleSched sched;
};
inline constexpr std::size_t bundle_crc_from = 16;
static_assert(offsetof(BundleHeader, total_bytes) == bundle_crc_from);
static_assert(sizeof(BundleHeader) == 24 + 16 + 16 * bundle_pool_ranges + 3 * 16 + sizeof(BundleSched));

[[nodiscard]] constexpr std::uint64_t bundle_offset(std::uint64_t image_bytes) {
  return (image_bytes + bundle_alignment - 1) / bundle_alignment * bundle_alignment;
}

// The same function as zlib's crc32(before, data, bytes).
[[nodiscard]] std::uint32_t bundle_crc32(const std::uint8_t* data, std::size_t bytes, std::uint32_t before = 0);

enum class BundleError : std::uint32_t {
  none,
  no_magic,
  version,
  size,
  crc,
  host_range,
  pool_range,
  kernel,
  initrd,
  dtb,
  overlap,
  sched,
};
[[nodiscard]] const char* text(BundleError error);

// Checks everything that can be wrong. `bytes_available` bounds what may be read from `header` on. Usable on the PC too
// (bundle.cpp depends on nothing but the hypercalls' contract): the tool checks what it has written.
[[nodiscard]] BundleError check(const BundleHeader* header, std::uint64_t bytes_available);

}  // namespace amphion::hyp
