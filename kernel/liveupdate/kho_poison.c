// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: preserved pages that the hardware has lost.
 */

/**
 * DOC: Memory errors
 *
 * The next kernel does not know which pages have a memory error, and would read
 * what it is given. So a page with an error cannot be preserved, and the reboot
 * is refused if one has got it since: whoever it belongs to can still save the
 * rest. Two kinds of pages belong to nobody who could let them go:
 *
 * - A page of metadata from the previous kernel is not read, and what it
 *   described is lost. It is taken out of the map when it is found to have an
 *   error, and never used again.
 * - Contents are restored with the error, marked as always in the kernel. Who
 *   restores them must look before reading; the page is not used again when it
 *   is freed.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/memory.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "kho_internal.h"

#if defined(CONFIG_MEMORY_FAILURE) && defined(CONFIG_MEMORY_HOTPLUG)
/* Memory errors are counted by memory block, of 128 MiB or more. */
static unsigned long kho_poison_span(void)
{
	return PHYS_PFN(memory_block_size_bytes());
}

static int kho_block_has_poison(struct memory_block *block, void *unused)
{
	return !!atomic_long_read(&block->nr_hwpoison);
}

static bool kho_span_poisoned(unsigned long pfn, unsigned long nr)
{
	return walk_memory_blocks(PFN_PHYS(pfn), PFN_PHYS(nr), NULL,
				  kho_block_has_poison);
}
#else
static unsigned long kho_poison_span(void)
{
	return KHO_MAP_LEAF_BITS;
}

static bool kho_span_poisoned(unsigned long pfn, unsigned long nr)
{
	return true;
}
#endif

/* Whether it is worth to look at the pages of a part of memory. */
VISIBLE_IF_KUNIT bool kho_span_has_poison(unsigned long pfn, unsigned long nr)
{
	KUNIT_STATIC_STUB_REDIRECT(kho_span_has_poison, pfn, nr);

	return kho_span_poisoned(pfn, nr);
}

struct kho_poison_search {
	struct kho_map_walk walk;
	unsigned long pfn;
};

/* Blocks @bit up to @end of the bitmap that begins with @key. */
static bool kho_find_poison_bits(struct kho_poison_search *search, u64 key,
				 const unsigned long *bits, unsigned long bit,
				 unsigned long end)
{
	for_each_set_bit_from(bit, bits, end) {
		unsigned long pfn = kho_key_pfn(key + bit), found;
		unsigned long nr = 1UL << kho_key_order(key);

		found = kho_find_poison(pfn, nr);
		if (found < nr) {
			search->pfn = pfn + found;
			return true;
		}
	}
	return false;
}

static int kho_find_poison_leaf(struct kho_map_walk *walk, u64 key,
				const unsigned long *bits)
{
	struct kho_poison_search *search =
		container_of(walk, struct kho_poison_search, walk);
	unsigned long span, bit, next;

	/* Orders for which there is no memory. */
	if (!key)
		return 0;
	span = max(kho_poison_span() >> kho_key_order(key), 1UL);

	for (bit = 0; bit < KHO_MAP_LEAF_BITS; bit = next) {
		bit = find_next_bit(bits, KHO_MAP_LEAF_BITS, bit);
		next = min(round_down(bit, span) + span, KHO_MAP_LEAF_BITS);
		if (bit < next &&
		    kho_span_has_poison(kho_key_pfn(key + bit),
					(next - bit) << kho_key_order(key)) &&
		    kho_find_poison_bits(search, key, bits, bit, next))
			return -EHWPOISON;
		cond_resched();
	}
	return 0;
}

static int kho_find_poison_node(struct kho_map_walk *walk, phys_addr_t phys)
{
	if (!kho_span_has_poison(PHYS_PFN(phys), 1) ||
	    kho_find_poison(PHYS_PFN(phys), 1))
		return 0;
	pr_err("page frame %#lx of the page map has a memory error; only an ordinary reboot helps\n",
	       PHYS_PFN(phys));
	return -EIO;
}

/* The image is copied to scratch at the jump, and the next kernel boots there. */
static bool kho_scratch_intact(void)
{
	unsigned long pfn, nr, found;
	unsigned int i;

	for (i = 0; i < kho_scratch_cnt; i++) {
		pfn = PHYS_PFN(kho_scratch[i].addr);
		nr = PHYS_PFN(kho_scratch[i].size);
		if (!kho_span_has_poison(pfn, nr))
			continue;
		found = kho_find_poison(pfn, nr);
		cond_resched();
		if (found == nr)
			continue;
		pr_err("page frame %#lx of scratch has a memory error; only an ordinary reboot helps\n",
		       pfn + found);
		return false;
	}
	return true;
}

/**
 * kho_pages_intact - whether no page that counts has got a memory error
 *
 * Those are the preserved ones, the nodes of their map, and scratch. The machine
 * stands still meanwhile: where there are errors, only memory near them is
 * looked at.
 *
 * Context: may sleep.
 * Return: true if none has; otherwise there is a line in the log.
 */
bool kho_pages_intact(void)
{
	struct kho_poison_search search = {
		.walk = {
			.node = kho_find_poison_node,
			.leaf = kho_find_poison_leaf,
		},
	};
	int err;

	if (!kho_is_enabled() || !kho_has_poison())
		return true;
	if (!kho_scratch_intact())
		return false;

	guard(mutex)(&kho_map.lock);

	err = kho_map_walk(&search.walk, kho_map_root(&kho_map));
	if (err != -EHWPOISON)
		return !err;
	pr_err("page frame %#lx has a memory error and is preserved; close what it belongs to\n",
	       search.pfn);
	return false;
}

/**
 * kho_is_readable - whether metadata can be read; it is given up if not
 * @pfn:   first page of a block that is preserved
 * @order: its order
 *
 * A block that this kernel preserves itself is left to its owner.
 *
 * Context: may sleep.
 * Return: true if it has no memory error; otherwise there is a line in the log.
 */
bool kho_is_readable(unsigned long pfn, unsigned int order)
{
	unsigned long nr = 1UL << order, found = kho_find_poison(pfn, nr);

	if (found == nr)
		return true;
	pr_err("page frame %#lx has a memory error, what it described is lost\n",
	       pfn + found);
	if (kho_page_untouched(pfn_to_page(pfn)))
		kho_map_take(&kho_map, pfn, 1, order);
	return false;
}
