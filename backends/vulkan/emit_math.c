/*
 * emit_math.c - the functions of map.def as SPIR-V, to the accuracy it asks
 * for.
 *
 * A driver may be off by thousands of ulp in tanh, so each function is built
 * here: it reduces its argument to a short interval, evaluates one polynomial
 * there and puts the result together. Polynomials interpolate at Chebyshev
 * nodes; beside each stand its interval and absolute error.
 *
 * Everything is straight-line: what other languages branch on is selected.
 * Results below 2^-126 may be flushed to zero by the device.
 */
#include <math.h>

#include "emit_math.h"

/* c[0] x^(n-1) + ... + c[n-1] */
static spv_id poly(gpu_emitter *e, spv_id x, uint32_t n, const float *c)
{
    spv_id p = k(e, c[0]);
    for (uint32_t i = 1; i < n; i++)
        p = mad(e, p, x, k(e, c[i]));
    return p;
}
#define POLY(e, x, ...)                                                        \
    poly((e), (x), sizeof((float[]){__VA_ARGS__}) / sizeof(float),             \
         (const float[]){__VA_ARGS__})

/* ---- the exponential family ---- */

/* (e^r - 1 - r) / r^2 for |r| <= 0.3470; 4.5e-9 */
static spv_id exp_poly(gpu_emitter *e, spv_id r)
{
    return POLY(e, r, 0x1.a1256cp-13f, 0x1.6d43b0p-10f, 0x1.1110e0p-7f,
                0x1.5554e8p-5f, 0x1.555556p-3f, 0.5f);
}

/* x = n ln 2 + r: n whole, |r| <= ln 2 / 2. ln 2 in two floats, the first so
 * short that n times it is exact. */
static spv_id exp_reduce(gpu_emitter *e, spv_id x, spv_id *n)
{
    *n = glsl(e, SPV_GLSL_ROUND_EVEN, gpu_mul(e, x, k(e, 0x1.715476p+0f)));
    const spv_id r = mad(e, *n, k(e, -0x1.62e400p-1f), x);
    return mad(e, *n, k(e, -0x1.7f7d1cp-20f), r);
}

/* 2^n for whole n in [-126, 127], as an integer */
static spv_id power_of_two(gpu_emitter *e, spv_id n)
{
    const spv_id biased = word(e, SPV_I_ADD, n, gpu_u32(e, 127));
    return from_bits(e,
                     word(e, SPV_SHIFT_LEFT_LOGICAL, biased, gpu_u32(e, 23)));
}

/* y 2^n for n in [-252, 254], in two steps that do not overflow before y
 * does */
static spv_id scale2(gpu_emitter *e, spv_id y, spv_id n)
{
    const spv_id whole = SPV(&e->m, SPV_BITCAST, e->u32,
                             SPV(&e->m, SPV_CONVERT_F_TO_S, e->i32, n));
    const spv_id half =
        word(e, SPV_SHIFT_RIGHT_ARITHMETIC, whole, gpu_u32(e, 1));
    const spv_id rest = word(e, SPV_I_SUB, whole, half);
    return gpu_mul(e, gpu_mul(e, y, power_of_two(e, half)),
                   power_of_two(e, rest));
}

static spv_id exponential(gpu_emitter *e, spv_id x)
{
    spv_id n;
    x = at_least(e, at_most(e, x, 89.0f), -104.0f);
    const spv_id r = exp_reduce(e, x, &n);
    const spv_id square = gpu_mul(e, r, r);
    const spv_id tail = mad(e, exp_poly(e, r), square, r);
    return scale2(e, gpu_add(e, k(e, 1.0f), tail), n);
}

static spv_id exponential_less_1(gpu_emitter *e, spv_id x)
{
    spv_id n;
    const spv_id bounded = at_least(e, at_most(e, x, 89.0f), -40.0f);
    const spv_id r = exp_reduce(e, bounded, &n);
    const spv_id square = gpu_mul(e, r, r);
    const spv_id near = mad(e, exp_poly(e, r), square, r);
    /* 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)): 2^n itself may overflow */
    const spv_id half = scale2(e, k(e, 0.5f), n);
    const spv_id far = mad(e, near, half, sub(e, half, k(e, 0.5f)));
    const spv_id y = select(e, test(e, SPV_F_ORD_EQUAL, n, k(e, 0.0f)), near,
                            gpu_add(e, far, far));
    return select(e, test(e, SPV_F_ORD_EQUAL, x, k(e, 0.0f)), x, y);
}

/* (e^2a - 1) / (e^2a + 1) for a = |x|; past 9.1 it is 1 to the last bit */
static spv_id tangent(gpu_emitter *e, spv_id x)
{
    const spv_id a = at_most(e, glsl(e, SPV_GLSL_F_ABS, x), 9.1f);
    const spv_id m = exponential_less_1(e, gpu_add(e, a, a));
    return with_sign(e, gpu_divide(e, m, gpu_add(e, m, k(e, 2.0f))), x);
}

/* 1 / (1 + e^-x), by e^-|x| so that nothing overflows */
static spv_id sigmoid(gpu_emitter *e, spv_id x)
{
    const spv_id z = exponential(e, negate(e, glsl(e, SPV_GLSL_F_ABS, x)));
    const spv_id one = k(e, 1.0f);
    const spv_id top =
        select(e, test(e, SPV_F_ORD_LESS_THAN, x, k(e, 0.0f)), z, one);
    return gpu_divide(e, top, gpu_add(e, one, z));
}

/* ---- logarithms ---- */

/* (log(1 + f) - f + f^2/2) / f^3 for f in [-0.294, 0.415]; 3.3e-8 */
static spv_id log_poly(gpu_emitter *e, spv_id f)
{
    return POLY(e, f, 0x1.1dedf8p-4f, -0x1.d6d10ep-4f, 0x1.dec8ccp-4f,
                -0x1.fce37ap-4f, 0x1.23cf72p-3f, -0x1.555b8ap-3f,
                0x1.999d6ep-3f, -0x1.fffffcp-3f, 0x1.555554p-2f);
}

/* x = 2^n (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), for positive finite x */
static spv_id log_reduce(gpu_emitter *e, spv_id x, spv_id *n)
{
    const uint32_t root_half = 0x3f3504f3;
    const spv_id tiny = test(e, SPV_F_ORD_LESS_THAN, x, k(e, 0x1p-126f));
    const spv_id normal = select(e, tiny, gpu_mul(e, x, k(e, 0x1p25f)), x);
    const spv_id shifted =
        word(e, SPV_I_SUB, bits_of(e, normal), gpu_u32(e, root_half));
    const spv_id exponent =
        word(e, SPV_SHIFT_RIGHT_ARITHMETIC, shifted, gpu_u32(e, 23));
    const spv_id whole = SPV(&e->m, SPV_CONVERT_S_TO_F, e->f32,
                             SPV(&e->m, SPV_BITCAST, e->i32, exponent));
    *n = sub(e, whole, select(e, tiny, k(e, 25.0f), k(e, 0.0f)));
    const spv_id fraction =
        word(e, SPV_BITWISE_AND, shifted, gpu_u32(e, 0x007fffff));
    const spv_id m =
        from_bits(e, word(e, SPV_I_ADD, fraction, gpu_u32(e, root_half)));
    return sub(e, m, k(e, 1.0f));
}

/* log(2^n (1 + f)) + c, the small terms first */
static spv_id log_join(gpu_emitter *e, spv_id n, spv_id f, spv_id c)
{
    const spv_id square = gpu_mul(e, f, f);
    spv_id low = mad(e, log_poly(e, f), gpu_mul(e, square, f), c);
    low = mad(e, k(e, -0.5f), square, low);
    low = mad(e, n, k(e, 0x1.7f7d1cp-20f), low);
    return mad(e, n, k(e, 0x1.62e400p-1f), gpu_add(e, f, low));
}

/* y at the ends of the domain of log */
static spv_id log_ends(gpu_emitter *e, spv_id x, spv_id y)
{
    const spv_id zero = k(e, 0.0f);
    y = select(e, test(e, SPV_F_ORD_EQUAL, x, k(e, INFINITY)), x, y);
    y = select(e, test(e, SPV_F_ORD_EQUAL, x, zero), k(e, -INFINITY), y);
    return select(e, test(e, SPV_F_ORD_LESS_THAN_EQUAL, zero, x), y, k(e, NAN));
}

static spv_id logarithm(gpu_emitter *e, spv_id x)
{
    spv_id n;
    const spv_id f = log_reduce(e, x, &n);
    return log_ends(e, x, log_join(e, n, f, k(e, 0.0f)));
}

/* log(1 + x), where u = 1 + x rounded loses c = x - (u - 1): log(u) + c/u */
static spv_id logarithm_plus_1(gpu_emitter *e, spv_id x)
{
    spv_id n;
    const spv_id one = k(e, 1.0f);
    const spv_id u = gpu_add(e, one, x);
    const spv_id lost = sub(e, x, sub(e, u, one));
    const spv_id c = binary(e, SPV_F_DIV, lost, u);
    const spv_id f = log_reduce(e, u, &n);
    const spv_id y = log_ends(e, u, log_join(e, n, f, c));
    const spv_id tiny = test(e, SPV_F_ORD_LESS_THAN, glsl(e, SPV_GLSL_F_ABS, x),
                             k(e, 0x1p-26f));
    return select(e, tiny, x, y);
}

/* ---- a^b for a >= 0 ---- */

/* log(a) as a sum of two floats, good to about 2^-30 */
static spv_id long_logarithm(gpu_emitter *e, spv_id a, spv_id *low)
{
    spv_id n;
    const spv_id f = log_reduce(e, a, &n);
    const spv_id square = gpu_mul(e, f, f);
    const spv_id square_low = gpu_fused(e, f, f, negate(e, square));
    const spv_id half = gpu_mul(e, square, k(e, -0.5f));
    const spv_id big = gpu_mul(e, n, k(e, 0x1.62e400p-1f)); /* exact */
    /* big + f + half: what each sum loses is the smaller of its terms' */
    const spv_id s = gpu_add(e, f, half); /* |f| >= |half| */
    const spv_id s_low = sub(e, half, sub(e, s, f));
    const spv_id t = gpu_add(e, big, s); /* big is 0, or larger */
    const spv_id t_low = sub(e, s, sub(e, t, big));
    spv_id rest = gpu_mul(e, log_poly(e, f), gpu_mul(e, square, f));
    rest = mad(e, square_low, k(e, -0.5f), rest);
    rest = mad(e, n, k(e, 0x1.7f7d1cp-20f), rest);
    rest = gpu_add(e, rest, gpu_add(e, s_low, t_low));
    const spv_id high = gpu_add(e, t, rest);
    *low = sub(e, rest, sub(e, high, t));
    return high;
}

static spv_id power(gpu_emitter *e, spv_id a, spv_id b)
{
    spv_id low;
    const spv_id zero = k(e, 0.0f), one = k(e, 1.0f), inf = k(e, INFINITY);
    const spv_id high = long_logarithm(e, a, &low);
    const spv_id p = gpu_mul(e, b, high);
    const spv_id lost =
        gpu_add(e, gpu_fused(e, b, high, negate(e, p)), gpu_mul(e, b, low));
    const spv_id finite =
        test(e, SPV_F_ORD_LESS_THAN, glsl(e, SPV_GLSL_F_ABS, p), k(e, 200.0f));
    const spv_id first = exponential(e, p);
    const spv_id more = mad(e, first, lost, first);
    const spv_id small = test(e, SPV_F_ORD_LESS_THAN, first, k(e, 0x1p127f));
    spv_id y = select(e, SPV(&e->m, SPV_LOGICAL_AND, e->bool_, finite, small),
                      more, first);
    /* a is 0 or infinite: by the sign of b */
    const spv_id falls = test(e, SPV_F_ORD_LESS_THAN, b, zero);
    const spv_id up = select(e, falls, zero, inf);
    const spv_id down = select(e, falls, inf, zero);
    y = select(e, test(e, SPV_F_ORD_EQUAL, a, inf), up, y);
    y = select(e, test(e, SPV_F_ORD_EQUAL, a, zero), down, y);
    /* b is infinite: by the side of 1 that a is on */
    const spv_id endless =
        test(e, SPV_F_ORD_EQUAL, glsl(e, SPV_GLSL_F_ABS, b), inf);
    const spv_id side =
        select(e, test(e, SPV_F_ORD_LESS_THAN, a, one), down, up);
    y = select(e, endless, side, y);
    y = select(e, test(e, SPV_F_ORD_LESS_THAN_EQUAL, zero, a), y, k(e, NAN));
    y = select(e, is_nan(e, b), b, y);
    const spv_id trivial =
        SPV(&e->m, SPV_LOGICAL_OR, e->bool_, test(e, SPV_F_ORD_EQUAL, a, one),
            test(e, SPV_F_ORD_EQUAL, b, zero));
    return select(e, trivial, one, y);
}

/* ---- the error function ---- */

/* erf(x) / x in z = x^2 on [0, 1]; 6e-8 */
static spv_id erf_near(gpu_emitter *e, spv_id x)
{
    const spv_id z = gpu_mul(e, x, x);
    return gpu_mul(e, x,
                   POLY(e, z, -0x1.445f48p-17f, 0x1.d88750p-14f,
                        -0x1.bccf66p-11f, 0x1.562a60p-8f, -0x1.b829c8p-6f,
                        0x1.ce2f08p-4f, -0x1.812746p-2f, 0x1.20dd76p+0f));
}

/* 1 - e^log(erfc(t)) for t in [1, 4]; the exponent to 5e-8 */
static spv_id erf_far(gpu_emitter *e, spv_id t)
{
    const spv_id p =
        POLY(e, t, -0x1.45ac78p-24f, 0x1.bdd436p-19f, -0x1.054c58p-14f,
             0x1.679370p-11f, -0x1.4befb6p-8f, 0x1.bbffa4p-6f, -0x1.c6e1a0p-4f,
             -0x1.430c46p-1f, -0x1.2173eep+0f, 0x1.b48d86p-12f);
    return sub(e, k(e, 1.0f), exponential(e, p));
}

static spv_id error_function(gpu_emitter *e, spv_id x)
{
    const spv_id t = at_most(e, glsl(e, SPV_GLSL_F_ABS, x), 4.0f);
    const spv_id far = with_sign(e, erf_far(e, t), x);
    return select(e, test(e, SPV_F_ORD_LESS_THAN, t, k(e, 1.0f)),
                  erf_near(e, x), far);
}

/* ---- sine and cosine ---- */

/* (sin(r) - r) / r^3 in z = r^2, |r| <= pi/4; 5.0e-9 */
static spv_id sin_poly(gpu_emitter *e, spv_id r)
{
    const spv_id z = gpu_mul(e, r, r);
    const spv_id p = POLY(e, z, 0x1.6dbbeep-19f, -0x1.a013a2p-13f,
                          0x1.11110ep-7f, -0x1.555556p-3f);
    return mad(e, p, gpu_mul(e, z, r), r);
}

/* (cos(r) - 1 + r^2/2) / r^4 in z = r^2, |r| <= pi/4; 1.2e-9 */
static spv_id cos_poly(gpu_emitter *e, spv_id r)
{
    const spv_id z = gpu_mul(e, r, r);
    const spv_id p = POLY(e, z, -0x1.2522e6p-22f, 0x1.a015c0p-16f,
                          -0x1.6c16c0p-10f, 0x1.555556p-5f);
    return mad(e, p, gpu_mul(e, z, z), mad(e, k(e, -0.5f), z, k(e, 1.0f)));
}

/* x = n pi/2 + r with pi/2 in three floats and fused steps: good to float for
 * |x| < 2^22; beyond, n is not known any more. The sine of turn t = n + 0, the
 * cosine is that of n + 1. */
static spv_id sine(gpu_emitter *e, spv_id x, uint32_t turn)
{
    const spv_id n =
        glsl(e, SPV_GLSL_ROUND_EVEN, gpu_mul(e, x, k(e, 0x1.45f306p-1f)));
    spv_id r = gpu_fused(e, n, k(e, -0x1.921fb6p+0f), x);
    r = gpu_fused(e, n, k(e, 0x1.777a5cp-25f), r);
    r = gpu_fused(e, n, k(e, 0x1.ee59dap-50f), r);
    const spv_id whole = SPV(&e->m, SPV_BITCAST, e->u32,
                             SPV(&e->m, SPV_CONVERT_F_TO_S, e->i32, n));
    const spv_id quarter = word(e, SPV_I_ADD, whole, gpu_u32(e, turn));
    const spv_id odd = word(e, SPV_BITWISE_AND, quarter, gpu_u32(e, 1));
    const spv_id even = SPV(&e->m, SPV_I_EQUAL, e->bool_, odd, gpu_u32(e, 0));
    const spv_id y = select(e, even, sin_poly(e, r), cos_poly(e, r));
    const spv_id sign =
        word(e, SPV_SHIFT_LEFT_LOGICAL,
             word(e, SPV_BITWISE_AND, quarter, gpu_u32(e, 2)), gpu_u32(e, 30));
    return from_bits(e, word(e, SPV_BITWISE_XOR, bits_of(e, y), sign));
}

static spv_id sine_of(gpu_emitter *e, spv_id x)
{
    return select(e, test(e, SPV_F_ORD_EQUAL, x, k(e, 0.0f)), x, sine(e, x, 0));
}

/* ---- comparisons and the like ---- */

static spv_id truth(gpu_emitter *e, spv_id condition)
{
    return select(e, condition, k(e, 1.0f), k(e, 0.0f));
}

static spv_id is_true(gpu_emitter *e, spv_id a)
{
    return test(e, SPV_F_UNORD_NOT_EQUAL, a, k(e, 0.0f));
}

static spv_id sign_of(gpu_emitter *e, spv_id a)
{
    const spv_id zero = k(e, 0.0f);
    const spv_id down =
        select(e, test(e, SPV_F_ORD_LESS_THAN, a, zero), k(e, -1.0f), zero);
    return select(e, test(e, SPV_F_ORD_GREATER_THAN, a, zero), k(e, 1.0f),
                  down);
}

static spv_id is_finite(gpu_emitter *e, spv_id a)
{
    const spv_id exponent =
        word(e, SPV_BITWISE_AND, bits_of(e, a), gpu_u32(e, 0x7f800000));
    return SPV(&e->m, SPV_U_LESS_THAN, e->bool_, exponent,
               gpu_u32(e, 0x7f800000));
}

/* NaN where either is */
static spv_id extreme(gpu_emitter *e, uint32_t opcode, spv_id a, spv_id b)
{
    const spv_id one = select(e, test(e, opcode, a, b), a, b);
    return select(e, is_nan(e, a), a, one);
}

/* Long because it is a table: one line for each row of map.def. */
spv_id gpu_compute(gpu_emitter *e, tn_map_op op, spv_id a, spv_id b, spv_id c)
{
    switch (op) {
    case TN_MAP_NEG:
        return negate(e, a);
    case TN_MAP_ABS:
        return glsl(e, SPV_GLSL_F_ABS, a);
    case TN_MAP_SQRT:
        return gpu_root(e, a);
    case TN_MAP_RSQRT:
        return gpu_divide(e, k(e, 1.0f), gpu_root(e, a));
    case TN_MAP_EXP:
        return exponential(e, a);
    case TN_MAP_EXPM1:
        return exponential_less_1(e, a);
    case TN_MAP_LOG:
        return logarithm(e, a);
    case TN_MAP_LOG1P:
        return logarithm_plus_1(e, a);
    case TN_MAP_TANH:
        return tangent(e, a);
    case TN_MAP_SIGMOID:
        return sigmoid(e, a);
    case TN_MAP_ERF:
        return error_function(e, a);
    case TN_MAP_SIN:
        return sine_of(e, a);
    case TN_MAP_COS:
        return sine(e, a, 1);
    case TN_MAP_FLOOR:
        return glsl(e, SPV_GLSL_FLOOR, a);
    case TN_MAP_ROUND:
        return glsl(e, SPV_GLSL_ROUND_EVEN, a);
    case TN_MAP_SIGN:
        return sign_of(e, a);
    case TN_MAP_NOT:
        return truth(e, test(e, SPV_F_ORD_EQUAL, a, k(e, 0.0f)));
    case TN_MAP_FINITE:
        return truth(e, is_finite(e, a));
    case TN_MAP_ADD:
        return gpu_add(e, a, b);
    case TN_MAP_SUB:
        return sub(e, a, b);
    case TN_MAP_MUL:
        return gpu_mul(e, a, b);
    case TN_MAP_DIV:
        return gpu_divide(e, a, b);
    case TN_MAP_MIN:
        return extreme(e, SPV_F_ORD_LESS_THAN, a, b);
    case TN_MAP_MAX:
        return extreme(e, SPV_F_ORD_GREATER_THAN, a, b);
    case TN_MAP_POW:
        return power(e, a, b);
    case TN_MAP_LT:
        return truth(e, test(e, SPV_F_ORD_LESS_THAN, a, b));
    case TN_MAP_LE:
        return truth(e, test(e, SPV_F_ORD_LESS_THAN_EQUAL, a, b));
    case TN_MAP_EQ:
        return truth(e, test(e, SPV_F_ORD_EQUAL, a, b));
    case TN_MAP_AND:
        return truth(e, SPV(&e->m, SPV_LOGICAL_AND, e->bool_, is_true(e, a),
                            is_true(e, b)));
    case TN_MAP_OR:
        return truth(e, SPV(&e->m, SPV_LOGICAL_OR, e->bool_, is_true(e, a),
                            is_true(e, b)));
    case TN_MAP_FMA:
        return gpu_fused(e, a, b, c);
    case TN_MAP_SELECT:
        return select(e, is_true(e, a), b, c);
    default: /* the core has checked the program */
        return k(e, NAN);
    }
}
