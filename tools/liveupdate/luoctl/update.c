// SPDX-License-Identifier: GPL-2.0
/*
 * Commands that begin an update, end it, and look on.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "luoctl.h"

static sig_atomic_t interrupted;

/* What the last look for an event has shown. */
static bool jumping, quiet;

static void on_interrupt(int sig)
{
	interrupted = sig;
}

/* How often a signal is looked for. */
#define LOOK_MS		200

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void print_names(struct json_object *from)
{
	struct json_object *list = get_array(from, "sessions");
	size_t i;

	for (i = 0; list && i < json_object_array_length(list); i++)
		printf(" %s", json_object_get_string(json_object_array_get_idx(list, i)));
}

/* One that is absent is nothing but names of sessions. */
static void print_client(struct json_object *client)
{
	printf("%s: ", get_string(client, "state") ?: "?");
	if (get_number(client, "pid"))
		printf("process %" PRId64 " of uid %" PRId64 ", %" PRId64 " ms:",
		       get_number(client, "pid"), get_number(client, "uid"),
		       get_number(client, "ms"));
	else
		printf("uid %" PRId64 ":", get_number(client, "uid"));
	print_names(client);
	printf("\n");
}

static void print_blockers(struct json_object *event)
{
	struct json_object *list = get_array(event, "blockers");
	size_t i;

	for (i = 0; list && i < json_object_array_length(list); i++) {
		printf("           ");
		print_client(json_object_array_get_idx(list, i));
	}
}

static void print_event(struct json_object *event, int64_t start)
{
	const char *what = get_string(event, "event") ?: "";
	double seconds = (now_ms() - start) / 1000.0;

	if (!strcmp(what, "phase")) {
		printf("%8.3f s  %s\n", seconds, get_string(event, "phase") ?: "?");
	} else if (!strcmp(what, "client")) {
		printf("%8.3f s    ", seconds);
		print_client(event);
	} else if (!strcmp(what, "warning")) {
		printf("%8.3f s  %s\n", seconds, get_string(event, "message") ?: "?");
	} else if (!strcmp(what, "failed")) {
		printf("%8.3f s  failed: %s\n", seconds, get_string(event, "message") ?: "?");
		print_blockers(event);
	}
	fflush(stdout);
}

static int failure_status(struct json_object *event)
{
	struct json_object *list = get_array(event, "blockers"), *first;
	const char *state;

	first = list && json_object_array_length(list) ?
		json_object_array_get_idx(list, 0) : NULL;
	state = first ? get_string(first, "state") : NULL;
	if (state && strcmp(state, "waiting"))
		return EXIT_BLOCKED;
	if (!strcmp(get_string(event, "error") ?: "", "ECANCELED"))
		return EXIT_CANCELLED;
	return EXIT_FAILED;
}

static void cancel(struct ctl *ctl)
{
	struct json_object *reply;

	interrupted = 0;
	ctl_call(ctl, ctl_request("cancel"), NULL, 0, &reply);
	json_object_put(reply);
}

/* One event: its exit status if it is the end of update @number, or -1. */
static int one_event(struct ctl *ctl, int64_t number, int64_t start)
{
	struct json_object *event;
	int status = -1, err;
	char *line;

	err = luo_agent_line(ctl->agent, &line, LOOK_MS);
	if (err)
		return ctl_status_of(err, NULL);
	quiet = !line;
	event = line ? json_tokener_parse(line) : NULL;
	jumping |= event && !strcmp(get_string(event, "phase") ?: "", "jump");
	if (event && ctl->json)
		printf("%s\n", line);
	else if (event)
		print_event(event, start);
	if (event && number && get_number(event, "update") == number &&
	    !strcmp(get_string(event, "event") ?: "", "failed"))
		status = failure_status(event);
	fflush(stdout);
	json_object_put(event);
	free(line);
	return status;
}

static int watch(struct ctl *ctl)
{
	struct json_object *reply;
	bool json = ctl->json;
	int err;

	ctl->json = false;
	err = ctl_call(ctl, ctl_request("watch"), NULL, 0, &reply);
	ctl->json = json;
	err = ctl_status_of(err, reply);
	json_object_put(reply);
	return err;
}

static void catch_interrupts(void)
{
	struct sigaction act = { .sa_handler = on_interrupt };

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
}

static struct json_object *list_without(const struct ctl *ctl)
{
	struct json_object *list = json_object_new_array();
	struct json_object *range;
	unsigned int i;

	for (i = 0; i < ctl->nr_without; i++) {
		range = json_object_new_array();
		json_object_array_add(range, json_object_new_int64(ctl->without[i][0]));
		json_object_array_add(range, json_object_new_int64(ctl->without[i][1]));
		json_object_array_add(list, range);
	}
	return list;
}

static struct json_object *update_request(struct ctl *ctl)
{
	struct json_object *request = ctl_request("update");

	if (ctl->nr_without)
		json_object_object_add(request, "without", list_without(ctl));

	if (ctl->prepare_ms)
		json_object_object_add(request, "prepare_ms",
				       json_object_new_int64(ctl->prepare_ms));
	if (ctl->suspend_ms)
		json_object_object_add(request, "suspend_ms",
				       json_object_new_int64(ctl->suspend_ms));
	return request;
}

/*
 * All events that came before the signal have been seen. The shutdown ends luoctl like
 * everybody else, and that does not mean that there is to be none.
 */
static void on_signal(struct ctl *ctl)
{
	if (interrupted == SIGTERM && jumping) {
		signal(SIGTERM, SIG_DFL);
		raise(SIGTERM);
	}
	cancel(ctl);
}

/* Comes back only if there is no update: the next kernel knows nothing of us. */
int cmd_update(struct ctl *ctl, const char *arg)
{
	struct json_object *reply;
	int64_t start = now_ms(), number;
	int status, err;

	status = watch(ctl);
	if (status)
		return status;
	catch_interrupts();
	err = ctl_call(ctl, update_request(ctl), NULL, 0, &reply);
	number = err ? 0 : get_number(reply, "update");
	status = ctl_status_of(err, reply);
	if (err == -ENOTCONN)
		status = EXIT_BLOCKED;
	if (err && reply && !ctl->json)
		print_blockers(reply);
	if (!err && ctl->nr_without && !ctl->json)
		printf("sessions that go as they are: %" PRId64 "\n",
		       get_number(reply, "left_out"));
	json_object_put(reply);
	if (status)
		return status;
	do {
		status = one_event(ctl, number, start);
		if (interrupted && quiet && status < 0)
			on_signal(ctl);
	} while (status < 0);
	return status;
}

int cmd_cancel(struct ctl *ctl, const char *arg)
{
	struct json_object *reply;
	int err = ctl_call(ctl, ctl_request("cancel"), NULL, 0, &reply);

	err = ctl_status_of(err, reply);
	json_object_put(reply);
	return err;
}

int cmd_watch(struct ctl *ctl, const char *arg)
{
	int64_t start = now_ms();
	int status;

	status = watch(ctl);
	if (status)
		return status;
	catch_interrupts();
	do {
		status = one_event(ctl, 0, start);
	} while (status < 0 && !interrupted);
	return interrupted ? EXIT_OK : status;
}
