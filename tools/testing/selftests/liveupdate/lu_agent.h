/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An update by luod, for tests of its clients: all that root does.
 */
#ifndef _LU_AGENT_H
#define _LU_AGENT_H

#include <sys/types.h>

int lu_agent_start(void);
int lu_agent_load_next(const char *more);
pid_t lu_agent_update(void);

#endif /* _LU_AGENT_H */
