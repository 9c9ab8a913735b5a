// SPDX-License-Identifier: Apache-2.0
// An instance's memory: what was written, what others read and write of it, what the balloon takes.
#include "tests/unit/devices/instance_world.hpp"

namespace amphion::instance {
namespace {

TEST_F(InstanceTest, DirtyPagesAreTheGuestsAndTheDevices) {
  make();
  fake->populated[0] = 0xff;
  ASSERT_EQ(instance->boot(), Problem{});  // writes memory: before the log starts
  ASSERT_EQ(outside->log(true), Problem{});
  EXPECT_NE(instance->take_written_memory(), Bitmap(pages / 32)) << "the kernel, before the log";
  EXPECT_EQ(instance->take_written_memory(), Bitmap(pages / 32));
  fake->dirty[1] = 0x10;
  Bitmap bits;
  ASSERT_EQ(outside->take_dirty(bits), Problem{});
  EXPECT_EQ(bits[1], 0x10u);
  EXPECT_EQ(std::count(bits.begin(), bits.end(), 0u), static_cast<long>(bits.size()) - 1);
  ASSERT_EQ(outside->take_dirty(bits), Problem{});
  EXPECT_EQ(bits[1], 0u);
  EXPECT_EQ(instance->take_written_disk(), Bitmap(8));
}

TEST_F(InstanceTest, TheBalloonDoesNotTakeTheScreen) {
  make();
  const std::uint32_t screen_page = pages - machine::screen_region_bytes / 4096;
  const auto put = [&](std::uint32_t offset, std::uint32_t value) {
    fake->access(machine::virtio_window(machine::VirtioSlot::balloon).base + offset, true, value);
  };
  const std::uint32_t ring = machine::ram_base, buffer = ring + 0x4000;
  for (const auto& [offset, value] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0x70, 3},
                                                                                          {0x24, 1},
                                                                                          {0x20, 1},
                                                                                          {0x70, 11},
                                                                                          {0x30, 0},
                                                                                          {0x38, 64},
                                                                                          {0x80, ring},
                                                                                          {0x90, ring + 0x1000},
                                                                                          {0xa0, ring + 0x2000},
                                                                                          {0x44, 1},
                                                                                          {0x70, 15}})
    put(offset, value);
  auto* words = reinterpret_cast<std::uint32_t*>(fake->memory.data());
  words[0] = buffer;
  words[2] = 12;                // bytes
  words[0x1000 / 4] = 1 << 16;  // index 1
  for (std::uint32_t i = 0; i < 3; ++i) words[0x4000 / 4 + i] = machine::ram_base / 4096 + screen_page - 2 + i;
  fake->ring(static_cast<std::uint32_t>(machine::VirtioSlot::balloon), 1);
  fake->access(machine::virtio.base, false);  // served after it
  EXPECT_EQ(fake->discards, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{screen_page - 2, 2}}));
}

TEST_F(InstanceTest, ReadsAndWritesFromOutside) {
  make();
  fake->memory[5 * 4096 + 7] = std::byte{9};
  std::vector<std::byte> out(2 * 4096);
  ASSERT_EQ(outside->read(5 * 4096, out), Problem{});
  EXPECT_EQ(out[7], std::byte{9});
  ASSERT_EQ(outside->write(memory_bytes - 1, std::span(out).subspan(7, 1)), Problem{});
  EXPECT_EQ(fake->memory[memory_bytes - 1], std::byte{9});
  EXPECT_TRUE(outside->read(memory_bytes - 4096, out).has_value());
  EXPECT_TRUE(outside->read(~0ull, out).has_value());
  EXPECT_TRUE(outside->write(memory_bytes, std::span(out).first(1)).has_value());
}

TEST_F(InstanceTest, DiscardIsBounded) {
  make();
  EXPECT_EQ(outside->discard(pages - 1, 1), Problem{});
  EXPECT_EQ(outside->discard(pages, 0), Problem{});
  EXPECT_TRUE(outside->discard(pages, 1).has_value());
  EXPECT_TRUE(outside->discard(pages - 1, 2).has_value());
  EXPECT_TRUE(outside->discard(1, ~0ull).has_value());
}

TEST(MappedMemory, ATouchThatCannotBePopulatedIsAnAnswer) {
  char name[] = "/tmp/amphion-memory-XXXXXX";
  const int fd = mkstemp(name);
  unlink(name);
  ASSERT_EQ(ftruncate(fd, 32 * 4096), 0);
  // Pages beyond the file's end: SIGBUS, as beyond an instance's bound.
  void* p = mmap(nullptr, 64 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  MappedMemory memory({static_cast<std::byte*>(p), 64 * 4096});
  std::array<std::byte, 8> bytes{};
  EXPECT_TRUE(memory.write(machine::ram_base + 5 * 4096 - 4, bytes));
  EXPECT_TRUE(memory.store16(machine::ram_base + 8 * 4096, 1));
  EXPECT_EQ(memory.take_dirty()[0], 0b1'0011'0000u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(memory.write(machine::ram_base + 40 * 4096, bytes));
    EXPECT_FALSE(memory.read(machine::ram_base + 40 * 4096, bytes));
    EXPECT_EQ(memory.load16(machine::ram_base + 40 * 4096), std::nullopt);
    EXPECT_FALSE(memory.touch(40));
  }
  EXPECT_TRUE(memory.touch(31));
  EXPECT_FALSE(memory.read(machine::ram_base + 64 * 4096 - 7, bytes));
  EXPECT_FALSE(memory.contains(machine::ram_base - 1, 1));
  EXPECT_EQ(memory.load16(machine::ram_base + 1), std::nullopt);
  munmap(p, 64 * 4096);
  close(fd);
}

}  // namespace
}  // namespace amphion::instance
