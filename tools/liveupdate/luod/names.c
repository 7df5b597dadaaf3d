// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

#define PREFIX		"luod/"
#define CHARACTERS	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@:+-"

bool name_valid(const char *name)
{
	size_t len = strspn(name, CHARACTERS);

	return len && len < LUO_AGENT_NAME_SIZE && !name[len];
}

/* An order of the names of all users, as for tsearch(3). */
int name_compare(uid_t uid_a, const char *a, uid_t uid_b, const char *b)
{
	if (uid_a != uid_b)
		return uid_a < uid_b ? -1 : 1;
	return strcmp(a, b);
}

_Static_assert(sizeof(PREFIX) - 1 + sizeof("4294967295/") - 1 + LUO_AGENT_NAME_SIZE <=
	       LUO_NAME_SIZE, "every user's longest name fits");

/* @name is valid. */
void name_to_kernel(char kernel[LUO_NAME_SIZE], uid_t uid, const char *name)
{
	snprintf(kernel, LUO_NAME_SIZE, PREFIX "%u/%s", uid, name);
}

/*
 * How it is called in the service manager's store, which does without ":", and
 * whether something there is called like one.
 */
void name_to_store(char store[LUO_NAME_SIZE], uid_t uid, const char *name)
{
	name_to_kernel(store, uid, name);
	while ((store = strchr(store, ':')))
		*store = '%';
}

bool name_of_store(const char *name)
{
	return !strncmp(name, PREFIX, strlen(PREFIX));
}

/* Whether it is a session of a client, and of whom: only as we write it. */
bool name_from_kernel(const char *kernel, uid_t *uid, char name[LUO_AGENT_NAME_SIZE])
{
	char again[LUO_NAME_SIZE], *end;

	if (strncmp(kernel, PREFIX, strlen(PREFIX)))
		return false;
	*uid = strtoul(kernel + strlen(PREFIX), &end, 10);
	if (*end != '/' || !name_valid(end + 1))
		return false;
	memcpy(name, end + 1, strlen(end + 1) + 1);
	name_to_kernel(again, *uid, name);
	return !strcmp(again, kernel);
}

/* Any name of the kernel's in ASCII that means one name only. */
void name_printable(char to[NAME_PRINTABLE_SIZE], const char *kernel)
{
	const unsigned char *s;

	for (s = (const unsigned char *)kernel; *s; s++) {
		if (*s >= ' ' && *s < 0x7f && *s != '\\')
			*to++ = *s;
		else
			to += sprintf(to, "\\x%02x", *s);
	}
	*to = 0;
}
