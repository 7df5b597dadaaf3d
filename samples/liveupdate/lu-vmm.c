// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual machine that outlives the kernel of its host.
 *
 *	lu-vmm [-m MIB] NAME IMAGE
 *
 * A small VMM: one vCPU, memory, KVM's interrupt controllers, and a port that
 * takes text. IMAGE is lu-guest.bin or another flat Multiboot program. This much
 * makes it survive a live update:
 *
 *  - the guest's memory is a memfd, and a second one has room for struct machine:
 *    all that KVM knows about the guest and that is not in its memory;
 *  - luod hands out the session NAME. When it says that an update comes, both
 *    files are preserved, and the guest runs on: what counts is what is in its
 *    memory when the kernel freezes it;
 *  - when luod says that all are prepared, the vCPU is stopped, and KVM asked for
 *    the machine. From here on the guest stands still;
 *  - started again by the next kernel, both files are in the session: the machine
 *    is told to a new KVM, and goes on with the instruction that would have been
 *    next. luo_finish() makes the files ordinary ones until the next update.
 *
 * If the update does not come about, or luod dies, the guest goes on.
 * SIGTERM ends it. What happens is said on standard output, in lines.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/kvm.h>
#include <luo.h>

#include "lu-guest.h"

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

#define MIB			(1024UL * 1024)
#define LOOK_FOR_AGENT_MS	500

/* Where a program without BIOS finds what a Multiboot loader owes it. */
#define INFO_ADDR		0x500
#define MULTIBOOT_MAGIC		0x2badb002
/* Three pages that Intel's processors want, out of the guest's way. */
#define TSS_ADDR		0xfffbd000

/*
 * The machine without its memory, and the contents of the second memfd. Another
 * layout needs another magic: the VMM that reads it may be a newer one.
 */
#define MACHINE_MAGIC		"lu-vmm machine 1"

struct machine {
	char magic[24];
	__u64 ram_size;
	__u64 stopped;			/* at which TSC of the host; 0: it runs */
	__u32 tsc_khz;
	__u32 line_len;			/* text that lacks its newline yet */
	char line[128];
	struct kvm_clock_data clock;
	struct kvm_irqchip chips[KVM_NR_IRQCHIPS];
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[512];
	} msrs;
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid;
};

/* The files of a session; their tokens, too. */
enum { RAM, MACHINE, NR_FILES };

struct vmm {
	const char *name;
	int kvm;
	int vm;
	int vcpu;
	struct kvm_run *run;
	struct luo_agent *agent;
	int session;
	int files[NR_FILES];
	unsigned int preserved;		/* this many of them */
	void *ram;
	struct machine *machine;
	pthread_t thread;
	bool running;
};

static struct vmm vmm;

/* For system calls that cannot fail in a VMM that is to work. */
static int must(int ret, const char *what)
{
	if (ret < 0)
		err(1, "%s: %s", vmm.name, what);
	return ret;
}

/* The same for libluo, which returns the error. */
static int luo_must(int ret, const char *what)
{
	errno = -ret;
	return must(ret < 0 ? -1 : ret, what);
}

/* One write a line: there may be more writers. */
#define say(fmt, ...) dprintf(STDOUT_FILENO, "%s: " fmt "\n", vmm.name, ##__VA_ARGS__)

/* --- What KVM knows ------------------------------------------------------ */

/*
 * What is asked for to save the machine, and told to restore it, in the order
 * that the restoring needs: what the processor is comes before what it does; the
 * APIC's mode is in the special registers; setting registers drops a pending
 * exception, so events come after them. MSRs go between, see restore_machine().
 */
struct part {
	const char *name;
	unsigned long get;
	unsigned long set;
	size_t offset;
	bool of_vm;
};

#define PART(name, field, of_vm) \
	{ #field, KVM_GET_##name, KVM_SET_##name, offsetof(struct machine, field), of_vm }

static const struct part parts[] = {
	PART(IRQCHIP, chips[0], true),
	PART(IRQCHIP, chips[1], true),
	PART(IRQCHIP, chips[2], true),
	PART(SREGS, sregs, false),
	PART(XCRS, xcrs, false),
	PART(XSAVE, xsave, false),
	PART(DEBUGREGS, debugregs, false),
	PART(LAPIC, lapic, false),
	PART(REGS, regs, false),
	PART(MP_STATE, mp_state, false),
	PART(VCPU_EVENTS, events, false),
	PART(CLOCK, clock, true),
};

static int part_ioctl(const struct part *part, unsigned long request)
{
	void *data = (char *)vmm.machine + part->offset;

	return ioctl(part->of_vm ? vmm.vm : vmm.vcpu, request, data);
}

static int one_msr(unsigned long request, __u32 index, __u64 *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = { .head.nmsrs = 1, .entry = { .index = index, .data = *value } };

	if (ioctl(vmm.vcpu, request, &msr) != 1)
		return -1;
	*value = msr.entry.data;
	return 0;
}

/* KVM lists MSRs that this processor does not have: those cannot be read. */
static int save_msrs(void)
{
	struct kvm_msrs *msrs = &vmm.machine->msrs.head;
	struct {
		struct kvm_msr_list head;
		__u32 indices[ARRAY_SIZE(vmm.machine->msrs.entries)];
	} list = { .head.nmsrs = ARRAY_SIZE(list.indices) };
	__u32 i;

	if (ioctl(vmm.kvm, KVM_GET_MSR_INDEX_LIST, &list))
		return -1;
	msrs->nmsrs = 0;
	for (i = 0; i < list.head.nmsrs; i++) {
		struct kvm_msr_entry *msr = &msrs->entries[msrs->nmsrs];

		*msr = (struct kvm_msr_entry) { .index = list.indices[i] };
		msrs->nmsrs += !one_msr(KVM_GET_MSRS, msr->index, &msr->data);
	}
	return 0;
}

/* What a new vCPU has anyway need not be allowed to be set. */
static void restore_msrs(void)
{
	struct kvm_msrs *msrs = &vmm.machine->msrs.head;
	__u32 i;

	for (i = 0; i < msrs->nmsrs; i++) {
		struct kvm_msr_entry *msr = &msrs->entries[i];
		__u64 now = 0;

		if (!one_msr(KVM_GET_MSRS, msr->index, &now) && now == msr->data)
			continue;
		if (one_msr(KVM_SET_MSRS, msr->index, &msr->data))
			errx(1, "%s: KVM does not take %#llx for MSR %#x", vmm.name,
			     msr->data, msr->index);
	}
}

/* Only while the vCPU is stopped. */
static int save_machine(void)
{
	struct machine *m = vmm.machine;
	size_t i;

	for (i = 0; i < KVM_NR_IRQCHIPS; i++)
		m->chips[i].chip_id = i;
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		if (part_ioctl(&parts[i], parts[i].get) < 0) {
			say("cannot save %s", parts[i].name);
			return -errno;
		}
	}
	if (save_msrs())
		return -errno;
	/* The guest's clock goes on from where it stops, as its TSC does. */
	m->clock.flags = 0;
	return 0;
}

static void restore_machine(void)
{
	struct machine *m = vmm.machine;
	size_t i;

	must(ioctl(vmm.vcpu, KVM_SET_CPUID2, &m->cpuid), "its processor is not to be had");
	/* As close as this processor can get. */
	if (ioctl(vmm.vcpu, KVM_SET_TSC_KHZ, (long)m->tsc_khz))
		say("its TSC does not run at %u kHz any longer", m->tsc_khz);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		must(part_ioctl(&parts[i], parts[i].set), parts[i].name);
		/* A deadline of the timer belongs to the mode that is set here. */
		if (parts[i].set == KVM_SET_LAPIC)
			restore_msrs();
	}
}

/* The processor as KVM can offer it, without guests of the guest. */
static void new_cpuid(void)
{
	struct kvm_cpuid2 *cpuid = &vmm.machine->cpuid.head;
	__u32 i;

	cpuid->nent = ARRAY_SIZE(vmm.machine->cpuid.entries);
	must(ioctl(vmm.kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
	for (i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == 1)
			cpuid->entries[i].ecx &= ~(1U << 5);	/* VMX */
		if (cpuid->entries[i].function == 0x80000001)
			cpuid->entries[i].ecx &= ~(1U << 2);	/* SVM */
	}
	must(ioctl(vmm.vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
}

/* 32 bit, flat, no paging: where a Multiboot loader leaves the processor. */
static void new_registers(void)
{
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1,
		.db = 1, .s = 1, .g = 1,
	};
	struct kvm_segment code = data;
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = LU_GUEST_LOAD, .rflags = 2, .rax = MULTIBOOT_MAGIC, .rbx = INFO_ADDR,
	};

	code.selector = 8;
	code.type = 11;
	must(ioctl(vmm.vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.ss = data;
	sregs.cr0 = 0x11;	/* protected, x87 */
	must(ioctl(vmm.vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vmm.vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void load_image(const char *path)
{
	const __u32 info[] = { 1, 640, vmm.machine->ram_size / 1024 - 1024 };
	int fd = must(open(path, O_RDONLY | O_CLOEXEC), path);

	must(read(fd, (char *)vmm.ram + LU_GUEST_LOAD, LU_GUEST_RAM - LU_GUEST_LOAD), path);
	close(fd);
	memcpy((char *)vmm.ram + INFO_ADDR, info, sizeof(info));
}

/* --- The files ----------------------------------------------------------- */

static void *map(int fd, size_t size, const char *what)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	must(p == MAP_FAILED ? -1 : 0, what);
	return p;
}

static void map_files(size_t ram_size)
{
	struct kvm_userspace_memory_region region = { .memory_size = ram_size };

	vmm.ram = map(vmm.files[RAM], ram_size, "ram");
	vmm.machine = map(vmm.files[MACHINE], sizeof(struct machine), "machine");
	region.userspace_addr = (uintptr_t)vmm.ram;
	must(ioctl(vmm.vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void new_files(size_t ram_size)
{
	vmm.files[RAM] = must(memfd_create("ram", MFD_CLOEXEC), "ram");
	must(ftruncate(vmm.files[RAM], ram_size), "ram");
	vmm.files[MACHINE] = must(memfd_create("machine", MFD_CLOEXEC), "machine");
	must(ftruncate(vmm.files[MACHINE], sizeof(struct machine)), "machine");
	map_files(ram_size);
	*vmm.machine = (struct machine) { .magic = MACHINE_MAGIC, .ram_size = ram_size };
}

/* Leaving without luo_finish() loses nothing: another VMM can have them. */
static void returned_files(void)
{
	struct stat st[NR_FILES];

	for (int i = 0; i < NR_FILES; i++) {
		vmm.files[i] = luo_must(luo_retrieve_fd(vmm.session, i), "file of the session");
		must(fstat(vmm.files[i], &st[i]), "fstat");
	}
	if (st[MACHINE].st_size != sizeof(struct machine))
		errx(1, "%s: a machine of %jd bytes, not %zu", vmm.name,
		     (intmax_t)st[MACHINE].st_size, sizeof(struct machine));
	map_files(st[RAM].st_size);
	if (memcmp(vmm.machine->magic, MACHINE_MAGIC, sizeof(MACHINE_MAGIC)) ||
	    vmm.machine->ram_size != (__u64)st[RAM].st_size || !vmm.machine->stopped ||
	    vmm.machine->line_len >= sizeof(vmm.machine->line) ||
	    vmm.machine->msrs.head.nmsrs > ARRAY_SIZE(vmm.machine->msrs.entries))
		errx(1, "%s: not a suspended machine that this VMM knows", vmm.name);
}

/* --- Running ------------------------------------------------------------- */

static void take_text(const char *text, size_t len)
{
	struct machine *m = vmm.machine;

	for (; len; len--, text++) {
		if (*text != '\n' && m->line_len < sizeof(m->line) - 1) {
			m->line[m->line_len++] = *text;
			continue;
		}
		say("%.*s", (int)m->line_len, m->line);
		m->line_len = 0;
	}
}

static void take_io(struct kvm_run *run)
{
	char *data = (char *)run + run->io.data_offset;
	size_t len = (size_t)run->io.size * run->io.count;

	if (run->io.direction == KVM_EXIT_IO_IN)
		memset(data, 0xff, len);
	else if (run->io.port == LU_GUEST_PORT)
		take_text(data, len);
}

/*
 * The vCPU's thread, until run->immediate_exit is set. A port access is complete
 * only once KVM_RUN has been entered again: so it always is, and the exit comes
 * after that.
 */
static void *run_vcpu(void *unused)
{
	struct kvm_run *run = vmm.run;

	for (;;) {
		if (ioctl(vmm.vcpu, KVM_RUN, 0)) {
			if (errno == EINTR && run->immediate_exit)
				return unused;
			if (errno == EINTR || errno == EAGAIN)
				continue;
			err(1, "%s: KVM_RUN", vmm.name);
		}
		if (run->exit_reason == KVM_EXIT_IO)
			take_io(run);
		else if (run->exit_reason != KVM_EXIT_INTR)
			errx(1, "%s: the guest stopped for reason %u", vmm.name,
			     run->exit_reason);
	}
}

static void kick(int unused)
{
	vmm.run->immediate_exit = 1;
}

static void start(void)
{
	vmm.run->immediate_exit = 0;
	vmm.machine->stopped = 0;
	luo_must(-pthread_create(&vmm.thread, NULL, run_vcpu, NULL), "thread");
	vmm.running = true;
}

static void stop(void)
{
	pthread_kill(vmm.thread, SIGURG);
	pthread_join(vmm.thread, NULL);
	vmm.machine->stopped = __builtin_ia32_rdtsc();
	vmm.running = false;
}

static void new_vm(void)
{
	vmm.kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vmm.vm = must(ioctl(vmm.kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	must(ioctl(vmm.vm, KVM_SET_TSS_ADDR, TSS_ADDR), "KVM_SET_TSS_ADDR");
	must(ioctl(vmm.vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	vmm.vcpu = must(ioctl(vmm.vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	vmm.run = map(vmm.vcpu, must(ioctl(vmm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "vCPU"), "vCPU");
}

/* --- Updates ------------------------------------------------------------- */

/* The guest runs on. What is preserved stays so if the update is called off. */
static int prepare(void)
{
	int err;

	for (; vmm.preserved < NR_FILES; vmm.preserved++) {
		err = luo_preserve(vmm.session, vmm.files[vmm.preserved], vmm.preserved);
		if (err)
			return err;
	}
	return 0;
}

static int suspend(void)
{
	int err;

	if (!vmm.running)
		return 0;
	stop();
	err = save_machine();
	if (err)
		start();
	else
		say("suspended");
	return err;
}

static void resume(void)
{
	__u64 ticks = __builtin_ia32_rdtsc() - vmm.machine->stopped;

	if (vmm.running)
		return;
	start();
	say("resumed, stood still for %.3f s", ticks / (vmm.machine->tsc_khz * 1e3));
}

static void answer(const struct luo_event *event, int err)
{
	if (err)
		luo_agent_refuse(vmm.agent, event, strerror(-err));
	else
		luo_agent_ready(vmm.agent, event);
}

/* Where luod is, the update can be as well: a guest that stands still stays so. */
static void lost_agent(void)
{
	luo_agent_close(vmm.agent);
	vmm.agent = NULL;
}

/* There is no update if luod takes the session, nor without a luod. */
static void find_agent(void)
{
	int err = luo_agent_connect(&vmm.agent, NULL);

	if (!err && luo_agent_attach(vmm.agent, vmm.session))
		lost_agent();
	else if (!err || err == -ECONNREFUSED || err == -ENOENT)
		resume();
}

static void serve_agent(void)
{
	struct luo_event event;

	while (vmm.agent && !luo_agent_event(vmm.agent, &event, 0)) {
		switch (event.type) {
		case LUO_EVENT_NONE:
			return;
		case LUO_EVENT_PREPARE:
			answer(&event, prepare());
			break;
		case LUO_EVENT_SUSPEND:
			answer(&event, suspend());
			break;
		case LUO_EVENT_CANCEL:
			resume();
			break;
		case LUO_EVENT_LEFT_OUT:
			say("is left out of an update, and lost if the kernel goes");
			break;
		}
	}
	/* To be found again, and not at once: SIGTERM can have come. */
	lost_agent();
}

/* Until SIGTERM comes. */
static void serve(int end)
{
	struct pollfd fds[] = { { end, POLLIN, 0 }, { -1, POLLIN, 0 } };

	while (!fds[0].revents) {
		if (!vmm.agent)
			find_agent();
		serve_agent();
		fds[1].fd = vmm.agent ? luo_agent_fd(vmm.agent) : -1;
		poll(fds, ARRAY_SIZE(fds), vmm.agent ? -1 : LOOK_FOR_AGENT_MS);
	}
}

static void go_on(void)
{
	returned_files();
	say("has its session back");
	restore_machine();
	luo_must(luo_finish(vmm.session), "finish");
	resume();
}

static void begin(const char *image, size_t ram_size)
{
	new_files(ram_size);
	vmm.machine->tsc_khz = ioctl(vmm.vcpu, KVM_GET_TSC_KHZ, 0);
	load_image(image);
	new_cpuid();
	new_registers();
	start();
	say("started, %zu MiB", ram_size / MIB);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = kick, .sa_flags = SA_RESTART };
	unsigned long mib = 16;
	enum luo_origin origin;
	sigset_t end;
	int opt;

	while ((opt = getopt(argc, argv, "m:")) == 'm')
		mib = strtoul(optarg, NULL, 0);
	if (opt != -1 || argc - optind != 2 || mib < 3 || mib > 1024)
		errx(2, "usage: lu-vmm [-m MIB (3 to 1024)] NAME IMAGE");
	vmm.name = argv[optind];
	/* Before there are threads. */
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	sigaction(SIGURG, &action, NULL);
	new_vm();
	luo_must(luo_agent_connect(&vmm.agent, NULL), "luod");
	vmm.session = luo_must(luo_agent_session(vmm.agent, vmm.name, &origin), "session");
	if (origin == LUO_FROM_BEFORE)
		go_on();
	else
		begin(argv[optind + 1], mib * MIB);
	serve(signalfd(-1, &end, SFD_CLOEXEC));
	return 0;
}
