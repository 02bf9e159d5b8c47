/*
 * powers.h - a softmax's powers (gemm_powers in gemm.h), a vector at a time:
 * where products store them (gemm_packed.c), and where a row of logits is taken
 * again (loss.c).
 */
#ifndef CPU_POWERS_H
#define CPU_POWERS_H

#include "vmath.h"

/* Of two: below v_exp2's largest. A row whose sum comes near is taken again. */
#define POWERS_MOST 100.0f

/* What logits times log2 e are relative to. */
static inline float powers_base(float center)
{
    return center * EXP_LOG2_E;
}

/* e^(z - center) */
CPU_INLINE vf power_of(vf z, float center)
{
    const vf minus_base = v_set(-powers_base(center));
    const vf x = v_fma(z, v_set(EXP_LOG2_E), minus_base);
    return v_exp2(v_min(v_set(POWERS_MOST), x)); /* NaN stays */
}

/* z = cap tanh(s / cap) */
CPU_INLINE vf power_capped(vf s, float cap)
{
    return v_set(cap) * v_tanh(s * v_set(1.0f / cap));
}

/* dz/ds = 1 - (z / cap)^2 */
CPU_INLINE vf power_slope(vf z, float cap)
{
    const vf t = z * v_set(1.0f / cap);
    return v_fnma(t, t, v_set(1.0f));
}

#endif
