/*
 * attention.h - what attention forward, backward and decoding share.
 *
 * Scores are computed transposed, keys down and queries across:
 *
 *     S (keys, lanes) = K (keys, D) Q^T (D, lanes)      lanes: up to 64 queries
 *
 * so that the maximum, the sum and the rescaling of an online softmax are plain
 * vector operations, a lane per query, and no sum over lanes exists. Q^T is
 * made once per block of queries; K, V and what they are multiplied with need
 * no packing at all (gemm_direct broadcasts the one and streams the other).
 * Lanes past the last query of a block hold zeros and are never stored.
 *
 * Only blocks of keys that some query of the block sees are touched, and only
 * those that not all see are masked: of a row that holds many documents, what
 * lies before the queries' own is never read.
 */
#ifndef CPU_ATTENTION_H
#define CPU_ATTENTION_H

#include "gemm.h"

enum { ATTENTION_LANES = 64, ATTENTION_KEYS = 64 };

/* Dense vectors, anywhere: of batch b, row t and head h. */
typedef struct vectors {
    const float *first;
    int64_t batch, row, head; /* strides */
} vectors;

static inline const float *vector_at(const vectors *x, int64_t b, int64_t t,
                                     int64_t h)
{
    return x->first + b * x->batch + t * x->row + h * x->head;
}

typedef struct attention {
    vectors q, k, v;          /* (B, T, H, D), (B, S, G, D), (B, S, G, E) */
    const int32_t *positions; /* (B, T); NULL: t */
    const int32_t *firsts;    /* (B, T): of its document; NULL: 0 */
    float *o, *lse;           /* (B, T, H, E), (B, H, T) */
    /* backward only */
    const float *o_in, *lse_in, *dout;
    float *dq, *dk, *dv;
    int64_t B, T, H, D, S, G, E;
    int64_t heads; /* per kv head: H / G */
    int64_t query_blocks;
    float scale, cap;
    int64_t window;
    uint32_t causal;
} attention;

/* Queries [first, first + count) of batch b as lanes. */
typedef struct lanes {
    int64_t first, count, padded; /* padded: count in whole vectors */
    int32_t position[ATTENTION_LANES];
    int32_t first_key[ATTENTION_LANES]; /* filled where there are firsts */
    int32_t lowest, highest; /* of positions >= 0; highest -1: none */
    int32_t latest_key;      /* of their first keys; 0 without firsts */
    uint32_t blind;          /* some row sees nothing (position -1) */
    int64_t from, to;        /* keys that some query sees */
} lanes;

/* q, k and v are inputs q .. q + 2; input `optional` is positions, the next one
 * firsts. */
void ISA(attention_fill)(attention *a, const cpu_compiler *c,
                         const tn_plan_node *node, uint32_t q,
                         uint32_t optional);
void ISA(attention_lanes)(const attention *a, int64_t b, int64_t first,
                          lanes *l);

/* to (width, padded) = scale * from^T; from: l->count rows `pitch` apart. */
void ISA(attention_transpose)(const lanes *l, float *to, const float *from,
                              int64_t pitch, int64_t width, float scale);

/* Scaled, capped, masked scores of keys [j, j + keys) of k (rows of one batch
 * and kv head): s (keys, padded). Masked ones are -infinity. */
void ISA(attention_scores)(const attention *a, const lanes *l, const float *k,
                           const float *q, int64_t j, int64_t keys, float *s);

#endif
