/* SPDX-License-Identifier: GPL-2.0 */
/*
 * luod: what all of it knows. Calls go down only:
 *
 *	main.c, server.c			start, listen
 *	call.c, call_*.c			requests, one function each
 *	update.c, after.c			before the kexec, after it
 *	store.c					what a luod that died has left
 *	conn.c, gate.c, jump.c			lines in and out, descriptors in; the way out
 *	sessions.c, journal.c, image.c, turn.c	what luod has
 *	sync.c					file systems
 *	request.c, names.c, log.c, notify.c, box.c	leaves
 */
#ifndef LUOD_H
#define LUOD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct event_base;

/* How to get into the next kernel. */
enum jump {
	JUMP_AUTO,	/* systemd where it runs */
	JUMP_DIRECT,
	JUMP_SYSTEMD,
};

struct options {
	const char *socket;
	mode_t socket_mode;
	uint32_t prepare_ms;		/* deadlines, where nobody says another */
	uint32_t suspend_ms;
	uint32_t deadline_max_ms;	/* longest that a client may ask for, to prepare */
	uint32_t suspend_max_ms;	/* likewise, to suspend: all others stand still */
	uint32_t jump_ms;		/* longest that a shutdown may take */
	uint32_t return_ms;		/* then it is said who did not come back */
	uint32_t stall_ms;		/* longest that a line may take */
	uint32_t conns_per_user;
	uint32_t sessions_per_user;
	uint32_t conns;			/* of all users together, but for administrators */
	uint32_t sessions;		/* likewise */
	enum jump jump;
	bool kmsg;
	bool survive;
	bool background;
};

extern struct options options;
extern struct event_base *base;

static inline int64_t clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static inline struct timeval to_timeval(uint32_t ms)
{
	return (struct timeval) { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
}

#endif /* LUOD_H */
