/*
 * attention_whole.h - attention of bf16 in whole numbers.
 *
 * Vectors of q, k, v and of the output's gradient become integers of 16 bits as
 * lines of a product do (gemm_integers.c): by one power of two each, its
 * *scale*, that brings its length under 2^15. Then
 *
 *     S = K Q^T    dP = V dO^T     sums along a vector: exact
 *
 * The other products go over vectors, each with a scale of its own, which what
 * they are weighed with takes in:
 *
 *     O = P V    dQ = dS K         (P scale(V)) V'      sums over keys
 *     dV = P^T dO    dK = dS^T Q   (P scale(dO)) dO'    sums over queries
 *
 * Such weights are f32, stored nowhere, and become integers block by block: a
 * line of at most 64 by one power of two that brings its length under 2^13. An
 * element of V' is under 2^15, so 64 of them are no longer than 2^18, and by
 * Cauchy and Schwarz no sum leaves 32 bits. A weight is off by at most 2^-13 of
 * the length of its line; bf16, which a GPU rounds weights to, by 2^-9 of
 * itself. As no scale is shared by keys, what a query gets does not depend on
 * those that it does not see.
 *
 * Scales of a block are kept as what they are of the largest of them,
 * *relative*, so that squares of weights stay within f32 whatever size
 * gradients have.
 */
#ifndef CPU_ATTENTION_WHOLE_H
#define CPU_ATTENTION_WHOLE_H

#include "attention.h"
#include "vmath.h"
#include "whole.h"

enum {
    WHOLE_ROWS = 64, /* of a block: queries or keys */
    WHOLE_PAIR = 2 * VW,
    WHOLE_STEP = VW, /* of rows of a product */
    WEIGHT_BITS = 13,
};
_Static_assert((int)ATTENTION_LANES == 64 && (int)ATTENTION_KEYS == 64,
               "a line of weights has 64");

/* A float for each row, which no vector of them should find in two lines of
 * the cache. */
#define WHOLE_LINE _Alignas(64)

/* ---- vectors ---- */

/* Up to 64 vectors. Rows are there, as zeros, up to a multiple of PAIR. */
typedef struct whole {
    float *words; /* (64, width): two numbers each */
    int64_t width;
    int64_t rows; /* rounded up */
    float largest;
    WHOLE_LINE float scale[WHOLE_ROWS], relative[WHOLE_ROWS];
} whole;

static inline int64_t whole_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Words of a vector; it is filled up with zeros. */
static inline int64_t whole_width(int64_t numbers)
{
    return whole_up(numbers, WHOLE_PAIR) / 2;
}

/* Parts of a thread's scratch; `at` NULL counts them only. */
typedef struct whole_space {
    float *at;
    int64_t used; /* floats */
} whole_space;

static inline float *whole_room(whole_space *s, int64_t floats)
{
    float *room = s->at ? s->at + s->used : NULL;
    s->used += whole_up(floats, 16);
    return room;
}

/* `rows` vectors of bf16 from element `at` on. */
void ISA(whole_take)(whole *to, const vectors *x, int64_t at, int64_t rows,
                     int64_t numbers);

/* to (width, 64): words of x, turned. */
void ISA(whole_turn)(const whole *x, float *to);

/* to (rows / 2, 2 width): pairs of a vector and of the one `apart` behind. */
void ISA(whole_pair)(const whole *x, int64_t apart, float *to);

/* Vectors that will be read, or written, soon: tiles of products, which leave
 * memory idle, call for a few each. More at once would wait for each other. */
enum { WHOLE_SOON = 6 };

typedef struct whole_ahead {
    struct {
        const char *at;
        int64_t pitch, bytes, left; /* from one to the next, of each; number */
    } of[WHOLE_SOON];
    int count;
    int64_t step; /* at a time */
} whole_ahead;

/* `rows` vectors of x from element `at` on. */
static inline void whole_soon(whole_ahead *to, const lines *x, int64_t at,
                              int64_t pitch, int64_t rows, int64_t numbers)
{
    const int64_t size = cpu_bytes(x->dtype);
    const int i = to->count;
    if (rows <= 0)
        return;
    to->count++;
    to->of[i].at = lines_at(x, at);
    to->of[i].pitch = pitch * size;
    to->of[i].bytes = numbers * size;
    to->of[i].left = rows;
}

/* Tiles on the way: blocks of keys that queries meet, and those of each. */
static inline void whole_spread(whole_ahead *to, int64_t blocks, int64_t tiles)
{
    int64_t rows = 0;
    for (int i = 0; i < to->count; i++)
        rows += to->of[i].left;
    to->step = cpu_parts(rows, cpu_max(1, blocks * tiles));
}

static inline void whole_call(whole_ahead *x)
{
    for (int64_t n = x->step; n > 0 && x->count; n--) {
        const int last = x->count - 1;
        for (int64_t b = 0; b < x->of[last].bytes; b += 64)
            _mm_prefetch(x->of[last].at + b, _MM_HINT_T0);
        x->of[last].at += x->of[last].pitch;
        x->count -= --x->of[last].left <= 0;
    }
}

/* ---- products ---- */

/* c (M, N) from x (M, words), with any strides, and y (words, N), rows `pitch`
 * apart, whole vectors; M is a multiple of STEP. */
typedef struct whole_product {
    int64_t words;
    const float *x;
    int64_t row, column;
    const float *y;
    int64_t pitch;
    float *c;
    int64_t c_pitch;
    const float *x_scale; /* of each row */
    const float *other;
    whole_ahead *ahead;
} whole_product;

typedef void whole_multiply(int64_t M, int64_t N, const whole_product *p);

typedef struct whole_products {
    whole_multiply *scores;  /* c = x y x_scale other, `other` of each column */
    whole_multiply *add;     /* c += x y x_scale */
    whole_multiply *rescale; /* c = c other + x y x_scale, of each row */
} whole_products;

const whole_products *ISA(whole_products_of)(cpu_products how);
#if !defined(__AVX512F__)
const whole_products *ISA(whole_by_madd)(void);
#endif

/* ---- what forward and backward compute alike ---- */

/* c (keys, padded) = x y x_scale y_scale, what is visible, in whole groups of
 * keys: x vectors of keys, y of lanes, turned. */
void ISA(whole_by_keys)(const whole_products *by, const lanes *l,
                        const visible *v, const whole *x, const float *x_scale,
                        const float *y, const float *y_scale, float *c,
                        whole_ahead *ahead);

/* Masks scores behind the last key. */
void ISA(whole_hide)(const lanes *l, const visible *v, float *s);

/* Vectors `pitch` apart from element `at` on = rows of `from`, which are
 * 2 whole_width(numbers) apart. */
void ISA(whole_store)(const lines *to, int64_t at, int64_t pitch,
                      const float *from, int64_t rows, int64_t numbers);

/* ---- numbers ---- */

/* Sums over lanes of VW vectors, one in each lane. */
CPU_INLINE vf whole_sums(const vf *x)
{
#if defined(__AVX512F__)
    vf four[4];
    for (int i = 0; i < 4; i++) {
        const vf *of = x + 4 * i;
        const vf a =
            _mm512_unpacklo_ps(of[0], of[1]) + _mm512_unpackhi_ps(of[0], of[1]);
        const vf b =
            _mm512_unpacklo_ps(of[2], of[3]) + _mm512_unpackhi_ps(of[2], of[3]);
        const __m512d c = _mm512_castps_pd(a), d = _mm512_castps_pd(b);
        four[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d)) +
                  _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
    }
    const vf low = _mm512_shuffle_f32x4(four[0], four[1], 0x88) +
                   _mm512_shuffle_f32x4(four[0], four[1], 0xdd);
    const vf high = _mm512_shuffle_f32x4(four[2], four[3], 0x88) +
                    _mm512_shuffle_f32x4(four[2], four[3], 0xdd);
    return _mm512_shuffle_f32x4(low, high, 0x88) +
           _mm512_shuffle_f32x4(low, high, 0xdd);
#else
    const vf low =
        _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
    const vf high =
        _mm256_hadd_ps(_mm256_hadd_ps(x[4], x[5]), _mm256_hadd_ps(x[6], x[7]));
    return _mm256_permute2f128_ps(low, high, 0x20) +
           _mm256_permute2f128_ps(low, high, 0x31);
#endif
}

/* 2^x for x <= 127, to 7e-6 of it: an eighth of what a weight may be off. 0
 * below 2^-125; NaN of NaN. */
CPU_INLINE vf whole_exp2(vf x)
{
    const vf shifted = x + v_set(0x1.8p23f);
    const vf r = x - (shifted - v_set(0x1.8p23f));
    vf p = v_set(0x1.3c6e5cp-7f);
    p = v_fma(p, r, v_set(0x1.c96d5ep-5f));
    p = v_fma(p, r, v_set(0x1.ebfb3ep-3f));
    p = v_fma(p, r, v_set(0x1.62e2d2p-1f));
    p = v_fma(p, r, v_set(1.0f));
    const vi bits = i_add(v_bits(p), i_shift_left(v_bits(shifted), 23));
    return v_select(v_lt(x, v_set(-125.0f)), v_zero(), v_from_bits(bits));
}

/* Numbers too small for f32 are 0 from here on, as they cost a hundred cycles
 * each: what was is returned, for whole_leave. */
static inline uint32_t whole_enter(void)
{
    const uint32_t before = _mm_getcsr();
    _mm_setcsr(before | 0x8040u);
    return before;
}

static inline void whole_leave(uint32_t before)
{
    _mm_setcsr(before);
}

#endif
