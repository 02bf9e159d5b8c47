#version 460
/*
 * matmul - y[.., m, n] = sum over k of a[.., m, k] b[.., k, n].
 *
 * Workgroups run over column tiles, row tiles, parts of k, then batches. With
 * more than one part, part s goes to y + s * (all results), to be summed by
 * another kernel.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "tile.glsl"

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t a, b, y;
    uint64_t a_stride[2], b_stride[2]; /* of row and column */
    uint64_t a_batch[4], b_batch[4];   /* strides of the batch axes */
    uint batch[4];                     /* their sizes */
    uint rows, columns, inner;
    uint parts;
};

void main()
{
    Arguments g = Arguments(push.arguments);
    const uint tiles_n = (g.columns + BN - 1) / BN;
    const uint tiles_m = (g.rows + BM - 1) / BM;
    uint w = workgroup();
    const uint column = w % tiles_n * BN;
    w /= tiles_n;
    const uint row = w % tiles_m * BM;
    w /= tiles_m;
    const uint part = w % g.parts;
    const uint batch = w / g.parts;
    const uint batches = g.batch[0] * g.batch[1] * g.batch[2] * g.batch[3];
    if (batch >= batches)
        return;

    Matrix a = Matrix(g.a, g.a_stride[0], g.a_stride[1]);
    Matrix b = Matrix(g.b, g.b_stride[0], g.b_stride[1]);
    uint rest = batch;
    for (int i = 3; i >= 0; i--) {
        const uint at = rest % g.batch[i];
        rest /= g.batch[i];
        a.address += size_of(A_TYPE) * (at * g.a_batch[i]);
        b.address += size_of(B_TYPE) * (at * g.b_batch[i]);
    }
    const uint share = ((g.inner + g.parts - 1) / g.parts + BK - 1) / BK * BK;
    const uint k_begin = min(part * share, g.inner);
    const uint k_end = min(k_begin + share, g.inner);
    multiply(a, b, row, column, g.rows, g.columns, k_begin, k_end);
    const uint64_t size = size_of(Y_TYPE) * (uint64_t(g.rows) * g.columns);
    store(g.y + (uint64_t(part) * batches + batch) * size, row, column, g.rows,
          g.columns);
}
