/*
 * test_gemm.c - products of floats in every orientation, at sizes around those
 * of panels, stretches and blocks, against sums in double.
 */
#include "cpu_bits.h"

typedef struct sizes {
    int64_t M, N, K;
} sizes;

/* few rows by many columns are computed turned; lines of 512 numbers are
 * copied where others are read in place */
static const sizes some[] = {
    {5, 7, 3},      {6, 16, 8},    {8, 48, 16},    {9, 49, 17},
    {13, 331, 519}, {192, 200, 9}, {203, 331, 33}, {40, 30, 1030},
    {512, 50, 20},  {33, 512, 12}, {530, 90, 70},  {7, 1000, 64},
};

static float *add_matrix(bench *t, int64_t rows, int64_t columns, int turned,
                         uint32_t seed)
{
    float *x = bench_in(t, TN_F32, 2, (int64_t[]){rows, columns});
    tn_operand *o = &t->in[t->in_count - 1];
    bench_fill(x, rows * columns, 1.0f, seed);
    if (turned) {
        o->stride[0] = 1;
        o->stride[1] = rows;
    }
    return x;
}

static double number(const bench *t, uint32_t i, const float *x, int64_t row,
                     int64_t column)
{
    const int64_t *stride = t->in[i].stride;
    return (double)x[row * stride[0] + column * stride[1]];
}

/* how: bit 0 and 1 turn a and b, bit 2: it is added to what is there. */
static float *multiply(bench *t, sizes s, int how)
{
    t->used = 0;
    t->in_count = t->out_count = 0;
    add_matrix(t, s.M, s.K, how & 1, 1);
    add_matrix(t, s.K, s.N, how >> 1 & 1, 2);
    float *y = bench_out(t, TN_F32, 2, (int64_t[]){s.M, s.N});
    t->accumulate = (uint32_t)how >> 2;
    for (int64_t i = 0; i < s.M * s.N; i++)
        y[i] = 0.5f;
    bench_run(t, TN_OP_MATMUL, NULL);
    return y;
}

static void check(bench *t, const char *options, sizes s, int how)
{
    const float *y = multiply(t, s, how);
    const float *a = (const float *)(void *)(t->memory + t->in[0].offset);
    const float *b = (const float *)(void *)(t->memory + t->in[1].offset);
    /* every row of a panel, not every panel */
    const int64_t step = s.M > 64 ? 7 : 1;
    for (int64_t i = 0; i < s.M; i += step)
        for (int64_t j = 0; j < s.N; j++) {
            double want = how >> 2 ? 0.5 : 0.0;
            for (int64_t k = 0; k < s.K; k++)
                want += number(t, 0, a, i, k) * number(t, 1, b, k, j);
            const double got = (double)y[i * s.N + j];
            if (fabs(got - want) <= 2e-7 * (double)s.K + 1e-6)
                continue;
            print_error("%s, %lld x %lld x %lld, way %d: [%lld, %lld] is %g, "
                        "not %g\n",
                        options, (long long)s.M, (long long)s.N, (long long)s.K,
                        how, (long long)i, (long long)j, got, want);
            fail();
        }
}

static void check_all(const char *options)
{
    bench t;
    bench_open(&t, options);
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        for (int how = 0; how < 8; how++)
            check(&t, options, some[i], how);
    bench_close(&t);
}

static void products_are_products_in_every_orientation(void **state)
{
    (void)state;
    check_all("{threads: 2}");
    check_all("{threads: 3, vectors: avx2}");
}

/* Row i of a product of many rows, and of one of few, which is computed the
 * other way round. */
static void a_row_has_the_same_bits_among_many_and_few(void **state)
{
    (void)state;
    enum { N = 300, K = 1100, MANY = 201, FEW = 10 };
    bench many, few;
    bench_open(&many, "{threads: 2}");
    bench_open(&few, "{threads: 1}");
    const float *y = multiply(&many, (sizes){MANY, N, K}, 2);
    const float *z = multiply(&few, (sizes){FEW, N, K}, 2);
    assert_memory_equal(y, z, FEW * N * sizeof *y);
    bench_close(&few);
    bench_close(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_products_in_every_orientation),
        cmocka_unit_test(a_row_has_the_same_bits_among_many_and_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
