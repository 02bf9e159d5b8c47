/*
 * attention.glsl - whose scores they are: arguments, positions and masks of
 * attention and its gradients.
 */
#include "pairs.glsl"

layout(constant_id = 0) const uint KEY_SIZE = 64;   /* D */
layout(constant_id = 1) const uint VALUE_SIZE = 64; /* E */
layout(constant_id = 2) const bool HAS_POSITIONS = false;
layout(constant_id = 3) const bool CAUSAL = true;
layout(constant_id = 4) const uint TYPE = F32; /* of all but lse */
layout(constant_id = 5) const bool HAS_FIRST = false;

const uint KEY_SLICES = (KEY_SIZE + 31) / 32;
const uint VALUE_SLICES = (VALUE_SIZE + 31) / 32;

/* Strides are of batch row, step and head, in elements. */
layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t q, k, v, positions, first;
    uint64_t q_stride[3], k_stride[3], v_stride[3];
    uint64_t o, lse;             /* forward: written */
    uint64_t d_out, delta;       /* backward: delta (B, T, H) */
    uint64_t dq, dk, dv;
    uint rows, keys, heads, groups; /* T, S, H, G */
    uint batch;
    float scale, cap;
    int window;
};

shared int position[TILE];
shared int first_key[TILE]; /* before which a query sees none */

Rows rows_at(uint64_t tensor, uint64_t batch_step, uint64_t pitch,
             uint64_t head_step, uint b, uint h, uint first, uint end)
{
    const uint64_t at = b * batch_step + h * head_step + first * pitch;
    return Rows(tensor + size_of(TYPE) * at, pitch,
                end > first ? end - first : 0, TYPE);
}

/* Which query or key tile, head or group, and batch row this workgroup has. */
uvec3 place(uint tiles, uint heads)
{
    place_me();
    const uint w = workgroup();
    return uvec3(w % tiles * TILE, w / tiles % heads, w / tiles / heads);
}

/* ---- who sees whom ---- */

/* Positions of the queries first .. first + 31, -1 where there is none, and
 * where their documents begin. */
void load_positions(Arguments a, uint b, uint first)
{
    barrier();
    if (me < TILE) {
        const uint t = first + me;
        int p = int(t);
        if (HAS_POSITIONS && t < a.rows)
            p = Ints(a.positions).at[b * a.rows + t];
        position[me] = t < a.rows ? p : -1;
        first_key[me] = HAS_FIRST && t < a.rows
                            ? max(Ints(a.first).at[b * a.rows + t], 0)
                            : 0;
    }
    barrier();
}

/* Keys begin .. end - 1 are those that some query of the tile sees. */
uvec2 seen_keys(Arguments a)
{
    int highest = -1, lowest = 0x7fffffff;
    for (uint r = 0; r < TILE; r++) {
        const int p = position[r];
        const int begin =
            CAUSAL && a.window > 0 ? max(p - a.window + 1, 0) : 0;
        highest = max(highest, p);
        lowest = p >= 0 ? min(lowest, max(begin, first_key[r])) : lowest;
    }
    if (highest < 0)
        return uvec2(0, 0);
    const uint end =
        CAUSAL ? uint(min(highest, int(a.keys) - 1) + 1) : a.keys;
    return uvec2(min(uint(lowest), end), end);
}

/* Whether query r of the tile sees the key. */
bool sees(Arguments a, uint r, uint key)
{
    const int p = position[r];
    if (p < 0 || key >= a.keys || int(key) < first_key[r])
        return false;
    if (!CAUSAL)
        return true;
    return int(key) <= p && (a.window == 0 || p - int(key) < a.window);
}

float score(Arguments a, float dot_)
{
    const float u = a.scale * dot_;
    return a.cap > 0.0 ? a.cap * exact_tanh(u / a.cap) : u;
}

/* The derivative of score by the dot product. */
float bend(Arguments a, float s)
{
    return a.scale * (a.cap > 0.0 ? 1.0 - (s / a.cap) * (s / a.cap) : 1.0);
}

Rows queries(Arguments a, uint b, uint h, uint first)
{
    return rows_at(a.q, a.q_stride[0], a.q_stride[1], a.q_stride[2], b, h,
                   first, a.rows);
}

Rows keys_of(Arguments a, uint b, uint g, uint first, uint end)
{
    return rows_at(a.k, a.k_stride[0], a.k_stride[1], a.k_stride[2], b, g,
                   first, end);
}

Rows values_of(Arguments a, uint b, uint g, uint first, uint end)
{
    return rows_at(a.v, a.v_stride[0], a.v_stride[1], a.v_stride[2], b, g,
                   first, end);
}

Rows out_gradients(Arguments a, uint b, uint h, uint first)
{
    const uint pitch = a.heads * VALUE_SIZE;
    return rows_at(a.d_out, uint64_t(a.rows) * pitch, pitch, VALUE_SIZE, b, h,
                   first, a.rows);
}
