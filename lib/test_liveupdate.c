// SPDX-License-Identifier: GPL-2.0
/*
 * Handlers and FLBs for the tests of live update: they log every operation,
 * warn about one that must not come now, and fail where they are told to.
 *
 * /dev/liveupdate_test0 and 1 give files of two handlers. A file has a number,
 * set by write(2) and got by read(2), which survives an update. The first
 * handler is bound up with FLBs 0, 1 and 2, the second one with FLB 0.
 *
 * debugfs, liveupdate_test/:
 *
 *	log	an operation a line: its name, handler or FLB, number of the
 *		file or value of the FLB, and an error that was made up
 *	ctl	commands; those with an errno give it as that of write(2):
 *		clear				empty the log
 *		fail OPERATION NTH ERRNO TIMES	the NTH from now on, 1 is the next
 *		hold OPERATION			it waits, once it is logged, for
 *		release				this, or to be killed
 *		register|unregister HANDLER
 *		register_flb|unregister_flb HANDLER FLB
 *		get_in|put_in|get_out|put_out FLB
 *		set FLB VALUE			of the outgoing object
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define TEST_NAME(what)	"liveupdate-test-" what "-v1"
#define TEST_HANDLERS	2
#define TEST_FLBS	3
#define TEST_LOG_SIZE	SZ_64K
#define TEST_MAGIC	0x6c755f7465737421ULL

static unsigned int flbs = TEST_FLBS;
module_param(flbs, uint, 0444);
MODULE_PARM_DESC(flbs, "FLBs that there is an implementation of");

static bool bare;
module_param(bare, bool, 0444);
MODULE_PARM_DESC(bare, "Files do not hold the module, only their handlers do");

enum test_op {
	TEST_CAN_PRESERVE, TEST_PRESERVE, TEST_UNPRESERVE, TEST_FREEZE,
	TEST_UNFREEZE, TEST_RETRIEVE, TEST_CAN_FINISH, TEST_FINISH, TEST_GET_ID,
	TEST_FLB_PRESERVE, TEST_FLB_UNPRESERVE, TEST_FLB_RETRIEVE,
	TEST_FLB_FINISH, TEST_FLB_GET, TEST_OPS,
};

static const char * const test_op_names[TEST_OPS] = {
	"can_preserve", "preserve", "unpreserve", "freeze",
	"unfreeze", "retrieve", "can_finish", "finish", "get_id",
	"flb_preserve", "flb_unpreserve", "flb_retrieve",
	"flb_finish", "flb_get",
};

/**
 * struct test_file - a file of ours
 * @id:        its number
 * @nr:        its handler
 * @preserved: preserve() came, unpreserve() did not
 * @frozen:    freeze() came, unfreeze() did not
 * @incoming:  retrieve() made it, finish() did not come
 */
struct test_file {
	u64 id;
	unsigned int nr;
	bool preserved;
	bool frozen;
	bool incoming;
};

/* The object of an FLB, a page. @updates counts the kernels it came through. */
struct test_flb_page {
	u64 magic;
	u64 value;
	u64 updates;
};

/* One failure can be ordered at a time. */
struct test_failure {
	int op;
	unsigned int nth;
	int err;
	unsigned int times;
};

static DEFINE_MUTEX(test_lock);	/* log and failure; innermost */
static struct test_failure test_failure = { .op = -1 };
static char *test_log;
static size_t test_log_len;

static const struct file_operations test_fops[2 * TEST_HANDLERS];
static struct liveupdate_file_handler test_handlers[TEST_HANDLERS];
static struct liveupdate_flb test_flbs[TEST_FLBS];
static bool test_registered[TEST_HANDLERS];

/* The operation that waits, or -1. */
static int test_held = -1;
static DECLARE_WAIT_QUEUE_HEAD(test_released);

static int test_note(enum test_op op, unsigned int nr, u64 id)
{
	struct test_failure *f = &test_failure;
	int err = 0;

	guard(mutex)(&test_lock);
	if (f->op == op && f->nth && !--f->nth) {
		err = f->err;
		f->nth = --f->times ? 1 : 0;
	}
	test_log_len += scnprintf(test_log + test_log_len,
				  TEST_LOG_SIZE - test_log_len, "%s %u %llu",
				  test_op_names[op], nr, id);
	if (err)
		test_log_len += scnprintf(test_log + test_log_len,
					  TEST_LOG_SIZE - test_log_len, " %d",
					  err);
	test_log_len += scnprintf(test_log + test_log_len,
				  TEST_LOG_SIZE - test_log_len, "\n");
	return -err;
}

/* Log an operation; returns the error that was ordered for it. */
static int test_event(enum test_op op, unsigned int nr, u64 id)
{
	int err = test_note(op, nr, id);

	if (wait_event_killable(test_released, READ_ONCE(test_held) != op))
		return err ?: -EINTR;
	return err;
}

/*
 * Files
 */

static struct test_file *test_file_alloc(unsigned int nr, u64 id)
{
	struct test_file *tf = kzalloc(sizeof(*tf), GFP_KERNEL);

	if (tf) {
		tf->nr = nr;
		tf->id = id;
	}
	return tf;
}

static int test_open(struct inode *inode, struct file *file)
{
	unsigned int nr = (file->f_op - test_fops) % TEST_HANDLERS;

	file->private_data = test_file_alloc(nr, 0);
	return file->private_data ? 0 : -ENOMEM;
}

static int test_release(struct inode *inode, struct file *file)
{
	struct test_file *tf = file->private_data;

	WARN_ON(tf->preserved || tf->frozen || tf->incoming);
	kfree(tf);
	return 0;
}

static ssize_t test_read(struct file *file, char __user *buf, size_t len,
			 loff_t *pos)
{
	struct test_file *tf = file->private_data;

	if (len != sizeof(tf->id))
		return -EINVAL;
	return copy_to_user(buf, &tf->id, len) ? -EFAULT : len;
}

static ssize_t test_write(struct file *file, const char __user *buf, size_t len,
			  loff_t *pos)
{
	struct test_file *tf = file->private_data;

	if (len != sizeof(tf->id))
		return -EINVAL;
	return copy_from_user(&tf->id, buf, len) ? -EFAULT : len;
}

#define TEST_FOPS(module) {		\
	.owner = (module),		\
	.open = test_open,		\
	.release = test_release,	\
	.read = test_read,		\
	.write = test_write,		\
}

/* One for each handler, which knows its files by it; behind them bare ones. */
static const struct file_operations test_fops[2 * TEST_HANDLERS] = {
	TEST_FOPS(THIS_MODULE), TEST_FOPS(THIS_MODULE),
	TEST_FOPS(NULL), TEST_FOPS(NULL),
};

static const struct file_operations *test_fops_of(unsigned int nr)
{
	return &test_fops[nr + bare * TEST_HANDLERS];
}

#define TEST_MISC(n) {				\
	.minor = MISC_DYNAMIC_MINOR,		\
	.name = "liveupdate_test" #n,		\
	.mode = 0600,				\
}

static struct miscdevice test_devices[TEST_HANDLERS] = {
	TEST_MISC(0), TEST_MISC(1),
};

/*
 * Handlers
 */

static unsigned int test_nr(const struct liveupdate_file_handler *fh)
{
	return fh - test_handlers;
}

static bool test_can_preserve(struct liveupdate_file_handler *fh,
			      struct file *file)
{
	struct test_file *tf = file->private_data;

	return file->f_op == test_fops_of(test_nr(fh)) &&
	       !test_event(TEST_CAN_PRESERVE, tf->nr, tf->id);
}

static int test_preserve(struct liveupdate_file_op_args *args)
{
	struct test_file *tf = args->file->private_data;
	int err = test_event(TEST_PRESERVE, tf->nr, tf->id);

	WARN_ON(tf->preserved || tf->frozen);
	if (err)
		return err;
	tf->preserved = true;
	args->serialized_data = tf->id;
	args->private_data = tf;
	return 0;
}

static void test_unpreserve(struct liveupdate_file_op_args *args)
{
	struct test_file *tf = args->private_data;

	test_event(TEST_UNPRESERVE, tf->nr, tf->id);
	WARN_ON(!tf->preserved || tf->frozen);
	tf->preserved = false;
}

static int test_freeze(struct liveupdate_file_op_args *args)
{
	struct test_file *tf = args->private_data;
	int err = test_event(TEST_FREEZE, tf->nr, tf->id);

	WARN_ON(!tf->preserved || tf->frozen);
	if (err)
		return err;
	tf->frozen = true;
	args->serialized_data = tf->id;
	return 0;
}

static void test_unfreeze(struct liveupdate_file_op_args *args)
{
	struct test_file *tf = args->private_data;

	test_event(TEST_UNFREEZE, tf->nr, tf->id);
	WARN_ON(!tf->frozen);
	tf->frozen = false;
}

static int test_retrieve(struct liveupdate_file_op_args *args)
{
	unsigned int nr = test_nr(args->handler);
	int err = test_event(TEST_RETRIEVE, nr, args->serialized_data);
	struct test_file *tf;
	struct file *file;

	if (err)
		return err;
	tf = test_file_alloc(nr, args->serialized_data);
	if (!tf)
		return -ENOMEM;

	file = anon_inode_getfile("[liveupdate_test]", test_fops_of(nr), tf,
				  O_RDWR);
	if (IS_ERR(file)) {
		kfree(tf);
		return PTR_ERR(file) == -ENFILE ? -EAGAIN : PTR_ERR(file);
	}
	tf->incoming = true;
	args->file = file;
	args->private_data = tf;
	return 0;
}

static bool test_can_finish(struct liveupdate_file_op_args *args)
{
	return !test_event(TEST_CAN_FINISH, test_nr(args->handler),
			   args->serialized_data);
}

static void test_finish(struct liveupdate_file_op_args *args)
{
	struct test_file *tf = args->private_data;

	test_event(TEST_FINISH, test_nr(args->handler), args->serialized_data);
	WARN_ON(!!args->file != (args->retrieve_status == 1));
	WARN_ON(!!args->file != !!tf);
	if (!tf)
		return;
	WARN_ON(!tf->incoming || tf->preserved);
	tf->incoming = false;
}

static unsigned long test_get_id(struct file *file)
{
	struct test_file *tf = file->private_data;

	test_event(TEST_GET_ID, tf->nr, tf->id);
	return (unsigned long)tf;
}

static const struct liveupdate_file_ops test_ops = {
	.can_preserve = test_can_preserve,
	.preserve = test_preserve,
	.unpreserve = test_unpreserve,
	.freeze = test_freeze,
	.unfreeze = test_unfreeze,
	.retrieve = test_retrieve,
	.can_finish = test_can_finish,
	.finish = test_finish,
	.get_id = test_get_id,
	.owner = THIS_MODULE,
};

/* Only what is required. */
static const struct liveupdate_file_ops test_plain_ops = {
	.can_preserve = test_can_preserve,
	.preserve = test_preserve,
	.unpreserve = test_unpreserve,
	.retrieve = test_retrieve,
	.finish = test_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_file_handler test_handlers[TEST_HANDLERS] = {
	{ .ops = &test_ops, .compatible = TEST_NAME("0") },
	{ .ops = &test_plain_ops, .compatible = TEST_NAME("1") },
};

/*
 * FLBs
 */

static unsigned int test_flb_nr(const struct liveupdate_flb *flb)
{
	return flb - test_flbs;
}

static int test_flb_preserve(struct liveupdate_flb_op_args *argp)
{
	unsigned int nr = test_flb_nr(argp->flb);
	struct test_flb_page *page, *in = argp->obj;
	int err = test_event(TEST_FLB_PRESERVE, nr, in ? in->value : 0);

	if (err)
		return err;
	page = kho_alloc_preserve(sizeof(*page));
	if (IS_ERR(page))
		return PTR_ERR(page);

	page->magic = TEST_MAGIC + nr;
	if (in) {
		page->value = in->value;
		page->updates = in->updates;
	}
	argp->obj = page;
	argp->data = virt_to_phys(page);
	return 0;
}

static void test_flb_unpreserve(struct liveupdate_flb_op_args *argp)
{
	struct test_flb_page *page = argp->obj;

	test_event(TEST_FLB_UNPRESERVE, test_flb_nr(argp->flb), page->value);
	WARN_ON(argp->data != virt_to_phys(page));
	kho_unpreserve_free(page);
}

static int test_flb_retrieve(struct liveupdate_flb_op_args *argp)
{
	unsigned int nr = test_flb_nr(argp->flb);
	struct test_flb_page *page;
	struct folio *folio;
	int err;

	err = test_event(TEST_FLB_RETRIEVE, nr, 0);
	if (err)
		return err;
	folio = kho_restore_folio(argp->data);
	if (WARN_ON(!folio))
		return -EBADMSG;
	page = folio_address(folio);
	WARN_ON(page->magic != TEST_MAGIC + nr);
	page->updates++;
	argp->obj = page;
	return 0;
}

static void test_flb_finish(struct liveupdate_flb_op_args *argp)
{
	struct test_flb_page *page = argp->obj;

	test_event(TEST_FLB_FINISH, test_flb_nr(argp->flb), page->value);
	page->magic = 0;
	folio_put(virt_to_folio(page));
}

static const struct liveupdate_flb_ops test_flb_ops = {
	.preserve = test_flb_preserve,
	.unpreserve = test_flb_unpreserve,
	.retrieve = test_flb_retrieve,
	.finish = test_flb_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_flb test_flbs[TEST_FLBS] = {
	{ .ops = &test_flb_ops, .compatible = TEST_NAME("flb-0") },
	{ .ops = &test_flb_ops, .compatible = TEST_NAME("flb-1") },
	{ .ops = &test_flb_ops, .compatible = TEST_NAME("flb-2") },
};

static int test_flb_get(unsigned int nr, bool in)
{
	struct test_flb_page *page;
	void *obj;
	int err;

	err = in ? liveupdate_flb_get_incoming(&test_flbs[nr], &obj) :
		   liveupdate_flb_get_outgoing(&test_flbs[nr], &obj);
	if (err)
		return err;
	page = obj;
	WARN_ON(page->magic != TEST_MAGIC + nr);
	test_event(TEST_FLB_GET, nr, page->value);
	return 0;
}

static int test_flb_set(unsigned int nr, u64 value)
{
	struct test_flb_page *page;
	void *obj;
	int err;

	err = liveupdate_flb_get_outgoing(&test_flbs[nr], &obj);
	if (err)
		return err;
	page = obj;
	page->value = value;
	liveupdate_flb_put_outgoing(&test_flbs[nr]);
	return 0;
}

/*
 * Orders
 */

static int test_register(unsigned int nr)
{
	int err = liveupdate_register_file_handler(&test_handlers[nr]);

	test_registered[nr] |= !err;
	return err;
}

static int test_unregister(unsigned int nr)
{
	int err = liveupdate_unregister_file_handler(&test_handlers[nr]);

	test_registered[nr] &= !!err;
	return err;
}

static int test_clear(void)
{
	guard(mutex)(&test_lock);
	test_log_len = 0;
	test_log[0] = 0;
	return 0;
}

static int test_fail(const char *name, const struct test_failure *f)
{
	int op = match_string(test_op_names, TEST_OPS, name);

	if (op < 0)
		return op;
	guard(mutex)(&test_lock);
	test_failure = *f;
	test_failure.op = op;
	return 0;
}

static int test_hold(const char *name)
{
	int op = name ? match_string(test_op_names, TEST_OPS, name) : -1;

	if (name && op < 0)
		return op;
	WRITE_ONCE(test_held, op);
	wake_up_all(&test_released);
	return 0;
}

static int test_command(const char *line)
{
	struct test_failure f = { };
	char word[24], name[24];
	unsigned int nr = 0;
	u64 arg = 0;

	if (sscanf(line, "fail %23s %u %d %u", name, &f.nth, &f.err,
		   &f.times) == 4)
		return test_fail(name, &f);
	if (sscanf(line, "hold %23s", name) == 1)
		return test_hold(name);
	if (sscanf(line, "%23s %u %llu", word, &nr, &arg) < 1)
		return -EINVAL;

	if (!strcmp(word, "clear"))
		return test_clear();
	if (!strcmp(word, "release"))
		return test_hold(NULL);
	if (!strcmp(word, "register") && nr < TEST_HANDLERS)
		return test_register(nr);
	if (!strcmp(word, "unregister") && nr < TEST_HANDLERS)
		return test_unregister(nr);
	if (nr < TEST_HANDLERS && arg < TEST_FLBS) {
		if (!strcmp(word, "register_flb"))
			return liveupdate_register_flb(&test_handlers[nr],
						       &test_flbs[arg]);
		if (!strcmp(word, "unregister_flb"))
			return liveupdate_unregister_flb(&test_handlers[nr],
							 &test_flbs[arg]);
	}
	if (nr >= TEST_FLBS)
		return -EINVAL;
	if (!strcmp(word, "get_in") || !strcmp(word, "get_out"))
		return test_flb_get(nr, !strcmp(word, "get_in"));
	if (!strcmp(word, "put_in"))
		liveupdate_flb_put_incoming(&test_flbs[nr]);
	else if (!strcmp(word, "put_out"))
		liveupdate_flb_put_outgoing(&test_flbs[nr]);
	else if (!strcmp(word, "set"))
		return test_flb_set(nr, arg);
	else
		return -EINVAL;
	return 0;
}

static ssize_t test_ctl_write(struct file *file, const char __user *buf,
			      size_t count, loff_t *pos)
{
	char line[80] = { };
	int err;

	if (count >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, count))
		return -EFAULT;
	err = test_command(line);
	return err ?: count;
}

static const struct file_operations test_ctl_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = test_ctl_write,
};

static int test_log_show(struct seq_file *m, void *unused)
{
	guard(mutex)(&test_lock);
	seq_write(m, test_log, test_log_len);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(test_log);

/*
 * The module
 */

static struct dentry *test_dir;

static int test_bind(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < min(flbs, TEST_FLBS); i++) {
		err = liveupdate_register_flb(&test_handlers[0], &test_flbs[i]);
		if (err)
			return err;
	}
	if (!flbs)
		return 0;
	return liveupdate_register_flb(&test_handlers[1], &test_flbs[0]);
}

static void test_undo(unsigned int devices)
{
	unsigned int i, j;

	while (devices--)
		misc_deregister(&test_devices[devices]);
	for (i = 0; i < TEST_HANDLERS; i++) {
		if (test_registered[i])
			WARN_ON(test_unregister(i));
		for (j = 0; j < TEST_FLBS; j++)
			liveupdate_unregister_flb(&test_handlers[i],
						  &test_flbs[j]);
	}
	kfree(test_log);
}

static int __init test_liveupdate_init(void)
{
	unsigned int i, devices = 0;
	int err;

	test_log = kzalloc(TEST_LOG_SIZE, GFP_KERNEL);
	if (!test_log)
		return -ENOMEM;

	for (i = 0; i < TEST_HANDLERS; i++)
		test_devices[i].fops = test_fops_of(i);
	err = test_bind();
	for (i = 0; !err && i < TEST_HANDLERS; i++)
		err = test_register(i);
	for (i = 0; !err && i < TEST_HANDLERS; i++) {
		err = misc_register(&test_devices[i]);
		devices += !err;
	}
	if (err) {
		test_undo(devices);
		return err;
	}

	test_dir = debugfs_create_dir("liveupdate_test", NULL);
	debugfs_create_file("log", 0400, test_dir, NULL, &test_log_fops);
	debugfs_create_file("ctl", 0200, test_dir, NULL, &test_ctl_fops);
	return 0;
}
module_init(test_liveupdate_init);

static void __exit test_liveupdate_exit(void)
{
	debugfs_remove_recursive(test_dir);
	test_undo(TEST_HANDLERS);
}
module_exit(test_liveupdate_exit);

MODULE_DESCRIPTION("Handlers and FLBs for the tests of live update");
MODULE_LICENSE("GPL");
