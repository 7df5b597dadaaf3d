/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How far preserving or retrieving a memfd for a live update is.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM memfd_luo

#if !defined(_TRACE_MEMFD_LUO_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_MEMFD_LUO_H

#include <linux/fs.h>
#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(memfd_luo,
		    TP_PROTO(const struct inode *inode, u64 index, u64 end),
		    TP_ARGS(inode, index, end),
		    TP_STRUCT__entry(__field(unsigned long, ino)
				     __field(u64, index)
				     __field(u64, end)
		    ),
		    TP_fast_assign(__entry->ino = inode->i_ino;
				   __entry->index = index;
				   __entry->end = end;
		    ),
		    TP_printk("ino=%lu page=%llu of=%llu", __entry->ino,
			      __entry->index, __entry->end)
);

/* preserve: pages up to here are recorded */
DEFINE_EVENT(memfd_luo, memfd_luo_walk,
	     TP_PROTO(const struct inode *inode, u64 index, u64 end),
	     TP_ARGS(inode, index, end));

/* retrieve: pages up to here are in the file */
DEFINE_EVENT(memfd_luo, memfd_luo_fill,
	     TP_PROTO(const struct inode *inode, u64 index, u64 end),
	     TP_ARGS(inode, index, end));

#endif /* _TRACE_MEMFD_LUO_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
