// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "luod.h"
#include "names.h"
#include "notify.h"
#include "socket.h"

#define FIRST_FD	3

static long number(const char *name)
{
	const char *value = getenv(name);

	return value ? strtol(value, NULL, 10) : -1;
}

/* What sd_pid_notify_with_fds(3) calls what nobody has given a name. */
#define UNNAMED		"stored"

/* More are none that were passed. */
#define FDS_MAX		1048576

/* How long luod waits for a service manager that does not listen. */
#define PATIENCE_MS	1000

/* What was passed, from the next one on. */
static struct {
	int fd;
	int end;
	const char *name;
	char *names;
	char *rest;
} passed;

static void next_passed(void)
{
	passed.fd++;
	passed.name = strsep(&passed.rest, ":") ?: "";
}

static bool any_passed(void)
{
	return passed.fd < passed.end;
}

static void look_at_passed(void)
{
	const char *names = getenv("LISTEN_FDNAMES");
	long n = number("LISTEN_PID") == getpid() ? number("LISTEN_FDS") : 0;
	int fd;

	if (n < 1 || n > FDS_MAX)
		return;
	passed.fd = FIRST_FD - 1;
	passed.end = FIRST_FD + n;
	passed.names = strdup(names ?: "");
	passed.rest = passed.names;
	next_passed();
	for (fd = FIRST_FD; fd < passed.end; fd++)
		if (fcntl(fd, F_SETFD, FD_CLOEXEC))
			passed.end = fd;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static bool from_store(void)
{
	return name_of_store(passed.name) || !strcmp(passed.name, UNNAMED);
}

static bool is_listening(int fd)
{
	int listening = 0, domain = 0, type = 0;
	socklen_t len = sizeof(int);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) &&
	       !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) &&
	       listening && domain == AF_UNIX && type == SOCK_STREAM;
}

/**
 * notify_listen_fd - the socket that was made for luod
 *
 * Called once. Sockets come before what is from the store, which
 * notify_stored_fd() has afterwards.
 *
 * Return: a listening socket; -%ENOENT if there is none, -%EINVAL if it is not
 * one listening Unix stream socket.
 */
int notify_listen_fd(void)
{
	int fd;

	look_at_passed();
	if (!any_passed() || from_store())
		return -ENOENT;
	fd = passed.fd;
	if (!is_listening(fd))
		return -EINVAL;
	next_passed();
	/* Whoever connects to another one would wait for ever. */
	if (any_passed() && !from_store() && is_listening(passed.fd))
		return -EINVAL;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

/**
 * notify_stored_fd - the next descriptor that the service manager had in its store
 * @fd: gets it; the caller's, and it can be anything
 * @name: gets its name; never %NULL
 *
 * Return: false if there are no more.
 */
bool notify_stored_fd(int *fd, const char **name)
{
	if (!any_passed())
		return false;
	*fd = passed.fd;
	*name = passed.name;
	next_passed();
	return true;
}

static int connect_to_manager(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	int fd, err;

	if (!len || len >= sizeof(addr.sun_path))
		return -EDESTADDRREQ;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	len += offsetof(struct sockaddr_un, sun_path);
	if (!connect(fd, (struct sockaddr *)&addr, len))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int tell(const char *state, int fd, uint32_t ms, int flags)
{
	struct timeval t = to_timeval(ms);
	int manager = connect_to_manager();
	ssize_t n;

	if (manager < 0)
		return manager;
	/* 0 is for ever. */
	setsockopt(manager, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	n = luo_socket_send(manager, state, strlen(state), &fd, fd >= 0, flags);
	close(manager);
	return n < 0 ? n : 0;
}

/**
 * notify_soon - tell the service manager, if it listens
 * @state: lines such as "FDSTORE=1"
 * @fd: goes along and stays the caller's; -1 for none
 *
 * Clients can stand still meanwhile: one that does not listen is waited for once.
 *
 * Return: 0; -%EDESTADDRREQ if there is none, -%EAGAIN if it does not listen in time,
 * or why it cannot be told.
 */
int notify_soon(const char *state, int fd)
{
	static bool deaf;
	int err = tell(state, fd, PATIENCE_MS, deaf ? MSG_DONTWAIT : 0);

	deaf = err == -EAGAIN;
	return err;
}

/**
 * notify - tell the service manager, however long it takes
 * @state: lines such as "READY=1"
 *
 * Whoever is not there does not want to know.
 */
void notify(const char *state)
{
	tell(state, -1, 0, 0);
}
