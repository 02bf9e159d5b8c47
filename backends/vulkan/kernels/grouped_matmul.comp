#version 460
/*
 * grouped_matmul - rows of a, sorted by expert, times the expert's matrix:
 *
 *     y[r, n]    = sum over k of a[r, k] b[e, k, n],   r in group e
 *     y[e, k, n] = sum over r in group e of a[r, k] b[r, n]     (TRANSPOSED)
 *
 * Where groups begin is known to the device only: for rows, as many workgroups
 * run as tiles could be needed, and each looks for its own.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "tile.glsl"

layout(constant_id = 12) const bool TRANSPOSED = false;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t a, b, offsets, y;
    uint64_t b_stride[3];
    uint rows, inner, columns, experts; /* R, K, N, E */
};

/* Rows of group e; what is out of range has been told by check_index. */
uvec2 group_rows(Arguments g, uint e)
{
    const int first = clamp(Ints(g.offsets).at[e], 0, int(g.rows));
    const int last = clamp(Ints(g.offsets).at[e + 1], first, int(g.rows));
    return uvec2(first, last);
}

void rows_of_experts(Arguments g)
{
    const uint tiles_n = (g.columns + BN - 1) / BN;
    const uint column = workgroup() % tiles_n * BN;
    uint tile = workgroup() / tiles_n;
    for (uint e = 0; e < g.experts; e++) {
        const uvec2 r = group_rows(g, e);
        const uint tiles = (r.y - r.x + BM - 1) / BM;
        if (tile < tiles) {
            const uint row = r.x + tile * BM;
            multiply(Matrix(g.a, g.inner, 1),
                     Matrix(g.b + size_of(B_TYPE) * (e * g.b_stride[0]),
                            g.b_stride[1], g.b_stride[2]),
                     row, column, r.y, g.columns, 0, g.inner);
            store(g.y, row, column, r.y, g.columns);
            return;
        }
        tile -= tiles;
    }
}

void weights_of_experts(Arguments g)
{
    const uint tiles_n = (g.columns + BN - 1) / BN;
    const uint tiles_m = (g.inner + BM - 1) / BM;
    uint w = workgroup();
    const uint column = w % tiles_n * BN;
    w /= tiles_n;
    const uint row = w % tiles_m * BM;
    const uint e = w / tiles_m;
    if (e >= g.experts)
        return;
    const uvec2 r = group_rows(g, e);
    multiply(Matrix(g.a, 1, g.inner), Matrix(g.b, g.columns, 1), row, column,
             g.inner, g.columns, r.x, r.y);
    const uint64_t size = size_of(Y_TYPE) * (uint64_t(g.inner) * g.columns);
    store(g.y + e * size, row, column, g.inner, g.columns);
}

void main()
{
    Arguments g = Arguments(push.arguments);
    if (TRANSPOSED)
        weights_of_experts(g);
    else
        rows_of_experts(g);
}
