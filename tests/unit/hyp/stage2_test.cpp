// SPDX-License-Identifier: Apache-2.0
#include "hyp/stage2.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "tests/unit/hyp/fakes.hpp"
#include "tests/unit/hyp/seed.hpp"

namespace amphion::hyp {
namespace {

constexpr Ipa ram_base(0x4000'0000);
constexpr std::uint32_t ram_pages = 40000;  // more than one page of bitmap
using Words = std::array<std::uint32_t, Stage2::bitmap_pages / 32>;
using Touch = Stage2::Touch;
using Set = std::set<std::uint32_t>;

constexpr Ipa at(std::uint32_t index) { return ram_base + std::uint64_t{index} * page_bytes; }

// In pieces, as hypercalls do it.
void destroy(Stage2& stage2) {
  while (!stage2.destroy()) {
  }
}
// As a vCPU does: until it goes on or parks.
Touch touch(Stage2& stage2, Ipa address) {
  Touch result;
  do result = stage2.touch(address);
  while (result == Touch::again);
  return result;
}
template <typename Piece>
void in_pieces(std::uint32_t first, std::uint32_t count, Piece piece) {
  for (const std::uint32_t end = first + count; first < end;) {
    const std::uint32_t pages = std::min(end - first, Stage2::piece_pages - first % Stage2::piece_pages);
    piece(first, pages);
    first += pages;
  }
}
void discard(Stage2& stage2, std::uint32_t first, std::uint32_t count) {
  in_pieces(first, count, [&](auto from, auto pages) { ASSERT_EQ(stage2.discard(from, pages), MapStatus::ok); });
}
void log_start(Stage2& stage2) {
  in_pieces(0, stage2.ram_pages(), [&](auto first, auto pages) { stage2.log_start(first, pages); });
}
void log_stop(Stage2& stage2) {
  in_pieces(0, stage2.ram_pages(), [&](auto first, auto pages) { stage2.log_stop(first, pages); });
}
std::set<std::uint32_t> bits(Stage2& stage2, Stage2::Bitmap kind) {
  std::set<std::uint32_t> set;
  constexpr std::uint32_t piece = Stage2::piece_pages / 32;
  for (std::uint32_t first = 0; first < stage2.ram_pages(); first += Stage2::piece_pages) {
    std::array<std::uint32_t, piece> words;
    EXPECT_EQ(stage2.fetch(kind, first, words), MapStatus::ok);
    for (std::uint32_t i = 0; i < Stage2::piece_pages; ++i) {
      if ((words[i / 32] >> i % 32 & 1) != 0) set.insert(first + i);
    }
  }
  return set;
}
// The descriptor that maps page `index` of an instance (0: none), as table walks find it.
struct Walked {
  std::uint64_t descriptor = 0;
  std::uint32_t level = 0;
  [[nodiscard]] bool writable() const { return (descriptor >> 7 & 1) != 0; }
};
Walked walk(const FakeRam& ram, const Stage2& stage2, std::uint32_t index) {
  const std::uint64_t input = at(index).value();
  Phys table(stage2.vttbr() & 0xff'ffff'f000);
  for (std::uint32_t level = 1;; ++level) {
    const auto* entries = static_cast<const std::uint64_t*>(ram.memory().at(table));
    const std::uint64_t d = entries[input >> (39 - 9 * level) & 511];
    if ((d & 1) == 0) return {};
    if (level == 3 || (d & 2) == 0) return {d, level};
    table = Phys(d & 0xff'ffff'f000);
  }
}

struct Stage2Test : testing::Test {
  Stage2Test() {
    EXPECT_TRUE(pool.add_range(ram.base(), ram.size()));
    EXPECT_EQ(stage2.create(ram_base, ram_pages, 100), MapStatus::ok);
  }
  ~Stage2Test() override {
    destroy(stage2);
    EXPECT_EQ(pool.free_pages(), pool.total_pages());
  }
  std::set<std::uint32_t> bits(Stage2::Bitmap kind) { return hyp::bits(stage2, kind); }

  FakeRam ram{512};
  PagePool pool{ram.memory()};
  FakeMaintenance maintenance;
  Stage2 stage2{pool, maintenance, 3};
};
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
  EXPECT_EQ(stage2.discard(0, Stage2::piece_pages), MapStatus::ok);
  EXPECT_EQ(stage2.discard(0, Stage2::piece_pages + 1), MapStatus::invalid);
  Words words;
  EXPECT_EQ(stage2.fetch(Stage2::Bitmap::populated, 1, words), MapStatus::invalid);
  EXPECT_EQ(stage2.fetch(Stage2::Bitmap::populated, 2 * Stage2::bitmap_pages, words), MapStatus::invalid);
  EXPECT_EQ(stage2.fetch(static_cast<Stage2::Bitmap>(2), 0, words), MapStatus::invalid);
  EXPECT_EQ(stage2.fetch(Stage2::Bitmap::dirty, 0, words), MapStatus::invalid) << "the log is off";
}

TEST_F(Stage2Test, StopsAtTheBoundUntilSomethingIsDiscarded) {
  for (std::uint32_t i = 0; i < 100; ++i) {
    ASSERT_EQ(stage2.touch(at(i * 7)), Touch::mapped);
    ram.scribble(*stage2.translate(at(i * 7)));
  }
  EXPECT_EQ(touch(stage2, at(1)), Touch::out_of_memory);
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
  log_start(stage2);
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
  log_stop(stage2);
  EXPECT_FALSE(stage2.logging());
}

TEST_F(Stage2Test, ProtectsWhatIsCleanWhileLogging) {
  const auto is_writable = [&](std::uint32_t index) { return walk(ram, stage2, index).writable(); };
  ASSERT_EQ(stage2.touch(at(600)), Touch::mapped);
  EXPECT_TRUE(is_writable(600));
  log_start(stage2);
  EXPECT_FALSE(is_writable(600));
  ASSERT_EQ(stage2.touch(at(600)), Touch::mapped);
  EXPECT_TRUE(is_writable(600));
  bits(Stage2::Bitmap::dirty);
  EXPECT_FALSE(is_writable(600));
  log_stop(stage2);
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
  destroy(stage2);
  EXPECT_EQ(pool.free_pages(), pool.total_pages());
}

TEST(Stage2Create, LeavesNothingBehindWhenThePoolIsShort) {
  for (std::uint32_t pages = 1; pages < 12; ++pages) {
    FakeRam ram(pages + 1);  // and the pool's records
    PagePool pool(ram.memory());
    ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
    FakeMaintenance maintenance;
    Stage2 stage2(pool, maintenance, 1);
    const MapStatus status = stage2.create(ram_base, ram_pages, 16);
    EXPECT_EQ(status, pages < 7 ? MapStatus::out_of_pages : MapStatus::ok);
    if (status == MapStatus::ok) {
      const std::uint32_t populated = pages < 10 ? 0 : 1;  // two tables and the page itself
      EXPECT_EQ(stage2.touch(at(0)), populated != 0 ? Touch::mapped : Touch::out_of_memory);
      EXPECT_EQ(stage2.populated_pages(), populated);
      destroy(stage2);
    }
    EXPECT_EQ(pool.free_pages(), pages);
  }
}

TEST(Stage2Create, OverheadIsEnoughForEveryPageTouched) {
  constexpr std::uint32_t size = 5000;
  FakeRam ram(size + Stage2::overhead_pages(size) + 1);
  PagePool pool(ram.memory());
  ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
  FakeMaintenance maintenance;
  Stage2 stage2(pool, maintenance, 1);
  ASSERT_EQ(stage2.create(ram_base, size, size), MapStatus::ok);
  ASSERT_EQ(stage2.map_device(Ipa(0x0801'0000), Phys(0x0804'0000), 0x2000, true), MapStatus::ok);
  ASSERT_EQ(stage2.map_device(Ipa(0x0a00'0000), Phys(0x8000'0000), 0x1000, false), MapStatus::ok);
  for (std::uint32_t i = 0; i < size; ++i) ASSERT_EQ(stage2.touch(at(i)), Touch::mapped);
  destroy(stage2);
  EXPECT_EQ(pool.free_pages(), pool.total_pages());
}

// Blocks: 24 MiB of memory, 16 of them RAM of one instance.
struct Stage2Blocks : testing::Test {
  static constexpr std::uint32_t blocks = 8, pages = blocks * block_pages;

  Stage2Blocks() { EXPECT_TRUE(pool.add_range(ram.base(), ram.size())); }
  void create(std::uint32_t bound) {
    scrub_all();
    ASSERT_EQ(stage2.create(ram_base, pages, bound), MapStatus::ok);
  }
  ~Stage2Blocks() override {
    destroy(stage2);
    EXPECT_EQ(pool.free_pages(), pool.total_pages());
  }
  void scrub_all() {
    while (const auto page = pool.borrow_dirty()) {
      std::memset(ram.memory().at(*page), 0, page_bytes);
      pool.give_back(*page, true);
    }
  }
  std::uint32_t& content(std::uint32_t index) {
    return *static_cast<std::uint32_t*>(ram.memory().at(*stage2.translate(at(index))));
  }
  Touch touch(std::uint32_t index) { return hyp::touch(stage2, at(index)); }
  std::uint32_t level(std::uint32_t index) { return walk(ram, stage2, index).level; }

  FakeRam ram{12 * block_pages};
  PagePool pool{ram.memory()};
  FakeMaintenance maintenance;
  Stage2 stage2{pool, maintenance, 3};
};

TEST_F(Stage2Blocks, PopulatesBlocksFarFromTheBoundAndPagesNearIt) {
  create(4 * block_pages);
  for (const std::uint32_t block : {5u, 0u, 7u}) {
    ASSERT_EQ(touch(block * block_pages + 77), Touch::mapped);
    EXPECT_EQ(level(block * block_pages), 2u);
    EXPECT_EQ(level(block * block_pages + 511), 2u);
  }
  EXPECT_EQ(stage2.populated_pages(), 3 * block_pages);
  EXPECT_TRUE(maintenance.cleaned.empty()) << "the block was clean";
  ASSERT_EQ(touch(block_pages + 77), Touch::mapped);
  EXPECT_EQ(level(block_pages + 77), 3u);
  EXPECT_EQ(stage2.populated_pages(), 3 * block_pages + 1);
  EXPECT_EQ(bits(stage2, Stage2::Bitmap::populated).size(), 3 * block_pages + 1);
}

TEST_F(Stage2Blocks, PopulatesPagesWhereABlockDoesNotFit) {
  EXPECT_EQ(stage2.create(ram_base, pages - 1, pages - 1), MapStatus::ok);
  ASSERT_EQ(touch(3), Touch::mapped);
  EXPECT_EQ(level(3), 3u) << "nothing is scrubbed";
  scrub_all();
  ASSERT_EQ(touch(4), Touch::mapped);
  EXPECT_EQ(level(4), 3u) << "a page of the block is populated";
  ASSERT_EQ(touch(pages - 2), Touch::mapped);
  EXPECT_EQ(level(pages - 2), 3u) << "the block ends beyond RAM";
  Phys page;
  ASSERT_EQ(stage2.page(block_pages, page), Touch::mapped);
  EXPECT_EQ(level(block_pages), 3u) << "the host asked";
  log_start(stage2);
  ASSERT_EQ(touch(2 * block_pages), Touch::mapped);
  EXPECT_EQ(level(2 * block_pages), 3u) << "the log is on";
  log_stop(stage2);
  ASSERT_EQ(stage2.discard(3, 2), MapStatus::ok);
  ASSERT_EQ(touch(3), Touch::mapped);
  EXPECT_EQ(level(3), 2u) << "an empty table gives way";
}

TEST_F(Stage2Blocks, KeepsTheRestOfABlockThatIsDiscardedInPart) {
  create(pages);
  ASSERT_EQ(touch(block_pages), Touch::mapped);
  for (std::uint32_t i = 0; i < block_pages; ++i) content(block_pages + i) = i + 1;
  const Phys before = *stage2.translate(at(block_pages + 9));
  discard(stage2, block_pages + 10, 3);
  EXPECT_EQ(level(block_pages + 9), 3u);
  EXPECT_EQ(*stage2.translate(at(block_pages + 9)), before);
  for (std::uint32_t i = 0; i < block_pages; ++i) {
    if (i >= 10 && i < 13) {
      EXPECT_FALSE(stage2.translate(at(block_pages + i)));
    } else {
      ASSERT_EQ(content(block_pages + i), i + 1);
    }
  }
  EXPECT_EQ(stage2.populated_pages(), block_pages - 3);
  ASSERT_EQ(touch(block_pages + 11), Touch::mapped);
  EXPECT_EQ(content(block_pages + 11), 0u);
}

TEST_F(Stage2Blocks, GivesWholeBlocksBackWhole) {
  create(pages);
  ASSERT_EQ(touch(0), Touch::mapped);
  ASSERT_EQ(touch(block_pages), Touch::mapped);
  const std::uint32_t tables = pool.total_pages() - pool.free_pages() - 2 * block_pages;
  discard(stage2, 0, 2 * block_pages);
  EXPECT_EQ(stage2.populated_pages(), 0u);
  EXPECT_EQ(pool.total_pages() - pool.free_pages(), tables) << "nothing was split";
}

TEST_F(Stage2Blocks, LogsWritesToBlocksByPageAndJoinsThemAgain) {
  create(pages);
  ASSERT_EQ(touch(0), Touch::mapped);
  ASSERT_EQ(touch(block_pages), Touch::mapped);
  log_start(stage2);
  EXPECT_EQ(level(0), 2u);
  EXPECT_FALSE(walk(ram, stage2, 0).writable());
  ASSERT_EQ(touch(5), Touch::mapped);
  EXPECT_EQ(level(5), 3u);
  EXPECT_TRUE(walk(ram, stage2, 5).writable());
  EXPECT_FALSE(walk(ram, stage2, 4).writable());
  EXPECT_EQ(level(block_pages), 2u) << "nobody wrote there";
  EXPECT_EQ(bits(stage2, Stage2::Bitmap::dirty), Set{5});
  EXPECT_FALSE(walk(ram, stage2, 5).writable());
  log_stop(stage2);
  EXPECT_EQ(level(5), 2u);
  EXPECT_TRUE(walk(ram, stage2, 5).writable());
  EXPECT_TRUE(walk(ram, stage2, block_pages).writable());
}

TEST_F(Stage2Blocks, GoesOnWhileTheLogBeginsAndEnds) {
  create(pages);
  ASSERT_EQ(touch(0), Touch::mapped);
  ASSERT_EQ(touch(3 * block_pages), Touch::mapped);
  stage2.log_start(0, Stage2::piece_pages);
  ASSERT_EQ(touch(3 * block_pages), Touch::mapped);  // not protected yet
  ASSERT_EQ(touch(1), Touch::mapped);
  in_pieces(Stage2::piece_pages, pages - Stage2::piece_pages, [&](auto first, auto n) { stage2.log_start(first, n); });
  EXPECT_TRUE(walk(ram, stage2, 3 * block_pages).writable()) << "its bit is set already";
  EXPECT_FALSE(walk(ram, stage2, 3 * block_pages + 1).writable());
  EXPECT_EQ(bits(stage2, Stage2::Bitmap::dirty), (Set{1, 3 * block_pages}));
  stage2.log_stop(0, Stage2::piece_pages);
  ASSERT_EQ(touch(3 * block_pages), Touch::mapped);
  EXPECT_TRUE(walk(ram, stage2, 3 * block_pages).writable()) << "before its piece's turn";
  log_stop(stage2);
}

TEST_F(Stage2Blocks, TakesZerosBackAtTheBound) {
  create(2 * block_pages);
  ASSERT_EQ(touch(0), Touch::mapped);
  ASSERT_EQ(level(0), 2u);
  Phys held;
  ASSERT_EQ(stage2.page(7, held), Touch::mapped);
  content(9) = 1;
  std::uint32_t next = block_pages;
  for (; touch(next) == Touch::mapped; ++next) content(next) = 1;
  EXPECT_EQ(stage2.populated_pages(), 2 * block_pages);
  EXPECT_GE(maintenance.invalidated.size(), block_pages - 2) << "no TLB knows what was taken";
  EXPECT_EQ(next, 3 * block_pages - 2) << "all but what the host holds and what is not zero";
  EXPECT_EQ(*stage2.translate(at(7)), held);
  EXPECT_EQ(content(9), 1u);
  EXPECT_EQ(touch(6), Touch::out_of_memory);
  discard(stage2, 7, 1);
  EXPECT_EQ(touch(6), Touch::mapped);
  EXPECT_EQ(content(6), 0u);
}

// An instruction may need several pages of zeros at once.
TEST_F(Stage2Blocks, DoesNotTakeBackWhatItHasJustGiven) {
  create(8);
  for (std::uint32_t i = 0; i < 8; ++i) ASSERT_EQ(touch(i), Touch::mapped);
  EXPECT_EQ(touch(8), Touch::out_of_memory);
}

// Two instances on one pool, each with a TLB that forgets only what it is told to forget: whatever is read is what was
// written there last, or zeros; the log tells of every write; the host's mappings stay true until it gives them up.
class Hardware final : public Maintenance {
 public:
  explicit Hardware(const FakeRam& ram) : ram_(ram) {}
  void publish(const void*, std::uint32_t) override {}
  void invalidate_ipa(Vmid vmid, Ipa address) override {
    tlb_.erase({vmid, static_cast<std::uint32_t>((address - ram_base) / page_bytes)});
  }
  void invalidate_vmid(Vmid vmid) override {
    std::erase_if(tlb_, [vmid](const auto& entry) { return entry.first.first == vmid; });
  }
  void clean_invalidate(Phys, std::uint32_t) override {}
  void invalidate_instructions() override {}

  // Nothing if the access faults.
  std::uint32_t* access(Vmid vmid, const Stage2& stage2, std::uint32_t index, bool write) {
    const auto found = tlb_.try_emplace({vmid, index}, walk(ram_, stage2, index)).first;
    const Walked entry = found->second;
    if (entry.descriptor == 0 || (write && !entry.writable())) {
      if (entry.descriptor == 0) tlb_.erase(found);  // faults are not cached, what is read-only is
      if (entry.descriptor == 0 || !walk(ram_, stage2, index).writable()) return nullptr;
      ADD_FAILURE() << "page " << index << " is writable, but the TLB was not told";
      return nullptr;
    }
    const std::uint64_t offset = entry.level == 2 ? index % block_pages * std::uint64_t{page_bytes} : 0;
    return static_cast<std::uint32_t*>(ram_.memory().at(Phys(entry.descriptor & 0xff'ffff'f000) + offset));
  }

 private:
  const FakeRam& ram_;
  std::map<std::pair<Vmid, std::uint32_t>, Walked> tlb_;
};

struct Tenant {
  Tenant(PagePool& pool, Hardware& hardware, Vmid number)
      : id(number), stage2(std::make_unique<Stage2>(pool, hardware, number)) {}
  Vmid id;
  std::unique_ptr<Stage2> stage2;
  std::map<std::uint32_t, std::uint32_t> content;  // absent: zero
  std::map<std::uint32_t, Phys> held;
  Set written, perhaps;  // since the log was last fetched; what else the log may tell of
  bool logging = false;
};

TEST(Stage2Random, AgreesWithANaiveModel) {
  constexpr std::uint32_t size = 6 * block_pages, bound = 2 * block_pages + 100;
  FakeRam ram(10 * block_pages);
  PagePool pool(ram.memory());
  ASSERT_TRUE(pool.add_range(ram.base() + 37 * page_bytes, ram.size() - 37 * page_bytes));
  Hardware hardware(ram);
  Tenant tenants[] = {{pool, hardware, 1}, {pool, hardware, 2}};
  for (Tenant& one : tenants) ASSERT_EQ(one.stage2->create(ram_base, size, bound), MapStatus::ok);
  std::mt19937 engine(seed(7));
  const auto random = [&](std::uint32_t below) { return static_cast<std::uint32_t>(engine() % below); };
  std::uint32_t blocks_seen = 0, refusals = 0;
  for (std::uint32_t step = 0; step < 60'000; ++step) {
    Tenant& one = tenants[random(2)];
    Stage2& stage2 = *one.stage2;
    const std::uint32_t index = random(4) == 0 ? random(size / 64) * 64 + random(2) : random(size);
    const std::uint32_t operation = random(100);
    if (operation < 75) {  // a load or a store
      const bool write = random(3) != 0;
      std::uint32_t* memory = hardware.access(one.id, stage2, index, write);
      for (int faults = 0; memory == nullptr && faults < 1000; ++faults) {
        const Touch touch = stage2.touch(at(index));
        ASSERT_NE(touch, Touch::outside);
        one.perhaps.insert(index);
        if (touch == Touch::out_of_memory) break;
        memory = hardware.access(one.id, stage2, index, write);
      }
      if (memory == nullptr) {
        ASSERT_EQ(stage2.populated_pages(), bound);
        ++refusals;
        discard(stage2, index / block_pages * block_pages, 64);
        for (std::uint32_t i = 0; i < 64; ++i) {
          const std::uint32_t gone = index / block_pages * block_pages + i;
          one.content.erase(gone), one.held.erase(gone), one.perhaps.insert(gone);
        }
        continue;
      }
      ASSERT_EQ(*memory, one.content.contains(index) ? one.content[index] : 0u) << "page " << index;
      if (write) *memory = one.content[index] = step + 1;
      if (write && one.logging) one.written.insert(index);
      if (walk(ram, stage2, index).level == 2) ++blocks_seen;
    } else if (operation < 80) {
      const std::uint32_t count =
          std::min(size - index, step / 8000 % 2 == 0 && random(10) == 0 ? 1 + random(size) : 1 + random(8));
      discard(stage2, index, count);
      for (std::uint32_t i = index; i < index + count; ++i) {
        one.content.erase(i), one.held.erase(i), one.perhaps.insert(i);
      }
    } else if (operation < 88) {
      Phys page;
      Touch touch;
      do touch = stage2.page(index, page);
      while (touch == Touch::again);
      one.perhaps.insert(index);
      if (touch == Touch::mapped) one.held[index] = page;
    } else if (operation < 96) {
      for (std::uint32_t pages = random(3 * block_pages); pages > 0; --pages) {
        const auto page = pool.borrow_dirty();
        if (!page) break;
        std::memset(ram.memory().at(*page), 0, page_bytes);
        pool.give_back(*page, random(50) != 0);
      }
    } else if (operation == 96) {
      one.logging = !one.logging;
      one.logging ? log_start(stage2) : log_stop(stage2);
      one.written.clear(), one.perhaps.clear();
    } else if (one.logging) {
      const Set dirty = bits(stage2, Stage2::Bitmap::dirty);
      ASSERT_TRUE(std::includes(dirty.begin(), dirty.end(), one.written.begin(), one.written.end()));
      one.perhaps.merge(one.written);
      for (const std::uint32_t page : dirty) {  // zeros may have been taken back
        ASSERT_TRUE(one.perhaps.contains(page) || !one.content.contains(page)) << page;
      }
      one.written.clear(), one.perhaps.clear();
    }
    ASSERT_LE(stage2.populated_pages(), bound);
    if (step % 500 != 0) continue;
    for (Tenant& each : tenants) {
      for (const auto& [page, where] : each.held) ASSERT_EQ(*each.stage2->translate(at(page)), where);
      const Set populated = bits(*each.stage2, Stage2::Bitmap::populated);
      ASSERT_EQ(populated.size(), each.stage2->populated_pages());
      for (std::uint32_t page = 0; page < size; ++page) {
        ASSERT_EQ(populated.contains(page), each.stage2->translate(at(page)).has_value());
      }
    }
  }
  EXPECT_GT(blocks_seen, 50u);
  EXPECT_GT(refusals, 10u);
  for (Tenant& one : tenants) destroy(*one.stage2);
  EXPECT_EQ(pool.free_pages(), pool.total_pages());
}

}  // namespace
}  // namespace amphion::hyp
