// SPDX-License-Identifier: Apache-2.0
// Images on disk: what was written is read back, holes stay holes, adopting may be repeated.
#include "phone-side/phoned/saved_image.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "link/hash_list.hpp"

namespace amphion::phoned {
namespace {

using link::pb::REGION_DISK0;
using link::pb::REGION_MEMORY;

class SavedImageTest : public testing::Test {
 protected:
  SavedImageTest() {
    std::string name = (std::filesystem::temp_directory_path() / "phoned-image-XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~SavedImageTest() override { std::filesystem::remove_all(folder_); }

  static std::vector<std::byte> page(int value) { return std::vector<std::byte>(4096, static_cast<std::byte>(value)); }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream in(folder_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::string folder_;
};

TEST_F(SavedImageTest, RoundTrip) {
  SavedImage image(folder_, 7);
  ASSERT_TRUE(image.create(1u << 20, 8192).ok());
  ASSERT_TRUE(image.write(REGION_MEMORY, 8192, page(1)).ok());
  ASSERT_TRUE(image.write(REGION_MEMORY, 12288, page(2)).ok());
  ASSERT_TRUE(image.zero(REGION_MEMORY, 8192, 4096).ok());
  ASSERT_TRUE(image.write(REGION_DISK0, 4096, page(3)).ok());
  ASSERT_TRUE(image.seal("state").ok());
  const SavedImage again(folder_, 7);
  EXPECT_EQ(*again.state(), "state");
  std::vector<std::byte> memory(1u << 20);
  const auto put = [&](std::uint64_t offset, std::span<const std::byte> contents) {
    std::copy(contents.begin(), contents.end(), memory.begin() + static_cast<std::ptrdiff_t>(offset));
    return link::Status();
  };
  ASSERT_TRUE(again.load_memory(memory.size(), put).ok());
  EXPECT_EQ(memory[8192], std::byte{0});
  EXPECT_EQ(memory[12288], std::byte{2});
  EXPECT_FALSE(again.load_memory(4096, put).ok());
  ASSERT_TRUE(again.adopt_disk().ok());
  ASSERT_TRUE(again.adopt_disk().ok()) << "after a power cut it is done again";
  EXPECT_EQ(read("disk0").substr(4096, 4096), std::string(4096, '\3'));
  again.discard_memory();
  EXPECT_FALSE(again.state().ok());
}

TEST_F(SavedImageTest, StartsFromTheDiskInUse) {
  std::ofstream(folder_ + "/disk0", std::ios::binary) << std::string(8192, 'd');
  SavedImage image(folder_, 2);
  ASSERT_TRUE(image.create(4096, 8192).ok());
  ASSERT_TRUE(image.base_disk().ok());
  ASSERT_TRUE(image.write(REGION_DISK0, 0, page('e')).ok());
  EXPECT_EQ(read("disk0"), std::string(8192, 'd')) << "untouched until adopted";
  ASSERT_TRUE(image.adopt_disk().ok());
  EXPECT_EQ(read("disk0"), std::string(4096, 'e') + std::string(4096, 'd'));
}

TEST_F(SavedImageTest, DiscardLeavesOtherGenerations) {
  SavedImage old(folder_, 2);
  SavedImage image(folder_, 3);
  ASSERT_TRUE(old.create(4096, 4096).ok());
  ASSERT_TRUE(old.seal("old").ok());
  ASSERT_TRUE(image.create(4096, 4096).ok());
  image.discard();
  EXPECT_EQ(*old.state(), "old");
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/3.ram"));
}

TEST_F(SavedImageTest, SparseCopiesStaySparse) {
  const std::string from = folder_ + "/from";
  std::ofstream(from, std::ios::binary) << "x";
  std::filesystem::resize_file(from, 64u << 20);
  ASSERT_TRUE(copy_sparse(from, folder_ + "/to").ok());
  struct stat facts {};
  ASSERT_EQ(stat((folder_ + "/to").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_size, 64 << 20);
  EXPECT_LT(facts.st_blocks * 512, 1 << 20);
  EXPECT_FALSE(copy_sparse(folder_ + "/none", folder_ + "/to").ok());
}

}  // namespace
}  // namespace amphion::phoned
