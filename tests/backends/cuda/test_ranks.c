/*
 * test_ranks.c - processes with an emulated device each train one model: the
 * plugin nccl over a stand-in of its library (emulator/nccl.c), whose sums are
 * made on the device's stream, and the plugin mpi, to which gradients go by the
 * host's memory.
 */
#include "ranks_rig.h"

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *const train[] = {"train",       "-f",
                                    "c.yaml",      "--headless",
                                    "--set",       "backend=cuda",
                                    "--set",       "precision=f32",
                                    "--set",       "train.batch_size=4",
                                    "--set",       "train.grad_accum=2",
                                    "--max-steps", "6",
                                    "--set",       "train.eval_every=3",
                                    "--set",       "checkpoint.every=3"};
enum { TRAIN = sizeof train / sizeof *train };

static void set_number(const char *name, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    setenv(name, text, 1);
}

/* As torchrun does: rank r's stdout and stderr are out.r and err.r. */
static pid_t start_rank(const program *p, int rank, int size,
                        const char *const *words)
{
    const char *argv[RANKS_WORDS] = {getenv("TENON_BINARY")};
    char out[16], err[16];
    int count = 1;
    for (int i = 0; i < TRAIN; i++)
        argv[count++] = train[i];
    for (; *words; words++)
        argv[count++] = *words;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child)
        return child;
    set_number("RANK", rank);
    set_number("WORLD_SIZE", size);
    set_number("LOCAL_RANK", rank);
    set_number("LOCAL_WORLD_SIZE", size);
    snprintf(out, sizeof out, "out.%d", rank);
    snprintf(err, sizeof err, "err.%d", rank);
    if (chdir(p->folder) != 0)
        _exit(99);
    program_redirect(out, STDOUT_FILENO);
    program_redirect(err, STDERR_FILENO);
    execv(argv[0], (char *const *)argv);
    _exit(98);
}

/* All ranks; 0 where all end with 0. Rank 0's words are in p->out and p->err
 * afterwards, and those of the last rank in `last`. */
static int run_ranks(program *p, int size, char *last, size_t last_size,
                     const char *const *words)
{
    pid_t child[4];
    char name[16];
    int worst = 0;
    program_write(p, "stdout", "");
    program_write(p, "stderr", "");
    for (int r = 0; r < size; r++)
        child[r] = start_rank(p, r, size, words);
    for (int r = 0; r < size; r++) {
        const int status = ranks_wait(p, child[r]);
        worst = status > worst ? status : worst;
    }
    program_read(p, "out.0", p->out, sizeof p->out);
    program_read(p, "err.0", p->err, sizeof p->err);
    snprintf(name, sizeof name, "err.%d", size - 1);
    program_read(p, name, last, last_size);
    return worst;
}

static int run_alone(program *p)
{
    const char *argv[RANKS_WORDS] = {getenv("TENON_BINARY")};
    for (int i = 0; i < TRAIN; i++)
        argv[i + 1] = train[i];
    return ranks_wait(p, ranks_start(p, argv));
}

/* Of 6 steps and 2 evaluations. */
static void check_curves(const ranks_curve *got, const ranks_curve *want)
{
    assert_int_equal(want->steps, 6);
    assert_int_equal(got->steps, 6);
    assert_int_equal(got->evaluations, 2);
    assert_true(want->at[5] < want->at[0]);
    tn_assert_close_double(got->at, want->at, 8, 0, 1e-5);
}

static void nccl_sums_on_the_devices_stream(void **state)
{
    program *p = *state;
    char last[1 << 14];
    assert_int_equal(run_alone(p), 0);
    const ranks_curve one = ranks_curve_of(p->out);
    assert_int_equal(run_ranks(p, 2, last, sizeof last,
                               WORDS("--set", "communicator=nccl", "--set",
                                     "checkpoint.dir=many")),
                     0);
    const ranks_curve many = ranks_curve_of(p->out);
    check_curves(&many, &one);
    assert_non_null(strstr(p->err, "in each of 2 processes"));
    assert_string_equal(last, ""); /* the second rank has nothing to say */
    assert_true(program_exists(p, "many/step-00000006/trainer.json"));
}

static void ranks_meet_in_a_folder_with_a_dead_runs_files(void **state)
{
    program *p = *state;
    char last[1 << 14], folder[160];
    snprintf(folder, sizeof folder,
             "communicator={plugin: nccl, meet: %s/meet, timeout: 60}",
             p->folder);
    snprintf(last, sizeof last,
             "mkdir -m 700 %s/meet && echo 1234567 > "
             "%s/meet/rank-1 && head -c 144 /dev/zero > %s/meet/id",
             p->folder, p->folder, p->folder);
    assert_int_equal(system(last), 0);
    assert_int_equal(run_ranks(p, 2, last, sizeof last,
                               WORDS("--set", folder, "--max-steps", "1")),
                     0);
    assert_false(program_exists(p, "meet/id"));
    assert_false(program_exists(p, "meet/rank-1"));
}

static void a_rank_that_does_not_come_is_waited_for_and_named(void **state)
{
    program *p = *state;
    const pid_t child = start_rank(
        p, 0, 2, WORDS("--set", "communicator={plugin: nccl, timeout: 1}"));
    program_write(p, "stdout", "");
    program_write(p, "stderr", "");
    assert_int_equal(ranks_wait(p, child), 1);
    program_read(p, "err.0", p->err, sizeof p->err);
    assert_non_null(strstr(p->err, "rank 1 of 2 has not come to /tmp/tenon-"));
}

static void another_memory_is_a_sentence(void **state)
{
    program *p = *state;
    char last[1 << 14];
    assert_int_equal(
        run_ranks(p, 2, last, sizeof last,
                  WORDS("--set", "communicator=nccl", "--set",
                        "backend=reference", "--set", "precision=f64")),
        1);
    assert_non_null(strstr(
        p->err, "nccl sums in memory of kind cuda, which backend reference"));
    assert_non_null(strstr(last, "rank 1 of 2: "));
}

static void without_a_launcher_it_says_how_to_start(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--set", "backend=cuda",
                         "--set", "precision=f32", "--set",
                         "communicator=nccl"),
                     1);
    assert_non_null(strstr(p->err, "torchrun"));
}

static void an_old_library_is_a_sentence(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "plugins", "show", "nccl"), 0);
    assert_non_null(strstr(p->out, "here: NCCL 2.28.9"));
    setenv("NCCL_STANDIN_VERSION", "21103", 1);
    assert_int_equal(RUN(p, "plugins", "show", "nccl"), 0);
    unsetenv("NCCL_STANDIN_VERSION");
    assert_non_null(strstr(p->out, "version 2.11; 2.13 or newer is needed"));
}

static void mpi_sums_what_lies_on_a_device(void **state)
{
    program *p = *state;
    const char *argv[RANKS_WORDS] = {TEST_MPIEXEC, "-n", "2",
                                     getenv("TENON_BINARY")};
    if (!TEST_MPIEXEC[0] || access(TEST_MPIEXEC, X_OK)) {
        print_message("skipped: there is no mpirun here\n");
        return;
    }
    assert_int_equal(run_alone(p), 0);
    const ranks_curve one = ranks_curve_of(p->out);
    for (int i = 0; i < TRAIN; i++)
        argv[4 + i] = train[i];
    argv[4 + TRAIN] = "--set";
    argv[5 + TRAIN] = "communicator=mpi";
    argv[6 + TRAIN] = "--set";
    argv[7 + TRAIN] = "checkpoint.dir=many";
    assert_int_equal(ranks_wait(p, ranks_start(p, argv)), 0);
    const ranks_curve many = ranks_curve_of(p->out);
    check_curves(&many, &one);
}

#define TEST(test)                                                             \
    cmocka_unit_test_setup_teardown(test, ranks_setup, program_teardown)

int main(void)
{
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    const struct CMUnitTest tests[] = {
        TEST(nccl_sums_on_the_devices_stream),
        TEST(ranks_meet_in_a_folder_with_a_dead_runs_files),
        TEST(a_rank_that_does_not_come_is_waited_for_and_named),
        TEST(another_memory_is_a_sentence),
        TEST(without_a_launcher_it_says_how_to_start),
        TEST(an_old_library_is_a_sentence),
        TEST(mpi_sums_what_lies_on_a_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
