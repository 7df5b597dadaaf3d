// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: checking the page map of the previous kernel.
 */

/**
 * DOC: Checking the page map
 *
 * A map is believed if its checksum is right, every node is a page of memory of
 * its own, and every block lies in memory that the previous kernel can have
 * preserved, and within no larger block. What must not be preserved are a few
 * ranges: these are looked up in the bitmaps, not the pages in the ranges, so
 * that the cost is that of the nodes.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/crc32.h>
#include <linux/io.h>
#include <linux/log2.h>
#include <linux/memblock.h>
#include <linux/mm.h>

#include "kho_internal.h"

/**
 * kho_is_ram_page - whether an address is that of a page of memory
 * @phys: the address, from another kernel
 *
 * Context: boot, while there is memblock.
 * Return: true if so.
 */
bool __init kho_is_ram_page(phys_addr_t phys)
{
	return phys && PAGE_ALIGNED(phys) &&
	       memblock_is_region_memory(phys, PAGE_SIZE);
}

/* A page where the previous kernel may have left a node. */
VISIBLE_IF_KUNIT bool __init kho_may_hold_node(phys_addr_t phys)
{
	KUNIT_STATIC_STUB_REDIRECT(kho_may_hold_node, phys);

	return kho_is_ram_page(phys) && !kho_scratch_overlap(phys, PAGE_SIZE) &&
	       !memblock_is_region_reserved(phys, PAGE_SIZE);
}

struct kho_verify {
	struct kho_map_walk walk;
	unsigned long max_nodes;
	struct kho_map_sum sum;
	u64 orders;		/* those of the bitmaps so far */
};

static int __init kho_verify_node(struct kho_map_walk *walk, phys_addr_t phys)
{
	struct kho_verify *verify = container_of(walk, struct kho_verify, walk);

	if (++verify->sum.nodes > verify->max_nodes) {
		kho_give_up("page map has more than %lu nodes",
			    verify->max_nodes);
		return -EBADMSG;
	}
	if (!kho_may_hold_node(phys)) {
		kho_give_up("page map has a node at %pa, expected a page of RAM outside of scratch",
			    &phys);
		return -EBADMSG;
	}
	verify->sum.crc = __crc32c_le(verify->sum.crc, phys_to_virt(phys),
				      PAGE_SIZE);
	return 0;
}

/* Whether a bitmap has nothing between two pages; what is there instead if not. */
static bool __init kho_leaf_is_clear(struct kho_leaf *leaf, unsigned long start,
				     unsigned long end, const char *instead)
{
	unsigned long bit, last;

	start = max(start, leaf->start);
	end = min(end, leaf->end);
	if (start >= end)
		return true;

	last = (end - 1 - leaf->start) >> leaf->order;
	bit = find_next_bit(leaf->bits, last + 1,
			    (start - leaf->start) >> leaf->order);
	if (bit > last)
		return true;

	leaf->wrong = leaf->start + (bit << leaf->order);
	leaf->instead = instead;
	return false;
}

/*
 * What must not be preserved are a few ranges, what is may be every second page:
 * look at the ranges, not at the pages.
 */
static bool __init kho_leaf_is_memory(struct kho_leaf *leaf)
{
	unsigned long start, end, hole = 0;
	phys_addr_t from, to;
	u64 i;
	int n;

	for_each_mem_pfn_range(n, MAX_NUMNODES, &start, &end, NULL) {
		if (!kho_leaf_is_clear(leaf, hole, start, "none"))
			return false;
		hole = end;
	}
	if (!kho_leaf_is_clear(leaf, hole, ULONG_MAX, "none"))
		return false;

	for (n = 0; n < kho_scratch_cnt; n++) {
		start = PHYS_PFN(kho_scratch[n].addr);
		end = start + PHYS_PFN(kho_scratch[n].size);
		if (!kho_leaf_is_clear(leaf, start, end, "scratch"))
			return false;
	}
	for_each_reserved_mem_range(i, &from, &to)
		if (!kho_leaf_is_clear(leaf, PFN_DOWN(from), PFN_UP(to),
				       "memory in use"))
			return false;
	return true;
}

/**
 * kho_leaf_init - what the bits of a bitmap stand for
 * @leaf: filled in
 * @key:  key of the first bit, not 0
 * @bits: the bitmap
 *
 * Return: false if no page has such a key.
 */
VISIBLE_IF_KUNIT bool __init kho_leaf_init(struct kho_leaf *leaf, u64 key,
					   const unsigned long *bits)
{
	/* The order would be less than 0. */
	if (key >> KHO_MAP_ORDER0_BIT > 1)
		return false;

	*leaf = (struct kho_leaf) {
		.bits = bits,
		.order = kho_key_order(key),
		.start = kho_key_pfn(key),
	};
	leaf->end = leaf->start + (KHO_MAP_LEAF_BITS << leaf->order);
	return true;
}

/**
 * kho_leaf_is_apart - whether none of a bitmap's blocks lies within a larger one
 * @leaf:   the bitmap
 * @root:   address of the root of the map
 * @orders: the larger orders that occur in the map, one bit each
 *
 * The larger blocks of an order that lie over @leaf are all in one bitmap, which
 * the walk has met before. So this costs by larger blocks, not by pages.
 *
 * Return: true if so; else @leaf says which block it is.
 */
VISIBLE_IF_KUNIT bool __init kho_leaf_is_apart(struct kho_leaf *leaf,
					       phys_addr_t root, u64 orders)
{
	while (orders) {
		unsigned int order = __ffs64(orders);
		u64 key = kho_map_key(leaf->start, order);
		const unsigned long *over = kho_map_peek(root, key);
		unsigned long first = key & (KHO_MAP_LEAF_BITS - 1), bit = first;
		unsigned long end, pfn;

		orders &= orders - 1;
		end = first + max(KHO_MAP_LEAF_BITS >> (order - leaf->order), 1UL);
		if (!over)
			continue;
		for_each_set_bit_from(bit, over, end) {
			pfn = kho_key_pfn(key - first + bit);
			if (!kho_leaf_is_clear(leaf, pfn, pfn + (1UL << order),
					       "a larger block"))
				return false;
		}
	}
	return true;
}

static int __init kho_verify_leaf(struct kho_map_walk *walk, u64 key,
				  const unsigned long *bits)
{
	struct kho_verify *verify = container_of(walk, struct kho_verify, walk);
	struct kho_leaf leaf;
	phys_addr_t phys;

	/* In the first bitmap are orders for which there is no memory. */
	if (!key) {
		unsigned long bit = find_first_bit(bits, KHO_MAP_LEAF_BITS);

		if (bit == KHO_MAP_LEAF_BITS)
			return 0;
		kho_give_up("page map has key %#lx, expected none so low", bit);
		return -EBADMSG;
	}
	if (!kho_leaf_init(&leaf, key, bits)) {
		kho_give_up("page map has a bitmap for key %#llx, expected none so high",
			    key);
		return -EBADMSG;
	}

	if (kho_leaf_is_memory(&leaf) &&
	    kho_leaf_is_apart(&leaf, kho_in.map_root, verify->orders &
			      ~(BIT_ULL(leaf.order + 1) - 1))) {
		verify->orders |= BIT_ULL(leaf.order);
		return 0;
	}
	phys = PFN_PHYS(leaf.wrong);
	kho_give_up("page map has order %u at %pa, expected RAM, found %s",
		    leaf.order, &phys, leaf.instead);
	return -EBADMSG;
}

/*
 * Every leaf of order 0 covers 32768 pages, of order 1 twice as many and so
 * on; there is a table for every 512 of them, and each order may need some of
 * its own.
 */
static unsigned long __init kho_max_nodes(void)
{
	unsigned long leaves = 2 * (max_pfn / KHO_MAP_LEAF_BITS + 1);

	return leaves + leaves / (KHO_MAP_TABLE_SLOTS / 2) +
	       (KHO_MAP_MAX_ORDER + 1) * KHO_MAP_LEVELS;
}

/**
 * kho_verify_map - whether the page map is the one that the checksums are of
 * @check: the checksums
 *
 * Context: boot, when all memory is mapped, before anything else is reserved.
 * Return: true if so, and nothing in it is where no page can be preserved. If
 * not, it has been said, and the map is given up.
 */
bool __init kho_verify_map(const struct kho_check_ser *check)
{
	struct kho_verify verify = {
		.walk = { .node = kho_verify_node, .leaf = kho_verify_leaf },
		.max_nodes = kho_max_nodes(),
		.sum.crc = ~0,
	};

	if (kho_map_walk(&verify.walk, kho_in.map_root))
		return false;

	if (check->map_nodes != verify.sum.nodes ||
	    check->map_crc != verify.sum.crc) {
		kho_give_up("page map has %lu nodes with checksum %#x, expected %llu with %#x",
			    verify.sum.nodes, verify.sum.crc, check->map_nodes,
			    check->map_crc);
		return false;
	}
	return true;
}
