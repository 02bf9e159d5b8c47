#version 460
/*
 * set_rows - state[b, index[b, t]] = x[b, t] for the rows that are kept. Bits
 * are moved, whatever they mean.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint BYTES = 4; /* of an element */

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t index, keep, x, state;
    uint count, steps, rows, width, blocks; /* blocks of 64 columns */
};

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint i = workgroup() / a.blocks;
    const uint c = workgroup() % a.blocks * 64 + gl_LocalInvocationID.x;
    if (i >= a.count || c >= a.width || Ints(a.keep).at[i] == 0)
        return;
    const uint64_t row =
        uint64_t(i / a.steps) * a.rows + Ints(a.index).at[i];
    const uint64_t from = a.x + BYTES * (uint64_t(i) * a.width + c);
    const uint64_t to = a.state + BYTES * (row * a.width + c);
    if (BYTES == 4)
        Ints(to).at[0] = Ints(from).at[0];
    else
        Halves(to).at[0] = Halves(from).at[0];
}
