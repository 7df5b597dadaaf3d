// SPDX-License-Identifier: GPL-2.0
/*
 * luod on a host whose shutdown is systemd's business, and does not come: systemctl
 * is a script here that does what each test wants it to.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lu_harness.h"
#include "luod_util.h"

#define ALICE		1000

#define MARKER		"/run/luod.jump"
#define ATTACH		"{\"op\":\"attach\"}\n"

#define FAKES		"/tmp/fake"
#define SYSTEMCTL	FAKES "/systemctl"

/* The last word is a script of its own; what it was asked for is logged. */
#define DISPATCH \
	"#!/bin/sh\n" \
	"echo \"systemctl $*\" >>" LUOD_LOG "\n" \
	"for last; do :; done\n" \
	". " FAKES "/$last\n"

#define YES		"exit 0\n"
#define NO		"exit 1\n"
#define NEVER		"exec sleep 1000\n"
#define ONCE_TOLD	"until [ -e " FAKES "/now ]; do usleep 20000; done\n"

/* The whole line: not a word of logind, whose shutdowns cannot be cancelled. */
#define KEXEC \
	"systemctl --no-block --job-mode=replace-irreversibly start kexec.target\n"
#define CANCEL		"systemctl --no-ask-password cancel\n"

static int write_script(const char *name, const char *text)
{
	char path[64];
	int fd, n;

	snprintf(path, sizeof(path), FAKES "/%s.new", name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	close(fd);
	if (n != (int)strlen(text))
		return -EIO;
	/* At once: luod may be about to run it. */
	snprintf(path, sizeof(path), "mv " FAKES "/%s.new " FAKES "/%s", name, name);
	return system(path) ? -EIO : 0;
}

static bool await_asked(const char *what, int n)
{
	struct timespec tick = { .tv_nsec = 10 * 1000 * 1000 };
	int i;

	for (i = 0; i < LUOD_PATIENCE_MS / 10 && luod_times_said(what) < n; i++)
		nanosleep(&tick, NULL);
	return luod_times_said(what) == n;
}

FIXTURE(jump)
{
	pid_t pid;
	struct luod_client root, a;
	int session, file;
};

FIXTURE_SETUP(jump)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	unlink(LUOD_LOG);
	unlink(MARKER);
	unlink(FAKES "/now");
	mkdir(FAKES, 0755);
	ASSERT_EQ(0, write_script("systemctl", DISPATCH));
	ASSERT_EQ(0, setenv("PATH", FAKES ":/usr/sbin:/usr/bin:/sbin:/bin", 1));
}

/* Whatever happened: it is as before the update. */
FIXTURE_TEARDOWN(jump)
{
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	EXPECT_TRUE(luod_has(&self->root, "\"state\":\"idle\""));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, self->file, 2));
	EXPECT_EQ(0, lu_check(self->file, 0, LU_MIB, 1));
	luod_leave(&self->root);
	luod_leave(&self->a);
	EXPECT_EQ(0, luod_stop(self->pid, SIGTERM));
	close(self->session);
	EXPECT_EQ(0, ftruncate(self->file, 0));
	lu_unload();
}

static int update(FIXTURE_DATA(jump) * self)
{
	return luod_ask(&self->root, LUOD_UPDATE) ?:
	       luod_follow(&self->a, "prepare") ?:
	       luod_follow(&self->a, "suspend") ?:
	       luod_event(&self->root, "phase");
}

/* With an image, and a client that has something to lose; @ms is luod's --jump-ms=. */
static void start(struct __test_metadata *_metadata, FIXTURE_DATA(jump) * self, char *ms,
		  const char *kexec, const char *cancel)
{
	char *const args[] = { "--jump=systemd", ms, NULL };

	ASSERT_EQ(0, write_script("kexec.target", kexec));
	ASSERT_EQ(0, write_script("cancel", cancel));
	self->pid = luod_start(args);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_WATCH));
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	self->session = luod_session(&self->a, "vm");
	ASSERT_LE(0, self->session);
	self->file = lu_memfd("m", LU_MIB, 1);
	ASSERT_EQ(0, lu_preserve(self->session, self->file, 1));
	ASSERT_EQ(0, luod_load_in_vain(&self->root));
}

/* Up to the moment when systemctl has been asked. */
static void go(struct __test_metadata *_metadata, FIXTURE_DATA(jump) * self, char *ms,
	       const char *kexec, const char *cancel)
{
	start(_metadata, self, ms, kexec, cancel);
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, update(self));
	ASSERT_TRUE(luod_said(KEXEC));
}

static void expect_off(struct __test_metadata *_metadata, FIXTURE_DATA(jump) * self,
		       const char *error)
{
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"phase\":\"jump\""));
	EXPECT_TRUE(luod_has(&self->root, error))
		TH_LOG("%s is not in %s", error, self->root.line);
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
}

/* The answer comes when all is told. */
static void cancel(struct __test_metadata *_metadata, FIXTURE_DATA(jump) * self)
{
	ASSERT_EQ(0, luod_send(&self->root, LUOD_CANCEL, NULL, 0));
	expect_off(_metadata, self, "uid 0 cancelled it");
	ASSERT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "\"ok\":true"));
}

#define JUMP_TEST(name)		TEST_F_TIMEOUT(jump, name, LU_TIMEOUT)

JUMP_TEST(never_comes)
{
	go(_metadata, self, "--jump-ms=5000", YES, YES);
	expect_off(_metadata, self, "ETIMEDOUT");
	EXPECT_TRUE(luod_has(&self->root, "the shutdown did not come within 5000 ms"));
	EXPECT_EQ(1, luod_times_said(CANCEL));

	/* And again. */
	EXPECT_EQ(0, update(self));
	expect_off(_metadata, self, "ETIMEDOUT");
	EXPECT_EQ(2, luod_times_said(KEXEC));
	EXPECT_EQ(2, luod_times_said(CANCEL));
}

/* There may be another shutdown under way: that one is not luod's to cancel. */
JUMP_TEST(is_refused)
{
	go(_metadata, self, "--jump-ms=60000", NO, YES);
	expect_off(_metadata, self, "ECANCELED");
	EXPECT_EQ(0, luod_times_said(CANCEL));
}

/* Nobody goes into a kernel that nobody has loaded, and systemd is not asked to. */
JUMP_TEST(image_is_gone)
{
	start(_metadata, self, "--jump-ms=60000", YES, YES);
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_follow(&self->a, "prepare"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	ASSERT_EQ(0, lu_unload());
	ASSERT_EQ(0, luod_answer(&self->a, "ready", "suspend"));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"phase\":\"jump\""));
	EXPECT_TRUE(luod_has(&self->root, "ENOEXEC"));
	EXPECT_TRUE(luod_has(&self->root, "not loaded any more"));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_EQ(0, luod_times_said("systemctl "));
}

/*
 * There is no place for the mark by which the next luod would know of the shutdown:
 * nobody stands still for that, unless it is so only then.
 */
JUMP_TEST(no_place_for_the_mark)
{
	start(_metadata, self, "--jump-ms=60000", YES, YES);
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, mkdir(MARKER, 0700));
	ASSERT_EQ(0, luod_send(&self->root, LUOD_UPDATE, NULL, 0));
	ASSERT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "\"EISDIR\""));
	EXPECT_TRUE(luod_said(MARKER ": Is a directory"));
	ASSERT_EQ(0, rmdir(MARKER));

	/* Nobody was asked: this is the first that they hear of. */
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_receive(&self->a));
	ASSERT_TRUE(luod_has(&self->a, "\"event\":\"prepare\",\"update\":1"));
	ASSERT_EQ(0, luod_answer(&self->a, "ready", "prepare"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	ASSERT_EQ(0, mkdir(MARKER, 0700));
	ASSERT_EQ(0, luod_answer(&self->a, "ready", "suspend"));
	expect_off(_metadata, self, "Is a directory");
	EXPECT_EQ(0, luod_times_said("systemctl "));
	ASSERT_EQ(0, rmdir(MARKER));

	EXPECT_EQ(0, update(self));
	EXPECT_TRUE(await_asked(KEXEC, 1));
	cancel(_metadata, self);
}

JUMP_TEST(is_cancelled)
{
	go(_metadata, self, "--jump-ms=60000", YES, YES);
	cancel(_metadata, self);
	EXPECT_EQ(-ENOENT, luod_ask(&self->root, LUOD_CANCEL));
}

/* A client that luod has to disconnect takes that for a cancel, so it is one. */
JUMP_TEST(client_is_thrown_out)
{
	go(_metadata, self, "--jump-ms=60000", YES, YES);
	EXPECT_EQ(-EBADMSG, luod_ask(&self->a, "x\n"));
	EXPECT_TRUE(luod_ended(&self->a));
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"phase\":\"jump\""));
	EXPECT_TRUE(luod_has(&self->root, "disconnected by luod"));
	EXPECT_EQ(1, luod_times_said(CANCEL));
}

/* systemd has come so far that it does not take requests. */
JUMP_TEST(is_not_to_be_cancelled)
{
	struct luod_client b;

	go(_metadata, self, "--jump-ms=60000", YES, NO);
	ASSERT_EQ(0, luod_send(&self->root, LUOD_CANCEL, NULL, 0));
	ASSERT_EQ(0, luod_event(&self->root, "warning"));
	EXPECT_TRUE(luod_has(&self->root, "does not stop the shutdown"));
	ASSERT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "\"error\":\"EBUSY\""));
	/* Nor does luod end for whoever stops services. */
	EXPECT_EQ(0, kill(self->pid, SIGTERM));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	EXPECT_TRUE(luod_has(&self->root, "\"state\":\"jump\""));
	ASSERT_EQ(0, luod_connect(&b, ALICE));
	EXPECT_EQ(-EAGAIN, luod_session(&b, "late"));
	EXPECT_EQ(-EPERM, luod_ask(&b, LUOD_CANCEL));
	luod_leave(&b);
	ASSERT_EQ(0, unlink(SYSTEMCTL));
	EXPECT_EQ(-EBUSY, luod_ask(&self->root, LUOD_CANCEL));
	ASSERT_EQ(0, write_script("systemctl", DISPATCH));

	ASSERT_EQ(0, write_script("cancel", YES));
	cancel(_metadata, self);
}

JUMP_TEST(systemctl_hangs)
{
	go(_metadata, self, "--jump-ms=5000", NEVER, YES);
	expect_off(_metadata, self, "ETIMEDOUT");
	EXPECT_EQ(1, luod_times_said(CANCEL));
}

/* It is asked again after the same time. */
JUMP_TEST(cancelling_hangs)
{
	go(_metadata, self, "--jump-ms=5000", YES, NEVER);
	ASSERT_EQ(0, luod_event(&self->root, "warning"));
	EXPECT_TRUE(luod_has(&self->root, "the shutdown did not come within 5000 ms"));
	EXPECT_TRUE(luod_has(&self->root, "does not stop the shutdown"));
	ASSERT_EQ(0, write_script("cancel", YES));
	expect_off(_metadata, self, "ETIMEDOUT");
}

JUMP_TEST(who_cancels_goes_away)
{
	go(_metadata, self, "--jump-ms=60000", YES, ONCE_TOLD);
	ASSERT_EQ(0, luod_send(&self->root, LUOD_CANCEL, NULL, 0));
	ASSERT_TRUE(luod_said(CANCEL));
	luod_leave(&self->root);
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_WATCH));
	ASSERT_EQ(0, luod_send(&self->root, LUOD_CANCEL, NULL, 0));
	/* The second one is known to luod before systemctl ends. */
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	ASSERT_EQ(0, write_script("now", ""));
	expect_off(_metadata, self, "ECANCELED");
	ASSERT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "\"ok\":true"));
	/* Once for both. */
	EXPECT_EQ(1, luod_times_said(CANCEL));
}

/* luod dies, its clients go on, and the shutdown that it asked for does as well. */
static void die_and_start(struct __test_metadata *_metadata, FIXTURE_DATA(jump) * self)
{
	static char *const args[] = { "--jump=systemd", "--jump-ms=60000", NULL };

	ASSERT_EQ(128 + SIGKILL, luod_stop(self->pid, SIGKILL));
	EXPECT_TRUE(luod_ended(&self->a));
	luod_leave(&self->a);
	luod_leave(&self->root);
	self->pid = luod_start(args);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_WATCH));
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
}

JUMP_TEST(luod_dies)
{
	go(_metadata, self, "--jump-ms=60000", YES, YES);
	EXPECT_EQ(0, access(MARKER, F_OK));
	die_and_start(_metadata, self);
	/* Before anybody could come in. */
	EXPECT_EQ(1, luod_times_said(CANCEL));
	EXPECT_NE(0, access(MARKER, F_OK));
	EXPECT_EQ(0, luod_ask_with(&self->a, ATTACH, &self->session, 1));

	/* It has nothing to stop the next time, but for what it asks for itself. */
	EXPECT_EQ(0, update(self));
	EXPECT_TRUE(await_asked(KEXEC, 2));
	cancel(_metadata, self);
	EXPECT_EQ(2, luod_times_said(CANCEL));
	EXPECT_NE(0, access(MARKER, F_OK));
}

/* And cannot be stopped: who would run on into the next kernel does not come in. */
JUMP_TEST(luod_dies_too_late)
{
	go(_metadata, self, "--jump-ms=60000", YES, NO);
	die_and_start(_metadata, self);
	EXPECT_EQ(1, luod_times_said(CANCEL));
	EXPECT_TRUE(luod_said("does not stop the shutdown"));
	EXPECT_EQ(-EAGAIN, luod_ask_with(&self->a, ATTACH, &self->session, 1));
	EXPECT_EQ(-EAGAIN, luod_session(&self->a, "new"));
	EXPECT_EQ(-EBUSY, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	EXPECT_TRUE(luod_has(&self->root, "\"state\":\"jump\""));
	ASSERT_EQ(0, write_script("cancel", YES));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	EXPECT_EQ(0, luod_ask_with(&self->a, ATTACH, &self->session, 1));
}

/* luoctl waits for the answer, and says what it was. */
JUMP_TEST(luoctl)
{
	static char * const argv[] = { "luoctl", "--socket=" LUOD_SOCKET, "cancel", NULL };

	go(_metadata, self, "--jump-ms=60000", YES, NO);
	EXPECT_EQ(1, luod_run(argv));
	EXPECT_TRUE(luod_said("luoctl: it is too late: systemd does not stop the shutdown"));
	ASSERT_EQ(0, write_script("cancel", YES));
	EXPECT_EQ(0, luod_run(argv));
	expect_off(_metadata, self, "ECANCELED");
}

static pid_t update_by_luoctl(FIXTURE_DATA(jump) * self, int nr)
{
	static char * const argv[] = { "luoctl", "--socket=" LUOD_SOCKET, "update", NULL };
	pid_t pid = luod_spawn(argv);
	int err;

	if (pid < 0)
		return pid;
	err = luod_follow(&self->a, "prepare") ?: luod_follow(&self->a, "suspend");
	if (err)
		return err;
	return await_asked(KEXEC, nr) ? pid : -ETIME;
}

/* The shutdown ends luoctl, which does not want it to be off then; an interrupt does. */
JUMP_TEST(luoctl_gets_signals)
{
	pid_t pid;

	go(_metadata, self, "--jump-ms=60000", NO, YES);
	expect_off(_metadata, self, "ECANCELED");
	ASSERT_EQ(0, write_script("kexec.target", YES));
	pid = update_by_luoctl(self, 2);
	ASSERT_LT(0, pid);
	EXPECT_EQ(128 + SIGTERM, luod_stop(pid, SIGTERM));
	EXPECT_EQ(0, luod_times_said(CANCEL));
	cancel(_metadata, self);

	pid = update_by_luoctl(self, 3);
	ASSERT_LT(0, pid);
	EXPECT_EQ(6, luod_stop(pid, SIGINT));
	EXPECT_EQ(2, luod_times_said(CANCEL));
	expect_off(_metadata, self, "ECANCELED");
}
