// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of the root FDT: as full as a kernel can make it, it must go on in
 * the next one; and of the checksum that everything has.
 */
#include <kunit/test.h>
#include <linux/crc32.h>
#include <linux/io.h>
#include <linux/kexec.h>
#include <linux/kho_kexec.h>
#include <linux/libfdt.h>
#include <linux/mm.h>

#include "kho_internal.h"

static int kho_test_init(struct kunit *test)
{
	if (!kho_is_enabled())
		kunit_skip(test, "the handover is off, boot with kho=on");
	return 0;
}

static void kho_test_free_blob(void *blob)
{
	kho_unpreserve_free(blob);
}

static void *kho_test_blob(struct kunit *test)
{
	void *blob = kho_alloc_preserve(PAGE_SIZE);

	KUNIT_ASSERT_FALSE(test, IS_ERR(blob));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kho_test_free_blob,
						  blob));
	return blob;
}

static unsigned int kho_test_subtrees(const void *fdt)
{
	unsigned int nr = 0;
	int node;

	fdt_for_each_subnode(node, fdt, 0)
		nr++;
	return nr;
}

/* Add subtrees with names of @len bytes until there is room for no other. */
static unsigned int kho_test_fill(struct kunit *test, void *blob,
				  unsigned int len)
{
	unsigned int nr = 0;
	char name[32];
	int err;

	do {
		snprintf(name, sizeof(name), "%0*u", len, nr);
		err = kho_add_subtree(name, blob, 1);
	} while (!err && ++nr < PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, err, -ENOSPC);
	return nr;
}

/* Names of some lengths, so that one of them leaves no byte. */
static void __init kho_root_test_full(struct kunit *test)
{
	void *next = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	void *blob = kho_test_blob(test);
	unsigned int len, nr, total;

	KUNIT_ASSERT_NOT_NULL(test, next);
	total = kho_test_subtrees(kho_out_fdt);

	for (len = 4; len < 32; len += 9) {
		size_t size;
		void *full;

		nr = kho_test_fill(test, blob, len);
		KUNIT_EXPECT_GT(test, nr, 20);
		full = kho_copy_blob(kho_out_fdt, NULL, &size);
		while (nr--)
			kho_remove_subtree(blob);
		KUNIT_EXPECT_EQ(test, total, kho_test_subtrees(kho_out_fdt));
		KUNIT_ASSERT_FALSE(test, IS_ERR(full));
		KUNIT_ASSERT_LE(test, size, PAGE_SIZE);

		KUNIT_EXPECT_EQ_MSG(test, 0, kho_make_tree(next, full),
				    "names of %u bytes, %zu in all", len, size);
		/* The checksums come later, and find their place. */
		KUNIT_EXPECT_EQ(test, kho_test_subtrees(full) - 1,
				kho_test_subtrees(next));
		KUNIT_EXPECT_EQ(test, 0, fdt_pack(next));
		KUNIT_EXPECT_LT(test, fdt_totalsize(next), size);
		kvfree(full);
	}
}

static void kho_root_test_names(struct kunit *test)
{
	void *blob = kho_test_blob(test), *other = kho_test_blob(test);
	unsigned int total = kho_test_subtrees(kho_out_fdt);

	KUNIT_EXPECT_EQ(test, -EINVAL, kho_add_subtree("test", blob, 0));
	KUNIT_EXPECT_EQ(test, 0, kho_add_subtree("test", blob, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EEXIST, kho_add_subtree("test", other, 1));
	kho_remove_subtree(other);
	KUNIT_EXPECT_EQ(test, total + 1, kho_test_subtrees(kho_out_fdt));
	kho_remove_subtree(blob);
	KUNIT_EXPECT_EQ(test, total, kho_test_subtrees(kho_out_fdt));
	KUNIT_EXPECT_FALSE(test, kho_carries_state());
}

/* A blob can be read if all of it is preserved. */
static void kho_root_test_blob(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1);
	void *blob, *copy;
	size_t size;

	KUNIT_ASSERT_NOT_NULL(test, page);
	split_page(page, 1);
	blob = page_address(page);
	KUNIT_ASSERT_EQ(test, 0, kho_preserve_pages(page, 1));

	KUNIT_EXPECT_EQ(test, 0, kho_add_subtree("test", blob, PAGE_SIZE));
	copy = kho_copy_blob(kho_out_fdt, "test", &size);
	if (!IS_ERR(copy)) {
		KUNIT_EXPECT_EQ(test, size, PAGE_SIZE);
		kvfree(copy);
	}
	KUNIT_EXPECT_FALSE(test, IS_ERR(copy));
	kho_remove_subtree(blob);

	KUNIT_EXPECT_EQ(test, 0, kho_add_subtree("test", blob, PAGE_SIZE + 1));
	copy = kho_copy_blob(kho_out_fdt, "test", &size);
	KUNIT_EXPECT_EQ(test, -ENOENT, PTR_ERR_OR_ZERO(copy));
	if (!IS_ERR(copy))
		kvfree(copy);
	kho_remove_subtree(blob);

	kho_unpreserve_pages(page, 1);
	__free_page(page);
	__free_page(page + 1);
}

/* What goes on without anybody here who holds it is state to lose, until it is freed. */
static void __init kho_root_test_carried(struct kunit *test)
{
	struct kimage *image = kunit_kzalloc(test, sizeof(*image), GFP_KERNEL);
	void *carried = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	unsigned int total = kho_test_subtrees(kho_out_fdt);
	void *blob, *was = kho_carried;

	KUNIT_ASSERT_NOT_NULL(test, image);
	KUNIT_ASSERT_NOT_NULL(test, carried);
	image->type = KEXEC_TYPE_DEFAULT;
	if (kho_kexec_check(image))
		kunit_skip(test, "there is state already");
	blob = kho_alloc_preserve(PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(blob));
	KUNIT_EXPECT_EQ(test, 0, kho_add_subtree("test", blob, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, kho_make_tree(carried, NULL));
	KUNIT_EXPECT_LT(test, 0, fdt_add_subnode(carried, 0, "test"));

	kho_carried = carried;
	KUNIT_EXPECT_TRUE(test, kho_carries_state());
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, kho_kexec_check(image));
	kho_unpreserve_free(blob);
	KUNIT_EXPECT_FALSE(test, kho_carries_state());
	KUNIT_EXPECT_EQ(test, 0, kho_kexec_check(image));
	KUNIT_EXPECT_EQ(test, total, kho_test_subtrees(kho_out_fdt));
	kho_carried = was;
}

/* When the jump is near nothing comes and nothing goes. */
static void kho_root_test_closed(struct kunit *test)
{
	void *blob = kho_test_blob(test), *other = kho_test_blob(test);
	unsigned int total = kho_test_subtrees(kho_out_fdt);

	KUNIT_ASSERT_EQ(test, 0, kho_add_subtree("test", blob, 1));
	kho_kexec_commit();
	KUNIT_EXPECT_EQ(test, -EBUSY, kho_add_subtree("other", other, 1));
	kho_remove_subtree(blob);
	KUNIT_EXPECT_EQ(test, total + 1, kho_test_subtrees(kho_out_fdt));
	kho_fdt_closed = false;

	kho_remove_subtree(other);
	kho_remove_subtree(blob);
	KUNIT_EXPECT_EQ(test, total, kho_test_subtrees(kho_out_fdt));
}

/* The polynomial bit by bit, the lowest first. */
static u32 kho_test_crc32c(u32 crc, const u8 *p, size_t len)
{
	unsigned int bit;

	for (; len; len--) {
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

/* Another kernel has to come to the same sums, however it computes them. */
static void kho_root_test_crc32c(struct kunit *test)
{
	u8 bytes[80];
	size_t at, len;

	KUNIT_EXPECT_EQ(test, 0xe3069283, ~__crc32c_le(~0, "123456789", 9));
	for (at = 0; at < sizeof(bytes); at++)
		bytes[at] = at * 37 + 11;
	for (at = 0; at < sizeof(long); at++) {
		for (len = 0; at + len <= sizeof(bytes); len++) {
			u32 crc = kho_test_crc32c(~0, bytes + at, len);

			KUNIT_EXPECT_EQ(test, crc,
					__crc32c_le(~0, bytes + at, len));
			KUNIT_EXPECT_EQ(test, crc,
					__crc32c_le_base(~0, bytes + at, len));
		}
	}
}

static struct kunit_case __refdata kho_root_cases[] = {
	KUNIT_CASE(kho_root_test_full),
	KUNIT_CASE(kho_root_test_names),
	KUNIT_CASE(kho_root_test_blob),
	KUNIT_CASE(kho_root_test_carried),
	KUNIT_CASE(kho_root_test_closed),
	KUNIT_CASE(kho_root_test_crc32c),
	{}
};

static struct kunit_suite kho_root_suite = {
	.name = "kho_root",
	.init = kho_test_init,
	.test_cases = kho_root_cases,
};

kunit_test_init_section_suites(&kho_root_suite);
