// SPDX-License-Identifier: GPL-2.0
/*
 * What is asked of handlers and FLBs in the next kernel and in the one after it, when,
 * how often and in which order, and what their errors do.
 */
#include "lu_handlers.h"

#define CORRUPT		"/sys/kernel/debug/kho/corrupt"
#define SESSIONS	"luo-fdt /luo-session luo-session-header "

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

static int unregister_flb_0(int unused)
{
	return ctl("unregister_flb 0 0");
}

/* The incoming object, which nothing but its holder keeps. */
static void unregistering_waits(struct __test_metadata *_metadata)
{
	pid_t waiter;

	ASSERT_EQ(0, ctl("unregister_flb 1 0"));
	waiter = in_the_background(unregister_flb_0, 0);
	ASSERT_TRUE(lu_await_sleep(waiter, "flb"));
	EXPECT_EQ(0, ctl("put_in 0"));
	EXPECT_EQ(0, exit_status(waiter));
	EXPECT_EQ(-ENOENT, ctl("unregister_flb 0 0"));
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
	unregistering_waits(_metadata);
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
	/* A file that is frozen must not need FLB 1. */
	ASSERT_EQ(0, ctl("unregister_flb 0 1"));
	ASSERT_EQ(0, ctl("register_flb 1 1"));
	ASSERT_EQ(0, add_file(session, 0, 9));
	lu_state_read(state);
	ASSERT_EQ(0, ctl("fail freeze 1 %d 1", EIO));
	ASSERT_EQ(0, ctl("hold freeze"));
	rebooter = in_the_background(jump, 0);
	ASSERT_TRUE(lu_state_wait(state, LU_PATIENCE_MS));
	EXPECT_STREQ("frozen", lu_state_read(state));
	ASSERT_TRUE(lu_await_line(DIR "log", "freeze 0 9"));
	EXPECT_EQ(-EAGAIN, ctl("get_in 1"));
	EXPECT_EQ(0, ctl("get_in 0"));
	EXPECT_EQ(0, ctl("put_in 0"));
	ASSERT_EQ(0, ctl("release"));
	EXPECT_EQ(EIO, exit_status(rebooter));
	close(session);
	close(state);
	ASSERT_EQ(0, ctl("unregister_flb 1 1"));
	ASSERT_EQ(0, ctl("register_flb 0 1"));
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

/* Who polls the state sees that the reboot has begun: it waits until they have. */
static void poll_the_reboot(int state)
{
	char line[96];

	while (lu_state_wait(state, -1)) {
		const char *now = lu_state_read(state);

		snprintf(line, sizeof(line), "polled state: %s\n", now);
		lu_write_file("/dev/kmsg", line);
		if (!strcmp(now, "frozen"))
			break;
	}
	lu_await_line(DIR "log", "freeze 0 1");
	_exit(ctl("release"));
}

HANDLERS(polled_reboot)
{
	int session, state;
	pid_t pid;

	ASSERT_EQ(0, load_test());
	if (self->stage == 1) {
		session = lu_create(self->dev, "polled");
		state = lu_state_open();
		ASSERT_LE(0, state);
		ASSERT_EQ(0, add_file(session, 0, 1));
		EXPECT_STREQ("prepared", lu_state_read(state));
		ASSERT_EQ(0, ctl("hold freeze"));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			poll_the_reboot(state);
		LU_KEXEC(2);
	}
	EXPECT_STREQ("1", lu_sysfs("number"));
	session = lu_retrieve(self->dev, "polled");
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1));
	EXPECT_EQ(0, lu_finish(session));
}

/* A damaged list of FLBs: live update stays off, and says so. */
HANDLERS(damaged_flbs)
{
	int session;

	if (self->stage == 1) {
		ASSERT_EQ(0, load_test());
		session = lu_create(self->dev, "one");
		ASSERT_EQ(0, add_file(session, 0, 1));
		ASSERT_EQ(0, lu_write_file(CORRUPT, "chain luo-fdt /luo-flb luo-flb-header 16"));
		LU_KEXEC(2);
	}
	EXPECT_EQ(-ENOENT, self->dev);
}

/*
 * A damaged session was all that B got, and C gets none: what its files shared is
 * there all the same, and is not lost by a kernel that would not take it.
 */
HANDLERS(flbs_without_sessions)
{
	int session;

	if (self->stage == 1) {
		ASSERT_EQ(0, load_test());
		session = lu_create(self->dev, "\xff");
		ASSERT_EQ(0, add_file(session, 0, 1));
		ASSERT_EQ(0, ctl("set 0 70"));
		ASSERT_EQ(0, lu_write_file(CORRUPT, "entry " SESSIONS "16"));
		LU_KEXEC(2);
	}
	ASSERT_LE(0, self->dev);
	EXPECT_EQ(0, lu_sysfs_number("incoming/sessions"));
	if (self->stage == 2)
		LU_KEXEC(3);
	EXPECT_EQ(-EOPNOTSUPP, lu_load(4, "kho=off"));
	ASSERT_EQ(0, load_test());
	EXPECT_EQ(0, ctl("get_in 0"));
	EXPECT_EQ(0, ctl("put_in 0"));
	EXPECT_TRUE(logged("flb_retrieve 0 0\nflb_get 0 70\n"));
}

/* What is left for files that nobody knows ends with the last session. */
HANDLERS(flbs_of_a_damaged_session)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	int session, i;

	ASSERT_EQ(0, load_test());
	if (self->stage == 1) {
		session = lu_create(self->dev, "damaged");
		ASSERT_EQ(0, add_file(session, 0, 1));
		session = lu_create(self->dev, "two");
		ASSERT_EQ(0, add_file(session, 1, 2));
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, ctl("set %d %d", i, 70 + i));
		ASSERT_EQ(0, lu_write_file(CORRUPT, "chain " SESSIONS "80 > 12"));
		LU_KEXEC(2);
	}
	EXPECT_EQ(-EBADMSG, lu_retrieve(self->dev, "damaged"));
	ASSERT_EQ(0, ctl("get_in 0"));
	ASSERT_EQ(0, lu_next(self->dev, &s));
	EXPECT_EQ(0, lu_discard(self->dev, s.id));
	EXPECT_EQ(-EOPNOTSUPP, lu_load(3, "kho=off"));
	session = lu_retrieve(self->dev, "two");
	ASSERT_LE(0, session);
	ctl("clear");
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_TRUE(logged("finish 1 2\nflb_retrieve 1 0\nflb_finish 1 71\n"
			   "flb_retrieve 2 0\nflb_finish 2 72\n"));
	EXPECT_EQ(-ENOENT, ctl("get_in 1"));
	EXPECT_EQ(0, lu_load(3, "kho=off"));
	EXPECT_EQ(0, ctl("put_in 0"));
	EXPECT_TRUE(logged("flb_finish 0 70\n"));
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
 * B has two new sessions, and an old one of which four files of five were
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

/* With objects that are there, whoever needs them preserved again. */
static void each_failing_flb(struct __test_metadata *_metadata)
{
	failing_reboot(_metadata, "flb_preserve", 1, "flb_preserve 0 70 5\n");
	failing_reboot(_metadata, "flb_preserve", 2,
		       "flb_preserve 0 70\nflb_preserve 1 71 5\nflb_unpreserve 0 70\n");
	failing_reboot(_metadata, "flb_preserve", 3,
		       "flb_preserve 0 70\nflb_preserve 1 71\nflb_preserve 2 72 5\n"
		       "flb_unpreserve 1 71\nflb_unpreserve 0 70\n");
}

#define PRESERVED_AGAIN	"preserve 0 1\npreserve 1 2\npreserve 0 4\npreserve 0 5\n"
#define UNDONE		"unpreserve 0 5\nunpreserve 0 4\nunpreserve 1 2\nunpreserve 0 1\n"

static void each_failing_preserve(struct __test_metadata *_metadata)
{
	failing_reboot(_metadata, "preserve", 1, "preserve 0 1 5\n");
	failing_reboot(_metadata, "preserve", 2,
		       "preserve 0 1\npreserve 1 2 5\nunpreserve 0 1\n");
	failing_reboot(_metadata, "preserve", 3,
		       "preserve 0 1\npreserve 1 2\npreserve 0 4 5\n"
		       "unpreserve 1 2\nunpreserve 0 1\n");
	failing_reboot(_metadata, "preserve", 4,
		       "preserve 0 1\npreserve 1 2\npreserve 0 4\npreserve 0 5 5\n"
		       "unpreserve 0 4\nunpreserve 1 2\nunpreserve 0 1\n");
}

static void each_failing_freeze(struct __test_metadata *_metadata)
{
	failing_reboot(_metadata, "freeze", 1, PRESERVED_AGAIN "freeze 0 10 5\n" UNDONE);
	failing_reboot(_metadata, "freeze", 2,
		       PRESERVED_AGAIN "freeze 0 10\nfreeze 0 11 5\nunfreeze 0 10\n" UNDONE);
	failing_reboot(_metadata, "freeze", 3,
		       PRESERVED_AGAIN "freeze 0 10\nfreeze 0 11\nfreeze 0 1 5\n"
		       "unfreeze 0 11\nunfreeze 0 10\n" UNDONE);
	failing_reboot(_metadata, "freeze", 4,
		       PRESERVED_AGAIN "freeze 0 10\nfreeze 0 11\nfreeze 0 1\nfreeze 0 4 5\n"
		       "unfreeze 0 1\nunfreeze 0 11\nunfreeze 0 10\n" UNDONE);
	failing_reboot(_metadata, "freeze", 5,
		       PRESERVED_AGAIN "freeze 0 10\nfreeze 0 11\nfreeze 0 1\nfreeze 0 4\n"
		       "freeze 0 5 5\nunfreeze 0 4\nunfreeze 0 1\n"
		       "unfreeze 0 11\nunfreeze 0 10\n" UNDONE);
}

static void each_failing_reboot(struct __test_metadata *_metadata, int dev, int old)
{
	static const int taken[] = { 1, 2, 4, 5 };
	int session;
	size_t i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, ctl("get_in %zu", i));
	ASSERT_EQ(0, lu_load(3, NULL));
	/* For files that wait, and for those of this kernel. */
	each_failing_flb(_metadata);
	for (i = 0; i < ARRAY_SIZE(taken); i++)
		ASSERT_LE(0, retrieve_one(old, taken[i]));
	each_failing_flb(_metadata);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, ctl("put_in %zu", i));

	for (i = 0; i < 2; i++) {
		session = lu_create(dev, i ? "b" : "a");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, add_file(session, 0, 10 + i));
	}
	each_failing_preserve(_metadata);
	each_failing_freeze(_metadata);
}

HANDLERS(failing_reboots)
{
	int session, i;

	ASSERT_EQ(0, load_test());
	if (self->stage == 1) {
		session = lu_create(self->dev, "old");
		for (i = 1; i <= 5; i++)
			ASSERT_EQ(0, add_file(session, i == 2, i));
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, ctl("set %d %d", i, 70 + i));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "old");
	ASSERT_LE(0, session);
	if (self->stage == 2) {
		each_failing_reboot(_metadata, self->dev, session);
		LU_JUMP();
	}
	for (i = 1; i <= 5; i++)
		ASSERT_LE(0, retrieve_one(session, i));
	EXPECT_EQ(0, lu_finish(session));
	for (i = 0; i < 2; i++) {
		session = lu_retrieve(self->dev, i ? "b" : "a");
		ASSERT_LE(0, session);
		EXPECT_LE(0, retrieve_one(session, 10 + i));
		EXPECT_EQ(0, lu_finish(session));
	}
}
