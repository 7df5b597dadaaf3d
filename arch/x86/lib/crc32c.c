// SPDX-License-Identifier: GPL-2.0
/*
 * CRC32C with the instruction that SSE4.2 has for it. It works on general
 * registers, so it can be used in any context.
 */
#include <linux/cpufeature.h>
#include <linux/crc32.h>
#include <linux/types.h>

#include <asm/asm.h>

static u32 crc32c_byte(u32 crc, u8 byte)
{
	asm("crc32b %1, %0" : "+r" (crc) : "rm" (byte));
	return crc;
}

static unsigned long crc32c_word(unsigned long crc, unsigned long word)
{
	asm(__ASM_SEL(crc32l, crc32q) "%1, %0" : "+r" (crc) : "rm" (word));
	return crc;
}

/**
 * __crc32c_le - CRC32C of bytes, in place of the table of lib/crc32.c
 * @crc: what to begin with, or the result for the bytes before
 * @p:   the bytes
 * @len: how many
 *
 * Context: any.
 * Return: the result; neither the seed nor this is inverted.
 */
u32 __pure __crc32c_le(u32 crc, unsigned char const *p, size_t len)
{
	unsigned long sum = crc;

	if (!static_cpu_has(X86_FEATURE_XMM4_2))
		return __crc32c_le_base(crc, p, len);

	for (; len >= sizeof(long); len -= sizeof(long), p += sizeof(long))
		sum = crc32c_word(sum, *(unsigned long *)p);
	crc = sum;
	while (len--)
		crc = crc32c_byte(crc, *p++);
	return crc;
}
