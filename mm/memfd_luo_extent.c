// SPDX-License-Identifier: GPL-2.0
/*
 * Live update of memfds: the words that say which folio belongs where.
 */

/**
 * DOC: Extents of a memfd
 *
 * The folios of a file are handed over as extents, in the order in which they
 * are recorded: index, number and order, then either the first pfn of folios
 * that lie one after the other, or the pfn of each. They are words of 64 bits,
 * in the page of the description, or in a chain of pages once they do not fit.
 *
 * The writer keeps the last extent open, and folios that continue it join it: a
 * run of any length costs three words, single folios one word each. It is given
 * memory before a folio is recorded, so that recording cannot fail.
 */

#include <linux/align.h>
#include <linux/bits.h>
#include <linux/crc32.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/minmax.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "memfd_luo.h"

/* Words of an extent: index, MEMFD_LUO_EXTENT(), and one pfn at least. */
#define MEMFD_LUO_EXTENT_WORDS	3

/*
 * Shortest run that is worth an extent of its own, where the alternative is to
 * list its folios; and the length from which a run in a list is taken out,
 * which costs the head of the next list too.
 */
#define MEMFD_LUO_MIN_RUN	3
#define MEMFD_LUO_CUT_RUN	6

static u64 *memfd_luo_inline_words(struct memfd_luo_ser *ser)
{
	return PTR_ALIGN((u64 *)(ser->name + ser->name_len), sizeof(u64));
}

/**
 * memfd_luo_inline_max - how many words fit the page of the description
 * @name_len: bytes of the name before them
 *
 * Return: the number.
 */
u64 memfd_luo_inline_max(u16 name_len)
{
	return (PAGE_SIZE - ALIGN(sizeof(struct memfd_luo_ser) + name_len,
				  sizeof(u64))) / sizeof(u64);
}

/**
 * memfd_luo_crc - checksum of the description of a memfd
 * @ser: the description; its lengths are known to fit the page
 *
 * Return: what its @crc32c has to be.
 */
u32 memfd_luo_crc(struct memfd_luo_ser *ser)
{
	struct memfd_luo_ser head = *ser;
	u32 crc;

	head.crc32c = 0;
	crc = __crc32c_le(~0, (u8 *)&head, sizeof(head));
	crc = __crc32c_le(crc, (u8 *)ser->name, ser->name_len);
	if (!ser->words)
		crc = __crc32c_le(crc, (u8 *)memfd_luo_inline_words(ser),
				  ser->nr_words * sizeof(u64));
	return crc;
}

static u64 memfd_luo_open_words(struct memfd_luo_writer *writer)
{
	struct memfd_luo_extent *open = &writer->open;

	if (!open->nr)
		return 0;
	return open->list ? 2 + open->nr : MEMFD_LUO_EXTENT_WORDS;
}

/**
 * memfd_luo_writer_init - begin to write
 * @writer: the writer; all zeroes
 * @ser:    where to; the name is in it already
 * @pfns:   memory for @max of them, as long as the writer
 * @max:    length of the longest list, at least 1
 *
 * The caller serializes everything that is done with @writer, and frees its
 * chain with kho_chain_destroy().
 */
void memfd_luo_writer_init(struct memfd_luo_writer *writer,
			   struct memfd_luo_ser *ser, u64 *pfns, u32 max)
{
	writer->ser = ser;
	writer->open.pfns = pfns;
	writer->open.max = max;
	kho_chain_init(&writer->chain, sizeof(u64));
}

/* Whether @nr more words go into the page of the description. */
static bool memfd_luo_fits(struct memfd_luo_writer *writer, u64 nr)
{
	return writer->nr_words + nr <=
	       memfd_luo_inline_max(writer->ser->name_len);
}

/**
 * memfd_luo_make_room - get the memory to record more folios
 * @writer: the writer
 * @folios: how many
 * @runs:   how many runs they make
 *
 * Nothing is allocated when they are recorded or sealed. Whatever a folio does
 * to the open extent, it takes no more than an extent of its own, and neither
 * does a run that is too long for a list.
 *
 * Context: may sleep.
 * Return: 0, or an error of kho_chain_reserve().
 */
int memfd_luo_make_room(struct memfd_luo_writer *writer, unsigned int folios,
			unsigned int runs)
{
	u64 extents = min(folios, runs * (MEMFD_LUO_CUT_RUN - 1));
	u64 more = memfd_luo_open_words(writer) +
		   extents * MEMFD_LUO_EXTENT_WORDS;

	if (!writer->chained) {
		if (memfd_luo_fits(writer, more))
			return 0;
		/* What is in the page has to move. */
		more += writer->nr_words;
	}
	return kho_chain_reserve(&writer->chain, more);
}

static void memfd_luo_append(struct memfd_luo_writer *writer, const u64 *words,
			     u64 nr)
{
	if (writer->lost)
		return;
	writer->lost = kho_chain_append_many(&writer->chain, words, nr);
	WARN_ON_ONCE(writer->lost);
}

static void memfd_luo_write(struct memfd_luo_writer *writer, const u64 *words,
			    u64 nr)
{
	u64 *inlined = memfd_luo_inline_words(writer->ser);

	if (!writer->chained && !memfd_luo_fits(writer, nr)) {
		memfd_luo_append(writer, inlined, writer->nr_words);
		writer->chained = true;
	}

	if (writer->chained)
		memfd_luo_append(writer, words, nr);
	else
		memcpy(inlined + writer->nr_words, words, nr * sizeof(*words));
	writer->nr_words += nr;
}

static void memfd_luo_flush(struct memfd_luo_writer *writer)
{
	struct memfd_luo_extent *open = &writer->open;
	u64 head[2] = {
		open->index,
		MEMFD_LUO_EXTENT(open->nr, open->order,
				 open->list ? MEMFD_LUO_SCATTERED : 0),
	};

	if (!open->nr)
		return;
	memfd_luo_write(writer, head, ARRAY_SIZE(head));
	memfd_luo_write(writer, open->pfns, open->list ? open->nr : 1);
	open->nr = 0;
}

static void memfd_luo_open_run(struct memfd_luo_writer *writer, u64 index,
			       const struct kho_run *run)
{
	struct memfd_luo_extent *open = &writer->open;

	memfd_luo_flush(writer);
	open->index = index;
	open->nr = run->nr;
	open->order = run->order;
	open->list = false;
	open->pfns[0] = run->pfn;
	open->next = index + (run->nr << run->order);
	open->next_pfn = run->pfn + (run->nr << run->order);
}

/* A run that has begun in the list leaves it. */
static void memfd_luo_cut_run(struct memfd_luo_writer *writer)
{
	struct memfd_luo_extent *open = &writer->open;
	struct kho_run run = { .nr = open->tail_run, .order = open->order };

	open->nr -= open->tail_run;
	run.pfn = open->pfns[open->nr];
	memfd_luo_open_run(writer, open->index + ((u64)open->nr << open->order),
			   &run);
}

/* One folio that continues the open extent in the file joins its list. */
static void memfd_luo_list_add(struct memfd_luo_writer *writer, u64 pfn)
{
	struct memfd_luo_extent *open = &writer->open;

	open->tail_run = pfn == open->next_pfn ? open->tail_run + 1 : 1;
	open->pfns[open->nr++] = pfn;
	open->next += 1ULL << open->order;
	open->next_pfn = pfn + (1ULL << open->order);

	if (open->tail_run == MEMFD_LUO_CUT_RUN)
		memfd_luo_cut_run(writer);
}

/* From a short run to a list. */
static void memfd_luo_make_list(struct memfd_luo_extent *open)
{
	u32 i;

	for (i = 1; i < open->nr; i++)
		open->pfns[i] = open->pfns[0] + ((u64)i << open->order);
	open->list = true;
	open->tail_run = open->nr;
}

static void memfd_luo_record_one(struct memfd_luo_writer *writer, u64 index,
				 const struct kho_run *one)
{
	struct memfd_luo_extent *open = &writer->open;
	bool joins = open->nr && index == open->next &&
		     one->order == open->order;

	if (joins && !open->list && one->pfn == open->next_pfn &&
	    open->nr < U32_MAX) {
		open->nr++;
		open->next += 1ULL << open->order;
		open->next_pfn += 1ULL << open->order;
	} else if (!joins || open->nr >= open->max ||
		   (!open->list && open->nr >= MEMFD_LUO_MIN_RUN)) {
		memfd_luo_open_run(writer, index, one);
	} else {
		if (!open->list)
			memfd_luo_make_list(open);
		memfd_luo_list_add(writer, one->pfn);
	}
}

static noinline void memfd_luo_record_each(struct memfd_luo_writer *writer,
					   u64 index, const struct kho_run *run)
{
	struct kho_run one = { .pfn = run->pfn, .nr = 1, .order = run->order };
	unsigned long i;

	for (i = 0; i < run->nr; i++) {
		memfd_luo_record_one(writer, index, &one);
		index += 1ULL << run->order;
		one.pfn += 1UL << run->order;
	}
}

/*
 * Folios that only make the open list longer, none of which begins a run there:
 * of a scattered file nearly all are. Returns how many were recorded.
 */
static unsigned int memfd_luo_record_list(struct memfd_luo_extent *open,
					  const pgoff_t *indices,
					  const struct kho_run *runs,
					  unsigned int nr)
{
	u64 step = 1ULL << open->order, next = open->next;
	u64 next_pfn = open->next_pfn, *pfns = &open->pfns[open->nr];
	unsigned int order = open->order, i;

	if (!open->list || !open->nr)
		return 0;

	nr = min(nr, open->max - open->nr);
	for (i = 0; i < nr; i++) {
		u64 pfn = runs[i].pfn;

		if (runs[i].nr != 1 || runs[i].order != order ||
		    indices[i] != next || pfn == next_pfn)
			break;
		pfns[i] = pfn;
		next += step;
		next_pfn = pfn + step;
	}
	if (!i)
		return 0;

	open->nr += i;
	open->tail_run = 1;
	open->next = next;
	open->next_pfn = next_pfn;
	return i;
}

/* Whether a run only makes the open extent longer. */
static bool memfd_luo_continues(const struct memfd_luo_extent *open, u64 index,
				const struct kho_run *run)
{
	return open->nr && !open->list && run->order == open->order &&
	       index == open->next && run->pfn == open->next_pfn &&
	       run->nr <= U32_MAX - open->nr;
}

static void memfd_luo_record(struct memfd_luo_writer *writer, u64 index,
			     const struct kho_run *run)
{
	struct memfd_luo_extent *open = &writer->open;

	if (memfd_luo_continues(open, index, run)) {
		open->nr += run->nr;
		open->next += run->nr << run->order;
		open->next_pfn += run->nr << run->order;
	} else if (run->nr >= MEMFD_LUO_CUT_RUN) {
		memfd_luo_open_run(writer, index, run);
	} else {
		memfd_luo_record_each(writer, index, run);
	}
}

/**
 * memfd_luo_record_runs - write that folios belong to places in the file
 * @writer:  the writer, after memfd_luo_make_room()
 * @indices: page offsets in the file
 * @runs:    the folios
 * @nr:      how many runs
 */
void memfd_luo_record_runs(struct memfd_luo_writer *writer,
			   const pgoff_t *indices, const struct kho_run *runs,
			   unsigned int nr)
{
	unsigned int i = 0;

	while (i < nr) {
		memfd_luo_record(writer, indices[i], &runs[i]);
		i++;
		i += memfd_luo_record_list(&writer->open, indices + i,
					   runs + i, nr - i);
	}
}

/**
 * memfd_luo_seal_words - complete what has been recorded up to now
 * @writer: the writer; more may be recorded afterwards, and sealed again
 *
 * Sets what the description says of the words. Allocates nothing.
 *
 * Return: 0, or the error with which words were lost.
 */
int memfd_luo_seal_words(struct memfd_luo_writer *writer)
{
	memfd_luo_flush(writer);
	if (writer->lost)
		return writer->lost;

	kho_chain_trim(&writer->chain);
	writer->ser->nr_words = writer->nr_words;
	writer->ser->words = kho_chain_seal(&writer->chain);
	return 0;
}

/* Reading */

/*
 * Where words are read. A reference is held to the page that has them: one that
 * is in use is not restored, so an extent that names this page, against all
 * rules, cannot have it freed.
 */
struct memfd_luo_words {
	const u64 *next;
	u32 nr;
	bool chained;
	struct page *page;
	struct kho_chain_reader chain;
};

/* Have one more word at least. */
static int memfd_luo_more_words(struct memfd_luo_words *words)
{
	while (!words->nr) {
		if (!words->chained)
			return -EBADMSG;
		words->next = kho_chain_read(&words->chain, &words->nr);
		if (IS_ERR_OR_NULL(words->next))
			return -EBADMSG;
		if (words->page)
			put_page(words->page);
		words->page = virt_to_page(words->next);
		get_page(words->page);
	}
	return 0;
}

static int memfd_luo_next_word(struct memfd_luo_words *words, u64 *word)
{
	int err = memfd_luo_more_words(words);

	if (err)
		return err;
	*word = *words->next++;
	words->nr--;
	return 0;
}

/* The pfns of @nr scattered folios, as many at a time as there are in a page. */
static int memfd_luo_each_in_list(struct memfd_luo_words *words, u64 nr,
				  struct memfd_luo_run *run,
				  memfd_luo_run_fn fn, void *ctx)
{
	int err;

	for (; nr; nr -= run->nr) {
		err = memfd_luo_more_words(words);
		if (err)
			return err;
		run->pfns = words->next;
		run->nr = min_t(u64, nr, words->nr);
		err = fn(run, ctx);
		if (err)
			return err;
		words->next += run->nr;
		words->nr -= run->nr;
		run->index += run->nr << run->order;
		cond_resched();
	}
	return 0;
}

/* One extent, of at most @left words; returns how many it has. */
static s64 memfd_luo_each_in_extent(struct memfd_luo_words *words, u64 left,
				    memfd_luo_run_fn fn, void *ctx)
{
	struct memfd_luo_run run = {};
	u64 head, nr, flags, pfn;
	int err;

	err = memfd_luo_next_word(words, &run.index) ?:
	      memfd_luo_next_word(words, &head);
	if (err)
		return err;

	nr = head & (BIT_ULL(MEMFD_LUO_NR_BITS) - 1);
	flags = head >> MEMFD_LUO_FLAGS_SHIFT;
	run.order = head >> MEMFD_LUO_ORDER_SHIFT &
		    (BIT(MEMFD_LUO_ORDER_BITS) - 1);
	if (!nr || run.order > MAX_XAS_ORDER || flags & ~MEMFD_LUO_SCATTERED)
		return -EBADMSG;

	if (flags & MEMFD_LUO_SCATTERED) {
		if (nr > left - 2)
			return -EBADMSG;
		err = memfd_luo_each_in_list(words, nr, &run, fn, ctx);
		return err ?: 2 + nr;
	}

	run.nr = nr;
	err = memfd_luo_next_word(words, &pfn);
	if (!err) {
		run.pfn = pfn;
		err = fn(&run, ctx);
	}
	cond_resched();
	return err ?: MEMFD_LUO_EXTENT_WORDS;
}

/**
 * memfd_luo_each_run - read the words of a file
 * @ser: the description; its checksum is right, and who calls has a reference
 *       to its page if @fn restores folios
 * @fn:  called for folios that are neighbours in the file, until it returns an
 *       error; what it is given may be anything but no folio or an order that
 *       no page cache has
 * @ctx: for @fn
 *
 * Context: may sleep.
 * Return: 0; -EBADMSG if the words are no extents; what @fn returned.
 */
int memfd_luo_each_run(struct memfd_luo_ser *ser, memfd_luo_run_fn fn,
		       void *ctx)
{
	struct memfd_luo_words words = {};
	u64 left = ser->nr_words;
	s64 ret = 0;

	if (ser->words) {
		words.chained = true;
		kho_chain_open(&words.chain, ser->words, sizeof(u64));
	} else {
		words.next = memfd_luo_inline_words(ser);
		words.nr = left;
	}

	while (left && ret >= 0) {
		ret = -EBADMSG;
		if (left >= MEMFD_LUO_EXTENT_WORDS)
			ret = memfd_luo_each_in_extent(&words, left, fn, ctx);
		left -= ret;
	}

	if (words.page)
		put_page(words.page);
	return min(ret, 0);
}
