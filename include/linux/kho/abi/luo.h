/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What one kernel hands to the next: the Live Update Orchestrator's FDT and
 * the entries of its chains. A compatible string names exactly one layout.
 */
#ifndef _LINUX_KHO_ABI_LUO_H
#define _LINUX_KHO_ABI_LUO_H

#define LUO_FDT_SUBTREE_NAME		"luo-fdt"
#define LUO_FDT_COMPATIBLE		"luo-fdt-v1"
#define LUO_FDT_NUMBER_PROP		"liveupdate-number"

#define LUO_FDT_SESSION_NODE		"luo-session"
#define LUO_FDT_SESSION_COMPATIBLE	"luo-session-v1c"
#define LUO_FDT_SESSION_HEADER_PROP	"luo-session-header"
/* A u64, 0 if it is not there: so many sessions at the end have no name. */
#define LUO_FDT_SESSION_NAMELESS_PROP	"luo-session-nameless"

#define LUO_FDT_FLB_NODE		"luo-flb"
#define LUO_FDT_FLB_COMPATIBLE		"luo-flb-v1c"
#define LUO_FDT_FLB_HEADER_PROP		"luo-flb-header"

/* The switch on the command line. */
#define LUO_IMAGE_SWITCH		"liveupdate"

#ifndef __ASSEMBLY__

#include <linux/types.h>
#include <uapi/linux/liveupdate.h>

/* Lengths with the terminating NUL. */
#define LIVEUPDATE_HNDL_COMPAT_LENGTH	48
#define LIVEUPDATE_FLB_COMPAT_LENGTH	48

/*
 * Entry of the chain of sessions; @files starts a chain of @count files. Where
 * it is 0 and @count is not, the session has lost what it had.
 */
struct luo_session_ser {
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	u64 files;
	u64 count;
} __packed;

/* Entry of a chain of files; @data belongs to the handler. */
struct luo_file_ser {
	char compatible[LIVEUPDATE_HNDL_COMPAT_LENGTH];
	u64 data;
	u64 token;
} __packed;

/* Entry of the chain of file-lifecycle-bound objects. */
struct luo_flb_ser {
	char name[LIVEUPDATE_FLB_COMPAT_LENGTH];
	u64 data;
	u64 count;
} __packed;

#endif /* __ASSEMBLY__ */
#endif /* _LINUX_KHO_ABI_LUO_H */
