/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec Handover: what the kexec code has to call.
 */
#ifndef _LINUX_KHO_KEXEC_H
#define _LINUX_KHO_KEXEC_H

#include <linux/types.h>

/**
 * enum kho_verdict - whether an image can take the handover
 * @KHO_IMAGE_UNKNOWN:      it does not say
 * @KHO_IMAGE_FIT:          it can
 * @KHO_IMAGE_WITHOUT:      it knows nothing of Kexec Handover
 * @KHO_IMAGE_SWITCHED_OFF: it would be switched off
 * @KHO_IMAGE_FORMAT:       it reads other layouts only
 * @KHO_IMAGE_MEMORY:       its command line may hide memory that is preserved
 */
enum kho_verdict {
	KHO_IMAGE_UNKNOWN,
	KHO_IMAGE_FIT,
	KHO_IMAGE_WITHOUT,
	KHO_IMAGE_SWITCHED_OFF,
	KHO_IMAGE_FORMAT,
	KHO_IMAGE_MEMORY,
};

struct kexec_buf;
struct kimage;
struct resource;

#ifdef CONFIG_KEXEC_HANDOVER

void kho_fill_kimage(struct kimage *image);
const void *kho_scratch_array(size_t *size);
bool kho_locate_mem_hole(struct kexec_buf *kbuf,
			 int (*func)(struct resource *, void *), int *ret);
void kho_judge_image(struct kimage *image, bool knows_kho, const char *list,
		     size_t len);
int kho_kexec_check(const struct kimage *image);
void kho_kexec_commit(void);
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

static inline void kho_judge_image(struct kimage *image, bool knows_kho,
				   const char *list, size_t len) { }

static inline int kho_kexec_check(const struct kimage *image)
{
	return 0;
}

static inline void kho_kexec_commit(void) { }

static inline void kho_kexec_seal(const struct kimage *image) { }

#endif /* CONFIG_KEXEC_HANDOVER */
#endif /* _LINUX_KHO_KEXEC_H */
