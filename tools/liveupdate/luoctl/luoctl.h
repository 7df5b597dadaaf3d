/* SPDX-License-Identifier: GPL-2.0 */
/*
 * luoctl: what its commands share.
 */
#ifndef LUOCTL_H
#define LUOCTL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "luo.h"

/* Exit statuses, see luoctl(8). */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,	/* what was asked for did not work */
	EXIT_USAGE = 2,
	EXIT_NO_AGENT = 3,	/* luod cannot be reached */
	EXIT_UNFIT = 4,		/* check: the image cannot take the state */
	EXIT_BLOCKED = 5,	/* update: a client refuses, is late, gone or absent */
	EXIT_CANCELLED = 6,	/* update: somebody cancelled it */
};

/* Most ranges of users that an update can leave out. */
#define WITHOUT_MAX	16

/**
 * struct ctl - a run of luoctl
 * @socket: luod's; %NULL for the usual
 * @json: print JSON as it comes, a line each
 * @uid: whose session; negative for one's own
 * @session_id: the session's id in the kernel; 0 for by name
 * @prepare_ms: deadline for the update; 0 for the usual
 * @suspend_ms: likewise
 * @without: users that the update does not ask, @nr_without ranges of them
 * @initrd: of the image; can be %NULL
 * @cmdline: of the image; %NULL for that of the running kernel
 * @append: goes behind the command line; can be %NULL
 * @agent: the connection
 */
struct ctl {
	const char *socket;
	bool json;
	int64_t uid;
	int64_t session_id;
	uint32_t prepare_ms;
	uint32_t suspend_ms;
	uint32_t without[WITHOUT_MAX][2];
	unsigned int nr_without;
	const char *initrd;
	const char *cmdline;
	const char *append;
	struct luo_agent *agent;
};

/* call.c */
int ctl_call(struct ctl *ctl, struct json_object *request, const int *fds,
	     unsigned int nr_fds, struct json_object **reply);
int ctl_status_of(int err, struct json_object *reply);
struct json_object *ctl_request(const char *op);
const char *get_string(struct json_object *from, const char *key);
int64_t get_number(struct json_object *from, const char *key);
bool get_bool(struct json_object *from, const char *key);
struct json_object *get_array(struct json_object *from, const char *key);

/* Commands: show.c, image.c, update.c. */
int cmd_status(struct ctl *ctl, const char *arg);
int cmd_sessions(struct ctl *ctl, const char *arg);
int cmd_show(struct ctl *ctl, const char *arg);
int cmd_finish(struct ctl *ctl, const char *arg);
int cmd_load(struct ctl *ctl, const char *arg);
int cmd_check(struct ctl *ctl, const char *arg);
int cmd_update(struct ctl *ctl, const char *arg);
int cmd_cancel(struct ctl *ctl, const char *arg);
int cmd_watch(struct ctl *ctl, const char *arg);

#endif /* LUOCTL_H */
