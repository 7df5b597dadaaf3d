// SPDX-License-Identifier: GPL-2.0
/*
 * What is asked of handlers and FLBs, when, how often and in which order, and
 * what their errors do. The handlers are those of lib/test_liveupdate.c, and
 * of samples/liveupdate; both are modules, loaded when a test wants them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
#define load_sample()	lu_load_module("samples/liveupdate/liveupdate_notes", "")

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

/* A file that was closed lets go of its module a moment later. */
static bool await_unload(const char *module)
{
	int i;

	for (i = 0; i < 100; i++) {
		if (!lu_unload_module(module))
			return true;
		usleep(20000);
	}
	return false;
}

#define FLBS_UP		"flb_preserve 0 0\nflb_preserve 1 0\nflb_preserve 2 0\n"
#define FLBS_DOWN	"flb_unpreserve 2 0\nflb_unpreserve 1 0\nflb_unpreserve 0 0\n"

static void preserve_and_undo(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "one"), other = lu_create(dev, "two"), fd;

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

/* Everything that needs no second kernel. */
HANDLERS(one_kernel)
{
	ASSERT_EQ(1, self->stage);
	ASSERT_EQ(0, load_test());
	preserve_and_undo(_metadata, self->dev);
	outgoing_object(_metadata, self->dev);
	registering(_metadata, self->dev);
	failing_freeze(_metadata, self->dev);
	stopped_reboot(_metadata, self->dev);
	EXPECT_TRUE(await_unload("test_liveupdate"));
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
	ASSERT_EQ(0, ctl("fail flb_retrieve 1 %d 1", ENOMEM));
	EXPECT_EQ(-ENOMEM, ctl("get_in 0"));
	EXPECT_EQ(0, ctl("get_in 0"));
	EXPECT_TRUE(logged("flb_retrieve 0 0 12\nflb_retrieve 0 0\nflb_get 0 77\n"));
	EXPECT_EQ(-EAGAIN, lu_unload_module("test_liveupdate"));

	retrieve_with_errors(_metadata, one);
	finish_in_order(_metadata, one, two);
	close(one);
	close(two);
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

/* The sample: its module is loaded only after the update. */
HANDLERS(sample)
{
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
		fd = open("/dev/liveupdate_notes", O_RDWR | O_CLOEXEC);
		ASSERT_EQ(0, lu_preserve(session, fd, 2));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "notes");
	ASSERT_LE(0, session);
	EXPECT_EQ(-EOPNOTSUPP, lu_retrieve_fd(session, 1));
	ASSERT_EQ(0, load_sample());
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
	EXPECT_TRUE(await_unload("liveupdate_notes"));
}
