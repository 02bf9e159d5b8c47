/*
 * emit_math.h - single operations on f32, as emit_exact.c and emit_math.c write
 * them. Nothing is contracted: a product stays a product.
 */
#ifndef VULKAN_EMIT_MATH_H
#define VULKAN_EMIT_MATH_H

#include "emit.h"

enum { GPU_NO_CONTRACTION = 42 };

static inline spv_id binary(gpu_emitter *e, uint32_t opcode, spv_id a, spv_id b)
{
    const spv_id id = SPV(&e->m, opcode, e->f32, a, b);
    SPV_DECORATION(&e->m, SPV_DECORATE, id, GPU_NO_CONTRACTION);
    return id;
}

static inline spv_id sub(gpu_emitter *e, spv_id a, spv_id b)
{
    return binary(e, SPV_F_SUB, a, b);
}

static inline spv_id k(gpu_emitter *e, float value)
{
    return gpu_f32(e, value);
}

/* a b + c with one rounding or two, as the device likes: for polynomials */
static inline spv_id mad(gpu_emitter *e, spv_id a, spv_id b, spv_id c)
{
    const spv_id id =
        SPV(&e->m, SPV_EXT_INST, e->f32, e->glsl, SPV_GLSL_FMA, a, b, c);
    SPV_DECORATION(&e->m, SPV_DECORATE, id, GPU_NO_CONTRACTION);
    return id;
}

static inline spv_id negate(gpu_emitter *e, spv_id a)
{
    return SPV(&e->m, SPV_F_NEGATE, e->f32, a);
}

static inline spv_id glsl(gpu_emitter *e, uint32_t function, spv_id a)
{
    return SPV(&e->m, SPV_EXT_INST, e->f32, e->glsl, function, a);
}

static inline spv_id test(gpu_emitter *e, uint32_t opcode, spv_id a, spv_id b)
{
    return SPV(&e->m, opcode, e->bool_, a, b);
}

static inline spv_id select(gpu_emitter *e, spv_id condition, spv_id yes,
                            spv_id no)
{
    return SPV(&e->m, SPV_SELECT, e->f32, condition, yes, no);
}

static inline spv_id bits_of(gpu_emitter *e, spv_id f)
{
    return SPV(&e->m, SPV_BITCAST, e->u32, f);
}

static inline spv_id from_bits(gpu_emitter *e, spv_id u)
{
    return SPV(&e->m, SPV_BITCAST, e->f32, u);
}

static inline spv_id word(gpu_emitter *e, uint32_t opcode, spv_id a, spv_id b)
{
    return SPV(&e->m, opcode, e->u32, a, b);
}

/* |a| with the sign of s; a must not be negative */
static inline spv_id with_sign(gpu_emitter *e, spv_id a, spv_id s)
{
    const spv_id sign =
        word(e, SPV_BITWISE_AND, bits_of(e, s), gpu_u32(e, 0x80000000u));
    return from_bits(e, word(e, SPV_BITWISE_OR, bits_of(e, a), sign));
}

static inline spv_id is_nan(gpu_emitter *e, spv_id a)
{
    return test(e, SPV_F_UNORD_NOT_EQUAL, a, a);
}

/* NaN where a is NaN */
static inline spv_id at_least(gpu_emitter *e, spv_id a, float low)
{
    return select(e, test(e, SPV_F_ORD_LESS_THAN, a, k(e, low)), k(e, low), a);
}

static inline spv_id at_most(gpu_emitter *e, spv_id a, float high)
{
    return select(e, test(e, SPV_F_ORD_GREATER_THAN, a, k(e, high)), k(e, high),
                  a);
}

/* ---- emit_exact.c: rounded once, whatever the device's own are ---- */

spv_id gpu_fused(gpu_emitter *e, spv_id a, spv_id b, spv_id c);
spv_id gpu_divide(gpu_emitter *e, spv_id a, spv_id b);
spv_id gpu_root(gpu_emitter *e, spv_id a);

#endif
