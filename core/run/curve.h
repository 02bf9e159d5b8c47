/*
 * curve.h - the loss over the steps, as a picture and as text.
 */
#ifndef TENON_CURVE_H
#define TENON_CURVE_H

#include "run/metrics.h"

/* What both drawings share: two lines and the window they are seen through. */
typedef struct tni_point {
    double x, y;
} tni_point;

typedef struct tni_curve {
    const tni_point *train, *val;
    size_t train_count, val_count;
    double x_max; /* from 0 */
    double y_min, y_max;
    double x_tick, y_tick; /* distance of tick marks: 1, 2 or 5 times 10^n */
} tni_curve;

/* Losses of the reports; long runs are averaged down to `most` points. TN_EEND
 * where there is nothing to draw. */
tn_status tni_curve_make(tni_arena *arena, const tni_metrics *metrics,
                         size_t count, size_t most, tni_curve *curve,
                         tn_error *err);

/* loss.svg in the run's folder, from its metrics.jsonl. Nothing to draw yet is
 * fine. */
tn_status tni_curve_save(const char *dir, const char *title, tn_error *err);

/* One of several runs in a picture. */
typedef struct tni_named_curve {
    const char *name;
    tni_curve curve;
} tni_named_curve;

/* The window through which all of them are seen; it has no lines. */
tni_curve tni_curve_window(const tni_named_curve *runs, size_t count);

/* Several runs in one picture: training losses as lines, validation as dots,
 * a colour for each run. */
tn_status tni_curves_save(const char *path, const char *title,
                          const tni_named_curve *runs, size_t count,
                          tn_error *err);

/* `columns` by `rows` characters of braille dots with axes, as UTF-8 lines. */
const char *tni_curve_text(tni_arena *arena, const tni_curve *curve,
                           uint32_t columns, uint32_t rows);

#endif
