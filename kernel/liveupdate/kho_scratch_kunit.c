// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of scratch: what is asked for, and what another kernel chose.
 */
#include <kunit/test.h>
#include <linux/cma.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "kho_internal.h"

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

/* Another kernel's areas are taken if they are pages, whole, and apart. */
static void __init kho_scratch_test_valid(struct kunit *test)
{
	static const struct {
		struct kho_scratch area;
		bool valid;
	} areas[] = {
		{ { SZ_64M, SZ_16M }, true },
		/* Page blocks of the other kernel may be smaller. */
		{ { SZ_64M + SZ_2M, SZ_2M }, true },
		{ { SZ_64M + SZ_4K, SZ_4K }, true },
		{ { SZ_64M + 8, SZ_4K } }, { { SZ_64M, SZ_4K + 8 } },
		{ { SZ_64M, 0 } },
		{ { PHYS_ADDR_MAX & PAGE_MASK, SZ_8K } },
	};
	struct kho_scratch first = kho_scratch[0];
	unsigned int cnt = kho_scratch_cnt, i;
	struct kho_scratch *area;

	for (i = 0; i < ARRAY_SIZE(areas); i++)
		KUNIT_EXPECT_EQ_MSG(test, areas[i].valid,
				    kho_scratch_valid(&areas[i].area, 0),
				    "area %u", i);

	/* Behind another one. */
	area = kunit_kzalloc(test, sizeof(*area), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, area);
	kho_scratch[0] = (struct kho_scratch) { SZ_64M, SZ_16M };
	*area = (struct kho_scratch) { SZ_64M + SZ_16M, SZ_16M };
	KUNIT_EXPECT_TRUE(test, kho_scratch_valid(area, 1));
	area->addr -= SZ_4K;
	KUNIT_EXPECT_FALSE(test, kho_scratch_valid(area, 1));
	*area = (struct kho_scratch) { SZ_64M - SZ_4K, SZ_4K };
	KUNIT_EXPECT_TRUE(test, kho_scratch_valid(area, 1));
	area->size += SZ_4K;
	KUNIT_EXPECT_FALSE(test, kho_scratch_valid(area, 1));

	kho_scratch[0] = first;
	kho_scratch_cnt = cnt;
}

/* What is summed: of every range what lies in another one. */
static void __init kho_scratch_test_overlap(struct kunit *test)
{
	static const struct {
		phys_addr_t from, to, start, end, size;
	} ranges[] = {
		{ 10, 20, 0, 100, 10 }, { 0, 100, 10, 20, 10 },
		{ 10, 20, 15, 100, 5 }, { 10, 20, 0, 15, 5 },
		{ 10, 20, 12, 18, 6 }, { 10, 20, 10, 20, 10 },
		{ 10, 20, 20, 30, 0 }, { 20, 30, 10, 20, 0 },
		{ 10, 20, 40, 50, 0 }, { 40, 50, 10, 20, 0 },
		{ 10, 20, 0, PHYS_ADDR_MAX, 10 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		KUNIT_EXPECT_EQ_MSG(test, ranges[i].size,
				    kho_overlap_size(ranges[i].from,
						     ranges[i].to,
						     ranges[i].start,
						     ranges[i].end),
				    "ranges %u", i);
}

/* What scratch a node has counts as taken there, and is not for the next boot. */
static void __init kho_scratch_test_lacks(struct kunit *test)
{
	static const struct {
		phys_addr_t took, have;
		unsigned int percent;
		phys_addr_t lacks;
	} nodes[] = {
		{ 0, 0, 200, 0 },
		{ SZ_64M, 0, 200, SZ_128M },
		{ SZ_64M, 0, 100, SZ_64M },
		/* 48 MiB for the boot, so 96 are needed. */
		{ SZ_64M, SZ_16M, 200, SZ_64M + SZ_16M },
		{ SZ_64M, SZ_32M, 200, SZ_32M },
		{ SZ_32M + SZ_64M, SZ_64M, 200, 0 },
		{ SZ_64M, SZ_64M, 200, 0 },
		{ SZ_32M, SZ_64M, 10000, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(nodes); i++)
		KUNIT_EXPECT_EQ_MSG(test, nodes[i].lacks,
				    kho_scratch_lacks(nodes[i].took,
						      nodes[i].have,
						      nodes[i].percent),
				    "node %u", i);
}

/* All page blocks are for movable pages only, and are counted as such. */
static void __init kho_scratch_test_blocks(struct kunit *test)
{
	unsigned long pfn, end, pages = 0, counted = 0;
	struct zone *zone;
	unsigned int i;

	for (i = 0; i < kho_scratch_cnt; i++) {
		pfn = PHYS_PFN(kho_scratch[i].addr);
		end = pfn + PHYS_PFN(kho_scratch[i].size);
		for (pfn = pageblock_start_pfn(pfn); pfn < end;
		     pfn += pageblock_nr_pages) {
			KUNIT_EXPECT_TRUE_MSG(test,
					      is_migrate_cma_page(pfn_to_page(pfn)),
					      "page block at %#lx", pfn);
			pages += pageblock_nr_pages;
		}
	}
	for_each_populated_zone(zone)
		counted += zone_cma_pages(zone);
	KUNIT_EXPECT_LE(test, pages, counted);
	KUNIT_EXPECT_EQ(test, counted, totalcma_pages);
}

static struct kunit_case __refdata kho_scratch_cases[] = {
	KUNIT_CASE(kho_scratch_test_sizes),
	KUNIT_CASE(kho_scratch_test_percent),
	KUNIT_CASE(kho_scratch_test_bad),
	KUNIT_CASE(kho_scratch_test_valid),
	KUNIT_CASE(kho_scratch_test_overlap),
	KUNIT_CASE(kho_scratch_test_lacks),
	KUNIT_CASE(kho_scratch_test_blocks),
	{}
};

static struct kunit_suite kho_scratch_suite = {
	.name = "kho_scratch",
	.test_cases = kho_scratch_cases,
};

kunit_test_init_section_suite(kho_scratch_suite);
