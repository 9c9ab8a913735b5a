/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The red-black tree with the RB index (sched/core/tree.hpp) in C, for BPF and for its test on the PC. Nodes are named
 * by index. Equal keys stand in the order of insertion.
 *
 * Who includes this defines SBCO_NODE(id), the address of a node, masked so that the verifier sees that no index leaves
 * the array, and SBCO_CAN_LOOP, which is true as long as a loop may go on (BPF: the verifier's budget; else: 1).
 * Thread safety: none; the caller holds the lock of the tree.
 */
#ifndef AMPHION_SCHED_SCX_TREE_CODE_H
#define AMPHION_SCHED_SCX_TREE_CODE_H

#include "sched/scx/shared.h"

#define SBCO_FUNCTION static __attribute__((noinline))

SBCO_FUNCTION unsigned int sbco_leftmost(unsigned int id)
{
	while (SBCO_NODE(id)->left != SBCO_NONE && SBCO_CAN_LOOP)
		id = SBCO_NODE(id)->left;
	return id;
}

SBCO_FUNCTION unsigned int sbco_next(unsigned int id)
{
	unsigned int parent;

	if (SBCO_NODE(id)->right != SBCO_NONE)
		return sbco_leftmost(SBCO_NODE(id)->right);
	parent = SBCO_NODE(id)->parent;
	while (parent != SBCO_NONE && SBCO_NODE(parent)->right == id && SBCO_CAN_LOOP) {
		id = parent;
		parent = SBCO_NODE(id)->parent;
	}
	return parent;
}

SBCO_FUNCTION unsigned int sbco_last(struct sbco_tree *tree)
{
	unsigned int id = tree->root;

	while (id != SBCO_NONE && SBCO_NODE(id)->right != SBCO_NONE && SBCO_CAN_LOOP)
		id = SBCO_NODE(id)->right;
	return id;
}

SBCO_FUNCTION unsigned int sbco_previous(unsigned int id)
{
	unsigned int parent;

	if (SBCO_NODE(id)->left != SBCO_NONE) {
		id = SBCO_NODE(id)->left;
		while (SBCO_NODE(id)->right != SBCO_NONE && SBCO_CAN_LOOP)
			id = SBCO_NODE(id)->right;
		return id;
	}
	parent = SBCO_NODE(id)->parent;
	while (parent != SBCO_NONE && SBCO_NODE(parent)->left == id && SBCO_CAN_LOOP) {
		id = parent;
		parent = SBCO_NODE(id)->parent;
	}
	return parent;
}

/* How many stand before it: SCHED_ORDINATE of the dissertation. */
SBCO_FUNCTION unsigned int sbco_rank(unsigned int id)
{
	unsigned int before = SBCO_NODE(id)->left_count;
	unsigned int parent = SBCO_NODE(id)->parent;

	while (parent != SBCO_NONE && SBCO_CAN_LOOP) {
		if (SBCO_NODE(parent)->right == id)
			before += SBCO_NODE(parent)->left_count + 1;
		id = parent;
		parent = SBCO_NODE(id)->parent;
	}
	return before;
}

/* `by`, which may be none, takes the place of `id` under its parent. */
SBCO_FUNCTION void sbco_replace(struct sbco_tree *tree, unsigned int id, unsigned int by)
{
	unsigned int parent = SBCO_NODE(id)->parent;

	if (parent == SBCO_NONE)
		tree->root = by;
	else if (SBCO_NODE(parent)->left == id)
		SBCO_NODE(parent)->left = by;
	else
		SBCO_NODE(parent)->right = by;
	if (by != SBCO_NONE)
		SBCO_NODE(by)->parent = parent;
}

SBCO_FUNCTION void sbco_rotate(struct sbco_tree *tree, unsigned int id, unsigned int to_left)
{
	unsigned int up, inner;

	if (to_left) {
		up = SBCO_NODE(id)->right;
		inner = SBCO_NODE(up)->left;
		SBCO_NODE(id)->right = inner;
	} else {
		up = SBCO_NODE(id)->left;
		inner = SBCO_NODE(up)->right;
		SBCO_NODE(id)->left = inner;
	}
	if (inner != SBCO_NONE)
		SBCO_NODE(inner)->parent = id;
	sbco_replace(tree, id, up);
	SBCO_NODE(id)->parent = up;
	if (to_left) {
		SBCO_NODE(up)->left = id;
		SBCO_NODE(up)->left_count += SBCO_NODE(id)->left_count + 1;
	} else {
		SBCO_NODE(up)->right = id;
		SBCO_NODE(id)->left_count -= SBCO_NODE(up)->left_count + 1;
	}
}

SBCO_FUNCTION unsigned int sbco_red(unsigned int id)
{
	return id != SBCO_NONE && SBCO_NODE(id)->red;
}

SBCO_FUNCTION void sbco_mend_after_insertion(struct sbco_tree *tree, unsigned int id)
{
	unsigned int parent = SBCO_NODE(id)->parent;

	while (sbco_red(parent) && SBCO_CAN_LOOP) {
		unsigned int grand = SBCO_NODE(parent)->parent;
		unsigned int left = SBCO_NODE(grand)->left == parent;
		unsigned int uncle = left ? SBCO_NODE(grand)->right : SBCO_NODE(grand)->left;

		if (sbco_red(uncle)) {
			SBCO_NODE(parent)->red = 0;
			SBCO_NODE(uncle)->red = 0;
			SBCO_NODE(grand)->red = 1;
			id = grand;
			parent = SBCO_NODE(id)->parent;
			continue;
		}
		if ((left ? SBCO_NODE(parent)->right : SBCO_NODE(parent)->left) == id) {
			sbco_rotate(tree, parent, left);
			parent = id;
		}
		SBCO_NODE(parent)->red = 0;
		SBCO_NODE(grand)->red = 1;
		sbco_rotate(tree, grand, !left);
		break;
	}
	SBCO_NODE(tree->root)->red = 0;
}

SBCO_FUNCTION void sbco_insert(struct sbco_tree *tree, unsigned int id)
{
	unsigned long long key = SBCO_NODE(id)->key;
	unsigned int parent = SBCO_NONE, at = tree->root, left = 0, leftmost = 1;

	while (at != SBCO_NONE && SBCO_CAN_LOOP) {
		parent = at;
		left = key < SBCO_NODE(at)->key;
		if (left) {
			SBCO_NODE(at)->left_count++;
			at = SBCO_NODE(at)->left;
		} else {
			at = SBCO_NODE(at)->right;
			leftmost = 0;
		}
	}
	SBCO_NODE(id)->parent = parent;
	SBCO_NODE(id)->left = SBCO_NONE;
	SBCO_NODE(id)->right = SBCO_NONE;
	SBCO_NODE(id)->left_count = 0;
	SBCO_NODE(id)->red = 1;
	if (leftmost)
		tree->first = id;
	if (parent == SBCO_NONE)
		tree->root = id;
	else if (left)
		SBCO_NODE(parent)->left = id;
	else
		SBCO_NODE(parent)->right = id;
	tree->size++;
	sbco_mend_after_insertion(tree, id);
}

/* `id`, which may be none, under `parent` lacks one black node. */
SBCO_FUNCTION void sbco_mend_after_removal(struct sbco_tree *tree, unsigned int id, unsigned int parent)
{
	while (id != tree->root && !sbco_red(id) && SBCO_CAN_LOOP) {
		unsigned int left = SBCO_NODE(parent)->left == id;
		unsigned int sibling = left ? SBCO_NODE(parent)->right : SBCO_NODE(parent)->left;
		unsigned int near, far;

		if (SBCO_NODE(sibling)->red) {
			SBCO_NODE(sibling)->red = 0;
			SBCO_NODE(parent)->red = 1;
			sbco_rotate(tree, parent, left);
			sibling = left ? SBCO_NODE(parent)->right : SBCO_NODE(parent)->left;
		}
		near = left ? SBCO_NODE(sibling)->left : SBCO_NODE(sibling)->right;
		far = left ? SBCO_NODE(sibling)->right : SBCO_NODE(sibling)->left;
		if (!sbco_red(near) && !sbco_red(far)) {
			SBCO_NODE(sibling)->red = 1;
			id = parent;
			parent = SBCO_NODE(id)->parent;
			continue;
		}
		if (!sbco_red(far)) {
			SBCO_NODE(near)->red = 0;
			SBCO_NODE(sibling)->red = 1;
			sbco_rotate(tree, sibling, !left);
			far = sibling;
			sibling = near;
		}
		SBCO_NODE(sibling)->red = SBCO_NODE(parent)->red;
		SBCO_NODE(parent)->red = 0;
		SBCO_NODE(far)->red = 0;
		sbco_rotate(tree, parent, left);
		id = tree->root;
		break;
	}
	if (id != SBCO_NONE)
		SBCO_NODE(id)->red = 0;
}

SBCO_FUNCTION void sbco_take_place(struct sbco_tree *tree, unsigned int id, unsigned int of)
{
	sbco_replace(tree, of, id);
	SBCO_NODE(id)->left = SBCO_NODE(of)->left;
	SBCO_NODE(id)->right = SBCO_NODE(of)->right;
	SBCO_NODE(id)->left_count = SBCO_NODE(of)->left_count;
	SBCO_NODE(id)->red = SBCO_NODE(of)->red;
	if (SBCO_NODE(id)->left != SBCO_NONE)
		SBCO_NODE(SBCO_NODE(id)->left)->parent = id;
	if (SBCO_NODE(id)->right != SBCO_NONE)
		SBCO_NODE(SBCO_NODE(id)->right)->parent = id;
}

SBCO_FUNCTION void sbco_erase(struct sbco_tree *tree, unsigned int id)
{
	/* What leaves its place in the structure: the node, or its successor, which then takes the node's place. */
	unsigned int two = SBCO_NODE(id)->left != SBCO_NONE && SBCO_NODE(id)->right != SBCO_NONE;
	unsigned int leaving = id, at, above, child, parent, black_left;

	if (tree->first == id)
		tree->first = sbco_next(id);
	tree->size--;
	if (two)
		leaving = sbco_leftmost(SBCO_NODE(id)->right);
	at = leaving;
	above = SBCO_NODE(at)->parent;
	while (above != SBCO_NONE && SBCO_CAN_LOOP) {
		if (SBCO_NODE(above)->left == at)
			SBCO_NODE(above)->left_count--;
		at = above;
		above = SBCO_NODE(at)->parent;
	}
	child = SBCO_NODE(leaving)->left != SBCO_NONE ? SBCO_NODE(leaving)->left : SBCO_NODE(leaving)->right;
	parent = SBCO_NODE(leaving)->parent;
	black_left = !SBCO_NODE(leaving)->red;
	sbco_replace(tree, leaving, child);
	if (two) {
		if (parent == id)
			parent = leaving;
		sbco_take_place(tree, leaving, id);
	}
	if (black_left)
		sbco_mend_after_removal(tree, child, parent);
}

#endif
