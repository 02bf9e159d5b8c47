/*
 * test_mpi.c - training by several processes that MPI starts and that sum by
 * it: against the same run by one process, and when something goes wrong.
 */
#include "../ranks_rig.h"

static const char *tenon_binary(void)
{
    const char *binary = getenv("TENON_BINARY");
    assert_non_null(binary);
    return binary;
}

/* mpirun -n N tenon train -f c.yaml --set communicator=mpi WORDS... [: -n 1
 * tenon train -f c.yaml --set communicator=mpi OTHERS...] */
static pid_t start(const program *p, const char *n, const char *const *words,
                   const char *const *others)
{
    const char *argv[RANKS_WORDS] = {TEST_MPIEXEC, "-n", n};
    const char *const train[] = {tenon_binary(), "train", "-f",
                                 "c.yaml",       "--set", "communicator=mpi"};
    int count = 3;
    for (int part = 0; part < 2 && (part ? others : words); part++) {
        const char *const more[] = {":", "-n", "1"};
        for (int i = 0; part && i < 3; i++)
            argv[count++] = more[i];
        for (int i = 0; i < 6; i++)
            argv[count++] = train[i];
        for (const char *const *w = part ? others : words; *w; w++)
            argv[count++] = *w;
    }
    return ranks_start(p, argv);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SET(text) "--set", text
#define MPI(p, n, ...)                                                         \
    ranks_wait((p), start((p), (n), WORDS(__VA_ARGS__), NULL))
#define MPI_BUT_ONE(p, n, words, others)                                       \
    ranks_wait((p), start((p), (n), words, others))
#define ONE(p, ...) RUN((p), "train", "-f", "c.yaml", __VA_ARGS__)

/* ---- the same run ---- */

static const char *const variants[][3] = {
    {"train.grad_accum=1", "seed=1", "data.val.shuffle=false"},
    {"train.grad_accum=2", "optimizer.weight_decay=0.1", "train.prefetch=0"},
    {"optimizer=[{match: '*norm*|*embed*|lm_head*', plugin: adamw, lr: 0.01}, "
     "{match: '*', plugin: muon, lr: 0.02}]",
     "train.grad_clip=0.5", "train.recompute=layer"},
    /* rows of few and of many targets, in documents that are kept apart */
    {"data.train={plugin: sft, path: chat.jsonl}", "train.seq_len=32",
     "train.grad_accum=2"},
    /* an evaluation whose last batch is not full */
    {"train.eval_batches=0", "data.val.split=[0.9, 1]", "seed=7"},
};

static void write_conversations(const program *p)
{
    char text[4096] = "";
    for (int i = 0; i < 30; i++)
        sprintf(text + strlen(text),
                "[{\"role\":\"user\",\"content\":\"%.*s\"},"
                "{\"role\":\"assistant\",\"content\":\"%.*s\"}]\n",
                1 + i % 5, "Which?", 1 + i * 7 % 19, "This one and no other.");
    program_write(p, "chat.jsonl", text);
}

static void check_variant(program *p, const char *const *v)
{
    static const char *const counts[] = {"2", "3"};
    assert_int_equal(ONE(p, SET(v[0]), SET(v[1]), SET(v[2])), 0);
    const ranks_curve one = ranks_curve_of(p->out);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(MPI(p, counts[i], SET(v[0]), SET(v[1]), SET(v[2]),
                             SET("checkpoint.dir=many")),
                         0);
        const ranks_curve many = ranks_curve_of(p->out);
        assert_non_null(strstr(p->err, "processes"));
        ranks_assert_curves(&many, &one, 2e-9); /* digits that are printed */
        ranks_assert_tensors(p, "many/step-00000020/model.safetensors",
                             "run/step-00000020/model.safetensors", 1e-9);
        ranks_assert_tensors(p, "many/step-00000020/optimizer.safetensors",
                             "run/step-00000020/optimizer.safetensors", 1e-9);
    }
}

static void ranks_train_what_one_process_trains(void **state)
{
    program *p = *state;
    write_conversations(p);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        check_variant(p, variants[i]);
}

static void so_they_do_in_f32_on_the_cpu(void **state)
{
    program *p = *state;
    const char *const how[] = {"backend=cpu", "precision=f32",
                               "train.grad_accum=2"};
    assert_int_equal(ONE(p, SET(how[0]), SET(how[1]), SET(how[2])), 0);
    const ranks_curve one = ranks_curve_of(p->out);
    assert_int_equal(MPI(p, "2", SET(how[0]), SET(how[1]), SET(how[2]),
                         SET("checkpoint.dir=many")),
                     0);
    const ranks_curve many = ranks_curve_of(p->out);
    ranks_assert_curves(&many, &one, 1e-5);
}

static void one_file_of_each_kind_is_written(void **state)
{
    program *p = *state;
    assert_int_equal(MPI(p, "3", "--max-steps", "4"), 0);
    int lines = 0; /* beside what MPI's own libraries may say */
    for (const char *c = p->out; (c = strstr(c, "{\"step\"")); c++)
        lines++;
    assert_int_equal(lines, 4);
    assert_true(program_exists(p, "run/step-00000004/trainer.json"));
    char metrics[8192];
    program_read(p, "run/metrics.jsonl", metrics, sizeof metrics);
    lines = 0;
    for (const char *c = metrics; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 4);
}

/* ---- stopping and going on ---- */

static void
a_run_that_goes_on_has_the_bits_of_one_that_did_not_stop(void **state)
{
    program *p = *state;
    assert_int_equal(MPI(p, "2", SET("checkpoint.dir=whole")), 0);
    assert_int_equal(MPI(p, "2", "--max-steps", "10"), 0);
    assert_int_equal(MPI(p, "2", "--resume", "auto"), 0);
    assert_non_null(strstr(p->err, "step-00000010"));
    assert_true(program_same(p, "run/step-00000020/model.safetensors",
                             "whole/step-00000020/model.safetensors"));
    assert_true(program_same(p, "run/step-00000020/optimizer.safetensors",
                             "whole/step-00000020/optimizer.safetensors"));
}

static void another_number_of_processes_goes_on_with_it(void **state)
{
    program *p = *state;
    assert_int_equal(ONE(p, SET("checkpoint.dir=whole")), 0);
    const ranks_curve whole = ranks_curve_of(p->out);
    assert_int_equal(MPI(p, "3", "--max-steps", "10"), 0);
    ranks_curve parts = ranks_curve_of(p->out);
    assert_int_equal(ONE(p, "--resume", "auto"), 0);
    const ranks_curve rest = ranks_curve_of(p->out);
    assert_int_equal(parts.steps, 10);
    assert_int_equal(rest.steps, 10);
    memcpy(parts.at + 10, rest.at, 10 * sizeof *rest.at);
    tn_assert_close_double(parts.at, whole.at, 20, 0, 2e-9);
}

/* The newest of this run's processes, mpirun left out. */
static pid_t one_of_them(const char *mark)
{
    char command[128];
    int pid = 0;
    snprintf(command, sizeof command,
             "pgrep -n -f 'tenon trai[n] .*checkpoint.dir=%s'", mark);
    FILE *from = popen(command, "r");
    assert_non_null(from);
    const int found = fscanf(from, "%d", &pid);
    pclose(from);
    return found == 1 ? (pid_t)pid : 0;
}

static pid_t wait_for_training(const program *p, pid_t launcher,
                               const char *mark)
{
    char metrics[64];
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", mark);
    for (int i = 0; i < 1200 && !program_exists(p, metrics); i++)
        program_sleep_ms(50);
    const pid_t pid = one_of_them(mark);
    assert_true(pid > 0 && pid != launcher);
    return pid;
}

static void all_stop_where_one_is_asked_to(void **state)
{
    program *p = *state;
    const char *mark = strrchr(p->folder, '_') + 1;
    char dir[64];
    snprintf(dir, sizeof dir, "checkpoint.dir=%s", mark);
    const pid_t launcher =
        start(p, "2", WORDS("--max-steps", "1000000", SET(dir)), NULL);
    kill(wait_for_training(p, launcher, mark), SIGINT);
    assert_int_equal(ranks_wait(p, launcher), 130);
    const char *said = strstr(p->err, "interrupted after step ");
    assert_non_null(said);
    const long step = atol(said + strlen("interrupted after step "));
    char path[96];
    snprintf(path, sizeof path, "%s/step-%08ld/trainer.json", mark, step);
    assert_true(program_exists(p, path));
}

static void a_rank_that_dies_ends_the_run(void **state)
{
    program *p = *state;
    const char *mark = strrchr(p->folder, '_') + 1;
    char dir[64];
    snprintf(dir, sizeof dir, "checkpoint.dir=%s", mark);
    const pid_t launcher =
        start(p, "2", WORDS("--max-steps", "1000000", SET(dir)), NULL);
    kill(wait_for_training(p, launcher, mark), SIGKILL);
    assert_int_not_equal(ranks_wait(p, launcher), 0);
}

/* ---- mistakes ---- */

static void rows_that_cannot_be_shared_are_a_sentence(void **state)
{
    program *p = *state;
    assert_int_equal(MPI(p, "2", "--batch-size", "7"), 1);
    assert_non_null(strstr(
        p->err, "train.batch_size: 7 rows cannot be shared evenly by 2 "));
    assert_false(program_exists(p, "run"));
}

static void ranks_that_differ_do_not_begin(void **state)
{
    program *p = *state;
    assert_int_equal(ONE(p, "--max-steps", "1", SET("checkpoint.dir=old")), 0);
    static const char *const how[][2] = {
        {"seed=5", "the same seed"},
        {"train.max_steps=21", "the same train: and checkpoint.every"},
        {"init.from=old/step-00000001", "the same parameters"},
    };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            MPI_BUT_ONE(p, "2", WORDS("--headless"), WORDS(SET(how[i][0]))), 1);
        assert_non_null(strstr(p->err, how[i][1]));
        assert_non_null(strstr(p->err, "rank 2 of 3: "));
        assert_false(program_exists(p, "run"));
    }
}

static void what_one_rank_cannot_do_ends_all(void **state)
{
    program *p = *state;
    static const char *const how[][2] = {
        {"data.train.path=none.txt", "none.txt"}, /* its config */
        {"tokenizer=none", "no tokenizer is named 'none'"},
        {"init.from=none", "none"}, /* later */
    };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            MPI_BUT_ONE(p, "1", WORDS("--headless"), WORDS(SET(how[i][0]))), 1);
        assert_non_null(strstr(p->err, how[i][1]));
        assert_non_null(strstr(p->err, "another rank fails"));
        assert_false(program_exists(p, "run"));
    }
}

static void a_loss_that_is_not_finite_ends_all(void **state)
{
    program *p = *state;
    assert_int_equal(
        MPI(p, "2", SET("optimizer.lr=1.0e9"), SET("train.grad_clip=0")), 1);
    assert_non_null(strstr(p->err, "rank 0 of 2: step "));
    assert_non_null(strstr(p->err, "rank 1 of 2: step "));
    assert_non_null(strstr(p->err, "is not"));
}

static void without_a_communicator_they_are_told_of_it(void **state)
{
    program *p = *state;
    const char *const argv[] = {TEST_MPIEXEC, "-n", "2",      tenon_binary(),
                                "train",      "-f", "c.yaml", "--max-steps",
                                "200",        NULL};
    assert_int_not_equal(ranks_wait(p, ranks_start(p, argv)), 0);
    assert_non_null(strstr(p->err, "told so by communicator:"));
}

static void alone_it_is_a_run_like_any_other(void **state)
{
    program *p = *state;
    assert_int_equal(ONE(p, SET("checkpoint.dir=plain")), 0);
    assert_int_equal(ONE(p, SET("communicator=mpi")), 0);
    assert_true(program_same(p, "run/step-00000020/model.safetensors",
                             "plain/step-00000020/model.safetensors"));
    assert_int_equal(
        RUN(p, "generate", "-m", "run", "-p", "2", "--max-tokens", "3"), 0);
}

static void the_plugin_says_which_mpi_it_is(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "plugins", "show", "mpi"), 0);
    assert_non_null(strstr(p->out, "here: "));
    assert_true(strstr(p->out, "MPI") != NULL);
}

#define TEST(test)                                                             \
    cmocka_unit_test_setup_teardown(test, ranks_setup, program_teardown)

int main(void)
{
    /* fewer cores than processes, and root: Open MPI asks to be told */
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    if (access(TEST_MPIEXEC, X_OK)) {
        print_message("skipped: there is no %s here\n", TEST_MPIEXEC);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        TEST(ranks_train_what_one_process_trains),
        TEST(so_they_do_in_f32_on_the_cpu),
        TEST(one_file_of_each_kind_is_written),
        TEST(a_run_that_goes_on_has_the_bits_of_one_that_did_not_stop),
        TEST(another_number_of_processes_goes_on_with_it),
        TEST(all_stop_where_one_is_asked_to),
        TEST(a_rank_that_dies_ends_the_run),
        TEST(rows_that_cannot_be_shared_are_a_sentence),
        TEST(ranks_that_differ_do_not_begin),
        TEST(what_one_rank_cannot_do_ends_all),
        TEST(a_loss_that_is_not_finite_ends_all),
        TEST(without_a_communicator_they_are_told_of_it),
        TEST(alone_it_is_a_run_like_any_other),
        TEST(the_plugin_says_which_mpi_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
