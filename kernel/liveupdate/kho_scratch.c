// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: scratch, the memory that the next kernel boots in.
 */

/**
 * DOC: Scratch
 *
 * Scratch is memory in which nothing is ever preserved. The next image is
 * placed in it, and the next kernel boots in it until it knows what else is
 * free. The areas are chosen once, on the cold boot, and handed on from kernel
 * to kernel: they neither move nor grow.
 *
 * Their page blocks are MIGRATE_CMA, so that user space and the page cache can
 * use the memory while the kernel itself, whose pages may be preserved, never
 * does. Pages of user space that lie there are migrated out when they are
 * preserved.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/visibility.h>
#include <linux/crash_reserve.h>
#include <linux/hugetlb.h>
#include <linux/kexec.h>
#include <linux/io.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/cma.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/swiotlb.h>

#include <asm/early_ioremap.h>
#include <asm/sections.h>

#include "kho_internal.h"

/* By how much the next boot may need more than this one, default. */
#define KHO_SCRATCH_SCALE	200

/* Where memory is in pieces, so is scratch; the next image has to fit one. */
#define KHO_SCRATCH_PIECE	SZ_32M

/*
 * Of a place and of a size: the largest page block that a kernel can have, for
 * the next one may be configured otherwise than this.
 */
#define KHO_SCRATCH_ALIGN	(PAGE_SIZE << MAX_PAGE_ORDER)

/* The areas, without overlap. Fixed after boot. */
struct kho_scratch kho_scratch[KHO_SCRATCH_MAX] __ro_after_init;
unsigned int kho_scratch_cnt __ro_after_init;

/* What kho_scratch= asks for. */
static struct kho_scratch_arg kho_scratch_arg __initdata = {
	.percent = KHO_SCRATCH_SCALE,
};

/**
 * kho_scratch_overlap - whether a range touches scratch
 * @start: its first byte
 * @size:  bytes
 *
 * Context: any.
 * Return: true if it does.
 */
bool kho_scratch_overlap(phys_addr_t start, phys_addr_t size)
{
	unsigned int i;

	for (i = 0; i < kho_scratch_cnt; i++)
		if (start < kho_scratch[i].addr + kho_scratch[i].size &&
		    kho_scratch[i].addr < start + size)
			return true;
	return false;
}

/**
 * kho_scratch_gap - how far it is to scratch from a page
 * @pfn: the page
 * @gap: set to the pages around it up to the next scratch on either side
 *
 * Context: any.
 * Return: false if the page lies in scratch.
 */
bool kho_scratch_gap(unsigned long pfn, struct kho_gap *gap)
{
	unsigned int i;

	*gap = (struct kho_gap) { .end = ULONG_MAX };
	for (i = 0; i < kho_scratch_cnt; i++) {
		unsigned long start = PHYS_PFN(kho_scratch[i].addr);
		unsigned long end = start + PHYS_PFN(kho_scratch[i].size);

		if (pfn >= end)
			gap->start = max(gap->start, end);
		else if (pfn < start)
			gap->end = min(gap->end, start);
		else
			return false;
	}
	return true;
}

/**
 * kho_touches_scratch - whether page blocks have some scratch in them
 * @pfn: a page of the first block
 * @nr:  how many pages from there
 *
 * Another kernel chose the areas, perhaps one with smaller page blocks: a block of
 * which a part is scratch is for movable pages as a whole.
 *
 * Context: any.
 * Return: true if they have.
 */
bool kho_touches_scratch(unsigned long pfn, unsigned long nr)
{
	unsigned long start = pageblock_start_pfn(pfn);
	unsigned long end = pageblock_align(pfn + nr);

	return kho_scratch_overlap(PFN_PHYS(start), PFN_PHYS(end - start));
}

/**
 * kho_scratch_valid - whether an area of the previous kernel's can be one
 * @area: the area
 * @cnt:  how many come before it in kho_scratch: it must touch none of them
 *
 * Return: true if it can.
 */
VISIBLE_IF_KUNIT bool __init kho_scratch_valid(const struct kho_scratch *area,
					       unsigned int cnt)
{
	kho_scratch_cnt = cnt;
	return area->size && area->addr + area->size > area->addr &&
	       PAGE_ALIGNED(area->addr | area->size) &&
	       !kho_scratch_overlap(area->addr, area->size);
}

/**
 * kho_scratch_adopt - take the previous kernel's areas on
 * @phys: address of its array
 * @size: of the array, in bytes
 *
 * Context: early boot, before memory is mapped.
 * Return: 0, or -EINVAL if it is not an array of areas.
 */
int __init kho_scratch_adopt(phys_addr_t phys, u64 size)
{
	unsigned int i, cnt;
	void *array;

	if (!phys || !size || size > sizeof(kho_scratch) ||
	    size % sizeof(*kho_scratch))
		return -EINVAL;
	cnt = size / sizeof(*kho_scratch);

	array = early_memremap(phys, size);
	if (!array)
		return -EINVAL;
	memcpy(kho_scratch, array, size);
	early_memunmap(array, size);

	for (i = 0; i < cnt; i++)
		if (!kho_scratch_valid(&kho_scratch[i], i))
			return -EINVAL;

	kho_scratch_cnt = cnt;
	return 0;
}

/**
 * kho_scratch_open - let memblock give the areas out
 *
 * Context: early boot, when memblock knows the memory.
 * Return: 0; -EINVAL if an area is not RAM; -ENOMEM.
 */
int __init kho_scratch_open(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < kho_scratch_cnt; i++) {
		if (!memblock_is_region_memory(kho_scratch[i].addr,
					       kho_scratch[i].size))
			return -EINVAL;
		err = memblock_mark_kho_open(kho_scratch[i].addr,
					     kho_scratch[i].size);
		if (err)
			return err;
	}
	return 0;
}

/* The previous kernel's state is given up: its areas are ordinary memory. */
void __init kho_scratch_drop(void)
{
	kho_scratch_cnt = 0;
}

/**
 * kho_overlap_size - what two ranges have in common
 * @from:  first byte of the one
 * @to:    byte after its last
 * @start: first byte of the other
 * @end:   byte after its last
 *
 * Return: bytes.
 */
VISIBLE_IF_KUNIT phys_addr_t __init kho_overlap_size(phys_addr_t from,
						     phys_addr_t to,
						     phys_addr_t start,
						     phys_addr_t end)
{
	from = max(from, start);
	to = min(to, end);
	return from < to ? to - from : 0;
}

/*
 * Bytes that this boot has taken from memblock in a range, without what is not
 * for the boot itself. The next kernel finds the memory for that on its own.
 */
static phys_addr_t __init kho_boot_size(phys_addr_t start, phys_addr_t end)
{
	phys_addr_t size = 0, from, to;
	u64 i;

	for_each_reserved_mem_range(i, &from, &to)
		size += kho_overlap_size(from, to, start, end);
	return size;
}

struct kho_range {
	phys_addr_t start;
	phys_addr_t end;
	phys_addr_t found;
};

#ifdef CONFIG_CMA
static int __init kho_add_cma(struct cma *cma, void *data)
{
	phys_addr_t base = cma_get_base(cma);
	struct kho_range *range = data;

	range->found += kho_overlap_size(base, base + cma_get_size(cma),
					 range->start, range->end);
	return 0;
}

static void __init kho_add_cma_areas(struct kho_range *range)
{
	cma_for_each_area(kho_add_cma, range);
}
#else
static inline void kho_add_cma_areas(struct kho_range *range) { }
#endif

#ifdef CONFIG_HUGETLB_PAGE
static void __init kho_add_huge_pages(struct kho_range *range)
{
	struct huge_bootmem_page *page;
	phys_addr_t base;
	int nid;

	for_each_online_node(nid) {
		/* The lists are made when there is something to put there. */
		if (!huge_boot_pages[nid].next)
			continue;
		list_for_each_entry(page, &huge_boot_pages[nid], list) {
			base = virt_to_phys(page);
			range->found += kho_overlap_size(base, base +
						huge_page_size(page->hstate),
						range->start, range->end);
		}
	}
}
#else
static inline void kho_add_huge_pages(struct kho_range *range) { }
#endif

/* What this boot took of a range for itself. */
static phys_addr_t __init kho_boot_took(phys_addr_t start, phys_addr_t end)
{
	phys_addr_t size = kho_boot_size(start, end);
	struct kho_range pools = { .start = start, .end = end };

	kho_add_cma_areas(&pools);
	kho_add_huge_pages(&pools);
#ifdef CONFIG_CRASH_RESERVE
	if (crashk_res.end)
		pools.found += kho_overlap_size(crashk_res.start,
						crashk_res.end + 1, start, end);
	if (crashk_low_res.end)
		pools.found += kho_overlap_size(crashk_low_res.start,
						crashk_low_res.end + 1,
						start, end);
#endif
	return size - min(size, pools.found);
}

/* What the next boot needs of it. */
static phys_addr_t __init kho_boot_needs(phys_addr_t start, phys_addr_t end)
{
	return kho_boot_took(start, end) * kho_scratch_arg.percent / 100;
}

/*
 * In one area if there is one, or else in as few as it takes. Returns the bytes
 * for which there is no place.
 */
static phys_addr_t __init kho_scratch_add(phys_addr_t size, phys_addr_t end,
					  int nid)
{
	phys_addr_t left = ALIGN(size, KHO_SCRATCH_ALIGN), addr;
	phys_addr_t piece = left;

	BUILD_BUG_ON(KHO_SCRATCH_ALIGN % CMA_MIN_ALIGNMENT_BYTES);

	while (left && kho_scratch_cnt < KHO_SCRATCH_MAX) {
		piece = min(piece, left);
		addr = memblock_alloc_range_nid(piece, KHO_SCRATCH_ALIGN,
						SZ_16M, end, nid,
						numa_valid_node(nid));
		if (addr) {
			kho_scratch[kho_scratch_cnt++] = (struct kho_scratch) {
				.addr = addr,
				.size = piece,
			};
			left -= piece;
			continue;
		}
		piece = ALIGN(piece / 2, KHO_SCRATCH_ALIGN);
		if (piece < KHO_SCRATCH_PIECE)
			break;
	}
	return left;
}

static bool __init kho_scratch_must_add(phys_addr_t size, phys_addr_t end,
					int nid, const char *what)
{
	if (!kho_scratch_add(size, end, nid))
		return true;
	pr_warn("cannot find %llu MiB of %s memory for scratch\n",
		(u64)size >> 20, what);
	return false;
}

static bool __init kho_scratch_add_low(phys_addr_t size)
{
	return kho_scratch_must_add(size, ARCH_LOW_ADDRESS_LIMIT + 1ULL,
				    NUMA_NO_NODE, "low");
}

static bool __init kho_scratch_add_global(phys_addr_t size)
{
	return kho_scratch_must_add(size, MEMBLOCK_ALLOC_ACCESSIBLE,
				    NUMA_NO_NODE, "global");
}

/* As kho_scratch= says. */
static bool __init kho_scratch_add_all(phys_addr_t low, phys_addr_t global,
				       phys_addr_t pernode)
{
	int nid;

	if (!kho_scratch_add_low(low) || !kho_scratch_add_global(global))
		return false;
	for_each_node_state(nid, N_MEMORY)
		if (!kho_scratch_must_add(pernode, MEMBLOCK_ALLOC_ACCESSIBLE,
					  nid, "node's"))
			return false;
	return true;
}

/* What there is of scratch in a range. */
static phys_addr_t __init kho_scratch_size(phys_addr_t start, phys_addr_t end)
{
	phys_addr_t size = 0;
	unsigned int i;

	for (i = 0; i < kho_scratch_cnt; i++)
		size += kho_overlap_size(kho_scratch[i].addr,
					 kho_scratch[i].addr +
					 kho_scratch[i].size, start, end);
	return size;
}

/**
 * kho_scratch_lacks - what a node is to get of scratch beside what it has
 * @took:    bytes taken there, in which the areas are counted, up to now
 * @have:    bytes of scratch there
 * @percent: of what was taken for the boot itself that the next one may need
 *
 * Return: bytes, 0 if it has enough.
 */
VISIBLE_IF_KUNIT phys_addr_t __init kho_scratch_lacks(phys_addr_t took,
						      phys_addr_t have,
						      unsigned int percent)
{
	phys_addr_t need = (took - min(took, have)) * percent / 100;

	return need - min(need, have);
}

/*
 * What a node has of scratch is to last for what the next boot needs there: its
 * page structures and its share of the hash tables. Returns the bytes for which
 * it has no place.
 */
static phys_addr_t __init kho_scratch_add_node(int nid)
{
	phys_addr_t took = 0, have = 0;
	unsigned long start, end;
	int n;

	for_each_mem_pfn_range(n, nid, &start, &end, NULL) {
		took += kho_boot_took(PFN_PHYS(start), PFN_PHYS(end));
		have += kho_scratch_size(PFN_PHYS(start), PFN_PHYS(end));
	}
	return kho_scratch_add(kho_scratch_lacks(took, have,
						 kho_scratch_arg.percent),
			       MEMBLOCK_ALLOC_ACCESSIBLE, nid);
}

/*
 * What must be low, and beside it to each node what it needs. Where there are
 * several, all that is needed is found on one of them; what is not, comes from
 * another.
 */
static bool __init kho_scratch_add_default(void)
{
	phys_addr_t limit = ARCH_LOW_ADDRESS_LIMIT + 1ULL, left = 0;
	int nid;

	if (!kho_scratch_add_low(kho_boot_needs(0, limit)))
		return false;
	if (num_node_state(N_MEMORY) < 2)
		return kho_scratch_add_global(kho_boot_needs(limit,
							     PHYS_ADDR_MAX));

	for_each_node_state(nid, N_MEMORY)
		left += kho_scratch_add_node(nid);
	return kho_scratch_add_global(left);
}

/* The areas are known: they are free memory like any other, for now. */
static void __init kho_scratch_unreserve(void)
{
	unsigned int i;

	for (i = 0; i < kho_scratch_cnt; i++)
		memblock_phys_free(kho_scratch[i].addr,
				   kho_scratch[i].size);
}

/* What of the sum of sizes can be said to be wrong. */
static bool __init kho_scratch_sum_works(const struct kho_scratch_arg *arg)
{
	phys_addr_t took = kho_boot_took(0, PHYS_ADDR_MAX);
	phys_addr_t most = memblock_phys_mem_size();
	phys_addr_t size;

	/* None larger than memory, or the sum might overflow. */
	size = min(arg->low, most) + min(arg->global, most) +
	       min(arg->pernode, most) * num_node_state(N_MEMORY);
	if (size < took) {
		pr_warn("kho_scratch= asks for %llu MiB, but this boot took %llu MiB; using %u%% of that\n",
			(u64)size >> 20, (u64)took >> 20, arg->percent);
		return false;
	}
	if (size >= most) {
		pr_warn("kho_scratch= asks for more than there is; using %u%% of what this boot took\n",
			arg->percent);
		return false;
	}
	return true;
}

/* Whether the kernel fits in one area, and there is low memory for devices. */
static bool __init kho_scratch_areas_work(const struct kho_scratch_arg *arg)
{
	phys_addr_t low = kho_scratch_size(0, ARCH_LOW_ADDRESS_LIMIT + 1ULL);
	phys_addr_t kernel = _end - _text, need = 0, largest = 0;
	unsigned int i;

	if (is_swiotlb_allocated())
		need = swiotlb_size_or_default();
	if (low < need) {
		pr_warn("kho_scratch= leaves %llu MiB below 4 GiB, but devices need %llu MiB there; using %u%% of what this boot took\n",
			(u64)low >> 20, (u64)need >> 20, arg->percent);
		return false;
	}
	for (i = 0; i < kho_scratch_cnt; i++)
		largest = max(largest, kho_scratch[i].size);
	if (largest < kernel) {
		pr_warn("kho_scratch= makes areas of %llu MiB at most, but a kernel has %llu MiB; using %u%% of what this boot took\n",
			(u64)largest >> 20, (u64)kernel >> 20, arg->percent);
		return false;
	}
	return true;
}

/* The sizes that kho_scratch= asks for, if they can work. */
static bool __init kho_scratch_add_given(void)
{
	struct kho_scratch_arg *arg = &kho_scratch_arg;

	if (!kho_scratch_sum_works(arg))
		return false;
	if (!kho_scratch_add_all(arg->low, arg->global, arg->pernode))
		pr_warn("kho_scratch= asks for more than there is; using %u%% of what this boot took\n",
			arg->percent);
	else if (kho_scratch_areas_work(arg))
		return true;

	kho_scratch_unreserve();
	kho_scratch_cnt = 0;
	return false;
}

/**
 * kho_scratch_reserve - choose the areas on a cold boot
 *
 * Context: as late as memblock allows, so that what must have low memory has
 * had it.
 * Return: whether there are any; otherwise the reason was printed.
 */
bool __init kho_scratch_reserve(void)
{
	phys_addr_t total = 0;
	unsigned int i;
	bool ok = false;

	if (kho_scratch_arg.given)
		ok = kho_scratch_add_given();
	if (!ok)
		ok = kho_scratch_add_default();
	kho_scratch_unreserve();

	if (!ok || !kho_scratch_cnt) {
		pr_err("no scratch memory, Kexec Handover stays off; see kho_scratch= in kernel-parameters\n");
		kho_scratch_cnt = 0;
		return false;
	}
	for (i = 0; i < kho_scratch_cnt; i++)
		total += kho_scratch[i].size;
	pr_info("%llu MiB of scratch in %u areas\n", (u64)total >> 20,
		kho_scratch_cnt);
	return true;
}

/**
 * kho_scratch_protect - give page blocks that this boot has taken their type
 *
 * Where initialization is deferred, a block without a free page has none, which
 * means MIGRATE_UNMOVABLE: what the boot frees of it before kho_scratch_late(), a
 * part of the kernel image for one, would come back as memory of the kernel's.
 *
 * Context: boot, when the pages of reserved memory are initialized.
 */
void __init kho_scratch_protect(void)
{
	struct memblock_region *region;
	unsigned long pfn, end;

	for_each_reserved_mem_region(region) {
		if (memblock_is_reserved_noinit(region))
			continue;
		pfn = PFN_DOWN(region->base);
		end = PFN_UP(region->base + region->size);
		for (; pfn < end; pfn = pageblock_end_pfn(pfn))
			if (kho_touches_scratch(pfn, 1))
				set_pageblock_migratetype(pfn_to_page(pfn),
							  MIGRATE_CMA);
	}
}

/**
 * kho_scratch_late - finish the areas when all pages are initialized
 *
 * Blocks of which a page was free at boot are MIGRATE_CMA already, and so are
 * those that kho_scratch_protect() knows of. None may be left out, whoever took
 * it: it would become memory of the kernel's, where nothing can be preserved.
 *
 * Context: before the first page of the kernel's own memory is freed.
 */
void __init kho_scratch_late(void)
{
	unsigned long pfn, end;
	struct page *page;
	unsigned int i;

	for (i = 0; i < kho_scratch_cnt; i++) {
		pfn = PHYS_PFN(kho_scratch[i].addr);
		end = pfn + PHYS_PFN(kho_scratch[i].size);
		for (pfn = pageblock_start_pfn(pfn); pfn < end;
		     pfn += pageblock_nr_pages) {
			page = pfn_to_online_page(pfn);
			if (!page)
				continue;
			if (!is_migrate_cma_page(page))
				set_pageblock_migratetype(page, MIGRATE_CMA);
			page_zone(page)->cma_pages += pageblock_nr_pages;
			totalcma_pages += pageblock_nr_pages;
		}
	}
}

static int __init kho_parse_sizes(const char *text,
				  struct kho_scratch_arg *arg)
{
	phys_addr_t size[3];
	unsigned int i;
	char *end;

	for (i = 0; i < ARRAY_SIZE(size); i++) {
		size[i] = memparse(text, &end);
		if (end == text || *end != (i < 2 ? ',' : '\0'))
			return -EINVAL;
		text = end + 1;
	}
	if (!size[0] && !size[1] && !size[2])
		return -EINVAL;
	arg->low = size[0];
	arg->global = size[1];
	arg->pernode = size[2];
	arg->given = true;
	return 0;
}

static int __init kho_parse_percent(const char *text,
				    struct kho_scratch_arg *arg)
{
	unsigned int percent;
	char unit, rest;

	if (sscanf(text, "%5u%c%c", &percent, &unit, &rest) != 2 ||
	    unit != '%' || percent < 100 || percent > 10000)
		return -EINVAL;
	arg->percent = percent;
	return 0;
}

/**
 * kho_scratch_parse - read the value of kho_scratch=
 * @text: N% or LOW,GLOBAL,PERNODE
 * @arg:  what is set in it
 *
 * Return: 0, or -EINVAL; @arg is then as before.
 */
int __init kho_scratch_parse(const char *text, struct kho_scratch_arg *arg)
{
	return kho_parse_percent(text, arg) ? kho_parse_sizes(text, arg) : 0;
}

static int __init kho_parse_scratch(char *arg)
{
	if (!arg || kho_scratch_parse(arg, &kho_scratch_arg))
		pr_warn("kho_scratch=%s is neither N%% (100..10000) nor LOW,GLOBAL,PERNODE; using %u%%\n",
			arg ?: "", KHO_SCRATCH_SCALE);
	return 0;
}
early_param("kho_scratch", kho_parse_scratch);
