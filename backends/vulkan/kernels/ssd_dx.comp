#version 460
/*
 * ssd_dx - the gradient of 32 rows of x of a head, and three sums of each row
 * for ssd_ddt.comp. Rows of a tile are j here, columns the rows t that read them.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "ssd.glsl"

float later[16 * WIDTH_SLICES];  /* U from later chunks, then all of it */
float inside[16 * WIDTH_SLICES]; /* from later rows of the chunk */

shared float own[TILE]; /* C_j'B_j: what a row reads of itself */

void add_later(Arguments a, Chunk c, uint row, Sum of_row[4])
{
    const Sum end = sum_at(a, c, c.count - 1);
    const Rows B = b_rows(a, c, row);
    for (uint of_state = 0; of_state < STATE_SLICES; of_state++) {
        const Rows E = state_rows(a, a.E, c, of_state * TILE);
        barrier();
        LOAD_SLICE(weight, B, of_state, STATES)
        ADD_WEIGHTED(E, WIDTH, WIDTH_SLICES, later)
    }
    [[unroll]] for (uint i = 0; i < 4; i++) {
        const float to_end = between(end, of_row[i]);
        [[unroll]] for (uint slice = 0; slice < WIDTH_SLICES; slice++)
            [[unroll]] for (uint j = 0; j < 4; j++)
                later[16 * slice + 4 * i + j] *= to_end;
    }
}

void add_inside(Arguments a, Chunk c, uint row, uint column, Sum of_row[4])
{
    Sum of_column[4];
    float s[16];
    clear_scores(s);
    column_sums(a, c, column, of_column);
    dots(b_rows(a, c, row), c_rows(a, c, column), STATES, s);
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) {
        const uint r = row + y + 8 * i, t = column + x + 8 * j;
        if (r == t)
            own[y + 8 * i] = s[4 * i + j];
        s[4 * i + j] =
            r < t ? s[4 * i + j] * between(of_column[j], of_row[i]) : 0.0;
    }
    put_weights(s);
    const Rows dy = dense_rows(a, a.dy, c, column);
    ADD_WEIGHTED(dy, WIDTH, WIDTH_SLICES, inside)
}

/* later = U: all three parts */
void join(Arguments a, Chunk c, uint row)
{
    const Rows dy = dense_rows(a, a.dy, c, row);
    [[unroll]] for (uint slice = 0; slice < WIDTH_SLICES; slice++)
        [[unroll]] for (uint i = 0; i < 4; i++)
            [[unroll]] for (uint j = 0; j < 4; j++) {
        const uint k = 16 * slice + 4 * i + j, r = y + 8 * i;
        later[k] += inside[k];
        later[k] = fma(own[r],
                       row_element(dy, r, slice * TILE + x + 8 * j, WIDTH),
                       later[k]);
    }
}

void scale_sums(float dt[4], inout float of_row[4])
{
    [[unroll]] for (uint i = 0; i < 4; i++)
        of_row[i] *= dt[i];
}

void main()
{
    Arguments a = Arguments(push.arguments);
    place_me();
    uint w = workgroup();
    const uint row = w % (CHUNK / TILE) * TILE;
    w /= CHUNK / TILE;
    const uint b = w / a.chunks / a.heads;
    if (b >= a.batch)
        return;
    const Chunk c = chunk_of(a, b, w / a.chunks % a.heads, w % a.chunks);
    if (row >= c.count)
        return;
    const Rows X = x_rows(a, c, row);
    Sum of_row[4];
    float dt[4], dot_[4];
    row_sums(a, c, row, of_row);
    [[unroll]] for (uint i = 0; i < 4; i++)
        dt[i] = dt_at(a, c, row + y + 8 * i);
    [[unroll]] for (uint i = 0; i < 16 * WIDTH_SLICES; i++)
        later[i] = inside[i] = 0.0;

    if (c.z + 1 < a.chunks)
        add_later(a, c, row, of_row);
    DOT_ROWS(later, X, WIDTH, WIDTH_SLICES, dot_)
    scale_sums(dt, dot_);
    PUT_SUMS(a, c, WRITTEN, row, dot_)
    for (uint column = row; column < c.count; column += TILE)
        add_inside(a, c, row, column, of_row);
    DOT_ROWS(inside, X, WIDTH, WIDTH_SLICES, dot_)
    scale_sums(dt, dot_);
    PUT_SUMS(a, c, BY_COLUMN, row, dot_)
    join(a, c, row);
    DOT_ROWS(later, X, WIDTH, WIDTH_SLICES, dot_)
    PUT_SUMS(a, c, OF_U, row, dot_)
    const Rows to = dense_rows(a, a.dx, c, row);
    STORE(later, WIDTH, WIDTH_SLICES, to.address, to.pitch, to.rows, TYPE, dt)
}
