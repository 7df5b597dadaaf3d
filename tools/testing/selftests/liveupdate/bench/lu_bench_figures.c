// SPDX-License-Identifier: GPL-2.0
/*
 * The figures of the bench, and the budgets that they have to keep.
 */
#include <stdio.h>
#include <string.h>

#include "../lu_util.h"
#include "lu_bench.h"

static const char *const figure_names[NR_FIGURES] = {
	"make", "create", "preserve", "load", "jump", "open", "sessions",
	"files", "touch", "finish", "boot", "added", "kept", "gaps", "pages", "runs",
	"memory", "moved", "lost",
};

/* Fewer files or sessions are ruled by what does not depend on how many there are. */
#define FEW	500

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
	/* As for a file of that size without holes, but for the smallest. */
	if (is_kind(c, "sparse"))
		budget(c, "memory for a file of holes, KiB", figure[MEMORY] / 1024,
		       c->n > 320 ? c->n / 10 : 32);
	else if (c->n >= 256)
		budget(c, "metadata, KiB per GiB", figure[MEMORY] / mib,
		       is_kind(c, "contiguous") ? LU_KIB / 10 : LU_KIB * 22 / 10);
}

/* One of many is no dearer than one of few, which the first case has. */
static void flat_budget(const struct bench_case *c, const char *what, int64_t *few,
			int64_t cost)
{
	char text[160];

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

/*
 * An image is summed up twice, when it is loaded and while nothing runs: what its file
 * has, and not the memory that it unpacks itself in. Each time it is SHA-256 in C, some
 * 54 instructions a byte: with far fewer, not all of it was summed up.
 */
static void image_budgets(const struct bench_case *c, const int64_t *figure)
{
	int64_t load = figure[LOAD] / note->loaded;
	int64_t jump = (figure[JUMP] - figure[BOOT]) / note->loaded;
	bool test = strict || flat, all = load >= 40 && jump >= 40;

	budget_if(test, c, "load kernel and initramfs, instructions per byte", load, 100);
	budget_if(test, c, "reboot(2) to the next kernel, instructions per byte", jump, 100);
	if (!test)
		return;
	note->failures += !all;
	note->tests++;
	printf("%sok %jd %s:%ju: all that was loaded is summed up\n", all ? "" : "not ",
	       (intmax_t)note->tests, c->kind->name, (uintmax_t)c->n);
}

/* Where nothing lay in scratch, nothing of it was measured. For kernels that say where it is. */
static void scratch_budget(const struct bench_case *c, const int64_t *figure)
{
	bool moved = figure[MOVED] > 0;

	note->failures += !moved;
	note->tests++;
	printf("%sok %jd %s:%ju: pages were moved out of scratch\n", moved ? "" : "not ",
	       (intmax_t)note->tests, c->kind->name, (uintmax_t)c->n);
}

void budgets(const struct bench_case *c, const int64_t *figure)
{
	if (!c->kind->make) {
		image_budgets(c, figure);
		return;
	}
	boot_budget(c, figure);
	if (c->kind->scratch && figure[KEPT])
		scratch_budget(c, figure);
	if (c->kind->many && c->n >= FEW) {
		if (c->kind->sessions)
			session_budgets(c, figure);
		else
			file_budgets(c, figure);
	}
	if (!c->kind->many && !c->kind->scratch && case_pages(c) >= 4096)
		size_budgets(c, figure);
}

void print_case(const struct bench_case *c, const int64_t *figure)
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
