/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live Update Orchestrator: what a handler of a kind of file needs, and state
 * that is shared by files.
 */
#ifndef _LINUX_LIVEUPDATE_H
#define _LINUX_LIVEUPDATE_H

#include <linux/errno.h>
#include <linux/list.h>
#include <linux/types.h>
#include <linux/kho/abi/luo.h>

struct file;
struct liveupdate_file_handler;
struct module;

/**
 * struct liveupdate_file_op_args - arguments of a handler's operations
 * @handler:         the handler itself
 * @retrieve_status: 0: not retrieved; 1: retrieved; negative: the errno with
 *                   which retrieving failed. For @finish and @can_finish.
 * @file:            the file; set by @retrieve, which passes its reference.
 *                   %NULL for @finish of a file that was not retrieved.
 * @serialized_data: what the next kernel gets of the file; set by @preserve,
 *                   may be changed by @freeze
 * @private_data:    the handler's own, in this kernel only; set by @preserve
 *                   for what follows up to @unpreserve, and by @retrieve for
 *                   @can_finish and @finish
 */
struct liveupdate_file_op_args {
	struct liveupdate_file_handler *handler;
	int retrieve_status;
	struct file *file;
	u64 serialized_data;
	void *private_data;
};

/**
 * struct liveupdate_file_ops - what a handler does with a file of its kind
 * @can_preserve: whether the file is of this kind. Fast and without effect.
 * @preserve:     make the file's state survive; may sleep. The file can be
 *                used until @freeze.
 * @unpreserve:   undo @preserve
 * @freeze:       optional; the reboot has begun: write down what changes until
 *                now. An error stops the reboot.
 * @unfreeze:     optional; undo @freeze, the reboot failed. Not called for the
 *                file whose @freeze failed: that has undone what it did.
 * @retrieve:     make the file from @serialized_data. -ENOMEM, -EINTR and
 *                -EAGAIN mean that nothing was consumed and that it may be
 *                asked again; any other error is remembered (-ENFILE passes:
 *                return -EAGAIN in its place). After a success nothing of what
 *                described the file stays preserved: if the next update comes
 *                before FINISH, @preserve describes it anew.
 * @can_finish:   optional; whether @finish may come now
 * @finish:       the file is over for live update: free what only served it,
 *                and everything if the file was not retrieved. Called once for
 *                every file that came in, also where @retrieve failed.
 * @get_id:       optional; what identifies the preserved object, where several
 *                files can be of one; default: the file itself
 * @owner:        module of the handler, held while it has a file
 *
 * Required: @can_preserve, @preserve, @unpreserve, @retrieve, @finish. All but
 * @can_preserve and @get_id may sleep. No two operations on one file run at
 * the same time.
 *
 * No operation may wait for what unprivileged programs can keep from happening:
 * the reboot waits for each. That goes for every lock under which user memory is
 * faulted in, since a FUSE daemon or userfaultfd decides how long that takes:
 * mmap_lock, an inode's i_rwsem, a pipe's mutex. Try for it, for a second at
 * most, and return -EBUSY: @preserve is also called during the reboot, for
 * retrieved files that are not finished, and the reboot then fails and names
 * the file. All waits that are not short can be killed and return -EINTR.
 */
struct liveupdate_file_ops {
	bool (*can_preserve)(struct liveupdate_file_handler *handler,
			     struct file *file);
	int (*preserve)(struct liveupdate_file_op_args *args);
	void (*unpreserve)(struct liveupdate_file_op_args *args);
	int (*freeze)(struct liveupdate_file_op_args *args);
	void (*unfreeze)(struct liveupdate_file_op_args *args);
	int (*retrieve)(struct liveupdate_file_op_args *args);
	bool (*can_finish)(struct liveupdate_file_op_args *args);
	void (*finish)(struct liveupdate_file_op_args *args);
	unsigned long (*get_id)(struct file *file);
	struct module *owner;
};

/**
 * struct liveupdate_file_handler - a kind of file that can be preserved
 * @ops:        its operations
 * @compatible: name of the layout behind @serialized_data; the next kernel
 *              finds its handler by it
 */
struct liveupdate_file_handler {
	const struct liveupdate_file_ops *ops;
	const char compatible[LIVEUPDATE_HNDL_COMPAT_LENGTH];

	/* private: */
	struct list_head list;
	struct list_head flbs;
	atomic_t users;
};

struct liveupdate_flb;
struct luo_flb;

/**
 * struct liveupdate_flb_op_args - arguments of an FLB's operations
 * @flb:  the state itself
 * @data: what the next kernel gets of it; set by @preserve
 * @obj:  the state's object in this kernel; set by @preserve and @retrieve. When
 *        @preserve is called, the incoming object that files need still, or
 *        %NULL: its contents have to go along.
 */
struct liveupdate_flb_op_args {
	struct liveupdate_flb *flb;
	u64 data;
	void *obj;
};

/**
 * struct liveupdate_flb_ops - what is done with state that files share
 * @preserve:   make it survive; before the first file that needs it
 * @unpreserve: undo @preserve; after the last file
 * @retrieve:   make the object, which is not %NULL, from @data. -ENOMEM, -EINTR
 *              and -EAGAIN mean that nothing was consumed and that it may be
 *              asked again; any other error is remembered. Called once, before
 *              the first use of the object and in any case before @finish.
 * @finish:     the last file that came in is over: free what only served live
 *              update. Not called if @retrieve failed.
 * @owner:      module of the operations, held while a file needs them and while
 *              there is an object
 *
 * All are required and may sleep. No two of them run at the same time for one
 * FLB. They must not call any function of this header.
 */
struct liveupdate_flb_ops {
	int (*preserve)(struct liveupdate_flb_op_args *argp);
	void (*unpreserve)(struct liveupdate_flb_op_args *argp);
	int (*retrieve)(struct liveupdate_flb_op_args *argp);
	void (*finish)(struct liveupdate_flb_op_args *argp);
	struct module *owner;
};

/**
 * struct liveupdate_flb - file-lifecycle-bound state: shared by files
 * @ops:        its operations
 * @compatible: name of the layout behind @data of its operations; the next
 *              kernel finds the state by it, so it is unique
 */
struct liveupdate_flb {
	const struct liveupdate_flb_ops *ops;
	const char compatible[LIVEUPDATE_FLB_COMPAT_LENGTH];

	/* private: */
	struct luo_flb *rec;
};

#ifdef CONFIG_LIVEUPDATE

bool liveupdate_enabled(void);
int liveupdate_reboot(void);
void liveupdate_reboot_undo(void);

int liveupdate_register_file_handler(struct liveupdate_file_handler *fh);
int liveupdate_unregister_file_handler(struct liveupdate_file_handler *fh);

int liveupdate_register_flb(struct liveupdate_file_handler *fh,
			    struct liveupdate_flb *flb);
int liveupdate_unregister_flb(struct liveupdate_file_handler *fh,
			      struct liveupdate_flb *flb);
int liveupdate_flb_get_incoming(struct liveupdate_flb *flb, void **objp);
void liveupdate_flb_put_incoming(struct liveupdate_flb *flb);
int liveupdate_flb_get_outgoing(struct liveupdate_flb *flb, void **objp);
void liveupdate_flb_put_outgoing(struct liveupdate_flb *flb);

#else /* CONFIG_LIVEUPDATE */

static inline bool liveupdate_enabled(void)
{
	return false;
}

static inline int liveupdate_reboot(void)
{
	return 0;
}

static inline void liveupdate_reboot_undo(void) { }

static inline int
liveupdate_register_file_handler(struct liveupdate_file_handler *fh)
{
	return -EOPNOTSUPP;
}

static inline int
liveupdate_unregister_file_handler(struct liveupdate_file_handler *fh)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_register_flb(struct liveupdate_file_handler *fh,
					  struct liveupdate_flb *flb)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_unregister_flb(struct liveupdate_file_handler *fh,
					    struct liveupdate_flb *flb)
{
	return -EOPNOTSUPP;
}

static inline int liveupdate_flb_get_incoming(struct liveupdate_flb *flb,
					      void **objp)
{
	return -EOPNOTSUPP;
}

static inline void liveupdate_flb_put_incoming(struct liveupdate_flb *flb) { }

static inline int liveupdate_flb_get_outgoing(struct liveupdate_flb *flb,
					      void **objp)
{
	return -EOPNOTSUPP;
}

static inline void liveupdate_flb_put_outgoing(struct liveupdate_flb *flb) { }

#endif /* CONFIG_LIVEUPDATE */
#endif /* _LINUX_LIVEUPDATE_H */
