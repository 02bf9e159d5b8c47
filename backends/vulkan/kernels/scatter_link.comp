#version 460
/*
 * scatter_link - for each i, the nearest j < i with the same index: rows that
 * meet become a chain from the last to the first. `met` tells a row that
 * another one follows it; it was zero before.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t index, before, met;
    uint count;
};

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint i = workgroup() * 64 + gl_LocalInvocationID.x;
    if (i >= a.count)
        return;
    const int mine = Ints(a.index).at[i];
    int j = int(i) - 1;
    while (j >= 0 && Ints(a.index).at[j] != mine)
        j--;
    Ints(a.before).at[i] = j;
    if (j >= 0)
        Ints(a.met).at[j] = 1;
}
