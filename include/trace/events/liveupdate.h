/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Steps in the life of files and sessions, each with the time that it took.
 *
 * An event comes at the end of its step; "ns" is the step's duration. Steps
 * that began before their event was switched on are left out. Files are named
 * by their session's id and their token, FLBs by their name; names are escaped.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM liveupdate

#if !defined(_TRACE_LIVEUPDATE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_LIVEUPDATE_H

#include <linux/tracepoint.h>

struct luo_file;
struct luo_session;

DECLARE_EVENT_CLASS(liveupdate_file,
		    TP_PROTO(const struct luo_file *f, u64 start, int err),
		    TP_ARGS(f, start, err),
		    TP_STRUCT__entry(__field(u64, session)
				     __field(u64, token)
				     __field(u64, ns)
				     __field(int, err)
				     __dynamic_array(char, handler,
						     luo_escape(NULL, 0, f->compatible,
								sizeof(f->compatible)) + 1)
		    ),
		    TP_fast_assign(__entry->session = f->session->id;
				   __entry->token = f->token;
				   __entry->ns = max_t(s64, sched_clock() - start, 0);
				   __entry->err = err;
				   luo_escape(__get_dynamic_array(handler),
					      __get_dynamic_array_len(handler),
					      f->compatible,
					      sizeof(f->compatible));
		    ),
		    TP_printk("session=%llu token=%#llx handler=\"%s\" err=%d ns=%llu",
			      __entry->session, __entry->token,
			      __get_str(handler), __entry->err, __entry->ns)
);

#define LIVEUPDATE_FILE_EVENT(name)					\
DEFINE_EVENT_CONDITION(liveupdate_file, name,				\
	TP_PROTO(const struct luo_file *f, u64 start, int err),		\
	TP_ARGS(f, start, err),						\
	TP_CONDITION(start))

LIVEUPDATE_FILE_EVENT(liveupdate_file_preserve);
LIVEUPDATE_FILE_EVENT(liveupdate_file_unpreserve);
LIVEUPDATE_FILE_EVENT(liveupdate_file_freeze);
LIVEUPDATE_FILE_EVENT(liveupdate_file_unfreeze);
LIVEUPDATE_FILE_EVENT(liveupdate_file_retrieve);
LIVEUPDATE_FILE_EVENT(liveupdate_file_finish);

DECLARE_EVENT_CLASS(liveupdate_session,
		    TP_PROTO(const struct luo_session *session, u64 start, int err),
		    TP_ARGS(session, start, err),
		    TP_STRUCT__entry(__field(u64, session)
				     __field(u64, files)
				     __field(u64, ns)
				     __field(int, err)
				     __dynamic_array(char, name,
						     luo_escape(NULL, 0, session->name,
								sizeof(session->name)) + 1)
		    ),
		    TP_fast_assign(__entry->session = session->id;
				   __entry->files = session->nr_files;
				   __entry->ns = max_t(s64, sched_clock() - start, 0);
				   __entry->err = err;
				   luo_escape(__get_dynamic_array(name),
					      __get_dynamic_array_len(name),
					      session->name,
					      sizeof(session->name));
		    ),
		    TP_printk("session=%llu name=\"%s\" files=%llu err=%d ns=%llu",
			      __entry->session, __get_str(name), __entry->files,
			      __entry->err, __entry->ns)
);

#define LIVEUPDATE_SESSION_EVENT(name)					\
DEFINE_EVENT_CONDITION(liveupdate_session, name,			\
	TP_PROTO(const struct luo_session *session, u64 start, int err), \
	TP_ARGS(session, start, err),					\
	TP_CONDITION(start))

LIVEUPDATE_SESSION_EVENT(liveupdate_session_freeze);
LIVEUPDATE_SESSION_EVENT(liveupdate_session_serialize);
LIVEUPDATE_SESSION_EVENT(liveupdate_session_read);
LIVEUPDATE_SESSION_EVENT(liveupdate_session_finish);

DECLARE_EVENT_CLASS(liveupdate_flb,
		    TP_PROTO(const char *name, u64 start, int err),
		    TP_ARGS(name, start, err),
		    TP_STRUCT__entry(__field(u64, ns)
				     __field(int, err)
				     __dynamic_array(char, name,
						     luo_escape(NULL, 0, name,
								LIVEUPDATE_FLB_COMPAT_LENGTH) + 1)
		    ),
		    TP_fast_assign(__entry->ns = max_t(s64, sched_clock() - start, 0);
				   __entry->err = err;
				   luo_escape(__get_dynamic_array(name),
					      __get_dynamic_array_len(name), name,
					      LIVEUPDATE_FLB_COMPAT_LENGTH);
		    ),
		    TP_printk("name=\"%s\" err=%d ns=%llu", __get_str(name),
			      __entry->err, __entry->ns)
);

#define LIVEUPDATE_FLB_EVENT(event)					\
DEFINE_EVENT_CONDITION(liveupdate_flb, event,				\
	TP_PROTO(const char *name, u64 start, int err),			\
	TP_ARGS(name, start, err),					\
	TP_CONDITION(start))

LIVEUPDATE_FLB_EVENT(liveupdate_flb_preserve);
LIVEUPDATE_FLB_EVENT(liveupdate_flb_unpreserve);
LIVEUPDATE_FLB_EVENT(liveupdate_flb_retrieve);
LIVEUPDATE_FLB_EVENT(liveupdate_flb_finish);

/* All that the reboot does with sessions; the others of the reboot are in it. */
TRACE_EVENT_CONDITION(liveupdate_reboot,
		      TP_PROTO(u64 start, int err),
		      TP_ARGS(start, err),
		      TP_CONDITION(start),
		      TP_STRUCT__entry(__field(u64, ns)
				       __field(int, err)
		      ),
		      TP_fast_assign(__entry->ns = max_t(s64, sched_clock() - start, 0);
				     __entry->err = err;
		      ),
		      TP_printk("err=%d ns=%llu", __entry->err, __entry->ns)
);

#endif /* _TRACE_LIVEUPDATE_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
