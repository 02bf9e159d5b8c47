/*
 * attention.c - attention forward: blocks of queries by blocks of keys, no
 * T x S matrix anywhere.
 *
 * For each lane (query) the running maximum m, the sum l of e^(s - m) and the
 * output O are kept; a block of keys that raises m rescales the others
 * (Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022,
 * arXiv:2205.14135). At the end o = O / l and lse = m + log l.
 *
 * With a few queries (decoding) lanes would stand empty: then scores are dot
 * products along D, for the query heads of one kv head together, so that the
 * cache is read once.
 */
#include "attention.h"
#include "kernels.h"
#include "turn.h"
#include "vmath.h"

#include <string.h>

enum { FEW_QUERIES = 4 };

/* ---- shared with the backward ---- */

static vectors vectors_of(const cpu_compiler *c, const tn_operand *o)
{
    return (vectors){lines_of(c, o), o->stride[0], o->stride[1], o->stride[2]};
}

static const int32_t *optional_of(const cpu_compiler *c,
                                  const tn_plan_node *node, uint32_t i)
{
    return node->in_count > i ? cpu_at(c, &node->in[i]) : NULL;
}

void ISA(attention_fill)(attention *a, const cpu_compiler *c,
                         const tn_plan_node *node, uint32_t q,
                         uint32_t optional)
{
    const tn_attention_attr *attr = node->attr;
    const tn_operand *in = node->in + q;
    a->q = vectors_of(c, &in[0]);
    a->k = vectors_of(c, &in[1]);
    a->v = vectors_of(c, &in[2]);
    a->B = in[0].shape[0];
    a->T = in[0].shape[1];
    a->H = in[0].shape[2];
    a->D = in[0].shape[3];
    a->S = in[1].shape[1];
    a->G = in[1].shape[2];
    a->E = in[2].shape[3];
    a->heads = a->H / a->G;
    a->query_blocks = cpu_parts(a->T, ATTENTION_LANES);
    a->threads = cpu_threads(c);
    a->scale =
        (float)(attr->scale != 0.0 ? attr->scale : 1.0 / sqrt((double)a->D));
    a->cap = (float)attr->softcap;
    a->causal = !attr->bidirectional;
    a->window = a->causal ? attr->window : 0;
    a->positions = optional_of(c, node, optional);
    a->firsts = optional_of(c, node, optional + 1);
}

/* The first keys of lanes that see any; the earliest of them is returned. */
static int64_t load_first_keys(const attention *a, int64_t b, lanes *l)
{
    int32_t earliest = INT32_MAX;
    for (int64_t i = 0; i < l->padded; i++) {
        const int64_t t = l->first + cpu_min(i, l->count - 1);
        const int32_t key = a->firsts[b * a->T + t];
        l->first_key[i] = key;
        if (l->position[i] < 0)
            continue;
        earliest = key < earliest ? key : earliest;
        l->latest_key = key > l->latest_key ? key : l->latest_key;
    }
    return earliest;
}

void ISA(attention_lanes)(const attention *a, int64_t b, int64_t first,
                          lanes *l)
{
    l->first = first;
    l->count = cpu_min(ATTENTION_LANES, a->T - first);
    l->padded = v_round_up(l->count);
    l->lowest = INT32_MAX;
    l->highest = -1;
    l->latest_key = 0;
    l->blind = 0;
    for (int64_t i = 0; i < l->padded; i++) {
        const int64_t t = first + cpu_min(i, l->count - 1);
        const int32_t p =
            a->positions ? a->positions[b * a->T + t] : (int32_t)t;
        l->position[i] = p;
        if (p < 0) {
            l->blind = 1;
            continue;
        }
        l->lowest = p < l->lowest ? p : l->lowest;
        l->highest = p > l->highest ? p : l->highest;
    }
    l->from = a->window > 0 ? cpu_max(0, l->lowest - a->window + 1) : 0;
    if (a->firsts)
        l->from = cpu_max(l->from, load_first_keys(a, b, l));
    l->to = a->causal ? cpu_min(a->S, (int64_t)l->highest + 1) : a->S;
    if (l->highest < 0)
        l->to = l->from;
}

void ISA(attention_transpose)(const lanes *l, float *to, gemm_matrix from,
                              int64_t width, float scale)
{
    turn_scaled(to, l->padded, from.at, from.row, l->count, width, scale);
    for (int64_t d = 0; d < width; d++)
        for (int64_t i = l->count; i < l->padded; i++)
            to[d * l->padded + i] = 0.0f;
}

void ISA(attention_store)(const lanes *l, const lines *to, int64_t at,
                          int64_t pitch, const float *from, int64_t width,
                          float scale, float *room)
{
    const int in_place = to->dtype == TN_F32;
    float *rows = in_place ? (float *)(void *)lines_at(to, at) : room;
    turn_scaled(rows, in_place ? pitch : width, from, l->padded, width,
                l->count, scale);
    for (int64_t i = 0; i < l->count && !in_place; i++)
        line_done(to, at + i * pitch, width, rows + i * width);
}

/* ---- what is visible ---- */

void ISA(attention_visible)(const attention *a, const lanes *l, int64_t j,
                            int64_t keys, visible *v)
{
    const int64_t count = l->padded / VW;
    v->keys = keys;
    v->whole = !a->causal || l->lowest >= j + keys - 1;
    for (int64_t i = 0; i < count; i++) {
        int32_t highest = -1;
        for (int64_t k = i * VW; k < (i + 1) * VW; k++)
            highest = l->position[k] > highest ? l->position[k] : highest;
        v->limit[i] =
            v->whole ? keys : cpu_max(0, cpu_min(keys, highest + 1 - j));
    }
    for (int64_t g = 0; g * KEY_GROUP < keys; g++) {
        int64_t i = 0;
        while (i < count && v->limit[i] <= g * KEY_GROUP)
            i++;
        v->skip[g] = i * VW;
    }
}

void ISA(attention_by_keys)(const lanes *l, const visible *v, int64_t width,
                            gemm_matrix x, const float *y, float *c)
{
    const int64_t n = l->padded, step = v->whole ? v->keys : KEY_GROUP;
    for (int64_t r = 0; r < v->keys; r += step) {
        const int64_t skip = v->skip[r / KEY_GROUP];
        ISA(gemm_direct)
        (cpu_min(step, v->keys - r), n - skip, width,
         (gemm_matrix){x.at + r * x.row, x.row, 1},
         (gemm_matrix){y + skip, n, 1}, c + r * n + skip, n, 0);
    }
}

void ISA(attention_over_keys)(const lanes *l, const visible *v, int64_t width,
                              gemm_matrix x, const float *y, float *c)
{
    const int64_t n = l->padded, step = v->whole ? n : VW;
    for (int64_t i = 0; i < n; i += step)
        ISA(gemm_direct)
    (width, step, v->limit[i / VW], (gemm_matrix){x.at, 1, x.row},
     (gemm_matrix){y + i, n, 1}, c + i, n, 1);
}

/* ---- scores ---- */

static void cap_scores(const attention *a, float *s, int64_t n)
{
    const vf cap = v_set(a->cap), inverse = v_set(1.0f / a->cap);
    for (int64_t i = 0; i < n; i += VW)
        v_store(s + i, cap * v_tanh(v_load(s + i) * inverse));
}

/* Whether every lane sees every key of [j, end). */
static int all_see(const attention *a, const lanes *l, int64_t j, int64_t end)
{
    if (l->blind || l->latest_key > j)
        return 0;
    return (!a->causal || l->lowest >= end - 1) &&
           (a->window <= 0 || l->highest - j < a->window);
}

static void mask_scores(const attention *a, const lanes *l, const visible *v,
                        int64_t j, float *s)
{
    const vf minus = v_set(-INFINITY);
    for (int64_t r = 0; r < v->keys; r++, s += l->padded) {
        const int32_t key = (int32_t)(j + r);
        const vi before = i_set(a->causal ? key - 1 : -1);
        /* p < key + window; the sum may pass 2^31 where nothing is hidden */
        const int64_t past = a->window > 0 ? key + a->window : INT32_MAX;
        const vi after = i_set((int32_t)cpu_min(past, INT32_MAX));
        for (int64_t i = v->skip[r / KEY_GROUP]; i < l->padded; i += VW) {
            const vi p = i_load(l->position + i);
            const vm seen = m_and(i_gt(p, before), i_gt(after, p));
            v_store(s + i, v_select(seen, v_load(s + i), minus));
        }
    }
}

/* What lies before the document of a lane. */
static void mask_neighbours(const lanes *l, const visible *v, int64_t j,
                            float *s)
{
    const vf minus = v_set(-INFINITY);
    for (int64_t r = 0; r < v->keys; r++, s += l->padded) {
        const vi next = i_set((int32_t)(j + r + 1));
        for (int64_t i = v->skip[r / KEY_GROUP]; i < l->padded; i += VW)
            v_store(s + i, v_select(i_gt(next, i_load(l->first_key + i)),
                                    v_load(s + i), minus));
    }
}

void ISA(attention_mask)(const attention *a, const lanes *l, const visible *v,
                         int64_t j, float *s)
{
    const int64_t n = l->padded;
    for (int64_t r = 0; a->cap > 0.0f && r < v->keys; r++) {
        const int64_t skip = v->skip[r / KEY_GROUP];
        cap_scores(a, s + r * n + skip, n - skip);
    }
    if (!all_see(a, l, j, j + v->keys))
        mask_scores(a, l, v, j, s);
    if (l->latest_key > j)
        mask_neighbours(l, v, j, s);
}

void ISA(attention_scores)(const attention *a, const lanes *l, const visible *v,
                           gemm_matrix k, const float *q, int64_t j, float *s)
{
    ISA(attention_by_keys)(l, v, a->D, k, q, s);
    ISA(attention_mask)(a, l, v, j, s);
}

/* ---- forward over a block of queries ---- */

typedef struct online {
    float m[ATTENTION_LANES], l[ATTENTION_LANES], alpha[ATTENTION_LANES];
} online;

/* Scores to probabilities under the new maximum; alpha: what everything before
 * shrinks by. Lanes that have seen nothing keep m = -infinity. */
static void take_block(const lanes *l, const visible *seen, online *n, float *s)
{
    for (int64_t i = 0; i < l->padded; i += VW) {
        const int64_t keys = seen->limit[i / VW];
        const vf before = v_load(n->m + i);
        vf m = before;
        for (int64_t r = 0; r < keys; r++)
            m = v_max(m, v_load(s + r * l->padded + i));
        const vf base = v_select(v_eq(m, v_set(-INFINITY)), v_zero(), m);
        const vf alpha = v_exp(before - base);
        vf sum = v_load(n->l + i) * alpha;
        for (int64_t r = 0; r < keys; r++) {
            float *at = s + r * l->padded + i;
            const vf p = v_exp(v_load(at) - base);
            v_store(at, p);
            sum = sum + p;
        }
        v_store(n->m + i, m);
        v_store(n->l + i, sum);
        v_store(n->alpha + i, alpha);
    }
}

static void rescale(const lanes *l, const online *n, float *o, int64_t E)
{
    for (int64_t e = 0; e < E; e++, o += l->padded)
        for (int64_t i = 0; i < l->padded; i += VW)
            v_store(o + i, v_load(o + i) * v_load(n->alpha + i));
}

/* o / l, turned into rows of the output; lse. */
static void finish(const attention *a, const lanes *l, const online *n,
                   float *o, int64_t b, int64_t h, float *room)
{
    float inverse[ATTENTION_LANES] = {0};
    for (int64_t i = 0; i < l->count; i++) {
        const int64_t t = l->first + i;
        const int sees = attention_sees(a, b, t);
        inverse[i] = sees ? 1.0f / n->l[i] : 0.0f;
        a->lse[(b * a->H + h) * a->T + t] =
            sees ? n->m[i] + logf(n->l[i]) : 0.0f;
    }
    for (int64_t e = 0; e < a->E; e++)
        for (int64_t i = 0; i < l->padded; i += VW) {
            float *at = o + e * l->padded + i;
            v_store(at, v_load(at) * v_load(inverse + i));
        }
    ISA(attention_store)
    (l, &a->o, ((b * a->T + l->first) * a->H + h) * a->E, a->H * a->E, o, a->E,
     1.0f, room);
}

static void run_attention(const void *argument, cpu_worker *w, int64_t task)
{
    const attention *a = argument;
    const int64_t block =
        attention_turn(a, task, a->B * a->H * a->query_blocks);
    const int64_t b = block / a->query_blocks / a->H;
    const int64_t h = block / a->query_blocks % a->H, g = h / a->heads;
    const int64_t first = block % a->query_blocks * ATTENTION_LANES;
    const int64_t k = vector_at(&a->k, b, 0, g), v = vector_at(&a->v, b, 0, g);
    lanes l;
    online n;
    ISA(attention_lanes)(a, b, first, &l);
    float *q = w->scratch;
    float *s = q + a->D * l.padded;
    float *o = s + ATTENTION_KEYS * l.padded;
    float *room = o + a->E * l.padded;
    ISA(attention_transpose)
    (&l, q,
     rows_of(&a->q, vector_at(&a->q, b, first, h), 0, l.count, a->D, room),
     a->D, a->scale);
    for (int64_t i = 0; i < l.padded; i++) {
        n.m[i] = -INFINITY;
        n.l[i] = 0.0f;
    }
    memset(o, 0, (size_t)(a->E * l.padded) * sizeof *o);
    for (int64_t j = l.from; j < l.to; j += ATTENTION_KEYS) {
        const int64_t keys = cpu_min(ATTENTION_KEYS, l.to - j);
        visible seen;
        ISA(attention_visible)(a, &l, j, keys, &seen);
        ISA(attention_scores)
        (a, &l, &seen, rows_of(&a->k, k, j, keys, a->D, room), q, j, s);
        take_block(&l, &seen, &n, s);
        if (j > l.from)
            rescale(&l, &n, o, a->E);
        ISA(attention_over_keys)
        (&l, &seen, a->E, rows_of(&a->v, v, j, keys, a->E, room), s, o);
    }
    finish(a, &l, &n, o, b, h, room);
}

/* ---- few queries ---- */

/* Scores of one query head to probabilities that add up to 1; returns lse. */
static float softmax_of_scores(const attention *a, float *s, int64_t n)
{
    float most = -INFINITY;
    double sum = 0.0;
    for (int64_t i = 0; i < n; i += VW) {
        const int64_t left = cpu_min(VW, n - i);
        vf x = v_load_n(s + i, left) * v_set(a->scale);
        if (a->cap > 0.0f)
            x = v_set(a->cap) * v_tanh(x * v_set(1.0f / a->cap));
        v_store_n(s + i, x, left);
        x = v_select(m_first(left), x, v_set(-INFINITY));
        const float here = v_largest(x);
        most = here > most ? here : most;
    }
    for (int64_t i = 0; i < n; i += VW) {
        const int64_t left = cpu_min(VW, n - i);
        const vf p = v_exp(v_load_n(s + i, left) - v_set(most));
        v_store_n(s + i, p, left);
        sum += (double)v_sum(v_select(m_first(left), p, v_zero()));
    }
    const vf scale = v_set((float)(1.0 / sum));
    for (int64_t i = 0; i < n; i += VW) {
        const int64_t left = cpu_min(VW, n - i);
        v_store_n(s + i, v_load_n(s + i, left) * scale, left);
    }
    return (float)((double)most + log(sum));
}

static gemm_any head_of(const vectors *x, int64_t b, int64_t t, int64_t h,
                        int64_t row, int64_t column)
{
    return gemm_of(lines_at(&x->of, vector_at(x, b, t, h)), x->of.dtype, row,
                   column);
}

/* Query heads [h, h + heads) of one kv head at (b, t), at most four. */
static void few_heads(const attention *a, cpu_worker *w, int64_t b, int64_t t,
                      int64_t h, int64_t heads)
{
    const int64_t g = h / a->heads, row = b * a->T + t;
    int64_t from;
    const int64_t keys = attention_seen(a, row, t, &from);
    const gemm_any q = head_of(&a->q, b, t, h, a->q.head, 1);
    const gemm_any k = head_of(&a->k, b, from, g, 1, a->k.row);
    const gemm_any v = head_of(&a->v, b, from, g, a->v.row, 1);
    const int64_t at = (row * a->H + h) * a->E;
    float *s = w->scratch, *rest = s + GEMM_FEW_ROWS * a->S;
    const int64_t beside = a->v.row == a->k.row ? v.at - k.at : 0;
    const gemm_block scores = {
        .M = heads,
        .N = keys,
        .K = a->D,
        .a = q,
        .b = k,
        .c = {(char *)s, TN_F32, a->S, 0},
    };
    const gemm_block sums = {
        .M = heads,
        .N = a->E,
        .K = keys,
        .a = gemm_of(s, TN_F32, a->S, 1),
        .b = v,
        .c = {lines_at(&a->o, at), a->o.dtype, a->E, 0},
    };
    ISA(gemm_few)(&scores, beside, rest);
    for (int64_t i = 0; i < heads; i++)
        a->lse[(b * a->H + h + i) * a->T + t] =
            keys ? softmax_of_scores(a, s + i * a->S, keys) : 0.0f;
    ISA(gemm_few)(&sums, 0, rest);
}

/* A task: a handful of the heads that share a kv head. */
static void run_few(const void *argument, cpu_worker *w, int64_t task)
{
    const attention *a = argument;
    const int64_t handfuls = cpu_parts(a->heads, GEMM_FEW_ROWS);
    const int64_t first = task % handfuls * GEMM_FEW_ROWS;
    const int64_t g = task / handfuls % a->G, row = task / handfuls / a->G;
    few_heads(a, w, row / a->T, row % a->T, g * a->heads + first,
              cpu_min(GEMM_FEW_ROWS, a->heads - first));
}

static int64_t thin_bytes(int64_t N, int64_t K)
{
    return ISA(gemm_few_scratch)(GEMM_FEW_ROWS, N, K);
}

tn_status ISA(attention_check)(const tn_plan_node *node, uint32_t q,
                               tn_error *err)
{
    const tn_dtype dtype = node->in[q].dtype;
    if (node->in[q + 1].dtype == dtype && node->in[q + 2].dtype == dtype)
        return TN_OK;
    return cpu_refuse(node, err, "q, k and v are not of one dtype");
}

tn_status ISA(compile_attention)(cpu_compiler *c, const tn_plan_node *node,
                                 tn_error *err)
{
    attention *a = CPU_ARGUMENT(c, attention);
    ISA(attention_fill)(a, c, node, 0, 3);
    a->o = lines_of(c, &node->out[0]);
    TN_TRY(ISA(attention_check)(node, 0, err));
    a->lse = cpu_at(c, &node->out[1]);
    if (a->T <= FEW_QUERIES) {
        cpu_scratch(
            c, GEMM_FEW_ROWS * a->S * (int64_t)sizeof(float) +
                   cpu_max(thin_bytes(a->S, a->D), thin_bytes(a->E, a->S)));
        cpu_step(c, run_few, a,
                 a->B * a->T * a->G * cpu_parts(a->heads, GEMM_FEW_ROWS));
        return TN_OK;
    }
    if (attention_is_whole(c, a)) {
        ISA(attention_whole)(c, a);
        return TN_OK;
    }
    cpu_scratch(c, ((a->D + a->E + ATTENTION_KEYS) * ATTENTION_LANES +
                    attention_room(a)) *
                       (int64_t)sizeof(float));
    cpu_step(c, run_attention, a, a->B * a->H * a->query_blocks);
    return TN_OK;
}
