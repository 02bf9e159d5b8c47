/*
 * conv.c - CONV1D_CAUSAL and its backward, a vector of channels at a time.
 *
 *     y[t]  = sum_k w[:, k] x[t - K + 1 + k]
 *     dx[t] = sum_k w[:, k] dy[t + K - 1 - k]
 *     dw[:, k] = sum_{b, t} dy[t] x[t - K + 1 + k]
 *
 * A part is some rows of one batch row and a slice of the channels, few enough
 * to stay in L1 with the rows around them; a task has one, or several small.
 * Backward, dx and dw of a part follow each other, so that rows come from
 * memory once; dw is summed over the part in float and over parts, in double,
 * by a second step. Kernels of more than MOST_TAPS taps take those so many at a
 * time. A row sees no row before its document's first: a tap that would reach
 * there reads zeros, and strips end with documents.
 */
#include "kernels.h"

#include <string.h>

enum {
    MOST_TAPS = 8,
    ROWS = 64,      /* of a task */
    STRIP = 16,     /* rows over which dw stays in registers */
    CHANNELS = 256, /* of a task */
    SUM_COLUMNS = 64,
};

typedef struct conv {
    const float *x, *w, *history; /* history NULL: zeros */
    const int32_t *firsts;        /* (B, T): of its document; NULL: any */
    const float *dy;
    int64_t x_batch, x_row; /* strides */
    float *y, *dx, *dw;
    int64_t B, T, C, K;
    int64_t row_blocks, slices;
    int64_t parts, parts_per_task; /* several where rows are few: decoding */
    int64_t partial; /* (B row_blocks, K, C) of dw, in shared memory */
} conv;

/* Rows [first, end) of batch row b, channels [c, c + width). */
typedef struct part {
    int64_t b, first, end, c, width;
} part;

static part part_of(const conv *v, int64_t number)
{
    const int64_t block = number / v->slices % v->row_blocks;
    const int64_t c = number % v->slices * CHANNELS;
    return (part){.b = number / v->slices / v->row_blocks,
                  .first = block * ROWS,
                  .end = cpu_min((block + 1) * ROWS, v->T),
                  .c = c,
                  .width = cpu_min(CHANNELS, v->C - c)};
}

/* A thread's scratch: the taps (K, CHANNELS), then zeros, then where dw is
 * summed (K, CHANNELS). */
static const float *load_taps(const conv *v, const part *p, float *scratch)
{
    for (int64_t k = 0; k < v->K; k++)
        for (int64_t i = 0; i < p->width; i++)
            scratch[k * CHANNELS + i] = v->w[(p->c + i) * v->K + k];
    float *zeros = scratch + v->K * CHANNELS;
    memset(zeros, 0, CHANNELS * sizeof *zeros);
    return zeros;
}

/* The first row that row t sees. */
static int64_t first_of(const conv *v, const part *p, int64_t t)
{
    return v->firsts ? v->firsts[p->b * v->T + t] : -v->K;
}

/* The part's channels of row t of x, which may lie before row 0, and before
 * `first` is zero. */
static const float *x_row(const conv *v, const part *p, int64_t t,
                          int64_t first, const float *zeros)
{
    const int64_t before = v->K - 1;
    if (t < first)
        return zeros;
    if (t >= 0)
        return v->x + p->b * v->x_batch + t * v->x_row + p->c;
    if (!v->history)
        return zeros;
    return v->history + (p->b * before + before + t) * v->C + p->c;
}

/* And of dy, which may lie behind the last: what of it flows back to `to`. */
static const float *dy_row(const conv *v, const part *p, int64_t t, int64_t to,
                           const float *zeros)
{
    return t < v->T && first_of(v, p, t) <= to
               ? v->dy + (p->b * v->T + t) * v->C + p->c
               : zeros;
}

/* to (+)= sum_k taps[k] rows[k]: a row of `width` channels */
CPU_INLINE void weigh(int taps, int64_t width, const float *w,
                      const float *const *rows, float *to, int add)
{
    for (int64_t i = 0; i < width; i += VW) {
        const int64_t left = width - i;
        vf sum = add ? v_load_n(to + i, left) : v_zero();
        CPU_UNROLL(8)
        for (int k = 0; k < taps; k++)
            sum = v_fma(v_load_n(w + k * CHANNELS + i, left),
                        v_load_n(rows[k] + i, left), sum);
        v_store_n(to + i, sum, left);
    }
}

/* Each number of taps has its own, unrolled. */
#define TAPS_MAP(XX) XX(1) XX(2) XX(3) XX(4) XX(5) XX(6) XX(7) XX(8)

static void weigh_rows(int taps, int64_t width, const float *w,
                       const float *const *rows, float *to, int add)
{
    switch (taps) {
#define XX(n)                                                                  \
    case n:                                                                    \
        weigh(n, width, w, rows, to, add);                                     \
        break;
        TAPS_MAP(XX)
#undef XX
    }
}

static void convolve(const conv *v, cpu_worker *worker, part p)
{
    const float *w = worker->scratch;
    const float *zeros = load_taps(v, &p, worker->scratch);
    for (int64_t t = p.first; t < p.end; t++)
        for (int64_t k = 0; k < v->K; k += MOST_TAPS) {
            const int taps = (int)cpu_min(MOST_TAPS, v->K - k);
            const float *rows[MOST_TAPS];
            for (int i = 0; i < taps; i++)
                rows[i] = x_row(v, &p, t - v->K + 1 + k + i, first_of(v, &p, t),
                                zeros);
            weigh_rows(taps, p.width, w + k * CHANNELS, rows,
                       v->y + (p.b * v->T + t) * v->C + p.c, k > 0);
        }
}

static void run_conv(const void *argument, cpu_worker *worker, int64_t task)
{
    const conv *v = argument;
    const int64_t end = cpu_min((task + 1) * v->parts_per_task, v->parts);
    for (int64_t i = task * v->parts_per_task; i < end; i++)
        convolve(v, worker, part_of(v, i));
}

/* ---- backward ---- */

static void store_dx(const conv *v, const part *p, const float *w,
                     const float *zeros)
{
    for (int64_t t = p->first; t < p->end; t++)
        for (int64_t k = 0; k < v->K; k += MOST_TAPS) {
            const int taps = (int)cpu_min(MOST_TAPS, v->K - k);
            const float *rows[MOST_TAPS];
            for (int i = 0; i < taps; i++)
                rows[i] = dy_row(v, p, t + v->K - 1 - k - i, t, zeros);
            weigh_rows(taps, p->width, w + k * CHANNELS, rows,
                       v->dx + (p->b * v->T + t) * v->C + p->c, k > 0);
        }
}

/* sum[k] += dy[t] x[t - K + 1 + k] over a strip: dy its `count` rows, x those
 * from `taps` - 1 before on */
CPU_INLINE void sum_strip(int taps, int64_t count, int64_t width,
                          const float *const *dy, const float *const *x,
                          float *sums)
{
    for (int64_t i = 0; i < width; i += VW) {
        const int64_t left = width - i;
        vf sum[MOST_TAPS];
        CPU_UNROLL(8)
        for (int k = 0; k < taps; k++)
            sum[k] = v_load(sums + k * CHANNELS + i);
        for (int64_t t = 0; t < count; t++) {
            const vf g = v_load_n(dy[t] + i, left);
            CPU_UNROLL(8)
            for (int k = 0; k < taps; k++)
                sum[k] = v_fma(g, v_load_n(x[t + k] + i, left), sum[k]);
        }
        CPU_UNROLL(8)
        for (int k = 0; k < taps; k++)
            v_store(sums + k * CHANNELS + i, sum[k]);
    }
}

static void sum_strips(int taps, int64_t count, int64_t width,
                       const float *const *dy, const float *const *x,
                       float *sums)
{
    switch (taps) {
#define XX(n)                                                                  \
    case n:                                                                    \
        sum_strip(n, count, width, dy, x, sums);                               \
        break;
        TAPS_MAP(XX)
#undef XX
    }
}

/* Rows from t on, up to a strip, that see the same rows. */
static int64_t strip_at(const conv *v, const part *p, int64_t t)
{
    const int64_t most = cpu_min(STRIP, p->end - t);
    int64_t count = v->firsts ? 1 : most;
    while (count < most && first_of(v, p, t + count) == first_of(v, p, t))
        count++;
    return count;
}

static void sum_dw(const conv *v, const part *p, const float *zeros,
                   float *sums)
{
    int64_t count;
    memset(sums, 0, (size_t)(v->K * CHANNELS) * sizeof *sums);
    for (int64_t t = p->first; t < p->end; t += count) {
        count = strip_at(v, p, t);
        for (int64_t k = 0; k < v->K; k += MOST_TAPS) {
            const int taps = (int)cpu_min(MOST_TAPS, v->K - k);
            const float *dy[STRIP], *x[STRIP + MOST_TAPS];
            for (int64_t i = 0; i < count; i++)
                dy[i] = dy_row(v, p, t + i, t + i, zeros);
            for (int64_t i = 0; i < count + taps - 1; i++)
                x[i] =
                    x_row(v, p, t + i - v->K + 1 + k, first_of(v, p, t), zeros);
            sum_strips(taps, count, p->width, dy, x, sums + k * CHANNELS);
        }
    }
}

static void run_conv_bwd(const void *argument, cpu_worker *worker, int64_t task)
{
    const conv *v = argument;
    const part p = part_of(v, task);
    const float *zeros = load_taps(v, &p, worker->scratch);
    float *sums = worker->scratch + (v->K + 1) * CHANNELS;
    float *partial = (float *)(void *)(worker->shared + v->partial) +
                     task / v->slices * v->K * v->C + p.c;
    store_dx(v, &p, worker->scratch, zeros);
    sum_dw(v, &p, zeros, sums);
    for (int64_t k = 0; k < v->K; k++)
        memcpy(partial + k * v->C, sums + k * CHANNELS,
               (size_t)p.width * sizeof *partial);
}

static void run_dw(const void *argument, cpu_worker *worker, int64_t task)
{
    const conv *v = argument;
    const int64_t k = task % v->K, c = task / v->K * SUM_COLUMNS;
    const int64_t n = cpu_min(SUM_COLUMNS, v->C - c);
    const float *partial =
        (const float *)(const void *)(worker->shared + v->partial) + k * v->C +
        c;
    double sum[SUM_COLUMNS] = {0};
    for (int64_t block = 0; block < v->B * v->row_blocks; block++)
        for (int64_t i = 0; i < n; i++)
            sum[i] += (double)partial[block * v->K * v->C + i];
    for (int64_t i = 0; i < n; i++)
        v->dw[(c + i) * v->K + k] = (float)sum[i];
}

/* ---- compiling ---- */

/* x, w and, from input `last` on, perhaps a history and where documents begin
 */
static conv *new_conv(cpu_compiler *c, const tn_plan_node *node, uint32_t x,
                      uint32_t last)
{
    conv *v = CPU_ARGUMENT(c, conv);
    v->x = cpu_at(c, &node->in[x]);
    v->x_batch = node->in[x].stride[0];
    v->x_row = node->in[x].stride[1];
    v->w = cpu_at(c, &node->in[x + 1]);
    v->history = node->in_count > last ? cpu_at(c, &node->in[last]) : NULL;
    v->firsts =
        node->in_count > last + 1 ? cpu_at(c, &node->in[last + 1]) : NULL;
    v->B = node->in[x].shape[0];
    v->T = node->in[x].shape[1];
    v->C = node->in[x].shape[2];
    v->K = node->in[x + 1].shape[1];
    v->row_blocks = cpu_parts(v->T, ROWS);
    v->slices = cpu_parts(v->C, CHANNELS);
    v->parts = v->B * v->row_blocks * v->slices;
    v->parts_per_task = cpu_max(1, ROWS / cpu_max(1, v->T));
    cpu_scratch(c, (2 * v->K + 1) * CHANNELS * (int64_t)sizeof(float));
    return v;
}

tn_status ISA(compile_conv)(cpu_compiler *c, const tn_plan_node *node,
                            tn_error *err)
{
    (void)err;
    conv *v = new_conv(c, node, 0, 2);
    v->y = cpu_at(c, &node->out[0]);
    cpu_step(c, run_conv, v, cpu_parts(v->parts, v->parts_per_task));
    return TN_OK;
}

tn_status ISA(compile_conv_bwd)(cpu_compiler *c, const tn_plan_node *node,
                                tn_error *err)
{
    (void)err;
    conv *v = new_conv(c, node, 1, 3);
    v->dy = cpu_at(c, &node->in[0]);
    v->dx = cpu_at(c, &node->out[0]);
    v->dw = cpu_at(c, &node->out[1]);
    v->partial = cpu_shared(c, v->B * v->row_blocks * v->K * v->C *
                                   (int64_t)sizeof(float));
    cpu_step(c, run_conv_bwd, v, v->parts);
    cpu_barrier(c);
    cpu_step(c, run_dw, v, cpu_parts(v->C, SUM_COLUMNS) * v->K);
    return TN_OK;
}
