// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: which sessions there are.
 */

/**
 * DOC: Names and ids
 *
 * Names are unique among outgoing sessions. Among incoming ones the newest of
 * a name bears it; there can be older ones, since a session that nobody
 * finished comes along with every update, beside a new one of its name. An
 * older one never gets the name back, not in a later kernel either: whoever
 * asks for the name means the newer one, also after that was finished.
 *
 * Every outgoing and incoming session has an id in this kernel, by which older
 * ones are reached, too. It is never used again.
 */

#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/rhashtable.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "luo_internal.h"

static const struct rhashtable_params luo_name_params = {
	.key_len = LIVEUPDATE_SESSION_NAME_LENGTH,
	.key_offset = offsetof(struct luo_session, name),
	.head_offset = offsetof(struct luo_session, name_node),
	.automatic_shrinking = true,
};

/*
 * By kind, those of empty sessions are not used. Changes need
 * luo_sessions_lock; the reboot holds &luo_gate instead.
 */
static struct list_head luo_lists[LUO_NR_SESSION_KINDS];
static struct rhashtable luo_names[LUO_NR_SESSION_KINDS];

/* Of both kinds: so many have to be written down. */
static unsigned long luo_nr_sessions;

/* The sessions of both kinds by their ids. */
static DEFINE_XARRAY_FLAGS(luo_sessions_by_id, XA_FLAGS_ACCOUNT);

static DEFINE_MUTEX(luo_sessions_lock);

/**
 * luo_session_table_init - there are no sessions
 *
 * Return: 0 or -%ENOMEM.
 */
int __init luo_session_table_init(void)
{
	enum luo_session_kind kind;
	int err;

	for (kind = LUO_SESSION_OUTGOING; kind < LUO_NR_SESSION_KINDS; kind++) {
		INIT_LIST_HEAD(&luo_lists[kind]);
		err = rhashtable_init(&luo_names[kind], &luo_name_params);
		if (err)
			return err;
	}
	return 0;
}

/**
 * luo_session_list - the sessions of a kind
 * @kind: outgoing or incoming
 *
 * Context: &luo_gate is held for writing, or sessions are being read in.
 * Return: the list, in the order in which they became of this kind.
 */
struct list_head *luo_session_list(enum luo_session_kind kind)
{
	return &luo_lists[kind];
}

/**
 * luo_nr_all_sessions - how many sessions there are of both kinds
 *
 * Context: &luo_gate is held for writing.
 * Return: the number.
 */
unsigned long luo_nr_all_sessions(void)
{
	lockdep_assert_held_write(&luo_gate);
	return luo_nr_sessions;
}

static void luo_session_set_holder(struct luo_session *session)
{
	lockdep_assert_held(&luo_sessions_lock);
	session->holder.pid = task_tgid_nr(current);
	get_task_comm(session->holder.comm, current->group_leader);
}

/* Whether a newer session bears the name, or bore it until it was finished. */
static int luo_session_take_name(struct luo_session *session,
				 enum luo_session_kind kind)
{
	int err;

	lockdep_assert_held(&luo_sessions_lock);

	if (session->nameless)
		return 0;
	err = luo_table_insert(&luo_names[kind], &session->name_node,
			       &luo_name_params);
	session->named = !err;
	return err == -EEXIST && kind == LUO_SESSION_INCOMING ? 0 : err;
}

/**
 * luo_session_link - make an empty session one that is known
 * @session: the session
 * @kind:    outgoing, or incoming: sessions are read in with the newest first,
 *           and one whose name is taken comes without it
 *
 * Context: may sleep; @session->lock is held for writing, or nobody else knows
 *	    @session; takes the table lock.
 * Return: 0, or -%EEXIST if an outgoing session has the name, or -%ENOMEM;
 * nothing has changed then.
 */
int luo_session_link(struct luo_session *session, enum luo_session_kind kind)
{
	int err;

	guard(mutex)(&luo_sessions_lock);

	err = luo_wire_reserve_sessions(luo_nr_sessions + 1);
	if (err)
		return err;

	err = xa_insert(&luo_sessions_by_id, session->id, session,
			GFP_KERNEL_ACCOUNT);
	if (err) {
		luo_wire_reserve_sessions(luo_nr_sessions);
		return err;
	}

	err = luo_session_take_name(session, kind);
	if (err) {
		xa_erase(&luo_sessions_by_id, session->id);
		luo_wire_reserve_sessions(luo_nr_sessions);
		return err;
	}

	session->kind = kind;
	list_add_tail(&session->list, &luo_lists[kind]);
	luo_nr_sessions++;
	kho_hold();
	luo_monitor_sessions(kind, 1);
	luo_monitor_files(kind, session->nr_files);
	if (kind == LUO_SESSION_OUTGOING)
		luo_session_set_holder(session);
	return 0;
}

/**
 * luo_session_unlink - make a session without files an empty one
 * @session: the session; its name is free afterwards
 *
 * Context: may sleep; @session->lock is held for writing; takes the table lock.
 * Return: true if it was the last one of its kind.
 */
bool luo_session_unlink(struct luo_session *session)
{
	bool last;

	lockdep_assert_held_write(&session->lock);
	guard(mutex)(&luo_sessions_lock);

	if (session->named)
		rhashtable_remove_fast(&luo_names[session->kind],
				       &session->name_node, luo_name_params);
	list_del_init(&session->list);
	last = list_empty(&luo_lists[session->kind]);
	xa_erase(&luo_sessions_by_id, session->id);
	luo_monitor_sessions(session->kind, -1);
	session->named = false;
	session->nameless = false;
	session->held = false;
	session->kind = LUO_SESSION_EMPTY;
	luo_nr_sessions--;
	luo_wire_reserve_sessions(luo_nr_sessions);
	kho_release();
	return last;
}

/**
 * luo_session_let_go - an incoming session has no holder any more
 * @session: the session
 *
 * Context: may sleep; takes the table lock.
 */
void luo_session_let_go(struct luo_session *session)
{
	guard(mutex)(&luo_sessions_lock);
	session->held = false;
}

/* Fails with -EBUSY if @session has a holder already. */
static struct luo_session *luo_session_hold(struct luo_session *session)
{
	lockdep_assert_held(&luo_sessions_lock);

	if (session->held)
		return ERR_PTR(-EBUSY);
	session->held = true;
	luo_session_set_holder(session);
	return session;
}

/**
 * luo_session_grab_id - take an incoming session that nobody holds
 * @id: its id in this kernel
 *
 * Context: may sleep; takes the table lock.
 * Return: the session for luo_session_let_go(), or -%ENOENT for an unknown id,
 * -%EINVAL for an outgoing session, -%EBUSY while somebody holds it.
 */
struct luo_session *luo_session_grab_id(u64 id)
{
	struct luo_session *session;

	guard(mutex)(&luo_sessions_lock);
	session = xa_load(&luo_sessions_by_id, id);
	if (!session)
		return ERR_PTR(-ENOENT);
	if (session->kind == LUO_SESSION_OUTGOING)
		return ERR_PTR(-EINVAL);
	return luo_session_hold(session);
}

/**
 * luo_session_grab - take an incoming session that nobody holds, by its name
 * @name: its name, valid for luo_session_alloc()
 *
 * Context: may sleep; takes the table lock.
 * Return: the session for luo_session_let_go(), or -%ENOENT for an unknown
 * name, -%EBADMSG for a damaged session, -%EBUSY while somebody holds it.
 */
struct luo_session *luo_session_grab(const char *name)
{
	char key[LIVEUPDATE_SESSION_NAME_LENGTH];
	struct luo_session *session;

	strscpy_pad(key, name);

	guard(mutex)(&luo_sessions_lock);
	session = rhashtable_lookup_fast(&luo_names[LUO_SESSION_INCOMING], key,
					 luo_name_params);
	if (session && session->damaged)
		return ERR_PTR(-EBADMSG);
	return session ? luo_session_hold(session) : ERR_PTR(-ENOENT);
}

/**
 * luo_session_get_from - find the session with the lowest id
 * @id: of those with this id or a higher one
 *
 * Context: may sleep; takes the table lock.
 * Return: the session for luo_session_put(), or %NULL. It can be finished
 * or closed in the meantime, and has no files then.
 */
struct luo_session *luo_session_get_from(u64 id)
{
	struct luo_session *session;
	unsigned long index = id;

	guard(mutex)(&luo_sessions_lock);
	session = xa_find(&luo_sessions_by_id, &index, ULONG_MAX, XA_PRESENT);
	if (session)
		refcount_inc(&session->refs);
	return session;
}

/**
 * luo_session_holder - who holds a session
 * @session: the session
 * @holder:  set to who it is
 *
 * Context: may sleep; takes the table lock.
 * Return: false if nobody holds it.
 */
bool luo_session_holder(const struct luo_session *session,
			struct luo_holder *holder)
{
	guard(mutex)(&luo_sessions_lock);
	*holder = session->holder;
	return session->kind == LUO_SESSION_OUTGOING || session->held;
}

/**
 * luo_session_next - the next session of a list of all
 * @args: its id says behind which one; filled in on success
 *
 * Context: may sleep; takes the table lock.
 * Return: 0, or -%ENOENT if there are no more.
 */
int luo_session_next(struct liveupdate_ioctl_next_session *args)
{
	unsigned long index = args->id;
	struct luo_session *session;

	guard(mutex)(&luo_sessions_lock);
	session = xa_find_after(&luo_sessions_by_id, &index, ULONG_MAX,
				XA_PRESENT);
	if (!session)
		return -ENOENT;

	args->id = session->id;
	args->files = READ_ONCE(session->nr_files);
	args->flags = session->named ? LIVEUPDATE_SESSION_BY_NAME : 0;
	if (session->damaged)
		args->flags |= LIVEUPDATE_SESSION_DAMAGED;
	memcpy(args->name, session->name, sizeof(args->name));
	if (session->kind == LUO_SESSION_OUTGOING)
		args->state = LIVEUPDATE_SESSION_STATE_OUTGOING;
	else if (session->held)
		args->state = LIVEUPDATE_SESSION_STATE_HELD;
	else
		args->state = LIVEUPDATE_SESSION_STATE_INCOMING;
	return 0;
}

/**
 * luo_session_name_is_taken - whether an outgoing session has the name
 * @session: the session whose name it is
 *
 * Context: may sleep; takes the table lock. What it says can be over at once.
 * Return: true if it has.
 */
bool luo_session_name_is_taken(const struct luo_session *session)
{
	guard(mutex)(&luo_sessions_lock);
	return rhashtable_lookup_fast(&luo_names[LUO_SESSION_OUTGOING],
				      session->name, luo_name_params);
}
