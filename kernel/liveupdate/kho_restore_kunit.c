// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of giving pages back. They stand for pages of the previous kernel:
 * preserved, with one reference, and nothing that tells whose they are. This kernel
 * has counted them as its memory, so what is counted when they come back is taken
 * off again.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "kho_internal.h"
#include "kho_kunit.h"

#define KHO_TEST_ORDER	3
#define KHO_TEST_PAGES	BIT(KHO_TEST_ORDER)

/* The page that has a memory error, and those that are held once looked at. */
static unsigned long kho_test_poison;
static struct page *kho_test_held[KHO_TEST_PAGES];

static bool kho_test_has_poison(void)
{
	return true;
}

static bool kho_test_is_poison(unsigned long pfn)
{
	unsigned int i;

	for (i = 0; i < KHO_TEST_PAGES; i++)
		if (kho_test_held[i] && page_to_pfn(kho_test_held[i]) == pfn)
			get_page(kho_test_held[i]);
	return pfn == kho_test_poison;
}

static void kho_test_poison_at(struct kunit *test, unsigned long pfn)
{
	kho_test_poison = pfn;
	memset(kho_test_held, 0, sizeof(kho_test_held));
	kunit_activate_static_stub(test, kho_has_poison, kho_test_has_poison);
	kunit_activate_static_stub(test, kho_is_poison, kho_test_is_poison);
}

static void kho_test_no_poison(struct kunit *test)
{
	kunit_deactivate_static_stub(test, kho_has_poison);
	kunit_deactivate_static_stub(test, kho_is_poison);
}

/* Single pages that lie one after the other. */
static struct page *kho_test_pages(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, KHO_TEST_ORDER);

	KUNIT_ASSERT_NOT_NULL(test, page);
	split_page(page, KHO_TEST_ORDER);
	return page;
}

/* All that was counted is one zone's, and is this many pages. */
static void kho_expect_managed(struct kunit *test, struct page *page,
			       unsigned long before, unsigned long total,
			       unsigned long nr)
{
	KUNIT_EXPECT_EQ(test, before + nr, zone_managed_pages(page_zone(page)));
	KUNIT_EXPECT_EQ(test, total + nr, totalram_pages());
	adjust_managed_page_count(page, -(long)nr);
}

/* A folio comes back in its order; it says so if a page of it has an error. */
static void kho_restore_test_folio(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), managed, total, pfn;
	struct folio *folio;
	struct page *page;
	bool poison;
	int i;

	for (i = 0; i < 2; i++) {
		poison = i;
		page = kho_test_pages(test);
		pfn = page_to_pfn(page);
		managed = zone_managed_pages(page_zone(page));
		total = totalram_pages();
		KUNIT_ASSERT_EQ(test, 0, kho_preserve_run(pfn, 1, KHO_TEST_ORDER));

		kho_test_poison_at(test, poison ? pfn + 5 : 0);
		folio = kho_restore_folio(PFN_PHYS(pfn));
		kho_test_no_poison(test);
		KUNIT_ASSERT_PTR_EQ(test, folio_page(folio, 0), page);
		KUNIT_EXPECT_EQ(test, folio_order(folio), KHO_TEST_ORDER);
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
		if (IS_ENABLED(CONFIG_MEMORY_FAILURE) &&
		    IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
			KUNIT_EXPECT_EQ(test, poison,
					folio_test_has_hwpoisoned(folio));
		kho_expect_managed(test, page, managed, total, KHO_TEST_PAGES);
		folio_put(folio);
	}
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
}

/* Single pages come back as such. */
static void kho_restore_test_pages(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), managed, total, i;
	const unsigned long nr = KHO_TEST_PAGES - 2;
	struct page *page = kho_test_pages(test);

	managed = zone_managed_pages(page_zone(page));
	total = totalram_pages();
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_pages(page + 1, nr));
	for (i = 1; i <= nr; i++)
		set_page_private(page + i, 0);

	KUNIT_ASSERT_PTR_EQ(test, page + 1,
			    kho_restore_pages(page_to_phys(page + 1), nr));
	for (i = 1; i <= nr; i++)
		KUNIT_EXPECT_EQ(test, page_ref_count(page + i), 1);
	kho_expect_managed(test, page, managed, total, nr);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	for (i = 0; i < KHO_TEST_PAGES; i++)
		__free_page(page + i);
}

/* Each zone counts its own, also if runs of several come back together. */
static void kho_restore_test_zones(struct kunit *test)
{
	static const gfp_t zones[] = { GFP_KERNEL | GFP_DMA, GFP_KERNEL };
	unsigned long managed[ARRAY_SIZE(zones)];
	struct kho_run runs[ARRAY_SIZE(zones)];
	struct page *pages[ARRAY_SIZE(zones)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(zones); i++) {
		pages[i] = alloc_page(zones[i]);
		KUNIT_ASSERT_NOT_NULL(test, pages[i]);
		managed[i] = zone_managed_pages(page_zone(pages[i]));
		runs[i] = (struct kho_run) {
			.pfn = page_to_pfn(pages[i]), .nr = 1,
		};
	}
	if (IS_ENABLED(CONFIG_ZONE_DMA))
		KUNIT_EXPECT_PTR_NE(test, page_zone(pages[0]),
				    page_zone(pages[1]));
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_runs(runs, ARRAY_SIZE(runs)));
	KUNIT_EXPECT_TRUE(test, kho_restore_runs(runs, ARRAY_SIZE(runs)));

	for (i = 0; i < ARRAY_SIZE(zones); i++) {
		if (page_zone(pages[0]) != page_zone(pages[1]))
			KUNIT_EXPECT_EQ(test, managed[i] + 1,
					zone_managed_pages(page_zone(pages[i])));
		adjust_managed_page_count(pages[i], -1);
		__free_page(pages[i]);
	}
}

/* A border that lies within a run: the second half of it is another zone's. */
static void kho_restore_test_border(struct kunit *test)
{
	const unsigned long half = KHO_TEST_PAGES / 2;
	struct page *page = kho_test_pages(test), *second = page + half;
	const struct kho_run run = {
		.pfn = page_to_pfn(page), .nr = KHO_TEST_PAGES,
	};
	enum zone_type zone = page_zonenum(page), other = zone ? zone - 1 : 1;
	unsigned long managed[2], i;

	for (i = half; i < KHO_TEST_PAGES; i++)
		set_page_zone(page + i, other);
	managed[0] = zone_managed_pages(page_zone(page));
	managed[1] = zone_managed_pages(page_zone(second));
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_runs(&run, 1));
	KUNIT_EXPECT_TRUE(test, kho_restore_runs(&run, 1));

	KUNIT_EXPECT_EQ(test, managed[0] + half,
			zone_managed_pages(page_zone(page)));
	KUNIT_EXPECT_EQ(test, managed[1] + half,
			zone_managed_pages(page_zone(second)));
	adjust_managed_page_count(page, -(long)half);
	adjust_managed_page_count(second, -(long)half);
	for (i = half; i < KHO_TEST_PAGES; i++)
		set_page_zone(page + i, zone);
	for (i = 0; i < KHO_TEST_PAGES; i++)
		__free_page(page + i);
}

/* An area that is preserved, and is this kernel's no more. */
static void kho_test_incoming_area(struct kunit *test, struct page **list,
				   struct kho_vmalloc *desc)
{
	struct page **pages = kvmalloc_array(KHO_TEST_PAGES, sizeof(*pages),
					     GFP_KERNEL);
	unsigned long i;
	void *mem;

	KUNIT_ASSERT_NOT_NULL(test, pages);
	for (i = 0; i < KHO_TEST_PAGES; i++) {
		pages[i] = alloc_page(GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, pages[i]);
		memset(page_address(pages[i]), i + 1, PAGE_SIZE);
		list[i] = pages[i];
	}
	mem = vmap(pages, KHO_TEST_PAGES, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_vmalloc(mem, desc));
	vunmap(mem);
	kvfree(pages);

	for (i = 0; i < KHO_TEST_PAGES; i++)
		set_page_private(list[i], 0);
	set_page_private(virt_to_page(phys_to_virt(desc->first)), 0);
}

/* The pages and the list of them have been counted once more. */
static void kho_test_uncount_area(struct kunit *test, struct page **list,
				  unsigned long total)
{
	KUNIT_EXPECT_EQ(test, total + KHO_TEST_PAGES + 1, totalram_pages());
	adjust_managed_page_count(list[0], -(long)(KHO_TEST_PAGES + 1));
}

static void kho_restore_test_vmalloc(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), total, i;
	struct page *list[KHO_TEST_PAGES];
	struct kho_vmalloc desc;
	char *mem;

	kho_test_incoming_area(test, list, &desc);
	total = totalram_pages();
	mem = kho_restore_vmalloc(&desc);
	KUNIT_ASSERT_NOT_NULL(test, mem);
	for (i = 0; i < KHO_TEST_PAGES; i++)
		KUNIT_EXPECT_NULL(test, memchr_inv(mem + i * PAGE_SIZE, i + 1,
						   PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	kho_test_uncount_area(test, list, total);
	vfree(mem);
}

/* One that cannot be read is not given back, and none of its pages is lost. */
static void kho_restore_test_vmalloc_poison(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), total, i;
	struct page *list[KHO_TEST_PAGES];
	struct kho_vmalloc desc;

	kho_test_incoming_area(test, list, &desc);
	total = totalram_pages();
	kho_test_poison_at(test, page_to_pfn(list[2]));
	memcpy(kho_test_held, list, sizeof(list));
	KUNIT_EXPECT_NULL(test, kho_restore_vmalloc(&desc));
	kho_test_no_poison(test);

	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	kho_test_uncount_area(test, list, total);
	for (i = 0; i < KHO_TEST_PAGES; i++) {
		/* The test has it, and nobody else. */
		KUNIT_EXPECT_EQ(test, 1, page_ref_count(list[i]));
		put_page(list[i]);
	}
}

static struct kunit_case kho_restore_cases[] = {
	KUNIT_CASE(kho_restore_test_folio),
	KUNIT_CASE(kho_restore_test_pages),
	KUNIT_CASE(kho_restore_test_zones),
	KUNIT_CASE(kho_restore_test_border),
	KUNIT_CASE(kho_restore_test_vmalloc),
	KUNIT_CASE(kho_restore_test_vmalloc_poison),
	{}
};

static struct kunit_suite kho_restore_suite = {
	.name = "kho_restore",
	.init = kho_test_init,
	.test_cases = kho_restore_cases,
};

kunit_test_suite(kho_restore_suite);
