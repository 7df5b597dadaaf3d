/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pages of a file that are filled through userfaultfd(2).
 */
#ifndef _LU_UFFD_H
#define _LU_UFFD_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lu_util.h"

/* A descriptor to fill the holes that @map has, which nobody touches then. */
static inline int lu_uffd_open(void *map, size_t len)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)map, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &range))
		return -errno;
	return uffd;
}

/* Put what lu_fill_mem() makes of @off and @seed into the page at @to. */
static inline int lu_uffd_copy(int uffd, void *to, off_t off, uint64_t seed)
{
	static uint64_t page[LU_PAGE / 8];
	struct uffdio_copy copy = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)page,
		.len = LU_PAGE,
	};

	lu_fill_mem(page, off, LU_PAGE, seed);
	return ioctl(uffd, UFFDIO_COPY, &copy) ? -errno : 0;
}

static inline int lu_uffd_zero(int uffd, void *to)
{
	struct uffdio_zeropage zero = {
		.range.start = (uintptr_t)to,
		.range.len = LU_PAGE,
	};

	return ioctl(uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

#endif /* _LU_UFFD_H */
