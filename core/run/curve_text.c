/*
 * curve_text.c - the curve in a terminal.
 *
 * A braille character is 2 by 4 dots, U+2800 plus one bit for each:
 *
 *     1 8        0x01 0x08
 *     2 16       0x02 0x10
 *     4 32       0x04 0x20
 *     64 128     0x40 0x80
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "run/curve.h"

enum { LABEL = 8 }; /* characters left of the plot */

typedef struct {
    uint8_t *cells;
    uint32_t columns, rows;
} canvas;

static void dot(canvas *p, double x, double y)
{
    static const uint8_t bit[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    const double width = 2.0 * p->columns - 1, height = 4.0 * p->rows - 1;
    const uint32_t i = (uint32_t)lround(fmin(fmax(x, 0), 1) * width);
    const uint32_t j = (uint32_t)lround((1 - fmin(fmax(y, 0), 1)) * height);
    p->cells[j / 4 * p->columns + i / 2] |= bit[j % 4][i % 2];
}

static void segment(canvas *p, tni_point a, tni_point b)
{
    const double length =
        fmax(fabs(b.x - a.x) * 2 * p->columns, fabs(b.y - a.y) * 4 * p->rows);
    const int n = (int)ceil(length) + 1;
    for (int i = 0; i <= n; i++) {
        const double t = (double)i / n;
        dot(p, a.x + t * (b.x - a.x), a.y + t * (b.y - a.y));
    }
}

static tni_point scaled(const tni_curve *c, tni_point p)
{
    return (tni_point){p.x / c->x_max,
                       (p.y - c->y_min) / (c->y_max - c->y_min)};
}

static void draw(canvas *p, const tni_curve *c, const tni_point *points,
                 size_t count)
{
    for (size_t i = 0; i < count; i++)
        segment(p, scaled(c, points[i ? i - 1 : 0]), scaled(c, points[i]));
}

/* U+2800 + bits in UTF-8. */
static char *put_cell(char *to, uint8_t bits)
{
    *to++ = (char)0xE2;
    *to++ = (char)(0xA0 | bits >> 6);
    *to++ = (char)(0x80 | (bits & 63));
    return to;
}

/* The value at the top, middle and bottom row. */
static char *put_label(char *to, const tni_curve *c, uint32_t row,
                       uint32_t rows)
{
    const double value =
        c->y_max - (c->y_max - c->y_min) * row / (rows > 1 ? rows - 1 : 1);
    if (row == 0 || row == rows - 1 || row == rows / 2)
        return to + sprintf(to, "%*.3f ", LABEL - 1, value);
    return to + sprintf(to, "%*s", LABEL, "");
}

const char *tni_curve_text(tni_arena *arena, const tni_curve *c,
                           uint32_t columns, uint32_t rows)
{
    canvas p = {.columns = columns > LABEL + 10 ? columns - LABEL - 2 : 10,
                .rows = rows > 2 ? rows - 2 : 1};
    p.cells = tni_arena_alloc(arena, (size_t)p.columns * p.rows);
    draw(&p, c, c->train, c->train_count);
    draw(&p, c, c->val, c->val_count);

    char *text = tni_arena_alloc(arena,
                                 (size_t)(p.rows + 3) * (p.columns * 3 + 400)),
         *at = text;
    for (uint32_t row = 0; row < p.rows; row++) {
        at = put_label(at, c, row, p.rows);
        at += sprintf(at, "\u2502");
        for (uint32_t i = 0; i < p.columns; i++)
            at = put_cell(at, p.cells[row * p.columns + i]);
        *at++ = '\n';
    }
    at += sprintf(at, "%*s\u2514", LABEL, "");
    for (uint32_t i = 0; i < p.columns; i++)
        at += sprintf(at, "\u2500");
    sprintf(at, "\n%*s0%*.0f steps\n", LABEL + 1, "",
            (int)p.columns > 8 ? (int)p.columns - 7 : 1, c->x_max);
    return text;
}
