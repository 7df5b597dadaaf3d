/* SPDX-License-Identifier: GPL-2.0 */
#ifndef LU_BENCH_H
#define LU_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* In a file of its own, preserved with each case. */
struct note {
	int64_t left;			/* time of the jump */
	int64_t loaded;			/* bytes of kernel and initramfs */
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

extern const struct kind kinds[];	/* up to one without a name */

/* The guest */
extern struct note *note;		/* %NULL in the first kernel, before the case */
extern bool strict;			/* budgets are tests */
extern int64_t flat;			/* percent; 0: what the budgets say */

int64_t now(void);
void failed(const char *what, int err);
int must(const char *what, int ret);

/* Making what is preserved */
int sized_memfd(uint64_t size);
long number_in(const char *path, const char *key);
long meminfo_kib(const char *key);
int64_t free_bytes(void);
void use_up(bool scratch);
bool is_kind(const struct bench_case *c, const char *name);
uint64_t case_files(const struct bench_case *c);
uint64_t case_sessions(const struct bench_case *c);
uint64_t case_pages(const struct bench_case *c);
uint64_t count_runs(int fd, size_t size);

/* Figures */
void print_case(const struct bench_case *c, const int64_t *figure);
void budgets(const struct bench_case *c, const int64_t *figure);

#endif /* LU_BENCH_H */
