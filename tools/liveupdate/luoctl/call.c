// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "luoctl.h"

#define FORMAT	(JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

const char *get_string(struct json_object *from, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(from, key, &value) &&
	       json_object_is_type(value, json_type_string) ?
	       json_object_get_string(value) : NULL;
}

int64_t get_number(struct json_object *from, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(from, key, &value) ?
	       json_object_get_int64(value) : 0;
}

bool get_bool(struct json_object *from, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(from, key, &value) &&
	       json_object_get_boolean(value);
}

struct json_object *get_array(struct json_object *from, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(from, key, &value) &&
	       json_object_is_type(value, json_type_array) ? value : NULL;
}

struct json_object *ctl_request(const char *op)
{
	struct json_object *request = json_object_new_object();

	json_object_object_add(request, "op", json_object_new_string(op));
	return request;
}

/**
 * ctl_call - ask luod
 * @ctl: connected to it
 * @request: what; the reference is used up
 * @fds: descriptors that go along, @nr_fds of them
 * @nr_fds: how many
 * @reply: gets the answer, %NULL if there is none
 *
 * With --json the answer is printed.
 *
 * Return: 0 or a negative errno, luod's or one's own.
 */
int ctl_call(struct ctl *ctl, struct json_object *request, const int *fds,
	     unsigned int nr_fds, struct json_object **reply)
{
	char *text;
	int err = luo_agent_call(ctl->agent, json_object_to_json_string(request), fds, nr_fds,
				 &text);

	json_object_put(request);
	*reply = text ? json_tokener_parse(text) : NULL;
	if (*reply) {
		json_object_object_del(*reply, "id");
		if (ctl->json)
			printf("%s\n", json_object_to_json_string_ext(*reply, FORMAT));
	}
	free(text);
	return err;
}

/* The exit status for an answer; an error is told, too. */
int ctl_status_of(int err, struct json_object *reply)
{
	const char *message = reply ? get_string(reply, "message") : NULL;

	if (!err)
		return EXIT_OK;
	fprintf(stderr, "luoctl: %s\n", message ?: strerror(-err));
	return err == -ECONNRESET ? EXIT_NO_AGENT : EXIT_FAILED;
}
