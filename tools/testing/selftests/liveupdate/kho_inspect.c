// SPDX-License-Identifier: GPL-2.0
/*
 * What debugfs shows of the handover: the FDTs before and after an update, the
 * scratch areas, how many pages are preserved.
 */
#include <endian.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lu_harness.h"

#define KHO		"/sys/kernel/debug/kho/"
#define FDT_MAX		(64 * LU_KIB)
#define FDT_MAGIC	0xd00dfeed
#define PAGES		(LU_MIB / LU_PAGE)

/* The header of an FDT, big-endian. */
struct fdt {
	uint32_t magic;
	uint32_t totalsize;
	uint32_t off_dt_struct;
	uint32_t off_dt_strings;
	uint32_t off_mem_rsvmap;
	uint32_t version;
	uint32_t last_comp_version;
};

FIXTURE(inspect)
{
	int dev;
	int stage;
};

FIXTURE_SETUP(inspect)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	if (access(KHO "out/fdt", F_OK))
		SKIP(return, "no " KHO "out/fdt");
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
}

FIXTURE_TEARDOWN(inspect)
{
	close(self->dev);
}

static ssize_t read_all(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = 0, got;

	if (fd < 0)
		return -errno;
	while ((got = read(fd, buf + n, len - n)) > 0)
		n += got;
	close(fd);
	return got < 0 ? -errno : n;
}

static bool has(const char *buf, size_t len, const char *what)
{
	return memmem(buf, len, what, strlen(what) + 1);
}

/* The program that people will use for it reads it, too. */
static void check_with_dtc(struct __test_metadata *_metadata, const char *path,
			   const char *compatible)
{
	char * const dtc[] = { "dtc", "-q", "-I", "dtb", "-O", "dts", "-o", "/tmp/dts",
			       (char *)path, NULL };
	char text[FDT_MAX + 1] = {};

	ASSERT_EQ(0, lu_run(dtc))
		TH_LOG("dtc %s", path);
	ASSERT_LT(0, read_all("/tmp/dts", text, sizeof(text) - 1));
	EXPECT_NE(NULL, strstr(text, compatible))
		TH_LOG("%s: %s", path, text);
}

/* A blob is an FDT that is in order, says @compatible and has @name in it. */
static void check_fdt(struct __test_metadata *_metadata, const char *path,
		      const char *compatible, const char *name)
{
	static char buf[FDT_MAX];
	struct fdt *fdt = (struct fdt *)buf;
	struct stat st;
	ssize_t len = read_all(path, buf, sizeof(buf));
	size_t total;

	ASSERT_LE((ssize_t)sizeof(*fdt), len)
		TH_LOG("%s: %zd", path, len);
	total = be32toh(fdt->totalsize);
	EXPECT_EQ(FDT_MAGIC, be32toh(fdt->magic));
	EXPECT_EQ(17, be32toh(fdt->version));
	ASSERT_LE(total, (size_t)len);
	EXPECT_LT(be32toh(fdt->off_dt_struct), total);
	EXPECT_LT(be32toh(fdt->off_dt_strings), total);
	EXPECT_TRUE(has(buf, total, compatible))
		TH_LOG("%s: no %s", path, compatible);
	EXPECT_TRUE(has(buf, total, name))
		TH_LOG("%s: no %s", path, name);

	ASSERT_EQ(0, stat(path, &st));
	EXPECT_EQ(0400, st.st_mode & 07777);
	check_with_dtc(_metadata, path, compatible);
}

/* Preserved blocks of an order, or a negative errno. */
static long blocks(unsigned int wanted)
{
	FILE *f = fopen(KHO "out/pages", "re");
	unsigned int order;
	long nr, found = 0;

	if (!f)
		return -errno;
	while (fscanf(f, "%u %ld", &order, &nr) == 2)
		if (order == wanted)
			found = nr;
	fclose(f);
	return found;
}

static long single_pages(void)
{
	return blocks(0);
}

/* A memfd of two folios of 2 MiB, and the order that these have. */
#define HUGE_ORDER	9
#define HUGE_SIZE	(2 * LU_PAGE << HUGE_ORDER)

static int huge_memfd(void)
{
	int fd = memfd_create("huge", MFD_CLOEXEC);
	char *map;

	if (fd < 0 || ftruncate(fd, HUGE_SIZE) ||
	    lu_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise"))
		return -errno;
	map = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || madvise(map, HUGE_SIZE, MADV_HUGEPAGE))
		return -errno;
	lu_fill_mem(map, 0, HUGE_SIZE, 2);
	munmap(map, HUGE_SIZE);
	return fd;
}

/* What lies in page blocks for movable pages that can be had back: MIGRATE_CMA. */
static uint64_t cma_size(void)
{
	FILE *f = fopen("/proc/pagetypeinfo", "re");
	uintmax_t per_block = 0, blocks = 0, n;
	bool counts = false;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Pages per block: %ju", &n) == 1)
			per_block = n;
		else if (!strncmp(line, "Number of", strlen("Number of")))
			counts = strstr(line, "of blocks type") && strstr(line, "CMA");
		else if (counts && sscanf(line, "Node %*d, zone %*s %*d %*d %*d %*d %ju", &n) == 1)
			blocks += n;
	}
	if (f)
		fclose(f);
	return blocks * per_block * LU_PAGE;
}

static void check_scratch(struct __test_metadata *_metadata)
{
	char buf[4096] = {}, *line = buf, *rest;
	unsigned long long addr, size, total = 0;
	unsigned int areas = 0;
	int fields;

	ASSERT_LT(0, read_all(KHO "out/scratch", buf, sizeof(buf) - 1));
	for (; *line; line = rest + 1) {
		rest = strchr(line, '\n');
		ASSERT_NE(NULL, rest);
		fields = sscanf(line, "%llx %llx", &addr, &size);
		ASSERT_EQ(2, fields);
		/* A kernel with larger page blocks than this one's takes them, too. */
		EXPECT_EQ(0, (addr | size) % (4 * LU_MIB));
		EXPECT_LT(0, size);
		total += size;
		areas++;
	}
	EXPECT_LT(0, areas);
	/* The kernel's own memory is not among what becomes free of it. */
	EXPECT_LE(total, cma_size());
}

static void check_out(struct __test_metadata *_metadata)
{
	check_fdt(_metadata, KHO "out/fdt", "kho-v4", "luo-fdt");
	check_fdt(_metadata, KHO "out/fdt", "preserved-memory-map", "kho-check");
	check_fdt(_metadata, KHO "out/sub_fdts/luo-fdt", "luo-fdt-v1",
		  "luo-session");
	EXPECT_EQ(0, access(KHO "out/sub_fdts/kho-check", F_OK));
	check_scratch(_metadata);
}

TEST_F_TIMEOUT(inspect, before_and_after, LU_TIMEOUT)
{
	int session, fd, huge;
	long before;

	check_out(_metadata);
	if (self->stage == 1) {
		EXPECT_EQ(-1, access(KHO "in", F_OK));
		before = single_pages();
		ASSERT_LT(0, before);
		session = lu_create(self->dev, "inspect");
		ASSERT_LE(0, session);
		fd = lu_memfd("inspect", LU_MIB, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		/* The file, and what describes it. */
		EXPECT_LE(before + (long)PAGES, single_pages());
		EXPECT_GT(before + (long)PAGES + 16, single_pages());
		before = blocks(HUGE_ORDER);
		huge = huge_memfd();
		ASSERT_LE(0, huge);
		ASSERT_EQ(0, lu_preserve(session, huge, 2));
		EXPECT_EQ(before + 2, blocks(HUGE_ORDER));
		LU_KEXEC(2);
	}

	check_fdt(_metadata, KHO "in/fdt", "kho-v4", "luo-fdt");
	check_fdt(_metadata, KHO "in/sub_fdts/luo-fdt", "luo-fdt-v1",
		  "luo-session");
	before = single_pages();
	EXPECT_LE((long)PAGES, before);
	session = lu_retrieve(self->dev, "inspect");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_check(fd, 0, LU_MIB, 1));
	EXPECT_EQ(2, blocks(HUGE_ORDER));
	huge = lu_retrieve_fd(session, 2);
	ASSERT_LE(0, huge);
	EXPECT_EQ(0, blocks(HUGE_ORDER));
	EXPECT_EQ(0, lu_check(huge, 0, HUGE_SIZE, 2));
	ASSERT_EQ(0, lu_finish(session));
	close(session);
	EXPECT_GE(before - (long)PAGES, single_pages());
	check_out(_metadata);
}
