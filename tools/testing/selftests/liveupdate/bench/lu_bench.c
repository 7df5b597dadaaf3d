// SPDX-License-Identifier: GPL-2.0
/*
 * What a live update costs, phase by phase.
 *
 * This is the init of a guest, in every kernel of a chain. lu.bench= lists
 * cases as KIND:N; the kernel of stage i measures what it finds of case i - 1,
 * then makes case i and kexecs. Each case ends in a line of figures, and in one
 * for each budget that it has to keep; lu.bench_strict makes those tests, and
 * lu.bench_flat=PERCENT the ones that one of many costs no more than one of few.
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

#define SESSION		"bench"
#define NOTE_SESSION	"bench-note"
#define NOTE_TOKEN	0
#define MAX_CASES	32
#define LINE		1024
#define SPARED_MIB	256	/* left for the case itself and for the next image */

/* What is in the first words of page @page. */
#define STAMP(page)	((page) * 0x9e3779b97f4a7c15ULL + 1)

enum figure {
	MAKE,		/* create, size and write the files */
	CREATE,		/* sessions */
	PRESERVE,
	LOAD,
	JUMP,		/* from reboot(2) to init */
	OPEN,
	SESSIONS,	/* retrieve them */
	FILES,		/* retrieve them */
	TOUCH,		/* each page for the first time */
	FINISH,
	BOOT,		/* of JUMP: what the next kernel takes */
	ADDED,		/* to BOOT, by what is preserved */
	KEPT,		/* pages that are preserved in all, 0 if the kernel does not say */
	GAPS,		/* runs of free memory between them */
	PAGES,
	RUNS,		/* of pages that lie one after the other */
	MEMORY,		/* bytes that preserving takes */
	MOVED,		/* pages that preserving had to migrate */
	LOST,		/* bytes not free at init and not preserved */
	NR_FIGURES,
};

static const char *const figure_names[NR_FIGURES] = {
	"make", "create", "preserve", "load", "jump", "open", "sessions",
	"files", "touch", "finish", "boot", "added", "kept", "gaps", "pages", "runs",
	"memory", "moved", "lost",
};

/* In a file of its own, preserved with each case. */
struct note {
	int64_t left;			/* time of the jump */
	int64_t base[NR_FIGURES];	/* of the case without anything */
	int64_t base_free;		/* bytes at init, in that case */
	int64_t few_preserve;		/* of a file, where they were few */
	int64_t few_files;
	int64_t few_create;		/* of a session */
	int64_t few_sessions;
	int64_t before;			/* kind of the case before this one */
	int64_t smaller_pages;		/* in there, if it is of the same kind */
	int64_t smaller_preserve;
	int64_t smaller_files;
	int64_t tests;
	int64_t failures;
	int64_t figure[NR_FIGURES];
};

struct kind {
	const char *name;
	bool many;			/* files, not MiB of one */
	bool sessions;			/* each in a session of its own */
	size_t per_mib;			/* pages that are written in a MiB */
	bool scratch;			/* where nothing may stay */
	int (*make)(const struct kind *kind, uint64_t n);
};

struct bench_case {
	const struct kind *kind;
	uint64_t n;
};

static struct note *note;
static bool strict;
/* Percent; 0: what the budgets say. */
static int64_t flat;

/* Of this kernel. */
static int64_t booted;			/* at the start of init */
static int64_t kept, gaps;

static int64_t now(void)
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
static void failed(const char *what, int err)
{
	printf("not ok %jd %s: %s\n", note ? (intmax_t)note->tests + 1 : 1, what,
	       strerror(-err));
	end(1);
}

static int must(const char *what, int ret)
{
	if (ret < 0)
		failed(what, ret);
	return ret;
}

/* Making what is preserved */

static int page_of_file(int fd, uint64_t page)
{
	uint64_t word = STAMP(page);
	ssize_t n = pwrite(fd, &word, sizeof(word), page * LU_PAGE);

	return n == sizeof(word) ? 0 : n < 0 ? -errno : -EIO;
}

static int sized_memfd(uint64_t size)
{
	int fd = memfd_create("bench", MFD_CLOEXEC);

	return fd < 0 || ftruncate(fd, size) ? -errno : fd;
}

/* Every page, or the first pages of each MiB. */
static int make_pages(const struct kind *kind, uint64_t n)
{
	uint64_t page, pages = n * LU_MIB / LU_PAGE;
	int fd = sized_memfd(n * LU_MIB), err;

	for (page = 0; fd >= 0 && page < pages; page++) {
		if (page % (LU_MIB / LU_PAGE) >= kind->per_mib)
			continue;
		err = page_of_file(fd, page);
		if (err)
			return err;
	}
	return fd;
}

/* Every page of the file, every second one of memory. */
static int make_alternate(const struct kind *kind, uint64_t n)
{
	int fd = sized_memfd(n * LU_MIB), other = sized_memfd(n * LU_MIB), err;
	uint64_t page;

	if (fd < 0 || other < 0)
		return -errno;
	for (page = 0; page < n * LU_MIB / LU_PAGE; page++) {
		err = page_of_file(fd, page) ?: page_of_file(other, page);
		if (err)
			return err;
	}
	close(other);
	return fd;
}

/* The number behind a word at the start of a line. */
static long number_in(const char *path, const char *key)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kib = atol(line + strlen(key));
	if (f)
		fclose(f);
	return kib;
}

static long meminfo_kib(const char *key)
{
	return number_in("/proc/meminfo", key);
}

/*
 * Memory of scratch is given out while there is some, and what lies in there has
 * to be moved to be preserved: a cost of its own, see the case for it. The others
 * begin when there is none left.
 */
static void use_scratch_up(void)
{
	long kib, left;
	int i;

	for (i = 0; i < 8; i++) {
		char *hog;

		kib = meminfo_kib("CmaFree:");
		left = meminfo_kib("MemAvailable:") - SPARED_MIB * (LU_MIB / LU_KIB);
		if (kib > left)
			kib = left;
		if (kib < (long)(LU_MIB / LU_KIB))
			return;
		hog = mmap(NULL, kib * LU_KIB, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (hog == MAP_FAILED || madvise(hog, kib * LU_KIB, MADV_POPULATE_WRITE))
			return;
	}
}

static int make_huge(const struct kind *kind, uint64_t n)
{
	int fd = sized_memfd(n * LU_MIB);
	uint64_t page;
	char *map;

	if (fd < 0)
		return fd;
	must("huge pages of shmem",
	     lu_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise"));
	map = mmap(NULL, n * LU_MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || madvise(map, n * LU_MIB, MADV_HUGEPAGE))
		return -errno;
	for (page = 0; page < n * LU_MIB / LU_PAGE; page++)
		*(uint64_t *)(map + page * LU_PAGE) = STAMP(page);
	munmap(map, n * LU_MIB);
	return meminfo_kib("ShmemHugePages:") < (long)(n * LU_MIB / LU_KIB) ? -ENOBUFS : fd;
}

static int make_one_page(const struct kind *kind, uint64_t n)
{
	int fd = sized_memfd(LU_PAGE);
	int err = fd < 0 ? 0 : page_of_file(fd, 0);

	return err ?: fd;
}

static const struct kind kinds[] = {
	{ "none" },
	{ "contiguous", .per_mib = 256, .make = make_pages },
	{ "scratch", .per_mib = 256, .scratch = true, .make = make_pages },
	{ "alternate", .per_mib = 256, .make = make_alternate },
	{ "huge", .per_mib = 256, .make = make_huge },
	{ "sparse", .per_mib = 16, .make = make_pages },
	{ "files", .many = true, .make = make_one_page },
	{ "sessions", .many = true, .sessions = true, .make = make_one_page },
	{ }
};

static bool is_kind(const struct bench_case *c, const char *name)
{
	return !strcmp(c->kind->name, name);
}

static uint64_t case_files(const struct bench_case *c)
{
	if (!c->kind->make)
		return 0;
	return c->kind->many ? c->n : 1;
}

static uint64_t case_sessions(const struct bench_case *c)
{
	return c->kind->sessions ? c->n : 1;
}

static uint64_t case_pages(const struct bench_case *c)
{
	return c->kind->many ? c->n : c->n * c->kind->per_mib;
}

static int by_pfn(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* How many runs the pages of a file make in memory; 0 if nobody says. */
static uint64_t count_runs(int fd, size_t size)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t *pfns = malloc(size / LU_PAGE * sizeof(*pfns));
	uint64_t i, n = size / LU_PAGE, used = 0, runs = 0;
	char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	off_t data = 0, hole = 0;

	if (pagemap < 0 || !pfns || map == MAP_FAILED)
		n = 0;
	while (n && (data = lseek(fd, hole, SEEK_DATA)) >= 0) {
		size_t len;

		hole = lseek(fd, data, SEEK_HOLE);
		len = (hole - data) / LU_PAGE * sizeof(*pfns);
		if (madvise(map + data, hole - data, MADV_POPULATE_READ) ||
		    pread(pagemap, pfns + used, len,
			  (uintptr_t)(map + data) / LU_PAGE * sizeof(*pfns)) != (ssize_t)len)
			break;
		used += len / sizeof(*pfns);
	}
	for (i = 0; i < used; i++)
		pfns[i] &= (1ULL << 55) - 1;
	qsort(pfns, used, sizeof(*pfns), by_pfn);
	for (i = 0; i < used; i++)
		runs += !i || pfns[i] != pfns[i - 1] + 1;
	munmap(map, size);
	free(pfns);
	close(pagemap);
	return runs;
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

	if (!c->kind->scratch)
		use_scratch_up();
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
	before = lu_free_kib();
	start = now();
	for (i = 0; i < files; i++)
		must("preserve a file", lu_preserve(session[i % sessions], fd[i], i));
	figure[PRESERVE] = now() - start;
	figure[MEMORY] = (before - lu_free_kib()) * (int64_t)LU_KIB;
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

static int load(int stage, int64_t *took)
{
	int kernel = must("image", copy_to("/image", lu_next_image()));
	int initrd = must("initrd", copy_to("/initrd", "/host/initrd"));
	char cmdline[2 * LINE];
	int64_t start;
	int err;

	err = lu_cmdline(cmdline, sizeof(cmdline), stage, NULL);
	if (err)
		return err;
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
	must("load the next kernel", load(stage + 1, &note->figure[LOAD]));
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
 * did. Kernels say no less than microseconds.
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

/* What the kernel has said that it found. */
static void read_log(void)
{
	static char log[1 << 18];
	long long kib, runs;
	char *line;

	if (klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1) <= 0)
		return;
	for (line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
		line = strstr(line, "KHO: ");
		if (line && sscanf(line, "KHO: %lld KiB of the previous kernel kept, %lld runs",
				   &kib, &runs) == 2) {
			kept = kib / 4;
			gaps = runs;
		}
	}
}

/* Budgets */

/* At most @limit; whether that is a test, @test says. */
static void budget_if(bool test, const struct bench_case *c, const char *what, int64_t got,
		      int64_t limit)
{
	printf("BUDGET case=%s:%ju got=%jd limit=%jd what=%s\n", c->kind->name,
	       (uintmax_t)c->n, (intmax_t)got, (intmax_t)limit, what);
	if (!test)
		return;
	note->failures += got > limit;
	note->tests++;
	printf("%sok %jd %s:%ju: %s: %jd, at most %jd\n", got > limit ? "not " : "",
	       (intmax_t)note->tests, c->kind->name, (uintmax_t)c->n, what,
	       (intmax_t)got, (intmax_t)limit);
}

static void budget(const struct bench_case *c, const char *what, int64_t got,
		   int64_t limit)
{
	budget_if(strict, c, what, got, limit);
}

/* Pages of LUO and of the handlers are preserved, too. */
static void boot_budget(const struct bench_case *c, const int64_t *figure)
{
	int64_t pages = figure[PAGES], runs = figure[RUNS];

	if (figure[KEPT]) {
		pages = figure[KEPT] - note->base[KEPT];
		runs = figure[GAPS] - note->base[GAPS];
	}
	budget(c, "instructions that the boot takes longer", figure[ADDED],
	       200000 + 40 * pages + 400 * runs);
}

/*
 * What one more folio of 2 MiB costs. There are few of them, so what every file
 * costs, however small it is, would count for a good part of each.
 */
static void huge_budgets(const struct bench_case *c, const int64_t *figure)
{
	int64_t more = (figure[PAGES] - note->smaller_pages) / 512;

	if (note->before != c->kind - kinds || more <= 0)
		return;
	budget(c, "preserve, instructions per 2 MiB folio more",
	       (figure[PRESERVE] - note->smaller_preserve) / more, 1500);
	budget(c, "retrieve, instructions per 2 MiB folio more",
	       (figure[FILES] - note->smaller_files) / more, 6000);
}

static void size_budgets(const struct bench_case *c, const int64_t *figure)
{
	int64_t pages = figure[PAGES], mib = pages * LU_PAGE / LU_MIB;

	budget(c, "KiB not free at init that are not preserved", figure[LOST] / 1024, 1024);
	if (is_kind(c, "huge")) {
		huge_budgets(c, figure);
		return;
	}
	budget(c, "preserve, instructions per page", figure[PRESERVE] / pages, 150);
	budget(c, "retrieve, instructions per page", figure[FILES] / pages, 300);
	if (is_kind(c, "sparse"))
		budget(c, "memory for a file of holes, KiB", figure[MEMORY] / 1024, 32);
	else if (c->n >= 256)
		budget(c, "metadata, KiB per GiB", figure[MEMORY] / mib,
		       is_kind(c, "contiguous") ? LU_KIB / 10 : LU_KIB * 22 / 10);
}

/* One of many is no dearer than one of few, which the first case has. */
static void flat_budget(const struct bench_case *c, const char *what, int64_t *few,
			int64_t cost)
{
	char text[LINE];

	if (!*few) {
		*few = cost;
		return;
	}
	snprintf(text, sizeof(text), "%s, percent of the cost where they were few", what);
	budget_if(strict || flat, c, text, 100 * cost / *few, flat ?: 110);
}

static void file_budgets(const struct bench_case *c, const int64_t *figure)
{
	int64_t preserve = (figure[MAKE] + figure[PRESERVE]) / c->n;
	int64_t files = (figure[FILES] + figure[TOUCH]) / c->n;

	budget(c, "create and preserve, instructions per file", preserve, 25000);
	budget(c, "retrieve and read, instructions per file", files, 18000);
	/* The rest is what LUO and memfd remember of a file. */
	budget(c, "memory of a preserved one-page file, bytes", figure[MEMORY] / c->n,
	       LU_PAGE * 3 / 2);
	flat_budget(c, "create and preserve a file", &note->few_preserve, preserve);
	flat_budget(c, "retrieve and read a file", &note->few_files, files);
}

/* With a file in each. */
static void session_budgets(const struct bench_case *c, const int64_t *figure)
{
	flat_budget(c, "create a session and preserve its file", &note->few_create,
		    (figure[CREATE] + figure[PRESERVE]) / c->n);
	flat_budget(c, "retrieve and finish a session", &note->few_sessions,
		    (figure[SESSIONS] + figure[FILES] + figure[FINISH]) / c->n);
}

/* Those of the smaller cases are ruled by what does not depend on their size. */
static void budgets(const struct bench_case *c, const int64_t *figure)
{
	if (!c->kind->make)
		return;
	boot_budget(c, figure);
	if (c->kind->many && c->n >= 1000) {
		if (c->kind->sessions)
			session_budgets(c, figure);
		else
			file_budgets(c, figure);
	}
	if (!c->kind->many && !c->kind->scratch && case_pages(c) >= 4096)
		size_budgets(c, figure);
}

static void print_case(const struct bench_case *c, const int64_t *figure)
{
	int i;

	printf("BENCH case=%s:%ju", c->kind->name, (uintmax_t)c->n);
	for (i = 0; i < NR_FIGURES; i++)
		printf(" %s=%jd", figure_names[i], (intmax_t)figure[i]);
	note->tests++;
	printf("\nok %jd %s:%ju came over\n", (intmax_t)note->tests, c->kind->name,
	       (uintmax_t)c->n);
	fflush(stdout);
}

static void arrive(const struct bench_case *c, int64_t start, int64_t free)
{
	int64_t figure[NR_FIGURES] = {}, opened = now();
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
		note->figure[LOST] = note->base_free - free -
				     note->figure[PAGES] * (int64_t)LU_PAGE;
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
		printf("1..0 # SKIP the init of a guest, see make bench\n");
		return 4;
	}
	mount_all();
	booted = boot_time(start);
	free = meminfo_kib("MemFree:") * (int64_t)LU_KIB;
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
