/* SPDX-License-Identifier: GPL-2.0 */
/* Nothing was handed over to the simulator. */
#ifndef _LINUX_KHO_BOOT_H
#define _LINUX_KHO_BOOT_H

typedef void (*kho_free_run_t)(unsigned long start_pfn, unsigned long end_pfn);

static inline void kho_memory_init(void)
{
}

static inline unsigned long kho_free_around(unsigned long start_pfn,
					    unsigned long end_pfn,
					    kho_free_run_t free_run)
{
	if (free_run && start_pfn < end_pfn)
		free_run(start_pfn, end_pfn);
	return end_pfn - start_pfn;
}

#endif
