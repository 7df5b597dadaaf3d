// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: lists of entries in linked pages.
 */

/**
 * DOC: Chains
 *
 * Every list that is handed over (sessions, files, the contents of a memfd) is
 * a chain of pages, each with a header that has the address of the next page,
 * the number of entries and a checksum::
 *
 *	first -> [next|count|crc|entries...] -> [0|count|crc|entries...]
 *
 * A list grows by a page at a time, so there is no limit to its length. It can
 * be filled in two ways. Entries that are known when they are made are appended
 * (kho_chain_append()); a page is summed when it is full. Where that may not
 * fail, kho_chain_reserve() goes before it; kho_chain_trim() then comes before
 * kho_chain_seal(), since a chain has no empty pages. For entries that are
 * known at the reboot only, kho_chain_resize() makes room when the things that
 * they describe are made; then kho_chain_rewind(), kho_chain_append() and
 * kho_chain_seal() allocate nothing.
 *
 * The reader trusts nothing: it checks a page before it gives its entries out,
 * and notices a cycle.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/crc32.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "kho_internal.h"

#define KHO_CHAIN_ROOM	(PAGE_SIZE - sizeof(struct kho_chain_page))

static struct kho_chain_page *kho_chain_page_next(struct kho_chain_page *page)
{
	return page->next ? phys_to_virt(page->next) : NULL;
}

static u32 kho_chain_crc(const struct kho_chain_page *page, u32 entry_size)
{
	struct kho_chain_page header = *page;
	u32 crc;

	header.crc32c = 0;
	crc = __crc32c_le(~0, (u8 *)&header, sizeof(header));
	return __crc32c_le(crc, page->entries,
			   (size_t)header.count * entry_size);
}

#ifdef CONFIG_KEXEC_HANDOVER_DEBUG
/**
 * kho_chain_guess_size - find out how large the entries of a page are
 * @page: a page of a chain
 *
 * Context: any.
 * Return: the size by which its checksum is right, 0 if there is none.
 */
u32 kho_chain_guess_size(const struct kho_chain_page *page)
{
	u32 size;

	if (!page->count)
		return 0;
	for (size = KHO_CHAIN_ROOM / page->count; size; size--) {
		if (kho_chain_crc(page, size) == page->crc32c)
			break;
	}
	return size;
}

/**
 * kho_chain_resum - make the checksum of a page right again
 * @page:       a page of a chain
 * @entry_size: bytes of an entry
 *
 * Context: any.
 */
void kho_chain_resum(struct kho_chain_page *page, u32 entry_size)
{
	page->crc32c = kho_chain_crc(page, entry_size);
}
#endif

static void kho_chain_seal_page(struct kho_chain *chain,
				struct kho_chain_page *page)
{
	page->crc32c = kho_chain_crc(page, chain->entry_size);
}

/**
 * kho_chain_init - begin with an empty chain
 * @chain:      the chain
 * @entry_size: bytes of an entry, at most a page less the header
 *
 * Context: any.
 */
void kho_chain_init(struct kho_chain *chain, u32 entry_size)
{
	*chain = (struct kho_chain) {
		.entry_size = entry_size,
		.per_page = KHO_CHAIN_ROOM / entry_size,
	};
}
EXPORT_SYMBOL_GPL(kho_chain_init);

/* The order of empty pages does not matter, so they come and go in front. */
static int kho_chain_push_page(struct kho_chain *chain)
{
	struct kho_chain_page *page = kho_alloc_preserve(PAGE_SIZE);

	if (IS_ERR(page))
		return PTR_ERR(page);

	page->next = chain->head ? virt_to_phys(chain->head) : 0;
	chain->head = page;
	if (!chain->tail)
		chain->tail = page;
	chain->nr_pages++;
	return 0;
}

static void kho_chain_pop_page(struct kho_chain *chain)
{
	struct kho_chain_page *page = chain->head;

	chain->head = kho_chain_page_next(page);
	if (chain->tail == page)
		chain->tail = chain->head;
	chain->nr_pages--;
	kho_unpreserve_free(page);
}

/**
 * kho_chain_resize - make room for a number of entries, no more and no less
 * @chain:      the chain; its entries are lost
 * @nr_entries: how many entries
 *
 * Context: may sleep; the caller serializes.
 * Return: 0, or an error of kho_alloc_preserve(). The room is then no less
 * than before.
 */
int kho_chain_resize(struct kho_chain *chain, unsigned long nr_entries)
{
	unsigned long nr_pages = DIV_ROUND_UP(nr_entries, chain->per_page);
	int err;

	while (chain->nr_pages < nr_pages) {
		err = kho_chain_push_page(chain);
		if (err)
			return err;
	}
	while (chain->nr_pages > nr_pages)
		kho_chain_pop_page(chain);
	return 0;
}
EXPORT_SYMBOL_GPL(kho_chain_resize);

/**
 * kho_chain_reserve - have memory for more entries
 * @chain:      the chain; its entries stay
 * @nr_entries: entries that are going to be appended
 *
 * Context: may sleep; the caller serializes.
 * Return: 0, the next @nr_entries can be appended without allocating; or an
 * error of kho_alloc_preserve().
 */
int kho_chain_reserve(struct kho_chain *chain, unsigned long nr_entries)
{
	struct kho_chain_page *tail, *page;
	unsigned long room;

	if (!chain->tail && nr_entries) {
		int err = kho_chain_push_page(chain);

		if (err)
			return err;
	}

	tail = chain->tail;
	room = tail ? chain->per_page - tail->count : 0;
	for (page = tail; page && page->next; page = kho_chain_page_next(page))
		room += chain->per_page;

	/* Their order does not matter, and the page is not summed yet. */
	for (; room < nr_entries; room += chain->per_page) {
		page = kho_alloc_preserve(PAGE_SIZE);
		if (IS_ERR(page))
			return PTR_ERR(page);
		page->next = tail->next;
		tail->next = virt_to_phys(page);
		chain->nr_pages++;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(kho_chain_reserve);

/**
 * kho_chain_trim - give back the memory that no entry has needed
 * @chain: the chain; its entries stay
 *
 * Context: may sleep; allocates nothing; the caller serializes.
 */
void kho_chain_trim(struct kho_chain *chain)
{
	struct kho_chain_page *tail = chain->tail, *page;

	if (tail && !tail->count) {
		/* The first: others are entered with an entry. */
		kho_chain_destroy(chain);
		return;
	}
	while (tail && tail->next) {
		page = kho_chain_page_next(tail);
		tail->next = page->next;
		chain->nr_pages--;
		kho_unpreserve_free(page);
	}
}
EXPORT_SYMBOL_GPL(kho_chain_trim);

/**
 * kho_chain_rewind - drop all entries, keep the pages
 * @chain: the chain
 *
 * Context: any; the caller serializes.
 */
void kho_chain_rewind(struct kho_chain *chain)
{
	struct kho_chain_page *page;

	for (page = chain->head; page; page = kho_chain_page_next(page))
		page->count = 0;
	chain->tail = chain->head;
}
EXPORT_SYMBOL_GPL(kho_chain_rewind);

/* Whether the page that entries go to is full, and the next can take over. */
static int kho_chain_advance(struct kho_chain *chain)
{
	struct kho_chain_page *tail = chain->tail, *page;

	if (tail && tail->count < chain->per_page)
		return 0;

	page = tail ? kho_chain_page_next(tail) : NULL;
	if (!page) {
		page = kho_alloc_preserve(PAGE_SIZE);
		if (IS_ERR(page))
			return PTR_ERR(page);
		if (tail)
			tail->next = virt_to_phys(page);
		else
			chain->head = page;
		chain->nr_pages++;
	}
	if (tail)
		kho_chain_seal_page(chain, tail);
	chain->tail = page;
	return 0;
}

/**
 * kho_chain_append_many - add entries at the end
 * @chain:   the chain
 * @entries: the entries, one after the other, copied
 * @nr:      how many
 *
 * Context: sleeps only where there is no room left; the caller serializes.
 * Return: 0, or an error of kho_alloc_preserve(): some are added then. None
 * after kho_chain_reserve().
 */
int kho_chain_append_many(struct kho_chain *chain, const void *entries,
			  unsigned long nr)
{
	while (nr) {
		struct kho_chain_page *page;
		unsigned long part;
		int err;

		err = kho_chain_advance(chain);
		if (err)
			return err;

		page = chain->tail;
		part = min(nr, chain->per_page - page->count);
		memcpy(page->entries + page->count * chain->entry_size,
		       entries, part * chain->entry_size);
		page->count += part;
		entries += part * chain->entry_size;
		nr -= part;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(kho_chain_append_many);

/**
 * kho_chain_append - add an entry at the end
 * @chain: the chain
 * @entry: the entry, copied
 *
 * Context: sleeps only where there is no room left; the caller serializes.
 * Return: 0, or an error of kho_alloc_preserve(); nothing is added then.
 */
int kho_chain_append(struct kho_chain *chain, const void *entry)
{
	return kho_chain_append_many(chain, entry, 1);
}
EXPORT_SYMBOL_GPL(kho_chain_append);

/**
 * kho_chain_seal - make the chain ready to be read by the next kernel
 * @chain: the chain, with room for no more entries than it has, but for the
 *         rest of its last page
 *
 * More entries may be appended; then it has to be sealed again.
 *
 * Context: any; the caller serializes.
 * Return: physical address of the first page, 0 for an empty chain.
 */
u64 kho_chain_seal(struct kho_chain *chain)
{
	if (!chain->head)
		return 0;
	kho_chain_seal_page(chain, chain->tail);
	return virt_to_phys(chain->head);
}
EXPORT_SYMBOL_GPL(kho_chain_seal);

/**
 * kho_chain_destroy - free all pages
 * @chain: the chain; empty afterwards and ready to be used again
 *
 * Context: may sleep; the caller serializes.
 */
void kho_chain_destroy(struct kho_chain *chain)
{
	while (chain->head)
		kho_chain_pop_page(chain);
}
EXPORT_SYMBOL_GPL(kho_chain_destroy);

/**
 * kho_chain_open - begin to read a chain of the previous kernel
 * @reader:     position, set to the first page
 * @first:      address of the first page, 0 for an empty chain
 * @entry_size: bytes of an entry
 *
 * Context: any.
 */
void kho_chain_open(struct kho_chain_reader *reader, u64 first, u32 entry_size)
{
	*reader = (struct kho_chain_reader) {
		.next = first,
		.entry_size = entry_size,
	};
}
EXPORT_SYMBOL_GPL(kho_chain_open);

static bool kho_chain_page_valid(const struct kho_chain_reader *reader,
				 const struct kho_chain_page *page)
{
	u32 crc;

	if (!page->count ||
	    page->count > KHO_CHAIN_ROOM / reader->entry_size) {
		pr_err("chain page %#llx has %u entries, expected 1..%lu\n",
		       reader->next, page->count,
		       KHO_CHAIN_ROOM / reader->entry_size);
		return false;
	}
	crc = kho_chain_crc(page, reader->entry_size);
	if (crc != page->crc32c) {
		pr_err("chain page %#llx has checksum %#x, expected %#x\n",
		       reader->next, page->crc32c, crc);
		return false;
	}
	return true;
}

/**
 * kho_chain_read - check the next page and give its entries
 * @reader: position, moved to the page after it
 * @nr:     set to the number of entries, at least 1
 *
 * The page stays preserved, and the entries can be read until
 * kho_chain_restore_free().
 *
 * Context: may sleep.
 * Return: the entries; %NULL at the end; an ERR_PTR() of -EBADMSG if the page
 * is not preserved memory, its count or checksum is wrong, or the chain runs in
 * a circle. A line in the log says which.
 */
const void *kho_chain_read(struct kho_chain_reader *reader, u32 *nr)
{
	const struct kho_chain_page *page;

	if (!reader->next)
		return NULL;

	if (!kho_is_preserved(reader->next, 0)) {
		pr_err("chain page %#llx is not a preserved page\n",
		       reader->next);
		return ERR_PTR(-EBADMSG);
	}
	/*
	 * A page from before is kept and replaced after 1, 2, 4... pages: in a
	 * circle it is met again.
	 */
	if (reader->next == reader->seen) {
		pr_err("chain page %#llx comes up twice\n", reader->next);
		return ERR_PTR(-EBADMSG);
	}
	if (is_power_of_2(++reader->nr_read))
		reader->seen = reader->next;

	page = phys_to_virt(reader->next);
	if (!kho_chain_page_valid(reader, page))
		return ERR_PTR(-EBADMSG);

	*nr = page->count;
	reader->next = page->next;
	return page->entries;
}
EXPORT_SYMBOL_GPL(kho_chain_read);

/**
 * kho_chain_restore_free - free a chain of the previous kernel
 * @first:      address of its first page, 0 for an empty chain
 * @entry_size: bytes of an entry
 *
 * Each page is checked before it is freed and its successor looked up: of two
 * chains that meet, against all rules, the second ends where the first one was.
 * A damaged chain is freed as far as it can be followed.
 *
 * Context: may sleep.
 */
void kho_chain_restore_free(u64 first, u32 entry_size)
{
	struct kho_chain_reader reader;
	u32 nr;

	kho_chain_open(&reader, first, entry_size);
	while (reader.next && kho_is_preserved(reader.next, 0)) {
		void *page = phys_to_virt(reader.next);

		if (IS_ERR(kho_chain_read(&reader, &nr)))
			break;
		kho_restore_free(page);
	}
}
EXPORT_SYMBOL_GPL(kho_chain_restore_free);
