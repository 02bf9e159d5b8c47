#version 460
/*
 * ssd_scan - 32 rows of a chunk of a head:
 *
 *     VARIANT 0    y = e^s (C h') + W (dt x)
 *     VARIANT 1    dy'(e^s (C h')) and dy'(W (dt x)) of each row, the latter
 *                  without what a row has of itself: sums for ssd_ddt.comp
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "ssd.glsl"

const bool FOR_SUMS = VARIANT == 1;

float total[16 * WIDTH_SLICES];

void clear_total()
{
    [[unroll]] for (uint i = 0; i < 16 * WIDTH_SLICES; i++)
        total[i] = 0.0;
}

void add_state(Arguments a, Chunk c, uint row, Sum of_row[4])
{
    const Rows C = c_rows(a, c, row);
    for (uint of_state = 0; of_state < STATE_SLICES; of_state++) {
        const Rows h = state_rows(a, a.h, c, of_state * TILE);
        barrier();
        LOAD_SLICE(weight, C, of_state, STATES)
        ADD_WEIGHTED(h, WIDTH, WIDTH_SLICES, total)
    }
    [[unroll]] for (uint i = 0; i < 4; i++) {
        const float from_start = between(of_row[i], START);
        [[unroll]] for (uint slice = 0; slice < WIDTH_SLICES; slice++)
            [[unroll]] for (uint j = 0; j < 4; j++)
                total[16 * slice + 4 * i + j] *= from_start;
    }
}

void add_rows(Arguments a, Chunk c, uint row, uint column, Sum of_row[4])
{
    Sum of_column[4];
    float s[16];
    clear_scores(s);
    column_sums(a, c, column, of_column);
    dots(c_rows(a, c, row), b_rows(a, c, column), STATES, s);
    [[unroll]] for (uint j = 0; j < 4; j++) {
        const uint at = column + x + 8 * j;
        const float dt = dt_at(a, c, at);
        [[unroll]] for (uint i = 0; i < 4; i++) {
            const uint t = row + y + 8 * i;
            const bool past = FOR_SUMS ? at < t : at <= t;
            s[4 * i + j] =
                past ? s[4 * i + j] * between(of_row[i], of_column[j]) * dt
                     : 0.0;
        }
    }
    put_weights(s);
    const Rows X = x_rows(a, c, column);
    ADD_WEIGHTED(X, WIDTH, WIDTH_SLICES, total)
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
    const Rows dy = dense_rows(a, a.dy, c, row);
    Sum of_row[4];
    float dot_[4];
    row_sums(a, c, row, of_row);
    clear_total();
    if (c.z > 0 || a.first != 0)
        add_state(a, c, row, of_row);
    if (FOR_SUMS) {
        DOT_ROWS(total, dy, WIDTH, WIDTH_SLICES, dot_)
        PUT_SUMS(a, c, READ, row, dot_)
        clear_total();
    }
    for (uint column = 0; column <= row; column += TILE)
        add_rows(a, c, row, column, of_row);
    if (FOR_SUMS) {
        DOT_ROWS(total, dy, WIDTH, WIDTH_SLICES, dot_)
        PUT_SUMS(a, c, BY_ROW, row, dot_)
    } else {
        const float factor[4] = float[](1.0, 1.0, 1.0, 1.0);
        const Rows to = dense_rows(a, a.y, c, row);
        STORE(total, WIDTH, WIDTH_SLICES, to.address, to.pitch, to.rows, TYPE,
              factor)
    }
}
