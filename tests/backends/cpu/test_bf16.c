/*
 * test_bf16.c - products of bf16 numbers, widened, in pairs and as integers, in
 * every orientation and at sizes around those of panels and blocks.
 */
#include "bf16.h"
#include "cpu_bench.h"

typedef struct sizes {
    int64_t M, N, K;
} sizes;

static const sizes some[] = {
    {5, 7, 3},      {8, 48, 16},   {9, 49, 17},  {64, 40, 31},
    {130, 100, 64}, {70, 97, 515}, {3, 130, 70}, {33, 16, 1030},
};

typedef float *filled(float *to, int64_t rows, int64_t columns, uint32_t seed);

static float *with_drawn(float *to, int64_t rows, int64_t columns,
                         uint32_t seed)
{
    bench_fill(to, rows * columns, 1.0f, seed);
    return to;
}

static uint16_t *add_matrix(bench *t, filled *fill, int64_t rows,
                            int64_t columns, int turned, uint32_t seed)
{
    const int64_t count = rows * columns;
    float *drawn = malloc((size_t)count * sizeof *drawn);
    uint16_t *x = bench_in(t, TN_BF16, 2, (int64_t[]){rows, columns});
    tn_operand *o = &t->in[t->in_count - 1];
    fill(drawn, rows, columns, seed);
    if (turned) {
        o->stride[0] = 1;
        o->stride[1] = rows;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            x[i * o->stride[0] + j * o->stride[1]] =
                to_bf16(drawn[i * columns + j]);
    free(drawn);
    return x;
}

static double at(const bench *t, uint32_t i, int64_t row, int64_t column)
{
    const tn_operand *o = &t->in[i];
    const uint16_t *x = (const uint16_t *)(void *)(t->memory + o->offset);
    return (double)from_bf16(x[row * o->stride[0] + column * o->stride[1]]);
}

/* how: bit 0 and 1 turn a and b, bit 2: the result is bf16, else it is added
 * to what is there. */
static void *multiply(bench *t, filled *fill, sizes s, int how)
{
    const int narrow = how >> 2;
    t->used = 0;
    t->in_count = t->out_count = 0;
    add_matrix(t, fill, s.M, s.K, how & 1, 1);
    add_matrix(t, fill, s.K, s.N, how >> 1 & 1, 2);
    void *y = bench_out(t, narrow ? TN_BF16 : TN_F32, 2, (int64_t[]){s.M, s.N});
    t->accumulate = !narrow;
    for (int64_t i = 0; i < s.M * s.N && !narrow; i++)
        ((float *)y)[i] = 0.5f;
    bench_run(t, TN_OP_MATMUL, NULL);
    return y;
}

/* What an element may be off. */
typedef double bound(const bench *t, int64_t K, int64_t i, int64_t j);

static double of_floats(const bench *t, int64_t K, int64_t i, int64_t j)
{
    (void)t, (void)i, (void)j;
    return 1e-6 * (double)K;
}

/* A unit of a line of integers, of at most 512, is at most 2^-14 of its length
 * (and a half per cent); numbers are off by half of it. */
static double of_integers(const bench *t, int64_t K, int64_t i, int64_t j)
{
    double off = 1e-6 * (double)K;
    for (int64_t from = 0; from < K; from += 512) {
        double aa = 0.0, bb = 0.0, a = 0.0, b = 0.0;
        const int64_t end = from + 512 < K ? from + 512 : K;
        for (int64_t k = from; k < end; k++) {
            const double x = at(t, 0, i, k), y = at(t, 1, k, j);
            aa += x * x;
            bb += y * y;
            a += fabs(x);
            b += fabs(y);
        }
        off += 1.005 * 0x1p-15 * (sqrt(aa) * b + sqrt(bb) * a) +
               0x1p-29 * sqrt(aa * bb) * (double)(end - from);
    }
    return off;
}

static void check(bench *t, filled *fill, bound *allowed, const char *options,
                  sizes s, int how)
{
    const int narrow = how >> 2;
    const void *y = multiply(t, fill, s, how);
    for (int64_t i = 0; i < s.M; i++)
        for (int64_t j = 0; j < s.N; j++) {
            double want = narrow ? 0.0 : 0.5, got;
            for (int64_t k = 0; k < s.K; k++)
                want += at(t, 0, i, k) * at(t, 1, k, j);
            got = narrow ? (double)from_bf16(((const uint16_t *)y)[i * s.N + j])
                         : (double)((const float *)y)[i * s.N + j];
            const double off =
                allowed(t, s.K, i, j) + (narrow ? 0x1p-8 * fabs(want) : 0.0);
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

static void check_all(filled *fill, bound *allowed, const char *options)
{
    bench t;
    bench_open(&t, options);
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        for (int how = 0; how < 8; how++)
            check(&t, fill, allowed, options, some[i], how);
    bench_close(&t);
}

static void widened_products_are_products(void **state)
{
    (void)state;
    check_all(with_drawn, of_floats, "{threads: 2, bf16: widened}");
    check_all(with_drawn, of_floats,
              "{threads: 2, bf16: widened, vectors: avx2}");
}

static void products_of_pairs_are_products(void **state)
{
    (void)state;
    if (!bench_has_avx512() || !__builtin_cpu_supports("avx512bf16")) {
        print_message("this machine has no AVX512_BF16\n");
        skip();
    }
    check_all(with_drawn, of_floats, "{threads: 2, bf16: pairs}");
}

/* ---- integers ---- */

static void products_of_integers_are_off_by_half_a_unit(void **state)
{
    (void)state;
    const char *options[2];
    for (int i = bench_with_integers(options); i-- > 0;)
        check_all(with_drawn, of_integers, options[i]);
}

/* between 1/2 and 1, and below 0 as often as above */
static float *with_even(float *to, int64_t rows, int64_t columns, uint32_t seed)
{
    with_drawn(to, rows, columns, seed);
    for (int64_t i = 0; i < rows * columns; i++)
        to[i] = copysignf(0.5f + 0.49f * fabsf(to[i]), to[i]);
    return to;
}

static void numbers_of_one_size_are_multiplied_exactly(void **state)
{
    (void)state;
    const char *options[2];
    for (int i = bench_with_integers(options); i-- > 0;)
        check_all(with_even, of_floats, options[i]);
}

/* Two neighbours in each line, of one size: as large as a pair can be. */
static float *with_two(float *to, int64_t rows, int64_t columns, uint32_t seed)
{
    const int is_a = seed == 1;
    for (int64_t i = 0; i < rows * columns; i++) {
        const int64_t line = is_a ? i / columns : i % columns;
        const int64_t k = is_a ? i % columns : i / columns;
        to[i] = k < 2 ? 1.0f + (float)(line % 128) / 128.0f : 0.0f;
    }
    return to;
}

static void the_largest_pairs_fit(void **state)
{
    (void)state;
    const char *options[2];
    for (int i = bench_with_integers(options); i-- > 0;)
        check_all(with_two, of_floats, options[i]);
}

/* Line i of either operand by 2^(20 i), from 2^-100 on; all of it zero, every
 * eighth. */
static float *with_sizes(float *to, int64_t rows, int64_t columns,
                         uint32_t seed)
{
    with_even(to, rows, columns, seed);
    for (int64_t i = 0; i < rows * columns; i++) {
        const int64_t line = (seed == 1 ? i / columns : i % columns) % 8;
        const float size =
            line == 7 ? 0.0f : ldexpf(1.0f, (int)(20 * line) - 100);
        to[i] *= seed == 1 ? size : 1.0f / (size + (float)(line == 7));
    }
    return to;
}

/* Those lie within 2^-7 of each other in a line: the sum, but for floats. */
static double of_sizes(const bench *t, int64_t K, int64_t i, int64_t j)
{
    double off = 0.0;
    for (int64_t k = 0; k < K; k++)
        off += 1e-6 * fabs(at(t, 0, i, k) * at(t, 1, k, j));
    return off + 1e-6;
}

static void lines_of_any_size_keep_their_bits(void **state)
{
    (void)state;
    const char *options[2];
    for (int i = bench_with_integers(options); i-- > 0;)
        check_all(with_sizes, of_sizes, options[i]);
}

enum { BAD_ROW = 3, BAD_COLUMN = 20 };

/* a has an infinity in a row, b a NaN in a column; else they hold zeros. */
static float *with_bad(float *to, int64_t rows, int64_t columns, uint32_t seed)
{
    with_drawn(to, rows, columns, seed);
    for (int64_t k = 0; k < columns && seed == 1; k++)
        to[BAD_ROW * columns + k] = k == columns / 2 ? INFINITY : 0.0f;
    for (int64_t k = 0; k < rows && seed == 2; k++)
        to[k * columns + BAD_COLUMN] = k == rows / 2 ? NAN : 0.0f;
    return to;
}

static void what_is_not_finite_stays_so_and_in_its_line(void **state)
{
    (void)state;
    const char *options[2];
    const sizes s = {9, 49, 40};
    for (int i = bench_with_integers(options); i-- > 0;)
        for (int how = 0; how < 4; how++) {
            bench t;
            bench_open(&t, options[i]);
            const float *y = multiply(&t, with_bad, s, how);
            for (int64_t k = 0; k < s.M * s.N; k++)
                assert_int_equal(!isfinite(y[k]),
                                 k / s.N == BAD_ROW || k % s.N == BAD_COLUMN);
            bench_close(&t);
        }
}

/* Row i of a product of many rows, and of one of few, which is computed the
 * other way round. */
static void a_row_has_the_same_bits_among_many_and_few(void **state)
{
    (void)state;
    enum { N = 300, K = 1100, MANY = 201, FEW = 10 };
    const char *options[2];
    for (int i = bench_with_integers(options); i-- > 0;) {
        bench many, few;
        bench_open(&many, options[i]);
        bench_open(&few, options[i]);
        const float *y = multiply(&many, with_drawn, (sizes){MANY, N, K}, 2);
        const float *z = multiply(&few, with_drawn, (sizes){FEW, N, K}, 2);
        assert_memory_equal(y, z, FEW * N * sizeof *y);
        bench_close(&few);
        bench_close(&many);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widened_products_are_products),
        cmocka_unit_test(products_of_pairs_are_products),
        cmocka_unit_test(products_of_integers_are_off_by_half_a_unit),
        cmocka_unit_test(numbers_of_one_size_are_multiplied_exactly),
        cmocka_unit_test(the_largest_pairs_fit),
        cmocka_unit_test(lines_of_any_size_keep_their_bits),
        cmocka_unit_test(what_is_not_finite_stays_so_and_in_its_line),
        cmocka_unit_test(a_row_has_the_same_bits_among_many_and_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
