// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: give pages back that the previous kernel preserved.
 *
 * Until then nobody has them: they were initialized at boot, and are neither free
 * nor counted as memory that the allocator manages. Out of the map they are the
 * caller's; a page that is in use after all goes back there with all the others.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/export.h>
#include <linux/io.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/pgalloc_tag.h>

#include "../../mm/internal.h"
#include "kho_internal.h"

/*
 * The pages were initialized at boot with a reference each and never given to
 * anybody. A page that is not so is in use in this kernel, whatever the
 * previous kernel's data says.
 */
bool kho_page_untouched(const struct page *page)
{
#ifdef CONFIG_MEMCG
	if (page->memcg_data)
		return false;
#endif
	return page_ref_count(page) == 1 && !page->mapping &&
	       !page_private(page) &&
	       !(page->flags & (PAGE_FLAGS_CHECK_AT_PREP | BIT(PG_reserved)));
}

static bool kho_pages_untouched(const struct page *page, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++, page++) {
		if (kho_page_untouched(page))
			continue;
		pr_err("page %#lx is in use, it cannot be restored\n",
		       page_to_pfn(page));
		return false;
	}
	return true;
}

/*
 * Make the pages what the allocator hands out, and count them as memory that
 * it manages.
 */
static void kho_init_pages(struct page *page, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		clear_page_tag_ref(page + i);
		set_page_private(page + i, 0);
	}
	adjust_managed_page_count(page, nr);
}

/*
 * Make a block a folio. One reference stays; that of the tails goes. What is
 * known of the first page holds for the others: all of them were kept out of
 * the allocator for the same bit of the map.
 */
static void kho_init_folio(struct page *page, unsigned int order)
{
	struct page *tail, *end = page + (1UL << order);

	clear_page_tag_ref(page);
	if (!order)
		return;

	__SetPageHead(page);
	/* As prep_compound_tail(), by hand: these are what a folio costs. */
	for (tail = page + 1; tail < end; tail++) {
		clear_page_tag_ref(tail);
		tail->mapping = TAIL_MAPPING;
		set_compound_head(tail, page);
		set_page_count(tail, 0);
	}
	prep_compound_head(page, order);
	page_rmappable_folio(page);
	/* Only the page that broke is lost; who reads the folio asks for this. */
	if (kho_find_poison(page_to_pfn(page), 1UL << order) < 1UL << order)
		folio_set_has_hwpoisoned(page_folio(page));
}

/* The page, if there is one; asked once in a row for each section of memory. */
static struct page *kho_online_page(unsigned long pfn, unsigned long *section)
{
	if (likely(pfn / PAGES_PER_SECTION == *section))
		return pfn_to_page(pfn);
	*section = pfn / PAGES_PER_SECTION;
	return pfn_to_online_page(pfn);
}

static bool kho_run_untouched(const struct kho_run *run, unsigned long *section)
{
	unsigned long size = 1UL << run->order, pfn = run->pfn;
	unsigned long end = pfn + run->nr * size;

	for (; pfn < end; pfn += size) {
		struct page *page = kho_online_page(pfn, section);

		if (page && kho_page_untouched(page))
			continue;
		pr_err("page %#lx is in use, it cannot be restored\n", pfn);
		return false;
	}
	return true;
}

/* Pages of one zone that are still to be counted as managed. */
struct kho_managed {
	struct page *page;
	unsigned long nr;
};

static void kho_count_managed(struct kho_managed *managed, struct page *page,
			      unsigned long nr)
{
	if (managed->nr && page_zone_id(managed->page) != page_zone_id(page)) {
		adjust_managed_page_count(managed->page, managed->nr);
		managed->nr = 0;
	}
	managed->page = page;
	managed->nr += nr;
}

/* Make folios of a run, and memory that the allocator manages. */
static void kho_init_run(const struct kho_run *run, struct kho_managed *managed)
{
	unsigned long first = run->pfn, size = 1UL << run->order;
	unsigned long pfn, end = first + (run->nr << run->order);

	if (run->nr == 1 && !run->order && !mem_alloc_profiling_enabled()) {
		kho_count_managed(managed, pfn_to_page(first), 1);
		return;
	}

	/* Nothing needs to be done for single pages. */
	if (run->order || mem_alloc_profiling_enabled())
		for (pfn = first; pfn < end; pfn += size)
			kho_init_folio(pfn_to_page(pfn), run->order);

	/* A block lies in one zone, the run may not. */
	if (page_zone_id(pfn_to_page(first)) ==
	    page_zone_id(pfn_to_page(end - 1)))
		size = end - first;
	for (pfn = first; pfn < end; pfn += size)
		kho_count_managed(managed, pfn_to_page(pfn), size);
}

/* They are preserved, and have to stay so: memory for their bits is waited for. */
static void kho_put_back(const struct kho_run *runs, unsigned int nr)
{
	while (kho_map_set_runs(&kho_map, runs, nr) == -ENOMEM)
		cond_resched();
}

/* Folios that are out of the map already; they go back in if one is in use. */
static bool kho_restore_taken(const struct kho_run *runs, unsigned int nr)
{
	unsigned long section = ULONG_MAX;
	struct kho_managed managed = {};
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (kho_run_untouched(&runs[i], &section))
			continue;
		kho_put_back(runs, nr);
		return false;
	}
	for (i = 0; i < nr; i++)
		kho_init_run(&runs[i], &managed);
	if (managed.nr)
		adjust_managed_page_count(managed.page, managed.nr);
	return true;
}

/**
 * kho_restore_runs - take preserved folios back, all of them or none
 * @runs: where they lie, and in which order they were preserved
 * @nr:   how many runs
 *
 * Context: may sleep; from core_initcall on.
 * Return: true, and each folio has one reference for the caller. False if not
 * all of them were preserved so, or one is named twice; they stay as they are
 * then.
 */
bool kho_restore_runs(const struct kho_run *runs, unsigned int nr)
{
	unsigned int i;

	if (!kho_pages_up)
		return false;
	for (i = 0; i < nr; i++) {
		/* A single page is valid. */
		if (!runs[i].pfn || ((runs[i].order || runs[i].nr != 1) &&
				     !kho_run_valid(&runs[i])))
			return false;
	}
	return kho_map_take_runs(&kho_map, runs, nr) &&
	       kho_restore_taken(runs, nr);
}
EXPORT_SYMBOL_GPL(kho_restore_runs);

/**
 * kho_restore_folio - take a preserved folio back
 * @phys: its address, as the previous kernel passed it on
 *
 * Context: may sleep; from core_initcall on.
 * Return: the folio in the order in which it was preserved, with one reference
 * for the caller; %NULL if none was preserved at @phys.
 */
struct folio *kho_restore_folio(phys_addr_t phys)
{
	struct kho_run run = { .pfn = PHYS_PFN(phys), .nr = 1 };
	int order;

	if (!kho_pages_up || !PAGE_ALIGNED(phys))
		return NULL;

	order = kho_map_take_order(&kho_map, run.pfn, MAX_PAGE_ORDER);
	if (order < 0)
		return NULL;
	run.order = order;
	return kho_restore_taken(&run, 1) ? pfn_folio(run.pfn) : NULL;
}
EXPORT_SYMBOL_GPL(kho_restore_folio);

/*
 * Order in which kho_preserve_pages() preserved the block at @pfn, where @nr
 * pages are left of the run; negative if it did not. Asks the map only: the
 * address may be anything.
 */
static int kho_preserved_order(unsigned long pfn, unsigned long nr)
{
	int order = min_t(int, __ffs(pfn), ilog2(nr));

	while (order >= 0 && !kho_map_test(&kho_map, pfn, 1, order))
		order--;
	return order;
}

/* Blocks of a run that are out of the map. A run has two of an order at most. */
struct kho_taken {
	unsigned int nr;
	u8 order[2 * BITS_PER_LONG];
};

/* Stops at what is not there, or is no more: somebody else restores it, too. */
static bool kho_take_pages(unsigned long pfn, unsigned long end,
			   struct kho_taken *taken)
{
	int order;

	while (pfn < end && taken->nr < ARRAY_SIZE(taken->order)) {
		order = kho_preserved_order(pfn, end - pfn);
		if (order < 0 || !kho_map_take(&kho_map, pfn, 1, order))
			break;
		taken->order[taken->nr++] = order;
		pfn += 1UL << order;
	}
	return pfn >= end;
}

static void kho_put_back_pages(unsigned long pfn, const struct kho_taken *taken)
{
	unsigned int i;

	for (i = 0; i < taken->nr; i++) {
		struct kho_run run = {
			.pfn = pfn, .nr = 1, .order = taken->order[i],
		};

		kho_put_back(&run, 1);
		pfn += 1UL << run.order;
	}
}

/**
 * kho_restore_pages - take pages back that kho_preserve_pages() preserved
 * @phys:     address of the first
 * @nr_pages: how many, as they were preserved
 *
 * Context: may sleep; from core_initcall on.
 * Return: the first page; each page has one reference for the caller and is
 * freed on its own. One with a memory error comes back, too, and must not be
 * read (PageHWPoison()). %NULL if they were not preserved so; they stay
 * preserved then.
 */
struct page *kho_restore_pages(phys_addr_t phys, unsigned long nr_pages)
{
	unsigned long start = PHYS_PFN(phys), end = start + nr_pages;
	struct kho_taken taken = {};
	unsigned long pfn = start;
	unsigned int i;

	if (!kho_pages_up || !PAGE_ALIGNED(phys) || !start || end <= start)
		return NULL;
	if (!kho_take_pages(start, end, &taken) ||
	    !kho_pages_untouched(pfn_to_page(start), nr_pages)) {
		kho_put_back_pages(start, &taken);
		return NULL;
	}
	/* A block lies in one zone, the run may not. */
	for (i = 0; i < taken.nr; i++) {
		kho_init_pages(pfn_to_page(pfn), 1UL << taken.order[i]);
		pfn += 1UL << taken.order[i];
	}
	return pfn_to_page(start);
}
EXPORT_SYMBOL_GPL(kho_restore_pages);

/**
 * kho_restore_free - free what kho_alloc_preserve() gave in the last kernel
 * @mem: the memory, by its address in the direct map; %NULL is ignored
 *
 * Context: may sleep; from core_initcall on.
 */
void kho_restore_free(void *mem)
{
	struct folio *folio;

	if (!mem)
		return;
	folio = kho_restore_folio(__pa(mem));
	if (folio)
		folio_put(folio);
	else
		pr_err("page frame %#lx was to be freed, and is not preserved\n",
		       PHYS_PFN(__pa(mem)));
}
EXPORT_SYMBOL_GPL(kho_restore_free);
