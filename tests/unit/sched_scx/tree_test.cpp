// SPDX-License-Identifier: Apache-2.0
// The BPF scheduler's tree, the same text that the verifier sees, against a sorted list.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "sched/scx/shared.h"

namespace {
constexpr unsigned int capacity = 256;
std::array<sbco_node, capacity> nodes;
}  // namespace

#define SBCO_NODE(id) (&nodes.at(id))
#define SBCO_CAN_LOOP true
#include "sched/scx/tree_code.h"

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

}  // namespace
