// SPDX-License-Identifier: GPL-2.0
/*
 * A client of /dev/liveupdate that has nothing but the numbers: no header of
 * the kernel's, no code of the other tests. It keeps a message over an update:
 *
 *	create, preserve, reboot; retrieve, finish
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct session_arg {
	uint32_t size;
	int32_t fd;
	uint8_t name[64];
};

struct fd_arg {
	uint32_t size;
	int32_t fd;
	uint64_t token;
};

struct finish_arg {
	uint32_t size;
	uint32_t reserved;
};

#define CREATE_SESSION		0xba00
#define RETRIEVE_SESSION	0xba01
#define PRESERVE_FD		0xba40
#define RETRIEVE_FD		0xba41
#define FINISH			0xba42
#define GET_NAME		0xba43

#define REBOOT_KEXEC		0x45584543
#define TOKEN			0x1122334455667788

static const char message[] = "written before the update, read after it";

static void die(const char *what)
{
	printf("not ok 1 %s: %s\n", what, strerror(errno));
	exit(1);
}

static int session(int dev, unsigned long request)
{
	struct session_arg arg = { .size = 72, .name = "plain" };

	if (ioctl(dev, request, &arg))
		die("session");
	return arg.fd;
}

/* The same command line, with the last word for stage 2. */
static void load(void)
{
	int kernel = open("/host/bzImage-b", O_RDONLY);
	int initrd = open("/host/initrd", O_RDONLY);
	int fd = open("/proc/cmdline", O_RDONLY);
	char line[2048];
	ssize_t n = read(fd, line, sizeof(line) - 20);

	if (n <= 0)
		die("/proc/cmdline");
	sprintf(line + n - (line[n - 1] == '\n'), " lu.stage=2");
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line, 0L))
		die("kexec_file_load");
}

static void before(int dev)
{
	struct fd_arg arg = { .size = 16, .token = TOKEN };
	int s = session(dev, CREATE_SESSION);

	arg.fd = memfd_create("message", 0);
	if (write(arg.fd, message, sizeof(message)) != sizeof(message))
		die("write");
	if (ioctl(s, PRESERVE_FD, &arg))
		die("preserve");
	load();
	syscall(SYS_reboot, 0xfee1dead, 672274793, REBOOT_KEXEC, NULL);
	die("reboot");
}

static void after(int dev)
{
	struct fd_arg arg = { .size = 16, .token = TOKEN };
	struct finish_arg finish = { .size = 8 };
	struct session_arg name = { .size = 72 };
	int s = session(dev, RETRIEVE_SESSION);
	char text[2 * sizeof(message)] = "";

	if (ioctl(s, GET_NAME, &name) || strcmp((char *)name.name, "plain"))
		die("name");
	if (ioctl(s, RETRIEVE_FD, &arg))
		die("retrieve");
	if (pread(arg.fd, text, sizeof(text), 0) != sizeof(message) || strcmp(text, message)) {
		printf("not ok 1 read \"%s\"\n", text);
		exit(1);
	}
	if (ioctl(s, FINISH, &finish))
		die("finish");
	printf("1..1\nok 1 %s\n", text);
}

int main(void)
{
	const char *stage = getenv("LU_STAGE");
	int dev;

	if (!stage) {
		printf("1..0 # SKIP kexecs: runs in a guest, LU_STAGE says so\n");
		return 4;
	}
	dev = open("/dev/liveupdate", O_RDWR);
	if (dev < 0)
		die("/dev/liveupdate");
	if (*stage == '1')
		before(dev);
	after(dev);
	return 0;
}
