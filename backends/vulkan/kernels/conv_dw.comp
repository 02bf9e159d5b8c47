#version 460
/*
 * conv_dw - the part of dw that ROWS rows of a batch row make; another kernel
 * joins the parts.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "conv.glsl"

const uint ROWS = 64;

void main()
{
    Arguments a = Arguments(push.arguments);
    uint w = workgroup();
    const uint c = w % a.blocks * 64 + gl_LocalInvocationID.x;
    const uint block = w / a.blocks;
    const uint first = block % a.row_blocks * ROWS, b = block / a.row_blocks;
    if (b >= a.batch || c >= a.channels)
        return;
    float sum[TAPS], window[TAPS];
    [[unroll]] for (uint k = 0; k < TAPS; k++) {
        sum[k] = 0.0;
        window[k] = k > 0 ? x_at(a, b, int(first + k) - int(TAPS), c) : 0.0;
    }
    for (uint t = first; t < min(first + ROWS, a.rows); t++) {
        const float dy = dy_at(a, b, t, c);
        [[unroll]] for (uint k = 0; k + 1 < TAPS; k++)
            window[k] = window[k + 1];
        window[TAPS - 1] = x_at(a, b, int(t), c);
        [[unroll]] for (uint k = 0; k < TAPS; k++)
            if (sees(a, b, t, int(t + k) - int(TAPS) + 1))
                sum[k] = fma(dy, window[k], sum[k]);
    }
    const uint64_t to = (uint64_t(block) * a.channels + c) * TAPS;
    [[unroll]] for (uint k = 0; k < TAPS; k++)
        put(a.y, to + k, F32, sum[k]);
}
