/*
 * test_gradients.c - the gradient of every op against central differences, in
 * double, on the oracle.
 *
 *     L = sum over outputs and elements of out * seed
 *     dL/dx ~ (L(x + h) - L(x - h)) / 2h,      h = 1e-5
 *
 * Each case runs twice: with the oracle's own composites and with their
 * decompositions. The truncation error is h^2/6 of a third derivative and the
 * rounding error 1e-16 L / h, so 1e-7 of the largest gradient is much more
 * than a right one is off by, and much less than a wrong one.
 */
#include "cases.h"

static const double h = 1e-5;
static const double allowed = 1e-7;

static tn_rig *native, *decomposed;

enum { TINY_WORK = 48, DRAWS = 40 };

typedef struct checker {
    const op_case *c;
    tn_rig_program *p;
    char what[160];
} checker;

/* L, from the outputs of a run. */
static double loss(const checker *k)
{
    double sum = 0.0;
    must_run(k->p, k->what);
    for (uint32_t o = 0; o < k->c->rig.out_count; o++) {
        const tn_rig_result y = tn_rig_output(k->p, o);
        if (y.dtype != TN_F64)
            continue;
        double *seed = malloc((size_t)y.count * sizeof *seed);
        tn_rig_draw_seed(&k->c->rig, o, y.count, seed);
        for (int64_t i = 0; i < y.count; i++)
            sum += seed[i] * y.values[i];
        free(seed);
    }
    return sum;
}

static double difference(const checker *k, uint32_t input, double *x, int64_t i)
{
    const double at = x[i];
    x[i] = at + h;
    tn_rig_set(k->p, input, x);
    const double above = loss(k);
    x[i] = at - h;
    tn_rig_set(k->p, input, x);
    const double below = loss(k);
    x[i] = at;
    return (above - below) / (2.0 * h);
}

/* Input `input`, whose gradient is output `out`: none means zero. */
static void check_input(const checker *k, uint32_t input, uint32_t out)
{
    const int64_t count = tn_rig_leaf_count(&k->c->rig.in[input]);
    double *x = malloc((size_t)count * sizeof *x);
    double *got = calloc((size_t)count, sizeof *got);
    double *want = malloc((size_t)count * sizeof *want);
    double largest = 1.0;
    tn_rig_draw(&k->c->rig, input, x);
    tn_rig_set(k->p, input, x);
    must_run(k->p, k->what);
    const tn_rig_result g = tn_rig_output(k->p, out);
    if (g.values) {
        assert_int_equal(g.count, count);
        memcpy(got, g.values, (size_t)count * sizeof *got);
    }
    for (int64_t i = 0; i < count; i++) {
        want[i] = difference(k, input, x, i);
        largest = fmax(largest, fabs(want[i]));
    }
    tn_rig_set(k->p, input, x);
    expect_close(k->what, got, want, count, allowed * largest, 0.0);
    free(x);
    free(got);
    free(want);
}

static void check_case(tn_rig *rig, const char *kind, const family *f,
                       uint32_t number)
{
    const tn_rig_how how = {.dtype = TN_F64, .no_fuse = number & 1};
    op_case *c = malloc(sizeof *c);
    checker k = {.c = c};
    draw_case(f, number, SCALE_TINY, TINY_WORK, c);
    snprintf(k.what, sizeof k.what, "%s, case %u, %s", f->name, number, kind);
    k.p = must_build(rig, c, &how, k.what);
    uint32_t out = c->rig.out_count;
    for (uint32_t i = 0; i < c->rig.in_count; i++)
        if (c->rig.wrt >> i & 1u)
            check_input(&k, i, out++);
    tn_rig_free(k.p);
    free(c);
}

static void gradient_matches_central_differences(void **state)
{
    const family_test *t = *state;
    const uint32_t draws = is_quick() ? 2 : DRAWS;
    for (uint32_t number = 0; number < draws; number++) {
        check_case(native, "native", t->family, number);
        check_case(decomposed, "decomposed", t->family, number);
    }
}

/* Draws that want no gradient at all are of ops that have none. */
static int has_gradient(const family *f)
{
    op_case *c = malloc(sizeof *c);
    uint32_t wrt = 0;
    for (uint32_t number = 0; number < DRAWS; number++) {
        draw_case(f, number, SCALE_TINY, TINY_WORK, c);
        wrt |= c->rig.wrt;
    }
    free(c);
    return wrt != 0;
}

int main(void)
{
    static const char *const oracle[] = {"the oracle"};
    native = tn_rig_open("reference", "{}");
    decomposed = tn_rig_open("reference", "{native: false}");
    const int failed =
        run_families("gradients", gradient_matches_central_differences,
                     has_gradient, oracle, 1);
    tn_rig_close(native);
    tn_rig_close(decomposed);
    return failed;
}
