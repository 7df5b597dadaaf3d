/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LUOD_SERVER_H
#define LUOD_SERVER_H

int server_listen(const char *path, unsigned int mode);
int server_start(int fd);
void server_stop(void);

#endif /* LUOD_SERVER_H */
