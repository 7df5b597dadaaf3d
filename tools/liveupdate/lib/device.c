// SPDX-License-Identifier: GPL-2.0
/*
 * libluo: requests on /dev/liveupdate.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/liveupdate.h>

#include "luo.h"

/*
 * A file is about to be closed when inotify says so: the device can still be
 * busy for a moment after the event, and is tried again after this long.
 */
#define RETRY_MS	10

_Static_assert(LUO_NAME_SIZE == LIVEUPDATE_SESSION_NAME_LENGTH, "one size");
_Static_assert((int)LUO_SESSION_OUTGOING == (int)LIVEUPDATE_SESSION_STATE_OUTGOING &&
	       (int)LUO_SESSION_INCOMING == (int)LIVEUPDATE_SESSION_STATE_INCOMING &&
	       (int)LUO_SESSION_HELD == (int)LIVEUPDATE_SESSION_STATE_HELD, "one meaning");

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int try_open(void)
{
	int fd = open(LUO_DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Somebody closes the device, or it is time to try again. */
static void wait_for_turn(int watch, int64_t left)
{
	struct pollfd p = { .fd = watch, .events = POLLIN };
	char buf[4096];

	if (poll(&p, 1, left < 0 || left > RETRY_MS ? RETRY_MS : (int)left) == 1)
		while (read(watch, buf, sizeof(buf)) > 0)
			;
}

int luo_open(int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms, left = -1;
	int fd = try_open(), watch;

	if (fd != -EBUSY || !timeout_ms)
		return fd;
	/* Without a watch, poll() on -1 is a plain timeout. */
	watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch >= 0)
		inotify_add_watch(watch, LUO_DEVICE, IN_CLOSE);
	while ((fd = try_open()) == -EBUSY) {
		if (timeout_ms > 0) {
			left = end - now_ms();
			if (left <= 0)
				break;
		}
		wait_for_turn(watch, left);
	}
	if (watch >= 0)
		close(watch);
	return fd;
}

static int set_name(__u8 to[LUO_NAME_SIZE], const char *name)
{
	size_t len = strnlen(name, LUO_NAME_SIZE);

	if (!len || len == LUO_NAME_SIZE)
		return -EINVAL;
	memcpy(to, name, len);
	return 0;
}

int luo_create(int device, const char *name)
{
	struct liveupdate_ioctl_create_session arg = { .size = sizeof(arg), .fd = -1 };
	int err = set_name(arg.name, name);

	if (err)
		return err;
	return ioctl(device, LIVEUPDATE_IOCTL_CREATE_SESSION, &arg) ? -errno : arg.fd;
}

int luo_retrieve(int device, const char *name)
{
	struct liveupdate_ioctl_retrieve_session arg = { .size = sizeof(arg), .fd = -1 };
	int err = set_name(arg.name, name);

	if (err)
		return err;
	return ioctl(device, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &arg) ? -errno : arg.fd;
}

/*
 * Kernels without our requests say ENOTTY or, for numbers beyond their own,
 * EINVAL. There is no other reason why this one could be EINVAL.
 */
static int next(int device, struct liveupdate_ioctl_next_session *arg)
{
	if (!ioctl(device, LIVEUPDATE_IOCTL_NEXT_SESSION, arg))
		return 0;
	return errno == ENOTTY || errno == EINVAL ? -EOPNOTSUPP : -errno;
}

int luo_next(int device, struct luo_session_info *info)
{
	struct liveupdate_ioctl_next_session arg = { .size = sizeof(arg), .id = info->id };
	int err = next(device, &arg);

	if (err)
		return err;
	*info = (struct luo_session_info) {
		.id = arg.id,
		.files = arg.files,
		.state = arg.state,
		.by_name = arg.flags & LIVEUPDATE_SESSION_BY_NAME,
	};
	memcpy(info->name, arg.name, sizeof(info->name) - 1);
	return 0;
}

/* What a request by id failed with, if the kernel knows such requests. */
static int error_by_id(int device, int err)
{
	struct liveupdate_ioctl_next_session arg = { .size = sizeof(arg), .id = UINT64_MAX };

	if (err != ENOTTY && err != EINVAL)
		return -err;
	return next(device, &arg) == -EOPNOTSUPP ? -EOPNOTSUPP : -err;
}

int luo_retrieve_id(int device, uint64_t id)
{
	struct liveupdate_ioctl_retrieve_session_id arg = {
		.size = sizeof(arg),
		.fd = -1,
		.id = id,
	};

	if (ioctl(device, LIVEUPDATE_IOCTL_RETRIEVE_SESSION_ID, &arg))
		return error_by_id(device, errno);
	return arg.fd;
}

int luo_discard(int device, uint64_t id)
{
	struct liveupdate_ioctl_discard_session arg = { .size = sizeof(arg), .id = id };

	if (ioctl(device, LIVEUPDATE_IOCTL_DISCARD_SESSION, &arg))
		return error_by_id(device, errno);
	return 0;
}
