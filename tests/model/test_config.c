/*
 * test_config.c - `model:` as users write it, rightly and wrongly.
 */
#include "model_rig.h"

#define HEAD "vocab_size: 32\nhidden_size: 16\nlayers:\n"
#define LAYER "{arch: transformer, num_heads: 2, intermediate_size: 24}"

/* The text is refused with a sentence that holds each of the parts. */
static void refused(const char *text, const char *place, const char *sentence)
{
    model_rig rig;
    model_rig_open(&rig, text);
    assert_int_not_equal(rig.status, TN_OK);
    tn_assert_error_says(rig.err, place);
    tn_assert_error_says(rig.err, sentence);
    model_rig_close(&rig);
}

static void a_model_knows_its_sizes(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(&rig, "max_seq_len: 48\n" HEAD "  - " LAYER "\n");
    assert_int_equal(tni_model_vocab_size(rig.model), 32);
    assert_int_equal(tni_model_hidden_size(rig.model), 16);
    assert_int_equal(tni_model_max_seq_len(rig.model), 48);
    assert_int_equal(tni_model_layer_count(rig.model), 1);
    model_rig_close(&rig);
}

static void repeat_and_groups_unroll(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(
        &rig, HEAD "  - {arch: transformer, num_heads: 2, intermediate_size: "
                   "24, repeat: 2}\n"
                   "  - repeat: 3\n"
                   "    layers:\n"
                   "      - {arch: transformer, num_heads: 4, "
                   "intermediate_size: 8, repeat: 2}\n"
                   "      - {arch: transformer, num_heads: 1, "
                   "intermediate_size: 40}\n");
    assert_int_equal(tni_model_layer_count(rig.model), 2 + 3 * (2 + 1));
    static const int64_t wide[] = {24, 24, 8, 8, 40, 8, 8, 40, 8, 8, 40};
    for (int i = 0; i < 11; i++) {
        char name[64];
        snprintf(name, sizeof name, "model.layers.%d.mlp.up_proj.weight", i);
        const tni_weight *w = tni_model_weight(rig.model, name);
        assert_non_null(w);
        assert_int_equal(w->shape[0], wide[i]);
        assert_int_equal(w->layer, i + 1);
    }
    model_rig_close(&rig);
}

/* The completed tree holds every default and means the same model. */
static void the_completed_tree_makes_the_same_model(void **state)
{
    (void)state;
    model_rig rig, again;
    model_rig_open_ok(&rig, HEAD "  - " LAYER "\n");
    assert_string_equal(tni_yaml_get(rig.node, "norm_eps")->scalar, "1.0e-05");
    const tni_yaml *layer = tni_yaml_get(rig.node, "layers")->entries[0].value;
    assert_null(tni_yaml_get(layer, "intermediate_size"));
    const tni_yaml *mlp = tni_yaml_get(layer, "mlp");
    assert_string_equal(tni_yaml_get(mlp, "type")->scalar, "gated");
    assert_string_equal(tni_yaml_get(mlp, "activation")->scalar, "silu");

    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    tn_assert_ok(tni_yaml_write(rig.node, to));
    fclose(to);
    model_rig_open_ok(&again, text);
    assert_int_equal(tni_model_parameter_count(rig.model),
                     tni_model_parameter_count(again.model));
    free(text);
    model_rig_close(&again);
    model_rig_close(&rig);
}

static void missing_keys_are_named(void **state)
{
    (void)state;
    refused("hidden_size: 16\nlayers:\n  - " LAYER "\n", "test.yaml:1:1",
            "vocab_size");
    refused("vocab_size: 32\nhidden_size: 16\n", "test.yaml:1:1",
            "has no layers");
    refused(HEAD "  - {num_heads: 2}\n", "test.yaml:4:5", "add arch: NAME");
    refused(HEAD "  - {arch: transformer, intermediate_size: 8}\n",
            "test.yaml:4:5", "num_heads");
    refused(HEAD "  - {arch: transformer, num_heads: 2}\n",
            "model.layers[0] (test.yaml:4:5)", "add intermediate_size");
}

static void wrong_keys_get_a_suggestion(void **state)
{
    (void)state;
    refused("vocab_siz: 1\n" HEAD "  - " LAYER "\n", "test.yaml:1:1",
            "did you mean vocab_size?");
    refused(HEAD "  - {arch: transformer, num_head: 2, intermediate_size: 8}\n",
            "test.yaml:4:25", "did you mean num_heads?");
    refused(HEAD "  - {arch: transfomer, num_heads: 2}\n", "test.yaml:4:12",
            "transformer");
    refused(HEAD "  - {arch: transformer, num_heads: 2, mlp: {type: gate, "
                 "intermediate_size: 8}}\n",
            "test.yaml:4:", "did you mean gated?");
    refused(HEAD "  - {arch: transformer, num_heads: 2, mlp: {activation: "
                 "swish, intermediate_size: 8}}\n",
            "test.yaml:4:", "silu");
    refused(HEAD "  - {repeat: 2, layer: [" LAYER "], layers: [" LAYER "]}\n",
            "test.yaml:4:", "unknown key layer");
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    refused("vocab_size: 0\nhidden_size: 16\nlayers:\n  - " LAYER "\n",
            "test.yaml:1:13", "vocab_size");
    refused("vocab_size: 32\nhidden_size: many\nlayers:\n  - " LAYER "\n",
            "test.yaml:2:14", "hidden_size");
    refused("norm_eps: -1\n" HEAD "  - " LAYER "\n", "test.yaml:1:11",
            "norm_eps");
    refused(HEAD "  - {arch: transformer, num_heads: 2, repeat: 0, "
                 "intermediate_size: 8}\n",
            "test.yaml:4:", "repeat");
    refused(HEAD "  - {arch: transformer, num_heads: 2, intermediate_size: "
                 "0}\n",
            "test.yaml:4:", "intermediate_size");
    refused(HEAD "  - repeat: 4000\n    layers:\n      - {arch: transformer, "
                 "num_heads: 2, intermediate_size: 8, repeat: 2}\n",
            "test.yaml:4:", "8000 layers");
}

static void shapes_of_the_tree_are_checked(void **state)
{
    (void)state;
    refused("vocab_size: 32\nhidden_size: 16\nlayers: 3\n", "test.yaml:3:9",
            "is not a list");
    refused("vocab_size: 32\nhidden_size: 16\nlayers: []\n", "test.yaml:3:9",
            "is not a list of layers");
    refused(HEAD "  - transformer\n", "test.yaml:4:5", "is not a layer");
    refused(HEAD "  - {arch: transformer, num_heads: 2, mlp: gated}\n",
            "test.yaml:4:", "mlp: is not a map");
    refused(HEAD "  - {arch: transformer, num_heads: 2, intermediate_size: 8, "
                 "mlp: {intermediate_size: 9}}\n",
            "test.yaml:4:", "stands here and in mlp");
    refused("- 1\n", "test.yaml:1:1", "model: is not a map");
}

static void groups_cannot_nest_without_end(void **state)
{
    (void)state;
    char text[1024] = "vocab_size: 32\nhidden_size: 16\nlayers: ";
    for (int i = 0; i < 12; i++)
        strcat(text, "[{layers: ");
    strcat(text, "[" LAYER "]");
    for (int i = 0; i < 12; i++)
        strcat(text, "}]");
    refused(text, "test.yaml:3:", "nested deeper than 8");
}

static void heads_that_do_not_divide_are_refused(void **state)
{
    (void)state;
    refused(HEAD "  - {arch: transformer, num_heads: 3, intermediate_size: "
                 "8}\n",
            "test.yaml:4:5", "hidden_size 16 is not a multiple of num_heads 3");
    refused(HEAD "  - {arch: transformer, num_heads: 4, num_kv_heads: 3, "
                 "intermediate_size: 8}\n",
            "test.yaml:4:5", "num_heads 4 is not a multiple of num_kv_heads 3");
    refused(HEAD "  - {arch: transformer, num_heads: 2, head_dim: 5, "
                 "intermediate_size: 8}\n",
            "test.yaml:4:5", "even");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_knows_its_sizes),
        cmocka_unit_test(repeat_and_groups_unroll),
        cmocka_unit_test(the_completed_tree_makes_the_same_model),
        cmocka_unit_test(missing_keys_are_named),
        cmocka_unit_test(wrong_keys_get_a_suggestion),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(shapes_of_the_tree_are_checked),
        cmocka_unit_test(groups_cannot_nest_without_end),
        cmocka_unit_test(heads_that_do_not_divide_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
