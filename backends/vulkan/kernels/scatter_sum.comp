#version 460
/*
 * scatter_sum - y[index[i]] = sum of x over i's chain, by the last of the
 * chain: one writer for each row, one order for each sum.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 0) const bool ACCUMULATE = false;
layout(constant_id = 1) const uint X_TYPE = F32;
layout(constant_id = 2) const uint Y_TYPE = F32;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t index, before, met, x, y;
    uint count, width, rows, blocks; /* blocks of 64 columns in a row */
};

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint i = workgroup() / a.blocks;
    const uint c =
        workgroup() % a.blocks * 64 + gl_LocalInvocationID.x;
    if (i >= a.count || c >= a.width || Ints(a.met).at[i] != 0)
        return;
    const int row = Ints(a.index).at[i];
    if (row < 0 || row >= int(a.rows))
        return;
    float sum = 0.0;
    for (int j = int(i); j >= 0; j = Ints(a.before).at[j])
        sum += fetch(a.x, uint64_t(j) * a.width + c, X_TYPE);
    const uint64_t at = uint64_t(row) * a.width + c;
    put(a.y, at, Y_TYPE, sum + (ACCUMULATE ? fetch(a.y, at, Y_TYPE) : 0.0));
}
