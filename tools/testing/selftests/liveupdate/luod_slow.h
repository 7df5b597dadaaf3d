/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A file system with one file, LUOD_SLOW "/file", whose server need not answer.
 */
#ifndef _LUOD_SLOW_H
#define _LUOD_SLOW_H

#include <stdbool.h>

#define LUOD_SLOW	"/tmp/slow"

int luod_slow_start(const char *more);
void luod_slow_stop(void);
void luod_slow_hold(bool hold);
bool luod_slow_holds(unsigned int nr);

#endif /* _LUOD_SLOW_H */
