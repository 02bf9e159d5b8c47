/*
 * gemm_tile.h - the innermost loops of a kind of product (gemm_blocks.h).
 *
 * Included by each kind, which has defined
 *
 *     DOT(sum, x, y)               sum + x y, of words
 *     DONE(sum, x_scale, y_scale)  floats of a sum; pointers to scales
 *     TARGET                       an attribute of all functions, or nothing
 *     CALLS_NEXT                   1 to call for what is packed next; where
 *                                  little is packed that costs more
 *
 * and finds `tiles`: functions for ROWS, four, two and one row, by vectors. y
 * comes from L2 at 16 bytes a cycle, which it gives when asked eight steps
 * ahead.
 */
enum {
    AHEAD = 8, /* words along K */
};
_Static_assert(GEMM_CALLED == 8, "steps are counted by k & 7 and k >> 3");

/* Row i of x, rows `row` bytes apart. x86 adds one, two or four of them in an
 * address; compilers would keep seven sums in registers that are not there. */
CPU_INLINE const float *row_at(const float *x, int64_t row, int i)
{
    const char *at = (const char *)x;
    if (i % 3 == 0)
        at += i / 3 * (3 * row);
    else if (i > 4)
        at += row + (i - 1) * row;
    else
        at += i * row;
    return (const float *)(const void *)at;
}

/* Where sums will be stored: rows of lines of the cache, called for as lines to
 * be written. */
typedef struct called {
    const char *at;
    int64_t pitch; /* bytes */
} called;

CPU_INLINE called called_of(const gemm_sums *c)
{
    return c->half ? (called){(const char *)c->half,
                              c->half_pitch * (int64_t)sizeof *c->half}
                   : (called){(const char *)c->at,
                              c->pitch * (int64_t)sizeof *c->at};
}

CPU_INLINE void call_for_sums(const called *c, int64_t i, int64_t j)
{
    __asm__ volatile("prefetchw %0"
                     :
                     : "m"(c->at[i * c->pitch + j * GEMM_LINE]));
}

/* Call for words of x before step k needs them: where they lie across, the
 * line AHEAD steps on, else that of one of eight rows, so that each comes up in
 * time. Of what is wanted behind the last step, rows of c and what is packed
 * next, one line of the cache in a step: more at once would keep y waiting. */
CPU_INLINE void call_for(const gemm_factors *f, const called *c, const float *x,
                         int64_t row, int64_t k)
{
    const char *next = f->column == 1
                           ? (const char *)(x + 3 * AHEAD) + (k & 7) * row
                           : (const char *)(x + AHEAD * f->column);
    _mm_prefetch(next, _MM_HINT_T0);
    if (GEMM_SPARES)
        call_for_sums(c, k >> 2 & 7, k >> 5 & 3);
    if (GEMM_SPARES && CALLS_NEXT)
        _mm_prefetch(f->next.at + (k & 7) * f->next.pitch +
                         (k >> 3 & f->next.mask) * GEMM_LINE,
                     _MM_HINT_T1);
}

/* ---- behind the last step ---- */

CPU_INLINE void add_sums(int n, int vectors, const gemm_sums *c,
                         vf sum[GEMM_ROWS][GEMM_VECTORS])
{
    CPU_UNROLL(8)
    for (int i = 0; i < n; i++) {
        CPU_UNROLL(3)
        for (int j = 0; j < vectors; j++)
            sum[i][j] = v_load(c->at + i * c->pitch + j * VW) + sum[i][j];
    }
}

CPU_INLINE void put_floats(int n, int vectors, const gemm_sums *c,
                           vf sum[GEMM_ROWS][GEMM_VECTORS])
{
    CPU_UNROLL(8)
    for (int i = 0; i < n; i++) {
        CPU_UNROLL(3)
        for (int j = 0; j < vectors; j++)
            v_store(c->at + i * c->pitch + j * VW, sum[i][j]);
    }
}

CPU_INLINE void put_halves(int n, int vectors, const gemm_sums *c,
                           vf sum[GEMM_ROWS][GEMM_VECTORS])
{
    CPU_UNROLL(8)
    for (int i = 0; i < n; i++) {
        CPU_UNROLL(3)
        for (int j = 0; j < vectors; j++)
            v_store_bf16(c->half + i * c->half_pitch + j * VW, sum[i][j]);
    }
}

/* Where the last vector is not full. */
CPU_INLINE void put_some(int n, int vectors, const gemm_sums *c,
                         vf sum[GEMM_ROWS][GEMM_VECTORS])
{
    float line[GEMM_ROWS][GEMM_COLUMNS];
    CPU_UNROLL(8)
    for (int i = 0; i < n; i++) {
        CPU_UNROLL(3)
        for (int j = 0; j < vectors; j++)
            v_store(line[i] + j * VW, sum[i][j]);
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < vectors; j++)
            gemm_put(c, i, j * VW, j == vectors - 1 ? c->lanes : VW,
                     v_load(line[i] + j * VW));
}

CPU_INLINE void put(int n, int vectors, const gemm_sums *c,
                    vf sum[GEMM_ROWS][GEMM_VECTORS])
{
    if (c->lanes < VW) {
        put_some(n, vectors, c, sum);
        return;
    }
    if (c->add)
        add_sums(n, vectors, c, sum);
    if (c->half)
        put_halves(n, vectors, c, sum);
    else
        put_floats(n, vectors, c, sum);
}

CPU_INLINE TARGET void tile(int n, int vectors, const gemm_factors *f,
                            const gemm_sums *c)
{
    const int64_t column = f->column, words = f->words;
    int64_t row = f->row * (int64_t)sizeof(float);
    const float *x = f->x, *y = f->y;
    const called sums = called_of(c);
    vf sum[GEMM_ROWS][GEMM_VECTORS];
    CPU_UNROLL(8)
    for (int i = 0; i < n; i++) {
        CPU_UNROLL(3)
        for (int j = 0; j < vectors; j++) {
            sum[i][j] = v_zero();
            if (!GEMM_SPARES)
                call_for_sums(&sums, i, j);
        }
    }
    for (int64_t k = 0; k < words; k++, x += column, y += GEMM_COLUMNS) {
        vf line[GEMM_VECTORS];
        __asm__("" : "+r"(row)); /* multiples of it stay in addresses */
        CPU_UNROLL(3)
        for (int j = 0; j < vectors; j++) {
            line[j] = v_load(y + j * VW);
            _mm_prefetch((const char *)(y + AHEAD * GEMM_COLUMNS + j * VW),
                         _MM_HINT_T0);
        }
        call_for(f, &sums, x, row, k);
        CPU_UNROLL(8)
        for (int i = 0; i < n; i++) {
            const vf word = v_broadcast(row_at(x, row, i));
            CPU_UNROLL(3)
            for (int j = 0; j < vectors; j++)
                sum[i][j] = DOT(sum[i][j], word, line[j]);
        }
    }
    CPU_UNROLL(8)
    for (int i = 0; i < n; i++) {
        CPU_UNROLL(3)
        for (int j = 0; j < vectors; j++)
            sum[i][j] = DONE(sum[i][j], f->x_scale + i, f->y_scale + j * VW);
    }
    put(n, vectors, c, sum);
}

#define TILE(n, vectors)                                                       \
    static TARGET void tile_##n##_##vectors(const gemm_factors *f,             \
                                            const gemm_sums *c)                \
    {                                                                          \
        tile(n, vectors, f, c);                                                \
    }
#if defined(__AVX512F__)
#define TILES(n) TILE(n, 1) TILE(n, 2) TILE(n, 3)
#define TILES_OF(n)                                                            \
    {                                                                          \
        tile_##n##_1, tile_##n##_2, tile_##n##_3                               \
    }
TILES(8)
#else
#define TILES(n) TILE(n, 1) TILE(n, 2)
#define TILES_OF(n)                                                            \
    {                                                                          \
        tile_##n##_1, tile_##n##_2                                             \
    }
TILES(6)
#endif
TILES(4)
TILES(2)
TILES(1)

static gemm_tile *const tiles[4][GEMM_VECTORS] = {
#if defined(__AVX512F__)
    TILES_OF(8),
#else
    TILES_OF(6),
#endif
    TILES_OF(4), TILES_OF(2), TILES_OF(1)};
