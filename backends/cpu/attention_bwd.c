/*
 * attention_bwd.c - attention backward, probabilities recomputed from lse.
 *
 *     P = e^(S - lse)          dV = P^T dO          delta = rowsum(dO * O)
 *     dS = P * (dO V^T - delta) * cap'(S)     dQ = dS K     dK = dS^T Q
 *
 * A task owns a kv head of a batch: all query heads that share it and all their
 * blocks of queries, in order. So dK and dV, summed over those, are sums in a
 * fixed order that one thread keeps in its scratch.
 */
#include "attention.h"
#include "kernels.h"
#include "vmath.h"

#include <string.h>

/* A thread's scratch, in the order in which it lies there. */
typedef struct work {
    float *dk, *dv;          /* (S, padded D), (S, padded E) */
    float *q, *qt;           /* scaled: (lanes, padded D), (D, lanes) */
    float *g, *gt;           /* of the output: (lanes, padded E), (E, lanes) */
    float *dqt;              /* (D, lanes) */
    float *p, *ds;           /* (keys, lanes) */
    float *rows, *more_rows; /* room for what is bf16 */
    float delta[ATTENTION_LANES], lse[ATTENTION_LANES];
} work;

static int64_t lay_out(const attention *a, float *scratch, work *k)
{
    const int64_t D = v_round_up(a->D), E = v_round_up(a->E);
    const int64_t sizes[] = {a->S * D,
                             a->S * E,
                             ATTENTION_LANES * D,
                             ATTENTION_LANES * D,
                             ATTENTION_LANES * E,
                             ATTENTION_LANES * E,
                             ATTENTION_LANES * D,
                             ATTENTION_KEYS * ATTENTION_LANES,
                             ATTENTION_KEYS * ATTENTION_LANES,
                             attention_room(a),
                             attention_room(a)};
    float **const parts[] = {&k->dk, &k->dv,   &k->q,        &k->qt,
                             &k->g,  &k->gt,   &k->dqt,      &k->p,
                             &k->ds, &k->rows, &k->more_rows};
    int64_t used = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        *parts[i] = scratch ? scratch + used : NULL;
        used += sizes[i];
    }
    return used * (int64_t)sizeof(float);
}

/* to (padded lanes, padded width) = scale * from, zeros where it is padded. */
static void pad_rows(const lanes *l, float *to, gemm_matrix from, int64_t width,
                     float scale)
{
    const int64_t padded = v_round_up(width);
    for (int64_t i = 0; i < l->padded; i++, to += padded) {
        const int64_t n = i < l->count ? width : 0;
        for (int64_t d = 0; d < n; d++)
            to[d] = scale * from.at[i * from.row + d];
        for (int64_t d = n; d < padded; d++)
            to[d] = 0.0f;
    }
}

static float dot(const float *x, const float *y, int64_t n)
{
    vf sum = v_zero();
    for (int64_t i = 0; i < n; i += VW)
        sum = v_fma(v_load_n(x + i, n - i), v_load_n(y + i, n - i), sum);
    return v_sum(sum);
}

static void load_queries(const attention *a, const lanes *l, work *k, int64_t b,
                         int64_t h)
{
    const int64_t row = vector_at(&a->dout, b, l->first, h);
    const vectors out = {a->o, a->dout.batch, a->dout.row, a->dout.head};
    const gemm_matrix q = rows_of(&a->q, vector_at(&a->q, b, l->first, h), 0,
                                  l->count, a->D, k->rows);
    const float *lse = a->lse_in + (b * a->H + h) * a->T + l->first;
    pad_rows(l, k->q, q, a->D, a->scale);
    ISA(attention_transpose)(l, k->qt, q, a->D, a->scale);
    const gemm_matrix g = rows_of(&a->dout, row, 0, l->count, a->E, k->rows);
    const gemm_matrix o = rows_of(&out, row, 0, l->count, a->E, k->more_rows);
    pad_rows(l, k->g, g, a->E, 1.0f);
    ISA(attention_transpose)(l, k->gt, g, a->E, 1.0f);
    for (int64_t i = 0; i < l->padded; i++) {
        const int inside = i < l->count;
        k->lse[i] = inside ? lse[i] : 0.0f;
        k->delta[i] =
            inside ? dot(g.at + i * g.row, o.at + i * o.row, a->E) : 0.0f;
    }
}

/* Scores in p become probabilities, dP in ds becomes dS. */
static void probabilities(const attention *a, const lanes *l,
                          const visible *seen, const work *k)
{
    const float inverse = a->cap > 0.0f ? 1.0f / a->cap : 0.0f;
    for (int64_t r = 0; r < seen->keys; r++)
        for (int64_t i = seen->skip[r / KEY_GROUP]; i < l->padded; i += VW) {
            const int64_t at = r * l->padded + i;
            const vf s = v_load(k->p + at);
            const vf p = v_exp(s - v_load(k->lse + i));
            vf ds = p * (v_load(k->ds + at) - v_load(k->delta + i));
            if (a->cap > 0.0f) {
                /* (1 - (s/cap)^2), where s is not masked */
                const vf t = s * v_set(inverse);
                const vf slope = v_fnma(t, t, v_set(1.0f));
                ds = v_select(v_eq(p, v_zero()), v_zero(), ds * slope);
            }
            v_store(k->p + at, p);
            v_store(k->ds + at, ds);
        }
}

/* c (keys, width) += x (keys, lanes) y (lanes, width), what is visible. */
static void over_lanes(const lanes *l, const visible *v, int64_t width,
                       const float *x, const float *y, float *c)
{
    const int64_t n = l->padded, step = v->whole ? v->keys : KEY_GROUP;
    for (int64_t r = 0; r < v->keys; r += step) {
        const int64_t skip = v->skip[r / KEY_GROUP];
        ISA(gemm_direct)
        (cpu_min(step, v->keys - r), width, n - skip,
         (gemm_matrix){x + r * n + skip, n, 1},
         (gemm_matrix){y + skip * width, width, 1}, c + r * width, width, 1);
    }
}

static void block(const attention *a, const lanes *l, const work *k,
                  int64_t keys_at, int64_t values_at, int64_t j, int64_t keys)
{
    const int64_t D = v_round_up(a->D), E = v_round_up(a->E);
    const gemm_matrix K = rows_of(&a->k, keys_at, j, keys, a->D, k->rows);
    const gemm_matrix V =
        rows_of(&a->v, values_at, j, keys, a->E, k->more_rows);
    visible seen;
    ISA(attention_visible)(a, l, j, keys, &seen);
    ISA(attention_scores)(a, l, &seen, K, k->qt, j, k->p);
    ISA(attention_by_keys)(l, &seen, a->E, V, k->gt, k->ds);
    probabilities(a, l, &seen, k);
    over_lanes(l, &seen, E, k->p, k->g, k->dv + j * E);
    over_lanes(l, &seen, D, k->ds, k->q, k->dk + j * D);
    ISA(attention_over_keys)(l, &seen, a->D, K, k->ds, k->dqt);
}

static void store_rows(const lines *to, int64_t at, int64_t pitch,
                       const float *from, int64_t width, int64_t rows)
{
    for (int64_t j = 0; j < rows; j++, at += pitch, from += v_round_up(width))
        if (to->dtype == TN_BF16)
            line_done(to, at, width, from);
        else
            memcpy(lines_at(to, at), from, (size_t)width * sizeof *from);
}

static void run_attention_bwd(const void *argument, cpu_worker *w, int64_t task)
{
    const attention *a = argument;
    const int64_t b = task / a->G, g = task % a->G;
    const int64_t k_at = vector_at(&a->k, b, 0, g);
    const int64_t v_at = vector_at(&a->v, b, 0, g);
    work k;
    lanes l;
    lay_out(a, w->scratch, &k);
    memset(k.dk, 0, (size_t)(a->S * v_round_up(a->D)) * sizeof *k.dk);
    memset(k.dv, 0, (size_t)(a->S * v_round_up(a->E)) * sizeof *k.dv);
    for (int64_t h = g * a->heads; h < (g + 1) * a->heads; h++)
        for (int64_t t = 0; t < a->T; t += ATTENTION_LANES) {
            ISA(attention_lanes)(a, b, t, &l);
            load_queries(a, &l, &k, b, h);
            memset(k.dqt, 0, (size_t)(a->D * l.padded) * sizeof *k.dqt);
            for (int64_t j = l.from; j < l.to; j += ATTENTION_KEYS)
                block(a, &l, &k, k_at, v_at, j,
                      cpu_min(ATTENTION_KEYS, l.to - j));
            ISA(attention_store)
            (&l, &a->dq, ((b * a->T + t) * a->H + h) * a->D, a->H * a->D, k.dqt,
             a->D, a->scale, k.rows);
        }
    store_rows(&a->dk, (b * a->S * a->G + g) * a->D, a->G * a->D, k.dk, a->D,
               a->S);
    store_rows(&a->dv, (b * a->S * a->G + g) * a->E, a->G * a->E, k.dv, a->E,
               a->S);
}

tn_status ISA(compile_attention_bwd)(cpu_compiler *c, const tn_plan_node *node,
                                     tn_error *err)
{
    work unused;
    attention *a = CPU_ARGUMENT(c, attention);
    ISA(attention_fill)(a, c, node, 1, 6);
    TN_TRY(ISA(attention_check)(node, 1, err));
    a->dout = (vectors){lines_of(c, &node->in[0]), a->T * a->H * a->E,
                        a->H * a->E, a->E};
    a->o = lines_of(c, &node->in[4]);
    a->lse_in = cpu_at(c, &node->in[5]);
    a->dq = lines_of(c, &node->out[0]);
    a->dk = lines_of(c, &node->out[1]);
    a->dv = lines_of(c, &node->out[2]);
    if (attention_is_whole(c, a) && a->dout.of.dtype == TN_BF16) {
        ISA(attention_whole_bwd)(c, a);
        return TN_OK;
    }
    cpu_scratch(c, lay_out(a, NULL, &unused));
    cpu_step(c, run_attention_bwd, a, a->B * a->G);
    return TN_OK;
}
