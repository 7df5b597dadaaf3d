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

static TAILQ_HEAD(turn_line, turn) line = TAILQ_HEAD_INITIALIZER(line);
static struct event *next;

/* The rank of the one that was served last. */
static uint64_t served;

/* After this user's own, and as far behind those of others as there are of its own. */
static uint64_t rank_of(uid_t uid)
{
	uint64_t rank = served;
	struct turn *turn;

	TAILQ_FOREACH(turn, &line, link)
		if (!turn->first && turn->uid == uid && turn->rank > rank)
			rank = turn->rank;
	return rank + 1;
}

static void insert(struct turn *turn)
{
	struct turn *before;

	turn->rank = turn->first ? 0 : rank_of(turn->uid);
	TAILQ_FOREACH_REVERSE(before, &line, turn_line, link)
		if (before->rank <= turn->rank)
			break;
	if (before)
		TAILQ_INSERT_AFTER(&line, before, turn, link);
	else
		TAILQ_INSERT_HEAD(&line, turn, link);
}

static void run_later(uint32_t ms)
{
	struct timeval t = to_timeval(ms);

	event_add(next, &t);
}

/* Run the first in line; false if it has to wait. */
static bool run_first(void)
{
	struct turn *turn = TAILQ_FIRST(&line);
	int device = luo_open(0);

	if (device == -EBUSY && clock_ms(CLOCK_MONOTONIC) < turn->deadline)
		return false;
	TAILQ_REMOVE(&line, turn, link);
	if (!turn->first)
		served = turn->rank;
	turn->run(turn, device);
	return true;
}

/* One, however many there are: everything else has its turn, too. */
static void run_one(void)
{
	run_later(run_first() ? 0 : RETRY_MS);
}

static void on_next(evutil_socket_t fd, short what, void *arg)
{
	if (!TAILQ_EMPTY(&line))
		run_one();
}

/**
 * turn_start - before there are turns
 *
 * Return: 0 or -%ENOMEM.
 */
int turn_start(void)
{
	next = evtimer_new(base, on_next, NULL);
	return next ? 0 : -ENOMEM;
}

/**
 * turn_take - run with the device
 * @turn: what to run; has to stay until then
 *
 * Now, if the device is free and this is the first one in this turn of the event
 * loop; else from the loop, when it can be.
 */
void turn_take(struct turn *turn)
{
	turn->deadline = clock_ms(CLOCK_MONOTONIC) + GIVE_UP_MS;
	insert(turn);
	if (!evtimer_pending(next, NULL))
		run_one();
}

/**
 * turn_give_up - leave the line
 * @turn: in it
 */
void turn_give_up(struct turn *turn)
{
	TAILQ_REMOVE(&line, turn, link);
}
