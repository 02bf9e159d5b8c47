#version 460
/*
 * expert_place - the flat positions of `choice` sorted by expert, stable: the
 * workgroup of expert e begins where the experts before it end, and numbers its
 * positions by a running count over 128 at a time.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 128) in;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t choice, count, order, inverse, offsets;
    uint choices, experts;
};

shared int running[128];

/* running[i] becomes the sum of running[0 .. i] */
void scan(uint me)
{
    for (uint reach = 1; reach < 128; reach *= 2) {
        barrier();
        const int add = me >= reach ? running[me - reach] : 0;
        barrier();
        running[me] += add;
    }
    barrier();
}

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint e = workgroup(), me = gl_LocalInvocationID.x;
    if (e >= a.experts)
        return;
    int next = 0;
    for (uint i = 0; i < e; i++)
        next += Ints(a.count).at[i];
    if (me == 0) {
        Ints(a.offsets).at[e] = next;
        if (e == a.experts - 1)
            Ints(a.offsets).at[e + 1] = next + Ints(a.count).at[e];
    }
    for (uint begin = 0; begin < a.choices; begin += 128) {
        const uint i = begin + me;
        const bool mine = i < a.choices && Ints(a.choice).at[i] == int(e);
        running[me] = mine ? 1 : 0;
        scan(me);
        if (mine) {
            const int to = next + running[me] - 1;
            Ints(a.order).at[to] = int(i);
            Ints(a.inverse).at[i] = to;
        }
        next += running[127];
        barrier();
    }
}
