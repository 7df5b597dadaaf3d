/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the sessions of luod's clients are called.
 *
 * The kernel's name of a session is "luod/UID/NAME", so that no user can name
 * what is another's, and nobody's names meet those of other agents. NAME is 1
 * to 47 letters, digits or any of "._@:+-", which needs no quotes in a shell, a
 * log, JSON or the name of a unit, and leaves room for every UID in the 63
 * bytes that the kernel gives.
 */
#ifndef LUOD_NAMES_H
#define LUOD_NAMES_H

#include <stdbool.h>
#include <sys/types.h>

#include "luo.h"

/* Any byte of a kernel's name as "\xNN", and a NUL. */
#define NAME_PRINTABLE_SIZE	(4 * LUO_NAME_SIZE)

int name_compare(uid_t uid_a, const char *a, uid_t uid_b, const char *b);
bool name_valid(const char *name);
void name_to_kernel(char kernel[LUO_NAME_SIZE], uid_t uid, const char *name);
void name_to_store(char store[LUO_NAME_SIZE], uid_t uid, const char *name);
bool name_of_store(const char *name);
bool name_from_kernel(const char *kernel, uid_t *uid, char name[LUO_AGENT_NAME_SIZE]);
void name_printable(char to[NAME_PRINTABLE_SIZE], const char *kernel);

#endif /* LUOD_NAMES_H */
