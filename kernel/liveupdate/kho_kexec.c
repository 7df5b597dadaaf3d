// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: the next image, from loading it to the jump.
 */

/**
 * DOC: The next image
 *
 * A kernel that does not know Kexec Handover, that is started without it, or
 * that reads an older layout frees and overwrites everything that is handed to
 * it. So an image is asked before it is started: its architecture finds the
 * list of strings in it that says what it reads and what its switches are
 * without a command line, and that is held against what users of the handover
 * said they need (kho_require()). The verdict is kept with the image. It counts
 * while somebody has state to lose (kho_hold()): then loading an unfit image
 * fails, and so does the reboot into one that was loaded before.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/visibility.h>
#include <linux/atomic.h>
#include <linux/crc32.h>
#include <linux/ctype.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kexec.h>
#include <linux/kho_kexec.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/string.h>

#include "kho_internal.h"

/* How many there are who would lose state. */
static atomic_t kho_holders = ATOMIC_INIT(0);

/* What the next kernel must read and have switched on. Fixed after boot. */
struct kho_need {
	const char *what;
	bool is_switch;
};

static struct kho_need kho_needs[8] __ro_after_init = {
	{ KHO_FDT_COMPATIBLE, false },
	{ KHO_IMAGE_SWITCH, true },
};

static unsigned int kho_nr_needs __ro_after_init = 2;

/* liveupdate.allow_unknown_image= */
static bool kho_allow_unknown_image;

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "liveupdate."
module_param_named(allow_unknown_image, kho_allow_unknown_image, bool, 0644);
MODULE_PARM_DESC(allow_unknown_image,
		 "hand state over to images that do not say what they read");

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

static bool kho_has_state(void)
{
	return atomic_read(&kho_holders) || kho_carries_state();
}

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
 * lie anywhere: one for which there is no room, while there is no state.
 */
bool kho_locate_mem_hole(struct kexec_buf *kbuf,
			 int (*func)(struct resource *, void *), int *ret)
{
	unsigned int i;

	if (!kbuf->image->kho_fdt)
		return false;

	*ret = 0;
	for (i = 0; i < kho_scratch_cnt && !*ret; i++) {
		struct resource res = {
			.start = kho_scratch[i].addr,
			.end = kho_scratch[i].addr + kho_scratch[i].size - 1,
		};

		*ret = func(&res, kbuf);
	}
	if (*ret)
		return true;
	if (kho_has_state()) {
		pr_err("no room for %lu KiB of the next image in scratch, boot with a larger kho_scratch=\n",
		       kbuf->memsz >> 10);
		return true;
	}
	/* Nothing is lost by an image that gets nothing. */
	pr_warn("no room for %lu KiB of the next image in scratch: it is loaded elsewhere, and can take nothing over\n",
		kbuf->memsz >> 10);
	kbuf->image->kho_fdt = 0;
	return false;
}

/**
 * kho_require - say what the next kernel needs to take one's state
 * @what: a compatible string that it must read, or with @is_switch a switch
 *        that must be on
 * @is_switch: @what is a switch on the command line
 *
 * Context: before any image can be loaded; @what must stay.
 */
void __init kho_require(const char *what, bool is_switch)
{
	if (WARN_ON(kho_nr_needs == ARRAY_SIZE(kho_needs)))
		return;
	kho_needs[kho_nr_needs++] = (struct kho_need) { what, is_switch };
}

/* The string after @s in an image's list, %NULL after the last. */
static const char *kho_next_string(const char *s, const char *end)
{
	s += strnlen(s, end - s) + 1;
	return s < end ? s : NULL;
}

/*
 * The next word of a command line in front of "--"; @len is set to its length.
 * As next_arg() has it: space in quotes does not end a word.
 */
static const char *kho_cmdline_word(const char *line, size_t *len)
{
	bool quoted = false;
	size_t n;

	line = skip_spaces(line);
	for (n = 0; line[n] && (quoted || !isspace(line[n])); n++)
		quoted ^= line[n] == '"';
	*len = n;
	/* What comes behind is for init. */
	return !n || (n == 2 && !strncmp(line, "--", 2)) ? NULL : line;
}

/* Value of a switch on a command line: 1, 0, or -1 if it is not there. */
VISIBLE_IF_KUNIT int kho_cmdline_switch(const char *cmdline, const char *name)
{
	const char *word = cmdline ?: "", *arg;
	size_t len = strlen(name), n;
	int on = -1;
	bool val;

	for (; (word = kho_cmdline_word(word, &n)); word += n) {
		arg = word + (*word == '"');
		if (strncmp(arg, name, len) || arg[len] != '=')
			continue;
		arg += len + 1;
		if (!kstrtobool(arg + (*arg == '"'), &val))
			on = val;
	}
	return on;
}

static bool kho_cmdline_has(const char *line, const char *word, size_t len)
{
	size_t n;

	for (; (line = kho_cmdline_word(line, &n)); line += n)
		if (n == len && !strncmp(line, word, len))
			return true;
	return false;
}

/* The parameter that a word is, if it changes what memory there is; else %NULL. */
static const char *kho_memory_param(const char *word, size_t len)
{
	static const char * const params[] = { "mem=", "memmap=" };
	unsigned int i;
	size_t n;

	word += *word == '"';
	for (i = 0; i < ARRAY_SIZE(params); i++) {
		n = strlen(params[i]);
		if (len > n && !strncmp(word, params[i], n))
			return params[i];
	}
	return NULL;
}

/* Whether a memmap= makes memory that the firmware did not tell of. */
static bool kho_adds_memory(const char *word, size_t len)
{
	static const char exact[] = "memmap=exactmap";
	const char *param = kho_memory_param(word, len);

	if (!param || strcmp(param, "memmap="))
		return false;
	return strnchr(word, len, '@') ||
	       (len == strlen(exact) && !strncmp(word, exact, len));
}

/**
 * kho_cmdline_hides - how another kernel may come to see less memory than this
 * @built_in: the part of its command line that is in its configuration
 * @given:    the other part
 * @ours:     this kernel's; what it was told itself hides nothing more
 *
 * Return: the parameter that does it; %NULL if there is none.
 */
VISIBLE_IF_KUNIT const char *kho_cmdline_hides(const char *built_in,
					       const char *given,
					       const char *ours)
{
	const char * const lines[] = { built_in, given };
	const char *word;
	unsigned int i;
	size_t n;

	for (i = 0; i < ARRAY_SIZE(lines); i++)
		for (word = lines[i]; (word = kho_cmdline_word(word, &n)); word += n)
			if (kho_memory_param(word, n) &&
			    !kho_cmdline_has(ours, word, n))
				return kho_memory_param(word, n);

	for (word = ours; (word = kho_cmdline_word(word, &n)); word += n)
		if (kho_adds_memory(word, n) &&
		    !kho_cmdline_has(built_in, word, n) &&
		    !kho_cmdline_has(given, word, n))
			return "memmap=";
	return NULL;
}

/* What follows @word in the string of a list that begins with it. */
static const char *kho_list_find(const char *list, const char *end,
				 const char *word)
{
	const char *s;

	for (s = list; s; s = kho_next_string(s, end))
		if (!strncmp(s, word, strlen(word)))
			return s + strlen(word);
	return NULL;
}

static bool kho_image_meets(const struct kho_need *need, const char *list,
			    const char *end, const char *built_in,
			    const char *given)
{
	const char *s;
	int on = -1;

	if (need->is_switch) {
		on = kho_cmdline_switch(given, need->what);
		if (on < 0)
			on = kho_cmdline_switch(built_in, need->what);
		if (on >= 0)
			return on;
	}
	for (s = list; s; s = kho_next_string(s, end)) {
		if (need->is_switch)
			on = max(on, kho_cmdline_switch(s, need->what));
		else if (!strcmp(s, need->what))
			return true;
	}
	return on > 0;
}

/**
 * kho_judge_image - find out whether an image can take the handover
 * @image: the image, loaded with kexec_file_load(2)
 * @knows_kho: it knows that there is such a thing
 * @list: its list of strings, %NULL if it has none
 * @len: bytes of the list
 *
 * Context: with the kexec lock.
 */
void kho_judge_image(struct kimage *image, bool knows_kho, const char *list,
		     size_t len)
{
	const char *end = list + len, *given = image->cmdline_buf ?: "";
	const char *built_in, *only;
	unsigned int i;

	image->kho_verdict = KHO_IMAGE_FIT;
	image->kho_lacks = NULL;

	if (!knows_kho) {
		image->kho_verdict = KHO_IMAGE_WITHOUT;
		return;
	}
	if (!list || !len || list[len - 1]) {
		image->kho_verdict = KHO_IMAGE_UNKNOWN;
		return;
	}
	only = kho_list_find(list, end, KHO_IMAGE_CMDLINE_ONLY);
	built_in = only ?: kho_list_find(list, end, KHO_IMAGE_CMDLINE) ?: "";
	if (only)
		given = "";

	for (i = 0; i < kho_nr_needs; i++) {
		if (kho_image_meets(&kho_needs[i], list, end, built_in, given))
			continue;
		image->kho_verdict = kho_needs[i].is_switch ?
				     KHO_IMAGE_SWITCHED_OFF : KHO_IMAGE_FORMAT;
		image->kho_lacks = kho_needs[i].what;
		return;
	}
	image->kho_lacks = kho_cmdline_hides(built_in, given,
					     saved_command_line);
	if (image->kho_lacks)
		image->kho_verdict = KHO_IMAGE_MEMORY;
}

static bool kho_image_fits(const struct kimage *image)
{
	if (!image->kho_fdt && image->file_mode) {
		pr_err("there is state to hand over, but scratch had no room for the image; boot with a larger kho_scratch=, or load a smaller one\n");
		return false;
	}
	if (!image->kho_fdt) {
		pr_err("there is state to hand over, but the image was loaded with kexec_load(2), which may place it anywhere; load it with kexec_file_load(2) (kexec -s -l)\n");
		return false;
	}
	switch (image->kho_verdict) {
	case KHO_IMAGE_FIT:
		return true;
	case KHO_IMAGE_WITHOUT:
		pr_err("there is state to hand over, but the image does not know Kexec Handover; load a kernel that does, or finish and close all sessions\n");
		return false;
	case KHO_IMAGE_SWITCHED_OFF:
		pr_err("there is state to hand over, but the image would run with %s=off; load it with %s=on on its command line\n",
		       image->kho_lacks, image->kho_lacks);
		return false;
	case KHO_IMAGE_FORMAT:
		pr_err("there is state to hand over, but the image does not read '%s'; load a kernel that does, or finish and close all sessions\n",
		       image->kho_lacks);
		return false;
	case KHO_IMAGE_MEMORY:
		pr_err("there is state to hand over, but the image is told another %s than this kernel, which may hide some of it; load it with the same\n",
		       image->kho_lacks);
		return false;
	case KHO_IMAGE_UNKNOWN:
		break;
	}
	if (kho_allow_unknown_image) {
		pr_warn("the image does not say what it can take, going on as liveupdate.allow_unknown_image=1 says\n");
		return true;
	}
	pr_err("there is state to hand over, but the image does not say whether it can take it; set liveupdate.allow_unknown_image=1 if you know that it can\n");
	return false;
}

/**
 * kho_kexec_check - whether an image may be loaded or started
 * @image: the image
 *
 * Context: with the kexec lock.
 * Return: 0; -EOPNOTSUPP if there is state that it cannot take; -EHWPOISON if
 * some of that is lost, and the image would not know. A line in the log says
 * why, and what to do.
 */
int kho_kexec_check(const struct kimage *image)
{
	if (image->type == KEXEC_TYPE_DEFAULT && kho_stranded) {
		pr_err("the previous kernel's state is kept, but Kexec Handover did not start in this kernel and cannot hand it on; an ordinary reboot gives it up\n");
		return -EOPNOTSUPP;
	}
	if (image->type != KEXEC_TYPE_DEFAULT || !kho_has_state())
		return 0;
	if (!kho_image_fits(image))
		return -EOPNOTSUPP;
	return kho_pages_intact() ? 0 : -EHWPOISON;
}

/**
 * kho_kexec_commit - the next kernel is about to be started
 *
 * Context: the reboot, when it cannot fail any more; may sleep.
 */
void kho_kexec_commit(void)
{
	kho_close_root();
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

	kho_debug_damage_map();
	kho_map_sum(&kho_map, &sum);
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
