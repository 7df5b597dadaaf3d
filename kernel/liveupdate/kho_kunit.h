/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec Handover: what its unit tests share.
 */
#ifndef _KHO_KUNIT_H
#define _KHO_KUNIT_H

#include <linux/types.h>

struct kunit;

int kho_test_init(struct kunit *test);
unsigned long kho_test_blocks(struct kunit *test);
phys_addr_t kho_test_other_page(struct kunit *test);
void kho_test_allow(struct kunit *test, unsigned long nr);
void kho_test_allow_all(struct kunit *test);

#endif /* _KHO_KUNIT_H */
