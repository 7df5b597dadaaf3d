/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Descriptors from clients come in through a gate.
 *
 * Whoever has a descriptor of a stranger's file has to close it, and that can wait
 * for as long as the stranger likes: for the server of a FUSE file, or a peer that
 * is to take what was written. So luod never has one. A child receives what has
 * descriptors with it, passes on those that are sessions, and waits in its place.
 * Likewise for a connection that ends and has descriptors in it that nobody read.
 */
#ifndef LUOD_GATE_H
#define LUOD_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "socket.h"

/* Most bytes that come in at once. */
#define GATE_BYTES	4096

/**
 * struct gate_result - what came in
 * @len: bytes of @text; 0 if the child ended without a word
 * @nr_fds: descriptors that came, which can be more than any request takes
 * @fds: the first ones, which are the receiver's; -%EBADF for a stranger's file
 * @text: the bytes
 */
struct gate_result {
	size_t len;
	unsigned int nr_fds;
	int fds[LUO_FDS_MAX];
	char text[GATE_BYTES];
};

typedef void (*gate_done)(const struct gate_result *result, void *arg);

struct gate;

int gate_receive(struct gate **gate, int socket, uid_t uid, bool any_file,
		 gate_done done, void *arg);
void gate_cancel(struct gate *gate);
void gate_close(int socket);
void gate_stop(void);

#endif /* LUOD_GATE_H */
