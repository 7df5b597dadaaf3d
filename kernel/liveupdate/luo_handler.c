// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: the handlers of the kinds of files.
 */

/**
 * DOC: File handlers
 *
 * A handler knows how one kind of file gets from one kernel into the next. It
 * can register at any time, from a module too: also when a file of its kind
 * waits for it already, because the previous kernel left one.
 *
 * Each file that is preserved, retrieved, or was tried to be, counts as a user
 * of its handler and holds the handler's module. What the previous kernel left
 * and nobody asked for yet does not: its handler may come and go.
 */

#define pr_fmt(fmt) "liveupdate: " fmt

#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/string.h>

#include "luo_internal.h"

static LIST_HEAD(luo_handlers);

/* Write: the list changes. Read: it is searched, or a user comes or goes. */
DECLARE_RWSEM(luo_handlers_lock);

/* Fails when the handler's module is on its way out. */
static bool luo_handler_get(struct liveupdate_file_handler *fh)
{
	lockdep_assert_held(&luo_handlers_lock);

	if (!try_module_get(fh->ops->owner))
		return false;
	if (!luo_flbs_get_modules(fh)) {
		module_put(fh->ops->owner);
		return false;
	}

	atomic_inc(&fh->users);
	return true;
}

/**
 * luo_handler_put - give a handler back
 * @fh: handler from luo_handler_for_file() or luo_handler_by_name()
 *
 * @fh must not be touched afterwards: it may be gone with its module.
 *
 * Context: may sleep; takes the handlers lock.
 */
void luo_handler_put(struct liveupdate_file_handler *fh)
{
	struct module *owner = fh->ops->owner;

	/* The lock: whoever unregisters @fh next may free it. */
	scoped_guard(rwsem_read, &luo_handlers_lock) {
		luo_flbs_put_modules(fh);
		atomic_dec(&fh->users);
	}
	module_put(owner);
}

/**
 * luo_handler_for_file - find the handler that accepts a file
 * @file: the file
 *
 * Context: may sleep; takes the handlers lock.
 * Return: the handler, to be given back by luo_handler_put(), or %NULL.
 */
struct liveupdate_file_handler *luo_handler_for_file(struct file *file)
{
	struct liveupdate_file_handler *fh;

	guard(rwsem_read)(&luo_handlers_lock);
	list_for_each_entry(fh, &luo_handlers, list) {
		/*
		 * The first one counts, also while its module is on its way
		 * out: another would know the file under another object.
		 */
		if (fh->ops->can_preserve(fh, file))
			return luo_handler_get(fh) ? fh : NULL;
	}
	return NULL;
}

static struct liveupdate_file_handler *luo_handler_find(const char *compatible)
{
	struct liveupdate_file_handler *fh;

	lockdep_assert_held(&luo_handlers_lock);
	list_for_each_entry(fh, &luo_handlers, list) {
		if (!strcmp(fh->compatible, compatible))
			return fh;
	}
	return NULL;
}

/**
 * luo_handler_by_name - find the handler of what the previous kernel left
 * @compatible: name of the layout
 *
 * Context: may sleep; takes the handlers lock.
 * Return: the handler, to be given back by luo_handler_put(), or %NULL.
 */
struct liveupdate_file_handler *luo_handler_by_name(const char *compatible)
{
	struct liveupdate_file_handler *fh;

	guard(rwsem_read)(&luo_handlers_lock);
	fh = luo_handler_find(compatible);
	return fh && luo_handler_get(fh) ? fh : NULL;
}

static bool luo_handler_is_valid(const struct liveupdate_file_handler *fh)
{
	const struct liveupdate_file_ops *ops = fh->ops;
	size_t len = strnlen(fh->compatible, sizeof(fh->compatible));

	return ops && ops->can_preserve && ops->preserve && ops->unpreserve &&
	       ops->retrieve && ops->finish &&
	       len && len < sizeof(fh->compatible);
}

/**
 * liveupdate_register_file_handler - make a kind of file known
 * @fh: the handler; it and its operations stay valid until unregistered
 *
 * Files of the kind can be preserved and retrieved from now on, those that the
 * previous kernel left included.
 *
 * Context: process context, may sleep.
 * Return: 0, or
 *
 * * -%EOPNOTSUPP - live update is off
 * * -%EINVAL     - a required operation is missing, or @fh->compatible is
 *   empty or does not end in a NUL
 *
 * * -%EEXIST     - @fh->compatible is registered already
 */
int liveupdate_register_file_handler(struct liveupdate_file_handler *fh)
{
	if (!liveupdate_enabled())
		return -EOPNOTSUPP;
	if (!luo_handler_is_valid(fh))
		return -EINVAL;

	guard(rwsem_write)(&luo_handlers_lock);
	if (luo_handler_find(fh->compatible)) {
		pr_err("handler \"%s\" is registered already\n",
		       fh->compatible);
		return -EEXIST;
	}

	luo_flbs_init_handler(fh);
	atomic_set(&fh->users, 0);
	list_add_tail(&fh->list, &luo_handlers);
	return 0;
}
EXPORT_SYMBOL_GPL(liveupdate_register_file_handler);

/**
 * liveupdate_unregister_file_handler - withdraw a kind of file
 * @fh: the handler
 *
 * Never fails in a module's exit: a module whose handler has a file cannot be
 * unloaded. What the previous kernel left of this kind stays where it is and
 * waits for a handler. Its FLBs are unregistered from it; before one is freed,
 * liveupdate_unregister_flb() has to say that nobody refers to it.
 *
 * Context: process context, may sleep.
 * Return: 0, or
 *
 * * -%EOPNOTSUPP - live update is off
 * * -%ENOENT     - @fh is not registered
 * * -%EBUSY      - a file of this kind is preserved, or retrieved and not
 *   finished; @fh stays registered
 */
int liveupdate_unregister_file_handler(struct liveupdate_file_handler *fh)
{
	struct liveupdate_file_handler *pos;

	if (!liveupdate_enabled())
		return -EOPNOTSUPP;

	guard(rwsem_write)(&luo_handlers_lock);
	list_for_each_entry(pos, &luo_handlers, list) {
		if (pos != fh)
			continue;
		if (atomic_read(&fh->users))
			return -EBUSY;
		luo_flbs_unregister_all(fh);
		list_del(&fh->list);
		return 0;
	}
	return -ENOENT;
}
EXPORT_SYMBOL_GPL(liveupdate_unregister_file_handler);
