/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec Handover: pages and named blobs that survive a kexec.
 */
#ifndef _LINUX_KEXEC_HANDOVER_H
#define _LINUX_KEXEC_HANDOVER_H

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/types.h>
#include <linux/kho/abi/kexec_handover.h>

struct folio;
struct kimage;
struct page;

/**
 * struct kho_run - folios that lie one after the other in memory
 * @pfn:   first page of the first one
 * @nr:    number of folios
 * @order: order of each
 */
struct kho_run {
	unsigned long pfn;
	unsigned long nr;
	unsigned int order;
};

/**
 * struct kho_chain - a list of entries of one size in linked pages, as made
 * @head:       first page
 * @tail:       page that takes the next entry; %NULL without pages
 * @nr_pages:   pages in the chain
 * @entry_size: bytes of an entry
 * @per_page:   entries that fit a page
 *
 * Every page is preserved from when it joins the chain. The owner serializes.
 */
struct kho_chain {
	struct kho_chain_page *head;
	struct kho_chain_page *tail;
	unsigned long nr_pages;
	u32 entry_size;
	u32 per_page;
};

/**
 * struct kho_chain_reader - position in a chain that the previous kernel made
 * @next:       address of the page to read next, 0: no more
 * @seen:       a page address from before, to notice a cycle
 * @nr_read:    pages read so far
 * @entry_size: bytes of an entry
 */
struct kho_chain_reader {
	u64 next;
	u64 seen;
	unsigned long nr_read;
	u32 entry_size;
};

#ifdef CONFIG_KEXEC_HANDOVER

bool kho_is_enabled(void);
bool is_kho_boot(void);

int kho_preserve_folio(struct folio *folio);
void kho_unpreserve_folio(struct folio *folio);
int kho_preserve_pages(struct page *page, unsigned long nr_pages);
void kho_unpreserve_pages(struct page *page, unsigned long nr_pages);
int kho_preserve_run(unsigned long pfn, unsigned long nr, unsigned int order);
int kho_preserve_runs(const struct kho_run *runs, unsigned int nr);
void kho_unpreserve_run(unsigned long pfn, unsigned long nr,
			unsigned int order);
bool kho_is_preserved(phys_addr_t phys, unsigned int order);
bool kho_is_preserved_run(unsigned long pfn, unsigned long nr,
			  unsigned int order);
bool kho_is_preserved_runs(const struct kho_run *runs, unsigned int nr);

int kho_preserve_vmalloc(void *ptr, struct kho_vmalloc *preservation);
void kho_unpreserve_vmalloc(struct kho_vmalloc *preservation);

void *kho_alloc_preserve(size_t size);
void kho_unpreserve_free(void *mem);
void kho_restore_free(void *mem);

struct folio *kho_restore_folio(phys_addr_t phys);
bool kho_restore_runs(const struct kho_run *runs, unsigned int nr);
struct page *kho_restore_pages(phys_addr_t phys, unsigned long nr_pages);
void *kho_restore_vmalloc(const struct kho_vmalloc *preservation);

int kho_add_subtree(const char *name, void *blob, size_t size);
void kho_remove_subtree(void *blob);
int kho_retrieve_subtree(const char *name, phys_addr_t *phys, size_t *size);

void kho_require(const char *what, bool is_switch);
void kho_hold(void);
void kho_release(void);

void kho_chain_init(struct kho_chain *chain, u32 entry_size);
int kho_chain_resize(struct kho_chain *chain, unsigned long nr_entries);
int kho_chain_reserve(struct kho_chain *chain, unsigned long nr_entries);
void kho_chain_trim(struct kho_chain *chain);
void kho_chain_rewind(struct kho_chain *chain);
int kho_chain_append(struct kho_chain *chain, const void *entry);
int kho_chain_append_many(struct kho_chain *chain, const void *entries,
			  unsigned long nr);
u64 kho_chain_seal(struct kho_chain *chain);
void kho_chain_destroy(struct kho_chain *chain);
void kho_chain_open(struct kho_chain_reader *reader, u64 first, u32 entry_size);
const void *kho_chain_read(struct kho_chain_reader *reader, u32 *nr);
void kho_chain_restore_free(u64 first, u32 entry_size);

#else /* CONFIG_KEXEC_HANDOVER */

static inline bool kho_is_enabled(void)
{
	return false;
}

static inline bool is_kho_boot(void)
{
	return false;
}

static inline int kho_preserve_folio(struct folio *folio)
{
	return -EOPNOTSUPP;
}

static inline void kho_unpreserve_folio(struct folio *folio) { }

static inline int kho_preserve_pages(struct page *page, unsigned long nr_pages)
{
	return -EOPNOTSUPP;
}

static inline void kho_unpreserve_pages(struct page *page,
					unsigned long nr_pages) { }

static inline int kho_preserve_vmalloc(void *ptr,
				       struct kho_vmalloc *preservation)
{
	return -EOPNOTSUPP;
}

static inline void kho_unpreserve_vmalloc(struct kho_vmalloc *preservation) { }

static inline void *kho_alloc_preserve(size_t size)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void kho_unpreserve_free(void *mem) { }

static inline void kho_restore_free(void *mem) { }

static inline struct folio *kho_restore_folio(phys_addr_t phys)
{
	return NULL;
}

static inline struct page *kho_restore_pages(phys_addr_t phys,
					     unsigned long nr_pages)
{
	return NULL;
}

static inline void *kho_restore_vmalloc(const struct kho_vmalloc *preservation)
{
	return NULL;
}

static inline int kho_add_subtree(const char *name, void *blob, size_t size)
{
	return -EOPNOTSUPP;
}

static inline void kho_remove_subtree(void *blob) { }

static inline int kho_retrieve_subtree(const char *name, phys_addr_t *phys,
				       size_t *size)
{
	return -EOPNOTSUPP;
}

static inline void kho_hold(void) { }

static inline void kho_release(void) { }

#endif /* CONFIG_KEXEC_HANDOVER */
#endif /* _LINUX_KEXEC_HANDOVER_H */
