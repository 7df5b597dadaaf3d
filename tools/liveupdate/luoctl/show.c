// SPDX-License-Identifier: GPL-2.0
/*
 * Commands that look at sessions, and at what goes on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "luoctl.h"

/* Wall clock, with milliseconds, of this day. */
static void print_time(const char *what, int64_t ms)
{
	time_t seconds = ms / 1000;
	char text[32];
	struct tm tm;

	if (!ms)
		return;
	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	printf("  %-12s %s.%03d\n", what, text, (int)(ms % 1000));
}

static void print_phases(struct json_object *from)
{
	print_time("prepare", get_number(from, "prepare_at"));
	print_time("suspend", get_number(from, "suspend_at"));
	print_time("jump", get_number(from, "jump_at"));
}

static void print_after(struct json_object *after)
{
	struct json_object *phases, *list = get_array(after, "sessions"), *s;
	size_t i;

	printf("updated from %s%s\n", get_string(after, "from") ?: "another kernel",
	       get_bool(after, "journal") ? "" : " (without a journal)");
	if (json_object_object_get_ex(after, "phases", &phases))
		print_phases(phases);
	print_time("kernel up", get_number(after, "kernel_at"));
	print_time("luod up", get_number(after, "luod_at"));
	print_time("last return", get_number(after, "returned_at"));
	printf("  sessions: %" PRId64 " waiting, %" PRId64 " returned, %" PRId64
	       " finished, %" PRId64 " lost\n",
	       get_number(after, "waiting"), get_number(after, "returned"),
	       get_number(after, "finished"), get_number(after, "lost"));
	for (i = 0; list && i < json_object_array_length(list); i++) {
		s = json_object_array_get_idx(list, i);
		printf("    %-9s uid %" PRId64 " %s\n", get_string(s, "state") ?: "",
		       get_number(s, "uid"), get_string(s, "name") ?: "");
	}
}

int cmd_status(struct ctl *ctl, const char *arg)
{
	struct json_object *reply, *after;
	int err = ctl_call(ctl, ctl_request("status"), NULL, 0, &reply);

	if (!err && !ctl->json) {
		printf("kernel %s, %s updates, %s\n", get_string(reply, "kernel") ?: "?",
		       get_string(reply, "kernel_updates") ?: "?",
		       get_string(reply, "kernel_state") ?: "state unknown");
		printf("next image: %s\n", get_bool(reply, "image") ? "loaded" : "none");
		printf("update: %s\n", get_string(reply, "state") ?: "?");
		print_phases(reply);
		if (json_object_object_get_ex(reply, "after", &after))
			print_after(after);
	}
	err = ctl_status_of(err, reply);
	json_object_put(reply);
	return err;
}

static void print_session(struct json_object *s)
{
	const char *name = get_string(s, "name") ?: get_string(s, "kernel_name");
	int64_t pid = get_number(s, "pid");

	if (get_string(s, "name"))
		printf("%10" PRId64, get_number(s, "uid"));
	else
		printf("%10s", "-");
	printf("  %-9s %6" PRId64, get_string(s, "state") ?: "?", get_number(s, "files"));
	if (pid)
		printf(" %8" PRId64, pid);
	else
		printf(" %8s", "-");
	printf(" %6" PRId64 "  %s%s%s\n", get_number(s, "session_id"), name ?: "?",
	       get_bool(s, "older") ? " (older)" : "", get_bool(s, "kept") ? " (kept)" : "");
}

static void print_sessions(struct json_object *reply)
{
	struct json_object *list = get_array(reply, "sessions");
	size_t i, n = list ? json_object_array_length(list) : 0;

	printf("%10s  %-9s %6s %8s %6s  %s\n", "UID", "STATE", "FILES", "PID", "ID", "NAME");
	for (i = 0; i < n; i++)
		print_session(json_object_array_get_idx(list, i));
}

static int list(struct ctl *ctl, struct json_object *request)
{
	struct json_object *reply;
	int err = ctl_call(ctl, request, NULL, 0, &reply);

	if (!err && !ctl->json)
		print_sessions(reply);
	err = ctl_status_of(err, reply);
	json_object_put(reply);
	return err;
}

int cmd_sessions(struct ctl *ctl, const char *arg)
{
	return list(ctl, ctl_request("sessions"));
}

static struct json_object *request_for(struct ctl *ctl, const char *op, const char *name)
{
	struct json_object *request = ctl_request(op);

	if (name)
		json_object_object_add(request, "name", json_object_new_string(name));
	if (ctl->uid >= 0)
		json_object_object_add(request, "uid", json_object_new_int64(ctl->uid));
	if (ctl->session_id)
		json_object_object_add(request, "session_id",
				       json_object_new_int64(ctl->session_id));
	return request;
}

int cmd_show(struct ctl *ctl, const char *name)
{
	return list(ctl, request_for(ctl, "show", name));
}

int cmd_finish(struct ctl *ctl, const char *name)
{
	struct json_object *reply;
	int err = ctl_call(ctl, request_for(ctl, "finish", name), NULL, 0, &reply);

	err = ctl_status_of(err, reply);
	json_object_put(reply);
	return err;
}
