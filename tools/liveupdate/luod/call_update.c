// SPDX-License-Identifier: GPL-2.0
/*
 * Requests about the update.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "after.h"
#include "call.h"
#include "conn.h"
#include "image.h"
#include "journal.h"
#include "json.h"
#include "luod.h"
#include "names.h"
#include "sessions.h"
#include "update.h"

#define PROTOCOL	1

/* Who is who, and how long this client may take. */
int call_hello(struct call *call)
{
	struct conn *conn = call->conn;

	if (call->req.has & HAS_PREPARE_MS && call->req.prepare_ms > options.deadline_max_ms)
		return call_fail(call, -EINVAL, "no client gets more than %u ms to prepare",
				 options.deadline_max_ms);
	if (call->req.has & HAS_SUSPEND_MS && call->req.suspend_ms > options.suspend_max_ms)
		return call_fail(call, -EINVAL, "no client gets more than %u ms to suspend",
				 options.suspend_max_ms);
	if (call->req.has & HAS_PREPARE_MS)
		conn->prepare_ms = call->req.prepare_ms;
	if (call->req.has & HAS_SUSPEND_MS)
		conn->suspend_ms = call->req.suspend_ms;
	put_number(call->reply, "protocol", PROTOCOL);
	put_number(call->reply, "uid", conn->uid);
	put_bool(call->reply, "admin", conn->admin);
	return 0;
}

/* A line of sysfs that the kernel may not have. */
static void put_sysfs(struct json_object *to, const char *key, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[64];

	if (!file)
		return;
	if (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		put_string(to, key, line);
	}
	fclose(file);
}

int call_status(struct call *call)
{
	struct utsname u;

	if (!update_stands_still())
		after_refresh_soon();
	update_status(call->reply);
	put_bool(call->reply, "image", image_loaded());
	if (!uname(&u))
		put_string(call->reply, "kernel", u.release);
	put_sysfs(call->reply, "kernel_state", "/sys/kernel/liveupdate/state");
	put_sysfs(call->reply, "kernel_updates", "/sys/kernel/liveupdate/number");
	after_status(call->reply, call->conn->uid, call->conn->admin);
	return 0;
}

int call_watch(struct call *call)
{
	call->conn->watching = true;
	update_status(call->reply);
	return 0;
}

/* The kernel and, if there is a second descriptor, its initramfs. */
static int check_image(struct call *call)
{
	if (call->fds[0] < 0)
		return call_fail(call, -EINVAL, "there is no descriptor with it");
	if (update_running())
		return call_fail(call, -EBUSY, "an update is running");
	return 0;
}

/*
 * What came to nothing stands in nobody's way from here on: while there is a
 * journal, the kernel takes no image that cannot have it.
 */
static void drop_new_journal(bool made)
{
	if (made && !image_loaded())
		journal_drop();
}

int call_load(struct call *call)
{
	int err = check_image(call);
	bool made;

	if (err)
		return err;
	made = journal_make(call->device);
	/* Reading an image takes its time. */
	call_leave_device(call);
	err = image_load(call->fds[0], call->fds[1], call->req.cmdline);
	drop_new_journal(made);
	if (err)
		return call_fail(call, err, "%s", image_explain(err));
	call->fds[0] = -1;
	call->fds[1] = -1;
	return 0;
}

int call_check(struct call *call)
{
	int err = check_image(call);
	bool made;

	if (err)
		return err;
	/* With nothing to lose, the kernel would take any image. */
	made = journal_make(call->device);
	call_leave_device(call);
	err = image_check(call->fds[0], call->fds[1], call->req.cmdline);
	/* Nor does one whose image is gone. */
	drop_new_journal(made || err == -ESTALE);
	return err ? call_fail(call, err, "%s", image_explain(err)) : 0;
}

static struct json_object *new_absent(uid_t uid, const char *name)
{
	struct json_object *blocker = json_object_new_object();
	struct json_object *names = json_object_new_array();

	json_object_array_add(names, json_object_new_string(name));
	put_number(blocker, "uid", uid);
	put_string(blocker, "state", "absent");
	json_object_object_add(blocker, "sessions", names);
	return blocker;
}

/*
 * Whoever has a session and is not connected would not be asked: a client that has
 * not come back yet to a luod that was started again, or one that has left. Those of
 * users who are left out are counted.
 */
static int check_all_here(struct call *call, unsigned int *left_out)
{
	struct json_object *absent = json_object_new_array();
	struct luo_session_info info = { 0 };
	char name[LUO_AGENT_NAME_SIZE], last[LUO_AGENT_NAME_SIZE] = "";
	uid_t uid, whose = 0;
	size_t n;
	int err;

	*left_out = 0;
	while (!(err = luo_next(call->device, &info))) {
		if (info.state == LUO_SESSION_INCOMING || !info.by_name ||
		    !name_from_kernel(info.name, &uid, name))
			continue;
		if (is_among(&call->req.without, uid))
			++*left_out;
		if (session_find(uid, name) || is_among(&call->req.without, uid))
			continue;
		json_object_array_add(absent, new_absent(uid, name));
		memcpy(last, name, sizeof(last));
		whose = uid;
	}
	n = json_object_array_length(absent);
	/* A kernel without a list does not know of any. */
	if (!n || (err != -ENOENT && err != -EOPNOTSUPP)) {
		json_object_put(absent);
		return err == -ENOENT || err == -EOPNOTSUPP ? 0 : err;
	}
	json_object_object_add(call->reply, "blockers", absent);
	return call_fail(call, -ENOTCONN,
			 "session %s of uid %u is in use and nobody who is connected has it, so it would not be asked; in all: %zu",
			 last, whose, n);
}

/* Before anybody stands still for it. */
static int check_loaded(struct call *call)
{
	int err;

	if (!image_loaded())
		return call_fail(call, -ENOEXEC, "no image is loaded");
	err = image_renew();
	if (err == -ESTALE)
		return call_fail(call, err,
				 "the image that is loaded is not luod's, who can say whether it takes what is preserved: luoctl load");
	return err ? call_fail(call, err, "%s", image_explain(err)) : 0;
}

/* The answer says that it begins; how it goes on is told by events. */
int call_update(struct call *call)
{
	unsigned int left_out;
	uint64_t number;
	bool made;
	int err;

	if (update_running())
		return call_fail(call, -EBUSY, "an update is running");
	err = check_all_here(call, &left_out);
	if (err)
		return err;
	made = journal_make(call->device);
	call_leave_device(call);
	err = check_loaded(call) ?: update_start(&call->req, left_out, &number);
	drop_new_journal(made);
	if (err)
		return err;
	put_number(call->reply, "update", number);
	if (call->req.without.nr)
		put_number(call->reply, "left_out", left_out);
	return 0;
}

/* Requests to cancel that wait for what systemd says. */
static TAILQ_HEAD(, call) stopping = TAILQ_HEAD_INITIALIZER(stopping);

static void answer_cancel(struct call *call, int err)
{
	TAILQ_REMOVE(&stopping, call, link);
	if (err)
		call_fail(call, err, "it is too late: systemd does not stop the shutdown");
	call_answer(call, err);
}

static void on_stopped(int err)
{
	struct call *call;

	while ((call = TAILQ_FIRST(&stopping)))
		answer_cancel(call, err);
}

/* A client is gone: nobody waits for this answer, but the update is off all the same. */
void call_cancel_give_up(struct conn *conn)
{
	struct call *call, *next;

	for (call = TAILQ_FIRST(&stopping); call; call = next) {
		next = TAILQ_NEXT(call, link);
		if (call->conn == conn)
			answer_cancel(call, -ECONNRESET);
	}
}

int call_cancel(struct call *call)
{
	char reason[64];
	int err;

	snprintf(reason, sizeof(reason), "uid %u cancelled it", call->conn->uid);
	err = update_cancel(reason, on_stopped);
	if (err == -EINPROGRESS) {
		TAILQ_INSERT_TAIL(&stopping, call, link);
		return CALL_LATER;
	}
	if (err == -ENOENT)
		return call_fail(call, err, "no update is running");
	if (err == -EBUSY)
		return call_fail(call, err, "it is too late");
	return err;
}

static int check_answer(struct call *call, int err)
{
	return err == -ESTALE ? call_fail(call, err, "nobody waits for this answer") : err;
}

int call_ready(struct call *call)
{
	return check_answer(call, update_ready(call->conn, call->req.update, call->req.phase));
}

int call_refuse(struct call *call)
{
	return check_answer(call, update_refuse(call->conn, call->req.update, call->req.phase,
						call->req.reason));
}

int call_leave(struct call *call)
{
	int err = update_leave(call->conn, call->req.update);

	return err ? call_fail(call, err, "this client is not suspended for it") : 0;
}
