/*
 * gemm_packed.c - panels of one operand, rows of the other (gemm_blocks.h).
 *
 *     for each stretch of K, for up to MOST_COLUMNS columns of y:
 *         pack y into panels of COLUMNS       (they stay in L2)
 *         for ROWS rows of x:                 (they stay in L1)
 *             for each panel of y:
 *                 ROWS by COLUMNS of c in registers, over the stretch
 *
 * In the innermost loop every number of x meets three vectors of y: 8 x 48 sums
 * are 24 of AVX-512's 32 registers, 6 x 16 are 12 of AVX2's 16. y comes from L2
 * at 16 bytes a cycle, which it gives when asked eight steps ahead; c is read
 * and written once a stretch. This is the order of Goto and van de Geijn,
 * "Anatomy of High-Performance Matrix Multiplication" (2008), with rows of x
 * left where they are: eight streams are what a first-level cache's ways hold
 * whatever the pitch, and not packing them is what makes products with few
 * columns fast.
 *
 * x is a, and y is b. Where a has few rows, copying b is not worth it: then x
 * is b^T, c^T is computed, and its tiles are turned as they are stored. The
 * bits are the same: x y + s is y x + s.
 */
#include "gemm_blocks.h"
#include "turn.h"

enum {
#if defined(__AVX512F__)
    ROWS = 8,
    VECTORS = 3,
#else
    ROWS = 6,
    VECTORS = 2,
#endif
    COLUMNS = VECTORS * VW,
    STRETCH = 512,               /* of K */
    MOST_COLUMNS = 16 * COLUMNS, /* of y at once */
    BLOCK_ROWS = 16 * ROWS,      /* of x where it is packed */
    TURNED_ROWS = 8 * ROWS,      /* of x, by a panel of y, before a turn */
    FEW_ROWS = 192,              /* of a, that copying b is not worth it for */
    AHEAD = 8,                   /* steps of K */
};

/* ---- packing ---- */

CPU_INLINE vf load(gemm_any x, int64_t at)
{
    return x.dtype == TN_BF16 ? v_load_bf16(gemm_halves(x) + at)
                              : v_load(gemm_floats(x) + at);
}

CPU_INLINE vf load_n(gemm_any x, int64_t at, int64_t n)
{
    return x.dtype == TN_BF16 ? v_load_bf16_n(gemm_halves(x) + at, n)
                              : v_load_n(gemm_floats(x) + at, n);
}

/* x (K, n) contiguous along n, into panels of `panel` columns. Row by row of x,
 * for its pages' sake. */
CPU_INLINE void pack_across(int64_t panel, float *to, gemm_any x, int64_t K,
                            int64_t n)
{
    for (int64_t k = 0; k < K; k++, to += panel)
        for (int64_t j = 0; j < n; j += panel) {
            float *line = to + j * K;
            const int64_t at = k * x.row + j;
            const int64_t left = cpu_min(panel, n - j);
            for (int64_t i = 0; i < panel; i += VW)
                if (panel - i < VW)
                    v_store_n(line + i, load_n(x, at + i, left - i), panel - i);
                else if (left - i >= VW)
                    v_store(line + i, load(x, at + i));
                else
                    v_store(line + i,
                            left > i ? load_n(x, at + i, left - i) : v_zero());
        }
}

/* Rows of x (n, K) contiguous along n, into panels of ROWS. */
static void pack_rows(float *to, gemm_any x, int64_t K, int64_t n)
{
    const gemm_any turned = {x.at, x.dtype, x.column, 1};
#if defined(__AVX512F__)
    const int64_t whole = n / (2 * ROWS) * (2 * ROWS);
    for (int64_t k = 0; k < K; k++)
        for (int64_t i = 0; i < whole; i += 2 * ROWS) {
            const vf line = load(turned, k * turned.row + i);
            float *at = to + i * K + k * ROWS;
            _mm256_storeu_ps(at, _mm512_castps512_ps256(line));
            _mm256_storeu_ps(at + ROWS * K, _mm512_extractf32x8_ps(line, 1));
        }
#else
    const int64_t whole = 0;
#endif
    pack_across(ROWS, to + whole * K, gemm_from(turned, 0, whole), K,
                n - whole);
}

CPU_INLINE __m256 eight(gemm_any x, int64_t at)
{
    if (x.dtype == TN_F32)
        return _mm256_loadu_ps(gemm_floats(x) + at);
    const __m128i half =
        _mm_loadu_si128((const __m128i *)(const void *)(gemm_halves(x) + at));
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* x (K, n) contiguous along K, into panels of COLUMNS. */
static void pack_along(float *to, gemm_any x, int64_t K, int64_t n)
{
    for (int64_t j = 0; j < gemm_round_up(n, COLUMNS); j += 8) {
        float *lines = to + j / COLUMNS * COLUMNS * K + j % COLUMNS;
        int64_t k = 0;
        for (; j + 8 <= n && k + 8 <= K; k += 8) {
            __m256 line[8];
            for (int64_t i = 0; i < 8; i++)
                line[i] = eight(x, (j + i) * x.column + k);
            turn_eight(lines + k * COLUMNS, COLUMNS, line);
        }
        for (; k < K; k++)
            for (int64_t i = 0; i < 8; i++)
                lines[k * COLUMNS + i] =
                    j + i < n ? gemm_element(x, k, j + i) : 0;
    }
}

static void pack_columns(float *to, gemm_any y, int64_t K, int64_t n)
{
    if (y.column == 1)
        pack_across(COLUMNS, to, y, K, n);
    else
        pack_along(to, y, K, n);
}

/* Contiguous across rows and not along them. */
static int is_across(gemm_any x)
{
    return x.row == 1 && x.column != 1;
}

/* Whether tiles read rows of x where they lie: but for those whose lines fall
 * into few sets of the caches, as they do where the pitch across is a multiple
 * of 2 KiB (half the speed at 4 KiB). */
static int lies_well(gemm_any x)
{
    return x.dtype == TN_F32 && !(is_across(x) && x.column % 512 == 0);
}

/* Rows of x (n, K) as a tile reads them: where they lie, widened, or in panels
 * of ROWS. */
typedef struct rows {
    const float *at;
    int64_t row, column; /* strides */
    int64_t panel;       /* from ROWS rows to the next */
} rows;

static rows rows_of(gemm_any x, int64_t n, int64_t K, float *packed)
{
    if (lies_well(x))
        return (rows){gemm_floats(x), x.row, x.column, ROWS * x.row};
    if (is_across(x)) {
        pack_rows(packed, x, K, n);
        return (rows){packed, 1, ROWS, ROWS * K};
    }
    for (int64_t i = 0; i < n; i++)
        v_widen(packed + i * K, gemm_halves(x) + i * x.row, K);
    return (rows){packed, K, 1, ROWS * K};
}

/* ---- tiles ---- */

typedef struct tile_into {
    float *at;
    int64_t pitch, lanes; /* of the last vector */
    uint32_t add;
} tile_into;

/* In a register: compilers would load it again for each product. */
CPU_INLINE vf broadcast(const float *at)
{
    vf x = v_set(*at);
    __asm__("" : "+v"(x));
    return x;
}

/* Call for numbers of x before step k needs them: where they lie across, the
 * line AHEAD steps on, else that of one of eight rows, so that each comes up in
 * time. */
CPU_INLINE void call_for(const rows *x, const float *at, int64_t k)
{
    const float *next = x->column == 1 ? at + (k & 7) * x->row + 3 * AHEAD
                                       : at + AHEAD * x->column;
    _mm_prefetch((const char *)next, _MM_HINT_T0);
}

CPU_INLINE void tile(int n, int vectors, int64_t K, const rows *x,
                     const float *at, const float *y, const tile_into *c)
{
    const int64_t row = x->row, column = x->column;
    vf sum[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++) {
            sum[i][j] = v_zero();
            _mm_prefetch((const char *)(c->at + i * c->pitch + j * VW),
                         _MM_HINT_T0);
        }
    for (int64_t k = 0; k < K; k++, at += column, y += COLUMNS) {
        vf line[VECTORS];
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++) {
            line[j] = v_load(y + j * VW);
            _mm_prefetch((const char *)(y + AHEAD * COLUMNS + j * VW),
                         _MM_HINT_T0);
        }
        call_for(x, at, k);
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            const vf number = broadcast(at + i * row);
#pragma GCC unroll 3
            for (int j = 0; j < vectors; j++)
                sum[i][j] = v_fma(number, line[j], sum[i][j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++) {
            float *to = c->at + i * c->pitch + j * VW;
            const int64_t lanes = j == vectors - 1 ? c->lanes : VW;
            const vf before = c->add ? v_load_n(to, lanes) : v_zero();
            v_store_n(to, before + sum[i][j], lanes);
        }
}

typedef void tile_function(int64_t K, const rows *x, const float *at,
                           const float *y, const tile_into *c);
#define TILE(n, vectors)                                                       \
    static void tile_##n##_##vectors(int64_t K, const rows *x,                 \
                                     const float *at, const float *y,          \
                                     const tile_into *c)                       \
    {                                                                          \
        tile(n, vectors, K, x, at, y, c);                                      \
    }

#if defined(__AVX512F__)
#define TILES(n) TILE(n, 1) TILE(n, 2) TILE(n, 3)
#define ROW_OF(n)                                                              \
    {                                                                          \
        tile_##n##_1, tile_##n##_2, tile_##n##_3                               \
    }
TILES(8)
#else
#define TILES(n) TILE(n, 1) TILE(n, 2)
#define ROW_OF(n)                                                              \
    {                                                                          \
        tile_##n##_1, tile_##n##_2                                             \
    }
TILES(6)
#endif
TILES(4)
TILES(2)
TILES(1)

/* A whole panel of rows; what is left of the last goes by fours, twos, ones. */
static const struct {
    int64_t rows;
    tile_function *of[VECTORS];
} tiles[] = {
#if defined(__AVX512F__)
    {8, ROW_OF(8)},
#else
    {6, ROW_OF(6)},
#endif
    {4, ROW_OF(4)},
    {2, ROW_OF(2)},
    {1, ROW_OF(1)},
};

/* n <= ROWS rows of x from `at` on, by one panel of y. */
static void run_tile(int64_t n, int64_t columns, int64_t K, const rows *x,
                     const float *at, const float *y, tile_into c)
{
    const int64_t vectors = cpu_parts(columns, VW);
    c.lanes = columns - (vectors - 1) * VW;
    for (size_t i = 0; n > 0; i++)
        for (; n >= tiles[i].rows; n -= tiles[i].rows) {
            tiles[i].of[vectors - 1](K, x, at, y, &c);
            at += tiles[i].rows * x->row;
            c.at += tiles[i].rows * c.pitch;
        }
}

/* c (columns, n) from a tile (n, columns). */
static void put_turned(const float *tile, int64_t n, int64_t columns,
                       const tile_into *c)
{
    for (int64_t j = 0; j < columns; j += 8)
        for (int64_t i = 0; i < n; i += 8) {
            __m256 line[8];
            float turned[8][8];
            for (int64_t k = 0; k < 8; k++)
                line[k] = _mm256_loadu_ps(tile + (i + k) * COLUMNS + j);
            turn_eight(turned[0], 8, line);
            for (int64_t k = 0; k < cpu_min(8, columns - j); k++) {
                float *to = c->at + (j + k) * c->pitch + i;
                const int64_t lanes = cpu_min(8, n - i);
                const vf before = c->add ? v_load_n(to, lanes) : v_zero();
                v_store_n(to, before + v_load_n(turned[k], lanes), lanes);
            }
        }
}

/* ---- a block ---- */

typedef struct block {
    gemm_any x, y; /* (m, K), (K, n) */
    float *c;
    int64_t pitch;
    int turned; /* c is (n, m) */
    float *packed_x, *packed_y;
} block;

/* Rows [i, i + m) of c by the packed columns [j, j + n). */
static void multiply_rows(const block *b, const rows *x, int64_t i, int64_t m,
                          int64_t j, int64_t n, int64_t K, uint32_t add)
{
    for (int64_t r = 0; r < m; r += ROWS) {
        const float *at = x->at + r / ROWS * x->panel;
        float *c = b->c + (i + r) * b->pitch + j;
        for (int64_t s = 0; s < n; s += COLUMNS)
            run_tile(cpu_min(ROWS, m - r), cpu_min(COLUMNS, n - s), K, x, at,
                     b->packed_y + s * K, (tile_into){c + s, b->pitch, 0, add});
    }
}

/* The same where c is turned: several tiles at once, so that what is written
 * are lines of the cache and not parts of them. */
static void multiply_turned(const block *b, const rows *x, int64_t i, int64_t m,
                            int64_t j, int64_t n, int64_t K, uint32_t add)
{
    float tiles_of[TURNED_ROWS * COLUMNS];
    for (int64_t r = 0; r < m; r += TURNED_ROWS) {
        const int64_t count = cpu_min(TURNED_ROWS, m - r);
        float *c = b->c + j * b->pitch + i + r;
        for (int64_t s = 0; s < n; s += COLUMNS, c += COLUMNS * b->pitch) {
            const int64_t columns = cpu_min(COLUMNS, n - s);
            for (int64_t t = 0; t < count; t += ROWS)
                run_tile(cpu_min(ROWS, count - t), columns, K, x,
                         x->at + (r + t) / ROWS * x->panel, b->packed_y + s * K,
                         (tile_into){tiles_of + t * COLUMNS, COLUMNS, 0, 0});
            put_turned(tiles_of, count, columns,
                       &(tile_into){c, b->pitch, 0, add});
        }
    }
}

static void multiply(const block *b, int64_t M, int64_t N, int64_t K,
                     uint32_t add)
{
    const int64_t most = lies_well(b->x) ? M : BLOCK_ROWS;
    for (int64_t k = 0; k < K; k += STRETCH, add = 1) {
        const int64_t depth = cpu_min(STRETCH, K - k);
        for (int64_t j = 0; j < N; j += MOST_COLUMNS) {
            const int64_t n = cpu_min(MOST_COLUMNS, N - j);
            pack_columns(b->packed_y, gemm_from(b->y, k, j), depth, n);
            for (int64_t i = 0; i < M; i += most) {
                const int64_t m = cpu_min(most, M - i);
                const rows x =
                    rows_of(gemm_from(b->x, i, k), m, depth, b->packed_x);
                (b->turned ? multiply_turned : multiply_rows)(b, &x, i, m, j, n,
                                                              depth, add);
            }
        }
    }
}

/* ---- the door ---- */

static gemm_any transposed(gemm_any x)
{
    return (gemm_any){x.at, x.dtype, x.column, x.row};
}

static int is_turned(int64_t M, int64_t N, gemm_any a, gemm_any b)
{
    return is_across(b) && (a.column != 1 || (N > M && M <= FEW_ROWS));
}

gemm_order ISA(gemm_order_of)(int64_t M, int64_t N, gemm_any a, gemm_any b)
{
    const int turned = is_turned(M, N, a, b);
    return (gemm_order){
        .copies_a = turned || !lies_well(a),
        .copies_b = !turned || !lies_well(transposed(b)),
        .rows = turned ? COLUMNS : ROWS,
        .columns = turned ? ROWS : COLUMNS,
    };
}

static int64_t rows_floats(int64_t K)
{
    return gemm_round_up((BLOCK_ROWS + 1) * cpu_min(K, STRETCH), 16);
}

int64_t ISA(gemm_packed_floats)(int64_t M, int64_t N, int64_t K)
{
    const int64_t columns = gemm_round_up(cpu_max(M, N), COLUMNS);
    return rows_floats(K) +
           cpu_min(columns, MOST_COLUMNS) * cpu_min(K, STRETCH);
}

void ISA(gemm_packed)(int64_t M, int64_t N, int64_t K, gemm_any a, gemm_any b,
                      float *c, int64_t pitch, uint32_t add, float *scratch)
{
    block k = {.x = a,
               .y = b,
               .c = c,
               .pitch = pitch,
               .turned = is_turned(M, N, a, b),
               .packed_x = scratch,
               .packed_y = scratch + rows_floats(K)};
    if (k.turned) {
        k.x = transposed(b);
        k.y = transposed(a);
        multiply(&k, N, M, K, add);
    } else {
        multiply(&k, M, N, K, add);
    }
}
