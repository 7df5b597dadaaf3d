// SPDX-License-Identifier: GPL-2.0
/*
 * Hibernation: with live update off as without it; with sessions, which are there
 * again when the machine wakes up. The guest has a disk for swap, and resume= on its
 * command line.
 */
#include <sys/swap.h>
#include <syslog.h>

#include "lu_harness.h"

#define DISK		"/dev/vda"
#define SIZE		(8 * LU_MIB)

/* At the end of the first page of a swap area. */
#define SIGNATURE	"SWAPSPACE2"
#define HIBERNATED	"S1SUSPEND"

FIXTURE(hibernate)
{
	int stage;
};

FIXTURE_SETUP(hibernate)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
}

FIXTURE_TEARDOWN(hibernate) { }

#define HIBERNATE(name)		TEST_F_TIMEOUT(hibernate, name, LU_TIMEOUT)

static int make_swap(void)
{
	static char * const mkswap[] = { "mkswap", DISK, NULL };
	int err = lu_run(mkswap);

	return err ?: swapon(DISK, 0) ? -errno : 0;
}

/* Write memory to the disk, reset the machine, and come back. */
static int hibernate(void)
{
	return lu_write_file("/sys/power/disk", "reboot") ?:
	       lu_write_file("/sys/power/state", "disk");
}

/* Where the harness does not start a test again, it would not have come this far. */
static void slept(struct __test_metadata *_metadata)
{
	EXPECT_EQ(1, lu_log_lines("hibernation exit", LOG_DEBUG));
}

HIBERNATE(without_live_update)
{
	int fd = lu_memfd("m", SIZE, 1);

	EXPECT_EQ(-ENOENT, lu_open_dev());
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, make_swap());
	ASSERT_EQ(0, hibernate());
	slept(_metadata);
	EXPECT_EQ(0, lu_check(fd, 0, SIZE, 1));
}

/* A file that came over and one that is going to, asleep and over the next update. */
HIBERNATE(sessions_survive)
{
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	int dev = lu_open_dev(), fd, session, waiting;

	ASSERT_LE(0, dev);
	if (self->stage == 1) {
		session = lu_create(dev, "waiting");
		ASSERT_EQ(0, lu_preserve(session, lu_memfd("m", SIZE, 1), 1));
		LU_KEXEC(2);
	}
	if (self->stage == 2) {
		/* Held by nobody, and its pages by no allocator. */
		ASSERT_EQ(0, make_swap());
		session = lu_create(dev, "held");
		fd = lu_memfd("m", SIZE, 2);
		ASSERT_EQ(0, lu_preserve(session, fd, 2));
		/* 9p does not wake up: what is needed of /host is loaded before. */
		ASSERT_EQ(0, lu_load(3, NULL));
		ASSERT_EQ(0, hibernate());
		slept(_metadata);
		ASSERT_EQ(0, lu_get_name(session, name));
		EXPECT_STREQ("held", name);
		EXPECT_EQ(-EEXIST, lu_preserve(session, fd, 2));
		EXPECT_EQ(0, lu_check(fd, 0, SIZE, 2));
		waiting = lu_retrieve(dev, "waiting");
		ASSERT_LE(0, waiting);
		fd = lu_retrieve_fd(waiting, 1);
		ASSERT_LE(0, fd);
		EXPECT_EQ(0, lu_check(fd, 0, SIZE, 1));
		ASSERT_EQ(0, lu_finish(waiting));
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		ASSERT_EQ(0, swapoff(DISK));
		LU_JUMP();
	}
	session = lu_retrieve(dev, "held");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	EXPECT_EQ(0, lu_check(fd, 0, SIZE, 1));
	fd = lu_retrieve_fd(session, 2);
	EXPECT_EQ(0, lu_check(fd, 0, SIZE, 2));
	EXPECT_EQ(0, lu_finish(session));
}

static int signature(bool write, char *text)
{
	const off_t at = LU_PAGE - strlen(SIGNATURE);
	int fd = open(DISK, (write ? O_RDWR : O_RDONLY) | O_SYNC | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write ? pwrite(fd, text, strlen(SIGNATURE), at) :
		    pread(fd, text, strlen(SIGNATURE), at);
	close(fd);
	return n == (ssize_t)strlen(SIGNATURE) ? 0 : -EIO;
}

/* To resume as uswsusp does: a negative errno, or 0. */
static int open_to_restore(void)
{
	int fd = open("/dev/snapshot", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/*
 * An image that was left on the disk is older than what is handed over: to resume
 * it would end the live update with the machine of some other day.
 */
HIBERNATE(old_image_is_left_alone)
{
	static const char refusal[] = "not resuming: state of a live update";
	char text[sizeof(SIGNATURE)] = HIBERNATED;
	int dev = lu_open_dev(), session, fd;

	ASSERT_LE(0, dev);
	if (self->stage == 1) {
		session = lu_create(dev, "kept");
		ASSERT_EQ(0, lu_preserve(session, lu_memfd("m", SIZE, 1), 1));
		ASSERT_EQ(0, make_swap());
		ASSERT_EQ(0, swapoff(DISK));
		ASSERT_EQ(0, signature(true, text));
		EXPECT_EQ(0, open_to_restore());
		LU_KEXEC(2);
	}
	EXPECT_EQ(1, lu_log_lines(refusal, LOG_DEBUG));
	/* Nor by a program in the initramfs. */
	EXPECT_EQ(0, lu_write_file("/sys/power/resume", "254:0"));
	EXPECT_EQ(2, lu_log_lines(refusal, LOG_DEBUG));
	EXPECT_EQ(-EPERM, open_to_restore());
	EXPECT_EQ(3, lu_log_lines(refusal, LOG_DEBUG));
	memset(text, 0, sizeof(text));
	ASSERT_EQ(0, signature(false, text));
	EXPECT_STREQ(HIBERNATED, text);
	session = lu_retrieve(dev, "kept");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	EXPECT_EQ(0, lu_check(fd, 0, SIZE, 1));
	EXPECT_EQ(0, lu_finish(session));
}
