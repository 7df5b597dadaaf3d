// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: the device and all requests.
 */

/**
 * DOC: Requests
 *
 * Each request is a row in one of two tables, for the device and for sessions:
 * its number, the sizes of its structure, what it gives back, and the function
 * that does it. The dispatcher does all that touches user memory or the
 * caller's table of descriptors, so that a function in a row sees plain
 * structures and returns plain errors.
 *
 * A descriptor number is taken before the function runs, when failing costs
 * nothing, and installed after the caller has been told the number: nobody can
 * see a descriptor of a request that failed.
 */

#include <linux/atomic.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "luo_internal.h"

/* All structures that return a descriptor have it behind their size. */
struct luo_args_fd {
	__u32 size;
	__s32 fd;
};

union luo_args {
	struct luo_args_fd head;
	struct liveupdate_ioctl_create_session create;
	struct liveupdate_ioctl_retrieve_session retrieve;
	struct liveupdate_ioctl_next_session next;
	struct liveupdate_ioctl_retrieve_session_id retrieve_id;
	struct liveupdate_ioctl_discard_session discard;
	struct liveupdate_session_preserve_fd preserve_fd;
	struct liveupdate_session_retrieve_fd retrieve_fd;
	struct liveupdate_session_finish finish;
	struct liveupdate_session_get_name get_name;
};

static_assert(offsetof(union luo_args, create.fd) ==
	      offsetof(union luo_args, head.fd));
static_assert(offsetof(union luo_args, retrieve.fd) ==
	      offsetof(union luo_args, head.fd));
static_assert(offsetof(union luo_args, retrieve_id.fd) ==
	      offsetof(union luo_args, head.fd));
static_assert(offsetof(union luo_args, retrieve_fd.fd) ==
	      offsetof(union luo_args, head.fd));

/**
 * struct luo_call - a request under way
 * @session: session it is for; %NULL on the device
 * @args:    the caller's structure, cut or padded to the size known here
 * @file:    result of a request that returns a descriptor, with a reference
 */
struct luo_call {
	struct luo_session *session;
	union luo_args args;
	struct file *file;
};

enum luo_reply {
	LUO_REPLY_NOTHING,
	LUO_REPLY_ARGS,
	LUO_REPLY_FD,
};

/**
 * struct luo_request - a row of a table
 * @cmd:      number of the request
 * @min_size: size of the first version of its structure
 * @size:     size of its structure now
 * @reply:    what the caller gets
 * @any_time: @run needs nothing that the reboot stops
 * @run:      does it, with &luo_gate held for reading unless @any_time
 */
struct luo_request {
	unsigned int cmd;
	u32 min_size;
	u32 size;
	enum luo_reply reply;
	bool any_time;
	int (*run)(struct luo_call *call);
};

#define LUO_REQUEST(_cmd, _struct, _last, _reply, _run, ...)	\
	{							\
		.cmd = _cmd,					\
		.min_size = offsetofend(union luo_args, _last),	\
		.size = sizeof_field(union luo_args, _struct),	\
		.reply = _reply,				\
		.run = _run,					\
		__VA_ARGS__					\
	}

static bool luo_name_is_valid(const char *name)
{
	return name[0] && memchr(name, 0, LIVEUPDATE_SESSION_NAME_LENGTH);
}

static int luo_return_file(struct luo_call *call, struct file *file)
{
	if (IS_ERR(file))
		return PTR_ERR(file);
	call->file = file;
	return 0;
}

static int luo_run_create_session(struct luo_call *call)
{
	const char *name = (const char *)call->args.create.name;

	if (!luo_name_is_valid(name))
		return -EINVAL;
	return luo_return_file(call, luo_session_create(name));
}

static int luo_run_retrieve_session(struct luo_call *call)
{
	const char *name = (const char *)call->args.retrieve.name;

	if (!luo_name_is_valid(name))
		return -EINVAL;
	return luo_return_file(call, luo_session_retrieve(name));
}

static int luo_run_next_session(struct luo_call *call)
{
	return luo_session_next(&call->args.next);
}

static int luo_run_retrieve_session_id(struct luo_call *call)
{
	u64 id = call->args.retrieve_id.id;

	return luo_return_file(call, luo_session_retrieve_id(id));
}

static int luo_run_discard_session(struct luo_call *call)
{
	if (call->args.discard.reserved)
		return -EINVAL;
	return luo_session_discard(call->args.discard.id);
}

static int luo_run_preserve_fd(struct luo_call *call)
{
	return luo_session_preserve_fd(call->session,
				       call->args.preserve_fd.fd,
				       call->args.preserve_fd.token);
}

static int luo_run_retrieve_fd(struct luo_call *call)
{
	u64 token = call->args.retrieve_fd.token;

	return luo_return_file(call, luo_session_retrieve_fd(call->session,
							     token));
}

static int luo_run_finish(struct luo_call *call)
{
	if (call->args.finish.reserved)
		return -EINVAL;
	return luo_session_finish(call->session);
}

static int luo_run_get_name(struct luo_call *call)
{
	struct liveupdate_session_get_name *args = &call->args.get_name;

	if (args->reserved)
		return -EINVAL;
	memcpy(args->name, call->session->name, sizeof(args->name));
	return 0;
}

static const struct luo_request luo_device_requests[] = {
	LUO_REQUEST(LIVEUPDATE_IOCTL_CREATE_SESSION,
		    create, create.name,
		    LUO_REPLY_FD, luo_run_create_session),
	LUO_REQUEST(LIVEUPDATE_IOCTL_RETRIEVE_SESSION,
		    retrieve, retrieve.name,
		    LUO_REPLY_FD, luo_run_retrieve_session),
	LUO_REQUEST(LIVEUPDATE_IOCTL_NEXT_SESSION,
		    next, next.name,
		    LUO_REPLY_ARGS, luo_run_next_session),
	LUO_REQUEST(LIVEUPDATE_IOCTL_RETRIEVE_SESSION_ID,
		    retrieve_id, retrieve_id.id,
		    LUO_REPLY_FD, luo_run_retrieve_session_id),
	LUO_REQUEST(LIVEUPDATE_IOCTL_DISCARD_SESSION,
		    discard, discard.id,
		    LUO_REPLY_NOTHING, luo_run_discard_session),
	{ }
};

static const struct luo_request luo_session_requests[] = {
	LUO_REQUEST(LIVEUPDATE_SESSION_PRESERVE_FD,
		    preserve_fd, preserve_fd.token,
		    LUO_REPLY_NOTHING, luo_run_preserve_fd),
	LUO_REQUEST(LIVEUPDATE_SESSION_RETRIEVE_FD,
		    retrieve_fd, retrieve_fd.token,
		    LUO_REPLY_FD, luo_run_retrieve_fd),
	LUO_REQUEST(LIVEUPDATE_SESSION_FINISH,
		    finish, finish.reserved,
		    LUO_REPLY_NOTHING, luo_run_finish),
	LUO_REQUEST(LIVEUPDATE_SESSION_GET_NAME,
		    get_name, get_name.name,
		    LUO_REPLY_ARGS, luo_run_get_name, .any_time = true),
	{ }
};

static int luo_run(const struct luo_request *req, struct luo_call *call)
{
	if (req->any_time)
		return req->run(call);
	scoped_cond_guard(rwsem_read_kill, return -EINTR, &luo_gate)
		return luo_sessions_reap_killable() ?: req->run(call);
}

/* @size is what the caller said: no byte behind its structure is written. */
static int luo_reply(const struct luo_request *req, const struct luo_call *call,
		     void __user *uarg, u32 size)
{
	if (copy_to_user(uarg, &call->args, min(size, req->size)))
		return -EFAULT;
	return 0;
}

static int luo_run_for_fd(const struct luo_request *req, struct luo_call *call,
			  struct luo_args_fd __user *uarg)
{
	int err;

	/*
	 * A retrieved file cannot be made unretrieved, so that the result can
	 * be written is tried first, with what is there already.
	 */
	if (put_user(call->args.head.fd, &uarg->fd))
		return -EFAULT;

	CLASS(get_unused_fd, fd)(O_CLOEXEC);
	if (fd < 0)
		return fd;

	err = luo_run(req, call);
	if (err)
		return err;

	/*
	 * If the caller cannot be told after all, the last reference closes
	 * what it would have got: a new session is gone, an incoming one is
	 * back.
	 */
	struct file *file __free(fput) = call->file;

	if (put_user(fd, &uarg->fd))
		return -EFAULT;

	fd_install(take_fd(fd), no_free_ptr(file));
	return 0;
}

static long luo_dispatch(const struct luo_request *req,
			 struct luo_session *session, unsigned int cmd,
			 void __user *uarg)
{
	struct luo_call call = { .session = session };
	u32 size;
	int err;

	while (req->run && req->cmd != cmd)
		req++;
	if (!req->run)
		return -ENOTTY;

	if (get_user(size, (u32 __user *)uarg))
		return -EFAULT;
	if (size < req->min_size)
		return -EINVAL;
	err = copy_struct_from_user(&call.args, req->size, uarg, size);
	if (err)
		return err;

	if (req->reply == LUO_REPLY_FD)
		return luo_run_for_fd(req, &call, uarg);

	err = luo_run(req, &call);
	if (!err && req->reply == LUO_REPLY_ARGS)
		err = luo_reply(req, &call, uarg, size);
	return err;
}

/**
 * luo_session_ioctl - a request on a session
 * @file: the session's file
 * @cmd:  number of the request
 * @arg:  address of its structure
 *
 * Context: process context, may sleep; takes &luo_gate.
 * Return: 0, -%ENOTTY for an unknown request, -%EINVAL or -%E2BIG for a size
 * that does not fit it, -%EFAULT for a bad address, -%EINTR when killed while
 * a reboot was under way, or the request's own error.
 */
long luo_session_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return luo_dispatch(luo_session_requests, file->private_data, cmd,
			    (void __user *)arg);
}

static long luo_device_ioctl(struct file *file, unsigned int cmd,
			     unsigned long arg)
{
	return luo_dispatch(luo_device_requests, NULL, cmd,
			    (void __user *)arg);
}

/* One agent at a time, so that two cannot divide the sessions among them. */
static atomic_t luo_device_in_use = ATOMIC_INIT(0);

static int luo_device_open(struct inode *inode, struct file *file)
{
	int err;

	if (atomic_cmpxchg(&luo_device_in_use, 0, 1))
		return -EBUSY;
	err = luo_wire_read_in();
	if (err) {
		atomic_set_release(&luo_device_in_use, 0);
		return err;
	}
	return nonseekable_open(inode, file);
}

static int luo_device_release(struct inode *inode, struct file *file)
{
	atomic_set_release(&luo_device_in_use, 0);
	return 0;
}

static const struct file_operations luo_device_fops = {
	.owner = THIS_MODULE,
	.open = luo_device_open,
	.release = luo_device_release,
	.unlocked_ioctl = luo_device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice luo_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "liveupdate",
	.fops = &luo_device_fops,
	.mode = 0600,
};

static int __init luo_device_init(void)
{
	return liveupdate_enabled() ? misc_register(&luo_device) : 0;
}
device_initcall(luo_device_init);
