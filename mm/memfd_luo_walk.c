// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: recording the folios of a file, in the kernel that goes.
 */

/**
 * DOC: Recording folios
 *
 * The walk takes folios by the batch: those about which there is nothing to do
 * are pinned and tagged in one go under the lock of the page cache, and recorded
 * by runs. Where one is locked, swapped out, not up to date or in a place where
 * it cannot stay, the walk takes some steps one by one. It needs the same memory
 * for a file of any size, and tells how far it is.
 *
 * A folio that is simply pinned need not be locked for that. Whoever takes
 * folios out of the file (reclaim, migration, a split, a collapse) locks them
 * first, and then either looks for pins or changes the page cache, under its
 * lock and only with no reference too many. The walk pins first, and then looks
 * whether the folio is locked: one of the two sees the other.
 */

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/kexec_handover.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "internal.h"
#include "memfd_luo.h"

#define CREATE_TRACE_POINTS
#include <trace/events/memfd_luo.h>

/* The folio is pinned and recorded. shmem does not use the tag itself. */
#define MEMFD_LUO_TAG		PAGECACHE_TAG_DIRTY

/*
 * Folios that are recorded at a time, for as long as the lock of the page cache
 * may be held with interrupts off; and how many runs they may make at most.
 */
#define MEMFD_LUO_BATCH		256
#define MEMFD_LUO_BATCH_RUNS	128

/* How often, in a row, a batch may have folios that have to be migrated. */
#define MEMFD_LUO_MIGRATE_TRIES	32

/* Folios */

static bool memfd_luo_tagged(struct folio *folio)
{
	return xa_get_mark(&folio->mapping->i_pages, folio->index,
			   MEMFD_LUO_TAG);
}

static void memfd_luo_tag(struct folio *folio, bool set)
{
	XA_STATE(xas, &folio->mapping->i_pages, folio->index);

	xas_lock_irq(&xas);
	xas_load(&xas);
	if (set)
		xas_set_mark(&xas, MEMFD_LUO_TAG);
	else
		xas_clear_mark(&xas, MEMFD_LUO_TAG);
	xas_unlock_irq(&xas);
}

static struct kho_run memfd_luo_run_of(struct folio *folio)
{
	return (struct kho_run) {
		.pfn = folio_pfn(folio),
		.nr = 1,
		.order = folio_order(folio),
	};
}

/* Preserve @folios in @nr runs, and have the memory to record them. */
static int memfd_luo_reserve_runs(struct memfd_luo *luo, unsigned int folios,
				  const struct kho_run *runs, unsigned int nr)
{
	int err = memfd_luo_make_room(&luo->writer, folios, nr);

	if (err)
		return err;
	err = kho_preserve_runs(runs, nr);
	return err == -EEXIST ? -EBUSY : err;
}

/**
 * memfd_luo_prepare - everything about a folio that can fail
 * @luo:   its file; the lock is held
 * @folio: the folio: locked, in the page cache and pinned
 *
 * One beyond the end of the file (fallocated with KEEP_SIZE) is not handed
 * over; it is pinned only lest a collapse replaces the hole before it.
 *
 * Context: may sleep.
 * Return: 0; -EIO if it is broken; -EBUSY if it is preserved otherwise;
 * -ENOMEM.
 */
int memfd_luo_prepare(struct memfd_luo *luo, struct folio *folio)
{
	struct kho_run run = memfd_luo_run_of(folio);

	lockdep_assert_held(&luo->lock);

	if (folio->index >= luo->end)
		return 0;
	if (folio_contain_hwpoisoned_page(folio))
		return -EIO;

	if (!folio_test_uptodate(folio)) {
		folio_zero_range(folio, 0, folio_size(folio));
		flush_dcache_folio(folio);
		folio_mark_uptodate(folio);
	}

	return memfd_luo_reserve_runs(luo, 1, &run, 1);
}

/**
 * memfd_luo_commit - record a folio
 * @luo:   its file; the lock is held
 * @folio: the folio, after memfd_luo_prepare()
 */
void memfd_luo_commit(struct memfd_luo *luo, struct folio *folio)
{
	struct kho_run run = memfd_luo_run_of(folio);

	if (folio->index < luo->end)
		memfd_luo_record_runs(&luo->writer, &folio->index, &run, 1);
	memfd_luo_tag(folio, true);
}

/**
 * memfd_luo_let_go - undo memfd_luo_prepare(), and the pin
 * @luo:   its file
 * @folio: the folio
 *
 * Context: may sleep.
 */
void memfd_luo_let_go(struct memfd_luo *luo, struct folio *folio)
{
	if (folio->index < luo->end)
		kho_unpreserve_run(folio_pfn(folio), 1, folio_order(folio));
	unpin_folio(folio);
}

/* The walk of preserve(): many folios at a time */

struct memfd_luo_batch {
	unsigned int nr;			/* folios */
	unsigned int nr_runs;
	unsigned int max_runs;
	int nid;				/* of all of them */
	unsigned long block;			/* page block of the last one */
	pgoff_t next;				/* after the last one in the file, */
	unsigned long next_pfn;			/* and in memory */
	pgoff_t *index;				/* where runs[] belong */
	struct kho_run runs[] __counted_by(max_runs);
};

/* For a file of @pages: of most files there are many, and they are small. */
static struct memfd_luo_batch *memfd_luo_batch_alloc(pgoff_t pages)
{
	unsigned int max = min(pages, MEMFD_LUO_BATCH_RUNS);
	struct memfd_luo_batch *batch;

	batch = kmalloc(struct_size(batch, runs, max) +
			array_size(max, sizeof(*batch->index)), GFP_KERNEL);
	if (!batch)
		return NULL;
	batch->max_runs = max;
	batch->index = (pgoff_t *)&batch->runs[max];
	return batch;
}

/* Nothing in it; it begins at @index of the file. */
static void memfd_luo_batch_init(struct memfd_luo_batch *batch, pgoff_t index)
{
	batch->nr = 0;
	batch->nr_runs = 0;
	batch->nid = NUMA_NO_NODE;
	batch->block = -1UL;
	batch->next = index;
	/* There is no such page, so the first one makes a run. */
	batch->next_pfn = -1UL;
}

/*
 * Under the lock of the page cache the file's reference is there: no try_get.
 * What is read of the folio afterwards is read after it is pinned.
 */
static __always_inline void memfd_luo_pin_page(struct folio *folio)
{
	folio_ref_add(folio, GUP_PIN_COUNTING_BIAS);
	/* Pairs with the lock bit: who locks a folio looks for pins after it. */
	smp_mb__after_atomic();
}

/* The same for a folio of any order. */
static void memfd_luo_pin(struct folio *folio)
{
	if (!folio_test_large(folio)) {
		memfd_luo_pin_page(folio);
		return;
	}
	folio_ref_inc(folio);
	atomic_inc(&folio->_pincount);
	/* As in memfd_luo_pin_page(). */
	smp_mb__after_atomic();
}

/* Undo memfd_luo_pin(), still under the lock: neither of them is counted. */
static void memfd_luo_unpin(struct folio *folio)
{
	if (folio_test_large(folio)) {
		atomic_dec(&folio->_pincount);
		folio_ref_dec(folio);
	} else {
		folio_ref_sub(folio, GUP_PIN_COUNTING_BIAS);
	}
}

#ifdef CONFIG_MEMORY_FAILURE
#define MEMFD_LUO_POISON	BIT(PG_hwpoison)
#else
#define MEMFD_LUO_POISON	0
#endif

/* Whether there is nothing to do about a single page that is pinned. */
static bool memfd_luo_is_simple_page(struct folio *folio)
{
	return (READ_ONCE(folio->flags) &
		(BIT(PG_locked) | BIT(PG_uptodate) | MEMFD_LUO_POISON)) ==
	       BIT(PG_uptodate);
}

/* The same for a folio of any order. */
static bool memfd_luo_is_simple(struct folio *folio)
{
	return memfd_luo_is_simple_page(folio) &&
	       !folio_contain_hwpoisoned_page(folio);
}

/*
 * Whether folios of its page block may stay where they are; all in a batch are
 * of one node.
 */
static bool memfd_luo_may_stay(struct memfd_luo_batch *batch,
			       struct folio *folio, unsigned long block)
{
	if (batch->nid == NUMA_NO_NODE)
		batch->nid = folio_nid(folio);
	if (folio_nid(folio) != batch->nid || !folio_is_longterm_pinnable(folio))
		return false;
	batch->block = block;
	return true;
}

/* Pin a folio and take it into the batch, if there is room. */
static bool memfd_luo_collect_one(struct memfd_luo_batch *batch,
				  struct folio *folio)
{
	struct kho_run *run = &batch->runs[batch->nr_runs];
	unsigned int order = folio_order(folio);
	unsigned long pfn = folio_pfn(folio);
	unsigned long block = pfn >> pageblock_order;
	bool joins;

	/* A neighbour in memory and in the file makes the last run longer. */
	joins = pfn == batch->next_pfn && folio->index == batch->next &&
		order == run[-1].order;
	if (!joins && batch->nr_runs == batch->max_runs)
		return false;
	if (block != batch->block && !memfd_luo_may_stay(batch, folio, block))
		return false;
	memfd_luo_pin(folio);
	if (!memfd_luo_is_simple(folio)) {
		memfd_luo_unpin(folio);
		return false;
	}

	if (joins) {
		run[-1].nr++;
	} else {
		*run = memfd_luo_run_of(folio);
		batch->index[batch->nr_runs++] = folio->index;
	}
	batch->nr++;
	batch->next_pfn = pfn + (1UL << order);
	return true;
}

static unsigned long *memfd_luo_marks(struct xa_node *node)
{
	return node->marks[(__force unsigned int)MEMFD_LUO_TAG];
}

/* Where an entry of a node has the tag, the nodes above it have it already. */
static void memfd_luo_walk_tag(struct xa_state *xas, unsigned int offset)
{
	unsigned long *marks = memfd_luo_marks(xas->xa_node);

	if (likely(!bitmap_empty(marks, XA_CHUNK_SIZE))) {
		__set_bit(offset, marks);
		return;
	}
	xas->xa_offset = offset;
	xas_set_mark(xas, MEMFD_LUO_TAG);
}

/* Neither a value nor an entry of the xarray's own: those have low bits set. */
static bool memfd_luo_is_folio(const void *entry)
{
	return !((unsigned long)entry & 3);
}

/*
 * memfd_luo_collect_one() for the single pages of a node, from the one on that
 * the walk is at: this is what a file of small pages costs. Returns how many
 * were taken or have the tag already, up to one for which there is more to do.
 */
static unsigned int memfd_luo_collect_pages(struct memfd_luo_batch *batch,
					    struct xa_state *xas, pgoff_t end)
{
	struct kho_run *run = &batch->runs[batch->nr_runs];
	const struct kho_run *last = &batch->runs[batch->max_runs];
	unsigned long *marks = memfd_luo_marks(xas->xa_node);
	pgoff_t first = xas->xa_index - xas->xa_offset, next = batch->next;
	unsigned int stop = min(end - first, XA_CHUNK_MASK) + 1;
	unsigned int offset = xas->xa_offset, seen = 0, nr = 0;
	unsigned long next_pfn = batch->next_pfn;
	/* As many entries as there can be from here on. */
	unsigned int left = xas->xa_node->count;

	for (; left && offset < stop; offset++) {
		struct folio *folio = xa_entry_locked(xas->xa, xas->xa_node,
						      offset);
		pgoff_t index = first + offset;
		unsigned long pfn, block;

		if (!folio)
			continue;
		if (!memfd_luo_is_folio(folio))
			break;
		if (test_bit(offset, marks)) {
			/* What follows is nobody's neighbour. */
			next_pfn = -1UL;
			goto pass;
		}
		if (folio_test_large(folio))
			break;

		pfn = folio_pfn(folio);
		block = pfn >> pageblock_order;
		if (unlikely(block != batch->block) &&
		    !memfd_luo_may_stay(batch, folio, block))
			break;
		/* Room for a run, though it may not be needed. */
		if (run == last)
			break;
		memfd_luo_pin_page(folio);
		if (!memfd_luo_is_simple_page(folio)) {
			memfd_luo_unpin(folio);
			break;
		}

		if (pfn == next_pfn && index == next && !run[-1].order) {
			run[-1].nr++;
		} else {
			batch->index[run - batch->runs] = index;
			run->pfn = pfn;
			run->nr = 1;
			run->order = 0;
			run++;
		}
		memfd_luo_walk_tag(xas, offset);
		next_pfn = pfn + 1;
		nr++;
pass:
		next = index + 1;
		seen++;
		left--;
	}
	/* Holes up to the end of the node need not be looked for again. */
	if ((!left || offset == stop) && next != first + stop) {
		next = first + stop;
		next_pfn = -1UL;
	}

	batch->nr += nr;
	batch->nr_runs = run - batch->runs;
	batch->next = next;
	batch->next_pfn = next_pfn;
	return seen;
}

/*
 * Pin and tag folios from *@index on, up to the first one that is not simple.
 * Nobody but the walk looks at the tags as long as it goes on.
 */
static void memfd_luo_collect(struct memfd_luo *luo,
			      struct memfd_luo_batch *batch, pgoff_t *index)
{
	XA_STATE(xas, &luo->inode->i_mapping->i_pages, *index);
	pgoff_t end = luo->end - 1;
	unsigned int seen = 0, nr;
	struct folio *folio;

	memfd_luo_batch_init(batch, *index);
	/* What is beyond the end is not simple. */
	if (*index >= luo->end)
		return;

	xas_lock_irq(&xas);
	while (seen < MEMFD_LUO_BATCH && (folio = xas_find(&xas, end))) {
		if (xa_is_value(folio))
			break;
		if (xas.xa_node && !xas.xa_node->shift &&
		    !folio_test_large(folio)) {
			nr = memfd_luo_collect_pages(batch, &xas, end);
			if (!nr)
				break;
			seen += nr;
			xas_set(&xas, batch->next);
			continue;
		}
		/* Who has added it has recorded it, too. */
		if (!xas_get_mark(&xas, MEMFD_LUO_TAG)) {
			if (!memfd_luo_collect_one(batch, folio))
				break;
			xas_set_mark(&xas, MEMFD_LUO_TAG);
		} else {
			batch->next_pfn = -1UL;
		}
		batch->next = folio_next_index(folio);
		seen++;
	}
	xas_unlock_irq(&xas);
	*index = batch->next;

	if (batch->nr)
		node_stat_mod_folio(pfn_folio(batch->runs[0].pfn),
				    NR_FOLL_PIN_ACQUIRED, batch->nr);
}

/* Undo memfd_luo_collect(). */
static void memfd_luo_drop(struct memfd_luo_batch *batch)
{
	unsigned long i;

	while (batch->nr_runs--) {
		const struct kho_run *run = &batch->runs[batch->nr_runs];

		for (i = 0; i < run->nr; i++) {
			struct folio *folio;

			folio = pfn_folio(run->pfn + (i << run->order));
			memfd_luo_tag(folio, false);
			unpin_folio(folio);
		}
	}
}

/*
 * Record what can be recorded without further ado.
 *
 * Return: 1 if there was something; 0, nothing at *@index is simple; or an
 * error, all that was recorded before stays.
 */
static int memfd_luo_bulk(struct memfd_luo *luo, struct memfd_luo_batch *batch,
			  pgoff_t *index)
{
	pgoff_t start = *index;
	int err;

	memfd_luo_collect(luo, batch, index);
	if (!batch->nr)
		return *index != start;

	mutex_lock(&luo->lock);
	err = memfd_luo_reserve_runs(luo, batch->nr, batch->runs,
				     batch->nr_runs);
	if (!err)
		memfd_luo_record_runs(&luo->writer, batch->index, batch->runs,
				      batch->nr_runs);
	mutex_unlock(&luo->lock);

	if (err)
		memfd_luo_drop(batch);
	return err ?: 1;
}

/* The walk of preserve(): the other folios */

/*
 * Record a folio that the walk has found and pinned.
 *
 * Return: 0 if the pin stays; 1 if the folio was recorded before; -EAGAIN if it
 * has left the file, to be looked up again; or another error.
 */
static int memfd_luo_keep(struct memfd_luo *luo, struct folio *folio)
{
	int err = folio_lock_killable(folio);

	if (err)
		return err;

	if (folio->mapping != luo->inode->i_mapping) {
		err = -EAGAIN;
	} else if (memfd_luo_tagged(folio)) {
		err = 1;
	} else {
		mutex_lock(&luo->lock);
		err = memfd_luo_prepare(luo, folio);
		if (!err)
			memfd_luo_commit(luo, folio);
		mutex_unlock(&luo->lock);
	}
	folio_unlock(folio);
	return err;
}

/*
 * Record @nr folios of the walk; @indices says where they were found. They are
 * pinned where they may stay. *@index is where the walk goes on.
 */
static int memfd_luo_keep_batch(struct memfd_luo *luo, struct folio **folios,
				const pgoff_t *indices, unsigned int nr,
				pgoff_t *index)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < nr; i++) {
		err = memfd_luo_keep(luo, folios[i]);
		if (err < 0)
			break;
		*index = folio_next_index(folios[i]);
		if (err)
			unpin_folio(folios[i]);
	}

	if (i == nr)
		return 0;
	if (err == -EAGAIN) {
		*index = indices[i];
		err = 0;
	}
	unpin_folios(folios + i, nr - i);
	return err;
}

/* Bring in what is swapped out at *@index, unless it is beyond the end. */
static int memfd_luo_swap_in(struct memfd_luo *luo, pgoff_t *index)
{
	struct folio *folio;
	int err;

	if (*index >= luo->end) {
		++*index;
		return 0;
	}

	err = shmem_get_folio(luo->inode, *index, 0, &folio, SGP_CACHE);
	if (err)
		return err;
	folio_unlock(folio);
	folio_put(folio);
	return 0;
}

/*
 * Pages that are free, or could be, where the kernel's own memory lies. An estimate,
 * rather too high: what is in the page cache may lie elsewhere.
 */
static long memfd_luo_room(void)
{
	long room = si_mem_available() + get_nr_swap_pages();
	struct zone *zone;

	for_each_populated_zone(zone)
		room -= zone_page_state(zone, zone_idx(zone) == ZONE_MOVABLE ?
					NR_FREE_PAGES : NR_FREE_CMA_PAGES);
	return room;
}

/*
 * Migration takes memory where the kernel's own lies, and what it gives back in
 * exchange is of no use to the kernel. Is there enough for that which has to leave
 * its place among @folios, and for others afterwards?
 */
static bool memfd_luo_can_migrate(struct folio **folios, unsigned int nr)
{
	struct zone *zone;
	long pages = 0;
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!folio_is_longterm_pinnable(folios[i]))
			pages += folio_nr_pages(folios[i]);
	if (!pages || memfd_luo_room() >= pages)
		return true;
	/*
	 * What lies ready for each CPU is not counted as free. By zone, which waits
	 * for somebody else who is at it.
	 */
	for_each_populated_zone(zone)
		drain_all_pages(zone);
	return memfd_luo_room() >= pages;
}

/*
 * One step of the walk, from *@index on.
 *
 * Return: 1 if there is more; 0 at the end; -EAGAIN to try again, after folios
 * had to be migrated; or another error.
 */
static int memfd_luo_step(struct memfd_luo *luo, pgoff_t *index)
{
	struct folio *folios[PAGEVEC_SIZE];
	pgoff_t indices[PAGEVEC_SIZE];
	struct folio_batch fbatch;
	unsigned int i, nr;
	pgoff_t next = *index;
	int err = 0;

	folio_batch_init(&fbatch);
	if (!find_get_entries(luo->inode->i_mapping, &next, ULONG_MAX, &fbatch,
			      indices))
		return 0;

	/* Up to what is swapped out; that is the next step's. */
	for (nr = 0; nr < folio_batch_count(&fbatch); nr++) {
		if (xa_is_value(fbatch.folios[nr]))
			break;
		folios[nr] = fbatch.folios[nr];
		err = try_grab_folio(folios[nr], 1, FOLL_PIN);
		if (err)
			break;
	}
	if (!err && !memfd_luo_can_migrate(folios, nr))
		err = -ENOMEM;
	if (!err && !nr)
		*index = indices[0];

	/* The references have to go, lest they are in the way of migration. */
	folio_batch_remove_exceptionals(&fbatch);
	folio_batch_release(&fbatch);
	if (err) {
		for (i = 0; i < nr; i++)
			unpin_folio(folios[i]);
		return err;
	}

	if (!nr)
		err = memfd_luo_swap_in(luo, index);
	else
		/* As much as the file is large: rather fail than have a process killed. */
		err = check_and_migrate_movable_folios(nr, folios, __GFP_RETRY_MAYFAIL);
	if (!err && nr)
		err = memfd_luo_keep_batch(luo, folios, indices, nr, index);
	return err ?: 1;
}

/* A step has to be tried again, but not for ever. */
static int memfd_luo_retry(unsigned int *tries)
{
	if (++*tries == MEMFD_LUO_MIGRATE_TRIES)
		return -EBUSY;
	/* They have been migrated, or will be soon. */
	if (*tries > 1)
		schedule_timeout_killable(1);
	return 1;
}

/**
 * memfd_luo_walk - record all folios that are in the file
 * @luo: the file; folios that come from now on are recorded as they come
 *
 * Context: may sleep.
 * Return: 0, or an error as preserve() has them: some are recorded then.
 */
int memfd_luo_walk(struct memfd_luo *luo)
{
	struct memfd_luo_batch *batch __free(kfree) = NULL;
	struct memfd_luo_progress progress;
	unsigned int tries = 0, flags;
	pgoff_t index = 0;
	int ret;

	batch = memfd_luo_batch_alloc(luo->end);
	if (!batch)
		return -ENOMEM;

	memfd_luo_progress_begin(&progress, "preserve", luo->inode, luo->end);
	/* What the walk allocates, to swap in or to migrate to, may be pinned. */
	flags = memalloc_pin_save();
	do {
		cond_resched();
		ret = memfd_luo_bulk(luo, batch, &index) ?:
		      memfd_luo_step(luo, &index);
		if (ret == -EAGAIN)
			ret = memfd_luo_retry(&tries);
		else
			tries = 0;
		WRITE_ONCE(progress.page, index);
		trace_memfd_luo_walk(luo->inode, index, luo->end);
		if (ret > 0 && fatal_signal_pending(current))
			ret = -EINTR;
	} while (ret > 0);
	memalloc_pin_restore(flags);
	memfd_luo_progress_end(&progress);

	return ret;
}

/**
 * memfd_luo_unwalk - undo everything that was recorded
 * @luo: the file; nobody records any more
 *
 * Context: may sleep.
 */
void memfd_luo_unwalk(struct memfd_luo *luo)
{
	struct address_space *mapping = luo->inode->i_mapping;
	struct folio_batch fbatch;
	pgoff_t index = 0;
	unsigned int i;

	folio_batch_init(&fbatch);
	while (filemap_get_folios_tag(mapping, &index, ULONG_MAX, MEMFD_LUO_TAG,
				      &fbatch)) {
		for (i = 0; i < folio_batch_count(&fbatch); i++) {
			memfd_luo_tag(fbatch.folios[i], false);
			memfd_luo_let_go(luo, fbatch.folios[i]);
		}
		folio_batch_release(&fbatch);
		cond_resched();
	}
}
