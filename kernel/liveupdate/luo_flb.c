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

#include <linux/export.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "luo_internal.h"

/**
 * struct luo_flb_in - state that the previous kernel left
 * @data:   what it wrote down
 * @count:  files that are not finished; 0: nothing came in, or it is over
 * @taken:  those of them that do not wait, counted at the reboot
 * @status: 0: not retrieved; 1: @obj is there; negative: could not be retrieved
 * @refs:   who holds @obj
 * @obj:    the object
 */
struct luo_flb_in {
	u64 data;
	u64 count;
	u64 taken;
	int status;
	unsigned int refs;
	void *obj;
};

/**
 * struct luo_flb_out - state for the next kernel
 * @data:      what to write down
 * @count:     files that need it
 * @refs:      who holds @obj
 * @preserved: @data and @obj are valid
 * @again:     one of @count is the reboot, on behalf of files that wait
 * @obj:       the object
 */
struct luo_flb_out {
	u64 data;
	u64 count;
	unsigned int refs;
	bool preserved;
	bool again;
	void *obj;
};

/**
 * struct luo_flb - what is known of one name
 * @name:     the name, padded with NULs
 * @list:     place among the records
 * @lock:     protects the members below; held over the operations
 * @flb:      the implementation; %NULL while there is none
 * @nr_links: handlers with which @flb is registered
 * @frozen:   the reboot has begun: what waits has to wait on
 * @in:       from the previous kernel
 * @out:      for the next kernel
 */
struct luo_flb {
	char name[LIVEUPDATE_FLB_COMPAT_LENGTH];
	struct list_head list;
	struct mutex lock;	/* one operation at a time */
	struct liveupdate_flb *flb;
	unsigned long nr_links;
	bool frozen;
	struct luo_flb_in in;
	struct luo_flb_out out;
};

/* One for each state with which a handler's files are bound up. */
struct luo_flb_link {
	struct list_head list;	/* in the handler; handlers lock */
	struct luo_flb *rec;
};

/* All records. Only ever added to, so it can be walked without a lock. */
static LIST_HEAD(luo_flbs);

/* Entries that may have to be written. */
static unsigned long luo_nr_flbs;

/* Protects luo_nr_flbs and the room for it, and additions to the list. */
static DEFINE_MUTEX(luo_flbs_lock);

#define luo_for_each_flb(rec) \
	list_for_each_entry_rcu(rec, &luo_flbs, list, true)

static __printf(2, 3)
void luo_flb_err(const struct luo_flb *rec, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	vaf.va = &args;
	pr_err("FLB \"%*pE\": %pV\n", (int)strlen(rec->name), rec->name, &vaf);
	va_end(args);
}

static struct luo_flb *luo_flb_find(const char *name)
{
	struct luo_flb *rec;

	luo_for_each_flb(rec) {
		if (!strcmp(rec->name, name))
			return rec;
	}
	return NULL;
}

/* The caller has made sure that there is none of this name. */
static struct luo_flb *luo_flb_add(const char *name)
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
	int err;

	if (!try_module_get(rec->flb->ops->owner))
		return -ENOENT;

	err = rec->flb->ops->retrieve(&args);
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

/* Afterwards it is known whether there is an incoming object. */
static int luo_flb_need_incoming(struct luo_flb *rec)
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

static bool luo_flb_has_object(const struct luo_flb *rec)
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

/* The last file is finished, and the last holder has let go. */
static void luo_flb_finish_idle(struct luo_flb *rec)
{
	struct liveupdate_flb_op_args args = luo_flb_in_args(rec);
	bool retrieved = rec->in.status == 1;

	if (rec->in.count || rec->in.refs)
		return;
	if (retrieved)
		rec->flb->ops->finish(&args);
	rec->in = (struct luo_flb_in) { };
	if (retrieved)
		luo_flb_drop_object(rec);
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
		if (!rec->in.count || --rec->in.count)
			continue;
		luo_flb_release_entry();
		luo_flb_finish_idle(rec);
	}
}

/*
 * Outgoing
 */

static int luo_flb_do_preserve(struct luo_flb *rec)
{
	struct liveupdate_flb_op_args args = { .flb = rec->flb };
	int err;

	err = luo_flb_settle_incoming(rec);
	if (err)
		return err;
	err = luo_flb_reserve_entry();
	if (err)
		return err;

	args.obj = rec->in.count ? rec->in.obj : NULL;
	err = rec->flb->ops->preserve(&args);
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
	int err = 0;

	guard(mutex)(&rec->lock);
	if (!rec->out.preserved)
		err = luo_flb_do_preserve(rec);
	if (!err)
		rec->out.count++;
	return err;
}

/* The last file is gone, and the last holder has let go. */
static void luo_flb_unpreserve_idle(struct luo_flb *rec)
{
	struct liveupdate_flb_op_args args = {
		.flb = rec->flb,
		.data = rec->out.data,
		.obj = rec->out.obj,
	};

	if (!rec->out.preserved || rec->out.count || rec->out.refs)
		return;
	rec->flb->ops->unpreserve(&args);
	rec->out = (struct luo_flb_out) { };
	luo_flb_drop_object(rec);
	luo_flb_release_entry();
}

static void luo_flb_unpreserve_one(struct luo_flb *rec)
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

/*
 * The reboot
 */

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
 * Context: may sleep; &luo_gate is held for writing.
 */
void luo_flbs_unpreserve_again(void)
{
	struct luo_flb *rec;

	lockdep_assert_held_write(&luo_gate);
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

/*
 * For handlers and other subsystems
 */

/**
 * luo_flbs_get_modules - hold the modules of all that a handler is bound up with
 * @fh: the handler
 *
 * Context: the handlers lock is held.
 * Return: false if one is on its way out; none is held then.
 */
bool luo_flbs_get_modules(struct liveupdate_file_handler *fh)
{
	struct luo_flb_link *link;

	list_for_each_entry(link, &fh->flbs, list) {
		if (!try_module_get(link->rec->flb->ops->owner))
			goto undo;
	}
	return true;

undo:
	list_for_each_entry_continue_reverse(link, &fh->flbs, list)
		module_put(link->rec->flb->ops->owner);
	return false;
}

/**
 * luo_flbs_put_modules - undo luo_flbs_get_modules()
 * @fh: the handler
 *
 * Context: the handlers lock is held.
 */
void luo_flbs_put_modules(struct liveupdate_file_handler *fh)
{
	struct luo_flb_link *link;

	list_for_each_entry(link, &fh->flbs, list)
		module_put(link->rec->flb->ops->owner);
}

/**
 * luo_flbs_init_handler - a handler comes into sight
 * @fh: the handler, its private members zero if it was never seen before
 *
 * Context: the handlers lock is held for writing.
 */
void luo_flbs_init_handler(struct liveupdate_file_handler *fh)
{
	if (!fh->flbs.next)
		INIT_LIST_HEAD(&fh->flbs);
}

static bool luo_flb_is_valid(const struct liveupdate_flb *flb)
{
	const struct liveupdate_flb_ops *ops = flb->ops;
	size_t len = strnlen(flb->compatible, sizeof(flb->compatible));

	return ops && ops->preserve && ops->unpreserve && ops->retrieve &&
	       ops->finish && len && len < sizeof(flb->compatible);
}

static struct luo_flb_link *
luo_flb_find_link(struct liveupdate_file_handler *fh,
		  const struct liveupdate_flb *flb)
{
	struct luo_flb_link *link;

	list_for_each_entry(link, &fh->flbs, list) {
		if (link->rec->flb == flb)
			return link;
	}
	return NULL;
}

/* Makes @flb the implementation of its name, if it is not that already. */
static int luo_flb_attach(struct liveupdate_flb *flb, struct luo_flb_link *link)
{
	struct luo_flb *rec = luo_flb_find(flb->compatible);

	if (!rec)
		rec = luo_flb_add(flb->compatible);
	if (!rec)
		return -ENOMEM;

	guard(mutex)(&rec->lock);
	if (rec->flb && rec->flb != flb)
		return -EEXIST;
	rec->flb = flb;
	rec->nr_links++;
	link->rec = rec;
	/* Pairs with liveupdate_flb_get_incoming() and its like. */
	smp_store_release(&flb->rec, rec);
	return 0;
}

/* Whether the implementation would be needed without its last handler. */
static bool luo_flb_in_use(struct luo_flb *rec)
{
	guard(mutex)(&rec->lock);
	return rec->nr_links == 1 && luo_flb_has_object(rec);
}

static void luo_flb_detach(struct luo_flb_link *link)
{
	struct luo_flb *rec = link->rec;

	scoped_guard(mutex, &rec->lock) {
		if (!--rec->nr_links && !luo_flb_has_object(rec))
			rec->flb = NULL;
	}
	list_del(&link->list);
	kfree(link);
}

/**
 * liveupdate_register_flb - bind state to the files of a handler
 * @fh:  the handler, registered or going to be
 * @flb: the state; may be registered with several handlers. Has to stay until
 *       it is unregistered from the last one.
 *
 * A handler can have several; they are preserved in the order in which they
 * were registered, and undone in reverse. Register them before the handler:
 * then no file of this kind can come first.
 *
 * Context: process context, may sleep; from core_initcall on. Not from an
 *	    operation of a handler or of an FLB.
 * Return: 0, or
 *
 * * -%EOPNOTSUPP - live update is off
 * * -%EINVAL     - an operation is missing, or the name is empty or does not end
 * * -%EEXIST     - @flb is registered with @fh, or another one has its name
 * * -%EBUSY      - @fh has files already
 * * -%ENOMEM     - not enough memory
 */
int liveupdate_register_flb(struct liveupdate_file_handler *fh,
			    struct liveupdate_flb *flb)
{
	struct luo_flb_link *link;
	int err;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;
	if (!luo_flb_is_valid(flb))
		return -EINVAL;

	guard(rwsem_write)(&luo_handlers_lock);
	luo_flbs_init_handler(fh);
	if (atomic_read(&fh->users))
		return -EBUSY;
	if (luo_flb_find_link(fh, flb))
		return -EEXIST;

	link = kzalloc(sizeof(*link), GFP_KERNEL);
	if (!link)
		return -ENOMEM;
	err = luo_flb_attach(flb, link);
	if (err) {
		kfree(link);
		return err;
	}
	list_add_tail(&link->list, &fh->flbs);
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_register_flb);

/**
 * liveupdate_unregister_flb - unbind state from the files of a handler
 * @fh:  the handler
 * @flb: the state
 *
 * Never fails in a module's exit: a module cannot be unloaded while a file needs
 * its state, or an object of it is there. What came in and was not retrieved
 * stays where it is and waits for an implementation.
 *
 * Context: process context, may sleep. Not from an operation of a handler or of
 *	    an FLB.
 * Return: 0, or
 *
 * * -%EOPNOTSUPP - live update is off
 * * -%ENOENT     - @flb is not registered with @fh
 * * -%EBUSY      - @fh has files, or this is the last handler of @flb and one of
 *   its objects is there; nothing has changed
 */
int liveupdate_unregister_flb(struct liveupdate_file_handler *fh,
			      struct liveupdate_flb *flb)
{
	struct luo_flb_link *link;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;

	guard(rwsem_write)(&luo_handlers_lock);
	luo_flbs_init_handler(fh);
	link = luo_flb_find_link(fh, flb);
	if (!link)
		return -ENOENT;
	if (atomic_read(&fh->users) || luo_flb_in_use(link->rec))
		return -EBUSY;
	luo_flb_detach(link);
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_unregister_flb);

/**
 * luo_flbs_unregister_all - a handler without files goes
 * @fh: the handler
 *
 * An implementation of which there is an object is held by it, and stays.
 *
 * Context: may sleep; the handlers lock is held for writing.
 */
void luo_flbs_unregister_all(struct liveupdate_file_handler *fh)
{
	struct luo_flb_link *link, *n;

	list_for_each_entry_safe_reverse(link, n, &fh->flbs, list)
		luo_flb_detach(link);
}

/* A record once seen is there for good. */
static struct luo_flb *luo_flb_record(struct liveupdate_flb *flb)
{
	/* Pairs with luo_flb_attach(). */
	return smp_load_acquire(&flb->rec);
}

/**
 * liveupdate_flb_get_incoming - get what the previous kernel left
 * @flb:  the state, registered with a handler
 * @objp: set to the object that its retrieve() made
 *
 * Before any file is retrieved, too: the first caller has it retrieved. The
 * object lives until liveupdate_flb_put_incoming(), even if the last file is
 * finished in the meantime.
 *
 * Context: may sleep; from core_initcall on. Not from an operation of an FLB.
 * Return: 0, or
 *
 * * -%EOPNOTSUPP - live update is off
 * * -%ENOENT     - @flb is not registered, nothing came in, or its files are
 *   finished
 *
 * * -%ENOMEM, -%EINTR, -%EAGAIN - try again
 * * another error of retrieve(), which every later attempt gives again
 */
int liveupdate_flb_get_incoming(struct liveupdate_flb *flb, void **objp)
{
	struct luo_flb *rec = luo_flb_record(flb);
	int err;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;
	if (!rec)
		return -ENOENT;

	guard(mutex)(&rec->lock);
	if (rec->flb != flb)
		return -ENOENT;
	err = luo_flb_need_incoming(rec);
	if (err)
		return err;
	rec->in.refs++;
	*objp = rec->in.obj;
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_flb_get_incoming);

/**
 * liveupdate_flb_put_incoming - let go of what liveupdate_flb_get_incoming() gave
 * @flb: the state
 *
 * Context: may sleep: finishes the object, if its last file is finished. Not
 *	    from an operation of an FLB.
 */
void liveupdate_flb_put_incoming(struct liveupdate_flb *flb)
{
	struct luo_flb *rec = luo_flb_record(flb);

	if (WARN_ON_ONCE(!rec))
		return;
	guard(mutex)(&rec->lock);
	if (WARN_ON_ONCE(!rec->in.refs))
		return;
	rec->in.refs--;
	luo_flb_finish_idle(rec);
}
EXPORT_SYMBOL_GPL(liveupdate_flb_put_incoming);

/**
 * liveupdate_flb_get_outgoing - get what is preserved for the next kernel
 * @flb:  the state, registered with a handler
 * @objp: set to the object that its preserve() made
 *
 * The object lives until liveupdate_flb_put_outgoing(). Hold it no longer than
 * the files need it: a reboot fails while an object without files is held.
 *
 * Context: may sleep; from core_initcall on. Not from an operation of an FLB.
 * Return: 0, or
 *
 * * -%EOPNOTSUPP - live update is off
 * * -%ENOENT     - @flb is not registered, or no file needs it
 */
int liveupdate_flb_get_outgoing(struct liveupdate_flb *flb, void **objp)
{
	struct luo_flb *rec = luo_flb_record(flb);

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;
	if (!rec)
		return -ENOENT;

	guard(mutex)(&rec->lock);
	if (rec->flb != flb || !rec->out.count)
		return -ENOENT;
	rec->out.refs++;
	*objp = rec->out.obj;
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_flb_get_outgoing);

/**
 * liveupdate_flb_put_outgoing - let go of what liveupdate_flb_get_outgoing() gave
 * @flb: the state
 *
 * Context: may sleep: unpreserves the object, if its last file is gone. Not from
 *	    an operation of an FLB.
 */
void liveupdate_flb_put_outgoing(struct liveupdate_flb *flb)
{
	struct luo_flb *rec = luo_flb_record(flb);

	if (WARN_ON_ONCE(!rec))
		return;
	guard(mutex)(&rec->lock);
	if (WARN_ON_ONCE(!rec->out.refs))
		return;
	rec->out.refs--;
	luo_flb_unpreserve_idle(rec);
}
EXPORT_SYMBOL_GPL(liveupdate_flb_put_outgoing);
