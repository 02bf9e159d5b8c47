/*
 * test_op_table.c - every row of ops.def has the rules its tier asks for, and
 * costs are what their comments say.
 */
#include "tn_test.h"

#include "graph/graph.h"

#define SHAPE(...)                                                             \
    (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),            \
        (const int64_t[])                                                      \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

static void every_op_has_the_rules_its_tier_asks_for(void **state)
{
    (void)state;
    for (tn_op op = 0; op < TN_OP_COUNT; op++) {
        const tn_op_desc *d = tni_op_desc(op);
        if (!d)
            continue;
        assert_int_equal(d->number, op);
        assert_true(strlen(d->name) > 0);
        assert_true(d->min_in <= d->max_in);
        assert_true((d->shape != NULL) == (d->tier != TN_TIER_LEAF));
        assert_true((d->decompose != NULL) == (d->tier == TN_TIER_COMPOSITE));
    }
    assert_null(tni_op_desc(0));
    assert_null(tni_op_desc(31)); /* kept for collectives */
    assert_null(tni_op_desc(TN_OP_CUSTOM));
}

/* The list in plan.h. */
static void only_some_outputs_can_be_added_into_place(void **state)
{
    (void)state;
    for (tn_op op = 0; op < TN_OP_COUNT; op++) {
        const uint32_t want =
            op == TN_OP_MATMUL || op == TN_OP_GROUPED_MATMUL ||
                    op == TN_OP_SCATTER_ADD_ROWS || op == TN_OP_REDUCE
                ? 1u
            : op == TN_OP_RMS_NORM_BWD || op == TN_OP_LINEAR_CROSS_ENTROPY_BWD
                ? 2u
                : 0u;
        if (tni_op_desc(op))
            assert_int_equal(tni_op_accumulates(tni_op_desc(op)), want);
    }
}

static tn_tensor leaf(tni_graph *g, tn_dtype dtype, uint32_t rank,
                      const int64_t *shape)
{
    return tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, dtype, rank, shape,
                          NULL);
}

static double cost_of(const tni_graph *g, tn_tensor y)
{
    const tni_node *n = &g->nodes[tni_value_of(g, y)->node];
    const tn_op_node node = {n->attr, n->in, n->out, n->in_count, n->out_count};
    return n->desc->flops(&g->builder, &node);
}

static double backward_cost_of(tni_graph *g, tn_tensor y)
{
    const tni_node n = g->nodes[tni_value_of(g, y)->node];
    const tn_op_node node = {n.attr, n.in, n.out, n.in_count, n.out_count};
    tn_tensor dout[2] = {y, TN_NONE}, din[4] = {{0}};
    n.desc->gradient(&g->builder, &node, dout, 3, din);
    tn_assert_ok(tni_graph_status(g, NULL));
    return cost_of(g, din[0]);
}

static void products_cost_two_per_multiplication(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F32);
    const tn_tensor x = leaf(g, TN_F32, SHAPE(5, 7, 3));
    const tn_tensor w = leaf(g, TN_F32, SHAPE(3, 11));
    tn_assert_near(cost_of(g, tn_matmul(&g->builder, x, w)),
                   2.0 * 5 * 7 * 3 * 11, 0.0);
    tni_graph_destroy(g);
}

/* B 2, T 8, H 6, D 16, E 4: a row sees t + 1 keys; with a window of 3, 1, 2,
 * 3, 3 ... of them. */
static void attention_counts_what_the_mask_leaves(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F32);
    tn_builder *b = &g->builder;
    const tn_tensor q = leaf(g, TN_F32, SHAPE(2, 8, 6, 16));
    const tn_tensor k = leaf(g, TN_F32, SHAPE(2, 8, 3, 16));
    const tn_tensor v = leaf(g, TN_F32, SHAPE(2, 8, 3, 4));
    const tn_tensor causal = tn_attention(b, q, k, v, TN_NONE, 0);
    const tn_tensor near = tn_attention(b, q, k, v, TN_NONE, .window = 3);
    const tn_tensor all = tn_attention(b, q, k, v, TN_NONE, .bidirectional = 1);
    const double pair = 2.0 * 2 * 6 * (16 + 4);
    tn_assert_near(cost_of(g, causal), pair * 36, 0.0);
    tn_assert_near(cost_of(g, near), pair * (1 + 2 + 6 * 3), 0.0);
    tn_assert_near(cost_of(g, all), pair * 64, 0.0);
    tn_assert_near(backward_cost_of(g, causal), 2.5 * pair * 36, 0.0);
    tni_graph_destroy(g);
}

static void the_head_costs_one_product_forward_and_three_backward(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F32);
    tn_builder *b = &g->builder;
    const tn_tensor x = leaf(g, TN_F32, SHAPE(6, 8));
    const tn_tensor w = leaf(g, TN_F32, SHAPE(50, 8));
    const tn_tensor nll =
        tn_linear_cross_entropy(b, x, w, leaf(g, TN_I32, SHAPE(6)), 0.0);
    tn_assert_near(cost_of(g, nll), 2.0 * 6 * 8 * 50, 0.0);
    tn_assert_near(backward_cost_of(g, nll), 6.0 * 6 * 8 * 50, 0.0);
    tni_graph_destroy(g);
}

/* x sigmoid(x) in one map of two instructions; fma counts as two. */
static void maps_cost_their_instructions(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F32);
    tn_builder *b = &g->builder;
    const tn_tensor x = leaf(g, TN_F32, SHAPE(10, 10));
    tn_assert_near(cost_of(g, tn_sigmoid(b, x)), 100.0, 0.0);
    tn_assert_near(cost_of(g, tn_fma(b, x, x, x)), 200.0, 0.0);
    tn_assert_near(cost_of(g, tn_sum(b, x, 1)), 100.0, 0.0);
    tni_graph_destroy(g);
}

#define DENSE(dtype_, rows, columns)                                           \
    {                                                                          \
        .arena = TN_ARENA_TRANSIENT, .dtype = TN_##dtype_, .rank = 2,          \
        .shape = {rows, columns}, .stride = {                                  \
            columns,                                                           \
            1                                                                  \
        }                                                                      \
    }

static double bytes_of(tn_op op, uint32_t in_count, const tn_operand *in,
                       const tn_operand *out, uint32_t accumulate)
{
    const tn_plan_node node = {.op = op,
                               .in = in,
                               .out = out,
                               .in_count = in_count,
                               .out_count = 1,
                               .accumulate = accumulate};
    return tni_node_bytes(&node);
}

static void bytes_are_those_of_the_operands(void **state)
{
    (void)state;
    const tn_operand a = DENSE(BF16, 2, 3), b = DENSE(F32, 3, 4);
    const tn_operand y = DENSE(F32, 2, 4), table = DENSE(F32, 1000, 4);
    const tn_operand index = {.arena = TN_ARENA_INPUT,
                              .dtype = TN_I32,
                              .rank = 1,
                              .shape = {2},
                              .stride = {1}};
    tn_operand row = DENSE(F32, 2, 4);
    row.stride[0] = 0; /* four numbers, twice */
    const tn_operand absent = {0};

    const tn_operand product[] = {a, b};
    assert_true(bytes_of(TN_OP_MATMUL, 2, product, &y, 0) == 12 + 48 + 32);
    assert_true(bytes_of(TN_OP_MATMUL, 2, product, &y, 1) == 12 + 48 + 64);
    const tn_operand sum[] = {y, row, absent};
    assert_true(bytes_of(TN_OP_MAP, 3, sum, &y, 0) == 32 + 16 + 32);
    const tn_operand gather[] = {table, index};
    assert_true(bytes_of(TN_OP_GATHER_ROWS, 2, gather, &y, 0) == 8 + 2 * 32);
    const tn_operand set[] = {table, index, y};
    assert_true(bytes_of(TN_OP_SET_ROWS, 3, set, &table, 0) == 8 + 2 * 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_has_the_rules_its_tier_asks_for),
        cmocka_unit_test(only_some_outputs_can_be_added_into_place),
        cmocka_unit_test(products_cost_two_per_multiplication),
        cmocka_unit_test(attention_counts_what_the_mask_leaves),
        cmocka_unit_test(the_head_costs_one_product_forward_and_three_backward),
        cmocka_unit_test(maps_cost_their_instructions),
        cmocka_unit_test(bytes_are_those_of_the_operands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
