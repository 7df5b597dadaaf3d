// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of what is built on the map of preserved pages. They preserve
 * pages of this kernel for a moment, so the handover must be on; restoring
 * them is for the next kernel, and for the tests that have one.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kho_internal.h"

static int kho_test_init(struct kunit *test)
{
	if (!kho_is_enabled())
		kunit_skip(test, "the handover is off, boot with kho=on");
	return 0;
}

/* Blocks in the map that is handed over: nobody else changes it by now. */
static unsigned long kho_test_blocks(struct kunit *test)
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
static phys_addr_t kho_test_other_page(struct kunit *test)
{
	unsigned long page = get_zeroed_page(GFP_KERNEL);

	KUNIT_ASSERT_NE(test, page, 0);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kho_test_free_page,
						  (void *)page));
	return virt_to_phys((void *)page);
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

static void kho_test_split(struct kunit *test, struct page *page,
			   unsigned long nr)
{
	unsigned long pfn = page_to_pfn(page), end = pfn + nr;
	unsigned int order;

	KUNIT_ASSERT_EQ(test, 0, kho_preserve_pages(page, nr));
	while (pfn < end) {
		order = kho_test_order(pfn, end - pfn);
		KUNIT_EXPECT_TRUE_MSG(test,
				      kho_is_preserved(PFN_PHYS(pfn), order),
				      "%lu pages at %#lx: no block of order %u at %#lx",
				      nr, page_to_pfn(page), order, pfn);
		pfn += 1UL << order;
	}
	kho_unpreserve_pages(page, nr);
}

/* Every run within a block. */
static void kho_pages_test_split(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), start, nr;
	struct page *page = alloc_pages(GFP_KERNEL, KHO_TEST_ORDER);

	KUNIT_ASSERT_NOT_NULL(test, page);
	split_page(page, KHO_TEST_ORDER);

	for (start = 0; start < KHO_TEST_PAGES; start++)
		for (nr = 1; start + nr <= KHO_TEST_PAGES; nr++)
			kho_test_split(test, page + start, nr);
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

static bool kho_test_has_poison(void)
{
	return true;
}

static bool kho_test_is_poison(unsigned long pfn)
{
	return pfn == kho_test_poison;
}

/* A page gets a memory error before it is preserved, or after. */
static void kho_pages_test_poison(struct kunit *test)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 3);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	kho_test_poison = folio_pfn(folio) + 5;
	kunit_activate_static_stub(test, kho_has_poison, kho_test_has_poison);
	kunit_activate_static_stub(test, kho_is_poison, kho_test_is_poison);

	KUNIT_EXPECT_TRUE(test, kho_pages_intact());
	KUNIT_EXPECT_EQ(test, -EHWPOISON, kho_preserve_folio(folio));
	KUNIT_EXPECT_EQ(test, -EHWPOISON,
			kho_preserve_pages(folio_page(folio, 0), 8));
	KUNIT_EXPECT_FALSE(test, kho_is_preserved_run(folio_pfn(folio), 1, 3));

	kunit_deactivate_static_stub(test, kho_has_poison);
	KUNIT_EXPECT_EQ(test, 0, kho_preserve_folio(folio));
	KUNIT_EXPECT_TRUE(test, kho_pages_intact());
	kunit_activate_static_stub(test, kho_has_poison, kho_test_has_poison);
	KUNIT_EXPECT_FALSE(test, kho_pages_intact());

	kho_unpreserve_folio(folio);
	KUNIT_EXPECT_TRUE(test, kho_pages_intact());
	folio_put(folio);
}

static struct kunit_case kho_pages_cases[] = {
	KUNIT_CASE(kho_pages_test_split),
	KUNIT_CASE(kho_pages_test_errors),
	KUNIT_CASE(kho_pages_test_alloc),
	KUNIT_CASE(kho_pages_test_scratch_overlap),
	KUNIT_CASE(kho_pages_test_poison),
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

/* Two chunks, the second one not full. */
#define KHO_TEST_VM_PAGES	(KHO_VMALLOC_CHUNK_ENTRIES + 3)

struct kho_test_area {
	unsigned long before;
	void *mem;
	struct kho_vmalloc desc;
	struct kho_vmalloc_chunk *chunk;
	struct kho_vmalloc_chunk *last;
	u64 *sum;
};

static void kho_test_preserve_area(struct kunit *test, struct kho_test_area *a)
{
	a->before = kho_test_blocks(test);
	a->mem = vmalloc(KHO_TEST_VM_PAGES * PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, a->mem);
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_vmalloc(a->mem, &a->desc));
	KUNIT_ASSERT_TRUE(test, kho_vmalloc_valid(&a->desc));
	a->chunk = phys_to_virt(a->desc.first);
	a->last = phys_to_virt(a->chunk->next);
	a->sum = &a->last->phys[4];
}

/* The damage was undone. */
static void kho_test_unpreserve_area(struct kunit *test,
				     struct kho_test_area *a)
{
	KUNIT_ASSERT_TRUE(test, kho_vmalloc_valid(&a->desc));
	kho_unpreserve_vmalloc(&a->desc);
	KUNIT_EXPECT_EQ(test, a->desc.first, 0);
	KUNIT_EXPECT_EQ(test, a->before, kho_test_blocks(test));
	vfree(a->mem);
}

static void kho_vmalloc_test_describes(struct kunit *test)
{
	struct kho_test_area a;
	unsigned int i;

	kho_test_preserve_area(test, &a);
	KUNIT_EXPECT_EQ(test, a.desc.total_pages, KHO_TEST_VM_PAGES);
	KUNIT_EXPECT_EQ(test, a.desc.order, 0);
	KUNIT_EXPECT_EQ(test, a.desc.flags, KHO_VMALLOC_ALLOC);
	KUNIT_EXPECT_TRUE(test, kho_is_preserved(a.desc.first, 0));
	for (i = 0; i < KHO_VMALLOC_CHUNK_ENTRIES; i++)
		KUNIT_EXPECT_EQ(test, a.chunk->phys[i],
				PFN_PHYS(vmalloc_to_pfn(a.mem + i * PAGE_SIZE)));
	KUNIT_EXPECT_EQ(test, a.last->phys[3], 0);
	KUNIT_EXPECT_EQ(test, a.last->next, 0);
	KUNIT_EXPECT_EQ(test, *a.sum >> 32, KHO_VMALLOC_SUM >> 32);
	kho_test_unpreserve_area(test, &a);
}

static void kho_vmalloc_test_sizes(struct kunit *test)
{
	static const unsigned int sizes[] = {
		1, 2, KHO_VMALLOC_CHUNK_ENTRIES - 1, KHO_VMALLOC_CHUNK_ENTRIES,
		KHO_VMALLOC_CHUNK_ENTRIES + 1, 2 * KHO_VMALLOC_CHUNK_ENTRIES,
	};
	unsigned long before = kho_test_blocks(test);
	struct kho_vmalloc desc;
	unsigned int i;
	void *mem;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		mem = vmalloc(sizes[i] * PAGE_SIZE);
		KUNIT_ASSERT_NOT_NULL(test, mem);
		KUNIT_EXPECT_EQ(test, 0, kho_preserve_vmalloc(mem, &desc));
		KUNIT_EXPECT_EQ(test, desc.total_pages, sizes[i]);
		KUNIT_EXPECT_TRUE(test, kho_vmalloc_valid(&desc));
		kho_unpreserve_vmalloc(&desc);
		vfree(mem);
	}
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
}

static void kho_vmalloc_test_huge(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test);
	void *mem = vmalloc_huge(SZ_4M, GFP_KERNEL);
	struct kho_vmalloc desc;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_EXPECT_EQ(test, 0, kho_preserve_vmalloc(mem, &desc));
	KUNIT_EXPECT_TRUE(test, desc.flags & KHO_VMALLOC_HUGE_VMAP);
	KUNIT_EXPECT_TRUE(test, kho_vmalloc_valid(&desc));
	kho_unpreserve_vmalloc(&desc);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	vfree(mem);
}

static void kho_vmalloc_test_not_vmalloc(struct kunit *test)
{
	void *mem = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct kho_vmalloc desc;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_preserve_vmalloc(mem, &desc));
	KUNIT_EXPECT_EQ(test, -EINVAL, kho_preserve_vmalloc(NULL, &desc));
}

/* A field of the descriptor is wrong. */
#define kho_expect_bad_desc(test, desc, field, bad) do {		\
	struct kho_vmalloc __desc = *(desc);				\
									\
	__desc.field = (bad);						\
	KUNIT_EXPECT_FALSE(test, kho_vmalloc_valid(&__desc));		\
} while (0)

static void kho_vmalloc_test_bad_descriptor(struct kunit *test)
{
	phys_addr_t other = kho_test_other_page(test);
	struct kho_test_area a;

	kho_test_preserve_area(test, &a);
	kho_expect_bad_desc(test, &a.desc, total_pages, 0);
	kho_expect_bad_desc(test, &a.desc, total_pages, KHO_TEST_VM_PAGES - 1);
	kho_expect_bad_desc(test, &a.desc, total_pages, KHO_TEST_VM_PAGES + 1);
	kho_expect_bad_desc(test, &a.desc, total_pages, 1);
	kho_expect_bad_desc(test, &a.desc, total_pages, U32_MAX);
	kho_expect_bad_desc(test, &a.desc, order, 1);
	kho_expect_bad_desc(test, &a.desc, order, MAX_PAGE_ORDER + 1);
	kho_expect_bad_desc(test, &a.desc, order, U16_MAX);
	kho_expect_bad_desc(test, &a.desc, flags, 4);
	kho_expect_bad_desc(test, &a.desc, flags, U16_MAX);
	kho_expect_bad_desc(test, &a.desc, first, 0);
	kho_expect_bad_desc(test, &a.desc, first, other);
	kho_expect_bad_desc(test, &a.desc, first, a.desc.first + 8);
	kho_expect_bad_desc(test, &a.desc, first, a.chunk->next);
	kho_expect_bad_desc(test, &a.desc, first, 1ULL << 63);
	kho_test_unpreserve_area(test, &a);
}

/* A word of a chunk is wrong. */
static void kho_expect_bad_word(struct kunit *test,
				const struct kho_vmalloc *desc, u64 *word,
				u64 bad)
{
	u64 good = *word;

	*word = bad;
	KUNIT_EXPECT_FALSE_MSG(test, kho_vmalloc_valid(desc),
			       "%#llx in place of %#llx", bad, good);
	*word = good;
}

/* Without a checksum, as other kernels leave a list. */
static void kho_vmalloc_test_bad_chunk(struct kunit *test)
{
	phys_addr_t other = kho_test_other_page(test);
	struct kho_test_area a;
	u64 sum;

	kho_test_preserve_area(test, &a);
	sum = *a.sum;
	*a.sum = 0;
	KUNIT_ASSERT_TRUE(test, kho_vmalloc_valid(&a.desc));

	/* Circles, and pages that are no chunks. */
	kho_expect_bad_word(test, &a.desc, &a.chunk->next, a.desc.first);
	kho_expect_bad_word(test, &a.desc, &a.last->next, a.desc.first);
	kho_expect_bad_word(test, &a.desc, &a.last->next, a.chunk->next);
	kho_expect_bad_word(test, &a.desc, &a.chunk->next, 0);
	kho_expect_bad_word(test, &a.desc, &a.chunk->next, other);
	kho_expect_bad_word(test, &a.desc, &a.chunk->next, a.chunk->next + 1);
	kho_expect_bad_word(test, &a.desc, &a.chunk->next, 1ULL << 62);
	kho_expect_bad_word(test, &a.desc, &a.last->next, other);

	kho_expect_bad_word(test, &a.desc, &a.chunk->phys[0], 0);
	kho_expect_bad_word(test, &a.desc, &a.chunk->phys[0], other);
	kho_expect_bad_word(test, &a.desc, &a.chunk->phys[100], 0);
	kho_expect_bad_word(test, &a.desc, &a.chunk->phys[100],
			    a.chunk->phys[100] + 1);
	kho_expect_bad_word(test, &a.desc, &a.last->phys[2], 0);
	kho_expect_bad_word(test, &a.desc, &a.last->phys[2], ~0ULL);
	kho_expect_bad_word(test, &a.desc, &a.last->phys[3],
			    a.last->phys[2]);

	/* Pages that are named twice. */
	kho_expect_bad_word(test, &a.desc, &a.last->phys[2],
			    a.last->phys[1]);
	kho_expect_bad_word(test, &a.desc, &a.last->phys[2],
			    a.chunk->phys[7]);
	kho_expect_bad_word(test, &a.desc, &a.last->phys[2], a.desc.first);
	kho_expect_bad_word(test, &a.desc, &a.chunk->phys[0], a.chunk->next);

	*a.sum = sum;
	kho_test_unpreserve_area(test, &a);
}

/* Any byte of the list is wrong, up to that of the checksum itself. */
static void kho_vmalloc_test_sum(struct kunit *test)
{
	struct kho_test_area a;
	u8 *byte;

	kho_test_preserve_area(test, &a);
	for (byte = (u8 *)a.last; byte < (u8 *)(a.sum + 1); byte++) {
		*byte ^= 0xff;
		KUNIT_EXPECT_FALSE_MSG(test, kho_vmalloc_valid(&a.desc),
				       "byte %tu", byte - (u8 *)a.last);
		*byte ^= 0xff;
	}
	kho_expect_bad_word(test, &a.desc, &a.chunk->phys[1],
			    a.chunk->phys[2]);
	/* Right addresses at the wrong places. */
	swap(a.chunk->phys[1], a.chunk->phys[2]);
	KUNIT_EXPECT_FALSE(test, kho_vmalloc_valid(&a.desc));
	swap(a.chunk->phys[1], a.chunk->phys[2]);
	kho_test_unpreserve_area(test, &a);
}

static struct kunit_case kho_vmalloc_cases[] = {
	KUNIT_CASE(kho_vmalloc_test_describes),
	KUNIT_CASE(kho_vmalloc_test_sizes),
	KUNIT_CASE(kho_vmalloc_test_huge),
	KUNIT_CASE(kho_vmalloc_test_not_vmalloc),
	KUNIT_CASE(kho_vmalloc_test_bad_descriptor),
	KUNIT_CASE(kho_vmalloc_test_bad_chunk),
	KUNIT_CASE(kho_vmalloc_test_sum),
	{}
};

static struct kunit_suite kho_vmalloc_suite = {
	.name = "kho_vmalloc",
	.init = kho_test_init,
	.test_cases = kho_vmalloc_cases,
};

struct kho_test_entry {
	u64 nr;
	u64 twice;
} __packed;

#define KHO_TEST_PER_PAGE						\
	((PAGE_SIZE - sizeof(struct kho_chain_page)) / sizeof(struct kho_test_entry))

static void kho_test_fill(struct kunit *test, struct kho_chain *chain,
			  unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		struct kho_test_entry entry = { i, 2 * i };

		KUNIT_ASSERT_EQ(test, 0, kho_chain_append(chain, &entry));
	}
}

/* Read a chain to its end: the number of entries, or what went wrong. */
static long kho_test_read(struct kunit *test, u64 first)
{
	struct kho_chain_reader reader;
	const struct kho_test_entry *entry;
	unsigned int pages = 0;
	u32 nr, i;
	long n = 0;

	kho_chain_open(&reader, first, sizeof(*entry));
	while ((entry = kho_chain_read(&reader, &nr))) {
		if (IS_ERR(entry))
			return PTR_ERR(entry);
		KUNIT_ASSERT_LT(test, pages++, 100);
		for (i = 0; i < nr; i++, n++) {
			KUNIT_ASSERT_EQ(test, entry[i].nr, n);
			KUNIT_ASSERT_EQ(test, entry[i].twice, 2 * n);
		}
	}
	return n;
}

static void kho_chain_test_append(struct kunit *test)
{
	static const unsigned long sizes[] = {
		0, 1, KHO_TEST_PER_PAGE - 1, KHO_TEST_PER_PAGE,
		KHO_TEST_PER_PAGE + 1, 10 * KHO_TEST_PER_PAGE + 7,
	};
	unsigned long before = kho_test_blocks(test);
	struct kho_chain chain;
	unsigned int i;
	u64 first;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		kho_chain_init(&chain, sizeof(struct kho_test_entry));
		kho_test_fill(test, &chain, sizes[i]);
		KUNIT_EXPECT_EQ(test, chain.nr_pages,
				DIV_ROUND_UP(sizes[i], KHO_TEST_PER_PAGE));
		first = kho_chain_seal(&chain);
		KUNIT_EXPECT_EQ(test, !first, !sizes[i]);
		KUNIT_EXPECT_EQ(test, kho_test_read(test, first), sizes[i]);
		KUNIT_EXPECT_EQ(test, before + chain.nr_pages,
				kho_test_blocks(test));
		kho_chain_destroy(&chain);
		KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	}
}

/* Many at a time, which begin and end anywhere in a page. */
static void kho_chain_test_append_many(struct kunit *test)
{
	const unsigned long all = 3 * KHO_TEST_PER_PAGE, step = 97;
	unsigned long before = kho_test_blocks(test);
	struct kho_test_entry *entries;
	struct kho_chain chain;
	unsigned long i;

	entries = kunit_kcalloc(test, all, sizeof(*entries), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, entries);
	for (i = 0; i < all; i++)
		entries[i] = (struct kho_test_entry) { i, 2 * i };

	kho_chain_init(&chain, sizeof(*entries));
	KUNIT_EXPECT_EQ(test, 0, kho_chain_append_many(&chain, entries, 0));
	KUNIT_EXPECT_EQ(test, chain.nr_pages, 0);
	for (i = 0; i < all; i += step)
		KUNIT_ASSERT_EQ(test, 0,
				kho_chain_append_many(&chain, entries + i,
						      min(step, all - i)));
	KUNIT_EXPECT_EQ(test, chain.nr_pages, 3);
	KUNIT_EXPECT_EQ(test, kho_test_read(test, kho_chain_seal(&chain)), all);
	kho_chain_destroy(&chain);

	KUNIT_EXPECT_EQ(test, 0, kho_chain_append_many(&chain, entries, all));
	KUNIT_EXPECT_EQ(test, chain.nr_pages, 3);
	KUNIT_EXPECT_EQ(test, kho_test_read(test, kho_chain_seal(&chain)), all);
	kho_chain_destroy(&chain);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
}

/* Sealed again and again while it grows. */
static void kho_chain_test_seal(struct kunit *test)
{
	struct kho_chain chain;
	unsigned long i;

	kho_chain_init(&chain, sizeof(struct kho_test_entry));
	for (i = 0; i < 2 * KHO_TEST_PER_PAGE + 2; i++) {
		struct kho_test_entry entry = { i, 2 * i };

		KUNIT_ASSERT_EQ(test, 0, kho_chain_append(&chain, &entry));
		if (i % 50 == 0 || i % KHO_TEST_PER_PAGE <= 1)
			KUNIT_EXPECT_EQ(test, i + 1,
					kho_test_read(test,
						      kho_chain_seal(&chain)));
	}
	kho_chain_destroy(&chain);
}

/* Room is made first, and nothing is allocated when it is used. */
static void kho_chain_test_resize(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), pages;
	unsigned long nr = 3 * KHO_TEST_PER_PAGE + 5;
	unsigned int round;
	struct kho_chain chain;

	kho_chain_init(&chain, sizeof(struct kho_test_entry));
	for (round = 0; round < 3; round++) {
		KUNIT_ASSERT_EQ(test, 0, kho_chain_resize(&chain, nr));
		pages = chain.nr_pages;
		KUNIT_EXPECT_EQ(test, pages, DIV_ROUND_UP(nr, KHO_TEST_PER_PAGE));
		kho_chain_rewind(&chain);
		kho_test_fill(test, &chain, nr);
		KUNIT_EXPECT_EQ(test, pages, chain.nr_pages);
		KUNIT_EXPECT_EQ(test, nr,
				kho_test_read(test, kho_chain_seal(&chain)));
		KUNIT_EXPECT_EQ(test, before + pages, kho_test_blocks(test));
		nr -= KHO_TEST_PER_PAGE;
	}
	KUNIT_EXPECT_EQ(test, 0, kho_chain_resize(&chain, 0));
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	KUNIT_EXPECT_EQ(test, kho_chain_seal(&chain), 0);
}

static void kho_chain_test_reserve(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test);
	unsigned long nr = 2 * KHO_TEST_PER_PAGE;
	struct kho_chain chain;

	kho_chain_init(&chain, sizeof(struct kho_test_entry));
	KUNIT_ASSERT_EQ(test, 0, kho_chain_reserve(&chain, nr));
	KUNIT_EXPECT_EQ(test, chain.nr_pages, 2);
	kho_chain_trim(&chain);
	KUNIT_EXPECT_EQ(test, chain.nr_pages, 0);

	kho_test_fill(test, &chain, 3);
	KUNIT_ASSERT_EQ(test, 0, kho_chain_reserve(&chain, nr));
	KUNIT_EXPECT_EQ(test, chain.nr_pages, 3);
	kho_chain_trim(&chain);
	KUNIT_EXPECT_EQ(test, chain.nr_pages, 1);
	KUNIT_EXPECT_EQ(test, kho_test_read(test, kho_chain_seal(&chain)), 3);
	kho_chain_destroy(&chain);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
}

static void kho_chain_test_damaged_page(struct kunit *test)
{
	struct kho_chain_page *page;
	struct kho_chain chain;
	u64 first;
	u32 count;

	kho_chain_init(&chain, sizeof(struct kho_test_entry));
	kho_test_fill(test, &chain, KHO_TEST_PER_PAGE + 4);
	first = kho_chain_seal(&chain);

	/* A full page has a count that fits, and checksums. */
	page = chain.head;
	page->crc32c ^= 1;
	KUNIT_EXPECT_EQ(test, -EBADMSG, kho_test_read(test, first));
	page->crc32c ^= 1;
	page->entries[17] ^= 0x80;
	KUNIT_EXPECT_EQ(test, -EBADMSG, kho_test_read(test, first));
	page->entries[17] ^= 0x80;
	count = page->count;
	page->count = 0;
	KUNIT_EXPECT_EQ(test, -EBADMSG, kho_test_read(test, first));
	page->count = count - 1;
	KUNIT_EXPECT_EQ(test, -EBADMSG, kho_test_read(test, first));
	page->count = count + 1;
	KUNIT_EXPECT_EQ(test, -EBADMSG, kho_test_read(test, first));
	page->count = U32_MAX;
	KUNIT_EXPECT_EQ(test, -EBADMSG, kho_test_read(test, first));
	page->count = count;

	/* Counts that are damaged and summed. */
	count = chain.tail->count;
	chain.tail->count = 0;
	KUNIT_EXPECT_EQ(test, -EBADMSG,
			kho_test_read(test, kho_chain_seal(&chain)));
	chain.tail->count = count;

	KUNIT_EXPECT_EQ(test, KHO_TEST_PER_PAGE + 4,
			kho_test_read(test, kho_chain_seal(&chain)));
	kho_chain_destroy(&chain);
}

/* The last page points somewhere, and its checksum is right. */
static void kho_expect_bad_link(struct kunit *test, struct kho_chain *chain,
				u64 next)
{
	struct kho_chain_reader reader;
	const void *entries;
	unsigned int pages = 0;
	u64 first;
	u32 nr;

	chain->tail->next = next;
	first = kho_chain_seal(chain);
	kho_chain_open(&reader, first, sizeof(struct kho_test_entry));
	do {
		entries = kho_chain_read(&reader, &nr);
	} while (!IS_ERR_OR_NULL(entries) && ++pages < 100);
	KUNIT_EXPECT_EQ_MSG(test, -EBADMSG, PTR_ERR_OR_ZERO(entries),
			    "%u pages read, next %#llx", pages, next);
	chain->tail->next = 0;
}

static void kho_chain_test_bad_links(struct kunit *test)
{
	phys_addr_t other = kho_test_other_page(test);
	struct kho_chain chain;
	u64 first;

	kho_chain_init(&chain, sizeof(struct kho_test_entry));
	kho_test_fill(test, &chain, 6 * KHO_TEST_PER_PAGE + 1);
	first = kho_chain_seal(&chain);

	kho_expect_bad_link(test, &chain, first);
	kho_expect_bad_link(test, &chain, chain.head->next);
	kho_expect_bad_link(test, &chain, virt_to_phys(chain.tail));
	kho_expect_bad_link(test, &chain, other);
	kho_expect_bad_link(test, &chain, first + 16);
	kho_expect_bad_link(test, &chain, ~0ULL << PAGE_SHIFT);
	kho_expect_bad_link(test, &chain, 1);
	kho_chain_destroy(&chain);

	KUNIT_EXPECT_EQ(test, -EBADMSG, kho_test_read(test, other));
	KUNIT_EXPECT_EQ(test, 0, kho_test_read(test, 0));
}

static struct kunit_case kho_chain_cases[] = {
	KUNIT_CASE(kho_chain_test_append),
	KUNIT_CASE(kho_chain_test_append_many),
	KUNIT_CASE(kho_chain_test_seal),
	KUNIT_CASE(kho_chain_test_resize),
	KUNIT_CASE(kho_chain_test_reserve),
	KUNIT_CASE(kho_chain_test_damaged_page),
	KUNIT_CASE(kho_chain_test_bad_links),
	{}
};

static struct kunit_suite kho_chain_suite = {
	.name = "kho_chain",
	.init = kho_test_init,
	.test_cases = kho_chain_cases,
};

static void __init kho_expect_sizes(struct kunit *test, const char *text,
				    phys_addr_t low, phys_addr_t global,
				    phys_addr_t pernode)
{
	struct kho_scratch_arg arg = { .percent = 200 };

	KUNIT_EXPECT_EQ_MSG(test, 0, kho_scratch_parse(text, &arg), "%s", text);
	KUNIT_EXPECT_TRUE(test, arg.given);
	KUNIT_EXPECT_EQ(test, arg.low, low);
	KUNIT_EXPECT_EQ(test, arg.global, global);
	KUNIT_EXPECT_EQ(test, arg.pernode, pernode);
	KUNIT_EXPECT_EQ(test, arg.percent, 200);
}

static void __init kho_scratch_test_sizes(struct kunit *test)
{
	kho_expect_sizes(test, "16M,256M,0", SZ_16M, SZ_256M, 0);
	kho_expect_sizes(test, "0,0,1", 0, 0, 1);
	kho_expect_sizes(test, "0x1000,4k,1G", SZ_4K, SZ_4K, SZ_1G);
	kho_expect_sizes(test, "1048576,2M,4096K", SZ_1M, SZ_2M, SZ_4M);
}

static void __init kho_scratch_test_percent(struct kunit *test)
{
	static const struct {
		const char *text;
		unsigned int percent;
	} good[] = {
		{ "100%", 100 }, { "250%", 250 }, { "10000%", 10000 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		struct kho_scratch_arg arg = {};

		KUNIT_EXPECT_EQ(test, 0, kho_scratch_parse(good[i].text, &arg));
		KUNIT_EXPECT_EQ(test, arg.percent, good[i].percent);
		KUNIT_EXPECT_FALSE(test, arg.given);
	}
}

static void __init kho_scratch_test_bad(struct kunit *test)
{
	static const char * const bad[] = {
		"", "%", "200", "99%", "10001%", "200%%", "200% ", "x200%",
		"-200%", "4294967496%", "16M", "16M,", "16M,16M", "16M,16M,",
		",,", ",16M,16M", "16M,16M,16M,", "16M,16M,16M,0",
		"16X,16M,16M", "16M 16M 16M", "0,0,0", "a,b,c", "16M,16M,16M%",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct kho_scratch_arg arg = { .percent = 200 };

		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    kho_scratch_parse(bad[i], &arg), "\"%s\"",
				    bad[i]);
		KUNIT_EXPECT_EQ(test, arg.percent, 200);
		KUNIT_EXPECT_FALSE(test, arg.given);
	}
}

static struct kunit_case __refdata kho_scratch_cases[] = {
	KUNIT_CASE(kho_scratch_test_sizes),
	KUNIT_CASE(kho_scratch_test_percent),
	KUNIT_CASE(kho_scratch_test_bad),
	{}
};

static struct kunit_suite kho_scratch_suite = {
	.name = "kho_scratch",
	.test_cases = kho_scratch_cases,
};

kunit_test_suites(&kho_pages_suite, &kho_vmalloc_suite, &kho_chain_suite);
kunit_test_init_section_suites(&kho_scratch_suite);
