/*
 * test_conv.c - the causal convolution by hand, in two pieces, and refused.
 */
#include "ops_rig.h"

/* ---- by hand ---- */

static void forward(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                    const void *with)
{
    (void)with;
    out[0] = tn_conv1d_causal(b, in[0], in[1], TN_NONE);
}

static void forward_with_history(tn_builder *b, const tn_tensor *in,
                                 tn_tensor *out, const void *with)
{
    (void)with;
    out[0] = tn_conv1d_causal(b, in[0], in[1], in[2]);
}

static void backward(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    (void)with;
    b->api->op(b, TN_OP_CONV1D_CAUSAL_BWD, in, 4, NULL, 0, out, 2, TN_HERE);
}

/* Two channels: x = 1 2 3 4 and 10 20 30 40; w = (1 10 100) and (1 0 0). The
 * last tap is the current row's. */
static const double x[] = {1, 10, 2, 20, 3, 30, 4, 40};
static const double w[] = {1, 10, 100, 1, 0, 0};
static const double history[] = {7, 70, 8, 80};

static void the_last_tap_sees_the_current_row(void **state)
{
    (void)state;
    const double want[] = {100, 0, 210, 0, 321, 10, 432, 20};
    tn_rig_case c = {.out_count = 1, .describe = forward};
    give(&c, x, SHAPE(1, 4, 2));
    give(&c, w, SHAPE(2, 3));
    gives(&c, want, 8, 0);
}

/* Row 0: 1*7 + 10*8 + 100*1; channel 1 looks two rows back. */
static void history_stands_before_row_zero(void **state)
{
    (void)state;
    const double want[] = {187, 70, 218, 80, 321, 10, 432, 20};
    tn_rig_case c = {.out_count = 1, .describe = forward_with_history};
    give(&c, x, SHAPE(1, 4, 2));
    give(&c, w, SHAPE(2, 3));
    give(&c, history, SHAPE(1, 2, 2));
    gives(&c, want, 8, 0);
}

/* dy = 1 everywhere. dx[t] sums the taps whose row is there; dw[k]
 * sums the rows that tap k saw: 7 8 1 2, 8 1 2 3, 1 2 3 4 */
static void gradients_as_worked_by_hand(void **state)
{
    (void)state;
    static const double dy[] = {1, 1, 1, 1, 1, 1, 1, 1};
    const double want[] = {111, 1,  111, 1,  110, 0,   100,
                           0,   18, 14,  10, 180, 140, 100};
    tn_rig_case c = {.out_count = 2, .describe = backward};
    give(&c, dy, SHAPE(1, 4, 2));
    give(&c, x, SHAPE(1, 4, 2));
    give(&c, w, SHAPE(2, 3));
    give(&c, history, SHAPE(1, 2, 2));
    gives(&c, want, 14, 0);
}

/* ---- costs and refusals ---- */

static void every_tap_costs_two(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F32);
    const tn_tensor y =
        tn_conv1d_causal(&g->builder, leaf_of(g, SHAPE(2, 7, 5)),
                         leaf_of(g, SHAPE(5, 4)), TN_NONE);
    tn_assert_near(cost_of(g, y), 2.0 * 2 * 7 * 5 * 4, 0.0);
    tni_graph_destroy(g);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F32);
    tn_conv1d_causal(&g->builder, leaf_of(g, SHAPE(2, 7, 5)),
                     leaf_of(g, SHAPE(6, 4)), TN_NONE);
    refuses(g, "axis 0 of w (6, 4) has size 6, needs 5");
    g = tni_graph_create(TN_F32);
    tn_conv1d_causal(&g->builder, leaf_of(g, SHAPE(2, 7, 5)),
                     leaf_of(g, SHAPE(5, 1)), TN_NONE);
    refuses(g, "its last axis needs at least 2");
    g = tni_graph_create(TN_F32);
    tn_conv1d_causal(&g->builder, leaf_of(g, SHAPE(2, 7, 5)),
                     leaf_of(g, SHAPE(5, 4)), leaf_of(g, SHAPE(2, 4, 5)));
    refuses(g, "axis 1 of history (2, 4, 5) has size 4, needs 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_tap_sees_the_current_row),
        cmocka_unit_test(history_stands_before_row_zero),
        cmocka_unit_test(gradients_as_worked_by_hand),
        cmocka_unit_test(every_tap_costs_two),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
