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
 * but of somebody else's. For there to be room, the last page of the list is
 * never quite full; what would fill it makes another page, rather than leave
 * that one without an address, which not every reader takes.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
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

/* What the last chunk can have, beside the zero that ends it and the checksum. */
#define KHO_LAST_CHUNK_ENTRIES	(KHO_VMALLOC_CHUNK_ENTRIES - 2)

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

/* How many of @left addresses go into the next chunk. */
static unsigned int kho_chunk_room(unsigned int left)
{
	if (left > KHO_VMALLOC_CHUNK_ENTRIES)
		return KHO_VMALLOC_CHUNK_ENTRIES;
	return min(left, KHO_LAST_CHUNK_ENTRIES);
}

static int kho_preserve_area(const struct vm_struct *vm, unsigned int order,
			     struct kho_vmalloc_chunk **first)
{
	struct kho_vmalloc_chunk *chunk = NULL;
	unsigned int i, used = 0, room = 0;
	int err;

	for (i = 0; i < vm->nr_pages; i += 1U << order) {
		if (used == room) {
			chunk = kho_add_chunk(chunk, first);
			if (IS_ERR(chunk))
				return PTR_ERR(chunk);
			used = 0;
			room = kho_chunk_room((vm->nr_pages - i) >> order);
		}
		err = kho_preserve_pages(vm->pages[i], 1UL << order);
		if (err)
			return err;
		chunk->phys[used++] = page_to_phys(vm->pages[i]);
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
			if (!left || !PAGE_ALIGNED(chunk->phys[i]) ||
			    !kho_is_preserved_run(PHYS_PFN(chunk->phys[i]), 1,
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
		if (!chunk->next && used <= KHO_LAST_CHUNK_ENTRIES)
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

static void kho_list_pages(const struct kho_vmalloc *desc, struct page **pages)
{
	struct kho_vmalloc_chunk *chunk = phys_to_virt(desc->first);
	unsigned int n = 0, used, i, j;

	for (; chunk; chunk = kho_chunk_next(chunk)) {
		used = kho_chunk_nr(chunk);
		for (i = 0; i < used; i++)
			for (j = 0; j < 1U << desc->order; j++)
				pages[n++] = pfn_to_page(PHYS_PFN(chunk->phys[i]) + j);
	}
}

/*
 * Returns whether all pages are there, and can be read; what is not there leaves
 * a NULL.
 */
static bool kho_restore_area(const struct kho_vmalloc *desc,
			     struct page **pages)
{
	struct kho_vmalloc_chunk *chunk = phys_to_virt(desc->first), *next;
	unsigned int nr = 1U << desc->order, n;
	bool ok = true;

	for (n = 0; n < desc->total_pages; n += nr) {
		if (!kho_restore_pages(page_to_phys(pages[n]), nr)) {
			memset(&pages[n], 0, nr * sizeof(*pages));
			ok = false;
		} else if (kho_find_poison(page_to_pfn(pages[n]), nr) < nr) {
			ok = false;
		}
	}
	for (; chunk; chunk = next) {
		next = kho_chunk_next(chunk);
		kho_restore_free(chunk);
	}
	return ok;
}

static void kho_free_area(struct page **pages, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (pages[i])
			__free_page(pages[i]);
}

VISIBLE_IF_KUNIT void *kho_vmap(struct page **pages, unsigned int nr)
{
	KUNIT_STATIC_STUB_REDIRECT(kho_vmap, pages, nr);

	return vmap(pages, nr, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
}

/**
 * kho_restore_vmalloc - take a preserved vmalloc area back
 * @preservation: what the previous kernel's kho_preserve_vmalloc() filled in
 *
 * Context: may sleep; from core_initcall on.
 * Return: the area, at another address, freed with vfree(); %NULL without
 * memory for it (it stays preserved), if the descriptor does not describe
 * preserved pages, or if one of the pages has a memory error: the area is freed
 * then, but for that page. A line in the log tells.
 */
void *kho_restore_vmalloc(const struct kho_vmalloc *preservation)
{
	unsigned int nr = preservation->total_pages;
	struct page **pages;
	void *addr;
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

	/* Nothing can fail for lack of memory once the first page is taken. */
	kho_list_pages(preservation, pages);
	addr = kho_vmap(pages, nr);
	if (addr && kho_restore_area(preservation, pages))
		return addr;

	if (addr) {
		pr_err("vmalloc area of %u pages is lost, not all of them can be read\n",
		       nr);
		vunmap(addr);
		kho_free_area(pages, nr);
	}
	kvfree(pages);
	return NULL;
}
EXPORT_SYMBOL_GPL(kho_restore_vmalloc);
