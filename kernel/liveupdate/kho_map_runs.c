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

static unsigned long kho_cursor_set_run(struct kho_cursor *cursor,
					const struct kho_run *run)
{
	u64 key = kho_map_key(run->pfn, run->order);
	unsigned long done, part;

	for (done = 0; done < run->nr; done += part, key += part) {
		unsigned long *bits = kho_cursor_bits(cursor, key, true);
		unsigned int bit = kho_map_bit(key);

		part = kho_map_part(key, run->nr - done);
		if (!bits)
			break;
		if (find_next_bit(bits, bit + part, bit) < bit + part)
			break;
		bitmap_set(bits, bit, part);
		cursor->more += part;
	}
	return done;
}

/*
 * Set the blocks of a run. Returns how many; the next one is set already, or
 * there is no memory for its bitmap.
 */
static __always_inline unsigned long kho_cursor_set(struct kho_cursor *cursor,
						    const struct kho_run *run)
{
	unsigned long *bits;
	u64 key;

	if (run->nr > 1)
		return kho_cursor_set_run(cursor, run);

	key = kho_map_key(run->pfn, run->order);
	bits = kho_cursor_bits(cursor, key, true);
	if (unlikely(!bits || __test_and_set_bit(kho_map_bit(key), bits)))
		return 0;
	cursor->more++;
	return 1;
}

static unsigned long kho_cursor_clear_run(struct kho_cursor *cursor,
					  const struct kho_run *run)
{
	u64 key = kho_map_key(run->pfn, run->order);
	unsigned long done, part;

	for (done = 0; done < run->nr; done += part, key += part) {
		unsigned long *bits = kho_cursor_bits(cursor, key, false);
		unsigned int bit = kho_map_bit(key);

		part = kho_map_part(key, run->nr - done);
		if (!bits)
			break;
		if (find_next_zero_bit(bits, bit + part, bit) < bit + part)
			break;
		bitmap_clear(bits, bit, part);
		cursor->more -= part;
	}
	return done;
}

/* Clear the blocks of a run, up to one that is not set. Returns how many. */
static unsigned long kho_cursor_clear(struct kho_cursor *cursor,
				      const struct kho_run *run)
{
	unsigned long *bits;
	u64 key;

	if (run->nr > 1)
		return kho_cursor_clear_run(cursor, run);

	key = kho_map_key(run->pfn, run->order);
	bits = kho_cursor_bits(cursor, key, false);
	if (unlikely(!bits || !__test_and_clear_bit(kho_map_bit(key), bits)))
		return 0;
	cursor->more--;
	return 1;
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
	unsigned int i;
	int err;

	guard(mutex)(&map->lock);

	for (i = 0; i < nr; i++) {
		done = kho_cursor_set(&cursor, &runs[i]);
		if (unlikely(done < runs[i].nr))
			break;
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

/* Free the bitmaps on the way of a run that have no bit left. */
static void kho_map_prune_run(struct kho_map *map, const struct kho_run *run)
{
	u64 key = kho_map_key(run->pfn, run->order);
	unsigned long done, part;

	for (done = 0; done < run->nr; done += part) {
		part = kho_map_part(key + done, run->nr - done);
		kho_map_prune(map, key + done);
	}
}

/* Bits that were cleared are set again; their bitmaps are still there. */
static void kho_map_put_back(struct kho_cursor *cursor,
			     const struct kho_run *runs, unsigned int nr,
			     unsigned long done)
{
	struct kho_run part = runs[nr];
	unsigned int i;

	part.nr = done;
	if (done)
		kho_cursor_set(cursor, &part);
	for (i = 0; i < nr; i++)
		kho_cursor_set(cursor, &runs[i]);
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
		done = kho_cursor_clear(&cursor, &runs[i]);
		if (unlikely(done < runs[i].nr)) {
			kho_map_put_back(&cursor, runs, i, done);
			return false;
		}
	}
	kho_cursor_settle(&cursor);
	for (i = 0; i < nr && cursor.emptied; i++)
		kho_map_prune_run(map, &runs[i]);
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

static bool kho_cursor_test_run(struct kho_cursor *cursor,
				const struct kho_run *run)
{
	u64 key = kho_map_key(run->pfn, run->order);
	unsigned long done, part;

	for (done = 0; done < run->nr; done += part, key += part) {
		unsigned long *bits = kho_cursor_bits(cursor, key, false);
		unsigned int bit = kho_map_bit(key);

		part = kho_map_part(key, run->nr - done);
		if (!bits)
			return false;
		if (find_next_zero_bit(bits, bit + part, bit) < bit + part)
			return false;
	}
	return true;
}

static bool kho_cursor_test(struct kho_cursor *cursor,
			    const struct kho_run *run)
{
	unsigned long *bits;
	u64 key;

	if (run->nr > 1)
		return kho_cursor_test_run(cursor, run);

	key = kho_map_key(run->pfn, run->order);
	bits = kho_cursor_bits(cursor, key, false);
	return bits && test_bit(kho_map_bit(key), bits);
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
		if (!kho_cursor_test(&cursor, &runs[i]))
			return false;
	}
	return true;
}
