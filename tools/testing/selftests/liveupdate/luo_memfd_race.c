// SPDX-License-Identifier: GPL-2.0
/*
 * A memfd is preserved, and let go, again and again, while others write it, punch
 * holes, collapse its pages, page them out and move them. One whose pages are where
 * none can be preserved, and are moved. And one that is frozen for as long as it takes
 * everybody who wants to change it to come and wait.
 */
#include <linux/falloc.h>
#include <stdatomic.h>
#include <sys/swap.h>
#include <time.h>

#include "lu_harness.h"
#include "lu_monitor.h"
#include "lu_uffd.h"

#define HUGE		(2 * LU_MIB)
#define SIZE		(8 * HUGE)
#define SECONDS		8
/* More, until the file was preserved often enough. */
#define MOST_SECONDS	90
#define ENOUGH		5
#define TESTS		"/sys/kernel/debug/liveupdate_test/"
#define THP		"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

FIXTURE(race)
{
	int dev;
	int stage;
	int session;
};

FIXTURE_SETUP(race)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	self->session = self->stage == 1 ? lu_create(self->dev, "race") :
					   lu_retrieve(self->dev, "race");
	ASSERT_LE(0, self->session);
}

FIXTURE_TEARDOWN(race)
{
	if (self->stage > 1)
		EXPECT_EQ(0, lu_finish(self->session));
	close(self->session);
	close(self->dev);
}

/* What the others work on; @map at a multiple of the size of a huge page. */
struct shared {
	atomic_bool over;
	atomic_ulong rounds;	/* that they have done */
};

static char *map_aligned(int fd, size_t size)
{
	char *map = mmap(NULL, size + HUGE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return map;
	map = (char *)(((uintptr_t)map + HUGE - 1) & ~(HUGE - 1));
	return mmap(map, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
}

static off_t some_page(uint64_t *rnd)
{
	*rnd = *rnd * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*rnd >> 33) % (SIZE / LU_PAGE) * LU_PAGE;
}

/* Whatever is written has the contents of its place, so that each can be told. */
static void by_write(int fd, char *map, uint64_t *rnd)
{
	if (lu_fill(fd, some_page(rnd), LU_PAGE, 1))
		_exit(1);
}

static void by_fault(int fd, char *map, uint64_t *rnd)
{
	off_t at = some_page(rnd);

	lu_fill_mem(map + at, at, LU_PAGE, 1);
}

/* Refused while the file is preserved. */
static void punch(int fd, char *map, uint64_t *rnd)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, some_page(rnd),
		      LU_PAGE) && errno != EPERM)
		_exit(1);
}

/* These two do what they can. */
static void collapse(int fd, char *map, uint64_t *rnd)
{
	madvise(map + (some_page(rnd) & ~(HUGE - 1)), HUGE, MADV_COLLAPSE);
}

static void page_out(int fd, char *map, uint64_t *rnd)
{
	madvise(map + (some_page(rnd) & ~(HUGE - 1)), HUGE, MADV_PAGEOUT);
}

static void move(int fd, char *map, uint64_t *rnd)
{
	if (lu_write_file("/proc/sys/vm/compact_memory", "1"))
		_exit(1);
	usleep(20000);
}

static void (*const others[])(int fd, char *map, uint64_t *rnd) = {
	by_write, by_fault, punch, collapse, page_out, move,
};

static pid_t start(int i, int fd, char *map, struct shared *shared)
{
	uint64_t rnd = i;
	pid_t pid = fork();

	if (pid)
		return pid;
	while (!atomic_load(&shared->over)) {
		others[i](fd, map, &rnd);
		atomic_fetch_add(&shared->rounds, 1);
		/* Who takes the inode's lock again and again leaves no gap. */
		usleep(100);
	}
	_exit(0);
}

/* Each page is as it is written, or a hole. */
static int check_pages(int fd)
{
	char page[LU_PAGE];
	off_t at;
	int err;

	for (at = 0; at < (off_t)SIZE; at += LU_PAGE) {
		if (pread(fd, page, sizeof(page), at) != sizeof(page))
			return -EIO;
		err = *(uint64_t *)page ? lu_check(fd, at, LU_PAGE, 1) :
					  lu_check_zero(fd, at, LU_PAGE);
		if (err)
			return err;
	}
	return 0;
}

TEST_F_TIMEOUT(race, race, 2 * LU_TIMEOUT)
{
	static char * const mkswap[] = { "mkswap", "/dev/ram0", NULL };
	int fd, err, status, preserved = 0, busy = 0;
	pid_t pids[ARRAY_SIZE(others)];
	time_t begin = time(NULL), now;
	struct shared *shared;
	uint64_t sum;
	char note[64];
	long before;
	char *map;
	size_t i;

	if (self->stage == 1) {
		ASSERT_EQ(0, lu_run(mkswap));
		ASSERT_EQ(0, swapon("/dev/ram0", 0));
		ASSERT_EQ(0, lu_write_file(THP, "advise"));
		shared = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, shared);
		fd = lu_memfd("race", SIZE / 2, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, SIZE));
		map = map_aligned(fd, SIZE);
		ASSERT_NE(MAP_FAILED, map);
		ASSERT_EQ(0, madvise(map, SIZE, MADV_HUGEPAGE));
		before = lu_pins();
		/* Whoever has it keeps it alive when the test closes it. */
		close(self->session);
		for (i = 0; i < ARRAY_SIZE(others); i++)
			pids[i] = start(i, fd, map, shared);
		self->session = lu_create(self->dev, "race");
		ASSERT_LE(0, self->session);
		do {
			err = lu_preserve(self->session, fd, 1);
			/* It may be in use where it cannot stay, or never be let alone. */
			ASSERT_TRUE(!err || err == -EBUSY || err == -ENOMEM)
				TH_LOG("%s", strerror(-err));
			preserved += !err;
			busy += !!err;
			usleep(5000);
			close(self->session);
			self->session = lu_create(self->dev, "race");
			ASSERT_LE(0, self->session);
			now = time(NULL);
		} while (now < begin + SECONDS ||
			 (preserved <= ENOUGH && now < begin + MOST_SECONDS));
		atomic_store(&shared->over, true);
		for (i = 0; i < ARRAY_SIZE(others); i++) {
			ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
			EXPECT_EQ(0, status);
		}
		TH_LOG("preserved %d times, %d times not; %lu rounds of others", preserved,
		       busy, atomic_load(&shared->rounds));
		EXPECT_LT(ENOUGH, preserved);
		EXPECT_EQ(before, lu_pins());
		EXPECT_EQ(0, check_pages(fd));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		ASSERT_EQ(0, lu_checksum(fd, &sum));
		snprintf(note, sizeof(note), "lu.sum=%#jx", (uintmax_t)sum);
		LU_KEXEC_WITH(2, note);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_checksum(fd, &sum));
	EXPECT_EQ(lu_param_u64("lu.sum"), sum);
	EXPECT_EQ(0, check_pages(fd));
}

/* KiB in the movable zone. */
static long movable_kib(void)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	bool movable = false;
	long pages = 0, n;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "Node", 4))
			movable = strstr(line, "Movable");
		else if (movable && sscanf(line, " managed %ld", &n) == 1)
			pages += n;
	}
	if (f)
		fclose(f);
	return pages * (LU_PAGE / LU_KIB);
}

/* Pages are moved to where they can stay, and new ones are there at once. */
TEST_F_TIMEOUT(race, movable, LU_TIMEOUT)
{
	const size_t size = 192 * LU_MIB;
	size_t at;
	int fd;

	if (self->stage == 1) {
		ASSERT_LT((long)(size / LU_KIB), movable_kib());
		fd = memfd_create("movable", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, size));
		for (at = 0; at < size; at += 2 * LU_PAGE)
			ASSERT_EQ(0, lu_fill(fd, at, 64, 1));
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		for (at = LU_PAGE; at < size; at += 2 * LU_PAGE)
			ASSERT_EQ(0, lu_fill(fd, at, 64, 2));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)(size / 512), lu_blocks(fd));
	for (at = 0; at < size; at += LU_PAGE)
		ASSERT_EQ(0, lu_check(fd, at, 64, at / LU_PAGE % 2 + 1));
}

static void fill_page(int fd, off_t page)
{
	_exit(!!lu_fill(fd, page * LU_PAGE, LU_PAGE, 1));
}

static void fault_page(int fd, off_t page)
{
	char *map = mmap(NULL, 8 * LU_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		_exit(1);
	lu_fill_mem(map + page * LU_PAGE, page * LU_PAGE, LU_PAGE, 1);
	_exit(0);
}

/* By UFFDIO_COPY, or UFFDIO_ZEROPAGE if there is no seed. */
static void uffd_page(int fd, off_t page, uint64_t seed)
{
	char *map = mmap(NULL, 8 * LU_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int uffd;

	if (map == MAP_FAILED)
		_exit(1);
	uffd = lu_uffd_open(map, 8 * LU_PAGE);
	if (uffd < 0)
		_exit(1);
	map += page * LU_PAGE;
	_exit(-(seed ? lu_uffd_copy(uffd, map, page * LU_PAGE, seed) :
		       lu_uffd_zero(uffd, map)));
}

static void copy_page(int fd, off_t page)
{
	uffd_page(fd, page, 1);
}

static void zero_page(int fd, off_t page)
{
	uffd_page(fd, page, 0);
}

static void seal(int fd, off_t page)
{
	_exit(!!fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
}

static void jump(int fd, off_t page)
{
	_exit(-lu_jump());
}

static pid_t in_the_background(void (*fn)(int fd, off_t page), int fd, off_t page)
{
	pid_t pid = fork();

	if (!pid)
		fn(fd, page);
	return pid;
}

/* Until it sleeps where only SIGKILL gets it out, if it does not end before. */
static bool await_sleep(pid_t pid)
{
	char path[32], state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	do {
		f = fopen(path, "re");
		if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = 0;
		if (f)
			fclose(f);
	} while (state == 'R' || state == 'S');
	return state == 'D';
}

static int exit_status(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/*
 * The file after it stops the reboot in the middle, which fails then: who changes
 * the memfd meanwhile waits, can be killed, and goes on afterwards.
 */
TEST_F_TIMEOUT(race, frozen, LU_TIMEOUT)
{
	static void (*const fills[])(int fd, off_t page) = {
		[1] = fill_page, [2] = fault_page, [3] = copy_page, [4] = zero_page,
	};
	char line[32], before[LU_MEMORY], after[LU_MEMORY];
	pid_t rebooter, pids[5], victims[5], sealer;
	int fd, file, status, i;

	ASSERT_EQ(0, lu_load_module("lib/test_liveupdate", ""));
	if (self->stage == 1) {
		fd = memfd_create("frozen", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, 8 * LU_PAGE));
		ASSERT_EQ(0, lu_fill(fd, 0, LU_PAGE, 1));
		file = open("/dev/liveupdate_test0", O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, file);
		ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
		ASSERT_EQ(0, lu_preserve(self->session, file, 2));
		ASSERT_EQ(0, lu_load(2, NULL));
		snprintf(line, sizeof(line), "fail freeze 1 %d 1", EIO);
		ASSERT_EQ(0, lu_write_file(TESTS "ctl", line));
		ASSERT_EQ(0, lu_write_file(TESTS "ctl", "hold freeze"));
		rebooter = in_the_background(jump, fd, 0);
		while (lu_count_lines(TESTS "log", "freeze") < 1)
			ASSERT_EQ(0, waitpid(rebooter, &status, WNOHANG));

		/* Those who are killed leave nothing. */
		lu_memory(before);
		for (i = 1; i <= 4; i++) {
			victims[i] = in_the_background(fills[i], fd, 3 + i);
			EXPECT_TRUE(await_sleep(victims[i]));
			EXPECT_EQ(0, kill(victims[i], SIGKILL));
			EXPECT_EQ(victims[i], waitpid(victims[i], &status, 0));
			EXPECT_TRUE(WIFSIGNALED(status));
		}
		EXPECT_STREQ(before, lu_memory(after));
		for (i = 1; i <= 4; i++) {
			pids[i] = in_the_background(fills[i], fd, i);
			EXPECT_TRUE(await_sleep(pids[i]));
		}
		sealer = in_the_background(seal, fd, 0);
		EXPECT_TRUE(await_sleep(sealer));
		/* What was there can be read all the time. */
		EXPECT_EQ(0, lu_check(fd, 0, LU_PAGE, 1));
		EXPECT_EQ(0, waitpid(-1, &status, WNOHANG));

		ASSERT_EQ(0, lu_write_file(TESTS "ctl", "release"));
		EXPECT_EQ(EIO, exit_status(rebooter));
		for (i = 1; i <= 4; i++)
			EXPECT_EQ(0, exit_status(pids[i]));
		EXPECT_EQ(0, exit_status(sealer));
		EXPECT_EQ((blkcnt_t)(5 * LU_PAGE / 512), lu_blocks(fd));
		LU_JUMP();
	}
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(F_SEAL_GROW, fcntl(fd, F_GET_SEALS));
	EXPECT_EQ((blkcnt_t)(5 * LU_PAGE / 512), lu_blocks(fd));
	EXPECT_EQ(0, lu_check(fd, 0, 4 * LU_PAGE, 1));
	EXPECT_EQ(0, lu_check_zero(fd, 4 * LU_PAGE, 4 * LU_PAGE));
}
