/*
 * test_share_loss.c - the loss comes from the backward pass where it may.
 */
#include "stack.h"

static const stack two = {.batch = 2,
                          .length = 8,
                          .vocabulary = 20,
                          .hidden = 16,
                          .heads = 2,
                          .inner = 32,
                          .layers = 2,
                          .tied = 1};

static void the_forward_head_is_not_run(void **state)
{
    (void)state;
    stack_graph s = stack_describe(&two, TN_F32);
    stack_train(&s, &(stack_how){&native, 0, 0, 0});
    const tni_graph *g = s.l.g;
    assert_int_equal(count_nodes(g, TN_OP_LINEAR_CROSS_ENTROPY), 0);
    assert_int_equal(count_nodes(g, TN_OP_LINEAR_CROSS_ENTROPY_BWD), 1);
    const tni_node *head = find_node(g, TN_OP_LINEAR_CROSS_ENTROPY_BWD);
    const tni_node *loss = NULL;
    for (size_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].desc->number == TN_OP_REDUCE &&
            arena_of(g, &g->nodes[n], 0) == TN_ARENA_METRIC)
            loss = &g->nodes[n];
    assert_non_null(loss);
    assert_true(loss > head);
    assert_int_equal(loss->in[0].id, head->out[2].id);
    tni_graph_destroy(s.l.g);
}

/* Without gradients the forward stays. */
static void a_forward_alone_stays(void **state)
{
    (void)state;
    stack_graph s = stack_describe(&two, TN_F32);
    share_loss(s.l.g);
    assert_int_equal(count_nodes(s.l.g, TN_OP_LINEAR_CROSS_ENTROPY), 1);
    tni_graph_destroy(s.l.g);
}

/* A loss that weighs itself: its gradient needs it first. */
static void a_gradient_that_needs_the_loss_keeps_it(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 6, 8), w = PARAM(&l, "w", 10, 8);
    const tn_tensor t = INDEX(&l, "t", 6);
    const tn_tensor nll = tn_linear_cross_entropy(b, x, w, t, 0.0);
    const tn_tensor y = tn_sum(b, tn_square(b, nll), 1u);
    tn_tensor dx;
    want(&l, y);
    differentiate(l.g, y, &x, 1, &dx);
    want(&l, dx);
    share_loss(l.g);
    assert_int_equal(count_nodes(l.g, TN_OP_LINEAR_CROSS_ENTROPY), 1);
    tni_graph_destroy(l.g);
}

/* Fusing before differentiating bound the rows' losses to a slot of the
 * caller's: the node that writes there stays. */
static void a_loss_that_is_asked_for_by_row_is_still_written(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 6, 8), w = PARAM(&l, "w", 10, 8);
    const tn_tensor t = INDEX(&l, "t", 6);
    const tn_tensor nll = tn_linear_cross_entropy(b, x, w, t, 0.0);
    tn_tensor dx;
    want(&l, nll);
    fuse(l.g, &native);
    differentiate(l.g, nll, &x, 1, &dx);
    want(&l, dx);
    share_loss(l.g);
    const tni_node *head = find_node(l.g, TN_OP_LINEAR_CROSS_ENTROPY);
    assert_int_equal(arena_of(l.g, head, 0), TN_ARENA_METRIC);
    tni_graph_destroy(l.g);
}

/* The tied weight's two gradients meet in its slot without a temporary. */
static void a_tied_head_adds_where_the_embedding_adds(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        stack_graph s = stack_describe(&two, TN_F32);
        stack_train(&s, &(stack_how){&native, again, 0, 0});
        const tni_graph *g = s.l.g;
        const tni_node *head = find_node(g, TN_OP_LINEAR_CROSS_ENTROPY_BWD);
        const tni_node *embed = find_node(g, TN_OP_SCATTER_ADD_ROWS);
        assert_int_equal(arena_of(g, head, 1), TN_ARENA_GRAD);
        assert_int_equal(arena_of(g, embed, 0), TN_ARENA_GRAD);
        assert_int_equal(head->accumulate, again ? 2 : 0);
        assert_int_equal(embed->accumulate, 1);
        assert_int_equal(count_nodes(g, TN_OP_ASSIGN), 0);
        tni_graph_destroy(s.l.g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_forward_head_is_not_run),
        cmocka_unit_test(a_forward_alone_stays),
        cmocka_unit_test(a_gradient_that_needs_the_loss_keeps_it),
        cmocka_unit_test(a_loss_that_is_asked_for_by_row_is_still_written),
        cmocka_unit_test(a_tied_head_adds_where_the_embedding_adds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
