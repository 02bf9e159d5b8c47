/*
 * gemm_packed.c - panels of one operand, rows of the other (gemm_blocks.h).
 *
 *     for each stretch of K, for MOST_COLUMNS of y:
 *         pack y into panels of COLUMNS       (they stay in L2)
 *         for ROWS rows of x:                 (they stay in L1)
 *             for each panel of y:
 *                 ROWS by COLUMNS of c in registers, over the stretch
 *
 * In the innermost loop every word of x meets three vectors of y: 8 x 48 sums
 * are 24 of AVX-512's 32 registers, 6 x 16 are 12 of AVX2's 16. c is read and
 * written once a stretch. This is the order of Goto and van de Geijn, "Anatomy
 * of High-Performance Matrix Multiplication" (2008), with rows of x left where
 * they are if they can be: eight streams are what a first-level cache's ways
 * hold whatever the pitch, and not packing them is what makes products with few
 * columns fast. What is packed next is called for by the tiles before it.
 *
 * x is a, and y is b. Where a has few rows, copying b is not worth it: then x
 * is b^T, c^T is computed, and its tiles are turned as they are stored. The
 * bits are the same: x y + s is y x + s.
 */
#include "gemm_blocks.h"
#include "powers.h"
#include "turn.h"

enum {
    ROWS = GEMM_ROWS,
    COLUMNS = GEMM_COLUMNS,
    MOST_COLUMNS = GEMM_PART, /* of y at once */
    TURNED_ROWS = 8 * ROWS,   /* of x, by a panel of y, before a turn */
    FEW_ROWS = 192,           /* of a, that copying b is not worth it for */
    MOST_ROWS = 128 * ROWS,   /* of x where its copy is kept */
};

_Static_assert(GEMM_PART % COLUMNS == 0, "parts are whole panels");

/* ---- tiles ---- */

/* n < ROWS rows. */
static void run_some(const gemm_kind *kind, int64_t n, int64_t vectors,
                     gemm_factors f, gemm_sums c)
{
    static const int64_t rows_of[] = {ROWS, 4, 2, 1};
    for (size_t i = 1; n > 0; i++)
        for (const int64_t rows = rows_of[i]; n >= rows; n -= rows) {
            kind->tile[i][vectors - 1](&f, &c);
            f.x += rows * f.row;
            f.x_scale += rows;
            c.at += rows * c.pitch;
            if (c.half)
                c.half += rows * c.half_pitch;
        }
}

/* n <= ROWS rows by one panel of columns. */
CPU_INLINE void run_tile(const gemm_kind *kind, int64_t n, int64_t columns,
                         const gemm_factors *f, gemm_sums *c)
{
    const int64_t vectors = cpu_parts(columns, VW);
    c->lanes = columns - (vectors - 1) * VW;
    if (n == ROWS)
        kind->tile[0][vectors - 1](f, c);
    else
        run_some(kind, n, vectors, *f, *c);
}

/* c (columns, n) from a tile (n, columns). */
static void put_turned(const float *tile, int64_t n, int64_t columns,
                       const gemm_sums *c)
{
    for (int64_t j = 0; j < columns; j += 8)
        for (int64_t i = 0; i < n; i += 8) {
            __m256 line[8];
            float turned[8][8];
            for (int64_t k = 0; k < 8; k++)
                line[k] = _mm256_loadu_ps(tile + (i + k) * COLUMNS + j);
            turn_eight(turned[0], 8, line);
            for (int64_t k = 0; k < cpu_min(8, columns - j); k++) {
                gemm_put(c, j + k, i, cpu_min(8, n - i),
                         v_load_n(turned[k], cpu_min(8, n - i)));
            }
        }
}

/* ---- powers ---- */

/* Where n rows of a tile will go is called for as lines to be written: a tile
 * calls for its own sums, and these lie elsewhere. */
CPU_INLINE void call_for_rows(const gemm_sums *c, int64_t n)
{
    const int64_t bytes = COLUMNS * (c->half ? 2 : 4);
    for (int64_t i = 0; i < n; i++) {
        const char *at = c->half ? (const char *)(c->half + i * c->half_pitch)
                                 : (const char *)(c->at + i * c->pitch);
        for (int64_t line = 0; line < bytes; line += GEMM_LINE)
            __asm__ volatile("prefetchw %0" : : "m"(at[line]));
    }
}

/* What is raised: sums of ROWS rows by a panel of columns. */
typedef struct raised {
    float tile[ROWS][COLUMNS];
    vf total[ROWS];
    gemm_sums c;    /* where its first goes */
    int64_t column; /* that one's */
    int kept;
} raised;

/* Of n columns of row i, row `row` of the block: powers, and z at the target.
 * `plain`: sums are z. */
CPU_INLINE void raise_row(const gemm_powers *k, raised *r, int64_t row,
                          int64_t i, int64_t n, int plain)
{
    const gemm_sums c = r->c;
    const float center = k->center[row], cap = k->cap;
    const int64_t target = k->target[row] - r->column;
    vf total = r->total[i];
    for (int64_t j = 0; j < n; j += VW) {
        vf z = v_load(r->tile[i] + j), slope = v_set(1.0f);
        if (!plain) {
            z = gemm_added(&c, i, j, n - j, z);
            if (cap > 0.0f) {
                z = power_capped(z, cap);
                slope = power_slope(z, cap);
            }
            v_store(r->tile[i] + j, z);
        }
        const vf p = power_of(z, center);
        total =
            total + (n - j >= VW ? p : v_select(m_first(n - j), p, v_zero()));
        if (r->kept)
            gemm_store(&c, i, j, cpu_min(n - j, VW), p * slope);
    }
    r->total[i] = total;
    if (target >= 0 && target < n)
        k->at_target[row] = r->tile[i][target];
}

CPU_INLINE void raise_rows(const gemm_powers *k, raised *r, int64_t row,
                           int64_t rows, int64_t columns, int plain)
{
    CPU_UNROLL(8)
    for (int64_t i = 0; i < rows; i++)
        raise_row(k, r, row + i, i, columns, plain);
}

/* ---- a block ---- */

typedef struct block {
    const gemm_kind *kind;
    gemm_any x, y; /* (m, K), (K, n) */
    gemm_sums c;
    int turned; /* c is (n, m) */
    const gemm_powers *powers;
    int kept; /* and not only their sums */
    const gemm_next *after;
    float *room, *x_scale;
    gemm_columns packed;
} block;

/* Of a block, a stretch of K, some columns of y, packed, and rows of x. */
typedef struct part {
    int64_t words, line; /* along K; of a packed column */
    int64_t j, n;        /* columns */
    uint32_t add, last;  /* of the stretches */
    gemm_rows x;
    gemm_next next;
} part;

/* Nothing is next: what is here anyway is called for. */
static gemm_next nothing(const float *here)
{
    return (gemm_next){.at = (const char *)here};
}

/* n lines of x, of K numbers each. */
static gemm_next next_of(gemm_any x, int64_t n, int64_t K)
{
    const int across = gemm_is_across(x);
    const int64_t size = cpu_bytes(x.dtype);
    gemm_next next = {.at = x.at,
                      .pitch = size * (across ? x.column : x.row),
                      .left = across ? K : n,
                      .mask = 1};
    while (next.mask * GEMM_LINE < size * (across ? n : K))
        next.mask *= 2;
    next.mask--;
    return next;
}

/* What one tile calls for. */
static gemm_next take_next(gemm_next *from, const float *here)
{
    const gemm_next taken = *from;
    if (taken.left < GEMM_CALLED)
        return nothing(here);
    from->at += GEMM_CALLED * from->pitch;
    from->left -= GEMM_CALLED;
    return taken;
}

/* c from (i, j) on. Before the last stretch it is f32 in any case. */
static gemm_sums sums_at(const block *b, const part *p, int64_t i, int64_t j)
{
    gemm_sums c = b->c;
    c.at += i * c.pitch + j;
    c.half = c.half && p->last ? c.half + i * c.half_pitch + j : NULL;
    c.add = p->add;
    return c;
}

/* Of rows from r on and any panel of columns. */
static gemm_factors factors_of(const part *p, int64_t r)
{
    return (gemm_factors){.words = p->words,
                          .x = p->x.at + r / ROWS * p->x.panel,
                          .row = p->x.row,
                          .column = p->x.column,
                          .x_scale = p->x.scale + r};
}

/* n <= ROWS rows by the panel of columns from s on. */
CPU_INLINE void multiply_tile(const block *b, part *p, gemm_factors *f,
                              int64_t n, int64_t s, gemm_sums *c)
{
    f->y = b->packed.at + s * p->line;
    f->y_scale = b->packed.scale + s;
    f->next = take_next(&p->next, f->y);
    run_tile(b->kind, n, cpu_min(COLUMNS, p->n - s), f, c);
}

/* Rows [i, i + m) of c. */
static void multiply_rows(const block *b, part *p, int64_t i, int64_t m)
{
    for (int64_t r = 0; r < m; r += ROWS) {
        gemm_factors f = factors_of(p, r);
        gemm_sums c = sums_at(b, p, i + r, p->j);
        for (int64_t s = 0; s < p->n; s += COLUMNS) {
            multiply_tile(b, p, &f, cpu_min(ROWS, m - r), s, &c);
            c.at += COLUMNS;
            if (c.half)
                c.half += COLUMNS;
        }
    }
}

/* The same where c is turned: several tiles at once, so that what is written
 * are lines of the cache and not parts of them. */
static void multiply_turned(const block *b, part *p, int64_t i, int64_t m)
{
    float tiles_of[TURNED_ROWS * COLUMNS];
    for (int64_t r = 0; r < m; r += TURNED_ROWS) {
        const int64_t count = cpu_min(TURNED_ROWS, m - r);
        for (int64_t s = 0; s < p->n; s += COLUMNS) {
            const gemm_sums c = sums_at(b, p, p->j + s, i + r);
            for (int64_t t = 0; t < count; t += ROWS) {
                gemm_factors f = factors_of(p, r + t);
                gemm_sums tile = {.at = tiles_of + t * COLUMNS,
                                  .pitch = COLUMNS};
                multiply_tile(b, p, &f, cpu_min(ROWS, count - t), s, &tile);
            }
            put_turned(tiles_of, count, cpu_min(COLUMNS, p->n - s), &c);
        }
    }
}

/* The same where what is stored are powers. */
static void multiply_raised(const block *b, part *p, int64_t i, int64_t m)
{
    const gemm_powers *k = b->powers;
    const int plain = !p->add && k->cap == 0.0f;
    raised t = {.kept = b->kept};
    for (int64_t r = 0; r < m; r += ROWS) {
        const int64_t n = cpu_min(ROWS, m - r);
        gemm_factors f = factors_of(p, r);
        for (int64_t row = 0; row < ROWS; row++)
            t.total[row] = v_zero();
        for (int64_t s = 0; s < p->n; s += COLUMNS) {
            gemm_sums tile = {.at = t.tile[0], .pitch = COLUMNS};
            t.c = sums_at(b, p, i + r, p->j + s);
            t.column = k->column + p->j + s;
            if (b->kept)
                call_for_rows(&t.c, n);
            multiply_tile(b, p, &f, n, s, &tile);
            if (n < ROWS || p->n - s < COLUMNS)
                raise_rows(k, &t, i + r, n, cpu_min(COLUMNS, p->n - s), 0);
            else if (plain)
                raise_rows(k, &t, i + r, ROWS, COLUMNS, 1);
            else
                raise_rows(k, &t, i + r, ROWS, COLUMNS, 0);
        }
        for (int64_t row = 0; row < n; row++)
            k->total[(i + r + row) * k->parts +
                     (k->column + p->j) / GEMM_PART] = v_sum(t.total[row]);
    }
}

static int64_t words_of(const gemm_kind *kind, int64_t K)
{
    return kind->numbers == 1 ? K : gemm_pairs_of(K);
}

/* Rows of x at once: all where they lie, or where they meet several times what
 * y has room for and their copy is small; a block of a copy else. */
static int64_t rows_at_once(const block *b, int64_t M, int64_t N)
{
    if (b->kind->numbers == 1)
        return gemm_lies_well(b->x) ? M : GEMM_BLOCK_ROWS;
    const int again = N > MOST_COLUMNS;
    return again && M <= MOST_ROWS && !gemm_is_across(b->x) ? M
                                                            : GEMM_BLOCK_ROWS;
}

/* What is packed when rows up to `end` have been multiplied: those behind them;
 * when all have, the columns of y behind these, or those of the next stretch,
 * or what is packed after this block. */
static gemm_next next_packed(const block *b, int64_t M, int64_t N, int64_t K,
                             const part *p, int64_t k, int64_t end)
{
    const int64_t j = p->j + p->n < N ? p->j + p->n : 0;
    const int64_t rest = K - (j > 0 ? k : k + GEMM_STRETCH);
    if (end < M)
        return next_of(gemm_from(b->x, end, k),
                       cpu_min(GEMM_BLOCK_ROWS, M - end),
                       cpu_min(GEMM_STRETCH, K - k));
    if (rest <= 0)
        return b->after ? *b->after : nothing(b->packed.at);
    return next_of(gemm_transposed(gemm_from(b->y, K - rest, j)),
                   cpu_min(MOST_COLUMNS, N - j), cpu_min(GEMM_STRETCH, rest));
}

static void multiply(const block *b, int64_t M, int64_t N, int64_t K,
                     uint32_t add)
{
    const gemm_kind *kind = b->kind;
    const int64_t rows = rows_at_once(b, M, N);
    for (int64_t k = 0; k < K; k += GEMM_STRETCH, add = 1) {
        const int64_t depth = cpu_min(GEMM_STRETCH, K - k);
        part p = {.words = cpu_parts(depth, kind->numbers),
                  .line = words_of(kind, depth),
                  .add = add,
                  .last = k + depth >= K};
        for (p.j = 0; p.j < N; p.j += MOST_COLUMNS) {
            p.n = cpu_min(MOST_COLUMNS, N - p.j);
            kind->pack(&b->packed, gemm_from(b->y, k, p.j), depth, p.n);
            for (int64_t i = 0; i < M; i += rows) {
                const int64_t m = cpu_min(rows, M - i);
                if (p.j == 0 || rows < M)
                    p.x = kind->rows(gemm_from(b->x, i, k), m, depth, b->room,
                                     b->x_scale);
                p.next = next_packed(b, M, N, K, &p, k, i + m);
                (b->turned             ? multiply_turned
                 : b->powers && p.last ? multiply_raised
                                       : multiply_rows)(b, &p, i, m);
            }
        }
    }
}

/* ---- the door ---- */

static int is_turned(int64_t M, int64_t N, gemm_any a, gemm_any b, int powers)
{
    return gemm_is_across(b) && !powers &&
           (a.column != 1 || (N > M && M <= FEW_ROWS));
}

gemm_next ISA(gemm_first)(int64_t M, int64_t N, int64_t K, gemm_any a,
                          gemm_any b)
{
    return is_turned(M, N, a, b, 0)
               ? nothing(NULL)
               : next_of(gemm_transposed(b), cpu_min(MOST_COLUMNS, N),
                         cpu_min(GEMM_STRETCH, K));
}

gemm_order ISA(gemm_order_of)(cpu_products how, int64_t M, int64_t N,
                              gemm_any a, gemm_any b, int powers)
{
    const int turned = is_turned(M, N, a, b, powers);
    const int copied = how != CPU_FLOATS;
    return (gemm_order){
        .copies_a = turned || copied || !gemm_lies_well(a),
        .copies_b = !turned || copied || !gemm_lies_well(gemm_transposed(b)),
        .rows = turned ? COLUMNS : ROWS,
        .columns = turned ? ROWS : COLUMNS,
    };
}

/* Scratch: scales of x and y, then room for rows of x, then y packed, then sums
 * of stretches of a c that is bf16. */
typedef struct room {
    int64_t y_scale, x, y, c, floats;
} room;

static room room_of(const gemm_kind *kind, int64_t M, int64_t N, int64_t K,
                    tn_dtype c)
{
    const int64_t words = words_of(kind, cpu_min(K, GEMM_STRETCH));
    const int64_t most = gemm_round_up(cpu_max(M, N), COLUMNS);
    const int64_t rows =
        GEMM_BLOCK_ROWS + (kind->numbers == 1 ? 0 : cpu_min(most, MOST_ROWS));
    const int64_t columns = cpu_min(most, MOST_COLUMNS);
    room r = {.y_scale = rows};
    r.x = gemm_round_up(r.y_scale + columns, 16);
    r.y = gemm_round_up(r.x + rows * words, 16);
    r.c = r.y + columns * words;
    r.floats = r.c + (c == TN_F32 || K <= GEMM_STRETCH ? 0 : M * N);
    return r;
}

int64_t ISA(gemm_packed_floats)(const gemm_kind *kind, int64_t M, int64_t N,
                                int64_t K, tn_dtype c)
{
    return room_of(kind, M, N, K, c).floats;
}

static gemm_sums sums_of(gemm_into c, int64_t N, float *wide)
{
    if (c.dtype == TN_F32)
        return (gemm_sums){.at = (float *)(void *)c.at, .pitch = c.pitch};
    return (gemm_sums){.at = wide,
                       .half = (uint16_t *)(void *)c.at,
                       .pitch = N,
                       .half_pitch = c.pitch};
}

/* They are a's. Where numbers share a scale along K, these have to be of their
 * final size; rows of floats are read where they lie, so there y's are taken
 * by them. */
static const float **factors_go_to(block *b)
{
    return b->kind->numbers == 1 ? &b->y.by : &b->x.by;
}

void ISA(gemm_packed)(const gemm_kind *kind, const gemm_block *p,
                      float *scratch)
{
    const room r = room_of(kind, p->M, p->N, p->K, p->c.dtype);
    block k = {.kind = kind,
               .x = p->a,
               .y = p->b,
               .c = sums_of(p->c, p->N, scratch + r.c),
               .turned = is_turned(p->M, p->N, p->a, p->b, p->powers != NULL),
               .powers = p->powers,
               .kept = p->c.at != NULL,
               .after = p->after,
               .room = scratch + r.x,
               .x_scale = scratch,
               .packed = {scratch + r.y, scratch + r.y_scale}};
    *factors_go_to(&k) = p->by;
    if (k.turned) {
        k.x = gemm_transposed(p->b);
        k.y = gemm_transposed(p->a);
        multiply(&k, p->N, p->M, p->K, p->c.add);
    } else {
        multiply(&k, p->M, p->N, p->K, p->c.add);
    }
}
