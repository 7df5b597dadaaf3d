// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: what goes from one kernel to the next.
 */

/**
 * DOC: The wire format
 *
 * One FDT, a subtree of Kexec Handover, points to a chain of pages with the
 * sessions; each session's entry points to a chain with its files. Another
 * chain has the FLBs. See <linux/kho/abi/luo.h>.
 *
 * Writing: the FDT is made when live update starts, and the pages of the
 * chains when sessions and files are added. The reboot only fills them, so it
 * can fail for no reason of ours. Sessions are written with the newest first;
 * of two of one name the reader gives the name to the first. Those at the end
 * bear no name any more, and a property says how many they are: a reader that
 * does not know it would give such a name back when it finds it free.
 */

#define pr_fmt(fmt) "liveupdate: " fmt

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/libfdt.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/string.h>

#include <trace/events/liveupdate.h>

#include "luo_internal.h"

/* The FDT for the next kernel; its size is part of no format. */
#define LUO_FDT_SIZE		PAGE_SIZE

static void *luo_fdt_out;

/* Room for the entries of all sessions. */
static struct kho_chain luo_session_room;

/* Room for the entries of all FLBs. */
static struct kho_chain luo_flb_room;

static int __init luo_fdt_node(void *fdt, const char *name,
			       const char *compatible, const char *header,
			       const char *more)
{
	u64 none = 0;

	return fdt_begin_node(fdt, name) ?:
	       fdt_property_string(fdt, "compatible", compatible) ?:
	       fdt_property(fdt, header, &none, sizeof(none)) ?:
	       (more ? fdt_property(fdt, more, &none, sizeof(none)) : 0) ?:
	       fdt_end_node(fdt);
}

static int __init luo_fdt_make(void *fdt)
{
	u64 none = 0;

	return fdt_create(fdt, LUO_FDT_SIZE) ?:
	       fdt_finish_reservemap(fdt) ?:
	       fdt_begin_node(fdt, "") ?:
	       fdt_property_string(fdt, "compatible", LUO_FDT_COMPATIBLE) ?:
	       fdt_property(fdt, LUO_FDT_NUMBER_PROP, &none, sizeof(none)) ?:
	       luo_fdt_node(fdt, LUO_FDT_SESSION_NODE,
			    LUO_FDT_SESSION_COMPATIBLE,
			    LUO_FDT_SESSION_HEADER_PROP,
			    LUO_FDT_SESSION_NAMELESS_PROP) ?:
	       luo_fdt_node(fdt, LUO_FDT_FLB_NODE, LUO_FDT_FLB_COMPATIBLE,
			    LUO_FDT_FLB_HEADER_PROP, NULL) ?:
	       fdt_end_node(fdt) ?:
	       fdt_finish(fdt);
}

/**
 * luo_wire_reserve_sessions - have room for so many sessions
 * @nr: how many
 *
 * Context: the table lock is held.
 * Return: 0 or -%ENOMEM; never fails to make the room smaller.
 */
int luo_wire_reserve_sessions(unsigned long nr)
{
	return kho_chain_resize(&luo_session_room, nr);
}

/**
 * luo_wire_init_room - a new session has no room for files
 * @session: the session
 */
void luo_wire_init_room(struct luo_session *session)
{
	kho_chain_init(&session->room, sizeof(struct luo_file_ser));
}

/**
 * luo_wire_reserve_files - have room for so many files in a session
 * @session: the session
 * @nr:      how many
 *
 * Context: @session->lock is held for writing, or nobody else knows @session.
 * Return: 0 or -%ENOMEM; never fails to make the room smaller.
 */
int luo_wire_reserve_files(struct luo_session *session, unsigned long nr)
{
	return kho_chain_resize(&session->room, nr);
}

/**
 * luo_wire_begin - begin to write sessions, from the start
 *
 * Context: &luo_gate is held for writing.
 */
void luo_wire_begin(void)
{
	kho_chain_rewind(&luo_session_room);
}

static int luo_wire_add_file(struct luo_session *session,
			     const struct luo_file *f, u64 data)
{
	struct luo_file_ser ser = {
		.data = data,
		.token = f->token,
	};

	memcpy(ser.compatible, f->compatible, sizeof(ser.compatible));
	return kho_chain_append(&session->room, &ser);
}

/* A chain must not end in empty pages, so give up the room of what stays. */
static u64 luo_wire_fit_files(struct luo_session *session)
{
	struct luo_file *f;
	u64 data, nr = 0;

	list_for_each_entry(f, &session->files, list)
		nr += luo_file_is_carried(f, &data);
	luo_wire_reserve_files(session, nr);
	kho_chain_rewind(&session->room);
	return nr;
}

/**
 * luo_wire_add_session - write down a session and its files
 * @session: the session, frozen
 *
 * Context: &luo_gate is held for writing. Allocates nothing.
 * Return: 0; an error means that the room was not reserved, a bug of ours.
 */
int luo_wire_add_session(struct luo_session *session)
{
	/*
	 * No files where some are expected: damaged there too. So is a session
	 * that leaves all of its files behind, or it would seem to be empty.
	 */
	struct luo_session_ser ser = {
		.count = luo_wire_fit_files(session) ?:
			 session->damaged || !list_empty(&session->files),
	};
	struct luo_file *f;
	u64 data;
	int err;

	list_for_each_entry(f, &session->files, list) {
		if (!luo_file_is_carried(f, &data))
			continue;
		err = luo_wire_add_file(session, f, data);
		if (WARN_ON_ONCE(err))
			return err;
	}

	memcpy(ser.name, session->name, sizeof(ser.name));
	ser.files = kho_chain_seal(&session->room);

	err = kho_chain_append(&luo_session_room, &ser);
	WARN_ON_ONCE(err);
	return err;
}

/**
 * luo_wire_reserve_flbs - have room for so many FLBs
 * @nr: how many
 *
 * Context: may sleep; the FLBs lock is held.
 * Return: 0 or -%ENOMEM; never fails to make the room smaller.
 */
int luo_wire_reserve_flbs(unsigned long nr)
{
	return kho_chain_resize(&luo_flb_room, nr);
}

/**
 * luo_wire_begin_flbs - begin to write FLBs, from the start
 * @nr: how many will be written; no more than there is room for
 *
 * Context: &luo_gate is held for writing, and the FLBs lock.
 * Return: 0; an error means that the room was not reserved, a bug of ours.
 */
int luo_wire_begin_flbs(unsigned long nr)
{
	int err = luo_wire_reserve_flbs(nr);

	if (!WARN_ON_ONCE(err))
		kho_chain_rewind(&luo_flb_room);
	return err;
}

/**
 * luo_wire_add_flb - write down an FLB
 * @name:  its name, padded with NULs
 * @data:  its data
 * @count: files that it is bound to and that go along
 *
 * Context: &luo_gate is held for writing. Allocates nothing.
 * Return: 0; an error means that the room was not reserved, a bug of ours.
 */
int luo_wire_add_flb(const char *name, u64 data, u64 count)
{
	struct luo_flb_ser ser = {
		.data = data,
		.count = count,
	};
	int err;

	memcpy(ser.name, name, sizeof(ser.name));
	err = kho_chain_append(&luo_flb_room, &ser);
	WARN_ON_ONCE(err);
	return err;
}

static int luo_fdt_set(int node, const char *name, u64 value)
{
	int err = fdt_setprop_inplace(luo_fdt_out, node, name, &value,
				      sizeof(value));

	return WARN_ON_ONCE(err) ? -EINVAL : 0;
}

/**
 * luo_wire_end - make what was written known to the next kernel
 * @nr_nameless: how many of the sessions, the last ones, bear no name
 *
 * Context: &luo_gate is held for writing. Allocates nothing.
 * Return: 0; an error is a bug of ours.
 */
int luo_wire_end(u64 nr_nameless)
{
	int node, err;

	err = luo_fdt_set(0, LUO_FDT_NUMBER_PROP, luo_wire_number() + 1);
	if (err)
		return err;

	node = fdt_subnode_offset(luo_fdt_out, 0, LUO_FDT_SESSION_NODE);
	err = luo_fdt_set(node, LUO_FDT_SESSION_HEADER_PROP,
			  kho_chain_seal(&luo_session_room));
	if (!err)
		err = luo_fdt_set(node, LUO_FDT_SESSION_NAMELESS_PROP,
				  nr_nameless);
	if (err)
		return err;

	node = fdt_subnode_offset(luo_fdt_out, 0, LUO_FDT_FLB_NODE);
	return luo_fdt_set(node, LUO_FDT_FLB_HEADER_PROP,
			   kho_chain_seal(&luo_flb_room));
}

/**
 * luo_wire_init - take over from the previous kernel, be ready to write
 *
 * All that can fail for want of memory comes before the first session is read
 * in: from then on there is state, and live update has to stay on. What cannot
 * be read in keeps its place in the handover, with its description: a kernel
 * after this one may understand it.
 *
 * Context: once, early in the boot; may sleep.
 * Return: 0, or an error after which live update must stay off.
 */
int __init luo_wire_init(void)
{
	int err;

	kho_chain_init(&luo_session_room, sizeof(struct luo_session_ser));
	kho_chain_init(&luo_flb_room, sizeof(struct luo_flb_ser));

	luo_fdt_out = kho_alloc_preserve(LUO_FDT_SIZE);
	if (IS_ERR(luo_fdt_out))
		return PTR_ERR(luo_fdt_out);

	err = WARN_ON_ONCE(luo_fdt_make(luo_fdt_out)) ? -EINVAL : 0;
	if (!err)
		err = luo_wire_read();
	/* For good: what nobody could read cannot be given up. */
	if (err)
		kho_hold();
	/* Takes the place of what was read in, so that there is room for it. */
	if (!err)
		err = kho_add_subtree(LUO_FDT_SUBTREE_NAME, luo_fdt_out,
				      LUO_FDT_SIZE);
	if (err) {
		kho_unpreserve_free(luo_fdt_out);
		return err;
	}

	luo_wire_read_nothing();
	return 0;
}
