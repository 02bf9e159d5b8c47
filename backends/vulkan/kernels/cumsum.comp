#version 460
/*
 * cumsum - running sums along an axis.
 *
 * With many lines, an invocation walks each. With few long ones a workgroup
 * scans each by tiles: a tree in shared memory, then what came before.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const bool BY_WORKGROUP = false;
layout(constant_id = 1) const bool REVERSE = false;
layout(constant_id = 2) const bool EXCLUSIVE = false;
layout(constant_id = 3) const uint TYPE = F32;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t x, y;
    uint lines, count, inner; /* count elements of a line, `inner` apart */
};

shared float running[128];

/* Number of element i of a line. */
uint64_t at(Arguments a, uint line, uint i)
{
    const uint64_t first =
        uint64_t(line / a.inner) * a.count * a.inner + line % a.inner;
    return first + (REVERSE ? a.count - 1 - i : i) * uint64_t(a.inner);
}

void walk(Arguments a, uint line)
{
    float total = 0.0;
    for (uint i = 0; i < a.count; i++) {
        const float value = fetch(a.x, at(a, line, i), TYPE);
        put(a.y, at(a, line, i), TYPE, EXCLUSIVE ? total : total + value);
        total += value;
    }
}

void scan(Arguments a, uint line, uint me)
{
    float before = 0.0;
    for (uint begin = 0; begin < a.count; begin += 128) {
        const uint i = begin + me;
        running[me] = i < a.count ? fetch(a.x, at(a, line, i), TYPE) : 0.0;
        for (uint reach = 1; reach < 128; reach *= 2) {
            barrier();
            const float add = me >= reach ? running[me - reach] : 0.0;
            barrier();
            running[me] += add;
        }
        barrier();
        const float left = me > 0 ? running[me - 1] : 0.0;
        if (i < a.count)
            put(a.y, at(a, line, i), TYPE,
                before + (EXCLUSIVE ? left : running[me]));
        before += running[127];
        barrier();
    }
}

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint me = gl_LocalInvocationID.x;
    if (BY_WORKGROUP) {
        if (workgroup() < a.lines)
            scan(a, workgroup(), me);
    } else if (workgroup() * 128 + me < a.lines) {
        walk(a, workgroup() * 128 + me);
    }
}
