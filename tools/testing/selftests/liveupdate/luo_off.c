// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel that was not told kho=on has no live update, says so if it was
 * asked for one, and is otherwise as ever.
 */
#include <syslog.h>

#include "lu_harness.h"

FIXTURE(off)
{
	int stage;
};

FIXTURE_SETUP(off)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
}

FIXTURE_TEARDOWN(off) { }

/* liveupdate=on kho=off */
TEST_F(off, says_so)
{
	EXPECT_EQ(-1, access(LU_DEVICE, F_OK));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(1, lu_log_lines("liveupdate: ", LOG_DEBUG));
}

/* liveupdate=off */
TEST_F(off, no_device)
{
	EXPECT_EQ(-1, access(LU_DEVICE, F_OK));
	EXPECT_EQ(ENOENT, errno);
}

/* Without live update on either side, with either system call. */
TEST_F_TIMEOUT(off, kexec_to_same, LU_TIMEOUT)
{
	EXPECT_EQ(-1, access(LU_DEVICE, F_OK));
	EXPECT_EQ(self->stage == 2 ? 'b' : 'a', lu_letter());
	if (self->stage < 3) {
		ASSERT_EQ(0, lu_load_tools(self->stage == 1 ? "-c" : "-s", self->stage + 1));
		LU_JUMP();
	}
}

/* From there a kexec into a kernel that has it. */
TEST_F_TIMEOUT(off, kexec_to_on, LU_TIMEOUT)
{
	int dev;

	if (self->stage == 1) {
		EXPECT_EQ(-1, access(LU_DEVICE, F_OK));
		LU_KEXEC_WITH(2, "kho=on liveupdate=on");
	}
	dev = lu_open_dev();
	ASSERT_LE(0, dev);
	EXPECT_EQ(-ENOENT, lu_retrieve(dev, "x"));
	EXPECT_LE(0, lu_create(dev, "x"));
}
