/*
 * ssd.c - SSD_SCAN: the chunks of a head one after the other (see ssd.h).
 *
 * A task carries a head's state from chunk to chunk in its thread's cache,
 * transposed to (N, P) so that both products with it stream its rows; of many
 * heads it takes some, which read the same rows of Bm and Cm. Where there are
 * few heads, T is cut into spans besides: a first pass computes what each span
 * adds to the state, a second one chains those, and then all spans run at once.
 *
 * A few rows, as decoding has, are the recurrence itself: for them it is one
 * pass over the state, at the speed of memory.
 */
#include "ssd.h"
#include "kernels.h"

enum {
    FEW_ROWS = 8,
    CHUNK_ROWS = 64,
    ENOUGH_TASKS = 8,
    MOST_SPANS = 16,
    STATES = 64 * 1024,        /* floats of a task's states */
    TASK_ELEMENTS = 64 * 1024, /* of states times rows, for a few rows */
};

typedef struct scan {
    ssd s;
    const float *first_state; /* NULL: zeros */
    float *y, *last_state;
    int64_t spans, chunks; /* spans of a head, chunks of a span */
    int64_t state;         /* floats of a state (N, P_pitch) */
    /* in shared memory: C B' of each group's chunks; the state before each
     * span of a head, and its total decay */
    int64_t products, starts, totals;
    int64_t together; /* heads of a task, of one group */
} scan;

/* ---- C B' ---- */

static void run_products(const void *argument, cpu_worker *w, int64_t task)
{
    const scan *k = argument;
    const ssd *s = &k->s;
    const int64_t b = task / s->Z / s->G, g = task / s->Z % s->G;
    ISA(ssd_products)
    (s, ssd_chunk_at(s, b, task % s->Z), g, w->scratch,
     cpu_floats(w, k->products) + task * s->L * s->L);
}

/* ---- a chunk of a head ---- */

typedef struct work {
    float *state; /* (N, P_pitch) of each head */
    float *x;     /* dt x: (L, P_pitch) */
    float *W;     /* SSD_BLOCK rows of L */
    ssd_decay decay;
} work;

static int64_t work_floats(const scan *k)
{
    return k->together * k->state + k->s.L * (k->s.P_pitch + SSD_BLOCK);
}

static void lay_out(const scan *k, float *scratch, work *m)
{
    m->state = scratch;
    m->x = scratch + k->together * k->state;
    m->W = m->x + k->s.L * k->s.P_pitch;
}

/* y = e^s (C h') */
static void read_state(const scan *k, ssd_chunk c, int64_t h, const work *m)
{
    const ssd *s = &k->s;
    const int64_t pitch = s->H * s->P;
    float *y = k->y + ssd_head(s, c.first, h);
    ISA(gemm_direct)
    (c.count, s->P, s->N, ssd_rows_of(&s->Cm, c, h / s->R),
     (gemm_matrix){m->state, s->P_pitch, 1}, y, pitch, 0);
    for (int64_t t = 0; t < c.count; t++, y += pitch)
        for (int64_t p = 0; p < s->P; p += VW)
            v_store_n(y + p,
                      v_set(m->decay.from_start[t]) * v_load_n(y + p, s->P - p),
                      s->P - p);
}

/* y += W (dt x) */
static void read_chunk(const scan *k, ssd_chunk c, int64_t h, const work *m,
                       const float *products, uint32_t add)
{
    const ssd *s = &k->s;
    ssd_block block;
    for (int64_t t = 0; t < c.count; t += SSD_BLOCK) {
        const int64_t end = cpu_min(t + SSD_BLOCK, c.count);
        ISA(ssd_block_of)(&m->decay, t, end - t, &block);
        for (int64_t i = t; i < end; i++)
            for (int64_t j = 0; j < end; j += VW)
                v_store(m->W + (i - t) * s->L + j,
                        ssd_between_rows(m->decay.begin[i], i + 1, j,
                                         v_load(products + i * s->L + j) *
                                             ssd_between(&block, i, j)));
        ISA(gemm_direct)
        (end - t, s->P, end, (gemm_matrix){m->W, s->L, 1},
         (gemm_matrix){m->x, s->P_pitch, 1}, k->y + ssd_head(s, c.first + t, h),
         s->H * s->P, add);
    }
}

/* From the state before the chunk to that after it; x is used up. */
static void advance(const scan *k, ssd_chunk c, int64_t h, const work *m)
{
    const ssd *s = &k->s;
    const vf total = v_exp(v_set(m->decay.total));
    for (int64_t i = 0; i < k->state; i += VW)
        v_store(m->state + i, total * v_load(m->state + i));
    for (int64_t t = 0; t < c.count; t++)
        for (int64_t p = 0; p < s->P_pitch; p += VW) {
            float *x = m->x + t * s->P_pitch + p;
            v_store(x, v_set(m->decay.to_end[t]) * v_load(x));
        }
    ISA(gemm_direct)
    (s->N, s->P_pitch, c.count, ssd_columns_of(&s->Bm, c, h / s->R),
     (gemm_matrix){m->x, s->P_pitch, 1}, m->state, s->P_pitch, 1);
}

/* ---- the state before each span, where there are several ---- */

static float *start_of(const scan *k, const cpu_worker *w, int64_t head,
                       int64_t span)
{
    return cpu_floats(w, k->starts) + (head * k->spans + span) * k->state;
}

static float *total_of(const scan *k, const cpu_worker *w, int64_t head,
                       int64_t span)
{
    return cpu_floats(w, k->totals) + head * k->spans + span;
}

/* The state before the first row of a head */
static void load_first(const scan *k, int64_t head, float *state)
{
    const ssd *s = &k->s;
    memset(state, 0, (size_t)k->state * sizeof *state);
    if (k->first_state)
        ISA(ssd_transpose)
    (state, s->P_pitch, k->first_state + head * s->P * s->N, s->N, s->P, s->N);
}

/* What a span adds; to where the state after it, before the next, will be. */
static void run_span(const void *argument, cpu_worker *w, int64_t task)
{
    const scan *k = argument;
    const ssd *s = &k->s;
    const int64_t head = task / (k->spans - 1), span = task % (k->spans - 1);
    const int64_t b = head / s->H, h = head % s->H;
    work m;
    lay_out(k, w->scratch, &m);
    m.state = start_of(k, w, head, span + 1);
    memset(m.state, 0, (size_t)k->state * sizeof *m.state);
    double total = 0.0;
    for (int64_t z = span * k->chunks; z < (span + 1) * k->chunks; z++) {
        const ssd_chunk c = ssd_chunk_at(s, b, z);
        ISA(ssd_decay_of)(s, c, h, &m.decay);
        ISA(ssd_pack)(s, c, h, &s->x, m.decay.dt, m.x);
        advance(k, c, h, &m);
        total += (double)m.decay.total;
    }
    *total_of(k, w, head, span) = (float)total;
}

static void run_chain(const void *argument, cpu_worker *w, int64_t head)
{
    const scan *k = argument;
    load_first(k, head, start_of(k, w, head, 0));
    for (int64_t span = 1; span < k->spans; span++) {
        const vf total = v_exp(v_set(*total_of(k, w, head, span - 1)));
        const float *before = start_of(k, w, head, span - 1);
        float *state = start_of(k, w, head, span);
        for (int64_t i = 0; i < k->state; i += VW)
            v_store(state + i,
                    v_fma(total, v_load(before + i), v_load(state + i)));
    }
}

/* ---- a span of some heads of a group ---- */

/* A chunk of a head; starts: its state is not zero. */
static void run_chunk(const scan *k, ssd_chunk c, int64_t h, work *m,
                      const float *products, uint32_t starts)
{
    ISA(ssd_decay_of)(&k->s, c, h, &m->decay);
    ISA(ssd_pack)(&k->s, c, h, &k->s.x, m->decay.dt, m->x);
    if (starts)
        read_state(k, c, h, m);
    read_chunk(k, c, h, m, products, starts);
    advance(k, c, h, m);
}

static void run_scan(const void *argument, cpu_worker *w, int64_t task)
{
    const scan *k = argument;
    const ssd *s = &k->s;
    const int64_t head = task / k->spans * k->together, span = task % k->spans;
    const int64_t b = head / s->H, h = head % s->H;
    const int64_t from = span * k->chunks;
    const int64_t to = cpu_min(from + k->chunks, s->Z);
    const float *products =
        cpu_floats(w, k->products) + (b * s->G + h / s->R) * s->Z * s->L * s->L;
    work m;
    lay_out(k, w->scratch, &m);
    float *states = k->spans > 1 ? start_of(k, w, head, span) : m.state;
    for (int64_t i = 0; i < k->together && k->spans == 1; i++)
        load_first(k, head + i, states + i * k->state);
    for (int64_t z = from; z < to; z++)
        for (int64_t i = 0; i < k->together; i++) {
            m.state = states + i * k->state;
            run_chunk(k, ssd_chunk_at(s, b, z), h + i, &m,
                      products + z * s->L * s->L, z > 0 || k->first_state);
        }
    for (int64_t i = 0; i < k->together && to == s->Z; i++)
        ISA(ssd_transpose)
    (k->last_state + (head + i) * s->P * s->N, s->N, states + i * k->state,
     s->P_pitch, s->N, s->P);
}

/* ---- a few rows: the recurrence ---- */

/* One row: the head's state (P, N) takes a step, and is read. */
static void step(const ssd *s, ssd_chunk row, int64_t h, float *state, float *y)
{
    const float *B = ssd_at(&s->Bm, row, h / s->R);
    const float *C = ssd_at(&s->Cm, row, h / s->R);
    const float *x = ssd_at(&s->x, row, h);
    const float dt = *ssd_at(&s->dt, row, h);
    const vf e =
        ssd_begins(s, row.first) ? v_zero() : v_exp(v_set(dt * s->A[h]));
    for (int64_t p = 0; p < s->P; p++, state += s->N) {
        const vf dt_x = v_set(dt * x[p]);
        vf sum = v_zero();
        for (int64_t n = 0; n < s->N; n += VW) {
            const int64_t left = s->N - n;
            const vf next = v_fma(dt_x, v_load_n(B + n, left),
                                  e * v_load_n(state + n, left));
            v_store_n(state + n, next, left);
            sum = v_fma(next, v_load_n(C + n, left), sum);
        }
        y[p] = v_sum(sum);
    }
}

static void run_few(const void *argument, cpu_worker *w, int64_t task)
{
    const scan *k = argument;
    const ssd *s = &k->s;
    const int64_t size = s->P * s->N;
    const int64_t end = cpu_min((task + 1) * k->together, s->B * s->H);
    (void)w;
    for (int64_t head = task * k->together; head < end; head++) {
        const int64_t b = head / s->H, h = head % s->H;
        float *state = k->last_state + head * size;
        if (k->first_state)
            memcpy(state, k->first_state + head * size,
                   (size_t)size * sizeof *state);
        else
            memset(state, 0, (size_t)size * sizeof *state);
        for (int64_t t = 0; t < s->T; t++) {
            const ssd_chunk row = {b, t, b * s->T + t, 1};
            step(s, row, h, state, k->y + ssd_head(s, row.first, h));
        }
    }
}

/* ---- compiling ---- */

static int64_t floats(cpu_compiler *c, int64_t count)
{
    return cpu_shared(c, count * (int64_t)sizeof(float));
}

static void compile_few(cpu_compiler *c, scan *k)
{
    const ssd *s = &k->s;
    const int64_t elements = cpu_max(1, s->P * s->N * s->T);
    k->together = cpu_max(1, TASK_ELEMENTS / elements);
    ISA(ssd_step)(c, run_few, k, cpu_parts(s->B * s->H, k->together));
}

static void compile_spans(cpu_compiler *c, scan *k)
{
    const int64_t heads = k->s.B * k->s.H;
    k->starts = floats(c, heads * k->spans * k->state);
    k->totals = floats(c, heads * k->spans);
    ISA(ssd_step)(c, run_span, k, heads * (k->spans - 1));
    cpu_barrier(c);
    ISA(ssd_step)(c, run_chain, k, heads);
}

/* As many heads as leave enough tasks, and whose states stay in the cache; they
 * divide a group. */
static int64_t heads_together(const ssd *s, int64_t state)
{
    const int64_t most =
        cpu_min(s->B * s->H / ENOUGH_TASKS, STATES / cpu_max(1, state));
    int64_t n = cpu_max(1, cpu_min(s->R, most));
    while (s->R % n)
        n--;
    return n;
}

static void compile_chunks(cpu_compiler *c, scan *k)
{
    const ssd *s = &k->s;
    const int64_t heads = s->B * s->H;
    const int64_t most =
        heads < ENOUGH_TASKS ? cpu_parts(MOST_SPANS, cpu_max(1, heads)) : 1;
    k->state = s->N * s->P_pitch;
    k->together = heads_together(s, k->state);
    k->chunks = cpu_parts(s->Z, cpu_min(most, s->Z));
    k->spans = cpu_parts(s->Z, k->chunks);
    k->products = floats(c, s->B * s->G * s->Z * s->L * s->L);
    cpu_scratch(c,
                cpu_max(work_floats(k), s->N * s->L) * (int64_t)sizeof(float));
    ISA(ssd_step)(c, run_products, k, s->B * s->G * s->Z);
    if (k->spans > 1)
        compile_spans(c, k);
    cpu_barrier(c);
    ISA(ssd_step)(c, run_scan, k, heads / k->together * k->spans);
}

tn_status ISA(compile_ssd_scan)(cpu_compiler *c, const tn_plan_node *node,
                                tn_error *err)
{
    (void)err;
    scan *k = CPU_ARGUMENT(c, scan);
    ISA(ssd_fill)(&k->s, c, node, 0, CHUNK_ROWS);
    k->first_state = node->in_count > 5 ? cpu_at(c, &node->in[5]) : NULL;
    k->y = cpu_at(c, &node->out[0]);
    k->last_state = cpu_at(c, &node->out[1]);
    if (k->s.T <= FEW_ROWS)
        compile_few(c, k);
    else
        compile_chunks(c, k);
    return TN_OK;
}
