// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: the map of preserved pages.
 */

/**
 * DOC: Page map
 *
 * Which pages are preserved, and in blocks of which order, is one set of
 * 64-bit keys. A block of order ``o`` whose first page frame is ``pfn`` has::
 *
 *	key = 1 << (52 - o) | pfn >> o		(PAGE_SHIFT 12)
 *
 * so that the highest bit tells the order and the rest the place. The set is
 * kept in a radix tree of pages, because pages are what the next kernel can
 * find by their physical address::
 *
 *	level 5     root, 512 addresses         key bits 51..59
 *	levels 4-1  tables, 512 addresses each  9 bits each
 *	level 0     bitmap, 32768 bits          key bits 0..14
 *
 * Invariants:
 *
 * - The map is what it says at every moment: there is no step before the kexec
 *   that brings it up to date.
 * - A node that is empty does not exist, but for the root.
 * - Nodes are ordinary pages that are not in the map. They never lie in
 *   scratch, because they are allocated unmovable.
 * - A page is covered by at most one block.
 *
 * The tree that the previous kernel left is taken on as our own: restoring a
 * page clears its bit, preserving one sets it, and what nobody asked for is
 * still there at the next kexec.
 *
 * How many slots or bits of a node are in use is in the page_private() of its
 * page, plus one. Zero means not counted yet: a node of the previous kernel.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/crc32.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/mutex.h>

#include "kho_internal.h"

#define KHO_MAP_ROOT_LEVEL	(KHO_MAP_LEVELS - 1)

/* The map that is handed over. */
struct kho_map kho_map = {
	.lock = __MUTEX_INITIALIZER(kho_map.lock),
};

static unsigned int kho_map_slot(u64 key, unsigned int level)
{
	key >>= KHO_MAP_LEAF_SHIFT + (level - 1) * KHO_MAP_TABLE_SHIFT;
	return key & (KHO_MAP_TABLE_SLOTS - 1);
}

/**
 * kho_node_used - how many slots or bits of a node are in use
 * @node:  the node
 * @level: its level, 0 for a bitmap
 *
 * Context: the map's lock is held.
 * Return: the number.
 */
unsigned long kho_node_used(const u64 *node, unsigned int level)
{
	struct page *page = virt_to_page(node);
	unsigned long used = 0;
	unsigned int i;

	if (page_private(page))
		return page_private(page) - 1;

	if (level) {
		for (i = 0; i < KHO_MAP_TABLE_SLOTS; i++)
			used += !!node[i];
	} else {
		used = bitmap_weight((unsigned long *)node, KHO_MAP_LEAF_BITS);
	}
	set_page_private(page, used + 1);
	return used;
}

/**
 * kho_node_account - count slots or bits of a node
 * @node:  the node
 * @level: its level, 0 for a bitmap
 * @nr:    how many more are in use
 *
 * Context: the map's lock is held. If kho_node_used() was never called for the
 * node, this comes before the change that it counts.
 */
void kho_node_account(const u64 *node, unsigned int level, long nr)
{
	unsigned long used = kho_node_used(node, level);

	set_page_private(virt_to_page(node), used + nr + 1);
}

VISIBLE_IF_KUNIT struct page *kho_node_page(void)
{
	KUNIT_STATIC_STUB_REDIRECT(kho_node_page);

	/* Who is killed for memory may wait for the lock that is held here. */
	return alloc_page(GFP_KERNEL | __GFP_ZERO | __GFP_RETRY_MAYFAIL);
}

static u64 *kho_node_alloc(void)
{
	struct page *page = kho_node_page();

	if (!page)
		return NULL;
	set_page_private(page, 1);
	return page_address(page);
}

static void kho_node_free(u64 *node)
{
	struct page *page = virt_to_page(node);

	set_page_private(page, 0);
	/* A node of the previous kernel was kept out of the allocator. */
	if (PageReserved(page))
		free_reserved_page(page);
	else
		__free_page(page);
}

/**
 * kho_map_leaf - the bitmap that holds a key
 * @node: root of the map
 * @key:  the key
 *
 * Context: the caller excludes changes.
 * Return: the bitmap, or %NULL if no key near it is in the map.
 */
u64 *kho_map_leaf(u64 *node, u64 key)
{
	unsigned int level;

	for (level = KHO_MAP_ROOT_LEVEL; level; level--) {
		u64 child = node[kho_map_slot(key, level)];

		if (!child)
			return NULL;
		node = phys_to_virt(child);
	}
	return node;
}

/**
 * kho_map_prune - free the empty nodes on the way to a key, from the bottom
 * @map: the map
 * @key: the key
 *
 * Context: the map's lock is held.
 */
void kho_map_prune(struct kho_map *map, u64 key)
{
	u64 *path[KHO_MAP_LEVELS];
	unsigned int level = KHO_MAP_ROOT_LEVEL;

	path[level] = map->root;
	while (level) {
		u64 child = path[level][kho_map_slot(key, level)];

		if (!child)
			break;
		path[--level] = phys_to_virt(child);
	}

	for (; level < KHO_MAP_ROOT_LEVEL; level++) {
		u64 *parent = path[level + 1];

		if (kho_node_used(path[level], level))
			return;
		kho_node_account(parent, level + 1, -1);
		parent[kho_map_slot(key, level + 1)] = 0;
		kho_node_free(path[level]);
	}
}

/**
 * kho_map_leaf_alloc - the bitmap that holds a key, made if it is not there
 * @map: the map
 * @key: the key
 *
 * Context: may sleep, the map's lock is held.
 * Return: the bitmap, or %NULL without memory.
 */
unsigned long *kho_map_leaf_alloc(struct kho_map *map, u64 key)
{
	u64 *node = map->root;
	unsigned int level;

	for (level = KHO_MAP_ROOT_LEVEL; level; level--) {
		u64 *slot = &node[kho_map_slot(key, level)];

		if (!*slot) {
			u64 *child = kho_node_alloc();

			if (!child) {
				kho_map_prune(map, key);
				return NULL;
			}
			kho_node_account(node, level, 1);
			*slot = virt_to_phys(child);
		}
		node = phys_to_virt(*slot);
	}
	return (unsigned long *)node;
}

/**
 * __kho_map_clear - take a run of blocks out of the map, with the lock held
 * @map:   the map
 * @pfn:   first page of the first block, aligned to 2^@order
 * @nr:    number of blocks that lie one after the other
 * @order: order of each
 *
 * Context: any.
 * Return: whether all of them were in the map.
 */
bool __kho_map_clear(struct kho_map *map, unsigned long pfn, unsigned long nr,
		     unsigned int order)
{
	u64 key = kho_map_key(pfn, order);
	bool all = true;

	lockdep_assert_held(&map->lock);

	while (nr) {
		unsigned long part = kho_map_part(key, nr);
		unsigned int bit = kho_map_bit(key);
		u64 *leaf = kho_map_leaf(map->root, key);

		if (leaf && find_next_zero_bit((unsigned long *)leaf,
					       bit + part, bit) == bit + part) {
			kho_node_account(leaf, 0, -(long)part);
			bitmap_clear((unsigned long *)leaf, bit, part);
			kho_map_prune(map, key);
		} else {
			all = false;
		}
		key += part;
		nr -= part;
	}
	return all;
}

/**
 * kho_map_clear - take a run of blocks out of the map
 * @map:   the map
 * @pfn:   first page of the first block, aligned to 2^@order
 * @nr:    number of blocks that lie one after the other
 * @order: order of each
 *
 * Context: may sleep, takes @map->lock.
 * Return: whether all of them were in the map.
 */
bool kho_map_clear(struct kho_map *map, unsigned long pfn, unsigned long nr,
		   unsigned int order)
{
	guard(mutex)(&map->lock);
	return __kho_map_clear(map, pfn, nr, order);
}

static bool __kho_map_test(struct kho_map *map, unsigned long pfn,
			   unsigned long nr, unsigned int order)
{
	u64 key = kho_map_key(pfn, order);

	while (nr) {
		unsigned long part = kho_map_part(key, nr);
		unsigned int bit = kho_map_bit(key);
		u64 *leaf = kho_map_leaf(map->root, key);

		if (!leaf || find_next_zero_bit((unsigned long *)leaf,
						bit + part, bit) < bit + part)
			return false;
		key += part;
		nr -= part;
	}
	return true;
}

/**
 * kho_map_test - whether a run of blocks is in the map at this order
 * @map:   the map
 * @pfn:   first page of the first block, aligned to 2^@order
 * @nr:    number of blocks that lie one after the other
 * @order: order of each
 *
 * Context: may sleep, takes @map->lock.
 * Return: true if all of them are.
 */
bool kho_map_test(struct kho_map *map, unsigned long pfn, unsigned long nr,
		  unsigned int order)
{
	guard(mutex)(&map->lock);
	return __kho_map_test(map, pfn, nr, order);
}

/**
 * kho_map_find - find the first block of a run that is in the map
 * @map:   the map
 * @pfn:   first page of the first block, aligned to 2^@order
 * @nr:    number of blocks that lie one after the other
 * @order: order of each
 *
 * Context: may sleep, takes @map->lock.
 * Return: the number of blocks before it; @nr if none is in the map.
 */
unsigned long kho_map_find(struct kho_map *map, unsigned long pfn,
			   unsigned long nr, unsigned int order)
{
	u64 key = kho_map_key(pfn, order);
	unsigned long done = 0;

	guard(mutex)(&map->lock);

	while (done < nr) {
		unsigned long part = kho_map_part(key + done, nr - done);
		unsigned int bit = kho_map_bit(key + done);
		u64 *leaf = kho_map_leaf(map->root, key + done);
		unsigned long found = bit + part;

		if (leaf)
			found = find_next_bit((unsigned long *)leaf,
					      bit + part, bit);
		if (found < bit + part)
			return done + found - bit;
		done += part;
	}
	return nr;
}

/**
 * kho_map_take_order - take the block that begins at a page out of the map
 * @map: the map
 * @pfn: the page
 * @max: largest order that the caller can use
 *
 * Context: may sleep, takes @map->lock.
 * Return: the block's order, or -ENOENT if none up to @max begins there.
 */
int kho_map_take_order(struct kho_map *map, unsigned long pfn,
		       unsigned int max)
{
	unsigned int order;

	if (!pfn)
		return -ENOENT;

	guard(mutex)(&map->lock);

	max = min_t(unsigned int, max, __ffs(pfn));
	for (order = 0; order <= max; order++) {
		if (__kho_map_test(map, pfn, 1, order)) {
			__kho_map_clear(map, pfn, 1, order);
			return order;
		}
	}
	return -ENOENT;
}

static int kho_map_walk_node(struct kho_map_walk *walk, phys_addr_t phys,
			     unsigned int level, u64 prefix)
{
	const u64 *node;
	unsigned int i;
	int err;

	err = walk->node ? walk->node(walk, phys) : 0;
	if (err)
		return err;

	node = phys_to_virt(phys);
	if (!level)
		return walk->leaf(walk, prefix << KHO_MAP_LEAF_SHIFT,
				  (const unsigned long *)node);

	for (i = 0; i < KHO_MAP_TABLE_SLOTS; i++) {
		if (!node[i])
			continue;
		err = kho_map_walk_node(walk, node[i], level - 1,
					prefix << KHO_MAP_TABLE_SHIFT | i);
		if (err)
			return err;
	}
	return 0;
}

/**
 * kho_map_walk - walk over every node of a map
 * @walk: what to do with each
 * @root: physical address of the map's root
 *
 * The depth of the walk is that of the tree, whatever is in it; that it ends
 * and where it goes is for @walk->node to see to, which sees each address
 * before it is used.
 *
 * Context: the caller excludes changes.
 * Return: 0, or the first error of @walk->node or @walk->leaf.
 */
int kho_map_walk(struct kho_map_walk *walk, phys_addr_t root)
{
	return kho_map_walk_node(walk, root, KHO_MAP_ROOT_LEVEL, 0);
}

/**
 * kho_map_peek - the bitmap that holds a key
 * @root: physical address of the map's root
 * @key:  the key
 *
 * Context: the caller excludes changes.
 * Return: the bitmap, or %NULL if no key near it is in the map.
 */
const unsigned long *kho_map_peek(phys_addr_t root, u64 key)
{
	return (const unsigned long *)kho_map_leaf(phys_to_virt(root), key);
}

struct kho_map_counter {
	struct kho_map_walk walk;
	unsigned long *nr_by_order;
};

static int kho_map_count_leaf(struct kho_map_walk *walk, u64 key,
			      const unsigned long *bits)
{
	struct kho_map_counter *counter =
		container_of(walk, struct kho_map_counter, walk);

	unsigned long bit = 1;

	if (key) {
		counter->nr_by_order[kho_key_order(key)] +=
			bitmap_weight(bits, KHO_MAP_LEAF_BITS);
		return 0;
	}
	/* The largest orders share the first bitmap; there is no key 0. */
	for_each_set_bit_from(bit, bits, KHO_MAP_LEAF_BITS)
		counter->nr_by_order[kho_key_order(bit)]++;
	return 0;
}

/**
 * kho_map_count - count the preserved blocks of each order
 * @map:         the map
 * @nr_by_order: filled with the number of blocks by order
 *
 * Context: may sleep, takes @map->lock for as long as the walk takes.
 */
void kho_map_count(struct kho_map *map,
		   unsigned long nr_by_order[KHO_MAP_MAX_ORDER + 1])
{
	struct kho_map_counter counter = {
		.walk.leaf = kho_map_count_leaf,
		.nr_by_order = nr_by_order,
	};

	memset(nr_by_order, 0, (KHO_MAP_MAX_ORDER + 1) * sizeof(*nr_by_order));

	guard(mutex)(&map->lock);
	kho_map_walk(&counter.walk, virt_to_phys(map->root));
}

struct kho_map_summer {
	struct kho_map_walk walk;
	struct kho_map_sum *sum;
};

static int kho_map_sum_node(struct kho_map_walk *walk, phys_addr_t phys)
{
	struct kho_map_sum *sum =
		container_of(walk, struct kho_map_summer, walk)->sum;

	sum->nodes++;
	sum->crc = __crc32c_le(sum->crc, phys_to_virt(phys), PAGE_SIZE);
	return 0;
}

static int kho_map_sum_leaf(struct kho_map_walk *walk, u64 key,
			    const unsigned long *bits)
{
	return 0;
}

/**
 * kho_map_sum - checksum and number of a map's nodes
 * @map: the map
 * @sum: filled in
 *
 * Context: at the jump, when nothing else runs; takes no lock.
 */
void kho_map_sum(const struct kho_map *map, struct kho_map_sum *sum)
{
	struct kho_map_summer summer = {
		.walk = { .node = kho_map_sum_node, .leaf = kho_map_sum_leaf },
		.sum = sum,
	};

	sum->nodes = 0;
	sum->crc = ~0;
	kho_map_walk(&summer.walk, virt_to_phys(map->root));
}

/**
 * kho_map_adopt - take the previous kernel's map on as our own
 * @map:  the map
 * @root: physical address of its root, verified
 *
 * Context: once, before any other function that changes the map.
 */
void __init kho_map_adopt(struct kho_map *map, phys_addr_t root)
{
	map->root = phys_to_virt(root);
}

/**
 * kho_map_init - begin with an empty map, unless one was adopted
 * @map: the map, with its lock
 *
 * Return: 0 or -ENOMEM.
 */
int kho_map_init(struct kho_map *map)
{
	if (!map->root)
		map->root = kho_node_alloc();
	return map->root ? 0 : -ENOMEM;
}

/**
 * kho_map_root - physical address of a map's root
 * @map: the map
 *
 * Return: the address; it does not change after boot.
 */
phys_addr_t kho_map_root(const struct kho_map *map)
{
	return virt_to_phys(map->root);
}
