/*
 * test_sequence.c - the scan, the convolution, Newton-Schulz and products by
 * expert at sizes that this backend cuts: several chunks, spans and windows of
 * the scan, several blocks of everything else. Against plain loops, against
 * themselves in smaller pieces, and the same bits for any number of threads.
 */
#include "cpu_bits.h"

/* ---- the scan ---- */

typedef struct sizes {
    int64_t B, T, H, P, G, N;
    uint32_t state, backward;
} sizes;

/* x, dt, A, Bm, Cm and perhaps a state; dy before them, backward */
static void fill_scan(bench *t, const sizes *s)
{
    const int64_t x = s->B * s->T * s->H * s->P, dt = s->B * s->T * s->H;
    const int64_t bc = s->B * s->T * s->G * s->N;
    const int64_t states = s->B * s->H * s->P * s->N;
    const int64_t x_shape[] = {s->B, s->T, s->H, s->P};
    const int64_t bc_shape[] = {s->B, s->T, s->G, s->N};
    const int64_t state_shape[] = {s->B, s->H, s->P, s->N};
    if (s->backward)
        bench_fill(bench_in(t, TN_F32, 4, x_shape), x, 1.0f, 5);
    bench_fill(bench_in(t, TN_F32, 4, x_shape), x, 1.0f, 1);
    float *steps = bench_in(t, TN_F32, 3, x_shape);
    for (int64_t i = 0; i < dt; i++)
        steps[i] = 0.02f + 0.01f * (float)(i % 7);
    float *A = bench_in(t, TN_F32, 1, &s->H);
    for (int64_t h = 0; h < s->H; h++)
        A[h] = -0.3f - (float)h;
    bench_fill(bench_in(t, TN_F32, 4, bc_shape), bc, 1.0f, 2);
    bench_fill(bench_in(t, TN_F32, 4, bc_shape), bc, 1.0f, 3);
    if (s->state)
        bench_fill(bench_in(t, TN_F32, 4, state_shape), states, 1.0f, 4);
    bench_out(t, TN_F32, 4, x_shape);
    if (!s->backward) {
        bench_out(t, TN_F32, 4, state_shape);
        return;
    }
    bench_out(t, TN_F32, 3, x_shape);
    bench_out(t, TN_F32, 1, &s->H);
    bench_out(t, TN_F32, 4, bc_shape);
    bench_out(t, TN_F32, 4, bc_shape);
}

static void run_scan(bench *t, const sizes *s)
{
    const tn_ssd_attr attr = {0};
    fill_scan(t, s);
    bench_run(t, s->backward ? TN_OP_SSD_SCAN_BWD : TN_OP_SSD_SCAN, &attr);
}

static const float *floats(const bench *t, const tn_operand *x)
{
    return (const float *)(const void *)(t->memory + x->offset);
}

/* The recurrence of one head, in double. */
static void expect_recurrence(const bench *t, const sizes *s, int64_t b,
                              int64_t h)
{
    const int64_t P = s->P, N = s->N, g = h / (s->H / s->G);
    const float *x = floats(t, &t->in[0]), *dt = floats(t, &t->in[1]);
    const float *A = floats(t, &t->in[2]), *B = floats(t, &t->in[3]);
    const float *C = floats(t, &t->in[4]), *y = floats(t, &t->out[0]);
    const float *last = floats(t, &t->out[1]) + (b * s->H + h) * P * N;
    const float *first = floats(t, &t->in[5]) + (b * s->H + h) * P * N;
    double *S = calloc((size_t)(P * N), sizeof *S);
    for (int64_t i = 0; i < P * N && s->state; i++)
        S[i] = (double)first[i];
    for (int64_t row = b * s->T; row < (b + 1) * s->T; row++) {
        const double d = (double)dt[row * s->H + h];
        const double e = exp(d * (double)A[h]);
        for (int64_t p = 0; p < P; p++) {
            const int64_t at = (row * s->H + h) * P + p;
            double sum = 0.0;
            for (int64_t n = 0; n < N; n++) {
                const int64_t bc = (row * s->G + g) * N + n;
                S[p * N + n] =
                    e * S[p * N + n] + d * (double)x[at] * (double)B[bc];
                sum += S[p * N + n] * (double)C[bc];
            }
            tn_assert_near(y[at], sum, 2e-5);
        }
    }
    for (int64_t i = 0; i < P * N; i++)
        tn_assert_near(last[i], S[i], 1e-5);
    free(S);
}

/* Few heads, whose rows are cut into spans, and many; from zeros and from a
 * state; one row and a few, which are the recurrence. */
static void a_scan_over_many_chunks_is_the_recurrence(void **state)
{
    (void)state;
    static const sizes cases[] = {
        {.B = 1, .T = 300, .H = 2, .P = 20, .G = 1, .N = 12, .state = 1},
        {.B = 1, .T = 1000, .H = 1, .P = 17, .G = 1, .N = 33},
        {.B = 3, .T = 200, .H = 4, .P = 8, .G = 2, .N = 40, .state = 1},
        {.B = 2, .T = 129, .H = 4, .P = 33, .G = 4, .N = 7},
        {.B = 2, .T = 1, .H = 4, .P = 20, .G = 2, .N = 24, .state = 1},
        {.B = 1, .T = 8, .H = 3, .P = 9, .G = 3, .N = 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sizes *s = &cases[i];
        bench t;
        bench_open(&t, "{threads: 2}");
        run_scan(&t, s);
        for (int64_t b = 0; b < s->B; b++)
            for (int64_t h = 0; h < s->H; h++)
                expect_recurrence(&t, s, b, h);
        bench_close(&t);
    }
}

static void make_scan_in_spans(bench *t)
{
    run_scan(t, &(sizes){1, 500, 2, 20, 1, 12, 1, 0});
}

static void make_scan_of_heads(bench *t)
{
    run_scan(t, &(sizes){2, 200, 6, 20, 2, 70, 0, 0});
}

static void make_scan_bwd(bench *t)
{
    run_scan(t, &(sizes){2, 300, 4, 20, 2, 12, 0, 1});
}

static void make_wide_scan_bwd(bench *t)
{
    run_scan(t, &(sizes){1, 300, 3, 9, 1, 100, 0, 1});
}

static void a_scan_has_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    same_bits(make_scan_in_spans);
    same_bits(make_scan_of_heads);
    same_bits(make_scan_bwd);
    same_bits(make_wide_scan_bwd);
}

/* With these sizes states fill more than is kept at a time; each batch row by
 * itself does not. */
enum { WINDOW_T = 4224, WINDOW_H = 16, WINDOW_P = 16, WINDOW_N = 256 };

static void copy_row(bench *to, uint32_t i, const bench *from, int64_t count)
{
    memcpy(to->memory + to->in[i].offset,
           from->memory + from->in[i].offset + count * (int64_t)sizeof(float),
           (size_t)count * sizeof(float));
}

static void batch_rows_beyond_the_memory_for_states_agree(void **state)
{
    (void)state;
    const tn_ssd_attr attr = {0};
    sizes s = {2, WINDOW_T, WINDOW_H, WINDOW_P, 1, WINDOW_N, 0, 1};
    bench both, one;
    bench_open(&both, "{threads: 2}");
    run_scan(&both, &s);
    s.B = 1;
    bench_open(&one, "{threads: 2}");
    fill_scan(&one, &s);
    const int64_t x = WINDOW_T * WINDOW_H * WINDOW_P;
    copy_row(&one, 0, &both, x);
    copy_row(&one, 1, &both, x);
    copy_row(&one, 2, &both, WINDOW_T * WINDOW_H);
    copy_row(&one, 4, &both, WINDOW_T * WINDOW_N);
    copy_row(&one, 5, &both, WINDOW_T * WINDOW_N);
    bench_run(&one, TN_OP_SSD_SCAN_BWD, &attr);
    const int64_t counts[] = {x, WINDOW_T * WINDOW_H, 0, WINDOW_T * WINDOW_N,
                              WINDOW_T * WINDOW_N};
    for (int i = 0; i < 5; i++)
        assert_memory_equal(floats(&both, &both.out[i]) + counts[i],
                            floats(&one, &one.out[i]),
                            (size_t)counts[i] * sizeof(float));
    bench_close(&one);
    bench_close(&both);
}

/* e^(-5000) and everything on the way there. */
static void a_state_that_decays_at_once_leaves_zeros_and_no_nan(void **state)
{
    (void)state;
    const tn_ssd_attr attr = {0};
    const sizes s = {1, 100, 2, 4, 1, 6, 1, 0};
    bench t;
    bench_open(&t, "{}");
    fill_scan(&t, &s);
    float *A = (float *)(void *)(t.memory + t.in[2].offset);
    A[0] = A[1] = -5000.0f;
    bench_run(&t, TN_OP_SSD_SCAN, &attr);
    expect_recurrence(&t, &s, 0, 0);
    expect_recurrence(&t, &s, 0, 1);
    bench_close(&t);
}

/* ---- the convolution ---- */

enum { CONV_B = 2, CONV_T = 150, CONV_C = 300, TAPS = 11 };

static void fill_conv(bench *t, int backward)
{
    const int64_t x = CONV_B * CONV_T * CONV_C;
    if (backward)
        bench_fill(bench_in(t, TN_F32, 3, (int64_t[]){CONV_B, CONV_T, CONV_C}),
                   x, 1.0f, 4);
    bench_fill(bench_in(t, TN_F32, 3, (int64_t[]){CONV_B, CONV_T, CONV_C}), x,
               1.0f, 1);
    bench_fill(bench_in(t, TN_F32, 2, (int64_t[]){CONV_C, TAPS}), CONV_C * TAPS,
               1.0f, 2);
    bench_fill(bench_in(t, TN_F32, 3, (int64_t[]){CONV_B, TAPS - 1, CONV_C}),
               CONV_B * (TAPS - 1) * CONV_C, 1.0f, 3);
    bench_out(t, TN_F32, 3, (int64_t[]){CONV_B, CONV_T, CONV_C});
    if (backward)
        bench_out(t, TN_F32, 2, (int64_t[]){CONV_C, TAPS});
}

static void make_conv(bench *t)
{
    fill_conv(t, 0);
    bench_run(t, TN_OP_CONV1D_CAUSAL, NULL);
}

static void make_conv_bwd(bench *t)
{
    fill_conv(t, 1);
    bench_run(t, TN_OP_CONV1D_CAUSAL_BWD, NULL);
}

/* Row t of x, from the history where it is before row 0. */
static double conv_x(const bench *t, uint32_t x, int64_t b, int64_t row,
                     int64_t c)
{
    const int64_t before = TAPS - 1;
    return row < 0
               ? (double)floats(
                     t, &t->in[x + 2])[(b * before + before + row) * CONV_C + c]
               : (double)floats(t, &t->in[x])[(b * CONV_T + row) * CONV_C + c];
}

static void a_long_convolution_is_the_sum_over_its_taps(void **state)
{
    (void)state;
    bench t;
    bench_open(&t, "{threads: 2}");
    make_conv(&t);
    const float *w = floats(&t, &t.in[1]), *y = floats(&t, &t.out[0]);
    for (int64_t b = 0; b < CONV_B; b++)
        for (int64_t row = 0; row < CONV_T; row++)
            for (int64_t c = 0; c < CONV_C; c += 7) {
                double want = 0.0;
                for (int64_t k = 0; k < TAPS; k++)
                    want += (double)w[c * TAPS + k] *
                            conv_x(&t, 0, b, row - TAPS + 1 + k, c);
                tn_assert_near(y[(b * CONV_T + row) * CONV_C + c], want, 1e-5);
            }
    bench_close(&t);
}

static void its_gradients_are_sums_over_taps_and_over_rows(void **state)
{
    (void)state;
    bench t;
    bench_open(&t, "{threads: 2}");
    make_conv_bwd(&t);
    const float *dy = floats(&t, &t.in[0]), *w = floats(&t, &t.in[2]);
    const float *dx = floats(&t, &t.out[0]), *dw = floats(&t, &t.out[1]);
    for (int64_t c = 0; c < CONV_C; c += 7)
        for (int64_t k = 0; k < TAPS; k++) {
            double want = 0.0;
            for (int64_t b = 0; b < CONV_B; b++)
                for (int64_t row = 0; row < CONV_T; row++)
                    want += (double)dy[(b * CONV_T + row) * CONV_C + c] *
                            conv_x(&t, 1, b, row - TAPS + 1 + k, c);
            tn_assert_near(dw[c * TAPS + k], want, 2e-5);
        }
    for (int64_t row = 0; row < CONV_T; row++)
        for (int64_t c = 0; c < CONV_C; c += 7) {
            double want = 0.0;
            for (int64_t k = 0; k < TAPS && row + k < CONV_T; k++)
                want += (double)w[c * TAPS + TAPS - 1 - k] *
                        (double)dy[(row + k) * CONV_C + c];
            tn_assert_near(dx[row * CONV_C + c], want, 1e-5);
        }
    bench_close(&t);
}

static void a_convolution_has_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    same_bits(make_conv);
    same_bits(make_conv_bwd);
}

/* ---- Newton-Schulz ---- */

enum { SHORT = 230, LONG = 410, MATRICES = 2 };

static const tn_newton_schulz_attr schulz = {
    .steps = 3, .a = 3.4445, .b = -4.7750, .c = 2.0315, .eps = 1e-7};

static void make_wide(bench *t)
{
    float *x = bench_in(t, TN_F32, 3, (int64_t[]){MATRICES, SHORT, LONG});
    bench_out(t, TN_F32, 3, (int64_t[]){MATRICES, SHORT, LONG});
    bench_fill(x, MATRICES * SHORT * LONG, 1.0f, 1);
    bench_run(t, TN_OP_NEWTON_SCHULZ, &schulz);
}

static void make_tall(bench *t)
{
    float *wide = malloc(MATRICES * SHORT * LONG * sizeof *wide);
    float *x = bench_in(t, TN_F32, 3, (int64_t[]){MATRICES, LONG, SHORT});
    bench_out(t, TN_F32, 3, (int64_t[]){MATRICES, LONG, SHORT});
    bench_fill(wide, MATRICES * SHORT * LONG, 1.0f, 1);
    for (int64_t m = 0; m < MATRICES; m++)
        for (int64_t i = 0; i < SHORT; i++)
            for (int64_t j = 0; j < LONG; j++)
                x[(m * LONG + j) * SHORT + i] =
                    wide[(m * SHORT + i) * LONG + j];
    free(wide);
    bench_run(t, TN_OP_NEWTON_SCHULZ, &schulz);
}

/* to (n, columns) = x (n, inner) y, y[k, j] at k * row + j * column */
static void multiply(double *to, const double *x, const double *y, int64_t n,
                     int64_t inner, int64_t columns, int64_t row,
                     int64_t column)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < columns; j++) {
            double sum = 0.0;
            for (int64_t k = 0; k < inner; k++)
                sum += x[i * inner + k] * y[k * row + j * column];
            to[i * columns + j] = sum;
        }
}

/* X in double, of matrix `m` of make_wide */
static double *plain_schulz(const bench *t, int64_t m)
{
    enum { S = SHORT, L = LONG };
    const float *x = floats(t, &t->in[0]) + m * S * L;
    double *X = malloc(S * L * sizeof *X), *Y = malloc(S * L * sizeof *Y);
    double *G = malloc(S * S * sizeof *G), *U = malloc(S * S * sizeof *U);
    double squares = 0.0;
    for (int64_t i = 0; i < S * L; i++)
        squares += (double)x[i] * (double)x[i];
    for (int64_t i = 0; i < S * L; i++)
        X[i] = (double)x[i] / sqrt(squares);
    for (int64_t step = 0; step < schulz.steps; step++) {
        multiply(G, X, X, S, L, S, 1, L);
        multiply(U, G, G, S, S, S, S, 1);
        for (int64_t i = 0; i < S * S; i++)
            U[i] = schulz.b * G[i] + schulz.c * U[i];
        multiply(Y, U, X, S, S, L, L, 1);
        for (int64_t i = 0; i < S * L; i++)
            X[i] = schulz.a * X[i] + Y[i];
    }
    free(Y);
    free(G);
    free(U);
    return X;
}

static void newton_schulz_in_blocks_is_newton_schulz(void **state)
{
    (void)state;
    bench wide, tall;
    bench_open(&wide, "{threads: 2}");
    bench_open(&tall, "{threads: 2}");
    make_wide(&wide);
    make_tall(&tall);
    const float *a = floats(&wide, &wide.out[0]);
    const float *b = floats(&tall, &tall.out[0]);
    double *want = plain_schulz(&wide, 1);
    for (int64_t i = 0; i < SHORT; i++)
        for (int64_t j = 0; j < LONG; j++) {
            tn_assert_near(a[(SHORT + i) * LONG + j], want[i * LONG + j], 1e-5);
            tn_assert_near(b[(LONG + j) * SHORT + i], want[i * LONG + j], 1e-5);
        }
    free(want);
    bench_close(&wide);
    bench_close(&tall);
}

static void newton_schulz_has_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    same_bits(make_wide);
    same_bits(make_tall);
}

/* ---- products by expert ---- */

enum { ROWS = 900, INNER = 70, COLUMNS = 130, EXPERTS = 6 };

static const int32_t first_row[EXPERTS + 1] = {0, 0, 3, 600, 600, 604, ROWS};

static void fill_experts(bench *t)
{
    float *a = bench_in(t, TN_F32, 2, (int64_t[]){ROWS, INNER});
    float *b = bench_in(t, TN_F32, 3, (int64_t[]){EXPERTS, INNER, COLUMNS});
    int32_t *offsets = bench_in(t, TN_I32, 1, (int64_t[]){EXPERTS + 1});
    bench_out(t, TN_F32, 2, (int64_t[]){ROWS, COLUMNS});
    bench_fill(a, ROWS * INNER, 1.0f, 1);
    bench_fill(b, EXPERTS * INNER * COLUMNS, 1.0f, 2);
    memcpy(offsets, first_row, sizeof first_row);
}

static void make_grouped(bench *t)
{
    const tn_grouped_matmul_attr attr = {0};
    fill_experts(t);
    bench_run(t, TN_OP_GROUPED_MATMUL, &attr);
}

static void make_grouped_transposed(bench *t)
{
    const tn_grouped_matmul_attr attr = {.transpose_a = 1};
    float *a = bench_in(t, TN_F32, 2, (int64_t[]){ROWS, INNER});
    float *b = bench_in(t, TN_F32, 2, (int64_t[]){ROWS, COLUMNS});
    int32_t *offsets = bench_in(t, TN_I32, 1, (int64_t[]){EXPERTS + 1});
    bench_out(t, TN_F32, 3, (int64_t[]){EXPERTS, INNER, COLUMNS});
    bench_fill(a, ROWS * INNER, 1.0f, 1);
    bench_fill(b, ROWS * COLUMNS, 1.0f, 2);
    memcpy(offsets, first_row, sizeof first_row);
    bench_run(t, TN_OP_GROUPED_MATMUL, &attr);
}

/* Empty groups, groups of a few rows, and one of more than two blocks. */
static void rows_meet_the_matrix_of_their_expert(void **state)
{
    (void)state;
    bench t;
    bench_open(&t, "{threads: 2}");
    make_grouped(&t);
    const float *a = floats(&t, &t.in[0]), *b = floats(&t, &t.in[1]);
    const float *c = floats(&t, &t.out[0]);
    for (int64_t e = 0; e < EXPERTS; e++)
        for (int64_t i = first_row[e]; i < first_row[e + 1]; i++)
            for (int64_t j = 0; j < COLUMNS; j += 3) {
                double want = 0.0;
                for (int64_t k = 0; k < INNER; k++)
                    want += (double)a[i * INNER + k] *
                            (double)b[(e * INNER + k) * COLUMNS + j];
                tn_assert_near(c[i * COLUMNS + j], want, 1e-5);
            }
    bench_close(&t);
}

static void products_by_expert_have_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    same_bits(make_grouped);
    same_bits(make_grouped_transposed);
}

static void offsets_that_run_backwards_fail_the_run(void **state)
{
    (void)state;
    const tn_grouped_matmul_attr attr = {0};
    tn_error err = TN_ERROR_NONE;
    bench t;
    bench_open(&t, "{}");
    fill_experts(&t);
    int32_t *offsets = (int32_t *)(void *)(t.memory + t.in[2].offset);
    offsets[2] = ROWS + 5;
    assert_int_equal(bench_try(&t, TN_OP_GROUPED_MATMUL, &attr, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "the index 905 is outside [0, 900]");
    bench_close(&t);
}

/* ---- without kernels ---- */

static void native_false_claims_no_composite(void **state)
{
    (void)state;
    for (int native = 0; native < 2; native++) {
        bench t;
        bench_open(&t, native ? "{native: true}" : "{native: false}");
        make_conv(&t);
        assert_int_equal(t.rig->backend->supports(t.rig->device, &t.node),
                         native);
        bench_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_over_many_chunks_is_the_recurrence),
        cmocka_unit_test(a_scan_has_the_same_bits_for_any_threads),
        cmocka_unit_test(batch_rows_beyond_the_memory_for_states_agree),
        cmocka_unit_test(a_state_that_decays_at_once_leaves_zeros_and_no_nan),
        cmocka_unit_test(a_long_convolution_is_the_sum_over_its_taps),
        cmocka_unit_test(its_gradients_are_sums_over_taps_and_over_rows),
        cmocka_unit_test(a_convolution_has_the_same_bits_for_any_threads),
        cmocka_unit_test(newton_schulz_in_blocks_is_newton_schulz),
        cmocka_unit_test(newton_schulz_has_the_same_bits_for_any_threads),
        cmocka_unit_test(rows_meet_the_matrix_of_their_expert),
        cmocka_unit_test(products_by_expert_have_the_same_bits_for_any_threads),
        cmocka_unit_test(offsets_that_run_backwards_fail_the_run),
        cmocka_unit_test(native_false_claims_no_composite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
