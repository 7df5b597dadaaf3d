// SPDX-License-Identifier: GPL-2.0
/*
 * For the tests of preserving and retrieving memfds: stops the walk over the pages of
 * one where they say, for as long as they have something to do meanwhile.
 *
 * Parameters, in /sys/module/test_memfd_walk/parameters/:
 *
 *	hold	the walk waits as soon as it has come to this page of a file or
 *		further; 0 lets it go on
 *	held	the page that it waits at, 0 if it does not
 *
 * Nothing in the walk is made for that: it waits in its trace event, so the CPU
 * that it is on is not there for others, and does so for a minute at most. A watchdog
 * has to be told to wait for that long: the harness of the tests does.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/array_size.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/processor.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

/* Only who waits for ever takes so long; watchdogs have twice the time. */
#define TEST_HOLD_TIME	(60 * HZ)

static unsigned long hold;
module_param(hold, ulong, 0644);
MODULE_PARM_DESC(hold, "page of a memfd from which on the walk waits, or 0");

static unsigned long held;
module_param(held, ulong, 0444);
MODULE_PARM_DESC(held, "page at which it waits, or 0");

static const char * const test_names[] = { "memfd_luo_walk", "memfd_luo_fill" };
static struct tracepoint *test_events[ARRAY_SIZE(test_names)];

/* A probe cannot sleep. */
static void test_walk(void *data, const struct inode *inode, u64 index, u64 end)
{
	unsigned long over = jiffies + TEST_HOLD_TIME, from = READ_ONCE(hold);

	if (!from || index < from)
		return;
	WRITE_ONCE(held, index);
	while (READ_ONCE(hold) == from && !fatal_signal_pending(current)) {
		if (time_after(jiffies, over)) {
			pr_err("nobody let the walk go on\n");
			break;
		}
		cpu_relax();
	}
	WRITE_ONCE(held, 0);
}

static void test_find(struct tracepoint *event, void *data)
{
	int i = match_string(test_names, ARRAY_SIZE(test_names), event->name);

	if (i >= 0)
		test_events[i] = event;
}

static void test_unregister(int nr)
{
	while (nr--)
		tracepoint_probe_unregister(test_events[nr], test_walk, NULL);
	tracepoint_synchronize_unregister();
}

static int __init test_memfd_walk_init(void)
{
	int i, ret;

	if (!IS_ENABLED(CONFIG_TRACEPOINTS))
		return -EOPNOTSUPP;
	for_each_kernel_tracepoint(test_find, NULL);
	for (i = 0; i < ARRAY_SIZE(test_events); i++) {
		ret = test_events[i] ?
		      tracepoint_probe_register(test_events[i], test_walk, NULL) :
		      -ENOENT;
		if (ret) {
			test_unregister(i);
			return ret;
		}
	}
	return 0;
}

static void __exit test_memfd_walk_exit(void)
{
	if (IS_ENABLED(CONFIG_TRACEPOINTS))
		test_unregister(ARRAY_SIZE(test_events));
}

module_init(test_memfd_walk_init);
module_exit(test_memfd_walk_exit);
MODULE_DESCRIPTION("Stops the walk over a memfd, for the tests of live update");
MODULE_LICENSE("GPL");
