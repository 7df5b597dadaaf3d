// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: preserve pages, to be given back in the next kernel.
 */

/**
 * DOC: Preserving pages
 *
 * A preserved page stays where it is over the kexec and is not touched by the
 * next kernel until somebody there restores it by its address. It must not lie
 * in scratch, which the next kernel uses to boot: memory that the kernel
 * allocates for itself never does, because scratch is CMA; memory of user space
 * may, and is migrated by whoever preserves it.
 *
 * The order in which a page is preserved is the order in which it comes back:
 * a folio of order 9 is one block and restored as one folio; a run of single
 * folios is single blocks, however they lie; and kho_preserve_pages() splits
 * its run into the largest blocks that fit and restores single pages.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "kho_internal.h"

/* Whether preserving and restoring work. */
bool kho_pages_up __ro_after_init;
/* Where the memory ended at boot. */
static unsigned long kho_end_pfn __ro_after_init;

void __init kho_pages_ready(bool ready)
{
	kho_pages_up = ready;
	kho_end_pfn = max_pfn;
}

/* Whether some page has a memory error: nearly always there is none to look for. */
bool kho_has_poison(void)
{
	KUNIT_STATIC_STUB_REDIRECT(kho_has_poison);

#ifdef CONFIG_MEMORY_FAILURE
	return atomic_long_read(&num_poisoned_pages);
#else
	return false;
#endif
}

VISIBLE_IF_KUNIT bool kho_is_poison(unsigned long pfn)
{
	KUNIT_STATIC_STUB_REDIRECT(kho_is_poison, pfn);

	return PageHWPoison(pfn_to_page(pfn));
}

/* How many pages come before one with a memory error, @nr if none has any. */
unsigned long kho_find_poison(unsigned long pfn, unsigned long nr)
{
	unsigned long i = 0;

	if (!kho_has_poison())
		return nr;
	while (i < nr && !kho_is_poison(pfn + i))
		i++;
	return i;
}

/*
 * The memory around a page that can be preserved: without scratch, and what the
 * next kernel finds in its memory map, which is what was there at boot.
 */
static bool kho_find_gap(unsigned long pfn, struct kho_gap *gap)
{
	if (!kho_scratch_gap(pfn, gap))
		return false;
	gap->end = min(gap->end, kho_end_pfn);
	return kho_ram_gap(pfn, gap);
}

/*
 * Whether a run may be preserved. @gap is what was found for the run before: the
 * next one lies in there, too, most of the time.
 */
static int kho_check_run(const struct kho_run *run, struct kho_gap *gap)
{
	unsigned long pfn = run->pfn, pages = run->nr << run->order;
	int err;

	if (pfn >= kho_end_pfn || run->nr > (kho_end_pfn - pfn) >> run->order)
		return -EINVAL;
	err = kho_debug_preserve(pfn, pages);
	if (err)
		return err;
	if (pfn < gap->start || pfn + pages > gap->end) {
		if (!kho_find_gap(pfn, gap) || pfn + pages > gap->end)
			return -EINVAL;
	}
	if (kho_find_poison(pfn, pages) < pages)
		return -EHWPOISON;
	return 0;
}

/* kho_check_run() for single pages near each other, which are many. */
static bool kho_check_page(const struct kho_run *run, const struct kho_gap *gap)
{
	return !IS_ENABLED(CONFIG_KEXEC_HANDOVER_DEBUG) && run->nr == 1 &&
	       !run->order && run->pfn >= gap->start && run->pfn < gap->end;
}

static int kho_preserve_blocks(unsigned long pfn, unsigned long nr,
			       unsigned int order)
{
	const struct kho_run run = { .pfn = pfn, .nr = nr, .order = order };
	struct kho_gap gap = {};

	if (!kho_pages_up)
		return -EOPNOTSUPP;
	return kho_check_run(&run, &gap) ?: kho_map_set_runs(&kho_map, &run, 1);
}

/**
 * kho_preserve_runs - preserve folios that lie here and there
 * @runs: where
 * @nr:   how many runs
 *
 * As kho_preserve_run() for each, but all of them or none, and cheaper.
 *
 * Context: may sleep.
 * Return: 0, or an error as kho_preserve_run() has them. Nothing is preserved
 * then.
 */
int kho_preserve_runs(const struct kho_run *runs, unsigned int nr)
{
	bool poison = kho_has_poison();
	struct kho_gap gap = {};
	unsigned int i;
	int err;

	if (!kho_pages_up)
		return -EOPNOTSUPP;
	for (i = 0; i < nr; i++) {
		if (likely(!poison && kho_check_page(&runs[i], &gap)))
			continue;
		err = kho_run_valid(&runs[i]) ? kho_check_run(&runs[i], &gap) :
						-EINVAL;
		if (err)
			return err;
	}
	return kho_map_set_runs(&kho_map, runs, nr);
}
EXPORT_SYMBOL_GPL(kho_preserve_runs);

/**
 * kho_preserve_run - preserve folios that lie one after the other
 * @pfn:   first page of the first folio, aligned to 2^@order
 * @nr:    number of folios
 * @order: order of each, 0..MAX_PAGE_ORDER
 *
 * The caller keeps its references; the folios must not move or be freed until
 * kho_unpreserve_run(). Restored one by one with kho_restore_folio().
 *
 * Context: may sleep.
 * Return: 0; -EOPNOTSUPP if Kexec Handover is off; -EINVAL for an unaligned or
 * empty run, or one that touches scratch or memory that was added after the
 * boot; -EHWPOISON for one with a memory error; -ENOMEM; -EEXIST if one of the
 * folios is preserved already. Nothing is preserved then.
 */
int kho_preserve_run(unsigned long pfn, unsigned long nr, unsigned int order)
{
	const struct kho_run run = { .pfn = pfn, .nr = nr, .order = order };

	return kho_preserve_runs(&run, 1);
}
EXPORT_SYMBOL_GPL(kho_preserve_run);

/**
 * kho_unpreserve_run - undo kho_preserve_run(), or a part of it
 * @pfn:   first page of the first folio, aligned to 2^@order
 * @nr:    number of folios
 * @order: order of each
 *
 * Context: may sleep.
 */
void kho_unpreserve_run(unsigned long pfn, unsigned long nr,
			unsigned int order)
{
	if (kho_pages_up && kho_debug_unpreserve(pfn, nr, order))
		WARN_ON_ONCE(!kho_map_clear(&kho_map, pfn, nr, order));
}
EXPORT_SYMBOL_GPL(kho_unpreserve_run);

/*
 * A page that this kernel allocated and preserves may look like one that came
 * from the previous kernel and that nobody has restored: metadata that names it
 * must not make it somebody else's. Where the owner leaves page_private() free,
 * it has a mark.
 */
#define KHO_OURS	0x4b484f6f757273UL

static void kho_mark_ours(struct page *page, unsigned long nr, bool ours)
{
	for (; nr; nr--, page++) {
		/* A compound page is told by its head and its tails. */
		if (!PageCompound(page) &&
		    page_private(page) == (ours ? 0 : KHO_OURS))
			set_page_private(page, ours ? KHO_OURS : 0);
	}
}

/**
 * kho_preserve_folio - preserve a folio
 * @folio: the folio; the caller keeps its reference
 *
 * Context: may sleep.
 * Return: 0, or an error as kho_preserve_run() has them.
 */
int kho_preserve_folio(struct folio *folio)
{
	int err = kho_preserve_run(folio_pfn(folio), 1, folio_order(folio));

	if (!err)
		kho_mark_ours(folio_page(folio, 0), 1, true);
	return err;
}
EXPORT_SYMBOL_GPL(kho_preserve_folio);

/**
 * kho_unpreserve_folio - undo kho_preserve_folio()
 * @folio: the folio
 *
 * Context: may sleep.
 */
void kho_unpreserve_folio(struct folio *folio)
{
	kho_mark_ours(folio_page(folio, 0), 1, false);
	kho_unpreserve_run(folio_pfn(folio), 1, folio_order(folio));
}
EXPORT_SYMBOL_GPL(kho_unpreserve_folio);

/* The NUMA node of a page. */
VISIBLE_IF_KUNIT int kho_page_nid(unsigned long pfn)
{
	KUNIT_STATIC_STUB_REDIRECT(kho_page_nid, pfn);

	return pfn_to_nid(pfn);
}

/*
 * Order of the largest block that begins at @pfn, has at most @nr pages and
 * lies on one NUMA node.
 */
static unsigned int kho_block_order(unsigned long pfn, unsigned long nr)
{
	unsigned int order = min_t(unsigned int, __ffs(pfn), ilog2(nr));

	while (order &&
	       kho_page_nid(pfn) != kho_page_nid(pfn + (1UL << order) - 1))
		order--;
	return order;
}

/**
 * kho_preserve_pages - preserve pages that lie one after the other
 * @page:     the first; not the first page of memory
 * @nr_pages: how many
 *
 * They come back as single pages with kho_restore_pages(), all together.
 *
 * Context: may sleep.
 * Return: 0, or an error as kho_preserve_run() has them. Nothing is preserved
 * then.
 */
int kho_preserve_pages(struct page *page, unsigned long nr_pages)
{
	unsigned long start = page_to_pfn(page), pfn = start;
	unsigned long end = start + nr_pages;
	int err = nr_pages && start ? 0 : -EINVAL;

	while (!err && pfn < end) {
		unsigned int order = kho_block_order(pfn, end - pfn);

		err = kho_preserve_blocks(pfn, 1, order);
		if (!err)
			pfn += 1UL << order;
	}
	if (!err)
		kho_mark_ours(page, nr_pages, true);
	else if (pfn > start)
		kho_unpreserve_pages(page, pfn - start);
	return err;
}
EXPORT_SYMBOL_GPL(kho_preserve_pages);

/**
 * kho_unpreserve_pages - undo kho_preserve_pages()
 * @page:     the first
 * @nr_pages: how many, as they were preserved
 *
 * Context: may sleep.
 */
void kho_unpreserve_pages(struct page *page, unsigned long nr_pages)
{
	unsigned long pfn = page_to_pfn(page), end = pfn + nr_pages;

	kho_mark_ours(page, nr_pages, false);
	while (pfn < end) {
		unsigned int order = kho_block_order(pfn, end - pfn);

		kho_unpreserve_run(pfn, 1, order);
		pfn += 1UL << order;
	}
}
EXPORT_SYMBOL_GPL(kho_unpreserve_pages);

/**
 * kho_is_preserved_runs - whether folios are preserved, in exactly this order
 * @runs: where
 * @nr:   how many runs; a block may be named twice
 *
 * For metadata from the previous kernel: an address that it names may be used
 * only if this says yes, and then lies in RAM. It says yes for what this kernel
 * preserves, too.
 *
 * Context: may sleep.
 * Return: true if all are.
 */
bool kho_is_preserved_runs(const struct kho_run *runs, unsigned int nr)
{
	unsigned long limit = PHYS_PFN(-1ULL);
	unsigned int i;

	if (!kho_pages_up)
		return false;
	for (i = 0; i < nr; i++) {
		const struct kho_run *run = &runs[i];

		/* A single page: there are many of them. */
		if (likely(run->nr == 1 && !run->order &&
			   run->pfn - 1 < limit))
			continue;
		if (!run->pfn || !run->nr || run->order > KHO_MAP_MAX_ORDER ||
		    !IS_ALIGNED(run->pfn, 1UL << run->order))
			return false;
		if (run->pfn > limit ||
		    run->nr > (limit - run->pfn) >> run->order)
			return false;
	}
	return kho_map_has_runs(&kho_map, runs, nr);
}
EXPORT_SYMBOL_GPL(kho_is_preserved_runs);

/**
 * kho_is_preserved_run - the same for one run
 * @pfn:   first page of the first folio
 * @nr:    number of folios that lie one after the other
 * @order: order of each
 *
 * Context: may sleep.
 * Return: true if all are.
 */
bool kho_is_preserved_run(unsigned long pfn, unsigned long nr,
			  unsigned int order)
{
	const struct kho_run run = { .pfn = pfn, .nr = nr, .order = order };

	return kho_is_preserved_runs(&run, 1);
}
EXPORT_SYMBOL_GPL(kho_is_preserved_run);

/**
 * kho_is_preserved - whether metadata is preserved and can be read
 * @phys:  its address
 * @order: its order, exactly
 *
 * Metadata with a memory error is given up, with a line in the log: no kernel
 * gets the page any more.
 *
 * Context: may sleep.
 * Return: true if it is.
 */
bool kho_is_preserved(phys_addr_t phys, unsigned int order)
{
	return PAGE_ALIGNED(phys) &&
	       kho_is_preserved_run(PHYS_PFN(phys), 1, order) &&
	       kho_is_readable(PHYS_PFN(phys), order);
}
EXPORT_SYMBOL_GPL(kho_is_preserved);

VISIBLE_IF_KUNIT struct folio *kho_zeroed_folio(unsigned int order)
{
	KUNIT_STATIC_STUB_REDIRECT(kho_zeroed_folio, order);

	return folio_alloc(GFP_KERNEL_ACCOUNT | __GFP_ZERO, order);
}

/**
 * kho_alloc_preserve - allocate zeroed memory that is preserved
 * @size: bytes, at least 1; rounded up to a power-of-two number of pages
 *
 * Charged to the caller's memory cgroup.
 *
 * Context: may sleep.
 * Return: the memory, freed with kho_unpreserve_free() in this kernel or with
 * kho_restore_free() in the next; an ERR_PTR() of -EOPNOTSUPP, -EINVAL for a
 * size that the page allocator does not have, or -ENOMEM.
 */
void *kho_alloc_preserve(size_t size)
{
	struct folio *folio;
	unsigned int order;
	int err;

	if (!kho_pages_up)
		return ERR_PTR(-EOPNOTSUPP);
	if (!size)
		return ERR_PTR(-EINVAL);
	order = get_order(size);
	if (order > MAX_PAGE_ORDER)
		return ERR_PTR(-EINVAL);

	folio = kho_zeroed_folio(order);
	if (!folio)
		return ERR_PTR(-ENOMEM);

	err = kho_preserve_folio(folio);
	if (err) {
		folio_put(folio);
		return ERR_PTR(err);
	}
	return folio_address(folio);
}
EXPORT_SYMBOL_GPL(kho_alloc_preserve);

/**
 * kho_unpreserve_free - free what kho_alloc_preserve() gave in this kernel
 * @mem: the memory; %NULL is ignored
 *
 * Context: may sleep.
 */
void kho_unpreserve_free(void *mem)
{
	struct folio *folio;

	if (!mem)
		return;
	folio = virt_to_folio(mem);
	kho_unpreserve_folio(folio);
	folio_put(folio);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_free);
