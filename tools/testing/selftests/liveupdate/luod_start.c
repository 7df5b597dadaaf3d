// SPDX-License-Identifier: GPL-2.0
/*
 * How the agent is started: options, sockets, and where it is to find a place.
 */
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lu_harness.h"
#include "luod_util.h"

TEST(full_disk)
{
	static char * const full[] = { LUOD, "--socket=/tmp/full/luod.sock", NULL };
	static char * const gone[] = { LUOD, "--socket=/tmp/nowhere/luod.sock", NULL };

	if (!lu_stage())
		SKIP(return, "mounts: in a guest only");
	mkdir("/tmp/full", 0755);
	ASSERT_EQ(0, mount("full", "/tmp/full", "tmpfs", 0, "nr_inodes=1"));
	EXPECT_EQ(1, luod_run(full));
	EXPECT_TRUE(luod_said("/tmp/full/luod.sock: No space left on device"));
	EXPECT_EQ(1, luod_run(gone));
	EXPECT_TRUE(luod_said("/tmp/nowhere/luod.sock: No such file or directory"));
	EXPECT_EQ(0, umount("/tmp/full"));
}

/* A mistake in an option is no reason to remove somebody's file. */
TEST(socket_that_is_a_file)
{
	static char * const file[] = { LUOD, "--socket=/tmp/file", NULL };

	if (!lu_stage())
		SKIP(return, "the agent is in a guest only");
	close(open("/tmp/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	EXPECT_EQ(1, luod_run(file));
	EXPECT_TRUE(luod_said("/tmp/file: Socket operation on non-socket"));
	EXPECT_EQ(0, unlink("/tmp/file"));
}

TEST(options)
{
	static char * const word[] = { LUOD, "now", NULL };
	static char * const nonsense[] = { LUOD, "--stall-ms=-1", NULL };
	static char * const jump[] = { LUOD, "--jump=high", NULL };
	static char * const help[] = { LUOD, "--help", NULL };

	if (!lu_stage())
		SKIP(return, "the agent is in a guest only");
	EXPECT_EQ(2, luod_run(word));
	EXPECT_EQ(2, luod_run(nonsense));
	EXPECT_EQ(2, luod_run(jump));
	EXPECT_EQ(0, luod_run(help));
}

/* Whether process @pid waits for some time to pass. */
static bool sleeps(pid_t pid)
{
	char path[64], function[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, function, sizeof(function) - 1) < 0)
		function[0] = 0;
	close(fd);
	return strstr(function, "nanosleep");
}

/* Whether one of @parent's children does, but for this one. */
static bool sibling_sleeps(pid_t parent)
{
	bool found = false;
	char path[64];
	FILE *file;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	file = fopen(path, "re");
	while (file && !found && fscanf(file, "%d", &pid) == 1)
		found = pid != getpid() && sleeps(pid);
	if (file)
		fclose(file);
	return found;
}

/* The luod that comes finds the lock taken, and has to wait for it. */
static void hold_lock(int said)
{
	int lock = open("/run/luod.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600), i;

	if (flock(lock, LOCK_EX) || write(said, "l", 1) != 1)
		_exit(1);
	for (i = 0; i < 60000 && !sibling_sleeps(getppid()); i++)
		usleep(1000);
	_exit(i == 60000);
}

/* What a luod that died had just forked has the lock, for a moment. */
TEST(lock_of_a_dead_luod)
{
	pid_t child, pid;
	int locked[2];
	char c;

	if (!lu_stage())
		SKIP(return, "the agent is in a guest only");
	ASSERT_EQ(0, pipe2(locked, O_CLOEXEC));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		hold_lock(locked[1]);
	ASSERT_EQ(1, read(locked[0], &c, 1));
	pid = luod_start(NULL);
	ASSERT_LT(0, pid);
	EXPECT_EQ(0, luod_wait(child));
	EXPECT_EQ(0, luod_stop(pid, SIGTERM));
}

/* A socket that somebody else made, as systemd does. */
TEST(socket_activation)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = LUOD_SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct luod_client c;
	char text[16];
	pid_t pid;

	if (!lu_stage())
		SKIP(return, "the agent is in a guest only");
	unlink(LUOD_SOCKET);
	ASSERT_EQ(0, bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	ASSERT_EQ(0, listen(fd, 5));
	/* The client is there before the agent. */
	ASSERT_EQ(0, luod_connect(&c, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		dup2(fd, 3);
		snprintf(text, sizeof(text), "%d", getpid());
		setenv("LISTEN_PID", text, 1);
		setenv("LISTEN_FDS", "1", 1);
		execl(LUOD, LUOD, NULL);
		_exit(127);
	}
	EXPECT_EQ(0, luod_ask(&c, LUOD_HELLO));
	EXPECT_EQ(0, luod_stop(pid, SIGTERM));
	/* The socket is not luod's to remove. */
	EXPECT_EQ(0, access(LUOD_SOCKET, F_OK));
}

/* Of descriptors, which luod may not raise here. */
#define LITTLE		256

/* As many as there are descriptors for. */
#define CONNS		(LITTLE / 16)
#define SESSIONS	(LITTLE / 4)

/* It may not have more descriptors: all together get less, and root has room. */
TEST(few_descriptors)
{
	static const struct rlimit little = { LITTLE, LITTLE };
	static struct luod_client root, users[CONNS], late;
	int sessions[SESSIONS], i;
	char name[16];
	pid_t pid;

	if (!lu_stage())
		SKIP(return, "the agent is in a guest only");
	ASSERT_EQ(0, prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &little));
	pid = luod_start(NULL);
	ASSERT_LT(0, pid);
	for (i = 0; i < CONNS; i++) {
		ASSERT_EQ(0, luod_connect(&users[i], 1000 + i));
		ASSERT_EQ(0, luod_ask(&users[i], LUOD_HELLO));
	}
	ASSERT_EQ(0, luod_connect(&late, 1000 + CONNS));
	EXPECT_TRUE(luod_ended(&late));
	for (i = 0; i < SESSIONS; i++) {
		snprintf(name, sizeof(name), "vm-%d", i);
		sessions[i] = luod_session(&users[i % CONNS], name);
		ASSERT_LE(0, sessions[i]);
	}
	EXPECT_EQ(-EDQUOT, luod_session(&users[0], "one-more"));
	ASSERT_EQ(0, luod_connect(&root, 0));
	EXPECT_LE(0, luod_session(&root, "roots"));
	EXPECT_EQ(0, luod_stop(pid, SIGTERM));
	for (i = 0; i < SESSIONS; i++)
		close(sessions[i]);
}

/* Without systemd: it comes back when it is ready, and its name is '@'. */
TEST(initramfs)
{
	static char * const argv[] = { LUOD, "--initramfs", "--socket=" LUOD_SOCKET, NULL };
	struct luod_client c;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	char path[64], where[64], first = 0;
	int fd;

	if (!lu_stage())
		SKIP(return, "the agent is in a guest only");
	ASSERT_EQ(0, luod_run(argv));
	ASSERT_EQ(0, luod_connect(&c, 0));
	ASSERT_EQ(0, getsockopt(c.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len));
	snprintf(path, sizeof(path), "/proc/%d/cmdline", peer.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(1, read(fd, &first, 1));
	EXPECT_EQ('@', first);
	/* It keeps no file system busy: that of the initramfs goes. */
	snprintf(path, sizeof(path), "/proc/%d/cwd", peer.pid);
	EXPECT_EQ(1, readlink(path, where, sizeof(where)));
	snprintf(path, sizeof(path), "/proc/%d/fd/2", peer.pid);
	ASSERT_EQ(9, readlink(path, where, sizeof(where)));
	EXPECT_EQ(0, memcmp("/dev/null", where, 9));
	EXPECT_EQ(0, kill(peer.pid, SIGTERM));
	EXPECT_TRUE(luod_ended(&c));
}
