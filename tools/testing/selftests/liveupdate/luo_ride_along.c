// SPDX-License-Identifier: GPL-2.0
/*
 * A session that B did not finish goes on to C, whatever B did with it.
 */
#include "lu_lifecycle.h"
#include "lu_monitor.h"

#define NAME	"rider"
#define FILES	3
#define SIZE	(300 * LU_KIB + 5)

/* Stage 1 of all: one session with some files. */
static void start(struct __test_metadata *_metadata, FIXTURE_DATA(lifecycle) * self)
{
	int session = lu_create(self->dev, NAME), fd, i;

	ASSERT_LE(0, session);
	for (i = 0; i < FILES; i++) {
		fd = lu_memfd("rider", SIZE, i);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, i));
		close(fd);
	}
	LU_KEXEC(2);
}

/* The last stage of most: everything is there, with these seeds. */
static void arrive(struct __test_metadata *_metadata, FIXTURE_DATA(lifecycle) * self,
		   const uint64_t seeds[FILES])
{
	int session = lu_retrieve(self->dev, NAME), i;

	ASSERT_LE(0, session);
	for (i = 0; i < FILES; i++)
		EXPECT_LE(0, retrieve_one(session, i, SIZE, seeds[i]))
			TH_LOG("token %d", i);
	EXPECT_EQ(0, lu_finish(session));
	close(session);
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, NAME));
}

LIFECYCLE(nobody_cared)
{
	static const uint64_t seeds[FILES] = { 0, 1, 2 };

	if (self->stage == 1)
		start(_metadata, self);
	if (self->stage < 4)
		LU_KEXEC(self->stage + 1);
	arrive(_metadata, self, seeds);
}

LIFECYCLE(retrieved_and_closed)
{
	static const uint64_t seeds[FILES] = { 0, 7, 2 };
	int session, fd;

	if (self->stage == 1)
		start(_metadata, self);
	if (self->stage == 2) {
		session = lu_retrieve(self->dev, NAME);
		ASSERT_LE(0, session);
		fd = retrieve_one(session, 1, SIZE, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_fill(fd, 0, SIZE, 7));
		close(fd);
		close(session);
		LU_KEXEC(3);
	}
	arrive(_metadata, self, seeds);
}

/* Held and written until the jump; one file nobody asked for. */
LIFECYCLE(held)
{
	static const uint64_t seeds[FILES] = { 8, 1, 9 };
	int session, fd, i;

	if (self->stage == 1)
		start(_metadata, self);
	if (self->stage == 2) {
		session = lu_retrieve(self->dev, NAME);
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_load(3, NULL));
		for (i = 0; i < FILES; i += 2) {
			fd = retrieve_one(session, i, SIZE, i);
			ASSERT_LE(0, fd);
			ASSERT_EQ(0, lu_fill(fd, 0, SIZE, seeds[i]));
		}
		LU_JUMP();
	}
	arrive(_metadata, self, seeds);
}

/* The session was closed, a file of it is in use. */
LIFECYCLE(file_held)
{
	static const uint64_t seeds[FILES] = { 0, 1, 5 };
	int session, fd;

	if (self->stage == 1)
		start(_metadata, self);
	if (self->stage == 2) {
		session = lu_retrieve(self->dev, NAME);
		ASSERT_LE(0, session);
		fd = retrieve_one(session, 2, SIZE, 2);
		ASSERT_LE(0, fd);
		close(session);
		ASSERT_EQ(0, lu_fill(fd, 0, SIZE, 5));
		LU_KEXEC(3);
	}
	arrive(_metadata, self, seeds);
}

/* The older one bears the name no more, and is there: it is found by its id. */
static void arrive_nameless(struct __test_metadata *_metadata, FIXTURE_DATA(lifecycle) * self)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	int session, i;

	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, NAME));
	ASSERT_EQ(0, lu_next(self->dev, &s));
	EXPECT_STREQ(NAME, (char *)s.name);
	EXPECT_EQ(0, s.flags & LIVEUPDATE_SESSION_BY_NAME);
	session = lu_retrieve_id(self->dev, s.id);
	ASSERT_LE(0, session);
	for (i = 0; i < FILES; i++)
		EXPECT_LE(0, retrieve_one(session, i, SIZE, i));
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_EQ(-ENOENT, lu_next(self->dev, &s));
}

/* B makes a new session of the same name: by name C gets the new one only. */
LIFECYCLE(newest_of_a_name)
{
	int session, fd;

	if (self->stage == 1)
		start(_metadata, self);
	if (self->stage == 2) {
		session = lu_create(self->dev, NAME);
		ASSERT_LE(0, session);
		fd = lu_memfd("newer", SIZE, 50);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		LU_KEXEC(3);
	}
	if (self->stage == 5) {
		arrive_nameless(_metadata, self);
		return;
	}
	session = lu_retrieve(self->dev, NAME);
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1, SIZE, 50));
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(session, 0));
	/* The older one does not step in while the newer one is held... */
	EXPECT_EQ(-EINVAL, lu_retrieve(self->dev, NAME));
	close(session);
	if (self->stage == 3)
		LU_KEXEC(4);
	/* ...nor when both went along once more, nor when it is finished... */
	session = lu_retrieve(self->dev, NAME);
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1, SIZE, 50));
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(session, 0));
	EXPECT_EQ(0, lu_finish(session));
	close(session);
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, NAME));
	/* ...nor in the kernel after that. */
	LU_KEXEC(5);
}

/* Finished in B, it is over; another goes on. */
LIFECYCLE(finished_does_not_ride)
{
	static const uint64_t seeds[FILES] = { 0, 1, 2 };
	int session, fd;

	if (self->stage == 1) {
		session = lu_create(self->dev, "finished");
		ASSERT_LE(0, session);
		fd = lu_memfd("finished", SIZE, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		start(_metadata, self);
	}
	if (self->stage == 2) {
		session = lu_retrieve(self->dev, "finished");
		ASSERT_LE(0, session);
		ASSERT_LE(0, retrieve_one(session, 1, SIZE, 1));
		ASSERT_EQ(0, lu_finish(session));
		/* Still open, and still not taken along: it is no session yet. */
		LU_KEXEC(3);
	}
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "finished"));
	arrive(_metadata, self, seeds);
}

/* One descriptor for all updates: FINISH, then preserve again. */
LIFECYCLE(same_descriptor_again)
{
	static const uint64_t seeds[FILES] = { 0, 1, 2 };
	int session, fds[FILES], i;

	if (self->stage == 1)
		start(_metadata, self);
	if (self->stage < 4) {
		session = lu_retrieve(self->dev, NAME);
		ASSERT_LE(0, session);
		for (i = 0; i < FILES; i++) {
			fds[i] = retrieve_one(session, i, SIZE, i);
			ASSERT_LE(0, fds[i]);
		}
		ASSERT_EQ(0, lu_finish(session));
		for (i = FILES - 1; i >= 0; i--)
			ASSERT_EQ(0, lu_preserve(session, fds[i], i));
		LU_KEXEC(self->stage + 1);
	}
	arrive(_metadata, self, seeds);
}

LIFECYCLE(empty_session)
{
	int session;

	if (self->stage == 1) {
		ASSERT_LE(0, lu_create(self->dev, "empty"));
		LU_KEXEC(2);
	}
	if (self->stage == 2)
		LU_KEXEC(3);
	session = lu_retrieve(self->dev, "empty");
	ASSERT_LE(0, session);
	EXPECT_EQ(0, lu_finish(session));
}

/* Without the device, which has sessions read in. */
FIXTURE(alone)
{
	int stage;
};

FIXTURE_SETUP(alone)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
}

FIXTURE_TEARDOWN(alone)
{
}

/*
 * A kernel in which nobody looks at sessions hands them on, and one in which the
 * first to look opens a file of sysfs shows them. Meanwhile there is state to lose.
 */
TEST_F_TIMEOUT(alone, unseen, LU_TIMEOUT)
{
	int dev, session, fd;

	if (self->stage == 1) {
		dev = lu_open_dev();
		session = lu_create(dev, NAME);
		ASSERT_LE(0, session);
		fd = lu_memfd("rider", SIZE, 5);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_preserve(session, fd, 1));
		LU_KEXEC(2);
	}
	if (self->stage == 2) {
		EXPECT_EQ(-EOPNOTSUPP, lu_load(3, "kho=off"));
		LU_KEXEC(3);
	}
	EXPECT_EQ(1, lu_sysfs_number("incoming/files"));
	EXPECT_EQ(1, lu_sysfs_number("incoming/sessions"));
	EXPECT_STREQ("updated", lu_sysfs("state"));
	dev = lu_open_dev();
	ASSERT_LE(0, dev);
	session = lu_retrieve(dev, NAME);
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1, SIZE, 5));
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_EQ(0, lu_load(4, "kho=off"));
}
