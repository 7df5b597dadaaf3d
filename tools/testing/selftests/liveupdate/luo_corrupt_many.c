// SPDX-License-Identifier: GPL-2.0
/*
 * Many handovers in a row, each damaged in another way, up to the number that
 * lu.corruptions= says; lu.stage= says with which to begin. Each kernel looks at
 * what the one before it was told to damage, then makes the same state again and
 * has the next byte inverted at its jump. Which byte that is comes from the number
 * of the boot alone.
 *
 * What has to be so after each jump: the log says that something was wrong;
 * whatever is given back is whole; what the damage does not concern is given
 * back; and if the state had to be given up, its memory is free.
 */
#include <syslog.h>

#include "lu_harness.h"

#define CORRUPT		"/sys/kernel/debug/kho/corrupt"
#define SEED		20260117

/* What is preserved in each kernel: "first" is damaged, "other" is not. */
#define SMALL		(64 * LU_KIB)
#define LARGE		(4 * LU_MIB)
#define PIECES		180	/* single pages: more extents than a page holds */
#define NOTE		(32 * LU_KIB)	/* all that a note can hold */

/* What is lost at most. Nothing is ever given back that is not whole. */
enum loss {
	NOTHING,
	STATE_GIVEN_UP,		/* all of it, and the memory is free again */
	STATE,			/* all of it */
	ANYTHING,		/* all or nothing */
	SESSION,
	SMALL_FILE,		/* of the session "first" */
	PIECES_FILE,
	NOTE_FILE,
};

struct damage {
	const char *what;
	const char *line;	/* for debugfs, without the offset */
	unsigned int from, to;	/* offsets to choose from */
	enum loss loss;
	unsigned int stride;	/* where there are more like these */
};

/* Sessions and files are written in the order of making. */
#define SESSIONS	"luo-fdt /luo-session luo-session-header "
#define FILES		SESSIONS "80 > "
#define SMALL_AT	FILES "64 > "
#define PIECES_AT	FILES "128 > "
#define NOTE_AT		FILES "192 > "

/*
 * After a loss of more than a file comes damage that makes the next kernel give
 * everything up, and so start from scratch: see next_damage(). The first twelve,
 * which are run every day, are one of each sort.
 */
static const struct damage damages[] = {
	{ "description of a memfd", "chain " SMALL_AT, 0, 88, SMALL_FILE },
	{ "extents", "chain " PIECES_AT "40 > ", 16, 4096, PIECES_FILE },
	{ "page frame, checksum right", "entry " PIECES_AT "40 > ", 35, 40, PIECES_FILE, 24 },
	{ "list of a vmalloc area", "chain " NOTE_AT "0 > ", 0, 88, NOTE_FILE },
	{ "list of files", "chain " FILES, 0, 208, SESSION },
	{ "page map", "map 0 ", 0, 4096, STATE_GIVEN_UP },
	{ "root", "root ", 0, 400, STATE },
	{ "checksums", "check ", 0, 32, STATE_GIVEN_UP },
	{ "list of sessions", "chain " SESSIONS, 0, 176, STATE },
	{ "page map", "map 1 ", 0, 4096, STATE_GIVEN_UP },
	{ "FDT", "blob luo-fdt ", 116, 300, ANYTHING },
	{ "page map", "map 3 ", 0, 4096, STATE_GIVEN_UP },
	{ "address of a file, checksum right", "entry " FILES, 64, 72, SMALL_FILE },
	{ "order and flags, checksum right", "entry " PIECES_AT "40 > ", 28, 32, PIECES_FILE, 24 },
	{ "head of extents", "chain " PIECES_AT "40 > ", 0, 16, PIECES_FILE },
	{ "last extents", "chain " PIECES_AT "40 > 0 > ", 16, 200, PIECES_FILE },
	{ "description of a vmalloc area", "chain " NOTE_AT, 0, 16, NOTE_FILE },
	{ "number of files, checksum right", "entry " SESSIONS, 88, 96, SESSION },
	{ "page map", "map 5 ", 0, 4096, STATE_GIVEN_UP },
	{ "address of the files, checksum right", "entry " SESSIONS, 80, 88, SESSION },
	{ "page map", "map 4 ", 0, 4096, STATE_GIVEN_UP },
	{ "description of a memfd in pieces", "chain " PIECES_AT, 0, 72, PIECES_FILE },
	{ "head of the last extents", "chain " PIECES_AT "40 > 0 > ", 0, 16, PIECES_FILE },
	{ "head of the FDT", "blob luo-fdt ", 0, 40, ANYTHING },
	{ "page map", "map 2 ", 0, 4096, STATE_GIVEN_UP },
};

#define NR_DAMAGES	((int)ARRAY_SIZE(damages))

/* Repeats the same for a number of a kind. */
static unsigned int random_below(unsigned int n, int kind)
{
	uint64_t x = (SEED + kind) * 0x9e3779b97f4a7c15ULL;

	x ^= x >> 31;
	x *= 0x94d049bb133111ebULL;
	x ^= x >> 29;
	return x % n;
}

/* A byte of a kind of damage: another one every time that its turn comes. */
static unsigned int pick_offset(int kind, int stage)
{
	const struct damage *damage = &damages[kind];
	unsigned int n = (stage - 1) / NR_DAMAGES, range = damage->to - damage->from;

	/* The step is a prime. */
	return damage->from + (random_below(range, kind) + n * 1009) % range +
	       n / range * damage->stride;
}

FIXTURE(corrupt)
{
	int dev;
	int stage;
	int last;			/* the boot after the last damage */
	const struct damage *was;	/* done to what this kernel got */
};

FIXTURE_SETUP(corrupt)
{
	char nr[8];

	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->last = lu_param_u64("lu.corruptions") + 1;
	if (lu_param("lu.damage", nr, sizeof(nr)))
		self->was = &damages[atoi(nr)];
	self->dev = lu_open_dev();
	ASSERT_EQ(0, lu_load_module("samples/liveupdate/liveupdate_notes", ""));
}

FIXTURE_TEARDOWN(corrupt)
{
	close(self->dev);
}

/* Single pages with holes between them, so that each is an extent. */
static int make_pieces(void)
{
	int fd = memfd_create("pieces", MFD_CLOEXEC), err, i;

	if (fd < 0 || ftruncate(fd, 2 * PIECES * LU_PAGE))
		return -errno;
	for (i = 0; i < PIECES; i++) {
		err = lu_fill(fd, 2 * i * LU_PAGE, LU_PAGE, 2);
		if (err)
			return err;
	}
	return fd;
}

static int make_note(void)
{
	int fd = open("/dev/liveupdate_notes", O_RDWR | O_CLOEXEC);
	int err = fd < 0 ? -errno : lu_fill(fd, 0, NOTE, 3);

	return err ?: fd;
}

static bool pieces_are_whole(int fd)
{
	int i;

	for (i = 0; i < PIECES; i++)
		if (lu_check(fd, 2 * i * LU_PAGE, LU_PAGE, 2) ||
		    lu_check_zero(fd, (2 * i + 1) * LU_PAGE, LU_PAGE))
			return false;
	return lu_blocks(fd) == (blkcnt_t)(PIECES * LU_PAGE / 512);
}

static void make_state(struct __test_metadata *_metadata, int dev)
{
	int first = lu_create(dev, "first"), other = lu_create(dev, "other");

	ASSERT_LE(0, first);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, lu_preserve(first, lu_memfd("small-fd", SMALL, 1), 1));
	ASSERT_EQ(0, lu_preserve(first, make_pieces(), 2));
	ASSERT_EQ(0, lu_preserve(first, make_note(), 3));
	ASSERT_EQ(0, lu_preserve(other, lu_memfd("large", LARGE, 4), 1));
	ASSERT_EQ(0, lu_preserve(other, lu_memfd("small", SMALL, 5), 2));
}

/* A file that comes back is whole, and one that must is there. */
static void check_file(struct __test_metadata *_metadata, int session, int token, bool lost)
{
	int fd = lu_retrieve_fd(session, token);

	EXPECT_EQ(lost, fd < 0)
		TH_LOG("token %d: %d", token, fd);
	if (fd < 0)
		return;
	switch (token) {
	case 1:
		EXPECT_EQ(0, lu_check(fd, 0, SMALL, 1));
		break;
	case 2:
		EXPECT_TRUE(pieces_are_whole(fd));
		break;
	case 3:
		EXPECT_EQ(0, lu_check(fd, 0, NOTE, 3));
		break;
	}
	close(fd);
}

static void check_first(struct __test_metadata *_metadata, int dev, enum loss loss)
{
	int session = lu_retrieve(dev, "first");

	if (loss == SESSION) {
		EXPECT_EQ(-EBADMSG, session);
		return;
	}
	ASSERT_LE(0, session);
	check_file(_metadata, session, 1, loss == SMALL_FILE);
	check_file(_metadata, session, 2, loss == PIECES_FILE);
	check_file(_metadata, session, 3, loss == NOTE_FILE);
	EXPECT_EQ(0, lu_finish(session));
	close(session);
}

static void check_other(struct __test_metadata *_metadata, int dev)
{
	int session = lu_retrieve(dev, "other"), large, small;

	ASSERT_LE(0, session);
	large = lu_retrieve_fd(session, 1);
	small = lu_retrieve_fd(session, 2);
	ASSERT_LE(0, large);
	ASSERT_LE(0, small);
	EXPECT_EQ(0, lu_check(large, 0, LARGE, 4));
	EXPECT_EQ(0, lu_check(small, 0, SMALL, 5));
	EXPECT_EQ(0, lu_finish(session));
	close(large);
	close(small);
	close(session);
}

static int complaints(void)
{
	return lu_log_lines("KHO: ", LOG_WARNING) + lu_log_lines("liveupdate: ", LOG_WARNING) +
	       lu_log_lines("memfd_luo: ", LOG_WARNING);
}

/* All is gone; live update may be off until somebody saves what there is. */
static void check_nothing(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self)
{
	if (self->dev < 0) {
		EXPECT_EQ(-ENOENT, self->dev);
		EXPECT_NE(STATE_GIVEN_UP, self->was->loss);
		return;
	}
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "first"));
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "other"));
}

static void check_damage(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self)
{
	enum loss loss = self->was->loss;
	int session;

	if (loss == ANYTHING && self->dev >= 0) {
		session = lu_retrieve(self->dev, "other");
		close(session);
		loss = session < 0 ? STATE : NOTHING;
	}
	if (loss == STATE_GIVEN_UP || loss == STATE || loss == ANYTHING) {
		check_nothing(_metadata, self);
	} else {
		check_first(_metadata, self->dev, loss);
		check_other(_metadata, self->dev);
	}
	if (loss != NOTHING)
		EXPECT_LE(1, complaints());
	/* The state was not there in the first kernel, either. */
	if (loss == STATE_GIVEN_UP) {
		EXPECT_EQ(1, lu_log_lines("state is lost", LOG_ERR));
		EXPECT_TRUE(lu_await_free_kib(lu_param_u64("lu.free_kib") - LARGE / 2 / LU_KIB));
	}
}

/* What it takes to start from scratch. */
static bool must_give_up(FIXTURE_DATA(corrupt) * self)
{
	return self->dev < 0 || (self->was && (self->was->loss == SESSION ||
					       self->was->loss == STATE ||
					       self->was->loss == ANYTHING));
}

static int next_damage(FIXTURE_DATA(corrupt) * self)
{
	int i = (self->stage - 1) % NR_DAMAGES;

	while (must_give_up(self) && damages[i].loss != STATE_GIVEN_UP)
		i = (i + 1) % NR_DAMAGES;
	return i;
}

static void do_damage(struct __test_metadata *_metadata, FIXTURE_DATA(corrupt) * self)
{
	char line[160], more[80];
	int i = next_damage(self);
	const struct damage *damage = &damages[i];

	snprintf(line, sizeof(line), "%s%u", damage->line, pick_offset(i, self->stage));
	printf("# %d: %s: %s\n", self->stage, damage->what, line);
	ASSERT_EQ(0, lu_write_file(CORRUPT, line));
	snprintf(more, sizeof(more), "lu.damage=%d lu.free_kib=%ju", i,
		 self->was ? (uintmax_t)lu_param_u64("lu.free_kib") :
			     (uintmax_t)lu_free_kib());
	if (self->dev >= 0)
		make_state(_metadata, self->dev);
	LU_KEXEC_WITH(self->stage + 1, more);
}

TEST_F_TIMEOUT(corrupt, many, LU_TIMEOUT)
{
	ASSERT_LT(1, self->last);
	if (self->was)
		check_damage(_metadata, self);
	if (self->stage < self->last)
		do_damage(_metadata, self);
	ASSERT_EQ(self->stage, self->last);
}
