// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: many changes of the page map at a time.
 */

/**
 * DOC: Runs of pages
 *
 * Who preserves the memory of a virtual machine has runs of pages, or millions
 * of single ones that lie near each other. Both are cheap as long as the tree
 * is not walked for each: a cursor keeps to the bitmap that was used last, and
 * counts there what has changed since it came. A run sets or clears the words of
 * a bitmap, a single page is one bit.
 *
 * Each function does all that it is asked for or nothing.
 */

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/mutex.h>

#include "kho_internal.h"

/* Where in the map changes are made, and what has not been counted there yet. */
struct kho_cursor {
	struct kho_map *map;
	unsigned long *bits;	/* of the keys from @first on; %NULL: nowhere */
	u64 first;
	long more;		/* bits set, less those that were cleared */
	bool emptied;		/* a bitmap on the way was left without a bit */
};

/* Count what has changed where the cursor is. */
static void kho_cursor_settle(struct kho_cursor *cursor)
{
	u64 *node = (u64 *)cursor->bits;

	if (!node || !cursor->more)
		return;
	kho_node_account(node, 0, cursor->more);
	cursor->more = 0;
	if (!kho_node_used(node, 0))
		cursor->emptied = true;
}

static noinline unsigned long *kho_cursor_move(struct kho_cursor *cursor,
					       u64 key, bool make)
{
	struct kho_map *map = cursor->map;

	kho_cursor_settle(cursor);
	if (make)
		cursor->bits = kho_map_leaf_alloc(map, key);
	else
		cursor->bits = (unsigned long *)kho_map_leaf(map->root, key);
	cursor->first = key - kho_map_bit(key);
	/* From now on its bits are counted after they have changed. */
	if (cursor->bits)
		kho_node_used((u64 *)cursor->bits, 0);
	return cursor->bits;
}

/* The bitmap of @key: %NULL if it is not there, or if it cannot be made. */
static unsigned long *kho_cursor_bits(struct kho_cursor *cursor, u64 key,
				      bool make)
{
	if (likely(cursor->bits && key - cursor->first < KHO_MAP_LEAF_BITS))
		return cursor->bits;
	return kho_cursor_move(cursor, key, make);
}

enum kho_map_op {
	KHO_MAP_TEST,		/* they are to be set */
	KHO_MAP_SET,		/* they are to be clear */
	KHO_MAP_CLEAR,		/* they are to be set */
};

/* Whether all bits of a part were as they are to be, and are changed. */
static __always_inline bool kho_map_part_do(unsigned long *bits,
					    unsigned int bit,
					    unsigned long nr,
					    enum kho_map_op op)
{
	unsigned long end = bit + nr;

	if (op == KHO_MAP_SET ? find_next_bit(bits, end, bit) < end :
				find_next_zero_bit(bits, end, bit) < end)
		return false;
	if (op == KHO_MAP_SET)
		bitmap_set(bits, bit, nr);
	else if (op == KHO_MAP_CLEAR)
		bitmap_clear(bits, bit, nr);
	return true;
}

static __always_inline bool kho_map_bit_do(unsigned long *bits,
					   unsigned int bit, enum kho_map_op op)
{
	if (op == KHO_MAP_SET)
		return !__test_and_set_bit(bit, bits);
	if (op == KHO_MAP_CLEAR)
		return __test_and_clear_bit(bit, bits);
	return test_bit(bit, bits);
}

/* What the blocks change in the count of the bitmap. */
static __always_inline long kho_map_more(unsigned long nr, enum kho_map_op op)
{
	return op == KHO_MAP_SET ? nr : op == KHO_MAP_CLEAR ? -nr : 0;
}

/*
 * Go over the blocks of a run. Returns how many were as they are to be: the next
 * one is not, or there is no bitmap for it, and no memory for one if it is to be
 * set. @op is a constant, and a single page costs next to nothing.
 */
static __always_inline unsigned long kho_cursor_do(struct kho_cursor *cursor,
						   const struct kho_run *run,
						   enum kho_map_op op)
{
	u64 key = kho_map_key(run->pfn, run->order);
	unsigned long done, part, *bits;

	if (run->nr == 1) {
		bits = kho_cursor_bits(cursor, key, op == KHO_MAP_SET);
		if (unlikely(!bits ||
			     !kho_map_bit_do(bits, kho_map_bit(key), op)))
			return 0;
		cursor->more += kho_map_more(1, op);
		return 1;
	}
	for (done = 0; done < run->nr; done += part, key += part) {
		bits = kho_cursor_bits(cursor, key, op == KHO_MAP_SET);
		part = kho_map_part(key, run->nr - done);
		if (!bits ||
		    !kho_map_part_do(bits, kho_map_bit(key), part, op))
			break;
		cursor->more += kho_map_more(part, op);
	}
	return done;
}

/*
 * Set single pages whose bits are where the cursor is. Returns how many were set;
 * the next run is for kho_cursor_do().
 */
static unsigned int kho_cursor_set_pages(struct kho_cursor *cursor,
					 const struct kho_run *runs,
					 unsigned int nr)
{
	unsigned long *bits = cursor->bits;
	u64 first = cursor->first - kho_map_key(0, 0);
	unsigned int i;

	if (!bits)
		return 0;
	for (i = 0; i < nr; i++) {
		u64 bit = runs[i].pfn - first;

		if (runs[i].nr != 1 || runs[i].order ||
		    bit >= KHO_MAP_LEAF_BITS || __test_and_set_bit(bit, bits))
			break;
	}
	cursor->more += i;
	return i;
}

/**
 * kho_map_set_runs - add runs of blocks to the map
 * @map:  the map
 * @runs: the runs
 * @nr:   how many
 *
 * Whole words of a bitmap are set at once, so a run costs by its length in
 * words; runs near each other share the way to them.
 *
 * Context: may sleep, takes @map->lock.
 * Return: 0; -ENOMEM without memory for a node; -EEXIST if one of the blocks
 * is in the map. The map is then as before.
 */
int kho_map_set_runs(struct kho_map *map, const struct kho_run *runs,
		     unsigned int nr)
{
	struct kho_cursor cursor = { .map = map };
	unsigned long done = 0;
	unsigned int i = 0;
	int err;

	guard(mutex)(&map->lock);

	for (;;) {
		i += kho_cursor_set_pages(&cursor, runs + i, nr - i);
		if (i == nr)
			break;
		done = kho_cursor_do(&cursor, &runs[i], KHO_MAP_SET);
		if (unlikely(done < runs[i].nr))
			break;
		i++;
	}
	kho_cursor_settle(&cursor);
	if (i == nr)
		return 0;

	err = cursor.bits ? -EEXIST : -ENOMEM;
	__kho_map_clear(map, runs[i].pfn, done, runs[i].order);
	while (i--)
		__kho_map_clear(map, runs[i].pfn, runs[i].nr, runs[i].order);
	return err;
}

/**
 * kho_map_set - add a run of blocks to the map
 * @map:   the map
 * @pfn:   first page of the first block, aligned to 2^@order
 * @nr:    number of blocks that lie one after the other
 * @order: order of each
 *
 * Context: may sleep, takes @map->lock.
 * Return: as kho_map_set_runs().
 */
int kho_map_set(struct kho_map *map, unsigned long pfn, unsigned long nr,
		unsigned int order)
{
	const struct kho_run run = { .pfn = pfn, .nr = nr, .order = order };

	return kho_map_set_runs(map, &run, 1);
}

/* Free the bitmaps on the way of the runs that have no bit left, each looked at once. */
static void kho_map_prune_runs(struct kho_map *map, const struct kho_run *runs,
			       unsigned int nr)
{
	u64 leaf, last = U64_MAX;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		u64 key = kho_map_key(runs[i].pfn, runs[i].order);
		unsigned long done, part;

		for (done = 0; done < runs[i].nr; done += part, key += part) {
			part = kho_map_part(key, runs[i].nr - done);
			leaf = key - kho_map_bit(key);
			if (leaf != last)
				kho_map_prune(map, key);
			last = leaf;
		}
	}
}

/* Bits that were cleared are set again; their bitmaps are still there. */
static void kho_map_put_back(struct kho_cursor *cursor,
			     const struct kho_run *runs, unsigned int nr,
			     unsigned long done)
{
	unsigned int i;

	for (i = 0; i <= nr; i++) {
		struct kho_run part = runs[i];

		if (i == nr)
			part.nr = done;
		kho_cursor_do(cursor, &part, KHO_MAP_SET);
	}
	kho_cursor_settle(cursor);
}

/**
 * kho_map_take_runs - take runs of blocks out of the map if all are there
 * @map:  the map
 * @runs: the runs
 * @nr:   how many
 *
 * Context: may sleep, takes @map->lock.
 * Return: true; or false, the map is as before: a block is not in it at this
 * order, or named twice.
 */
bool kho_map_take_runs(struct kho_map *map, const struct kho_run *runs,
		       unsigned int nr)
{
	struct kho_cursor cursor = { .map = map };
	unsigned long done;
	unsigned int i;

	guard(mutex)(&map->lock);

	for (i = 0; i < nr; i++) {
		done = kho_cursor_do(&cursor, &runs[i], KHO_MAP_CLEAR);
		if (unlikely(done < runs[i].nr)) {
			kho_map_put_back(&cursor, runs, i, done);
			return false;
		}
	}
	kho_cursor_settle(&cursor);
	if (cursor.emptied)
		kho_map_prune_runs(map, runs, nr);
	return true;
}

/**
 * kho_map_take - take a run of blocks out of the map if all of it is there
 * @map:   the map
 * @pfn:   first page of the first block, aligned to 2^@order
 * @nr:    number of blocks that lie one after the other
 * @order: order of each
 *
 * Context: may sleep, takes @map->lock.
 * Return: whether it was.
 */
bool kho_map_take(struct kho_map *map, unsigned long pfn, unsigned long nr,
		  unsigned int order)
{
	const struct kho_run run = { .pfn = pfn, .nr = nr, .order = order };

	return kho_map_take_runs(map, &run, 1);
}

/**
 * kho_map_has_runs - whether runs of blocks are in the map, each at its order
 * @map:  the map
 * @runs: the runs
 * @nr:   how many
 *
 * Context: may sleep, takes @map->lock.
 * Return: true if all of them are.
 */
bool kho_map_has_runs(struct kho_map *map, const struct kho_run *runs,
		      unsigned int nr)
{
	struct kho_cursor cursor = { .map = map };
	unsigned int i;

	guard(mutex)(&map->lock);

	for (i = 0; i < nr; i++) {
		if (kho_cursor_do(&cursor, &runs[i], KHO_MAP_TEST) < runs[i].nr)
			return false;
	}
	return true;
}
