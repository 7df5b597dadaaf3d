// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: reading what the previous kernel wrote.
 */

/**
 * DOC: Reading
 *
 * The boot looks at the FDT, at the list of sessions and at the FLBs. The
 * sessions and their lists of files are read in for the first who wants to see
 * one, so that the boot hardly depends on how many there are. Without memory
 * for that, for longer than can be waited, whoever wants to see one is told so,
 * and the next one goes on where it stopped: a session is read in whole, and once.
 *
 * Another kernel wrote all this, and memory may have been damaged. Nothing is
 * used before it was checked, nothing freed before everything was read. A
 * damaged file, or a session whose list of files is damaged, cannot be
 * retrieved, and that is all that is known of it: the next reboot takes the
 * session along as one that has lost its files. Its memory is left alone, and
 * so are all lists then. With a damaged FDT, or a damaged list of sessions or
 * FLBs, all is left alone and live update stays off; all of it goes on to the
 * next kernel, which may be one that can read it.
 */

#define pr_fmt(fmt) "liveupdate: " fmt

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/libfdt.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include <linux/workqueue.h>

#include <trace/events/liveupdate.h>

#include "luo_internal.h"

/* Updates that led to this kernel. */
static u64 luo_number;

/* Something of the previous kernel stays where it is. */
static bool luo_left_out;

/* Part of it is in no session, so that nobody can give it up. */
static bool luo_unseen;

/**
 * struct luo_fdt_in - what the FDT of the previous kernel says
 * @fdt:      the FDT, where the previous kernel had it
 * @sessions: first page of the list of sessions
 * @nr:       how many there are
 * @nameless: how many of them, at its end, bear no name
 * @flbs:     first page of the list of FLBs
 */
struct luo_fdt_in {
	const void *fdt;
	u64 sessions;
	u64 nr;
	u64 nameless;
	u64 flbs;
};

/* For luo_wire_read_in(). */
static struct luo_fdt_in luo_in;

/* All that came in has been read; set under luo_read_lock. */
static bool luo_read_done;
static DEFINE_MUTEX(luo_read_lock);

/* How many sessions have been read; so many of them are damaged. */
static u64 luo_nr_read;
static u64 luo_nr_damaged;
/* Why it were not all. */
static int luo_read_err;

/**
 * luo_wire_number - how many updates led to this kernel
 *
 * Return: the number, 0 after a start from scratch.
 */
u64 luo_wire_number(void)
{
	return luo_number;
}

#define luo_damaged(fmt, ...)						\
	pr_err("previous kernel's state: " fmt "; its memory stays preserved\n", \
	       ##__VA_ARGS__)

/* The rest of the session, or of the update, is not affected. */
static __printf(2, 3) void
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
static bool luo_is_string(const char *s, size_t size)
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

static int luo_wire_read_file(struct luo_session *session,
			      const struct luo_file_ser *ser)
{
	bool valid = luo_is_string(ser->compatible, sizeof(ser->compatible));
	int err;

	err = luo_file_add_incoming(session, valid ? ser->compatible : "",
				    ser->data, ser->token);
	if (err && err != -EEXIST)
		return err;
	if (valid && !err)
		return 0;

	/* Of two files under one token nobody knows which is meant. */
	luo_session_damaged(session, "token %#llx: %s", ser->token,
			    valid ? "found it twice" :
				    "found no name of a layout");
	luo_file_spoil(session, ser->token);
	return 0;
}

static int luo_wire_read_files(struct luo_session *session,
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

/*
 * One whose files cannot be read in is known by its name, and to be damaged.
 * For want of memory it is not known at all, and can be read in another time.
 */
static int luo_wire_add_session_in(struct luo_session *session,
				   const struct luo_session_ser *ser)
{
	int err = luo_wire_read_files(session, ser);

	if (err == -ENOMEM)
		return err;
	if (err) {
		luo_files_forget(session);
		session->damaged = true;
	}
	return luo_session_add_incoming(session) ?: err;
}

static int luo_wire_read_session(const struct luo_session_ser *ser,
				 bool nameless)
{
	u64 start = luo_trace_start(liveupdate_session_read);
	struct luo_session *session;
	int err;

	if (!luo_is_string(ser->name, sizeof(ser->name))) {
		luo_damaged("found a session without a name");
		luo_left_out = true;
		luo_unseen = true;
		return -EBADMSG;
	}

	session = luo_session_alloc(ser->name);
	if (!session)
		return -ENOMEM;

	session->came_in = ser->files;
	session->nameless = nameless;
	err = luo_wire_add_session_in(session, ser);
	trace_liveupdate_session_read(session, start, err);
	if (session->kind == LUO_SESSION_EMPTY) {
		luo_files_forget(session);
		luo_session_free(session);
	}
	return err;
}

/*
 * The list must be whole: if only its beginning were read in, the other
 * sessions would seem never to have been, and their owners would begin anew.
 */
static int __init luo_wire_check_sessions(struct luo_fdt_in *in)
{
	struct kho_chain_reader reader;
	unsigned long nr_pages = 0;
	const void *page;
	u32 nr;

	kho_chain_open(&reader, in->sessions, sizeof(struct luo_session_ser));
	while ((page = kho_chain_read(&reader, &nr))) {
		if (IS_ERR(page)) {
			luo_damaged("list of sessions, page %lu: %pe",
				    nr_pages, page);
			return PTR_ERR(page);
		}
		nr_pages++;
		in->nr += nr;
	}
	if (in->nameless > in->nr) {
		luo_damaged("found %llu sessions, expected at least %llu",
			    in->nr, in->nameless);
		return -EBADMSG;
	}
	return 0;
}

/* @nr sessions of a page, of which the first is the one at @index of all. */
static int luo_wire_read_page(const struct luo_fdt_in *in, u64 index,
			      const struct luo_session_ser *sers, u32 nr)
{
	u64 i;
	int err;

	for (i = max(index, luo_nr_read); i < index + nr; i++) {
		err = luo_wire_read_session(&sers[i - index],
					    i >= in->nr - in->nameless);
		if (err == -ENOMEM)
			return err;
		luo_nr_read++;
		if (err)
			luo_nr_damaged++;
	}
	return 0;
}

static int luo_wire_read_sessions(const struct luo_fdt_in *in)
{
	const struct luo_session_ser *sers;
	struct kho_chain_reader reader;
	u64 index = 0;
	u32 nr;
	int err;

	kho_chain_open(&reader, in->sessions, sizeof(*sers));
	while ((sers = kho_chain_read(&reader, &nr))) {
		if (WARN_ON_ONCE(IS_ERR(sers)))
			break;
		err = luo_wire_read_page(in, index, sers, nr);
		if (err)
			return err;
		index += nr;
		cond_resched();
	}

	if (luo_nr_damaged)
		pr_err("%llu sessions are damaged\n", luo_nr_damaged);
	return 0;
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

static void luo_wire_free_lists(const struct luo_fdt_in *in)
{
	luo_sessions_free_lists();
	kho_chain_restore_free(in->sessions, sizeof(struct luo_session_ser));
	kho_chain_restore_free(in->flbs, sizeof(struct luo_flb_ser));
	kho_restore_free((void *)in->fdt);
}

static void luo_wire_read_all(struct work_struct *work)
{
	luo_read_err = luo_wire_read_sessions(&luo_in);
	if (luo_read_err)
		return;

	/* If anything has to be left out, all lists stay. */
	if (!luo_left_out)
		luo_wire_free_lists(&luo_in);
	/* From now on it is sessions and FLBs that hold, damaged ones as well. */
	if (!luo_unseen)
		kho_release();
}

static DECLARE_WORK(luo_read_work, luo_wire_read_all);

/* A lack of memory is waited out: so often, and so many milliseconds each time. */
#define LUO_READ_TRIES	100
#define LUO_READ_PAUSE	30

/*
 * Few programs ask again after an error, and what they would have found there is
 * lost to them then. Memory that is short now is there a moment later mostly.
 */
static int luo_wire_read_patiently(void)
{
	unsigned int tries;

	for (tries = LUO_READ_TRIES; tries; tries--) {
		queue_work(system_unbound_wq, &luo_read_work);
		flush_work(&luo_read_work);
		if (!luo_read_err)
			return 0;
		schedule_timeout_killable(msecs_to_jiffies(LUO_READ_PAUSE));
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	pr_err_ratelimited("no memory to read in session %llu of %llu, try again\n",
			   luo_nr_read + 1, luo_in.nr);
	return luo_read_err;
}

/**
 * luo_wire_read_in - have the sessions that the previous kernel left
 *
 * Called by whoever is about to look at sessions: the boot does not, and files
 * in great number would hold it up. The first one waits until it is done, by a
 * thread of the kernel: it is nobody's memory, and to no limit of the caller.
 *
 * Context: may sleep, some seconds where memory is short; without &luo_gate and
 *	    the locks below it.
 * Return: 0, or -%ENOMEM, or -%EINTR when killed while waiting: some sessions are
 * not known yet, and none is lost; the next call goes on with them.
 */
int luo_wire_read_in(void)
{
	int err = 0;

	/* Pairs with the release below: whoever sees it sees the sessions. */
	if (smp_load_acquire(&luo_read_done))
		return 0;

	scoped_cond_guard(mutex_kill, return -EINTR, &luo_read_lock) {
		if (luo_in.fdt && !luo_read_done)
			err = luo_wire_read_patiently();
		if (err)
			return err;
		/* Pairs with the above: what was read in comes first. */
		smp_store_release(&luo_read_done, true);
	}
	return 0;
}

/**
 * luo_wire_read_nothing - be done at once if no session came in
 *
 * There is nothing that could wait then, nor anything to lose by a kexec. For
 * when the FDT of the previous kernel has been replaced.
 *
 * Context: once, early in the boot, after luo_wire_read(); may sleep.
 */
void __init luo_wire_read_nothing(void)
{
	if (luo_in.fdt && !luo_in.nr)
		luo_wire_read_in();
}

/**
 * luo_wire_read - take over from the previous kernel
 *
 * What is read here tells whether live update can be on; sessions are left to
 * luo_wire_read_in().
 *
 * Context: once, early in the boot; may sleep.
 * Return: 0, also if nothing came in; -%EBADMSG for what is damaged, or
 * -%ENOMEM. Nothing was taken from the previous kernel then, and live update
 * must stay off.
 */
int __init luo_wire_read(void)
{
	const void *fdt = luo_fdt_find();
	struct luo_fdt_in in = { };
	int err;

	if (IS_ERR_OR_NULL(fdt))
		return PTR_ERR_OR_ZERO(fdt);

	err = luo_fdt_read(fdt, &in);
	if (!err)
		err = luo_wire_check_sessions(&in);
	if (err)
		return err;

	err = luo_wire_read_flbs(in.flbs);
	if (err) {
		luo_flbs_forget();
		return err;
	}

	pr_info("update %llu brought %llu sessions\n", luo_number, in.nr);
	/* Until all that there is has been read in. */
	kho_hold();
	in.fdt = fdt;
	luo_in = in;
	return 0;
}
