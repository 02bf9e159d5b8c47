#version 460
/*
 * attention_dq - the gradient of 32 queries of a head. Scores are computed
 * again; exp(s - lse) is their probability.
 *
 *     du = p (do . v - delta) ds/du      dq = sum over keys of du k
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "attention.glsl"

float total[16 * KEY_SLICES];
float lse[4], delta[4];

void attend(Arguments a, uint b, uint h, uint first, uint key, uint end)
{
    const uint g = h / (a.heads / a.groups);
    const Rows k = keys_of(a, b, g, key, end);
    float s[16], dp[16];
    clear_scores(s);
    clear_scores(dp);
    dots(queries(a, b, h, first), k, KEY_SIZE, s);
    dots(out_gradients(a, b, h, first), values_of(a, b, g, key, end),
         VALUE_SIZE, dp);
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) {
        const float z = score(a, s[4 * i + j]);
        s[4 * i + j] = sees(a, y + 8 * i, key + x + 8 * j)
                           ? exact_exp(z - lse[i]) *
                                 (dp[4 * i + j] - delta[i]) * bend(a, z)
                           : 0.0;
    }
    put_weights(s);
    ADD_WEIGHTED(k, KEY_SIZE, KEY_SLICES, total)
}

void main()
{
    Arguments a = Arguments(push.arguments);
    const uvec3 at = place((a.rows + TILE - 1) / TILE, a.heads);
    const uint first = at.x, h = at.y, b = at.z;
    if (b >= a.batch)
        return;
    [[unroll]] for (uint i = 0; i < 16 * KEY_SLICES; i++)
        total[i] = 0.0;
    float factor[4];
    [[unroll]] for (uint i = 0; i < 4; i++) {
        const uint t = min(first + y + 8 * i, a.rows - 1);
        lse[i] = Floats(a.lse).at[(b * a.heads + h) * a.rows + t];
        delta[i] = Floats(a.delta).at[(b * a.rows + t) * a.heads + h];
        factor[i] = 1.0;
    }
    load_positions(a, b, first);
    const uvec2 seen = seen_keys(a);
    for (uint key = seen.x; key < seen.y; key += TILE)
        attend(a, b, h, first, key, seen.y);
    const uint pitch = a.heads * KEY_SIZE;
    const uint64_t row = uint64_t(b) * a.rows + first;
    const uint64_t to = a.dq + size_of(TYPE) * (row * pitch + h * KEY_SIZE);
    STORE(total, KEY_SIZE, KEY_SLICES, to, pitch, a.rows - first, TYPE, factor)
}
