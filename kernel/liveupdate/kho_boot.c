// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: taking over from the previous kernel, on the way up.
 */

/**
 * DOC: Boot
 *
 * A kernel that is handed something must not write to a preserved page before
 * it knows which those are, and it cannot read the page map before memory is
 * mapped. So the boot goes in three steps:
 *
 * 1. kho_populate() notes what the boot loader's data says, and
 *    kho_memory_setup(), when memblock knows the memory, makes scratch the only
 *    part of it that memblock gives out.
 * 2. kho_memory_takeover(), when all memory is mapped: the map is checked, its
 *    nodes are reserved, and of every block of the page allocator's largest
 *    order it is noted whether something in it is preserved. The longest runs
 *    of blocks in which nothing is are opened to memblock, for what scratch is
 *    not meant for.
 * 3. Where memblock hands its free ranges to the page allocator (at once, or
 *    deferred and in parallel), kho_free_around() gives the runs between
 *    preserved pages and nothing else. So preserved pages never become
 *    memblock regions, and what the boot costs does not depend on how they are
 *    scattered.
 *
 * If the map cannot be verified, nothing in memory can be told from anything
 * else: the state is given up and its memory used. If it can, but something
 * else is damaged, the pages stay out of the allocator.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/bitmap.h>
#include <linux/crash_dump.h>
#include <linux/io.h>
#include <linux/kmemleak.h>
#include <linux/libfdt.h>
#include <linux/log2.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "kho_internal.h"

struct kho_in kho_in __ro_after_init;

/* What is kept of the previous kernel. Not changed after the takeover. */
static struct kho_kept kho_kept;
/* Free runs beside preserved pages that went to the page allocator. */
static atomic_long_t kho_nr_runs;

/**
 * __kho_give_up - forget what the previous kernel handed over
 *
 * For kho_give_up(), which says why.
 *
 * Context: boot, until memblock's memory goes to the page allocator.
 */
void __init __kho_give_up(void)
{
	KUNIT_STATIC_STUB_REDIRECT(__kho_give_up);

	kho_in.fdt_phys = 0;
	kho_scratch_drop();
	memblock_kho_open_all();
}

/**
 * kho_is_incoming - whether the previous kernel handed something over that has
 * not been refused
 *
 * Context: boot.
 * Return: true from kho_populate() on.
 */
bool kho_is_incoming(void)
{
	return kho_in.fdt_phys;
}

/**
 * is_kho_boot - whether this kernel took over from one that handed it state
 *
 * Context: any, from the takeover on.
 * Return: true if preserved pages of the previous kernel are kept.
 */
bool is_kho_boot(void)
{
	return kho_in.taken;
}
EXPORT_SYMBOL_GPL(is_kho_boot);

/**
 * kho_populate - note what the boot loader's data says of a handover
 * @fdt_phys:     address of the root FDT
 * @fdt_len:      its size in bytes
 * @scratch_phys: address of the array of scratch areas
 * @scratch_len:  its size in bytes
 *
 * Context: early boot, before memory is added to memblock.
 */
void __init kho_populate(phys_addr_t fdt_phys, u64 fdt_len,
			 phys_addr_t scratch_phys, u64 scratch_len)
{
	if (kho_is_incoming()) {
		pr_warn("more than one handover, the first is taken\n");
		return;
	}
	if (!PAGE_ALIGNED(fdt_phys) || !fdt_phys || fdt_len != PAGE_SIZE) {
		kho_give_up("root FDT is at %pa, %llu bytes, expected one page",
			    &fdt_phys, fdt_len);
		return;
	}
	if (kho_scratch_adopt(scratch_phys, scratch_len)) {
		kho_give_up("scratch areas at %pa, %llu bytes, are not usable",
			    &scratch_phys, scratch_len);
		return;
	}
	kho_in.fdt_phys = fdt_phys;
}

/**
 * kho_memory_setup - have memblock give out scratch only
 * @low_end: what lies below is never preserved, and may be given out, too
 *
 * Context: early boot, when memory was added to memblock, and before anything
 * is allocated above @low_end.
 */
void __init kho_memory_setup(phys_addr_t low_end)
{
	int err;

	if (!kho_is_incoming())
		return;

	memblock_mark_kho_open(0, low_end);
	memblock_kho_close();
	err = kho_scratch_open();
	if (err)
		kho_give_up("scratch areas cannot be used: %d", err);
}

struct kho_take {
	struct kho_map_walk walk;
	unsigned long nr_nodes;
};

static int __init kho_take_node(struct kho_map_walk *walk, phys_addr_t phys)
{
	struct kho_take *take = container_of(walk, struct kho_take, walk);

	if (memblock_is_reserved(phys)) {
		kho_give_up("page map uses node %pa twice", &phys);
		return -EBADMSG;
	}
	if (memblock_reserve(phys, PAGE_SIZE)) {
		kho_give_up("no memory to reserve node %pa", &phys);
		return -ENOMEM;
	}
	take->nr_nodes++;
	return 0;
}

/* Undo as many. */
static int __init kho_untake_node(struct kho_map_walk *walk, phys_addr_t phys)
{
	struct kho_take *take = container_of(walk, struct kho_take, walk);

	if (!take->nr_nodes)
		return 1;
	take->nr_nodes--;
	memblock_phys_free(phys, PAGE_SIZE);
	return 0;
}

/* For a walk that is about the nodes. */
static int __init kho_pass_leaf(struct kho_map_walk *walk, u64 key,
				const unsigned long *bits)
{
	return 0;
}

/* Reserve the nodes of the map, all of them or none. */
static bool __init kho_take_nodes(void)
{
	struct kho_take take = {
		.walk = { .node = kho_take_node, .leaf = kho_pass_leaf },
	};

	if (!kho_map_walk(&take.walk, kho_in.map_root))
		return true;

	take.walk.node = kho_untake_node;
	kho_map_walk(&take.walk, kho_in.map_root);
	return false;
}

struct kho_note {
	struct kho_map_walk walk;
	struct kho_kept *kept;
};

static int __init kho_pass_node(struct kho_map_walk *walk, phys_addr_t phys)
{
	return 0;
}

static int __init kho_note_leaf(struct kho_map_walk *walk, u64 key,
				const unsigned long *bits)
{
	struct kho_note *note = container_of(walk, struct kho_note, walk);
	unsigned int order = kho_key_order(key);
	unsigned long per_block, bit, block, nr;

	note->kept->orders |= BIT_ULL(order);
	per_block = max(KHO_BLOCK_PAGES >> order, 1UL);
	nr = max((1UL << order) / KHO_BLOCK_PAGES, 1UL);

	for (bit = 0; bit < KHO_MAP_LEAF_BITS; bit += per_block) {
		bit = find_next_bit(bits, KHO_MAP_LEAF_BITS, bit);
		if (bit >= KHO_MAP_LEAF_BITS)
			break;
		bit = round_down(bit, per_block);
		block = kho_key_pfn(key + bit) / KHO_BLOCK_PAGES;
		bitmap_set(note->kept->blocks, block, nr);
	}
	return 0;
}

/**
 * kho_note_kept - note in which blocks of memory something is preserved
 * @kept: has the address of the map, and a clear bit for every block
 *
 * Context: boot.
 */
VISIBLE_IF_KUNIT void __init kho_note_kept(struct kho_kept *kept)
{
	struct kho_note note = {
		.walk = { .node = kho_pass_node, .leaf = kho_note_leaf },
		.kept = kept,
	};

	kho_map_walk(&note.walk, kept->map_root);
}

static bool __init kho_take_map(void)
{
	unsigned long nr_blocks = DIV_ROUND_UP(max_pfn, KHO_BLOCK_PAGES) + 1;
	unsigned long *blocks;

	blocks = memblock_alloc(BITS_TO_LONGS(nr_blocks) * sizeof(long),
				SMP_CACHE_BYTES);
	if (!blocks) {
		kho_give_up("no memory for %lu blocks, scratch is too small",
			    nr_blocks);
		return false;
	}
	if (!kho_take_nodes()) {
		memblock_free(blocks, BITS_TO_LONGS(nr_blocks) * sizeof(long));
		return false;
	}
	kho_kept = (struct kho_kept) {
		.map_root = kho_in.map_root,
		.blocks = blocks,
		.nr_blocks = nr_blocks,
	};
	kho_note_kept(&kho_kept);
	return true;
}

/* What opening a run of memory costs the boot depends on how many there are. */
#define KHO_OPEN_RUNS		64

/*
 * Walk over the runs of blocks in which nothing is kept: open those of at least
 * 2^@order blocks, or count all by the order of their length.
 */
static void __init kho_walk_empty(unsigned int order, unsigned int *nr_by_order)
{
	unsigned long start, end = 0;

	for (;;) {
		start = find_next_zero_bit(kho_kept.blocks, kho_kept.nr_blocks,
					   end);
		if (start >= kho_kept.nr_blocks)
			break;
		end = find_next_bit(kho_kept.blocks, kho_kept.nr_blocks, start);
		if (nr_by_order)
			nr_by_order[ilog2(end - start)]++;
		else if (end - start >= 1UL << order)
			memblock_mark_kho_spare(PFN_PHYS(start * KHO_BLOCK_PAGES),
						PFN_PHYS((end - start) *
							 KHO_BLOCK_PAGES));
	}
}

/*
 * Scratch is sized for a boot. What is for ever (pools of huge pages, memory
 * for a crash kernel) needs more, most of all the memory that it had before:
 * open the longest runs in which nothing is kept, and spare them for that. The
 * boot itself takes of them only when it has used scratch up.
 */
static void __init kho_open_memory(void)
{
	unsigned int nr_by_order[BITS_PER_LONG] = {}, nr, order, i;

	kho_walk_empty(0, nr_by_order);
	order = ilog2(kho_kept.nr_blocks);
	nr = nr_by_order[order];
	while (order && nr + nr_by_order[order - 1] <= KHO_OPEN_RUNS)
		nr += nr_by_order[--order];
	kho_walk_empty(order, NULL);

	for (i = 0; i < kho_scratch_cnt; i++)
		memblock_clear_kho_spare(kho_scratch[i].addr,
					 kho_scratch[i].size);
}

/* Read the root FDT in place. Returns whether the map was found. */
static bool __init kho_read_root(void)
{
	const void *fdt = phys_to_virt(kho_in.fdt_phys);
	u64 map, check;
	int node;

	if (!kho_is_ram_page(kho_in.fdt_phys)) {
		kho_give_up("root FDT is at %pa, which is not RAM",
			    &kho_in.fdt_phys);
		return false;
	}
	if (fdt_check_header(fdt) || fdt_totalsize(fdt) > PAGE_SIZE) {
		kho_give_up("root FDT has magic %#x and %u bytes, expected %#x and at most %lu",
			    fdt_magic(fdt), fdt_totalsize(fdt), FDT_MAGIC,
			    PAGE_SIZE);
		return false;
	}
	if (fdt_node_check_compatible(fdt, 0, KHO_FDT_COMPATIBLE)) {
		int len = 0;
		const char *found = fdt_getprop(fdt, 0, "compatible", &len);

		/* Any bytes, of another kernel. */
		kho_give_up("root FDT is '%*pE', expected '%s'",
			    found ? clamp(len - 1, 0, 32) : 0, found ?: "",
			    KHO_FDT_COMPATIBLE);
		return false;
	}
	if (!kho_get_u64(fdt, 0, KHO_FDT_MEMORY_MAP_PROP_NAME, &map)) {
		kho_give_up("root FDT has no property '%s' of 8 bytes",
			    KHO_FDT_MEMORY_MAP_PROP_NAME);
		return false;
	}
	kho_in.map_root = map;

	/*
	 * Without checksums damage could not be told from state, and a damaged
	 * root would be one without.
	 */
	node = fdt_subnode_offset(fdt, 0, KHO_CHECK_SUBTREE_NAME);
	if (node < 0 ||
	    !kho_get_u64(fdt, node, KHO_FDT_SUB_TREE_PROP_NAME, &check) ||
	    !kho_is_ram_page(check)) {
		kho_give_up("root FDT has no usable subtree '%s'",
			    KHO_CHECK_SUBTREE_NAME);
		return false;
	}
	kho_in.check = check;
	return true;
}

/* Whether the page itself is preserved, and so out of the allocator. */
static bool __init kho_is_kept_page(phys_addr_t phys)
{
	u64 key = kho_map_key(PHYS_PFN(phys), 0);
	const unsigned long *bits = kho_map_peek(kho_in.map_root, key);

	return bits && test_bit(key & (KHO_MAP_LEAF_BITS - 1), bits);
}

static void __init kho_take_over(void)
{
	const struct kho_check_ser *check;
	u32 fdt_crc;

	if (!kho_read_root())
		return;

	check = phys_to_virt(kho_in.check);
	if (!kho_check_valid(check)) {
		kho_give_up("the checksums are damaged");
		return;
	}
	if (!kho_verify_map(check) || !kho_take_map())
		return;

	kho_in.taken = true;
	kho_in.fdt = phys_to_virt(kho_in.fdt_phys);
	kho_open_memory();

	fdt_crc = kho_fdt_crc(kho_in.fdt);
	if (!kho_is_kept_page(kho_in.fdt_phys) ||
	    !kho_is_kept_page(kho_in.check)) {
		pr_err("root FDT and checksums are not in the page map; nothing is given back, the pages stay reserved\n");
		kho_in.fdt = NULL;
	} else if (fdt_crc != check->fdt_crc) {
		pr_err("root FDT has checksum %#x, expected %#x; nothing is given back, its pages stay reserved\n",
		       fdt_crc, check->fdt_crc);
		kho_in.fdt = NULL;
	}
}

/**
 * kho_memory_takeover - find out what is preserved
 *
 * Context: boot, when all memory is mapped and early parameters are parsed,
 * before the architecture reserves memory that it does not need to boot.
 */
void __init kho_memory_takeover(void)
{
	if (!kho_is_incoming())
		return;

	if (!kho_enable)
		kho_give_up("the previous kernel handed over, but this one runs with kho=off");
	else
		kho_take_over();
}

/**
 * kho_memory_init - choose scratch on a cold boot, unlock memory on another
 *
 * Context: boot, right before memblock gives its memory to the page allocator.
 */
void __init kho_memory_init(void)
{
	if (kho_is_incoming() && !kho_in.taken)
		kho_give_up("the architecture did not take over");
	if (kho_enable)
		kho_ram_note();
	memblock_kho_open_all();

	/* A dump kernel has no memory to spare, and nobody comes after it. */
	if (is_kdump_kernel())
		kho_enable = false;
	if (!kho_in.taken && kho_enable && !kho_scratch_reserve())
		kho_enable = false;
}

/* Which pages of the block at @pfn are preserved, one bit per page. */
static void __meminit kho_block_mask(const struct kho_kept *kept,
				     unsigned long pfn, unsigned long *mask)
{
	u64 orders = kept->orders;

	bitmap_zero(mask, KHO_BLOCK_PAGES);

	while (orders) {
		unsigned int order = __ffs64(orders);
		u64 key = kho_map_key(pfn, order);
		const unsigned long *bits = kho_map_peek(kept->map_root, key);
		unsigned long bit, base = key & (KHO_MAP_LEAF_BITS - 1);

		orders &= orders - 1;
		if (!bits)
			continue;

		if (!order) {
			bitmap_or(mask, mask, bits + BIT_WORD(base),
				  KHO_BLOCK_PAGES);
		} else if (order >= MAX_PAGE_ORDER) {
			if (test_bit(base, bits))
				bitmap_fill(mask, KHO_BLOCK_PAGES);
		} else {
			unsigned long end = base + (KHO_BLOCK_PAGES >> order);

			for (bit = base; bit < end; bit++)
				if (test_bit(bit, bits))
					bitmap_set(mask, (bit - base) << order,
						   1UL << order);
		}
	}
}

/*
 * Free what lies between the pages of @mask, from @run on; @mask begins at @pfn.
 * Returns the first page that is not dealt with. As this is what the boot does
 * for every run of free memory, bits are looked at a word at a time.
 */
static __always_inline unsigned long
kho_free_between(const unsigned long *mask, unsigned long pfn,
		 unsigned long end_pfn, unsigned long run,
		 kho_free_run_t free_run, unsigned long *nr_runs)
{
	for (; pfn < end_pfn; pfn += BITS_PER_LONG) {
		unsigned long bits = *mask++;

		while (bits) {
			unsigned int first = __ffs(bits), nr = BITS_PER_LONG;

			/* Pages from there on that are preserved, too. */
			if (~(bits >> first))
				nr = ffz(bits >> first);
			bits &= first + nr < BITS_PER_LONG ?
				~0UL << (first + nr) : 0;

			if (pfn + first >= end_pfn)
				return run;
			if (pfn + first > run) {
				free_run(run, pfn + first);
				++*nr_runs;
			}
			run = min(pfn + first + nr, end_pfn);
		}
	}
	return run;
}

/**
 * kho_free_around_kept - free a range of pages, but for those that are kept
 * @kept:      which are
 * @start_pfn: first page
 * @end_pfn:   page after the last
 * @free_run:  as for kho_free_around()
 * @nr_runs:   counts how many runs were freed beside pages that are kept
 *
 * Return: the number of pages freed, or counted.
 */
VISIBLE_IF_KUNIT unsigned long __meminit
kho_free_around_kept(const struct kho_kept *kept, unsigned long start_pfn,
		     unsigned long end_pfn, kho_free_run_t free_run,
		     unsigned long *nr_runs)
{
	DECLARE_BITMAP(mask, KHO_BLOCK_PAGES);
	unsigned long run = start_pfn, pfn = start_pfn, nr_kept = 0;

	while (kept->blocks && pfn < end_pfn) {
		unsigned long block, base, end;

		block = find_next_bit(kept->blocks, kept->nr_blocks,
				      pfn / KHO_BLOCK_PAGES);
		base = block * KHO_BLOCK_PAGES;
		if (block >= kept->nr_blocks || base >= end_pfn)
			break;

		pfn = max(pfn, base);
		end = min(end_pfn - base, KHO_BLOCK_PAGES);
		kho_block_mask(kept, base, mask);
		bitmap_clear(mask, 0, pfn - base);
		nr_kept += bitmap_weight(mask, end);
		pfn = base + end;
		if (!free_run)
			continue;

		run = kho_free_between(mask, base, base + end, run, free_run,
				       nr_runs);
	}
	if (free_run && run < end_pfn)
		free_run(run, end_pfn);

	return end_pfn - start_pfn - nr_kept;
}

/**
 * kho_free_around - free a range of pages, but for those that are preserved
 * @start_pfn: first page
 * @end_pfn:   page after the last
 * @free_run:  called for every run of pages in which nothing is preserved, as
 *             long as they are, in ascending order; %NULL to count only
 *
 * Context: boot; from the first initcall on nothing in the range can be
 * preserved, and all of it is freed. May run on several CPUs for different
 * ranges.
 * Return: the number of pages freed, or counted.
 */
unsigned long __meminit kho_free_around(unsigned long start_pfn,
					unsigned long end_pfn,
					kho_free_run_t free_run)
{
	unsigned long nr_runs = 0, nr;

	nr = kho_free_around_kept(&kho_kept, start_pfn, end_pfn, free_run,
				  &nr_runs);
	if (nr_runs)
		atomic_long_add(nr_runs, &kho_nr_runs);
	return nr;
}

static unsigned long __init kho_kept_pages(void)
{
	unsigned long nr_by_order[KHO_MAP_MAX_ORDER + 1], nr = 0;
	unsigned int order;

	kho_map_count(&kho_map, nr_by_order);
	for (order = 0; order <= KHO_MAP_MAX_ORDER; order++)
		nr += nr_by_order[order] << order;
	return nr;
}

/**
 * kho_boot_late - what the takeover has left to do when pages can be freed
 *
 * Moves the root FDT out of the preserved memory, so that nothing of it is
 * left to be carried on.
 *
 * Context: before any page is restored.
 */
void __init kho_boot_late(void)
{
	void *blocks, *fdt;
	size_t size;

	if (!kho_in.taken)
		return;

	/* What is freed from here on was reserved: nothing of it is kept. */
	blocks = kho_kept.blocks;
	kho_kept.blocks = NULL;
	/* As memblock_free_late(), whose arrays are gone by now. */
	size = BITS_TO_LONGS(kho_kept.nr_blocks) * sizeof(long);
	kmemleak_free_part_phys(__pa(blocks), size);
	free_reserved_area(blocks, blocks + size, -1, NULL);

	pr_info("%lu KiB of the previous kernel kept, %ld runs of free pages between\n",
		kho_kept_pages() << (PAGE_SHIFT - 10),
		atomic_long_read(&kho_nr_runs));

	if (!kho_in.fdt)
		return;

	fdt = kmemdup(kho_in.fdt, PAGE_SIZE, GFP_KERNEL);
	/* Without memory for a copy it is used where it is, and stays there. */
	if (!fdt)
		return;
	kho_restore_free(kho_in.fdt);
	kho_restore_free(phys_to_virt(kho_in.check));
	kho_in.fdt = fdt;
}
