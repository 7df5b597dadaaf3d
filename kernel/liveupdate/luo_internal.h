/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live Update Orchestrator: what its files share.
 */
#ifndef _LUO_INTERNAL_H
#define _LUO_INTERNAL_H

/**
 * DOC: Locks
 *
 * Outermost first::
 *
 *	luo_read_lock		luo_wire_read.c: sessions are read in; nobody
 *				knows any before
 *	luo_gate		the reboot against everything else: requests and
 *				the closing of sessions hold it for reading, the
 *				reboot for writing until the jump or its failure
 *	luo_reap_lock		luo_session.c: closing sessions that waited for
 *				the gate
 *	luo_session.lock	what is in a session; read: RETRIEVE_FD,
 *				write: PRESERVE_FD, FINISH, close
 *	luo_file.lock		one file's way back (RETRIEVE_FD)
 *	handler operations	a handler's own locks
 *	table lock		luo_session_table.c: names and lists of sessions
 *	handlers lock		luo_handler.c: the handlers; can_preserve is
 *				called with it. get_id is called without it,
 *				below the locks of the session and the file
 *	luo_flb.lock		luo_flb.c: one FLB; held over its operations
 *	FLB operations		an FLB's own locks
 *	FLBs lock		luo_flb.c: room for the entries of all FLBs
 *
 * User memory is not touched below &luo_gate: a fault there can last as long as
 * its owner likes, and would hold up the reboot.
 */

#include <linux/cleanup.h>
#include <linux/kexec_handover.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/liveupdate.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rhashtable-types.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/string_helpers.h>
#include <linux/xarray.h>

/**
 * enum luo_session_kind - what can be done with a session
 * @LUO_SESSION_EMPTY:    new or finished: on no list, under no name
 * @LUO_SESSION_OUTGOING: holds files of this kernel for the next one
 * @LUO_SESSION_INCOMING: holds files of the previous kernel
 * @LUO_NR_SESSION_KINDS: number of the others
 */
enum luo_session_kind {
	LUO_SESSION_EMPTY,
	LUO_SESSION_OUTGOING,
	LUO_SESSION_INCOMING,
	LUO_NR_SESSION_KINDS,
};

/**
 * struct luo_holder - who got the descriptor of a session
 * @pid:  process, as the initial namespace numbers it
 * @comm: what it called itself, any bytes
 */
struct luo_holder {
	pid_t pid;
	char comm[TASK_COMM_LEN];
};

/**
 * struct luo_session - a named set of files
 * @name:       the name, padded with NULs: the key of @name_node
 * @id:         names it in this kernel, never used for another; not 0
 * @refs:       one for its life, and one for each who looks at it meanwhile
 * @kind:       changed under the table lock, and under @lock too as soon as
 *              somebody else knows the session; read under either, or by the
 *              last one who knows it
 * @held:       incoming only: somebody has its descriptor; table lock
 * @holder:     outgoing or @held: who got the descriptor first; table lock
 * @named:      it is found by its name; table lock
 * @nameless:   incoming only: a newer one bore the name in an earlier kernel;
 *              set before others know the session
 * @damaged:    incoming only: its files could not be read in; fixed
 * @came_in:    incoming only: first page of the list of its files, until all
 *              lists have been read
 * @lock:       protects @tokens, @files, @nr_files and @room
 * @tokens:     the files by token
 * @files:      the files in the order in which they were added
 * @nr_files:   number of files; read for information without @lock
 * @room:       pages for the entries of the files, filled at the reboot
 * @list:       place among the sessions of its kind; table lock
 * @name_node:  place among the names of its kind; table lock
 * @closed:     place among the closed sessions that are still to be dropped
 */
struct luo_session {
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	u64 id;
	refcount_t refs;
	enum luo_session_kind kind;
	bool held;
	bool named;
	bool nameless;
	bool damaged;
	u64 came_in;
	struct luo_holder holder;
	struct rw_semaphore lock;
	struct xarray tokens;
	struct list_head files;
	unsigned long nr_files;
	struct kho_chain room;
	struct list_head list;
	struct rhash_head name_node;
	struct llist_node closed;
};

/**
 * struct luo_file_state - what a handler keeps about a file in one direction
 * @data:         its serialized_data
 * @private_data: its private_data
 */
struct luo_file_state {
	u64 data;
	void *private_data;
};

/**
 * struct luo_object - what is preserved, whichever file it was reached by
 * @fh: handler that knows the meaning of @id
 * @id: its get_id()
 */
struct luo_object {
	const struct liveupdate_file_handler *fh;
	unsigned long id;
};

/**
 * struct luo_file - a file in a session
 * @token:       its name in the session
 * @session:     the session
 * @list:        place in the session's list
 * @lock:        protects the members below, beside the session's lock
 * @fh:          the handler, held; %NULL while nobody needs it
 * @file:        the file, with a reference; %NULL until retrieved
 * @status:      as retrieve_status of &struct liveupdate_file_op_args
 * @preserved:   @out is what the handler preserved
 * @frozen:      the handler has frozen it
 * @listed:      @object is in the list of preserved objects
 * @holder:      process that preserved it or retrieved it last, or 0
 * @in:          from the previous kernel
 * @out:         for the next kernel
 * @object:      what the file stands for
 * @object_node: place among the preserved objects
 * @compatible:  the handler's, padded with NULs
 */
struct luo_file {
	u64 token;
	struct luo_session *session;
	struct list_head list;
	struct mutex lock;	/* one RETRIEVE_FD at a time */
	struct liveupdate_file_handler *fh;
	struct file *file;
	int status;
	bool preserved;
	bool frozen;
	bool listed;
	pid_t holder;
	struct luo_file_state in;
	struct luo_file_state out;
	struct luo_object object;
	struct rhash_head object_node;
	char compatible[LIVEUPDATE_HNDL_COMPAT_LENGTH];
};

/* Room for a session's name or a handler's, escaped. */
struct luo_escaped {
	char s[4 * LIVEUPDATE_SESSION_NAME_LENGTH];
};

/* luo_core.c */
extern struct rw_semaphore luo_gate;

/* How names are escaped wherever they are shown. */
#define LUO_ESCAPES	(ESCAPE_ANY | ESCAPE_NAP | ESCAPE_APPEND)
#define LUO_ESCAPED	"\"\\"

size_t luo_escape(char *buf, size_t room, const char *name, size_t size);
const char *luo_escape_name(struct luo_escaped *escaped, const char *name,
			    size_t size);

int luo_table_insert(struct rhashtable *table, struct rhash_head *node,
		     const struct rhashtable_params *params);

/* A request can take long: whoever waits for another one can be killed. */
DEFINE_GUARD_COND(mutex, _kill, mutex_lock_killable(_T) == 0)
DEFINE_GUARD_COND(rwsem_read, _kill, down_read_killable(_T) == 0)
DEFINE_GUARD_COND(rwsem_write, _kill, down_write_killable(_T) == 0)

/* Errors by which an implementation says that it has consumed nothing. */
static inline bool luo_is_transient(int err)
{
	return err == -ENOMEM || err == -EINTR || err == -EAGAIN;
}

/* luo_ioctl.c */
long luo_session_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* luo_handler.c */
extern struct rw_semaphore luo_handlers_lock;

struct liveupdate_file_handler *luo_handler_for_file(struct file *file);
struct liveupdate_file_handler *luo_handler_by_name(const char *compatible);
void luo_handler_put(struct liveupdate_file_handler *fh);

/* luo_session.c */
int luo_session_init(void);
struct file *luo_session_create(const char *name);
struct file *luo_session_retrieve(const char *name);
struct file *luo_session_retrieve_id(u64 id);
int luo_session_discard(u64 id);
void luo_session_put(struct luo_session *session);
const char *luo_session_state_name(const struct luo_session *session);
int luo_session_preserve_fd(struct luo_session *session, int fd, u64 token);
struct file *luo_session_retrieve_fd(struct luo_session *session, u64 token);
int luo_session_finish(struct luo_session *session);
struct luo_session *luo_session_alloc(const char *name);
int luo_session_add_incoming(struct luo_session *session);
void luo_session_free(struct luo_session *session);
void luo_sessions_free_lists(void);
__printf(2, 3)
void luo_session_err(const struct luo_session *session, const char *fmt, ...);
void luo_sessions_reap(void);
int luo_sessions_reap_killable(void);

/* luo_session_table.c */
int luo_session_table_init(void);
struct list_head *luo_session_list(enum luo_session_kind kind);
unsigned long luo_nr_all_sessions(void);
int luo_session_link(struct luo_session *session, enum luo_session_kind kind);
bool luo_session_unlink(struct luo_session *session);
struct luo_session *luo_session_grab(const char *name);
struct luo_session *luo_session_grab_id(u64 id);
void luo_session_let_go(struct luo_session *session);
bool luo_session_name_is_taken(const struct luo_session *session);
struct luo_session *luo_session_get_from(u64 id);
bool luo_session_holder(const struct luo_session *session,
			struct luo_holder *holder);
int luo_session_next(struct liveupdate_ioctl_next_session *args);

/* luo_reboot.c */
int luo_sessions_freeze(void);
void luo_sessions_thaw(void);

/* luo_file.c */
int luo_file_init(void);
int luo_file_preserve(struct luo_session *session, struct file *file,
		      u64 token);
struct file *luo_file_retrieve(struct luo_session *session, u64 token);
int luo_file_add_incoming(struct luo_session *session, const char *compatible,
			  u64 data, u64 token);
void luo_file_spoil(struct luo_session *session, u64 token);
bool luo_file_is_carried(const struct luo_file *f, u64 *data);
void luo_files_unpreserve(struct luo_session *session);
int luo_files_finish(struct luo_session *session);
void luo_files_forget(struct luo_session *session);
int luo_files_preserve_again(struct luo_session *session);
void luo_files_unpreserve_again(struct luo_session *session);
int luo_files_freeze(struct luo_session *session);
void luo_files_unfreeze(struct luo_session *session);

/* luo_flb.c, luo_flb_reboot.c, luo_flb_register.c */
int luo_flb_add_incoming(const char *name, u64 data, u64 count);
void luo_flbs_forget(void);
int luo_flbs_preserve(struct liveupdate_file_handler *fh);
void luo_flbs_unpreserve(struct liveupdate_file_handler *fh);
int luo_flbs_can_finish(struct liveupdate_file_handler *fh);
void luo_flbs_finish(struct liveupdate_file_handler *fh);
void luo_flbs_finish_rest(void);
void luo_flbs_begin(void);
void luo_flbs_take(struct liveupdate_file_handler *fh);
int luo_flbs_preserve_again(void);
void luo_flbs_unpreserve_again(void);
int luo_flbs_write(void);
bool luo_flbs_get_modules(struct liveupdate_file_handler *fh);
void luo_flbs_put_modules(struct liveupdate_file_handler *fh);
void luo_flbs_init_handler(struct liveupdate_file_handler *fh);
void luo_flbs_unregister_all(struct liveupdate_file_handler *fh);

/* luo_wire.c */
int luo_wire_init(void);
int luo_wire_reserve_sessions(unsigned long nr);
void luo_wire_init_room(struct luo_session *session);
int luo_wire_reserve_files(struct luo_session *session, unsigned long nr);
int luo_wire_reserve_flbs(unsigned long nr);
int luo_wire_begin_flbs(unsigned long nr);
int luo_wire_add_flb(const char *name, u64 data, u64 count);
void luo_wire_begin(void);
int luo_wire_add_session(struct luo_session *session);
int luo_wire_end(u64 nr_nameless);

/* luo_wire_read.c */
int luo_wire_read(void);
void luo_wire_read_nothing(void);
int luo_wire_read_in(void);
u64 luo_wire_number(void);

/* luo_monitor.c */
struct seq_file;
void luo_seq_name(struct seq_file *m, const char *name);
void luo_monitor_sessions(enum luo_session_kind kind, long delta);
void luo_monitor_files(enum luo_session_kind kind, long delta);
void luo_monitor_freeze(bool frozen);

/*
 * When the step began whose end is an event; 0 if nobody wants to know. Other
 * clocks still stand between ticks when sessions are read in.
 */
#define luo_trace_start(event)						\
	(trace_##event##_enabled() ? sched_clock() : 0)

#endif /* _LUO_INTERNAL_H */
