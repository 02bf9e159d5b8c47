/*
 * newton.cu - the symmetric product of Newton-Schulz, half of it.
 *
 *     y = alpha p p' + beta q
 *
 * of stacked matrices p (S, K) at any strides and symmetric q, y (S, S), dense.
 * Only tiles on and below the diagonal are multiplied; those below are stored
 * twice, turned.
 */
#include "tile.cuh"

/* Row and column of the w-th tile on or below the diagonal, row by row. */
static __device__ __forceinline__ void find_tile(unsigned w, int *row,
                                                 int *column)
{
    int r = (int)((sqrtf(8.0f * (float)w + 1.0f) - 1.0f) * 0.5f);
    while ((unsigned)r * (r + 1) / 2 > w)
        r--;
    while ((unsigned)(r + 1) * (r + 2) / 2 <= w)
        r++;
    *row = r;
    *column = (int)(w - (unsigned)r * (r + 1) / 2);
}

template <typename S>
static __device__ __forceinline__ void gram(const gpu_gram_args &a)
{
    const int tiles = (a.rows + S::BM - 1) / S::BM;
    const unsigned each = (unsigned)tiles * (tiles + 1) / 2;
    const int64 batch = blockIdx.x / each;
    const float *p = (const float *)a.p + batch * a.p_batch;
    const int64 square = (int64)a.rows * a.rows;
    const float *q = (const float *)a.q + batch * square;
    float *y = (float *)a.y + batch * square;
    const matrix<float> left = {p, a.line, a.step}, right = {p, a.step, a.line};
    const int x = threadIdx.x % S::DX, yy = threadIdx.x / S::DX;
    float total[S::TM][S::TN];
    int row, column;
    find_tile(blockIdx.x % each, &row, &column);
    row *= S::BM;
    column *= S::BN;
    multiply<S>(total, left, right, row, column, a.rows, a.rows, 0, a.inner);
#pragma unroll
    for (int i = 0; i < S::TM; i++) {
        const int r = row + owned<S::BM, S::TM>(yy, i);
#pragma unroll
        for (int j = 0; j < S::TN; j++) {
            const int c = column + owned<S::BN, S::TN>(x, j);
            const int64 at = (int64)r * a.rows + c;
            total[i][j] *= a.alpha;
            if (r >= a.rows || c >= a.rows)
                continue;
            if (a.q)
                total[i][j] = fmaf(a.beta, q[at], total[i][j]);
            y[at] = total[i][j];
        }
    }
    if (row == column)
        return;
#pragma unroll
    for (int j = 0; j < S::TN; j++) {
        const int c = column + owned<S::BN, S::TN>(x, j);
#pragma unroll
        for (int i = 0; i < S::TM; i++) {
            const int r = row + owned<S::BM, S::TM>(yy, i);
            if (r < a.rows && c < a.rows)
                y[(int64)c * a.rows + r] = total[i][j];
        }
    }
}

typedef tile_shape<128, 128, 16, 8, 8> large;
typedef tile_shape<64, 64, 16, 4, 4> small;

extern "C" __global__ void __launch_bounds__(256)
    gram_large(const marked<gpu_gram_args> m)
{
    const gpu_gram_args &a = begin(m);
    gram<large>(a);
}

extern "C" __global__ void __launch_bounds__(256)
    gram_small(const marked<gpu_gram_args> m)
{
    const gpu_gram_args &a = begin(m);
    gram<small>(a);
}
