/*
 * gemm_words.h - operands packed as words of two numbers along K
 * (gemm_blocks.h), for kinds that say what a number becomes:
 *
 *     ALONG(x, at, n, scale)            VW words of a line: n of 2 VW numbers
 *                                       from `at` on, the others 0
 *     ACROSS(x, k, i, n, m, scale)      VW words across lines, from i on: n
 *                                       numbers of line k, m of the one behind
 *
 * `scale` points to what products are multiplied with in the end: to one
 * number, or to VW.
 */
enum {
    WIDE = GEMM_BLOCK_ROWS + VW, /* of rows, across: not a power of two */
};

/* Lines of x (n, K), one after the other. */
CPU_INLINE void words_along(float *to, const float *scale, gemm_any x,
                            int64_t n, int64_t K)
{
    const int64_t line = gemm_pairs_of(K);
    for (int64_t i = 0; i < n; i++, to += line)
        for (int64_t k = 0; k < K; k += 2 * VW)
            i_store((int32_t *)(void *)(to + k / 2),
                    ALONG(x, i * x.row + k, K - k, scale + i));
}

/* n <= VW of them, turned: word k of all at to[k * COLUMNS]. */
CPU_INLINE void put_turned_lines(float *to, const float *scale, gemm_any x,
                                 int64_t n, int64_t K)
{
    for (int64_t k = 0; k < K; k += 2 * VW, to += VW * GEMM_COLUMNS) {
        vf words[VW];
        CPU_UNROLL(16)
        for (int64_t j = 0; j < VW; j++)
            words[j] =
                j < n ? v_from_bits(ALONG(x, j * x.row + k, K - k, scale + j))
                      : v_zero();
        turn_square(to, GEMM_COLUMNS, words);
    }
}

/* All, in panels of COLUMNS lines. */
CPU_INLINE void words_turned(float *to, const float *scale, gemm_any x,
                             int64_t n, int64_t K)
{
    const int64_t line = gemm_pairs_of(K);
    for (int64_t i = 0; i < n; i += VW) {
        const gemm_any some = gemm_from(x, i, 0);
        float *at =
            to + i / GEMM_COLUMNS * GEMM_COLUMNS * line + i % GEMM_COLUMNS;
        if (n - i >= VW) /* a number that the compiler knows */
            put_turned_lines(at, scale + i, some, VW, K);
        else
            put_turned_lines(at, scale + i, some, n - i, K);
    }
}

/* Words number k of lines [0, n) of x, contiguous across them: to `to`, and
 * those of the next panel `next` behind. */
CPU_INLINE void put_across(float *to, int64_t panel, int64_t next,
                           const float *scale, gemm_any x, int64_t n, int64_t k,
                           int64_t K)
{
    for (int64_t i = 0, left = panel; i < n; i += VW, to += VW, left -= VW) {
        if (left == 0) {
            to += next - panel;
            left = panel;
        }
        i_store(
            (int32_t *)(void *)to,
            ACROSS(x, 2 * k, i, n - i, 2 * k + 1 < K ? n - i : 0, scale + i));
    }
}

/* x (n, K) contiguous across lines, in panels of `panel` lines. */
CPU_INLINE void words_across(float *to, int64_t panel, const float *scale,
                             gemm_any x, int64_t n, int64_t K)
{
    enum { AT_ONCE = 12 * VW }; /* for pages' sake */
    const int64_t line = gemm_pairs_of(K);
    for (int64_t i = 0; i < n; i += AT_ONCE)
        for (int64_t k = 0; 2 * k < K; k++)
            put_across(to + i * line + k * panel, panel, panel * line,
                       scale + i, gemm_from(x, i, 0), cpu_min(AT_ONCE, n - i),
                       k, K);
}

static void pack_words(const gemm_columns *to, gemm_any y, int64_t K, int64_t n)
{
    gemm_any x = gemm_transposed(y);
    if (y.column == 1)
        GEMM_ACROSS(x, words_across(to->at, GEMM_COLUMNS, to->scale, x, n, K));
    else
        GEMM_EITHER(x, words_turned(to->at, to->scale, x, n, K));
}

static gemm_rows rows_of_words(gemm_any x, int64_t n, int64_t K, float *room,
                               float *scale)
{
    const int64_t line = gemm_pairs_of(K);
    if (gemm_is_across(x)) {
        GEMM_ACROSS(x, words_across(room, WIDE, scale, x, n, K));
        return (gemm_rows){room, 1, WIDE, GEMM_ROWS, scale};
    }
    GEMM_EITHER(x, words_along(room, scale, x, n, K));
    return (gemm_rows){room, line, 1, GEMM_ROWS * line, scale};
}
