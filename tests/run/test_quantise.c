/*
 * test_quantise.c - a model read in 8 or 4 bits is the model of the numbers
 * that its blocks stand for, in decoding and in scoring, on every layer.
 */
#include "run_rig.h"

#include "base/blocks.h"
#include "run/checkpoint.h"
#include "run/decoder.h"
#include "run/logits.h"
#include "run/score.h"
#include "run/weights.h"

enum { V = 256, T = 7 };

static const int32_t text[T] = {72, 101, 108, 108, 111, 44, 32};

/* Rows of 256 take both formats, of 288 q8_0 only, of 24 neither. */
static const char *const layers[] = {
    "model.layers=[{arch: transformer, repeat: 2, num_heads: 4, "
    "num_kv_heads: 2, intermediate_size: 288}]",
    "model.layers=[{arch: transformer, num_heads: 4, num_kv_heads: 2, "
    "mlp: {type: moe, num_experts: 4, experts_per_token: 2, "
    "intermediate_size: 256}}]",
    "model.layers=[{arch: mla, num_heads: 4, kv_lora_rank: 256, "
    "q_lora_rank: 256, qk_nope_head_dim: 32, qk_rope_head_dim: 16, "
    "v_head_dim: 32, intermediate_size: 24}]",
    "model.layers=[{arch: mamba2, num_heads: 8, head_dim: 64, "
    "state_size: 32}]",
};
enum { LAYERS = sizeof layers / sizeof *layers };

static tni_recipe *recipe_of(run_rig *rig, const char *layer,
                             const char *quantize, const char *more)
{
    return run_rig_recipe(rig, SET("model.hidden_size=256", layer, quantize,
                                   "model.initializer_range=0.1",
                                   more ? more : "seed=3"));
}

/* The weights of `plain`, as blocks would make them. */
static void put_numbers_of_blocks(tni_session *plain, const tni_model *blocks)
{
    const tni_model *model = plain->recipe->model;
    const size_t slab = (size_t)tni_model_slab_elements(model);
    float *from = malloc(slab * sizeof *from);
    void *room = malloc(slab * 2 + 256);
    uint32_t count;
    tn_error err = TN_ERROR_NONE;
    const tni_weight *w = tni_model_weights(model, &count);
    tni_model_initialize(model, (uint64_t)plain->recipe->seed, from);
    for (uint32_t i = 0; i < count; i++) {
        const tn_dtype dtype = tni_model_weight(blocks, w[i].name)->block_dtype;
        float *at = from + w[i].offset;
        if (!dtype)
            continue;
        tni_blocks_encode(dtype, at, w[i].elements, room);
        tni_blocks_decode(dtype, room, w[i].elements, at);
    }
    tn_assert_ok_err(
        tni_session_upload_weights(plain, 0, from, (int64_t)slab, &err), err);
    free(from);
    free(room);
}

static void expect_same_decoding(run_rig *rig, const char *layer,
                                 const char *quantize)
{
    tni_decoder *plain, *blocks;
    tn_error err = TN_ERROR_NONE;
    const tni_recipe *p = recipe_of(rig, layer, "quantize=none", NULL);
    const tni_recipe *q = recipe_of(rig, layer, quantize, NULL);
    tn_assert_ok_err(tni_decoder_create(p, NULL, T, &plain, &err), err);
    tn_assert_ok_err(tni_decoder_create(q, NULL, T, &blocks, &err), err);
    put_numbers_of_blocks(plain->session, q->model);
    tn_assert_ok_err(tni_decoder_read(plain, text, T, &err), err);
    tn_assert_ok_err(tni_decoder_read(blocks, text, T, &err), err);
    tn_assert_close(blocks->logits, plain->logits, V, 1e-5, 1e-5);
    tni_decoder_destroy(plain);
    tni_decoder_destroy(blocks);
}

static void decoding_is_that_of_the_numbers(void **state)
{
    for (int i = 0; i < LAYERS; i++) {
        expect_same_decoding(*state, layers[i], "quantize=q8_0");
        expect_same_decoding(*state, layers[i], "quantize=q4_k");
    }
}

/* Integers of 16 bits and maps in f32 beside doubles. */
static void the_cpu_agrees_with_the_oracle(void **state)
{
    static const char *const precision[] = {"precision=f32", "precision=bf16"};
    for (int i = 0; i < 2 * LAYERS; i++) {
        tni_decoder *oracle, *cpu;
        tn_error err = TN_ERROR_NONE;
        const char *layer = layers[i / 2], *format = "quantize=q4_k";
        const tni_recipe *r = recipe_of(*state, layer, format, NULL);
        const tni_recipe *c = run_rig_recipe(
            *state,
            SET("model.hidden_size=256", layer, format, precision[i & 1],
                "model.initializer_range=0.1", "seed=3", "backend=cpu"));
        tn_assert_ok_err(tni_decoder_create(r, NULL, T, &oracle, &err), err);
        tn_assert_ok_err(tni_decoder_create(c, NULL, T, &cpu, &err), err);
        tn_assert_ok_err(tni_decoder_read(oracle, text, T, &err), err);
        tn_assert_ok_err(tni_decoder_read(cpu, text, T, &err), err);
        tn_assert_close(cpu->logits, oracle->logits, V, i & 1 ? 0.1 : 2e-3, 0);
        tni_decoder_destroy(oracle);
        tni_decoder_destroy(cpu);
    }
}

/* A checkpoint of drawn weights. */
static const char *saved(run_rig *rig, const char *layer)
{
    static char path[256];
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    const tni_recipe *plain = run_rig_recipe(
        rig, SET("model.hidden_size=256", layer, "precision=f32", "seed=3",
                 "model.initializer_range=0.1", "model.max_seq_len=128"));
    const tni_progress progress = {.step = 1};
    tn_assert_ok_err(tni_training_create(plain, &t, &err), err);
    tn_assert_ok_err(tni_training_commit(t, &err), err);
    tn_assert_ok_err(tni_weights_draw(t->session, &err), err);
    tn_assert_ok_err(tni_checkpoint_save(t, &progress, path, sizeof path, &err),
                     err);
    tni_training_destroy(t);
    return path;
}

static void weights_of_a_file_are_those_that_were_drawn(void **state)
{
    for (int i = 0; i < LAYERS; i++) {
        tni_decoder *drawn, *read;
        tn_error err = TN_ERROR_NONE;
        const char *path = saved(*state, layers[i]);
        const tni_recipe *r =
            recipe_of(*state, layers[i], "quantize=q4_k", NULL);
        tn_assert_ok_err(tni_decoder_create(r, NULL, T, &drawn, &err), err);
        tn_assert_ok_err(tni_decoder_create(r, path, T, &read, &err), err);
        tn_assert_ok_err(tni_decoder_read(drawn, text, T, &err), err);
        tn_assert_ok_err(tni_decoder_read(read, text, T, &err), err);
        tn_assert_close(read->logits, drawn->logits, V, 0, 0);
        tni_decoder_destroy(drawn);
        tni_decoder_destroy(read);
    }
}

/* One token at a time, 64 at once, all at once without a cache: the last is
 * how `tenon logits` and `tenon eval` read. */
static void prompts_and_scores_read_the_same_weights(void **state)
{
    enum { LONG = 65 };
    run_rig *rig = *state;
    int32_t tokens[LONG];
    float *whole;
    tni_decoder *d;
    tn_error err = TN_ERROR_NONE;
    for (int i = 0; i < LONG; i++)
        tokens[i] = (i * 37 + i * i) % V;
    for (int i = 0; i < LAYERS; i++) {
        const tni_recipe *r = run_rig_recipe(
            rig, SET("model.hidden_size=256", layers[i], "quantize=q8_0",
                     "model.initializer_range=0.1", "model.max_seq_len=128",
                     "precision=f32", "backend=cpu"));
        const char *path = saved(rig, layers[i]);
        tn_assert_ok_err(tni_logits(r, path, tokens, LONG, &whole, &err), err);
        tn_assert_ok_err(tni_decoder_create(r, path, LONG, &d, &err), err);
        tn_assert_ok_err(tni_decoder_read(d, tokens, LONG, &err), err);
        tn_assert_ok_err(tni_decoder_logits(d, &err), err);
        tn_assert_close(d->logits, whole + (LONG - 1) * V, V, 1e-3, 2e-3);

        int32_t targets[LONG - 1];
        memcpy(targets, tokens + 1, sizeof targets);
        tni_scorer *s;
        tn_assert_ok_err(tni_scorer_create(r, path, 1, LONG - 1, 0, &s, &err),
                         err);
        tn_assert_ok_err(
            tni_scorer_run(s, LONG - 1, tokens, targets, NULL, &err), err);
        const float *l = whole + (LONG - 2) * V;
        double sum = 0.0;
        for (int v = 0; v < V; v++)
            sum += exp((double)l[v]);
        const float nll = (float)(log(sum) - (double)l[targets[LONG - 2]]);
        tn_assert_close(&s->nll[LONG - 2], &nll, 1, 1e-3, 1e-3);
        tni_scorer_destroy(s);
        tni_decoder_destroy(d);
        free(whole);
    }
}

static tn_dtype format_of(const tni_recipe *r, const char *name)
{
    return tni_model_weight(r->model, name)->block_dtype;
}

static void only_whole_rows_become_blocks(void **state)
{
    const tni_recipe *r = recipe_of(*state, layers[0], "quantize=q4_k", NULL);
    assert_int_equal(format_of(r, "model.layers.0.self_attn.q_proj.weight"),
                     TN_Q4_K);
    assert_int_equal(format_of(r, "model.layers.1.mlp.down_proj.weight"),
                     TN_Q8_0);
    assert_int_equal(format_of(r, "model.embed_tokens.weight"), TN_Q4_K);
    assert_int_equal(format_of(r, "model.norm.weight"), TN_DTYPE_NONE);
    r = recipe_of(*state, layers[2], "quantize=q4_k", NULL);
    assert_int_equal(format_of(r, "model.layers.0.mlp.down_proj.weight"),
                     TN_DTYPE_NONE);
    /* decoding sums over another axis of it than training does */
    assert_int_equal(format_of(r, "model.layers.0.self_attn.kv_b_proj.weight"),
                     TN_DTYPE_NONE);
}

/* A quarter and a bit of f32; half of that and less. */
static void memory_is_that_of_the_blocks(void **state)
{
    int64_t bytes[3];
    static const char *const formats[] = {"quantize=none", "quantize=q8_0",
                                          "quantize=q4_k"};
    for (int i = 0; i < 3; i++) {
        tni_decoder *d;
        tn_error err = TN_ERROR_NONE;
        const tni_recipe *r =
            recipe_of(*state, layers[0], formats[i], "precision=f32");
        tn_assert_ok_err(tni_decoder_create(r, NULL, T, &d, &err), err);
        bytes[i] = d->session->arena_bytes[TN_ARENA_PARAM] +
                   d->session->arena_bytes[TN_ARENA_COPY];
        tni_decoder_destroy(d);
    }
    assert_true(bytes[1] * 100 < bytes[0] * 28);
    assert_true(bytes[2] * 100 < bytes[0] * 20);
}

static void training_is_refused(void **state)
{
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    const tni_recipe *r = recipe_of(*state, layers[0], "quantize=q8_0", NULL);
    assert_int_equal(tni_training_create(r, &t, &err), TN_EINVALID);
    tn_assert_error_says(err, "no gradient");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(decoding_is_that_of_the_numbers,
                                        run_rig_setup, run_rig_teardown),
        cmocka_unit_test_setup_teardown(the_cpu_agrees_with_the_oracle,
                                        run_rig_setup, run_rig_teardown),
        cmocka_unit_test_setup_teardown(
            weights_of_a_file_are_those_that_were_drawn, run_rig_setup,
            run_rig_teardown),
        cmocka_unit_test_setup_teardown(
            prompts_and_scores_read_the_same_weights, run_rig_setup,
            run_rig_teardown),
        cmocka_unit_test_setup_teardown(only_whole_rows_become_blocks,
                                        run_rig_setup, run_rig_teardown),
        cmocka_unit_test_setup_teardown(memory_is_that_of_the_blocks,
                                        run_rig_setup, run_rig_teardown),
        cmocka_unit_test_setup_teardown(training_is_refused, run_rig_setup,
                                        run_rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
