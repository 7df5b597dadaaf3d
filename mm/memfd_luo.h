/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __MM_MEMFD_LUO_H
#define __MM_MEMFD_LUO_H

#include <linux/fcntl.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/memfd.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/wait.h>

struct folio;
struct inode;
struct liveupdate_file_op_args;

/* Names of memfds start so; only what follows is handed over. */
#define MEMFD_LUO_PREFIX	"memfd:"

/* Flags of an open file that mean the same in the next kernel. */
#define MEMFD_LUO_F_FLAGS	(O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | \
				 O_DIRECT | O_LARGEFILE | O_NOATIME)

/*
 * Permissions come back, set-id bits do not: the file belongs to whoever
 * retrieves it.
 */
#define MEMFD_LUO_MODE		01777

/* All seals that this kernel has; a new one is to be added here. */
#define MEMFD_LUO_SEALS		(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | \
				 F_SEAL_WRITE | F_SEAL_FUTURE_WRITE |	     \
				 F_SEAL_EXEC)

/*
 * Longest list of scattered folios: its length is written before its pfns, so
 * it has to be known. Small files, of which there are many, have shorter ones.
 */
#define MEMFD_LUO_LIST_MAX	128

/*
 * The extent that may still grow. A run has the pfn of its first folio, a list
 * all of them, @max at most; @tail_run of the list lie one after the other at
 * its end. It goes on at @next of the file, and at @next_pfn if it is a run.
 */
struct memfd_luo_extent {
	u64 index;
	u64 next;
	u64 next_pfn;
	u32 nr;
	u16 order;
	bool list;
	u32 tail_run;
	u32 max;
	u64 *pfns;
};

/*
 * Writes the words of a preserved file: into the page of @ser while they fit,
 * then all of them to @chain.
 */
struct memfd_luo_writer {
	struct memfd_luo_ser *ser;
	struct kho_chain chain;
	bool chained;
	int lost;		/* error of an append, never seen */
	u64 nr_words;
	struct memfd_luo_extent open;
};

/*
 * @nr folios of order @order for page @index and what follows it in the file: in
 * memory one after the other from @pfn on, or each at one of @pfns.
 */
struct memfd_luo_run {
	u64 index;
	u64 nr;
	unsigned int order;
	u64 pfn;
	const u64 *pfns;
};

typedef int (*memfd_luo_run_fn)(const struct memfd_luo_run *run, void *ctx);

enum memfd_luo_state {
	MEMFD_LUO_LIVE,		/* folios may be added */
	MEMFD_LUO_FROZEN,	/* who adds one waits */
	MEMFD_LUO_DEAD,		/* unpreserved */
};

/* A preserved memfd. @inode and @end do not change; LUO holds the file. */
struct memfd_luo {
	struct inode *inode;
	pgoff_t end;			/* folios from here on are beyond EOF */
	refcount_t refs;
	struct rcu_head rcu;
	wait_queue_head_t thawed;

	struct mutex lock;		/* protects what follows */
	enum memfd_luo_state state;
	struct memfd_luo_writer writer;
	u64 pfns[];			/* of the writer */
};

/* Recording */
int memfd_luo_prepare(struct memfd_luo *luo, struct folio *folio);
void memfd_luo_commit(struct memfd_luo *luo, struct folio *folio);
void memfd_luo_let_go(struct memfd_luo *luo, struct folio *folio);
int memfd_luo_walk(struct memfd_luo *luo);
void memfd_luo_unwalk(struct memfd_luo *luo);

/* Progress */

/* Work that is shown in debugfs; @page is written by who does it. */
struct memfd_luo_progress {
	struct list_head list;
	const char *what;
	unsigned long ino;
	u64 page;
	u64 end;
};

void memfd_luo_progress_begin(struct memfd_luo_progress *progress,
			      const char *what, const struct inode *inode,
			      u64 end);
void memfd_luo_progress_end(struct memfd_luo_progress *progress);

/* Extents */
u64 memfd_luo_inline_max(u16 name_len);
u32 memfd_luo_crc(struct memfd_luo_ser *ser);

void memfd_luo_writer_init(struct memfd_luo_writer *writer,
			   struct memfd_luo_ser *ser, u64 *pfns, u32 max);
int memfd_luo_make_room(struct memfd_luo_writer *writer, unsigned int folios,
			unsigned int runs);
void memfd_luo_record_runs(struct memfd_luo_writer *writer,
			   const pgoff_t *indices, const struct kho_run *runs,
			   unsigned int nr);
int memfd_luo_seal_words(struct memfd_luo_writer *writer);
int memfd_luo_each_run(struct memfd_luo_ser *ser, memfd_luo_run_fn fn,
		       void *ctx);

/* The kernel that comes */
int memfd_luo_retrieve(struct liveupdate_file_op_args *args);
void memfd_luo_finish(struct liveupdate_file_op_args *args);

#endif /* __MM_MEMFD_LUO_H */
