/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sessions that luod keeps are in the service manager's store as well, see
 * "FDSTORE=1" in sd_notify(3): if luod dies, the next one has them from there.
 *
 * Each is there in a box, see box.h, so that it is luod that says when a session
 * ends, and not the moment at which the service manager gets to closing what it was
 * told to remove. All that has to be known of a session is its name, which has its
 * user in it and which the kernel tells to whoever has the descriptor. It is its name
 * in the store, too; nothing else is written down anywhere.
 *
 * The store is for this kernel only: into the next one a session goes because it is
 * open, and luod has it open until the end. systemd since 261 can carry a store over,
 * if the unit has FileDescriptorStorePreserve=yes or on-success, by preserving what is
 * in it. No kernel preserves a box, nor a session in another one. So luod.service says
 * "restart", for which systemd leaves out the whole store: it need not be emptied
 * before the jump, and luod can die until then.
 */
#ifndef LUOD_STORE_H
#define LUOD_STORE_H

void store_take_back(void);

#endif /* LUOD_STORE_H */
