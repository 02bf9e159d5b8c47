/*
 * test_differentiate.c - the structure of gradients; their values are checked
 * against central differences in test_passes_run.c and per op in conformance.
 */
#include "passes_support.h"

static leaves begin(void)
{
    return (leaves){.g = tni_graph_create(TN_F32)};
}

static const tni_node *maker(const tni_graph *g, tn_tensor x)
{
    return &g->nodes[g->values[x.id].node];
}

static uint32_t count_phase(const tni_graph *g, tn_op op, uint32_t phase)
{
    uint32_t count = 0;
    for (size_t n = 0; n < g->node_count; n++)
        count += g->nodes[n].desc->number == op && g->nodes[n].phase == phase;
    return count;
}

/* y = x W^T: dW is one product, dx is not made because nobody asked. */
static void only_what_is_asked_for_is_computed(void **state)
{
    (void)state;
    leaves l = begin();
    const tn_tensor x = INPUT(&l, "x", 6, 5), w = PARAM(&l, "w", 4, 5);
    tn_tensor dw;
    differentiate(l.g, tn_linear(&l.g->builder, x, w), &w, 1, &dw);
    assert_int_equal(count_phase(l.g, TN_OP_MATMUL, TNI_BACKWARD), 1);
    const tn_tensor_info info = tn_info(&l.g->builder, dw);
    assert_int_equal(info.shape[0], 4);
    assert_int_equal(info.shape[1], 5);
    tni_graph_destroy(l.g);
}

static void nothing_flows_where_nothing_leads(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 4), y = PARAM(&l, "y", 4);
    const tn_tensor wrt[] = {x, y};
    tn_tensor d[2];
    differentiate(l.g, tn_add(b, x, tn_stop_gradient(b, tn_exp(b, y))), wrt, 2,
                  d);
    assert_false(tn_is_none(d[0]));
    assert_true(tn_is_none(d[1]));
    tni_graph_destroy(l.g);
}

static void two_contributions_are_added_once(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 4, 4), w = PARAM(&l, "w", 4, 4);
    tn_tensor dx;
    differentiate(l.g, tn_matmul(b, tn_matmul(b, x, w), x), &x, 1, &dx);
    assert_int_equal(count_phase(l.g, TN_OP_MATMUL, TNI_BACKWARD), 3);
    assert_int_equal(count_phase(l.g, TN_OP_MAP, TNI_BACKWARD), 1);
    tni_graph_destroy(l.g);
}

/* q, k and v are slices of one projection: their gradients are joined. */
static void slices_that_tile_become_one_concat(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 3, 12);
    const tn_tensor v = tn_exp(b, tn_slice(b, x, -1, 8, 4));
    const tn_tensor q = tn_tanh(b, tn_slice(b, x, 1, 0, 4));
    const tn_tensor k = tn_sigmoid(b, tn_slice(b, x, 1, 4, 4));
    tn_tensor dx;
    differentiate(l.g, tn_mul(b, q, tn_mul(b, k, v)), &x, 1, &dx);
    const tni_node *join = maker(l.g, dx);
    assert_int_equal(join->desc->number, TN_OP_CONCAT);
    assert_int_equal(join->in_count, 3);
    assert_int_equal(count_nodes(l.g, TN_OP_FILL), 1); /* the seed */
    tni_graph_destroy(l.g);
}

static void gaps_between_slices_are_zeros(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 10, 3);
    tn_tensor dx;
    differentiate(l.g,
                  tn_mul(b, tn_slice(b, x, 0, 1, 3), tn_slice(b, x, 0, 6, 3)),
                  &x, 1, &dx);
    const tni_node *join = maker(l.g, dx);
    assert_int_equal(join->desc->number, TN_OP_CONCAT);
    assert_int_equal(join->in_count, 5); /* 1 zero, 3, 2 zeros, 3, 1 zero */
    static const int64_t sizes[] = {1, 3, 2, 3, 1};
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(tn_dim(b, join->in[i], 0), sizes[i]);
    tni_graph_destroy(l.g);
}

static void overlapping_slices_are_summed(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 6);
    tn_tensor dx;
    differentiate(l.g,
                  tn_mul(b, tn_slice(b, x, 0, 0, 4), tn_slice(b, x, 0, 2, 4)),
                  &x, 1, &dx);
    assert_int_equal(maker(l.g, dx)->desc->number, TN_OP_MAP);
    assert_int_equal(count_nodes(l.g, TN_OP_CONCAT), 2);
    tni_graph_destroy(l.g);
}

static void gradient_nodes_carry_layer_phase_and_place(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 4, 4), w = PARAM(&l, "w", 4, 4);
    tn_tensor dx;
    l.g->layer = 3;
    const tn_tensor y =
        tn_matmul_at(b, x, w, (tn_here){"/far/away/mla.c", 77, 0});
    l.g->layer = 0;
    differentiate(l.g, y, &x, 1, &dx);
    const tni_node *node = maker(l.g, dx);
    assert_int_equal(node->phase, TNI_BACKWARD);
    assert_int_equal(node->layer, 3);
    assert_string_equal(node->here.file, "mla.c");
    assert_int_equal(node->here.line, 77);
    assert_int_equal(l.g->layer, 0);
    assert_int_equal(l.g->phase, TNI_FORWARD);
    tni_graph_destroy(l.g);
}

static void a_result_that_is_gone_is_refused(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 4);
    const tn_tensor y = tn_exp(b, x), seed = INPUT(&l, "seed", 4);
    tn_error err = TN_ERROR_NONE;
    tn_tensor dx;
    want(&l, tn_tanh(b, x));
    tni_graph_prune(l.g);
    assert_int_equal(tni_differentiate(l.g, &y, &seed, 1, &x, 1, &dx, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "y[0] is not in the graph");
    tni_graph_destroy(l.g);
}

static void a_seed_of_another_shape_is_refused(void **state)
{
    (void)state;
    leaves l = begin();
    const tn_tensor x = PARAM(&l, "x", 4), seed = INPUT(&l, "seed", 5);
    const tn_tensor y = tn_exp(&l.g->builder, x);
    tn_error err = TN_ERROR_NONE;
    tn_tensor dx;
    assert_int_equal(tni_differentiate(l.g, &y, &seed, 1, &x, 1, &dx, &err),
                     TN_ESHAPE);
    tn_assert_error_says(err, "seed[0] (5) has not the shape of y[0] (4)");
    tni_graph_destroy(l.g);
}

/* After fusion the whole weight gradient is one product, at its slot. */
/* ---- a plugin's op ---- */

static tn_status like_input(const tn_builder *b, const tn_op_node *node,
                            tn_tensor_info *out, tn_error *err)
{
    (void)err;
    out[0] = tn_info(b, node->in[0]);
    return TN_OK;
}

static void same_value(tn_builder *b, const tn_op_node *node, tn_tensor *out)
{
    out[0] = tn_copy(b, node->in[0]);
}

static void half_a_gradient(tn_builder *b, const tn_op_node *node,
                            const tn_tensor *dout, uint32_t wanted,
                            tn_tensor *din)
{
    (void)node, (void)wanted;
    din[0] = tn_slice(b, dout[0], 1, 0, 2);
}

static void a_gradient_of_another_shape_is_refused_by_its_ops_name(void **state)
{
    (void)state;
    static const tn_op_desc halving = {.struct_size = sizeof halving,
                                       .number = TN_OP_CUSTOM,
                                       .name = "halving",
                                       .tier = TN_TIER_COMPOSITE,
                                       .min_in = 1,
                                       .max_in = 1,
                                       .out_count = 1,
                                       .shape = like_input,
                                       .gradient = half_a_gradient,
                                       .decompose = same_value};
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    tn_error err = TN_ERROR_NONE;
    const tn_tensor w = PARAM(&l, "w", 3, 4), seed = tn_fill(b, 1.0, 3, 4);
    tn_tensor y, dw;
    tn_custom_op(b, &halving, &w, 1, NULL, 0, &y, 1);
    const int line = __LINE__ - 1;
    assert_int_not_equal(tni_differentiate(l.g, &y, &seed, 1, &w, 1, &dw, &err),
                         TN_OK);
    char want[128];
    snprintf(want, sizeof want,
             "test_differentiate.c:%d: halving: its gradient rule gives input "
             "0, which is (3, 4), a gradient of (3, 2)",
             line);
    assert_string_equal(err.message, want);
    tni_graph_destroy(l.g);
}

static void a_weight_gradient_is_one_product_at_its_slot(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 2, 6, 5), w = PARAM(&l, "w", 4, 5);
    const tn_tensor y = tn_tanh(b, tn_linear(b, x, w));
    want(&l, y);
    fuse(l.g, &native);
    tn_tensor dw;
    differentiate(l.g, y, &w, 1, &dw);
    const tn_tensor slot = GRAD(&l, "dw", 4, 5);
    tn_assign(b, slot, tn_add(b, slot, dw));
    lower(l.g, &native);
    fuse(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_MATMUL), 2);
    assert_int_equal(count_nodes(l.g, TN_OP_ASSIGN), 0);
    assert_int_equal(count_nodes(l.g, TN_OP_COPY), 0);
    const tni_node *last = &l.g->nodes[l.g->node_count - 1];
    assert_int_equal(last->desc->number, TN_OP_MATMUL);
    assert_int_equal(last->accumulate, 1);
    tni_graph_destroy(l.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_asked_for_is_computed),
        cmocka_unit_test(nothing_flows_where_nothing_leads),
        cmocka_unit_test(two_contributions_are_added_once),
        cmocka_unit_test(slices_that_tile_become_one_concat),
        cmocka_unit_test(gaps_between_slices_are_zeros),
        cmocka_unit_test(overlapping_slices_are_summed),
        cmocka_unit_test(gradient_nodes_carry_layer_phase_and_place),
        cmocka_unit_test(a_result_that_is_gone_is_refused),
        cmocka_unit_test(a_seed_of_another_shape_is_refused),
        cmocka_unit_test(
            a_gradient_of_another_shape_is_refused_by_its_ops_name),
        cmocka_unit_test(a_weight_gradient_is_one_product_at_its_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
