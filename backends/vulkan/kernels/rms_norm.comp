#version 460
/*
 * rms_norm - rows of C, LANES invocations each:
 *
 *     r = 1 / sqrt(mean(x^2) + eps)                y = x r w
 *     dx = r w dy - x r^3 mean(x w dy)             (BACKWARD)
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

const uint THREADS = 128;
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint LANES = 32;
layout(constant_id = 1) const bool BACKWARD = false;
layout(constant_id = 2) const uint TYPE = F32;        /* of x, y, dy, dx */
layout(constant_id = 3) const uint WEIGHT_TYPE = F32; /* of w */

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t x, w, dy, rstd, y; /* y: dx */
    uint rows, columns;
    float eps;
};

shared float part[THREADS];

/* Over the lanes of my row. */
float sum_lanes(float value, uint me)
{
    part[me] = value;
    for (uint reach = LANES / 2; reach > 0; reach /= 2) {
        barrier();
        if (me % LANES < reach)
            part[me] += part[me + reach];
    }
    barrier();
    return part[me / LANES * LANES];
}

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint me = gl_LocalInvocationID.x, lane = me % LANES;
    const uint row = workgroup() * (THREADS / LANES) + me / LANES;
    const bool inside = row < a.rows;
    const uint64_t at = uint64_t(row) * a.columns;
    const uint end = inside ? a.columns : 0;
    float sum = 0.0;
    for (uint c = lane; c < end; c += LANES) {
        const float x = fetch(a.x, at + c, TYPE);
        const float by = BACKWARD ? fetch(a.w, c, WEIGHT_TYPE) *
                                        fetch(a.dy, at + c, TYPE)
                                  : x;
        sum = fma(x, by, sum);
    }
    const float mean = sum_lanes(sum, me) / float(a.columns);
    if (!inside)
        return;
    const float r = BACKWARD ? fetch(a.rstd, row, F32)
                             : 1.0 / sqrt(mean + a.eps);
    const float pull = r * r * mean;
    if (!BACKWARD && lane == 0)
        put(a.rstd, row, F32, r);
    for (uint c = lane; c < end; c += LANES) {
        const float x = fetch(a.x, at + c, TYPE);
        const float w = fetch(a.w, c, WEIGHT_TYPE);
        const float y = BACKWARD
                            ? r * (w * fetch(a.dy, at + c, TYPE) - x * pull)
                            : x * r * w;
        put(a.y, at + c, TYPE, y);
    }
}
