/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Dirty data goes out before the kernel does, in a child: sync(2) waits for every
 * file system there is, also for one whose server or disk does not answer.
 */
#ifndef LUOD_SYNC_H
#define LUOD_SYNC_H

int sync_start(void (*done)(void));

#endif /* LUOD_SYNC_H */
