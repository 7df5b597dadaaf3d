/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Turns at /dev/liveupdate: one process at a time has the device, so luod opens
 * it for the moment of a request, and waits in line without keeping its other
 * clients waiting.
 */
#ifndef LUOD_TURN_H
#define LUOD_TURN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

/**
 * struct turn - something that needs the device
 * @run: called once, with the device, which it closes, or with why it cannot be
 *       had: -EBUSY if it was not free in time
 * @uid: for whom: users are served by turns, however many each of them has
 * @first: before those of all users
 */
struct turn {
	TAILQ_ENTRY(turn) link;
	void (*run)(struct turn *turn, int device);
	uid_t uid;
	bool first;
	uint64_t rank;
	int64_t deadline;
};

int turn_start(void);
void turn_take(struct turn *turn);
void turn_give_up(struct turn *turn);

#endif /* LUOD_TURN_H */
