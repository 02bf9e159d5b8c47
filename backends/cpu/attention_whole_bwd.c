/*
 * attention_whole_bwd.c - attention backward in whole numbers
 * (attention_whole.h), probabilities recomputed from lse as in attention_bwd.c,
 * whose letters and order of sums these are.
 *
 * Weights are words of two queries where sums go over those, and of two keys
 * where they go over keys. Both are made of rows of a block (keys, lanes): two
 * queries are a lane and the one VW behind it, so that no lane moves.
 *
 * dP and delta are taken relative to the largest scales of v and of the
 * output's gradient g, and so is dS.
 */
#include "attention_whole.h"

#include <string.h>

enum {
    PAIRS = WHOLE_ROWS / 2,
    TILES = 50, /* of a block on the diagonal, at 64 numbers */
};

/* A block of keys. */
typedef struct block {
    int64_t first;
    whole k, v;
    float *k_pairs; /* (keys / 2, padded D) */
} block;

/* A block of queries. */
typedef struct queries {
    lanes l;
    whole q, g;
    float *q_turned, *g_turned;         /* (D / 2, 64), (E / 2, 64) */
    float *q_pairs, *g_pairs;           /* (lanes / 2, padded D or E) */
    float *dq;                          /* (lanes, padded D) */
    WHOLE_LINE float scale[WHOLE_ROWS]; /* of q, and of scores */
    WHOLE_LINE float delta[WHOLE_ROWS],
        minus_lse[WHOLE_ROWS]; /* in powers of 2 */
} queries;

/* What is computed of both. */
typedef struct weights {
    float *p, *ds;                 /* (keys, lanes) */
    float *p_of_keys, *ds_of_keys; /* words (keys, 32) */
    float *ds_of_lanes;            /* words (keys / 2, lanes) */
    WHOLE_LINE float p_scale[WHOLE_ROWS], ds_scale[WHOLE_ROWS],
        lane_scale[WHOLE_ROWS];
    WHOLE_LINE float delta[WHOLE_ROWS];
} weights;

typedef struct work {
    float *dk, *dv; /* (blocks of keys, padded D or E) */
    block *blocks;
    queries i;
    weights w;
    whole_ahead ahead;
} work;

static int64_t lay_out(const attention *a, float *scratch, work *k)
{
    const int64_t D = whole_width(a->D), E = whole_width(a->E);
    const int64_t blocks = cpu_parts(a->S, WHOLE_ROWS);
    whole_space s = {scratch, 0};
    k->dk = whole_room(&s, blocks * WHOLE_ROWS * 2 * D);
    k->dv = whole_room(&s, blocks * WHOLE_ROWS * 2 * E);
    k->i.q.words = whole_room(&s, WHOLE_ROWS * D);
    k->i.g.words = whole_room(&s, WHOLE_ROWS * E);
    k->i.q_turned = whole_room(&s, WHOLE_ROWS * D);
    k->i.g_turned = whole_room(&s, WHOLE_ROWS * E);
    k->i.q_pairs = whole_room(&s, WHOLE_ROWS * D);
    k->i.g_pairs = whole_room(&s, WHOLE_ROWS * E);
    k->i.dq = whole_room(&s, WHOLE_ROWS * 2 * D);
    k->w.p = whole_room(&s, WHOLE_ROWS * WHOLE_ROWS);
    k->w.ds = whole_room(&s, WHOLE_ROWS * WHOLE_ROWS);
    k->w.p_of_keys = whole_room(&s, WHOLE_ROWS * PAIRS);
    k->w.ds_of_keys = whole_room(&s, WHOLE_ROWS * PAIRS);
    k->w.ds_of_lanes = whole_room(&s, WHOLE_ROWS * PAIRS);
    k->blocks = (block *)(void *)whole_room(
        &s, blocks * (int64_t)(sizeof(block) / sizeof(float)));
    for (int64_t j = 0; j < blocks; j++) {
        block none, *at = scratch ? &k->blocks[j] : &none;
        at->k.words = whole_room(&s, WHOLE_ROWS * D);
        at->v.words = whole_room(&s, WHOLE_ROWS * E);
        at->k_pairs = whole_room(&s, WHOLE_ROWS * D);
    }
    return s.used * (int64_t)sizeof(float);
}

/* ---- what is read ---- */

static void load_keys(const attention *a, block *k, int64_t b, int64_t g,
                      int64_t first)
{
    const int64_t count = cpu_min(WHOLE_ROWS, a->S - first);
    k->first = first;
    ISA(whole_take)(&k->k, &a->k, vector_at(&a->k, b, first, g), count, a->D);
    ISA(whole_take)(&k->v, &a->v, vector_at(&a->v, b, first, g), count, a->E);
    ISA(whole_pair)(&k->k, 1, k->k_pairs);
}

CPU_INLINE vf load(const lines *x, int64_t at, int64_t n)
{
    const void *from = lines_at(x, at);
    if (x->dtype == TN_BF16)
        return n < VW ? v_load_bf16_n(from, n) : v_load_bf16(from);
    return v_load_n(from, n);
}

/* rowsum(dO * O) of VW queries at most, from element `at` on. */
static vf deltas(const attention *a, int64_t at, int64_t count)
{
    vf sum[VW];
    for (int64_t i = 0; i < VW; i++, at += a->dout.row) {
        sum[i] = v_zero();
        for (int64_t e = 0; e < a->E && i < count; e += VW)
            sum[i] = v_fma(load(&a->dout.of, at + e, a->E - e),
                           load(&a->o, at + e, a->E - e), sum[i]);
    }
    return whole_sums(sum);
}

static void load_queries(const attention *a, queries *i, int64_t b, int64_t t,
                         int64_t h)
{
    lanes *l = &i->l;
    const int64_t row = vector_at(&a->dout, b, t, h);
    const float *lse = a->lse_in + (b * a->H + h) * a->T + t;
    ISA(attention_lanes)(a, b, t, l);
    ISA(whole_take)
    (&i->q, &a->q, vector_at(&a->q, b, t, h), l->count, a->D);
    ISA(whole_take)(&i->g, &a->dout, row, l->count, a->E);
    ISA(whole_turn)(&i->q, i->q_turned);
    ISA(whole_turn)(&i->g, i->g_turned);
    ISA(whole_pair)(&i->q, VW, i->q_pairs);
    ISA(whole_pair)(&i->g, VW, i->g_pairs);
    for (int64_t n = 0; n < l->padded; n += VW) {
        const int64_t left = l->count - n;
        v_store(i->scale + n, v_load(i->q.scale + n) * v_set(a->scale));
        v_store(i->delta + n, deltas(a, row + n * a->dout.row, left));
        v_store(i->minus_lse + n, v_load_n(lse + n, left) * v_set(-EXP_LOG2_E));
    }
    memset(i->dq, 0, (size_t)(l->padded * 2 * i->q.width) * sizeof *i->dq);
}

/* ---- weights ---- */

/* (1 - (s/cap)^2) dS, where s is not masked */
CPU_INLINE vf through_cap(const attention *a, vf s, vf p, vf ds)
{
    const vf t = s * v_set(1.0f / a->cap);
    const vf slope = v_fnma(t, t, v_set(1.0f));
    return v_select(v_eq(p, v_zero()), v_zero(), ds * slope);
}

/* Scores of a key in p become probabilities times scales of g; dP in ds becomes
 * dS. Squares are summed of what will be weights: p's and dS's of this key,
 * dS's of each lane. */
CPU_INLINE void weigh_key(const attention *a, const queries *i, weights *w,
                          int capped, vf key, int64_t r, int64_t skip,
                          vf *p_squares, vf *ds_squares)
{
    const int64_t n = i->l.padded;
    float *p_row = w->p + r * n, *ds_row = w->ds + r * n;
    for (int64_t m = skip; m < n; m += VW) {
        const vf s = v_load(p_row + m);
        const vf p =
            whole_exp2(v_fma(s, v_set(EXP_LOG2_E), v_load(i->minus_lse + m)));
        vf ds = p * (v_load(ds_row + m) - v_load(w->delta + m));
        if (capped)
            ds = through_cap(a, s, p, ds);
        const vf for_v = p * v_load(i->g.relative + m);
        const vf for_k = ds * v_load(i->q.relative + m);
        const vf for_q = ds * key;
        *p_squares = v_fma(for_v, for_v, *p_squares);
        *ds_squares = v_fma(for_k, for_k, *ds_squares);
        v_store(w->lane_scale + m,
                v_fma(for_q, for_q, v_load(w->lane_scale + m)));
        v_store(p_row + m, for_v);
        v_store(ds_row + m, ds);
    }
}

/* VW keys from r on. */
CPU_INLINE void weigh_keys(const attention *a, const queries *i, const block *k,
                           weights *w, int capped, int64_t r, int64_t skip)
{
    vf p[VW], ds[VW];
    for (int64_t e = 0; e < VW; e++) {
        vf p_squares = v_zero(), ds_squares = v_zero();
        weigh_key(a, i, w, capped, v_set(k->k.relative[r + e]), r + e, skip,
                  &p_squares, &ds_squares);
        p[e] = p_squares;
        ds[e] = ds_squares;
    }
    v_store(w->p_scale + r, whole_scales(whole_sums(p), WEIGHT_BITS));
    v_store(w->ds_scale + r, whole_scales(whole_sums(ds), WEIGHT_BITS));
}

static void weigh(const attention *a, const queries *i, const block *k,
                  const visible *seen, weights *w)
{
    const float g_unit = 1.0f / i->g.largest, v_unit = 1.0f / k->v.largest;
    for (int64_t m = 0; m < i->l.padded; m += VW) {
        v_store(w->delta + m,
                v_load(i->delta + m) * v_set(g_unit) * v_set(v_unit));
        v_store(w->lane_scale + m, v_zero());
    }
    for (int64_t r = 0; r < whole_up(seen->keys, KEY_GROUP); r += VW) {
        const int64_t skip = seen->skip[r / KEY_GROUP];
        if (a->cap > 0.0f)
            weigh_keys(a, i, k, w, 1, r, skip);
        else
            weigh_keys(a, i, k, w, 0, r, skip);
    }
    for (int64_t m = 0; m < i->l.padded; m += VW)
        v_store(w->lane_scale + m,
                whole_scales(v_load(w->lane_scale + m), WEIGHT_BITS));
}

/* Words of a key from lanes m on: without those before `skip` and those behind
 * the last. */
CPU_INLINE void pack_lanes(const queries *i, const weights *w, int64_t r,
                           int64_t m, int low, int high)
{
    const int64_t from = r * i->l.padded + m, to = r * PAIRS + m / 2;
    const vi none = i_set(0);
    const float *p = w->p + from, *ds = w->ds + from, *q = i->q.relative + m;
    const vf for_v = whole_inverse(v_set(w->p_scale[r]));
    const vf for_k = whole_inverse(v_set(w->ds_scale[r]));
    v_store(w->p_of_keys + to,
            whole_words(low ? whole_of(v_load(p), for_v) : none,
                        high ? whole_of(v_load(p + VW), for_v) : none));
    v_store(w->ds_of_keys + to,
            whole_words(low ? whole_of(v_load(ds), for_k * v_load(q)) : none,
                        high ? whole_of(v_load(ds + VW), for_k * v_load(q + VW))
                             : none));
}

static void pack_key(const queries *i, const weights *w, int64_t r,
                     int64_t skip)
{
    const int64_t n = i->l.padded;
    int64_t m = skip;
    if (m % WHOLE_PAIR)
        pack_lanes(i, w, r, m - VW, 0, 1), m += VW;
    for (; m + WHOLE_PAIR <= n; m += WHOLE_PAIR)
        pack_lanes(i, w, r, m, 1, 1);
    if (m < n)
        pack_lanes(i, w, r, m, 1, 0);
}

/* Words of pairs of keys. */
static void pack_keys(const queries *i, const block *k, const weights *w,
                      int64_t r, int64_t skip)
{
    const int64_t n = i->l.padded;
    const vf even = v_set(k->k.relative[r]), odd = v_set(k->k.relative[r + 1]);
    for (int64_t m = skip; m < n; m += VW) {
        const float *ds = w->ds + r * n + m;
        const vf inverse = whole_inverse(v_load(w->lane_scale + m));
        v_store(w->ds_of_lanes + r / 2 * n + m,
                whole_words(whole_of(v_load(ds), inverse * even),
                            whole_of(v_load(ds + n), inverse * odd)));
    }
}

static void pack(const queries *i, const block *k, const visible *seen,
                 const weights *w)
{
    for (int64_t r = 0; r < whole_up(seen->keys, KEY_GROUP); r += 2) {
        const int64_t skip = seen->skip[r / KEY_GROUP];
        pack_key(i, w, r, skip);
        pack_key(i, w, r + 1, skip);
        pack_keys(i, k, w, r, skip);
    }
}

/* ---- products ---- */

/* c (keys, padded width) += weights y: y pairs of queries. */
static void over_lanes(const whole_products *by, work *k, const visible *seen,
                       const float *x, const float *x_scale, const float *y,
                       int64_t width, float *c)
{
    const int64_t keys = whole_up(seen->keys, KEY_GROUP);
    const int64_t step = seen->whole ? keys : KEY_GROUP;
    for (int64_t r = 0; r < keys; r += step) {
        const int64_t skip = seen->skip[r / KEY_GROUP] / WHOLE_PAIR * VW;
        const whole_product p = {.words = k->i.q.rows / 2 - skip,
                                 .x = x + r * PAIRS + skip,
                                 .row = PAIRS,
                                 .column = 1,
                                 .y = y + skip * width,
                                 .pitch = width,
                                 .c = c + r * width,
                                 .c_pitch = width,
                                 .x_scale = x_scale + r,
                                 .ahead = &k->ahead};
        by->add(step, width, &p);
    }
}

/* dq += dS K */
static void over_keys(const whole_products *by, work *of, const block *k,
                      const visible *seen)
{
    const queries *i = &of->i;
    const weights *w = &of->w;
    const int64_t n = i->l.padded, width = 2 * k->k.width;
    const int64_t step = seen->whole ? n : VW;
    for (int64_t m = 0; m < n; m += step) {
        const whole_product p = {
            .words = whole_up(seen->limit[m / VW], KEY_GROUP) / 2,
            .x = w->ds_of_lanes + m,
            .row = 1,
            .column = n,
            .y = k->k_pairs,
            .pitch = width,
            .c = i->dq + m * width,
            .c_pitch = width,
            .x_scale = w->lane_scale + m,
            .ahead = &of->ahead};
        if (p.words)
            by->add(step, width, &p);
    }
}

static void times(float *x, int64_t n, float by)
{
    for (int64_t i = 0; i < n; i += VW)
        v_store(x + i, v_load(x + i) * v_set(by));
}

static void meet(const attention *a, work *k, const block *j)
{
    queries *i = &k->i;
    weights *w = &k->w;
    const int64_t last = cpu_min(i->l.to, j->first + WHOLE_ROWS);
    const int64_t keys = whole_up(last - j->first, KEY_GROUP);
    const float unit = i->g.largest * j->v.largest * a->scale;
    visible seen;
    ISA(attention_visible)(a, &i->l, j->first, last - j->first, &seen);
    ISA(whole_by_keys)
    (a->by, &i->l, &seen, &j->k, j->k.scale, i->q_turned, i->scale, w->p,
     &k->ahead);
    ISA(attention_mask)(a, &i->l, &seen, j->first, w->p);
    ISA(whole_hide)(&i->l, &seen, w->p);
    ISA(whole_by_keys)
    (a->by, &i->l, &seen, &j->v, j->v.relative, i->g_turned, i->g.relative,
     w->ds, &k->ahead);
    weigh(a, i, j, &seen, w);
    pack(i, j, &seen, w);
    times(w->p_scale, keys, i->g.largest);
    times(w->ds_scale, keys, unit * i->q.largest);
    times(w->lane_scale, i->l.padded, unit * j->k.largest);
    over_lanes(a->by, k, &seen, w->p_of_keys, w->p_scale, i->g_pairs,
               2 * j->v.width, k->dv + j->first * 2 * j->v.width);
    over_lanes(a->by, k, &seen, w->ds_of_keys, w->ds_scale, i->q_pairs,
               2 * j->k.width, k->dk + j->first * 2 * j->k.width);
    over_keys(a->by, k, j, &seen);
}

/* Queries from t on of head h. */
typedef struct place {
    int64_t b, g, h, t;
} place;

static place place_of(const attention *a, int64_t task)
{
    const int64_t b = task / a->G, g = task % a->G;
    return (place){b, g, g * a->heads, 0};
}

static int is_last(const attention *a, const place *x)
{
    return x->t + WHOLE_ROWS >= a->T && x->h + 1 >= (x->g + 1) * a->heads;
}

static void step(const attention *a, place *x)
{
    x->t += WHOLE_ROWS;
    if (x->t >= a->T) {
        x->t = 0;
        x->h++;
    }
}

/* What will be written of these queries, read of those that follow, and of the
 * keys of the next task. */
static void look_ahead(const attention *a, work *k, const place *here,
                       int64_t task)
{
    const lanes *l = &k->i.l;
    const int64_t later = cpu_min(task + a->threads, a->B * a->G - 1);
    const place after = place_of(a, later);
    place next = *here;
    step(a, &next);
    if (is_last(a, here))
        next = after;
    const int64_t rows = cpu_min(WHOLE_ROWS, a->T - next.t);
    const int64_t keys = cpu_min(WHOLE_ROWS, a->S - here->t);
    const int64_t g = vector_at(&a->dout, next.b, next.t, next.h);
    whole_ahead *to = &k->ahead;
    to->count = 0;
    whole_soon(to, &a->v.of, vector_at(&a->v, after.b, here->t, after.g),
               a->v.row, keys, a->E);
    whole_soon(to, &a->k.of, vector_at(&a->k, after.b, here->t, after.g),
               a->k.row, keys, a->D);
    whole_soon(to, &a->dq, ((here->b * a->T + here->t) * a->H + here->h) * a->D,
               a->H * a->D, l->count, a->D);
    whole_soon(to, &a->o, g, a->dout.row, rows, a->E);
    whole_soon(to, &a->dout.of, g, a->dout.row, rows, a->E);
    whole_soon(to, &a->q.of, vector_at(&a->q, next.b, next.t, next.h), a->q.row,
               rows, a->D);
    whole_spread(to, cpu_parts(l->to - l->from, WHOLE_ROWS), TILES);
}

static void run_task(const void *argument, cpu_worker *worker, int64_t task)
{
    const attention *a = argument;
    const int64_t rows = whole_up(a->S, WHOLE_ROWS);
    const uint32_t mode = whole_enter();
    place at = place_of(a, task);
    work k;
    lay_out(a, worker->scratch, &k);
    memset(k.dk, 0, (size_t)(rows * 2 * whole_width(a->D)) * sizeof *k.dk);
    memset(k.dv, 0, (size_t)(rows * 2 * whole_width(a->E)) * sizeof *k.dv);
    for (int64_t j = 0; j < a->S; j += WHOLE_ROWS)
        load_keys(a, &k.blocks[j / WHOLE_ROWS], at.b, at.g, j);
    for (; at.h < (at.g + 1) * a->heads; step(a, &at)) {
        load_queries(a, &k.i, at.b, at.t, at.h);
        look_ahead(a, &k, &at, task);
        const lanes *l = &k.i.l; /* that may all see nothing, from anywhere */
        for (int64_t j = l->from / WHOLE_ROWS;
             l->from < l->to && j * WHOLE_ROWS < l->to; j++)
            meet(a, &k, &k.blocks[j]);
        ISA(whole_store)
        (&a->dq, ((at.b * a->T + at.t) * a->H + at.h) * a->D, a->H * a->D,
         k.i.dq, k.i.l.count, a->D);
    }
    ISA(whole_store)
    (&a->dk, (at.b * a->S * a->G + at.g) * a->D, a->G * a->D, k.dk, a->S, a->D);
    ISA(whole_store)
    (&a->dv, (at.b * a->S * a->G + at.g) * a->E, a->G * a->E, k.dv, a->S, a->E);
    whole_leave(mode);
}

void ISA(attention_whole_bwd)(cpu_compiler *c, attention *a)
{
    work unused;
    a->by = ISA(whole_products_of)(cpu_bf16_products(c));
    cpu_scratch(c, lay_out(a, NULL, &unused));
    cpu_step(c, run_task, a, a->B * a->G);
}
