/*
 * tile_ops.c - the instructions of map programs, one vector loop each.
 *
 * min and max give NaN where either operand is NaN; comparisons and `not` give
 * 0 or 1; a condition is true when it is not 0 (NaN is true), as in C.
 */
#include "tile.h"
#include "vmath.h"

#define LANE_A v_load(a + (i & am))
#define LANE_B v_load(b + (i & bm))
#define LANE_C v_load(c + (i & cm))

/* x, y, z: the operands' vectors */
#define INSTRUCTION(name, result)                                              \
    static void name(float *d, const float *a, size_t am, const float *b,      \
                     size_t bm, const float *c, size_t cm, int64_t n)          \
    {                                                                          \
        (void)a, (void)am, (void)b, (void)bm, (void)c, (void)cm;               \
        for (size_t i = 0; i < (size_t)n; i += VW)                             \
            v_store(d + i, (result));                                          \
    }

CPU_INLINE vf one_if(vm m)
{
    return v_select(m, v_set(1.0f), v_zero());
}

CPU_INLINE vf nan_if_nan(vf a, vf result)
{
    return v_select(v_ne(a, a), a, result);
}

CPU_INLINE vf sign_of(vf a)
{
    const vf negative = v_select(v_lt(a, v_zero()), v_set(-1.0f), v_zero());
    return v_select(v_lt(v_zero(), a), v_set(1.0f), negative);
}

CPU_INLINE vm is_true(vf a)
{
    return v_ne(a, v_zero());
}

INSTRUCTION(op_neg, v_neg(LANE_A))
INSTRUCTION(op_abs, v_abs(LANE_A))
INSTRUCTION(op_sqrt, v_sqrt(LANE_A))
INSTRUCTION(op_rsqrt, v_set(1.0f) / v_sqrt(LANE_A))
INSTRUCTION(op_exp, v_exp(LANE_A))
INSTRUCTION(op_expm1, v_expm1(LANE_A))
INSTRUCTION(op_log, v_log(LANE_A))
INSTRUCTION(op_log1p, v_log1p(LANE_A))
INSTRUCTION(op_tanh, v_tanh(LANE_A))
INSTRUCTION(op_sigmoid, v_sigmoid(LANE_A))
INSTRUCTION(op_erf, v_erf(LANE_A))
INSTRUCTION(op_sin, v_sin(LANE_A))
INSTRUCTION(op_cos, v_cos(LANE_A))
INSTRUCTION(op_floor, v_floor(LANE_A))
INSTRUCTION(op_round, v_round(LANE_A))
INSTRUCTION(op_sign, sign_of(LANE_A))
INSTRUCTION(op_not, one_if(v_eq(LANE_A, v_zero())))
INSTRUCTION(op_finite, one_if(v_lt(v_abs(LANE_A), v_set(INFINITY))))
INSTRUCTION(op_add, LANE_A + LANE_B)
INSTRUCTION(op_sub, LANE_A - LANE_B)
INSTRUCTION(op_mul, LANE_A *LANE_B)
INSTRUCTION(op_div, LANE_A / LANE_B)
INSTRUCTION(op_min, nan_if_nan(LANE_A, v_min(LANE_A, LANE_B)))
INSTRUCTION(op_max, nan_if_nan(LANE_A, v_max(LANE_A, LANE_B)))
INSTRUCTION(op_pow, v_pow(LANE_A, LANE_B))
INSTRUCTION(op_lt, one_if(v_lt(LANE_A, LANE_B)))
INSTRUCTION(op_le, one_if(v_le(LANE_A, LANE_B)))
INSTRUCTION(op_eq, one_if(v_eq(LANE_A, LANE_B)))
INSTRUCTION(op_and, one_if(m_and(is_true(LANE_A), is_true(LANE_B))))
INSTRUCTION(op_or, one_if(m_or(is_true(LANE_A), is_true(LANE_B))))
INSTRUCTION(op_fma, v_fma(LANE_A, LANE_B, LANE_C))
INSTRUCTION(op_select, v_select(is_true(LANE_A), LANE_B, LANE_C))

static const tile_function functions[256] = {
    [TN_MAP_NEG] = op_neg,     [TN_MAP_ABS] = op_abs,
    [TN_MAP_SQRT] = op_sqrt,   [TN_MAP_RSQRT] = op_rsqrt,
    [TN_MAP_EXP] = op_exp,     [TN_MAP_EXPM1] = op_expm1,
    [TN_MAP_LOG] = op_log,     [TN_MAP_LOG1P] = op_log1p,
    [TN_MAP_TANH] = op_tanh,   [TN_MAP_SIGMOID] = op_sigmoid,
    [TN_MAP_ERF] = op_erf,     [TN_MAP_SIN] = op_sin,
    [TN_MAP_COS] = op_cos,     [TN_MAP_FLOOR] = op_floor,
    [TN_MAP_ROUND] = op_round, [TN_MAP_SIGN] = op_sign,
    [TN_MAP_NOT] = op_not,     [TN_MAP_FINITE] = op_finite,
    [TN_MAP_ADD] = op_add,     [TN_MAP_SUB] = op_sub,
    [TN_MAP_MUL] = op_mul,     [TN_MAP_DIV] = op_div,
    [TN_MAP_MIN] = op_min,     [TN_MAP_MAX] = op_max,
    [TN_MAP_POW] = op_pow,     [TN_MAP_LT] = op_lt,
    [TN_MAP_LE] = op_le,       [TN_MAP_EQ] = op_eq,
    [TN_MAP_AND] = op_and,     [TN_MAP_OR] = op_or,
    [TN_MAP_FMA] = op_fma,     [TN_MAP_SELECT] = op_select,
};

tile_function ISA(tile_function_of)(tn_map_op op)
{
    return functions[op];
}
