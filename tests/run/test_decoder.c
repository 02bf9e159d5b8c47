/*
 * test_decoder.c - reading piece by piece says what reading at once says.
 */
#include "run_rig.h"

#include "run/checkpoint.h"
#include "run/decoder.h"
#include "run/generate.h"
#include "run/logits.h"
#include "run/weights.h"

/* Weights with some life in them, as a checkpoint. */
static const char *weights_of(run_rig *rig, const tni_recipe *r)
{
    static char path[256];
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    const tni_progress progress = {.step = 1};
    tn_assert_ok_err(tni_training_create(r, &t, &err), err);
    tn_assert_ok_err(tni_training_commit(t, &err), err);
    tn_assert_ok_err(tni_weights_draw(t->session, &err), err);
    (void)rig;
    tn_assert_ok_err(tni_checkpoint_save(t, &progress, path, sizeof path, &err),
                     err);
    tni_training_destroy(t);
    return path;
}

static void pieces_give_the_logits_of_the_whole(void **state)
{
    run_rig *rig = *state;
    /* larger weights than at a start, so that positions matter */
    const tni_recipe *r = run_rig_recipe(
        rig, SET("model.initializer_range=0.3", "model.max_seq_len=128"));
    const char *weights = weights_of(rig, r);
    enum { T = 101, V = 256 }; /* pieces of 64, 16, 16, 4, 1 */
    int32_t tokens[T];
    float *whole;
    tni_decoder *d;
    tn_error err = TN_ERROR_NONE;
    for (int i = 0; i < T; i++)
        tokens[i] = (i * 37 + i * i) % V;
    tn_assert_ok_err(tni_logits(r, weights, tokens, T, &whole, &err), err);
    tn_assert_ok_err(tni_decoder_create(r, weights, T, &d, &err), err);

    tn_assert_ok_err(tni_decoder_read(d, tokens, T, &err), err);
    tn_assert_ok_err(tni_decoder_logits(d, &err), err);
    tn_assert_close(d->logits, whole + (T - 1) * V, V, 1e-5, 1e-5);

    /* again from the start: nothing is left of the first time */
    tn_assert_ok(tni_decoder_reset(d, &err));
    tn_assert_ok(tni_decoder_read(d, tokens, 20, &err));
    tn_assert_ok(tni_decoder_logits(d, &err));
    tn_assert_close(d->logits, whole + 19 * V, V, 1e-5, 1e-5);
    for (int i = 20; i < 40; i++) {
        tn_assert_ok(tni_decoder_read(d, &tokens[i], 1, &err));
        tn_assert_ok(tni_decoder_logits(d, &err));
        tn_assert_close(d->logits, whole + i * V, V, 1e-5, 1e-5);
    }
    free(whole);
    tni_decoder_destroy(d);
}

/* The oracle has a kernel for it; a host that has none draws from the logits.
 */
static void a_token_drawn_there_is_the_one_drawn_here(void **state)
{
    static const tni_sampling sampling[] = {
        {.temperature = 0, .top_p = 1},
        {.temperature = 1, .top_p = 1, .seed = 5},
        {.temperature = 0.7, .top_p = 1, .top_k = 9},
        {.temperature = 1.5, .top_p = 0.6},
        {.temperature = 1, .top_p = 0.8, .top_k = 40, .seed = 9},
    };
    run_rig *rig = *state;
    const tni_recipe *r = run_rig_recipe(
        rig, SET("model.initializer_range=0.3", "model.max_seq_len=128"));
    tni_decoder *d;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_decoder_create(r, weights_of(rig, r), 128, &d, &err),
                     err);
    assert_true(d->draw);
    for (size_t k = 0; k < sizeof sampling / sizeof sampling[0]; k++) {
        tni_sampler there, here;
        int32_t token = 7, same = -1;
        tn_assert_ok(tni_sampler_init(&there, &sampling[k], 200, NULL));
        tn_assert_ok(tni_sampler_init(&here, &sampling[k], 200, NULL));
        for (int i = 0; i < 20; i++) {
            tn_assert_ok_err(tni_decoder_read(d, &token, 1, &err), err);
            tn_assert_ok_err(tni_decoder_draw(d, &there, &token, &err), err);
            tn_assert_ok_err(tni_decoder_logits(d, &err), err);
            tn_assert_ok(tni_sampler_next(&here, d->logits, &same, NULL));
            assert_int_equal(token, same);
            assert_in_range(token, 0, 199);
        }
    }
    tni_decoder_destroy(d);
}

/* Of three sequences, the second at its end. */
static void several_tokens_are_drawn_at_once(void **state)
{
    run_rig *rig = *state;
    const tni_recipe *r = run_rig_recipe(
        rig, SET("model.initializer_range=0.3", "model.max_seq_len=64"));
    const tni_sampling sampling = {.temperature = 1, .top_p = 0.9};
    const int32_t prompt[3] = {1, 2, 3};
    tni_sampler there[3], here[3];
    int32_t tokens[3] = {10, -1, 30}, same = -1;
    tni_decoder *d;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(
        tni_decoder_create_rows(r, weights_of(rig, r), 64, 3, &d, &err), err);
    tn_assert_ok_err(tni_decoder_read(d, prompt, 3, &err), err);
    for (int i = 0; i < 3; i++) {
        tn_assert_ok(tni_decoder_copy_row(d, i, NULL));
        tn_assert_ok(tni_sampler_init(&there[i], &sampling, 256, NULL));
        there[i].options.seed = (uint64_t)i;
        here[i] = there[i];
    }
    for (int round = 0; round < 12; round++) {
        tn_assert_ok_err(tni_decoder_read_rows(d, tokens, &err), err);
        tni_sampler *const samplers[3] = {&there[0], NULL, &there[2]};
        tn_assert_ok_err(tni_decoder_draw_rows(d, samplers, tokens, &err), err);
        tn_assert_ok_err(tni_decoder_logits(d, &err), err);
        for (int i = 0; i < 3; i += 2) {
            tn_assert_ok(tni_sampler_next(
                &here[i], d->logits + i * d->vocab_size, &same, NULL));
            assert_int_equal(tokens[i], same);
        }
        assert_int_equal(tokens[1], -1);
    }
    tni_decoder_destroy(d);
}

/* From one prompt, one sequence ending early, with layers that keep a cache and
 * such that keep a state: each goes on as if it were alone. */
static void sequences_go_on_together_as_alone(void **state)
{
    enum { ROWS = 3, STEPS = 4, PROMPT = 5, V = 256 };
    static const char *const layers[] = {
        "model.layers=[{arch: transformer, num_heads: 2, num_kv_heads: 1, "
        "intermediate_size: 24}]",
        "model.layers=[{arch: mamba2, num_heads: 4, head_dim: 8, "
        "state_size: 8}]"};
    for (int which = 0; which < 2; which++) {
        int32_t all[PROMPT + STEPS] = {5, 200, 17, 90, 3};
        const tni_recipe *r = run_rig_recipe(
            *state, SET("model.initializer_range=0.3", layers[which]));
        tni_decoder *together, *alone;
        tn_error err = TN_ERROR_NONE;
        tn_assert_ok_err(
            tni_decoder_create_rows(r, NULL, 32, ROWS, &together, &err), err);
        tn_assert_ok_err(tni_decoder_create(r, NULL, 32, &alone, &err), err);
        tn_assert_ok_err(tni_decoder_read(together, all, PROMPT, &err), err);
        for (int64_t i = 0; i < ROWS; i++)
            tn_assert_ok_err(tni_decoder_copy_row(together, i, &err), err);
        for (int step = 0; step < STEPS; step++) {
            int32_t tokens[ROWS];
            for (int i = 0; i < ROWS; i++)
                tokens[i] = i == 1 && step >= 2 ? -1 : 7 * step + i;
            tn_assert_ok_err(tni_decoder_read_rows(together, tokens, &err),
                             err);
            for (int i = 0; i < ROWS; i++) {
                if (tokens[i] < 0)
                    continue;
                for (int k = 0; k <= step; k++)
                    all[PROMPT + k] = 7 * k + i;
                tn_assert_ok(tni_decoder_reset(alone, &err));
                tn_assert_ok_err(
                    tni_decoder_read(alone, all, PROMPT + step + 1, &err), err);
                tn_assert_close(together->logits + i * V, alone->logits, V,
                                1e-5, 1e-5);
            }
        }
        tni_decoder_destroy(together);
        tni_decoder_destroy(alone);
    }
}

static void many_sequences_are_refused_with_how_many_go(void **state)
{
    tni_decoder *d;
    tn_error err = TN_ERROR_NONE;
    const tni_recipe *r = run_rig_recipe(*state, NULL);
    assert_int_equal(tni_decoder_create_rows(r, NULL, 8, 65, &d, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "[1, 64]");
    tn_assert_ok(tni_decoder_create_rows(r, NULL, 2, 2, &d, NULL));
    err = TN_ERROR_NONE;
    assert_int_equal(tni_decoder_read_rows(d, (const int32_t[]){1, 256}, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "sequence 1");
    for (int i = 0; i < 2; i++)
        tn_assert_ok(tni_decoder_read_rows(d, (const int32_t[]){-1, 1}, NULL));
    err = TN_ERROR_NONE;
    assert_int_equal(tni_decoder_read_rows(d, (const int32_t[]){-1, 1}, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "full");
    tni_decoder_destroy(d);
}

static void refuses_what_does_not_fit(void **state)
{
    run_rig *rig = *state;
    const tni_recipe *r = run_rig_recipe(rig, NULL);
    const char *weights = weights_of(rig, r);
    const int32_t tokens[] = {1, 2, 3, 256};
    float *logits;
    tni_decoder *d;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(tni_decoder_create(r, weights, 33, &d, &err), TN_EINVALID);
    tn_assert_error_says(err, "max_seq_len 32");
    tn_assert_ok(tni_decoder_create(r, weights, 2, &d, NULL));
    err = TN_ERROR_NONE;
    assert_int_equal(tni_decoder_read(d, tokens, 3, &err), TN_EINVALID);
    tn_assert_error_says(err, "do not fit");
    err = TN_ERROR_NONE;
    assert_int_equal(tni_decoder_read(d, tokens + 3, 1, &err), TN_EINVALID);
    tn_assert_error_says(err, "256");
    tni_decoder_destroy(d);
    err = TN_ERROR_NONE;
    assert_int_equal(tni_logits(r, weights, tokens, 4, &logits, &err),
                     TN_EINVALID);
    assert_int_equal(tni_logits(r, weights, tokens, 0, &logits, NULL),
                     TN_EINVALID);
}

typedef struct {
    char text[4096];
    size_t used;
} heard;

static void hear(void *to, const char *text, size_t bytes)
{
    heard *h = to;
    assert_true(h->used + bytes < sizeof h->text);
    memcpy(h->text + h->used, text, bytes);
    h->used += bytes;
    h->text[h->used] = '\0';
}

static tn_status generate(const tni_recipe *r, const char *weights,
                          const char *prompt, int64_t count, heard *h,
                          tni_generate_result *result, tn_error *err)
{
    const tni_generate_request request = {
        .recipe = r,
        .weights = weights,
        .prompt = prompt,
        .prompt_bytes = strlen(prompt),
        .max_tokens = count,
        .sampling = {.temperature = 1, .top_p = 1, .seed = 5},
        .sink = hear,
        .to = h};
    return tni_generate(&request, result, err);
}

static void text_goes_on_past_the_context(void **state)
{
    run_rig *rig = *state;
    const tni_recipe *r = run_rig_recipe(rig, NULL);
    const char *weights = weights_of(rig, r);
    heard a = {.used = 0}, b = {.used = 0}, c = {.used = 0};
    tni_generate_result result;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(generate(r, weights, "one", 100, &a, &result, &err), err);
    assert_int_equal(result.tokens, 100); /* the context holds 32 */
    assert_int_equal(result.prompt_tokens, 3);
    tn_assert_ok(generate(r, weights, "one", 100, &b, &result, NULL));
    assert_string_equal(a.text, b.text);
    /* a prompt that is too long keeps its last part */
    tn_assert_ok(generate(r, weights,
                          "a prompt of more than thirty-two bytes, surely", 4,
                          &c, &result, NULL));
    assert_int_equal(result.prompt_tokens, 16);
    /* one that fills it is read whole */
    c = (heard){.used = 0};
    tn_assert_ok(generate(r, weights, "thirty-two bytes, as many as fit", 1, &c,
                          &result, NULL));
    assert_int_equal(result.prompt_tokens, 32);
    assert_int_equal(result.tokens, 1);
    tn_assert_ok(generate(r, weights, "thirty-two bytes, as many as fit", 4, &c,
                          &result, NULL));
    assert_int_equal(result.prompt_tokens, 32);
    assert_int_equal(result.tokens, 4);
    assert_int_equal(generate(r, weights, "", 4, &c, &result, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "prompt is empty");
}

static void npy_files_have_the_header_numpy_wants(void **state)
{
    run_rig *rig = *state;
    const float values[6] = {1, 2, 3, 4, 5, 6};
    char path[96], *bytes;
    size_t count;
    snprintf(path, sizeof path, "%s/x.npy", rig->folder);
    tn_assert_ok(tni_npy_write(path, values, 2, 3, NULL));
    tn_assert_ok(tni_file_read(rig->arena, path, 4096, &bytes, &count, NULL));
    assert_memory_equal(bytes, "\x93NUMPY\x01\x00", 8);
    const size_t header =
        (unsigned char)bytes[8] + 256u * (unsigned char)bytes[9];
    assert_int_equal((10 + header) % 64, 0);
    assert_int_equal(count, 10 + header + sizeof values);
    assert_int_equal(bytes[10 + header - 1], '\n');
    assert_non_null(strstr(bytes + 10, "'shape': (2, 3)"));
    assert_memory_equal(bytes + 10 + header, values, sizeof values);
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(pieces_give_the_logits_of_the_whole),
        WITH_RIG(a_token_drawn_there_is_the_one_drawn_here),
        WITH_RIG(several_tokens_are_drawn_at_once),
        WITH_RIG(sequences_go_on_together_as_alone),
        WITH_RIG(many_sequences_are_refused_with_how_many_go),
        WITH_RIG(refuses_what_does_not_fit),
        WITH_RIG(text_goes_on_past_the_context),
        WITH_RIG(npy_files_have_the_header_numpy_wants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
