/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An update, until the kernel goes.
 *
 *	idle --> prepare --> suspend --> jump --> (the next kernel)
 *	  ^         |           |          |
 *	  +---------+-----------+----------+  a client refuses, is late or gone;
 *	                                      cancel; the reboot fails
 *
 * Prepare: every client that has sessions preserves what takes long, and goes on
 * working. Suspend: when all are prepared, they stop and preserve the rest. Jump:
 * when all are suspended. A client that was asked is told when it is off. A jump
 * by systemd takes its time, and can be cancelled as long as systemd says so.
 */
#ifndef LUOD_UPDATE_H
#define LUOD_UPDATE_H

#include <stdbool.h>
#include <stdint.h>

#include "request.h"

struct conn;
struct json_object;

int update_take_over(void);
int update_start(const struct request *req, unsigned int left_out, uint64_t *number);
int update_ready(struct conn *conn, uint64_t number, enum request_phase phase);
int update_leave(struct conn *conn, uint64_t number);
int update_refuse(struct conn *conn, uint64_t number, enum request_phase phase,
		  const char *reason);
int update_cancel(const char *reason, void (*stopped)(int err));
bool update_running(void);
bool update_stands_still(void);
bool update_jumping(void);
bool update_keeps(const struct conn *conn);
bool update_in_doubt(const struct conn *conn);
void update_gone(struct conn *conn);
void update_status(struct json_object *to);

#endif /* LUOD_UPDATE_H */
