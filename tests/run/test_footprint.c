/*
 * test_footprint.c - sizes are known before a run, and advice is true.
 */
#include "run_rig.h"

#include "graph/passes.h"
#include "run/footprint.h"

static tni_training *plans(run_rig *rig, const char *const *set)
{
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_training_create(run_rig_recipe(rig, set), &t, &err),
                     err);
    return t;
}

static void a_small_model_can_be_counted_by_hand(void **state)
{
    tni_training *t = plans(*state, NULL);
    tni_footprint f;
    tni_footprint_of(t, &f);
    /* embedding and head 2*256*16; a layer: q, o 2*16*16, k, v 2*8*16,
     * mlp 3*24*16, norms 2*16; final norm 16 */
    assert_int_equal(f.parameters, 8192 + 2 * (512 + 256 + 1152 + 32) + 16);
    assert_true(f.bytes[TN_ARENA_PARAM] >= f.parameters * 8);
    /* a step looks up 16 of the embedding's rows: uses are counted */
    assert_int_equal(f.bytes[TN_ARENA_GRAD],
                     f.bytes[TN_ARENA_PARAM] + 256 * 8);
    assert_int_equal(f.bytes[TN_ARENA_OPTIMIZER], 2 * f.bytes[TN_ARENA_PARAM]);
    /* a product costs 2 FLOPs a weight forward, 6 in training */
    const double products = 4096 + 2 * (512 + 256 + 1152);
    assert_true(f.forward_flops >= 2 * products);
    assert_true(f.forward_flops < 2.6 * products);
    assert_true(f.training_flops > 2.8 * f.forward_flops);
    assert_true(f.training_flops < 3.2 * f.forward_flops);
    assert_int_equal(f.tokens_per_step, 16);
    assert_true(f.largest_count > 0);
    for (uint32_t i = 1; i < f.largest_count; i++)
        assert_true(f.largest_bytes[i] <= f.largest_bytes[i - 1]);
    tni_training_destroy(t);
}

/* On the oracle, which has every bf16 kernel: no cast needs bytes of its own.
 */
static void bf16_halves_what_is_large_and_adds_the_copies(void **state)
{
    static const char large[] = "model.hidden_size=64",
                      wide_mlp[] = "model.layers[0].intermediate_size=192";
    tni_training *narrow = plans(
        *state, SET("precision=bf16", large, wide_mlp, "train.seq_len=32"));
    tni_training *wide = plans(
        *state, SET("precision=f32", large, wide_mlp, "train.seq_len=32"));
    tni_footprint n, w;
    tni_footprint_of(narrow, &n);
    tni_footprint_of(wide, &w);
    assert_int_equal(n.bytes[TN_ARENA_PARAM], w.bytes[TN_ARENA_PARAM]);
    /* of all but five norms of 64, in rooms of 128, and the embedding */
    assert_int_equal(n.bytes[TN_ARENA_COPY] * 2,
                     n.bytes[TN_ARENA_PARAM] - (5 * 128 + 256 * 64) * 4);
    assert_int_equal(w.bytes[TN_ARENA_COPY], 0);
    assert_true(n.bytes[TN_ARENA_TRANSIENT] * 100 <
                w.bytes[TN_ARENA_TRANSIENT] * 65);
    assert_int_equal(n.largest_bytes[0] * 2, w.largest_bytes[0]);
    assert_int_equal(n.cache_token_bytes * 2, w.cache_token_bytes);
    assert_int_equal(n.plain_token_bytes * 2, w.plain_token_bytes);
    tni_training_destroy(narrow);
    tni_training_destroy(wide);
}

/* Its head multiplies it. */
static void a_tied_embedding_has_a_copy(void **state)
{
    tni_training *t =
        plans(*state, SET("precision=bf16", "model.hidden_size=64",
                          "model.tie_embeddings=true"));
    tni_footprint f;
    tni_footprint_of(t, &f);
    assert_int_equal(f.bytes[TN_ARENA_COPY] * 2,
                     f.bytes[TN_ARENA_PARAM] - 5 * 128 * 4);
    tni_training_destroy(t);
}

static int64_t total(run_rig *rig, const char *const *set)
{
    tni_training *t = plans(rig, set);
    const int64_t bytes = tni_session_bytes(t->session);
    tni_training_destroy(t);
    return bytes;
}

static void refuses_with_the_setting_that_fits(void **state)
{
    run_rig *rig = *state;
    const char *const *big = SET("train.batch_size=32", "train.seq_len=32");
    const int64_t halved =
        total(rig, SET("train.batch_size=16", "train.seq_len=32",
                       "train.recompute=layer"));
    tni_training *t = plans(rig, big);
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok(tni_footprint_check(t, &err)); /* unknown memory: no check */

    t->session->device.caps.memory_bytes = halved;
    assert_int_equal(tni_footprint_check(t, &err), TN_ENOMEM);
    tn_assert_error_says(err, "activations");
    tn_assert_error_says(err, "train.batch_size: 16");
    tn_assert_error_says(err, "train.grad_accum: 2");

    err = TN_ERROR_NONE;
    t->session->device.caps.memory_bytes =
        total(rig, SET("train.batch_size=32", "train.seq_len=32",
                       "train.recompute=layer"));
    assert_int_equal(tni_footprint_check(t, &err), TN_ENOMEM);
    tn_assert_error_says(err, "train.recompute: layer would fit");

    err = TN_ERROR_NONE;
    t->session->device.caps.memory_bytes = 1000;
    assert_int_equal(tni_footprint_check(t, &err), TN_ENOMEM);
    tn_assert_error_says(err, "even train.batch_size: 1");
    tni_training_destroy(t);
}

static void recompute_needs_less(void **state)
{
    run_rig *rig = *state;
    const int64_t all =
        total(rig, SET("train.seq_len=32", "train.batch_size=16",
                       "model.layers[0].repeat=6"));
    const int64_t less =
        total(rig, SET("train.seq_len=32", "train.batch_size=16",
                       "model.layers[0].repeat=6", "train.recompute=layer"));
    assert_true(less < all * 3 / 4);
}

/* Two layers of grouped queries keep a key and a value of 8 for each token. */
static void plain_attention_keeps_keys_and_values(void **state)
{
    tni_training *t = plans(*state, NULL);
    tni_footprint f;
    tni_footprint_of(t, &f);
    assert_int_equal(f.cache_token_bytes, 2 * (8 + 8) * 8);
    assert_int_equal(f.plain_token_bytes, f.cache_token_bytes);
    assert_int_equal(f.state_bytes, 0);
    tni_training_destroy(t);
}

/* A latent of 5 and a rotary key of 2, not 4 heads of 8 + 6. */
static void latent_attention_keeps_less_than_it_attends_to(void **state)
{
    tni_training *t = plans(
        *state, SET("model.layers=[{arch: mla, num_heads: 4, kv_lora_rank: 5, "
                    "qk_nope_head_dim: 6, qk_rope_head_dim: 2, v_head_dim: 6, "
                    "intermediate_size: 24}]"));
    tni_footprint f;
    tni_footprint_of(t, &f);
    assert_int_equal(f.cache_token_bytes, (5 + 2) * 8);
    assert_int_equal(f.plain_token_bytes, 4 * (8 + 6) * 8);
    tni_training_destroy(t);
}

/* A window of 3 rows of 40, and 4 heads of 8 x 4; nothing per token. */
static void a_recurrent_layer_keeps_the_same_at_any_length(void **state)
{
    tni_training *t = plans(
        *state, SET("model.layers=[{arch: mamba2, state_size: 4, head_dim: 8, "
                    "conv_kernel: 4, n_groups: 1}]"));
    tni_footprint f;
    tni_footprint_of(t, &f);
    assert_int_equal(f.cache_token_bytes, 0);
    assert_int_equal(f.plain_token_bytes, 0);
    assert_int_equal(f.state_bytes, (3 * 40 + 4 * 8 * 4) * 8);
    tni_training_destroy(t);
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(a_small_model_can_be_counted_by_hand),
        WITH_RIG(bf16_halves_what_is_large_and_adds_the_copies),
        WITH_RIG(a_tied_embedding_has_a_copy),
        WITH_RIG(refuses_with_the_setting_that_fits),
        WITH_RIG(recompute_needs_less),
        WITH_RIG(plain_attention_keeps_keys_and_values),
        WITH_RIG(latent_attention_keeps_less_than_it_attends_to),
        WITH_RIG(a_recurrent_layer_keeps_the_same_at_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
