// SPDX-License-Identifier: GPL-2.0
/*
 * Handover data that is damaged: the next kernel says in one line what it
 * found, and boots on without it.
 *
 * The damage is done at the jump by the old kernel, which is told what to
 * damage through a file of debugfs.
 */
#include "lu_harness.h"

#define CORRUPT		"/sys/kernel/debug/kho/corrupt"

FIXTURE(corrupt)
{
	int dev;
	int stage;
};

FIXTURE_SETUP(corrupt)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	if (self->stage == 1 && access(CORRUPT, F_OK))
		SKIP(return, "no " CORRUPT);
	/* After the jump there may be no live update. */
	self->dev = lu_open_dev();
	if (self->stage == 1)
		ASSERT_LE(0, self->dev);
}

FIXTURE_TEARDOWN(corrupt)
{
	close(self->dev);
}

static int preserve_one(int dev, const char *name, uint64_t seed)
{
	int session = lu_create(dev, name), fd = lu_memfd(name, LU_MIB, seed);

	if (session < 0 || fd < 0)
		return -EIO;
	return lu_preserve(session, fd, 1);
}

static int retrieve_one(int dev, const char *name, uint64_t seed)
{
	int session = lu_retrieve(dev, name), fd;

	if (session < 0)
		return session;
	fd = lu_retrieve_fd(session, 1);
	return fd < 0 ? fd : lu_check(fd, 0, LU_MIB, seed);
}

static void jump(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self,
		 const char *what)
{
	ASSERT_EQ(0, preserve_one(self->dev, "first", 1));
	ASSERT_EQ(0, preserve_one(self->dev, "second", 2));
	ASSERT_EQ(0, lu_write_file(CORRUPT, what));
	LU_KEXEC(2);
}

/* Lines of the kernel's in which KHO or LUO complain. */
static int complaints(void)
{
	return lu_log_lines("kho: ", "scratch") + lu_log_lines("liveupdate: ", NULL);
}

/* Nothing can be retrieved, by anybody, and the kernel has said why. */
static void run(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self,
		const char *what)
{
	if (self->stage == 1)
		jump(_metadata, self, what);
	EXPECT_LE(1, complaints());
	if (self->dev < 0) {
		EXPECT_TRUE(self->dev == -ENOENT || self->dev == -EIO);
		return;
	}
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "first"));
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "second"));
	/* Memory of the machine can still be used. */
	EXPECT_LE(0, lu_memfd("after", 64 * LU_MIB, 1));
}

/* Damage to the last session, or to its file: the first is not concerned. */
static void run_one(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self,
		    const char *what)
{
	if (self->stage == 1)
		jump(_metadata, self, what);
	EXPECT_LE(1, complaints());
	ASSERT_LE(0, self->dev);
	EXPECT_EQ(0, retrieve_one(self->dev, "first", 1));
	EXPECT_GT(0, retrieve_one(self->dev, "second", 2));
}

TEST_F_TIMEOUT(corrupt, magic, LU_TIMEOUT)
{
	run(_metadata, self, "magic");
}

TEST_F_TIMEOUT(corrupt, compatible, LU_TIMEOUT)
{
	run(_metadata, self, "compatible");
}

TEST_F_TIMEOUT(corrupt, fdt_size, LU_TIMEOUT)
{
	run(_metadata, self, "fdt-size");
}

TEST_F_TIMEOUT(corrupt, fdt_address, LU_TIMEOUT)
{
	run(_metadata, self, "fdt-address");
}

TEST_F_TIMEOUT(corrupt, map_address, LU_TIMEOUT)
{
	run(_metadata, self, "map-address");
}

TEST_F_TIMEOUT(corrupt, map_crc, LU_TIMEOUT)
{
	run(_metadata, self, "map-crc");
}

TEST_F_TIMEOUT(corrupt, subtree_address, LU_TIMEOUT)
{
	run(_metadata, self, "subtree-address");
}

TEST_F_TIMEOUT(corrupt, luo_compatible, LU_TIMEOUT)
{
	run(_metadata, self, "luo-compatible");
}

TEST_F_TIMEOUT(corrupt, luo_session_address, LU_TIMEOUT)
{
	run(_metadata, self, "luo-session-address");
}

TEST_F_TIMEOUT(corrupt, luo_session_crc, LU_TIMEOUT)
{
	run(_metadata, self, "luo-session-crc");
}

TEST_F_TIMEOUT(corrupt, luo_session_cycle, LU_TIMEOUT)
{
	run(_metadata, self, "luo-session-cycle");
}

TEST_F_TIMEOUT(corrupt, luo_file_crc, LU_TIMEOUT)
{
	run_one(_metadata, self, "luo-file-crc");
}

TEST_F_TIMEOUT(corrupt, luo_file_address, LU_TIMEOUT)
{
	run_one(_metadata, self, "luo-file-address");
}

TEST_F_TIMEOUT(corrupt, memfd_crc, LU_TIMEOUT)
{
	run_one(_metadata, self, "memfd-crc");
}

TEST_F_TIMEOUT(corrupt, memfd_address, LU_TIMEOUT)
{
	run_one(_metadata, self, "memfd-address");
}
