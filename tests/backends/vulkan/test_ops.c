/*
 * test_ops.c - sizes at which this backend cuts its work: several chunks of a
 * loss, tiles of attention, parts of a product, command buffers of a plan.
 * tests/conformance judges every op at small sizes; the yardstick here is the
 * CPU backend, which that suite judges too.
 */
#include "vulkan_device.h"

#include <math.h>

static tn_rig *gpu, *cpu;

/* Every output and gradient within `relative` of the CPU's, or `absolute`. */
static void expect_agreement(const tn_rig_case *c, double absolute,
                             double relative)
{
    const tn_rig_how how = {.dtype = TN_F32, .no_fuse = c->update};
    tn_error err = TN_ERROR_NONE;
    tn_rig_program *a = tn_rig_build(gpu, c, &how, &err);
    tn_rig_program *b = tn_rig_build(cpu, c, &how, &err);
    if (!a || !b)
        print_error("%s\n", err.message);
    assert_true(a && b);
    tn_assert_ok_err(tn_rig_run(a, &err), err);
    tn_assert_ok_err(tn_rig_run(b, &err), err);
    for (uint32_t i = 0; i < tn_rig_output_count(a); i++) {
        const tn_rig_result got = tn_rig_output(a, i);
        tn_assert_close_double(got.values, tn_rig_output(b, i).values,
                               got.count, absolute, relative);
    }
    tn_rig_free(a);
    tn_rig_free(b);
}

/* The plan of a case has at least so many nodes of this op. */
static void expect_op(const tn_rig_case *c, const char *name, uint32_t least)
{
    const tn_rig_how how = {.dtype = TN_F32, .no_fuse = c->update};
    tn_rig_program *p = tn_rig_build(gpu, c, &how, NULL);
    assert_non_null(p);
    const tn_plan *plan = tn_rig_plan(p);
    uint32_t found = 0;
    for (uint32_t i = 0; i < plan->node_count; i++)
        found += !strcmp(plan->nodes[i].name, name);
    tn_rig_free(p);
    assert_true(found >= least);
}

/* ---- loss ---- */

static void describe_loss(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    const double *softcap = with;
    out[0] = tn_linear_cross_entropy(b, in[0], in[1], in[2], *softcap);
}

/* 68 MB of logits: two chunks, the second smaller than the first. */
static void a_loss_in_chunks_is_the_loss(void **state)
{
    (void)state;
    enum { ROWS = 1701, CLASSES = 10007, COLUMNS = 6 };
    static const double softcap = 2.0;
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
        .describe = describe_loss,
        .with = &softcap};
    expect_op(&c, "linear_cross_entropy_bwd", 1);
    expect_agreement(&c, 2e-6, 1e-5);
}

enum { NAN_ROWS = 4, NAN_CLASSES = 10, NAN_COLUMNS = 3 };

/* Outputs are the loss of each row, dx and dw. */
static void expect_nan_in_rows(const tn_rig_case *c, int last)
{
    const tn_rig_how how = {.dtype = TN_F32};
    tn_rig_program *p = tn_rig_build(gpu, c, &how, NULL);
    assert_non_null(p);
    tn_assert_ok(tn_rig_run(p, NULL));
    const double *nll = tn_rig_output(p, 0).values;
    const double *dx = tn_rig_output(p, 1).values;
    const tn_rig_result dw = tn_rig_output(p, 2);
    for (int row = 0; row < NAN_ROWS; row++) {
        assert_int_equal(isnan(nll[row]), row <= last);
        for (int i = 0; i < NAN_COLUMNS; i++)
            assert_int_equal(isnan(dx[row * NAN_COLUMNS + i]), row <= last);
    }
    for (int64_t i = 0; i < dw.count; i++)
        assert_true(isnan(dw.values[i]));
    tn_rig_free(p);
}

/* A run that has gone wrong must not look as if it were learning: neither a
 * broken row of x, which is row 0, nor a class of the head that is nobody's
 * target. */
static void a_loss_of_nan_is_nan(void **state)
{
    (void)state;
    static const double caps[] = {0.0, 2.0}, target[NAN_ROWS] = {1, 2, 3, 4};
    for (int way = 0; way < 4; way++) {
        double x[NAN_ROWS * NAN_COLUMNS], w[NAN_CLASSES * NAN_COLUMNS];
        for (int i = 0; i < NAN_ROWS * NAN_COLUMNS; i++)
            x[i] = 0.1 * i;
        for (int i = 0; i < NAN_CLASSES * NAN_COLUMNS; i++)
            w[i] = 0.01 * i;
        *(way & 1 ? &x[1] : &w[7 * NAN_COLUMNS]) = (double)NAN;
        const tn_rig_case c = {
            .in = {{.rank = 2, .shape = {NAN_ROWS, NAN_COLUMNS}, .values = x},
                   {.op = TN_OP_PARAM,
                    .rank = 2,
                    .shape = {NAN_CLASSES, NAN_COLUMNS},
                    .values = w},
                   {.dtype = TN_I32,
                    .rank = 1,
                    .shape = {NAN_ROWS},
                    .values = target}},
            .in_count = 3,
            .out_count = 1,
            .wrt = 3,
            .describe = describe_loss,
            .with = &caps[way >> 1]};
        expect_op(&c, "linear_cross_entropy_bwd", 1);
        expect_nan_in_rows(&c, way & 1 ? 0 : NAN_ROWS - 1);
    }
}

/* ---- attention ---- */

typedef struct attention {
    int64_t window;
    double softcap;
    uint32_t bidirectional, positions;
} attention;

static void describe_attention(tn_builder *b, const tn_tensor *in,
                               tn_tensor *out, const void *with)
{
    const attention *w = with;
    const tn_attention_attr attr = {.softcap = w->softcap,
                                    .window = w->window,
                                    .bidirectional = w->bidirectional};
    out[0] = tn_attention_at(b, in[0], in[1], in[2],
                             w->positions ? in[3] : TN_NONE, &attr, TN_HERE);
}

/* Tiles are 32 rows, slices 32 columns: sizes are none of their multiples. */
static void attention_over_many_tiles_is_attention(void **state)
{
    (void)state;
    static const attention ways[] = {
        {0, 0.0, 0, 0}, {40, 1.5, 0, 0}, {0, 0.0, 1, 0}, {50, 0.0, 0, 1}};
    for (int i = 0; i < 4; i++) {
        const tn_rig_case c = {.in = {{.rank = 4, .shape = {2, 77, 4, 70}},
                                      {.rank = 4, .shape = {2, 109, 2, 70}},
                                      {.rank = 4, .shape = {2, 109, 2, 33}},
                                      {.dtype = TN_I32,
                                       .rank = 2,
                                       .shape = {2, 77},
                                       .low = -1,
                                       .high = 108}},
                               .in_count = 4,
                               .out_count = 1,
                               .wrt = 7,
                               .describe = describe_attention,
                               .with = &ways[i]};
        expect_op(&c, "attention_bwd", 1);
        expect_agreement(&c, 2e-5, 1e-5);
    }
}

/* ---- sequences ---- */

typedef struct scan {
    int64_t B, T, H, P, G, N;
    uint32_t pitched; /* x, Bm and Cm are parts of longer rows */
} scan;

static tn_tensor part_in(tn_builder *b, tn_tensor x, const scan *s)
{
    return s->pitched ? tn_slice(b, x, 2, 1, tn_dim(b, x, 2) - 1) : x;
}

static void describe_scan(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    const scan *s = with;
    out[0] =
        tn_ssd_scan(b, part_in(b, in[0], s), in[1], in[2], part_in(b, in[3], s),
                    part_in(b, in[4], s), TN_NONE, s->T, NULL);
}

static void describe_conv_and_norm(tn_builder *b, const tn_tensor *in,
                                   tn_tensor *out, const void *with)
{
    (void)with;
    const tn_tensor y = tn_conv1d_causal(b, in[0], in[1], TN_NONE);
    out[0] = tn_rms_norm(b, y, in[2], 1e-5);
}

/* Parts of 64 rows, blocks of 64 channels, rows of 8: none is whole. */
static void convolutions_and_norms_have_kernels(void **state)
{
    (void)state;
    const tn_rig_case c = {.in = {{.rank = 3, .shape = {2, 133, 70}},
                                  {.rank = 2, .shape = {70, 4}},
                                  {.rank = 1, .shape = {70}}},
                           .in_count = 3,
                           .out_count = 1,
                           .wrt = 7,
                           .describe = describe_conv_and_norm};
    expect_op(&c, "conv1d_causal", 1);
    expect_op(&c, "conv1d_causal_bwd", 1);
    expect_op(&c, "rms_norm", 1);
    expect_op(&c, "rms_norm_bwd", 1);
    expect_agreement(&c, 2e-4, 2e-5);
}

static tn_rig_case scan_case(const scan *s)
{
    return (tn_rig_case){
        .in =
            {{.rank = 4, .shape = {s->B, s->T, s->H + s->pitched, s->P}},
             {.rank = 3, .shape = {s->B, s->T, s->H}, .low = 0.01, .high = 0.3},
             {.rank = 1, .shape = {s->H}, .low = -3.0, .high = -0.1},
             {.rank = 4, .shape = {s->B, s->T, s->G + s->pitched, s->N}},
             {.rank = 4, .shape = {s->B, s->T, s->G + s->pitched, s->N}}},
        .in_count = 5,
        .out_count = 1,
        .wrt = 31,
        .describe = describe_scan,
        .with = s};
}

/* Chunks have 64 rows or 128, tiles 32 rows and columns: several of each, whole
 * and in part; heads that share a group and heads that do not. */
static void a_scan_over_many_chunks_is_the_scan(void **state)
{
    (void)state;
    static const scan sizes[] = {{2, 300, 4, 40, 2, 33, 0},
                                 {1, 290, 3, 64, 1, 96, 1},
                                 {3, 64, 2, 33, 2, 16, 1},
                                 {1, 9, 5, 8, 1, 130, 0}};
    for (int i = 0; i < 4; i++) {
        const tn_rig_case c = scan_case(&sizes[i]);
        expect_op(&c, "ssd_scan", 1);
        expect_op(&c, "ssd_scan_bwd", 1);
        expect_agreement(&c, 2e-4, 2e-5);
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
    static const scan s = {1, 90, 3, 17, 1, 20, 0};
    const tn_rig_how how = {.dtype = TN_F32};
    tn_rig_case c = scan_case(&s);
    c.describe = describe_front;
    c.wrt = 3;
    expect_op(&c, "ssd_scan_bwd", 1);
    tn_rig_program *p = tn_rig_build(gpu, &c, &how, NULL);
    assert_non_null(p);
    tn_assert_ok(tn_rig_run(p, NULL));
    for (uint32_t i = 1; i < 3; i++) {
        const tn_rig_result d = tn_rig_output(p, i);
        const int64_t row = d.count / s.T;
        for (int64_t k = (s.T - 3) * row; k < d.count; k++)
            assert_true(d.values[k] == 0.0);
    }
    tn_rig_free(p);
}

/* ---- packed documents ---- */

enum { PACKED_BATCH = 2, PACKED = 77, DOCUMENT = 13 };

static void describe_packed_attention(tn_builder *b, const tn_tensor *in,
                                      tn_tensor *out, const void *with)
{
    const tn_attention_attr attr = {.softcap = 1.5};
    const tn_tensor x[] = {in[0], in[1], in[2], TN_NONE, in[3]};
    (void)with;
    out[0] = tn_attention_within_at(b, x, &attr, TN_HERE);
}

static void describe_packed_conv(tn_builder *b, const tn_tensor *in,
                                 tn_tensor *out, const void *with)
{
    const tn_tensor x[] = {in[0], in[1], TN_NONE, in[2]};
    (void)with;
    out[0] = tn_conv1d_within_at(b, x, TN_HERE);
}

static void describe_packed_scan(tn_builder *b, const tn_tensor *in,
                                 tn_tensor *out, const void *with)
{
    const tn_tensor x[] = {in[0], in[1], in[2], in[3], in[4], TN_NONE, in[5]};
    (void)with;
    out[0] = tn_ssd_scan_within_at(b, x, PACKED, NULL, TN_HERE);
}

/* The last input is where each row's document begins. */
static void expect_packed(tn_rig_case c, const char *op)
{
    static double first[PACKED_BATCH * PACKED];
    for (int i = 0; i < PACKED_BATCH * PACKED; i++)
        first[i] = i % PACKED / DOCUMENT * DOCUMENT;
    c.in[c.in_count++] = (tn_rig_leaf){.dtype = TN_I32,
                                       .rank = 2,
                                       .shape = {PACKED_BATCH, PACKED},
                                       .values = first};
    c.out_count = 1;
    expect_op(&c, op, 1);
    expect_agreement(&c, 2e-4, 2e-5);
}

/* Decomposed, their attention would keep PACKED x PACKED scores of each head.
 */
static void packed_documents_have_kernels(void **state)
{
    const tn_rig_leaf vectors = {.rank = 4,
                                 .shape = {PACKED_BATCH, PACKED, 2, 20}};
    const tn_rig_leaf steps = {.rank = 3,
                               .shape = {PACKED_BATCH, PACKED, 2},
                               .low = 0.01,
                               .high = 0.3};
    (void)state;
    expect_packed((tn_rig_case){.in = {vectors, vectors, vectors},
                                .in_count = 3,
                                .wrt = 7,
                                .describe = describe_packed_attention},
                  "attention_bwd");
    expect_packed(
        (tn_rig_case){.in = {{.rank = 3, .shape = {PACKED_BATCH, PACKED, 70}},
                             {.rank = 2, .shape = {70, 4}}},
                      .in_count = 2,
                      .wrt = 3,
                      .describe = describe_packed_conv},
        "conv1d_causal_bwd");
    expect_packed(
        (tn_rig_case){
            .in = {vectors,
                   steps,
                   {.rank = 1, .shape = {2}, .low = -3.0, .high = -0.1},
                   vectors,
                   vectors},
            .in_count = 5,
            .wrt = 31,
            .describe = describe_packed_scan},
        "ssd_scan_bwd");
}

/* ---- reductions ---- */

static void describe_sums_of_rows(tn_builder *b, const tn_tensor *in,
                                  tn_tensor *out, const void *with)
{
    (void)with;
    out[0] = tn_sum(b, tn_mul(b, in[0], in[1]), 1u << 1);
}

/* A workgroup for each row: two axes of them, one more than there are rows.
 * The rig looks at the bytes behind the sums. */
static void
more_sums_than_an_axis_has_workgroups_stay_in_their_tensor(void **state)
{
    (void)state;
    const tn_rig_case c = {.in = {{.rank = 2, .shape = {65537, 1}},
                                  {.rank = 2, .shape = {1, 1024}}},
                           .in_count = 2,
                           .out_count = 1,
                           .describe = describe_sums_of_rows};
    expect_op(&c, "reduce", 1);
    expect_agreement(&c, 1e-4, 1e-4);
}

/* ---- products ---- */

static void describe_product(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                             const void *with)
{
    (void)with;
    out[0] = tn_matmul(b, in[0], in[1]);
}

/* Rows, columns, inner: tiles of 128, of 64, of 32 in parts, of 8. */
static void products_of_every_tile_agree(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{2049, 2050, 3},
                                       {1030, 1025, 5},
                                       {70, 65, 1537},
                                       {40, 45, 3001},
                                       {3, 1000, 700}};
    for (int i = 0; i < 5; i++) {
        const tn_rig_case c = {
            .in = {{.rank = 2, .shape = {sizes[i][0], sizes[i][2]}},
                   {.rank = 2, .shape = {sizes[i][2], sizes[i][1]}}},
            .in_count = 2,
            .out_count = 1,
            .wrt = i > 1 ? 3 : 0,
            .describe = describe_product};
        expect_agreement(&c, 2e-4, 1e-5);
    }
}

/* ---- elements of two bytes ---- */

typedef struct halves {
    tn_dtype dtype;
    uint32_t turned; /* bit 0: a lies (K, M); bit 1: b lies (N, K) */
} halves;

static tn_tensor half_operand(tn_builder *b, tn_tensor x, const halves *h,
                              uint32_t bit)
{
    const tn_tensor half = tn_cast(b, x, h->dtype);
    return h->turned & bit ? tn_transpose(b, half) : half;
}

static void describe_half_product(tn_builder *b, const tn_tensor *in,
                                  tn_tensor *out, const void *with)
{
    const halves *h = with;
    const tn_tensor x = half_operand(b, in[0], h, 1);
    const tn_tensor y = half_operand(b, in[1], h, 2);
    out[0] = tn_cast(b, tn_matmul(b, x, y), TN_F32);
}

typedef struct product {
    int64_t batch, rows, columns, inner;
} product;

static void expect_half_product(tn_rig *oracle, const product *p,
                                const halves *h)
{
    const tn_rig_how how = {.dtype = TN_F32};
    tn_rig_case c = {.in = {{.rank = 3, .shape = {p->batch, p->rows, p->inner}},
                            {.rank = 2, .shape = {p->inner, p->columns}}},
                     .in_count = 2,
                     .out_count = 1,
                     .describe = describe_half_product,
                     .with = h};
    if (h->turned & 1)
        c.in[0].shape[1] = p->inner, c.in[0].shape[2] = p->rows;
    if (h->turned & 2)
        c.in[1].shape[0] = p->columns, c.in[1].shape[1] = p->inner;
    tn_rig_program *got = tn_rig_build(gpu, &c, &how, NULL);
    tn_rig_program *want = tn_rig_build(oracle, &c, &how, NULL);
    assert_true(got && want);
    tn_assert_ok(tn_rig_run(got, NULL));
    tn_assert_ok(tn_rig_run(want, NULL));
    const tn_rig_result y = tn_rig_output(got, 0);
    tn_assert_close_double(y.values, tn_rig_output(want, 0).values, y.count,
                           1e-4, 0x1p-7);
    tn_rig_free(got);
    tn_rig_free(want);
}

/* By cooperative matrices where the device has them: workgroups make 64 x 64
 * results of slices of 32, whole and in part; long sums are cut into parts. */
static void products_of_halves_agree_in_every_orientation(void **state)
{
    (void)state;
    static const product sizes[] = {{2, 70, 65, 40}, {1, 64, 128, 1537}};
    tn_rig *oracle = tn_rig_open("reference", "{}");
    for (uint32_t i = 0; i < 16; i++) {
        const halves h = {i & 1 ? TN_BF16 : TN_F16, i >> 1 & 3};
        expect_half_product(oracle, &sizes[i >> 3], &h);
    }
    tn_rig_close(oracle);
}

static void describe_halves(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *with)
{
    const tn_dtype dtype = *(const tn_dtype *)with;
    const tn_tensor x = tn_cast(b, in[0], dtype), y = tn_cast(b, in[1], dtype);
    out[0] = tn_cast(b, tn_matmul(b, x, y), TN_F32);
    out[1] = tn_cast(b, x, TN_F32);
    out[2] = tn_cast(b, tn_cast(b, in[2], dtype), TN_F32);
}

/* The same number, infinities too; what is below the floats may be 0. */
static void expect_casts(const tn_rig_program *got, const tn_rig_program *want,
                         uint32_t output)
{
    const tn_rig_result a = tn_rig_output(got, output);
    const tn_rig_result b = tn_rig_output(want, output);
    for (int64_t i = 0; i < a.count; i++) {
        const double x = a.values[i], y = b.values[i];
        if (!(x == y || (x - y < 1e-37 && y - x < 1e-37)))
            print_error("[%lld]: %.9g, not %.9g\n", (long long)i, x, y);
        assert_true(x == y || (x - y < 1e-37 && y - x < 1e-37));
    }
}

/* By tiles and by rows; numbers down to where F16 has few bits left, and up to
 * where it is infinite. The oracle rounds alike: casts have the same bits. */
static void products_of_halves_are_those_of_the_oracle(void **state)
{
    (void)state;
    static const tn_dtype dtypes[] = {TN_BF16, TN_F16};
    static const int64_t rows[] = {70, 3};
    static const double edges[] = {
        65504,  65519.9, 65520,     1e6,     -1e30,    6.1e-5, 6.0e-5, 5.97e-8,
        2.9e-8, -3.1e-8, 1.0009765, 1.00049, 1.001464, 0,      -2.5,   3.0e-39};
    tn_rig *oracle = tn_rig_open("reference", "{}");
    for (int i = 0; i < 4; i++) {
        const tn_rig_how how = {.dtype = TN_F32};
        const tn_rig_case c = {
            .in = {{.rank = 2, .shape = {rows[i / 2], 150}},
                   {.rank = 2, .shape = {150, 65}},
                   {.rank = 1, .shape = {16}, .values = edges}},
            .in_count = 3,
            .out_count = 3,
            .describe = describe_halves,
            .with = &dtypes[i % 2]};
        tn_rig_program *got = tn_rig_build(gpu, &c, &how, NULL);
        tn_rig_program *want = tn_rig_build(oracle, &c, &how, NULL);
        assert_true(got && want);
        tn_assert_ok(tn_rig_run(got, NULL));
        tn_assert_ok(tn_rig_run(want, NULL));
        const tn_rig_result y = tn_rig_output(got, 0);
        tn_assert_close_double(y.values, tn_rig_output(want, 0).values, y.count,
                               1e-4, 0x1p-7);
        expect_casts(got, want, 1);
        expect_casts(got, want, 2);
        tn_rig_free(got);
        tn_rig_free(want);
    }
    tn_rig_close(oracle);
}

/* ---- plans ---- */

enum { LINKS = 2600 };

static void describe_long_plan(tn_builder *b, const tn_tensor *in,
                               tn_tensor *out, const void *with)
{
    tn_tensor x = in[0];
    (void)with;
    for (int i = 0; i < LINKS; i++)
        x = i % 2 ? tn_add(b, x, in[1]) : tn_mul(b, x, in[1]);
    out[0] = x;
}

/* More dispatches than one command buffer holds, each reading the last. */
static void a_plan_of_many_command_buffers_runs_in_order(void **state)
{
    (void)state;
    const tn_rig_case c = {
        .in = {{.rank = 1, .shape = {300}},
               {.rank = 1, .shape = {300}, .low = 0.2, .high = 0.9}},
        .in_count = 2,
        .out_count = 1,
        .update = 1, /* not fused */
        .describe = describe_long_plan};
    expect_op(&c, "map", LINKS);
    expect_agreement(&c, 1e-5, 1e-5);
}

static int setup(void **state)
{
    (void)state;
    gpu = tn_rig_open("vulkan", "{validation: true, cache: false}");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_in_chunks_is_the_loss),
        cmocka_unit_test(a_loss_of_nan_is_nan),
        cmocka_unit_test(attention_over_many_tiles_is_attention),
        cmocka_unit_test(convolutions_and_norms_have_kernels),
        cmocka_unit_test(a_scan_over_many_chunks_is_the_scan),
        cmocka_unit_test(rows_that_nobody_reads_have_gradients_of_zero),
        cmocka_unit_test(packed_documents_have_kernels),
        cmocka_unit_test(
            more_sums_than_an_axis_has_workgroups_stay_in_their_tensor),
        cmocka_unit_test(products_of_every_tile_agree),
        cmocka_unit_test(products_of_halves_agree_in_every_orientation),
        cmocka_unit_test(products_of_halves_are_those_of_the_oracle),
        cmocka_unit_test(a_plan_of_many_command_buffers_runs_in_order),
    };
    if (!vulkan_can_run())
        return 0;
    return cmocka_run_group_tests(tests, setup, teardown);
}
