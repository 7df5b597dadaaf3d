// SPDX-License-Identifier: GPL-2.0
/*
 * Keep what comes on standard input over a live update:
 *
 *	luo_example keep SESSION	stays in the background with the session
 *	luo_example fetch SESSION	in the next kernel: prints it again
 *	luo_example wait STATE		until the machine is in this state
 *
 * This is the example of Documentation/userspace-api/liveupdate.rst.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/liveupdate.h>

#define STATE	"/sys/kernel/liveupdate/state"
#define TOKEN	1	/* what this program calls its only file */

static void copy(int from, int to)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, n) != n)
			err(1, "write");
	if (n < 0)
		err(1, "read");
}

/* Both requests have the same layout. The device is needed no longer. */
static int open_session(unsigned long request, const char *name)
{
	struct liveupdate_ioctl_create_session args = { .size = sizeof(args) };
	int dev = open("/dev/liveupdate", O_RDWR | O_CLOEXEC);

	if (dev < 0)
		err(1, "/dev/liveupdate");
	if (strlen(name) >= sizeof(args.name))
		errx(1, "%s: too long for the name of a session", name);
	memcpy(args.name, name, strlen(name));
	if (ioctl(dev, request, &args))
		err(1, "session %s", name);
	close(dev);
	return args.fd;
}

static void keep(const char *name)
{
	struct liveupdate_session_preserve_fd args = {
		.size = sizeof(args),
		.token = TOKEN,
	};
	int session = open_session(LIVEUPDATE_IOCTL_CREATE_SESSION, name);

	args.fd = memfd_create("example", MFD_CLOEXEC);
	if (args.fd < 0)
		err(1, "memfd");
	copy(STDIN_FILENO, args.fd);
	if (ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &args))
		err(1, "preserve");

	/* The session lives as long as somebody has its descriptor. */
	if (daemon(0, 0))
		err(1, "daemon");
	for (;;)
		pause();
}

static void fetch(const char *name)
{
	struct liveupdate_session_retrieve_fd args = {
		.size = sizeof(args),
		.token = TOKEN,
	};
	struct liveupdate_session_finish done = { .size = sizeof(done) };
	int session = open_session(LIVEUPDATE_IOCTL_RETRIEVE_SESSION, name);

	if (ioctl(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &args))
		err(1, "retrieve");

	/* The position came back too: behind what was written. */
	lseek(args.fd, 0, SEEK_SET);
	copy(args.fd, STDOUT_FILENO);

	/* From here on the file is an ordinary memfd of this process. */
	if (ioctl(session, LIVEUPDATE_SESSION_FINISH, &done))
		err(1, "finish");
}

static void wait_for(const char *state)
{
	struct pollfd p = { .events = POLLPRI };
	char buf[64];
	ssize_t n;

	p.fd = open(STATE, O_RDONLY | O_CLOEXEC);
	if (p.fd < 0)
		err(1, STATE);
	for (;;) {
		n = pread(p.fd, buf, sizeof(buf) - 1, 0);
		if (n < 0)
			err(1, STATE);
		buf[n] = 0;
		buf[strcspn(buf, "\n")] = 0;
		if (!strcmp(buf, state))
			return;
		poll(&p, 1, -1);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "keep"))
		keep(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "fetch"))
		fetch(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "wait"))
		wait_for(argv[2]);
	else
		errx(2, "usage: %s keep|fetch SESSION | wait STATE", argv[0]);
	return 0;
}
