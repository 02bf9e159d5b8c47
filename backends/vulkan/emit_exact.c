/*
 * emit_exact.c - arithmetic that is rounded once, on devices that promise less.
 *
 * Vulkan allows 2.5 ulp for a division and leaves open whether fma rounds once;
 * trial.c has found out the latter (e->fuses).
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

/* A quotient that is good to some ulp becomes the nearest by its residue, which
 * fma knows exactly; where that overflows or there is none, it stays. Devices
 * without a fused fma are CPUs, whose division is IEEE's. */
spv_id gpu_divide(gpu_emitter *e, spv_id a, spv_id b)
{
    const spv_id q = binary(e, SPV_F_DIV, a, b);
    if (!e->fuses)
        return q;
    const spv_id inverse = binary(e, SPV_F_DIV, k(e, 1.0f), b);
    const spv_id residue = mad(e, negate(e, q), b, a);
    const spv_id better = mad(e, residue, inverse, q);
    const spv_id size = glsl(e, SPV_GLSL_F_ABS, q);
    const spv_id plain = test(e, SPV_F_ORD_LESS_THAN, size, k(e, 0x1p126f));
    const spv_id normal =
        test(e, SPV_F_ORD_GREATER_THAN, size, k(e, 0x1p-100f));
    const spv_id bounded = test(e, SPV_F_ORD_LESS_THAN,
                                glsl(e, SPV_GLSL_F_ABS, b), k(e, 0x1p126f));
    spv_id use = SPV(&e->m, SPV_LOGICAL_AND, e->bool_, plain, normal);
    use = SPV(&e->m, SPV_LOGICAL_AND, e->bool_, use, bounded);
    return select(e, use, better, q);
}

spv_id gpu_root(gpu_emitter *e, spv_id a)
{
    const spv_id s = glsl(e, SPV_GLSL_SQRT, a);
    if (!e->fuses)
        return s;
    const spv_id half = binary(e, SPV_F_DIV, k(e, 0.5f), s);
    const spv_id residue = mad(e, negate(e, s), s, a);
    const spv_id better = mad(e, residue, half, s);
    const spv_id normal = test(e, SPV_F_ORD_GREATER_THAN, a, k(e, 0x1p-100f));
    const spv_id finite = test(e, SPV_F_ORD_LESS_THAN, a, k(e, 0x1p127f));
    return select(e, SPV(&e->m, SPV_LOGICAL_AND, e->bool_, normal, finite),
                  better, s);
}
