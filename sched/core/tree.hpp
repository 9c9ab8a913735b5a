// SPDX-License-Identifier: MIT OR GPL-2.0-only
// A red-black tree ordered by key whose nodes carry the RB index: the size of the left subtree. It answers in O(log n)
// how many nodes stand before one (the scheduling ordinate) and which stands at a rank.
//
// Nodes are named by index; `Nodes` maps an index to a Node&. The tree owns no memory. Equal keys stand in the order
// of insertion. Keys may wrap around: only differences count, and all keys of a tree lie within 2^63 of one another.
// Thread safety: none.
// Invariants (check()): a search tree; no red node has a red child; all paths have as many black nodes; left_count is
// the size of the left subtree; leftmost_ is the first.
#pragma once

#include <cstdint>

namespace amphion::sched {

inline constexpr uint32_t none = ~uint32_t{0};

// The order of keys.
[[nodiscard]] constexpr bool before(uint64_t a, uint64_t b) { return static_cast<int64_t>(a - b) < 0; }

struct Node {
  uint64_t key = 0;
  uint32_t parent = none;
  uint32_t left = none;
  uint32_t right = none;
  uint32_t left_count = 0;  // the RB index
  bool red = false;
};

template <class Nodes>
class Tree {
 public:
  explicit constexpr Tree(Nodes nodes) : nodes_(nodes) {}

  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] uint32_t first() const { return leftmost_; }

  void insert(uint32_t id) {
    uint32_t parent = none;
    bool leftmost = true;
    for (uint32_t at = root_; at != none;) {
      parent = at;
      if (before(node(id).key, node(at).key)) {
        ++node(at).left_count;
        at = node(at).left;
      } else {
        at = node(at).right;
        leftmost = false;
      }
    }
    Node& fresh = node(id);
    fresh.parent = parent;
    fresh.left = fresh.right = none;
    fresh.left_count = 0;
    fresh.red = true;
    if (leftmost) leftmost_ = id;
    if (parent == none) {
      root_ = id;
    } else if (before(fresh.key, node(parent).key)) {
      node(parent).left = id;
    } else {
      node(parent).right = id;
    }
    ++size_;
    mend_after_insertion(id);
  }

  void erase(uint32_t id) {
    if (leftmost_ == id) leftmost_ = next(id);
    --size_;
    // What leaves its place in the structure: the node itself, or its successor, which then takes the node's place.
    const bool two_children = node(id).left != none && node(id).right != none;
    const uint32_t leaving = two_children ? minimum(node(id).right) : id;
    for (uint32_t at = leaving; node(at).parent != none; at = node(at).parent) {
      if (node(node(at).parent).left == at) --node(node(at).parent).left_count;
    }
    const uint32_t child = node(leaving).left != none ? node(leaving).left : node(leaving).right;
    uint32_t parent = node(leaving).parent;
    const bool black_left = !node(leaving).red;
    replace(leaving, child);
    if (two_children) {
      if (parent == id) parent = leaving;
      take_place(leaving, id);
    }
    if (black_left) mend_after_removal(child, parent);
  }

  // In order; `none` after the last.
  [[nodiscard]] uint32_t next(uint32_t id) const {
    if (node(id).right != none) return minimum(node(id).right);
    uint32_t parent = node(id).parent;
    while (parent != none && node(parent).right == id) {
      id = parent;
      parent = node(parent).parent;
    }
    return parent;
  }

  [[nodiscard]] uint32_t last() const {
    uint32_t at = root_;
    while (at != none && node(at).right != none) at = node(at).right;
    return at;
  }

  [[nodiscard]] uint32_t previous(uint32_t id) const {
    if (node(id).left != none) {
      id = node(id).left;
      while (node(id).right != none) id = node(id).right;
      return id;
    }
    uint32_t parent = node(id).parent;
    while (parent != none && node(parent).left == id) {
      id = parent;
      parent = node(parent).parent;
    }
    return parent;
  }

  // How many stand before it: SCHED_ORDINATE of the dissertation.
  [[nodiscard]] uint32_t rank(uint32_t id) const {
    uint32_t before = node(id).left_count;
    for (uint32_t parent = node(id).parent; parent != none; parent = node(parent).parent) {
      if (node(parent).right == id) before += node(parent).left_count + 1;
      id = parent;
    }
    return before;
  }

  // For tests: false where an invariant does not hold.
  [[nodiscard]] bool check() const {
    if (root_ == none) return size_ == 0 && leftmost_ == none;
    uint32_t count = 0, blacks = 0;
    return !node(root_).red && node(root_).parent == none && check(root_, count, blacks) && count == size_ &&
           leftmost_ == minimum(root_);
  }

 private:
  [[nodiscard]] Node& node(uint32_t id) const { return nodes_(id); }
  [[nodiscard]] bool red(uint32_t id) const { return id != none && node(id).red; }

  [[nodiscard]] uint32_t minimum(uint32_t id) const {
    while (node(id).left != none) id = node(id).left;
    return id;
  }

  // `by`, which may be none, takes the place of `id` under its parent.
  void replace(uint32_t id, uint32_t by) {
    const uint32_t parent = node(id).parent;
    if (parent == none) {
      root_ = by;
    } else if (node(parent).left == id) {
      node(parent).left = by;
    } else {
      node(parent).right = by;
    }
    if (by != none) node(by).parent = parent;
  }

  void take_place(uint32_t id, uint32_t of) {
    replace(of, id);
    node(id).left = node(of).left;
    node(id).right = node(of).right;
    node(id).left_count = node(of).left_count;
    node(id).red = node(of).red;
    if (node(id).left != none) node(node(id).left).parent = id;
    if (node(id).right != none) node(node(id).right).parent = id;
  }

  void rotate_left(uint32_t id) {
    const uint32_t up = node(id).right;
    node(id).right = node(up).left;
    if (node(up).left != none) node(node(up).left).parent = id;
    replace(id, up);
    node(up).left = id;
    node(id).parent = up;
    node(up).left_count += node(id).left_count + 1;
  }

  void rotate_right(uint32_t id) {
    const uint32_t up = node(id).left;
    node(id).left = node(up).right;
    if (node(up).right != none) node(node(up).right).parent = id;
    replace(id, up);
    node(up).right = id;
    node(id).parent = up;
    node(id).left_count -= node(up).left_count + 1;
  }

  void rotate(uint32_t id, bool to_left) { to_left ? rotate_left(id) : rotate_right(id); }

  void mend_after_insertion(uint32_t id) {
    while (red(node(id).parent)) {
      uint32_t parent = node(id).parent;
      const uint32_t grand = node(parent).parent;
      const bool left = node(grand).left == parent;
      const uint32_t uncle = left ? node(grand).right : node(grand).left;
      if (red(uncle)) {
        node(parent).red = node(uncle).red = false;
        node(grand).red = true;
        id = grand;
        continue;
      }
      if ((left ? node(parent).right : node(parent).left) == id) {
        rotate(parent, left);
        parent = id;
      }
      node(parent).red = false;
      node(grand).red = true;
      rotate(grand, !left);
      break;
    }
    node(root_).red = false;
  }

  // `id`, which may be none, under `parent` lacks one black node.
  void mend_after_removal(uint32_t id, uint32_t parent) {
    while (id != root_ && !red(id)) {
      const bool left = node(parent).left == id;
      uint32_t sibling = left ? node(parent).right : node(parent).left;
      if (node(sibling).red) {
        node(sibling).red = false;
        node(parent).red = true;
        rotate(parent, left);
        sibling = left ? node(parent).right : node(parent).left;
      }
      const uint32_t near = left ? node(sibling).left : node(sibling).right;
      uint32_t far = left ? node(sibling).right : node(sibling).left;
      if (!red(near) && !red(far)) {
        node(sibling).red = true;
        id = parent;
        parent = node(id).parent;
        continue;
      }
      if (!red(far)) {
        node(near).red = false;
        node(sibling).red = true;
        rotate(sibling, !left);
        far = sibling;
        sibling = near;
      }
      node(sibling).red = node(parent).red;
      node(parent).red = node(far).red = false;
      rotate(parent, left);
      id = root_;
    }
    if (id != none) node(id).red = false;
  }

  [[nodiscard]] bool check(uint32_t id, uint32_t& count, uint32_t& blacks) const {
    const Node& at = node(id);
    uint32_t left_count = 0, right_count = 0, left_blacks = 0, right_blacks = 0;
    if (at.left != none) {
      if (node(at.left).parent != id || before(at.key, node(at.left).key) || (at.red && node(at.left).red))
        return false;
      if (!check(at.left, left_count, left_blacks)) return false;
    }
    if (at.right != none) {
      if (node(at.right).parent != id || before(node(at.right).key, at.key) || (at.red && node(at.right).red))
        return false;
      if (!check(at.right, right_count, right_blacks)) return false;
    }
    count = left_count + right_count + 1;
    blacks = left_blacks + (at.red ? 0 : 1);
    return at.left_count == left_count && left_blacks == right_blacks;
  }

  Nodes nodes_;
  uint32_t root_ = none;
  uint32_t leftmost_ = none;
  uint32_t size_ = 0;
};

}  // namespace amphion::sched
