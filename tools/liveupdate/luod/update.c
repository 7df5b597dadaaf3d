// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "conn.h"
#include "image.h"
#include "journal.h"
#include "json.h"
#include "jump.h"
#include "log.h"
#include "luod.h"
#include "sessions.h"
#include "update.h"

enum state {
	IDLE,
	PREPARE,
	SUSPEND,
	JUMP,
	NR_STATES,
};

static const char * const state_names[NR_STATES] = { "idle", "prepare", "suspend", "jump" };

static struct {
	enum state state;
	uint64_t number;
	uint32_t prepare_ms;
	uint32_t suspend_ms;
	uint32_t suspend_max_ms;
	/* Users who are not asked. */
	struct users without;
	/* When each state began, by the wall clock: the next kernel has it too. */
	int64_t began[NR_STATES];
	struct event *next;
	void (*stopped)(int err);
} update;

static struct json_object *new_event(const char *name)
{
	struct json_object *event = json_object_new_object();

	put_string(event, "event", name);
	put_number(event, "update", update.number);
	return event;
}

static bool asked(const struct conn *conn)
{
	return !conn->dead && conn->answer != CONN_NOT_ASKED;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/*
 * What the client wants for itself counts more than what is usual. Not more than
 * what is said for this update, though, while all others stand still.
 */
static uint32_t deadline_of(const struct conn *conn)
{
	if (update.state == PREPARE)
		return least(conn->prepare_ms ?: update.prepare_ms, options.deadline_max_ms);
	return least(conn->suspend_ms ?: update.suspend_ms, update.suspend_max_ms);
}

/* A client, for those who watch. */
static void put_client(struct json_object *to, const struct conn *conn, const char *state)
{
	put_number(to, "pid", conn->pid);
	put_number(to, "uid", conn->uid);
	put_string(to, "state", state);
	put_number(to, "ms", clock_ms(CLOCK_MONOTONIC) - conn->asked_at);
	json_object_object_add(to, "sessions", sessions_names(conn));
}

static struct json_object *new_blocker(const struct conn *conn, const char *state)
{
	struct json_object *blocker = json_object_new_object();

	put_client(blocker, conn, state);
	return blocker;
}

/* Tenants know nothing of each other. */
static bool may_see(const struct conn *viewer, const struct conn *conn)
{
	return viewer->admin || viewer->uid == conn->uid;
}

/**
 * struct failure - why there is no update
 * @err: negative errno
 * @culprit: the client because of which; can be %NULL
 * @state: what it did
 * @message: for those who may see the culprit
 */
struct failure {
	int err;
	const struct conn *culprit;
	const char *state;
	const char *message;
};

/* Everybody who is not done, the culprit first. */
static struct json_object *list_blockers(const struct conn *viewer,
					 const struct failure *failure)
{
	struct json_object *list = json_object_new_array();
	const struct conn *culprit = failure->culprit;
	struct conn *conn;

	if (culprit && may_see(viewer, culprit))
		json_object_array_add(list, new_blocker(culprit, failure->state));
	TAILQ_FOREACH(conn, &conns, link)
		if (conn != culprit && asked(conn) && conn->answer == CONN_ASKED &&
		    may_see(viewer, conn))
			json_object_array_add(list, new_blocker(conn, "waiting"));
	return list;
}

static void forget_answers(void)
{
	struct conn *conn;

	TAILQ_FOREACH(conn, &conns, link) {
		conn->answer = CONN_NOT_ASKED;
		conn->leaves = false;
		/* Whether it lives does not matter any more, and it may want to come back. */
		if (conn->dead && conn->exited)
			event_active(conn->exited, EV_TIMEOUT, 0);
		if (conn->deadline)
			event_del(conn->deadline);
	}
}

static void put_failure(struct json_object *event, const struct conn *viewer,
			const struct failure *failure)
{
	const struct conn *culprit = failure->culprit;

	put_string(event, "error", strerrorname_np(-failure->err) ?: "EIO");
	put_string(event, "message", !culprit || may_see(viewer, culprit) ?
		   failure->message : "a client of another user was not ready");
}

static void send_cancel(const struct failure *failure)
{
	struct json_object *event;
	struct conn *conn;

	TAILQ_FOREACH(conn, &conns, link) {
		if (!asked(conn))
			continue;
		event = new_event("cancel");
		put_failure(event, conn, failure);
		conn_send(conn, event, -1);
	}
}

static void tell_failure(const struct failure *failure)
{
	struct json_object *event;
	struct conn *conn;

	TAILQ_FOREACH(conn, &conns, link) {
		if (!conn->watching || conn->dead)
			continue;
		event = new_event("failed");
		put_string(event, "phase", state_names[update.state]);
		put_failure(event, conn, failure);
		json_object_object_add(event, "blockers", list_blockers(conn, failure));
		conn_send(conn, event, -1);
	}
}

/* No update: everybody goes on as before. */
static void fail(int err, const struct conn *culprit, const char *state,
		 const char *message)
{
	struct failure failure = { err, culprit, state, message };

	log_warning("update %ju failed in phase %s: %s", (uintmax_t)update.number,
		    state_names[update.state], message);
	send_cancel(&failure);
	tell_failure(&failure);
	update.state = IDLE;
	if (update.next)
		event_del(update.next);
	forget_answers();
	sessions_drop_left();
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	char message[128];

	if (conn->dead || conn->answer != CONN_ASKED)
		return;
	snprintf(message, sizeof(message), "process %d of uid %u did not get ready within %u ms",
		 conn->pid, conn->uid, deadline_of(conn));
	fail(-ETIMEDOUT, conn, "late", message);
}

static void ask(struct conn *conn)
{
	struct json_object *event = new_event(state_names[update.state]);
	uint32_t ms = deadline_of(conn);
	struct timeval t = to_timeval(ms);

	put_number(event, "deadline_ms", ms);
	json_object_object_add(event, "sessions", sessions_names(conn));
	conn->answer = CONN_ASKED;
	conn->asked_at = clock_ms(CLOCK_MONOTONIC);
	if (!conn->deadline)
		conn->deadline = evtimer_new(base, on_late, conn);
	if (conn->deadline)
		event_add(conn->deadline, &t);
	conn_send(conn, event, -1);
}

/* One that is going is not, nor one thrown out: its end may call the update off. */
static bool is_ready(const struct conn *conn)
{
	return conn->answer == CONN_READY && !conn->thrown_out &&
	       (!conn->dead || conn->leaves);
}

static bool all_ready(void)
{
	struct conn *conn;

	TAILQ_FOREACH(conn, &conns, link)
		if (conn->answer != CONN_NOT_ASKED && !is_ready(conn))
			return false;
	return true;
}

/* From the event loop, so that answers that are under way go out before. */
static void go_on_if_ready(void)
{
	if (update.state != IDLE && update.state != JUMP && all_ready())
		event_active(update.next, EV_TIMEOUT, 0);
}

static void tell_phase(void)
{
	struct json_object *event = new_event("phase");

	put_string(event, "phase", state_names[update.state]);
	put_number(event, "time_ms", update.began[update.state]);
	conn_send_to_watchers(event);
}

static void enter(enum state state)
{
	update.state = state;
	update.began[state] = clock_ms(CLOCK_REALTIME);
	tell_phase();
}

static void ask_all(enum state state)
{
	struct conn *conn;

	enter(state);
	/* One that is just going away does not answer: its end is the answer. */
	TAILQ_FOREACH(conn, &conns, link)
		if (sessions_any(conn) && !is_among(&update.without, conn->uid))
			ask(conn);
	go_on_if_ready();
}

static void write_journal(void)
{
	struct json_object *json = json_object_new_object(), *phases, *list, *entry;
	struct session *session;
	struct utsname u;
	int err;

	put_number(json, "update", update.number);
	if (!uname(&u))
		put_string(json, "kernel", u.release);
	phases = json_object_new_object();
	update_status(phases);
	json_object_object_add(json, "phases", phases);
	list = json_object_new_array();
	TAILQ_FOREACH(session, &sessions, link) {
		entry = json_object_new_object();
		put_number(entry, "uid", session->uid);
		put_string(entry, "name", session->name);
		json_object_array_add(list, entry);
	}
	json_object_object_add(json, "sessions", list);
	err = journal_write(json);
	json_object_put(json);
	if (err)
		log_warning("update %ju goes without a journal: %s", (uintmax_t)update.number,
			    strerror(-err));
}

/* The shutdown will not come: everybody goes on. */
static void on_off(int err, const char *message)
{
	fail(err, NULL, "", message);
	if (update.stopped)
		update.stopped(0);
}

/* Nor can it be stopped. */
static void on_stuck(const char *message)
{
	struct json_object *event = new_event("warning");

	log_warning("update %ju: %s", (uintmax_t)update.number, message);
	put_string(event, "phase", state_names[update.state]);
	put_string(event, "message", message);
	conn_send_to_watchers(event);
	if (update.stopped)
		update.stopped(-EBUSY);
}

static const struct jump_hooks jump_hooks = { .off = on_off, .stuck = on_stuck };

static void jump(void)
{
	char message[160];
	int err;

	enter(JUMP);
	write_journal();
	log_info("update %ju: into the next kernel", (uintmax_t)update.number);
	conn_flush_all();
	err = jump_start(&jump_hooks);
	if (!err)
		return;
	if (err == -ENOEXEC)
		snprintf(message, sizeof(message), "the image is not loaded any more");
	else
		snprintf(message, sizeof(message), "the reboot cannot be asked for: %s",
			 strerror(-err));
	fail(err, NULL, "", message);
}

/**
 * update_take_over - end the update of a luod that died in its last phase
 *
 * Before there are clients. If it cannot be stopped, it is as if it were this
 * luod's: nobody comes in.
 *
 * Return: 0 or -%ENOMEM.
 */
int update_take_over(void)
{
	int err;

	update.state = JUMP;
	err = jump_take_over(&jump_hooks);
	if (err == -EBUSY)
		return 0;
	update.state = IDLE;
	return err;
}

static void on_next(evutil_socket_t fd, short what, void *arg)
{
	/* Meanwhile somebody can have gone, or it can be off. */
	if (update.state == IDLE || update.state == JUMP || !all_ready())
		return;
	if (update.state == PREPARE)
		ask_all(SUSPEND);
	else
		jump();
}

/*
 * What they have preserved goes as it is, whatever they do with it meanwhile. Those
 * who are connected are told, and can do about it what they can.
 */
static void leave_out(const struct users *users, unsigned int nr)
{
	struct conn *conn;
	unsigned int i;

	update.without = *users;
	for (i = 0; i < users->nr; i++)
		log_warning("update %ju: uid %u to %u are not asked, their sessions go as they are",
			    (uintmax_t)update.number, users->ranges[i].first,
			    users->ranges[i].last);
	if (users->nr)
		log_warning("update %ju: sessions of those users: %u",
			    (uintmax_t)update.number, nr);
	TAILQ_FOREACH(conn, &conns, link)
		if (sessions_any(conn) && is_among(users, conn->uid))
			conn_send(conn, new_event("left-out"), -1);
}

/**
 * update_start - begin an update
 * @req: prepare_ms, the deadline for clients that do not say another, 0 for the
 *       usual; suspend_ms, likewise, and if it is not 0, nobody gets more; without,
 *       the users who are not asked
 * @left_out: how many sessions those have
 * @number: gets its number
 *
 * Return: 0; -%EBUSY while one is running, -%ENOEXEC if no image is loaded, -%ENOMEM,
 * or an error of jump_prepare().
 */
int update_start(const struct request *req, unsigned int left_out, uint64_t *number)
{
	int err;

	if (update.state != IDLE)
		return -EBUSY;
	if (!image_loaded())
		return -ENOEXEC;
	if (!update.next)
		update.next = evtimer_new(base, on_next, NULL);
	if (!update.next)
		return -ENOMEM;
	err = jump_prepare();
	if (err)
		return err;
	update.prepare_ms = req->prepare_ms ?: options.prepare_ms;
	update.suspend_ms = req->suspend_ms ?: options.suspend_ms;
	update.suspend_max_ms = req->suspend_ms ?: options.suspend_max_ms;
	memset(update.began, 0, sizeof(update.began));
	*number = ++update.number;
	log_info("update %ju begins", (uintmax_t)update.number);
	leave_out(&req->without, left_out);
	ask_all(PREPARE);
	return 0;
}

/* Whether an answer is about what was asked. */
static bool answers(struct conn *conn, uint64_t number, enum request_phase phase)
{
	return number == update.number && conn->answer == CONN_ASKED &&
	       update.state == (phase == PHASE_SUSPEND ? SUSPEND : PREPARE);
}

static void tell_ready(const struct conn *conn)
{
	struct json_object *event;
	struct conn *viewer;

	TAILQ_FOREACH(viewer, &conns, link) {
		if (!viewer->watching || viewer->dead || !may_see(viewer, conn))
			continue;
		event = new_event("client");
		put_string(event, "phase", state_names[update.state]);
		put_client(event, conn, "ready");
		conn_send(viewer, event, -1);
	}
}

/**
 * update_ready - a client has done what it was asked for
 * @conn: the client
 * @number: the update
 * @phase: what it was asked for
 *
 * Return: 0; -%ESTALE if this is not what it was asked for.
 */
int update_ready(struct conn *conn, uint64_t number, enum request_phase phase)
{
	if (!answers(conn, number, phase))
		return -ESTALE;
	conn->answer = CONN_READY;
	if (update.state == SUSPEND)
		conn_look_at_process(conn);
	if (conn->deadline)
		event_del(conn->deadline);
	tell_ready(conn);
	go_on_if_ready();
	return 0;
}

/**
 * update_leave - a client that is suspended ends, and what it has stays for the update
 * @conn: the client
 * @number: the update
 *
 * Return: 0; -%ESTALE if it is not suspended for this update.
 */
int update_leave(struct conn *conn, uint64_t number)
{
	if (number != update.number || conn->answer != CONN_READY ||
	    (update.state != SUSPEND && update.state != JUMP))
		return -ESTALE;
	if (conn->leaves)
		return 0;
	conn->leaves = true;
	/* Before the answer: from there on nobody else has to have them. */
	sessions_store(conn);
	return 0;
}

/**
 * update_refuse - a client says no
 * @conn: the client
 * @number: the update
 * @phase: what it was asked for
 * @reason: printable; can be %NULL
 *
 * Return: 0; -%ESTALE if this is not what it was asked for.
 */
int update_refuse(struct conn *conn, uint64_t number, enum request_phase phase,
		  const char *reason)
{
	char message[400];

	if (!answers(conn, number, phase))
		return -ESTALE;
	snprintf(message, sizeof(message), "process %d of uid %u refuses: %s", conn->pid,
		 conn->uid, reason ?: "no reason given");
	fail(-ECANCELED, conn, "refused", message);
	return 0;
}

/**
 * update_cancel - do not update
 * @reason: for those who are told
 * @stopped: told 0 or -%EBUSY when systemd has answered; the same each time
 *
 * Return: 0; -%ENOENT if there is no update, -%EBUSY if it is too late,
 * -%EINPROGRESS if systemd is asked whether it is.
 */
int update_cancel(const char *reason, void (*stopped)(int err))
{
	if (update.state == IDLE)
		return -ENOENT;
	if (update.state == JUMP) {
		update.stopped = stopped;
		return jump_cancel(-ECANCELED, reason) ?: -EINPROGRESS;
	}
	fail(-ECANCELED, NULL, "", reason);
	return 0;
}

bool update_running(void)
{
	return update.state != IDLE;
}

/* Clients do: nothing that luod does now is without a price. */
bool update_stands_still(void)
{
	return update.state == SUSPEND || update.state == JUMP;
}

bool update_jumping(void)
{
	return update.state == JUMP;
}

/*
 * Whether luod goes on for a client that is gone: dead, or it has said so. With the
 * jump nobody gets a session any more, so whoever wants to go on has to wait.
 */
bool update_keeps(const struct conn *conn)
{
	return update.state == JUMP ||
	       (update.state == SUSPEND && conn->answer == CONN_READY &&
		!conn->thrown_out && (conn->leaves || !conn->lives));
}

/* Whether that depends on its process: it can have lost its connection, and live. */
bool update_in_doubt(const struct conn *conn)
{
	return update.state == SUSPEND && conn->answer == CONN_READY &&
	       !conn->thrown_out && !conn->leaves;
}

/*
 * It takes the end of its connection for the end of the update, and runs on while
 * what it has preserved is what it was.
 */
static void thrown_out(const struct conn *conn)
{
	char message[128];

	snprintf(message, sizeof(message), "process %d of uid %u was disconnected by luod",
		 conn->pid, conn->uid);
	if (update.state == JUMP)
		jump_cancel(-ECONNRESET, message);
	else
		fail(-ECONNRESET, conn, "gone", message);
}

/**
 * update_gone - a client is gone
 * @conn: the client; not on the list any more, its sessions still its own
 */
void update_gone(struct conn *conn)
{
	char message[128];

	if (update.state == IDLE || conn->answer == CONN_NOT_ASKED)
		return;
	if (conn->thrown_out) {
		thrown_out(conn);
		return;
	}
	if (update_keeps(conn)) {
		go_on_if_ready();
		return;
	}
	if (conn->lives)
		snprintf(message, sizeof(message),
			 "process %d of uid %u lost its connection, and %s", conn->pid,
			 conn->uid, conn->inherited ? "was not the one that had it" :
			 "has not ended");
	else
		snprintf(message, sizeof(message),
			 "process %d of uid %u went away before it was %s", conn->pid,
			 conn->uid, update.state == PREPARE ? "prepared" : "suspended");
	fail(-ECONNRESET, conn, "gone", message);
}

/**
 * update_status - where the update is
 * @to: gets fields
 */
void update_status(struct json_object *to)
{
	int i;

	put_string(to, "state", state_names[update.state]);
	if (!update.number)
		return;
	put_number(to, "update", update.number);
	for (i = PREPARE; i < NR_STATES; i++) {
		char key[32];

		snprintf(key, sizeof(key), "%s_at", state_names[i]);
		if (update.began[i])
			put_number(to, key, update.began[i]);
	}
}
