/*
 * test_launch.c - who this process is, by what launchers leave in the
 * environment. How ranks meet and sum is tests/backends/cuda/test_ranks.c's.
 */
#include "tn_test.h"

#include "nccl.h"

static const char *const all[] = {"RANK",
                                  "WORLD_SIZE",
                                  "LOCAL_RANK",
                                  "LOCAL_WORLD_SIZE",
                                  "MASTER_PORT",
                                  "OMPI_COMM_WORLD_RANK",
                                  "PMI_RANK",
                                  "PMI_SIZE",
                                  "MPI_LOCALRANKID",
                                  "MPI_LOCALNRANKS",
                                  "SLURM_PROCID",
                                  "SLURM_NTASKS",
                                  "SLURM_LOCALID",
                                  "SLURM_NTASKS_PER_NODE",
                                  "SLURM_JOB_ID",
                                  "SLURM_STEP_ID"};

static int clear(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        unsetenv(all[i]);
    return 0;
}

static void torchrun_says_which_of_how_many(void **state)
{
    (void)state;
    nccl_launch l;
    setenv("RANK", "5", 1);
    setenv("WORLD_SIZE", "8", 1);
    setenv("LOCAL_RANK", "1", 1);
    setenv("LOCAL_WORLD_SIZE", "4", 1);
    setenv("MASTER_PORT", "29/5..00", 1);
    tn_assert_ok(nccl_find_launch(&l, NULL));
    assert_int_equal(l.rank, 5);
    assert_int_equal(l.size, 8);
    assert_int_equal(l.local_rank, 1);
    assert_int_equal(l.local_size, 4);
    assert_string_equal(l.job, "29500-"); /* becomes part of a path */
}

static void mpich_and_slurm_say_it_otherwise(void **state)
{
    (void)state;
    nccl_launch l;
    setenv("SLURM_PROCID", "2", 1);
    setenv("SLURM_NTASKS", "3", 1);
    setenv("SLURM_LOCALID", "0", 1);
    setenv("SLURM_JOB_ID", "77", 1);
    setenv("SLURM_STEP_ID", "4", 1);
    tn_assert_ok(nccl_find_launch(&l, NULL));
    assert_int_equal(l.rank, 2);
    assert_int_equal(l.local_rank, 0);
    assert_int_equal(l.local_size, 1); /* it has not said */
    assert_string_equal(l.job, "77-4-");
    setenv("PMI_RANK", "1", 1); /* mpirun within an allocation */
    setenv("PMI_SIZE", "2", 1);
    setenv("MPI_LOCALRANKID", "1", 1);
    setenv("MPI_LOCALNRANKS", "2", 1);
    tn_assert_ok(nccl_find_launch(&l, NULL));
    assert_int_equal(l.rank, 1);
    assert_int_equal(l.size, 2);
    assert_true(l.job[0] != '\0');
}

static void a_rank_beyond_the_size_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"4", "-1", "two", ""};
    setenv("WORLD_SIZE", "4", 1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        nccl_launch l;
        tn_error err = TN_ERROR_NONE;
        setenv("RANK", wrong[i], 1);
        assert_int_equal(nccl_find_launch(&l, &err), TN_EINVALID);
        assert_non_null(strstr(err.message, "RANK="));
    }
}

static void without_a_launcher_there_is_a_sentence(void **state)
{
    (void)state;
    nccl_launch l;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(nccl_find_launch(&l, &err), TN_EINVALID);
    assert_non_null(strstr(err.message, "torchrun"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(torchrun_says_which_of_how_many, clear),
        cmocka_unit_test_setup(mpich_and_slurm_say_it_otherwise, clear),
        cmocka_unit_test_setup(a_rank_beyond_the_size_is_refused, clear),
        cmocka_unit_test_setup(without_a_launcher_there_is_a_sentence, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
