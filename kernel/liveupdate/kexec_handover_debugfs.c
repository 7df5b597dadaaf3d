// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: what comes in and goes out, in debugfs.
 */

/**
 * DOC: Inspection
 *
 * Files in ``kho`` in debugfs, readable for root only::
 *
 *	in/fdt			root FDT of the previous kernel, for dtc
 *	in/sub_fdts/NAME	the blobs it handed over, FDTs most of them
 *	out/fdt			root FDT for the next kernel, as it is now
 *	out/sub_fdts/NAME	the blobs for it, as they are now
 *	out/scratch		a line per area: address, size in bytes
 *	out/pages		a line per order in which something is
 *				preserved: the order, number of blocks
 *
 * The incoming blobs are copies from before their users took and freed them.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/libfdt.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "kho_internal.h"

/**
 * struct kho_blob - a file with a blob
 * @list:   of all that come in, or go out
 * @name:   of the subtree
 * @blob:   copy of one that came in
 * @dentry: file of one that goes out
 */
struct kho_blob {
	struct list_head list;
	const char *name;
	struct debugfs_blob_wrapper blob;
	struct dentry *dentry;
};

static struct debugfs_blob_wrapper kho_in_root;
static LIST_HEAD(kho_in_blobs);

/*
 * Protects what follows. Taken before the lock of the outgoing FDT, which
 * readers take: files are never removed with that one held.
 */
static DEFINE_MUTEX(kho_debugfs_lock);
static LIST_HEAD(kho_out_blobs);
static struct dentry *kho_out_dir;

static struct kho_blob *kho_blob_new(const char *name, struct list_head *list)
{
	struct kho_blob *blob = kzalloc(sizeof(*blob), GFP_KERNEL);

	if (!blob)
		return NULL;
	blob->name = kstrdup(name, GFP_KERNEL);
	if (!blob->name) {
		kfree(blob);
		return NULL;
	}
	list_add_tail(&blob->list, list);
	return blob;
}

static void kho_blob_free(struct kho_blob *blob)
{
	list_del(&blob->list);
	kvfree(blob->blob.data);
	kfree(blob->name);
	kfree(blob);
}

static bool kho_blob_exists(const char *name, const struct list_head *list)
{
	const struct kho_blob *blob;

	list_for_each_entry(blob, list, list)
		if (!strcmp(blob->name, name))
			return true;
	return false;
}

/* A reader gets the state of when it opened the file. */
static int kho_out_open(struct inode *inode, struct file *file)
{
	const struct kho_blob *blob = inode->i_private;
	struct debugfs_blob_wrapper *copy;

	copy = kzalloc(sizeof(*copy), GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	copy->data = kho_copy_blob(kho_out_fdt, blob ? blob->name : NULL,
				   &copy->size);
	if (IS_ERR(copy->data)) {
		int err = PTR_ERR(copy->data);

		kfree(copy);
		return err;
	}
	file->private_data = copy;
	return 0;
}

static ssize_t kho_out_read(struct file *file, char __user *buf, size_t len,
			    loff_t *pos)
{
	const struct debugfs_blob_wrapper *copy = file->private_data;

	return simple_read_from_buffer(buf, len, pos, copy->data, copy->size);
}

static int kho_out_release(struct inode *inode, struct file *file)
{
	struct debugfs_blob_wrapper *copy = file->private_data;

	kvfree(copy->data);
	kfree(copy);
	return 0;
}

static const struct file_operations kho_out_fops = {
	.owner = THIS_MODULE,
	.open = kho_out_open,
	.read = kho_out_read,
	.release = kho_out_release,
	.llseek = default_llseek,
};

static int kho_areas_show(struct seq_file *m, void *unused)
{
	unsigned int i;

	for (i = 0; i < kho_scratch_cnt; i++)
		seq_printf(m, "%#llx %#llx\n", (u64)kho_scratch[i].addr,
			   (u64)kho_scratch[i].size);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(kho_areas);

static int kho_pages_show(struct seq_file *m, void *unused)
{
	unsigned long nr_by_order[KHO_MAP_MAX_ORDER + 1];
	unsigned int order;

	kho_map_count(&kho_map, nr_by_order);
	for (order = 0; order <= KHO_MAP_MAX_ORDER; order++)
		if (nr_by_order[order])
			seq_printf(m, "%u %lu\n", order, nr_by_order[order]);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(kho_pages);

static void kho_drop_files(const void *fdt)
{
	struct kho_blob *blob, *next;

	list_for_each_entry_safe(blob, next, &kho_out_blobs, list) {
		if (fdt_subnode_offset(fdt, 0, blob->name) >= 0)
			continue;
		debugfs_remove(blob->dentry);
		kho_blob_free(blob);
	}
}

static void kho_make_files(const void *fdt)
{
	struct kho_blob *blob;
	const char *name;
	int node;

	fdt_for_each_subnode(node, fdt, 0) {
		name = fdt_get_name(fdt, node, NULL);
		if (!name || kho_blob_exists(name, &kho_out_blobs))
			continue;
		blob = kho_blob_new(name, &kho_out_blobs);
		if (blob)
			blob->dentry = debugfs_create_file(name, 0400,
							   kho_out_dir, blob,
							   &kho_out_fops);
	}
}

/**
 * kho_debugfs_sync - have a file for each subtree that goes out
 *
 * Context: may sleep, without the lock of the FDT.
 */
void kho_debugfs_sync(void)
{
	size_t size;
	void *fdt;

	guard(mutex)(&kho_debugfs_lock);

	if (!kho_out_dir)
		return;
	fdt = kho_copy_blob(kho_out_fdt, NULL, &size);
	if (IS_ERR(fdt))
		return;
	kho_drop_files(fdt);
	kho_make_files(fdt);
	kvfree(fdt);
}

/* Their users free the blobs from core_initcall on. */
static int __init kho_debugfs_copy_in(void)
{
	struct kho_blob *blob;
	const char *name;
	size_t size;
	void *data;
	int node;

	if (!kho_in.taken || !kho_in.fdt)
		return 0;

	kho_in_root.data = kho_in.fdt;
	kho_in_root.size = fdt_totalsize(kho_in.fdt);
	fdt_for_each_subnode(node, kho_in.fdt, 0) {
		name = fdt_get_name(kho_in.fdt, node, NULL);
		data = kho_copy_blob(kho_in.fdt, name, &size);
		if (IS_ERR(data))
			continue;
		blob = kho_blob_new(name, &kho_in_blobs);
		if (!blob) {
			kvfree(data);
			continue;
		}
		blob->blob.data = data;
		blob->blob.size = size;
	}
	return 0;
}
pure_initcall(kho_debugfs_copy_in);

static void __init kho_debugfs_make_in(struct dentry *kho)
{
	struct dentry *dir, *sub;
	struct kho_blob *blob;

	if (!kho_in_root.data)
		return;

	dir = debugfs_create_dir("in", kho);
	debugfs_create_blob("fdt", 0400, dir, &kho_in_root);
	sub = debugfs_create_dir("sub_fdts", dir);
	list_for_each_entry(blob, &kho_in_blobs, list)
		debugfs_create_blob(blob->name, 0400, sub, &blob->blob);
}

static void __init kho_debugfs_make_out(struct dentry *kho)
{
	struct dentry *dir = debugfs_create_dir("out", kho);

	debugfs_create_file("fdt", 0400, dir, NULL, &kho_out_fops);
	debugfs_create_file("scratch", 0400, dir, NULL, &kho_areas_fops);
	debugfs_create_file("pages", 0400, dir, NULL, &kho_pages_fops);

	scoped_guard(mutex, &kho_debugfs_lock)
		kho_out_dir = debugfs_create_dir("sub_fdts", dir);
	kho_debugfs_sync();
}

static int __init kho_debugfs_init(void)
{
	struct dentry *kho;

	if (!kho_is_enabled())
		return 0;

	kho = debugfs_create_dir("kho", NULL);
	kho_debugfs_make_in(kho);
	kho_debugfs_make_out(kho);
	kho_debug_init(kho);
	return 0;
}
late_initcall(kho_debugfs_init);
