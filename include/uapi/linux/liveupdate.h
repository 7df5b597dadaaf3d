/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Live update: keep files over a kexec into the next kernel.
 *
 * An agent opens /dev/liveupdate and creates named sessions; the holder of a
 * session preserves files in it, each under a token of its own choice. After
 * reboot(LINUX_REBOOT_CMD_KEXEC) the session is retrieved by its name from
 * the next kernel, and each file by its token.
 */
#ifndef _UAPI_LIVEUPDATE_H
#define _UAPI_LIVEUPDATE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Rules for all requests:
 *
 * - A request encodes its number only; the argument points to a structure
 *   whose first member holds the structure's size as the caller knows it.
 * - A size below the first version of the structure fails with EINVAL.
 * - A larger size is accepted while every byte the kernel does not know is
 *   zero, and fails with E2BIG otherwise.
 * - A request that the file does not know fails with ENOTTY, a bad pointer
 *   with EFAULT.
 */

/* The type of all requests, see Documentation/userspace-api/ioctl/. */
#define LIVEUPDATE_IOCTL_TYPE		0xBA

/* Longest session name in bytes, with the terminating NUL. */
#define LIVEUPDATE_SESSION_NAME_LENGTH	64

enum {
	/* on the device */
	LIVEUPDATE_CMD_BASE = 0x00,
	LIVEUPDATE_CMD_CREATE_SESSION = LIVEUPDATE_CMD_BASE,
	LIVEUPDATE_CMD_RETRIEVE_SESSION,
	LIVEUPDATE_CMD_NEXT_SESSION = 0x20,
	LIVEUPDATE_CMD_RETRIEVE_SESSION_ID,
	LIVEUPDATE_CMD_DISCARD_SESSION,

	/* on a session */
	LIVEUPDATE_CMD_SESSION_BASE = 0x40,
	LIVEUPDATE_CMD_SESSION_PRESERVE_FD = LIVEUPDATE_CMD_SESSION_BASE,
	LIVEUPDATE_CMD_SESSION_RETRIEVE_FD,
	LIVEUPDATE_CMD_SESSION_FINISH,
	LIVEUPDATE_CMD_SESSION_GET_NAME,
};

/**
 * struct liveupdate_ioctl_create_session - ioctl(LIVEUPDATE_IOCTL_CREATE_SESSION)
 * @size: in: sizeof(struct liveupdate_ioctl_create_session)
 * @fd:   out: file descriptor of the new session, close-on-exec
 * @name: in: the session's name, any non-empty string that ends within the
 *        array
 *
 * Makes an empty outgoing session. It lives as long as its descriptor is open
 * somewhere; closing the last one drops everything that it preserves.
 *
 * Fails with EINVAL for a name that is empty or does not end, and with EEXIST
 * for a name that another outgoing session bears.
 */
struct liveupdate_ioctl_create_session {
	__u32 size;
	__s32 fd;
	__u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

#define LIVEUPDATE_IOCTL_CREATE_SESSION					\
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_CREATE_SESSION)

/**
 * struct liveupdate_ioctl_retrieve_session - ioctl(LIVEUPDATE_IOCTL_RETRIEVE_SESSION)
 * @size: in: sizeof(struct liveupdate_ioctl_retrieve_session)
 * @fd:   out: file descriptor of the session, close-on-exec
 * @name: in: the name under which the previous kernel knew the session
 *
 * Takes a session over from the previous kernel. Closing it before it is
 * finished gives it back: it can be retrieved again.
 *
 * Fails with ENOENT when the previous kernel left no such session, with EBADMSG
 * when it left one whose list of files is damaged, and with EINVAL while
 * somebody holds it.
 */
struct liveupdate_ioctl_retrieve_session {
	__u32 size;
	__s32 fd;
	__u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

#define LIVEUPDATE_IOCTL_RETRIEVE_SESSION				\
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_RETRIEVE_SESSION)

/* What a session is at the moment, see struct liveupdate_ioctl_next_session. */
enum {
	/* made in this kernel, for the next one */
	LIVEUPDATE_SESSION_STATE_OUTGOING = 1,
	/* from the previous kernel, not finished; nobody holds it */
	LIVEUPDATE_SESSION_STATE_INCOMING,
	/* the same, but somebody holds its descriptor */
	LIVEUPDATE_SESSION_STATE_HELD,
};

/*
 * The session is found by its name: LIVEUPDATE_IOCTL_RETRIEVE_SESSION means
 * this one. Others of its name and kind are older and have their id only.
 */
#define LIVEUPDATE_SESSION_BY_NAME	0x1
/*
 * What its files were is lost: it cannot be retrieved (EBADMSG), only
 * discarded.
 */
#define LIVEUPDATE_SESSION_DAMAGED	0x2

/**
 * struct liveupdate_ioctl_next_session - ioctl(LIVEUPDATE_IOCTL_NEXT_SESSION)
 * @size:  in: sizeof(struct liveupdate_ioctl_next_session)
 * @state: out: a LIVEUPDATE_SESSION_STATE_* value; newer kernels may know more
 * @id:    in: 0, or the id of the session before; out: the session's id
 * @files: out: number of files in the session
 * @flags: out: LIVEUPDATE_SESSION_* flags; newer kernels may know more
 * @name:  out: the session's name, ends in a NUL
 *
 * Lists sessions: gives the one with the lowest id above @id. To see all,
 * begin with an @id of 0 and leave the structure as it is between the calls;
 * a session that is there from the first call to the last is seen once. An id
 * is never 0, counts up, and means one session until the next kernel; there,
 * the sessions get other ids. Finished sessions are no more, and have none.
 *
 * Fails with ENOENT when there is no session above @id. With an error nothing
 * is written.
 */
struct liveupdate_ioctl_next_session {
	__u32 size;
	__u32 state;
	__aligned_u64 id;
	__aligned_u64 files;
	__aligned_u64 flags;
	__u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

#define LIVEUPDATE_IOCTL_NEXT_SESSION					\
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_NEXT_SESSION)

/**
 * struct liveupdate_ioctl_retrieve_session_id - ioctl(LIVEUPDATE_IOCTL_RETRIEVE_SESSION_ID)
 * @size: in: sizeof(struct liveupdate_ioctl_retrieve_session_id)
 * @fd:   out: file descriptor of the session, close-on-exec
 * @id:   in: the session's id from LIVEUPDATE_IOCTL_NEXT_SESSION
 *
 * As LIVEUPDATE_IOCTL_RETRIEVE_SESSION, also for a session that is not found
 * by its name.
 *
 * Fails with ENOENT when there is no session with this id, EINVAL for an
 * outgoing one, EBADMSG for one whose list of files is damaged, and EBUSY while
 * somebody holds it.
 */
struct liveupdate_ioctl_retrieve_session_id {
	__u32 size;
	__s32 fd;
	__aligned_u64 id;
};

#define LIVEUPDATE_IOCTL_RETRIEVE_SESSION_ID				\
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_RETRIEVE_SESSION_ID)

/**
 * struct liveupdate_ioctl_discard_session - ioctl(LIVEUPDATE_IOCTL_DISCARD_SESSION)
 * @size:     in: sizeof(struct liveupdate_ioctl_discard_session)
 * @reserved: in: 0
 * @id:       in: the session's id from LIVEUPDATE_IOCTL_NEXT_SESSION
 *
 * Ends an incoming session that nobody wants, as LIVEUPDATE_SESSION_FINISH
 * does: what was not retrieved is freed, and it goes to no other kernel.
 *
 * Fails with EINVAL for an outgoing session or if @reserved is not 0, ENOENT
 * when there is no session with this id, EBUSY while somebody holds it or when
 * a file is not ready for it, EOPNOTSUPP while nothing in this kernel handles a
 * file that was not retrieved, and EAGAIN when state that files share cannot be
 * had now. Nothing has changed then.
 */
struct liveupdate_ioctl_discard_session {
	__u32 size;
	__u32 reserved;
	__aligned_u64 id;
};

#define LIVEUPDATE_IOCTL_DISCARD_SESSION				\
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_DISCARD_SESSION)

/**
 * struct liveupdate_session_preserve_fd - ioctl(LIVEUPDATE_SESSION_PRESERVE_FD)
 * @size:  in: sizeof(struct liveupdate_session_preserve_fd)
 * @fd:    in: the open file to carry into the next kernel
 * @token: in: the number by which it is asked for there; any value, unique
 *         within the session
 *
 * Fails with EBADF for a descriptor that is not open, EEXIST for a token that
 * is in use, ENOENT for a kind of file that cannot be preserved, EBUSY for a
 * file that is preserved already, EINVAL on an incoming session, ENOTUNIQ on a
 * finished one whose name is in use, EAGAIN when state that files share cannot
 * be had now, or with the error of the kind of file. The file is then as it was
 * before.
 */
struct liveupdate_session_preserve_fd {
	__u32 size;
	__s32 fd;
	__aligned_u64 token;
};

#define LIVEUPDATE_SESSION_PRESERVE_FD					\
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_PRESERVE_FD)

/**
 * struct liveupdate_session_retrieve_fd - ioctl(LIVEUPDATE_SESSION_RETRIEVE_FD)
 * @size:  in: sizeof(struct liveupdate_session_retrieve_fd)
 * @fd:    out: file descriptor of the file, close-on-exec
 * @token: in: the token it was preserved under
 *
 * Files come back in any order. Asking for the same token again gives another
 * descriptor of the same file.
 *
 * Fails with ENOENT for an unknown token, EOPNOTSUPP while nothing in this
 * kernel handles the kind of file, EBADMSG for a file that is known to be
 * damaged, EINVAL on an outgoing session, or with the error of the kind of
 * file.
 */
struct liveupdate_session_retrieve_fd {
	__u32 size;
	__s32 fd;
	__aligned_u64 token;
};

#define LIVEUPDATE_SESSION_RETRIEVE_FD					\
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_RETRIEVE_FD)

/**
 * struct liveupdate_session_finish - ioctl(LIVEUPDATE_SESSION_FINISH)
 * @size:     in: sizeof(struct liveupdate_session_finish)
 * @reserved: in: 0
 *
 * Ends an incoming session: retrieved files belong to their holders alone
 * from here on, what nobody retrieved is freed, and the session is empty.
 *
 * Fails with EBUSY when a file is not ready for it, EOPNOTSUPP while nothing
 * in this kernel handles one that was not retrieved, EAGAIN when state that
 * files share cannot be had now, and EINVAL on an outgoing session or if
 * @reserved is not 0. Nothing has changed then.
 */
struct liveupdate_session_finish {
	__u32 size;
	__u32 reserved;
};

#define LIVEUPDATE_SESSION_FINISH					\
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_FINISH)

/**
 * struct liveupdate_session_get_name - ioctl(LIVEUPDATE_SESSION_GET_NAME)
 * @size:     in: sizeof(struct liveupdate_session_get_name)
 * @reserved: in: 0
 * @name:     out: the session's name, ends in a NUL
 *
 * Works on every session at any time. Fails with EINVAL if @reserved is not 0.
 */
struct liveupdate_session_get_name {
	__u32 size;
	__u32 reserved;
	__u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

#define LIVEUPDATE_SESSION_GET_NAME					\
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_SESSION_GET_NAME)

#endif /* _UAPI_LIVEUPDATE_H */
