/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec Handover: the hooks that architectures and the memory management have
 * to call on the way up.
 */
#ifndef _LINUX_KHO_BOOT_H
#define _LINUX_KHO_BOOT_H

#include <linux/init.h>
#include <linux/types.h>

typedef void (*kho_free_run_t)(unsigned long start_pfn, unsigned long end_pfn);

#ifdef CONFIG_KEXEC_HANDOVER

void kho_populate(phys_addr_t fdt_phys, u64 fdt_len, phys_addr_t scratch_phys,
		  u64 scratch_len);
bool kho_is_incoming(void);
void kho_memory_setup(phys_addr_t low_end);
void kho_memory_takeover(void);
void kho_memory_init(void);
unsigned long kho_free_around(unsigned long start_pfn, unsigned long end_pfn,
			      kho_free_run_t free_run);
bool kho_touches_scratch(unsigned long pfn, unsigned long nr);
void kho_scratch_protect(void);

#else

static inline void kho_populate(phys_addr_t fdt_phys, u64 fdt_len,
				phys_addr_t scratch_phys, u64 scratch_len) { }

static inline bool kho_is_incoming(void)
{
	return false;
}

static inline void kho_memory_setup(phys_addr_t low_end) { }

static inline void kho_memory_takeover(void) { }

static inline void kho_memory_init(void) { }

static inline unsigned long
kho_free_around(unsigned long start_pfn, unsigned long end_pfn,
		kho_free_run_t free_run)
{
	if (free_run && start_pfn < end_pfn)
		free_run(start_pfn, end_pfn);
	return end_pfn - start_pfn;
}

static inline bool kho_touches_scratch(unsigned long pfn, unsigned long nr)
{
	return false;
}

static inline void kho_scratch_protect(void) { }

#endif /* CONFIG_KEXEC_HANDOVER */
#endif /* _LINUX_KHO_BOOT_H */
