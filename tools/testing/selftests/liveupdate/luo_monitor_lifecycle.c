// SPDX-License-Identifier: GPL-2.0
/*
 * Sessions from the previous kernel as an administrator sees them, and how
 * those are dropped or found that nobody asks for.
 */
#include "lu_lifecycle.h"
#include "lu_monitor.h"

#define BIG		(32 * LU_MIB)
#define SIZE		(3 * LU_PAGE)

/* The session called @name that is the @nth of it in the list, from 0. */
static int find(int dev, const char *name, int nth,
		struct liveupdate_ioctl_next_session *s)
{
	int err;

	*s = (struct liveupdate_ioctl_next_session) { .size = sizeof(*s) };
	do {
		err = lu_next(dev, s);
	} while (!err && (strcmp((char *)s->name, name) || nth--));
	return err;
}

static void start_discard(struct __test_metadata *_metadata, FIXTURE_DATA(lifecycle) * self)
{
	ASSERT_LE(0, preserve_one(self->dev, "big", 1, BIG, 1));
	ASSERT_LE(0, preserve_one(self->dev, "odd \"\x01\"", 2, SIZE, 2));
	ASSERT_LE(0, lu_create(self->dev, "empty"));
	EXPECT_STREQ("prepared", lu_sysfs("state"));
	LU_KEXEC(2);
}

static void check_views(struct __test_metadata *_metadata, FIXTURE_DATA(lifecycle) * self)
{
	EXPECT_STREQ("updated", lu_sysfs("state"));
	EXPECT_STREQ("1", lu_sysfs("number"));
	EXPECT_EQ(3, lu_sysfs_number("incoming/sessions"));
	EXPECT_EQ(2, lu_sysfs_number("incoming/files"));
	EXPECT_EQ(0, lu_sysfs_number("outgoing/sessions"));
	EXPECT_EQ(3, lu_count_matches(LU_LINES, "^session id=.* state=incoming files=[01]$"));
	EXPECT_EQ(1, lu_count_matches(LU_LINES, "name=\"odd \\\\\"\\\\001\\\\\"\" "));
	EXPECT_EQ(2, lu_count_matches(LU_LINES, "^file .* state=waiting$"));
}

/* An administrator drops what nobody wants, and gets its memory. */
LIFECYCLE(discard)
{
	struct liveupdate_ioctl_next_session s;
	int session, fd, poll_fd;
	char want[128];
	long before;

	if (self->stage == 1)
		start_discard(_metadata, self);
	check_views(_metadata, self);
	poll_fd = lu_state_open();
	ASSERT_LE(0, poll_fd);

	ASSERT_EQ(0, find(self->dev, "big", 0, &s));
	EXPECT_EQ(LIVEUPDATE_SESSION_STATE_INCOMING, s.state);
	EXPECT_EQ(LIVEUPDATE_SESSION_BY_NAME, s.flags);
	EXPECT_EQ(1, s.files);

	/* Not while somebody has it. */
	session = lu_retrieve_id(self->dev, s.id);
	ASSERT_LE(0, session);
	EXPECT_EQ(FD_CLOEXEC, fcntl(session, F_GETFD));
	ASSERT_EQ(0, find(self->dev, "big", 0, &s));
	EXPECT_EQ(LIVEUPDATE_SESSION_STATE_HELD, s.state);
	EXPECT_EQ(-EBUSY, lu_discard(self->dev, s.id));
	EXPECT_EQ(-EBUSY, lu_retrieve_id(self->dev, s.id));
	EXPECT_EQ(-EINVAL, lu_retrieve(self->dev, "big"));
	snprintf(want, sizeof(want), "state=incoming files=1 pid=%d comm=", getpid());
	EXPECT_EQ(1, lu_count_matches(LU_LINES, want)) TH_LOG("%s", want);
	close(session);
	EXPECT_EQ(3, lu_sysfs_number("incoming/sessions"));

	before = lu_free_kib();
	EXPECT_EQ(0, lu_discard(self->dev, s.id));
	EXPECT_TRUE(lu_await_free_kib(before + (long)(BIG / LU_KIB) - 1024));
	EXPECT_EQ(-ENOENT, lu_discard(self->dev, s.id));
	EXPECT_EQ(-ENOENT, lu_retrieve_id(self->dev, s.id));
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "big"));
	EXPECT_EQ(2, lu_sysfs_number("incoming/sessions"));
	EXPECT_EQ(1, lu_sysfs_number("incoming/files"));

	/* What was retrieved stays with its holder. */
	ASSERT_EQ(0, find(self->dev, "odd \"\x01\"", 0, &s));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "1"));
	session = lu_retrieve_id(self->dev, s.id);
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 2);
	ASSERT_LE(0, fd);
	snprintf(want, sizeof(want), "^file .* state=retrieved pid=%d$", getpid());
	EXPECT_EQ(1, lu_count_matches(LU_LINES, want)) TH_LOG("%s", want);
	close(session);
	EXPECT_EQ(0, lu_discard(self->dev, s.id));
	ASSERT_EQ(0, lu_write_file(LU_TRACING "events/liveupdate/enable", "0"));
	EXPECT_EQ(0, lu_check(fd, 0, SIZE, 2));
	EXPECT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(1, lu_count_events("file_retrieve: session=[0-9]+ token=0x2 .* err=0"));
	EXPECT_EQ(1, lu_count_events("file_finish: session=[0-9]+ token=0x2 .*"));
	EXPECT_EQ(1, lu_count_events("session_finish: session=[0-9]+ name=\"odd .* err=0"));

	EXPECT_FALSE(lu_state_wait(poll_fd, 0));
	ASSERT_EQ(0, find(self->dev, "empty", 0, &s));
	EXPECT_EQ(0, lu_discard(self->dev, s.id));
	EXPECT_TRUE(lu_state_wait(poll_fd, LU_PATIENCE_MS));
	EXPECT_STREQ("normal", lu_state_read(poll_fd));
	EXPECT_EQ(0, lu_count_lines(LU_LINES, ""));
	s.id = 0;
	EXPECT_EQ(-ENOENT, lu_next(self->dev, &s));
}

/* Two of a name, and one dropped on the way: C knows the older one by its id. */
LIFECYCLE(older_of_a_name)
{
	struct liveupdate_ioctl_next_session s;
	int session, fd;

	if (self->stage == 1) {
		ASSERT_LE(0, preserve_one(self->dev, "same", 1, SIZE, 1));
		ASSERT_LE(0, preserve_one(self->dev, "dropped", 3, SIZE, 3));
		LU_KEXEC(2);
	}
	if (self->stage == 2) {
		ASSERT_LE(0, preserve_one(self->dev, "same", 2, SIZE, 2));
		/* Here, the name stands for one of each direction. */
		EXPECT_EQ(0, find(self->dev, "same", 1, &s));
		EXPECT_EQ(-ENOENT, find(self->dev, "same", 2, &s));
		ASSERT_EQ(0, find(self->dev, "dropped", 0, &s));
		EXPECT_EQ(0, lu_discard(self->dev, s.id));
		LU_KEXEC(3);
	}
	EXPECT_STREQ("2", lu_sysfs("number"));
	EXPECT_EQ(2, lu_sysfs_number("incoming/sessions"));
	EXPECT_EQ(-ENOENT, find(self->dev, "dropped", 0, &s));

	ASSERT_EQ(0, find(self->dev, "same", 0, &s));
	EXPECT_EQ(LIVEUPDATE_SESSION_BY_NAME, s.flags);
	ASSERT_EQ(0, find(self->dev, "same", 1, &s));
	EXPECT_EQ(0, s.flags);
	EXPECT_EQ(LIVEUPDATE_SESSION_STATE_INCOMING, s.state);

	/* The newer one first, by its name; it does not hide the older one. */
	session = lu_retrieve(self->dev, "same");
	ASSERT_LE(0, session);
	EXPECT_LE(0, lu_retrieve_fd(session, 2));
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(session, 1));
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "same"));
	close(session);

	session = lu_retrieve_id(self->dev, s.id);
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, SIZE, 1));
	EXPECT_EQ(0, lu_finish(session));
	EXPECT_EQ(-ENOENT, lu_retrieve_id(self->dev, s.id));
	EXPECT_STREQ("normal", lu_sysfs("state"));
}

/*
 * The events of the reboot, and of the boot, go to the console with "tp_printk
 * trace_event=liveupdate:*": the list of tests says what to look for there.
 * Somebody who polls the state is told of the freeze.
 */
LIFECYCLE(reboot_traced)
{
	char line[96];
	int i;

	if (self->stage == 1) {
		for (i = 0; i < 20; i++) {
			snprintf(line, sizeof(line), "traced %d", i);
			ASSERT_LE(0, preserve_one(self->dev, line, i, SIZE, i));
		}
		LU_KEXEC(2);
	}
	EXPECT_EQ(20, lu_count_events("session_read: .* name=\"traced .*\" files=1 err=0"));
	EXPECT_EQ(0, lu_count_events("file_retrieve: .*"));
}
