// SPDX-License-Identifier: GPL-2.0
/*
 * Sessions in the hands of somebody without rights, whose memory, descriptors
 * and files are limited: what he can do, what he pays for, and that nothing is
 * lost when a limit is reached.
 */
#include <grp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lu_harness.h"
#include "lu_fault.h"

#define UID		1000
#define SMALL		(3 * LU_PAGE)
#define BIG		(8 * LU_MIB)
#define CGROUP		"/sys/fs/cgroup/"
#define FILE_MAX	"/proc/sys/fs/file-max"

FIXTURE(tenant)
{
	int dev;
	int pair[2];	/* for the one who is not privileged, and to him */
	char *before;
	char *after;
};

static int add_memfd(int session, size_t size, uint64_t token)
{
	int fd = lu_memfd("tenant", size, token), err;

	if (fd < 0)
		return fd;
	err = lu_preserve(session, fd, token);
	close(fd);
	return err;
}

static void hand_over(struct __test_metadata *_metadata, FIXTURE_DATA(tenant) * self)
{
	static const char * const names[] = { "granted", "limited", "charged" };
	int session;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		session = lu_create(self->dev, names[i]);
		ASSERT_LE(0, session);
		ASSERT_EQ(0, add_memfd(session, SMALL, 0));
		ASSERT_EQ(0, add_memfd(session, SMALL, 1));
		ASSERT_EQ(0, add_memfd(session, BIG, 2));
	}
	LU_KEXEC(2);
}

FIXTURE_SETUP(tenant)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	if (lu_stage() == 1)
		hand_over(_metadata, self);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, self->pair));
	self->before = malloc(LU_PICTURE);
	self->after = malloc(LU_PICTURE);
	ASSERT_NE(NULL, self->before);
	ASSERT_NE(NULL, self->after);
}

FIXTURE_TEARDOWN(tenant)
{
	free(self->before);
	free(self->after);
	close(self->pair[0]);
	close(self->pair[1]);
	close(self->dev);
}

#define TENANT(name)	TEST_F_TIMEOUT(tenant, name, LU_TIMEOUT)

static int ask(int socket, int what)
{
	int answer = -EPIPE;

	if (write(socket, &what, sizeof(what)) != sizeof(what) ||
	    read(socket, &answer, sizeof(answer)) != sizeof(answer))
		return -EPIPE;
	return answer;
}

enum errand {
	OPEN_DEVICE, TAKE_SESSION, GET_NAME, CREATE, RETRIEVE, RETRIEVE_OTHER, CHECK,
	OWN, PRESERVE, ITSELF, FINISH, PRESERVE_OWN, PRESERVE_AGAIN, LINES,
};

/* Does as it is told with the session that it was given, as anybody can. */
static void tenant(int socket, int dev)
{
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	int session = -1, fd = -1, own, what, ret;
	struct stat st;

	close(dev);
	if (setgroups(0, NULL) || setgid(UID) || setuid(UID))
		_exit(1);
	own = lu_memfd("own", SMALL, 9);
	while (read(socket, &what, sizeof(what)) == sizeof(what)) {
		ret = -EINVAL;
		switch (what) {
		case OPEN_DEVICE:
			ret = lu_open_dev();
			break;
		case TAKE_SESSION:
			session = lu_recv_fd(socket);
			ret = session < 0 ? session : 0;
			break;
		case GET_NAME:
			ret = lu_get_name(session, name) ?: strcmp(name, "granted");
			break;
		case CREATE:
			ret = lu_create(session, "device");
			break;
		case RETRIEVE:
			fd = lu_retrieve_fd(session, 0);
			ret = fd;
			break;
		case RETRIEVE_OTHER:
			ret = lu_retrieve_fd(session, 7);
			break;
		case CHECK:
			ret = lu_check(fd, 0, SMALL, 0) ?: lu_fill(fd, 0, LU_PAGE, 5);
			break;
		case OWN:
			ret = fstat(fd, &st) ? -errno : st.st_uid;
			break;
		case PRESERVE:
		case PRESERVE_OWN:
			ret = lu_preserve(session, own, 3);
			break;
		case ITSELF:
			ret = lu_preserve(session, session, 4);
			break;
		case FINISH:
			ret = lu_finish(session);
			break;
		case PRESERVE_AGAIN:
			ret = lu_preserve(session, fd, 5);
			break;
		case LINES:
			ret = open(LU_LINES, O_RDONLY) < 0 ? -errno : 0;
			break;
		}
		if (write(socket, &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
	_exit(0);
}

/* Each request, from a process that could not even open the device. */
TENANT(granted)
{
	int session, status, socket = self->pair[0];
	char limit[32], *end;
	pid_t pid;
	int fd;

	fd = open(FILE_MAX, O_RDONLY | O_CLOEXEC);
	ASSERT_LT(0, read(fd, limit, sizeof(limit) - 1));
	close(fd);
	strtoull(limit, &end, 10);
	*end = 0;

	fflush(stdout);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(socket);
		tenant(self->pair[1], self->dev);
	}
	session = lu_retrieve(self->dev, "granted");
	ASSERT_LE(0, session);
	EXPECT_EQ(-EACCES, ask(socket, OPEN_DEVICE));
	EXPECT_EQ(-EACCES, ask(socket, LINES));

	status = TAKE_SESSION;
	ASSERT_EQ(sizeof(status), write(socket, &status, sizeof(status)));
	ASSERT_EQ(0, lu_send_fd(socket, session));
	ASSERT_EQ(sizeof(status), read(socket, &status, sizeof(status)));
	ASSERT_EQ(0, status);
	close(session);

	/* Incoming: retrieve, which makes the file his; nothing else. */
	EXPECT_EQ(0, ask(socket, GET_NAME));
	EXPECT_EQ(-ENOTTY, ask(socket, CREATE));
	EXPECT_EQ(-ENOENT, ask(socket, RETRIEVE_OTHER));
	EXPECT_EQ(-EINVAL, ask(socket, PRESERVE));
	lu_picture(self->before);
	ASSERT_EQ(0, lu_write_file(FILE_MAX, "0"));
	EXPECT_EQ(-EAGAIN, ask(socket, RETRIEVE));
	ASSERT_EQ(0, lu_write_file(FILE_MAX, limit));
	lu_picture(self->after);
	EXPECT_STREQ(self->before, self->after);
	EXPECT_LE(0, ask(socket, RETRIEVE));
	EXPECT_EQ(0, ask(socket, CHECK));
	EXPECT_EQ(UID, ask(socket, OWN));
	EXPECT_EQ(0, ask(socket, FINISH));

	/* Empty, then outgoing: his own files, and no session. */
	EXPECT_EQ(-ENOENT, ask(socket, ITSELF));
	EXPECT_EQ(0, ask(socket, PRESERVE_OWN));
	EXPECT_EQ(-EEXIST, ask(socket, PRESERVE_OWN));
	EXPECT_EQ(0, ask(socket, PRESERVE_AGAIN));
	EXPECT_EQ(-ENOENT, ask(socket, ITSELF));
	EXPECT_EQ(-EINVAL, ask(socket, RETRIEVE));
	EXPECT_EQ(-EINVAL, ask(socket, FINISH));
	EXPECT_EQ(0, ask(socket, GET_NAME));
	EXPECT_EQ(2, lu_sysfs_number("outgoing/files"));

	/* All of it goes with him. */
	shutdown(socket, SHUT_RDWR);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, lu_sysfs_number("outgoing/sessions"));
	EXPECT_EQ(0, lu_sysfs_number("outgoing/files"));
}

static uint64_t id_of(int dev, const char *name)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };

	while (!lu_next(dev, &s))
		if (!strcmp((char *)s.name, name))
			return s.id;
	return 0;
}

/* No descriptor is left: nothing changes, and with one it works. */
TENANT(limited)
{
	uint64_t id = id_of(self->dev, "limited");
	struct rlimit old, none = {};
	int session, other, fd;

	ASSERT_NE(0, id);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none.rlim_max = old.rlim_max;
	lu_picture(self->before);

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, lu_create(self->dev, "new"));
	EXPECT_EQ(-EMFILE, lu_retrieve(self->dev, "limited"));
	EXPECT_EQ(-EMFILE, lu_retrieve_id(self->dev, id));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	lu_picture(self->after);
	EXPECT_STREQ(self->before, self->after);

	session = lu_retrieve_id(self->dev, id);
	ASSERT_LE(0, session);
	lu_picture(self->before);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, lu_retrieve_fd(session, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	lu_picture(self->after);
	EXPECT_STREQ(self->before, self->after);
	fd = lu_retrieve_fd(session, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, SMALL, 0));

	/* Sessions do not go into sessions. */
	other = lu_create(self->dev, "other");
	ASSERT_LE(0, other);
	EXPECT_EQ(-ENOENT, lu_preserve(other, session, 1));
	EXPECT_EQ(-ENOENT, lu_preserve(other, other, 1));
	EXPECT_EQ(-EINVAL, lu_preserve(session, other, 1));
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_EQ(-ENOENT, lu_preserve(session, other, 1));
	close(session);
	close(other);
	close(fd);
}

static long charged(const char *group)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), CGROUP "%s/memory.current", group);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	close(fd);
	return atol(text);
}

static int make_group(const char *group, const char *max)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUP "%s", group);
	if (mkdir(path, 0755))
		return -errno;
	snprintf(path, sizeof(path), CGROUP "%s/memory.max", group);
	return lu_write_file(path, max);
}

/* Retrieve token 2 as a member of a group; what the group pays for it. */
static long retrieve_in(const char *group, int session, int *ret)
{
	char path[128];
	int pipes[2];
	long bytes[2] = { -1, -1 };
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		snprintf(path, sizeof(path), CGROUP "%s/cgroup.procs", group);
		if (lu_write_file(path, "0"))
			_exit(1);
		bytes[0] = charged(group);
		bytes[1] = lu_retrieve_fd(session, 2);
		bytes[0] = charged(group) - bytes[0];
		_exit(write(pipes[1], bytes, sizeof(bytes)) != sizeof(bytes));
	}
	close(pipes[1]);
	if (read(pipes[0], bytes, sizeof(bytes)) != sizeof(bytes))
		bytes[1] = -EPIPE;
	close(pipes[0]);
	waitpid(pid, NULL, 0);
	*ret = bytes[1];
	return bytes[0];
}

/* Whoever retrieves a file pays for it. */
TENANT(charged)
{
	int session = lu_retrieve(self->dev, "charged"), ret, fd;
	long bytes;

	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_write_file(CGROUP "cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, make_group("poor", "2M"));
	ASSERT_EQ(0, make_group("rich", "max"));

	bytes = retrieve_in("poor", session, &ret);
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_GT((long)BIG / 4, bytes);
	bytes = retrieve_in("rich", session, &ret);
	EXPECT_LE(0, ret);
	EXPECT_LE((long)BIG, bytes);
	EXPECT_GT((long)BIG * 5 / 4, bytes);

	fd = lu_retrieve_fd(session, 2);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, BIG, 2));
	/* Each page knows who, and it ends with the file. */
	EXPECT_EQ((long)BIG, lu_number_in(CGROUP "rich/memory.stat", "shmem"));
	EXPECT_EQ(0, lu_finish(session));
	ASSERT_EQ(0, close(fd));
	EXPECT_EQ(0, lu_number_in(CGROUP "rich/memory.stat", "shmem"));
	EXPECT_GT((long)BIG / 4, charged("rich"));
}

/* What a group pays when a member preserves @n files without a page of their own. */
static long preserve_in(const char *group, int session, int n)
{
	char path[128];
	int pipes[2];
	long bytes = -1;
	pid_t pid;

	if (pipe(pipes))
		return -errno;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		snprintf(path, sizeof(path), CGROUP "%s/cgroup.procs", group);
		if (lu_write_file(path, "0"))
			_exit(1);
		bytes = charged(group);
		while (n--)
			if (add_memfd(session, 0, n))
				_exit(2);
		bytes = charged(group) - bytes;
		_exit(write(pipes[1], &bytes, sizeof(bytes)) != sizeof(bytes));
	}
	close(pipes[1]);
	if (read(pipes[0], &bytes, sizeof(bytes)) != sizeof(bytes))
		bytes = -EPIPE;
	close(pipes[0]);
	waitpid(pid, NULL, 0);
	return bytes;
}

/* So does whoever preserves, for the pages that the kernel needs for it. */
TENANT(charged_for_preserving)
{
	const int files = 1000;
	int session = lu_create(self->dev, "paid");

	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_write_file(CGROUP "cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, make_group("payer", "max"));
	/* The description of each has a page. */
	EXPECT_LE(files * (long)LU_PAGE, preserve_in("payer", session, files));
	close(session);
}
