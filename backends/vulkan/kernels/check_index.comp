#version 460
/*
 * check_index - every index of a tensor must lie in [lowest, limit).
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t index;
    uint count;
    int lowest, limit;
};

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint i = workgroup() * 256 + gl_LocalInvocationID.x;
    if (i < a.count)
        allowed(Ints(a.index).at[i], a.lowest, a.limit);
}
