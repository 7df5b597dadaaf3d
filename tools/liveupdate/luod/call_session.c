// SPDX-License-Identifier: GPL-2.0
/*
 * Requests about sessions.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "after.h"
#include "call.h"
#include "conn.h"
#include "json.h"
#include "luod.h"
#include "sessions.h"
#include "socket.h"
#include "update.h"

/* Nobody comes in while the others get ready: it would not be asked. */
static int check_quiet(struct call *call)
{
	if (update_running())
		return call_fail(call, -EAGAIN, "an update is running");
	return 0;
}

static int check_free(struct call *call, uid_t uid, const char *name)
{
	struct session *session = session_find(uid, name);

	if (!session)
		return 0;
	if (!session->conn)
		return call_fail(call, -EBUSY, "session %s is kept for an update", name);
	return call_fail(call, -EBUSY, "process %d has session %s", session->conn->pid, name);
}

/*
 * Of a user, and @all users' together: also those whose clients have left the
 * connection, and kept the descriptor.
 */
static unsigned int count_of(int device, uid_t uid, unsigned int *all)
{
	struct luo_session_info info = { 0 };
	char name[LUO_AGENT_NAME_SIZE];
	unsigned int n = 0;
	uid_t whose;
	int err;

	*all = 0;
	while (!(err = luo_next(device, &info))) {
		if (!name_from_kernel(info.name, &whose, name))
			continue;
		n += whose == uid;
		++*all;
	}
	if (err != -ENOENT)
		n = sessions_of_user(uid, all);
	return n;
}

/* Whatever others have, there is room for administrators. */
static int check_limit(struct call *call)
{
	unsigned int all, n = count_of(call->device, call->conn->uid, &all);

	if (n >= options.sessions_per_user)
		return call_fail(call, -EDQUOT, "uid %u has %u sessions, and the limit is %u",
				 call->conn->uid, n, options.sessions_per_user);
	if (all >= options.sessions && !call->conn->admin)
		return call_fail(call, -EDQUOT,
				 "all users together have as many sessions as they may: %u",
				 options.sessions);
	return 0;
}

/* From the previous kernel if it is there, or new. */
static int get_session(struct call *call, bool *before)
{
	char kernel[LUO_NAME_SIZE];
	int fd, err;

	name_to_kernel(kernel, call->conn->uid, call->req.name);
	fd = luo_retrieve(call->device, kernel);
	*before = fd >= 0;
	if (fd == -ENOENT) {
		err = check_limit(call);
		if (err)
			return err;
		fd = luo_create(call->device, kernel);
	}
	if (fd == -EINVAL || fd == -EEXIST)
		return call_fail(call, -EBUSY, "somebody has session %s", call->req.name);
	if (fd == -EBADMSG)
		return call_fail(call, fd, "session %s is damaged", call->req.name);
	return fd;
}

/*
 * Kept since an update that a luod had begun which died. What came from the previous
 * kernel can be retrieved again; what was preserved in this one only the next gives
 * back, and whoever does not know would end it with its connection.
 */
static int give_way(struct call *call, struct session *session)
{
	char kernel[LUO_NAME_SIZE];
	int fd;

	name_to_kernel(kernel, session->uid, session->name);
	fd = luo_retrieve(call->device, kernel);
	if (fd == -EINVAL) {
		session_drop(session);
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (fd < 0 && fd != -ENOENT)
		return fd;
	return call_fail(call, -EBUSY, "it is kept for an update: \"luoctl finish %s\" ends it",
			 session->name);
}

static int add(struct call *call, const char *name, int fd)
{
	if (session_add(call->conn, name, fd))
		return 0;
	close(fd);
	return -ENOMEM;
}

/* Hand out a session by name. */
int call_session(struct call *call)
{
	const char *name = call->req.name;
	struct session *session = session_find(call->conn->uid, name);
	bool before;
	int err, fd;

	err = check_quiet(call);
	if (!err && session && !session->conn)
		err = give_way(call, session);
	if (!err)
		err = check_free(call, call->conn->uid, name);
	if (err)
		return err;
	fd = get_session(call, &before);
	if (fd < 0)
		return fd;
	err = add(call, name, fd);
	if (err)
		return err;
	if (before)
		after_returned(call->conn->uid, name);
	put_string(call->reply, "origin", before ? "before" : "new");
	call->fd = fd;
	return 0;
}

/* Whoever has a session that is kept is who it is kept for: two copies are one too many. */
static int attach_kept(struct call *call, struct session *session, int fd)
{
	int err = check_quiet(call);

	if (err)
		return err;
	close(fd);
	session_claim(session, call->conn);
	return 0;
}

static int attach_new(struct call *call, const char *name, int fd)
{
	/* The kernel has it already: no limit keeps it from being asked. */
	int err = check_quiet(call) ?: check_free(call, call->conn->uid, name);

	if (!err)
		err = session_add(call->conn, name, fd) ? 0 : -ENOMEM;
	return err;
}

static int attach(struct call *call, int fd)
{
	char kernel[LUO_NAME_SIZE], name[LUO_AGENT_NAME_SIZE];
	struct session *session;
	uid_t uid;
	int err;

	if (luo_socket_session(fd) || luo_name(fd, kernel))
		return call_fail(call, -EINVAL, "this is not a session");
	if (!name_from_kernel(kernel, &uid, name) || uid != call->conn->uid)
		return call_fail(call, -EINVAL, "this session is not from luod for uid %u",
				 call->conn->uid);
	session = session_find(uid, name);
	if (session && !session->conn)
		err = attach_kept(call, session, fd);
	else
		err = attach_new(call, name, fd);
	if (!err)
		put_string(call->reply, "name", name);
	return err;
}

/* A session that luod handed out, and does not know since it was started again. */
int call_attach(struct call *call)
{
	int err;

	if (call->fds[0] == -EBADF)
		return call_fail(call, -EINVAL, "this is not a session");
	if (call->fds[0] < 0)
		return call_fail(call, -EINVAL, "there is no descriptor with it");
	err = attach(call, call->fds[0]);
	if (!err)
		call->fds[0] = -1;
	return err;
}

/* The client does not want this one any more, and closes its own descriptor. */
int call_release(struct call *call)
{
	struct session *session = session_find(call->conn->uid, call->req.name);
	int err = check_quiet(call);

	if (err)
		return err;
	if (!session || session->conn != call->conn)
		return call_fail(call, -ENOENT, "this connection has no session %s",
				 call->req.name);
	session_drop(session);
	after_refresh_soon();
	return 0;
}

/* The user that a request is about: another one only for administrators. */
static int get_user(struct call *call, uid_t *uid)
{
	*uid = call->req.has & HAS_UID ? call->req.uid : call->conn->uid;
	if (*uid != call->conn->uid && !call->conn->admin)
		return call_fail(call, -EPERM, "this is not your session");
	return 0;
}

static int finish_error(struct call *call, int err)
{
	if (call->message[0])
		return err;
	if (err == -EINVAL)
		return call_fail(call, err, "it is for the next kernel: closing it ends it");
	if (err == -EBUSY)
		return call_fail(call, err, "somebody has it, or a file in it is not ready");
	return err;
}

static int finish_by_id(struct call *call)
{
	int err;

	if (!call->conn->admin)
		return call_fail_admin(call);
	err = luo_discard(call->device, call->req.session_id);
	after_refresh(call->device);
	if (err == -ENOENT)
		return call_fail(call, err, "there is no session with ID %llu",
				 (unsigned long long)call->req.session_id);
	return err ? finish_error(call, err) : 0;
}

/*
 * Nobody else has it: closing it is luod's business. In the middle of an update it is
 * for the next kernel.
 */
static int finish_kept(struct call *call, struct session *session)
{
	int err = check_quiet(call) ?: luo_finish(session->fd);

	if (err && err != -EINVAL)
		return err;
	session_drop(session);
	return 0;
}

/* Not under somebody who has just come back for it: what is in it would be freed. */
static int finish_by_name(struct call *call, uid_t uid)
{
	struct session *session = session_find(uid, call->req.name);
	char kernel[LUO_NAME_SIZE];
	int fd, err;

	if (session && session->conn == call->conn)
		return luo_finish(session->fd);
	if (session && !session->conn)
		return finish_kept(call, session);
	err = check_free(call, uid, call->req.name);
	if (err)
		return err;
	name_to_kernel(kernel, uid, call->req.name);
	fd = luo_retrieve(call->device, kernel);
	if (fd == -EINVAL)
		return -EBUSY;
	if (fd < 0)
		return fd;
	err = luo_finish(fd);
	close(fd);
	return err;
}

/* A session that was made without luod has its whole name in the kernel: how it is ended. */
static int no_session_error(struct call *call, int err, uid_t uid)
{
	struct luo_session_info info = { 0 };

	while (call->conn->admin && !luo_next(call->device, &info)) {
		if (strcmp(info.name, call->req.name))
			continue;
		if (info.state == LUO_SESSION_OUTGOING)
			return call_fail(call, err, "%s is for the next kernel: closing it ends it",
					 call->req.name);
		return call_fail(call, err, "%s was made without luod: its ID, %llu, ends it",
				 call->req.name, (unsigned long long)info.id);
	}
	return call_fail(call, err, "the previous kernel left no session %s of uid %u",
			 call->req.name, uid);
}

/* End a session from the previous kernel: of one's own, or one nobody wants. */
int call_finish(struct call *call)
{
	uid_t uid;
	int err;

	if (call->req.has & HAS_SESSION_ID && !(call->req.has & (HAS_NAME | HAS_UID)))
		return finish_by_id(call);
	if (!(call->req.has & HAS_NAME) || call->req.has & HAS_SESSION_ID)
		return call_fail(call, -EINVAL, "\"name\" or \"session_id\" has to be there");
	err = get_user(call, &uid);
	if (err)
		return err;
	err = finish_by_name(call, uid);
	if (err == -ENOENT)
		return no_session_error(call, err, uid);
	if (err)
		return finish_error(call, err);
	after_finished(uid, call->req.name);
	return 0;
}

static const char *state_name(uint32_t state)
{
	switch (state) {
	case LUO_SESSION_OUTGOING:
		return "outgoing";
	case LUO_SESSION_INCOMING:
		return "incoming";
	case LUO_SESSION_HELD:
		return "held";
	default:
		return "unknown";
	}
}

static struct json_object *new_entry(const struct luo_session_info *info, bool ours,
				     uid_t uid, const char *name)
{
	struct session *session = ours ? session_find(uid, name) : NULL;
	struct json_object *entry = json_object_new_object();
	char printable[NAME_PRINTABLE_SIZE];

	if (ours) {
		put_number(entry, "uid", uid);
		put_string(entry, "name", name);
	}
	name_printable(printable, info->name);
	put_string(entry, "kernel_name", printable);
	put_string(entry, "state", state_name(info->state));
	put_number(entry, "files", info->files);
	put_number(entry, "session_id", info->id);
	if (!info->by_name)
		put_bool(entry, "older", true);
	if (session && session->conn)
		put_number(entry, "pid", session->conn->pid);
	else if (session)
		put_bool(entry, "kept", true);
	return entry;
}

/* What luod knows where the kernel has no list. */
static void list_known(struct call *call, struct json_object *list)
{
	struct json_object *entry;
	struct session *session;

	TAILQ_FOREACH(session, &sessions, link) {
		if (session->uid != call->conn->uid && !call->conn->admin)
			continue;
		entry = json_object_new_object();
		put_number(entry, "uid", session->uid);
		put_string(entry, "name", session->name);
		if (session->conn)
			put_number(entry, "pid", session->conn->pid);
		else
			put_bool(entry, "kept", true);
		json_object_array_add(list, entry);
	}
}

/* The user's sessions, or for administrators all that the kernel has. */
int call_sessions(struct call *call)
{
	struct json_object *list = json_object_new_array();
	struct luo_session_info info = { 0 };
	char name[LUO_AGENT_NAME_SIZE];
	uid_t uid;
	bool ours;
	int err;

	json_object_object_add(call->reply, "sessions", list);
	after_refresh(call->device);
	while (!(err = luo_next(call->device, &info))) {
		ours = name_from_kernel(info.name, &uid, name);
		if (call->conn->admin || (ours && uid == call->conn->uid))
			json_object_array_add(list, new_entry(&info, ours, uid, name));
	}
	if (err == -EOPNOTSUPP) {
		list_known(call, list);
		put_bool(call->reply, "complete", false);
	} else if (err != -ENOENT) {
		return err;
	}
	return 0;
}

/* One session, in all its incarnations. */
int call_show(struct call *call)
{
	struct json_object *list = json_object_new_array();
	struct luo_session_info info = { 0 };
	char kernel[LUO_NAME_SIZE];
	uid_t uid;
	int err;

	json_object_object_add(call->reply, "sessions", list);
	err = get_user(call, &uid);
	if (err)
		return err;
	name_to_kernel(kernel, uid, call->req.name);
	while (!(err = luo_next(call->device, &info)))
		if (!strcmp(info.name, kernel))
			json_object_array_add(list, new_entry(&info, true, uid, call->req.name));
	if (err != -ENOENT)
		return err;
	if (!json_object_array_length(list))
		return call_fail(call, -ENOENT, "there is no session %s of uid %u",
				 call->req.name, uid);
	return 0;
}
