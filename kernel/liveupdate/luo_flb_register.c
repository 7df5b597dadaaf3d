// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: state that files share, for handlers and for other
 * subsystems.
 */

#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "luo_flb.h"

/* How often it may have changed who needs an object, and who waits for that. */
static atomic_t luo_flb_changes = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(luo_flb_change_wait);

/**
 * luo_flb_changed - somebody has let go of an object, or files need it again
 *
 * Context: may sleep; without the lock of the record.
 */
void luo_flb_changed(void)
{
	atomic_inc(&luo_flb_changes);
	wake_up_all(&luo_flb_change_wait);
}

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

/*
 * Whether the implementation can go. Files keep it as long as they like; without
 * them there is an object only as long as somebody holds it, and nobody else gets
 * it any more.
 */
static int luo_flb_can_leave(const struct luo_flb *rec)
{
	if (!luo_flb_has_object(rec))
		return 0;
	return rec->in.count || rec->out.count ? -EBUSY : -EAGAIN;
}

static void luo_flb_detach_locked(struct luo_flb_link *link)
{
	struct luo_flb *rec = link->rec;

	lockdep_assert_held(&rec->lock);
	if (!--rec->nr_links && !luo_flb_has_object(rec))
		rec->flb = NULL;
	list_del(&link->list);
	kfree(link);
}

static void luo_flb_detach(struct luo_flb_link *link)
{
	struct luo_flb *rec = link->rec;

	guard(mutex)(&rec->lock);
	luo_flb_detach_locked(link);
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

/* A record once seen is there for good. */
static struct luo_flb *luo_flb_record(struct liveupdate_flb *flb)
{
	/* Pairs with luo_flb_attach(). */
	return smp_load_acquire(&flb->rec);
}

static int luo_flb_unregister_locked(struct liveupdate_file_handler *fh,
				     struct liveupdate_flb *flb,
				     struct luo_flb *rec)
{
	struct luo_flb_link *link = luo_flb_find_link(fh, flb);
	int err;

	lockdep_assert_held(&rec->lock);

	/* If the handlers went first, an object can keep it all the same. */
	if (!link)
		return (rec->flb == flb && !rec->nr_links ?
			luo_flb_can_leave(rec) : 0) ?: -ENOENT;
	if (atomic_read(&fh->users))
		return -EBUSY;
	err = rec->nr_links > 1 ? 0 : luo_flb_can_leave(rec);
	if (!err)
		luo_flb_detach_locked(link);
	return err;
}

/* -EINPROGRESS while an operation of it is under way, which can take long. */
static int luo_flb_try_unregister(struct liveupdate_file_handler *fh,
				  struct liveupdate_flb *flb,
				  struct luo_flb *rec)
{
	int err;

	guard(rwsem_write)(&luo_handlers_lock);
	luo_flbs_init_handler(fh);
	if (!mutex_trylock(&rec->lock))
		return -EINPROGRESS;
	err = luo_flb_unregister_locked(fh, flb, rec);
	mutex_unlock(&rec->lock);
	return err;
}

/* The handlers lock is not held meanwhile: others' files are no concern of it. */
static int luo_flb_wait(struct luo_flb *rec, int why, int changes)
{
	if (why == -EAGAIN)
		return wait_event_killable(luo_flb_change_wait,
					   atomic_read(&luo_flb_changes) != changes);

	if (mutex_lock_killable(&rec->lock))
		return -EINTR;
	mutex_unlock(&rec->lock);
	return 0;
}

/**
 * liveupdate_unregister_flb - unbind state from the files of a handler
 * @fh:  the handler
 * @flb: the state
 *
 * If this is the last handler of @flb, or that has gone before, waits for whoever
 * still holds an object whose files are gone: after 0, and after -%ENOENT where
 * there is no other handler, nobody refers to @flb or calls an operation of it.
 * Operations that are under way are waited for, too. Files are not waited for,
 * since they can be there for ever.
 *
 * Neither waits nor fails in a module's exit: a module cannot be unloaded while
 * a file needs its state, or an object of it is there. What came in and was not
 * retrieved stays where it is and waits for an implementation.
 *
 * Context: process context, may sleep. Not from an operation of a handler or of
 *	    an FLB, nor by who holds an object of @flb.
 * Return: 0, or nothing has changed:
 *
 * * -%EOPNOTSUPP - live update is off
 * * -%ENOENT     - @flb is not registered with @fh
 * * -%EBUSY      - @fh has files, or @flb has no other handler, an object of it
 *   is there, and files need it
 * * -%EINTR      - killed while waiting
 */
int liveupdate_unregister_flb(struct liveupdate_file_handler *fh,
			      struct liveupdate_flb *flb)
{
	struct luo_flb *rec = luo_flb_record(flb);
	int changes, err;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;
	if (!rec)
		return -ENOENT;

	for (;;) {
		changes = atomic_read(&luo_flb_changes);
		err = luo_flb_try_unregister(fh, flb, rec);
		if (err != -EAGAIN && err != -EINPROGRESS)
			return err;
		if (luo_flb_wait(rec, err, changes))
			return -EINTR;
	}
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
 * * another error of retrieve(), which every later attempt gives again until
 *   the files are finished; -%EIO if it made no object
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
	scoped_guard(mutex, &rec->lock) {
		if (WARN_ON_ONCE(!rec->in.refs))
			return;
		rec->in.refs--;
		luo_flb_finish_idle(rec);
	}
	luo_flb_changed();
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
	scoped_guard(mutex, &rec->lock) {
		if (WARN_ON_ONCE(!rec->out.refs))
			return;
		rec->out.refs--;
		luo_flb_unpreserve_idle(rec);
	}
	luo_flb_changed();
}
EXPORT_SYMBOL_GPL(liveupdate_flb_put_outgoing);
