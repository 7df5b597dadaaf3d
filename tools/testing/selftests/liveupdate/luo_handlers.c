// SPDX-License-Identifier: GPL-2.0
/*
 * What is asked of handlers and FLBs of this kernel, when, how often and in which
 * order, and what their errors do.
 */
#include <sys/socket.h>

#include "lu_handlers.h"

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

static int create_late(int dev)
{
	int session = lu_create(dev, "late");

	return session < 0 ? session : 0;
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
	ASSERT_TRUE(lu_state_wait(state, LU_PATIENCE_MS));
	EXPECT_STREQ("frozen", lu_state_read(state));

	/* What can be asked at any time; everything else waits. */
	EXPECT_EQ(0, lu_get_name(session, name));
	creator = in_the_background(create_late, dev);
	EXPECT_EQ(3, lu_count_matches(LU_LINES, "^file session="));
	ASSERT_TRUE(lu_await_sleep(creator, "luo_"));
	close(closed);
	EXPECT_EQ(2, lu_sysfs_number("outgoing/sessions"));

	ASSERT_EQ(0, ctl("release"));
	EXPECT_EQ(EIO, exit_status(rebooter));
	EXPECT_EQ(0, exit_status(creator));
	EXPECT_TRUE(lu_state_wait(state, LU_PATIENCE_MS));
	EXPECT_STREQ("prepared", lu_state_read(state));
	/* The one that was closed is gone before its name is asked for. */
	closed = lu_create(dev, "closed");
	EXPECT_LE(0, closed);
	EXPECT_EQ(0, add_file(session, 0, 4));
	close(closed);
	close(session);
	EXPECT_TRUE(lu_state_wait(state, LU_PATIENCE_MS));
	EXPECT_STREQ("normal", lu_state_read(state));
	close(state);
}

/* A worker closes a session, and the handler takes its time. */
static void slow_close(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "slow"), pair[2], status;
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
	ASSERT_TRUE(lu_await_line(DIR "log", "unpreserve"));

	/* Who has to wait for it can be killed. */
	creator = in_the_background(create_late, dev);
	ASSERT_TRUE(lu_await_sleep(creator, "luo_"));
	ASSERT_EQ(0, kill(creator, SIGKILL));
	EXPECT_TRUE(lu_await_end(creator, &status));
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

/* Whoever was wrongly woken has had the time to return. */
static bool sleeps_on(pid_t waiter)
{
	usleep(200000);
	return lu_await_sleep(waiter, "flb");
}

/*
 * Files keep an FLB: its last handler cannot leave it. Who merely holds an object is
 * waited for, and the wait can be given up.
 */
static void unregistering_waits(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "one"), status, k;
	pid_t waiter;

	ASSERT_EQ(0, add_file(session, 0, 1));
	ASSERT_EQ(0, ctl("get_out 2"));
	EXPECT_EQ(-EBUSY, ctl("unregister_flb 0 2"));
	close(session);
	for (k = 0; k < 2; k++) {
		waiter = in_the_background(unregister_flb_2, 0);
		ASSERT_TRUE(lu_await_sleep(waiter, "flb"));
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
	EXPECT_TRUE(sleeps_on(waiter));
	ASSERT_EQ(0, ctl("put_out 2"));
	EXPECT_EQ(0, exit_status(waiter));
	EXPECT_EQ(1, lu_count_lines(DIR "log", "flb_unpreserve 2"));
	EXPECT_EQ(-ENOENT, ctl("unregister_flb 0 2"));
	EXPECT_EQ(0, ctl("register_flb 0 2"));
}

/* A file that finds the object meanwhile may keep it for ever: no more waiting. */
static void unregistering_and_a_new_file(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "one");
	pid_t waiter;

	ASSERT_EQ(0, add_file(session, 0, 1));
	ASSERT_EQ(0, ctl("get_out 2"));
	close(session);
	waiter = in_the_background(unregister_flb_2, 0);
	ASSERT_TRUE(lu_await_sleep(waiter, "flb"));
	session = lu_create(dev, "one");
	ASSERT_EQ(0, add_file(session, 0, 1));
	EXPECT_EQ(EBUSY, exit_status(waiter));
	ASSERT_EQ(0, ctl("put_out 2"));
	close(session);
}

/* The handler goes first: the FLB is not to be freed as long as its object is held. */
static void unregistering_the_handler_first(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "one");
	pid_t waiter;

	ASSERT_EQ(0, add_file(session, 0, 1));
	ASSERT_EQ(0, ctl("get_out 2"));
	close(session);
	ASSERT_EQ(0, ctl("unregister 0"));
	waiter = in_the_background(unregister_flb_2, 0);
	ASSERT_TRUE(lu_await_sleep(waiter, "flb"));
	ctl("clear");
	ASSERT_EQ(0, ctl("put_out 2"));
	EXPECT_EQ(ENOENT, exit_status(waiter));
	EXPECT_TRUE(logged("flb_unpreserve 2 0\n"));
	EXPECT_EQ(0, ctl("register_flb 0 0"));
	EXPECT_EQ(0, ctl("register_flb 0 1"));
	EXPECT_EQ(0, ctl("register_flb 0 2"));
	EXPECT_EQ(0, ctl("register 0"));
}

static int unregister_flb_0(int unused)
{
	return ctl("unregister_flb 1 0");
}

static int add_one(int session)
{
	return add_file(session, 0, 1);
}

static int add_memfd(int session)
{
	return lu_preserve(session, lu_memfd("m", LU_PAGE, 1), 1);
}

/* An operation that takes long holds up neither others' files nor a kill. */
static void unregistering_during_an_operation(struct __test_metadata *_metadata, int dev)
{
	int session = lu_create(dev, "one"), other = lu_create(dev, "two"), status;
	pid_t adder, waiter, tenant;

	ctl("clear");
	ASSERT_EQ(0, ctl("hold flb_preserve"));
	adder = in_the_background(add_one, session);
	ASSERT_TRUE(lu_await_line(DIR "log", "flb_preserve 0"));
	waiter = in_the_background(unregister_flb_0, 0);
	ASSERT_TRUE(lu_await_sleep(waiter, "flb"));
	tenant = in_the_background(add_memfd, other);
	ASSERT_TRUE(lu_await_end(tenant, &status));
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, kill(waiter, SIGKILL));
	ASSERT_EQ(waiter, waitpid(waiter, &status, 0));
	ASSERT_EQ(0, ctl("release"));
	EXPECT_EQ(0, exit_status(adder));
	EXPECT_EQ(-EEXIST, ctl("register_flb 1 0"));
	close(session);
	close(other);
	ctl("clear");
}

/* A file in a session keeps the module of its handler, by whichever name it is open. */
static void module_is_held(struct __test_metadata *_metadata, int dev)
{
	int session;

	ASSERT_EQ(0, lu_load_module("lib/test_liveupdate", "flbs=0 bare=1"));
	session = lu_create(dev, "one");
	ASSERT_EQ(0, add_file(session, 0, 1));
	EXPECT_EQ(-EAGAIN, lu_unload_module("test_liveupdate"));
	close(session);
	EXPECT_TRUE(lu_await_unload("test_liveupdate"));
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
	unregistering_and_a_new_file(_metadata, self->dev);
	unregistering_the_handler_first(_metadata, self->dev);
	unregistering_during_an_operation(_metadata, self->dev);
	failing_freeze(_metadata, self->dev);
	stopped_reboot(_metadata, self->dev);
	slow_close(_metadata, self->dev);
	EXPECT_TRUE(lu_await_unload("test_liveupdate"));
	module_is_held(_metadata, self->dev);
}
