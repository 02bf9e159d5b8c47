/*
 * code.h - memory for machine code that is written while a plan is compiled.
 *
 * Pages are written first and made executable afterwards, all at once: no page
 * is ever both. A system that forbids even that (SELinux's execmem, a hardened
 * kernel) is found out when the device opens; programs are interpreted then.
 */
#ifndef CPU_CODE_H
#define CPU_CODE_H

#include <stddef.h>
#include <stdint.h>

typedef struct cpu_code cpu_code;

/* Whether this process may run what it wrote. */
int cpu_code_allowed(void);

/* A copy of the bytes, not yet executable. NULL: no memory. */
void *cpu_code_add(cpu_code **code, const void *bytes, size_t count);

/* Make all of it executable; nothing can be added afterwards. 0: refused. */
int cpu_code_seal(cpu_code *code);

void cpu_code_free(cpu_code *code);

#endif
