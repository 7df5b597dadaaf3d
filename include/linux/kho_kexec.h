/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec Handover: what the kexec code has to call.
 */
#ifndef _LINUX_KHO_KEXEC_H
#define _LINUX_KHO_KEXEC_H

#include <linux/types.h>

struct kexec_buf;
struct kimage;
struct resource;

#ifdef CONFIG_KEXEC_HANDOVER

void kho_fill_kimage(struct kimage *image);
const void *kho_scratch_array(size_t *size);
bool kho_locate_mem_hole(struct kexec_buf *kbuf,
			 int (*func)(struct resource *, void *), int *ret);
int kho_kexec_check(const struct kimage *image);
void kho_kexec_seal(const struct kimage *image);

#else

static inline void kho_fill_kimage(struct kimage *image) { }

static inline const void *kho_scratch_array(size_t *size)
{
	*size = 0;
	return NULL;
}

static inline bool
kho_locate_mem_hole(struct kexec_buf *kbuf,
		    int (*func)(struct resource *, void *), int *ret)
{
	return false;
}

static inline int kho_kexec_check(const struct kimage *image)
{
	return 0;
}

static inline void kho_kexec_seal(const struct kimage *image) { }

#endif /* CONFIG_KEXEC_HANDOVER */
#endif /* _LINUX_KHO_KEXEC_H */
