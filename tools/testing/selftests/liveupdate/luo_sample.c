// SPDX-License-Identifier: GPL-2.0
/*
 * samples/liveupdate: what authors of handlers copy has to be right.
 */
#include <errno.h>
#include <stdio.h>

#include "lu_harness.h"
#include "lu_monitor.h"

FIXTURE(sample)
{
	int dev;
	int stage;
};

FIXTURE_SETUP(sample)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->dev = lu_open_dev();
}

FIXTURE_TEARDOWN(sample)
{
	close(self->dev);
}

#define SAMPLE(name)	TEST_F_TIMEOUT(sample, name, LU_TIMEOUT)

#define load_sample()	lu_load_module("samples/liveupdate/liveupdate_notes", "")

#define FILE_MAX	"/proc/sys/fs/file-max"

/* By somebody for whom the limit of open files counts. */
static int retrieve_as_nobody(int session, uint64_t token)
{
	int status, err;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		err = setresuid(65534, 65534, 65534) ? -errno : lu_retrieve_fd(session, token);
		_exit(err < 0 ? -err : 0);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? -WEXITSTATUS(status) : -1;
}

/* Too many open files are no reason to lose one. */
static void too_many_open_files(struct __test_metadata *_metadata, int session)
{
	char limit[32] = "";
	int fd = open(FILE_MAX, O_RDONLY | O_CLOEXEC);

	ASSERT_LT(0, read(fd, limit, sizeof(limit) - 1));
	close(fd);
	limit[strcspn(limit, "\n")] = 0;
	ASSERT_EQ(0, lu_write_file(FILE_MAX, "0"));
	EXPECT_EQ(-EAGAIN, retrieve_as_nobody(session, 1));
	ASSERT_EQ(0, lu_write_file(FILE_MAX, limit));
}

/* The sample: its module is loaded only after the update. */
SAMPLE(notes)
{
	struct lu_stall stall;
	char text[32] = "";
	int session, fd;

	if (self->stage == 1) {
		ASSERT_EQ(0, load_sample());
		session = lu_create(self->dev, "notes");
		fd = open("/dev/liveupdate_notes", O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(5, pwrite(fd, "first", 5, 0));
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		ASSERT_EQ(4, pwrite(fd, "last", 4, 20000));
		EXPECT_GT(0, pwrite(fd, "beyond", 6, 32765));
		EXPECT_EQ(ENOSPC, errno);
		fd = open("/dev/liveupdate_notes", O_RDONLY | O_CLOEXEC);
		EXPECT_EQ(-ENOENT, lu_preserve(session, fd, 2));
		fd = open("/dev/liveupdate_notes", O_RDWR | O_CLOEXEC);
		ASSERT_EQ(0, lu_preserve(session, fd, 2));
		/* The reboot does not wait for who keeps a write from ending. */
		ASSERT_EQ(0, lu_stall_write(&stall, fd));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "notes");
	ASSERT_LE(0, session);
	EXPECT_EQ(-EOPNOTSUPP, lu_retrieve_fd(session, 1));
	ASSERT_EQ(0, load_sample());
	too_many_open_files(_metadata, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(5, pread(fd, text, 5, 0));
	EXPECT_STREQ("first", text);
	memset(text, 0, sizeof(text));
	EXPECT_EQ(4, pread(fd, text, sizeof(text), 20000));
	EXPECT_STREQ("last", text);
	EXPECT_EQ(-EAGAIN, lu_unload_module("liveupdate_notes"));
	/* Token 2 nobody asked for: its pages are freed. */
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_EQ(5, pwrite(fd, "again", 5, 0));
	close(fd);
	EXPECT_TRUE(lu_await_unload("liveupdate_notes"));
}

/* Retrieved in every kernel and never finished: it takes no more pages each time. */
SAMPLE(notes_that_ride)
{
	char more[32], text[8] = "";
	int session, fd;
	long pages;

	ASSERT_EQ(0, load_sample());
	if (self->stage == 1) {
		session = lu_create(self->dev, "notes");
		fd = open("/dev/liveupdate_notes", O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(5, pwrite(fd, "first", 5, 0));
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "notes");
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(5, pread(fd, text, 5, 0));
	EXPECT_STREQ("first", text);
	pages = lu_preserved_pages();
	ASSERT_LT(0, pages);
	snprintf(more, sizeof(more), "lu.pages=%ld", pages);
	if (self->stage == 2)
		LU_KEXEC_WITH(3, more);
	EXPECT_EQ(lu_param_u64("lu.pages"), pages);
	EXPECT_EQ(0, lu_finish(session));
}

/* Where there is no live update, the driver does the rest of what it does. */
SAMPLE(without_live_update)
{
	char text[8] = "";
	int fd;

	EXPECT_EQ(-ENOENT, self->dev);
	ASSERT_EQ(0, load_sample());
	fd = open("/dev/liveupdate_notes", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(5, pwrite(fd, "first", 5, 0));
	EXPECT_EQ(5, pread(fd, text, 5, 0));
	EXPECT_STREQ("first", text);
	close(fd);
	EXPECT_TRUE(lu_await_unload("liveupdate_notes"));
}
