/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live Update Orchestrator: what the files about FLBs share.
 */
#ifndef _LUO_FLB_H
#define _LUO_FLB_H

#include "luo_internal.h"

/**
 * struct luo_flb_in - state that the previous kernel left
 * @data:   what it wrote down
 * @count:  files that are not finished; 0: nothing came in, or it is over
 * @taken:  those of them that do not wait, counted at the reboot
 * @status: 0: not retrieved; 1: @obj is there; negative: could not be retrieved
 * @refs:   who holds @obj
 * @obj:    the object
 */
struct luo_flb_in {
	u64 data;
	u64 count;
	u64 taken;
	int status;
	unsigned int refs;
	void *obj;
};

/**
 * struct luo_flb_out - state for the next kernel
 * @data:      what to write down
 * @count:     files that need it
 * @refs:      who holds @obj
 * @preserved: @data and @obj are valid
 * @again:     one of @count is the reboot, on behalf of files that wait
 * @obj:       the object
 */
struct luo_flb_out {
	u64 data;
	u64 count;
	unsigned int refs;
	bool preserved;
	bool again;
	void *obj;
};

/**
 * struct luo_flb - what is known of one name
 * @name:     the name, padded with NULs
 * @list:     place among the records
 * @lock:     protects the members below; held over the operations
 * @flb:      the implementation; %NULL while there is none
 * @nr_links: handlers with which @flb is registered
 * @frozen:   the reboot has begun: what waits has to wait on
 * @in:       from the previous kernel
 * @out:      for the next kernel
 */
struct luo_flb {
	char name[LIVEUPDATE_FLB_COMPAT_LENGTH];
	struct list_head list;
	struct mutex lock;	/* one operation at a time */
	struct liveupdate_flb *flb;
	unsigned long nr_links;
	bool frozen;
	struct luo_flb_in in;
	struct luo_flb_out out;
};

/* One for each state with which a handler's files are bound up. */
struct luo_flb_link {
	struct list_head list;	/* in the handler; handlers lock */
	struct luo_flb *rec;
};

/* All records. Only ever added to, so it can be walked without a lock. */
extern struct list_head luo_flbs;

/* Protects the number of entries and the room for them, and the list. */
extern struct mutex luo_flbs_lock;

#define luo_for_each_flb(rec) \
	list_for_each_entry_rcu(rec, &luo_flbs, list, true)

__printf(2, 3)
void luo_flb_err(const struct luo_flb *rec, const char *fmt, ...);
struct luo_flb *luo_flb_find(const char *name);
struct luo_flb *luo_flb_add(const char *name);
bool luo_flb_has_object(const struct luo_flb *rec);
int luo_flb_need_incoming(struct luo_flb *rec);
void luo_flb_finish_idle(struct luo_flb *rec);
int luo_flb_do_preserve(struct luo_flb *rec);
void luo_flb_unpreserve_one(struct luo_flb *rec);
void luo_flb_unpreserve_idle(struct luo_flb *rec);
void luo_flb_changed(void);

#endif /* _LUO_FLB_H */
