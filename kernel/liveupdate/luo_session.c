// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: sessions.
 */

/**
 * DOC: Sessions
 *
 * A session is a named set of files and has one descriptor::
 *
 *	CREATE_SESSION -> empty -> outgoing -- close --> gone
 *			    ^         ^
 *			 FINISH   PRESERVE_FD on a finished one
 *			    |
 *	previous kernel -> incoming <-- RETRIEVE_SESSION / close --> held
 *
 * An outgoing session lives by its descriptor. An incoming one does not:
 * whoever holds it may die, and the next one finds it with all its files; only
 * FINISH ends it. Then it is empty, and nothing but its descriptor is left.
 *
 * The last reference to a descriptor can be dropped anywhere, on the system
 * workqueue for example, which drivers flush while they shut down. So closing
 * never waits for the reboot, nor for the handlers in a task that is not the
 * owner's: the session is put on a list of closed ones then.
 *
 * A session on that list is over for its owner. The reboot empties it before it
 * freezes anything, and again if it fails, before it lets requests in: so the
 * session is not handed over, and its name is free for the next request. In
 * other cases a work item of ours does it soon.
 */

#define pr_fmt(fmt) "liveupdate: " fmt

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include <trace/events/liveupdate.h>

#include "luo_internal.h"

static atomic64_t luo_last_id;

/* Closed sessions, which nobody but this list knows to be. */
static LLIST_HEAD(luo_closed);
/* Held while they are closed. */
static DEFINE_MUTEX(luo_reap_lock);

static void luo_close_work_fn(struct work_struct *work);
static DECLARE_WORK(luo_close_work, luo_close_work_fn);
static struct workqueue_struct *luo_close_wq;

/**
 * luo_session_init - set up what all sessions share
 *
 * Return: 0 or -%ENOMEM.
 */
int __init luo_session_init(void)
{
	luo_close_wq = alloc_ordered_workqueue("luo_close", 0);
	if (!luo_close_wq)
		return -ENOMEM;

	return luo_session_table_init();
}

/**
 * luo_session_err - say what is wrong with a session
 * @session: the session; its name may hold any byte but NUL, and is escaped
 * @fmt:     the rest, without a newline
 */
void luo_session_err(const struct luo_session *session, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	struct luo_escaped name;
	va_list args;

	luo_escape_name(&name, session->name, sizeof(session->name));
	va_start(args, fmt);
	vaf.va = &args;
	pr_err("session \"%s\": %pV\n", name.s, &vaf);
	va_end(args);
}

/**
 * luo_session_alloc - make an empty session
 * @name: its name, not empty; ends within LIVEUPDATE_SESSION_NAME_LENGTH bytes
 *
 * Return: the session, for luo_session_free() if nothing comes of it, or
 * %NULL.
 */
struct luo_session *luo_session_alloc(const char *name)
{
	struct luo_session *session;

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return NULL;

	strscpy_pad(session->name, name);
	session->id = atomic64_inc_return(&luo_last_id);
	refcount_set(&session->refs, 1);
	session->kind = LUO_SESSION_EMPTY;
	init_rwsem(&session->lock);
	xa_init_flags(&session->tokens, XA_FLAGS_ACCOUNT);
	INIT_LIST_HEAD(&session->files);
	INIT_LIST_HEAD(&session->list);
	luo_wire_init_room(session);
	return session;
}

/**
 * luo_session_put - look at a session no longer
 * @session: session from luo_session_get_from()
 *
 * Context: may sleep.
 */
void luo_session_put(struct luo_session *session)
{
	if (!refcount_dec_and_test(&session->refs))
		return;
	WARN_ON_ONCE(session->nr_files);
	kho_chain_destroy(&session->room);
	xa_destroy(&session->tokens);
	kfree(session);
}

/**
 * luo_session_free - free an empty session once nobody looks at it
 * @session: in no table, without files
 */
void luo_session_free(struct luo_session *session)
{
	luo_session_put(session);
}

/* The descriptor is gone: no request on @session is under way or will come. */
static void luo_session_close(struct luo_session *session)
{
	lockdep_assert_held(&luo_gate);

	if (session->kind == LUO_SESSION_INCOMING) {
		luo_session_let_go(session);
		return;
	}

	/* The name is the last to go: who gets it can preserve the files. */
	if (session->kind == LUO_SESSION_OUTGOING) {
		scoped_guard(rwsem_write, &session->lock) {
			luo_files_unpreserve(session);
			luo_session_unlink(session);
		}
	}
	luo_session_free(session);
}

static void luo_sessions_do_reap(void)
{
	struct luo_session *session, *n;
	struct llist_node *closed;

	lockdep_assert_held(&luo_reap_lock);

	closed = llist_reverse_order(llist_del_all(&luo_closed));
	llist_for_each_entry_safe(session, n, closed, closed)
		luo_session_close(session);
}

/**
 * luo_sessions_reap - do what is left to do for closed sessions
 *
 * When this returns, no session on the list of closed ones is half closed.
 *
 * Context: may sleep; &luo_gate is held.
 */
void luo_sessions_reap(void)
{
	lockdep_assert_held(&luo_gate);
	guard(mutex)(&luo_reap_lock);
	luo_sessions_do_reap();
}

/**
 * luo_sessions_reap_killable - luo_sessions_reap(), for requests
 *
 * Every request begins with it: a session that could not be closed at once,
 * because a reboot waits for the gate, must not be met by who comes in before
 * the reboot after all. Usually there is none, and nothing to wait for.
 *
 * Context: may sleep; &luo_gate is held.
 * Return: 0, or -%EINTR when killed while somebody else closes sessions.
 */
int luo_sessions_reap_killable(void)
{
	bool empty = llist_empty(&luo_closed);

	lockdep_assert_held(&luo_gate);

	/* Whoever empties the list has the lock before, until all is done. */
	smp_rmb();
	if (empty && !mutex_is_locked(&luo_reap_lock))
		return 0;
	scoped_cond_guard(mutex_kill, return -EINTR, &luo_reap_lock)
		luo_sessions_do_reap();
	return 0;
}

static void luo_close_work_fn(struct work_struct *work)
{
	guard(rwsem_read)(&luo_gate);
	luo_sessions_reap();
}

/* True if it could be done here and now. */
static bool luo_session_try_close(struct luo_session *session)
{
	if (current->flags & PF_KTHREAD)
		return false;
	scoped_cond_guard(rwsem_read_try, return false, &luo_gate)
		luo_session_close(session);
	return true;
}

static int luo_session_release(struct inode *inode, struct file *file)
{
	struct luo_session *session = file->private_data;

	if (luo_session_try_close(session))
		return 0;

	llist_add(&session->closed, &luo_closed);
	queue_work(luo_close_wq, &luo_close_work);
	return 0;
}

/**
 * luo_session_state_name - what a session is, in a word
 * @session: the session, of whichever kind
 *
 * Context: any; what it says can be over at once.
 * Return: "empty", "outgoing", "incoming" or "damaged".
 */
const char *luo_session_state_name(const struct luo_session *session)
{
	static const char * const names[LUO_NR_SESSION_KINDS] = {
		[LUO_SESSION_EMPTY] = "empty",
		[LUO_SESSION_OUTGOING] = "outgoing",
		[LUO_SESSION_INCOMING] = "incoming",
	};

	return session->damaged ? "damaged" : names[READ_ONCE(session->kind)];
}

static void luo_session_show_fdinfo(struct seq_file *m, struct file *file)
{
	const struct luo_session *session = file->private_data;

	seq_printf(m, "session-id:\t%llu\nsession-name:\t", session->id);
	luo_seq_name(m, session->name);
	seq_printf(m, "\nsession-state:\t%s\nsession-files:\t%lu\n",
		   luo_session_state_name(session),
		   READ_ONCE(session->nr_files));
}

static const struct file_operations luo_session_fops = {
	.owner = THIS_MODULE,
	.release = luo_session_release,
	.show_fdinfo = luo_session_show_fdinfo,
	.unlocked_ioctl = luo_session_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* From a success on, the session is closed by the file's last reference. */
static struct file *luo_session_getfile(struct luo_session *session)
{
	char name[sizeof("[luo_session] ") + LIVEUPDATE_SESSION_NAME_LENGTH];

	snprintf(name, sizeof(name), "[luo_session] %s", session->name);
	return anon_inode_getfile(name, &luo_session_fops, session, O_RDWR);
}

/**
 * luo_session_create - make an outgoing session
 * @name: its name, valid for luo_session_alloc()
 *
 * Context: may sleep; &luo_gate is held for reading.
 * Return: a file whose last reference closes the session, or -%EEXIST for a
 * name that is in use, -%ENOMEM, -%ENFILE.
 */
struct file *luo_session_create(const char *name)
{
	struct luo_session *session;
	struct file *file;
	int err;

	lockdep_assert_held_read(&luo_gate);

	session = luo_session_alloc(name);
	if (!session)
		return ERR_PTR(-ENOMEM);

	file = luo_session_getfile(session);
	if (IS_ERR(file)) {
		luo_session_free(session);
		return file;
	}

	err = luo_session_link(session, LUO_SESSION_OUTGOING);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	return file;
}

static struct file *luo_session_open_incoming(struct luo_session *session)
{
	struct file *file = luo_session_getfile(session);

	if (IS_ERR(file))
		luo_session_let_go(session);
	return file;
}

/**
 * luo_session_retrieve - take a session over from the previous kernel
 * @name: its name, valid for luo_session_alloc()
 *
 * Context: may sleep; &luo_gate is held for reading.
 * Return: a file whose last reference gives the session back, or -%ENOENT for
 * an unknown name, -%EBADMSG for a damaged session, -%EINVAL while somebody
 * holds it, -%ENOMEM, -%ENFILE.
 */
struct file *luo_session_retrieve(const char *name)
{
	struct luo_session *session;

	lockdep_assert_held_read(&luo_gate);

	session = luo_session_grab(name);
	if (session == ERR_PTR(-EBUSY))
		return ERR_PTR(-EINVAL);
	if (IS_ERR(session))
		return ERR_CAST(session);
	return luo_session_open_incoming(session);
}

/**
 * luo_session_retrieve_id - as luo_session_retrieve(), also an older session
 * @id: its id in this kernel
 *
 * Context: may sleep; &luo_gate is held for reading.
 * Return: a file whose last reference gives the session back, or -%ENOENT for
 * an unknown id, -%EINVAL for an outgoing session, -%EBADMSG for a damaged one,
 * -%EBUSY while somebody holds it, -%ENOMEM, -%ENFILE.
 */
struct file *luo_session_retrieve_id(u64 id)
{
	struct luo_session *session;

	lockdep_assert_held_read(&luo_gate);

	session = luo_session_grab_id(id);
	if (IS_ERR(session))
		return ERR_CAST(session);
	if (session->damaged) {
		luo_session_let_go(session);
		return ERR_PTR(-EBADMSG);
	}
	return luo_session_open_incoming(session);
}

/*
 * The first file of a session that was finished: it may have its name back,
 * and bears it only once nothing can fail any more.
 */
static int luo_session_preserve_first(struct luo_session *session,
				      struct file *file, u64 token)
{
	int err;

	/* Only to be cheap: what counts is whether it can be linked. */
	if (luo_session_name_is_taken(session))
		return -ENOTUNIQ;

	err = luo_file_preserve(session, file, token);
	if (err)
		return err;

	err = luo_session_link(session, LUO_SESSION_OUTGOING);
	if (err) {
		luo_files_unpreserve(session);
		luo_wire_reserve_files(session, 0);
	}
	return err == -EEXIST ? -ENOTUNIQ : err;
}

/**
 * luo_session_preserve_fd - add the caller's file to a session
 * @session: outgoing, or empty: it is made outgoing then
 * @fd:      descriptor of the file
 * @token:   what the file is to be called
 *
 * Context: process context, may sleep; &luo_gate is held for reading.
 * Return: 0, or
 *
 * * -%EINVAL   - the session is incoming
 * * -%EBADF    - @fd is not open
 * * -%EINTR    - killed while waiting for another request
 * * -%ENOTUNIQ - a new session took the name of this finished one
 * * an error of luo_file_preserve(); in any case nothing has changed
 */
int luo_session_preserve_fd(struct luo_session *session, int fd, u64 token)
{
	lockdep_assert_held_read(&luo_gate);

	scoped_cond_guard(rwsem_write_kill, return -EINTR, &session->lock) {
		if (session->kind == LUO_SESSION_INCOMING)
			return -EINVAL;

		struct file *file __free(fput) = fget(fd);

		if (!file)
			return -EBADF;
		if (session->kind == LUO_SESSION_EMPTY)
			return luo_session_preserve_first(session, file, token);
		return luo_file_preserve(session, file, token);
	}
}

/**
 * luo_session_retrieve_fd - get a file of an incoming session
 * @session: the session
 * @token:   the file's token
 *
 * Context: may sleep; &luo_gate is held for reading.
 * Return: the file with a reference, -%EINVAL for an outgoing session, -%EINTR
 * when killed while waiting, or an error of luo_file_retrieve(); a finished
 * session knows no token any more.
 */
struct file *luo_session_retrieve_fd(struct luo_session *session, u64 token)
{
	lockdep_assert_held_read(&luo_gate);

	scoped_cond_guard(rwsem_read_kill, return ERR_PTR(-EINTR),
			  &session->lock) {
		if (session->kind == LUO_SESSION_OUTGOING)
			return ERR_PTR(-EINVAL);
		return luo_file_retrieve(session, token);
	}
}

static int luo_session_end(struct luo_session *session)
{
	u64 start = luo_trace_start(liveupdate_session_finish);
	int err;

	err = luo_files_finish(session);
	trace_liveupdate_session_finish(session, start, err);
	if (err)
		return err;

	luo_wire_reserve_files(session, 0);
	/* No more of them come: all have been read in before the first request. */
	if (luo_session_unlink(session))
		luo_flbs_finish_rest();
	return 0;
}

/**
 * luo_session_discard - end an incoming session that nobody holds
 * @id: its id in this kernel
 *
 * Context: may sleep; &luo_gate is held for reading.
 * Return: 0 and the session is gone, or nothing has changed:
 *
 * * -%ENOENT - there is no such session
 * * -%EINVAL - it is an outgoing one
 * * -%EBUSY  - somebody holds it
 * * an error of luo_files_finish()
 */
int luo_session_discard(u64 id)
{
	struct luo_session *session;
	int err;

	lockdep_assert_held_read(&luo_gate);

	session = luo_session_grab_id(id);
	if (IS_ERR(session))
		return PTR_ERR(session);

	scoped_guard(rwsem_write, &session->lock)
		err = luo_session_end(session);
	if (err)
		luo_session_let_go(session);
	else
		luo_session_free(session);
	return err;
}

static int luo_session_do_finish(struct luo_session *session)
{
	if (session->kind == LUO_SESSION_OUTGOING)
		return -EINVAL;
	if (session->kind == LUO_SESSION_EMPTY)
		return 0;
	return luo_session_end(session);
}

/**
 * luo_session_finish - end an incoming session
 * @session: the session; a finished one is as finished as before
 *
 * Context: may sleep; &luo_gate is held for reading.
 * Return: 0 and the session is empty, -%EINVAL for an outgoing session, -%EINTR
 * when killed while waiting, or an error of luo_files_finish(); nothing has
 * changed then.
 */
int luo_session_finish(struct luo_session *session)
{
	lockdep_assert_held_read(&luo_gate);

	scoped_cond_guard(rwsem_write_kill, return -EINTR, &session->lock)
		return luo_session_do_finish(session);
}

/**
 * luo_session_add_incoming - take in a session that the previous kernel left
 * @session: with all its files; sessions come with the newest first
 *
 * The room for handing it on is taken here, so that it rides along with the
 * next reboot without another allocation.
 *
 * Return: 0 or -%ENOMEM; @session is the caller's still then.
 */
int luo_session_add_incoming(struct luo_session *session)
{
	int err;

	err = luo_wire_reserve_files(session, session->nr_files);
	if (err)
		return err;
	return luo_session_link(session, LUO_SESSION_INCOMING);
}

/**
 * luo_sessions_free_lists - free the lists of files that sessions came with
 *
 * A damaged list can have its pages where another one has them: this is for
 * when all have been read, and were good.
 */
void luo_sessions_free_lists(void)
{
	struct luo_session *session;

	list_for_each_entry(session, luo_session_list(LUO_SESSION_INCOMING),
			    list) {
		kho_chain_restore_free(session->came_in,
				       sizeof(struct luo_file_ser));
		session->came_in = 0;
	}
}
