// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: the next image, from loading it to the jump.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/atomic.h>
#include <linux/crc32.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kexec.h>
#include <linux/kho_kexec.h>
#include <linux/mm.h>

#include "kho_internal.h"

/* How many there are who would lose state. */
static atomic_t kho_holders = ATOMIC_INIT(0);

/* Checksums for the next kernel, preserved; filled in at the jump. */
static struct kho_check_ser *kho_check;

/**
 * kho_hold - say that there is state which the next kernel must take
 *
 * While held, a kexec into an image that cannot take the handover is refused.
 *
 * Context: any.
 */
void kho_hold(void)
{
	atomic_inc(&kho_holders);
}
EXPORT_SYMBOL_GPL(kho_hold);

/**
 * kho_release - undo one kho_hold()
 *
 * Context: any.
 */
void kho_release(void)
{
	WARN_ON_ONCE(atomic_dec_return(&kho_holders) < 0);
}
EXPORT_SYMBOL_GPL(kho_release);

static bool kho_is_for(const struct kimage *image)
{
	return kho_out_fdt && image->file_mode &&
	       image->type == KEXEC_TYPE_DEFAULT;
}

/**
 * kho_fill_kimage - note in an image what it is handed
 * @image: the image, loaded with kexec_file_load(2)
 *
 * An image for a crash is left alone: it boots in memory of its own, and the
 * handover is off there.
 *
 * Context: with the kexec lock, before the image's segments are placed.
 */
void kho_fill_kimage(struct kimage *image)
{
	if (kho_is_for(image))
		image->kho_fdt = virt_to_phys(kho_out_fdt);
}

/**
 * kho_scratch_array - the array of scratch areas, for an image's boot data
 * @size: set to its size in bytes, 0 while the handover is off
 *
 * The architecture puts a copy where neither the decompressor nor the early
 * boot writes.
 *
 * Context: any.
 * Return: the array.
 */
const void *kho_scratch_array(size_t *size)
{
	*size = kho_out_fdt ? kho_scratch_cnt * sizeof(*kho_scratch) : 0;
	return kho_scratch;
}

/**
 * kho_locate_mem_hole - find a place for a segment of an image
 * @kbuf: the segment
 * @func: called for each area that may be used until it returns non-zero
 * @ret:  what @func returned last
 *
 * Segments lie in scratch only, so that copying them at the jump cannot
 * overwrite what is preserved.
 *
 * Context: with the kexec lock.
 * Return: false if the image does not get the handover and its segments may
 * lie anywhere.
 */
bool kho_locate_mem_hole(struct kexec_buf *kbuf,
			 int (*func)(struct resource *, void *), int *ret)
{
	unsigned int i;

	if (!kho_is_for(kbuf->image))
		return false;

	*ret = 0;
	for (i = 0; i < kho_scratch_cnt && !*ret; i++) {
		struct resource res = {
			.start = kho_scratch[i].addr,
			.end = kho_scratch[i].addr + kho_scratch[i].size - 1,
		};

		*ret = func(&res, kbuf);
	}
	if (!*ret)
		pr_err("no room for %lu KiB of the next image in scratch, boot with a larger kho_scratch=\n",
		       kbuf->memsz >> 10);
	return true;
}

/**
 * kho_kexec_check - whether an image may be started
 * @image: the image
 *
 * Context: with the kexec lock.
 * Return: 0, or -EOPNOTSUPP if there is state that it cannot take.
 */
int kho_kexec_check(const struct kimage *image)
{
	if (!atomic_read(&kho_holders) || image->kho_fdt)
		return 0;

	pr_err("there is state to hand over, but the image was loaded with kexec_load(2), which may place it anywhere; load it with kexec_file_load(2) (kexec -s -l)\n");
	return -EOPNOTSUPP;
}

u32 kho_fdt_crc(const void *fdt)
{
	return __crc32c_le(~0, fdt, PAGE_SIZE);
}

static u32 kho_check_crc(struct kho_check_ser check)
{
	check.crc = 0;
	return __crc32c_le(~0, (u8 *)&check, sizeof(check));
}

bool kho_check_valid(const struct kho_check_ser *check)
{
	return check->magic == KHO_CHECK_MAGIC &&
	       check->crc == kho_check_crc(*check);
}

/**
 * kho_kexec_seal - write the checksums down
 * @image: the image that is about to be started
 *
 * Context: right before the jump, when nothing else runs.
 */
void kho_kexec_seal(const struct kimage *image)
{
	struct kho_map_sum sum;

	if (!image->kho_fdt)
		return;

	kho_map_sum(&sum);
	*kho_check = (struct kho_check_ser) {
		.magic = KHO_CHECK_MAGIC,
		.map_nodes = sum.nodes,
		.map_crc = sum.crc,
		.fdt_crc = kho_fdt_crc(kho_out_fdt),
	};
	kho_check->crc = kho_check_crc(*kho_check);
	kho_debug_corrupt();
}

/**
 * kho_check_init - make the subtree of checksums
 *
 * Return: 0, or an error of kho_alloc_preserve() or kho_add_subtree().
 */
int __init kho_check_init(void)
{
	int err;

	kho_check = kho_alloc_preserve(sizeof(*kho_check));
	if (IS_ERR(kho_check))
		return PTR_ERR(kho_check);

	err = kho_add_subtree(KHO_CHECK_SUBTREE_NAME, kho_check,
			      sizeof(*kho_check));
	if (err)
		kho_unpreserve_free(kho_check);
	return err;
}
