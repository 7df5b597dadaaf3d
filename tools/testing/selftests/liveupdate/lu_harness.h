/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kselftest_harness.h with what tests need that go on in the next kernel.
 */
#ifndef _LU_HARNESS_H
#define _LU_HARNESS_H

#include <fcntl.h>

#include "../kselftest_harness.h"
#include "lu_util.h"

/* Seconds that a test may take between two boots, without KVM. */
#define LU_TIMEOUT	150

/* Not half a minute for the others, which an emulated machine may merely lose. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	LU_TIMEOUT

/*
 * The end of a stage. A failed EXPECT_*() would be forgotten together with
 * this kernel, so there is no jump after one.
 */
#define LU_KEXEC_WITH(stage, more)					\
do {									\
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);			\
	ASSERT_EQ(0, lu_kexec(stage, more));				\
} while (0)

#define LU_KEXEC(stage)		LU_KEXEC_WITH(stage, NULL)

/* The same with an image that is loaded already. */
#define LU_JUMP()							\
do {									\
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);			\
	ASSERT_EQ(0, lu_jump());					\
} while (0)

/* Tests that reboot stay away from a machine that is not made for it. */
#define LU_NO_GUEST	"kexecs: runs in a guest, LU_STAGE says so"

/*
 * A guest is booted with live update on, so a device that is not there is a
 * failure; on any other machine it is a reason not to test.
 */
static inline bool lu_may_have_device(void)
{
	return lu_stage() || !access(LU_DEVICE, F_OK);
}

/* The harness is content with a name that selects nothing; we are not. */
static inline bool lu_selects_nothing(int argc, char **argv)
{
	struct __fixture_metadata *f;
	struct __test_metadata *t;

	if (argc != 3 || strcmp(argv[1], "-t"))
		return false;
	for (f = __fixture_list; f; f = f->next)
		for (t = f->tests; t; t = t->next)
			if (!strcmp(t->name, argv[2]))
				return false;
	fprintf(stderr, "# no test of this name: %s\n", argv[2]);
	return true;
}

/* In place of TEST_HARNESS_MAIN. */
int main(int argc, char **argv)
{
	return lu_selects_nothing(argc, argv) ? KSFT_FAIL : test_harness_run(argc, argv);
}

#endif /* _LU_HARNESS_H */
