/*
 * gemm_blocks.h - what the files behind gemm() (gemm.c) share.
 *
 * gemm_packed.c goes over a block in the order in which caches want it. What
 * is multiplied there are *words* of 32 bits: a number of f32, or two that
 * follow each other along K and are 16 bits wide. A *kind* says how operands
 * become words and how ROWS by COLUMNS sums of products of words are computed:
 *
 *     gemm_floats.c    f32, from operands of either dtype
 *     gemm_pairs.c     pairs of bf16, where the processor has VDPBF16PS
 *     gemm_integers.c  pairs of 16-bit integers, where it has VPDPWSSD
 *     gemm_madd.c      the same by VPMADDWD and VPADDD, which AVX2 has
 */
#ifndef CPU_GEMM_BLOCKS_H
#define CPU_GEMM_BLOCKS_H

#include "gemm.h"

enum {
#if defined(__AVX512F__)
    GEMM_ROWS = 8,
    GEMM_VECTORS = 3,
    GEMM_SPARES = 1, /* a step has room for more than its products */
#else
    GEMM_ROWS = 6,
    GEMM_VECTORS = 2,
    GEMM_SPARES = 0,
#endif
    GEMM_COLUMNS = GEMM_VECTORS * VW,
    GEMM_STRETCH = 512,               /* of K */
    GEMM_LINE = 64,                   /* bytes of a line of the cache */
    GEMM_CALLED = 8,                  /* lines of memory by a tile */
    GEMM_BLOCK_ROWS = 16 * GEMM_ROWS, /* of x where it is copied across */
};

/* Rows of x: ROWS of them are read word by word along K. */
typedef struct gemm_rows {
    const float *at;     /* words */
    int64_t row, column; /* strides */
    int64_t panel;       /* from ROWS rows to the next */
    const float *scale;  /* of each row */
} gemm_rows;

/* Columns of y, in panels of COLUMNS: for each word along K, one of every
 * column. */
typedef struct gemm_columns {
    float *at;
    float *scale; /* of each column */
} gemm_columns;

/* What a tile multiplies: some of ROWS rows by a panel of columns. */
typedef struct gemm_factors {
    int64_t words; /* along K */
    const float *x, *y;
    int64_t row, column;
    const float *x_scale, *y_scale;
    gemm_next next; /* GEMM_CALLED of it */
} gemm_factors;

/* Where a tile's sums go: added to those at `at` if `add`, and to `half` where
 * that is not NULL, else to `at`. */
typedef struct gemm_sums {
    float *at;
    uint16_t *half;
    int64_t pitch, half_pitch;
    int64_t lanes; /* of the last vector */
    uint32_t add;
} gemm_sums;

typedef void gemm_tile(const gemm_factors *f, const gemm_sums *c);

typedef struct gemm_kind {
    int64_t numbers; /* in a word */

    /* Rows of x (n, K), where they are copied to `room`; if across, n <=
     * BLOCK_ROWS. */
    gemm_rows (*rows)(gemm_any x, int64_t n, int64_t K, float *room,
                      float *scale);
    /* y (K, n) */
    void (*pack)(const gemm_columns *to, gemm_any y, int64_t K, int64_t n);

    /* ROWS rows, four, two, one; by vectors (gemm_tile.h). */
    gemm_tile *const (*tile)[GEMM_VECTORS];
} gemm_kind;

extern const gemm_kind ISA(gemm_floats), ISA(gemm_integers);
#if defined(__AVX512F__)
extern const gemm_kind ISA(gemm_pairs);
#else
extern const gemm_kind ISA(gemm_madd);
#endif

/* Operands of either kind of integers. */
gemm_rows ISA(gemm_rows_of_integers)(gemm_any x, int64_t n, int64_t K,
                                     float *room, float *scale);
void ISA(gemm_pack_integers)(const gemm_columns *to, gemm_any y, int64_t K,
                             int64_t n);

/* ---- gemm_packed.c ---- */

void ISA(gemm_packed)(const gemm_kind *kind, const gemm_block *p,
                      float *scratch);
int64_t ISA(gemm_packed_floats)(const gemm_kind *kind, int64_t M, int64_t N,
                                int64_t K, tn_dtype c);

/* ---- small shared arithmetic ---- */

static inline int64_t gemm_round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Words of a line of K numbers, copied as pairs: whole vectors. */
static inline int64_t gemm_pairs_of(int64_t K)
{
    return gemm_round_up(K, 2 * VW) / 2;
}

/* Whether tiles of floats read rows of x where they lie: but for those whose
 * lines fall into few sets of the caches, as they do where the pitch across is
 * a multiple of 2 KiB (half the speed at 4 KiB). */
static inline int gemm_lies_well(gemm_any x)
{
    return x.dtype == TN_F32 && !(gemm_is_across(x) && x.column % 512 == 0);
}

/* `call` for an x whose dtype the compiler knows. */
#define GEMM_EITHER(x, call)                                                   \
    do {                                                                       \
        if ((x).dtype == TN_BF16) {                                            \
            (x).dtype = TN_BF16;                                               \
            call;                                                              \
        } else {                                                               \
            (x).dtype = TN_F32;                                                \
            call;                                                              \
        }                                                                      \
    } while (0)

/* The same where lines may have factors. */
#define GEMM_ACROSS(x, call)                                                   \
    do {                                                                       \
        if ((x).by) {                                                          \
            GEMM_EITHER(x, call);                                              \
        } else {                                                               \
            (x).by = NULL;                                                     \
            GEMM_EITHER(x, call);                                              \
        }                                                                      \
    } while (0)

/* n of x's numbers from `at` on, the others 0. */
CPU_INLINE vf gemm_load(gemm_any x, int64_t at, int64_t n)
{
    if (x.dtype == TN_BF16)
        return n >= VW ? v_load_bf16(gemm_halves(x) + at)
                       : v_load_bf16_n(gemm_halves(x) + at, n);
    return n >= VW ? v_load(gemm_floats(x) + at)
                   : v_load_n(gemm_floats(x) + at, n);
}

/* The same of line k of memory, times its factor. */
CPU_INLINE vf gemm_load_line(gemm_any x, int64_t k, int64_t at, int64_t n)
{
    vf line = gemm_load(x, at, n);
    if (x.by)
        line = line * v_set(x.by[k]);
    return line;
}

/* n <= VW sums of row i, from column j on: with those that are there. */
CPU_INLINE vf gemm_added(const gemm_sums *c, int64_t i, int64_t j, int64_t n,
                         vf sum)
{
    if (c->add)
        sum = v_load_n(c->at + i * c->pitch + j, n) + sum;
    return sum;
}

CPU_INLINE void gemm_store(const gemm_sums *c, int64_t i, int64_t j, int64_t n,
                           vf sum)
{
    if (!c->half && n >= VW)
        v_store(c->at + i * c->pitch + j, sum);
    else if (!c->half)
        v_store_n(c->at + i * c->pitch + j, sum, n);
    else if (n >= VW)
        v_store_bf16(c->half + i * c->half_pitch + j, sum);
    else
        v_store_bf16_n(c->half + i * c->half_pitch + j, sum, n);
}

CPU_INLINE void gemm_put(const gemm_sums *c, int64_t i, int64_t j, int64_t n,
                         vf sum)
{
    gemm_store(c, i, j, n, gemm_added(c, i, j, n, sum));
}

#endif
