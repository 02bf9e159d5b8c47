/*
 * compiler.h - what the files that compile ops see of a plan being compiled.
 *
 * A node becomes launches: a kernel, its argument struct and a grid. They run
 * in the order in which they were appended.
 *
 *     ops.c        which file compiles which op, and the dtypes it takes
 *     op_*.c       families of ops
 *     join.c       neighbours that have a kernel together
 *     emit.h       kernels made here, as text: map, reduce, copies, gathers
 *     kernels/     kernels written in CUDA C++
 *
 * Addresses are known while compiling: arenas stay where they are.
 */
#ifndef CUDA_COMPILER_H
#define CUDA_COMPILER_H

#include "families.h"
#include "gpu.h"

typedef struct gpu_compiler gpu_compiler;

tn_device *gpu_device_of(const gpu_compiler *c);
const tn_plan *gpu_plan_of(const gpu_compiler *c);

/* Nothing is launched: the plan is only asked for its scratch. */
int gpu_is_measuring(const gpu_compiler *c);

/* Address of element 0; 0 for an absent operand. */
uint64_t gpu_at(const gpu_compiler *c, const tn_operand *operand);

/* Device memory that is the node's own; 0 where there is none left, which fails
 * the compilation at its end. */
uint64_t gpu_scratch(gpu_compiler *c, int64_t bytes);

/* Blocks along the three axes, threads of a block, shared bytes beyond what the
 * kernel declares. Where an axis is 0 there is nothing to do. */
typedef struct gpu_grid {
    int64_t x, y, z;
    uint32_t threads;
    uint32_t shared;
} gpu_grid;

/* Append a launch. `arguments` is copied. */
tn_status gpu_launch(gpu_compiler *c, uint32_t family, const char *name,
                     const void *arguments, size_t bytes, gpu_grid grid,
                     tn_error *err);
/* The same of an emitted text, which is taken over; NULL is told as out of
 * memory. */
tn_status gpu_launch_text(gpu_compiler *c, char *text, const void *arguments,
                          size_t bytes, gpu_grid grid, tn_error *err);

/* Append a product by cuBLASLt, which is taken over. */
tn_status gpu_launch_call(gpu_compiler *c, gpu_blas_call *call, tn_error *err);

/* Append an attention by cuDNN, which is taken over. */
tn_status gpu_launch_dnn(gpu_compiler *c, gpu_dnn_call *call, tn_error *err);

/* Append a clearing of memory. */
tn_status gpu_launch_zero(gpu_compiler *c, uint64_t address, int64_t bytes,
                          tn_error *err);

/* Tell every element of `index` that is not in [lowest, limit). */
tn_status gpu_launch_check(gpu_compiler *c, const tn_operand *index,
                           int64_t lowest, int64_t limit, tn_error *err);

/* TN_EUNSUPPORTED with the node's name and place before the sentence. */
TN_PRINTF(3, 4)
tn_status gpu_refuse(const tn_plan_node *node, tn_error *err,
                     const char *format, ...);

/*
 * The table of ops. `in` and `out` say which dtypes an op takes, a letter per
 * operand: f F32, i I32, h F32 or BF16, x any of the three; w is h or weights
 * in blocks, a any of the four; a '*' repeats the letter before it. `fits` asks
 * more of a composite's shapes and dtypes, and of the device.
 */
typedef struct gpu_op {
    tn_status (*compile)(gpu_compiler *c, const tn_plan_node *node,
                         tn_error *err);
    const char *in, *out;
    uint32_t (*fits)(const tn_device *d, const tn_plan_node *node);
} gpu_op;

extern const gpu_op gpu_ops[TN_OP_COUNT];

tn_status gpu_check_dtypes(const gpu_op *op, const tn_plan_node *node,
                           tn_error *err);

#define GPU_OP_MAP(XX)                                                         \
    XX(MAP, "x*", "x*", gpu_compile_map, NULL)                                 \
    XX(REDUCE, "x*", "h", gpu_compile_reduce, NULL)                            \
    XX(CUMSUM, "h", "h", gpu_compile_cumsum, NULL)                             \
    XX(MATMUL, "hw", "h", gpu_compile_matmul, NULL)                            \
    XX(COPY, "a", "x", gpu_compile_copy, NULL)                                 \
    XX(CONCAT, "x*", "x", gpu_compile_concat, NULL)                            \
    XX(GATHER_ROWS, "ai", "x", gpu_compile_gather_rows, NULL)                  \
    XX(SCATTER_ADD_ROWS, "ih", "h", gpu_compile_scatter_add_rows, NULL)        \
    XX(SET_ROWS, "xix", "x", gpu_compile_set_rows, NULL)                       \
    XX(ASSIGN, "xx", "x", gpu_compile_assign, NULL)                            \
    XX(TOPK, "h", "hi", gpu_compile_topk, NULL)                                \
    XX(ARGMAX, "h", "i", gpu_compile_argmax, NULL)                             \
    XX(EXPERT_PLAN, "i", "iii", gpu_compile_expert_plan, NULL)                 \
    XX(GROUPED_MATMUL, "hwi", "h", gpu_compile_grouped_matmul, NULL)           \
    XX(FILL, "", "x", gpu_compile_fill, NULL)                                  \
    XX(RMS_NORM, "hf", "hf", gpu_compile_norm, gpu_norm_fits)                  \
    XX(RMS_NORM_BWD, "hhff", "hf", gpu_compile_norm_bwd, gpu_norm_bwd_fits)    \
    XX(SOFTMAX, "h", "h", gpu_compile_softmax, gpu_softmax_fits)               \
    XX(SOFTMAX_BWD, "hh", "h", gpu_compile_softmax_bwd, gpu_softmax_fits)      \
    XX(ROPE, "hi", "h", gpu_compile_rope, gpu_rope_fits)                       \
    XX(LINEAR_CROSS_ENTROPY, "hhi", "f", gpu_compile_loss, gpu_loss_fits)      \
    XX(LINEAR_CROSS_ENTROPY_BWD, "hhif", "hhf", gpu_compile_loss_bwd,          \
       gpu_loss_fits)                                                          \
    XX(ATTENTION, "hhhii", "hf", gpu_compile_attention, gpu_attention_fits)    \
    XX(ATTENTION_BWD, "hhhhhfii", "hhh", gpu_compile_attention_bwd,            \
       gpu_attention_bwd_fits)                                                 \
    XX(CONV1D_CAUSAL, "hffi", "h", gpu_compile_conv, gpu_conv_fits)            \
    XX(CONV1D_CAUSAL_BWD, "hhffi", "hf", gpu_compile_conv_bwd,                 \
       gpu_conv_bwd_fits)                                                      \
    XX(SSD_SCAN, "hffhhfi", "hf", gpu_compile_scan, gpu_scan_fits)             \
    XX(SSD_SCAN_BWD, "hhffhhi", "hffhh", gpu_compile_scan_bwd,                 \
       gpu_scan_bwd_fits)                                                      \
    XX(NEWTON_SCHULZ, "f", "f", gpu_compile_newton_schulz, NULL)               \
    XX(SAMPLE, "ffi", "i", gpu_compile_sample, NULL)

#define XX(op, in, out, name, fits)                                            \
    tn_status name(gpu_compiler *c, const tn_plan_node *node, tn_error *err);
GPU_OP_MAP(XX)
#undef XX

uint32_t gpu_norm_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_norm_bwd_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_softmax_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_rope_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_loss_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_attention_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_attention_bwd_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_conv_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_conv_bwd_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_scan_fits(const tn_device *d, const tn_plan_node *node);
uint32_t gpu_scan_bwd_fits(const tn_device *d, const tn_plan_node *node);

/* Whether the table has a kernel for this node. */
uint32_t gpu_has_kernel(const tn_device *d, const tn_plan_node *node);

/* ---- pairs of nodes: join.c ---- */

typedef struct gpu_pair {
    const tn_plan_node *first, *second;
    uint32_t number; /* of the second in the plan */
} gpu_pair;

/* Dense tensors of the same bytes, number by number. */
uint32_t gpu_is_same(const tn_operand *a, const tn_operand *b);
/* No byte of one is a byte of the other. */
uint32_t gpu_is_apart(const tn_operand *a, const tn_operand *b);
/* Whether a node behind the pair reads this result of its first. */
uint32_t gpu_is_read_later(const gpu_compiler *c, const gpu_pair *pair,
                           const tn_operand *o);

#define GPU_JOINT_MAP(XX)                                                      \
    XX(map_norm)                                                               \
    XX(norm_bwd_map)                                                           \
    XX(norm_rope)                                                              \
    XX(rope_norm_bwd)

#define XX(name)                                                               \
    uint32_t gpu_##name##_fits(const gpu_compiler *c, const gpu_pair *pair);   \
    tn_status gpu_compile_##name(gpu_compiler *c, const gpu_pair *pair,        \
                                 tn_error *err);
GPU_JOINT_MAP(XX)
#undef XX

/* ---- small helpers of the op files ---- */

static inline int64_t gpu_size(const int64_t *shape, uint32_t from, uint32_t to)
{
    int64_t product = 1;
    for (uint32_t i = from; i < to; i++)
        product *= shape[i];
    return product;
}

static inline int64_t gpu_elements(const tn_operand *o)
{
    return gpu_size(o->shape, 0, o->rank);
}

static inline int64_t gpu_ceil(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* "f" or "b", for kernels that are named by their storage type */
static inline char gpu_letter(tn_dtype dtype)
{
    return dtype == TN_BF16 ? 'b' : 'f';
}

/* Bytes of an element, as an address counts them. */
static inline uint64_t gpu_bytes(tn_dtype dtype)
{
    return (uint64_t)tn_dtype_bytes(dtype);
}

#endif
