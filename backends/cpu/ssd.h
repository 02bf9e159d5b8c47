/*
 * ssd.h - what the forward and the backward of the state space scan share.
 *
 * T rows are cut into Z chunks of L. With s the running sum of dt A in a chunk
 * and s_L its last, h the state at its start, and C B' of the chunk's rows:
 *
 *     W_tj = C_t'B_j e^(s_t - s_j), j <= t       y = W (dt x) + e^s (C h')
 *     h'   = e^(s_L) h + (dt e^(s_L - s) x)' B   at the next chunk's start
 *
 * No exponent is above 0. C B' depends on the group alone and is computed once
 * for all its heads. Products of rows of a chunk are triangles: they are done
 * in blocks of SSD_BLOCK rows that end at the diagonal.
 *
 * A document that begins in a chunk begins with a state of 0: what would carry
 * from rows before it to rows from it on is 0, and inside its own e^ is counted
 * from its first row.
 *
 * A decaying state and W pass through the subnormal numbers on their way to 0,
 * where an operation takes a hundred cycles: ssd_step's tasks round those to 0.
 */
#ifndef CPU_SSD_H
#define CPU_SSD_H

#include "gemm.h"
#include "vmath.h"

#include <string.h>

enum { SSD_MOST_ROWS = 128, SSD_BLOCK = 12, SSD_BLOCK_PITCH = 16 };

/* An input (B, T, heads, width): its strides; width has stride 1. */
typedef struct ssd_input {
    const float *at;
    int64_t batch, row, head;
} ssd_input;

ssd_input ISA(ssd_input_of)(const cpu_compiler *c, const tn_operand *o);

typedef struct ssd {
    ssd_input x, dt, Bm, Cm; /* of dt a head is one element */
    const float *A;
    const int32_t *firsts; /* (B, T): of its document; NULL: rows are one */
    int64_t B, T, H, P, G, N;
    int64_t R;       /* heads of a group */
    int64_t L, Z;    /* rows of a chunk, chunks */
    int64_t P_pitch; /* of packed rows of x: P in whole vectors */
} ssd;

/* x, dt, A, Bm, Cm from input `first` on, where documents begin in input 6; L:
 * up to SSD_MOST_ROWS, in whole vectors */
void ISA(ssd_fill)(ssd *s, const cpu_compiler *c, const tn_plan_node *node,
                   uint32_t first, int64_t L);

/* cpu_step, with subnormal numbers taken for 0 while a task runs. */
void ISA(ssd_step)(cpu_compiler *c, cpu_task task, const void *argument,
                   int64_t tasks);

/* A chunk of batch row b: `count` rows from t; `first` counts all rows. */
typedef struct ssd_chunk {
    int64_t b, t, first, count;
} ssd_chunk;

static inline ssd_chunk ssd_chunk_at(const ssd *s, int64_t b, int64_t z)
{
    const int64_t t = z * s->L;
    return (ssd_chunk){b, t, b * s->T + t, cpu_min(s->L, s->T - t)};
}

/* Head (or group) h of an input in the chunk's first row; as a matrix. */
static inline const float *ssd_at(const ssd_input *x, ssd_chunk c, int64_t h)
{
    return x->at + c.b * x->batch + c.t * x->row + h * x->head;
}
static inline gemm_matrix ssd_rows_of(const ssd_input *x, ssd_chunk c,
                                      int64_t g)
{
    return (gemm_matrix){ssd_at(x, c, g), x->row, 1};
}
static inline gemm_matrix ssd_columns_of(const ssd_input *x, ssd_chunk c,
                                         int64_t g)
{
    return (gemm_matrix){ssd_at(x, c, g), 1, x->row};
}

/* Outputs are dense: row `row` for head h, and for group g. */
static inline int64_t ssd_head(const ssd *s, int64_t row, int64_t h)
{
    return (row * s->H + h) * s->P;
}
static inline int64_t ssd_group(const ssd *s, int64_t row, int64_t g)
{
    return (row * s->G + g) * s->N;
}

/* What a head's rows of a chunk are scaled by; zeros past the last. */
typedef struct ssd_decay {
    float dt[SSD_MOST_ROWS], s[SSD_MOST_ROWS];
    float from_start[SSD_MOST_ROWS]; /* e^s */
    float to_end[SSD_MOST_ROWS];     /* e^(s_L - s) */
    float dt_to_end[SSD_MOST_ROWS];
    float total;                  /* s_L; -infinity where a document begins */
    int32_t begin[SSD_MOST_ROWS]; /* of its document in the chunk, or 0 */
} ssd_decay;

void ISA(ssd_decay_of)(const ssd *s, ssd_chunk k, int64_t h, ssd_decay *d);

/* Whether row `row`, which counts all rows, begins a document. */
static inline int ssd_begins(const ssd *s, int64_t row)
{
    return s->firsts && s->firsts[row] == row % s->T;
}

/* Decays to the rows of a block, from `first` on: those from columns before it
 * are products of two that are shared, of its rows and of its columns. */
typedef struct ssd_block {
    const ssd_decay *d;
    int64_t first;
    float columns[SSD_MOST_ROWS]; /* e^(s_first - s_j), j < first */
    float rows[SSD_BLOCK_PITCH];  /* e^(s_t - s_first) */
} ssd_block;

void ISA(ssd_block_of)(const ssd_decay *d, int64_t first, int64_t count,
                       ssd_block *k);

/* e^(s_t - s_j) for j .. j + VW of the chunk; anything where j > t or where a
 * document begins between them */
CPU_INLINE vf ssd_between(const ssd_block *k, int64_t t, int64_t j)
{
    if (j + VW <= k->first)
        return v_set(k->rows[t - k->first]) * v_load(k->columns + j);
    return v_exp(v_set(k->d->s[t]) - v_load(k->d->s + j));
}

/* x, whose lanes are j .. j + VW, and 0 outside lanes `begin` to `end` */
CPU_INLINE vf ssd_between_rows(int64_t begin, int64_t end, int64_t j, vf x)
{
    if (begin <= j && j + VW <= end)
        return x;
    const vm before = i_gt(i_set((int32_t)(end - j)), i_lanes());
    const vm after = i_gt(i_lanes(), i_set((int32_t)(begin - j - 1)));
    return v_select(m_and(before, after), x, v_zero());
}

/* products (L, L) = C B' where j <= t; transposed: N L of scratch. */
void ISA(ssd_products)(const ssd *s, ssd_chunk k, int64_t g, float *transposed,
                       float *products);

/* to (count, P_pitch) = scale * rows of head h of x, zeros where padded; scale
 * NULL: 1. */
void ISA(ssd_pack)(const ssd *s, ssd_chunk k, int64_t h, const ssd_input *x,
                   const float *scale, float *to);

/* to (columns, to_pitch) = from (rows, from_pitch) transposed */
void ISA(ssd_transpose)(float *to, int64_t to_pitch, const float *from,
                        int64_t from_pitch, int64_t rows, int64_t columns);

#endif
