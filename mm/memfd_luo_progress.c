// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: how far it is with the large ones.
 */

/**
 * DOC: Progress
 *
 * Preserving or retrieving a memfd of many gigabytes takes its time. The file
 * ``liveupdate/memfds`` in debugfs has a line for each one that is under way::
 *
 *	preserve ino=1031 page=81920 of=16777216
 *	retrieve ino=7 page=512 of=262144
 *
 * All pages before ``page`` have been seen to, holes included. The trace events
 * ``memfd_luo_walk`` and ``memfd_luo_fill`` tell the same as it happens.
 */

#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/list.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>

#include "memfd_luo.h"

static DEFINE_SPINLOCK(memfd_luo_progress_lock);
static LIST_HEAD(memfd_luo_progress_list);

/**
 * memfd_luo_progress_begin - show how far some work is
 * @progress: the work, until memfd_luo_progress_end()
 * @what:     what is done, a word
 * @inode:    inode of the file
 * @end:      pages of the file
 *
 * Context: may sleep.
 */
void memfd_luo_progress_begin(struct memfd_luo_progress *progress,
			      const char *what, const struct inode *inode,
			      u64 end)
{
	progress->what = what;
	progress->ino = inode->i_ino;
	progress->page = 0;
	progress->end = end;
	spin_lock(&memfd_luo_progress_lock);
	list_add_tail(&progress->list, &memfd_luo_progress_list);
	spin_unlock(&memfd_luo_progress_lock);
}

/**
 * memfd_luo_progress_end - the work is over
 * @progress: as begun
 *
 * Context: may sleep.
 */
void memfd_luo_progress_end(struct memfd_luo_progress *progress)
{
	spin_lock(&memfd_luo_progress_lock);
	list_del(&progress->list);
	spin_unlock(&memfd_luo_progress_lock);
}

static int memfds_show(struct seq_file *seq, void *unused)
{
	struct memfd_luo_progress *progress;

	spin_lock(&memfd_luo_progress_lock);
	list_for_each_entry(progress, &memfd_luo_progress_list, list)
		seq_printf(seq, "%s ino=%lu page=%llu of=%llu\n",
			   progress->what, progress->ino,
			   READ_ONCE(progress->page), progress->end);
	spin_unlock(&memfd_luo_progress_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(memfds);

static int __init memfd_luo_progress_init(void)
{
	struct dentry *dir = debugfs_lookup("liveupdate", NULL);

	/* Not there if live update is switched off, or without debugfs. */
	if (IS_ERR_OR_NULL(dir))
		return 0;
	debugfs_create_file("memfds", 0400, dir, NULL, &memfds_fops);
	dput(dir);
	return 0;
}
late_initcall(memfd_luo_progress_init);
