// SPDX-License-Identifier: GPL-2.0
/*
 * Updates by the agent, into the next kernel and, with what nobody finished, into
 * one more.
 */
#include <signal.h>
#include <sys/resource.h>

#include "lu_harness.h"
#include "lu_monitor.h"
#include "luod_util.h"

#define ALICE	1000
#define BOB	1001
#define CAROL	1002

#define SESSIONS	"{\"op\":\"sessions\"}\n"
#define FINISH_ALICES	"{\"op\":\"finish\",\"name\":\"vm\",\"uid\":1000}\n"

FIXTURE(update)
{
};

FIXTURE_SETUP(update)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
}

FIXTURE_TEARDOWN(update)
{
}

static void be_client(struct __test_metadata *_metadata, struct luod_client *c, uid_t uid,
		      const char *name, int *session)
{
	ASSERT_EQ(0, luod_connect(c, uid));
	*session = luod_session(c, name);
	ASSERT_LE(0, *session)
		TH_LOG("%s: %s", name, c->line);
}

static void preserve(struct __test_metadata *_metadata, int session, uint64_t token)
{
	int fd = lu_memfd("m", LU_MIB, token);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_preserve(session, fd, token));
	close(fd);
}

/* A client with a file. */
static void be_owner(struct __test_metadata *_metadata, struct luod_client *c, uid_t uid,
		     const char *name, uint64_t token)
{
	int session = -1;

	be_client(_metadata, c, uid, name, &session);
	preserve(_metadata, session, token);
}

static void retrieve(struct __test_metadata *_metadata, int session, uint64_t token)
{
	int fd = lu_retrieve_fd(session, token);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, token));
	close(fd);
}

static void go(struct __test_metadata *_metadata, struct luod_client *root)
{
	ASSERT_EQ(0, luod_load_next(root));
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, luod_ask(root, LUOD_UPDATE));
}

static void into_the_first(struct __test_metadata *_metadata, char *const args[])
{
	struct luod_client root, a, b, c;
	int session;

	ASSERT_LT(0, luod_start(args));
	ASSERT_EQ(0, luod_connect(&root, 0));
	be_owner(_metadata, &a, ALICE, "vm", 1);
	be_client(_metadata, &b, BOB, "vm", &session);
	be_owner(_metadata, &c, CAROL, "forgotten", 3);
	go(_metadata, &root);

	ASSERT_EQ(0, luod_follow(&a, "prepare"));
	ASSERT_EQ(0, luod_follow(&c, "prepare"));
	/* What takes long can be preserved when the update comes. */
	ASSERT_EQ(0, luod_event(&b, "prepare"));
	EXPECT_EQ(0, luod_ask(&b, "{\"op\":\"show\",\"name\":\"vm\"}\n"));
	EXPECT_EQ(0, luod_ask(&b, "{\"op\":\"ready\",\"phase\":\"prepare\",\"update\":1}\n"));
	/* Carol does not wait; luod keeps what it has for it. */
	ASSERT_EQ(0, luod_follow(&c, "suspend"));
	ASSERT_EQ(0, luod_ask(&c, "{\"op\":\"leave\",\"update\":1}\n"));
	luod_leave(&c);
	/* That would be known to nobody else: no service manager listens any more. */
	EXPECT_TRUE(luod_said("session forgotten of uid 1002 is lost if luod dies: "));
	close(session);
	ASSERT_EQ(0, luod_follow(&a, "suspend"));
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, luod_follow(&b, "suspend"));
	/* The kernel goes now. */
	luod_event(&a, "cancel");
	ASSERT_STREQ("", "the reboot did not come");
}

/* luod looks again when it is asked, and may have its answer by the next time. */
static int ask_status(struct luod_client *c, const char *what)
{
	struct timespec tick = { .tv_nsec = 10 * 1000 * 1000 };
	int err, i;

	for (i = 0; i < LUOD_PATIENCE_MS / 10; i++) {
		err = luod_ask(c, LUOD_STATUS);
		if (err || luod_has(c, what))
			return err;
		nanosleep(&tick, NULL);
	}
	fprintf(stderr, "# %s is not in %s\n", what, c->line);
	return -ENOMSG;
}

/* How often luod has written its journal, as that itself says; it has one or two. */
static uint64_t journal_generation(pid_t luod)
{
	char path[64], link[64], header[65] = "";
	uint64_t n, most = 0;
	int i, half, fd;
	ssize_t len;

	for (i = 0; i < 256; i++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", luod, i);
		len = readlink(path, link, sizeof(link) - 1);
		link[len > 0 ? len : 0] = 0;
		if (!strstr(link, "luod-journal"))
			continue;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		for (half = 0; half < 2; half++)
			if (pread(fd, header, sizeof(header) - 1, half * 2 * LU_MIB) > 0 &&
			    sscanf(header, "luod-journal-1 %ju", &n) == 1 && n > most)
				most = n;
		close(fd);
	}
	return most;
}

/* In the second kernel: who comes back gets what is its own, and nobody else. */
static void come_back(struct __test_metadata *_metadata, char *const args[])
{
	struct luod_client root, a, b;
	pid_t pid = luod_start(args);
	int session, other;
	uint64_t written;

	ASSERT_LT(0, pid);
	ASSERT_EQ(0, luod_connect(&root, 0));
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":3"));
	EXPECT_TRUE(luod_has(&root, "\"from\":\"6.12"));
	EXPECT_TRUE(luod_has(&root, "\"jump_at\":"));

	/* Nothing is written that is there already. */
	written = journal_generation(pid);
	EXPECT_NE(0, written);
	EXPECT_EQ(0, luod_ask(&root, SESSIONS));
	EXPECT_EQ(0, luod_ask(&root, SESSIONS));
	EXPECT_EQ(written, journal_generation(pid));

	be_client(_metadata, &a, ALICE, "vm", &session);
	EXPECT_EQ(written + 1, journal_generation(pid));
	EXPECT_TRUE(luod_has(&a, "\"origin\":\"before\""));
	/* Nobody takes it away from the one who has come back for it. */
	EXPECT_EQ(-EBUSY, luod_ask(&root, FINISH_ALICES));
	EXPECT_TRUE(luod_has(&root, "has session vm"));
	retrieve(_metadata, session, 1);
	ASSERT_EQ(0, luod_connect(&b, BOB));
	other = luod_session(&b, "forgotten");
	ASSERT_LE(0, other);
	EXPECT_TRUE(luod_has(&b, "\"origin\":\"new\""));
	close(other);
	luod_leave(&b);
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":2,\"returned\":1"));

	/* luod dies: what is retrieved stays, what is not is still there. */
	ASSERT_EQ(128 + SIGKILL, luod_stop(pid, SIGKILL));
	luod_leave(&a);
	luod_leave(&root);
	pid = luod_start(args);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, luod_connect(&root, 0));
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":2,\"returned\":1"));
	EXPECT_TRUE(luod_has(&root, "\"journal\":true"));
	retrieve(_metadata, session, 1);

	/* A client dies: it can come back for its session. */
	ASSERT_EQ(0, luod_connect(&a, ALICE));
	EXPECT_EQ(-EBUSY, luod_session(&a, "vm"));
	close(session);
	session = luod_session(&a, "vm");
	ASSERT_LE(0, session);
	retrieve(_metadata, session, 1);
	ASSERT_EQ(0, lu_finish(session));
	luod_leave(&a);
	close(session);
	be_client(_metadata, &b, BOB, "vm", &session);
	/* Given back, it can be asked for again. */
	EXPECT_EQ(0, luod_ask(&b, "{\"op\":\"release\",\"name\":\"vm\"}\n"));
	EXPECT_EQ(-EBUSY, luod_session(&b, "vm"));
	close(session);
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":2,\"returned\":0"));
	session = luod_session(&b, "vm");
	ASSERT_LE(0, session);
	EXPECT_TRUE(luod_has(&b, "\"origin\":\"before\""));
	EXPECT_EQ(0, luod_ask(&b, "{\"op\":\"finish\",\"name\":\"vm\"}\n"));
	luod_leave(&b);
	close(session);
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":1,\"returned\":0,\"finished\":2,\"lost\":0"));
	EXPECT_TRUE(luod_said("nobody has come for session forgotten of uid 1002"));
	luod_leave(&root);
	EXPECT_EQ(0, luod_stop(pid, SIGTERM));
}

/* luod's journal goes along with the last session, and no further. */
static void drop_the_rest(struct __test_metadata *_metadata)
{
	struct luod_client root;
	pid_t pid = luod_start(NULL);

	ASSERT_LT(0, pid);
	ASSERT_EQ(0, luod_connect(&root, 0));
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":1"));
	EXPECT_EQ(0, luod_ask(&root, "{\"op\":\"finish\",\"name\":\"forgotten\",\"uid\":1002}\n"));
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":0"));
	EXPECT_STREQ("normal", lu_sysfs("state"));
	EXPECT_EQ(0, lu_sysfs_number("incoming/sessions"));
	luod_leave(&root);
	EXPECT_EQ(0, luod_stop(pid, SIGTERM));
}

/* An update of a luod that has no clients; what came before rides along. */
static void go_on(struct __test_metadata *_metadata)
{
	struct luod_client root;

	ASSERT_LT(0, luod_start(NULL));
	ASSERT_EQ(0, luod_connect(&root, 0));
	go(_metadata, &root);
	luod_receive(&root);
	ASSERT_STREQ("", "the reboot did not come");
}

TEST_F_TIMEOUT(update, journal, LU_TIMEOUT)
{
	static char *const args[] = { "--return-ms=500", NULL };

	switch (lu_stage()) {
	case 1:
		into_the_first(_metadata, args);
		break;
	case 2:
		come_back(_metadata, args);
		go_on(_metadata);
		break;
	default:
		drop_the_rest(_metadata);
	}
}

#define WITHOUT_BOB_AND_CAROL	"{\"op\":\"update\",\"without\":[[1001,1002]]}\n"

/*
 * The update goes without Bob, who is thrown out when others are suspended, and
 * without Carol, who ends: neither stands in its way, and what they have comes out.
 */
static void go_without_bob(struct __test_metadata *_metadata)
{
	struct luod_client root, a, b, c;

	ASSERT_LT(0, luod_start(NULL));
	ASSERT_EQ(0, luod_connect(&root, 0));
	be_owner(_metadata, &a, ALICE, "vm", 1);
	be_owner(_metadata, &b, BOB, "vm", 2);
	be_owner(_metadata, &c, CAROL, "vm", 3);
	ASSERT_EQ(0, luod_load_next(&root));
	ASSERT_EQ(0, luod_ask(&root, WITHOUT_BOB_AND_CAROL));
	EXPECT_TRUE(luod_has(&root, "\"left_out\":2"));
	ASSERT_EQ(0, luod_follow(&a, "prepare"));
	ASSERT_EQ(0, luod_event(&a, "suspend"));
	EXPECT_EQ(-EBADMSG, luod_ask(&b, "x\n"));
	EXPECT_TRUE(luod_ended(&b));
	luod_leave(&c);
	/* luod has seen it, and goes on. */
	EXPECT_EQ(0, ask_status(&root, "\"state\":\"suspend\""));
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, luod_answer(&a, "ready", "suspend"));
	luod_event(&a, "cancel");
	ASSERT_STREQ("", "the reboot did not come");
}

TEST_F_TIMEOUT(update, left_out, LU_TIMEOUT)
{
	static const uid_t users[] = { ALICE, BOB, CAROL };
	struct luod_client root, c;
	int session, i;
	pid_t pid;

	if (lu_stage() == 1)
		go_without_bob(_metadata);
	pid = luod_start(NULL);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, luod_connect(&root, 0));
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":3"));
	for (i = 0; i < ARRAY_SIZE(users); i++) {
		be_client(_metadata, &c, users[i], "vm", &session);
		EXPECT_TRUE(luod_has(&c, "\"origin\":\"before\""));
		retrieve(_metadata, session, i + 1);
		EXPECT_EQ(0, lu_finish(session));
		luod_leave(&c);
		close(session);
	}
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":0,\"returned\":0,\"finished\":3"));
	EXPECT_EQ(0, luod_stop(pid, SIGTERM));
}

/*
 * Without systemd, and with nothing but an initramfs: luod is started by a script
 * in both kernels, and says what it has to say in the kernel's log.
 */
TEST_F_TIMEOUT(update, initramfs, LU_TIMEOUT)
{
	static char *const argv[] = { LUOD, "--initramfs", "--socket=" LUOD_SOCKET, NULL };
	struct luod_client root, vm;
	int session;

	ASSERT_EQ(0, luod_run(argv));
	ASSERT_EQ(0, luod_connect(&root, 0));
	EXPECT_EQ(0, ask_status(&root, lu_stage() == 1 ? "\"image\":false" : "\"waiting\":1"));
	be_client(_metadata, &vm, 0, "vm", &session);
	if (lu_stage() == 1) {
		preserve(_metadata, session, 1);
		go(_metadata, &root);
		ASSERT_EQ(0, luod_follow(&vm, "prepare"));
		ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
		ASSERT_EQ(0, luod_follow(&vm, "suspend"));
		luod_receive(&vm);
		ASSERT_STREQ("", "the reboot did not come");
	}
	EXPECT_TRUE(luod_has(&vm, "\"origin\":\"before\""));
	retrieve(_metadata, session, 1);
	EXPECT_EQ(0, luod_ask(&vm, "{\"op\":\"finish\",\"name\":\"vm\"}\n"));
	EXPECT_EQ(0, ask_status(&root, "\"waiting\":0,\"returned\":0,\"finished\":1"));
}

/* No file can be written: the journal is none, and the sessions come all the same. */
TEST_F_TIMEOUT(update, no_journal, LU_TIMEOUT)
{
	static const struct rlimit little = { 65536, 65536 };
	static char *const args[] = { NULL };
	struct luod_client root, a;
	int session;
	pid_t pid;

	if (lu_stage() == 1) {
		struct rlimit usual;

		ASSERT_EQ(0, getrlimit(RLIMIT_FSIZE, &usual));
		signal(SIGXFSZ, SIG_IGN);
		pid = luod_start(args);
		ASSERT_LT(0, pid);
		ASSERT_EQ(0, prlimit(pid, RLIMIT_FSIZE, &little, NULL));
		ASSERT_EQ(0, luod_connect(&root, 0));
		be_owner(_metadata, &a, ALICE, "vm", 1);
		go(_metadata, &root);
		EXPECT_TRUE(luod_said("no journal: File too large"));
		ASSERT_EQ(0, luod_follow(&a, "prepare"));
		ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
		ASSERT_EQ(0, luod_follow(&a, "suspend"));
		luod_receive(&a);
		ASSERT_STREQ("", "the reboot did not come");
	}
	pid = luod_start(args);
	ASSERT_LT(0, pid);
	ASSERT_EQ(0, luod_connect(&root, 0));
	EXPECT_EQ(0, ask_status(&root, "\"journal\":false"));
	EXPECT_TRUE(luod_has(&root, "\"waiting\":1"));
	be_client(_metadata, &a, ALICE, "vm", &session);
	retrieve(_metadata, session, 1);
	EXPECT_EQ(0, lu_finish(session));
	luod_leave(&a);
	luod_leave(&root);
	EXPECT_EQ(0, luod_stop(pid, SIGTERM));
}
