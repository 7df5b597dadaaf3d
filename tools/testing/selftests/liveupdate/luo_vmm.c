// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual machines over a kexec: lu-vmm of samples/liveupdate, with luod.
 *
 * The test is one of luod's clients, too: before it says that it is ready, it has
 * read all that the VMMs had to say, and has left in a file of its own how far the
 * guests came.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lu_agent.h"
#include "lu_harness.h"
#include "lu_vm.h"
#include "luod_util.h"
#include "../../../liveupdate/lib/luo.h"
#include "../../../../samples/liveupdate/lu-guest.h"

#define VMM		"./lu-vmm"
#define VMS_MAX		2
#define MIB		16
#define LARGE_MIB	160

/* An agent that the test is. */
#define AGENT		"/tmp/agent.sock"

/* Address space for a VMM without the memory of its guest. */
#define LITTLE		(8 * LU_MIB)

/* Lines for who looks on. */
#define DEMO(what, fmt, ...)						\
do {									\
	printf("DEMO: %-10s " fmt "\n", what, ##__VA_ARGS__);		\
	fflush(stdout);							\
} while (0)

FIXTURE(vmm)
{
	int stage;
	struct luo_agent *agent;
	int session;
	int fd;
	uint64_t *lines;	/* that each guest has said, for the next kernel */
	pid_t luoctl;
	struct lu_vm vms[VMS_MAX];
};

static void exec_vmm(const char *name, unsigned int mib, rlim_t space)
{
	struct rlimit limit = { space, space };
	char size[16];

	snprintf(size, sizeof(size), "%u", mib);
	if (!setrlimit(RLIMIT_AS, &limit))
		execl(VMM, VMM, "-m", size, name, LU_VM_IMAGE, NULL);
	_exit(127);
}

static int start_vm_with(struct lu_vm *vm, const char *name, uint64_t line, unsigned int mib,
			 rlim_t space)
{
	int out[2];

	lu_vm_init(vm, name, (mib * LU_MIB - LU_GUEST_RAM) / 8, line);
	if (pipe2(out, O_CLOEXEC))
		return -errno;
	fflush(stdout);
	vm->pid = fork();
	if (vm->pid < 0)
		return -errno;
	if (!vm->pid) {
		dup2(out[1], STDOUT_FILENO);
		exec_vmm(name, mib, space);
	}
	close(out[1]);
	vm->out = out[0];
	return 0;
}

/* Start a VMM whose guest has come to line @line. */
static int start_vm(struct lu_vm *vm, const char *name, uint64_t line)
{
	return start_vm_with(vm, name, line, MIB, RLIM_INFINITY);
}

/* The wait status of a VMM that has ended, or is killed here. */
static int end_of(struct lu_vm *vm, int sig)
{
	int status;

	if (sig && kill(vm->pid, sig))
		return -errno;
	if (waitpid(vm->pid, &status, 0) != vm->pid)
		return -errno;
	vm->pid = 0;
	close(vm->out);
	return status;
}

FIXTURE_SETUP(vmm)
{
	enum luo_origin origin;

	if (!lu_stage())
		SKIP(return, LU_NO_GUEST);
	self->stage = lu_stage();
	/* accel=nested in qemu-tests.list takes care of that. */
	ASSERT_TRUE(lu_vm_possible());
	ASSERT_EQ(0, lu_vm_load_kvm());
	ASSERT_EQ(0, lu_agent_start());
	ASSERT_EQ(0, luo_agent_connect(&self->agent, NULL));
	self->session = luo_agent_session(self->agent, "test", &origin);
	ASSERT_LE(0, self->session);
	ASSERT_EQ(self->stage == 1 ? LUO_NEW : LUO_FROM_BEFORE, origin);
	self->fd = self->stage == 1 ? lu_memfd("lines", LU_PAGE, 0) :
				      luo_retrieve_fd(self->session, 1);
	self->lines = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->lines);
	if (self->stage == 1)
		memset(self->lines, 0, LU_PAGE);
	else
		ASSERT_EQ(0, luo_finish(self->session));
}

FIXTURE_TEARDOWN(vmm)
{
	size_t i;

	for (i = 0; i < VMS_MAX; i++)
		if (self->vms[i].pid)
			kill(self->vms[i].pid, SIGTERM);
}

/* Up to the moment when all but the test are ready for the jump. */
static int get_ready(FIXTURE_DATA(vmm) * self, struct luo_event *event, size_t nr)
{
	uint64_t suspended = self->vms[0].suspended;
	size_t i;
	int err;

	DEMO("luoctl", "update");
	self->luoctl = lu_agent_update();
	if (self->luoctl < 0)
		return self->luoctl;
	err = luo_agent_event(self->agent, event, -1);
	if (err || event->type != LUO_EVENT_PREPARE)
		return err ?: -EPROTO;
	DEMO("luod", "an update comes: preserve what is large");
	err = luo_preserve(self->session, self->fd, 1);
	/* A second time, after an update that was called off. */
	if (err && err != -EEXIST)
		return err;
	err = luo_agent_ready(self->agent, event) ?:
	      luo_agent_event(self->agent, event, -1);
	if (err || event->type != LUO_EVENT_SUSPEND)
		return err ?: -EPROTO;
	DEMO("luod", "all are prepared: suspend");
	err = lu_vm_listen(self->vms, nr, lu_vm_suspended, suspended + 1);
	for (i = 0; i < nr; i++)
		self->lines[i] = self->vms[i].line;
	return err;
}

/* Nothing that comes after it is read: another event is no update. */
static int jump(FIXTURE_DATA(vmm) * self, struct luo_event *event)
{
	DEMO("luod", "all are suspended: reboot");
	return luo_agent_ready(self->agent, event) ?:
	       luo_agent_event(self->agent, event, -1) ?: -ECANCELED;
}

/*
 * Three kernels, and an update that is called off when everybody is suspended: no
 * line is missing, none comes twice, and each has the sum that it has to have.
 */
TEST_F_TIMEOUT(vmm, guest_goes_on, LU_TIMEOUT)
{
	struct lu_vm *vm = &self->vms[0];
	uint64_t line = self->lines[0];
	struct luo_event event;
	int status;

	ASSERT_EQ(0, start_vm(vm, "one", line));
	if (self->stage > 1) {
		ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_resumed, 1));
		/* It is the guest that was suspended, not a new one. */
		EXPECT_EQ(line, vm->line);
	}
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_said, 2));
	EXPECT_EQ(0, vm->wrong);
	if (self->stage == 3)
		return;
	ASSERT_EQ(0, lu_agent_load_next(NULL));
	if (self->stage == 1) {
		ASSERT_EQ(0, get_ready(self, &event, 1));
		ASSERT_EQ(0, luo_agent_refuse(self->agent, &event, "a test"));
		ASSERT_EQ(self->luoctl, waitpid(self->luoctl, &status, 0));
		EXPECT_NE(0, status);
		ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_resumed, 1));
		ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_said, vm->line + 1 - line));
		ASSERT_EQ(0, luo_agent_event(self->agent, &event, -1));
		EXPECT_EQ(LUO_EVENT_CANCEL, event.type);
	}
	ASSERT_EQ(0, get_ready(self, &event, 1));
	EXPECT_EQ(0, vm->wrong);
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, jump(self, &event));
}

/* With a line for each step, to be looked at. */
TEST_F_TIMEOUT(vmm, two_guests, LU_TIMEOUT)
{
	static const char * const names[VMS_MAX] = { "red", "blue" };
	struct lu_vm *vms = self->vms;
	struct luo_event event;
	int i;

	for (i = 0; i < VMS_MAX; i++)
		ASSERT_EQ(0, start_vm(&vms[i], names[i], self->lines[i]));
	if (self->stage > 1)
		ASSERT_EQ(0, lu_vm_listen(vms, VMS_MAX, lu_vm_resumed, 1));
	ASSERT_EQ(0, lu_vm_listen(vms, VMS_MAX, lu_vm_said, 2));
	EXPECT_EQ(0, vms[0].wrong + vms[1].wrong);
	if (self->stage == 1) {
		ASSERT_EQ(0, lu_agent_load_next(NULL));
		ASSERT_EQ(0, get_ready(self, &event, VMS_MAX));
		ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
		ASSERT_EQ(0, jump(self, &event));
	}
	for (i = 0; i < VMS_MAX; i++)
		DEMO(names[i], "lines 1 to %ju, none missing, none twice, each sum right",
		     (uintmax_t)vms[i].line);
}

/* The guest walks all of its memory once more than before the update. */
TEST_F_TIMEOUT(vmm, large_guest, LU_TIMEOUT)
{
	struct lu_vm *vm = &self->vms[0];
	struct luo_event event;

	ASSERT_EQ(0, start_vm_with(vm, "large", self->lines[0], LARGE_MIB, RLIM_INFINITY));
	if (self->stage == 1) {
		ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_passed, 1));
		ASSERT_EQ(0, lu_agent_load_next(NULL));
		ASSERT_EQ(0, get_ready(self, &event, 1));
		EXPECT_EQ(0, vm->wrong);
		ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
		ASSERT_EQ(0, jump(self, &event));
	}
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_passed, vm->pass + 1));
	EXPECT_EQ(0, vm->wrong);
}

/* A VMM that is killed and started again is the VMM of a new guest. */
static void kill_and_begin_anew(struct __test_metadata *_metadata, struct lu_vm *vm,
				const char *name)
{
	ASSERT_EQ(SIGKILL, end_of(vm, SIGKILL));
	ASSERT_EQ(0, start_vm(vm, name, 0));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_said, 1));
	EXPECT_EQ(0, vm->wrong);
}

/*
 * VMMs are killed while their guests run, which ends those; when the guest is
 * suspended, which does not matter any more; and in the next kernel while it takes
 * its guest back, which another one can do then.
 */
TEST_F_TIMEOUT(vmm, killed, LU_TIMEOUT)
{
	struct lu_vm *red = &self->vms[0], *blue = &self->vms[1];
	struct luo_event event;

	if (self->stage == 1) {
		ASSERT_EQ(0, start_vm(red, "red", 0));
		ASSERT_EQ(0, start_vm(blue, "blue", 0));
		ASSERT_EQ(0, lu_vm_listen(self->vms, VMS_MAX, lu_vm_said, 1));
		kill_and_begin_anew(_metadata, blue, "blue");
		ASSERT_EQ(0, lu_agent_load_next(NULL));
		ASSERT_EQ(0, get_ready(self, &event, VMS_MAX));
		EXPECT_EQ(0, red->wrong + blue->wrong);
		ASSERT_EQ(SIGKILL, end_of(red, SIGKILL));
		ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
		ASSERT_EQ(0, jump(self, &event));
	}
	ASSERT_EQ(0, start_vm_with(blue, "blue", self->lines[1], MIB, LITTLE));
	ASSERT_EQ(1, WEXITSTATUS(end_of(blue, 0)));
	ASSERT_EQ(0, start_vm(red, "red", self->lines[0]));
	ASSERT_EQ(0, start_vm(blue, "blue", self->lines[1]));
	ASSERT_EQ(0, lu_vm_listen(self->vms, VMS_MAX, lu_vm_resumed, 1));
	ASSERT_EQ(0, lu_vm_listen(self->vms, VMS_MAX, lu_vm_said, 2));
	EXPECT_EQ(0, red->wrong + blue->wrong);
	kill_and_begin_anew(_metadata, red, "red");
}

/* A VMM does not come back in the second kernel: in the third one it still can. */
TEST_F_TIMEOUT(vmm, comes_back_later, LU_TIMEOUT)
{
	struct lu_vm *red = &self->vms[0], *blue = &self->vms[1];
	size_t nr = self->stage == 2 ? 1 : VMS_MAX;
	uint64_t line = self->lines[1];
	struct luo_event event;

	ASSERT_EQ(0, start_vm(red, "red", self->lines[0]));
	if (nr == VMS_MAX)
		ASSERT_EQ(0, start_vm(blue, "blue", line));
	if (self->stage > 1)
		ASSERT_EQ(0, lu_vm_listen(self->vms, nr, lu_vm_resumed, 1));
	ASSERT_EQ(0, lu_vm_listen(self->vms, nr, lu_vm_said, 2));
	EXPECT_EQ(0, red->wrong + blue->wrong);
	if (self->stage == 3)
		return;
	ASSERT_EQ(0, lu_agent_load_next(NULL));
	ASSERT_EQ(0, get_ready(self, &event, nr));
	ASSERT_EQ(KSFT_PASS, _metadata->exit_code);
	ASSERT_EQ(0, jump(self, &event));
}

static int listen_as_agent(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = AGENT };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 1))
		return -errno;
	return fd;
}

/* A new connection, and the request that comes over it. */
static int take_client(int listening, struct luod_client *c, const char *op)
{
	memset(c, 0, sizeof(*c));
	c->got = -1;
	c->fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	return luod_receive(c) ?: luod_has(c, op) ? 0 : -EPROTO;
}

/* Answer the request that came last. */
static int reply(struct luod_client *c, const char *fields, int fd)
{
	const char *id = strstr(c->line, "\"id\":");
	char line[128];

	if (!id)
		return -EPROTO;
	snprintf(line, sizeof(line), "{%s,\"id\":%d}\n", fields, atoi(id + 5));
	return luod_send(c, line, &fd, fd >= 0);
}

static int ask_for(struct luod_client *c, const char *phase)
{
	char line[64];

	snprintf(line, sizeof(line), "{\"event\":\"%s\",\"update\":1}\n", phase);
	return luod_send(c, line, NULL, 0) ?: luod_receive(c) ?:
	       luod_has(c, "\"ready\"") ? reply(c, "\"ok\":true", -1) : -EPROTO;
}

/* It has said nothing that was not listened to. */
static bool is_silent(const struct lu_vm *vm)
{
	struct pollfd p = { .fd = vm->out, .events = POLLIN };

	return !vm->len && !poll(&p, 1, 0);
}

/* Whichever comes first: both stay as they are. */
static bool ends_before_it_connects(const struct lu_vm *vm, int listening)
{
	struct pollfd fds[] = {
		{ .fd = listening, .events = POLLIN },
		{ .fd = pidfd_open(vm->pid, 0), .events = POLLIN },
	};
	bool ends = poll(fds, ARRAY_SIZE(fds), LUOD_PATIENCE_MS) > 0 && !fds[0].revents;

	close(fds[1].fd);
	return ends;
}

/* The VMM's connection, and the one to luod that stands for it. */
struct relay {
	int listening;
	struct luod_client vmm, luod;
};

static int pass_on(struct luod_client *from, struct luod_client *to)
{
	char line[LUOD_LINE];
	int err = luod_receive(from), fd = from->got;

	from->got = -1;
	if (err)
		return err;
	snprintf(line, sizeof(line), "%.*s\n", LUOD_LINE - 2, from->line);
	err = luod_send(to, line, &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
	return err;
}

static int ask_luod(struct relay *relay, const char *op)
{
	int err = pass_on(&relay->vmm, &relay->luod);

	return err ?: luod_has(&relay->vmm, op) ? 0 : -EPROTO;
}

static int tell_vmm(struct relay *relay, const char *what)
{
	int err = pass_on(&relay->luod, &relay->vmm);

	return err ?: luod_has(&relay->luod, what) ? 0 : -EPROTO;
}

/* The VMM connects, asks, and has luod's answer. */
static int relay_first(struct relay *relay, const char *op)
{
	memset(&relay->vmm, 0, sizeof(relay->vmm));
	relay->vmm.got = -1;
	relay->vmm.fd = accept4(relay->listening, NULL, NULL, SOCK_CLOEXEC);
	if (relay->vmm.fd < 0)
		return -errno;
	return luod_connect_at(&relay->luod, LUO_AGENT_SOCKET, 0) ?:
	       ask_luod(relay, op) ?: tell_vmm(relay, "\"ok\":");
}

static int relay_event(struct relay *relay, const char *event)
{
	return tell_vmm(relay, event) ?: ask_luod(relay, "\"ready\"") ?:
	       tell_vmm(relay, "\"ok\":true");
}

static void relay_end(struct relay *relay)
{
	luod_leave(&relay->vmm);
	luod_leave(&relay->luod);
}

/*
 * The connection ends while the guest is suspended. The agent is there, so the
 * kernel may go: the guest stands still until the agent takes its session, or is
 * gone.
 */
TEST_F_TIMEOUT(vmm, connection_lost, LU_TIMEOUT)
{
	struct lu_vm *vm = &self->vms[0];
	int dev, session, listening, i;
	struct luod_client c;

	dev = lu_open_dev();
	ASSERT_LE(0, dev);
	session = lu_create(dev, "luod/0/one");
	ASSERT_LE(0, session);
	close(dev);
	listening = listen_as_agent();
	ASSERT_LE(0, listening);
	ASSERT_EQ(0, setenv("LUOD_SOCKET", AGENT, 1));
	ASSERT_EQ(0, start_vm(vm, "one", 0));
	ASSERT_EQ(0, take_client(listening, &c, "\"session\""));
	ASSERT_EQ(0, reply(&c, "\"ok\":true,\"origin\":\"new\"", session));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_said, 1));
	ASSERT_EQ(0, ask_for(&c, "prepare"));
	ASSERT_EQ(0, ask_for(&c, "suspend"));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_suspended, 1));
	luod_leave(&c);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, take_client(listening, &c, "\"attach\""));
		ASSERT_EQ(0, reply(&c, "\"ok\":false,\"error\":\"EAGAIN\"", -1));
		luod_leave(&c);
	}
	ASSERT_EQ(0, take_client(listening, &c, "\"attach\""));
	EXPECT_TRUE(is_silent(vm));
	ASSERT_EQ(0, reply(&c, "\"ok\":true,\"name\":\"one\"", -1));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_resumed, 1));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_said, 2));

	ASSERT_EQ(0, ask_for(&c, "suspend"));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_suspended, 2));
	close(listening);
	luod_leave(&c);
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_resumed, 2));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_said, 3));
	EXPECT_EQ(0, vm->wrong);

	/* One that says nothing is given up, and looked for again. */
	unlink(AGENT);
	listening = listen_as_agent();
	ASSERT_LE(0, listening);
	ASSERT_EQ(0, take_client(listening, &c, "\"attach\""));
	EXPECT_TRUE(luod_ended(&c));
	luod_leave(&c);
	ASSERT_EQ(0, take_client(listening, &c, "\"attach\""));
	/* Nor does one that throws it out each time keep it from its end. */
	ASSERT_EQ(0, kill(vm->pid, SIGTERM));
	ASSERT_EQ(0, reply(&c, "\"ok\":true,\"name\":\"one\"", -1));
	luod_leave(&c);
	EXPECT_TRUE(ends_before_it_connects(vm, listening));
	EXPECT_EQ(0, end_of(vm, SIGKILL));
}

/*
 * The same with luod: the VMM stays as long as the update goes on, and goes on when
 * luod has seen that the connection is gone, and has called the update off for it.
 */
TEST_F_TIMEOUT(vmm, agent_lost, LU_TIMEOUT)
{
	static const char patience[] = "{\"op\":\"hello\",\"suspend_ms\":30000}";
	struct lu_vm *vm = &self->vms[0];
	static struct relay relay;
	struct luo_event event;
	int before, status, i;
	char *answer;

	/* All the time that luod gives: the test is the last to answer. */
	ASSERT_EQ(0, luo_agent_call(self->agent, patience, NULL, 0, &answer));
	free(answer);
	relay.listening = listen_as_agent();
	ASSERT_LE(0, relay.listening);
	ASSERT_EQ(0, setenv("LUOD_SOCKET", AGENT, 1));
	ASSERT_EQ(0, start_vm(vm, "one", 0));
	ASSERT_EQ(0, unsetenv("LUOD_SOCKET"));
	ASSERT_EQ(0, relay_first(&relay, "\"session\""));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_said, 1));
	ASSERT_EQ(0, lu_agent_load_next(NULL));
	self->luoctl = lu_agent_update();
	ASSERT_LT(0, self->luoctl);
	ASSERT_EQ(0, luo_agent_event(self->agent, &event, -1));
	ASSERT_EQ(0, luo_agent_ready(self->agent, &event));
	ASSERT_EQ(0, relay_event(&relay, "\"prepare\""));
	ASSERT_EQ(0, luo_agent_event(self->agent, &event, -1));
	ASSERT_EQ(LUO_EVENT_SUSPEND, event.type);
	ASSERT_EQ(0, relay_event(&relay, "\"suspend\""));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_suspended, 1));

	before = relay.luod.fd;
	luod_leave(&relay.vmm);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, relay_first(&relay, "\"attach\""));
		EXPECT_TRUE(luod_has(&relay.luod, "\"EAGAIN\""));
		relay_end(&relay);
	}
	EXPECT_TRUE(is_silent(vm));
	close(before);
	ASSERT_EQ(0, relay_first(&relay, "\"attach\""));
	while (!luod_has(&relay.luod, "\"ok\":true")) {
		relay_end(&relay);
		ASSERT_EQ(0, relay_first(&relay, "\"attach\""));
	}
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_resumed, 1));
	ASSERT_EQ(0, lu_vm_listen(vm, 1, lu_vm_said, 2));
	EXPECT_EQ(0, vm->wrong);
	ASSERT_EQ(self->luoctl, waitpid(self->luoctl, &status, 0));
	EXPECT_NE(0, status);
	ASSERT_EQ(0, luo_agent_event(self->agent, &event, -1));
	EXPECT_EQ(LUO_EVENT_CANCEL, event.type);
}
