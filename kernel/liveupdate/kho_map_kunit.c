// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of the map of preserved pages, on a map that nobody else has.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/prandom.h>

#include "kho_internal.h"

#define KHO_TEST_LEAF		KHO_MAP_LEAF_BITS
#define KHO_TEST_TABLE		(KHO_TEST_LEAF * KHO_MAP_TABLE_SLOTS)

/**
 * struct kho_map_test - a map and its nodes
 * @map:     the map
 * @pages:   every page that was a node; the test has a reference to each, so
 *           that it can tell which of them the map has freed
 * @allowed: how many nodes may still be allocated
 * @counts:  room for kho_map_count()
 */
struct kho_map_test {
	struct kho_map map;
	struct list_head pages;
	unsigned long allowed;
	unsigned long counts[KHO_MAP_MAX_ORDER + 1];
};

static struct page *kho_test_node_page(void)
{
	struct kho_map_test *t = kunit_get_current_test()->priv;
	struct page *page;

	if (!t->allowed)
		return NULL;
	t->allowed--;
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (page) {
		get_page(page);
		list_add(&page->lru, &t->pages);
	}
	return page;
}

static int kho_map_test_init(struct kunit *test)
{
	struct kho_map_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	mutex_init(&t->map.lock);
	INIT_LIST_HEAD(&t->pages);
	t->allowed = ULONG_MAX;
	test->priv = t;
	kunit_activate_static_stub(test, kho_node_page, kho_test_node_page);
	return kho_map_init(&t->map);
}

static void kho_map_test_exit(struct kunit *test)
{
	struct kho_map_test *t = test->priv;
	struct page *page, *next;

	if (!t)
		return;
	list_for_each_entry_safe(page, next, &t->pages, lru) {
		list_del(&page->lru);
		set_page_private(page, 0);
		if (page_count(page) > 1)
			put_page(page);
		put_page(page);
	}
}

/* Nodes that the map has not freed. */
static unsigned long kho_test_live(struct kho_map_test *t)
{
	unsigned long live = 0;
	struct page *page;

	list_for_each_entry(page, &t->pages, lru)
		live += page_count(page) - 1;
	return live;
}

/* The tree has so many nodes, and no other page is still allocated for it. */
static void kho_expect_nodes(struct kunit *test, unsigned long nodes)
{
	struct kho_map_test *t = test->priv;
	struct kho_map_sum sum;

	kho_map_sum(&t->map, &sum);
	KUNIT_EXPECT_EQ(test, sum.nodes, nodes);
	KUNIT_EXPECT_EQ(test, kho_test_live(t), nodes);
}

static unsigned long kho_test_total(struct kho_map_test *t)
{
	unsigned long total = 0;
	unsigned int order;

	kho_map_count(&t->map, t->counts);
	for (order = 0; order <= KHO_MAP_MAX_ORDER; order++)
		total += t->counts[order];
	return total;
}

static void kho_map_test_keys(struct kunit *test)
{
	unsigned int order, shift;

	KUNIT_EXPECT_EQ(test, kho_map_key(0, 0), 1ULL << 52);
	KUNIT_EXPECT_EQ(test, kho_map_key(0x1234, 0), 1ULL << 52 | 0x1234);
	KUNIT_EXPECT_EQ(test, kho_map_key(0x1200, 9), 1ULL << 43 | 9);
	KUNIT_EXPECT_EQ(test, kho_map_key(0, KHO_MAP_MAX_ORDER), 1ULL);

	for (order = 0; order <= KHO_MAP_MAX_ORDER; order++) {
		for (shift = order; shift <= KHO_MAP_ORDER0_BIT; shift++) {
			/* All pages up to some, and that one alone. */
			unsigned long pfn = (BIT(shift) - 1) & ~(BIT(order) - 1);
			u64 key = kho_map_key(pfn, order);

			KUNIT_ASSERT_EQ(test, kho_key_order(key), order);
			KUNIT_ASSERT_EQ(test, kho_key_pfn(key), pfn);
			if (shift == KHO_MAP_ORDER0_BIT)
				continue;
			key = kho_map_key(BIT(shift), order);
			KUNIT_ASSERT_EQ(test, kho_key_order(key), order);
			KUNIT_ASSERT_EQ(test, kho_key_pfn(key), BIT(shift));
		}
	}
}

/* The first, second and last block of an order: as many as there are. */
static unsigned int kho_test_ends(unsigned int order, unsigned long pfn[3])
{
	unsigned long blocks = BIT(KHO_MAP_ORDER0_BIT - order);
	unsigned int n = 0;

	pfn[n++] = 0;
	if (blocks > 1)
		pfn[n++] = 1UL << order;
	if (blocks > 2)
		pfn[n++] = (blocks - 1) << order;
	return n;
}

static void kho_map_test_orders(struct kunit *test)
{
	struct kho_map_test *t = test->priv;
	unsigned long pfn[3];
	unsigned int order, n, i;

	for (order = 0; order <= KHO_MAP_MAX_ORDER; order++) {
		n = kho_test_ends(order, pfn);
		for (i = 0; i < n; i++) {
			KUNIT_ASSERT_FALSE(test, kho_map_test(&t->map, pfn[i],
							      1, order));
			KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, pfn[i], 1,
							     order));
		}
	}

	kho_map_count(&t->map, t->counts);
	for (order = 0; order <= KHO_MAP_MAX_ORDER; order++) {
		n = kho_test_ends(order, pfn);
		KUNIT_EXPECT_EQ_MSG(test, t->counts[order], n, "order %u",
				    order);
		for (i = 0; i < n; i++) {
			KUNIT_EXPECT_TRUE(test, kho_map_test(&t->map, pfn[i], 1,
							     order));
			KUNIT_EXPECT_EQ(test, -EEXIST,
					kho_map_set(&t->map, pfn[i], 1, order));
			/* Those of other orders stay. */
			KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, pfn[i],
							      1, order));
			KUNIT_EXPECT_FALSE(test, kho_map_clear(&t->map, pfn[i],
							       1, order));
		}
	}
	kho_expect_nodes(test, 1);
}

/* Two blocks on either side of a boundary between nodes of each level. */
static void kho_map_test_boundaries(struct kunit *test)
{
	struct kho_map_test *t = test->priv;
	unsigned int order, level, shift;

	for (order = 0; order <= KHO_MAP_MAX_ORDER; order++) {
		for (level = 0; level < KHO_MAP_LEVELS - 1; level++) {
			unsigned long at, two = 2UL << order;

			shift = KHO_MAP_LEAF_SHIFT +
				level * KHO_MAP_TABLE_SHIFT + order;
			if (shift >= KHO_MAP_ORDER0_BIT)
				break;
			at = BIT(shift);

			KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, at - two,
							     4, order));
			/* The paths part below the level of the boundary. */
			kho_expect_nodes(test, level + 1 + KHO_MAP_LEVELS);
			KUNIT_EXPECT_TRUE(test, kho_map_test(&t->map, at - two,
							     4, order));
			KUNIT_EXPECT_FALSE(test, kho_map_test(&t->map, at - two,
							      5, order));
			KUNIT_EXPECT_FALSE(test, kho_map_test(&t->map,
							      at - 3 * two / 2,
							      5, order));
			KUNIT_EXPECT_EQ(test, -EEXIST,
					kho_map_set(&t->map, at - two / 2, 2,
						    order));

			KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, at, 2,
							      order));
			kho_expect_nodes(test, KHO_MAP_LEVELS);
			KUNIT_EXPECT_TRUE(test, kho_map_test(&t->map, at - two,
							     2, order));
			KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, at - two,
							      2, order));
			kho_expect_nodes(test, 1);
		}
	}
}

static void kho_map_test_long_run(struct kunit *test)
{
	struct kho_map_test *t = test->priv;
	unsigned long start = 1000, nr = 3 * KHO_TEST_LEAF + 17;

	KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, start, nr, 0));
	kho_expect_nodes(test, 4 + KHO_MAP_LEVELS - 1);
	KUNIT_EXPECT_EQ(test, kho_test_total(t), nr);
	KUNIT_EXPECT_TRUE(test, kho_map_test(&t->map, start, nr, 0));
	KUNIT_EXPECT_FALSE(test, kho_map_test(&t->map, start, nr + 1, 0));
	KUNIT_EXPECT_FALSE(test, kho_map_test(&t->map, start - 1, nr, 0));

	/* A leaf in the middle goes, the others stay. */
	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, KHO_TEST_LEAF,
					      KHO_TEST_LEAF, 0));
	kho_expect_nodes(test, 3 + KHO_MAP_LEVELS - 1);
	KUNIT_EXPECT_FALSE(test, kho_map_test(&t->map, start, nr, 0));
	KUNIT_EXPECT_FALSE(test, kho_map_clear(&t->map, start, nr, 0));
	KUNIT_EXPECT_EQ(test, kho_test_total(t), 0);
	kho_expect_nodes(test, 1);
}

/* What fails half way leaves the map as it was. */
static void kho_map_test_exists(struct kunit *test)
{
	struct kho_map_test *t = test->priv;
	unsigned long pfn = 2 * KHO_TEST_LEAF + 5;
	struct kho_map_sum before, after;

	KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, pfn, 1, 0));
	kho_map_sum(&t->map, &before);

	KUNIT_EXPECT_EQ(test, -EEXIST, kho_map_set(&t->map, pfn, 1, 0));
	KUNIT_EXPECT_EQ(test, -EEXIST,
			kho_map_set(&t->map, 100, 3 * KHO_TEST_LEAF, 0));
	KUNIT_EXPECT_EQ(test, -EEXIST, kho_map_set(&t->map, pfn - 1, 2, 0));
	KUNIT_EXPECT_EQ(test, -EEXIST, kho_map_set(&t->map, pfn, 70, 0));
	kho_map_sum(&t->map, &after);
	KUNIT_EXPECT_EQ(test, before.crc, after.crc);
	kho_expect_nodes(test, KHO_MAP_LEVELS);

	/* Another order is another key. */
	KUNIT_EXPECT_EQ(test, 0, kho_map_set(&t->map, pfn - 1, 1, 1));
	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, pfn, 1, 0));
	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, pfn - 1, 1, 1));
	kho_expect_nodes(test, 1);
}

static void kho_map_test_take(struct kunit *test)
{
	struct kho_map_test *t = test->priv;
	unsigned long pfn = 0x1000;
	unsigned int order;

	KUNIT_EXPECT_EQ(test, -ENOENT, kho_map_take_order(&t->map, pfn, 10));
	KUNIT_EXPECT_EQ(test, -ENOENT, kho_map_take_order(&t->map, 0, 10));

	for (order = 0; order <= 10; order++) {
		KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, pfn, 1, order));
		if (order)
			KUNIT_EXPECT_EQ(test, -ENOENT,
					kho_map_take_order(&t->map, pfn,
							   order - 1));
		KUNIT_EXPECT_EQ(test, -ENOENT,
				kho_map_take_order(&t->map, pfn + 1, order));
		KUNIT_EXPECT_EQ(test, order,
				kho_map_take_order(&t->map, pfn, 10));
		kho_expect_nodes(test, 1);
	}

	KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, pfn, 1, 3));
	KUNIT_EXPECT_FALSE(test, kho_map_take(&t->map, pfn, 1, 2));
	KUNIT_EXPECT_FALSE(test, kho_map_take(&t->map, pfn + 8, 1, 3));
	KUNIT_EXPECT_TRUE(test, kho_map_take(&t->map, pfn, 1, 3));
	KUNIT_EXPECT_FALSE(test, kho_map_take(&t->map, pfn, 1, 3));
	kho_expect_nodes(test, 1);
}

/* Several runs at a time: all or none of them, over leaves and orders. */
static void kho_map_test_runs(struct kunit *test)
{
	static const struct kho_run runs[] = {
		{ .pfn = 0x1000, .nr = 1, .order = 0 },
		{ .pfn = 0x1002, .nr = 1, .order = 0 },
		{ .pfn = KHO_TEST_LEAF - 2, .nr = 5, .order = 0 },
		{ .pfn = 0x200000, .nr = 3, .order = 9 },
		{ .pfn = 0x1004, .nr = 1, .order = 0 },
	};
	const unsigned int nr = ARRAY_SIZE(runs);
	struct kho_map_test *t = test->priv;
	struct kho_run twice[ARRAY_SIZE(runs) + 1];
	unsigned int i, without;

	for (without = 0; without < nr; without++) {
		/* One is there already, or missing. */
		KUNIT_ASSERT_EQ(test, 0,
				kho_map_set_runs(&t->map, &runs[without], 1));
		KUNIT_EXPECT_EQ(test, -EEXIST,
				kho_map_set_runs(&t->map, runs, nr));
		for (i = 0; i < nr; i++)
			KUNIT_EXPECT_EQ(test, i == without,
					kho_map_test(&t->map, runs[i].pfn,
						     runs[i].nr,
						     runs[i].order));
		KUNIT_EXPECT_FALSE(test, kho_map_has_runs(&t->map, runs, nr));
		KUNIT_EXPECT_TRUE(test, kho_map_has_runs(&t->map,
							 &runs[without], 1));
		KUNIT_EXPECT_FALSE(test,
				   kho_map_take_runs(&t->map, runs, nr));
		KUNIT_EXPECT_TRUE(test, kho_map_take_runs(&t->map,
							  &runs[without], 1));
		kho_expect_nodes(test, 1);
	}

	KUNIT_ASSERT_EQ(test, 0, kho_map_set_runs(&t->map, runs, nr));
	memcpy(twice, runs, sizeof(runs));
	twice[nr] = runs[1];
	KUNIT_EXPECT_TRUE(test, kho_map_has_runs(&t->map, twice, nr + 1));
	KUNIT_EXPECT_FALSE(test, kho_map_take_runs(&t->map, twice, nr + 1));
	KUNIT_EXPECT_TRUE(test, kho_map_has_runs(&t->map, runs, nr));
	/* What is counted is what is there: a bitmap goes with its last bit. */
	for (i = 0; i < nr; i++) {
		KUNIT_EXPECT_TRUE(test, kho_map_take_runs(&t->map, &runs[i], 1));
		KUNIT_EXPECT_FALSE(test, kho_map_has_runs(&t->map, &runs[i], 1));
	}
	kho_expect_nodes(test, 1);
	KUNIT_ASSERT_EQ(test, 0, kho_map_set_runs(&t->map, runs, nr));
	KUNIT_EXPECT_TRUE(test, kho_map_take_runs(&t->map, runs, nr));
	kho_expect_nodes(test, 1);
}

/*
 * Every allocation for some runs fails once, and the map is as before; then they
 * are in it. Returns how many allocations that took.
 */
static unsigned long kho_test_set_runs(struct kunit *test,
				       const struct kho_run *runs,
				       unsigned int nr)
{
	struct kho_map_test *t = test->priv;
	struct kho_map_sum before, after;
	unsigned long n;
	int err;

	kho_map_sum(&t->map, &before);
	for (n = 0;; n++) {
		t->allowed = n;
		err = kho_map_set_runs(&t->map, runs, nr);
		if (!err)
			break;
		KUNIT_ASSERT_EQ(test, err, -ENOMEM);
		kho_map_sum(&t->map, &after);
		KUNIT_EXPECT_EQ(test, before.crc, after.crc);
		kho_expect_nodes(test, before.nodes);
	}
	t->allowed = ULONG_MAX;
	return n;
}

/* In an empty map and beside a neighbour. */
static void kho_map_test_no_memory(struct kunit *test)
{
	struct kho_map_test *t = test->priv;
	/* Across a boundary of the second level, with two more leaves. */
	const struct kho_run run = {
		.pfn = KHO_TEST_TABLE - KHO_TEST_LEAF - 1,
		.nr = 2 * KHO_TEST_LEAF + 2,
	};
	struct kho_map_sum before;
	int neighbour;

	for (neighbour = 0; neighbour < 2; neighbour++) {
		if (neighbour)
			KUNIT_ASSERT_EQ(test, 0,
					kho_map_set(&t->map, run.pfn - 1, 1, 0));
		kho_map_sum(&t->map, &before);
		/* The root, 3 tables above and 2 of the first level, 4 leaves. */
		KUNIT_EXPECT_EQ(test, before.nodes +
				kho_test_set_runs(test, &run, 1), 10);
		kho_expect_nodes(test, 10);
		KUNIT_EXPECT_TRUE(test, kho_map_take_runs(&t->map, &run, 1));
		kho_expect_nodes(test, before.nodes);
	}
	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, run.pfn - 1, 1, 0));
	kho_expect_nodes(test, 1);

	t->map.root = NULL;
	t->allowed = 0;
	KUNIT_EXPECT_EQ(test, -ENOMEM, kho_map_init(&t->map));
}

/* The same with several runs, some of which are in the map when one fails. */
static void kho_map_test_runs_no_memory(struct kunit *test)
{
	static const struct kho_run runs[] = {
		{ .pfn = 0x1000, .nr = 3, .order = 0 },
		{ .pfn = KHO_TEST_LEAF - 2, .nr = 5, .order = 0 },
		{ .pfn = 0x200000, .nr = 3, .order = 9 },
		{ .pfn = 0x1004, .nr = 1, .order = 0 },
		{ .pfn = KHO_TEST_TABLE, .nr = 1, .order = 0 },
	};
	const unsigned int nr = ARRAY_SIZE(runs);
	struct kho_map_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, 0x1010, 1, 0));
	/* Bitmaps of order 0 in two places, one of order 9, and tables to them. */
	KUNIT_EXPECT_LE(test, 4, kho_test_set_runs(test, runs, nr));

	/* Nothing is allocated to take them, nor to put them back. */
	t->allowed = 0;
	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, KHO_TEST_TABLE, 1, 0));
	KUNIT_EXPECT_FALSE(test, kho_map_take_runs(&t->map, runs, nr));
	KUNIT_EXPECT_TRUE(test, kho_map_take_runs(&t->map, runs, nr - 1));
	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, 0x1010, 1, 0));
	kho_expect_nodes(test, 1);
}

static int kho_test_forget(struct kho_map_walk *walk, phys_addr_t phys)
{
	set_page_private(pfn_to_page(PHYS_PFN(phys)), 0);
	return 0;
}

static int kho_test_leaf(struct kho_map_walk *walk, u64 key,
			 const unsigned long *bits)
{
	return 0;
}

/* Nodes of the previous kernel have not been counted. */
static void kho_map_test_uncounted(struct kunit *test)
{
	struct kho_map_walk forget = {
		.node = kho_test_forget, .leaf = kho_test_leaf,
	};
	struct kho_map_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, KHO_TEST_TABLE - 3, 6, 0));
	KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, 512, 2, 9));
	kho_map_walk(&forget, kho_map_root(&t->map));

	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, KHO_TEST_TABLE - 3, 3,
					      0));
	kho_map_walk(&forget, kho_map_root(&t->map));
	KUNIT_EXPECT_EQ(test, 0, kho_map_set(&t->map, KHO_TEST_TABLE - 1, 1, 0));
	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, KHO_TEST_TABLE - 1, 4,
					      0));
	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, 512, 1, 9));
	KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, 1024, 1, 9));
	kho_expect_nodes(test, 1);
}

struct kho_test_walk {
	struct kho_map_walk walk;
	unsigned int nodes;
	unsigned int leaves;
	unsigned int stop;
	u64 last;
};

static int kho_test_walk_node(struct kho_map_walk *walk, phys_addr_t phys)
{
	struct kho_test_walk *w = container_of(walk, struct kho_test_walk, walk);

	return ++w->nodes == w->stop ? -EINTR : 0;
}

static int kho_test_walk_leaf(struct kho_map_walk *walk, u64 key,
			      const unsigned long *bits)
{
	struct kho_test_walk *w = container_of(walk, struct kho_test_walk, walk);

	if (key <= w->last || key % KHO_TEST_LEAF || bitmap_empty(bits, KHO_TEST_LEAF))
		return -EINVAL;
	w->last = key;
	w->leaves++;
	return 0;
}

static void kho_map_test_walk(struct kunit *test)
{
	struct kho_test_walk w = {
		.walk = { .node = kho_test_walk_node, .leaf = kho_test_walk_leaf },
	};
	struct kho_map_test *t = test->priv;
	phys_addr_t root = kho_map_root(&t->map);
	const unsigned long *bits;
	unsigned int stop;

	KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, KHO_TEST_TABLE - 1, 2, 0));
	KUNIT_ASSERT_EQ(test, 0, kho_map_set(&t->map, 0, 1, 9));

	KUNIT_EXPECT_EQ(test, 0, kho_map_walk(&w.walk, root));
	KUNIT_EXPECT_EQ(test, 3, w.leaves);
	kho_expect_nodes(test, w.nodes);

	for (stop = w.nodes; stop; stop--) {
		w.nodes = 0;
		w.last = 0;
		w.stop = stop;
		KUNIT_EXPECT_EQ(test, -EINTR, kho_map_walk(&w.walk, root));
		KUNIT_EXPECT_EQ(test, stop, w.nodes);
	}

	bits = kho_map_peek(root, kho_map_key(KHO_TEST_TABLE - 1, 0));
	KUNIT_ASSERT_NOT_NULL(test, bits);
	KUNIT_EXPECT_TRUE(test, test_bit(KHO_TEST_LEAF - 1, bits));
	KUNIT_EXPECT_EQ(test, 1, bitmap_weight(bits, KHO_TEST_LEAF));
	KUNIT_EXPECT_NULL(test, kho_map_peek(root, kho_map_key(0, 0)));
	KUNIT_EXPECT_NULL(test, kho_map_peek(root, kho_map_key(0, 1)));
}

/* A plain model: a bitmap per order, of a window over a boundary of tables. */
#define KHO_MODEL_ORDERS	4
#define KHO_MODEL_PAGES		(5 * KHO_TEST_LEAF)
#define KHO_MODEL_START		(KHO_TEST_TABLE - KHO_MODEL_PAGES / 2 / 8 * 8)
#define KHO_MODEL_STEPS		4000

struct kho_model {
	unsigned long *bits[KHO_MODEL_ORDERS];
	struct rnd_state rnd;
};

struct kho_model_run {
	unsigned int order;
	unsigned long first;	/* in the model */
	unsigned long nr;
	unsigned long pfn;
};

static void kho_model_pick(struct kho_model *model, struct kho_model_run *run)
{
	u32 rnd = prandom_u32_state(&model->rnd);
	unsigned long blocks;

	run->order = rnd % KHO_MODEL_ORDERS;
	blocks = KHO_MODEL_PAGES >> run->order;
	run->first = prandom_u32_state(&model->rnd) % blocks;
	/* Many short ones, some that cross leaves. */
	run->nr = 1 + prandom_u32_state(&model->rnd) % BIT(rnd >> 8 & 15);
	run->nr = min(run->nr, blocks - run->first);
	run->pfn = KHO_MODEL_START + (run->first << run->order);
}

static void kho_model_take(struct kunit *test, struct kho_model *model,
			   const struct kho_model_run *run)
{
	struct kho_map_test *t = test->priv;
	unsigned long page = run->pfn - KHO_MODEL_START;
	unsigned int order;
	int want = -ENOENT;

	for (order = 0; order <= run->order; order++) {
		if (!test_bit(page >> order, model->bits[order]))
			continue;
		__clear_bit(page >> order, model->bits[order]);
		want = order;
		break;
	}
	KUNIT_ASSERT_EQ(test, want,
			kho_map_take_order(&t->map, run->pfn, run->order));
}

static void kho_model_step(struct kunit *test, struct kho_model *model)
{
	struct kho_map_test *t = test->priv;
	struct kho_model_run run;
	unsigned long *bits, end;
	bool none, all;

	kho_model_pick(model, &run);
	bits = model->bits[run.order];
	end = run.first + run.nr;
	none = find_next_bit(bits, end, run.first) >= end;
	all = find_next_zero_bit(bits, end, run.first) >= end;

	KUNIT_ASSERT_EQ(test, all, kho_map_test(&t->map, run.pfn, run.nr,
						run.order));
	if (all) {
		KUNIT_ASSERT_TRUE(test, kho_map_clear(&t->map, run.pfn, run.nr,
						      run.order));
		bitmap_clear(bits, run.first, run.nr);
	} else if (prandom_u32_state(&model->rnd) % 8 == 0) {
		kho_model_take(test, model, &run);
	} else {
		KUNIT_ASSERT_EQ(test, none ? 0 : -EEXIST,
				kho_map_set(&t->map, run.pfn, run.nr,
					    run.order));
		if (none)
			bitmap_set(bits, run.first, run.nr);
	}
}

/* Take it all out, run by run; what is between must not be there. */
static void kho_model_clear(struct kunit *test, struct kho_model *model,
			    unsigned int order)
{
	unsigned long first, end, blocks = KHO_MODEL_PAGES >> order;
	struct kho_map_test *t = test->priv;

	for_each_set_bitrange(first, end, model->bits[order], blocks) {
		unsigned long pfn = KHO_MODEL_START + (first << order);

		if (end < blocks)
			KUNIT_EXPECT_FALSE(test,
					   kho_map_test(&t->map, pfn,
							end - first + 1, order));
		KUNIT_EXPECT_TRUE(test, kho_map_clear(&t->map, pfn,
						      end - first, order));
	}
}

static void kho_map_test_random(struct kunit *test)
{
	struct kho_map_test *t = test->priv;
	struct kho_model model;
	unsigned int order, step;

	prandom_seed_state(&model.rnd, 20241117);
	for (order = 0; order < KHO_MODEL_ORDERS; order++) {
		size_t longs = BITS_TO_LONGS(KHO_MODEL_PAGES >> order);

		model.bits[order] = kunit_kcalloc(test, longs, sizeof(long),
						  GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, model.bits[order]);
	}

	for (step = 0; step < KHO_MODEL_STEPS; step++) {
		kho_model_step(test, &model);
		if (step % 500)
			continue;
		kho_map_count(&t->map, t->counts);
		for (order = 0; order < KHO_MODEL_ORDERS; order++)
			KUNIT_ASSERT_EQ(test, t->counts[order],
					bitmap_weight(model.bits[order],
						      KHO_MODEL_PAGES >> order));
	}

	KUNIT_EXPECT_GT(test, kho_test_total(t), 0);
	for (order = 0; order < KHO_MODEL_ORDERS; order++)
		kho_model_clear(test, &model, order);
	KUNIT_EXPECT_EQ(test, kho_test_total(t), 0);
	kho_expect_nodes(test, 1);
}

static struct kunit_case kho_map_cases[] = {
	KUNIT_CASE(kho_map_test_keys),
	KUNIT_CASE(kho_map_test_orders),
	KUNIT_CASE(kho_map_test_boundaries),
	KUNIT_CASE(kho_map_test_long_run),
	KUNIT_CASE(kho_map_test_exists),
	KUNIT_CASE(kho_map_test_take),
	KUNIT_CASE(kho_map_test_runs),
	KUNIT_CASE(kho_map_test_no_memory),
	KUNIT_CASE(kho_map_test_runs_no_memory),
	KUNIT_CASE(kho_map_test_uncounted),
	KUNIT_CASE(kho_map_test_walk),
	KUNIT_CASE(kho_map_test_random),
	{}
};

static struct kunit_suite kho_map_suite = {
	.name = "kho_map",
	.init = kho_map_test_init,
	.exit = kho_map_test_exit,
	.test_cases = kho_map_cases,
};

kunit_test_suite(kho_map_suite);
