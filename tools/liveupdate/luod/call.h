/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Requests of clients: a table says who may make each and whether it needs the
 * device, and one function does it.
 */
#ifndef LUOD_CALL_H
#define LUOD_CALL_H

#include "request.h"
#include "turn.h"

struct conn;
struct json_object;

/* Most descriptors that a request takes: an image and its initramfs. */
#define CALL_FDS	2

/**
 * struct call - a request under way
 * @conn: the client
 * @req: the request
 * @device: /dev/liveupdate, for requests that need it
 * @reply: gets the fields of the answer
 * @fd: a descriptor for the client, which is not closed; -1
 * @fds: what came with the request, as of conn_take_fd(): closed at the end, so
 *       whoever keeps one puts a -1 here
 * @message: what went wrong, for people; empty for the words of the errno
 */
struct call {
	struct turn turn;
	struct conn *conn;

	struct request req;
	int device;
	struct json_object *reply;
	int fd;
	int fds[CALL_FDS];
	char message[240];

	TAILQ_ENTRY(call) link;
};

/* What a request's function returns if its answer comes later. */
#define CALL_LATER	1

void call_start(struct conn *conn, struct request *req);
void call_answer(struct call *call, int err);
void call_give_up(struct conn *conn);
void call_leave_device(struct call *call);

/* Say why and return the errno. */
int call_fail(struct call *call, int err, const char *fmt, ...)
	__printf(3, 4);
int call_fail_admin(struct call *call);

/* call_session.c */
int call_session(struct call *call);
int call_attach(struct call *call);
int call_release(struct call *call);
int call_finish(struct call *call);
int call_sessions(struct call *call);
int call_show(struct call *call);

/* call_update.c */
int call_hello(struct call *call);
int call_status(struct call *call);
int call_watch(struct call *call);
int call_load(struct call *call);
int call_check(struct call *call);
int call_update(struct call *call);
int call_cancel(struct call *call);
void call_cancel_give_up(struct conn *conn);
int call_ready(struct call *call);
int call_refuse(struct call *call);
int call_leave(struct call *call);

#endif /* LUOD_CALL_H */
