/*
 * test_map.c - machine code for element-wise programs computes what their
 * interpreter does, to the bit.
 */
#include "bf16.h"
#include "cpu_bench.h"

enum {
    ROWS = 5,
    MOST_COLUMNS = 331,
    PROGRAMS = 400,
    LARGEST_COUNT = ROWS * MOST_COLUMNS,
    EVERY = 1 << 16,      /* upper half of a float */
    FAR_BYTES = 68 << 20, /* code calls for that much early */
};

/* ---- random programs ---- */

static uint32_t random_word;

static uint32_t below(uint32_t limit)
{
    random_word = random_word * 1664525u + 1013904223u;
    return (random_word >> 8) % limit;
}

static const struct {
    tn_map_op op;
    int arity;
} ops[] = {
#define XX(name, number, arity, text, meaning) {number, arity},
#include <tenon/map.def>
#undef XX
};

enum { OPS = sizeof ops / sizeof *ops };

/* An op of `least` operands or more; exp and its like `costly` times in eight.
 */
static tn_map_op some_op(int least, uint32_t costly)
{
    for (;;) {
        const int i = (int)below(OPS);
        const int far = ops[i].op >= TN_MAP_EXP && ops[i].op <= TN_MAP_COS;
        if (ops[i].arity >= least && (!far || below(8) < costly))
            return ops[i].op;
    }
}

/* Instructions on operands of any age; then others that read each register
 * nothing has read, oldest first: values live long, and there are more of them
 * than the processor has registers. */
static void random_body(tn_program *p, uint32_t costly)
{
    uint8_t n = p->instruction_count, oldest = 0;
    const uint8_t middle = (uint8_t)(n + below(34u - n));
    for (; n < middle; n++)
        p->instruction[n] =
            (tn_instruction){some_op(1, costly), (uint8_t)below(n),
                             (uint8_t)below(n), (uint8_t)below(n)};
    for (; n < TN_MAP_MAX_INSTRUCTIONS && oldest + 1 < n; n++, oldest += 2)
        p->instruction[n] = (tn_instruction){
            some_op(2, 0), oldest, (uint8_t)(oldest + 1), (uint8_t)below(n)};
    p->instruction_count = n;
}

static tn_program random_program(uint32_t seed)
{
    tn_program p;
    memset(&p, 0, sizeof p);
    random_word = seed * 2654435761u;
    p.input_count = (uint8_t)(1 + below(TN_MAP_MAX_INPUTS));
    p.output_count = (uint8_t)(1 + below(TN_MAP_MAX_OUTPUTS));
    p.constant_count = 2;
    p.constant[0] = 0.75;
    p.constant[1] = -3.0;
    for (uint8_t i = 0; i < p.input_count; i++)
        p.instruction[p.instruction_count++] =
            (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    for (uint8_t i = 0; i < p.constant_count; i++)
        p.instruction[p.instruction_count++] =
            (tn_instruction){TN_MAP_CONST, i, 0, 0};
    random_body(&p, seed % 3);
    for (uint8_t i = 0; i < p.output_count; i++)
        p.output[i] = (uint8_t)(p.instruction_count - 1 - i);
    return p;
}

/* ---- numbers, strange ones among them ---- */

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static uint32_t some_number(void)
{
    static const float strange[] = {0.0f,     -0.0f,  INFINITY, -INFINITY,
                                    NAN,      1e-42f, 1e-40f,   3e38f,
                                    -3.4e38f, 1.0f,   -2.5f,    1.00390625f};
    const uint32_t nan_in_lower_half = 0x7f800001u;
    const uint32_t which = below(64);
    if (which < sizeof strange / sizeof *strange)
        return bits_of(strange[which]);
    if (which == 63)
        return nan_in_lower_half;
    return bits_of(((float)below(1u << 16) - 32768.0f) * 0x1p-13f);
}

static void fill(bench *t)
{
    for (uint32_t i = 0; i < t->in_count; i++) {
        char *at = t->memory + t->in[i].offset;
        for (int k = 0; k < LARGEST_COUNT; k++) {
            const uint32_t bits = some_number();
            if (t->in[i].dtype == TN_BF16)
                ((uint16_t *)(void *)at)[k] = (uint16_t)(bits >> 16);
            else
                ((uint32_t *)(void *)at)[k] = bits;
        }
    }
}

/* ---- operands: f32 or bf16; dense, one row, one column, one number ---- */

static void set_strides(tn_operand *x, int64_t row, int64_t column)
{
    x->stride[0] = row;
    x->stride[1] = column;
}

static void set_columns(tn_operand *x, int64_t columns)
{
    x->shape[1] = columns;
    set_strides(x, columns, 1);
}

static tn_dtype some_dtype(void)
{
    return below(3) == 0 ? TN_BF16 : TN_F32;
}

/* All have room for the largest shape: what lies behind is to stay. */
static void make_operands(bench *t, const tn_program *p)
{
    const int64_t largest[2] = {ROWS, MOST_COLUMNS};
    const int64_t columns = 1 + below(MOST_COLUMNS);
    for (int i = 0; i < p->input_count; i++) {
        const uint32_t kind = below(8);
        bench_in(t, some_dtype(), 2, largest);
        set_columns(&t->in[i], columns);
        if (kind == 1)
            set_strides(&t->in[i], 0, 1);
        else if (kind == 2)
            set_strides(&t->in[i], 1, 0);
        else if (kind == 3)
            set_strides(&t->in[i], 0, 0);
    }
    for (int i = 0; i < p->output_count; i++) {
        const tn_dtype dtype = some_dtype();
        memset(bench_out(t, dtype, 2, largest), 0,
               (size_t)tn_dtype_span(dtype, LARGEST_COUNT));
        set_columns(&t->out[i], columns);
    }
}

/* Output 0 takes the place of a dense input, as plans let it. */
static void write_in_place(bench *t)
{
    for (uint32_t i = 0; i < t->in_count; i++)
        if (t->in[i].stride[0] == t->in[i].shape[1] &&
            t->in[i].stride[1] == 1) {
            t->out[0].dtype = t->in[i].dtype;
            t->out[0].offset = t->in[i].offset;
            return;
        }
}

typedef struct outcome {
    char bytes[TN_MAP_MAX_OUTPUTS][EVERY * sizeof(float)];
    tn_dtype dtype[TN_MAP_MAX_OUTPUTS];
} outcome;

static void read_outputs(const bench *t, int count, outcome *to)
{
    for (uint32_t i = 0; i < t->out_count; i++) {
        to->dtype[i] = t->out[i].dtype;
        memcpy(to->bytes[i], t->memory + t->out[i].offset,
               (size_t)tn_dtype_span(t->out[i].dtype, count));
    }
}

/* On a bench that had others before. */
static int compute_random(bench *t, uint32_t seed, outcome *to)
{
    const tn_map_attr attr = {.program = random_program(seed)};
    t->used = t->in_count = t->out_count = 0;
    make_operands(t, &attr.program);
    if (seed % 2)
        write_in_place(t);
    fill(t);
    bench_run(t, TN_OP_MAP, &attr);
    read_outputs(t, LARGEST_COUNT, to);
    return LARGEST_COUNT;
}

/* What code does at length: exp, sigmoid, and bf16 read and written. */
static int compute_every(bench *t, uint32_t seed, outcome *to)
{
    static const tn_dtype dtypes[4] = {TN_F32, TN_BF16, TN_BF16, TN_BF16};
    const tn_map_attr attr = {.program = {
                                  .input_count = 2,
                                  .output_count = 4,
                                  .instruction_count = 6,
                                  .output = {2, 3, 4, 5},
                                  .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                                                  {TN_MAP_INPUT, 1, 0, 0},
                                                  {TN_MAP_EXP, 0, 0, 0},
                                                  {TN_MAP_SIGMOID, 0, 0, 0},
                                                  {TN_MAP_NEG, 0, 0, 0},
                                                  {TN_MAP_EXP, 1, 0, 0}},
                              }};
    const uint32_t tie = 0x8000u;
    uint32_t *whole = bench_in(t, TN_F32, 1, (int64_t[]){EVERY});
    uint16_t *half = bench_in(t, TN_BF16, 1, (int64_t[]){EVERY});
    random_word = seed;
    for (uint32_t k = 0; k < EVERY; k++) {
        whole[k] = k << 16 | (below(4) ? below(1u << 16) : tie);
        half[k] = (uint16_t)k;
    }
    for (int i = 0; i < 4; i++)
        bench_out(t, dtypes[i], 1, (int64_t[]){EVERY});
    bench_run(t, TN_OP_MAP, &attr);
    read_outputs(t, EVERY, to);
    return EVERY;
}

/* A sum of products over what lies far away: one tensor, then two in bf16. */
static int compute_far(bench *t, uint32_t seed, outcome *to)
{
    const uint8_t inputs = (uint8_t)(1 + seed);
    const tn_dtype dtype = seed ? TN_BF16 : TN_F32;
    const int64_t shape[1] = {FAR_BYTES / 4 - 1};
    const tn_reduce_attr attr = {
        .kind = TN_REDUCE_SUM,
        .axes = 1,
        .program = {
            .input_count = inputs,
            .output_count = 1,
            .instruction_count = 3,
            .output = {2},
            .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                            {TN_MAP_INPUT, (uint8_t)seed, 0, 0},
                            {TN_MAP_MUL, 0, 1, 0}},
        }};
    t->used = t->in_count = t->out_count = 0;
    for (uint8_t i = 0; i < inputs; i++)
        bench_in(t, dtype, 1, shape);
    uint32_t *words = (uint32_t *)(void *)t->memory;
    for (uint32_t k = 0; k < FAR_BYTES / 4; k++)
        words[k] = 0x3f803f80u + k % 127;
    bench_out(t, TN_F32, 1, (int64_t[]){1});
    bench_run(t, TN_OP_REDUCE, &attr);
    read_outputs(t, 1, to);
    return 1;
}

/* Equal bits; of NaNs only that both are: which operand's payload comes out is
 * the compiler's choice. */
static int is_same_value(const outcome *a, const outcome *b, int output, int k)
{
    uint32_t x, y;
    if (a->dtype[output] == TN_BF16) {
        x = (uint32_t)((const uint16_t *)(const void *)a->bytes[output])[k]
            << 16;
        y = (uint32_t)((const uint16_t *)(const void *)b->bytes[output])[k]
            << 16;
    } else {
        x = ((const uint32_t *)(const void *)a->bytes[output])[k];
        y = ((const uint32_t *)(const void *)b->bytes[output])[k];
    }
    const uint32_t infinity = 0x7f800000u, unsigned_bits = 0x7fffffffu;
    return x == y ||
           ((x & unsigned_bits) > infinity && (y & unsigned_bits) > infinity);
}

/* A program on a bench, its outputs to `to`; returns how many numbers of each
 * are to be compared. */
typedef int computation(bench *t, uint32_t seed, outcome *to);

static void expect_equal_outcomes(computation *compute, uint32_t programs,
                                  const char *vectors)
{
    static outcome code, interpreted;
    char options[64];
    bench with, without;
    snprintf(options, sizeof options, "{threads: 1, vectors: %s}", vectors);
    bench_open(&with, options);
    snprintf(options, sizeof options, "{threads: 1, vectors: %s, jit: false}",
             vectors);
    bench_open(&without, options);
    for (uint32_t seed = 0; seed < programs; seed++) {
        const int count = compute(&with, seed, &code);
        compute(&without, seed, &interpreted);
        for (uint32_t o = 0; o < with.out_count; o++)
            for (int k = 0; k < count; k++)
                if (!is_same_value(&code, &interpreted, (int)o, k))
                    fail_msg("%s: program %u, output %u, element %d", vectors,
                             seed, o, k);
    }
    bench_close(&with);
    bench_close(&without);
}

static void code_computes_what_the_interpreter_does(void **state)
{
    (void)state;
    expect_equal_outcomes(compute_random, PROGRAMS, "avx2");
    if (bench_has_avx512())
        expect_equal_outcomes(compute_random, PROGRAMS, "avx512");
}

static void code_does_so_for_every_upper_half_of_a_float(void **state)
{
    (void)state;
    expect_equal_outcomes(compute_every, 1, "avx2");
    if (bench_has_avx512())
        expect_equal_outcomes(compute_every, 1, "avx512");
}

static void code_does_so_where_it_calls_for_memory_early(void **state)
{
    (void)state;
    expect_equal_outcomes(compute_far, 2, "avx2");
    if (bench_has_avx512())
        expect_equal_outcomes(compute_far, 2, "avx512");
}

/* ---- in place ---- */

enum {
    PLACED = 1024 + 77
}; /* two whole tiles, and one that ends in a vector */

static void fill_numbers(const tn_operand *o, char *memory, int modulus)
{
    float *x = (float *)(void *)(memory + o->offset);
    uint16_t *half = (uint16_t *)(void *)x;
    for (int i = 0; i < PLACED; i++)
        if (o->dtype == TN_BF16)
            half[i] = to_bf16((float)(i % modulus));
        else
            x[i] = (float)(i % modulus);
}

static float number_of(const tn_operand *o, const char *memory, int i)
{
    const char *at = memory + o->offset;
    return o->dtype == TN_BF16
               ? from_bf16(((const uint16_t *)(const void *)at)[i])
               : ((const float *)(const void *)at)[i];
}

/* -x where x was, x where y was, and y and x + y elsewhere: whatever is stored
 * first, the others are not to read it. */
static void expect_outputs_in_place(const char *options, tn_dtype dtype,
                                    uint32_t outputs)
{
    const tn_map_attr attr = {
        .program = {.input_count = 2,
                    .output_count = (uint8_t)outputs,
                    .instruction_count = 4,
                    .output = {2, 0, 1, 3},
                    .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                                    {TN_MAP_INPUT, 1, 0, 0},
                                    {TN_MAP_NEG, 0, 0, 0},
                                    {TN_MAP_ADD, 0, 1, 0}}}};
    bench t;
    bench_open(&t, options);
    for (int i = 0; i < 2; i++)
        bench_in(&t, dtype, 1, (int64_t[]){PLACED});
    for (uint32_t o = 0; o < outputs; o++)
        bench_out(&t, dtype, 1, (int64_t[]){PLACED});
    t.out[0].offset = t.in[0].offset;
    t.out[1].offset = t.in[1].offset;
    fill_numbers(&t.in[0], t.memory, 16);
    fill_numbers(&t.in[1], t.memory, 7);
    bench_run(&t, TN_OP_MAP, &attr);
    for (int i = 0; i < PLACED; i++) {
        const float x = (float)(i % 16), y = (float)(i % 7);
        const float want[] = {-x, x, y, x + y};
        for (uint32_t o = 0; o < outputs; o++)
            if (number_of(&t.out[o], t.memory, i) != want[o])
                fail_msg("%s, %u outputs: element %d of output %u", options,
                         outputs, i, o);
    }
    bench_close(&t);
}

static void an_input_is_read_before_outputs_take_its_place(void **state)
{
    (void)state;
    static const char *const options[] = {
        "{vectors: avx2}", "{vectors: avx2, jit: false}", "{}", "{jit: false}"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        for (uint32_t outputs = 2; outputs <= 4; outputs++) {
            expect_outputs_in_place(options[i], TN_F32, outputs);
            expect_outputs_in_place(options[i], TN_BF16, outputs);
        }
}

/* ---- rows that count ---- */

/* y = x + select(uses, g, 0), uses a number for each row, some of them 0. What
 * is g elsewhere counts for nothing; `twice`: y = g + x + ..., all of it does.
 */
static void expect_rows(const char *options, int64_t rows, int64_t width,
                        int twice)
{
    const int64_t shape[] = {rows, width}, uses_shape[] = {rows, 1};
    const tn_map_attr attr = {
        .program = {.instruction = {{TN_MAP_INPUT, 0, 0, 0},
                                    {TN_MAP_INPUT, 1, 0, 0},
                                    {TN_MAP_INPUT, 2, 0, 0},
                                    {TN_MAP_CONST, 0, 0, 0},
                                    {TN_MAP_SELECT, 0, 1, 3},
                                    {TN_MAP_ADD, 2, 4, 0},
                                    {TN_MAP_ADD, 1, 5, 0}},
                    .instruction_count = twice ? 7 : 6,
                    .input_count = 3,
                    .output_count = 1,
                    .output = {twice ? 6 : 5},
                    .constant_count = 1}};
    bench t;
    bench_open(&t, options);
    float *uses = bench_in(&t, TN_F32, 2, uses_shape);
    float *g = bench_in(&t, TN_F32, 2, shape);
    float *x = bench_in(&t, TN_F32, 2, shape);
    float *y = bench_out(&t, TN_F32, 2, shape);
    t.in[0].shape[1] = width;
    set_strides(&t.in[0], 1, 0);
    bench_fill(g, rows * width, 1.0f, 1);
    bench_fill(x, rows * width, 1.0f, 2);
    for (int64_t r = 0; r < rows; r++) {
        uses[r] = r % 7 == 3 || r % 11 == 4 ? (float)r : -0.0f;
        for (int64_t c = 0; c < width && !twice && uses[r] == 0.0f; c++)
            g[r * width + c] = NAN;
    }
    bench_run(&t, TN_OP_MAP, &attr);
    for (int64_t i = 0; i < rows * width; i++) {
        const float used = uses[i / width] != 0.0f ? g[i] : 0.0f;
        assert_true(y[i] == (twice ? g[i] + (x[i] + used) : x[i] + used));
    }
    bench_close(&t);
}

static void rows_without_uses_are_zeros(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{40, 384}, {300, 77}, {9, 1029},
                                       {700, 3},  {64, 512}, {2, 1}};
    static const char *const options[] = {"{vectors: avx2}",
                                          "{vectors: avx2, jit: false}",
                                          "{threads: 2}", "{jit: false}"};
    for (size_t o = 0; o < sizeof options / sizeof *options; o++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            expect_rows(options[o], sizes[i][0], sizes[i][1], 0);
            expect_rows(options[o], sizes[i][0], sizes[i][1], 1);
        }
}

/* What f(select(uses, g, 0)) comes to over the axes: an instruction on register
 * 3, the select, and 4, the leaf. `dense`: uses are given for each element,
 * which nothing can skip. Returns how many results. */
static int64_t reduce_rows(bench *t, uint32_t kind, uint32_t axes,
                           tn_instruction leaf, tn_instruction f, int dense,
                           float *results)
{
    const int64_t rows = 101, width = 1029, uses_width = dense ? width : 1;
    const int64_t shape[] = {rows, width}, uses_shape[] = {rows, uses_width};
    const int64_t result_shape[] = {axes & 1 ? 1 : rows, axes & 2 ? 1 : width};
    const int64_t count = result_shape[0] * result_shape[1];
    const tn_reduce_attr attr = {
        .kind = kind,
        .axes = axes,
        .program = {.instruction = {{TN_MAP_INPUT, 0, 0, 0},
                                    {TN_MAP_INPUT, 1, 0, 0},
                                    {TN_MAP_CONST, 0, 0, 0},
                                    {TN_MAP_SELECT, 0, 1, 2},
                                    leaf,
                                    f},
                    .instruction_count = 6,
                    .input_count = leaf.op == TN_MAP_INPUT ? 3 : 2,
                    .output_count = 1,
                    .output = {5},
                    .constant_count = 1}};
    t->used = t->in_count = t->out_count = 0;
    float *uses = bench_in(t, TN_F32, 2, uses_shape);
    float *g = bench_in(t, TN_F32, 2, shape);
    float *x = bench_in(t, TN_F32, 2, shape);
    t->in_count = attr.program.input_count;
    const float *y = bench_out(t, TN_F32, 2, result_shape);
    set_columns(&t->in[0], width);
    set_strides(&t->in[0], uses_width, dense);
    bench_fill(g, rows * width, 1.0f, 1);
    bench_fill(x, rows * width, 1.0f, 2);
    for (int64_t r = 0; r < rows; r++) {
        const int used = r % 17 == 3 || r % 71 == 4;
        for (int64_t c = 0; c < uses_width; c++)
            uses[r * uses_width + c] = (float)used;
        for (int64_t c = 0; c < width && !used; c++)
            g[r * width + c] = NAN;
    }
    bench_run(t, TN_OP_REDUCE, &attr);
    memcpy(results, y, (size_t)count * sizeof *y);
    return count;
}

static void expect_same_reductions(tn_instruction leaf, tn_instruction f)
{
    static const char *const options[] = {"{threads: 1}", "{threads: 2}",
                                          "{vectors: avx2}", "{jit: false}"};
    static float some[101], all[101];
    for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
        bench t;
        bench_open(&t, options[o]);
        for (uint32_t kind = TN_REDUCE_SUM; kind <= TN_REDUCE_MIN; kind++)
            for (uint32_t axes = 2; axes < 4; axes++) {
                const int64_t count =
                    reduce_rows(&t, kind, axes, leaf, f, 0, some);
                reduce_rows(&t, kind, axes, leaf, f, 1, all);
                assert_memory_equal(some, all, (size_t)count * sizeof *some);
            }
        bench_close(&t);
    }
}

static void reductions_of_rows_without_uses_are_those_of_zeros(void **state)
{
    (void)state;
    const tn_instruction none = {TN_MAP_CONST, 0, 0, 0};
    const tn_instruction square = {TN_MAP_MUL, 3, 3, 0};
    const tn_instruction one_of_zero = {TN_MAP_EXP, 3, 0, 0};
    const tn_instruction nan_of_zero = {TN_MAP_DIV, 3, 3, 0};
    expect_same_reductions(none, square);
    expect_same_reductions(none, one_of_zero);
    expect_same_reductions(none, nan_of_zero);
}

static void elements_that_differ_by_more_than_the_row_all_count(void **state)
{
    (void)state;
    const tn_instruction none = {TN_MAP_CONST, 0, 0, 0};
    const tn_instruction tensor = {TN_MAP_INPUT, 2, 0, 0};
    const tn_instruction column = {TN_MAP_INDEX, 1, 0, 0};
    const tn_instruction sum = {TN_MAP_ADD, 3, 4, 0};
    const tn_instruction sum_with_uses = {TN_MAP_ADD, 3, 0, 0};
    expect_same_reductions(tensor, sum);
    expect_same_reductions(column, sum);
    expect_same_reductions(none, sum_with_uses);
}

/* ---- that there is code at all ---- */

/* Bytes of this process that can be executed and come from no file. */
static long written_code(void)
{
    char line[512], may[5];
    long total = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to, inode;
        if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &from, &to, may, &inode) ==
                4 &&
            may[2] == 'x' && inode == 0 && !strchr(line, '['))
            total += (long)(to - from);
        assert_false(may[1] == 'w' && may[2] == 'x');
    }
    fclose(maps);
    return total;
}

static long code_of_a_plan(const char *options)
{
    const tn_map_attr attr = {.program = random_program(1)};
    tn_error err = TN_ERROR_NONE;
    bench t;
    bench_open(&t, options);
    make_operands(&t, &attr.program);
    const long before = written_code();
    tn_assert_ok_err(bench_compile(&t, TN_OP_MAP, &attr, &err), err);
    const long during = written_code();
    t.rig->backend->exec_free(t.rig->device, t.exec);
    assert_int_equal(written_code(), before);
    bench_close(&t);
    return during - before;
}

static void a_plan_has_code_while_it_lives_unless_told_not_to(void **state)
{
    (void)state;
    assert_true(code_of_a_plan("{threads: 1}") > 0);
    assert_int_equal(code_of_a_plan("{threads: 1, jit: false}"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_computes_what_the_interpreter_does),
        cmocka_unit_test(code_does_so_for_every_upper_half_of_a_float),
        cmocka_unit_test(code_does_so_where_it_calls_for_memory_early),
        cmocka_unit_test(an_input_is_read_before_outputs_take_its_place),
        cmocka_unit_test(rows_without_uses_are_zeros),
        cmocka_unit_test(reductions_of_rows_without_uses_are_those_of_zeros),
        cmocka_unit_test(elements_that_differ_by_more_than_the_row_all_count),
        cmocka_unit_test(a_plan_has_code_while_it_lives_unless_told_not_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
