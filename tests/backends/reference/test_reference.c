/*
 * test_reference.c - the oracle against pencil and paper.
 *
 * Everything else is judged by this backend, so its kernels are called here
 * with plan nodes made by hand: no builder, no pass, numbers small enough to
 * work out in a comment.
 */
#include "tn_rig.h"

#include <tenon/philox.h>

#include "tn_rig_private.h"

enum { BYTES = 65536 };

#define NOT_A_NUMBER ((double)NAN)
#define INFINITE ((double)INFINITY)

/* One node over one arena; tensors lie one after the other in it. */
typedef struct bench {
    tn_rig *rig;
    tn_buffer *buffer;
    unsigned char *memory;
    int64_t used;
    tn_operand in[8], out[4];
    tn_plan_node node;
} bench;

static void setup(bench *t, tn_op op, const void *attr)
{
    tn_error err = TN_ERROR_NONE;
    memset(t, 0, sizeof *t);
    t->rig = tn_rig_open("reference", "{}");
    tn_assert_ok_err(
        t->rig->backend->alloc(t->rig->device, BYTES, &t->buffer, &err), err);
    t->memory = t->rig->backend->map(t->rig->device, t->buffer);
    t->node = (tn_plan_node){.struct_size = sizeof t->node,
                             .op = op,
                             .name = "op",
                             .attr = attr,
                             .in = t->in,
                             .out = t->out,
                             .file = "here.c",
                             .line = 7};
}

static void teardown(bench *t)
{
    t->rig->backend->free(t->rig->device, t->buffer);
    tn_rig_close(t->rig);
}

static tn_operand operand(bench *t, tn_dtype dtype, uint32_t rank,
                          const int64_t *shape)
{
    tn_operand o = {.arena = TN_ARENA_TRANSIENT,
                    .dtype = dtype,
                    .rank = rank,
                    .offset = t->used};
    int64_t count = 1;
    for (uint32_t i = rank; i-- > 0;) {
        o.shape[i] = shape[i];
        o.stride[i] = count;
        count *= shape[i];
    }
    t->used += (count * tn_dtype_bytes(dtype) + 255) / 256 * 256;
    assert_true(t->used <= BYTES);
    return o;
}

#define SHAPE(...)                                                             \
    (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),            \
        (const int64_t[])                                                      \
    {                                                                          \
        __VA_ARGS__                                                            \
    }
#define VALUES(...)                                                            \
    (const double[])                                                           \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

static tn_operand *input_f64(bench *t, const double *values, uint32_t rank,
                             const int64_t *shape)
{
    tn_operand *o = &t->in[t->node.in_count++];
    int64_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        count *= shape[i];
    *o = operand(t, TN_F64, rank, shape);
    memcpy(t->memory + o->offset, values, (size_t)count * sizeof *values);
    return o;
}

static void input_i32(bench *t, const int32_t *values, uint32_t rank,
                      const int64_t *shape)
{
    tn_operand *o = &t->in[t->node.in_count++];
    int64_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        count *= shape[i];
    *o = operand(t, TN_I32, rank, shape);
    memcpy(t->memory + o->offset, values, (size_t)count * sizeof *values);
}

static const void *output(bench *t, tn_dtype dtype, uint32_t rank,
                          const int64_t *shape)
{
    tn_operand *o = &t->out[t->node.out_count++];
    *o = operand(t, dtype, rank, shape);
    return t->memory + o->offset;
}

static tn_status run_once(bench *t, tn_error *err)
{
    const tn_backend *b = t->rig->backend;
    const tn_plan_segment whole = {0, 1};
    const tn_plan plan = {.struct_size = sizeof plan,
                          .node_count = 1,
                          .node_stride = sizeof t->node,
                          .segment_count = 1,
                          .name = "bench",
                          .nodes = &t->node,
                          .segments = &whole};
    tn_buffer *arenas[TN_ARENA_COUNT] = {[TN_ARENA_TRANSIENT] = t->buffer};
    tn_exec *exec = NULL;
    TN_TRY(b->compile(t->rig->device, &plan, arenas, &exec, err));
    const tn_status status = b->run(t->rig->device, exec, 0, err);
    b->exec_free(t->rig->device, exec);
    return status;
}

static void must_run(bench *t)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(run_once(t, &err), err);
}

static void expect(const void *got, const double *want, int64_t count)
{
    tn_assert_close_double(got, want, count, 1e-15, 1e-15);
}

static void expect_i32(const void *got, const int32_t *want, size_t count)
{
    assert_memory_equal(got, want, count * sizeof *want);
}

/* ---- elements ---- */

/* The largest finite values, ties to even, a carry into the exponent, a
 * subnormal and an overflow. BF16 has 8 bits of precision: between 1 and 2 they
 * are 1/128 apart. */
static void narrow_floats_round_to_nearest_even(void **state)
{
    const double x[] = {
        1.0 + 1.0 / 256, 1.0 + 3.0 / 256, 1.99999,      -0.0,     1e-40, 1e39,
        65504.0,         65520.0,         NOT_A_NUMBER, -INFINITE};
    const uint16_t bf16[] = {0x3f80, 0x3f82, 0x4000, 0x8000, 0x0001,
                             0x7f80, 0x4780, 0x4780, 0x7fc0, 0xff80};
    const uint16_t f16[] = {0x3c04, 0x3c0c, 0x4000, 0x8000, 0x0000,
                            0x7c00, 0x7bff, 0x7c00, 0x7e00, 0xfc00};
    const tn_copy_attr attr = {0};
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        bench t;
        setup(&t, TN_OP_COPY, &attr);
        input_f64(&t, x, SHAPE(10));
        const void *y = output(&t, wide ? TN_F16 : TN_BF16, SHAPE(10));
        must_run(&t);
        assert_memory_equal(y, wide ? f16 : bf16, sizeof bf16);
        teardown(&t);
    }
}

/* Half a unit, too big, not a number. */
static void integers_round_and_saturate(void **state)
{
    const int8_t want[] = {2, 2, -2, 127, -128, 0};
    const tn_copy_attr attr = {0};
    bench t;
    (void)state;
    setup(&t, TN_OP_COPY, &attr);
    input_f64(&t, VALUES(1.5, 2.5, -1.5, 1e9, -129.0, NOT_A_NUMBER), SHAPE(6));
    const void *y = output(&t, TN_I8, SHAPE(6));
    must_run(&t);
    assert_memory_equal(y, want, sizeof want);
    teardown(&t);
}

/* Rows 0 1 2 / 3 4 5 seen transposed, from its second row on, each element
 * twice. */
static void copy_follows_strides_and_offset(void **state)
{
    const tn_copy_attr attr = {0};
    bench t;
    (void)state;
    setup(&t, TN_OP_COPY, &attr);
    tn_operand *x = input_f64(&t, VALUES(0, 1, 2, 3, 4, 5), SHAPE(2, 3));
    const void *y = output(&t, TN_F64, SHAPE(2, 2, 2));
    x->rank = 3;
    x->offset += (int64_t)sizeof(double);
    memcpy(x->shape, (int64_t[]){2, 2, 2}, 3 * sizeof(int64_t));
    memcpy(x->stride, (int64_t[]){1, 3, 0}, 3 * sizeof(int64_t));
    must_run(&t);
    expect(y, VALUES(1, 1, 4, 4, 2, 2, 5, 5), 8);
    teardown(&t);
}

/* ---- programs ---- */

static tn_map_attr one_instruction(tn_map_op op, uint8_t inputs)
{
    tn_map_attr a = {.program = {.input_count = inputs,
                                 .output_count = 1,
                                 .instruction_count = (uint8_t)(inputs + 1),
                                 .output = {inputs}}};
    for (uint8_t i = 0; i < inputs; i++)
        a.program.instruction[i] = (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    a.program.instruction[inputs] = (tn_instruction){op, 0, 1, 2};
    return a;
}

/* What map.def says of the ends of the number line. */
static void instructions_keep_their_word_at_the_edges(void **state)
{
    static const struct {
        tn_map_op op;
        uint8_t arity;
        double a, b, want;
    } edge[] = {
        {TN_MAP_MIN, 2, NOT_A_NUMBER, 1, NOT_A_NUMBER},
        {TN_MAP_MIN, 2, 1, NOT_A_NUMBER, NOT_A_NUMBER},
        {TN_MAP_MAX, 2, 1, NOT_A_NUMBER, NOT_A_NUMBER},
        {TN_MAP_MAX, 2, -INFINITE, 3, 3},
        {TN_MAP_DIV, 2, -1, 0, -INFINITE},
        {TN_MAP_ROUND, 1, 2.5, 0, 2},
        {TN_MAP_ROUND, 1, -3.5, 0, -4},
        {TN_MAP_FLOOR, 1, -0.5, 0, -1},
        {TN_MAP_SIGN, 1, -7, 0, -1},
        {TN_MAP_SIGN, 1, 0, 0, 0},
        {TN_MAP_NOT, 1, 0, 0, 1},
        {TN_MAP_NOT, 1, 0.5, 0, 0},
        {TN_MAP_FINITE, 1, INFINITE, 0, 0},
        {TN_MAP_FINITE, 1, NOT_A_NUMBER, 0, 0},
        {TN_MAP_FINITE, 1, 1e300, 0, 1},
        {TN_MAP_AND, 2, 2, -1, 1},
        {TN_MAP_OR, 2, 0, 0, 0},
        {TN_MAP_LT, 2, 1, 1, 0},
        {TN_MAP_LE, 2, 1, 1, 1},
        {TN_MAP_EQ, 2, NOT_A_NUMBER, NOT_A_NUMBER, 0},
        {TN_MAP_SIGMOID, 1, -1000, 0, 0},
        {TN_MAP_SIGMOID, 1, 0, 0, 0.5},
        {TN_MAP_LOG, 1, 0, 0, -INFINITE},
        {TN_MAP_RSQRT, 1, 4, 0, 0.5},
    };
    (void)state;
    for (size_t i = 0; i < sizeof edge / sizeof edge[0]; i++) {
        const tn_map_attr attr = one_instruction(edge[i].op, edge[i].arity);
        bench t;
        setup(&t, TN_OP_MAP, &attr);
        input_f64(&t, &edge[i].a, SHAPE(1));
        if (edge[i].arity == 2)
            input_f64(&t, &edge[i].b, SHAPE(1));
        const double *y = output(&t, TN_F64, SHAPE(1));
        must_run(&t);
        if (isnan(edge[i].want))
            assert_true(isnan(*y));
        else
            assert_true(*y == edge[i].want);
        teardown(&t);
    }
}

/* index of axis 1 in a (2, 3): 0 1 2 0 1 2, and the philox draw of each
 * element. */
static void index_and_random_depend_on_the_element_alone(void **state)
{
    tn_map_attr attr = {.program = {.input_count = 1,
                                    .output_count = 2,
                                    .instruction_count = 2,
                                    .constant_count = 1,
                                    .constant = {9.0},
                                    .output = {0, 1}}};
    bench t;
    (void)state;
    attr.program.instruction[0] = (tn_instruction){TN_MAP_INDEX, 1, 0, 0};
    attr.program.instruction[1] = (tn_instruction){TN_MAP_RANDOM, 0, 0, 0};
    setup(&t, TN_OP_MAP, &attr);
    input_i32(&t, (const int32_t[]){1234, 5}, SHAPE(2));
    const double *index = output(&t, TN_F64, SHAPE(2, 3));
    const double *random = output(&t, TN_F64, SHAPE(2, 3));
    must_run(&t);
    expect(index, VALUES(0, 1, 2, 0, 1, 2), 6);
    for (uint64_t i = 0; i < 6; i++)
        tn_assert_near(random[i], tn_philox_uniform(1234, 9, 5, i), 0.0);
    teardown(&t);
}

/* Random123's published vector: zero key, zero counter. */
static void philox_gives_the_published_numbers(void **state)
{
    const uint32_t zero[4] = {0}, want[4] = {0x6627e8d5u, 0xe169c58du,
                                             0xbc57ac4cu, 0x9b00dbd8u};
    uint32_t got[4];
    (void)state;
    tn_philox(zero, zero, got);
    assert_memory_equal(got, want, sizeof want);
}

/* rows 1 2 3 / 4 5 6: sums of columns and, added to 100, of everything */
static void reduce_sums_the_axes_of_its_mask(void **state)
{
    const tn_map_attr one = one_instruction(TN_MAP_ADD, 1);
    tn_reduce_attr attr = {.program = one.program, .kind = TN_REDUCE_SUM};
    (void)state;
    attr.program.instruction_count = 1;
    attr.program.output[0] = 0;
    for (uint32_t all = 0; all < 2; all++) {
        bench t;
        attr.axes = all ? 3 : 1;
        setup(&t, TN_OP_REDUCE, &attr);
        input_f64(&t, VALUES(1, 2, 3, 4, 5, 6), SHAPE(2, 3));
        double *y =
            (double *)(uintptr_t)output(&t, TN_F64, SHAPE(1, all ? 1 : 3));
        y[0] = 100.0;
        t.node.accumulate = all;
        must_run(&t);
        expect(y, all ? VALUES(121) : VALUES(5, 7, 9), all ? 1 : 3);
        teardown(&t);
    }
}

/* 1 2 3: 1 3 6; from the end and without itself 5 3 0 */
static void cumsum_runs_both_ways(void **state)
{
    (void)state;
    for (uint32_t back = 0; back < 2; back++) {
        const tn_cumsum_attr attr = {.reverse = back, .exclusive = back};
        bench t;
        setup(&t, TN_OP_CUMSUM, &attr);
        input_f64(&t, VALUES(1, 2, 3), SHAPE(3));
        const void *y = output(&t, TN_F64, SHAPE(3));
        must_run(&t);
        expect(y, back ? VALUES(5, 3, 0) : VALUES(1, 3, 6), 3);
        teardown(&t);
    }
}

/* ---- products ---- */

/* (1 2 / 3 4) (5 6 / 7 8) = (19 22 / 43 50), with b given transposed and the
 * result added to ones. */
static void matmul_reads_transposed_operands_and_accumulates(void **state)
{
    bench t;
    (void)state;
    setup(&t, TN_OP_MATMUL, NULL);
    input_f64(&t, VALUES(1, 2, 3, 4), SHAPE(2, 2));
    tn_operand *b = input_f64(&t, VALUES(5, 7, 6, 8), SHAPE(2, 2));
    b->stride[0] = 1;
    b->stride[1] = 2;
    double *y = (double *)(uintptr_t)output(&t, TN_F64, SHAPE(2, 2));
    y[0] = y[1] = y[2] = y[3] = 1.0;
    t.node.accumulate = 1;
    must_run(&t);
    expect(y, VALUES(20, 23, 44, 51), 4);
    teardown(&t);
}

/* Rows 0 and 1 meet the matrix (2), row 2 the matrix (10); expert 1 of three
 * has none. */
static void grouped_matmul_takes_each_rows_own_matrix(void **state)
{
    const tn_grouped_matmul_attr attr = {0};
    bench t;
    (void)state;
    setup(&t, TN_OP_GROUPED_MATMUL, &attr);
    input_f64(&t, VALUES(1, 2, 3), SHAPE(3, 1));
    input_f64(&t, VALUES(2, 99, 10), SHAPE(3, 1, 1));
    input_i32(&t, (const int32_t[]){0, 2, 2, 3}, SHAPE(4));
    const void *y = output(&t, TN_F64, SHAPE(3, 1));
    must_run(&t);
    expect(y, VALUES(2, 4, 30), 3);
    teardown(&t);
}

/* ---- rows and choices ---- */

static void gather_and_scatter_skip_minus_one(void **state)
{
    const tn_scatter_attr attr = {3};
    bench t;
    (void)state;
    setup(&t, TN_OP_GATHER_ROWS, NULL);
    input_f64(&t, VALUES(1, 2, 3, 4), SHAPE(2, 2));
    input_i32(&t, (const int32_t[]){1, -1, 1}, SHAPE(3));
    const void *y = output(&t, TN_F64, SHAPE(3, 2));
    must_run(&t);
    expect(y, VALUES(3, 4, 0, 0, 3, 4), 6);
    teardown(&t);

    setup(&t, TN_OP_SCATTER_ADD_ROWS, &attr);
    input_i32(&t, (const int32_t[]){2, -1, 2}, SHAPE(3));
    input_f64(&t, VALUES(1, 2, 4), SHAPE(3, 1));
    y = output(&t, TN_F64, SHAPE(3, 1));
    must_run(&t);
    expect(y, VALUES(0, 0, 5), 3);
    teardown(&t);
}

static void an_index_out_of_range_fails_with_its_place(void **state)
{
    tn_error err = TN_ERROR_NONE;
    bench t;
    (void)state;
    setup(&t, TN_OP_GATHER_ROWS, NULL);
    input_f64(&t, VALUES(1, 2), SHAPE(2, 1));
    input_i32(&t, (const int32_t[]){0, 2}, SHAPE(2));
    output(&t, TN_F64, SHAPE(2, 1));
    assert_int_equal(run_once(&t, &err), TN_EINVALID);
    tn_assert_error_says(err, "here.c:7: op: index 2 at element 1 is outside "
                              "[-1, 1]");
    teardown(&t);
}

/* 3 1 3 2: the two threes by index, then 2; NaN comes last. */
static void topk_breaks_ties_by_index(void **state)
{
    const tn_topk_attr attr = {4};
    bench t;
    (void)state;
    setup(&t, TN_OP_TOPK, &attr);
    input_f64(&t, VALUES(3, NOT_A_NUMBER, 3, 2), SHAPE(4));
    const void *values = output(&t, TN_F64, SHAPE(4));
    const void *index = output(&t, TN_I32, SHAPE(4));
    must_run(&t);
    expect(values, VALUES(3, 3, 2), 3);
    expect_i32(index, (const int32_t[]){0, 2, 3, 1}, 4);
    teardown(&t);
}

/* choices (1 0 / 1 2): expert 0 has flat position 1, expert 1 has 0 and 2,
 * expert 2 has 3. */
static void expert_plan_sorts_and_is_stable(void **state)
{
    const tn_expert_plan_attr attr = {3};
    bench t;
    (void)state;
    setup(&t, TN_OP_EXPERT_PLAN, &attr);
    input_i32(&t, (const int32_t[]){1, 0, 1, 2}, SHAPE(2, 2));
    const void *order = output(&t, TN_I32, SHAPE(4));
    const void *inverse = output(&t, TN_I32, SHAPE(4));
    const void *offsets = output(&t, TN_I32, SHAPE(4));
    must_run(&t);
    expect_i32(order, (const int32_t[]){1, 0, 2, 3}, 4);
    expect_i32(inverse, (const int32_t[]){1, 0, 2, 3}, 4);
    expect_i32(offsets, (const int32_t[]){0, 1, 3, 4}, 4);
    teardown(&t);
}

/* ---- composites ---- */

/* x = (3, 4), mean square 12.5: rstd = 1/sqrt 12.5. */
static void rms_norm_divides_by_the_root_mean_square(void **state)
{
    const tn_norm_attr attr = {0.0};
    const double rstd = 1.0 / sqrt(12.5);
    bench t;
    (void)state;
    setup(&t, TN_OP_RMS_NORM, &attr);
    input_f64(&t, VALUES(3, 4), SHAPE(1, 2));
    input_f64(&t, VALUES(1, 10), SHAPE(2));
    const void *y = output(&t, TN_F64, SHAPE(1, 2));
    const void *r = output(&t, TN_F64, SHAPE(1));
    must_run(&t);
    expect(y, VALUES(3 * rstd, 40 * rstd), 2);
    expect(r, &rstd, 1);
    teardown(&t);
}

/* Position 1 with theta 1 turns every pair by one radian: (1, 0) becomes (cos,
 * sin). Element 4 is beyond dims and stays. */
static void rope_pairs_halves_or_neighbours(void **state)
{
    const double c = cos(1.0), s = sin(1.0);
    (void)state;
    for (uint32_t neighbours = 0; neighbours < 2; neighbours++) {
        const tn_rope_attr attr = {1.0, 4, neighbours, 0};
        bench t;
        setup(&t, TN_OP_ROPE, &attr);
        input_f64(&t, VALUES(1, 0, 0, 1, 9), SHAPE(1, 1, 1, 5));
        input_i32(&t, (const int32_t[]){1}, SHAPE(1, 1));
        const void *y = output(&t, TN_F64, SHAPE(1, 1, 1, 5));
        must_run(&t);
        /* halves: pairs (1, 0) and (0, 1); neighbours: the same two pairs,
         * lying elsewhere */
        expect(y, neighbours ? VALUES(c, s, -s, c, 9) : VALUES(c, -s, s, c, 9),
               5);
        teardown(&t);
    }
}

/* Two keys with scores 0 and log 3: weights 1/4 and 3/4 for the row that sees
 * both. Row 0 sees the first alone, row 2 is padding. */
static void attention_weighs_the_keys_it_sees(void **state)
{
    const tn_attention_attr attr = {.scale = 1.0};
    bench t;
    (void)state;
    setup(&t, TN_OP_ATTENTION, &attr);
    input_f64(&t, VALUES(1, 1, 1), SHAPE(1, 3, 1, 1));
    input_f64(&t, VALUES(0, log(3.0)), SHAPE(1, 2, 1, 1));
    input_f64(&t, VALUES(4, 8), SHAPE(1, 2, 1, 1));
    input_i32(&t, (const int32_t[]){0, 1, -1}, SHAPE(1, 3));
    const void *o = output(&t, TN_F64, SHAPE(1, 3, 1, 1));
    const void *lse = output(&t, TN_F64, SHAPE(1, 1, 3));
    must_run(&t);
    expect(o, VALUES(4, 7, 0), 3);
    expect(lse, VALUES(0, log(4.0), 0), 3);
    teardown(&t);
}

/* Row 0 sees scores of -infinity, row 1 those of infinity, row 2 none. */
static void scores_that_are_not_finite_are_not_taken_for_none(void **state)
{
    const tn_attention_attr attr = {.scale = 1.0, .bidirectional = 1};
    const double inf = (double)INFINITY;
    bench t;
    (void)state;
    setup(&t, TN_OP_ATTENTION, &attr);
    input_f64(&t, VALUES(-inf, inf, 1), SHAPE(1, 3, 1, 1));
    input_f64(&t, VALUES(1, 2), SHAPE(1, 2, 1, 1));
    input_f64(&t, VALUES(4, 8), SHAPE(1, 2, 1, 1));
    input_i32(&t, (const int32_t[]){0, 1, -1}, SHAPE(1, 3));
    const double *o = output(&t, TN_F64, SHAPE(1, 3, 1, 1));
    const double *lse = output(&t, TN_F64, SHAPE(1, 1, 3));
    must_run(&t);
    for (int i = 0; i < 2; i++) {
        assert_true(isnan(o[i]));
        assert_true(isnan(lse[i]));
    }
    expect(o + 2, VALUES(0), 1);
    expect(lse + 2, VALUES(0), 1);
    teardown(&t);
}

/* Logits (0, log 3) and target 1: nll = log 4 - log 3; dz = (1/4, 3/4 - 1).
 * The second row is ignored. */
static void loss_ignores_minus_one(void **state)
{
    const tn_loss_attr attr = {0.0};
    bench t;
    (void)state;
    setup(&t, TN_OP_LINEAR_CROSS_ENTROPY_BWD, &attr);
    input_f64(&t, VALUES(1, 5), SHAPE(2, 1));
    input_f64(&t, VALUES(0, log(3.0)), SHAPE(2, 1));
    input_i32(&t, (const int32_t[]){1, -1}, SHAPE(2));
    input_f64(&t, VALUES(2, 2), SHAPE(2));
    const void *dx = output(&t, TN_F64, SHAPE(2, 1));
    const void *dw = output(&t, TN_F64, SHAPE(2, 1));
    const void *nll = output(&t, TN_F64, SHAPE(2));
    must_run(&t);
    expect(dx, VALUES(-0.5 * log(3.0), 0), 2);
    expect(dw, VALUES(0.5, -0.5), 2);
    expect(nll, VALUES(log(4.0 / 3.0), 0), 2);
    teardown(&t);
}

/* ---- the whole table ---- */

/* Whoever adds an op gives the oracle its formula. */
static void every_op_that_computes_has_a_kernel(void **state)
{
    static const struct {
        const char *name;
        tn_op op;
        uint32_t tier;
    } rows[] = {
#define OP(NAME, number, tier, min_in, max_in, n_out, attr, name)              \
    {#name, number, TN_TIER_##tier},
#include <tenon/ops.def>
#undef OP
    };
    tn_rig *rig = tn_rig_open("reference", "{}");
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const tn_plan_node node = {.op = rows[i].op};
        if (rows[i].tier < TN_TIER_PRIMITIVE ||
            rig->backend->supports(rig->device, &node))
            continue;
        print_error("reference has no kernel for %s\n", rows[i].name);
        fail();
    }
    tn_rig_close(rig);
}

/* ---- refusals ---- */

static void compile_names_an_op_without_kernel(void **state)
{
    tn_error err = TN_ERROR_NONE;
    bench t;
    (void)state;
    setup(&t, TN_OP_CUSTOM, NULL);
    t.node.name = "my_scan";
    assert_int_equal(run_once(&t, &err), TN_EUNSUPPORTED);
    tn_assert_error_says(err, "no kernel for my_scan");
    teardown(&t);
}

static void copies_outside_a_buffer_are_refused(void **state)
{
    tn_error err = TN_ERROR_NONE;
    char byte = 0;
    bench t;
    (void)state;
    setup(&t, TN_OP_COPY, NULL);
    assert_int_equal(
        t.rig->backend->upload(t.rig->device, t.buffer, BYTES, &byte, 1, &err),
        TN_EINVALID);
    tn_assert_error_says(err, "outside a buffer of 65536 bytes");
    teardown(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrow_floats_round_to_nearest_even),
        cmocka_unit_test(integers_round_and_saturate),
        cmocka_unit_test(copy_follows_strides_and_offset),
        cmocka_unit_test(instructions_keep_their_word_at_the_edges),
        cmocka_unit_test(index_and_random_depend_on_the_element_alone),
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(reduce_sums_the_axes_of_its_mask),
        cmocka_unit_test(cumsum_runs_both_ways),
        cmocka_unit_test(matmul_reads_transposed_operands_and_accumulates),
        cmocka_unit_test(grouped_matmul_takes_each_rows_own_matrix),
        cmocka_unit_test(gather_and_scatter_skip_minus_one),
        cmocka_unit_test(an_index_out_of_range_fails_with_its_place),
        cmocka_unit_test(topk_breaks_ties_by_index),
        cmocka_unit_test(expert_plan_sorts_and_is_stable),
        cmocka_unit_test(rms_norm_divides_by_the_root_mean_square),
        cmocka_unit_test(rope_pairs_halves_or_neighbours),
        cmocka_unit_test(attention_weighs_the_keys_it_sees),
        cmocka_unit_test(scores_that_are_not_finite_are_not_taken_for_none),
        cmocka_unit_test(loss_ignores_minus_one),
        cmocka_unit_test(every_op_that_computes_has_a_kernel),
        cmocka_unit_test(compile_names_an_op_without_kernel),
        cmocka_unit_test(copies_outside_a_buffer_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
