// SPDX-License-Identifier: GPL-2.0
/*
 * A memfd is changed, or looked at, while the walk of preserve or retrieve goes over
 * its pages: lib/test_memfd_walk.c stops it for that. On two CPUs, since the one is
 * not there meanwhile. With "clocksource=" on the command line, or the other one is not
 * either: to go over to another clock, as it does in its first seconds or when it has
 * come to distrust the one it has, the kernel stops all of them at the same time.
 */
#include <linux/falloc.h>
#include <sys/swap.h>

#include "lu_harness.h"
#include "lu_monitor.h"

#define PAGES		2048
#define SIZE		(PAGES * LU_PAGE)
#define WALK		"/sys/module/test_memfd_walk/parameters/"

FIXTURE(walk)
{
	int dev;
	int stage;
	int session;
	int fd;
	char *map;
	pid_t child;	/* that preserves or retrieves */
	long held;	/* the page that it has come to */
};

FIXTURE_SETUP(walk)
{
	char clock[32];

	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	self->session = self->stage == 1 ? lu_create(self->dev, "walk") :
					   lu_retrieve(self->dev, "walk");
	ASSERT_LE(0, self->session);
	ASSERT_LT(1, sysconf(_SC_NPROCESSORS_ONLN));
	ASSERT_TRUE(lu_param("clocksource", clock, sizeof(clock)));
	ASSERT_EQ(0, lu_load_module("lib/test_memfd_walk", ""));
	if (self->stage != 1)
		return;
	self->fd = memfd_create("walk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, SIZE));
	self->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(walk)
{
	EXPECT_EQ(0, lu_finish(self->session));
	close(self->session);
	close(self->dev);
}

static long held_at(void)
{
	FILE *f = fopen(WALK "held", "re");
	long page = -EIO;

	if (f && fscanf(f, "%ld", &page) != 1)
		page = -EIO;
	if (f)
		fclose(f);
	return page;
}

/* Have @request done to the file, up to where its walk has taken its first step. */
static int do_and_hold(FIXTURE_DATA(walk) * self, int (*request)(FIXTURE_DATA(walk) *))
{
	int status;

	if (lu_write_file(WALK "hold", "1"))
		return -EIO;
	self->child = fork();
	if (!self->child)
		_exit(-request(self));
	while (!(self->held = held_at()))
		if (waitpid(self->child, &status, WNOHANG))
			return -ECHILD;
	return self->held < 0 || self->held >= PAGES / 2 ? -ERANGE : 0;
}

static int preserve(FIXTURE_DATA(walk) * self)
{
	return lu_preserve(self->session, self->fd, 1);
}

static int preserve_and_hold(FIXTURE_DATA(walk) * self)
{
	return do_and_hold(self, preserve);
}

static int retrieve(FIXTURE_DATA(walk) * self)
{
	self->fd = lu_retrieve_fd(self->session, 1);
	return self->fd < 0 ? self->fd : 0;
}

/* The walk goes on: what became of it. */
static int go_on(FIXTURE_DATA(walk) * self)
{
	int status, held = held_at();

	if (lu_write_file(WALK "hold", "0") ||
	    waitpid(self->child, &status, 0) != self->child)
		return -EIO;
	/* It was there all the time. */
	if (held != self->held)
		return -ETIME;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static int fill_page(int fd, size_t page, uint64_t seed)
{
	return lu_fill(fd, page * LU_PAGE, LU_PAGE, seed);
}

/* How many of every second page lie in memory just behind the one before. */
static int count_neighbours(char *map)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), i, n = 0;
	uint64_t pfn[PAGES];

	for (i = 0; i < PAGES; i += 2)
		if (madvise(map + i * LU_PAGE, LU_PAGE, MADV_POPULATE_READ))
			return -errno;
	if (pread(pagemap, pfn, sizeof(pfn), (uintptr_t)map / LU_PAGE * 8) != sizeof(pfn))
		return -errno;
	close(pagemap);
	for (i = 2; i < PAGES; i += 2)
		n += pfn[i] == pfn[i - 2] + 1;
	return n;
}

/*
 * Every second page is there, and many are neighbours in memory. Half of the holes
 * are filled while the walk is on its way, behind it and before it: it meets pages
 * that are recorded already, and what comes after one of them is not the neighbour of
 * what came before it.
 */
TEST_F_TIMEOUT(walk, filled, LU_TIMEOUT)
{
	int i;

	if (self->stage == 1) {
		for (i = 0; i < PAGES; i += 2)
			ASSERT_EQ(0, fill_page(self->fd, i, 1));
		ASSERT_LT(PAGES / 4, count_neighbours(self->map));
		ASSERT_EQ(0, preserve_and_hold(self));
		for (i = 1; i < PAGES; i += 4)
			ASSERT_EQ(0, fill_page(self->fd, i, 2));
		ASSERT_EQ(0, go_on(self));
		LU_KEXEC(2);
	}
	ASSERT_EQ(0, retrieve(self));
	EXPECT_EQ((blkcnt_t)(PAGES / 4 * 3 * LU_PAGE / 512), lu_blocks(self->fd));
	for (i = 0; i < PAGES; i++) {
		off_t at = i * LU_PAGE;

		ASSERT_EQ(0, i % 4 == 3 ? lu_check_zero(self->fd, at, LU_PAGE) :
					  lu_check(self->fd, at, LU_PAGE, i % 2 + 1));
	}
}

/*
 * Pages that the walk has not seen are swapped out, and it brings them in. What it
 * has seen is written, the file is sealed. Neither its size nor a hole can be changed
 * any more, and nobody else preserves it.
 */
TEST_F_TIMEOUT(walk, changes, LU_TIMEOUT)
{
	static char * const mkswap[] = { "mkswap", "/dev/ram0", NULL };
	const size_t half = SIZE / 2;
	int fd = self->fd, other;
	long before;

	if (self->stage == 1) {
		ASSERT_EQ(0, lu_run(mkswap));
		ASSERT_EQ(0, swapon("/dev/ram0", 0));
		ASSERT_EQ(0, lu_fill(fd, 0, SIZE, 1));
		/* Only what is mapped is paged out. */
		ASSERT_EQ(0, madvise(self->map, SIZE, MADV_POPULATE_READ));
		other = lu_create(self->dev, "other");
		ASSERT_LE(0, other);
		before = lu_swap_free_kib();
		ASSERT_EQ(0, preserve_and_hold(self));
		ASSERT_EQ(0, madvise(self->map + half, half, MADV_PAGEOUT));
		EXPECT_GT(before - (long)(half / LU_KIB / 2), lu_swap_free_kib());
		before = lu_swap_free_kib();
		/* These stay. */
		madvise(self->map, self->held * LU_PAGE, MADV_PAGEOUT);
		EXPECT_EQ(before, lu_swap_free_kib());
		EXPECT_EQ(0, fill_page(fd, 0, 2));
		EXPECT_EQ(0, fill_page(fd, PAGES - 1, 2));
		EXPECT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
		EXPECT_EQ(-1, ftruncate(fd, half));
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(-1, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					half, LU_PAGE));
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(-EBUSY, lu_preserve(other, fd, 1));
		ASSERT_EQ(0, go_on(self));
		lu_fill_mem(self->map + LU_PAGE, LU_PAGE, LU_PAGE, 3);
		close(other);
		LU_KEXEC(2);
	}
	ASSERT_EQ(0, retrieve(self));
	fd = self->fd;
	EXPECT_EQ((blkcnt_t)(SIZE / 512), lu_blocks(fd));
	EXPECT_EQ(F_SEAL_GROW, fcntl(fd, F_GET_SEALS));
	EXPECT_EQ(0, lu_check(fd, 0, LU_PAGE, 2));
	EXPECT_EQ(0, lu_check(fd, LU_PAGE, LU_PAGE, 3));
	EXPECT_EQ(0, lu_check(fd, 2 * LU_PAGE, SIZE - 3 * LU_PAGE, 1));
	EXPECT_EQ(0, lu_check(fd, SIZE - LU_PAGE, LU_PAGE, 2));
}

/* Killed in the middle, with nothing left behind. */
TEST_F_TIMEOUT(walk, killed, LU_TIMEOUT)
{
	char before[LU_MEMORY], after[LU_MEMORY];
	long pages;

	if (self->stage == 1) {
		ASSERT_EQ(0, lu_fill(self->fd, 0, SIZE, 1));
		pages = lu_preserved_pages();
		lu_memory(before);
		ASSERT_EQ(0, preserve_and_hold(self));
		EXPECT_LT(pages, lu_preserved_pages());
		EXPECT_EQ(0, fill_page(self->fd, 0, 2));
		EXPECT_EQ(0, kill(self->child, SIGKILL));
		EXPECT_EQ(self->child, waitpid(self->child, NULL, 0));
		EXPECT_EQ(pages, lu_preserved_pages());
		EXPECT_STREQ(before, lu_memory(after));
		EXPECT_EQ(0, ftruncate(self->fd, SIZE / 2));
		EXPECT_EQ(0, ftruncate(self->fd, SIZE));
		ASSERT_EQ(0, lu_write_file(WALK "hold", "0"));
		ASSERT_EQ(0, lu_preserve(self->session, self->fd, 1));
		LU_KEXEC(2);
	}
	ASSERT_EQ(0, retrieve(self));
	EXPECT_EQ((blkcnt_t)(SIZE / 2 / 512), lu_blocks(self->fd));
	EXPECT_EQ(0, lu_check(self->fd, 0, LU_PAGE, 2));
	EXPECT_EQ(0, lu_check(self->fd, LU_PAGE, SIZE / 2 - LU_PAGE, 1));
	EXPECT_EQ(0, lu_check_zero(self->fd, SIZE / 2, SIZE / 2));
}

/* Trace events of the file that say it is at this page. */
static int count_steps(const char *event, const char *page)
{
	char re[128];

	snprintf(re, sizeof(re), ": memfd_luo_%s: ino=[0-9]+ page=%s of=%d$", event, page,
		 PAGES);
	return lu_count_matches(LU_TRACING "trace", re);
}

/* Trace events tell of each step, and debugfs shows where it is. */
TEST_F_TIMEOUT(walk, progress, LU_TIMEOUT)
{
	const bool first = self->stage == 1;
	const char *what = first ? "preserve" : "retrieve";
	const char *event = first ? "walk" : "fill";
	char page[16];

	if (first)
		ASSERT_EQ(0, lu_fill(self->fd, 0, SIZE, 1));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "trace", ""));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/memfd_luo/enable", "1"));
	EXPECT_EQ(-1, lu_progress_of(what, 0, PAGES));
	ASSERT_EQ(0, do_and_hold(self, first ? preserve : retrieve));
	EXPECT_EQ(self->held, lu_progress_of(what, 0, PAGES));
	ASSERT_EQ(0, go_on(self));
	EXPECT_EQ(-1, lu_progress_of(what, 0, PAGES));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/memfd_luo/enable", "0"));

	snprintf(page, sizeof(page), "%ld", self->held);
	EXPECT_EQ(1, count_steps(event, page));
	EXPECT_LT(4, count_steps(event, "[1-9][0-9]+"));
	snprintf(page, sizeof(page), "%d", PAGES);
	EXPECT_LE(1, count_steps(event, page));
	if (first)
		LU_KEXEC(2);
	ASSERT_EQ(0, retrieve(self));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, 1));
}
