// SPDX-License-Identifier: GPL-2.0
/*
 * Ten threads send whatever comes to their minds, right or wrong, to sessions
 * and files that all of them share, while reboots begin and fail. Afterwards
 * nothing is left. Meant for the debug kernel, which sees what went wrong.
 *
 * lu.stress_s= on the kernel's command line says how many seconds, lu.seed=
 * which numbers to begin with.
 */
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>

#include <linux/reboot.h>

#include "lu_harness.h"
#include "lu_fault.h"

#define THREADS		10
#define SLOTS		24
#define TOKENS		12
#define NAMES		10
/* Requests of a run that has been one. */
#define ENOUGH		100
#define CTL		"/sys/kernel/debug/liveupdate_test/ctl"

FIXTURE(stress)
{
	int dev;
	int stage;
};

FIXTURE_SETUP(stress)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, lu_load_module("lib/test_liveupdate", ""));
}

FIXTURE_TEARDOWN(stress)
{
	close(self->dev);
}

/* What the threads share: descriptors, -1 where there is none. */
static struct {
	int dev;
	int sessions[SLOTS];
	int files[SLOTS];
	uint64_t last_id;
	char *page;		/* readable only, behind it nothing */
	bool stop;
} shared;

struct thread {
	pthread_t thread;
	uint64_t rnd;
	unsigned long done;
};

static uint64_t random_of(struct thread *t, uint64_t n)
{
	t->rnd ^= t->rnd << 13;
	t->rnd ^= t->rnd >> 7;
	t->rnd ^= t->rnd << 17;
	return (t->rnd >> 11) % n;
}

static int pick(struct thread *t, int *slots)
{
	return __atomic_load_n(&slots[random_of(t, SLOTS)], __ATOMIC_RELAXED);
}

/* Whoever was there before is closed by whoever took it out. */
static void put(struct thread *t, int *slots, int fd)
{
	int old = __atomic_exchange_n(&slots[random_of(t, SLOTS)], fd < 0 ? -1 : fd,
				      __ATOMIC_RELAXED);

	if (old >= 0)
		close(old);
}

static void put_nothing(int i)
{
	shared.sessions[i] = -1;
	shared.files[i] = -1;
}

static uint64_t random_id(struct thread *t)
{
	return random_of(t, shared.last_id + 20);
}

static void do_open_session(struct thread *t)
{
	char name[32];

	snprintf(name, sizeof(name), "s%d", (int)random_of(t, NAMES));
	switch (random_of(t, 4)) {
	case 0:
	case 1:
		put(t, shared.sessions, lu_create(shared.dev, name));
		break;
	case 2:
		put(t, shared.sessions, lu_retrieve(shared.dev, name));
		break;
	default:
		put(t, shared.sessions, lu_retrieve_id(shared.dev, random_id(t)));
	}
}

static void do_open_file(struct thread *t)
{
	switch (random_of(t, 8)) {
	case 0:
		put(t, shared.files, open("/dev/liveupdate_test1", O_RDWR | O_CLOEXEC));
		break;
	case 1:
		put(t, shared.files, eventfd(0, EFD_CLOEXEC));
		break;
	case 2:
		put(t, shared.files, dup(pick(t, shared.files)));
		break;
	default:
		put(t, shared.files, memfd_create("stress", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	}
}

static void do_use_file(struct thread *t)
{
	static const char text[LU_PAGE] = "stress";
	int fd = pick(t, shared.files);
	off_t off = random_of(t, 64) * LU_PAGE;
	char *map;

	switch (random_of(t, 6)) {
	case 0:
		if (ftruncate(fd, off))
			break;
		break;
	case 1:
		fcntl(fd, F_ADD_SEALS, random_of(t, 8));
		break;
	case 2:
		map = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			break;
		/* Behind the end there is no page: SIGBUS is not what is tested. */
		if (lu_size(fd) >= (off_t)LU_PAGE)
			madvise(map, LU_PAGE, MADV_POPULATE_WRITE);
		munmap(map, LU_PAGE);
		break;
	case 3:
		fallocate(fd, 3 /* punch, keep the size */, off, LU_PAGE);
		break;
	default:
		if (pwrite(fd, text, sizeof(text), off) < 0)
			break;
	}
}

static void do_session(struct thread *t)
{
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	int session = pick(t, shared.sessions);

	switch (random_of(t, 12)) {
	case 0:
		lu_finish(session);
		break;
	case 1:
		lu_get_name(session, name);
		break;
	case 2:
		put(t, shared.sessions, -1);
		break;
	case 3:
		lu_preserve(session, pick(t, shared.sessions), random_of(t, TOKENS));
		break;
	case 4:
	case 5:
	case 6:
		put(t, shared.files, lu_retrieve_fd(session, random_of(t, TOKENS)));
		break;
	default:
		lu_preserve(session, pick(t, shared.files), random_of(t, TOKENS));
	}
}

static void do_list(struct thread *t)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s), .id = random_id(t) };
	char buf[512];
	int fd, i;

	if (random_of(t, 4)) {
		if (!lu_next(shared.dev, &s))
			__atomic_store_n(&shared.last_id, s.id, __ATOMIC_RELAXED);
		return;
	}
	fd = open(LU_LINES, O_RDONLY | O_CLOEXEC);
	for (i = 0; i < 20 && read(fd, buf, sizeof(buf)) > 0; i++)
		;
	close(fd);
}

/* Any number of a request, any size, any bytes, and where there is no memory. */
static void do_nonsense(struct thread *t)
{
	static const unsigned int requests[] = {
		0x00, 0x01, 0x20, 0x21, 0x22, 0x40, 0x41, 0x42, 0x43,
	};
	int fd = random_of(t, 3) ? pick(t, shared.sessions) : shared.dev;
	unsigned int nr = requests[random_of(t, ARRAY_SIZE(requests))];
	union {
		struct liveupdate_session_retrieve_fd head;
		uint64_t words[32];
	} arg;
	size_t i;

	if (!random_of(t, 8))
		nr = random_of(t, 256);
	for (i = 0; i < ARRAY_SIZE(arg.words); i++)
		arg.words[i] = random_of(t, 2) ? 0 : t->rnd;
	arg.head.size = random_of(t, 2) ? random_of(t, 200) : 16 + 8 * random_of(t, 16);
	switch (random_of(t, 6)) {
	case 0:
		ioctl(fd, _IO(0xBA, nr), shared.page + LU_PAGE - random_of(t, 80));
		break;
	case 1:
		ioctl(fd, _IO(0xBA, nr), t->rnd);
		break;
	default:
		if (ioctl(fd, _IO(0xBA, nr), &arg))
			break;
		if (nr == 0x00 || nr == 0x01 || nr == 0x21 || nr == 0x41)
			close(arg.head.fd);
	}
}

/* With the state that its files share, or files and state would not match. */
static void register_handler(void)
{
	lu_write_file(CTL, "register_flb 1 0");
	lu_write_file(CTL, "register 1");
}

static void do_administer(struct thread *t)
{
	static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER;

	switch (random_of(t, 16)) {
	case 0:
	case 1:
		pthread_mutex_lock(&registering);
		if (random_of(t, 3))
			register_handler();
		else
			lu_write_file(CTL, "unregister 1");
		pthread_mutex_unlock(&registering);
		break;
	case 2:
		if (!lu_write_file(CTL, "get_in 0"))
			lu_write_file(CTL, "put_in 0");
		break;
	case 3:
		lu_write_file(CTL, "clear");
		break;
	case 4:
		/* The freeze of the file that is held outside fails. */
		reboot(LINUX_REBOOT_CMD_KEXEC);
		break;
	case 5:
	case 6:
		lu_discard(shared.dev, random_id(t));
		break;
	default:
		do_list(t);
	}
}

static void *stress(void *arg)
{
	static void (* const actions[])(struct thread *t) = {
		do_open_session, do_open_session, do_open_file, do_open_file,
		do_use_file, do_use_file, do_session, do_session, do_session,
		do_session, do_session, do_session, do_nonsense, do_administer,
	};
	struct thread *t = arg;

	while (!__atomic_load_n(&shared.stop, __ATOMIC_RELAXED)) {
		actions[random_of(t, ARRAY_SIZE(actions))](t);
		__atomic_fetch_add(&t->done, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* For the next kernel: sessions with files of both kinds, and the last one. */
static void hand_over(struct __test_metadata *_metadata, FIXTURE_DATA(stress) * self)
{
	int session, fd, i, k;
	char name[32];

	for (i = 0; i < NAMES / 2; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		session = lu_create(self->dev, name);
		ASSERT_LE(0, session);
		for (k = 0; k < TOKENS; k++) {
			if (k % 4)
				fd = lu_memfd(name, (1 + k) * LU_PAGE, k);
			else
				fd = open("/dev/liveupdate_test1", O_RDWR | O_CLOEXEC);
			ASSERT_LE(0, fd);
			ASSERT_EQ(0, lu_preserve(session, fd, k));
			close(fd);
		}
	}
	session = lu_create(self->dev, "last");
	ASSERT_LE(0, session);
	fd = open("/dev/liveupdate_test0", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_preserve(session, fd, 0));
}

/* That all of them have done until now. */
static unsigned long requests(const struct thread *threads)
{
	unsigned long done = 0;
	int i;

	for (i = 0; i < THREADS; i++)
		done += __atomic_load_n(&threads[i].done, __ATOMIC_RELAXED);
	return done;
}

static void run(struct __test_metadata *_metadata, FIXTURE_DATA(stress) * self)
{
	uint64_t seconds = lu_param_u64("lu.stress_s") ?: 10;
	uint64_t seed = lu_param_u64("lu.seed") ?: 1;
	struct thread threads[THREADS] = {};
	unsigned long done;
	int i;

	shared.dev = self->dev;
	for (i = 0; i < SLOTS; i++)
		put_nothing(i);
	shared.page = mmap(NULL, 2 * LU_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, shared.page);
	ASSERT_EQ(0, munmap(shared.page + LU_PAGE, LU_PAGE));

	for (i = 0; i < THREADS; i++) {
		threads[i].rnd = (seed * THREADS + i + 1) * 0x9e3779b97f4a7c15ULL;
		ASSERT_EQ(0, pthread_create(&threads[i].thread, NULL, stress, &threads[i]));
	}
	sleep(seconds);
	/* If the machine had no time for them meanwhile, they get some more. */
	for (i = 0; i < LU_PATIENCE_S && requests(threads) <= ENOUGH; i++)
		sleep(1);
	__atomic_store_n(&shared.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_join(threads[i].thread, NULL));
	done = requests(threads);
	for (i = 0; i < SLOTS; i++) {
		if (shared.sessions[i] >= 0)
			close(shared.sessions[i]);
		if (shared.files[i] >= 0)
			close(shared.files[i]);
	}
	printf("# seed %ju: %lu requests in %ju s\n", (uintmax_t)seed, done,
	       (uintmax_t)seconds);
	EXPECT_LT(ENOUGH, done);
}

/* Nobody holds anything any more, and every handler is there. */
static void drop_everything(struct __test_metadata *_metadata, int dev)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };

	register_handler();
	while (!lu_next(dev, &s))
		EXPECT_EQ(0, lu_discard(dev, s.id))
			TH_LOG("%s", s.name);
	EXPECT_EQ(0, lu_count_lines(LU_LINES, ""));
	EXPECT_STREQ("normal", lu_sysfs("state"));
}

TEST_F_TIMEOUT(stress, ten_threads, 8 * LU_TIMEOUT)
{
	char more[64];
	int last;

	if (self->stage == 1) {
		snprintf(more, sizeof(more), "lu.pages=%ld", lu_preserved_pages());
		hand_over(_metadata, self);
		LU_KEXEC_WITH(2, more);
	}
	last = lu_retrieve(self->dev, "last");
	ASSERT_LE(0, last);
	ASSERT_LE(0, lu_retrieve_fd(last, 0));
	ASSERT_EQ(0, lu_write_file(CTL, "fail freeze 1 5 1000000000"));
	ASSERT_EQ(0, lu_load(3, NULL));
	EXPECT_EQ(-EIO, lu_jump());

	run(_metadata, self);

	EXPECT_EQ(0, lu_finish(last));
	close(last);
	drop_everything(_metadata, self->dev);
	EXPECT_EQ(lu_param_u64("lu.pages"), lu_preserved_pages());
	EXPECT_EQ(0, lu_leaks());
}
