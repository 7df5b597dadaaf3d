// SPDX-License-Identifier: GPL-2.0
/*
 * What a luod that dies leaves with the service manager, and the next one finds there.
 * The test is the service manager.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "lu_harness.h"
#include "luod_util.h"

#define ALICE	1000
#define BOB	1001
#define CAROL	1002

#define NOTIFY_SOCKET	"/tmp/luod.manager"

#define SESSIONS	"{\"op\":\"sessions\"}\n"
#define FINISH_BOBS	"{\"op\":\"finish\",\"name\":\"vm\",\"uid\":1001}\n"
#define SHOW_BOBS	"{\"op\":\"show\",\"name\":\"vm\",\"uid\":1001}\n"

#define LOST_WITH_LUOD							\
	"is lost if luod dies: it is not in the service manager's store: Resource temporarily unavailable\n"

/* Of these two, this one is told from the others. */
#define ALICES		"luod/1000/vm%1"

#define STORE_MAX	8
#define FIRST_FD	3

/* Above all that luod gets passed. */
#define HIGH_FD		100

struct stored {
	char name[256];
	int fd;
};

FIXTURE(store)
{
	int listening;
	int notify;
	bool ready;
	pid_t luod;
	int fds;
	struct stored stored[STORE_MAX];
	int nr;
	struct luod_client root;
	struct luod_client alice;
	struct luod_client bob;
	struct luod_client carol;
	int alices;
	int bobs;
	int carols;
};

static int socket_at(const char *path, int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	unlink(path);
	return bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : fd;
}

FIXTURE_SETUP(store)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	unlink(LUOD_LOG);
	self->notify = socket_at(NOTIFY_SOCKET, SOCK_DGRAM);
	ASSERT_LE(0, self->notify);
	self->listening = socket_at(LUOD_SOCKET, SOCK_STREAM);
	ASSERT_LE(0, self->listening);
	ASSERT_EQ(0, listen(self->listening, 5));
	ASSERT_EQ(0, chmod(LUOD_SOCKET, 0666));
}

FIXTURE_TEARDOWN(store)
{
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* As systemd does, which has nothing twice and lets nobody use its separator. */
static int put(FIXTURE_DATA(store) * self, const char *name, int fd)
{
	int i;

	if (strchr(name, ':'))
		return -EINVAL;
	for (i = 0; i < self->nr; i++) {
		if (same_file(self->stored[i].fd, fd)) {
			close(fd);
			return 0;
		}
	}
	if (self->nr == STORE_MAX)
		return -E2BIG;
	snprintf(self->stored[self->nr].name, sizeof(self->stored[0].name), "%s", name);
	self->stored[self->nr++].fd = fd;
	return 0;
}

static void remove_all(FIXTURE_DATA(store) * self, const char *name)
{
	int i, n = 0;

	for (i = 0; i < self->nr; i++) {
		if (strcmp(self->stored[i].name, name))
			self->stored[n++] = self->stored[i];
		else
			close(self->stored[i].fd);
	}
	self->nr = n;
}

static int understand(FIXTURE_DATA(store) * self, const char *text, int fd)
{
	static const char add[] = "FDSTORE=1\nFDNAME=", drop[] = "FDSTOREREMOVE=1\nFDNAME=";

	if (fd >= 0)
		return strncmp(text, add, strlen(add)) ? -EPROTO :
		       put(self, text + strlen(add), fd);
	if (!strncmp(text, drop, strlen(drop)))
		remove_all(self, text + strlen(drop));
	else if (!strcmp(text, "READY=1"))
		self->ready = true;
	else
		return -EPROTO;
	return 0;
}

/* The next thing that luod says. */
static int hear(FIXTURE_DATA(store) * self)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char text[512] = "";
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct pollfd p = { .fd = self->notify, .events = POLLIN };
	struct cmsghdr *cmsg;
	int fd = -1;

	if (poll(&p, 1, LUOD_PATIENCE_MS) != 1)
		return -ETIME;
	if (recvmsg(self->notify, &msg, MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return understand(self, text, fd);
}

/* Until there are so many in the store. */
static int await_stored(FIXTURE_DATA(store) * self, int nr)
{
	int err = 0;

	while (!err && self->nr != nr)
		err = hear(self);
	if (err)
		fprintf(stderr, "# %d in store, not %d\n", self->nr, nr);
	return err;
}

static bool is_stored(FIXTURE_DATA(store) * self, const char *name)
{
	int i;

	for (i = 0; i < self->nr; i++)
		if (!strcmp(self->stored[i].name, name))
			return true;
	return false;
}

/* In the child: the socket, then what is in store. */
static void be_luod(FIXTURE_DATA(store) * self)
{
	char luod[64] = LUOD, text[16], names[STORE_MAX * 257 + 16] = "luod.socket";
	int log = open(LUOD_LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int fds[STORE_MAX + 1], i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(log, STDERR_FILENO);
	dup2(log, STDOUT_FILENO);
	fds[0] = fcntl(self->listening, F_DUPFD_CLOEXEC, HIGH_FD);
	for (i = 0; i < self->nr; i++) {
		fds[i + 1] = fcntl(self->stored[i].fd, F_DUPFD_CLOEXEC, HIGH_FD);
		strcat(strcat(names, ":"), self->stored[i].name);
	}
	for (i = 0; i <= self->nr; i++)
		dup2(fds[i], FIRST_FD + i);
	snprintf(text, sizeof(text), "%d", getpid());
	setenv("LISTEN_PID", text, 1);
	snprintf(text, sizeof(text), "%d", self->nr + 1);
	setenv("LISTEN_FDS", text, 1);
	setenv("LISTEN_FDNAMES", names, 1);
	setenv("NOTIFY_SOCKET", NOTIFY_SOCKET, 1);
	lu_param("lu.luod", luod, sizeof(luod));
	execl(luod, luod, "--jump=direct", NULL);
	_exit(127);
}

/* Start luod, and let root connect. */
static void start(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	fflush(stdout);
	self->ready = false;
	self->luod = fork();
	ASSERT_LE(0, self->luod);
	if (!self->luod)
		be_luod(self);
	while (!self->ready)
		ASSERT_EQ(0, hear(self));
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_HELLO));
}

static void kill_luod(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	ASSERT_EQ(128 + SIGKILL, luod_stop(self->luod, SIGKILL));
	luod_leave(&self->root);
	luod_leave(&self->alice);
	luod_leave(&self->bob);
	luod_leave(&self->carol);
}

static int be_client(struct luod_client *c, uid_t uid, const char *name)
{
	return luod_connect(c, uid) ?: luod_session(c, name);
}

static int preserve(int session, uint64_t token)
{
	int fd = lu_memfd("m", LU_MIB, token), err;

	if (fd < 0)
		return fd;
	err = lu_preserve(session, fd, token);
	close(fd);
	return err;
}

/* Until all are to suspend. Carol does not say that it has: it goes no further. */
static void suspend(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self, bool alice)
{
	struct luod_client *all[] = { &self->bob, &self->carol, &self->alice };
	int n = alice ? 3 : 2, i;

	ASSERT_EQ(0, luod_load_next(&self->root));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, luod_follow(all[i], "prepare"));
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, luod_event(all[i], "suspend"));
}

/* Suspended, and not interested in what becomes of it. */
static int say_leave(struct luod_client *c)
{
	char line[64], *update = strstr(c->line, "\"update\":");

	if (!update)
		return -ENOMSG;
	snprintf(line, sizeof(line), "{\"op\":\"leave\",\"update\":%d}\n",
		 atoi(update + strlen("\"update\":")));
	return luod_answer(c, "ready", "suspend") ?: luod_ask(c, line);
}

/* Whoever says that it leaves, and does not, has its session itself. */
static void call_off(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	suspend(_metadata, self, true);
	ASSERT_EQ(0, say_leave(&self->alice));
	ASSERT_EQ(0, await_stored(self, 1));
	EXPECT_TRUE(is_stored(self, ALICES));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	ASSERT_EQ(0, await_stored(self, 0));
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

/* Messages until there is no room for more. Returns how many, or -errno. */
static int stop_listening(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = NOTIFY_SOCKET };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), n = 0, err;

	err = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	while (!err) {
		err = send(fd, "READY=1", strlen("READY=1"), 0) < 0 ? -errno : 0;
		n += !err;
	}
	close(fd);
	return err == -EAGAIN ? n : err;
}

/* A service manager that does not listen keeps nobody from leaving. */
static void deaf_manager(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	uint64_t start, alice;
	int n;

	suspend(_metadata, self, true);
	n = stop_listening();
	ASSERT_LT(0, n);
	start = now_ms();
	ASSERT_EQ(0, say_leave(&self->alice));
	alice = now_ms() - start;
	EXPECT_EQ(1, luod_times_said("session vm:1 of uid 1000 " LOST_WITH_LUOD));
	ASSERT_EQ(0, say_leave(&self->bob));
	EXPECT_EQ(1, luod_times_said("session vm of uid 1001 " LOST_WITH_LUOD));
	/* It was waited for once. */
	EXPECT_LT(now_ms() - start - alice, alice / 2);
	while (n--)
		ASSERT_EQ(0, hear(self));
	EXPECT_EQ(0, self->nr);
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	EXPECT_EQ(0, luod_ask(&self->root, SESSIONS));
	EXPECT_TRUE(luod_has(&self->root, "\"name\":\"vm:1\""));
}

/* Alice closes what she has, and Bob does not. */
static void leave_and_die(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self, bool alice)
{
	suspend(_metadata, self, alice);
	if (alice)
		ASSERT_EQ(0, say_leave(&self->alice));
	ASSERT_EQ(0, say_leave(&self->bob));
	ASSERT_EQ(0, await_stored(self, 2));
	EXPECT_TRUE(is_stored(self, ALICES));
	kill_luod(_metadata, self);
}

static int new_box(int fd)
{
	int ends[2], err;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends))
		return -errno;
	err = fd < 0 ? 0 : lu_send_fd(ends[0], fd);
	close(ends[0]);
	return err ?: ends[1];
}

/* What luod would not put there, and why. */
static const struct {
	const char *name;
	const char *session;	/* in a box; "" for none */
	const char *why;
} strange[] = {
	{ "luod/1000/null", NULL, "there is no session in it\n" },
	{ "stored", "", "there is nothing in it\n" },
	{ "luod/1000/a", "other", "there is no client's session in it\n" },
	{ "luod/1000/b", "luod/1000/c", "there is another session in it\n" },
};

static void put_strange(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	int dev = lu_open_dev(), session, fd, i;

	ASSERT_LE(0, dev);
	for (i = 0; i < ARRAY_SIZE(strange); i++) {
		session = -1;
		if (strange[i].session && *strange[i].session)
			session = lu_create(dev, strange[i].session);
		fd = strange[i].session ? new_box(session) : open("/dev/null", O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, put(self, strange[i].name, fd));
		close(session);
	}
	close(dev);
	/* The name is right, but something else has it. */
	ASSERT_EQ(0, put(self, ALICES, new_box(self->alices)));
	close(self->alices);
}

/* The next luod has what is right, and nothing else is left. */
static void take_back(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	int i;

	put_strange(_metadata, self);
	start(_metadata, self);
	EXPECT_EQ(0, await_stored(self, 2));
	EXPECT_TRUE(is_stored(self, ALICES));
	for (i = 0; i < ARRAY_SIZE(strange); i++)
		EXPECT_EQ(1, luod_times_said(strange[i].why))
			TH_LOG("%d", i);
	EXPECT_EQ(1, luod_times_said("it is there twice\n"));
	EXPECT_EQ(1, luod_times_said("session vm:1 of uid 1000 is still kept\n"));
	/* A session and a box of each. */
	EXPECT_TRUE(luod_await_fds(self->luod, self->fds + 4));
	EXPECT_EQ(0, luod_ask(&self->root, SESSIONS));
	EXPECT_TRUE(luod_has(&self->root, "\"kept\":true"));
	EXPECT_FALSE(luod_has(&self->root, "luod/1000/c"));
}

static int show_session(struct luod_client *c, uid_t uid, int session)
{
	return luod_connect(c, uid) ?: luod_ask_with(c, "{\"op\":\"attach\"}\n", &session, 1);
}

/* Whoever has the descriptor gets it back; who has the name would only end it. */
static void claim(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	int session = be_client(&self->bob, BOB, "vm:1");

	ASSERT_LE(0, session);
	EXPECT_TRUE(luod_has(&self->bob, "\"origin\":\"new\""));
	EXPECT_EQ(0, luod_ask(&self->bob, "{\"op\":\"release\",\"name\":\"vm:1\"}\n"));
	close(session);
	luod_leave(&self->bob);

	ASSERT_EQ(0, show_session(&self->bob, BOB, self->bobs));
	ASSERT_EQ(0, await_stored(self, 1));
	EXPECT_EQ(-EBUSY, be_client(&self->alice, ALICE, "vm:1"));
	EXPECT_TRUE(luod_has(&self->alice, "luoctl finish vm:1"));
	luod_leave(&self->alice);
	ASSERT_EQ(0, show_session(&self->carol, CAROL, self->carols));
	/* One descriptor of each session, one of each connection, and Alice's box. */
	EXPECT_TRUE(luod_await_fds(self->luod, self->fds + 6));
}

/* An update that others call off is not the one that it is kept for. */
static void others_call_off(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	suspend(_metadata, self, false);
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	EXPECT_EQ(0, luod_ask(&self->root, SESSIONS));
	EXPECT_TRUE(luod_has(&self->root, "\"kept\":true"));
	EXPECT_EQ(0, luod_times_said("session vm:1 of uid 1000 is dropped"));
}

/* What nobody wants is no more at once, whatever the service manager still has. */
static void end_one(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	close(self->bobs);
	start(_metadata, self);
	ASSERT_EQ(2, self->nr);
	EXPECT_EQ(0, luod_ask(&self->root, FINISH_BOBS));
	EXPECT_EQ(-ENOENT, luod_ask(&self->root, SHOW_BOBS));
	ASSERT_EQ(0, await_stored(self, 1));
	EXPECT_TRUE(is_stored(self, ALICES));
}

/* Carol is asked, and what Alice left goes along. */
static void go(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	ASSERT_EQ(0, show_session(&self->carol, CAROL, self->carols));
	ASSERT_EQ(0, luod_load_next(&self->root));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_follow(&self->carol, "prepare"));
	ASSERT_EQ(0, luod_event(&self->carol, "suspend"));
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, luod_answer(&self->carol, "ready", "suspend"));
	luod_event(&self->carol, "cancel");
	ASSERT_STREQ("", "the reboot did not come");
}

static void before(struct __test_metadata *_metadata, FIXTURE_DATA(store) * self)
{
	start(_metadata, self);
	self->fds = luod_fds(self->luod);
	self->alices = be_client(&self->alice, ALICE, "vm:1");
	ASSERT_EQ(0, preserve(self->alices, 1));
	self->bobs = be_client(&self->bob, BOB, "vm");
	ASSERT_LE(0, self->bobs);
	self->carols = be_client(&self->carol, CAROL, "vm");
	ASSERT_EQ(0, preserve(self->carols, 3));
	call_off(_metadata, self);
	deaf_manager(_metadata, self);
	leave_and_die(_metadata, self, true);
	take_back(_metadata, self);
	claim(_metadata, self);
	others_call_off(_metadata, self);
	leave_and_die(_metadata, self, false);
	end_one(_metadata, self);
	go(_metadata, self);
}

static void expect_back(struct __test_metadata *_metadata, uid_t uid, const char *name,
			uint64_t token)
{
	struct luod_client c;
	int session = be_client(&c, uid, name), fd;

	ASSERT_LE(0, session);
	EXPECT_TRUE(luod_has(&c, "\"origin\":\"before\""));
	fd = lu_retrieve_fd(session, token);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, token));
	EXPECT_EQ(0, lu_finish(session));
	luod_leave(&c);
	close(session);
	close(fd);
}

TEST_F_TIMEOUT(store, update, LU_TIMEOUT)
{
	if (lu_stage() == 1)
		before(_metadata, self);
	start(_metadata, self);
	expect_back(_metadata, ALICE, "vm:1", 1);
	expect_back(_metadata, CAROL, "vm", 3);
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	EXPECT_TRUE(luod_has(&self->root, "\"lost\":0"));
	EXPECT_EQ(0, luod_stop(self->luod, SIGTERM));
}
