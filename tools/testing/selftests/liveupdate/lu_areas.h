/* SPDX-License-Identifier: GPL-2.0 */
/* The areas of scratch, as the kernel hands them on. */
#ifndef _LU_AREAS_H
#define _LU_AREAS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define KHO		"/sys/kernel/debug/kho/"
#define MAX_AREAS	128

/* Numbers, one or two in a line: how many lines there were. */
static inline int read_lines(const char *path, uint64_t lines[][2], int max)
{
	FILE *f = fopen(path, "re");
	char line[128];
	int n = 0;

	if (!f)
		return -errno;
	while (n < max && fgets(line, sizeof(line), f))
		if (sscanf(line, "%ji %ji", (intmax_t *)&lines[n][0],
			   (intmax_t *)&lines[n][1]) >= 1)
			n++;
	fclose(f);
	return n;
}

struct areas {
	int nr;
	uint64_t at[MAX_AREAS][2];
	uint64_t total;
	uint64_t hash;
};

static inline int read_areas(struct areas *areas)
{
	int i;

	memset(areas, 0, sizeof(*areas));
	areas->nr = read_lines(KHO "out/scratch", areas->at, MAX_AREAS);
	for (i = 0; i < areas->nr; i++) {
		areas->total += areas->at[i][1];
		areas->hash = areas->hash * 31 + areas->at[i][0] + areas->at[i][1];
	}
	return areas->nr > 0 ? 0 : -ENOENT;
}

static inline bool in_areas(const struct areas *areas, uint64_t phys)
{
	int i;

	for (i = 0; i < areas->nr; i++)
		if (phys >= areas->at[i][0] && phys - areas->at[i][0] < areas->at[i][1])
			return true;
	return false;
}

/* Both ends of it: areas may lie one after the other. */
static inline bool range_in_areas(const struct areas *areas, uint64_t start, uint64_t end)
{
	return in_areas(areas, start) && in_areas(areas, end - 1);
}

#endif /* _LU_AREAS_H */
