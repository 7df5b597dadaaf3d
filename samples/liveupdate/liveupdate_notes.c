// SPDX-License-Identifier: GPL-2.0
/*
 * A sample: how files of a driver get over a live update. Every open of
 * /dev/liveupdate_notes gives an empty notebook, a few pages to read and write. A
 * program that puts the file into a session finds its notes in the next kernel:
 *
 *	old kernel				next kernel
 *	PRESERVE_FD -> notes_preserve()		RETRIEVE_FD -> notes_retrieve()
 *	reboot      -> notes_freeze()		FINISH      -> notes_finish()
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define NOTES_SIZE		(8 * PAGE_SIZE)
#define NOTES_COMPATIBLE	"sample-notes-v1"	/* of struct notes_ser */

/* Goes along: where the pages are. Another layout needs another name. */
struct notes_ser {
	struct kho_vmalloc pages;
	u64 size;
} __packed;

struct notes {
	struct mutex lock;	/* protects what follows */
	char *text;
	size_t size;
	bool frozen;
};

/* The driver, as it would be without live update, but for "frozen". */
static int notes_open(struct inode *inode, struct file *file)
{
	struct notes *notes = kzalloc(sizeof(*notes), GFP_KERNEL);

	if (notes)
		notes->text = vzalloc(NOTES_SIZE);
	if (!notes || !notes->text) {
		kfree(notes);
		return -ENOMEM;
	}
	mutex_init(&notes->lock);
	file->private_data = notes;
	return 0;
}

static int notes_release(struct inode *inode, struct file *file)
{
	struct notes *notes = file->private_data;

	vfree(notes->text);
	kfree(notes);
	return 0;
}

static ssize_t notes_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	struct notes *notes = file->private_data;

	return simple_read_from_buffer(buf, len, pos, notes->text, READ_ONCE(notes->size));
}

/*
 * User memory is read before the lock is taken: notes_freeze() waits for the
 * lock, and a fault lasts as long as the owner of the memory likes.
 */
static ssize_t notes_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct notes *notes = file->private_data;

	if (*pos + len > NOTES_SIZE)
		return -ENOSPC;

	char *copy __free(kvfree) = vmemdup_user(buf, len);

	if (IS_ERR(copy))
		return PTR_ERR(copy);
	guard(mutex)(&notes->lock);
	if (notes->frozen)	/* to wait would be kinder */
		return -EBUSY;
	memcpy(notes->text + *pos, copy, len);
	*pos += len;
	WRITE_ONCE(notes->size, max_t(size_t, notes->size, *pos));
	return len;
}

static const struct file_operations notes_fops = {
	.owner = THIS_MODULE, .open = notes_open, .release = notes_release,
	.read = notes_read, .write = notes_write,
};

/* Live update, in the old kernel: which files are ours? */
static bool notes_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	/* Others would have to come back as they were opened, too. */
	return file->f_op == &notes_fops && (file->f_flags & O_ACCMODE) == O_RDWR;
}

/* Everything that can fail belongs here, long before the reboot. */
static int notes_preserve(struct liveupdate_file_op_args *args)
{
	struct notes *notes = args->file->private_data;
	struct notes_ser *ser;
	int err;

	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	err = kho_preserve_vmalloc(notes->text, &ser->pages);
	if (err) {
		kho_unpreserve_free(ser);
		return err;
	}
	args->serialized_data = virt_to_phys(ser);
	args->private_data = ser;
	return 0;
}

static void notes_unpreserve(struct liveupdate_file_op_args *args)
{
	struct notes_ser *ser = args->private_data;

	kho_unpreserve_vmalloc(&ser->pages);
	kho_unpreserve_free(ser);
}

/* The file was in use until now: write down the rest, and let nobody change it. */
static int notes_freeze(struct liveupdate_file_op_args *args)
{
	struct notes *notes = args->file->private_data;
	struct notes_ser *ser = args->private_data;

	guard(mutex)(&notes->lock);
	notes->frozen = true;
	ser->size = notes->size;
	return 0;
}

/* The reboot failed after all. */
static void notes_unfreeze(struct liveupdate_file_op_args *args)
{
	struct notes *notes = args->file->private_data;

	guard(mutex)(&notes->lock);
	notes->frozen = false;
}

/* In the next kernel. The number came from another kernel: look before using it. */
static struct notes_ser *notes_ser_get(u64 data)
{
	struct notes_ser *ser = kho_is_preserved(data, 0) ? phys_to_virt(data) : NULL;

	return ser && ser->size <= NOTES_SIZE &&
	       ser->pages.total_pages == NOTES_SIZE / PAGE_SIZE ? ser : NULL;
}

static int notes_retrieve(struct liveupdate_file_op_args *args)
{
	struct notes_ser *ser = notes_ser_get(args->serialized_data);
	struct notes *notes;
	struct file *file;

	if (!ser)
		return -EBADMSG;

	/* First what can fail and leaves no trace, last what takes the pages. */
	notes = kzalloc(sizeof(*notes), GFP_KERNEL);
	if (!notes)
		return -ENOMEM;
	mutex_init(&notes->lock);
	file = anon_inode_getfile("[liveupdate_notes]", &notes_fops, notes, O_RDWR);
	if (IS_ERR(file)) {
		kfree(notes);
		/* Too many open files: that may pass, while an error is for ever. */
		return PTR_ERR(file) == -ENFILE ? -EAGAIN : PTR_ERR(file);
	}
	file->f_mode |= FMODE_PREAD | FMODE_PWRITE;
	notes->size = ser->size;
	notes->text = kho_restore_vmalloc(&ser->pages);
	if (!notes->text) {
		fput(file);
		return kho_is_preserved(ser->pages.first, 0) ? -ENOMEM : -EIO;
	}
	/* The next update, which may come before FINISH, makes another one. */
	kho_restore_free(ser);
	args->file = file;
	return 0;
}

/* Nobody asked for the file, or it could not be made. */
static void notes_finish(struct liveupdate_file_op_args *args)
{
	struct notes_ser *ser = args->file ? NULL : notes_ser_get(args->serialized_data);

	if (!ser)
		return;
	if (kho_is_preserved(ser->pages.first, 0))
		vfree(kho_restore_vmalloc(&ser->pages));
	kho_restore_free(ser);
}

static const struct liveupdate_file_ops notes_luo_ops = {
	.owner = THIS_MODULE, .can_preserve = notes_can_preserve,
	.preserve = notes_preserve, .unpreserve = notes_unpreserve,
	.freeze = notes_freeze, .unfreeze = notes_unfreeze,
	.retrieve = notes_retrieve, .finish = notes_finish,
};

static struct liveupdate_file_handler notes_handler = {
	.ops = &notes_luo_ops, .compatible = NOTES_COMPATIBLE,
};

static struct miscdevice notes_device = {
	.minor = MISC_DYNAMIC_MINOR, .name = "liveupdate_notes", .fops = &notes_fops,
};

/* The handler comes last: then nothing fails when somebody has a file already. */
static int __init notes_init(void)
{
	int err = misc_register(&notes_device);

	if (err)
		return err;
	err = liveupdate_register_file_handler(&notes_handler);
	if (err == -EOPNOTSUPP)
		return 0;	/* live update is off: go on without */
	if (err)
		misc_deregister(&notes_device);
	return err;
}
module_init(notes_init);

static void __exit notes_exit(void)
{
	misc_deregister(&notes_device);
	liveupdate_unregister_file_handler(&notes_handler);
}
module_exit(notes_exit);

MODULE_DESCRIPTION("A sample of a driver whose files survive a live update");
MODULE_LICENSE("GPL");
