// SPDX-License-Identifier: GPL-2.0
/*
 * The agent and one client that has more to ask for than all others: those have
 * their answers as if it were not there.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "lu_harness.h"
#include "luod_util.h"

#define ALICE	1000
#define BOB	1001

/* What a client may have waiting, as luod(8) has it. */
#define WAITING	64

/* How many of its answers may come between a question of another and its answer. */
#define FEW	8

/* That many make a request which looks for one of them take some time. */
#define SESSIONS	400

#define SHOW	"{\"op\":\"show\",\"name\":\"x\"}\n"

FIXTURE(luod)
{
	pid_t pid;
	int fds;
	struct luod_client root, a, b;
	int sessions[SESSIONS];
};

/* Before luod goes on, the test sees what luod has just sent. */
static int be_quick(void)
{
	struct sched_param one = { .sched_priority = 1 };

	return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &one) ? -errno : 0;
}

FIXTURE_SETUP(luod)
{
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	int dev, i;

	if (!lu_stage())
		SKIP(return, "alone with the agent in a guest only");
	dev = lu_open_dev();
	ASSERT_LE(0, dev);
	for (i = 0; i < SESSIONS; i++) {
		snprintf(name, sizeof(name), "nobodys-%d", i);
		self->sessions[i] = lu_create(dev, name);
		ASSERT_LE(0, self->sessions[i]);
	}
	close(dev);
	ASSERT_EQ(0, be_quick());
	self->pid = luod_begin(NULL, &self->root, LUOD_HELLO, &self->fds);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	ASSERT_EQ(0, luod_connect(&self->b, BOB));
	ASSERT_EQ(0, luod_ask(&self->a, LUOD_HELLO));
	ASSERT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
}

FIXTURE_TEARDOWN(luod)
{
	int i;

	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds));
	EXPECT_EQ(0, luod_stop(self->pid, SIGTERM));
	for (i = 0; i < SESSIONS; i++)
		close(self->sessions[i]);
}

/* Many at once, in one piece. */
static int send_many(struct luod_client *client, const char *line, int times)
{
	char text[8192] = "";
	size_t len = 0;

	while (times-- && len + strlen(line) < sizeof(text))
		len += sprintf(text + len, "%s", line);
	return luod_send(client, text, NULL, 0);
}

/* How many answers are there by now; luod stands still meanwhile. */
static int answers(struct luod_client *client, pid_t luod)
{
	struct pollfd p = { .fd = client->fd, .events = POLLIN };
	int n = 0;

	kill(luod, SIGSTOP);
	while ((memchr(client->buf, '\n', client->len) || poll(&p, 1, 0) == 1) &&
	       !luod_receive(client))
		n++;
	kill(luod, SIGCONT);
	return n;
}

static int rest_of_answers(struct luod_client *client, int n)
{
	int good = 0;

	while (n-- && !luod_receive(client))
		good += luod_has(client, "\"ENOENT\"");
	return good;
}

/* All of it comes in with one read: luod takes a line, and looks at the others. */
TEST_F(luod, lines_of_one_read)
{
	int few;

	ASSERT_EQ(0, kill(self->pid, SIGSTOP));
	ASSERT_EQ(0, send_many(&self->a, SHOW, 2 * WAITING));
	ASSERT_EQ(0, luod_send(&self->root, LUOD_HELLO, NULL, 0));
	ASSERT_EQ(0, kill(self->pid, SIGCONT));
	ASSERT_EQ(0, luod_receive(&self->root));
	few = answers(&self->a, self->pid);
	EXPECT_GE(FEW, few);
	/* Nor are that many under way. */
	ASSERT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	few += answers(&self->a, self->pid);
	EXPECT_GE(2 * FEW, few);
	EXPECT_EQ(2 * WAITING - few, rest_of_answers(&self->a, 2 * WAITING - few));
}

/* They wait for the device, and it is free: one is served, and others are heard. */
TEST_F(luod, requests_that_have_waited)
{
	int dev = lu_open_dev(), few = 1;

	ASSERT_LE(0, dev);
	ASSERT_EQ(0, send_many(&self->a, SHOW, WAITING));
	/* All of them do. */
	ASSERT_EQ(-EDQUOT, luod_ask(&self->a, SHOW));
	close(dev);
	ASSERT_EQ(0, luod_receive(&self->a));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_HELLO));
	few += answers(&self->a, self->pid);
	EXPECT_GE(FEW, few);
	EXPECT_EQ(WAITING - few, rest_of_answers(&self->a, WAITING - few));
}

/* The device goes from user to user, and to administrators first. */
TEST_F(luod, users_by_turns)
{
	struct timespec t, u;
	int dev = lu_open_dev(), few;

	ASSERT_LE(0, dev);
	ASSERT_EQ(0, send_many(&self->a, SHOW, WAITING));
	ASSERT_EQ(-EDQUOT, luod_ask(&self->a, SHOW));
	ASSERT_EQ(0, send_many(&self->b, SHOW, 2));
	ASSERT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	ASSERT_EQ(0, luod_send(&self->root, SHOW, NULL, 0));
	ASSERT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	close(dev);
	clock_gettime(CLOCK_MONOTONIC, &t);
	ASSERT_EQ(0, luod_receive(&self->root));
	clock_gettime(CLOCK_MONOTONIC, &u);
	few = answers(&self->a, self->pid);
	EXPECT_GE(FEW, few);
	ASSERT_EQ(0, luod_receive(&self->b));
	ASSERT_EQ(0, luod_receive(&self->b));
	few += answers(&self->a, self->pid);
	EXPECT_GE(2 * FEW, few);
	EXPECT_EQ(WAITING - few, rest_of_answers(&self->a, WAITING - few));
	printf("# root's answer: %ld us\n",
	       (u.tv_sec - t.tv_sec) * 1000000L + (u.tv_nsec - t.tv_nsec) / 1000);
}
