// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "luod.h"
#include "sync.h"

static struct {
	pid_t pid;
	bool again;
	struct event *ended;
	void (*done)(void);
} child;

/*
 * All signals are blocked: libevent's handlers would write into what the child has
 * in their place. Nor does it keep anything of luod's open.
 */
static int start(void)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	child.pid = fork();
	if (!child.pid) {
		close_range(STDERR_FILENO + 1, ~0U, 0);
		sync();
		_exit(EXIT_SUCCESS);
	}
	err = child.pid < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return err;
}

static void on_ended(evutil_socket_t sig, short what, void *arg)
{
	void (*done)(void) = child.done;

	if (child.pid <= 0 || waitpid(child.pid, NULL, WNOHANG) != child.pid)
		return;
	child.pid = 0;
	if (child.again) {
		child.again = false;
		if (!start())
			return;
	}
	child.done = NULL;
	if (done)
		done();
}

static int watch_child(void)
{
	if (!child.ended)
		child.ended = evsignal_new(base, SIGCHLD, on_ended, NULL);
	return child.ended && !event_add(child.ended, NULL) ? 0 : -ENOMEM;
}

/**
 * sync_start - write out what is dirty by now
 * @done: called once, from the event loop, when that is done; can be %NULL. It
 *        takes the place of an earlier one that was not called yet
 *
 * There is one child at a time: while it is at work for an earlier call, this one
 * comes afterwards.
 *
 * Return: 0, or why there is no child: -%ENOMEM, -%EAGAIN.
 */
int sync_start(void (*done)(void))
{
	int err = watch_child();

	if (err)
		return err;
	if (child.pid > 0) {
		child.again = true;
	} else {
		err = start();
		if (err)
			return err;
	}
	child.done = done;
	return 0;
}
