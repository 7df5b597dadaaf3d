// SPDX-License-Identifier: GPL-2.0
/*
 * The socket: one luod has it, and whoever may connect becomes a client.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "after.h"
#include "call.h"
#include "conn.h"
#include "gate.h"
#include "log.h"
#include "luod.h"
#include "server.h"
#include "sessions.h"
#include "update.h"

#define BACKLOG		64

/* How long nobody is taken after there was nothing left to take somebody with. */
#define REST_MS		1000

/* How long it is not said again that somebody is turned away. */
#define QUIET_MS	10000

/* How long a luod that has died may have the lock, and how often that is looked at. */
#define LOCK_MS		1000
#define LOCK_TICK_MS	20

static struct event *incoming;
static struct event *rested;
static bool exhausted;
static struct sockaddr_un address;
static bool ours;	/* the socket's file, not a service manager's */

static void on_request(struct conn *conn, struct request *req)
{
	call_start(conn, req);
}

static void on_gone(struct conn *conn)
{
	call_give_up(conn);
	update_gone(conn);
	sessions_leave(conn, update_keeps(conn));
	if (!update_stands_still())
		after_refresh_soon();
}

static const struct conn_hooks hooks = {
	.request = on_request,
	.in_doubt = update_in_doubt,
	.gone = on_gone,
};

/* Its owner may be changed while luod runs. */
static uid_t socket_owner(void)
{
	struct stat st;

	return address.sun_path[0] && !stat(address.sun_path, &st) ? st.st_uid : 0;
}

static void on_rested(evutil_socket_t fd, short what, void *arg)
{
	event_add(incoming, NULL);
}

/* Whoever waits goes on waiting: do not spin, and say it once. */
static void no_client(int err)
{
	struct timeval t = to_timeval(REST_MS);

	if (err == EAGAIN || err == EINTR || err == ECONNABORTED)
		return;
	if (!exhausted)
		log_warning("no new client until others go: %s", strerror(err));
	exhausted = true;
	event_del(incoming);
	event_add(rested, &t);
}

/* Whoever may connect can have it said as often as it likes: not in each case. */
static void turned_away(const struct ucred *peer, int err)
{
	static int64_t last;
	int64_t now = clock_ms(CLOCK_MONOTONIC);

	if (last && now - last < QUIET_MS)
		return;
	last = now;
	log_warning("process %d of uid %u is turned away, and others maybe: %s", peer->pid,
		    peer->uid, strerror(-err));
}

static void on_incoming(evutil_socket_t fd, short what, void *arg)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	int conn, err;

	conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (conn < 0) {
		no_client(errno);
		return;
	}
	exhausted = false;
	err = getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &len) ? -errno : 0;
	if (err)
		gate_close(conn);
	else
		err = conn_add(conn, peer.uid == socket_owner(), &hooks);
	if (err)
		turned_away(&peer, err);
}

/**
 * server_lock - be the only luod
 *
 * A child that a luod had just begun when it died has the lock until it has
 * closed what is luod's: that is not long.
 *
 * Return: 0; -%EWOULDBLOCK if there is another one, or why there is no lock.
 */
int server_lock(void)
{
	int fd = open(SERVER_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	const struct timespec tick = { .tv_nsec = LOCK_TICK_MS * 1000000 };
	int i;

	if (fd < 0)
		return -errno;
	/* Held until luod ends. */
	for (i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK || i == LOCK_MS / LOCK_TICK_MS)
			return -errno;
		nanosleep(&tick, NULL);
	}
	return 0;
}

/* A dead luod's. What is no socket is nothing of luod's, whatever the option says. */
static int remove_socket(void)
{
	struct stat st;

	if (lstat(address.sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	return unlink(address.sun_path) ? -errno : 0;
}

static int listen_at(int fd, unsigned int mode)
{
	mode_t mask = umask(0777 & ~mode);
	int err = bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;

	umask(mask);
	if (!err && listen(fd, BACKLOG))
		err = -errno;
	return err;
}

/**
 * server_listen - make the socket
 * @path: where
 * @mode: who may connect
 *
 * With the lock, so that what is there already is a dead one's.
 *
 * Return: the socket, or why there is none.
 */
int server_listen(const char *path, unsigned int mode)
{
	int fd, err;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	address.sun_family = AF_UNIX;
	memcpy(address.sun_path, path, strlen(path) + 1);
	err = remove_socket() ?: listen_at(fd, mode);
	if (err) {
		close(fd);
		return err;
	}
	ours = true;
	return fd;
}

/**
 * server_start - take clients
 * @fd: a listening socket
 *
 * Return: 0 or -%ENOMEM.
 */
int server_start(int fd)
{
	socklen_t len = sizeof(address);

	if (!ours)
		getsockname(fd, (struct sockaddr *)&address, &len);
	incoming = event_new(base, fd, EV_READ | EV_PERSIST, on_incoming, NULL);
	rested = evtimer_new(base, on_rested, NULL);
	return incoming && rested && !event_add(incoming, NULL) ? 0 : -ENOMEM;
}

/**
 * server_stop - take no more, and let all go
 */
void server_stop(void)
{
	event_del(incoming);
	event_del(rested);
	if (ours)
		unlink(address.sun_path);
	conn_close_all();
}
