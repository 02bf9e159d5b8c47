/*
 * ssd.glsl - the scan of a state space, chunk by chunk, as the tiles of
 * pairs.glsl see it.
 *
 * T rows are cut into chunks of CHUNK. With s the running sum of dt A in a
 * chunk, s_L its last, h the state before it, and C B' of the chunk's rows:
 *
 *     W_tj = C_t'B_j e^(s_t - s_j), j <= t       y = W (dt x) + e^s (C h')
 *     h'   = e^(s_L) h + (dt e^(s_L - s) x)' B   before the next chunk
 *
 * Backward, with E the gradient of the state behind a chunk:
 *
 *     U   = W' dy + e^(s_L - s) (B E')           dx = dt U
 *     V_tj = e^(s_t - s_j) dt_j (dy_t'x_j), summed over the heads of a group
 *     dB  = V' C + dt e^(s_L - s) (x E)          dC = V B + e^s (dy h)
 *
 * No exponent is above 0. Where a document begins, nothing carries over: e^ of
 * what passes over its first row is 0. States lie (N, P), so that tiles read
 * their rows.
 * After Dao and Gu 2024, "Transformers are SSMs", section 6, arXiv:2405.21060.
 */
#include "pairs.glsl"

layout(constant_id = 0) const uint WIDTH = 64;  /* P */
layout(constant_id = 1) const uint STATES = 64; /* N */
layout(constant_id = 2) const uint CHUNK = 64;  /* L, a multiple of 32 */
layout(constant_id = 3) const uint TYPE = F32;  /* of x, Bm, Cm and the like */
layout(constant_id = 4) const uint VARIANT = 0;
layout(constant_id = 5) const uint STATE_TYPE = F32; /* of first and last */

const uint WIDTH_SLICES = (WIDTH + 31) / 32;
const uint STATE_SLICES = (STATES + 31) / 32;

/*
 * Strides are of batch row, step and head or group, in elements. What is made
 * on the way, in f32:
 *
 *     s (B, H, T, 4)         running sums in two floats; see Sum
 *     decay (B, H, Z)        e^(s_L) of each chunk
 *     h, E (B, H, Z, N, P)   states before chunks; their gradients behind
 *     sums (5, B, H, T)      what ssd_ddt.comp joins
 *     dA (B, Z, H)           each chunk's part
 */
layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t x, dt, A, Bm, Cm, dy;
    uint64_t x_stride[3], dt_stride[3], b_stride[3], c_stride[3];
    uint64_t first, last; /* states (B, H, P, N) or 0 */
    uint64_t begins;      /* i32 (B, T): where a row's document begins, or 0 */
    uint64_t y, dx, ddt, dB, dC;
    uint64_t s, decay, h, E, sums, dA;
    uint batch, rows, heads, groups; /* B, T, H, G */
    uint chunks;                     /* Z */
};

/* A chunk of a head: which rows it has. */
struct Chunk {
    uint b, h, z;
    uint begin, count;
};

Chunk chunk_of(Arguments a, uint b, uint h, uint z)
{
    const uint begin = z * CHUNK;
    return Chunk(b, h, z, begin, min(a.rows - begin, CHUNK));
}

uint64_t head_of(Arguments a, Chunk c)
{
    return uint64_t(c.b) * a.heads + c.h;
}

uint group_of(Arguments a, Chunk c)
{
    return c.h / (a.heads / a.groups);
}

/* Rows of the chunk from `row` on. */
Rows rows_of(uint64_t tensor, uint64_t batch_step, uint64_t pitch,
             uint64_t head_step, Chunk c, uint h, uint row)
{
    const uint64_t at =
        c.b * batch_step + (c.begin + row) * pitch + h * head_step;
    return Rows(tensor + size_of(TYPE) * at, pitch,
                c.count > row ? c.count - row : 0, TYPE);
}

Rows x_rows(Arguments a, Chunk c, uint row)
{
    return rows_of(a.x, a.x_stride[0], a.x_stride[1], a.x_stride[2], c, c.h,
                   row);
}

Rows b_rows(Arguments a, Chunk c, uint row)
{
    return rows_of(a.Bm, a.b_stride[0], a.b_stride[1], a.b_stride[2], c,
                   group_of(a, c), row);
}

Rows c_rows(Arguments a, Chunk c, uint row)
{
    return rows_of(a.Cm, a.c_stride[0], a.c_stride[1], a.c_stride[2], c,
                   group_of(a, c), row);
}

/* Of a dense tensor shaped as x: dy, y and dx. */
Rows dense_rows(Arguments a, uint64_t tensor, Chunk c, uint row)
{
    const uint64_t pitch = a.heads * WIDTH;
    return rows_of(tensor, a.rows * pitch, pitch, WIDTH, c, c.h, row);
}

/* Rows of a state (N, P) from `row` on. */
Rows state_rows(Arguments a, uint64_t states, Chunk c, uint row)
{
    const uint64_t at = (head_of(a, c) * a.chunks + c.z) * (STATES * WIDTH);
    return Rows(states + 4 * (at + row * WIDTH), WIDTH, STATES - row, F32);
}

/* ---- decays ---- */

/* The running sum, and what its rounding lost: s_t - s_j of two large sums is
 * needed to the last bit. It begins anew with each document; `begin` is where
 * that was in this chunk, -1 before it, and `at` the row's own place. */
struct Sum {
    float high, low;
    float begin, at;
};

const Sum START = Sum(0.0, 0.0, -1.0, -1.0);

Sum sum_at(Arguments a, Chunk c, uint row)
{
    const uint at = min(row, c.count - 1);
    const uint64_t i = 4 * (head_of(a, c) * a.rows + c.begin + at);
    return Sum(fetch(a.s, i, F32), fetch(a.s, i + 1, F32),
               fetch(a.s, i + 2, F32), float(at));
}

/* e^(s_later - s_earlier), 0 across a document's first row */
float between(Sum later, Sum earlier)
{
    precise const float high = later.high - earlier.high;
    precise const float low = later.low - earlier.low;
    return later.begin <= earlier.at ? exact_exp(min(high + low, 0.0)) : 0.0;
}

bool begins_document(Arguments a, uint b, uint t)
{
    return a.begins != 0 &&
           Ints(a.begins).at[b * a.rows + t] == int(t);
}

float dt_at(Arguments a, Chunk c, uint row)
{
    const uint64_t t = c.begin + row;
    return row < c.count ? fetch(a.dt,
                                 c.b * a.dt_stride[0] + t * a.dt_stride[1] +
                                     c.h * a.dt_stride[2],
                                 F32)
                         : 0.0;
}

/* The sums of my rows and columns of a tile. */
void row_sums(Arguments a, Chunk c, uint row, out Sum of_row[4])
{
    [[unroll]] for (uint i = 0; i < 4; i++)
        of_row[i] = sum_at(a, c, row + y + 8 * i);
}

void column_sums(Arguments a, Chunk c, uint column, out Sum of_column[4])
{
    [[unroll]] for (uint j = 0; j < 4; j++)
        of_column[j] = sum_at(a, c, column + x + 8 * j);
}

/* Number `kind` of sums for a row of the chunk. */
uint64_t sum_index(Arguments a, Chunk c, uint kind, uint row)
{
    return (uint64_t(kind) * a.batch * a.heads + head_of(a, c)) * a.rows +
           c.begin + row;
}

/* dot of t and the rows of `with`, for each of my rows */
#define DOT_ROWS(t, with, size, slices, of_row)                                \
    [[unroll]] for (uint i = 0; i < 4; i++)                                    \
        of_row[i] = 0.0;                                                       \
    [[unroll]] for (uint slice = 0; slice < slices; slice++)                   \
        [[unroll]] for (uint i = 0; i < 4; i++)                                \
            [[unroll]] for (uint j = 0; j < 4; j++)                            \
                of_row[i] = fma(t[16 * slice + 4 * i + j],                     \
                                row_element(with, y + 8 * i,                   \
                                            slice * TILE + x + 8 * j, size),   \
                                of_row[i]);                                    \
    sum_rows(of_row);

#define PUT_SUMS(a, c, kind, first, of_row)                                    \
    [[unroll]] for (uint i = 0; i < 4; i++)                                    \
        if (x == 0 && first + y + 8 * i < c.count)                             \
            put(a.sums, sum_index(a, c, kind, first + y + 8 * i), F32,         \
                of_row[i]);

/* What of a step's decay passes over row u, as sums of rows: */
const uint OF_U = 0;      /* x_j'U_j: the rest of ddt */
const uint BY_ROW = 1;    /* to row t from rows j < t of its chunk */
const uint BY_COLUMN = 2; /* from row j to rows t > j */
const uint READ = 3;      /* from h to row t */
const uint WRITTEN = 4;   /* from row j to E */
