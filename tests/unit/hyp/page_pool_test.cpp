// SPDX-License-Identifier: Apache-2.0
#include "hyp/page_pool.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "tests/unit/hyp/fakes.hpp"

namespace amphion::hyp {
namespace {

TEST(PagePool, GivesEveryPageOnceAndZeroedThenRunsOut) {
  const FakeRam ram(16);
  PagePool pool(ram.memory());
  ASSERT_TRUE(pool.add_range(ram.base(), 4 * page_bytes));
  ASSERT_TRUE(pool.add_range(ram.base() + 8 * page_bytes, 3 * page_bytes));
  std::set<Phys> seen;
  for (int i = 0; i < 7; ++i) {
    const auto page = pool.take();
    ASSERT_TRUE(page);
    EXPECT_TRUE(pool.owns(*page));
    EXPECT_TRUE(ram.is_zero(*page));
    EXPECT_TRUE(seen.insert(*page).second);
  }
  EXPECT_EQ(pool.free_pages(), 0u);
  EXPECT_FALSE(pool.take());
}

TEST(PagePool, ScrubsWhatComesBack) {
  const FakeRam ram(2);
  PagePool pool(ram.memory());
  ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
  const Phys first = *pool.take();
  const Phys second = *pool.take();
  ram.scribble(first);
  ram.scribble(second);
  pool.give(first);
  EXPECT_TRUE(ram.is_zero(first));  // the last of the chain links to nothing
  pool.give(second);
  EXPECT_EQ(pool.free_pages(), 2u);
  EXPECT_TRUE(ram.is_zero(*pool.take()));
  EXPECT_TRUE(ram.is_zero(*pool.take()));
  EXPECT_FALSE(pool.take());
}

TEST(PagePool, RefusesBadRanges) {
  const FakeRam ram(1);
  PagePool pool(ram.memory());
  EXPECT_FALSE(pool.add_range(Phys(0), page_bytes));
  EXPECT_FALSE(pool.add_range(ram.base() + 1, page_bytes));
  EXPECT_FALSE(pool.add_range(ram.base(), 0));
  EXPECT_FALSE(pool.add_range(ram.base(), page_bytes + 1));
  EXPECT_FALSE(pool.add_range(Phys((std::uint64_t{1} << 40) - page_bytes), 2 * page_bytes));
  EXPECT_TRUE(pool.add_range(Phys((std::uint64_t{1} << 40) - page_bytes), page_bytes));
  EXPECT_TRUE(pool.add_range(ram.base(), 4 * page_bytes));
  EXPECT_FALSE(pool.add_range(ram.base() + 3 * page_bytes, page_bytes));
  EXPECT_FALSE(pool.add_range(Phys(ram.base().value() - page_bytes), 2 * page_bytes));
  EXPECT_TRUE(pool.add_range(ram.base() + 4 * page_bytes, page_bytes));
  EXPECT_TRUE(pool.add_range(Phys(page_bytes), page_bytes));
  EXPECT_FALSE(pool.add_range(Phys(16 * page_bytes), page_bytes)) << "a fifth range";
  EXPECT_EQ(pool.total_pages(), 7u);
}

TEST(PagePool, OwnsItsRangesOnly) {
  PagePool pool;
  ASSERT_TRUE(pool.add_range(Phys(0x10000), 2 * page_bytes));
  EXPECT_TRUE(pool.owns(Phys(0x11fff)));
  EXPECT_FALSE(pool.owns(Phys(0x12000)));
  EXPECT_FALSE(pool.owns(Phys(0xffff)));
  EXPECT_TRUE(pool.owns(Phys(0x10000), 2 * page_bytes));
  EXPECT_FALSE(pool.owns(Phys(0x11000), 2 * page_bytes));
  EXPECT_FALSE(pool.owns(Phys(0x10000), ~std::uint64_t{0}));
}

TEST(PagePool, ReservesNoMoreThanThereIs) {
  PagePool pool;
  ASSERT_TRUE(pool.add_range(Phys(0x10000), 8 * page_bytes));
  EXPECT_TRUE(pool.reserve(5));
  EXPECT_FALSE(pool.reserve(4));
  EXPECT_FALSE(pool.reserve(0xffff'ffff));
  EXPECT_TRUE(pool.reserve(3));
  pool.release(5);
  EXPECT_EQ(pool.reserved_pages(), 3u);
}

TEST(PagePool, IsSharedByCpus) {
  const FakeRam ram(64);
  PagePool pool(ram.memory());
  ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
  const auto work = [&] {
    for (int i = 0; i < 2000; ++i) {
      const auto a = pool.take();
      const auto b = pool.take();
      if (a) ram.scribble(*a);
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
