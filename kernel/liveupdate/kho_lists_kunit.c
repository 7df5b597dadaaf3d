// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of the lists that are handed over: vmalloc areas and chains.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>

#include "kho_internal.h"
#include "kho_kunit.h"

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

/* No chunk is empty, there are no more than it takes, and all have a checksum. */
static void kho_expect_chunks(struct kunit *test,
			      const struct kho_vmalloc *desc)
{
	unsigned int chunks = 0, nr = 0, i;
	struct kho_vmalloc_chunk *chunk;
	u64 phys;

	for (phys = desc->first; phys; phys = chunk->next) {
		chunk = phys_to_virt(phys);
		chunks++;
		for (i = 0; i < KHO_VMALLOC_CHUNK_ENTRIES; i++)
			if (!chunk->phys[i])
				break;
		KUNIT_EXPECT_GT(test, i, 0);
		nr += i;
	}
	KUNIT_EXPECT_EQ(test, nr, desc->total_pages);
	KUNIT_EXPECT_EQ(test, chunks,
			DIV_ROUND_UP(nr + 2, KHO_VMALLOC_CHUNK_ENTRIES));
	KUNIT_ASSERT_LT(test, i + 1, KHO_VMALLOC_CHUNK_ENTRIES);
	KUNIT_EXPECT_EQ(test, chunk->phys[i + 1] >> 32, KHO_VMALLOC_SUM >> 32);
}

static void kho_vmalloc_test_sizes(struct kunit *test)
{
	static const unsigned int sizes[] = {
		1, 2, KHO_VMALLOC_CHUNK_ENTRIES - 2,
		KHO_VMALLOC_CHUNK_ENTRIES - 1, KHO_VMALLOC_CHUNK_ENTRIES,
		KHO_VMALLOC_CHUNK_ENTRIES + 1,
		2 * KHO_VMALLOC_CHUNK_ENTRIES - 2,
		2 * KHO_VMALLOC_CHUNK_ENTRIES - 1,
		2 * KHO_VMALLOC_CHUNK_ENTRIES,
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
		kho_expect_chunks(test, &desc);
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

/*
 * As kernels have written it that put the checksum into a chunk of its own: an
 * empty one at the end is taken.
 */
static void kho_vmalloc_test_empty_chunk(struct kunit *test)
{
	struct kho_vmalloc_chunk *empty;
	struct kho_test_area a;
	u64 sum;

	kho_test_preserve_area(test, &a);
	empty = kho_alloc_preserve(sizeof(*empty));
	KUNIT_ASSERT_FALSE(test, IS_ERR(empty));
	sum = *a.sum;
	*a.sum = 0;
	a.last->next = virt_to_phys(empty);
	KUNIT_EXPECT_TRUE(test, kho_vmalloc_valid(&a.desc));
	empty->next = a.desc.first;
	KUNIT_EXPECT_FALSE(test, kho_vmalloc_valid(&a.desc));
	empty->next = 0;
	a.last->next = 0;
	*a.sum = sum;
	kho_unpreserve_free(empty);
	kho_test_unpreserve_area(test, &a);
}

/* Every allocation fails once: nothing is preserved then. */
static void kho_vmalloc_test_no_memory(struct kunit *test)
{
	unsigned long before = kho_test_blocks(test), n;
	void *mem = vmalloc(KHO_TEST_VM_PAGES * PAGE_SIZE);
	struct kho_vmalloc desc = {};
	int err;

	KUNIT_ASSERT_NOT_NULL(test, mem);
	for (n = 0;; n++) {
		kho_test_allow(test, n);
		err = kho_preserve_vmalloc(mem, &desc);
		kho_test_allow_all(test);
		if (!err)
			break;
		KUNIT_ASSERT_EQ(test, -ENOMEM, err);
		KUNIT_ASSERT_EQ(test, desc.first, 0);
		KUNIT_ASSERT_EQ(test, before, kho_test_blocks(test));
	}
	/* Its chunks at least. */
	KUNIT_EXPECT_LE(test, 2, n);
	kho_unpreserve_vmalloc(&desc);
	KUNIT_EXPECT_EQ(test, before, kho_test_blocks(test));
	vfree(mem);
}

static void *kho_test_vmap(struct page **pages, unsigned int nr)
{
	return NULL;
}

/* Without memory to map the pages, none of them is taken. */
static void kho_vmalloc_test_no_vmap(struct kunit *test)
{
	struct kho_test_area a;
	unsigned long blocks;
	unsigned int i;

	kho_test_preserve_area(test, &a);
	/* They look like those of the previous kernel, and could be taken. */
	for (i = 0; i < KHO_TEST_VM_PAGES; i++)
		set_page_private(vmalloc_to_page(a.mem + i * PAGE_SIZE), 0);
	blocks = kho_test_blocks(test);
	kunit_activate_static_stub(test, kho_vmap, kho_test_vmap);
	KUNIT_EXPECT_NULL(test, kho_restore_vmalloc(&a.desc));
	kunit_deactivate_static_stub(test, kho_vmap);
	KUNIT_EXPECT_EQ(test, blocks, kho_test_blocks(test));
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
	KUNIT_CASE(kho_vmalloc_test_empty_chunk),
	KUNIT_CASE(kho_vmalloc_test_no_memory),
	KUNIT_CASE(kho_vmalloc_test_no_vmap),
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

/* Add entries @from up to @to to a chain. */
static int kho_test_append(struct kho_chain *chain, unsigned long from,
			   unsigned long to)
{
	int err = 0;

	for (; !err && from < to; from++) {
		struct kho_test_entry entry = { from, 2 * from };

		err = kho_chain_append(chain, &entry);
	}
	return err;
}

static void kho_test_fill(struct kunit *test, struct kho_chain *chain,
			  unsigned long nr)
{
	KUNIT_ASSERT_EQ(test, 0, kho_test_append(chain, 0, nr));
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
		KUNIT_ASSERT_EQ(test, 0, kho_test_append(&chain, i, i + 1));
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

/* Two other ways to do it, each of which may fail. */
static int kho_test_resize(struct kho_chain *chain, unsigned long from,
			   unsigned long to)
{
	int err = kho_chain_resize(chain, to);

	kho_chain_rewind(chain);
	return err ?: kho_test_append(chain, 0, to);
}

static int kho_test_reserve(struct kho_chain *chain, unsigned long from,
			    unsigned long to)
{
	int err = kho_chain_reserve(chain, to - from);

	if (err)
		kho_chain_trim(chain);
	return err ?: kho_test_append(chain, from, to);
}

/* Every allocation fails once; what was appended before can still be read. */
static void kho_chain_test_no_memory(struct kunit *test)
{
	static const struct {
		int (*grow)(struct kho_chain *chain, unsigned long from,
			    unsigned long to);
		unsigned long from;
		bool keeps;
	} ways[] = {
		{ kho_test_append, 0 }, { kho_test_append, 5 },
		{ kho_test_reserve, 0 }, { kho_test_reserve, 5, true },
		{ kho_test_resize, 0 },
	};
	unsigned long before = kho_test_blocks(test), n;
	const unsigned long to = 3 * KHO_TEST_PER_PAGE;
	struct kho_chain chain;
	unsigned int i;
	long have;
	int err;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		for (n = 0, err = -ENOMEM; err; n++) {
			kho_chain_init(&chain, sizeof(struct kho_test_entry));
			kho_test_fill(test, &chain, ways[i].from);
			kho_test_allow(test, n);
			err = ways[i].grow(&chain, ways[i].from, to);
			kho_test_allow_all(test);
			KUNIT_ASSERT_TRUE(test, !err || err == -ENOMEM);
			if (ways[i].grow != kho_test_resize || !err) {
				have = kho_test_read(test, kho_chain_seal(&chain));
				KUNIT_EXPECT_GE(test, have, ways[i].from);
				if (ways[i].keeps && err)
					KUNIT_EXPECT_EQ(test, have, ways[i].from);
				if (!err)
					KUNIT_EXPECT_EQ(test, have, to);
			}
			kho_chain_destroy(&chain);
			KUNIT_ASSERT_EQ(test, before, kho_test_blocks(test));
		}
		/* Three pages, one of which may be there. */
		KUNIT_EXPECT_LE(test, 3, n);
	}
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
	KUNIT_CASE(kho_chain_test_no_memory),
	KUNIT_CASE(kho_chain_test_damaged_page),
	KUNIT_CASE(kho_chain_test_bad_links),
	{}
};

static struct kunit_suite kho_chain_suite = {
	.name = "kho_chain",
	.init = kho_test_init,
	.test_cases = kho_chain_cases,
};

kunit_test_suites(&kho_vmalloc_suite, &kho_chain_suite);
