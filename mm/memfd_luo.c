// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: preserving, in the kernel that goes.
 */

/**
 * DOC: memfd
 *
 * A memfd keeps its contents over a live update, holes as holes, and with them
 * its size, position, seals, permissions, flags and name. Nothing is copied:
 * the folios stay where they are, and a list of extents tells the next kernel
 * which folio belongs where (include/linux/kho/abi/memfd.h).
 *
 * *What can be preserved.* Files of shmem without a name in any directory:
 * memfds, and files of a tmpfs that were unlinked, which come back as memfds.
 * A file that has a path would lose it, so it is refused. hugetlb and secretmem
 * are other kinds of files.
 *
 * *While it is preserved* the file can be read, written and mapped. Its size is
 * fixed: what would change it, or punch a hole, fails with ``EPERM`` as if it
 * were sealed, though no seal shows. ``F_SEAL_WRITE`` fails with ``EBUSY`` if
 * there is a folio; other seals can be added until the reboot. If a page breaks
 * meanwhile (hwpoison), the reboot is refused with ``EHWPOISON``, since the next
 * kernel would not know of it: close the session that the file is in.
 *
 * *Folios wholly beyond the end* of the file, made by fallocate() with
 * ``FALLOC_FL_KEEP_SIZE``, hold nothing and are not handed over.
 *
 * *Every folio in the page cache* is pinned. It thus stays where it is: not
 * migrated, swapped out, split, collapsed or reclaimed. Before it is pinned it
 * is brought in from swap and moved out of CMA, where KHO's scratch lies. A
 * folio that is not up to date (fallocated) is zeroed.
 *
 * *Folios appear later too*, where a hole is written or faulted in. Either the
 * walk of preserve() or the one who adds the folio, see shmem_keep_begin(),
 * records it, and %MEMFD_LUO_TAG in the page cache tells whether that has been
 * done. No folio is missed: the inode's pointer to &struct memfd_luo is set
 * under the lock of the page cache. A folio added before that is found by the
 * walk; who adds one afterwards sees the pointer, and keeps the folio locked
 * until it is tagged. The walk leaves locked folios alone until it can lock
 * them. A collapse by khugepaged needs a folio to begin with, and finds it
 * pinned.
 *
 * *From freeze() on* who fills a hole or adds a seal waits, since nothing can
 * be told to the next kernel any more: until the jump, or until unfreeze().
 * Nobody waits to set the position, flags or mode: what is set between the
 * freeze and the jump is lost with this kernel, as it would be a moment later.
 *
 * The lock of &struct memfd_luo nests in mmap_lock, i_rwsem and the folio lock.
 *
 * *Nobody's page fault is waited for.* write() holds i_rwsem while it faults in
 * what it copies from, and a FUSE daemon or userfaultfd can let that take for
 * ever: preserve() tries for the lock, and gives up after a while. No
 * operation takes mmap_lock. A folio of shmem is never locked by who waits for
 * user memory: write() and UFFDIO_COPY copy with page faults disabled then.
 * Who waits for the end of a freeze() does have folios locked, and i_rwsem:
 * what undoes a freeze() takes neither.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/cleanup.h>
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "internal.h"
#include "memfd_luo.h"

/* How long preserve() tries for i_rwsem. */
#define MEMFD_LUO_LOCK_TIME	HZ

static void memfd_luo_put(struct memfd_luo *luo)
{
	if (refcount_dec_and_test(&luo->refs))
		kfree_rcu(luo, rcu);
}

/* For who comes from the page cache: the file may be unpreserved meanwhile. */
static struct memfd_luo *memfd_luo_get(struct inode *inode)
{
	struct memfd_luo *luo;

	guard(rcu)();
	luo = rcu_dereference(SHMEM_I(inode)->preserved);
	if (luo && refcount_inc_not_zero(&luo->refs))
		return luo;
	return NULL;
}

/* The lock, as soon as the file is not frozen. */
static int memfd_luo_lock_thawed(struct memfd_luo *luo)
{
	for (;;) {
		mutex_lock(&luo->lock);
		if (luo->state != MEMFD_LUO_FROZEN)
			return 0;
		mutex_unlock(&luo->lock);

		if (wait_event_killable(luo->thawed, READ_ONCE(luo->state) !=
						     MEMFD_LUO_FROZEN))
			return -EINTR;
	}
}

/**
 * memfd_luo_folio_begin - a folio joins a preserved file, see shmem_keep_begin()
 * @inode: inode of the file
 * @folio: the folio; locked, in the page cache, and not in use yet
 *
 * Context: may sleep. Unless it returns %NULL or an error, the lock is held
 * until memfd_luo_folio_end(): freeze() then waits for the folio.
 * Return: for memfd_luo_folio_end(); %NULL if there is nothing to do; -EAGAIN
 * if the folio lies where it cannot stay; -EINTR, -ENOMEM.
 */
struct memfd_luo *memfd_luo_folio_begin(struct inode *inode,
					struct folio *folio)
{
	struct memfd_luo *luo = memfd_luo_get(inode);
	int err;

	if (!luo)
		return NULL;

	err = memfd_luo_lock_thawed(luo);
	if (err)
		goto put;

	if (luo->state == MEMFD_LUO_DEAD || folio->index >= luo->end)
		goto unlock;

	if (!folio_is_longterm_pinnable(folio)) {
		err = -EAGAIN;
		goto unlock;
	}
	err = try_grab_folio(folio, 1, FOLL_PIN);
	if (err)
		goto unlock;
	err = memfd_luo_prepare(luo, folio);
	if (!err)
		return luo;
	unpin_folio(folio);
unlock:
	mutex_unlock(&luo->lock);
put:
	memfd_luo_put(luo);
	return ERR_PTR(err);
}

/**
 * memfd_luo_folio_end - what became of it after memfd_luo_folio_begin()
 * @luo:   what that returned
 * @folio: the folio
 * @added: whether it stays
 */
void memfd_luo_folio_end(struct memfd_luo *luo, struct folio *folio, bool added)
{
	if (added)
		memfd_luo_commit(luo, folio);
	else
		memfd_luo_let_go(luo, folio);
	mutex_unlock(&luo->lock);
	memfd_luo_put(luo);
}

/**
 * memfd_luo_add_seals - add seals to a file that is preserved
 * @inode: inode of the file
 * @seals: seals; all that they demand has been seen to
 *
 * Context: may sleep, until a frozen file is thawed; i_rwsem is held.
 * Return: 0, or -EINTR and nothing was added.
 */
int memfd_luo_add_seals(struct inode *inode, unsigned int seals)
{
	struct memfd_luo *luo = memfd_luo_get(inode);
	int err;

	/* It can have been unpreserved, but not preserved: i_rwsem is held. */
	if (!luo) {
		SHMEM_I(inode)->seals |= seals;
		return 0;
	}

	err = memfd_luo_lock_thawed(luo);
	if (!err) {
		SHMEM_I(inode)->seals |= seals;
		mutex_unlock(&luo->lock);
	}
	memfd_luo_put(luo);
	return err;
}

/* The handler */

static void memfd_luo_set_name(struct memfd_luo_ser *ser, struct file *file)
{
	const size_t skip = sizeof(MEMFD_LUO_PREFIX) - 1;
	struct name_snapshot snapshot;
	const unsigned char *name;
	size_t len;

	take_dentry_name_snapshot(&snapshot, file->f_path.dentry);
	name = snapshot.name.name;
	len = snapshot.name.len;
	if (len >= skip && !memcmp(name, MEMFD_LUO_PREFIX, skip)) {
		name += skip;
		len -= skip;
	}
	ser->name_len = min_t(size_t, len, MEMFD_LUO_NAME_MAX);
	memcpy(ser->name, name, ser->name_len);
	release_dentry_name_snapshot(&snapshot);
}

static struct memfd_luo *memfd_luo_alloc(struct file *file)
{
	/* The file may still grow: it is recorded in shorter lists then. */
	u32 max = clamp_t(u64, i_size_read(file_inode(file)) >> PAGE_SHIFT, 1,
			  MEMFD_LUO_LIST_MAX);
	struct memfd_luo_ser *ser;
	struct memfd_luo *luo;

	luo = kzalloc(struct_size(luo, pfns, max), GFP_KERNEL_ACCOUNT);
	if (!luo)
		return ERR_PTR(-ENOMEM);

	ser = kho_alloc_preserve(PAGE_SIZE);
	if (IS_ERR(ser)) {
		kfree(luo);
		return ERR_CAST(ser);
	}
	memfd_luo_set_name(ser, file);

	luo->inode = file_inode(file);
	memfd_luo_writer_init(&luo->writer, ser, luo->pfns, max);
	refcount_set(&luo->refs, 1);
	init_waitqueue_head(&luo->thawed);
	mutex_init(&luo->lock);
	return luo;
}

static void memfd_luo_free(struct memfd_luo *luo)
{
	kho_chain_destroy(&luo->writer.chain);
	kho_unpreserve_free(luo->writer.ser);
	memfd_luo_put(luo);
}

/*
 * Whoever can write to the file can hold the lock for as long as they like, and
 * everybody who wants to preserve or to reboot would wait with us. The price: it
 * cannot be had either while several programs write without a pause, since it
 * passes from one to the next.
 */
static int memfd_luo_lock_inode(struct inode *inode)
{
	unsigned long end = jiffies + MEMFD_LUO_LOCK_TIME;

	while (!inode_trylock(inode)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (time_after(jiffies, end))
			return -EBUSY;
		/* Short, to meet the gap between two calls of write(). */
		usleep_range(50, 100);
	}
	return 0;
}

/* Fix the size, and have everybody who adds a folio come to us. */
static int memfd_luo_publish(struct memfd_luo *luo)
{
	struct inode *inode = luo->inode;
	int err = memfd_luo_lock_inode(inode);

	if (err)
		return err;
	if (shmem_is_preserved(inode)) {
		inode_unlock(inode);
		return -EBUSY;
	}
	luo->end = DIV_ROUND_UP_ULL(i_size_read(inode), PAGE_SIZE);

	xa_lock_irq(&inode->i_mapping->i_pages);
	rcu_assign_pointer(SHMEM_I(inode)->preserved, luo);
	xa_unlock_irq(&inode->i_mapping->i_pages);
	inode_unlock(inode);
	return 0;
}

static void memfd_luo_withdraw(struct memfd_luo *luo)
{
	struct inode *inode = luo->inode;

	mutex_lock(&luo->lock);
	WRITE_ONCE(luo->state, MEMFD_LUO_DEAD);
	mutex_unlock(&luo->lock);
	wake_up_all(&luo->thawed);

	/* The size stays fixed until every pin is gone. */
	memfd_luo_unwalk(luo);
	RCU_INIT_POINTER(SHMEM_I(inode)->preserved, NULL);
}

static bool memfd_luo_can_preserve(struct liveupdate_file_handler *handler,
				   struct file *file)
{
	struct inode *inode = file_inode(file);

	/*
	 * A file of a stacked filesystem has the mapping of another inode;
	 * private inodes belong to the kernel or to System V shared memory.
	 */
	return shmem_file(file) && file->f_mapping->host == inode &&
	       S_ISREG(inode->i_mode) && !IS_PRIVATE(inode) &&
	       !READ_ONCE(inode->i_nlink);
}

/*
 * -EBUSY: a folio is in use where it may not stay, or preserved otherwise; or
 * calls of write() or fallocate() leave no gap for more than a second. -ENOMEM,
 * also where a folio cannot be migrated, or too little would be left; -EINTR:
 * killed; -EIO: a page is broken, or its swap is.
 */
static int memfd_luo_preserve(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *luo = memfd_luo_alloc(args->file);
	int err;

	if (IS_ERR(luo))
		return PTR_ERR(luo);

	err = memfd_luo_publish(luo);
	if (err)
		goto free;
	err = memfd_luo_walk(luo);
	if (err)
		goto withdraw;

	args->private_data = luo;
	args->serialized_data = virt_to_phys(luo->writer.ser);
	return 0;

withdraw:
	memfd_luo_withdraw(luo);
free:
	memfd_luo_free(luo);
	return err;
}

static void memfd_luo_unpreserve(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *luo = args->private_data;

	memfd_luo_withdraw(luo);
	memfd_luo_free(luo);
}

/* Allocates nothing, so it fails for our own bugs only. */
static int memfd_luo_freeze(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *luo = args->private_data;
	struct memfd_luo_ser *ser = luo->writer.ser;
	int err;

	guard(mutex)(&luo->lock);
	err = memfd_luo_seal_words(&luo->writer);
	if (err)
		return err;
	WRITE_ONCE(luo->state, MEMFD_LUO_FROZEN);

	ser->pos = args->file->f_pos;
	ser->size = i_size_read(luo->inode);
	ser->seals = READ_ONCE(SHMEM_I(luo->inode)->seals);
	ser->f_flags = args->file->f_flags & MEMFD_LUO_F_FLAGS;
	ser->mode = luo->inode->i_mode & MEMFD_LUO_MODE;
	ser->crc32c = memfd_luo_crc(ser);
	return 0;
}

static void memfd_luo_unfreeze(struct liveupdate_file_op_args *args)
{
	struct memfd_luo *luo = args->private_data;

	mutex_lock(&luo->lock);
	WRITE_ONCE(luo->state, MEMFD_LUO_LIVE);
	mutex_unlock(&luo->lock);
	wake_up_all(&luo->thawed);
}

static bool memfd_luo_can_finish(struct liveupdate_file_op_args *args)
{
	return true;
}

/* Several open files can be of one memfd, which is preserved once only. */
static unsigned long memfd_luo_get_id(struct file *file)
{
	return (unsigned long)file_inode(file);
}

static const struct liveupdate_file_ops memfd_luo_file_ops = {
	.can_preserve	= memfd_luo_can_preserve,
	.preserve	= memfd_luo_preserve,
	.unpreserve	= memfd_luo_unpreserve,
	.freeze		= memfd_luo_freeze,
	.unfreeze	= memfd_luo_unfreeze,
	.retrieve	= memfd_luo_retrieve,
	.can_finish	= memfd_luo_can_finish,
	.finish		= memfd_luo_finish,
	.get_id		= memfd_luo_get_id,
	.owner		= THIS_MODULE,
};

static struct liveupdate_file_handler memfd_luo_handler = {
	.ops		= &memfd_luo_file_ops,
	.compatible	= MEMFD_LUO_FH_COMPATIBLE,
};

static int __init memfd_luo_init(void)
{
	int err = liveupdate_register_file_handler(&memfd_luo_handler);

	if (err && err != -EOPNOTSUPP)
		pr_err("memfds cannot be preserved: registering \"%s\" failed with %d\n",
		       MEMFD_LUO_FH_COMPATIBLE, err);
	if (!err)
		kho_require(MEMFD_LUO_FH_COMPATIBLE, false);
	return err == -EOPNOTSUPP ? 0 : err;
}
late_initcall(memfd_luo_init);
