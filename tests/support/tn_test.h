/*
 * tn_test.h - includes CMocka rightly and compares floats honestly.
 *
 * Never use assert_float_equal: CMocka 1.1.5's passes NaN and infinity.
 */
#ifndef TN_TEST_H
#define TN_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tenon/base.h>

/* |got - want| <= absolute + relative * |want| for every element; NaN and
 * infinity never compare close. Prints the worst element and how many fail. */
#define tn_assert_close(got, want, count, absolute, relative)                  \
    tn_assert_close_(__FILE__, __LINE__, (got), (want), (size_t)(count),       \
                     (absolute), (relative))
void tn_assert_close_(const char *file, int line, const float *got,
                      const float *want, size_t count, double absolute,
                      double relative);

#define tn_assert_close_double(got, want, count, absolute, relative)           \
    tn_assert_close_double_(__FILE__, __LINE__, (got), (want),                 \
                            (size_t)(count), (absolute), (relative))
void tn_assert_close_double_(const char *file, int line, const double *got,
                             const double *want, size_t count, double absolute,
                             double relative);

/* One number each. */
#define tn_assert_near(got, want, tolerance)                                   \
    do {                                                                       \
        const double tn_got_ = (double)(got), tn_want_ = (double)(want);       \
        tn_assert_close_double_(__FILE__, __LINE__, &tn_got_, &tn_want_, 1,    \
                                (tolerance), 0.0);                             \
    } while (0)

#define tn_assert_ok(call)                                                     \
    tn_assert_ok_(__FILE__, __LINE__, (call), #call, NULL)
/* The same, printing err.message on failure. */
#define tn_assert_ok_err(call, err)                                            \
    tn_assert_ok_(__FILE__, __LINE__, (call), #call, &(err))
void tn_assert_ok_(const char *file, int line, tn_status status,
                   const char *text, const tn_error *err);

/* err.message holds `part`. */
#define tn_assert_error_says(err, part)                                        \
    tn_assert_says_(__FILE__, __LINE__, (err).message, (part))
void tn_assert_says_(const char *file, int line, const char *text,
                     const char *part);

#define TN_ERROR_NONE ((tn_error){0})

#endif
