/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A line from a client, checked: nothing behind this sees what a client can make
 * up. No state and no input or output here, so that it can be fuzzed.
 */
#ifndef LUOD_REQUEST_H
#define LUOD_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

/* Of a line, with its newline. */
#define REQUEST_MAX	16384

/* Of a kernel's command line, with its NUL: more than any architecture takes. */
#define CMDLINE_MAX	8192

enum request_op {
	OP_HELLO,
	OP_SESSION,
	OP_ATTACH,
	OP_RELEASE,
	OP_READY,
	OP_REFUSE,
	OP_LEAVE,
	OP_FINISH,
	OP_SESSIONS,
	OP_SHOW,
	OP_STATUS,
	OP_WATCH,
	OP_LOAD,
	OP_CHECK,
	OP_UPDATE,
	OP_CANCEL,
	NR_OPS,
};

enum request_phase {
	PHASE_PREPARE,
	PHASE_SUSPEND,
};

/* Fields that a request can have, as bits. */
enum {
	HAS_ID		= 1 << 0,
	HAS_NAME	= 1 << 1,
	HAS_UID		= 1 << 2,
	HAS_UPDATE	= 1 << 3,
	HAS_PHASE	= 1 << 4,
	HAS_REASON	= 1 << 5,
	HAS_CMDLINE	= 1 << 6,
	HAS_PREPARE_MS	= 1 << 7,
	HAS_SUSPEND_MS	= 1 << 8,
	HAS_SESSION_ID	= 1 << 9,
	HAS_WITHOUT	= 1 << 10,
};

/* Most ranges of users that an update can leave out. */
#define WITHOUT_MAX	16

struct users {
	unsigned int nr;
	struct {
		uint32_t first;
		uint32_t last;
	} ranges[WITHOUT_MAX];
};

/**
 * struct request - a request
 * @json: what the strings belong to, a reference
 * @op: what is wanted
 * @has: HAS_* of the fields that are there
 *
 * Fields are valid if they are there: a name is a valid name, a number is not
 * negative, a phase is one.
 */
struct request {
	struct json_object *json;
	enum request_op op;
	unsigned int has;
	uint64_t id;
	uint64_t update;
	uint64_t session_id;
	uint32_t uid;
	uint32_t prepare_ms;
	uint32_t suspend_ms;
	enum request_phase phase;
	struct users without;
	const char *name;
	const char *reason;
	const char *cmdline;
};

int request_parse(struct request *req, const char *line, size_t len, const char **why);
void request_free(struct request *req);
bool is_among(const struct users *users, uint32_t uid);
const char *request_name(enum request_op op);

#endif /* LUOD_REQUEST_H */
