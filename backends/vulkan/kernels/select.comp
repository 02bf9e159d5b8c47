#version 460
/*
 * select - the k first elements of a row in the order "larger value first,
 * then lower index"; a NaN ranks with minus infinity.
 *
 * One workgroup for each row. Values are compared as integers that order as
 * the floats do, so no driver's idea of NaN matters.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 64;
layout(constant_id = 1) const bool HAS_VALUES = true;
layout(constant_id = 2) const uint TYPE = F32;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t x, values, index;
    uint rows, columns, k;
};

shared int best_key[THREADS];
shared int best_column[THREADS];

const int LOWEST = int(0x80000000u);

/* Orders as the float does; the zeros are equal, NaN is minus infinity. */
int key_of(int bits)
{
    const int size = bits & 0x7fffffff;
    if (size > 0x7f800000)
        return -0x7f800000;
    return bits < 0 ? -size : size;
}

/* The bits of element i, as those of a float. */
int bits_at(uint64_t x, uint64_t i)
{
    return TYPE == F32 ? Ints(x + 4 * i).at[0]
                       : floatBitsToInt(fetch(x, i, TYPE));
}

/* Whether (key, column) comes before (other, other_column). */
bool before(int key, int column, int other, int other_column)
{
    return key > other || (key == other && column < other_column);
}

void main()
{
    Arguments a = Arguments(push.arguments);
    const uint row = workgroup();
    const uint me = gl_LocalInvocationID.x;
    if (row >= a.rows)
        return;
    const uint64_t first = uint64_t(row) * a.columns;
    int last_key = 0x7fffffff, last_column = -1;
    for (uint n = 0; n < a.k; n++) {
        int key = LOWEST, column = 0x7fffffff;
        for (uint c = me; c < a.columns; c += THREADS) {
            const int here = key_of(bits_at(a.x, first + c));
            if (before(last_key, last_column, here, int(c)) &&
                before(here, int(c), key, column)) {
                key = here;
                column = int(c);
            }
        }
        best_key[me] = key;
        best_column[me] = column;
        barrier();
        for (uint reach = THREADS / 2; reach > 0; reach /= 2) {
            if (me < reach && before(best_key[me + reach],
                                     best_column[me + reach], best_key[me],
                                     best_column[me])) {
                best_key[me] = best_key[me + reach];
                best_column[me] = best_column[me + reach];
            }
            barrier();
        }
        last_key = best_key[0];
        last_column = best_column[0];
        barrier();
        if (me == 0) {
            const uint to = row * a.k + n;
            Ints(a.index).at[to] = last_column;
            if (HAS_VALUES)
                put(a.values, to, TYPE,
                    fetch(a.x, first + last_column, TYPE));
        }
    }
}
