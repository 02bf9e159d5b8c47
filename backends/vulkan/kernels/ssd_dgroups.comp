#version 460
/*
 * ssd_dgroups - the gradients of 32 rows of a group's Cm or Bm, over its heads:
 *
 *     VARIANT 0    dC = V B + e^s (dy h)                    rows are t
 *     VARIANT 1    dB = V' C + dt e^(s_L - s) (x E)         rows are j
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "ssd.glsl"

const bool OF_B = VARIANT == 1;

float total[16 * STATE_SLICES];

/* dy of the rows t, or x of the rows j */
Rows of_head(Arguments a, Chunk c, uint row, bool x)
{
    if (x)
        return x_rows(a, c, row);
    return dense_rows(a, a.dy, c, row);
}

void add_states(Arguments a, Chunk c, uint row)
{
    const Sum end = sum_at(a, c, c.count - 1);
    const Rows rows = of_head(a, c, row, OF_B);
    Sum of_row[4];
    float factor[4];
    row_sums(a, c, row, of_row);
    [[unroll]] for (uint i = 0; i < 4; i++)
        factor[i] = OF_B ? between(end, of_row[i]) *
                               dt_at(a, c, row + y + 8 * i)
                         : between(of_row[i], START);
    [[unroll]] for (uint slice = 0; slice < STATE_SLICES; slice++) {
        float s[16];
        clear_scores(s);
        dots(rows, state_rows(a, OF_B ? a.E : a.h, c, slice * TILE), WIDTH, s);
        [[unroll]] for (uint i = 0; i < 4; i++)
            [[unroll]] for (uint j = 0; j < 4; j++)
                total[16 * slice + 4 * i + j] =
                    fma(factor[i], s[4 * i + j], total[16 * slice + 4 * i + j]);
    }
}

/* v += V of one head, or its transpose */
void add_head(Arguments a, Chunk c, uint row, uint column, inout float v[16])
{
    Sum of_row[4], of_column[4];
    float s[16];
    clear_scores(s);
    row_sums(a, c, row, of_row);
    column_sums(a, c, column, of_column);
    dots(of_head(a, c, row, OF_B), of_head(a, c, column, !OF_B), WIDTH, s);
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) {
        const uint of_r = row + y + 8 * i, of_c = column + x + 8 * j;
        const uint from = OF_B ? of_r : of_c, to = OF_B ? of_c : of_r;
        const float decay = OF_B ? between(of_column[j], of_row[i])
                                 : between(of_row[i], of_column[j]);
        if (from <= to)
            v[4 * i + j] =
                fma(s[4 * i + j], decay * dt_at(a, c, from), v[4 * i + j]);
    }
}

void add_inside(Arguments a, Chunk c, uint row, uint column, uint heads)
{
    float v[16];
    clear_scores(v);
    for (uint r = 0; r < heads; r++)
        add_head(a, Chunk(c.b, c.h + r, c.z, c.begin, c.count), row, column, v);
    put_weights(v);
    const Rows with = OF_B ? c_rows(a, c, column) : b_rows(a, c, column);
    ADD_WEIGHTED(with, STATES, STATE_SLICES, total)
}

void main()
{
    Arguments a = Arguments(push.arguments);
    place_me();
    uint w = workgroup();
    const uint row = w % (CHUNK / TILE) * TILE;
    w /= CHUNK / TILE;
    const uint b = w / a.chunks / a.groups, g = w / a.chunks % a.groups;
    if (b >= a.batch)
        return;
    const uint heads = a.heads / a.groups;
    const Chunk c = chunk_of(a, b, g * heads, w % a.chunks);
    if (row >= c.count)
        return;
    [[unroll]] for (uint i = 0; i < 16 * STATE_SLICES; i++)
        total[i] = 0.0;
    if (OF_B ? c.z + 1 < a.chunks : c.z > 0)
        for (uint r = 0; r < heads; r++)
            add_states(a, Chunk(c.b, c.h + r, c.z, c.begin, c.count), row);
    const uint first = OF_B ? row : 0, last = OF_B ? c.count - 1 : row;
    for (uint column = first; column <= last; column += TILE)
        add_inside(a, c, row, column, heads);

    const float factor[4] = float[](1.0, 1.0, 1.0, 1.0);
    const uint64_t t = uint64_t(b) * a.rows + c.begin + row;
    const uint64_t to = (OF_B ? a.dB : a.dC) +
                        size_of(TYPE) * ((t * a.groups + g) * STATES);
    STORE(total, STATES, STATE_SLICES, to, a.groups * STATES, c.count - row,
          TYPE, factor)
}
