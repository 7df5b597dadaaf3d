// SPDX-License-Identifier: GPL-2.0
/*
 * The requests of /dev/liveupdate as functions, and test contents.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lu_util.h"

#define LU_CHUNK	(64 * LU_KIB)

int lu_open_dev(void)
{
	int fd = open(LU_DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int lu_create(int dev, const char *name)
{
	struct liveupdate_ioctl_create_session arg = { .size = sizeof(arg), .fd = -1 };

	snprintf((char *)arg.name, sizeof(arg.name), "%s", name);
	return ioctl(dev, LIVEUPDATE_IOCTL_CREATE_SESSION, &arg) ? -errno : arg.fd;
}

int lu_retrieve(int dev, const char *name)
{
	struct liveupdate_ioctl_retrieve_session arg = { .size = sizeof(arg), .fd = -1 };

	snprintf((char *)arg.name, sizeof(arg.name), "%s", name);
	return ioctl(dev, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &arg) ? -errno : arg.fd;
}

int lu_preserve(int session, int fd, uint64_t token)
{
	struct liveupdate_session_preserve_fd arg = {
		.size = sizeof(arg),
		.fd = fd,
		.token = token,
	};

	return ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &arg) ? -errno : 0;
}

int lu_retrieve_fd(int session, uint64_t token)
{
	struct liveupdate_session_retrieve_fd arg = {
		.size = sizeof(arg),
		.fd = -1,
		.token = token,
	};

	return ioctl(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &arg) ? -errno : arg.fd;
}

int lu_finish(int session)
{
	struct liveupdate_session_finish arg = { .size = sizeof(arg) };

	return ioctl(session, LIVEUPDATE_SESSION_FINISH, &arg) ? -errno : 0;
}

int lu_get_name(int session, char name[LIVEUPDATE_SESSION_NAME_LENGTH])
{
	struct liveupdate_session_get_name arg = { .size = sizeof(arg) };

	memset(arg.name, 0xff, sizeof(arg.name));
	if (ioctl(session, LIVEUPDATE_SESSION_GET_NAME, &arg))
		return -errno;
	memcpy(name, arg.name, sizeof(arg.name));
	return memchr(arg.name, 0, sizeof(arg.name)) ? 0 : -EILSEQ;
}

/* Cheap, for gigabytes without KVM; no two places have the same words. */
static uint64_t word_at(uint64_t index, uint64_t seed)
{
	uint64_t x = (index + 1) * 0x9e3779b97f4a7c15ULL +
		     seed * 0xbf58476d1ce4e5b9ULL;

	x ^= x >> 29;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 32;
}

/* @mem and @off are aligned to 8 bytes, @len need not be. */
void lu_fill_mem(void *mem, off_t off, size_t len, uint64_t seed)
{
	uint64_t index = off / 8, *p = mem;

	for (; len >= 8; len -= 8)
		*p++ = word_at(index++, seed);
	if (len) {
		uint64_t last = word_at(index, seed);

		memcpy(p, &last, len);
	}
}

int lu_fill(int fd, off_t off, size_t len, uint64_t seed)
{
	static uint64_t buf[LU_CHUNK / 8];
	size_t n;

	for (; len; len -= n, off += n) {
		ssize_t done;

		n = len < LU_CHUNK ? len : LU_CHUNK;
		lu_fill_mem(buf, off, n, seed);
		done = pwrite(fd, buf, n, off);
		if (done < 0)
			return -errno;
		if ((size_t)done != n)
			return -EIO;
	}
	return 0;
}

/* A memfd that can be sealed, with @size bytes of contents. */
int lu_memfd(const char *name, size_t size, uint64_t seed)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		return -errno;
	err = lu_fill(fd, 0, size, seed);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static int read_exactly(int fd, void *buf, size_t len, off_t off)
{
	ssize_t done = pread(fd, buf, len, off);

	if (done < 0)
		return -errno;
	if ((size_t)done != len) {
		fprintf(stderr, "# file ends at %#jx, read of %zu at %#jx\n",
			(intmax_t)lu_size(fd), len, (intmax_t)off);
		return -ENODATA;
	}
	return 0;
}

static int mismatch(const uint64_t *got, const uint64_t *want, size_t len, off_t off)
{
	size_t i;

	for (i = 0; i < len / 8 && got[i] == want[i]; i++)
		;
	fprintf(stderr, "# at %#jx: %016jx instead of %016jx\n",
		(intmax_t)(off + i * 8), (uintmax_t)got[i], (uintmax_t)want[i]);
	return -EILSEQ;
}

static int check(int fd, off_t off, size_t len, const uint64_t *seed)
{
	static uint64_t got[LU_CHUNK / 8], want[LU_CHUNK / 8];
	size_t n;
	int err;

	/* No more than is needed: some compare a few bytes of each page. */
	memset(want, 0, len < LU_CHUNK ? len : LU_CHUNK);
	for (; len; len -= n, off += n) {
		n = len < LU_CHUNK ? len : LU_CHUNK;
		err = read_exactly(fd, got, n, off);
		if (err)
			return err;
		if (seed)
			lu_fill_mem(want, off, n, *seed);
		if (memcmp(got, want, n))
			return mismatch(got, want, n, off);
	}
	return 0;
}

int lu_check(int fd, off_t off, size_t len, uint64_t seed)
{
	return check(fd, off, len, &seed);
}

int lu_check_zero(int fd, off_t off, size_t len)
{
	return check(fd, off, len, NULL);
}

/* Of the whole file, depends on the order of its words and on its length. */
int lu_checksum(int fd, uint64_t *sum)
{
	static uint64_t buf[LU_CHUNK / 8];
	uint64_t h = 0x6a09e667f3bcc909ULL;
	off_t off = 0, size = lu_size(fd);

	while (off < size) {
		size_t n = size - off < (off_t)LU_CHUNK ? size - off : LU_CHUNK, i;
		int err;

		if (n % 8)
			buf[n / 8] = 0;
		err = read_exactly(fd, buf, n, off);
		if (err)
			return err;
		for (i = 0; i < (n + 7) / 8; i++) {
			h = (h ^ buf[i]) * 0x9e3779b97f4a7c15ULL;
			h ^= h >> 32;
		}
		off += n;
	}
	*sum = h ^ size;
	return 0;
}

off_t lu_size(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -errno : st.st_size;
}

blkcnt_t lu_blocks(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -errno : st.st_blocks;
}

bool lu_same_file(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) &&
	       x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}
