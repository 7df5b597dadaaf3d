/* SPDX-License-Identifier: GPL-2.0 */
/*
 * luod's journal: what the luod of the next kernel wants to know, a memfd in a
 * session of luod's own.
 *
 * It is made when an image is loaded or an update begins: a luod that does nothing
 * has nothing to lose, and stands in the way of no reboot.
 *
 * The file has two halves that are written in turn, each a header line with a
 * generation and a sum, and a JSON text: whenever luod dies, the last text or
 * the one before it is whole. It is made with its full size, since a preserved
 * file cannot grow, and with holes, which cost nothing.
 */
#ifndef LUOD_JOURNAL_H
#define LUOD_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

#define JOURNAL_SESSION		"luod"
#define JOURNAL_TOKEN		1
#define JOURNAL_HALF		(2UL << 20)

bool journal_make(int device);
void journal_drop(void);
int journal_write(struct json_object *json);
int journal_take(int device, struct json_object **json);
int journal_rewrite(struct json_object *json);
int journal_finish(void);

struct json_object *journal_parse(const char *half, size_t len, uint64_t *generation);

#endif /* LUOD_JOURNAL_H */
