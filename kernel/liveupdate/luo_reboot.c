// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: what the reboot does with all sessions.
 */

#define pr_fmt(fmt) "liveupdate: " fmt

#include <linux/list.h>
#include <linux/printk.h>

#include <trace/events/liveupdate.h>

#include "luo_internal.h"

#define luo_for_each(session, kind)					\
	list_for_each_entry(session,					\
			    luo_session_list(LUO_SESSION_##kind), list)

#define luo_for_each_reverse(session, kind)				\
	list_for_each_entry_reverse(session,				\
				    luo_session_list(LUO_SESSION_##kind), list)

static int luo_session_freeze(struct luo_session *session)
{
	u64 start = luo_trace_start(liveupdate_session_freeze);
	int err = luo_files_freeze(session);

	trace_liveupdate_session_freeze(session, start, err);
	return err;
}

static int luo_session_write(struct luo_session *session)
{
	u64 start = luo_trace_start(liveupdate_session_serialize);
	int err = luo_wire_add_session(session);

	trace_liveupdate_session_serialize(session, start, err);
	return err;
}

static int luo_sessions_freeze_files(void)
{
	struct luo_session *session;
	int err;

	/* This may allocate, and comes first: nothing stands still so far. */
	luo_flbs_begin();
	luo_for_each(session, INCOMING) {
		err = luo_files_preserve_again(session);
		if (err)
			return err;
	}
	err = luo_flbs_preserve_again();
	if (err)
		return err;

	luo_for_each(session, OUTGOING) {
		err = luo_session_freeze(session);
		if (err)
			return err;
	}
	luo_for_each(session, INCOMING) {
		err = luo_session_freeze(session);
		if (err)
			return err;
	}
	return 0;
}

/* Of incoming sessions either those that are found by their names, or others. */
static int luo_incoming_write(bool named, u64 *nr)
{
	struct luo_session *session;
	int err;

	*nr = 0;
	luo_for_each(session, INCOMING) {
		if (session->named != named)
			continue;
		err = luo_session_write(session);
		if (err)
			return err;
		++*nr;
	}
	return 0;
}

/*
 * The newest of a name first: what this kernel made, then what it got. At the
 * end come those that bear no name any more.
 */
static int luo_sessions_write(void)
{
	struct luo_session *session;
	u64 nr;
	int err;

	luo_wire_begin();
	luo_for_each(session, OUTGOING) {
		err = luo_session_write(session);
		if (err)
			return err;
	}
	err = luo_incoming_write(true, &nr);
	if (!err)
		err = luo_incoming_write(false, &nr);
	if (!err)
		err = luo_flbs_write();
	return err ?: luo_wire_end(nr);
}

/**
 * luo_sessions_freeze - freeze all files and write down all sessions
 *
 * Order: outgoing sessions as they were created, then incoming ones as they
 * came; in each the files as they were added.
 *
 * Context: may sleep; &luo_gate is held for writing.
 * Return: 0 or a handler's error; everything is undone then.
 */
int luo_sessions_freeze(void)
{
	int err;

	lockdep_assert_held_write(&luo_gate);

	err = luo_sessions_freeze_files();
	if (!err)
		err = luo_sessions_write();
	if (err) {
		luo_sessions_thaw();
		return err;
	}

	pr_info("%lu sessions go to the next kernel\n", luo_nr_all_sessions());
	return 0;
}

/**
 * luo_sessions_thaw - undo luo_sessions_freeze(), in reverse
 *
 * Context: may sleep; &luo_gate is held for writing.
 */
void luo_sessions_thaw(void)
{
	struct luo_session *session;

	lockdep_assert_held_write(&luo_gate);

	luo_for_each_reverse(session, INCOMING)
		luo_files_unfreeze(session);
	luo_for_each_reverse(session, OUTGOING)
		luo_files_unfreeze(session);
	luo_flbs_unpreserve_again();
	luo_for_each_reverse(session, INCOMING)
		luo_files_unpreserve_again(session);
}
