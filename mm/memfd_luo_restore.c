// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: retrieving, in the kernel that comes.
 */

/**
 * DOC: Retrieving a memfd
 *
 * First everything is checked that can be: the description, its checksums, and
 * that each folio is preserved in the order it is said to have. Then what can
 * fail for lack of resources is done: the file is made, its blocks are
 * accounted, and room for all folios is charged to the memory cgroup of the
 * retrieving task. Up to here nothing has been taken: after -ENOMEM, -EINTR or
 * -EAGAIN retrieving can be tried again, and if nobody does, the memfd goes
 * along with the next live update.
 *
 * Only then the folios go into the page cache, many at a time, with memory that
 * is waited for. That cannot fail, but for a description that names a folio or a
 * place twice, which no check sees. The file is lost then (-EIO), and all its
 * folios are freed.
 *
 * The description is freed in the end, with the file retrieved: left to
 * finish(), it would ride along with the next live update though nobody can use
 * it any more.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/cleanup.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include "internal.h"
#include "memfd_luo.h"

#include <trace/events/memfd_luo.h>

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
#define MEMFD_LUO_MAX_ORDER	MAX_PAGECACHE_ORDER
#else
#define MEMFD_LUO_MAX_ORDER	0
#endif

/* Retrieving failed with this: everything has been taken and freed. */
#define MEMFD_LUO_GONE		(-EIO)

/* Checks */

struct memfd_luo_check {
	u64 end;		/* pages of the file */
	u64 pages;		/* pages of its folios */
	unsigned int max_order;
	bool killable;
	bool bad_run;
	struct memfd_luo_run run;
};

static int memfd_luo_check_run(const struct memfd_luo_run *run, void *ctx)
{
	struct memfd_luo_check *check = ctx;

	if (check->killable && fatal_signal_pending(current))
		return -EINTR;

	/* The last folio may reach over the end of the file. */
	if (!IS_ALIGNED(run->index, 1UL << run->order) ||
	    run->index >= check->end ||
	    run->nr - 1 > (check->end - 1 - run->index) >> run->order ||
	    !kho_is_preserved_run(run->pfn, run->nr, run->order)) {
		check->bad_run = true;
		check->run = *run;
		return -EBADMSG;
	}

	check->pages += run->nr << run->order;
	check->max_order = max(check->max_order, run->order);
	return 0;
}

static void memfd_luo_report(struct memfd_luo_ser *ser,
			     struct memfd_luo_check *check)
{
	const struct memfd_luo_run *run = &check->run;

	if (check->bad_run)
		pr_err("memfd \"%*pE\" stays where it is: found %llu folios of order %u, pfn %#llx, for page %llu; expected preserved ones within %llu pages\n",
		       ser->name_len, ser->name, run->nr, run->order, run->pfn,
		       run->index, check->end);
	else
		pr_err("memfd \"%*pE\" stays where it is: expected %llu words that make extents, found damaged ones\n",
		       ser->name_len, ser->name, ser->nr_words);
}

static const char *memfd_luo_check_ser(struct memfd_luo_ser *ser)
{
	if (ser->name_len > MEMFD_LUO_NAME_MAX)
		return "length of name";
	if (!ser->words && ser->nr_words > memfd_luo_inline_max(ser->name_len))
		return "number of words";
	if (ser->crc32c != memfd_luo_crc(ser))
		return "checksum";
	if (ser->reserved[0] || ser->reserved[1])
		return "reserved field";
	if (ser->size > MAX_LFS_FILESIZE || ser->pos > MAX_LFS_FILESIZE)
		return "size or position";
	if (ser->seals & ~MEMFD_LUO_SEALS)
		return "seals";
	if (ser->f_flags & ~MEMFD_LUO_F_FLAGS)
		return "file flags";
	if (ser->mode & ~MEMFD_LUO_MODE)
		return "mode";
	if (memchr(ser->name, 0, ser->name_len))
		return "name";
	return NULL;
}

/*
 * The description at @phys, if all is well with it; changes nothing. Says in
 * the log what is wrong.
 */
static struct memfd_luo_ser *memfd_luo_check(u64 phys,
					     struct memfd_luo_check *check)
{
	struct memfd_luo_ser *ser;
	const char *wrong;
	int err;

	if (!PAGE_ALIGNED(phys) || !kho_is_preserved(phys, 0)) {
		pr_err("no memfd at %#llx: expected a preserved page\n", phys);
		return ERR_PTR(-EBADMSG);
	}

	ser = phys_to_virt(phys);
	wrong = memfd_luo_check_ser(ser);
	if (wrong) {
		pr_err("memfd at %#llx stays where it is: damaged or unknown %s\n",
		       phys, wrong);
		return ERR_PTR(-EBADMSG);
	}

	check->end = DIV_ROUND_UP_ULL(ser->size, PAGE_SIZE);
	err = memfd_luo_each_run(ser, memfd_luo_check_run, check);
	if (err && err != -EINTR)
		memfd_luo_report(ser, check);
	return err ? ERR_PTR(err) : ser;
}

/* Freeing */

/* Of the folios of a run, those that are preserved. */
static int memfd_luo_free_run(const struct memfd_luo_run *run, void *ctx)
{
	struct kho_run one = { .nr = 1, .order = run->order };
	u64 i;

	for (i = 0; i < run->nr; i++) {
		one.pfn = run->pfn + (i << run->order);
		if (kho_restore_runs(&one, 1))
			folio_put(pfn_folio(one.pfn));
		cond_resched();
	}
	return 0;
}

/* Making the file */

/* Folios that are put into the file at a time. */
#define MEMFD_LUO_FILL_BATCH	64

/*
 * Folios on their way into the file: neighbours in there, of one order. They
 * are still preserved.
 */
struct memfd_luo_fill {
	struct inode *inode;
	struct mem_cgroup *memcg;
	u64 end;		/* pages of the file */
	u64 accounted;		/* base pages, not yet used */
	u64 charged;		/* the same */
	int err;
	u64 index;		/* of the first */
	unsigned int order;
	unsigned int nr;
	unsigned int nr_runs;
	struct kho_run runs[MEMFD_LUO_FILL_BATCH];
	struct folio *folios[MEMFD_LUO_FILL_BATCH];
};

/* Put folios that were restored into the file; they are of one node. */
static void memfd_luo_fill_node(struct memfd_luo_fill *fill, unsigned int from,
				unsigned int nr)
{
	unsigned int added = 0;
	u64 pages = (u64)nr << fill->order;

	if (!fill->err) {
		mem_cgroup_commit_advance(fill->memcg, fill->folios + from, nr);
		fill->charged -= pages;
		added = shmem_add_restored_folios(fill->inode,
						  fill->folios + from, nr,
						  fill->index + (from << fill->order));
		fill->accounted -= (u64)added << fill->order;
		if (added < nr)
			fill->err = MEMFD_LUO_GONE;
	}
	for (; added < nr; added++)
		folio_put(fill->folios[from + added]);
}

static void memfd_luo_list_folios(struct memfd_luo_fill *fill)
{
	unsigned int i, nr = 0;
	unsigned long j;

	for (i = 0; i < fill->nr_runs; i++) {
		const struct kho_run *run = &fill->runs[i];

		for (j = 0; j < run->nr; j++)
			fill->folios[nr++] = pfn_folio(run->pfn +
						       (j << run->order));
	}
}

static void memfd_luo_fill_all(struct memfd_luo_fill *fill)
{
	unsigned int from = 0, i;

	memfd_luo_list_folios(fill);
	for (i = 1; i <= fill->nr; i++) {
		if (i < fill->nr &&
		    folio_nid(fill->folios[i]) == folio_nid(fill->folios[from]))
			continue;
		memfd_luo_fill_node(fill, from, i - from);
		from = i;
	}
	trace_memfd_luo_fill(fill->inode,
			     fill->index + ((u64)fill->nr << fill->order),
			     fill->end);
}

/* The batch goes into the file, or is freed if there was an error before. */
static void memfd_luo_flush_fill(struct memfd_luo_fill *fill)
{
	unsigned int i;

	if (kho_restore_runs(fill->runs, fill->nr_runs)) {
		memfd_luo_fill_all(fill);
	} else {
		/* Of what is named twice, one is not preserved any more. */
		fill->err = MEMFD_LUO_GONE;
		for (i = 0; i < fill->nr_runs; i++) {
			struct memfd_luo_run run = {
				.pfn = fill->runs[i].pfn,
				.nr = fill->runs[i].nr,
				.order = fill->runs[i].order,
			};

			memfd_luo_free_run(&run, NULL);
		}
	}
	fill->nr = 0;
	fill->nr_runs = 0;
	cond_resched();
}

/* Does not stop in the middle: after an error, what remains is freed. */
static int memfd_luo_fill_run(const struct memfd_luo_run *run, void *ctx)
{
	struct memfd_luo_fill *fill = ctx;
	unsigned int part;
	u64 i;

	if (fill->nr &&
	    (run->order != fill->order ||
	     run->index != fill->index + ((u64)fill->nr << fill->order)))
		memfd_luo_flush_fill(fill);

	for (i = 0; i < run->nr; i += part) {
		if (fill->nr == MEMFD_LUO_FILL_BATCH)
			memfd_luo_flush_fill(fill);
		if (!fill->nr) {
			fill->index = run->index + (i << run->order);
			fill->order = run->order;
		}
		part = min_t(u64, run->nr - i, MEMFD_LUO_FILL_BATCH - fill->nr);
		fill->runs[fill->nr_runs++] = (struct kho_run) {
			.pfn = run->pfn + (i << run->order),
			.nr = part,
			.order = run->order,
		};
		fill->nr += part;
	}
	return 0;
}

/*
 * Put the folios into the file. -ENOMEM: nothing has been taken;
 * MEMFD_LUO_GONE: everything has, and is lost.
 */
static int memfd_luo_fill(struct inode *inode, struct memfd_luo_ser *ser,
			  u64 pages)
{
	struct memfd_luo_fill *fill __free(kfree) = NULL;
	int err;

	fill = kzalloc(sizeof(*fill), GFP_KERNEL);
	if (!fill || shmem_acct_restored(inode, pages))
		return -ENOMEM;

	/* Nobody is killed for the room. */
	fill->memcg = mem_cgroup_charge_advance(pages, GFP_KERNEL |
						__GFP_RETRY_MAYFAIL);
	if (IS_ERR(fill->memcg)) {
		shmem_unacct_restored(inode, pages);
		return -ENOMEM;
	}
	fill->inode = inode;
	fill->end = DIV_ROUND_UP_ULL(ser->size, PAGE_SIZE);
	fill->accounted = pages;
	fill->charged = pages;

	err = memfd_luo_each_run(ser, memfd_luo_fill_run, fill);
	if (fill->nr)
		memfd_luo_flush_fill(fill);
	if (!err)
		err = fill->err;

	mem_cgroup_cancel_advance(fill->memcg, fill->charged);
	if (fill->accounted)
		shmem_unacct_restored(inode, fill->accounted);
	return err ? MEMFD_LUO_GONE : 0;
}

/* An open file like the one that was preserved, as yet without contents. */
static struct file *memfd_luo_make_file(struct memfd_luo_ser *ser)
{
	struct file *file, *reopened;
	struct inode *inode;
	char *name;

	name = kasprintf(GFP_KERNEL, MEMFD_LUO_PREFIX "%.*s", ser->name_len,
			 ser->name);
	if (!name)
		return ERR_PTR(-ENOMEM);
	file = shmem_file_setup(name, 0, VM_NORESERVE);
	kfree(name);
	if (IS_ERR(file))
		return file;

	inode = file_inode(file);
	inode->i_mode = S_IFREG | ser->mode;
	i_size_write(inode, ser->size);
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;

	if ((ser->f_flags & O_ACCMODE) != O_RDWR) {
		/* Opened anew, through /proc: so is this one. */
		reopened = dentry_open(&file->f_path, ser->f_flags,
				       current_cred());
		fput(file);
		if (IS_ERR(reopened))
			return reopened;
		file = reopened;
	} else {
		file->f_flags = ser->f_flags;
		file->f_iocb_flags = iocb_flags(file);
		if (ser->f_flags & O_DIRECT)
			file->f_mode |= FMODE_CAN_ODIRECT;
	}
	file->f_pos = ser->pos;
	return file;
}

/*
 * Why there is no file has nothing to do with the memfd: too many are open, or a
 * security module does not let this task have one. It is not lost for that.
 */
static int memfd_luo_try_again(struct memfd_luo_ser *ser, int err)
{
	if (err == -ENOMEM || err == -EINTR)
		return err;

	pr_warn_ratelimited("memfd \"%*pE\" waits, no file can be opened for it: %pe\n",
			    ser->name_len, ser->name, ERR_PTR(err));
	return -EAGAIN;
}

static void memfd_luo_seal(struct file *file, unsigned int seals)
{
	/* Nobody has the file yet, so nobody can have mapped it. */
	if (seals & F_SEAL_WRITE)
		WARN_ON_ONCE(mapping_deny_writable(file->f_mapping));
	SHMEM_I(file_inode(file))->seals = seals;
}

static void memfd_luo_free_ser(struct memfd_luo_ser *ser)
{
	if (ser->words)
		kho_chain_restore_free(ser->words, sizeof(u64));
	kho_restore_free(ser);
}

/**
 * memfd_luo_retrieve - make a memfd from what the previous kernel left
 * @args: @serialized_data is the address of the description; @file is set
 *
 * The contents are charged to the memory cgroup of the current task, and the
 * inode belongs to its user.
 *
 * Context: may sleep.
 * Return: 0, or
 *
 * * -%ENOMEM, -%EINTR - nothing was taken, it may be tried again
 * * -%EAGAIN  - the same; no file could be opened, because there are too many
 *   or because this task must not; or there are folios larger than the page
 *   cache of this kernel, so that only another one can retrieve it. The log
 *   tells.
 *
 * * -%EBADMSG - the description is damaged; it stays where it is
 * * -%EIO     - the description contradicts itself, and the file is lost
 */
int memfd_luo_retrieve(struct liveupdate_file_op_args *args)
{
	struct memfd_luo_check check = { .killable = true };
	struct memfd_luo_ser *ser;
	struct file *file;
	int err;

	ser = memfd_luo_check(args->serialized_data, &check);
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	if (check.max_order > MEMFD_LUO_MAX_ORDER) {
		pr_err_ratelimited("memfd \"%*pE\" waits for another kernel: it has folios of order %u, expected order %u at most\n",
				   ser->name_len, ser->name, check.max_order,
				   MEMFD_LUO_MAX_ORDER);
		return -EAGAIN;
	}

	file = memfd_luo_make_file(ser);
	if (IS_ERR(file))
		return memfd_luo_try_again(ser, PTR_ERR(file));

	err = memfd_luo_fill(file_inode(file), ser, check.pages);
	if (err == MEMFD_LUO_GONE)
		pr_err("memfd \"%*pE\" is lost: its extents overlap\n",
		       ser->name_len, ser->name);
	if (!err) {
		memfd_luo_seal(file, ser->seals);
		args->file = file;
	} else {
		fput(file);
	}
	if (!err || err == MEMFD_LUO_GONE)
		memfd_luo_free_ser(ser);
	return err;
}

/**
 * memfd_luo_finish - free what is left of a memfd that came in
 * @args: @retrieve_status tells whether it was retrieved
 *
 * Of a file that was retrieved nothing is left. What is damaged stays where it
 * is: nobody knows what is whose.
 *
 * Context: may sleep.
 */
void memfd_luo_finish(struct liveupdate_file_op_args *args)
{
	struct memfd_luo_check check = {};
	struct memfd_luo_ser *ser;

	if (args->retrieve_status > 0 ||
	    args->retrieve_status == MEMFD_LUO_GONE)
		return;

	ser = memfd_luo_check(args->serialized_data, &check);
	if (IS_ERR(ser))
		return;
	memfd_luo_each_run(ser, memfd_luo_free_run, NULL);
	memfd_luo_free_ser(ser);
}
