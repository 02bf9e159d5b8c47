/*
 * emit_exact.c - arithmetic that is rounded once, on devices that promise less.
 *
 * Vulkan allows 2.5 ulp for a division and leaves open whether fma rounds once;
 * trial.c has found out the latter (e->fuses). Software devices divide as CPUs
 * do (e->divides).
 */
#include <math.h>

#include "emit_math.h"

spv_id gpu_add(gpu_emitter *e, spv_id a, spv_id b)
{
    return binary(e, SPV_F_ADD, a, b);
}

spv_id gpu_mul(gpu_emitter *e, spv_id a, spv_id b)
{
    return binary(e, SPV_F_MUL, a, b);
}

/* ---- a b + c, rounded once ---- */

/* a = high + low, each of half the bits (Veltkamp) */
static spv_id split(gpu_emitter *e, spv_id a, spv_id *low)
{
    const spv_id big = gpu_mul(e, a, k(e, 4097.0f));
    const spv_id high = sub(e, big, sub(e, big, a));
    *low = sub(e, a, high);
    return high;
}

/* What p = a b, rounded, has lost (Dekker) */
static spv_id lost_product(gpu_emitter *e, spv_id a, spv_id b, spv_id p)
{
    spv_id a_low, b_low;
    const spv_id a_high = split(e, a, &a_low), b_high = split(e, b, &b_low);
    spv_id lost = sub(e, gpu_mul(e, a_high, b_high), p);
    lost = gpu_add(e, lost, gpu_mul(e, a_high, b_low));
    lost = gpu_add(e, lost, gpu_mul(e, a_low, b_high));
    return gpu_add(e, lost, gpu_mul(e, a_low, b_low));
}

/* What s = a + b, rounded, has lost (Knuth) */
static spv_id lost_sum(gpu_emitter *e, spv_id a, spv_id b, spv_id s)
{
    const spv_id from_b = sub(e, s, a), from_a = sub(e, s, from_b);
    return gpu_add(e, sub(e, a, from_a), sub(e, b, from_b));
}

/* On a device that rounds twice: product and sum with what they lose. Where
 * that overflows, there is nothing to add. */
spv_id gpu_fused(gpu_emitter *e, spv_id a, spv_id b, spv_id c)
{
    if (e->fuses)
        return mad(e, a, b, c);
    const spv_id p = gpu_mul(e, a, b), s = gpu_add(e, p, c);
    const spv_id lost =
        gpu_add(e, lost_product(e, a, b, p), lost_sum(e, p, c, s));
    const spv_id known = test(e, SPV_F_ORD_LESS_THAN,
                              glsl(e, SPV_GLSL_F_ABS, lost), k(e, INFINITY));
    return select(e, known, gpu_add(e, s, lost), s);
}

/* ---- division and roots, rounded once ---- */

static spv_id both(gpu_emitter *e, spv_id a, spv_id b)
{
    return SPV(&e->m, SPV_LOGICAL_AND, e->bool_, a, b);
}

static spv_id is_between(gpu_emitter *e, float low, spv_id x, float high)
{
    const spv_id size = glsl(e, SPV_GLSL_F_ABS, x);
    return both(e, test(e, SPV_F_ORD_GREATER_THAN, size, k(e, low)),
                test(e, SPV_F_ORD_LESS_THAN, size, k(e, high)));
}

/* A quotient that is good to some ulp becomes the nearest by its residue, which
 * gpu_fused knows exactly; where that overflows or there is none, it stays.
 * Emulated, the residue has parts 2^12 as large and 2^-24 as small, which may
 * overflow or be flushed. */
spv_id gpu_divide(gpu_emitter *e, spv_id a, spv_id b)
{
    const spv_id q = binary(e, SPV_F_DIV, a, b);
    if (e->divides)
        return q;
    const spv_id inverse = binary(e, SPV_F_DIV, k(e, 1.0f), b);
    const spv_id residue = gpu_fused(e, negate(e, q), b, a);
    const spv_id better = mad(e, residue, inverse, q);
    const float least = e->fuses ? 0x1p-126f : 0x1p-90f;
    const float most = e->fuses ? 0x1p126f : 0x1p114f;
    const spv_id exact = both(e, is_between(e, 0x1p-126f, b, most),
                              is_between(e, least, a, INFINITY));
    return select(e, both(e, exact, is_between(e, 0x1p-100f, q, most)), better,
                  q);
}

spv_id gpu_root(gpu_emitter *e, spv_id a)
{
    const spv_id s = glsl(e, SPV_GLSL_SQRT, a);
    if (e->divides)
        return s;
    const spv_id half = binary(e, SPV_F_DIV, k(e, 0.5f), s);
    const spv_id residue = gpu_fused(e, negate(e, s), s, a);
    const spv_id better = mad(e, residue, half, s);
    const float least = e->fuses ? 0x1p-100f : 0x1p-90f;
    return select(e, is_between(e, least, a, 0x1p127f), better, s);
}
