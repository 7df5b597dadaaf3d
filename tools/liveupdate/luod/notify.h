/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a service manager gives, keeps and wants to know, see sd_listen_fds(3) and
 * sd_notify(3). Nothing of it has to be there.
 */
#ifndef LUOD_NOTIFY_H
#define LUOD_NOTIFY_H

#include <stdbool.h>

int notify_listen_fd(void);
bool notify_stored_fd(int *fd, const char **name);
int notify_soon(const char *state, int fd);
void notify(const char *state);

#endif /* LUOD_NOTIFY_H */
