/*
 * test_place.c - plans checked by brute force: every pair of live tensors,
 * every pair of nodes of a group, over many random graphs.
 *
 * The checkers know plan.h and nothing of how place.c works: they look at the
 * bytes that operands name.
 */
#include "passes_support.h"
#include "random_graph.h"

/* ---- a random plan ---- */

static tni_graph *random_training_graph(uint32_t seed, int fused)
{
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    random_graph r = {.seed = seed};
    tn_tensor wrt[2], dwrt[2];
    for (int i = 0; i < 2; i++) {
        wrt[i] = PARAM(&l, "w", RANDOM_ROWS, RANDOM_COLUMNS);
        r.pool[r.count++] = wrt[i];
    }
    random_describe(&r, b, 4 + seed % 30);
    want(&l, r.pool[r.count - 1]);
    const tn_tensor y = tni_graph_resolve(l.g, r.pool[r.count - 1]);
    differentiate(l.g, y, wrt, 2, dwrt);
    for (int i = 0; i < 2; i++)
        if (!tn_is_none(dwrt[i])) {
            const tn_tensor slot = GRAD(&l, "dw", RANDOM_ROWS, RANDOM_COLUMNS);
            tn_assign(b, slot, tn_add(b, slot, dwrt[i]));
        }
    lower(l.g, &primitive);
    if (fused)
        fuse(l.g, &primitive);
    return l.g;
}

/* ---- bytes ---- */

static void reach(const tn_operand *o, int64_t *low, int64_t *high)
{
    int64_t last = 0;
    for (uint32_t i = 0; i < o->rank; i++)
        last += (o->shape[i] - 1) * o->stride[i];
    *low = o->offset;
    *high = o->offset + (last + 1) * tn_dtype_bytes(o->dtype);
}

static int overlap(const tn_operand *a, const tn_operand *b)
{
    int64_t a_low, a_high, b_low, b_high;
    reach(a, &a_low, &a_high);
    reach(b, &b_low, &b_high);
    return a->arena && a->arena == b->arena && a_low < b_high && b_low < a_high;
}

static int same_place(const tn_operand *a, const tn_operand *b)
{
    if (a->arena != b->arena || a->offset != b->offset || a->rank != b->rank ||
        tn_dtype_bytes(a->dtype) != tn_dtype_bytes(b->dtype))
        return 0;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i] ||
            (a->shape[i] != 1 && a->stride[i] != b->stride[i]))
            return 0;
    return 1;
}

/* ---- the checkers ---- */

/* Run the plan on bytes that remember who wrote them: each read must find what
 * the graph says it reads, and not what came to lie there since. Nodes of the
 * graph and of the plan go in step. */
static void check_every_read(const tni_graph *g, const tn_plan *plan)
{
    const int64_t bytes = plan->arena_bytes[TN_ARENA_TRANSIENT];
    uint32_t *writer = calloc((size_t)bytes + 1, sizeof *writer);
    uint32_t at = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        if (node->desc->tier < TN_TIER_PRIMITIVE)
            continue;
        const tn_plan_node *planned = &plan->nodes[at++];
        int64_t low, high;
        for (uint32_t i = 0; i < node->in_count; i++) {
            const uint32_t storage = g->values[node->in[i].id].storage;
            if (planned->in[i].arena != TN_ARENA_TRANSIENT)
                continue;
            reach(&planned->in[i], &low, &high);
            assert_true(low >= 0 && high <= bytes);
            for (int64_t k = low; k < high; k++)
                assert_int_equal(writer[k], storage);
        }
        for (uint32_t k = 0; k < node->out_count; k++) {
            if (planned->out[k].arena != TN_ARENA_TRANSIENT)
                continue;
            reach(&planned->out[k], &low, &high);
            assert_true(low >= 0 && high <= bytes);
            for (int64_t i = low; i < high; i++)
                writer[i] = node->out[k].id;
        }
    }
    assert_int_equal(at, plan->node_count);
    free(writer);
}

/* An output overlaps an input only where plan.h lets it: a map, exactly. */
static void check_in_place(const tn_plan_node *node)
{
    for (uint32_t k = 0; k < node->out_count; k++) {
        for (uint32_t i = 0; i < node->in_count; i++) {
            if (!overlap(&node->out[k], &node->in[i]))
                continue;
            if (node->op == TN_OP_MAP)
                assert_true(same_place(&node->out[k], &node->in[i]));
            else
                assert_true(i == 0 && (node->op == TN_OP_ASSIGN ||
                                       node->op == TN_OP_SET_ROWS));
        }
        for (uint32_t other = 0; other < k; other++)
            assert_false(overlap(&node->out[k], &node->out[other]));
    }
}

static int conflict(const tn_plan_node *x, const tn_plan_node *y)
{
    for (uint32_t k = 0; k < x->out_count; k++) {
        for (uint32_t i = 0; i < y->in_count; i++)
            if (overlap(&x->out[k], &y->in[i]))
                return 1;
        for (uint32_t i = 0; i < y->out_count; i++)
            if (overlap(&x->out[k], &y->out[i]))
                return 1;
    }
    for (uint32_t k = 0; k < y->out_count; k++)
        for (uint32_t i = 0; i < x->in_count; i++)
            if (overlap(&y->out[k], &x->in[i]))
                return 1;
    return 0;
}

/* No two nodes of a group conflict, and a new group begins only where one
 * must: its first node conflicts with the group before. */
static void check_groups(const tn_plan *plan)
{
    for (uint32_t n = 1; n < plan->node_count; n++) {
        const tn_plan_node *node = &plan->nodes[n];
        const uint32_t before = plan->nodes[n - 1].group;
        int conflicts = 0;
        for (uint32_t m = n; m-- > 0 && plan->nodes[m].group == before;)
            conflicts |= conflict(node, &plan->nodes[m]);
        assert_int_equal(node->group, before + (conflicts ? 1u : 0u));
    }
}

static void check_alignment(const tni_graph *g, const tn_plan *plan)
{
    uint32_t at = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        if (node->desc->tier < TN_TIER_PRIMITIVE)
            continue;
        for (uint32_t k = 0; k < node->out_count; k++)
            assert_int_equal(plan->nodes[at].out[k].offset % TN_ALIGNMENT, 0);
        at++;
    }
}

static void random_plans_are_right(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 150; seed++) {
        tni_graph *g = random_training_graph(seed, seed % 2);
        tni_plan *plan = place(g, 0);
        check_every_read(g, &plan->plan);
        check_groups(&plan->plan);
        check_alignment(g, &plan->plan);
        for (uint32_t n = 0; n < plan->plan.node_count; n++)
            check_in_place(&plan->plan.nodes[n]);
        tni_plan_destroy(plan);
        tni_graph_destroy(g);
    }
}

static void without_reuse_nothing_overlaps(void **state)
{
    (void)state;
    tni_graph *g = random_training_graph(17, 1);
    tni_plan *apart = place(g, 1), *packed = place(g, 0);
    check_every_read(g, &apart->plan);
    for (uint32_t n = 0; n < apart->plan.node_count; n++)
        for (uint32_t m = 0; m < n; m++)
            for (uint32_t k = 0; k < apart->plan.nodes[n].out_count; k++)
                for (uint32_t i = 0; i < apart->plan.nodes[m].out_count; i++) {
                    const tn_operand *x = &apart->plan.nodes[n].out[k];
                    if (x->arena == TN_ARENA_TRANSIENT)
                        assert_false(overlap(x, &apart->plan.nodes[m].out[i]));
                }
    assert_true(packed->peak_transient < apart->peak_transient);
    tni_plan_destroy(apart);
    tni_plan_destroy(packed);
    tni_graph_destroy(g);
}

/* ---- by hand ---- */

/* x -> matmul -> exp (in place) -> matmul: two buffers of 4 KiB, not three.
 *     h = x w      lives at nodes 0..1   } one slot: exp writes over h
 *     e = exp(h)   lives at nodes 1..2   }
 *     y = e w      lives at nodes 2..3   beside it
 * The last copy keeps y from being bound to its slot. */
static void a_dying_input_is_overwritten(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 32, 32), w = PARAM(&l, "w", 32, 32);
    const tn_tensor y = tn_matmul(b, tn_exp(b, tn_matmul(b, x, w)), w);
    want(&l, tn_matmul(b, y, w));
    fuse(l.g, &primitive);
    tni_plan *plan = place(l.g, 0);
    assert_int_equal(plan->plan.node_count, 4);
    assert_int_equal(plan->peak_transient, 2 * 4096);
    assert_int_equal(plan->plan.nodes[1].in[0].offset,
                     plan->plan.nodes[1].out[0].offset);
    tni_plan_destroy(plan);
    tni_graph_destroy(l.g);
}

/* h + h^T reads each element of h twice, at different steps. */
static void an_input_read_in_two_orders_is_not_overwritten(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 32, 32), w = PARAM(&l, "w", 32, 32);
    const tn_tensor h = tn_matmul(b, x, w);
    const tn_tensor y = tn_add(b, h, tn_transpose(b, h));
    want(&l, tn_matmul(b, y, w));
    fuse(l.g, &primitive);
    tni_plan *plan = place(l.g, 0);
    assert_int_equal(plan->plan.node_count, 3);
    check_in_place(&plan->plan.nodes[1]);
    assert_int_equal(plan->peak_transient, 2 * 4096);
    tni_plan_destroy(plan);
    tni_graph_destroy(l.g);
}

static void independent_nodes_share_a_group(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 8, 8), w = PARAM(&l, "w", 8, 8);
    want(&l, tn_matmul(b, x, w));
    want(&l, tn_matmul(b, w, x));
    fuse(l.g, &primitive);
    tni_plan *plan = place(l.g, 0);
    assert_int_equal(plan->plan.node_count, 2);
    assert_int_equal(plan->plan.nodes[1].group, plan->plan.nodes[0].group);
    tni_plan_destroy(plan);
    tni_graph_destroy(l.g);
}

static void two_that_accumulate_into_one_place_conflict(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 8, 8), w = PARAM(&l, "w", 8, 8);
    const tn_tensor slot = GRAD(&l, "dw", 8, 8);
    l.g->phase = TNI_BACKWARD;
    const tn_tensor first = tn_matmul(b, x, w);
    const tn_tensor both = tn_add(b, first, tn_matmul(b, w, x));
    tn_assign(b, slot, tn_add(b, slot, both));
    fuse(l.g, &primitive);
    tni_plan *plan = place(l.g, 0);
    assert_int_equal(plan->plan.node_count, 2);
    assert_int_equal(plan->plan.nodes[0].accumulate, 1);
    assert_int_equal(plan->plan.nodes[1].accumulate, 1);
    assert_int_not_equal(plan->plan.nodes[1].group, plan->plan.nodes[0].group);
    tni_plan_destroy(plan);
    tni_graph_destroy(l.g);
}

static void a_plan_outlives_its_graph_and_tells_its_size(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 4, 16), w = PARAM(&l, "w", 16, 8);
    const tn_tensor h = tn_matmul(b, x, w);
    tn_set_name(b, h, "hidden");
    want(&l, tn_matmul(b, tn_transpose(b, h), h));
    fuse(l.g, &primitive);
    tni_plan *plan = place(l.g, 0);
    tni_graph_destroy(l.g);
    assert_string_equal(plan->plan.name, "test");
    assert_int_equal(plan->plan.arena_bytes[TN_ARENA_INPUT], 4 * 16 * 4);
    assert_int_equal(plan->plan.arena_bytes[TN_ARENA_PARAM], 16 * 8 * 4);
    assert_int_equal(plan->plan.arena_bytes[TN_ARENA_METRIC], 8 * 8 * 4);
    tn_assert_near(plan->flops, 2 * 4 * 16 * 8 + 2 * 8 * 4 * 8, 0);
    assert_int_equal(plan->largest_count, 1);
    assert_string_equal(plan->largest[0].name, "hidden");
    assert_int_equal(plan->largest[0].bytes, 4 * 8 * 4);
    assert_string_equal(plan->plan.nodes[0].file, "test_place.c");
    assert_int_equal(plan->plan.segment_count, 1);
    assert_int_equal(plan->plan.segments[0].count, plan->plan.node_count);
    tni_plan_destroy(plan);
}

static void the_same_graph_gives_the_same_plan(void **state)
{
    (void)state;
    for (uint32_t seed = 40; seed < 50; seed++) {
        tni_graph *g = random_training_graph(seed, 1);
        tni_graph *h = random_training_graph(seed, 1);
        tni_plan *x = place(g, 0), *y = place(h, 0);
        assert_int_equal(x->plan.node_count, y->plan.node_count);
        for (uint32_t n = 0; n < x->plan.node_count; n++) {
            const tn_plan_node *p = &x->plan.nodes[n], *q = &y->plan.nodes[n];
            assert_int_equal(p->op, q->op);
            assert_int_equal(p->group, q->group);
            assert_memory_equal(p->in, q->in, p->in_count * sizeof *p->in);
            assert_memory_equal(p->out, q->out, p->out_count * sizeof *p->out);
        }
        tni_plan_destroy(x);
        tni_plan_destroy(y);
        tni_graph_destroy(g);
        tni_graph_destroy(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dying_input_is_overwritten),
        cmocka_unit_test(an_input_read_in_two_orders_is_not_overwritten),
        cmocka_unit_test(independent_nodes_share_a_group),
        cmocka_unit_test(two_that_accumulate_into_one_place_conflict),
        cmocka_unit_test(a_plan_outlives_its_graph_and_tells_its_size),
        cmocka_unit_test(random_plans_are_right),
        cmocka_unit_test(without_reuse_nothing_overlaps),
        cmocka_unit_test(the_same_graph_gives_the_same_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
