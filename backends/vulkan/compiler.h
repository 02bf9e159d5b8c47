/*
 * compiler.h - what the files that compile ops see of a plan being compiled.
 *
 * A node becomes dispatches: a kernel, its argument block and a number of
 * workgroups. Dispatches of a node stand in phases; those of one phase run at
 * the same time as the same phase of the other nodes of the group, and a
 * barrier stands between phases.
 *
 *     ops.c        which file compiles which op, and the dtypes it takes
 *     op_*.c       families of ops
 *     emit.h       kernels made here, as SPIR-V: map, reduce, copies
 *     kernels/     kernels written in GLSL: products, rows, selection
 *
 * Addresses are known while compiling: arenas stay where they are.
 */
#ifndef VULKAN_COMPILER_H
#define VULKAN_COMPILER_H

#include "gpu.h"

typedef struct gpu_compiler gpu_compiler;

tn_device *gpu_device_of(const gpu_compiler *c);

/* Address of element 0; 0 for an absent operand. */
uint64_t gpu_at(const gpu_compiler *c, const tn_operand *operand);

/* Device memory that is the node's own until its group is over; 0 where there
 * is none left, which fails the compilation at its end. */
uint64_t gpu_scratch(gpu_compiler *c, int64_t bytes);

/* Append a dispatch to the current phase. `arguments` is copied. The number of
 * workgroups is spread over two axes where one does not hold them: kernels take
 * x + y * (workgroups along x), of which there may be a few more than asked
 * for, and these must do nothing. */
tn_status gpu_dispatch(gpu_compiler *c, const gpu_code *code,
                       const void *arguments, size_t bytes, int64_t groups,
                       tn_error *err);
/* The same with the axes given. */
tn_status gpu_dispatch_3d(gpu_compiler *c, const gpu_code *code,
                          const void *arguments, size_t bytes,
                          const int64_t groups[3], tn_error *err);

/* What follows reads what has been dispatched so far. */
void gpu_next_phase(gpu_compiler *c);

/* TN_EUNSUPPORTED with the node's name and place before the sentence. */
TN_PRINTF(3, 4)
tn_status gpu_refuse(const tn_plan_node *node, tn_error *err,
                     const char *format, ...);

/*
 * The table of ops. `in` and `out` say which dtypes an op takes, a letter per
 * operand: f F32, h F32 or one of two bytes, i I32, x any of these; a '*'
 * repeats the letter before it. `fits` asks more of a composite.
 */
typedef struct gpu_op {
    tn_status (*compile)(gpu_compiler *c, const tn_plan_node *node,
                         tn_error *err);
    const char *in, *out;
    uint32_t (*fits)(const tn_plan_node *node);
} gpu_op;

extern const gpu_op gpu_ops[TN_OP_COUNT];

tn_status gpu_check_dtypes(const gpu_op *op, const tn_plan_node *node,
                           tn_error *err);

/* op_map.c, op_copy.c, op_matmul.c, op_rows.c, op_select.c, op_norm.c,
 * op_rope.c, op_loss.c, op_attention.c, op_conv.c, op_ssd.c */
#define GPU_OP_MAP(XX)                                                         \
    XX(MAP, "x*", "x*", gpu_compile_map, NULL)                                 \
    XX(REDUCE, "x*", "h", gpu_compile_reduce, NULL)                            \
    XX(CUMSUM, "h", "h", gpu_compile_cumsum, NULL)                             \
    XX(MATMUL, "hh", "h", gpu_compile_matmul, NULL)                            \
    XX(COPY, "x", "x", gpu_compile_copy, NULL)                                 \
    XX(CONCAT, "x*", "x", gpu_compile_concat, NULL)                            \
    XX(GATHER_ROWS, "xi", "x", gpu_compile_gather_rows, NULL)                  \
    XX(SCATTER_ADD_ROWS, "ih", "h", gpu_compile_scatter_add_rows, NULL)        \
    XX(SET_ROWS, "xix", "x", gpu_compile_set_rows, NULL)                       \
    XX(ASSIGN, "xx", "x", gpu_compile_assign, NULL)                            \
    XX(TOPK, "h", "hi", gpu_compile_topk, NULL)                                \
    XX(ARGMAX, "h", "i", gpu_compile_argmax, NULL)                             \
    XX(EXPERT_PLAN, "i", "iii", gpu_compile_expert_plan, NULL)                 \
    XX(GROUPED_MATMUL, "hhi", "h", gpu_compile_grouped_matmul, NULL)           \
    XX(FILL, "", "x", gpu_compile_fill, NULL)                                  \
    XX(RMS_NORM, "hh", "hf", gpu_compile_rms_norm, gpu_norm_fits)              \
    XX(RMS_NORM_BWD, "hhhf", "hh", gpu_compile_rms_norm_bwd,                   \
       gpu_norm_bwd_fits)                                                      \
    XX(ROPE, "hi", "h", gpu_compile_rope, gpu_rope_fits)                       \
    XX(LINEAR_CROSS_ENTROPY, "hhi", "f", gpu_compile_loss, NULL)               \
    XX(LINEAR_CROSS_ENTROPY_BWD, "hhif", "hhf", gpu_compile_loss_bwd, NULL)    \
    XX(ATTENTION, "hhhii", "hf", gpu_compile_attention, gpu_attention_fits)    \
    XX(ATTENTION_BWD, "hhhhhfii", "hhh", gpu_compile_attention_bwd,            \
       gpu_attention_bwd_fits)                                                 \
    XX(CONV1D_CAUSAL, "hhhi", "h", gpu_compile_conv, gpu_conv_fits)            \
    XX(CONV1D_CAUSAL_BWD, "hhhhi", "hh", gpu_compile_conv_bwd,                 \
       gpu_conv_bwd_fits)                                                      \
    XX(SSD_SCAN, "hffhhhi", "hh", gpu_compile_scan, gpu_scan_fits)             \
    XX(SSD_SCAN_BWD, "hhffhhi", "hffhh", gpu_compile_scan_bwd,                 \
       gpu_scan_bwd_fits)

#define XX(op, in, out, name, fits)                                            \
    tn_status name(gpu_compiler *c, const tn_plan_node *node, tn_error *err);
GPU_OP_MAP(XX)
#undef XX

/* What their kernels cannot do is the core's to expand. */
uint32_t gpu_norm_fits(const tn_plan_node *node);
uint32_t gpu_norm_bwd_fits(const tn_plan_node *node);
uint32_t gpu_rope_fits(const tn_plan_node *node);
uint32_t gpu_attention_fits(const tn_plan_node *node);
uint32_t gpu_attention_bwd_fits(const tn_plan_node *node);
uint32_t gpu_conv_fits(const tn_plan_node *node);
uint32_t gpu_conv_bwd_fits(const tn_plan_node *node);
uint32_t gpu_scan_fits(const tn_plan_node *node);
uint32_t gpu_scan_bwd_fits(const tn_plan_node *node);

/* Whether the table has a kernel for this node. */
uint32_t gpu_has_kernel(const tn_plan_node *node);

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

/* Of those that are there. */
static inline uint32_t gpu_same_dtypes(const tn_operand *o, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (o[i].arena && o[i].dtype != o[0].dtype)
            return 0;
    return 1;
}

static inline int64_t gpu_ceil(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#endif
