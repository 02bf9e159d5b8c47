/*
 * attention_whole_tile.h - products of attention in whole numbers
 * (attention_whole.h).
 *
 * Included by each way to multiply, which has defined
 *
 *     DOT(sum, x, y)   sum + x y, of words
 *     VECTORS          of y, that a tile has room for
 *
 * and finds `products`.
 */
enum { MOST_ROWS = WHOLE_STEP }; /* of a tile */
enum { SCORES, ADD, RESCALE };

/* Row i of a tile goes to c. */
CPU_INLINE void put(int what, int across, const whole_product *p, float *c,
                    int64_t i, int64_t j, const vf *sum)
{
    const vf scale = v_set(p->x_scale[i]);
    const vf before = what == RESCALE ? v_set(p->other[i]) : v_zero();
    CPU_UNROLL(4)
    for (int v = 0; v < across; v++) {
        const vf of = v_from_i(v_bits(sum[v]));
        float *at = c + v * VW;
        if (what == SCORES)
            v_store(at, of * scale * v_load(p->other + j + v * VW));
        else if (what == ADD)
            v_store(at, v_fma(of, scale, v_load(at)));
        else
            v_store(at, v_fma(of, scale, v_load(at) * before));
    }
}

CPU_INLINE void tile(int what, int rows, int across, const whole_product *p,
                     int64_t i, int64_t j)
{
    const float *x = p->x + i * p->row, *y = p->y + j;
    float *c = p->c + i * p->c_pitch + j;
    vf sum[MOST_ROWS][VECTORS];
    CPU_UNROLL(16)
    for (int r = 0; r < rows; r++) {
        CPU_UNROLL(4)
        for (int v = 0; v < across; v++)
            sum[r][v] = v_zero();
    }
    for (int64_t k = 0; k < p->words; k++, x += p->column, y += p->pitch) {
        vf line[VECTORS];
        CPU_UNROLL(4)
        for (int v = 0; v < across; v++)
            line[v] = v_load(y + v * VW);
        CPU_UNROLL(16)
        for (int r = 0; r < rows; r++) {
            const vf word = v_broadcast(x + r * p->row);
            CPU_UNROLL(4)
            for (int v = 0; v < across; v++)
                sum[r][v] = DOT(sum[r][v], word, line[v]);
        }
    }
    CPU_UNROLL(16)
    for (int r = 0; r < rows; r++)
        put(what, across, p, c + r * p->c_pitch, i + r, j, sum[r]);
}

CPU_INLINE void tiles(int what, int rows, int across, int64_t M,
                      const whole_product *p, int64_t j)
{
    const whole_product f = *p; /* which no store can change */
    for (int64_t i = 0; i < M; i += rows) {
        whole_call(p->ahead);
        tile(what, rows, across, &f, i, j);
    }
}

/* At least ten sums at a time, and a few more than that: of VPDPWSSD one takes
 * five cycles, and two start in each. */
CPU_INLINE void columns(int what, int64_t M, int64_t N, const whole_product *p)
{
    int64_t j = 0;
    for (; j + VECTORS * VW <= N; j += VECTORS * VW)
        tiles(what, 4, VECTORS, M, p, j);
#if defined(__AVX512F__)
    if (N - j == 3 * VW)
        tiles(what, 4, 3, M, p, j);
    else if (N - j == 2 * VW)
        tiles(what, 8, 2, M, p, j);
    else if (N - j == VW)
        tiles(what, 16, 1, M, p, j);
#else
    if (N - j == 2 * VW)
        tiles(what, 4, 2, M, p, j);
    else if (N - j == VW)
        tiles(what, 8, 1, M, p, j);
#endif
}

static void scores(int64_t M, int64_t N, const whole_product *p)
{
    columns(SCORES, M, N, p);
}

static void add(int64_t M, int64_t N, const whole_product *p)
{
    columns(ADD, M, N, p);
}

static void rescale(int64_t M, int64_t N, const whole_product *p)
{
    columns(RESCALE, M, N, p);
}

static const whole_products products = {scores, add, rescale};
