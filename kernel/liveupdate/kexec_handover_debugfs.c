// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: debugfs, for tests.
 */

/**
 * DOC: Damage on demand
 *
 * ``kho/corrupt`` in debugfs takes a line that names a byte of what is handed
 * over; the byte is inverted right before the jump, after the checksums were
 * written. Each write replaces the one before; an empty line clears it::
 *
 *	root OFFSET			the root FDT
 *	check OFFSET			the checksums
 *	map NODE OFFSET			a node of the page map, in walk order
 *	blob NAME OFFSET		a subtree's blob
 *	chain NAME PATH PROP OFFSET	the first page of the chain that a
 *					property of a subtree's FDT points to
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/libfdt.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "kho_internal.h"

#define KHO_CORRUPT_LINE	160

struct kho_corrupt {
	u8 *(*find)(const struct kho_corrupt *corrupt);
	char name[32];
	char path[32];
	char prop[32];
	unsigned long nr;
	unsigned long offset;
};

static struct kho_corrupt kho_corrupt;

static u8 *kho_find_root(const struct kho_corrupt *corrupt)
{
	return kho_out_fdt;
}

static u8 *kho_find_blob_named(const char *name)
{
	int node = fdt_subnode_offset(kho_out_fdt, 0, name);
	const void *prop;
	u64 phys;

	prop = fdt_getprop(kho_out_fdt, node, KHO_FDT_SUB_TREE_PROP_NAME, NULL);
	if (!prop)
		return NULL;
	memcpy(&phys, prop, sizeof(phys));
	return phys_to_virt(phys);
}

static u8 *kho_find_check(const struct kho_corrupt *corrupt)
{
	return kho_find_blob_named(KHO_CHECK_SUBTREE_NAME);
}

static u8 *kho_find_blob(const struct kho_corrupt *corrupt)
{
	return kho_find_blob_named(corrupt->name);
}

static u8 *kho_find_chain(const struct kho_corrupt *corrupt)
{
	const void *fdt = kho_find_blob_named(corrupt->name);
	const void *prop;
	u64 phys;

	if (!fdt)
		return NULL;
	prop = fdt_getprop(fdt, fdt_path_offset(fdt, corrupt->path),
			   corrupt->prop, NULL);
	if (!prop)
		return NULL;
	memcpy(&phys, prop, sizeof(phys));
	return phys ? phys_to_virt(phys) : NULL;
}

struct kho_find_node {
	struct kho_map_walk walk;
	unsigned long nr;
	u8 *found;
};

static int kho_find_node(struct kho_map_walk *walk, phys_addr_t phys)
{
	struct kho_find_node *find =
		container_of(walk, struct kho_find_node, walk);

	if (find->nr--)
		return 0;
	find->found = phys_to_virt(phys);
	return 1;
}

static int kho_find_leaf(struct kho_map_walk *walk, u64 key,
			 const unsigned long *bits)
{
	return 0;
}

static u8 *kho_find_map(const struct kho_corrupt *corrupt)
{
	struct kho_find_node find = {
		.walk = { .node = kho_find_node, .leaf = kho_find_leaf },
		.nr = corrupt->nr,
	};

	kho_map_walk(&find.walk, kho_map_root(&kho_map));
	return find.found;
}

/**
 * kho_debug_corrupt - do what was asked for in debugfs
 *
 * Context: at the jump, when nothing else runs.
 */
void kho_debug_corrupt(void)
{
	u8 *base;

	if (!kho_corrupt.find)
		return;
	base = kho_corrupt.find(&kho_corrupt);
	if (base)
		base[kho_corrupt.offset] ^= 0xff;
	pr_notice("%s a byte for a test\n", base ? "inverted" : "did not find");
}

static int kho_parse_corrupt(const char *line, struct kho_corrupt *corrupt)
{
	struct kho_corrupt c = {};

	if (sscanf(line, "root %lu", &c.offset) == 1)
		c.find = kho_find_root;
	else if (sscanf(line, "check %lu", &c.offset) == 1)
		c.find = kho_find_check;
	else if (sscanf(line, "map %lu %lu", &c.nr, &c.offset) == 2)
		c.find = kho_find_map;
	else if (sscanf(line, "blob %31s %lu", c.name, &c.offset) == 2)
		c.find = kho_find_blob;
	else if (sscanf(line, "chain %31s %31s %31s %lu", c.name, c.path,
			c.prop, &c.offset) == 4)
		c.find = kho_find_chain;
	else if (line[0] && line[0] != '\n')
		return -EINVAL;

	if (c.offset >= PAGE_SIZE)
		return -EINVAL;
	*corrupt = c;
	return 0;
}

static ssize_t kho_corrupt_write(struct file *file, const char __user *buf,
				 size_t count, loff_t *pos)
{
	char line[KHO_CORRUPT_LINE] = {};
	int err;

	if (count >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, count))
		return -EFAULT;
	err = kho_parse_corrupt(line, &kho_corrupt);
	return err ?: count;
}

static const struct file_operations kho_corrupt_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = kho_corrupt_write,
	.llseek = noop_llseek,
};

static int __init kho_debugfs_init(void)
{
	struct dentry *dir;

	if (!kho_is_enabled())
		return 0;
	dir = debugfs_create_dir("kho", NULL);
	debugfs_create_file("corrupt", 0200, dir, NULL, &kho_corrupt_fops);
	return 0;
}
late_initcall(kho_debugfs_init);
