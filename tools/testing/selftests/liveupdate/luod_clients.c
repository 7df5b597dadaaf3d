// SPDX-License-Identifier: GPL-2.0
/*
 * libluo and luoctl, as those use them who mean it well.
 */
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "luo.h"
#include "lu_harness.h"
#include "lu_monitor.h"
#include "luod_util.h"

/* One byte too many. */
#define LONG_NAME "0123456789012345678901234567890123456789012345678901234567890123"

#define ALICE	1000

#define JUMP_MARK	"/run/luod.jump"

#define CTL	"/usr/sbin/luoctl"

#define RUN(...)	luod_run((char *[]) { CTL, __VA_ARGS__, NULL })
#define SPAWN(...)	luod_spawn((char *[]) { CTL, __VA_ARGS__, NULL })

FIXTURE(clients)
{
};

FIXTURE_SETUP(clients)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	unlink(LUOD_LOG);
	setenv("LUOD_SOCKET", LUOD_SOCKET, 1);
}

FIXTURE_TEARDOWN(clients)
{
}

#define CLIENTS(name)	TEST_F_TIMEOUT(clients, name, LU_TIMEOUT)

static void *close_later(void *arg)
{
	struct timespec t = { .tv_nsec = 300 * 1000 * 1000 };

	nanosleep(&t, NULL);
	close(*(int *)arg);
	return NULL;
}

static void device(struct __test_metadata *_metadata)
{
	struct luo_session_info info = { 0 };
	int dev = luo_open(0), session, other;
	pthread_t thread;

	ASSERT_LE(0, dev);
	EXPECT_EQ(-EBUSY, luo_open(0));
	EXPECT_EQ(-EBUSY, luo_open(50));
	ASSERT_EQ(0, pthread_create(&thread, NULL, close_later, &dev));
	other = luo_open(-1);
	ASSERT_LE(0, other);
	pthread_join(thread, NULL);
	dev = other;

	EXPECT_EQ(-EINVAL, luo_create(dev, ""));
	EXPECT_EQ(-EINVAL, luo_retrieve(dev, LONG_NAME));
	EXPECT_EQ(-ENOENT, luo_next(dev, &info));
	session = luo_create(dev, "one");
	ASSERT_LE(0, session);
	EXPECT_EQ(-EEXIST, luo_create(dev, "one"));
	EXPECT_EQ(-ENOENT, luo_retrieve(dev, "one"));
	EXPECT_EQ(0, luo_next(dev, &info));
	EXPECT_STREQ("one", info.name);
	EXPECT_EQ(LUO_SESSION_OUTGOING, info.state);
	EXPECT_TRUE(info.by_name);
	EXPECT_EQ(-EINVAL, luo_retrieve_id(dev, info.id));
	EXPECT_EQ(-EINVAL, luo_discard(dev, info.id));
	EXPECT_EQ(-ENOENT, luo_next(dev, &info));
	close(session);
	close(dev);

	/* A file that knows no such requests, as older kernels do not. */
	dev = open("/dev/null", O_RDWR | O_CLOEXEC);
	EXPECT_EQ(-EOPNOTSUPP, luo_next(dev, &info));
	EXPECT_EQ(-EOPNOTSUPP, luo_retrieve_id(dev, 1));
	EXPECT_EQ(-EOPNOTSUPP, luo_discard(dev, 1));
	EXPECT_EQ(-ENOTTY, luo_create(dev, "x"));
	close(dev);
}

static void session_requests(struct __test_metadata *_metadata, int session)
{
	int fd = lu_memfd("m", LU_PAGE, 1), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char name[LUO_NAME_SIZE];

	EXPECT_EQ(0, luo_preserve(session, fd, 1));
	EXPECT_EQ(-EEXIST, luo_preserve(session, null, 1));
	EXPECT_EQ(-ENOENT, luo_preserve(session, null, 2));
	EXPECT_EQ(-EBADF, luo_preserve(session, -1, 2));
	EXPECT_EQ(-EINVAL, luo_retrieve_fd(session, 1));
	EXPECT_EQ(-EINVAL, luo_finish(session));
	EXPECT_EQ(0, luo_name(session, name));
	EXPECT_STREQ("passed", name);
	EXPECT_EQ(-ENOTTY, luo_name(null, name));
	close(null);
	close(fd);
}

/* A session over a socket, and what is none. */
static void passing(struct __test_metadata *_metadata, int session, int type)
{
	char name[LUO_NAME_SIZE], junk[LUO_NAME_SIZE] = "junk";
	int s[2], fds = lu_count_fds(), got;

	ASSERT_EQ(0, socketpair(AF_UNIX, type, 0, s));
	EXPECT_EQ(-ENOTTY, luo_send(s[0], s[1]));
	EXPECT_EQ(0, luo_send(s[0], session));
	got = luo_receive(s[1], name);
	ASSERT_LE(0, got);
	EXPECT_STREQ("passed", name);
	EXPECT_EQ(FD_CLOEXEC, fcntl(got, F_GETFD));
	close(got);
	/* No descriptor; one that is no session; another name than it bears. */
	ASSERT_EQ((ssize_t)sizeof(junk), send(s[0], junk, sizeof(junk), 0));
	EXPECT_EQ(-EBADMSG, luo_receive(s[1], NULL));
	ASSERT_EQ(0, lu_send_fd(s[0], s[0]));
	EXPECT_EQ(-EBADMSG, luo_receive(s[1], NULL));
	ASSERT_EQ(0, lu_send_fd(s[0], session));
	EXPECT_EQ(-EBADMSG, luo_receive(s[1], NULL));
	close(s[0]);
	EXPECT_EQ(-ECONNRESET, luo_receive(s[1], NULL));
	signal(SIGPIPE, SIG_DFL);
	EXPECT_EQ(-EPIPE, luo_send(s[1], session));
	close(s[1]);
	EXPECT_EQ(fds, lu_count_fds());
}

#define STRANGE_SOCKET	"/tmp/strange.sock"

/* An answer of an agent that is none, with descriptors that nobody asked for. */
struct strange {
	const char *line;
	int err;
	int nr_fds;
};

static const struct strange strange[] = {
	{ "hello\n", -EBADMSG },
	{ "[]\n", -EBADMSG },
	{ "{\"id\":1}\n", -EBADMSG },
	{ "{\"ok\":true,\"origin\":\"new\",\"id\":1}\n", -EBADMSG },
	{ "{\"ok\":true,\"origin\":\"new\",\"id\":1}\n", -EBADMSG, 1 },
	{ "{\"ok\":true,\"origin\":\"new\",\"id\":1}\n", -EBADMSG, 8 },
	{ "{\"ok\":false,\"error\":\"EBUSY\",\"id\":1}\n", -EBUSY, 2 },
	{ "{\"ok\":false,\"error\":\"EGADS\",\"id\":1}\n", -EPROTO },
	{ "{\"ok\":true,\"id\":2}\n", -ECONNRESET },
	{ "{\"ok\":tr", -ECONNRESET },
	{ "", -ECONNRESET },
	{ NULL, -EBADMSG },
	{ "{\"event\":\"prepare\",\"update\":7}\n{\"ok\":false,\"error\":\"EDQUOT\",\"id\":1}\n",
	  -EDQUOT },
};

/* Twice as long as any line may be, and it does not end. */
static void send_for_ever(int fd)
{
	static char spaces[1 << 20];
	int i;

	memset(spaces, ' ', sizeof(spaces));
	for (i = 0; i < 32; i++)
		if (send(fd, spaces, sizeof(spaces), MSG_NOSIGNAL) < 0)
			return;
}

static void *strange_agent(void *arg)
{
	int listening = *(int *)arg, fds[8], i, j;
	struct luod_client peer;
	char c;

	for (i = 0; i < (int)ARRAY_SIZE(strange); i++) {
		peer.fd = accept(listening, NULL, NULL);
		while (read(peer.fd, &c, 1) == 1 && c != '\n')
			;
		for (j = 0; j < strange[i].nr_fds; j++)
			fds[j] = STDIN_FILENO;
		if (!strange[i].line)
			send_for_ever(peer.fd);
		else if (*strange[i].line)
			luod_send(&peer, strange[i].line, fds, strange[i].nr_fds);
		luod_leave(&peer);
	}
	return NULL;
}

static void strange_agents(struct __test_metadata *_metadata)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = STRANGE_SOCKET };
	int before = lu_count_fds(), listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct luo_agent *agent;
	struct luo_event event;
	pthread_t thread;
	size_t i;

	ASSERT_EQ(0, bind(listening, (struct sockaddr *)&addr, sizeof(addr)));
	ASSERT_EQ(0, listen(listening, 1));
	ASSERT_EQ(0, pthread_create(&thread, NULL, strange_agent, &listening));
	for (i = 0; i < ARRAY_SIZE(strange); i++) {
		ASSERT_EQ(0, luo_agent_connect(&agent, STRANGE_SOCKET));
		EXPECT_EQ(strange[i].err, luo_agent_session(agent, "vm", NULL))
			TH_LOG("%zu", i);
		/* What came before the answer is there. */
		if (strange[i].err == -EDQUOT) {
			EXPECT_EQ(0, luo_agent_event(agent, &event, -1));
			EXPECT_EQ(LUO_EVENT_PREPARE, event.type);
			EXPECT_EQ(7, event.update);
			EXPECT_EQ(-ECONNRESET, luo_agent_event(agent, &event, -1));
		}
		luo_agent_close(agent);
	}
	pthread_join(thread, NULL);
	close(listening);
	EXPECT_EQ(before, lu_count_fds());
}

CLIENTS(library)
{
	int dev, session;

	device(_metadata);
	dev = luo_open(-1);
	session = luo_create(dev, "passed");
	close(dev);
	ASSERT_LE(0, session);
	session_requests(_metadata, session);
	passing(_metadata, session, SOCK_STREAM);
	passing(_metadata, session, SOCK_SEQPACKET);
	strange_agents(_metadata);
}

static void ask_the_agent(struct __test_metadata *_metadata, struct luo_agent *agent)
{
	struct luo_event event;
	char *reply;

	EXPECT_EQ(-EINVAL, luo_agent_session(agent, "a/b", NULL));
	EXPECT_EQ(-EINVAL, luo_agent_attach(agent, STDIN_FILENO));
	EXPECT_EQ(-EINVAL, luo_agent_call(agent, "[]", NULL, 0, &reply));
	EXPECT_EQ(NULL, reply);
	EXPECT_EQ(-EOPNOTSUPP, luo_agent_call(agent, "{\"op\":\"dance\"}", NULL, 0, &reply));
	ASSERT_NE(NULL, reply);
	free(reply);
	EXPECT_EQ(0, luo_agent_event(agent, &event, 0));
	EXPECT_EQ(LUO_EVENT_NONE, event.type);
	EXPECT_EQ(0, luo_agent_event(agent, &event, 20));
	EXPECT_EQ(LUO_EVENT_NONE, event.type);
	event.type = LUO_EVENT_PREPARE;
	EXPECT_EQ(-ESTALE, luo_agent_ready(agent, &event));
}

/* What comes with an answer that nobody takes it from is not the next one's. */
static void other_sessions(struct __test_metadata *_metadata, struct luo_agent *agent)
{
	int fds = lu_count_fds(), session;
	char name[LUO_NAME_SIZE], *reply;

	ASSERT_EQ(0, luo_agent_call(agent, "{\"op\":\"session\",\"name\":\"x\"}", NULL, 0,
				    &reply));
	free(reply);
	EXPECT_EQ(fds, lu_count_fds());
	session = luo_agent_session(agent, "y", NULL);
	ASSERT_LE(0, session);
	EXPECT_EQ(0, luo_name(session, name));
	EXPECT_STREQ("luod/0/y", name);
	EXPECT_EQ(0, luo_agent_release(agent, "x"));
	EXPECT_EQ(0, luo_agent_release(agent, "y"));
	close(session);
	EXPECT_EQ(fds, lu_count_fds());
}

/* One that luod did not make. */
static int make_another(void)
{
	int dev = lu_open_dev(), session;

	if (dev < 0)
		return dev;
	session = lu_create(dev, "another");
	close(dev);
	return session;
}

/* luoctl says why it does not end that one, and what does. */
static void finish_of_another(struct __test_metadata *_metadata)
{
	int session = make_another();

	ASSERT_LE(0, session);
	EXPECT_EQ(1, RUN("finish", "another"));
	EXPECT_TRUE(luod_said("another is for the next kernel: closing it ends it"));
	close(session);
	EXPECT_EQ(1, RUN("finish", "another"));
	EXPECT_TRUE(luod_said("no session another of uid 0\n"));
}

/* luoctl's exit statuses, each with what brings it about. */
static void statuses(struct __test_metadata *_metadata)
{
	EXPECT_EQ(2, luod_run((char *[]) { CTL, NULL }));
	EXPECT_EQ(2, RUN("dance"));
	EXPECT_EQ(2, RUN("show"));
	EXPECT_EQ(2, RUN("status", "now"));
	EXPECT_EQ(2, RUN("--uid=many", "show", "x"));
	EXPECT_EQ(2, RUN("--without-uid=-1", "update"));
	EXPECT_EQ(2, RUN("--without-uid=1-", "update"));
	EXPECT_EQ(2, RUN("--without-uid=1-x", "update"));
	EXPECT_EQ(0, RUN("status"));
	EXPECT_TRUE(luod_said("update: idle"));
	EXPECT_EQ(0, RUN("--json", "sessions"));
	EXPECT_TRUE(luod_said("\"kernel_name\":\"luod/0/mine\""));
	EXPECT_EQ(0, RUN("show", "mine"));
	EXPECT_EQ(1, RUN("show", "nobody"));
	EXPECT_TRUE(luod_said("luoctl: there is no session nobody of uid 0"));
	EXPECT_EQ(1, RUN("finish", "nobody"));
	EXPECT_EQ(1, RUN("--id=77", "finish"));
	EXPECT_TRUE(luod_said("luoctl: there is no session with ID 77"));
	finish_of_another(_metadata);
	EXPECT_EQ(1, RUN("update"));
	EXPECT_TRUE(luod_said("luoctl: no image is loaded"));
	EXPECT_EQ(1, RUN("cancel"));
	EXPECT_EQ(1, RUN("check", "/nowhere"));
	EXPECT_EQ(4, RUN("check", "/init"));
	EXPECT_EQ(4, RUN("check", "/host/bzImage-b", "--append=liveupdate=off"));
	EXPECT_EQ(0, RUN("check", "/host/bzImage-b", "--initrd=/host/initrd"));
	EXPECT_TRUE(luod_said("/host/bzImage-b can take what is preserved"));
}

/* What luoctl prints for machines is luod's answer, and nothing else. */
static void in_json(struct __test_metadata *_metadata)
{
	static const struct {
		char *words[4];
		int status;
		const char *says;
	} runs[] = {
		{ { "status" }, 0, "\"state\":\"idle\"" },
		{ { "sessions" }, 0, "\"sessions\":[{\"uid\":0,\"name\":\"mine\"" },
		{ { "show", "mine" }, 0, "\"state\":\"outgoing\",\"files\":0" },
		{ { "show", "nobody" }, 1, "\"ok\":false,\"error\":\"ENOENT\",\"message\":" },
		{ { "finish", "mine" }, 1, "\"error\":\"EBUSY\"" },
		{ { "check", "/init" }, 4, "\"error\":\"ENOEXEC\"" },
		{ { "check", "/host/bzImage-b", "-i", "/host/initrd" }, 0, "{\"ok\":true}\n" },
		{ { "update" }, 1, "\"message\":\"no image is loaded\"" },
		{ { "load", "/init" }, 1, "\"error\":\"ENOEXEC\"" },
		{ { "load", "/host/bzImage-b", "-i", "/host/initrd" }, 0, "{\"ok\":true}\n" },
		{ { "cancel" }, 1, "\"message\":\"no update is running\"" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(runs); i++) {
		char *const *w = runs[i].words;

		unlink(LUOD_LOG);
		EXPECT_EQ(runs[i].status, RUN("--json", w[0], w[1], w[2], w[3]));
		EXPECT_EQ(1, luod_times_said(runs[i].says))
			TH_LOG("%s: no %s", w[0], runs[i].says);
		/* One line of it, and one for people on the other stream. */
		EXPECT_EQ(runs[i].status ? 2 : 1, luod_times_said("\n"));
	}
	EXPECT_EQ(0, lu_unload());
}

/* It is asked, and root is not, who would refuse. */
static void without_root(struct __test_metadata *_metadata, struct luo_agent *agent)
{
	struct luod_client c;
	struct luo_event event;
	int session;
	pid_t pid;

	ASSERT_EQ(0, luod_connect(&c, ALICE));
	session = luod_session(&c, "alices");
	ASSERT_LE(0, session);
	pid = SPAWN("--without-uid=7-999", "update", "--without-uid=0");
	ASSERT_EQ(0, luod_event(&c, "prepare"));
	EXPECT_EQ(0, luod_answer(&c, "refuse", "prepare"));
	EXPECT_EQ(5, luod_wait(pid));
	/* It is told, and hears no more of it. */
	EXPECT_EQ(0, luo_agent_event(agent, &event, -1));
	EXPECT_EQ(LUO_EVENT_LEFT_OUT, event.type);
	EXPECT_EQ(0, luo_agent_event(agent, &event, 0));
	EXPECT_EQ(LUO_EVENT_NONE, event.type);
	EXPECT_EQ(1, luod_times_said("sessions that go as they are: 1\n"));
	luod_leave(&c);
	close(session);
}

/* Updates that this client has its part in. */
static void blocked(struct __test_metadata *_metadata, struct luo_agent *agent)
{
	struct luo_event event;
	pid_t pid;

	ASSERT_EQ(0, RUN("load", "/host/bzImage-b", "-i", "/host/initrd"));
	pid = SPAWN("update");
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	ASSERT_EQ(LUO_EVENT_PREPARE, event.type);
	EXPECT_EQ(0, luo_agent_refuse(agent, &event, "not today"));
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	EXPECT_EQ(LUO_EVENT_CANCEL, event.type);
	EXPECT_EQ(5, luod_wait(pid));
	EXPECT_TRUE(luod_said("not today"));
	EXPECT_TRUE(luod_said("refused: process "));

	pid = SPAWN("--prepare-ms=200", "update");
	EXPECT_EQ(5, luod_wait(pid));
	EXPECT_TRUE(luod_said("did not get ready within 200 ms"));
	do {
		ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	} while (event.type != LUO_EVENT_CANCEL);

	pid = SPAWN("update");
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	EXPECT_EQ(0, RUN("cancel"));
	EXPECT_EQ(6, luod_wait(pid));
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	EXPECT_EQ(LUO_EVENT_CANCEL, event.type);

	without_root(_metadata, agent);
	/* An interrupt is a cancel. */
	pid = SPAWN("update");
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	ASSERT_EQ(0, kill(pid, SIGINT));
	EXPECT_EQ(6, luod_wait(pid));
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	EXPECT_EQ(LUO_EVENT_CANCEL, event.type);
}

/* Who is not root: what everybody may, and what the owner of the socket may. */
static void as_a_user(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, seteuid(ALICE));
	EXPECT_EQ(0, RUN("status"));
	EXPECT_EQ(0, RUN("sessions"));
	EXPECT_EQ(1, RUN("show", "mine"));
	EXPECT_EQ(1, RUN("--uid=0", "show", "mine"));
	EXPECT_EQ(1, RUN("load", "/host/bzImage-b"));
	EXPECT_EQ(1, RUN("check", "/host/bzImage-b"));
	EXPECT_EQ(1, RUN("update"));
	ASSERT_EQ(0, seteuid(0));
	ASSERT_EQ(0, chown(LUOD_SOCKET, ALICE, 0));
	ASSERT_EQ(0, seteuid(ALICE));
	EXPECT_EQ(0, RUN("check", "/host/bzImage-b", "-i", "/host/initrd"));
	EXPECT_EQ(0, RUN("--uid=0", "show", "mine"));
	ASSERT_EQ(0, seteuid(0));
	ASSERT_EQ(0, chown(LUOD_SOCKET, 0, 0));
}

/* Its session goes with the next kernel, or would: nobody waits for this client. */
static void leave(struct __test_metadata *_metadata, struct luo_agent *agent)
{
	struct luo_event event;

	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	ASSERT_EQ(LUO_EVENT_SUSPEND, event.type);
	EXPECT_EQ(-ESTALE, luo_agent_leave(agent, &event));
	EXPECT_EQ(0, luo_agent_ready(agent, &event));
	EXPECT_EQ(0, luo_agent_leave(agent, &event));
	luo_agent_close(agent);
}

/* What luoctl says of an update, as lines of JSON; and when luod is gone. */
static void watched(struct __test_metadata *_metadata, pid_t luod, struct luo_agent *agent)
{
	pid_t watcher = SPAWN("--json", "watch"), update;
	struct luo_agent *other;
	struct luo_event event;
	int session;

	ASSERT_EQ(0, luo_agent_connect(&other, NULL));
	session = luo_agent_session(other, "leaves", NULL);
	ASSERT_LE(0, session);
	update = SPAWN("--json", "update");
	ASSERT_EQ(0, luo_agent_event(other, &event, -1));
	EXPECT_EQ(0, luo_agent_ready(other, &event));
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	EXPECT_EQ(0, luo_agent_ready(agent, &event));
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	ASSERT_EQ(LUO_EVENT_SUSPEND, event.type);
	leave(_metadata, other);
	close(session);
	EXPECT_TRUE(luod_said("{\"update\":"));
	EXPECT_TRUE(luod_said("\"phase\":\"suspend\",\"time_ms\":"));
	EXPECT_TRUE(luod_said("\"state\":\"ready\""));
	ASSERT_EQ(128 + SIGKILL, luod_stop(luod, SIGKILL));
	EXPECT_EQ(3, luod_wait(update));
	EXPECT_EQ(3, luod_wait(watcher));
}

/* A kernel that cannot do it: luod says so and does not stay. */
CLIENTS(no_live_update)
{
	EXPECT_EQ(1, luod_run((char *[]) { LUOD, "--socket=" LUOD_SOCKET, NULL }));
	EXPECT_TRUE(luod_said("no live update: /dev/liveupdate: No such file or directory"));
	EXPECT_EQ(3, RUN("status"));
	EXPECT_TRUE(luod_said("luoctl: luod cannot be reached at " LUOD_SOCKET));
	EXPECT_EQ(-ENOENT, luo_open(0));
	EXPECT_EQ(-ENOENT, luo_open(-1));
}

CLIENTS(without_a_reboot)
{
	struct luo_agent *agent;
	struct luo_event event;
	enum luo_origin origin;
	int session, other;
	pid_t luod;

	EXPECT_EQ(-ENOENT, luo_agent_connect(&agent, NULL));
	/* One that died with a shutdown under way is not simply gone. */
	close(open(JUMP_MARK, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	EXPECT_EQ(-EAGAIN, luo_agent_connect(&agent, NULL));
	EXPECT_EQ(0, unlink(JUMP_MARK));
	EXPECT_EQ(3, RUN("status"));
	luod = luod_start(NULL);
	ASSERT_LT(0, luod);
	ASSERT_EQ(0, luo_agent_connect(&agent, NULL));
	ask_the_agent(_metadata, agent);
	other_sessions(_metadata, agent);
	session = luo_agent_session(agent, "mine", &origin);
	ASSERT_LE(0, session);
	EXPECT_EQ(LUO_NEW, origin);
	statuses(_metadata);
	in_json(_metadata);
	as_a_user(_metadata);
	blocked(_metadata, agent);

	/* Another session, given back while the connection goes on. */
	other = luo_agent_session(agent, "other", NULL);
	ASSERT_LE(0, other);
	EXPECT_EQ(0, luo_agent_release(agent, "other"));
	EXPECT_EQ(-ENOENT, luo_agent_release(agent, "other"));
	close(other);
	EXPECT_EQ(1, RUN("show", "other"));

	/* A new luod is told about the session, and does not update before. */
	watched(_metadata, luod, agent);
	EXPECT_EQ(-ECONNRESET, luo_agent_event(agent, &event, -1));
	luo_agent_close(agent);
	luod = luod_start(NULL);
	ASSERT_LT(0, luod);
	ASSERT_EQ(0, luo_agent_connect(&agent, LUOD_SOCKET));
	EXPECT_EQ(-EBUSY, luo_agent_session(agent, "mine", NULL));
	EXPECT_EQ(5, RUN("update"));
	EXPECT_TRUE(luod_said("absent: uid 0: mine"));
	EXPECT_EQ(0, luo_agent_attach(agent, session));
	luo_agent_close(agent);
	EXPECT_EQ(0, luod_stop(luod, SIGTERM));
}

static void before(struct __test_metadata *_metadata, struct luo_agent *agent)
{
	int another = make_another(), session = luo_agent_session(agent, "mine", NULL);
	int large = lu_memfd("large", LU_MIB, 1), small = lu_memfd("small", LU_PAGE, 2);
	struct luo_event event;

	ASSERT_LE(0, another);
	ASSERT_LE(0, session);
	ASSERT_EQ(0, RUN("load", "/host/bzImage-b", "-i", "/host/initrd", "-a", "lu.stage=2"));
	ASSERT_LT(0, SPAWN("update"));
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	ASSERT_EQ(LUO_EVENT_PREPARE, event.type);
	ASSERT_EQ(0, luo_preserve(session, large, 1));
	ASSERT_EQ(0, luo_agent_ready(agent, &event));
	ASSERT_EQ(0, luo_agent_event(agent, &event, -1));
	ASSERT_EQ(LUO_EVENT_SUSPEND, event.type);
	ASSERT_EQ(0, luo_preserve(session, small, 2));
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	luo_agent_ready(agent, &event);
	luo_agent_event(agent, &event, -1);
	ASSERT_STREQ("", "the reboot did not come");
}

static void another_came(struct __test_metadata *_metadata)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	char said[80], id[32];
	int dev = lu_open_dev();

	ASSERT_LE(0, dev);
	do {
		ASSERT_EQ(0, lu_next(dev, &s));
	} while (strcmp((char *)s.name, "another"));
	close(dev);
	EXPECT_EQ(1, RUN("finish", "another"));
	snprintf(said, sizeof(said), "another was made without luod: its ID, %llu, ends it\n",
		 (unsigned long long)s.id);
	EXPECT_TRUE(luod_said(said));
	snprintf(id, sizeof(id), "--id=%llu", (unsigned long long)s.id);
	EXPECT_EQ(0, RUN(id, "finish"));
	EXPECT_EQ(1, RUN(id, "finish"));
}

static void after(struct __test_metadata *_metadata, struct luo_agent *agent)
{
	enum luo_origin origin;
	int session = luo_agent_session(agent, "mine", &origin), fd;

	ASSERT_LE(0, session);
	EXPECT_EQ(LUO_FROM_BEFORE, origin);
	fd = luo_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 1));
	fd = luo_retrieve_fd(session, 2);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_PAGE, 2));
	EXPECT_EQ(-ENOENT, luo_retrieve_fd(session, 3));
	EXPECT_EQ(0, RUN("status"));
	EXPECT_TRUE(luod_said("updated from 6.12"));
	EXPECT_TRUE(luod_said("sessions: 0 waiting, 1 returned, 0 finished, 0 lost"));
	/* Not while this client has it. */
	EXPECT_EQ(1, RUN("finish", "mine"));
	EXPECT_TRUE(luod_said("has session mine"));
	EXPECT_LE(0, luo_retrieve_fd(session, 1));
	EXPECT_EQ(0, luo_agent_release(agent, "mine"));
	close(session);
	EXPECT_EQ(0, RUN("finish", "mine"));
	EXPECT_TRUE(luod_said("all sessions of the last update are finished"));
	EXPECT_LE(0, luo_agent_session(agent, "mine", &origin));
	EXPECT_EQ(LUO_NEW, origin);
}

CLIENTS(update)
{
	struct luo_agent *agent;
	pid_t luod = luod_start(NULL);

	ASSERT_LT(0, luod);
	ASSERT_EQ(0, luo_agent_connect(&agent, NULL));
	if (lu_stage() == 1)
		before(_metadata, agent);
	another_came(_metadata);
	after(_metadata, agent);
	luo_agent_close(agent);
	EXPECT_EQ(0, luod_stop(luod, SIGTERM));
}
