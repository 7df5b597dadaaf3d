/* SPDX-License-Identifier: GPL-2.0 */
/*
 * After an update: which sessions came, who has come back for them, and what
 * nobody came for.
 */
#ifndef LUOD_AFTER_H
#define LUOD_AFTER_H

#include <stdbool.h>
#include <sys/types.h>

struct json_object;

void after_start(int device);
void after_refresh(int device);
void after_refresh_soon(void);
void after_returned(uid_t uid, const char *name);
void after_finished(uid_t uid, const char *name);
void after_status(struct json_object *to, uid_t uid, bool all);

#endif /* LUOD_AFTER_H */
