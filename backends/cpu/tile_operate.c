/*
 * tile_operate.c - the machine code of each instruction, registers given.
 *
 * Operations are tile_ops.c's and vmath.h's, in their order: that is why the
 * bits are the same.
 */
#include "tile_code.h"
#include "vmath.h"

enum {
    ZERO,
    ONE,
    SIGN,
    ABS,
    LOWEST, /* bit of what bf16 keeps */
    HALF,   /* of it */
    BELOW_HALF,
    QUIET, /* NaN's bit */
    UPPER, /* x86_set_upper's */
    LEAST, /* what follows is exp's */
    MOST,
    WHOLE,
    LOG2_E,
    LN2_HIGH,
    LN2_LOW,
    TERM_5,
    TERM_4,
    TERM_3,
    TERM_2,
    TERM_1,
    TERM_0,
    BIAS, /* of AVX2's scaling by powers of 2 */
    NUMBERS
};

_Static_assert((int)NUMBERS == TILE_NUMBERS, "one register for each number");

static const union {
    uint32_t bits;
    float value;
} numbers[NUMBERS] = {
    [ZERO] = {.value = 0.0f},
    [ONE] = {.value = 1.0f},
    [SIGN] = {.bits = 0x80000000u},
    [ABS] = {.bits = 0x7fffffffu},
    [LOWEST] = {.bits = 0x10000u},
    [HALF] = {.bits = 0x8000u},
    [BELOW_HALF] = {.bits = 0x7fffu},
    [QUIET] = {.bits = 0x400000u},
    [LEAST] = {.value = EXP_LEAST},
    [MOST] = {.value = EXP_MOST},
    [WHOLE] = {.value = EXP_WHOLE},
    [LOG2_E] = {.value = EXP_LOG2_E},
    [LN2_HIGH] = {.value = EXP_LN2_HIGH},
    [LN2_LOW] = {.value = EXP_LN2_LOW},
    [TERM_5] = {.value = EXP_TERM_5},
    [TERM_4] = {.value = EXP_TERM_4},
    [TERM_3] = {.value = EXP_TERM_3},
    [TERM_2] = {.value = EXP_TERM_2},
    [TERM_1] = {.value = EXP_TERM_1},
    [TERM_0] = {.value = EXP_TERM_0},
    [BIAS] = {.bits = 127},
};

/* AVX2 has few registers: those that are not only read last (x86_number). */
static int wants_register(int number)
{
    return VW == 16 || number == ONE || number == MOST;
}

int ISA(tile_place_number)(x86_code *x, int number, int r)
{
    if (!wants_register(number))
        return x86_number(x, numbers[number].bits);
    if (number == UPPER)
        x86_set_upper(x, r);
    else
        x86_set(x, r, numbers[number].bits);
    return r;
}

int ISA(tile_is_simple)(const tile_program *p, tn_map_op op, uint8_t a)
{
    switch (op) {
    case TN_MAP_INPUT:
        return p->in[a].dense && p->in[a].dtype == TN_BF16;
    case TN_MAP_NEG:
    case TN_MAP_ABS:
    case TN_MAP_SQRT:
    case TN_MAP_RSQRT:
    case TN_MAP_FLOOR:
    case TN_MAP_ROUND:
    case TN_MAP_NOT:
    case TN_MAP_FINITE:
    case TN_MAP_ADD:
    case TN_MAP_SUB:
    case TN_MAP_MUL:
    case TN_MAP_DIV:
    case TN_MAP_MIN:
    case TN_MAP_MAX:
    case TN_MAP_LT:
    case TN_MAP_LE:
    case TN_MAP_EQ:
    case TN_MAP_FMA:
    case TN_MAP_SELECT:
    case TN_MAP_EXP:
    case TN_MAP_SIGMOID:
        return 1;
    default:
        return 0;
    }
}

tile_needs ISA(tile_needs_of)(tn_map_op op)
{
    const uint32_t of_scale = VW == 16 ? 0 : 1u << BIAS;
    const uint32_t of_exp =
        1u << ONE | ((1u << BIAS) - (1u << LEAST)) | of_scale;
    switch (op) {
    case TN_MAP_NEG:
        return (tile_needs){1u << SIGN, 0};
    case TN_MAP_ABS:
        return (tile_needs){1u << ABS, 0};
    case TN_MAP_RSQRT:
    case TN_MAP_LT:
    case TN_MAP_LE:
    case TN_MAP_EQ:
        return (tile_needs){1u << ONE, 0};
    case TN_MAP_NOT:
    case TN_MAP_FINITE:
        return (tile_needs){1u << ONE | 1u << ZERO, 0};
    case TN_MAP_SELECT:
        return (tile_needs){1u << ZERO, 0};
    case TN_MAP_EXP:
        return (tile_needs){of_exp, 3};
    case TN_MAP_SIGMOID:
        return (tile_needs){of_exp | 1u << SIGN | 1u << ZERO, 3};
    default:
        return (tile_needs){0, 0};
    }
}

tile_needs ISA(tile_needs_of_bf16)(void)
{
    return (tile_needs){1u << LOWEST | 1u << HALF | 1u << BELOW_HALF |
                            1u << QUIET | 1u << UPPER,
                        2};
}

/* ---- the operations ---- */

static void compare_with(const tile_tools *t, x86_comparison c, int d, int a,
                         int b)
{
    x86_compare(t->x, c, TILE_MASK, a, b);
    x86_keep(t->x, d, TILE_MASK, t->number[ONE]);
}

/* a where it is NaN: the processor's own would be b. */
static void extreme(const tile_tools *t, x86_operation op, int d, int a, int b)
{
    x86_operate(t->x, op, d, a, b);
    x86_compare(t->x, X86_NE, TILE_MASK, a, a);
    x86_select(t->x, d, TILE_MASK, a, d);
}

static void one_if_finite(const tile_tools *t, int d, int a)
{
    /* a - a is NaN for what is infinite or NaN, else 0 */
    x86_operate(t->x, X86_SUB, d, a, a);
    compare_with(t, X86_EQ, d, d, t->number[ZERO]);
}

/* d = e^d for d <= MOST where the comparison before it is true, else 0. */
static void power(const tile_tools *t, int d)
{
    const int *k = t->number;
    const int n = t->temporary, p = n + 1, square = n + 2;
    x86_operate(t->x, X86_MOVE, n, 0, k[WHOLE]);
    x86_operate(t->x, X86_FMA, n, d, k[LOG2_E]);
    x86_operate(t->x, X86_SUB, n, n, k[WHOLE]);
    x86_operate(t->x, X86_FNMA, d, n, k[LN2_HIGH]);
    x86_operate(t->x, X86_FNMA, d, n, k[LN2_LOW]);
    x86_operate(t->x, X86_MOVE, p, 0, k[TERM_5]);
    for (int term = TERM_4; term <= TERM_0; term++)
        x86_operate(t->x, X86_HORNER, p, d, k[term]);
    x86_operate(t->x, X86_MUL, square, d, d);
    x86_operate(t->x, X86_FMA, d, p, square);
    x86_operate(t->x, X86_ADD, d, k[ONE], d);
    if (VW == 16)
        x86_scale(t->x, d, d, n);
    else
        x86_scale_by_halves(t->x, d, d, n, TILE_MASK, p, k[BIAS]);
}

/* v_exp (vmath.h) */
static void exponential(const tile_tools *t, int d, int x)
{
    x86_compare(t->x, X86_NOT_LT, TILE_MASK, x, t->number[LEAST]);
    x86_operate(t->x, X86_MIN, d, t->number[MOST], x);
    power(t, d);
}

/* v_sigmoid; what it takes the exponential of needs no upper bound. */
static void sigmoid(const tile_tools *t, int d, int x)
{
    const int *k = t->number;
    const int above = t->temporary;
    x86_operate(t->x, X86_OR, d, x, k[SIGN]);
    x86_compare(t->x, X86_NOT_LT, TILE_MASK, d, k[LEAST]);
    power(t, d);
    x86_compare(t->x, X86_LT, TILE_MASK, x, k[ZERO]);
    x86_select(t->x, above, TILE_MASK, d, k[ONE]);
    x86_operate(t->x, X86_ADD, d, k[ONE], d);
    x86_operate(t->x, X86_DIV, d, above, d);
}

void ISA(tile_operate)(const tile_tools *t, tn_map_op op, int d, const int r[3])
{
    x86_code *x = t->x;
    const int *k = t->number;
    switch (op) {
    case TN_MAP_NEG:
        x86_operate(x, X86_XOR, d, r[0], k[SIGN]);
        break;
    case TN_MAP_ABS:
        x86_operate(x, X86_AND, d, r[0], k[ABS]);
        break;
    case TN_MAP_SQRT:
        x86_operate(x, X86_SQRT, d, 0, r[0]);
        break;
    case TN_MAP_RSQRT:
        x86_operate(x, X86_SQRT, d, 0, r[0]);
        x86_operate(x, X86_DIV, d, k[ONE], d);
        break;
    case TN_MAP_FLOOR:
        x86_round(x, d, r[0], X86_DOWN);
        break;
    case TN_MAP_ROUND:
        x86_round(x, d, r[0], X86_NEAREST);
        break;
    case TN_MAP_NOT:
        compare_with(t, X86_EQ, d, r[0], k[ZERO]);
        break;
    case TN_MAP_FINITE:
        one_if_finite(t, d, r[0]);
        break;
    case TN_MAP_ADD:
        x86_operate(x, X86_ADD, d, r[0], r[1]);
        break;
    case TN_MAP_SUB:
        x86_operate(x, X86_SUB, d, r[0], r[1]);
        break;
    case TN_MAP_MUL:
        x86_operate(x, X86_MUL, d, r[0], r[1]);
        break;
    case TN_MAP_DIV:
        x86_operate(x, X86_DIV, d, r[0], r[1]);
        break;
    case TN_MAP_MIN:
        extreme(t, X86_MIN, d, r[0], r[1]);
        break;
    case TN_MAP_MAX:
        extreme(t, X86_MAX, d, r[0], r[1]);
        break;
    case TN_MAP_LT:
        compare_with(t, X86_LT, d, r[0], r[1]);
        break;
    case TN_MAP_LE:
        compare_with(t, X86_LE, d, r[0], r[1]);
        break;
    case TN_MAP_EQ:
        compare_with(t, X86_EQ, d, r[0], r[1]);
        break;
    case TN_MAP_FMA:
        x86_operate(x, X86_MOVE, d, 0, r[2]);
        x86_operate(x, X86_FMA, d, r[0], r[1]);
        break;
    case TN_MAP_EXP:
        exponential(t, d, r[0]);
        break;
    case TN_MAP_SIGMOID:
        sigmoid(t, d, r[0]);
        break;
    default: /* TN_MAP_SELECT */
        x86_compare(x, X86_NE, TILE_MASK, r[0], k[ZERO]);
        x86_select(x, d, TILE_MASK, r[1], r[2]);
    }
}

/* To nearest even: what is added is less than half of what is kept or, where
 * its lowest bit is 1, half. NaN stays NaN. (v_to_bf16) */
void ISA(tile_store_bf16)(const tile_tools *t, int from)
{
    const int *k = t->number;
    const int d = t->temporary;
    x86_operate(t->x, X86_ADD_WHOLE, d, from, k[BELOW_HALF]);
    x86_test(t->x, from, k[LOWEST]);
    x86_operate_where(t->x, X86_ADD_WHOLE, d, from, k[HALF]);
    x86_compare(t->x, X86_NE, TILE_MASK, from, from);
    x86_operate_where(t->x, X86_OR, d, from, k[QUIET]);
    x86_store_upper(t->x, d, k[UPPER]);
}
