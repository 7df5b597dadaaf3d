// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of what is built on the map of preserved pages. They preserve
 * pages of this kernel for a moment, so the handover must be on; restoring
 * them is for the next kernel, and for the tests that have one.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/initrd.h>
#include <linux/io.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "kho_internal.h"
#include "kho_kunit.h"

int kho_test_init(struct kunit *test)
{
	if (!kho_is_enabled())
		kunit_skip(test, "the handover is off, boot with kho=on");
	/* Its memory is freed in the background: that is counted, too. */
	wait_for_initramfs();
	return 0;
}

/* Blocks in the map that is handed over: nobody else changes it by now. */
unsigned long kho_test_blocks(struct kunit *test)
{
	unsigned long *counts, blocks = 0;
	unsigned int order;

	counts = kunit_kcalloc(test, KHO_MAP_MAX_ORDER + 1, sizeof(*counts),
			       GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, counts);
	kho_map_count(&kho_map, counts);
	for (order = 0; order <= KHO_MAP_MAX_ORDER; order++)
		blocks += counts[order];
	return blocks;
}

static void kho_test_free_page(void *page)
{
	free_page((unsigned long)page);
}

/* A page that is not preserved. */
phys_addr_t kho_test_other_page(struct kunit *test)
{
	unsigned long page = get_zeroed_page(GFP_KERNEL);

	KUNIT_ASSERT_NE(test, page, 0);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kho_test_free_page,
						  (void *)page));
	return virt_to_phys((void *)page);
}

/* Allocations that succeed before the first one fails. */
static unsigned long kho_test_allowed;

static struct page *kho_test_node_page(void)
{
	if (!kho_test_allowed)
		return NULL;
	kho_test_allowed--;
	return alloc_page(GFP_KERNEL | __GFP_ZERO);
}

static struct folio *kho_test_zeroed_folio(unsigned int order)
{
	if (!kho_test_allowed)
		return NULL;
	kho_test_allowed--;
	return folio_alloc(GFP_KERNEL | __GFP_ZERO, order);
}

/* From here on only some allocations of the handover's succeed. */
void kho_test_allow(struct kunit *test, unsigned long nr)
{
	kho_test_allowed = nr;
	kunit_activate_static_stub(test, kho_node_page, kho_test_node_page);
	kunit_activate_static_stub(test, kho_zeroed_folio,
				   kho_test_zeroed_folio);
}

void kho_test_allow_all(struct kunit *test)
{
	kunit_deactivate_static_stub(test, kho_node_page);
	kunit_deactivate_static_stub(test, kho_zeroed_folio);
}

#define KHO_TEST_ORDER	5
#define KHO_TEST_PAGES	BIT(KHO_TEST_ORDER)

/* What splitting a run has to give, said in another way. */
static unsigned int kho_test_order(unsigned long pfn, unsigned long nr)
{
	unsigned int order = 0;

	while (IS_ALIGNED(pfn, 2UL << order) && 2UL << order <= nr)
		order++;
	return order;
}

/* Where memory of another node begins. */
static unsigned long kho_test_border;

static int kho_test_nid(unsigned long pfn)
{
	return pfn >= kho_test_border;
}

static void kho_test_split(struct kunit *test, struct page *page,
			   unsigned long nr)
{
	unsigned long pfn = page_to_pfn(page), end = pfn + nr;
	unsigned int order;

	KUNIT_ASSERT_EQ(test, 0, kho_preserve_pages(page, nr));
	while (pfn < end) {
		bool below = pfn < kho_test_border && kho_test_border < end;

		/* As it is, but no block lies on two nodes. */
		order = below ? kho_test_order(pfn, kho_test_border - pfn) :
				kho_test_order(pfn, end - pfn);
		KUNIT_EXPECT_TRUE_MSG(test,
				      kho_is_preserved(PFN_PHYS(pfn), order),
				      "%lu pages at %#lx: no block of order %u at %#lx",
				      nr, page_to_pfn(page), order, pfn);
		pfn += 1UL << order;
	}
	kho_unpreserve_pages(page, nr);
}

/* Every run within a block, and two with a node that begins anywhere. */
static void kho_pages_test_split(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), start, nr;
	struct page *page = alloc_pages(GFP_KERNEL, KHO_TEST_ORDER);

	KUNIT_ASSERT_NOT_NULL(test, page);
	split_page(page, KHO_TEST_ORDER);

	kho_test_border = 0;
	for (start = 0; start < KHO_TEST_PAGES; start++)
		for (nr = 1; start + nr <= KHO_TEST_PAGES; nr++)
			kho_test_split(test, page + start, nr);

	kunit_activate_static_stub(test, kho_page_nid, kho_test_nid);
	for (nr = 0; nr <= KHO_TEST_PAGES; nr++) {
		kho_test_border = page_to_pfn(page) + nr;
		kho_test_split(test, page, KHO_TEST_PAGES);
		kho_test_split(test, page + 3, KHO_TEST_PAGES - 5);
	}
	kunit_deactivate_static_stub(test, kho_page_nid);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));

	for (nr = 0; nr < KHO_TEST_PAGES; nr++)
		__free_page(page + nr);
}

static void kho_pages_test_errors(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), pfn;
	phys_addr_t phys = kho_test_other_page(test);

	pfn = PHYS_PFN(phys);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			kho_preserve_pages(pfn_to_page(pfn), 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_preserve_run(pfn, 0, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_preserve_run(pfn | 1, 1, 1));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			kho_preserve_run(0, 1, KHO_MAP_MAX_ORDER + 1));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved(phys, 0));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved(phys + 1, 0));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved(0, 0));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved(~0ULL << PAGE_SHIFT, 0));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved_run(pfn, 0, 0));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved_run(pfn, ULONG_MAX, 0));
	KUNIT_EXPECT_TRUE(test, IS_ERR(kho_alloc_preserve(0)));
	KUNIT_EXPECT_TRUE(test,
			  IS_ERR(kho_alloc_preserve(PAGE_SIZE << (MAX_PAGE_ORDER + 1))));
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
}

static void kho_pages_test_alloc(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test);
	unsigned int order;

	for (order = 0; order <= 4; order++) {
		void *mem = kho_alloc_preserve(PAGE_SIZE << order);

		KUNIT_ASSERT_FALSE(test, IS_ERR(mem));
		KUNIT_EXPECT_NULL(test, memchr_inv(mem, 0, PAGE_SIZE << order));
		KUNIT_EXPECT_TRUE(test, kho_is_preserved(virt_to_phys(mem), order));
		KUNIT_EXPECT_FALSE(test, kho_scratch_overlap(virt_to_phys(mem),
							     PAGE_SIZE << order));
		kho_unpreserve_free(mem);
	}
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
}

/* Every allocation fails once: nothing is preserved then. */
static void kho_pages_test_no_memory(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), n, i;
	struct page *page = alloc_pages(GFP_KERNEL, KHO_TEST_ORDER);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, page);
	split_page(page, KHO_TEST_ORDER);

	for (n = 0, err = -ENOMEM; err; n++) {
		kho_test_allow(test, n);
		/* Blocks of every order, in a bitmap each. */
		err = kho_preserve_pages(page + 1, KHO_TEST_PAGES - 1);
		kho_test_allow_all(test);
		if (!err)
			break;
		KUNIT_ASSERT_EQ(test, -ENOMEM, err);
		KUNIT_ASSERT_EQ(test, before, kho_test_blocks(test));
	}
	KUNIT_EXPECT_LT(test, 0, n);
	kho_unpreserve_pages(page + 1, KHO_TEST_PAGES - 1);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));

	kho_test_allow(test, 0);
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			PTR_ERR_OR_ZERO(kho_alloc_preserve(PAGE_SIZE)));
	kho_test_allow_all(test);
	for (i = 0; i < KHO_TEST_PAGES; i++)
		__free_page(page + i);
}

/* How often memory for a node is refused, and then no more. */
static struct page *kho_test_late_node_page(void)
{
	if (kho_test_allowed) {
		kho_test_allowed--;
		return NULL;
	}
	return alloc_page(GFP_KERNEL | __GFP_ZERO);
}

/*
 * What is in use cannot be restored and stays preserved, also when the last bit of
 * a bitmap has to come back and there is no memory for that.
 */
static void kho_pages_test_restore_used(struct kunit *test)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 7);
	struct kho_run run = { .nr = 1, .order = 7 };
	unsigned long before = kho_test_blocks(test);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	run.pfn = folio_pfn(folio);
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_folio(folio));
	kunit_activate_static_stub(test, kho_node_page, kho_test_late_node_page);
	kho_test_allowed = 3;
	KUNIT_EXPECT_NULL(test, kho_restore_folio(PFN_PHYS(run.pfn)));
	KUNIT_EXPECT_EQ(test, 0, kho_test_allowed);
	KUNIT_EXPECT_TRUE(test, kho_is_preserved_run(run.pfn, 1, 7));
	kho_test_allowed = 3;
	KUNIT_EXPECT_FALSE(test, kho_restore_runs(&run, 1));
	KUNIT_EXPECT_EQ(test, 0, kho_test_allowed);
	KUNIT_EXPECT_TRUE(test, kho_is_preserved_run(run.pfn, 1, 7));
	kunit_deactivate_static_stub(test, kho_node_page);

	kho_unpreserve_folio(folio);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	folio_put(folio);
}

/*
 * A page of this kernel, of which nothing tells that somebody has it, is not given
 * to who names it in the place of one from the previous kernel.
 */
static void kho_pages_test_restore_ours(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), pfn;
	struct page *page = alloc_pages(GFP_KERNEL, 1);
	void *mem = kho_alloc_preserve(PAGE_SIZE);
	struct kho_run run = { .nr = 1 };

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_FALSE(test, IS_ERR(mem));
	split_page(page, 1);
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_pages(page, 2));
	pfn = page_to_pfn(page);
	run.pfn = PHYS_PFN(virt_to_phys(mem));

	KUNIT_EXPECT_NULL(test, kho_restore_folio(virt_to_phys(mem)));
	KUNIT_EXPECT_FALSE(test, kho_restore_runs(&run, 1));
	KUNIT_EXPECT_NULL(test, kho_restore_pages(PFN_PHYS(pfn), 2));
	KUNIT_EXPECT_NULL(test, kho_restore_pages(PFN_PHYS(pfn), 3));
	KUNIT_EXPECT_NULL(test, kho_restore_pages(PFN_PHYS(pfn), 1));
	KUNIT_EXPECT_TRUE(test, kho_is_preserved(virt_to_phys(mem), 0));
	KUNIT_EXPECT_TRUE(test, kho_is_preserved(PFN_PHYS(pfn), 1));

	kho_unpreserve_free(mem);
	kho_unpreserve_pages(page, 2);
	KUNIT_EXPECT_EQ(test, page_private(page), 0);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	__free_page(page);
	__free_page(page + 1);
}

static bool kho_test_ram_gap(unsigned long pfn, struct kho_gap *gap)
{
	return false;
}

/* The next kernel would not find memory that was added: it is not preserved. */
static void kho_pages_test_added(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test);
	struct folio *folio = folio_alloc(GFP_KERNEL, 0);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	kunit_activate_static_stub(test, kho_ram_gap, kho_test_ram_gap);
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_preserve_folio(folio));
	kunit_deactivate_static_stub(test, kho_ram_gap);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	folio_put(folio);
}

static void kho_pages_test_ram(struct kunit *test)
{
	static const struct kho_ram_range ram[] = { { 16, 32 }, { 40, 64 } };
	static const struct {
		unsigned long pfn;
		struct kho_gap gap, clipped;	/* to nothing: not there */
	} pages[] = {
		{ 15, { 0, 99 } }, { 16, { 0, 99 }, { 16, 32 } },
		{ 31, { 0, 99 }, { 16, 32 } }, { 32, { 0, 99 } },
		{ 39, { 0, 99 } }, { 40, { 0, 99 }, { 40, 64 } },
		{ 63, { 0, 99 }, { 40, 64 } }, { 64, { 0, 99 } },
		{ 50, { 45, 99 }, { 45, 64 } }, { 50, { 45, 55 }, { 45, 55 } },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		struct kho_gap gap = pages[i].gap;
		bool there = kho_ram_clip(ram, ARRAY_SIZE(ram), pages[i].pfn,
					  &gap);

		KUNIT_EXPECT_EQ_MSG(test, there, !!pages[i].clipped.end,
				    "page %lu", pages[i].pfn);
		if (!there)
			continue;
		KUNIT_EXPECT_EQ(test, gap.start, pages[i].clipped.start);
		KUNIT_EXPECT_EQ(test, gap.end, pages[i].clipped.end);
	}
}

static void kho_pages_test_scratch_overlap(struct kunit *test)
{
	struct kho_gap gap;
	unsigned int i;

	KUNIT_ASSERT_GT(test, kho_scratch_cnt, 0);
	for (i = 0; i < kho_scratch_cnt; i++) {
		phys_addr_t addr = kho_scratch[i].addr;
		phys_addr_t end = addr + kho_scratch[i].size;

		KUNIT_EXPECT_TRUE(test, kho_scratch_overlap(addr, PAGE_SIZE));
		KUNIT_EXPECT_TRUE(test, kho_scratch_overlap(end - 1, 1));
		KUNIT_EXPECT_TRUE(test, kho_scratch_overlap(addr - 1, 2));
		KUNIT_EXPECT_TRUE(test, kho_scratch_overlap(0, end + SZ_1M));
		KUNIT_EXPECT_FALSE(test, kho_scratch_overlap(addr, 0));
	}
	KUNIT_EXPECT_FALSE(test, kho_scratch_overlap(0, PAGE_SIZE));

	for (i = 0; i < kho_scratch_cnt; i++) {
		unsigned long start = PHYS_PFN(kho_scratch[i].addr);
		unsigned long end = start + PHYS_PFN(kho_scratch[i].size);

		KUNIT_EXPECT_FALSE(test, kho_scratch_gap(start, &gap));
		KUNIT_EXPECT_FALSE(test, kho_scratch_gap(end - 1, &gap));
		/* Another area may come right before or after it. */
		if (kho_scratch_gap(start - 1, &gap)) {
			KUNIT_EXPECT_EQ(test, gap.end, start);
			KUNIT_EXPECT_LT(test, gap.start, start);
		}
		if (kho_scratch_gap(end, &gap)) {
			KUNIT_EXPECT_EQ(test, gap.start, end);
			KUNIT_EXPECT_GT(test, gap.end, end);
		}
	}
}

#ifdef CONFIG_KEXEC_HANDOVER_DEBUG
/* Reported last; 0 if nothing was. */
static unsigned long kho_test_reported;

static void kho_test_report(unsigned long pfn, const char *what)
{
	kho_test_reported = pfn;
}

#define kho_expect_report(test, pfn, call) do {				\
	kho_test_reported = 0;						\
	call;								\
	KUNIT_EXPECT_EQ(test, kho_test_reported, (unsigned long)(pfn));	\
} while (0)

static void kho_pages_test_debug(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), pfn, free, i;
	struct page *page = alloc_pages(GFP_KERNEL, KHO_TEST_ORDER);

	KUNIT_ASSERT_NOT_NULL(test, page);
	split_page(page, KHO_TEST_ORDER);
	pfn = page_to_pfn(page);
	kunit_activate_static_stub(test, kho_debug_report, kho_test_report);

	kho_expect_report(test, 0, kho_preserve_run(pfn + 4, 1, 2));
	kho_expect_report(test, pfn + 4, kho_preserve_run(pfn + 4, 1, 2));
	kho_expect_report(test, pfn + 4, kho_preserve_run(pfn + 4, 1, 0));
	kho_expect_report(test, pfn + 7, kho_preserve_run(pfn + 7, 9, 0));
	kho_expect_report(test, pfn + 4,
			  kho_preserve_run(pfn, 1, KHO_TEST_ORDER));
	kho_expect_report(test, 0, kho_preserve_run(pfn + 8, 1, 0));

	kho_expect_report(test, pfn, kho_unpreserve_run(pfn, 1, 0));
	kho_expect_report(test, pfn + 4, kho_unpreserve_run(pfn + 4, 1, 0));
	kho_expect_report(test, pfn + 9, kho_unpreserve_run(pfn + 8, 2, 0));
	kho_expect_report(test, 0, kho_unpreserve_run(pfn + 8, 1, 0));
	kho_expect_report(test, 0, kho_unpreserve_run(pfn + 4, 1, 2));

	free = pfn + 3;
	set_page_count(pfn_to_page(free), 0);
	kho_expect_report(test, free, kho_preserve_run(pfn, 4, 0));
	set_page_count(pfn_to_page(free), 1);
	pfn = PHYS_PFN(kho_scratch[0].addr);
	kho_test_reported = 0;
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_preserve_run(pfn, 1, 0));
	KUNIT_EXPECT_EQ(test, kho_test_reported, pfn);

	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	for (i = 0; i < KHO_TEST_PAGES; i++)
		__free_page(page + i);
}
#endif

static unsigned long kho_test_poison;
/* Pages that were looked at, and parts of memory; a node is a page by itself. */
static unsigned long kho_test_looked;
static unsigned long kho_test_spans;

static bool kho_test_has_poison(void)
{
	return true;
}

static bool kho_test_is_poison(unsigned long pfn)
{
	kho_test_looked++;
	return pfn == kho_test_poison;
}

static bool kho_test_span_has_poison(unsigned long pfn, unsigned long nr)
{
	kho_test_spans += nr > 1;
	return pfn <= kho_test_poison && kho_test_poison < pfn + nr;
}

static bool kho_test_span_is_clean(unsigned long pfn, unsigned long nr)
{
	return false;
}

/* A page gets a memory error before it is preserved, or after. */
static void kho_pages_test_poison(struct kunit *test)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 3);
	phys_addr_t phys;

	KUNIT_ASSERT_NOT_NULL(test, folio);
	phys = PFN_PHYS(folio_pfn(folio));
	kho_test_poison = folio_pfn(folio) + 5;
	kunit_activate_static_stub(test, kho_has_poison, kho_test_has_poison);
	kunit_activate_static_stub(test, kho_is_poison, kho_test_is_poison);
	kunit_activate_static_stub(test, kho_span_has_poison,
				   kho_test_span_has_poison);

	KUNIT_EXPECT_TRUE(test, kho_pages_intact());
	KUNIT_EXPECT_EQ(test, -EHWPOISON, kho_preserve_folio(folio));
	KUNIT_EXPECT_EQ(test, -EHWPOISON,
			kho_preserve_pages(folio_page(folio, 0), 8));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved_run(folio_pfn(folio), 1, 3));

	kunit_deactivate_static_stub(test, kho_has_poison);
	KUNIT_EXPECT_EQ(test, 0, kho_preserve_folio(folio));
	KUNIT_EXPECT_TRUE(test, kho_pages_intact());
	KUNIT_EXPECT_TRUE(test, kho_is_preserved(phys, 3));
	kunit_activate_static_stub(test, kho_has_poison, kho_test_has_poison);
	KUNIT_EXPECT_FALSE(test, kho_pages_intact());

	/* As metadata it is not to be read; it is this kernel's, and stays. */
	KUNIT_EXPECT_FALSE(test, kho_is_preserved(phys, 3));
	KUNIT_EXPECT_TRUE(test, kho_is_preserved_run(folio_pfn(folio), 1, 3));

	kho_unpreserve_folio(folio);
	KUNIT_EXPECT_TRUE(test, kho_pages_intact());
	folio_put(folio);

	/* Nor is the map, or scratch. */
	kho_test_poison = PHYS_PFN(kho_map_root(&kho_map));
	KUNIT_EXPECT_FALSE(test, kho_pages_intact());
	kho_test_poison = PHYS_PFN(kho_scratch[0].addr + kho_scratch[0].size) - 1;
	KUNIT_EXPECT_FALSE(test, kho_pages_intact());
}

/* Of all that is preserved, only what is near an error is looked at. */
static void kho_pages_test_poison_near(struct kunit *test)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 3);
	unsigned long all;

	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_folio(folio));
	all = kho_test_blocks(test);
	kunit_activate_static_stub(test, kho_has_poison, kho_test_has_poison);
	kunit_activate_static_stub(test, kho_is_poison, kho_test_is_poison);

	kunit_activate_static_stub(test, kho_span_has_poison,
				   kho_test_span_is_clean);
	kho_test_poison = folio_pfn(folio);
	kho_test_looked = 0;
	KUNIT_EXPECT_TRUE(test, kho_pages_intact());
	KUNIT_EXPECT_EQ(test, kho_test_looked, 0);

	/* Near it are no more than all, and memory has some parts. */
	kunit_activate_static_stub(test, kho_span_has_poison,
				   kho_test_span_has_poison);
	kho_test_spans = 0;
	KUNIT_EXPECT_FALSE(test, kho_pages_intact());
	KUNIT_EXPECT_GT(test, kho_test_looked, 0);
	KUNIT_EXPECT_GT(test, kho_test_spans, 0);
	KUNIT_EXPECT_LE(test, kho_test_spans, all);
	kunit_deactivate_static_stub(test, kho_span_has_poison);

	/* Nothing is wrong with memory, so nothing is counted anywhere. */
	if (IS_ENABLED(CONFIG_MEMORY_FAILURE) &&
	    IS_ENABLED(CONFIG_MEMORY_HOTPLUG)) {
		kho_test_looked = 0;
		KUNIT_EXPECT_TRUE(test, kho_pages_intact());
		KUNIT_EXPECT_EQ(test, kho_test_looked, 0);
	}

	kho_unpreserve_folio(folio);
	folio_put(folio);
}

static struct kunit_case kho_pages_cases[] = {
	KUNIT_CASE(kho_pages_test_split),
	KUNIT_CASE(kho_pages_test_errors),
	KUNIT_CASE(kho_pages_test_alloc),
	KUNIT_CASE(kho_pages_test_no_memory),
	KUNIT_CASE(kho_pages_test_restore_used),
	KUNIT_CASE(kho_pages_test_restore_ours),
	KUNIT_CASE(kho_pages_test_added),
	KUNIT_CASE(kho_pages_test_ram),
	KUNIT_CASE(kho_pages_test_scratch_overlap),
	KUNIT_CASE(kho_pages_test_poison),
	KUNIT_CASE(kho_pages_test_poison_near),
#ifdef CONFIG_KEXEC_HANDOVER_DEBUG
	KUNIT_CASE(kho_pages_test_debug),
#endif
	{}
};

static struct kunit_suite kho_pages_suite = {
	.name = "kho_pages",
	.init = kho_test_init,
	.test_cases = kho_pages_cases,
};

kunit_test_suite(kho_pages_suite);
