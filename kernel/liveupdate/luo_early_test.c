// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: a test of state that is wanted early in the boot.
 *
 * With luo_early_test on the command line an FLB is bound to memfds, a page
 * with the number of the update. Its object is asked for at core_initcall, when
 * no handler is there, and a line says what came of it.
 */

#define pr_fmt(fmt) "liveupdate: early test: " fmt

#include <linux/init.h>
#include <linux/io.h>
#include <linux/kho/abi/memfd.h>
#include <linux/mm.h>
#include <linux/printk.h>

#include "luo_internal.h"

/* Of this test alone: no other kernel reads it. */
#define LUO_EARLY_COMPATIBLE	"liveupdate-early-test-v1"

static bool luo_early_wanted __initdata;

static int luo_early_preserve(struct liveupdate_flb_op_args *argp)
{
	u64 *number = kho_alloc_preserve(PAGE_SIZE);

	if (IS_ERR(number))
		return PTR_ERR(number);
	*number = luo_wire_number() + 1;
	argp->obj = number;
	argp->data = virt_to_phys(number);
	return 0;
}

static void luo_early_unpreserve(struct liveupdate_flb_op_args *argp)
{
	kho_unpreserve_free(argp->obj);
}

static int luo_early_retrieve(struct liveupdate_flb_op_args *argp)
{
	struct folio *folio = kho_restore_folio(argp->data);

	if (!folio)
		return -EBADMSG;
	argp->obj = folio_address(folio);
	return 0;
}

static void luo_early_finish(struct liveupdate_flb_op_args *argp)
{
	folio_put(virt_to_folio(argp->obj));
}

static const struct liveupdate_flb_ops luo_early_ops = {
	.preserve = luo_early_preserve,
	.unpreserve = luo_early_unpreserve,
	.retrieve = luo_early_retrieve,
	.finish = luo_early_finish,
};

static struct liveupdate_flb luo_early_flb = {
	.ops = &luo_early_ops,
	.compatible = LUO_EARLY_COMPATIBLE,
};

/* An FLB can be had as soon as it has a handler, which need not be known yet. */
static struct liveupdate_file_handler luo_early_handler;

static int __init luo_early_parse(char *arg)
{
	luo_early_wanted = true;
	return 0;
}
early_param("luo_early_test", luo_early_parse);

static int __init luo_early_get(void)
{
	void *obj;
	int err;

	if (!luo_early_wanted)
		return 0;
	err = liveupdate_register_flb(&luo_early_handler, &luo_early_flb);
	if (!err)
		err = liveupdate_flb_get_incoming(&luo_early_flb, &obj);
	if (err) {
		pr_info("no object: %pe\n", ERR_PTR(err));
		return 0;
	}
	pr_info("got the object of update %llu\n", *(u64 *)obj);
	liveupdate_flb_put_incoming(&luo_early_flb);
	return 0;
}
core_initcall(luo_early_get);

static int __init luo_early_bind(void)
{
	struct liveupdate_file_handler *fh;

	if (!luo_early_wanted || !liveupdate_enabled())
		return 0;
	fh = luo_handler_by_name(MEMFD_LUO_FH_COMPATIBLE);
	if (!fh)
		return -ENOENT;
	/* It is built in, and stays. */
	luo_handler_put(fh);
	return liveupdate_register_flb(fh, &luo_early_flb);
}
late_initcall_sync(luo_early_bind);
