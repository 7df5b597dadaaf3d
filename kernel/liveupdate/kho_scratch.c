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

#include <linux/crash_reserve.h>
#include <linux/kexec.h>
#include <linux/io.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/cma.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <asm/early_ioremap.h>

#include "kho_internal.h"

/* By how much the next boot may need more than this one, default. */
#define KHO_SCRATCH_SCALE	200

/* The areas: aligned to page blocks, without overlap. Fixed after boot. */
struct kho_scratch kho_scratch[KHO_SCRATCH_MAX];
unsigned int kho_scratch_cnt;

/* Of kho_scratch=: percent, or bytes if @given. */
static struct {
	unsigned int percent;
	bool given;
	phys_addr_t low;
	phys_addr_t global;
	phys_addr_t pernode;
} kho_scratch_arg __initdata = { .percent = KHO_SCRATCH_SCALE };

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
 * kho_is_scratch_pfn - whether a page lies in scratch
 * @pfn: the page
 *
 * Context: any.
 * Return: true if it does.
 */
bool kho_is_scratch_pfn(unsigned long pfn)
{
	return kho_scratch_overlap(PFN_PHYS(pfn), PAGE_SIZE);
}

static bool __init kho_scratch_valid(const struct kho_scratch *area)
{
	return area->size && area->addr + area->size > area->addr &&
	       IS_ALIGNED(area->addr | area->size, CMA_MIN_ALIGNMENT_BYTES);
}

/**
 * kho_scratch_adopt - take the previous kernel's areas on, open them to
 * memblock
 * @phys: address of its array
 * @size: of the array, in bytes
 *
 * Context: early boot, before memory is mapped.
 * Return: 0, or -EINVAL if it is not an array of areas.
 */
int __init kho_scratch_adopt(phys_addr_t phys, u64 size)
{
	unsigned int i, cnt = size / sizeof(*kho_scratch);
	void *array;

	if (!phys || !cnt || cnt > KHO_SCRATCH_MAX ||
	    size % sizeof(*kho_scratch))
		return -EINVAL;

	array = early_memremap(phys, size);
	if (!array)
		return -EINVAL;
	memcpy(kho_scratch, array, size);
	early_memunmap(array, size);

	for (i = 0; i < cnt; i++)
		if (!kho_scratch_valid(&kho_scratch[i]))
			return -EINVAL;

	kho_scratch_cnt = cnt;
	for (i = 0; i < cnt; i++) {
		memblock_add(kho_scratch[i].addr, kho_scratch[i].size);
		memblock_mark_kho_open(kho_scratch[i].addr,
				       kho_scratch[i].size);
	}
	return 0;
}

/* The previous kernel's state is given up: its areas are ordinary memory. */
void __init kho_scratch_drop(void)
{
	kho_scratch_cnt = 0;
}

/*
 * Bytes that this boot has taken from memblock in a range, without what is not
 * for the boot itself. The next kernel finds the memory for that on its own.
 */
static phys_addr_t __init kho_boot_size(phys_addr_t start, phys_addr_t end)
{
	phys_addr_t size = 0, from, to;
	u64 i;

	for_each_reserved_mem_range(i, &from, &to) {
		from = max(from, start);
		to = min(to, end);
		if (from < to)
			size += to - from;
	}
	return size;
}

static phys_addr_t __init kho_overlap_size(const struct resource *res,
					   phys_addr_t start, phys_addr_t end)
{
	phys_addr_t from = max_t(phys_addr_t, res->start, start);
	phys_addr_t to = min_t(phys_addr_t, res->end + 1, end);

	return res->end && from < to ? to - from : 0;
}

static phys_addr_t __init kho_need(phys_addr_t start, phys_addr_t end)
{
	phys_addr_t size = kho_boot_size(start, end), other = 0;

#ifdef CONFIG_CRASH_RESERVE
	other += kho_overlap_size(&crashk_res, start, end);
	other += kho_overlap_size(&crashk_low_res, start, end);
#endif
	size -= min(size, other);
	return size * kho_scratch_arg.percent / 100;
}

static bool __init kho_scratch_add(phys_addr_t size, phys_addr_t end, int nid,
				   const char *what)
{
	struct kho_scratch *area = &kho_scratch[kho_scratch_cnt];
	phys_addr_t addr;

	size = ALIGN(size, CMA_MIN_ALIGNMENT_BYTES);
	if (!size || kho_scratch_cnt == KHO_SCRATCH_MAX)
		return true;

	addr = memblock_alloc_range_nid(size, CMA_MIN_ALIGNMENT_BYTES, SZ_16M,
					end, nid, numa_valid_node(nid));
	if (!addr) {
		pr_err("cannot find %llu MiB of %s memory for scratch\n",
		       (u64)size >> 20, what);
		return false;
	}
	area->addr = addr;
	area->size = size;
	kho_scratch_cnt++;
	return true;
}

static bool __init kho_scratch_add_all(phys_addr_t low, phys_addr_t global,
				       phys_addr_t pernode)
{
	int nid;

	if (!kho_scratch_add(low, ARCH_LOW_ADDRESS_LIMIT + 1ULL, NUMA_NO_NODE,
			     "low") ||
	    !kho_scratch_add(global, MEMBLOCK_ALLOC_ACCESSIBLE, NUMA_NO_NODE,
			     "global"))
		return false;
	if (!pernode)
		return true;
	for_each_online_node(nid)
		if (!kho_scratch_add(pernode, MEMBLOCK_ALLOC_ACCESSIBLE, nid,
				     "node's"))
			return false;
	return true;
}

static bool __init kho_scratch_add_default(void)
{
	phys_addr_t limit = ARCH_LOW_ADDRESS_LIMIT + 1ULL;
	phys_addr_t low = kho_need(0, limit);
	phys_addr_t high = kho_need(limit, PHYS_ADDR_MAX);

	/* Memory that a node needs for itself may come from another one. */
	return kho_scratch_add_all(low, high, 0);
}

/* The areas are known: they are free memory like any other, for now. */
static void __init kho_scratch_unreserve(void)
{
	unsigned int i;

	for (i = 0; i < kho_scratch_cnt; i++)
		memblock_phys_free(kho_scratch[i].addr,
				   kho_scratch[i].size);
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
	bool ok;

	if (kho_scratch_arg.given)
		ok = kho_scratch_add_all(kho_scratch_arg.low,
					 kho_scratch_arg.global,
					 kho_scratch_arg.pernode);
	else
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
 * kho_scratch_late - finish the areas when all pages are initialized
 *
 * Blocks of which a free page went through the allocator are MIGRATE_CMA
 * already. The rest is in use by this kernel for now; what it frees of them
 * must not become memory that may be preserved.
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
		for (; pfn < end; pfn += pageblock_nr_pages) {
			page = pfn_to_online_page(pfn);
			if (!page)
				continue;
			if (!is_migrate_cma_page(page))
				set_pageblock_migratetype(page, MIGRATE_CMA);
			page_zone(page)->cma_pages += pageblock_nr_pages;
		}
	}
}

static int __init kho_parse_sizes(const char *arg)
{
	phys_addr_t size[3];
	unsigned int i;
	char *end;

	for (i = 0; i < ARRAY_SIZE(size); i++) {
		size[i] = memparse(arg, &end);
		if (end == arg || *end != (i < 2 ? ',' : '\0'))
			return -EINVAL;
		arg = end + 1;
	}
	if (!size[0] && !size[1] && !size[2])
		return -EINVAL;
	kho_scratch_arg.low = size[0];
	kho_scratch_arg.global = size[1];
	kho_scratch_arg.pernode = size[2];
	kho_scratch_arg.given = true;
	return 0;
}

static int __init kho_parse_percent(const char *arg)
{
	unsigned int percent;
	char unit, rest;

	if (sscanf(arg, "%u%c%c", &percent, &unit, &rest) != 2 || unit != '%' ||
	    percent < 100 || percent > 10000)
		return -EINVAL;
	kho_scratch_arg.percent = percent;
	return 0;
}

/* kho_scratch=N% or kho_scratch=LOW,GLOBAL,PERNODE */
static int __init kho_parse_scratch(char *arg)
{
	if (!arg || (kho_parse_percent(arg) && kho_parse_sizes(arg)))
		pr_warn("kho_scratch=%s is neither N%% (100..10000) nor LOW,GLOBAL,PERNODE; using %u%%\n",
			arg ?: "", KHO_SCRATCH_SCALE);
	return 0;
}
early_param("kho_scratch", kho_parse_scratch);
