// SPDX-License-Identifier: GPL-2.0
/*
 * libluo: descriptors over Unix sockets.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "luo.h"
#include "socket.h"

union control {
	char buf[CMSG_SPACE(LUO_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

ssize_t luo_socket_send(int socket, const void *data, size_t len, const int *fds,
			unsigned int nr_fds, int flags)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control = { };
	struct cmsghdr *cmsg;
	ssize_t n;

	if (nr_fds > LUO_FDS_MAX)
		return -EINVAL;
	if (nr_fds) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nr_fds * sizeof(int));
	}
	do {
		n = sendmsg(socket, &msg, MSG_NOSIGNAL | flags);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void take_fds(struct cmsghdr *cmsg, int *fds, unsigned int *nr_fds)
{
	size_t i, n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int fd;

	for (i = 0; i < n; i++) {
		memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
		if (*nr_fds < LUO_FDS_MAX)
			fds[(*nr_fds)++] = fd;
		else
			close(fd);
	}
}

ssize_t luo_socket_recv(int socket, void *data, size_t len, int fds[LUO_FDS_MAX],
			unsigned int *nr_fds, int flags)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	union control control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg;
	ssize_t n;

	*nr_fds = 0;
	do {
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | flags);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg))
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
			take_fds(cmsg, fds, nr_fds);
	if (msg.msg_flags & MSG_CTRUNC) {
		while (*nr_fds)
			close(fds[--*nr_fds]);
		return -EBADMSG;
	}
	return n;
}

/* How the kernel calls the files of sessions, before their names. */
#define SESSION_LINK	"anon_inode:[luo_session]"

int luo_socket_session(int fd)
{
	char path[32], link[sizeof(SESSION_LINK)];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link));
	if (n < 0)
		return -errno;
	return n >= sizeof(SESSION_LINK) - 1 &&
	       !memcmp(link, SESSION_LINK, sizeof(SESSION_LINK) - 1) ? 0 : -ENOTTY;
}

/* The message is the name, so that a packet is never empty. */
int luo_send(int socket, int session)
{
	char name[LUO_NAME_SIZE] = "";
	ssize_t n;
	int err = luo_name(session, name);

	if (err)
		return err;
	n = luo_socket_send(socket, name, sizeof(name), &session, 1, 0);
	if (n < 0)
		return n;
	return n == sizeof(name) ? 0 : -EIO;
}

static int check_received(int session, const char *sent, char *name)
{
	char real[LUO_NAME_SIZE];

	if (luo_socket_session(session) == -ENOTTY || luo_name(session, real) ||
	    memcmp(sent, real, strlen(real) + 1))
		return -EBADMSG;
	if (name)
		memcpy(name, real, sizeof(real));
	return session;
}

int luo_receive(int socket, char name[LUO_NAME_SIZE])
{
	char sent[LUO_NAME_SIZE];
	int fds[LUO_FDS_MAX], result = -EBADMSG;
	unsigned int nr_fds;
	ssize_t n = luo_socket_recv(socket, sent, sizeof(sent), fds, &nr_fds, 0);

	if (n < 0)
		return n;
	if (!n && !nr_fds)
		return -ECONNRESET;
	if (n == sizeof(sent) && nr_fds == 1)
		result = check_received(fds[0], sent, name);
	while (result < 0 && nr_fds)
		close(fds[--nr_fds]);
	return result;
}
