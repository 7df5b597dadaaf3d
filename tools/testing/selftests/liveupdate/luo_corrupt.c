// SPDX-License-Identifier: GPL-2.0
/*
 * Handover data that is damaged: the next kernel says in one line what it
 * found, and boots on without it.
 *
 * The damage is done at the jump by the old kernel, which is told what to
 * damage through a file of debugfs: it inverts one byte. What memory holds that
 * was handed over stays out of use in most cases, which must do no harm.
 */
#include <syslog.h>

#include "lu_harness.h"
#include "lu_monitor.h"

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

static void jump(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self,
		 const char *what)
{
	ASSERT_EQ(0, preserve_one(self->dev, "first", 1));
	ASSERT_EQ(0, preserve_one(self->dev, "second", 2));
	ASSERT_EQ(0, lu_write_file(CORRUPT, what));
	LU_KEXEC(self->stage + 1);
}

/* Lines in which KHO or LUO complain. */
static int complaints(void)
{
	return lu_log_lines("KHO: ", LOG_WARNING) + lu_log_lines("liveupdate: ", LOG_WARNING);
}

/* Nothing can be retrieved, by anybody, and the kernel has said why. */
static void run(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self,
		const char *what)
{
	if (self->stage == 1)
		jump(_metadata, self, what);
	EXPECT_LE(1, complaints());
	if (self->dev < 0) {
		EXPECT_EQ(-ENOENT, self->dev);
		return;
	}
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "first"));
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "second"));
	/* Memory of the machine can still be used. */
	EXPECT_LE(0, lu_memfd("after", 64 * LU_MIB, 1));
}

/*
 * The same where KHO has nothing to complain of: what LUO cannot read in stays
 * preserved, and an image that would not preserve it is refused.
 */
static void run_held(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self,
		     const char *what)
{
	run(_metadata, self, what);
	EXPECT_EQ(-EOPNOTSUPP, lu_load(3, "kho=off"));
}

/*
 * Where things are: in an FDT that was edited (the root) the first property's
 * value is at byte 76, in one that was written in one go (LUO's) at byte 84; a
 * chain page has its entries from byte 16 on.
 */
TEST_F_TIMEOUT(corrupt, check_magic, LU_TIMEOUT)
{
	run(_metadata, self, "check 0");
}

TEST_F_TIMEOUT(corrupt, check_crc, LU_TIMEOUT)
{
	run(_metadata, self, "check 28");
}

TEST_F_TIMEOUT(corrupt, root_magic, LU_TIMEOUT)
{
	run(_metadata, self, "root 0");
}

TEST_F_TIMEOUT(corrupt, root_length, LU_TIMEOUT)
{
	run(_metadata, self, "root 4");
}

TEST_F_TIMEOUT(corrupt, map_address, LU_TIMEOUT)
{
	run(_metadata, self, "root 81");
}

TEST_F_TIMEOUT(corrupt, map_address_in_ram, LU_TIMEOUT)
{
	run(_metadata, self, "root 78");
}

TEST_F_TIMEOUT(corrupt, root_compatible, LU_TIMEOUT)
{
	run(_metadata, self, "root 96");
	/* A byte behind all that is in there: only the checksum tells. */
	if (self->stage == 2) {
		ASSERT_LE(0, self->dev);
		jump(_metadata, self, "root 4095");
	}
	EXPECT_EQ(1, lu_log_lines("root FDT has checksum", LOG_ERR));
}

TEST_F_TIMEOUT(corrupt, map_root, LU_TIMEOUT)
{
	run(_metadata, self, "map 0 4088");
}

TEST_F_TIMEOUT(corrupt, map_leaf, LU_TIMEOUT)
{
	run(_metadata, self, "map 5 0");
}

/* A map without a page, not even those that it was found by: all memory is free. */
TEST_F_TIMEOUT(corrupt, map_empty, LU_TIMEOUT)
{
	run(_metadata, self, "slot 0 2 0");
	EXPECT_EQ(1, lu_log_lines("are not in the page map; nothing is given back", LOG_ERR));
	EXPECT_EQ(1, lu_log_lines("KHO: 0 KiB of the previous kernel kept, 0 runs", LOG_INFO));
}

TEST_F_TIMEOUT(corrupt, subtree_magic, LU_TIMEOUT)
{
	run_held(_metadata, self, "blob luo-fdt 0");
}

TEST_F_TIMEOUT(corrupt, subtree_length, LU_TIMEOUT)
{
	run_held(_metadata, self, "blob luo-fdt 4");
}

TEST_F_TIMEOUT(corrupt, luo_compatible, LU_TIMEOUT)
{
	run_held(_metadata, self, "blob luo-fdt 84");
}

TEST_F_TIMEOUT(corrupt, sessions_compatible, LU_TIMEOUT)
{
	run_held(_metadata, self, "blob luo-fdt 144");
}

TEST_F_TIMEOUT(corrupt, sessions_misaligned, LU_TIMEOUT)
{
	run_held(_metadata, self, "blob luo-fdt 172");
}

TEST_F_TIMEOUT(corrupt, sessions_address, LU_TIMEOUT)
{
	run_held(_metadata, self, "blob luo-fdt 177");
}

TEST_F_TIMEOUT(corrupt, sessions_next, LU_TIMEOUT)
{
	run_held(_metadata, self, "chain luo-fdt /luo-session luo-session-header 0");
}

TEST_F_TIMEOUT(corrupt, sessions_count, LU_TIMEOUT)
{
	run_held(_metadata, self, "chain luo-fdt /luo-session luo-session-header 8");
}

TEST_F_TIMEOUT(corrupt, sessions_crc, LU_TIMEOUT)
{
	run_held(_metadata, self, "chain luo-fdt /luo-session luo-session-header 12");
}

TEST_F_TIMEOUT(corrupt, session_name, LU_TIMEOUT)
{
	run_held(_metadata, self, "chain luo-fdt /luo-session luo-session-header 16");
}

TEST_F_TIMEOUT(corrupt, session_files, LU_TIMEOUT)
{
	run_held(_metadata, self, "chain luo-fdt /luo-session luo-session-header 80");
}

/*
 * Damage within one session: its first list of files starts with the token at
 * byte 72. That session has a name that could pass for the end of a line.
 */
#define ODD_NAME	"odd\"\n\xa5\\"
#define ODD_IN_LOG	"\"odd\\\"\\n\\245\\\\\""
#define FIRST_FILES	"luo-fdt /luo-session luo-session-header 80 > "

static void jump_odd(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self,
		     const char *what)
{
	int session = lu_create(self->dev, ODD_NAME), fd, i;

	ASSERT_LE(0, session);
	for (i = 1; i <= 3; i++) {
		fd = lu_memfd("odd", LU_MIB, i);
		ASSERT_LE(0, fd);
		/* Two tokens that differ in the bits that are inverted. */
		ASSERT_EQ(0, lu_preserve(session, fd, i == 2 ? 0xfe : i));
	}
	ASSERT_EQ(0, preserve_one(self->dev, "second", 2));
	ASSERT_EQ(0, lu_write_file(CORRUPT, what));
	LU_KEXEC(2);
}

static void check_file(struct __test_metadata *_metadata, int session, int token, int seed)
{
	int fd = lu_retrieve_fd(session, token);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, seed));
}

static uint64_t id_of(int dev, const char *name)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };

	while (!lu_next(dev, &s))
		if (!strcmp((char *)s.name, name))
			return s.id;
	return 0;
}

/*
 * The next kernels know that there was a session, and nothing else suffers. It
 * is not taken for an empty one; who does not want to know drops it.
 */
TEST_F_TIMEOUT(corrupt, files_crc, LU_TIMEOUT)
{
	uint64_t id;
	int second;

	if (self->stage == 1)
		jump_odd(_metadata, self, "chain " FIRST_FILES "12");
	ASSERT_LE(0, self->dev);
	EXPECT_EQ(-EBADMSG, lu_retrieve(self->dev, ODD_NAME));
	id = id_of(self->dev, ODD_NAME);
	EXPECT_EQ(-EBADMSG, lu_retrieve_id(self->dev, id));
	EXPECT_LE(1, lu_log_lines(ODD_IN_LOG, LOG_ERR));
	EXPECT_EQ(-EOPNOTSUPP, lu_load(3, "kho=off"));
	if (self->stage == 2)
		LU_KEXEC(3);
	EXPECT_EQ(0, lu_discard(self->dev, id));
	EXPECT_EQ(0, id_of(self->dev, ODD_NAME));
	second = lu_retrieve(self->dev, "second");
	ASSERT_LE(0, second);
	check_file(_metadata, second, 1, 2);
	EXPECT_EQ(0, lu_finish(second));
	/* There is nothing left that anybody could want. */
	EXPECT_EQ(0, lu_load(4, "kho=off"));
}

/* A session that has lost its name cannot be given up by anybody. */
TEST_F_TIMEOUT(corrupt, no_name, LU_TIMEOUT)
{
	int second;

	if (self->stage == 1) {
		ASSERT_EQ(0, preserve_one(self->dev, "\xff", 1));
		ASSERT_EQ(0, preserve_one(self->dev, "second", 2));
		ASSERT_EQ(0, lu_write_file(CORRUPT,
					   "entry luo-fdt /luo-session luo-session-header 16"));
		LU_KEXEC(2);
	}
	ASSERT_LE(0, self->dev);
	EXPECT_EQ(1, lu_log_lines("found a session without a name", LOG_ERR));
	second = lu_retrieve(self->dev, "second");
	ASSERT_LE(0, second);
	check_file(_metadata, second, 1, 2);
	EXPECT_EQ(0, lu_finish(second));
	EXPECT_EQ(0, lu_sysfs_number("incoming/sessions"));
	EXPECT_EQ(-EOPNOTSUPP, lu_load(3, "kho=off"));
}

/* One file that makes no sense costs that file. */
static void run_entry(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self,
		      const char *what, int bad)
{
	int odd;

	if (self->stage == 1)
		jump_odd(_metadata, self, what);
	ASSERT_LE(0, self->dev);
	odd = lu_retrieve(self->dev, ODD_NAME);
	ASSERT_LE(0, odd);
	EXPECT_LE(1, lu_log_lines(ODD_IN_LOG, LOG_ERR));
	EXPECT_EQ(-EBADMSG, lu_retrieve_fd(odd, bad));
	EXPECT_EQ(-EBADMSG, lu_retrieve_fd(odd, bad));
	check_file(_metadata, odd, 3, 3);
	EXPECT_EQ(0, lu_finish(odd));
	EXPECT_EQ(-EOPNOTSUPP, lu_load(3, "kho=off"));
}

TEST_F_TIMEOUT(corrupt, token_twice, LU_TIMEOUT)
{
	run_entry(_metadata, self, "entry " FIRST_FILES "72", 0xfe);
}

/*
 * Extents of a memfd, each of which is right, and of which two are for one page: the
 * first is moved from page 0 to page 255. The others begin at page @from. The file is
 * lost, but not what its description names from page 255 on: that may be anybody's.
 */
static void extents_of_one_page(struct __test_metadata *_metadata,
				FIXTURE_DATA(corrupt) * self, int from)
{
	const int pages = 1024;
	int session, fd, i;

	if (self->stage == 1) {
		session = lu_create(self->dev, "first");
		ASSERT_LE(0, session);
		fd = memfd_create("overlap", MFD_CLOEXEC);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, pages * LU_PAGE));
		ASSERT_EQ(0, lu_fill(fd, 0, LU_PAGE, 1));
		/* Pages 4n and 4n + 3: more extents than there is room for inline. */
		for (i = from; i < pages; i++)
			if ((i & 3) == 0 || (i & 3) == 3)
				ASSERT_EQ(0, lu_fill(fd, i * LU_PAGE, LU_PAGE, 1));
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		ASSERT_EQ(0, preserve_one(self->dev, "second", 2));
		ASSERT_EQ(0, lu_write_file(CORRUPT, "entry " FIRST_FILES "64 > 40 > 16"));
		LU_KEXEC(2);
	}
	ASSERT_LE(0, self->dev);
	session = lu_retrieve(self->dev, "first");
	ASSERT_LE(0, session);
	EXPECT_EQ(-EIO, lu_retrieve_fd(session, 1));
	EXPECT_EQ(1, lu_log_lines("memfd \"overlap\" is lost: its extents overlap", LOG_ERR));
	EXPECT_EQ(0, lu_finish(session));

	session = lu_retrieve(self->dev, "second");
	ASSERT_LE(0, session);
	check_file(_metadata, session, 1, 2);
	EXPECT_EQ(0, lu_finish(session));
	/* Those after page 255. */
	EXPECT_LE((pages - 256) / 2, lu_preserved_pages());
}

TEST_F_TIMEOUT(corrupt, memfd_overlap, LU_TIMEOUT)
{
	extents_of_one_page(_metadata, self, 1);
}

/* The two are near enough to be taken together. */
TEST_F_TIMEOUT(corrupt, memfd_overlap_at_once, LU_TIMEOUT)
{
	extents_of_one_page(_metadata, self, 240);
}

/*
 * What this kernel cannot read, the one after it may: both get the same bytes,
 * which the second jump puts right.
 */
TEST_F_TIMEOUT(corrupt, read_by_a_later_kernel, LU_TIMEOUT)
{
	static const char * const names[] = { "first", "second" };
	static const char what[] = "blob luo-fdt 84";
	int session, i;

	if (self->stage == 1)
		jump(_metadata, self, what);
	if (self->stage == 2) {
		EXPECT_EQ(-ENOENT, self->dev);
		EXPECT_LE(1, lu_log_lines("liveupdate: ", LOG_WARNING));
		ASSERT_EQ(0, lu_write_file(CORRUPT, what));
		LU_KEXEC(3);
	}
	ASSERT_LE(0, self->dev);
	for (i = 0; i < 2; i++) {
		session = lu_retrieve(self->dev, names[i]);
		ASSERT_LE(0, session);
		check_file(_metadata, session, 1, i + 1);
		EXPECT_EQ(0, lu_finish(session));
	}
	EXPECT_EQ(0, complaints());
}

/*
 * The handover cannot start in the next kernel: what came is kept, nobody can have
 * it, and a kexec does not lose it in silence.
 */
TEST_F_TIMEOUT(corrupt, did_not_start, LU_TIMEOUT)
{
	if (self->stage == 1) {
		ASSERT_EQ(0, preserve_one(self->dev, "first", 1));
		LU_KEXEC_WITH(2, "kho_debug.fail_init=1");
	}
	EXPECT_EQ(-ENOENT, self->dev);
	EXPECT_EQ(1, lu_log_lines("KHO: ", LOG_WARNING));
	EXPECT_EQ(1, lu_log_lines("is kept, but out of reach", LOG_ERR));
	EXPECT_EQ(1, lu_log_lines("stays off: it needs Kexec Handover, which", LOG_WARNING));
	EXPECT_EQ(-EOPNOTSUPP, lu_load(3, NULL));
	EXPECT_EQ(1, lu_log_lines("an ordinary reboot gives it up", LOG_ERR));
	ASSERT_EQ(0, lu_load_old());
	EXPECT_EQ(-EOPNOTSUPP, lu_jump());
	EXPECT_EQ(2, lu_log_lines("an ordinary reboot gives it up", LOG_ERR));
}
