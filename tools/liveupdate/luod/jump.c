// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.h"
#include "jump.h"
#include "log.h"
#include "luod.h"
#include "sync.h"

/* Is there while systemd may have a shutdown to do, in case that luod dies then. */
#define MARKER		"/run/luod.jump"

/* How long all clients stand still for the sake of file systems. */
#define SYNC_MS		2000

/* systemctl only asks: it has its answer at once, or systemd is not well. */
#define ANSWER_MS	30000

enum step {
	OFF,
	ASKED,		/* systemctl start runs */
	WAITING,	/* it was accepted */
	STOPPING,	/* systemctl start is killed, then as below */
	CANCELLING,	/* systemctl cancel runs */
	SYNCING,	/* without systemd: file systems are written out */
	CALLED_OFF,	/* meanwhile; the hook is told from the event loop */
};

static struct {
	enum step step;
	pid_t pid;
	struct event *child;
	struct event *late;
	const struct jump_hooks *hooks;
	/* Why it is to be off. */
	int err;
	char reason[128];
} jump;

static bool by_systemd(void)
{
	return options.jump == JUMP_SYSTEMD ||
	       (options.jump == JUMP_AUTO && !access("/run/systemd/system", F_OK));
}

static void wait_for(enum step step, uint32_t ms)
{
	struct timeval t = to_timeval(ms);

	jump.step = step;
	event_add(jump.late, &t);
}

static void off(int err, const char *message)
{
	jump.step = OFF;
	unlink(MARKER);
	event_del(jump.late);
	jump.hooks->off(err, message);
}

static int systemctl(char *const argv[])
{
	return -posix_spawnp(&jump.pid, argv[0], NULL, NULL, argv, environ);
}

/*
 * The job itself and not "systemctl kexec": that one asks logind, which queues the
 * job when nobody delays a shutdown any more, and until then there is nothing that
 * systemctl cancel could cancel. It would load an image, too, if there were none.
 */
static int systemctl_start(void)
{
	static char *const argv[] = {
		"systemctl", "--no-block", "--job-mode=replace-irreversibly", "start",
		"kexec.target", NULL,
	};

	return systemctl(argv);
}

static int systemctl_cancel(void)
{
	static char *const argv[] = { "systemctl", "--no-ask-password", "cancel", NULL };

	return systemctl(argv);
}

static void leap(void)
{
	char message[160];
	int err;

	if (jump.step != SYNCING)
		return;
	err = image_jump();
	snprintf(message, sizeof(message), "the kernel did not go: %s; its log says more",
		 strerror(-err));
	off(err, message);
}

/* Too late for systemd to stop it, or systemd does not answer. */
static void stuck(const char *why)
{
	char message[256];

	snprintf(message, sizeof(message), "%s; %s: waiting on", jump.reason, why);
	wait_for(WAITING, options.jump_ms);
	jump.hooks->stuck(message);
}

/* All that systemd has to do now is the shutdown: so all of it is cancelled. */
static void cancel(void)
{
	uint32_t ms = options.jump_ms < ANSWER_MS ? options.jump_ms : ANSWER_MS;

	if (systemctl_cancel()) {
		/* Who asked for it is told from the event loop, as usual. */
		jump.pid = 0;
		ms = 0;
	}
	wait_for(CANCELLING, ms);
}

static void on_cancelled(int status)
{
	char message[256];

	if (status) {
		stuck("systemctl cancel does not stop the shutdown");
		return;
	}
	snprintf(message, sizeof(message),
		 "%s; systemd has cancelled it, \"systemctl default\" starts what it stopped",
		 jump.reason);
	off(jump.err, message);
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	int status = 0;

	if (jump.pid <= 0 || waitpid(jump.pid, &status, WNOHANG) != jump.pid)
		return;
	jump.pid = 0;
	if (jump.step == STOPPING)
		cancel();
	else if (jump.step == CANCELLING)
		on_cancelled(status);
	else if (jump.step == ASKED && WIFSIGNALED(status))
		jump_cancel(-ECANCELED, "systemctl start kexec.target was killed");
	else if (jump.step == ASKED && status)
		off(-ECANCELED, "systemctl start kexec.target did not accept it");
	else if (jump.step == ASKED)
		jump.step = WAITING;
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	char reason[64];

	if (jump.step == WAITING || jump.step == ASKED) {
		snprintf(reason, sizeof(reason), "the shutdown did not come within %u ms",
			 options.jump_ms);
		jump_cancel(-ETIMEDOUT, reason);
	} else if (jump.step == SYNCING) {
		log_warning("not all file systems are written out after %u ms: the kernel goes all the same",
			    SYNC_MS);
		leap();
	} else if (jump.step == CALLED_OFF) {
		off(jump.err, jump.reason);
	} else if (jump.pid > 0) {
		/* A child that is killed is one that has ended. */
		kill(jump.pid, SIGKILL);
	} else {
		stuck("systemctl cannot be run");
	}
}

static bool make_events(void)
{
	if (!jump.late)
		jump.late = evtimer_new(base, on_late, NULL);
	if (!jump.child)
		jump.child = evsignal_new(base, SIGCHLD, on_child, NULL);
	return jump.late && jump.child && !event_add(jump.child, NULL);
}

/* With a limit: one that does not answer stops nobody but its own users. */
static int sync_and_leap(const struct jump_hooks *hooks)
{
	if (!make_events())
		return -ENOMEM;
	jump.hooks = hooks;
	wait_for(SYNCING, sync_start(leap) ? 0 : SYNC_MS);
	return 0;
}

static int set_mark(void)
{
	int fd = open(MARKER, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), err;

	err = fd < 0 || close(fd) ? -errno : 0;
	if (err)
		log_warning("no shutdown is asked for without a mark: " MARKER ": %s",
			    strerror(-err));
	return err;
}

/**
 * jump_prepare - an update begins: do what need not wait for its end
 *
 * Return: 0, or why jump_start() could not succeed: there is no place for what the
 * next luod has to know if this one dies.
 */
int jump_prepare(void)
{
	int err;

	if (by_systemd()) {
		err = set_mark();
		if (!err)
			unlink(MARKER);
		return err;
	}
	/* systemd does that itself, and has a limit. */
	if (sync_start(NULL))
		log_warning("file systems are not written out before clients are suspended");
	return 0;
}

/**
 * jump_start - go into the next kernel
 * @hooks: who is told if it does not go, after 0 was returned
 *
 * Return: 0 if it is under way; why not otherwise, and nothing has changed:
 * -%ENOEXEC if no image is loaded any more, -%ENOMEM, or what the start of
 * systemctl failed with.
 */
int jump_start(const struct jump_hooks *hooks)
{
	int err;

	if (!by_systemd())
		return sync_and_leap(hooks);
	/* Without one, systemd would stop everything for an ordinary reboot. */
	if (!image_loaded())
		return -ENOEXEC;
	if (!make_events())
		return -ENOMEM;
	jump.hooks = hooks;
	err = set_mark() ?: systemctl_start();
	if (err)
		unlink(MARKER);
	else
		wait_for(ASKED, options.jump_ms);
	return err;
}

/**
 * jump_take_over - stop the shutdown that a luod which died had asked for
 * @hooks: as for jump_start()
 *
 * Its clients go on: they must not go on into the next kernel. Waits for what
 * systemd says, and for no longer than it may take to say it.
 *
 * Return: 0 if there was none, or it is off; -%EBUSY if it goes on, and a hook is
 * told what becomes of it; -%ENOMEM.
 */
int jump_take_over(const struct jump_hooks *hooks)
{
	if (access(MARKER, F_OK))
		return 0;
	if (!make_events())
		return -ENOMEM;
	jump.hooks = hooks;
	jump.err = -ECANCELED;
	snprintf(jump.reason, sizeof(jump.reason), "luod died and was started again");
	cancel();
	while (jump.step == CANCELLING)
		event_base_loop(base, EVLOOP_ONCE);
	return jump.step == OFF ? 0 : -EBUSY;
}

/**
 * jump_cancel - have systemd stop the shutdown
 * @err: what the hook is told then
 * @reason: likewise, for people
 *
 * Return: 0 if one of the hooks is told from the event loop, for systemd after its
 * answer; -%EBUSY if there is no shutdown that could be stopped.
 */
int jump_cancel(int err, const char *reason)
{
	if (jump.step == OFF)
		return -EBUSY;
	if (jump.step == STOPPING || jump.step == CANCELLING || jump.step == CALLED_OFF)
		return 0;
	jump.err = err;
	snprintf(jump.reason, sizeof(jump.reason), "%s", reason);
	if (jump.step == SYNCING) {
		wait_for(CALLED_OFF, 0);
	} else if (jump.step == ASKED && jump.pid > 0) {
		/* Whatever it has asked for is to come before the next one asks. */
		wait_for(STOPPING, ANSWER_MS);
		kill(jump.pid, SIGKILL);
	} else {
		cancel();
	}
	return 0;
}
