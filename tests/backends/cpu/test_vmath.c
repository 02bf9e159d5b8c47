/*
 * test_vmath.c - the backend's exp, log and family over all of the floats.
 *
 * Each function is sampled at every 4001st of the 2^32 floats, which meets all
 * exponents, subnormals, infinities and NaNs, and densely in the places where
 * its formula changes, against libm in double. map.def asks for 4 ulp; the
 * limits here are what the formulas give, rounded up, so that a slip shows.
 */
#include "cpu_bench.h"

enum { STRIDE = 4001, DENSE = 1 << 18 };
enum { SAMPLES = 4294967296 / STRIDE + 1 + DENSE };

typedef struct function {
    const char *name;
    tn_map_op op;
    double (*exact)(double);
    double limit;    /* ulp */
    float low, high; /* sampled densely */
} function;

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static const function functions[] = {
    {"exp", TN_MAP_EXP, exp, 1.0, -110.0f, 90.0f},
    {"expm1", TN_MAP_EXPM1, expm1, 1.4, -2.0f, 2.0f},
    {"log", TN_MAP_LOG, log, 0.9, 0.5f, 2.0f},
    {"log1p", TN_MAP_LOG1P, log1p, 0.9, -0.9f, 2.0f},
    {"tanh", TN_MAP_TANH, tanh, 2.4, -10.0f, 10.0f},
    {"sigmoid", TN_MAP_SIGMOID, sigmoid, 2.2, -105.0f, 20.0f},
    {"erf", TN_MAP_ERF, erf, 2.5, -4.0f, 4.0f},
    {"sin", TN_MAP_SIN, sin, 1.6, -100.0f, 100.0f},
    {"cos", TN_MAP_COS, cos, 1.6, -100.0f, 100.0f},
    {"sqrt", TN_MAP_SQRT, sqrt, 0.0, 0.0f, 4.0f},
};

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Distance in units of the last place of `want` as a float. */
static double ulps(float got, double want)
{
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0.0 : (double)INFINITY;
    if ((float)want == got)
        return 0.0;
    if (isinf(got) || isinf((float)want))
        return (double)INFINITY;
    int exponent;
    frexp(want, &exponent);
    const int last = exponent - 24 < -149 ? -149 : exponent - 24;
    return fabs((double)got - want) / ldexp(1.0, last);
}

static void set_one(tn_map_attr *attr, tn_map_op op, uint8_t arity)
{
    memset(attr, 0, sizeof *attr);
    for (uint8_t i = 0; i < arity; i++)
        attr->program.instruction[i] = (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    attr->program.instruction[arity] = (tn_instruction){op, 0, 1, 2};
    attr->program.instruction_count = (uint8_t)(arity + 1);
    attr->program.input_count = arity;
    attr->program.output_count = 1;
    attr->program.output[0] = arity;
}

static void sample(float *x, const function *f)
{
    int64_t n = 0;
    for (uint64_t bits = 0; bits < 4294967296u; bits += STRIDE)
        x[n++] = float_of((uint32_t)bits);
    for (int64_t i = 0; n < SAMPLES; i++)
        x[n++] = f->low + (f->high - f->low) * (float)i / (float)DENSE;
}

static void check_function(const char *options, const function *f)
{
    const int64_t shape[] = {SAMPLES};
    tn_map_attr attr;
    bench t;
    bench_open(&t, options);
    float *x = bench_in(&t, TN_F32, 1, shape);
    float *y = bench_out(&t, TN_F32, 1, shape);
    sample(x, f);
    set_one(&attr, f->op, 1);
    bench_run(&t, TN_OP_MAP, &attr);
    double worst = 0.0;
    int64_t at = 0;
    for (int64_t i = 0; i < SAMPLES; i++) {
        const double error = ulps(y[i], f->exact((double)x[i]));
        if (error > worst) {
            worst = error;
            at = i;
        }
    }
    if (!(worst <= f->limit))
        print_error("%s with %s: %.2f ulp at %a: %a, exactly %a\n", f->name,
                    options, worst, (double)x[at], (double)y[at],
                    f->exact((double)x[at]));
    assert_true(worst <= f->limit);
    bench_close(&t);
}

static void functions_are_within_their_ulps_with_avx2(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        check_function("{vectors: avx2, threads: 2}", &functions[i]);
}

static void functions_are_within_their_ulps_with_avx512(void **state)
{
    (void)state;
    if (!bench_has_avx512())
        skip();
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        check_function("{vectors: avx512, threads: 2}", &functions[i]);
}

/* Bases over all positive floats, exponents so that results span the range. */
static void check_pow(const char *options)
{
    enum { COUNT = 1 << 19 };
    const int64_t shape[] = {COUNT};
    tn_map_attr attr;
    bench t;
    bench_open(&t, options);
    float *a = bench_in(&t, TN_F32, 1, shape);
    float *b = bench_in(&t, TN_F32, 1, shape);
    float *y = bench_out(&t, TN_F32, 1, shape);
    bench_fill(b, COUNT, 1.0f, 3);
    for (int64_t i = 0; i < COUNT; i++) {
        a[i] = float_of((uint32_t)(i * 4051) & 0x7fffffffu);
        const double log_a = log2((double)a[i]);
        b[i] *= i % 2 && isfinite(log_a) && log_a != 0.0
                    ? (float)(155.0 / log_a)
                    : 3.0f;
    }
    const float special[] = {0.0f, 1.0f, 0.5f, 2.0f, INFINITY, 1e-40f};
    const float powers[] = {0.0f, 1.0f, -1.0f, 0.5f, INFINITY, -INFINITY};
    for (int i = 0; i < 36; i++) {
        a[i] = special[i % 6];
        b[i] = powers[i / 6];
    }
    set_one(&attr, TN_MAP_POW, 2);
    bench_run(&t, TN_OP_MAP, &attr);
    for (int64_t i = 0; i < COUNT; i++) {
        const double want = pow((double)a[i], (double)b[i]);
        if (!(ulps(y[i], want) <= 2.0)) {
            print_error("pow(%a, %a): %a, exactly %a\n", (double)a[i],
                        (double)b[i], (double)y[i], want);
            fail();
        }
    }
    bench_close(&t);
}

static void pow_is_within_two_ulp(void **state)
{
    (void)state;
    check_pow("{vectors: avx2}");
    if (bench_has_avx512())
        check_pow("{vectors: avx512}");
}

static void expm1_and_log1p_keep_what_is_small(void **state)
{
    (void)state;
    const tn_map_op ops[] = {TN_MAP_EXPM1, TN_MAP_LOG1P, TN_MAP_SIN,
                             TN_MAP_TANH};
    for (int k = 0; k < 4; k++) {
        tn_map_attr attr;
        bench t;
        bench_open(&t, "{}");
        float *x = bench_in(&t, TN_F32, 1, (int64_t[]){4});
        float *y = bench_out(&t, TN_F32, 1, (int64_t[]){4});
        x[0] = 0x1p-30f;
        x[1] = -0x1p-140f;
        x[2] = -0.0f;
        x[3] = 0x1p-149f;
        set_one(&attr, ops[k], 1);
        bench_run(&t, TN_OP_MAP, &attr);
        assert_memory_equal(x, y, 4 * sizeof *x);
        bench_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_within_their_ulps_with_avx2),
        cmocka_unit_test(functions_are_within_their_ulps_with_avx512),
        cmocka_unit_test(pow_is_within_two_ulp),
        cmocka_unit_test(expm1_and_log1p_keep_what_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
