// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of what an image and its command line are found to be.
 */
#include <kunit/test.h>
#include <linux/kexec.h>
#include <linux/kho/abi/luo.h>
#include <linux/kho/abi/memfd.h>

#include "kho_internal.h"

static void kho_image_test_switch(struct kunit *test)
{
	static const struct {
		const char *line;
		int on;
	} lines[] = {
		{ "", -1 }, { "kho", -1 }, { "kho=", -1 }, { "kho=maybe", -1 },
		{ "kho=on", 1 }, { "kho=off", 0 }, { "kho=1", 1 },
		{ "a kho=on b", 1 }, { "kho=on kho=off", 0 },
		{ "kho=on\tkho=off", 0 }, { "kho=off\n kho=on", 1 },
		{ "\"kho=on\"", 1 }, { "kho=\"off\"", 0 },
		{ "x=\"a kho=on b\"", -1 }, { "x=\"a\" kho=on", 1 },
		{ "xkho=on", -1 }, { "khox=on", -1 },
		{ "kho=on -- kho=off", 1 }, { "-- kho=on", -1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lines); i++)
		KUNIT_EXPECT_EQ_MSG(test, lines[i].on,
				    kho_cmdline_switch(lines[i].line, "kho"),
				    "'%s'", lines[i].line);
	KUNIT_EXPECT_EQ(test, -1, kho_cmdline_switch(NULL, "kho"));
}

static void kho_image_test_hides(struct kunit *test)
{
	static const struct {
		const char *line;
		const char *ours;
		const char *hides;
	} lines[] = {
		{ "", "" }, { "mem= x=\"a mem=1M\"", "" }, { "-- mem=1M", "" },
		{ "a\tmem=1M", "", "mem=" }, { "a\tmem=1M", "mem=1M b" },
		{ "mem=1M", "mem=2M", "mem=" }, { "", "mem=2M" },
		{ "memmap=1M$3M b", "memmap=1M", "memmap=" },
		{ "memmap=1M$3M b", "memmap=1M$3M" }, { "", "memmap=1M$3M" },
		{ "", "memmap=1M@3M", "memmap=" },
		{ "memmap=1M@3M", "memmap=1M@3M" },
		{ "", "memmap=exactmap", "memmap=" },
		{ "memmap=exactmap", "memmap=exactmap" },
		{ "", "memmap=exactmapped" },
		{ "\"mem=1M\"", "", "mem=" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		const char *line = lines[i].line, *ours = lines[i].ours;
		const char *hides = kho_cmdline_hides("", line, ours);

		KUNIT_EXPECT_PTR_EQ(test, hides,
				    kho_cmdline_hides(line, "", ours));
		KUNIT_EXPECT_STREQ_MSG(test, hides ?: "", lines[i].hides ?: "",
				       "'%s' after '%s'", lines[i].line,
				       lines[i].ours);
	}
}

/* Lists of images, off and on without a word. */
#define KHO_TEST_FORMATS						\
	LUO_FDT_COMPATIBLE "\0" LUO_FDT_SESSION_COMPATIBLE "\0"		\
	LUO_FDT_FLB_COMPATIBLE "\0" MEMFD_LUO_FH_COMPATIBLE

static const char kho_test_off[] =
	KHO_FDT_COMPATIBLE "\0kho=off\0" KHO_TEST_FORMATS "\0liveupdate=off";
static const char kho_test_on[] =
	KHO_FDT_COMPATIBLE "\0kho=yes\0" KHO_TEST_FORMATS "\0liveupdate=yes";

/* What an image with a command line of its own is found to be. */
static void kho_image_test_built_in(struct kunit *test)
{
	static const struct {
		const char *built_in;		/* a string of the list */
		const char *given;
		enum kho_verdict verdict;
		bool on;			/* without a word */
	} lines[] = {
		{ "", "", KHO_IMAGE_SWITCHED_OFF },
		{ "", "kho=on liveupdate=on", KHO_IMAGE_FIT },
		{ "cmdline: kho=on liveupdate=on", "", KHO_IMAGE_FIT },
		{ "cmdline: kho=on liveupdate=on", "kho=off",
		  KHO_IMAGE_SWITCHED_OFF },
		{ "cmdline: kho=off", "kho=on liveupdate=on", KHO_IMAGE_FIT },
		{ "cmdline: mem=1M", "kho=on liveupdate=on", KHO_IMAGE_MEMORY },
		{ "cmdline-only: kho=off", "kho=on liveupdate=on",
		  KHO_IMAGE_SWITCHED_OFF },
		{ "cmdline-only: kho=on liveupdate=on", "kho=off mem=1M",
		  KHO_IMAGE_FIT },
		{ "", "", KHO_IMAGE_FIT, true },
		{ "cmdline: kho=off", "", KHO_IMAGE_SWITCHED_OFF, true },
		{ "cmdline: kho=off", "kho=on", KHO_IMAGE_FIT, true },
		{ "cmdline-only: liveupdate=off", "liveupdate=on",
		  KHO_IMAGE_SWITCHED_OFF, true },
	};
	struct kimage *image = kunit_kzalloc(test, sizeof(*image), GFP_KERNEL);
	char *list = kunit_kzalloc(test, sizeof(kho_test_off) + 64, GFP_KERNEL);
	unsigned int i;

	BUILD_BUG_ON(sizeof(kho_test_off) != sizeof(kho_test_on));
	KUNIT_ASSERT_NOT_NULL(test, image);
	KUNIT_ASSERT_NOT_NULL(test, list);
	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		memcpy(list, lines[i].on ? kho_test_on : kho_test_off,
		       sizeof(kho_test_off));
		strscpy(list + sizeof(kho_test_off), lines[i].built_in, 64);
		image->cmdline_buf = (char *)lines[i].given;
		kho_judge_image(image, true, list, sizeof(kho_test_off) + 1 +
				strlen(lines[i].built_in));
		KUNIT_EXPECT_EQ_MSG(test, image->kho_verdict, lines[i].verdict,
				    "'%s' and '%s'", lines[i].built_in,
				    lines[i].given);
	}
}

static struct kunit_case kho_image_cases[] = {
	KUNIT_CASE(kho_image_test_built_in),
	KUNIT_CASE(kho_image_test_switch),
	KUNIT_CASE(kho_image_test_hides),
	{}
};

static struct kunit_suite kho_image_suite = {
	.name = "kho_image",
	.test_cases = kho_image_cases,
};

kunit_test_suite(kho_image_suite);
