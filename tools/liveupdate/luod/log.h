/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What luod has to say: lines on stderr, with a priority that systemd
 * understands, or in the kernel's log where nothing else is there yet.
 */
#ifndef LUOD_LOG_H
#define LUOD_LOG_H

#include <stdbool.h>
#include <syslog.h>

int log_to_kernel(void);
void log_line(int priority, const char *fmt, ...) __printf(2, 3);

#define log_err(...)		log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...)	log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...)		log_line(LOG_INFO, __VA_ARGS__)

#endif /* LUOD_LOG_H */
