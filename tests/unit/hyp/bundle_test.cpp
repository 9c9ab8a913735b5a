// SPDX-License-Identifier: Apache-2.0
// The bundle's checks: a good one passes, and the first illegal value of each field is refused by its own error.
#include "hyp/bundle.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "hyp/abi/amphion_hypercall.h"

namespace amphion::hyp {
namespace {

constexpr std::uint64_t mib = 1u << 20;

class Bundle {
 public:
  Bundle() {
    header_ = {.magic = bundle_magic,
               .version = bundle_version,
               .crc32 = 0,
               .total_bytes = sizeof(BundleHeader) + 3 * item_bytes,
               .header_bytes = sizeof(BundleHeader),
               .host = {0x4800'0000, 256 * mib},
               .pool = {{{0x4040'0000, 124 * mib}, {0x5800'0000, 640 * mib}, {0, 0}, {0, 0}}},
               .kernel = {sizeof(BundleHeader), item_bytes, 0x4a00'0000},
               .initrd = {sizeof(BundleHeader) + item_bytes, item_bytes, 0x4e00'0000},
               .dtb = {sizeof(BundleHeader) + 2 * item_bytes, item_bytes, 0x4d00'0000},
               .sched = {}};
  }
  BundleHeader& header() { return header_; }

  // With the checksum made right, so that only the change is wrong.
  [[nodiscard]] BundleError checked() { return checked_bytes(sizeof(BundleHeader) + 3 * item_bytes); }
  [[nodiscard]] BundleError checked_bytes(std::uint64_t available) {
    std::vector<std::uint8_t> bytes(sizeof(BundleHeader) + 3 * item_bytes, 0x5a);
    std::memcpy(bytes.data(), &header_, sizeof(header_));
    header_.crc32 = bundle_crc32(bytes.data() + bundle_crc_from, bytes.size() - bundle_crc_from) ^ damage;
    std::memcpy(bytes.data(), &header_, sizeof(header_));
    return check(reinterpret_cast<const BundleHeader*>(bytes.data()), available);
  }

  std::uint32_t damage = 0;
  static constexpr std::uint32_t item_bytes = 64;

 private:
  BundleHeader header_{};
};

BundleError with(const std::function<void(BundleHeader&)>& change) {
  Bundle bundle;
  change(bundle.header());
  return bundle.checked();
}

TEST(Bundle, AGoodOnePasses) { EXPECT_EQ(Bundle().checked(), BundleError::none); }

TEST(Bundle, ChecksumIsThatOfZlib) {
  constexpr char words[] = "123456789";
  EXPECT_EQ(bundle_crc32(reinterpret_cast<const std::uint8_t*>(words), 9), 0xcbf4'3926u);
}

TEST(Bundle, FramingIsChecked) {
  EXPECT_EQ(with([](auto& h) { h.magic[7] ^= 1; }), BundleError::no_magic);
  EXPECT_EQ(with([](auto& h) { h.version = bundle_version + 1; }), BundleError::version);
  EXPECT_EQ(with([](auto& h) { h.header_bytes -= 1; }), BundleError::size);
  EXPECT_EQ(with([](auto& h) { h.total_bytes += 1; }), BundleError::size);
  EXPECT_EQ(with([](auto& h) { h.total_bytes = sizeof(BundleHeader) - 1; }), BundleError::size);
  EXPECT_EQ(Bundle().checked_bytes(sizeof(BundleHeader) - 1), BundleError::size);
  Bundle damaged;
  damaged.damage = 1;
  EXPECT_EQ(damaged.checked(), BundleError::crc);
}

TEST(Bundle, RangesAreChecked) {
  EXPECT_EQ(with([](auto& h) { h.host.base += 4096; }), BundleError::host_range);
  EXPECT_EQ(with([](auto& h) { h.host.bytes = 0; }), BundleError::host_range);
  EXPECT_EQ(with([](auto& h) { h.host.bytes = std::uint64_t{1} << 63; }), BundleError::host_range);
  EXPECT_EQ(with([](auto& h) { h.pool[0].base += 1; }), BundleError::pool_range);
  EXPECT_EQ(with([](auto& h) { h.pool[2] = {0xffff'f000, 8192}; }), BundleError::pool_range);
  EXPECT_EQ(with([](auto& h) { h.pool[0].bytes += 4096; }), BundleError::overlap);
  EXPECT_EQ(with([](auto& h) { h.pool[2] = h.pool[1]; }), BundleError::overlap);
}

TEST(Bundle, ItemsAreChecked) {
  EXPECT_EQ(with([](auto& h) { h.kernel.bytes = 0; }), BundleError::kernel);
  EXPECT_EQ(with([](auto& h) { h.kernel.offset = 0; }), BundleError::kernel);
  EXPECT_EQ(with([](auto& h) { h.kernel.load = 0x4700'0000; }), BundleError::kernel);
  EXPECT_EQ(with([](auto& h) { h.dtb.bytes += 1; }), BundleError::dtb);
  EXPECT_EQ(with([](auto& h) { h.dtb.offset = 0xffff'fffc; }), BundleError::dtb);
  EXPECT_EQ(with([](auto& h) { h.dtb.load = h.kernel.load; }), BundleError::overlap);
  EXPECT_EQ(with([](auto& h) { h.initrd.load += 4; }), BundleError::initrd);
  EXPECT_EQ(with([](auto& h) { h.initrd.load = 0x5800'0000; }), BundleError::initrd);
  EXPECT_EQ(with([](auto& h) { h.initrd = {}; }), BundleError::none);
}

BundleError with_sched(const BundleSched& sched) {
  return with([&](auto& h) { h.sched = sched; });
}

TEST(Bundle, SchedulersSettingsAreChecked) {
  const auto shortest = AMPHION_SCHED_SHORTEST_US, longest = AMPHION_SCHED_LONGEST_US;
  EXPECT_EQ(with_sched({AMPHION_SCHED_SBCO + 1, AMPHION_SCHED_THRESHOLD_ONE + 1, longest, shortest, 2, 0}),
            BundleError::none);
  EXPECT_EQ(with_sched({AMPHION_SCHED_SBCO + 2, 0, 0, 0, 0, 0}), BundleError::sched);
  EXPECT_EQ(with_sched({0, AMPHION_SCHED_THRESHOLD_ONE + 2, 0, 0, 0, 0}), BundleError::sched);
  EXPECT_EQ(with_sched({0, 0, shortest - 1, 0, 0, 0}), BundleError::sched);
  EXPECT_EQ(with_sched({0, 0, longest + 1, 0, 0, 0}), BundleError::sched);
  EXPECT_EQ(with_sched({0, 0, 0, shortest - 1, 0, 0}), BundleError::sched);
  EXPECT_EQ(with_sched({0, 0, 0, longest + 1, 0, 0}), BundleError::sched);
  EXPECT_EQ(with_sched({0, 0, 0, 0, 3, 0}), BundleError::sched);
  EXPECT_EQ(with_sched({0, 0, 0, 0, 0, 1}), BundleError::sched);
}

}  // namespace
}  // namespace amphion::hyp
