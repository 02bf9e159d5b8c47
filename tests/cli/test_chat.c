/*
 * test_chat.c - a model that knows two answers by heart, and somebody who asks.
 *
 * Two checkpoints are trained once, in seconds: one with a byte tokenizer,
 * whose markers are text, and one with nanochat's special tokens.
 */
#define _GNU_SOURCE /* pseudo-terminals */
#include "terminal.h"

static const char conversations[] =
    "[{\"role\":\"user\",\"content\":\"Who?\"},"
    "{\"role\":\"assistant\",\"content\":\"Zo\xC3\xAB \xE2\x82\xAC.\"}]\n"
    "[{\"role\":\"user\",\"content\":\"Why?\"},"
    "{\"role\":\"assistant\",\"content\":\"For fun.\"}]\n";

static const char bytes_yaml[] =
    "backend: reference\n"
    "tokenizer: byte\n"
    "model:\n"
    "  vocab_size: 256\n"
    "  hidden_size: 32\n"
    "  max_seq_len: 64\n"
    "  layers: [{arch: transformer, num_heads: 2, intermediate_size: 48}]\n"
    "data: {train: {plugin: sft, path: chat.jsonl, packing: pad}}\n"
    "optimizer: {plugin: adamw, lr: 1.0e-2}\n"
    "train: {max_steps: 40, batch_size: 2, seq_len: 56}\n"
    "checkpoint: {dir: bytes}\n";

static const char tokens_yaml[] = "extends: bytes.yaml\n"
                                  "tokenizer: {plugin: bpe, path: vocabulary}\n"
                                  "model: {vocab_size: 280}\n"
                                  "train: {max_steps: 60, seq_len: 24}\n"
                                  "checkpoint: {dir: tokens}\n";

#define ZOE "Zo\xC3\xAB \xE2\x82\xAC."

static int train_both(void **state)
{
    if (program_setup(state))
        return -1;
    program *p = *state;
    program_write(p, "chat.jsonl", conversations);
    program_write(p, "bytes.yaml", bytes_yaml);
    program_write(p, "tokens.yaml", tokens_yaml);
    return RUN(p, "train", "-f", "bytes.yaml") ||
           RUN(p, "tokenizer", "train", "-i", "text.txt", "--vocab-size", "280",
               "-o", "vocabulary") ||
           RUN(p, "train", "-f", "tokens.yaml");
}

/* ---- one question ---- */

static void the_answer_is_the_trained_one_and_nothing_else(void **state)
{
    program *p = *state;
    static const char *const models[] = {"bytes", "tokens"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            RUN(p, "chat", "-m", models[i], "-p", "Who?", "--temperature", "0"),
            0);
        assert_string_equal(p->out, ZOE "\n");
        assert_string_equal(p->err, "");
        assert_int_equal(
            RUN(p, "chat", "-m", models[i], "-p", "Why?", "--temperature", "0"),
            0);
        assert_string_equal(p->out, "For fun.\n");
    }
    assert_int_equal(RUN(p, "chat", "-m", "bytes", "-p", "Who?",
                         "--temperature", "0", "--max-tokens", "2"),
                     0);
    assert_string_equal(p->out, "Zo\n");
    tn_assert_says_(__FILE__, __LINE__, p->err, "--max-tokens 2");
    /* in the middle of the third character */
    assert_int_equal(RUN(p, "chat", "-m", "bytes", "-p", "Who?",
                         "--temperature", "0", "--max-tokens", "3"),
                     0);
    assert_string_equal(p->out, "Zo\xEF\xBF\xBD\n");
}

static void a_pipe_is_one_question(void **state)
{
    program *p = *state;
    program_write(p, "question", "Who?\n\n");
    program_write(p, "nothing", "\n");
    p->input = "question";
    assert_int_equal(RUN(p, "chat", "-m", "tokens", "--temperature", "0"), 0);
    assert_string_equal(p->out, ZOE "\n");
    p->input = "nothing";
    assert_int_equal(RUN(p, "chat", "-m", "tokens"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "standard input is empty");
    p->input = "/dev/null";
    assert_int_equal(
        RUN(p, "chat", "-m", "tokens", "-p", "Why?", "--temperature", "0"), 0);
    assert_string_equal(p->out, "For fun.\n");
    p->input = NULL;
}

static void refusals_are_sentences(void **state)
{
    program *p = *state;
    assert_int_equal(
        RUN(p, "chat", "-m", "bytes", "-p", "Who?", "--template", "chatmel"),
        1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "no chat template \"chatmel\"");
    assert_int_equal(
        RUN(p, "chat", "-m", "bytes", "-p", "Who?", "--top-p", "7"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "top-p 7");
    assert_int_equal(
        RUN(p, "chat", "-m", "bytes", "-p", "Who?", "--context", "65"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "max_seq_len 64");
    assert_int_equal(
        RUN(p, "chat", "-m", "bytes", "-p", "Who?", "--context", "20"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "does not fit");
    assert_string_equal(p->out, "");
    assert_int_equal(RUN(p, "chat", "-m", "bytes", "--max-tokens", "0"), 2);
    assert_int_equal(RUN(p, "chat", "-m", "bytes", "Who?"), 2);
    assert_int_equal(RUN(p, "chat"), 1);

    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "1"), 0);
    assert_int_equal(RUN(p, "chat", "-m", "run", "-p", "Hi"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "not tuned to chat");
}

/* ---- a conversation ---- */

static terminal *talk_with(const program *p, const char *model)
{
    terminal *t = TERMINAL(p, "chat", "-m", model, "--temperature", "0");
    terminal_expect(t, "> ");
    return t;
}

/* What comes up to the next prompt contains the text. */
static void says(terminal *t, const char *question, const char *answer)
{
    terminal_type(t, question);
    terminal_expect(t, answer);
    terminal_expect(t, "> ");
}

static void a_conversation_goes_on_until_the_end_of_input(void **state)
{
    const program *p = *state;
    terminal *t = talk_with(p, "tokens");
    says(t, "Who?\n", "\n" ZOE);
    says(t, "/reset\n", "forgotten");
    says(t, "Why?\n", "\nFor fun.");
    says(t, "\n", "\n"); /* nothing asked, nothing answered */
    terminal_type(t, "\x04");
    assert_int_equal(terminal_end(t), 0);
    t = talk_with(p, "bytes");
    says(t, "Who?\n", "\n" ZOE);
    terminal_type(t, "/quit\n");
    assert_int_equal(terminal_end(t), 0);
}

static void commands_do_what_help_says_or_say_why_not(void **state)
{
    program *p = *state;
    terminal *t = talk_with(p, "tokens");
    says(t, "/undo\n", "nothing has been asked yet");
    says(t, "/save talk.jsonl\n", "nothing has been said yet");
    says(t, "Who?\n", ZOE);
    says(t, "/system Be brief.\n", "\n");
    says(t, "/max-tokens 1\n", "\n");
    says(t, "//etc\n", "cut off after --max-tokens 1"); /* no command */
    says(t, "/undo\n", "taken back");
    says(t, "/save talk.jsonl\n", "added to talk.jsonl");
    says(t, "/max-tokens 50\n", "\n");
    says(t, "/system\n", "\n");
    says(t, "/retry\n", ZOE);
    says(t, "/save talk.jsonl\n", "added to talk.jsonl");
    says(t, "/temperature hot\n", "/temperature: a number is expected");
    says(t, "/temperature -1\n", "temperature -1 is outside");
    says(t, "/top-k -1\n", "at least 0");
    says(t, "/top-p 0\n", "top-p 0 is outside");
    says(t, "/seed 7\n", "\n");
    says(t, "/top-k 3\n", "\n");
    says(t, "/max-tokens 0\n", "at least 1");
    says(t, "/reset now\n", "nothing follows it, not 'now'");
    says(t, "/temp 1\n", "did you mean /temperature?");
    says(t, "/quiet\n", "did you mean /quit?");
    says(t, "/\n", "there is no command /;");
    says(t, "/save nowhere/talk.jsonl\n", "nowhere/talk.jsonl: cannot write");
    says(t, "/help\n",
         "temperature 0, top-k 3, top-p 1, seed 7, max-tokens 50");
    terminal_type(t, "\x04");
    assert_int_equal(terminal_end(t), 0);
    program_read(p, "talk.jsonl", p->out, sizeof p->out);
    assert_string_equal(
        p->out,
        "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
        "{\"role\":\"user\",\"content\":\"Who?\"},"
        "{\"role\":\"assistant\",\"content\":\"" ZOE "\"}]}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Who?\"},"
        "{\"role\":\"assistant\",\"content\":\"" ZOE "\"}]}\n");
}

static void lines_may_be_joined_and_characters_erased(void **state)
{
    program *p = *state;
    terminal *t = talk_with(p, "tokens");
    says(t, "Who\xC3\xAB\x7f?\n", "\n" ZOE);
    says(t, "/max-tokens 1\n", "\n");
    terminal_type(t, "/etc\\\n");
    terminal_expect(t, "... ");
    terminal_type(t, "\x03"); /* not that */
    terminal_expect(t, "> ");
    terminal_type(t, "//etc\\\n");
    terminal_expect(t, "... ");
    says(t, "and so on\n", "cut off");
    says(t, "/save lines.jsonl\n", "added");
    terminal_type(t, "\x04");
    assert_int_equal(terminal_end(t), 0);
    program_read(p, "lines.jsonl", p->out, sizeof p->out);
    tn_assert_says_(__FILE__, __LINE__, p->out, "\"/etc\\nand so on\"");
}

static void only_answers_go_to_stdout(void **state)
{
    program *p = *state;
    terminal *t =
        terminal_start(p, "answers",
                       (const char *const[]){"chat", "-m", "bytes",
                                             "--temperature", "0", NULL});
    terminal_expect(t, "> ");
    says(t, "Who?\n", "\n");
    says(t, "/reset\n", "forgotten");
    says(t, "Why?\n", "\n");
    terminal_type(t, "\x04");
    assert_int_equal(terminal_end(t), 0);
    program_read(p, "answers", p->out, sizeof p->out);
    assert_string_equal(p->out, ZOE "\nFor fun.\n");
}

static void colours_are_for_terminals_that_want_them(void **state)
{
    const program *p = *state;
    terminal *t = talk_with(p, "bytes");
    assert_non_null(strstr(t->seen, "\033["));
    terminal_type(t, "\x04");
    assert_int_equal(terminal_end(t), 0);
    setenv("NO_COLOR", "1", 1);
    t = talk_with(p, "bytes");
    unsetenv("NO_COLOR");
    says(t, "Who?\n", ZOE);
    assert_null(strchr(t->seen, '\033'));
    terminal_type(t, "\x04");
    assert_int_equal(terminal_end(t), 0);
}

/* ---- Ctrl-C ---- */

static void ctrl_c_stops_the_answer_and_not_the_program(void **state)
{
    program *p = *state;
    terminal *t = TERMINAL(p, "chat", "-m", "tokens", "--temperature", "0",
                           "--set", "model.max_seq_len=30000");
    terminal_expect(t, "> ");
    says(t, "/max-tokens 30000\n", "\n");
    says(t, "/temperature 1000\n", "\n"); /* babble without an end in sight */
    terminal_type(t, "Tell me all.\n");
    terminal_expect(t, "Tell me all.\r\n");
    const size_t before = t->used;
    while (t->used < before + 50)
        assert_true(terminal_read(t, 60000));
    terminal_type(t, "\x03");
    terminal_expect(t, "\n\033[1m> ");
    says(t, "/save stopped.jsonl\n", "added to stopped.jsonl");
    says(t, "/reset\n", "forgotten");
    says(t, "/temperature 0\n", "\n");
    says(t, "Why?\n", "\nFor fun.");
    terminal_type(t, "\x04");
    assert_int_equal(terminal_end(t), 0);
    program_read(p, "stopped.jsonl", p->out, sizeof p->out);
    tn_assert_says_(__FILE__, __LINE__, p->out,
                    "{\"messages\":[{\"role\":\"user\",\"content\":\"Tell me "
                    "all.\"},{\"role\":\"assistant\"");
}

static void ctrl_c_at_the_prompt_leaves_when_it_is_meant(void **state)
{
    const program *p = *state;
    terminal *t = talk_with(p, "bytes");
    terminal_type(t, "never m\x03");
    terminal_expect(t, "Ctrl-C again leaves");
    terminal_expect(t, "> ");
    says(t, "Who?\n", ZOE); /* so the first one does not count any more */
    terminal_type(t, "\x03");
    terminal_expect(t, "Ctrl-C again leaves");
    terminal_expect(t, "> ");
    terminal_type(t, "\x03");
    assert_int_equal(terminal_end(t), 130);
}

/* ---- a full context ---- */

static void what_no_longer_fits_is_told(void **state)
{
    const program *p = *state;
    terminal *t = talk_with(p, "bytes");
    says(t, "Who?\n", ZOE);
    terminal_type(t, "Why?\n");
    terminal_expect(t, "the context of 64 tokens was full; forgotten");
    terminal_expect(t, "\"Who?\"");
    terminal_expect(t, "> ");
    says(t, "A question which is too long for so small a model\n",
         "does not fit");
    terminal_type(t, "\x04");
    assert_int_equal(terminal_end(t), 0);
}

/* ---- generate ---- */

static void generate_ends_before_a_stop(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "generate", "-m", "bytes", "-p",
                         "<|user|>Why?<|assistant|>", "--temperature", "0",
                         "--max-tokens", "20", "--stop", "fun", "--stop",
                         "<|user|>"),
                     0);
    assert_string_equal(p->out, "<|user|>Why?<|assistant|>For \n");
    assert_int_equal(RUN(p, "generate", "-m", "tokens", "-p",
                         "<|bos|><|user_start|>Why?<|user_end|>"
                         "<|assistant_start|>",
                         "--temperature", "0", "--max-tokens", "20", "--stop",
                         "<|assistant_end|>"),
                     0);
    tn_assert_says_(__FILE__, __LINE__, p->out,
                    "<|assistant_start|>For fun.\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_is_the_trained_one_and_nothing_else),
        cmocka_unit_test(a_pipe_is_one_question),
        cmocka_unit_test(refusals_are_sentences),
        cmocka_unit_test(a_conversation_goes_on_until_the_end_of_input),
        cmocka_unit_test(commands_do_what_help_says_or_say_why_not),
        cmocka_unit_test(lines_may_be_joined_and_characters_erased),
        cmocka_unit_test(only_answers_go_to_stdout),
        cmocka_unit_test(colours_are_for_terminals_that_want_them),
        cmocka_unit_test(ctrl_c_stops_the_answer_and_not_the_program),
        cmocka_unit_test(ctrl_c_at_the_prompt_leaves_when_it_is_meant),
        cmocka_unit_test(what_no_longer_fits_is_told),
        cmocka_unit_test(generate_ends_before_a_stop),
    };
    return cmocka_run_group_tests(tests, train_both, program_teardown);
}
