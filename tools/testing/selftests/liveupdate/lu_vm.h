/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests of virtual machines share: listening to lu-guest of
 * samples/liveupdate, whoever runs it, and comparing what it says with what it
 * has to say.
 */
#ifndef _LU_VM_H
#define _LU_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LU_VM_IMAGE	"./lu-guest.bin"

struct lu_vm {
	const char *name;
	pid_t pid;
	int out;		/* what its VMM says, by lines */
	char text[512];
	size_t len;
	uint64_t words;		/* of memory that it walks */
	uint64_t from;		/* the line it had come to when this began */
	uint64_t line, index, pass, sum;
	unsigned int suspended, resumed, wrong;
};

int lu_vm_load_kvm(void);
bool lu_vm_possible(void);
void lu_vm_init(struct lu_vm *vm, const char *name, uint64_t words, uint64_t line);
int lu_vm_listen(struct lu_vm *vms, size_t nr,
		 bool (*enough)(const struct lu_vm *vm, uint64_t n), uint64_t n);
bool lu_vm_said(const struct lu_vm *vm, uint64_t n);
bool lu_vm_passed(const struct lu_vm *vm, uint64_t n);
bool lu_vm_suspended(const struct lu_vm *vm, uint64_t n);
bool lu_vm_resumed(const struct lu_vm *vm, uint64_t n);

#endif /* _LU_VM_H */
