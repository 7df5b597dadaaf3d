// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lu_agent.h"
#include "lu_util.h"

/* Start luod where it usually is, and wait until clients can connect. */
int lu_agent_start(void)
{
	/* Guests in a guest may take long to stand still. */
	char *const argv[] = {
		"luod", "--background", "--jump=direct", "--suspend-ms=60000", NULL,
	};

	return lu_run(argv);
}

/* Load the kernel of the next stage, with @more on its command line. */
int lu_agent_load_next(const char *more)
{
	char cmdline[2048], image[64];
	char *const argv[] = {
		"luoctl", "load", image, "--initrd=/host/initrd", "--cmdline", cmdline, NULL,
	};
	int err = lu_cmdline(cmdline, sizeof(cmdline), lu_stage() + 1, more);

	snprintf(image, sizeof(image), "%s", lu_next_image());
	return err ?: lu_run(argv);
}

/* Begin an update: luoctl, which ends only if there is none. */
pid_t lu_agent_update(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		execlp("luoctl", "luoctl", "update", NULL);
		_exit(127);
	}
	return pid < 0 ? -errno : pid;
}
