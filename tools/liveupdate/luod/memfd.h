/* SPDX-License-Identifier: GPL-2.0 */
/*
 * luod's own files in memory.
 */
#ifndef LUOD_MEMFD_H
#define LUOD_MEMFD_H

#include <errno.h>
#include <sys/mman.h>

/* Of Linux 6.3: the C library's headers may be older. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL	8U
#endif

/**
 * new_memfd - a file that nobody runs
 * @name: what it is called in /proc
 * @flags: for memfd_create(2), beyond what all of them have
 *
 * With vm.memfd_noexec=2 there are no others.
 *
 * Return: the descriptor or a negative errno.
 */
static inline int new_memfd(const char *name, unsigned int flags)
{
	int fd = memfd_create(name, flags | MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	/* A kernel that does not know it allows others. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags | MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

#endif /* LUOD_MEMFD_H */
