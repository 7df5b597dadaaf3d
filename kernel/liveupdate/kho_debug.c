// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: checks that cost time, and damage for tests.
 */

/**
 * DOC: Checks
 *
 * A page that is preserved must belong to somebody, must not lie in scratch,
 * and must not be preserved already, in whatever order. The page map itself
 * notices only that the same block is preserved twice: looking for the others
 * costs a walk per order and a look at every page. What is found is a bug of
 * the caller, and nothing is preserved or unpreserved then.
 * ``kho_debug.checks=0`` on the kernel command line leaves them out.
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
 *	chain NAME PATH PROP [AT >]... OFFSET
 *					the page that a property of a subtree's
 *					FDT points to, or the one whose address
 *					is in there at AT, and so on
 *	entry NAME PATH PROP [AT >]... OFFSET
 *					the same for a page of a chain, which is
 *					summed again: the sender made a mistake
 *
 * Mistakes of the sender's in the page map, which get the right checksums::
 *
 *	slot NODE SLOT VALUE		a word of a node is set right before the
 *					jump, to a number, or with nN to the
 *					address of node N; all words with a
 *					SLOT of 512
 *	block ADDRESS ORDER		a block is added at once, whatever is
 *					there; what was asked for stays
 *
 * ``kho_debug.fail_init=1`` on the kernel command line has the handover fail to
 * start.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kstrtox.h>
#include <linux/libfdt.h>
#include <linux/log2.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kho_internal.h"

/* For who measures what the rest costs. */
static bool kho_debug_checks = true;
module_param_named(checks, kho_debug_checks, bool, 0444);
MODULE_PARM_DESC(checks, "check what is preserved and unpreserved");

static bool kho_debug_init_fails;
module_param_named(fail_init, kho_debug_init_fails, bool, 0444);
MODULE_PARM_DESC(fail_init, "fail to start");

/**
 * kho_debug_fail_init - an error for tests
 *
 * Return: 0, or -ENOSPC if that is what was asked for.
 */
int __init kho_debug_fail_init(void)
{
	return kho_debug_init_fails ? -ENOSPC : 0;
}

/* Bugs of callers end here. */
VISIBLE_IF_KUNIT void kho_debug_report(unsigned long pfn, const char *what)
{
	KUNIT_STATIC_STUB_REDIRECT(kho_debug_report, pfn, what);

	WARN(1, "KHO: page frame %#lx %s\n", pfn, what);
}

/* A page of [@pfn, @pfn + @nr) that is in the map, in whatever order. */
static bool kho_find_preserved(unsigned long pfn, unsigned long nr,
			       unsigned long *found)
{
	unsigned int order, max = ilog2(max_pfn);

	for (order = 0; order <= max; order++) {
		unsigned long first = round_down(pfn, 1UL << order);
		unsigned long blocks, block;

		blocks = ((pfn + nr - 1 - first) >> order) + 1;
		block = kho_map_find(&kho_map, first, blocks, order);
		if (block < blocks) {
			*found = max(pfn, first + (block << order));
			return true;
		}
	}
	return false;
}

/**
 * kho_debug_preserve - check pages that are about to be preserved
 * @pfn: the first
 * @nr:  how many
 *
 * Context: may sleep.
 * Return: 0; -EEXIST or -EINVAL after a warning.
 */
int kho_debug_preserve(unsigned long pfn, unsigned long nr)
{
	unsigned long found, end = pfn + nr;
	bool scratch;

	if (!kho_debug_checks)
		return 0;
	scratch = kho_scratch_overlap(PFN_PHYS(pfn), PFN_PHYS(nr));
	if (kho_find_preserved(pfn, nr, &found)) {
		kho_debug_report(found, "is preserved already");
		return -EEXIST;
	}
	for (; pfn < end; pfn++) {
		struct page *page = pfn_to_online_page(pfn);

		if (!page || !page_count(page))
			kho_debug_report(pfn, "is preserved, but free");
		else if (scratch &&
			 kho_scratch_overlap(PFN_PHYS(pfn), PAGE_SIZE))
			kho_debug_report(pfn, "is preserved, but in scratch");
		else
			continue;
		return -EINVAL;
	}
	return 0;
}

/**
 * kho_debug_unpreserve - check a run that is about to be unpreserved
 * @pfn:   first page of the first block
 * @nr:    number of blocks
 * @order: order of each
 *
 * Context: may sleep.
 * Return: true if all of it is preserved in this order; a warning otherwise.
 */
bool kho_debug_unpreserve(unsigned long pfn, unsigned long nr,
			  unsigned int order)
{
	if (!kho_debug_checks)
		return true;
	while (nr && kho_map_test(&kho_map, pfn, 1, order)) {
		pfn += 1UL << order;
		nr--;
	}
	if (nr)
		kho_debug_report(pfn, "is unpreserved, but was not preserved");
	return !nr;
}

#define KHO_CORRUPT_LINE	160
#define KHO_CORRUPT_STEPS	6

struct kho_corrupt {
	u8 *(*find)(const struct kho_corrupt *corrupt);
	char name[32];
	char path[32];
	char prop[32];
	unsigned long nr;
	unsigned long at[KHO_CORRUPT_STEPS];	/* addresses to follow */
	unsigned int nr_at;
	unsigned long offset;
	bool resum;
	bool is_slot;		/* a node gets words, before it is summed */
	unsigned int nr_slots;
	bool to_node;		/* @value is the number of a node */
	u64 value;
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
	unsigned int i;
	u64 phys;

	if (!fdt)
		return NULL;
	prop = fdt_getprop(fdt, fdt_path_offset(fdt, corrupt->path),
			   corrupt->prop, NULL);
	if (!prop)
		return NULL;
	memcpy(&phys, prop, sizeof(phys));
	for (i = 0; phys && i < corrupt->nr_at; i++)
		memcpy(&phys, phys_to_virt(phys) + corrupt->at[i],
		       sizeof(phys));
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

static u8 *kho_find_node_nr(unsigned long nr)
{
	struct kho_find_node find = {
		.walk = { .node = kho_find_node, .leaf = kho_find_leaf },
		.nr = nr,
	};

	kho_map_walk(&find.walk, kho_map_root(&kho_map));
	return find.found;
}

static u8 *kho_find_map(const struct kho_corrupt *corrupt)
{
	return kho_find_node_nr(corrupt->nr);
}

/**
 * kho_debug_damage_map - do to the page map what was asked for in debugfs
 *
 * Context: at the jump, when nothing else runs, before the map is summed.
 */
void kho_debug_damage_map(void)
{
	u64 value = kho_corrupt.value;
	unsigned int i;
	u8 *base, *node;

	if (!kho_corrupt.is_slot)
		return;
	base = kho_corrupt.find(&kho_corrupt);
	node = kho_corrupt.to_node ? kho_find_node_nr(value) : NULL;
	if (node)
		value = virt_to_phys(node);
	if (!kho_corrupt.to_node != !node)
		base = NULL;
	for (i = 0; base && i < kho_corrupt.nr_slots; i++)
		memcpy(base + kho_corrupt.offset + i * sizeof(value), &value,
		       sizeof(value));
	pr_notice("%s a slot for a test\n", base ? "set" : "did not find");
}

/**
 * kho_debug_corrupt - do what was asked for in debugfs
 *
 * Context: at the jump, when nothing else runs.
 */
void kho_debug_corrupt(void)
{
	u32 entry_size;
	u8 *base;

	if (!kho_corrupt.find || kho_corrupt.is_slot)
		return;
	base = kho_corrupt.find(&kho_corrupt);
	if (base) {
		entry_size = kho_corrupt.resum ? kho_chain_guess_size((void *)base) : 0;
		base[kho_corrupt.offset] ^= 0xff;
		if (entry_size)
			kho_chain_resum((void *)base, entry_size);
	}
	pr_notice("%s a byte for a test\n", base ? "inverted" : "did not find");
}

/* "[AT >]... OFFSET" */
static int kho_parse_steps(const char *text, struct kho_corrupt *c)
{
	unsigned long value;
	int used;

	while (sscanf(text, "%lu%n", &value, &used) == 1) {
		text = skip_spaces(text + used);
		if (*text != '>') {
			c->offset = value;
			return *text ? -EINVAL : 0;
		}
		if (c->nr_at == KHO_CORRUPT_STEPS ||
		    value > PAGE_SIZE - sizeof(u64))
			break;
		c->at[c->nr_at++] = value;
		text = skip_spaces(text + 1);
	}
	return -EINVAL;
}

/* "NODE SLOT VALUE", behind "slot". */
static int kho_parse_slot(const char *text, struct kho_corrupt *c)
{
	char value[20];

	if (sscanf(text, "%lu %lu %19s", &c->nr, &c->offset, value) != 3 ||
	    c->offset > KHO_MAP_TABLE_SLOTS)
		return -EINVAL;
	c->nr_slots = 1;
	if (c->offset == KHO_MAP_TABLE_SLOTS) {
		c->nr_slots = KHO_MAP_TABLE_SLOTS;
		c->offset = 0;
	}
	c->offset *= sizeof(u64);
	c->is_slot = true;
	c->to_node = value[0] == 'n';
	return kstrtou64(value + c->to_node, 0, &c->value);
}

/* "ADDRESS ORDER", behind "block". */
static int kho_add_block(const char *text)
{
	unsigned long long phys;
	unsigned int order;

	if (sscanf(text, "%lli %u", &phys, &order) != 2 ||
	    order > KHO_MAP_MAX_ORDER || !IS_ALIGNED(phys, PAGE_SIZE << order))
		return -EINVAL;
	return kho_map_set(&kho_map, PHYS_PFN(phys), 1, order);
}

static int kho_parse_corrupt(const char *line, struct kho_corrupt *corrupt)
{
	struct kho_corrupt c = {};
	char what[8];
	int used = 0;

	if (!strncmp(line, "block ", 6))
		return kho_add_block(line + 6);

	if (sscanf(line, "root %lu", &c.offset) == 1)
		c.find = kho_find_root;
	else if (sscanf(line, "check %lu", &c.offset) == 1)
		c.find = kho_find_check;
	else if (sscanf(line, "map %lu %lu", &c.nr, &c.offset) == 2)
		c.find = kho_find_map;
	else if (sscanf(line, "blob %31s %lu", c.name, &c.offset) == 2)
		c.find = kho_find_blob;
	else if (sscanf(line, "%7s %31s %31s %31s %n", what, c.name, c.path,
			c.prop, &used) == 4 && used &&
		 (!strcmp(what, "chain") || !strcmp(what, "entry")) &&
		 !kho_parse_steps(line + used, &c))
		c.find = kho_find_chain;
	else if (!strncmp(line, "slot ", 5) && !kho_parse_slot(line + 5, &c))
		c.find = kho_find_map;
	else if (line[0] && line[0] != '\n')
		return -EINVAL;

	c.resum = line[0] == 'e';
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

/**
 * kho_debug_init - make the files of this option
 * @dir: where
 */
void __init kho_debug_init(struct dentry *dir)
{
	debugfs_create_file("corrupt", 0200, dir, NULL, &kho_corrupt_fops);
}
