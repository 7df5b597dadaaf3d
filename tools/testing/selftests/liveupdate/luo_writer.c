// SPDX-License-Identifier: GPL-2.0
/*
 * A program that goes on writing into a preserved file up to the jump loses
 * nothing: neither in pages that were there nor in holes.
 *
 * A writer puts a number behind every page that it has written. It comes
 * over in the same file, so that the next kernel knows exactly which pages
 * must be there. The one after the last may be half written.
 */
#include <sched.h>
#include <stdatomic.h>

#include "lu_harness.h"

#define PAGES		16384		/* that are written in turn */
#define OLD_PAGES	64		/* there before preserve, every 256th */
#define WRITERS		4		/* at most; a page of each comes first */
#define SIZE		((WRITERS + PAGES) * LU_PAGE)

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

/* The page of a writer: how many pages were written, and how many at the call. */
struct progress {
	atomic_ullong written;
	atomic_ullong at_reboot;
};

/* Who writes: one of several, each to pages of its own. */
struct writer {
	unsigned int nr;
	unsigned int all;
	bool by_syscall;
};

static uint64_t pages_of(const struct writer *w)
{
	return PAGES / w->all;
}

/* The n-th page to be written: all over the file. */
static off_t place(const struct writer *w, uint64_t n)
{
	return (WRITERS + n * 7919 % pages_of(w) * w->all + w->nr) * LU_PAGE;
}

static struct progress *progress_of(char *map, const struct writer *w)
{
	return (struct progress *)(map + w->nr * LU_PAGE);
}

/* Write for ever, with different contents in each turn. */
static void write_pages(int fd, char *map, const struct writer *w)
{
	struct progress *progress = progress_of(map, w);
	uint64_t n;

	for (n = 0;; n++) {
		uint64_t turn = n / pages_of(w) + 1;
		off_t at = place(w, n);

		if (!w->by_syscall)
			lu_fill_mem(map + at, at, LU_PAGE, turn);
		else if (lu_fill(fd, at, LU_PAGE, turn))
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
		err = lu_fill(fd, (WRITERS + i * (PAGES / OLD_PAGES)) * LU_PAGE, LU_PAGE, 0);
		if (err)
			return err;
	}
	return fd;
}

/*
 * The turn that the n-th page of @w was last written in, if @written pages were;
 * 0: as before preserve; -1: it is in the making.
 */
static int expected_turn(const struct writer *w, uint64_t n, uint64_t written)
{
	uint64_t left = written % pages_of(w);

	if (n == left)
		return -1;
	return written / pages_of(w) + (n < left);
}

static int check_page(int fd, off_t at, int turn)
{
	if (turn < 0)
		return 0;
	if (turn || !((at / LU_PAGE - WRITERS) % (PAGES / OLD_PAGES)))
		return lu_check(fd, at, LU_PAGE, turn);
	return lu_check_zero(fd, at, LU_PAGE);
}

static void check_writer(struct __test_metadata *_metadata, int fd, char *map,
			 const struct writer *w)
{
	struct progress *progress = progress_of(map, w);
	uint64_t written = atomic_load(&progress->written), n;

	TH_LOG("writer %u: %ju pages when reboot was called, %ju at the jump", w->nr,
	       (uintmax_t)atomic_load(&progress->at_reboot), (uintmax_t)written);
	EXPECT_LE(100, atomic_load(&progress->at_reboot));
	EXPECT_LE(atomic_load(&progress->at_reboot), written);
	for (n = 0; n < pages_of(w); n++)
		ASSERT_EQ(0, check_page(fd, place(w, n), expected_turn(w, n, written)))
			TH_LOG("page %ju", (uintmax_t)n);
}

static void run(struct __test_metadata *_metadata, FIXTURE_DATA(writer) * self,
		unsigned int writers, bool by_syscall)
{
	struct progress *progress;
	unsigned int i;
	char *map;
	int fd;

	fd = self->stage == 1 ? make_file() : lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);

	for (i = 0; self->stage == 1 && i < writers; i++)
		memset(map + i * LU_PAGE, 0, LU_PAGE);
	if (self->stage == 1) {
		ASSERT_EQ(0, lu_load(2, NULL));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
	}
	for (i = 0; i < writers; i++) {
		struct writer w = {
			.nr = i,
			.all = writers,
			/* Of several, every second one. */
			.by_syscall = by_syscall ^ (i % 2),
		};

		if (self->stage == 2)
			check_writer(_metadata, fd, map, &w);
		else if (!fork())
			write_pages(fd, map, &w);
	}
	if (self->stage == 2)
		return;

	/* They are under way, and far from having been everywhere. */
	for (i = 0; i < writers; i++) {
		progress = (struct progress *)(map + i * LU_PAGE);
		while (atomic_load(&progress->written) < 100)
			sched_yield();
		atomic_store(&progress->at_reboot, atomic_load(&progress->written));
	}
	LU_JUMP();
}

TEST_F_TIMEOUT(writer, mapping, LU_TIMEOUT)
{
	run(_metadata, self, 1, false);
}

TEST_F_TIMEOUT(writer, system_call, LU_TIMEOUT)
{
	run(_metadata, self, 1, true);
}

TEST_F_TIMEOUT(writer, processes, LU_TIMEOUT)
{
	run(_metadata, self, WRITERS, false);
}
