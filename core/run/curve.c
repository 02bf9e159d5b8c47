/*
 * curve.c - from reports to the lines of a curve.
 */
#include "run/curve.h"

#include <math.h>

/* 1, 2 or 5 times a power of ten, so that about `wanted` fit into `range`. */
static double tick_of(double range, double wanted)
{
    const double raw = range / wanted;
    const double power = pow(10.0, floor(log10(raw)));
    const double lead = raw / power;
    return power * (lead <= 1.0   ? 1.0
                    : lead <= 2.0 ? 2.0
                    : lead <= 5.0 ? 5.0
                                  : 10.0);
}

/* Means of `size` neighbours. */
static size_t average(tni_point *points, size_t count, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i += size) {
        const size_t end = i + size < count ? i + size : count;
        tni_point sum = {0, 0};
        for (size_t j = i; j < end; j++) {
            sum.x += points[j].x;
            sum.y += points[j].y;
        }
        points[n++] =
            (tni_point){sum.x / (double)(end - i), sum.y / (double)(end - i)};
    }
    return n;
}

static void see(tni_curve *c, const tni_point *points, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        c->x_max = fmax(c->x_max, points[i].x);
        c->y_min = fmin(c->y_min, points[i].y);
        c->y_max = fmax(c->y_max, points[i].y);
    }
}

/* Losses that differ by rounding alone are a flat line, which gets room above
 * and below: ticks have to stay far above an ulp of what they count to. */
static void widen(tni_curve *c)
{
    const double most = fmax(fabs(c->y_min), fabs(c->y_max));
    const double room = fmax(0.5, 0.1 * most);
    if (c->y_max - c->y_min > 1e-9 * fmax(most, 1e-9))
        return;
    c->y_min -= room;
    c->y_max += room;
}

static void set_ticks(tni_curve *c)
{
    widen(c);
    c->x_tick = tick_of(c->x_max, 6.0);
    c->y_tick = tick_of(c->y_max - c->y_min, 5.0);
    c->y_min = floor(c->y_min / c->y_tick) * c->y_tick;
    c->y_max = ceil(c->y_max / c->y_tick) * c->y_tick;
}

tni_curve tni_curve_window(const tni_named_curve *runs, size_t count)
{
    tni_curve w = {.x_max = 1.0, .y_min = HUGE_VAL, .y_max = -HUGE_VAL};
    for (size_t i = 0; i < count; i++) {
        see(&w, runs[i].curve.train, runs[i].curve.train_count);
        see(&w, runs[i].curve.val, runs[i].curve.val_count);
    }
    set_ticks(&w);
    return w;
}

tn_status tni_curve_make(tni_arena *arena, const tni_metrics *metrics,
                         size_t count, size_t most, tni_curve *curve,
                         tn_error *err)
{
    tni_point *train = tni_arena_alloc(arena, (count + 1) * sizeof *train);
    tni_point *val = tni_arena_alloc(arena, (count + 1) * sizeof *val);
    tni_curve c = {.train = train,
                   .val = val,
                   .x_max = 1.0,
                   .y_min = HUGE_VAL,
                   .y_max = -HUGE_VAL};
    for (size_t i = 0; i < count; i++) {
        const double x = (double)metrics[i].step;
        if (isfinite(metrics[i].loss))
            train[c.train_count++] = (tni_point){x, metrics[i].loss};
        if (metrics[i].has_val && isfinite(metrics[i].val_loss))
            val[c.val_count++] = (tni_point){x, metrics[i].val_loss};
    }
    if (!c.train_count && !c.val_count)
        return tn_fail(err, TN_EEND, "there are no reports to draw yet");
    c.train_count =
        average(train, c.train_count, (c.train_count + most - 1) / most);
    see(&c, train, c.train_count);
    see(&c, val, c.val_count);
    set_ticks(&c);
    *curve = c;
    return TN_OK;
}
