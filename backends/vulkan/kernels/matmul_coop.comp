#version 460
/*
 * matmul_coop - matmul.comp by cooperative matrices: both operands in the same
 * two bytes, sums in f32.
 *
 * A workgroup of four subgroups makes 64 x 64 results, each of them 32 x 32 in
 * fragments of M x N. Slices of 32 along k pass through shared memory as pairs,
 * whose bits only the matrices know the meaning of: gpu_coop_rewrite() makes
 * this module, which is in the words of VK_NV_cooperative_matrix and F16, into
 * one of VK_KHR_cooperative_matrix, or of BF16. Results go through shared
 * memory, too, so that edges of y and its dtype are as everywhere.
 */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_NV_cooperative_matrix : require
#pragma use_vulkan_memory_model
#include "common.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 128;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(constant_id = 4) const bool A_ALONG_K = true;
layout(constant_id = 5) const bool B_ALONG_K = false;
layout(constant_id = 6) const bool ACCUMULATE = false;
layout(constant_id = 7) const uint Y_TYPE = F32;

const uint SIDE = 64, OF_SUBGROUP = 32, BK = 32;
const uint PITCH = BK / 2 + 4, RESULT_PITCH = SIDE + 4;
const uint DOWN = OF_SUBGROUP / M, ACROSS = OF_SUBGROUP / N;

layout(buffer_reference, std430) readonly buffer Arguments
{
    uint64_t a, b, y;
    uint64_t a_stride[2], b_stride[2];
    uint64_t a_batch[4], b_batch[4];
    uint batch[4];
    uint rows, columns, inner;
    uint parts;
};

shared uint a_slice[SIDE * PITCH]; /* row i of a: pairs along k */
shared uint b_slice[SIDE * PITCH]; /* column j of b: pairs along k */
shared float result[SIDE * RESULT_PITCH];

/* Line `line` of an operand (row of a, column of b) from k on, as a pair. */
uint pair_at(uint64_t tensor, uint64_t line_step, uint64_t k_step, uint line,
             uint lines, uint k, uint k_end)
{
    const uint64_t at = line * line_step + k * k_step;
    uint low = 0, high = 0;
    if (line < lines && k < k_end)
        low = uint(Halves(tensor + 2 * at).at[0]);
    if (line < lines && k + 1 < k_end)
        high = uint(Halves(tensor + 2 * (at + k_step)).at[0]);
    return low | high << 16;
}

void load_slices(Arguments g, uint64_t a, uint64_t b, uint row, uint column,
                 uint k, uint k_end)
{
    const uint pairs = BK / 2;
    for (uint n = gl_LocalInvocationID.x; n < SIDE * pairs; n += THREADS) {
        const uint i = A_ALONG_K ? n / pairs : n % SIDE;
        const uint p = A_ALONG_K ? n % pairs : n / SIDE;
        a_slice[i * PITCH + p] =
            pair_at(a, g.a_stride[0], g.a_stride[1], row + i, g.rows,
                    k + 2 * p, k_end);
    }
    for (uint n = gl_LocalInvocationID.x; n < SIDE * pairs; n += THREADS) {
        const uint j = B_ALONG_K ? n / pairs : n % SIDE;
        const uint p = B_ALONG_K ? n % pairs : n / SIDE;
        b_slice[j * PITCH + p] =
            pair_at(b, g.b_stride[1], g.b_stride[0], column + j, g.columns,
                    k + 2 * p, k_end);
    }
}

/* Results of the workgroup to y, those that y has. */
void store(uint64_t y, uint row, uint column, uint rows, uint columns)
{
    for (uint n = gl_LocalInvocationID.x; n < SIDE * SIDE; n += THREADS) {
        const uint r = row + n / SIDE, c = column + n % SIDE;
        const uint64_t at = uint64_t(r) * columns + c;
        if (r < rows && c < columns)
            put(y, at, Y_TYPE,
                result[n / SIDE * RESULT_PITCH + n % SIDE] +
                    (ACCUMULATE ? fetch(y, at, Y_TYPE) : 0.0));
    }
}

void multiply(Arguments g, uint64_t a, uint64_t b, uint row, uint column,
              uint k_begin, uint k_end)
{
    const uint top = gl_SubgroupID / 2 * OF_SUBGROUP;
    const uint side = gl_SubgroupID % 2 * OF_SUBGROUP;
    fcoopmatNV<32, gl_ScopeSubgroup, M, N> total[DOWN * ACROSS];
    [[unroll]] for (uint f = 0; f < DOWN * ACROSS; f++)
        total[f] = fcoopmatNV<32, gl_ScopeSubgroup, M, N>(0.0);
    for (uint k = k_begin; k < k_end; k += BK) {
        load_slices(g, a, b, row, column, k, k_end);
        barrier();
        [[unroll]] for (uint of_k = 0; of_k < BK; of_k += K) {
            fcoopmatNV<16, gl_ScopeSubgroup, M, K> left[DOWN];
            [[unroll]] for (uint i = 0; i < DOWN; i++)
                coopMatLoadNV(left[i], a_slice,
                              (top + i * M) * PITCH + of_k / 2, PITCH, false);
            [[unroll]] for (uint j = 0; j < ACROSS; j++) {
                fcoopmatNV<16, gl_ScopeSubgroup, K, N> right;
                coopMatLoadNV(right, b_slice,
                              (side + j * N) * PITCH + of_k / 2, PITCH, true);
                [[unroll]] for (uint i = 0; i < DOWN; i++)
                    total[i * ACROSS + j] = coopMatMulAddNV(
                        left[i], right, total[i * ACROSS + j]);
            }
        }
        barrier();
    }
    [[unroll]] for (uint i = 0; i < DOWN; i++)
        [[unroll]] for (uint j = 0; j < ACROSS; j++)
            coopMatStoreNV(total[i * ACROSS + j], result,
                           (top + i * M) * RESULT_PITCH + side + j * N,
                           RESULT_PITCH, false);
    barrier();
}

void main()
{
    Arguments g = Arguments(push.arguments);
    const uint tiles_n = (g.columns + SIDE - 1) / SIDE;
    const uint tiles_m = (g.rows + SIDE - 1) / SIDE;
    uint w = workgroup();
    const uint column = w % tiles_n * SIDE;
    w /= tiles_n;
    const uint row = w % tiles_m * SIDE;
    w /= tiles_m;
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
        a += 2 * (at * g.a_batch[i]);
        b += 2 * (at * g.b_batch[i]);
    }
    const uint share = ((g.inner + g.parts - 1) / g.parts + BK - 1) / BK * BK;
    const uint k_begin = min(part * share, g.inner);
    const uint k_end = min(k_begin + share, g.inner);
    multiply(g, a, b, row, column, k_begin, k_end);
    const uint64_t size = size_of(Y_TYPE) * (uint64_t(g.rows) * g.columns);
    store(g.y + (uint64_t(part) * batches + batch) * size, row, column, g.rows,
          g.columns);
}
