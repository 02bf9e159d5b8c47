/*
 * test_transformer.c - the laws of layers for every variant of the
 * transformer's, its window, its soft caps, and the rows that are asked for.
 */
#include "layer_laws.h"

enum { B = LAW_B, T = LAW_T, V = LAW_V, ROWS = LAW_ROWS };

#define HEAD LAW_HEAD
#define MLP "intermediate_size: 6"

/* Two layers each; the first is Llama's own. */
static const char *const variants[] = {
    HEAD "layers: [{arch: transformer, num_heads: 4, num_kv_heads: 2, repeat: "
         "2, " MLP "}]\n",
    HEAD "tie_embeddings: true\nfinal_logit_softcap: 2\n"
         "layers: [{arch: transformer, num_heads: 2, repeat: 2, " MLP "}]\n",
    HEAD "layers: [{arch: transformer, num_heads: 2, num_kv_heads: 1, "
         "head_dim: 6, attention_bias: true, repeat: 2, " MLP "}]\n",
    HEAD "layers: [{arch: transformer, num_heads: 2, qk_norm: true, "
         "partial_rotary_factor: 0.5, repeat: 2, " MLP "}]\n",
    HEAD "layers: [{arch: transformer, num_heads: 2, attn_logit_softcapping: "
         "1.5, repeat: 2, mlp: {type: plain, activation: gelu, " MLP "}}]\n",
    HEAD "layers: [{arch: transformer, num_heads: 2, sliding_window: 2, "
         "repeat: 2, mlp: {type: plain, activation: relu2, " MLP "}}]\n",
    HEAD "layers: [{arch: transformer, num_heads: 2, partial_rotary_factor: 0, "
         "repeat: 2, mlp: {activation: gelu_tanh, " MLP "}}]\n",
};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static void no_variant_sees_the_future(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_no_layer_sees_the_future(variants[i]);
}

/* Window 2, two layers: token 0 is seen up to row 2. */
static void a_window_forgets(void **state)
{
    (void)state;
    model_rig rig;
    double was[ROWS * V], now[ROWS * V];
    double *slab = law_open(&rig, variants[5]);
    int32_t changed[ROWS];
    memcpy(changed, law_tokens, sizeof changed);
    changed[0] = 7;
    law_logits(&rig, slab, law_tokens, was);
    law_logits(&rig, slab, changed, now);
    assert_memory_not_equal(was + 2 * V, now + 2 * V, V * sizeof *was);
    assert_memory_equal(was + 3 * V, now + 3 * V, (ROWS - 3) * V * sizeof *was);
    free(slab);
    model_rig_close(&rig);
}

static void logits_of_text(const char *text, double *logits)
{
    model_rig rig;
    double *slab = law_open(&rig, text);
    law_logits(&rig, slab, law_tokens, logits);
    free(slab);
    model_rig_close(&rig);
}

#define PLAIN "layers: [{arch: transformer, num_heads: 2, " MLP "}]\n"

/* cap tanh(x / cap), of the scores and of the logits. */
static void softcaps_bend_scores_and_logits(void **state)
{
    (void)state;
    double none[ROWS * V], small[ROWS * V], huge[ROWS * V], bent[ROWS * V];
    logits_of_text(HEAD PLAIN, none);
    logits_of_text(HEAD "layers: [{arch: transformer, num_heads: 2, "
                        "attn_logit_softcapping: 1.0e+6, " MLP "}]\n",
                   huge);
    logits_of_text(HEAD "layers: [{arch: transformer, num_heads: 2, "
                        "attn_logit_softcapping: 0.5, " MLP "}]\n",
                   small);
    logits_of_text("final_logit_softcap: 0.5\n" HEAD PLAIN, bent);
    double moved = 0;
    tn_assert_close_double(huge, none, ROWS * V, 1e-9, 0);
    for (int i = 0; i < ROWS * V; i++) {
        moved = fmax(moved, fabs(small[i] - none[i]));
        tn_assert_near(bent[i], 0.5 * tanh(none[i] / 0.5), 1e-13);
    }
    assert_true(moved > 1e-3);
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

static void decoding_gives_the_logits_of_training(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_decoding_gives_the_logits_of_training(variants[i]);
}

/* Only the rows asked for, in the order asked. */
static void last_rows_are_the_rows_asked_for(void **state)
{
    (void)state;
    static const int32_t positions[ROWS] = {0, 1, 2, 3, 4, 5, 6,
                                            0, 1, 2, 3, 4, 5, 6};
    static const int32_t last[2] = {13, 4};
    model_rig rig;
    double want[ROWS * V], got[2 * V];
    double *slab = law_open(&rig, variants[0]);
    law_logits(&rig, slab, law_tokens, want);
    model_run run = {.batch = B,
                     .seq_len = T,
                     .state_len = T,
                     .tokens = law_tokens,
                     .positions = positions,
                     .last = last,
                     .last_count = 2,
                     .params = slab,
                     .reset = 1,
                     .logits = got};
    model_rig_run(&rig, &run);
    tn_assert_close_double(got, want + 13 * V, V, 1e-12, 1e-12);
    tn_assert_close_double(got + V, want + 4 * V, V, 1e-12, 1e-12);
    free(slab);
    model_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_variant_sees_the_future),
        cmocka_unit_test(a_window_forgets),
        cmocka_unit_test(softcaps_bend_scores_and_logits),
        cmocka_unit_test(packed_documents_do_not_meet),
        cmocka_unit_test(gradients_reach_every_weight_and_are_right),
        cmocka_unit_test(decoding_gives_the_logits_of_training),
        cmocka_unit_test(last_rows_are_the_rows_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
