// SPDX-License-Identifier: GPL-2.0
/*
 * Page maps that make no sense although their checksums are right: the sender made
 * a mistake, or is of another time. The next kernel says in one line what it found,
 * uses the memory, and boots on. Each update damages what the next kernel gets, and
 * that one is the first of a new handover.
 */
#include <sys/mman.h>
#include <syslog.h>

#include "lu_harness.h"

#define KHO		"/sys/kernel/debug/kho/"
#define CORRUPT		KHO "corrupt"

/* Preserved, so that it is seen whether it is free again. */
#define LARGE		(64 * LU_MIB)
/* What to find pages in. */
#define POOL		(400 * LU_MIB)

#define MAX_PFN		1048576UL
#define MAX_AREAS	128
#define LEAF_PAGES	32768UL

FIXTURE(map)
{
	int dev;
	int stage;
	int large;
	char *own;		/* one byte per page frame: is it of the pool */
	uint64_t scratch[MAX_AREAS][2];
	int nr_areas;
};

FIXTURE_SETUP(map)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->large = -1;
	if (self->stage == 1 && access(CORRUPT, F_OK))
		SKIP(return, "no " CORRUPT);
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	self->own = calloc(MAX_PFN, 1);
	ASSERT_NE(NULL, self->own);
}

FIXTURE_TEARDOWN(map)
{
	close(self->large);
	close(self->dev);
	free(self->own);
}

static int read_scratch(FIXTURE_DATA(map) * self)
{
	FILE *f = fopen(KHO "out/scratch", "re");
	intmax_t addr, size;

	if (!f)
		return -errno;
	while (self->nr_areas < MAX_AREAS && fscanf(f, "%ji %ji", &addr, &size) == 2) {
		self->scratch[self->nr_areas][0] = addr;
		self->scratch[self->nr_areas++][1] = size;
	}
	fclose(f);
	return self->nr_areas ? 0 : -ENOENT;
}

/* Whether two pages lie in the pool, and not in scratch. */
static bool is_usable(FIXTURE_DATA(map) * self, uint64_t pfn)
{
	uint64_t phys = pfn * LU_PAGE;
	int i;

	if (pfn + 1 >= MAX_PFN || !self->own[pfn] || !self->own[pfn + 1])
		return false;
	for (i = 0; i < self->nr_areas; i++)
		if (phys + 2 * LU_PAGE > self->scratch[i][0] &&
		    phys < self->scratch[i][0] + self->scratch[i][1])
			return false;
	return true;
}

/* Page frame of a mapped page; 0 if it is not there. */
static uint64_t frame_of(int pagemap, const char *page)
{
	uint64_t entry = 0;

	if (pread(pagemap, &entry, sizeof(entry),
		  (uintptr_t)page / LU_PAGE * sizeof(entry)) != sizeof(entry))
		return 0;
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

/* Fill most of memory, and note where that is. */
static int fill_pool(FIXTURE_DATA(map) * self)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *pool = mmap(NULL, POOL, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	uint64_t pfn;
	size_t i;

	if (pagemap < 0 || pool == MAP_FAILED)
		return -errno;
	for (i = 0; i < POOL; i += LU_PAGE) {
		pfn = frame_of(pagemap, pool + i);
		if (pfn && pfn < MAX_PFN)
			self->own[pfn] = 1;
	}
	close(pagemap);
	return 0;
}

/* The map has blocks of one order only, so its nodes have known numbers. */
static bool is_order_0_only(void)
{
	FILE *f = fopen(KHO "out/pages", "re");
	intmax_t order, blocks;
	int n = 0;

	if (!f)
		return false;
	while (fscanf(f, "%ji %ji", &order, &blocks) == 2)
		n += order ? 2 : 1;
	fclose(f);
	return n == 1;
}

static int add_block(uint64_t phys, int order)
{
	char line[64];

	snprintf(line, sizeof(line), "block %#jx %d", (uintmax_t)phys, order);
	return lu_write_file(CORRUPT, line);
}

/* Tables that lead to order 0: nodes 1 (below the root) to 4; node 5 is a bitmap. */
static int no_such_order(FIXTURE_DATA(map) * self)
{
	return lu_write_file(CORRUPT, "slot 0 4 n1");
}

static int cycle(FIXTURE_DATA(map) * self)
{
	return lu_write_file(CORRUPT, "slot 0 3 n0");
}

/*
 * A table that has the same bitmap in all places: a page of the file's, in which
 * nothing is set. It is more than this memory can take.
 */
static int too_many_nodes(FIXTURE_DATA(map) * self)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *page = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->large, 0);
	char line[64];
	uint64_t pfn;

	if (pagemap < 0 || page == MAP_FAILED)
		return -errno;
	memset(page, 0, LU_PAGE);
	pfn = frame_of(pagemap, page);
	close(pagemap);
	munmap(page, LU_PAGE);
	snprintf(line, sizeof(line), "slot 4 512 %#jx", (uintmax_t)(pfn * LU_PAGE));
	return pfn ? lu_write_file(CORRUPT, line) : -ENOENT;
}

static int node_in_scratch(FIXTURE_DATA(map) * self)
{
	char line[64];

	snprintf(line, sizeof(line), "slot 4 511 %#jx", (uintmax_t)self->scratch[0][0]);
	return lu_write_file(CORRUPT, line);
}

/*
 * Two bitmaps of order 1, nodes 5 and 6 as the larger order comes first; then one of
 * them in both places, where the pages that it names are no worse.
 */
static int node_twice(FIXTURE_DATA(map) * self)
{
	uint64_t pfn, apart = 2 * LEAF_PAGES;
	char line[64];
	int err = fill_pool(self);

	for (pfn = 0; !err && pfn + apart < MAX_PFN; pfn += 2)
		if (is_usable(self, pfn) && is_usable(self, pfn + apart))
			break;
	if (err || pfn + apart >= MAX_PFN)
		return err ?: -ENOENT;
	err = add_block(pfn * LU_PAGE, 1) ?: add_block((pfn + apart) * LU_PAGE, 1);
	snprintf(line, sizeof(line), "slot 4 %ju n5", (uintmax_t)(pfn / apart + 1));
	return err ?: lu_write_file(CORRUPT, line);
}

static int page_in_scratch(FIXTURE_DATA(map) * self)
{
	return add_block(self->scratch[0][0], 0);
}

/* What a PC shows its screen in. */
static int page_in_hole(FIXTURE_DATA(map) * self)
{
	return add_block(0xa0000, 0);
}

/* The first 64 KiB belong to the firmware. */
static int page_in_use(FIXTURE_DATA(map) * self)
{
	return add_block(0x2000, 0);
}

/* Two preserved pages of a file, and once more as a pair. */
static int overlap(FIXTURE_DATA(map) * self)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), err = -ENOENT;
	char *map = mmap(NULL, LARGE, PROT_READ, MAP_SHARED | MAP_POPULATE, self->large, 0);
	uint64_t pfn = 1;
	size_t i;

	if (pagemap < 0 || map == MAP_FAILED)
		return -errno;
	for (i = 0; i < LARGE && pfn % 2; i += LU_PAGE)
		pfn = frame_of(pagemap, map + i) ?: 1;
	if (!(pfn % 2))
		err = add_block(pfn * LU_PAGE, 1);
	munmap(map, LARGE);
	close(pagemap);
	return err;
}

static const struct damage {
	const char *what;
	int (*make)(FIXTURE_DATA(map) * self);
	const char *says;
} damages[] = {
	{ "an order that is none", no_such_order, "expected none so high" },
	{ "the root below itself", cycle, "expected RAM, found none" },
	{ "more nodes than there can be", too_many_nodes, "page map has more than" },
	{ "a node in scratch", node_in_scratch, "expected a page of RAM outside of scratch" },
	{ "a node in two places", node_twice, "twice" },
	{ "a page in scratch", page_in_scratch, "expected RAM, found scratch" },
	{ "a page where no memory is", page_in_hole, "expected RAM, found none" },
	{ "a page that is reserved", page_in_use, "expected RAM, found memory in use" },
	{ "a page in blocks of two orders", overlap, "found a larger block" },
};

/* Address of the map's root, in the FDT that is handed over; 0 if it is not there. */
static uint64_t root_node(void)
{
	int fd = open(KHO "out/fdt", O_RDONLY | O_CLOEXEC);
	uint64_t phys = 0;

	if (pread(fd, &phys, sizeof(phys), 76) != sizeof(phys))
		phys = 0;
	close(fd);
	return phys;
}

static void check(struct __test_metadata *_metadata, FIXTURE_DATA(map) * self,
		  const struct damage *was)
{
	char freed[64];

	printf("# %d: after %s\n", self->stage, was->what);
	EXPECT_EQ(1, lu_log_lines(was->says, LOG_ERR));
	EXPECT_EQ(1, lu_log_lines("the previous kernel's state is lost", LOG_ERR));
	EXPECT_EQ(1, lu_log_lines("KHO: ", LOG_WARNING));
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "damaged"));
	EXPECT_TRUE(lu_await_free_kib(lu_param_u64("lu.free_kib") - LARGE / 2 / LU_KIB));
	/* Nodes were reserved up to that one: memblock=debug says that they are free. */
	snprintf(freed, sizeof(freed), "memblock_phys_free: [%#018jx-",
		 (uintmax_t)lu_param_u64("lu.map"));
	EXPECT_EQ(was->make == node_twice, lu_log_lines(freed, LOG_DEBUG));
}

TEST_F_TIMEOUT(map, contents, LU_TIMEOUT)
{
	const int last = ARRAY_SIZE(damages) + 1;
	char more[128];
	int session;

	ASSERT_NE(0, root_node());
	snprintf(more, sizeof(more), "memblock=debug lu.map=%ju lu.free_kib=%ju",
		 (uintmax_t)root_node(),
		 self->stage > 1 ? (uintmax_t)lu_param_u64("lu.free_kib") :
				   (uintmax_t)lu_free_kib());
	if (self->stage > 1)
		check(_metadata, self, &damages[self->stage - 2]);
	if (self->stage == last)
		return;

	session = lu_create(self->dev, "damaged");
	ASSERT_LE(0, session);
	self->large = lu_memfd("large", LARGE, 1);
	ASSERT_LE(0, self->large);
	ASSERT_EQ(0, lu_preserve(session, self->large, 1));
	ASSERT_TRUE(is_order_0_only());
	ASSERT_EQ(0, read_scratch(self));
	ASSERT_EQ(0, damages[self->stage - 1].make(self));
	LU_KEXEC_WITH(self->stage + 1, more);
}
