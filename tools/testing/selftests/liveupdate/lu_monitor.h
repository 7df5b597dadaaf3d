/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The views of an administrator, for the tests of monitoring.
 */
#ifndef _LU_MONITOR_H
#define _LU_MONITOR_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lu_util.h"

#define LU_SYSFS	"/sys/kernel/liveupdate/"
#define LU_LINES	"/sys/kernel/debug/liveupdate/sessions"
#define LU_MEMFDS	"/sys/kernel/debug/liveupdate/memfds"
#define LU_TRACING	"/sys/kernel/tracing/"
#define LU_KHO_PAGES	"/sys/kernel/debug/kho/out/pages"

/* Requests. */
static inline int lu_next(int dev, struct liveupdate_ioctl_next_session *s)
{
	return ioctl(dev, LIVEUPDATE_IOCTL_NEXT_SESSION, s) ? -errno : 0;
}

static inline int lu_retrieve_id(int dev, uint64_t id)
{
	struct liveupdate_ioctl_retrieve_session_id arg = {
		.size = sizeof(arg),
		.fd = -1,
		.id = id,
	};

	return ioctl(dev, LIVEUPDATE_IOCTL_RETRIEVE_SESSION_ID, &arg) ? -errno : arg.fd;
}

static inline int lu_discard(int dev, uint64_t id)
{
	struct liveupdate_ioctl_discard_session arg = { .size = sizeof(arg), .id = id };

	return ioctl(dev, LIVEUPDATE_IOCTL_DISCARD_SESSION, &arg) ? -errno : 0;
}

/* Pages that go to the next kernel, as it is now. */
static inline long lu_preserved_pages(void)
{
	FILE *f = fopen(LU_KHO_PAGES, "re");
	unsigned long order, nr, sum = 0;

	if (!f)
		return -1;
	while (fscanf(f, "%lu %lu", &order, &nr) == 2)
		sum += nr << order;
	fclose(f);
	return sum;
}

/*
 * How far the memfd with number @ino is on its way, of @of pages: the page that
 * debugfs shows for it, -1 if it shows none.
 */
static inline int64_t lu_progress_of(const char *what, ino_t ino, uint64_t of)
{
	FILE *file = fopen(LU_MEMFDS, "re");
	uintmax_t number, page, end;
	int64_t found = -1;
	char word[16];

	while (file && fscanf(file, "%15s ino=%ju page=%ju of=%ju\n", word, &number,
			      &page, &end) == 4)
		if (!strcmp(word, what) && (number == ino || !ino) && end == of)
			found = page;
	if (file)
		fclose(file);
	return found;
}

/* A word of a file, without the newline; what went wrong otherwise. */
static inline const char *lu_state_read(int fd)
{
	static char buf[64];
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

	if (n < 0)
		return strerror(errno);
	buf[n] = 0;
	if (!n || buf[n - 1] != '\n')
		return "(no line)";
	buf[n - 1] = 0;
	return buf;
}

static inline const char *lu_sysfs(const char *name)
{
	char path[128];
	const char *word;
	int fd;

	snprintf(path, sizeof(path), LU_SYSFS "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return strerror(errno);
	word = lu_state_read(fd);
	close(fd);
	return word;
}

static inline long lu_sysfs_number(const char *name)
{
	char *end;
	const char *word = lu_sysfs(name);
	long number = strtol(word, &end, 10);

	return *word && !*end ? number : -1;
}

static inline int lu_state_open(void)
{
	int fd = open(LU_SYSFS "state", O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		lu_state_read(fd);
	return fd < 0 ? -errno : fd;
}

/* Whether the state has changed since it was read from @fd, or does in time (-1: any). */
static inline bool lu_state_wait(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };

	return poll(&p, 1, ms) == 1 && (p.revents & POLLPRI);
}

/* Lines of a file that begin with @start, or match the expression @re. */
static inline int lu_count_with(const char *path, const char *start, const regex_t *re)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t len = 0;
	int n = 0;

	if (!file)
		return -errno;
	while (getline(&line, &len, file) > 0)
		n += re ? !regexec(re, line, 0, NULL, 0) :
			  !strncmp(line, start, strlen(start));
	free(line);
	fclose(file);
	return n;
}

static inline int lu_count_lines(const char *path, const char *start)
{
	return lu_count_with(path, start, NULL);
}

/* Wait until a file has a line that begins with @start. */
static inline bool lu_await_line(const char *path, const char *start)
{
	int i;

	for (i = 0; i < LU_PATIENCE_MS / 10; i++) {
		if (lu_count_lines(path, start) > 0)
			return true;
		usleep(10000);
	}
	return false;
}

static inline int lu_count_matches(const char *path, const char *expression)
{
	regex_t re;
	int n;

	if (regcomp(&re, expression, REG_EXTENDED | REG_NOSUB | REG_NEWLINE))
		return -EINVAL;
	n = lu_count_with(path, NULL, &re);
	regfree(&re);
	return n;
}

/* Events of live update in the trace that match and took some time. */
static inline int lu_count_events(const char *expression)
{
	char whole[256];

	snprintf(whole, sizeof(whole), ": liveupdate_%s ns=[1-9]", expression);
	return lu_count_matches(LU_TRACING "trace", whole);
}

#endif /* _LU_MONITOR_H */
