/*
 * dropout.c - zero elements at random, scale the rest (Srivastava et al. 2014).
 *
 * The draw is philox of (seed, stream, step, element): the same in the forward
 * pass, when recomputed, after a resume, and in the gradient, which is dropout
 * of the gradient with the same stream.
 */
#include <tenon/builder.h>

#include <string.h>

#include "graph/ops/ops.h"
#include "graph/workspace.h"

tn_status tni_dropout_shape(const tn_builder *b, const tn_op_node *node,
                            tn_tensor_info *out, tn_error *err)
{
    const tn_dropout_attr *attr = node->attr;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    const tn_tensor_info rng = tn_info(b, node->in[1]);
    TN_TRY(tni_expect_float(&x, "x", err));
    TN_TRY(tni_expect_i32(&rng, "rng", err));
    TN_TRY(tni_expect_rank(&rng, "rng", 1, 1, err));
    TN_TRY(tni_expect_size(&rng, "rng", 0, 2, err));
    if (!(attr->rate >= 0.0) || attr->rate >= 1.0)
        return tn_fail(err, TN_ESHAPE, "rate is %g, needs 0 to below 1",
                       attr->rate);
    out[0] = tni_dense_like(&x);
    return TN_OK;
}

void tni_dropout_gradient(tn_builder *b, const tn_op_node *node,
                          const tn_tensor *dout, uint32_t wanted,
                          tn_tensor *din)
{
    const tn_tensor in[] = {dout[0], node->in[1]};
    if (tni_wants(wanted, 0) && !tn_is_none(dout[0]))
        din[0] = tn_op1_at(b, TN_OP_DROPOUT, in, 2, node->attr,
                           (uint32_t)sizeof(tn_dropout_attr), TN_HERE);
}

void tni_dropout_decompose(tn_builder *b, const tn_op_node *node,
                           tn_tensor *out)
{
    const tn_dropout_attr *attr = node->attr;
    tni_work w = {0};
    const tni_register draw = tni_work_emit(
        &w, (tni_work_instruction){
                .op = TN_MAP_RANDOM, .a = 1, .value = attr->stream});
    const tni_register rate = tni_work_constant(&w, attr->rate);
    const tni_register dropped = tni_work_op(&w, TN_MAP_LT, draw, rate, 0);
    const tni_register kept =
        tni_work_op(&w, TN_MAP_MUL, tni_work_input(&w, 0),
                    tni_work_constant(&w, 1.0 / (1.0 - attr->rate)), 0);
    out[0] = tni_map_written1(b, &w,
                              tni_work_op(&w, TN_MAP_SELECT, dropped,
                                          tni_work_constant(&w, 0.0), kept),
                              node->in, 2);
}

/* compare, multiply */
double tni_dropout_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return 2.0 * (double)tn_elements(&x);
}
