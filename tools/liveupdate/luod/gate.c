// SPDX-License-Identifier: GPL-2.0
/*
 * What is meant for children has no memory of its own and asks nothing of libevent:
 * a child is a copy of luod that is about to give up all that luod has.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gate.h"
#include "log.h"
#include "luod.h"

/* The kernel passes no more of them with one message. */
#define FDS_MAX		253

/* Where a child has its two descriptors. */
#define CHILD_SOCKET	3
#define CHILD_RESULT	4

/* How long luod's only undertaker can be at work before there is another one. */
#define UNDERTAKER_MS	2000

/* A file that does not go at once is asked again and again. */
#define UNDERTAKER_PUSH_US	20000

/* What a child has to say, before the bytes that came in. */
struct head {
	uint32_t nr_fds;	/* that came */
	uint32_t passed;	/* which of the first go along, as bits */
};

/* A child, until it has ended. */
struct child {
	TAILQ_ENTRY(child) link;
	pid_t pid;
	uid_t uid;
	bool admin;
	bool undertaker;
};

struct gate {
	int result;
	struct event *readable;
	gate_done done;
	void *arg;
};

/* A connection's socket, to be closed by an undertaker. */
struct grave {
	TAILQ_ENTRY(grave) link;
	int socket;
};

static TAILQ_HEAD(, child) children = TAILQ_HEAD_INITIALIZER(children);
static TAILQ_HEAD(, grave) graves = TAILQ_HEAD_INITIALIZER(graves);
static struct event *ended;
static struct event *next_undertaker;
static int64_t undertaker_since;

static void bury(void);

static unsigned int children_of(uid_t uid)
{
	struct child *child;
	unsigned int n = 0;

	TAILQ_FOREACH(child, &children, link)
		n += !child->undertaker && child->uid == uid;
	return n;
}

/* Processes are everybody's: one in four clients is as far as it goes. */
static bool too_many_children(void)
{
	struct child *child;
	unsigned int n = 0;

	TAILQ_FOREACH(child, &children, link)
		n += !child->undertaker && !child->admin;
	return n >= (options.conns + 3) / 4;
}

static bool undertaker_at_work(void)
{
	struct child *child;

	TAILQ_FOREACH(child, &children, link)
		if (child->undertaker)
			return true;
	return false;
}

static void on_ended(evutil_socket_t sig, short what, void *arg)
{
	struct child *child, *next;

	for (child = TAILQ_FIRST(&children); child; child = next) {
		next = TAILQ_NEXT(child, link);
		if (!waitpid(child->pid, NULL, WNOHANG))
			continue;
		TAILQ_REMOVE(&children, child, link);
		free(child);
	}
	bury();
}

static int watch_children(void)
{
	if (ended)
		return 0;
	ended = evsignal_new(base, SIGCHLD, on_ended, NULL);
	if (ended && !event_add(ended, NULL))
		return 0;
	if (ended)
		event_free(ended);
	ended = NULL;
	return -ENOMEM;
}

/* libevent's handlers would write into what the child has in their place. */
static void forget_signals(void)
{
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
}

/* As fork(2), and the child is remembered. */
static pid_t new_child(uid_t uid, bool admin, bool undertaker)
{
	struct child *child = watch_children() ? NULL : calloc(1, sizeof(*child));
	sigset_t all, before;

	if (!child)
		return -ENOMEM;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	child->pid = fork();
	if (child->pid < 0) {
		child->pid = -errno;
	} else if (!child->pid) {
		forget_signals();
		sigprocmask(SIG_SETMASK, &before, NULL);
		return 0;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (child->pid < 0) {
		int err = child->pid;

		free(child);
		return err;
	}
	child->uid = uid;
	child->admin = admin;
	child->undertaker = undertaker;
	TAILQ_INSERT_TAIL(&children, child, link);
	return child->pid;
}

/* All that luod has could be kept by a child that waits: away with it. */
static void keep_only(int socket, int result)
{
	socket = fcntl(socket, F_DUPFD, CHILD_RESULT + 1);
	result = fcntl(result, F_DUPFD, CHILD_RESULT + 1);
	if (socket < 0 || result < 0 || dup2(socket, CHILD_SOCKET) < 0 ||
	    dup2(result, CHILD_RESULT) < 0)
		_exit(EXIT_FAILURE);
	close_range(CHILD_RESULT + 1, ~0U, 0);
}

static unsigned int first_fds(struct msghdr *msg, int fds[LUO_FDS_MAX])
{
	struct cmsghdr *cmsg;
	unsigned int nr = 0;
	size_t n;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(cmsg),
		       (n < LUO_FDS_MAX ? n : LUO_FDS_MAX) * sizeof(int));
		nr = n;
	}
	return nr;
}

static uint32_t which_pass(const int *fds, unsigned int nr, bool any_file)
{
	uint32_t passed = 0;
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (any_file || !luo_socket_session(fds[i]))
			passed |= 1U << i;
	return passed;
}

static void say(const struct head *head, char *text, size_t len, const int *fds)
{
	union {
		char buf[CMSG_SPACE(LUO_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { };
	struct iovec iov[] = {
		{ .iov_base = (void *)head, .iov_len = sizeof(*head) },
		{ .iov_base = text, .iov_len = len },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct cmsghdr *cmsg;
	int pass[LUO_FDS_MAX];
	unsigned int i, n = 0;

	for (i = 0; i < LUO_FDS_MAX; i++)
		if (head->passed & 1U << i)
			pass[n++] = fds[i];
	if (n) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), pass, n * sizeof(int));
	}
	sendmsg(CHILD_RESULT, &msg, MSG_NOSIGNAL);
}

/* The child: its end closes what was not passed on, however long that takes. */
static void receive(bool any_file)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	char text[GATE_BYTES];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct head head = { };
	int fds[LUO_FDS_MAX];
	ssize_t n;

	n = recvmsg(CHILD_SOCKET, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n <= 0)
		return;
	head.nr_fds = first_fds(&msg, fds);
	/* Some did not fit into this process: their line would take others for them. */
	if (msg.msg_flags & MSG_CTRUNC)
		head.nr_fds = FDS_MAX;
	if (head.nr_fds <= LUO_FDS_MAX)
		head.passed = which_pass(fds, head.nr_fds, any_file);
	/* Before what may wait: the client is to see luod's end of it, not ours. */
	close(CHILD_SOCKET);
	say(&head, text, n, fds);
	close(CHILD_RESULT);
}

static void give_result(struct gate *gate, struct gate_result *result)
{
	gate_done done = gate->done;
	void *arg = gate->arg;

	gate_cancel(gate);
	done(result, arg);
}

/* Descriptors that passed take their places, the others' say that they did not. */
static void sort_fds(struct gate_result *result, uint32_t passed)
{
	int got[LUO_FDS_MAX];
	unsigned int i, n = 0;

	memcpy(got, result->fds, sizeof(got));
	for (i = 0; i < LUO_FDS_MAX; i++)
		result->fds[i] = passed & 1U << i ? got[n++] : -EBADF;
}

static void on_result(evutil_socket_t fd, short what, void *arg)
{
	struct gate_result result = { .len = 0 };
	char buf[sizeof(struct head) + GATE_BYTES];
	unsigned int nr_fds;
	struct head head;
	ssize_t n;

	n = luo_socket_recv(fd, buf, sizeof(buf), result.fds, &nr_fds, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return;
	if (n > (ssize_t)sizeof(head)) {
		memcpy(&head, buf, sizeof(head));
		result.len = n - sizeof(head);
		result.nr_fds = head.nr_fds;
		memcpy(result.text, buf + sizeof(head), result.len);
		if (__builtin_popcount(head.passed) == nr_fds) {
			sort_fds(&result, head.passed);
		} else {
			while (nr_fds)
				close(result.fds[--nr_fds]);
			result.len = 0;
		}
	}
	give_result(arg, &result);
}

static struct gate *new_gate(int result, gate_done done, void *arg)
{
	struct gate *gate = calloc(1, sizeof(*gate));

	if (!gate)
		return NULL;
	gate->result = result;
	gate->done = done;
	gate->arg = arg;
	gate->readable = event_new(base, result, EV_READ | EV_PERSIST, on_result, gate);
	if (gate->readable && !event_add(gate->readable, NULL))
		return gate;
	if (gate->readable)
		event_free(gate->readable);
	free(gate);
	return NULL;
}

/**
 * gate_receive - receive what has descriptors with it
 * @gate: gets a handle, for gate_cancel() until @done is called
 * @socket: has something to receive; nobody else may receive from it meanwhile
 * @uid: whose it is
 * @any_file: an administrator's: all files may pass, not only sessions
 * @done: called once, from the event loop
 * @arg: for it
 *
 * Return: 0; -%EDQUOT while too many descriptors of the user, or of all users, are
 * not closed yet; -%EMFILE, -%ENFILE or -%EAGAIN while there is no room for a child,
 * -%ENOMEM.
 */
int gate_receive(struct gate **gate, int socket, uid_t uid, bool any_file,
		 gate_done done, void *arg)
{
	int pair[2], err;

	if (children_of(uid) >= options.conns_per_user ||
	    (!any_file && too_many_children()))
		return -EDQUOT;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	*gate = new_gate(pair[0], done, arg);
	err = *gate ? new_child(uid, any_file, false) : -ENOMEM;
	if (!err) {
		keep_only(socket, pair[1]);
		receive(any_file);
		_exit(EXIT_SUCCESS);
	}
	close(pair[1]);
	if (err > 0)
		return 0;
	if (*gate)
		gate_cancel(*gate);
	else
		close(pair[0]);
	return err;
}

/**
 * gate_cancel - nobody waits for it any more
 * @gate: the handle
 */
void gate_cancel(struct gate *gate)
{
	event_free(gate->readable);
	close(gate->result);
	free(gate);
}

static void on_push(int sig)
{
}

/* The child: whatever waits in a close is interrupted, and the next one is next. */
static void close_graves(void)
{
	struct sigaction push = { .sa_handler = on_push };
	struct itimerval timer = {
		.it_interval.tv_usec = UNDERTAKER_PUSH_US,
		.it_value.tv_usec = UNDERTAKER_PUSH_US,
	};
	struct grave *grave;

	sigaction(SIGALRM, &push, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	TAILQ_FOREACH(grave, &graves, link)
		close(grave->socket);
}

/* The child has copies of the sockets only, and of what says when to begin. */
static void keep_graves(int begin)
{
	struct grave *grave;
	int fd, max = begin;

	TAILQ_FOREACH(grave, &graves, link)
		max = grave->socket > max ? grave->socket : max;
	close_range(max + 1, ~0U, 0);
	for (fd = STDERR_FILENO + 1; fd < max; fd++) {
		TAILQ_FOREACH(grave, &graves, link)
			if (grave->socket == fd)
				break;
		if (!grave && fd != begin)
			close(fd);
	}
}

/* The end of the pipe says that luod has closed its copies: they were not the last. */
static void undertake(int begin)
{
	char c;

	keep_graves(begin);
	while (read(begin, &c, 1) < 0 && errno == EINTR)
		;
	close_graves();
}

static void drop_graves(void)
{
	struct grave *grave;

	while ((grave = TAILQ_FIRST(&graves))) {
		TAILQ_REMOVE(&graves, grave, link);
		close(grave->socket);
		free(grave);
	}
}

static void on_next_undertaker(evutil_socket_t fd, short what, void *arg)
{
	bury();
}

static void bury_later(void)
{
	struct timeval t = to_timeval(UNDERTAKER_MS);

	if (!next_undertaker)
		next_undertaker = evtimer_new(base, on_next_undertaker, NULL);
	if (next_undertaker)
		event_add(next_undertaker, &t);
}

static int start_undertaker(void)
{
	int begin[2];
	pid_t pid;

	if (pipe2(begin, O_CLOEXEC))
		return -errno;
	pid = new_child(0, true, true);
	if (!pid) {
		undertake(begin[0]);
		_exit(EXIT_SUCCESS);
	}
	if (pid > 0)
		drop_graves();
	close(begin[0]);
	close(begin[1]);
	return pid < 0 ? pid : 0;
}

/**
 * gate_stop - luod ends: what gate_close() was given does not hold it up
 */
void gate_stop(void)
{
	if (!TAILQ_EMPTY(&graves))
		start_undertaker();
}

/* Have the sockets closed, unless that is being done. */
static void bury(void)
{
	int64_t now = clock_ms(CLOCK_MONOTONIC);

	if (TAILQ_EMPTY(&graves))
		return;
	if ((undertaker_at_work() && now - undertaker_since < UNDERTAKER_MS) ||
	    start_undertaker())
		bury_later();
	else
		undertaker_since = now;
}

/**
 * gate_close - close a client's socket
 * @socket: the socket
 */
void gate_close(int socket)
{
	struct grave *grave;
	int unread = 0;

	/* Nothing can come in from here on. */
	shutdown(socket, SHUT_RDWR);
	grave = ioctl(socket, SIOCINQ, &unread) || !unread ? NULL : malloc(sizeof(*grave));
	if (!grave) {
		close(socket);
		return;
	}
	grave->socket = socket;
	TAILQ_INSERT_TAIL(&graves, grave, link);
	bury();
}
