/*
 * test_builder.c - what describers get: shapes of every op, and one sentence
 * with a place when something does not fit.
 */
#include "tn_test.h"

#include "graph/graph.h"

#undef fail /* CMocka's macro; the builder's table has a member of that name   \
             */

#define SHAPE(...)                                                             \
    (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),            \
        (const int64_t[])                                                      \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

static int setup(void **state)
{
    *state = tni_graph_create(TN_F32);
    return 0;
}

static int teardown(void **state)
{
    tni_graph_destroy(*state);
    return 0;
}

static tn_tensor leaf(tn_builder *b, const char *name, tn_dtype dtype,
                      uint32_t rank, const int64_t *shape)
{
    return tni_graph_leaf((tni_graph *)(void *)b, TN_OP_INPUT, TN_ARENA_INPUT,
                          0, dtype, rank, shape, name);
}

static tn_tensor floats(tn_builder *b, const char *name, uint32_t rank,
                        const int64_t *shape)
{
    return leaf(b, name, TN_F32, rank, shape);
}

static tn_tensor ints(tn_builder *b, const char *name, uint32_t rank,
                      const int64_t *shape)
{
    return leaf(b, name, TN_I32, rank, shape);
}

static void assert_is(tn_builder *b, tn_tensor x, tn_dtype dtype, uint32_t rank,
                      const int64_t *shape)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_graph_status((tni_graph *)(void *)b, &err), err);
    const tn_tensor_info info = tn_info(b, x);
    assert_int_equal(info.dtype, dtype);
    assert_int_equal(info.rank, rank);
    if (rank)
        assert_memory_equal(info.shape, shape, rank * sizeof *shape);
}

static void assert_fails(tn_builder *b, const char *sentence)
{
    tn_error err = TN_ERROR_NONE;
    assert_int_not_equal(tni_graph_status((tni_graph *)(void *)b, &err), TN_OK);
    tn_assert_error_says(err, sentence);
}

/* ---- the sentence ---- */

static void errors_name_place_op_reason_and_operands(void **state)
{
    tn_builder *b = *state;
    const tn_tensor q = floats(b, "q_absorbed", SHAPE(4, 576));
    const tn_tensor kv = floats(b, "kv_latent", SHAPE(512, 8));
    char want[160];
    const int line = __LINE__ + 1;
    const tn_tensor bad = tn_matmul(b, q, kv);
    snprintf(want, sizeof want,
             "test_builder.c:%d: matmul: inner sizes 576 and 512 differ "
             "(q_absorbed, kv_latent)",
             line);
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(tni_graph_status(*state, &err), TN_ESHAPE);
    assert_string_equal(err.message, want);
    assert_int_equal(bad.id, 0);
}

static void the_first_error_sticks_and_later_calls_give_none(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(2, 3));
    tn_add(b, x, floats(b, "y", SHAPE(4)));
    const tn_tensor later = tn_add(b, x, x);
    tn_builder_fail(b, "too late");
    assert_int_equal(later.id, 0);
    assert_int_equal(tn_info(b, later).rank, 0);
    assert_int_equal(tni_graph_leaf(*state, TN_OP_INPUT, TN_ARENA_INPUT, 0,
                                    TN_F32, SHAPE(1), "z")
                         .id,
                     0);
    assert_fails(b, "add: shapes (2, 3) and (4) do not broadcast: 3 against 4 "
                    "(x, y)");
}

static void operands_without_names_show_their_shapes(void **state)
{
    tn_builder *b = *state;
    const tn_tensor w = floats(b, "w", SHAPE(5, 2));
    const tn_tensor x = tn_neg(b, floats(b, NULL, SHAPE(3, 4)));
    tn_matmul(b, x, tn_transpose(b, w));
    assert_fails(b, "inner sizes 4 and 2 differ (x (3, 4), w (2, 5))");
}

static void an_authors_own_error_carries_its_place(void **state)
{
    tn_builder *b = *state;
    tn_builder_fail(b, "num_heads: %d does not divide %d", 3, 128);
    assert_fails(b, "test_builder.c:");
    assert_fails(b, ": num_heads: 3 does not divide 128");
}

static void missing_and_foreign_operands_are_refused(void **state)
{
    tn_builder *b = *state;
    tn_matmul(b, floats(b, "x", SHAPE(2, 3)), TN_NONE);
    assert_fails(b, "matmul: input 1 is none (x, none)");
}

static void unknown_ops_and_leaves_are_refused(void **state)
{
    tn_builder *b = *state;
    tn_op1_at(b, 120, NULL, 0, NULL, 0, TN_HERE);
    assert_fails(b, "op 120 is not one this Tenon can append");
}

static void leaves_are_not_for_describers(void **state)
{
    tn_builder *b = *state;
    tn_op1_at(b, TN_OP_PARAM, NULL, 0, NULL, 0, TN_HERE);
    assert_fails(b, "op 1 is not one this Tenon can append");
}

static void sizes_are_at_least_one_and_countable(void **state)
{
    tn_builder *b = *state;
    tn_fill(b, 0.0, (int64_t)1 << 40, (int64_t)1 << 40);
    assert_fails(b, "too many elements");
    tni_graph *g = tni_graph_create(TN_F32);
    tn_fill(&g->builder, 0.0, 3, 0);
    assert_fails(&g->builder, "fill: axis 1 has size 0, needs at least 1");
    tni_graph_destroy(g);
}

/* ---- attributes of other versions ---- */

static void a_shorter_attribute_is_an_older_plugins(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(2, 3, 4, 8));
    const double theta = 100.0; /* the first member alone */
    const tn_tensor y =
        tn_op1_at(b, TN_OP_ROPE, &x, 1, &theta, sizeof theta, TN_HERE);
    assert_is(b, y, TN_F32, SHAPE(2, 3, 4, 8));
}

static void a_longer_attribute_may_only_hold_zeros(void **state)
{
    tn_builder *b = *state;
    struct {
        tn_rope_attr known;
        uint64_t newer;
    } attr = {{.theta = 100.0}, 0};
    const tn_tensor x = floats(b, "x", SHAPE(2, 3, 4, 8));
    assert_is(b, tn_op1_at(b, TN_OP_ROPE, &x, 1, &attr, sizeof attr, TN_HERE),
              TN_F32, SHAPE(2, 3, 4, 8));
    attr.newer = 1;
    tn_op1_at(b, TN_OP_ROPE, &x, 1, &attr, sizeof attr, TN_HERE);
    assert_fails(b, "rope: asks for an attribute this Tenon does not know");
}

/* ---- element-wise ---- */

static void element_wise_ops_broadcast_as_numpy_does(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(2, 1, 4));
    const tn_tensor y = floats(b, "y", SHAPE(3, 1));
    const tn_tensor z = tn_add(b, x, y);
    assert_is(b, z, TN_F32, SHAPE(2, 3, 4));
    const tni_graph *g = *state;
    const tni_node *map = &g->nodes[tni_value_of(g, z)->node];
    for (uint32_t i = 0; i < 2; i++) {
        const tn_tensor_info seen = tn_info(b, map->in[i]);
        assert_int_equal(seen.rank, 3);
        assert_int_equal(seen.shape[1], 3);
    }
    assert_int_equal(tn_info(b, map->in[0]).stride[1], 0);
    assert_int_equal(tn_info(b, map->in[1]).stride[0], 0);
    assert_int_equal(tn_info(b, map->in[1]).stride[1], 1);
}

static void a_map_needs_something_that_gives_it_a_shape(void **state)
{
    tn_builder *b = *state;
    tn_map_attr attr = {.program = {.output_count = 1,
                                    .instruction_count = 1,
                                    .constant_count = 1,
                                    .instruction = {{TN_MAP_CONST, 0, 0, 0}}}};
    tn_tensor out;
    tn_map_at(b, &attr, NULL, &out, TN_HERE);
    assert_fails(b, "map: no input gives it a shape; use fill");
}

static void random_takes_seed_and_step(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(4, 5));
    assert_is(b, tn_dropout(b, x, ints(b, "rng", SHAPE(2)), 0.5), TN_F32,
              SHAPE(4, 5));
    assert_int_equal(tn_dropout(b, x, TN_NONE, 0.5).id, x.id);
    tn_map_attr attr = {.program = {.input_count = 2,
                                    .output_count = 1,
                                    .instruction_count = 3,
                                    .constant_count = 1,
                                    .output = {2},
                                    .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                                                    {TN_MAP_RANDOM, 1, 0, 0},
                                                    {TN_MAP_MUL, 0, 1, 0}}}};
    tn_tensor out, in[] = {x, ints(b, "seed", SHAPE(2))};
    tn_map_at(b, &attr, in, &out, TN_HERE);
    assert_is(b, out, TN_F32, SHAPE(4, 5));
    in[1] = floats(b, "noise", SHAPE(4, 5));
    tn_map_at(b, &attr, in, &out, TN_HERE);
    assert_fails(b, "the input of `random` is F32 (4, 5), needs I32 (2)");
}

static void reduced_axes_stay_with_size_one(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(2, 3, 4));
    assert_is(b, tn_sum(b, x, tn_axis(b, x, -1)), TN_F32, SHAPE(2, 3, 1));
    assert_is(b, tn_maximum(b, x, tn_all_axes(b, x)), TN_F32, SHAPE(1, 1, 1));
    tn_sum(b, x, 8);
    assert_fails(b, "reduce: axis mask 0x8 names more than the 3 axes");
}

/* ---- views ---- */

static void views_have_the_asked_shapes(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(2, 3, 4));
    assert_is(b, tn_reshape(b, x, 6, -1), TN_F32, SHAPE(6, 4));
    assert_is(b, tn_permute(b, x, 2, 0, 1), TN_F32, SHAPE(4, 2, 3));
    assert_is(b, tn_slice(b, x, -1, -3, 2), TN_F32, SHAPE(2, 3, 2));
    assert_is(b, tn_broadcast(b, tn_slice(b, x, 1, 0, 1), 5, 2, 9, 4), TN_F32,
              SHAPE(5, 2, 9, 4));
    assert_is(b, tn_transpose(b, x), TN_F32, SHAPE(2, 4, 3));
}

typedef struct bad_call {
    void (*describe)(tn_builder *b, tn_tensor x); /* x (2, 3, 4) */
    const char *sentence;
} bad_call;

#define BAD(name, expression)                                                  \
    static void name(tn_builder *b, tn_tensor x)                               \
    {                                                                          \
        expression;                                                            \
    }
BAD(bad_reshape, tn_reshape(b, x, 5, 5))
BAD(bad_free_axis, tn_reshape(b, x, 5, -1))
BAD(two_free_axes, tn_reshape(b, x, -1, -1))
BAD(bad_permute, tn_permute(b, x, 0, 0, 1))
BAD(short_permute, tn_permute(b, x, 1, 0))
BAD(long_slice, tn_slice(b, x, 1, 2, 2))
BAD(no_such_axis, tn_slice(b, x, 3, 0, 1))
BAD(bad_broadcast, tn_broadcast(b, x, 2, 3, 8))
BAD(bad_concat, tn_concat(b, 0, x, tn_reshape(b, x, 2, 4, 3)))
BAD(concat_from_behind, tn_concat(b, (uint32_t)-1, x, x))
BAD(bad_cumsum, tn_cumsum(b, x, .axis = 3))
BAD(bad_gather, tn_gather_rows(b, x, x))
BAD(bad_norm, tn_rms_norm(b, x, tn_fill(b, 1.0, 3), 1e-5))
BAD(bad_rope_rank, tn_rope(b, x, TN_NONE, .theta = 10.0))
BAD(bad_rope_theta,
    tn_rope(b, tn_reshape(b, x, 1, 2, 3, 4), TN_NONE, .dims = 2))
BAD(bad_rope_dims,
    tn_rope(b, tn_reshape(b, x, 1, 2, 3, 4), TN_NONE, .theta = 1.0, .dims = 6))
BAD(bad_heads,
    tn_attention(b, tn_reshape(b, x, 1, 2, 3, 4), tn_reshape(b, x, 1, 3, 2, 4),
                 tn_reshape(b, x, 1, 3, 2, 4), TN_NONE, 0))
BAD(bad_keys,
    tn_attention(b, tn_reshape(b, x, 1, 3, 2, 4), tn_reshape(b, x, 1, 2, 2, 6),
                 tn_reshape(b, x, 1, 2, 2, 6), TN_NONE, 0))
BAD(bad_target,
    tn_linear_cross_entropy(b, tn_reshape(b, x, 6, 4), tn_fill(b, 0.0, 9, 4),
                            tn_fill(b, 0.0, 6), 0.0))
BAD(bad_k, tn_tensor v; tn_tensor i; tn_topk(b, x, 5, &v, &i))
BAD(bad_rate, tn_dropout(b, x, tn_cast(b, tn_fill(b, 0.0, 2), TN_I32), 1.0))
BAD(write_input, tn_assign(b, x, x))

static const bad_call bad_calls[] = {
    {bad_reshape, "view: (2, 3, 4) has 24 elements, (5, 5) has 25 (x)"},
    {bad_free_axis, "view: (2, 3, 4) has 24 elements, (5, 4) has 20"},
    {two_free_axes, "cannot become a shape whose axis 1 is -1"},
    {bad_permute, "axis 0 appears twice"},
    {short_permute, "permutes 2 axes of a tensor with 3"},
    {long_slice, "slice of 2 from 2 leaves axis 1 of size 3"},
    {no_such_axis, "axis 3 of 3 axes"},
    {bad_broadcast, "(2, 3, 4) does not broadcast to (2, 3, 8)"},
    {bad_concat, "parts (2, 3, 4) and (2, 4, 3) differ beside axis 0"},
    {concat_from_behind, "axis -1 of 3 axes, which are counted from 0"},
    {bad_cumsum, "cumsum: axis 3 of 3 axes (x)"},
    {bad_gather, "gather_rows: index is F32, needs I32"},
    {bad_norm, "axis 0 of weight (3) has size 3, needs 4"},
    {bad_rope_rank, "rope: x has 3 axes (2, 3, 4), needs 4"},
    {bad_rope_theta, "theta is 0, needs to be above 0"},
    {bad_rope_dims, "turns 6 elements of a head of 4"},
    {bad_heads, "3 query heads are no multiple of 2 key heads"},
    {bad_keys, "axis 3 of k (1, 2, 2, 6) has size 6, needs 4"},
    {bad_target, "linear_cross_entropy: target is F32, needs I32"},
    {bad_k, "topk: k is 5, needs 1 to 4"},
    {bad_rate, "dropout: rate is 1, needs 0 to below 1"},
    {write_input, "assign: target is an input, and only parameters"},
};

static void every_rule_refuses_with_its_own_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_calls / sizeof bad_calls[0]; i++) {
        tni_graph *g = tni_graph_create(TN_F32);
        bad_calls[i].describe(&g->builder,
                              floats(&g->builder, "x", SHAPE(2, 3, 4)));
        assert_fails(&g->builder, bad_calls[i].sentence);
        assert_fails(&g->builder, "test_builder.c:");
        tni_graph_destroy(g);
    }
}

/* ---- the other ops ---- */

static void products_broadcast_their_batches(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(2, 1, 5, 3));
    const tn_tensor y = floats(b, "y", SHAPE(4, 3, 7));
    const tn_tensor z = tn_matmul(b, x, y);
    assert_is(b, z, TN_F32, SHAPE(2, 4, 5, 7));
    assert_is(b, tn_linear(b, x, floats(b, "w", SHAPE(9, 3))), TN_F32,
              SHAPE(2, 1, 5, 9));
    const tni_graph *g = *state;
    assert_int_equal(g->values[z.id].storage, z.id);
    tn_assert_ok(tni_graph_verify(g, NULL));
}

static void products_copy_operands_without_a_unit_stride(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = tn_permute(b, floats(b, "x", SHAPE(5, 3, 2)), 2, 0, 1);
    const tn_tensor thin = tn_slice(b, floats(b, "y", SHAPE(3, 8, 2)), 2, 0, 1);
    assert_is(b, tn_matmul(b, x, tn_reshape(b, thin, 3, 8)), TN_F32,
              SHAPE(2, 5, 8));
    tn_assert_ok(tni_graph_verify(*state, NULL));
}

static void rows_are_picked_added_and_written(void **state)
{
    tn_builder *b = *state;
    const tn_tensor table = floats(b, "table", SHAPE(10, 4, 6));
    const tn_tensor index = ints(b, "index", SHAPE(2, 3));
    const tn_tensor rows = tn_gather_rows(b, table, index);
    assert_is(b, rows, TN_F32, SHAPE(2, 3, 4, 6));
    assert_is(b, tn_scatter_add_rows(b, index, rows, 10), TN_F32,
              SHAPE(10, 4, 6));
    const tn_tensor cache =
        tni_graph_leaf(*state, TN_OP_STATE, TN_ARENA_STATE, 0, TN_F32,
                       SHAPE(2, 16, 4, 6), "cache");
    assert_is(b, tn_set_rows(b, cache, index, rows), TN_F32,
              SHAPE(2, 16, 4, 6));
}

static void choices_have_their_shapes(void **state)
{
    tn_builder *b = *state;
    tn_tensor values, index, plan[3];
    tn_topk(b, floats(b, "x", SHAPE(5, 8)), 2, &values, &index);
    assert_is(b, values, TN_F32, SHAPE(5, 2));
    assert_is(b, index, TN_I32, SHAPE(5, 2));
    assert_is(b, tn_argmax(b, values), TN_I32, SHAPE(5));
    tn_expert_plan(b, index, 8, plan);
    assert_is(b, plan[0], TN_I32, SHAPE(10));
    assert_is(b, plan[1], TN_I32, SHAPE(10));
    assert_is(b, plan[2], TN_I32, SHAPE(9));
    assert_is(b,
              tn_grouped_matmul(b, floats(b, "a", SHAPE(10, 3)),
                                floats(b, "w", SHAPE(8, 3, 4)), plan[2]),
              TN_F32, SHAPE(10, 4));
}

static void attention_takes_fewer_and_other_heads(void **state)
{
    tn_builder *b = *state;
    const tn_tensor q = floats(b, "q", SHAPE(2, 5, 6, 8));
    const tn_tensor k = floats(b, "k", SHAPE(2, 9, 3, 8));
    const tn_tensor v = floats(b, "v", SHAPE(2, 9, 3, 4));
    const tn_tensor p = ints(b, "p", SHAPE(2, 5));
    assert_is(b, tn_attention(b, q, k, v, p, .window = 3), TN_F32,
              SHAPE(2, 5, 6, 4));
    assert_is(b, tn_attention(b, q, k, v, TN_NONE, 0), TN_F32,
              SHAPE(2, 5, 6, 4));
}

static void attention_has_a_first_key_for_each_row(void **state)
{
    tn_builder *b = *state;
    static const tn_attention_attr attr;
    const tn_tensor q = floats(b, "q", SHAPE(2, 5, 6, 8));
    const tn_tensor k = floats(b, "k", SHAPE(2, 9, 3, 8));
    const tn_tensor first = ints(b, "first", SHAPE(2, 5));
    const tn_tensor in[] = {q, k, k, TN_NONE, first};
    assert_is(b, tn_attention_within_at(b, in, &attr, TN_HERE), TN_F32,
              SHAPE(2, 5, 6, 8));
    const tn_tensor wrong[] = {q, k, k, TN_NONE, ints(b, "f", SHAPE(2, 9))};
    tn_attention_within_at(b, wrong, &attr, TN_HERE);
    assert_fails(b, "axis 1 of first (2, 9) has size 9, needs 5");
}

static void statistics_have_the_width_of_the_graph(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F64);
    tn_builder *b = &g->builder;
    const tn_tensor x = leaf(b, "x", TN_F64, SHAPE(6, 4));
    const tn_tensor w = leaf(b, "w", TN_F64, SHAPE(9, 4));
    assert_is(b, tn_linear_cross_entropy(b, x, w, ints(b, "t", SHAPE(6)), 0.0),
              TN_F64, SHAPE(6));
    tni_graph_destroy(g);
}

/* ---- ops of plugins ---- */

static tn_status like_input(const tn_builder *b, const tn_op_node *node,
                            tn_tensor_info *out, tn_error *err)
{
    (void)err;
    out[0] = tn_info(b, node->in[0]);
    return TN_OK;
}

static void twice(tn_builder *b, const tn_op_node *node, tn_tensor *out)
{
    out[0] = tn_add(b, node->in[0], node->in[0]);
}

static const tn_op_desc twice_op = {
    .struct_size = sizeof(tn_op_desc),
    .number = TN_OP_CUSTOM,
    .name = "twice",
    .tier = TN_TIER_COMPOSITE,
    .min_in = 1,
    .max_in = 1,
    .out_count = 1,
    .shape = like_input,
    .decompose = twice,
};

static void a_plugins_op_is_an_op(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(3));
    tn_op_desc older = twice_op;
    tn_tensor y = TN_NONE, z = TN_NONE;
    tn_custom_op(b, &twice_op, &x, 1, NULL, 0, &y, 1);
    older.struct_size = offsetof(tn_op_desc, flops); /* a shorter descriptor */
    tn_custom_op(b, &older, &y, 1, NULL, 0, &z, 1);
    assert_is(b, z, TN_F32, SHAPE(3));
    tn_assert_ok(tni_graph_verify(*state, NULL));
}

static void a_plugins_op_must_decompose(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(3));
    tn_op_desc mute = twice_op;
    tn_tensor y = TN_NONE;
    mute.decompose = NULL;
    tn_custom_op(b, &mute, &x, 1, NULL, 0, &y, 1);
    assert_fails(b, "twice: a custom op that has no decomposition; every "
                    "custom op needs one");
}

/* Left out it is 0, a leaf, whose value nothing computes. */
static void a_plugins_op_must_be_composite(void **state)
{
    tn_builder *b = *state;
    const tn_tensor x = floats(b, "x", SHAPE(3));
    tn_op_desc leaf = twice_op;
    tn_tensor y = TN_NONE;
    leaf.tier = TN_TIER_LEAF;
    tn_custom_op(b, &leaf, &x, 1, NULL, 0, &y, 1);
    assert_fails(b, "twice: a custom op that is not composite; set .tier = "
                    "TN_TIER_COMPOSITE");
}

/* ---- bookkeeping ---- */

/* y = a + b is replaced by c: what reads y reads c; the add is pruned. */
static void replaced_values_are_resolved_and_pruned(void **state)
{
    tni_graph *g = *state;
    tn_builder *b = &g->builder;
    const tn_tensor x = floats(b, "x", SHAPE(4));
    const tn_tensor m = tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, 0,
                                       TN_F32, SHAPE(2, 2), "m");
    const tn_tensor sum = tn_add(b, x, x);
    const tn_tensor square = tn_square(b, x);
    const tn_tensor seen = tn_reshape(b, sum, 2, 2);
    tn_assign(b, m, seen);
    tni_graph_replace(g, sum, square);
    assert_int_equal(tni_graph_resolve(g, sum).id, square.id);
    tn_error err = TN_ERROR_NONE;
    assert_int_not_equal(tni_graph_verify(g, &err), TN_OK);
    tn_assert_error_says(err, "was replaced by");
    tni_graph_prune(g);
    tn_assert_ok(tni_graph_verify(g, NULL));
    assert_int_equal(g->node_count, 5); /* x, m, square, view, assign */
    assert_int_equal(g->values[seen.id].storage, square.id);
}

static void a_dump_has_a_line_for_each_node(void **state)
{
    tn_builder *b = *state;
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    const tn_tensor x = floats(b, "x", SHAPE(2, 3));
    tn_matmul(b, x, tn_transpose(b, floats(b, "w", SHAPE(5, 3))));
    tni_graph_dump(*state, to);
    fclose(to);
    assert_non_null(strstr(text, "%4 F32 (2, 5) = matmul(x=%1 F32 (2, 3), "
                                 "%3 F32 (3, 5) strided) forward "
                                 "test_builder.c:"));
    free(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(errors_name_place_op_reason_and_operands),
        TEST(the_first_error_sticks_and_later_calls_give_none),
        TEST(operands_without_names_show_their_shapes),
        TEST(an_authors_own_error_carries_its_place),
        TEST(missing_and_foreign_operands_are_refused),
        TEST(unknown_ops_and_leaves_are_refused),
        TEST(leaves_are_not_for_describers),
        TEST(sizes_are_at_least_one_and_countable),
        TEST(a_shorter_attribute_is_an_older_plugins),
        TEST(a_longer_attribute_may_only_hold_zeros),
        TEST(element_wise_ops_broadcast_as_numpy_does),
        TEST(a_map_needs_something_that_gives_it_a_shape),
        TEST(random_takes_seed_and_step),
        TEST(reduced_axes_stay_with_size_one),
        TEST(views_have_the_asked_shapes),
        TEST(every_rule_refuses_with_its_own_sentence),
        TEST(products_broadcast_their_batches),
        TEST(products_copy_operands_without_a_unit_stride),
        TEST(rows_are_picked_added_and_written),
        TEST(choices_have_their_shapes),
        TEST(attention_takes_fewer_and_other_heads),
        TEST(attention_has_a_first_key_for_each_row),
        TEST(statistics_have_the_width_of_the_graph),
        TEST(a_plugins_op_is_an_op),
        TEST(a_plugins_op_must_decompose),
        TEST(a_plugins_op_must_be_composite),
        TEST(replaced_values_are_resolved_and_pruned),
        TEST(a_dump_has_a_line_for_each_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
