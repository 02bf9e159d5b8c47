/*
 * attention.glsl - tiles of 32 queries by 32 keys, by 64 invocations.
 *
 * Invocation (x, y) of 8 x 8 has rows y, y + 8, y + 16, y + 24 of a tile and
 * columns x, x + 8, ... Two products make up attention and its gradients:
 *
 *     dots          s[r, c] += sum over d of a[r, d] b[c, d]
 *     add_weighted  t[r, d] += sum over c of weight[r, c] a[c, d]
 *
 * Both pass through shared memory in slices of 32 columns, so that any size of
 * head fits; t stays in registers.
 */
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint KEY_SIZE = 64;   /* D */
layout(constant_id = 1) const uint VALUE_SIZE = 64; /* E */
layout(constant_id = 2) const bool HAS_POSITIONS = false;
layout(constant_id = 3) const bool CAUSAL = true;

const uint TILE = 32, PITCH = 33;
const uint KEY_SLICES = (KEY_SIZE + 31) / 32;
const uint VALUE_SLICES = (VALUE_SIZE + 31) / 32;

/* Strides are of batch row, step and head, in elements. */
layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t q, k, v, positions;
    uint64_t q_stride[3], k_stride[3], v_stride[3];
    uint64_t o, lse;             /* forward: written */
    uint64_t d_out, delta;       /* backward: delta (B, T, H) */
    uint64_t dq, dk, dv;
    uint rows, keys, heads, groups; /* T, S, H, G */
    uint batch;
    float scale, cap;
    int window;
};

/* Rows of a matrix that a tile reads: row r at address + 4 r pitch; rows from
 * `rows` on read as 0. */
struct Rows {
    uint64_t address;
    uint64_t pitch;
    uint rows;
};

Rows rows_at(uint64_t tensor, uint64_t batch_step, uint64_t pitch,
             uint64_t head_step, uint b, uint h, uint first, uint end)
{
    const uint64_t at = b * batch_step + h * head_step + first * pitch;
    return Rows(tensor + 4 * at, pitch, end > first ? end - first : 0);
}

shared float left[TILE * PITCH];
shared float right[TILE * PITCH];
shared float weight[TILE * PITCH];
shared int position[TILE];

uint me, x, y;

/* Which query or key tile, head or group, and batch row this workgroup has. */
uvec3 place(uint tiles, uint heads)
{
    me = gl_LocalInvocationID.x;
    x = me % 8;
    y = me / 8;
    const uint w = workgroup();
    return uvec3(w % tiles * TILE, w / tiles % heads, w / tiles / heads);
}

float row_element(Rows a, uint r, uint d, uint size)
{
    return r < a.rows && d < size
               ? Floats(a.address + 4 * (r * a.pitch)).at[d]
               : 0.0;
}

#define LOAD_SLICE(to, a, slice, size)                                         \
    for (uint n = me; n < TILE * TILE; n += 64)                                \
        to[n / TILE * PITCH + n % TILE] =                                      \
            row_element(a, n / TILE, slice * TILE + n % TILE, size);

void clear_scores(out float s[16])
{
    [[unroll]] for (uint i = 0; i < 16; i++)
        s[i] = 0.0;
}

void dots(Rows a, Rows b, uint size, inout float s[16])
{
    for (uint slice = 0; slice * TILE < size; slice++) {
        barrier();
        LOAD_SLICE(left, a, slice, size)
        LOAD_SLICE(right, b, slice, size)
        barrier();
        for (uint d = 0; d < TILE; d++) {
            float of_row[4];
            [[unroll]] for (uint i = 0; i < 4; i++)
                of_row[i] = left[(y + 8 * i) * PITCH + d];
            [[unroll]] for (uint j = 0; j < 4; j++) {
                const float of_column = right[(x + 8 * j) * PITCH + d];
                [[unroll]] for (uint i = 0; i < 4; i++)
                    s[4 * i + j] = fma(of_row[i], of_column, s[4 * i + j]);
            }
        }
    }
}

void put_weights(float s[16])
{
    barrier();
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++)
            weight[(y + 8 * i) * PITCH + x + 8 * j] = s[4 * i + j];
}

/* One slice of t: 16 of the invocation's registers. */
#define ADD_WEIGHTED(a, size, slices, t)                                       \
    [[unroll]] for (uint slice = 0; slice < slices; slice++) {                 \
        barrier();                                                             \
        LOAD_SLICE(right, a, slice, size)                                      \
        barrier();                                                             \
        for (uint c = 0; c < TILE; c++) {                                      \
            float of_row[4];                                                   \
            [[unroll]] for (uint i = 0; i < 4; i++)                            \
                of_row[i] = weight[(y + 8 * i) * PITCH + c];                   \
            [[unroll]] for (uint j = 0; j < 4; j++) {                          \
                const float value = right[c * PITCH + x + 8 * j];              \
                [[unroll]] for (uint i = 0; i < 4; i++)                        \
                    t[16 * slice + 4 * i + j] =                                \
                        fma(of_row[i], value, t[16 * slice + 4 * i + j]);      \
            }                                                                  \
        }                                                                      \
    }

/* factor[i] t of row i to rows of a dense tensor. */
#define STORE(t, size, slices, address, row_pitch, count, factor)              \
    [[unroll]] for (uint slice = 0; slice < slices; slice++)                   \
        [[unroll]] for (uint i = 0; i < 4; i++)                                \
            [[unroll]] for (uint j = 0; j < 4; j++) {                          \
        const uint r = y + 8 * i, d = slice * TILE + x + 8 * j;                \
        if (r < count && d < size)                                             \
            Floats(address + 4 * (r * row_pitch)).at[d] =                      \
                factor[i] * t[16 * slice + 4 * i + j];                         \
    }

/* ---- who sees whom ---- */

/* Positions of the queries first .. first + 31, -1 where there is none. */
void load_positions(Arguments a, uint b, uint first)
{
    barrier();
    if (me < TILE) {
        const uint t = first + me;
        int p = int(t);
        if (HAS_POSITIONS && t < a.rows)
            p = Ints(a.positions).at[b * a.rows + t];
        position[me] = t < a.rows ? p : -1;
    }
    barrier();
}

/* Keys begin .. end - 1 are those that some query of the tile sees. */
uvec2 seen_keys(Arguments a)
{
    int highest = -1, lowest = 0x7fffffff;
    for (uint r = 0; r < TILE; r++) {
        const int p = position[r];
        highest = max(highest, p);
        lowest = p >= 0 ? min(lowest, p) : lowest;
    }
    if (highest < 0)
        return uvec2(0, 0);
    if (!CAUSAL)
        return uvec2(0, a.keys);
    const uint end = uint(min(highest, int(a.keys) - 1) + 1);
    const int begin = a.window > 0 ? max(lowest - a.window + 1, 0) : 0;
    return uvec2(min(uint(begin), end), end);
}

bool sees(Arguments a, int p, uint key)
{
    if (p < 0 || key >= a.keys)
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
