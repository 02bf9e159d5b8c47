/*
 * test_map_gradient.c - gradients of map nodes, run over single elements.
 *
 * What the machine computes for the nodes that a gradient appended must be what
 * central differences say, however the derivative had to be split.
 */
#include "tn_test.h"

#include "../map_machine.h"
#include "graph/graph.h"
#include "graph/program.h"

enum { MOST_VALUES = 4096 };

/* One map over scalars and what flows back through it. */
typedef struct rig {
    tni_graph *g;
    tn_tensor in[TN_MAP_MAX_INPUTS], dout[TN_MAP_MAX_OUTPUTS];
    tn_tensor din[TN_MAP_MAX_INPUTS];
    size_t first; /* node that the gradient appended */
} rig;

static tn_tensor scalar(tni_graph *g)
{
    const int64_t one[] = {1};
    return tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_F64, 1, one,
                          NULL);
}

static rig reverse(const tn_program *p, uint32_t wanted, uint32_t no_gradient)
{
    rig r = {.g = tni_graph_create(TN_F64)};
    tn_builder *b = &r.g->builder;
    tn_map_attr attr;
    tn_tensor out[TN_MAP_MAX_OUTPUTS];
    memset(&attr, 0, sizeof attr);
    attr.program = *p;
    for (uint32_t i = 0; i < p->input_count; i++)
        r.in[i] = scalar(r.g);
    for (uint32_t i = 0; i < p->output_count; i++)
        r.dout[i] = no_gradient >> i & 1u ? TN_NONE : scalar(r.g);
    tn_map_at(b, &attr, r.in, out, TN_HERE);
    const tn_op_node node = {&attr, r.in, out, p->input_count, p->output_count};
    r.first = r.g->node_count;
    tni_op_desc(TN_OP_MAP)->gradient(b, &node, r.dout, wanted, r.din);
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_graph_status(r.g, &err), err);
    tn_assert_ok_err(tni_graph_verify(r.g, &err), err);
    return r;
}

/* Run every map of the graph; leaves hold what `value` says. */
static void run(const rig *r, double *value)
{
    assert_true(r->g->value_count < MOST_VALUES);
    for (size_t n = 0; n < r->g->node_count; n++) {
        const tni_node *node = &r->g->nodes[n];
        double in[TN_MAP_MAX_INPUTS], out[TN_MAP_MAX_OUTPUTS];
        if (node->desc->tier == TN_TIER_LEAF)
            continue;
        assert_int_equal(node->desc->number, TN_OP_MAP);
        for (uint32_t i = 0; i < node->in_count; i++)
            in[i] = value[node->in[i].id];
        map_machine_run(&((const tn_map_attr *)node->attr)->program, in, out);
        for (uint32_t i = 0; i < node->out_count; i++)
            value[node->out[i].id] = out[i];
    }
}

/* sum of weight[k] output[k], differentiated numerically */
static double difference(const tn_program *p, const double *x,
                         const double *weight, uint32_t wrt)
{
    static const double step[] = {-2, -1, 1, 2}, share[] = {1, -8, 8, -1};
    const double h = 1e-4;
    double at[TN_MAP_MAX_INPUTS], y[TN_MAP_MAX_OUTPUTS], sum = 0.0;
    for (int i = 0; i < 4; i++) {
        memcpy(at, x, p->input_count * sizeof *x);
        at[wrt] += step[i] * h;
        map_machine_run(p, at, y);
        for (uint32_t k = 0; k < p->output_count; k++)
            sum += share[i] * weight[k] * y[k];
    }
    return sum / (12.0 * h);
}

static void assert_right(const rig *r, const tn_program *p, uint32_t wanted,
                         const double *x, const double *weight)
{
    static double value[MOST_VALUES];
    for (uint32_t i = 0; i < p->input_count; i++)
        value[r->in[i].id] = x[i];
    for (uint32_t i = 0; i < p->output_count; i++)
        if (r->dout[i].id)
            value[r->dout[i].id] = weight[i];
    run(r, value);
    for (uint32_t i = 0; i < p->input_count; i++) {
        const double want =
            wanted >> i & 1u ? difference(p, x, weight, i) : 0.0;
        const double got = r->din[i].id ? value[r->din[i].id] : 0.0;
        tn_assert_near(got, want, 1e-8 * (1.0 + fabs(want)));
    }
}

/* ---- housekeeping ---- */

static const tn_program sum = {
    .input_count = 2,
    .output_count = 1,
    .instruction_count = 3,
    .output = {2},
    .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                    {TN_MAP_INPUT, 1, 0, 0},
                    {TN_MAP_ADD, 0, 1, 0}},
};

static void the_gradient_of_a_sum_is_the_incoming_tensor(void **state)
{
    (void)state;
    rig r = reverse(&sum, 3, 0);
    assert_int_equal(r.din[0].id, r.dout[0].id);
    assert_int_equal(r.din[1].id, r.dout[0].id);
    assert_int_equal(r.g->node_count, r.first);
    tni_graph_destroy(r.g);
}

static void unwanted_and_flat_inputs_get_none(void **state)
{
    (void)state;
    tn_program sign = sum;
    sign.instruction[2] = (tn_instruction){TN_MAP_LT, 0, 1, 0};
    rig r = reverse(&sign, 3, 0);
    assert_int_equal(r.din[0].id, 0);
    assert_int_equal(r.din[1].id, 0);
    tni_graph_destroy(r.g);
    r = reverse(&sum, 2, 0);
    assert_int_equal(r.din[0].id, 0);
    assert_int_equal(r.din[1].id, r.dout[0].id);
    tni_graph_destroy(r.g);
}

/* d (x y) / dx = g y reads g and y: x need not be kept for it. */
static void a_gradient_reads_only_what_it_needs(void **state)
{
    (void)state;
    tn_program product = sum;
    product.instruction[2] = (tn_instruction){TN_MAP_MUL, 0, 1, 0};
    rig r = reverse(&product, 1, 0);
    assert_int_equal(r.g->node_count, r.first + 1);
    assert_int_equal(r.g->nodes[r.first].in_count, 2);
    assert_int_equal(r.g->nodes[r.first].in[0].id, r.in[1].id);
    assert_int_equal(r.g->nodes[r.first].in[1].id, r.dout[0].id);
    tni_graph_destroy(r.g);
}

/* d tanh(x + y): the same for x and y, so it is stored once. */
static void inputs_of_a_sum_share_their_gradient(void **state)
{
    (void)state;
    tn_program p = sum;
    p.instruction[p.instruction_count++] =
        (tn_instruction){TN_MAP_TANH, 2, 0, 0};
    p.output[0] = 3;
    rig r = reverse(&p, 3, 0);
    assert_int_equal(r.din[0].id, r.din[1].id);
    assert_int_equal(r.g->node_count, r.first + 1);
    assert_int_equal(r.g->nodes[r.first].out_count, 1);
    const double at[] = {0.3, -0.8}, seen[] = {1.7};
    assert_right(&r, &p, 3, at, seen);
    tni_graph_destroy(r.g);
}

/* ---- splitting ---- */

static tn_program chain(uint8_t inputs, uint8_t outputs, uint8_t length)
{
    static const tn_map_op turn[] = {TN_MAP_TANH, TN_MAP_MUL,    TN_MAP_SIN,
                                     TN_MAP_FMA,  TN_MAP_ERF,    TN_MAP_ADD,
                                     TN_MAP_COS,  TN_MAP_SIGMOID};
    tn_program p = {.input_count = inputs,
                    .output_count = outputs,
                    .constant_count = 1,
                    .constant = {1.25}};
    for (uint8_t i = 0; i < inputs; i++)
        p.instruction[i] = (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    p.instruction[inputs] = (tn_instruction){TN_MAP_CONST, 0, 0, 0};
    for (uint8_t i = (uint8_t)(inputs + 1); i < length; i++) {
        const uint8_t other = (uint8_t)((i * 7) % inputs);
        const uint8_t before = i == inputs + 1 ? 0 : (uint8_t)(i - 1);
        p.instruction[i] = (tn_instruction){turn[i % 8], before, other, other};
    }
    p.instruction_count = length;
    for (uint8_t i = 0; i < outputs; i++) /* some inside the chain */
        p.output[i] = (uint8_t)(length - 1 - 3 * i);
    return p;
}

static const double point[] = {0.3,  -0.7, 0.9, 0.2, -0.4, 0.6,
                               -0.1, 0.8,  0.5, 0.7, -0.3, 0.1};
static const double weight[] = {0.7, -1.3, 0.4, 0.9};

static void more_inputs_than_outputs_fit_are_split(void **state)
{
    (void)state;
    const tn_program p = chain(8, 1, 20);
    rig r = reverse(&p, 255, 0);
    assert_true(r.g->node_count >= r.first + 2);
    assert_right(&r, &p, 255, point, weight);
    tni_graph_destroy(r.g);
}

static void programs_too_long_for_one_derivative_go_by_instruction(void **state)
{
    (void)state;
    for (uint8_t outputs = 1; outputs <= 4; outputs++) {
        const tn_program p = chain(4, outputs, 64);
        tn_program d;
        assert_int_equal(tni_program_gradient(&p, 1, &d), TN_EUNSUPPORTED);
        rig r = reverse(&p, 11, 0);
        assert_right(&r, &p, 11, point, weight);
        tni_graph_destroy(r.g);
    }
}

static void twelve_inputs_leave_no_room_and_still_differentiate(void **state)
{
    (void)state;
    const tn_program p = chain(12, 1, 30);
    rig r = reverse(&p, 4095, 0);
    assert_right(&r, &p, 4095, point, weight);
    tni_graph_destroy(r.g);
}

static void outputs_without_a_gradient_are_left_out(void **state)
{
    (void)state;
    const tn_program p = chain(3, 3, 18);
    const double seen[] = {0.7, 0.0, 0.4};
    rig r = reverse(&p, 7, 1u << 1);
    assert_right(&r, &p, 7, point, seen);
    tni_graph_destroy(r.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_of_a_sum_is_the_incoming_tensor),
        cmocka_unit_test(unwanted_and_flat_inputs_get_none),
        cmocka_unit_test(a_gradient_reads_only_what_it_needs),
        cmocka_unit_test(inputs_of_a_sum_share_their_gradient),
        cmocka_unit_test(more_inputs_than_outputs_fit_are_split),
        cmocka_unit_test(
            programs_too_long_for_one_derivative_go_by_instruction),
        cmocka_unit_test(twelve_inputs_leave_no_room_and_still_differentiate),
        cmocka_unit_test(outputs_without_a_gradient_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
