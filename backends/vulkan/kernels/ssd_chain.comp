#version 460
/*
 * ssd_chain - from what each chunk adds to the states at their borders, in
 * place: an invocation for each element of a head's state.
 *
 *     VARIANT 0    h before each chunk, from the first state to the last
 *     VARIANT 1    E behind each chunk, from zeros at the end
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "ssd.glsl"

const bool REVERSE = VARIANT == 1;

void main()
{
    Arguments a = Arguments(push.arguments);
    place_me();
    const uint size = STATES * WIDTH;
    const uint64_t i = uint64_t(workgroup()) * 64 + me;
    const uint64_t head = i / size;
    if (head >= uint64_t(a.batch) * a.heads)
        return;
    const uint n = uint(i % size) / WIDTH, p = uint(i % size) % WIDTH;
    const uint64_t outside = head * size + p * STATES + n;
    const uint64_t states = REVERSE ? a.E : a.h;
    float carried = a.first != 0 ? fetch(a.first, outside, STATE_TYPE) : 0.0;
    for (uint k = 0; k < a.chunks; k++) {
        const uint z = REVERSE ? a.chunks - 1 - k : k;
        const uint64_t chunk = head * a.chunks + z;
        const uint64_t at = chunk * size + i % size;
        const float added = fetch(states, at, F32);
        put(states, at, F32, carried);
        carried = fma(fetch(a.decay, chunk, F32), carried, added);
    }
    if (a.last != 0)
        put(a.last, outside, STATE_TYPE, carried);
}
