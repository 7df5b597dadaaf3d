/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What lu-guest does, for those who want to know what it has to say: it walks
 * its memory from LU_GUEST_RAM to its end over and over, LU_GUEST_STEP words
 * each tick of its timer, LU_GUEST_HZ times a second. In the pass number p it
 * expects what pass p - 1 left in word i, and leaves lu_guest_word(i, p). First it
 * says how many words there are; then a line is due every LU_GUEST_HZ ticks. So
 * what line n says follows from n and the number of words, and whatever is lost or
 * done twice changes the sums of all lines that come later.
 */
#ifndef _LU_GUEST_H
#define _LU_GUEST_H

#include <linux/types.h>

#define LU_GUEST_LOAD	0x100000ULL	/* where it begins, entry first */
#define LU_GUEST_RAM	0x200000ULL	/* the memory from here on is walked */
#define LU_GUEST_PORT	0xe9		/* takes its lines, a byte at a time */
#define LU_GUEST_HZ	100
#define LU_GUEST_STEP	(32 * 1024)
#define LU_GUEST_FIRST	"memory: %llu words"
#define LU_GUEST_LINE	"line %llu: %llu words, sum %016llx, %llu wrong"

static inline __u64 lu_guest_word(__u64 i, __u64 pass)
{
	return (i + 1) * 0x9e3779b97f4a7c15ULL ^ (pass + 1) * 0xd1b54a32d192ed03ULL;
}

/* The running checksum: the order of the words counts. */
static inline __u64 lu_guest_sum(__u64 sum, __u64 word)
{
	return (sum << 7 | sum >> 57) + word;
}

#endif /* _LU_GUEST_H */
