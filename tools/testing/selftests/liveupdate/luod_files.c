// SPDX-License-Identifier: GPL-2.0
/*
 * The agent and the descriptors that come to it: files of somebody who does not
 * answer, and images that have to wait.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lu_harness.h"
#include "luod_slow.h"
#include "luod_util.h"

#define ALICE	1000
#define BOB	1001

#define ATTACH	"{\"op\":\"attach\"}\n"

/* Connections of a user, and so descriptors of a user that cannot be closed. */
#define MOST	6

static int open_file(void)
{
	return open(LUOD_SLOW "/file", O_RDWR | O_CLOEXEC);
}

/* Send a file whose last descriptor is the receiver's; it is stopped meanwhile. */
static int give_file(pid_t to, struct luod_client *client, const char *line)
{
	int fd = open_file(), err;

	if (fd < 0 || kill(to, SIGSTOP))
		return -errno;
	err = luod_send(client, line, &fd, 1);
	close(fd);
	return kill(to, SIGCONT) ? -errno : err;
}

FIXTURE(luod)
{
	pid_t pid;
	int fds;
	struct luod_client root, a, b;
};

FIXTURE_SETUP(luod)
{
	static char *const args[] = { "--stall-ms=3000", "--connections-per-user=6", NULL };

	if (!lu_stage())
		SKIP(return, "alone with the agent in a guest only");
	ASSERT_EQ(0, luod_slow_start(""));
	self->pid = luod_begin(args, &self->root, LUOD_HELLO, &self->fds);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	ASSERT_EQ(0, luod_connect(&self->b, BOB));
}

/* With the server gone, nothing waits any more, and nothing is left. */
FIXTURE_TEARDOWN(luod)
{
	luod_slow_stop();
	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	EXPECT_TRUE(luod_await_children(self->pid, 0));
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds));
	EXPECT_EQ(0, luod_stop(self->pid, SIGTERM));
}

#define FILES_TEST(name)	TEST_F_TIMEOUT(luod, name, LU_TIMEOUT)

/* Whoever closes it waits, and that is not luod. */
FILES_TEST(file_that_cannot_be_closed)
{
	luod_slow_hold(true);
	ASSERT_EQ(0, give_file(self->pid, &self->a, ATTACH));
	ASSERT_EQ(0, luod_receive(&self->a));
	EXPECT_TRUE(luod_has(&self->a, "this is not a session"));
	ASSERT_TRUE(luod_slow_holds(1));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	/* With a request that takes none, and with half of one. */
	ASSERT_EQ(0, give_file(self->pid, &self->a, LUOD_HELLO));
	ASSERT_EQ(0, luod_receive(&self->a));
	EXPECT_TRUE(luod_has(&self->a, "\"ok\":true"));
	ASSERT_EQ(0, give_file(self->pid, &self->a, "{\"op\":"));
	ASSERT_TRUE(luod_slow_holds(3));
	EXPECT_EQ(0, luod_ask(&self->a, "\"hello\"}\n"));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_HELLO));
	EXPECT_EQ(3, luod_children(self->pid));
}

/* One user can have so many of them, and others do not notice. */
FILES_TEST(many_that_cannot_be_closed)
{
	int i;

	luod_slow_hold(true);
	for (i = 0; i < MOST; i++) {
		ASSERT_EQ(0, give_file(self->pid, &self->a, ATTACH));
		ASSERT_EQ(0, luod_receive(&self->a));
	}
	ASSERT_TRUE(luod_slow_holds(MOST));
	ASSERT_EQ(0, give_file(self->pid, &self->a, ATTACH));
	ASSERT_EQ(0, luod_receive(&self->a));
	EXPECT_TRUE(luod_has(&self->a, "EDQUOT"));
	EXPECT_TRUE(luod_ended(&self->a));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	ASSERT_EQ(0, give_file(self->pid, &self->b, ATTACH));
	ASSERT_EQ(0, luod_receive(&self->b));
	EXPECT_TRUE(luod_has(&self->b, "this is not a session"));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_HELLO));
}

/* All users together, likewise; root is not one of them. */
FILES_TEST(many_of_all_users)
{
	static char *const few[] = { "--connections=8", NULL };
	struct luod_client c;

	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	EXPECT_EQ(0, luod_stop(self->pid, SIGTERM));
	self->pid = luod_start(few);
	ASSERT_LT(0, self->pid);
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	ASSERT_EQ(0, luod_connect(&self->b, BOB));
	ASSERT_EQ(0, luod_connect(&c, BOB + 1));
	luod_slow_hold(true);
	ASSERT_EQ(0, give_file(self->pid, &self->a, ATTACH));
	ASSERT_EQ(0, give_file(self->pid, &self->b, ATTACH));
	ASSERT_TRUE(luod_slow_holds(2));
	ASSERT_EQ(0, give_file(self->pid, &c, ATTACH));
	ASSERT_EQ(0, luod_receive(&c));
	EXPECT_TRUE(luod_has(&c, "EDQUOT"));
	luod_leave(&c);
	ASSERT_EQ(0, luod_send(&self->root, ATTACH, (int []){ 0 }, 1));
	ASSERT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "this is not a session"));
}

/* luod dies and is started again: its children have nothing that is luod's. */
FILES_TEST(luod_killed_meanwhile)
{
	int session = luod_session(&self->b, "vm");

	ASSERT_LE(0, session);
	luod_slow_hold(true);
	ASSERT_EQ(0, give_file(self->pid, &self->a, ATTACH));
	ASSERT_TRUE(luod_slow_holds(1));
	EXPECT_EQ(128 + SIGKILL, luod_stop(self->pid, SIGKILL));
	EXPECT_TRUE(luod_ended(&self->a));
	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	self->pid = luod_start(NULL);
	ASSERT_LT(0, self->pid);
	close(session);
	ASSERT_EQ(0, luod_connect(&self->b, BOB));
	EXPECT_LE(0, luod_session(&self->b, "vm"));
}

/*
 * luod is told to end, with a file in a connection: it does not wait for it. There
 * is so much before the file that luod does not come to it.
 */
FILES_TEST(luod_told_to_end_meanwhile)
{
	static char much[15000];

	memset(much, ' ', sizeof(much) - 1);
	luod_slow_hold(true);
	ASSERT_EQ(0, kill(self->pid, SIGSTOP));
	ASSERT_EQ(0, kill(self->pid, SIGTERM));
	ASSERT_EQ(0, luod_send(&self->a, much, NULL, 0));
	ASSERT_EQ(0, give_file(self->pid, &self->a, " "));
	EXPECT_EQ(0, luod_wait(self->pid));
	ASSERT_TRUE(luod_slow_holds(1));
	EXPECT_TRUE(luod_ended(&self->a));
	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	self->pid = luod_start(NULL);
	ASSERT_LT(0, self->pid);
}

/* A connection that is turned away, with a file in it that nobody has read. */
FILES_TEST(file_that_nobody_read)
{
	struct luod_client c[MOST];
	int i;

	for (i = 0; i < MOST - 1; i++) {
		ASSERT_EQ(0, luod_connect(&c[i], ALICE));
		ASSERT_EQ(0, luod_ask(&c[i], LUOD_HELLO));
	}
	ASSERT_EQ(0, kill(self->pid, SIGSTOP));
	ASSERT_EQ(0, luod_connect(&c[i], ALICE));
	luod_slow_hold(true);
	ASSERT_EQ(0, give_file(self->pid, &c[i], " "));
	ASSERT_TRUE(luod_slow_holds(1));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	EXPECT_TRUE(luod_ended(&c[i]));
	for (i = 0; i < MOST; i++)
		luod_leave(&c[i]);
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
}

/* Sessions come through, each in its place. */
FILES_TEST(sessions_among_files)
{
	int session = luod_session(&self->a, "vm"), fds[2];

	ASSERT_LE(0, session);
	luod_leave(&self->a);
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fds[1] = session;
	EXPECT_EQ(-EINVAL, luod_ask_with(&self->a, ATTACH, fds, 2));
	EXPECT_TRUE(luod_has(&self->a, "this is not a session"));
	fds[1] = fds[0];
	fds[0] = session;
	EXPECT_EQ(0, luod_ask_with(&self->a, ATTACH, fds, 2));
	EXPECT_TRUE(luod_has(&self->a, "\"name\":\"vm\""));
}

/* A byte out of band is a byte, and no reason to look at it for ever. */
FILES_TEST(urgent_byte)
{
	ASSERT_EQ(1, send(self->a.fd, " ", 1, MSG_OOB));
	EXPECT_EQ(0, luod_ask(&self->a, LUOD_HELLO));
	ASSERT_EQ(1, send(self->a.fd, "x", 1, MSG_OOB));
	EXPECT_EQ(-EBADMSG, luod_ask(&self->a, "\n"));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
}

#define LINE(op, kho)	"{\"op\":\"" op "\",\"cmdline\":\"kho=" kho " liveupdate=on\"}\n"

/* luod keeps it, with its journal and the journal's session. */
#define LOADED_FDS	3
#define JOURNAL_FDS	2

/* Somebody has the device: the image waits with its request. */
FILES_TEST(image_while_the_device_is_busy)
{
	int kernel = open("/host/bzImage-b", O_RDONLY | O_CLOEXEC), dev;

	ASSERT_LE(0, kernel);
	dev = lu_open_dev();
	ASSERT_LE(0, dev);
	ASSERT_EQ(0, luod_send(&self->root, LINE("check", "on"), &kernel, 1));
	EXPECT_EQ(0, luod_ask(&self->b, LUOD_HELLO));
	/* It has come in, with its line. */
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + 4));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_HELLO));
	close(dev);
	EXPECT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "\"ok\":true"));
	EXPECT_EQ('0', luod_loaded());
	/* That was a question: nothing is kept, and no other image is refused. */
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + 3));
	EXPECT_EQ(0, lu_load_image("/host/bzImage-b", "kho=off"));
	EXPECT_EQ(0, lu_unload());

	do {
		dev = lu_open_dev();
	} while (dev == -EBUSY);
	ASSERT_LE(0, dev);
	ASSERT_EQ(0, luod_send(&self->root, LINE("load", "on"), &kernel, 1));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_HELLO));
	close(dev);
	EXPECT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "\"ok\":true"));
	EXPECT_EQ('1', luod_loaded());
	EXPECT_EQ(0, lu_unload());
	/* When luod looks, it gives up its copy. */
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	self->fds += JOURNAL_FDS;
}

/* It goes away while its image waits. */
FILES_TEST(image_of_one_who_goes_away)
{
	int kernel = open("/host/bzImage-b", O_RDONLY | O_CLOEXEC), dev;
	struct luod_client c;

	ASSERT_LE(0, kernel);
	dev = lu_open_dev();
	ASSERT_LE(0, dev);
	ASSERT_EQ(0, luod_connect(&c, 0));
	ASSERT_EQ(0, luod_send(&c, LINE("load", "on"), &kernel, 1));
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + 5));
	luod_leave(&c);
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + 3));
	close(dev);
	EXPECT_EQ(0, luod_ask(&self->root, "{\"op\":\"sessions\"}\n"));
	EXPECT_EQ('0', luod_loaded());
}

static int copy_file(const char *from, const char *to)
{
	char *const argv[] = { "/bin/cp", (char *)from, (char *)to, NULL };

	return lu_run(argv);
}

/* A slow file system, and others who want the device: they have it meanwhile. */
FILES_TEST(image_that_is_slow)
{
	int fd = open_file(), dev;

	ASSERT_LE(0, fd);
	luod_slow_hold(true);
	ASSERT_EQ(0, luod_send(&self->root, LINE("load", "on"), &fd, 1));
	ASSERT_TRUE(luod_slow_holds(1));
	dev = lu_open_dev();
	EXPECT_LE(0, dev);
	close(dev);
	close(fd);
	/* Nobody waits for it any more: it is no image. */
	luod_slow_stop();
	ASSERT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "\"ok\":false"));
	ASSERT_EQ(0, luod_slow_start(""));
}

/* As large as no kernel is: luod does not fill the memory with it. */
FILES_TEST(image_that_is_large)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 3L << 30));
	ASSERT_EQ(0, luod_send(&self->root, LINE("load", "on"), &fd, 1));
	ASSERT_EQ(0, luod_receive(&self->root));
	EXPECT_TRUE(luod_has(&self->root, "\"ENOMEM\""));
	EXPECT_EQ('0', luod_loaded());
}

/* Files of luod's in memory; -EACCES if one of them could be run. */
static int files_in_memory(pid_t pid)
{
	char path[64], link[64] = "";
	struct stat st;
	int i, n = 0;

	for (i = 0; i < 256; i++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, i);
		if (readlink(path, link, sizeof(link) - 1) < 0 || strncmp(link, "/memfd:", 7))
			continue;
		if (stat(path, &st) || st.st_mode & 0111)
			return -EACCES;
		n++;
	}
	return n;
}

/* The image and the journal: with vm.memfd_noexec=2 there would be none otherwise. */
FILES_TEST(image_that_cannot_be_run)
{
	int kernel = open("/host/bzImage-b", O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, kernel);
	EXPECT_EQ(0, luod_ask_with(&self->root, LINE("load", "on"), &kernel, 1));
	EXPECT_EQ(2, files_in_memory(self->pid));
	EXPECT_EQ(0, lu_unload());
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	self->fds += JOURNAL_FDS;
}

#define BOOT	"/tmp/boot"

/* What was loaded is luod's: its file can change, and its file system go. */
FILES_TEST(image_that_changes_when_it_is_loaded)
{
	int kernel = open("/host/bzImage-b", O_RDONLY | O_CLOEXEC), copy;

	mkdir(BOOT, 0755);
	ASSERT_EQ(0, mount("boot", BOOT, "tmpfs", 0, NULL));
	ASSERT_EQ(0, copy_file("/host/bzImage-b", BOOT "/image"));
	copy = open(BOOT "/image", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, kernel);
	ASSERT_LE(0, copy);
	ASSERT_EQ(0, luod_ask_with(&self->root, LINE("load", "on"), &copy, 1));
	close(copy);
	EXPECT_TRUE(luod_await_fds(self->pid, self->fds + 3 + LOADED_FDS));
	ASSERT_EQ(0, truncate(BOOT "/image", 512));
	EXPECT_EQ(0, luod_ask_with(&self->root, LINE("check", "on"), &kernel, 1));
	EXPECT_EQ('1', luod_loaded());
	EXPECT_EQ(0, umount(BOOT));
	EXPECT_EQ(0, luod_ask_with(&self->root, LINE("check", "on"), &kernel, 1));
	EXPECT_EQ('1', luod_loaded());
	EXPECT_EQ(0, lu_unload());
	/* When luod looks, it gives up its copy. */
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	self->fds += JOURNAL_FDS;
}

/*
 * A check finds that what was loaded cannot be loaded again: the trial goes, too.
 * There was no room for a copy of it.
 */
FILES_TEST(trial_does_not_stay)
{
	static const struct rlimit little = { 65536, RLIM_INFINITY };
	int kernel = open("/host/bzImage-b", O_RDONLY | O_CLOEXEC), copy;

	/* With its journal. */
	ASSERT_EQ(0, luod_ask_with(&self->root, LINE("load", "on"), &kernel, 1));
	ASSERT_EQ(0, prlimit(self->pid, RLIMIT_FSIZE, &little, NULL));
	ASSERT_EQ(0, copy_file("/host/bzImage-b", "/tmp/image"));
	copy = open("/tmp/image", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, kernel);
	ASSERT_LE(0, copy);
	close(copy);
	copy = open("/tmp/image", O_RDONLY | O_CLOEXEC);
	ASSERT_EQ(0, luod_ask_with(&self->root, LINE("load", "on"), &copy, 1));
	EXPECT_TRUE(luod_said("the files of the image stay open"));
	EXPECT_EQ(-EOPNOTSUPP, luod_ask_with(&self->root, LINE("check", "off"), &kernel, 1));
	EXPECT_EQ('1', luod_loaded());
	ASSERT_EQ(0, truncate("/tmp/image", 512));
	EXPECT_EQ(-ESTALE, luod_ask_with(&self->root, LINE("check", "on"), &kernel, 1));
	EXPECT_EQ('0', luod_loaded());
	EXPECT_EQ(-ENOEXEC, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_NE(0, access("/run/luod.trial", F_OK));
	unlink("/tmp/image");
	/* Nor does the journal, for which other images would be refused. */
	EXPECT_EQ(0, lu_load_image("/host/bzImage-b", "kho=off"));
	EXPECT_EQ(0, lu_unload());
}

/* There is no place for the mark by which the next luod would know: no trial. */
FILES_TEST(trial_without_its_mark)
{
	int kernel = open("/host/bzImage-b", O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, kernel);
	ASSERT_EQ(0, mkdir("/run/luod.trial", 0700));
	EXPECT_NE(0, luod_ask_with(&self->root, LINE("check", "on"), &kernel, 1));
	EXPECT_TRUE(luod_has(&self->root, "EISDIR"));
	EXPECT_TRUE(luod_said("without a mark: /run/luod.trial: Is a directory"));
	EXPECT_EQ('0', luod_loaded());
	EXPECT_EQ(0, rmdir("/run/luod.trial"));
	EXPECT_EQ(0, luod_ask_with(&self->root, LINE("check", "on"), &kernel, 1));
	EXPECT_EQ('0', luod_loaded());
}

/* luod died while a trial was loaded: the next one does not go into it. */
FILES_TEST(trial_of_a_dead_luod)
{
	EXPECT_EQ(128 + SIGKILL, luod_stop(self->pid, SIGKILL));
	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	ASSERT_EQ(0, lu_load_image("/host/bzImage-b", "kho=on liveupdate=on"));
	ASSERT_EQ(0, close(open("/run/luod.trial", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
	self->pid = luod_start(NULL);
	ASSERT_LT(0, self->pid);
	EXPECT_EQ('0', luod_loaded());
	EXPECT_NE(0, access("/run/luod.trial", F_OK));
	EXPECT_TRUE(luod_said("the last luod died while it checked an image"));
}

/* It loads what the server does not give it, and keeps others from it meanwhile. */
static void *slow_loader(void *arg)
{
	lu_load_image(LUOD_SLOW "/file", "");
	return NULL;
}

/* It cannot be unloaded, and what is loaded afterwards is somebody else's. */
FILES_TEST(trial_while_another_loads)
{
	pthread_t loader;

	EXPECT_EQ(128 + SIGKILL, luod_stop(self->pid, SIGKILL));
	luod_leave(&self->root);
	luod_leave(&self->a);
	luod_leave(&self->b);
	ASSERT_EQ(0, close(open("/run/luod.trial", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
	luod_slow_hold(true);
	ASSERT_EQ(0, pthread_create(&loader, NULL, slow_loader, NULL));
	ASSERT_TRUE(luod_slow_holds(1));
	self->pid = luod_start(NULL);
	ASSERT_LT(0, self->pid);
	EXPECT_TRUE(luod_said("no update until one is loaded by luod"));
	EXPECT_NE(0, access("/run/luod.trial", F_OK));
	luod_slow_stop();
	pthread_join(loader, NULL);
	ASSERT_EQ(0, luod_slow_start(""));

	ASSERT_EQ(0, lu_load_image("/host/bzImage-b", "kho=on liveupdate=on"));
	ASSERT_EQ(0, luod_connect(&self->a, ALICE));
	EXPECT_EQ(0, luod_ask(&self->a, LUOD_STATUS));
	EXPECT_EQ('1', luod_loaded());
	ASSERT_EQ(0, luod_connect(&self->root, 0));
	EXPECT_EQ(-ENOEXEC, luod_ask(&self->root, LUOD_UPDATE));
	EXPECT_EQ('1', luod_loaded());
	EXPECT_EQ(0, luod_load_in_vain(&self->root));
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_STATUS));
	EXPECT_TRUE(luod_has(&self->root, "\"image\":true"));
	EXPECT_EQ(0, lu_unload());
	/* With the initramfs. */
	self->fds += LOADED_FDS + 1;
}

/* All are suspended, and the kernel has no image to go into. */
static void suspend(struct __test_metadata *_metadata, FIXTURE_DATA(luod) * self)
{
	ASSERT_EQ(0, luod_load_in_vain(&self->root));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_UPDATE));
	ASSERT_EQ(0, luod_event(&self->a, "prepare"));
	ASSERT_TRUE(luod_slow_holds(1));
	ASSERT_EQ(0, luod_answer(&self->a, "ready", "prepare"));
	ASSERT_EQ(0, luod_event(&self->a, "suspend"));
	ASSERT_EQ(0, lu_unload());
	ASSERT_EQ(0, luod_answer(&self->a, "ready", "suspend"));
}

/* What is dirty in it cannot be written out: that is no reason to stand still. */
FILES_TEST(file_system_that_does_not_answer)
{
	static char page[LU_PAGE];
	int fd, session;

	luod_slow_stop();
	ASSERT_EQ(0, luod_slow_start(",cache=loose,ignoreqv"));
	fd = open_file();
	ASSERT_LE(0, fd);
	ASSERT_EQ(LU_PAGE, pwrite(fd, page, LU_PAGE, 0));
	ASSERT_EQ(0, luod_ask(&self->root, LUOD_WATCH));
	session = luod_session(&self->a, "vm");
	ASSERT_LE(0, session);

	luod_slow_hold(true);
	suspend(_metadata, self);
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, luod_event(&self->root, "failed"));
	EXPECT_TRUE(luod_has(&self->root, "\"phase\":\"jump\""));
	EXPECT_TRUE(luod_has(&self->root, "the kernel did not go"));
	EXPECT_TRUE(luod_said("not all file systems are written out after 2000 ms"));
	EXPECT_EQ(0, luod_event(&self->a, "cancel"));

	/* Nor for not being asked. */
	suspend(_metadata, self);
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	EXPECT_EQ(0, luod_ask(&self->root, LUOD_CANCEL));
	ASSERT_EQ(0, luod_event(&self->a, "cancel"));
	EXPECT_TRUE(luod_has(&self->a, "ECANCELED"));
	/* With the initramfs; the file stays open until nobody waits for the server. */
	self->fds += LOADED_FDS + 1;
}
