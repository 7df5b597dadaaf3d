// SPDX-License-Identifier: GPL-2.0
/*
 * A VMM that knows nothing of live update: QEMU as Debian ships it, over a kexec.
 * The recipe of Documentation/admin-guide/liveupdate-qemu.rst, step by step; this
 * program is the manager in it, a client of luod, and lu-guest of samples/liveupdate
 * the guest.
 *
 * The guest has the root of the machine that it runs on as 9p share "root": QEMU
 * and all that it loads comes from there.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lu_agent.h"
#include "lu_harness.h"
#include "lu_vm.h"
#include "../../../liveupdate/lib/luo.h"

#define SESSION		"qemu"
#define TOKEN_RAM	1
#define TOKEN_STATE	2
#define TOKEN_SMALL	3
#define TOKEN_TOLD	4
#define RAM_SIZE	(64 * LU_MIB)
/* More than it takes: what is not written is a hole. */
#define STATE_SIZE	(16 * LU_MIB)

/* Where all of it is emulated, it takes as long as luod lets it. */
#define HELLO		"{\"op\":\"hello\",\"prepare_ms\":120000,\"suspend_ms\":30000}"

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

/*
 * The numbers that QEMU's command line has. What has one of them already gets out of
 * the way first; duplicates are inherited.
 */
static int number_fds(const struct qemu *q, int monitor, int out)
{
	static const int numbers[] = { RAM_FD, STATE_FD, MONITOR_FD, STDOUT_FILENO };
	int fds[] = { q->ram, q->state, monitor, out };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, MONITOR_FD + 1);
		if (fds[i] < 0)
			return -errno;
	}
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		if (dup2(fds[i], numbers[i]) < 0)
			return -errno;
	return 0;
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
		if (number_fds(q, monitor[1], out[1]) || enter_debian())
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

/* What the next manager has to know: how far the guest had come. */
struct told {
	uint64_t line;
	uint64_t words;
};

FIXTURE(qemu)
{
	int stage;
	struct luo_agent *agent;
	struct luo_event event;
	pid_t luoctl;
	int session;
	int told_fd;
	struct told *told;
	struct qemu qemu;
};

static int new_file(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	return fd < 0 || ftruncate(fd, size) ? -errno : fd;
}

static void get_files(FIXTURE_DATA(qemu) * self)
{
	struct qemu *q = &self->qemu;

	if (self->stage == 1) {
		q->ram = new_file("ram", RAM_SIZE);
		q->state = new_file("state", STATE_SIZE);
		self->told_fd = new_file("told", sizeof(*self->told));
	} else {
		q->ram = luo_retrieve_fd(self->session, TOKEN_RAM);
		q->state = luo_retrieve_fd(self->session, TOKEN_STATE);
		self->told_fd = luo_retrieve_fd(self->session, TOKEN_TOLD);
	}
}

FIXTURE_SETUP(qemu)
{
	enum luo_origin origin;
	char *answer;

	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	/* accel=nested in qemu-tests.list takes care of that. */
	ASSERT_TRUE(lu_vm_possible());
	ASSERT_EQ(0, lu_vm_load_kvm());
	ASSERT_EQ(0, lu_agent_start());
	ASSERT_EQ(0, luo_agent_connect(&self->agent, NULL));
	ASSERT_EQ(0, luo_agent_call(self->agent, HELLO, NULL, 0, &answer));
	free(answer);
	self->session = luo_agent_session(self->agent, SESSION, &origin);
	ASSERT_LE(0, self->session);
	ASSERT_EQ(self->stage == 1 ? LUO_NEW : LUO_FROM_BEFORE, origin);
	get_files(self);
	ASSERT_LE(0, self->qemu.ram);
	ASSERT_LE(0, self->qemu.state);
	self->told = mmap(NULL, sizeof(*self->told), PROT_READ | PROT_WRITE, MAP_SHARED,
			  self->told_fd, 0);
	ASSERT_NE(MAP_FAILED, self->told);
}

FIXTURE_TEARDOWN(qemu)
{
}

/* An update that was called off has left it preserved. */
static int preserve(FIXTURE_DATA(qemu) * self, int fd, uint64_t token)
{
	int err = luo_preserve(self->session, fd, token);

	return err == -EEXIST ? 0 : err;
}

static int await_event(FIXTURE_DATA(qemu) * self, enum luo_event_type type)
{
	int err = luo_agent_event(self->agent, &self->event, -1);

	return err ?: self->event.type == type ? 0 : -EPROTO;
}

/* An update begins: the guest goes on while its memory is preserved. */
static int prepare(FIXTURE_DATA(qemu) * self)
{
	int err;

	self->luoctl = lu_agent_update();
	if (self->luoctl < 0)
		return self->luoctl;
	err = await_event(self, LUO_EVENT_PREPARE) ?:
	      preserve(self, self->qemu.ram, TOKEN_RAM) ?:
	      preserve(self, self->qemu.state, TOKEN_STATE) ?:
	      preserve(self, self->told_fd, TOKEN_TOLD) ?:
	      let_run(&self->qemu, 1);
	return err ?: luo_agent_ready(self->agent, &self->event) ?:
	       await_event(self, LUO_EVENT_SUSPEND);
}

/* The end of an update that does not come. */
static int await_cancel(FIXTURE_DATA(qemu) * self)
{
	int err = await_event(self, LUO_EVENT_CANCEL), status;

	if (err)
		return err;
	if (waitpid(self->luoctl, &status, 0) != self->luoctl)
		return -errno;
	return status ? 0 : -EPROTO;
}

static int suspend(FIXTURE_DATA(qemu) * self)
{
	struct qemu *q = &self->qemu;
	int err = save_state(q);

	self->told->line = q->vm.line;
	self->told->words = q->vm.words;
	return err;
}

/* The state does not fit: QEMU says so, the manager refuses, and the guest goes on. */
static int be_refused(FIXTURE_DATA(qemu) * self)
{
	struct qemu *q = &self->qemu;
	int small = lu_memfd("small", LU_PAGE, 0), err;

	err = small < 0 ? small : preserve(self, small, TOKEN_SMALL) ?: prepare(self);
	if (err)
		return err;
	err = write_state(q, small);
	close(small);
	if (err != -EFBIG)
		return err ?: -EMSGSIZE;
	return let_run(q, 1) ?:
	       luo_agent_refuse(self->agent, &self->event, "the state does not fit") ?:
	       await_cancel(self);
}

/*
 * The kernel refuses the reboot when QEMU is gone and all is preserved: another
 * QEMU takes over, and its state goes to the same file.
 */
static int be_called_off(FIXTURE_DATA(qemu) * self)
{
	struct qemu *q = &self->qemu;

	return prepare(self) ?:
	       lu_unload() ?:
	       suspend(self) ?:
	       luo_agent_ready(self->agent, &self->event) ?:
	       await_cancel(self) ?:
	       load_state(q) ?:
	       let_run(q, 2);
}

/* Three kernels. */
TEST_F_TIMEOUT(qemu, goes_on, 2 * LU_TIMEOUT)
{
	struct qemu *q = &self->qemu;

	lu_vm_init(&q->vm, "qemu", self->told->words, self->told->line);
	if (self->stage == 1) {
		ASSERT_EQ(0, start_qemu(q, false));
		ASSERT_EQ(0, greet(q));
	} else {
		ASSERT_EQ(0, load_state(q));
		ASSERT_EQ(0, luo_finish(self->session));
	}
	ASSERT_EQ(0, let_run(q, 2));
	EXPECT_EQ(0, q->vm.wrong);
	if (self->stage == 3)
		return;
	ASSERT_EQ(0, lu_agent_load_next(NULL));
	if (self->stage == 1) {
		ASSERT_EQ(0, be_refused(self));
		ASSERT_EQ(0, be_called_off(self));
		ASSERT_EQ(0, lu_agent_load_next(NULL));
	}
	ASSERT_EQ(0, prepare(self));
	ASSERT_EQ(0, suspend(self));
	EXPECT_EQ(0, q->vm.wrong);
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	/* The last thing that this kernel does. */
	ASSERT_EQ(0, luo_agent_ready(self->agent, &self->event));
	await_cancel(self);
	ASSERT_STREQ("", "the reboot did not come");
}
