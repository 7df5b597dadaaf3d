// SPDX-License-Identifier: GPL-2.0
/*
 * Commands about the next kernel's image. luoctl opens the files, with the
 * rights of whoever calls it, and luod gets them open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "luoctl.h"

#define CMDLINE_MAX	8192

static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fprintf(stderr, "luoctl: %s: %s\n", path, strerror(errno));
	return fd;
}

/* Words that the boot loader adds and that mean the image it loaded. */
static bool of_the_boot_loader(const char *word)
{
	return !strncmp(word, "BOOT_IMAGE=", 11) || !strncmp(word, "initrd=", 7);
}

/* The running kernel's command line, for the next one. */
static int running_cmdline(char *to, size_t size)
{
	char line[CMDLINE_MAX], *rest = line, *word;
	FILE *file = fopen("/proc/cmdline", "re");
	size_t len = 0;

	if (!file)
		return -errno;
	*to = 0;
	if (!fgets(line, sizeof(line), file))
		*line = 0;
	fclose(file);
	line[strcspn(line, "\n")] = 0;
	while ((word = strsep(&rest, " "))) {
		if (!*word || of_the_boot_loader(word))
			continue;
		len += snprintf(to + len, size - len, "%s%s", len ? " " : "", word);
		if (len >= size)
			return -E2BIG;
	}
	return 0;
}

static char *make_cmdline(struct ctl *ctl)
{
	char running[CMDLINE_MAX], *cmdline;
	int err = ctl->cmdline ? 0 : running_cmdline(running, sizeof(running));

	if (err) {
		fprintf(stderr, "luoctl: /proc/cmdline: %s\n", strerror(-err));
		return NULL;
	}
	if (asprintf(&cmdline, "%s%s%s", ctl->cmdline ?: running, ctl->append ? " " : "",
		     ctl->append ?: "") < 0)
		return NULL;
	return cmdline;
}

static int send_image(struct ctl *ctl, const char *op, const int *fds, unsigned int nr_fds,
		      struct json_object **reply)
{
	struct json_object *request;
	char *cmdline = make_cmdline(ctl);

	*reply = NULL;
	if (!cmdline)
		return -ENOMEM;
	request = ctl_request(op);
	json_object_object_add(request, "cmdline", json_object_new_string(cmdline));
	free(cmdline);
	return ctl_call(ctl, request, fds, nr_fds, reply);
}

/* The image and, if there is one, its initramfs. */
static int with_image(struct ctl *ctl, const char *op, const char *path,
		      struct json_object **reply)
{
	int fds[2] = { -1, -1 }, err = -EBADF;

	*reply = NULL;
	fds[0] = open_file(path);
	if (fds[0] >= 0 && ctl->initrd)
		fds[1] = open_file(ctl->initrd);
	if (fds[0] >= 0 && (!ctl->initrd || fds[1] >= 0))
		err = send_image(ctl, op, fds, ctl->initrd ? 2 : 1, reply);
	if (fds[0] >= 0)
		close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
	return err;
}

int cmd_load(struct ctl *ctl, const char *path)
{
	struct json_object *reply;
	int err = with_image(ctl, "load", path, &reply);

	err = !reply && err == -EBADF ? EXIT_FAILED : ctl_status_of(err, reply);
	json_object_put(reply);
	return err;
}

int cmd_check(struct ctl *ctl, const char *path)
{
	struct json_object *reply;
	int err = with_image(ctl, "check", path, &reply), status;

	if (!err && !ctl->json)
		printf("%s can take what is preserved\n", path);
	status = !reply && err == -EBADF ? EXIT_FAILED : ctl_status_of(err, reply);
	if (err == -EOPNOTSUPP || err == -ENOEXEC)
		status = EXIT_UNFIT;
	json_object_put(reply);
	return status;
}
