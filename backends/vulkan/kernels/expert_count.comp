#version 460
/*
 * expert_count - count[e] = how many choices are e: a workgroup for each e.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 128) in;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t choice, count;
    uint choices, experts;
};

shared int part[128];

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint e = workgroup(), me = gl_LocalInvocationID.x;
    if (e >= a.experts)
        return;
    int sum = 0;
    for (uint i = me; i < a.choices; i += 128)
        sum += Ints(a.choice).at[i] == int(e) ? 1 : 0;
    part[me] = sum;
    barrier();
    for (uint reach = 64; reach > 0; reach /= 2) {
        if (me < reach)
            part[me] += part[me + reach];
        barrier();
    }
    if (me == 0)
        Ints(a.count).at[e] = part[0];
}
