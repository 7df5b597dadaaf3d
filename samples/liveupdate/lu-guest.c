// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that checks itself, for lu-vmm and for every loader that knows
 * Multiboot. Nothing but the processor, its local APIC, and a port that
 * takes text. See lu-guest.h for what it does.
 *
 * Of the processor's state, it is general, SSE and control registers,
 * the timer and its interrupt, and HLT that it depends on.
 */
#include "lu-guest.h"

#define VECTOR			32
#define APIC			0xfee00000UL
#define APIC_HZ			1000000000	/* of KVM's local APIC */
#define APIC_SPURIOUS		0x0f0
#define APIC_TIMER		0x320
#define APIC_INITIAL_COUNT	0x380
#define APIC_DIVIDE		0x3e0
#define TIMER_PERIODIC		0x20000
#define DIVIDE_BY_1		0xb

struct multiboot_info {
	__u32 flags;
	__u32 mem_lower;
	__u32 mem_upper;	/* KiB from 1 MiB on */
};

struct gate {
	__u16 offset;
	__u16 segment;
	__u16 type;
	__u16 offset_16;
	__u64 offset_32;
};

/* Counted by the interrupt. */
__u64 ticks;

static void write_port(__u16 port, __u8 value)
{
	asm volatile("outb %0, %1" : : "a" (value), "Nd" (port) : "memory");
}

static void apic_write(__u32 reg, __u32 value)
{
	asm volatile("movl %0, (%1)" : : "r" (value), "r" (APIC + reg) : "memory");
}

/* The checksum lives in a register that the compiler is told not to use. */
static void put_sum(__u64 sum)
{
	asm volatile("movq %0, %%xmm15" : : "r" (sum));
}

static __u64 get_sum(void)
{
	__u64 sum;

	asm volatile("movq %%xmm15, %0" : "=r" (sum));
	return sum;
}

static void print(const char *text)
{
	while (*text)
		write_port(LU_GUEST_PORT, *text++);
}

static void print_number(__u64 n, unsigned int base, int width)
{
	char digits[21];
	int i = sizeof(digits) - 1;

	digits[i] = 0;
	do {
		digits[--i] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n || (int)sizeof(digits) - 1 - i < width);
	print(digits + i);
}

static void print_line(__u64 line, __u64 words, __u64 wrong)
{
	print("line ");
	print_number(line, 10, 1);
	print(": ");
	print_number(words, 10, 1);
	print(" words, sum ");
	print_number(get_sum(), 16, 16);
	print(", ");
	print_number(wrong, 10, 1);
	print(" wrong\n");
}

static void start_timer(struct gate *idt, unsigned long handler)
{
	/* What a BIOS may have left there. */
	write_port(0x21, 0xff);
	write_port(0xa1, 0xff);
	idt[VECTOR].offset = handler;
	idt[VECTOR].segment = 8;
	idt[VECTOR].type = 0x8e00;
	idt[VECTOR].offset_16 = handler >> 16;
	apic_write(APIC_SPURIOUS, 0x1ff);
	apic_write(APIC_DIVIDE, DIVIDE_BY_1);
	apic_write(APIC_TIMER, TIMER_PERIODIC | VECTOR);
	apic_write(APIC_INITIAL_COUNT, APIC_HZ / LU_GUEST_HZ);
	asm volatile("sti");
}

/* Wait until there were more than @n ticks. */
static void await_tick(__u64 n)
{
	asm volatile("cli" : : : "memory");
	while (ticks == n)
		asm volatile("sti; hlt; cli" : : : "memory");
	asm volatile("sti" : : : "memory");
}

void guest_main(const struct multiboot_info *info, struct gate *idt, unsigned long tick)
{
	__u64 *ram = (void *)LU_GUEST_RAM;
	__u64 nr = (((__u64)info->mem_upper + 1024) * 1024 - LU_GUEST_RAM) / 8;
	__u64 i = 0, pass = 0, n, done, wrong = 0;

	print("memory: ");
	print_number(nr, 10, 1);
	print(" words\n");
	put_sum(0);
	start_timer(idt, tick);
	for (n = 0;; n++) {
		await_tick(n);
		for (done = 0; done < LU_GUEST_STEP; done++) {
			__u64 word = pass ? ram[i] : lu_guest_word(i, 0);

			wrong += pass && word != lu_guest_word(i, pass - 1);
			put_sum(lu_guest_sum(get_sum(), word));
			ram[i] = lu_guest_word(i, pass);
			if (++i == nr) {
				i = 0;
				pass++;
			}
		}
		if (!((n + 1) % LU_GUEST_HZ))
			print_line((n + 1) / LU_GUEST_HZ, (n + 1) * LU_GUEST_STEP, wrong);
	}
}
