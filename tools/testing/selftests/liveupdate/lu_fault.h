/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Faults on order: the N-th allocation or access to user memory of a system
 * call fails. And what there is to compare afterwards: a picture of all that
 * live update holds, and the kernel's search for leaks.
 */
#ifndef _LU_FAULT_H
#define _LU_FAULT_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest.h"
#include "lu_monitor.h"
#include "lu_util.h"

#define LU_KMEMLEAK	"/sys/kernel/debug/kmemleak"
#define LU_PICTURE	(512 * 1024)

/* Every allocation can fail, whatever its size, and none says so. */
static inline int lu_fault_init(void)
{
	static const char * const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "fail_usercopy/verbose", "0" },
	};
	char path[128];
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		err = lu_write_file(path, settings[i][1]);
		if (err)
			return err;
	}
	return 0;
}

/* A descriptor for lu_fault_arm() in this thread. */
static inline int lu_fault_open(void)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static inline int lu_fault_arm(int fd, unsigned int nth)
{
	char buf[16];
	int n = snprintf(buf, sizeof(buf), "%u", nth);

	return pwrite(fd, buf, n, 0) == n ? 0 : -errno;
}

/*
 * Whether the fault came since it was ordered. Asking can be hit by it in turn,
 * and then it did not come before.
 */
static inline bool lu_fault_came(int fd)
{
	char buf[16] = "";
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

	if (n > 0 && atoi(buf) > 0)
		lu_fault_arm(fd, 0);
	return n > 0 && atoi(buf) == 0;
}

static inline size_t lu_picture_add(char *buf, size_t len, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return len;
	while (len < LU_PICTURE - 1 &&
	       (n = read(fd, buf + len, LU_PICTURE - 1 - len)) > 0)
		len += n;
	close(fd);
	buf[len] = 0;
	return len;
}

/*
 * Sessions, files, numbers, preserved pages, open descriptors and what lu_memory()
 * says in @buf, which has LU_PICTURE bytes.
 */
static inline void lu_picture(char *buf)
{
	static const char * const files[] = {
		LU_LINES,
		LU_SYSFS "state",
		LU_SYSFS "incoming/sessions",
		LU_SYSFS "incoming/files",
		LU_SYSFS "outgoing/sessions",
		LU_SYSFS "outgoing/files",
		LU_KHO_PAGES,
	};
	char memory[LU_MEMORY];
	size_t len = 0, i;

	for (i = 0; i < ARRAY_SIZE(files); i++)
		len = lu_picture_add(buf, len, files[i]);
	snprintf(buf + len, LU_PICTURE - len, "%d descriptors, %s\n", lu_count_fds(),
		 lu_memory(memory));
}

/*
 * Lines about memory that nobody refers to any more, as far as the kernel looks
 * for it. Memory must have been left alone for some seconds, and from one search
 * to the next.
 */
static inline int lu_leaks(void)
{
	enum { KMEMLEAK_AGE = 6 };
	struct timespec start, now;
	int i, err, lines;

	if (access(LU_KMEMLEAK, F_OK))
		return 0;
	err = lu_write_file(LU_KMEMLEAK, "scan");
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		usleep(100000);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < KMEMLEAK_AGE);
	for (i = 0; i < 2 && !err; i++)
		err = lu_write_file(LU_KMEMLEAK, "scan");
	if (err)
		return err;
	lines = lu_count_lines(LU_KMEMLEAK, "");
	if (lines) {
		char *text = malloc(LU_PICTURE);

		lu_picture_add(text, 0, LU_KMEMLEAK);
		printf("%s", text);
		free(text);
	}
	return lines;
}

#endif /* _LU_FAULT_H */
