// SPDX-License-Identifier: GPL-2.0
/*
 * Memfds in an outgoing session: which are taken, what can be done with them
 * while they are preserved, and that all of it is undone.
 */
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "lu_harness.h"

#define SIZE	(64 * LU_PAGE)

FIXTURE(memfd)
{
	int dev;
	int session;
	int fd;
};

FIXTURE_SETUP(memfd)
{
	if (!lu_may_have_device())
		SKIP(return, "no " LU_DEVICE);
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	self->session = lu_create(self->dev, "memfd");
	ASSERT_LE(0, self->session);
	self->fd = lu_memfd("memfd", SIZE, 1);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(memfd)
{
	close(self->fd);
	close(self->session);
	close(self->dev);
}

/* A preserved file refuses like one that is sealed. */
#define EXPECT_FROZEN(call)						\
do {									\
	errno = 0;							\
	EXPECT_EQ(-1, (call));						\
	EXPECT_EQ(EPERM, errno);					\
} while (0)

static void unpreserve(FIXTURE_DATA(memfd) * self)
{
	close(self->session);
	self->session = lu_create(self->dev, "memfd");
}

TEST_F(memfd, size_is_frozen)
{
	ASSERT_EQ(0, lu_preserve(self->session, self->fd, 1));
	EXPECT_FROZEN(ftruncate(self->fd, SIZE + LU_PAGE));
	EXPECT_FROZEN(ftruncate(self->fd, SIZE + 1));
	EXPECT_FROZEN(ftruncate(self->fd, SIZE - LU_PAGE));
	EXPECT_FROZEN(ftruncate(self->fd, SIZE - 1));
	EXPECT_FROZEN(ftruncate(self->fd, 0));
	EXPECT_FROZEN(fallocate(self->fd, 0, SIZE, LU_PAGE));
	EXPECT_EQ(SIZE, lu_size(self->fd));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, 1));
}

TEST_F(memfd, no_holes_are_punched)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	ASSERT_EQ(0, lu_preserve(self->session, self->fd, 1));
	EXPECT_FROZEN(fallocate(self->fd, punch, 0, LU_PAGE));
	EXPECT_FROZEN(fallocate(self->fd, punch, SIZE / 2, SIZE / 2));
	EXPECT_FROZEN(fallocate(self->fd, punch, 1, 1));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, 1));
}

TEST_F(memfd, no_removal_through_a_mapping)
{
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, lu_preserve(self->session, self->fd, 1));
	EXPECT_FROZEN(madvise(map, SIZE, MADV_REMOVE));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, 1));
	/* These only concern the mapping. */
	EXPECT_EQ(0, madvise(map, SIZE, MADV_DONTNEED));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, 1));
}

TEST_F(memfd, no_write_beyond_the_end)
{
	char byte = 'x';

	ASSERT_EQ(0, lu_preserve(self->session, self->fd, 1));
	EXPECT_FROZEN(pwrite(self->fd, &byte, 1, SIZE));
	EXPECT_FROZEN(pwrite(self->fd, &byte, 1, 2 * SIZE));
	EXPECT_EQ(SIZE, lu_size(self->fd));
}

TEST_F(memfd, contents_can_be_used)
{
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	char *late;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, lu_preserve(self->session, self->fd, 1));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, 1));
	EXPECT_EQ(0, lu_fill(self->fd, LU_PAGE, LU_PAGE, 2));
	lu_fill_mem(map + 2 * LU_PAGE, 2 * LU_PAGE, LU_PAGE, 3);
	late = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, late);
	lu_fill_mem(late + 3 * LU_PAGE, 3 * LU_PAGE, LU_PAGE, 4);

	EXPECT_EQ(0, lu_check(self->fd, 0, LU_PAGE, 1));
	EXPECT_EQ(0, lu_check(self->fd, LU_PAGE, LU_PAGE, 2));
	EXPECT_EQ(0, lu_check(self->fd, 2 * LU_PAGE, LU_PAGE, 3));
	EXPECT_EQ(0, lu_check(self->fd, 3 * LU_PAGE, LU_PAGE, 4));
	unpreserve(self);
	EXPECT_EQ(0, lu_check(self->fd, LU_PAGE, LU_PAGE, 2));
	EXPECT_EQ(0, lu_check(self->fd, 2 * LU_PAGE, LU_PAGE, 3));
	EXPECT_EQ(0, lu_check(self->fd, 3 * LU_PAGE, LU_PAGE, 4));
}

TEST_F(memfd, everything_works_again_after_close)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	ASSERT_EQ(0, lu_preserve(self->session, self->fd, 1));
	unpreserve(self);
	EXPECT_EQ(0, ftruncate(self->fd, 2 * SIZE));
	EXPECT_EQ(0, lu_fill(self->fd, SIZE, SIZE, 1));
	EXPECT_EQ(0, fallocate(self->fd, punch, 0, LU_PAGE));
	EXPECT_EQ(0, lu_check_zero(self->fd, 0, LU_PAGE));
	EXPECT_EQ(0, lu_check(self->fd, LU_PAGE, 2 * SIZE - LU_PAGE, 1));
	EXPECT_EQ(0, ftruncate(self->fd, LU_PAGE));
	EXPECT_EQ(0, ftruncate(self->fd, 0));
	EXPECT_EQ(0, lu_blocks(self->fd));
}

TEST_F(memfd, seals_while_preserved)
{
	ASSERT_EQ(0, lu_preserve(self->session, self->fd, 1));
	EXPECT_EQ(-1, fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, fcntl(self->fd, F_GET_SEALS));
	EXPECT_EQ(0, fcntl(self->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	unpreserve(self);
	EXPECT_EQ(0, fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
	EXPECT_EQ(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL,
		  fcntl(self->fd, F_GET_SEALS));
}

TEST_F(memfd, sealed_file)
{
	ASSERT_EQ(0, fcntl(self->fd, F_ADD_SEALS,
			   F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL));
	EXPECT_EQ(0, lu_preserve(self->session, self->fd, 1));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, 1));
}

TEST_F(memfd, empty_file)
{
	char byte = 'x';

	ASSERT_EQ(0, ftruncate(self->fd, 0));
	ASSERT_EQ(0, lu_preserve(self->session, self->fd, 1));
	EXPECT_FROZEN(ftruncate(self->fd, 1));
	EXPECT_FROZEN(pwrite(self->fd, &byte, 1, 0));
	unpreserve(self);
	EXPECT_EQ(1, pwrite(self->fd, &byte, 1, 0));
}

TEST_F(memfd, read_only_descriptor)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_preserve(self->session, fd, 1));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, self->fd, 2));
	EXPECT_FROZEN(ftruncate(self->fd, 0));
}

/* 1 GiB with eight pages in it: holes must not become memory. */
TEST_F(memfd, holes_cost_nothing)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC), i;
	long before;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, LU_GIB));
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, lu_fill(fd, i * 128 * LU_MIB + LU_MIB, LU_PAGE, i));
	before = lu_free_kib();
	ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
	EXPECT_TRUE(lu_await_free_kib(before - 1024));
	EXPECT_EQ(8 * (int)(LU_PAGE / 512), lu_blocks(fd));
	EXPECT_EQ(LU_MIB, (unsigned long long)lseek(fd, 0, SEEK_DATA));
	EXPECT_EQ(0, lu_check_zero(fd, 0, LU_MIB));
}

TEST_F(memfd, holes_can_be_written)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC);
	char *map;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, lu_fill(fd, LU_PAGE, LU_PAGE, 1));
	lu_fill_mem(map + 3 * LU_PAGE, 3 * LU_PAGE, LU_PAGE, 1);
	unpreserve(self);
	EXPECT_EQ(0, lu_check_zero(fd, 0, LU_PAGE));
	EXPECT_EQ(0, lu_check(fd, LU_PAGE, LU_PAGE, 1));
	EXPECT_EQ(0, lu_check_zero(fd, 2 * LU_PAGE, LU_PAGE));
	EXPECT_EQ(0, lu_check(fd, 3 * LU_PAGE, LU_PAGE, 1));
	/* The pages that came late are free again, too. */
	EXPECT_EQ(0, munmap(map, SIZE));
	EXPECT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(0, lu_blocks(fd));
}

TEST_F(memfd, hugetlb_has_no_handler)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

	if (fd < 0)
		SKIP(return, "no hugetlb: %s", strerror(errno));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, fd, 1));
	ASSERT_EQ(0, ftruncate(fd, 2 * LU_MIB));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, fd, 1));
	/* It was left as it was. */
	EXPECT_EQ(0, ftruncate(fd, 4 * LU_MIB));
}

/* A file of tmpfs that has a name would lose it: only without one. */
TEST_F(memfd, tmpfs_file)
{
	char path[] = "/dev/shm/luo.XXXXXX";
	int fd;

	ASSERT_EQ(0, lu_need_shm());
	fd = mkstemp(path);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_fill(fd, 0, SIZE, 5));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, fd, 1));
	EXPECT_EQ(0, ftruncate(fd, LU_PAGE));
	EXPECT_EQ(0, unlink(path));
	close(fd);
}

/* Who holds the file cannot keep others waiting by a write(2) that stalls. */
TEST_F(memfd, stalled_write)
{
	struct lu_stall stall;

	if (access("/proc/sys/vm/unprivileged_userfaultfd", F_OK))
		SKIP(return, "no userfaultfd");
	ASSERT_EQ(0, lu_stall_write(&stall, self->fd));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, self->fd, 1));
	EXPECT_EQ(0, lu_stall_end(&stall));
	EXPECT_EQ(0, lu_preserve(self->session, self->fd, 1));
	EXPECT_EQ(0, lu_check_zero(self->fd, 0, LU_PAGE));
}

TEST_F(memfd, memory_comes_back)
{
	const long size = 64 * LU_MIB, kib = size / LU_KIB;
	int fd = memfd_create("m", MFD_CLOEXEC);
	long before = lu_free_kib(), held;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, size));
	ASSERT_EQ(0, lu_fill(fd, 0, size / 2, 1));
	ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
	/* Half of it arrives while it is preserved. */
	ASSERT_EQ(0, lu_fill(fd, size / 2, size / 2, 1));
	held = lu_free_kib();
	EXPECT_LT(held, before - kib * 7 / 8);
	unpreserve(self);
	EXPECT_EQ(0, lu_check(fd, 0, size, 1));
	close(fd);
	/* Nothing of the file, and not one table of the page map too many. */
	EXPECT_TRUE(lu_await_free_kib(before - 1024));
}
