/*
 * blocks.c - which integers stand for a stretch of weights.
 *
 * Q8_0 is rounding: the largest of 32 becomes 127. Q4_K has to choose: with 16
 * steps it matters where a stretch begins and how long a step is. As ggml does
 * it, 21 steps around (max - min) / 15 are tried; each gives integers, for
 * which the best scale and minimum are a least-squares line, and the line with
 * the least weighted error is kept. Large weights weigh more, by their distance
 * from 0 over the root mean square of the stretch: they carry the output.
 * Scales and minima of the eight stretches are then rounded to 6 bits, and the
 * integers are taken again from what those say.
 */
#include "base/blocks.h"

#include <math.h>

uint16_t tni_half_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (size < 0x38800000u) { /* subnormal: units of 2^-24 */
        const float units = fabsf(value) * 0x1p24f;
        return (uint16_t)(sign | (uint32_t)rintf(units));
    }
    const uint32_t rounded = size + 0xfffu + (size >> 13 & 1u);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

/* ---- Q8_0 ---- */

static void encode_q8_0(const float *x, tn_q8_0 *b)
{
    float most = 0.0f;
    for (int i = 0; i < 32; i++)
        most = fmaxf(most, fabsf(x[i]));
    const float d = most / 127.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    b->d = tni_half_of_float(d);
    for (int i = 0; i < 32; i++)
        b->q[i] = (int8_t)roundf(x[i] * inverse);
}

/* ---- Q4_K ---- */

enum { STRETCH = 32, STRETCHES = 8, MOST = 15, MOST_SCALE = 63, TRIES = 20 };

/* x = scale q - min for 32 numbers */
typedef struct line {
    float scale, min;
} line;

/* To nearest even inside [0, most], for |x| below 2^22: of a float that large
 * nothing is left behind the point. Compilers make vectors of it. */
static float whole(float x, float most)
{
    const float q = (x + 0x1.8p23f) - 0x1.8p23f;
    return q < 0.0f ? 0.0f : q > most ? most : q;
}

/* What a try is judged by. Sums over lanes of 8, so that compilers may use
 * vectors without changing their order. */
enum { LANES = 8 };

typedef struct sums {
    float wl[LANES], wll[LANES], wxl[LANES];
} sums;

static float sum_of(const float lane[LANES])
{
    return ((lane[0] + lane[4]) + (lane[1] + lane[5])) +
           ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

/* The weights of a stretch, and what sums over them stay the same. */
typedef struct stretch {
    const float *x;
    float w[STRETCH];
    float min, max;
    float sum_w, sum_wx;
} stretch;

static void weigh(const float *x, stretch *s)
{
    float squares[LANES] = {0}, w[LANES] = {0}, wx[LANES] = {0};
    *s = (stretch){.x = x};
    for (int i = 0; i < STRETCH; i++) {
        squares[i % LANES] += x[i] * x[i];
        s->min = fminf(s->min, x[i]); /* never above 0 */
        s->max = i ? fmaxf(s->max, x[i]) : x[i];
    }
    const float size = sqrtf(sum_of(squares) / STRETCH);
    for (int i = 0; i < STRETCH; i++) {
        s->w[i] = size + fabsf(x[i]);
        w[i % LANES] += s->w[i];
        wx[i % LANES] += s->w[i] * x[i];
    }
    s->sum_w = sum_of(w);
    s->sum_wx = sum_of(wx);
}

static float error_of(const stretch *s, const float l[STRETCH], line at)
{
    float e[LANES] = {0};
    for (int i = 0; i < STRETCH; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const float off = at.scale * l[i + k] - at.min - s->x[i + k];
            e[k] += s->w[i + k] * off * off;
        }
    return sum_of(e);
}

/* Integers for a step of 1 / inverse from the least number on. */
static void take_integers(const stretch *s, float inverse, float l[STRETCH])
{
    for (int i = 0; i < STRETCH; i++)
        l[i] = whole(inverse * (s->x[i] - s->min), MOST);
}

/* The best line for these integers; 0 where they are all alike. */
static int fit(const stretch *s, const float l[STRETCH], line *best)
{
    sums m = {0};
    for (int i = 0; i < STRETCH; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const float w = s->w[i + k], q = l[i + k];
            m.wl[k] += w * q;
            m.wll[k] += w * q * q;
            m.wxl[k] += w * s->x[i + k] * q;
        }
    const float wl = sum_of(m.wl), wll = sum_of(m.wll), wxl = sum_of(m.wxl);
    const float det = s->sum_w * wll - wl * wl;
    if (!(det > 0.0f))
        return 0;
    best->scale = (s->sum_w * wxl - s->sum_wx * wl) / det;
    best->min = -(wll * s->sum_wx - wl * wxl) / det;
    if (best->min < 0.0f) /* there is no offset upwards */
        *best = (line){wxl / wll, 0.0f};
    return 1;
}

/* Scale 0 where all 32 are one number that is not positive. */
static line choose(const float *x)
{
    stretch s;
    float l[STRETCH];
    weigh(x, &s);
    if (!(s.max > s.min))
        return (line){0.0f, -s.min};
    const float length = s.max - s.min;
    line best = {length / MOST, -s.min}, tried;
    take_integers(&s, MOST / length, l);
    float least = error_of(&s, l, best);
    for (int i = 0; i <= TRIES; i++) {
        take_integers(&s, (-1.0f + 0.1f * (float)i + MOST) / length, l);
        if (!fit(&s, l, &tried))
            continue;
        const float error = error_of(&s, l, tried);
        if (error >= least)
            continue;
        least = error;
        best = tried;
    }
    return best;
}

static void pack_scales(const uint8_t scale[STRETCHES],
                        const uint8_t min[STRETCHES], tn_q4_k *b)
{
    for (int j = 0; j < 4; j++) {
        b->s[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        b->s[j + 4] = (uint8_t)(min[j] | min[j + 4] >> 4 << 6);
        b->s[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

static void round_lines(const line of[STRETCHES], tn_q4_k *b)
{
    float scale = 0.0f, min = 0.0f;
    uint8_t s[STRETCHES], m[STRETCHES];
    for (int j = 0; j < STRETCHES; j++) {
        scale = fmaxf(scale, of[j].scale);
        min = fmaxf(min, of[j].min);
    }
    const float by_scale = scale > 0.0f ? MOST_SCALE / scale : 0.0f;
    const float by_min = min > 0.0f ? MOST_SCALE / min : 0.0f;
    for (int j = 0; j < STRETCHES; j++) {
        s[j] = (uint8_t)whole(by_scale * of[j].scale, MOST_SCALE);
        m[j] = (uint8_t)whole(by_min * of[j].min, MOST_SCALE);
    }
    b->d = tni_half_of_float(scale / MOST_SCALE);
    b->dmin = tni_half_of_float(min / MOST_SCALE);
    pack_scales(s, m, b);
}

static void encode_q4_k(const float *x, tn_q4_k *b)
{
    line of[STRETCHES];
    memset(b, 0, sizeof *b);
    for (int j = 0; j < STRETCHES; j++)
        of[j] = choose(x + STRETCH * j);
    round_lines(of, b);
    for (int j = 0; j < STRETCHES; j++) {
        uint32_t scale, min;
        tn_q4_k_scale(b, j, &scale, &min);
        const float d = tn_float_of_half(b->d) * (float)scale;
        const float m = tn_float_of_half(b->dmin) * (float)min;
        for (int i = 0; i < STRETCH && d != 0.0f; i++) {
            const float q = whole((x[STRETCH * j + i] + m) / d, MOST);
            b->q[j / 2 * STRETCH + i] |= (uint8_t)((int)q << (j & 1 ? 4 : 0));
        }
    }
}

/* ---- rows ---- */

void tni_blocks_encode(tn_dtype dtype, const float *from, int64_t count,
                       void *to)
{
    tn_q8_0 *q8 = to;
    tn_q4_k *q4 = to;
    for (int64_t b = 0; dtype == TN_Q8_0 && b < count / 32; b++)
        encode_q8_0(from + 32 * b, q8 + b);
    for (int64_t b = 0; dtype == TN_Q4_K && b < count / 256; b++)
        encode_q4_k(from + 256 * b, q4 + b);
}

void tni_blocks_decode(tn_dtype dtype, const void *from, int64_t count,
                       float *to)
{
    const tn_q8_0 *q8 = from;
    const tn_q4_k *q4 = from;
    for (int64_t i = 0; i < count; i++)
        to[i] = dtype == TN_Q8_0 ? tn_q8_0_at(q8 + i / 32, (int)(i % 32))
                                 : tn_q4_k_at(q4 + i / 256, (int)(i % 256));
}
