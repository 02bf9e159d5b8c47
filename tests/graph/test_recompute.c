/*
 * test_recompute.c - layers are run again, each right before its backward, and
 * nothing but what layers hand to each other stays.
 */
#include "stack.h"

static const stack six = {.batch = 2,
                          .length = 32,
                          .vocabulary = 40,
                          .hidden = 32,
                          .heads = 4,
                          .inner = 64,
                          .layers = 6,
                          .dropout = 0.1};

static int64_t peak_of(int with_recompute)
{
    stack_graph s = stack_describe(&six, TN_F32);
    stack_train(&s, &(stack_how){&native, 0, with_recompute, 0});
    tni_plan *plan = place(s.l.g, 0);
    const int64_t peak = plan->peak_transient;
    tni_plan_destroy(plan);
    tni_graph_destroy(s.l.g);
    return peak;
}

/* What six layers keep falls to one layer's inside plus six inputs. */
static void recompute_lowers_the_peak(void **state)
{
    (void)state;
    const int64_t kept = peak_of(0), remade = peak_of(1);
    assert_true(remade * 2 < kept);
}

static void clones_stand_before_their_layers_backward(void **state)
{
    (void)state;
    stack_graph s = stack_describe(&six, TN_F32);
    stack_train(&s, &(stack_how){&native, 0, 1, 0});
    const tni_graph *g = s.l.g;
    for (uint32_t layer = 1; layer <= six.layers; layer++) {
        size_t first_backward = SIZE_MAX, last_clone = 0;
        uint32_t clones = 0, attention = 0;
        for (size_t n = 0; n < g->node_count; n++) {
            const tni_node *node = &g->nodes[n];
            if (node->layer != layer || node->desc->tier < TN_TIER_PRIMITIVE)
                continue;
            if (node->phase == TNI_BACKWARD && first_backward == SIZE_MAX)
                first_backward = n;
            if (node->phase != TNI_RECOMPUTE)
                continue;
            clones++;
            last_clone = n;
            attention += node->desc->number == TN_OP_ATTENTION;
        }
        assert_true(clones > 0);
        assert_int_equal(attention, 1);
        assert_true(last_clone < first_backward);
    }
    tni_graph_destroy(s.l.g);
}

/* Backward nodes of a layer read no activation that its forward made. */
static void only_what_layers_hand_over_stays(void **state)
{
    (void)state;
    stack_graph s = stack_describe(&six, TN_F32);
    stack_train(&s, &(stack_how){&native, 0, 1, 0});
    const tni_graph *g = s.l.g;
    uint8_t handed[64] = {0}; /* values a layer made that others read late */
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        if (node->desc->tier < TN_TIER_PRIMITIVE ||
            (node->phase != TNI_BACKWARD && node->phase != TNI_RECOMPUTE))
            continue;
        for (uint32_t i = 0; i < node->in_count; i++) {
            const tni_value *v = tni_value_of(g, node->in[i]);
            const tni_node *maker = &g->nodes[g->values[v->storage].node];
            if (maker->phase != TNI_FORWARD || !maker->layer ||
                maker->desc->tier < TN_TIER_PRIMITIVE)
                continue;
            assert_true(maker->layer < 64);
            if (handed[maker->layer])
                assert_int_equal(handed[maker->layer],
                                 (uint8_t)(v->storage % 251 + 1));
            handed[maker->layer] = (uint8_t)(v->storage % 251 + 1);
        }
    }
    tni_graph_destroy(s.l.g);
}

/* y = softmax(s W^T), s = softmax(x): the backward reads y, which the next
 * layer keeps anyway, and s, whose own input is kept for its clone. So s is run
 * again and nothing else. */
static void what_stays_anyway_is_not_run_again(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    tn_tensor w[4], dw[4], x = INPUT(&l, "x", 6, 8);
    for (uint32_t i = 0; i < 4; i++) {
        l.g->layer = i + 1;
        w[i] = PARAM(&l, "w", 8, 8);
        x = tn_softmax(b, tn_linear(b, tn_softmax(b, x), w[i]));
    }
    l.g->layer = 0;
    const tn_tensor loss = tn_sum(b, tn_square(b, x), 3u);
    want(&l, loss);
    differentiate(l.g, loss, w, 4, dw);
    for (uint32_t i = 0; i < 4; i++)
        want(&l, dw[i]);
    recompute(l.g);
    tni_graph_prune(l.g);
    uint32_t softmax[5] = {0}, others = 0;
    for (size_t n = 0; n < l.g->node_count; n++) {
        const tni_node *node = &l.g->nodes[n];
        if (node->phase != TNI_RECOMPUTE || node->desc->tier == TN_TIER_VIEW)
            continue;
        if (node->desc->number == TN_OP_SOFTMAX)
            softmax[node->layer]++;
        else
            others++;
    }
    assert_int_equal(others, 0);
    for (uint32_t layer = 1; layer <= 4; layer++)
        assert_int_equal(softmax[layer], 1);
    tni_graph_destroy(l.g);
}

static void a_clone_draws_the_same_random_numbers(void **state)
{
    (void)state;
    stack_graph s = stack_describe(&six, TN_F32);
    stack_train(&s, &(stack_how){&native, 0, 1, 0});
    const tni_graph *g = s.l.g;
    uint32_t forward[8] = {0};
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        if (node->desc->number != TN_OP_DROPOUT)
            continue;
        const tn_dropout_attr *attr = node->attr;
        if (node->phase == TNI_FORWARD)
            forward[node->layer] = attr->stream + 1;
        else
            assert_int_equal(attr->stream + 1, forward[node->layer]);
    }
    assert_int_not_equal(forward[1], forward[2]);
    tni_graph_destroy(s.l.g);
}

static void the_policy_none_changes_nothing(void **state)
{
    (void)state;
    stack_graph s = stack_describe(&six, TN_F32);
    tn_error err = TN_ERROR_NONE;
    const size_t before = s.l.g->node_count;
    tn_assert_ok_err(tni_recompute(s.l.g, TNI_RECOMPUTE_NONE, &err), err);
    assert_int_equal(s.l.g->node_count, before);
    assert_int_equal(tni_recompute(s.l.g, 9, &err), TN_EINVALID);
    tni_graph_destroy(s.l.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recompute_lowers_the_peak),
        cmocka_unit_test(clones_stand_before_their_layers_backward),
        cmocka_unit_test(only_what_layers_hand_over_stays),
        cmocka_unit_test(what_stays_anyway_is_not_run_again),
        cmocka_unit_test(a_clone_draws_the_same_random_numbers),
        cmocka_unit_test(the_policy_none_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
