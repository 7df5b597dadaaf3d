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
 *
 * The caller serializes everything that is done with @writer, and frees its
 * chain with kho_chain_destroy().
 */
void memfd_luo_writer_init(struct memfd_luo_writer *writer,
			   struct memfd_luo_ser *ser)
{
	writer->ser = ser;
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
 * @runs:   the folios
 * @nr:     number of runs
 *
 * Nothing is allocated when they are recorded or sealed. Whatever a folio does
 * to the open extent, it takes no more than an extent of its own, and neither
 * does a run that is too long for a list.
 *
 * Context: may sleep.
 * Return: 0, or an error of kho_chain_reserve().
 */
int memfd_luo_make_room(struct memfd_luo_writer *writer,
			const struct kho_run *runs, unsigned int nr)
{
	u64 more = memfd_luo_open_words(writer);
	unsigned int i;

	for (i = 0; i < nr; i++)
		more += MEMFD_LUO_EXTENT_WORDS *
			(runs[i].nr < MEMFD_LUO_CUT_RUN ? runs[i].nr : 1);

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
	u64 i;

	for (i = 0; i < nr && !writer->lost; i++)
		writer->lost = kho_chain_append(&writer->chain, &words[i]);
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
			       u64 pfn, u32 nr, unsigned int order)
{
	struct memfd_luo_extent *open = &writer->open;

	memfd_luo_flush(writer);
	open->index = index;
	open->nr = nr;
	open->order = order;
	open->list = false;
	open->pfns[0] = pfn;
}

static void memfd_luo_list_add(struct memfd_luo_writer *writer, u64 pfn)
{
	struct memfd_luo_extent *open = &writer->open;
	u64 index;

	if (pfn == open->pfns[open->nr - 1] + (1ULL << open->order))
		open->tail_run++;
	else
		open->tail_run = 1;
	open->pfns[open->nr++] = pfn;

	if (open->tail_run < MEMFD_LUO_CUT_RUN)
		return;

	/* Here a run has begun: it leaves the list. */
	open->nr -= open->tail_run;
	index = open->index + ((u64)open->nr << open->order);
	memfd_luo_open_run(writer, index, open->pfns[open->nr], open->tail_run,
			   open->order);
}

static void memfd_luo_record_one(struct memfd_luo_writer *writer, u64 index,
				 u64 pfn, unsigned int order)
{
	struct memfd_luo_extent *open = &writer->open;
	u64 span = (u64)open->nr << order;
	u32 i;

	if (!open->nr || order != open->order ||
	    index != open->index + span || open->nr == U32_MAX) {
		memfd_luo_open_run(writer, index, pfn, 1, order);
		return;
	}

	if (!open->list) {
		if (pfn == open->pfns[0] + span) {
			open->nr++;
			return;
		}
		if (open->nr >= MEMFD_LUO_MIN_RUN) {
			memfd_luo_open_run(writer, index, pfn, 1, order);
			return;
		}
		for (i = 1; i < open->nr; i++)
			open->pfns[i] = open->pfns[0] + ((u64)i << order);
		open->list = true;
		open->tail_run = open->nr;
	} else if (open->nr == MEMFD_LUO_LIST_MAX) {
		memfd_luo_open_run(writer, index, pfn, 1, order);
		return;
	}

	memfd_luo_list_add(writer, pfn);
}

/* Whether a run only makes the open extent longer. */
static bool memfd_luo_continues(const struct memfd_luo_extent *open, u64 index,
				const struct kho_run *run)
{
	u64 span = (u64)open->nr << open->order;

	return open->nr && !open->list && run->order == open->order &&
	       index == open->index + span &&
	       run->pfn == open->pfns[0] + span &&
	       run->nr <= U32_MAX - open->nr;
}

/**
 * memfd_luo_record - write that folios belong to a place in the file
 * @writer: the writer, after memfd_luo_make_room()
 * @index:  page offset in the file
 * @run:    the folios
 */
void memfd_luo_record(struct memfd_luo_writer *writer, u64 index,
		      const struct kho_run *run)
{
	unsigned long i;

	if (memfd_luo_continues(&writer->open, index, run)) {
		writer->open.nr += run->nr;
		return;
	}
	if (run->nr >= MEMFD_LUO_CUT_RUN) {
		memfd_luo_open_run(writer, index, run->pfn, run->nr,
				   run->order);
		return;
	}
	for (i = 0; i < run->nr; i++)
		memfd_luo_record_one(writer, index + (i << run->order),
				     run->pfn + (i << run->order), run->order);
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

struct memfd_luo_words {
	const u64 *next;
	u32 nr;
	bool chained;
	struct kho_chain_reader chain;
};

static int memfd_luo_next_word(struct memfd_luo_words *words, u64 *word)
{
	while (!words->nr) {
		if (!words->chained)
			return -EBADMSG;
		words->next = kho_chain_read(&words->chain, &words->nr);
		if (IS_ERR_OR_NULL(words->next))
			return -EBADMSG;
	}
	*word = *words->next++;
	words->nr--;
	return 0;
}

/* One extent, of at most @left words; returns how many it has. */
static s64 memfd_luo_each_in_extent(struct memfd_luo_words *words, u64 left,
				    memfd_luo_run_fn fn, void *ctx)
{
	struct memfd_luo_run run;
	u64 head, nr, flags, i;
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

	run.nr = 1;
	if (!(flags & MEMFD_LUO_SCATTERED))
		swap(run.nr, nr);
	if (nr > left - 2)
		return -EBADMSG;

	for (i = 0; i < nr; i++) {
		err = memfd_luo_next_word(words, &run.pfn) ?: fn(&run, ctx);
		if (err)
			return err;
		run.index += run.nr << run.order;
		cond_resched();
	}
	return 2 + nr;
}

/**
 * memfd_luo_each_run - read the words of a file
 * @ser: the description; its checksum is right
 * @fn:  called for each run of folios, until it returns an error; what it is
 *       given may be anything but an empty run or an order that no page cache
 *       has
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
	s64 ret;

	if (ser->words) {
		words.chained = true;
		kho_chain_open(&words.chain, ser->words, sizeof(u64));
	} else {
		words.next = memfd_luo_inline_words(ser);
		words.nr = left;
	}

	while (left) {
		if (left < MEMFD_LUO_EXTENT_WORDS)
			return -EBADMSG;
		ret = memfd_luo_each_in_extent(&words, left, fn, ctx);
		if (ret < 0)
			return ret;
		left -= ret;
	}
	return 0;
}
