/*
 * attention_decompose.c - attention in products and maps: its definition.
 *
 * Shapes are (B, G, R, T, S): B sequences, G key heads, R = H / G query heads
 * that share one key head, T rows, S keys. Sharing is a broadcast view of k and
 * v (stride 0), so the gradient of a key head sums over R.
 *
 *     s = cap(scale q k^T), -1e30 where row t may not see key j
 *     p = softmax(s)        o = p v        lse = log sum exp s
 *
 * and from do, with p = exp(s - lse) and delta = sum(do o):
 *
 *     dv = p^T do        ds = p (do v^T - delta) cap'(s) scale
 *     dq = ds k          dk = ds^T q
 *
 * A row that sees nothing has maximum -1e30: its o and lse are 0, and since
 * exp(-1e30 - 0) is 0, nothing flows back from it. Documents that share a row
 * are told apart by one comparison more, with where the row's own begins.
 *
 * It stores T x S scores, which is why backends bring a kernel: Dao et al.
 * 2022, "FlashAttention", arXiv:2205.14135.
 */
#include <tenon/builder.h>

#include <math.h>
#include <string.h>

#include "graph/ops/ops.h"
#include "graph/workspace.h"

static const double UNSEEN = -1e30;

typedef struct attention {
    const tn_attention_attr *attr;
    double scale;
    int64_t B, T, H, S, G, R;
    tn_tensor q, k, v;  /* (B, G, R, T, D), (B, G, 1, S, D), (B, G, 1, S, E) */
    tn_tensor position; /* (B, 1, 1, T, 1), or none: the row's index */
    tn_tensor first;    /* (B, 1, 1, T, 1), or none: every key may be seen */
} attention;

/* ---- layouts ---- */

/* (B, T, H, X) -> (B, G, R, T, X) */
static tn_tensor by_head(tn_builder *b, const attention *a, tn_tensor x)
{
    return tn_permute(b, tn_reshape(b, x, a->B, a->T, a->G, a->R, -1), 0, 2, 3,
                      1, 4);
}

/* (B, G, R, T, X) -> (B, T, H, X), dense */
static tn_tensor by_row(tn_builder *b, const attention *a, tn_tensor x)
{
    const tn_tensor rows = tn_copy(b, tn_permute(b, x, 0, 3, 1, 2, 4));
    return tn_reshape(b, rows, a->B, a->T, a->H, -1);
}

/* (B, S, G, X) -> (B, G, 1, S, X) */
static tn_tensor keys_by_head(tn_builder *b, const attention *a, tn_tensor x)
{
    return tn_permute(b, tn_reshape(b, x, a->B, a->S, a->G, 1, -1), 0, 2, 3, 1,
                      4);
}

/* (B, G, R, S, X) -> (B, S, G, X), summed over the heads that share a key */
static tn_tensor keys_by_row(tn_builder *b, const attention *a, tn_tensor x)
{
    if (a->R > 1)
        x = tn_sum(b, x, 1u << 2);
    x = tn_copy(b, tn_permute(b, x, 0, 3, 1, 2, 4));
    return tn_reshape(b, x, a->B, a->S, a->G, -1);
}

/* (B, T) -> (B, 1, 1, T, 1); none stays none */
static tn_tensor of_rows(tn_builder *b, const attention *a, tn_tensor x)
{
    return tn_is_none(x) ? x : tn_reshape(b, x, a->B, 1, 1, a->T, 1);
}

/* Inputs from `optional` on: [positions], [first] */
static attention lay_out(tn_builder *b, const tn_op_node *node,
                         const tn_tensor *qkv, uint32_t optional)
{
    const tn_tensor_info q = tn_info(b, qkv[0]), k = tn_info(b, qkv[1]);
    attention a = {.attr = node->attr,
                   .B = q.shape[0],
                   .T = q.shape[1],
                   .H = q.shape[2],
                   .S = k.shape[1],
                   .G = k.shape[2],
                   .R = q.shape[2] / k.shape[2]};
    a.scale =
        a.attr->scale > 0.0 ? a.attr->scale : 1.0 / sqrt((double)q.shape[3]);
    a.q = by_head(b, &a, qkv[0]);
    a.k = keys_by_head(b, &a, qkv[1]);
    a.v = keys_by_head(b, &a, qkv[2]);
    a.position = of_rows(b, &a, tni_in(node, optional));
    a.first = of_rows(b, &a, tni_in(node, optional + 1));
    return a;
}

/* ---- scores ---- */

static tni_register index_of(tni_work *w, uint32_t axis)
{
    return tni_work_emit(
        w, (tni_work_instruction){.op = TN_MAP_INDEX, .a = (tni_register)axis});
}

/* 1 where the row at `position` sees `key`, were it of the same document. */
static tni_register reaches(tni_work *w, const tn_attention_attr *attr,
                            tni_register position, tni_register key)
{
    const tni_register real =
        tni_work_op(w, TN_MAP_LE, tni_work_constant(w, 0.0), position, 0);
    if (attr->bidirectional)
        return real;
    const tni_register past = tni_work_op(w, TN_MAP_LE, key, position, 0);
    if (!attr->window) /* key >= 0: past implies real */
        return past;
    const tni_register age = tni_work_op(w, TN_MAP_SUB, position, key, 0);
    const tni_register near = tni_work_op(
        w, TN_MAP_LT, age, tni_work_constant(w, (double)attr->window), 0);
    return tni_work_op(w, TN_MAP_AND, past, near, 0);
}

/* 1 where an element's row sees its key. What is known of rows becomes further
 * inputs of the map: in[*used] and on. */
static tni_register sees(tni_work *w, const attention *a, tn_tensor *in,
                         uint32_t *used)
{
    const tni_register key = index_of(w, 4);
    tni_register position, seen;
    if (tn_is_none(a->position)) {
        position = index_of(w, 3);
    } else {
        in[*used] = a->position;
        position = tni_work_input(w, (*used)++);
    }
    seen = reaches(w, a->attr, position, key);
    if (tn_is_none(a->first))
        return seen;
    in[*used] = a->first;
    const tni_register own =
        tni_work_op(w, TN_MAP_LE, tni_work_input(w, (*used)++), key, 0);
    return tni_work_op(w, TN_MAP_AND, seen, own, 0);
}

/* tanh(scale x / cap) */
static tni_register squashed(tni_work *w, const attention *a, tni_register x)
{
    return tni_work_op(
        w, TN_MAP_TANH,
        tni_work_op(w, TN_MAP_MUL, x,
                    tni_work_constant(w, a->scale / a->attr->softcap), 0),
        0, 0);
}

/* Products of q and k to masked scores. */
static tn_tensor scores_of(tn_builder *b, const attention *a,
                           tn_tensor products)
{
    tn_tensor in[3] = {products};
    uint32_t used = 1;
    tni_work w = {0};
    const tni_register x = tni_work_input(&w, 0);
    const tni_register seen = sees(&w, a, in, &used);
    const double cap = a->attr->softcap;
    const tni_register score =
        cap > 0.0 ? tni_work_op(&w, TN_MAP_MUL, squashed(&w, a, x),
                                tni_work_constant(&w, cap), 0)
                  : tni_work_op(&w, TN_MAP_MUL, x,
                                tni_work_constant(&w, a->scale), 0);
    return tni_map_written1(b, &w,
                            tni_work_op(&w, TN_MAP_SELECT, seen, score,
                                        tni_work_constant(&w, UNSEEN)),
                            in, used);
}

/* d score / d product, without the mask: where it hides, p is 0. */
static tn_tensor through_scores(tn_builder *b, const attention *a,
                                tn_tensor products, tn_tensor ds)
{
    const tn_tensor in[] = {ds, products};
    tni_work w = {0};
    if (!(a->attr->softcap > 0.0))
        return tn_scale(b, ds, a->scale);
    const tni_register t = squashed(&w, a, tni_work_input(&w, 1));
    const tni_register slope =
        tni_work_op(&w, TN_MAP_SUB, tni_work_constant(&w, 1.0),
                    tni_work_op(&w, TN_MAP_MUL, t, t, 0), 0);
    const tni_register scaled =
        tni_work_op(&w, TN_MAP_MUL, tni_work_input(&w, 0),
                    tni_work_constant(&w, a->scale), 0);
    return tni_map_written1(
        b, &w, tni_work_op(&w, TN_MAP_MUL, scaled, slope, 0), in, 2);
}

/* ---- the two directions ---- */

void tni_attention_decompose(tn_builder *b, const tn_op_node *node,
                             tn_tensor *out)
{
    const attention a = lay_out(b, node, node->in, 3);
    const uint32_t keys = 1u << 4;
    const tn_tensor s =
        scores_of(b, &a, tn_matmul(b, a.q, tn_transpose(b, a.k)));
    const tn_tensor most = tn_maximum(b, s, keys);
    const tn_tensor e = tn_exp(b, tn_sub(b, s, most));
    const tn_tensor sum = tn_sum(b, e, keys);
    /* UNSEEN < most: the row sees something */
    const tn_tensor alive =
        tn_with_constant_at(b, TN_MAP_LT, most, UNSEEN, 1, TN_HERE);
    const tn_tensor p = tn_mul(b, e, tn_div(b, alive, sum));
    const tn_tensor lse = tn_mul(b, alive, tn_add(b, most, tn_log(b, sum)));
    out[0] = by_row(b, &a, tn_matmul(b, p, a.v));
    out[1] = tn_reshape(b, lse, a.B, a.H, a.T);
}

void tni_attention_bwd_decompose(tn_builder *b, const tn_op_node *node,
                                 tn_tensor *out)
{
    const attention a = lay_out(b, node, node->in + 1, 6);
    const tn_tensor dy = by_head(b, &a, node->in[0]);
    const tn_tensor y = by_head(b, &a, node->in[4]);
    const tn_tensor lse = tn_reshape(b, node->in[5], a.B, a.G, a.R, a.T, 1);

    const tn_tensor products = tn_matmul(b, a.q, tn_transpose(b, a.k));
    const tn_tensor s = scores_of(b, &a, products);
    const tn_tensor p = tn_exp(b, tn_sub(b, s, lse));
    const tn_tensor dp = tn_matmul(b, dy, tn_transpose(b, a.v));
    const tn_tensor delta = tn_sum(b, tn_mul(b, dy, y), 1u << 4);
    const tn_tensor ds =
        through_scores(b, &a, products, tn_mul(b, p, tn_sub(b, dp, delta)));

    out[0] = by_row(b, &a, tn_matmul(b, ds, a.k));
    out[1] = keys_by_row(b, &a, tn_matmul(b, tn_transpose(b, ds), a.q));
    out[2] = keys_by_row(b, &a, tn_matmul(b, tn_transpose(b, p), dy));
}
