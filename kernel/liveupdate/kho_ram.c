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

/* In ascending order, with holes between them. */
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

/* Have @gap end where the range of a page does; false if the page is in none. */
VISIBLE_IF_KUNIT bool kho_ram_clip(const struct kho_ram_range *ram,
				   unsigned int nr, unsigned long pfn,
				   struct kho_gap *gap)
{
	unsigned int i = 0;

	while (i < nr && pfn >= ram[i].end)
		i++;
	if (i == nr || pfn < ram[i].start)
		return false;
	gap->start = max(gap->start, ram[i].start);
	gap->end = min(gap->end, ram[i].end);
	return true;
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
	KUNIT_STATIC_STUB_REDIRECT(kho_ram_gap, pfn, gap);

	/* Nothing was added. */
	return !READ_ONCE(kho_ram_grew) ||
	       kho_ram_clip(kho_ram, kho_nr_ram, pfn, gap);
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
	struct kho_gap gap = { .end = ULONG_MAX };

	/* Memory comes and goes by blocks, no part of which was there alone. */
	if (action != MEM_GOING_ONLINE ||
	    kho_ram_clip(kho_ram, kho_nr_ram, arg->start_pfn, &gap))
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
