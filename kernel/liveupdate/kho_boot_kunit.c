// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of what the boot checks in the map of the previous kernel, and of
 * how memory is freed around what is kept.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/initrd.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/prandom.h>

#include "kho_internal.h"

/* Some page that begins a block of every order below. */
#define KHO_TEST_PFN		(5UL << 15)
#define KHO_TEST_ORDERS		13

/* A map with one block in it. */
static int __init kho_boot_test_init(struct kunit *test)
{
	struct kho_map *map = kunit_kzalloc(test, sizeof(*map), GFP_KERNEL);

	if (!map)
		return -ENOMEM;
	mutex_init(&map->lock);
	test->priv = map;
	return kho_map_init(map);
}

static void __init kho_boot_test_exit(struct kunit *test)
{
	struct kho_map *map = test->priv;

	if (map && map->root)
		free_page((unsigned long)map->root);
}

/* Whether a block of @order at @pfn is apart from the block in the map. */
static bool __init kho_test_apart(struct kunit *test, unsigned long pfn,
				  unsigned int order, unsigned int in_map)
{
	struct kho_map *map = test->priv;
	u64 key = kho_map_key(pfn, order);
	struct kho_leaf leaf;
	bool apart;

	KUNIT_ASSERT_EQ(test, 0, kho_map_set(map, pfn, 1, order));
	KUNIT_ASSERT_TRUE(test, kho_leaf_init(&leaf,
					      round_down(key, KHO_MAP_LEAF_BITS),
					      kho_map_peek(kho_map_root(map), key)));
	KUNIT_EXPECT_EQ(test, leaf.order, order);
	apart = kho_leaf_is_apart(&leaf, kho_map_root(map), BIT_ULL(in_map));
	if (!apart)
		KUNIT_EXPECT_EQ(test, leaf.wrong, pfn);
	KUNIT_ASSERT_TRUE(test, kho_map_clear(map, pfn, 1, order));
	return apart;
}

/* Smaller blocks before, behind, and at both ends of a larger one. */
static void __init kho_boot_test_apart(struct kunit *test)
{
	struct kho_map *map = test->priv;
	unsigned int large, small;

	for (large = 1; large < KHO_TEST_ORDERS; large++) {
		unsigned long pfn = KHO_TEST_PFN, end = pfn + (1UL << large);

		KUNIT_ASSERT_EQ(test, 0, kho_map_set(map, pfn, 1, large));
		for (small = 0; small < large; small++) {
			unsigned long nr = 1UL << small;

			KUNIT_EXPECT_TRUE(test, kho_test_apart(test, pfn - nr,
							       small, large));
			KUNIT_EXPECT_FALSE(test, kho_test_apart(test, pfn, small,
								large));
			KUNIT_EXPECT_FALSE(test, kho_test_apart(test, end - nr,
								small, large));
			KUNIT_EXPECT_TRUE(test, kho_test_apart(test, end, small,
							       large));
		}
		KUNIT_ASSERT_TRUE(test, kho_map_clear(map, pfn, 1, large));
	}
}

/* A block that covers more than a bitmap of the smaller order. */
static void __init kho_boot_test_apart_wide(struct kunit *test)
{
	unsigned int large = ilog2(KHO_MAP_LEAF_BITS) + 3;
	unsigned long pfn = 3UL << large;
	struct kho_map *map = test->priv;

	KUNIT_ASSERT_EQ(test, 0, kho_map_set(map, pfn, 1, large));
	KUNIT_EXPECT_FALSE(test, kho_test_apart(test, pfn, 0, large));
	KUNIT_EXPECT_FALSE(test, kho_test_apart(test, pfn + (3UL << (large - 2)),
						0, large));
	KUNIT_EXPECT_TRUE(test, kho_test_apart(test, pfn - 1, 0, large));
	KUNIT_EXPECT_TRUE(test, kho_test_apart(test, pfn + (1UL << large), 0,
					       large));
	KUNIT_ASSERT_TRUE(test, kho_map_clear(map, pfn, 1, large));
}

/* Keys above those of order 0 are no page's. */
static void __init kho_boot_test_keys(struct kunit *test)
{
	unsigned long bits[1] = {};
	struct kho_leaf leaf;
	unsigned int bit;

	KUNIT_EXPECT_TRUE(test, kho_leaf_init(&leaf, 1ULL << KHO_MAP_ORDER0_BIT,
					      bits));
	KUNIT_EXPECT_EQ(test, leaf.order, 0);
	KUNIT_EXPECT_EQ(test, leaf.start, 0);
	KUNIT_EXPECT_EQ(test, leaf.end, KHO_MAP_LEAF_BITS);
	for (bit = KHO_MAP_ORDER0_BIT + 1; bit < 64; bit++)
		KUNIT_EXPECT_FALSE(test, kho_leaf_init(&leaf, 1ULL << bit, bits));
}

/* Memory with blocks of all orders in it, here and there, and a plain model. */
#define KHO_KEPT_BLOCKS		24
#define KHO_KEPT_PAGES		(KHO_KEPT_BLOCKS * KHO_BLOCK_PAGES)
#define KHO_KEPT_ROUNDS		400

struct kho_kept_test {
	struct kho_kept kept;
	struct rnd_state rnd;
	u64 orders;
	DECLARE_BITMAP(pages, KHO_KEPT_PAGES);	/* kept, from KHO_TEST_PFN on */
	DECLARE_BITMAP(freed, KHO_KEPT_PAGES);
	unsigned long end;			/* of the run before */
	unsigned int nr_runs;
	bool wrong;				/* a run that touches another */
};

static struct kho_kept_test *kho_kept_test __initdata;

static void __init kho_test_free_run(unsigned long start, unsigned long end)
{
	struct kho_kept_test *t = kho_kept_test;

	t->wrong |= start >= end || start <= t->end;
	t->end = end;
	t->nr_runs++;
	bitmap_set(t->freed, start - KHO_TEST_PFN, end - start);
}

static bool __init kho_test_is_clear(const unsigned long *bits,
				     unsigned long bit, unsigned long nr)
{
	return find_next_bit(bits, bit + nr, bit) >= bit + nr;
}

/* Keep some blocks, or give the same up. */
static void __init kho_test_keep(struct kunit *test, struct kho_kept_test *t,
				 bool keep)
{
	struct kho_map *map = test->priv;
	unsigned int i, order;

	prandom_seed_state(&t->rnd, 20261127);
	for (i = 0; i < KHO_KEPT_ROUNDS; i++) {
		unsigned long nr, bit;

		/* A few large ones find a place as long as there is much. */
		if (i < 8)
			order = KHO_TEST_ORDERS - 1 - i % 4;
		else
			order = prandom_u32_state(&t->rnd) % (i % 20 ? 4 : 9);
		nr = 1UL << order;

		bit = prandom_u32_state(&t->rnd) % (KHO_KEPT_PAGES / nr) * nr;
		/* The first and the last blocks have nothing. */
		if (bit < 2 * KHO_BLOCK_PAGES ||
		    bit + nr > KHO_KEPT_PAGES - 3 * KHO_BLOCK_PAGES)
			continue;
		if (!keep) {
			kho_map_take(map, KHO_TEST_PFN + bit, 1, order);
			continue;
		}
		if (!kho_test_is_clear(t->pages, bit, nr))
			continue;
		KUNIT_ASSERT_EQ(test, 0, kho_map_set(map, KHO_TEST_PFN + bit, 1,
						     order));
		bitmap_set(t->pages, bit, nr);
		t->orders |= BIT_ULL(order);
	}
}

static void __init kho_test_noted(struct kunit *test, struct kho_kept_test *t)
{
	unsigned long first = KHO_TEST_PFN / KHO_BLOCK_PAGES, i;

	KUNIT_EXPECT_EQ(test, t->kept.orders, t->orders);
	KUNIT_EXPECT_TRUE(test, kho_test_is_clear(t->kept.blocks, 0, first));
	for (i = 0; i < KHO_KEPT_BLOCKS; i++)
		KUNIT_EXPECT_EQ(test, !test_bit(first + i, t->kept.blocks),
				kho_test_is_clear(t->pages, i * KHO_BLOCK_PAGES,
						  KHO_BLOCK_PAGES));
}

/* A part of memory, from one page to another. */
static void __init kho_test_free_part(struct kunit *test,
				      struct kho_kept_test *t,
				      unsigned long first, unsigned long end)
{
	unsigned long nr = end - first, kept, nr_runs = 0;

	bitmap_zero(t->freed, KHO_KEPT_PAGES);
	t->end = 0;
	t->nr_runs = 0;
	t->wrong = false;
	kept = bitmap_weight(t->pages, end) - bitmap_weight(t->pages, first);

	KUNIT_EXPECT_EQ(test, nr - kept,
			kho_free_around_kept(&t->kept, KHO_TEST_PFN + first,
					     KHO_TEST_PFN + end, NULL,
					     &nr_runs));
	KUNIT_EXPECT_EQ(test, nr_runs, 0);
	KUNIT_EXPECT_EQ(test, nr - kept,
			kho_free_around_kept(&t->kept, KHO_TEST_PFN + first,
					     KHO_TEST_PFN + end,
					     kho_test_free_run, &nr_runs));
	KUNIT_EXPECT_FALSE(test, t->wrong);
	KUNIT_EXPECT_EQ(test, t->nr_runs,
			nr_runs + !test_bit(end - 1, t->pages));
	/* What is free, and in the part. */
	KUNIT_EXPECT_EQ(test, nr - kept, bitmap_weight(t->freed, KHO_KEPT_PAGES));
	KUNIT_EXPECT_TRUE(test, kho_test_is_clear(t->freed, 0, first));
	KUNIT_EXPECT_FALSE(test, bitmap_intersects(t->freed, t->pages,
						   KHO_KEPT_PAGES));
	KUNIT_EXPECT_LE(test, t->end, KHO_TEST_PFN + end);
}

/* All that is not kept is freed, in runs as long as they can be. */
static void __init kho_boot_test_free_around(struct kunit *test)
{
	struct kho_kept_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	unsigned long bits, first, end;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, t);
	kho_kept_test = t;
	t->kept.map_root = kho_map_root(test->priv);
	bits = KHO_TEST_PFN / KHO_BLOCK_PAGES + KHO_KEPT_BLOCKS;

	/* On a boot that nobody handed anything to. */
	kho_test_free_part(test, t, 5, KHO_KEPT_PAGES);

	t->kept.nr_blocks = bits;
	t->kept.blocks = kunit_kcalloc(test, BITS_TO_LONGS(bits), sizeof(long),
				       GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->kept.blocks);
	kho_test_keep(test, t, true);
	kho_note_kept(&t->kept);
	kho_test_noted(test, t);
	KUNIT_EXPECT_LE(test, BIT_ULL(MAX_PAGE_ORDER), t->orders);

	kho_test_free_part(test, t, 0, KHO_KEPT_PAGES);
	for (i = 0; i < KHO_KEPT_ROUNDS; i++) {
		first = prandom_u32_state(&t->rnd) % KHO_KEPT_PAGES;
		end = first + 1 + prandom_u32_state(&t->rnd) %
				  (KHO_KEPT_PAGES - first);
		kho_test_free_part(test, t, first, end);
	}
	kho_test_keep(test, t, false);
}

/* Two pages, as if memblock had given them out. */
static struct page __init *kho_test_late_pages(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1);

	KUNIT_ASSERT_NOT_NULL(test, page);
	split_page(page, 1);
	return page;
}

/* What is freed when memory has been counted is counted, too. */
static void __init kho_boot_test_free_late(struct kunit *test)
{
	unsigned long managed, total;
	struct page *page;

	wait_for_initramfs();
	page = kho_test_late_pages(test);
	managed = zone_managed_pages(page_zone(page));
	total = totalram_pages();
	memblock_free_late(page_to_phys(page), 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, managed + 2, zone_managed_pages(page_zone(page)));
	KUNIT_EXPECT_EQ(test, total + 2, totalram_pages());
	adjust_managed_page_count(page, -2);
}

#ifdef CONFIG_DEFERRED_STRUCT_PAGE_INIT
/* The allocator would look at pages beside it that have no contents yet. */
static void __init kho_boot_test_free_deferred(struct kunit *test)
{
	struct page *page = kho_test_late_pages(test);
	unsigned long *deferred = &NODE_DATA(page_to_nid(page))->first_deferred_pfn;
	unsigned long managed, total, was = *deferred;

	wait_for_initramfs();
	managed = zone_managed_pages(page_zone(page));
	total = totalram_pages();
	*deferred = page_to_pfn(page) + 1;
	memblock_free_late(page_to_phys(page), 2 * PAGE_SIZE);
	*deferred = was;
	KUNIT_EXPECT_EQ(test, managed + 1, zone_managed_pages(page_zone(page)));
	KUNIT_EXPECT_EQ(test, 1, page_ref_count(page + 1));
	__free_page(page + 1);
	adjust_managed_page_count(page, -1);
	totalram_pages_add(total - totalram_pages());
}
#endif

/* How often a map was given up. */
static unsigned int kho_test_given_up __initdata;

static void __init kho_test_give_up(void)
{
	kho_test_given_up++;
}

static bool __init kho_test_may_hold_node(phys_addr_t phys)
{
	return true;
}

/* A map is given up if it is not the one that the checksums are of. */
static void __init kho_boot_test_sums(struct kunit *test)
{
	struct kho_check_ser check = {}, other;
	phys_addr_t root = kho_in.map_root;
	struct kho_map_sum sum;

	kho_map_sum(test->priv, &sum);
	check.map_nodes = sum.nodes;
	check.map_crc = sum.crc;
	kho_test_given_up = 0;
	kho_in.map_root = kho_map_root(test->priv);
	kunit_activate_static_stub(test, __kho_give_up, kho_test_give_up);
	kunit_activate_static_stub(test, kho_may_hold_node,
				   kho_test_may_hold_node);

	KUNIT_EXPECT_TRUE(test, kho_verify_map(&check));
	KUNIT_EXPECT_EQ(test, 0, kho_test_given_up);
	other = check;
	other.map_crc ^= 1;
	KUNIT_EXPECT_FALSE(test, kho_verify_map(&other));
	KUNIT_EXPECT_EQ(test, 1, kho_test_given_up);
	other = check;
	other.map_nodes++;
	KUNIT_EXPECT_FALSE(test, kho_verify_map(&other));
	KUNIT_EXPECT_EQ(test, 2, kho_test_given_up);

	kunit_deactivate_static_stub(test, kho_may_hold_node);
	kunit_deactivate_static_stub(test, __kho_give_up);
	kho_in.map_root = root;
}

static struct kunit_case kho_boot_cases[] __refdata = {
	KUNIT_CASE(kho_boot_test_free_around),
	KUNIT_CASE(kho_boot_test_apart),
	KUNIT_CASE(kho_boot_test_apart_wide),
	KUNIT_CASE(kho_boot_test_keys),
	KUNIT_CASE(kho_boot_test_sums),
	KUNIT_CASE(kho_boot_test_free_late),
#ifdef CONFIG_DEFERRED_STRUCT_PAGE_INIT
	KUNIT_CASE(kho_boot_test_free_deferred),
#endif
	{}
};

static struct kunit_suite kho_boot_suite __refdata = {
	.name = "kho_boot",
	.init = kho_boot_test_init,
	.exit = kho_boot_test_exit,
	.test_cases = kho_boot_cases,
};

kunit_test_init_section_suite(kho_boot_suite);
