// SPDX-License-Identifier: GPL-2.0
/*
 * An update on a host whose init is systemd, by luod as it is installed: the socket
 * starts it, systemd makes the reboot and ends everybody but luod, and starts it
 * again in the next kernel. Such a host is made elsewhere.
 *
 * There are two clients: this test, which no shutdown stops, and "client" below in
 * a service like any other, which is stopped when it has been suspended.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "lu_agent.h"
#include "lu_harness.h"
#include "../../../liveupdate/lib/luo.h"

#define SIZE		(4 * LU_MIB)
#define TOKEN		1
#define SEED_STAYS	7
#define SEED_STOPPED	8

/* Where others say how far they are; opening it to read waits for them. */
#define READY		"/run/lu-client"
#define SLOW		"/run/lu-slow"
#define INHIBIT		"/run/lu-inhibit"

/* Longer than a lock delays a shutdown, InhibitDelayMaxSec= of logind.conf(5). */
#define DELAY_S		8

#define SYSTEMCTL(...)	lu_run((char *[]){ "systemctl", __VA_ARGS__, NULL })
#define LUOCTL(...)	lu_run((char *[]){ "luoctl", __VA_ARGS__, NULL })

FIXTURE(systemd)
{
	struct luo_agent *agent;
	int session;
	int fd;
};

FIXTURE_SETUP(systemd)
{
	if (access("/run/systemd/system", F_OK))
		SKIP(return, "the init is not systemd");
	self->session = -1;
}

FIXTURE_TEARDOWN(systemd)
{
}

static int get_session(FIXTURE_DATA(systemd) * self, const char *name, enum luo_origin want)
{
	enum luo_origin origin;
	int err;

	if (!self->agent) {
		err = luo_agent_connect(&self->agent, NULL);
		if (err)
			return err;
	}
	self->session = luo_agent_session(self->agent, name, &origin);
	if (self->session < 0)
		return self->session;
	return origin == want ? 0 : -ESTALE;
}

/* Answer an event: 0, or 1 for the end of an update. */
static int answer(FIXTURE_DATA(systemd) * self)
{
	struct luo_event event;
	int err = luo_agent_event(self->agent, &event, -1);

	if (err || event.type == LUO_EVENT_CANCEL)
		return err ?: 1;
	if (event.type == LUO_EVENT_PREPARE) {
		err = luo_preserve(self->session, self->fd, TOKEN);
		/* A second time, after an update that was called off. */
		if (err && err != -EEXIST)
			return err;
	}
	return luo_agent_ready(self->agent, &event);
}

/* Until somebody has written to FIFO @path. */
static int await_writer(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char c;

	if (fd < 0)
		return -errno;
	if (read(fd, &c, 1) != 1) {
		close(fd);
		return -EIO;
	}
	close(fd);
	return 0;
}

/* Everybody is ready, and systemd has been asked. */
static int update(FIXTURE_DATA(systemd) * self)
{
	int err;

	err = SYSTEMCTL("start", "lu-client.service") ?: await_writer(READY);
	if (err)
		return err;
	err = lu_agent_update();
	return err < 0 ? err : answer(self) ?: answer(self);
}

/* All are suspended, and systemd is asked. */
static int await_jump(FIXTURE_DATA(systemd) * self)
{
	bool jumps = false;
	char *line;
	int err;

	while (!jumps) {
		err = luo_agent_line(self->agent, &line, -1);
		if (err)
			return err;
		jumps = strstr(line, "\"phase\":\"jump\"");
		free(line);
	}
	return 0;
}

/*
 * A program has a lock by which logind delays shutdowns. It does not delay this one,
 * and when the update is cancelled at once, no shutdown comes when the lock would be
 * over.
 */
static void be_inhibited(struct __test_metadata *_metadata, FIXTURE_DATA(systemd) * self)
{
	const struct timespec asked = { .tv_sec = 1 }, delay = { .tv_sec = DELAY_S };
	char *reply;
	int status;

	ASSERT_EQ(0, SYSTEMCTL("start", "lu-inhibit.service"));
	ASSERT_EQ(0, await_writer(INHIBIT));
	ASSERT_EQ(0, SYSTEMCTL("start", "lu-slow.service"));
	ASSERT_EQ(0, luo_agent_call(self->agent, "{\"op\":\"watch\"}", NULL, 0, &reply));
	free(reply);
	ASSERT_EQ(0, update(self));
	ASSERT_EQ(0, await_jump(self));
	/* systemctl has its answer then; logind would wait for five. */
	ASSERT_EQ(0, nanosleep(&asked, NULL));
	EXPECT_EQ(0, LUOCTL("cancel"));
	EXPECT_EQ(1, answer(self));
	ASSERT_LT(0, wait(&status));
	EXPECT_EQ(6, WEXITSTATUS(status));
	/* Nothing can be waited for that is not to happen. */
	ASSERT_EQ(0, nanosleep(&delay, NULL));
	EXPECT_EQ(0, SYSTEMCTL("start", "multi-user.target"));
	EXPECT_EQ(0, SYSTEMCTL("kill", "--signal=KILL", "lu-slow.service"));
	EXPECT_EQ(0, SYSTEMCTL("stop", "lu-client.service"));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, SEED_STAYS));
}

/* A service does not stop: the update can be cancelled, and the host goes on. */
static void be_called_off(struct __test_metadata *_metadata, FIXTURE_DATA(systemd) * self)
{
	int status;

	ASSERT_EQ(0, SYSTEMCTL("start", "lu-slow.service"));
	ASSERT_EQ(0, update(self));
	ASSERT_EQ(0, await_writer(SLOW));
	EXPECT_EQ(0, LUOCTL("cancel"));
	EXPECT_EQ(1, answer(self));
	ASSERT_LT(0, wait(&status));
	EXPECT_EQ(6, WEXITSTATUS(status));
	/* No shutdown is in the way of what is started now. */
	EXPECT_EQ(0, SYSTEMCTL("start", "multi-user.target"));
	EXPECT_EQ(0, SYSTEMCTL("kill", "--signal=KILL", "lu-slow.service"));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, SEED_STAYS));
}

/* To a luod that systemd has started again; no update is under way when it takes it. */
static int come_back(FIXTURE_DATA(systemd) * self)
{
	int err, i;

	luo_agent_close(self->agent);
	for (i = 0; i < 600; i++) {
		err = luo_agent_connect(&self->agent, NULL) ?:
		      luo_agent_attach(self->agent, self->session);
		if (!err)
			return 0;
		luo_agent_close(self->agent);
		self->agent = NULL;
		usleep(100000);
	}
	return err;
}

static void kill_luod(struct __test_metadata *_metadata, FIXTURE_DATA(systemd) * self)
{
	struct luo_event event;
	int status;

	EXPECT_EQ(0, SYSTEMCTL("kill", "--signal=KILL", "luod.service"));
	EXPECT_EQ(-ECONNRESET, luo_agent_event(self->agent, &event, -1));
	ASSERT_EQ(0, come_back(self));
	ASSERT_LT(0, wait(&status));
	EXPECT_NE(0, status);
	EXPECT_EQ(0, SYSTEMCTL("--quiet", "is-active", "luod.service"));
	EXPECT_EQ(0, SYSTEMCTL("stop", "lu-client.service"));
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, SEED_STAYS));
}

static int ready_for(struct luo_agent *agent, enum luo_event_type type, struct luo_event *event)
{
	int err = luo_agent_event(agent, event, -1);

	if (!err && event->type != type)
		err = -EPROTO;
	return err ?: luo_agent_ready(agent, event);
}

static int give_up(const char *name)
{
	char command[64];

	snprintf(command, sizeof(command), "luoctl finish %s", name);
	return system(command);
}

/* What luod keeps for a client that has left is still there when luod was killed. */
static void be_kept(struct __test_metadata *_metadata, FIXTURE_DATA(systemd) * self)
{
	struct luo_agent *other;
	struct luo_event event;
	int session;

	ASSERT_EQ(0, luo_agent_connect(&other, NULL));
	session = luo_agent_session(other, "left", NULL);
	ASSERT_LE(0, session);
	ASSERT_LT(0, lu_agent_update());
	ASSERT_EQ(0, answer(self));
	ASSERT_EQ(0, ready_for(other, LUO_EVENT_PREPARE, &event));
	ASSERT_EQ(0, ready_for(other, LUO_EVENT_SUSPEND, &event));
	ASSERT_EQ(0, luo_agent_leave(other, &event));
	luo_agent_close(other);
	close(session);
	ASSERT_EQ(0, luo_agent_event(self->agent, &event, -1));
	ASSERT_EQ(LUO_EVENT_SUSPEND, event.type);
	kill_luod(_metadata, self);
	ASSERT_EQ(0, luo_agent_connect(&other, NULL));
	EXPECT_EQ(-EBUSY, luo_agent_session(other, "left", NULL));
	luo_agent_close(other);
	EXPECT_EQ(0, give_up("left"));
}

/*
 * luod is killed while clients prepare, and when systemd has its shutdown to do: systemd
 * starts it again, the shutdown is cancelled, and the next update comes.
 */
static void be_killed(struct __test_metadata *_metadata, FIXTURE_DATA(systemd) * self)
{
	struct luo_event event;

	ASSERT_LT(0, lu_agent_update());
	ASSERT_EQ(0, luo_agent_event(self->agent, &event, -1));
	ASSERT_EQ(LUO_EVENT_PREPARE, event.type);
	kill_luod(_metadata, self);

	be_kept(_metadata, self);
	ASSERT_EQ(0, SYSTEMCTL("start", "lu-slow.service"));
	ASSERT_EQ(0, update(self));
	ASSERT_EQ(0, await_writer(SLOW));
	kill_luod(_metadata, self);
	/* No shutdown is in the way of what is started now. */
	EXPECT_EQ(0, SYSTEMCTL("start", "multi-user.target"));
	EXPECT_EQ(0, SYSTEMCTL("kill", "--signal=KILL", "lu-slow.service"));
}

/* As for a rescue shell: luod and its socket stay, and with them what it keeps. */
static void be_isolated(struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, SYSTEMCTL("isolate", "lu-alone.target"));
	EXPECT_NE(0, SYSTEMCTL("--quiet", "is-active", "basic.target"));
	EXPECT_EQ(0, SYSTEMCTL("--quiet", "is-active", "luod.socket"));
	EXPECT_EQ(0, SYSTEMCTL("--quiet", "is-active", "luod.service"));
	EXPECT_EQ(0, SYSTEMCTL("start", "basic.target"));
}

static void before(struct __test_metadata *_metadata, FIXTURE_DATA(systemd) * self)
{
	ASSERT_EQ(0, mkfifo(READY, 0600));
	EXPECT_NE(0, SYSTEMCTL("--quiet", "is-active", "luod.service"));
	ASSERT_EQ(0, get_session(self, "stays", LUO_NEW));
	EXPECT_EQ(0, SYSTEMCTL("--quiet", "is-active", "luod.service"));
	be_isolated(_metadata);
	self->fd = lu_memfd("m", SIZE, SEED_STAYS);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, lu_agent_load_next("systemd.unit=multi-user.target"));
	be_inhibited(_metadata, self);
	be_called_off(_metadata, self);
	be_killed(_metadata, self);
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, update(self));
	/* Its last event was that all are to suspend: now systemd ends it. */
	answer(self);
	ASSERT_STREQ("", "the reboot did not come");
}

static void expect_back(struct __test_metadata *_metadata, FIXTURE_DATA(systemd) * self,
			const char *name, uint64_t seed)
{
	ASSERT_EQ(0, get_session(self, name, LUO_FROM_BEFORE));
	self->fd = luo_retrieve_fd(self->session, TOKEN);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(0, lu_check(self->fd, 0, SIZE, seed));
	EXPECT_EQ(0, luo_finish(self->session));
}

static void after(struct __test_metadata *_metadata, FIXTURE_DATA(systemd) * self)
{
	EXPECT_EQ(0, SYSTEMCTL("is-system-running", "--wait"));
	/* It has been started with the others, before anybody asked. */
	EXPECT_EQ(0, SYSTEMCTL("--quiet", "is-active", "luod.service"));
	expect_back(_metadata, self, "stays", SEED_STAYS);
	expect_back(_metadata, self, "stopped", SEED_STOPPED);
	EXPECT_EQ(0, LUOCTL("status"));
}

TEST_F_TIMEOUT(systemd, update, LU_TIMEOUT)
{
	if (lu_stage() == 1)
		before(_metadata, self);
	else
		after(_metadata, self);
}

/* What lu-client.service runs: a client until it is told to end. */
TEST_F_TIMEOUT(systemd, client, LU_TIMEOUT)
{
	int ready, err = get_session(self, "stopped", LUO_NEW);

	/* It can have been stopped before luod was killed, and its session kept. */
	if (err == -EBUSY)
		err = give_up("stopped") ?: get_session(self, "stopped", LUO_NEW);
	ASSERT_EQ(0, err);
	self->fd = lu_memfd("m", SIZE, SEED_STOPPED);
	ASSERT_LE(0, self->fd);
	ready = open(READY, O_WRONLY | O_CLOEXEC);
	ASSERT_EQ(1, write(ready, "r", 1));
	close(ready);
	while (answer(self) >= 0)
		;
}
