/*
 * test_huggingface.c - config.json: theirs where there is one, else ours.
 */
#include "model_rig.h"

#include <jansson.h>
#include <unistd.h>

#define EXPERTS                                                                \
    "mlp: {type: moe, num_experts: 3, experts_per_token: 2, "                  \
    "intermediate_size: 5}"
#define HEAD "vocab_size: 11\nhidden_size: 8\nmax_seq_len: 32\nlayers:\n"

/* What tni_model_write_hugging_face writes for this model; *status: its. */
static json_t *written(const char *text, tn_status *status, tn_error *err)
{
    model_rig rig;
    char path[] = "/tmp/tenon-hf-XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    model_rig_open_ok(&rig, text);
    *status = tni_model_write_hugging_face(rig.model, path, err);
    json_t *object = json_load_file(path, 0, NULL);
    assert_non_null(object);
    unlink(path);
    model_rig_close(&rig);
    return object;
}

static void says_text(const json_t *object, const char *key, const char *want)
{
    assert_string_equal(json_string_value(json_object_get(object, key)), want);
}

static void says_number(const json_t *object, const char *key, double want)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    tn_assert_near(json_number_value(value), want, 1e-15);
}

static void theirs(const char *text, const char *type, const char *class)
{
    tn_error err = TN_ERROR_NONE;
    tn_status status = TN_OK;
    json_t *o = written(text, &status, &err);
    tn_assert_ok_err(status, err);
    says_text(o, "model_type", type);
    const json_t *classes = json_object_get(o, "architectures");
    assert_string_equal(json_string_value(json_array_get(classes, 0)), class);
    json_decref(o);
}

static void a_plain_stack_is_a_llama(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_NONE;
    tn_status status = TN_OK;
    json_t *o = written("norm_eps: 0\ntie_embeddings: true\n" HEAD
                        "  - {arch: transformer, num_heads: 4, num_kv_heads: "
                        "2, intermediate_size: 12, repeat: 3, rope_theta: "
                        "500000}\n",
                        &status, &err);
    tn_assert_ok_err(status, err);
    says_text(o, "model_type", "llama");
    says_text(o, "hidden_act", "silu");
    says_text(o, "torch_dtype", "float32");
    says_number(o, "vocab_size", 11);
    says_number(o, "hidden_size", 8);
    says_number(o, "num_hidden_layers", 3);
    says_number(o, "num_attention_heads", 4);
    says_number(o, "num_key_value_heads", 2);
    says_number(o, "head_dim", 2);
    says_number(o, "intermediate_size", 12);
    says_number(o, "max_position_embeddings", 32);
    says_number(o, "rope_theta", 500000);
    says_number(o, "rms_norm_eps", 0);
    /* an integer here is refused by transformers 5 */
    assert_true(json_is_real(json_object_get(o, "rms_norm_eps")));
    assert_true(json_is_true(json_object_get(o, "tie_word_embeddings")));
    assert_true(json_is_null(json_object_get(o, "bos_token_id")));
    json_decref(o);
}

static void options_choose_among_their_models(void **state)
{
    (void)state;
    theirs(HEAD "  - {arch: transformer, num_heads: 4, intermediate_size: 12, "
                "sliding_window: 5}\n",
           "mistral", "MistralForCausalLM");
    theirs(HEAD "  - {arch: transformer, num_heads: 4, intermediate_size: 12, "
                "qk_norm: true}\n",
           "qwen3", "Qwen3ForCausalLM");
    theirs(HEAD "  - {arch: transformer, num_heads: 4, qk_norm: true, " EXPERTS
                "}\n",
           "qwen3_moe", "Qwen3MoeForCausalLM");
    /* equal layers written twice are still one architecture */
    theirs(HEAD "  - {arch: transformer, num_heads: 4, intermediate_size: 12}\n"
                "  - {arch: transformer, num_heads: 4, intermediate_size: "
                "12}\n",
           "llama", "LlamaForCausalLM");
}

static void ours(const char *text, const char *reason)
{
    tn_error err = TN_ERROR_NONE;
    tn_status status = TN_OK;
    json_t *o = written(text, &status, &err);
    assert_int_equal(status, TN_EUNSUPPORTED);
    tn_assert_error_says(err, reason);
    says_text(o, "model_type", "tenon");
    assert_null(json_object_get(o, "architectures"));
    assert_int_equal(
        json_array_size(json_object_get(o, "layer_archs")),
        (size_t)json_integer_value(json_object_get(o, "num_hidden_layers")));
    json_decref(o);
}

static void other_stacks_have_a_form_of_ours(void **state)
{
    (void)state;
    ours(HEAD "  - {arch: transformer, num_heads: 4, intermediate_size: 12}\n"
              "  - {arch: transformer, num_heads: 4, intermediate_size: 16}\n",
         "model.layers[0] and model.layers[1] differ");
    ours(HEAD "  - {arch: transformer, num_heads: 4, mlp: {type: plain, "
              "intermediate_size: 12}}\n",
         "mlp is not gated");
    ours(HEAD "  - {arch: transformer, num_heads: 4, intermediate_size: 12, "
              "partial_rotary_factor: 0.0}\n",
         "partial_rotary_factor");
    ours(HEAD "  - {arch: transformer, num_heads: 4, " EXPERTS "}\n",
         "experts without qk_norm");
    ours("final_logit_softcap: 30\n" HEAD
         "  - {arch: transformer, num_heads: 4, intermediate_size: 12}\n",
         "final_logit_softcap");
}

static void a_path_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(&rig, HEAD "  - {arch: transformer, num_heads: 4, "
                                 "intermediate_size: 12}\n");
    assert_int_equal(tni_model_write_hugging_face(
                         rig.model, "/no/such/folder/config.json", &rig.err),
                     TN_EIO);
    tn_assert_error_says(rig.err, "/no/such/folder/config.json");
    model_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_stack_is_a_llama),
        cmocka_unit_test(options_choose_among_their_models),
        cmocka_unit_test(other_stacks_have_a_form_of_ours),
        cmocka_unit_test(a_path_that_cannot_be_written_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
