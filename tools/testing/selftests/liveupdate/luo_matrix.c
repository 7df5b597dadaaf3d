// SPDX-License-Identifier: GPL-2.0
/*
 * Machines of other kinds: kernels that move, several nodes, much memory, UEFI,
 * a crash kernel, an odd memory map. What kind of machine it is says the line in
 * qemu-tests.list; each test first sees that it is one.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <syslog.h>

#include <linux/kexec.h>
#include <linux/mempolicy.h>

#include "lu_areas.h"
#include "lu_harness.h"

#define SCRATCH		KHO "out/scratch"

FIXTURE(matrix)
{
	int dev;
	int stage;
};

FIXTURE_SETUP(matrix)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	/* A kernel for a crash has no live update. */
	self->dev = lu_open_dev();
	if (access("/proc/vmcore", F_OK))
		ASSERT_LE(0, self->dev);
}

FIXTURE_TEARDOWN(matrix)
{
	close(self->dev);
}

#define MATRIX(name)		TEST_F_TIMEOUT(matrix, name, LU_TIMEOUT)

struct range {
	uint64_t start;
	uint64_t end;
};

static bool touches(struct range a, struct range b)
{
	return a.start < b.end && b.start < a.end;
}

/* The physical address of a page that is mapped here, 0 if there is none. */
static uint64_t phys_of(const void *page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (pread(fd, &entry, sizeof(entry), (uintptr_t)page / LU_PAGE * sizeof(entry)) < 0)
		entry = 0;
	close(fd);
	return entry >> 63 ? (entry & ((1ULL << 55) - 1)) * LU_PAGE : 0;
}

/* The first range of /proc/iomem of this name. */
static int iomem_range(const char *name, struct range *range)
{
	FILE *f = fopen("/proc/iomem", "re");
	unsigned long long start, end;
	char line[256], what[128];
	int err = -ENOENT;

	while (f && err && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %llx-%llx : %127[^\n]", &start, &end, what) == 3 &&
		    !strcmp(what, name)) {
			*range = (struct range) { start, end + 1 };
			err = 0;
		}
	}
	if (f)
		fclose(f);
	return err;
}

static bool in_scratch(struct range range)
{
	struct areas areas;

	return !read_areas(&areas) && range_in_areas(&areas, range.start, range.end);
}

static uint64_t text_address(void)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	unsigned long long addr = 0;
	char type, name[128];

	while (f && fscanf(f, "%llx %c %127s%*[^\n]", &addr, &type, name) == 3)
		if (!strcmp(name, "_stext"))
			break;
	if (f)
		fclose(f);
	return addr;
}

/*
 * A preserved page tells the next kernels where the ones before it were.
 */
enum { MOVES_SIZE = 4 * LU_MIB, MAX_MOVES = 64, MORE_MOVES = 6 };

struct places {
	int nr;
	uint64_t phys[MAX_MOVES];
	uint64_t text[MAX_MOVES];
};

static int distinct(const uint64_t *values, int nr)
{
	int i, k, n = 0;

	for (i = 0; i < nr; i++) {
		for (k = 0; k < i && values[k] != values[i]; k++)
			;
		n += k == i;
	}
	return n;
}

/* How many pages of a file lie where the kernel is. */
static int pages_in(int fd, size_t size, struct range kernel)
{
	char *map = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	size_t off;
	int n = 0;

	if (map == MAP_FAILED)
		return -errno;
	for (off = 0; off < size; off += LU_PAGE) {
		uint64_t phys = phys_of(map + off);

		n += !phys || touches((struct range) { phys, phys + LU_PAGE }, kernel);
	}
	munmap(map, size);
	return n;
}

static const char * const kernel_parts[] = {
	"Kernel code", "Kernel rodata", "Kernel data", "Kernel bss",
};

/* Whether kernels were at several places; the first was placed by another rule. */
static bool have_moved(const struct places *places)
{
	return distinct(places->phys + 1, places->nr - 1) > 1 &&
	       distinct(places->text + 1, places->nr - 1) > 1;
}

/*
 * RANDOMIZE_BASE: every kernel is somewhere else, and never on what is kept. There are
 * only so many places in scratch: if all were the same by chance, some more follow.
 */
MATRIX(kernel_moves)
{
	int session = -1, data, list, i, updates = lu_param_u64("lu.updates") ?: 6;
	struct range kernel, part;
	struct places *places;

	ASSERT_GT(MAX_MOVES - MORE_MOVES, updates);
	ASSERT_EQ(0, iomem_range("Kernel code", &kernel));
	ASSERT_EQ(0, iomem_range("Kernel bss", &part));
	kernel.end = part.end;
	if (self->stage == 1) {
		data = lu_memfd("data", MOVES_SIZE, 1);
		list = lu_memfd("list", LU_PAGE, 0);
	} else {
		EXPECT_TRUE(in_scratch(kernel))
			TH_LOG("kernel at %#llx", (unsigned long long)kernel.start);
		session = lu_retrieve(self->dev, "moves");
		ASSERT_LE(0, session);
		data = lu_retrieve_fd(session, 1);
		list = lu_retrieve_fd(session, 2);
	}
	ASSERT_LE(0, data);
	places = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, list, 0);
	ASSERT_NE(MAP_FAILED, places);
	if (self->stage == 1)
		memset(places, 0, sizeof(*places));
	ASSERT_EQ(self->stage - 1, places->nr);
	EXPECT_EQ(0, lu_check(data, 0, MOVES_SIZE, 1));
	/* Not between them: what the boot alone needs has been given back. */
	for (i = 0; i < (int)ARRAY_SIZE(kernel_parts); i++) {
		ASSERT_EQ(0, iomem_range(kernel_parts[i], &part));
		EXPECT_EQ(0, pages_in(data, MOVES_SIZE, part))
			TH_LOG("%s", kernel_parts[i]);
	}
	places->phys[places->nr] = kernel.start;
	places->text[places->nr++] = text_address();

	if (self->stage > 1) {
		ASSERT_EQ(0, lu_finish(session));
		close(session);
	}
	if (self->stage <= updates ||
	    (!have_moved(places) && self->stage <= updates + MORE_MOVES)) {
		session = lu_create(self->dev, "moves");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, data, 1));
		ASSERT_EQ(0, lu_preserve(session, list, 2));
		LU_KEXEC(self->stage + 1);
	}
	for (i = 0; i < places->nr; i++)
		TH_LOG("kernel %d: %#llx at %#llx", i + 1,
		       (unsigned long long)places->text[i],
		       (unsigned long long)places->phys[i]);
	EXPECT_TRUE(have_moved(places));
}

enum { NODE_SIZE = 16 * LU_MIB };

static int node_of(const void *page)
{
	int status = -1;

	return syscall(SYS_move_pages, 0, 1UL, &page, NULL, &status, 0) ? -errno : status;
}

/* Nodes 0 and 1 by turns, page by page. */
#define BY_TURNS	2

/* A file all of whose pages lie on one node. */
static int memfd_on(int node, char **map)
{
	unsigned long mask = node == BY_TURNS ? 3 : 1UL << node;
	int policy = node == BY_TURNS ? MPOL_INTERLEAVE : MPOL_BIND;
	int fd = memfd_create("node", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, NODE_SIZE))
		return -errno;
	*map = mmap(NULL, NODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*map == MAP_FAILED ||
	    syscall(SYS_mbind, *map, NODE_SIZE, policy, &mask, 8 * sizeof(mask), 0))
		return -errno;
	lu_fill_mem(*map, 0, NODE_SIZE, node);
	return fd;
}

/*
 * Memory of node 1 that is freed only when all CPUs are up: what comes before is a
 * section of the node's last zone.
 */
#define LATE_MEMORY	(4 * LU_GIB + 128 * LU_MIB)

/*
 * Have such memory at the head of node 1's free lists, in whatever order the boot has
 * filled them: take pieces until there is enough of it, keep those that lie before it.
 */
static int late_memory_first(void)
{
	enum { SIZE = 4 * LU_MIB, ENOUGH = 2 * NODE_SIZE / SIZE };
	unsigned long mask = 1UL << 1;
	char *late[ENOUGH], *map;
	int nr_late = 0, i;

	for (i = 0; i < 64 && nr_late < ENOUGH; i++) {
		map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (map == MAP_FAILED ||
		    syscall(SYS_mbind, map, SIZE, MPOL_BIND, &mask, 8 * sizeof(mask), 0) ||
		    madvise(map, SIZE, MADV_POPULATE_WRITE))
			return -errno;
		if (phys_of(map) >= LATE_MEMORY && phys_of(map + SIZE - LU_PAGE) >= LATE_MEMORY)
			late[nr_late++] = map;
	}
	if (nr_late < ENOUGH)
		return -ENOENT;
	while (nr_late)
		munmap(late[--nr_late], SIZE);
	return 0;
}

/* What zones have of memory, all together. */
static long managed_kib(void)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	long pages, sum = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " managed %ld", &pages) == 1)
			sum += pages;
	if (f)
		fclose(f);
	return sum * (LU_PAGE / LU_KIB);
}

/*
 * Two nodes, and memory above 4 GiB: pages stay where they are. With lu.uefi=1 on
 * a machine that UEFI has booted.
 */
MATRIX(nodes_and_high_memory)
{
	uint64_t high = 0;
	size_t off;
	int session, node, fd, want = 0, late = 0;
	char *map;

	EXPECT_EQ(0, access("/sys/devices/system/node/node1", F_OK));
	if (lu_param_u64("lu.uefi"))
		EXPECT_EQ(0, access("/sys/firmware/efi/systab", F_OK));
	EXPECT_EQ(lu_param_u64("lu.cpus"), sysconf(_SC_NPROCESSORS_ONLN));

	session = self->stage == 1 ? lu_create(self->dev, "nodes") :
				     lu_retrieve(self->dev, "nodes");
	ASSERT_LE(0, session);
	if (self->stage == 1)
		ASSERT_EQ(0, late_memory_first());
	for (node = 0; node <= BY_TURNS; node++) {
		if (self->stage == 1) {
			fd = memfd_on(node, &map);
			ASSERT_LE(0, fd);
			ASSERT_EQ(0, lu_preserve(session, fd, node));
		} else {
			fd = lu_retrieve_fd(session, node);
			ASSERT_LE(0, fd);
			EXPECT_EQ(0, lu_check(fd, 0, NODE_SIZE, node));
			map = mmap(NULL, NODE_SIZE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
			ASSERT_NE(MAP_FAILED, map);
		}
		for (off = 0; off < NODE_SIZE; off += LU_PAGE) {
			want = node < BY_TURNS ? node : off ? 1 - want : node_of(map);
			ASSERT_EQ(want, node_of(map + off))
				TH_LOG("stage %d, offset %#zx", self->stage, off);
			high = phys_of(map + off) > high ? phys_of(map + off) : high;
			late += phys_of(map + off) >= LATE_MEMORY;
		}
	}
	EXPECT_LE(4 * LU_GIB, high);
	TH_LOG("%d pages are freed late", late);
	EXPECT_LT((int)(NODE_SIZE / LU_PAGE / 2), late);
	/* Also what UEFI gave back when memory was counted already. */
	EXPECT_EQ(managed_kib(), lu_total_kib());
	if (self->stage == 1)
		LU_KEXEC(2);
	EXPECT_EQ(0, lu_finish(session));
}

static int load_for_crash(int stage, const char *more)
{
	int kernel = open(lu_next_image(), O_RDONLY | O_CLOEXEC);
	int initrd = open("/host/initrd", O_RDONLY | O_CLOEXEC);
	char line[2048];
	int err = lu_cmdline(line, sizeof(line), stage, more);

	if (!err && syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line,
			    (unsigned long)KEXEC_FILE_ON_CRASH))
		err = -errno;
	close(kernel);
	close(initrd);
	return err;
}

/* A page of the crashed kernel's, from the dump. */
static int read_dump(uint64_t phys, void *page)
{
	struct { unsigned char ident[16]; uint16_t type, machine; uint32_t version;
		 uint64_t entry, phoff, shoff; uint32_t flags;
		 uint16_t ehsize, phentsize, phnum; } header;
	struct { uint32_t type, flags; uint64_t offset, vaddr, paddr, filesz, memsz, align; } ph;
	int fd = open("/proc/vmcore", O_RDONLY | O_CLOEXEC), i, err = -ENOENT;

	if (fd < 0)
		return -errno;
	if (pread(fd, &header, sizeof(header), 0) < (ssize_t)sizeof(header) ||
	    memcmp(header.ident, "\177ELF", 4)) {
		close(fd);
		return -ENOEXEC;
	}
	for (i = 0; err && i < header.phnum; i++) {
		if (pread(fd, &ph, sizeof(ph), header.phoff + i * sizeof(ph)) != sizeof(ph) ||
		    ph.type != 1 || phys < ph.paddr || phys + LU_PAGE > ph.paddr + ph.filesz)
			continue;
		if (pread(fd, page, LU_PAGE, ph.offset + phys - ph.paddr) == (ssize_t)LU_PAGE)
			err = 0;
	}
	close(fd);
	return err;
}

/*
 * crashkernel=: the memory is set aside in the next kernel, too, and a kernel that
 * crashes while it holds state leaves a dump with this state in it.
 */
MATRIX(crash_dump)
{
	struct range crash;
	char page[LU_PAGE], want[LU_PAGE], note[96];
	struct areas areas;
	int session, fd;
	char *map;

	if (self->stage == 3) {
		EXPECT_EQ(-ENOENT, self->dev);
		EXPECT_EQ(-1, access(SCRATCH, F_OK));
		ASSERT_EQ(0, read_dump(lu_param_u64("lu.page"), page));
		lu_fill_mem(want, 0, LU_PAGE, 9);
		EXPECT_EQ(0, memcmp(page, want, LU_PAGE));
		return;
	}
	ASSERT_EQ(0, iomem_range("Crash kernel", &crash));
	TH_LOG("for a crash: %#llx-%#llx", (unsigned long long)crash.start,
	       (unsigned long long)crash.end);
	/* Scratch is for the boot, and not for this. */
	ASSERT_EQ(0, read_areas(&areas));
	EXPECT_LT(areas.total, crash.end - crash.start);
	if (self->stage == 1) {
		fd = lu_memfd("dumped", LU_MIB, 9);
		ASSERT_EQ(0, load_for_crash(3, NULL));
	} else {
		EXPECT_EQ(lu_param_u64("lu.crash"), crash.end - crash.start);
		session = lu_retrieve(self->dev, "dumped");
		ASSERT_LE(0, session);
		fd = lu_retrieve_fd(session, 1);
		ASSERT_LE(0, fd);
		EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 9));
		EXPECT_EQ(0, lu_finish(session));
		close(session);
	}
	ASSERT_LE(0, fd);
	session = lu_create(self->dev, "dumped");
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, fd, 1));
	if (self->stage == 1) {
		snprintf(note, sizeof(note), "lu.crash=%llu",
			 (unsigned long long)(crash.end - crash.start));
		LU_KEXEC_WITH(2, note);
	}
	map = mmap(NULL, LU_PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	snprintf(note, sizeof(note), "lu.page=%llu", (unsigned long long)phys_of(map));
	/* An image for the next update is loaded as well; it is not the one to start. */
	ASSERT_EQ(0, lu_load(4, NULL));
	ASSERT_EQ(0, load_for_crash(3, note));
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	lu_write_file("/proc/sysrq-trigger", "c");
}

/* Where the pages of a mapping are, by page frame number; 0 for none. */
static int page_frames(const char *map, uint64_t *pfns, size_t nr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t len = nr * sizeof(*pfns), n;
	size_t i;

	n = pread(fd, pfns, len, (uintptr_t)map / LU_PAGE * sizeof(*pfns));
	close(fd);
	for (i = 0; i < nr; i++)
		pfns[i] = pfns[i] >> 63 ? pfns[i] & ((1ULL << 55) - 1) : 0;
	return n == len ? 0 : -EIO;
}

enum { SPREAD_BLOCK = 2 * LU_MIB, SPREAD_BLOCKS = 4096 };

/*
 * A file with one page in every block of memory, as far as it can be had: what is
 * kept leaves no large area free. Returns the file, and how many pages it has.
 */
static int spread_file(uint64_t *kept)
{
	size_t size = (lu_free_kib() - 96 * LU_KIB) * LU_KIB & ~(SPREAD_BLOCK - 1), off, i;
	static uint64_t pfns[SPREAD_BLOCK / LU_PAGE];
	static bool seen[SPREAD_BLOCKS];
	int fd = memfd_create("spread", MFD_CLOEXEC);
	char *map;

	*kept = 0;
	/* For huge pages to come there may be more of a reserve than is left here. */
	if (fd < 0 || ftruncate(fd, size) ||
	    lu_write_file("/proc/sys/vm/min_free_kbytes", "4096"))
		return -EIO;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	for (off = 0; off < size; off += LU_PAGE)
		*(uint64_t *)(map + off) = off + 1;
	for (off = 0; off < size; off += SPREAD_BLOCK) {
		if (page_frames(map + off, pfns, ARRAY_SIZE(pfns)))
			return -EIO;
		for (i = 0; i < ARRAY_SIZE(pfns); i++) {
			uint64_t block = pfns[i] * LU_PAGE / SPREAD_BLOCK;

			if (block < SPREAD_BLOCKS && !seen[block]) {
				seen[block] = true;
				++*kept;
			} else if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					     off + i * LU_PAGE, LU_PAGE)) {
				return -errno;
			}
		}
	}
	munmap(map, size);
	return fd;
}

/* How many pages of it are there, with their contents. */
static int64_t spread_pages(int fd)
{
	off_t data = 0, hole = 0;
	int64_t n = 0;

	while ((data = lseek(fd, hole, SEEK_DATA)) >= 0) {
		hole = lseek(fd, data, SEEK_HOLE);
		for (; data < hole; data += LU_PAGE, n++) {
			uint64_t word;

			if (pread(fd, &word, sizeof(word), data) != sizeof(word) ||
			    word != (uint64_t)data + 1)
				return -EILSEQ;
		}
	}
	return n;
}

/* Kept pages all over memory, the next kernel gets @more on its command line. */
static void spread_over(struct __test_metadata *_metadata, FIXTURE_DATA(matrix) * self,
			const char *more)
{
	char line[128];
	uint64_t kept;
	int session, fd;

	if (self->stage == 1) {
		fd = spread_file(&kept);
		ASSERT_LE(0, fd);
		TH_LOG("%ju pages", (uintmax_t)kept);
		ASSERT_LT(200, kept);
		session = lu_create(self->dev, "spread");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		snprintf(line, sizeof(line), "lu.kept=%ju %s", (uintmax_t)kept, more);
		LU_KEXEC_WITH(2, line);
	}
	session = lu_retrieve(self->dev, "spread");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((int64_t)lu_param_u64("lu.kept"), spread_pages(fd));
	EXPECT_EQ(0, lu_finish(session));
}

/* What was kept for a crash has no preserved page in it, and is found again. */
MATRIX(crash_kernel_among_kept_pages)
{
	unsigned long long size;
	struct range crash;
	char more[64];

	ASSERT_EQ(0, iomem_range("Crash kernel", &crash));
	size = crash.end - crash.start;
	snprintf(more, sizeof(more), "lu.crash=%llu", size);
	spread_over(_metadata, self, more);
	TH_LOG("for a crash: %#llx-%#llx", (unsigned long long)crash.start,
	       (unsigned long long)crash.end);
	EXPECT_EQ(lu_param_u64("lu.crash"), size);
	EXPECT_FALSE(in_scratch(crash));
}

/*
 * Scratch is for the boot: a crash kernel that was not there before gets another
 * place, or none, and it is said.
 */
MATRIX(no_room_among_kept_pages)
{
	struct range crash;

	spread_over(_metadata, self, "crashkernel=64M");
	if (iomem_range("Crash kernel", &crash)) {
		EXPECT_LE(1, lu_log_lines("cannot allocate crashkernel", LOG_WARNING));
		return;
	}
	TH_LOG("for a crash: %#jx-%#jx", (uintmax_t)crash.start, (uintmax_t)crash.end);
	EXPECT_FALSE(in_scratch(crash));
}

/* The log's buffer does not fit into scratch: the boot finds memory elsewhere. */
MATRIX(boot_needs_more)
{
	enum { SYSLOG_SIZE_BUFFER = 10 };
	const int size = 32 * LU_MIB;	/* and what describes it, some 112 MiB */
	int session, fd;

	if (self->stage == 1) {
		session = lu_create(self->dev, "more");
		ASSERT_LE(0, session);
		fd = lu_memfd("m", LU_MIB, 3);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		LU_KEXEC_WITH(2, "log_buf_len=32M");
	}
	EXPECT_EQ(size, klogctl(SYSLOG_SIZE_BUFFER, NULL, 0));
	session = lu_retrieve(self->dev, "more");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 3));
	EXPECT_EQ(0, lu_finish(session));
}

static int memory_ranges(void)
{
	FILE *f = fopen("/proc/iomem", "re");
	char line[256];
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += line[0] != ' ' && strstr(line, "System RAM");
	if (f)
		fclose(f);
	return n;
}

/*
 * More ranges of memory than a boot loader's first table has room for. The second
 * kernel gets them from kexec_load(2), all others from the kernel before them.
 */
MATRIX(many_ranges)
{
	const size_t size = 16 * LU_MIB;
	int session, fd;
	char note[64];

	TH_LOG("%d ranges, %ld KiB", memory_ranges(), lu_total_kib());
	EXPECT_LT(60, memory_ranges());
	if (self->stage == 1) {
		/* kexec-tools shall believe /proc/iomem, which has the holes. */
		ASSERT_EQ(0, mount("none", "/sys/firmware", "tmpfs", 0, NULL));
		ASSERT_EQ(0, lu_load_tools("-c", 2));
		LU_JUMP();
	}
	if (self->stage == 2) {
		session = lu_create(self->dev, "ranges");
		ASSERT_LE(0, session);
		fd = lu_memfd("m", size, 3);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		/* From here on only the memory map says it. */
		snprintf(note, sizeof(note), "memmap= lu.ranges=%d lu.total=%ld",
			 memory_ranges(), lu_total_kib());
		LU_KEXEC_WITH(3, note);
	}
	/* Boot data that the image was given can split or join a few. */
	EXPECT_LE((int)lu_param_u64("lu.ranges") - 4, memory_ranges());
	EXPECT_GE((int)lu_param_u64("lu.ranges") + 4, memory_ranges());
	session = lu_retrieve(self->dev, "ranges");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, size, 3));
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_LE((long)lu_param_u64("lu.total") - 8192, lu_total_kib());
}
