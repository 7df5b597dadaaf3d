// SPDX-License-Identifier: GPL-2.0
/*
 * The requests of /dev/liveupdate and their errors, as far as they show
 * without a reboot. What a session from the previous kernel answers is tested
 * by luo_incoming.c, what memfds have of their own by luo_memfd.c.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lu_harness.h"

#define NAME_LEN	LIVEUPDATE_SESSION_NAME_LENGTH
#define NOBODY		65534

/* Every request with its structure. */
static const struct request {
	char name[32];
	unsigned long nr;
	unsigned int size;
	bool on_session;
} requests[] = {
#define REQUEST(nr, type, on_session) \
	{ #nr, LIVEUPDATE_##nr, sizeof(struct type), on_session }
	REQUEST(IOCTL_CREATE_SESSION, liveupdate_ioctl_create_session, false),
	REQUEST(IOCTL_RETRIEVE_SESSION, liveupdate_ioctl_retrieve_session, false),
	REQUEST(SESSION_PRESERVE_FD, liveupdate_session_preserve_fd, true),
	REQUEST(SESSION_RETRIEVE_FD, liveupdate_session_retrieve_fd, true),
	REQUEST(SESSION_FINISH, liveupdate_session_finish, true),
	REQUEST(SESSION_GET_NAME, liveupdate_session_get_name, true),
	REQUEST(IOCTL_NEXT_SESSION, liveupdate_ioctl_next_session, false),
	REQUEST(IOCTL_RETRIEVE_SESSION_ID, liveupdate_ioctl_retrieve_session_id, false),
	REQUEST(IOCTL_DISCARD_SESSION, liveupdate_ioctl_discard_session, false),
};

FIXTURE(luo)
{
	int dev;
	int session;
	int memfd;
	int fds;
	char *page;	/* followed by one that cannot be accessed */
};

FIXTURE_SETUP(luo)
{
	if (!lu_may_have_device())
		SKIP(return, "no " LU_DEVICE);
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	self->session = lu_create(self->dev, "fixture");
	ASSERT_LE(0, self->session);
	self->memfd = lu_memfd("fixture", LU_PAGE, 1);
	ASSERT_LE(0, self->memfd);
	self->page = mmap(NULL, 3 * LU_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->page);
	ASSERT_EQ(0, mprotect(self->page + 2 * LU_PAGE, LU_PAGE, PROT_NONE));
	self->fds = lu_count_fds();
}

FIXTURE_TEARDOWN(luo)
{
	munmap(self->page, 3 * LU_PAGE);
	close(self->memfd);
	close(self->session);
	close(self->dev);
}

static int request(int fd, unsigned long nr, void *arg)
{
	return ioctl(fd, nr, arg) ? -errno : 0;
}

/*
 * Lay out an argument of @r that would succeed, or fail for no other reason
 * than the session being an outgoing one.
 */
static void fill_request(const struct request *r, int memfd, void *arg)
{
	memset(arg, 0, r->size);
	*(__u32 *)arg = r->size;
	/* No session has an id as high as that name. */
	if (r->on_session)
		((__s32 *)arg)[1] = r->nr == LIVEUPDATE_SESSION_PRESERVE_FD ? memfd : 0;
	else
		sprintf(arg + 8, "size");
}

/* What @r answers to a correct argument here, where nothing is incoming. */
static int answer(const struct request *r)
{
	switch (r->nr) {
	case LIVEUPDATE_IOCTL_RETRIEVE_SESSION:
	case LIVEUPDATE_IOCTL_NEXT_SESSION:
	case LIVEUPDATE_IOCTL_RETRIEVE_SESSION_ID:
	case LIVEUPDATE_IOCTL_DISCARD_SESSION:
		return -ENOENT;
	case LIVEUPDATE_SESSION_RETRIEVE_FD:
	case LIVEUPDATE_SESSION_FINISH:
		return -EINVAL;
	default:
		return 0;
	}
}

/* Send @r with its last byte at the end of the page; undo what it did. */
static int send_request(FIXTURE_DATA(luo) * self, const struct request *r,
			unsigned int size, int tail)
{
	char *arg = self->page + 2 * LU_PAGE - (size > r->size ? size : r->size);
	int session = lu_create(self->dev, "request"), ret;

	if (session < 0)
		return session;
	fill_request(r, self->memfd, arg);
	if (size > r->size)
		memset(arg + r->size, 0, size - r->size);
	if (tail)
		arg[size - 1] = tail;
	*(__u32 *)arg = size;
	ret = request(r->on_session ? session : self->dev, r->nr, arg);
	if (!ret && r->nr == LIVEUPDATE_IOCTL_CREATE_SESSION)
		close(((__s32 *)arg)[1]);
	close(session);
	return ret;
}

TEST_F(luo, device_node)
{
	struct stat st;

	ASSERT_EQ(0, stat(LU_DEVICE, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0600, st.st_mode & 07777);
}

TEST_F(luo, device_is_opened_once)
{
	int status;
	pid_t pid;

	EXPECT_EQ(-EBUSY, lu_open_dev());
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(lu_open_dev() == -EBUSY ? 0 : 1);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-EBUSY, lu_open_dev());

	close(self->dev);
	self->dev = lu_open_dev();
	EXPECT_LE(0, self->dev);
}

TEST_F(luo, device_is_for_root)
{
	int status;
	pid_t pid;

	close(self->dev);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setuid(NOBODY))
			_exit(2);
		_exit(lu_open_dev() == -EACCES ? 0 : 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(luo, closing_the_device_keeps_sessions)
{
	char name[NAME_LEN];

	close(self->dev);
	EXPECT_EQ(0, lu_get_name(self->session, name));
	EXPECT_EQ(0, lu_preserve(self->session, self->memfd, 1));
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	EXPECT_EQ(-EEXIST, lu_create(self->dev, "fixture"));
}

TEST_F(luo, size_too_small)
{
	const struct request *r;

	for (r = requests; r < requests + ARRAY_SIZE(requests); r++) {
		EXPECT_EQ(-EINVAL, send_request(self, r, 0, 0))
			TH_LOG("%s", r->name);
		EXPECT_EQ(-EINVAL, send_request(self, r, 4, 0))
			TH_LOG("%s", r->name);
		EXPECT_EQ(-EINVAL, send_request(self, r, r->size - 1, 0))
			TH_LOG("%s", r->name);
	}
	EXPECT_EQ(self->fds, lu_count_fds());
}

TEST_F(luo, size_exact)
{
	const struct request *r;

	for (r = requests; r < requests + ARRAY_SIZE(requests); r++)
		EXPECT_EQ(answer(r), send_request(self, r, r->size, 0))
			TH_LOG("%s", r->name);
	EXPECT_EQ(self->fds, lu_count_fds());
}

TEST_F(luo, size_larger_with_zeroes)
{
	const struct request *r;

	for (r = requests; r < requests + ARRAY_SIZE(requests); r++) {
		EXPECT_EQ(answer(r), send_request(self, r, r->size + 1, 0))
			TH_LOG("%s", r->name);
		EXPECT_EQ(answer(r), send_request(self, r, r->size + 64, 0))
			TH_LOG("%s", r->name);
		EXPECT_EQ(answer(r), send_request(self, r, LU_PAGE, 0))
			TH_LOG("%s", r->name);
	}
	EXPECT_EQ(self->fds, lu_count_fds());
}

TEST_F(luo, size_larger_with_data)
{
	const struct request *r;

	for (r = requests; r < requests + ARRAY_SIZE(requests); r++) {
		EXPECT_EQ(-E2BIG, send_request(self, r, r->size + 1, 1))
			TH_LOG("%s", r->name);
		EXPECT_EQ(-E2BIG, send_request(self, r, r->size + 64, 0x80))
			TH_LOG("%s", r->name);
	}
	/* Nothing was done. */
	EXPECT_EQ(self->fds, lu_count_fds());
	EXPECT_EQ(0, lu_preserve(self->session, self->memfd, 0));
}

TEST_F(luo, unknown_requests)
{
	static const unsigned int device[] = { 0x02, 0x1f, 0x3f, 0x40, 0x43, 0xff };
	static const unsigned int session[] = { 0x00, 0x01, 0x3f, 0x44, 0x5f, 0xff };
	struct liveupdate_ioctl_create_session arg = { .size = sizeof(arg), .name = "x" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(device); i++)
		EXPECT_EQ(-ENOTTY, request(self->dev, _IO(0xBA, device[i]), &arg))
			TH_LOG("device, request %#x", device[i]);
	for (i = 0; i < ARRAY_SIZE(session); i++)
		EXPECT_EQ(-ENOTTY, request(self->session, _IO(0xBA, session[i]), &arg))
			TH_LOG("session, request %#x", session[i]);

	/* The right number is not the right request. */
	EXPECT_EQ(-ENOTTY, request(self->dev, _IO(0xBB, 0), &arg));
	EXPECT_EQ(-ENOTTY, request(self->dev, _IOWR(0xBA, 0, arg), &arg));
	EXPECT_EQ(-ENOTTY, request(self->session, _IO(0xBB, 0x43), &arg));
	EXPECT_EQ(-ENOTTY, request(self->dev, _IO(0xBA, 0x1f), NULL));
	EXPECT_EQ(self->fds, lu_count_fds());
}

/* epoll and timerfd have an EINVAL of their own for what they do not know. */
TEST_F(luo, other_files_know_no_requests)
{
	sigset_t none = {};
	int fds[] = {
		eventfd(0, EFD_CLOEXEC),
		signalfd(-1, &none, SFD_CLOEXEC),
		self->memfd,
	};
	char name[NAME_LEN];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		ASSERT_LE(0, fds[i]);
		EXPECT_EQ(-ENOTTY, lu_get_name(fds[i], name));
		EXPECT_EQ(-ENOTTY, lu_preserve(fds[i], self->memfd, 1));
		EXPECT_EQ(-ENOTTY, lu_finish(fds[i]));
	}
}

TEST_F(luo, bad_pointers)
{
	char *none = self->page + 2 * LU_PAGE;
	const struct request *r;
	int fd;

	for (r = requests; r < requests + ARRAY_SIZE(requests); r++) {
		fd = r->on_session ? self->session : self->dev;
		EXPECT_EQ(-EFAULT, request(fd, r->nr, NULL))
			TH_LOG("%s", r->name);
		EXPECT_EQ(-EFAULT, request(fd, r->nr, none))
			TH_LOG("%s", r->name);
		/* The size can be read, the rest cannot. */
		*(__u32 *)(none - 4) = r->size;
		EXPECT_EQ(-EFAULT, request(fd, r->nr, none - 4))
			TH_LOG("%s", r->name);
	}
	EXPECT_EQ(self->fds, lu_count_fds());
	EXPECT_EQ(0, lu_preserve(self->session, self->memfd, 0));
}

TEST_F(luo, result_that_cannot_be_written)
{
	void *arg = self->page;
	int session;

	fill_request(&requests[0], -1, arg);
	ASSERT_EQ(0, mprotect(arg, LU_PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, request(self->dev, LIVEUPDATE_IOCTL_CREATE_SESSION, arg));
	EXPECT_EQ(self->fds, lu_count_fds());
	/* The name was given back. */
	session = lu_create(self->dev, "size");
	EXPECT_LE(0, session);
	close(session);

	ASSERT_EQ(0, mprotect(arg, LU_PAGE, PROT_READ | PROT_WRITE));
	fill_request(&requests[5], -1, arg);
	ASSERT_EQ(0, mprotect(arg, LU_PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, request(self->session, LIVEUPDATE_SESSION_GET_NAME, arg));
}

TEST_F(luo, no_descriptor_left)
{
	struct rlimit old, none = {};
	int session;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none.rlim_max = old.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, lu_create(self->dev, "none"));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_EQ(self->fds, lu_count_fds());
	session = lu_create(self->dev, "none");
	EXPECT_LE(0, session);
	close(session);
}

TEST_F(luo, preserve_writes_nothing_back)
{
	void *arg = self->page;

	fill_request(&requests[2], self->memfd, arg);
	ASSERT_EQ(0, mprotect(arg, LU_PAGE, PROT_READ));
	EXPECT_EQ(0, request(self->session, LIVEUPDATE_SESSION_PRESERVE_FD, arg));
	EXPECT_EQ(-EEXIST, lu_preserve(self->session, self->memfd, 0));
}

TEST_F(luo, reserved_has_to_be_zero)
{
	struct liveupdate_session_get_name get = { .size = sizeof(get), .reserved = 1 };
	struct liveupdate_session_finish fin = { .size = sizeof(fin), .reserved = 1 };

	EXPECT_EQ(-EINVAL, request(self->session, LIVEUPDATE_SESSION_GET_NAME, &get));
	EXPECT_EQ(-EINVAL, request(self->session, LIVEUPDATE_SESSION_FINISH, &fin));
}

TEST_F(luo, outgoing_session_refuses_incoming_requests)
{
	EXPECT_EQ(0, lu_preserve(self->session, self->memfd, 1));
	EXPECT_EQ(-EINVAL, lu_retrieve_fd(self->session, 1));
	EXPECT_EQ(-EINVAL, lu_retrieve_fd(self->session, 2));
	EXPECT_EQ(-EINVAL, lu_finish(self->session));
	/* FINISH has not dropped the file. */
	EXPECT_EQ(-EEXIST, lu_preserve(self->session, self->memfd, 1));
}

TEST_F(luo, retrieve_unknown_session)
{
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "nobody made this"));
	/* An outgoing name is no incoming one. */
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "fixture"));
	EXPECT_EQ(self->fds, lu_count_fds());
}

TEST_F(luo, preserve_bad_fd)
{
	int path = open("/proc/self/exe", O_PATH | O_CLOEXEC);

	ASSERT_LE(0, path);
	EXPECT_EQ(-EBADF, lu_preserve(self->session, -1, 1));
	EXPECT_EQ(-EBADF, lu_preserve(self->session, 1 << 20, 1));
	EXPECT_EQ(-EBADF, lu_preserve(self->session, path, 1));
	close(path);
	EXPECT_EQ(-EBADF, lu_preserve(self->session, path, 1));
}

TEST_F(luo, preserve_token_in_use)
{
	int other = lu_memfd("other", LU_PAGE, 2);
	int session = lu_create(self->dev, "session");

	ASSERT_LE(0, other);
	ASSERT_LE(0, session);
	EXPECT_EQ(0, lu_preserve(self->session, self->memfd, 7));
	EXPECT_EQ(-EEXIST, lu_preserve(self->session, other, 7));
	/* Tokens of another session are others. */
	EXPECT_EQ(0, lu_preserve(session, other, 7));
}

TEST_F(luo, preserve_file_without_handler)
{
	int pair[2], pipes[2];
	int fds[] = {
		eventfd(0, EFD_CLOEXEC),
		epoll_create1(EPOLL_CLOEXEC),
		open("/dev/null", O_RDWR | O_CLOEXEC),
		open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
		open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		self->dev,
		self->session,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		ASSERT_LE(0, fds[i]);
		EXPECT_EQ(-ENOENT, lu_preserve(self->session, fds[i], i))
			TH_LOG("file %zu", i);
	}
	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, pipes[0], 1));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, pair[0], 1));
}

TEST_F(luo, preserve_file_twice)
{
	int again = dup(self->memfd), session = lu_create(self->dev, "session");
	char path[64];
	int reopened;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->memfd);
	reopened = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, reopened);
	ASSERT_LE(0, again);
	ASSERT_LE(0, session);

	EXPECT_EQ(0, lu_preserve(self->session, self->memfd, 1));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, self->memfd, 2));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, again, 2));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, reopened, 2));
	EXPECT_EQ(-EBUSY, lu_preserve(session, self->memfd, 1));
	EXPECT_EQ(-EBUSY, lu_preserve(session, reopened, 1));

	/* Once its session is gone the file is free again. */
	close(self->session);
	EXPECT_EQ(0, lu_preserve(session, reopened, 1));
	self->session = session;
}

TEST_F(luo, failed_preserve_keeps_the_token_free)
{
	int event = eventfd(0, EFD_CLOEXEC), other = lu_memfd("other", LU_PAGE, 2);

	ASSERT_LE(0, event);
	ASSERT_LE(0, other);
	EXPECT_EQ(0, lu_preserve(self->session, self->memfd, 1));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, event, 5));
	EXPECT_EQ(-EBADF, lu_preserve(self->session, -1, 5));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, self->memfd, 5));
	EXPECT_EQ(0, lu_preserve(self->session, other, 5));
}

TEST_F(luo, any_token)
{
	static const uint64_t tokens[] = {
		0, 1, UINT32_MAX, 1ULL << 32, INT64_MAX, 1ULL << 63, UINT64_MAX,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tokens); i++) {
		int fd = lu_memfd("token", LU_PAGE, i);

		ASSERT_LE(0, fd);
		EXPECT_EQ(0, lu_preserve(self->session, fd, tokens[i]))
			TH_LOG("token %ju", (uintmax_t)tokens[i]);
		EXPECT_EQ(-EEXIST, lu_preserve(self->session, self->memfd, tokens[i]))
			TH_LOG("token %ju", (uintmax_t)tokens[i]);
		close(fd);
	}
}
