/*
 * test_quantise.c - who may read weights in blocks, and through which views.
 */
#include "passes_support.h"

#include "graph/rewrite.h"

enum { N = 3, C = 256, F = 64, V = 32 };

typedef struct model {
    leaves l;
    tn_tensor embed, up, down, y, nll;
} model;

/* x = embed[tokens], h = silu(x up'), y = h down'; the head is the embedding.
 * Blocks of everything lie in COPY, as model/blocks.c would lay them out. */
static void give_blocks(tni_graph *g, tn_tensor param, tn_dtype dtype,
                        int64_t offset)
{
    tni_value_of(g, param)->block_dtype = dtype;
    tni_value_of(g, param)->copy_offset = offset;
}

static model describe(void)
{
    model m = {.l = {.g = tni_graph_create(TN_F32)}};
    leaves *l = &m.l;
    tn_builder *b = &l->g->builder;
    m.embed = PARAM(l, "embed", V, C);
    m.up = PARAM(l, "up", F, C);
    m.down = PARAM(l, "down", C, F);
    const tn_tensor x = tn_gather_rows(b, m.embed, INDEX(l, "tokens", N));
    const tn_tensor h = tn_silu(b, tn_linear(b, x, m.up));
    m.y = tn_linear(b, h, m.down);
    m.nll = tn_linear_cross_entropy(b, m.y, m.embed, INDEX(l, "targets", N), 0);
    want(l, m.nll);
    return m;
}

static uint32_t reads_of(const tni_graph *g, tn_dtype dtype)
{
    uint32_t count = 0;
    for (size_t n = 0; n < g->node_count; n++)
        for (uint32_t i = 0;
             tni_computes(&g->nodes[n]) && i < g->nodes[n].in_count; i++)
            count += g->values[g->nodes[n].in[i].id].info.dtype == dtype;
    return count;
}

static void quantise(tni_graph *g)
{
    tn_error err = TN_ERROR_NONE;
    assert_sound(g);
    tn_assert_ok_err(tni_quantise(g, &err), err);
    assert_sound(g);
}

static void rows_of_whole_blocks_can_be_read(void **state)
{
    const model m = describe();
    const tni_graph *g = m.l.g;
    (void)state;
    assert_true(tni_reads_blocks(g, m.embed, TN_Q4_K)); /* looked up, head */
    assert_true(tni_reads_blocks(g, m.up, TN_Q4_K));
    assert_false(tni_reads_blocks(g, m.down, TN_Q4_K)); /* rows of 64 */
    assert_true(tni_reads_blocks(g, m.down, TN_Q8_0));
    tni_graph_destroy(m.l.g);
}

static void nobody_else_can_read_them(void **state)
{
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    const tn_tensor x = INPUT(&l, "x", 4, C);
    const tn_tensor across = PARAM(&l, "across", C, C);
    const tn_tensor added = PARAM(&l, "added", 4, C);
    const tn_tensor left = PARAM(&l, "left", 4, C);
    const tn_tensor unread = PARAM(&l, "unread", C, C);
    (void)state;
    want(&l, tn_matmul(b, x, across)); /* sums over the rows */
    want(&l, tn_add(b, x, added));
    want(&l, tn_matmul(b, left, tn_transpose(b, x)));
    assert_false(tni_reads_blocks(l.g, across, TN_Q8_0));
    assert_false(tni_reads_blocks(l.g, added, TN_Q8_0));
    assert_false(tni_reads_blocks(l.g, left, TN_Q8_0));
    assert_false(tni_reads_blocks(l.g, unread, TN_Q8_0));
    tni_graph_destroy(l.g);
}

static void readers_are_given_the_blocks(void **state)
{
    model m = describe();
    tni_graph *g = m.l.g;
    (void)state;
    give_blocks(g, m.embed, TN_Q4_K, 0);
    give_blocks(g, m.up, TN_Q4_K, 8192);
    give_blocks(g, m.down, TN_Q8_0, 32768);
    quantise(g);
    assert_int_equal(reads_of(g, TN_Q4_K), 3);
    assert_int_equal(reads_of(g, TN_Q8_0), 1);
    lower(g, &native);
    fuse(g, &native);
    tni_plan *plan = place(g, 0);
    assert_int_equal(plan->plan.arena_bytes[TN_ARENA_PARAM], 0);
    assert_int_equal(plan->plan.arena_bytes[TN_ARENA_COPY],
                     32768 + tn_dtype_span(TN_Q8_0, C * F));
    tni_plan_destroy(plan);
    tni_graph_destroy(g);
}

/* Products and look-ups are primitives and read blocks themselves; for the loss
 * they become floats. */
static void a_composite_gets_floats(void **state)
{
    model m = describe();
    tni_graph *g = m.l.g;
    uint32_t copies = 0;
    (void)state;
    give_blocks(g, m.embed, TN_Q8_0, 0);
    quantise(g);
    lower(g, &primitive);
    for (size_t n = 0; n < g->node_count; n++)
        copies += g->nodes[n].desc->number == TN_OP_COPY &&
                  g->values[g->nodes[n].in[0].id].info.dtype == TN_Q8_0;
    assert_int_equal(copies, 1);
    fuse(g, &primitive);
    tni_plan_destroy(place(g, 0));
    tni_graph_destroy(g);
}

static void bf16_and_blocks_go_together(void **state)
{
    model m = describe();
    tni_graph *g = m.l.g;
    tn_error err = TN_ERROR_NONE;
    (void)state;
    give_blocks(g, m.up, TN_Q4_K, 0);
    quantise(g);
    tn_assert_ok_err(tni_narrow(g, TNI_COPIED_FOR_LOOKUPS, &err), err);
    assert_sound(g);
    assert_int_equal(reads_of(g, TN_Q4_K), 1);
    assert_true(reads_of(g, TN_BF16) >= 4);
    tni_graph_destroy(g);
}

static void a_reader_that_cannot_is_named(void **state)
{
    leaves l = {.g = tni_graph_create(TN_F32)};
    tn_builder *b = &l.g->builder;
    tn_error err = TN_ERROR_NONE;
    const tn_tensor w = PARAM(&l, "w", 4, C);
    (void)state;
    want(&l, tn_add(b, INPUT(&l, "x", 4, C), w));
    give_blocks(l.g, w, TN_Q8_0, 0);
    assert_int_equal(tni_quantise(l.g, &err), TN_EUNSUPPORTED);
    tn_assert_error_says(err, "quantize: none");
    tni_graph_destroy(l.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_whole_blocks_can_be_read),
        cmocka_unit_test(nobody_else_can_read_them),
        cmocka_unit_test(readers_are_given_the_blocks),
        cmocka_unit_test(a_composite_gets_floats),
        cmocka_unit_test(bf16_and_blocks_go_together),
        cmocka_unit_test(a_reader_that_cannot_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
