// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <event2/event.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "after.h"
#include "conn.h"
#include "journal.h"
#include "json.h"
#include "log.h"
#include "luod.h"
#include "names.h"
#include "turn.h"

enum state {
	WAITING,	/* nobody has come for it */
	RETURNED,	/* its client has it */
	FINISHED,	/* it is no more */
	LOST,		/* it went into the update and did not come out */
};

static const char * const state_names[] = { "waiting", "returned", "finished", "lost" };

struct expected {
	TAILQ_ENTRY(expected) link;
	uid_t uid;
	char name[LUO_AGENT_NAME_SIZE];
	enum state state;
	uint64_t seen;		/* the look that saw it last */
	bool arriving;		/* no luod of this kernel has seen it yet */
};

static TAILQ_HEAD(, expected) all = TAILQ_HEAD_INITIALIZER(all);

/* The same ones by uid and name. */
static void *by_name;

static struct {
	bool any;			/* this kernel was updated to */
	bool journal;			/* it is still there */
	bool changed;			/* since it was written last */
	uint64_t looks;
	struct json_object *json;
	struct event *report;
	struct turn turn;
	bool refreshing;
	int64_t luod_at;
	int64_t returned_at;
} after;

static int compare(const void *a, const void *b)
{
	const struct expected *x = a, *y = b;

	return name_compare(x->uid, x->name, y->uid, y->name);
}

static struct expected *find(uid_t uid, const char *name)
{
	struct expected key = { .uid = uid }, **found;

	snprintf(key.name, sizeof(key.name), "%s", name);
	found = tfind(&key, &by_name, compare);
	return found ? *found : NULL;
}

static struct expected *add(uid_t uid, const char *name)
{
	struct expected *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->uid = uid;
	snprintf(e->name, sizeof(e->name), "%s", name);
	if (!tsearch(e, &by_name, compare)) {
		free(e);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&all, e, link);
	after.changed = true;
	return e;
}

static void set_state(struct expected *e, enum state state)
{
	after.changed |= e->state != state;
	e->state = state;
}

static unsigned int count_for(enum state state, uid_t uid, bool all_users)
{
	struct expected *e;
	unsigned int n = 0;

	TAILQ_FOREACH(e, &all, link)
		n += e->state == state && (all_users || e->uid == uid);
	return n;
}

static unsigned int count(enum state state)
{
	return count_for(state, 0, true);
}

static enum state state_of(const char *name)
{
	return name && !strcmp(name, state_names[FINISHED]) ? FINISHED : WAITING;
}

/* One entry of a journal; whoever wrote it, it has to be a session of a client. */
static void expect_from(struct json_object *entry)
{
	const char *name = get_string(entry, "name");
	int64_t uid = get_number(entry, "uid");
	struct expected *e;

	if (!name || !name_valid(name) || uid < 0 || uid > UINT32_MAX || find(uid, name))
		return;
	e = add(uid, name);
	if (!e)
		return;
	e->state = state_of(get_string(entry, "state"));
	e->arriving = !get_string(entry, "state");
}

static void expect_from_journal(void)
{
	struct json_object *list;
	size_t i;

	if (!json_object_object_get_ex(after.json, "sessions", &list) ||
	    !json_object_is_type(list, json_type_array))
		return;
	for (i = 0; i < json_object_array_length(list); i++)
		expect_from(json_object_array_get_idx(list, i));
}

static struct json_object *list_all(uid_t uid, bool all_users)
{
	struct json_object *list = json_object_new_array(), *entry;
	struct expected *e;

	TAILQ_FOREACH(e, &all, link) {
		if (!all_users && e->uid != uid)
			continue;
		entry = json_object_new_object();
		put_number(entry, "uid", e->uid);
		put_string(entry, "name", e->name);
		put_string(entry, "state", state_names[e->state]);
		json_object_array_add(list, entry);
	}
	return list;
}

/* Only for a luod that is started again: if it fails, that one knows less. */
static void note(void)
{
	if (!after.journal || !after.json || !after.changed)
		return;
	json_object_object_add(after.json, "sessions", list_all(0, true));
	after.changed = journal_rewrite(after.json);
}

static void finish_if_done(void)
{
	int err;

	if (!after.any || !after.journal || count(WAITING) || count(RETURNED))
		return;
	err = journal_finish();
	if (err)
		log_warning("the journal cannot be finished and stays: %s", strerror(-err));
	after.journal = false;
	log_info("all sessions of the last update are finished");
}

static void seen(struct expected *e, uint32_t state)
{
	e->seen = after.looks;
	e->arriving = false;
	set_state(e, state == LUO_SESSION_HELD ? RETURNED : WAITING);
	after.any = true;
}

/* What the kernel has of the sessions that are expected; others join them. */
static int look(int device)
{
	struct luo_session_info info = { 0 };
	char name[LUO_AGENT_NAME_SIZE];
	struct expected *e;
	uid_t uid;
	int err;

	after.looks++;
	while (!(err = luo_next(device, &info))) {
		if (info.state == LUO_SESSION_OUTGOING || !info.by_name ||
		    !name_from_kernel(info.name, &uid, name))
			continue;
		e = find(uid, name) ?: add(uid, name);
		if (e)
			seen(e, info.state);
	}
	if (err != -ENOENT)
		return err;
	TAILQ_FOREACH(e, &all, link)
		if (e->seen != after.looks && e->state != LOST)
			set_state(e, e->arriving ? LOST : FINISHED);
	return 0;
}

/* Journals of updates before the last one, which rode along. */
static void discard_old_journals(int device)
{
	struct luo_session_info info = { 0 };

	while (!luo_next(device, &info))
		if (info.state == LUO_SESSION_INCOMING && !info.by_name &&
		    !strcmp(info.name, JOURNAL_SESSION))
			luo_discard(device, info.id);
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
	struct expected *e;

	TAILQ_FOREACH(e, &all, link)
		if (e->state == WAITING)
			log_warning("nobody has come for session %s of uid %u: \"luoctl finish --uid %u %s\" drops it",
				    e->name, e->uid, e->uid, e->name);
}

static void report_later(void)
{
	struct timeval t = to_timeval(options.return_ms);

	after.report = evtimer_new(base, on_report, NULL);
	if (after.report)
		event_add(after.report, &t);
}

static void take_journal(int device)
{
	int err = journal_take(device, &after.json);

	after.journal = !err;
	if (!err) {
		after.any = true;
		expect_from_journal();
	} else if (err == -EBADMSG) {
		after.any = true;
		log_warning("the previous kernel left no journal that can be read: what there is, the list of sessions says");
	} else if (err != -ENOENT) {
		log_warning("the previous kernel's journal: %s", strerror(-err));
	}
}

/**
 * after_start - find out whether there was an update, and what came with it
 * @device: /dev/liveupdate
 */
void after_start(int device)
{
	struct expected *e;

	after.luod_at = clock_ms(CLOCK_REALTIME);
	take_journal(device);
	look(device);
	discard_old_journals(device);
	if (!after.any)
		return;
	TAILQ_FOREACH(e, &all, link)
		if (e->state == LOST)
			log_warning("session %s of uid %u did not come out of the update",
				    e->name, e->uid);
	log_info("after an update: %u sessions are waiting", count(WAITING));
	note();
	finish_if_done();
	report_later();
}

/**
 * after_refresh - see what became of the sessions
 * @device: /dev/liveupdate
 */
void after_refresh(int device)
{
	if (!after.any || look(device))
		return;
	note();
	finish_if_done();
}

static void refresh(struct turn *turn, int device)
{
	after.refreshing = false;
	if (device < 0)
		return;
	after_refresh(device);
	close(device);
}

/**
 * after_refresh_soon - see what became of the sessions when the device is free
 */
void after_refresh_soon(void)
{
	if (!after.journal || after.refreshing)
		return;
	after.refreshing = true;
	after.turn.run = refresh;
	turn_take(&after.turn);
}

/**
 * after_returned - a client has come back for its session
 * @uid: its user
 * @name: the session
 */
void after_returned(uid_t uid, const char *name)
{
	struct expected *e = find(uid, name);

	after.returned_at = clock_ms(CLOCK_REALTIME);
	if (e)
		set_state(e, RETURNED);
	note();
}

/**
 * after_finished - luod itself has finished a session
 * @uid: its user
 * @name: the session
 */
void after_finished(uid_t uid, const char *name)
{
	struct expected *e = find(uid, name);

	if (e)
		set_state(e, FINISHED);
	note();
	finish_if_done();
}

/**
 * after_status - what came with the last update
 * @to: gets a field, unless there was no update
 * @uid: whose sessions are counted and listed
 * @all_users: everybody's are
 */
void after_status(struct json_object *to, uid_t uid, bool all_users)
{
	struct json_object *status, *phases;
	enum state state;

	if (!after.any)
		return;
	status = json_object_new_object();
	if (after.json && json_object_object_get_ex(after.json, "phases", &phases))
		json_object_object_add(status, "phases", json_object_get(phases));
	if (after.json && get_string(after.json, "kernel"))
		put_string(status, "from", get_string(after.json, "kernel"));
	put_bool(status, "journal", after.json);
	put_number(status, "kernel_at",
		   clock_ms(CLOCK_REALTIME) - clock_ms(CLOCK_BOOTTIME));
	put_number(status, "luod_at", after.luod_at);
	if (after.returned_at)
		put_number(status, "returned_at", after.returned_at);
	for (state = WAITING; state <= LOST; state++)
		put_number(status, state_names[state], count_for(state, uid, all_users));
	json_object_object_add(status, "sessions", list_all(uid, all_users));
	json_object_object_add(to, "after", status);
}
