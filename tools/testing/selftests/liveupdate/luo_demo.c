// SPDX-License-Identifier: GPL-2.0
/*
 * A live update to look at: a memfd with random data goes from one kernel to
 * the next, and its SHA-256 is compared.
 *
 * Lines for the spectator start with "DEMO: ". lu.demo_mib= on the kernel's
 * command line says how many MiB.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "lu_sha256.h"
#include "lu_util.h"

#define DEFAULT_MIB	64
#define SESSION		"demo"
#define TOKEN		0x1d

static void say(const char *what, const char *fmt, ...)
{
	va_list args;

	printf("DEMO: %-10s ", what);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* The time since the last call, or since the start of the program. */
static double lap(void)
{
	static double last;
	double now = seconds(CLOCK_MONOTONIC), took = last ? now - last : 0;

	last = now;
	return took;
}

static int failed(const char *what, int err)
{
	say("FAILED", "%s: %s", what, strerror(-err));
	printf("1..1\nnot ok 1 demo\n");
	return 1;
}

static void say_kernel(const char *letter)
{
	struct utsname u;

	uname(&u);
	say(letter, "%s, up for %.2f s", u.release, seconds(CLOCK_BOOTTIME));
}

/* Two lines, for a screen of 80 columns. */
static void say_digest(const char *hex)
{
	say("sha256", "%.32s", hex);
	say("", "%s  in %.2f s", hex + 32, lap());
}

static int digest(int fd, char hex[65])
{
	static uint8_t buf[64 * 1024];
	struct lu_sha256 sha;
	off_t off = 0;
	ssize_t n;

	lu_sha256_init(&sha);
	while ((n = pread(fd, buf, sizeof(buf), off)) > 0) {
		lu_sha256_update(&sha, buf, n);
		off += n;
	}
	lu_sha256_final(&sha, hex);
	return n < 0 ? -errno : 0;
}

/* A file of random data; how much was asked for on the command line. */
static int make_data(uint64_t *mib)
{
	uint64_t seed;

	*mib = lu_param_u64("lu.demo_mib") ?: DEFAULT_MIB;
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	return lu_memfd("demo", *mib * LU_MIB, seed);
}

static int before(void)
{
	char hex[65], more[128];
	int dev, session, fd, err;
	uint64_t mib;

	say_kernel("kernel A");
	lap();
	fd = make_data(&mib);
	if (fd < 0)
		return failed("memfd", fd);
	say("memfd", "%ju MiB of random data written in %.2f s", (uintmax_t)mib, lap());
	err = digest(fd, hex);
	if (err)
		return failed("read", err);
	say_digest(hex);

	dev = lu_open_dev();
	if (dev < 0)
		return failed(LU_DEVICE, dev);
	session = lu_create(dev, SESSION);
	if (session < 0)
		return failed("create session", session);
	err = lu_preserve(session, fd, TOKEN);
	if (err)
		return failed("preserve", err);
	say("preserve", "session \"%s\", token %#x, in %.3f s", SESSION, TOKEN, lap());

	snprintf(more, sizeof(more), "lu.demo_sha=%s lu.demo_left=%.3f", hex,
		 seconds(CLOCK_REALTIME));
	err = lu_load(2, more);
	if (err)
		return failed("kexec_file_load", err);
	say("load", "%s, in %.2f s", lu_next_image(), lap());
	say("kexec", "now: nothing is written to disk, no page is copied");
	return failed("reboot", lu_jump());
}

/* From the jump to here, if the clocks of both kernels agree. */
static void say_blackout(void)
{
	char left[32];
	double gap;

	if (!lu_param("lu.demo_left", left, sizeof(left)))
		return;
	gap = seconds(CLOCK_REALTIME) - atof(left);
	if (gap > 0 && gap < 3600)
		say("", "%.0f s by the wall clock since A loaded it", gap);
}

static int after(void)
{
	char hex[65], sent[65] = "";
	int dev, session, fd, err;
	bool same;

	say_kernel("kernel B");
	say_blackout();
	lap();
	dev = lu_open_dev();
	if (dev < 0)
		return failed(LU_DEVICE, dev);
	session = lu_retrieve(dev, SESSION);
	if (session < 0)
		return failed("retrieve session", session);
	fd = lu_retrieve_fd(session, TOKEN);
	if (fd < 0)
		return failed("retrieve", fd);
	say("retrieve", "session \"%s\", token %#x: %.0f MiB, in %.3f s", SESSION, TOKEN,
	    (double)lu_size(fd) / LU_MIB, lap());
	err = digest(fd, hex);
	if (err)
		return failed("read", err);
	say_digest(hex);

	lu_param("lu.demo_sha", sent, sizeof(sent));
	same = !strcmp(hex, sent);
	say("result", same ? "MATCH: the data survived the update" :
			     "DIFFERENT: the data did not survive");
	err = lu_finish(session);
	if (err)
		return failed("finish", err);
	say("finish", "the file is this process' alone, in %.3f s", lap());
	printf("1..1\n%sok 1 demo\n", same ? "" : "not ");
	return same ? 0 : 1;
}

int main(void)
{
	switch (lu_stage()) {
	case 0:
		printf("1..0 # SKIP kexecs: runs in a guest, LU_STAGE says so\n");
		return 4;
	case 1:
		return before();
	default:
		return after();
	}
}
