/*
 * attention_whole_fwd.c - attention forward in whole numbers
 * (attention_whole.h), online as in attention.c.
 *
 * A task owns a few blocks of queries that read the same keys: those become
 * integers once for all of them. Scores are computed transposed as elsewhere,
 * keys down and queries across; so two rows of weights, one shifted by 16 bits,
 * are a row of pairs of keys. Read by columns, those give the output the way it
 * is stored.
 */
#include "attention_whole.h"

#include <string.h>

enum {
    MOST_UNITS = 4,
    TILES = 20, /* of a block on the diagonal, at 64 numbers */
};

/* A block of queries. */
typedef struct unit {
    lanes l;
    int64_t head;
    float *q;                           /* (D / 2, 64): words */
    float *o;                           /* (lanes, padded E) */
    WHOLE_LINE float scale[WHOLE_ROWS]; /* of q, and of scores */
    WHOLE_LINE float m[WHOLE_ROWS], sum[WHOLE_ROWS];
} unit;

/* A block of keys. */
typedef struct block {
    int64_t first;
    whole k, v;
    float *v_pairs; /* (keys / 2, padded E) */
} block;

/* What weights of a block of keys are in. */
typedef struct room {
    float *s;     /* (keys, lanes) */
    float *words; /* (keys / 2, lanes) */
    WHOLE_LINE float scale[WHOLE_ROWS], alpha[WHOLE_ROWS];
    whole_ahead ahead;
} room;

static int64_t lay_out(const attention *a, float *scratch, unit *u, block *k,
                       room *w)
{
    const int64_t D = whole_width(a->D), E = whole_width(a->E);
    whole_space s = {scratch, 0};
    k->k.words = whole_room(&s, WHOLE_ROWS * D);
    k->v.words = whole_room(&s, WHOLE_ROWS * E);
    k->v_pairs = whole_room(&s, WHOLE_ROWS * E);
    w->s = whole_room(&s, WHOLE_ROWS * WHOLE_ROWS);
    w->words = whole_room(&s, WHOLE_ROWS * WHOLE_ROWS / 2);
    for (int64_t i = 0; i < a->units; i++) {
        u[i].q = whole_room(&s, WHOLE_ROWS * D);
        u[i].o = whole_room(&s, WHOLE_ROWS * 2 * E);
    }
    return s.used * (int64_t)sizeof(float);
}

/* `words`: room for queries as they become integers. */
static void begin(const attention *a, unit *u, int64_t b, int64_t first,
                  float *words)
{
    whole q = {.words = words};
    ISA(attention_lanes)(a, b, first, &u->l);
    ISA(whole_take)
    (&q, &a->q, vector_at(&a->q, b, first, u->head), u->l.count, a->D);
    ISA(whole_turn)(&q, u->q);
    for (int64_t i = 0; i < u->l.padded; i++) {
        u->scale[i] = q.scale[i] * a->scale;
        u->m[i] = -INFINITY;
        u->sum[i] = 0.0f;
    }
    memset(u->o, 0,
           (size_t)(u->l.padded * 2 * whole_width(a->E)) * sizeof *u->o);
}

static void load_keys(const attention *a, block *k, int64_t b, int64_t g,
                      int64_t count)
{
    ISA(whole_take)
    (&k->k, &a->k, vector_at(&a->k, b, k->first, g), count, a->D);
    ISA(whole_take)
    (&k->v, &a->v, vector_at(&a->v, b, k->first, g), count, a->E);
    ISA(whole_pair)(&k->v, 1, k->v_pairs);
}

/* Pairs of rows of weights, in words. */
CPU_INLINE void pack(float *to, const float *from, int64_t n, int64_t keys,
                     vf inverse)
{
    for (int64_t r = 0; r < keys; r += 2, to += n, from += 2 * n)
        v_store(to, whole_words(whole_of(v_load(from), inverse),
                                whole_of(v_load(from + n), inverse)));
}

/* The largest of `keys` rows of scores and of m, four at a time: a maximum
 * waits four cycles for the one before. */
CPU_INLINE vf largest(vf m, const float *s, int64_t n, int64_t keys)
{
    vf a = m, b = m, c = m;
    for (int64_t r = 0; r < keys; r += 4, s += 4 * n) {
        m = v_max(m, v_load(s));
        a = v_max(a, v_load(s + n));
        b = v_max(b, v_load(s + 2 * n));
        c = v_max(c, v_load(s + 3 * n));
    }
    return v_max(v_max(m, a), v_max(b, c));
}

/* Scores of the lanes from i on become weights under the new maximum, times
 * scales of the values. */
static void weigh(unit *u, const block *k, room *w, int64_t i, int64_t keys)
{
    const int64_t n = u->l.padded;
    const vf log2e = v_set(EXP_LOG2_E), before = v_load(u->m + i);
    const vf m = largest(before, w->s + i, n, keys);
    const vf base = v_select(v_eq(m, v_set(-INFINITY)), v_zero(), m) * log2e;
    vf sum = v_zero(), squares = v_zero();
    for (int64_t r = 0; r < keys; r++) {
        float *at = w->s + r * n + i;
        const vf p = whole_exp2(v_fma(v_load(at), log2e, v_neg(base)));
        const vf weight = p * v_set(k->v.relative[r]);
        sum = sum + p;
        squares = v_fma(weight, weight, squares);
        v_store(at, weight);
    }
    const vf alpha = whole_exp2(v_fma(before, log2e, v_neg(base)));
    const vf scale = whole_scales(squares, WEIGHT_BITS);
    v_store(u->m + i, m);
    v_store(u->sum + i, v_fma(v_load(u->sum + i), alpha, sum));
    v_store(w->alpha + i, alpha);
    v_store(w->scale + i, scale * v_set(k->v.largest));
    pack(w->words + i, w->s + i, n, keys, whole_inverse(scale));
}

/* o (lanes, padded E) = o alpha + weights^T v, of the lanes from i on. */
static void add_values(const whole_products *by, const unit *u, const block *k,
                       room *w, int64_t i, int64_t lanes_, int64_t keys)
{
    const int64_t width = 2 * k->v.width;
    const whole_product p = {.words = keys / 2,
                             .x = w->words + i,
                             .row = 1,
                             .column = u->l.padded,
                             .y = k->v_pairs,
                             .pitch = width,
                             .c = u->o + i * width,
                             .c_pitch = width,
                             .x_scale = w->scale + i,
                             .other = w->alpha + i,
                             .ahead = &w->ahead};
    by->rescale(lanes_, width, &p);
}

static void meet(const attention *a, unit *u, const block *k, room *w)
{
    const int64_t last = cpu_min(u->l.to, k->first + WHOLE_ROWS);
    visible seen;
    if (k->first >= u->l.to || k->first + WHOLE_ROWS <= u->l.from)
        return;
    ISA(attention_visible)(a, &u->l, k->first, last - k->first, &seen);
    ISA(whole_by_keys)
    (a->by, &u->l, &seen, &k->k, k->k.scale, u->q, u->scale, w->s, &w->ahead);
    ISA(attention_mask)(a, &u->l, &seen, k->first, w->s);
    ISA(whole_hide)(&u->l, &seen, w->s);
    for (int64_t i = 0; i < u->l.padded; i += VW) {
        const int64_t keys = whole_up(seen.limit[i / VW], KEY_GROUP);
        if (keys == 0)
            continue;
        weigh(u, k, w, i, keys);
        if (!seen.whole)
            add_values(a->by, u, k, w, i, VW, keys);
    }
    if (seen.whole)
        add_values(a->by, u, k, w, 0, u->l.padded,
                   whole_up(seen.keys, KEY_GROUP));
}

/* o / sum to rows of the output; lse. */
static void finish(const attention *a, unit *u, int64_t b)
{
    const lanes *l = &u->l;
    const int64_t width = 2 * whole_width(a->E), row = b * a->T + l->first;
    float *lse = a->lse + (b * a->H + u->head) * a->T + l->first;
    for (int64_t i = 0; i < l->count; i++) {
        const int sees = attention_sees(a, b, l->first + i);
        const vf inverse = v_set(sees ? 1.0f / u->sum[i] : 0.0f);
        float *o = u->o + i * width;
        for (int64_t e = 0; e < width; e += VW)
            v_store(o + e, v_load(o + e) * inverse);
        lse[i] = sees ? u->m[i] + logf(u->sum[i]) : 0.0f;
    }
    ISA(whole_store)
    (&a->o, (row * a->H + u->head) * a->E, a->H * a->E, u->o, l->count, a->E);
}

/* What a task is: some of the blocks of queries that read keys of (b, g). */
typedef struct share {
    int64_t b, g, first, count;
} share;

static int64_t shares_of_group(const attention *a)
{
    return cpu_parts(a->heads * a->query_blocks, a->units);
}

static share share_of(const attention *a, int64_t task)
{
    const int64_t shares = shares_of_group(a);
    const int64_t number = attention_turn(a, task, a->B * a->G * shares);
    const int64_t first = number % shares * a->units;
    return (share){number / shares / a->G, number / shares % a->G, first,
                   cpu_min(a->units, a->heads * a->query_blocks - first)};
}

/* Unit number i of a share: its head, and its first query. */
static int64_t head_of_unit(const attention *a, const share *x, int64_t i)
{
    return x->g * a->heads + (x->first + i) / a->query_blocks;
}

static int64_t first_of_unit(const attention *a, const share *x, int64_t i)
{
    return (x->first + i) % a->query_blocks * ATTENTION_LANES;
}

/* All units begin: the first key that one sees is set, and the one behind the
 * last returned. */
static int64_t begin_all(const attention *a, const share *x, unit *u, block *k)
{
    int64_t to = 0;
    k->first = INT64_MAX;
    for (int64_t i = 0; i < x->count; i++) {
        u[i].head = head_of_unit(a, x, i);
        begin(a, &u[i], x->b, first_of_unit(a, x, i), k->k.words);
        if (u[i].l.from >= u[i].l.to)
            continue;
        k->first = cpu_min(k->first, u[i].l.from / WHOLE_ROWS * WHOLE_ROWS);
        to = cpu_max(to, u[i].l.to);
    }
    return to;
}

/* What will be read: the next keys, perhaps those of the thread's next task,
 * and a block of queries of that; what will be written of one of these. */
static void look_ahead(const attention *a, whole_ahead *to, const share *here,
                       const share *after, int64_t key, int64_t last)
{
    const int more = key + WHOLE_ROWS < last;
    const share *x = more ? here : after;
    const int64_t next = more ? key + WHOLE_ROWS : 0;
    const int64_t keys = cpu_min(WHOLE_ROWS, a->S - next);
    const int64_t i = cpu_min(key / WHOLE_ROWS, here->count - 1);
    const int64_t j = cpu_min(key / WHOLE_ROWS, after->count - 1);
    const int64_t t = first_of_unit(a, here, i);
    const int64_t q = first_of_unit(a, after, j);
    to->count = 0;
    whole_soon(to, &a->o,
               ((here->b * a->T + t) * a->H + head_of_unit(a, here, i)) * a->E,
               a->H * a->E, cpu_min(WHOLE_ROWS, a->T - t), a->E);
    whole_soon(to, &a->q.of,
               vector_at(&a->q, after->b, q, head_of_unit(a, after, j)),
               a->q.row, cpu_min(WHOLE_ROWS, a->T - q), a->D);
    whole_soon(to, &a->v.of, vector_at(&a->v, x->b, next, x->g), a->v.row, keys,
               a->E);
    whole_soon(to, &a->k.of, vector_at(&a->k, x->b, next, x->g), a->k.row, keys,
               a->D);
    whole_spread(to, here->count, TILES);
}

static void run_task(const void *argument, cpu_worker *worker, int64_t task)
{
    const attention *a = argument;
    const share x = share_of(a, task);
    const int64_t tasks = a->B * a->G * shares_of_group(a);
    const share after = share_of(a, cpu_min(task + a->threads, tasks - 1));
    const uint32_t mode = whole_enter();
    unit u[MOST_UNITS];
    block k;
    room w;
    lay_out(a, worker->scratch, u, &k, &w);
    const int64_t to = begin_all(a, &x, u, &k);
    for (; k.first < to; k.first += WHOLE_ROWS) {
        load_keys(a, &k, x.b, x.g, cpu_min(WHOLE_ROWS, to - k.first));
        look_ahead(a, &w.ahead, &x, &after, k.first, to);
        for (int64_t i = 0; i < x.count; i++)
            meet(a, &u[i], &k, &w);
    }
    for (int64_t i = 0; i < x.count; i++)
        finish(a, &u[i], x.b);
    whole_leave(mode);
}

/* Units of a task: as many as leave each thread two tasks. */
void ISA(attention_whole)(cpu_compiler *c, attention *a)
{
    unit u[MOST_UNITS];
    block k;
    room w;
    const int64_t all = a->B * a->H * a->query_blocks;
    a->by = ISA(whole_products_of)(cpu_bf16_products(c));
    a->units = cpu_max(1, cpu_min(MOST_UNITS, all / (2 * a->threads)));
    cpu_scratch(c, lay_out(a, NULL, u, &k, &w));
    cpu_step(c, run_task, a, a->B * a->G * shares_of_group(a));
}
