// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "names.h"
#include "request.h"

/* Nothing in the protocol is an object in an object. */
#define DEPTH_MAX	4

/* Of a client's reason, which goes to logs and terminals. */
#define REASON_MAX	256

static const struct op {
	const char *name;
	unsigned int needs;
	unsigned int takes;
} ops[NR_OPS] = {
	[OP_HELLO] = { "hello", 0, HAS_PREPARE_MS | HAS_SUSPEND_MS },
	[OP_SESSION] = { "session", HAS_NAME, 0 },
	[OP_ATTACH] = { "attach", 0, 0 },
	[OP_RELEASE] = { "release", HAS_NAME, 0 },
	[OP_READY] = { "ready", HAS_UPDATE | HAS_PHASE, 0 },
	[OP_REFUSE] = { "refuse", HAS_UPDATE | HAS_PHASE, HAS_REASON },
	[OP_LEAVE] = { "leave", HAS_UPDATE, 0 },
	[OP_FINISH] = { "finish", 0, HAS_NAME | HAS_UID | HAS_SESSION_ID },
	[OP_SESSIONS] = { "sessions", 0, 0 },
	[OP_SHOW] = { "show", HAS_NAME, HAS_UID },
	[OP_STATUS] = { "status", 0, 0 },
	[OP_WATCH] = { "watch", 0, 0 },
	[OP_LOAD] = { "load", HAS_CMDLINE, 0 },
	[OP_CHECK] = { "check", HAS_CMDLINE, 0 },
	[OP_UPDATE] = { "update", 0, HAS_PREPARE_MS | HAS_SUSPEND_MS | HAS_WITHOUT },
	[OP_CANCEL] = { "cancel", 0, 0 },
};

bool is_among(const struct users *users, uint32_t uid)
{
	unsigned int i;

	for (i = 0; i < users->nr; i++)
		if (users->ranges[i].first <= uid && uid <= users->ranges[i].last)
			return true;
	return false;
}

const char *request_name(enum request_op op)
{
	return ops[op].name;
}

static bool get_string(struct json_object *value, const char **to)
{
	if (!json_object_is_type(value, json_type_string))
		return false;
	*to = json_object_get_string(value);
	/* A NUL in the middle would end it early. */
	return strlen(*to) == (size_t)json_object_get_string_len(value);
}

static bool get_u64(struct json_object *value, uint64_t *to)
{
	int64_t n = json_object_get_int64(value);

	/* What is too large for the type becomes its largest number. */
	if (!json_object_is_type(value, json_type_int) || n < 0 || n == INT64_MAX)
		return false;
	*to = n;
	return true;
}

static bool get_u32(struct json_object *value, uint32_t *to)
{
	uint64_t n;

	if (!get_u64(value, &n) || n > UINT32_MAX)
		return false;
	*to = n;
	return true;
}

static bool get_name(struct json_object *value, struct request *req)
{
	return get_string(value, &req->name) && name_valid(req->name);
}

static bool get_phase(struct json_object *value, struct request *req)
{
	const char *phase;

	if (!get_string(value, &phase))
		return false;
	req->phase = strcmp(phase, "suspend") ? PHASE_PREPARE : PHASE_SUSPEND;
	return req->phase == PHASE_SUSPEND || !strcmp(phase, "prepare");
}

/* Other bytes could play tricks on a terminal. */
static bool get_reason(struct json_object *value, struct request *req)
{
	const char *s;

	if (!get_string(value, &req->reason) || strlen(req->reason) > REASON_MAX)
		return false;
	for (s = req->reason; *s; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

static bool get_cmdline(struct json_object *value, struct request *req)
{
	return get_string(value, &req->cmdline) && strlen(req->cmdline) < CMDLINE_MAX;
}

static bool get_id(struct json_object *value, struct request *req)
{
	return get_u64(value, &req->id);
}

static bool get_uid(struct json_object *value, struct request *req)
{
	return get_u32(value, &req->uid);
}

static bool get_update(struct json_object *value, struct request *req)
{
	return get_u64(value, &req->update);
}

static bool get_prepare_ms(struct json_object *value, struct request *req)
{
	return get_u32(value, &req->prepare_ms) && req->prepare_ms <= INT_MAX;
}

static bool get_suspend_ms(struct json_object *value, struct request *req)
{
	return get_u32(value, &req->suspend_ms) && req->suspend_ms <= INT_MAX;
}

static bool get_session_id(struct json_object *value, struct request *req)
{
	return get_u64(value, &req->session_id);
}

/* A number, or an array of the first one and the last one. */
static bool get_range(struct json_object *value, struct users *to, size_t i)
{
	struct json_object *first = value, *last = value;

	if (json_object_is_type(value, json_type_array)) {
		if (json_object_array_length(value) != 2)
			return false;
		first = json_object_array_get_idx(value, 0);
		last = json_object_array_get_idx(value, 1);
	}
	return get_u32(first, &to->ranges[i].first) && get_u32(last, &to->ranges[i].last) &&
	       to->ranges[i].first <= to->ranges[i].last;
}

static bool get_without(struct json_object *value, struct request *req)
{
	size_t i, n;

	if (!json_object_is_type(value, json_type_array))
		return false;
	n = json_object_array_length(value);
	if (n > WITHOUT_MAX)
		return false;
	for (i = 0; i < n; i++)
		if (!get_range(json_object_array_get_idx(value, i), &req->without, i))
			return false;
	req->without.nr = n;
	return true;
}

static const struct field {
	const char *name;
	unsigned int bit;
	bool (*get)(struct json_object *value, struct request *req);
	const char *wrong;
} fields[] = {
	{ "id", HAS_ID, get_id, "\"id\" is no number from 0 up" },
	{ "name", HAS_NAME, get_name,
	  "\"name\" is not 1 to 47 letters, digits or any of ._@:+-" },
	{ "uid", HAS_UID, get_uid, "\"uid\" is no user's number" },
	{ "update", HAS_UPDATE, get_update, "\"update\" is no number from 0 up" },
	{ "phase", HAS_PHASE, get_phase, "\"phase\" is neither \"prepare\" nor \"suspend\"" },
	{ "reason", HAS_REASON, get_reason, "\"reason\" is not up to 256 printable characters" },
	{ "cmdline", HAS_CMDLINE, get_cmdline, "\"cmdline\" is no string that a kernel takes" },
	{ "prepare_ms", HAS_PREPARE_MS, get_prepare_ms, "\"prepare_ms\" is no time" },
	{ "suspend_ms", HAS_SUSPEND_MS, get_suspend_ms, "\"suspend_ms\" is no time" },
	{ "session_id", HAS_SESSION_ID, get_session_id, "\"session_id\" is no session's number" },
	{ "without", HAS_WITHOUT, get_without,
	  "\"without\" is no list of up to 16 users' numbers, or ranges of them" },
	{ }
};

static struct json_object *parse_json(const char *line, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *json;

	if (!tok)
		return NULL;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	json = json_tokener_parse_ex(tok, line, len);
	if (json && (json_tokener_get_error(tok) != json_tokener_success ||
		     json_tokener_get_parse_end(tok) != len ||
		     !json_object_is_type(json, json_type_object))) {
		json_object_put(json);
		json = NULL;
	}
	json_tokener_free(tok);
	return json;
}

static bool find_op(struct request *req)
{
	struct json_object *value;
	const char *name;
	int i;

	if (!json_object_object_get_ex(req->json, "op", &value) || !get_string(value, &name))
		return false;
	for (i = 0; i < NR_OPS; i++) {
		if (!strcmp(ops[i].name, name)) {
			req->op = i;
			return true;
		}
	}
	return false;
}

static const char *get_fields(struct request *req)
{
	const struct op *op = &ops[req->op];
	struct json_object *value;
	int known = 1;	/* "op" */
	const struct field *f;

	for (f = fields; f->name; f++) {
		if (!json_object_object_get_ex(req->json, f->name, &value))
			continue;
		if (!f->get(value, req))
			return f->wrong;
		if (!(f->bit & (op->needs | op->takes | HAS_ID)))
			return "a field that this \"op\" does not take";
		req->has |= f->bit;
		known++;
	}
	if (op->needs & ~req->has)
		return "a field that this \"op\" needs is not there";
	if (known != json_object_object_length(req->json))
		return "a field that nobody knows";
	return NULL;
}

/**
 * request_parse - make a request from a line
 * @req: set in any case; to be freed
 * @line: the line
 * @len: its length, without the newline
 * @why: what is wrong with it
 *
 * An answer to a request that is wrong can have the request's id if @req has
 * one.
 *
 * Return: 0; -EBADMSG for what is no JSON object, -EOPNOTSUPP for an unknown
 * operation, -EINVAL for wrong fields.
 */
int request_parse(struct request *req, const char *line, size_t len, const char **why)
{
	struct json_object *id;

	*req = (struct request) { .json = parse_json(line, len) };
	if (!req->json) {
		*why = "not a JSON object in one line";
		return -EBADMSG;
	}
	if (json_object_object_get_ex(req->json, "id", &id) && get_id(id, req))
		req->has = HAS_ID;
	if (!find_op(req)) {
		*why = "no \"op\" that this luod knows";
		return -EOPNOTSUPP;
	}
	*why = get_fields(req);
	return *why ? -EINVAL : 0;
}

void request_free(struct request *req)
{
	json_object_put(req->json);
	req->json = NULL;
}
