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
 * lies before the queries' own is never read. Of a block on the diagonal, a
 * vector of lanes meets the keys that one of its lanes sees, and 16 keys at a
 * time the lanes behind the first that sees one of them (`visible`): 3/8 of its
 * work falls away.
 */
#ifndef CPU_ATTENTION_H
#define CPU_ATTENTION_H

#include "gemv.h"
#include "lines.h"

enum { ATTENTION_LANES = 64, ATTENTION_KEYS = 64 };

/* Dense vectors, anywhere: of batch b, row t and head h. */
typedef struct vectors {
    lines of;
    int64_t batch, row, head; /* strides */
} vectors;

/* The element where one begins. */
static inline int64_t vector_at(const vectors *x, int64_t b, int64_t t,
                                int64_t h)
{
    return b * x->batch + t * x->row + h * x->head;
}

/* Rows [t, t + count) of a head at element `first`, as a matrix of floats. */
CPU_INLINE gemm_matrix rows_of(const vectors *x, int64_t first, int64_t t,
                               int64_t count, int64_t width, float *room)
{
    int64_t pitch = x->row;
    const float *at =
        lines_in(&x->of, first + t * x->row, count, width, room, &pitch);
    return (gemm_matrix){at, pitch, 1};
}

typedef struct attention {
    vectors q, k, v;          /* (B, T, H, D), (B, S, G, D), (B, S, G, E) */
    const int32_t *positions; /* (B, T); NULL: t */
    const int32_t *firsts;    /* (B, T): of its document; NULL: 0 */
    lines o;                  /* (B, T, H, E) */
    float *lse;               /* (B, H, T) */
    /* backward only */
    vectors dout;
    const float *lse_in;
    lines dq, dk, dv;
    int64_t B, T, H, D, S, G, E;
    int64_t heads; /* per kv head: H / G */
    int64_t query_blocks;
    int64_t threads;
    /* in whole numbers only: blocks of queries of a task, and products */
    int64_t units;
    const struct whole_products *by;
    float scale, cap;
    int64_t window;
    uint32_t causal;
} attention;

/* Keys that token t, of row `row`, sees: the first, and how many. */
static inline int64_t attention_seen(const attention *a, int64_t row, int64_t t,
                                     int64_t *first)
{
    const int64_t p = a->positions ? a->positions[row] : t;
    const int64_t to = p < 0 ? 0 : a->causal ? cpu_min(a->S, p + 1) : a->S;
    const int64_t near = a->window > 0 ? cpu_max(0, p - a->window + 1) : 0;
    const int64_t own = a->firsts ? a->firsts[row] : 0;
    *first = cpu_min(cpu_max(near, own), to);
    return to - *first;
}

/* A sum of 0 says less: it is that of scores of -infinity too, whose output is
 * not a number. */
static inline int attention_sees(const attention *a, int64_t b, int64_t t)
{
    int64_t first;
    return attention_seen(a, b * a->T + t, t, &first) > 0;
}

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

/* Rows of `to` from element `at`, `pitch` apart = scale * from^T; from (width,
 * padded). room: attention_room. */
void ISA(attention_store)(const lanes *l, const lines *to, int64_t at,
                          int64_t pitch, const float *from, int64_t width,
                          float scale, float *room);

enum { KEY_GROUP = 16, KEY_GROUPS = ATTENTION_KEYS / KEY_GROUP };

/* What is to be computed of a block of keys. The rest is not even -infinity. */
typedef struct visible {
    int64_t keys;
    int64_t limit[ATTENTION_LANES / VW]; /* keys that vector's lanes meet */
    int64_t skip[KEY_GROUPS]; /* lanes before those that meet the group */
    uint32_t whole; /* every lane meets every key, some may be masked */
} visible;

/* q, k and v are inputs q .. q + 2; input `optional` is positions, the next one
 * firsts. */
void ISA(attention_fill)(attention *a, const cpu_compiler *c,
                         const tn_plan_node *node, uint32_t q,
                         uint32_t optional);
void ISA(attention_lanes)(const attention *a, int64_t b, int64_t first,
                          lanes *l);

/* Floats of room for a block of rows of q, k, v or o. */
static inline int64_t attention_room(const attention *a)
{
    return ATTENTION_LANES * v_round_up(cpu_max(a->D, a->E));
}

/* TN_OK where q, k and v, inputs q .. q + 2, have one dtype. */
tn_status ISA(attention_check)(const tn_plan_node *node, uint32_t q,
                               tn_error *err);

/* to (width, padded) = scale * from^T; from: l->count rows. */
void ISA(attention_transpose)(const lanes *l, float *to, gemm_matrix from,
                              int64_t width, float scale);

/* What lanes see of keys [j, j + keys). */
void ISA(attention_visible)(const attention *a, const lanes *l, int64_t j,
                            int64_t keys, visible *v);

/* Scaled scores s (keys, padded) of keys from j on, capped and masked: what is
 * visible of them. Masked ones are -infinity. */
void ISA(attention_mask)(const attention *a, const lanes *l, const visible *v,
                         int64_t j, float *s);

/* The same, computed: vectors of the keys are the rows of k. */
void ISA(attention_scores)(const attention *a, const lanes *l, const visible *v,
                           gemm_matrix k, const float *q, int64_t j, float *s);

/* The unit of work that is a task's: later queries meet more keys, and threads
 * take tasks in turn; were units in order, one thread would have all the late
 * ones. So every other round of turns goes the other way. */
static inline int64_t attention_turn(const attention *a, int64_t task,
                                     int64_t all)
{
    const int64_t round = task / a->threads, first = round * a->threads;
    const int64_t last = cpu_min(first + a->threads, all) - 1;
    return round % 2 ? last - (task - first) : task;
}

/* The same in whole numbers (attention_whole.h), where vectors are bf16. */
void ISA(attention_whole)(cpu_compiler *c, attention *a);
void ISA(attention_whole_bwd)(cpu_compiler *c, attention *a);

static inline int attention_is_whole(const cpu_compiler *c, const attention *a)
{
    const cpu_products how = cpu_bf16_products(c);
    return a->q.of.dtype == TN_BF16 && (how == CPU_INTEGERS || how == CPU_MADD);
}

/* c (keys, padded) = x (keys, width) y (width, padded), what is visible. */
void ISA(attention_by_keys)(const lanes *l, const visible *v, int64_t width,
                            gemm_matrix x, const float *y, float *c);

/* c (width, padded) += x^T y: x (keys, width), y (keys, padded) as visible. */
void ISA(attention_over_keys)(const lanes *l, const visible *v, int64_t width,
                              gemm_matrix x, const float *y, float *c);

#endif
