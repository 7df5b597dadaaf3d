// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: recording the folios of a file, in the kernel that goes.
 */

/**
 * DOC: Recording folios
 *
 * The walk takes folios by the batch: those about which there is nothing to do
 * are locked, pinned and tagged in one go under the lock of the page cache, and
 * recorded by runs. Where one is locked by somebody else, swapped out, not up to
 * date or in a place where it cannot stay, the walk takes some steps one by one.
 * It needs the same memory for a file of any size, and the ``memfd_luo_walk``
 * trace event tells how far it is.
 */

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/kexec_handover.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include "internal.h"
#include "memfd_luo.h"

#define CREATE_TRACE_POINTS
#include <trace/events/memfd_luo.h>

/* The folio is pinned and recorded. shmem does not use the tag itself. */
#define MEMFD_LUO_TAG		PAGECACHE_TAG_DIRTY

/* Folios that are recorded at a time; they are locked meanwhile. */
#define MEMFD_LUO_BATCH		64

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

/* Preserve folios, and have the memory to record them. */
static int memfd_luo_reserve_runs(struct memfd_luo *luo,
				  const struct kho_run *runs, unsigned int nr)
{
	int err = memfd_luo_make_room(&luo->writer, runs, nr);

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

	return memfd_luo_reserve_runs(luo, &run, 1);
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
		memfd_luo_record(&luo->writer, folio->index, &run);
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
	unsigned int nr;
	unsigned int nr_runs;
	pgoff_t next;				/* after the last folio */
	struct folio *folios[MEMFD_LUO_BATCH];
	pgoff_t index[MEMFD_LUO_BATCH];		/* where runs[] belong */
	struct kho_run runs[MEMFD_LUO_BATCH];
};

/*
 * Whether there is nothing to do about a folio but to record it; the other ones
 * are left to memfd_luo_step(). What is to be known of its pageblock is asked
 * once for all folios in there: *@block is the last one where folios may stay.
 */
static bool memfd_luo_is_simple(struct memfd_luo *luo, struct folio *folio,
				unsigned long *block)
{
	unsigned long this = folio_pfn(folio) >> pageblock_order;

	if (!folio_test_uptodate(folio) || folio->index >= luo->end ||
	    folio_contain_hwpoisoned_page(folio))
		return false;
	if (this == *block)
		return true;
	if (!folio_is_longterm_pinnable(folio))
		return false;
	*block = this;
	return true;
}

/* Under the lock of the page cache the file's reference is there: no try_get. */
static void memfd_luo_pin(struct folio *folio)
{
	if (folio_test_large(folio)) {
		folio_ref_inc(folio);
		atomic_inc(&folio->_pincount);
	} else {
		folio_ref_add(folio, GUP_PIN_COUNTING_BIAS);
	}
}

/* The tag of the entry that the walk is at, without a call in most cases. */
static bool memfd_luo_walk_tagged(struct xa_state *xas)
{
	if (!xas->xa_node)
		return xas_get_mark(xas, MEMFD_LUO_TAG);
	return test_bit(xas->xa_offset,
			xas->xa_node->marks[(__force unsigned int)MEMFD_LUO_TAG]);
}

/* A neighbour in memory and in the file makes the last run longer. */
static void memfd_luo_add_run(struct memfd_luo_batch *batch,
			      struct folio *folio)
{
	unsigned int order = folio_order(folio);
	unsigned long pfn = folio_pfn(folio);
	struct kho_run *run;

	if (batch->nr_runs) {
		run = &batch->runs[batch->nr_runs - 1];
		if (order == run->order && folio->index == batch->next &&
		    pfn == run->pfn + (run->nr << order)) {
			run->nr++;
			return;
		}
	}
	batch->index[batch->nr_runs] = folio->index;
	run = &batch->runs[batch->nr_runs++];
	run->pfn = pfn;
	run->nr = 1;
	run->order = order;
}

/*
 * Lock, pin and tag folios from *@index on, up to the first one that is not
 * simple, or locked by somebody else. Nobody sees the tags as long as the folios
 * are locked. All of them are of one node.
 */
static void memfd_luo_collect(struct memfd_luo *luo,
			      struct memfd_luo_batch *batch, pgoff_t *index)
{
	XA_STATE(xas, &luo->inode->i_mapping->i_pages, *index);
	unsigned long block = -1UL;
	unsigned int seen = 0;
	struct folio *folio;

	batch->nr = 0;
	batch->nr_runs = 0;
	batch->next = *index;
	xas_lock_irq(&xas);
	xas_for_each(&xas, folio, ULONG_MAX) {
		if (xa_is_value(folio) || seen++ == 2 * MEMFD_LUO_BATCH)
			break;
		/* Who has added it has recorded it, too. */
		if (!memfd_luo_walk_tagged(&xas)) {
			if (batch->nr == MEMFD_LUO_BATCH ||
			    !memfd_luo_is_simple(luo, folio, &block))
				break;
			if (batch->nr &&
			    folio_nid(folio) != folio_nid(batch->folios[0]))
				break;
			if (!folio_trylock(folio))
				break;
			memfd_luo_pin(folio);
			xas_set_mark(&xas, MEMFD_LUO_TAG);
			memfd_luo_add_run(batch, folio);
			batch->folios[batch->nr++] = folio;
		}
		batch->next = folio_next_index(folio);
	}
	xas_unlock_irq(&xas);
	*index = batch->next;

	if (batch->nr)
		node_stat_mod_folio(batch->folios[0], NR_FOLL_PIN_ACQUIRED,
				    batch->nr);
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
	unsigned int i;
	int err;

	memfd_luo_collect(luo, batch, index);
	if (!batch->nr)
		return *index != start;

	mutex_lock(&luo->lock);
	err = memfd_luo_reserve_runs(luo, batch->runs, batch->nr_runs);
	for (i = 0; !err && i < batch->nr_runs; i++)
		memfd_luo_record(&luo->writer, batch->index[i],
				 &batch->runs[i]);
	mutex_unlock(&luo->lock);

	for (i = 0; i < batch->nr; i++) {
		if (err) {
			memfd_luo_tag(batch->folios[i], false);
			unpin_folio(batch->folios[i]);
		}
		folio_unlock(batch->folios[i]);
	}
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
		err = check_and_migrate_movable_folios(nr, folios);
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
	unsigned int tries = 0, flags;
	pgoff_t index = 0;
	int ret;

	batch = kmalloc(sizeof(*batch), GFP_KERNEL);
	if (!batch)
		return -ENOMEM;

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
		trace_memfd_luo_walk(luo->inode, index, luo->end);
		if (ret > 0 && fatal_signal_pending(current))
			ret = -EINTR;
	} while (ret > 0);
	memalloc_pin_restore(flags);

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
