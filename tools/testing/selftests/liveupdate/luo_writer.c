// SPDX-License-Identifier: GPL-2.0
/*
 * A program that goes on writing into a preserved file up to the jump loses
 * nothing: neither in pages that were there nor in holes.
 *
 * The writer puts a number behind every page that it has written. It comes
 * over in the same file, so that the next kernel knows exactly which pages
 * must be there. The one after the last may be half written.
 */
#include <sched.h>
#include <stdatomic.h>

#include "lu_harness.h"

#define PAGES		16384		/* that are written in turn */
#define OLD_PAGES	64		/* there before preserve, every 256th */
#define SIZE		((PAGES + 1) * LU_PAGE)

FIXTURE(writer)
{
	int dev;
	int stage;
	int session;
};

FIXTURE_SETUP(writer)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	self->session = self->stage == 1 ? lu_create(self->dev, "writer") :
					   lu_retrieve(self->dev, "writer");
	ASSERT_LE(0, self->session);
}

FIXTURE_TEARDOWN(writer)
{
	EXPECT_EQ(0, lu_finish(self->session));
	close(self->session);
	close(self->dev);
}

/* Page 0 of the file: how many pages were written, and how many at the call. */
struct progress {
	atomic_ullong written;
	atomic_ullong at_reboot;
};

/* The n-th page to be written: all over the file. */
static off_t place(uint64_t n)
{
	return (1 + n * 7919 % PAGES) * LU_PAGE;
}

/* Write for ever, with different contents in each turn. */
static void write_pages(int fd, char *map, bool by_syscall)
{
	struct progress *progress = (void *)map;
	uint64_t n;

	for (n = 0;; n++) {
		off_t at = place(n);

		if (!by_syscall)
			lu_fill_mem(map + at, at, LU_PAGE, n / PAGES + 1);
		else if (lu_fill(fd, at, LU_PAGE, n / PAGES + 1))
			_exit(1);
		atomic_store(&progress->written, n + 1);
	}
}

static int make_file(void)
{
	int fd = memfd_create("writer", MFD_CLOEXEC), i, err;

	if (fd < 0 || ftruncate(fd, SIZE))
		return -errno;
	for (i = 0; i < OLD_PAGES; i++) {
		err = lu_fill(fd, (1 + i * (PAGES / OLD_PAGES)) * LU_PAGE, LU_PAGE, 0);
		if (err)
			return err;
	}
	return fd;
}

static uint16_t nth[PAGES];	/* place(nth[page]) is page @page */

static void invert_places(void)
{
	uint64_t n;

	for (n = 0; n < PAGES; n++)
		nth[place(n) / LU_PAGE - 1] = n;
}

/*
 * The turn that page @page was last written in, if @written pages were; 0: as
 * before preserve; -1: it is in the making.
 */
static int expected_turn(uint64_t page, uint64_t written)
{
	uint64_t left = written % PAGES;

	if (nth[page] == left)
		return -1;
	return written / PAGES + (nth[page] < left);
}

static int check_page(int fd, uint64_t page, int turn)
{
	off_t at = (1 + page) * LU_PAGE;

	if (turn < 0)
		return 0;
	if (turn || !(page % (PAGES / OLD_PAGES)))
		return lu_check(fd, at, LU_PAGE, turn);
	return lu_check_zero(fd, at, LU_PAGE);
}

static void run(struct __test_metadata *_metadata, FIXTURE_DATA(writer) * self,
		bool by_syscall)
{
	struct progress *progress;
	uint64_t written, page;
	char *map;
	int fd;

	fd = self->stage == 1 ? make_file() : lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	progress = (void *)map;

	if (self->stage == 1) {
		ASSERT_EQ(0, lu_load(2, NULL));
		atomic_store(&progress->written, 0);
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		if (!fork())
			write_pages(fd, map, by_syscall);
		/* It is under way, and far from having been everywhere. */
		while (atomic_load(&progress->written) < 100)
			sched_yield();
		atomic_store(&progress->at_reboot, atomic_load(&progress->written));
		LU_JUMP();
	}
	written = atomic_load(&progress->written);
	TH_LOG("%ju pages when reboot was called, %ju at the jump",
	       (uintmax_t)atomic_load(&progress->at_reboot), (uintmax_t)written);
	EXPECT_LE(100, atomic_load(&progress->at_reboot));
	EXPECT_LE(atomic_load(&progress->at_reboot), written);
	invert_places();
	for (page = 0; page < PAGES; page++)
		ASSERT_EQ(0, check_page(fd, page, expected_turn(page, written)))
			TH_LOG("page %ju", (uintmax_t)page);
}

TEST_F_TIMEOUT(writer, mapping, LU_TIMEOUT)
{
	run(_metadata, self, false);
}

TEST_F_TIMEOUT(writer, system_call, LU_TIMEOUT)
{
	run(_metadata, self, true);
}
