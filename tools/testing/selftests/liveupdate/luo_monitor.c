// SPDX-License-Identifier: GPL-2.0
/*
 * What an administrator sees of live update and can do about it, as far as it
 * shows without a reboot: sysfs, debugfs, fdinfo, trace events, the list of
 * sessions. The rules about sizes and pointers are tested by luo_uapi.c.
 */
#include <ftw.h>
#include <sys/ioctl.h>
#include <sys/klog.h>

#include "lu_harness.h"
#include "lu_monitor.h"

#define ODD_NAME	"a b\n\"\\\t\x80%s"
#define ODD_ESCAPED	"\"a b\\n\\\"\\\\\\t\\200%s\""
#define MANY		1000

FIXTURE(monitor)
{
	int dev;
};

FIXTURE_SETUP(monitor)
{
	if (!lu_stage())
		SKIP(return, "alone with its sessions in a guest only");
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
}

FIXTURE_TEARDOWN(monitor)
{
	close(self->dev);
}

TEST_F(monitor, state_and_numbers)
{
	int poll_fd, a, b, fd;

	EXPECT_STREQ("normal", lu_sysfs("state"));
	EXPECT_STREQ("0", lu_sysfs("number"));
	EXPECT_EQ(0, lu_sysfs_number("incoming/sessions"));
	EXPECT_EQ(0, lu_sysfs_number("incoming/files"));
	EXPECT_EQ(0, lu_sysfs_number("outgoing/sessions"));
	EXPECT_EQ(0, lu_sysfs_number("outgoing/files"));

	poll_fd = lu_state_open();
	ASSERT_LE(0, poll_fd);
	EXPECT_FALSE(lu_state_wait(poll_fd, 0));

	/* Sessions that hold nothing make no difference. */
	a = lu_create(self->dev, "a");
	b = lu_create(self->dev, "b");
	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	EXPECT_EQ(2, lu_sysfs_number("outgoing/sessions"));
	EXPECT_STREQ("normal", lu_sysfs("state"));
	EXPECT_FALSE(lu_state_wait(poll_fd, 0));

	fd = lu_memfd("m", LU_PAGE, 1);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_preserve(a, fd, 1));
	EXPECT_TRUE(lu_state_wait(poll_fd, LU_PATIENCE_MS));
	EXPECT_STREQ("prepared", lu_state_read(poll_fd));
	EXPECT_EQ(1, lu_sysfs_number("outgoing/files"));
	EXPECT_FALSE(lu_state_wait(poll_fd, 0));

	/* Nor does one more, or a failure. */
	EXPECT_EQ(-EBUSY, lu_preserve(b, fd, 1));
	EXPECT_EQ(1, lu_sysfs_number("outgoing/files"));
	close(fd);
	fd = lu_memfd("m", LU_PAGE, 1);
	ASSERT_EQ(0, lu_preserve(b, fd, 1));
	EXPECT_EQ(2, lu_sysfs_number("outgoing/files"));
	close(a);
	EXPECT_EQ(1, lu_sysfs_number("outgoing/files"));
	EXPECT_FALSE(lu_state_wait(poll_fd, 0));

	close(b);
	EXPECT_TRUE(lu_state_wait(poll_fd, LU_PATIENCE_MS));
	EXPECT_STREQ("normal", lu_state_read(poll_fd));
	EXPECT_EQ(0, lu_sysfs_number("outgoing/files"));
	EXPECT_EQ(0, lu_sysfs_number("outgoing/sessions"));
}

/* Somebody sleeps in poll() when it happens. */
TEST_F(monitor, poll_wakes_up)
{
	int session = lu_create(self->dev, "poll"), fd, poll_fd, status;
	int pipes[2];
	pid_t pid;
	char c;

	ASSERT_LE(0, session);
	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		poll_fd = lu_state_open();
		if (poll_fd < 0 || write(pipes[1], "r", 1) != 1)
			_exit(1);
		if (!lu_state_wait(poll_fd, LU_PATIENCE_MS))
			_exit(2);
		_exit(strcmp("prepared", lu_state_read(poll_fd)) ? 3 : 0);
	}
	ASSERT_EQ(1, read(pipes[0], &c, 1));
	usleep(100000);
	fd = lu_memfd("m", LU_PAGE, 1);
	ASSERT_EQ(0, lu_preserve(session, fd, 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(monitor, lines_in_debugfs)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	int session = lu_create(self->dev, ODD_NAME), fd, i;
	char want[256];

	ASSERT_LE(0, session);
	for (i = 0; i < 3; i++) {
		fd = lu_memfd("m", LU_PAGE, i);
		ASSERT_EQ(0, lu_preserve(session, fd, i ? UINT64_MAX - i : 0));
		close(fd);
	}
	ASSERT_EQ(0, lu_next(self->dev, &s));

	snprintf(want, sizeof(want),
		 "session id=%ju name=%s state=outgoing files=3 pid=%d comm=\"luo_monitor\"",
		 (uintmax_t)s.id, ODD_ESCAPED, getpid());
	EXPECT_EQ(1, lu_count_lines(LU_LINES, want)) TH_LOG("%s", want);
	snprintf(want, sizeof(want),
		 "file session=%ju token=0x0 handler=\"memfd-extent-v1\" state=preserved pid=%d",
		 (uintmax_t)s.id, getpid());
	EXPECT_EQ(1, lu_count_lines(LU_LINES, want)) TH_LOG("%s", want);
	snprintf(want, sizeof(want),
		 "file session=%ju token=0xfffffffffffffffe ", (uintmax_t)s.id);
	EXPECT_EQ(1, lu_count_lines(LU_LINES, want)) TH_LOG("%s", want);
	EXPECT_EQ(4, lu_count_lines(LU_LINES, ""));

	close(session);
	EXPECT_EQ(0, lu_count_lines(LU_LINES, ""));
}

/* More than a buffer of lines; sessions come and go while they are read. */
TEST_F(monitor, many_lines_in_debugfs)
{
	char name[32], buf[512];
	int sessions[100], lines, i, j, fd;
	ssize_t n;

	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "many %d", i);
		sessions[i] = lu_create(self->dev, name);
		ASSERT_LE(0, sessions[i]);
		for (j = 0; j < 5; j++) {
			fd = lu_memfd("m", 0, 0);
			ASSERT_EQ(0, lu_preserve(sessions[i], fd, UINT64_MAX - j));
			close(fd);
		}
	}
	EXPECT_EQ(100, lu_count_lines(LU_LINES, "session "));
	EXPECT_EQ(500, lu_count_lines(LU_LINES, "file "));

	fd = open(LU_LINES, O_RDONLY);
	ASSERT_LE(0, fd);
	for (i = 0, lines = 0; (n = read(fd, buf, sizeof(buf))) > 0;) {
		for (j = 0; j < n; j++)
			lines += buf[j] == '\n';
		if (i < 100)
			close(sessions[i++]);
	}
	EXPECT_EQ(0, n);
	EXPECT_LT(100, lines);
	close(fd);
	while (i < 100)
		close(sessions[i++]);
	EXPECT_EQ(0, lu_count_lines(LU_LINES, ""));
}

TEST_F(monitor, fdinfo)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	int session = lu_create(self->dev, ODD_NAME), fd;
	char path[64], want[128];

	ASSERT_LE(0, session);
	fd = lu_memfd("m", LU_PAGE, 1);
	ASSERT_EQ(0, lu_preserve(session, fd, 1));
	ASSERT_EQ(0, lu_next(self->dev, &s));

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", session);
	snprintf(want, sizeof(want), "session-id:\t%ju", (uintmax_t)s.id);
	EXPECT_EQ(1, lu_count_lines(path, want));
	EXPECT_EQ(1, lu_count_lines(path, "session-name:\t" ODD_ESCAPED));
	EXPECT_EQ(1, lu_count_lines(path, "session-state:\toutgoing"));
	EXPECT_EQ(1, lu_count_lines(path, "session-files:\t1"));
}

TEST_F(monitor, list_of_many)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	static int sessions[MANY];
	struct rlimit limit = { 2 * MANY, 2 * MANY };
	uint64_t last = 0;
	char name[32];
	int i, fd;

	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-ENOENT, lu_next(self->dev, &s));
	EXPECT_EQ(0, s.id);
	for (i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "list %d", i);
		sessions[i] = lu_create(self->dev, name);
		ASSERT_LE(0, sessions[i]);
	}
	fd = lu_memfd("m", LU_PAGE, 1);
	ASSERT_EQ(0, lu_preserve(sessions[7], fd, 1));

	for (i = 0; i < MANY; i++) {
		ASSERT_EQ(0, lu_next(self->dev, &s));
		EXPECT_LT(last, s.id);
		last = s.id;
		snprintf(name, sizeof(name), "list %d", i);
		EXPECT_STREQ(name, (char *)s.name);
		EXPECT_EQ(LIVEUPDATE_SESSION_STATE_OUTGOING, s.state);
		EXPECT_EQ(LIVEUPDATE_SESSION_BY_NAME, s.flags);
		EXPECT_EQ(i == 7, s.files);
		/* One that goes away in the middle disturbs nobody. */
		if (i % 3 == 0)
			close(sessions[i]);
	}
	EXPECT_EQ(-ENOENT, lu_next(self->dev, &s));
	EXPECT_EQ(last, s.id);

	/* Ids are not used again. */
	ASSERT_LE(0, lu_create(self->dev, "list 0"));
	ASSERT_EQ(0, lu_next(self->dev, &s));
	EXPECT_LT(last, s.id);
	s.id = UINT64_MAX;
	EXPECT_EQ(-ENOENT, lu_next(self->dev, &s));
}

TEST_F(monitor, list_cannot_be_written)
{
	struct liveupdate_ioctl_next_session *s;

	ASSERT_LE(0, lu_create(self->dev, "read-only"));
	s = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, s);
	s->size = sizeof(*s);
	ASSERT_EQ(0, mprotect(s, LU_PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, lu_next(self->dev, s));
	EXPECT_EQ(0, s->id);
}

/* By id, an outgoing session can be seen and nothing else. */
TEST_F(monitor, outgoing_by_id)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	struct liveupdate_ioctl_discard_session discard = {
		.size = sizeof(discard),
		.reserved = 1,
	};
	int session = lu_create(self->dev, "outgoing");
	int fds;

	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_next(self->dev, &s));
	fds = lu_count_fds();
	EXPECT_EQ(-EINVAL, lu_retrieve_id(self->dev, s.id));
	EXPECT_EQ(-EINVAL, lu_discard(self->dev, s.id));
	EXPECT_EQ(-ENOENT, lu_retrieve_id(self->dev, s.id + 1));
	EXPECT_EQ(-ENOENT, lu_discard(self->dev, s.id + 1));
	EXPECT_EQ(-ENOENT, lu_discard(self->dev, 0));
	EXPECT_EQ(-ENOENT, lu_retrieve_id(self->dev, UINT64_MAX));
	discard.id = s.id;
	EXPECT_EQ(-1, ioctl(self->dev, LIVEUPDATE_IOCTL_DISCARD_SESSION, &discard));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(fds, lu_count_fds());
	EXPECT_EQ(1, lu_sysfs_number("outgoing/sessions"));
}

TEST_F(monitor, events)
{
	int session, fd;

	ASSERT_EQ(0, lu_write_file(LU_TRACING "trace", ""));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "1"));
	session = lu_create(self->dev, ODD_NAME);
	ASSERT_LE(0, session);
	fd = lu_memfd("m", LU_MIB, 1);
	ASSERT_EQ(0, lu_preserve(session, fd, 5));
	close(session);
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "0"));

	EXPECT_EQ(1, lu_count_events("file_preserve: session=[0-9]+ token=0x5 .* err=0"));
	EXPECT_EQ(1, lu_count_events("file_unpreserve: session=[0-9]+ token=0x5 .*"));
	EXPECT_EQ(2, lu_count_events(".*"));
}

/* Of the direct map, of vmalloc, of code: nobody is told where things are. */
#define ADDRESS	"ffff[89a-f][0-9a-f]{11}"

static int addresses;

static int count_addresses(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int n = type == FTW_F && (st->st_mode & 0400) ? lu_count_matches(path, ADDRESS) : 0;

	if (n > 0)
		printf("# %d lines of %s\n", n, path);
	addresses += n > 0 ? n : 0;
	return 0;
}

/* Lines of ours in the kernel's log. */
static void count_addresses_in_log(void)
{
	static char log[LU_MIB];
	char *rest = log, *line;
	regex_t re;
	int n;

	n = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1);
	if (n < 0 || regcomp(&re, "(liveupdate|KHO): .*" ADDRESS, REG_EXTENDED | REG_NOSUB)) {
		addresses = -1;
		return;
	}
	while ((line = strsep(&rest, "\n"))) {
		if (regexec(&re, line, 0, NULL, 0))
			continue;
		printf("# %s\n", line);
		addresses++;
	}
	regfree(&re);
}

TEST_F(monitor, no_address_of_the_kernel)
{
	static const char * const trees[] = {
		LU_SYSFS, "/sys/kernel/debug/liveupdate", "/sys/kernel/debug/kho",
	};
	int session, fd;
	char path[64];
	size_t i;

	ASSERT_EQ(0, lu_write_file(LU_TRACING "trace", ""));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "1"));
	session = lu_create(self->dev, "addresses");
	ASSERT_LE(0, session);
	fd = lu_memfd("m", LU_MIB, 1);
	ASSERT_EQ(0, lu_preserve(session, fd, 5));
	EXPECT_EQ(-EBUSY, lu_preserve(session, fd, 6));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "0"));
	EXPECT_LT(0, lu_count_events("file_preserve: .*"));

	EXPECT_EQ(2, lu_count_matches(LU_LINES, "^(session|file) "));
	addresses = lu_count_matches(LU_TRACING "trace", ADDRESS);
	for (i = 0; i < ARRAY_SIZE(trees); i++)
		ASSERT_EQ(0, nftw(trees[i], count_addresses, 8, FTW_PHYS));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", session);
	addresses += lu_count_matches(path, ADDRESS);
	count_addresses_in_log();
	EXPECT_EQ(0, addresses);
}
