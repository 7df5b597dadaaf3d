// SPDX-License-Identifier: GPL-2.0
/*
 * What a live update costs, phase by phase.
 *
 * This is the init of a guest, in every kernel of a chain. lu.bench= lists
 * cases as KIND:N; the kernel of stage i measures what it finds of case i - 1,
 * then makes case i and kexecs. Each case ends in a line of figures, and in one
 * for each budget that it has to keep; lu.bench_strict makes those tests, and
 * lu.bench_flat=PERCENT the ones that one of many costs no more than one of few, and
 * those on images.
 *
 * Time is the TSC. In an emulated guest with instruction counting it counts
 * instructions, one each, and goes on over the kexec.
 *
 * Only requests that every kernel with a live update has are used, so that it
 * measures any of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "../lu_util.h"
#include "lu_bench.h"

#define SESSION		"bench"
#define NOTE_SESSION	"bench-note"
#define NOTE_TOKEN	0
#define MAX_CASES	32
#define LINE		1024

struct note *note;
bool strict;
int64_t flat;

/* Of this kernel. */
static int64_t booted;			/* at the start of init */
static int64_t kept, gaps;

int64_t now(void)
{
	return __builtin_ia32_rdtsc();
}

static void end(int status)
{
	printf("LU-EXIT %d\n", status);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	sync();
	reboot(RB_AUTOBOOT);
	_exit(status);
}

/* @what failed with @err: there is nothing left to measure. */
void failed(const char *what, int err)
{
	printf("not ok %jd %s: %s\n", note ? (intmax_t)note->tests + 1 : 1, what,
	       strerror(-err));
	end(1);
}

int must(const char *what, int ret)
{
	if (ret < 0)
		failed(what, ret);
	return ret;
}

/* Before the kexec */

static const char *session_name(const struct bench_case *c, uint64_t i)
{
	static char name[32];

	if (!c->kind->sessions)
		return SESSION;
	snprintf(name, sizeof(name), SESSION "-%ju", (uintmax_t)i);
	return name;
}

static void make_note(int dev)
{
	int session = must("session for the note", lu_create(dev, NOTE_SESSION));
	int fd = must("note", sized_memfd(sizeof(*note)));
	struct note before = {};

	if (note)
		before = *note;
	memset(before.figure, 0, sizeof(before.figure));
	note = mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (note == MAP_FAILED)
		failed("note", -errno);
	*note = before;
	must("preserve the note", lu_preserve(session, fd, NOTE_TOKEN));
}

static void preserve_case(const struct bench_case *c, int dev)
{
	uint64_t i, files = case_files(c), sessions = case_sessions(c);
	int64_t *figure = note->figure, start, before;
	int *fd = calloc(files + 1, sizeof(*fd));
	int *session = calloc(sessions, sizeof(*session));

	use_up(!c->kind->scratch);
	start = now();
	for (i = 0; i < files; i++)
		fd[i] = must("make a file", c->kind->make(c->kind, c->n));
	figure[MAKE] = now() - start;
	figure[PAGES] = case_pages(c);
	if (files && !c->kind->many)
		figure[RUNS] = count_runs(fd[0], c->n * LU_MIB);

	start = now();
	for (i = 0; i < sessions; i++)
		session[i] = must("create a session", lu_create(dev, session_name(c, i)));
	figure[CREATE] = now() - start;

	figure[MOVED] = -number_in("/proc/vmstat", "pgmigrate_success");
	before = free_bytes();
	start = now();
	for (i = 0; i < files; i++)
		must("preserve a file", lu_preserve(session[i % sessions], fd[i], i));
	figure[PRESERVE] = now() - start;
	figure[MEMORY] = before - free_bytes();
	figure[MOVED] += number_in("/proc/vmstat", "pgmigrate_success");
	/* Descriptors stay open. */
	free(fd);
	free(session);
}

/* Here it is read without waiting for the host. */
static int copy_to(const char *to, const char *from)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out;
	ssize_t n = -1;

	out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (in >= 0 && out >= 0)
		while ((n = sendfile(out, in, NULL, LU_GIB)) > 0)
			;
	close(in);
	close(out);
	return n < 0 ? -errno : open(to, O_RDONLY | O_CLOEXEC);
}

static int load(int stage, int64_t *took, int64_t *bytes)
{
	int kernel = must("image", copy_to("/image", lu_next_image()));
	int initrd = must("initrd", copy_to("/initrd", "/host/initrd"));
	char cmdline[2 * LINE];
	int64_t start;
	int err;

	err = lu_cmdline(cmdline, sizeof(cmdline), stage, NULL);
	if (err)
		return err;
	*bytes = lseek(kernel, 0, SEEK_END) + lseek(initrd, 0, SEEK_END);
	start = now();
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(cmdline) + 1, cmdline, 0UL))
		err = -errno;
	*took = now() - start;
	close(kernel);
	close(initrd);
	return err;
}

static void leave(const struct bench_case *c, int stage)
{
	int dev = must(LU_DEVICE, lu_open_dev());

	make_note(dev);
	preserve_case(c, dev);
	must("load the next kernel", load(stage + 1, &note->figure[LOAD], &note->loaded));
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	note->left = now();
	failed("reboot", lu_jump());
}

/* After it */

static void touch(const struct bench_case *c, int fd)
{
	uint64_t page, pages = c->kind->many ? 1 : c->n * LU_MIB / LU_PAGE;
	size_t size = pages * LU_PAGE;
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		failed("map a file", -errno);
	for (page = 0; page < pages; page++) {
		if (!c->kind->many && page % (LU_MIB / LU_PAGE) >= c->kind->per_mib)
			continue;
		if (*(uint64_t *)(map + page * LU_PAGE) != STAMP(page))
			failed("compare the contents", -EILSEQ);
	}
	munmap(map, size);
}

/* As who has one-page files would, without a mapping. */
static void read_file(int fd)
{
	char page[LU_PAGE];
	uint64_t stamp = STAMP(0);

	if (pread(fd, page, sizeof(page), 0) != sizeof(page) ||
	    memcmp(page, &stamp, sizeof(stamp)))
		failed("compare the contents", -EILSEQ);
}

static void retrieve_case(const struct bench_case *c, int dev, int64_t *figure)
{
	uint64_t i, files = case_files(c), sessions = case_sessions(c);
	int *session = calloc(sessions, sizeof(*session));
	int *fd = calloc(files + 1, sizeof(*fd));
	int64_t start = now();

	for (i = 0; i < sessions; i++)
		session[i] = must("retrieve a session",
				  lu_retrieve(dev, session_name(c, i)));
	figure[SESSIONS] = now() - start;

	start = now();
	for (i = 0; i < files; i++)
		fd[i] = must("retrieve a file", lu_retrieve_fd(session[i % sessions], i));
	figure[FILES] = now() - start;

	start = now();
	for (i = 0; i < files; i++) {
		if (c->kind->many)
			read_file(fd[i]);
		else
			touch(c, fd[i]);
	}
	figure[TOUCH] = now() - start;

	start = now();
	for (i = 0; i < sessions; i++)
		must("finish a session", lu_finish(session[i]));
	figure[FINISH] = now() - start;

	for (i = 0; i < files; i++)
		close(fd[i]);
	for (i = 0; i < sessions; i++)
		close(session[i]);
	free(fd);
	free(session);
}

/* The figures of the kernel before are in it, @figure has those of this one. */
static void take_note(int dev, const int64_t *figure)
{
	struct note *old;
	int session, fd, i;

	session = must("retrieve the note's session", lu_retrieve(dev, NOTE_SESSION));
	fd = must("retrieve the note", lu_retrieve_fd(session, NOTE_TOKEN));
	old = mmap(NULL, sizeof(*old), PROT_READ, MAP_SHARED, fd, 0);
	if (old == MAP_FAILED)
		failed("map the note", -errno);
	note = malloc(sizeof(*note));
	*note = *old;
	munmap(old, sizeof(*old));
	for (i = 0; i < NR_FIGURES; i++)
		note->figure[i] += figure[i];
	must("finish the note's session", lu_finish(session));
	close(session);
	close(fd);
}

/*
 * How long this kernel has run when the time was @start, as its log counts it:
 * from before it finds what is preserved, and without what the kernel before
 * did. Kernels say no less than microseconds. See read_log() for what the log's
 * clock is ahead.
 */
static int64_t boot_time(int64_t start)
{
	int fd = open("/dev/kmsg", O_RDWR | O_CLOEXEC);
	char line[LINE] = "";
	long long us = 0;
	int64_t written;

	if (fd >= 0 && lseek(fd, 0, SEEK_END) >= 0 &&
	    write(fd, "<7>lu_bench", 11) == 11) {
		written = now();
		if (read(fd, line, sizeof(line) - 1) > 0 &&
		    sscanf(line, "%*[^,],%*[^,],%lld", &us) == 1)
			us -= (written - start) / 1000;
	}
	close(fd);
	return us * 1000;
}

/*
 * What the kernel has said that it found, and how far its log's clock is ahead of
 * the counter of the processor: while it boots that clock follows the ticks, and it
 * keeps what it was wrong by when it is declared stable, some ticks more or less.
 */
static void read_log(void)
{
	static char log[1 << 18];
	long long kib, runs, ahead;
	char *line;

	if (klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1) <= 0)
		return;
	for (line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
		if (sscanf(line, "%*[^]]] sched_clock: Marking stable (%*[^>]>(%*d, %lld)",
			   &ahead) == 1)
			booted -= ahead;
		line = strstr(line, "KHO: ");
		if (line && sscanf(line, "KHO: %lld KiB of the previous kernel kept, %lld runs",
				   &kib, &runs) == 2) {
			kept = kib / 4;
			gaps = runs;
		}
	}
}

static void arrive(const struct bench_case *c, int64_t start, int64_t free)
{
	int64_t figure[NR_FIGURES] = {}, pages, opened = now();
	int dev = must(LU_DEVICE, lu_open_dev());

	figure[OPEN] = now() - opened;
	retrieve_case(c, dev, figure);
	take_note(dev, figure);
	close(dev);

	note->figure[JUMP] = start - note->left;
	note->figure[BOOT] = booted;
	note->figure[KEPT] = kept;
	note->figure[GAPS] = gaps;
	if (!c->kind->make) {
		memcpy(note->base, note->figure, sizeof(note->base));
		note->base_free = free;
	} else if (note->base[JUMP]) {
		note->figure[ADDED] = note->figure[BOOT] - note->base[BOOT];
		/* What describes the pages is preserved with them. */
		pages = kept ? kept - note->base[KEPT] : note->figure[PAGES];
		note->figure[LOST] = note->base_free - free - pages * (int64_t)LU_PAGE;
	}
	print_case(c, note->figure);
	budgets(c, note->figure);
	note->before = c->kind - kinds;
	note->smaller_pages = note->figure[PAGES];
	note->smaller_preserve = note->figure[PRESERVE];
	note->smaller_files = note->figure[FILES];
}

static bool parse_case(struct bench_case *c, const char *text)
{
	size_t len = strcspn(text, ":");
	const struct kind *kind;

	for (kind = kinds; kind->name; kind++) {
		if (strncmp(kind->name, text, len) || kind->name[len])
			continue;
		c->kind = kind;
		c->n = text[len] ? strtoull(text + len + 1, NULL, 0) : 0;
		return c->n || !c->kind->make;
	}
	return false;
}

static int parse_cases(struct bench_case *cases)
{
	char line[LINE], *rest = line, *word;
	int n = 0;

	if (!lu_param("lu.bench", line, sizeof(line)))
		return 0;
	while ((word = strsep(&rest, ","))) {
		if (n == MAX_CASES || !parse_case(&cases[n++], word))
			failed(word, -EINVAL);
	}
	return n;
}

/* What an init finds empty. */
static void mount_all(void)
{
	char out[32] = "/dev/", tty[16];

	mount("proc", "/proc", "proc", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	if (lu_param("lu.out", tty, sizeof(tty)))
		strcat(out, tty);
	else
		strcat(out, "console");
	if (freopen(out, "w", stdout)) {
		struct termios raw;

		tcgetattr(STDOUT_FILENO, &raw);
		cfmakeraw(&raw);
		tcsetattr(STDOUT_FILENO, TCSANOW, &raw);
		dup2(STDOUT_FILENO, STDERR_FILENO);
	}
}

/* What only the way into the next kernel needs. */
static void mount_more(void)
{
	struct rlimit files = { 1 << 20, 1 << 20 };

	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount("host", "/host", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000");
	if (setrlimit(RLIMIT_NOFILE, &files))
		failed("RLIMIT_NOFILE", -errno);
}

int main(void)
{
	struct bench_case cases[MAX_CASES];
	int64_t start = now(), free;
	int nr, stage;

	if (getpid() != 1) {
		printf("1..0 # SKIP it is the init of a guest\n");
		return 4;
	}
	mount_all();
	booted = boot_time(start);
	free = free_bytes();
	nr = parse_cases(cases);
	stage = lu_param_u64("lu.stage") ?: 1;
	strict = lu_param_u64("lu.bench_strict");
	flat = lu_param_u64("lu.bench_flat");
	mount_more();
	read_log();
	if (stage == 1)
		printf("TAP version 13\n");
	if (stage > 1 && stage <= nr + 1)
		arrive(&cases[stage - 2], start, free);
	if (stage <= nr)
		leave(&cases[stage - 1], stage);
	end(!note || note->failures);
}
