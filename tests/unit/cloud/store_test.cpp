// SPDX-License-Identifier: Apache-2.0
// The cloud's images: staging over a base, what differs, and what a failing disk leaves behind.
#include <gtest/gtest.h>

#include "cloud-side/store/image.hpp"
#include "tests/unit/cloud/faulty_files.hpp"
#include "tests/unit/cloud/scratch.hpp"

namespace amphion::cloud::testing {
namespace {

using link::block_bytes;
using link::pb::REGION_DISK0;
using link::pb::REGION_MEMORY;

constexpr RegionSizes sizes{64 * block_bytes, 16 * block_bytes, 0};

std::vector<std::byte> block_of(char c) { return std::vector<std::byte>(block_bytes, static_cast<std::byte>(c)); }

char first_byte(Image& image, link::pb::Region region, std::uint64_t index) {
  std::vector<std::byte> block(block_bytes);
  image.read(region, index, block);
  return static_cast<char>(block[0]);
}

std::vector<std::uint64_t> bits(const link::Bitmap& map) {
  std::vector<std::uint64_t> set;
  for (std::uint64_t i = 0; i < map.size() * 32; ++i) {
    if ((map[i / 32] >> (i % 32) & 1) != 0) set.push_back(i);
  }
  return set;
}

void make_generation(InstanceFolder& folder, std::uint64_t n, std::optional<std::uint64_t> base, std::uint64_t block,
                     char c) {
  folder.begin_staging(base, sizes);
  Image(folder.files(), folder.staging(), Files::Mode::write).write(REGION_MEMORY, block, block_of(c));
  folder.finish_staging(n);
}

TEST(Store, a_generation_is_its_base_and_what_was_written) {
  const Scratch scratch;
  PosixFiles files;
  InstanceFolder folder(files, scratch.path() / "work");
  make_generation(folder, 2, std::nullopt, 5, 'a');
  make_generation(folder, 3, 2, 6, 'b');
  Image image(files, folder.generation(3), Files::Mode::read);
  EXPECT_EQ(image.regions(), (std::vector<link::RegionSize>{{REGION_MEMORY, 64}, {REGION_DISK0, 16}}));
  EXPECT_EQ(first_byte(image, REGION_MEMORY, 5), 'a');
  EXPECT_EQ(first_byte(image, REGION_MEMORY, 6), 'b');
  EXPECT_EQ(image.count_nonzero(REGION_MEMORY), 2u);
  EXPECT_EQ(folder.generations(), (std::vector<std::uint64_t>{2, 3}));
  folder.keep_only(3);
  EXPECT_EQ(folder.generations(), (std::vector<std::uint64_t>{3}));
}

TEST(Store, finds_what_differs_and_what_became_zero) {
  const Scratch scratch;
  PosixFiles files;
  InstanceFolder folder(files, scratch.path() / "work");
  make_generation(folder, 2, std::nullopt, 5, 'a');
  folder.make_run(2);
  Image live(files, folder.run(), Files::Mode::write);
  Image kept(files, folder.generation(2), Files::Mode::read);
  live.write(REGION_MEMORY, 63, block_of('z'));
  live.zero(REGION_MEMORY, 5, 1);
  link::Bitmap map(2);
  Image::differing(live, kept, REGION_MEMORY, map);
  EXPECT_EQ(bits(map), (std::vector<std::uint64_t>{5, 63}));
  link::Bitmap disk(1);
  Image::differing(live, kept, REGION_DISK0, disk);
  EXPECT_TRUE(bits(disk).empty());
}

TEST(Store, a_used_run_folder_is_made_anew) {
  const Scratch scratch;
  PosixFiles files;
  InstanceFolder folder(files, scratch.path() / "work");
  make_generation(folder, 2, std::nullopt, 5, 'a');
  folder.make_run(2);
  EXPECT_TRUE(folder.run_is_fresh(2));
  EXPECT_FALSE(folder.run_is_fresh(3));
  const std::string voucher = "2 of-another-boot";  // nothing in run/ is synced: after a power cut it may be anything
  write_small(files, folder.run() / "fresh", std::as_bytes(std::span(voucher)));
  EXPECT_FALSE(folder.run_is_fresh(2));
  folder.make_run(2);
  EXPECT_TRUE(folder.run_is_fresh(2));
  folder.use_run();
  EXPECT_FALSE(folder.run_is_fresh(2));
  Image(files, folder.run(), Files::Mode::write).write(REGION_MEMORY, 5, block_of('x'));
  folder.make_run(2);
  Image again(files, folder.run(), Files::Mode::read);
  EXPECT_EQ(first_byte(again, REGION_MEMORY, 5), 'a');
}

// The disk fails at each operation in turn: generation 2 stays whole, and 3 is either whole or not there.
TEST(Store, a_failing_disk_leaves_nothing_half_done) {
  for (int operations = 0;; ++operations) {
    const Scratch scratch;
    FaultyFiles files;
    InstanceFolder folder(files, scratch.path() / "work");
    make_generation(folder, 2, std::nullopt, 5, 'a');
    files.fail_after(operations);
    bool failed = false;
    try {
      make_generation(folder, 3, 2, 6, 'b');
    } catch (const StoreError& error) {
      failed = true;
      EXPECT_TRUE(error.disk_full);
      folder.discard_staging();
    }
    files.fail_after(-1);
    Image old(files, folder.generation(2), Files::Mode::read);
    EXPECT_EQ(first_byte(old, REGION_MEMORY, 5), 'a');
    EXPECT_EQ(old.count_nonzero(REGION_MEMORY), 1u);
    EXPECT_FALSE(files.exists(folder.staging()));
    if (folder.has(3)) {
      Image fresh(files, folder.generation(3), Files::Mode::read);
      EXPECT_EQ(first_byte(fresh, REGION_MEMORY, 6), 'b');
    }
    if (!failed) return;
    ASSERT_LT(operations, 100);
  }
}

TEST(Store, a_failing_disk_leaves_no_run_folder) {
  for (int operations = 0;; ++operations) {
    const Scratch scratch;
    FaultyFiles files;
    InstanceFolder folder(files, scratch.path() / "work");
    make_generation(folder, 2, std::nullopt, 5, 'a');
    files.fail_after(operations);
    const auto made = guarded([&] { folder.make_run(2); });
    EXPECT_EQ(files.exists(folder.run()), made.ok());
    if (made) return;
    EXPECT_EQ(made.error().code, link::ErrorCode::no_space);
    ASSERT_LT(operations, 100);
  }
}

}  // namespace
}  // namespace amphion::cloud::testing
