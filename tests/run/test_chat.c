/*
 * test_chat.c - a conversation: the tokens it is, and what is read of them.
 *
 * The model is drawn at random, so it babbles; what it says does not matter
 * here, only what it was given to read.
 */
#include "run_rig.h"

#include "run/chat.h"
#include "run/checkpoint.h"
#include "run/evaluate.h"
#include "run/logits.h"
#include "run/weights.h"

enum { CONTEXT = 160 };

static const char bpe[] =
    "tokenizer={plugin: bpe, path: %s/tests/plugins/tokenizers/bpe/"
    "shakespeare.tiktoken, pattern: nanochat, special_tokens: [%s]}";
static const char nanochat[] =
    "<|bos|>, <|user_start|>, <|user_end|>, <|assistant_start|>, "
    "<|assistant_end|>, <|python_start|>, <|python_end|>, <|output_start|>, "
    "<|output_end|>";
static const char nano_start[] =
    "<|endoftext|>, <|system|>, <|user|>, <|assistant|>";
static const char chatml[] = "<|im_start|>, <|im_end|>";

static const char talk[] =
    "[{\"role\": \"system\", \"content\": \"Be brief, sir.\\n\"},"
    " {\"role\": \"user\", \"content\": \" Who are you?\"},"
    " {\"role\": \"assistant\", \"content\": \"Zo\\u00eb.\\n\"},"
    " {\"role\": \"user\", \"content\": \"<|im_end|>\\nWhy?\"},"
    " {\"role\": \"assistant\", \"content\": \"I know not.\"}]\n";

static const struct {
    uint32_t role;
    const char *text;
} said[] = {{TN_ROLE_SYSTEM, "Be brief, sir.\n"},
            {TN_ROLE_USER, " Who are you?"},
            {TN_ROLE_ASSISTANT, "Zo\xC3\xAB.\n"},
            {TN_ROLE_USER, "<|im_end|>\nWhy?"}};

/* ---- a chat with a model at its start ---- */

static tni_recipe *recipe_with(run_rig *rig, const char *specials,
                               const char *layer)
{
    char path[128];
    snprintf(path, sizeof path, "%s/chat.jsonl", rig->folder);
    run_rig_write(path, talk);
    char *tokenizer = specials
                          ? tni_arena_printf(rig->arena, bpe,
                                             getenv("TENON_SOURCE"), specials)
                          : tni_arena_printf(rig->arena, "tokenizer=byte");
    char *layers = tni_arena_printf(rig->arena, "model.layers=[%s]", layer);
    return run_rig_recipe(
        rig, SET(tokenizer, layers, "model.vocab_size=528",
                 "model.initializer_range=0.3", "model.max_seq_len=160",
                 "train.seq_len=160", "train.batch_size=1", "data.val=null",
                 "data.train={plugin: sft, path: chat.jsonl, packing: pad}"));
}

static const char attention[] =
    "{arch: transformer, repeat: 2, num_heads: 2, intermediate_size: 24}";
static const char recurrent[] =
    "{arch: mamba2, state_size: 8, head_dim: 8}, "
    "{arch: transformer, num_heads: 2, intermediate_size: 24}";

static const char *weights_of(const tni_recipe *r)
{
    static char path[256];
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    const tni_progress progress = {.step = 1};
    tn_assert_ok_err(tni_training_create(r, &t, &err), err);
    tn_assert_ok_err(tni_training_commit(t, &err), err);
    tn_assert_ok_err(tni_weights_draw(t->session, &err), err);
    tn_assert_ok_err(tni_checkpoint_save(t, &progress, path, sizeof path, &err),
                     err);
    tni_training_destroy(t);
    return path;
}

typedef struct {
    char text[4096], forgotten[1024];
    size_t used;
} heard;

static void hear(void *to, const char *text, size_t bytes)
{
    heard *h = to;
    if (h->used + bytes < sizeof h->text)
        memcpy(h->text + h->used, text, bytes);
    h->used += bytes;
}

static void forgot(void *to, const tni_turn *turn)
{
    heard *h = to;
    strcat(strcat(h->forgotten, turn->text), "|");
}

static tni_chat *chat_with(const tni_recipe *r, const char *weights,
                           int64_t context, heard *h)
{
    tni_chat *chat;
    tn_error err = TN_ERROR_NONE;
    *h = (heard){.used = 0};
    const tni_chat_request request = {.recipe = r,
                                      .weights = weights,
                                      .context = context,
                                      .sink = hear,
                                      .forgot = forgot,
                                      .to = h};
    tn_assert_ok_err(tni_chat_open(&request, &chat, &err), err);
    chat->max_tokens = 6;
    return chat;
}

static tni_chat_result ask(tni_chat *chat, const char *text)
{
    tni_chat_result result;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_chat_ask(chat, text, strlen(text), &result, &err),
                     err);
    return result;
}

/* How many of the answer's tokens were read: the last one of an answer that
 * was cut off is not. */
static int64_t answer_read(tni_chat_result r)
{
    return r.tokens - (r.ended == TNI_CHAT_LENGTH);
}

/* ---- the same tokens as in training ---- */

static void put_all_but_the_last(tni_chat *chat)
{
    const size_t count = sizeof said / sizeof *said - 1;
    for (size_t i = 0; i < count; i++) {
        const char *text = said[i].text;
        tn_assert_ok(tni_turns_insert(&chat->turns, chat->turns.count,
                                      said[i].role, text, strlen(text), NULL));
        if (said[i].role == TN_ROLE_ASSISTANT)
            tn_assert_ok(chat->tokenizer.vtable->encode(
                chat->tokenizer.self, text, strlen(text), 0,
                tni_token_list_take,
                &chat->turns.at[chat->turns.count - 1].drawn, NULL));
    }
}

/* What the dataset of conversations makes of the same ones. */
static void trained_on(const tni_recipe *r, const tn_tokenizer_handle *t,
                       int32_t tokens[CONTEXT])
{
    const tn_dataset_request request = tni_data_request(r, t);
    tn_batch batch = tni_batch_create(r);
    tni_data data = {0};
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(
        tni_data_open(r->reader.host, &r->train_data, &request, 0, &data, &err),
        err);
    tn_assert_ok(tni_data_next(&data, &batch, NULL));
    memcpy(tokens, batch.tokens, CONTEXT * sizeof *tokens);
    tni_data_close(&data);
    tni_batch_destroy(&batch);
}

static void renders_as_trained(run_rig *rig, const char *specials,
                               const char *form, int64_t least)
{
    const tni_recipe *r = recipe_with(rig, specials, attention);
    heard h;
    tni_chat *chat = chat_with(r, weights_of(r), 0, &h);
    int32_t tokens[CONTEXT];
    assert_string_equal(chat->form->name, form);
    chat->max_tokens = 1; /* is drawn, but not read */
    put_all_but_the_last(chat);
    ask(chat, said[3].text);
    trained_on(r, &chat->tokenizer, tokens);
    assert_true(chat->rendered.count >= least);
    assert_true(chat->rendered.count < CONTEXT);
    assert_memory_equal(chat->rendered.at, tokens,
                        (size_t)chat->rendered.count * sizeof *tokens);
    assert_int_equal(chat->decoder->position, chat->rendered.count);
    assert_memory_equal(chat->read.at, tokens,
                        (size_t)chat->read.count * sizeof *tokens);
    tni_chat_close(chat);
}

static void the_prompt_is_what_was_trained_on(void **state)
{
    renders_as_trained(*state, nanochat, "nanochat", 20);
    renders_as_trained(*state, nano_start, "nano_start", 20);
    renders_as_trained(*state, chatml, "chatml", 30);
    renders_as_trained(*state, NULL, "nano_start", 100); /* markers as text */
}

/* ---- what is read, and what that gives ---- */

/* The logits at the end are those of reading all of it at once. */
static void knows_what_was_said(const tni_chat *chat, const char *weights)
{
    const tni_recipe *r = chat->request.recipe;
    const int64_t V = tni_model_vocab_size(r->model), T = chat->read.count;
    float *whole;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(chat->decoder->position, T);
    tn_assert_ok_err(tni_logits(r, weights, chat->read.at, T, &whole, &err),
                     err);
    tn_assert_ok_err(tni_decoder_logits(chat->decoder, &err), err);
    tn_assert_close(chat->decoder->logits, whole + (T - 1) * V, V, 1e-5, 1e-5);
    free(whole);
}

static void a_new_turn_costs_that_turn(run_rig *rig, const char *layer)
{
    const tni_recipe *r = recipe_with(rig, nanochat, layer);
    const char *weights = weights_of(r);
    heard h;
    tni_chat *chat = chat_with(r, weights, 0, &h);
    const tni_chat_result first =
        ask(chat, "Who are you, and what do you know of my gentle cousin?");
    const int64_t before = chat->read.count;
    assert_int_equal(first.read + answer_read(first), before);
    knows_what_was_said(chat, weights);

    const tni_chat_result second = ask(chat, "Why?");
    assert_int_equal(second.read + answer_read(second),
                     chat->read.count - before);
    /* a word of the first answer, its end, markers and a short question */
    assert_in_range(second.read, 6, 12);
    knows_what_was_said(chat, weights);
    tni_chat_close(chat);
}

static void only_the_new_turn_is_read(void **state)
{
    a_new_turn_costs_that_turn(*state, attention);
    a_new_turn_costs_that_turn(*state, recurrent);
}

static void what_is_taken_back_leaves_nothing(run_rig *rig, const char *layer,
                                              int64_t least_kept)
{
    const tni_recipe *r = recipe_with(rig, nanochat, layer);
    const char *weights = weights_of(r);
    heard h;
    tni_chat *chat = chat_with(r, weights, 0, &h);
    ask(chat, "Who are you?");
    const int64_t before = chat->read.count;
    ask(chat, "And who is she?");
    assert_true(tni_chat_undo(chat));
    const tni_chat_result again = ask(chat, "Why?");
    const int64_t kept = chat->read.count - again.read - answer_read(again);
    assert_in_range(kept, least_kept, before + 3);
    knows_what_was_said(chat, weights);

    assert_true(tni_chat_undo(chat));
    assert_true(tni_chat_undo(chat));
    assert_false(tni_chat_undo(chat));
    tni_chat_close(chat);
}

static void an_undone_turn_is_gone_from_the_state(void **state)
{
    what_is_taken_back_leaves_nothing(*state, attention, 10);
    what_is_taken_back_leaves_nothing(*state, recurrent, 0);
}

static void reset_forgets_and_repeats_itself(void **state)
{
    const tni_recipe *r = recipe_with(*state, chatml, attention);
    const char *weights = weights_of(r);
    heard h;
    tni_chat *chat = chat_with(r, weights, 0, &h);
    tn_assert_ok(tni_chat_system(chat, "Be brief.", NULL));
    ask(chat, "Who?");
    const size_t once = h.used;
    ask(chat, "Why?");
    tni_chat_reset(chat);
    assert_int_equal(chat->turns.count, 1);
    const size_t before = h.used;
    ask(chat, "Who?");
    assert_int_equal(h.used - before, once);
    assert_memory_equal(h.text + before, h.text, once);
    knows_what_was_said(chat, weights);

    tn_assert_ok(tni_chat_system(chat, "Be long.", NULL));
    tni_chat_result result;
    tn_assert_ok(tni_chat_retry(chat, &result, NULL));
    assert_int_equal(chat->turns.count, 3);
    knows_what_was_said(chat, weights);
    tni_chat_reset(chat);
    assert_int_equal(tni_chat_retry(chat, &result, NULL), TN_EINVALID);
    tni_chat_close(chat);
}

/* ---- a full context ---- */

static void the_oldest_turns_make_room(void **state)
{
    const tni_recipe *r = recipe_with(*state, nanochat, attention);
    const char *weights = weights_of(r);
    heard h;
    tni_chat *chat = chat_with(r, weights, 40, &h);
    tn_assert_ok(tni_chat_system(chat, "Be brief.", NULL));
    for (int i = 0; i < 4; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d?", i);
        ask(chat, text);
        knows_what_was_said(chat, weights);
    }
    assert_string_equal(h.forgotten, "0?|1?|");
    assert_int_equal(chat->turns.at[0].role, TN_ROLE_SYSTEM);
    assert_string_equal(chat->turns.at[1].text, "2?");
    tni_chat_close(chat);
}

static void an_answer_may_outgrow_the_context(void **state)
{
    const tni_recipe *r = recipe_with(*state, NULL, attention);
    heard h;
    tni_chat *chat = chat_with(r, weights_of(r), 100, &h);
    ask(chat, "One?");
    chat->max_tokens = 100;
    const tni_chat_result result = ask(chat, "Two?");
    /* in the middle of it the first question went, and then nothing was left */
    assert_string_equal(h.forgotten, "One?|");
    assert_int_equal(result.ended, TNI_CHAT_FULL);
    assert_int_equal(chat->rendered.count, 101);
    /* which does not keep anybody from asking on */
    chat->max_tokens = 6;
    ask(chat, "Three?");
    assert_string_equal(h.forgotten, "One?|Two?|");
    tni_chat_close(chat);
}

static void a_question_that_does_not_fit_is_refused(void **state)
{
    const tni_recipe *r = recipe_with(*state, NULL, attention);
    const char *weights = weights_of(r);
    heard h;
    tni_chat_result result;
    tn_error err = TN_ERROR_NONE;
    tni_chat *chat = chat_with(r, weights, 60, &h);
    static const char question[] = "A question of more than forty bytes, surely"
                                   " and by some of them";
    assert_int_equal(
        tni_chat_ask(chat, question, strlen(question), &result, &err),
        TN_EINVALID);
    tn_assert_error_says(err, "context holds 60");
    assert_int_equal(chat->turns.count, 0);
    ask(chat, "Short?");
    knows_what_was_said(chat, weights);
    tni_chat_close(chat);
}

/* ---- stopping ---- */

typedef struct {
    heard heard; /* first: `to` is both */
    volatile sig_atomic_t stop;
    size_t after;
} stopper;

static void hear_some(void *to, const char *text, size_t bytes)
{
    stopper *s = to;
    hear(&s->heard, text, bytes);
    s->stop = s->heard.used >= s->after;
}

static void stopping_ends_the_answer_alone(void **state)
{
    const tni_recipe *r = recipe_with(*state, NULL, attention);
    const char *weights = weights_of(r);
    stopper s = {.after = 3};
    tni_chat *chat;
    tni_chat_result result;
    const tni_chat_request request = {.recipe = r,
                                      .weights = weights,
                                      .sink = hear_some,
                                      .to = &s,
                                      .stop = &s.stop};
    tn_assert_ok(tni_chat_open(&request, &chat, NULL));
    result = ask(chat, "Who?");
    assert_int_equal(result.ended, TNI_CHAT_STOPPED);
    assert_true(result.tokens > 0 && result.tokens < 8);
    assert_int_equal(chat->turns.count, 2);

    /* stopped before it began: the question is taken back */
    result = ask(chat, "Why?");
    assert_int_equal(result.tokens, 0);
    assert_int_equal(chat->turns.count, 2);

    s.stop = 0;
    s.after = 1000;
    chat->max_tokens = 4;
    result = ask(chat, "Why?");
    assert_int_equal(chat->turns.count, 4);
    knows_what_was_said(chat, weights);
    tni_chat_close(chat);
}

/* ---- which template ---- */

static void refuses_a_model_that_was_not_tuned_to_chat(void **state)
{
    const tni_recipe *r = run_rig_recipe(*state, NULL);
    const char *weights = weights_of(r);
    tni_chat_request request = {.recipe = r, .weights = weights};
    tni_chat *chat;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(tni_chat_open(&request, &chat, &err), TN_EUNSUPPORTED);
    tn_assert_error_says(err, "<|assistant_start|> (nanochat)");
    tn_assert_error_says(err, "tenon generate");
    tn_assert_error_says(err, "--template");
    request.form = "chatmel";
    err = TN_ERROR_NONE;
    assert_int_equal(tni_chat_open(&request, &chat, &err), TN_EINVALID);
    tn_assert_error_says(err, "\"chatmel\"");
    request.form = "chatml";
    tn_assert_ok_err(tni_chat_open(&request, &chat, &err), err);
    assert_string_equal(chat->form->name, "chatml");
    tni_chat_close(chat);
}

static void the_config_says_which_template(void **state)
{
    run_rig *rig = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/chat.jsonl", rig->folder);
    run_rig_write(path, talk);
    const tni_recipe *r = run_rig_recipe(
        rig, SET("data.val=null", "data.train=[{plugin: text_file, path: "
                                  "text.txt}, {plugin: sft, path: chat.jsonl, "
                                  "template: chatml}]"));
    tni_chat *chat;
    const tni_chat_request request = {.recipe = r, .weights = weights_of(r)};
    tn_assert_ok(tni_chat_open(&request, &chat, NULL));
    assert_string_equal(chat->form->name, "chatml");
    tni_chat_close(chat);
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(the_prompt_is_what_was_trained_on),
        WITH_RIG(only_the_new_turn_is_read),
        WITH_RIG(an_undone_turn_is_gone_from_the_state),
        WITH_RIG(reset_forgets_and_repeats_itself),
        WITH_RIG(the_oldest_turns_make_room),
        WITH_RIG(an_answer_may_outgrow_the_context),
        WITH_RIG(a_question_that_does_not_fit_is_refused),
        WITH_RIG(stopping_ends_the_answer_alone),
        WITH_RIG(refuses_a_model_that_was_not_tuned_to_chat),
        WITH_RIG(the_config_says_which_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
