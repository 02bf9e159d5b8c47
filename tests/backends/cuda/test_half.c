/*
 * test_half.c - operands that are stored as bf16, which tensor cores multiply:
 * each kernel against the oracle on the same rounded numbers.
 *
 * A result is rounded to bf16 on each side, and a sum beside the middle of two
 * neighbours may be rounded apart: by one unit in the last place, which is 2^-7
 * of the smallest number that has it. Within attention probabilities and
 * gradients of scores are rounded once more, which is what the absolute part is
 * for.
 */
#define _GNU_SOURCE /* setenv */
#include "cuda_device.h"

static tn_rig *cuda, *oracle;

static const double half_unit = 0x1p-8;

/* ---- one case on both ---- */

static tn_rig_program *run_on(tn_rig *rig, const tn_rig_case *c, tn_dtype dtype)
{
    const tn_rig_how how = {.dtype = dtype, .no_fuse = 1};
    tn_error err = TN_ERROR_NONE;
    tn_rig_program *p = tn_rig_build(rig, c, &how, &err);
    tn_assert_ok_err(err.status, err);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    return p;
}

/* `absolute` and relative errors in units of bf16 */
static void expect_agreement(const tn_rig_case *c, double absolute,
                             double relative)
{
    tn_rig_program *got = run_on(cuda, c, TN_F32);
    tn_rig_program *want = run_on(oracle, c, TN_F64);
    for (uint32_t i = 0; i < c->out_count; i++) {
        const tn_rig_result a = tn_rig_output(got, i);
        const tn_rig_result b = tn_rig_output(want, i);
        assert_int_equal(a.count, b.count);
        tn_assert_close_double(a.values, b.values, a.count,
                               absolute * half_unit, relative * half_unit);
    }
    tn_rig_free(got);
    tn_rig_free(want);
}

/* Drawn in f32, and rounded by the graph: see rounded(). */
static tn_rig_leaf half(uint32_t rank, int64_t a, int64_t b, int64_t c,
                        int64_t d)
{
    return (tn_rig_leaf){.rank = rank, .shape = {a, b, c, d}};
}

/* The first `count` inputs as bf16. */
static void rounded(tn_builder *b, const tn_tensor *in, tn_tensor *half_in,
                    int count)
{
    for (int i = 0; i < count; i++)
        half_in[i] = tn_cast(b, in[i], TN_BF16);
}

static tn_rig_leaf whole(uint32_t rank, int64_t a, int64_t b,
                         const double *values)
{
    return (tn_rig_leaf){
        .dtype = TN_I32, .rank = rank, .shape = {a, b}, .values = values};
}

/* ---- products ---- */

/* Operands along k and across it, in all four ways. */
static void describe_matmul(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *with)
{
    tn_tensor x[4];
    (void)with;
    rounded(b, in, x, 4);
    out[0] = tn_matmul(b, x[0], x[1]);
    out[1] = tn_linear(b, x[0], x[2]);
    out[2] = tn_matmul(b, tn_transpose(b, x[0]), x[0]);
    out[3] = tn_matmul(b, tn_transpose(b, x[0]), tn_transpose(b, x[3]));
}

/* Some move by 16 bytes and go to tensor cores, some do not. */
static void products_of_halves(void **state)
{
    (void)state;
    const int64_t sizes[][3] = {{3, 40, 33},     {64, 64, 64},  {130, 70, 150},
                                {136, 200, 144}, {17, 600, 20}, {16, 1000, 24}};
    for (int i = 0; i < 6; i++) {
        const int64_t m = sizes[i][0], k = sizes[i][1], n = sizes[i][2];
        const tn_rig_case c = {.in = {half(2, m, k, 0, 0), half(2, k, n, 0, 0),
                                      half(2, n, k, 0, 0), half(2, n, m, 0, 0)},
                               .in_count = 4,
                               .out_count = 4,
                               .seed = 7,
                               .describe = describe_matmul};
        expect_agreement(&c, 0.01, 2.0);
    }
}

/* Experts' matrices along the sum and across it, and the gradients of them. */
static void describe_grouped(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                             const void *with)
{
    tn_tensor x[4];
    (void)with;
    rounded(b, in, x, 4);
    out[0] = tn_grouped_matmul_at(b, x[0], x[1], in[4], 0, TN_HERE);
    out[1] =
        tn_grouped_matmul_at(b, x[0], tn_transpose(b, x[2]), in[4], 0, TN_HERE);
    out[2] = tn_grouped_matmul_at(b, x[0], x[3], in[4], 1, TN_HERE);
}

/* Groups of no row, of few, and of more than a tile; sizes that move by 16
 * bytes and sizes that do not. */
static void grouped_products_of_halves(void **state)
{
    enum { E = 4 };
    static const double ends[][E + 1] = {{0, 0, 5, 6, 9},
                                         {0, 3, 140, 140, 150}};
    static const int64_t sizes[][2] = {{40, 48}, {136, 144}, {20, 33}};
    (void)state;
    for (int i = 0; i < 6; i++) {
        const int64_t R = (int64_t)ends[i % 2][E];
        const int64_t K = sizes[i / 2][0], N = sizes[i / 2][1];
        const tn_rig_case c = {.in = {half(2, R, K, 0, 0), half(3, E, K, N, 0),
                                      half(3, E, N, K, 0), half(2, R, N, 0, 0),
                                      whole(1, E + 1, 0, ends[i % 2])},
                               .in_count = 5,
                               .out_count = 3,
                               .seed = 11,
                               .describe = describe_grouped};
        expect_agreement(&c, 0.01, 2.0);
    }
}

/* ---- attention ---- */

typedef struct shape {
    int64_t batch, rows, heads, keys, groups, key_size, value_size;
    tn_attention_attr attr;
} shape;

/* x: q, k, v and the gradient of what comes out. */
static void attend(tn_builder *b, const tn_tensor *x, const tn_tensor *in,
                   tn_tensor *out, const shape *s)
{
    tn_tensor made[2], back[3];
    const tn_tensor forward[] = {x[0], x[1], x[2], in[4], in[5]};
    b->api->op(b, TN_OP_ATTENTION, forward, 5, &s->attr, sizeof s->attr, made,
               2, TN_HERE);
    const tn_tensor backward[] = {x[3],    x[0],    x[1],  x[2],
                                  made[0], made[1], in[4], in[5]};
    b->api->op(b, TN_OP_ATTENTION_BWD, backward, 8, &s->attr, sizeof s->attr,
               back, 3, TN_HERE);
    out[0] = made[0];
    out[1] = made[1];
    for (int i = 0; i < 3; i++)
        out[2 + i] = back[i];
}

static void describe_attention(tn_builder *b, const tn_tensor *in,
                               tn_tensor *out, const void *with)
{
    tn_tensor x[4];
    rounded(b, in, x, 4);
    attend(b, x, in, out, with);
}

/* Rows are the last of the keys, but for two that are padding; documents begin
 * at every 37th key. */
static void place_rows(const shape *s, double *position, double *first)
{
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t t = 0; t < s->rows; t++) {
            const int64_t p = s->keys - s->rows + t;
            position[b * s->rows + t] = t < 2 * b ? -1.0 : (double)p;
            first[b * s->rows + t] = (double)(p / 37 * 37);
        }
}

static tn_rig_case attention_case(const shape *s, const double *position,
                                  const double *first)
{
    return (tn_rig_case){
        .in = {half(4, s->batch, s->rows, s->heads, s->key_size),
               half(4, s->batch, s->keys, s->groups, s->key_size),
               half(4, s->batch, s->keys, s->groups, s->value_size),
               half(4, s->batch, s->rows, s->heads, s->value_size),
               whole(2, s->batch, s->rows, position),
               whole(2, s->batch, s->rows, first)},
        .in_count = 6,
        .out_count = 5,
        .seed = 11,
        .describe = describe_attention,
        .with = s};
}

static void check_attention(const shape *s)
{
    double *position = calloc((size_t)(s->batch * s->rows), sizeof *position);
    double *first = calloc((size_t)(s->batch * s->rows), sizeof *first);
    place_rows(s, position, first);
    const tn_rig_case c = attention_case(s, position, first);
    expect_agreement(&c, 3.0, 2.0);
    free(position);
    free(first);
}

static void attention_of_halves(void **state)
{
    (void)state;
    const shape shapes[] = {
        /* gradients in 48 KB of shared memory: first, as nothing was asked for
         */
        {1, 20, 1, 20, 1, 96, 80, {.scale = 0.0}},
        {2, 64, 2, 64, 1, 64, 64, {.scale = 0.0}},
        {1, 70, 2, 100, 2, 16, 32, {.window = 20}},
        {1, 33, 4, 130, 2, 128, 128, {.softcap = 2.0}},
        {1, 40, 2, 40, 1, 192, 128, {.bidirectional = 1}},
        {2, 20, 2, 50, 1, 24, 40, {.scale = 0.3}}, /* not in steps of 16 */
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        check_attention(&shapes[i]);
}

enum { ROWS = 40, FRONT = 4 };

/* What lies in front of each row puts it between 16 bytes. */
static void describe_views(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                           const void *with)
{
    tn_tensor x[4];
    rounded(b, in, x, 4);
    for (int i = 0; i < 3; i++)
        x[i] = tn_slice(b, x[i], 3, FRONT, tn_dim(b, x[i], 3) - FRONT);
    attend(b, x, in, out, with);
}

static void views_between_16_bytes_are_lined_up(void **state)
{
    (void)state;
    const shape s = {1, ROWS, 2, ROWS, 1, 32, 48, {.scale = 0.0}};
    double position[ROWS], first[ROWS];
    place_rows(&s, position, first);
    tn_rig_case c = attention_case(&s, position, first);
    c.describe = describe_views;
    for (int i = 0; i < 3; i++)
        c.in[i].shape[3] += FRONT;
    expect_agreement(&c, 3.0, 2.0);
}

static int has_node(const tn_plan *plan, const char *name)
{
    for (uint32_t i = 0; i < plan->node_count; i++)
        if (!strcmp(plan->nodes[i].name, name))
            return 1;
    return 0;
}

/* The sizes of latent attention on a device that has 99 KB of shared memory for
 * a block, of which the gradients' kernels for f32 would want 189. */
static void heads_of_192_fit_into_little_shared_memory(void **state)
{
    (void)state;
    const shape s = {1, ROWS, 2, ROWS, 1, 192, 128, {.scale = 0.0}};
    double position[ROWS], first[ROWS];
    place_rows(&s, position, first);
    const tn_rig_case c = attention_case(&s, position, first);
    setenv("SIMT_SHARED", "101376", 1);
    tn_rig *small = tn_rig_open("cuda", "{}");
    tn_rig_program *p = run_on(small, &c, TN_F32);
    assert_true(has_node(tn_rig_plan(p), "attention"));
    assert_true(has_node(tn_rig_plan(p), "attention_bwd"));
    tn_rig_free(p);
    tn_rig_close(small);
    unsetenv("SIMT_SHARED");
}

/* ---- rotations ---- */

static void describe_rope(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    const tn_rope_attr attr = {.theta = 10000.0, .dims = 48};
    tn_tensor x[1];
    (void)with;
    rounded(b, in, x, 1);
    b->api->op(b, TN_OP_ROPE, x, 1, &attr, sizeof attr, out, 1, TN_HERE);
}

static void rotations_of_halves(void **state)
{
    (void)state;
    const tn_rig_case c = {.in = {half(4, 2, 19, 3, 64)},
                           .in_count = 1,
                           .out_count = 1,
                           .describe = describe_rope};
    expect_agreement(&c, 0.01, 2.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_halves),
        cmocka_unit_test(grouped_products_of_halves),
        cmocka_unit_test(attention_of_halves),
        cmocka_unit_test(views_between_16_bytes_are_lined_up),
        cmocka_unit_test(heads_of_192_fit_into_little_shared_memory),
        cmocka_unit_test(rotations_of_halves),
    };
    if (!cuda_can_run())
        return 0;
    cuda = tn_rig_open("cuda", "{}");
    oracle = tn_rig_open("reference", "{}");
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tn_rig_close(cuda);
    tn_rig_close(oracle);
    return failed;
}
