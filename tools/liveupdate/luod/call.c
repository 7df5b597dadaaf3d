// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "conn.h"
#include "json.h"
#include "update.h"

/* Of one client, waiting for the device. */
#define WAITING_MAX	64

static const struct {
	bool admin;
	bool device;
	unsigned int fds;
	int (*run)(struct call *call);
} table[NR_OPS] = {
	[OP_HELLO] = { false, false, 0, call_hello },
	[OP_SESSION] = { false, true, 0, call_session },
	[OP_ATTACH] = { false, false, 1, call_attach },
	[OP_RELEASE] = { false, false, 0, call_release },
	[OP_READY] = { false, false, 0, call_ready },
	[OP_REFUSE] = { false, false, 0, call_refuse },
	[OP_LEAVE] = { false, false, 0, call_leave },
	[OP_FINISH] = { false, true, 0, call_finish },
	[OP_SESSIONS] = { false, true, 0, call_sessions },
	[OP_SHOW] = { false, true, 0, call_show },
	[OP_STATUS] = { false, false, 0, call_status },
	[OP_WATCH] = { false, false, 0, call_watch },
	[OP_LOAD] = { true, true, 2, call_load },
	[OP_CHECK] = { true, true, 2, call_check },
	[OP_UPDATE] = { true, true, 0, call_update },
	[OP_CANCEL] = { true, false, 0, call_cancel },
};

/* Those that wait for the device. */
static TAILQ_HEAD(, call) waiting = TAILQ_HEAD_INITIALIZER(waiting);

int call_fail(struct call *call, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(call->message, sizeof(call->message), fmt, args);
	va_end(args);
	return err;
}

int call_fail_admin(struct call *call)
{
	return call_fail(call, -EPERM, "only root and the owner of the socket may do this");
}

static void call_free(struct call *call)
{
	int i;

	for (i = 0; i < CALL_FDS; i++)
		if (call->fds[i] >= 0)
			close(call->fds[i]);
	json_object_put(call->reply);
	request_free(&call->req);
	free(call);
}

static void finish(struct call *call, int err)
{
	struct json_object *reply, *blockers;

	if (err == CALL_LATER)
		return;
	if (err) {
		reply = conn_error(err, call->message[0] ? call->message : strerror(-err));
		if (json_object_object_get_ex(call->reply, "blockers", &blockers))
			json_object_object_add(reply, "blockers",
					       json_object_get(blockers));
	} else {
		reply = json_object_get(call->reply);
		put_bool(reply, "ok", true);
	}
	if (call->req.has & HAS_ID)
		put_number(reply, "id", call->req.id);
	conn_send(call->conn, reply, err ? -1 : call->fd);
	call_free(call);
}

/**
 * call_answer - answer a request whose function had returned CALL_LATER
 * @call: the request; it is no more afterwards, nor does it go to a dead client
 * @err: 0 or a negative errno
 */
void call_answer(struct call *call, int err)
{
	finish(call, err);
}

/**
 * call_leave_device - the rest of a request needs no device
 * @call: the request; others have the device from here on
 */
void call_leave_device(struct call *call)
{
	if (call->device >= 0)
		close(call->device);
	call->device = -1;
}

/* While everybody stands still, luod has time for nothing that can wait. */
static bool can_wait(const struct call *call)
{
	return update_stands_still() && !call->conn->admin;
}

static int fail_to_wait(struct call *call)
{
	return call_fail(call, -EAGAIN, "an update is running");
}

static void run_with_device(struct turn *turn, int device)
{
	struct call *call = (struct call *)((char *)turn - offsetof(struct call, turn));
	int err;

	TAILQ_REMOVE(&waiting, call, link);
	call->conn->calls--;
	call->device = device;
	if (can_wait(call))
		err = fail_to_wait(call);
	else if (device == -EBUSY)
		err = call_fail(call, -EBUSY, "somebody else keeps /dev/liveupdate open");
	else if (device == -ENOENT || device == -ENODEV || device == -ENXIO)
		err = call_fail(call, device, "no live update in this kernel: /dev/liveupdate: %s",
				strerror(-device));
	else if (device < 0)
		err = call_fail(call, device, "/dev/liveupdate: %s", strerror(-device));
	else
		err = table[call->req.op].run(call);
	/* Before the answer: who reads it may want the device next. */
	call_leave_device(call);
	finish(call, err);
}

/* It is no more by then, maybe, unless there is an error. */
static int wait_for_device(struct call *call)
{
	if (can_wait(call))
		return fail_to_wait(call);
	if (call->conn->calls == WAITING_MAX)
		return call_fail(call, -EDQUOT, "too many requests at once");
	call->turn.run = run_with_device;
	call->turn.uid = call->conn->uid;
	call->turn.first = call->conn->admin;
	call->conn->calls++;
	TAILQ_INSERT_TAIL(&waiting, call, link);
	turn_take(&call->turn);
	return CALL_LATER;
}

/* Now: they do not stay with the connection while the request waits. */
static void take_fds(struct call *call)
{
	unsigned int i;

	for (i = 0; i < CALL_FDS; i++)
		call->fds[i] = i < table[call->req.op].fds ? conn_take_fd(call->conn) : -ENOMSG;
}

/**
 * call_start - do what a client asks for, now or when it can be done
 * @conn: the client, which gets an answer
 * @req: what it asks for; used up
 */
void call_start(struct conn *conn, struct request *req)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call) {
		request_free(req);
		conn_send(conn, conn_error(-ENOMEM, "no memory"), -1);
		return;
	}
	call->conn = conn;
	call->req = *req;
	call->fd = -1;
	call->reply = json_object_new_object();
	take_fds(call);
	if (table[req->op].admin && !conn->admin)
		finish(call, call_fail_admin(call));
	else if (table[req->op].device)
		finish(call, wait_for_device(call));
	else
		finish(call, table[req->op].run(call));
}

/**
 * call_give_up - a client is gone
 * @conn: the client; its requests that wait are dropped
 */
void call_give_up(struct conn *conn)
{
	struct call *call, *next;

	call_cancel_give_up(conn);
	if (!conn->calls)
		return;
	for (call = TAILQ_FIRST(&waiting); call; call = next) {
		next = TAILQ_NEXT(call, link);
		if (call->conn != conn)
			continue;
		TAILQ_REMOVE(&waiting, call, link);
		turn_give_up(&call->turn);
		call_free(call);
	}
}
