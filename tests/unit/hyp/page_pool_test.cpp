// SPDX-License-Identifier: Apache-2.0
#include "hyp/page_pool.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/unit/hyp/fakes.hpp"
#include "tests/unit/hyp/seed.hpp"

namespace amphion::hyp {
namespace {

struct PagePoolTest : testing::Test {
  // Scrubs at most `pages`.
  void scrub(std::uint32_t pages = ~0u) {
    for (; pages > 0; --pages) {
      const auto page = pool.borrow_dirty();
      if (!page) return;
      std::memset(ram.memory().at(*page), 0, page_bytes);
      pool.give_back(*page, true);
    }
  }
  bool is_zero(Phys block) const {
    for (std::uint32_t i = 0; i < block_pages; ++i) {
      if (!ram.is_zero(block + i * page_bytes)) return false;
    }
    return true;
  }
  void scribble(Phys block) const {
    for (std::uint32_t i = 0; i < block_pages; ++i) ram.scribble(block + i * page_bytes);
  }

  FakeRam ram{4 * block_pages};
  PagePool pool{ram.memory()};
};

TEST_F(PagePoolTest, GivesEveryPageOnceAndZeroedThenRunsOut) {
  ASSERT_TRUE(pool.add_range(ram.base(), 5 * page_bytes));  // the first page of each is for records
  ASSERT_TRUE(pool.add_range(ram.base() + 8 * page_bytes, 4 * page_bytes));
  std::set<Phys> seen;
  for (int i = 0; i < 7; ++i) {
    const auto page = pool.take();
    ASSERT_TRUE(page);
    EXPECT_TRUE(ram.is_zero(*page));
    EXPECT_TRUE(seen.insert(*page).second);
  }
  EXPECT_EQ(pool.free_pages(), 0u);
  EXPECT_FALSE(pool.take());
  EXPECT_FALSE(pool.borrow_dirty());
}

TEST_F(PagePoolTest, ScrubsWhatComesBack) {
  ASSERT_TRUE(pool.add_range(ram.base(), 3 * page_bytes));
  const Phys first = *pool.take(), second = *pool.take();
  for (const Phys page : {first, second}) {
    ram.scribble(page);
    pool.give(page);
  }
  EXPECT_EQ(pool.free_pages(), 2u);
  EXPECT_EQ(pool.clean_pages(), 0u);
  EXPECT_TRUE(ram.is_zero(*pool.take()));
  EXPECT_TRUE(ram.is_zero(*pool.take()));
  EXPECT_FALSE(pool.take());
}

TEST_F(PagePoolTest, GivesOnlyBlocksThatWereScrubbed) {
  ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
  EXPECT_FALSE(pool.take_block());
  scrub(block_pages - 1);
  EXPECT_FALSE(pool.take_block());
  scrub(1);
  const Phys block = *pool.take_block();
  EXPECT_TRUE(block.aligned(block_bytes));
  EXPECT_TRUE(is_zero(block));
  EXPECT_FALSE(pool.take_block());
  scrub();
  EXPECT_TRUE(pool.take_block());
  EXPECT_TRUE(pool.take_block());
  EXPECT_FALSE(pool.take_block()) << "the first block has the records";
  scribble(block);
  pool.give_block(block);
  EXPECT_FALSE(pool.take_block());
  scrub();
  EXPECT_EQ(*pool.take_block(), block);
  EXPECT_TRUE(is_zero(block));
}

TEST_F(PagePoolTest, TakesPagesFromBlocksThatAreBrokenAlready) {
  ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
  scrub();
  while (pool.free_pages() > 3 * block_pages) ASSERT_TRUE(pool.take()) << "the block with the records comes first";
  const Phys page = *pool.take();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(pool.take()->value() / block_bytes, page.value() / block_bytes);
  EXPECT_TRUE(pool.take_block());
  EXPECT_TRUE(pool.take_block());
  EXPECT_FALSE(pool.take_block());
}

TEST_F(PagePoolTest, JoinsABlockWhenItsLastPageIsBack) {
  ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
  scrub();
  const Phys block = *pool.take_block();
  for (std::uint32_t i = 1; i < block_pages; ++i) pool.give(block + i * page_bytes);
  scrub();
  while (pool.take_block()) {
  }
  pool.give(block);
  EXPECT_FALSE(pool.take_block());
  scrub();
  EXPECT_EQ(*pool.take_block(), block);
}

TEST_F(PagePoolTest, KeepsWhatIsBorrowedOutOfReach) {
  ASSERT_TRUE(pool.add_range(ram.base(), 3 * page_bytes));
  const Phys borrowed = *pool.borrow_dirty();
  EXPECT_EQ(pool.free_pages(), 2u);
  const Phys other = *pool.take();
  EXPECT_NE(other, borrowed);
  EXPECT_FALSE(pool.take());
  pool.give_back(borrowed, false);
  EXPECT_EQ(pool.clean_pages(), 0u);
  EXPECT_EQ(*pool.take(), borrowed);
  EXPECT_TRUE(ram.is_zero(borrowed));
}

TEST_F(PagePoolTest, RefusesBadRanges) {
  EXPECT_FALSE(pool.add_range(Phys(0), 2 * page_bytes));
  EXPECT_FALSE(pool.add_range(ram.base() + 1, 2 * page_bytes));
  EXPECT_FALSE(pool.add_range(ram.base(), 0));
  EXPECT_FALSE(pool.add_range(ram.base(), 2 * page_bytes + 1));
  EXPECT_FALSE(pool.add_range(ram.base(), page_bytes)) << "no room beside the records";
  EXPECT_FALSE(pool.add_range(Phys((std::uint64_t{1} << 40) - page_bytes), 2 * page_bytes));
  EXPECT_TRUE(pool.add_range(ram.base() + 4 * page_bytes, 4 * page_bytes));
  EXPECT_FALSE(pool.add_range(ram.base() + 7 * page_bytes, 2 * page_bytes));
  EXPECT_FALSE(pool.add_range(ram.base() + 3 * page_bytes, 2 * page_bytes));
  EXPECT_TRUE(pool.add_range(ram.base() + 8 * page_bytes, 2 * page_bytes));
  EXPECT_TRUE(pool.add_range(ram.base() + 2 * page_bytes, 2 * page_bytes));
  EXPECT_TRUE(pool.add_range(ram.base(), 2 * page_bytes));
  EXPECT_FALSE(pool.add_range(ram.base() + 16 * page_bytes, 2 * page_bytes)) << "a fifth range";
  EXPECT_EQ(pool.total_pages(), 6u);
}

TEST_F(PagePoolTest, ReservesNoMoreThanThereIs) {
  ASSERT_TRUE(pool.add_range(ram.base(), 9 * page_bytes));
  EXPECT_TRUE(pool.reserve(5));
  EXPECT_FALSE(pool.reserve(4));
  EXPECT_FALSE(pool.reserve(0xffff'ffff));
  EXPECT_TRUE(pool.reserve(3));
  pool.release(5);
  EXPECT_EQ(pool.reserved_pages(), 3u);
}

// Ranges with ragged ends, two of which meet inside a block. What is taken is zero, and nobody else's.
TEST_F(PagePoolTest, AgreesWithANaiveModel) {
  ASSERT_TRUE(pool.add_range(ram.base() + 5 * page_bytes, (2 * block_pages + 100) * page_bytes));
  ASSERT_TRUE(pool.add_range(ram.base() + (2 * block_pages + 105) * page_bytes, (2 * block_pages - 110) * page_bytes));
  std::mt19937 engine(seed(11));
  std::vector<Phys> taken, borrowed;
  std::vector<Phys> blocks;
  const auto pick = [&](std::vector<Phys>& from) {
    std::swap(from[engine() % from.size()], from.back());
    const Phys one = from.back();
    from.pop_back();
    return one;
  };
  std::set<Phys> owned;
  std::uint32_t blocks_taken = 0;
  for (int step = 0; step < 40'000; ++step) {
    const auto operation = static_cast<std::uint32_t>(engine() % 16);
    const bool filling = step / 4000 % 2 == 0;
    if (operation < (filling ? 6u : 2u)) {
      const auto page = pool.take();
      ASSERT_EQ(page.has_value(), pool.free_pages() + (page ? 1 : 0) > borrowed.size());
      if (!page) continue;
      ASSERT_TRUE(ram.is_zero(*page));
      ASSERT_TRUE(owned.insert(*page).second);
      ram.scribble(*page);
      taken.push_back(*page);
    } else if (operation < 7) {
      if (taken.empty()) continue;
      const Phys page = pick(taken);
      owned.erase(page);
      pool.give(page);
    } else if (operation == 7) {
      const auto block = pool.take_block();
      if (!block) continue;
      ++blocks_taken;
      ASSERT_TRUE(is_zero(*block));
      for (std::uint32_t i = 0; i < block_pages; ++i) ASSERT_TRUE(owned.insert(*block + i * page_bytes).second);
      scribble(*block);
      blocks.push_back(*block);
    } else if (operation == 8) {
      if (blocks.empty()) continue;
      const Phys block = pick(blocks);
      for (std::uint32_t i = 0; i < block_pages; ++i) owned.erase(block + i * page_bytes);
      if (engine() % 2 == 0) {
        pool.give_block(block);
      } else {
        for (std::uint32_t i = 0; i < block_pages; ++i) pool.give(block + i * page_bytes);
      }
    } else if (operation == 9) {
      if (const auto page = pool.borrow_dirty()) borrowed.push_back(*page);
    } else if (operation == 10 && !borrowed.empty()) {
      pool.give_back(pick(borrowed), false);
    } else {
      scrub(static_cast<std::uint32_t>(engine() % 200));
    }
    ASSERT_EQ(pool.free_pages() + owned.size(), pool.total_pages());
  }
  EXPECT_GT(blocks_taken, 20u);
}

TEST_F(PagePoolTest, IsSharedByCpus) {
  ASSERT_TRUE(pool.add_range(ram.base(), 65 * page_bytes));
  const auto work = [&] {
    for (int i = 0; i < 2000; ++i) {
      const auto a = pool.take();
      const auto b = pool.take();
      if (a) ram.scribble(*a);
      scrub(1);
      if (b) pool.give(*b);
      if (a) pool.give(*a);
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(pool.free_pages(), 64u);
}

}  // namespace
}  // namespace amphion::hyp
