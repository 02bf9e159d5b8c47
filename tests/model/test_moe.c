/*
 * test_moe.c - the mixture of experts against loops in double: what it
 * computes, its balance loss, and that its router learns from both; what it
 * refuses; and that it decodes as it trains and sees no future.
 */
#include "layer_laws.h"
#include "tn_rig.h"

#include "model/stack.h"

enum { ROWS = 7, C = 3, I = 4, E = 5, SHARED = 2, MOST = 80 };
enum { X, ROUTER, GATE, UP, DOWN, S_GATE, S_UP, S_DOWN, INPUTS };

typedef struct setting {
    int k, norm, shared;
    double alpha;
} setting;

static const setting settings[] = {
    {1, 0, 0, 0.5}, {2, 0, 0, 0}, {2, 1, 0, 0.25}, {3, 1, 1, 1}, {5, 0, 1, 2},
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

/* ---- described ---- */

/* A layer whose weights are the inputs of the rig's case. */
typedef struct fake_layer {
    tn_layer layer; /* first */
    const tn_tensor *in;
    tn_tensor auxiliary;
} fake_layer;

static const struct {
    const char *name;
    uint32_t rank;
    int64_t shape[3];
    uint32_t init;
} weights[INPUTS] = {
    [ROUTER] = {"mlp.gate.weight", 2, {E, C}, TN_INIT_NORMAL},
    [GATE] = {"mlp.experts.*.gate_proj.weight", 3, {E, I, C}, TN_INIT_NORMAL},
    [UP] = {"mlp.experts.*.up_proj.weight", 3, {E, I, C}, TN_INIT_NORMAL},
    [DOWN] = {"mlp.experts.*.down_proj.weight", 3, {E, C, I}, TN_INIT_RESIDUAL},
    [S_GATE] = {"mlp.shared_experts.gate_proj.weight",
                2,
                {SHARED * I, C},
                TN_INIT_NORMAL},
    [S_UP] = {"mlp.shared_experts.up_proj.weight",
              2,
              {SHARED * I, C},
              TN_INIT_NORMAL},
    [S_DOWN] = {"mlp.shared_experts.down_proj.weight",
                2,
                {C, SHARED *I},
                TN_INIT_RESIDUAL},
};

static tn_tensor fake_weight(tn_layer *l, const char *name, uint32_t rank,
                             const int64_t *shape, tn_init init, tn_here here)
{
    (void)here;
    for (int i = ROUTER; i < INPUTS; i++) {
        if (strcmp(weights[i].name, name))
            continue;
        assert_int_equal(rank, weights[i].rank);
        assert_memory_equal(shape, weights[i].shape, rank * sizeof *shape);
        assert_int_equal(init.kind, weights[i].init);
        return ((fake_layer *)l)->in[i];
    }
    fail_msg("no weight %s", name);
    return TN_NONE;
}

static void fake_auxiliary_loss(tn_layer *l, const char *name, tn_tensor value,
                                tn_here here)
{
    (void)here;
    assert_string_equal(name, "load_balance");
    ((fake_layer *)l)->auxiliary = value;
}

static void describe(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    static const tn_layer_api api = {.struct_size = sizeof api,
                                     .weight = fake_weight,
                                     .auxiliary_loss = fake_auxiliary_loss};
    const tni_mlp *mlp = with;
    fake_layer fake = {
        .layer = {.struct_size = sizeof fake.layer,
                  .training = 1,
                  .api = &api,
                  .b = b,
                  .hidden_size = C,
                  .intermediate_size = I},
        .in = in,
    };
    out[0] = mlp->type->forward(&fake.layer, in[X], mlp->options);
    out[1] = tn_is_none(fake.auxiliary) ? tn_fill(b, 0.0, 1) : fake.auxiliary;
}

/* ---- the same in plain C ---- */

static void run_expert(const double *x, const double *gate, const double *up,
                       const double *down, int width, double weight, double *y)
{
    for (int i = 0; i < width; i++) {
        double g = 0, u = 0;
        for (int c = 0; c < C; c++) {
            g += gate[i * C + c] * x[c];
            u += up[i * C + c] * x[c];
        }
        for (int c = 0; c < C; c++)
            y[c] += weight * down[c * width + i] * g / (1 + exp(-g)) * u;
    }
}

static void probabilities(const double *x, const double *router, double *p)
{
    double sum = 0;
    for (int e = 0; e < E; e++) {
        double score = 0;
        for (int c = 0; c < C; c++)
            score += router[e * C + c] * x[c];
        p[e] = exp(score);
        sum += p[e];
    }
    for (int e = 0; e < E; e++)
        p[e] /= sum;
}

/* How many are more probable. */
static int place_of(const double *p, int e)
{
    int place = 0;
    for (int other = 0; other < E; other++)
        place += p[other] > p[e];
    return place;
}

static void expected(const setting *s, double in[INPUTS][MOST], double *y,
                     double *balance)
{
    double sent[E] = {0}, mean[E] = {0};
    memset(y, 0, ROWS * C * sizeof *y);
    for (int r = 0; r < ROWS; r++) {
        const double *x = in[X] + r * C;
        double p[E], chosen = 0;
        probabilities(x, in[ROUTER], p);
        for (int e = 0; e < E; e++)
            chosen += place_of(p, e) < s->k ? p[e] : 0;
        for (int e = 0; e < E; e++) {
            mean[e] += p[e] / ROWS;
            if (place_of(p, e) >= s->k)
                continue;
            sent[e] += 1.0 / (ROWS * s->k);
            run_expert(x, in[GATE] + e * I * C, in[UP] + e * I * C,
                       in[DOWN] + e * C * I, I, s->norm ? p[e] / chosen : p[e],
                       y + r * C);
        }
        if (s->shared)
            run_expert(x, in[S_GATE], in[S_UP], in[S_DOWN], SHARED * I, 1,
                       y + r * C);
    }
    *balance = 0;
    for (int e = 0; e < E; e++)
        *balance += s->alpha * E * sent[e] * mean[e];
}

/* What the rig differentiates. */
static double objective(const setting *s, double in[INPUTS][MOST],
                        const double *seed, double balance_seed)
{
    double y[ROWS * C], balance, sum = 0;
    expected(s, in, y, &balance);
    for (int i = 0; i < ROWS * C; i++)
        sum += seed[i] * y[i];
    return sum + balance_seed * balance;
}

/* ---- together ---- */

static tni_mlp read_mlp(tni_arena *arena, const setting *s)
{
    char text[256];
    tn_error err = TN_ERROR_NONE;
    tni_yaml *node = NULL;
    tni_mlp mlp = {0};
    snprintf(text, sizeof text,
             "{type: moe, intermediate_size: %d, num_experts: %d, "
             "experts_per_token: %d, shared_experts: %d, norm_topk_prob: %s, "
             "load_balance_alpha: %g}",
             I, E, s->k, s->shared ? SHARED : 0, s->norm ? "true" : "false",
             s->alpha);
    tn_assert_ok(tni_config_parse(arena, "t", text, strlen(text), &node, &err));
    tn_assert_ok_err(tni_mlp_read(arena, node, "mlp", &mlp, &err), err);
    return mlp;
}

static tn_rig_case case_of(const tni_mlp *mlp, const setting *s)
{
    tn_rig_case c = {.in = {[X] = {.rank = 3, .shape = {1, ROWS, C}}},
                     .in_count = s->shared ? INPUTS : S_GATE,
                     .out_count = 2,
                     .seed = 11,
                     .describe = describe,
                     .with = mlp};
    for (uint32_t i = ROUTER; i < c.in_count; i++) {
        c.in[i] = (tn_rig_leaf){.rank = weights[i].rank, .low = -2, .high = 2};
        memcpy(c.in[i].shape, weights[i].shape, sizeof weights[i].shape);
    }
    c.wrt = (1u << c.in_count) - 1;
    return c;
}

/* Central differences of the loops, for every element of every input. */
static void check_gradients(const setting *s, const tn_rig_case *c,
                            double in[INPUTS][MOST], const tn_rig_program *p)
{
    const double h = 1e-6;
    double seed[ROWS * C], balance_seed;
    tn_rig_draw_seed(c, 0, ROWS * C, seed);
    tn_rig_draw_seed(c, 1, 1, &balance_seed);
    for (uint32_t i = 0; i < c->in_count; i++) {
        const tn_rig_result got = tn_rig_output(p, 2 + i);
        for (int64_t e = 0; e < tn_rig_leaf_count(&c->in[i]); e++) {
            const double kept = in[i][e];
            in[i][e] = kept + h;
            const double above = objective(s, in, seed, balance_seed);
            in[i][e] = kept - h;
            const double below = objective(s, in, seed, balance_seed);
            in[i][e] = kept;
            tn_assert_near(got.values[e], (above - below) / (2 * h), 2e-7);
        }
    }
}

static void check(tn_rig *rig, const setting *s)
{
    const tn_rig_how how = {.dtype = TN_F64};
    tni_arena *arena = tni_arena_create();
    tn_error err = TN_ERROR_NONE;
    const tni_mlp mlp = read_mlp(arena, s);
    const tn_rig_case c = case_of(&mlp, s);
    double in[INPUTS][MOST], y[ROWS * C], balance;
    for (uint32_t i = 0; i < c.in_count; i++)
        tn_rig_draw(&c, i, in[i]);
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    if (!p)
        print_error("%s\n", err.message);
    assert_non_null(p);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    expected(s, in, y, &balance);
    tn_assert_close_double(tn_rig_output(p, 0).values, y, ROWS * C, 1e-12,
                           1e-12);
    tn_assert_near(tn_rig_output(p, 1).values[0], balance, 1e-13);
    check_gradients(s, &c, in, p);
    tn_rig_free(p);
    tni_arena_destroy(arena);
}

static void it_computes_its_formula_and_the_gradients_of_it(void **state)
{
    (void)state;
    tn_rig *rig = tn_rig_open("reference", "{}");
    for (int i = 0; i < SETTINGS; i++)
        check(rig, &settings[i]);
    tn_rig_close(rig);
}

/* ---- in a model ---- */

#define MODEL(arch, mlp)                                                       \
    LAW_HEAD "layers:\n  - {arch: " arch ", num_heads: 2, repeat: 2,\n"        \
             "     mlp: {type: moe, num_experts: 4, intermediate_size: 6,\n"   \
             "           " mlp "}}\n"
#define LATENT                                                                 \
    "mla, kv_lora_rank: 5, qk_nope_head_dim: 3, qk_rope_head_dim: 2, "         \
    "v_head_dim: 4"

static const char *const models[] = {
    MODEL("transformer", "experts_per_token: 1"),
    MODEL("transformer", "experts_per_token: 2, norm_topk_prob: true"),
    MODEL(LATENT, "experts_per_token: 2, shared_experts: 1"),
};
enum { MODELS = sizeof models / sizeof models[0] };

static void every_layer_of_experts_keeps_the_laws_of_layers(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        law_no_layer_sees_the_future(models[i]);
        law_gradients_reach_every_weight_and_are_right(models[i]);
        law_decoding_gives_the_logits_of_training(models[i]);
    }
}

static void check_refused(const char *model, const char *place,
                          const char *sentence)
{
    model_rig rig;
    model_rig_open(&rig, model);
    assert_int_equal(rig.status, TN_EINVALID);
    tn_assert_error_says(rig.err, place);
    tn_assert_error_says(rig.err, sentence);
    model_rig_close(&rig);
}

static void what_could_not_work_is_refused_where_it_stands(void **state)
{
    (void)state;
    check_refused(MODEL("transformer", "experts_per_token: 5"),
                  "test.yaml:7:31", "5 is more than num_experts, which is 4");
    check_refused(
        MODEL("transformer", "experts_per_token: 1, norm_topk_prob: true"),
        "test.yaml:7:50", "the router learn nothing");
}

/* Row numbers are exact up to 2^24. */
static void more_rows_than_can_be_numbered_are_refused(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open(&rig,
                   "vocab_size: 13\nhidden_size: 8\nmax_seq_len: 8388609\n"
                   "layers: [{arch: transformer, num_heads: 2, mlp: {type: "
                   "moe, num_experts: 4, experts_per_token: 2, "
                   "intermediate_size: 6}}]\n");
    assert_int_not_equal(rig.status, TN_OK);
    tn_assert_error_says(rig.err, "8388609 tokens go through 2 experts each");
    model_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_computes_its_formula_and_the_gradients_of_it),
        cmocka_unit_test(every_layer_of_experts_keeps_the_laws_of_layers),
        cmocka_unit_test(more_rows_than_can_be_numbered_are_refused),
        cmocka_unit_test(what_could_not_work_is_refused_where_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
