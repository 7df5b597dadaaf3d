/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The agent and its clients, for the tests of luod: lines as they are, without
 * the library that well-behaved clients use.
 */
#ifndef _LUOD_UTIL_H
#define _LUOD_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LUOD		"/usr/sbin/luod"
#define LUOD_SOCKET	"/tmp/luod.sock"
#define LUOD_LOG	"/tmp/luod.log"

/* How long an answer may take, without KVM and on a busy machine. */
#define LUOD_PATIENCE_MS	60000

/* Longest line that the tests look at. */
#define LUOD_LINE	65536

pid_t luod_start(char *const more[]);
int luod_stop(pid_t pid, int sig);
pid_t luod_spawn(char *const argv[]);
int luod_wait(pid_t pid);
int luod_run(char *const argv[]);
bool luod_said(const char *what);
int luod_times_said(const char *what);
int luod_fds(pid_t pid);
bool luod_await_fds(pid_t pid, int want);
int luod_children(pid_t pid);
bool luod_await_children(pid_t pid, int want);

/**
 * struct luod_client - a connection
 * @fd: the socket
 * @line: the last line that came
 * @got: the descriptor that came last; -1
 */
struct luod_client {
	int fd;
	char line[LUOD_LINE];
	int got;
	size_t len;
	char buf[LUOD_LINE];
};

#define LUOD_HELLO	"{\"op\":\"hello\"}\n"
#define LUOD_UPDATE	"{\"op\":\"update\"}\n"
#define LUOD_CANCEL	"{\"op\":\"cancel\"}\n"
#define LUOD_STATUS	"{\"op\":\"status\"}\n"
#define LUOD_WATCH	"{\"op\":\"watch\"}\n"

pid_t luod_begin(char *const more[], struct luod_client *root, const char *line, int *fds);
int luod_connect(struct luod_client *client, uid_t uid);
int luod_connect_at(struct luod_client *client, const char *path, uid_t uid);
void luod_leave(struct luod_client *client);
int luod_send(struct luod_client *client, const char *line, const int *fds, int nr);
int luod_receive(struct luod_client *client);
int luod_ask(struct luod_client *client, const char *line);
int luod_ask_with(struct luod_client *client, const char *line, const int *fds, int nr);
bool luod_has(struct luod_client *client, const char *what);
bool luod_ended(struct luod_client *client);
int luod_session(struct luod_client *client, const char *name);
int luod_event(struct luod_client *client, const char *name);
int luod_load(struct luod_client *client, const char *image, const char *initrd,
	      const char *cmdline);
int luod_answer(struct luod_client *client, const char *op, const char *phase);
int luod_follow(struct luod_client *client, const char *phase);
int luod_load_next(struct luod_client *client);
int luod_load_in_vain(struct luod_client *client);
int luod_loaded(void);

#endif /* _LUOD_UTIL_H */
