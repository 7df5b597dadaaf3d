// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: the switch, the root FDT and its subtrees.
 */

/**
 * DOC: Kexec Handover
 *
 * A kernel hands pages and named blobs to the kernel that it starts with
 * kexec. Pages are preserved and restored by their address. Addresses are found
 * through blobs, each the subtree of one user, and blobs through the root: an
 * FDT of one page whose address the next kernel gets from its boot loader, which
 * is this kernel. All of it is kept up to date as it changes: nothing has to be
 * said before the kexec.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kstrtox.h>
#include <linux/libfdt.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "kho_internal.h"

/* kho=; cleared when something that it needs cannot be had. */
bool kho_enable __ro_after_init =
	IS_ENABLED(CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT);

/* The FDT for the next kernel; %NULL while the handover is off. */
void *kho_out_fdt __ro_after_init;

/* Protects the contents of kho_out_fdt, and what follows. */
static DEFINE_MUTEX(kho_fdt_lock);

/* The jump is near: the root FDT does not change any more. */
VISIBLE_IF_KUNIT bool kho_fdt_closed;

/*
 * Copy of the previous kernel's root FDT; %NULL if there was none. A subtree of
 * ours whose name is in it is the previous kernel's: its user has not come up in
 * this kernel, or could not make sense of it. This is not noted in our root FDT
 * itself, so that what was handed over finds room to go on whatever its size.
 */
VISIBLE_IF_KUNIT void *kho_carried __ro_after_init;

/*
 * The previous kernel's state is kept, and nobody here can hand it on or give it
 * back: Kexec Handover did not start.
 */
bool kho_stranded __ro_after_init;

/* Largest blob: what the page allocator has in one piece. */
#define KHO_BLOB_MAX	(PAGE_SIZE << MAX_PAGE_ORDER)

static int __init kho_parse_enable(char *arg)
{
	return arg ? kstrtobool(arg, &kho_enable) : -EINVAL;
}
early_param("kho", kho_parse_enable);

/**
 * kho_is_enabled - whether pages can be handed to the next kernel
 *
 * Context: any, from core_initcall on.
 * Return: true if they can.
 */
bool kho_is_enabled(void)
{
	return kho_enable;
}
EXPORT_SYMBOL_GPL(kho_is_enabled);

static int kho_set_u64(void *fdt, int node, const char *name, u64 val)
{
	return fdt_setprop(fdt, node, name, &val, sizeof(val));
}

bool kho_get_u64(const void *fdt, int node, const char *name, u64 *val)
{
	int len;
	const void *prop = fdt_getprop(fdt, node, name, &len);

	if (!prop || len != sizeof(*val))
		return false;
	memcpy(val, prop, sizeof(*val));
	return true;
}

static bool kho_is_carried(const char *name)
{
	return kho_carried && fdt_subnode_offset(kho_carried, 0, name) >= 0;
}

/* A subtree is of this kernel from here on. */
static void kho_uncarry(const char *name)
{
	if (kho_is_carried(name))
		fdt_del_node(kho_carried,
			     fdt_subnode_offset(kho_carried, 0, name));
}

static int kho_insert_subtree(void *fdt, const char *name, void *blob,
			      size_t size)
{
	int node, err;

	guard(mutex)(&kho_fdt_lock);

	if (kho_fdt_closed)
		return -EBUSY;

	fdt_open_into(fdt, fdt, PAGE_SIZE);
	node = fdt_subnode_offset(fdt, 0, name);
	if (node >= 0 && kho_is_carried(name))
		fdt_del_node(fdt, node);
	node = fdt_add_subnode(fdt, 0, name);
	if (node < 0) {
		err = node == -FDT_ERR_EXISTS ? -EEXIST : -ENOSPC;
	} else if (kho_set_u64(fdt, node, KHO_FDT_SUB_TREE_PROP_NAME,
			       virt_to_phys(blob)) ||
		   kho_set_u64(fdt, node, KHO_FDT_SUB_TREE_SIZE_PROP_NAME,
			       size)) {
		fdt_del_node(fdt, node);
		err = -ENOSPC;
	} else {
		kho_uncarry(name);
		err = 0;
	}
	fdt_pack(fdt);
	return err;
}

/**
 * kho_add_subtree - give a blob to the next kernel, under a name
 * @name: what the next kernel asks for
 * @blob: the blob, in the direct map
 * @size: its size in bytes
 *
 * The memory is the caller's and must be preserved, best with
 * kho_alloc_preserve(). It can be written until the jump.
 *
 * A blob of the same name that the previous kernel left goes on to the next one
 * until it is replaced by this.
 *
 * Context: may sleep.
 * Return: 0; -EOPNOTSUPP if Kexec Handover is off; -EEXIST for a name that is in
 * use; -ENOSPC when the root FDT is full; -EBUSY when the next kernel is about
 * to be started; -EINVAL for more bytes than the page allocator has in one
 * piece.
 */
int kho_add_subtree(const char *name, void *blob, size_t size)
{
	int err;

	if (!kho_out_fdt)
		return -EOPNOTSUPP;
	if (!size || size > KHO_BLOB_MAX)
		return -EINVAL;

	err = kho_insert_subtree(kho_out_fdt, name, blob, size);
	kho_debugfs_sync();
	return err;
}
EXPORT_SYMBOL_GPL(kho_add_subtree);

static void kho_delete_subtree(void *fdt, const void *blob)
{
	u64 phys;
	int node;

	guard(mutex)(&kho_fdt_lock);

	if (kho_fdt_closed)
		return;

	fdt_open_into(fdt, fdt, PAGE_SIZE);
	fdt_for_each_subnode(node, fdt, 0) {
		if (kho_get_u64(fdt, node, KHO_FDT_SUB_TREE_PROP_NAME, &phys) &&
		    phys == virt_to_phys((void *)blob)) {
			fdt_del_node(fdt, node);
			break;
		}
	}
	fdt_pack(fdt);
}

/**
 * kho_remove_subtree - take a blob back
 * @blob: the blob that was given to kho_add_subtree()
 *
 * Context: may sleep.
 */
void kho_remove_subtree(void *blob)
{
	if (!kho_out_fdt)
		return;

	kho_delete_subtree(kho_out_fdt, blob);
	kho_debugfs_sync();
}
EXPORT_SYMBOL_GPL(kho_remove_subtree);

/* Whether every page of a range lies in some preserved block. */
static bool kho_is_kept(phys_addr_t phys, size_t size)
{
	unsigned long pfn = PHYS_PFN(phys), end = PFN_UP(phys + size);

	for (; pfn < end; pfn++) {
		unsigned int order = 0;

		while (order <= KHO_MAP_MAX_ORDER &&
		       !kho_is_preserved_run(round_down(pfn, 1UL << order), 1,
					     order))
			order++;
		if (order > KHO_MAP_MAX_ORDER)
			return false;
	}
	return true;
}

/* The blob of a subtree. Returns whether all of it is preserved. */
static bool kho_find_blob(const void *fdt, int node, u64 *addr, u64 *len)
{
	return kho_get_u64(fdt, node, KHO_FDT_SUB_TREE_PROP_NAME, addr) &&
	       kho_get_u64(fdt, node, KHO_FDT_SUB_TREE_SIZE_PROP_NAME, len) &&
	       *len && *len <= KHO_BLOB_MAX && *addr + *len >= *addr &&
	       kho_is_kept(*addr, *len);
}

/**
 * kho_copy_blob - copy an FDT that is handed over, or the blob of a subtree
 * @fdt:  root FDT, ours or the previous kernel's
 * @name: of the subtree; %NULL for the root FDT itself
 * @size: set to its size in bytes
 *
 * Context: may sleep.
 * Return: the copy, freed with kvfree(); an ERR_PTR() of -ENOENT if there is
 * no such subtree or its blob is not preserved any more, or -ENOMEM.
 */
void *kho_copy_blob(const void *fdt, const char *name, size_t *size)
{
	const void *data = fdt;
	void *copy;
	u64 addr, len;
	int node;

	guard(mutex)(&kho_fdt_lock);

	if (name) {
		node = fdt_subnode_offset(fdt, 0, name);
		if (node < 0 || !kho_find_blob(fdt, node, &addr, &len))
			return ERR_PTR(-ENOENT);
		data = phys_to_virt(addr);
	} else {
		len = fdt_totalsize(fdt);
	}
	copy = kvmemdup(data, len, GFP_KERNEL);
	if (!copy)
		return ERR_PTR(-ENOMEM);
	*size = len;
	return copy;
}

/**
 * kho_retrieve_subtree - look up a blob of the previous kernel
 * @name: its name
 * @phys: set to its address
 * @size: set to its size in bytes; may be %NULL
 *
 * The memory stays preserved. Who owns the blob restores it, usually with
 * kho_restore_free(), and asks only once.
 *
 * Context: may sleep; from core_initcall on.
 * Return: 0; -ENOENT if the previous kernel gave nothing of this name;
 * -EBADMSG if what it gave does not lie in preserved memory, or nothing of it can
 * be read.
 */
int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size)
{
	u64 addr, len;
	int node;

	if (!kho_in.fdt)
		return kho_in.taken ? -EBADMSG : -ENOENT;

	node = fdt_subnode_offset(kho_in.fdt, 0, name);
	if (node < 0)
		return -ENOENT;

	if (!kho_find_blob(kho_in.fdt, node, &addr, &len)) {
		pr_err("subtree '%s' is not in preserved memory\n", name);
		return -EBADMSG;
	}
	*phys = addr;
	if (size)
		*size = len;
	return 0;
}
EXPORT_SYMBOL_GPL(kho_retrieve_subtree);

/* Whether the blob of a subtree that is carried is still there. */
static bool kho_carried_is_kept(int node)
{
	u64 addr, len;

	return kho_find_blob(kho_out_fdt, node, &addr, &len);
}

/**
 * kho_carries_state - whether something goes on that nobody here asked for
 *
 * Forgets blobs whose user took and freed them.
 *
 * Context: may sleep.
 * Return: true if there is state that only the next kernel may understand.
 */
bool kho_carries_state(void)
{
	void *fdt = kho_out_fdt;
	bool carries = false;
	int node, next;

	if (!fdt)
		return false;

	guard(mutex)(&kho_fdt_lock);

	for (node = fdt_first_subnode(fdt, 0); node >= 0; node = next) {
		next = fdt_next_subnode(fdt, node);
		if (!kho_is_carried(fdt_get_name(fdt, node, NULL)))
			continue;
		if (kho_carried_is_kept(node)) {
			carries = true;
		} else {
			fdt_del_node(fdt, node);
			next = fdt_first_subnode(fdt, 0);
		}
	}
	return carries;
}

/**
 * kho_close_root - keep the root FDT as it is from here on
 *
 * Context: the reboot, when it cannot fail any more; may sleep.
 */
void kho_close_root(void)
{
	guard(mutex)(&kho_fdt_lock);
	kho_fdt_closed = true;
}

/* The subtrees of @from go on in @fdt, all but the one that is made anew. */
static int __init kho_carry_subtrees(void *fdt, const void *from)
{
	int node, copy;
	u64 addr, len;

	fdt_for_each_subnode(node, from, 0) {
		const char *name = fdt_get_name(from, node, NULL);

		if (!name || !strcmp(name, KHO_CHECK_SUBTREE_NAME) ||
		    !kho_get_u64(from, node, KHO_FDT_SUB_TREE_PROP_NAME,
				 &addr) ||
		    !kho_get_u64(from, node, KHO_FDT_SUB_TREE_SIZE_PROP_NAME,
				 &len))
			continue;
		copy = fdt_add_subnode(fdt, 0, name);
		if (copy < 0 ||
		    kho_set_u64(fdt, copy, KHO_FDT_SUB_TREE_PROP_NAME, addr) ||
		    kho_set_u64(fdt, copy, KHO_FDT_SUB_TREE_SIZE_PROP_NAME, len))
			return -ENOSPC;
	}
	return 0;
}

/**
 * kho_make_tree - make a root FDT
 * @fdt:  the page for it
 * @from: the previous kernel's, whose subtrees go on in it; %NULL for none
 *
 * Nothing is added to a subtree that goes on: it takes as much room as it did,
 * and the checksums, too, find the room that they had.
 *
 * Return: 0, or -ENOSPC.
 */
VISIBLE_IF_KUNIT int __init kho_make_tree(void *fdt, const void *from)
{
	if (fdt_create_empty_tree(fdt, PAGE_SIZE) ||
	    fdt_setprop_string(fdt, 0, "compatible", KHO_FDT_COMPATIBLE) ||
	    kho_set_u64(fdt, 0, KHO_FDT_MEMORY_MAP_PROP_NAME,
			kho_map_root(&kho_map)))
		return -ENOSPC;
	return from ? kho_carry_subtrees(fdt, from) : 0;
}

static int __init kho_make_root(void)
{
	void *fdt;
	int err;

	if (kho_in.fdt) {
		kho_carried = kmemdup(kho_in.fdt, PAGE_SIZE, GFP_KERNEL);
		if (!kho_carried)
			return -ENOMEM;
	}

	fdt = kho_alloc_preserve(PAGE_SIZE);
	if (IS_ERR(fdt))
		return PTR_ERR(fdt);

	err = kho_make_tree(fdt, kho_in.fdt);
	if (err) {
		kho_unpreserve_free(fdt);
		return err;
	}
	kho_out_fdt = fdt;
	return 0;
}

/*
 * Nothing can be handed on. What the previous kernel left is still out of the
 * allocator, but out of reach: a kexec would lose it.
 */
static void __init kho_stay_off(int err)
{
	kho_stranded = kho_in.taken;
	if (kho_stranded)
		pr_err("cannot start: %d; what the previous kernel handed over is kept, but out of reach, and there is no kexec from here\n",
		       err);
	else
		pr_err("cannot start: %d, Kexec Handover stays off\n", err);

	if (kho_out_fdt)
		kho_unpreserve_free(kho_out_fdt);
	kho_out_fdt = NULL;
	kho_pages_ready(false);
	kho_enable = false;
}

/*
 * All pages are initialized by now, and nobody has used the handover yet: users
 * begin at core_initcall.
 */
static int __init kho_init(void)
{
	int err;

	if (!kho_enable)
		return 0;

	if (kho_in.taken)
		kho_map_adopt(&kho_map, kho_in.map_root);
	err = kho_map_init(&kho_map);
	if (!err) {
		kho_pages_ready(true);
		kho_ram_watch();
		kho_boot_late();
		err = kho_make_root();
	}
	if (!err)
		err = kho_debug_fail_init() ?: kho_check_init();
	kho_scratch_late();
	if (err)
		kho_stay_off(err);
	return 0;
}
pure_initcall(kho_init);
