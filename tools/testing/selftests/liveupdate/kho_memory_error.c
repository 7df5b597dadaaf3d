// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that breaks, before the jump and after it: it is never handed over without
 * a word, and what is not broken is not lost with it.
 */
#include <sys/mman.h>
#include <sys/wait.h>
#include <syslog.h>

#include "lu_areas.h"
#include "lu_lifecycle.h"

/* Whoever has the page mapped is killed: somebody else. */
static int poison(int fd, int page)
{
	int status;
	pid_t pid;
	char *map;

	pid = fork();
	if (!pid) {
		map = mmap(NULL, LU_MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED || madvise(map, LU_MIB, MADV_POPULATE_WRITE))
			_exit(1);
		madvise(map + page * LU_PAGE, LU_PAGE, MADV_HWPOISON);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) ? -EIO : 0;
}

/* A page with a memory error is not handed over without a word. */
LIFECYCLE(memory_error)
{
	int session, before, after;

	if (self->stage == 2)
		return;
	session = lu_create(self->dev, "errors");
	before = lu_memfd("before", LU_MIB, 1);
	after = lu_memfd("after", LU_MIB, 2);
	ASSERT_LE(0, session);
	ASSERT_LE(0, before);
	ASSERT_LE(0, after);
	ASSERT_EQ(0, lu_preserve(session, after, 2));
	ASSERT_EQ(0, lu_load(2, NULL));
	ASSERT_EQ(0, poison(before, 3));
	/* As reading it would give. */
	EXPECT_EQ(-EIO, lu_preserve(session, before, 1));
	ASSERT_EQ(0, poison(after, 3));
	EXPECT_EQ(-EHWPOISON, lu_jump());
	EXPECT_EQ(1, lu_log_lines("has a memory error and is preserved", LOG_ERR));
	/* The way out. */
	close(session);
	LU_JUMP();
}

/*
 * Pages that are none of memory's, or a copy would be taken for the original: arrays
 * lie at multiples of 16 bytes (psABI), and these begin in between.
 */
#define BETWEEN		8

static char found_room[BETWEEN + LU_PAGE], wanted_room[BETWEEN + LU_PAGE];
static char * const found = found_room + BETWEEN, * const wanted = wanted_room + BETWEEN;

/*
 * Pages of memory that @is says yes to get a memory error: how many there were.
 * Contents are all that tells what a page is.
 */
static int poison_memory(bool (*is)(const char page[LU_PAGE]))
{
	char path[] = "/sys/devices/system/memory/hard_offline_page", text[32], line[256];
	int mem = open("/dev/mem", O_RDONLY | O_CLOEXEC), n = 0, err = 0;
	FILE *f = fopen("/proc/iomem", "re");
	unsigned long long start, end;
	struct areas areas;

	read_areas(&areas);
	while (f && mem >= 0 && fgets(line, sizeof(line), f)) {
		if (line[0] == ' ' || !strstr(line, "System RAM") ||
		    sscanf(line, "%llx-%llx", &start, &end) != 2)
			continue;
		/* What lies below is never preserved; what kexec leaves has any length. */
		start = start < LU_MIB ? LU_MIB : (start + LU_PAGE - 1) & ~(LU_PAGE - 1ULL);
		for (; start < end; start += LU_PAGE) {
			/* In scratch there may be copies, from the kernel before. */
			if (in_areas(&areas, start) ||
			    pread(mem, found, LU_PAGE, start) != (ssize_t)LU_PAGE ||
			    !is(found))
				continue;
			snprintf(text, sizeof(text), "%llu", start);
			printf("# a memory error at %#llx\n", start);
			/* Nobody can be asked to let go of it, which is an error, too. */
			lu_write_file(path, text);
			n++;
		}
	}
	if (!f || mem < 0)
		err = -errno;
	if (f)
		fclose(f);
	close(mem);
	return err ?: n;
}

/* The description of a memfd: struct memfd_luo_ser. */
#define UNREADABLE	"this one cannot be read"

static bool is_description(const char page[LU_PAGE])
{
	uint64_t size;

	memcpy(&size, page + 8, sizeof(size));
	return size == LU_MIB && !memcmp(page + 64, UNREADABLE, strlen(UNREADABLE));
}

/* A page of what the note holds. */
#define NOTE		(32 * LU_KIB)

static bool is_note(const char page[LU_PAGE])
{
	if (!wanted[0])
		lu_fill_mem(wanted, 3 * LU_PAGE, LU_PAGE, 99);
	return !memcmp(page, wanted, LU_PAGE);
}

/* A file that is one large folio, and the page of it that breaks. */
#define LARGE		(2 * LU_MIB)
#define BROKEN		(5 * LU_PAGE)

static bool is_broken(const char page[LU_PAGE])
{
	static char room[BETWEEN + LU_PAGE];
	char *broken = room + BETWEEN;

	if (!broken[0])
		lu_fill_mem(broken, BROKEN, LU_PAGE, 98);
	return !memcmp(page, broken, LU_PAGE);
}

static int large_memfd(void)
{
	int fd = memfd_create("large", MFD_CLOEXEC);
	char *map;

	if (lu_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise") ||
	    ftruncate(fd, LARGE))
		return -errno;
	map = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || madvise(map, LARGE, MADV_HUGEPAGE))
		return -errno;
	lu_fill_mem(map, 0, LARGE, 98);
	munmap(map, LARGE);
	return fd;
}

/* The other pages can be read, by a read that comes to the broken one as well. */
static void read_around(struct __test_metadata *_metadata, int fd)
{
	static char buf[4 * LU_PAGE];

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, BROKEN, 98));
	EXPECT_EQ((ssize_t)(2 * LU_PAGE), pread(fd, buf, sizeof(buf), BROKEN - 2 * LU_PAGE));
	EXPECT_EQ(-1, pread(fd, buf, LU_PAGE, BROKEN));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(0, lu_check(fd, BROKEN + LU_PAGE, LARGE - BROKEN - LU_PAGE, 98));
}

/*
 * Pages get a memory error in the kernel they came to. What cannot be read is lost,
 * and finishing it is enough for the next update.
 */
LIFECYCLE(memory_error_incoming)
{
	static const char * const names[] = { "unreadable", "note", "large", "whole" };
	int session[4], fd, large, i;

	ASSERT_EQ(0, lu_load_module("samples/liveupdate/liveupdate_notes", ""));
	for (i = 0; i < 4; i++) {
		session[i] = self->stage == 1 ? lu_create(self->dev, names[i]) :
						lu_retrieve(self->dev, names[i]);
		if (self->stage == 3 && i < 3) {
			EXPECT_EQ(-ENOENT, session[i]);
			continue;
		}
		ASSERT_LE(0, session[i]);
	}
	if (self->stage == 1) {
		fd = open("/dev/liveupdate_notes", O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_fill(fd, 0, NOTE, 99));
		ASSERT_EQ(0, lu_preserve(session[0], lu_memfd(UNREADABLE, LU_MIB, 1), 1));
		ASSERT_EQ(0, lu_preserve(session[1], fd, 1));
		ASSERT_EQ(0, lu_preserve(session[2], large_memfd(), 1));
		ASSERT_EQ(0, lu_preserve(session[3], lu_memfd("whole", LU_MIB, 2), 1));
		LU_KEXEC(2);
	}
	fd = lu_retrieve_fd(session[3], 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 2));
	ASSERT_EQ(0, lu_finish(session[3]));
	if (self->stage == 3)
		return;

	ASSERT_EQ(0, lu_preserve(session[3], fd, 1));
	ASSERT_EQ(0, lu_load(3, NULL));
	ASSERT_EQ(1, poison_memory(is_description));
	ASSERT_LE(1, poison_memory(is_note));
	ASSERT_LE(1, poison_memory(is_broken));
	EXPECT_EQ(-EHWPOISON, lu_load(3, NULL));
	EXPECT_EQ(-EHWPOISON, lu_jump());
	EXPECT_EQ(-EBADMSG, lu_retrieve_fd(session[0], 1));
	EXPECT_EQ(1, lu_log_lines("what it described is lost", LOG_ERR));
	EXPECT_EQ(-EIO, lu_retrieve_fd(session[1], 1));
	EXPECT_EQ(1, lu_log_lines("vmalloc area of ", LOG_ERR));
	large = lu_retrieve_fd(session[2], 1);
	read_around(_metadata, large);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, lu_finish(session[i]));
	ASSERT_EQ(0, lu_load(3, NULL));
	LU_JUMP();
}
