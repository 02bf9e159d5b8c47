/*
 * fiber.h - another stack, and the way there and back.
 *
 * swapcontext() saves the signal mask with a system call each time; a block of
 * 256 threads that shuffles ten times switches 2560 times. On x86-64 a switch
 * here is a dozen instructions; elsewhere it is swapcontext().
 *
 * A fiber runs one function that never returns. simt_fiber_start() begins it
 * anew, wherever it was.
 */
#ifndef SIMT_FIBER_H
#define SIMT_FIBER_H

#include <stddef.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

typedef struct simt_fiber {
#if defined(__x86_64__)
    void *top; /* of the stack, while it waits */
#else
    ucontext_t context;
#endif
    char *stack; /* lowest byte; NULL: the stack of the host thread */
    size_t bytes;
    void *fake; /* AddressSanitizer's */
} simt_fiber;

/* A stack with a page below it that must not be touched; 0: out of memory. */
int simt_fiber_create(simt_fiber *f, size_t bytes);

/* The next switch to f calls body. */
void simt_fiber_start(simt_fiber *f, void (*body)(void));

/* Leave `from`, which runs now, and go on with `to`. */
void simt_fiber_switch(simt_fiber *from, simt_fiber *to);

/* To be called first by a body. */
void simt_fiber_arrived(void);

/* To be called where `to` went on by a long jump out of another fiber. */
void simt_fiber_escaped(simt_fiber *to);

#endif
