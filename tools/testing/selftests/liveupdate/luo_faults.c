// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation and every access to user memory of every request fails once.
 * A request that fails then has changed nothing, and one that succeeds all the
 * same has done all of it. A reboot that fails leaves everything as it was.
 */
#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "lu_harness.h"
#include "lu_fault.h"
#include "lu_uffd.h"

/* More than faults that a request can do without. */
#define SPARE		40
#define TESTS		"liveupdate_test"
#define CTL		"/sys/kernel/debug/" TESTS "/ctl"

FIXTURE(faults)
{
	int dev;
	int stage;
	int nth;	/* where faults are ordered */
	char *before;
	char *after;
};

/* The next @times allocations of a kind fail, if it so happens; @percent of them. */
static int fail_next(const char *what, const char *times, const char *percent)
{
	const char * const settings[][2] = {
		{ "times", times },
		{ "probability", percent },
	};
	char path[128];
	size_t i;
	int err = 0;

	for (i = 0; i < ARRAY_SIZE(settings) && !err; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", what, settings[i][0]);
		err = lu_write_file(path, settings[i][1]);
	}
	return err;
}

/* Nodes of trees that grow, of all slabs, and in any task. */
static int choose_nodes(bool only)
{
	return lu_write_file("/sys/kernel/slab/radix_tree_node/failslab", "1") ?:
	       lu_write_file("/sys/kernel/debug/failslab/cache-filter", only ? "Y" : "N");
}

/* All that workers of the kernel allocate, those that are still to come, too. */
static int choose_workers(bool only)
{
	struct dirent *entry;
	char path[300];
	DIR *proc = opendir("/proc");
	int err = 0;

	while (proc && (entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (lu_count_lines(path, "kworker") < 1 && lu_count_lines(path, "kthreadd") < 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/make-it-fail", entry->d_name);
		err = err ?: lu_write_file(path, only ? "1" : "0");
	}
	closedir(proc);
	return err ?:
	       lu_write_file("/sys/kernel/debug/failslab/task-filter", only ? "Y" : "N") ?:
	       lu_write_file("/sys/kernel/debug/fail_page_alloc/task-filter", only ? "Y" : "N");
}

static int open_lines(void)
{
	int fd = open(LU_LINES, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Killed while it waits for memory. */
static void killed_reboot(struct __test_metadata *_metadata)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(-lu_jump());
	ASSERT_TRUE(lu_await_sleep(pid, "luo_wire"));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
}

/* Whoever comes first is told after some time, and a reboot says so. */
static void lasting_want_of_memory(struct __test_metadata *_metadata)
{
	const char * const reboots = LU_TRACING "events/liveupdate/liveupdate_reboot/enable";

	ASSERT_EQ(0, lu_write_file(reboots, "1"));
	killed_reboot(_metadata);
	EXPECT_EQ(1, lu_count_events("reboot: err=-4"));
	EXPECT_EQ(-ENOMEM, lu_jump());
	EXPECT_EQ(1, lu_count_events("reboot: err=-12"));
	ASSERT_EQ(0, lu_write_file(reboots, "0"));
	EXPECT_EQ(-ENOMEM, lu_open_dev());
	EXPECT_STREQ(strerror(ENOMEM), lu_sysfs("state"));
	EXPECT_STREQ(strerror(ENOMEM), lu_sysfs("incoming/sessions"));
	EXPECT_EQ(-ENOMEM, open_lines());
}

/*
 * The sessions that came in are read in for the first who looks, and not by the
 * task that does. A reboot does not go without them. A want of memory that passes
 * is waited out, wherever it comes: a client that does not ask again finds all.
 */
static void read_in_without_memory(struct __test_metadata *_metadata)
{
	int dev;

	ASSERT_EQ(0, lu_load(3, NULL));
	ASSERT_EQ(0, choose_nodes(true));
	if (!fail_next("failslab", "-1", "100"))
		lasting_want_of_memory(_metadata);
	EXPECT_EQ(0, fail_next("failslab", "0", "0"));
	ASSERT_EQ(0, choose_nodes(false));
	ASSERT_EQ(0, lu_unload());

	/* No more in all than times that it is tried. */
	EXPECT_EQ(0, choose_workers(true));
	EXPECT_EQ(0, fail_next("fail_page_alloc", "30", "50"));
	EXPECT_EQ(0, fail_next("failslab", "60", "50"));
	dev = lu_open_dev();
	EXPECT_LE(0, dev);
	EXPECT_EQ(0, lu_count_matches("/sys/kernel/debug/failslab/times", "^60$"));
	close(dev);
	ASSERT_EQ(0, fail_next("failslab", "1", "0"));
	ASSERT_EQ(0, fail_next("fail_page_alloc", "1", "0"));
	ASSERT_EQ(0, choose_workers(false));
}

FIXTURE_SETUP(faults)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	ASSERT_EQ(0, lu_fault_init());
	if (self->stage == 2)
		read_in_without_memory(_metadata);
	self->dev = lu_open_dev();
	ASSERT_LE(0, self->dev);
	self->nth = lu_fault_open();
	ASSERT_LE(0, self->nth);
	self->before = malloc(LU_PICTURE);
	self->after = malloc(LU_PICTURE);
	ASSERT_NE(NULL, self->before);
	ASSERT_NE(NULL, self->after);
	ASSERT_EQ(0, lu_load_module("lib/test_liveupdate", ""));
	ASSERT_EQ(0, lu_load_module("samples/liveupdate/liveupdate_notes", ""));
}

FIXTURE_TEARDOWN(faults)
{
	free(self->before);
	free(self->after);
	close(self->nth);
	close(self->dev);
}

#define FAULTS(name)	TEST_F_TIMEOUT(faults, name, 4 * LU_TIMEOUT)

/*
 * A request and what it works on. @again makes it possible to send it once more
 * after it succeeded; %NULL if that takes no more than closing its result.
 */
struct request {
	const char *name;
	int dev;
	int fd;
	int file;
	uint64_t nr;
	char *map;
	char session[LIVEUPDATE_SESSION_NAME_LENGTH];
	int (*send)(struct request *r);
	void (*again)(struct request *r, int result);
};

/* EAGAIN: there was no inode for a memfd, which may have another reason, too. */
static bool is_expected(int err)
{
	return err == -ENOMEM || err == -EFAULT || err == -EAGAIN;
}

static int send_create(struct request *r)
{
	return lu_create(r->fd, r->session);
}

static int send_preserve(struct request *r)
{
	return lu_preserve(r->fd, r->file, r->nr);
}

static int send_get_name(struct request *r)
{
	return lu_get_name(r->fd, r->session);
}

static int send_next(struct request *r)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };

	return lu_next(r->fd, &s);
}

static int send_retrieve(struct request *r)
{
	return lu_retrieve(r->fd, r->session);
}

static int send_retrieve_id(struct request *r)
{
	return lu_retrieve_id(r->fd, r->nr);
}

static int send_retrieve_fd(struct request *r)
{
	return lu_retrieve_fd(r->fd, r->nr);
}

static int send_finish(struct request *r)
{
	return lu_finish(r->fd);
}

static int send_discard(struct request *r)
{
	return lu_discard(r->fd, r->nr);
}

/*
 * Whoever cannot be told the number of a descriptor has still caused the file
 * to be made.
 */
static bool may_differ(const struct request *r, int err)
{
	return r->send == send_retrieve_fd && err == -EFAULT;
}

static void each_fault(struct __test_metadata *_metadata, FIXTURE_DATA(faults) * self,
		       struct request *r)
{
	int nth, ret, failed = 0;
	bool came;

	for (nth = 1;; nth++) {
		lu_picture(self->before);
		ASSERT_EQ(0, lu_fault_arm(self->nth, nth));
		ret = r->send(r);
		came = lu_fault_came(self->nth);
		if (ret < 0) {
			ASSERT_TRUE(came)
				TH_LOG("%s, fault %d: %s", r->name, nth, strerror(-ret));
			ASSERT_TRUE(is_expected(ret))
				TH_LOG("%s, fault %d: %s", r->name, nth, strerror(-ret));
			lu_picture(self->after);
			if (!may_differ(r, ret))
				ASSERT_STREQ(self->before, self->after)
					TH_LOG("%s, fault %d", r->name, nth);
			failed++;
			continue;
		}
		if (r->again)
			r->again(r, ret);
		else
			close(ret);
		if (!came)
			break;
	}
	printf("# %s: %d faults, %d of them fatal\n", r->name, nth - 1, failed);
	ASSERT_LT(0, failed)
		TH_LOG("%s", r->name);
}

static void nothing_to_undo(struct request *r, int result)
{
}

/* The only way to take back a file is to close the session. */
static void close_session(struct request *r, int result)
{
	close(r->fd);
	r->fd = lu_create(r->dev, r->session);
}

static void preserve_each(struct __test_metadata *_metadata, FIXTURE_DATA(faults) * self,
			  const char *what, int file)
{
	struct request r = {
		.name = what,
		.dev = self->dev,
		.fd = lu_create(self->dev, "faults"),
		.file = file,
		.nr = UINT64_MAX / 3,
		.session = "faults",
		.send = send_preserve,
		.again = close_session,
	};

	ASSERT_LE(0, r.fd);
	ASSERT_LE(0, file);
	each_fault(_metadata, self, &r);
	close(r.fd);
	close(file);
}

static int test_file(int handler)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/" TESTS "%d", handler);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* Of the sample: its text is in a buffer of several pages. */
static int notes_file(void)
{
	int fd = open("/dev/liveupdate_notes", O_RDWR | O_CLOEXEC);

	return fd < 0 || pwrite(fd, "text", 4, 20000) != 4 ? -EIO : fd;
}

/* Every second page of it is a hole: its list of extents takes several pages. */
static int holey_memfd(void)
{
	int fd = lu_memfd("holey", LU_PAGE, 1), i;

	for (i = 1; i < 600; i++)
		if (fd < 0 || lu_fill(fd, 2 * i * LU_PAGE, LU_PAGE, i))
			return -EIO;
	return fd;
}

static void outgoing(struct __test_metadata *_metadata, FIXTURE_DATA(faults) * self)
{
	struct request create = {
		.name = "CREATE_SESSION",
		.fd = self->dev,
		.session = "faults",
		.send = send_create,
	};
	struct request next = {
		.name = "NEXT_SESSION",
		.fd = self->dev,
		.send = send_next,
		.again = nothing_to_undo,
	};
	struct request get_name = {
		.name = "GET_NAME",
		.fd = lu_create(self->dev, "get name"),
		.send = send_get_name,
		.again = nothing_to_undo,
	};

	ASSERT_LE(0, get_name.fd);
	each_fault(_metadata, self, &create);
	each_fault(_metadata, self, &next);
	each_fault(_metadata, self, &get_name);
	close(get_name.fd);
	preserve_each(_metadata, self, "PRESERVE_FD, a memfd", lu_memfd("m", LU_MIB, 1));
	preserve_each(_metadata, self, "PRESERVE_FD, an empty one", lu_memfd("m", 0, 1));
	preserve_each(_metadata, self, "PRESERVE_FD, one with many holes", holey_memfd());
	preserve_each(_metadata, self, "PRESERVE_FD, with FLBs", test_file(0));
	preserve_each(_metadata, self, "PRESERVE_FD, with one FLB", test_file(1));
	preserve_each(_metadata, self, "PRESERVE_FD, the sample's", notes_file());
}

/* For stage 2: a session each for requests that can succeed only once. */
static void hand_over(struct __test_metadata *_metadata, FIXTURE_DATA(faults) * self)
{
	static const char * const kinds[] = { "retrieve", "finish", "discard" };
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	int session, fd, i, k;

	for (k = 0; k < 3; k++) {
		for (i = 0; i < SPARE; i++) {
			snprintf(name, sizeof(name), "%s %d", kinds[k], i);
			session = lu_create(self->dev, name);
			ASSERT_LE(0, session);
			fd = lu_memfd(name, 3 * LU_PAGE, i);
			ASSERT_LE(0, fd);
			ASSERT_EQ(0, lu_fill(fd, 64 * LU_PAGE, LU_PAGE, 1));
			ASSERT_EQ(0, lu_preserve(session, fd, 0));
			close(fd);
			fd = test_file(0);
			ASSERT_EQ(0, lu_preserve(session, fd, 1));
			close(fd);
			fd = notes_file();
			ASSERT_EQ(0, lu_preserve(session, fd, 2));
			close(fd);
		}
	}
}

/* Goes on with the next session when a fault did not hurt. */
static void next_of_a_kind(struct request *r, int result)
{
	char kind[16] = "";
	int i = 0;

	if (sscanf(r->session, "%15s %d", kind, &i) != 2)
		return;
	snprintf(r->session, sizeof(r->session), "%s %d", kind, i + 1);
	close(r->fd);
	r->fd = lu_retrieve(r->dev, r->session);
}

static void finish_next_of_a_kind(struct request *r, int result)
{
	next_of_a_kind(r, result);
	lu_finish(r->fd);
}

static void retrieve_each(struct __test_metadata *_metadata, FIXTURE_DATA(faults) * self)
{
	struct request by_name = {
		.name = "RETRIEVE_SESSION",
		.fd = self->dev,
		.session = "retrieve 0",
		.send = send_retrieve,
	};
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };
	struct request by_id = {
		.name = "RETRIEVE_SESSION_ID",
		.fd = self->dev,
		.send = send_retrieve_id,
	};
	struct request fd = {
		.dev = self->dev,
		.session = "retrieve 0",
		.send = send_retrieve_fd,
		.again = next_of_a_kind,
	};
	static const char * const names[] = {
		"RETRIEVE_FD, a memfd", "RETRIEVE_FD, a file of the test's",
		"RETRIEVE_FD, the sample's",
	};
	char text[8] = "";
	int i;

	each_fault(_metadata, self, &by_name);
	ASSERT_EQ(0, lu_next(self->dev, &s));
	by_id.nr = s.id;
	each_fault(_metadata, self, &by_id);
	for (i = 0; i < 3; i++) {
		fd.nr = i;
		fd.name = names[i];
		fd.fd = lu_retrieve(self->dev, fd.session);
		each_fault(_metadata, self, &fd);
		close(fd.fd);
	}
	fd.fd = lu_retrieve(self->dev, fd.session);
	EXPECT_EQ(4, pread(lu_retrieve_fd(fd.fd, 2), text, 4, 20000));
	EXPECT_STREQ("text", text);
	close(fd.fd);
}

static void next_to_discard(struct request *r, int result)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s), .id = r->nr };

	if (!lu_next(r->fd, &s))
		r->nr = s.id;
}

static uint64_t first_of_a_kind(int dev, const char *kind)
{
	struct liveupdate_ioctl_next_session s = { .size = sizeof(s) };

	while (!lu_next(dev, &s))
		if (!strncmp((char *)s.name, kind, strlen(kind)))
			return s.id;
	return 0;
}

static void finish_each(struct __test_metadata *_metadata, FIXTURE_DATA(faults) * self)
{
	struct request finish = {
		.name = "FINISH",
		.dev = self->dev,
		.fd = lu_retrieve(self->dev, "finish 0"),
		.session = "finish 0",
		.send = send_finish,
		.again = next_of_a_kind,
	};
	struct request discard = {
		.name = "DISCARD_SESSION",
		.fd = self->dev,
		.nr = first_of_a_kind(self->dev, "discard"),
		.send = send_discard,
		.again = next_to_discard,
	};

	ASSERT_LE(0, finish.fd);
	ASSERT_NE(0, discard.nr);
	each_fault(_metadata, self, &finish);
	each_fault(_metadata, self, &discard);

	/* The first file of a finished session, which takes its name again. */
	finish.name = "PRESERVE_FD, in a finished session";
	finish.send = send_preserve;
	finish.again = finish_next_of_a_kind;
	finish.file = lu_memfd("m", LU_PAGE, 1);
	ASSERT_LE(0, finish.file);
	ASSERT_EQ(0, lu_finish(finish.fd));
	each_fault(_metadata, self, &finish);
	close(finish.file);
	close(finish.fd);
}

/*
 * Sessions that are left, one of them in use, go on; each fault can stop that.
 * As long as there are faults to come the last file refuses to be frozen.
 */
static void reboot_with_faults(struct __test_metadata *_metadata, FIXTURE_DATA(faults) * self)
{
	int held = lu_retrieve(self->dev, "retrieve 39"), fd, nth, err, failed = 0;
	int session = lu_create(self->dev, "new");
	bool came;

	ASSERT_LE(0, held);
	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(held, 0);
	ASSERT_LE(0, fd);
	ASSERT_LE(0, lu_retrieve_fd(held, 1));
	ASSERT_EQ(0, lu_fill(fd, 0, LU_PAGE, 77));
	ASSERT_EQ(0, lu_preserve(session, lu_memfd("new", LU_PAGE, 5), 1));
	ASSERT_EQ(0, lu_load(3, NULL));
	ASSERT_EQ(0, lu_write_file(CTL, "fail freeze 1 5 1000000000"));
	for (nth = 1, came = true; came; nth++) {
		lu_picture(self->before);
		ASSERT_EQ(0, lu_fault_arm(self->nth, nth));
		err = lu_jump();
		came = lu_fault_came(self->nth);
		ASSERT_TRUE(err == -EIO || (came && is_expected(err)))
			TH_LOG("fault %d: %s", nth, strerror(-err));
		failed += err != -EIO;
		lu_picture(self->after);
		ASSERT_STREQ(self->before, self->after)
			TH_LOG("fault %d", nth);
	}
	printf("# reboot: %d faults, %d of them fatal\n", nth - 2, failed);
	ASSERT_LT(0, failed);
	EXPECT_EQ(0, lu_leaks());
	ASSERT_EQ(0, lu_write_file(CTL, "fail freeze 0 0 0"));
	LU_JUMP();
}

static void arrive(struct __test_metadata *_metadata, FIXTURE_DATA(faults) * self)
{
	int session = lu_retrieve(self->dev, "retrieve 39"), fd, i;
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];

	ASSERT_LE(0, session);
	fd = lu_retrieve_fd(session, 0);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lu_check(fd, 0, LU_PAGE, 77));
	EXPECT_EQ(0, lu_check(fd, LU_PAGE, 2 * LU_PAGE, 39));
	EXPECT_LE(0, lu_retrieve_fd(session, 1));
	EXPECT_EQ(0, lu_finish(session));
	for (i = 0; i < SPARE - 1; i++) {
		snprintf(name, sizeof(name), "retrieve %d", i);
		session = lu_retrieve(self->dev, name);
		ASSERT_LE(0, session);
		fd = lu_retrieve_fd(session, 0);
		ASSERT_LE(0, fd);
		EXPECT_EQ(0, lu_check(fd, 0, 3 * LU_PAGE, i));
		EXPECT_EQ(0, lu_check_zero(fd, 3 * LU_PAGE, 61 * LU_PAGE));
		EXPECT_EQ(0, lu_check(fd, 64 * LU_PAGE, LU_PAGE, 1));
		EXPECT_EQ(0, lu_finish(session));
		close(session);
	}
	session = lu_retrieve(self->dev, "new");
	ASSERT_LE(0, session);
	EXPECT_EQ(0, lu_check(lu_retrieve_fd(session, 1), 0, LU_PAGE, 5));
	EXPECT_EQ(0, lu_finish(session));
}

FAULTS(each_allocation)
{
	if (self->stage == 1) {
		outgoing(_metadata, self);
		EXPECT_EQ(0, lu_leaks());
		hand_over(_metadata, self);
		LU_KEXEC(2);
	}
	if (self->stage == 2) {
		EXPECT_EQ(3 * SPARE, lu_sysfs_number("incoming/sessions"));
		EXPECT_EQ(9 * SPARE, lu_sysfs_number("incoming/files"));
		retrieve_each(_metadata, self);
		finish_each(_metadata, self);
		reboot_with_faults(_metadata, self);
	}
	arrive(_metadata, self);
}

/*
 * Holes of a memfd that is preserved are filled. Every page of LATE_STEP is there
 * before, so each that comes is an extent of its own.
 */
#define LATE_STEP	4
#define LATE_PAGES	(2048 * LATE_STEP)

static int send_write(struct request *r)
{
	static const char page[LU_PAGE] = "written";

	return pwrite(r->file, page, LU_PAGE, r->nr * LU_PAGE) < 0 ? -errno : 0;
}

static int send_touch(struct request *r)
{
	return madvise(r->map + r->nr * LU_PAGE, LU_PAGE, MADV_POPULATE_WRITE) ? -errno : 0;
}

static int send_fallocate(struct request *r)
{
	return fallocate(r->file, 0, r->nr * LU_PAGE, LU_PAGE) ? -errno : 0;
}

/* @fd is userfaultfd's. */
static int send_copy(struct request *r)
{
	return lu_uffd_copy(r->fd, r->map + r->nr * LU_PAGE, 0, 1);
}

static int send_zero(struct request *r)
{
	return lu_uffd_zero(r->fd, r->map + r->nr * LU_PAGE);
}

static void next_hole(struct request *r, int result)
{
	r->nr += LATE_STEP;
}

/* Fill holes up to one that takes a page of preserved memory, for words. */
static int fill_to_page_of_words(struct request *r)
{
	long before;
	int n = 0;

	do {
		before = lu_preserved_pages();
		if (send_write(r))
			return -EIO;
		next_hole(r, 0);
		n++;
	} while (lu_preserved_pages() == before + 1);
	return n;
}

/* The next one that comes needs a page for its words. */
static void exhaust_words(struct __test_metadata *_metadata, struct request *r)
{
	int period, i;

	for (i = 0; i < 3; i++) {
		period = fill_to_page_of_words(r);
		ASSERT_LT(0, period);
	}
	for (i = 1; i < period; i++) {
		ASSERT_EQ(0, send_write(r));
		next_hole(r, 0);
	}
}

static void fill_with_faults(struct __test_metadata *_metadata, FIXTURE_DATA(faults) * self,
			     struct request *r)
{
	static const struct {
		const char *name;
		int (*send)(struct request *r);
	} ways[] = {
		{ "write(2) into a hole", send_write },
		{ "a fault", send_touch },
		{ "UFFDIO_COPY", send_copy },
		{ "UFFDIO_ZEROPAGE", send_zero },
		{ "fallocate(2)", send_fallocate },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		/* userfaultfd has a mapping of its own. */
		char *map = mmap(NULL, LATE_PAGES * LU_PAGE, PROT_READ | PROT_WRITE,
				 MAP_SHARED, r->file, 0);

		ASSERT_NE(MAP_FAILED, map);
		r->map = map;
		r->name = ways[i].name;
		r->send = ways[i].send;
		r->fd = lu_uffd_open(map, LATE_PAGES * LU_PAGE);
		ASSERT_LE(0, r->fd);
		if (r->send == send_touch)
			close(r->fd);
		each_fault(_metadata, self, r);
		if (r->send != send_touch)
			close(r->fd);
		munmap(map, LATE_PAGES * LU_PAGE);
	}
}

FAULTS(late_pages)
{
	char note[96], *before = self->before, *after = self->after;
	struct request r = { .nr = 1, .again = next_hole };
	int session, i, nth, err, failed = 0;
	uint64_t sum;

	if (self->stage == 1) {
		r.file = memfd_create("late", MFD_CLOEXEC);
		ASSERT_LE(0, r.file);
		for (i = 0; i < LATE_PAGES; i += LATE_STEP)
			ASSERT_EQ(0, lu_fill(r.file, i * LU_PAGE, LU_PAGE, i));
		session = lu_create(self->dev, "late");
		ASSERT_LE(0, session);
		ASSERT_EQ(0, lu_preserve(session, r.file, 1));
		fill_with_faults(_metadata, self, &r);

		/* A page for words may stay, for the next one: all else is the same. */
		exhaust_words(_metadata, &r);
		for (nth = 1;; nth++) {
			lu_memory(before);
			ASSERT_EQ(0, lu_fault_arm(self->nth, nth));
			err = send_write(&r);
			if (!err) {
				lu_fault_came(self->nth);
				break;
			}
			ASSERT_EQ(-ENOMEM, err);
			ASSERT_TRUE(lu_fault_came(self->nth));
			ASSERT_STREQ(before, lu_memory(after));
			failed++;
		}
		printf("# a page of words: %d faults fatal\n", failed);
		EXPECT_LT(0, failed);
		EXPECT_EQ(0, lu_leaks());
		ASSERT_EQ(0, lu_checksum(r.file, &sum));
		snprintf(note, sizeof(note), "lu.sum=%#jx lu.blocks=%ju",
			 (uintmax_t)sum, (uintmax_t)lu_blocks(r.file));
		/* Not 2: there, sessions are read in without memory. */
		LU_KEXEC_WITH(3, note);
	}
	session = lu_retrieve(self->dev, "late");
	ASSERT_LE(0, session);
	r.file = lu_retrieve_fd(session, 1);
	ASSERT_LE(0, r.file);
	EXPECT_EQ((blkcnt_t)lu_param_u64("lu.blocks"), lu_blocks(r.file));
	ASSERT_EQ(0, lu_checksum(r.file, &sum));
	EXPECT_EQ(lu_param_u64("lu.sum"), sum);
	for (i = 0; i < LATE_PAGES; i += LATE_STEP)
		ASSERT_EQ(0, lu_check(r.file, i * LU_PAGE, LU_PAGE, i));
	EXPECT_EQ(0, lu_finish(session));
}
