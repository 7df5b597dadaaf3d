/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tests that go on in the next kernel: each runs once in every kernel it visits, in
 * stage 1, 2, ... All but the last end in LU_KEXEC().
 */
#ifndef _LU_LIFECYCLE_H
#define _LU_LIFECYCLE_H

#include "lu_harness.h"

FIXTURE(lifecycle)
{
	int dev;
	int stage;
};

FIXTURE_SETUP(lifecycle)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
}

FIXTURE_TEARDOWN(lifecycle)
{
	close(self->dev);
}

#define LIFECYCLE(name)		TEST_F_TIMEOUT(lifecycle, name, LU_TIMEOUT)

/* A session with one file; the file stays open in the session only. */
static inline int preserve_one(int dev, const char *name, uint64_t token, size_t size,
			       uint64_t seed)
{
	int session = lu_create(dev, name), fd, err;

	if (session < 0)
		return session;
	fd = lu_memfd(name, size, seed);
	if (fd < 0)
		return fd;
	err = lu_preserve(session, fd, token);
	close(fd);
	return err ?: session;
}

/* Retrieve a file and compare: its descriptor, or what went wrong. */
static inline int retrieve_one(int session, uint64_t token, size_t size, uint64_t seed)
{
	int fd = lu_retrieve_fd(session, token), err;

	if (fd < 0)
		return fd;
	if (lu_size(fd) != (off_t)size)
		return -ENODATA;
	err = lu_check(fd, 0, size, seed);
	return err ?: fd;
}

#endif /* _LU_LIFECYCLE_H */
