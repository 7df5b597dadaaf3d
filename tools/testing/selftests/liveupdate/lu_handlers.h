/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests of handlers and FLBs: those of lib/test_liveupdate.c, a module, loaded
 * when a test wants it. Its log says what they were asked.
 */
#ifndef _LU_HANDLERS_H
#define _LU_HANDLERS_H

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lu_harness.h"
#include "lu_monitor.h"

#define DIR	"/sys/kernel/debug/liveupdate_test/"
#define LOG	16384

FIXTURE(handlers)
{
	int dev;
	int stage;
};

FIXTURE_SETUP(handlers)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->dev = lu_open_dev();
}

FIXTURE_TEARDOWN(handlers)
{
	close(self->dev);
}

#define HANDLERS(name)	TEST_F_TIMEOUT(handlers, name, LU_TIMEOUT)

#define load_test()	lu_load_module("lib/test_liveupdate", "")

static inline int ctl(const char *fmt, ...)
{
	char line[80];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	return lu_write_file(DIR "ctl", line);
}

/* Whether something is asked of a handler that says nothing about order. */
static inline bool is_question(const char *line)
{
	return !strncmp(line, "can_preserve", 12) || !strncmp(line, "get_id", 6);
}

/* What was asked since the last time, without questions, is exactly @want. */
static inline bool logged(const char *want)
{
	static char log[LOG], got[LOG];
	char *rest = log, *line;
	int fd = open(DIR "log", O_RDONLY | O_CLOEXEC);
	ssize_t n, len = 0;

	while ((n = read(fd, log + len, LOG - 1 - len)) > 0)
		len += n;
	close(fd);
	log[len] = 0;
	got[0] = 0;
	while ((line = strsep(&rest, "\n"))) {
		if (!*line || is_question(line))
			continue;
		strcat(got, line);
		strcat(got, "\n");
	}
	ctl("clear");
	if (!strcmp(got, want))
		return true;
	fprintf(stderr, "# expected:\n%s# found:\n%s", want, got);
	return false;
}

/* A file of handler @nr with the number @id. */
static inline int new_file(int nr, uint64_t id)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/liveupdate_test%d", nr);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, &id, sizeof(id)) == sizeof(id) ? fd : -EIO;
}

/* It is open in the session only. The token is the number. */
static inline int add_file(int session, int nr, uint64_t id)
{
	int fd = new_file(nr, id), err;

	if (fd < 0)
		return fd;
	err = lu_preserve(session, fd, id);
	close(fd);
	return err;
}

static inline int retrieve_one(int session, uint64_t id)
{
	int fd = lu_retrieve_fd(session, id);
	uint64_t got;

	if (fd < 0)
		return fd;
	if (read(fd, &got, sizeof(got)) != sizeof(got))
		return -EIO;
	return got == id ? fd : -EILSEQ;
}

static inline pid_t in_the_background(int (*call)(int), int arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(-call(arg));
	return pid;
}

static inline int jump(int unused)
{
	return lu_jump();
}

static inline int exit_status(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif /* _LU_HANDLERS_H */
