// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "box.h"
#include "log.h"
#include "luo.h"
#include "names.h"
#include "notify.h"
#include "sessions.h"
#include "socket.h"
#include "store.h"

/* systemd takes no longer ones. */
#define FDNAME_MAX	255

#define REMOVE_STATE	"FDSTOREREMOVE=1\nFDNAME=%s"

static const char twice[] = "it is there twice";

/* Why this is none of what luod puts there; %NULL if it is. */
static const char *check(int fd, const char *fdname, uid_t *uid,
			 char name[LUO_AGENT_NAME_SIZE])
{
	char kernel[LUO_NAME_SIZE], store[LUO_NAME_SIZE];

	if (fd == -EAGAIN)
		return "there is nothing in it";
	if (fd < 0 || luo_socket_session(fd) || luo_name(fd, kernel))
		return "there is no session in it";
	if (!name_from_kernel(kernel, uid, name))
		return "there is no client's session in it";
	name_to_store(store, *uid, name);
	if (strcmp(store, fdname))
		return "there is another session in it";
	return session_find(*uid, name) ? twice : NULL;
}

static void drop(int box, const char *fdname, const char *why)
{
	char state[sizeof(REMOVE_STATE) + FDNAME_MAX];

	log_warning("the service manager had \"%s\" in store, which is dropped: %s", fdname, why);
	snprintf(state, sizeof(state), REMOVE_STATE, fdname);
	notify_soon(state, -1);
	close(box);
}

/*
 * What is in a box, as box_look() has it. It takes a descriptor, and to know what that
 * is takes another: without those nothing can be said.
 */
static int look(int box, int *fd)
{
	int err;

	*fd = fcntl(box, F_DUPFD_CLOEXEC, 0);
	if (*fd < 0)
		return -errno;
	close(*fd);
	*fd = box_look(box);
	err = *fd < 0 ? 0 : luo_socket_session(*fd);
	return err == -ENOTTY ? 0 : err;
}

/* False if it is nothing of luod's. */
static bool take_back(int box, const char *fdname)
{
	char name[LUO_AGENT_NAME_SIZE];
	const char *why;
	uid_t uid;
	int fd, err = look(box, &fd);

	why = err ? NULL : check(fd, fdname, &uid, name);
	if (!err && !why) {
		if (session_keep(uid, name, fd, box)) {
			log_info("session %s of uid %u is still kept", name, uid);
			return true;
		}
		err = -ENOMEM;
	}
	if (fd >= 0)
		close(fd);
	if (why == twice)
		box_empty(box);
	if (why)
		drop(box, fdname, why);
	else
		/* It stays in the store: the next luod may have what it takes. */
		log_warning("\"%s\" from the store cannot be kept: %s", fdname, strerror(-err));
	if (err)
		close(box);
	return !why;
}

/**
 * store_take_back - take back the sessions that a luod which died had kept
 *
 * Whatever else is in the store is closed, and removed from it.
 */
void store_take_back(void)
{
	bool all = true;
	const char *name;
	int box;

	while (notify_stored_fd(&box, &name))
		all &= take_back(box, name);
	/* All of one name are removed together, the right one among them. */
	if (!all)
		sessions_store_again();
}
