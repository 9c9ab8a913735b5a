// SPDX-License-Identifier: Apache-2.0
#include "sched/core/tree.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/unit/sched/seed.hpp"

namespace amphion::sched {
namespace {

// Nodes stand apart in their array, as an owner's other data may lie between them.
constexpr uint32_t apart = 7;
struct Spread {
  std::vector<Node>* nodes;
  Node& operator()(uint32_t id) const { return (*nodes)[id * apart + 3]; }
};

class TreeTest : public testing::Test {
 protected:
  static constexpr uint32_t most = 300;

  void insert(uint32_t id, uint64_t key) {
    nodes_[id * apart + 3].key = key;
    tree_.insert(id);
    const auto key_of = [&](uint32_t at) { return nodes_[at * apart + 3].key; };
    const auto place = std::upper_bound(naive_.begin(), naive_.end(), key,
                                        [&](uint64_t a, uint32_t b) { return before(a, key_of(b)); });
    naive_.insert(place, id);
  }
  void erase(uint32_t id) {
    tree_.erase(id);
    naive_.erase(std::find(naive_.begin(), naive_.end(), id));
  }
  [[nodiscard]] bool holds(uint32_t id) const { return std::find(naive_.begin(), naive_.end(), id) != naive_.end(); }

  void compare() const {
    ASSERT_TRUE(tree_.check());
    ASSERT_EQ(tree_.size(), naive_.size());
    ASSERT_EQ(tree_.first(), naive_.empty() ? none : naive_.front());
    ASSERT_EQ(tree_.last(), naive_.empty() ? none : naive_.back());
    for (uint32_t rank = 0; rank < naive_.size(); ++rank) {
      ASSERT_EQ(tree_.rank(naive_[rank]), rank);
      ASSERT_EQ(tree_.next(naive_[rank]), rank + 1 < naive_.size() ? naive_[rank + 1] : none);
      ASSERT_EQ(tree_.previous(naive_[rank]), rank > 0 ? naive_[rank - 1] : none);
    }
  }
  // Inserts and removes until the tree has been full and empty several times.
  void work(Random& random, uint32_t ids, uint64_t origin, uint32_t keys) {
    for (uint32_t step = 0; step < 12 * ids; ++step) {
      const bool grow = step / (2 * ids) % 2 == 0;
      const uint32_t id = random.below(ids);
      if (!holds(id) && (grow || random.one_in(4))) {
        insert(id, origin + random.below(keys));
      } else if (holds(id) && (!grow || random.one_in(4))) {
        erase(id);
      }
      ASSERT_NO_FATAL_FAILURE(compare());
    }
  }

  std::vector<Node> nodes_ = std::vector<Node>(most * apart + 3);
  Tree<Spread> tree_{Spread{&nodes_}};
  std::vector<uint32_t> naive_;
};

TEST_F(TreeTest, IsASortedListInAnyOrderOfOperations) {
  Random random(1);
  for (const uint32_t ids : {1u, 2u, 3u, 7u, 20u, 100u}) ASSERT_NO_FATAL_FAILURE(work(random, ids, 0, 1000));
}

TEST_F(TreeTest, EqualKeysStandInTheOrderOfInsertion) {
  Random random(2);
  for (const uint32_t keys : {1u, 3u}) ASSERT_NO_FATAL_FAILURE(work(random, 60, 5, keys));
}

TEST_F(TreeTest, KeysWrapAround) {
  Random random(3);
  for (const uint64_t origin : {~uint64_t{0} - 500, (uint64_t{1} << 63) - 500}) {
    ASSERT_NO_FATAL_FAILURE(work(random, 60, origin, 1000));
    while (!naive_.empty()) erase(naive_.back());
  }
}

TEST_F(TreeTest, StaysLowWhateverTheOrder) {  // a path longer than 2 log2(n + 1) breaks check(): equal black heights
  for (uint32_t id = 0; id < most; ++id) insert(id, id);
  ASSERT_NO_FATAL_FAILURE(compare());
  for (uint32_t id = 0; id < most; id += 2) erase(id);
  ASSERT_NO_FATAL_FAILURE(compare());
  for (uint32_t id = 0; id < most; id += 2) insert(id, most - id);
  ASSERT_NO_FATAL_FAILURE(compare());
}

TEST_F(TreeTest, CheckSeesAWrongIndex) {
  for (uint32_t id = 0; id < 20; ++id) insert(id, id * 3 % 20);
  for (uint32_t id = 0; id < 20; ++id) {
    ++nodes_[id * apart + 3].left_count;
    EXPECT_FALSE(tree_.check());
    --nodes_[id * apart + 3].left_count;
  }
  EXPECT_TRUE(tree_.check());
}

}  // namespace
}  // namespace amphion::sched
