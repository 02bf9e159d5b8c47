/*
 * test_loss.c - the fused cross-entropy at sizes that cut it into chunks,
 * halves and stretches, and rows whose target is far from likely.
 */
#include "bf16.h"
#include "cpu_bits.h"

/* Several chunks of rows; words enough for two halves of dx; a sum in two
 * stretches, over several parts of a row. */
typedef struct sizes {
    int tokens, words, width;
} sizes;
static const sizes many = {1100, 67, 24}, wide = {70, 2100, 24},
                   deep = {37, 1201, 601};

static struct {
    sizes of;
    double cap;
    float scale; /* of x */
    tn_dtype dtype;
    tn_op op;
} shape;

static void set_loss(sizes of, double cap)
{
    shape.of = of;
    shape.cap = cap;
    shape.scale = 1.0f;
    shape.dtype = TN_F32;
    shape.op = TN_OP_LINEAR_CROSS_ENTROPY_BWD;
}

/* Numbers that bf16 has, in the loss's dtype. */
static void add_numbers(bench *t, int64_t rows, int64_t columns, float scale,
                        uint32_t seed)
{
    const size_t count = (size_t)(rows * columns);
    void *to = bench_in(t, shape.dtype, 2, (int64_t[]){rows, columns});
    float *x = malloc(count * sizeof *x);
    uint16_t *half = malloc(count * sizeof *half);
    bench_fill(x, rows * columns, scale, seed);
    round_to_bf16(x, half, rows * columns);
    if (shape.dtype == TN_BF16)
        memcpy(to, half, count * sizeof *half);
    else
        memcpy(to, x, count * sizeof *x);
    free(half);
    free(x);
}

static void make_loss(bench *t)
{
    const tn_loss_attr attr = {.softcap = shape.cap};
    const int64_t N = shape.of.tokens, V = shape.of.words, C = shape.of.width;
    const int backward = shape.op == TN_OP_LINEAR_CROSS_ENTROPY_BWD;
    add_numbers(t, N, C, shape.scale, 5);
    add_numbers(t, V, C, 1.0f, 6);
    int32_t *target = bench_in(t, TN_I32, 1, (int64_t[]){N});
    for (int64_t i = 0; i < N; i++)
        target[i] = i % 11 == 3 ? -1 : (int32_t)(i * 13 % V);
    if (backward) {
        float *dnll = bench_in(t, TN_F32, 1, (int64_t[]){N});
        bench_fill(dnll, N, 1.0f, 7);
        bench_out(t, TN_F32, 2, (int64_t[]){N, C});
        bench_out(t, TN_F32, 2, (int64_t[]){V, C});
    }
    bench_out(t, TN_F32, 1, (int64_t[]){N});
    bench_run(t, shape.op, &attr);
}

/* Numbers of an operand, which the caller frees. */
static double *numbers(const bench *t, const tn_operand *o)
{
    const void *at = t->memory + o->offset;
    const int64_t count = o->shape[0] * (o->rank > 1 ? o->shape[1] : 1);
    double *to = malloc((size_t)count * sizeof *to);
    for (int64_t i = 0; i < count; i++)
        to[i] = o->dtype == TN_BF16
                    ? (double)from_bf16(((const uint16_t *)at)[i])
                    : (double)((const float *)at)[i];
    return to;
}

/* Of one row x (C): dz (V), before the cap, and nll. */
static double plain_loss(const double *x, const double *w, int32_t target,
                         double dnll, double *dz)
{
    const double cap = shape.cap;
    const int V = shape.of.words, C = shape.of.width;
    double *z = malloc((size_t)V * sizeof *z), most = -1e300, sum = 0.0;
    memset(dz, 0, (size_t)V * sizeof *dz);
    for (int v = 0; v < V; v++) {
        double dot = 0.0;
        for (int c = 0; c < C; c++)
            dot += x[c] * w[v * C + c];
        z[v] = cap > 0 ? cap * tanh(dot / cap) : dot;
        most = z[v] > most ? z[v] : most;
    }
    for (int v = 0; v < V; v++)
        sum += exp(z[v] - most);
    for (int v = 0; v < V && target >= 0; v++) {
        const double p = exp(z[v] - most) / sum - (v == target ? 1.0 : 0.0);
        dz[v] = p * dnll * (cap > 0 ? 1.0 - z[v] * z[v] / (cap * cap) : 1.0);
    }
    const double nll = target < 0 ? 0.0 : log(sum) + most - z[target];
    free(z);
    return nll;
}

typedef struct limits {
    double nll, dx, dw;
} limits;

/* dx (C) = dz W, and dw += dz' x. */
static void plain_gradients(const double *dz, const double *x, const double *w,
                            double *dx, double *dw)
{
    const int V = shape.of.words, C = shape.of.width;
    memset(dx, 0, (size_t)C * sizeof *dx);
    for (int v = 0; v < V; v++)
        for (int c = 0; c < C; c++) {
            dx[c] += dz[v] * w[v * C + c];
            dw[v * C + c] += dz[v] * x[c];
        }
}

static void expect_near(const double *got, const double *want, int count,
                        double within)
{
    for (int i = 0; i < count; i++)
        tn_assert_near(got[i], want[i], within);
}

/* The largest nll. */
static double expect_gradients(const bench *t, limits within)
{
    const int V = shape.of.words, C = shape.of.width;
    double *x = numbers(t, &t->in[0]), *w = numbers(t, &t->in[1]);
    double *dnll = numbers(t, &t->in[3]), *got_dx = numbers(t, &t->out[0]);
    double *got_dw = numbers(t, &t->out[1]), *nll = numbers(t, &t->out[2]);
    double *dz = malloc((size_t)V * sizeof *dz), largest = 0.0;
    double *dx = malloc((size_t)C * sizeof *dx);
    double *dw = calloc((size_t)V * (size_t)C, sizeof *dw);
    const int32_t *target = (void *)(t->memory + t->in[2].offset);
    for (int i = 0; i < shape.of.tokens; i++) {
        const double want = plain_loss(x + i * C, w, target[i], dnll[i], dz);
        largest = want > largest ? want : largest;
        plain_gradients(dz, x + i * C, w, dx, dw);
        expect_near(nll + i, &want, 1, within.nll);
        expect_near(got_dx + i * C, dx, C, within.dx);
    }
    expect_near(got_dw, dw, V * C, within.dw);
    double *all[] = {x, w, dnll, got_dx, got_dw, nll, dz, dx, dw};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    return largest;
}

static double expect_loss(const char *options, limits within)
{
    bench t;
    bench_open(&t, options);
    make_loss(&t);
    const double largest = expect_gradients(&t, within);
    bench_close(&t);
    return largest;
}

static const limits floats = {1e-5, 1e-5, 1e-4};

static void a_loss_in_chunks_and_halves_is_the_loss(void **state)
{
    (void)state;
    set_loss(many, 15.0);
    expect_loss("{threads: 2}", floats);
    set_loss(many, 0.0);
    expect_loss("{threads: 2}", floats);
    set_loss(wide, 0.0);
    expect_loss("{threads: 2}", floats);
}

static void a_loss_of_wide_rows_is_the_loss(void **state)
{
    (void)state;
    set_loss(deep, 0.0);
    shape.scale = 0.3f;
    expect_loss("{threads: 2}", floats);
    set_loss(deep, 15.0);
    expect_loss("{threads: 2}", (limits){2e-5, 2e-5, 1e-4});
}

/* Gradients of logits, which sum up to 2 at most, are rounded to 2^-9 of each
 * by bf16. */
static void a_loss_of_integers_is_the_loss(void **state)
{
    (void)state;
    const char *options[2];
    const int sets = bench_with_integers(options);
    const sizes of[] = {many, wide, deep};
    for (int s = 0; s < sets; s++)
        for (int i = 0; i < 3; i++) {
            set_loss(of[i], i == 1 ? 8.0 : 0.0);
            shape.scale = i == 2 ? 0.3f : 1.0f;
            shape.dtype = TN_BF16;
            expect_loss(options[s], (limits){1e-3, 4e-3, 1e-2});
        }
}

/* Past 2^40 times the target, which is 28 in nll, rows are taken again; past
 * 2^128 there would be no other way. */
static void a_row_far_from_its_target_is_the_loss(void **state)
{
    (void)state;
    const char *options[2];
    const int sets = bench_with_integers(options);
    for (int i = 0; i < 2; i++) {
        set_loss(i ? wide : many, i ? 70.0 : 0.0);
        shape.scale = 40.0f;
        assert_true(expect_loss("{threads: 2}", (limits){2e-4, 2e-4, 5e-4}) >
                    100.0);
        shape.dtype = TN_BF16;
        for (int s = 0; s < sets; s++)
            expect_loss(options[s], (limits){4e-2, 3e-2, 1.0});
    }
}

static void a_loss_has_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    const sizes of[] = {many, wide, deep};
    for (int i = 0; i < 6; i++) {
        set_loss(of[i % 3], i % 3 == 0 ? 15.0 : 0.0);
        shape.scale = i == 0 ? 40.0f : 1.0f;
        shape.dtype = i < 3 ? TN_F32 : TN_BF16;
        same_bits(make_loss);
    }
}

/* It keeps no powers, and has their sums. */
static void a_loss_alone_is_that_of_its_gradient(void **state)
{
    (void)state;
    static const tn_op ops[] = {TN_OP_LINEAR_CROSS_ENTROPY,
                                TN_OP_LINEAR_CROSS_ENTROPY_BWD};
    for (int i = 0; i < 4; i++) {
        float nll[2][64];
        for (int o = 0; o < 2; o++) {
            bench t;
            set_loss(deep, i & 1 ? 15.0 : 0.0);
            shape.dtype = i & 2 ? TN_BF16 : TN_F32;
            shape.op = ops[o];
            bench_open(&t, "{threads: 2}");
            make_loss(&t);
            const tn_operand *out = &t.out[t.out_count - 1];
            memcpy(nll[o], t.memory + out->offset,
                   (size_t)deep.tokens * sizeof(float));
            bench_close(&t);
        }
        assert_memory_equal(nll[0], nll[1],
                            (size_t)deep.tokens * sizeof(float));
    }
}

/* Of one token, whose logits are the numbers of w: dw is softmax - onehot. */
static void probabilities_of_a_loss_keep_their_digits(void **state)
{
    (void)state;
    enum { WORDS = 4001, TARGET = 7 };
    static const char *const options[] = {"{vectors: avx2}", "{threads: 2}"};
    const tn_loss_attr attr = {0};
    for (int o = 0; o < 2; o++) {
        bench t;
        double sum = 0.0;
        bench_open(&t, options[o]);
        float *x = bench_in(&t, TN_F32, 2, (int64_t[]){1, 1});
        float *z = bench_in(&t, TN_F32, 2, (int64_t[]){WORDS, 1});
        int32_t *target = bench_in(&t, TN_I32, 1, (int64_t[]){1});
        float *dnll = bench_in(&t, TN_F32, 1, (int64_t[]){1});
        bench_out(&t, TN_F32, 2, (int64_t[]){1, 1});
        float *dw = bench_out(&t, TN_F32, 2, (int64_t[]){WORDS, 1});
        bench_out(&t, TN_F32, 1, (int64_t[]){1});
        *x = *dnll = 1.0f;
        *target = TARGET;
        for (int v = 0; v < WORDS; v++) {
            z[v] = 3.0f - 85.0f * (float)v / WORDS;
            sum += exp((double)z[v]);
        }
        bench_run(&t, TN_OP_LINEAR_CROSS_ENTROPY_BWD, &attr);
        for (int v = 0; v < WORDS; v++) {
            /* z log2 e is rounded: the farther off, the less is certain */
            const double limit = 0x1p-24 * (6.0 + 1.5 * (3.0 - (double)z[v]));
            const double p = exp((double)z[v]) / sum;
            const double want = v == TARGET ? p - 1.0 : p;
            tn_assert_near((double)dw[v] / want, 1.0, limit);
        }
        bench_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_in_chunks_and_halves_is_the_loss),
        cmocka_unit_test(a_loss_of_wide_rows_is_the_loss),
        cmocka_unit_test(a_loss_of_integers_is_the_loss),
        cmocka_unit_test(a_row_far_from_its_target_is_the_loss),
        cmocka_unit_test(a_loss_has_the_same_bits_for_any_threads),
        cmocka_unit_test(a_loss_alone_is_that_of_its_gradient),
        cmocka_unit_test(probabilities_of_a_loss_keep_their_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
