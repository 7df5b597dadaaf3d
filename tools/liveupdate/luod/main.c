// SPDX-License-Identifier: GPL-2.0
/*
 * luod: the live update agent, see luod(8).
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "after.h"
#include "conn.h"
#include "image.h"
#include "log.h"
#include "luo.h"
#include "luod.h"
#include "notify.h"
#include "server.h"
#include "store.h"
#include "turn.h"
#include "update.h"

/* At the start luod can wait for whoever has the device. */
#define START_MS	30000

struct options options = {
	.socket = LUO_AGENT_SOCKET,
	.socket_mode = 0600,
	.prepare_ms = 30000,
	.suspend_ms = 10000,
	.deadline_max_ms = 600000,
	.suspend_max_ms = 30000,
	.jump_ms = 600000,
	.return_ms = 60000,
	.stall_ms = 10000,
	.conns_per_user = 64,
	.sessions_per_user = 256,
	.conns = 4096,
	.sessions = 16384,
};

struct event_base *base;

enum {
	OPT_SOCKET_MODE = 256,
	OPT_PREPARE_MS,
	OPT_SUSPEND_MS,
	OPT_DEADLINE_MAX_MS,
	OPT_SUSPEND_MAX_MS,
	OPT_JUMP_MS,
	OPT_RETURN_MS,
	OPT_STALL_MS,
	OPT_CONNECTIONS,
	OPT_SESSIONS,
	OPT_ALL_CONNECTIONS,
	OPT_ALL_SESSIONS,
	OPT_JUMP,
	OPT_KMSG,
	OPT_SURVIVE,
	OPT_BACKGROUND,
	OPT_INITRAMFS,
};

static const struct option long_options[] = {
	{ "socket", required_argument, NULL, 's' },
	{ "socket-mode", required_argument, NULL, OPT_SOCKET_MODE },
	{ "prepare-ms", required_argument, NULL, OPT_PREPARE_MS },
	{ "suspend-ms", required_argument, NULL, OPT_SUSPEND_MS },
	{ "deadline-max-ms", required_argument, NULL, OPT_DEADLINE_MAX_MS },
	{ "suspend-max-ms", required_argument, NULL, OPT_SUSPEND_MAX_MS },
	{ "jump-ms", required_argument, NULL, OPT_JUMP_MS },
	{ "return-ms", required_argument, NULL, OPT_RETURN_MS },
	{ "stall-ms", required_argument, NULL, OPT_STALL_MS },
	{ "connections-per-user", required_argument, NULL, OPT_CONNECTIONS },
	{ "sessions-per-user", required_argument, NULL, OPT_SESSIONS },
	{ "connections", required_argument, NULL, OPT_ALL_CONNECTIONS },
	{ "sessions", required_argument, NULL, OPT_ALL_SESSIONS },
	{ "jump", required_argument, NULL, OPT_JUMP },
	{ "kmsg", no_argument, NULL, OPT_KMSG },
	{ "survive", no_argument, NULL, OPT_SURVIVE },
	{ "background", no_argument, NULL, OPT_BACKGROUND },
	{ "initramfs", no_argument, NULL, OPT_INITRAMFS },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ }
};

static const char usage[] =
	"Usage: luod [OPTIONS]\n"
	"The live update agent: hands out sessions, and goes into the next kernel.\n"
	"\n"
	"  -s, --socket=PATH            where clients connect (" LUO_AGENT_SOCKET ")\n"
	"      --socket-mode=OCTAL      who may connect (0600)\n"
	"      --prepare-ms=N           time for clients to prepare (30000)\n"
	"      --suspend-ms=N           time for clients to suspend (10000)\n"
	"      --deadline-max-ms=N      most that a client may ask for to prepare (600000)\n"
	"      --suspend-max-ms=N       likewise to suspend (30000)\n"
	"      --jump-ms=N              longest that a shutdown by systemd may take (600000)\n"
	"      --return-ms=N            then say who has not come back (60000)\n"
	"      --stall-ms=N             longest that a line may take (10000)\n"
	"      --connections-per-user=N (64)\n"
	"      --sessions-per-user=N    (256)\n"
	"      --connections=N          all users together (4096)\n"
	"      --sessions=N             likewise (16384)\n"
	"      --jump=auto|direct|systemd\n"
	"                               how the reboot is made\n"
	"      --kmsg                   log to the kernel's log\n"
	"      --survive                not to be killed by systemd's last SIGKILL\n"
	"      --background             return when clients can connect\n"
	"      --initramfs              the three above and --jump=direct\n"
	"  -h, --help\n"
	"  -V, --version\n";

static void die(const char *what, int err)
{
	log_err("%s: %s", what, strerror(-err));
	exit(EXIT_FAILURE);
}

static void bad_option(const char *what, const char *value)
{
	fprintf(stderr, "luod: %s is no value for %s\n", value, what);
	exit(2);
}

static unsigned long number(const char *what, const char *value, int number_base)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(value, &end, number_base);
	if (errno || !*value || *end || *value == '-' || !n || n > INT32_MAX)
		bad_option(what, value);
	return n;
}

static enum jump jump_by_name(const char *value)
{
	if (!strcmp(value, "auto"))
		return JUMP_AUTO;
	if (!strcmp(value, "direct"))
		return JUMP_DIRECT;
	if (strcmp(value, "systemd"))
		bad_option("--jump", value);
	return JUMP_SYSTEMD;
}

static uint32_t *number_option(int opt)
{
	switch (opt) {
	case OPT_PREPARE_MS:
		return &options.prepare_ms;
	case OPT_SUSPEND_MS:
		return &options.suspend_ms;
	case OPT_DEADLINE_MAX_MS:
		return &options.deadline_max_ms;
	case OPT_SUSPEND_MAX_MS:
		return &options.suspend_max_ms;
	case OPT_JUMP_MS:
		return &options.jump_ms;
	case OPT_RETURN_MS:
		return &options.return_ms;
	case OPT_STALL_MS:
		return &options.stall_ms;
	case OPT_CONNECTIONS:
		return &options.conns_per_user;
	case OPT_SESSIONS:
		return &options.sessions_per_user;
	case OPT_ALL_CONNECTIONS:
		return &options.conns;
	case OPT_ALL_SESSIONS:
		return &options.sessions;
	default:
		return NULL;
	}
}

static void set_option(int opt, const char *name)
{
	uint32_t *to = number_option(opt);

	if (to) {
		*to = number(name, optarg, 10);
		return;
	}
	switch (opt) {
	case 's':
		options.socket = optarg;
		break;
	case OPT_SOCKET_MODE:
		options.socket_mode = number(name, optarg, 8) & 0777;
		break;
	case OPT_JUMP:
		options.jump = jump_by_name(optarg);
		break;
	case OPT_KMSG:
		options.kmsg = true;
		break;
	case OPT_SURVIVE:
		options.survive = true;
		break;
	case OPT_BACKGROUND:
		options.background = true;
		break;
	case OPT_INITRAMFS:
		options.kmsg = true;
		options.survive = true;
		options.background = true;
		options.jump = JUMP_DIRECT;
		break;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	case 'V':
		puts("luod 1.0");
		exit(0);
	default:
		fputs("See \"luod --help\".\n", stderr);
		exit(2);
	}
}

static void parse_options(int argc, char **argv)
{
	int opt, index = 0;

	while ((opt = getopt_long(argc, argv, "s:hV", long_options, &index)) != -1)
		set_option(opt, opt == 's' ? "--socket" : long_options[index].name);
	/* What everybody has, everybody may ask for. */
	if (options.suspend_max_ms < options.suspend_ms)
		options.suspend_max_ms = options.suspend_ms;
	if (optind < argc) {
		fprintf(stderr, "luod: what is \"%s\"?\n", argv[optind]);
		exit(2);
	}
}

/*
 * systemd before 255 leaves processes of root alone whose name begins like this,
 * see "Storage Daemons for the Root File System" in its documentation.
 */
static void survive(char *name)
{
	if (options.survive)
		name[0] = '@';
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	/* The shutdown that luod asked for comes to luod, too. */
	if (update_jumping())
		return;
	update_cancel("luod was told to end", NULL);
	conn_flush_all();
	event_base_loopbreak(base);
}

static void catch(int sig)
{
	struct event *event = evsignal_new(base, sig, on_signal, NULL);

	if (!event || event_add(event, NULL))
		die("signals", -ENOMEM);
}

static void catch_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	/* A limit on the size of files is an error, not the end. */
	signal(SIGXFSZ, SIG_IGN);
	catch(SIGTERM);
	catch(SIGINT);
}

/* Of one process, as the kernel has it when nobody says otherwise. */
#define NR_OPEN		1048576

/* A connection has descriptors that came, that go out, and some of its own. */
#define FDS_PER_CONN	16
#define FDS_PER_SESSION	4

/*
 * A few descriptors for each session of each user. Without a service manager the
 * limit is 4096, which a dozen users reach with what each of them may have: all of
 * them together get less, so that there is always room for root.
 */
static void raise_limit(void)
{
	struct rlimit limit, most = { NR_OPEN, NR_OPEN };

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	if (limit.rlim_max >= NR_OPEN || setrlimit(RLIMIT_NOFILE, &most))
		most = (struct rlimit) { limit.rlim_max, limit.rlim_max };
	if (setrlimit(RLIMIT_NOFILE, &most))
		most = limit;
	if (options.conns > most.rlim_cur / FDS_PER_CONN)
		options.conns = most.rlim_cur / FDS_PER_CONN;
	if (options.sessions > most.rlim_cur / FDS_PER_SESSION)
		options.sessions = most.rlim_cur / FDS_PER_SESSION;
}

/* The last update, if this kernel was updated to. */
static void look_back(void)
{
	int device = luo_open(START_MS);

	if (device < 0)
		die("no live update: " LUO_DEVICE, device);
	after_start(device);
	close(device);
}

static int open_socket(void)
{
	int fd = server_lock();

	if (fd == -EWOULDBLOCK)
		die("another luod is running", fd);
	if (fd < 0)
		die(SERVER_LOCK, fd);
	fd = notify_listen_fd();
	if (fd == -EINVAL)
		die("what was passed is not one listening Unix stream socket", fd);
	if (fd != -ENOENT)
		return fd;
	fd = server_listen(options.socket, options.socket_mode);
	if (fd < 0)
		die(options.socket, fd);
	return fd;
}

/* The parent of the real one: ends when that is ready, or with it. */
static int go_to_background(void)
{
	int ready[2], null;
	char c;

	if (pipe2(ready, O_CLOEXEC))
		die("pipe", -errno);
	switch (fork()) {
	case -1:
		die("fork", -errno);
		break;
	case 0:
		close(ready[0]);
		break;
	default:
		close(ready[1]);
		_exit(read(ready[0], &c, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		if (options.kmsg)
			dup2(null, STDERR_FILENO);
	}
	/* Nothing of where it was started is held: that file system may have to go. */
	if (*options.socket == '/' && chdir("/"))
		log_warning("/: %s", strerror(errno));
	return ready[1];
}

static void say_ready(int background)
{
	notify("READY=1");
	if (background < 0)
		return;
	if (write(background, "r", 1) != 1)
		log_warning("whoever started luod is gone");
	close(background);
}

/*
 * A time that somebody is given begins when it is given, not when luod woke up: the
 * kernel may have been asked about an image since.
 */
static struct event_base *new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *made = NULL;

	if (config && !event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME))
		made = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return made;
}

int main(int argc, char **argv)
{
	int fd, background = -1;

	parse_options(argc, argv);
	survive(argv[0]);
	if (options.kmsg && log_to_kernel())
		log_warning("no /dev/kmsg: logging to stderr");
	if (options.background)
		background = go_to_background();
	raise_limit();
	base = new_base();
	if (!base || turn_start())
		die("event loop", -ENOMEM);
	catch_signals();
	fd = open_socket();
	image_start();
	if (update_take_over())
		die("the shutdown that the last luod asked for", -ENOMEM);
	/* Not before: what is called off there drops what is kept. */
	store_take_back();
	look_back();
	if (server_start(fd))
		die("socket", -ENOMEM);
	say_ready(background);
	event_base_dispatch(base);
	notify("STOPPING=1");
	server_stop();
	return EXIT_SUCCESS;
}
