// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: how state that files share gets to the next kernel.
 */

#define pr_fmt(fmt) "liveupdate: " fmt

#include <linux/minmax.h>
#include <linux/rculist.h>

#include "luo_flb.h"

/**
 * luo_flbs_begin - begin to count the files that do not wait any more
 *
 * Context: &luo_gate is held for writing.
 */
void luo_flbs_begin(void)
{
	struct luo_flb *rec;

	lockdep_assert_held_write(&luo_gate);
	luo_for_each_flb(rec) {
		guard(mutex)(&rec->lock);
		rec->in.taken = 0;
	}
}

/**
 * luo_flbs_take - an incoming file was retrieved, or could not be
 * @fh: its handler, held
 *
 * Context: &luo_gate is held for writing.
 */
void luo_flbs_take(struct liveupdate_file_handler *fh)
{
	struct luo_flb_link *link;

	lockdep_assert_held_write(&luo_gate);
	list_for_each_entry(link, &fh->flbs, list) {
		guard(mutex)(&link->rec->lock);
		link->rec->in.taken++;
	}
}

static u64 luo_flb_waiting(const struct luo_flb *rec)
{
	return rec->in.count - min(rec->in.count, rec->in.taken);
}

static int luo_flb_preserve_again(struct luo_flb *rec)
{
	int err = 0;

	guard(mutex)(&rec->lock);
	rec->frozen = true;
	if (rec->out.preserved && !rec->out.count) {
		luo_flb_err(rec,
			    "is still held, and its files are gone; the reboot is off, try again");
		return -EBUSY;
	}
	if (rec->in.status != 1 || !luo_flb_waiting(rec))
		return 0;

	if (!rec->out.preserved)
		err = luo_flb_do_preserve(rec);
	if (err) {
		luo_flb_err(rec,
			    "cannot be preserved again: %pe; the reboot is off",
			    ERR_PTR(err));
		return err;
	}
	rec->out.count++;
	rec->out.again = true;
	return 0;
}

/**
 * luo_flbs_preserve_again - preserve incoming state that is in use
 *
 * Context: may sleep and allocate; &luo_gate is held for writing. Comes after
 *	    luo_files_preserve_again().
 * Return: 0; -%EBUSY while somebody holds outgoing state that no file needs; or
 * an error of an implementation. Some state may be preserved then.
 */
int luo_flbs_preserve_again(void)
{
	struct luo_flb *rec;
	int err;

	lockdep_assert_held_write(&luo_gate);
	luo_for_each_flb(rec) {
		err = luo_flb_preserve_again(rec);
		if (err)
			return err;
	}
	return 0;
}

/**
 * luo_flbs_unpreserve_again - undo luo_flbs_preserve_again(), whole or part
 *
 * Context: may sleep; &luo_gate is held for writing; takes the handlers lock.
 */
void luo_flbs_unpreserve_again(void)
{
	struct luo_flb *rec;

	lockdep_assert_held_write(&luo_gate);
	/* RCU lists have one direction: nobody adds to this one meanwhile. */
	guard(rwsem_read)(&luo_handlers_lock);
	list_for_each_entry_reverse(rec, &luo_flbs, list) {
		guard(mutex)(&rec->lock);
		rec->frozen = false;
		if (!rec->out.again)
			continue;
		rec->out.again = false;
		luo_flb_unpreserve_one(rec);
	}
}

/* What the next kernel gets: false if it gets nothing. */
static bool luo_flb_entry(const struct luo_flb *rec, u64 *data, u64 *count)
{
	*count = luo_flb_waiting(rec);
	if (rec->out.preserved) {
		*data = rec->out.data;
		*count += rec->out.count - rec->out.again;
	} else {
		*data = rec->in.data;
		if (rec->in.status < 0)
			return false;
	}
	return *count;
}

/**
 * luo_flbs_write - write down all state that goes to the next kernel
 *
 * Context: &luo_gate is held for writing, files are frozen. Allocates nothing.
 * Return: 0; an error means that the room was not reserved, a bug of ours.
 */
int luo_flbs_write(void)
{
	struct luo_flb *rec;
	u64 data, count;
	unsigned long nr = 0;
	int err;

	lockdep_assert_held_write(&luo_gate);

	/* A chain must not end in empty pages. */
	luo_for_each_flb(rec)
		nr += luo_flb_entry(rec, &data, &count);
	scoped_guard(mutex, &luo_flbs_lock)
		err = luo_wire_begin_flbs(nr);
	if (err)
		return err;

	luo_for_each_flb(rec) {
		guard(mutex)(&rec->lock);
		if (!luo_flb_entry(rec, &data, &count))
			continue;
		err = luo_wire_add_flb(rec->name, data, count);
		if (err)
			return err;
	}
	return 0;
}
