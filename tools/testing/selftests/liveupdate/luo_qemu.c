// SPDX-License-Identifier: GPL-2.0
/*
 * A VMM that knows nothing of live update: QEMU as Debian ships it, over a kexec.
 * The recipe of Documentation/admin-guide/liveupdate-qemu.rst, step by step; this
 * program is the manager in it, and lu-guest of samples/liveupdate the guest.
 *
 * The guest has the root of the machine that it runs on as 9p share "root": QEMU
 * and all that it loads comes from there.
 */
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lu_harness.h"
#include "lu_vm.h"

#define SESSION		"qemu"
#define TOKEN_RAM	1
#define TOKEN_STATE	2
#define TOKEN_SMALL	3
#define RAM_SIZE	(64 * LU_MIB)
/* More than it takes: what is not written is a hole. */
#define STATE_SIZE	(16 * LU_MIB)

#define ROOT		"/debian"
#define QEMU		"/usr/bin/qemu-system-x86_64"

/* What QEMU inherits. */
enum { RAM_FD = 10, STATE_FD, MONITOR_FD };

/* One that runs, and what is to be given to the next. */
struct qemu {
	int ram;
	int state;
	int monitor;
	FILE *answers;
	struct lu_vm vm;
};

/* Debian's programs, and the devices and files of this kernel. */
static int enter_debian(void)
{
	static const char options[] =
		"trans=virtio,version=9p2000.L,msize=512000,cache=loose";

	/* Once a boot. */
	if (!access(ROOT "/mnt/" LU_VM_IMAGE, F_OK))
		return chroot(ROOT) || chdir("/mnt") ? -errno : 0;
	mkdir(ROOT, 0755);
	if (mount("root", ROOT, "9p", MS_RDONLY, options) ||
	    mount("/dev", ROOT "/dev", NULL, MS_BIND, NULL) ||
	    mount("/proc", ROOT "/proc", NULL, MS_BIND, NULL) ||
	    mount("/tests", ROOT "/mnt", NULL, MS_BIND, NULL) ||
	    chroot(ROOT) || chdir("/mnt"))
		return -errno;
	return 0;
}

static void exec_qemu(bool incoming)
{
	execl(QEMU, QEMU, "-nodefaults", "-no-user-config", "-display", "none",
	      "-accel", "kvm", "-cpu", "host", "-m", "64M",
	      "-object",
	      "memory-backend-file,id=ram,size=64M,share=on,mem-path=/proc/self/fd/10",
	      "-machine", "pc,memory-backend=ram",
	      "-chardev", "socket,id=qmp,fd=12", "-mon", "chardev=qmp,mode=control",
	      "-chardev", "stdio,id=text,signal=off",
	      "-device", "isa-debugcon,iobase=0xe9,chardev=text",
	      "-kernel", LU_VM_IMAGE,
	      incoming ? "-incoming" : NULL, "defer", NULL);
	_exit(127);
}

static int start_qemu(struct qemu *q, bool incoming)
{
	int out[2], monitor[2];

	if (pipe2(out, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor))
		return -errno;
	fflush(stdout);
	q->vm.pid = fork();
	if (q->vm.pid < 0)
		return -errno;
	if (!q->vm.pid) {
		/* Duplicates are inherited. */
		if (dup2(q->ram, RAM_FD) < 0 || dup2(q->state, STATE_FD) < 0 ||
		    dup2(monitor[1], MONITOR_FD) < 0 || dup2(out[1], STDOUT_FILENO) < 0 ||
		    enter_debian())
			_exit(126);
		exec_qemu(incoming);
	}
	close(out[1]);
	close(monitor[1]);
	q->vm.out = out[0];
	q->monitor = monitor[0];
	q->answers = fdopen(monitor[0], "r");
	return q->answers ? 0 : -errno;
}

/* Read what QEMU says up to @what, or to @instead: 1. */
static int await_one_of(struct qemu *q, const char *what, const char *instead)
{
	char line[4096];

	while (fgets(line, sizeof(line), q->answers)) {
		printf("# QMP: %s", line);
		if (strstr(line, "\"error\""))
			return -EIO;
		if (strstr(line, what))
			return 0;
		if (instead && strstr(line, instead))
			return 1;
	}
	return -EPIPE;
}

static int await(struct qemu *q, const char *what)
{
	return await_one_of(q, what, NULL);
}

static int send_command(struct qemu *q, const char *command, const char *arguments)
{
	return dprintf(q->monitor, "{'execute': '%s', 'arguments': {%s}}\n", command,
		       arguments) < 0 ? -errno : 0;
}

static int tell(struct qemu *q, const char *command, const char *arguments)
{
	return send_command(q, command, arguments) ?: await(q, "\"return\"");
}

/* It may have failed before QEMU says that it has begun. */
static int migrate(struct qemu *q, const char *command, const char *arguments)
{
	int err = send_command(q, command, arguments) ?:
		  await_one_of(q, "\"status\": \"completed\"", "\"status\": \"failed\"");

	return err > 0 ? -EFBIG : err;
}

static int greet(struct qemu *q)
{
	return await(q, "\"QMP\"") ?:
	       tell(q, "qmp_capabilities", "") ?:
	       tell(q, "migrate-set-capabilities",
		    "'capabilities': [{'capability': 'x-ignore-shared', 'state': true}]") ?:
	       tell(q, "migrate-set-capabilities",
		    "'capabilities': [{'capability': 'events', 'state': true}]");
}

static bool never(const struct lu_vm *vm, uint64_t n)
{
	return false;
}

/*
 * Stop the guest, and write all but its memory to @fd: -EFBIG if that has no room
 * for it. A preserved file does not grow, so it is overwritten from its begin; what
 * is behind the end of a shorter state is not read.
 */
static int write_state(struct qemu *q, int fd)
{
	if (lseek(fd, 0, SEEK_SET))
		return -errno;
	return tell(q, "stop", "") ?:
	       lu_send_fd(q->monitor, fd) ?:
	       tell(q, "getfd", "'fdname': 'state'") ?:
	       migrate(q, "migrate", "'uri': 'fd:state'");
}

/* QEMU ends, and both files have all there is of the guest. */
static int save_state(struct qemu *q)
{
	int status, err;

	err = write_state(q, q->state) ?: tell(q, "quit", "");
	if (err)
		return err;
	/* What the guest said until it was stopped. */
	err = lu_vm_listen(&q->vm, 1, never, 0);
	if (err != -EPIPE || waitpid(q->vm.pid, &status, 0) != q->vm.pid)
		return err;
	fclose(q->answers);
	close(q->vm.out);
	printf("# %jd KiB of state\n", (intmax_t)lseek(q->state, 0, SEEK_CUR) / 1024);
	return status;
}

/* Another QEMU with the same memory takes over from the state's file. */
static int load_state(struct qemu *q)
{
	/* The file's position is where the last one left it. */
	if (lseek(q->state, 0, SEEK_SET))
		return -errno;
	return start_qemu(q, true) ?:
	       greet(q) ?:
	       migrate(q, "migrate-incoming", "'uri': 'fd:11'");
}

static int let_run(struct qemu *q, uint64_t lines)
{
	uint64_t n = q->vm.line - q->vm.from + lines;

	return tell(q, "cont", "") ?: lu_vm_listen(&q->vm, 1, lu_vm_said, n);
}

FIXTURE(qemu)
{
	int stage;
	int session;
	struct qemu qemu;
};

FIXTURE_SETUP(qemu)
{
	struct qemu *q = &self->qemu;
	int dev;

	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	/* accel=nested in qemu-tests.list takes care of that. */
	ASSERT_TRUE(lu_vm_possible());
	ASSERT_EQ(0, lu_vm_load_kvm());
	dev = lu_open_dev();
	ASSERT_LE(0, dev);
	if (self->stage == 1) {
		self->session = lu_create(dev, SESSION);
		q->ram = memfd_create("ram", MFD_CLOEXEC);
		q->state = memfd_create("state", MFD_CLOEXEC);
		ASSERT_EQ(0, ftruncate(q->ram, RAM_SIZE));
		ASSERT_EQ(0, ftruncate(q->state, STATE_SIZE));
	} else {
		self->session = lu_retrieve(dev, SESSION);
		ASSERT_LE(0, self->session);
		q->ram = lu_retrieve_fd(self->session, TOKEN_RAM);
		q->state = lu_retrieve_fd(self->session, TOKEN_STATE);
	}
	close(dev);
	ASSERT_LE(0, self->session);
	ASSERT_LE(0, q->ram);
	ASSERT_LE(0, q->state);
}

FIXTURE_TEARDOWN(qemu)
{
}

/*
 * The state does not fit: QEMU says so, and the guest goes on. Then the kernel
 * refuses the reboot when QEMU is gone and all is preserved: another QEMU takes
 * over, and its state goes to the same file.
 */
static int be_called_off(FIXTURE_DATA(qemu) * self)
{
	struct qemu *q = &self->qemu;
	int small = lu_memfd("small", LU_PAGE, 0), err;

	err = small < 0 ? small : lu_preserve(self->session, small, TOKEN_SMALL);
	if (err)
		return err;
	err = write_state(q, small);
	close(small);
	if (err != -EFBIG)
		return err ?: -EMSGSIZE;
	err = let_run(q, 1) ?: save_state(q);
	if (err)
		return err;
	/* There is no image. */
	err = lu_jump();
	return err == -EINVAL ? load_state(q) ?: let_run(q, 2) : -EPROTO;
}

/* Three kernels. */
TEST_F_TIMEOUT(qemu, goes_on, 2 * LU_TIMEOUT)
{
	struct qemu *q = &self->qemu;
	char more[64];

	lu_vm_init(&q->vm, "qemu", lu_param_u64("lu.words"), lu_param_u64("lu.line"));
	if (self->stage == 1) {
		ASSERT_EQ(0, start_qemu(q, false));
		ASSERT_EQ(0, greet(q));
	} else {
		ASSERT_EQ(0, load_state(q));
		ASSERT_EQ(0, lu_finish(self->session));
	}
	ASSERT_EQ(0, let_run(q, 2));
	EXPECT_EQ(0, q->vm.wrong);
	if (self->stage == 3)
		return;
	/* The guest goes on while its memory is preserved. */
	ASSERT_EQ(0, lu_preserve(self->session, q->ram, TOKEN_RAM));
	ASSERT_EQ(0, lu_preserve(self->session, q->state, TOKEN_STATE));
	ASSERT_EQ(0, let_run(q, 1));
	if (self->stage == 1)
		ASSERT_EQ(0, be_called_off(self));
	ASSERT_EQ(0, save_state(q));
	EXPECT_EQ(0, q->vm.wrong);
	snprintf(more, sizeof(more), "lu.line=%ju lu.words=%ju", (uintmax_t)q->vm.line,
		 (uintmax_t)q->vm.words);
	LU_KEXEC_WITH(self->stage + 1, more);
}
