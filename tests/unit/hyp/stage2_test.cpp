// SPDX-License-Identifier: Apache-2.0
#include "hyp/stage2.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>

#include "tests/unit/hyp/fakes.hpp"

namespace amphion::hyp {
namespace {

constexpr Ipa ram_base(0x4000'0000);
constexpr std::uint32_t ram_pages = 40000;  // more than one page of bitmap
using Words = std::array<std::uint32_t, Stage2::bitmap_pages / 32>;
using Touch = Stage2::Touch;

constexpr Ipa at(std::uint32_t index) { return ram_base + std::uint64_t{index} * page_bytes; }

struct Stage2Test : testing::Test {
  Stage2Test() {
    EXPECT_TRUE(pool.add_range(ram.base(), ram.size()));
    EXPECT_EQ(stage2.create(ram_base, ram_pages, 100), MapStatus::ok);
  }
  ~Stage2Test() override {
    stage2.destroy();
    EXPECT_EQ(pool.free_pages(), pool.total_pages());
  }
  std::set<std::uint32_t> bits(Stage2::Bitmap kind) {
    std::set<std::uint32_t> set;
    for (std::uint32_t first = 0; first < ram_pages; first += Stage2::bitmap_pages) {
      Words words;
      EXPECT_EQ(stage2.fetch(kind, first, words), MapStatus::ok);
      for (std::uint32_t i = 0; i < Stage2::bitmap_pages; ++i) {
        if ((words[i / 32] >> i % 32 & 1) != 0) set.insert(first + i);
      }
    }
    return set;
  }

  FakeRam ram{512};
  PagePool pool{ram.memory()};
  FakeMaintenance maintenance;
  Stage2 stage2{pool, maintenance, 3};
};
using Set = std::set<std::uint32_t>;

TEST_F(Stage2Test, PopulatesOnFirstTouchWithCleanZeros) {
  EXPECT_FALSE(stage2.translate(at(5)));
  EXPECT_EQ(stage2.touch(at(5) + 123), Touch::mapped);
  const Phys page = *stage2.translate(at(5));
  EXPECT_TRUE(ram.is_zero(page));
  EXPECT_EQ(maintenance.cleaned, std::vector<Phys>{page});
  EXPECT_EQ(*stage2.translate(at(5) + 123), page + 123);
  EXPECT_EQ(stage2.touch(at(5)), Touch::mapped) << "another vCPU was faster";
  EXPECT_EQ(stage2.populated_pages(), 1u);
  EXPECT_TRUE(maintenance.invalidated.empty());
  EXPECT_EQ(maintenance.invalidated_all, 0u);
  EXPECT_EQ(bits(Stage2::Bitmap::populated), Set{5});
}

TEST_F(Stage2Test, KnowsItsWindow) {
  EXPECT_EQ(stage2.touch(Ipa(ram_base.value() - 1)), Touch::outside);
  EXPECT_EQ(stage2.touch(at(ram_pages)), Touch::outside);
  EXPECT_EQ(stage2.touch(at(ram_pages - 1)), Touch::mapped);
  Phys page;
  EXPECT_EQ(stage2.page(ram_pages, page), Touch::outside);
  EXPECT_EQ(stage2.page(ram_pages - 1, page), Touch::mapped);
  EXPECT_EQ(page, *stage2.translate(at(ram_pages - 1)));
  EXPECT_EQ(stage2.discard(0, 0), MapStatus::invalid);
  EXPECT_EQ(stage2.discard(ram_pages, 1), MapStatus::invalid);
  EXPECT_EQ(stage2.discard(1, ram_pages), MapStatus::invalid);
  EXPECT_EQ(stage2.discard(2, 0xffff'ffff), MapStatus::invalid);
  EXPECT_EQ(stage2.discard(0, ram_pages), MapStatus::ok);
  Words words;
  EXPECT_EQ(stage2.fetch(Stage2::Bitmap::populated, 1, words), MapStatus::invalid);
  EXPECT_EQ(stage2.fetch(Stage2::Bitmap::populated, 2 * Stage2::bitmap_pages, words), MapStatus::invalid);
  EXPECT_EQ(stage2.fetch(static_cast<Stage2::Bitmap>(2), 0, words), MapStatus::invalid);
  EXPECT_EQ(stage2.fetch(Stage2::Bitmap::dirty, 0, words), MapStatus::invalid) << "the log is off";
}

TEST_F(Stage2Test, StopsAtTheBoundUntilSomethingIsDiscarded) {
  for (std::uint32_t i = 0; i < 100; ++i) ASSERT_EQ(stage2.touch(at(i * 7)), Touch::mapped);
  EXPECT_EQ(stage2.touch(at(1)), Touch::out_of_memory);
  const Phys page = *stage2.translate(at(7));
  ram.scribble(page);
  EXPECT_EQ(stage2.discard(7, 1), MapStatus::ok);
  EXPECT_EQ(maintenance.invalidated, std::vector<Ipa>{at(7)});
  EXPECT_FALSE(stage2.translate(at(7)));
  EXPECT_EQ(stage2.touch(at(1)), Touch::mapped);
  EXPECT_EQ(*stage2.translate(at(1)), page);
  EXPECT_TRUE(ram.is_zero(page));
  EXPECT_EQ(stage2.populated_pages(), 100u);
}

TEST_F(Stage2Test, LogsWritesPopulationsAndDiscards) {
  for (std::uint32_t i = 0; i < 10; ++i) ASSERT_EQ(stage2.touch(at(i)), Touch::mapped);
  maintenance.clear();
  stage2.log_start();
  EXPECT_EQ(maintenance.invalidated_all, 1u);
  EXPECT_EQ(bits(Stage2::Bitmap::dirty), Set{});
  EXPECT_EQ(maintenance.invalidated_all, 1u) << "nothing to protect again";
  EXPECT_EQ(stage2.touch(at(3)), Touch::mapped);  // a write fault
  EXPECT_EQ(maintenance.invalidated, std::vector<Ipa>{at(3)});
  EXPECT_EQ(stage2.touch(at(35000)), Touch::mapped);
  EXPECT_EQ(stage2.discard(5, 1), MapStatus::ok);
  EXPECT_EQ(stage2.discard(20, 5), MapStatus::ok);  // holes stay clean
  Phys page;
  EXPECT_EQ(stage2.page(6, page), Touch::mapped);
  EXPECT_EQ(bits(Stage2::Bitmap::dirty), (Set{3, 5, 6, 35000}));
  EXPECT_EQ(bits(Stage2::Bitmap::dirty), Set{});
  EXPECT_EQ(stage2.touch(at(3)), Touch::mapped);
  EXPECT_EQ(bits(Stage2::Bitmap::dirty), Set{3});
  stage2.log_stop();
  EXPECT_FALSE(stage2.logging());
}

TEST_F(Stage2Test, ProtectsWhatIsCleanWhileLogging) {
  const auto is_writable = [&](std::uint32_t index) {
    const auto* level1 = static_cast<const std::uint64_t*>(ram.memory().at(Phys(stage2.vttbr() & 0xff'ffff'f000)));
    const auto follow = [&](std::uint64_t d) {
      return static_cast<const std::uint64_t*>(ram.memory().at(Phys(d & 0xff'ffff'f000)));
    };
    return (follow(follow(level1[1])[index / 512])[index % 512] >> 7 & 1) != 0;
  };
  ASSERT_EQ(stage2.touch(at(600)), Touch::mapped);
  EXPECT_TRUE(is_writable(600));
  stage2.log_start();
  EXPECT_FALSE(is_writable(600));
  ASSERT_EQ(stage2.touch(at(600)), Touch::mapped);
  EXPECT_TRUE(is_writable(600));
  bits(Stage2::Bitmap::dirty);
  EXPECT_FALSE(is_writable(600));
  stage2.log_stop();
  EXPECT_TRUE(is_writable(600));
}

TEST_F(Stage2Test, MapsTheCpuInterface) {
  ASSERT_EQ(stage2.map_device(Ipa(0x0801'0000), Phys(0x0804'0000), 0x2000, true), MapStatus::ok);
  EXPECT_EQ(*stage2.translate(Ipa(0x0801'1004)), Phys(0x0804'1004));
  EXPECT_EQ(stage2.vttbr() >> 48, 3u);
}

TEST(Stage2Create, RefusesTheFirstIllegalValues) {
  FakeRam ram(64);
  PagePool pool(ram.memory());
  ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
  FakeMaintenance maintenance;
  Stage2 stage2(pool, maintenance, 1);
  EXPECT_EQ(stage2.create(ram_base, 0, 0), MapStatus::invalid);
  EXPECT_EQ(stage2.create(ram_base, 16, 0), MapStatus::invalid);
  EXPECT_EQ(stage2.create(ram_base, 16, 17), MapStatus::invalid);
  EXPECT_EQ(stage2.create(ram_base, Stage2::max_ram_pages + 1, 16), MapStatus::invalid);
  EXPECT_EQ(stage2.create(ram_base + 1, 16, 16), MapStatus::invalid);
  EXPECT_EQ(stage2.create(Ipa(0xffff'f000), 2, 2), MapStatus::invalid);
  EXPECT_EQ(stage2.create(Ipa(std::uint64_t{1} << 32), 1, 1), MapStatus::invalid);
  EXPECT_EQ(pool.free_pages(), pool.total_pages());
  EXPECT_EQ(stage2.create(ram_base, Stage2::max_ram_pages, 16), MapStatus::ok);
  stage2.destroy();
  EXPECT_EQ(pool.free_pages(), pool.total_pages());
}

TEST(Stage2Create, LeavesNothingBehindWhenThePoolIsShort) {
  for (std::uint32_t pages = 1; pages < 9; ++pages) {
    FakeRam ram(pages);
    PagePool pool(ram.memory());
    ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
    FakeMaintenance maintenance;
    Stage2 stage2(pool, maintenance, 1);
    const MapStatus status = stage2.create(ram_base, ram_pages, 16);
    EXPECT_EQ(status, pages < 5 ? MapStatus::out_of_pages : MapStatus::ok);
    if (status == MapStatus::ok) {
      const std::uint32_t populated = pages < 8 ? 0 : 1;  // two tables and the page itself
      EXPECT_EQ(stage2.touch(at(0)), populated != 0 ? Touch::mapped : Touch::out_of_memory);
      EXPECT_EQ(stage2.populated_pages(), populated);
      stage2.destroy();
    }
    EXPECT_EQ(pool.free_pages(), pages);
  }
}

TEST(Stage2Create, OverheadIsEnoughForEveryPageTouched) {
  constexpr std::uint32_t size = 5000;
  FakeRam ram(size + Stage2::overhead_pages(size));
  PagePool pool(ram.memory());
  ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
  FakeMaintenance maintenance;
  Stage2 stage2(pool, maintenance, 1);
  ASSERT_EQ(stage2.create(ram_base, size, size), MapStatus::ok);
  ASSERT_EQ(stage2.map_device(Ipa(0x0801'0000), Phys(0x0804'0000), 0x2000, true), MapStatus::ok);
  ASSERT_EQ(stage2.map_device(Ipa(0x0a00'0000), Phys(0x8000'0000), 0x1000, false), MapStatus::ok);
  for (std::uint32_t i = 0; i < size; ++i) ASSERT_EQ(stage2.touch(at(i)), Touch::mapped);
  stage2.destroy();
  EXPECT_EQ(pool.free_pages(), pool.total_pages());
}

// Random operations against sets; what is written through a page must be what is read there later.
TEST_F(Stage2Test, AgreesWithANaiveModel) {
  std::mt19937 engine(7);
  const auto random = [&] { return static_cast<std::uint32_t>(engine()); };
  Set populated, dirty;
  bool logging = false;
  for (int step = 0; step < 3000; ++step) {
    const std::uint32_t index = random() % 150 * (ram_pages / 150);
    switch (random() % 8) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const bool room = populated.contains(index) || populated.size() < 100;
        ASSERT_EQ(stage2.touch(at(index)), room ? Touch::mapped : Touch::out_of_memory);
        if (room && logging) dirty.insert(index);
        if (room && populated.insert(index).second) {
          ASSERT_TRUE(ram.is_zero(*stage2.translate(at(index))));
        }
        if (room) *static_cast<std::uint32_t*>(ram.memory().at(*stage2.translate(at(index)))) = index + 1;
        break;
      }
      case 4: {
        const std::uint32_t count = 1 + random() % std::min(2000u, ram_pages - index);
        ASSERT_EQ(stage2.discard(index, count), MapStatus::ok);
        for (auto i = populated.lower_bound(index); i != populated.end() && *i < index + count;) {
          if (logging) dirty.insert(*i);
          i = populated.erase(i);
        }
        break;
      }
      case 5:
        if (random() % 20 == 0) {
          logging = !logging;
          logging ? stage2.log_start() : stage2.log_stop();
          dirty.clear();
        }
        break;
      case 6:
        if (logging) {
          ASSERT_EQ(bits(Stage2::Bitmap::dirty), dirty);
          dirty.clear();
        }
        break;
      default:
        ASSERT_EQ(bits(Stage2::Bitmap::populated), populated);
        for (const std::uint32_t i : populated) {
          ASSERT_EQ(*static_cast<std::uint32_t*>(ram.memory().at(*stage2.translate(at(i)))), i + 1);
        }
    }
    ASSERT_EQ(stage2.populated_pages(), populated.size());
  }
}

}  // namespace
}  // namespace amphion::hyp
