/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LUOD_SERVER_H
#define LUOD_SERVER_H

/* There is one kernel to update, so there is one luod. */
#define SERVER_LOCK	"/run/luod.lock"

int server_lock(void);
int server_listen(const char *path, unsigned int mode);
int server_start(int fd);
void server_stop(void);

#endif /* LUOD_SERVER_H */
