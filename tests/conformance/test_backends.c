/*
 * test_backends.c - every backend that lies beside the oracle, on every op.
 *
 * The same case runs in f32 on the backend and in f64 on the oracle, on the
 * same numbers, and may differ by what families.c allows. Then the backend is
 * held against itself, bit for bit: run twice, on one thread and on two, with
 * transients that share bytes and with transients that do not. The rig checks
 * on every run that nothing is read before it is written (memory is NaN) and
 * that no byte outside the outputs changes.
 *
 * The oracle's own f32 mode is one of the backends: it stores in f32 what it
 * computes in double, so what it fails at is the core's fault or a tolerance's.
 * It is slow and gets small cases. A GPU in software compiles a kernel for each
 * and gets few.
 */
#include "cases.h"

#include <float.h>

enum { DRAWS = 24, SOFTWARE_DRAWS = 6, QUICK_DRAWS = 3 };

static tn_rig *oracle;

/* ---- against the oracle ---- */

static void compare_outputs(const tn_rig_program *got,
                            const tn_rig_program *want, const op_case *c,
                            const family *f, uint32_t number)
{
    const tolerance t = tolerance_of(f);
    char what[128];
    const uint32_t first_gradient =
        tn_rig_output_count(want) - (uint32_t)__builtin_popcount(c->rig.wrt);
    assert_int_equal(tn_rig_output_count(got), tn_rig_output_count(want));
    for (uint32_t o = 0; o < tn_rig_output_count(got); o++) {
        const int gradient = o >= first_gradient;
        const tn_rig_result a = tn_rig_output(got, o);
        const tn_rig_result b = tn_rig_output(want, o);
        const double absolute =
            gradient ? t.gradient_absolute * (double)c->gradient_length
                     : t.absolute * (double)c->length;
        snprintf(what, sizeof what, "%s, case %u, %s %u", f->name, number,
                 gradient ? "gradient" : "output", o);
        assert_int_equal(a.count, b.count);
        expect_close(what, a.values, b.values, a.count,
                     absolute * (double)FLT_EPSILON,
                     (gradient ? t.gradient_relative : t.relative) *
                         (double)FLT_EPSILON);
    }
}

/* Sums into a slot must have become accumulate bits, or these cases test
 * nothing. */
static void expect_accumulation(const tn_rig_program *p, const family *f)
{
    const tn_plan *plan = tn_rig_plan(p);
    uint32_t bits = 0;
    for (uint32_t i = 0; i < plan->node_count; i++)
        bits |= plan->nodes[i].accumulate;
    if (f->draw == draw_accumulate && !bits) {
        print_error("%s: no node adds into place\n", f->name);
        fail();
    }
}

/* ---- against itself ---- */

static void compare_bits(const tn_rig_program *a, const tn_rig_program *b,
                         const family *f, uint32_t number, const char *how)
{
    char what[128];
    snprintf(what, sizeof what, "%s, case %u, %s", f->name, number, how);
    for (uint32_t o = 0; o < tn_rig_output_count(a); o++)
        expect_same_bits(what, tn_rig_output(a, o).values,
                         tn_rig_output(b, o).values, tn_rig_output(a, o).count);
}

typedef struct rigs {
    tn_rig *two, *one; /* threads; or other options that change no bit */
    uint32_t draws;
} rigs;

static void check_case(const rigs *r, const family *f, uint32_t number,
                       uint32_t scale, int64_t work)
{
    const tn_rig_how f32 = {.dtype = TN_F32, .no_fuse = number % 3 == 2};
    const tn_rig_how apart = {
        .dtype = TN_F32, .no_fuse = f32.no_fuse, .no_reuse = 1};
    const tn_rig_how f64 = {.dtype = TN_F64, .no_fuse = 1};
    op_case *c = malloc(sizeof *c);
    char what[128];
    draw_case(f, number, scale, work, c);
    snprintf(what, sizeof what, "%s, case %u", f->name, number);
    tn_rig_program *want = must_build(oracle, c, &f64, what);
    tn_rig_program *got = must_build(r->two, c, &f32, what);
    tn_rig_program *again = must_build(r->two, c, &f32, what);
    tn_rig_program *single = must_build(r->one, c, &f32, what);
    tn_rig_program *spread = must_build(r->two, c, &apart, what);
    must_run(want, what);
    must_run(got, what);
    compare_outputs(got, want, c, f, number);
    if (!f32.no_fuse)
        expect_accumulation(got, f);
    must_run(again, what);
    must_run(again, what);
    compare_bits(got, again, f, number, "run twice");
    must_run(single, what);
    compare_bits(got, single, f, number, "two ways to run");
    must_run(spread, what);
    compare_bits(got, spread, f, number, "transients together and apart");
    tn_rig_free(want);
    tn_rig_free(got);
    tn_rig_free(again);
    tn_rig_free(single);
    tn_rig_free(spread);
    free(c);
}

/*
 * Zeros, infinities, NaN, overflow: the oracle's double is rounded to f32
 * first, where what is too large becomes infinite. Results below FLT_MIN may be
 * flushed to zero.
 */
static void check_special_values(const rigs *r, const family *f)
{
    const tn_rig_how f32 = {.dtype = TN_F32}, f64 = {.dtype = TN_F64};
    op_case *c = malloc(sizeof *c);
    if (f->draw == draw_instruction &&
        special_case(c, (tn_map_op)f->parameter)) {
        tn_rig_program *a = must_build(r->two, c, &f32, f->name);
        tn_rig_program *b = must_build(oracle, c, &f64, f->name);
        must_run(a, f->name);
        must_run(b, f->name);
        const tn_rig_result got = tn_rig_output(a, 0);
        const tn_rig_result exact = tn_rig_output(b, 0);
        double *want = malloc((size_t)exact.count * sizeof *want);
        for (int64_t i = 0; i < exact.count; i++)
            want[i] = (double)(float)exact.values[i];
        expect_close(f->name, got.values, want, got.count, (double)FLT_MIN,
                     tolerance_of(f).relative * (double)FLT_EPSILON);
        free(want);
        tn_rig_free(a);
        tn_rig_free(b);
    }
    free(c);
}

/* ---- in bf16 ---- */

/*
 * Backend and oracle run one plan of bf16 and f32 values, the latter in double.
 * What both store in bf16 they round once more: at most an ulp apart, 2^-7 of
 * the value, where the numbers themselves lie on either side of a tie. And the
 * fast products of pairs round each addition, and products of the loss's
 * gradient round that first: 2^-8 of a term.
 */
static void check_bf16(const rigs *r, const family *f, uint32_t number)
{
    const tn_rig_how how = {.dtype = TN_F32, .no_fuse = 1, .narrow = 1};
    const tolerance t = tolerance_of(f);
    op_case *c = malloc(sizeof *c);
    char what[128];
    draw_case(f, number, number % 2 ? SCALE_TILES : SCALE_TINY, 20000, c);
    snprintf(what, sizeof what, "%s, case %u in bf16", f->name, number);
    tn_rig_program *want = must_build(oracle, c, &how, what);
    tn_rig_program *got = must_build(r->two, c, &how, what);
    tn_rig_program *single = must_build(r->one, c, &how, what);
    must_run(want, what);
    must_run(got, what);
    must_run(single, what);
    for (uint32_t o = 0; o < tn_rig_output_count(got); o++) {
        const tn_rig_result a = tn_rig_output(got, o);
        const tn_rig_result b = tn_rig_output(want, o);
        const double rounding = fmax(t.absolute, t.gradient_absolute) *
                                (double)(c->length + c->gradient_length) *
                                (double)FLT_EPSILON;
        expect_close(what, a.values, b.values, a.count, rounding + 0x1p-7,
                     0x1p-7);
    }
    compare_bits(got, single, f, number, "two ways to run in bf16");
    tn_rig_free(want);
    tn_rig_free(got);
    tn_rig_free(single);
    free(c);
}

/* Those that no bf16 operand reaches, and chains, where one rounding the other
 * way is carried on and enlarged. */
static int is_narrow(const family *f)
{
    return f->op != 0 && f->draw != draw_chain && f->draw != draw_long_chain &&
           f->draw != draw_cast && f->draw != draw_to_integer &&
           f->draw != draw_topk && f->draw != draw_argmax &&
           f->draw != draw_sample && f->draw != draw_newton_schulz &&
           f->draw != draw_fill;
}

/* The backend that is open now: families of one follow each other. */
static struct {
    const char *name;
    rigs rigs;
} current;

static void close_current(void)
{
    tn_rig_close(current.rigs.two);
    tn_rig_close(current.rigs.one);
    memset(&current, 0, sizeof current);
}

/*
 * Two ways to run that must not differ in a bit: two threads and one; copies
 * straight to the device's memory and through staging, under the eyes of the
 * driver's own checker; a graph and op by op.
 */
static const struct {
    const char *option, *two, *one;
} ways[] = {
    {"threads", "{threads: 2}", "{threads: 1}"},
    {"staging", "{validation: true, cache: false}",
     "{staging: true, cache: false}"},
    {"graph", "{graph: true}", "{graph: false}"},
};

static rigs open_rigs(const char *backend)
{
    if (current.name == backend)
        return current.rigs;
    close_current();
    rigs *r = &current.rigs;
    const char *two = "{}", *one = "{}";
    r->one = tn_rig_open(backend, "{}");
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        if (tn_rig_has_option(r->one, ways[i].option)) {
            two = ways[i].two;
            one = ways[i].one;
            break;
        }
    tn_rig_close(r->one);
    r->one = tn_rig_open(backend, one);
    r->two = tn_rig_open(backend, two);
    r->draws = is_quick() ? QUICK_DRAWS
               : tn_rig_score(r->one) == 1 && strcmp(backend, "reference")
                   ? SOFTWARE_DRAWS
                   : DRAWS;
    current.name = backend;
    return *r;
}

/* Half-width numbers are asked of those that say they compute in them. */
static int is_asked(const rigs *r, const family *f)
{
    return f->draw != draw_cast || f->parameter != TN_BF16 ||
           tn_rig_computes(r->two, TN_BF16);
}

static void backend_agrees_with_the_oracle(void **state)
{
    const family_test *t = *state;
    const rigs r = open_rigs(t->backend);
    const int oracles = !strcmp(t->backend, "reference");
    const int small = is_quick() || oracles;
    if (!oracles && is_narrow(t->family) && tn_rig_computes(r.two, TN_BF16))
        for (uint32_t number = 0; number < r.draws / 3; number++)
            check_bf16(&r, t->family, number);
    if (is_asked(&r, t->family))
        check_special_values(&r, t->family);
    for (uint32_t number = 0; number < r.draws && is_asked(&r, t->family);
         number++)
        if (small)
            check_case(&r, t->family, number, SCALE_SMALL, 1000);
        else
            check_case(&r, t->family, number,
                       number % 4 ? SCALE_TILES : SCALE_TINY,
                       number % 4 == 3 ? 300000 : 20000);
}

int main(void)
{
    const char *names[16];
    const uint32_t count = tn_rig_backends(names, 16);
    oracle = tn_rig_open("reference", "{}");
    const int failed = run_families("backends", backend_agrees_with_the_oracle,
                                    NULL, names, count);
    close_current();
    tn_rig_close(oracle);
    for (uint32_t i = 0; i < count; i++)
        free((void *)(uintptr_t)names[i]);
    return failed;
}
