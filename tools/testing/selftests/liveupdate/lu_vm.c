// SPDX-License-Identifier: GPL-2.0
/*
 * lu-guest as it has to be: what line n says follows from n and from the size of
 * its memory, see lu-guest.h. A line that is missing, comes twice, or has another
 * sum is one that it did not have to say.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lu_util.h"
#include "lu_vm.h"
#include "../../../../samples/liveupdate/lu-guest.h"

#define VMS_MAX		4

bool lu_vm_possible(void)
{
	char flags[16384] = "";
	int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, flags, sizeof(flags) - 1) < 0)
		return false;
	close(fd);
	return strstr(flags, " svm ") || strstr(flags, " vmx ");
}

int lu_vm_load_kvm(void)
{
	int err = lu_load_module("virt/lib/irqbypass", "") ?:
		  lu_load_module("arch/x86/kvm/kvm", "");

	if (err)
		return err;
	return lu_load_module("arch/x86/kvm/kvm-amd", "") ?
	       lu_load_module("arch/x86/kvm/kvm-intel", "") : 0;
}

static void model_line(struct lu_vm *vm)
{
	int n;

	for (n = 0; n < LU_GUEST_HZ * LU_GUEST_STEP; n++) {
		uint64_t pass = vm->pass ? vm->pass - 1 : 0;

		vm->sum = lu_guest_sum(vm->sum, lu_guest_word(vm->index, pass));
		if (++vm->index == vm->words) {
			vm->index = 0;
			vm->pass++;
		}
	}
	vm->line++;
}

/* A guest that walks @words of memory (0: it says how many), and came to @line. */
void lu_vm_init(struct lu_vm *vm, const char *name, uint64_t words, uint64_t line)
{
	*vm = (struct lu_vm){
		.name = name,
		.out = -1,
		.words = words,
		.from = line,
	};
	while (vm->line < line)
		model_line(vm);
}

/* lu-vmm puts the name before each line, other VMMs do not. */
static const char *without_name(const struct lu_vm *vm, const char *text)
{
	size_t n = strlen(vm->name);

	return !strncmp(text, vm->name, n) && text[n] == ':' ? text + n + 2 : text;
}

static void take_line(struct lu_vm *vm, const char *text)
{
	char want[128];
	unsigned long long words;

	text = without_name(vm, text);
	/* For the spectator. */
	printf("DEMO: %-10s %s\n", vm->name, text);
	fflush(stdout);
	vm->suspended += !strncmp(text, "suspended", 9);
	vm->resumed += !strncmp(text, "resumed", 7);
	if (sscanf(text, LU_GUEST_FIRST, &words) == 1) {
		/* Once, before the first line. */
		vm->wrong += vm->line || (vm->words && vm->words != words);
		vm->words = words;
	}
	if (strncmp(text, "line ", 5))
		return;
	model_line(vm);
	snprintf(want, sizeof(want), LU_GUEST_LINE, (unsigned long long)vm->line,
		 (unsigned long long)vm->line * LU_GUEST_HZ * LU_GUEST_STEP,
		 (unsigned long long)vm->sum, 0ULL);
	if (!strcmp(text, want))
		return;
	vm->wrong++;
	printf("# %s had to say: %s\n", vm->name, want);
}

static int read_lines(struct lu_vm *vm)
{
	ssize_t n = read(vm->out, vm->text + vm->len, sizeof(vm->text) - 1 - vm->len);
	char *end;

	if (n <= 0)
		return n ? -errno : -EPIPE;
	vm->len += n;
	vm->text[vm->len] = 0;
	while ((end = strchr(vm->text, '\n'))) {
		*end++ = 0;
		take_line(vm, vm->text);
		vm->len -= end - vm->text;
		memmove(vm->text, end, vm->len + 1);
	}
	return vm->len < sizeof(vm->text) - 1 ? 0 : -E2BIG;
}

/* Listen to all of @vms until each has said enough; -EPIPE if one ends before. */
int lu_vm_listen(struct lu_vm *vms, size_t nr,
		 bool (*enough)(const struct lu_vm *vm, uint64_t n), uint64_t n)
{
	struct pollfd fds[VMS_MAX];
	size_t i, done;
	int err;

	if (nr > VMS_MAX)
		return -EINVAL;
	for (;;) {
		for (i = done = 0; i < nr; i++) {
			fds[i] = (struct pollfd){ .fd = vms[i].out, .events = POLLIN };
			done += enough(&vms[i], n);
		}
		if (done == nr)
			return 0;
		if (poll(fds, nr, -1) < 0)
			return -errno;
		for (i = 0; i < nr; i++) {
			err = fds[i].revents ? read_lines(&vms[i]) : 0;
			if (err)
				return err;
		}
	}
}

/* Lines since lu_vm_init(). */
bool lu_vm_said(const struct lu_vm *vm, uint64_t n)
{
	return vm->line >= vm->from + n;
}

/* How often it has walked all of its memory. */
bool lu_vm_passed(const struct lu_vm *vm, uint64_t n)
{
	return vm->pass >= n;
}

bool lu_vm_suspended(const struct lu_vm *vm, uint64_t n)
{
	return vm->suspended >= n;
}

bool lu_vm_resumed(const struct lu_vm *vm, uint64_t n)
{
	return vm->resumed >= n;
}
