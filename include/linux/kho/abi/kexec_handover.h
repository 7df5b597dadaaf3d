/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What one kernel hands to the next: layouts and strings of Kexec Handover.
 *
 * Both kernels must agree on everything in this file. A compatible string
 * names exactly one layout; a changed layout takes a new string.
 */
#ifndef _LINUX_KHO_ABI_KEXEC_HANDOVER_H
#define _LINUX_KHO_ABI_KEXEC_HANDOVER_H

/* The root: one page, an FDT. */
#define KHO_FDT_COMPATIBLE		"kho-v4"
#define KHO_FDT_MEMORY_MAP_PROP_NAME	"preserved-memory-map"
#define KHO_FDT_SUB_TREE_PROP_NAME	"preserved-data"
#define KHO_FDT_SUB_TREE_SIZE_PROP_NAME	"blob-size"

/*
 * What an x86 image says of itself in the variable part of its kernel_info: a
 * chunk with this tag and its length holds strings, each with its NUL. They are
 * the compatible strings of the layouts that the image reads, and the switches
 * as they are without a command line ("kho=off"). A command line that is built
 * in comes behind one of the words below: it is read in front of the one that is
 * given, or instead of it.
 */
#define KHO_IMAGE_TAG			"LKHO"
#define KHO_IMAGE_SWITCH		"kho"
#define KHO_IMAGE_CMDLINE		"cmdline: "
#define KHO_IMAGE_CMDLINE_ONLY		"cmdline-only: "

#ifndef __ASSEMBLY__

#include <linux/bits.h>
#include <linux/types.h>
#ifdef CONFIG_KEXEC_HANDOVER
#include <asm/page.h>
#endif

/*
 * Subtree with the checksums over the root FDT and the nodes of the page map,
 * computed at the jump; @map_crc runs over the nodes in the order of a
 * depth-first walk from the root, parents first, @map_nodes counts them.
 */
#define KHO_CHECK_SUBTREE_NAME		"kho-check"
#define KHO_CHECK_MAGIC			0x31636b686f686b31ULL

struct kho_check_ser {
	u64 magic;
	u64 map_nodes;
	u32 map_crc;
	u32 fdt_crc;
	u32 reserved;
	u32 crc;	/* of this structure, itself as 0 */
} __packed;

/*
 * One area of memory that holds nothing preserved; the array comes with the boot
 * data. Areas are aligned to the largest page block that a kernel can have.
 */
struct kho_scratch {
	phys_addr_t addr;
	phys_addr_t size;
};

/* The page map's key of a page of order O at PA, see kho_pagemap.c. */
#define KHO_MAP_LEVELS			6
#define KHO_MAP_LEAF_SHIFT		(PAGE_SHIFT + 3)
#define KHO_MAP_LEAF_BITS		(PAGE_SIZE * 8)
#define KHO_MAP_TABLE_SHIFT		(PAGE_SHIFT - 3)
#define KHO_MAP_TABLE_SLOTS		(PAGE_SIZE / sizeof(u64))
#define KHO_MAP_ORDER0_BIT		(64 - PAGE_SHIFT)
#define KHO_MAP_MAX_ORDER		KHO_MAP_ORDER0_BIT

/**
 * struct kho_vmalloc - describes a preserved vmalloc area
 * @first:       physical address of the first page of page addresses
 * @total_pages: base pages in the area
 * @flags:       KHO_VMALLOC_*
 * @order:       order of the pages it is made of
 */
struct kho_vmalloc {
	u64 first;
	u32 total_pages;
	u16 flags;
	u16 order;
};

#define KHO_VMALLOC_ALLOC		1	/* VM_ALLOC */
#define KHO_VMALLOC_HUGE_VMAP		2	/* VM_ALLOW_HUGE_VMAP */

#define KHO_VMALLOC_CHUNK_ENTRIES	(PAGE_SIZE / sizeof(u64) - 1)

/* A page of page addresses, zero-terminated unless full. */
struct kho_vmalloc_chunk {
	u64 next;
	u64 phys[KHO_VMALLOC_CHUNK_ENTRIES];
};

/*
 * Behind the zero that ends the last chunk: this bit, and __crc32c_le(~0) of all
 * chunks up to there. The last chunk has room for it, and no addresses if need
 * be. 0 there: written by a kernel that leaves no checksum.
 */
#define KHO_VMALLOC_SUM			BIT_ULL(32)

/*
 * A page of a chain: entries of one fixed size behind this header. @crc32c is
 * __crc32c_le(~0) of the header with this field as 0 and of the entries in
 * use.
 */
struct kho_chain_page {
	u64 next;	/* physical address, 0: the last */
	u32 count;	/* entries in use */
	u32 crc32c;
	u8 entries[];
};

#endif /* __ASSEMBLY__ */
#endif /* _LINUX_KHO_ABI_KEXEC_HANDOVER_H */
