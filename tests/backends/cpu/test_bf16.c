/*
 * test_bf16.c - products of bf16 numbers, widened and in pairs, in every
 * orientation and at sizes around those of panels and blocks.
 */
#include "cpu_bench.h"

typedef struct sizes {
    int64_t M, N, K;
} sizes;

static const sizes some[] = {
    {5, 7, 3},      {8, 48, 16},   {9, 49, 17},  {64, 40, 31},
    {130, 100, 64}, {70, 97, 515}, {3, 130, 70}, {33, 16, 1030},
};

static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static double from_bf16(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static uint16_t *add_matrix(bench *t, int64_t rows, int64_t columns, int turned,
                            uint32_t seed)
{
    const int64_t count = rows * columns;
    float *drawn = malloc((size_t)count * sizeof *drawn);
    uint16_t *x = bench_in(t, TN_BF16, 2, (int64_t[]){rows, columns});
    tn_operand *o = &t->in[t->in_count - 1];
    bench_fill(drawn, count, 1.0f, seed);
    for (int64_t i = 0; i < count; i++)
        x[i] = to_bf16(drawn[i]);
    free(drawn);
    if (turned) {
        o->stride[0] = 1;
        o->stride[1] = rows;
    }
    return x;
}

static double at(const bench *t, uint32_t i, const uint16_t *x, int64_t row,
                 int64_t column)
{
    return from_bf16(x[row * t->in[i].stride[0] + column * t->in[i].stride[1]]);
}

/* how: bit 0 and 1 turn a and b, bit 2: the result is bf16, else it is added
 * to what is there. */
static void check(bench *t, const char *options, sizes s, int how)
{
    t->used = 0;
    t->in_count = t->out_count = 0;
    const uint16_t *a = add_matrix(t, s.M, s.K, how & 1, 1);
    const uint16_t *b = add_matrix(t, s.K, s.N, how >> 1 & 1, 2);
    const int narrow = how >> 2;
    void *y = bench_out(t, narrow ? TN_BF16 : TN_F32, 2, (int64_t[]){s.M, s.N});
    t->accumulate = !narrow;
    for (int64_t i = 0; i < s.M * s.N && !narrow; i++)
        ((float *)y)[i] = 0.5f;
    bench_run(t, TN_OP_MATMUL, NULL);
    for (int64_t i = 0; i < s.M; i++)
        for (int64_t j = 0; j < s.N; j++) {
            double want = narrow ? 0.0 : 0.5, got;
            for (int64_t k = 0; k < s.K; k++)
                want += at(t, 0, a, i, k) * at(t, 1, b, k, j);
            got = narrow ? from_bf16(((uint16_t *)y)[i * s.N + j])
                         : (double)((float *)y)[i * s.N + j];
            const double off =
                1e-6 * (double)s.K + (narrow ? 0x1p-8 * fabs(want) : 0.0);
            if (!(fabs(got - want) <= off)) {
                print_error("%s, %lld x %lld x %lld, way %d: [%lld, %lld] is "
                            "%g, not %g\n",
                            options, (long long)s.M, (long long)s.N,
                            (long long)s.K, how, (long long)i, (long long)j,
                            got, want);
                fail();
            }
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

static void widened_products_are_products(void **state)
{
    (void)state;
    check_all("{threads: 2, bf16: widened}");
    check_all("{threads: 2, vectors: avx2}");
}

static void products_of_pairs_are_products(void **state)
{
    (void)state;
    if (!bench_has_avx512() || !__builtin_cpu_supports("avx512bf16")) {
        print_message("this machine has no AVX512_BF16\n");
        skip();
    }
    check_all("{threads: 2, bf16: pairs}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widened_products_are_products),
        cmocka_unit_test(products_of_pairs_are_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
