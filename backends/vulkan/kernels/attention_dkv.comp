#version 460
/*
 * attention_dkv - the gradients of 32 keys of a group and of their values: over
 * all heads of the group and all tiles of queries that see them. Rows of a tile
 * are keys here, columns queries.
 *
 *     dv = sum over queries of p do      dk = sum over queries of du q
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "attention.glsl"

float dk[16 * KEY_SLICES];
float dv[16 * VALUE_SLICES];

void attend(Arguments a, Rows k, Rows v, uint b, uint h, uint first, uint key)
{
    const Rows q = queries(a, b, h, first);
    const Rows d_out = out_gradients(a, b, h, first);
    float s[16], dp[16], p[16];
    clear_scores(s);
    clear_scores(dp);
    dots(k, q, KEY_SIZE, s);
    dots(v, d_out, VALUE_SIZE, dp);
    [[unroll]] for (uint j = 0; j < 4; j++) {
        const uint t = min(first + x + 8 * j, a.rows - 1);
        const float lse = Floats(a.lse).at[(b * a.heads + h) * a.rows + t];
        const float delta =
            Floats(a.delta).at[(b * a.rows + t) * a.heads + h];
        [[unroll]] for (uint i = 0; i < 4; i++) {
            const float z = score(a, s[4 * i + j]);
            const bool seen = sees(a, x + 8 * j, key + y + 8 * i);
            p[4 * i + j] = seen ? exact_exp(z - lse) : 0.0;
            s[4 * i + j] =
                seen ? p[4 * i + j] * (dp[4 * i + j] - delta) * bend(a, z)
                     : 0.0;
        }
    }
    put_weights(p);
    ADD_WEIGHTED(d_out, VALUE_SIZE, VALUE_SLICES, dv)
    put_weights(s);
    ADD_WEIGHTED(q, KEY_SIZE, KEY_SLICES, dk)
}

void main()
{
    Arguments a = Arguments(push.arguments);
    const uvec3 at = place((a.keys + TILE - 1) / TILE, a.groups);
    const uint key = at.x, g = at.y, b = at.z;
    if (b >= a.batch)
        return;
    [[unroll]] for (uint i = 0; i < 16 * KEY_SLICES; i++)
        dk[i] = 0.0;
    [[unroll]] for (uint i = 0; i < 16 * VALUE_SLICES; i++)
        dv[i] = 0.0;
    const Rows k = keys_of(a, b, g, key, a.keys);
    const Rows v = values_of(a, b, g, key, a.keys);
    const uint heads = a.heads / a.groups;
    for (uint first = 0; first < a.rows; first += TILE) {
        load_positions(a, b, first);
        const uvec2 seen = seen_keys(a);
        if (seen.y <= key || seen.x >= key + TILE)
            continue;
        for (uint h = g * heads; h < (g + 1) * heads; h++)
            attend(a, k, v, b, h, first, key);
    }
    const float factor[4] = float[](1.0, 1.0, 1.0, 1.0);
    const uint count = a.keys - key;
    const uint key_pitch = a.groups * KEY_SIZE;
    const uint value_pitch = a.groups * VALUE_SIZE;
    const uint64_t row = uint64_t(b) * a.keys + key;
    const uint size = size_of(TYPE);
    const uint64_t dk_at = a.dk + size * (row * key_pitch + g * KEY_SIZE);
    const uint64_t dv_at = a.dv + size * (row * value_pitch + g * VALUE_SIZE);
    STORE(dk, KEY_SIZE, KEY_SLICES, dk_at, key_pitch, count, TYPE, factor)
    STORE(dv, VALUE_SIZE, VALUE_SLICES, dv_at, value_pitch, count, TYPE, factor)
}
