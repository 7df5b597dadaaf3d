// SPDX-License-Identifier: GPL-2.0
/*
 * What a session from the previous kernel answers, and what is left of it when
 * its owner goes away. All tests share one update: the setup of the first one
 * makes a session for each of them and jumps; they run in the next kernel.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "lu_harness.h"

#define NAME_LEN	LIVEUPDATE_SESSION_NAME_LENGTH
#define FILES		4
#define SIZE		(8 * LU_PAGE)

FIXTURE(incoming)
{
	int dev;
	int session;
	int fds;
	char *page;
};

/* The name of the test that runs is the name of its session. */
static void open_incoming(struct __test_metadata *_metadata, FIXTURE_DATA(incoming) * self)
{
	self->session = lu_retrieve(self->dev, _metadata->name);
	ASSERT_LE(0, self->session);
	self->page = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->page);
	self->fds = lu_count_fds();
}

/* A session for every test of the file, FILES files in each. */
static void hand_over(struct __test_metadata *_metadata, FIXTURE_DATA(incoming) * self)
{
	struct __test_metadata *t;
	int session, fd, i;

	for (t = _metadata->fixture->tests; t; t = t->next) {
		session = lu_create(self->dev, t->name);
		ASSERT_LE(0, session);
		for (i = 0; i < FILES; i++) {
			fd = lu_memfd(t->name, SIZE, i);
			ASSERT_LE(0, fd);
			ASSERT_EQ(0, lu_preserve(session, fd, i));
			close(fd);
		}
	}
	LU_KEXEC(2);
}

FIXTURE_SETUP(incoming)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	if (lu_stage() == 1)
		hand_over(_metadata, self);
	open_incoming(_metadata, self);
}

FIXTURE_TEARDOWN(incoming)
{
	close(self->session);
	close(self->dev);
}

#define INCOMING(name)		TEST_F_TIMEOUT(incoming, name, LU_TIMEOUT)

static int request(int fd, unsigned long nr, void *arg)
{
	return ioctl(fd, nr, arg) ? -errno : 0;
}

static int retrieve_one(int session, int token)
{
	int fd = lu_retrieve_fd(session, token);

	return fd < 0 ? fd : (lu_check(fd, 0, SIZE, token) ?: fd);
}

INCOMING(descriptor)
{
	char link[256], name[NAME_LEN];
	int fd;

	EXPECT_EQ(FD_CLOEXEC, fcntl(self->session, F_GETFD));
	ASSERT_EQ(0, lu_fd_link(self->session, link, sizeof(link)));
	EXPECT_STREQ("anon_inode:[luo_session] descriptor", link);
	ASSERT_EQ(0, lu_get_name(self->session, name));
	EXPECT_STREQ("descriptor", name);
	fd = lu_retrieve_fd(self->session, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
}

INCOMING(held_by_somebody)
{
	int again = dup(self->session);

	EXPECT_EQ(-EINVAL, lu_retrieve(self->dev, "held_by_somebody"));
	close(self->session);
	EXPECT_EQ(-EINVAL, lu_retrieve(self->dev, "held_by_somebody"));
	close(again);
	self->session = lu_retrieve(self->dev, "held_by_somebody");
	EXPECT_LE(0, self->session);
}

INCOMING(incoming_names_are_apart)
{
	int session = lu_create(self->dev, "incoming_names_are_apart"), fd;

	ASSERT_LE(0, session);
	EXPECT_EQ(-EEXIST, lu_create(self->dev, "incoming_names_are_apart"));
	fd = lu_memfd("m", LU_PAGE, 1);
	EXPECT_EQ(0, lu_preserve(session, fd, 1));
	EXPECT_LE(0, retrieve_one(self->session, 1));
}

INCOMING(unknown_token)
{
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(self->session, FILES));
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(self->session, UINT64_MAX));
	EXPECT_EQ(self->fds, lu_count_fds());
}

INCOMING(any_order)
{
	static const int order[FILES] = { 2, 0, 3, 1 };
	int i;

	for (i = 0; i < FILES; i++)
		EXPECT_LE(0, retrieve_one(self->session, order[i]));
}

INCOMING(retrieved_again_it_is_the_same_file)
{
	int a = retrieve_one(self->session, 1), b, c;

	ASSERT_LE(0, a);
	b = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, b);
	EXPECT_NE(a, b);
	EXPECT_TRUE(lu_same_file(a, b));
	/* One open file, with one position. */
	ASSERT_EQ(3, lseek(a, 3, SEEK_SET));
	EXPECT_EQ(3, lseek(b, 0, SEEK_CUR));
	EXPECT_EQ(0, lu_fill(a, 0, LU_PAGE, 9));
	close(a);
	close(b);
	/* Also when nobody but the session has it. */
	c = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, c);
	EXPECT_EQ(0, lu_check(c, 0, LU_PAGE, 9));
	EXPECT_EQ(0, lu_check(c, LU_PAGE, SIZE - LU_PAGE, 1));
	a = lu_retrieve_fd(self->session, 2);
	EXPECT_FALSE(lu_same_file(a, c));
}

struct race {
	pthread_barrier_t start;
	int session;
	int fds[2][FILES];
};

struct racer {
	pthread_t thread;
	struct race *race;
	int nr;
};

static void *race_to_retrieve(void *arg)
{
	struct racer *racer = arg;
	int i;

	for (i = 0; i < FILES; i++) {
		pthread_barrier_wait(&racer->race->start);
		racer->race->fds[racer->nr][i] = lu_retrieve_fd(racer->race->session, i);
	}
	return NULL;
}

/* Whoever asks first, it is one file. */
INCOMING(retrieved_by_two_at_once)
{
	struct race race = { .session = self->session };
	struct racer racers[2];
	int i;

	ASSERT_EQ(0, pthread_barrier_init(&race.start, NULL, 2));
	for (i = 0; i < 2; i++) {
		racers[i] = (struct racer) { .race = &race, .nr = i };
		ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, race_to_retrieve,
					    &racers[i]));
	}
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_join(racers[i].thread, NULL));
	for (i = 0; i < FILES; i++) {
		ASSERT_LE(0, race.fds[0][i]);
		ASSERT_LE(0, race.fds[1][i]);
		EXPECT_TRUE(lu_same_file(race.fds[0][i], race.fds[1][i]));
		EXPECT_EQ(0, lu_check(race.fds[0][i], 0, SIZE, i));
	}
	EXPECT_EQ(0, lu_finish(self->session));
}

INCOMING(refuses_outgoing_requests)
{
	int fd = lu_memfd("m", LU_PAGE, 1);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EINVAL, lu_preserve(self->session, fd, 100));
	EXPECT_EQ(0, ftruncate(fd, 2 * LU_PAGE));
}

INCOMING(retrieved_file_counts_as_preserved)
{
	int session = lu_create(self->dev, "outgoing"), fd;

	ASSERT_LE(0, session);
	fd = retrieve_one(self->session, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBUSY, lu_preserve(session, fd, 1));
	ASSERT_EQ(0, lu_finish(self->session));
	EXPECT_EQ(0, lu_preserve(session, fd, 1));
}

INCOMING(reserved_has_to_be_zero)
{
	struct liveupdate_session_get_name get = { .size = sizeof(get), .reserved = 1 };
	struct liveupdate_session_finish fin = { .size = sizeof(fin), .reserved = 1 };

	EXPECT_EQ(-EINVAL, request(self->session, LIVEUPDATE_SESSION_FINISH, &fin));
	EXPECT_EQ(-EINVAL, request(self->session, LIVEUPDATE_SESSION_GET_NAME, &get));
	/* Nothing was finished. */
	EXPECT_LE(0, retrieve_one(self->session, 0));
}

INCOMING(sizes)
{
	struct {
		struct liveupdate_session_retrieve_fd arg;
		char more[64];
	} get = { .arg.token = 1 };
	struct {
		struct liveupdate_session_finish arg;
		char more[64];
	} fin = {};

	get.arg.size = sizeof(get.arg) - 1;
	EXPECT_EQ(-EINVAL, request(self->session, LIVEUPDATE_SESSION_RETRIEVE_FD, &get));
	fin.arg.size = sizeof(fin.arg) - 1;
	EXPECT_EQ(-EINVAL, request(self->session, LIVEUPDATE_SESSION_FINISH, &fin));
	get.arg.size = sizeof(get);
	fin.arg.size = sizeof(fin);
	get.more[63] = 1;
	fin.more[63] = 1;
	EXPECT_EQ(-E2BIG, request(self->session, LIVEUPDATE_SESSION_RETRIEVE_FD, &get));
	EXPECT_EQ(-E2BIG, request(self->session, LIVEUPDATE_SESSION_FINISH, &fin));
	EXPECT_EQ(self->fds, lu_count_fds());
	get.more[63] = 0;
	fin.more[63] = 0;
	EXPECT_EQ(0, request(self->session, LIVEUPDATE_SESSION_RETRIEVE_FD, &get));
	EXPECT_EQ(0, lu_check(get.arg.fd, 0, SIZE, 1));
	EXPECT_EQ(0, request(self->session, LIVEUPDATE_SESSION_FINISH, &fin));
}

/* How many files of incoming sessions are retrieved, as debugfs shows it. */
static long retrieved_files(void)
{
	FILE *f = fopen("/sys/kernel/debug/liveupdate/sessions", "r");
	char line[512];
	long nr = 0;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		nr += !strncmp(line, "file ", 5) &&
		      strstr(line, " state=retrieved");
	fclose(f);
	return nr;
}

/* The descriptor cannot be told: there must be none, and no file either. */
INCOMING(fd_that_cannot_be_told)
{
	struct liveupdate_session_retrieve_fd *arg = (void *)self->page;
	long files = retrieved_files();
	int i;

	ASSERT_LE(0, files);

	for (i = 0; i < 2; i++) {
		arg->size = sizeof(*arg);
		arg->token = 2;
		ASSERT_EQ(0, mprotect(arg, LU_PAGE, PROT_READ));
		EXPECT_EQ(-EFAULT, request(self->session, LIVEUPDATE_SESSION_RETRIEVE_FD, arg));
		EXPECT_EQ(self->fds, lu_count_fds());
		EXPECT_EQ(files, retrieved_files());
		ASSERT_EQ(0, mprotect(arg, LU_PAGE, PROT_READ | PROT_WRITE));
	}
	EXPECT_LE(0, retrieve_one(self->session, 2));
	EXPECT_EQ(files + 1, retrieved_files());
}

INCOMING(session_that_cannot_be_told)
{
	struct liveupdate_ioctl_retrieve_session *arg = (void *)self->page;
	const char *name = "session_that_cannot_be_told";

	close(self->session);
	arg->size = sizeof(*arg);
	sprintf((char *)arg->name, "%s", name);
	ASSERT_EQ(0, mprotect(arg, LU_PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, request(self->dev, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, arg));
	EXPECT_EQ(self->fds - 1, lu_count_fds());
	self->session = lu_retrieve(self->dev, name);
	ASSERT_LE(0, self->session);
	EXPECT_LE(0, retrieve_one(self->session, 0));
}

INCOMING(finish_writes_nothing_back)
{
	struct liveupdate_session_finish *arg = (void *)self->page;

	arg->size = sizeof(*arg);
	ASSERT_EQ(0, mprotect(arg, LU_PAGE, PROT_READ));
	EXPECT_EQ(0, request(self->session, LIVEUPDATE_SESSION_FINISH, arg));
}

INCOMING(finish_ends_it)
{
	int fd = retrieve_one(self->session, 0);
	char name[NAME_LEN];

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_finish(self->session));
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(self->session, 0));
	EXPECT_EQ(-ENOENT, lu_retrieve_fd(self->session, 1));
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "finish_ends_it"));
	EXPECT_EQ(0, lu_get_name(self->session, name));
	EXPECT_STREQ("finish_ends_it", name);
	close(self->session);
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "finish_ends_it"));
	/* The file is its holder's. */
	EXPECT_EQ(0, lu_check(fd, 0, SIZE, 0));
	EXPECT_EQ(0, ftruncate(fd, 2 * SIZE));
	EXPECT_EQ(0, lu_fill(fd, 0, 2 * SIZE, 1));
	EXPECT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
}

INCOMING(closed_without_finish)
{
	const char *name = "closed_without_finish";
	int fd = retrieve_one(self->session, 1), again, i;

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_fill(fd, 0, LU_PAGE, 77));
	close(self->session);
	self->session = lu_retrieve(self->dev, name);
	ASSERT_LE(0, self->session);

	again = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, again);
	EXPECT_TRUE(lu_same_file(fd, again));
	EXPECT_EQ(0, lu_check(again, 0, LU_PAGE, 77));
	for (i = 2; i < FILES; i++)
		EXPECT_LE(0, retrieve_one(self->session, i));
	EXPECT_LE(0, retrieve_one(self->session, 0));
	EXPECT_EQ(0, lu_finish(self->session));
}

/* Nobody but the session has the file when it is closed. */
INCOMING(closed_with_its_files)
{
	const char *name = "closed_with_its_files";
	int fd = retrieve_one(self->session, 1);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_fill(fd, 0, LU_PAGE, 77));
	close(fd);
	close(self->session);
	self->session = lu_retrieve(self->dev, name);
	ASSERT_LE(0, self->session);
	fd = lu_retrieve_fd(self->session, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_PAGE, 77));
	EXPECT_EQ(0, lu_check(fd, LU_PAGE, SIZE - LU_PAGE, 1));
	EXPECT_LE(0, retrieve_one(self->session, 0));
}

INCOMING(killed_owner)
{
	int pair[2], fd, i;
	char byte = 0;
	pid_t pid;

	close(self->session);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int session = lu_retrieve(self->dev, "killed_owner");

		fd = session < 0 ? session : lu_retrieve_fd(session, 2);
		byte = fd >= 0 && !lu_fill(fd, 0, LU_PAGE, 88) ? 'y' : 'n';
		if (write(pair[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	ASSERT_EQ(1, read(pair[0], &byte, 1));
	EXPECT_EQ('y', byte);
	EXPECT_EQ(-EINVAL, lu_retrieve(self->dev, "killed_owner"));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));

	self->session = lu_retrieve(self->dev, "killed_owner");
	ASSERT_LE(0, self->session);
	fd = lu_retrieve_fd(self->session, 2);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_PAGE, 88));
	EXPECT_EQ(0, lu_check(fd, LU_PAGE, SIZE - LU_PAGE, 2));
	for (i = 0; i < 2; i++)
		EXPECT_LE(0, retrieve_one(self->session, i));
	EXPECT_EQ(0, lu_finish(self->session));
}

/* After FINISH the descriptor is good for the next update. */
INCOMING(used_again_after_finish)
{
	int fd = lu_memfd("m", LU_PAGE, 1), event = eventfd(0, EFD_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_finish(self->session));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, event, 1));
	EXPECT_EQ(0, lu_preserve(self->session, fd, 1));
	/* It is an outgoing session of that name. */
	EXPECT_EQ(-EEXIST, lu_create(self->dev, "used_again_after_finish"));
	EXPECT_EQ(-EINVAL, lu_finish(self->session));
	EXPECT_EQ(-EINVAL, lu_retrieve_fd(self->session, 1));
	close(self->session);
	EXPECT_EQ(0, ftruncate(fd, 0));
	self->session = lu_create(self->dev, "used_again_after_finish");
	EXPECT_LE(0, self->session);
}

/* The name is free while nothing has been preserved under it. */
INCOMING(failing_preserve_takes_no_name)
{
	int event = eventfd(0, EFD_CLOEXEC), session, i;
	pid_t pid;

	ASSERT_LE(0, event);
	ASSERT_EQ(0, lu_finish(self->session));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* ENOENT, or ENOTUNIQ while the name is taken. */
		while (lu_preserve(self->session, event, 1) < 0)
			;
		_exit(1);
	}
	for (i = 0; i < 5000; i++) {
		session = lu_create(self->dev, "failing_preserve_takes_no_name");
		ASSERT_LE(0, session)
			TH_LOG("round %d", i);
		close(session);
	}
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
}

INCOMING(name_taken_after_finish)
{
	const char *name = "name_taken_after_finish";
	int fd = lu_memfd("m", LU_PAGE, 1), other;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_finish(self->session));
	other = lu_create(self->dev, name);
	ASSERT_LE(0, other);
	EXPECT_EQ(-ENOTUNIQ, lu_preserve(self->session, fd, 1));
	EXPECT_EQ(0, ftruncate(fd, 2 * LU_PAGE));
	close(other);
	EXPECT_EQ(0, lu_preserve(self->session, fd, 1));
	EXPECT_EQ(-EEXIST, lu_create(self->dev, name));
}
