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
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_GOOGLE_include_directive : require

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Floats
{
    float at[];
};

layout(buffer_reference, std430, buffer_reference_align = 2) buffer Halves
{
    uint16_t at[];
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

/* ---- elements of 4 bytes or of 2, numbered as tn_dtype is ---- */

const uint F32 = 1, BF16 = 3, F16 = 4;

uint size_of(uint type)
{
    return type == F32 ? 4 : 2;
}

/* Element i of a tensor. `type` is a constant wherever this is called. */
float fetch(uint64_t tensor, uint64_t i, uint type)
{
    if (type == F32)
        return Floats(tensor + 4 * i).at[0];
    const uint bits = uint(Halves(tensor + 2 * i).at[0]);
    return type == BF16 ? uintBitsToFloat(bits << 16) : unpackHalf2x16(bits).x;
}

/* To the nearest, ties to even; a NaN stays one. */
uint bf16_bits(float value)
{
    const uint bits = floatBitsToUint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return bits >> 16 | 0x40u;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

/* The same for F16: large numbers become infinite; below 2^-14, where results
 * have fewer bits, the sum with 1/2 rounds them. */
uint f16_bits(float value)
{
    const uint bits = floatBitsToUint(value), size = bits & 0x7fffffffu;
    const uint sign = bits >> 16 & 0x8000u;
    if (size >= 0x47800000u)
        return sign | (size > 0x7f800000u ? 0x7e00u : 0x7c00u);
    if (size < 0x38800000u) {
        precise const float whole = uintBitsToFloat(size) + 0.5;
        return sign | floatBitsToUint(whole) - 0x3f000000u;
    }
    return sign | (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13;
}

void put(uint64_t tensor, uint64_t i, uint type, float value)
{
    if (type == F32)
        Floats(tensor + 4 * i).at[0] = value;
    else
        Halves(tensor + 2 * i).at[0] =
            uint16_t(type == BF16 ? bf16_bits(value) : f16_bits(value));
}
