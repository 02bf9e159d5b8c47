/*
 * test_mlp.c - every kind of mlp with every activation, against loops in
 * double.
 */
#include "model_rig.h"
#include "tn_rig.h"

#include "model/stack.h"

enum { ROWS = 5, C = 3, I = 4 };
enum { X, GATE, UP, DOWN, INPUTS };

/* A layer whose weights are the inputs of the rig's case. */
typedef struct fake_layer {
    tn_layer layer; /* first */
    const tn_tensor *in;
} fake_layer;

static tn_tensor fake_weight(tn_layer *l, const char *name, uint32_t rank,
                             const int64_t *shape, tn_init init, tn_here here)
{
    static const char *const names[] = {[GATE] = "mlp.gate_proj.weight",
                                        [UP] = "mlp.up_proj.weight",
                                        [DOWN] = "mlp.down_proj.weight"};
    (void)here;
    for (int i = GATE; i < INPUTS; i++) {
        if (strcmp(names[i], name))
            continue;
        assert_int_equal(rank, 2);
        assert_int_equal(shape[0], i == DOWN ? C : I);
        assert_int_equal(shape[1], i == DOWN ? I : C);
        assert_int_equal(init.kind,
                         i == DOWN ? TN_INIT_RESIDUAL : TN_INIT_NORMAL);
        return ((fake_layer *)l)->in[i];
    }
    fail_msg("no weight %s", name);
    return TN_NONE;
}

static void describe(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    static const tn_layer_api api = {.struct_size = sizeof api,
                                     .weight = fake_weight};
    const tni_mlp *mlp = with;
    fake_layer fake = {
        .layer = {.struct_size = sizeof fake.layer,
                  .api = &api,
                  .b = b,
                  .hidden_size = C,
                  .intermediate_size = I},
        .in = in,
    };
    out[0] = mlp->type->forward(&fake.layer, in[X], mlp->options);
}

/* ---- the same in plain C ---- */

static double activation(const char *name, double x)
{
    if (!strcmp(name, "silu"))
        return x / (1 + exp(-x));
    if (!strcmp(name, "gelu"))
        return x / 2 * (1 + erf(x / sqrt(2)));
    if (!strcmp(name, "gelu_tanh"))
        return x / 2 *
               (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    assert_string_equal(name, "relu2");
    return x > 0 ? x * x : 0;
}

static double dot(const double *x, const double *w, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * w[i];
    return sum;
}

static void expected(int gated, const char *name, double in[INPUTS][32],
                     double *y)
{
    for (int r = 0; r < ROWS; r++) {
        const double *x = in[X] + r * C;
        double h[I];
        for (int i = 0; i < I; i++) {
            const double up = dot(x, in[UP] + i * C, C);
            const double gate = dot(x, in[GATE] + i * C, C);
            h[i] = gated ? activation(name, gate) * up : activation(name, up);
        }
        for (int c = 0; c < C; c++)
            y[r * C + c] = dot(h, in[DOWN] + c * I, I);
    }
}

static void check(tn_rig *rig, int gated, const char *name)
{
    const tn_rig_leaf down = {.rank = 2, .shape = {C, I}, .low = -2, .high = 2};
    const tn_rig_leaf wide = {.rank = 2, .shape = {I, C}, .low = -2, .high = 2};
    const tn_rig_leaf x = {.rank = 3, .shape = {1, ROWS, C}};
    const tn_rig_how how = {.dtype = TN_F64};
    tni_arena *arena = tni_arena_create();
    tn_error err = TN_ERROR_NONE;
    tni_yaml *node = NULL;
    tni_mlp mlp = {0};
    char text[128];
    double in[INPUTS][32], want[ROWS * C];
    snprintf(text, sizeof text,
             "{type: %s, activation: %s, intermediate_size: %d}",
             gated ? "gated" : "plain", name, I);
    tn_assert_ok(tni_config_parse(arena, "t", text, strlen(text), &node, &err));
    tn_assert_ok_err(tni_mlp_read(arena, node, "mlp", &mlp, &err), err);
    tn_rig_case c = {.in = {x, wide, wide, down},
                     .in_count = INPUTS,
                     .out_count = 1,
                     .seed = 3,
                     .describe = describe,
                     .with = &mlp};
    for (uint32_t i = 0; i < INPUTS; i++)
        tn_rig_draw(&c, i, in[i]);
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    assert_non_null(p);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    expected(gated, name, in, want);
    tn_assert_close_double(tn_rig_output(p, 0).values, want, ROWS * C, 1e-13,
                           1e-13);
    tn_rig_free(p);
    tni_arena_destroy(arena);
}

static void every_kind_and_activation_is_its_formula(void **state)
{
    static const char *const names[] = {"silu", "gelu", "gelu_tanh", "relu2"};
    (void)state;
    tn_rig *rig = tn_rig_open("reference", "{}");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check(rig, 0, names[i]);
        check(rig, 1, names[i]);
    }
    tn_rig_close(rig);
}

static void each_kind_has_its_own_default_activation(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(&rig, "vocab_size: 8\nhidden_size: 8\nlayers:\n"
                            "  - {arch: transformer, num_heads: 2, mlp: {type: "
                            "plain, intermediate_size: 8}}\n"
                            "  - {arch: transformer, num_heads: 2, "
                            "intermediate_size: 8}\n");
    const tni_layer_spec *const *layers = rig.model->layers;
    assert_string_equal(tni_mlp_activation(&layers[0]->mlp), "gelu");
    assert_string_equal(tni_mlp_activation(&layers[1]->mlp), "silu");
    model_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_and_activation_is_its_formula),
        cmocka_unit_test(each_kind_has_its_own_default_activation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
