// SPDX-License-Identifier: GPL-2.0
/*
 * An agent is killed before, within and after each of its steps. What it made is
 * gone then, what it got is there for the next agent, and nothing is half done.
 */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <linux/userfaultfd.h>

#include "lu_harness.h"
#include "lu_fault.h"

/* Sessions for the second kernel: each is finished once, at most. */
#define SPARE		64
#define FILES		2
#define SIZE		(5 * LU_PAGE)
/* How often an agent is killed at some time or other. */
#define SWEEPS		40
#define TEST_DIR	"/sys/kernel/debug/liveupdate_test/"

FIXTURE(killed)
{
	int stage;
	char *before;
	char *after;
};

FIXTURE_SETUP(killed)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->before = malloc(LU_PICTURE);
	self->after = malloc(LU_PICTURE);
	ASSERT_NE(NULL, self->before);
	ASSERT_NE(NULL, self->after);
	ASSERT_EQ(0, lu_load_module("lib/test_liveupdate", ""));
}

FIXTURE_TEARDOWN(killed)
{
	free(self->before);
	free(self->after);
}

enum when {
	BEFORE, WITHIN, AFTER, WHENS,
};

static const char * const when_names[] = { "before", "within", "after" };

/*
 * The agent. It counts its steps, which are requests, and dies at the one that
 * it was told. Within a request means: in the middle of its structure, which
 * reaches into a page that is not there.
 */
static struct {
	int step, last_step;
	enum when when;
	char *pages;	/* the second one is watched by uffd */
	int uffd;
} agent;

static void die(void)
{
	kill(getpid(), SIGKILL);
}

static void *die_at_fault(void *unused)
{
	struct uffd_msg msg;

	if (read(agent.uffd, &msg, sizeof(msg)) == sizeof(msg))
		die();
	return NULL;
}

static int watch_page(void)
{
	struct uffdio_register range = {
		.range.len = LU_PAGE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_api api = { .api = UFFD_API };
	pthread_t thread;

	agent.pages = mmap(NULL, 2 * LU_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (agent.pages == MAP_FAILED)
		return -errno;
	range.range.start = (uintptr_t)agent.pages + LU_PAGE;
	agent.uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (agent.uffd < 0 || ioctl(agent.uffd, UFFDIO_API, &api) ||
	    ioctl(agent.uffd, UFFDIO_REGISTER, &range))
		return -errno;
	return -pthread_create(&thread, NULL, die_at_fault, NULL);
}

/* The structure begins with its size, and a descriptor follows. */
static int step(int fd, unsigned long nr, void *arg)
{
	bool now = agent.step++ == agent.last_step;
	int ret;

	if (now && agent.when == BEFORE)
		die();
	if (now && agent.when == WITHIN) {
		memcpy(agent.pages + LU_PAGE - 8, arg, 8);
		ioctl(fd, nr, agent.pages + LU_PAGE - 8);
		_exit(3);	/* nobody was there to kill it */
	}
	ret = ioctl(fd, nr, arg) ? -errno : ((__s32 *)arg)[1];
	if (now && agent.when == AFTER)
		die();
	return ret;
}

static int open_device(void)
{
	bool now = agent.step++ == agent.last_step;
	int dev;

	if (now && agent.when != AFTER)
		die();
	dev = lu_open_dev();
	if (now)
		die();
	return dev;
}

static int create(int dev, const char *name)
{
	struct liveupdate_ioctl_create_session arg = { .size = sizeof(arg) };

	snprintf((char *)arg.name, sizeof(arg.name), "%s", name);
	return step(dev, LIVEUPDATE_IOCTL_CREATE_SESSION, &arg);
}

static int retrieve(int dev, const char *name)
{
	struct liveupdate_ioctl_retrieve_session arg = { .size = sizeof(arg) };

	snprintf((char *)arg.name, sizeof(arg.name), "%s", name);
	return step(dev, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &arg);
}

static int preserve(int session, int fd, uint64_t token)
{
	struct liveupdate_session_preserve_fd arg = {
		.size = sizeof(arg), .fd = fd, .token = token,
	};

	return step(session, LIVEUPDATE_SESSION_PRESERVE_FD, &arg);
}

static int retrieve_fd(int session, uint64_t token)
{
	struct liveupdate_session_retrieve_fd arg = { .size = sizeof(arg), .token = token };

	return step(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &arg);
}

/* Of a structure of 8 bytes there is no middle: it has room behind it. */
static int finish(int session)
{
	struct {
		struct liveupdate_session_finish arg;
		__u64 zero;
	} long_arg = { .arg.size = sizeof(long_arg) };

	return step(session, LIVEUPDATE_SESSION_FINISH, &long_arg);
}

static int get_name(int session)
{
	struct liveupdate_session_get_name arg = { .size = sizeof(arg) };

	return step(session, LIVEUPDATE_SESSION_GET_NAME, &arg);
}

static int discard(int dev, uint64_t id)
{
	struct liveupdate_ioctl_discard_session arg = { .size = sizeof(arg), .id = id };

	return step(dev, LIVEUPDATE_IOCTL_DISCARD_SESSION, &arg);
}

/* What an agent does in its life, @memfd is its parent's too. */
static int outgoing_agent(int memfd, const char *unused)
{
	int dev = open_device(), a, b;

	a = create(dev, "a");
	b = create(dev, "b");
	if (dev < 0 || a < 0 || b < 0)
		return 1;
	if (preserve(a, memfd, 1) < 0)
		return 1;
	if (preserve(b, lu_memfd("own", SIZE, 1), 1) < 0)
		return 1;
	if (preserve(b, open("/dev/liveupdate_test0", O_RDWR), 2) < 0)
		return 1;
	if (get_name(a) < 0 || finish(a) != -EINVAL)
		return 1;
	close(a);
	return preserve(b, memfd, 3) < 0;
}

static int incoming_agent(int unused, const char *name)
{
	int dev = open_device(), session, memfd, file, other;

	session = retrieve(dev, name);
	memfd = retrieve_fd(session, 0);
	file = retrieve_fd(session, 1);
	if (dev < 0 || session < 0 || memfd < 0 || file < 0)
		return 1;
	other = create(dev, "other");
	if (preserve(other, memfd, 1) != -EBUSY)
		return 1;
	if (finish(session) < 0)
		return 1;
	if (preserve(other, memfd, 1) < 0)
		return 1;
	return preserve(session, file, 1) < 0;
}

/* The id is the name. */
static int discarding_agent(int unused, const char *name)
{
	int dev = open_device();

	return dev < 0 || discard(dev, strtoull(name, NULL, 0)) < 0;
}

static void *die_in_time(void *us)
{
	usleep((uintptr_t)us);
	die();
	return NULL;
}

typedef int (*agent_fn)(int memfd, const char *name);

static pid_t start_agent(agent_fn fn, int memfd, const char *name)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		agent.last_step = -1;
		_exit(fn(memfd, name));
	}
	return pid;
}

/* While a handler is at work for it: the operation waits until it is killed. */
static void kill_in_handler(struct __test_metadata *_metadata, agent_fn fn, int memfd,
			    const char *name, const char *op)
{
	char line[32];
	int status;
	pid_t pid;

	snprintf(line, sizeof(line), "hold %s", op);
	ASSERT_EQ(0, lu_write_file(TEST_DIR "ctl", "clear"));
	ASSERT_EQ(0, lu_write_file(TEST_DIR "ctl", line));
	pid = start_agent(fn, memfd, name);
	ASSERT_LT(0, pid);
	while (lu_count_lines(TEST_DIR "log", op) < 1)
		ASSERT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	ASSERT_EQ(0, lu_write_file(TEST_DIR "ctl", "release"));
}

/* How long an undisturbed life took last, with what comes before it. */
static unsigned int life_us;

/* Times all over a life, and a bit after it. */
static unsigned int nth_time(int i)
{
	return 1 + life_us / (SWEEPS - 4) * i;
}

/* How it ended: SIGKILL, or an exit status above 255. */
static int run_agent(agent_fn fn, int memfd, const char *name, int last_step, enum when when,
		     unsigned int us)
{
	struct timespec start, end;
	pthread_t thread;
	int status;
	pid_t pid;

	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &start);
	pid = fork();
	if (!pid) {
		agent.last_step = last_step;
		agent.when = when;
		if (watch_page())
			_exit(4);
		if (us && pthread_create(&thread, NULL, die_in_time, (void *)(uintptr_t)us))
			_exit(5);
		_exit(fn(memfd, name));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (WIFSIGNALED(status))
		return WTERMSIG(status);
	life_us = (end.tv_sec - start.tv_sec) * 1000000 +
		  (end.tv_nsec - start.tv_nsec) / 1000;
	return 256 + WEXITSTATUS(status);
}

#define LIVES		256

/* Whoever made sessions and died has left nothing. */
static void kill_outgoing(struct __test_metadata *_metadata, FIXTURE_DATA(killed) * self)
{
	int memfd = lu_memfd("shared", SIZE, 7), i, how = SIGKILL, deaths = 0;
	enum when when;

	ASSERT_LE(0, memfd);
	/* Once undisturbed, which makes what is made once. */
	ASSERT_EQ(LIVES, run_agent(outgoing_agent, memfd, NULL, -1, BEFORE, 0));
	lu_picture(self->before);
	for (i = 0; how == SIGKILL; i++) {
		for (when = BEFORE; when < WHENS; when++) {
			how = run_agent(outgoing_agent, memfd, NULL, i, when, 0);
			if (how == LIVES)
				break;
			ASSERT_EQ(SIGKILL, how)
				TH_LOG("%s step %d", when_names[when], i);
			lu_picture(self->after);
			ASSERT_STREQ(self->before, self->after)
				TH_LOG("%s step %d", when_names[when], i);
			deaths++;
		}
	}
	ASSERT_EQ(9, i - 1);
	for (i = 0; i < SWEEPS; i++) {
		how = run_agent(outgoing_agent, memfd, NULL, -1, BEFORE, nth_time(i));
		ASSERT_TRUE(how == SIGKILL || how == LIVES);
		deaths += how == SIGKILL;
		lu_picture(self->after);
		ASSERT_STREQ(self->before, self->after);
	}
	kill_in_handler(_metadata, outgoing_agent, memfd, NULL, "preserve");
	kill_in_handler(_metadata, outgoing_agent, memfd, NULL, "flb_preserve");
	lu_picture(self->after);
	ASSERT_STREQ(self->before, self->after);
	printf("# outgoing: killed %d times\n", deaths);
	/* Its file is its parent's alone. */
	EXPECT_EQ(0, lu_check(memfd, 0, SIZE, 7));
	EXPECT_EQ(0, ftruncate(memfd, 2 * SIZE));
	close(memfd);
}

static void hand_over(struct __test_metadata *_metadata, FIXTURE_DATA(killed) * self)
{
	int dev = lu_open_dev(), session, fd, i;
	char name[16];

	ASSERT_LE(0, dev);
	for (i = 0; i < SPARE; i++) {
		snprintf(name, sizeof(name), "%d", i);
		session = lu_create(dev, name);
		ASSERT_LE(0, session);
		fd = lu_memfd(name, SIZE, i);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, 0));
		close(fd);
		fd = open("/dev/liveupdate_test1", O_RDWR);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		close(fd);
	}
	LU_KEXEC(2);
}

/*
 * Session @i after a death: whole, or finished and gone. The device is free.
 * Whatever the agent had made goes with it, and the state of before comes back.
 */
static bool is_whole(struct __test_metadata *_metadata, int i)
{
	int dev = lu_open_dev(), session, fd;
	char name[16];

	ASSERT_LE(0, dev);
	snprintf(name, sizeof(name), "%d", i);
	session = lu_retrieve(dev, name);
	EXPECT_EQ(-ENOENT, lu_retrieve(dev, "other"));
	EXPECT_EQ(0, lu_sysfs_number("outgoing/sessions"));
	EXPECT_EQ(0, lu_sysfs_number("outgoing/files"));
	if (session == -ENOENT) {
		close(dev);
		return false;
	}
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, SIZE, i));
	close(fd);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	close(fd);
	close(session);
	close(dev);
	return true;
}

static void kill_incoming(struct __test_metadata *_metadata, FIXTURE_DATA(killed) * self)
{
	int i, how = SIGKILL, deaths = 0, nr = 0;
	enum when when;
	char name[16];

	kill_in_handler(_metadata, incoming_agent, -1, "0", "retrieve");
	ASSERT_TRUE(is_whole(_metadata, 0));

	/* Those after FINISH, step 6, have finished it. */
	for (i = 0; how == SIGKILL; i++) {
		for (when = BEFORE; when < WHENS; when++) {
			bool finished = i > 6 || (i == 6 && when == AFTER);

			snprintf(name, sizeof(name), "%d", nr);
			how = run_agent(incoming_agent, -1, name, i, when, 0);
			if (how == LIVES)
				break;
			ASSERT_EQ(SIGKILL, how)
				TH_LOG("%s step %d", when_names[when], i);
			ASSERT_EQ(!finished, is_whole(_metadata, nr))
				TH_LOG("%s step %d", when_names[when], i);
			nr += finished;
			deaths++;
		}
	}
	ASSERT_EQ(9, i - 1);
	EXPECT_FALSE(is_whole(_metadata, nr));
	nr++;
	for (i = 0; i < SWEEPS && nr < SPARE / 2; i++) {
		snprintf(name, sizeof(name), "%d", nr);
		how = run_agent(incoming_agent, -1, name, -1, BEFORE, nth_time(i));
		ASSERT_TRUE(how == SIGKILL || how == LIVES);
		deaths += how == SIGKILL;
		nr += !is_whole(_metadata, nr);
	}
	printf("# incoming: killed %d times\n", deaths);
}

static void kill_discarding(struct __test_metadata *_metadata, FIXTURE_DATA(killed) * self)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	int i, how, dev, deaths = 0;
	enum when when;
	char id[24];
	bool whole;

	for (i = 0; i < SWEEPS; i++) {
		dev = lu_open_dev();
		ASSERT_LE(0, dev);
		s.id = 0;
		/* The last one stays. */
		if (lu_next(dev, &s) || lu_sysfs_number("incoming/sessions") < 2)
			break;
		close(dev);
		snprintf(id, sizeof(id), "%ju", (uintmax_t)s.id);
		when = i < WHENS ? i : BEFORE;
		how = run_agent(discarding_agent, -1, id, i < WHENS ? 1 : -1, when,
				i < WHENS ? 0 : nth_time(i));
		ASSERT_TRUE(how == SIGKILL || (i >= WHENS && how == LIVES));
		deaths += how == SIGKILL;
		whole = is_whole(_metadata, atoi((char *)s.name));
		ASSERT_TRUE(i >= WHENS || whole == (when != AFTER))
			TH_LOG("%s", when_names[when]);
	}
	close(dev);
	printf("# discarding: killed %d times\n", deaths);
}

static int rebooting_agent(int unused, const char *name)
{
	return lu_jump() != -EIO;
}

/* In the reboot, which a handler refuses. */
static void kill_rebooting(struct __test_metadata *_metadata, FIXTURE_DATA(killed) * self)
{
	int dev = lu_open_dev(), session, fd, i, how, deaths = 0;

	ASSERT_LE(0, dev);
	session = lu_create(dev, "reboot");
	ASSERT_LE(0, session);
	fd = lu_memfd("reboot", SIZE, 9);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_preserve(session, fd, 1));
	ASSERT_EQ(0, lu_preserve(session, open("/dev/liveupdate_test0", O_RDWR), 2));
	ASSERT_EQ(0, lu_load(3, NULL));
	ASSERT_EQ(0, lu_write_file(TEST_DIR "ctl",
				   "fail freeze 1 5 1000000000"));
	lu_picture(self->before);
	kill_in_handler(_metadata, rebooting_agent, -1, NULL, "freeze");
	lu_picture(self->after);
	ASSERT_STREQ(self->before, self->after);
	ASSERT_EQ(LIVES, run_agent(rebooting_agent, -1, NULL, -1, BEFORE, 0));
	for (i = 0; i < SWEEPS; i++) {
		how = run_agent(rebooting_agent, -1, NULL, -1, BEFORE, nth_time(i));
		ASSERT_TRUE(how == SIGKILL || how == LIVES);
		deaths += how == SIGKILL;
		lu_picture(self->after);
		ASSERT_STREQ(self->before, self->after);
		ASSERT_EQ(0, lu_fill(fd, 0, LU_PAGE, i));
	}
	printf("# rebooting: killed %d times\n", deaths);
	close(session);
	close(dev);
}

TEST_F_TIMEOUT(killed, at_each_step, 4 * LU_TIMEOUT)
{
	if (self->stage == 1) {
		kill_outgoing(_metadata, self);
		kill_rebooting(_metadata, self);
		hand_over(_metadata, self);
	}
	kill_incoming(_metadata, self);
	kill_discarding(_metadata, self);
	EXPECT_EQ(0, lu_leaks());
}
