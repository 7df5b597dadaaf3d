// SPDX-License-Identifier: GPL-2.0
/*
 * Pools of memory that are set aside at boot, for huge pages and for devices: they
 * are as large after an update, and can be used.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/klog.h>
#include <sys/mman.h>

#include "lu_areas.h"
#include "lu_lifecycle.h"

#define HUGE_PAGES	"/sys/kernel/mm/hugepages"
#define RESERVED	"/sys/kernel/debug/cma/reserved/"

static long read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	long n = -1;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

/* For every size of huge pages: how many there are. Returns the number of sizes. */
enum { MAX_SIZES = 4 };

static int huge_pools(long kib[MAX_SIZES], long pages[MAX_SIZES])
{
	DIR *dir = opendir(HUGE_PAGES);
	struct dirent *entry;
	char path[300];
	int n = 0;

	while (dir && n < MAX_SIZES && (entry = readdir(dir))) {
		if (sscanf(entry->d_name, "hugepages-%ldkB", &kib[n]) != 1)
			continue;
		snprintf(path, sizeof(path), HUGE_PAGES "/%s/nr_hugepages", entry->d_name);
		pages[n++] = read_number(path);
	}
	if (dir)
		closedir(dir);
	return n;
}

/* Write to every page of a pool: it is memory, and nobody else's. */
static int use_pool(long kib, long pages)
{
	size_t size = (size_t)kib * LU_KIB, i;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB |
			      (unsigned int)__builtin_ctzl(size) << MAP_HUGE_SHIFT);
	char *map;

	if (fd < 0 || ftruncate(fd, size * pages))
		return -errno;
	map = mmap(NULL, size * pages, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	for (i = 0; i < size * pages; i += LU_MIB)
		lu_fill_mem(map + i, i, LU_PAGE, 77);
	munmap(map, size * pages);
	return 0;
}

/*
 * hugepages= and hugetlb_cma=: none of the pools' pages is one that was kept.
 * lu.gigantic=1: a page of 1 GiB can be had from the pool's CMA area, too.
 */
LIFECYCLE(huge)
{
	static const char gigantic[] = HUGE_PAGES "/hugepages-1048576kB/nr_hugepages";
	const size_t size = 32 * LU_MIB;
	long kib[MAX_SIZES], pages[MAX_SIZES], total = 0;
	int session, fd, i, n;
	struct areas areas;
	char note[96];

	if (lu_param_u64("lu.vmemmap"))
		EXPECT_EQ(1, read_number("/proc/sys/vm/hugetlb_optimize_vmemmap"));
	n = huge_pools(kib, pages);
	ASSERT_LE(1, n);
	for (i = 0; i < n; i++)
		total += kib[i] * pages[i];
	TH_LOG("%ld MiB of huge pages, %ld MiB of CMA", total / 1024,
	       lu_meminfo_kib("CmaTotal:") / 1024);
	ASSERT_LT(0, total);
	/* Scratch is for the boot, and not for a page of 1 GiB. */
	ASSERT_EQ(0, read_areas(&areas));
	EXPECT_LT(areas.total, LU_GIB);

	if (self->stage == 1) {
		session = lu_create(self->dev, "pools");
		ASSERT_LE(0, session);
		fd = lu_memfd("beside", size, 5);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		snprintf(note, sizeof(note), "lu.pools=%ld lu.cma=%ld", total,
			 lu_meminfo_kib("CmaTotal:"));
		LU_KEXEC_WITH(2, note);
	}
	EXPECT_EQ((long)lu_param_u64("lu.pools"), total);
	EXPECT_EQ((long)lu_param_u64("lu.cma"), lu_meminfo_kib("CmaTotal:"));
	for (i = 0; i < n; i++)
		if (pages[i])
			EXPECT_EQ(0, use_pool(kib[i], pages[i]));
	if (lu_param_u64("lu.gigantic")) {
		ASSERT_EQ(0, lu_write_file(gigantic, "1"));
		EXPECT_EQ(1, read_number(gigantic));
		EXPECT_EQ(0, use_pool(1024 * 1024, 1));
	}
	session = lu_retrieve(self->dev, "pools");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, size, 5));
	EXPECT_EQ(0, lu_finish(session));
}

/*
 * cma=: what a driver can have of the area, all of it in one piece, it can have in
 * the next kernel, too, with files all over the memory.
 */
LIFECYCLE(devices)
{
	/* Memory but for a quarter: the kernel, scratch and the area are in it. */
	const size_t size = (size_t)lu_total_kib() / 4 * LU_KIB;
	long pages = read_number(RESERVED "count");
	char number[24], note[64];
	int session, fd;

	ASSERT_LT(0, pages);
	EXPECT_EQ(0, read_number(RESERVED "used"));
	snprintf(number, sizeof(number), "%ld", pages);
	if (self->stage == 1) {
		fd = lu_memfd("beside", size, 5);
		ASSERT_LE(0, fd);
		session = lu_create(self->dev, "devices");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
	} else {
		EXPECT_EQ((long)lu_param_u64("lu.cma"), lu_meminfo_kib("CmaTotal:"));
		EXPECT_EQ((long)lu_param_u64("lu.pages"), pages);
		session = lu_retrieve(self->dev, "devices");
		ASSERT_LE(0, session);
		ASSERT_LE(0, retrieve_one(session, 1, lu_param_u64("lu.size"), 5));
	}
	EXPECT_EQ(0, lu_write_file(RESERVED "alloc", number));
	EXPECT_EQ(pages, read_number(RESERVED "used"));
	EXPECT_EQ(0, lu_write_file(RESERVED "free", number));
	if (self->stage == 1) {
		snprintf(note, sizeof(note), "lu.pages=%ld lu.cma=%ld lu.size=%zu", pages,
			 lu_meminfo_kib("CmaTotal:"), size);
		LU_KEXEC_WITH(2, note);
	}
	EXPECT_EQ(0, lu_finish(session));
}

/* What a range of the log is about: in one kind of line, with memblock=debug. */
enum log_range { OPEN, TAKEN };

static int log_range(const char *line, uint64_t *start, uint64_t *end)
{
	unsigned long long from, to, flags;
	const char *at;

	at = strstr(line, " memory[0x");
	if (at && sscanf(at, " memory[%*x] [%llx-%llx]", &from, &to) == 2) {
		at = strstr(line, "flags: ");
		if (!at || sscanf(at, "flags: %llx", &flags) != 1 || !(flags & 0x20))
			return -ENOENT;
		*start = from;
		*end = to + 1;
		return OPEN;
	}
	at = strstr(line, "memblock_reserve: [");
	if (at && strstr(at, " memblock_alloc_range_nid") &&
	    sscanf(at, "memblock_reserve: [%llx-%llx]", &from, &to) == 2) {
		*start = from;
		*end = to + 1;
		return TAKEN;
	}
	return -ENOENT;
}

/*
 * Scratch has room for everything, and is for the boot: what is set aside for ever
 * lies elsewhere, and the boot takes nothing from there.
 */
LIFECYCLE(beside_scratch)
{
	int size = klogctl(10 /* SYSLOG_ACTION_SIZE_BUFFER */, NULL, 0), nr[2] = {}, huge = 0;
	int session, kind, dumps = 0;
	char *log, *line, *rest;
	uint64_t start, end;
	struct areas areas;

	EXPECT_EQ(1, read_number(HUGE_PAGES "/hugepages-1048576kB/nr_hugepages"));
	ASSERT_EQ(0, read_areas(&areas));
	if (self->stage == 1) {
		session = preserve_one(self->dev, "pools", 1, LU_MIB, 5);
		ASSERT_LE(0, session);
		LU_KEXEC_WITH(2, "memblock=debug");
	}
	log = malloc(size + 1);
	ASSERT_NE(NULL, log);
	size = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, size);
	ASSERT_LT(0, size);
	log[size] = 0;
	for (rest = log; (line = strsep(&rest, "\n"));) {
		/* Later there is more that is open. */
		dumps += !!strstr(line, "MEMBLOCK configuration:");
		kind = log_range(line, &start, &end);
		if (kind < 0 || (kind == OPEN && dumps > 1))
			continue;
		nr[kind]++;
		if (kind == TAKEN && (end - start == LU_GIB || end - start == 128 * LU_MIB)) {
			huge++;
			EXPECT_FALSE(in_areas(&areas, start) || in_areas(&areas, end - 1))
				TH_LOG("%s", line);
		} else {
			EXPECT_TRUE(end <= LU_MIB || range_in_areas(&areas, start, end))
				TH_LOG("%s", line);
		}
	}
	free(log);
	TH_LOG("%d ranges open at first, %d taken, %d of them for ever", nr[OPEN], nr[TAKEN],
	       huge);
	/* Below 1 MiB, and scratch. */
	EXPECT_LE(2, nr[OPEN]);
	EXPECT_LT(20, nr[TAKEN]);
	EXPECT_EQ(2, huge);
	session = lu_retrieve(self->dev, "pools");
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1, LU_MIB, 5));
	EXPECT_EQ(0, lu_finish(session));
}
