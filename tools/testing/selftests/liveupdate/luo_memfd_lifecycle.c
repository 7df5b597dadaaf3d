// SPDX-License-Identifier: GPL-2.0
/*
 * What of a memfd comes back after a kexec: contents, holes, size, position,
 * flags, seals, name, mode, large folios; and what was written until the jump.
 */
#include <stdatomic.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/swap.h>

#include "lu_harness.h"

#define KPF_THP		22	/* <linux/kernel-page-flags.h> */
#define HUGE		(2 * LU_MIB)

FIXTURE(memfd)
{
	int dev;
	int stage;
	int session;	/* to preserve in, or to retrieve from */
};

FIXTURE_SETUP(memfd)
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

/* The files belong to the test alone from here on. */
static int finish(FIXTURE_DATA(memfd) * self)
{
	int err = self->session < 0 ? 0 : lu_finish(self->session);

	close(self->session);
	self->session = -1;
	return err;
}

FIXTURE_TEARDOWN(memfd)
{
	EXPECT_EQ(0, finish(self));
	close(self->dev);
}

#define LIFECYCLE(name)		TEST_F_TIMEOUT(memfd, name, LU_TIMEOUT)

/* Data at the start, in the middle, and none at the end. */
LIFECYCLE(sparse)
{
	static const off_t data[] = { 0, 5 * LU_PAGE, 77 * LU_MIB, 2047 * LU_MIB };
	const off_t size = 4 * LU_GIB + 100;
	size_t i;
	int fd;

	if (self->stage == 1) {
		fd = memfd_create("sparse", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, size));
		for (i = 0; i < ARRAY_SIZE(data); i++)
			ASSERT_EQ(0, lu_fill(fd, data[i], LU_PAGE, i));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(size, lu_size(fd));
	EXPECT_EQ((blkcnt_t)(ARRAY_SIZE(data) * LU_PAGE / 512), lu_blocks(fd));
	for (i = 0; i < ARRAY_SIZE(data); i++) {
		off_t from = i ? data[i - 1] + LU_PAGE : 0;

		EXPECT_EQ(data[i], lseek(fd, from, SEEK_DATA));
		EXPECT_EQ(data[i] + (off_t)LU_PAGE, lseek(fd, data[i], SEEK_HOLE));
		EXPECT_EQ(0, lu_check(fd, data[i], LU_PAGE, i));
	}
	EXPECT_EQ(-1, lseek(fd, data[3] + LU_PAGE, SEEK_DATA));
	EXPECT_EQ(0, lu_check_zero(fd, LU_PAGE, 4 * LU_PAGE));
	EXPECT_EQ(0, lu_check_zero(fd, size - LU_MIB, LU_MIB));
	/* Holes can be filled now. */
	EXPECT_EQ(0, lu_fill(fd, LU_PAGE, 4 * LU_PAGE, 9));
	EXPECT_EQ(0, lu_check(fd, LU_PAGE, 4 * LU_PAGE, 9));
}

/* Every second page: as many runs as can be. */
LIFECYCLE(alternate_pages)
{
	enum { PAGES = 4096 };
	int fd, i;

	if (self->stage == 1) {
		fd = memfd_create("alternate", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, 2 * PAGES * LU_PAGE));
		for (i = 0; i < PAGES; i++)
			ASSERT_EQ(0, lu_fill(fd, 2 * i * LU_PAGE, LU_PAGE, 1));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)(PAGES * LU_PAGE / 512), lu_blocks(fd));
	for (i = 0; i < PAGES; i++) {
		ASSERT_EQ(0, lu_check(fd, 2 * i * LU_PAGE, LU_PAGE, 1));
		ASSERT_EQ(0, lu_check_zero(fd, (2 * i + 1) * LU_PAGE, LU_PAGE));
	}
}

/*
 * Every second page of memory, and not only of the file: the worst layout for a
 * kernel that gives the pages in between to its allocator.
 */
LIFECYCLE(scattered_in_memory)
{
	enum { PAGES = 32768 };
	int fd, i;

	if (self->stage == 1) {
		fd = memfd_create("scattered", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_fill(fd, 0, PAGES * LU_PAGE, 1));
		for (i = 1; i < PAGES; i += 2)
			ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE |
					       FALLOC_FL_KEEP_SIZE,
					       i * LU_PAGE, LU_PAGE));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)(PAGES / 2 * LU_PAGE / 512), lu_blocks(fd));
	for (i = 0; i < PAGES; i += 2)
		ASSERT_EQ(0, lu_check(fd, i * LU_PAGE, LU_PAGE, 1));
}

LIFECYCLE(empty)
{
	int fd;

	if (self->stage == 1) {
		ASSERT_EQ(0, lu_preserve(self->session, lu_memfd("empty", 0, 0), 0));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_size(fd));
	EXPECT_EQ(0, lu_blocks(fd));
	EXPECT_EQ(0, finish(self));
	EXPECT_EQ(0, lu_fill(fd, 0, LU_MIB, 1));
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 1));
}

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC	0x20
#endif

/* Each by itself, and together as they are used. */
static const int seals[] = {
	0,
	F_SEAL_SEAL,
	F_SEAL_SHRINK,
	F_SEAL_GROW,
	F_SEAL_WRITE,
	F_SEAL_FUTURE_WRITE,
	F_SEAL_EXEC,
	F_SEAL_SHRINK | F_SEAL_GROW,
	F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE,
	F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL,
	F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_EXEC,
};

/* What of a file the seals @s forbid, as its next owner finds out. */
static void check_seals(struct __test_metadata *_metadata, int fd, int s)
{
	const size_t size = 3 * LU_PAGE;
	const int write = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
	void *map;

	EXPECT_EQ(s, fcntl(fd, F_GET_SEALS));
	EXPECT_EQ(s & write ? -1 : 1, pwrite(fd, "x", 1, 0));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT_EQ(!!(s & write), map == MAP_FAILED);
	if (map != MAP_FAILED)
		munmap(map, size);
	EXPECT_EQ(s & F_SEAL_EXEC ? -1 : 0, fchmod(fd, 0700));
	EXPECT_EQ(0, fchmod(fd, 0600));
	EXPECT_EQ(s & F_SEAL_GROW ? -1 : 0, ftruncate(fd, size + 1));
	EXPECT_EQ(s & F_SEAL_SHRINK ? -1 : 0, ftruncate(fd, LU_PAGE));
	EXPECT_EQ(s & F_SEAL_SEAL ? -1 : 0, fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
}

LIFECYCLE(sealed)
{
	int fd[ARRAY_SIZE(seals)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(seals); i++) {
		if (self->stage == 1) {
			fd[i] = lu_memfd("sealed", 3 * LU_PAGE, i);
			ASSERT_LE(0, fd[i]);
			ASSERT_EQ(0, fchmod(fd[i], 0600));
			ASSERT_EQ(0, fcntl(fd[i], F_ADD_SEALS, seals[i]));
			ASSERT_EQ(0, lu_preserve(self->session, fd[i], i));
			continue;
		}
		fd[i] = lu_retrieve_fd(self->session, i);
		ASSERT_LE(0, fd[i]);
		EXPECT_EQ(0, lu_check(fd[i], 0, 3 * LU_PAGE, i));
	}
	if (self->stage == 1)
		LU_KEXEC(2);
	EXPECT_EQ(0, finish(self));
	for (i = 0; i < ARRAY_SIZE(seals); i++) {
		check_seals(_metadata, fd[i], seals[i]);
		if (_metadata->exit_code != KSFT_PASS)
			TH_LOG("seals %#x", seals[i]);
	}
}

/* Without MFD_ALLOW_SEALING, and a seal that came after preserve. */
LIFECYCLE(seals_at_the_jump)
{
	int closed, late;

	if (self->stage == 1) {
		closed = memfd_create("closed", MFD_CLOEXEC);
		late = lu_memfd("late", LU_PAGE, 1);
		ASSERT_LE(0, closed);
		ASSERT_LE(0, late);
		ASSERT_EQ(0, lu_preserve(self->session, closed, 1));
		ASSERT_EQ(0, lu_preserve(self->session, late, 2));
		ASSERT_EQ(0, fcntl(late, F_ADD_SEALS, F_SEAL_GROW));
		LU_KEXEC(2);
	}
	closed = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, closed);
	EXPECT_EQ(F_SEAL_SEAL, fcntl(closed, F_GET_SEALS));
	late = lu_retrieve_fd(self->session, 2);
	ASSERT_LE(0, late);
	EXPECT_EQ(F_SEAL_GROW, fcntl(late, F_GET_SEALS));
	EXPECT_EQ(0, finish(self));
	EXPECT_EQ(-1, ftruncate(late, 2 * LU_PAGE));
	EXPECT_EQ(0, ftruncate(late, 0));
}

LIFECYCLE(attributes)
{
	char link[256], path[64];
	struct stat st;
	int fd, ro;

	if (self->stage == 1) {
		fd = lu_memfd("a name, \xff\n too", 10 * LU_PAGE, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		/* Read at the freeze, not at preserve. */
		ASSERT_EQ(0, fchmod(fd, 0640));
		ASSERT_EQ(0, fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
		ASSERT_EQ(12345, lseek(fd, 12345, SEEK_SET));

		fd = lu_memfd("read only", LU_PAGE, 2);
		ASSERT_LE(0, fd);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ro = open(path, O_RDONLY);
		ASSERT_LE(0, ro);
		ASSERT_EQ(0, lu_preserve(self->session, ro, 2));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(12345, lseek(fd, 0, SEEK_CUR));
	EXPECT_EQ(O_RDWR | O_APPEND | O_NONBLOCK,
		  fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(S_IFREG | 0640, st.st_mode);
	EXPECT_EQ(0, st.st_nlink);
	EXPECT_EQ((blkcnt_t)(10 * LU_PAGE / 512), st.st_blocks);
	ASSERT_EQ(0, lu_fd_link(fd, link, sizeof(link)));
	EXPECT_NE(NULL, strstr(link, "memfd:a name, "))
		TH_LOG("link: %s", link);

	ro = lu_retrieve_fd(self->session, 2);
	ASSERT_LE(0, ro);
	EXPECT_EQ(O_RDONLY, fcntl(ro, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(0, lu_check(ro, 0, LU_PAGE, 2));
	EXPECT_EQ(-1, write(ro, "x", 1));
	/* O_APPEND is more than a flag that shows. */
	EXPECT_EQ(0, finish(self));
	EXPECT_EQ(1, write(fd, "x", 1));
	EXPECT_EQ((off_t)(10 * LU_PAGE + 1), lu_size(fd));
	EXPECT_EQ(0, lu_check(fd, 0, 10 * LU_PAGE, 1));
}

/* The longest name that memfd_create(2) takes. */
LIFECYCLE(long_name)
{
	char name[250], link[512];
	int fd;

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = 0;
	if (self->stage == 1) {
		fd = lu_memfd(name, LU_PAGE, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		ASSERT_EQ(0, lu_preserve(self->session, lu_memfd("", LU_PAGE, 2), 2));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_fd_link(fd, link, sizeof(link)));
	EXPECT_NE(NULL, strstr(link, name));
	EXPECT_EQ(0, lu_check(fd, 0, LU_PAGE, 1));
	fd = lu_retrieve_fd(self->session, 2);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_PAGE, 2));
}

/* A file without a name is as good as a memfd, and comes back as one. */
LIFECYCLE(unlinked_tmpfs_file)
{
	int fd;

	if (self->stage == 1) {
		char path[] = "/dev/shm/luo.XXXXXX";

		ASSERT_EQ(0, lu_need_shm());
		fd = mkstemp(path);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, unlink(path));
		ASSERT_EQ(0, lu_fill(fd, 0, LU_MIB, 7));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((off_t)LU_MIB, lu_size(fd));
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 7));
}

/* How many of the pages at @map belong to a large folio that can be mapped whole. */
static int count_huge(char *map, size_t len)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t entry, bits;
	int n = 0;
	size_t i;

	if (madvise(map, len, MADV_POPULATE_READ))
		return -errno;
	for (i = 0; i < len / LU_PAGE; i++) {
		off_t at = ((uintptr_t)map / LU_PAGE + i) * sizeof(entry);

		if (pread(pagemap, &entry, sizeof(entry), at) != sizeof(entry))
			return -errno;
		at = (entry & ((1ULL << 55) - 1)) * sizeof(bits);
		if (pread(flags, &bits, sizeof(bits), at) != sizeof(bits))
			return -errno;
		n += bits >> KPF_THP & 1;
	}
	close(pagemap);
	close(flags);
	return n;
}

LIFECYCLE(large_folios)
{
	const size_t size = 4 * HUGE;
	char *map;
	int fd;

	if (lu_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise"))
		SKIP(return, "no transparent huge pages for shmem");
	if (self->stage == 1) {
		fd = memfd_create("large", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, size));
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, map);
		ASSERT_EQ(0, madvise(map, size, MADV_HUGEPAGE));
		lu_fill_mem(map, 0, size, 1);
		ASSERT_EQ((int)(size / LU_PAGE), count_huge(map, size));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, size, 1));
	EXPECT_EQ((blkcnt_t)(size / 512), lu_blocks(fd));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ((int)(size / LU_PAGE), count_huge(map, size));
	munmap(map, size);
	/* Splitting one must work as ever. */
	EXPECT_EQ(0, finish(self));
	EXPECT_EQ(0, ftruncate(fd, HUGE + LU_PAGE));
	EXPECT_EQ(0, lu_check(fd, 0, HUGE + LU_PAGE, 1));
}

/*
 * Pages that appear after preserve, each in a way of its own; 16 pages apart.
 * A page that was only read is there, too, and zero.
 */
LIFECYCLE(late_pages)
{
	const size_t step = 16 * LU_PAGE, size = 8 * step;
	char *map, word[8];
	int fd, i;

	if (self->stage == 1) {
		fd = memfd_create("late", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, size));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, map);
		/* 0: a fault for reading */
		ASSERT_EQ(0, madvise(map, LU_PAGE, MADV_POPULATE_READ));
		/* 1: one for writing */
		lu_fill_mem(map + step, step, LU_PAGE, 1);
		/* 2: a page by write(2); 3: some of a page */
		ASSERT_EQ(0, lu_fill(fd, 2 * step, LU_PAGE, 2));
		ASSERT_EQ(0, lu_fill(fd, 3 * step + 8, 80, 3));
		/* 4: many at once */
		ASSERT_EQ(0, madvise(map + 4 * step, step, MADV_POPULATE_WRITE));
		/* 5: from the other side of a fork */
		if (!fork()) {
			lu_fill_mem(map + 5 * step, 5 * step, LU_PAGE, 5);
			_exit(0);
		}
		ASSERT_LT(0, wait(NULL));
		/* 6: nothing; 7: the last byte */
		ASSERT_EQ(1, pwrite(fd, "7", 1, size - 1));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check_zero(fd, 0, step));
	for (i = 1; i < 6; i += i == 2 ? 3 : 1)
		EXPECT_EQ(0, lu_check(fd, i * step, LU_PAGE, i));
	EXPECT_EQ(0, lu_check_zero(fd, 3 * step, 8));
	EXPECT_EQ(0, lu_check(fd, 3 * step + 8, 80, 3));
	EXPECT_EQ(0, lu_check_zero(fd, 3 * step + 88, LU_PAGE - 88));
	EXPECT_EQ(0, lu_check_zero(fd, 4 * step, step));
	EXPECT_EQ(0, lu_check_zero(fd, 6 * step, step));
	EXPECT_EQ(8, pread(fd, word, 8, size - 8));
	EXPECT_EQ(0, memcmp(word, "\0\0\0\0\0\0\0007", 8));
	/* Pages 0, 1, 2, 3, 5, the last, and those of 4. */
	EXPECT_EQ((blkcnt_t)(22 * LU_PAGE / 512), lu_blocks(fd));
}

/* What was swapped out comes in again to be preserved. */
LIFECYCLE(swapped_out)
{
	static char * const mkswap[] = { "mkswap", "/dev/ram0", NULL };
	const size_t size = 2 * LU_MIB;
	long before;
	char *map;
	int fd;

	if (self->stage == 1) {
		if (lu_run(mkswap) || swapon("/dev/ram0", 0))
			SKIP(return, "no swap on /dev/ram0");
		fd = lu_memfd("swapped", size, 1);
		ASSERT_LE(0, fd);
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, map);
		/* Only what is mapped is paged out. */
		ASSERT_EQ(0, madvise(map, size, MADV_POPULATE_READ));
		before = lu_swap_free_kib();
		ASSERT_EQ(0, madvise(map, size, MADV_PAGEOUT));
		/* Much of it, at least, is out. */
		ASSERT_GT(before - (long)(size / LU_KIB / 2), lu_swap_free_kib());
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		/* And does not leave again. */
		madvise(map, size, MADV_PAGEOUT);
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, size, 1));
	EXPECT_EQ((blkcnt_t)(size / 512), lu_blocks(fd));
}

/* Leave traces in most of the free memory. */
static int dirty_memory(void)
{
	size_t size = (lu_free_kib() - 128 * LU_KIB) * LU_KIB & ~(LU_PAGE - 1);
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	memset(map, 0xa5, size);
	return munmap(map, size) ? -errno : 0;
}

/* Reserved with fallocate(2), never written: zeroes, but no holes. */
LIFECYCLE(fallocated)
{
	int fd;

	if (self->stage == 1) {
		ASSERT_EQ(0, dirty_memory());
		fd = memfd_create("fallocated", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, fallocate(fd, 0, 0, LU_MIB));
		ASSERT_EQ(0, lu_fill(fd, LU_PAGE, LU_PAGE, 1));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)(LU_MIB / 512), lu_blocks(fd));
	EXPECT_EQ(0, lu_check_zero(fd, 0, LU_PAGE));
	EXPECT_EQ(0, lu_check(fd, LU_PAGE, LU_PAGE, 1));
	EXPECT_EQ(0, lu_check_zero(fd, 2 * LU_PAGE, LU_MIB - 2 * LU_PAGE));
}

/* What is reserved beyond the end of the file stays behind. */
LIFECYCLE(fallocated_beyond_the_end)
{
	const size_t size = 3 * LU_PAGE + 10;
	int fd;

	if (self->stage == 1) {
		fd = lu_memfd("beyond", size, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LU_MIB));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		ASSERT_EQ((blkcnt_t)(LU_MIB / 512), lu_blocks(fd));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((off_t)size, lu_size(fd));
	EXPECT_EQ((blkcnt_t)(4 * LU_PAGE / 512), lu_blocks(fd));
	EXPECT_EQ(0, lu_check(fd, 0, size, 1));
	EXPECT_EQ(0, finish(self));
	EXPECT_EQ(0, ftruncate(fd, LU_MIB));
	EXPECT_EQ(0, lu_check_zero(fd, size, LU_MIB - size));
}

/*
 * Who meets a frozen file waits, and goes on if the reboot fails: a program that
 * fills holes by write(2) and by faults, and adds seals, while reboots are
 * refused.
 */
struct progress {
	atomic_ulong filled;	/* pages, by both */
	atomic_ulong sealed;
};

static void fill_holes(int fd, size_t pages, struct progress *progress, bool by_fault)
{
	char *map = mmap(NULL, pages * LU_PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED, fd, 0);
	size_t i;

	if (map == MAP_FAILED)
		_exit(1);
	for (i = by_fault; i < pages; i += 2) {
		off_t at = i * LU_PAGE;

		if (by_fault)
			lu_fill_mem(map + at, at, LU_PAGE, 1);
		else if (lu_fill(fd, at, LU_PAGE, 1))
			_exit(1);
		atomic_fetch_add(&progress->filled, 1);
	}
	_exit(0);
}

static void add_seals(int fd, struct progress *progress)
{
	while (!fcntl(fd, F_ADD_SEALS, F_SEAL_GROW))
		atomic_fetch_add(&progress->sealed, 1);
	_exit(1);
}

LIFECYCLE(refused_reboots)
{
	enum { PAGES = 16384, REFUSED = 10 };
	const size_t size = PAGES * LU_PAGE;
	struct progress *progress;
	pid_t pids[2], sealer;
	int fd, i, status;

	if (self->stage == 1) {
		progress = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, progress);
		/* Loaded while there is nothing to lose, refused at the reboot. */
		close(self->session);
		ASSERT_EQ(0, lu_load(2, "liveupdate=off"));
		self->session = lu_create(self->dev, "memfd");
		ASSERT_LE(0, self->session);
		fd = memfd_create("refused", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, size));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		for (i = 0; i < 2; i++) {
			pids[i] = fork();
			if (!pids[i])
				fill_holes(fd, PAGES, progress, i);
		}
		sealer = fork();
		if (!sealer)
			add_seals(fd, progress);
		for (i = 0; i < REFUSED; i++) {
			unsigned long filled = atomic_load(&progress->filled);
			unsigned long sealed = atomic_load(&progress->sealed);

			EXPECT_EQ(-EOPNOTSUPP, lu_jump());
			/* They go on, if they have not come to their end. */
			while (atomic_load(&progress->sealed) == sealed ||
			       (atomic_load(&progress->filled) == filled &&
				filled < PAGES))
				usleep(1000);
		}
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
			EXPECT_EQ(0, status);
		}
		EXPECT_EQ(0, kill(sealer, SIGKILL));
		EXPECT_EQ(sealer, waitpid(sealer, &status, 0));
		EXPECT_EQ(0, lu_unload());
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)(size / 512), lu_blocks(fd));
	EXPECT_EQ(0, lu_check(fd, 0, size, 1));
	EXPECT_EQ(F_SEAL_GROW, fcntl(fd, F_GET_SEALS));
}

/* The reboot does not wait for a write(2) that stalls, either. */
LIFECYCLE(stalled_write)
{
	struct lu_stall stall;
	int fd;

	if (self->stage == 1) {
		fd = lu_memfd("stalled", LU_MIB, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	if (self->stage == 2) {
		/* Not finished, so that the reboot has to preserve it again. */
		ASSERT_EQ(0, lu_load(3, NULL));
		ASSERT_EQ(0, lu_stall_write(&stall, fd));
		EXPECT_EQ(-EBUSY, lu_jump());
		EXPECT_EQ(0, lu_stall_end(&stall));
		LU_JUMP();
	}
	EXPECT_EQ(0, lu_check_zero(fd, 0, LU_PAGE));
	EXPECT_EQ(0, lu_check(fd, LU_PAGE, LU_MIB - LU_PAGE, 1));
}

/*
 * A file that has more pages than the next kernel counts as its own before it is
 * retrieved; lu.overcommit= says how strict it is about that.
 */
LIFECYCLE(most_of_memory)
{
	const size_t size = 640 * LU_MIB;
	char mode[2] = { '0' + lu_param_u64("lu.overcommit") };
	size_t at;
	int fd;

	if (self->stage == 1) {
		fd = memfd_create("most", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		for (at = 0; at < size; at += LU_PAGE)
			ASSERT_EQ(0, lu_fill(fd, at, 16, 1));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		LU_KEXEC(2);
	}
	ASSERT_GT((long)(size / LU_KIB), lu_total_kib());
	ASSERT_EQ(0, lu_write_file("/proc/sys/vm/overcommit_memory", mode));
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_EQ(0, lu_write_file("/proc/sys/vm/overcommit_memory", "0"));
	ASSERT_LE(0, fd);
	EXPECT_LT((long)(size / LU_KIB), lu_total_kib());
	EXPECT_EQ((blkcnt_t)(size / 512), lu_blocks(fd));
	for (at = 0; at < size; at += LU_PAGE)
		ASSERT_EQ(0, lu_check(fd, at, 16, 1));
}

/* 1 GiB of random data, compared by its checksum. */
TEST_F_TIMEOUT(memfd, big, 5 * LU_TIMEOUT)
{
	uint64_t seed, sum;
	char note[96];
	int fd;

	if (self->stage == 1) {
		ASSERT_EQ((ssize_t)sizeof(seed), getrandom(&seed, sizeof(seed), 0));
		fd = lu_memfd("big", LU_GIB, seed);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		ASSERT_EQ(0, lu_checksum(fd, &sum));
		snprintf(note, sizeof(note), "lu.seed=%#jx lu.sum=%#jx",
			 (uintmax_t)seed, (uintmax_t)sum);
		LU_KEXEC_WITH(2, note);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((off_t)LU_GIB, lu_size(fd));
	ASSERT_EQ(0, lu_checksum(fd, &sum));
	EXPECT_EQ(lu_param_u64("lu.sum"), sum) {
		/* Say where. */
		lu_check(fd, 0, LU_GIB, lu_param_u64("lu.seed"));
	}
}
