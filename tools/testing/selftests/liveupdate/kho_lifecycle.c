// SPDX-License-Identifier: GPL-2.0
/*
 * The machine under the handover: memory that is neither lost nor given twice,
 * and scratch, whatever is asked for and whatever lies in it.
 */
#include <sys/mman.h>
#include <syslog.h>

#include "lu_areas.h"
#include "lu_lifecycle.h"

static uint64_t preserved_kib(void)
{
	uint64_t orders[64][2], pages = 0;
	int i, n = read_lines(KHO "out/pages", orders, 64);

	for (i = 0; i < n; i++)
		pages += orders[i][1] << orders[i][0];
	return pages * (LU_PAGE / LU_KIB);
}

/* A session with a file of this size. */
static void comes_back(struct __test_metadata *_metadata,
		       FIXTURE_DATA(lifecycle) * self, const char *name, size_t size)
{
	int session = lu_retrieve(self->dev, name);

	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1, size, 1));
	EXPECT_EQ(0, lu_finish(session));
}

static long near(long a, long b)
{
	return a > b ? a - b : b - a;
}

/*
 * lu.updates= in a row, with the same sessions: memory is what it was after the
 * update before, scratch where it was, and nothing else is taken along.
 */
static const struct {
	const char *name;
	size_t size;
} kept[] = { { "one", LU_MIB }, { "two", 3 * LU_MIB }, { "empty", 0 } };

static void take(struct __test_metadata *_metadata, FIXTURE_DATA(lifecycle) * self, int session[],
		 int fd[])
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kept); i++) {
		session[i] = lu_retrieve(self->dev, kept[i].name);
		ASSERT_LE(0, session[i]);
		if (!kept[i].size)
			continue;
		fd[i] = lu_retrieve_fd(session[i], i);
		ASSERT_LE(0, fd[i]);
		EXPECT_EQ(0, lu_check(fd[i], 0, kept[i].size, i));
		EXPECT_EQ(0, lu_finish(session[i]));
	}
}

static void make(struct __test_metadata *_metadata, FIXTURE_DATA(lifecycle) * self, int session[],
		 int fd[])
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kept); i++) {
		session[i] = lu_create(self->dev, kept[i].name);
		ASSERT_LE(0, session[i]);
		if (!kept[i].size)
			continue;
		fd[i] = lu_memfd(kept[i].name, kept[i].size, i);
		ASSERT_LE(0, fd[i]);
	}
}

/* What the kernel has in use for a moment only is free in one of the samples. */
static long most_free_kib(void)
{
	long most = 0, kib;
	int i;

	for (i = 0; i < 5; i++) {
		kib = lu_free_kib();
		most = kib > most ? kib : most;
	}
	return most;
}

LIFECYCLE(updates)
{
	int session[ARRAY_SIZE(kept)], fd[ARRAY_SIZE(kept)];
	long last = lu_param_u64("lu.updates") + 1, kib, total;
	uint64_t number[1][2];
	struct areas areas;
	uint64_t preserved;
	char more[160];
	size_t i;

	ASSERT_LT(1, last);
	if (self->stage == 1)
		make(_metadata, self, session, fd);
	else
		take(_metadata, self, session, fd);

	kib = most_free_kib();
	total = lu_total_kib();
	preserved = preserved_kib();
	ASSERT_EQ(0, read_areas(&areas));
	ASSERT_EQ(1, read_lines("/sys/kernel/liveupdate/number", number, 1));
	EXPECT_EQ(self->stage - 1, (int)number[0][0]);
	printf("# %d: MemTotal %ld KiB, MemFree %ld KiB, %ju KiB preserved\n", self->stage,
	       total, kib, (uintmax_t)preserved);
	if (self->stage > 1) {
		EXPECT_EQ(lu_param_u64("lu.areas"), areas.hash);
		EXPECT_EQ(lu_param_u64("lu.preserved"), preserved);
	}
	/* The first one did not start from a kexec. */
	if (self->stage > 2) {
		EXPECT_GE(1024, near(kib, lu_param_u64("lu.kib")));
		EXPECT_GE(1024, near(total, lu_param_u64("lu.total")));
	}
	if (self->stage == last)
		return;
	for (i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i].size)
			ASSERT_EQ(0, lu_preserve(session[i], fd[i], i));
	snprintf(more, sizeof(more), "lu.kib=%ld lu.total=%ld lu.areas=%ju lu.preserved=%ju",
		 kib, total, (uintmax_t)areas.hash, (uintmax_t)preserved);
	LU_KEXEC_WITH(self->stage + 1, more);
}

/*
 * What is not preserved is free when init starts, however it lies: as much as
 * after a kexec with nothing to preserve.
 */
LIFECYCLE(free_at_init)
{
	enum { PAGES = 16384 };
	long kib = lu_free_kib();
	int session, fd, i;
	char more[80];

	if (self->stage == 1)
		LU_KEXEC(2);
	if (self->stage == 2) {
		snprintf(more, sizeof(more), "lu.kib=%ld lu.kept=%ju", kib,
			 (uintmax_t)preserved_kib());
		session = lu_create(self->dev, "scattered");
		ASSERT_LE(0, session);
		fd = lu_memfd("scattered", PAGES * LU_PAGE, 1);
		ASSERT_LE(0, fd);
		for (i = 1; i < PAGES; i += 2)
			ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE |
					       FALLOC_FL_KEEP_SIZE, i * LU_PAGE, LU_PAGE));
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		LU_KEXEC_WITH(3, more);
	}
	EXPECT_LT(PAGES / 2 * (LU_PAGE / LU_KIB), preserved_kib());
	kib += preserved_kib() - lu_param_u64("lu.kept");
	EXPECT_GE(1024, near(kib, lu_param_u64("lu.kib")))
		TH_LOG("free or preserved: %ld KiB, free before: %ju KiB", kib,
		       (uintmax_t)lu_param_u64("lu.kib"));
	session = lu_retrieve(self->dev, "scattered");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	for (i = 0; i < PAGES; i += 2)
		ASSERT_EQ(0, lu_check(fd, i * LU_PAGE, LU_PAGE, 1));
	EXPECT_EQ(0, lu_finish(session));
}

/*
 * kho_scratch= counts where nothing was handed over, or what was could not be
 * used: the checksums are damaged for that. With lu.forms=N the first N are tried.
 */
static const struct {
	const char *arg;
	uint64_t mib;		/* in all; 0: as without it, and a line says why */
} forms[] = {
	{ "300%" },
	{ "97M,0,0", 100 },
	{ "96M" }, { "1M,0,0" }, { "1T,0,0" },
	{ "0,0,96M", 96 },
	{ "64M,32M,0", 96 },
	{ "99%" }, { "3" }, { "96M,0" }, { "0,0,0" }, { "some" },
	{ "12M,12M,12M" }, { "0,16E,16E" },
};

LIFECYCLE(scratch_forms)
{
	const int last = (lu_param_u64("lu.forms") ?: ARRAY_SIZE(forms)) + 2;
	struct areas areas;
	char more[80];
	int session, i;

	ASSERT_EQ(0, read_areas(&areas));
	printf("# %d: %d areas of scratch, %ju MiB\n", self->stage, areas.nr,
	       (uintmax_t)(areas.total / LU_MIB));
	/* No page block is in part scratch, however large blocks are. */
	for (i = 0; i < areas.nr; i++)
		EXPECT_EQ(0, (areas.at[i][0] | areas.at[i][1]) % (4 * LU_MIB));
	if (self->stage == last) {
		session = lu_retrieve(self->dev, "at last");
		ASSERT_LE(0, session);
		EXPECT_EQ(0, lu_check(lu_retrieve_fd(session, 1), 0, LU_MIB, 1));
		EXPECT_EQ(0, lu_finish(session));
		return;
	}
	if (self->stage == 2) {
		/* 300% is one and a half times the default. */
		EXPECT_LT(lu_param_u64("lu.mib") * 5 / 4, areas.total / LU_MIB);
		EXPECT_EQ(0, lu_log_lines("kho_scratch=", LOG_WARNING));
	} else if (self->stage > 2 && forms[self->stage - 2].mib) {
		EXPECT_EQ(forms[self->stage - 2].mib, areas.total / LU_MIB);
		EXPECT_EQ(0, lu_log_lines("kho_scratch=", LOG_WARNING));
	} else if (self->stage > 2) {
		EXPECT_GE(8, near(areas.total / LU_MIB, lu_param_u64("lu.mib")));
		EXPECT_EQ(1, lu_log_lines("kho_scratch=", LOG_WARNING));
	}
	if (self->stage == last - 1) {
		session = lu_create(self->dev, "at last");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, lu_memfd("f", LU_MIB, 1), 1));
		LU_KEXEC(last);
	}
	ASSERT_EQ(0, lu_write_file(KHO "corrupt", "check 0"));
	snprintf(more, sizeof(more), "kho_scratch=%s lu.mib=%ju", forms[self->stage - 1].arg,
		 self->stage == 1 ? (uintmax_t)(areas.total / LU_MIB) :
				    (uintmax_t)lu_param_u64("lu.mib"));
	LU_KEXEC_WITH(self->stage + 1, more);
}

static int node_of(uint64_t phys)
{
	static uint64_t block;
	char path[80], size[32] = "";
	int fd, node;

	if (!block) {
		fd = open("/sys/devices/system/memory/block_size_bytes", O_RDONLY | O_CLOEXEC);
		if (read(fd, size, sizeof(size) - 1) > 0)
			block = strtoull(size, NULL, 16);
		close(fd);
	}
	for (node = 0; block && node < 2; node++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/memory%ju", node,
			 (uintmax_t)(phys / block));
		if (!access(path, F_OK))
			return node;
	}
	return -ENOENT;
}

/* MiB of scratch on a node; what begins there ends there. */
static uint64_t node_mib(const struct areas *areas, int node)
{
	uint64_t mib = 0;
	int i;

	for (i = 0; i < areas->nr; i++)
		if (node_of(areas->at[i][0]) == node)
			mib += areas->at[i][1] / LU_MIB;
	return mib;
}

/*
 * Two nodes: by default each has some, and what belongs to a node lies there again
 * in the next kernel, as it does with sizes that are given. In between the checksums
 * are damaged, for another kho_scratch= to count.
 */
static const struct {
	const char *arg;
	uint64_t global, pernode;	/* MiB; 0: as by default, and a line why */
} node_forms[] = {
	{ "64M,0,96M", 64, 96 }, { "0,0,128M", 0, 128 }, { "0,16M,2200M" }, { "0,0,16P" },
	{ "0,400M,0" },
	{ "200%" },
};

LIFECYCLE(scratch_nodes)
{
	const int last = ARRAY_SIZE(node_forms) + 2;
	uint64_t mib[2], global = 0, pernode = 0;
	struct areas areas;
	int session, node;
	char more[64];

	ASSERT_EQ(0, read_areas(&areas));
	for (node = 0; node < 2; node++)
		mib[node] = node_mib(&areas, node);
	printf("# %d: %d areas of scratch, %ju and %ju MiB\n", self->stage, areas.nr,
	       (uintmax_t)mib[0], (uintmax_t)mib[1]);
	if (self->stage > 1 && self->stage < last) {
		global = node_forms[self->stage - 2].global;
		pernode = node_forms[self->stage - 2].pernode;
	}
	for (node = 0; node < 2; node++) {
		/* How much it is by default depends on where the kernel lies. */
		uint64_t least = pernode ?: 16;

		EXPECT_LE(least, mib[node]);
	}
	if (pernode)
		EXPECT_EQ(global + 2 * pernode, areas.total / LU_MIB);
	if (self->stage > 1) {
		EXPECT_EQ(!pernode && self->stage < last - 1,
			  lu_log_lines("kho_scratch= ", LOG_WARNING));
		EXPECT_EQ(0, lu_log_lines("NODE_DATA(0) on node", LOG_DEBUG));
		EXPECT_EQ(0, lu_log_lines("NODE_DATA(1) on node", LOG_DEBUG));
	}
	if (self->stage == last) {
		session = lu_retrieve(self->dev, "at last");
		ASSERT_LE(0, session);
		EXPECT_EQ(0, lu_check(lu_retrieve_fd(session, 1), 0, LU_MIB, 1));
		EXPECT_EQ(0, lu_finish(session));
		return;
	}
	if (self->stage == last - 1) {
		session = lu_create(self->dev, "at last");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, lu_memfd("f", LU_MIB, 1), 1));
		LU_KEXEC(last);
	}
	ASSERT_EQ(0, lu_write_file(KHO "corrupt", "check 0"));
	snprintf(more, sizeof(more), "kho_scratch=%s", node_forms[self->stage - 1].arg);
	LU_KEXEC_WITH(self->stage + 1, more);
}

/* No piece of memory is as large as scratch has to be. */
LIFECYCLE(scratch_in_pieces)
{
	struct areas areas;
	int session;

	ASSERT_EQ(0, read_areas(&areas));
	EXPECT_LT(1, areas.nr);
	EXPECT_EQ(lu_param_u64("lu.mib"), areas.total / LU_MIB);
	if (self->stage == 1) {
		session = lu_create(self->dev, "pieces");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, lu_memfd("f", LU_MIB, 1), 1));
		LU_KEXEC(2);
	}
	comes_back(_metadata, self, "pieces", LU_MIB);
}

/* Mapped pages that lie in scratch. */
static int count_mapped(const struct areas *areas, const char *map, size_t size)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), n = 0;
	uint64_t entry[512];
	size_t i, j, got;

	for (i = 0; i < size / LU_PAGE; i += got) {
		ssize_t len = pread(pagemap, entry, sizeof(entry),
				    ((uintptr_t)map / LU_PAGE + i) * sizeof(*entry));

		if (len <= 0)
			return -EIO;
		got = len / sizeof(*entry);
		for (j = 0; j < got && i + j < size / LU_PAGE; j++)
			n += in_areas(areas, (entry[j] & ((1ULL << 55) - 1)) * LU_PAGE);
	}
	close(pagemap);
	return n;
}

static int count_in_scratch(const struct areas *areas, int fd, size_t size)
{
	char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	int n;

	if (map == MAP_FAILED || madvise(map, size, MADV_POPULATE_READ))
		return -errno;
	n = count_mapped(areas, map, size);
	munmap(map, size);
	return n;
}

/*
 * Use up what is free outside of scratch, up to @left_kib. The buffers of pipes
 * cannot be moved, so none of them lies in scratch.
 *
 * Return: the number of pipes, whose ends are in @pipes; or -errno.
 */
static int fill_outside(int pipes[][2], int max, long left_kib)
{
	char page[LU_PAGE] = {};
	size_t written;
	int n = 0;

	while (lu_meminfo_kib("MemFree:") - lu_meminfo_kib("CmaFree:") > left_kib) {
		if (n == max || pipe(pipes[n]))
			return -ENOSPC;
		if (fcntl(pipes[n++][1], F_SETPIPE_SZ, LU_MIB) < 0)
			return -errno;
		for (written = 0; written < LU_MIB; written += LU_PAGE)
			if (write(pipes[n - 1][1], page, LU_PAGE) != LU_PAGE)
				return -EIO;
	}
	return n;
}

/*
 * Memory is full, scratch too. What is preserved leaves scratch, or stays and is
 * not preserved; the next image finds its place there.
 */
LIFECYCLE(memory_pressure)
{
	const size_t size = 48 * LU_MIB;
	size_t filler_size, freed = 0, i;
	int pipes[128][2], nr_pipes;
	struct areas areas;
	int session, fd, err, mapped;
	uint64_t in_scratch;
	char *filler;

	ASSERT_EQ(0, read_areas(&areas));
	if (self->stage == 1) {
		/* Huge pages make it grow with memory. */
		ASSERT_EQ(0, lu_write_file("/proc/sys/vm/min_free_kbytes", "2048"));
		/* What lies ready for each CPU is free, and MemFree does not count it. */
		ASSERT_EQ(0, lu_write_file("/proc/sys/vm/percpu_pagelist_high_fraction",
					   "1000000"));
		i = lu_total_kib() * LU_KIB;
		filler = mmap(NULL, i, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		ASSERT_NE(MAP_FAILED, filler);
		for (filler_size = 0; filler_size < i &&
		     lu_meminfo_kib("MemFree:") > 80 * LU_KIB; filler_size += LU_MIB)
			memset(filler + filler_size, 1, LU_MIB);
		fd = lu_memfd("pressed", size, 1);
		ASSERT_LE(0, fd);
		printf("# %d of %zu pages in scratch\n", count_in_scratch(&areas, fd, size),
		       (size_t)(size / LU_PAGE));
		ASSERT_LT(size / 4 / LU_PAGE, count_in_scratch(&areas, fd, size));

		session = lu_create(self->dev, "pressed");
		ASSERT_LE(0, session);
		nr_pipes = fill_outside(pipes, ARRAY_SIZE(pipes), 12 * LU_KIB);
		ASSERT_LE(0, nr_pipes);
		/* Nor in scratch, where compaction could move others to. */
		in_scratch = (uint64_t)count_in_scratch(&areas, fd, size) * LU_PAGE;
		for (; filler_size < i && lu_meminfo_kib("MemFree:") > in_scratch / LU_KIB / 2;
		     filler_size += LU_MIB)
			memset(filler + filler_size, 1, LU_MIB);
		/* Where they would have to migrate to is no memory: nobody dies of that. */
		err = lu_preserve(session, fd, 1);
		while (nr_pipes--) {
			close(pipes[nr_pipes][0]);
			close(pipes[nr_pipes][1]);
		}
		EXPECT_EQ(-ENOMEM, err);
		EXPECT_EQ(0, lu_log_lines("oom-killer", LOG_WARNING));
		EXPECT_EQ(0, lu_check(fd, 0, size, 1));
		/* The image is read into other memory before it is copied. */
		for (i = 0; i < filler_size && freed < 96 * LU_MIB; i += LU_PAGE) {
			if (count_mapped(&areas, filler + i, LU_PAGE))
				continue;
			ASSERT_EQ(0, madvise(filler + i, LU_PAGE, MADV_DONTNEED));
			freed += LU_PAGE;
		}
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		EXPECT_EQ(0, count_in_scratch(&areas, fd, size));
		mapped = count_mapped(&areas, filler, filler_size);
		ASSERT_LE(0, mapped);
		in_scratch = mapped * LU_PAGE;
		printf("# %ju of %ju MiB of scratch in use\n",
		       (uintmax_t)(in_scratch / LU_MIB), (uintmax_t)(areas.total / LU_MIB));
		EXPECT_LT(areas.total / 3, in_scratch);
		LU_KEXEC(2);
	}
	comes_back(_metadata, self, "pressed", size);
}

#define MEMORY		"/sys/devices/system/memory/"

/* MiB that a file has in memory from an address on, of which there is no other. */
static int mib_above(int fd, size_t size, uint64_t phys)
{
	struct areas above = { .nr = 1, .at = { { phys, LU_GIB } } };

	return count_in_scratch(&above, fd, size) / (int)(LU_MIB / LU_PAGE);
}

/*
 * The next kernel does not find memory that was added. Nothing that it needs may lie
 * there: the kernel gets none of it, and what is preserved moves.
 */
LIFECYCLE(memory_added)
{
	const uint64_t phys = 4 * LU_GIB, block = 128 * LU_MIB;
	const size_t size = 4 * LU_MIB;
	char text[32], state[64];
	int session, fd;

	if (self->stage == 1) {
		snprintf(text, sizeof(text), "%#jx", (uintmax_t)phys);
		snprintf(state, sizeof(state), MEMORY "memory%ju/state", (uintmax_t)(phys / block));
		ASSERT_EQ(0, lu_write_file(MEMORY "probe", text));
		EXPECT_EQ(-EOPNOTSUPP, lu_write_file(state, "online_kernel"));
		EXPECT_EQ(1, lu_log_lines("it can be onlined as movable", LOG_ERR));
		ASSERT_EQ(0, lu_write_file(state, "online_movable"));
		fd = lu_memfd("moved", size, 1);
		ASSERT_LE(0, fd);
		ASSERT_LT(0, mib_above(fd, size, phys));
		session = lu_create(self->dev, "added");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		EXPECT_EQ(0, mib_above(fd, size, phys));
		EXPECT_EQ(0, lu_check(fd, 0, size, 1));
		LU_KEXEC(2);
	}
	comes_back(_metadata, self, "added", size);
}

/*
 * Numbers in the first line of the log that has @what and fits @format, or its time
 * by one that begins with a bracket. Returns how many, or -errno.
 */
static int from_log(const char *what, const char *format, double *a, double *b)
{
	FILE *f = popen("dmesg", "r");
	char line[512], *at;
	int n = -ENOENT;

	while (f && n <= 0 && fgets(line, sizeof(line), f)) {
		at = strstr(line, what);
		if (at)
			n = sscanf(format[0] == '[' ? line : at, format, a, b);
	}
	if (f)
		pclose(f);
	return n;
}

/*
 * lu.gib= of memory, every second page preserved, and back; in the time of a boot
 * with nothing preserved, as this machine has it.
 */
LIFECYCLE(alternate_gibs)
{
	uint64_t pages = lu_param_u64("lu.gib") * LU_GIB / LU_PAGE, i;
	double boot = 0, kib, runs = 0;
	int session, fd, other;
	char more[64];

	ASSERT_LT(0, pages);
	ASSERT_EQ(1, from_log("Run /init", "[%lf]", &boot, &kib));
	if (self->stage == 1)
		LU_KEXEC(2);
	if (self->stage == 2) {
		/* Written in turn, they lie so; the other one is freed. */
		fd = memfd_create("alternate", MFD_CLOEXEC);
		other = memfd_create("other", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_LE(0, other);
		ASSERT_EQ(0, ftruncate(fd, pages * LU_PAGE));
		for (i = 0; i < pages; i++) {
			ASSERT_EQ(8, pwrite(fd, &i, 8, i * LU_PAGE));
			ASSERT_EQ(8, pwrite(other, &i, 8, i * LU_PAGE));
		}
		close(other);
		session = lu_create(self->dev, "alternate");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		snprintf(more, sizeof(more), "lu.boot=%.0f", boot * 1000);
		LU_KEXEC_WITH(3, more);
	}
	ASSERT_EQ(2, from_log("KHO: ", "KHO: %lf KiB of the previous kernel kept, %lf runs",
			      &kib, &runs));
	TH_LOG("%.0f KiB kept, %.0f runs between; init after %.3f s, with nothing kept %.3f s",
	       kib, runs, boot, lu_param_u64("lu.boot") / 1000.0);
	EXPECT_LT(pages * 3 / 4, runs);
	EXPECT_LT(boot * 1000, 2 * lu_param_u64("lu.boot"));
	session = lu_retrieve(self->dev, "alternate");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(pages * LU_PAGE, (uint64_t)lu_size(fd));
	for (i = 0; i < pages; i++) {
		uint64_t word;

		ASSERT_EQ(8, pread(fd, &word, 8, i * LU_PAGE));
		ASSERT_EQ(i, word);
	}
	EXPECT_EQ(0, lu_finish(session));
}
