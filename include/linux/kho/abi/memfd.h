/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What one kernel hands to the next: a memfd. A compatible string names
 * exactly one layout.
 */
#ifndef _LINUX_KHO_ABI_MEMFD_H
#define _LINUX_KHO_ABI_MEMFD_H

#define MEMFD_LUO_FH_COMPATIBLE		"memfd-extent-v1"

#ifndef __ASSEMBLY__

#include <linux/types.h>

/* Longest name in bytes; no NUL is stored. */
#define MEMFD_LUO_NAME_MAX		249

/**
 * struct memfd_luo_ser - a memfd, at the start of a page of its own
 * @pos:      file position
 * @size:     file size in bytes
 * @seals:    F_SEAL_* set
 * @f_flags:  O_* flags of the open file
 * @mode:     mode bits of the inode
 * @name_len: bytes of @name, at most MEMFD_LUO_NAME_MAX
 * @crc32c:   __crc32c_le(~0) of this structure with this field as 0, of the
 *            name and of the inline words
 * @nr_words: words that describe the contents
 * @words:    start of a chain of pages of them, 0: they follow the name,
 *            aligned to 8 bytes
 * @reserved: 0
 * @name:     the name
 *
 * The words are a sequence of extents: page offset in the file; number of
 * folios, order and flags (MEMFD_LUO_EXTENT()); then the first pfn of folios
 * that lie one after the other, or with MEMFD_LUO_SCATTERED one pfn for each.
 * Holes have no extent.
 */
struct memfd_luo_ser {
	u64 pos;
	u64 size;
	u32 seals;
	u32 f_flags;
	u16 mode;
	u16 name_len;
	u32 crc32c;
	u64 nr_words;
	u64 words;
	u64 reserved[2];
	char name[];
} __packed;

#define MEMFD_LUO_SCATTERED		4

#define MEMFD_LUO_NR_BITS		32
#define MEMFD_LUO_ORDER_SHIFT		32
#define MEMFD_LUO_ORDER_BITS		16
#define MEMFD_LUO_FLAGS_SHIFT		48

#define MEMFD_LUO_EXTENT(nr, order, flags)				\
	((u64)(nr) | (u64)(order) << MEMFD_LUO_ORDER_SHIFT |		\
	 (u64)(flags) << MEMFD_LUO_FLAGS_SHIFT)

#endif /* __ASSEMBLY__ */
#endif /* _LINUX_KHO_ABI_MEMFD_H */
