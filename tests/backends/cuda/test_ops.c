/*
 * test_ops.c - sizes at which this backend cuts its work (chunks of a scan,
 * tiles of attention and of products), and operands that are stored as BF16.
 * tests/conformance judges every op at small sizes and in F32; the yardstick
 * here is the CPU backend, which that suite judges too.
 */
#include "cuda_device.h"

#include <math.h>

static tn_rig *gpu, *cpu;

static tn_rig_program *build(tn_rig *rig, const tn_rig_case *c, uint32_t narrow)
{
    const tn_rig_how how = {
        .dtype = TN_F32, .no_fuse = narrow, .narrow = narrow};
    tn_error err = TN_ERROR_NONE;
    tn_rig_program *p = tn_rig_build(rig, c, &how, &err);
    if (!p)
        print_error("%s\n", err.message);
    assert_non_null(p);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    return p;
}

/* The plan has a node of this op; one that reads BF16, if it is narrow. */
static void expect_node(const tn_rig_program *p, const char *name,
                        uint32_t narrow)
{
    const tn_plan *plan = tn_rig_plan(p);
    uint32_t found = 0;
    for (uint32_t i = 0; i < plan->node_count; i++) {
        const tn_plan_node *n = &plan->nodes[i];
        uint32_t reads = !narrow;
        for (uint32_t k = 0; k < n->in_count; k++)
            reads |= n->in[k].arena && n->in[k].dtype == TN_BF16;
        found += reads && !strcmp(n->name, name);
    }
    if (!found)
        print_error("no node is %s%s\n", name, narrow ? " of BF16" : "");
    assert_true(found > 0);
}

/* Every output and gradient within `relative` of the CPU's, or `absolute`. */
static void expect_agreement(const tn_rig_case *c, const char *op,
                             double absolute, double relative)
{
    tn_rig_program *a = build(gpu, c, 0), *b = build(cpu, c, 0);
    expect_node(a, op, 0);
    for (uint32_t i = 0; i < tn_rig_output_count(a); i++) {
        const tn_rig_result got = tn_rig_output(a, i);
        tn_assert_close_double(got.values, tn_rig_output(b, i).values,
                               got.count, absolute, relative);
    }
    tn_rig_free(a);
    tn_rig_free(b);
}

/* The same of a plan of BF16 values: what is rounded once more or less is
 * measured against all of a tensor, of whose elements some are near 0. */
static void expect_rounded(const tn_rig_case *c, const char *op, double part)
{
    tn_rig_program *a = build(gpu, c, 1), *b = build(cpu, c, 1);
    expect_node(a, op, 1);
    for (uint32_t i = 0; i < tn_rig_output_count(a); i++) {
        const tn_rig_result got = tn_rig_output(a, i);
        const tn_rig_result want = tn_rig_output(b, i);
        double off = 0.0, size = 0.0;
        assert_int_equal(got.count, want.count);
        for (int64_t k = 0; k < got.count; k++) {
            const double d = got.values[k] - want.values[k];
            off += d * d;
            size += want.values[k] * want.values[k];
        }
        if (!(sqrt(off) <= part * sqrt(size)))
            print_error("output %u is off by %g of its size\n", i,
                        sqrt(off / size));
        assert_true(sqrt(off) <= part * sqrt(size));
    }
    tn_rig_free(a);
    tn_rig_free(b);
}

/* An activation between others: what enters a graph, and gradients that leave
 * it, are F32 in any case. */
static tn_tensor inner(tn_builder *b, tn_tensor x)
{
    const int64_t C = tn_dim(b, x, -1);
    return tn_rms_norm(b, x, tn_fill(b, 1.0, C), 1e-5);
}

/* ---- scans ---- */

typedef struct scan {
    int64_t B, T, H, P, G, N;
    uint32_t documents;
} scan;

static void describe_scan(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    const scan *s = with;
    tn_tensor given[7] = {inner(b, in[0]), in[1],   in[2],  inner(b, in[3]),
                          inner(b, in[4]), TN_NONE, TN_NONE};
    given[6] = s->documents ? in[5] : TN_NONE;
    out[0] = inner(b, tn_ssd_scan_within_at(b, given, s->T, NULL, TN_HERE));
}

/* Numbers that BF16 holds: the exponents of decays are sums of their products,
 * and a rounded sum would be another decay. */
typedef struct scan_values {
    double dt[3000], A[8];
    double first[600]; /* documents of 37 rows: where each row's begins */
} scan_values;

static void draw_values(scan_values *v, const scan *s)
{
    for (int64_t i = 0; i < s->B * s->T * s->H; i++)
        v->dt[i] = (double)(1 + i * 37 % 64) / 256.0;
    for (int64_t h = 0; h < s->H; h++)
        v->A[h] = -0.125 * (double)(1 + 5 * h % 16);
    for (int64_t i = 0; i < s->B * s->T; i++)
        v->first[i] = (double)(i % s->T / 37 * 37);
}

static tn_rig_case scan_case(const scan *s, const scan_values *v)
{
    return (tn_rig_case){
        .in = {{.rank = 4, .shape = {s->B, s->T, s->H, s->P}},
               {.rank = 3, .shape = {s->B, s->T, s->H}, .values = v->dt},
               {.rank = 1, .shape = {s->H}, .values = v->A},
               {.rank = 4, .shape = {s->B, s->T, s->G, s->N}},
               {.rank = 4, .shape = {s->B, s->T, s->G, s->N}},
               {.dtype = TN_I32,
                .rank = 2,
                .shape = {s->B, s->T},
                .values = v->first}},
        .in_count = 6,
        .out_count = 1,
        .wrt = 31,
        .describe = describe_scan,
        .with = s};
}

/* Chunks have 64 rows or 128, tiles 64 rows and columns: several of each, whole
 * and in part; heads that share a group and heads that do not. */
static void a_scan_over_many_chunks_is_the_scan(void **state)
{
    (void)state;
    static const scan sizes[] = {{2, 200, 4, 40, 2, 33, 0},
                                 {1, 290, 3, 64, 1, 96, 1},
                                 {2, 64, 2, 70, 2, 16, 1},
                                 {1, 9, 3, 8, 1, 130, 0}};
    for (int i = 0; i < 4; i++) {
        scan_values v;
        draw_values(&v, &sizes[i]);
        tn_rig_case c = scan_case(&sizes[i], &v);
        expect_agreement(&c, "ssd_scan_bwd", 2e-4, 2e-5);
        /* Tensor cores round decayed products and states as well. Nothing is
         * asked of A's gradient, a sum over all rows that nearly cancels. */
        c.wrt &= ~4u;
        expect_rounded(&c, "ssd_scan_bwd", 0.04);
    }
}

/* All but the last rows of a scan. */
static void describe_front(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                           const void *with)
{
    const scan *s = with;
    const tn_tensor y =
        tn_ssd_scan(b, in[0], in[1], in[2], in[3], in[4], TN_NONE, s->T, NULL);
    out[0] = tn_slice(b, y, 1, 0, s->T - 3);
}

/* Not nearly 0: optimizers take signs. Outputs are y, dx and ddt. */
static void rows_that_nobody_reads_have_gradients_of_zero(void **state)
{
    (void)state;
    const scan s = {1, 90, 3, 17, 1, 20, 0};
    scan_values v;
    draw_values(&v, &s);
    tn_rig_case c = scan_case(&s, &v);
    c.describe = describe_front;
    c.wrt = 3;
    tn_rig_program *p = build(gpu, &c, 0);
    expect_node(p, "ssd_scan_bwd", 0);
    for (uint32_t i = 1; i < 3; i++) {
        const tn_rig_result d = tn_rig_output(p, i);
        const int64_t row = d.count / s.T;
        for (int64_t k = 0; k < d.count; k++)
            if (k >= (s.T - 3) * row)
                assert_true(d.values[k] == 0.0);
    }
    tn_rig_free(p);
}

/* A few rows from a state: the recurrence. */
static void describe_few(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                         const void *with)
{
    const scan *s = with;
    const tn_tensor given[7] = {in[0], in[1], in[2],  in[3],
                                in[4], in[5], TN_NONE};
    out[0] = tn_ssd_scan_within_at(b, given, s->T, &out[1], TN_HERE);
}

static void a_scan_of_a_few_rows_goes_on_from_its_state(void **state)
{
    (void)state;
    const scan s = {3, 3, 4, 19, 2, 70, 0};
    scan_values v;
    draw_values(&v, &s);
    tn_rig_case c = scan_case(&s, &v);
    c.in[5] = (tn_rig_leaf){.rank = 4, .shape = {s.B, s.H, s.P, s.N}};
    c.out_count = 2;
    c.wrt = 0;
    c.describe = describe_few;
    expect_agreement(&c, "ssd_scan", 1e-5, 1e-5);
    expect_rounded(&c, "ssd_scan", 0.01);
}

/* ---- convolutions ---- */

typedef struct conv {
    int64_t B, T, C, K;
    uint32_t history;
} conv;

static void describe_conv(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    const conv *s = with;
    out[0] = inner(b, tn_conv1d_causal(b, inner(b, in[0]), in[1],
                                       s->history ? in[2] : TN_NONE));
}

/* 8 rows to a thread, 64 to a part, 128 channels to a block */
static void a_convolution_over_many_blocks_is_the_convolution(void **state)
{
    (void)state;
    static const conv sizes[] = {
        {2, 150, 130, 4, 0}, {1, 65, 257, 3, 1}, {3, 7, 5, 2, 0}};
    for (int i = 0; i < 3; i++) {
        const conv *s = &sizes[i];
        const tn_rig_case c = {
            .in = {{.rank = 3, .shape = {s->B, s->T, s->C}},
                   {.op = TN_OP_PARAM, .rank = 2, .shape = {s->C, s->K}},
                   {.rank = 3, .shape = {s->B, s->K - 1, s->C}}},
            .in_count = 3,
            .out_count = 1,
            .wrt = 3,
            .describe = describe_conv,
            .with = s};
        expect_agreement(&c, "conv1d_causal_bwd", 1e-4, 1e-5);
        expect_rounded(&c, "conv1d_causal_bwd", 0.01);
    }
}

/* ---- norms ---- */

static void describe_norm(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    (void)with;
    out[0] = inner(b, tn_rms_norm(b, inner(b, in[0]), in[1], 1e-5));
}

static void a_norm_of_long_rows_is_the_norm(void **state)
{
    (void)state;
    const tn_rig_case c = {
        .in = {{.rank = 2, .shape = {37, 261}},
               {.op = TN_OP_PARAM, .rank = 1, .shape = {261}}},
        .in_count = 2,
        .out_count = 1,
        .wrt = 3,
        .describe = describe_norm};
    expect_agreement(&c, "rms_norm_bwd", 1e-5, 1e-5);
    expect_rounded(&c, "rms_norm_bwd", 0.01);
}

/* ---- attention ---- */

typedef struct attention {
    int64_t window;
    double softcap;
    uint32_t bidirectional;
} attention;

static void describe_attention(tn_builder *b, const tn_tensor *in,
                               tn_tensor *out, const void *with)
{
    const attention *w = with;
    const tn_attention_attr attr = {.softcap = w->softcap,
                                    .window = w->window,
                                    .bidirectional = w->bidirectional};
    out[0] =
        inner(b, tn_attention_at(b, inner(b, in[0]), inner(b, in[1]),
                                 inner(b, in[2]), TN_NONE, &attr, TN_HERE));
}

/* Tiles are 64 rows: sizes are none of their multiples. */
static void attention_over_many_tiles_is_attention(void **state)
{
    (void)state;
    static const attention ways[] = {{0, 0.0, 0}, {40, 1.5, 0}, {0, 0.0, 1}};
    for (int i = 0; i < 3; i++) {
        const tn_rig_case c = {.in = {{.rank = 4, .shape = {2, 77, 4, 70}},
                                      {.rank = 4, .shape = {2, 149, 2, 70}},
                                      {.rank = 4, .shape = {2, 149, 2, 33}}},
                               .in_count = 3,
                               .out_count = 1,
                               .wrt = 7,
                               .describe = describe_attention,
                               .with = &ways[i]};
        expect_agreement(&c, "attention_bwd", 2e-5, 1e-5);
        expect_rounded(&c, "attention_bwd", 0.02);
    }
}

static void describe_two_sizes(tn_builder *b, const tn_tensor *in,
                               tn_tensor *out, const void *with)
{
    const tn_attention_attr attr = {.scale = 0.0};
    (void)with;
    for (int i = 0; i < 2; i++)
        out[i] =
            tn_attention_at(b, in[i], in[i], in[i], TN_NONE, &attr, TN_HERE);
}

/* What one launch of a kernel needs is no bound for the others. */
static void heads_of_two_sizes_share_a_kernel(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{128, 80}, {80, 128}};
    for (int i = 0; i < 2; i++) {
        const tn_rig_case c = {
            .in = {{.rank = 4, .shape = {1, 20, 1, sizes[i][0]}},
                   {.rank = 4, .shape = {1, 20, 1, sizes[i][1]}}},
            .in_count = 2,
            .out_count = 2,
            .wrt = 3,
            .describe = describe_two_sizes};
        expect_agreement(&c, "attention_bwd", 2e-5, 1e-5);
    }
}

/* As a decoder has it: rows at positions of their own, one of them padded, one
 * at the start of its document; more queries than a block takes. */
static void describe_few_rows(tn_builder *b, const tn_tensor *in,
                              tn_tensor *out, const void *with)
{
    const attention *w = with;
    const tn_attention_attr attr = {.softcap = w->softcap,
                                    .window = w->window,
                                    .bidirectional = w->bidirectional};
    const tn_tensor given[5] = {inner(b, in[0]), inner(b, in[1]),
                                inner(b, in[2]), in[3], in[4]};
    out[0] = inner(b, tn_attention_within_at(b, given, &attr, TN_HERE));
}

static void attention_of_a_few_rows_is_split_over_the_keys(void **state)
{
    static const attention ways[] = {{0, 0.0, 0}, {90, 1.5, 0}, {0, 0.0, 1}};
    static const double positions[] = {0, 299, -1, 130, 64, 200},
                        first[] = {0, 0, 0, 130, 3, 150};
    static const int64_t widths[][2] = {{72, 33}, {64, 160}, {330, 257}};
    (void)state;
    for (int i = 0; i < 3; i++) {
        const int64_t D = widths[i][0], E = widths[i][1];
        const tn_rig_case c = {.in = {{.rank = 4, .shape = {2, 3, 6, D}},
                                      {.rank = 4, .shape = {2, 300, 2, D}},
                                      {.rank = 4, .shape = {2, 300, 2, E}},
                                      {.dtype = TN_I32,
                                       .rank = 2,
                                       .shape = {2, 3},
                                       .values = positions},
                                      {.dtype = TN_I32,
                                       .rank = 2,
                                       .shape = {2, 3},
                                       .values = first}},
                               .in_count = 5,
                               .out_count = 1,
                               .describe = describe_few_rows,
                               .with = &ways[i]};
        expect_agreement(&c, "attention", 2e-5, 1e-5);
        expect_rounded(&c, "attention", 0.02);
    }
}

/* ---- loss ---- */

static void describe_loss(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    (void)with;
    out[0] = tn_linear_cross_entropy(b, in[0], in[1], in[2], 2.0);
}

static void a_loss_of_many_classes_is_the_loss(void **state)
{
    (void)state;
    enum { ROWS = 70, CLASSES = 1031, COLUMNS = 37 };
    const tn_rig_case c = {
        .in = {{.rank = 2, .shape = {ROWS, COLUMNS}},
               {.op = TN_OP_PARAM, .rank = 2, .shape = {CLASSES, COLUMNS}},
               {.dtype = TN_I32,
                .rank = 1,
                .shape = {ROWS},
                .low = -1,
                .high = CLASSES - 1}},
        .in_count = 3,
        .out_count = 1,
        .wrt = 3,
        .describe = describe_loss};
    expect_agreement(&c, "linear_cross_entropy_bwd", 2e-6, 1e-5);
    expect_rounded(&c, "linear_cross_entropy_bwd", 0.01);
}

/* ---- products ---- */

static void describe_product(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                             const void *with)
{
    (void)with;
    out[0] = tn_matmul(b, in[0], in[1]);
}

/* Rows, columns, inner: tiles of 128, of 64, of 64 in parts, of a few rows. */
static void products_of_every_tile_agree(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {
        {2049, 2050, 3}, {70, 65, 1537}, {40, 45, 3001}, {3, 500, 300}};
    for (int i = 0; i < 4; i++) {
        const tn_rig_case c = {
            .in = {{.rank = 2, .shape = {sizes[i][0], sizes[i][2]}},
                   {.rank = 2, .shape = {sizes[i][2], sizes[i][1]}}},
            .in_count = 2,
            .out_count = 1,
            .wrt = i ? 3 : 0,
            .describe = describe_product};
        expect_agreement(&c, "matmul", 2e-4, 1e-5);
        expect_rounded(&c, "matmul", 0.01);
    }
}

static int setup(void **state)
{
    (void)state;
    gpu = tn_rig_open("cuda", "{}");
    cpu = tn_rig_open("cpu", "{}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tn_rig_close(gpu);
    tn_rig_close(cpu);
    return 0;
}

/* ---- stacked matrices ---- */

static void describe_newton(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *with)
{
    const int64_t *steps = with;
    out[0] = tn_newton_schulz(b, in[0], .steps = *steps, .a = 3.4445,
                              .b = -4.775, .c = 2.0315, .eps = 1e-7);
}

/* Whole products and halves of them, of small tiles and large. */
static void matrices_of_every_shape_are_orthogonalised(void **state)
{
    static const struct {
        int64_t count, rows, columns, steps;
    } shapes[] = {{3, 33, 64, 5},
                  {2, 150, 70, 5},
                  {3, 65, 200, 4},
                  {1, 200, 200, 5},
                  {90, 129, 129, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const tn_rig_case c = {
            .in = {{.rank = 3,
                    .shape = {shapes[i].count, shapes[i].rows,
                              shapes[i].columns}}},
            .in_count = 1,
            .out_count = 1,
            .describe = describe_newton,
            .with = &shapes[i].steps};
        expect_agreement(&c, "newton_schulz", 1e-4, 1e-4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_over_many_chunks_is_the_scan),
        cmocka_unit_test(rows_that_nobody_reads_have_gradients_of_zero),
        cmocka_unit_test(a_scan_of_a_few_rows_goes_on_from_its_state),
        cmocka_unit_test(a_convolution_over_many_blocks_is_the_convolution),
        cmocka_unit_test(a_norm_of_long_rows_is_the_norm),
        cmocka_unit_test(attention_over_many_tiles_is_attention),
        cmocka_unit_test(heads_of_two_sizes_share_a_kernel),
        cmocka_unit_test(attention_of_a_few_rows_is_split_over_the_keys),
        cmocka_unit_test(a_loss_of_many_classes_is_the_loss),
        cmocka_unit_test(products_of_every_tile_agree),
        cmocka_unit_test(matrices_of_every_shape_are_orthogonalised),
    };
    if (!cuda_can_run())
        return 0;
    return cmocka_run_group_tests(tests, setup, teardown);
}
