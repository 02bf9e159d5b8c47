/*
 * test_quant.c - ops on weights in 8 and 4 bits, few rows and many, against the
 * numbers that the blocks stand for. One node at a time, made by hand: a mirror
 * of its arena is filled, sent, and brought back.
 */
#include "bf16.h"
#include "cuda_device.h"

#include <math.h>

#include "base/blocks.h"

enum { ARENA_BYTES = 8 << 20, MOST = 4 };

typedef struct bench {
    tn_buffer *buffer;
    char *mirror;
    int64_t used;
    tn_operand in[MOST], out[MOST];
    uint32_t in_count, out_count, accumulate;
} bench;

static tn_rig *rig;
static const tn_dtype formats[] = {TN_Q8_0, TN_Q4_K};

static void open_bench(bench *t)
{
    tn_error err = TN_ERROR_NONE;
    *t = (bench){.mirror = calloc(1, ARENA_BYTES)};
    assert_non_null(t->mirror);
    tn_assert_ok_err(
        rig->backend->alloc(rig->device, ARENA_BYTES, &t->buffer, &err), err);
}

static void close_bench(bench *t)
{
    rig->backend->free(rig->device, t->buffer);
    free(t->mirror);
}

static void *place(bench *t, tn_operand *o, tn_dtype dtype, uint32_t rank,
                   const int64_t *shape)
{
    int64_t count = 1;
    *o = (tn_operand){.arena = TN_ARENA_TRANSIENT,
                      .dtype = dtype,
                      .rank = rank,
                      .offset = t->used};
    for (uint32_t i = rank; i-- > 0;) {
        o->shape[i] = shape[i];
        o->stride[i] = count;
        count *= shape[i];
    }
    t->used += (tn_dtype_span(dtype, count) + 255) / 256 * 256;
    assert_true(t->used <= ARENA_BYTES);
    return t->mirror + o->offset;
}

static void *add_in(bench *t, tn_dtype dtype, uint32_t rank,
                    const int64_t *shape)
{
    return place(t, &t->in[t->in_count++], dtype, rank, shape);
}

static void *add_out(bench *t, tn_dtype dtype, uint32_t rank,
                     const int64_t *shape)
{
    return place(t, &t->out[t->out_count++], dtype, rank, shape);
}

/* The last two axes of the last input change places. */
static void turn(bench *t)
{
    tn_operand *o = &t->in[t->in_count - 1];
    const uint32_t r = o->rank;
    const int64_t size = o->shape[r - 1], stride = o->stride[r - 1];
    o->shape[r - 1] = o->shape[r - 2];
    o->stride[r - 1] = o->stride[r - 2];
    o->shape[r - 2] = size;
    o->stride[r - 2] = stride;
}

static tn_status run_node(bench *t, tn_op op, const void *attr, tn_error *err)
{
    const tn_plan_node node = {.struct_size = sizeof node,
                               .op = op,
                               .name = "op",
                               .attr = attr,
                               .in = t->in,
                               .out = t->out,
                               .in_count = t->in_count,
                               .out_count = t->out_count,
                               .accumulate = t->accumulate,
                               .file = "here.c",
                               .line = 7};
    const tn_plan_segment segment = {0, 1};
    const tn_plan plan = {.struct_size = sizeof plan,
                          .node_count = 1,
                          .node_stride = sizeof node,
                          .segment_count = 1,
                          .name = "bench",
                          .nodes = &node,
                          .segments = &segment};
    tn_buffer *arenas[TN_ARENA_COUNT] = {[TN_ARENA_TRANSIENT] = t->buffer};
    const tn_backend *b = rig->backend;
    tn_exec *exec = NULL;
    TN_TRY(b->upload(rig->device, t->buffer, 0, t->mirror, t->used, err));
    TN_TRY(b->compile(rig->device, &plan, arenas, &exec, err));
    tn_status status = b->run(rig->device, exec, 0, err);
    if (status == TN_OK)
        status = b->wait(rig->device, err);
    if (status == TN_OK)
        status =
            b->download(rig->device, t->mirror, t->buffer, 0, t->used, err);
    b->exec_free(rig->device, exec);
    return status;
}

static void must_run(bench *t, tn_op op, const void *attr)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(run_node(t, op, attr, &err), err);
}

static void draw(float *x, int64_t count, uint32_t seed)
{
    uint32_t word = seed * 2654435761u + 12345u;
    for (int64_t i = 0; i < count; i++) {
        word = word * 1664525u + 1013904223u;
        x[i] = (float)(word >> 8) * 0x1p-23f - 1.0f;
    }
}

/* Blocks of drawn numbers, as the next input; what they stand for in `says`. */
static void add_weights(bench *t, tn_dtype dtype, uint32_t rank,
                        const int64_t *shape, float *says)
{
    void *blocks = add_in(t, dtype, rank, shape);
    int64_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        count *= shape[i];
    draw(says, count, 11);
    tni_blocks_encode(dtype, says, count, blocks);
    tni_blocks_decode(dtype, blocks, count, says);
}

/* Sums in F32 are off by a share of what is added, results in BF16 by `half` of
 * themselves. */
static void expect_dot(double got, const float *x, const float *w, int64_t K,
                       double before, double half)
{
    double want = before, size = fabs(before);
    for (int64_t k = 0; k < K; k++) {
        want += (double)x[k] * (double)w[k];
        size += fabs((double)x[k] * (double)w[k]);
    }
    if (fabs(got - want) <= 2e-6 * size + half * fabs(want))
        return;
    print_error("%g, not %g\n", got, want);
    fail();
}

/* ---- products ---- */

typedef struct sizes {
    int64_t M, N, K;
} sizes;

/* x (M, K), which lies the other way where `turned`, and y in bf16 where
 * `narrow`, else f32 and added to. */
static void check_product(tn_dtype dtype, sizes s, int narrow, int turned)
{
    bench t;
    open_bench(&t);
    float *x = malloc((size_t)(s.M * s.K) * sizeof *x);
    float *w = malloc((size_t)(s.N * s.K) * sizeof *w);
    void *in = add_in(&t, narrow ? TN_BF16 : TN_F32, 2,
                      turned ? (int64_t[]){s.K, s.M} : (int64_t[]){s.M, s.K});
    draw(x, s.M * s.K, 5);
    if (narrow)
        round_to_bf16(x, in, s.M * s.K);
    for (int64_t i = 0; i < s.M * s.K && !narrow; i++)
        ((float *)in)[turned ? i % s.K * s.M + i / s.K : i] = x[i];
    if (turned)
        turn(&t);
    add_weights(&t, dtype, 2, (int64_t[]){s.N, s.K}, w);
    turn(&t);
    for (int64_t i = 0; i < s.N * s.K && narrow && s.M > 8; i++)
        w[i] = from_bf16(to_bf16(w[i])); /* as the other operand is */
    void *y = add_out(&t, narrow ? TN_BF16 : TN_F32, 2, (int64_t[]){s.M, s.N});
    t.accumulate = !narrow;
    for (int64_t i = 0; i < s.M * s.N && !narrow; i++)
        ((float *)y)[i] = 0.5f;
    must_run(&t, TN_OP_MATMUL, NULL);
    for (int64_t i = 0; i < s.M * s.N; i++)
        expect_dot(narrow ? (double)from_bf16(((uint16_t *)y)[i])
                          : (double)((float *)y)[i],
                   x + i / s.N * s.K, w + i % s.N * s.K, s.K,
                   narrow ? 0.0 : 0.5, narrow ? 0x1p-8 : 0.0);
    free(x);
    free(w);
    close_bench(&t);
}

static void products_are_those_of_the_numbers(void **state)
{
    static const sizes some[] = {{1, 1, 256},  {1, 33, 512},  {2, 5, 256},
                                 {3, 18, 768}, {8, 17, 256},  {9, 40, 256},
                                 {13, 7, 512}, {1, 70, 2048}, {70, 97, 256}};
    (void)state;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        for (int how = 0; how < 4; how++)
            check_product(formats[how & 1], some[i], how >> 1, 0);
}

/* Rows of 96 are three blocks of 32. */
static void eight_bits_take_rows_of_any_blocks(void **state)
{
    (void)state;
    check_product(TN_Q8_0, (sizes){1, 35, 96}, 0, 0);
    check_product(TN_Q8_0, (sizes){20, 35, 32}, 1, 0);
}

static void rows_may_lie_the_other_way(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        check_product(formats[how], (sizes){3, 18, 256}, 0, 1);
        check_product(formats[how], (sizes){12, 18, 256}, 0, 1);
    }
}

/* Heads with matrices of their own: a batch axis on both sides. */
static void batches_meet_their_own_weights(void **state)
{
    enum { B = 3, N = 9, K = 256 };
    static float w[B * N * K];
    (void)state;
    for (int M = 2; M <= 11; M += 9) {
        bench t;
        open_bench(&t);
        float *x = add_in(&t, TN_F32, 3, (int64_t[]){B, M, K});
        draw(x, B * M * K, 3);
        add_weights(&t, TN_Q4_K, 3, (int64_t[]){B, N, K}, w);
        turn(&t);
        const float *y = add_out(&t, TN_F32, 3, (int64_t[]){B, M, N});
        must_run(&t, TN_OP_MATMUL, NULL);
        for (int i = 0; i < B * M * N; i++)
            expect_dot((double)y[i], x + i / N * K,
                       w + (i / N / M * N + i % N) * K, K, 0.0, 0.0);
        close_bench(&t);
    }
}

/* A few rows go to their experts' blocks, many to their numbers. */
static void experts_get_their_rows(void **state)
{
    enum { E = 4, N = 40, K = 256, MOST_ROWS = 90 };
    static const int32_t ends[2][E + 1] = {{0, 6, 6, 7, 11},
                                           {0, 50, 50, 80, MOST_ROWS}};
    static float w[E * N * K];
    const tn_grouped_matmul_attr attr = {0};
    (void)state;
    for (int how = 0; how < 4; how++) {
        const int32_t *end = ends[how >> 1];
        bench t;
        open_bench(&t);
        float *x = add_in(&t, TN_F32, 2, (int64_t[]){end[E], K});
        draw(x, end[E] * K, 3);
        add_weights(&t, formats[how & 1], 3, (int64_t[]){E, N, K}, w);
        turn(&t);
        int32_t *offsets = add_in(&t, TN_I32, 1, (int64_t[]){E + 1});
        memcpy(offsets, end, sizeof ends[0]);
        const float *y = add_out(&t, TN_F32, 2, (int64_t[]){end[E], N});
        must_run(&t, TN_OP_GROUPED_MATMUL, &attr);
        for (int r = 0, e = 0; r < end[E]; r++) {
            while (r >= end[e + 1])
                e++;
            for (int n = 0; n < N; n++)
                expect_dot((double)y[r * N + n], x + r * K, w + (e * N + n) * K,
                           K, 0.0, 0.0);
        }
        close_bench(&t);
    }
}

/* What is not finite does not become a number. */
static void infinity_is_not_lost(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        static float w[256];
        bench t;
        open_bench(&t);
        float *x = add_in(&t, TN_F32, 2, (int64_t[]){1, 256});
        draw(x, 256, 5);
        x[200] = how & 1 ? INFINITY : NAN;
        add_weights(&t, formats[how >> 1], 2, (int64_t[]){1, 256}, w);
        turn(&t);
        const float *y = add_out(&t, TN_F32, 2, (int64_t[]){1, 1});
        must_run(&t, TN_OP_MATMUL, NULL);
        assert_true(!isfinite(y[0]));
        close_bench(&t);
    }
}

static void blocks_across_the_sum_are_refused(void **state)
{
    static float w[256 * 256];
    bench t;
    tn_error err = TN_ERROR_NONE;
    (void)state;
    open_bench(&t);
    add_in(&t, TN_F32, 2, (int64_t[]){1, 256});
    add_weights(&t, TN_Q4_K, 2, (int64_t[]){256, 256}, w);
    add_out(&t, TN_F32, 2, (int64_t[]){1, 256});
    assert_int_equal(run_node(&t, TN_OP_MATMUL, NULL, &err), TN_EUNSUPPORTED);
    tn_assert_error_says(err, "whole blocks of 256");
    tn_assert_error_says(err, "here.c:7");
    close_bench(&t);
}

/* ---- numbers ---- */

static void rows_are_looked_up(void **state)
{
    enum { V = 7, C = 256, T = 4 };
    static const int32_t wanted[T] = {6, -1, 0, 3};
    static const float zeros[C];
    static float table[V * C];
    (void)state;
    for (int how = 0; how < 4; how++) {
        bench t;
        open_bench(&t);
        add_weights(&t, formats[how & 1], 2, (int64_t[]){V, C}, table);
        int32_t *index = add_in(&t, TN_I32, 1, (int64_t[]){T});
        memcpy(index, wanted, sizeof wanted);
        const void *y =
            add_out(&t, how >> 1 ? TN_BF16 : TN_F32, 2, (int64_t[]){T, C});
        must_run(&t, TN_OP_GATHER_ROWS, NULL);
        for (int i = 0; i < T; i++) {
            const float *want = wanted[i] < 0 ? zeros : table + wanted[i] * C;
            for (int k = 0; k < C; k++)
                if (how >> 1)
                    assert_true(fabs((double)from_bf16(
                                         ((const uint16_t *)y)[i * C + k]) -
                                     (double)want[k]) <=
                                0x1p-8 * fabs((double)want[k]));
                else
                    assert_true(((const float *)y)[i * C + k] == want[k]);
        }
        tn_error err = TN_ERROR_NONE;
        index[2] = V;
        assert_int_equal(run_node(&t, TN_OP_GATHER_ROWS, NULL, &err),
                         TN_EINVALID);
        tn_assert_error_says(err, "the index 7");
        close_bench(&t);
    }
}

static void a_copy_is_the_numbers(void **state)
{
    enum { N = 6, K = 512 };
    static float w[N * K];
    const tn_copy_attr attr = {.dtype = TN_F32};
    (void)state;
    for (int how = 0; how < 4; how++) {
        bench t;
        open_bench(&t);
        add_weights(&t, formats[how & 1], 2, (int64_t[]){N, K}, w);
        if (how >> 1)
            turn(&t);
        const float *y = add_out(&t, TN_F32, 2, t.in[0].shape);
        must_run(&t, TN_OP_COPY, &attr);
        for (int i = 0; i < N * K; i++)
            assert_true(y[how >> 1 ? i % K * N + i / K : i] == w[i]);
        close_bench(&t);
    }
}

/* Scales of every kind: none, tiny (an f16 without its leading 1), negative
 * numbers, and the largest. */
static void scales_of_every_size_are_read(void **state)
{
    enum { K = 256, N = 5 };
    static const float scale[N] = {0.0f, 3e-6f, 1e-4f, 1.0f, 3000.0f};
    static float w[N * K];
    const tn_copy_attr attr = {.dtype = TN_F32};
    (void)state;
    for (int how = 0; how < 2; how++) {
        bench t;
        open_bench(&t);
        void *blocks = add_in(&t, formats[how], 2, (int64_t[]){N, K});
        draw(w, N * K, 9);
        for (int i = 0; i < N * K; i++)
            w[i] *= scale[i / K];
        tni_blocks_encode(formats[how], w, N * K, blocks);
        tni_blocks_decode(formats[how], blocks, N * K, w);
        const float *y = add_out(&t, TN_F32, 2, t.in[0].shape);
        must_run(&t, TN_OP_COPY, &attr);
        for (int i = 0; i < N * K; i++)
            assert_true(y[i] == w[i]);
        close_bench(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_the_numbers),
        cmocka_unit_test(eight_bits_take_rows_of_any_blocks),
        cmocka_unit_test(rows_may_lie_the_other_way),
        cmocka_unit_test(batches_meet_their_own_weights),
        cmocka_unit_test(experts_get_their_rows),
        cmocka_unit_test(infinity_is_not_lost),
        cmocka_unit_test(blocks_across_the_sum_are_refused),
        cmocka_unit_test(rows_are_looked_up),
        cmocka_unit_test(a_copy_is_the_numbers),
        cmocka_unit_test(scales_of_every_size_are_read),
    };
    if (!cuda_can_run())
        return 0;
    rig = tn_rig_open("cuda", "{cache: false}");
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tn_rig_close(rig);
    return failed;
}
