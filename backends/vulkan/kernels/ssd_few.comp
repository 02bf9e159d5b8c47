#version 460
/*
 * ssd_few - a few rows, as decoding has: the recurrence itself, one pass over the
 * state, which is what takes the time. 8 invocations share a row p of the state.
 *
 *     S_t = e^(dt_t A) S_{t-1} + dt_t x_t B_t'          y_t = S_t C_t
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "ssd.glsl"

const uint LANES = 8;

shared float lane_sum[64];

float joined(float sum, uint lane)
{
    lane_sum[me] = sum;
    barrier();
    float all = 0.0;
    for (uint n = 0; n < LANES; n++)
        all += lane_sum[me - lane + n];
    barrier();
    return all;
}

void main()
{
    Arguments a = Arguments(push.arguments);
    place_me();
    const uint blocks = (WIDTH + 7) / 8, w = workgroup();
    const uint p = w % blocks * 8 + me / LANES, lane = me % LANES;
    const uint b = w / blocks / a.heads;
    if (b >= a.batch)
        return;
    const Chunk c = Chunk(b, w / blocks % a.heads, 0, 0, a.rows);
    const float A = fetch(a.A, c.h, F32);
    const uint64_t state = (head_of(a, c) * WIDTH + p) * STATES;
    float S[(STATES + LANES - 1) / LANES];
    [[unroll]] for (uint k = 0; k < S.length(); k++) {
        const uint n = k * LANES + lane;
        S[k] = a.first != 0 && p < WIDTH && n < STATES
                   ? fetch(a.first, state + n, STATE_TYPE)
                   : 0.0;
    }
    for (uint t = 0; t < a.rows; t++) {
        const Rows B = b_rows(a, c, t), C = c_rows(a, c, t);
        const float dt = dt_at(a, c, t);
        const float decay =
            begins_document(a, b, t) ? 0.0 : exact_exp(min(dt * A, 0.0));
        const float dt_x = dt * row_element(x_rows(a, c, t), 0, p, WIDTH);
        float sum = 0.0;
        [[unroll]] for (uint k = 0; k < S.length(); k++) {
            const uint n = k * LANES + lane;
            S[k] = fma(dt_x, row_element(B, 0, n, STATES), decay * S[k]);
            sum = fma(S[k], row_element(C, 0, n, STATES), sum);
        }
        sum = joined(sum, lane);
        const Rows to = dense_rows(a, a.y, c, t);
        if (lane == 0 && p < WIDTH)
            put(to.address, p, TYPE, sum);
    }
    [[unroll]] for (uint k = 0; k < S.length(); k++) {
        const uint n = k * LANES + lane;
        if (p < WIDTH && n < STATES)
            put(a.last, state + n, STATE_TYPE, S[k]);
    }
}
