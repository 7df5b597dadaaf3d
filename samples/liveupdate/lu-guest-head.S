/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The first instructions of lu-guest: from the state that a Multiboot loader
 * leaves (32 bit, flat, no paging, %ebx points to what it knows about the
 * machine) to 64-bit C. The image begins with its entry.
 */
#define MAGIC		0x1badb002
#define FLAGS		0x00010002	/* addresses are below; wants memory sizes */

#define CR0_PE		0x00000001
#define CR0_MP		0x00000002
#define CR0_EM		0x00000004
#define CR0_PG		0x80000000
#define CR4_PAE		0x00000020
#define CR4_SSE		0x00000600	/* OSFXSR, OSXMMEXCPT */
#define PRESENT_RW	0x03
#define UNCACHED	0x18
#define HUGE		0x80
#define MSR_EFER	0xc0000080
#define EFER_LME	0x00000100
#define APIC_EOI	0xfee000b0

	.section .head, "ax"
	.code32
	.globl	_start
_start:
	jmp	1f
	.balign	4
header:
	.long	MAGIC, FLAGS, -(MAGIC + FLAGS)
	.long	header, _start, _end, 0, _start
1:
	movl	%ebx, %edi
	lgdt	gdt_pointer
	movl	%cr4, %eax
	orl	$(CR4_PAE | CR4_SSE), %eax
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	%cr0, %eax
	andl	$~CR0_EM, %eax
	orl	$(CR0_PG | CR0_MP | CR0_PE), %eax
	movl	%eax, %cr0
	ljmp	$8, $1f

	.code64
1:	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movq	$stack_end, %rsp
	lidt	idt_pointer
	movl	$idt, %esi
	movl	$tick, %edx
	call	guest_main

	.text
tick:
	pushq	%rax
	incq	ticks
	movl	$APIC_EOI, %eax
	movl	$0, (%rax)
	popq	%rax
	iretq

	.data
	.balign	8
gdt:	.quad	0, 0x00af9a000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

	.balign	16
idt:	.fill	33 * 2, 8, 0
idt_pointer:
	.word	. - idt - 1
	.quad	idt

	/* The first GiB of memory, and the one that the local APIC is in. */
	.balign	4096
pml4:	.quad	pdpt + PRESENT_RW
	.fill	511, 8, 0
pdpt:	.quad	memory + PRESENT_RW, 0, 0, devices + PRESENT_RW
	.fill	508, 8, 0
memory:	.set	address, 0
	.rept	512
	.quad	address + HUGE + PRESENT_RW
	.set	address, address + 0x200000
	.endr
devices:
	.set	address, 0xc0000000
	.rept	512
	.quad	address + HUGE + UNCACHED + PRESENT_RW
	.set	address, address + 0x200000
	.endr

	.fill	4096, 1, 0
stack_end:

	.section .note.GNU-stack, "", @progbits
