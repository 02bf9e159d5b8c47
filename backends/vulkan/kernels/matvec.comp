#version 460
/*
 * matvec - a product with few rows: every element of b is read once, and that
 * is what takes the time. matmul.comp's arguments.
 *
 * Invocations stand along k where b is contiguous along it, each with several
 * columns; else along columns. They are LANES to a column, whose sums meet in
 * shared memory.
 */
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

const uint THREADS = 64;
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint ROWS = 1;
layout(constant_id = 1) const uint ACROSS = 16; /* columns side by side */
layout(constant_id = 2) const uint EACH = 1;    /* columns of an invocation */
layout(constant_id = 3) const bool ACCUMULATE = false;
layout(constant_id = 4) const uint A_TYPE = F32;
layout(constant_id = 5) const uint B_TYPE = F32;
layout(constant_id = 6) const uint Y_TYPE = F32;

const uint LANES = THREADS / ACROSS;
const uint SUMS = ROWS * EACH;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t a, b, y;
    uint64_t a_stride[2], b_stride[2];
    uint64_t a_batch[4], b_batch[4];
    uint batch[4];
    uint rows, columns, inner;
    uint parts;
};

shared float part_sum[THREADS * (SUMS + 1)];

float sum[SUMS];

void add(Arguments g, uint64_t a, uint64_t b, uint column, uint lane,
         uint k_begin, uint k_end)
{
    for (uint k = k_begin + lane; k < k_end; k += LANES) {
        float left[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            left[r] = fetch(a, r * g.a_stride[0] + k * g.a_stride[1], A_TYPE);
        [[unroll]] for (uint c = 0; c < EACH; c++) {
            const uint at = min(column + c * ACROSS, g.columns - 1);
            const float right =
                fetch(b, k * g.b_stride[0] + at * g.b_stride[1], B_TYPE);
            [[unroll]] for (uint r = 0; r < ROWS; r++)
                sum[r * EACH + c] = fma(left[r], right, sum[r * EACH + c]);
        }
    }
}

/* Result n of the workgroup: row, column of an invocation, invocation across. */
void store(Arguments g, uint64_t y, uint first, uint n)
{
    const uint across = n % ACROSS, s = n / ACROSS;
    const uint column = first + s % EACH * ACROSS + across;
    if (column >= g.columns)
        return;
    float total = 0.0;
    for (uint lane = 0; lane < LANES; lane++)
        total += part_sum[(lane * ACROSS + across) * (SUMS + 1) + s];
    const uint64_t at = uint64_t(s / EACH) * g.columns + column;
    put(y, at, Y_TYPE, total + (ACCUMULATE ? fetch(y, at, Y_TYPE) : 0.0));
}

void main()
{
    Arguments g = Arguments(push.arguments);
    const uint me = gl_LocalInvocationID.x;
    const uint width = ACROSS * EACH;
    const uint blocks = (g.columns + width - 1) / width;
    uint w = workgroup();
    const uint first = w % blocks * width;
    w /= blocks;
    const uint part = w % g.parts;
    const uint batch = w / g.parts;
    const uint batches = g.batch[0] * g.batch[1] * g.batch[2] * g.batch[3];
    if (batch >= batches)
        return;
    uint64_t a = g.a, b = g.b;
    uint rest = batch;
    for (int i = 3; i >= 0; i--) {
        const uint at = rest % g.batch[i];
        rest /= g.batch[i];
        a += size_of(A_TYPE) * (at * g.a_batch[i]);
        b += size_of(B_TYPE) * (at * g.b_batch[i]);
    }
    const uint share = (g.inner + g.parts - 1) / g.parts;
    const uint k_begin = min(part * share, g.inner);
    const uint k_end = min(k_begin + share, g.inner);
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        sum[i] = 0.0;
    add(g, a, b, first + me % ACROSS, me / ACROSS, k_begin, k_end);
    [[unroll]] for (uint i = 0; i < SUMS; i++)
        part_sum[me * (SUMS + 1) + i] = sum[i];
    barrier();
    const uint64_t size = size_of(Y_TYPE) * (uint64_t(g.rows) * g.columns);
    const uint64_t y = g.y + (uint64_t(part) * batches + batch) * size;
    for (uint n = me; n < SUMS * ACROSS; n += THREADS)
        store(g, y, first, n);
}
