// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "notify.h"

#define FIRST_FD	3

static long number(const char *name)
{
	const char *value = getenv(name);

	return value ? strtol(value, NULL, 10) : -1;
}

/**
 * notify_listen_fd - the socket that was made for luod
 *
 * Return: a listening socket; -%ENOENT if there is none, -%EINVAL if it is not
 * one listening Unix stream socket.
 */
int notify_listen_fd(void)
{
	int listening = 0, domain = 0, type = 0;
	socklen_t len = sizeof(int);

	if (number("LISTEN_PID") != getpid() || number("LISTEN_FDS") < 1)
		return -ENOENT;
	if (number("LISTEN_FDS") > 1 ||
	    getsockopt(FIRST_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) ||
	    getsockopt(FIRST_FD, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    getsockopt(FIRST_FD, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    !listening || domain != AF_UNIX || type != SOCK_STREAM)
		return -EINVAL;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	fcntl(FIRST_FD, F_SETFD, FD_CLOEXEC);
	fcntl(FIRST_FD, F_SETFL, fcntl(FIRST_FD, F_GETFL) | O_NONBLOCK);
	return FIRST_FD;
}

/**
 * notify - tell the service manager
 * @state: lines such as "READY=1"
 */
void notify(const char *state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || len >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* Whoever does not listen does not want to know. */
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr,
		   offsetof(struct sockaddr_un, sun_path) + len) < 0)
		errno = 0;
	close(fd);
}
