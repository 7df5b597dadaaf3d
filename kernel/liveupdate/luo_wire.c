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
 *
 * Reading: another kernel wrote this, and memory may have been damaged. Nothing
 * is used before it was checked, nothing freed before everything was read. A
 * damaged file, or a session whose list of files is damaged, cannot be
 * retrieved, and that is all that is known of it: the next reboot takes the
 * session along as one that has lost its files. Its memory is left alone, and
 * so are all lists then. With a damaged FDT, or a damaged
 * list of sessions or FLBs, all is left alone and live update stays off; all of
 * it goes on to the next kernel, which may be one that can read it.
 */

#define pr_fmt(fmt) "liveupdate: " fmt

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/libfdt.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include <trace/events/liveupdate.h>

#include "luo_internal.h"

/* The FDT for the next kernel; its size is part of no format. */
#define LUO_FDT_SIZE		PAGE_SIZE

static void *luo_fdt_out;

/* Room for the entries of all sessions. */
static struct kho_chain luo_session_room;

/* Room for the entries of all FLBs. */
static struct kho_chain luo_flb_room;

/* Updates that led to this kernel. */
static u64 luo_number;

/* Something of the previous kernel stays where it is. */
static bool luo_left_out __initdata;

/**
 * luo_wire_number - how many updates led to this kernel
 *
 * Return: the number, 0 after a start from scratch.
 */
u64 luo_wire_number(void)
{
	return luo_number;
}

/*
 * Writing
 */

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

	err = luo_fdt_set(0, LUO_FDT_NUMBER_PROP, luo_number + 1);
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

/*
 * Reading
 */

#define luo_damaged(fmt, ...)						\
	pr_err("previous kernel's state: " fmt "; its memory stays preserved\n", \
	       ##__VA_ARGS__)

/* The rest of the session, or of the update, is not affected. */
static __printf(2, 3) void __init
luo_session_damaged(const struct luo_session *session, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	vaf.va = &args;
	luo_session_err(session, "%pV; its memory stays preserved", &vaf);
	va_end(args);
	luo_left_out = true;
}

/* Whether an array of @size bytes holds a string, and not an empty one. */
static bool __init luo_is_string(const char *s, size_t size)
{
	size_t len = strnlen(s, size);

	return len && len < size;
}

static int __init luo_fdt_expect(const void *fdt, int node,
				 const char *compatible)
{
	struct luo_escaped escaped;
	const char *found;
	int len;

	if (node >= 0 && !fdt_node_check_compatible(fdt, node, compatible))
		return 0;

	found = node < 0 ? NULL : fdt_getprop(fdt, node, "compatible", &len);
	if (!found || len <= 0)
		luo_damaged("found no node \"%s\"", compatible);
	else
		luo_damaged("found \"%s\", expected \"%s\"",
			    luo_escape_name(&escaped, found, len), compatible);
	return -EBADMSG;
}

static int __init luo_fdt_get(const void *fdt, int node, const char *name,
			      u64 *value)
{
	const void *prop;
	int len;

	prop = fdt_getprop(fdt, node, name, &len);
	if (!prop || len != sizeof(*value)) {
		luo_damaged("found %d bytes of %s, expected %zu",
			    prop ? len : 0, name, sizeof(*value));
		return -EBADMSG;
	}
	*value = get_unaligned((const u64 *)prop);
	return 0;
}

/**
 * struct luo_fdt_in - what the FDT of the previous kernel says
 * @sessions: first page of the list of sessions
 * @nameless: how many of them, at its end, bear no name
 * @flbs:     first page of the list of FLBs
 */
struct luo_fdt_in {
	u64 sessions;
	u64 nameless;
	u64 flbs;
};

/* All of the FDT that there is, checked before any of it is acted upon. */
static int __init luo_fdt_read(const void *fdt, struct luo_fdt_in *in)
{
	int node, err;

	err = luo_fdt_expect(fdt, 0, LUO_FDT_COMPATIBLE);
	if (!err)
		err = luo_fdt_get(fdt, 0, LUO_FDT_NUMBER_PROP, &luo_number);
	if (err)
		return err;

	node = fdt_subnode_offset(fdt, 0, LUO_FDT_SESSION_NODE);
	err = luo_fdt_expect(fdt, node, LUO_FDT_SESSION_COMPATIBLE);
	if (!err)
		err = luo_fdt_get(fdt, node, LUO_FDT_SESSION_HEADER_PROP,
				  &in->sessions);
	/* A kernel that knows of none does not say so. */
	if (!err && fdt_getprop(fdt, node, LUO_FDT_SESSION_NAMELESS_PROP, NULL))
		err = luo_fdt_get(fdt, node, LUO_FDT_SESSION_NAMELESS_PROP,
				  &in->nameless);
	if (err)
		return err;

	node = fdt_subnode_offset(fdt, 0, LUO_FDT_FLB_NODE);
	err = luo_fdt_expect(fdt, node, LUO_FDT_FLB_COMPATIBLE);
	if (!err)
		err = luo_fdt_get(fdt, node, LUO_FDT_FLB_HEADER_PROP, &in->flbs);
	return err;
}

static int __init luo_wire_read_file(struct luo_session *session,
				     const struct luo_file_ser *ser)
{
	bool valid = luo_is_string(ser->compatible, sizeof(ser->compatible));
	int err;

	err = luo_file_add_incoming(session, valid ? ser->compatible : "",
				    ser->data, ser->token);
	if (err && err != -EEXIST) {
		luo_session_damaged(session, "token %#llx: %pe", ser->token,
				    ERR_PTR(err));
		return err;
	}
	if (valid && !err)
		return 0;

	/* Of two files under one token nobody knows which is meant. */
	luo_session_damaged(session, "token %#llx: %s", ser->token,
			    valid ? "found it twice" :
				    "found no name of a layout");
	luo_file_spoil(session, ser->token);
	return 0;
}

static int __init luo_wire_read_files(struct luo_session *session,
				      const struct luo_session_ser *ser)
{
	const struct luo_file_ser *files;
	struct kho_chain_reader reader;
	u64 nr_read = 0;
	u32 nr, i;
	int err;

	kho_chain_open(&reader, ser->files, sizeof(*files));
	while ((files = kho_chain_read(&reader, &nr))) {
		if (IS_ERR(files)) {
			luo_session_damaged(session,
					    "list of files after the first %llu: %pe",
					    nr_read, files);
			return PTR_ERR(files);
		}
		nr_read += nr;
		for (i = 0; i < nr; i++) {
			err = luo_wire_read_file(session, &files[i]);
			if (err)
				return err;
		}
	}

	if (nr_read != ser->count) {
		luo_session_damaged(session, "found %llu files, expected %llu",
				    nr_read, ser->count);
		return -EBADMSG;
	}
	return 0;
}

static int __init luo_wire_read_session(const struct luo_session_ser *ser,
					bool nameless)
{
	u64 start = luo_trace_start(liveupdate_session_read);
	struct luo_session *session;
	struct luo_escaped name;
	int err, add_err;

	if (!luo_is_string(ser->name, sizeof(ser->name))) {
		luo_damaged("found a session without a name");
		luo_left_out = true;
		return -EBADMSG;
	}

	session = luo_session_alloc(ser->name);
	if (!session) {
		luo_damaged("session \"%s\": no memory to read it in",
			    luo_escape_name(&name, ser->name, sizeof(ser->name)));
		luo_left_out = true;
		return -ENOMEM;
	}

	session->came_in = ser->files;
	session->nameless = nameless;
	err = luo_wire_read_files(session, ser);
	trace_liveupdate_session_read(session, start, err);
	if (err) {
		luo_files_forget(session);
		session->damaged = true;
	}

	add_err = luo_session_add_incoming(session);
	if (add_err) {
		luo_session_damaged(session, "%pe", ERR_PTR(add_err));
		luo_files_forget(session);
		luo_session_free(session);
	}
	return err ?: add_err;
}

/*
 * The list must be whole: if only its beginning were read in, the other
 * sessions would seem never to have been, and their owners would begin anew.
 */
static int __init luo_wire_check_sessions(const struct luo_fdt_in *in,
					  u64 *nr_sessions)
{
	struct kho_chain_reader reader;
	unsigned long nr_pages = 0;
	const void *page;
	u32 nr;

	*nr_sessions = 0;
	kho_chain_open(&reader, in->sessions, sizeof(struct luo_session_ser));
	while ((page = kho_chain_read(&reader, &nr))) {
		if (IS_ERR(page)) {
			luo_damaged("list of sessions, page %lu: %pe",
				    nr_pages, page);
			return PTR_ERR(page);
		}
		nr_pages++;
		*nr_sessions += nr;
	}
	if (in->nameless > *nr_sessions) {
		luo_damaged("found %llu sessions, expected at least %llu",
			    *nr_sessions, in->nameless);
		return -EBADMSG;
	}
	return 0;
}

static void __init luo_wire_read_sessions(u64 header, u64 nr_named)
{
	const struct luo_session_ser *sers;
	struct kho_chain_reader reader;
	unsigned long nr_read = 0, nr_damaged = 0;
	bool nameless;
	u32 nr, i;

	kho_chain_open(&reader, header, sizeof(*sers));
	while ((sers = kho_chain_read(&reader, &nr))) {
		if (WARN_ON_ONCE(IS_ERR(sers)))
			break;
		for (i = 0; i < nr; i++) {
			nameless = nr_read + nr_damaged >= nr_named;
			if (luo_wire_read_session(&sers[i], nameless))
				nr_damaged++;
			else
				nr_read++;
		}
	}

	pr_info("update %llu brought %lu sessions\n", luo_number, nr_read);
	if (nr_damaged)
		pr_err("%lu sessions are damaged\n", nr_damaged);
}

static int __init luo_wire_read_flb(const struct luo_flb_ser *ser)
{
	struct luo_escaped name;
	int err;

	if (!luo_is_string(ser->name, sizeof(ser->name))) {
		luo_damaged("found an FLB without a name");
		return -EBADMSG;
	}

	err = ser->count ? luo_flb_add_incoming(ser->name, ser->data,
						ser->count) : -EBADMSG;
	if (err)
		luo_damaged("FLB \"%s\" with %llu files: %pe",
			    luo_escape_name(&name, ser->name, sizeof(ser->name)),
			    ser->count, ERR_PTR(err));
	return err;
}

/*
 * It is not known which files need which FLB, so that all of them are lost with
 * one. Nothing is freed so far.
 */
static int __init luo_wire_read_flbs(u64 header)
{
	const struct luo_flb_ser *sers;
	struct kho_chain_reader reader;
	unsigned long nr_read = 0;
	u32 nr, i;
	int err;

	kho_chain_open(&reader, header, sizeof(*sers));
	while ((sers = kho_chain_read(&reader, &nr))) {
		if (IS_ERR(sers)) {
			luo_damaged("list of FLBs after the first %lu: %pe",
				    nr_read, sers);
			return PTR_ERR(sers);
		}
		nr_read += nr;
		for (i = 0; i < nr; i++) {
			err = luo_wire_read_flb(&sers[i]);
			if (err)
				return err;
		}
	}
	return 0;
}

/* What libfdt finds in it stays within @size afterwards. */
static int __init luo_fdt_check(const void *fdt, size_t size)
{
	int err;

	if (size < sizeof(struct fdt_header))
		return -FDT_ERR_TRUNCATED;
	err = fdt_check_header(fdt);
	if (!err && fdt_totalsize(fdt) > size)
		err = -FDT_ERR_TRUNCATED;
	return err;
}

/* The blob is one piece of memory, preserved as kho_alloc_preserve() does. */
static const void *__init luo_fdt_find(void)
{
	phys_addr_t phys;
	const void *fdt;
	size_t size;
	int err;

	err = kho_retrieve_subtree(LUO_FDT_SUBTREE_NAME, &phys, &size);
	if (err == -ENOENT)
		return NULL;
	if (err) {
		luo_damaged("subtree %s: %pe", LUO_FDT_SUBTREE_NAME,
			    ERR_PTR(err));
		return ERR_PTR(err);
	}

	if (!size || !kho_is_preserved(phys, get_order(size))) {
		luo_damaged("found %zu bytes at %pa, expected preserved pages",
			    size, &phys);
		return ERR_PTR(-EBADMSG);
	}

	fdt = phys_to_virt(phys);
	err = luo_fdt_check(fdt, size);
	if (err) {
		luo_damaged("found no FDT in %zu bytes at %pa: %s",
			    size, &phys, fdt_strerror(err));
		return ERR_PTR(-EBADMSG);
	}
	return fdt;
}

/*
 * Fails only before anything was taken from the previous kernel. If anything
 * has to be left out, all lists stay.
 */
static int __init luo_wire_read(void)
{
	const void *fdt = luo_fdt_find();
	struct luo_fdt_in in = { };
	u64 nr_sessions;
	int err;

	if (IS_ERR_OR_NULL(fdt))
		return PTR_ERR_OR_ZERO(fdt);

	err = luo_fdt_read(fdt, &in);
	if (!err)
		err = luo_wire_check_sessions(&in, &nr_sessions);
	if (err)
		return err;

	err = luo_wire_read_flbs(in.flbs);
	if (err) {
		luo_flbs_forget();
		return err;
	}

	luo_wire_read_sessions(in.sessions, nr_sessions - in.nameless);
	if (luo_left_out)
		return 0;

	luo_sessions_free_lists();
	kho_chain_restore_free(in.sessions, sizeof(struct luo_session_ser));
	kho_chain_restore_free(in.flbs, sizeof(struct luo_flb_ser));
	kho_restore_free((void *)fdt);
	return 0;
}

/**
 * luo_wire_init - read in what the previous kernel left, be ready to write
 *
 * All that can fail for want of memory comes before the first session is read
 * in: from then on there is state, and live update has to stay on. What cannot
 * be read in keeps its place in the handover, with its description: a kernel
 * after this one may understand it.
 *
 * Context: once, early in the boot; may sleep.
 * Return: 0, also if sessions had to be left out; or an error after which live
 * update must stay off.
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
	/* For good: what is not in this kernel's hands cannot be given up. */
	if (err || luo_left_out)
		kho_hold();
	/* Takes the place of what was read in, so that there is room for it. */
	if (!err)
		err = kho_add_subtree(LUO_FDT_SUBTREE_NAME, luo_fdt_out,
				      LUO_FDT_SIZE);
	if (err)
		kho_unpreserve_free(luo_fdt_out);
	return err;
}
