// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: the memory that the next kernel will find.
 */

/**
 * DOC: Memory of the boot
 *
 * The next kernel learns of memory what this one learned at its boot. What was
 * added since, a DIMM or memory of a device, is none of that: a page there that
 * somebody preserves, or a node of the page map, would make the next kernel give
 * up everything. So the ranges of memory are noted at boot. What is added can be
 * used for movable pages only, and pages there cannot be preserved: of a memfd
 * they are migrated, like those in scratch.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/memory.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/notifier.h>

#include "kho_internal.h"

/* Pages that were there at boot, in ascending order, with holes between them. */
struct kho_ram_range {
	unsigned long start;
	unsigned long end;
};

static struct kho_ram_range *kho_ram __ro_after_init;
static unsigned int kho_nr_ram __ro_after_init;

/* Whether there is more now. */
static bool kho_ram_grew;

/**
 * kho_ram_note - note what memory there is
 *
 * Context: boot, when memblock has all of it, and gives out no more than it may.
 */
void __init kho_ram_note(void)
{
	unsigned long start, end;
	int i, nr = 0;

	for_each_mem_pfn_range(i, MAX_NUMNODES, &start, &end, NULL)
		nr++;
	kho_ram = memblock_alloc(nr * sizeof(*kho_ram), SMP_CACHE_BYTES);
	if (!kho_ram)
		return;

	for_each_mem_pfn_range(i, MAX_NUMNODES, &start, &end, NULL) {
		if (kho_nr_ram && kho_ram[kho_nr_ram - 1].end == start)
			kho_ram[kho_nr_ram - 1].end = end;
		else
			kho_ram[kho_nr_ram++] = (struct kho_ram_range) {
				.start = start,
				.end = end,
			};
	}
}

/* The range of a page, %NULL if it was not there at boot. */
static const struct kho_ram_range *kho_find_ram(unsigned long pfn)
{
	unsigned int i;

	for (i = 0; i < kho_nr_ram; i++)
		if (pfn < kho_ram[i].end)
			return pfn >= kho_ram[i].start ? &kho_ram[i] : NULL;
	return NULL;
}

/**
 * kho_ram_gap - how far from a page the next kernel will find memory
 * @pfn: the page; there is memory
 * @gap: pages around it, made to end where memory did at boot
 *
 * Context: any.
 * Return: false if the page itself was not there at boot.
 */
bool kho_ram_gap(unsigned long pfn, struct kho_gap *gap)
{
	const struct kho_ram_range *range;

	KUNIT_STATIC_STUB_REDIRECT(kho_ram_gap, pfn, gap);

	/* Nothing was added. */
	if (!READ_ONCE(kho_ram_grew))
		return true;
	range = kho_find_ram(pfn);
	if (!range)
		return false;
	gap->start = max(gap->start, range->start);
	gap->end = min(gap->end, range->end);
	return true;
}

#ifdef CONFIG_MEMORY_HOTPLUG
/*
 * The kernel's own memory may have to be preserved, or be a node of the page map,
 * and is what the kernel finds first. What is movable is moved where it can stay.
 */
static int kho_memory_notify(struct notifier_block *self, unsigned long action,
			     void *data)
{
	const struct memory_notify *arg = data;
	phys_addr_t phys = PFN_PHYS(arg->start_pfn);

	/* Memory comes and goes by blocks, no part of which was there alone. */
	if (action != MEM_GOING_ONLINE || kho_find_ram(arg->start_pfn))
		return NOTIFY_DONE;
	if (page_zonenum(pfn_to_page(arg->start_pfn)) == ZONE_MOVABLE) {
		WRITE_ONCE(kho_ram_grew, true);
		return NOTIFY_OK;
	}
	pr_err("memory at %pa was not there at boot, so the next kernel may not find what lies there; it can be onlined as movable (online_movable)\n",
	       &phys);
	return notifier_from_errno(-EOPNOTSUPP);
}

/**
 * kho_ram_watch - notice memory that is added
 *
 * Context: before the first initcall that adds some.
 */
void __init kho_ram_watch(void)
{
	if (kho_nr_ram)
		hotplug_memory_notifier(kho_memory_notify,
					DEFAULT_CALLBACK_PRI);
}
#else
void __init kho_ram_watch(void) { }
#endif
