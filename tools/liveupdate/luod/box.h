/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A box: a socket that has a descriptor under way to it. Whoever keeps the box keeps
 * what is in it; who has a copy of it can take that out, and then it is closed,
 * whether the other copies are still there or not. One of datagrams: a stream would
 * hang up as soon as its other end is closed, and systemd drops what does.
 */
#ifndef LUOD_BOX_H
#define LUOD_BOX_H

int box_make(int fd);
int box_look(int box);
void box_empty(int box);

#endif /* LUOD_BOX_H */
