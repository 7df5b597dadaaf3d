// SPDX-License-Identifier: GPL-2.0
/*
 * The cases of the bench: making what each of them preserves.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../lu_areas.h"
#include "../lu_util.h"
#include "lu_bench.h"

#define HUGE		(2 * LU_MIB)
#define SPARED		64	/* of what does not lie in scratch: to move to, to load */
#define POOL		"/proc/sys/vm/nr_hugepages"
#define RESERVE		"/proc/sys/vm/min_free_kbytes"
#define PAGEMAP_PFN	((1ULL << 55) - 1)

static int page_of_file(int fd, uint64_t page)
{
	uint64_t word = STAMP(page);
	ssize_t n = pwrite(fd, &word, sizeof(word), page * LU_PAGE);

	return n == sizeof(word) ? 0 : n < 0 ? -errno : -EIO;
}

int sized_memfd(uint64_t size)
{
	int fd = memfd_create("bench", MFD_CLOEXEC);

	return fd < 0 || ftruncate(fd, size) ? -errno : fd;
}

/* Every page, or the first pages of each MiB. */
static int make_pages(const struct kind *kind, uint64_t n)
{
	uint64_t page, pages = n * LU_MIB / LU_PAGE;
	int fd = sized_memfd(n * LU_MIB), err;

	for (page = 0; fd >= 0 && page < pages; page++) {
		if (page % (LU_MIB / LU_PAGE) >= kind->per_mib)
			continue;
		err = page_of_file(fd, page);
		if (err)
			return err;
	}
	return fd;
}

/* Every page of the file, every second one of memory. */
static int make_alternate(const struct kind *kind, uint64_t n)
{
	int fd = sized_memfd(n * LU_MIB), other = sized_memfd(n * LU_MIB), err;
	uint64_t page;

	if (fd < 0 || other < 0)
		return -errno;
	for (page = 0; page < n * LU_MIB / LU_PAGE; page++) {
		err = page_of_file(fd, page) ?: page_of_file(other, page);
		if (err)
			return err;
	}
	close(other);
	return fd;
}

/* The number behind a word at the start of a line. */
long number_in(const char *path, const char *key)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kib = atol(line + strlen(key));
	if (f)
		fclose(f);
	return kib;
}

long meminfo_kib(const char *key)
{
	return number_in("/proc/meminfo", key);
}

/*
 * Free memory, with what lies ready for each processor: MemFree counts a page that
 * moves from there to the rest as one that has become free.
 */
int64_t free_bytes(void)
{
	int64_t pages = meminfo_kib("MemFree:") * (int64_t)LU_KIB / LU_PAGE;
	FILE *f = fopen("/proc/zoneinfo", "re");
	char line[256];
	long ready;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %ld", &ready) == 1)
			pages += ready;
	if (f)
		fclose(f);
	return pages * LU_PAGE;
}

/*
 * Huge pages that are mapped here stay if they lie in scratch, or if they do not, but
 * for some. The others go back. How many stay.
 */
static int keep(char *map, int nr, const struct areas *areas, bool scratch)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), i, kept = 0;
	int spared = scratch ? 0 : SPARED;

	for (i = 0; i < nr; i++) {
		char *page = map + i * HUGE;
		uint64_t entry;

		if (pread(pagemap, &entry, sizeof(entry),
			  (uintptr_t)page / LU_PAGE * sizeof(entry)) != sizeof(entry))
			return -EIO;
		if (in_areas(areas, (entry & PAGEMAP_PFN) * LU_PAGE) == scratch &&
		    spared-- <= 0)
			kept++;
		else if (madvise(page, HUGE, MADV_DONTNEED))
			return -errno;
	}
	close(pagemap);
	return kept;
}

static void set(const char *path, long number)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", number);
	must(path, lu_write_file(path, text));
}

/*
 * Memory of scratch is given out while much of it is free, and what lies in there
 * has to be moved to be preserved: a cost of its own, see the case for it. That one
 * begins with next to no other memory, the others when there is next to none of
 * scratch left. It comes last and by turns with other memory, so all is taken, in huge
 * pages, which does not end in a lack of memory, and the one or the other is given
 * back, in as large pieces. A kernel that does not say where its scratch is, or has
 * no huge pages, keeps it all.
 */
void use_up(bool scratch)
{
	long reserve = number_in(RESERVE, ""), nr;
	struct areas areas;
	char *map;

	if (read_areas(&areas) || number_in(POOL, ""))
		return;
	set(RESERVE, 1024);
	set(POOL, meminfo_kib("MemFree:") * LU_KIB / HUGE);
	nr = number_in(POOL, "");
	map = mmap(NULL, nr * HUGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_HUGETLB |
		   MAP_POPULATE, -1, 0);
	if (map == MAP_FAILED)
		failed("map huge pages", -errno);
	set(POOL, must("huge pages", keep(map, nr, &areas, scratch)));
	set(RESERVE, reserve);
}

static int make_huge(const struct kind *kind, uint64_t n)
{
	int fd = sized_memfd(n * LU_MIB);
	uint64_t page;
	char *map;

	if (fd < 0)
		return fd;
	must("huge pages of shmem",
	     lu_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise"));
	map = mmap(NULL, n * LU_MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || madvise(map, n * LU_MIB, MADV_HUGEPAGE))
		return -errno;
	for (page = 0; page < n * LU_MIB / LU_PAGE; page++)
		*(uint64_t *)(map + page * LU_PAGE) = STAMP(page);
	munmap(map, n * LU_MIB);
	return meminfo_kib("ShmemHugePages:") < (long)(n * LU_MIB / LU_KIB) ? -ENOBUFS : fd;
}

static int make_one_page(const struct kind *kind, uint64_t n)
{
	int fd = sized_memfd(LU_PAGE);
	int err = fd < 0 ? 0 : page_of_file(fd, 0);

	return err ?: fd;
}

const struct kind kinds[] = {
	{ "none" },
	{ "contiguous", .per_mib = 256, .make = make_pages },
	{ "scratch", .per_mib = 256, .scratch = true, .make = make_pages },
	{ "alternate", .per_mib = 256, .make = make_alternate },
	{ "huge", .per_mib = 256, .make = make_huge },
	{ "sparse", .per_mib = 16, .make = make_pages },
	{ "files", .many = true, .make = make_one_page },
	{ "sessions", .many = true, .sessions = true, .make = make_one_page },
	{ }
};

bool is_kind(const struct bench_case *c, const char *name)
{
	return !strcmp(c->kind->name, name);
}

uint64_t case_files(const struct bench_case *c)
{
	if (!c->kind->make)
		return 0;
	return c->kind->many ? c->n : 1;
}

uint64_t case_sessions(const struct bench_case *c)
{
	return c->kind->sessions ? c->n : 1;
}

uint64_t case_pages(const struct bench_case *c)
{
	return c->kind->many ? c->n : c->n * c->kind->per_mib;
}

static int by_pfn(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* How many runs the pages of a file make in memory; 0 if nobody says. */
uint64_t count_runs(int fd, size_t size)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t *pfns = malloc(size / LU_PAGE * sizeof(*pfns));
	uint64_t i, n = size / LU_PAGE, used = 0, runs = 0;
	char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	off_t data = 0, hole = 0;

	if (pagemap < 0 || !pfns || map == MAP_FAILED)
		n = 0;
	while (n && (data = lseek(fd, hole, SEEK_DATA)) >= 0) {
		size_t len;

		hole = lseek(fd, data, SEEK_HOLE);
		len = (hole - data) / LU_PAGE * sizeof(*pfns);
		if (madvise(map + data, hole - data, MADV_POPULATE_READ) ||
		    pread(pagemap, pfns + used, len,
			  (uintptr_t)(map + data) / LU_PAGE * sizeof(*pfns)) != (ssize_t)len)
			break;
		used += len / sizeof(*pfns);
	}
	for (i = 0; i < used; i++)
		pfns[i] &= PAGEMAP_PFN;
	qsort(pfns, used, sizeof(*pfns), by_pfn);
	for (i = 0; i < used; i++)
		runs += !i || pfns[i] != pfns[i - 1] + 1;
	munmap(map, size);
	free(pfns);
	close(pagemap);
	return runs;
}
