/*
 * test_run.c - a pipeline from outside: in order, skipped when done, gone on
 * with when cut off, run again when something before it changed.
 */
#include "program.h"

static const char pipeline[] =
    "name: small\n"
    "dir: runs/small\n"
    "stages:\n"
    "  - {name: tokens, command: \"tokenize text.txt -o 'runs/the tokens'\"}\n"
    "  - {name: base, config: base.yaml}\n"
    "  - {name: sft, config: sft.yaml, set: [train.log_every=2]}\n"
    "samples:\n"
    "  - {stage: base, prompt: \"2 times\", max_tokens: 5}\n"
    "  - {stage: sft, chat: \"Hi\", max_tokens: 5}\n";

static const char base[] =
    "extends: c.yaml\n"
    "data: {train: {plugin: token_file, path: runs/the tokens}}\n"
    "checkpoint: {dir: runs/base}\n";

static const char sft[] =
    "extends: c.yaml\n"
    "init: {from: runs/base}\n"
    "data: {train: {plugin: sft, path: chat.jsonl}, val: null}\n"
    "train: {max_steps: 4, seq_len: 32}\n"
    "checkpoint: {dir: runs/sft}\n";

static void write_all(const program *p)
{
    program_write(p, "p.yaml", pipeline);
    program_write(p, "c.yaml",
                  "backend: reference\n"
                  "tokenizer: byte\n"
                  "model:\n"
                  "  vocab_size: 256\n"
                  "  hidden_size: 16\n"
                  "  max_seq_len: 32\n"
                  "  layers: [{arch: transformer, num_heads: 2, "
                  "intermediate_size: 24}]\n"
                  "optimizer: {plugin: adamw, lr: 1.0e-2}\n"
                  "train: {max_steps: 6, batch_size: 2, seq_len: 8, "
                  "log_every: 3}\n"
                  "checkpoint: {every: 1}\n");
    program_write(p, "base.yaml", base);
    program_write(p, "sft.yaml", sft);
    program_write(p, "chat.jsonl",
                  "[{\"role\": \"user\", \"content\": \"Hi\"}, "
                  "{\"role\": \"assistant\", \"content\": \"Ho\"}]\n");
}

static int says(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static void stages_run_in_order_and_end_with_a_report(void **state)
{
    program *p = *state;
    static char report[1 << 16];
    write_all(p);
    assert_int_equal(RUN(p, "run", "p.yaml"), 0);
    const char *tokens = strstr(p->err, "[1/3] tokens\n");
    const char *first = strstr(p->err, "[2/3] base\n");
    const char *second = strstr(p->err, "[3/3] sft\n");
    assert_true(tokens && tokens < first && first < second);
    assert_true(program_exists(p, "runs/the tokens/index.json"));
    assert_true(program_exists(p, "runs/sft/step-00000004"));
    program_read(p, "runs/small/report.md", report, sizeof report);
    assert_true(says(report, "# small\n"));
    assert_true(says(report, "| base | 6 | 96 | "));
    assert_true(says(report, "| sft | 4 | "));
    assert_true(says(report, "`tenon tokenize text.txt -o 'runs/the tokens'`"));
    assert_true(says(report, "arch: transformer"));
    assert_true(says(report, "**given** 2 times"));
    assert_true(says(report, "**asked** Hi"));
}

static void
what_is_done_is_skipped_and_what_depends_on_a_change_is_not(void **state)
{
    program *p = *state;
    write_all(p);
    assert_int_equal(RUN(p, "run", "p.yaml"), 0);
    assert_int_equal(RUN(p, "run", "p.yaml"), 0);
    assert_true(says(p->err, "[1/3] tokens is done"));
    assert_true(says(p->err, "[2/3] base is done"));
    assert_true(says(p->err, "[3/3] sft is done"));
    assert_int_equal(strlen(p->out), 0);
    assert_int_equal(
        RUN(p, "run", "p.yaml", "--set", "stages[1].set=[optimizer.lr=0.02]"),
        0);
    assert_true(says(p->err, "[1/3] tokens is done"));
    assert_true(says(p->err, "[2/3] base\n"));
    assert_true(says(p->err, "[3/3] sft\n"));
    assert_true(program_exists(p, "runs/base.1")); /* nothing is lost */
    assert_int_equal(RUN(p, "run", "p.yaml", "--set",
                         "stages[1].set=[optimizer.lr=0.02]", "--from", "sft"),
                     0);
    assert_true(says(p->err, "[2/3] base is done"));
    assert_true(says(p->err, "[3/3] sft\n"));
}

static void a_changed_text_runs_again_what_depends_on_it(void **state)
{
    program *p = *state;
    char text[8192];
    write_all(p);
    assert_int_equal(RUN(p, "run", "p.yaml"), 0);
    program_read(p, "text.txt", text, sizeof text);
    memset(text, 'x', 4);
    program_write(p, "text.txt", text);
    assert_int_equal(RUN(p, "run", "p.yaml"), 0);
    assert_true(says(p->err, "[1/3] tokens\n"));
    assert_true(says(p->err, "[2/3] base\n"));
    assert_true(says(p->err, "[3/3] sft\n"));
    assert_true(program_exists(p, "runs/the tokens.1/index.json"));
    assert_false(program_same(p, "runs/the tokens/shard-00000.bin",
                              "runs/the tokens.1/shard-00000.bin"));
    assert_true(program_exists(p, "runs/base.1"));
}

/* Neither is among the words of a command. */
static void edited_data_and_lost_results_are_noticed(void **state)
{
    program *p = *state;
    char command[128];
    write_all(p);
    assert_int_equal(RUN(p, "run", "p.yaml"), 0);
    program_write(p, "chat.jsonl",
                  "[{\"role\": \"user\", \"content\": \"Hi\"}, "
                  "{\"role\": \"assistant\", \"content\": \"Ha\"}]\n");
    assert_int_equal(RUN(p, "run", "p.yaml"), 0);
    assert_true(says(p->err, "[2/3] base is done"));
    assert_true(says(p->err, "[3/3] sft\n"));
    assert_true(program_exists(p, "runs/sft.1"));
    snprintf(command, sizeof command, "rm -r '%s/runs/the tokens'", p->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(RUN(p, "run", "p.yaml"), 0);
    assert_true(says(p->err, "[1/3] tokens\n"));
    assert_true(says(p->err, "[3/3] sft is done"));
    assert_true(program_exists(p, "runs/the tokens/index.json"));
}

static void a_folder_that_was_there_before_stays_where_it_is(void **state)
{
    program *p = *state;
    char command[256];
    program_write(p, "q.yaml",
                  "stages:\n  - {name: t, command: \"tokenizer train -i "
                  "mine/a.txt --vocab-size 270 -o mine\"}\n");
    snprintf(command, sizeof command,
             "mkdir %s/mine && cp %s/text.txt "
             "%s/mine/a.txt",
             p->folder, p->folder, p->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(RUN(p, "run", "q.yaml"), 0);
    assert_int_equal(RUN(p, "run", "q.yaml"), 0);
    assert_true(says(p->err, "t is done"));
    program_write(p, "mine/a.txt", "another text that is as good");
    assert_int_equal(RUN(p, "run", "q.yaml"), 0);
    assert_true(says(p->err, "[1/1] t\n"));
    assert_false(program_exists(p, "mine.1"));
}

/* What a folder or a pattern stands for, beside what the pipeline writes. */
static void files_that_come_into_a_folder_are_noticed(void **state)
{
    program *p = *state;
    char command[256];
    program_write(
        p, "q.yaml",
        "dir: all\nstages:\n"
        "  - {name: t, command: \"tokenize texts -o t/\"}\n"
        "  - {name: u, command: \"tokenize all/*.txt -o all/u\"}\n"
        "  - {name: v, command: \"tokenize texts -o v --field all\"}\n");
    snprintf(command, sizeof command, "mkdir %s/all %s/texts", p->folder,
             p->folder);
    assert_int_equal(system(command), 0);
    program_write(p, "texts/a.txt", "one");
    program_write(p, "all/a.txt", "one");
    assert_int_equal(RUN(p, "run", "q.yaml"), 0);
    assert_int_equal(RUN(p, "run", "q.yaml"), 0);
    assert_true(says(p->err, "[1/3] t is done"));
    assert_true(says(p->err, "[2/3] u is done"));
    assert_true(says(p->err, "[3/3] v is done"));
    program_write(p, "all/b.txt", "two");
    assert_int_equal(RUN(p, "run", "q.yaml"), 0);
    assert_true(says(p->err, "[1/3] t is done"));
    assert_true(says(p->err, "[2/3] u\n"));
    program_write(p, "texts/b.txt", "two");
    assert_int_equal(RUN(p, "run", "q.yaml"), 0);
    assert_true(says(p->err, "[1/3] t\n"));
    assert_true(program_exists(p, "t.1"));
}

static void a_stage_that_was_cut_off_goes_on(void **state)
{
    program *p = *state;
    write_all(p);
    static const char endless[] = "stages[1].set=[train.max_steps=1000000]";
    const pid_t child = program_start(
        p, (const char *const[]){"run", "p.yaml", "--set", endless, NULL});
    for (int i = 0; i < 500 && !program_exists(p, "runs/base/metrics.jsonl");
         i++)
        program_sleep_ms(10);
    program_sleep_ms(100);
    kill(child, SIGINT);
    assert_int_equal(program_wait(p, child), 130);
    assert_true(says(p->err, "interrupted in stage base"));
    assert_false(program_exists(p, "runs/sft"));
    const pid_t again = program_start(
        p, (const char *const[]){"run", "p.yaml", "--set", endless, NULL});
    program_sleep_ms(700);
    kill(again, SIGINT);
    assert_int_equal(program_wait(p, again), 130);
    assert_true(says(p->err, "[2/3] base, from where it was cut off"));
    assert_true(says(p->err, "; continues "));
}

static void a_failing_stage_stops_the_pipeline(void **state)
{
    program *p = *state;
    write_all(p);
    program_write(p, "chat.jsonl", "[3]\n");
    assert_int_equal(RUN(p, "run", "p.yaml"), 1);
    assert_true(says(p->err, "chat.jsonl:1: message 0 has no role"));
    assert_true(says(p->err, "stage sft ended with status 1"));
    assert_false(program_exists(p, "runs/small/report.md"));
    assert_true(program_exists(p, "runs/base/step-00000006"));
}

static void a_mistake_is_found_before_the_first_stage(void **state)
{
    program *p = *state;
    static const struct {
        const char *set, *says;
    } cases[] = {
        {"stages[2].config=none.yaml", "none.yaml"},
        {"stages[2].set=[optimizer.lr=-1]", "stage sft: "},
        {"stages[2].name=base", "there is a stage base already"},
        {"stages[2].command=devices", "either command: or config:"},
        {"stages[0].command=\"tokenize 'a\"", "a ' is opened and not closed"},
        {"stages[0].command=run p.yaml", "a stage is no pipeline"},
        {"stages[0].set=[seed=1]", "a command has its --set among its words"},
        {"stages=[]", "a list of stages is expected"},
        {"samples[0].stage=tokens", "tokens is no stage that trains a config"},
        {"samples[0].chat=both", "either prompt: or chat: is expected"},
        {"stages[0].name=../x", "letters a to z"},
        {"stags=[]", "unknown key stags"},
    };
    write_all(p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(RUN(p, "run", "p.yaml", "--set", cases[i].set), 1);
        if (!says(p->err, cases[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].set, p->err,
                     cases[i].says);
    }
    assert_false(program_exists(p, "runs/the tokens"));
    assert_int_equal(RUN(p, "run", "p.yaml", "--from", "nothing"), 1);
    assert_true(says(p->err, "small has no such stage"));
}

static void a_null_is_no_name_and_no_folder(void **state)
{
    program *p = *state;
    char report[1 << 14];
    program_write(p, "q.yaml",
                  "name: null\ndir: null\nstages:\n"
                  "  - {name: t, command: \"tokenize text.txt -o t\"}\n");
    assert_int_equal(RUN(p, "run", "q.yaml"), 0);
    program_read(p, "runs/q/report.md", report, sizeof report);
    assert_true(says(report, "# q\n"));
}

/* configs/pipeline/tiny.yaml, cut down to a few steps. */
static void the_pipeline_that_tenon_ships_runs(void **state)
{
    program *p = *state;
    char command[512];
    snprintf(command, sizeof command, "cp -r '%s/configs' %s/",
             getenv("TENON_SOURCE"), p->folder);
    assert_int_equal(system(command), 0);
    static const char few[] =
        "[train.max_steps=2, train.batch_size=1, model.hidden_size=16, "
        "'model.layers[0].intermediate_size=16', 'model.layers[0].repeat=1']";
    char base_few[256], mid_few[256], sft_few[256];
    snprintf(base_few, sizeof base_few, "stages[2].set=%s", few);
    snprintf(mid_few, sizeof mid_few, "stages[3].set=%s", few);
    snprintf(sft_few, sizeof sft_few, "stages[4].set=%s", few);
    if (RUN(p, "run", "configs/pipeline/tiny.yaml", "--set", base_few, "--set",
            mid_few, "--set", sft_few, "--set", "samples=[]"))
        fail_msg("%s", p->err);
    assert_true(program_exists(p, "runs/tiny/report.md"));
    assert_true(says(p->err, "48 conversations as nanochat"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROGRAM(stages_run_in_order_and_end_with_a_report),
        WITH_PROGRAM(
            what_is_done_is_skipped_and_what_depends_on_a_change_is_not),
        WITH_PROGRAM(a_changed_text_runs_again_what_depends_on_it),
        WITH_PROGRAM(edited_data_and_lost_results_are_noticed),
        WITH_PROGRAM(files_that_come_into_a_folder_are_noticed),
        WITH_PROGRAM(a_folder_that_was_there_before_stays_where_it_is),
        WITH_PROGRAM(a_stage_that_was_cut_off_goes_on),
        WITH_PROGRAM(a_failing_stage_stops_the_pipeline),
        WITH_PROGRAM(a_mistake_is_found_before_the_first_stage),
        WITH_PROGRAM(a_null_is_no_name_and_no_folder),
        WITH_PROGRAM(the_pipeline_that_tenon_ships_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
