/*
 * bench.c - plans run until the clock has something to say.
 */
#include "run/bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "graph/ops/ops.h"
#include "run/decoder.h"
#include "run/evaluate.h"
#include "run/weights.h"

enum { MOST_RUNS = 1000, DOCUMENT_TOKENS = 128 };

/* Seconds. A cache takes hundreds of tokens to settle what it keeps of weights
 * that it has no room for, so what they are compared with takes as long. */
#define BRIEFLY 0.4
#define FOR_LONG 1.5

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the clock ---- */

typedef tn_status (*timed)(void *of, tn_error *err);

static int shorter(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Run for about `seconds`, at least five times after one to warm up; the
 * fastest and the median time of a run. */
static tn_status repeat(timed body, void *of, double seconds, double *fastest,
                        double *median, tn_error *err)
{
    double times[MOST_RUNS];
    int n = 0;
    TN_TRY(body(of, err));
    for (double end = now() + seconds; n < MOST_RUNS && (n < 5 || now() < end);
         n++) {
        const double began = now();
        TN_TRY(body(of, err));
        times[n] = now() - began;
    }
    qsort(times, (size_t)n, sizeof *times, shorter);
    *fastest = times[0];
    *median = times[n / 2];
    return TN_OK;
}

/* ---- limits ---- */

typedef struct {
    tni_session *session;
    uint32_t plan;
} plan_run;

static tn_status run_plan(void *of, tn_error *err)
{
    const plan_run *p = of;
    return tni_session_run(p->session, p->plan, err);
}

static tn_tensor leaf(tni_graph *g, tn_op op, tn_arena arena, int64_t element,
                      uint32_t rank, const int64_t *shape)
{
    return tni_graph_leaf(g, op, arena,
                          element * tn_dtype_bytes(g->builder.dtype),
                          g->builder.dtype, rank, shape, "bench");
}

/* c (M, N) = a (M, K) b (N, K)^T, as a linear layer does it; in bf16 a is one
 * already, and b a copy */
static void describe_gemm(tni_graph *g, const int64_t shape[3], int is_bf16)
{
    const int64_t M = shape[0], N = shape[1], K = shape[2];
    tn_builder *b = &g->builder;
    const tn_dtype dtype = is_bf16 ? TN_BF16 : b->dtype;
    const tn_tensor x =
        tni_stored_as(b,
                      tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, dtype,
                                     2, (const int64_t[]){M, K}, "bench"),
                      b->dtype, TN_HERE);
    const tn_tensor w =
        leaf(g, TN_OP_PARAM, TN_ARENA_PARAM, 0, 2, (const int64_t[]){N, K});
    const tn_tensor y =
        leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, 0, 2, (const int64_t[]){M, N});
    tn_assign(b, y, tn_linear(b, x, w));
}

/* c = a + 0.5 b over `count` elements each */
static void describe_triad(tni_graph *g, const int64_t shape[3], int is_bf16)
{
    (void)is_bf16;

    tn_builder *b = &g->builder;
    const tn_tensor x = leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, 1, shape);
    const tn_tensor w = leaf(g, TN_OP_PARAM, TN_ARENA_PARAM, 0, 1, shape);
    const tn_tensor y = leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, 0, 1, shape);
    tn_assign(b, y, tn_add(b, x, tn_scale(b, w, 0.5)));
}

/* the sum of each row of x */
static void describe_sums(tni_graph *g, const int64_t shape[3], int is_bf16)
{
    (void)is_bf16;
    tn_builder *b = &g->builder;
    const tn_tensor x = leaf(g, TN_OP_PARAM, TN_ARENA_PARAM, 0, 2, shape);
    const tn_tensor y = leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, 0, 2,
                             (const int64_t[]){shape[0], 1});
    tn_assign(b, y, tn_sum(b, x, 1u << 1));
}

/* Numbers into an arena, of f32 whose halves are numbers of bf16: between 1
 * and 2, all. Memory that was never written is one page of zeros to the system,
 * which is no memory to measure. */
static tn_status touch(tni_session *s, tn_arena arena, tn_error *err)
{
    uint32_t bits[4096];
    float ones[4096];
    const int64_t count = s->arena_bytes[arena] / s->real_bytes;
    for (int i = 0; i < 4096; i++)
        bits[i] = (0x3f80u | ((uint32_t)i & 0x7fu)) * 0x10001u;
    memcpy(ones, bits, sizeof ones);
    for (int64_t at = 0; at < count; at += 4096) {
        const int64_t n = count - at < 4096 ? count - at : 4096;
        TN_TRY(tni_session_upload_reals(s, arena, at * s->real_bytes, ones, n,
                                        err));
    }
    return TN_OK;
}

/* The fastest of repeated runs, for about `time`, of one small graph in a
 * session of its own. */
static tn_status time_graph(const tni_recipe *recipe,
                            void (*describe)(tni_graph *, const int64_t *, int),
                            const int64_t shape[3], double time,
                            double *seconds, tn_error *err)
{
    plan_run p = {0};
    double median;
    TN_TRY(tni_session_open(recipe, &p.session, err));
    tni_graph *g = tni_graph_create(p.session->dtype);
    describe(g, shape, (int)p.session->is_bf16);
    tn_status status = tni_session_narrow(p.session, g, err);
    if (status == TN_OK)
        status = tni_session_plan(p.session, g, "bench", &p.plan, err);
    tni_graph_destroy(g);
    if (status == TN_OK)
        status = tni_session_commit(p.session, err);
    if (status == TN_OK)
        status = touch(p.session, TN_ARENA_INPUT, err);
    if (status == TN_OK)
        status = touch(p.session, TN_ARENA_PARAM, err);
    if (status == TN_OK)
        status = touch(p.session, TN_ARENA_COPY, err);
    if (status == TN_OK)
        status = repeat(run_plan, &p, time, seconds, &median, err);
    tni_session_close(p.session);
    return status;
}

/* Rates of reading depend on how much is read, for as long as a cache holds
 * some of it. */
enum { SHORT_READ = 16 << 20, LONG_READ = 1 << 30, READ_COLUMNS = 8192 };

/* Bytes a second of a sum of each row of so many bytes. */
static tn_status time_sums(const tni_recipe *recipe, int64_t bytes, double time,
                           double *rate, tn_error *err)
{
    const int64_t row =
        READ_COLUMNS * (recipe->precision == TNI_RECIPE_F64 ? 8 : 4);
    double seconds;
    TN_TRY(time_graph(recipe, describe_sums,
                      (const int64_t[]){bytes / row, READ_COLUMNS, 0}, time,
                      &seconds, err));
    *rate = (double)(bytes / row * row) / seconds;
    return TN_OK;
}

/* Of a product by one row, or of that sum where it is faster. */
static tn_status time_reading(const tni_recipe *recipe, int64_t bytes,
                              double *rate, tn_error *err)
{
    const int64_t row =
        READ_COLUMNS * (recipe->precision == TNI_RECIPE_F64    ? 8
                        : recipe->precision == TNI_RECIPE_BF16 ? 2
                                                               : 4);
    double seconds;
    TN_TRY(time_sums(recipe, bytes, FOR_LONG, rate, err));
    TN_TRY(time_graph(recipe, describe_gemm,
                      (const int64_t[]){1, bytes / row, READ_COLUMNS}, FOR_LONG,
                      &seconds, err));
    const double product = (double)(bytes / row * row) / seconds;
    *rate = *rate > product ? *rate : product;
    return TN_OK;
}

tn_status tni_bench_measure_limits(const tni_recipe *recipe,
                                   tni_bench_limits *limits, tn_error *err)
{
    static const int64_t shapes[][3] = {
        {1024, 1024, 1024}, {256, 4096, 768}, {512, 2048, 2048}};
    static const int64_t arrays[3] = {16 << 20, 0, 0};
    tni_bench_limits l = {0};
    double seconds;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int64_t *s = shapes[i];
        TN_TRY(time_graph(recipe, describe_gemm, s, BRIEFLY, &seconds, err));
        const double flops =
            2.0 * (double)s[0] * (double)s[1] * (double)s[2] / seconds;
        if (flops <= l.gemm_flops)
            continue;
        l.gemm_flops = flops;
        memcpy(l.gemm_shape, s, sizeof l.gemm_shape);
    }
    TN_TRY(time_graph(recipe, describe_triad, arrays, BRIEFLY, &seconds, err));
    const int64_t real = recipe->precision == TNI_RECIPE_F64 ? 8 : 4;
    l.memory_working_set = 3 * real * arrays[0];
    l.memory_bytes = (double)l.memory_working_set / seconds;
    TN_TRY(time_sums(recipe, LONG_READ, BRIEFLY, &l.read_bytes, err));
    l.read_working_set = LONG_READ;
    *limits = l;
    return TN_OK;
}

/* ---- training ---- */

typedef struct {
    tni_training *training;
    tn_batch batch;
    int64_t step;
} steps;

static tn_status run_step(void *of, tn_error *err)
{
    steps *s = of;
    tni_step_result result;
    const int64_t accum = s->training->recipe->train.grad_accum;
    for (int64_t i = 0; i < accum; i++)
        TN_TRY(
            tni_training_accumulate(s->training, s->step, i, &s->batch, err));
    if (s->training->recipe->group_count)
        TN_TRY(tni_training_update(s->training, s->step, 1e-3, &result, err));
    s->step++;
    return TN_OK;
}

static void fill_batch(const tni_recipe *r, tn_batch *batch)
{
    const int64_t vocab = tni_model_vocab_size(r->model);
    uint32_t x = 1;
    for (int64_t i = 0; i < r->train.batch_size * r->train.seq_len; i++) {
        x = x * 1664525u + 1013904223u;
        batch->tokens[i] = (int32_t)((x >> 8) % vocab);
        batch->targets[i] = (int32_t)((x >> 12) % vocab);
        batch->segments[i] = (int32_t)(i / DOCUMENT_TOKENS);
    }
}

static int slowest_first(const void *a, const void *b)
{
    return shorter(&((const tni_bench_op *)b)->seconds,
                   &((const tni_bench_op *)a)->seconds);
}

/* The row of an op's name. Rows are few; the last one takes what has no room.
 */
static tni_bench_op *row_of(tni_bench_ops *r, const char *name)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (strcmp(r->at[i].name, name) == 0)
            return &r->at[i];
    if (r->count == TNI_BENCH_OPS)
        return &r->at[TNI_BENCH_OPS - 1];
    tni_bench_op *row = &r->at[r->count++];
    *row = (tni_bench_op){.name = name};
    return row;
}

static tn_status add_plan(const tni_session *s, const tn_profile_extension *x,
                          uint32_t plan, double count, tni_bench_ops *result,
                          tn_error *err)
{
    const tn_plan *p = tni_session_get(s, plan);
    double *seconds = calloc(p->node_count + 1u, sizeof *seconds);
    if (!seconds)
        return tn_fail(err, TN_ENOMEM, "no memory for a profile");
    x->read(s->device.device, s->compiled[plan].exec, seconds, p->node_count);
    for (uint32_t i = 0; i < p->node_count; i++) {
        const tn_plan_node *node =
            (const tn_plan_node *)((const char *)p->nodes +
                                   (size_t)i * p->node_stride);
        const tn_op_desc *desc = tni_op_desc(node->op);
        tni_bench_op *row = row_of(result, desc ? desc->name : "custom");
        row->seconds += seconds[i] / count;
        row->flops += node->flops;
        row->bytes += tni_node_bytes(node);
        row->nodes++;
    }
    free(seconds);
    return TN_OK;
}

enum { PROFILED = 5 }; /* runs */

/* Which ops of these plans take how long in a run of `body`, where the backend
 * can tell. */
static tn_status profile(timed body, void *of, const tni_session *s,
                         const uint32_t plans[3], tni_bench_ops *result,
                         tn_error *err)
{
    const tn_backend *backend = s->device.backend;
    const tn_profile_extension *x =
        backend->extension ? backend->extension(s->device.device, "profile/1")
                           : NULL;
    if (!x)
        return TN_OK;
    x->enable(s->device.device, 1);
    for (int i = 0; i < PROFILED; i++)
        TN_TRY(body(of, err));
    for (uint32_t i = 0; i < 3 && plans[i]; i++)
        TN_TRY(add_plan(s, x, plans[i] - 1, PROFILED, result, err));
    x->enable(s->device.device, 0);
    qsort(result->at, result->count, sizeof *result->at, slowest_first);
    return TN_OK;
}

static tn_status profile_train(steps *s, tni_bench_train *result, tn_error *err)
{
    const tni_training *t = s->training;
    uint32_t plans[3] = {t->first + 1}, count = 1; /* + 1; 0: none */
    if (t->recipe->train.grad_accum > 1)
        plans[count++] = t->next + 1;
    if (t->recipe->group_count)
        plans[count] = t->update + 1;
    return profile(run_step, s, t->session, plans, &result->ops, err);
}

static tn_status measure_train(steps *s, tni_bench_train *result, tn_error *err)
{
    const tni_recipe *r = s->training->recipe;
    const double tokens =
        (double)(r->train.batch_size * r->train.seq_len * r->train.grad_accum);
    const double one = (double)(r->train.batch_size * r->train.seq_len);
    double fastest;
    TN_TRY(tni_training_commit(s->training, err));
    TN_TRY(tni_weights_draw(s->training->session, err));
    fill_batch(r, &s->batch);
    TN_TRY(repeat(run_step, s, 2.0, &fastest, &result->step_seconds, err));
    result->flops_per_token =
        s->training->session->compiled[s->training->first].plan->flops / one;
    result->tokens_per_second = tokens / result->step_seconds;
    result->flops = result->tokens_per_second * result->flops_per_token;
    return profile_train(s, result, err);
}

tn_status tni_bench_measure_train(const tni_recipe *recipe,
                                  tni_bench_train *result, tn_error *err)
{
    steps s = {0};
    tni_bench_train measured = {0};
    TN_TRY(tni_training_create(recipe, &s.training, err));
    s.batch = tni_batch_create(recipe);
    const tn_status status =
        s.batch.tokens ? measure_train(&s, &measured, err)
                       : tn_fail(err, TN_ENOMEM, "no memory for a batch");
    tni_batch_destroy(&s.batch);
    tni_training_destroy(s.training);
    if (status == TN_OK)
        *result = measured;
    return status;
}

/* ---- decoding ---- */

/* A token of each sequence; once the cache is half full it stays so. */
static tn_status read_one(void *of, tn_error *err)
{
    tni_decoder *d = of;
    const int64_t half = d->capacity / 2;
    tni_sampler greedy = {.options = {.top_p = 1.0},
                          .vocab_size = d->vocab_size};
    tni_sampler *samplers[TNI_DECODER_ROWS];
    int32_t tokens[TNI_DECODER_ROWS];
    for (int64_t i = 0; i < d->rows; i++) {
        samplers[i] = &greedy;
        tokens[i] = 1;
        if (d->row_position[i] > half)
            d->row_position[i] = half;
    }
    if (d->position > half)
        d->position = half;
    TN_TRY(tni_decoder_read_rows(d, tokens, err));
    return tni_decoder_draw_rows(d, samplers, tokens, err);
}

/* What a token of each sequence reads: weights, once, and what each remembers
 * of `context` tokens. */
static int64_t bytes_of_token(const tni_decoder *d, const tni_recipe *recipe,
                              int64_t context)
{
    uint32_t count;
    int64_t all;
    const tni_state *s = tni_model_states(recipe->model, &count, &all);
    int64_t bytes = tni_model_matrix_bytes(
        recipe->model, d->session->real_bytes, (int)d->session->is_bf16);
    for (uint32_t i = 0; i < count; i++)
        bytes += s[i].bytes_per_token ? s[i].bytes_per_token * d->rows * context
                                      : s[i].bytes;
    return bytes;
}

static tn_status measure_decode(tni_decoder *d, const tni_recipe *recipe,
                                tni_bench_decode *result, tn_error *err)
{
    const int64_t half = d->capacity / 2;
    double fastest, median;
    for (int64_t i = 0; i <= half; i++)
        TN_TRY(read_one(d, err));
    TN_TRY(repeat(read_one, d, 1.0, &fastest, &median, err));
    const int64_t bytes = bytes_of_token(d, recipe, half);
    *result = (tni_bench_decode){.tokens_per_second = (double)d->rows / median,
                                 .bytes = bytes,
                                 .bytes_per_second = (double)bytes / median,
                                 .context = half,
                                 .rows = d->rows};
    const uint32_t plans[3] = {d->rows > 1 ? d->together
                                           : d->plan[TNI_PIECES - 1]};
    return profile(read_one, d, d->session, plans, &result->ops, err);
}

tn_status tni_bench_measure_decode(const tni_recipe *recipe, int64_t rows,
                                   tni_bench_decode *result, tn_error *err)
{
    const int64_t longest = tni_model_max_seq_len(recipe->model);
    tni_decoder *d;
    TN_TRY(tni_decoder_create_rows(recipe, NULL, longest < 512 ? longest : 512,
                                   rows, &d, err));
    const tn_status status = measure_decode(d, recipe, result, err);
    tni_decoder_destroy(d);
    TN_TRY(status);
    const int64_t read = result->bytes < SHORT_READ  ? SHORT_READ
                         : result->bytes > LONG_READ ? LONG_READ
                                                     : result->bytes;
    return time_reading(recipe, read, &result->read_bytes, err);
}
