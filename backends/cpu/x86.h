/*
 * x86.h - writes the vector instructions that tile_code.c is made of.
 *
 * One operation on whole vectors of floats, in the encoding of AVX2 (VEX, 8
 * lanes, 16 registers) or of AVX-512 (EVEX, 16 lanes, 32 registers). Memory is
 * an array at rax, read and written from its element rcx on; rdi is a table of
 * pointers, from which rax is loaded; x86_number's are at rdx. What comes out
 * is the function
 *
 *     void f(float *const *table, size_t count);     System V's convention
 *
 * and does its body for rcx = 0, one vector's lanes, ... below `count`.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume
 * 2, 2.3 (VEX), 2.7 (EVEX) and the pages of the instructions.
 */
#ifndef CPU_X86_H
#define CPU_X86_H

#include <stddef.h>
#include <stdint.h>

enum {
    X86_BYTES = 16 * 1024,
    X86_NUMBERS = 32,
    X86_MEMORY = 32, /* and above: not a register (x86_number) */
};

typedef struct x86_code {
    uint32_t used;
    uint32_t wide; /* EVEX */
    uint32_t full; /* something did not fit: the code is of no use */
    uint32_t loop; /* where the body begins */
    uint32_t numbers, address; /* in memory; where the code has their address */
    uint32_t number[X86_NUMBERS];
    uint8_t bytes[X86_BYTES];
} x86_code;

/* d = a op b, registers. Square root and rounding have no `a`: give 0. */
typedef enum x86_operation {
    X86_ADD,
    X86_SUB,
    X86_MUL,
    X86_DIV,
    X86_MIN, /* b where either is NaN */
    X86_MAX,
    X86_AND,
    X86_OR,
    X86_XOR,
    X86_ADD_WHOLE, /* of whole numbers of 32 bits */
    X86_SUB_WHOLE,
    X86_SQRT,
    X86_MOVE,
    X86_FMA,    /* d = a b + d */
    X86_FNMA,   /* d = d - a b */
    X86_HORNER, /* d = d a + b, all three rounded once */
} x86_operation;

/* Of vcmpps. */
typedef enum x86_comparison {
    X86_EQ = 0x00,
    X86_LT = 0x11,
    X86_LE = 0x12,
    X86_NE = 0x04, /* true where either is NaN, as is */
    X86_NOT_LT = 0x15,
} x86_comparison;

void x86_begin(x86_code *x, int wide);
void x86_body(x86_code *x); /* the loop starts here */
void x86_end(x86_code *x);

void x86_operate(x86_code *x, x86_operation op, int d, int a, int b);
void x86_set(x86_code *x, int d, uint32_t bits); /* every lane */
/* Those lanes in memory, AVX2 only: the last operand of anything but a
 * rounding, a blend or a shift may be what it returns. */
int x86_number(x86_code *x, uint32_t bits);

/* rax = table[index] */
void x86_pointer(x86_code *x, uint32_t index);
void x86_load_shared(x86_code *x, int d); /* in front of the loop: element 0 */
void x86_load(x86_code *x, int d);
void x86_store(x86_code *x, int d);
void x86_load_bf16(x86_code *x, int d);
/* AVX-512 only: the upper halves of the lanes of d, which is lost. `set` is a
 * register that x86_set_upper has set in front of the loop. */
void x86_set_upper(x86_code *x, int set);
void x86_store_upper(x86_code *x, int d, int set);
/* Elements of `size` bytes, so many bytes ahead, to that level of caches. */
void x86_prefetch(x86_code *x, int32_t ahead, int size, uint32_t level);

typedef enum x86_rounding {
    X86_NEAREST = 8, /* to even; no exception */
    X86_DOWN = 9,
} x86_rounding;
void x86_round(x86_code *x, int d, int b, x86_rounding rounding);

/* A comparison or test, then one of what follows it, which reads its outcome.
 * `mask` is a register that AVX2 keeps the outcome in. */
void x86_compare(x86_code *x, x86_comparison c, int mask, int a, int b);
void x86_select(x86_code *x, int d, int mask, int yes, int no);
void x86_keep(x86_code *x, int d, int mask, int a); /* a where true, else 0 */

/* AVX-512 only */
void x86_test(x86_code *x, int a, int bit); /* bit is set in a */
/* d = a op b where true, else as it was. */
void x86_operate_where(x86_code *x, x86_operation op, int d, int a, int b);
/* a 2^n for whole n where true, else 0 */
void x86_scale(x86_code *x, int d, int a, int n);

/* The same with AVX2, in two factors, |n| < 250; n and t are lost, `bias` is
 * 127 as a whole number. */
void x86_scale_by_halves(x86_code *x, int d, int a, int n, int mask, int t,
                         int bias);

#endif
