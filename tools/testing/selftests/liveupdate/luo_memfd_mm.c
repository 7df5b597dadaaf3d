// SPDX-License-Identifier: GPL-2.0
/*
 * A memfd is preserved while memory management works on it: huge pages are
 * made of its pages, userfaultfd fills it, it is locked, it is on its way to
 * the swap device, the task that preserves it is killed. How far it is. And that
 * it is a file like any other once it was retrieved.
 */
#include <sys/stat.h>
#include <sys/swap.h>

#include "lu_harness.h"
#include "lu_monitor.h"
#include "lu_uffd.h"

#define HUGE		(2 * LU_MIB)

#define THP		"/sys/kernel/mm/transparent_hugepage/"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

FIXTURE(memfd_mm)
{
	int dev;
	int stage;
	int session;	/* to preserve in, or to retrieve from */
};

FIXTURE_SETUP(memfd_mm)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	self->session = self->stage == 1 ? lu_create(self->dev, "memfd") :
					   lu_retrieve(self->dev, "memfd");
	ASSERT_LE(0, self->session);
}

FIXTURE_TEARDOWN(memfd_mm)
{
	if (self->session >= 0)
		EXPECT_EQ(0, lu_finish(self->session));
	close(self->session);
	close(self->dev);
}

static int sized_memfd(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	return fd < 0 || ftruncate(fd, size) ? -errno : fd;
}

static char *map_file(int fd, size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* At a multiple of the size of a huge page, as collapsing needs it. */
static char *map_aligned(int fd, size_t size)
{
	char *map = mmap(NULL, size + HUGE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return map;
	map = (char *)(((uintptr_t)map + HUGE - 1) & ~(HUGE - 1));
	return mmap(map, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
}

/* Tokens of the files of collapse. */
enum { COLLAPSED, PRESERVED, BOTH };

/*
 * Small pages that were made a huge one before; those that are preserved and
 * must not be; and a file of both, which has holes, too.
 */
TEST_F_TIMEOUT(memfd_mm, collapse, LU_TIMEOUT)
{
	static const size_t size[] = { HUGE, HUGE, 3 * HUGE };
	char *map[3];
	int fd[3], i;

	for (i = 0; i < 3; i++) {
		fd[i] = self->stage == 1 ? sized_memfd("collapse", size[i]) :
					   lu_retrieve_fd(self->session, i);
		ASSERT_LE(0, fd[i]);
	}
	if (self->stage == 1) {
		ASSERT_EQ(0, lu_write_file(THP "shmem_enabled", "advise"));
		for (i = 0; i < 3; i++) {
			map[i] = map_aligned(fd[i], size[i]);
			ASSERT_NE(MAP_FAILED, map[i]);
			ASSERT_EQ(0, lu_fill(fd[i], 0, HUGE, i));
		}
		ASSERT_EQ(0, madvise(map[COLLAPSED], HUGE, MADV_COLLAPSE));
		/* Every eighth page. */
		for (i = 0; i < 512; i += 8)
			ASSERT_EQ(0, lu_fill(fd[BOTH], HUGE + i * LU_PAGE, LU_PAGE, BOTH));
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, lu_preserve(self->session, fd[i], i));
		/* From now on khugepaged tries, too. */
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, madvise(map[i], size[i], MADV_HUGEPAGE));

		EXPECT_EQ(-1, madvise(map[PRESERVED], HUGE, MADV_COLLAPSE));
		/* Neither around pages that are there, nor where there is none. */
		for (i = 0; i < 3; i++)
			madvise(map[BOTH] + i * HUGE, HUGE, MADV_COLLAPSE);
		for (i = 0; i < 512; i += 8)
			lu_fill_mem(map[BOTH] + HUGE + (i + 1) * LU_PAGE,
				    HUGE + (i + 1) * LU_PAGE, LU_PAGE, BOTH);
		madvise(map[BOTH] + HUGE, HUGE, MADV_COLLAPSE);
		ASSERT_EQ(0, lu_fill(fd[BOTH], 2 * HUGE + 5 * LU_PAGE, LU_PAGE, BOTH));
		LU_KEXEC(2);
	}
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, lu_check(fd[i], 0, HUGE, i));
	for (i = 0; i < 512; i += 8) {
		off_t at = HUGE + i * LU_PAGE;

		EXPECT_EQ(0, lu_check(fd[BOTH], at, 2 * LU_PAGE, BOTH));
		EXPECT_EQ(0, lu_check_zero(fd[BOTH], at + 2 * LU_PAGE, 6 * LU_PAGE));
	}
	EXPECT_EQ(0, lu_check_zero(fd[BOTH], 2 * HUGE, 5 * LU_PAGE));
	EXPECT_EQ(0, lu_check(fd[BOTH], 2 * HUGE + 5 * LU_PAGE, LU_PAGE, BOTH));
	EXPECT_EQ(0, lu_check_zero(fd[BOTH], 2 * HUGE + 6 * LU_PAGE, HUGE - 6 * LU_PAGE));
	/* They are collapsed as ever. */
	if (!lu_write_file(THP "shmem_enabled", "advise")) {
		map[PRESERVED] = map_aligned(fd[PRESERVED], HUGE);
		ASSERT_NE(MAP_FAILED, map[PRESERVED]);
		EXPECT_EQ(0, madvise(map[PRESERVED], HUGE, MADV_COLLAPSE));
		EXPECT_EQ(0, lu_check(fd[PRESERVED], 0, HUGE, PRESERVED));
	}
}

/* A file that is filled by UFFDIO_COPY, before and after it is preserved. */
TEST_F_TIMEOUT(memfd_mm, userfaultfd, LU_TIMEOUT)
{
	const size_t pages = 64, size = pages * LU_PAGE;
	size_t i;
	char *map;
	int fd, uffd;

	if (self->stage == 1) {
		fd = sized_memfd("uffd", size);
		ASSERT_LE(0, fd);
		map = map_file(fd, size);
		ASSERT_NE(MAP_FAILED, map);
		uffd = lu_uffd_open(map, size);
		ASSERT_LE(0, uffd);
		for (i = 0; i < pages; i += 4)
			ASSERT_EQ(0, lu_uffd_copy(uffd, map + i * LU_PAGE, i * LU_PAGE, 1));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		for (i = 1; i < pages; i += 4)
			ASSERT_EQ(0, lu_uffd_copy(uffd, map + i * LU_PAGE, i * LU_PAGE, 2));
		/* Where there is a page, nothing changes. */
		EXPECT_EQ(-EEXIST, lu_uffd_copy(uffd, map, 0, 3));
		EXPECT_EQ(-EEXIST, lu_uffd_copy(uffd, map + LU_PAGE, LU_PAGE, 3));
		for (i = 2; i < pages; i += 4)
			ASSERT_EQ(0, lu_uffd_zero(uffd, map + i * LU_PAGE));
		/* One of them was registered only, and is written now. */
		ASSERT_EQ(0, lu_fill(fd, 3 * LU_PAGE, LU_PAGE, 4));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	for (i = 0; i < pages; i += 4) {
		EXPECT_EQ(0, lu_check(fd, i * LU_PAGE, LU_PAGE, 1));
		EXPECT_EQ(0, lu_check(fd, (i + 1) * LU_PAGE, LU_PAGE, 2));
		EXPECT_EQ(0, lu_check_zero(fd, (i + 2) * LU_PAGE, LU_PAGE));
		if (i)
			EXPECT_EQ(0, lu_check_zero(fd, (i + 3) * LU_PAGE, LU_PAGE));
	}
	EXPECT_EQ(0, lu_check(fd, 3 * LU_PAGE, LU_PAGE, 4));
	EXPECT_EQ((blkcnt_t)((pages / 4 * 3 + 1) * LU_PAGE / 512), lu_blocks(fd));
}

/* Locked before, and locked (which faults in what is missing) after. */
TEST_F_TIMEOUT(memfd_mm, locked, LU_TIMEOUT)
{
	const size_t size = 4 * LU_MIB;
	char *map;
	int fd;

	if (self->stage == 1) {
		fd = sized_memfd("locked", size);
		ASSERT_LE(0, fd);
		map = map_file(fd, size);
		ASSERT_NE(MAP_FAILED, map);
		lu_fill_mem(map, 0, LU_MIB, 1);
		ASSERT_EQ(0, mlock(map, 2 * LU_MIB));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		ASSERT_EQ(0, mlock(map + 2 * LU_MIB, LU_MIB));
		lu_fill_mem(map + 2 * LU_MIB, 2 * LU_MIB, LU_MIB, 2);
		ASSERT_EQ(0, munlock(map, LU_MIB));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)(3 * LU_MIB / 512), lu_blocks(fd));
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 1));
	EXPECT_EQ(0, lu_check_zero(fd, LU_MIB, LU_MIB));
	EXPECT_EQ(0, lu_check(fd, 2 * LU_MIB, LU_MIB, 2));
	EXPECT_EQ(0, lu_check_zero(fd, 3 * LU_MIB, LU_MIB));
	/* It can be locked here, too. */
	map = map_file(fd, size);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, mlock(map, size));
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 1));
}

/*
 * Who preserves is killed while it does: the file is as before. Its size cannot
 * be changed from the moment on when it has begun, which is when to kill.
 */
TEST_F_TIMEOUT(memfd_mm, killed, LU_TIMEOUT)
{
	const size_t size = 192 * LU_MIB;
	int fd, status, tries, killed = 0;
	pid_t child;

	if (self->stage == 1) {
		fd = lu_memfd("killed", size, 1);
		ASSERT_LE(0, fd);
		for (tries = 0; tries < 500 && killed < 3; tries++) {
			child = fork();
			if (!child)
				_exit(lu_preserve(self->session, fd, tries) != 0);
			while (!ftruncate(fd, size + LU_PAGE) && !ftruncate(fd, size))
				if (waitpid(child, &status, WNOHANG) == child)
					break;
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			/* Too late: preserved. One of the two changes the size. */
			if (ftruncate(fd, size + LU_PAGE) || ftruncate(fd, size)) {
				close(self->session);
				self->session = lu_create(self->dev, "memfd");
				ASSERT_LE(0, self->session);
				ASSERT_EQ(0, ftruncate(fd, size));
				continue;
			}
			if (WIFSIGNALED(status))
				killed++;
		}
		TH_LOG("killed %d times, the last time it was tried %d", killed, tries);
		EXPECT_LE(3, killed);
		ASSERT_EQ(0, ftruncate(fd, size));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1000));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1000);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)(size / 512), lu_blocks(fd));
	EXPECT_EQ(0, lu_check(fd, 0, size, 1));
}

/* Huge pages come into the holes of a file that is preserved. */
TEST_F_TIMEOUT(memfd_mm, late_huge_pages, LU_TIMEOUT)
{
	const size_t size = 4 * HUGE;
	char *map;
	int fd;

	ASSERT_EQ(0, lu_write_file(THP "shmem_enabled", "advise"));
	if (self->stage == 1) {
		/* khugepaged begins at once, and may come before the file is preserved. */
		ASSERT_EQ(0, lu_write_file(THP "khugepaged/max_ptes_none", "0"));
		fd = sized_memfd("late huge", size);
		ASSERT_LE(0, fd);
		map = map_aligned(fd, size);
		ASSERT_NE(MAP_FAILED, map);
		/* In the way of one of them. */
		ASSERT_EQ(0, lu_fill(fd, HUGE + 3 * LU_PAGE, LU_PAGE, 1));
		ASSERT_EQ(0, madvise(map, size, MADV_HUGEPAGE));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		lu_fill_mem(map + 5 * LU_PAGE, 5 * LU_PAGE, LU_PAGE, 2);
		lu_fill_mem(map + HUGE, HUGE, LU_PAGE, 3);
		if (!fork()) {
			lu_fill_mem(map + 2 * HUGE, 2 * HUGE, HUGE, 4);
			_exit(0);
		}
		ASSERT_LT(0, wait(NULL));
		/* Two huge pages, and two small ones between them. */
		ASSERT_EQ((blkcnt_t)((2 * HUGE + 2 * LU_PAGE) / 512), lu_blocks(fd));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)((2 * HUGE + 2 * LU_PAGE) / 512), lu_blocks(fd));
	EXPECT_EQ(0, lu_check_zero(fd, 0, 5 * LU_PAGE));
	EXPECT_EQ(0, lu_check(fd, 5 * LU_PAGE, LU_PAGE, 2));
	EXPECT_EQ(0, lu_check_zero(fd, 6 * LU_PAGE, HUGE - 6 * LU_PAGE));
	EXPECT_EQ(0, lu_check(fd, HUGE, LU_PAGE, 3));
	EXPECT_EQ(0, lu_check(fd, HUGE + 3 * LU_PAGE, LU_PAGE, 1));
	EXPECT_EQ(0, lu_check(fd, 2 * HUGE, HUGE, 4));
	EXPECT_EQ(0, lu_check_zero(fd, 3 * HUGE, HUGE));
	/* They are whole. */
	EXPECT_EQ((long)(2 * HUGE / LU_KIB), lu_number_in("/proc/meminfo", "ShmemHugePages:"));
}

static long writeback(void)
{
	return lu_number_in("/proc/vmstat", "nr_writeback");
}

/* Write all of it to the disk: in a child, which ends when all is on its way. */
static pid_t page_out(char *map, size_t size)
{
	pid_t child = fork();

	/* Only what is mapped is paged out, and by one process only. */
	if (!child)
		_exit(madvise(map, size, MADV_POPULATE_READ) ||
		      madvise(map, size, MADV_PAGEOUT));
	return child;
}

/*
 * Preserve the file while it is written to the disk: at how many places that was seen,
 * 0 if no page was on its way when it began, or a negative errno.
 */
static int64_t preserve_and_look(int session, int fd, char *map, size_t size)
{
	enum { SOME = 16, TOO_LATE = 100 };
	int64_t page, before = 0, steps = 0;
	const size_t pages = size / LU_PAGE;
	pid_t writer, preserver;
	bool busy = false;
	struct stat st;
	int status;

	if (fstat(fd, &st))
		return -errno;
	writer = page_out(map, size);
	while (!busy && !waitpid(writer, &status, WNOHANG))
		busy = writeback() >= SOME;
	if (!busy)
		return status ? -EIO : 0;
	/* Some pages are on their way, others were, or will be. */
	preserver = fork();
	if (!preserver)
		_exit(writeback() < SOME ? TOO_LATE : -lu_preserve(session, fd, 1));
	while (!waitpid(preserver, &status, WNOHANG)) {
		page = lu_progress_of("preserve", st.st_ino, pages);
		steps += page > before;
		before = page > before ? page : before;
		usleep(1000);
	}
	if (waitpid(writer, NULL, 0) != writer || !WIFEXITED(status))
		return -ECHILD;
	printf("# preserving was seen at %jd places, %jd of %zu pages the last time\n",
	       (intmax_t)steps, (intmax_t)before, pages);
	if (WEXITSTATUS(status) == TOO_LATE)
		return 0;
	return WEXITSTATUS(status) ? -WEXITSTATUS(status) : steps;
}

/*
 * The disk is so slow that pages are still on their way to it when the file is
 * preserved, which has to wait for them and says how far it is. Whoever looks may be
 * slower still: then it is done again.
 */
TEST_F_TIMEOUT(memfd_mm, writeback, LU_TIMEOUT)
{
	static char * const mkswap[] = { "mkswap", "/dev/vda", NULL };
	const size_t size = 4 * LU_MIB, pages = size / LU_PAGE;
	int64_t steps = 0;
	struct stat st;
	int fd, tries;
	char *map;

	if (self->stage == 1) {
		ASSERT_EQ(0, lu_run(mkswap));
		ASSERT_EQ(0, swapon("/dev/vda", 0));
		fd = lu_memfd("writeback", size, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, fstat(fd, &st));
		map = map_file(fd, size);
		ASSERT_NE(MAP_FAILED, map);
		for (tries = 0; tries < 10 && steps < 2; tries++) {
			close(self->session);
			self->session = lu_create(self->dev, "memfd");
			ASSERT_LE(0, self->session);
			steps = preserve_and_look(self->session, fd, map, size);
			ASSERT_LE(0, steps);
		}
		EXPECT_LT(1, steps);
		EXPECT_EQ(-1, lu_progress_of("preserve", st.st_ino, pages));
		/* What is written now is not what is on the disk. */
		lu_fill_mem(map, 0, LU_MIB, 2);
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)(size / 512), lu_blocks(fd));
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 2));
	EXPECT_EQ(0, lu_check(fd, LU_MIB, size - LU_MIB, 1));
}

/* Memory management finds what was retrieved like any file, and charges for it. */
TEST_F_TIMEOUT(memfd_mm, afterwards, LU_TIMEOUT)
{
	static char * const mkswap[] = { "mkswap", "/dev/ram0", NULL };
	const size_t size = 4 * LU_MIB;
	char before[LU_MEMORY], after[LU_MEMORY];
	long shmem, committed, swap;
	char *map;
	int fd;

	if (self->stage == 1) {
		fd = lu_memfd("afterwards", size, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		LU_KEXEC(2);
	}
	ASSERT_EQ(0, lu_run(mkswap));
	ASSERT_EQ(0, swapon("/dev/ram0", 0));
	lu_memory(before);
	shmem = lu_meminfo_kib("Shmem:");
	committed = lu_meminfo_kib("Committed_AS:");
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_pins());
	EXPECT_EQ(shmem + (long)(size / LU_KIB), lu_meminfo_kib("Shmem:"));
	EXPECT_EQ(committed + (long)(size / LU_KIB), lu_meminfo_kib("Committed_AS:"));

	map = map_file(fd, size);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, madvise(map, size, MADV_POPULATE_READ));
	swap = lu_swap_free_kib();
	ASSERT_EQ(0, madvise(map, size, MADV_PAGEOUT));
	/* To the swap device, and not just away. */
	EXPECT_GT(swap - (long)(size / LU_KIB / 2), lu_swap_free_kib());
	EXPECT_EQ(0, lu_check(fd, 0, size, 1));
	EXPECT_EQ((blkcnt_t)(size / 512), lu_blocks(fd));

	ASSERT_EQ(0, lu_finish(self->session));
	ASSERT_EQ(0, close(self->session));
	self->session = -1;
	ASSERT_EQ(0, munmap(map, size));
	ASSERT_EQ(0, close(fd));
	EXPECT_STREQ(before, lu_memory(after));
	EXPECT_EQ(swap, lu_swap_free_kib());
}
