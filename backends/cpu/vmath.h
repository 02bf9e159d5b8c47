/*
 * vmath.h - exp, log and their family on vectors, within 4 ulp everywhere.
 *
 * Each function reduces its argument to a short interval, evaluates one
 * polynomial there and puts the result back together. The polynomials
 * interpolate at Chebyshev nodes, computed with 40 digits and rounded to
 * float; the comment beside each gives its interval and absolute error.
 * tests/backends/cpu/test_vmath.c samples the whole float range against libm
 * in double. Subnormals, signed zeros, infinities and NaN are IEEE's.
 *
 * Results depend on no library (but for sin and cos of more than 2^23), so they
 * are the same on every machine and at both widths.
 */
#ifndef CPU_VMATH_H
#define CPU_VMATH_H

#include <math.h>

#include "vec.h"

#define POLY_STEP(p, x, c) v_fma((p), (x), v_set(c))

/* exp's numbers, which code written at run time reads too (tile_operate.c) */
#define EXP_LEAST -0x1.9fe36ap+6f /* log 2^-150 */
#define EXP_MOST 89.0f
#define EXP_WHOLE 0x1.8p23f /* added, it leaves no place for more */
#define EXP_LOG2_E 0x1.715476p+0f
/* ln 2 in two floats, the first so short that n times it is exact */
#define EXP_LN2_HIGH 0x1.62e400p-1f
#define EXP_LN2_LOW 0x1.7f7d1cp-20f
/* (e^r - 1 - r) / r^2 for |r| <= 0.3470; 4.5e-9 */
#define EXP_TERM_5 0x1.a1256cp-13f
#define EXP_TERM_4 0x1.6d43b0p-10f
#define EXP_TERM_3 0x1.1110e0p-7f
#define EXP_TERM_2 0x1.5554e8p-5f
#define EXP_TERM_1 0x1.555556p-3f
#define EXP_TERM_0 0.5f

CPU_INLINE vf exp_poly(vf r)
{
    vf p = v_set(EXP_TERM_5);
    p = POLY_STEP(p, r, EXP_TERM_4);
    p = POLY_STEP(p, r, EXP_TERM_3);
    p = POLY_STEP(p, r, EXP_TERM_2);
    p = POLY_STEP(p, r, EXP_TERM_1);
    return POLY_STEP(p, r, EXP_TERM_0);
}

/* x = n ln 2 + r: n whole, |r| <= ln 2 / 2. */
CPU_INLINE vf exp_reduce(vf x, vf *n)
{
    const vf whole = v_set(EXP_WHOLE);
    *n = v_fma(x, v_set(EXP_LOG2_E), whole) - whole;
    const vf r = v_fnma(*n, v_set(EXP_LN2_HIGH), x);
    return v_fnma(*n, v_set(EXP_LN2_LOW), r);
}

CPU_INLINE vf v_exp(vf x)
{
    vf n;
    /* 0 below the least, and not by underflow, which costs a hundred cycles:
     * masked scores of attention are all -infinity */
    const vm some = v_not_lt(x, v_set(EXP_LEAST));
    /* the bound first: min passes its second operand's NaN on */
    const vf r = exp_reduce(v_min(v_set(EXP_MOST), x), &n);
    const vf tail = v_fma(exp_poly(r), r * r, r);
    return v_scale2_if(some, v_set(1.0f) + tail, n);
}

/* (2^r - 1) / r for |r| <= 1/2; minimax of 2^r, to 1.1e-7 of it */
CPU_INLINE vf exp2_poly(vf r)
{
    vf p = v_set(0x1.5bba16p-10f);
    p = POLY_STEP(p, r, 0x1.3cea88p-7f);
    p = POLY_STEP(p, r, 0x1.c6b752p-5f);
    p = POLY_STEP(p, r, 0x1.ebf9bcp-3f);
    return POLY_STEP(p, r, 0x1.62e42ap-1f);
}

/* 2^x for x <= 126, within 3 ulp; 0 below -125. e^x by it would be off by x ulp:
 * what is added to 2^0, as in a softmax, is the smaller the farther off. */
CPU_INLINE vf v_exp2(vf x)
{
    const vf whole = v_set(EXP_WHOLE);
    const vm some = v_not_lt(x, v_set(-125.0f));
    const vf n = (x + whole) - whole;
    const vf r = x - n;
    return v_scale2_near_if(some, v_fma(exp2_poly(r), r, v_set(1.0f)), n);
}

CPU_INLINE vf v_expm1(vf x)
{
    vf n;
    const vf bounded = v_max(v_set(-40.0f), v_min(v_set(89.0f), x));
    const vf r = exp_reduce(bounded, &n);
    const vf near = v_fma(exp_poly(r), r * r, r);
    /* 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)): 2^n itself may overflow */
    const vf half = v_scale2(v_set(0.5f), n);
    const vf far = v_fma(near, half, half - v_set(0.5f));
    const vf y = v_select(v_eq(n, v_zero()), near, far + far);
    return v_or(y, v_select(v_eq(x, v_zero()), x, v_zero()));
}

/* (log(1 + f) - f + f^2/2) / f^3 for f in [-0.294, 0.415]; 3.3e-8 */
CPU_INLINE vf log_poly(vf f)
{
    vf p = v_set(0x1.1dedf8p-4f);
    p = POLY_STEP(p, f, -0x1.d6d10ep-4f);
    p = POLY_STEP(p, f, 0x1.dec8ccp-4f);
    p = POLY_STEP(p, f, -0x1.fce37ap-4f);
    p = POLY_STEP(p, f, 0x1.23cf72p-3f);
    p = POLY_STEP(p, f, -0x1.555b8ap-3f);
    p = POLY_STEP(p, f, 0x1.999d6ep-3f);
    p = POLY_STEP(p, f, -0x1.fffffcp-3f);
    return POLY_STEP(p, f, 0x1.555554p-2f);
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)), for positive finite x. */
CPU_INLINE vf log_reduce(vf x, vf *e)
{
    const vm tiny = v_lt(x, v_set(0x1p-126f));
    const vi bits = v_bits(v_select(tiny, x * v_set(0x1p25f), x));
    const vi shifted = i_sub(bits, i_set(0x3f3504f3)); /* sqrt(1/2) */
    const vf less = v_select(tiny, v_set(25.0f), v_zero());
    *e = v_from_i(i_shift_right(shifted, 23)) - less;
    return v_from_bits(
        i_add(i_and(shifted, i_set(0x007fffff)), i_set(0x3f3504f3)));
}

/* log(2^e (1 + f)) + c, the small terms first. */
CPU_INLINE vf log_join(vf e, vf f, vf c)
{
    const vf square = f * f;
    vf low = v_fma(log_poly(f), square * f, c);
    low = v_fnma(v_set(0.5f), square, low);
    low = v_fma(e, v_set(0x1.7f7d1cp-20f), low);
    return v_fma(e, v_set(0x1.62e400p-1f), f + low);
}

CPU_INLINE vf v_log(vf x)
{
    vf e;
    const vf m = log_reduce(x, &e);
    vf y = log_join(e, m - v_set(1.0f), v_zero());
    y = v_select(v_eq(x, v_set(INFINITY)), x, y);
    y = v_select(v_eq(x, v_zero()), v_set(-INFINITY), y);
    return v_select(v_le(v_zero(), x), y, v_set(NAN));
}

/* log(1 + x), where u = 1 + x rounded loses c = x - (u - 1): log(u) + c/u. */
CPU_INLINE vf v_log1p(vf x)
{
    vf e;
    const vf u = v_set(1.0f) + x;
    const vf c = (x - (u - v_set(1.0f))) / u;
    const vf m = log_reduce(u, &e);
    vf y = log_join(e, m - v_set(1.0f), c);
    y = v_select(v_eq(u, v_set(INFINITY)), u, y);
    y = v_select(v_eq(u, v_zero()), v_set(-INFINITY), y);
    y = v_select(v_le(v_zero(), u), y, v_set(NAN));
    return v_select(v_lt(v_abs(x), v_set(0x1p-26f)), x, y);
}

/* (e^2a - 1) / (e^2a + 1) for a = |x|; past 9.1 it is 1 to the last bit */
CPU_INLINE vf v_tanh(vf x)
{
    const vf a = v_min(v_set(9.1f), v_abs(x));
    const vf m = v_expm1(a + a);
    return v_or(m / (m + v_set(2.0f)), v_sign_bit(x));
}

/* 1 / (1 + e^-x), by e^-|x| so that nothing overflows */
CPU_INLINE vf v_sigmoid(vf x)
{
    const vf z = v_exp(v_or(x, v_set(-0.0f)));
    const vf one = v_set(1.0f);
    return v_select(v_lt(x, v_zero()), z, one) / (one + z);
}

/* erf(x) / x in z = x^2 on [0, 1]; 6e-8 */
CPU_INLINE vf erf_near(vf x)
{
    const vf z = x * x;
    vf p = v_set(-0x1.445f48p-17f);
    p = POLY_STEP(p, z, 0x1.d88750p-14f);
    p = POLY_STEP(p, z, -0x1.bccf66p-11f);
    p = POLY_STEP(p, z, 0x1.562a60p-8f);
    p = POLY_STEP(p, z, -0x1.b829c8p-6f);
    p = POLY_STEP(p, z, 0x1.ce2f08p-4f);
    p = POLY_STEP(p, z, -0x1.812746p-2f);
    return x * POLY_STEP(p, z, 0x1.20dd76p+0f);
}

/* 1 - e^log(erfc(t)) for t in [1, 4]; the exponent to 5e-8 */
CPU_INLINE vf erf_far(vf t)
{
    vf p = v_set(-0x1.45ac78p-24f);
    p = POLY_STEP(p, t, 0x1.bdd436p-19f);
    p = POLY_STEP(p, t, -0x1.054c58p-14f);
    p = POLY_STEP(p, t, 0x1.679370p-11f);
    p = POLY_STEP(p, t, -0x1.4befb6p-8f);
    p = POLY_STEP(p, t, 0x1.bbffa4p-6f);
    p = POLY_STEP(p, t, -0x1.c6e1a0p-4f);
    p = POLY_STEP(p, t, -0x1.430c46p-1f);
    p = POLY_STEP(p, t, -0x1.2173eep+0f);
    return v_set(1.0f) - v_exp(POLY_STEP(p, t, 0x1.b48d86p-12f));
}

CPU_INLINE vf v_erf(vf x)
{
    const vf t = v_min(v_set(4.0f), v_abs(x));
    const vf far = v_or(erf_far(t), v_sign_bit(x));
    return v_select(v_lt(t, v_set(1.0f)), erf_near(x), far);
}

/* x = n pi/2 + r in double with pi/2 in two parts and fused steps: r is good
 * to float for |x| < 2^30. */
CPU_INLINE vd quarter_turns(vd x, vd *n)
{
    *n = d_round(x * d_set(0x1.45f306dc9c883p-1));
    const vd r = d_fma(*n, d_set(-0x1.921fb54442d18p+0), x);
    return d_fma(*n, d_set(-0x1.1a62633145c00p-54), r);
}

/* (sin(r) - r) / r^3 in z = r^2, |r| <= pi/4; 5.0e-9 */
CPU_INLINE vf sin_poly(vf r)
{
    const vf z = r * r;
    vf p = v_set(0x1.6dbbeep-19f);
    p = POLY_STEP(p, z, -0x1.a013a2p-13f);
    p = POLY_STEP(p, z, 0x1.11110ep-7f);
    p = POLY_STEP(p, z, -0x1.555556p-3f);
    return v_fma(p, z * r, r);
}

/* (cos(r) - 1 + r^2/2) / r^4 in z = r^2, |r| <= pi/4; 1.2e-9 */
CPU_INLINE vf cos_poly(vf r)
{
    const vf z = r * r;
    vf p = v_set(-0x1.2522e6p-22f);
    p = POLY_STEP(p, z, 0x1.a015c0p-16f);
    p = POLY_STEP(p, z, -0x1.6c16c0p-10f);
    p = POLY_STEP(p, z, 0x1.555556p-5f);
    return v_fma(p, z * z, v_fnma(v_set(0.5f), z, v_set(1.0f)));
}

/* Sine and cosine of n pi/2 + r, n modulo 4. */
CPU_INLINE void turn(vf r, vi n, vf *sine, vf *cosine)
{
    const vf s = sin_poly(r), c = cos_poly(r);
    const vm odd = i_gt(i_and(n, i_set(1)), i_set(0));
    const vf sine_sign = v_from_bits(i_shift_left(i_and(n, i_set(2)), 30));
    const vf cosine_sign =
        v_from_bits(i_shift_left(i_and(i_add(n, i_set(1)), i_set(2)), 30));
    *sine = v_xor(v_select(odd, c, s), sine_sign);
    *cosine = v_xor(v_select(odd, s, c), cosine_sign);
}

/* Angles given in double, as rope has them: |x| < 2^30. */
CPU_INLINE void v_sincos_of_double(vd low, vd high, vf *sine, vf *cosine)
{
    vd n_low, n_high;
    const vd r_low = quarter_turns(low, &n_low);
    const vd r_high = quarter_turns(high, &n_high);
    const vi n = v_to_i(d_join(n_low, n_high));
    turn(d_join(r_low, r_high), n, sine, cosine);
}

/* n stays exact in a float up to 2^24 quarter turns; beyond, and for infinity
 * and NaN, libm lane by lane. */
CPU_INLINE vf v_sin_or_cos(vf x, int want_cosine)
{
    vf sine, cosine;
    v_sincos_of_double(d_low(x), d_high(x), &sine, &cosine);
    vf y = want_cosine ? cosine : v_select(v_eq(x, v_zero()), x, sine);
    const vm inside = v_lt(v_abs(x), v_set(0x1p23f));
    if (!m_all(inside)) {
        float lane[VW], result[VW];
        v_store(lane, x);
        for (int i = 0; i < VW; i++)
            result[i] = want_cosine ? cosf(lane[i]) : sinf(lane[i]);
        y = v_select(inside, y, v_load(result));
    }
    return y;
}

CPU_INLINE vf v_sin(vf x)
{
    return v_sin_or_cos(x, 0);
}

CPU_INLINE vf v_cos(vf x)
{
    return v_sin_or_cos(x, 1);
}

/* log2 of m in [sqrt(1/2), sqrt(2)): the series of atanh; 2e-13 relative */
CPU_INLINE vd log2_series(vd m)
{
    const vd s = (m - d_set(1.0)) / (m + d_set(1.0));
    const vd z = s * s;
    vd p = d_set(0x1.c68f568d31760p-3); /* 2 log2(e) / 13 */
    p = d_fma(p, z, d_set(0x1.0c9a84994022dp-2));
    p = d_fma(p, z, d_set(0x1.484b13d7c02a9p-2));
    p = d_fma(p, z, d_set(0x1.a61762a7aded9p-2));
    p = d_fma(p, z, d_set(0x1.2776c50ef9bfep-1));
    p = d_fma(p, z, d_set(0x1.ec709dc3a03fdp-1));
    p = d_fma(p, z, d_set(0x1.71547652b82fep+1));
    return p * s;
}

/* a^b = 2^(b log2 a), the exponent in double: b log2 a to 2^-32. a < 0: NaN. */
CPU_INLINE vf v_pow(vf a, vf b)
{
    vf e;
    const vf m = log_reduce(a, &e);
    const vd log_low = log2_series(d_low(m)) + d_low(e);
    const vd log_high = log2_series(d_high(m)) + d_high(e);
    const vd t_low = log_low * d_low(b), t_high = log_high * d_high(b);
    const vd n_low = d_round(t_low), n_high = d_round(t_high);
    const vd ln2 = d_set(0x1.62e42fefa39efp-1);
    const vf r = d_join((t_low - n_low) * ln2, (t_high - n_high) * ln2);
    vf n = d_join(n_low, n_high);
    n = v_max(v_set(-160.0f), v_min(v_set(130.0f), n));
    vf y = v_scale2(v_set(1.0f) + v_fma(exp_poly(r), r * r, r), n);

    /* a = 0 or infinity: 0 or infinity by the sign of b */
    const vf zero = v_zero(), inf = v_set(INFINITY), one = v_set(1.0f);
    const vf up = v_select(v_lt(b, zero), zero, inf);
    const vf down = v_select(v_lt(b, zero), inf, zero);
    y = v_select(v_eq(a, inf), up, y);
    y = v_select(v_eq(a, zero), down, y);
    /* b infinite: by which side of 1 a is on */
    const vm b_inf = v_eq(v_abs(b), inf);
    y = v_select(b_inf, v_select(v_lt(a, one), down, up), y);
    y = v_select(v_le(zero, a), y, v_set(NAN));
    y = v_select(v_ne(b, b), b, y);
    return v_select(m_or(v_eq(a, one), v_eq(b, zero)), one, y);
}

#undef POLY_STEP
#endif
