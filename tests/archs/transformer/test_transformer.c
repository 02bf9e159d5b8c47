/*
 * test_transformer.c - what must hold of every variant of the layer, on the
 * oracle in double: it is causal, it decodes as it trains, and every weight
 * learns. That its numbers are Llama's is tests/golden's business.
 */
#include "model_rig.h"

enum { B = 2, T = 7, V = 13, ROWS = B * T };

#define HEAD "vocab_size: 13\nhidden_size: 8\nmax_seq_len: 16\n"
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

static const int32_t tokens[ROWS] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 12, 0};
static const int32_t targets[ROWS] = {1, 4, 1, 5, 9,  2, -1,
                                      5, 3, 5, 8, 12, 0, 7};

/* A model on the oracle with weights far enough from zero to matter. */
static double *open_text(model_rig *rig, const char *text)
{
    model_rig_open_ok(rig, text);
    model_rig_device(rig, "reference", TN_F64);
    double *slab = malloc((size_t)model_rig_slab(rig) * sizeof *slab);
    uint32_t count = 0;
    const tni_weight *w = tni_model_weights(rig->model, &count);
    model_rig_draw(rig, 5, slab);
    for (uint32_t k = 0; k < count; k++)
        for (int64_t e = 0; e < w[k].elements; e++) {
            double *p = &slab[w[k].offset + e];
            /* gains and biases are constant: spread them */
            *p = w[k].rank == 1 ? *p + 0.03 * (double)(e % 5) : 15 * *p;
        }
    return slab;
}

static double *open_variant(model_rig *rig, int i)
{
    return open_text(rig, variants[i]);
}

static void logits_of(model_rig *rig, const double *slab, const int32_t *of,
                      double *logits)
{
    model_run run = {.batch = B,
                     .seq_len = T,
                     .tokens = of,
                     .params = slab,
                     .logits = logits};
    model_rig_run(rig, &run);
}

/* Change token t of row 0: nothing before t moves, t does; row 1 never. */
static void no_variant_sees_the_future(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++) {
        model_rig rig;
        double was[ROWS * V], now[ROWS * V];
        double *slab = open_variant(&rig, i);
        logits_of(&rig, slab, tokens, was);
        for (int t = 0; t < T; t += 3) {
            int32_t changed[ROWS];
            memcpy(changed, tokens, sizeof changed);
            changed[t] = 7;
            logits_of(&rig, slab, changed, now);
            assert_memory_equal(was, now, (size_t)t * V * sizeof *was);
            assert_memory_not_equal(was + t * V, now + t * V, V * sizeof *was);
            assert_memory_equal(was + T * V, now + T * V, T * V * sizeof *was);
        }
        free(slab);
        model_rig_close(&rig);
    }
}

/* Window 2, two layers: token 0 is seen up to row 2. */
static void a_window_forgets(void **state)
{
    (void)state;
    model_rig rig;
    double was[ROWS * V], now[ROWS * V];
    double *slab = open_variant(&rig, 5);
    int32_t changed[ROWS];
    memcpy(changed, tokens, sizeof changed);
    changed[0] = 7;
    logits_of(&rig, slab, tokens, was);
    logits_of(&rig, slab, changed, now);
    assert_memory_not_equal(was + 2 * V, now + 2 * V, V * sizeof *was);
    assert_memory_equal(was + 3 * V, now + 3 * V, (ROWS - 3) * V * sizeof *was);
    free(slab);
    model_rig_close(&rig);
}

static void logits_of_text(const char *text, double *logits)
{
    model_rig rig;
    double *slab = open_text(&rig, text);
    logits_of(&rig, slab, tokens, logits);
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

static double loss_of(model_rig *rig, const double *slab)
{
    double nll[ROWS], sum = 0;
    model_run run = {.batch = B,
                     .seq_len = T,
                     .tokens = tokens,
                     .targets = targets,
                     .params = slab,
                     .nll = nll};
    model_rig_run(rig, &run);
    for (int r = 0; r < ROWS; r++)
        sum += nll[r];
    return sum;
}

/* Central differences, step 1e-5: error about 1e-10 of the third derivative. */
static void check_element(model_rig *rig, double *slab, const double *gradient,
                          int64_t at)
{
    const double h = 1e-5, kept = slab[at];
    slab[at] = kept + h;
    const double above = loss_of(rig, slab);
    slab[at] = kept - h;
    const double below = loss_of(rig, slab);
    slab[at] = kept;
    const double want = (above - below) / (2 * h);
    tn_assert_close_double(&gradient[at], &want, 1, 1e-6, 1e-6);
}

static void gradients_reach_every_weight_and_are_right(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++) {
        model_rig rig;
        double *slab = open_variant(&rig, i);
        double *gradient =
            calloc((size_t)model_rig_slab(&rig), sizeof *gradient);
        model_run run = {.batch = B,
                         .seq_len = T,
                         .tokens = tokens,
                         .targets = targets,
                         .params = slab,
                         .gradient = gradient};
        uint32_t count = 0;
        const tni_weight *w = tni_model_weights(rig.model, &count);
        model_rig_run(&rig, &run);
        assert_int_equal(run.unreached, 0);
        for (uint32_t k = 0; k < count; k++) {
            int64_t largest = w[k].offset;
            for (int64_t e = 0; e < w[k].elements; e++)
                if (fabs(gradient[w[k].offset + e]) > fabs(gradient[largest]))
                    largest = w[k].offset + e;
            if (!(fabs(gradient[largest]) > 1e-6)) {
                print_error("no gradient reaches %s\n", w[k].name);
                fail();
            }
            check_element(&rig, slab, gradient, largest);
        }
        free(gradient);
        free(slab);
        model_rig_close(&rig);
    }
}

/* A prompt of 4 (row 1: of 3, padded), then one token at a time. */
static void decoding_gives_the_logits_of_training(void **state)
{
    (void)state;
    static const int32_t start[B * 4] = {0, 1, 2, 3, 0, 1, 2, -1};
    for (int i = 0; i < VARIANTS; i++) {
        model_rig rig;
        double want[ROWS * V], prompt[B * 4 * V], step[B * V];
        int32_t head[B * 4];
        double *slab = open_variant(&rig, i);
        logits_of(&rig, slab, tokens, want);
        for (int r = 0; r < B * 4; r++)
            head[r] = tokens[r / 4 * T + r % 4];
        model_run run = {.batch = B,
                         .seq_len = 4,
                         .state_len = 9,
                         .tokens = head,
                         .positions = start,
                         .params = slab,
                         .reset = 1,
                         .logits = prompt};
        model_rig_run(&rig, &run);
        tn_assert_close_double(prompt, want, 4 * V, 1e-12, 1e-12);
        tn_assert_close_double(prompt + 4 * V, want + T * V, 3 * V, 1e-12,
                               1e-12);
        for (int t = 4; t < T; t++) {
            /* row 1 is one behind */
            const int32_t next[B] = {tokens[t], tokens[T + t - 1]};
            const int32_t at[B] = {t, t - 1};
            model_run one = {.batch = B,
                             .seq_len = 1,
                             .state_len = 9,
                             .tokens = next,
                             .positions = at,
                             .params = slab,
                             .logits = step};
            model_rig_run(&rig, &one);
            tn_assert_close_double(step, want + t * V, V, 1e-12, 1e-12);
            tn_assert_close_double(step + V, want + (T + t - 1) * V, V, 1e-12,
                                   1e-12);
        }
        free(slab);
        model_rig_close(&rig);
    }
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
    double *slab = open_variant(&rig, 0);
    logits_of(&rig, slab, tokens, want);
    model_run run = {.batch = B,
                     .seq_len = T,
                     .state_len = T,
                     .tokens = tokens,
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
        cmocka_unit_test(gradients_reach_every_weight_and_are_right),
        cmocka_unit_test(decoding_gives_the_logits_of_training),
        cmocka_unit_test(last_rows_are_the_rows_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
