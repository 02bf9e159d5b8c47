#version 460
/*
 * ssd_ddt - the gradients of a chunk's decays: with da_u all that passes over
 * row u, from before it to it and later,
 *
 *     ddt = x'U + A da                     dA = sum dt da
 *
 * It is summed from what passes, not as a difference of all that arrives and all
 * that leaves, which would cancel the large terms that stay in their own row. Of
 * pairs of rows, those that pass over u are those that arrive at u or later
 * without those that leave there, inside u's document: where no later row matters
 * that is 0, exactly, as Lion asks, which takes a sign.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "ssd.glsl"

shared float read[2 * 64], written[2 * 64], arrived[2 * 64];
shared float document[2 * 64];
shared float joined[64];

/* The sum of `value` over the workgroup. */
float sum_all(float value)
{
    barrier();
    joined[me] = value;
    for (uint reach = 32; reach > 0; reach /= 2) {
        barrier();
        if (me < reach)
            joined[me] += joined[me + reach];
    }
    barrier();
    return joined[0];
}

/* From before the chunk to behind it. */
float through(Arguments a, Chunk c)
{
    const uint size = STATES * WIDTH;
    const uint64_t chunk = head_of(a, c) * a.chunks + c.z;
    float sum = 0.0;
    for (uint i = me; i < size; i += 64)
        sum = fma(fetch(a.h, chunk * size + i, F32),
                  fetch(a.E, chunk * size + i, F32), sum);
    return fetch(a.decay, chunk, F32) * sum_all(sum);
}

float load(Arguments a, Chunk c, uint kind, uint row)
{
    return fetch(a.sums, sum_index(a, c, kind, row), F32);
}

float passing_over(uint u, uint count)
{
    float sum = 0.0;
    for (uint t = 0; t < u; t++)
        sum += written[t];
    for (uint t = u; t < count; t++) {
        sum += read[t];
        if (document[t] == document[u])
            sum += arrived[t];
    }
    return sum;
}

void main()
{
    Arguments a = Arguments(push.arguments);
    place_me();
    const uint w = workgroup();
    const uint b = w / a.chunks / a.heads;
    if (b >= a.batch)
        return;
    const Chunk c = chunk_of(a, b, w / a.chunks % a.heads, w % a.chunks);
    const float A = fetch(a.A, c.h, F32);
    const float over = through(a, c);
    for (uint t = me; t < c.count; t += 64) {
        read[t] = load(a, c, READ, t);
        written[t] = load(a, c, WRITTEN, t);
        arrived[t] = load(a, c, BY_ROW, t) - load(a, c, BY_COLUMN, t);
        document[t] = sum_at(a, c, t).begin;
    }
    barrier();
    float of_A = 0.0;
    for (uint u = me; u < c.count; u += 64) {
        const float da = over + passing_over(u, c.count);
        const uint64_t t = uint64_t(b) * a.rows + c.begin + u;
        put(a.ddt, t * a.heads + c.h, F32, fma(A, da, load(a, c, OF_U, u)));
        of_A = fma(dt_at(a, c, u), da, of_A);
    }
    of_A = sum_all(of_A);
    if (me == 0)
        put(a.dA, (uint64_t(b) * a.chunks + c.z) * a.heads + c.h, F32, of_A);
}
