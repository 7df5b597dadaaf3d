// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: the files of a session.
 */

/**
 * DOC: Files in a session
 *
 * A file is in one of these states, and a session holds files of one direction
 * only::
 *
 *	outgoing	preserved ------ freeze -----> frozen ---> jump
 *
 *	incoming	waiting --- RETRIEVE_FD ---> retrieved --- FINISH ---> gone
 *			    \------------------> failed ----/
 *
 * What waits has no handler, no file, only what the previous kernel wrote down
 * about it. LUO keeps a reference to a retrieved file until FINISH, so that it
 * can be asked for again, even by another owner of the session.
 *
 * If a reboot comes before FINISH, incoming files go along. Of those that wait,
 * what was written down is copied. Retrieved ones are in use in this kernel
 * and are preserved again like outgoing files; that is undone if the reboot
 * fails, so each direction has its own &struct luo_file_state. What failed to
 * be retrieved stays behind: its handler may have consumed part of it, and the
 * next kernel must not take pages for its own that have found a new use here.
 *
 * All files that LUO has a reference to stand in one table of preserved
 * objects, by which a second attempt to preserve the same thing is noticed.
 */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <trace/events/liveupdate.h>

#include "luo_internal.h"

/* A line about a file. The name of its layout can come from elsewhere. */
static __printf(2, 3)
void luo_file_err(const struct luo_file *f, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	struct luo_escaped name;
	va_list args;

	luo_escape_name(&name, f->compatible, sizeof(f->compatible));
	va_start(args, fmt);
	vaf.va = &args;
	luo_session_err(f->session, "token %#llx (\"%s\"): %pV", f->token,
			name.s, &vaf);
	va_end(args);
}

static const struct rhashtable_params luo_object_params = {
	.key_len = sizeof(struct luo_object),
	.key_offset = offsetof(struct luo_file, object),
	.head_offset = offsetof(struct luo_file, object_node),
	.automatic_shrinking = true,
};

/* Objects of outgoing files and of retrieved, unfinished incoming ones. */
static struct rhashtable luo_objects;

/**
 * luo_file_init - set up what all files share
 *
 * Return: 0 or -%ENOMEM.
 */
int __init luo_file_init(void)
{
	return rhashtable_init(&luo_objects, &luo_object_params);
}

static int luo_object_add(struct luo_file *f, struct file *file)
{
	const struct liveupdate_file_ops *ops = f->fh->ops;
	int err;

	f->object.fh = f->fh;
	f->object.id = ops->get_id ? ops->get_id(file) : (unsigned long)file;

	err = luo_table_insert(&luo_objects, &f->object_node,
			       &luo_object_params);
	if (err)
		return err == -EEXIST ? -EBUSY : err;
	f->listed = true;
	return 0;
}

static void luo_object_remove(struct luo_file *f)
{
	if (!f->listed)
		return;
	rhashtable_remove_fast(&luo_objects, &f->object_node,
			       luo_object_params);
	f->listed = false;
}

static struct luo_file *luo_file_alloc(struct luo_session *session, u64 token)
{
	struct luo_file *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);

	if (!f)
		return NULL;
	f->token = token;
	f->session = session;
	mutex_init(&f->lock);
	return f;
}

/* Gives back whatever @f has; it is in no session. */
static void luo_file_free(struct luo_file *f)
{
	luo_object_remove(f);
	if (f->file)
		fput(f->file);
	if (f->fh)
		luo_handler_put(f->fh);
	kfree(f);
}

/*
 * A file takes its token first, while that can still fail, and its place in
 * the list last.
 */
static int luo_file_claim_token(struct luo_file *f)
{
	int err = xa_insert(&f->session->tokens, f->token, f,
			    GFP_KERNEL_ACCOUNT);

	return err == -EBUSY ? -EEXIST : err;
}

static void luo_file_link(struct luo_file *f)
{
	struct luo_session *session = f->session;

	list_add_tail(&f->list, &session->files);
	WRITE_ONCE(session->nr_files, session->nr_files + 1);
	if (session->kind != LUO_SESSION_EMPTY)
		luo_monitor_files(session->kind, 1);
}

static void luo_file_unlink(struct luo_file *f)
{
	struct luo_session *session = f->session;

	xa_erase(&session->tokens, f->token);
	list_del(&f->list);
	WRITE_ONCE(session->nr_files, session->nr_files - 1);
	if (session->kind != LUO_SESSION_EMPTY)
		luo_monitor_files(session->kind, -1);
}

static struct liveupdate_file_op_args
luo_file_op_args(const struct luo_file *f, const struct luo_file_state *state)
{
	return (struct liveupdate_file_op_args) {
		.handler = f->fh,
		.retrieve_status = f->status,
		.file = f->file,
		.serialized_data = state->data,
		.private_data = state->private_data,
	};
}

/* For the next kernel; @f->file is set. */
static int luo_file_do_preserve(struct luo_file *f)
{
	u64 start = luo_trace_start(liveupdate_file_preserve);
	struct liveupdate_file_op_args args;
	int err;

	err = luo_flbs_preserve(f->fh);
	if (err)
		return err;

	f->out = (struct luo_file_state) { };
	args = luo_file_op_args(f, &f->out);
	err = f->fh->ops->preserve(&args);
	trace_liveupdate_file_preserve(f, start, err);
	if (err) {
		luo_flbs_unpreserve(f->fh);
		return err;
	}

	f->out.data = args.serialized_data;
	f->out.private_data = args.private_data;
	f->preserved = true;
	return 0;
}

static void luo_file_do_unpreserve(struct luo_file *f)
{
	struct liveupdate_file_op_args args = luo_file_op_args(f, &f->out);
	u64 start = luo_trace_start(liveupdate_file_unpreserve);

	f->fh->ops->unpreserve(&args);
	trace_liveupdate_file_unpreserve(f, start, 0);
	luo_flbs_unpreserve(f->fh);
	f->preserved = false;
}

/* Everything that preserving takes, in the order in which it is undone. */
static int luo_file_add(struct luo_file *f)
{
	struct luo_session *session = f->session;
	int err;

	err = luo_object_add(f, f->file);
	if (err)
		return err;

	err = luo_wire_reserve_files(session, session->nr_files + 1);
	if (err)
		return err;

	err = luo_file_claim_token(f);
	if (err)
		goto err_room;

	err = luo_file_do_preserve(f);
	if (err)
		goto err_token;

	luo_file_link(f);
	return 0;

err_token:
	xa_erase(&session->tokens, f->token);
err_room:
	luo_wire_reserve_files(session, session->nr_files);
	return err;
}

/**
 * luo_file_preserve - add a file to an outgoing session
 * @session: the session, or an empty one that is going to be outgoing
 * @file:    the file; a reference of its own is taken
 * @token:   what it is to be called
 *
 * Context: may sleep; @session->lock is held for writing.
 * Return: 0, or
 *
 * * -%EEXIST - @token is in use in @session
 * * -%ENOENT - no handler accepts @file
 * * -%EBUSY  - what @file stands for is preserved already
 * * -%ENOMEM - not enough memory
 * * another error of the handler; in any case nothing has changed then
 */
int luo_file_preserve(struct luo_session *session, struct file *file,
		      u64 token)
{
	struct liveupdate_file_handler *fh;
	struct luo_file *f;
	int err;

	lockdep_assert_held_write(&session->lock);

	if (xa_load(&session->tokens, token))
		return -EEXIST;

	fh = luo_handler_for_file(file);
	if (!fh)
		return -ENOENT;

	f = luo_file_alloc(session, token);
	if (!f) {
		luo_handler_put(fh);
		return -ENOMEM;
	}
	f->fh = fh;
	f->file = get_file(file);
	f->holder = task_tgid_nr(current);
	memcpy(f->compatible, fh->compatible, sizeof(f->compatible));

	err = luo_file_add(f);
	if (err)
		luo_file_free(f);
	return err;
}

/**
 * luo_files_unpreserve - drop all files of an outgoing session, last one first
 * @session: the session, as in luo_file_preserve()
 *
 * Context: may sleep; @session->lock is held for writing.
 */
void luo_files_unpreserve(struct luo_session *session)
{
	struct luo_file *f, *n;

	lockdep_assert_held_write(&session->lock);

	list_for_each_entry_safe_reverse(f, n, &session->files, list) {
		luo_file_do_unpreserve(f);
		luo_file_unlink(f);
		luo_file_free(f);
	}
}

/**
 * luo_file_add_incoming - note a file that the previous kernel left
 * @session:    the session it was in, not yet visible to anybody
 * @compatible: name of its layout, ends in a NUL
 * @data:       its handler's data
 * @token:      its token
 *
 * Context: may sleep.
 * Return: 0, -%EEXIST when @token was there before, or -%ENOMEM.
 */
int luo_file_add_incoming(struct luo_session *session, const char *compatible,
			  u64 data, u64 token)
{
	struct luo_file *f = luo_file_alloc(session, token);
	int err;

	if (!f)
		return -ENOMEM;
	f->in.data = data;
	strscpy_pad(f->compatible, compatible);

	err = luo_file_claim_token(f);
	if (err) {
		luo_file_free(f);
		return err;
	}
	luo_file_link(f);
	return 0;
}

/**
 * luo_file_spoil - what was noted of a file cannot be relied on
 * @session: the session it is in, not yet visible to anybody
 * @token:   its token, known by luo_file_add_incoming()
 *
 * Retrieving it fails with -%EBADMSG. FINISH ends it without a handler, and
 * leaves its memory as it is.
 */
void luo_file_spoil(struct luo_session *session, u64 token)
{
	struct luo_file *f = xa_load(&session->tokens, token);

	if (!WARN_ON_ONCE(!f))
		f->status = -EBADMSG;
}

/* No handler has had to do with it, and none will. */
static bool luo_file_is_spoilt(const struct luo_file *f)
{
	return f->status < 0 && !f->fh;
}

/**
 * luo_files_forget - drop what is known of a session that cannot be read in
 * @session: the session; none of its files has been retrieved
 *
 * The memory behind the files stays as it is.
 *
 * Context: may sleep; nobody else knows @session.
 */
void luo_files_forget(struct luo_session *session)
{
	struct luo_file *f, *n;

	list_for_each_entry_safe(f, n, &session->files, list) {
		luo_file_unlink(f);
		luo_file_free(f);
	}
}

/* The handler of a file that comes in, unless it is there already. */
static int luo_file_bind(struct luo_file *f)
{
	static DEFINE_RATELIMIT_STATE(ratelimit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);

	if (f->fh)
		return 0;

	f->fh = luo_handler_by_name(f->compatible);
	if (f->fh)
		return 0;

	if (__ratelimit(&ratelimit))
		luo_file_err(f, "no handler, load its module");
	return -EOPNOTSUPP;
}

/* A file that waits needs no handler; others keep theirs until FINISH. */
static void luo_file_unbind_idle(struct luo_file *f)
{
	if (f->status || !f->fh)
		return;
	luo_handler_put(f->fh);
	f->fh = NULL;
}

static int luo_file_do_retrieve(struct luo_file *f)
{
	struct liveupdate_file_op_args args;
	u64 start;
	int err;

	err = luo_file_bind(f);
	if (err)
		return err;

	args = luo_file_op_args(f, &f->in);
	start = luo_trace_start(liveupdate_file_retrieve);
	err = f->fh->ops->retrieve(&args);
	trace_liveupdate_file_retrieve(f, start, err);
	if (luo_is_transient(err)) {
		luo_file_unbind_idle(f);
		return err;
	}

	if (WARN_ON_ONCE(err > 0 || (!err && !args.file)))
		err = -EIO;
	f->in.private_data = args.private_data;
	if (err) {
		f->status = err;
		luo_file_err(f, "cannot be retrieved: %pe", ERR_PTR(err));
		return err;
	}

	f->file = args.file;
	f->status = 1;
	return 0;
}

static struct file *luo_file_get_retrieved(struct luo_file *f)
{
	int err;

	lockdep_assert_held(&f->lock);

	if (f->status < 0)
		return ERR_PTR(f->status);

	if (!f->file) {
		err = luo_file_do_retrieve(f);
		if (err)
			return ERR_PTR(err);
	}

	/*
	 * Nobody gets the file before it is among the preserved objects. This
	 * can fail for want of memory, the file is then kept for a retry.
	 */
	if (!f->listed) {
		err = luo_object_add(f, f->file);
		if (err)
			return ERR_PTR(err);
	}

	WRITE_ONCE(f->holder, task_tgid_nr(current));
	return get_file(f->file);
}

/**
 * luo_file_retrieve - get a file that the previous kernel left
 * @session: an incoming session
 * @token:   the file's token
 *
 * The first success makes the file, later ones give the same file.
 *
 * Context: may sleep; @session->lock is held for reading, the file's lock is
 *	    taken, so that files of a session can be retrieved in parallel.
 * Return: the file with a reference for the caller, or
 *
 * * -%ENOENT     - unknown token
 * * -%EOPNOTSUPP - no handler yet
 * * -%ENOMEM, -%EINTR, -%EAGAIN - try again
 * * another error of the handler, which every later attempt gives again
 */
struct file *luo_file_retrieve(struct luo_session *session, u64 token)
{
	struct luo_file *f;

	lockdep_assert_held_read(&session->lock);

	f = xa_load(&session->tokens, token);
	if (!f)
		return ERR_PTR(-ENOENT);

	scoped_cond_guard(mutex_kill, return ERR_PTR(-EINTR), &f->lock)
		return luo_file_get_retrieved(f);
}

static int luo_file_can_finish(struct luo_file *f)
{
	struct liveupdate_file_op_args args;
	int err;

	if (luo_file_is_spoilt(f))
		return 0;

	err = luo_file_bind(f);
	if (!err)
		err = luo_flbs_can_finish(f->fh);
	if (err || !f->fh->ops->can_finish)
		return err;

	args = luo_file_op_args(f, &f->in);
	return f->fh->ops->can_finish(&args) ? 0 : -EBUSY;
}

static int luo_files_can_finish(struct luo_session *session)
{
	struct luo_file *f;
	int err = 0;

	list_for_each_entry(f, &session->files, list) {
		err = luo_file_can_finish(f);
		if (err)
			break;
	}

	if (err) {
		list_for_each_entry(f, &session->files, list)
			luo_file_unbind_idle(f);
	}
	return err;
}

/**
 * luo_files_finish - end the life of an incoming session's files
 * @session: the session
 *
 * Context: may sleep; @session->lock is held for writing.
 * Return: 0 and @session is empty, or nothing has changed:
 *
 * * -%EBUSY      - a handler says that a file is not ready
 * * -%EOPNOTSUPP - a file that nobody retrieved has no handler
 * * -%ENOMEM, -%EINTR, -%EAGAIN - an FLB could not be retrieved, try again
 */
int luo_files_finish(struct luo_session *session)
{
	struct luo_file *f, *n;
	int err;

	lockdep_assert_held_write(&session->lock);

	err = luo_files_can_finish(session);
	if (err)
		return err;

	list_for_each_entry_safe(f, n, &session->files, list) {
		u64 start = luo_trace_start(liveupdate_file_finish);
		struct liveupdate_file_op_args args;

		if (luo_file_is_spoilt(f)) {
			luo_file_unlink(f);
			luo_file_free(f);
			continue;
		}
		args = luo_file_op_args(f, &f->in);
		f->fh->ops->finish(&args);
		trace_liveupdate_file_finish(f, start, 0);
		luo_flbs_finish(f->fh);
		luo_file_unlink(f);
		luo_file_free(f);
	}
	return 0;
}

/**
 * luo_files_preserve_again - preserve an incoming session's retrieved files
 * @session: the session
 *
 * Context: may sleep and allocate; &luo_gate is held for writing.
 * Return: 0 or a handler's error; some files may be preserved then.
 */
int luo_files_preserve_again(struct luo_session *session)
{
	struct luo_file *f;
	int err;

	lockdep_assert_held_write(&luo_gate);

	list_for_each_entry(f, &session->files, list) {
		if (f->status && f->fh)
			luo_flbs_take(f->fh);
		if (!f->file)
			continue;
		err = luo_file_do_preserve(f);
		if (err) {
			luo_file_err(f,
				     "cannot be preserved again: %pe; the reboot is off, finish the session and retry",
				     ERR_PTR(err));
			return err;
		}
	}
	return 0;
}

/**
 * luo_files_unpreserve_again - undo luo_files_preserve_again(), whole or part
 * @session: the session
 *
 * Context: may sleep; &luo_gate is held for writing.
 */
void luo_files_unpreserve_again(struct luo_session *session)
{
	struct luo_file *f;

	lockdep_assert_held_write(&luo_gate);

	list_for_each_entry_reverse(f, &session->files, list) {
		if (f->preserved)
			luo_file_do_unpreserve(f);
	}
}

static int luo_file_freeze(struct luo_file *f)
{
	u64 start = luo_trace_start(liveupdate_file_freeze);
	struct liveupdate_file_op_args args;
	int err;

	if (f->fh->ops->freeze) {
		args = luo_file_op_args(f, &f->out);
		err = f->fh->ops->freeze(&args);
		trace_liveupdate_file_freeze(f, start, err);
		if (err)
			return err;
		f->out.data = args.serialized_data;
		f->out.private_data = args.private_data;
	}
	f->frozen = true;
	return 0;
}

/**
 * luo_files_freeze - freeze what a session preserves, first file first
 * @session: the session
 *
 * Context: may sleep, allocates nothing itself; &luo_gate is held for writing.
 * Return: 0 or a handler's error; some files may be frozen then.
 */
int luo_files_freeze(struct luo_session *session)
{
	struct luo_file *f;
	int err;

	lockdep_assert_held_write(&luo_gate);

	list_for_each_entry(f, &session->files, list) {
		if (f->status < 0)
			luo_file_err(f,
				     "stays behind, it could not be retrieved: %pe",
				     ERR_PTR(f->status));
		if (!f->preserved)
			continue;
		err = luo_file_freeze(f);
		if (err) {
			luo_file_err(f,
				     "cannot be frozen: %pe; the reboot is off",
				     ERR_PTR(err));
			return err;
		}
	}
	return 0;
}

/**
 * luo_files_unfreeze - undo luo_files_freeze(), whole or part, last file first
 * @session: the session
 *
 * Context: may sleep; &luo_gate is held for writing.
 */
void luo_files_unfreeze(struct luo_session *session)
{
	struct liveupdate_file_op_args args;
	struct luo_file *f;

	lockdep_assert_held_write(&luo_gate);

	list_for_each_entry_reverse(f, &session->files, list) {
		u64 start = luo_trace_start(liveupdate_file_unfreeze);

		if (!f->frozen)
			continue;
		if (f->fh->ops->unfreeze) {
			args = luo_file_op_args(f, &f->out);
			f->fh->ops->unfreeze(&args);
			trace_liveupdate_file_unfreeze(f, start, 0);
		}
		f->frozen = false;
	}
}

/**
 * luo_file_is_carried - what the next kernel gets of a file
 * @f:    the file, frozen if it has to be
 * @data: set to its handler's data
 *
 * Context: &luo_gate is held for writing.
 * Return: false if the file stays behind.
 */
bool luo_file_is_carried(const struct luo_file *f, u64 *data)
{
	lockdep_assert_held_write(&luo_gate);

	*data = f->preserved ? f->out.data : f->in.data;
	return f->status >= 0;
}
