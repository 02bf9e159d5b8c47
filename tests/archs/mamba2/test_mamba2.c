/*
 * test_mamba2.c - the laws of layers for Mamba-2, alone and among others; that
 * its state does not grow; how its weights start; what it refuses; its Hugging
 * Face form.
 */
#include "layer_laws.h"

#include <jansson.h>
#include <unistd.h>

#define MAMBA(more) "{arch: mamba2, state_size: 5, " more "}"
#define LAYER(more) LAW_HEAD "layers: [" MAMBA("repeat: 2, " more) "]\n"

/* hidden_size is 8: the inner width is 16. Seven tokens make chunks of 3, 3 and
 * 1. */
static const char *const variants[] = {
    LAYER("num_heads: 4, chunk_size: 3"),
    LAYER("head_dim: 2, n_groups: 2, norm_groups: 2, chunk_size: 1"),
    LAYER("num_heads: 2, head_dim: 5, expand: 0, use_bias: true, "
          "use_conv_bias: false, conv_kernel: 2"),
    LAYER("num_heads: 4, time_step_limit: [0.01, 0.05], intermediate_size: 6"),
    LAW_HEAD
    "layers:\n"
    "  - " MAMBA(
        "num_heads: 8, chunk_size: 7") "\n"
                                       "  - {arch: transformer, num_heads: 2, "
                                       "intermediate_size: 6}\n"
                                       "  - " MAMBA(
                                           "num_heads: 1, conv_kernel: 9") "\n",
};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static void no_variant_sees_the_future(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_no_layer_sees_the_future(variants[i]);
}

static void packed_documents_do_not_meet(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_documents_do_not_meet(variants[i]);
    law_documents_do_not_meet_on(variants[0], "cpu", 1e-5);
    law_documents_do_not_meet_on(variants[4], "cpu", 1e-5);
}

static void gradients_reach_every_weight_and_are_right(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_gradients_reach_every_weight_and_are_right(variants[i]);
}

static void decoding_gives_the_logits_of_training(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_decoding_gives_the_logits_of_training(variants[i]);
}

/* ---- state ---- */

/* Of a layer with inner width 16, 4 heads and 5 columns: a window of 3 rows of
 * 16 + 2 * 5, and 16 * 5 numbers, however long the sequence may get. */
static void the_state_does_not_grow_with_the_sequence(void **state)
{
    (void)state;
    static const int32_t token[1] = {3}, at[1] = {4};
    static const int64_t lengths[] = {1, 16};
    for (int i = 0; i < 2; i++) {
        model_rig rig;
        model_rig_open_ok(&rig, LAYER("num_heads: 4"));
        const model_run run = {.batch = 1,
                               .seq_len = 1,
                               .state_len = lengths[i],
                               .tokens = token,
                               .positions = at};
        tni_model_out out;
        tni_graph *g = model_rig_describe(&rig, &run, &out);
        tn_assert_ok_err(tni_graph_status(g, &rig.err), rig.err);
        uint32_t count;
        int64_t bytes;
        const tni_state *s = tni_model_states(rig.model, &count, &bytes);
        assert_int_equal(count, 4);
        assert_string_equal(s[2].name, "layers.1.conv");
        assert_int_equal(s[2].bytes, 3 * 26 * 4);
        assert_string_equal(s[3].name, "layers.1.ssm");
        assert_int_equal(s[3].bytes, 16 * 5 * 4);
        assert_int_equal(s[2].bytes_per_token + s[3].bytes_per_token, 0);
        tni_graph_destroy(g);
        model_rig_close(&rig);
    }
}

/* ---- first values ---- */

static double between(const model_rig *rig, const double *slab,
                      const char *name, double low, double high)
{
    const tni_weight *w = tni_model_weight(rig->model, name);
    double sum = 0;
    assert_non_null(w);
    for (int64_t e = 0; e < w->elements; e++) {
        const double value = slab[w->offset + e];
        assert_true(value >= low - 1e-6 && value <= high + 1e-6);
        sum += value;
    }
    return sum / (double)w->elements;
}

/* softplus(dt_bias) in [0.001, 0.1] log-uniformly: its logarithm is -4.6 on
 * average; A in [1, 16] uniformly. */
static void weights_start_as_in_the_reference(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(&rig, "vocab_size: 13\nhidden_size: 512\n"
                            "max_seq_len: 16\nlayers: [{arch: mamba2, "
                            "num_heads: 1024, state_size: 1}]\n");
    double *slab = malloc((size_t)model_rig_slab(&rig) * sizeof *slab);
    const char *name = "model.layers.0.mamba.dt_bias";
    model_rig_draw(&rig, 5, slab);
    between(&rig, slab, name, log(expm1(0.001)), log(expm1(0.1)));
    const tni_weight *bias = tni_model_weight(rig.model, name);
    double dt = 0, a = 0;
    for (int64_t e = 0; e < 1024; e++)
        dt += log(log1p(exp(slab[bias->offset + e]))) / 1024;
    tn_assert_near(dt, (log(0.001) + log(0.1)) / 2, 0.15);

    name = "model.layers.0.mamba.A_log";
    between(&rig, slab, name, 0, log(16));
    const tni_weight *A_log = tni_model_weight(rig.model, name);
    for (int64_t e = 0; e < 1024; e++)
        a += exp(slab[A_log->offset + e]) / 1024;
    tn_assert_near(a, 8.5, 0.5);

    tn_assert_near(between(&rig, slab, "model.layers.0.mamba.D", 1, 1), 1, 0);
    tn_assert_near(
        between(&rig, slab, "model.layers.0.mamba.conv1d.weight", -0.5, 0.5), 0,
        0.02);
    free(slab);
    model_rig_close(&rig);
}

/* The floor is above half of the range: no step size starts below it. */
static void no_step_size_starts_below_the_floor(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(&rig, LAYER("num_heads: 16, time_step_floor: 0.05"));
    double *slab = malloc((size_t)model_rig_slab(&rig) * sizeof *slab);
    model_rig_draw(&rig, 5, slab);
    between(&rig, slab, "model.layers.0.mamba.dt_bias", log(expm1(0.05)),
            log(expm1(0.1)));
    free(slab);
    model_rig_close(&rig);
}

/* ---- refusals ---- */

static void refused(const char *options, const char *sentence)
{
    char text[512];
    model_rig rig;
    snprintf(text, sizeof text, LAW_HEAD "layers:\n  - {arch: mamba2, %s}\n",
             options);
    model_rig_open(&rig, text);
    assert_int_equal(rig.status, TN_EINVALID);
    tn_assert_error_says(rig.err, "test.yaml:5:5");
    tn_assert_error_says(rig.err, sentence);
    model_rig_close(&rig);
}

static void sizes_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    refused("num_heads: 4, head_dim: 3",
            "num_heads 4 * head_dim 3 is 12, but expand 2 * hidden_size 8 is "
            "16");
    refused("num_heads: 3", "num_heads 3 * head_dim 5 is 15");
    refused("head_dim: 32", "num_heads 0 * head_dim 32 is 0");
    refused("expand: 0, num_heads: 4", "give both");
    refused("num_heads: 4, n_groups: 3",
            "num_heads 4 is not a multiple of n_groups 3");
    refused("num_heads: 4, norm_groups: 3",
            "the inner width 16 is not a multiple of norm_groups 3");
    refused("num_heads: 4, time_step_min: 0.5",
            "time_step_min, time_step_max: 0.5 is above 0.1");
    refused("num_heads: 4, time_step_limit: [2, 1]",
            "time_step_limit: 2 is above 1");
}

/* ---- Hugging Face ---- */

static json_t *config_of(model_rig *rig, const char *model)
{
    char path[] = "/tmp/tenon-mamba2-XXXXXX";
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    model_rig_open_ok(rig, model);
    const tn_status status =
        tni_model_write_hugging_face(rig->model, path, &rig->err);
    json_t *object = status == TN_OK ? json_load_file(path, 0, NULL) : NULL;
    unlink(path);
    return object;
}

static void a_pure_stack_is_mamba2_for_causal_lm(void **state)
{
    (void)state;
    model_rig rig;
    json_t *object = config_of(&rig, variants[0]);
    const char *type = NULL;
    int heads, size, expand, columns, kernel, chunk;
    double eps, least;
    assert_non_null(object);
    assert_int_equal(
        json_unpack(object,
                    "{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:n}",
                    "model_type", &type, "num_heads", &heads, "head_dim", &size,
                    "expand", &expand, "state_size", &columns, "conv_kernel",
                    &kernel, "chunk_size", &chunk, "layer_norm_epsilon", &eps,
                    "time_step_min", &least, "pad_token_id"),
        0);
    assert_string_equal(type, "mamba2");
    assert_int_equal(heads, 4);
    assert_int_equal(size, 4);
    assert_int_equal(expand, 2);
    assert_int_equal(columns, 5);
    assert_int_equal(kernel, 4);
    assert_int_equal(chunk, 3);
    tn_assert_near(eps, 1e-5, 0);
    tn_assert_near(least, 0.001, 0);
    assert_null(json_object_get(object, "time_step_limit"));
    json_decref(object);
    model_rig_close(&rig);
}

static void its_weights_have_the_names_they_have_there(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"model.embed_tokens.weight", "backbone.embeddings.weight"},
        {"model.layers.1.input_layernorm.weight",
         "backbone.layers.1.norm.weight"},
        {"model.layers.1.mamba.norm.weight",
         "backbone.layers.1.mixer.norm.weight"},
        {"model.layers.11.mamba.A_log", "backbone.layers.11.mixer.A_log"},
        {"model.layers.0.mamba.conv1d.weight",
         "backbone.layers.0.mixer.conv1d.weight"},
        {"model.norm.weight", "backbone.norm_f.weight"},
        {"lm_head.weight", "lm_head.weight"},
    };
    model_rig pure, mixed;
    model_rig_open_ok(&pure, LAW_HEAD
                      "layers: [{arch: mamba2, num_heads: 4, repeat: 12}]\n");
    model_rig_open_ok(&mixed, variants[4]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const tni_weight *w = tni_model_weight(pure.model, names[i][0]);
        assert_non_null(w);
        assert_string_equal(tni_model_stored_name(pure.model, w), names[i][1]);
    }
    uint32_t count;
    const tni_weight *w = tni_model_weights(mixed.model, &count);
    for (uint32_t i = 0; i < count; i++)
        assert_string_equal(tni_model_stored_name(mixed.model, &w[i]),
                            w[i].name);
    model_rig_close(&mixed);
    model_rig_close(&pure);
}

static void what_has_no_counterpart_there_keeps_our_form(void **state)
{
    (void)state;
    static const char *const models[][2] = {
        {LAYER("num_heads: 4, n_groups: 2"), "norm_groups is n_groups there"},
        {LAYER("num_heads: 4, time_step_limit: [0.1, .inf]"), "upper end"},
        {LAYER("num_heads: 4, intermediate_size: 6"), "its layers have an mlp"},
        {LAYER("num_heads: 5, head_dim: 2, expand: 0"),
         "not a multiple of hidden_size"},
    };
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        model_rig rig;
        assert_null(config_of(&rig, models[i][0]));
        tn_assert_error_says(rig.err, models[i][1]);
        const char *name = "model.layers.0.mamba.D";
        const tni_weight *w = tni_model_weight(rig.model, name);
        assert_string_equal(tni_model_stored_name(rig.model, w), name);
        model_rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_variant_sees_the_future),
        cmocka_unit_test(packed_documents_do_not_meet),
        cmocka_unit_test(gradients_reach_every_weight_and_are_right),
        cmocka_unit_test(decoding_gives_the_logits_of_training),
        cmocka_unit_test(the_state_does_not_grow_with_the_sequence),
        cmocka_unit_test(weights_start_as_in_the_reference),
        cmocka_unit_test(no_step_size_starts_below_the_floor),
        cmocka_unit_test(sizes_that_contradict_each_other_are_refused),
        cmocka_unit_test(a_pure_stack_is_mamba2_for_causal_lm),
        cmocka_unit_test(its_weights_have_the_names_they_have_there),
        cmocka_unit_test(what_has_no_counterpart_there_keeps_our_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
