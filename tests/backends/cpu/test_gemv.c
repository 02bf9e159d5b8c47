/*
 * test_gemv.c - a few rows times a matrix: the right numbers, and for each row
 * the same bits in whatever company it comes.
 */
#include "bf16.h"
#include "cpu_bench.h"

typedef struct sizes {
    int64_t N, K;
} sizes;

static const sizes some[] = {{1, 1}, {5, 3}, {67, 64}, {130, 515}, {3, 4096}};
enum { MOST = 8, SIZES = sizeof some / sizeof *some };

/* The next input, in f32 or rounded to bf16; its numbers in `says`. */
static void add_input(bench *t, tn_dtype dtype, int64_t rows, int64_t columns,
                      uint32_t seed, float *says)
{
    void *at = bench_in(t, dtype, 2, (int64_t[]){rows, columns});
    bench_fill(says, rows * columns, 1.0f, seed);
    if (dtype == TN_F32)
        memcpy(at, says, (size_t)(rows * columns) * sizeof *says);
    else
        round_to_bf16(says, at, rows * columns);
}

/* x (M, K) by w (N, K) turned, in `dtype`, to f32. */
static const float *multiply(bench *t, tn_dtype dtype, int64_t M, sizes s,
                             float *x, float *w)
{
    t->used = 0;
    t->in_count = t->out_count = 0;
    add_input(t, dtype, M, s.K, 3, x);
    add_input(t, dtype, s.N, s.K, 4, w);
    tn_operand *o = &t->in[1];
    o->shape[0] = s.K;
    o->shape[1] = s.N;
    o->stride[0] = 1;
    o->stride[1] = s.K;
    const float *y = bench_out(t, TN_F32, 2, (int64_t[]){M, s.N});
    bench_run(t, TN_OP_MATMUL, NULL);
    return y;
}

static void expect_products(const float *y, const float *x, const float *w,
                            int64_t M, sizes s)
{
    for (int64_t i = 0; i < M * s.N; i++) {
        double want = 0.0, size = 0.0;
        for (int64_t k = 0; k < s.K; k++) {
            const double both =
                (double)x[i / s.N * s.K + k] * (double)w[i % s.N * s.K + k];
            want += both;
            size += fabs(both);
        }
        assert_true(fabs((double)y[i] - want) <= 1e-6 * size);
    }
}

static void check(bench *t, tn_dtype dtype, sizes s)
{
    float *x = malloc((size_t)(MOST * s.K) * sizeof *x);
    float *w = malloc((size_t)(s.N * s.K) * sizeof *w);
    float *alone = malloc((size_t)s.N * sizeof *alone);
    for (int64_t M = 1; M <= MOST; M++) {
        const float *y = multiply(t, dtype, M, s, x, w);
        expect_products(y, x, w, M, s);
        if (M == 1)
            memcpy(alone, y, (size_t)s.N * sizeof *y);
        assert_memory_equal(y, alone, (size_t)s.N * sizeof *y);
    }
    free(x);
    free(w);
    free(alone);
}

static void each_row_is_what_it_is_alone(void **state)
{
    static const char *const machines[] = {"{threads: 1, vectors: avx2}",
                                           "{threads: 2}"};
    (void)state;
    for (int m = 0; m < 2; m++) {
        bench t;
        bench_open(&t, machines[m]);
        for (int i = 0; i < SIZES; i++) {
            check(&t, TN_F32, some[i]);
            check(&t, TN_BF16, some[i]);
        }
        bench_close(&t);
    }
}

/* Keys of one head: rows with those of other heads between them. */
static void rows_may_lie_apart(void **state)
{
    enum { N = 77, K = 48, PITCH = 200 };
    static const char *const machines[] = {"{threads: 1, vectors: avx2}",
                                           "{threads: 1}"};
    (void)state;
    for (int m = 0; m < 4; m++) {
        const tn_dtype dtype = m & 1 ? TN_BF16 : TN_F32;
        static float x[MOST * K], w[N * PITCH];
        float dense[N * K];
        bench t;
        bench_open(&t, machines[m >> 1]);
        for (int64_t M = 1; M <= MOST; M++) {
            t.used = 0;
            t.in_count = t.out_count = 0;
            add_input(&t, dtype, M, K, 3, x);
            add_input(&t, dtype, N, PITCH, 4, w);
            for (int64_t n = 0; n < N; n++)
                memcpy(dense + n * K, w + n * PITCH, K * sizeof *w);
            tn_operand *o = &t.in[1];
            o->shape[0] = K;
            o->shape[1] = N;
            o->stride[0] = 1;
            o->stride[1] = PITCH;
            const float *y = bench_out(&t, TN_F32, 2, (int64_t[]){M, N});
            bench_run(&t, TN_OP_MATMUL, NULL);
            expect_products(y, x, dense, M, (sizes){N, K});
        }
        bench_close(&t);
    }
}

/* However the columns are shared out. */
static void threads_do_not_change_bits(void **state)
{
    static const char *const machines[] = {"{threads: 1}", "{threads: 2}",
                                           "{threads: 4}"};
    enum { N = 515, K = 640 };
    static float x[MOST * K], w[N * K], first[2][MOST * N];
    (void)state;
    for (int m = 0; m < 6; m++) {
        const tn_dtype dtype = m & 1 ? TN_BF16 : TN_F32;
        bench t;
        bench_open(&t, machines[m >> 1]);
        const float *y = multiply(&t, dtype, 2, (sizes){N, K}, x, w);
        if (m < 2)
            memcpy(first[m], y, 2 * N * sizeof *y);
        assert_memory_equal(y, first[m & 1], 2 * N * sizeof *y);
        bench_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_is_what_it_is_alone),
        cmocka_unit_test(rows_may_lie_apart),
        cmocka_unit_test(threads_do_not_change_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
