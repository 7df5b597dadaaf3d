/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The sessions that clients have from luod.
 *
 * luod keeps a copy of the descriptor of each as long as its client is
 * connected, so that closing it is one thing: the end of the connection. The
 * copy of a client that is suspended for an update stays until the update is
 * over, so that the client can be gone when the kernel goes. Those of clients that
 * are gone or about to go are with the service manager, too, see store.h.
 */
#ifndef LUOD_SESSIONS_H
#define LUOD_SESSIONS_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "names.h"

struct conn;
struct json_object;

/**
 * struct session - a session of a client
 * @uid: whose it is
 * @name: what it calls it
 * @fd: luod's copy
 * @conn: the client; NULL for one that was suspended and is gone
 * @box: what the service manager has a copy of; -1
 * @kept: since a luod that died: no update of this one's ends it
 */
struct session {
	TAILQ_ENTRY(session) link;
	TAILQ_ENTRY(session) of_conn;
	uid_t uid;
	char name[LUO_AGENT_NAME_SIZE];
	int fd;
	struct conn *conn;
	int box;
	bool kept;
};

TAILQ_HEAD(session_list, session);
extern struct session_list sessions;

struct session *session_add(struct conn *conn, const char *name, int fd);
struct session *session_keep(uid_t uid, const char *name, int fd, int box);
void session_claim(struct session *session, struct conn *conn);
struct session *session_find(uid_t uid, const char *name);
void session_drop(struct session *session);
unsigned int sessions_of_user(uid_t uid, unsigned int *all);
bool sessions_any(const struct conn *conn);
struct json_object *sessions_names(const struct conn *conn);
void sessions_store(const struct conn *conn);
void sessions_store_again(void);
void sessions_leave(struct conn *conn, bool keep);
void sessions_drop_left(void);

#endif /* LUOD_SESSIONS_H */
