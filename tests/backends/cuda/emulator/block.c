/*
 * block.c - threads of a block as fibers.
 *
 * Blocks run one after the other, the threads of a block in turns: each until
 * it meets a barrier or a collective call of its warp, or returns. That is one
 * of the orders that the device might choose, or, by simt_set_order(), another:
 * a kernel that lacks a barrier gives other bits in another order, because
 * nothing runs in lockstep here.
 *
 *     NEW --> runs --> DONE
 *              |  ^
 *              v  |  all threads of the block wait at one barrier;
 *            WAITS   all lanes of a mask wait at one collective call
 *
 * When no thread can run and not all are done, some wait for others that will
 * never come. The device would hang, or go on with garbage; here the launch
 * fails and says who waits where. Two things that a device forgives are errors
 * too: a barrier after some threads have returned, and a mask that names lanes
 * which do.
 *
 * A thread that never waits needs no fiber of its own: a fiber goes on with the
 * next new thread when its thread has returned, so that a kernel without
 * barriers is a loop over calls.
 */
#define _GNU_SOURCE
#include "block.h"
#include "fiber.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MOST_THREADS = 1024,
    LANES = 32,
    STACK_BYTES = 1 << 18,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILED = 719,
    OUT_OF_MEMORY = 2,
};

typedef enum { NEW, RUNS, AT_BARRIER, IN_WARP, DONE } thread_state;

typedef struct thread {
    thread_state state;
    simt_fiber *fiber;
    const char *file; /* where it waits */
    int line;
    uint32_t mask;
    int source;
    uint64_t value, result;
} thread;

simt_uint3 threadIdx, blockIdx, blockDim, gridDim;

static struct {
    const simt_launch *launch;
    thread threads[MOST_THREADS];
    uint32_t count;
    uint32_t order[MOST_THREADS];
    uint32_t at; /* order[at] runs */
    uint32_t done, at_barrier;
    simt_fiber fibers[MOST_THREADS];
    simt_fiber *idle[MOST_THREADS];
    uint32_t fiber_count, idle_count;
    simt_fiber host;
    sigjmp_buf fault;
    int error;
} now;

/* ---- order ---- */

static uint32_t order_wanted;
static uint64_t dice = 88172645463325252u;

void simt_set_order(uint32_t order)
{
    order_wanted = order;
    dice = 88172645463325252u + order;
}

uint32_t simt_order(void)
{
    return order_wanted;
}

uint32_t simt_pick(uint32_t n)
{
    if (order_wanted <= SIMT_REVERSE)
        return order_wanted == SIMT_REVERSE ? n - 1 : 0;
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)((dice >> 32) * n >> 32);
}

/* Fill `order` with 0 .. n - 1. */
static void draw_order(uint32_t *order, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        order[i] = order_wanted == SIMT_REVERSE ? n - 1 - i : i;
    for (uint32_t i = n; order_wanted > SIMT_REVERSE && i > 1; i--) {
        const uint32_t k = simt_pick(i), kept = order[k];
        order[k] = order[i - 1];
        order[i - 1] = kept;
    }
}

/* ---- errors ---- */

static simt_uint3 index_of(uint32_t number)
{
    const simt_uint3 d = now.launch->block;
    return (simt_uint3){number % d.x, number / d.x % d.y, number / d.x / d.y};
}

static void say(uint32_t number, const char *format, ...)
{
    const simt_uint3 t = index_of(number);
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "simt: %s: block (%u,%u,%u), thread (%u,%u,%u): %s\n",
            now.launch->name, blockIdx.x, blockIdx.y, blockIdx.z, t.x, t.y, t.z,
            text);
}

static uint32_t running(void)
{
    return now.order[now.at];
}

/* Give up the block from within a kernel. */
__attribute__((noreturn)) static void give_up(void)
{
    now.error = LAUNCH_FAILED;
    simt_fiber_switch(now.threads[running()].fiber, &now.host);
    abort(); /* nobody comes back to a block that was given up */
}

/* ---- what kernels call ---- */

/* Leave the running thread until it may go on. */
static void wait_as(thread_state state)
{
    thread *t = &now.threads[running()];
    t->state = state;
    simt_fiber_switch(t->fiber, &now.host);
}

unsigned simt_barrier(unsigned value, const char *file, int line)
{
    thread *t = &now.threads[running()];
    t->file = file;
    t->line = line;
    t->value = value;
    t->mask = 0;
    now.at_barrier++;
    wait_as(AT_BARRIER);
    return (unsigned)t->result;
}

/* The lanes of thread t's warp that exist, as bits. */
static uint32_t lanes_beside(const thread *t)
{
    const uint32_t first = (uint32_t)(t - now.threads) / LANES * LANES;
    const uint32_t count = now.count - first;
    return count < LANES ? (1u << count) - 1 : ~0u;
}

static thread *warp_of(const thread *t)
{
    return now.threads + (t - now.threads) / LANES * LANES;
}

/* The lanes of t's mask, if all of them wait where t waits; else 0. */
static uint32_t complete_lanes(const thread *t)
{
    const thread *warp = warp_of(t);
    const uint32_t all = t->mask & lanes_beside(t);
    for (uint32_t lanes = all; lanes; lanes &= lanes - 1) {
        const thread *o = &warp[__builtin_ctz(lanes)];
        if (o->state != IN_WARP || o->mask != t->mask || o->line != t->line ||
            o->file != t->file)
            return 0;
    }
    return all;
}

/* All have come: hand each what it asked for. */
static void release_lanes(thread *warp, uint32_t all)
{
    uint32_t votes = 0;
    for (uint32_t lanes = all; lanes; lanes &= lanes - 1)
        if (warp[__builtin_ctz(lanes)].value)
            votes |= lanes & -lanes;
    for (uint32_t lanes = all; lanes; lanes &= lanes - 1) {
        thread *t = &warp[__builtin_ctz(lanes)];
        t->result = t->source < 0 ? votes : warp[t->source].value;
        t->state = RUNS;
    }
}

/* Wait for the lanes of the mask; the last one to come lets all go on. */
static uint64_t meet(uint32_t mask, uint64_t value, int source,
                     const char *file, int line)
{
    thread *t = &now.threads[running()];
    *t = (thread){IN_WARP, t->fiber, file, line, mask, source, value, 0};
    if (!(mask >> running() % LANES & 1)) {
        say(running(), "%s:%d: its lane is not in the mask 0x%08x", file, line,
            mask);
        give_up();
    }
    const uint32_t all = complete_lanes(t);
    if (all)
        release_lanes(warp_of(t), all);
    else
        wait_as(IN_WARP);
    return t->result;
}

unsigned long long simt_exchange(unsigned mask, unsigned long long value,
                                 int source, const char *file, int line)
{
    const uint32_t there = mask & lanes_beside(&now.threads[running()]);
    if (!(there >> source & 1)) {
        say(running(), "%s:%d: reads lane %d, which is not in the mask 0x%08x",
            file, line, source, mask);
        give_up();
    }
    return meet(mask, value, source, file, line);
}

unsigned simt_vote(unsigned mask, int value, const char *file, int line)
{
    return (unsigned)meet(mask, value != 0, -1, file, line);
}

int simt_lane(void)
{
    return (int)(running() % LANES);
}

void simt_trap(const char *file, int line)
{
    say(running(), "%s:%d: trap", file, line);
    give_up();
}

/* ---- one block ---- */

/* A fiber: new threads, one after the other. */
static void run_threads(void)
{
    simt_fiber_arrived();
    for (;;) {
        thread *t = &now.threads[running()];
        simt_fiber *self = t->fiber;
        now.launch->call(now.launch->argument);
        t = &now.threads[running()];
        t->state = DONE;
        now.done++;
        if (now.at + 1 < now.count &&
            now.threads[now.order[now.at + 1]].state == NEW) {
            now.at++;
            now.threads[running()].fiber = self;
            now.threads[running()].state = RUNS;
            threadIdx = index_of(running());
            continue;
        }
        now.idle[now.idle_count++] = self;
        simt_fiber_switch(self, &now.host);
    }
}

/* A fiber for a new thread; NULL: out of memory. */
static simt_fiber *take_fiber(void)
{
    simt_fiber *f = &now.fibers[now.fiber_count];
    if (now.idle_count)
        return now.idle[--now.idle_count];
    if (!simt_fiber_create(f, STACK_BYTES))
        return NULL;
    simt_fiber_start(f, run_threads);
    now.fiber_count++;
    return f;
}

/* Let every thread that can run do so once; 0 if none could. */
static int run_turn(void)
{
    int any = 0;
    draw_order(now.order, now.count);
    for (now.at = 0; now.at < now.count && !now.error; now.at++) {
        thread *t = &now.threads[running()];
        if (t->state != NEW && t->state != RUNS)
            continue;
        any = 1;
        if (t->state == NEW && !(t->fiber = take_fiber())) {
            now.error = OUT_OF_MEMORY;
            return 1;
        }
        t->state = RUNS;
        threadIdx = index_of(running());
        simt_fiber_switch(&now.host, t->fiber);
    }
    return any;
}

/* All wait at one barrier: add up what they bring and let them go on. */
static int release_barrier(void)
{
    uint64_t sum = 0;
    if (now.at_barrier < now.count)
        return 0;
    for (uint32_t i = 0; i < now.count; i++) {
        sum += now.threads[i].value;
        if (now.threads[i].line != now.threads[0].line ||
            now.threads[i].file != now.threads[0].file)
            return 0;
    }
    for (uint32_t i = 0; i < now.count; i++) {
        now.threads[i].state = RUNS;
        now.threads[i].result = sum;
    }
    now.at_barrier = 0;
    return 1;
}

static int is_like(const thread *a, const thread *b)
{
    return a->state == b->state &&
           (a->state == DONE ||
            (a->file == b->file && a->line == b->line && a->mask == b->mask));
}

/* Nothing can run: say where the threads are, once for neighbours. */
static void tell_deadlock(void)
{
    const thread *last = NULL;
    for (uint32_t i = 0, told = 0; i < now.count && told < 8; i++) {
        const thread *t = &now.threads[i];
        if (last && is_like(t, last))
            continue;
        if (t->state == DONE)
            say(i, "has returned, and others wait for it");
        else if (t->state == AT_BARRIER)
            say(i, "%s:%d: waits at a barrier that not all threads reach",
                t->file, t->line);
        else
            say(i, "%s:%d: waits for lanes of its mask 0x%08x that never come",
                t->file, t->line, t->mask);
        last = t;
        told++;
    }
    now.error = LAUNCH_FAILED;
}

static void run_block(void)
{
    const simt_uint3 d = now.launch->block;
    now.count = d.x * d.y * d.z;
    now.done = now.at_barrier = 0;
    memset(now.threads, 0, now.count * sizeof now.threads[0]);
    while (now.done < now.count && !now.error)
        if (!run_turn() && !release_barrier())
            tell_deadlock();
}

/* ---- a grid ---- */

/* A wild address: on the device the launch fails, and here. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    say(running(), "touches address %p, which is not its to touch",
        info->si_addr);
    now.error = ILLEGAL_ADDRESS;
    siglongjmp(now.fault, 1);
}

/* Fibers of a block that was given up hold its frames: start anew. */
static void collect_fibers(void)
{
    now.idle_count = 0;
    for (uint32_t i = 0; i < now.fiber_count; i++) {
        simt_fiber_start(&now.fibers[i], run_threads);
        now.idle[now.idle_count++] = &now.fibers[i];
    }
}

static void run_blocks(void)
{
    const simt_uint3 g = now.launch->grid;
    const uint64_t count = (uint64_t)g.x * g.y * g.z;
    const uint64_t first = simt_pick((uint32_t)count);
    for (uint64_t i = 0; i < count && !now.error; i++) {
        const uint64_t k =
            simt_order() == SIMT_FORWARD ? i : (first + count - i) % count;
        blockIdx = (simt_uint3){(unsigned)(k % g.x), (unsigned)(k / g.x % g.y),
                                (unsigned)(k / g.x / g.y)};
        run_block();
    }
}

int simt_run_grid(const simt_launch *launch)
{
    static char signal_stack[1 << 16];
    const stack_t own = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    struct sigaction catch = {.sa_sigaction = on_fault,
                              .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction segv, bus;
    stack_t before;
    now.launch = launch;
    now.error = 0;
    blockDim = launch->block;
    gridDim = launch->grid;
    if (launch->shared_bytes)
        memset(launch->shared, 0xff, launch->shared_bytes);
    sigaltstack(&own, &before);
    sigaction(SIGSEGV, &catch, &segv);
    sigaction(SIGBUS, &catch, &bus);
    if (!sigsetjmp(now.fault, 1))
        run_blocks();
    sigaction(SIGSEGV, &segv, NULL);
    sigaction(SIGBUS, &bus, NULL);
    sigaltstack(&before, NULL);
    if (now.error == ILLEGAL_ADDRESS)
        simt_fiber_escaped(&now.host);
    if (now.error)
        collect_fibers();
    return now.error;
}
