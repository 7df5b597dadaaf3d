// SPDX-License-Identifier: GPL-2.0
/*
 * luoctl: control of the live update agent, see luoctl(8).
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "luoctl.h"

static const struct command {
	const char *name;
	enum { NO_ARG, NEEDS_ARG, ARG_OR_ID } arg;
	int (*run)(struct ctl *ctl, const char *arg);
} commands[] = {
	{ "status", NO_ARG, cmd_status },
	{ "load", NEEDS_ARG, cmd_load },
	{ "check", NEEDS_ARG, cmd_check },
	{ "update", NO_ARG, cmd_update },
	{ "cancel", NO_ARG, cmd_cancel },
	{ "watch", NO_ARG, cmd_watch },
	{ "sessions", NO_ARG, cmd_sessions },
	{ "show", NEEDS_ARG, cmd_show },
	{ "finish", ARG_OR_ID, cmd_finish },
	{ }
};

static const char usage[] =
	"Usage: luoctl [OPTIONS] COMMAND\n"
	"Control the live update agent, luod(8).\n"
	"\n"
	"  status          what goes on, and what came with the last update\n"
	"  load IMAGE      load the next kernel\n"
	"  check IMAGE     whether this kernel could take what is preserved\n"
	"  update          go into the kernel that is loaded\n"
	"  cancel          do not\n"
	"  watch           show an update as it goes on\n"
	"  sessions        list sessions\n"
	"  show NAME       list one\n"
	"  finish NAME     end a session from the previous kernel\n"
	"\n"
	"  -i, --initrd=FILE      load, check: the initramfs\n"
	"  -c, --cmdline=TEXT     load, check: command line, instead of this kernel's\n"
	"  -a, --append=TEXT      load, check: goes behind the command line\n"
	"      --prepare-ms=N     update: time for clients to prepare\n"
	"      --suspend-ms=N     update: time for clients to suspend\n"
	"      --without-uid=N[-M]  update: do not ask these users' clients; up to 16 times\n"
	"  -u, --uid=N            show, finish: whose session\n"
	"      --id=N             finish: the session with this ID, instead of NAME\n"
	"  -j, --json             print luod's answers\n"
	"  -s, --socket=PATH      luod's socket ($LUOD_SOCKET or " LUO_AGENT_SOCKET ")\n"
	"  -h, --help\n"
	"  -V, --version\n";

enum {
	OPT_PREPARE_MS = 256,
	OPT_SUSPEND_MS,
	OPT_WITHOUT_UID,
	OPT_ID,
};

static const struct option long_options[] = {
	{ "initrd", required_argument, NULL, 'i' },
	{ "cmdline", required_argument, NULL, 'c' },
	{ "append", required_argument, NULL, 'a' },
	{ "prepare-ms", required_argument, NULL, OPT_PREPARE_MS },
	{ "suspend-ms", required_argument, NULL, OPT_SUSPEND_MS },
	{ "without-uid", required_argument, NULL, OPT_WITHOUT_UID },
	{ "uid", required_argument, NULL, 'u' },
	{ "id", required_argument, NULL, OPT_ID },
	{ "json", no_argument, NULL, 'j' },
	{ "socket", required_argument, NULL, 's' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ }
};

static void bad_usage(const char *what, const char *arg)
{
	fprintf(stderr, "luoctl: %s%s\nSee \"luoctl --help\".\n", what, arg ?: "");
	exit(EXIT_USAGE);
}

static int64_t number(int64_t max)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(optarg, &end, 10);
	if (errno || !*optarg || *end || n < 0 || n > max)
		bad_usage("no value that fits: ", optarg);
	return n;
}

/* N, or N-M. */
static void add_without(struct ctl *ctl)
{
	uint32_t *range = ctl->without[ctl->nr_without];
	char *last = strchr(optarg, '-');

	if (ctl->nr_without++ == WITHOUT_MAX)
		bad_usage("one too many: ", optarg);
	if (last && last != optarg)
		*last++ = 0;
	else
		last = optarg;
	range[0] = number(UINT32_MAX);
	optarg = last;
	range[1] = number(UINT32_MAX);
}

static void set_option(struct ctl *ctl, int opt)
{
	switch (opt) {
	case 'i':
		ctl->initrd = optarg;
		break;
	case 'c':
		ctl->cmdline = optarg;
		break;
	case 'a':
		ctl->append = optarg;
		break;
	case OPT_PREPARE_MS:
		ctl->prepare_ms = number(INT32_MAX);
		break;
	case OPT_SUSPEND_MS:
		ctl->suspend_ms = number(INT32_MAX);
		break;
	case OPT_WITHOUT_UID:
		add_without(ctl);
		break;
	case 'u':
		ctl->uid = number(UINT32_MAX);
		break;
	case OPT_ID:
		ctl->session_id = number(INT64_MAX - 1);
		break;
	case 'j':
		ctl->json = true;
		break;
	case 's':
		ctl->socket = optarg;
		break;
	case 'h':
		fputs(usage, stdout);
		exit(EXIT_OK);
	case 'V':
		puts("luoctl 1.0");
		exit(EXIT_OK);
	default:
		bad_usage("what is this option?", NULL);
	}
}

static const struct command *find(const char *name)
{
	const struct command *command;

	if (!name)
		bad_usage("which command?", NULL);
	for (command = commands; command->name; command++)
		if (!strcmp(command->name, name))
			return command;
	bad_usage("no such command: ", name);
	return NULL;
}

static void check_arg(const struct command *command, const struct ctl *ctl, int nr)
{
	bool wants = command->arg == NEEDS_ARG ||
		     (command->arg == ARG_OR_ID && !ctl->session_id);

	if (nr < wants)
		bad_usage("what is it about: luoctl ", command->name);
	if (nr > wants)
		bad_usage("too many words behind ", command->name);
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .uid = -1 };
	const struct command *command;
	int opt, err;

	while ((opt = getopt_long(argc, argv, "i:c:a:u:js:hV", long_options, NULL)) != -1)
		set_option(&ctl, opt);
	command = find(argv[optind]);
	check_arg(command, &ctl, argc - optind - 1);
	err = luo_agent_connect(&ctl.agent, ctl.socket);
	if (err) {
		fprintf(stderr, "luoctl: luod cannot be reached at %s: %s\n",
			ctl.socket ?: getenv("LUOD_SOCKET") ?: LUO_AGENT_SOCKET, strerror(-err));
		return EXIT_NO_AGENT;
	}
	err = command->run(&ctl, argv[optind + 1]);
	luo_agent_close(ctl.agent);
	return err;
}
