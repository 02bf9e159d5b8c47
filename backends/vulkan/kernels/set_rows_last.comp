#version 460
/*
 * set_rows_last - keep[b, t] = 1 where no later row of the same b goes to the
 * same place: of two rows with one index the later one stays.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t index, keep;
    uint count, steps, rows;
};

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint i = workgroup() * 64 + gl_LocalInvocationID.x;
    if (i >= a.count)
        return;
    const int mine = Ints(a.index).at[i];
    const uint end = i / a.steps * a.steps + a.steps;
    uint j = i + 1;
    while (j < end && Ints(a.index).at[j] != mine)
        j++;
    const bool valid = mine >= 0 && mine < int(a.rows);
    Ints(a.keep).at[i] = valid && j == end ? 1 : 0;
}
