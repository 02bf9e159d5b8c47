/*
 * pairs.glsl - tiles of 32 rows by 32 columns, by 64 invocations: what every
 * kernel that looks at pairs of rows of a sequence is made of.
 *
 * Invocation (x, y) of 8 x 8 has rows y, y + 8, y + 16, y + 24 of a tile and
 * columns x, x + 8, ... Two products make up attention, the scan of a state
 * space, and the gradients of both:
 *
 *     dots          s[r, c] += sum over d of a[r, d] b[c, d]
 *     add_weighted  t[r, d] += sum over c of weight[r, c] a[c, d]
 *
 * Both pass through shared memory in slices of 32 columns, so that any size of
 * head fits; t stays in registers.
 */
layout(local_size_x = 64) in;

const uint TILE = 32, PITCH = 33;

/* Rows of a matrix that a tile reads: row r begins at element r pitch; rows
 * from `rows` on read as 0. */
struct Rows {
    uint64_t address;
    uint64_t pitch;
    uint rows;
    uint type;
};

shared float left[TILE * PITCH];
shared float right[TILE * PITCH];
shared float weight[TILE * PITCH];
shared float part[TILE * 8];

uint me, x, y;

void place_me()
{
    me = gl_LocalInvocationID.x;
    x = me % 8;
    y = me / 8;
}

float row_element(Rows a, uint r, uint d, uint size)
{
    return r < a.rows && d < size ? fetch(a.address, r * a.pitch + d, a.type)
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

/* factor[i] t of row i to the first `count` rows at `address`. */
#define STORE(t, size, slices, address, row_pitch, count, type, factor)        \
    [[unroll]] for (uint slice = 0; slice < slices; slice++)                   \
        [[unroll]] for (uint i = 0; i < 4; i++)                                \
            [[unroll]] for (uint j = 0; j < 4; j++) {                          \
        const uint r = y + 8 * i, d = slice * TILE + x + 8 * j;                \
        if (r < count && d < size)                                             \
            put(address, uint64_t(r) * row_pitch + d, type,                    \
                factor[i] * t[16 * slice + 4 * i + j]);                        \
    }

/* Of each of my rows, the sum over the 8 invocations that share it. */
void sum_rows(inout float of_row[4])
{
    barrier();
    [[unroll]] for (uint i = 0; i < 4; i++)
        part[(y + 8 * i) * 8 + x] = of_row[i];
    barrier();
    [[unroll]] for (uint i = 0; i < 4; i++) {
        of_row[i] = 0.0;
        for (uint n = 0; n < 8; n++)
            of_row[i] += part[(y + 8 * i) * 8 + n];
    }
}
