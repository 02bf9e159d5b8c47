/*
 * test_fuse.c - what fusion must join, must not join, and must write in place.
 */
#include "passes_support.h"

static leaves begin(void)
{
    return (leaves){.g = tni_graph_create(TN_F32)};
}

/* ---- chains ---- */

static void a_chain_of_maps_becomes_one(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 5, 7), y = INPUT(&l, "y", 7);
    want(&l, tn_mul(b, tn_silu(b, tn_add(b, x, y)), x));
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 1);
    const tni_node *map = find_node(l.g, TN_OP_MAP);
    assert_non_null(map);
    assert_int_equal(map->in_count, 2);
    assert_int_equal(arena_of(l.g, map, 0), TN_ARENA_METRIC);
    tni_graph_destroy(l.g);
}

static void
a_value_read_by_a_product_stays_and_is_not_computed_twice(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 4, 4), w = PARAM(&l, "w", 4, 4);
    const tn_tensor h = tn_exp(b, x);
    const tn_tensor y = tn_matmul(b, h, w);
    want(&l, tn_add(b, h, y));
    fuse(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_MAP), 2);
    assert_int_equal(count_nodes(l.g, TN_OP_MATMUL), 1);
    tni_graph_destroy(l.g);
}

static void a_chain_crosses_a_reshape(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 2, 3, 8), bias = PARAM(&l, "b", 8);
    const tn_tensor h = tn_add(b, x, bias);
    want(&l, tn_tanh(b, tn_reshape(b, h, 6, 8)));
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 1);
    tni_graph_destroy(l.g);
}

static void a_transposed_reader_is_not_joined(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 4, 4);
    const tn_tensor h = tn_exp(b, x);
    want(&l, tn_add(b, h, tn_transpose(b, h)));
    fuse(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_MAP), 2);
    tni_graph_destroy(l.g);
}

static void the_gradient_norm_needs_no_temporary(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor g = GRAD(&l, "g", 100000);
    want(&l, tn_sqrt(b, tn_sum(b, tn_square(b, g), 1u)));
    fuse(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_REDUCE), 1);
    tni_plan *plan = place(l.g, 0);
    assert_true(plan->peak_transient <= 256);
    tni_plan_destroy(plan);
    tni_graph_destroy(l.g);
}

static void constants_are_folded_into_programs(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 3, 4);
    want(&l, tn_mul(b, x, tn_fill(b, 2.0, 3, 4)));
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 1);
    assert_int_equal(find_node(l.g, TN_OP_MAP)->in_count, 1);
    tni_graph_destroy(l.g);
}

static void the_limits_of_a_backend_are_kept(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tni_target small = {.map_inputs = 3, .map_instructions = 8};
    tn_tensor sum = INPUT(&l, "x", 16);
    for (int i = 0; i < 10; i++)
        sum = tn_add(b, sum, INPUT(&l, "y", 16));
    want(&l, sum);
    fuse(l.g, &small);
    uint32_t maps = 0;
    for (size_t n = 0; n < l.g->node_count; n++) {
        const tni_node *node = &l.g->nodes[n];
        if (node->desc->number != TN_OP_MAP)
            continue;
        maps++;
        assert_true(node->in_count <= 3);
        assert_true(
            ((const tn_map_attr *)node->attr)->program.instruction_count <= 8);
    }
    assert_int_equal(maps, 5); /* two additions each */
    tni_graph_destroy(l.g);
}

/* Each reduction would compute h for itself, were there fewer of them. */
static void a_map_with_too_many_readers_stays(void **state)
{
    (void)state;
    for (int readers = 16; readers <= 17; readers++) {
        leaves l = begin();
        tn_builder *b = &l.g->builder;
        const tn_tensor h = tn_exp(b, INPUT(&l, "x", 6, 8));
        for (int i = 0; i < readers; i++)
            want(&l, tn_sum(b, h, 2u));
        fuse(l.g, &native);
        assert_int_equal(count_nodes(l.g, TN_OP_REDUCE), readers);
        assert_int_equal(count_nodes(l.g, TN_OP_MAP), readers > 16);
        tni_graph_destroy(l.g);
    }
}

/* A map of one input and two instructions on it. */
static tn_tensor append_map(tn_builder *b, tn_tensor x, tn_instruction second,
                            tn_map_op op, tn_dtype dtype)
{
    tn_map_attr attr = {.program = {.input_count = 1,
                                    .output_count = 1,
                                    .instruction_count = 3,
                                    .output = {2},
                                    .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                                                    second,
                                                    {op, 0, 1, 0}}},
                        .dtype = {dtype}};
    tn_tensor y = TN_NONE;
    tn_map_at(b, &attr, &x, &y, TN_HERE);
    return y;
}

/* The coordinate of an element is another one in another shape. */
static void an_index_does_not_cross_a_reshape(void **state)
{
    (void)state;
    for (int reshaped = 0; reshaped < 2; reshaped++) {
        leaves l = begin();
        tn_builder *b = &l.g->builder;
        const tn_tensor x = INPUT(&l, "x", 6, 8);
        tn_tensor h = append_map(b, x, (tn_instruction){TN_MAP_INDEX, 1, 0, 0},
                                 TN_MAP_ADD, TN_DTYPE_NONE);
        if (reshaped)
            h = tn_reshape(b, h, 48);
        want(&l, tn_tanh(b, h));
        fuse(l.g, &native);
        assert_int_equal(count_work(l.g), reshaped ? 2 : 1);
        tni_graph_destroy(l.g);
    }
}

static void rounding_to_an_integer_is_not_skipped(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 6, 8);
    const tn_tensor whole = append_map(
        b, x, (tn_instruction){TN_MAP_NEG, 0, 0, 0}, TN_MAP_MUL, TN_I32);
    want(&l, tn_scale(b, whole, 0.5));
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 2);
    tni_graph_destroy(l.g);
}

static void a_stopped_gradient_stays_stopped(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = PARAM(&l, "x", 6), y = PARAM(&l, "y", 6);
    const tn_tensor wrt[] = {x, y};
    const tn_tensor z = tn_mul(b, x, tn_stop_gradient(b, tn_exp(b, y)));
    tn_tensor d[2];
    want(&l, z);
    fuse(l.g, &native);
    differentiate(l.g, tni_graph_resolve(l.g, z), wrt, 2, d);
    assert_false(tn_is_none(d[0]));
    assert_true(tn_is_none(d[1]));
    tni_graph_destroy(l.g);
}

/* What is read through one input has one gradient. */
static void x_and_its_stopped_self_stay_two_inputs_of_a_chain(void **state)
{
    (void)state;
    for (int stopped = 0; stopped < 2; stopped++) {
        leaves l = begin();
        tn_builder *b = &l.g->builder;
        const tn_tensor x = PARAM(&l, "x", 6);
        const tn_tensor y = stopped ? tn_stop_gradient(b, x) : x;
        want(&l, tn_mul(b, tn_exp(b, x), tn_tanh(b, y)));
        fuse(l.g, &native);
        assert_int_equal(count_work(l.g), 1);
        assert_int_equal(find_node(l.g, TN_OP_MAP)->in_count, 1 + stopped);
        tni_graph_destroy(l.g);
    }
}

/* Joined into the far reader, h would keep both of its inputs alive across the
 * products between. Next to it, it may be joined. */
static void a_join_does_not_keep_more_alive_than_it_saves(void **state)
{
    (void)state;
    for (int far = 0; far < 2; far++) {
        leaves l = begin();
        tn_builder *b = &l.g->builder;
        const tn_tensor x = INPUT(&l, "x", 16, 16), w = PARAM(&l, "w", 16, 16);
        l.g->phase = TNI_BACKWARD;
        const tn_tensor u = tn_matmul(b, x, w), v = tn_matmul(b, w, x);
        tn_tensor h = tn_mul(b, u, v), z = x;
        for (int i = 0; i < 3 && far; i++)
            z = tn_matmul(b, z, w);
        want(&l, tn_add(b, h, z));
        fuse(l.g, &native);
        assert_int_equal(count_nodes(l.g, TN_OP_MAP), far ? 2 : 1);
        tni_graph_destroy(l.g);
    }
}

/* ---- effects ---- */

/* The old p is read before the assign and must not be read after it. */
static void a_read_does_not_move_across_a_write(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor p = PARAM(&l, "p", 8), x = INPUT(&l, "x", 8);
    const tn_tensor old = tn_exp(b, p);
    tn_assign(b, p, x);
    want(&l, tn_add(b, old, x));
    fuse(l.g, &native);
    size_t read_at = 0, write_at = 0;
    for (size_t n = 0; n < l.g->node_count; n++) {
        const tni_node *node = &l.g->nodes[n];
        if (node->desc->tier < TN_TIER_PRIMITIVE)
            continue;
        for (uint32_t i = 0; i < node->in_count; i++)
            if (node->in[i].id == p.id && node->desc->number == TN_OP_MAP)
                read_at = n;
        if (arena_of(l.g, node, 0) == TN_ARENA_PARAM)
            write_at = n;
    }
    assert_true(write_at > 0);
    assert_true(read_at > 0 && read_at < write_at);
    tni_graph_destroy(l.g);
}

static void adamw(tn_builder *b, tn_tensor p, tn_tensor g, tn_tensor m,
                  tn_tensor v, tn_tensor lr, tn_tensor step)
{
    const tn_tensor m1 = tn_lerp(b, m, g, 0.1);
    const tn_tensor v1 = tn_lerp(b, v, tn_square(b, g), 0.001);
    const tn_tensor fix1 =
        tn_rsub(b, 1.0, tn_exp(b, tn_scale(b, step, log(0.9))));
    const tn_tensor fix2 =
        tn_rsub(b, 1.0, tn_exp(b, tn_scale(b, step, log(0.999))));
    const tn_tensor down = tn_shift(b, tn_sqrt(b, tn_div(b, v1, fix2)), 1e-8);
    const tn_tensor update = tn_div(b, tn_div(b, m1, fix1), down);
    const tn_tensor decayed = tn_sub(b, p, tn_mul(b, lr, tn_scale(b, p, 0.1)));
    tn_assign(b, m, m1);
    tn_assign(b, v, v1);
    tn_assign(b, p, tn_sub(b, decayed, tn_mul(b, lr, update)));
}

static void adamw_becomes_one_map_in_place(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    l.g->phase = TNI_UPDATE;
    const tn_tensor p = PARAM(&l, "p", 4096), g = GRAD(&l, "g", 4096);
    const tn_tensor m = MOMENT(&l, "m", 4096), v = MOMENT(&l, "v", 4096);
    const tn_tensor lr = INPUT(&l, "lr", 1), step = INPUT(&l, "step", 1);
    const tn_tensor clip = INPUT(&l, "clip", 1), ok = INPUT(&l, "ok", 1);
    adamw(b, p, tn_select(b, ok, tn_mul(b, g, clip), tn_scale(b, g, 0.0)), m, v,
          lr, step);
    fuse(l.g, &native);
    uint32_t slabs = 0;
    for (size_t n = 0; n < l.g->node_count; n++) {
        const tni_node *node = &l.g->nodes[n];
        if (node->desc->tier < TN_TIER_PRIMITIVE)
            continue;
        assert_int_equal(node->desc->number, TN_OP_MAP);
        if (tn_dim(b, node->out[0], 0) != 4096)
            continue;
        slabs++;
        assert_int_equal(node->out_count, 3);
        for (uint32_t k = 0; k < 3; k++)
            assert_int_not_equal(arena_of(l.g, node, k), 0);
    }
    assert_int_equal(slabs, 1);
    tni_plan *plan = place(l.g, 0);
    assert_true(plan->peak_transient <= 4 * 256); /* the corrections */
    tni_plan_destroy(plan);
    tni_graph_destroy(l.g);
}

/* Lion's two updates share inputs but neither reads the other's result. */
static void siblings_that_share_inputs_become_one_map(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    l.g->phase = TNI_UPDATE;
    const tn_tensor p = PARAM(&l, "p", 512), g = GRAD(&l, "g", 512);
    const tn_tensor m = MOMENT(&l, "m", 512);
    const tn_tensor c = tn_sign(b, tn_lerp(b, m, g, 0.1));
    tn_assign(b, p, tn_sub(b, p, tn_scale(b, c, 1e-3)));
    tn_assign(b, m, tn_lerp(b, m, g, 0.01));
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 1);
    assert_int_equal(find_node(l.g, TN_OP_MAP)->out_count, 2);
    tni_graph_destroy(l.g);
}

/* p is read after it was assigned: the second update sees the first. */
static void an_update_of_an_update_stays_apart(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor p = PARAM(&l, "p", 8), m = MOMENT(&l, "m", 8);
    tn_assign(b, p, tn_scale(b, p, 0.5));
    tn_assign(b, m, tn_add(b, m, p));
    fuse(l.g, &native);
    assert_int_equal(count_nodes(l.g, TN_OP_MAP), 2);
    assert_int_equal(arena_of(l.g, find_node(l.g, TN_OP_MAP), 0),
                     TN_ARENA_PARAM);
    tni_graph_destroy(l.g);
}

/* ---- binding ---- */

static void a_product_is_written_to_its_slot(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 6, 5), y = INPUT(&l, "y", 6, 4);
    const tn_tensor slot = GRAD(&l, "dw", 5, 4);
    l.g->phase = TNI_BACKWARD;
    tn_assign(b, slot, tn_matmul(b, tn_transpose(b, x), y));
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 1);
    const tni_node *product = find_node(l.g, TN_OP_MATMUL);
    assert_int_equal(arena_of(l.g, product, 0), TN_ARENA_GRAD);
    assert_int_equal(product->accumulate, 0);
    tni_graph_destroy(l.g);
}

static void a_sum_with_the_slot_accumulates(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 6, 5), y = INPUT(&l, "y", 6, 4);
    const tn_tensor slot = GRAD(&l, "dw", 5, 4);
    l.g->phase = TNI_BACKWARD;
    tn_assign(b, slot, tn_add(b, slot, tn_matmul(b, tn_transpose(b, x), y)));
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 1);
    const tni_node *product = find_node(l.g, TN_OP_MATMUL);
    assert_int_equal(arena_of(l.g, product, 0), TN_ARENA_GRAD);
    assert_int_equal(product->accumulate, 1);
    tni_graph_destroy(l.g);
}

/* The transposed gradient of x W^T: computed the other way round. */
static void a_transposed_product_is_turned_and_bound(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 6, 5), y = INPUT(&l, "y", 6, 4);
    const tn_tensor slot = GRAD(&l, "dw", 4, 5);
    l.g->phase = TNI_BACKWARD;
    const tn_tensor turned =
        tn_transpose(b, tn_matmul(b, tn_transpose(b, x), y));
    tn_assign(b, slot, tn_add(b, slot, turned));
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 1);
    assert_int_equal(find_node(l.g, TN_OP_MATMUL)->accumulate, 1);
    tni_graph_destroy(l.g);
}

/* A tied weight: the second contribution adds to the first, and both add to
 * what an earlier micro-batch left. */
static void tied_gradients_meet_in_the_slot(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        leaves l = begin();
        tn_builder *b = &l.g->builder;
        const tn_tensor x = INPUT(&l, "x", 6, 5), y = INPUT(&l, "y", 6, 4);
        const tn_tensor index = INDEX(&l, "index", 6);
        const tn_tensor slot = GRAD(&l, "dw", 5, 4);
        l.g->phase = TNI_BACKWARD;
        const tn_tensor head = tn_matmul(b, tn_transpose(b, x), y);
        tn_tensor dw = tn_add(b, head, tn_scatter_add_rows(b, index, y, 5));
        if (again)
            dw = tn_add(b, slot, dw);
        tn_assign(b, slot, dw);
        fuse(l.g, &native);
        assert_int_equal(count_work(l.g), 2);
        const tni_node *first = find_node(l.g, TN_OP_MATMUL);
        const tni_node *second = find_node(l.g, TN_OP_SCATTER_ADD_ROWS);
        assert_int_equal(arena_of(l.g, first, 0), TN_ARENA_GRAD);
        assert_int_equal(arena_of(l.g, second, 0), TN_ARENA_GRAD);
        assert_int_equal(first->accumulate, again);
        assert_int_equal(second->accumulate, 1);
        assert_true(first < second);
        tni_graph_destroy(l.g);
    }
}

static void what_cannot_accumulate_is_added_by_a_map_in_place(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 6, 5), y = INPUT(&l, "y", 6, 4);
    const tn_tensor z = INPUT(&l, "z", 5, 4);
    const tn_tensor slot = GRAD(&l, "dw", 5, 4);
    l.g->phase = TNI_BACKWARD;
    tn_tensor dw = tn_add(b, tn_matmul(b, tn_transpose(b, x), y), tn_exp(b, z));
    tn_assign(b, slot, tn_add(b, slot, dw));
    fuse(l.g, &native);
    assert_int_equal(count_work(l.g), 2);
    assert_int_equal(find_node(l.g, TN_OP_MATMUL)->accumulate, 1);
    const tni_node *map = find_node(l.g, TN_OP_MAP);
    assert_int_equal(map->in_count, 2);
    assert_int_equal(arena_of(l.g, map, 0), TN_ARENA_GRAD);
    tni_graph_destroy(l.g);
}

static void a_sum_that_others_read_does_not_accumulate(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 6, 5), y = INPUT(&l, "y", 6, 4);
    const tn_tensor slot = GRAD(&l, "dw", 5, 4);
    l.g->phase = TNI_BACKWARD;
    const tn_tensor dw = tn_matmul(b, tn_transpose(b, x), y);
    tn_assign(b, slot, tn_add(b, slot, dw));
    want(&l, tn_matmul(b, dw, tn_transpose(b, y)));
    fuse(l.g, &native);
    for (size_t n = 0; n < l.g->node_count; n++)
        assert_int_equal(l.g->nodes[n].accumulate, 0);
    tni_graph_destroy(l.g);
}

/* Between the product and the assign somebody reads the old slot. */
static void a_slot_that_is_read_in_between_is_not_written_early(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 6, 5), y = INPUT(&l, "y", 6, 4);
    const tn_tensor slot = GRAD(&l, "dw", 5, 4);
    l.g->phase = TNI_BACKWARD;
    const tn_tensor dw = tn_matmul(b, tn_transpose(b, x), y);
    want(&l, tn_matmul(b, tn_transpose(b, dw), slot));
    tn_assign(b, slot, dw);
    fuse(l.g, &native);
    assert_int_equal(arena_of(l.g, find_node(l.g, TN_OP_MATMUL), 0), 0);
    assert_int_equal(count_nodes(l.g, TN_OP_ASSIGN), 1);
    tni_graph_destroy(l.g);
}

/* A second leaf over the same bytes is the same memory. */
static void an_alias_of_a_slot_counts_as_the_slot(void **state)
{
    (void)state;
    leaves l = begin();
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 6, 5), y = INPUT(&l, "y", 6, 4);
    const int64_t shape[] = {5, 4}, flat[] = {20};
    const tn_tensor slot = tni_graph_leaf(l.g, TN_OP_SLOT, TN_ARENA_GRAD, 0,
                                          TN_F32, 2, shape, "dw");
    const tn_tensor slab = tni_graph_leaf(l.g, TN_OP_SLOT, TN_ARENA_GRAD, 0,
                                          TN_F32, 1, flat, "slab");
    l.g->phase = TNI_BACKWARD;
    const tn_tensor dw = tn_matmul(b, tn_transpose(b, x), y);
    want(&l, tn_sum(b, slab, 1u));
    tn_assign(b, slot, dw);
    fuse(l.g, &native);
    assert_int_equal(arena_of(l.g, find_node(l.g, TN_OP_MATMUL), 0), 0);
    tni_graph_destroy(l.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_of_maps_becomes_one),
        cmocka_unit_test(
            a_value_read_by_a_product_stays_and_is_not_computed_twice),
        cmocka_unit_test(a_chain_crosses_a_reshape),
        cmocka_unit_test(a_transposed_reader_is_not_joined),
        cmocka_unit_test(the_gradient_norm_needs_no_temporary),
        cmocka_unit_test(constants_are_folded_into_programs),
        cmocka_unit_test(the_limits_of_a_backend_are_kept),
        cmocka_unit_test(a_map_with_too_many_readers_stays),
        cmocka_unit_test(an_index_does_not_cross_a_reshape),
        cmocka_unit_test(rounding_to_an_integer_is_not_skipped),
        cmocka_unit_test(a_stopped_gradient_stays_stopped),
        cmocka_unit_test(x_and_its_stopped_self_stay_two_inputs_of_a_chain),
        cmocka_unit_test(a_join_does_not_keep_more_alive_than_it_saves),
        cmocka_unit_test(a_read_does_not_move_across_a_write),
        cmocka_unit_test(adamw_becomes_one_map_in_place),
        cmocka_unit_test(siblings_that_share_inputs_become_one_map),
        cmocka_unit_test(an_update_of_an_update_stays_apart),
        cmocka_unit_test(a_product_is_written_to_its_slot),
        cmocka_unit_test(a_sum_with_the_slot_accumulates),
        cmocka_unit_test(a_transposed_product_is_turned_and_bound),
        cmocka_unit_test(tied_gradients_meet_in_the_slot),
        cmocka_unit_test(what_cannot_accumulate_is_added_by_a_map_in_place),
        cmocka_unit_test(a_sum_that_others_read_does_not_accumulate),
        cmocka_unit_test(a_slot_that_is_read_in_between_is_not_written_early),
        cmocka_unit_test(an_alias_of_a_slot_counts_as_the_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
