// SPDX-License-Identifier: GPL-2.0
/*
 * Updates by the agent that do not come about, for every reason there is.
 */
#include <linux/sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "lu_harness.h"
#include "luod_util.h"

#define ALICE	1000
#define BOB	1001
#define CAROL	1002

#define BACKUP	\
	"{\"op\":\"refuse\",\"phase\":\"prepare\",\"update\":1,\"reason\":\"busy with a backup\"}\n"
#define BACKUP_LATE	\
	"{\"op\":\"refuse\",\"phase\":\"suspend\",\"update\":1,\"reason\":\"busy with a backup\"}\n"
#define PREPARED \
	"{\"op\":\"ready\",\"phase\":\"prepare\",\"update\":1}\n"
#define BOB_IS_ABSENT \
	"{\"uid\":1001,\"state\":\"absent\",\"sessions\":[\"vm\"]}"
#define ATTACH		"{\"op\":\"attach\"}\n"
#define RELEASE		"{\"op\":\"release\",\"name\":\"vm\"}\n"
#define LEAVE		"{\"op\":\"leave\",\"update\":1}\n"
#define TOO_EARLY \
	"{\"op\":\"ready\",\"phase\":\"suspend\",\"update\":1}\n"
#define SHOW_BOBS	"{\"op\":\"show\",\"name\":\"vm\",\"uid\":1001}\n"
#define SHOW_CAROLS	"{\"op\":\"show\",\"name\":\"vm\",\"uid\":1002}\n"

/* Image and initramfs stay open, and the journal with its session. */
#define LOADED_FDS	4
#define JOURNAL_FDS	2

FIXTURE(update)
{
	pid_t pid;
	int fds;
	struct luod_client root, a, b;
	int session_a, session_b, file;
};

FIXTURE_SETUP(update)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->pid = luod_begin(NULL, &self->root, LUOD_WATCH, &self->fds);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	ASSERT_EQ(0, luod_connect(&self->b, BOB));
	self->session_a = luod_session(&self->a, "vm");
	self->session_b = luod_session(&self->b, "vm");
	ASSERT_LE(0, self->session_a);
	ASSERT_LE(0, self->session_b);
	self->file = lu_memfd("m", LU_MIB, 1);
	ASSERT_EQ(0, lu_preserve(self->session_a, self->file, 1));
	ASSERT_EQ(0, luod_load_in_vain(&self->root));
}

/* Whatever happened: nothing is lost, nothing is left, and it can be tried again. */
FIXTURE_TEARDOWN(update)
{
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	EXPECT_TRUE(luod_has(&self->root, "\"state\":\"idle\""));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session_a, self->file, 2));
	EXPECT_EQ(0, lu_check(self->file, 0, LU_MIB, 1));
	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	/* There are no copies of what is not loaded any more. */
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + (luod_loaded() == '1' ? LOADED_FDS :
									    JOURNAL_FDS)));
	EXPECT_EQ(0, luod_stop(self->pid, SIGTERM));
	close(self->session_a);
	EXPECT_EQ(0, ftruncate(self->file, 0));
	lu_unload();
}

#define UPDATE_TEST(name)	TEST_F_TIMEOUT(update, name, LU_TIMEOUT)

/* An update begins, and both clients are prepared. */
static int all_prepare(FIXTURE_DATA(update) * self)
{
	return luod_ask(&self->root, LUOD_UPDATE) ?:
	       luod_follow(&self->a, "prepare") ?:
	       luod_follow(&self->b, "prepare");
}

UPDATE_TEST(no_image)
{
	ASSERT_EQ(0, lu_unload());
	EXPECT_EQ(-ENOEXEC, luod_ask(&self->root, LUOD_UPDATE));
}

/* Nobody asks what somebody else has loaded whether it takes what is preserved. */
UPDATE_TEST(image_of_another)
{
	ASSERT_EQ(0, lu_unload());
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	ASSERT_EQ(0, lu_load_image("/host/bzImage-b", "kho=on liveupdate=on"));
	EXPECT_EQ(-ESTALE, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_TRUE(luod_has(&self->root, "luoctl load"));
	ASSERT_EQ(0, luod_load_in_vain(&self->root));
	/* That one is luod's, for the next luod as well. */
	ASSERT_EQ(128 + SIGKILL, luod_stop(self->pid, SIGKILL));
	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	self->pid = luod_start(NULL);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	ASSERT_EQ(0, luod_ask_with(&self->a, ATTACH, &self->session_a, 1));
	ASSERT_EQ(0, luod_ask(&self->root, "{\"op\":\"update\",\"without\":[1001]}\n"));
	EXPECT_EQ(0, luod_event(&self->a, "prepare"));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	/* As the others leave it. */
	ASSERT_EQ(0, luod_load_in_vain(&self->root));
}

/* It could, when it was loaded: the kernel is asked again, before anybody else is. */
UPDATE_TEST(image_that_is_none_any_more)
{
	static const struct rlimit little = { 65536, RLIM_INFINITY };
	char *const cp[] = { "/bin/cp", "/host/bzImage-b", "/tmp/image", NULL };
	int fds;

	ASSERT_EQ(0, lu_run(cp));
	/* No room for a copy. */
	ASSERT_EQ(0, prlimit(self->pid, RLIMIT_FSIZE, &little, NULL));
	fds = luod_fds(self->pid);
	ASSERT_EQ(0, luod_load(&self->root, "/tmp/image", "/host/initrd",
			       "kho=on liveupdate=on"));
	EXPECT_TRUE(luod_await_fds(self->pid, fds));
	ASSERT_EQ(0, truncate("/tmp/image", 512));
	EXPECT_EQ(-ENOEXEC, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_TRUE(luod_has(&self->root, "not a kernel"));
	EXPECT_EQ('1', luod_loaded());
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	EXPECT_TRUE(luod_has(&self->root, "\"state\":\"idle\""));
	unlink("/tmp/image");
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

UPDATE_TEST(client_that_is_late)
{
	int64_t asked;

	/* The kernel takes about as long to say that it is an image. */
	ASSERT_EQ(0, luod_load_next(&self->root));
	ASSERT_EQ(0, luod_ask(&self->a, "{\"op\":\"hello\",\"prepare_ms\":600}\n"));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_event(&self->a, "prepare"));
	asked = now_ms();
	EXPECT_TRUE(luod_has(&self->a, "\"deadline_ms\":600"));
	EXPECT_TRUE(luod_has(&self->a, "\"sessions\":[\"vm\"]"));
	/* Bob is in no hurry, and need not be. */
	ASSERT_EQ(0, luod_event(&self->b, "prepare"));
	EXPECT_TRUE(luod_has(&self->b, "\"deadline_ms\":30000"));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	/* It had its time, or what was left of it when it read of it. */
	EXPECT_LE(300, now_ms() - asked);
	EXPECT_TRUE(luod_has(&self->root, "ETIMEDOUT"));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1000,\"state\":\"late\""));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1001,\"state\":\"waiting\""));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_EQ(0, luod_event(&self->b, "cancel"));
	/* An answer that comes now is none. */
	EXPECT_EQ(-ESTALE, luod_answer(&self->a, "ready", "prepare"));
}

UPDATE_TEST(client_that_is_late_to_suspend)
{
	/* Bob is, in good time. */
	ASSERT_EQ(0, luod_ask(&self->root, "{\"op\":\"update\",\"suspend_ms\":5000}\n"));
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	ASSERT_EQ(0, luod_follow(&self->b, "prepare"));
	ASSERT_EQ(0, luod_follow(&self->b, "suspend"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1000,\"state\":\"late\""));
	EXPECT_FALSE(luod_has(&self->root, "\"uid\":1001"));
	EXPECT_EQ(0, luod_event(&self->b, "cancel"));
}

/* While the others stand still, it gets no more than luod or the update allows. */
UPDATE_TEST(client_that_wants_long_to_suspend)
{
	EXPECT_EQ(-EINVAL, luod_ask(&self->a, "{\"op\":\"hello\",\"suspend_ms\":30001}\n"));
	ASSERT_EQ(0, luod_ask(&self->a, "{\"op\":\"hello\",\"suspend_ms\":30000}\n"));
	ASSERT_EQ(0, all_prepare(self));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	EXPECT_TRUE(luod_has(&self->a, "\"deadline_ms\":30000"));
	ASSERT_EQ(0, luod_event(&self->b, "suspend"));
	EXPECT_TRUE(luod_has(&self->b, "\"deadline_ms\":10000"));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));

	ASSERT_EQ(0, luod_ask(&self->root, "{\"op\":\"update\",\"suspend_ms\":5000}\n"));
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	ASSERT_EQ(0, luod_follow(&self->b, "prepare"));
	ASSERT_EQ(0, luod_follow(&self->b, "suspend"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	EXPECT_TRUE(luod_has(&self->a, "\"deadline_ms\":5000,"));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "within 5000 ms"));
	EXPECT_EQ(0, luod_event(&self->b, "cancel"));
}

UPDATE_TEST(client_that_refuses)
{
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_event(&self->a, "prepare"));
	EXPECT_EQ(0, luod_ask(&self->a, BACKUP));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "busy with a backup"));
	EXPECT_TRUE(luod_has(&self->root, "\"state\":\"refused\""));
	EXPECT_EQ(0, luod_event(&self->b, "cancel"));
}

UPDATE_TEST(client_that_vanishes_while_it_prepares)
{
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_event(&self->b, "prepare"));
	luod_leave(&self->b);
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1001,\"state\":\"gone\""));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
}

/* It has said that it is prepared, and is not there to be suspended. */
UPDATE_TEST(client_that_vanishes_when_it_is_prepared)
{
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_follow(&self->b, "prepare"));
	luod_leave(&self->b);
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"state\":\"gone\""));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
}

/* It is asked to suspend, and goes before it has. */
UPDATE_TEST(client_that_vanishes_while_it_suspends)
{
	ASSERT_EQ(0, all_prepare(self));
	ASSERT_EQ(0, luod_event(&self->b, "suspend"));
	luod_leave(&self->b);
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"phase\":\"suspend\""));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1001,\"state\":\"gone\""));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
}

/* Suspended, it may go: its session is kept, and dropped with the update. */
UPDATE_TEST(client_that_goes_when_it_is_suspended)
{
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	/* Not before. */
	EXPECT_EQ(-ESTALE, luod_ask(&self->a, LEAVE));
	ASSERT_EQ(0, luod_follow(&self->b, "prepare"));
	ASSERT_EQ(0, luod_follow(&self->b, "suspend"));
	EXPECT_EQ(0, luod_ask(&self->b, LEAVE));
	luod_leave(&self->b);
	close(self->session_b);
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	EXPECT_EQ(0, luod_ask(&self->root, SHOW_BOBS));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_EQ(-ENOENT, luod_ask(&self->root, SHOW_BOBS));
	EXPECT_TRUE(luod_said("session vm of uid 1001 is dropped"));
}

/* Nothing but its connection is gone, and who knows what it does now. */
UPDATE_TEST(client_that_loses_its_connection_when_it_is_suspended)
{
	ASSERT_EQ(0, all_prepare(self));
	ASSERT_EQ(0, luod_follow(&self->b, "suspend"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	luod_leave(&self->b);
	/* The others are ready before that is known. */
	ASSERT_EQ(0, luod_answer(&self->a, "ready", "suspend"));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"phase\":\"suspend\""));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1001,\"state\":\"gone\""));
	EXPECT_TRUE(luod_has(&self->root, "lost its connection, and has not ended"));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	/* It comes back with what it has, and goes on. */
	ASSERT_EQ(0, luod_connect(&self->b, BOB));
	EXPECT_EQ(0, luod_ask_with(&self->b, ATTACH, &self->session_b, 1));
}

/* The update is off before luod knows why it went: nobody waits for that. */
UPDATE_TEST(client_that_comes_back_at_once)
{
	struct timespec before, now;
	int tries = 0;

	/* Until this was not after the end of the two seconds. */
	do {
		ASSERT_EQ(0, all_prepare(self));
		ASSERT_EQ(0, luod_follow(&self->b, "suspend"));
		clock_gettime(CLOCK_MONOTONIC, &before);
		luod_leave(&self->b);
		EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
		ASSERT_EQ(0, luod_connect(&self->b, BOB));
		EXPECT_EQ(0, luod_ask_with(&self->b, ATTACH, &self->session_b, 1));
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - before.tv_sec >= 2 && ++tries < 30);
	EXPECT_GT(30, tries);
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_EQ(0, luod_event(&self->b, "prepare"));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
}

/*
 * A process that is a client, until it is killed. Or it only connects, and a child of
 * it is the client, which ends the connection when it is suspended.
 */
static pid_t start_client(uid_t uid, const char *name, bool child)
{
	struct luod_client c;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid < 0 ? -errno : pid;
	if (luod_connect(&c, uid) || luod_session(&c, name) < 0)
		_exit(1);
	if (child && fork())
		_exit(0);
	if (luod_follow(&c, "prepare") || luod_follow(&c, "suspend"))
		_exit(1);
	if (child)
		_exit(0);
	pause();
	_exit(2);
}

static bool await_session(struct luod_client *root, const char *show)
{
	struct timespec tick = { .tv_nsec = 10 * 1000 * 1000 };
	int i, err;

	for (i = 0; i < LUOD_PATIENCE_MS / 10; i++) {
		err = luod_ask(root, show);
		if (err != -ENOENT)
			return !err;
		nanosleep(&tick, NULL);
	}
	return false;
}

/* All are prepared, and Carol is the first to be suspended. */
static int suspend_carol(FIXTURE_DATA(update) * self)
{
	int err = all_prepare(self);

	do {
		err = err ?: luod_event(&self->root, "client");
	} while (!err && !luod_has(&self->root, "\"phase\":\"suspend\""));
	return err ?: luod_has(&self->root, "\"uid\":1002") ? 0 : -EPROTO;
}

/* The others follow, and the kernel has nowhere to go: so far it comes. */
static int all_but_jump(FIXTURE_DATA(update) * self)
{
	int err = luod_follow(&self->a, "suspend") ?:
		  lu_unload() ?:
		  luod_follow(&self->b, "suspend") ?:
		  luod_event(&self->root, "failed");

	return err ?: luod_has(&self->root, "\"phase\":\"jump\"") ? 0 : -EPROTO;
}

/* Killed when it is suspended: what it has preserved goes on without it. */
UPDATE_TEST(client_that_is_killed_when_it_is_suspended)
{
	pid_t pid = start_client(CAROL, "vm", false);

	ASSERT_LT(0, pid);
	ASSERT_TRUE(await_session(&self->root, SHOW_CAROLS));
	ASSERT_EQ(0, suspend_carol(self));
	ASSERT_EQ(128 + SIGKILL, luod_stop(pid, SIGKILL));
	ASSERT_EQ(0, all_but_jump(self));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_EQ(-ENOENT, luod_ask(&self->root, SHOW_CAROLS));
	EXPECT_TRUE(luod_said("session vm of uid 1002 is dropped"));
}

/* A process with the number of one that has ended. */
static pid_t use_number_again(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&pid,
		.set_tid_size = 1,
	};
	long child = syscall(SYS_clone3, &args, sizeof(args));

	if (child)
		return child < 0 ? -errno : child;
	pause();
	_exit(0);
}

/* The same, and before luod looks, another process has its number. */
UPDATE_TEST(client_whose_number_is_used_again)
{
	pid_t pid = start_client(CAROL, "vm", false);
	int status;

	ASSERT_LT(0, pid);
	ASSERT_TRUE(await_session(&self->root, SHOW_CAROLS));
	ASSERT_EQ(0, suspend_carol(self));
	ASSERT_EQ(0, kill(self->pid, SIGSTOP));
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, WUNTRACED));
	ASSERT_EQ(128 + SIGKILL, luod_stop(pid, SIGKILL));
	ASSERT_EQ(pid, use_number_again(pid));
	ASSERT_EQ(0, kill(self->pid, SIGCONT));
	EXPECT_EQ(0, all_but_jump(self));
	EXPECT_EQ(128 + SIGKILL, luod_stop(pid, SIGKILL));
}

/* Who had made the connection has ended long ago: nobody knows what its child does. */
UPDATE_TEST(client_whose_parent_had_connected)
{
	pid_t pid = start_client(CAROL, "vm", true);

	ASSERT_LT(0, pid);
	ASSERT_EQ(0, luod_wait(pid));
	ASSERT_EQ(0, suspend_carol(self));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"phase\":\"suspend\""));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1002,\"state\":\"gone\""));
	EXPECT_TRUE(luod_has(&self->root, "was not the one that had it"));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_EQ(0, luod_event(&self->b, "cancel"));
}

/* Suspended, and disconnected by luod: it takes that for a cancel, and lives. */
UPDATE_TEST(client_that_is_thrown_out_when_it_is_suspended)
{
	ASSERT_EQ(0, all_prepare(self));
	ASSERT_EQ(0, luod_follow(&self->b, "suspend"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	EXPECT_EQ(-EBADMSG, luod_ask(&self->b, "x\n"));
	EXPECT_TRUE(luod_ended(&self->b));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"phase\":\"suspend\""));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1001,\"state\":\"gone\""));
	EXPECT_TRUE(luod_has(&self->root, "disconnected by luod"));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	/* It can come back with what it has. */
	luod_leave(&self->b);
	ASSERT_EQ(0, luod_connect(&self->b, BOB));
	EXPECT_EQ(0, luod_ask_with(&self->b, ATTACH, &self->session_b, 1));
}

UPDATE_TEST(cancelled_and_begun_again)
{
	int fds = luod_fds(self->pid), late;
	struct luod_client c;

	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_EQ(-EBUSY, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_EQ(-EBUSY, luod_load_in_vain(&self->root));
	/* Nobody comes in now: it would not be asked. */
	ASSERT_EQ(0, luod_connect(&c, CAROL));
	EXPECT_EQ(-EAGAIN, luod_session(&c, "late"));
	EXPECT_EQ(-EPERM, luod_ask(&c, LUOD_CANCEL));
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	EXPECT_EQ(-EAGAIN, luod_ask(&self->a, RELEASE));
	EXPECT_EQ(-ESTALE, luod_ask(&self->a, TOO_EARLY));
	ASSERT_EQ(0, luod_send(&self->root, LUOD_CANCEL, NULL, 0));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "ECANCELED"));
	ASSERT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "\"ok\":true"));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_EQ(0, luod_event(&self->b, "cancel"));
	EXPECT_EQ(-ENOENT, luod_ask(&self->root, LUOD_CANCEL));
	late = luod_session(&c, "late");
	EXPECT_LE(0, late);
	luod_leave(&c);
	close(late);
	ASSERT_TRUE(luod_await_fds(self->pid, fds));

	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_event(&self->a, "prepare"));
	EXPECT_TRUE(luod_has(&self->a, "\"update\":2"));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
}

/* A new luod does not know all who have sessions: they would not be asked. */
UPDATE_TEST(client_that_has_not_come_back)
{
	ASSERT_EQ(128 + SIGKILL, luod_stop(self->pid, SIGKILL));
	luod_leave(&self->a);
	luod_leave(&self->b);
	luod_leave(&self->root);
	self->pid = luod_start(NULL);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	ASSERT_EQ(0, luod_load_in_vain(&self->root));
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	ASSERT_EQ(0, luod_ask_with(&self->a, ATTACH, &self->session_a, 1));
	EXPECT_EQ(-ENOTCONN, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_TRUE(luod_has(&self->root, "session vm of uid 1001"));
	EXPECT_TRUE(luod_has(&self->root, BOB_IS_ABSENT));
	EXPECT_FALSE(luod_has(&self->root, "1000"));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	EXPECT_TRUE(luod_has(&self->root, "\"state\":\"idle\""));
	ASSERT_EQ(0, luod_connect(&self->b, BOB));
	ASSERT_EQ(0, luod_ask_with(&self->b, ATTACH, &self->session_b, 1));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_EQ(0, luod_event(&self->b, "prepare"));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
}

/* The same, by one that has left and kept its session. */
UPDATE_TEST(client_that_left_and_kept_its_session)
{
	luod_leave(&self->b);
	ASSERT_TRUE(luod_await_fds(self->pid, self->fds + 1 + 2 + LOADED_FDS));
	EXPECT_EQ(-ENOTCONN, luod_ask(&self->root, LUOD_UPDATE));
	close(self->session_b);
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
}

#define WITHOUT_BOB	"{\"op\":\"update\",\"without\":[1001]}\n"
#define WITHOUT_MANY	"{\"op\":\"update\",\"without\":[7,[1001,66535]]}\n"
#define WITHOUT_OTHERS	"{\"op\":\"update\",\"without\":[[0,1000],[1002,4294967295]]}\n"

/* Nobody can stand in the way for ever: connected, or hiding what it has. */
UPDATE_TEST(client_that_is_left_out)
{
	ASSERT_EQ(0, luod_ask(&self->root, WITHOUT_BOB));
	EXPECT_TRUE(luod_has(&self->root, "\"left_out\":1"));
	EXPECT_TRUE(luod_said("uid 1001 to 1001 are not asked, their sessions go as they are"));
	EXPECT_TRUE(luod_said("update 1: sessions of those users: 1"));
	EXPECT_EQ(0, luod_event(&self->b, "left-out"));
	EXPECT_TRUE(luod_has(&self->b, "\"update\":1"));
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	EXPECT_EQ(-ESTALE, luod_ask(&self->b, BACKUP));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));

	luod_leave(&self->b);
	ASSERT_TRUE(luod_await_fds(self->pid, self->fds + 1 + 2 + LOADED_FDS));
	EXPECT_EQ(-ENOTCONN, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_ask(&self->root, WITHOUT_MANY));
	/* Absent, it counts as well. */
	EXPECT_TRUE(luod_has(&self->root, "\"left_out\":1"));
	ASSERT_EQ(0, luod_event(&self->a, "prepare"));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	EXPECT_EQ(-ENOTCONN, luod_ask(&self->root, WITHOUT_OTHERS));
	/* It is for one update. */
	EXPECT_EQ(-ENOTCONN, luod_ask(&self->root, LUOD_UPDATE));
}

/* Who watches without being the owner sees what is its own, and nothing of others. */
UPDATE_TEST(tenants_do_not_see_each_other)
{
	ASSERT_EQ(0, luod_ask(&self->b, LUOD_WATCH));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	ASSERT_EQ(0, luod_event(&self->b, "prepare"));
	ASSERT_EQ(0, luod_send(&self->b, PREPARED, NULL, 0));
	ASSERT_EQ(0, luod_event(&self->b, "client"));
	EXPECT_TRUE(luod_has(&self->b, "\"uid\":1001"));
	ASSERT_EQ(0, luod_event(&self->root, "client"));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1000"));
	ASSERT_EQ(0, luod_event(&self->b, "suspend"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	ASSERT_EQ(0, luod_send(&self->a, BACKUP_LATE, NULL, 0));
	ASSERT_EQ(0, luod_event(&self->b, "cancel"));
	EXPECT_TRUE(luod_has(&self->b, "a client of another user was not ready"));
	EXPECT_FALSE(luod_has(&self->b, "1000"));
	EXPECT_FALSE(luod_has(&self->b, "backup"));
	ASSERT_EQ(0, luod_event(&self->b, "failed"));
	EXPECT_TRUE(luod_has(&self->b, "\"uid\":1001,\"state\":\"waiting\""));
	EXPECT_FALSE(luod_has(&self->b, "1000"));
	EXPECT_FALSE(luod_has(&self->b, "backup"));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_TRUE(luod_has(&self->a, "busy with a backup"));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "busy with a backup"));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1000,\"state\":\"refused\""));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":1001,\"state\":\"waiting\""));
}

#define SESSIONS	"{\"op\":\"sessions\"}\n"
#define SHOW		"{\"op\":\"show\",\"name\":\"vm\"}\n"

/* While all stand still, luod has no time for what users want to know. */
UPDATE_TEST(requests_that_can_wait)
{
	int dev;

	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_EQ(0, luod_ask(&self->b, SESSIONS));
	/* Nor for one that had to wait until then. */
	dev = lu_open_dev();
	ASSERT_LE(0, dev);
	ASSERT_EQ(0, luod_send(&self->b, SHOW, NULL, 0));
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	ASSERT_EQ(0, luod_send(&self->b, PREPARED, NULL, 0));
	ASSERT_EQ(0, luod_event(&self->b, "suspend"));
	close(dev);
	ASSERT_EQ(0, luod_receive(&self->b));
	EXPECT_TRUE(luod_has(&self->b, "\"EAGAIN\""));
	EXPECT_EQ(-EAGAIN, luod_ask(&self->b, SESSIONS));
	EXPECT_EQ(-EAGAIN, luod_ask(&self->b, SHOW));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_STATUS));
	EXPECT_EQ(0, luod_ask(&self->root, SESSIONS));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	EXPECT_EQ(0, luod_event(&self->b, "cancel"));
	EXPECT_EQ(0, luod_ask(&self->b, SESSIONS));
}

/* Who wants the update goes away: it goes on, and others can cancel it. */
UPDATE_TEST(nobody_watches)
{
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	luod_leave(&self->root);
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	ASSERT_EQ(0, luod_follow(&self->b, "prepare"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
}

/* The kernel says no when it comes to it: everybody goes on. */
UPDATE_TEST(reboot_that_is_refused)
{
	ASSERT_EQ(0, all_prepare(self));
	ASSERT_EQ(0, lu_unload());
	ASSERT_EQ(0, luod_follow(&self->a, "suspend"));
	ASSERT_EQ(0, luod_follow(&self->b, "suspend"));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"phase\":\"jump\""));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_EQ(0, luod_event(&self->b, "cancel"));
}

/* Told to end, luod says that there is no update. */
UPDATE_TEST(luod_told_to_end)
{
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	EXPECT_EQ(0, luod_stop(self->pid, SIGTERM));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_TRUE(luod_ended(&self->a));
	luod_leave(&self->a);
	luod_leave(&self->b);
	luod_leave(&self->root);
	self->pid = luod_start(NULL);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	ASSERT_EQ(0, luod_load_in_vain(&self->root));
}

/* Killed in the middle, at each step: the clients see it, and it goes again. */
UPDATE_TEST(luod_killed)
{
	static const char * const last[] = { NULL, "prepare", "suspend" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(last); i++) {
		ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
		if (last[i]) {
			ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
			ASSERT_EQ(0, luod_follow(&self->b, "prepare"));
		}
		if (last[i] && !strcmp(last[i], "suspend"))
			ASSERT_EQ(0, luod_follow(&self->a, "suspend"));
		ASSERT_EQ(128 + SIGKILL, luod_stop(self->pid, SIGKILL));
		EXPECT_TRUE(luod_ended(&self->a));
		luod_leave(&self->a);
		luod_leave(&self->b);
		luod_leave(&self->root);
		EXPECT_EQ(-EBUSY, lu_preserve(self->session_a, self->file, 2));

		self->pid = luod_start(NULL);
		ASSERT_LT(0, self->pid);
		ASSERT_EQ(0, luod_connect(&self->root, 0));
		ASSERT_EQ(0, luod_ask(&self->root, LUOD_WATCH));
		ASSERT_EQ(0, luod_connect(&self->a, ALICE));
		ASSERT_EQ(0, luod_connect(&self->b, BOB));
		ASSERT_EQ(0, luod_ask_with(&self->a, ATTACH, &self->session_a, 1));
		ASSERT_EQ(0, luod_ask_with(&self->b, ATTACH, &self->session_b, 1));
		ASSERT_EQ(0, luod_load_in_vain(&self->root));
	}
}
