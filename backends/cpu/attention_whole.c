/*
 * attention_whole.c - vectors as whole numbers and their products
 * (attention_whole.h).
 */
#include "attention_whole.h"
#include "turn.h"

#include <string.h>

/* ---- vectors ---- */

CPU_INLINE vf squares_of(const uint16_t *from, int64_t n)
{
    vf sum = v_zero(), more = v_zero(), even, odd;
    for (int64_t k = 0; k < n; k += WHOLE_PAIR) {
        whole_pairs(from + k, &even, &odd);
        sum = v_fma(even, even, sum);
        more = v_fma(odd, odd, more);
    }
    return sum + more;
}

static void put_words(float *to, const uint16_t *from, int64_t n, float scale)
{
    const vf inverse = whole_inverse(v_set(scale));
    vf even, odd;
    for (int64_t k = 0; k < n; k += WHOLE_PAIR, to += VW) {
        whole_pairs(from + k, &even, &odd);
        v_store(to,
                whole_words(whole_of(even, inverse), whole_of(odd, inverse)));
    }
}

/* Where squares leave the range of f32. */
static float careful_scale(const uint16_t *from, int64_t n)
{
    double squares = 0.0;
    for (int64_t k = 0; k < n; k++) {
        const double number = (double)f_of_bf16(from[k]);
        squares += number * number;
    }
    return squares == 0.0 ? 0.0f : whole_careful_scale(squares);
}

/* Vectors of whole words: as they lie, or copied with zeros behind. */
static const uint16_t *filled_up(const uint16_t *from, int64_t pitch,
                                 int64_t rows, int64_t numbers, uint16_t *room,
                                 int64_t *room_pitch)
{
    const int64_t n = 2 * whole_width(numbers);
    *room_pitch = pitch;
    if (n == numbers)
        return from;
    for (int64_t i = 0; i < rows; i++) {
        memcpy(room + i * n, from + i * pitch, (size_t)numbers * sizeof *from);
        memset(room + i * n + numbers, 0, (size_t)(n - numbers) * sizeof *from);
    }
    *room_pitch = n;
    return room;
}

/* Of VW vectors at most, from number i on. */
static void put_scales(whole *to, const uint16_t *from, int64_t pitch,
                       int64_t i, int64_t rows)
{
    const int64_t n = 2 * to->width;
    float lane[VW];
    vf each[VW];
    for (int64_t k = 0; k < VW; k++)
        each[k] = k < rows ? squares_of(from + k * pitch, n) : v_zero();
    const vf squares = whole_sums(each);
    v_store(to->scale + i, whole_scales(squares, WHOLE_BITS));
    if (whole_is_usual(squares))
        return;
    v_store(lane, squares);
    for (int64_t k = 0; k < VW; k++)
        if (!(lane[k] > WHOLE_LEAST && lane[k] < WHOLE_MOST))
            to->scale[i + k] =
                k < rows ? careful_scale(from + k * pitch, n) : 0.0f;
}

static void find_scales(whole *to, const uint16_t *from, int64_t pitch,
                        int64_t rows)
{
    vf largest = v_zero();
    for (int64_t i = 0; i < to->rows; i += VW) {
        put_scales(to, from + i * pitch, pitch, i, rows - i);
        largest = v_max(v_load(to->scale + i), largest);
    }
    to->largest = v_largest(largest);
}

/* An exact quotient, as scales are powers of two. */
static void compare_scales(whole *to)
{
    if (to->largest == 0.0f)
        to->largest = 1.0f;
    for (int64_t i = 0; i < to->rows; i += VW)
        v_store(to->relative + i, v_load(to->scale + i) / v_set(to->largest));
}

void ISA(whole_take)(whole *to, const vectors *x, int64_t at, int64_t rows,
                     int64_t numbers)
{
    int64_t pitch;
    to->width = whole_width(numbers);
    to->rows = whole_up(rows, WHOLE_PAIR);
    const uint16_t *from =
        filled_up((const uint16_t *)(const void *)lines_at(&x->of, at), x->row,
                  rows, numbers, (uint16_t *)(void *)to->words, &pitch);
    find_scales(to, from, pitch, rows);
    compare_scales(to);
    for (int64_t i = 0; i < rows; i++)
        put_words(to->words + i * to->width, from + i * pitch, 2 * to->width,
                  to->scale[i]);
    memset(to->words + rows * to->width, 0,
           (size_t)((to->rows - rows) * to->width) * sizeof *to->words);
}

void ISA(whole_turn)(const whole *x, float *to)
{
    for (int64_t i = 0; i < x->rows; i += 8)
        for (int64_t k = 0; k < x->width; k += 8) {
            const float *at = x->words + i * x->width + k;
            __m256 line[8];
            for (int64_t r = 0; r < 8; r++)
                line[r] = _mm256_loadu_ps(at + r * x->width);
            turn_eight(to + k * WHOLE_ROWS + i, WHOLE_ROWS, line);
        }
}

void ISA(whole_pair)(const whole *x, int64_t apart, float *to)
{
    const int64_t width = x->width;
    for (int64_t w = 0; w < x->rows / 2; w++, to += 2 * width) {
        const float *words = x->words + (w / apart * apart + w) * width;
        const uint16_t *low = (const uint16_t *)(const void *)words;
        const uint16_t *high = low + 2 * apart * width;
        for (int64_t k = 0; k < 2 * width; k += VW)
            v_store(to + k,
                    v_from_bits(i_or(
                        i_shift_right_zero(v_bits(v_load_bf16(low + k)), 16),
                        v_bits(v_load_bf16(high + k)))));
    }
}

/* ---- products ---- */

#define DOT whole_dot
#if defined(__AVX512F__)
#define VECTORS 4
#else
#define VECTORS 3
#endif
#include "attention_whole_tile.h"

const whole_products *ISA(whole_products_of)(cpu_products how)
{
#if !defined(__AVX512F__)
    if (how == CPU_MADD)
        return ISA(whole_by_madd)();
#endif
    (void)how;
    return &products;
}

/* ---- what forward and backward compute alike ---- */

void ISA(whole_by_keys)(const whole_products *by, const lanes *l,
                        const visible *v, const whole *x, const float *x_scale,
                        const float *y, const float *y_scale, float *c,
                        whole_ahead *ahead)
{
    const int64_t n = l->padded, keys = whole_up(v->keys, KEY_GROUP);
    const int64_t step = v->whole ? keys : KEY_GROUP;
    for (int64_t r = 0; r < keys; r += step) {
        const int64_t skip = v->skip[r / KEY_GROUP];
        const whole_product p = {.words = x->width,
                                 .x = x->words + r * x->width,
                                 .row = x->width,
                                 .column = 1,
                                 .y = y + skip,
                                 .pitch = WHOLE_ROWS,
                                 .c = c + r * n + skip,
                                 .c_pitch = n,
                                 .x_scale = x_scale + r,
                                 .other = y_scale + skip,
                                 .ahead = ahead};
        by->scores(step, n - skip, &p);
    }
}

void ISA(whole_hide)(const lanes *l, const visible *v, float *s)
{
    const int64_t keys = whole_up(v->keys, KEY_GROUP);
    for (int64_t i = v->keys * l->padded; i < keys * l->padded; i += VW)
        v_store(s + i, v_set(-INFINITY));
}

void ISA(whole_store)(const lines *to, int64_t at, int64_t pitch,
                      const float *from, int64_t rows, int64_t numbers)
{
    const int64_t width = 2 * whole_width(numbers);
    for (int64_t i = 0; i < rows; i++, at += pitch, from += width)
        if (to->dtype == TN_BF16)
            line_done(to, at, numbers, from);
        else
            memcpy(lines_at(to, at), from, (size_t)numbers * sizeof *from);
}
