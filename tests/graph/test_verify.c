/*
 * test_verify.c - a sound graph passes; every planted fault is found and named.
 */
#include "tn_test.h"

#include "graph/graph.h"

typedef struct small {
    tni_graph *g;
    tn_tensor x, w, y, target;
    tni_node *matmul, *map, *assign;
} small;

/* target = 2 (x w^T)^T, over leaves x (4, 6), w (5, 6), target (5, 4) */
static small describe(void)
{
    static const int64_t xs[] = {4, 6}, ws[] = {5, 6}, ts[] = {5, 4};
    small s = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &s.g->builder;
    s.x =
        tni_graph_leaf(s.g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_F32, 2, xs, "x");
    s.w =
        tni_graph_leaf(s.g, TN_OP_PARAM, TN_ARENA_PARAM, 0, TN_F32, 2, ws, "w");
    s.target = tni_graph_leaf(s.g, TN_OP_SLOT, TN_ARENA_METRIC, 0, TN_F32, 2,
                              ts, "target");
    s.y = tn_matmul(b, s.x, tn_transpose(b, s.w));
    const tn_tensor twice = tn_scale(b, tn_transpose(b, s.y), 2.0);
    const tn_tensor after = tn_assign(b, s.target, twice);
    tn_assert_ok(tni_graph_status(s.g, NULL));
    s.matmul = &s.g->nodes[tni_value_of(s.g, s.y)->node];
    s.map = &s.g->nodes[tni_value_of(s.g, twice)->node];
    s.assign = &s.g->nodes[tni_value_of(s.g, after)->node];
    return s;
}

typedef struct fault {
    void (*plant)(small *s);
    const char *sentence;
} fault;

/* reshape(permute(y)), whose copy a pass has taken away */
static void reshape_a_permutation(small *s)
{
    tn_builder *b = &s->g->builder;
    const tn_tensor flat = tn_reshape(b, tn_transpose(b, s->y), 20);
    tni_node *view = &s->g->nodes[tni_value_of(s->g, flat)->node];
    view->in[0] = s->g->nodes[tni_value_of(s->g, view->in[0])->node].in[0];
}

#define FAULT(name, statement)                                                 \
    static void name(small *s)                                                 \
    {                                                                          \
        statement;                                                             \
    }
FAULT(no_op, s->map->desc = NULL)
FAULT(absent, s->matmul->in[1] = TN_NONE)
FAULT(beyond, s->matmul->in[1].id = 999)
FAULT(few, s->matmul->in_count = 1)
FAULT(later, s->matmul->in[0] = s->map->out[0])
FAULT(twice_made, s->map->out[0] = s->y)
FAULT(no_output, s->map->out[0].id = 0)
FAULT(wrong_shape, tni_value_of(s->g, s->y)->info.shape[1] = 4)
FAULT(wrong_dtype, tni_value_of(s->g, s->y)->info.dtype = TN_F16)
FAULT(gaps, tni_value_of(s->g, s->y)->info.stride[0] = 50)
FAULT(moved, tni_value_of(s->g, s->y)->offset = 3)
FAULT(stolen, tni_value_of(s->g, s->y)->storage = s->map->out[0].id)
FAULT(off_target,
      tni_value_of(s->g, s->assign->out[0])->storage = s->assign->out[0].id)
FAULT(replaced, tni_value_of(s->g, s->w)->replaced_by = s->x.id)
FAULT(accumulates, s->map->accumulate = 1)
FAULT(bad_program,
      ((tn_map_attr *)(uintptr_t)s->map->attr)->program.instruction[2].a = 2)
FAULT(other_inputs, s->map->in[0] = s->x)
FAULT(unshapeable, reshape_a_permutation(s))
FAULT(unwritable, s->assign->in[0] = s->x)

static const fault faults[] = {
    {no_op, "has no op"},
    {absent, "input 1, value 0, is not made before"},
    {beyond, "input 1 is value 999 of"},
    {few, "1 inputs, takes 2 to 2"},
    {later, "is not made before"},
    {twice_made, "is made twice"},
    {no_output, "output 0 is value 0 of"},
    {wrong_shape, "output 0 is F32 (4, 4), its rule says F32 (4, 5)"},
    {wrong_dtype, "output 0 is F16 (4, 5), its rule says F32 (4, 5)"},
    {gaps, "output 0 has other strides than it must"},
    {moved, "lies on value"},
    {stolen, "lies on value"},
    {off_target, "lies on value"},
    {replaced, "was replaced by value"},
    {accumulates, "accumulates into outputs 0x1, may into 0x0"},
    {bad_program, "reads register 2, which is not yet defined"},
    {other_inputs, "its rule says"},
    {unshapeable, "reshapes an input whose strides forbid it"},
    {unwritable, "target is an input"},
};

static void a_sound_graph_passes(void **state)
{
    (void)state;
    small s = describe();
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_graph_verify(s.g, &err), err);
    tn_assert_ok_err(tni_graph_verify_dense(s.g, &err), err);
    tni_graph_destroy(s.g);
}

static void every_planted_fault_is_found_and_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        small s = describe();
        tn_error err = TN_ERROR_NONE;
        faults[i].plant(&s);
        assert_int_equal(tni_graph_verify(s.g, &err), TN_ESHAPE);
        tn_assert_error_says(err, faults[i].sentence);
        tn_assert_error_says(err, "of test_verify.c:");
        tni_graph_destroy(s.g);
    }
}

static void matmul_sees_only_strides_it_can_use(void **state)
{
    (void)state;
    static const int64_t shape[] = {4, 6, 2};
    small s = describe();
    tn_builder *b = &s.g->builder;
    const tn_tensor wide = tni_graph_leaf(s.g, TN_OP_INPUT, TN_ARENA_INPUT, 0,
                                          TN_F32, 3, shape, "wide");
    const tn_tensor thin =
        tn_reshape(b, tn_slice(b, wide, 2, 0, 1), 4, 6); /* strides 12, 2 */
    const tn_tensor y = tn_matmul(b, s.x, tn_transpose(b, thin));
    tni_node *matmul = &s.g->nodes[tni_value_of(s.g, y)->node];
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok(tni_graph_verify(s.g, NULL));
    matmul->in[1] = tn_transpose(b, thin);
    s.g->nodes[s.g->node_count] = *matmul; /* after its operand */
    *matmul = s.g->nodes[s.g->node_count - 1];
    s.g->nodes[s.g->node_count - 1] = s.g->nodes[s.g->node_count];
    assert_int_equal(tni_graph_verify(s.g, &err), TN_ESHAPE);
    tn_assert_error_says(err, "operand 1 has no stride of 1 in its last two");
    tni_graph_destroy(s.g);
}

static void strided_inputs_must_be_gone_after_lower(void **state)
{
    (void)state;
    small s = describe();
    tn_builder *b = &s.g->builder;
    tn_softmax(b, tn_transpose(b, s.x));
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok(tni_graph_verify(s.g, NULL));
    assert_int_equal(tni_graph_verify_dense(s.g, &err), TN_ESHAPE);
    tn_assert_error_says(err, "softmax of test_verify.c:");
    tn_assert_error_says(err, "input 0 is strided");
    tni_graph_destroy(s.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_graph_passes),
        cmocka_unit_test(every_planted_fault_is_found_and_named),
        cmocka_unit_test(matmul_sees_only_strides_it_can_use),
        cmocka_unit_test(strided_inputs_must_be_gone_after_lower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
