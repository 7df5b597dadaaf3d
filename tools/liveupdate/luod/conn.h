/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections: lines of clients come in, answers and events go out.
 */
#ifndef LUOD_CONN_H
#define LUOD_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

struct event;
struct evbuffer;
struct gate;
struct json_object;
struct request;
struct session;

/* Descriptors that came and no request has taken yet. */
#define CONN_FDS	4

/* Where a client is in an update. */
enum conn_answer {
	CONN_NOT_ASKED,
	CONN_ASKED,
	CONN_READY,
};

struct out;

/**
 * struct conn - a client
 * @uid: of the process that made the connection
 * @pid: its number
 * @admin: it may do what concerns all
 * @watching: it gets all events
 * @thrown_out: luod ends the connection, not the client, which may go on living
 * @leaves: it has said that it ends, and what it has is for the next kernel
 * @lives: its connection ended, and its process did not
 * @inherited: another process has the connection than the one that made it
 * @dead: to be freed as soon as nobody uses it: nothing goes to it any more
 * @prepare_ms: the time it wants for this; 0 for the usual
 * @suspend_ms: likewise
 * @calls: how many of its requests wait for their turn
 * @answer: where it is in the update
 * @asked_at: when it was asked
 * @deadline: until when it has to answer
 * @sessions: what it has, see sessions.h
 */
struct conn {
	int fd;
	uid_t uid;
	pid_t pid;
	bool admin;
	bool watching;
	bool thrown_out;
	bool leaves;
	bool lives;
	bool inherited;
	bool ending;
	bool dead;
	uint32_t prepare_ms;
	uint32_t suspend_ms;
	unsigned int calls;
	enum conn_answer answer;
	int64_t asked_at;
	struct event *deadline;

	struct event *readable;
	struct event *writable;
	struct event *stalled;
	struct event *reap;
	struct event *exited;
	struct event *rested;
	struct event *more;
	int process;
	struct evbuffer *in;
	struct gate *gate;
	int fds[CONN_FDS];
	unsigned int nr_fds;
	size_t out_bytes;

	TAILQ_HEAD(, session) sessions;
	TAILQ_HEAD(, out) out;
	TAILQ_ENTRY(conn) link;
};

TAILQ_HEAD(conn_list, conn);
extern struct conn_list conns;

/**
 * struct conn_hooks - who is told about connections
 * @request: a request came, which is the hook's from now on
 * @in_doubt: whether it matters if the client's process ends with the connection
 * @gone: the connection is about to be freed
 */
struct conn_hooks {
	void (*request)(struct conn *conn, struct request *req);
	bool (*in_doubt)(const struct conn *conn);
	void (*gone)(struct conn *conn);
};

int conn_add(int fd, bool admin, const struct conn_hooks *hooks);
void conn_look_at_process(struct conn *conn);
int conn_take_fd(struct conn *conn);
void conn_send(struct conn *conn, struct json_object *line, int fd);
void conn_send_to_watchers(struct json_object *line);
void conn_flush_all(void);
void conn_close_all(void);
struct json_object *conn_error(int err, const char *message);

#endif /* LUOD_CONN_H */
