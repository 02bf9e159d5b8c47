/*
 * x86.c - prefixes, opcodes and operands (see x86.h).
 */
#include "x86.h"

#include <string.h>

/* Which page of opcodes and which implied prefix, as both encodings have it. */
enum { MAP_0F = 1, MAP_0F38 = 2, MAP_0F3A = 3 };
enum { NO_PREFIX = 0, PREFIX_66 = 1, PREFIX_66_W = 0x81 };

typedef struct form {
    uint8_t map, prefix, opcode;
} form;

static const form forms[] = {
    [X86_ADD] = {MAP_0F, NO_PREFIX, 0x58},
    [X86_SUB] = {MAP_0F, NO_PREFIX, 0x5c},
    [X86_MUL] = {MAP_0F, NO_PREFIX, 0x59},
    [X86_DIV] = {MAP_0F, NO_PREFIX, 0x5e},
    [X86_MIN] = {MAP_0F, NO_PREFIX, 0x5d},
    [X86_MAX] = {MAP_0F, NO_PREFIX, 0x5f},
    [X86_AND] = {MAP_0F, NO_PREFIX, 0x54},
    [X86_OR] = {MAP_0F, NO_PREFIX, 0x56},
    [X86_XOR] = {MAP_0F, NO_PREFIX, 0x57},
    [X86_ADD_WHOLE] = {MAP_0F, PREFIX_66, 0xfe},
    [X86_SUB_WHOLE] = {MAP_0F, PREFIX_66, 0xfa},
    [X86_SQRT] = {MAP_0F, NO_PREFIX, 0x51},
    [X86_MOVE] = {MAP_0F, NO_PREFIX, 0x28},
    [X86_FMA] = {MAP_0F38, PREFIX_66, 0xb8},
    [X86_FNMA] = {MAP_0F38, PREFIX_66, 0xbc},
    [X86_HORNER] = {MAP_0F38, PREFIX_66, 0xa8},
};

static const form load = {MAP_0F, NO_PREFIX, 0x10};
static const form store = {MAP_0F, NO_PREFIX, 0x11};
static const form compare = {MAP_0F, NO_PREFIX, 0xc2};
static const form move = {MAP_0F, NO_PREFIX, 0x28};
static const form broadcast = {MAP_0F38, PREFIX_66, 0x58};    /* VEX */
static const form blend_masked = {MAP_0F38, PREFIX_66, 0x65}; /* EVEX */
static const form blend_signs = {MAP_0F3A, PREFIX_66, 0x4a};  /* VEX */
static const form round_scale = {MAP_0F3A, PREFIX_66, 0x08};
static const form scale = {MAP_0F38, PREFIX_66, 0x2c}; /* EVEX */
static const form shift = {MAP_0F, PREFIX_66, 0x72};
static const form widen = {MAP_0F38, PREFIX_66, 0x33};
static const form permute = {MAP_0F38, PREFIX_66_W, 0x8d}; /* EVEX */
static const form test = {MAP_0F38, PREFIX_66, 0x27};      /* EVEX */
static const form to_whole = {MAP_0F, PREFIX_66, 0x5b};    /* VEX */

/* What EVEX says of masks and the width. */
enum {
    K1 = 1,
    LOWER_HALF = 0x20,
    UNMASKED = 0x40,
    MERGE_K1 = UNMASKED | K1,
    ZERO_K1 = 0x80 | MERGE_K1,
};

/* What VEX says of the width. */
enum { LANES_4 = 0, LANES_8 = 4 };

/* Which shift it is, where others have their register d. */
enum { SHIFT_RIGHT_SIGNED = 4, SHIFT_LEFT = 6 };

enum { NUMBER_BYTES = 32 };

static void byte(x86_code *x, uint32_t value)
{
    if (x->used < X86_BYTES)
        x->bytes[x->used++] = (uint8_t)value;
    else
        x->full = 1;
}

static void word(x86_code *x, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        byte(x, value >> 8 * i);
}

static void evex(x86_code *x, form f, int d, int a, int b, uint32_t mask)
{
    byte(x, 0x62);
    byte(x, (uint32_t)((~d >> 3 & 1) << 7 | (~b >> 4 & 1) << 6 |
                       (~b >> 3 & 1) << 5 | (~d >> 4 & 1) << 4 | f.map));
    byte(x, (uint32_t)((~a & 15) << 3 | 4 | f.prefix));
    byte(x, mask | (uint32_t)(~a >> 4 & 1) << 3);
}

static void vex(x86_code *x, form f, int d, int a, int b, uint32_t lanes)
{
    byte(x, 0xc4);
    byte(x,
         (uint32_t)((~d >> 3 & 1) << 7 | 1 << 6 | (~b >> 3 & 1) << 5 | f.map));
    byte(x, (uint32_t)((~a & 15) << 3 | f.prefix) | lanes);
}

static void operands(x86_code *x, form f, int d, int a, int b, uint32_t mask)
{
    if (x->wide)
        evex(x, f, d, a, b, mask);
    else
        vex(x, f, d, a, b, LANES_8);
    byte(x, f.opcode);
}

static void operands_4(x86_code *x, form f, int d, int a, int b)
{
    vex(x, f, d, a, b, LANES_4);
    byte(x, f.opcode);
}

/* The last operand: a register; element rcx of an array at rax. */
static void last_register(x86_code *x, int d, int b)
{
    byte(x, (uint32_t)(0xc0 | (d & 7) << 3 | (b & 7)));
}

static uint32_t scaled_rcx(int size)
{
    return (size == 4 ? 0x80 : 0x40) | 0x08;
}

static void last_element(x86_code *x, int d, int size)
{
    byte(x, (uint32_t)(0x04 | (d & 7) << 3));
    byte(x, scaled_rcx(size));
}

/* A number at rdx. */
static void last_number(x86_code *x, int d, int b)
{
    byte(x, (uint32_t)(0x82 | (d & 7) << 3));
    word(x, (uint32_t)(NUMBER_BYTES * (b - X86_MEMORY)));
}

static void registers(x86_code *x, form f, int d, int a, int b, uint32_t mask)
{
    operands(x, f, d, a, b < X86_MEMORY ? b : 0, mask);
    if (b < X86_MEMORY)
        last_register(x, d, b);
    else
        last_number(x, d, b);
}

static void element(x86_code *x, form f, int d, int size)
{
    operands(x, f, d, 0, 0, UNMASKED);
    last_element(x, d, size);
}

/* ---- the function ---- */

void x86_begin(x86_code *x, int wide)
{
    static const uint8_t head[] = {
        0xf3, 0x0f, 0x1e, 0xfa, /* endbr64: we are called by pointer */
        0x31, 0xc9,             /* xor ecx, ecx */
    };
    x->used = sizeof head;
    x->wide = (uint32_t)wide;
    x->full = 0;
    x->numbers = 0;
    memcpy(x->bytes, head, sizeof head);
    if (wide)
        return;
    byte(x, 0x48), byte(x, 0x8d), byte(x, 0x15); /* lea rdx, [rip + */
    x->address = x->used;
    word(x, 0);
}

void x86_body(x86_code *x)
{
    x->loop = x->used;
}

/* Behind the code; it has their address then. */
static void write_numbers(x86_code *x)
{
    while (x->used % NUMBER_BYTES)
        byte(x, 0);
    const uint32_t distance = x->used - (x->address + 4);
    memcpy(x->bytes + x->address, &distance, sizeof distance);
    for (uint32_t i = 0; i < x->numbers; i++)
        for (int lane = 0; lane < NUMBER_BYTES / 4; lane++)
            word(x, x->number[i]);
}

void x86_end(x86_code *x)
{
    static const uint8_t next[] = {0x48, 0x83, 0xc1}; /* add rcx, */
    static const uint8_t again[] = {
        0x48, 0x39, 0xf1, /* cmp rcx, rsi */
        0x0f, 0x82,       /* jb */
    };
    for (size_t i = 0; i < sizeof next; i++)
        byte(x, next[i]);
    byte(x, x->wide ? 16 : 8);
    for (size_t i = 0; i < sizeof again; i++)
        byte(x, again[i]);
    word(x, x->loop - (x->used + 4));
    byte(x, 0xc5), byte(x, 0xf8), byte(x, 0x77); /* vzeroupper */
    byte(x, 0xc3);
    if (x->numbers)
        write_numbers(x);
}

/* ---- registers ---- */

void x86_operate(x86_code *x, x86_operation op, int d, int a, int b)
{
    registers(x, forms[op], d, a, b, UNMASKED);
}

void x86_set(x86_code *x, int d, uint32_t bits)
{
    static const form from_eax = {MAP_0F38, PREFIX_66, 0x7c}; /* EVEX */
    static const form to_lane_0 = {MAP_0F, PREFIX_66, 0x6e};  /* vmovd */
    byte(x, 0xb8), word(x, bits);                             /* mov eax, */
    if (x->wide) {
        registers(x, from_eax, d, 0, 0, UNMASKED);
    } else {
        operands_4(x, to_lane_0, d, 0, 0);
        last_register(x, d, 0);
        registers(x, broadcast, d, 0, d, UNMASKED);
    }
}

int x86_number(x86_code *x, uint32_t bits)
{
    if (x->numbers == X86_NUMBERS) {
        x->full = 1;
        return X86_MEMORY;
    }
    x->number[x->numbers] = bits;
    return X86_MEMORY + (int)x->numbers++;
}

void x86_round(x86_code *x, int d, int b, x86_rounding rounding)
{
    registers(x, round_scale, d, 0, b, UNMASKED);
    byte(x, (uint32_t)rounding);
}

void x86_compare(x86_code *x, x86_comparison c, int mask, int a, int b)
{
    registers(x, compare, x->wide ? K1 : mask, a, b, UNMASKED);
    byte(x, (uint32_t)c);
}

void x86_test(x86_code *x, int a, int bit)
{
    registers(x, test, K1, a, bit, UNMASKED);
}

void x86_select(x86_code *x, int d, int mask, int yes, int no)
{
    if (x->wide) {
        registers(x, blend_masked, d, no, yes, MERGE_K1);
    } else {
        registers(x, blend_signs, d, no, yes, UNMASKED);
        byte(x, (uint32_t)mask << 4);
    }
}

void x86_keep(x86_code *x, int d, int mask, int a)
{
    if (x->wide)
        registers(x, move, d, 0, a, ZERO_K1);
    else
        registers(x, forms[X86_AND], d, mask, a, UNMASKED);
}

void x86_operate_where(x86_code *x, x86_operation op, int d, int a, int b)
{
    registers(x, forms[op], d, a, b, MERGE_K1);
}

void x86_scale(x86_code *x, int d, int a, int n)
{
    registers(x, scale, d, a, n, ZERO_K1);
}

static void shift_by(x86_code *x, int kind, int d, int a, int bits)
{
    registers(x, shift, kind, d, a, UNMASKED);
    byte(x, (uint32_t)bits);
}

/* v_scale2_if (vec_avx2.h) */
void x86_scale_by_halves(x86_code *x, int d, int a, int n, int mask, int t,
                         int bias)
{
    enum { FRACTION_BITS = 23 };
    x86_keep(x, n, mask, n);
    registers(x, to_whole, n, 0, n, UNMASKED);
    shift_by(x, SHIFT_RIGHT_SIGNED, t, n, 1);
    x86_operate(x, X86_SUB_WHOLE, n, n, t);
    x86_operate(x, X86_ADD_WHOLE, t, t, bias);
    x86_operate(x, X86_ADD_WHOLE, n, n, bias);
    shift_by(x, SHIFT_LEFT, t, t, FRACTION_BITS);
    shift_by(x, SHIFT_LEFT, n, n, FRACTION_BITS);
    x86_operate(x, X86_MUL, d, a, t);
    x86_operate(x, X86_MUL, d, d, n);
    x86_keep(x, d, mask, d);
}

/* ---- memory ---- */

void x86_pointer(x86_code *x, uint32_t index)
{
    byte(x, 0x48), byte(x, 0x8b), byte(x, 0x87); /* mov rax, [rdi + */
    word(x, 8 * index);
}

void x86_load_shared(x86_code *x, int d)
{
    operands(x, load, d, 0, 0, UNMASKED);
    byte(x, (uint32_t)((d & 7) << 3));
}

void x86_load(x86_code *x, int d)
{
    element(x, load, d, 4);
}

void x86_store(x86_code *x, int d)
{
    element(x, store, d, 4);
}

void x86_load_bf16(x86_code *x, int d)
{
    element(x, widen, d, 2);
    shift_by(x, SHIFT_LEFT, d, d, 16);
}

void x86_set_upper(x86_code *x, int set)
{
    enum { LANES = 32, BYTES = 2 * LANES, LOAD = 10 };
    byte(x, 0xeb), byte(x, BYTES); /* jmp, over what is loaded then */
    for (uint32_t i = 0; i < LANES; i++)
        byte(x, (2 * i + 1) % LANES), byte(x, 0);
    operands(x, load, set, 0, 0, UNMASKED);
    byte(x, (uint32_t)(0x05 | (set & 7) << 3)); /* rip + */
    word(x, 0u - (BYTES + LOAD));
}

void x86_store_upper(x86_code *x, int d, int set)
{
    registers(x, permute, d, set, d, UNMASKED);
    operands(x, store, d, 0, 0, LOWER_HALF);
    last_element(x, d, 2);
}

void x86_prefetch(x86_code *x, int32_t ahead, int size, uint32_t level)
{
    byte(x, 0x0f), byte(x, 0x18);
    byte(x, 0x84 | level << 3), byte(x, scaled_rcx(size));
    word(x, (uint32_t)ahead);
}
