// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: state that files share.
 */

/**
 * DOC: File-lifecycle-bound state
 *
 * Files of one kind can depend on something that none of them owns: a table of
 * an IOMMU, a pool of pages. Such state is bound to the life of the files. It
 * is registered with the handlers of the files that need it, preserved before
 * the first of them and unpreserved, or finished in the next kernel, after the
 * last one, in whatever session they are::
 *
 *	outgoing   first file --> preserved --> last one unpreserved --> gone
 *
 *	incoming   waiting --- first use ---> retrieved --- last FINISH --> gone
 *			   \----------------> failed ---/
 *
 * The first use is liveupdate_flb_get_incoming(), a FINISH, or the preserving
 * of a file: the new description has to cover what came in and is not finished.
 * Objects that somebody holds when their time is over live until they are put.
 * The last incoming session ends all that came in, whatever the counts say: some
 * files may have been damaged, and nobody knows what they needed.
 *
 * LUO keeps a record for each name that it has seen, from the previous kernel
 * or from a registration, and never frees it: a record outlives the module that
 * implements it, and what came in waits in it for an implementation.
 *
 * If a reboot comes before the last FINISH, the state goes along. One that
 * nobody used is copied. One that is in use in this kernel is preserved again
 * with its files, or by itself if all of its files wait still; that is undone
 * if the reboot fails. The next kernel gets one entry for a name: its count is
 * that of all files that go along, new ones and old ones.
 */

#define pr_fmt(fmt) "liveupdate: " fmt

#include <linux/module.h>
#include <linux/printk.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <trace/events/liveupdate.h>

#include "luo_flb.h"

LIST_HEAD(luo_flbs);

/* Entries that may have to be written. */
static unsigned long luo_nr_flbs;

/* What it protects is said in luo_flb.h. */
DEFINE_MUTEX(luo_flbs_lock);

/**
 * luo_flb_err - say what is wrong with an FLB
 * @rec: its record
 * @fmt: the rest, without a newline
 */
void luo_flb_err(const struct luo_flb *rec, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	struct luo_escaped name;
	va_list args;

	luo_escape_name(&name, rec->name, sizeof(rec->name));
	va_start(args, fmt);
	vaf.va = &args;
	pr_err("FLB \"%s\": %pV\n", name.s, &vaf);
	va_end(args);
}

/**
 * luo_flb_find - find the record of a name
 * @name: the name
 *
 * Context: may sleep.
 * Return: the record, or %NULL.
 */
struct luo_flb *luo_flb_find(const char *name)
{
	struct luo_flb *rec;

	luo_for_each_flb(rec) {
		if (!strcmp(rec->name, name))
			return rec;
	}
	return NULL;
}

/**
 * luo_flb_add - make a record for a name that has none
 * @name: the name
 *
 * Context: may sleep; takes the FLBs lock. The caller has made sure that there
 *	    is no record, and that nobody else makes one.
 * Return: the record, which stays for good, or %NULL.
 */
struct luo_flb *luo_flb_add(const char *name)
{
	struct luo_flb *rec = kzalloc(sizeof(*rec), GFP_KERNEL);

	if (!rec)
		return NULL;
	strscpy_pad(rec->name, name);
	mutex_init(&rec->lock);

	guard(mutex)(&luo_flbs_lock);
	list_add_tail_rcu(&rec->list, &luo_flbs);
	return rec;
}

static int luo_flb_reserve_entry(void)
{
	int err;

	guard(mutex)(&luo_flbs_lock);
	err = luo_wire_reserve_flbs(luo_nr_flbs + 1);
	if (!err)
		luo_nr_flbs++;
	return err;
}

static void luo_flb_release_entry(void)
{
	guard(mutex)(&luo_flbs_lock);
	luo_wire_reserve_flbs(--luo_nr_flbs);
}

/*
 * Incoming
 */

/**
 * luo_flb_add_incoming - note state that the previous kernel left
 * @name:  its name, ends in a NUL
 * @data:  what its implementation wrote down
 * @count: files that it is bound to, at least 1
 *
 * Context: early in the boot; may sleep.
 * Return: 0, -%EEXIST when @name was there before, or -%ENOMEM.
 */
int __init luo_flb_add_incoming(const char *name, u64 data, u64 count)
{
	struct luo_flb *rec;
	int err;

	if (luo_flb_find(name))
		return -EEXIST;

	err = luo_flb_reserve_entry();
	if (err)
		return err;

	rec = luo_flb_add(name);
	if (!rec) {
		luo_flb_release_entry();
		return -ENOMEM;
	}
	rec->in.data = data;
	rec->in.count = count;
	kho_hold();
	return 0;
}

/**
 * luo_flbs_forget - drop what is known of a list that cannot be read in
 *
 * The memory behind it stays as it is.
 *
 * Context: early in the boot, nobody has registered anything; may sleep.
 */
void __init luo_flbs_forget(void)
{
	struct luo_flb *rec, *n;

	list_for_each_entry_safe(rec, n, &luo_flbs, list) {
		luo_flb_release_entry();
		kho_release();
		list_del(&rec->list);
		kfree(rec);
	}
}

static struct liveupdate_flb_op_args luo_flb_in_args(const struct luo_flb *rec)
{
	return (struct liveupdate_flb_op_args) {
		.flb = rec->flb,
		.data = rec->in.data,
		.obj = rec->in.obj,
	};
}

/* The object needs its module until it is finished. */
static int luo_flb_do_retrieve(struct luo_flb *rec)
{
	struct liveupdate_flb_op_args args = luo_flb_in_args(rec);
	u64 start;
	int err;

	if (!try_module_get(rec->flb->ops->owner))
		return -ENOENT;

	start = luo_trace_start(liveupdate_flb_retrieve);
	err = rec->flb->ops->retrieve(&args);
	trace_liveupdate_flb_retrieve(rec->name, start, err);
	if (!err && WARN_ON_ONCE(!args.obj))
		err = -EIO;
	if (err) {
		module_put(rec->flb->ops->owner);
		if (luo_is_transient(err))
			return err;
		luo_flb_err(rec, "cannot be retrieved: %pe", ERR_PTR(err));
		rec->in.status = err;
		return err;
	}

	rec->in.obj = args.obj;
	rec->in.status = 1;
	return 0;
}

/**
 * luo_flb_need_incoming - have the incoming object, if there is one
 * @rec: the record
 *
 * Context: may sleep; @rec->lock is held.
 * Return: 0, -%ENOENT if nothing came in or nobody implements it, -%EAGAIN while
 * a reboot is under way, or an error of its retrieve().
 */
int luo_flb_need_incoming(struct luo_flb *rec)
{
	lockdep_assert_held(&rec->lock);

	if (!rec->flb || !rec->in.count)
		return -ENOENT;
	if (rec->in.status)
		return rec->in.status < 0 ? rec->in.status : 0;
	if (rec->frozen)
		return -EAGAIN;
	return luo_flb_do_retrieve(rec);
}

/* For those who can do without, but not with a failure that may pass. */
static int luo_flb_settle_incoming(struct luo_flb *rec)
{
	int err = luo_flb_need_incoming(rec);

	return luo_is_transient(err) ? err : 0;
}

/**
 * luo_flb_has_object - whether the implementation is needed for an object
 * @rec: the record
 *
 * Context: @rec->lock is held.
 * Return: true if one is there, of either direction.
 */
bool luo_flb_has_object(const struct luo_flb *rec)
{
	return rec->in.status == 1 || rec->out.preserved;
}

/* An implementation that is registered no more stays as long as its objects. */
static void luo_flb_drop_object(struct luo_flb *rec)
{
	struct module *owner = rec->flb->ops->owner;

	if (!rec->nr_links && !luo_flb_has_object(rec))
		rec->flb = NULL;
	module_put(owner);
}

/**
 * luo_flb_finish_idle - finish an incoming object that nobody needs
 * @rec: the record
 *
 * Does nothing before the last file is finished and the last holder has let go.
 *
 * Context: may sleep; @rec->lock is held.
 */
void luo_flb_finish_idle(struct luo_flb *rec)
{
	struct liveupdate_flb_op_args args = luo_flb_in_args(rec);
	u64 start = luo_trace_start(liveupdate_flb_finish);
	bool retrieved = rec->in.status == 1;

	if (rec->in.count || rec->in.refs)
		return;
	if (retrieved) {
		rec->flb->ops->finish(&args);
		trace_liveupdate_flb_finish(rec->name, start, 0);
	}
	rec->in = (struct luo_flb_in) { };
	if (retrieved)
		luo_flb_drop_object(rec);
}

/* No file needs what came in any more. */
static void luo_flb_end_incoming(struct luo_flb *rec)
{
	lockdep_assert_held(&rec->lock);
	rec->in.count = 0;
	luo_flb_release_entry();
	kho_release();
	luo_flb_finish_idle(rec);
}

/**
 * luo_flbs_can_finish - be ready for the finish of a file
 * @fh: the file's handler, held
 *
 * A later luo_flbs_finish() cannot fail then.
 *
 * Context: may sleep.
 * Return: 0, or an error of a retrieve() that may be tried again.
 */
int luo_flbs_can_finish(struct liveupdate_file_handler *fh)
{
	struct luo_flb_link *link;
	int err;

	list_for_each_entry(link, &fh->flbs, list) {
		guard(mutex)(&link->rec->lock);
		err = luo_flb_settle_incoming(link->rec);
		if (err)
			return err;
	}
	return 0;
}

/**
 * luo_flbs_finish - an incoming file is finished
 * @fh: the file's handler, held
 *
 * Context: may sleep; the file's own finish() came before.
 */
void luo_flbs_finish(struct liveupdate_file_handler *fh)
{
	struct luo_flb_link *link;

	list_for_each_entry_reverse(link, &fh->flbs, list) {
		struct luo_flb *rec = link->rec;

		guard(mutex)(&rec->lock);
		/* The previous kernel need not have known of this one. */
		if (rec->in.count > 1)
			rec->in.count--;
		else if (rec->in.count)
			luo_flb_end_incoming(rec);
	}
}

/**
 * luo_flbs_finish_rest - the last incoming session is finished
 *
 * Files count for an FLB here that nobody knows any more: those of damaged
 * sessions, and those whose handlers are bound up with it no longer. What came
 * in for them is finished now, or left alone if it cannot be retrieved.
 *
 * Context: may sleep; &luo_gate is held for reading.
 */
void luo_flbs_finish_rest(void)
{
	struct luo_flb *rec;

	lockdep_assert_held_read(&luo_gate);
	luo_for_each_flb(rec) {
		guard(mutex)(&rec->lock);
		if (!rec->in.count)
			continue;
		if (luo_flb_need_incoming(rec))
			luo_flb_err(rec,
				    "its files are gone; its memory stays preserved");
		luo_flb_end_incoming(rec);
	}
}

/*
 * Outgoing
 */

/**
 * luo_flb_do_preserve - make an outgoing object
 * @rec: the record, without one
 *
 * Context: may sleep; @rec->lock is held.
 * Return: 0 or an error of a preserve() or retrieve(); nothing has changed then.
 */
int luo_flb_do_preserve(struct luo_flb *rec)
{
	struct liveupdate_flb_op_args args = { .flb = rec->flb };
	u64 start;
	int err;

	err = luo_flb_settle_incoming(rec);
	if (err)
		return err;
	err = luo_flb_reserve_entry();
	if (err)
		return err;

	args.obj = rec->in.count ? rec->in.obj : NULL;
	start = luo_trace_start(liveupdate_flb_preserve);
	err = rec->flb->ops->preserve(&args);
	trace_liveupdate_flb_preserve(rec->name, start, err);
	if (err) {
		luo_flb_release_entry();
		return err;
	}
	/* For holders that stay longer than the files. */
	__module_get(rec->flb->ops->owner);
	rec->out.data = args.data;
	rec->out.obj = args.obj;
	rec->out.preserved = true;
	return 0;
}

static int luo_flb_preserve(struct luo_flb *rec)
{
	bool first = false;
	int err = 0;

	scoped_guard(mutex, &rec->lock) {
		if (!rec->out.preserved)
			err = luo_flb_do_preserve(rec);
		if (!err)
			first = !rec->out.count++;
	}
	if (first)
		luo_flb_changed();
	return err;
}

/**
 * luo_flb_unpreserve_idle - drop an outgoing object that nobody needs
 * @rec: the record
 *
 * Does nothing before the last file is gone and the last holder has let go.
 *
 * Context: may sleep; @rec->lock is held.
 */
void luo_flb_unpreserve_idle(struct luo_flb *rec)
{
	struct liveupdate_flb_op_args args = {
		.flb = rec->flb,
		.data = rec->out.data,
		.obj = rec->out.obj,
	};
	u64 start = luo_trace_start(liveupdate_flb_unpreserve);

	if (!rec->out.preserved || rec->out.count || rec->out.refs)
		return;
	rec->flb->ops->unpreserve(&args);
	trace_liveupdate_flb_unpreserve(rec->name, start, 0);
	rec->out = (struct luo_flb_out) { };
	luo_flb_drop_object(rec);
	luo_flb_release_entry();
}

/**
 * luo_flb_unpreserve_one - a file that needed the outgoing object is gone
 * @rec: the record
 *
 * Context: may sleep; @rec->lock is held.
 */
void luo_flb_unpreserve_one(struct luo_flb *rec)
{
	lockdep_assert_held(&rec->lock);
	rec->out.count--;
	luo_flb_unpreserve_idle(rec);
}

static void luo_flb_unpreserve(struct luo_flb *rec)
{
	guard(mutex)(&rec->lock);
	luo_flb_unpreserve_one(rec);
}

/**
 * luo_flbs_preserve - a file is going to be preserved
 * @fh: the file's handler, held
 *
 * Context: may sleep; comes before the handler's preserve().
 * Return: 0 or an error of a preserve() or retrieve(); nothing has changed then.
 */
int luo_flbs_preserve(struct liveupdate_file_handler *fh)
{
	struct luo_flb_link *link;
	int err;

	list_for_each_entry(link, &fh->flbs, list) {
		err = luo_flb_preserve(link->rec);
		if (err)
			goto undo;
	}
	return 0;

undo:
	list_for_each_entry_continue_reverse(link, &fh->flbs, list)
		luo_flb_unpreserve(link->rec);
	return err;
}

/**
 * luo_flbs_unpreserve - undo luo_flbs_preserve(), last one first
 * @fh: the file's handler, held
 *
 * Context: may sleep; comes after the handler's unpreserve().
 */
void luo_flbs_unpreserve(struct liveupdate_file_handler *fh)
{
	struct luo_flb_link *link;

	list_for_each_entry_reverse(link, &fh->flbs, list)
		luo_flb_unpreserve(link->rec);
}
