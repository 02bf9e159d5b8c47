/*
 * test_ssd.c - the state space scan by hand; that chunks are only a way of
 * computing it, whatever their size; that nothing overflows and nothing grows
 * with the square of the length.
 */
#include "graph/passes.h"
#include "ops_rig.h"

/* ---- by hand ---- */

enum { X, DT, A, BM, CM, STATE };

typedef struct call {
    int64_t chunk_size;
    int starts; /* from a state, which is in[5] */
} call;

static void forward(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                    const void *with)
{
    const call *how = with;
    out[0] = tn_ssd_scan(b, in[X], in[DT], in[A], in[BM], in[CM],
                         how->starts ? in[STATE] : TN_NONE, how->chunk_size,
                         &out[1]);
}

/* dy, x, dt, A, Bm, Cm */
static void backward(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    const tn_ssd_attr attr = {((const call *)with)->chunk_size};
    b->api->op(b, TN_OP_SSD_SCAN_BWD, in, 6, &attr, (uint32_t)sizeof attr, out,
               5, TN_HERE);
}

/* One head, one state: A = -ln 2, so a step of dt keeps 2^-dt.
 *     S = 1;  1/2 + 2 = 2.5;  2.5/4 + 2 * 3 * 2 = 12.625
 *     y = C S = 1, 5, 12.625 */
static const double ln2 = 0.69314718055994530942;
static const double minus_ln2[] = {-0.69314718055994530942};
static const double x[] = {1, 2, 3}, dt[] = {1, 1, 2};
static const double Bm[] = {1, 1, 2}, Cm[] = {1, 2, 1};

static void give_scan(tn_rig_case *c)
{
    give(c, x, SHAPE(1, 3, 1, 1));
    give(c, dt, SHAPE(1, 3, 1));
    give(c, minus_ln2, SHAPE(1));
    give(c, Bm, SHAPE(1, 3, 1, 1));
    give(c, Cm, SHAPE(1, 3, 1, 1));
}

static void a_scan_as_worked_by_hand(void **state)
{
    (void)state;
    const double want[] = {1, 5, 12.625, 12.625};
    for (int64_t chunk = 0; chunk < 5; chunk++) {
        const call how = {chunk, 0};
        tn_rig_case c = {.out_count = 2, .describe = forward, .with = &how};
        give_scan(&c);
        gives(&c, want, 4, 1e-14);
    }
}

/* From S = 8: 4, 2 and 1/2 more. */
static void a_state_is_carried_on(void **state)
{
    (void)state;
    static const double eight[] = {8};
    const double want[] = {5, 9, 13.125, 13.125};
    const call how = {2, 1};
    tn_rig_case c = {.out_count = 2, .describe = forward, .with = &how};
    give_scan(&c);
    give(&c, eight, SHAPE(1, 1, 1, 1));
    gives(&c, want, 4, 1e-14);
}

/* dy = 1. The gradient g of S from the end: 1; 2 + 1/4 = 2.25;
 * 1 + 2.25/2 = 2.125. With da = e^(dt A) g S_before = 0, 1.125, 0.625:
 *     dx = dt g B, dB = dt g x, dC = S, dA = dt da, ddt = g B x + A da */
static void gradients_as_worked_by_hand(void **state)
{
    (void)state;
    static const double dy[] = {1, 1, 1};
    const double want[] = {2.125,
                           2.25,
                           4, /* dx */
                           2.125,
                           4.5 - 1.125 * ln2,
                           6 - 0.625 * ln2, /* ddt */
                           2.375,           /* dA */
                           2.125,
                           4.5,
                           6, /* dB */
                           1,
                           2.5,
                           12.625}; /* dC */
    for (int64_t chunk = 0; chunk < 5; chunk++) {
        const call how = {chunk, 0};
        tn_rig_case c = {.out_count = 5, .describe = backward, .with = &how};
        give(&c, dy, SHAPE(1, 3, 1, 1));
        give_scan(&c);
        gives(&c, want, 13, 1e-14);
    }
}

/* ---- chunks ---- */

enum { B = 2, T = 12, H = 4, P = 3, G = 2, N = 5 };
enum { Y = B * T * H * P, LAST = B * H * P * N };

static void draw_leaves(tn_rig_case *c, int64_t steps)
{
    const tn_rig_leaf leaves[] = {
        {.rank = 4, .shape = {B, steps, H, P}},
        {.rank = 3, .shape = {B, steps, H}, .low = 0.01, .high = 1},
        {.rank = 1, .shape = {H}, .low = -2, .high = -0.1},
        {.rank = 4, .shape = {B, steps, G, N}},
        {.rank = 4, .shape = {B, steps, G, N}},
        {.rank = 4, .shape = {B, H, P, N}},
    };
    c->seed = 7;
    memcpy(c->in + c->in_count, leaves, sizeof leaves);
    c->in_count += sizeof leaves / sizeof leaves[0];
}

/* One step at a time, dividing, not dividing, all at once, more than that. */
static void the_chunk_size_changes_no_value(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 256, 0};
    double want[Y + LAST], got[Y + LAST];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const call how = {sizes[i], i % 2 == 0};
        tn_rig_case c = {.out_count = 2, .describe = forward, .with = &how};
        draw_leaves(&c, T);
        run_on(by_formula, TN_F64, &c, want);
        run_on(by_primitives, TN_F64, &c, got);
        tn_assert_close_double(got, want, Y + LAST, 1e-13, 1e-13);
    }
}

static void the_chunk_size_changes_no_gradient(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 3, 5, 11, 12, 256};
    enum { ALL = Y + B * T * H + H + 2 * B * T * G * N };
    double want[ALL], got[ALL];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const call how = {sizes[i], 0};
        tn_rig_case c = {.out_count = 5, .describe = backward, .with = &how};
        c.in[c.in_count++] =
            (tn_rig_leaf){.rank = 4, .shape = {B, T, H, P}}; /* dy */
        draw_leaves(&c, T);
        c.in_count--; /* no state */
        run_on(by_formula, TN_F64, &c, want);
        run_on(by_primitives, TN_F64, &c, got);
        tn_assert_close_double(got, want, ALL, 1e-12, 1e-12);
    }
}

/* Steps that keep e^-30 or more: differences above the diagonal reach e^330,
 * far beyond what f32 holds. */
static void strong_decays_neither_overflow_nor_vanish_as_nan(void **state)
{
    (void)state;
    double want[Y + LAST], got[Y + LAST];
    const call how = {0, 0};
    tn_rig_case c = {.out_count = 2, .describe = forward, .with = &how};
    draw_leaves(&c, T);
    c.in[DT].low = 0;
    c.in[DT].high = 2;
    c.in[A].low = -15;
    c.in[A].high = -5;
    run_on(by_formula, TN_F64, &c, want);
    run_on(by_primitives, TN_F32, &c, got);
    tn_assert_close_double(got, want, Y + LAST, 2e-5, 0);
}

static int64_t transient_bytes(int64_t steps)
{
    const call how = {8, 0};
    const tn_rig_how f32 = {.dtype = TN_F32};
    tn_error err = TN_ERROR_NONE;
    tn_rig_case c = {.out_count = 1,
                     .describe = forward,
                     .with = &how,
                     .wrt = 1u << X | 1u << DT | 1u << A | 1u << BM | 1u << CM};
    draw_leaves(&c, steps);
    tn_rig *rig = tn_rig_open("reference", by_primitives);
    tn_rig_program *p = tn_rig_build(rig, &c, &f32, &err);
    tn_assert_ok_err(err.status, err);
    const int64_t bytes = tn_rig_plan(p)->arena_bytes[TN_ARENA_TRANSIENT];
    tn_rig_free(p);
    tn_rig_close(rig);
    return bytes;
}

static void memory_grows_with_the_length_and_not_its_square(void **state)
{
    (void)state;
    const double ratio =
        (double)transient_bytes(256) / (double)transient_bytes(128);
    assert_true(ratio > 1.8 && ratio < 2.3);
}

/* ---- costs and refusals ---- */

static tn_tensor scan_of(tni_graph *g, int64_t heads, int64_t groups,
                         int64_t chunk_size, tn_tensor first)
{
    return tn_ssd_scan(&g->builder, leaf_of(g, SHAPE(B, T, heads, P)),
                       leaf_of(g, SHAPE(B, T, heads)), leaf_of(g, SHAPE(heads)),
                       leaf_of(g, SHAPE(B, T, groups, N)),
                       leaf_of(g, SHAPE(B, T, groups, N)), first, chunk_size,
                       NULL);
}

/* A row meets (3 + 1) / 2 rows of its chunk, for each group and each head, and
 * two states; backward three times and twice, and five. */
static void costs_are_those_of_chunks(void **state)
{
    (void)state;
    const double rows = 2.0 * B * T;
    tni_graph *g = tni_graph_create(TN_F32);
    const tn_tensor y = scan_of(g, H, G, 3, TN_NONE);
    tn_assert_near(cost_of(g, y),
                   rows * (2.0 * (G * N + H * P) + 2.0 * H * P * N), 0.0);
    const tni_node n = g->nodes[tni_value_of(g, y)->node];
    const tn_op_node node = {n.attr, n.in, n.out, n.in_count, n.out_count};
    const tn_tensor dout[2] = {y, TN_NONE};
    tn_tensor din[6] = {{0}};
    n.desc->gradient(&g->builder, &node, dout, 31, din);
    tn_assert_near(cost_of(g, din[0]),
                   rows * (2.0 * (3 * G * N + 2 * H * P) + 5.0 * H * P * N),
                   0.0);
    tni_graph_destroy(g);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F32);
    scan_of(g, 5, 2, 0, TN_NONE);
    refuses(g, "5 heads are no multiple of 2 groups");
    g = tni_graph_create(TN_F32);
    scan_of(g, H, G, -1, TN_NONE);
    refuses(g, "chunk_size -1 must not be below 0");
    g = tni_graph_create(TN_F32);
    scan_of(g, H, G, 0, leaf_of(g, SHAPE(B, H, N, P)));
    refuses(g, "state (2, 4, 5, 3) and the last state (2, 4, 3, 5) have "
               "different shapes");
}

static void a_gradient_through_a_given_state_is_refused(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_NONE;
    tni_graph *g = tni_graph_create(TN_F32);
    const tn_tensor first = leaf_of(g, SHAPE(B, H, P, N));
    const tn_tensor y = scan_of(g, H, G, 0, first);
    const tn_tensor dy = leaf_of(g, SHAPE(B, T, H, P));
    tn_tensor d = TN_NONE;
    assert_int_not_equal(tni_differentiate(g, &y, &dy, 1, &first, 1, &d, &err),
                         TN_OK);
    tn_assert_error_says(err, "no gradient through its first and last state");
    tni_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_as_worked_by_hand),
        cmocka_unit_test(a_state_is_carried_on),
        cmocka_unit_test(gradients_as_worked_by_hand),
        cmocka_unit_test(the_chunk_size_changes_no_value),
        cmocka_unit_test(the_chunk_size_changes_no_gradient),
        cmocka_unit_test(strong_decays_neither_overflow_nor_vanish_as_nan),
        cmocka_unit_test(memory_grows_with_the_length_and_not_its_square),
        cmocka_unit_test(costs_are_those_of_chunks),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(a_gradient_through_a_given_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
