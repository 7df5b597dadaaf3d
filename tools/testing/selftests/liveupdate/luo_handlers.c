// SPDX-License-Identifier: GPL-2.0
/*
 * What is asked of handlers and FLBs, when, how often and in which order, and
 * what their errors do. The handlers are those of lib/test_liveupdate.c, a
 * module, loaded when a test wants it.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lu_harness.h"
#include "lu_monitor.h"

#define DIR	"/sys/kernel/debug/liveupdate_test/"
#define LOG	16384

FIXTURE(handlers)
{
	int dev;
	int stage;
};

FIXTURE_SETUP(handlers)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->dev = lu_open_dev();
}

FIXTURE_TEARDOWN(handlers)
{
	close(self->dev);
}

#define HANDLERS(name)	TEST_F_TIMEOUT(handlers, name, LU_TIMEOUT)

#define load_test()	lu_load_module("lib/test_liveupdate", "")

static int ctl(const char *fmt, ...)
{
	char line[80];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	return lu_write_file(DIR "ctl", line);
}

/* Whether something is asked of a handler that says nothing about order. */
static bool is_question(const char *line)
{
	return !strncmp(line, "can_preserve", 12) || !strncmp(line, "get_id", 6);
}

/* What was asked since the last time, without questions, is exactly @want. */
static bool logged(const char *want)
{
	static char log[LOG], got[LOG];
	char *rest = log, *line;
	int fd = open(DIR "log", O_RDONLY | O_CLOEXEC);
	ssize_t n, len = 0;

	while ((n = read(fd, log + len, LOG - 1 - len)) > 0)
		len += n;
	close(fd);
	log[len] = 0;
	got[0] = 0;
	while ((line = strsep(&rest, "\n"))) {
		if (!*line || is_question(line))
			continue;
		strcat(got, line);
		strcat(got, "\n");
	}
	ctl("clear");
	if (!strcmp(got, want))
		return true;
	fprintf(stderr, "# expected:\n%s# found:\n%s", want, got);
	return false;
}

/* A file of handler @nr with the number @id. */
static int new_file(int nr, uint64_t id)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/liveupdate_test%d", nr);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, &id, sizeof(id)) == sizeof(id) ? fd : -EIO;
}

/* It is open in the session only. The token is the number. */
static int add_file(int session, int nr, uint64_t id)
{
	int fd = new_file(nr, id), err;

	if (fd < 0)
		return fd;
	err = lu_preserve(session, fd, id);
	close(fd);
	return err;
}

static int retrieve_one(int session, uint64_t id)
{
	int fd = lu_retrieve_fd(session, id);
	uint64_t got;

	if (fd < 0)
		return fd;
	if (read(fd, &got, sizeof(got)) != sizeof(got))
		return -EIO;
	return got == id ? fd : -EILSEQ;
}

#define FLBS_UP		"flb_preserve 0 0\nflb_preserve 1 0\nflb_preserve 2 0\n"
#define FLBS_DOWN	"flb_unpreserve 2 0\nflb_unpreserve 1 0\nflb_unpreserve 0 0\n"

static void preserve_and_undo(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "one"), other = lu_create(dev, "two"), fd;

	ASSERT_EQ(0, lu_write_file(LU_TRACING "trace", ""));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "1"));
	/* First with the first, last with the last, whatever the session. */
	ASSERT_EQ(0, add_file(session, 0, 1));
	EXPECT_TRUE(logged(FLBS_UP "preserve 0 1\n"));
	ASSERT_EQ(0, add_file(session, 1, 2));
	ASSERT_EQ(0, add_file(other, 0, 3));
	EXPECT_TRUE(logged("preserve 1 2\npreserve 0 3\n"));
	EXPECT_EQ(-EINVAL, lu_finish(session));
	close(session);
	EXPECT_TRUE(logged("unpreserve 1 2\nunpreserve 0 1\n"));
	close(other);
	EXPECT_TRUE(logged("unpreserve 0 3\n" FLBS_DOWN));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "0"));
	EXPECT_EQ(3, lu_count_events("flb_preserve: name=\"liveupdate-test-flb-[012]-v1\" err=0"));
	EXPECT_EQ(3, lu_count_events("flb_unpreserve: name=.* err=0"));

	/* A file of the other handler needs one FLB only. */
	session = lu_create(dev, "one");
	ASSERT_EQ(0, add_file(session, 1, 4));
	EXPECT_TRUE(logged("flb_preserve 0 0\npreserve 1 4\n"));
	ASSERT_EQ(0, add_file(session, 0, 5));
	EXPECT_TRUE(logged("flb_preserve 1 0\nflb_preserve 2 0\npreserve 0 5\n"));
	close(session);
	EXPECT_TRUE(logged("unpreserve 0 5\nflb_unpreserve 2 0\nflb_unpreserve 1 0\n"
			   "unpreserve 1 4\nflb_unpreserve 0 0\n"));

	/* Errors undo what came before, and the token is free again. */
	session = lu_create(dev, "one");
	ASSERT_EQ(0, ctl("fail flb_preserve 3 %d 1", ENOSPC));
	EXPECT_EQ(-ENOSPC, add_file(session, 0, 6));
	EXPECT_TRUE(logged("flb_preserve 0 0\nflb_preserve 1 0\nflb_preserve 2 0 28\n"
			   "flb_unpreserve 1 0\nflb_unpreserve 0 0\n"));
	ASSERT_EQ(0, ctl("fail preserve 1 %d 1", EIO));
	EXPECT_EQ(-EIO, add_file(session, 0, 6));
	EXPECT_TRUE(logged(FLBS_UP "preserve 0 6 5\n" FLBS_DOWN));
	fd = new_file(0, 6);
	ASSERT_EQ(0, ctl("fail can_preserve 1 1 1"));
	EXPECT_EQ(-ENOENT, lu_preserve(session, fd, 6));
	EXPECT_EQ(0, lu_preserve(session, fd, 6));
	EXPECT_EQ(-EBUSY, lu_preserve(session, fd, 7));
	EXPECT_TRUE(logged(FLBS_UP "preserve 0 6\n"));
	close(fd);
	close(session);
	EXPECT_TRUE(logged("unpreserve 0 6\n" FLBS_DOWN));
}

static void outgoing_object(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "one");

	EXPECT_EQ(-ENOENT, ctl("get_out 0"));
	EXPECT_EQ(-ENOENT, ctl("get_in 0"));
	ASSERT_EQ(0, add_file(session, 1, 1));
	EXPECT_EQ(0, ctl("set 0 7"));
	EXPECT_EQ(-ENOENT, ctl("get_out 1"));
	EXPECT_EQ(0, ctl("get_out 0"));
	close(session);
	/* Held: it lives on, out of reach, and a new file finds it. */
	EXPECT_TRUE(logged("flb_preserve 0 0\npreserve 1 1\nflb_get 0 7\nunpreserve 1 1\n"));
	EXPECT_EQ(-ENOENT, ctl("get_out 0"));
	EXPECT_EQ(0, lu_load(2, NULL));
	EXPECT_EQ(-EBUSY, lu_jump());
	session = lu_create(dev, "one");
	ASSERT_EQ(0, add_file(session, 1, 1));
	EXPECT_EQ(0, ctl("put_out 0"));
	EXPECT_TRUE(logged("preserve 1 1\n"));
	close(session);
	EXPECT_TRUE(logged("unpreserve 1 1\nflb_unpreserve 0 7\n"));
}

static void registering(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "one");

	EXPECT_EQ(-EEXIST, ctl("register 0"));
	EXPECT_EQ(-EEXIST, ctl("register_flb 0 0"));
	EXPECT_EQ(-ENOENT, ctl("unregister_flb 1 1"));
	ASSERT_EQ(0, add_file(session, 1, 1));
	EXPECT_EQ(-EBUSY, ctl("unregister 1"));
	EXPECT_EQ(-EBUSY, ctl("unregister_flb 1 0"));
	EXPECT_EQ(-EBUSY, ctl("register_flb 1 1"));
	EXPECT_EQ(-EAGAIN, lu_unload_module("test_liveupdate"));
	close(session);

	EXPECT_EQ(0, ctl("unregister_flb 1 0"));
	session = lu_create(dev, "one");
	ctl("clear");
	ASSERT_EQ(0, add_file(session, 1, 1));
	close(session);
	EXPECT_TRUE(logged("preserve 1 1\nunpreserve 1 1\n"));
	EXPECT_EQ(0, ctl("register_flb 1 0"));
	EXPECT_EQ(0, ctl("unregister 1"));
	EXPECT_EQ(-ENOENT, ctl("unregister 1"));
	EXPECT_EQ(-ENOENT, ctl("unregister_flb 1 0"));
	EXPECT_EQ(0, ctl("register_flb 1 0"));
	EXPECT_EQ(0, ctl("register 1"));
}

/* Three sessions with two files each; every one of them refuses once. */
static void failing_freeze(struct __test_metadata *_metadata, int dev)
{
	enum { SESSIONS = 3, FILES = 6 };
	int sessions[SESSIONS], i, k;
	char name[8];

	for (i = 0; i < FILES; i++) {
		if (i % 2 == 0) {
			snprintf(name, sizeof(name), "f%d", i);
			sessions[i / 2] = lu_create(dev, name);
		}
		ASSERT_EQ(0, add_file(sessions[i / 2], 0, i));
	}
	ASSERT_EQ(0, lu_load(2, NULL));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "trace", ""));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "1"));
	for (k = 0; k < FILES; k++) {
		char want[LOG] = "";
		size_t n = 0;

		ctl("clear");
		ASSERT_EQ(0, ctl("fail freeze %d %d 1", k + 1, EIO + k));
		EXPECT_EQ(-(EIO + k), lu_jump());
		for (i = 0; i < k; i++)
			n += snprintf(want + n, LOG - n, "freeze 0 %d\n", i);
		n += snprintf(want + n, LOG - n, "freeze 0 %d %d\n", k, EIO + k);
		for (i = k - 1; i >= 0; i--)
			n += snprintf(want + n, LOG - n, "unfreeze 0 %d\n", i);
		EXPECT_TRUE(logged(want));
		/* The sessions go on. */
		EXPECT_EQ(0, add_file(sessions[k / 2], 1, 100 + k));
		EXPECT_EQ(-EEXIST, add_file(sessions[k / 2], 1, 100 + k));
	}
	/* The trace has them all, too: what was frozen is unfrozen. */
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "0"));
	EXPECT_EQ(FILES * (FILES - 1) / 2, lu_count_events("file_freeze: .* err=0"));
	EXPECT_EQ(FILES * (FILES - 1) / 2, lu_count_events("file_unfreeze: .* err=0"));
	EXPECT_EQ(FILES, lu_count_events("file_freeze: .* err=-[0-9]+"));
	EXPECT_EQ(FILES, lu_count_events("session_freeze: .* err=-[0-9]+"));
	EXPECT_EQ(FILES, lu_count_events("reboot: err=-[0-9]+"));
	EXPECT_EQ(0, lu_count_events("session_serialize: .*"));
	for (i = 0; i < SESSIONS; i++)
		close(sessions[i]);
}

static pid_t in_the_background(int (*call)(int), int arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(-call(arg));
	return pid;
}

static int jump(int unused)
{
	return lu_jump();
}

static int create_late(int dev)
{
	int session = lu_create(dev, "late");

	return session < 0 ? session : 0;
}

static int exit_status(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The reboot stands still in the middle, and fails then. */
static void stopped_reboot(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "stopped"), closed = lu_create(dev, "closed");
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	pid_t rebooter, creator;
	int state;

	ASSERT_EQ(0, add_file(session, 0, 1));
	ASSERT_EQ(0, add_file(session, 0, 2));
	ASSERT_EQ(0, add_file(closed, 0, 3));
	state = lu_state_open();
	ASSERT_LE(0, state);
	EXPECT_STREQ("prepared", lu_state_read(state));
	ASSERT_EQ(0, lu_load(2, NULL));
	ASSERT_EQ(0, ctl("fail freeze 2 %d 1", EIO));
	ASSERT_EQ(0, ctl("hold freeze"));
	rebooter = in_the_background(jump, 0);
	ASSERT_TRUE(lu_state_wait(state, 20000));
	EXPECT_STREQ("frozen", lu_state_read(state));

	/* What can be asked at any time; everything else waits. */
	EXPECT_EQ(0, lu_get_name(session, name));
	creator = in_the_background(create_late, dev);
	EXPECT_EQ(3, lu_count_matches(LU_LINES, "^file session="));
	EXPECT_EQ(0, waitpid(creator, NULL, WNOHANG));
	close(closed);
	EXPECT_EQ(2, lu_sysfs_number("outgoing/sessions"));

	ASSERT_EQ(0, ctl("release"));
	EXPECT_EQ(EIO, exit_status(rebooter));
	EXPECT_EQ(0, exit_status(creator));
	EXPECT_TRUE(lu_state_wait(state, 20000));
	EXPECT_STREQ("prepared", lu_state_read(state));
	/* The one that was closed is gone before its name is asked for. */
	closed = lu_create(dev, "closed");
	EXPECT_LE(0, closed);
	EXPECT_EQ(0, add_file(session, 0, 4));
	close(closed);
	close(session);
	EXPECT_TRUE(lu_state_wait(state, 20000));
	EXPECT_STREQ("normal", lu_state_read(state));
	close(state);
}

/* Whether a process sleeps so that only SIGKILL wakes it. */
static bool sleeps(pid_t pid)
{
	char path[32], stat[128] = "", *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, stat, sizeof(stat) - 1) <= 0)
		return false;
	close(fd);
	state = strrchr(stat, ')');
	return state && state[2] == 'D';
}

/* A worker closes a session, and the handler takes its time. */
static void slow_close(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "slow"), pair[2], status, i;
	pid_t creator;

	ASSERT_EQ(0, add_file(session, 0, 1));
	ctl("clear");
	ASSERT_EQ(0, ctl("hold unpreserve"));
	/* A socket that is in its own queue is closed by the kernel. */
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	ASSERT_EQ(0, lu_send_fd(pair[0], session));
	ASSERT_EQ(0, lu_send_fd(pair[0], pair[1]));
	close(session);
	close(pair[1]);
	close(pair[0]);
	for (i = 0; i < 1000 && lu_count_lines(DIR "log", "unpreserve") < 1; i++)
		usleep(10000);
	ASSERT_LT(i, 1000);

	/* Who has to wait for it can be killed. */
	creator = in_the_background(create_late, dev);
	for (i = 0; i < 1000 && !sleeps(creator); i++)
		usleep(10000);
	ASSERT_LT(i, 1000);
	ASSERT_EQ(0, kill(creator, SIGKILL));
	for (i = 0; i < 1000 && waitpid(creator, &status, WNOHANG) != creator; i++)
		usleep(10000);
	EXPECT_LT(i, 1000);
	ASSERT_EQ(0, ctl("release"));
	/* Whoever waits finds it gone. */
	session = lu_create(dev, "slow");
	EXPECT_LE(0, session);
	EXPECT_TRUE(logged("unpreserve 0 1\n" FLBS_DOWN));
	close(session);
}

static int unregister_flb_2(int unused)
{
	return ctl("unregister_flb 0 2");
}

/*
 * Files keep an FLB: its last handler cannot leave it. Who merely holds an object is
 * waited for, and the wait can be given up.
 */
static void unregistering_waits(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "one"), status, i, k;
	pid_t waiter;

	ASSERT_EQ(0, add_file(session, 0, 1));
	ASSERT_EQ(0, ctl("get_out 2"));
	EXPECT_EQ(-EBUSY, ctl("unregister_flb 0 2"));
	close(session);
	for (k = 0; k < 2; k++) {
		waiter = in_the_background(unregister_flb_2, 0);
		for (i = 0; i < 1000 && !sleeps(waiter); i++)
			usleep(10000);
		ASSERT_LT(i, 1000);
		if (k)
			break;
		ASSERT_EQ(0, kill(waiter, SIGKILL));
		ASSERT_EQ(waiter, waitpid(waiter, &status, 0));
		EXPECT_EQ(-EEXIST, ctl("register_flb 0 2"));
	}
	/* Another one's object is none of its business. */
	ASSERT_EQ(0, lu_count_lines(DIR "log", "flb_unpreserve 2"));
	session = lu_create(dev, "other");
	ASSERT_EQ(0, add_file(session, 1, 2));
	ASSERT_EQ(0, ctl("get_out 0"));
	ASSERT_EQ(0, ctl("put_out 0"));
	close(session);
	EXPECT_EQ(0, waitpid(waiter, &status, WNOHANG));
	ASSERT_EQ(0, ctl("put_out 2"));
	EXPECT_EQ(0, exit_status(waiter));
	EXPECT_EQ(1, lu_count_lines(DIR "log", "flb_unpreserve 2"));
	EXPECT_EQ(-ENOENT, ctl("unregister_flb 0 2"));
	EXPECT_EQ(0, ctl("register_flb 0 2"));
}

/* Everything that needs no second kernel. */
HANDLERS(one_kernel)
{
	ASSERT_EQ(1, self->stage);
	ASSERT_EQ(0, load_test());
	preserve_and_undo(_metadata, self->dev);
	outgoing_object(_metadata, self->dev);
	registering(_metadata, self->dev);
	unregistering_waits(_metadata, self->dev);
	failing_freeze(_metadata, self->dev);
	stopped_reboot(_metadata, self->dev);
	slow_close(_metadata, self->dev);
	EXPECT_TRUE(lu_await_unload("test_liveupdate"));
}

static void retrieve_with_errors(struct __test_metadata *_metadata, int session)
{
	int fd;

	/* Passes: nothing was consumed. */
	ASSERT_EQ(0, ctl("fail retrieve 1 %d 1", ENOMEM));
	EXPECT_EQ(-ENOMEM, lu_retrieve_fd(session, 1));
	ASSERT_EQ(0, ctl("fail retrieve 1 %d 1", EAGAIN));
	EXPECT_EQ(-EAGAIN, lu_retrieve_fd(session, 1));
	fd = retrieve_one(session, 1);
	EXPECT_LE(0, fd);
	EXPECT_LE(0, retrieve_one(session, 1));
	EXPECT_EQ(-EAGAIN, lu_unload_module("test_liveupdate"));

	/* Remembered: the handler is not asked again. */
	ASSERT_EQ(0, ctl("fail retrieve 1 %d 1", EIO));
	EXPECT_EQ(-EIO, lu_retrieve_fd(session, 2));
	EXPECT_EQ(-EIO, lu_retrieve_fd(session, 2));
	EXPECT_TRUE(logged("retrieve 0 1 12\nretrieve 0 1 11\nretrieve 0 1\nretrieve 0 2 5\n"));
}

static void finish_in_order(struct __test_metadata *_metadata, int one, int two)
{
	/* One "no", and nothing has changed. */
	ASSERT_EQ(0, ctl("fail can_finish 2 1 1"));
	EXPECT_EQ(-EBUSY, lu_finish(one));
	EXPECT_LE(0, retrieve_one(one, 1));
	EXPECT_TRUE(logged("flb_retrieve 1 0\nflb_retrieve 2 0\n"
			   "can_finish 0 1\ncan_finish 0 2 1\n"));
	EXPECT_EQ(0, lu_finish(one));
	EXPECT_TRUE(logged("can_finish 0 1\ncan_finish 0 2\ncan_finish 0 3\n"
			   "finish 0 1\nfinish 0 2\nfinish 0 3\n"
			   "flb_finish 2 0\nflb_finish 1 0\n"));
	EXPECT_EQ(-ENOENT, ctl("get_in 1"));

	/* The last file of FLB 0, which somebody holds. */
	EXPECT_EQ(0, lu_finish(two));
	EXPECT_TRUE(logged("finish 1 4\n"));
	EXPECT_EQ(-ENOENT, ctl("get_in 0"));
	EXPECT_EQ(-EAGAIN, lu_unload_module("test_liveupdate"));
	EXPECT_EQ(0, ctl("put_in 0"));
	EXPECT_TRUE(logged("flb_finish 0 77\n"));
}

HANDLERS(two_kernels)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	int one, two, fd;

	if (self->stage == 1) {
		ASSERT_EQ(0, load_test());
		one = lu_create(self->dev, "one");
		two = lu_create(self->dev, "two");
		for (fd = 1; fd <= 3; fd++)
			ASSERT_EQ(0, add_file(one, 0, fd));
		ASSERT_EQ(0, add_file(two, 1, 4));
		ASSERT_EQ(0, ctl("set 0 77"));
		LU_KEXEC(2);
	}

	/* Without a handler nothing can be dropped, not even by force. */
	ASSERT_EQ(0, lu_next(self->dev, &s));
	EXPECT_EQ(-EOPNOTSUPP, lu_discard(self->dev, s.id));
	EXPECT_EQ(2, lu_sysfs_number("incoming/sessions"));
	EXPECT_EQ(4, lu_sysfs_number("incoming/files"));

	one = lu_retrieve(self->dev, "one");
	two = lu_retrieve(self->dev, "two");
	EXPECT_EQ(-EOPNOTSUPP, lu_retrieve_fd(one, 1));
	EXPECT_EQ(-EOPNOTSUPP, lu_finish(one));
	ASSERT_EQ(0, load_test());

	/* Before any file: an error that passes, then the object. */
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "1"));
	ASSERT_EQ(0, ctl("fail flb_retrieve 1 %d 1", ENOMEM));
	EXPECT_EQ(-ENOMEM, ctl("get_in 0"));
	EXPECT_EQ(0, ctl("get_in 0"));
	EXPECT_TRUE(logged("flb_retrieve 0 0 12\nflb_retrieve 0 0\nflb_get 0 77\n"));
	EXPECT_EQ(-EAGAIN, lu_unload_module("test_liveupdate"));

	retrieve_with_errors(_metadata, one);
	finish_in_order(_metadata, one, two);
	close(one);
	close(two);
	EXPECT_EQ(1, lu_count_events("flb_retrieve: name=\"liveupdate-test-flb-0-v1\" err=-12"));
	EXPECT_EQ(3, lu_count_events("flb_retrieve: .* err=0"));
	EXPECT_EQ(3, lu_count_events("flb_finish: .* err=0"));
}

/*
 * From the freeze on, what waits has to wait on, as it was written down so; an object
 * that is there can be had all the same.
 */
static void get_during_a_freeze(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "new"), state = lu_state_open();
	pid_t rebooter;

	ASSERT_LE(0, state);
	ASSERT_EQ(0, add_file(session, 1, 9));
	lu_state_read(state);
	ASSERT_EQ(0, ctl("fail freeze 1 %d 1", EIO));
	ASSERT_EQ(0, ctl("hold freeze"));
	rebooter = in_the_background(jump, 0);
	ASSERT_TRUE(lu_state_wait(state, 20000));
	EXPECT_STREQ("frozen", lu_state_read(state));
	while (lu_count_lines(DIR "log", "freeze 1 9") < 1)
		usleep(10000);
	EXPECT_EQ(-EAGAIN, ctl("get_in 1"));
	EXPECT_EQ(0, ctl("get_in 0"));
	EXPECT_EQ(0, ctl("put_in 0"));
	ASSERT_EQ(0, ctl("release"));
	EXPECT_EQ(EIO, exit_status(rebooter));
	close(session);
	close(state);
}

/* Neither files nor FLBs were finished in B; there, one of each was used. */
HANDLERS(three_kernels)
{
	int session;

	if (self->stage == 1) {
		ASSERT_EQ(0, load_test());
		session = lu_create(self->dev, "one");
		ASSERT_EQ(0, add_file(session, 0, 1));
		ASSERT_EQ(0, add_file(session, 0, 2));
		ASSERT_EQ(0, ctl("set 0 70"));
		ASSERT_EQ(0, ctl("set 1 71"));
		ASSERT_EQ(0, ctl("set 2 72"));
		LU_KEXEC(2);
	}
	if (self->stage == 2) {
		/* FLB 2 has no implementation here, 1 is not used by itself. */
		ASSERT_EQ(0, lu_load_module("lib/test_liveupdate", "flbs=2"));
		ASSERT_EQ(0, ctl("get_in 0"));
		session = lu_retrieve(self->dev, "one");
		ASSERT_EQ(0, lu_load(3, NULL));
		get_during_a_freeze(_metadata, self->dev);
		ASSERT_EQ(0, ctl("fail freeze 1 %d 1", EIO));
		ctl("clear");
		/* The object of FLB 0 is preserved again for files that wait. */
		ASSERT_LE(0, retrieve_one(session, 2));
		EXPECT_EQ(-EIO, lu_jump());
		EXPECT_TRUE(logged("retrieve 0 2\n"
				   "flb_preserve 0 70\nflb_retrieve 1 0\nflb_preserve 1 71\n"
				   "preserve 0 2\nfreeze 0 2 5\nunpreserve 0 2\n"
				   "flb_unpreserve 1 71\nflb_unpreserve 0 70\n"));
		ASSERT_EQ(0, ctl("put_in 0"));
		LU_JUMP();
	}

	ASSERT_EQ(0, load_test());
	EXPECT_EQ(0, ctl("get_in 0"));
	EXPECT_EQ(0, ctl("get_in 1"));
	EXPECT_EQ(0, ctl("get_in 2"));
	EXPECT_TRUE(logged("flb_retrieve 0 0\nflb_get 0 70\nflb_retrieve 1 0\nflb_get 1 71\n"
			   "flb_retrieve 2 0\nflb_get 2 72\n"));
	EXPECT_EQ(0, ctl("put_in 0"));
	EXPECT_EQ(0, ctl("put_in 1"));
	EXPECT_EQ(0, ctl("put_in 2"));
	session = lu_retrieve(self->dev, "one");
	EXPECT_LE(0, retrieve_one(session, 1));
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_TRUE(logged("retrieve 0 1\ncan_finish 0 1\ncan_finish 0 2\nfinish 0 1\n"
			   "finish 0 2\nflb_finish 2 72\nflb_finish 1 71\nflb_finish 0 70\n"));
}

/* A damaged list of FLBs: live update stays off, and says so. */
HANDLERS(damaged_flbs)
{
	int session;

	if (self->stage == 1) {
		ASSERT_EQ(0, load_test());
		session = lu_create(self->dev, "one");
		ASSERT_EQ(0, add_file(session, 0, 1));
		ASSERT_EQ(0, lu_write_file("/sys/kernel/debug/kho/corrupt",
					   "chain luo-fdt /luo-flb luo-flb-header 16"));
		LU_KEXEC(2);
	}
	EXPECT_EQ(-ENOENT, self->dev);
}

/* Nothing in B knows these files, nor what they share. */
HANDLERS(no_handler_in_between)
{
	int session, i;

	if (self->stage == 2) {
		EXPECT_EQ(1, lu_sysfs_number("incoming/sessions"));
		EXPECT_EQ(3, lu_sysfs_number("incoming/files"));
		LU_KEXEC(3);
	}
	ASSERT_EQ(0, load_test());
	if (self->stage == 1) {
		session = lu_create(self->dev, "one");
		ASSERT_EQ(0, add_file(session, 0, 1));
		ASSERT_EQ(0, add_file(session, 0, 2));
		ASSERT_EQ(0, add_file(session, 1, 3));
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, ctl("set %d %d", i, 70 + i));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "one");
	ASSERT_LE(0, session);
	for (i = 0; i < 3; i++)
		EXPECT_LE(0, retrieve_one(session, i + 1));
	EXPECT_TRUE(logged("retrieve 0 1\nretrieve 0 2\nretrieve 1 3\n"));
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_TRUE(logged("flb_retrieve 0 0\nflb_retrieve 1 0\nflb_retrieve 2 0\n"
			   "can_finish 0 1\ncan_finish 0 2\n"
			   "finish 0 1\nfinish 0 2\nflb_finish 2 72\nflb_finish 1 71\n"
			   "finish 1 3\nflb_finish 0 70\n"));
}

/* A session that has lost all of its files is not an empty one in C. */
HANDLERS(lost_files)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	int session;

	if (self->stage < 3)
		ASSERT_EQ(0, load_test());
	if (self->stage == 1) {
		session = lu_create(self->dev, "lost");
		ASSERT_EQ(0, add_file(session, 1, 1));
		LU_KEXEC(2);
	}
	if (self->stage == 2) {
		session = lu_retrieve(self->dev, "lost");
		ASSERT_EQ(0, ctl("fail retrieve 1 %d 1", EIO));
		ASSERT_EQ(-EIO, lu_retrieve_fd(session, 1));
		LU_KEXEC(3);
	}
	EXPECT_EQ(-EBADMSG, lu_retrieve(self->dev, "lost"));
	ASSERT_EQ(0, lu_next(self->dev, &s));
	EXPECT_EQ(LIVEUPDATE_SESSION_BY_NAME | LIVEUPDATE_SESSION_DAMAGED, s.flags);
	EXPECT_EQ(1, lu_count_matches(LU_LINES, "name=\"lost\" state=damaged files=0"));
	EXPECT_EQ(-EBADMSG, lu_retrieve_id(self->dev, s.id));
	EXPECT_EQ(0, lu_discard(self->dev, s.id));
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "lost"));
}

/*
 * B has two new sessions, and an old one of which two files of three were
 * retrieved: each operation of the reboot fails once, wherever it comes.
 */
static void failing_reboot(struct __test_metadata *_metadata, const char *op, int nth,
			   const char *want)
{
	ctl("clear");
	ASSERT_EQ(0, ctl("fail %s %d %d 1", op, nth, EIO));
	EXPECT_EQ(-EIO, lu_jump());
	EXPECT_TRUE(logged(want))
		TH_LOG("%s %d", op, nth);
}

static void each_failing_reboot(struct __test_metadata *_metadata)
{
	failing_reboot(_metadata, "preserve", 1, "preserve 0 1 5\n");
	failing_reboot(_metadata, "preserve", 2,
		       "preserve 0 1\npreserve 1 2 5\nunpreserve 0 1\n");
	failing_reboot(_metadata, "freeze", 1,
		       "preserve 0 1\npreserve 1 2\nfreeze 0 10 5\n"
		       "unpreserve 1 2\nunpreserve 0 1\n");
	failing_reboot(_metadata, "freeze", 2,
		       "preserve 0 1\npreserve 1 2\nfreeze 0 10\nfreeze 0 11 5\n"
		       "unfreeze 0 10\nunpreserve 1 2\nunpreserve 0 1\n");
	failing_reboot(_metadata, "freeze", 3,
		       "preserve 0 1\npreserve 1 2\nfreeze 0 10\nfreeze 0 11\nfreeze 0 1 5\n"
		       "unfreeze 0 11\nunfreeze 0 10\nunpreserve 1 2\nunpreserve 0 1\n");
}

HANDLERS(failing_reboots)
{
	int session, fds[2], i;

	ASSERT_EQ(0, load_test());
	if (self->stage == 1) {
		session = lu_create(self->dev, "old");
		ASSERT_EQ(0, add_file(session, 0, 1));
		ASSERT_EQ(0, add_file(session, 1, 2));
		ASSERT_EQ(0, add_file(session, 0, 3));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "old");
	ASSERT_LE(0, session);
	for (i = 0; i < 2; i++)
		ASSERT_LE(0, retrieve_one(session, i + 1));
	if (self->stage == 2) {
		for (i = 0; i < 2; i++) {
			fds[i] = lu_create(self->dev, i ? "b" : "a");
			ASSERT_LE(0, fds[i]);
			ASSERT_EQ(0, add_file(fds[i], 0, 10 + i));
		}
		ASSERT_EQ(0, lu_load(3, NULL));
		each_failing_reboot(_metadata);
		LU_JUMP();
	}
	ASSERT_LE(0, retrieve_one(session, 3));
	EXPECT_EQ(0, lu_finish(session));
	for (i = 0; i < 2; i++) {
		session = lu_retrieve(self->dev, i ? "b" : "a");
		ASSERT_LE(0, session);
		EXPECT_LE(0, retrieve_one(session, 10 + i));
		EXPECT_EQ(0, lu_finish(session));
	}
}
