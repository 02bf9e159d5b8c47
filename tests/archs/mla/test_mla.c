/*
 * test_mla.c - the laws of layers for latent attention, whose decoding is
 * another formula than its training; what its cache holds; what it refuses;
 * its config.json.
 */
#include "layer_laws.h"

#include <jansson.h>
#include <unistd.h>

#define SIZES                                                                  \
    "num_heads: 2, kv_lora_rank: 5, qk_nope_head_dim: 3, "                     \
    "qk_rope_head_dim: 2, v_head_dim: 4"
#define LAYER(more)                                                            \
    LAW_HEAD "layers: [{arch: mla, repeat: 2, " SIZES ", " more "}]\n"
#define MLP "intermediate_size: 6"

static const char *const variants[] = {
    LAYER(MLP),
    LAYER("q_lora_rank: 6, " MLP),
    LAYER("rope_interleave: true, latent_norm_eps: 1.0e-6, " MLP),
    LAYER("q_lora_rank: 4, attention_bias: true, rope_theta: 100, " MLP),
    LAW_HEAD "layers:\n"
             "  - {arch: transformer, num_heads: 2, " MLP "}\n"
             "  - {arch: mla, " SIZES ", mlp: {type: plain, " MLP "}}\n",
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
}

static void gradients_reach_every_weight_and_are_right(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_gradients_reach_every_weight_and_are_right(variants[i]);
}

static void the_absorbed_form_gives_the_logits_of_training(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_decoding_gives_the_logits_of_training(variants[i]);
}

static uint32_t count_ops(const tni_graph *g, tn_op op)
{
    uint32_t count = 0;
    for (size_t n = 0; n < g->node_count; n++)
        count += g->nodes[n].desc->number == op;
    return count;
}

static uint32_t every(void *of, const tn_plan_node *node)
{
    (void)of;
    (void)node;
    return 1;
}

/* One cache of kv_lora_rank + qk_rope_head_dim values, read where it lies. */
static void a_token_leaves_one_latent_which_is_not_copied(void **state)
{
    (void)state;
    static const int32_t token[1] = {3}, at[1] = {4};
    const tni_target native = {.supports = every};
    model_rig rig;
    model_rig_open_ok(&rig, variants[1]);
    const model_run run = {.batch = 1,
                           .seq_len = 1,
                           .state_len = 16,
                           .tokens = token,
                           .positions = at};
    tni_model_out out;
    tni_graph *g = model_rig_describe(&rig, &run, &out);
    tn_assert_ok_err(tni_graph_status(g, &rig.err), rig.err);
    tn_assert_ok_err(tni_lower(g, &native, &rig.err), rig.err);

    uint32_t count;
    int64_t bytes;
    const tni_state *states = tni_model_states(rig.model, &count, &bytes);
    assert_int_equal(count, 2);
    assert_string_equal(states[1].name, "layers.1.latent");
    assert_int_equal(states[1].bytes_per_token, (5 + 2) * 4);
    for (size_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].desc->number == TN_OP_COPY)
            assert_int_not_equal(tn_dim(&g->builder, g->nodes[n].in[0], 1), 16);
    assert_int_equal(count_ops(g, TN_OP_ATTENTION), 2);
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

static void an_odd_rotary_size_is_refused(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open(&rig, LAW_HEAD
                   "layers:\n"
                   "  - {arch: mla, num_heads: 2, kv_lora_rank: 5, "
                   "qk_nope_head_dim: 3,\n"
                   "     qk_rope_head_dim: 3, v_head_dim: 4, " MLP "}\n");
    assert_int_equal(rig.status, TN_EINVALID);
    tn_assert_error_says(rig.err, "test.yaml:5:5");
    tn_assert_error_says(rig.err, "qk_rope_head_dim 3 is odd");
    model_rig_close(&rig);
}

/* The config.json of a model; NULL, with rig->err, where it has none. */
static json_t *config_of(model_rig *rig, const char *model)
{
    char path[] = "/tmp/tenon-mla-XXXXXX";
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

static void it_is_deepseek_v3_without_experts(void **state)
{
    (void)state;
    model_rig rig;
    json_t *object = config_of(&rig, variants[2]);
    const char *type = NULL;
    int dense = 0, next = -1, interleave = 0;
    assert_non_null(object);
    assert_int_equal(json_unpack(object, "{s:s, s:i, s:i, s:b, s:n}",
                                 "model_type", &type, "first_k_dense_replace",
                                 &dense, "num_nextn_predict_layers", &next,
                                 "rope_interleave", &interleave, "q_lora_rank"),
                     0);
    assert_string_equal(type, "deepseek_v3");
    assert_int_equal(dense, 2);
    assert_int_equal(next, 0);
    assert_true(interleave);
    json_decref(object);
    model_rig_close(&rig);
}

/* V2, as long as its router is ours: softmax, not renormalised, and an expert
 * that all tokens share. */
static void with_experts_it_is_deepseek_v2(void **state)
{
    (void)state;
    model_rig rig;
    json_t *object = config_of(
        &rig, LAYER("rope_interleave: true, latent_norm_eps: 1.0e-6, "
                    "mlp: {type: moe, num_experts: 4, experts_per_token: 2, "
                    "shared_experts: 3, intermediate_size: 6}"));
    const char *type = NULL;
    int dense = -1, experts = 0, each = 0, shared = 0, width = 0;
    assert_non_null(object);
    assert_int_equal(
        json_unpack(object, "{s:s, s:i, s:i, s:i, s:i, s:i}", "model_type",
                    &type, "first_k_dense_replace", &dense, "n_routed_experts",
                    &experts, "num_experts_per_tok", &each, "n_shared_experts",
                    &shared, "moe_intermediate_size", &width),
        0);
    assert_string_equal(type, "deepseek_v2");
    assert_int_equal(dense, 0);
    assert_int_equal(experts, 4);
    assert_int_equal(each, 2);
    assert_int_equal(shared, 3);
    assert_int_equal(width, 6);
    json_decref(object);
    model_rig_close(&rig);

    assert_null(config_of(
        &rig, LAYER("rope_interleave: true, latent_norm_eps: 1.0e-6, "
                    "mlp: {type: moe, num_experts: 4, experts_per_token: 2, "
                    "shared_experts: 1, norm_topk_prob: true, "
                    "intermediate_size: 6}")));
    tn_assert_error_says(rig.err, "norm_topk_prob");
    model_rig_close(&rig);
}

static void another_epsilon_has_no_hugging_face_form(void **state)
{
    (void)state;
    model_rig rig;
    assert_null(config_of(&rig, variants[0]));
    tn_assert_error_says(rig.err, "latent_norm_eps");
    model_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_variant_sees_the_future),
        cmocka_unit_test(packed_documents_do_not_meet),
        cmocka_unit_test(gradients_reach_every_weight_and_are_right),
        cmocka_unit_test(the_absorbed_form_gives_the_logits_of_training),
        cmocka_unit_test(a_token_leaves_one_latent_which_is_not_copied),
        cmocka_unit_test(an_odd_rotary_size_is_refused),
        cmocka_unit_test(it_is_deepseek_v3_without_experts),
        cmocka_unit_test(with_experts_it_is_deepseek_v2),
        cmocka_unit_test(another_epsilon_has_no_hugging_face_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
