/*
 * fiber.c - stacks and switches.
 */
#define _GNU_SOURCE
#include "fiber.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

/* AddressSanitizer must be told on which stack it is. */
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

static simt_fiber *left; /* whose bounds are learned on arrival */

static void leave(simt_fiber *from, simt_fiber *to)
{
    left = from;
    __sanitizer_start_switch_fiber(&from->fake, to->stack, to->bytes);
}

static void arrive(simt_fiber *self)
{
    const void *stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(self ? self->fake : NULL, &stack, &bytes);
    if (!left->stack) { /* the host thread's own */
        left->stack = (char *)(uintptr_t)stack;
        left->bytes = bytes;
    }
}

static void escape(simt_fiber *to)
{
    __sanitizer_start_switch_fiber(NULL, to->stack, to->bytes);
    __sanitizer_finish_switch_fiber(to->fake, NULL, NULL);
}

static void forget(simt_fiber *f)
{
    f->fake = NULL;
    __asan_unpoison_memory_region(f->stack, f->bytes);
}
#else
static void leave(simt_fiber *from, simt_fiber *to)
{
    (void)from;
    (void)to;
}

static void arrive(simt_fiber *self)
{
    (void)self;
}

static void escape(simt_fiber *to)
{
    (void)to;
}

static void forget(simt_fiber *f)
{
    (void)f;
}
#endif

int simt_fiber_create(simt_fiber *f, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *base = mmap(NULL, bytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED || mprotect(base, page, PROT_NONE))
        return 0;
    f->stack = base + page;
    f->bytes = bytes;
    return 1;
}

void simt_fiber_arrived(void)
{
    arrive(NULL);
}

void simt_fiber_escaped(simt_fiber *to)
{
    escape(to);
}

#if defined(__x86_64__)
/* What a C function may expect to find as it was: six registers; the rest of
 * the state (rounding modes) is the same in all fibers. */
void simt_swap_stacks(void **from, void *to);
__asm__(".text\n"
        ".globl simt_swap_stacks\n"
        ".hidden simt_swap_stacks\n"
        ".type simt_swap_stacks, @function\n"
        "simt_swap_stacks:\n"
        "    push %rbp\n"
        "    push %rbx\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbx\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size simt_swap_stacks, . - simt_swap_stacks\n");

void simt_fiber_start(simt_fiber *f, void (*body)(void))
{
    uintptr_t *top = (uintptr_t *)(void *)(f->stack + f->bytes);
    forget(f);
    *--top = 0; /* body's return address: there is none */
    *--top = (uintptr_t)body;
    for (int i = 0; i < 6; i++)
        *--top = 0;
    f->top = top;
}

void simt_fiber_switch(simt_fiber *from, simt_fiber *to)
{
    leave(from, to);
    simt_swap_stacks(&from->top, to->top);
    arrive(from);
}
#else
void simt_fiber_start(simt_fiber *f, void (*body)(void))
{
    forget(f);
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = f->bytes;
    f->context.uc_link = NULL;
    makecontext(&f->context, body, 0);
}

void simt_fiber_switch(simt_fiber *from, simt_fiber *to)
{
    leave(from, to);
    swapcontext(&from->context, &to->context);
    arrive(from);
}
#endif
