// SPDX-License-Identifier: Apache-2.0
// Checks of the bundle; see bundle.hpp. Used by the hypervisor at boot and by the PC tool on its own output.
// Thread safety: pure functions.
#include "hyp/bundle.hpp"

#include "hyp/abi/amphion_hypercall.h"

namespace amphion::hyp {
namespace {

constexpr std::uint64_t host_alignment = 2u << 20;
constexpr std::uint64_t address_limit = std::uint64_t{1} << 32;  // hosts are 32-bit machines without high memory

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr auto crc_table = make_crc_table();

bool aligned_range(const BundleRange& range, std::uint64_t alignment) {
  return range.base % alignment == 0 && range.bytes % alignment == 0 && range.base < address_limit &&
         range.bytes <= address_limit - range.base;
}

bool overlap(const BundleRange& a, const BundleRange& b) {
  return a.base < b.base + b.bytes && b.base < a.base + a.bytes;
}

bool item_fits(const BundleHeader& header, const BundleItem& item) {
  const BundleRange& host = header.host;
  return item.offset >= sizeof(BundleHeader) && item.offset % 4 == 0 && item.offset <= header.total_bytes &&
         item.bytes <= header.total_bytes - item.offset && item.load % bundle_alignment == 0 &&
         item.load >= host.base && item.load - host.base < host.bytes &&
         item.bytes <= host.bytes - (item.load - host.base);
}

BundleError check_ranges(const BundleHeader& header) {
  if (header.host.bytes == 0 || !aligned_range(header.host, host_alignment)) return BundleError::host_range;
  for (const BundleRange& range : header.pool) {
    if (range.bytes == 0) continue;
    if (!aligned_range(range, bundle_alignment)) return BundleError::pool_range;
    if (overlap(range, header.host)) return BundleError::overlap;
    for (const BundleRange& other : header.pool) {
      if (&other != &range && other.bytes != 0 && overlap(range, other)) return BundleError::overlap;
    }
  }
  return BundleError::none;
}

BundleError check_items(const BundleHeader& header) {
  if (header.kernel.bytes == 0 || !item_fits(header, header.kernel)) return BundleError::kernel;
  if (header.initrd.bytes != 0 && !item_fits(header, header.initrd)) return BundleError::initrd;
  if (header.dtb.bytes == 0 || !item_fits(header, header.dtb)) return BundleError::dtb;
  const std::array<BundleRange, 3> placed{{{header.kernel.load, header.kernel.bytes},
                                           {header.initrd.load, header.initrd.bytes},
                                           {header.dtb.load, header.dtb.bytes}}};
  for (std::size_t i = 0; i < placed.size(); ++i) {
    for (std::size_t j = i + 1; j < placed.size(); ++j) {
      if (overlap(placed[i], placed[j])) return BundleError::overlap;
    }
  }
  return BundleError::none;
}

BundleError check_sched(const BundleSched& sched) {
  const auto period = [](std::uint32_t us) {
    return us == 0 || (us >= AMPHION_SCHED_SHORTEST_US && us <= AMPHION_SCHED_LONGEST_US);
  };
  const bool good = sched.policy <= AMPHION_SCHED_SBCO + 1 && sched.threshold <= AMPHION_SCHED_THRESHOLD_ONE + 1 &&
                    period(sched.latency_us) && period(sched.granularity_us) && sched.hand_over <= 2 && sched.pad == 0;
  return good ? BundleError::none : BundleError::sched;
}

}  // namespace

std::uint32_t bundle_crc32(const std::uint8_t* data, std::size_t bytes, std::uint32_t before) {
  std::uint32_t value = ~before;
  for (std::size_t i = 0; i < bytes; ++i) value = (value >> 8) ^ crc_table[(value ^ data[i]) & 0xff];
  return ~value;
}

const char* text(BundleError error) {
  switch (error) {
    case BundleError::none:
      return "ok";
    case BundleError::no_magic:
      return "no bundle behind the hypervisor: load the bundle file, not the bare image";
    case BundleError::version:
      return "bundle of another version: make the bundle with this tree's tool";
    case BundleError::size:
      return "bundle is cut short or its sizes contradict each other: make it again";
    case BundleError::crc:
      return "bundle's checksum is wrong: the file was damaged, make or load it again";
    case BundleError::host_range:
      return "bundle: the host's memory must be 2 MiB aligned and below 4 GiB";
    case BundleError::pool_range:
      return "bundle: a pool range must be 4 KiB aligned and below 4 GiB";
    case BundleError::kernel:
      return "bundle: the kernel is absent or does not fit the host's memory";
    case BundleError::initrd:
      return "bundle: the initramfs does not fit the host's memory";
    case BundleError::dtb:
      return "bundle: the device tree is absent or does not fit the host's memory";
    case BundleError::overlap:
      return "bundle: two memory ranges overlap";
    case BundleError::sched:
      return "bundle: a setting of the scheduler is out of bounds";
  }
  return "bundle: unknown error";
}

BundleError check(const BundleHeader* header, std::uint64_t bytes_available) {
  if (bytes_available < sizeof(BundleHeader)) return BundleError::size;
  if (header->magic != bundle_magic) return BundleError::no_magic;
  if (header->version != bundle_version) return BundleError::version;
  if (header->header_bytes != sizeof(BundleHeader) || header->total_bytes < sizeof(BundleHeader) ||
      header->total_bytes > bytes_available) {
    return BundleError::size;
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(header);
  if (bundle_crc32(bytes + bundle_crc_from, header->total_bytes - bundle_crc_from) != header->crc32) {
    return BundleError::crc;
  }
  if (const BundleError ranges = check_ranges(*header); ranges != BundleError::none) return ranges;
  if (const BundleError items = check_items(*header); items != BundleError::none) return items;
  return check_sched(header->sched);
}

}  // namespace amphion::hyp
