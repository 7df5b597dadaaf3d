/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec Handover: what its files share. Nothing outside kernel/liveupdate/k*.c
 * includes this.
 *
 * Mostly, calls go down:
 *
 *	kexec_handover_debugfs.c
 *				what is handed over, for root to see
 *	kexec_handover.c	switch, root FDT, subtrees, init
 *	kho_kexec.c		the next image: placement, fitness, checksums
 *	kho_boot.c		taking over from the previous kernel
 *	kho_verify.c		is the previous kernel's map to be believed?
 *	kho_chain.c kho_vmalloc.c
 *				lists, and areas of vmalloc()
 *	kho_pages.c		preserve folios and pages
 *	kho_restore.c		restore them
 *	kho_poison.c		those that the hardware has lost
 *	kho_debug.c		checks, and damage for the tests
 *	kho_map_runs.c		many changes of the page map at a time
 *	kho_pagemap.c		the radix tree of preserved pages
 *	kho_scratch.c		memory in which nothing is preserved
 *	kho_ram.c		memory that the next kernel will find
 *
 * The exceptions: the root FDT and its checksum are asked for from below, and a
 * map that is not to be believed is given up from where that is found.
 */
#ifndef _KHO_INTERNAL_H
#define _KHO_INTERNAL_H

#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/kho_boot.h>
#include <linux/minmax.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>

/**
 * struct kho_in - what the previous kernel handed over
 * @fdt_phys: address of its root FDT
 * @fdt:      the root FDT: in place during boot, then our copy; %NULL if there
 *            is none or it cannot be trusted
 * @map_root: root of its page map
 * @check:    address of its checksums, 0: none
 * @taken:    the page map is verified and its pages are out of the allocator
 */
struct kho_in {
	phys_addr_t fdt_phys;
	void *fdt;
	phys_addr_t map_root;
	phys_addr_t check;
	bool taken;
};

extern struct kho_in kho_in;
extern bool kho_enable;

/* kho_pagemap.c */

/* A page map. */
struct kho_map {
	struct mutex lock;	/* protects the tree below @root, all levels */
	u64 *root;		/* does not change after boot */
};

extern struct kho_map kho_map;

struct kho_map_sum {
	unsigned long nodes;
	u32 crc;
};

int kho_map_init(struct kho_map *map);
void kho_map_adopt(struct kho_map *map, phys_addr_t root);
phys_addr_t kho_map_root(const struct kho_map *map);
bool kho_map_clear(struct kho_map *map, unsigned long pfn, unsigned long nr,
		   unsigned int order);
bool kho_map_test(struct kho_map *map, unsigned long pfn, unsigned long nr,
		  unsigned int order);
unsigned long kho_map_find(struct kho_map *map, unsigned long pfn,
			   unsigned long nr, unsigned int order);
int kho_map_take_order(struct kho_map *map, unsigned long pfn,
		       unsigned int max);
void kho_map_count(struct kho_map *map,
		   unsigned long nr_by_order[KHO_MAP_MAX_ORDER + 1]);
void kho_map_sum(const struct kho_map *map, struct kho_map_sum *sum);

/**
 * struct kho_map_walk - a walk over a map, parents before children
 * @node: called for every node before its contents are looked at; an error
 *        ends the walk
 * @leaf: called for every bitmap: key of its first bit
 */
struct kho_map_walk {
	int (*node)(struct kho_map_walk *walk, phys_addr_t phys);
	int (*leaf)(struct kho_map_walk *walk, u64 key,
		    const unsigned long *bits);
};

int kho_map_walk(struct kho_map_walk *walk, phys_addr_t root);
const unsigned long *kho_map_peek(phys_addr_t root, u64 key);

/* Of the tree itself: for who keeps to a bitmap for several changes. */
u64 *kho_map_leaf(u64 *node, u64 key);
unsigned long *kho_map_leaf_alloc(struct kho_map *map, u64 key);
unsigned long kho_node_used(const u64 *node, unsigned int level);
void kho_node_account(const u64 *node, unsigned int level, long nr);
void kho_map_prune(struct kho_map *map, u64 key);
bool __kho_map_clear(struct kho_map *map, unsigned long pfn, unsigned long nr,
		     unsigned int order);

#if IS_ENABLED(CONFIG_KUNIT)
struct page *kho_node_page(void);
#endif

static inline u64 kho_map_key(unsigned long pfn, unsigned int order)
{
	return 1ULL << (KHO_MAP_ORDER0_BIT - order) | pfn >> order;
}

/* Order of a key; a key is never 0. */
static inline unsigned int kho_key_order(u64 key)
{
	return KHO_MAP_ORDER0_BIT - __fls(key);
}

/* First page of a key. */
static inline unsigned long kho_key_pfn(u64 key)
{
	return (key ^ 1ULL << __fls(key)) << kho_key_order(key);
}

static inline unsigned int kho_map_bit(u64 key)
{
	return key & (KHO_MAP_LEAF_BITS - 1);
}

/* Length of the part of a run that lies in the bitmap of its first block. */
static inline unsigned long kho_map_part(u64 key, unsigned long nr)
{
	return min(nr, KHO_MAP_LEAF_BITS - kho_map_bit(key));
}

/* kho_map_runs.c */
int kho_map_set_runs(struct kho_map *map, const struct kho_run *runs,
		     unsigned int nr);
int kho_map_set(struct kho_map *map, unsigned long pfn, unsigned long nr,
		unsigned int order);
bool kho_map_take_runs(struct kho_map *map, const struct kho_run *runs,
		       unsigned int nr);
bool kho_map_take(struct kho_map *map, unsigned long pfn, unsigned long nr,
		  unsigned int order);
bool kho_map_has_runs(struct kho_map *map, const struct kho_run *runs,
		      unsigned int nr);

/* kho_pages.c */
extern bool kho_pages_up;

static inline bool kho_run_valid(const struct kho_run *run)
{
	return run->nr && run->order <= MAX_PAGE_ORDER &&
	       IS_ALIGNED(run->pfn, 1UL << run->order);
}

void kho_pages_ready(bool ready);
unsigned long kho_find_poison(unsigned long pfn, unsigned long nr);
bool kho_has_poison(void);

#if IS_ENABLED(CONFIG_KUNIT)
int kho_page_nid(unsigned long pfn);
bool kho_is_poison(unsigned long pfn);
struct folio *kho_zeroed_folio(unsigned int order);
#endif

/* kho_restore.c */
bool kho_page_untouched(const struct page *page);

/* kho_poison.c */
bool kho_pages_intact(void);
bool kho_is_readable(unsigned long pfn, unsigned int order);

#if IS_ENABLED(CONFIG_KUNIT)
bool kho_span_has_poison(unsigned long pfn, unsigned long nr);
#endif

/* kho_scratch.c */
/* Most areas: enough for one on each node of the largest machines. */
#define KHO_SCRATCH_MAX		128

/* Sizes to choose: percent of what this boot took, or bytes if @given. */
struct kho_scratch_arg {
	unsigned int percent;
	bool given;
	phys_addr_t low;
	phys_addr_t global;
	phys_addr_t pernode;
};

int kho_scratch_parse(const char *text, struct kho_scratch_arg *arg);

extern struct kho_scratch kho_scratch[KHO_SCRATCH_MAX];
extern unsigned int kho_scratch_cnt;

int kho_scratch_adopt(phys_addr_t phys, u64 size);
int kho_scratch_open(void);
void kho_scratch_drop(void);
bool kho_scratch_reserve(void);
void kho_scratch_late(void);
bool kho_scratch_overlap(phys_addr_t start, phys_addr_t size);

/* Page frames from @start up to @end, without scratch in between. */
struct kho_gap {
	unsigned long start;
	unsigned long end;
};

bool kho_scratch_gap(unsigned long pfn, struct kho_gap *gap);

#if IS_ENABLED(CONFIG_KUNIT)
phys_addr_t kho_overlap_size(phys_addr_t from, phys_addr_t to,
			     phys_addr_t start, phys_addr_t end);
bool kho_scratch_valid(const struct kho_scratch *area, unsigned int cnt);
phys_addr_t kho_scratch_lacks(phys_addr_t took, phys_addr_t have,
			      unsigned int percent);
#endif

/* kho_ram.c */
/* Pages that were there at boot. */
struct kho_ram_range {
	unsigned long start;
	unsigned long end;
};

#if IS_ENABLED(CONFIG_KUNIT)
bool kho_ram_clip(const struct kho_ram_range *ram, unsigned int nr,
		  unsigned long pfn, struct kho_gap *gap);
#endif

void kho_ram_note(void);
void kho_ram_watch(void);
bool kho_ram_gap(unsigned long pfn, struct kho_gap *gap);

/* kho_boot.c */
/* Blocks of which it is noted whether something in them is preserved. */
#define KHO_BLOCK_PAGES		MAX_ORDER_NR_PAGES

/**
 * struct kho_kept - where preserved pages are, while memory is freed
 * @map_root:  root of the map
 * @orders:    the orders that occur in it, one bit each
 * @blocks:    a bit for every KHO_BLOCK_PAGES pages, set if something in them is
 *             preserved; %NULL if there is nothing to keep
 * @nr_blocks: how many
 */
struct kho_kept {
	phys_addr_t map_root;
	u64 orders;
	unsigned long *blocks;
	unsigned long nr_blocks;
};

#if IS_ENABLED(CONFIG_KUNIT)
void kho_note_kept(struct kho_kept *kept);
unsigned long kho_free_around_kept(const struct kho_kept *kept,
				   unsigned long start_pfn,
				   unsigned long end_pfn,
				   kho_free_run_t free_run,
				   unsigned long *nr_runs);
#endif

void kho_boot_late(void);
void __kho_give_up(void);

/*
 * The state of the previous kernel cannot be had. There is one line for it,
 * whatever was wrong.
 */
#define kho_give_up(fmt, ...) do {					\
	pr_err(fmt "; the previous kernel's state is lost\n", ##__VA_ARGS__); \
	__kho_give_up();						\
} while (0)

/* kho_verify.c */
bool kho_is_ram_page(phys_addr_t phys);
bool kho_verify_map(const struct kho_check_ser *check);

/**
 * struct kho_leaf - a bitmap of the map, and the block in it that is wrong
 * @bits:    the bitmap
 * @start:   page of its first bit
 * @end:     page behind that of its last one
 * @order:   of its blocks
 * @wrong:   first page of a block that cannot be preserved
 * @instead: what is there
 */
struct kho_leaf {
	const unsigned long *bits;
	unsigned long start;
	unsigned long end;
	unsigned int order;
	unsigned long wrong;
	const char *instead;
};

#if IS_ENABLED(CONFIG_KUNIT)
bool kho_leaf_init(struct kho_leaf *leaf, u64 key, const unsigned long *bits);
bool kho_leaf_is_apart(struct kho_leaf *leaf, phys_addr_t root, u64 orders);
bool kho_may_hold_node(phys_addr_t phys);
#endif

/* kho_vmalloc.c */
#if IS_ENABLED(CONFIG_KUNIT)
bool kho_vmalloc_valid(const struct kho_vmalloc *desc);
void *kho_vmap(struct page **pages, unsigned int nr);
#endif

/* kho_kexec.c */
#if IS_ENABLED(CONFIG_KUNIT)
int kho_cmdline_switch(const char *cmdline, const char *name);
const char *kho_cmdline_hides(const char *built_in, const char *given,
			      const char *ours);
#endif
int kho_check_init(void);
bool kho_check_valid(const struct kho_check_ser *check);
u32 kho_fdt_crc(const void *fdt);

/* kexec_handover.c */
extern void *kho_out_fdt;
extern bool kho_stranded;

bool kho_get_u64(const void *fdt, int node, const char *name, u64 *val);
bool kho_carries_state(void);
void kho_close_root(void);

void *kho_copy_blob(const void *fdt, const char *name, size_t *size);

#if IS_ENABLED(CONFIG_KUNIT)
extern void *kho_carried;
extern bool kho_fdt_closed;
int kho_make_tree(void *fdt, const void *from);
#endif

/* kexec_handover_debugfs.c */
#ifdef CONFIG_KEXEC_HANDOVER_DEBUGFS
void kho_debugfs_sync(void);
#else
static inline void kho_debugfs_sync(void) { }
#endif

/* kho_debug.c */
struct dentry;

#ifdef CONFIG_KEXEC_HANDOVER_DEBUG
int kho_debug_preserve(unsigned long pfn, unsigned long nr);
bool kho_debug_unpreserve(unsigned long pfn, unsigned long nr,
			  unsigned int order);
void kho_debug_damage_map(void);
void kho_debug_corrupt(void);
int kho_debug_fail_init(void);
u32 kho_chain_guess_size(const struct kho_chain_page *page);
void kho_chain_resum(struct kho_chain_page *page, u32 entry_size);
void kho_debug_init(struct dentry *dir);
#if IS_ENABLED(CONFIG_KUNIT)
void kho_debug_report(unsigned long pfn, const char *what);
#endif
#else
static inline int kho_debug_preserve(unsigned long pfn, unsigned long nr)
{
	return 0;
}

static inline bool kho_debug_unpreserve(unsigned long pfn, unsigned long nr,
					unsigned int order)
{
	return true;
}

static inline void kho_debug_damage_map(void) { }
static inline void kho_debug_corrupt(void) { }

static inline int kho_debug_fail_init(void)
{
	return 0;
}

static inline void kho_debug_init(struct dentry *dir) { }
#endif

#endif /* _KHO_INTERNAL_H */
