/*
 * kernels.h - the compile functions of all ops, once per instruction set.
 */
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include "cpu.h"
#include "vec.h"

/*    op                        in          out    compiled by */
#define CPU_KERNEL_MAP(XX)                                                     \
    XX(MAP, "x*", "x*", compile_map)                                           \
    XX(REDUCE, "x*", "f", compile_reduce)                                      \
    XX(CUMSUM, "f", "f", compile_cumsum)                                       \
    XX(MATMUL, "bw", "b", compile_matmul)                                      \
    XX(COPY, "a", "x", compile_copy)                                           \
    XX(CONCAT, "x*", "x", compile_concat)                                      \
    XX(GATHER_ROWS, "ai", "x", compile_gather_rows)                            \
    XX(SCATTER_ADD_ROWS, "ib", "f", compile_scatter_add_rows)                  \
    XX(SET_ROWS, "xix", "x", compile_set_rows)                                 \
    XX(ASSIGN, "xx", "x", compile_assign)                                      \
    XX(TOPK, "f", "fi", compile_topk)                                          \
    XX(ARGMAX, "f", "i", compile_argmax)                                       \
    XX(EXPERT_PLAN, "i", "iii", compile_expert_plan)                           \
    XX(GROUPED_MATMUL, "bwi", "b", compile_grouped_matmul)                     \
    XX(FILL, "x", "x", compile_fill)                                           \
    XX(RMS_NORM, "bf", "bf", compile_rms_norm)                                 \
    XX(RMS_NORM_BWD, "bbff", "bf", compile_rms_norm_bwd)                       \
    XX(SOFTMAX, "b", "b", compile_softmax)                                     \
    XX(SOFTMAX_BWD, "bb", "b", compile_softmax_bwd)                            \
    XX(ROPE, "bi", "b", compile_rope)                                          \
    XX(ATTENTION, "bbbii", "bf", compile_attention)                            \
    XX(ATTENTION_BWD, "bbbbbfii", "bbb", compile_attention_bwd)                \
    XX(LINEAR_CROSS_ENTROPY, "bbi", "f", compile_loss)                         \
    XX(LINEAR_CROSS_ENTROPY_BWD, "bbif", "bff", compile_loss_bwd)              \
    XX(CONV1D_CAUSAL, "fffi", "f", compile_conv)                               \
    XX(CONV1D_CAUSAL_BWD, "ffffi", "ff", compile_conv_bwd)                     \
    XX(SSD_SCAN, "ffffffi", "ff", compile_ssd_scan)                            \
    XX(SSD_SCAN_BWD, "ffffffi", "fffff", compile_ssd_scan_bwd)                 \
    XX(NEWTON_SCHULZ, "f", "f", compile_newton_schulz)                         \
    XX(SAMPLE, "ffi", "i", compile_sample)

#define XX(op, in, out, name)                                                  \
    tn_status ISA(name)(cpu_compiler * c, const tn_plan_node *node,            \
                        tn_error *err);
CPU_KERNEL_MAP(XX)
#undef XX

#endif
