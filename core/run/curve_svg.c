/*
 * curve_svg.c - losses as SVG: lines, two axes, nothing to install to see them.
 *
 * loss.svg is one run, training and validation; a comparison has many runs and
 * a legend below the axes.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/curve.h"

/* The plot's box in the picture, in pixels. */
enum {
    WIDTH = 800,
    HEIGHT = 420,
    LEFT = 64,
    RIGHT = 776,
    TOP = 56,
    BOTTOM = 372,
    MOST_POINTS = 500,
    LEGEND = 20, /* height of a row */
};

static double at_x(const tni_curve *c, double x)
{
    return LEFT + (RIGHT - LEFT) * x / c->x_max;
}

static double at_y(const tni_curve *c, double y)
{
    return BOTTOM - (BOTTOM - TOP) * (y - c->y_min) / (c->y_max - c->y_min);
}

static void put_frame(FILE *to, int height)
{
    fprintf(to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
            "font-family=\"system-ui, sans-serif\" font-size=\"13\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            WIDTH, height);
}

/* The title is the run's name: a user's text. */
static void put_escaped(FILE *to, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", to);
            break;
        case '&':
            fputs("&amp;", to);
            break;
        default:
            fputc(*text, to);
        }
    }
}

static void put_title(FILE *to, const char *title)
{
    fprintf(to, "<text x=\"%d\" y=\"30\" font-size=\"16\" fill=\"#222\">",
            LEFT);
    put_escaped(to, title);
    fputs("</text>\n", to);
}

/* The last tick of an axis, from 0: the range is whole ticks but for rounding,
 * or ends between two. */
static double last_tick(double range, double tick)
{
    return floor(range / tick + 0.01);
}

static void put_axes(FILE *to, const tni_curve *c)
{
    const double last_y = last_tick(c->y_max - c->y_min, c->y_tick);
    const double last_x = last_tick(c->x_max, c->x_tick);
    for (double i = 0; i <= last_y; i++) {
        const double y = c->y_min + i * c->y_tick;
        fprintf(to,
                "<path d=\"M%d %.1fH%d\" stroke=\"#e6e6e6\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" "
                "fill=\"#666\">%.4g</text>\n",
                LEFT, at_y(c, y), RIGHT, LEFT - 8, at_y(c, y) + 4.5,
                fabs(y) < 1e-9 ? 0.0 : y);
    }
    for (double i = 0; i <= last_x; i++) {
        const double x = i * c->x_tick;
        fprintf(to,
                "<path d=\"M%.1f %dv5\" stroke=\"#999\"/>"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" "
                "fill=\"#666\">%.6g</text>\n",
                at_x(c, x), BOTTOM, at_x(c, x), BOTTOM + 20, x);
    }
    fprintf(to,
            "<path d=\"M%d %dH%d\" stroke=\"#999\"/>\n"
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"#666\">"
            "step</text>\n",
            LEFT, BOTTOM, RIGHT, RIGHT, BOTTOM + 38);
}

static void put_line(FILE *to, const tni_curve *c, const tni_point *points,
                     size_t count, const char *style)
{
    if (!count)
        return;
    fputs("<polyline fill=\"none\" ", to);
    fprintf(to, "%s points=\"", style);
    for (size_t i = 0; i < count; i++)
        fprintf(to, "%.1f,%.1f ", at_x(c, points[i].x), at_y(c, points[i].y));
    fputs("\"/>\n", to);
}

static void put_legend(FILE *to, const tni_curve *c)
{
    if (c->train_count)
        fprintf(to,
                "<text x=\"%d\" y=\"30\" text-anchor=\"end\" "
                "fill=\"#5b8fc7\">training loss, nats per token</text>\n",
                RIGHT);
    if (c->val_count)
        fprintf(to,
                "<text x=\"%d\" y=\"48\" text-anchor=\"end\" "
                "fill=\"#c2410c\">validation %.4f</text>\n",
                RIGHT, c->val[c->val_count - 1].y);
}

static void put_svg(FILE *to, const tni_curve *c, const char *title)
{
    put_frame(to, HEIGHT);
    put_title(to, title);
    put_axes(to, c);
    put_line(to, c, c->train, c->train_count,
             "stroke=\"#5b8fc7\" stroke-width=\"1.4\"");
    put_line(to, c, c->val, c->val_count,
             "stroke=\"#c2410c\" stroke-width=\"2.2\"");
    for (size_t i = 0; i < c->val_count; i++)
        fprintf(to,
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" "
                "fill=\"#c2410c\"/>\n",
                at_x(c, c->val[i].x), at_y(c, c->val[i].y));
    put_legend(to, c);
    fputs("</svg>\n", to);
}

/* ---- several runs ---- */

/* Told apart by people who see no red or no green (Okabe and Ito 2008); a
 * second round is dashed, a third dotted. */
static const char *style_of(char to[96], size_t run, const char **colour)
{
    static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73",
                                          "#cc79a7", "#e69f00", "#56b4e9",
                                          "#444444"};
    static const char *const dashes[] = {"", " stroke-dasharray=\"6 3\"",
                                         " stroke-dasharray=\"2 2\""};
    enum { COLOURS = sizeof colours / sizeof colours[0], DASHES = 3 };
    *colour = colours[run % COLOURS];
    snprintf(to, 96, "stroke=\"%s\" stroke-width=\"1.6\"%s", *colour,
             dashes[run / COLOURS % DASHES]);
    return to;
}

static void put_run(FILE *to, const tni_curve *window,
                    const tni_named_curve *run, size_t index)
{
    const tni_curve *c = &run->curve;
    const int y = HEIGHT + LEGEND * (int)index;
    const char *colour;
    char style[96];
    style_of(style, index, &colour);
    put_line(to, window, c->train, c->train_count, style);
    for (size_t i = 0; i < c->val_count; i++)
        fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n",
                at_x(window, c->val[i].x), at_y(window, c->val[i].y), colour);
    fprintf(to, "<path d=\"M%d %dh28\" %s/><text x=\"%d\" y=\"%d\">", LEFT,
            y + 5, style, LEFT + 38, y + 10);
    put_escaped(to, run->name);
    if (c->train_count)
        fprintf(to, ": %.4f", c->train[c->train_count - 1].y);
    if (c->val_count)
        fprintf(to, ", validation %.4f", c->val[c->val_count - 1].y);
    fputs("</text>\n", to);
}

static void put_comparison(FILE *to, const tni_curve *window, const char *title,
                           const tni_named_curve *runs, size_t count)
{
    put_frame(to, HEIGHT + LEGEND * (int)count);
    put_title(to, title);
    put_axes(to, window);
    fprintf(to,
            "<text x=\"%d\" y=\"30\" text-anchor=\"end\" fill=\"#666\">"
            "training loss, nats per token; dots: validation</text>\n",
            RIGHT);
    for (size_t i = 0; i < count; i++)
        put_run(to, window, &runs[i], i);
    fputs("</svg>\n", to);
}

/* ---- files ---- */

tn_status tni_curves_save(const char *path, const char *title,
                          const tni_named_curve *runs, size_t count,
                          tn_error *err)
{
    const tni_curve window = tni_curve_window(runs, count);
    char *text = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    if (!to)
        return tn_fail(err, TN_ENOMEM, "no memory to draw the loss curves");
    put_comparison(to, &window, title, runs, count);
    fclose(to);
    const tn_status status = tni_file_replace(path, text, bytes, err);
    free(text);
    return status;
}

static tn_status draw(tni_arena *arena, const char *dir, const char *title,
                      tn_error *err)
{
    tni_metrics *metrics;
    size_t count, bytes;
    tni_curve curve;
    char *text = NULL;
    TN_TRY(tni_metrics_read(arena, dir, &metrics, &count, err));
    if (tni_curve_make(arena, metrics, count, MOST_POINTS, &curve, NULL) !=
        TN_OK)
        return TN_OK;
    FILE *to = open_memstream(&text, &bytes);
    if (!to)
        return tn_fail(err, TN_ENOMEM, "no memory to draw the loss curve");
    put_svg(to, &curve, title);
    fclose(to);
    const tn_status status = tni_file_replace(
        tni_path_join(arena, dir, "loss.svg"), text, bytes, err);
    free(text);
    return status;
}

tn_status tni_curve_save(const char *dir, const char *title, tn_error *err)
{
    tni_arena *arena = tni_arena_create();
    const tn_status status = draw(arena, dir, title, err);
    tni_arena_destroy(arena);
    return status;
}
