/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Messages with descriptors, for libluo and luod.
 */
#ifndef LUO_SOCKET_H
#define LUO_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

/* Most descriptors that one message carries. */
#define LUO_FDS_MAX	2

/*
 * sendmsg(2) and recvmsg(2) with up to LUO_FDS_MAX descriptors: bytes sent or
 * received, 0 at the end of a stream, a negative errno. An interrupted call is
 * made again. -EBADMSG when more descriptors came than were asked for: none is
 * kept then.
 */
ssize_t luo_socket_send(int socket, const void *data, size_t len, const int *fds,
			unsigned int nr_fds, int flags);
ssize_t luo_socket_recv(int socket, void *data, size_t len, int fds[LUO_FDS_MAX],
			unsigned int *nr_fds, int flags);

/*
 * Whether a descriptor is a session: 0, -ENOTTY, or why nobody knows. It does not
 * ask the file itself: a file of FUSE, for one, would wait for its server.
 */
int luo_socket_session(int fd);

#endif /* LUO_SOCKET_H */
