// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <json-c/json.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "box.h"
#include "conn.h"
#include "log.h"
#include "notify.h"
#include "sessions.h"

struct session_list sessions = TAILQ_HEAD_INITIALIZER(sessions);

/* The same ones by uid and name: users have thousands of them. */
static void *by_name;

static int compare(const void *a, const void *b)
{
	const struct session *x = a, *y = b;

	return name_compare(x->uid, x->name, y->uid, y->name);
}

static struct session *insert(uid_t uid, const char *name, int fd)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->uid = uid;
	snprintf(session->name, sizeof(session->name), "%s", name);
	session->fd = fd;
	session->box = -1;
	if (!tsearch(session, &by_name, compare)) {
		free(session);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&sessions, session, link);
	return session;
}

static void join_conn(struct session *session, struct conn *conn)
{
	session->conn = conn;
	TAILQ_INSERT_TAIL(&conn->sessions, session, of_conn);
}

/**
 * session_add - remember who has a session
 * @conn: the client
 * @name: what its user calls the session; valid and not in the table
 * @fd: luod's copy, which is the table's from now on
 *
 * Return: the session; NULL without memory, and @fd is still the caller's.
 */
struct session *session_add(struct conn *conn, const char *name, int fd)
{
	struct session *session = insert(conn->uid, name, fd);

	if (session)
		join_conn(session, conn);
	return session;
}

/**
 * session_keep - remember a session from the service manager's store
 * @uid: whose it is
 * @name: as for session_add()
 * @fd: likewise
 * @box: what was in the store, likewise
 *
 * Return: as session_add().
 */
struct session *session_keep(uid_t uid, const char *name, int fd, int box)
{
	struct session *session = insert(uid, name, fd);

	if (session) {
		session->box = box;
		session->kept = true;
	}
	return session;
}

#define STORE_STATE	"FDSTORE=1\nFDNAME=%s"
#define REMOVE_STATE	"FDSTOREREMOVE=1\nFDNAME=%s"

static int send_box(struct session *session)
{
	char name[LUO_NAME_SIZE], state[sizeof(STORE_STATE) + LUO_NAME_SIZE];

	name_to_store(name, session->uid, session->name);
	snprintf(state, sizeof(state), STORE_STATE, name);
	return notify_soon(state, session->box);
}

/* Without a service manager, a session that luod keeps is lost with luod. */
static void enter_store(struct session *session)
{
	int err;

	if (session->box >= 0)
		return;
	session->box = box_make(session->fd);
	err = session->box < 0 ? session->box : send_box(session);
	if (!err)
		return;
	if (err != -EDESTADDRREQ)
		log_warning("session %s of uid %u is lost if luod dies: it is not in the service manager's store: %s",
			    session->name, session->uid, strerror(-err));
	if (session->box >= 0)
		close(session->box);
	session->box = -1;
}

/* From here on the session ends with its other descriptors, whatever the store has. */
static void leave_store(struct session *session)
{
	char name[LUO_NAME_SIZE], state[sizeof(REMOVE_STATE) + LUO_NAME_SIZE];

	if (session->box < 0)
		return;
	box_empty(session->box);
	close(session->box);
	session->box = -1;
	name_to_store(name, session->uid, session->name);
	snprintf(state, sizeof(state), REMOVE_STATE, name);
	notify_soon(state, -1);
}

/**
 * session_claim - a client comes for a session that was kept
 * @session: nobody has it
 * @conn: the client, of the same user
 */
void session_claim(struct session *session, struct conn *conn)
{
	leave_store(session);
	session->kept = false;
	join_conn(session, conn);
}

struct session *session_find(uid_t uid, const char *name)
{
	struct session key = { .uid = uid }, **found;

	snprintf(key.name, sizeof(key.name), "%s", name);
	found = tfind(&key, &by_name, compare);
	return found ? *found : NULL;
}

static void leave_conn(struct session *session)
{
	if (session->conn)
		TAILQ_REMOVE(&session->conn->sessions, session, of_conn);
	session->conn = NULL;
}

/* The client's own descriptor is not touched. */
void session_drop(struct session *session)
{
	leave_conn(session);
	leave_store(session);
	tdelete(session, &by_name, compare);
	TAILQ_REMOVE(&sessions, session, link);
	close(session->fd);
	free(session);
}

/* And @all that there are, whosever. */
unsigned int sessions_of_user(uid_t uid, unsigned int *all)
{
	struct session *session;
	unsigned int n = 0;

	*all = 0;
	TAILQ_FOREACH(session, &sessions, link) {
		n += session->uid == uid;
		++*all;
	}
	return n;
}

bool sessions_any(const struct conn *conn)
{
	return !TAILQ_EMPTY(&conn->sessions);
}

/* An array for JSON. */
struct json_object *sessions_names(const struct conn *conn)
{
	struct json_object *names = json_object_new_array();
	struct session *session;

	TAILQ_FOREACH(session, &conn->sessions, of_conn)
		json_object_array_add(names, json_object_new_string(session->name));
	return names;
}

/**
 * sessions_store - a client says that it goes, and what it has is kept
 * @conn: the client
 */
void sessions_store(const struct conn *conn)
{
	struct session *session;

	TAILQ_FOREACH(session, &conn->sessions, of_conn)
		enter_store(session);
}

/**
 * sessions_store_again - what is in the store goes there once more
 *
 * What it has already, it does not take twice.
 */
void sessions_store_again(void)
{
	struct session *session;

	TAILQ_FOREACH(session, &sessions, link)
		if (session->box >= 0 && send_box(session))
			log_warning("session %s of uid %u may be lost if luod dies: the service manager does not take it again",
				    session->name, session->uid);
}

/**
 * sessions_leave - a client is gone
 * @conn: the client
 * @keep: keep its sessions for the update
 */
void sessions_leave(struct conn *conn, bool keep)
{
	struct session *session;

	while ((session = TAILQ_FIRST(&conn->sessions))) {
		leave_conn(session);
		if (keep)
			enter_store(session);
		else
			session_drop(session);
	}
}

/**
 * sessions_drop_left - there is no update after all
 *
 * What was preserved by clients that did not wait for it is lost: nobody could
 * get it back in this kernel. Those that are still here have theirs themselves,
 * and what was kept before goes on waiting.
 */
void sessions_drop_left(void)
{
	struct session *session, *next;

	for (session = TAILQ_FIRST(&sessions); session; session = next) {
		next = TAILQ_NEXT(session, link);
		if (session->kept)
			continue;
		if (session->conn) {
			leave_store(session);
			continue;
		}
		log_warning("session %s of uid %u is dropped: its client did not wait for the update",
			    session->name, session->uid);
		session_drop(session);
	}
}
