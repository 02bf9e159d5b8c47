#version 460
/*
 * conv - y, or dx (BACKWARD): ROWS rows of a channel by each invocation.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "conv.glsl"

const uint ROWS = 8;

void main()
{
    Arguments a = Arguments(push.arguments);
    uint w = workgroup();
    const uint c = w % a.blocks * 64 + gl_LocalInvocationID.x;
    w /= a.blocks;
    const uint first = w % a.row_blocks * ROWS, b = w / a.row_blocks;
    if (b >= a.batch || c >= a.channels)
        return;
    float tap[TAPS], window[ROWS + TAPS - 1];
    [[unroll]] for (uint k = 0; k < TAPS; k++)
        tap[k] = fetch(a.w, c * TAPS + (BACKWARD ? TAPS - 1 - k : k), TYPE);
    [[unroll]] for (uint i = 0; i < ROWS + TAPS - 1; i++) {
        const int t = int(first + i) - int(TAPS) + 1;
        if (BACKWARD)
            window[i] = dy_at(a, b, first + i, c);
        else
            window[i] = t < int(a.rows) ? x_at(a, b, t, c) : 0.0;
    }
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        const uint t = first + i;
        float sum = 0.0;
        [[unroll]] for (uint k = 0; k < TAPS; k++) {
            const bool seen =
                BACKWARD ? sees(a, b, t + k, int(t))
                         : sees(a, b, t, int(t + k) - int(TAPS) + 1);
            sum = fma(tap[k], seen ? window[i + k] : 0.0, sum);
        }
        if (t < a.rows)
            put(a.y, (uint64_t(b) * a.rows + t) * a.channels + c, TYPE,
                sum);
    }
}
