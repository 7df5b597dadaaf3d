// SPDX-License-Identifier: GPL-2.0
/*
 * The agent and its clients, for the tests of luod.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest.h"
#include "lu_util.h"
#include "luod_util.h"

#define ARGS_MAX	16

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd < 0 || !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd < 0 ? -errno : fd;
	err = -errno;
	close(fd);
	return err;
}

static void short_rest(void)
{
	struct timespec tick = { .tv_nsec = 10 * 1000 * 1000 };

	nanosleep(&tick, NULL);
}

/* A file that grows; it is the whole test's. */
static int open_log(void)
{
	return open(LUOD_LOG, O_WRONLY | O_CREAT | O_APPEND, 0600);
}

/* Start luod and wait until it says that clients can connect. */
pid_t luod_start(char *const more[])
{
	char luod[64] = LUOD;
	char *argv[ARGS_MAX] = {
		luod, "--socket=" LUOD_SOCKET, "--socket-mode=0666", "--jump=direct",
	};
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/tmp/luod.notify" };
	int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), n, i;
	struct pollfd p = { .fd = notify, .events = POLLIN };
	char word[64] = "";
	pid_t pid;

	/* Another one than usual, built with AddressSanitizer for example. */
	lu_param("lu.luod", luod, sizeof(luod));
	for (n = 0; argv[n]; n++)
		;
	for (i = 0; more && more[i]; i++)
		argv[n + i] = more[i];
	unlink(addr.sun_path);
	if (notify < 0 || bind(notify, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* It does not keep the test's line open. */
		dup2(open_log(), STDERR_FILENO);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		setenv("NOTIFY_SOCKET", addr.sun_path, 1);
		execv(luod, argv);
		_exit(127);
	}
	if (pid < 0)
		return -errno;
	if (poll(&p, 1, LUOD_PATIENCE_MS) != 1 ||
	    recv(notify, word, sizeof(word) - 1, 0) <= 0 || strcmp(word, "READY=1"))
		pid = -EIO;
	close(notify);
	return pid;
}

/* The exit status of a program, or 128 and the signal. */
int luod_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int luod_stop(pid_t pid, int sig)
{
	return kill(pid, sig) ? -errno : luod_wait(pid);
}

/* Start luoctl, or a luod that is expected to end; its words are kept. */
pid_t luod_spawn(char *const argv[])
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int log = open_log();

		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid < 0 ? -errno : pid;
}

int luod_run(char *const argv[])
{
	pid_t pid = luod_spawn(argv);

	return pid < 0 ? pid : luod_wait(pid);
}

/* Whether @what has been logged, or is in time. */
bool luod_said(const char *what)
{
	static char text[1 << 20];
	int fd, i;
	ssize_t n;

	for (i = 0; i < LUOD_PATIENCE_MS / 10; i++) {
		fd = open(LUOD_LOG, O_RDONLY | O_CLOEXEC);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		text[n > 0 ? n : 0] = 0;
		if (strstr(text, what))
			return true;
		short_rest();
	}
	fprintf(stderr, "# not logged: %s\n", what);
	return false;
}

/* How often @what has been logged until now. */
int luod_times_said(const char *what)
{
	static char text[1 << 20];
	int fd = open(LUOD_LOG, O_RDONLY | O_CLOEXEC), times = 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	const char *s;

	close(fd);
	text[n > 0 ? n : 0] = 0;
	for (s = text; (s = strstr(s, what)); s++)
		times++;
	return times;
}

/* How many descriptors luod has. */
int luod_fds(pid_t pid)
{
	struct dirent *entry;
	char path[64];
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

/* How many children luod has, those that have ended and nobody asked for, too. */
int luod_children(pid_t pid)
{
	char path[64], line[4096];
	int n = 0, fd;
	ssize_t len;
	char *s;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = read(fd, line, sizeof(line) - 1);
	if (fd < 0 || len < 0)
		return -errno;
	close(fd);
	line[len] = 0;
	for (s = line; *s; s++)
		n += *s == ' ';
	return n;
}

static bool await_number(pid_t pid, int (*number)(pid_t pid), const char *what, int want)
{
	int i, n = -1;

	for (i = 0; i < LUOD_PATIENCE_MS / 10; i++) {
		n = number(pid);
		if (n == want)
			return true;
		short_rest();
	}
	fprintf(stderr, "# luod has %d %s, not %d\n", n, what, want);
	return false;
}

bool luod_await_fds(pid_t pid, int want)
{
	return await_number(pid, luod_fds, "descriptors", want);
}

bool luod_await_children(pid_t pid, int want)
{
	return await_number(pid, luod_children, "children", want);
}

int luod_connect(struct luod_client *client, uid_t uid)
{
	return luod_connect_at(client, LUOD_SOCKET, uid);
}

/* As a user: the kernel tells luod who that is. */
int luod_connect_at(struct luod_client *client, const char *path, uid_t uid)
{
	memset(client, 0, sizeof(*client));
	client->got = -1;
	if (seteuid(uid))
		return -errno;
	client->fd = connect_to(path);
	if (seteuid(0))
		return -errno;
	return client->fd < 0 ? client->fd : 0;
}

void luod_leave(struct luod_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

/* What is in @line, with descriptors; a newline is the caller's business. */
int luod_send(struct luod_client *client, const char *line, const int *fds, int nr)
{
	union {
		char buf[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control = { };
	struct iovec iov = { .iov_base = (void *)line, .iov_len = strlen(line) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (nr) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nr * sizeof(int));
	}
	return sendmsg(client->fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int fill(struct luod_client *client)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {
		.iov_base = client->buf + client->len,
		.iov_len = sizeof(client->buf) - client->len,
	};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct pollfd p = { .fd = client->fd, .events = POLLIN };
	struct cmsghdr *cmsg;
	ssize_t n;

	if (poll(&p, 1, LUOD_PATIENCE_MS) != 1)
		return -ETIME;
	n = recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return -ECONNRESET;
	client->len += n;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&client->got, CMSG_DATA(cmsg), sizeof(int));
	return 0;
}

/* The next line: 0, -ECONNRESET after the last one, -ETIME for none in time. */
int luod_receive(struct luod_client *client)
{
	char *end;
	int err;

	while (!(end = memchr(client->buf, '\n', client->len))) {
		err = fill(client);
		if (err)
			return err;
	}
	*end++ = 0;
	memcpy(client->line, client->buf, end - client->buf);
	client->len -= end - client->buf;
	memmove(client->buf, end, client->len);
	return 0;
}

bool luod_has(struct luod_client *client, const char *what)
{
	return strstr(client->line, what);
}

/* The errno in an answer. */
static int answer_of(struct luod_client *client)
{
	static const int known[] = {
		EPERM, ENOENT, EAGAIN, ENOMEM, EBUSY, EEXIST, EINVAL, ENOEXEC, ESTALE, EDQUOT,
		EBADMSG, EMSGSIZE, ETIMEDOUT, ECANCELED, EOPNOTSUPP, E2BIG, EBADF, ENOTCONN,
	};
	char want[64];
	size_t i;

	if (luod_has(client, "\"ok\":true"))
		return 0;
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		snprintf(want, sizeof(want), "\"error\":\"%s\"", strerrorname_np(known[i]));
		if (luod_has(client, want))
			return -known[i];
	}
	fprintf(stderr, "# answer: %s\n", client->line);
	return -EPROTO;
}

/* A request with a newline, and its answer; events before it are skipped. */
int luod_ask_with(struct luod_client *client, const char *line, const int *fds, int nr)
{
	int err = luod_send(client, line, fds, nr);

	do {
		err = err ?: luod_receive(client);
		if (err)
			return err;
	} while (!luod_has(client, "\"ok\":"));
	return answer_of(client);
}

int luod_ask(struct luod_client *client, const char *line)
{
	return luod_ask_with(client, line, NULL, 0);
}

/* Whether luod has closed it, after whatever it had to say. */
bool luod_ended(struct luod_client *client)
{
	int err;

	do {
		err = luod_receive(client);
	} while (!err);
	return err == -ECONNRESET;
}

int luod_session(struct luod_client *client, const char *name)
{
	char line[256];
	int err, fd;

	snprintf(line, sizeof(line), "{\"op\":\"session\",\"name\":\"%s\"}\n", name);
	err = luod_ask(client, line);
	if (err)
		return err;
	fd = client->got;
	client->got = -1;
	return fd < 0 ? -ENOMSG : fd;
}

/* Wait for an event; others before it are skipped. */
int luod_event(struct luod_client *client, const char *name)
{
	char want[64];
	int err;

	snprintf(want, sizeof(want), "\"event\":\"%s\"", name);
	do {
		err = luod_receive(client);
	} while (!err && !luod_has(client, want));
	return err;
}

int luod_load(struct luod_client *client, const char *image, const char *initrd,
	      const char *cmdline)
{
	int fds[2] = {
		open(image, O_RDONLY | O_CLOEXEC),
		initrd ? open(initrd, O_RDONLY | O_CLOEXEC) : -1,
	};
	char line[4096];
	int err;

	snprintf(line, sizeof(line), "{\"op\":\"load\",\"cmdline\":\"%s\"}\n", cmdline);
	err = luod_ask_with(client, line, fds, initrd ? 2 : 1);
	close(fds[0]);
	if (initrd)
		close(fds[1]);
	return err;
}

/* An answer to the event that came last. */
int luod_answer(struct luod_client *client, const char *op, const char *phase)
{
	char line[256], *update = strstr(client->line, "\"update\":");

	if (!update)
		return -ENOMSG;
	snprintf(line, sizeof(line), "{\"op\":\"%s\",\"phase\":\"%s\",\"update\":%d}\n", op, phase,
		 atoi(update + strlen("\"update\":")));
	return luod_ask(client, line);
}

/* Wait for a phase and be ready. */
int luod_follow(struct luod_client *client, const char *phase)
{
	return luod_event(client, phase) ?: luod_answer(client, "ready", phase);
}

static int load(struct luod_client *client, const char *image, const char *initrd)
{
	char cmdline[2048];
	int err = lu_cmdline(cmdline, sizeof(cmdline), lu_stage() + 1, NULL);

	return err ?: luod_load(client, image, initrd, cmdline);
}

int luod_load_next(struct luod_client *client)
{
	return load(client, lu_next_image(), "/host/initrd");
}

/*
 * For an update that does not come about: from memory, and with an initramfs that no
 * kernel unpacks, as reading and hashing them is most of what these tests do.
 */
int luod_load_in_vain(struct luod_client *client)
{
	static const char image[] = "/tmp/next-image", initrd[] = "/tmp/next-initrd";
	char * const cp[] = { "/bin/cp", (char *)lu_next_image(), (char *)image, NULL };
	int err = 0, fd;

	if (access(image, F_OK))
		err = lu_run(cp);
	fd = open(initrd, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "initrd", 6) != 6)
		err = err ?: -errno;
	close(fd);
	return err ?: load(client, image, initrd);
}

/* Whether the kernel has an image to go into: '1' or '0'. */
int luod_loaded(void)
{
	int fd = open("/sys/kernel/kexec_loaded", O_RDONLY | O_CLOEXEC);
	char c = '?';

	if (read(fd, &c, 1) != 1)
		c = '?';
	close(fd);
	return c;
}

/*
 * Start luod with a log of its own, and have root connect and say @line. What it
 * has open then, but for root's connection, is counted in *@fds.
 */
pid_t luod_begin(char *const more[], struct luod_client *root, const char *line, int *fds)
{
	pid_t pid;
	int err;

	unlink(LUOD_LOG);
	pid = luod_start(more);
	if (pid < 0)
		return pid;
	err = luod_connect(root, 0) ?: luod_ask(root, line);
	if (err)
		return err;
	*fds = luod_fds(pid) - 1;
	return pid;
}
