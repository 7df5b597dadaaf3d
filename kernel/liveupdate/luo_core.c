// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: the switch, start-up and the reboot.
 */

/**
 * DOC: Live Update Orchestrator
 *
 * LUO carries open files over a kexec. Agents collect files in sessions; at
 * the reboot every file's handler is told to freeze it, and what the next
 * kernel needs to know about sessions and files is written into memory that
 * Kexec Handover (KHO) takes across. The next kernel checks it early in its
 * boot, reads sessions in for the first who asks, keeps them in structures of
 * its own, and hands them and their files back when they are asked for.
 *
 * Requests and the reboot exclude each other by &luo_gate. The reboot takes it
 * for writing and keeps it: from the freeze to the jump no session changes.
 * Whoever asks for something in that time waits, and goes on if the reboot
 * fails after all.
 *
 * Only "liveupdate=on" together with "kho=on" (or the defaults of both in the
 * kernel's configuration) brings any of this to life.
 */

#define pr_fmt(fmt) "liveupdate: " fmt

#include <linux/delay.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kstrtox.h>
#include <linux/printk.h>
#include <linux/rhashtable.h>
#include <linux/string_helpers.h>

#include <trace/events/liveupdate.h>

#include "luo_internal.h"

static bool luo_wanted __initdata =
	IS_ENABLED(CONFIG_LIVEUPDATE_ENABLE_DEFAULT);
static bool luo_enabled __ro_after_init;

DECLARE_RWSEM(luo_gate);

/**
 * luo_escape - make a name fit to stand between quotes in a line
 * @buf:  room for the result, which ends in a NUL; may be %NULL if @room is 0
 * @room: bytes of it
 * @name: any bytes
 * @size: how many there can be; a NUL ends them before
 *
 * Nothing in the result ends the line or the quotes, and nothing is not ASCII:
 * such bytes, quotes and backslashes are written as in C. Different names look
 * different, unless they were cut.
 *
 * Context: any.
 * Return: the length that the result has where there is room for it.
 */
size_t luo_escape(char *buf, size_t room, const char *name, size_t size)
{
	size_t len = string_escape_mem(name, strnlen(name, size), buf,
				       room ? room - 1 : 0, LUO_ESCAPES,
				       LUO_ESCAPED);

	if (room)
		buf[min(len, room - 1)] = 0;
	return len;
}

/**
 * luo_escape_name - luo_escape() for a name of a session, a handler or an FLB
 * @escaped: room for the result
 * @name:    the name
 * @size:    bytes of it
 *
 * Context: any.
 * Return: the result.
 */
const char *luo_escape_name(struct luo_escaped *escaped, const char *name,
			    size_t size)
{
	luo_escape(escaped->s, sizeof(escaped->s), name, size);
	return escaped->s;
}

/**
 * luo_table_insert - add something to a table that has each key once
 * @table:  the table
 * @node:   its place in the table
 * @params: parameters of the table
 *
 * A table that fills faster than it grows refuses for a moment, which means
 * nothing to a caller: the growing is waited for.
 *
 * Context: may sleep.
 * Return: 0, -%EEXIST for a key that is there, or -%ENOMEM.
 */
int luo_table_insert(struct rhashtable *table, struct rhash_head *node,
		     const struct rhashtable_params *params)
{
	unsigned int tries;
	int err;

	for (tries = 10; tries; tries--) {
		err = rhashtable_lookup_insert_fast(table, node, *params);
		if (!err || err == -EEXIST)
			return err;
		fsleep(USEC_PER_MSEC);
	}
	return -ENOMEM;
}

static int __init luo_parse_switch(char *arg)
{
	return kstrtobool(arg, &luo_wanted);
}
early_param("liveupdate", luo_parse_switch);

/**
 * liveupdate_enabled - whether live update is on in this boot
 *
 * Settled at core_initcall; false before.
 *
 * Context: any.
 * Return: true if sessions can be made and handlers registered.
 */
bool liveupdate_enabled(void)
{
	return luo_enabled;
}
EXPORT_SYMBOL_GPL(liveupdate_enabled);

/* What was closed meanwhile is gone for whoever comes in. */
static void luo_open_gate(void)
{
	luo_sessions_reap();
	up_write(&luo_gate);
}

static int luo_freeze_all(void)
{
	/* Sessions that nobody has looked at go along, too. */
	int err = luo_wire_read_in();

	if (err)
		return err;
	if (down_write_killable(&luo_gate))
		return -EINTR;

	/* What was closed while this waited must not go along. */
	luo_sessions_reap();

	luo_monitor_freeze(true);
	err = luo_sessions_freeze();
	if (err) {
		luo_monitor_freeze(false);
		luo_open_gate();
	}
	return err;
}

/**
 * liveupdate_reboot - freeze and hand over everything that is preserved
 *
 * For kernel_kexec(), once the image is known to be there, unless the image
 * preserves this kernel's context. All other users of live update stand still
 * from a success on, until the jump or liveupdate_reboot_undo().
 *
 * Context: process context, may sleep. Takes &luo_gate, and keeps it on
 *	    success.
 * Return: 0, or
 *
 * * -%EINTR  - killed while waiting for a request to end, or for memory
 * * -%ENOMEM - sessions that came in could not be read in so far
 * * -%EBUSY  - somebody holds state that files shared
 * * another error of a handler or of an FLB
 *
 * With an error nothing is frozen, and sessions work on.
 */
int liveupdate_reboot(void)
{
	u64 start;
	int err;

	if (!luo_enabled)
		return 0;

	start = luo_trace_start(liveupdate_reboot);
	err = luo_freeze_all();
	trace_liveupdate_reboot(start, err);
	return err;
}

/**
 * liveupdate_reboot_undo - go on after a reboot that failed
 *
 * For kernel_kexec(), if it fails after liveupdate_reboot() succeeded.
 *
 * Context: the task that called liveupdate_reboot(); may sleep. Releases
 *	    &luo_gate.
 */
void liveupdate_reboot_undo(void)
{
	if (!luo_enabled)
		return;

	luo_sessions_thaw();
	luo_monitor_freeze(false);
	luo_open_gate();
}

/*
 * Handlers and the device come later and ask liveupdate_enabled(). Whatever
 * goes wrong here leaves the memory from the previous kernel as it is.
 */
static int __init luo_init(void)
{
	int err;

	if (!luo_wanted)
		return 0;
	if (!kho_is_enabled()) {
		pr_warn("stays off: it needs Kexec Handover, which is off (see kho=) or did not start\n");
		return 0;
	}

	err = luo_file_init();
	if (!err)
		err = luo_session_init();
	if (!err)
		err = luo_wire_init();
	if (err) {
		pr_err("stays off in this boot: %pe\n", ERR_PTR(err));
		return err;
	}

	kho_require(LUO_FDT_COMPATIBLE, false);
	kho_require(LUO_FDT_SESSION_COMPATIBLE, false);
	kho_require(LUO_FDT_FLB_COMPATIBLE, false);
	kho_require(LUO_IMAGE_SWITCH, true);
	luo_enabled = true;
	return 0;
}
core_initcall(luo_init);
