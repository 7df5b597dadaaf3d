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
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/string_helpers.h>

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

/* Folios about which the page map is asked at a time. */
#define MEMFD_LUO_CHECK_BATCH	32

struct memfd_luo_check {
	u64 end;		/* pages of the file */
	u64 pages;		/* pages of its folios */
	unsigned int max_order;
	bool killable;
	bool bad_run;
	struct memfd_luo_run run;
};

/* The folios at @run->pfns[@from] and after, as many as go into @runs. */
static unsigned int memfd_luo_list_runs(const struct memfd_luo_run *run,
					u64 from, struct kho_run *runs,
					unsigned int max)
{
	unsigned int i, nr = min_t(u64, max, run->nr - from);

	for (i = 0; i < nr; i++) {
		runs[i].pfn = run->pfns[from + i];
		runs[i].nr = 1;
		runs[i].order = run->order;
	}
	return nr;
}

static noinline_for_stack bool
memfd_luo_list_is_preserved(const struct memfd_luo_run *run)
{
	struct kho_run runs[MEMFD_LUO_CHECK_BATCH];
	unsigned int nr;
	u64 i;

	for (i = 0; i < run->nr; i += nr) {
		nr = memfd_luo_list_runs(run, i, runs, ARRAY_SIZE(runs));
		if (!kho_is_preserved_runs(runs, nr))
			return false;
	}
	return true;
}

static bool memfd_luo_is_preserved(const struct memfd_luo_run *run)
{
	if (run->pfns)
		return memfd_luo_list_is_preserved(run);
	return kho_is_preserved_run(run->pfn, run->nr, run->order);
}

static int memfd_luo_check_run(const struct memfd_luo_run *run, void *ctx)
{
	struct memfd_luo_check *check = ctx;

	if (check->killable && fatal_signal_pending(current))
		return -EINTR;

	/* The last folio may reach over the end of the file. */
	if (!IS_ALIGNED(run->index, 1UL << run->order) ||
	    run->index >= check->end ||
	    run->nr - 1 > (check->end - 1 - run->index) >> run->order ||
	    !memfd_luo_is_preserved(run)) {
		check->bad_run = true;
		check->run = *run;
		return -EBADMSG;
	}

	check->pages += run->nr << run->order;
	check->max_order = max(check->max_order, run->order);
	return 0;
}

/* A name as it is shown: its first bytes, of which none ends line or quotes. */
#define MEMFD_LUO_SHOWN		48

struct memfd_luo_name {
	char s[4 * MEMFD_LUO_SHOWN + 1];
};

static const char *memfd_luo_show(struct memfd_luo_name *name,
				  const struct memfd_luo_ser *ser)
{
	size_t len = string_escape_mem(ser->name,
				       min(ser->name_len, MEMFD_LUO_SHOWN),
				       name->s, sizeof(name->s) - 1,
				       ESCAPE_ANY | ESCAPE_NAP | ESCAPE_APPEND,
				       "\"\\");

	name->s[len] = 0;
	return name->s;
}

static void memfd_luo_report(struct memfd_luo_ser *ser,
			     struct memfd_luo_check *check)
{
	const struct memfd_luo_run *run = &check->run;
	struct memfd_luo_name name;

	if (check->bad_run)
		pr_err("memfd \"%s\" stays where it is: found %llu folios of order %u, pfn %#llx%s, for page %llu; expected preserved ones within %llu pages\n",
		       memfd_luo_show(&name, ser), run->nr, run->order,
		       run->pfns ? run->pfns[0] : run->pfn,
		       run->pfns ? " and others" : "", run->index, check->end);
	else
		pr_err("memfd \"%s\" stays where it is: expected %llu words that make extents, found damaged ones\n",
		       memfd_luo_show(&name, ser), ser->nr_words);
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

/* The folios of a run, up to one that was named before. */
static int memfd_luo_free_run(const struct memfd_luo_run *run, void *ctx)
{
	struct kho_run one = { .nr = 1, .order = run->order };
	u64 i;

	for (i = 0; i < run->nr; i++) {
		one.pfn = run->pfns ? run->pfns[i] :
				      run->pfn + (i << run->order);
		if (!kho_restore_runs(&one, 1))
			return MEMFD_LUO_GONE;
		folio_put(pfn_folio(one.pfn));
		cond_resched();
	}
	return 0;
}

/* Making the file */

/*
 * Folios that are put into the file at a time; large ones, of which each is work
 * enough.
 */
#define MEMFD_LUO_FILL_BATCH	256
#define MEMFD_LUO_FILL_LARGE	64

/* As many parts of a file, with gaps between them, make a batch. */
#define MEMFD_LUO_FILL_PARTS	16

/*
 * Folios on their way into the file, of one order and in the file's order. They are
 * still preserved. A part goes up to the next one; in the file its folios are
 * neighbours.
 */
struct memfd_luo_fill {
	struct inode *inode;
	struct mem_cgroup *memcg;
	struct memfd_luo_progress progress;
	u64 end;		/* pages of the file */
	u64 accounted;		/* base pages, not yet used */
	u64 charged;		/* the same */
	int err;
	struct {
		u64 index, end;		/* in the file */
		unsigned int run;	/* the first */
	} parts[MEMFD_LUO_FILL_PARTS];
	unsigned int nr_parts;
	unsigned int order;
	unsigned int nr;
	unsigned int nr_runs;
	unsigned int max;
	struct folio **folios;
	struct kho_run runs[] __counted_by(max);
};

/* For a file with @pages: of most files there are many, and they are small. */
static struct memfd_luo_fill *memfd_luo_fill_alloc(u64 pages)
{
	unsigned int max = min_t(u64, pages, MEMFD_LUO_FILL_BATCH);
	struct memfd_luo_fill *fill;

	fill = kmalloc(struct_size(fill, runs, max) +
		       array_size(max, sizeof(*fill->folios)), GFP_KERNEL);
	if (!fill)
		return NULL;
	memset(fill, 0, sizeof(*fill));
	fill->max = max;
	fill->folios = (struct folio **)&fill->runs[max];
	return fill;
}

/*
 * Put folios that were restored into the file, from @index on; they are of one node
 * of memory.
 */
static void memfd_luo_fill_node(struct memfd_luo_fill *fill,
				struct folio **folios, unsigned int nr,
				u64 index)
{
	unsigned int added = 0;
	u64 pages = (u64)nr << fill->order;

	if (!fill->err) {
		mem_cgroup_commit_advance(fill->memcg, folios, nr);
		fill->charged -= pages;
		added = shmem_add_restored_folios(fill->inode, folios, nr,
						  index);
		fill->accounted -= (u64)added << fill->order;
		if (added < nr)
			fill->err = MEMFD_LUO_GONE;
	}
	for (; added < nr; added++)
		folio_put(folios[added]);
}

/* The same, of any nodes. */
static void memfd_luo_fill_part(struct memfd_luo_fill *fill,
				const struct kho_run *run,
				const struct kho_run *end, u64 index)
{
	struct folio **folios = fill->folios;
	int nid = NUMA_NO_NODE;
	unsigned int nr = 0;
	unsigned long i;

	for (; run < end; run++) {
		for (i = 0; i < run->nr; i++) {
			struct folio *folio;

			folio = pfn_folio(run->pfn + (i << run->order));
			if (unlikely(folio_nid(folio) != nid)) {
				if (nr)
					memfd_luo_fill_node(fill, folios, nr,
							    index);
				index += (u64)nr << fill->order;
				nr = 0;
				nid = folio_nid(folio);
			}
			folios[nr++] = folio;
		}
	}
	memfd_luo_fill_node(fill, folios, nr, index);
}

static void memfd_luo_fill_all(struct memfd_luo_fill *fill)
{
	const struct kho_run *end = &fill->runs[fill->nr_runs];
	unsigned int i;

	for (i = 0; i < fill->nr_parts; i++)
		memfd_luo_fill_part(fill, &fill->runs[fill->parts[i].run],
				    i + 1 == fill->nr_parts ? end :
				    &fill->runs[fill->parts[i + 1].run],
				    fill->parts[i].index);

	WRITE_ONCE(fill->progress.page, fill->parts[i - 1].end);
	trace_memfd_luo_fill(fill->inode, fill->progress.page, fill->end);
}

/* Whether nothing is there yet. In a batch the parts are one behind the other. */
static bool memfd_luo_has_places(const struct memfd_luo_fill *fill)
{
	unsigned int i;

	for (i = 0; i < fill->nr_parts; i++) {
		unsigned long index = fill->parts[i].index;

		if (xa_find(&fill->inode->i_mapping->i_pages, &index,
			    fill->parts[i].end - 1, XA_PRESENT))
			return false;
	}
	return true;
}

/*
 * The batch goes into the file. Of what is named twice, or for one place, one is not
 * preserved any more: that and all that comes after it stays where it is.
 */
static void memfd_luo_flush_fill(struct memfd_luo_fill *fill)
{
	if (!fill->err) {
		if (memfd_luo_has_places(fill) &&
		    kho_restore_runs(fill->runs, fill->nr_runs))
			memfd_luo_fill_all(fill);
		else
			fill->err = MEMFD_LUO_GONE;
	}
	fill->nr = 0;
	fill->nr_runs = 0;
	fill->nr_parts = 0;
	cond_resched();
}

/* Have room for a folio of @order at @index in the batch. */
static void memfd_luo_fill_room(struct memfd_luo_fill *fill, u64 index,
				unsigned int order, unsigned int max)
{
	u64 next = fill->nr ? fill->parts[fill->nr_parts - 1].end : U64_MAX;

	if (fill->nr &&
	    (fill->nr >= max || order != fill->order || index < next ||
	     (index > next && fill->nr_parts == MEMFD_LUO_FILL_PARTS)))
		memfd_luo_flush_fill(fill);
	if (!fill->nr || index != next) {
		fill->parts[fill->nr_parts].index = index;
		fill->parts[fill->nr_parts++].run = fill->nr_runs;
	}
	fill->order = order;
}

/*
 * After an error, what remains is not touched: it may belong to anybody, since
 * the description is wrong in spite of its checksum.
 */
static int memfd_luo_fill_run(const struct memfd_luo_run *run, void *ctx)
{
	struct memfd_luo_fill *fill = ctx;
	unsigned int part, max = fill->max;
	u64 i;

	if (run->order)
		max = min(max, MEMFD_LUO_FILL_LARGE);

	for (i = 0; i < run->nr; i += part) {
		u64 index = run->index + (i << run->order);
		struct kho_run *runs;

		memfd_luo_fill_room(fill, index, run->order, max);
		part = min_t(u64, run->nr - i, max - fill->nr);
		runs = &fill->runs[fill->nr_runs];
		if (run->pfns) {
			memfd_luo_list_runs(run, i, runs, part);
			fill->nr_runs += part;
		} else {
			runs->pfn = run->pfn + (i << run->order);
			runs->nr = part;
			runs->order = run->order;
			fill->nr_runs++;
		}
		fill->nr += part;
		fill->parts[fill->nr_parts - 1].end =
			index + ((u64)part << run->order);
	}
	return fill->err;
}

/*
 * Put the folios into the file. -ENOMEM: nothing has been taken;
 * MEMFD_LUO_GONE: what was is freed with the file, the rest stays where it is.
 */
static int memfd_luo_fill(struct inode *inode, struct memfd_luo_ser *ser,
			  u64 pages)
{
	struct memfd_luo_fill *fill __free(kfree) = NULL;
	int err;

	fill = memfd_luo_fill_alloc(pages);
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

	/* Kept out of the file, should an extent name it. */
	get_page(virt_to_page(ser));
	memfd_luo_progress_begin(&fill->progress, "retrieve", inode, fill->end);
	err = memfd_luo_each_run(ser, memfd_luo_fill_run, fill);
	if (fill->nr)
		memfd_luo_flush_fill(fill);
	memfd_luo_progress_end(&fill->progress);
	put_page(virt_to_page(ser));
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
	struct memfd_luo_name name;

	if (err == -ENOMEM || err == -EINTR)
		return err;

	pr_warn_ratelimited("memfd \"%s\" waits, no file can be opened for it: %pe\n",
			    memfd_luo_show(&name, ser), ERR_PTR(err));
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
	struct memfd_luo_name name;
	struct memfd_luo_ser *ser;
	struct file *file;
	int err;

	ser = memfd_luo_check(args->serialized_data, &check);
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	if (check.max_order > MEMFD_LUO_MAX_ORDER) {
		pr_err_ratelimited("memfd \"%s\" waits for another kernel: it has folios of order %u, expected order %u at most\n",
				   memfd_luo_show(&name, ser), check.max_order,
				   MEMFD_LUO_MAX_ORDER);
		return -EAGAIN;
	}

	file = memfd_luo_make_file(ser);
	if (IS_ERR(file))
		return memfd_luo_try_again(ser, PTR_ERR(file));

	err = memfd_luo_fill(file_inode(file), ser, check.pages);
	if (err == MEMFD_LUO_GONE)
		pr_err("memfd \"%s\" is lost: its extents overlap\n",
		       memfd_luo_show(&name, ser));
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
	struct memfd_luo_name name;
	struct memfd_luo_ser *ser;

	if (args->retrieve_status > 0 ||
	    args->retrieve_status == MEMFD_LUO_GONE)
		return;

	ser = memfd_luo_check(args->serialized_data, &check);
	if (IS_ERR(ser))
		return;
	get_page(virt_to_page(ser));
	if (memfd_luo_each_run(ser, memfd_luo_free_run, NULL))
		pr_err("memfd \"%s\" is not all freed: its extents overlap\n",
		       memfd_luo_show(&name, ser));
	put_page(virt_to_page(ser));
	memfd_luo_free_ser(ser);
}
