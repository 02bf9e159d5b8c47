/*
 * compare.c - what the tests of this folder share: one CMocka test for each
 * family, and comparisons that say which case and element is wrong.
 */
#include "cases.h"

int is_quick(void)
{
    const char *quick = getenv("TENON_QUICK");
    return quick && strcmp(quick, "0") != 0;
}

void draw_case(const family *f, uint32_t number, uint32_t scale, int64_t work,
               op_case *c)
{
    uint32_t seed = 2166136261u; /* FNV-1a of the name: stable when rows move */
    for (const char *s = f->name; *s; s++)
        seed = (seed ^ (uint8_t)*s) * 16777619u;
    dice d = {.seed = seed + number, .scale = scale, .work = work};
    memset(c, 0, sizeof *c);
    c->rig.with = &c->with;
    c->rig.out_count = 1;
    c->rig.seed = d.seed;
    c->length = 1;
    f->draw(&d, c, f->parameter);
    if (!c->gradient_length)
        c->gradient_length = c->length;
}

int run_families(const char *name, CMUnitTestFunction body,
                 int (*wanted)(const family *f), const char *const *backends,
                 uint32_t backend_count)
{
    const size_t most = (size_t)family_count * backend_count;
    struct CMUnitTest *tests = calloc(most + 1, sizeof *tests);
    family_test *states = calloc(most + 1, sizeof *states);
    char(*names)[96] = calloc(most + 1, sizeof *names);
    size_t count = 0;
    for (uint32_t b = 0; b < backend_count; b++)
        for (uint32_t f = 0; f < family_count; f++) {
            if (wanted && !wanted(&families[f]))
                continue;
            states[count] = (family_test){&families[f], backends[b]};
            snprintf(names[count], sizeof names[count], "%s of %s",
                     families[f].name, backends[b]);
            tests[count] = (struct CMUnitTest){
                .name = names[count],
                .test_func = body,
                .initial_state = &states[count],
            };
            count++;
        }
    const int failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    free(tests);
    free(states);
    free(names);
    return failed;
}

static int is_close(double got, double want, double absolute, double relative)
{
    if (isnan(want))
        return isnan(got);
    if (isinf(want))
        return got == want;
    return fabs(got - want) <= absolute + relative * fabs(want);
}

void expect_close(const char *what, const double *got, const double *want,
                  int64_t count, double absolute, double relative)
{
    int64_t bad = 0, worst = 0;
    double excess = -1.0;
    for (int64_t i = 0; i < count; i++) {
        if (is_close(got[i], want[i], absolute, relative))
            continue;
        const double off = fabs(got[i] - want[i]);
        const double size = isfinite(off) ? off : (double)INFINITY;
        if (size > excess) {
            excess = size;
            worst = i;
        }
        bad++;
    }
    if (!bad)
        return;
    print_error("%s: %lld of %lld differ, worst [%lld]: got %.12g, want %.12g, "
                "off by %.3g (allowed %.3g + %.3g |want|)\n",
                what, (long long)bad, (long long)count, (long long)worst,
                got[worst], want[worst], got[worst] - want[worst], absolute,
                relative);
    fail();
}

void expect_same_bits(const char *what, const double *got, const double *want,
                      int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (memcmp(&got[i], &want[i], sizeof *got)) {
            print_error("%s: element %lld of %lld is %.17g and %.17g\n", what,
                        (long long)i, (long long)count, got[i], want[i]);
            fail();
        }
}

tn_rig_program *must_build(tn_rig *rig, const op_case *c, const tn_rig_how *how,
                           const char *what)
{
    tn_error err = TN_ERROR_NONE;
    tn_rig_program *p = tn_rig_build(rig, &c->rig, how, &err);
    if (!p) {
        print_error("%s: %s\n", what, err.message);
        fail();
    }
    return p;
}

void must_run(tn_rig_program *p, const char *what)
{
    tn_error err = TN_ERROR_NONE;
    if (tn_rig_run(p, &err) != TN_OK) {
        print_error("%s: %s\n", what, err.message);
        fail();
    }
}
