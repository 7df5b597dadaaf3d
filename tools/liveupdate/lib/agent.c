// SPDX-License-Identifier: GPL-2.0
/*
 * libluo: talking to luod(8), see luod-protocol(7).
 *
 * A line that has an "id" answers the request with this id; every other line is
 * an event. Events that come while an answer is awaited are kept in order.
 */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "luo.h"
#include "socket.h"

/* Of a line; a list of very many sessions is long. */
#define LINE_MAX_SIZE	(16UL << 20)
#define LINE_MIN_SIZE	4096

/* As a line, and for people. */
#define FORMAT		(JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* Of luod(8): is there while systemd may have its shutdown to do. */
#define JUMP_MARK	"/run/luod.jump"

/* How long an agent that is busy may take, where it has nothing to wait for. */
#define ANSWER_MS	10000

/* Descriptors that came, and whose line is not read yet. */
#define FDS_QUEUE	8

struct luo_agent {
	int socket;
	int64_t last_id;
	char *buf;
	size_t len;
	size_t size;
	int fds[FDS_QUEUE];
	unsigned int nr_fds;
	struct json_object *events;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int connect_to(const char *path)
{
	const struct timeval limit = { .tv_sec = ANSWER_MS / 1000 }, none = { };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	if (!path)
		path = getenv("LUOD_SOCKET") ?: LUO_AGENT_SOCKET;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Somebody listens, and takes nobody: that is -EAGAIN, too. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
		return fd;
	}
	err = -errno;
	close(fd);
	/* It has asked for a shutdown, and died: the kernel may go without it. */
	if ((err == -ECONNREFUSED || err == -ENOENT) && !access(JUMP_MARK, F_OK))
		return -EAGAIN;
	return err;
}

int luo_agent_connect(struct luo_agent **result, const char *path)
{
	struct luo_agent *agent = calloc(1, sizeof(*agent));
	int err = -ENOMEM;

	if (!agent)
		return err;
	agent->socket = -1;
	agent->events = json_object_new_array();
	if (agent->events)
		err = connect_to(path);
	if (err < 0) {
		luo_agent_close(agent);
		return err;
	}
	agent->socket = err;
	*result = agent;
	return 0;
}

static void drop_fds(struct luo_agent *agent)
{
	while (agent->nr_fds)
		close(agent->fds[--agent->nr_fds]);
}

void luo_agent_close(struct luo_agent *agent)
{
	if (!agent)
		return;
	drop_fds(agent);
	if (agent->socket >= 0)
		close(agent->socket);
	json_object_put(agent->events);
	free(agent->buf);
	free(agent);
}

int luo_agent_fd(const struct luo_agent *agent)
{
	return agent->socket;
}

static int grow(struct luo_agent *agent)
{
	size_t size = agent->size ? 2 * agent->size : LINE_MIN_SIZE;
	char *buf;

	if (size > LINE_MAX_SIZE)
		return -EBADMSG;
	buf = realloc(agent->buf, size);
	if (!buf)
		return -ENOMEM;
	agent->buf = buf;
	agent->size = size;
	return 0;
}

static int keep_fds(struct luo_agent *agent, const int *fds, unsigned int nr)
{
	if (agent->nr_fds + nr > FDS_QUEUE) {
		while (nr)
			close(fds[--nr]);
		return -EBADMSG;
	}
	while (nr--)
		agent->fds[agent->nr_fds++] = *fds++;
	return 0;
}

/* Wait for bytes and read them: 0, -ETIME, or why there are no more. */
static int fill(struct luo_agent *agent, int timeout_ms)
{
	struct pollfd p = { .fd = agent->socket, .events = POLLIN };
	int fds[LUO_FDS_MAX], n;
	unsigned int nr_fds;
	ssize_t got;

	if (agent->len == agent->size) {
		n = grow(agent);
		if (n)
			return n;
	}
	n = poll(&p, 1, timeout_ms);
	if (n <= 0)
		return !n ? -ETIME : errno == EINTR ? 0 : -errno;
	got = luo_socket_recv(agent->socket, agent->buf + agent->len,
			      agent->size - agent->len, fds, &nr_fds, MSG_DONTWAIT);
	if (got == -EAGAIN)
		return 0;
	if (got <= 0)
		return got ?: -ECONNRESET;
	agent->len += got;
	return keep_fds(agent, fds, nr_fds);
}

/* The first line in the buffer; NULL while there is none. */
static struct json_object *take_line(struct luo_agent *agent, int *err)
{
	char *end = agent->len ? memchr(agent->buf, '\n', agent->len) : NULL;
	struct json_object *line;

	*err = 0;
	if (!end)
		return NULL;
	*end++ = 0;
	line = json_tokener_parse(agent->buf);
	agent->len -= end - agent->buf;
	memmove(agent->buf, end, agent->len);
	if (line && json_object_is_type(line, json_type_object))
		return line;
	json_object_put(line);
	*err = -EBADMSG;
	return NULL;
}

static struct json_object *next_line(struct luo_agent *agent, int timeout_ms, int *err)
{
	int64_t end = now_ms() + timeout_ms, left = timeout_ms;
	struct json_object *line;

	for (;;) {
		line = take_line(agent, err);
		if (line || *err)
			return line;
		if (timeout_ms >= 0) {
			left = end - now_ms();
			if (left < 0)
				left = 0;
		}
		*err = fill(agent, left);
		if (*err)
			return NULL;
	}
}

static const char *get_string(struct json_object *line, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(line, key, &value) &&
	       json_object_is_type(value, json_type_string) ?
	       json_object_get_string(value) : NULL;
}

static int64_t get_number(struct json_object *line, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(line, key, &value) ?
	       json_object_get_int64(value) : 0;
}

/* An errno by its name. */
static int error_number(const char *name)
{
	const char *s;
	int i;

	for (i = 1; i < 256; i++) {
		s = strerrorname_np(i);
		if (s && !strcmp(s, name))
			return -i;
	}
	return -EPROTO;
}

static int reply_error(struct json_object *reply)
{
	const char *name = get_string(reply, "error");
	struct json_object *ok;

	if (name)
		return error_number(name);
	return json_object_object_get_ex(reply, "ok", &ok) &&
	       json_object_get_boolean(ok) ? 0 : -EBADMSG;
}

static int send_all(struct luo_agent *agent, const char *text, const int *fds,
		    unsigned int nr_fds)
{
	size_t len = strlen(text);
	ssize_t n;

	for (; len; text += n, len -= n, nr_fds = 0) {
		n = luo_socket_send(agent->socket, text, len, fds, nr_fds, 0);
		if (n < 0)
			return n == -EPIPE ? -ECONNRESET : n;
	}
	return 0;
}

static int send_request(struct luo_agent *agent, struct json_object *request,
			const int *fds, unsigned int nr_fds)
{
	struct json_object *id = json_object_new_int64(++agent->last_id);
	const char *text;
	char *line;
	int err;

	if (!id || json_object_object_add(request, "id", id))
		return -ENOMEM;
	text = json_object_to_json_string_ext(request, FORMAT);
	if (!text || asprintf(&line, "%s\n", text) < 0)
		return -ENOMEM;
	err = send_all(agent, line, fds, nr_fds);
	free(line);
	return err;
}

static int time_left(int64_t end)
{
	int64_t left = end - now_ms();

	return left > 0 ? left : 0;
}

/* The answer to the last request; a negative @timeout_ms is no limit. */
static int await_reply(struct luo_agent *agent, int timeout_ms, struct json_object **reply)
{
	int64_t end = now_ms() + timeout_ms;
	struct json_object *line;
	int err;

	for (;;) {
		line = next_line(agent, timeout_ms < 0 ? -1 : time_left(end), &err);
		if (err)
			return err == -ETIME ? -ETIMEDOUT : err;
		if (get_number(line, "id") == agent->last_id)
			break;
		if (!get_string(line, "event")) {
			json_object_put(line);
		} else if (json_object_array_add(agent->events, line)) {
			json_object_put(line);
			return -ENOMEM;
		}
	}
	*reply = line;
	return reply_error(line);
}

/* Send a request, which is used up, and get the answer in time. */
static int call_within(struct luo_agent *agent, int timeout_ms, struct json_object *request,
		       const int *fds, unsigned int nr_fds, struct json_object **reply)
{
	int err;

	*reply = NULL;
	if (!request)
		return -ENOMEM;
	/* What is left here came with another line, and is not this one's answer. */
	drop_fds(agent);
	err = send_request(agent, request, fds, nr_fds);
	json_object_put(request);
	return err ?: await_reply(agent, timeout_ms, reply);
}

/* However long it takes: what it asks for can have to wait for others. */
static int call(struct luo_agent *agent, struct json_object *request, const int *fds,
		unsigned int nr_fds, struct json_object **reply)
{
	return call_within(agent, -1, request, fds, nr_fds, reply);
}

static struct json_object *new_request(const char *op)
{
	struct json_object *request = json_object_new_object();

	if (request)
		json_object_object_add(request, "op", json_object_new_string(op));
	return request;
}

int luo_agent_call(struct luo_agent *agent, const char *text, const int *fds,
		   unsigned int nr_fds, char **result)
{
	struct json_object *request = json_tokener_parse(text), *reply;
	int err;

	*result = NULL;
	if (!json_object_is_type(request, json_type_object)) {
		json_object_put(request);
		return -EINVAL;
	}
	err = call(agent, request, fds, nr_fds, &reply);
	drop_fds(agent);
	if (!reply)
		return err;
	*result = strdup(json_object_to_json_string_ext(reply, FORMAT));
	json_object_put(reply);
	return *result ? err : -ENOMEM;
}

/* The one descriptor of an answer, if it is the session that was asked for. */
static int take_session(struct luo_agent *agent, const char *name)
{
	char kernel[LUO_NAME_SIZE];
	const char *last;
	int fd;

	if (agent->nr_fds != 1)
		return -EBADMSG;
	fd = agent->fds[0];
	if (luo_socket_session(fd) == -ENOTTY || luo_name(fd, kernel))
		return -EBADMSG;
	last = strrchr(kernel, '/');
	if (!last || strcmp(last + 1, name))
		return -EBADMSG;
	agent->nr_fds = 0;
	return fd;
}

int luo_agent_session(struct luo_agent *agent, const char *name, enum luo_origin *origin)
{
	struct json_object *request = new_request("session"), *reply;
	const char *from;
	int err;

	if (request)
		json_object_object_add(request, "name", json_object_new_string(name));
	err = call(agent, request, NULL, 0, &reply);
	if (!err) {
		from = get_string(reply, "origin");
		if (origin)
			*origin = from && !strcmp(from, "before") ? LUO_FROM_BEFORE : LUO_NEW;
		err = take_session(agent, name);
	}
	drop_fds(agent);
	json_object_put(reply);
	return err;
}

int luo_agent_attach(struct luo_agent *agent, int session)
{
	struct json_object *reply;
	int err = call_within(agent, ANSWER_MS, new_request("attach"), &session, 1, &reply);

	json_object_put(reply);
	return err;
}

int luo_agent_release(struct luo_agent *agent, const char *name)
{
	struct json_object *request = new_request("release"), *reply;
	int err;

	if (request)
		json_object_object_add(request, "name", json_object_new_string(name));
	err = call(agent, request, NULL, 0, &reply);
	json_object_put(reply);
	return err;
}

static enum luo_event_type event_type(const char *name)
{
	if (!name)
		return LUO_EVENT_NONE;
	if (!strcmp(name, "prepare"))
		return LUO_EVENT_PREPARE;
	if (!strcmp(name, "suspend"))
		return LUO_EVENT_SUSPEND;
	if (!strcmp(name, "cancel"))
		return LUO_EVENT_CANCEL;
	if (!strcmp(name, "left-out"))
		return LUO_EVENT_LEFT_OUT;
	return LUO_EVENT_NONE;
}

/* The next event: one that was kept, or one that comes. */
static struct json_object *next_event(struct luo_agent *agent, int timeout_ms, int *err)
{
	struct json_object *line;

	*err = 0;
	if (json_object_array_length(agent->events)) {
		line = json_object_get(json_object_array_get_idx(agent->events, 0));
		json_object_array_del_idx(agent->events, 0, 1);
		return line;
	}
	do {
		line = next_line(agent, timeout_ms, err);
		if (*err || get_string(line, "event"))
			return line;
		json_object_put(line);
	} while (1);
}

int luo_agent_event(struct luo_agent *agent, struct luo_event *event, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;
	struct json_object *line;
	int err;

	memset(event, 0, sizeof(*event));
	while (event->type == LUO_EVENT_NONE) {
		line = next_event(agent, timeout_ms, &err);
		if (err)
			return err == -ETIME ? 0 : err;
		event->type = event_type(get_string(line, "event"));
		event->update = get_number(line, "update");
		event->deadline_ms = get_number(line, "deadline_ms");
		json_object_put(line);
		if (timeout_ms >= 0)
			timeout_ms = end > now_ms() ? end - now_ms() : 0;
	}
	return 0;
}

int luo_agent_line(struct luo_agent *agent, char **result, int timeout_ms)
{
	struct json_object *line;
	int err;

	*result = NULL;
	line = next_event(agent, timeout_ms, &err);
	if (err)
		return err == -ETIME ? 0 : err;
	*result = strdup(json_object_to_json_string_ext(line, FORMAT));
	json_object_put(line);
	return *result ? 0 : -ENOMEM;
}

static int answer(struct luo_agent *agent, const char *op, const struct luo_event *event,
		  const char *reason)
{
	const char *phase = event->type == LUO_EVENT_SUSPEND ? "suspend" : "prepare";
	struct json_object *request = new_request(op), *reply;
	int err;

	if (request) {
		json_object_object_add(request, "update", json_object_new_int64(event->update));
		json_object_object_add(request, "phase", json_object_new_string(phase));
		if (reason)
			json_object_object_add(request, "reason",
					       json_object_new_string(reason));
	}
	err = call(agent, request, NULL, 0, &reply);
	json_object_put(reply);
	return err;
}

int luo_agent_ready(struct luo_agent *agent, const struct luo_event *event)
{
	return answer(agent, "ready", event, NULL);
}

int luo_agent_leave(struct luo_agent *agent, const struct luo_event *event)
{
	struct json_object *request = new_request("leave"), *reply;
	int err;

	if (request)
		json_object_object_add(request, "update", json_object_new_int64(event->update));
	err = call(agent, request, NULL, 0, &reply);
	json_object_put(reply);
	return err;
}

int luo_agent_refuse(struct luo_agent *agent, const struct luo_event *event,
		     const char *reason)
{
	return answer(agent, "refuse", event, reason);
}
