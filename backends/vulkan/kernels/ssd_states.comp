#version 460
/*
 * ssd_states - a tile of what a chunk of a head adds to the state, as (N, P):
 *
 *     VARIANT 0    S = B' (dt e^(s_L - s) x)     to the state behind it
 *     VARIANT 1    Q = C' (e^s dy)               to the gradient before it
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "ssd.glsl"

const bool GRADIENT = VARIANT == 1;

float weight_of(Arguments a, Chunk c, uint t, Sum end)
{
    const Sum at = sum_at(a, c, t);
    return GRADIENT ? between(at, START)
                    : between(end, at) * dt_at(a, c, t);
}

/* s[n, p] += sum over t of left[t, n] right[t, p] */
void add_products(inout float s[16])
{
    for (uint t = 0; t < TILE; t++) {
        float of_row[4];
        [[unroll]] for (uint i = 0; i < 4; i++)
            of_row[i] = left[t * PITCH + y + 8 * i];
        [[unroll]] for (uint j = 0; j < 4; j++) {
            const float of_column = right[t * PITCH + x + 8 * j];
            [[unroll]] for (uint i = 0; i < 4; i++)
                s[4 * i + j] = fma(of_row[i], of_column, s[4 * i + j]);
        }
    }
}

void main()
{
    Arguments a = Arguments(push.arguments);
    place_me();
    uint w = workgroup();
    const uint width = w % WIDTH_SLICES;
    w /= WIDTH_SLICES;
    const uint state = w % STATE_SLICES;
    w /= STATE_SLICES;
    const uint b = w / a.chunks / a.heads;
    if (b >= a.batch)
        return;
    const Chunk c = chunk_of(a, b, w / a.chunks % a.heads, w % a.chunks);
    const Sum end = sum_at(a, c, c.count - 1);
    float s[16];
    clear_scores(s);
    for (uint t = 0; t < c.count; t += TILE) {
        const Rows n_of = GRADIENT ? c_rows(a, c, t) : b_rows(a, c, t);
        const Rows p_of =
            GRADIENT ? dense_rows(a, a.dy, c, t) : x_rows(a, c, t);
        barrier();
        if (me < TILE)
            weight[me] = weight_of(a, c, t + me, end);
        LOAD_SLICE(left, n_of, state, STATES)
        barrier();
        for (uint n = me; n < TILE * TILE; n += 64)
            right[n / TILE * PITCH + n % TILE] =
                weight[n / TILE] * row_element(p_of, n / TILE,
                                               width * TILE + n % TILE, WIDTH);
        barrier();
        add_products(s);
    }
    const float factor[4] = float[](1.0, 1.0, 1.0, 1.0);
    const Rows to = state_rows(a, GRADIENT ? a.E : a.h, c, state * TILE);
    const uint columns = WIDTH - width * TILE;
    STORE(s, columns, 1, to.address + 4 * (width * TILE), WIDTH, to.rows, F32,
          factor)
}
