// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

static int kmsg = -1;

int log_to_kernel(void)
{
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	return kmsg < 0 ? -errno : 0;
}

/*
 * One write per line, so that lines of others do not get in between. Not by
 * dprintf(3): that wants to know the position first, which the kernel's log has not.
 */
void log_line(int priority, const char *fmt, ...)
{
	char line[1024];
	ssize_t written;
	va_list args;
	size_t n;

	n = snprintf(line, sizeof(line), "<%d>%s", priority, kmsg < 0 ? "" : "luod: ");
	va_start(args, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, args);
	va_end(args);
	n = strlen(line);
	line[n++] = '\n';
	/* There is nobody who could be told that it failed. */
	written = write(kmsg < 0 ? STDERR_FILENO : kmsg, line, n);
	(void)written;
}
