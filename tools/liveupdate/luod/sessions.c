// SPDX-License-Identifier: GPL-2.0
#include <json-c/json.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "sessions.h"

struct session_list sessions = TAILQ_HEAD_INITIALIZER(sessions);

/* The same ones by uid and name: users have thousands of them. */
static void *by_name;

static int compare(const void *a, const void *b)
{
	const struct session *x = a, *y = b;

	return name_compare(x->uid, x->name, y->uid, y->name);
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
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->uid = conn->uid;
	snprintf(session->name, sizeof(session->name), "%s", name);
	session->fd = fd;
	session->conn = conn;
	if (!tsearch(session, &by_name, compare)) {
		free(session);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&sessions, session, link);
	TAILQ_INSERT_TAIL(&conn->sessions, session, of_conn);
	return session;
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
 * sessions_leave - a client is gone
 * @conn: the client
 * @keep: keep its sessions for the update
 */
void sessions_leave(struct conn *conn, bool keep)
{
	struct session *session;

	while ((session = TAILQ_FIRST(&conn->sessions))) {
		leave_conn(session);
		if (!keep)
			session_drop(session);
	}
}

/**
 * sessions_drop_left - there is no update after all
 *
 * What was preserved by clients that did not wait for it is lost: nobody could
 * get it back in this kernel.
 */
void sessions_drop_left(void)
{
	struct session *session, *next;

	for (session = TAILQ_FIRST(&sessions); session; session = next) {
		next = TAILQ_NEXT(session, link);
		if (session->conn)
			continue;
		log_warning("session %s of uid %u is dropped: its client did not wait for the update",
			    session->name, session->uid);
		session_drop(session);
	}
}
