// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: vmalloc areas.
 */

/**
 * DOC: vmalloc areas
 *
 * The pages of a vmalloc() area are preserved, and their addresses are written
 * into a list of pages of their own. The next kernel maps the pages at another
 * address; what the area holds must not point into itself. A restored area is
 * freed with vfree() and can be preserved again.
 *
 * The list has a checksum behind its end, where a reader that knows of none
 * does not look: an address that is wrong may well be one of a preserved page,
 * but of somebody else's.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/crc32.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>

#include "kho_internal.h"

/* Flags that say nothing about how an area's pages were made. */
#define KHO_VM_OK	(VM_ALLOC | VM_MAP | VM_MAP_PUT_PAGES |		\
			 VM_ALLOW_HUGE_VMAP | VM_UNINITIALIZED | VM_KASAN)

static unsigned int kho_area_order(const struct vm_struct *vm)
{
#ifdef CONFIG_HAVE_ARCH_HUGE_VMALLOC
	return vm->page_order;
#else
	return 0;
#endif
}

static struct kho_vmalloc_chunk *kho_chunk_next(struct kho_vmalloc_chunk *chunk)
{
	return chunk->next ? phys_to_virt(chunk->next) : NULL;
}

/* Addresses in a chunk: the last one may be full or end with a zero. */
static unsigned int kho_chunk_nr(const struct kho_vmalloc_chunk *chunk)
{
	unsigned int nr = 0;

	while (nr < KHO_VMALLOC_CHUNK_ENTRIES && chunk->phys[nr])
		nr++;
	return nr;
}

/* Place of the checksum: behind the zero that ends the last chunk. */
static u64 *kho_chunk_sum(struct kho_vmalloc_chunk *chunk)
{
	return &chunk->phys[kho_chunk_nr(chunk) + 1];
}

static u64 kho_chunks_sum(struct kho_vmalloc_chunk *chunk)
{
	u32 crc = ~0;

	for (; chunk; chunk = kho_chunk_next(chunk))
		crc = __crc32c_le(crc, (u8 *)chunk, chunk->next ? PAGE_SIZE :
				  (u8 *)kho_chunk_sum(chunk) - (u8 *)chunk);
	return KHO_VMALLOC_SUM | crc;
}

static void kho_unpreserve_chunks(struct kho_vmalloc_chunk *chunk,
				  unsigned int order)
{
	while (chunk) {
		struct kho_vmalloc_chunk *next = kho_chunk_next(chunk);
		unsigned int i;

		unsigned int used = kho_chunk_nr(chunk);

		for (i = 0; i < used; i++)
			kho_unpreserve_pages(pfn_to_page(PHYS_PFN(chunk->phys[i])),
					     1UL << order);
		kho_unpreserve_free(chunk);
		chunk = next;
	}
}

/* A chunk behind @last, or the first. */
static struct kho_vmalloc_chunk *kho_add_chunk(struct kho_vmalloc_chunk *last,
					       struct kho_vmalloc_chunk **first)
{
	struct kho_vmalloc_chunk *chunk = kho_alloc_preserve(sizeof(*chunk));

	if (IS_ERR(chunk))
		return chunk;
	if (last)
		last->next = virt_to_phys(chunk);
	else
		*first = chunk;
	return chunk;
}

static int kho_preserve_area(const struct vm_struct *vm, unsigned int order,
			     struct kho_vmalloc_chunk **first)
{
	struct kho_vmalloc_chunk *chunk = NULL;
	unsigned int i, used = KHO_VMALLOC_CHUNK_ENTRIES;
	int err;

	for (i = 0; i < vm->nr_pages; i += 1U << order) {
		if (used == KHO_VMALLOC_CHUNK_ENTRIES) {
			chunk = kho_add_chunk(chunk, first);
			if (IS_ERR(chunk))
				return PTR_ERR(chunk);
			used = 0;
		}
		err = kho_preserve_pages(vm->pages[i], 1UL << order);
		if (err)
			return err;
		chunk->phys[used++] = page_to_phys(vm->pages[i]);
	}
	if (used > KHO_VMALLOC_CHUNK_ENTRIES - 2) {
		chunk = kho_add_chunk(chunk, first);
		if (IS_ERR(chunk))
			return PTR_ERR(chunk);
	}
	*kho_chunk_sum(chunk) = kho_chunks_sum(*first);
	return 0;
}

/**
 * kho_preserve_vmalloc - preserve an area from vmalloc() or vmalloc_huge()
 * @ptr:          the area
 * @preservation: filled in; to be handed to the next kernel
 *
 * Context: may sleep. The area must not be freed until
 * kho_unpreserve_vmalloc().
 * Return: 0; -EINVAL if @ptr is not such an area; or an error of
 * kho_preserve_pages() and kho_alloc_preserve(). Nothing is preserved then.
 */
int kho_preserve_vmalloc(void *ptr, struct kho_vmalloc *preservation)
{
	struct vm_struct *vm = find_vm_area(ptr);
	struct kho_vmalloc_chunk *first = NULL;
	unsigned int order;
	u16 flags = KHO_VMALLOC_ALLOC;
	int err;

	if (!kho_is_enabled())
		return -EOPNOTSUPP;
	if (!vm || !vm->pages || !vm->nr_pages || (vm->flags & ~KHO_VM_OK) ||
	    !(vm->flags & (VM_ALLOC | VM_MAP_PUT_PAGES)))
		return -EINVAL;

	order = kho_area_order(vm);
	if (vm->flags & VM_ALLOW_HUGE_VMAP)
		flags |= KHO_VMALLOC_HUGE_VMAP;

	err = kho_preserve_area(vm, order, &first);
	if (err) {
		kho_unpreserve_chunks(first, order);
		return err;
	}
	*preservation = (struct kho_vmalloc) {
		.first = virt_to_phys(first),
		.total_pages = vm->nr_pages,
		.flags = flags,
		.order = order,
	};
	return 0;
}
EXPORT_SYMBOL_GPL(kho_preserve_vmalloc);

/**
 * kho_unpreserve_vmalloc - undo kho_preserve_vmalloc()
 * @preservation: what it filled in; cleared
 *
 * Context: may sleep.
 */
void kho_unpreserve_vmalloc(struct kho_vmalloc *preservation)
{
	if (preservation->first)
		kho_unpreserve_chunks(phys_to_virt(preservation->first),
				      preservation->order);
	*preservation = (struct kho_vmalloc) {};
}
EXPORT_SYMBOL_GPL(kho_unpreserve_vmalloc);

/* A block that an area consists of, or (order 0) a chunk that lists them. */
struct kho_vmalloc_block {
	unsigned long pfn;
	unsigned int order;
};

/*
 * Follow a descriptor from the previous kernel through the page map, as far as
 * it goes, and note what it names unless @blocks is %NULL. Returns how much
 * that is, or -EBADMSG.
 */
static long kho_vmalloc_follow(const struct kho_vmalloc *desc,
			       struct kho_vmalloc_block *blocks)
{
	unsigned long left = desc->total_pages;
	struct kho_vmalloc_chunk *chunk;
	unsigned int used, i;
	u64 phys, sum = 0;
	long nr = 0;

	/* Every chunk but the last accounts for pages, so a circle ends, too. */
	for (phys = desc->first; phys; phys = chunk->next) {
		if (!kho_is_preserved(phys, 0))
			return -EBADMSG;
		if (blocks)
			blocks[nr] = (struct kho_vmalloc_block) {
				.pfn = PHYS_PFN(phys),
			};
		nr++;
		chunk = phys_to_virt(phys);
		used = kho_chunk_nr(chunk);
		if (!used && (left || chunk->next))
			return -EBADMSG;
		for (i = 0; i < used; i++) {
			if (!left || !kho_is_preserved(chunk->phys[i],
						       desc->order))
				return -EBADMSG;
			left -= 1UL << desc->order;
			if (blocks)
				blocks[nr] = (struct kho_vmalloc_block) {
					.pfn = PHYS_PFN(chunk->phys[i]),
					.order = desc->order,
				};
			nr++;
		}
		/* Not every kernel leaves a checksum. */
		if (!chunk->next && used <= KHO_VMALLOC_CHUNK_ENTRIES - 2)
			sum = *kho_chunk_sum(chunk);
	}
	if (left || !nr ||
	    (sum && sum != kho_chunks_sum(phys_to_virt(desc->first))))
		return -EBADMSG;
	return nr;
}

static int kho_vmalloc_cmp(const void *a, const void *b)
{
	const struct kho_vmalloc_block *x = a, *y = b;

	return x->pfn < y->pfn ? -1 : x->pfn > y->pfn;
}

/* What is restored twice would be restored from under its first owner. */
static int kho_vmalloc_distinct(const struct kho_vmalloc *desc, long nr)
{
	struct kho_vmalloc_block *blocks;
	int err = 0;
	long i;

	blocks = kvmalloc_array(nr, sizeof(*blocks), GFP_KERNEL);
	if (!blocks)
		return -ENOMEM;
	kho_vmalloc_follow(desc, blocks);
	sort(blocks, nr, sizeof(*blocks), kho_vmalloc_cmp, NULL);
	for (i = 1; i < nr; i++)
		if (blocks[i].pfn < blocks[i - 1].pfn +
				    (1UL << blocks[i - 1].order))
			err = -EBADMSG;
	kvfree(blocks);
	return err;
}

/* Nothing has been restored when this fails: -EBADMSG, -ENOMEM. */
static int kho_vmalloc_check(const struct kho_vmalloc *desc)
{
	unsigned long total = desc->total_pages;
	long nr;

	if (!total || total > max_pfn || desc->order > MAX_PAGE_ORDER ||
	    !IS_ALIGNED(total, 1UL << desc->order) ||
	    (desc->flags & ~(KHO_VMALLOC_ALLOC | KHO_VMALLOC_HUGE_VMAP)))
		return -EBADMSG;

	nr = kho_vmalloc_follow(desc, NULL);
	return nr < 0 ? nr : kho_vmalloc_distinct(desc, nr);
}

#if IS_ENABLED(CONFIG_KUNIT)
bool kho_vmalloc_valid(const struct kho_vmalloc *desc)
{
	return !kho_vmalloc_check(desc);
}
#endif

/* Returns whether all pages are there; what is not leaves a NULL. */
static bool kho_restore_area(const struct kho_vmalloc *desc,
			     struct page **pages)
{
	struct kho_vmalloc_chunk *chunk = phys_to_virt(desc->first);
	unsigned int nr = 1U << desc->order, n = 0, used, i, j;
	bool ok = true;

	while (chunk) {
		struct kho_vmalloc_chunk *next = kho_chunk_next(chunk);

		used = kho_chunk_nr(chunk);
		for (i = 0; i < used; i++) {
			struct page *page;

			page = kho_restore_pages(chunk->phys[i], nr);
			ok &= !!page;
			for (j = 0; j < nr; j++)
				pages[n++] = page ? page + j : NULL;
		}
		kho_restore_free(chunk);
		chunk = next;
	}
	return ok;
}

/**
 * kho_restore_vmalloc - take a preserved vmalloc area back
 * @preservation: what the previous kernel's kho_preserve_vmalloc() filled in
 *
 * Context: may sleep; from core_initcall on.
 * Return: the area, at another address, freed with vfree(); %NULL without
 * memory for it (it stays preserved) or if the descriptor does not describe
 * preserved pages.
 */
void *kho_restore_vmalloc(const struct kho_vmalloc *preservation)
{
	unsigned int i, nr = preservation->total_pages;
	struct page **pages;
	void *addr = NULL;
	int err;

	err = kho_vmalloc_check(preservation);
	if (err == -EBADMSG)
		pr_err("vmalloc descriptor at %#llx, %u pages of order %u, does not fit what is preserved\n",
		       preservation->first, nr, preservation->order);
	if (err)
		return NULL;
	pages = kvmalloc_array(nr, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;

	if (kho_restore_area(preservation, pages))
		addr = vmap(pages, nr, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (addr)
		return addr;

	for (i = 0; i < nr; i++)
		if (pages[i])
			__free_page(pages[i]);
	kvfree(pages);
	return NULL;
}
EXPORT_SYMBOL_GPL(kho_restore_vmalloc);
