/*
 * test_program.c - the algebra of map programs, held against a machine that
 * runs them one element at a time in double.
 */
#include "tn_test.h"

#include "graph/program.h"
#include "map_machine.h"

/* ---- random programs ---- */

static uint64_t seed = 1;

static uint32_t dice(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static double number(void)
{
    return (double)dice(4000) / 1000.0 - 2.0;
}

static const tn_map_op every_op[] = {
#define XX(name, number, arity, text, meaning) number,
#include <tenon/map.def>
#undef XX
};

/* Smooth everywhere, so that finite differences can judge. */
static const tn_map_op smooth[] = {
    TN_MAP_TANH, TN_MAP_SIGMOID, TN_MAP_SIN, TN_MAP_COS, TN_MAP_ADD,
    TN_MAP_SUB,  TN_MAP_MUL,     TN_MAP_FMA, TN_MAP_ERF, TN_MAP_NEG,
};

/* `length` instructions over `inputs` inputs; random ops of the list. */
static tn_program random_program(const tn_map_op *of, uint32_t of_count,
                                 uint8_t inputs, uint8_t length,
                                 uint8_t outputs)
{
    tn_program p = {.input_count = inputs, .output_count = outputs};
    for (uint8_t i = 0; i < 4; i++)
        p.constant[p.constant_count++] = i == 3 ? 1.0 : number();
    for (uint8_t i = 0; i < inputs; i++)
        p.instruction[p.instruction_count++] =
            (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    for (uint8_t i = 0; i < 4; i++)
        p.instruction[p.instruction_count++] =
            (tn_instruction){TN_MAP_CONST, i, 0, 0};
    while (p.instruction_count < length) {
        const uint8_t n = p.instruction_count;
        tn_instruction s = {of[dice(of_count)], (uint8_t)dice(n),
                            (uint8_t)dice(n), (uint8_t)dice(n)};
        if (tni_instruction_arity(s.op, NULL) == 0)
            s.a = (uint8_t)dice(inputs < 4 ? inputs : 4), s.b = 2;
        p.instruction[p.instruction_count++] = s;
    }
    for (uint8_t i = 0; i < outputs; i++)
        p.output[i] = (uint8_t)(length - 1 - i);
    return p;
}

/* Equal to the bit, or both NaN. */
static void assert_same(const double *got, const double *want, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!(isnan(got[i]) && isnan(want[i])) && got[i] != want[i])
            fail_msg("output %u: %.17g, want %.17g", i, got[i], want[i]);
}

/* ---- checking ---- */

/* relu(x) = max(x, 0) */
static const tn_program relu = {
    .input_count = 1,
    .output_count = 1,
    .instruction_count = 3,
    .constant_count = 1,
    .output = {2},
    .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                    {TN_MAP_CONST, 0, 0, 0},
                    {TN_MAP_MAX, 0, 1, 0}},
};

static void assert_refused(const tn_program *p, const char *sentence)
{
    tn_error err = TN_ERROR_NONE;
    assert_int_not_equal(tni_program_check(p, &err), TN_OK);
    tn_assert_error_says(err, sentence);
}

static void check_names_what_is_wrong(void **state)
{
    (void)state;
    tn_program p = relu;
    tn_assert_ok(tni_program_check(&p, NULL));
    p.instruction[2].b = 2;
    assert_refused(&p, "instruction 2 (max) reads register 2, which is not yet "
                       "defined");
    p = relu;
    p.instruction[0].a = 1;
    assert_refused(&p, "instruction 0 reads input 1 of 1");
    p = relu;
    p.instruction[1].a = 4;
    assert_refused(&p, "instruction 1 reads constant 4 of 1");
    p = relu;
    p.instruction[0] = (tn_instruction){TN_MAP_INDEX, 6, 0, 0};
    assert_refused(&p, "instruction 0 names axis 6, above 5");
    p = relu;
    p.instruction[2].op = 250;
    assert_refused(&p, "instruction 2 has the unknown number 250");
    p = relu;
    p.output[0] = 3;
    assert_refused(&p, "output 0 is register 3 of 3");
    p = relu;
    p.output_count = 5;
    assert_refused(&p, "a program of 5 outputs, needs 1 to 4");
    p = relu;
    p.instruction_count = 65;
    assert_refused(&p, "a program of 65 instructions, needs 1 to 64");
}

/* ---- simplifying ---- */

/* (x * 1 + y) + (y + x): one addition of one sum to itself */
static void simplify_finds_equal_and_needless_instructions(void **state)
{
    (void)state;
    tn_program p = {
        .input_count = 2,
        .output_count = 1,
        .instruction_count = 8,
        .constant_count = 1,
        .output = {6},
        .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                        {TN_MAP_INPUT, 1, 0, 0},
                        {TN_MAP_CONST, 0, 0, 0},
                        {TN_MAP_MUL, 0, 2, 0},
                        {TN_MAP_ADD, 3, 1, 0},
                        {TN_MAP_ADD, 1, 0, 0},
                        {TN_MAP_ADD, 4, 5, 0},
                        {TN_MAP_EXP, 6, 0, 0}},
        .constant = {1.0},
    };
    tni_program_simplify(&p);
    assert_int_equal(p.instruction_count, 4);
    assert_int_equal(p.constant_count, 0);
    assert_int_equal(p.input_count, 2);
}

static void simplify_folds_constants(void **state)
{
    (void)state;
    tn_program p = relu;
    p.instruction[0] = (tn_instruction){TN_MAP_CONST, 0, 0, 0};
    p.constant[0] = 3.0;
    p.instruction[2] = (tn_instruction){TN_MAP_MUL, 0, 1, 0};
    tni_program_simplify(&p);
    assert_int_equal(p.instruction_count, 1);
    assert_int_equal(p.instruction[0].op, TN_MAP_CONST);
    tn_assert_near(p.constant[0], 9.0, 0.0);
}

static void simplified_programs_compute_the_same(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        const tn_program p = random_program(
            every_op, sizeof every_op / sizeof every_op[0], 5, 40, 3);
        tn_program q = p;
        tni_program_simplify(&q);
        tn_assert_ok(tni_program_check(&q, NULL));
        assert_true(q.instruction_count <= p.instruction_count);
        double x[5], want[3], got[3];
        for (int i = 0; i < 5; i++)
            x[i] = number();
        map_machine_run(&p, x, want);
        map_machine_run(&q, x, got);
        assert_same(got, want, 3);
    }
}

/* ---- differentiating ---- */

/* Points inside the domain of every instruction and away from its corners. */
static const double places[][3] = {
    {0.7, 1.3, 0.4}, {1.9, 0.6, -0.8}, {0.25, 2.4, 1.1}, {2.6, 0.9, 3.0}};

static double gradient_at(const tn_program *p, uint32_t wrt, const double *x,
                          double g)
{
    tn_program d;
    double in[TN_MAP_MAX_INPUTS], out;
    tn_assert_ok(tni_program_gradient(p, 1u << wrt, &d));
    tn_assert_ok(tni_program_check(&d, NULL));
    memcpy(in, x, p->input_count * sizeof *x);
    in[p->input_count] = g;
    map_machine_run(&d, in, &out);
    return out;
}

static double difference_at(const tn_program *p, uint32_t wrt, const double *x)
{
    const double h = 1e-5;
    double at[TN_MAP_MAX_INPUTS], y[5];
    static const double step[] = {-2, -1, 1, 2};
    for (int i = 0; i < 4; i++) {
        memcpy(at, x, p->input_count * sizeof *x);
        at[wrt] += step[i] * h;
        map_machine_run(p, at, &y[i]);
    }
    return (y[0] - 8.0 * y[1] + 8.0 * y[2] - y[3]) / (12.0 * h);
}

static tn_program alone(tn_map_op op)
{
    const int arity = tni_instruction_arity(op, NULL);
    tn_program p = {.input_count = (uint8_t)arity,
                    .output_count = 1,
                    .instruction_count = (uint8_t)(arity + 1),
                    .output = {(uint8_t)arity}};
    for (uint8_t i = 0; i < arity; i++)
        p.instruction[i] = (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    p.instruction[arity] = (tn_instruction){op, 0, 1, 2};
    return p;
}

static void every_instruction_has_its_derivative(void **state)
{
    (void)state;
    int tried = 0;
    for (size_t k = 0; k < sizeof every_op / sizeof every_op[0]; k++) {
        if (tni_instruction_arity(every_op[k], NULL) == 0)
            continue;
        const tn_program p = alone(every_op[k]);
        for (size_t at = 0; at < sizeof places / sizeof places[0]; at++)
            for (uint32_t wrt = 0; wrt < p.input_count; wrt++, tried++) {
                const double want = 3.0 * difference_at(&p, wrt, places[at]);
                const double got = gradient_at(&p, wrt, places[at], 3.0);
                if (!(fabs(got - want) <= 1e-8 * (1.0 + fabs(want)))) {
                    const char *name;
                    tni_instruction_arity(p.instruction[p.output[0]].op, &name);
                    fail_msg("%s, operand %u: %.12g, differences say %.12g",
                             name, wrt, got, want);
                }
            }
    }
    assert_true(tried > 150);
}

static void derivatives_keep_the_promises_at_corners(void **state)
{
    (void)state;
    const double zeros[3] = {0.0, 0.0, 0.0}, ones[3] = {1.0, 1.0, 1.0};
    const tn_program minimum = alone(TN_MAP_MIN), maximum = alone(TN_MAP_MAX);
    const tn_program power = alone(TN_MAP_POW), absolute = alone(TN_MAP_ABS);
    tn_assert_near(gradient_at(&relu, 0, zeros, 5.0), 0.0, 0.0);
    tn_assert_near(gradient_at(&relu, 0, ones, 5.0), 5.0, 0.0);
    /* a tie goes to the second, once */
    tn_assert_near(gradient_at(&maximum, 0, ones, 5.0), 0.0, 0.0);
    tn_assert_near(gradient_at(&maximum, 1, ones, 5.0), 5.0, 0.0);
    tn_assert_near(gradient_at(&minimum, 0, ones, 5.0), 0.0, 0.0);
    tn_assert_near(gradient_at(&minimum, 1, ones, 5.0), 5.0, 0.0);
    tn_assert_near(gradient_at(&absolute, 0, zeros, 5.0), 0.0, 0.0);
    tn_assert_near(gradient_at(&power, 0, zeros, 5.0), 0.0, 0.0); /* 0^0 */
    tn_assert_near(gradient_at(&power, 1, zeros, 5.0), 0.0, 0.0);
}

/* All inputs, two outputs with their own incoming gradients. */
static void random_programs_differentiate(void **state)
{
    (void)state;
    int fitted = 0;
    for (int round = 0; round < 400; round++) {
        const uint8_t length = (uint8_t)(9 + dice(12));
        const tn_program p = random_program(
            smooth, sizeof smooth / sizeof smooth[0], 3, length, 2);
        double x[5] = {number(), number(), number(), 0.7, -1.3};
        tn_program d, one = p, two = p;
        double got[3], want[3];
        if (tni_program_gradient(&p, 7, &d) != TN_OK)
            continue;
        fitted++;
        one.output_count = 1;
        two.output_count = 1;
        two.output[0] = p.output[1];
        map_machine_run(&d, x, got);
        for (uint32_t i = 0; i < 3; i++)
            want[i] = 0.7 * difference_at(&one, i, x) -
                      1.3 * difference_at(&two, i, x);
        tn_assert_close_double(got, want, 3, 1e-7, 1e-7);
    }
    assert_true(fitted > 300);
}

static void
a_gradient_that_does_not_fit_says_so_and_writes_nothing(void **state)
{
    (void)state;
    tn_program p = random_program(smooth, 3, 2, 64, 1);
    tn_program wide = {.input_count = 12,
                       .output_count = 1,
                       .instruction_count = 1,
                       .instruction = {{TN_MAP_INPUT, 0, 0, 0}}};
    tn_program d, untouched;
    for (uint8_t i = 6; i < 64; i++) /* tanh(tanh(...)) */
        p.instruction[i] =
            (tn_instruction){TN_MAP_TANH, (uint8_t)(i == 6 ? 0 : i - 1), 0, 0};
    memset(&d, 0x5a, sizeof d);
    memset(&untouched, 0x5a, sizeof untouched);
    assert_int_equal(tni_program_gradient(&p, 1, &d), TN_EUNSUPPORTED);
    assert_int_equal(tni_program_gradient(&wide, 1, &d), TN_EUNSUPPORTED);
    assert_memory_equal(&d, &untouched, sizeof d);
}

/* ---- joining ---- */

static void joined_programs_compute_the_composition(void **state)
{
    (void)state;
    for (int round = 0; round < 1000; round++) {
        const uint32_t ops = sizeof every_op / sizeof every_op[0];
        const tn_program consumer = random_program(every_op, ops, 4, 22, 2);
        const tn_program producer = random_program(every_op, ops, 3, 20, 2);
        const uint32_t slot = dice(4), output = dice(2), keep = dice(4);
        tn_program joined;
        uint8_t from[2 * TN_MAP_MAX_INPUTS];
        double x[4], z[3], in[8], made[2], want[4], got[4];
        int reads_random = 0;
        for (uint32_t i = 0; i < consumer.instruction_count; i++)
            reads_random |= consumer.instruction[i].op == TN_MAP_RANDOM &&
                            consumer.instruction[i].a == slot;
        if (reads_random)
            continue; /* seeds are not computed by maps */
        tn_assert_ok(tni_program_join(&consumer, slot, &producer, output, keep,
                                      &joined, from));
        tn_assert_ok(tni_program_check(&joined, NULL));
        for (int i = 0; i < 4; i++)
            x[i] = number();
        for (int i = 0; i < 3; i++)
            z[i] = number();
        map_machine_run(&producer, z, made);
        x[slot] = made[output];
        map_machine_run(&consumer, x, want);
        uint32_t n = 2;
        for (uint32_t i = 0; i < 2; i++)
            if (keep >> i & 1u)
                want[n++] = made[i];
        assert_int_equal(joined.input_count, 6);
        assert_int_equal(joined.output_count, n);
        for (uint32_t i = 0; i < joined.input_count; i++)
            in[i] = from[i] < 16 ? x[from[i]] : z[from[i] - 16];
        map_machine_run(&joined, in, got);
        assert_same(got, want, n);
    }
}

static void a_join_that_does_not_fit_says_so(void **state)
{
    (void)state;
    const tn_program consumer = random_program(smooth, 4, 2, 60, 3);
    const tn_program producer = random_program(smooth, 4, 2, 60, 2);
    tn_program joined;
    uint8_t from[2 * TN_MAP_MAX_INPUTS];
    /* five outputs */
    assert_int_equal(
        tni_program_join(&consumer, 0, &producer, 0, 3, &joined, from),
        TN_EUNSUPPORTED);
}

static void merged_inputs_are_one(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        const tn_program p = random_program(
            every_op, sizeof every_op / sizeof every_op[0], 5, 30, 2);
        const uint32_t keep = dice(4), drop = keep + 1 + dice(4 - keep);
        double x[5], less[4], want[2], got[2];
        tn_program q = p;
        for (int i = 0; i < 5; i++)
            x[i] = number();
        x[drop] = x[keep];
        for (uint32_t i = 0, n = 0; i < 5; i++)
            if (i != drop)
                less[n++] = x[i];
        tni_program_merge_inputs(&q, keep, drop);
        assert_int_equal(q.input_count, 4);
        map_machine_run(&p, x, want);
        map_machine_run(&q, less, got);
        assert_same(got, want, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_names_what_is_wrong),
        cmocka_unit_test(simplify_finds_equal_and_needless_instructions),
        cmocka_unit_test(simplify_folds_constants),
        cmocka_unit_test(simplified_programs_compute_the_same),
        cmocka_unit_test(every_instruction_has_its_derivative),
        cmocka_unit_test(derivatives_keep_the_promises_at_corners),
        cmocka_unit_test(random_programs_differentiate),
        cmocka_unit_test(
            a_gradient_that_does_not_fit_says_so_and_writes_nothing),
        cmocka_unit_test(joined_programs_compute_the_composition),
        cmocka_unit_test(a_join_that_does_not_fit_says_so),
        cmocka_unit_test(merged_inputs_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
