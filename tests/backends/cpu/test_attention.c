/*
 * test_attention.c - attention of bf16 in whole numbers, held against the same
 * with products widened to f32, and what must hold of it besides: the same bits
 * for any number of threads, for gradients of any size, and whatever lies in
 * keys that a query does not see.
 */
#include "bf16.h"
#include "cpu_bits.h"

typedef struct sizes {
    int64_t B, T, H, D, S, G, E;
    double softcap;
    int64_t window;
    uint32_t bidirectional, documents;
    int64_t padded; /* rows that see nothing */
} sizes;

/* Several blocks of queries and of keys, and blocks that end early; heads that
 * share keys; head sizes that fill no vector. */
static const sizes some[] = {
    {.B = 2, .T = 150, .H = 2, .D = 64, .S = 150, .G = 2, .E = 64},
    {.B = 1, .T = 77, .H = 6, .D = 17, .S = 130, .G = 2, .E = 9, .softcap = 2},
    {.B = 1,
     .T = 200,
     .H = 2,
     .D = 96,
     .S = 200,
     .G = 1,
     .E = 96,
     .window = 50},
    {.B = 2,
     .T = 33,
     .H = 1,
     .D = 40,
     .S = 61,
     .G = 1,
     .E = 70,
     .bidirectional = 1},
    {.B = 1,
     .T = 300,
     .H = 2,
     .D = 64,
     .S = 300,
     .G = 2,
     .E = 32,
     .documents = 1},
    {.B = 1,
     .T = 150,
     .H = 2,
     .D = 64,
     .S = 150,
     .G = 1,
     .E = 64,
     .window = 50,
     .padded = 70},
};
enum { SOME = sizeof some / sizeof some[0] };

static uint16_t *add_half(bench *t, int64_t rows, int64_t T, int64_t heads,
                          int64_t width, float size, uint32_t seed)
{
    const int64_t count = rows * T * heads * width;
    float *drawn = malloc((size_t)count * sizeof *drawn);
    uint16_t *x = bench_in(t, TN_BF16, 4, (int64_t[]){rows, T, heads, width});
    bench_fill(drawn, count, size, seed);
    for (int64_t i = 0; i < count; i++)
        x[i] = to_bf16(drawn[i]);
    free(drawn);
    return x;
}

static void add_vectors(bench *t, const sizes *s)
{
    add_half(t, s->B, s->T, s->H, s->D, 3.0f, 1);
    add_half(t, s->B, s->S, s->G, s->D, 3.0f, 2);
    add_half(t, s->B, s->S, s->G, s->E, 1.0f, 3);
}

/* The last query sees the last key; documents have 37 rows. */
static void add_positions(bench *t, const sizes *s)
{
    const int64_t shape[] = {s->B, s->T};
    int32_t *position = bench_in(t, TN_I32, 2, shape);
    for (int64_t i = 0; i < s->B * s->T; i++)
        position[i] =
            i % s->T < s->padded ? -1 : (int32_t)(i % s->T + s->S - s->T);
    int32_t *first = s->documents ? bench_in(t, TN_I32, 2, shape) : NULL;
    for (int64_t i = 0; i < s->B * s->T && first; i++)
        first[i] = (int32_t)(i % s->T / 37 * 37);
}

static tn_attention_attr attr_of(const sizes *s)
{
    return (tn_attention_attr){.softcap = s->softcap,
                               .window = s->window,
                               .bidirectional = s->bidirectional};
}

static const float *floats(const bench *t, const tn_operand *x)
{
    return (const float *)(const void *)(t->memory + x->offset);
}

static void fill_forward(bench *t, const sizes *s)
{
    add_vectors(t, s);
    add_positions(t, s);
    bench_out(t, TN_F32, 4, (int64_t[]){s->B, s->T, s->H, s->E});
    bench_out(t, TN_F32, 3, (int64_t[]){s->B, s->H, s->T});
}

static void run_forward(bench *t, const sizes *s)
{
    const tn_attention_attr attr = attr_of(s);
    fill_forward(t, s);
    bench_run(t, TN_OP_ATTENTION, &attr);
}

/* o and lse are the forward's, of the same options. */
static void run_backward(bench *t, const sizes *s, const char *options,
                         float size)
{
    const tn_attention_attr attr = attr_of(s);
    const int64_t o = s->B * s->T * s->H * s->E;
    bench forward;
    bench_open(&forward, options);
    run_forward(&forward, s);
    add_half(t, s->B, s->T, s->H, s->E, size, 4);
    add_vectors(t, s);
    uint16_t *half =
        bench_in(t, TN_BF16, 4, (int64_t[]){s->B, s->T, s->H, s->E});
    for (int64_t i = 0; i < o; i++)
        half[i] = to_bf16(floats(&forward, &forward.out[0])[i]);
    memcpy(bench_in(t, TN_F32, 3, (int64_t[]){s->B, s->H, s->T}),
           floats(&forward, &forward.out[1]),
           (size_t)(s->B * s->H * s->T) * sizeof(float));
    add_positions(t, s);
    bench_out(t, TN_F32, 4, (int64_t[]){s->B, s->T, s->H, s->D});
    bench_out(t, TN_F32, 4, (int64_t[]){s->B, s->S, s->G, s->D});
    bench_out(t, TN_F32, 4, (int64_t[]){s->B, s->S, s->G, s->E});
    bench_run(t, TN_OP_ATTENTION_BWD, &attr);
    bench_close(&forward);
}

/* ---- in whole numbers ---- */

static const char widened[] = "{threads: 2, bf16: widened}";

/* |x - y| / |y| */
static double distance(const bench *x, const bench *y, uint32_t out)
{
    const tn_operand *o = &x->out[out];
    const int64_t count = o->shape[0] * o->stride[0];
    double off = 0.0, size = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double want = (double)floats(y, &y->out[out])[i];
        const double by = (double)floats(x, o)[i] - want;
        off += by * by;
        size += want * want;
    }
    return sqrt(off / size);
}

static void expect_near(const bench *x, const bench *y, int number,
                        uint32_t out, double allowed)
{
    const double off = distance(x, y, out);
    if (off <= allowed)
        return;
    print_error("case %d, output %u is off by %g\n", number, out, off);
    fail();
}

/* bf16 rounds values by 2^-9.8 of them on an average, 1.1e-3; measured: 4e-4 at
 * most, and 4e-5 for lse. */
static void attention_in_whole_numbers_is_attention(void **state)
{
    (void)state;
    const char *options[2];
    for (int k = bench_with_integers(options); k-- > 0;)
        for (int i = 0; i < SOME; i++) {
            bench x, y;
            bench_open(&x, options[k]);
            bench_open(&y, widened);
            run_forward(&x, &some[i]);
            run_forward(&y, &some[i]);
            expect_near(&x, &y, i, 0, 5e-4);
            expect_near(&x, &y, i, 1, 5e-5);
            bench_close(&y);
            bench_close(&x);
        }
}

static void its_gradients_are_those_of_attention(void **state)
{
    (void)state;
    const char *options[2];
    for (int k = bench_with_integers(options); k-- > 0;)
        for (int i = 0; i < SOME; i++) {
            bench x, y;
            bench_open(&x, options[k]);
            bench_open(&y, widened);
            run_backward(&x, &some[i], widened, 1.0f);
            run_backward(&y, &some[i], widened, 1.0f);
            for (uint32_t out = 0; out < 3; out++)
                expect_near(&x, &y, i, out, 8e-4);
            bench_close(&y);
            bench_close(&x);
        }
}

/* What sizes leave, powers of two: the bits are those of large ones. */
static void gradients_of_any_size_keep_their_bits(void **state)
{
    (void)state;
    const char *options[2];
    for (int k = bench_with_integers(options); k-- > 0;) {
        const sizes *s = &some[0];
        const float small = 0x1p-70f;
        bench x, y;
        bench_open(&x, options[k]);
        bench_open(&y, options[k]);
        run_backward(&x, s, widened, small);
        run_backward(&y, s, widened, 1.0f);
        for (uint32_t out = 0; out < 3; out++) {
            const tn_operand *o = &x.out[out];
            for (int64_t i = 0; i < o->shape[0] * o->stride[0]; i++)
                assert_true(floats(&x, o)[i] ==
                            small * floats(&y, &y.out[out])[i]);
        }
        bench_close(&y);
        bench_close(&x);
    }
}

/* A block of keys that one of its queries sees only half of: scales of values
 * that others see are no part of its sum. */
static void what_a_query_does_not_see_changes_no_bit(void **state)
{
    (void)state;
    enum { SEEN = 40 };
    static const sizes s = {
        .B = 1, .T = 64, .H = 1, .D = 64, .S = 64, .G = 1, .E = 64};
    const tn_attention_attr attr = {0};
    const char *options[2];
    for (int k = bench_with_integers(options); k-- > 0;) {
        bench x, y;
        bench_open(&x, options[k]);
        bench_open(&y, options[k]);
        run_forward(&x, &s);
        fill_forward(&y, &s);
        for (uint32_t in = 1; in < 3; in++) {
            uint16_t *row = (uint16_t *)(void *)(y.memory + y.in[in].offset);
            for (int64_t i = SEEN * s.D; i < s.S * s.D; i++)
                row[i] = to_bf16(1e3f * (float)(i % 7));
        }
        bench_run(&y, TN_OP_ATTENTION, &attr);
        assert_memory_equal(floats(&x, &x.out[0]), floats(&y, &y.out[0]),
                            SEEN * 64 * sizeof(float));
        assert_memory_not_equal(floats(&x, &x.out[0]) + SEEN * 64,
                                floats(&y, &y.out[0]) + SEEN * 64,
                                64 * sizeof(float));
        bench_close(&y);
        bench_close(&x);
    }
}

static void what_is_not_finite_stays_so(void **state)
{
    (void)state;
    enum { BAD = 3 };
    static const sizes s = {
        .B = 1, .T = 20, .H = 1, .D = 16, .S = 20, .G = 1, .E = 16};
    const tn_attention_attr attr = {0};
    const char *options[2];
    for (int k = bench_with_integers(options); k-- > 0;) {
        bench t;
        bench_open(&t, options[k]);
        fill_forward(&t, &s);
        uint16_t *q = (uint16_t *)(void *)(t.memory + t.in[0].offset);
        q[BAD * s.D + 5] = to_bf16(INFINITY);
        bench_run(&t, TN_OP_ATTENTION, &attr);
        for (int64_t i = 0; i < s.T * s.E; i++)
            assert_int_equal(!isfinite(floats(&t, &t.out[0])[i]),
                             i / s.E == BAD);
        bench_close(&t);
    }
}

enum { HIDDEN = 1, BEFORE = 3 }; /* rows that see nothing */

static void add_equal(bench *t, tn_dtype dtype, int64_t rows, float value)
{
    const int64_t width = 16;
    void *at = bench_in(t, dtype, 4, (int64_t[]){1, rows, 1, width});
    for (int64_t i = 0; i < rows * width; i++)
        if (dtype == TN_BF16)
            ((uint16_t *)at)[i] = to_bf16(value);
        else
            ((float *)at)[i] = value;
}

/* q k^T passes what f32 holds, below. */
static void expect_no_numbers(const char *options, tn_dtype dtype, int64_t rows,
                              float q)
{
    const tn_attention_attr attr = {0};
    bench t;
    bench_open(&t, options);
    add_equal(&t, dtype, rows, q);
    add_equal(&t, dtype, rows, -1e20f);
    add_equal(&t, dtype, rows, 1.0f);
    int32_t *position = bench_in(&t, TN_I32, 2, (int64_t[]){1, rows});
    int32_t *first = bench_in(&t, TN_I32, 2, (int64_t[]){1, rows});
    for (int32_t i = 0; i < rows; i++) {
        position[i] = i == HIDDEN ? -1 : i;
        first[i] = i == BEFORE ? BEFORE + 1 : 0;
    }
    const float *o = bench_out(&t, TN_F32, 4, (int64_t[]){1, rows, 1, 16});
    const float *lse = bench_out(&t, TN_F32, 3, (int64_t[]){1, 1, rows});
    bench_run(&t, TN_OP_ATTENTION, &attr);
    for (int64_t i = 0; i < rows; i++) {
        const int sees = i != HIDDEN && i != BEFORE;
        assert_int_equal(!isfinite(lse[i]), sees);
        assert_true(sees || lse[i] == 0.0f);
        for (int64_t e = i * 16; e < (i + 1) * 16; e++)
            assert_true(sees ? isnan(o[e]) : o[e] == 0.0f);
    }
    bench_close(&t);
}

static void scores_of_minus_infinity_are_not_taken_for_none(void **state)
{
    (void)state;
    static const char *const options[] = {"{vectors: avx2}", "{}",
                                          "{bf16: widened}",
                                          "{vectors: avx2, bf16: integers}"};
    for (size_t k = 0; k < sizeof options / sizeof *options; k++)
        for (int64_t rows = 4; rows <= 100; rows += 32) {
            expect_no_numbers(options[k], TN_F32, rows, 1e20f);
            expect_no_numbers(options[k], TN_F32, rows, INFINITY);
            expect_no_numbers(options[k], TN_BF16, rows, 1e20f);
        }
}

/* ---- threads ---- */

static void make_forward(bench *t)
{
    run_forward(t, &(sizes){2, 300, 4, 40, 300, 2, 24, 0.0, 0, 0, 1, 0});
}

static void make_backward(bench *t)
{
    run_backward(t, &(sizes){2, 150, 4, 40, 150, 2, 24, 0.0, 60, 0, 0, 0}, "{}",
                 1.0f);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    same_bits(make_forward);
    same_bits(make_backward);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_in_whole_numbers_is_attention),
        cmocka_unit_test(its_gradients_are_those_of_attention),
        cmocka_unit_test(gradients_of_any_size_keep_their_bits),
        cmocka_unit_test(what_a_query_does_not_see_changes_no_bit),
        cmocka_unit_test(what_is_not_finite_stays_so),
        cmocka_unit_test(scores_of_minus_infinity_are_not_taken_for_none),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
