// SPDX-License-Identifier: GPL-2.0
/*
 * Outgoing sessions: names, descriptors, owners, and how they end.
 */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "lu_harness.h"

#define NAME_LEN	LIVEUPDATE_SESSION_NAME_LENGTH
#define NOBODY		65534

FIXTURE(session)
{
	int dev;
};

FIXTURE_SETUP(session)
{
	if (!lu_may_have_device())
		SKIP(return, "no " LU_DEVICE);
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
}

FIXTURE_TEARDOWN(session)
{
	close(self->dev);
}

/* With the name as it is, not as a string. */
static int create_raw(int dev, const void *name, size_t len)
{
	struct liveupdate_ioctl_create_session arg = { .size = sizeof(arg) };

	memcpy(arg.name, name, len);
	return ioctl(dev, LIVEUPDATE_IOCTL_CREATE_SESSION, &arg) ? -errno : arg.fd;
}

static int status_of(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

TEST_F(session, descriptor)
{
	int fd = lu_create(self->dev, "a name");
	char link[256];

	ASSERT_LE(0, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	ASSERT_EQ(0, lu_fd_link(fd, link, sizeof(link)));
	EXPECT_STREQ("anon_inode:[luo_session] a name", link);
}

TEST_F(session, bad_names)
{
	int fds = lu_count_fds();
	char name[NAME_LEN];

	memset(name, 'x', sizeof(name));
	EXPECT_EQ(-EINVAL, lu_create(self->dev, ""));
	EXPECT_EQ(-EINVAL, create_raw(self->dev, name, sizeof(name)));
	name[0] = 0;
	EXPECT_EQ(-EINVAL, create_raw(self->dev, name, sizeof(name)));
	EXPECT_EQ(fds, lu_count_fds());
}

TEST_F(session, longest_name)
{
	char name[NAME_LEN], got[NAME_LEN];
	int fd;

	memset(name, 'x', sizeof(name));
	name[NAME_LEN - 1] = 0;
	fd = lu_create(self->dev, name);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_get_name(fd, got));
	EXPECT_STREQ(name, got);
	EXPECT_EQ(-EEXIST, lu_create(self->dev, name));
	name[NAME_LEN - 2] = 0;
	EXPECT_LE(0, lu_create(self->dev, name));
}

TEST_F(session, name_ends_at_its_nul)
{
	char got[NAME_LEN];
	int fd = create_raw(self->dev, "one\0garbage", 12);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_get_name(fd, got));
	EXPECT_STREQ("one", got);
	EXPECT_EQ(-EEXIST, lu_create(self->dev, "one"));
	EXPECT_EQ(-EEXIST, create_raw(self->dev, "one\0other", 10));
}

static long open_files(void)
{
	FILE *f = fopen("/proc/sys/fs/file-nr", "re");
	long nr = -1;

	if (!f || fscanf(f, "%ld", &nr) != 1)
		nr = -1;
	if (f)
		fclose(f);
	return nr;
}

/* The kernel counts files for each CPU, and adds them up now and then. */
TEST_F(session, refused_names_leave_no_file)
{
	int i, fd = lu_create(self->dev, "one"), nr = 2000;
	long before = open_files();

	ASSERT_LE(0, fd);
	ASSERT_LE(0, before);
	for (i = 0; i < nr; i++)
		ASSERT_EQ(-EEXIST, lu_create(self->dev, "one"));
	EXPECT_GT(nr / 2, open_files() - before);
}

TEST_F(session, name_of_any_bytes)
{
	char name[NAME_LEN], got[NAME_LEN];
	int byte, i, fd;

	for (byte = 1; byte < 256; byte += NAME_LEN - 1) {
		memset(name, 0, sizeof(name));
		for (i = 0; i < NAME_LEN - 1 && byte + i < 256; i++)
			name[i] = byte + i;
		fd = lu_create(self->dev, name);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_get_name(fd, got));
		EXPECT_EQ(0, memcmp(name, got, sizeof(name)));
		EXPECT_EQ(-EEXIST, lu_create(self->dev, name));
		close(fd);
	}
}

TEST_F(session, name_is_free_after_close)
{
	int fd = lu_create(self->dev, "name"), i, again;

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EEXIST, lu_create(self->dev, "name"));
	again = dup(fd);
	ASSERT_LE(0, again);
	close(fd);
	EXPECT_EQ(-EEXIST, lu_create(self->dev, "name"));
	close(again);
	for (i = 0; i < 100; i++) {
		fd = lu_create(self->dev, "name");
		ASSERT_LE(0, fd);
		close(fd);
	}
}

/* Tries to get the name when @start ends, and says whether it did. */
static void runner(int dev, int start, int result)
{
	char byte;

	while (read(start, &byte, 1) > 0)
		;
	byte = lu_create(dev, "name") >= 0;
	if (write(result, &byte, 1) == 1)
		pause();
	_exit(1);
}

/* Of all who want a name at once, one gets it. */
TEST_F(session, race_for_a_name)
{
	enum { RUNNERS = 4, ROUNDS = 50 };
	int start[2], result[2], round, won, i;
	pid_t pids[RUNNERS];
	char byte;

	ASSERT_EQ(0, pipe2(result, O_CLOEXEC));
	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, pipe2(start, O_CLOEXEC));
		for (i = 0; i < RUNNERS; i++) {
			pids[i] = fork();
			ASSERT_LE(0, pids[i]);
			if (!pids[i]) {
				close(start[1]);
				runner(self->dev, start[0], result[1]);
			}
		}
		close(start[0]);
		close(start[1]);
		for (i = 0, won = 0; i < RUNNERS; i++) {
			ASSERT_EQ(1, read(result[0], &byte, 1));
			won += byte;
		}
		EXPECT_EQ(1, won);
		for (i = 0; i < RUNNERS; i++) {
			kill(pids[i], SIGKILL);
			ASSERT_EQ(pids[i], waitpid(pids[i], NULL, 0));
		}
	}
}

TEST_F(session, get_name_at_any_time)
{
	int fd = lu_create(self->dev, "name"), memfd = lu_memfd("m", LU_PAGE, 1);
	char got[NAME_LEN];

	ASSERT_LE(0, fd);
	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, lu_get_name(fd, got));
	EXPECT_STREQ("name", got);
	ASSERT_EQ(0, lu_preserve(fd, memfd, 1));
	ASSERT_EQ(0, lu_get_name(fd, got));
	EXPECT_STREQ("name", got);
}

/* Closing a session leaves its files as if it had never been. */
TEST_F(session, close_gives_files_back)
{
	int memfd = lu_memfd("m", 16 * LU_PAGE, 1), fd, i;

	ASSERT_LE(0, memfd);
	for (i = 0; i < 20; i++) {
		fd = lu_create(self->dev, "name");
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(fd, memfd, i));
		EXPECT_NE(0, ftruncate(memfd, 0));
		close(fd);
		ASSERT_EQ(0, lu_check(memfd, 0, 16 * LU_PAGE, 1));
	}
	EXPECT_EQ(0, ftruncate(memfd, 0));
	EXPECT_EQ(0, lu_fill(memfd, 0, 32 * LU_PAGE, 2));
	EXPECT_EQ(0, fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE));
}

/* A session holds the file, whatever its owner does with the descriptor. */
TEST_F(session, file_outlives_its_descriptor)
{
	const long size = 64 * LU_MIB, kib = size / LU_KIB;
	int fd = lu_create(self->dev, "name");
	long before = lu_free_kib();
	int memfd = lu_memfd("m", size, 1);

	ASSERT_LE(0, fd);
	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, lu_preserve(fd, memfd, 1));
	close(memfd);
	EXPECT_LT(lu_free_kib(), before - kib * 3 / 4);
	close(fd);
	EXPECT_TRUE(lu_await_free_kib(before - kib / 8));
}

TEST_F_TIMEOUT(session, no_leak, LU_TIMEOUT)
{
	int memfd = lu_memfd("m", 64 * LU_PAGE, 1), fd, i;
	long before = 0;

	ASSERT_LE(0, memfd);
	for (i = 0; i < 1002; i++) {
		/* The first ones fill caches. */
		if (i == 2)
			before = lu_free_kib();
		fd = lu_create(self->dev, "name");
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(fd, memfd, 1));
		close(fd);
	}
	/* A page for each session would make 4000 KiB. */
	EXPECT_TRUE(lu_await_free_kib(before - 1024));
}

TEST_F(session, killed_owner)
{
	int memfd = lu_memfd("m", LU_MIB, 1), pair[2], fd;
	char byte;
	pid_t pid;

	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		fd = lu_create(self->dev, "name");
		byte = fd >= 0 && !lu_preserve(fd, memfd, 1) ? 'y' : 'n';
		if (write(pair[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	ASSERT_EQ(1, read(pair[0], &byte, 1));
	EXPECT_EQ('y', byte);
	EXPECT_EQ(-EEXIST, lu_create(self->dev, "name"));
	EXPECT_NE(0, ftruncate(memfd, 0));

	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(SIGKILL, WTERMSIG(status_of(pid)));
	EXPECT_EQ(0, lu_check(memfd, 0, LU_MIB, 1));
	EXPECT_EQ(0, ftruncate(memfd, 0));
	EXPECT_LE(0, lu_create(self->dev, "name"));
}

/* The session goes with its last descriptor, in whatever process. */
TEST_F(session, owner_dies_and_another_holds_it)
{
	int pair[2], fd;
	char got[NAME_LEN];
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		fd = lu_create(self->dev, "name");
		_exit(fd < 0 || lu_send_fd(pair[1], fd) ? 1 : 0);
	}
	fd = lu_recv_fd(pair[0]);
	EXPECT_EQ(0, status_of(pid));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_get_name(fd, got));
	EXPECT_STREQ("name", got);
	EXPECT_EQ(-EEXIST, lu_create(self->dev, "name"));
	close(fd);
	EXPECT_LE(0, lu_create(self->dev, "name"));
}

/* What a process without rights does with the session it was handed. */
static int use_as_nobody(int socket)
{
	char got[NAME_LEN];
	int fd, memfd;

	if (setgid(NOBODY) || setuid(NOBODY))
		return 2;
	if (lu_open_dev() >= 0)
		return 3;
	fd = lu_recv_fd(socket);
	memfd = lu_memfd("unprivileged", LU_MIB, 3);
	if (fd < 0 || memfd < 0)
		return 4;
	if (lu_get_name(fd, got) || strcmp(got, "granted"))
		return 5;
	if (lu_preserve(fd, memfd, 1))
		return 6;
	return lu_preserve(fd, memfd, 2) == -EBUSY ? 0 : 7;
}

TEST_F(session, handed_to_a_process_without_rights)
{
	int fd = lu_create(self->dev, "granted"), pair[2];
	int memfd = lu_memfd("m", LU_PAGE, 1);
	pid_t pid;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(self->dev);
		close(fd);
		_exit(use_as_nobody(pair[1]));
	}
	ASSERT_EQ(0, lu_send_fd(pair[0], fd));
	EXPECT_EQ(0, WEXITSTATUS(status_of(pid)));
	/* Its file stays when it is gone. */
	EXPECT_EQ(-EEXIST, lu_preserve(fd, memfd, 1));
}

TEST_F(session, many)
{
	enum { SESSIONS = 200, FILES = 5 };
	int fd, memfd, i, k;
	char name[NAME_LEN];

	for (i = 0; i < SESSIONS; i++) {
		snprintf(name, sizeof(name), "session %d", i);
		fd = lu_create(self->dev, name);
		ASSERT_LE(0, fd);
		for (k = 0; k < FILES; k++) {
			memfd = lu_memfd(name, LU_PAGE, k);
			ASSERT_LE(0, memfd);
			ASSERT_EQ(0, lu_preserve(fd, memfd, k));
			close(memfd);
		}
	}
	EXPECT_EQ(-EEXIST, lu_create(self->dev, "session 0"));
	EXPECT_EQ(-EEXIST, lu_create(self->dev, name));
}
