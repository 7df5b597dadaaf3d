// SPDX-License-Identifier: GPL-2.0
/*
 * Live Update Orchestrator: what an administrator sees.
 */

/**
 * DOC: Monitoring
 *
 * Three views of the same sessions:
 *
 *  - /sys/kernel/liveupdate: a word for the state of the machine, which can be
 *    polled, and numbers. Documentation/ABI/testing/sysfs-kernel-liveupdate
 *  - debugfs, liveupdate/sessions: a line for every session and every file
 *  - trace events: every step with the time it took, <trace/events/liveupdate.h>
 *
 * Names of sessions hold any byte, and names of layouts come from another
 * kernel: between double quotes, everything but printable ASCII is escaped as
 * in C, and so are quotes and backslashes. No address is shown.
 *
 * Reading never waits for the reboot, so that a freeze that hangs can be
 * looked at: &luo_gate is not taken.
 */

#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "luo_internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/liveupdate.h>

/**
 * luo_seq_name - print a name that may hold any byte
 * @m:    where to
 * @name: the name; quoted and escaped
 */
void luo_seq_name(struct seq_file *m, const char *name)
{
	seq_putc(m, '"');
	seq_escape_mem(m, name, strlen(name), LUO_ESCAPES, LUO_ESCAPED);
	seq_putc(m, '"');
}

/*
 * The state and the numbers
 */

enum luo_state {
	LUO_STATE_NORMAL,
	LUO_STATE_PREPARED,
	LUO_STATE_FROZEN,
	LUO_STATE_UPDATED,
};

static const char * const luo_state_names[] = {
	[LUO_STATE_NORMAL] = "normal",
	[LUO_STATE_PREPARED] = "prepared",
	[LUO_STATE_FROZEN] = "frozen",
	[LUO_STATE_UPDATED] = "updated",
};

/* By kind; those of empty sessions are not used. */
static atomic_long_t luo_sessions[LUO_NR_SESSION_KINDS];
static atomic_long_t luo_files[LUO_NR_SESSION_KINDS];
static bool luo_frozen;

/* The state that was announced last. */
static enum luo_state luo_state;
static DEFINE_SPINLOCK(luo_state_lock);

/* Pollers of the state wait here; %NULL before there can be any. */
static struct kernfs_node *luo_state_node;

static enum luo_state luo_state_now(void)
{
	if (READ_ONCE(luo_frozen))
		return LUO_STATE_FROZEN;
	if (atomic_long_read(&luo_files[LUO_SESSION_OUTGOING]))
		return LUO_STATE_PREPARED;
	if (atomic_long_read(&luo_sessions[LUO_SESSION_INCOMING]))
		return LUO_STATE_UPDATED;
	return LUO_STATE_NORMAL;
}

/* Whoever changes something comes here afterwards, so the last one is right. */
static void luo_state_update(void)
{
	enum luo_state now;

	spin_lock(&luo_state_lock);
	now = luo_state_now();
	if (now != luo_state) {
		WRITE_ONCE(luo_state, now);
		if (luo_state_node)
			sysfs_notify_dirent(luo_state_node);
	}
	spin_unlock(&luo_state_lock);
}

static void luo_count(atomic_long_t *counter, long delta)
{
	long now = atomic_long_add_return(delta, counter);

	/* Only from and to zero it makes a difference. */
	if (!now || now == delta)
		luo_state_update();
}

/**
 * luo_monitor_sessions - there are more sessions of a kind, or fewer
 * @kind:  the kind
 * @delta: how many more
 *
 * Context: any that may take a spinlock.
 */
void luo_monitor_sessions(enum luo_session_kind kind, long delta)
{
	luo_count(&luo_sessions[kind], delta);
}

/**
 * luo_monitor_files - there are more files in sessions of a kind, or fewer
 * @kind:  the kind
 * @delta: how many more
 *
 * Context: any that may take a spinlock.
 */
void luo_monitor_files(enum luo_session_kind kind, long delta)
{
	luo_count(&luo_files[kind], delta);
}

/**
 * luo_monitor_freeze - the reboot begins, or has failed
 * @frozen: which of them
 *
 * Context: &luo_gate is held for writing.
 */
void luo_monitor_freeze(bool frozen)
{
	lockdep_assert_held_write(&luo_gate);
	WRITE_ONCE(luo_frozen, frozen);
	luo_state_update();
}

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	int err = luo_wire_read_in();

	if (err)
		return err;
	return sysfs_emit(buf, "%s\n", luo_state_names[READ_ONCE(luo_state)]);
}

static struct kobj_attribute luo_state_attr = __ATTR_RO(state);

static ssize_t number_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%llu\n", luo_wire_number());
}

static struct kobj_attribute luo_number_attr = __ATTR_RO(number);

/* A file with one of the counters above. */
struct luo_counter_attr {
	struct kobj_attribute attr;
	atomic_long_t *counter;
};

static ssize_t luo_counter_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	struct luo_counter_attr *c =
		container_of(attr, struct luo_counter_attr, attr);
	int err = luo_wire_read_in();

	if (err)
		return err;
	return sysfs_emit(buf, "%ld\n", atomic_long_read(c->counter));
}

#define LUO_COUNTER(_name, _counter)					\
	{								\
		.attr = __ATTR(_name, 0444, luo_counter_show, NULL),	\
		.counter = (_counter),					\
	}

static struct luo_counter_attr luo_incoming_attrs[] = {
	LUO_COUNTER(sessions, &luo_sessions[LUO_SESSION_INCOMING]),
	LUO_COUNTER(files, &luo_files[LUO_SESSION_INCOMING]),
};

static struct luo_counter_attr luo_outgoing_attrs[] = {
	LUO_COUNTER(sessions, &luo_sessions[LUO_SESSION_OUTGOING]),
	LUO_COUNTER(files, &luo_files[LUO_SESSION_OUTGOING]),
};

static const struct attribute_group luo_group = {
	.attrs = (struct attribute *[]) {
		&luo_state_attr.attr,
		&luo_number_attr.attr,
		NULL,
	},
};

static const struct attribute_group luo_incoming_group = {
	.name = "incoming",
	.attrs = (struct attribute *[]) {
		&luo_incoming_attrs[0].attr.attr,
		&luo_incoming_attrs[1].attr.attr,
		NULL,
	},
};

static const struct attribute_group luo_outgoing_group = {
	.name = "outgoing",
	.attrs = (struct attribute *[]) {
		&luo_outgoing_attrs[0].attr.attr,
		&luo_outgoing_attrs[1].attr.attr,
		NULL,
	},
};

static const struct attribute_group *luo_groups[] = {
	&luo_group,
	&luo_incoming_group,
	&luo_outgoing_group,
	NULL,
};

static int __init luo_sysfs_init(void)
{
	struct kernfs_node *node;
	struct kobject *kobj;
	int err;

	kobj = kobject_create_and_add("liveupdate", kernel_kobj);
	if (!kobj)
		return -ENOMEM;

	err = sysfs_create_groups(kobj, luo_groups);
	if (err) {
		kobject_put(kobj);
		return err;
	}

	node = sysfs_get_dirent(kobj->sd, "state");
	spin_lock(&luo_state_lock);
	luo_state_node = node;
	spin_unlock(&luo_state_lock);
	return 0;
}

/*
 * The lines about sessions and files
 */

/**
 * struct luo_line - a line of liveupdate/sessions
 * @id:      id of the session it is about, or of one that is gone meanwhile
 * @token:   token of the file it is about, if @in_files
 * @session: while the line is there: the session, its lock held for reading
 * @file:    while the line is there and @in_files: the file
 * @in_files: it is about a file
 */
struct luo_line {
	u64 id;
	unsigned long token;
	struct luo_session *session;
	struct luo_file *file;
	bool in_files;
};

static void luo_line_leave(struct luo_line *line)
{
	if (!line->session)
		return;
	up_read(&line->session->lock);
	luo_session_put(line->session);
	line->session = NULL;
}

static void luo_line_skip_session(struct luo_line *line)
{
	luo_line_leave(line);
	line->id++;
	line->in_files = false;
}

/* Go to the session with the id of @line, or to the one after it. */
static int luo_line_enter(struct luo_line *line)
{
	struct luo_session *session = luo_session_get_from(line->id);

	if (!session)
		return -ENOENT;
	if (down_read_killable(&session->lock)) {
		luo_session_put(session);
		return -EINTR;
	}
	line->session = session;
	if (session->id != line->id) {
		line->id = session->id;
		line->in_files = false;
	}
	return 0;
}

/* Go to where @line says, or to what is there next. */
static void *luo_line_settle(struct luo_line *line)
{
	int err;

	for (;; luo_line_skip_session(line)) {
		if (!line->session) {
			err = luo_line_enter(line);
			if (err)
				return err == -ENOENT ? NULL : ERR_PTR(err);
		}
		/* It may have been finished before its lock was had. */
		if (line->session->kind == LUO_SESSION_EMPTY)
			continue;
		if (!line->in_files)
			return line;
		line->file = xa_find(&line->session->tokens, &line->token,
				     ULONG_MAX, XA_PRESENT);
		if (line->file)
			return line;
	}
}

/* Called for the first line, or for the one that came last once more. */
static void *luo_lines_start(struct seq_file *m, loff_t *pos)
{
	struct luo_line *line = m->private;

	if (!*pos)
		*line = (struct luo_line) { };
	return luo_line_settle(line);
}

static void *luo_lines_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct luo_line *line = v;

	++*pos;
	if (!line->in_files) {
		line->in_files = true;
		line->token = 0;
	} else if (++line->token == 0) {
		luo_line_skip_session(line);
	}
	return luo_line_settle(line);
}

static void luo_lines_stop(struct seq_file *m, void *v)
{
	luo_line_leave(m->private);
}

static const char *luo_file_state_name(const struct luo_file *f)
{
	int status = READ_ONCE(f->status);

	if (READ_ONCE(f->frozen))
		return "frozen";
	if (f->session->kind == LUO_SESSION_OUTGOING)
		return "preserved";
	if (status < 0)
		return "failed";
	return status ? "retrieved" : "waiting";
}

static void luo_show_file(struct seq_file *m, const struct luo_file *f)
{
	pid_t holder = READ_ONCE(f->holder);

	seq_printf(m, "file session=%llu token=%#llx handler=", f->session->id,
		   f->token);
	luo_seq_name(m, f->compatible);
	seq_printf(m, " state=%s", luo_file_state_name(f));
	if (holder)
		seq_printf(m, " pid=%d", holder);
	seq_putc(m, '\n');
}

static void luo_show_session(struct seq_file *m,
			     const struct luo_session *session)
{
	struct luo_holder holder;
	bool held = luo_session_holder(session, &holder);

	seq_printf(m, "session id=%llu name=", session->id);
	luo_seq_name(m, session->name);
	seq_printf(m, " state=%s files=%lu", luo_session_state_name(session),
		   session->nr_files);
	if (held) {
		seq_printf(m, " pid=%d comm=", holder.pid);
		luo_seq_name(m, holder.comm);
	}
	seq_putc(m, '\n');
}

static int luo_lines_show(struct seq_file *m, void *v)
{
	struct luo_line *line = v;

	if (line->in_files)
		luo_show_file(m, line->file);
	else
		luo_show_session(m, line->session);
	return 0;
}

static const struct seq_operations luo_lines_ops = {
	.start = luo_lines_start,
	.next = luo_lines_next,
	.stop = luo_lines_stop,
	.show = luo_lines_show,
};

static int luo_lines_open(struct inode *inode, struct file *file)
{
	int err = luo_wire_read_in();

	if (err)
		return err;
	return seq_open_private(file, &luo_lines_ops, sizeof(struct luo_line));
}

static const struct file_operations luo_lines_fops = {
	.owner = THIS_MODULE,
	.open = luo_lines_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = seq_release_private,
};

/* None of this is needed for an update: go on without what cannot be had. */
static int __init luo_monitor_init(void)
{
	struct dentry *dir;

	if (!liveupdate_enabled())
		return 0;

	dir = debugfs_create_dir("liveupdate", NULL);
	debugfs_create_file("sessions", 0400, dir, NULL, &luo_lines_fops);
	return IS_ENABLED(CONFIG_SYSFS) ? luo_sysfs_init() : 0;
}
fs_initcall(luo_monitor_init);
