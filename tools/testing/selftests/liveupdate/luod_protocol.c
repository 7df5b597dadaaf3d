// SPDX-License-Identifier: GPL-2.0
/*
 * The agent and those who do not mean it well, or make mistakes: its protocol,
 * names and limits, without a reboot.
 */
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lu_harness.h"
#include "luod_util.h"

#define ALICE	1000
#define BOB	1001

/* One byte too many. */
#define TOO_LONG	"a123456789b123456789c123456789d123456789e1234567"

/* One user too many. */
#define SEVENTEEN	"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"

/* Clears a terminal. */
#define REASON		"\"reason\":\"\\u001b[2J\""

static char *const short_times[] = {
	"--stall-ms=3000", "--sessions-per-user=4", "--connections-per-user=6",
	"--sessions=6", "--connections=12", NULL,
};

FIXTURE(luod)
{
	pid_t pid;
	int fds;
	struct luod_client root, a, b;
};

FIXTURE_SETUP(luod)
{
	if (!lu_stage())
		SKIP(return, "alone with the agent in a guest only");
	self->pid = luod_begin(short_times, &self->root, LUOD_HELLO, &self->fds);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	ASSERT_EQ(0, luod_connect(&self->b, BOB));
}

/* Nothing is left of whatever they did, and luod ends well. */
FIXTURE_TEARDOWN(luod)
{
	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds));
	EXPECT_EQ(0, luod_stop(self->pid, SIGTERM));
}

TEST_F(luod, says_who_is_who)
{
	EXPECT_EQ(0, luod_ask(&self->root, "{\"op\":\"hello\",\"id\":5}\n"));
	EXPECT_TRUE(luod_has(&self->root, "\"id\":5"));
	EXPECT_TRUE(luod_has(&self->root, "\"uid\":0"));
	EXPECT_TRUE(luod_has(&self->root, "\"admin\":true"));
	EXPECT_EQ(0, luod_ask(&self->a, LUOD_HELLO));
	EXPECT_TRUE(luod_has(&self->a, "\"uid\":1000"));
	EXPECT_TRUE(luod_has(&self->a, "\"admin\":false"));
}

/* What is JSON and wrong gets an answer, and the next line counts. */
TEST_F(luod, wrong_requests)
{
	static const struct {
		const char *line;
		int err;
	} wrong[] = {
		{ "{}\n", -EOPNOTSUPP },
		{ "{\"op\":\"dance\"}\n", -EOPNOTSUPP },
		{ "{\"op\":7}\n", -EOPNOTSUPP },
		{ "{\"op\":\"hello\\u0000x\"}\n", -EOPNOTSUPP },
		{ "{\"op\":\"session\"}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":7}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":\"\"}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":\"a/b\"}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":\"../0/x\"}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":\"a b\"}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":\"a\\u0000b\"}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":\"\xc3\xa4\"}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":\"" TOO_LONG "\"}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":\"a\",\"colour\":\"red\"}\n", -EINVAL },
		{ "{\"op\":\"session\",\"name\":\"a\",\"uid\":0}\n", -EINVAL },
		{ "{\"op\":\"hello\",\"id\":-1}\n", -EINVAL },
		{ "{\"op\":\"hello\",\"id\":1.5}\n", -EINVAL },
		{ "{\"op\":\"hello\",\"id\":99999999999999999999}\n", -EINVAL },
		{ "{\"op\":\"hello\",\"prepare_ms\":4294967296}\n", -EINVAL },
		{ "{\"op\":\"hello\",\"prepare_ms\":2000000000}\n", -EINVAL },
		{ "{\"op\":\"hello\",\"prepare_ms\":600001}\n", -EINVAL },
		{ "{\"op\":\"update\",\"without\":0}\n", -EINVAL },
		{ "{\"op\":\"update\",\"without\":[0,-1]}\n", -EINVAL },
		{ "{\"op\":\"update\",\"without\":[[2,1]]}\n", -EINVAL },
		{ "{\"op\":\"update\",\"without\":[[1]]}\n", -EINVAL },
		{ "{\"op\":\"update\",\"without\":[[1,2,3]]}\n", -EINVAL },
		{ "{\"op\":\"update\",\"without\":[{}]}\n", -EINVAL },
		{ "{\"op\":\"update\",\"without\":[" SEVENTEEN "]}\n", -EINVAL },
		{ "{\"op\":\"hello\",\"without\":[]}\n", -EINVAL },
		{ "{\"op\":\"show\",\"name\":\"a\",\"uid\":4294967296}\n", -EINVAL },
		{ "{\"op\":\"ready\"}\n", -EINVAL },
		{ "{\"op\":\"ready\",\"update\":1,\"phase\":\"lunch\"}\n", -EINVAL },
		{ "{\"op\":\"ready\",\"update\":1,\"phase\":\"prepare\"}\n", -ESTALE },
		{ "{\"op\":\"refuse\",\"update\":0,\"phase\":\"prepare\"}\n", -ESTALE },
		{ "{\"op\":\"refuse\",\"update\":0,\"phase\":\"prepare\"," REASON "}\n", -EINVAL },
		{ "{\"op\":\"leave\"}\n", -EINVAL },
		{ "{\"op\":\"leave\",\"update\":0}\n", -ESTALE },
		{ "{\"op\":\"attach\"}\n", -EINVAL },
		{ "{\"op\":\"finish\"}\n", -EINVAL },
		{ "{\"op\":\"finish\",\"name\":\"a\",\"session_id\":1}\n", -EINVAL },
		{ "{\"op\":\"finish\",\"name\":\"a\"}\n", -ENOENT },
		{ "{\"op\":\"show\",\"name\":\"a\"}\n", -ENOENT },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		EXPECT_EQ(wrong[i].err, luod_ask(&self->a, wrong[i].line))
			TH_LOG("%zu", i);
	EXPECT_EQ(0, luod_ask(&self->a, LUOD_HELLO));
}

/* What is no JSON object is the end: who knows where the next line begins. */
TEST_F(luod, no_requests)
{
	static const char * const lines[] = {
		"\n", "hello\n", "[]\n", "null\n", "\"op\"\n", "{\"op\":\"hello\"\n",
		"{\"op\":\"hello\"}}\n",
		"{\"op\":\"hello\"} {\"op\":\"hello\"}\n",
		"{'op':'hello'}\n", "{\"op\":\"\xff\xfe\"}\n",
		"{\"a\":{\"b\":{\"c\":{\"d\":1}}}}\n", "GET / HTTP/1.1\r\n",
	};
	struct luod_client c;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		ASSERT_EQ(0, luod_connect(&c, ALICE));
		EXPECT_EQ(-EBADMSG, luod_ask(&c, lines[i]))
			TH_LOG("%s", lines[i]);
		EXPECT_TRUE(luod_ended(&c));
		luod_leave(&c);
	}
	EXPECT_EQ(0, luod_ask(&self->a, LUOD_HELLO));
}

TEST_F(luod, line_that_is_too_long)
{
	static char line[20000];
	int err;

	memset(line, ' ', sizeof(line) - 1);
	line[0] = '{';
	/* luod need not read all of it. */
	err = luod_ask(&self->a, line);
	EXPECT_TRUE(err == -EMSGSIZE || err == -ECONNRESET)
		TH_LOG("%d", err);
	EXPECT_TRUE(luod_ended(&self->a));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
}

TEST_F(luod, longest_line)
{
	static char line[16000];

	memset(line, ' ', sizeof(line) - 1);
	memcpy(line, "{\"op\":\"hello\"", 13);
	line[sizeof(line) - 3] = '}';
	line[sizeof(line) - 2] = '\n';
	EXPECT_EQ(0, luod_ask(&self->a, line));
}

/* Half a line, or a byte now and then: others are served meanwhile. */
TEST_F(luod, line_that_does_not_end)
{
	struct timespec tick = { .tv_nsec = 100 * 1000 * 1000 };
	int i;

	ASSERT_EQ(0, luod_send(&self->a, "{\"op\":", NULL, 0));
	for (i = 0; i < 600 && !luod_send(&self->b, " ", NULL, 0); i++)
		nanosleep(&tick, NULL);
	EXPECT_GT(600, i);
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_HELLO));
	EXPECT_EQ(0, luod_receive(&self->a));
	EXPECT_TRUE(luod_has(&self->a, "ETIMEDOUT"));
	EXPECT_TRUE(luod_ended(&self->a));
}

/* Two requests in one piece, one in two pieces. */
TEST_F(luod, pieces)
{
	ASSERT_EQ(0, luod_send(&self->a, "{\"op\":\"hello\",\"id\":1}\n{\"op\":\"hello", NULL, 0));
	ASSERT_EQ(0, luod_receive(&self->a));
	EXPECT_TRUE(luod_has(&self->a, "\"id\":1"));
	EXPECT_EQ(0, luod_ask(&self->a, "\",\"id\":2}\n"));
	EXPECT_TRUE(luod_has(&self->a, "\"id\":2"));
}

TEST_F(luod, descriptors_that_nobody_wants)
{
	int fds[8], i, before = self->fds + 3;

	for (i = 0; i < 8; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	/* With a request that takes none. */
	EXPECT_EQ(0, luod_ask_with(&self->a, "{\"op\":\"hello\"}\n", fds, 2));
	EXPECT_TRUE(luod_await_fds(self->pid, before));
	/* No session. */
	EXPECT_EQ(-EINVAL, luod_ask_with(&self->a, "{\"op\":\"attach\"}\n", fds, 1));
	EXPECT_TRUE(luod_await_fds(self->pid, before));
	/* More at once than any request takes. */
	EXPECT_EQ(-E2BIG, luod_ask_with(&self->a, "{", fds, 8));
	EXPECT_TRUE(luod_ended(&self->a));
	/* Two by two, with a line that never ends. */
	for (i = 0; i < 8; i += 2)
		if (luod_send(&self->b, " ", fds + i, 2))
			break;
	EXPECT_TRUE(luod_ended(&self->b));
	EXPECT_TRUE(luod_await_fds(self->pid, before - 2));
}

TEST_F(luod, names_are_per_user)
{
	int a = luod_session(&self->a, "vm"), b = luod_session(&self->b, "vm");
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];

	ASSERT_LE(0, a);
	EXPECT_TRUE(luod_has(&self->a, "\"origin\":\"new\""));
	ASSERT_LE(0, b);
	EXPECT_EQ(0, lu_get_name(a, name));
	EXPECT_STREQ("luod/1000/vm", name);
	EXPECT_EQ(0, lu_get_name(b, name));
	EXPECT_STREQ("luod/1001/vm", name);

	/* Nobody gets what is another's, nor one's own twice. */
	EXPECT_EQ(-EBUSY, luod_session(&self->a, "vm"));
	EXPECT_EQ(-EPERM, luod_ask(&self->b, "{\"op\":\"show\",\"name\":\"vm\",\"uid\":1000}\n"));
	EXPECT_EQ(-EPERM, luod_ask(&self->b, "{\"op\":\"finish\",\"name\":\"vm\",\"uid\":1000}\n"));
	EXPECT_EQ(-EPERM, luod_ask(&self->b, "{\"op\":\"finish\",\"session_id\":1}\n"));
	EXPECT_EQ(-EINVAL, luod_ask_with(&self->b, "{\"op\":\"attach\"}\n", &a, 1));
	EXPECT_EQ(0, luod_ask(&self->b, "{\"op\":\"sessions\"}\n"));
	EXPECT_FALSE(luod_has(&self->b, "1000"));
	EXPECT_TRUE(luod_has(&self->b, "luod/1001/vm"));
	/* Root sees all, and its own is not the others'. */
	EXPECT_EQ(0, luod_ask(&self->root, "{\"op\":\"sessions\"}\n"));
	EXPECT_TRUE(luod_has(&self->root, "luod/1000/vm"));
	EXPECT_TRUE(luod_has(&self->root, "luod/1001/vm"));
	EXPECT_LE(0, luod_session(&self->root, "vm"));
	EXPECT_EQ(-EINVAL, luod_ask(&self->a, "{\"op\":\"finish\",\"name\":\"vm\"}\n"));
}

/* The session is the client's: it ends with its descriptor, not before. */
TEST_F(luod, client_that_goes_away)
{
	int session = luod_session(&self->a, "vm"), fd = lu_memfd("m", LU_PAGE, 1);

	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, fd, 1));
	luod_leave(&self->a);
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + 2));
	/* It has it still. */
	EXPECT_EQ(-EBUSY, lu_preserve(session, fd, 2));
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	EXPECT_EQ(-EBUSY, luod_session(&self->a, "vm"));
	close(session);
	EXPECT_EQ(0, ftruncate(fd, 0));
	EXPECT_LE(0, luod_session(&self->a, "vm"));
}

/* It does not wait for what it asked for: the session ends on its way to it. */
TEST_F(luod, client_that_does_not_wait)
{
	int dev = lu_open_dev();

	ASSERT_LE(0, dev);
	ASSERT_EQ(0, luod_send(&self->a, "{\"op\":\"session\",\"name\":\"vm\"}\n", NULL, 0));
	ASSERT_EQ(0, luod_send(&self->a, "{\"op\":\"hello\"}\n", NULL, 0));
	ASSERT_EQ(0, luod_receive(&self->a));
	EXPECT_TRUE(luod_has(&self->a, "\"uid\":1000"));
	close(dev);
	/* Now it is on its way, or the end of the connection comes first. */
	luod_leave(&self->a);
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + 2));
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	EXPECT_LE(0, luod_session(&self->a, "vm"));
}

TEST_F(luod, limits)
{
	struct luod_client c[8];
	char name[16];
	int i;

	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "vm%d", i);
		EXPECT_LE(0, luod_session(&self->a, name));
	}
	EXPECT_EQ(-EDQUOT, luod_session(&self->a, "more"));
	EXPECT_LE(0, luod_session(&self->b, "more"));

	/* Alice has one of six connections. */
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, luod_connect(&c[i], ALICE));
		EXPECT_EQ(0, luod_ask(&c[i], LUOD_HELLO));
	}
	ASSERT_EQ(0, luod_connect(&c[5], ALICE));
	EXPECT_TRUE(luod_ended(&c[5]));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	for (i = 0; i < 6; i++)
		luod_leave(&c[i]);
}

/* Three users have all that there is for users, and root has what it needs. */
TEST_F(luod, limits_of_all_users)
{
	struct luod_client c[12];
	char name[16];
	int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, luod_connect(&c[i], 2000 + i / 4));
		EXPECT_EQ(0, luod_ask(&c[i], LUOD_HELLO));
	}
	for (i = 10; i < 12; i++) {
		ASSERT_EQ(0, luod_connect(&c[i], 3000 + i));
		EXPECT_TRUE(luod_ended(&c[i]));
	}
	/* Which is said once, and not as often as it is tried. */
	EXPECT_EQ(1, luod_times_said("of uid 3010 is turned away, and others maybe"));
	EXPECT_EQ(0, luod_times_said("of uid 3011 is turned away"));
	for (i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "vm%d", i);
		EXPECT_LE(0, luod_session(&c[i], name));
	}
	EXPECT_EQ(-EDQUOT, luod_session(&c[8], "more"));
	EXPECT_TRUE(luod_has(&c[8], "all users together"));
	EXPECT_EQ(0, luod_connect(&c[10], 0));
	EXPECT_LE(0, luod_session(&c[10], "root"));
	/* Nor is what one user may have a limit for root, who runs all VMs maybe. */
	for (i = 0; i < 10; i++) {
		luod_leave(&c[i]);
		ASSERT_EQ(0, luod_connect(&c[i], 0));
		EXPECT_EQ(0, luod_ask(&c[i], LUOD_HELLO));
	}
	for (i = 0; i < 12; i++)
		luod_leave(&c[i]);
}

#define NO_CLIENT	"no new client until others go: Too many open files"

/* Clock ticks that a process has run. */
static int ticks(pid_t pid)
{
	int user = 0, kernel = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %d %d",
			    &user, &kernel) != 2)
		user = -1;
	if (file)
		fclose(file);
	return user + kernel;
}

/* Everybody's together are more than a process can have: some wait, luod does not. */
TEST_F(luod, more_clients_than_descriptors)
{
	const struct timespec while_they_wait = { .tv_sec = 2 };
	struct rlimit usual, few;
	struct luod_client c[10];
	int i, before;

	ASSERT_EQ(0, prlimit(self->pid, RLIMIT_NOFILE, NULL, &usual));
	EXPECT_LT(4096, usual.rlim_cur);
	few = usual;
	few.rlim_cur = luod_fds(self->pid) + 4;
	ASSERT_EQ(0, prlimit(self->pid, RLIMIT_NOFILE, &few, NULL));
	for (i = 0; i < 10; i++)
		ASSERT_EQ(0, luod_connect(&c[i], 2000 + i));
	EXPECT_TRUE(luod_said(NO_CLIENT));
	before = ticks(self->pid);
	ASSERT_EQ(0, nanosleep(&while_they_wait, NULL));
	/* Half a second of CPU would be a quarter of the time. */
	EXPECT_GT(sysconf(_SC_CLK_TCK) / 2, ticks(self->pid) - before);
	EXPECT_EQ(1, luod_times_said(NO_CLIENT));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	/* They go, and the others have their turn. */
	for (i = 0; i < 6; i++)
		luod_leave(&c[i]);
	for (i = 6; i < 10; i++) {
		EXPECT_EQ(0, luod_ask(&c[i], LUOD_HELLO));
		luod_leave(&c[i]);
	}
	ASSERT_EQ(0, prlimit(self->pid, RLIMIT_NOFILE, &usual, NULL));
}

/* Nothing is left to receive a descriptor with: it is received when there is. */
TEST_F(luod, descriptor_without_a_place)
{
	int session = luod_session(&self->a, "vm");
	struct pollfd unanswered = { .events = POLLIN };
	struct rlimit usual, none;

	ASSERT_LE(0, session);
	luod_leave(&self->a);
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	ASSERT_EQ(0, luod_ask(&self->a, LUOD_HELLO));
	ASSERT_EQ(0, prlimit(self->pid, RLIMIT_NOFILE, NULL, &usual));
	none = usual;
	none.rlim_cur = luod_fds(self->pid);
	ASSERT_EQ(0, prlimit(self->pid, RLIMIT_NOFILE, &none, NULL));
	ASSERT_EQ(0, luod_send(&self->a, "{\"op\":\"attach\"}\n", &session, 1));
	unanswered.fd = self->a.fd;
	/* It is not received, and others do not notice. */
	EXPECT_EQ(0, poll(&unanswered, 1, 300));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_HELLO));
	ASSERT_EQ(0, prlimit(self->pid, RLIMIT_NOFILE, &usual, NULL));
	ASSERT_EQ(0, luod_receive(&self->a));
	EXPECT_TRUE(luod_has(&self->a, "\"name\":\"vm\""));
}

/* One client, and requests that nobody has an answer for yet: others are served. */
TEST_F(luod, many_requests_at_once)
{
	int dev = lu_open_dev(), i;

	ASSERT_LE(0, dev);
	for (i = 0; i < 65; i++)
		ASSERT_EQ(0, luod_send(&self->a, "{\"op\":\"sessions\"}\n", NULL, 0));
	ASSERT_EQ(0, luod_receive(&self->a));
	EXPECT_TRUE(luod_has(&self->a, "EDQUOT"));
	EXPECT_TRUE(luod_has(&self->a, "too many requests at once"));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	close(dev);
	for (i = 0; i < 64; i++) {
		ASSERT_EQ(0, luod_receive(&self->a));
		EXPECT_TRUE(luod_has(&self->a, "\"ok\":true"));
	}
}

/* A session counts as long as its user has it, whether luod is told or not. */
TEST_F(luod, limit_of_one_who_leaves)
{
	char name[16];
	int i, fds[4];

	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "vm%d", i);
		fds[i] = luod_session(&self->a, name);
		EXPECT_LE(0, fds[i]);
	}
	luod_leave(&self->a);
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + 2));
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	EXPECT_EQ(-EDQUOT, luod_session(&self->a, "more"));
	/* What it has, it can show. */
	EXPECT_EQ(0, luod_ask_with(&self->a, "{\"op\":\"attach\"}\n", fds, 1));
	close(fds[3]);
	EXPECT_LE(0, luod_session(&self->a, "more"));
	EXPECT_EQ(-EDQUOT, luod_session(&self->a, "yet_more"));
	EXPECT_LE(0, luod_session(&self->b, "more"));
}

/* One of two sessions is given back: it ends with the client's own descriptor. */
TEST_F(luod, session_given_back)
{
	int session = luod_session(&self->a, "one"), other = luod_session(&self->a, "two");
	const char *release = "{\"op\":\"release\",\"name\":\"one\"}\n";
	struct luod_client c;

	ASSERT_LE(0, session);
	ASSERT_LE(0, other);
	/* By whom it belongs to only. */
	ASSERT_EQ(0, luod_connect(&c, ALICE));
	EXPECT_EQ(-ENOENT, luod_ask(&c, release));
	EXPECT_EQ(-ENOENT, luod_ask(&self->b, release));
	EXPECT_EQ(-ENOENT, luod_ask(&self->a, "{\"op\":\"release\",\"name\":\"six\"}\n"));
	EXPECT_EQ(-EINVAL, luod_ask(&self->a, "{\"op\":\"release\"}\n"));

	EXPECT_EQ(0, luod_ask(&self->a, release));
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + 4 + 1));
	EXPECT_EQ(-EBUSY, luod_session(&c, "one"));
	EXPECT_EQ(-ENOENT, luod_ask(&self->a, release));
	close(session);
	EXPECT_LE(0, luod_session(&c, "one"));
	EXPECT_TRUE(luod_has(&c, "\"origin\":\"new\""));
	/* The other one is as it was. */
	EXPECT_EQ(-EBUSY, luod_session(&c, "two"));
	luod_leave(&c);
}

/* Who never reads is let go; the others do not notice. */
TEST_F(luod, client_that_does_not_read)
{
	static char lines[16384];
	int i, err = 0;

	for (i = 0; i + 15 < (int)sizeof(lines); i += 15)
		memcpy(lines + i, "{\"op\":\"hello\"}\n", 15);
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < 2000 && !err; i++)
		err = luod_send(&self->a, lines, NULL, 0);
	EXPECT_TRUE(err == -EPIPE || err == -ECONNRESET)
		TH_LOG("%d", err);
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
}

/* systemd opens the device, too, and does not try again. */
TEST_F(luod, waits_for_the_device)
{
	int dev = lu_open_dev();

	ASSERT_LE(0, dev);
	ASSERT_EQ(0, luod_send(&self->a, "{\"op\":\"session\",\"name\":\"vm\"}\n", NULL, 0));
	ASSERT_EQ(0, luod_send(&self->b, "{\"op\":\"sessions\"}\n", NULL, 0));
	EXPECT_EQ(0, luod_ask(&self->root, "{\"op\":\"status\"}\n"));
	/* One goes away while it waits. */
	luod_leave(&self->b);
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_HELLO));
	close(dev);
	ASSERT_EQ(0, luod_receive(&self->a));
	EXPECT_TRUE(luod_has(&self->a, "\"ok\":true"));
	/* It does not keep it; the one that went away may still have its turn. */
	do {
		dev = lu_open_dev();
	} while (dev == -EBUSY);
	EXPECT_LE(0, dev);
	close(dev);
}

TEST_F(luod, waits_for_the_device_in_vain)
{
	int dev = lu_open_dev();

	ASSERT_LE(0, dev);
	EXPECT_EQ(-EBUSY, luod_session(&self->a, "vm"));
	close(dev);
	EXPECT_LE(0, luod_session(&self->a, "vm"));
}

TEST_F(luod, second_luod)
{
	static char * const same[] = { LUOD, "--socket=" LUOD_SOCKET, NULL };
	static char * const other[] = { LUOD, "--socket=/tmp/other.sock", NULL };

	EXPECT_EQ(1, luod_run(same));
	EXPECT_TRUE(luod_said("another luod is running"));
	unlink(LUOD_LOG);
	EXPECT_EQ(1, luod_run(other));
	EXPECT_TRUE(luod_said("another luod is running"));
	EXPECT_EQ(0, luod_ask(&self->a, LUOD_HELLO));
}

/* Killed and started again: who shows that it has a session is known again. */
TEST_F(luod, killed_and_started_again)
{
	int session = luod_session(&self->a, "vm"), fd = lu_memfd("m", LU_PAGE, 1);

	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, fd, 1));
	EXPECT_EQ(128 + SIGKILL, luod_stop(self->pid, SIGKILL));
	EXPECT_TRUE(luod_ended(&self->a));
	luod_leave(&self->root);
	luod_leave(&self->b);
	self->pid = luod_start(short_times);
	ASSERT_LT(0, self->pid);

	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	EXPECT_EQ(-EBUSY, luod_session(&self->a, "vm"));
	EXPECT_EQ(0, luod_ask_with(&self->a, "{\"op\":\"attach\"}\n", &session, 1));
	EXPECT_TRUE(luod_has(&self->a, "\"name\":\"vm\""));
	EXPECT_EQ(-EBUSY, luod_ask_with(&self->a, "{\"op\":\"attach\"}\n", &session, 1));
	EXPECT_EQ(0, luod_ask(&self->a, "{\"op\":\"show\",\"name\":\"vm\"}\n"));
	EXPECT_TRUE(luod_has(&self->a, "\"files\":1"));
}

TEST_F(luod, only_for_root_and_the_owner)
{
	static const char * const lines[] = {
		"{\"op\":\"load\",\"cmdline\":\"\"}\n", "{\"op\":\"check\",\"cmdline\":\"\"}\n",
		"{\"op\":\"update\"}\n", "{\"op\":\"cancel\"}\n",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lines); i++)
		EXPECT_EQ(-EPERM, luod_ask(&self->a, lines[i]));
	EXPECT_EQ(-ENOENT, luod_ask(&self->root, "{\"op\":\"cancel\"}\n"));
	ASSERT_EQ(0, chown(LUOD_SOCKET, ALICE, 0));
	luod_leave(&self->a);
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	EXPECT_EQ(-ENOENT, luod_ask(&self->a, "{\"op\":\"cancel\"}\n"));
	EXPECT_EQ(-EPERM, luod_ask(&self->b, "{\"op\":\"cancel\"}\n"));
}

/* Its mode says who may connect, also when it is changed. */
TEST_F(luod, mode_of_the_socket)
{
	struct luod_client c;
	struct stat st;

	ASSERT_EQ(0, stat(LUOD_SOCKET, &st));
	EXPECT_EQ(0666, st.st_mode & 0777);
	ASSERT_EQ(0, chmod(LUOD_SOCKET, 0600));
	EXPECT_EQ(-EACCES, luod_connect(&c, BOB));
	ASSERT_EQ(0, seteuid(0));
	ASSERT_EQ(0, chmod(LUOD_SOCKET, 0666));
	ASSERT_EQ(0, luod_connect(&c, BOB));
	luod_leave(&c);
}

TEST_F(luod, images)
{
	int kernel = open("/host/bzImage-b", O_RDONLY | O_CLOEXEC), pipes[2], text, dir;
	const char *load = "{\"op\":\"load\",\"cmdline\":\"kho=on liveupdate=on\"}\n";
	const char *unfit = "{\"op\":\"check\",\"cmdline\":\"kho=off liveupdate=on\"}\n";
	const char *fit = "{\"op\":\"check\",\"cmdline\":\"kho=on liveupdate=on\"}\n";

	text = open("/init", O_RDONLY | O_CLOEXEC);
	dir = open("/", O_RDONLY | O_CLOEXEC);
	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	ASSERT_LE(0, kernel);
	EXPECT_EQ(-EINVAL, luod_ask(&self->root, load));
	EXPECT_EQ(-ENOEXEC, luod_ask_with(&self->root, load, &text, 1));
	EXPECT_TRUE(luod_has(&self->root, "not a kernel"));
	EXPECT_NE(0, luod_ask_with(&self->root, load, &dir, 1));
	EXPECT_NE(0, luod_ask_with(&self->root, load, pipes, 1));
	EXPECT_EQ('0', luod_loaded());
	EXPECT_EQ(-ENOEXEC, luod_ask(&self->root, "{\"op\":\"update\"}\n"));
	/* Nothing is left of these that the kernel would want a journal taken for. */
	EXPECT_EQ(0, lu_load_image("/host/bzImage-b", "kho=off"));
	EXPECT_EQ(0, lu_unload());

	/* A question leaves everything as it is. */
	EXPECT_EQ(0, luod_ask_with(&self->root, fit, &kernel, 1));
	EXPECT_EQ('0', luod_loaded());
	EXPECT_EQ(-EOPNOTSUPP, luod_ask_with(&self->root, unfit, &kernel, 1));
	EXPECT_EQ('0', luod_loaded());
	EXPECT_EQ(0, luod_ask_with(&self->root, load, &kernel, 1));
	EXPECT_EQ('1', luod_loaded());
	EXPECT_EQ(-EOPNOTSUPP, luod_ask_with(&self->root, unfit, &kernel, 1));
	EXPECT_EQ(0, luod_ask_with(&self->root, fit, &kernel, 1));
	EXPECT_EQ(-ENOEXEC, luod_ask_with(&self->root, load, &text, 1));
	EXPECT_EQ('1', luod_loaded());
	EXPECT_EQ(0, lu_unload());
	/* The image, to load it again, and its journal with its session. */
	self->fds += 3;
}

/* An agent that does nothing has nothing to lose. */
TEST_F(luod, stands_in_nobodys_way)
{
	EXPECT_EQ(0, lu_load_image("/host/bzImage-b", "kho=off"));
	EXPECT_EQ(0, lu_unload());
}
