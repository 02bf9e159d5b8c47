/*
 * lines.h - lines of F32 or BF16 as kernels see them: of floats.
 *
 * A kernel whose rows fit into L1 works on floats. Where an operand is bf16 its
 * line is widened into room of the thread's first, or rounded behind: a few
 * instructions for each vector, and no pass over memory of its own. One that
 * reads and writes each vector once or twice does so as it goes.
 */
#ifndef CPU_LINES_H
#define CPU_LINES_H

#include "cpu.h"
#include "vec.h"

typedef struct lines {
    char *at;
    tn_dtype dtype;
} lines;

static inline lines lines_of(const cpu_compiler *c, const tn_operand *x)
{
    return (lines){cpu_at(c, x), x->dtype};
}

static inline char *lines_at(const lines *x, int64_t element)
{
    return x->at + cpu_bytes(x->dtype) * element;
}

/* The vector of n elements, or of VW if there are more, from `element` on. */
CPU_INLINE vf vector_in(const lines *x, int64_t element, int64_t n)
{
    const void *at = lines_at(x, element);
    if (x->dtype == TN_F32)
        return n >= VW ? v_load(at) : v_load_n(at, n);
    return n >= VW ? v_load_bf16(at) : v_load_bf16_n(at, n);
}

CPU_INLINE void vector_out(const lines *y, int64_t element, vf a, int64_t n)
{
    void *at = lines_at(y, element);
    if (y->dtype == TN_F32 && n >= VW)
        v_store(at, a);
    else if (y->dtype == TN_F32)
        v_store_n(at, a, n);
    else if (n >= VW)
        v_store_bf16(at, a);
    else
        v_store_bf16_n(at, a, n);
}

/* n elements from `element` on: where they lie, or in room. */
CPU_INLINE const float *line_in(const lines *x, int64_t element, int64_t n,
                                float *room)
{
    void *at = lines_at(x, element);
    if (x->dtype == TN_F32)
        return at;
    v_widen(room, at, n);
    return room;
}

/* Where to write a line that line_done stores. */
CPU_INLINE float *line_out(const lines *y, int64_t element, float *room)
{
    void *at = lines_at(y, element);
    return y->dtype == TN_F32 ? at : room;
}

CPU_INLINE void line_done(const lines *y, int64_t element, int64_t n,
                          const float *room)
{
    void *at = lines_at(y, element);
    if (y->dtype == TN_BF16)
        v_narrow(at, room, n);
}

/* `count` lines of n, `pitch` apart: where they lie, or in room, and their
 * pitch there. */
CPU_INLINE const float *lines_in(const lines *x, int64_t element, int64_t count,
                                 int64_t n, float *room, int64_t *pitch)
{
    void *at = lines_at(x, element);
    if (x->dtype == TN_F32)
        return at;
    for (int64_t i = 0; i < count; i++)
        v_widen(room + i * n, (const uint16_t *)at + i * *pitch, n);
    *pitch = n;
    return room;
}

#endif
