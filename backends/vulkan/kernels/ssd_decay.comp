#version 460
/*
 * ssd_decay - the running sums s of dt A in each chunk of each head, in two
 * floats, and the decay of a whole chunk: an invocation for each chunk.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "ssd.glsl"

void main()
{
    Arguments a = Arguments(push.arguments);
    place_me();
    const uint i = workgroup() * 64 + me;
    const uint b = i / a.chunks / a.heads;
    if (b >= a.batch)
        return;
    const Chunk c = chunk_of(a, b, i / a.chunks % a.heads, i % a.chunks);
    const float A = fetch(a.A, c.h, F32);
    uint64_t to = 4 * (head_of(a, c) * a.rows + c.begin);
    float high = 0.0, low = 0.0, begin = -1.0;
    for (uint t = 0; t < c.count; t++, to += 4) {
        if (begins_document(a, b, c.begin + t)) {
            high = low = 0.0;
            begin = float(t);
        }
        precise const float step = dt_at(a, c, t) * A;
        precise const float sum = high + step;
        precise const float of_step = sum - high;
        precise const float of_high = sum - of_step;
        precise const float lost = (high - of_high) + (step - of_step);
        low += lost;
        high = sum;
        put(a.s, to, F32, high);
        put(a.s, to + 1, F32, low);
        put(a.s, to + 2, F32, begin);
    }
    put(a.decay, head_of(a, c) * a.chunks + c.z, F32,
        between(Sum(high, low, begin, 0.0), START));
}
