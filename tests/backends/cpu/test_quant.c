/*
 * test_quant.c - ops on weights in 8 and 4 bits, with AVX2 and AVX-512, few
 * rows and many, against the numbers that the blocks stand for.
 */
#include "bf16.h"
#include "cpu_bench.h"

#include "base/blocks.h"

static const char *const machines[] = {"{threads: 1, vectors: avx2}",
                                       "{threads: 2, vectors: avx2}",
                                       "{threads: 1}", "{threads: 2}"};
enum { MACHINES = 4 };

static const tn_dtype formats[] = {TN_Q8_0, TN_Q4_K};

static void clear(bench *t)
{
    t->used = 0;
    t->in_count = t->out_count = 0;
    t->accumulate = 0;
}

/* Blocks of drawn numbers, as the next input; what they stand for in `says`. */
static void add_weights(bench *t, tn_dtype dtype, uint32_t rank,
                        const int64_t *shape, float *says)
{
    void *blocks = bench_in(t, dtype, rank, shape);
    int64_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        count *= shape[i];
    bench_fill(says, count, 1.0f, 11);
    tni_blocks_encode(dtype, says, count, blocks);
    tni_blocks_decode(dtype, blocks, count, says);
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

/* A row of x in 16 bits is off by a 65534th of the largest of a block in each
 * place; floats add up to another 1e-6 of what they add. */
static double bound(const float *x, const float *w, int64_t K)
{
    double sum = 0.0, most = 0.0, both = 0.0;
    for (int64_t k = 0; k < K; k++) {
        sum += fabs((double)w[k]);
        most = fmax(most, fabs((double)x[k]));
        both += fabs((double)w[k] * (double)x[k]);
    }
    return sum * most / 65534.0 + 2e-6 * both;
}

static void expect_dot(double got, const float *x, const float *w, int64_t K,
                       double before, double half)
{
    double want = before;
    for (int64_t k = 0; k < K; k++)
        want += (double)x[k] * (double)w[k];
    if (fabs(got - want) <= bound(x, w, K) + half * fabs(want))
        return;
    print_error("%g, not %g (bound %g)\n", got, want, bound(x, w, K));
    fail();
}

typedef struct sizes {
    int64_t M, N, K;
} sizes;

/* x (M, K) and y in bf16 where `narrow`, else f32 and added to. */
static void check_product(bench *t, tn_dtype dtype, sizes s, int narrow)
{
    float *x = malloc((size_t)(s.M * s.K) * sizeof *x);
    float *w = malloc((size_t)(s.N * s.K) * sizeof *w);
    clear(t);
    void *in = bench_in(t, narrow ? TN_BF16 : TN_F32, 2, (int64_t[]){s.M, s.K});
    bench_fill(x, s.M * s.K, 2.0f, 5);
    if (narrow)
        round_to_bf16(x, in, s.M * s.K);
    else
        memcpy(in, x, (size_t)(s.M * s.K) * sizeof *x);
    add_weights(t, dtype, 2, (int64_t[]){s.N, s.K}, w);
    turn(t);
    void *y = bench_out(t, narrow ? TN_BF16 : TN_F32, 2, (int64_t[]){s.M, s.N});
    t->accumulate = !narrow;
    for (int64_t i = 0; i < s.M * s.N && !narrow; i++)
        ((float *)y)[i] = 0.5f;
    bench_run(t, TN_OP_MATMUL, NULL);
    for (int64_t i = 0; i < s.M * s.N; i++)
        expect_dot(narrow ? (double)from_bf16(((uint16_t *)y)[i])
                          : (double)((float *)y)[i],
                   x + i / s.N * s.K, w + i % s.N * s.K, s.K,
                   narrow ? 0.0 : 0.5, narrow ? 0x1p-8 : 0.0);
    free(x);
    free(w);
}

static void products_are_those_of_the_numbers(void **state)
{
    static const sizes some[] = {{1, 1, 256},   {1, 300, 512}, {2, 5, 256},
                                 {3, 65, 768},  {4, 7, 256},   {7, 33, 512},
                                 {13, 40, 256}, {70, 97, 512}, {1, 2048, 256}};
    (void)state;
    for (int m = 0; m < MACHINES; m++) {
        bench t;
        bench_open(&t, machines[m]);
        for (size_t i = 0; i < sizeof some / sizeof *some; i++)
            for (int how = 0; how < 4; how++)
                check_product(&t, formats[how & 1], some[i], how >> 1);
        bench_close(&t);
    }
}

/* Rows of 96 are three blocks of 32, rows of 352 eleven. */
static void eight_bits_take_rows_of_any_blocks(void **state)
{
    bench t;
    (void)state;
    bench_open(&t, "{threads: 2}");
    check_product(&t, TN_Q8_0, (sizes){1, 70, 96}, 0);
    check_product(&t, TN_Q8_0, (sizes){20, 70, 32}, 1);
    check_product(&t, TN_Q8_0, (sizes){1, 70, 352}, 1);
    check_product(&t, TN_Q8_0, (sizes){2, 70, 352}, 0);
    bench_close(&t);
}

/* One row of x or two, by more columns than a task has. */
static void threads_do_not_change_bits(void **state)
{
    static const char *const threads[] = {"{threads: 1}", "{threads: 2}",
                                          "{threads: 4}"};
    enum { N = 9001, K = 256 };
    float *w = malloc((size_t)N * K * sizeof *w);
    float *first = malloc((size_t)2 * N * sizeof *first);
    (void)state;
    for (int how = 0; how < 12; how++) {
        const int64_t M = 1 + (how / 3 & 1);
        bench t;
        bench_open(&t, threads[how % 3]);
        bench_fill(bench_in(&t, TN_F32, 2, (int64_t[]){M, K}), M * K, 2.0f, 5);
        add_weights(&t, formats[how / 6], 2, (int64_t[]){N, K}, w);
        turn(&t);
        const float *y = bench_out(&t, TN_F32, 2, (int64_t[]){M, N});
        bench_run(&t, TN_OP_MATMUL, NULL);
        if (how % 3 == 0)
            memcpy(first, y, (size_t)(M * N) * sizeof *y);
        assert_memory_equal(y, first, (size_t)(M * N) * sizeof *y);
        bench_close(&t);
    }
    free(w);
    free(first);
}

/* Heads with matrices of their own: a batch axis on both sides. */
static void batches_meet_their_own_weights(void **state)
{
    enum { B = 3, M = 2, N = 9, K = 256 };
    static float w[B * N * K];
    bench t;
    (void)state;
    bench_open(&t, "{threads: 2}");
    clear(&t);
    float *x = bench_in(&t, TN_F32, 3, (int64_t[]){B, M, K});
    bench_fill(x, B * M * K, 1.0f, 3);
    add_weights(&t, TN_Q4_K, 3, (int64_t[]){B, N, K}, w);
    turn(&t);
    const float *y = bench_out(&t, TN_F32, 3, (int64_t[]){B, M, N});
    bench_run(&t, TN_OP_MATMUL, NULL);
    for (int i = 0; i < B * M * N; i++)
        expect_dot((double)y[i], x + i / N * K, w + (i / N / M * N + i % N) * K,
                   K, 0.0, 0.0);
    bench_close(&t);
}

static void experts_get_their_rows(void **state)
{
    enum { R = 11, E = 4, N = 40, K = 256 };
    static const int32_t ends[E + 1] = {0, 6, 6, 7, R};
    static float w[E * N * K];
    const tn_grouped_matmul_attr attr = {0};
    (void)state;
    for (int m = 0; m < MACHINES; m++) {
        bench t;
        bench_open(&t, machines[m]);
        clear(&t);
        float *x = bench_in(&t, TN_F32, 2, (int64_t[]){R, K});
        bench_fill(x, R * K, 1.0f, 3);
        add_weights(&t, formats[m & 1], 3, (int64_t[]){E, N, K}, w);
        turn(&t);
        int32_t *offsets = bench_in(&t, TN_I32, 1, (int64_t[]){E + 1});
        memcpy(offsets, ends, sizeof ends);
        const float *y = bench_out(&t, TN_F32, 2, (int64_t[]){R, N});
        bench_run(&t, TN_OP_GROUPED_MATMUL, &attr);
        for (int r = 0, e = 0; r < R; r++) {
            while (r >= ends[e + 1])
                e++;
            for (int n = 0; n < N; n++)
                expect_dot((double)y[r * N + n], x + r * K, w + (e * N + n) * K,
                           K, 0.0, 0.0);
        }
        bench_close(&t);
    }
}

static void rows_are_looked_up(void **state)
{
    enum { V = 7, C = 256, T = 4 };
    static const int32_t wanted[T] = {6, -1, 0, 3};
    static const float zeros[C];
    static float table[V * C];
    (void)state;
    for (int how = 0; how < 4; how++) {
        bench t;
        bench_open(&t, machines[2 * (how >> 1)]);
        clear(&t);
        add_weights(&t, formats[how & 1], 2, (int64_t[]){V, C}, table);
        int32_t *index = bench_in(&t, TN_I32, 1, (int64_t[]){T});
        memcpy(index, wanted, sizeof wanted);
        const float *y = bench_out(&t, TN_F32, 2, (int64_t[]){T, C});
        bench_run(&t, TN_OP_GATHER_ROWS, NULL);
        for (int i = 0; i < T; i++)
            tn_assert_close(y + i * C,
                            wanted[i] < 0 ? zeros : table + wanted[i] * C, C, 0,
                            0);
        tn_error err = TN_ERROR_NONE;
        index[2] = V;
        assert_int_equal(bench_try(&t, TN_OP_GATHER_ROWS, NULL, &err),
                         TN_EINVALID);
        tn_assert_error_says(err, "index 7");
        bench_close(&t);
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
        bench_open(&t, "{threads: 2}");
        clear(&t);
        add_weights(&t, formats[how & 1], 2, (int64_t[]){N, K}, w);
        if (how >> 1)
            turn(&t);
        const float *y = bench_out(&t, TN_F32, 2, t.in[0].shape);
        bench_run(&t, TN_OP_COPY, &attr);
        for (int i = 0; i < N * K; i++)
            assert_true(y[how >> 1 ? i % K * N + i / K : i] == w[i]);
        bench_close(&t);
    }
}

/* What is not finite does not become a number. */
static void infinity_is_not_lost(void **state)
{
    bench t;
    (void)state;
    bench_open(&t, "{threads: 1}");
    for (int how = 0; how < 2; how++) {
        static float w[256];
        clear(&t);
        float *x = bench_in(&t, TN_F32, 2, (int64_t[]){1, 256});
        bench_fill(x, 256, 1.0f, 5);
        x[200] = how ? INFINITY : NAN;
        add_weights(&t, TN_Q8_0, 2, (int64_t[]){1, 256}, w);
        turn(&t);
        const float *y = bench_out(&t, TN_F32, 2, (int64_t[]){1, 1});
        bench_run(&t, TN_OP_MATMUL, NULL);
        assert_true(!isfinite(y[0]));
    }
    bench_close(&t);
}

static void blocks_across_the_sum_are_refused(void **state)
{
    static float w[256 * 256];
    bench t;
    tn_error err = TN_ERROR_NONE;
    (void)state;
    bench_open(&t, "{threads: 1}");
    clear(&t);
    bench_in(&t, TN_F32, 2, (int64_t[]){1, 256});
    add_weights(&t, TN_Q4_K, 2, (int64_t[]){256, 256}, w);
    bench_out(&t, TN_F32, 2, (int64_t[]){1, 256});
    assert_int_equal(bench_try(&t, TN_OP_MATMUL, NULL, &err), TN_EUNSUPPORTED);
    tn_assert_error_says(err, "whole blocks of 256");
    bench_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_the_numbers),
        cmocka_unit_test(eight_bits_take_rows_of_any_blocks),
        cmocka_unit_test(threads_do_not_change_bits),
        cmocka_unit_test(batches_meet_their_own_weights),
        cmocka_unit_test(experts_get_their_rows),
        cmocka_unit_test(rows_are_looked_up),
        cmocka_unit_test(a_copy_is_the_numbers),
        cmocka_unit_test(infinity_is_not_lost),
        cmocka_unit_test(blocks_across_the_sum_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
