/*
 * test_cpu.c - sizes that make many tasks, against plain loops, and the same
 * bits for any number of threads.
 *
 * tests/conformance judges every op at small sizes; here are the ones at which
 * this backend cuts its work: several slices of a product, large tables,
 * reductions in stages, blocks of attention.
 */
#include "bf16.h"
#include "cpu_bits.h"
#include "exec.h"

/* ---- products ---- */

enum { M = 203, N = 331, K = 517 };

static void make_product(bench *t)
{
    float *a = bench_in(t, TN_F32, 2, (int64_t[]){M, K});
    float *b = bench_in(t, TN_F32, 2, (int64_t[]){K, N});
    bench_out(t, TN_F32, 2, (int64_t[]){M, N});
    bench_fill(a, M * K, 1.0f, 1);
    bench_fill(b, K * N, 1.0f, 2);
    bench_run(t, TN_OP_MATMUL, NULL);
}

static void a_product_in_slices_is_the_product(void **state)
{
    (void)state;
    bench t;
    bench_open(&t, "{threads: 2}");
    make_product(&t);
    const float *a = (float *)(void *)(t.memory + t.in[0].offset);
    const float *b = (float *)(void *)(t.memory + t.in[1].offset);
    const float *c = (float *)(void *)(t.memory + t.out[0].offset);
    for (int i = 0; i < M; i += 17)
        for (int j = 0; j < N; j++) {
            double want = 0.0;
            for (int k = 0; k < K; k++)
                want += (double)a[i * K + k] * (double)b[k * N + j];
            tn_assert_near(c[i * N + j], want, 1e-4);
        }
    bench_close(&t);
}

static uint16_t *add_half(bench *t, int64_t rows, int64_t columns,
                          uint32_t seed)
{
    const int64_t count = rows * columns;
    float *drawn = malloc((size_t)count * sizeof *drawn);
    uint16_t *x = bench_in(t, TN_BF16, 2, (int64_t[]){rows, columns});
    bench_fill(drawn, count, 1.0f, seed);
    round_to_bf16(drawn, x, count);
    free(drawn);
    return x;
}

static void make_half_product(bench *t)
{
    add_half(t, M, K, 1);
    add_half(t, K, N, 2);
    bench_out(t, TN_F32, 2, (int64_t[]){M, N});
    bench_run(t, TN_OP_MATMUL, NULL);
}

static void a_product_has_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    same_bits(make_product);
    same_bits(make_half_product);
}

static int64_t slices_of_a_large_product(int threads)
{
    char options[48];
    tn_error err = TN_ERROR_NONE;
    bench t;
    snprintf(options, sizeof options, "{threads: %d, vectors: avx2}", threads);
    bench_open(&t, options);
    bench_in(&t, TN_F32, 2, (int64_t[]){1024, 1024});
    bench_in(&t, TN_F32, 2, (int64_t[]){1024, 4096});
    bench_out(&t, TN_F32, 2, (int64_t[]){1024, 4096});
    tn_assert_ok_err(bench_compile(&t, TN_OP_MATMUL, NULL, &err), err);
    const int64_t slices = t.exec->steps[0].tasks;
    t.rig->backend->exec_free(t.rig->device, t.exec);
    bench_close(&t);
    return slices;
}

static void a_product_has_a_slice_for_each_thread(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 12; threads++)
        assert_int_equal(slices_of_a_large_product(threads), threads);
}

/* ---- reductions ---- */

enum { LONG_ROWS = 3, LONG_COLUMNS = 300007, TALL_ROWS = 50021 };

static tn_reduce_attr sum_over(uint32_t axes)
{
    tn_reduce_attr a;
    memset(&a, 0, sizeof a);
    a.program.instruction[0] = (tn_instruction){TN_MAP_INPUT, 0, 0, 0};
    a.program.instruction[1] = (tn_instruction){TN_MAP_MUL, 0, 0, 0};
    a.program.instruction_count = 2;
    a.program.input_count = a.program.output_count = 1;
    a.program.output[0] = 1;
    a.kind = TN_REDUCE_SUM;
    a.axes = axes;
    return a;
}

static void make_long_sums(bench *t)
{
    const tn_reduce_attr attr = sum_over(2);
    float *x = bench_in(t, TN_F32, 2, (int64_t[]){LONG_ROWS, LONG_COLUMNS});
    bench_out(t, TN_F32, 2, (int64_t[]){LONG_ROWS, 1});
    bench_fill(x, LONG_ROWS * LONG_COLUMNS, 1.0f, 3);
    bench_run(t, TN_OP_REDUCE, &attr);
}

static void make_tall_sums(bench *t)
{
    const tn_reduce_attr attr = sum_over(1);
    float *x = bench_in(t, TN_F32, 2, (int64_t[]){TALL_ROWS, 7});
    bench_out(t, TN_F32, 2, (int64_t[]){1, 7});
    bench_fill(x, TALL_ROWS * 7, 1.0f, 4);
    bench_run(t, TN_OP_REDUCE, &attr);
}

static void expect_sums_of_squares(described make, int64_t sums, int64_t terms,
                                   int64_t pitch, int64_t stride)
{
    bench t;
    bench_open(&t, "{threads: 2}");
    make(&t);
    const float *x = (float *)(void *)(t.memory + t.in[0].offset);
    const float *y = (float *)(void *)(t.memory + t.out[0].offset);
    for (int64_t i = 0; i < sums; i++) {
        double want = 0.0;
        for (int64_t k = 0; k < terms; k++) {
            const double term = (double)x[i * pitch + k * stride];
            want += term * term;
        }
        /* a few ulp: what pairwise summation would give, not terms ulp */
        tn_assert_near((double)y[i] / want, 1.0, 3e-7);
    }
    bench_close(&t);
}

static void long_sums_keep_float_accuracy(void **state)
{
    (void)state;
    expect_sums_of_squares(make_long_sums, LONG_ROWS, LONG_COLUMNS,
                           LONG_COLUMNS, 1);
    expect_sums_of_squares(make_tall_sums, 7, TALL_ROWS, 1, 7);
}

static void reductions_have_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    same_bits(make_long_sums);
    same_bits(make_tall_sums);
}

/* ---- rows ---- */

/* A table past all caches, whose element count is no multiple of a line. */
static void a_large_gradient_is_zero_but_for_its_rows(void **state)
{
    (void)state;
    enum { ROWS = 60001, ROW = 77, LAST = ROWS - 1 };
    const tn_scatter_attr attr = {.rows = ROWS};
    bench t;
    bench_open(&t, "{threads: 2}");
    int32_t *index = bench_in(&t, TN_I32, 1, (int64_t[]){3});
    float *x = bench_in(&t, TN_F32, 2, (int64_t[]){3, ROW});
    float *y = bench_out(&t, TN_F32, 2, (int64_t[]){ROWS, ROW});
    bench_fill(x, 3 * ROW, 1.0f, 1);
    memcpy(index, (int32_t[]){LAST, 0, LAST}, 3 * sizeof *index);
    for (int i = 0; i < ROWS * ROW; i++)
        y[i] = NAN;
    bench_run(&t, TN_OP_SCATTER_ADD_ROWS, &attr);
    for (int i = 0; i < ROWS * ROW; i++) {
        const int column = i % ROW;
        const float last = x[column] + x[2 * ROW + column];
        const float want = i / ROW == 0      ? x[ROW + column]
                           : i / ROW == LAST ? last
                                             : 0.0f;
        assert_true(y[i] == want);
    }
    bench_close(&t);
}

/* ---- attention ---- */

enum { B = 2, T = 150, H = 4, G = 2, D = 20, E = 12 };

static void fill_attention(bench *t)
{
    float *q = bench_in(t, TN_F32, 4, (int64_t[]){B, T, H, D});
    float *k = bench_in(t, TN_F32, 4, (int64_t[]){B, T, G, D});
    float *v = bench_in(t, TN_F32, 4, (int64_t[]){B, T, G, E});
    bench_fill(q, B * T * H * D, 2.0f, 8);
    bench_fill(k, B * T * G * D, 2.0f, 9);
    bench_fill(v, B * T * G * E, 1.0f, 10);
}

static void make_attention(bench *t)
{
    const tn_attention_attr attr = {.window = 90};
    fill_attention(t);
    bench_out(t, TN_F32, 4, (int64_t[]){B, T, H, E});
    bench_out(t, TN_F32, 3, (int64_t[]){B, H, T});
    bench_run(t, TN_OP_ATTENTION, &attr);
}

static void make_attention_bwd(bench *t)
{
    const tn_attention_attr attr = {.window = 90};
    float *dout = bench_in(t, TN_F32, 4, (int64_t[]){B, T, H, E});
    fill_attention(t);
    float *o = bench_in(t, TN_F32, 4, (int64_t[]){B, T, H, E});
    float *lse = bench_in(t, TN_F32, 3, (int64_t[]){B, H, T});
    bench_out(t, TN_F32, 4, (int64_t[]){B, T, H, D});
    bench_out(t, TN_F32, 4, (int64_t[]){B, T, G, D});
    bench_out(t, TN_F32, 4, (int64_t[]){B, T, G, E});
    bench_fill(dout, B * T * H * E, 1.0f, 11);
    bench_fill(o, B * T * H * E, 1.0f, 12);
    for (int i = 0; i < B * H * T; i++)
        lse[i] = 3.0f;
    bench_run(t, TN_OP_ATTENTION_BWD, &attr);
}

static void attention_over_many_blocks_is_attention(void **state)
{
    (void)state;
    bench t;
    bench_open(&t, "{threads: 2}");
    make_attention(&t);
    const float *q = (float *)(void *)(t.memory + t.in[0].offset);
    const float *k = (float *)(void *)(t.memory + t.in[1].offset);
    const float *v = (float *)(void *)(t.memory + t.in[2].offset);
    const float *o = (float *)(void *)(t.memory + t.out[0].offset);
    const float *lse = (float *)(void *)(t.memory + t.out[1].offset);
    for (int b = 0; b < B; b++)
        for (int i = 0; i < T; i += 7)
            for (int h = 0; h < H; h++) {
                const int g = h / (H / G);
                double sum = 0.0, want[E] = {0};
                for (int j = i < 90 ? 0 : i - 89; j <= i; j++) {
                    double s = 0.0;
                    for (int d = 0; d < D; d++)
                        s += (double)q[((b * T + i) * H + h) * D + d] *
                             (double)k[((b * T + j) * G + g) * D + d];
                    const double p = exp(s / sqrt((double)D));
                    sum += p;
                    for (int e = 0; e < E; e++)
                        want[e] += p * (double)v[((b * T + j) * G + g) * E + e];
                }
                tn_assert_near(lse[(b * H + h) * T + i], log(sum), 1e-5);
                for (int e = 0; e < E; e++)
                    tn_assert_near(o[((b * T + i) * H + h) * E + e],
                                   want[e] / sum, 1e-5);
            }
    bench_close(&t);
}

/* Documents that share the first batch row, and the second; 0 ends. */
static const int lengths[B][5] = {{1, 63, 20, 66}, {128, 22}};

static void add_firsts(bench *t)
{
    t->in_count++; /* no positions */
    int32_t *first = bench_in(t, TN_I32, 2, (int64_t[]){B, T});
    for (int b = 0; b < B; b++)
        for (int n = 0, at = 0; lengths[b][n]; at += lengths[b][n++])
            for (int i = 0; i < lengths[b][n]; i++)
                first[b * T + at + i] = at;
}

static void make_packed(bench *t)
{
    const tn_attention_attr attr = {.window = 90, .softcap = 4};
    fill_attention(t);
    add_firsts(t);
    bench_out(t, TN_F32, 4, (int64_t[]){B, T, H, E});
    bench_out(t, TN_F32, 3, (int64_t[]){B, H, T});
    bench_run(t, TN_OP_ATTENTION, &attr);
}

static void make_packed_bwd(bench *t)
{
    const tn_attention_attr attr = {.window = 90, .softcap = 4};
    float *dout = bench_in(t, TN_F32, 4, (int64_t[]){B, T, H, E});
    fill_attention(t);
    float *o = bench_in(t, TN_F32, 4, (int64_t[]){B, T, H, E});
    float *lse = bench_in(t, TN_F32, 3, (int64_t[]){B, H, T});
    add_firsts(t);
    bench_out(t, TN_F32, 4, (int64_t[]){B, T, H, D});
    bench_out(t, TN_F32, 4, (int64_t[]){B, T, G, D});
    bench_out(t, TN_F32, 4, (int64_t[]){B, T, G, E});
    bench_fill(dout, B * T * H * E, 1.0f, 11);
    bench_fill(o, B * T * H * E, 1.0f, 12);
    for (int i = 0; i < B * H * T; i++)
        lse[i] = 3.0f + (float)(i % 5);
    bench_run(t, TN_OP_ATTENTION_BWD, &attr);
}

static void attention_has_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    same_bits(make_attention);
    same_bits(make_attention_bwd);
    same_bits(make_packed);
    same_bits(make_packed_bwd);
}

/* Rows [at, at + rows) of (B, T, row) of batch row b, made a tensor alone. */
static tn_operand document(const tn_operand *o, int b, int at, int rows)
{
    tn_operand alone = *o;
    const int64_t row = o->rank == 4 ? o->stride[1] : 1;
    alone.offset += 4 * (b * o->stride[0] + at * row);
    alone.shape[0] = 1;
    alone.shape[1] = rows;
    return alone;
}

/* lse (B, H, T) of the same rows, which do not lie together. */
static void copy_lse(bench *t, const tn_operand *lse, int b, int at, int rows)
{
    float *to = bench_in(t, TN_F32, 3, (int64_t[]){1, H, rows});
    const float *from = (float *)(void *)(t->memory + lse->offset);
    for (int h = 0; h < H; h++)
        for (int i = 0; i < rows; i++)
            to[h * rows + i] = from[(b * H + h) * T + at + i];
}

static void expect_rows(const bench *t, const tn_operand *packed, int b, int at,
                        const tn_operand *alone)
{
    const tn_operand rows = document(packed, b, at, (int)alone->shape[1]);
    tn_assert_close((float *)(void *)(t->memory + rows.offset),
                    (float *)(void *)(t->memory + alone->offset),
                    alone->shape[1] * alone->stride[1], 2e-6, 2e-6);
}

static void packed_documents_attend_as_if_alone(void **state)
{
    (void)state;
    const tn_attention_attr attr = {.window = 90, .softcap = 4};
    bench t;
    bench_open(&t, "{threads: 2}");
    make_packed(&t);
    const bench packed = t;
    for (int b = 0; b < B; b++)
        for (int n = 0, at = 0; lengths[b][n]; at += lengths[b][n++]) {
            const int rows = lengths[b][n];
            t.in_count = t.out_count = 0;
            for (int i = 0; i < 3; i++)
                t.in[t.in_count++] = document(&packed.in[i], b, at, rows);
            bench_out(&t, TN_F32, 4, (int64_t[]){1, rows, H, E});
            bench_out(&t, TN_F32, 3, (int64_t[]){1, H, rows});
            bench_run(&t, TN_OP_ATTENTION, &attr);
            expect_rows(&t, &packed.out[0], b, at, &t.out[0]);
        }
    bench_close(&t);
}

static void packed_documents_have_the_gradients_they_have_alone(void **state)
{
    (void)state;
    const tn_attention_attr attr = {.window = 90, .softcap = 4};
    bench t;
    bench_open(&t, "{threads: 2}");
    make_packed_bwd(&t);
    const bench packed = t;
    for (int b = 0; b < B; b++)
        for (int n = 0, at = 0; lengths[b][n]; at += lengths[b][n++]) {
            const int rows = lengths[b][n];
            t.in_count = t.out_count = 0;
            for (int i = 0; i < 5; i++)
                t.in[t.in_count++] = document(&packed.in[i], b, at, rows);
            copy_lse(&t, &packed.in[5], b, at, rows);
            bench_out(&t, TN_F32, 4, (int64_t[]){1, rows, H, D});
            bench_out(&t, TN_F32, 4, (int64_t[]){1, rows, G, D});
            bench_out(&t, TN_F32, 4, (int64_t[]){1, rows, G, E});
            bench_run(&t, TN_OP_ATTENTION_BWD, &attr);
            for (int i = 0; i < 3; i++)
                expect_rows(&t, &packed.out[i], b, at, &t.out[i]);
        }
    bench_close(&t);
}

/* Whole blocks of keys before a document are not even read: NaN there reaches
 * nobody. */
static void keys_before_a_document_are_not_touched(void **state)
{
    (void)state;
    static const tn_attention_attr attr;
    bench t;
    bench_open(&t, "{threads: 1}");
    fill_attention(&t);
    add_firsts(&t);
    for (int i = 1; i < 3; i++) {
        const tn_operand hidden = document(&t.in[i], 1, 0, 128);
        float *x = (float *)(void *)(t.memory + hidden.offset);
        for (int64_t n = 0; n < 128 * hidden.stride[1]; n++)
            x[n] = NAN;
    }
    bench_out(&t, TN_F32, 4, (int64_t[]){B, T, H, E});
    bench_out(&t, TN_F32, 3, (int64_t[]){B, H, T});
    bench_run(&t, TN_OP_ATTENTION, &attr);
    const tn_operand seen = document(&t.out[0], 1, 128, 22);
    const float *y = (float *)(void *)(t.memory + seen.offset);
    for (int64_t n = 0; n < 22 * seen.stride[1]; n++)
        assert_true(isfinite(y[n]));
    bench_close(&t);
}

/* A decode step sees the cache up to its position; what lies behind it may be
 * anything. */
static void decoding_touches_no_key_past_its_position(void **state)
{
    (void)state;
    enum { CACHE = 300, POSITION = 41 };
    const tn_attention_attr attr = {.softcap = 20.0};
    bench t;
    bench_open(&t, "{}");
    float *q = bench_in(&t, TN_F32, 4, (int64_t[]){1, 1, 4, 8});
    float *k = bench_in(&t, TN_F32, 4, (int64_t[]){1, CACHE, 2, 8});
    float *v = bench_in(&t, TN_F32, 4, (int64_t[]){1, CACHE, 2, 8});
    int32_t *position = bench_in(&t, TN_I32, 2, (int64_t[]){1, 1});
    float *o = bench_out(&t, TN_F32, 4, (int64_t[]){1, 1, 4, 8});
    bench_out(&t, TN_F32, 3, (int64_t[]){1, 4, 1});
    bench_fill(q, 32, 1.0f, 1);
    bench_fill(k, CACHE * 16, 1.0f, 2);
    bench_fill(v, CACHE * 16, 1.0f, 3);
    for (int i = (POSITION + 1) * 16; i < CACHE * 16; i++)
        k[i] = v[i] = NAN;
    *position = POSITION;
    bench_run(&t, TN_OP_ATTENTION, &attr);
    for (int i = 0; i < 32; i++)
        assert_true(isfinite(o[i]));
    bench_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_in_slices_is_the_product),
        cmocka_unit_test(a_product_has_the_same_bits_for_any_threads),
        cmocka_unit_test(a_product_has_a_slice_for_each_thread),
        cmocka_unit_test(long_sums_keep_float_accuracy),
        cmocka_unit_test(reductions_have_the_same_bits_for_any_threads),
        cmocka_unit_test(a_large_gradient_is_zero_but_for_its_rows),
        cmocka_unit_test(attention_over_many_blocks_is_attention),
        cmocka_unit_test(attention_has_the_same_bits_for_any_threads),
        cmocka_unit_test(packed_documents_attend_as_if_alone),
        cmocka_unit_test(packed_documents_have_the_gradients_they_have_alone),
        cmocka_unit_test(keys_before_a_document_are_not_touched),
        cmocka_unit_test(decoding_touches_no_key_past_its_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
