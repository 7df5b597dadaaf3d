// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "box.h"
#include "socket.h"

/**
 * box_make - put a descriptor into a box
 * @fd: stays the caller's; the box has a copy
 *
 * Return: the box, the caller's; or a negative errno.
 */
int box_make(int fd)
{
	int ends[2], err;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends))
		return -errno;
	err = luo_socket_send(ends[0], "", 1, &fd, 1, MSG_DONTWAIT);
	/* What is under way stays so without the end that it came from. */
	close(ends[0]);
	if (err > 0)
		return ends[1];
	close(ends[1]);
	return err;
}

static int receive(int box, int flags)
{
	int fds[LUO_FDS_MAX];
	unsigned int nr_fds;
	char c;
	ssize_t n = luo_socket_recv(box, &c, sizeof(c), fds, &nr_fds, flags | MSG_DONTWAIT);

	if (n < 0)
		return n;
	if (nr_fds == 1)
		return fds[0];
	while (nr_fds)
		close(fds[--nr_fds]);
	return -EBADMSG;
}

/**
 * box_look - what is in a box
 * @box: a descriptor, which may be no box
 *
 * Return: a copy of what is in it, the caller's; -%EAGAIN if it is empty, another
 * negative errno if it is no box.
 */
int box_look(int box)
{
	return receive(box, MSG_PEEK);
}

/**
 * box_empty - close what is in a box, and all copies of the box hang up
 * @box: the box, which stays the caller's
 */
void box_empty(int box)
{
	int fd = receive(box, 0);

	if (fd >= 0)
		close(fd);
	/* A service manager that looks after what it has drops it without a message. */
	shutdown(box, SHUT_RDWR);
}
