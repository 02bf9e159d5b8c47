/*
 * ops.h - the rules of every op, and what only the core asks about ops.
 *
 * Each row of ops.def may have four rules, declared here for all rows at once
 * and written in the file of this folder that tells about the op. op_table.c
 * says which of them an op has.
 */
#ifndef TENON_GRAPH_OPS_H
#define TENON_GRAPH_OPS_H

#include "graph/graph.h"

#define OP(NAME, number, tier, min_in, max_in, n_out, attr, name)              \
    tn_status tni_##name##_shape(const tn_builder *b, const tn_op_node *node,  \
                                 tn_tensor_info *out, tn_error *err);          \
    void tni_##name##_gradient(tn_builder *b, const tn_op_node *node,          \
                               const tn_tensor *dout, uint32_t wanted,         \
                               tn_tensor *din);                                \
    void tni_##name##_decompose(tn_builder *b, const tn_op_node *node,         \
                                tn_tensor *out);                               \
    double tni_##name##_flops(const tn_builder *b, const tn_op_node *node);
#include <tenon/ops.def>
#undef OP

/* ---- facts of the core's own (op_table.c) ---- */

/* Whether output 0 lies on the storage of input 0: views and effects. */
int tni_op_is_over_first(const tn_op_desc *desc);

/* Make inputs what the op's node may see, before its shape rule: broadcast
 * them, copy what no stride can express. Appends views and copies. */
typedef tn_status tni_prepare(tni_graph *g, tn_tensor *in, uint32_t in_count,
                              const void *attr, tn_here here, tn_error *err);
tni_prepare tni_map_prepare;
tni_prepare tni_reduce_prepare;
tni_prepare tni_matmul_prepare;
tni_prepare tni_grouped_matmul_prepare;
tni_prepare tni_view_prepare;
tni_prepare *tni_op_prepare(const tn_op_desc *desc);

/* Layouts that plan.h lets inputs have; see tni_op_accepts(). */
int tni_has_dense_rows(const tn_tensor_info *x);    /* gather_rows' table */
int tni_has_dense_vectors(const tn_tensor_info *x); /* attention, scans */

/* What people call this node: "add" for a map that adds. */
const char *tni_op_label(const tn_op_desc *desc, const void *attr);
const char *tni_map_label(const void *attr);

/* ---- maps written by decompositions (ops/map.c) ---- */

struct tni_work;

/* Append the map that w holds (workspace.h), one result per output of w. */
void tni_map_written(tn_builder *b, struct tni_work *w, const tn_tensor *in,
                     uint32_t in_count, tn_tensor *out);

/* The same for a map with one output, in register y. */
tn_tensor tni_map_written1(tn_builder *b, struct tni_work *w, uint16_t y,
                           const tn_tensor *in, uint32_t in_count);

/* Reduce what register y of w holds over `axes`. */
tn_tensor tni_reduce_written(tn_builder *b, struct tni_work *w, uint16_t y,
                             uint32_t kind, uint32_t axes, const tn_tensor *in,
                             uint32_t in_count);

/* x in this dtype: itself, or a map that does nothing else, which fuses with
 * its neighbours as a COPY does not. */
tn_tensor tni_stored_as(tn_builder *b, tn_tensor x, tn_dtype dtype,
                        tn_here here);

/* ---- layouts (ops/view.c) ---- */

void tni_info_make_dense(tn_tensor_info *info);

/* Lay y over the storage of x as an op of tier VIEW or an effect says; 0 where
 * no strides can: a reshape whose input was replaced by one that is strided. */
int tni_overlay(const tn_op_desc *desc, const void *attr, const tni_value *x,
                tni_value *y);

/* Strides of `shape` over the elements of x in row-major order; 0 where no
 * strides can say it. */
int tni_reshape_strides(const tn_tensor_info *x, uint32_t rank,
                        const int64_t *shape, int64_t *stride);

/* x seen with `rank` axes of these sizes (itself where it has them). */
tn_tensor tni_broadcast(tni_graph *g, tn_tensor x, uint32_t rank,
                        const int64_t *shape, tn_here here);

/* NumPy's rule over the leading `rank` axes of both; TN_ESHAPE tells. */
tn_status tni_broadcast_shapes(tn_tensor_info *into, const tn_tensor_info *x,
                               tn_error *err);

/* ---- words of shape rules (ops/expect.c) ---- */

typedef struct tni_text {
    char text[96];
} tni_text;

/* "(2, 3)" */
tni_text tni_shape_text(const tn_tensor_info *info);

int tni_is_float(tn_dtype dtype);

/* Statistics are f32 on devices and f64 on the oracle. */
tn_dtype tni_statistic_dtype(const tn_builder *b);

/* TN_ESHAPE and a sentence unless ... `what` is the operand's word. */
tn_status tni_expect_rank(const tn_tensor_info *x, const char *what,
                          uint32_t least, uint32_t most, tn_error *err);
tn_status tni_expect_float(const tn_tensor_info *x, const char *what,
                           tn_error *err);
tn_status tni_expect_i32(const tn_tensor_info *x, const char *what,
                         tn_error *err);
tn_status tni_expect_same_dtype(const tn_tensor_info *x, const char *what_x,
                                const tn_tensor_info *y, const char *what_y,
                                tn_error *err);
tn_status tni_expect_same_shape(const tn_tensor_info *x, const char *what_x,
                                const tn_tensor_info *y, const char *what_y,
                                tn_error *err);
tn_status tni_expect_size(const tn_tensor_info *x, const char *what,
                          uint32_t axis, int64_t size, tn_error *err);

/* A number for each row of x (B, T, ...): i32 (B, T), or none. */
tn_status tni_expect_of_rows(const tn_builder *b, tn_tensor numbers,
                             const char *what, const tn_tensor_info *x,
                             tn_error *err);

/* dense, of this dtype and shape */
tn_tensor_info tni_dense(tn_dtype dtype, uint32_t rank, const int64_t *shape);
tn_tensor_info tni_dense_like(const tn_tensor_info *x);

/* Input i of a node; none where an optional one is absent. */
static inline tn_tensor tni_in(const tn_op_node *node, uint32_t i)
{
    return i < node->in_count ? node->in[i] : TN_NONE;
}

/* Whether input i wants a gradient. */
static inline int tni_wants(uint32_t wanted, uint32_t i)
{
    return (wanted >> i & 1u) != 0;
}

/* Of the gradients that a backward op made, those that are wanted. */
static inline void tni_take_wanted(tn_tensor *din, const tn_tensor *made,
                                   uint32_t count, uint32_t wanted)
{
    for (uint32_t i = 0; i < count; i++)
        if (tni_wants(wanted, i))
            din[i] = made[i];
}

#endif
