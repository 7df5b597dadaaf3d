// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"
#include "gate.h"
#include "log.h"
#include "luod.h"
#include "request.h"
#include "socket.h"

/* Of Linux 6.5: the C library's headers may be older. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD	77
#endif

#define FORMAT		(JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* What a client may leave unread and still get one more line, however long. */
#define OUT_MAX		(256UL << 10)

/* How long the last words to a client may take. */
#define END_MS		2000

/* How long a client waits when there is nothing left to receive descriptors with. */
#define REST_MS		1000

/* How long a process may take to end after its connection has. */
#define EXIT_MS		2000

struct out {
	TAILQ_ENTRY(out) link;
	size_t len;
	size_t sent;
	int fd;
	char text[];
};

struct conn_list conns = TAILQ_HEAD_INITIALIZER(conns);
static const struct conn_hooks *hooks;

static void out_free(struct conn *conn, struct out *out)
{
	TAILQ_REMOVE(&conn->out, out, link);
	conn->out_bytes -= out->len;
	if (out->fd >= 0)
		close(out->fd);
	free(out);
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

static void drop_fds(struct conn *conn)
{
	while (conn->nr_fds)
		if (conn->fds[--conn->nr_fds] >= 0)
			close(conn->fds[conn->nr_fds]);
}

static void leave_gate(struct conn *conn)
{
	if (conn->gate)
		gate_cancel(conn->gate);
	conn->gate = NULL;
}

static void conn_free(struct conn *conn)
{
	while (!TAILQ_EMPTY(&conn->out))
		out_free(conn, TAILQ_FIRST(&conn->out));
	drop_fds(conn);
	leave_gate(conn);
	free_event(conn->readable);
	free_event(conn->writable);
	free_event(conn->stalled);
	free_event(conn->reap);
	free_event(conn->deadline);
	free_event(conn->exited);
	free_event(conn->rested);
	free_event(conn->more);
	if (conn->process >= 0)
		close(conn->process);
	if (conn->in)
		evbuffer_free(conn->in);
	gate_close(conn->fd);
	free(conn);
}

static void reap(struct conn *conn)
{
	TAILQ_REMOVE(&conns, conn, link);
	hooks->gone(conn);
	conn_free(conn);
}

static void on_exited(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	conn->lives = what & EV_TIMEOUT;
	reap(conn);
}

/*
 * The process that made the connection, and no other that has its number by now.
 * Only a kernel before 6.5 has nothing but the number.
 *
 * Return: a pidfd, which is the caller's; -%ESRCH if the process has ended.
 */
static int open_process(const struct conn *conn)
{
	socklen_t len = sizeof(int);
	int fd;

	if (!getsockopt(conn->fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &len))
		return fd;
	if (errno == ENOPROTOOPT) {
		fd = pidfd_open(conn->pid, 0);
		return fd < 0 ? -errno : fd;
	}
	/* What a process that is no more gives depends on the kernel. */
	return errno == EINVAL ? -ESRCH : -errno;
}

/**
 * conn_look_at_process - see whether the process that connected is still there
 * @conn: a client that has just said something
 *
 * If it is not, it was another one that spoke, and what the client's process does
 * when the connection ends can never be known.
 */
void conn_look_at_process(struct conn *conn)
{
	int fd = open_process(conn);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	conn->inherited = fd == -ESRCH || (fd >= 0 && poll(&p, 1, 0) == 1);
	if (fd >= 0)
		close(fd);
}

/* A process that ends closes its files first. False if there is nothing to wait for. */
static bool await_exit(struct conn *conn)
{
	struct timeval t = to_timeval(EXIT_MS);

	conn->process = conn->inherited ? -EBADF : open_process(conn);
	if (conn->process < 0) {
		conn->lives = conn->process != -ESRCH;
		return false;
	}
	conn->exited = event_new(base, conn->process, EV_READ, on_exited, conn);
	conn->lives = !conn->exited || event_add(conn->exited, &t);
	return !conn->lives;
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	if (!hooks->in_doubt(conn) || !await_exit(conn))
		reap(conn);
}

/* Whoever calls may still use it: it is freed from the event loop. */
static void conn_kill(struct conn *conn)
{
	if (conn->dead)
		return;
	conn->dead = true;
	leave_gate(conn);
	event_del(conn->readable);
	event_del(conn->writable);
	event_del(conn->stalled);
	event_del(conn->rested);
	event_del(conn->more);
	event_active(conn->reap, EV_TIMEOUT, 0);
}

static void conn_throw_out(struct conn *conn)
{
	conn->thrown_out = true;
	conn_kill(conn);
}

/* Send what there is to send, then no more. */
static void conn_end(struct conn *conn)
{
	struct timeval t = to_timeval(END_MS);

	conn->thrown_out = true;
	if (TAILQ_EMPTY(&conn->out)) {
		conn_kill(conn);
		return;
	}
	conn->ending = true;
	leave_gate(conn);
	event_del(conn->readable);
	event_del(conn->more);
	event_add(conn->stalled, &t);
}

static ssize_t send_some(struct conn *conn, struct out *out)
{
	ssize_t n = luo_socket_send(conn->fd, out->text + out->sent, out->len - out->sent,
				    &out->fd, out->fd >= 0, MSG_DONTWAIT);

	if (n > 0) {
		out->sent += n;
		if (out->fd >= 0)
			close(out->fd);
		out->fd = -1;
	}
	return n;
}

static void flush(struct conn *conn)
{
	struct out *out;
	ssize_t n;

	while ((out = TAILQ_FIRST(&conn->out))) {
		n = send_some(conn, out);
		if (n == -EAGAIN) {
			event_add(conn->writable, NULL);
			return;
		}
		if (n < 0) {
			conn_kill(conn);
			return;
		}
		if (out->sent == out->len)
			out_free(conn, out);
	}
	event_del(conn->writable);
	if (conn->ending)
		conn_kill(conn);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	flush(arg);
}

/**
 * conn_send - send a line
 * @conn: to whom; nothing is sent to a dead one
 * @line: the line; the reference is used up
 * @fd: a descriptor to go along, which stays the caller's; or -1
 */
void conn_send(struct conn *conn, struct json_object *line, int fd)
{
	size_t len = 0;
	const char *text = json_object_to_json_string_length(line, FORMAT, &len);
	struct out *out = conn->dead || !text ? NULL : malloc(sizeof(*out) + len + 1);
	bool reads = conn->out_bytes <= OUT_MAX;

	if (out) {
		out->len = len + 1;
		out->sent = 0;
		out->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
		memcpy(out->text, text, len);
		out->text[len] = '\n';
		TAILQ_INSERT_TAIL(&conn->out, out, link);
		conn->out_bytes += out->len;
		/* A promised descriptor that is not there, or nobody who reads. */
		if ((fd >= 0 && out->fd < 0) || !reads)
			conn_throw_out(conn);
		else
			flush(conn);
	} else if (!conn->dead) {
		conn_throw_out(conn);
	}
	json_object_put(line);
}

/**
 * conn_send_to_watchers - send an event
 * @line: the event; the reference is used up
 */
void conn_send_to_watchers(struct json_object *line)
{
	struct conn *conn;

	TAILQ_FOREACH(conn, &conns, link)
		if (conn->watching && !conn->dead)
			conn_send(conn, json_object_get(line), -1);
	json_object_put(line);
}

/**
 * conn_flush_all - send what can be sent at once
 *
 * For when there is no event loop any more.
 */
void conn_flush_all(void)
{
	struct conn *conn;

	TAILQ_FOREACH(conn, &conns, link)
		if (!conn->dead)
			flush(conn);
}

/**
 * conn_close_all - luod ends: close what clients have to do with it
 *
 * Nothing else of them is given back, and nobody is told: the process ends.
 */
void conn_close_all(void)
{
	struct conn *conn;

	TAILQ_FOREACH(conn, &conns, link)
		gate_close(conn->fd);
	gate_stop();
}

/**
 * conn_error - the answer to a request that failed
 * @err: negative errno
 * @message: one line for people
 */
struct json_object *conn_error(int err, const char *message)
{
	struct json_object *reply = json_object_new_object();

	json_object_object_add(reply, "ok", json_object_new_boolean(0));
	json_object_object_add(reply, "error",
			       json_object_new_string(strerrorname_np(-err) ?: "EIO"));
	json_object_object_add(reply, "message", json_object_new_string(message));
	return reply;
}

/**
 * conn_take_fd - the next descriptor that the client sent along
 * @conn: the client
 *
 * Return: the descriptor, which is the caller's; -%EBADF if it was a stranger's
 * file and is none of luod's business, -%ENOMSG if there is none.
 */
int conn_take_fd(struct conn *conn)
{
	int fd;

	if (!conn->nr_fds)
		return -ENOMSG;
	fd = conn->fds[0];
	conn->nr_fds--;
	memmove(conn->fds, conn->fds + 1, conn->nr_fds * sizeof(fd));
	return fd;
}

static void on_line(struct conn *conn, const char *line, size_t len)
{
	struct json_object *reply;
	struct request req;
	const char *why;
	int err = request_parse(&req, line, len, &why);

	if (!err) {
		hooks->request(conn, &req);
		return;
	}
	reply = conn_error(err, why);
	if (req.has & HAS_ID)
		json_object_object_add(reply, "id", json_object_new_int64(req.id));
	conn_send(conn, reply, -1);
	request_free(&req);
	/* Who knows where the next line begins. */
	if (err == -EBADMSG)
		conn_end(conn);
}

static bool any_line(const struct conn *conn)
{
	return evbuffer_search_eol(conn->in, NULL, NULL, EVBUFFER_EOL_LF).pos >= 0;
}

/* Whether what there is of a line can be the beginning of one that is taken. */
static void await_rest_of_line(struct conn *conn)
{
	struct timeval t = to_timeval(options.stall_ms);

	if (evbuffer_get_length(conn->in) >= REQUEST_MAX) {
		conn_send(conn, conn_error(-EMSGSIZE, "a line that is too long"), -1);
		conn_end(conn);
		return;
	}
	if (!evbuffer_get_length(conn->in))
		drop_fds(conn);
	else if (!evtimer_pending(conn->stalled, NULL))
		event_add(conn->stalled, &t);
}

/*
 * One line, and then it is everybody else's turn. What comes behind those that are
 * here already is left where it is meanwhile.
 */
static void take_line(struct conn *conn)
{
	static const struct timeval at_once;
	size_t len;
	char *line = evbuffer_readln(conn->in, &len, EVBUFFER_EOL_LF);

	if (line) {
		event_del(conn->stalled);
		on_line(conn, line, len);
		free(line);
	}
	if (conn->dead || conn->ending)
		return;
	if (!any_line(conn)) {
		event_add(conn->readable, NULL);
		await_rest_of_line(conn);
	} else if (event_add(conn->more, &at_once)) {
		conn_throw_out(conn);
	} else {
		event_del(conn->readable);
	}
}

static void on_more(evutil_socket_t fd, short what, void *arg)
{
	take_line(arg);
}

static int keep_fds(struct conn *conn, const struct gate_result *result)
{
	unsigned int i;

	if (result->nr_fds > LUO_FDS_MAX || conn->nr_fds + result->nr_fds > CONN_FDS)
		return -E2BIG;
	for (i = 0; i < result->nr_fds; i++)
		conn->fds[conn->nr_fds++] = result->fds[i];
	return 0;
}

static void refuse(struct conn *conn, int err, const char *why)
{
	conn_send(conn, conn_error(err, why), -1);
	conn_end(conn);
}

static void take_bytes(struct conn *conn, const char *bytes, size_t len)
{
	if (evbuffer_add(conn->in, bytes, len))
		refuse(conn, -ENOMEM, "no memory");
	else
		take_line(conn);
}

static void on_received(const struct gate_result *result, void *arg)
{
	struct conn *conn = arg;
	unsigned int i;

	conn->gate = NULL;
	if (!result->len) {
		refuse(conn, -ENOMEM, "no memory for these descriptors");
		return;
	}
	if (keep_fds(conn, result)) {
		for (i = 0; i < LUO_FDS_MAX; i++)
			if (result->fds[i] >= 0)
				close(result->fds[i]);
		refuse(conn, -E2BIG, "more descriptors than any request takes");
		return;
	}
	event_add(conn->readable, NULL);
	take_bytes(conn, result->text, result->len);
}

static void on_rested(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	if (!conn->dead && !conn->ending)
		event_add(conn->readable, NULL);
}

/* Others have all descriptors or processes that there are: the client waits for them. */
static bool rest(struct conn *conn, int err)
{
	struct timeval t = to_timeval(REST_MS);

	return (err == -EMFILE || err == -ENFILE || err == -EAGAIN) &&
	       !event_add(conn->rested, &t);
}

static void receive_fds(struct conn *conn)
{
	struct timeval t = to_timeval(options.stall_ms);
	int err = gate_receive(&conn->gate, conn->fd, conn->uid, conn->admin, on_received,
			       conn);

	event_del(conn->readable);
	if (err) {
		conn->gate = NULL;
		if (!rest(conn, err))
			refuse(conn, err, err == -EDQUOT ?
			       "descriptors that cannot be closed: no more of them" :
			       "no memory for these descriptors");
		return;
	}
	if (!evtimer_pending(conn->stalled, NULL))
		event_add(conn->stalled, &t);
}

/*
 * Look first: a descriptor in a message would come in even if it is not asked for.
 *
 * Return: the bytes there are; @fds says whether descriptors come with them.
 */
static ssize_t peek(struct conn *conn, char *buf, size_t len, bool *fds)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(conn->fd, &msg, MSG_PEEK | MSG_DONTWAIT);

	*fds = msg.msg_flags & MSG_CTRUNC;
	return n < 0 ? -errno : n;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	char buf[GATE_BYTES];
	bool fds;
	ssize_t n;

	n = peek(conn, buf, sizeof(buf), &fds);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n > 0 && fds) {
		receive_fds(conn);
		return;
	}
	/* What was seen, and no more: behind it there may be a descriptor by now. */
	if (n > 0)
		n = recv(fd, buf, n, MSG_DONTWAIT);
	/* Gone: but what it asked for last may have come with its end. */
	if (n <= 0)
		conn_kill(conn);
	else
		take_bytes(conn, buf, n);
}

static void on_stalled(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	if (conn->ending) {
		conn_kill(conn);
		return;
	}
	conn_send(conn, conn_error(-ETIMEDOUT, "a line that does not end"), -1);
	conn_end(conn);
}

static int get_peer(struct conn *conn)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return -errno;
	conn->uid = peer.uid;
	conn->pid = peer.pid;
	return 0;
}

static int count_of(uid_t uid)
{
	struct conn *conn;
	int n = 0;

	TAILQ_FOREACH(conn, &conns, link)
		n += conn->uid == uid && !conn->dead;
	return n;
}

/* Of all but administrators, for whom there is always room. */
static bool all_taken(void)
{
	struct conn *conn;
	unsigned int n = 0;

	TAILQ_FOREACH(conn, &conns, link)
		n += !conn->admin && !conn->dead;
	return n >= options.conns;
}

static bool make_events(struct conn *conn)
{
	conn->readable = event_new(base, conn->fd, EV_READ | EV_PERSIST, on_readable, conn);
	conn->writable = event_new(base, conn->fd, EV_WRITE | EV_PERSIST, on_writable, conn);
	conn->stalled = evtimer_new(base, on_stalled, conn);
	conn->reap = evtimer_new(base, on_reap, conn);
	conn->rested = evtimer_new(base, on_rested, conn);
	conn->more = evtimer_new(base, on_more, conn);
	conn->in = evbuffer_new();
	return conn->readable && conn->writable && conn->stalled && conn->reap &&
	       conn->rested && conn->more && conn->in && !event_add(conn->readable, NULL);
}

/**
 * conn_add - a new client
 * @fd: its socket; luod's from now on, also on failure
 * @admin: whether it may do what concerns all, whoever it is
 * @table: who is told; the same for all
 *
 * Return: 0, -%EDQUOT if the user or all together have too many connections,
 * -%ENOMEM.
 */
int conn_add(int fd, bool admin, const struct conn_hooks *table)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	int err;

	if (!conn) {
		gate_close(fd);
		return -ENOMEM;
	}
	hooks = table;
	conn->fd = fd;
	conn->process = -1;
	TAILQ_INIT(&conn->out);
	TAILQ_INIT(&conn->sessions);
	/* A byte out of band is a byte: it cannot be peeked at otherwise. */
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int) { 1 }, sizeof(int));
	err = get_peer(conn);
	conn->admin = admin || !conn->uid;
	if (!err && !conn->admin &&
	    (count_of(conn->uid) >= options.conns_per_user || all_taken()))
		err = -EDQUOT;
	if (!err && !make_events(conn))
		err = -ENOMEM;
	if (err) {
		conn_free(conn);
		return err;
	}
	TAILQ_INSERT_TAIL(&conns, conn, link);
	return 0;
}
