/*
 * test_lower.c - composites without a kernel go, with one they stay; dense
 * inputs are dense.
 */
#include "passes_support.h"

static leaves begin(void)
{
    return (leaves){.g = tni_graph_create(TN_F32)};
}

static uint32_t softmax_only(void *of, const tn_plan_node *node)
{
    uint32_t *asked = of;
    (*asked)++;
    return node->op == TN_OP_SOFTMAX;
}

static uint32_t count_composites(const tni_graph *g)
{
    uint32_t count = 0;
    for (size_t n = 0; n < g->node_count; n++)
        count += g->nodes[n].desc->tier == TN_TIER_COMPOSITE;
    return count;
}

static void a_composite_with_a_kernel_stays(void **state)
{
    (void)state;
    uint32_t asked = 0;
    const tni_target target = {.supports = softmax_only, .of = &asked};
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 3, 8), w = PARAM(&l, "w", 8);
    want(&l, tn_rms_norm(b, tn_softmax(b, x), w, 1e-5));
    lower(l.g, &target);
    assert_true(asked >= 2);
    assert_int_equal(count_composites(l.g), 1);
    assert_int_equal(count_nodes(l.g, TN_OP_SOFTMAX), 1);
    tni_graph_destroy(l.g);
}

/* One that was built before the input was must not answer for it. */
static void a_backend_that_knows_no_first_is_not_asked(void **state)
{
    (void)state;
    for (uint32_t flags = 0; flags <= TN_READS_FIRST; flags += TN_READS_FIRST)
        for (int apart = 0; apart < 2; apart++) {
            static const tn_attention_attr attr;
            const tni_target target = {.supports = supports_all,
                                       .flags = flags};
            leaves l = begin();
            const tn_tensor x = INPUT(&l, "x", 1, 3, 2, 4);
            const tn_tensor first = INDEX(&l, "first", 1, 3);
            const tn_tensor in[] = {x, x, x, TN_NONE, apart ? first : TN_NONE};
            want(&l, tn_attention_within_at(&l.g->builder, in, &attr, TN_HERE));
            lower(l.g, &target);
            assert_int_equal(count_nodes(l.g, TN_OP_ATTENTION),
                             flags || !apart);
            tni_graph_destroy(l.g);
        }
}

static void decompositions_are_expanded_to_the_end(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor q = INPUT(&l, "q", 2, 5, 4, 8),
                    k = INPUT(&l, "k", 2, 5, 2, 8);
    l.g->layer = 4;
    l.g->phase = TNI_RECOMPUTE;
    const tn_tensor o = tn_attention(b, q, k, k, TN_NONE, .window = 3);
    l.g->phase = TNI_FORWARD;
    l.g->layer = 0;
    want(&l, o);
    lower(l.g, &primitive);
    assert_int_equal(count_composites(l.g), 0);
    const tni_node *product = find_node(l.g, TN_OP_MATMUL);
    assert_int_equal(product->layer, 4);
    assert_int_equal(product->phase, TNI_RECOMPUTE);
    assert_string_equal(product->here.file, "test_lower.c");
    tni_graph_destroy(l.g);
}

static void strided_inputs_are_copied_once_where_they_must_be(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 4, 6);
    const tn_tensor turned = tn_transpose(b, tn_exp(b, x));
    want(&l, tn_softmax(b, turned));
    want(&l, tn_argmax(b, turned));
    want(&l, tn_tanh(b, turned)); /* a map may read it as it is */
    lower(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_COPY), 1);
    tni_graph_destroy(l.g);
}

/* Slices of one projection, as Mamba-2 has them; but not transposed. */
static void a_scan_reads_slices_where_they_lie(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor wide = tn_exp(b, INPUT(&l, "wide", 2, 5, 19));
    const tn_tensor w = INPUT(&l, "w", 14, 4), A = INPUT(&l, "A", 2);
    const tn_tensor xBC =
        tn_conv1d_causal(b, tn_slice(b, wide, 2, 3, 14), w, TN_NONE);
    const tn_tensor x = tn_reshape(b, tn_slice(b, xBC, 2, 0, 6), 2, 5, 2, 3);
    const tn_tensor B = tn_reshape(b, tn_slice(b, xBC, 2, 6, 4), 2, 5, 1, 4);
    const tn_tensor C = tn_reshape(b, tn_slice(b, xBC, 2, 10, 4), 2, 5, 1, 4);
    const tn_tensor dt = tn_slice(b, wide, 2, 17, 2);
    want(&l, tn_ssd_scan(b, x, dt, A, B, C, TN_NONE, 0, NULL));
    want(&l, tn_ssd_scan(b, tn_transpose(b, tn_reshape(b, x, 2, 5, 3, 2)), dt,
                         A, B, C, TN_NONE, 0, NULL));
    lower(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_COPY), 1);
    tni_graph_destroy(l.g);
}

static void a_layer_does_not_keep_another_phases_copy(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor turned = tn_transpose(b, tn_exp(b, INPUT(&l, "x", 4, 6)));
    want(&l, tn_softmax(b, turned));
    l.g->phase = TNI_BACKWARD;
    want(&l, tn_argmax(b, turned));
    lower(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_COPY), 2);
    tni_graph_destroy(l.g);
}

/* The parameter changes between the two reads. */
static void a_copy_of_bytes_that_change_is_made_again(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor p = PARAM(&l, "p", 4, 6);
    const tn_tensor turned = tn_transpose(b, p);
    want(&l, tn_softmax(b, turned));
    tn_assign(b, p, INPUT(&l, "x", 4, 6));
    want(&l, tn_softmax(b, turned));
    lower(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_COPY), 2);
    tni_graph_destroy(l.g);
}

/* Values within the keys, heads before rows: vectors are dense. Every second
 * element of a vector: they are not. */
static void attention_copies_no_vectors(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor q = INPUT(&l, "q", 2, 4, 5, 6),
                    k = INPUT(&l, "k", 2, 5, 1, 6);
    const tn_tensor turned = tn_permute(b, q, 0, 2, 1, 3);
    want(&l, tn_attention(b, turned, k, tn_slice(b, k, 3, 0, 4), TN_NONE,
                          .scale = 1));
    lower(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_COPY), 0);
    tni_graph_destroy(l.g);

    l = begin();
    b = &l.g->builder;
    const tn_tensor pairs = tn_exp(b, INPUT(&l, "pairs", 2, 5, 1, 6, 2));
    const tn_tensor even =
        tn_reshape(b, tn_slice(b, pairs, 4, 0, 1), 2, 5, 1, 6);
    want(&l, tn_attention(b, even, even, even, TN_NONE, .scale = 1));
    lower(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_COPY), 1);
    tni_graph_destroy(l.g);
}

/* dW = (x' dy)' is computed the right way round, straight into its slot. */
static void a_turned_product_is_not_copied(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 8, 3), dy = INPUT(&l, "dy", 8, 5);
    const tn_tensor dw = tn_transpose(b, tn_matmul(b, tn_transpose(b, x), dy));
    tn_assign(b, GRAD(&l, "dw", 5, 3), dw);
    lower(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_COPY), 0);
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 1);
    assert_int_equal(arena_of(l.g, find_node(l.g, TN_OP_MATMUL), 0),
                     TN_ARENA_GRAD);
    tni_graph_destroy(l.g);
}

static void readers_of_a_replaced_output_find_the_new_one(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 4, 6);
    const tn_tensor y = tn_softmax(b, x);
    want(&l, tn_reshape(b, tn_transpose(b, y), 3, 8));
    lower(l.g, &primitive);
    const tn_tensor now = tni_graph_resolve(l.g, y);
    assert_int_not_equal(now.id, y.id);
    assert_int_equal(l.g->nodes[l.g->values[now.id].node].desc->number,
                     TN_OP_MAP);
    tni_graph_destroy(l.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_composite_with_a_kernel_stays),
        cmocka_unit_test(a_backend_that_knows_no_first_is_not_asked),
        cmocka_unit_test(decompositions_are_expanded_to_the_end),
        cmocka_unit_test(strided_inputs_are_copied_once_where_they_must_be),
        cmocka_unit_test(a_scan_reads_slices_where_they_lie),
        cmocka_unit_test(a_layer_does_not_keep_another_phases_copy),
        cmocka_unit_test(a_copy_of_bytes_that_change_is_made_again),
        cmocka_unit_test(attention_copies_no_vectors),
        cmocka_unit_test(a_turned_product_is_not_copied),
        cmocka_unit_test(readers_of_a_replaced_output_find_the_new_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
