/*
 * tn_test.c - the assertions of tn_test.h.
 */
#include "tn_test.h"

static int is_close(double got, double want, double absolute, double relative)
{
    return fabs(got - want) <= absolute + relative * fabs(want);
}

void tn_assert_close_double_(const char *file, int line, const double *got,
                             const double *want, size_t count, double absolute,
                             double relative)
{
    size_t bad = 0, worst = 0;
    double worst_excess = -1.0;
    for (size_t i = 0; i < count; i++) {
        if (is_close(got[i], want[i], absolute, relative))
            continue;
        const double difference = fabs(got[i] - want[i]);
        const double excess =
            isfinite(difference) ? difference : (double)INFINITY;
        if (excess > worst_excess) {
            worst_excess = excess;
            worst = i;
        }
        bad++;
    }
    if (!bad)
        return;
    print_error("%zu of %zu differ, worst [%zu]: got %.9g, want %.9g "
                "(+- %g + %g |want|)\n",
                bad, count, worst, got[worst], want[worst], absolute, relative);
    _fail(file, line);
}

void tn_assert_close_(const char *file, int line, const float *got,
                      const float *want, size_t count, double absolute,
                      double relative)
{
    double *pair = malloc(2 * (count + 1) * sizeof *pair);
    assert_non_null(pair);
    for (size_t i = 0; i < count; i++) {
        pair[i] = (double)got[i];
        pair[count + i] = (double)want[i];
    }
    tn_assert_close_double_(file, line, pair, pair + count, count, absolute,
                            relative);
    free(pair);
}

void tn_assert_ok_(const char *file, int line, tn_status status,
                   const char *text, const tn_error *err)
{
    if (status == TN_OK)
        return;
    print_error("%s returned %d%s%s\n", text, status, err ? ": " : "",
                err ? err->message : "");
    _fail(file, line);
}

void tn_assert_says_(const char *file, int line, const char *text,
                     const char *part)
{
    if (strstr(text, part))
        return;
    print_error("\"%s\" does not say \"%s\"\n", text, part);
    _fail(file, line);
}
