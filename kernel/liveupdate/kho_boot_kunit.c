// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of what the boot checks in the map of the previous kernel.
 */
#include <kunit/test.h>
#include <linux/mm.h>

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

static struct kunit_case kho_boot_cases[] __refdata = {
	KUNIT_CASE(kho_boot_test_apart),
	KUNIT_CASE(kho_boot_test_apart_wide),
	KUNIT_CASE(kho_boot_test_keys),
	{}
};

static struct kunit_suite kho_boot_suite __refdata = {
	.name = "kho_boot",
	.init = kho_boot_test_init,
	.exit = kho_boot_test_exit,
	.test_cases = kho_boot_cases,
};

kunit_test_init_section_suite(kho_boot_suite);
