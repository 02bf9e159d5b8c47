/*
 * code.c - pages of machine code (see code.h).
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "code.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGES_BYTES = 64 * 1024, ALIGNMENT = 64 };

struct cpu_code {
    cpu_code *next;
    char *at;
    size_t used;
};

static cpu_code *new_pages(cpu_code *next)
{
    cpu_code *code = malloc(sizeof *code);
    if (!code)
        return NULL;
    void *at = mmap(NULL, PAGES_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        free(code);
        return NULL;
    }
    *code = (cpu_code){.next = next, .at = at};
    return code;
}

void *cpu_code_add(cpu_code **code, const void *bytes, size_t count)
{
    if (count > PAGES_BYTES)
        return NULL;
    if (!*code || PAGES_BYTES - (*code)->used < count) {
        cpu_code *pages = new_pages(*code);
        if (!pages)
            return NULL;
        *code = pages;
    }
    char *at = (*code)->at + (*code)->used;
    const size_t rounded = (count + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    memcpy(at, bytes, count);
    (*code)->used += rounded;
    if ((*code)->used > PAGES_BYTES)
        (*code)->used = PAGES_BYTES;
    return at;
}

int cpu_code_seal(cpu_code *code)
{
    for (; code; code = code->next)
        if (mprotect(code->at, PAGES_BYTES, PROT_READ | PROT_EXEC) != 0)
            return 0;
    return 1;
}

void cpu_code_free(cpu_code *code)
{
    for (cpu_code *next; code; code = next) {
        next = code->next;
        munmap(code->at, PAGES_BYTES);
        free(code);
    }
}

int cpu_code_allowed(void)
{
    static const uint8_t nothing[] = {0xc3}; /* ret */
    cpu_code *code = NULL;
    const int allowed = cpu_code_add(&code, nothing, sizeof nothing) != NULL &&
                        cpu_code_seal(code);
    cpu_code_free(code);
    return allowed;
}
