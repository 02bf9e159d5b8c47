/*
 * common.glsl - what every kernel of this folder begins with.
 *
 * A kernel is pushed the address of its argument block, whose layout is its
 * own, and of the record where an index out of range is told. Tensors are
 * addresses: T(address) is an array there, T(address + 4 n) the array from
 * element n on.
 */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_GOOGLE_include_directive : require

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Floats
{
    float at[];
};

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Ints
{
    int at[];
};

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Fault
{
    uint node;
    int value, lowest, limit;
};

layout(push_constant) uniform Push
{
    uint64_t arguments;
    uint64_t fault;
    uint node;
}
push;

uint workgroup()
{
    return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
}

/* Whether value is in [lowest, limit); else it is told. */
bool allowed(int value, int lowest, int limit)
{
    if (value >= lowest && value < limit)
        return true;
    Fault f = Fault(push.fault);
    if (atomicCompSwap(f.node, 0u, push.node + 1u) == 0u) {
        f.value = value;
        f.lowest = lowest;
        f.limit = limit;
    }
    return false;
}
