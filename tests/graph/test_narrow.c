/*
 * test_narrow.c - what precision bf16 stores in bf16, and what it never does.
 */
#include "passes_support.h"

enum { N = 8, C = 16 };

static tn_dtype dtype_of(const tni_graph *g, tn_tensor x)
{
    return g->values[tni_graph_resolve(g, x).id].info.dtype;
}

static tn_dtype in_dtype(const tni_graph *g, const tni_node *node, uint32_t i)
{
    return g->values[node->in[i].id].info.dtype;
}

static tn_arena in_arena(const tni_graph *g, const tni_node *node, uint32_t i)
{
    return g->values[g->values[node->in[i].id].storage].arena;
}

static void narrow_for(tni_graph *g, tni_copied least)
{
    tn_error err = TN_ERROR_NONE;
    for (uint32_t id = 1; id < g->value_count; id++)
        g->values[id].copied = tni_copied_for(g, (tn_tensor){id});
    assert_sound(g);
    tn_assert_ok_err(tni_narrow(g, least, &err), err);
    assert_sound(g);
}

static void narrow(tni_graph *g)
{
    narrow_for(g, TNI_COPIED_FOR_LOOKUPS);
}

static void finish(tni_graph *g, const tni_target *target)
{
    lower(g, target);
    fuse(g, target);
    tni_plan_destroy(place(g, 0));
    tni_graph_destroy(g);
}

/* h = silu(x w1'), y = h w2', nll of y's rows: the middle of a model. */
typedef struct stack {
    leaves l;
    tn_tensor embed, w1, w2, head, hidden, y, nll;
} stack;

static stack describe(void)
{
    stack s = {.l = {.g = tni_graph_create(TN_F32)}};
    leaves *l = &s.l;
    tn_builder *b = &l->g->builder;
    s.embed = PARAM(l, "embed", 32, C);
    const tn_tensor x = tn_gather_rows(b, s.embed, INDEX(l, "tokens", N));
    s.w1 = PARAM(l, "w1", 24, C);
    s.w2 = PARAM(l, "w2", C, 24);
    s.head = PARAM(l, "head", 32, C);
    s.hidden = tn_silu(b, tn_linear(b, x, s.w1));
    s.y = tn_linear(b, s.hidden, s.w2);
    s.nll = tn_linear_cross_entropy(b, s.y, s.head, INDEX(l, "targets", N), 0);
    return s;
}

static void activations_and_inputs_of_products_are_bf16(void **state)
{
    (void)state;
    stack s = describe();
    tni_graph *g = s.l.g;
    want(&s.l, tn_sum(&g->builder, s.nll, 1));
    narrow(g);
    assert_int_equal(dtype_of(g, s.hidden), TN_BF16);
    assert_int_equal(dtype_of(g, s.y), TN_BF16);
    assert_int_equal(dtype_of(g, s.nll), TN_F32);
    const tni_node *lookup = find_node(g, TN_OP_GATHER_ROWS);
    assert_int_equal(in_arena(g, lookup, 0), TN_ARENA_COPY);
    assert_int_equal(dtype_of(g, lookup->out[0]), TN_BF16);
    const tni_node *head = find_node(g, TN_OP_LINEAR_CROSS_ENTROPY);
    assert_int_equal(in_arena(g, head, 1), TN_ARENA_COPY);
    finish(g, &native);
}

static void a_copy_lies_where_the_model_says(void **state)
{
    (void)state;
    stack s = describe();
    tni_graph *g = s.l.g;
    want(&s.l, tn_sum(&g->builder, s.nll, 1));
    assert_int_equal(tni_copied_for(g, s.w2), TNI_COPIED_FOR_PRODUCTS);
    tni_value_of(g, s.w2)->copy_offset = 512;
    narrow(g);
    uint32_t copies = 0;
    for (size_t id = 1; id < g->value_count; id++)
        if (g->values[id].arena == TN_ARENA_COPY &&
            strstr(g->values[id].name, "w2")) {
            assert_int_equal(g->values[id].arena_offset, 512);
            copies++;
        }
    assert_int_equal(copies, 1);
    finish(g, &native);
}

/* In training, where the table is there in f32, and the products read copies as
 * ever. What reads the rows sees what it saw. */
static void rows_of_a_table_without_a_copy_are_rounded(void **state)
{
    (void)state;
    stack s = describe();
    tni_graph *g = s.l.g;
    want(&s.l, tn_sum(&g->builder, s.nll, 1));
    assert_int_equal(tni_copied_for(g, s.embed), TNI_COPIED_FOR_LOOKUPS);
    narrow_for(g, TNI_COPIED_FOR_PRODUCTS);
    const tni_node *lookup = find_node(g, TN_OP_GATHER_ROWS);
    assert_int_equal(in_arena(g, lookup, 0), TN_ARENA_PARAM);
    assert_int_equal(dtype_of(g, lookup->out[0]), TN_F32);
    for (size_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].desc->number == TN_OP_MATMUL) {
            assert_int_equal(in_dtype(g, &g->nodes[n], 0), TN_BF16);
            assert_int_equal(in_arena(g, &g->nodes[n], 1), TN_ARENA_COPY);
        }
    for (size_t id = 1; id < g->value_count; id++)
        if (g->values[id].arena == TN_ARENA_COPY)
            assert_null(strstr(g->values[id].name, "embed"));
    finish(g, &native);
}

/* A tied head multiplies the table: there is a copy, and rows are its. */
static void a_table_that_is_multiplied_has_a_copy(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor embed = PARAM(&l, "embed", 32, C);
    const tn_tensor x = tn_gather_rows(b, embed, INDEX(&l, "tokens", N));
    want(&l, tn_sum(b, tn_linear(b, tn_silu(b, x), embed), 3));
    assert_int_equal(tni_copied_for(l.g, embed), TNI_COPIED_FOR_PRODUCTS);
    narrow_for(l.g, TNI_COPIED_FOR_PRODUCTS);
    const tni_node *lookup = find_node(l.g, TN_OP_GATHER_ROWS);
    assert_int_equal(in_arena(l.g, lookup, 0), TN_ARENA_COPY);
    assert_int_equal(dtype_of(l.g, lookup->out[0]), TN_BF16);
    finish(l.g, &native);
}

/* Rows that are needed in f32 stay as they are picked. */
static void rows_that_are_joined_to_f32_are_not_rounded(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor embed = PARAM(&l, "embed", 32, C);
    const tn_tensor rows = tn_gather_rows(b, embed, INDEX(&l, "tokens", N));
    want(&l, tn_concat(b, 0, STATE(&l, "s", N, C), rows));
    narrow_for(l.g, TNI_COPIED_FOR_PRODUCTS);
    assert_int_equal(dtype_of(l.g, rows), TN_F32);
    assert_int_equal(find_node(l.g, TN_OP_GATHER_ROWS)->out[0].id, rows.id);
    finish(l.g, &native);
}

static void gradients_of_parameters_are_f32(void **state)
{
    (void)state;
    stack s = describe();
    tni_graph *g = s.l.g;
    const tn_tensor wrt[] = {s.w1, s.w2, s.head};
    tn_tensor d[3];
    tn_builder *b = &g->builder;
    differentiate(g, s.nll, wrt, 3, d);
    for (int i = 0; i < 3; i++) {
        const tn_tensor_info info = tn_info(b, wrt[i]);
        const tn_tensor slot = add_leaf(&s.l, TN_OP_SLOT, TN_ARENA_GRAD, TN_F32,
                                        "dw", info.rank, info.shape);
        tn_assign(b, slot, tn_add(b, slot, d[i]));
    }
    narrow(g);
    for (int i = 0; i < 3; i++)
        assert_int_equal(dtype_of(g, d[i]), TN_F32);
    lower(g, &native);
    fuse(g, &native);
    /* all three are added to their slots by what makes them */
    uint32_t added = 0;
    for (size_t n = 0; n < g->node_count; n++)
        added += g->nodes[n].accumulate != 0;
    assert_int_equal(added, 3);
    assert_int_equal(count_nodes(g, TN_OP_ASSIGN), 0);
    for (size_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].desc->number == TN_OP_MATMUL) {
            assert_int_equal(in_dtype(g, &g->nodes[n], 0), TN_BF16);
            assert_int_equal(in_dtype(g, &g->nodes[n], 1), TN_BF16);
        }
    tni_plan_destroy(place(g, 0));
    tni_graph_destroy(g);
}

static void
sums_and_choices_stay_f32_and_products_of_them_are_cast(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", N, C), w = PARAM(&l, "w", C, C);
    const tn_tensor scores = tn_linear(b, x, w);
    const tn_tensor p = tn_softmax(b, scores);
    const tn_tensor running = tn_cumsum(b, p, 0);
    const tn_tensor y = tn_matmul(b, running, w);
    want(&l, tn_sum(b, tn_square(b, y), 3));
    narrow(l.g);
    assert_int_equal(dtype_of(l.g, scores), TN_F32);
    assert_int_equal(dtype_of(l.g, p), TN_F32);
    assert_int_equal(dtype_of(l.g, running), TN_F32);
    assert_int_equal(dtype_of(l.g, y), TN_BF16);
    for (size_t n = 0; n < l.g->node_count; n++)
        if (l.g->nodes[n].desc->number == TN_OP_MATMUL) {
            assert_int_equal(in_dtype(l.g, &l.g->nodes[n], 0), TN_BF16);
            assert_int_equal(in_arena(l.g, &l.g->nodes[n], 1), TN_ARENA_COPY);
        }
    finish(l.g, &native);
}

/* One of them is needed in f32, so all are. */
static void what_is_joined_has_one_dtype(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", N, C), w = PARAM(&l, "w", C, C);
    const tn_tensor s = STATE(&l, "s", N, C);
    const tn_tensor p = tn_linear(b, x, w);
    const tn_tensor both = tn_concat(b, 0, s, p);
    want(&l, tn_sum(b, tn_square(b, both), 3));
    narrow(l.g);
    assert_int_equal(dtype_of(l.g, p), TN_F32);
    assert_int_equal(dtype_of(l.g, both), TN_F32);
    finish(l.g, &native);
}

static void vectors_and_other_readers_see_the_parameter_itself(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", N, C), w = PARAM(&l, "w", C, C);
    const tn_tensor gain = PARAM(&l, "gain", C), bias = PARAM(&l, "bias", C);
    const tn_tensor n = tn_rms_norm(b, tn_scale(b, x, 2.0), gain, 1e-5);
    const tn_tensor y = tn_add(b, tn_linear(b, n, w), bias);
    want(&l, tn_sum(b, y, 3));
    want(&l, tn_sum(b, tn_square(b, w), 3)); /* a penalty reads w in f32 */
    assert_int_equal(tni_copied_for(l.g, gain), TNI_COPIED_NEVER);
    assert_int_equal(tni_copied_for(l.g, bias), TNI_COPIED_NEVER);
    narrow(l.g);
    const tni_node *norm = find_node(l.g, TN_OP_RMS_NORM);
    assert_int_equal(in_arena(l.g, norm, 1), TN_ARENA_PARAM);
    assert_int_equal(dtype_of(l.g, norm->out[0]), TN_BF16);
    assert_int_equal(dtype_of(l.g, norm->out[1]), TN_F32);
    assert_int_equal(dtype_of(l.g, w), TN_F32);
    finish(l.g, &native);
}

/* A backend without a bf16 kernel of a composite is asked for its f32 one;
 * without any the decomposition runs in f32. */
static uint32_t supports_f32(void *of, const tn_plan_node *node)
{
    (void)of;
    for (uint32_t i = 0; i < node->in_count; i++)
        if (node->in[i].dtype == TN_BF16)
            return 0;
    return 1;
}

static void composites_without_a_bf16_kernel_are_cast(void **state)
{
    (void)state;
    const tni_target targets[] = {{.supports = supports_f32}, primitive};
    for (int i = 0; i < 2; i++) {
        stack s = describe();
        tni_graph *g = s.l.g;
        want(&s.l, tn_sum(&g->builder, s.nll, 1));
        narrow(g);
        lower(g, &targets[i]);
        const tni_node *head = find_node(g, TN_OP_LINEAR_CROSS_ENTROPY);
        assert_int_equal(head != NULL, i == 0);
        if (head) {
            assert_int_equal(in_dtype(g, head, 0), TN_F32);
            assert_int_equal(in_dtype(g, head, 1), TN_F32);
        }
        fuse(g, &targets[i]);
        tni_plan_destroy(place(g, 0));
        tni_graph_destroy(g);
    }
}

static void updates_are_left_alone(void **state)
{
    (void)state;
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    l.g->phase = TNI_UPDATE;
    const tn_tensor w = PARAM(&l, "w", C, C), d = GRAD(&l, "d", C, C);
    const tn_tensor square = tn_matmul(b, d, d);
    tn_assign(b, w, tn_sub(b, w, square));
    narrow(l.g);
    assert_int_equal(dtype_of(l.g, square), TN_F32);
    assert_int_equal(in_arena(l.g, find_node(l.g, TN_OP_MATMUL), 0),
                     TN_ARENA_GRAD);
    tni_graph_destroy(l.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_and_inputs_of_products_are_bf16),
        cmocka_unit_test(a_copy_lies_where_the_model_says),
        cmocka_unit_test(rows_of_a_table_without_a_copy_are_rounded),
        cmocka_unit_test(a_table_that_is_multiplied_has_a_copy),
        cmocka_unit_test(rows_that_are_joined_to_f32_are_not_rounded),
        cmocka_unit_test(gradients_of_parameters_are_f32),
        cmocka_unit_test(
            sums_and_choices_stay_f32_and_products_of_them_are_cast),
        cmocka_unit_test(what_is_joined_has_one_dtype),
        cmocka_unit_test(vectors_and_other_readers_see_the_parameter_itself),
        cmocka_unit_test(composites_without_a_bf16_kernel_are_cast),
        cmocka_unit_test(updates_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
