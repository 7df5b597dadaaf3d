// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>

#include "luo.h"
#include "luod.h"
#include "turn.h"

/* systemd has the device for less than this, and nobody for much longer. */
#define RETRY_MS	10
#define GIVE_UP_MS	15000

static TAILQ_HEAD(, turn) line = TAILQ_HEAD_INITIALIZER(line);
static struct event *retry;

/* Run the first in line; false if it has to wait. */
static bool run_first(void)
{
	struct turn *turn = TAILQ_FIRST(&line);
	int device = luo_open(0);

	if (device == -EBUSY && clock_ms(CLOCK_MONOTONIC) < turn->deadline)
		return false;
	TAILQ_REMOVE(&line, turn, link);
	turn->run(turn, device);
	return true;
}

static void run_all(void)
{
	struct timeval t = to_timeval(RETRY_MS);

	while (!TAILQ_EMPTY(&line)) {
		if (!run_first()) {
			event_add(retry, &t);
			return;
		}
	}
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	run_all();
}

/**
 * turn_take - run with the device, now or as soon as it is free
 * @turn: what to run; has to stay until then
 */
void turn_take(struct turn *turn)
{
	bool first = TAILQ_EMPTY(&line);

	if (!retry)
		retry = evtimer_new(base, on_retry, NULL);
	turn->deadline = clock_ms(CLOCK_MONOTONIC) + GIVE_UP_MS;
	TAILQ_INSERT_TAIL(&line, turn, link);
	if (first)
		run_all();
}

/**
 * turn_give_up - leave the line
 * @turn: in it
 */
void turn_give_up(struct turn *turn)
{
	TAILQ_REMOVE(&line, turn, link);
}
