// SPDX-License-Identifier: Apache-2.0
// The BPF scheduler's tree, and who of it joins a sibling: the same text that the verifier sees, against a sorted list.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "sched/scx/shared.h"

namespace {
constexpr unsigned int capacity = 256;
std::array<sbco_node, capacity> nodes;
std::array<bool, capacity> would_join;
constexpr unsigned int this_cpu = 3;
}  // namespace

#define SBCO_NODE(id) (&nodes.at(id))
#define SBCO_CAN_LOOP true
#include "sched/scx/tree_code.h"
#define SBCO_WOULD_JOIN(id, cpu) ((cpu) == this_cpu && would_join.at(id))
#define SBCO_ZERO 0
#include "sched/scx/join_code.h"

namespace {

struct Counted {
  unsigned int size = 0, blacks = 0;
};

// A search tree, no red under red, as many black nodes on every path, and true RB indices.
Counted check(unsigned int id, unsigned int parent) {
  if (id == SBCO_NONE) return {0, 1};
  const sbco_node& node = nodes.at(id);
  EXPECT_EQ(node.parent, parent);
  EXPECT_FALSE(node.red != 0 && parent != SBCO_NONE && nodes.at(parent).red != 0);
  const Counted left = check(node.left, id), right = check(node.right, id);
  EXPECT_EQ(node.left_count, left.size);
  EXPECT_EQ(left.blacks, right.blacks);
  return {left.size + right.size + 1, left.blacks + (node.red != 0 ? 0 : 1)};
}

TEST(ScxTree, StandsAsASortedListDoes) {
  for (unsigned int seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    sbco_tree tree{SBCO_NONE, SBCO_NONE, 0};
    std::vector<unsigned int> model;  // in order
    for (int step = 0; step < 2000; ++step) {
      const unsigned int id = static_cast<unsigned int>(random() % (seed % 2 == 0 ? 12 : capacity));
      const auto known = std::find(model.begin(), model.end(), id);
      if (known != model.end()) {
        sbco_erase(&tree, id);
        model.erase(known);
      } else {
        nodes.at(id).key = random() % 64;  // many are equal
        sbco_insert(&tree, id);
        const auto after = std::find_if(model.begin(), model.end(),
                                        [&](unsigned int other) { return nodes.at(other).key > nodes.at(id).key; });
        model.insert(after, id);
      }
      ASSERT_EQ(tree.size, model.size());
      ASSERT_EQ(tree.first, model.empty() ? SBCO_NONE : model.front());
      ASSERT_EQ(sbco_last(&tree), model.empty() ? SBCO_NONE : model.back());
      ASSERT_EQ(check(tree.root, SBCO_NONE).size, model.size());
      ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed << ", step " << step;
      for (std::size_t at = 0; at < model.size(); ++at) {
        ASSERT_EQ(sbco_rank(model[at]), at) << "seed " << seed << ", step " << step;
        ASSERT_EQ(sbco_next(model[at]), at + 1 < model.size() ? model[at + 1] : SBCO_NONE);
        ASSERT_EQ(sbco_previous(model[at]), at > 0 ? model[at - 1] : SBCO_NONE);
      }
    }
  }
}

// The first of eight that would, if it is half a turn ahead at most.
unsigned int joiner(const std::vector<unsigned int>& queue, unsigned long long first_vt, unsigned long long turn_vt) {
  const auto end = queue.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(queue.size(), 8));
  const auto found = std::find_if(queue.begin(), end, [](unsigned int id) { return would_join.at(id); });
  return found != end && 2 * (nodes.at(*found).key - first_vt) <= turn_vt ? *found : SBCO_NONE;
}

TEST(ScxJoiner, IsTheFirstOfTheFirstEightThatAreAboutEqual) {
  std::mt19937 random(1);
  unsigned int somebody = 0, nobody = 0, beyond_eight = 0, too_far = 0;
  for (int round = 0; round < 20'000; ++round) {
    sbco_tree tree{SBCO_NONE, SBCO_NONE, 0};
    std::vector<unsigned int> queue;
    const auto length = random() % 16, one_in = 1 + random() % 12;
    for (unsigned int id = 0; id < length; ++id) {
      nodes.at(id).key = 100 + random() % 40;
      would_join.at(id) = random() % one_in == 0;
      sbco_insert(&tree, id);
      queue.push_back(id);
    }
    std::stable_sort(queue.begin(), queue.end(), [](auto a, auto b) { return nodes.at(a).key < nodes.at(b).key; });
    const unsigned long long first_vt =
        queue.empty() ? 0 : nodes.at(queue.front()).key - random() % 2 * (random() % 20);
    const unsigned long long turn_vt = random() % 80;
    const unsigned int expected = joiner(queue, first_vt, turn_vt);
    ASSERT_EQ(sbco_joiner(&tree, first_vt, turn_vt, this_cpu), expected) << "round " << round;
    (expected == SBCO_NONE ? nobody : somebody)++;
    const auto willing = std::find_if(queue.begin(), queue.end(), [](unsigned int id) { return would_join.at(id); });
    if (willing == queue.end() || expected != SBCO_NONE) continue;
    (willing - queue.begin() >= 8 ? beyond_eight : too_far)++;
  }
  EXPECT_GT(std::min({somebody, nobody, beyond_eight, too_far}), 500u);
}

}  // namespace
