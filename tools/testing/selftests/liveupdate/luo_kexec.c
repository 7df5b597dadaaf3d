// SPDX-License-Identifier: GPL-2.0
/*
 * Images that cannot take over, the old system call, and Debian's kexec-tools.
 * After a refused reboot the system runs on with its sessions, and a good
 * image still does it.
 */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <syslog.h>

#include "lu_harness.h"

#define SIZE	LU_MIB

FIXTURE(kexec)
{
	int dev;
	int stage;
	int session;
};

FIXTURE_SETUP(kexec)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	self->session = -1;
	/* The last kernel of some tests has no live update. */
	self->dev = lu_open_dev();
	if (self->stage == 1)
		ASSERT_LE(0, self->dev);
}

FIXTURE_TEARDOWN(kexec)
{
	lu_unload();
	close(self->session);
	close(self->dev);
}

#define KEXEC(name)		TEST_F_TIMEOUT(kexec, name, LU_TIMEOUT)

static int preserve_one(FIXTURE_DATA(kexec) * self, uint64_t token)
{
	int fd = lu_memfd("m", SIZE, token), err;

	if (fd < 0)
		return fd;
	if (self->session < 0)
		self->session = lu_create(self->dev, "kexec");
	err = lu_preserve(self->session, fd, token);
	close(fd);
	return err;
}

/* The last stage: files of these tokens came over. */
static void arrive(struct __test_metadata *_metadata, FIXTURE_DATA(kexec) * self, int tokens)
{
	int fd, i;

	ASSERT_LE(0, self->dev);
	self->session = lu_retrieve(self->dev, "kexec");
	ASSERT_LE(0, self->session);
	for (i = 0; i < tokens; i++) {
		fd = lu_retrieve_fd(self->session, i);
		ASSERT_LE(0, fd);
		EXPECT_EQ(0, lu_check(fd, 0, SIZE, i));
	}
	EXPECT_EQ(0, lu_finish(self->session));
}

/* As reboot(2) refused it: nothing has changed, and more can be preserved. */
static void go_on(struct __test_metadata *_metadata, FIXTURE_DATA(kexec) * self)
{
	char name[LIVEUPDATE_SESSION_NAME_LENGTH];
	int fd = lu_memfd("late", SIZE, 1), hole = memfd_create("hole", 0);

	ASSERT_LE(0, fd);
	ASSERT_LE(0, hole);
	ASSERT_EQ(0, lu_get_name(self->session, name));
	EXPECT_STREQ("kexec", name);
	EXPECT_EQ(-EEXIST, lu_preserve(self->session, fd, 0));
	ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
	EXPECT_EQ(0, lu_fill(fd, 0, SIZE, 2));
	EXPECT_EQ(0, lu_fill(fd, 0, SIZE, 1));
	close(lu_create(self->dev, "another"));
	LU_KEXEC(2);
}

KEXEC(no_image)
{
	if (self->stage == 1) {
		ASSERT_EQ(0, preserve_one(self, 0));
		EXPECT_EQ(-EINVAL, lu_jump());
		go_on(_metadata, self);
	}
	arrive(_metadata, self, 2);
}

KEXEC(old_system_call_refused)
{
	if (self->stage == 1) {
		ASSERT_EQ(0, lu_load_old());
		ASSERT_EQ(0, preserve_one(self, 0));
		EXPECT_EQ(-EOPNOTSUPP, lu_jump());
		EXPECT_EQ(-EOPNOTSUPP, lu_jump());
		go_on(_metadata, self);
	}
	arrive(_metadata, self, 2);
}

/* With nothing to lose the old system call is as good as ever. */
KEXEC(old_system_call_with_nothing_to_lose)
{
	if (self->stage == 1) {
		ASSERT_EQ(0, lu_load_tools("-c", 2));
		ASSERT_EQ(0, preserve_one(self, 0));
		EXPECT_EQ(-EOPNOTSUPP, lu_jump());
		close(self->session);
		LU_JUMP();
	}
	ASSERT_LE(0, self->dev);
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "kexec"));
	EXPECT_EQ(0, preserve_one(self, 0));
}

/* Live update is on in the second kernel, and nobody has looked for sessions. */
FIXTURE(unseen)
{
};

FIXTURE_SETUP(unseen)
{
	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
}

FIXTURE_TEARDOWN(unseen)
{
}

/* An update that brought no session leaves nothing to lose. */
TEST_F_TIMEOUT(unseen, nothing_came_in, LU_TIMEOUT)
{
	int dev;

	if (lu_stage() == 1)
		LU_KEXEC(2);
	if (lu_stage() == 2) {
		EXPECT_EQ(0, lu_load(3, "kho=off"));
		EXPECT_EQ(0, lu_unload());
		ASSERT_EQ(0, lu_load_tools("-c", 3));
		LU_JUMP();
	}
	dev = lu_open_dev();
	ASSERT_LE(0, dev);
	close(dev);
}

/* kexec -s -l, then kexec -e, with a session held by this process. */
KEXEC(kexec_tools)
{
	static char * const jump[] = { "kexec", "-e", NULL };

	if (self->stage == 1) {
		ASSERT_EQ(0, lu_load_tools("-s", 2));
		ASSERT_EQ(0, preserve_one(self, 0));
		ASSERT_EQ(0, preserve_one(self, 1));
		ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
		/* A program that came back has not done it. */
		ASSERT_EQ(-1, lu_run(jump));
	}
	arrive(_metadata, self, 2);
}

/* The next kernel would come up without KHO and use all memory. */
KEXEC(next_kernel_without_kho)
{
	if (self->stage == 1) {
		ASSERT_EQ(0, lu_load(2, "kho=off"));
		ASSERT_EQ(0, preserve_one(self, 0));
		EXPECT_EQ(-EOPNOTSUPP, lu_jump());
		/* It is known before the jump, too. */
		EXPECT_EQ(-EOPNOTSUPP, lu_load(2, "kho=off"));
		go_on(_metadata, self);
	}
	arrive(_metadata, self, 2);
}

KEXEC(next_kernel_without_live_update)
{
	if (self->stage == 1) {
		ASSERT_EQ(0, lu_load(2, "liveupdate=off"));
		ASSERT_EQ(0, preserve_one(self, 0));
		EXPECT_EQ(-EOPNOTSUPP, lu_jump());
		EXPECT_EQ(-EOPNOTSUPP, lu_load(2, "liveupdate=off"));
		go_on(_metadata, self);
	}
	arrive(_metadata, self, 2);
}

KEXEC(next_kernel_without_kho_and_nothing_to_lose)
{
	if (self->stage == 1)
		LU_KEXEC_WITH(2, "kho=off");
	EXPECT_EQ(-ENOENT, self->dev);
}

static int load_files(int kernel, int initrd, const char *line)
{
	return syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line, 0UL) ?
	       -errno : 0;
}

/* Bytes of the largest area of scratch. */
static uint64_t largest_area(void)
{
	FILE *f = fopen("/sys/kernel/debug/kho/out/scratch", "re");
	uint64_t addr, size, largest = 0;

	while (f && fscanf(f, "%ji %ji", (intmax_t *)&addr, (intmax_t *)&size) == 2)
		largest = size > largest ? size : largest;
	if (f)
		fclose(f);
	return largest;
}

static int copy_file(const char *from_path, const char *to_path)
{
	int from = open(from_path, O_RDONLY | O_CLOEXEC);
	int to = open(to_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char buf[LU_PAGE * 16];
	ssize_t n = -1;

	while (from >= 0 && to >= 0 && (n = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, n) != n)
			break;
	close(from);
	return n ? -EIO : to;
}

/* A copy of an image to change, and where in it its kernel_info is. */
struct copy {
	char *image;
	char *info;
	size_t size;
};

static int copy_image(const char *from_path, const char *to_path, struct copy *copy)
{
	struct stat st;
	int from = open(from_path, O_RDONLY | O_CLOEXEC);
	int fd = open(to_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t info;

	if (from < 0 || fd < 0 || fstat(from, &st) || ftruncate(fd, st.st_size))
		return -errno;
	copy->size = st.st_size;
	copy->image = mmap(NULL, copy->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (copy->image == MAP_FAILED)
		return -errno;
	if (pread(from, copy->image, copy->size, 0) != st.st_size)
		return -EIO;
	close(fd);
	close(from);
	/* kernel_info_offset of the setup header; the kernel follows the setup. */
	info = ((unsigned char)copy->image[0x1f1] ?: 4) * 512 + 512 +
	       *(uint32_t *)(copy->image + 0x268);
	copy->info = copy->image + info;
	return info + 1024 > copy->size || memcmp(copy->info, "LToP", 4) ? -EILSEQ : 0;
}

/* Replace a string of the list in kernel_info, or the list's tag, by no longer one. */
static int replace(struct copy *copy, const char *was, const char *is)
{
	char *at = memmem(copy->info, 1024, was, strlen(was));

	if (!at || strlen(is) > strlen(was))
		return -EINVAL;
	memset(at, 0, strlen(was));
	memcpy(at, is, strlen(is));
	munmap(copy->image, copy->size);
	return 0;
}

/*
 * Refused at the reboot and when it is loaded, with a line that has @why in it;
 * then a good image does it.
 */
static void refused(struct __test_metadata *_metadata, FIXTURE_DATA(kexec) * self,
		    const char *image, const char *more, const char *why)
{
	char line[2048];

	ASSERT_EQ(0, lu_cmdline(line, sizeof(line), 2, more));
	/* There is nothing to lose yet. */
	ASSERT_EQ(0, lu_load_image(image, line));
	ASSERT_EQ(0, lu_log_lines(why, LOG_ERR));
	ASSERT_EQ(0, preserve_one(self, 0));
	EXPECT_EQ(-EOPNOTSUPP, lu_jump());
	EXPECT_EQ(1, lu_log_lines(why, LOG_ERR));
	EXPECT_EQ(-EOPNOTSUPP, lu_load_image(image, line));
	EXPECT_EQ(2, lu_log_lines(why, LOG_ERR));
}

static const char knows_nothing[] = "the image does not know Kexec Handover; load";

/*
 * An image whose header says that it knows nothing of KHO: what a kernel without
 * the option, or an older one, looks like.
 */
KEXEC(next_kernel_that_knows_no_kho)
{
	static const char image[] = "/ignorant-image";
	struct copy copy;

	if (self->stage == 1) {
		ASSERT_EQ(0, copy_image(lu_next_image(), image, &copy));
		/* setup_type_max: only what comes before SETUP_KEXEC_KHO. */
		*(uint32_t *)(copy.info + 12) = 1U << 31 | 9;
		munmap(copy.image, copy.size);
		refused(_metadata, self, image, NULL, knows_nothing);
		unlink(image);
		go_on(_metadata, self);
	}
	arrive(_metadata, self, 2);
}

/* A kernel of another time, that reads another layout. */
KEXEC(next_kernel_of_another_format)
{
	static const char image[] = "/old-image";
	struct copy copy;

	if (self->stage == 1) {
		ASSERT_EQ(0, copy_image(lu_next_image(), image, &copy));
		ASSERT_EQ(0, replace(&copy, "luo-session-v1c", "luo-session-v0"));
		refused(_metadata, self, image, NULL,
			"the image does not read 'luo-session-v1c'; load");
		unlink(image);
		go_on(_metadata, self);
	}
	arrive(_metadata, self, 2);
}

/* One that reads all but the layout of the files that are kept. */
KEXEC(next_kernel_without_memfds)
{
	static const char image[] = "/old-image";
	struct copy copy;

	if (self->stage == 1) {
		ASSERT_EQ(0, copy_image(lu_next_image(), image, &copy));
		ASSERT_EQ(0, replace(&copy, "memfd-extent-v1", "memfd-extent-v0"));
		refused(_metadata, self, image, NULL,
			"the image does not read 'memfd-extent-v1'; load");
		unlink(image);
		go_on(_metadata, self);
	}
	arrive(_metadata, self, 2);
}

/*
 * An image that scratch has no room for. With nothing to lose it is loaded as ever,
 * elsewhere; with something it is not, nor is the reboot into it.
 */
KEXEC(next_kernel_too_large)
{
	static const char image[] = "/host/initrd", large[] = "/large-initrd";
	int kernel, initrd;
	char line[2048];

	if (self->stage == 2) {
		ASSERT_LE(0, self->dev);
		EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "kexec"));
		EXPECT_EQ(0, preserve_one(self, 0));
		return;
	}
	kernel = open(lu_next_image(), O_RDONLY | O_CLOEXEC);
	initrd = copy_file(image, large);
	ASSERT_LE(0, kernel);
	ASSERT_LE(0, initrd);
	/* The kernel passes over zeroes between archives, and behind them. */
	ASSERT_EQ(0, ftruncate(initrd, lu_size(initrd) + largest_area()));
	/* Nobody may have it open for writing. */
	close(initrd);
	initrd = open(large, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, initrd);
	ASSERT_EQ(0, lu_cmdline(line, sizeof(line), 2, NULL));
	ASSERT_EQ(0, preserve_one(self, 0));
	EXPECT_EQ(-EADDRNOTAVAIL, load_files(kernel, initrd, line));
	EXPECT_EQ(1, lu_log_lines("of the next image in scratch, boot with", LOG_ERR));
	close(self->session);
	ASSERT_EQ(0, load_files(kernel, initrd, line));
	unlink(large);
	close(initrd);
	EXPECT_EQ(1, lu_log_lines("it is loaded elsewhere", LOG_WARNING));
	self->session = -1;
	ASSERT_EQ(0, preserve_one(self, 0));
	EXPECT_EQ(-EOPNOTSUPP, lu_jump());
	EXPECT_EQ(1, lu_log_lines("scratch had no room for the image", LOG_ERR));
	close(self->session);
	LU_JUMP();
}

/* Another build, whose list is another: what counts is that it reads the layouts. */
KEXEC(next_kernel_of_another_build)
{
	static const char image[] = "/other-image";
	struct copy copy;
	char line[2048];

	if (self->stage == 1) {
		ASSERT_EQ(0, copy_image(lu_next_image(), image, &copy));
		ASSERT_EQ(0, replace(&copy, "kho=off", "kho-v3"));
		ASSERT_EQ(0, preserve_one(self, 0));
		ASSERT_EQ(0, lu_cmdline(line, sizeof(line), 2, NULL));
		ASSERT_EQ(0, lu_load_image(image, line));
		ASSERT_EQ(0, preserve_one(self, 1));
		LU_JUMP();
	}
	arrive(_metadata, self, 2);
}

/*
 * An image that knows KHO and does not say what it reads, as other trees have it, is
 * refused; who knows better can have it.
 */
KEXEC(next_kernel_that_does_not_say)
{
	static const char image[] = "/silent-image";
	static const char allow[] = "/sys/module/liveupdate/parameters/allow_unknown_image";
	struct copy copy;

	if (self->stage == 1) {
		ASSERT_EQ(0, copy_image(lu_next_image(), image, &copy));
		ASSERT_EQ(0, replace(&copy, "LKHO", "????"));
		refused(_metadata, self, image, NULL,
			"set liveupdate.allow_unknown_image=1 if you know that it can");
		ASSERT_EQ(0, lu_write_file(allow, "1"));
		ASSERT_EQ(0, preserve_one(self, 1));
		LU_JUMP();
	}
	arrive(_metadata, self, 2);
}

/*
 * To a kernel that was built otherwise (lu.other= says which) and back: its memory
 * management may have other page blocks, other orders, other nodes.
 */
KEXEC(there_and_back)
{
	char other[64], line[2048];
	int i, fd[4], came = self->stage - 1;

	ASSERT_TRUE(lu_param("lu.other", other, sizeof(other)));
	ASSERT_LE(0, self->dev);
	if (came) {
		self->session = lu_retrieve(self->dev, "kexec");
		ASSERT_LE(0, self->session);
		for (i = 0; i < came; i++) {
			fd[i] = lu_retrieve_fd(self->session, i);
			ASSERT_LE(0, fd[i]);
			EXPECT_EQ(0, lu_check(fd[i], 0, SIZE, i));
		}
		EXPECT_EQ(0, lu_finish(self->session));
		close(self->session);
		self->session = -1;
	}
	if (came == 2)
		return;
	ASSERT_EQ(0, preserve_one(self, came));
	for (i = 0; i < came; i++)
		ASSERT_EQ(0, lu_preserve(self->session, fd[i], i));
	ASSERT_EQ(0, lu_cmdline(line, sizeof(line), self->stage + 1, NULL));
	ASSERT_EQ(0, lu_load_image(came ? "/host/bzImage-a" : other, line));
	LU_JUMP();
}

/* Debian's own kernel, as it is. */
KEXEC(next_kernel_is_debians)
{
	static const char image[] = "/host/bzImage-debian";

	if (self->stage == 1) {
		refused(_metadata, self, image, NULL, knows_nothing);
		go_on(_metadata, self);
	}
	arrive(_metadata, self, 2);
}

/* With nothing to lose it may as well be started, and runs. */
KEXEC(next_kernel_is_debians_and_nothing_to_lose)
{
	char line[2048];
	struct utsname u;

	if (self->stage == 1) {
		ASSERT_EQ(0, preserve_one(self, 0));
		close(self->session);
		ASSERT_EQ(0, lu_cmdline(line, sizeof(line), 2, NULL));
		ASSERT_EQ(0, lu_load_image("/host/bzImage-debian", line));
		LU_JUMP();
	}
	EXPECT_EQ(-ENOENT, self->dev);
	ASSERT_EQ(0, uname(&u));
	EXPECT_NE(NULL, strstr(u.release, "cloud-amd64"))
		TH_LOG("%s", u.release);
}

/*
 * Memory that the next kernel would not see. What this kernel itself was told (the
 * guest has a memmap= of its own) is no reason.
 */
KEXEC(next_kernel_with_less_memory)
{
	static const char why[] = "than this kernel, which may hide some of it; load";

	if (self->stage == 1) {
		refused(_metadata, self, lu_next_image(), "mem=256M", why);
		EXPECT_EQ(-EOPNOTSUPP, lu_load(2, "memmap=64K$32M memmap=8M$64M"));
		EXPECT_EQ(3, lu_log_lines(why, LOG_ERR));
		go_on(_metadata, self);
	}
	arrive(_metadata, self, 2);
}

/* It finds a handover whose memory is not there, and goes on without it. */
KEXEC(next_kernel_with_less_memory_and_nothing_to_lose)
{
	if (self->stage == 1) {
		ASSERT_EQ(0, preserve_one(self, 0));
		close(self->session);
		LU_KEXEC_WITH(2, "mem=256M");
	}
	ASSERT_LE(0, self->dev);
	EXPECT_EQ(1, lu_log_lines("the previous kernel's state is lost", LOG_ERR));
	EXPECT_EQ(-ENOENT, lu_retrieve(self->dev, "kexec"));
	EXPECT_EQ(0, preserve_one(self, 0));
}
