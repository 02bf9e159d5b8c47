#version 460
/*
 * attention - softmax attention of 32 queries of a head, key tile by key tile.
 *
 * The largest score so far and the sum of exponentials below it are kept for
 * each row; when the largest grows, what was summed shrinks. After Dao et al.
 * 2022, "FlashAttention", arXiv:2205.14135.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "math.glsl"
#include "attention.glsl"

const float NOTHING = -3.0e38;

float total[16 * VALUE_SLICES];
float top[4], sum[4];

/* The largest of each of my rows, over the 8 invocations that share it. */
void row_tops(float s[16], out float tops[4])
{
    [[unroll]] for (uint i = 0; i < 4; i++)
        part[(y + 8 * i) * 8 + x] = max(max(s[4 * i], s[4 * i + 1]),
                                        max(s[4 * i + 2], s[4 * i + 3]));
    barrier();
    [[unroll]] for (uint i = 0; i < 4; i++) {
        tops[i] = part[(y + 8 * i) * 8];
        for (uint n = 1; n < 8; n++)
            tops[i] = max(tops[i], part[(y + 8 * i) * 8 + n]);
    }
    barrier();
}

void add_row_sums(float p[16])
{
    float of_row[4];
    [[unroll]] for (uint i = 0; i < 4; i++)
        of_row[i] = (p[4 * i] + p[4 * i + 1]) + (p[4 * i + 2] + p[4 * i + 3]);
    sum_rows(of_row);
    [[unroll]] for (uint i = 0; i < 4; i++)
        sum[i] += of_row[i];
}

void attend(Arguments a, Rows q, Rows k, Rows v, uint from)
{
    float s[16], tops[4];
    clear_scores(s);
    dots(q, k, KEY_SIZE, s);
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) {
        const uint key = from + x + 8 * j;
        s[4 * i + j] = sees(a, y + 8 * i, key)
                           ? score(a, s[4 * i + j])
                           : NOTHING;
    }
    row_tops(s, tops);
    [[unroll]] for (uint i = 0; i < 4; i++) {
        const float higher = max(top[i], tops[i]);
        const float shrink = exact_exp(top[i] - higher);
        top[i] = higher;
        sum[i] *= shrink;
        [[unroll]] for (uint j = 0; j < 4; j++)
            s[4 * i + j] = s[4 * i + j] == NOTHING
                               ? 0.0
                               : exact_exp(s[4 * i + j] - higher);
        [[unroll]] for (uint slice = 0; slice < VALUE_SLICES; slice++)
            [[unroll]] for (uint j = 0; j < 4; j++)
                total[16 * slice + 4 * i + j] *= shrink;
    }
    add_row_sums(s);
    put_weights(s);
    ADD_WEIGHTED(v, VALUE_SIZE, VALUE_SLICES, total)
}

void main()
{
    Arguments a = Arguments(push.arguments);
    const uvec3 at = place((a.rows + TILE - 1) / TILE, a.heads);
    const uint first = at.x, h = at.y, b = at.z;
    if (b >= a.batch)
        return;
    const uint g = h / (a.heads / a.groups);
    [[unroll]] for (uint i = 0; i < 16 * VALUE_SLICES; i++)
        total[i] = 0.0;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        top[i] = NOTHING;
        sum[i] = 0.0;
    }
    load_positions(a, b, first);
    const uvec2 seen = seen_keys(a);
    for (uint key = seen.x; key < seen.y; key += TILE)
        attend(a, queries(a, b, h, first), keys_of(a, b, g, key, seen.y),
               values_of(a, b, g, key, seen.y), key);

    float factor[4];
    [[unroll]] for (uint i = 0; i < 4; i++) {
        const uint t = first + y + 8 * i;
        factor[i] = sum[i] > 0.0 ? 1.0 / sum[i] : 0.0;
        if (x == 0 && t < a.rows)
            Floats(a.lse).at[(b * a.heads + h) * a.rows + t] =
                sum[i] > 0.0 ? top[i] + exact_log(sum[i]) : 0.0;
    }
    const uint pitch = a.heads * VALUE_SIZE;
    const uint64_t row = uint64_t(b) * a.rows + first;
    const uint64_t to = a.o + size_of(TYPE) * (row * pitch + h * VALUE_SIZE);
    STORE(total, VALUE_SIZE, VALUE_SLICES, to, pitch, a.rows - first, TYPE,
          factor)
}
