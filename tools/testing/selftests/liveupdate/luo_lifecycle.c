// SPDX-License-Identifier: GPL-2.0
/*
 * Files over a kexec.
 */
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lu_lifecycle.h"

LIFECYCLE(one_memfd)
{
	const size_t size = LU_MIB + 123;
	int session;

	if (self->stage == 1) {
		ASSERT_EQ('a', lu_letter());
		ASSERT_LE(0, preserve_one(self->dev, "one", 1, size, 42));
		LU_KEXEC(2);
	}
	/* The other kernel it is, indeed. */
	EXPECT_EQ('b', lu_letter());
	session = lu_retrieve(self->dev, "one");
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1, size, 42));
	EXPECT_EQ(0, lu_finish(session));
}

/* The image may be there before anything is preserved. */
LIFECYCLE(image_first)
{
	int session;

	if (self->stage == 1) {
		ASSERT_EQ(0, lu_load(2, NULL));
		ASSERT_LE(0, preserve_one(self->dev, "late", 1, LU_MIB, 1));
		close(self->dev);
		LU_JUMP();
	}
	session = lu_retrieve(self->dev, "late");
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1, LU_MIB, 1));
	EXPECT_EQ(0, lu_finish(session));
}

static const size_t sizes[] = {
	1, 4095, LU_PAGE, LU_PAGE + 1, 77777, LU_MIB, 3 * LU_MIB + 5,
};

LIFECYCLE(sessions_and_files)
{
	enum { SESSIONS = 5 };
	char name[32];
	size_t k;
	int i;

	for (i = 0; i < SESSIONS; i++) {
		int session, fd;

		snprintf(name, sizeof(name), "session-%d", i);
		session = self->stage == 1 ? lu_create(self->dev, name) :
					     lu_retrieve(self->dev, name);
		ASSERT_LE(0, session);
		for (k = 0; k < ARRAY_SIZE(sizes); k++) {
			if (self->stage == 1) {
				fd = lu_memfd(name, sizes[k], i * 100 + k);
				ASSERT_LE(0, fd);
				ASSERT_EQ(0, lu_preserve(session, fd, k));
			} else {
				fd = retrieve_one(session, k, sizes[k], i * 100 + k);
				EXPECT_LE(0, fd)
					TH_LOG("%s, token %zu", name, k);
			}
		}
		if (self->stage > 1)
			EXPECT_EQ(0, lu_finish(session));
	}
	if (self->stage == 1)
		LU_KEXEC(2);
}

/* A to B to C: what B was given it changes and hands on. */
LIFECYCLE(second_update)
{
	int session, fd;

	if (self->stage == 1) {
		ASSERT_LE(0, preserve_one(self->dev, "again", 1, 8 * LU_MIB, 1));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "again");
	ASSERT_LE(0, session);
	if (self->stage == 2) {
		fd = retrieve_one(session, 1, 8 * LU_MIB, 1);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_finish(session));
		close(session);
		ASSERT_EQ(0, ftruncate(fd, 10 * LU_MIB));
		ASSERT_EQ(0, lu_fill(fd, 0, 10 * LU_MIB, 2));
		session = lu_create(self->dev, "again");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, fd, 2));
		LU_KEXEC(3);
	}
	EXPECT_EQ('a', lu_letter());
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(session, 1));
	EXPECT_LE(0, retrieve_one(session, 2, 10 * LU_MIB, 2));
	EXPECT_EQ(0, lu_finish(session));
}

static void agent(int dev, int report, size_t size)
{
	bool done = preserve_one(dev, "agent", 1, size, 1) >= 0;

	if (write(report, done ? "y" : "n", 1) == 1)
		pause();
	_exit(1);
}

/* An agent that is killed takes its session along. */
LIFECYCLE(killed_agent)
{
	const size_t size = 96 * LU_MIB;
	const long kib = size / LU_KIB;
	long before = lu_free_kib();
	char byte, note[64];
	int pair[2];
	pid_t pid;

	if (self->stage == 2) {
		EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "agent"));
		/* Nothing is kept for it: as much is free as there was. */
		EXPECT_LT((long)lu_param_u64("lu.free") - kib / 2, before);
		return;
	}
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		agent(self->dev, pair[1], size);
	ASSERT_EQ(1, read(pair[0], &byte, 1));
	ASSERT_EQ('y', byte);
	ASSERT_LT(lu_free_kib(), before - kib * 7 / 8);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_TRUE(lu_await_free_kib(before - kib / 16));
	snprintf(note, sizeof(note), "lu.free=%ld", before);
	LU_KEXEC_WITH(2, note);
}

LIFECYCLE(empty_session)
{
	int session;

	if (self->stage == 1) {
		ASSERT_LE(0, lu_create(self->dev, "nothing in it"));
		ASSERT_LE(0, lu_create(self->dev, "nor in this"));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "nothing in it");
	ASSERT_LE(0, session);
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(session, 0));
	EXPECT_EQ(0, lu_finish(session));
	session = lu_retrieve(self->dev, "nor in this");
	ASSERT_LE(0, session);
	EXPECT_EQ(0, lu_finish(session));
}

/* Names are bytes. */
LIFECYCLE(odd_names)
{
	static const char * const names[] = {
		"\n", " ", "/", "..", "a\nb", "\"quoted\"", "%s%n", "\xff\xfe", "\x01\x7f",
		"LUO", "luo-session",
		"123456789012345678901234567890123456789012345678901234567890123",
	};
	char got[LIVEUPDATE_SESSION_NAME_LENGTH];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		int session;

		if (self->stage == 1) {
			ASSERT_LE(0, preserve_one(self->dev, names[i], i, LU_PAGE, i));
			continue;
		}
		session = lu_retrieve(self->dev, names[i]);
		ASSERT_LE(0, session)
			TH_LOG("name %zu", i);
		ASSERT_EQ(0, lu_get_name(session, got));
		EXPECT_STREQ(names[i], got);
		EXPECT_LE(0, retrieve_one(session, i, LU_PAGE, i));
		EXPECT_EQ(0, lu_finish(session));
	}
	if (self->stage == 1)
		LU_KEXEC(2);
}

LIFECYCLE(many_sessions_and_files)
{
	enum { SESSIONS = 200, FILES = 10 };
	char name[32];
	int i, k;

	for (i = 0; i < SESSIONS; i++) {
		int session, fd;

		snprintf(name, sizeof(name), "session-%d", i);
		session = self->stage == 1 ? lu_create(self->dev, name) :
					     lu_retrieve(self->dev, name);
		ASSERT_LE(0, session);
		for (k = 0; k < FILES; k++) {
			if (self->stage == 1) {
				fd = lu_memfd(name, LU_PAGE, i * 100 + k);
				ASSERT_LE(0, fd);
				ASSERT_EQ(0, lu_preserve(session, fd, k));
			} else {
				fd = retrieve_one(session, k, LU_PAGE, i * 100 + k);
				ASSERT_LE(0, fd);
			}
			close(fd);
		}
		if (self->stage > 1) {
			ASSERT_EQ(0, lu_finish(session));
			close(session);
		}
	}
	if (self->stage == 1)
		LU_KEXEC(2);
}

/* More files than a page of the list has room for. */
LIFECYCLE(many_files)
{
	enum { FILES = 200 };
	int session, fd, i;

	session = self->stage == 1 ? lu_create(self->dev, "many") :
				     lu_retrieve(self->dev, "many");
	ASSERT_LE(0, session);
	for (i = 0; i < FILES; i++) {
		if (self->stage == 1) {
			fd = lu_memfd("many", LU_PAGE, i);
			ASSERT_LE(0, fd);
			ASSERT_EQ(0, lu_preserve(session, fd, FILES - i));
		} else {
			fd = retrieve_one(session, FILES - i, LU_PAGE, i);
			ASSERT_LE(0, fd)
				TH_LOG("file %d", i);
		}
		close(fd);
	}
	if (self->stage == 1)
		LU_KEXEC(2);
	EXPECT_EQ(0, lu_finish(session));
}

/* With nothing to hand over it is a kexec like any other. */
LIFECYCLE(no_session)
{
	if (self->stage < 3) {
		close(lu_create(self->dev, "closed before"));
		LU_KEXEC(self->stage + 1);
	}
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "closed before"));
	EXPECT_LE(0, lu_create(self->dev, "closed before"));
}

/* A process without rights puts its file in the session it was handed. */
LIFECYCLE(file_of_another_user)
{
	int pair[2], session, status;
	pid_t pid;

	if (self->stage == 1) {
		session = lu_create(self->dev, "granted");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			int fd;

			if (setgid(65534) || setuid(65534))
				_exit(1);
			fd = lu_memfd("unprivileged", LU_MIB, 6);
			_exit(fd < 0 || lu_preserve(lu_recv_fd(pair[1]), fd, 1));
		}
		ASSERT_EQ(0, lu_send_fd(pair[0], session));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "granted");
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1, LU_MIB, 6));
	EXPECT_EQ(0, lu_finish(session));
}

/* What nobody asked for goes with FINISH. */
LIFECYCLE(finish_frees_the_rest)
{
	const size_t size = 64 * LU_MIB;
	const long kib = size / LU_KIB;
	int session, fd, rest;
	long before;

	if (self->stage == 1) {
		session = preserve_one(self->dev, "partly", 1, LU_MIB, 1);
		ASSERT_LE(0, session);
		rest = lu_memfd("rest", size, 2);
		ASSERT_LE(0, rest);
		ASSERT_EQ(0, lu_preserve(session, rest, 2));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "partly");
	ASSERT_LE(0, session);
	fd = retrieve_one(session, 1, LU_MIB, 1);
	ASSERT_LE(0, fd);
	before = lu_free_kib();
	ASSERT_EQ(0, lu_finish(session));
	EXPECT_TRUE(lu_await_free_kib(before + kib * 15 / 16));
	EXPECT_EQ(0, lu_check(fd, 0, LU_MIB, 1));
	/* There is nothing left of the session either. */
	close(session);
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "partly"));
}

/* A file that came back is a file like any other: its memory can be freed. */
LIFECYCLE(retrieved_file_is_freed)
{
	const size_t size = 64 * LU_MIB;
	const long kib = size / LU_KIB;
	int session, fd;
	long before;

	if (self->stage == 1) {
		ASSERT_LE(0, preserve_one(self->dev, "freed", 1, size, 1));
		LU_KEXEC(2);
	}
	session = lu_retrieve(self->dev, "freed");
	ASSERT_LE(0, session);
	fd = retrieve_one(session, 1, size, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ((blkcnt_t)(size / 512), lu_blocks(fd));
	ASSERT_EQ(0, lu_finish(session));
	close(session);
	before = lu_free_kib();
	ASSERT_EQ(0, ftruncate(fd, size / 2));
	EXPECT_TRUE(lu_await_free_kib(before + kib * 7 / 16));
	close(fd);
	EXPECT_TRUE(lu_await_free_kib(before + kib * 15 / 16));
}

/* What the next kernel is told by a preserved page. */
struct progress {
	int failed;		/* an error that was none of the caller's */
	int made;		/* sessions that were made */
	int closed;		/* how many of them were closed again */
};

/*
 * Makes and drops a session over and over; says so after the first time. Never
 * is its name in use: closing is over when close() returns.
 */
static void restless(int dev, int report, struct progress *progress)
{
	int session, n;

	for (n = 0;; n++) {
		session = preserve_one(dev, "restless", 1, 16 * LU_PAGE, 3);
		if (session < 0) {
			progress->failed = session;
			_exit(1);
		}
		progress->made = n + 1;
		if (!n && write(report, "y", 1) != 1)
			_exit(1);
		close(session);
		progress->closed = n + 1;
	}
}

/* Requests that go on while the reboot begins come before it, or not at all. */
LIFECYCLE(requests_until_the_jump)
{
	struct progress *progress;
	int session, pair[2], fd;
	char byte;
	pid_t pid;

	if (self->stage == 1) {
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
		session = preserve_one(self->dev, "steady", 1, LU_MIB, 1);
		ASSERT_LE(0, session);
		fd = lu_memfd("progress", LU_PAGE, 0);
		progress = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, progress);
		memset(progress, 0, sizeof(*progress));
		ASSERT_EQ(0, lu_preserve(session, fd, 2));
		ASSERT_EQ(0, lu_load(2, NULL));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			restless(self->dev, pair[1], progress);
		ASSERT_EQ(1, read(pair[0], &byte, 1));
		LU_JUMP();
	}
	session = lu_retrieve(self->dev, "steady");
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 1, LU_MIB, 1));
	fd = lu_retrieve_fd(session, 2);
	progress = mmap(NULL, LU_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, progress);
	TH_LOG("%d sessions made, %d closed", progress->made, progress->closed);
	EXPECT_EQ(0, progress->failed);
	EXPECT_LE(1, progress->made);
	EXPECT_EQ(0, lu_finish(session));
	session = lu_retrieve(self->dev, "restless");
	/* It can be closed or made, and not said so, but not be missing. */
	if (session == -ENOENT)
		return;
	/* A session without its file, or with all of it. */
	ASSERT_LE(0, session);
	if (lu_retrieve_fd(session, 1) != -ENOENT)
		EXPECT_LE(0, retrieve_one(session, 1, 16 * LU_PAGE, 3));
	EXPECT_EQ(0, lu_finish(session));
}

/*
 * The way an init system does it: image first, its own session last, with the
 * list of what it keeps as a sealed file under token 0; it closes the device
 * before the reboot, and retrieves its services' sessions while it still holds
 * its own.
 */
static int preserve_list(int session)
{
	static const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | 0x20;
	int fd = lu_memfd("list", 500, 100);

	if (fd < 0 || fchmod(fd, 0600) || fcntl(fd, F_ADD_SEALS, all))
		return -errno;
	return lu_preserve(session, fd, 0);
}

LIFECYCLE(init_system)
{
	int session, service, i;

	if (self->stage == 1) {
		ASSERT_EQ(0, lu_load(2, NULL));
		service = preserve_one(self->dev, "service", 5, LU_MIB, 5);
		ASSERT_LE(0, service);
		close(self->dev);
		self->dev = lu_open_dev();
		ASSERT_LE(0, self->dev);
		session = lu_create(self->dev, "init");
		ASSERT_LE(0, session);
		for (i = 1; i < 5; i++)
			ASSERT_EQ(0, lu_preserve(session, lu_memfd("store", 999, i), i));
		ASSERT_EQ(-ENOENT, lu_preserve(session, self->dev, 6));
		ASSERT_EQ(0, preserve_list(session));
		close(self->dev);
		LU_JUMP();
	}
	session = lu_retrieve(self->dev, "init");
	ASSERT_LE(0, session);
	EXPECT_LE(0, retrieve_one(session, 0, 500, 100));
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(session, 6));
	service = lu_retrieve(self->dev, "service");
	ASSERT_LE(0, service);
	for (i = 1; i < 5; i++)
		EXPECT_LE(0, retrieve_one(session, i, 999, i));
	EXPECT_EQ(0, lu_finish(session));
	close(session);
	EXPECT_LE(0, retrieve_one(service, 5, LU_MIB, 5));
	EXPECT_EQ(0, lu_finish(service));
}
