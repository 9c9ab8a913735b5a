// SPDX-License-Identifier: Apache-2.0
// Every single descriptor write is checked when it happens (break-before-make, nothing else disturbed), and the result
// against a naive model: a map from page to (address, attributes).
#include "hyp/page_table.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <set>

#include "tests/unit/hyp/fakes.hpp"

namespace amphion::hyp {
namespace {

struct Recorder {
  std::map<const std::uint64_t*, std::uint64_t> broken;  // cleared, and not yet invalidated
  std::function<void()> after_write;
  std::uint32_t writes = 0;
  std::uint32_t violations = 0;
  std::uint32_t unpublished = 0;
};

bool only_permissions_differ(std::uint64_t a, std::uint64_t b) { return ((a ^ b) & ~(std::uint64_t{3} << 6)) == 0; }

class RecordingMemory {
 public:
  RecordingMemory(Memory memory, Recorder& recorder) : memory_(memory), recorder_(&recorder) {}
  [[nodiscard]] void* at(Phys address) const { return memory_.at(address); }
  static std::uint64_t load(const std::uint64_t* slot) { return *slot; }
  void store(std::uint64_t* slot, std::uint64_t value) const {
    const bool was = (*slot & 1) != 0;
    const bool is = (value & 1) != 0;
    if (was && is && !only_permissions_differ(*slot, value)) ++recorder_->violations;  // make without break
    if (is && recorder_->broken.contains(slot)) ++recorder_->violations;               // make before invalidation
    if (was && !is) recorder_->broken[slot] = *slot;
    *slot = value;
    ++recorder_->writes;
    ++recorder_->unpublished;
    if (recorder_->after_write) recorder_->after_write();
  }

 private:
  Memory memory_;
  Recorder* recorder_;
};

class RecordingTlb {
 public:
  explicit RecordingTlb(Recorder& recorder) : recorder_(&recorder) {}
  void publish(const void*, std::uint32_t) { recorder_->unpublished = 0; }
  void invalidate(Ipa) { invalidate_all(); }
  void invalidate_all() {
    if (recorder_->unpublished != 0) ++recorder_->violations;
    recorder_->broken.clear();
  }

 private:
  Recorder* recorder_;
};

using Table = PageTable<Stage2Format, RecordingMemory, RecordingTlb>;

constexpr std::uint64_t mib2 = 2u << 20;
constexpr std::uint64_t gib = 1u << 30;

struct PageTableTest : testing::Test {
  PageTableTest() { EXPECT_TRUE(pool.add_range(ram.base(), ram.size()) && table.create()); }
  ~PageTableTest() override {
    EXPECT_EQ(recorder.violations, 0u);
    EXPECT_EQ(recorder.unpublished, 0u);
    recorder.after_write = nullptr;
    table.destroy();
    EXPECT_EQ(pool.free_pages(), pool.total_pages());
  }

  FakeRam ram{4096};
  PagePool pool{ram.memory()};
  Recorder recorder;
  Table table{pool, RecordingMemory(ram.memory(), recorder), RecordingTlb(recorder)};
};

TEST_F(PageTableTest, UsesTheLargestBlocksAllowed) {
  ASSERT_EQ(table.map(Ipa(gib), Phys(gib), gib + mib2 + page_bytes, {}, Largest::gib), MapStatus::ok);
  EXPECT_EQ(table.lookup(Ipa(gib))->level, 1u);
  EXPECT_EQ(table.lookup(Ipa(2 * gib))->level, 2u);
  EXPECT_EQ(table.lookup(Ipa(2 * gib + mib2))->level, 3u);
  EXPECT_FALSE(table.lookup(Ipa(2 * gib + mib2 + page_bytes)));
  EXPECT_EQ(table.lookup(Ipa(gib + 0x12345))->address, Phys(gib + 0x12345));
  ASSERT_EQ(table.map(Ipa(0), Phys(0), mib2, {}, Largest::page), MapStatus::ok);
  EXPECT_EQ(table.lookup(Ipa(0))->level, 3u);
  ASSERT_EQ(table.map(Ipa(3 * gib), Phys(3 * gib + mib2), gib, {}, Largest::gib), MapStatus::ok);
  EXPECT_EQ(table.lookup(Ipa(3 * gib))->level, 2u) << "output not aligned to 1 GiB";
}

TEST_F(PageTableTest, RefusesTheFirstIllegalValues) {
  EXPECT_EQ(table.map(Ipa(0), Phys(0), 0, {}), MapStatus::invalid);
  EXPECT_EQ(table.map(Ipa(1), Phys(0), page_bytes, {}), MapStatus::invalid);
  EXPECT_EQ(table.map(Ipa(0), Phys(1), page_bytes, {}), MapStatus::invalid);
  EXPECT_EQ(table.map(Ipa(0), Phys(0), page_bytes + 1, {}), MapStatus::invalid);
  EXPECT_EQ(table.map(Ipa(4 * gib), Phys(0), page_bytes, {}), MapStatus::invalid);
  EXPECT_EQ(table.map(Ipa(4 * gib - page_bytes), Phys(0), 2 * page_bytes, {}), MapStatus::invalid);
  EXPECT_EQ(table.map(Ipa(0), Phys(std::uint64_t{1} << 40), page_bytes, {}), MapStatus::invalid);
  EXPECT_EQ(table.map(Ipa(0), Phys((std::uint64_t{1} << 40) - page_bytes), 2 * page_bytes, {}), MapStatus::invalid);
  EXPECT_EQ(table.map(Ipa(0), Phys(0), ~std::uint64_t{0xfff}, {}), MapStatus::invalid);
  EXPECT_EQ(table.unmap(Ipa(4 * gib), page_bytes), MapStatus::invalid);
  EXPECT_EQ(table.protect(Ipa(0), 0, false), MapStatus::invalid);
  EXPECT_FALSE(table.lookup(Ipa(4 * gib)));
  EXPECT_EQ(recorder.writes, 0u);
  EXPECT_EQ(table.map(Ipa(4 * gib - page_bytes), Phys((std::uint64_t{1} << 40) - page_bytes), page_bytes, {}),
            MapStatus::ok);
}

TEST_F(PageTableTest, KeepsAttributes) {
  for (std::uint32_t i = 0; i < 8; ++i) {
    const Attributes a{(i & 1) != 0, (i & 2) != 0, (i & 4) != 0};
    ASSERT_EQ(table.map(Ipa(i * page_bytes), Phys(0), page_bytes, a), MapStatus::ok);
    EXPECT_EQ(table.lookup(Ipa(i * page_bytes))->attributes, a);
  }
  // DDI 0406C B3.6.2, normal and device, all permitted.
  EXPECT_EQ(Stage2Format::encode({}), 0x7fcu);
  EXPECT_EQ(Stage2Format::encode({true, true, false}), 0x40'0000'0000'06c4u);
  EXPECT_EQ(Stage2Format::vtcr, 0x8000'3540u);
}

TEST_F(PageTableTest, SplitsABlockWithoutLosingTheRest) {
  ASSERT_EQ(table.map(Ipa(gib), Phys(gib), gib, {}, Largest::gib), MapStatus::ok);
  ASSERT_EQ(table.unmap(Ipa(gib + 5 * page_bytes), page_bytes), MapStatus::ok);
  EXPECT_EQ(table.lookup(Ipa(gib + 4 * page_bytes))->address, Phys(gib + 4 * page_bytes));
  EXPECT_FALSE(table.lookup(Ipa(gib + 5 * page_bytes)));
  EXPECT_EQ(table.lookup(Ipa(gib + mib2))->level, 2u);
  ASSERT_EQ(table.protect(Ipa(gib + mib2), page_bytes, false), MapStatus::ok);
  EXPECT_FALSE(table.lookup(Ipa(gib + mib2))->attributes.write);
  EXPECT_TRUE(table.lookup(Ipa(gib + mib2 + page_bytes))->attributes.write);
  const std::uint32_t before = pool.free_pages();
  ASSERT_EQ(table.map(Ipa(gib), Phys(gib), gib, {}, Largest::gib), MapStatus::ok);
  EXPECT_EQ(pool.free_pages(), before + 3) << "tables below the new block are freed";
}

TEST_F(PageTableTest, SplitsAndMergesOneBlock) {
  ASSERT_EQ(table.map(Ipa(gib), Phys(gib + mib2), 2 * mib2, {}, Largest::mib2), MapStatus::ok);
  const std::uint32_t before = pool.free_pages();
  ASSERT_TRUE(table.split(Ipa(gib + 5 * page_bytes)));
  EXPECT_EQ(table.lookup(Ipa(gib + 7 * page_bytes))->address, Phys(gib + mib2 + 7 * page_bytes));
  EXPECT_EQ(table.lookup(Ipa(gib))->level, 3u);
  EXPECT_EQ(table.lookup(Ipa(gib + mib2))->level, 2u);
  ASSERT_EQ(table.protect(Ipa(gib), page_bytes, false), MapStatus::ok);
  table.merge(Ipa(gib));
  EXPECT_EQ(table.lookup(Ipa(gib))->level, 3u) << "not all the same";
  ASSERT_EQ(table.protect(Ipa(gib), page_bytes, true), MapStatus::ok);
  table.merge(Ipa(gib));
  EXPECT_EQ(table.lookup(Ipa(gib))->level, 2u);
  EXPECT_EQ(pool.free_pages(), before);
}

TEST_F(PageTableTest, VisitsPagesAndPartsOfBlocks) {
  ASSERT_EQ(table.map(Ipa(gib), Phys(gib), 2 * mib2, {}, Largest::mib2), MapStatus::ok);
  ASSERT_TRUE(table.split(Ipa(gib)));
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seen;
  table.visit_leaves(Ipa(gib + mib2 - 2 * page_bytes), 5 * page_bytes, [&](const Table::Slot& slot) {
    EXPECT_EQ(slot.block(), slot.start >= Ipa(gib + mib2));
    seen.emplace_back(slot.start.value() - gib, slot.bytes);
  });
  EXPECT_EQ(seen, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{
                      {mib2 - 2 * page_bytes, page_bytes}, {mib2 - page_bytes, page_bytes}, {mib2, 3 * page_bytes}}));
}

struct Page {
  std::uint64_t address;
  Attributes attributes;
  bool operator==(const Page&) const = default;
};
using Model = std::map<std::uint64_t, Page>;

// Twelve areas of four pages each, around the borders where levels change.
std::vector<std::uint64_t> make_interesting_pages() {
  std::vector<std::uint64_t> pages;
  for (const std::uint64_t base : {std::uint64_t{0}, gib, 2 * gib, 3 * gib}) {
    for (const std::uint64_t offset : {std::uint64_t{0}, mib2 - 2 * page_bytes, 7 * mib2 - 2 * page_bytes}) {
      for (std::uint64_t i = 0; i < 4; ++i) pages.push_back(base + offset + i * page_bytes);
    }
  }
  pages.push_back(4 * gib - page_bytes);
  return pages;
}

const std::vector<std::uint64_t>& interesting_pages() {
  static const std::vector<std::uint64_t> pages = make_interesting_pages();
  return pages;
}

struct Operation {
  std::uint32_t kind;
  std::uint64_t start, bytes, output;
  Attributes attributes;
  Largest largest;
};

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t n) { return engine_() % n; }
  Operation operation() {
    static constexpr std::uint64_t units[] = {page_bytes, mib2, gib};
    const std::uint64_t unit = units[below(3)];
    const auto& pages = pages_;
    const std::uint64_t start = pages[below(pages.size())] / unit * unit;
    const std::uint64_t bytes = std::min((1 + below(3)) * unit, 4 * gib - start);
    const std::uint64_t output = below(2) != 0 ? start : below(1u << 20) * units[below(3)] % (std::uint64_t{1} << 39);
    const auto largest = static_cast<Largest>(1 + below(unit == gib ? 2 : 3));  // no gibibytes of single pages
    return {static_cast<std::uint32_t>(below(5)),          start,  bytes, output,
            {below(2) != 0, below(2) != 0, below(2) != 0}, largest};
  }

 private:
  std::mt19937 engine_;
  std::vector<std::uint64_t> pages_ = interesting_pages();
};

MapStatus run(Table& table, const Operation& op) {
  switch (op.kind) {
    case 0:
      return table.map(Ipa(op.start), Phys(op.output), op.bytes, op.attributes, op.largest);
    case 1:
      return table.unmap(Ipa(op.start), op.bytes);
    case 3:
      return table.split(Ipa(op.start)) ? MapStatus::ok : MapStatus::out_of_pages;
    case 4:
      table.merge(Ipa(op.start));
      return MapStatus::ok;
    default:
      return table.protect(Ipa(op.start), op.bytes, op.attributes.write);
  }
}

void run(Model& model, const Operation& op) {
  for (const std::uint64_t page : interesting_pages()) {
    if (page < op.start || page >= op.start + op.bytes) continue;
    if (op.kind == 0) model[page] = {page - op.start + op.output, op.attributes};
    if (op.kind == 1) model.erase(page);
    if (op.kind == 2 && model.contains(page)) model[page].attributes.write = op.attributes.write;
  }
}

Model contents(const Table& table) {
  Model model;
  for (const std::uint64_t page : interesting_pages()) {
    if (const auto leaf = table.lookup(Ipa(page))) model[page] = {leaf->address.value(), leaf->attributes};
  }
  return model;
}

TEST_F(PageTableTest, AgreesWithANaiveModelInEveryState) {
  Random random(1);
  Model model;
  for (int i = 0; i < 300; ++i) {
    const Operation op = random.operation();
    Model next = model;
    run(next, op);
    std::uint32_t strange = 0;
    std::uint32_t states = 0;
    recorder.after_write = [&] {  // each page is as before, as after, or being broken
      if (++states > 30 && states % 61 != 0) return;
      for (const auto& [page, now] : contents(table)) {
        const bool before = model.contains(page) && model.at(page) == now;
        const bool after = next.contains(page) && next.at(page) == now;
        if (!before && !after) ++strange;
      }
    };
    const MapStatus status = run(table, op);
    recorder.after_write = nullptr;
    ASSERT_EQ(strange, 0u) << "operation " << i;
    if (status == MapStatus::ok) model = next;
    ASSERT_EQ(contents(table), model) << "operation " << i;
    ASSERT_EQ(recorder.violations, 0u) << "operation " << i;
    if (pool.free_pages() < 2000) {
      ASSERT_EQ(table.unmap(Ipa(0), 4 * gib), MapStatus::ok);
      model.clear();
    }
  }
}

TEST(PageTableOutOfPages, ChangesNothingWhateverTheShortage) {
  for (std::uint32_t pages = 1; pages < 12; ++pages) {
    const FakeRam ram(pages + 1);  // and the pool's records
    PagePool pool(ram.memory());
    ASSERT_TRUE(pool.add_range(ram.base(), ram.size()));
    Recorder recorder;
    Table table(pool, RecordingMemory(ram.memory(), recorder), RecordingTlb(recorder));
    ASSERT_TRUE(table.create());
    Random random(pages);
    Model model;
    for (int i = 0; i < 300; ++i) {
      const Operation op = random.operation();
      const std::uint32_t writes = recorder.writes;
      const std::uint32_t free = pool.free_pages();
      const MapStatus status = run(table, op);
      ASSERT_NE(status, MapStatus::invalid);
      if (status == MapStatus::ok) {
        run(model, op);
      } else {
        ASSERT_EQ(recorder.writes, writes);
        ASSERT_EQ(pool.free_pages(), free);
      }
      ASSERT_EQ(contents(table), model);
    }
    EXPECT_EQ(recorder.violations, 0u);
    table.destroy();
    EXPECT_EQ(pool.free_pages(), pages);
  }
}

}  // namespace
}  // namespace amphion::hyp
