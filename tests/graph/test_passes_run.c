/*
 * test_passes_run.c - graphs run on the oracle: what a pass changes in the
 * graph must not show in the numbers.
 *
 * Random graphs are computed fused and not, with bytes shared and not; their
 * gradients are checked against central differences in double. A decoder is
 * trained for one micro-batch with layers kept and layers run again: the same
 * bits.
 */
#include "random_graph.h"
#include "stack.h"
#include "tn_rig_private.h"

enum {
    CASES = 60,
    ELEMENTS = RANDOM_ROWS * RANDOM_COLUMNS,
    LEAST_BYTES = 2 * ELEMENTS * 8
};

static tn_rig *rig;

static int open_oracle(void **state)
{
    (void)state;
    rig = tn_rig_open("reference", "{}");
    return 0;
}

static int close_oracle(void **state)
{
    (void)state;
    tn_rig_close(rig);
    return 0;
}

/* ---- random graphs ---- */

static void describe_random(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *with)
{
    const uint32_t *seed = with;
    random_graph r = {.seed = *seed, .pool = {in[0], in[1]}, .count = 2};
    random_describe(&r, b, 4 + *seed % 24);
    out[0] = r.pool[r.count - 1];
    out[1] = r.pool[r.count - 2];
}

static tn_rig_case random_case(const uint32_t *seed)
{
    const tn_rig_leaf leaf = {
        .op = TN_OP_PARAM, .rank = 2, .shape = {RANDOM_ROWS, RANDOM_COLUMNS}};
    return (tn_rig_case){.in = {leaf, leaf},
                         .in_count = 2,
                         .out_count = 2,
                         .wrt = 3,
                         .seed = *seed,
                         .describe = describe_random,
                         .with = seed};
}

/* Both outputs and both gradients, one after another. */
static void run_case(const tn_rig_case *c, const tn_rig_how *how, double *all)
{
    tn_error err = TN_ERROR_NONE;
    tn_rig_program *p = tn_rig_build(rig, c, how, &err);
    tn_assert_ok_err(err.status, err);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    for (uint32_t i = 0; i < 4; i++) {
        const tn_rig_result r = tn_rig_output(p, i);
        for (int64_t k = 0; k < ELEMENTS; k++)
            all[i * ELEMENTS + k] = r.values ? r.values[k] : 0.0;
    }
    tn_rig_free(p);
}

static void fusion_does_not_show_in_the_numbers(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= CASES; seed++) {
        const tn_rig_case c = random_case(&seed);
        double apart[4 * ELEMENTS], fused[4 * ELEMENTS];
        run_case(&c, &(tn_rig_how){.dtype = TN_F64, .no_fuse = 1}, apart);
        run_case(&c, &(tn_rig_how){.dtype = TN_F64}, fused);
        tn_assert_close_double(fused, apart, 4 * ELEMENTS, 1e-12, 1e-11);
    }
}

static void reuse_of_bytes_does_not_show_in_a_bit(void **state)
{
    (void)state;
    for (uint32_t seed = 101; seed <= 100 + CASES; seed++) {
        const tn_rig_case c = random_case(&seed);
        double apart[4 * ELEMENTS], packed[4 * ELEMENTS];
        run_case(&c, &(tn_rig_how){.dtype = TN_F64, .no_reuse = 1}, apart);
        run_case(&c, &(tn_rig_how){.dtype = TN_F64}, packed);
        assert_memory_equal(apart, packed, sizeof apart);
    }
}

/* d/dx sum(out * seed) at one element, by central differences. */
static double slope(tn_rig_program *p, const tn_rig_case *c, uint32_t input,
                    uint32_t element)
{
    const double h = 1e-5;
    double x[ELEMENTS], weight[2][ELEMENTS], sum[2] = {0};
    tn_error err = TN_ERROR_NONE;
    for (uint32_t o = 0; o < 2; o++)
        tn_rig_draw_seed(c, o, ELEMENTS, weight[o]);
    for (int side = 0; side < 2; side++) {
        tn_rig_draw(c, input, x);
        x[element] += side ? h : -h;
        tn_rig_set(p, input, x);
        tn_assert_ok_err(tn_rig_run(p, &err), err);
        for (uint32_t o = 0; o < 2; o++)
            for (uint32_t k = 0; k < ELEMENTS; k++)
                sum[side] += weight[o][k] * tn_rig_output(p, o).values[k];
    }
    tn_rig_draw(c, input, x);
    tn_rig_set(p, input, x);
    return (sum[1] - sum[0]) / (2 * h);
}

static void gradients_of_random_graphs_are_slopes(void **state)
{
    (void)state;
    for (uint32_t seed = 201; seed <= 200 + CASES / 2; seed++) {
        const tn_rig_case c = random_case(&seed);
        double all[4 * ELEMENTS];
        tn_error err = TN_ERROR_NONE;
        const tn_rig_how how = {.dtype = TN_F64};
        run_case(&c, &how, all);
        tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
        tn_assert_ok_err(err.status, err);
        for (uint32_t k = seed % 5; k < ELEMENTS; k += 11)
            for (uint32_t input = 0; input < 2; input++)
                tn_assert_close_double(&all[(2 + input) * ELEMENTS + k],
                                       &(const double){slope(p, &c, input, k)},
                                       1, 1e-6, 1e-5);
        tn_rig_free(p);
    }
}

/* ---- a decoder ---- */

static const stack small = {.batch = 2,
                            .length = 6,
                            .vocabulary = 11,
                            .hidden = 8,
                            .heads = 2,
                            .inner = 12,
                            .layers = 3,
                            .dropout = 0.2,
                            .tied = 1};

typedef struct bytes {
    uint8_t *at;
    int64_t count;
} bytes;

/* Parameters near 0.1, small integers as inputs, the same in every run. */
static void first_bytes(tn_arena arena, const bytes *b, tn_dtype dtype)
{
    const int64_t size = tn_dtype_bytes(dtype);
    if (arena == TN_ARENA_INPUT)
        for (int64_t i = 0; i < b->count / 4; i++)
            memcpy(b->at + 4 * i, &(int32_t){(int32_t)(i * 7 % 11)}, 4);
    if (arena == TN_ARENA_PARAM || arena == TN_ARENA_GRAD)
        for (int64_t i = 0; i < b->count / size; i++) {
            const double v = 0.3 * sin(1.7 * (double)i) + 0.1;
            const float f = (float)v;
            memcpy(b->at + size * i, dtype == TN_F64 ? (const void *)&v : &f,
                   (size_t)size);
        }
}

/* Run a plan once; all bytes afterwards. Arenas have a least size, since a
 * pass may find that a leaf is not needed. */
static void run_plan(const tni_plan *plan, tn_dtype dtype,
                     bytes after[TN_ARENA_COUNT])
{
    const tn_backend *be = rig->backend;
    tn_buffer *buffer[TN_ARENA_COUNT] = {NULL};
    tn_exec *exec = NULL;
    tn_error err = TN_ERROR_NONE;
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++) {
        after[a].count = plan->plan.arena_bytes[a] > LEAST_BYTES
                             ? plan->plan.arena_bytes[a]
                             : LEAST_BYTES;
        after[a].at = malloc((size_t)after[a].count + 1);
        memset(after[a].at, 0x7f, (size_t)after[a].count);
        first_bytes(a, &after[a], dtype);
        tn_assert_ok_err(
            be->alloc(rig->device, after[a].count, &buffer[a], &err), err);
        tn_assert_ok_err(be->upload(rig->device, buffer[a], 0, after[a].at,
                                    after[a].count, &err),
                         err);
    }
    tn_assert_ok_err(be->compile(rig->device, &plan->plan, buffer, &exec, &err),
                     err);
    tn_assert_ok_err(be->run(rig->device, exec, 0, &err), err);
    tn_assert_ok_err(be->wait(rig->device, &err), err);
    be->exec_free(rig->device, exec);
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++) {
        tn_assert_ok_err(be->download(rig->device, after[a].at, buffer[a], 0,
                                      after[a].count, &err),
                         err);
        be->free(rig->device, buffer[a]);
    }
}

static void train_once(const stack_how *how, tn_dtype dtype,
                       bytes after[TN_ARENA_COUNT])
{
    stack_graph s = stack_describe(&small, dtype);
    stack_train(&s, how);
    tni_plan *plan = place(s.l.g, 0);
    tni_graph_destroy(s.l.g);
    run_plan(plan, dtype, after);
    tni_plan_destroy(plan);
}

static void free_bytes(bytes b[TN_ARENA_COUNT])
{
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++)
        free(b[a].at);
}

static void layers_run_again_give_the_same_bits(void **state)
{
    (void)state;
    static const tn_dtype dtypes[] = {TN_F32, TN_F64};
    for (int i = 0; i < 4; i++) {
        const tn_dtype dtype = dtypes[i & 1];
        const tni_target *target = i & 2 ? &primitive : &native;
        bytes kept[TN_ARENA_COUNT], remade[TN_ARENA_COUNT];
        train_once(&(stack_how){target, 1, 0, 0}, dtype, kept);
        train_once(&(stack_how){target, 1, 1, 0}, dtype, remade);
        for (tn_arena a = TN_ARENA_GRAD; a <= TN_ARENA_METRIC; a++) {
            if (a != TN_ARENA_GRAD && a != TN_ARENA_METRIC)
                continue;
            assert_int_equal(kept[a].count, remade[a].count);
            assert_true(kept[a].count > 0);
            assert_memory_equal(kept[a].at, remade[a].at,
                                (size_t)kept[a].count);
        }
        free_bytes(kept);
        free_bytes(remade);
    }
}

static void check_close(const bytes *got, const bytes *want)
{
    assert_int_equal(got->count, want->count);
    tn_assert_close_double((const double *)(const void *)got->at,
                           (const double *)(const void *)want->at,
                           got->count / 8, 1e-11, 1e-9);
}

/* Native or expanded, fused or not, in place or not: one mathematics. */
static void a_decoder_has_one_gradient(void **state)
{
    (void)state;
    bytes want_[TN_ARENA_COUNT];
    train_once(&(stack_how){&native, 1, 0, 1}, TN_F64, want_);
    static const stack_how hows[] = {
        {&native, 1, 0, 0}, {&primitive, 1, 0, 1}, {&primitive, 1, 0, 0}};
    for (int i = 0; i < 3; i++) {
        bytes got[TN_ARENA_COUNT];
        train_once(&hows[i], TN_F64, got);
        check_close(&got[TN_ARENA_GRAD], &want_[TN_ARENA_GRAD]);
        check_close(&got[TN_ARENA_METRIC], &want_[TN_ARENA_METRIC]);
        free_bytes(got);
    }
    free_bytes(want_);
}

/* ---- effects ---- */

/*
 * Leaves that change while they are read: two parameters, a slab that is both
 * of them, a moment, half of the slab as a view. Program order says which
 * bytes a read sees; fusion, binding and sorting may not change that.
 */
static tni_graph *describe_effects(uint32_t seed)
{
    leaves l = {.g = tni_graph_create(TN_F64)};
    tni_graph *g = l.g;
    tn_builder *b = &g->builder;
    const int64_t shape[] = {RANDOM_ROWS, RANDOM_COLUMNS};
    const int64_t both[] = {2 * RANDOM_ROWS, RANDOM_COLUMNS};
    const int64_t pitch = ELEMENTS * 8;
    random_graph r = {.seed = seed};
    tn_tensor leaf[4];
    g->phase = TNI_UPDATE;
    leaf[0] = tni_graph_leaf(g, TN_OP_PARAM, TN_ARENA_PARAM, 0, TN_F64, 2,
                             shape, "p");
    leaf[1] = tni_graph_leaf(g, TN_OP_PARAM, TN_ARENA_PARAM, pitch, TN_F64, 2,
                             shape, "q");
    leaf[2] =
        tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_GRAD, 0, TN_F64, 2, shape, "m");
    const tn_tensor slab = tni_graph_leaf(g, TN_OP_PARAM, TN_ARENA_PARAM, 0,
                                          TN_F64, 2, both, "slab");
    leaf[3] = tn_slice(b, slab, 0, 3, RANDOM_ROWS);
    for (int i = 0; i < 4; i++)
        r.pool[r.count++] = leaf[i];
    for (uint32_t i = 0; i < 3 + seed % 7 && r.count + 4 < RANDOM_POOL; i++) {
        const tn_tensor to = leaf[random_below(&r, 4)];
        const tn_tensor x = random_value(&r), y = random_value(&r);
        const tn_tensor square = tn_matmul(b, x, tn_transpose(b, y));
        const tn_tensor product = tn_matmul(b, square, tn_tanh(b, y));
        random_describe(&r, b, random_below(&r, 3));
        const tn_tensor z = tn_tanh(b, random_value(&r));
        switch (random_below(&r, 3)) {
        case 0:
            r.pool[r.count++] = z;
            tn_assign(b, to, z);
            break;
        case 1:
            tn_assign(b, to, tn_add(b, to, tn_scale(b, z, 0.5)));
            break;
        default:
            tn_assign(b, to, tn_add(b, tn_add(b, z, product), to));
            break;
        }
    }
    return g;
}

static void run_effects(uint32_t seed, int fused, bytes after[TN_ARENA_COUNT])
{
    tni_graph *g = describe_effects(seed);
    lower(g, &primitive);
    if (fused)
        fuse(g, &primitive);
    tni_plan *plan = place(g, !fused);
    tni_graph_destroy(g);
    run_plan(plan, TN_F64, after);
    tni_plan_destroy(plan);
}

static void reads_see_the_bytes_that_program_order_gives_them(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 4 * CASES; seed++) {
        bytes plain[TN_ARENA_COUNT], fused[TN_ARENA_COUNT];
        run_effects(seed, 0, plain);
        run_effects(seed, 1, fused);
        check_close(&fused[TN_ARENA_PARAM], &plain[TN_ARENA_PARAM]);
        check_close(&fused[TN_ARENA_GRAD], &plain[TN_ARENA_GRAD]);
        free_bytes(plain);
        free_bytes(fused);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fusion_does_not_show_in_the_numbers),
        cmocka_unit_test(reuse_of_bytes_does_not_show_in_a_bit),
        cmocka_unit_test(gradients_of_random_graphs_are_slopes),
        cmocka_unit_test(layers_run_again_give_the_same_bits),
        cmocka_unit_test(a_decoder_has_one_gradient),
        cmocka_unit_test(reads_see_the_bytes_that_program_order_gives_them),
    };
    return cmocka_run_group_tests(tests, open_oracle, close_oracle);
}
