/*
 * test_run.c - compiling and running plans: what is refused, what is reported,
 * and that a run allocates nothing.
 */
#include "cpu_bench.h"

#include <stdatomic.h>

/* ---- counting allocations: the whole process's, this test's linking ---- */

#if !defined(__SANITIZE_ADDRESS__)
static atomic_long allocations;

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *at, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, bytes);
}

void *realloc(void *at, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(at, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, bytes);
}

enum { COUNTED = 1 };

static long allocations_so_far(void)
{
    return atomic_load(&allocations);
}
#else
enum { COUNTED = 0 };

static long allocations_so_far(void)
{
    return 0;
}
#endif

static void a_run_allocates_nothing(void **state)
{
    (void)state;
    const tn_loss_attr attr = {0};
    tn_error err = TN_ERROR_NONE;
    bench t;
    bench_open(&t, "{threads: 2}");
    float *x = bench_in(&t, TN_F32, 2, (int64_t[]){300, 64});
    float *w = bench_in(&t, TN_F32, 2, (int64_t[]){500, 64});
    int32_t *target = bench_in(&t, TN_I32, 1, (int64_t[]){300});
    float *dnll = bench_in(&t, TN_F32, 1, (int64_t[]){300});
    bench_out(&t, TN_F32, 2, (int64_t[]){300, 64});
    bench_out(&t, TN_F32, 2, (int64_t[]){500, 64});
    bench_out(&t, TN_F32, 1, (int64_t[]){300});
    bench_fill(x, 300 * 64, 1.0f, 1);
    bench_fill(w, 500 * 64, 1.0f, 2);
    bench_fill(dnll, 300, 1.0f, 3);
    memset(target, 0, 300 * sizeof *target);
    const long at_first = allocations_so_far();
    tn_assert_ok_err(
        bench_compile(&t, TN_OP_LINEAR_CROSS_ENTROPY_BWD, &attr, &err), err);
    assert_true(allocations_so_far() > at_first || !COUNTED);

    const tn_backend *b = t.rig->backend;
    tn_assert_ok_err(b->run(t.rig->device, t.exec, 0, &err), err);
    const long before = allocations_so_far();
    for (int i = 0; i < 20; i++)
        tn_assert_ok_err(b->run(t.rig->device, t.exec, 0, &err), err);
    assert_int_equal(allocations_so_far(), before);
    b->exec_free(t.rig->device, t.exec);
    bench_close(&t);
}

/* ---- indices ---- */

static void an_index_past_the_table_fails_the_run_and_names_the_op(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_NONE;
    bench t;
    bench_open(&t, "{threads: 2}");
    float *table = bench_in(&t, TN_F32, 2, (int64_t[]){10, 3});
    int32_t *index = bench_in(&t, TN_I32, 1, (int64_t[]){4});
    float *rows = bench_out(&t, TN_F32, 2, (int64_t[]){4, 3});
    bench_fill(table, 30, 1.0f, 1);
    memcpy(index, (int32_t[]){9, -1, 10, 0}, 4 * sizeof *index);
    assert_int_equal(bench_try(&t, TN_OP_GATHER_ROWS, NULL, &err), TN_EINVALID);
    tn_assert_error_says(err, "here.c:7: op: the index 10 is outside [-1, 9]");

    index[2] = 1; /* the next run is a new one */
    bench_run(&t, TN_OP_GATHER_ROWS, NULL);
    assert_memory_equal(rows, table + 27, 3 * sizeof *rows);
    assert_memory_equal(rows + 6, table + 3, 3 * sizeof *rows);
    assert_true(rows[3] == 0.0f && rows[4] == 0.0f && rows[5] == 0.0f);
    bench_close(&t);
}

static void a_target_outside_the_vocabulary_fails_the_run(void **state)
{
    (void)state;
    const tn_loss_attr attr = {0};
    tn_error err = TN_ERROR_NONE;
    bench t;
    bench_open(&t, "{}");
    bench_in(&t, TN_F32, 2, (int64_t[]){2, 4});
    bench_in(&t, TN_F32, 2, (int64_t[]){5, 4});
    int32_t *target = bench_in(&t, TN_I32, 1, (int64_t[]){2});
    bench_out(&t, TN_F32, 1, (int64_t[]){2});
    target[1] = -2;
    assert_int_equal(bench_try(&t, TN_OP_LINEAR_CROSS_ENTROPY, &attr, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "the index -2 is outside [-1, 4]");
    bench_close(&t);
}

static void a_wild_index_writes_nowhere(void **state)
{
    (void)state;
    const tn_scatter_attr attr = {.rows = 3};
    tn_error err = TN_ERROR_NONE;
    bench t;
    bench_open(&t, "{}");
    int32_t *index = bench_in(&t, TN_I32, 1, (int64_t[]){3});
    float *x = bench_in(&t, TN_F32, 2, (int64_t[]){3, 2});
    float *out = bench_out(&t, TN_F32, 2, (int64_t[]){3, 2});
    bench_fill(x, 6, 1.0f, 1);
    memcpy(index, (int32_t[]){2, INT32_MAX, INT32_MIN}, 3 * sizeof *index);
    assert_int_equal(bench_try(&t, TN_OP_SCATTER_ADD_ROWS, &attr, &err),
                     TN_EINVALID);
    assert_memory_equal(out + 4, x, 2 * sizeof *x);
    bench_close(&t);
}

/* ---- refusals ---- */

static void a_dtype_without_kernel_is_refused_with_its_place(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_NONE;
    bench t;
    bench_open(&t, "{}");
    bench_in(&t, TN_F64, 2, (int64_t[]){2, 2});
    bench_in(&t, TN_F32, 2, (int64_t[]){2, 2});
    bench_out(&t, TN_F32, 2, (int64_t[]){2, 2});
    assert_int_equal(bench_try(&t, TN_OP_MATMUL, NULL, &err), TN_EUNSUPPORTED);
    tn_assert_error_says(err, "here.c:7: op: backend cpu: input 0 is F64");
    assert_int_equal(t.rig->backend->supports(t.rig->device, &t.node), 0);
    bench_close(&t);
}

static void an_unknown_instruction_is_refused(void **state)
{
    (void)state;
    tn_map_attr attr;
    tn_error err = TN_ERROR_NONE;
    bench t;
    bench_open(&t, "{}");
    memset(&attr, 0, sizeof attr);
    attr.program.instruction[0] = (tn_instruction){200, 0, 0, 0};
    attr.program.instruction_count = attr.program.output_count = 1;
    bench_out(&t, TN_F32, 1, (int64_t[]){2});
    assert_int_equal(bench_try(&t, TN_OP_MAP, &attr, &err), TN_EUNSUPPORTED);
    tn_assert_error_says(err, "instruction 0 of its program (op 200)");
    bench_close(&t);
}

static void an_upload_past_the_end_is_refused(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_NONE;
    tn_buffer *buffer = NULL;
    const char bytes[16] = {0};
    tn_rig *rig = tn_rig_open("cpu", "{}");
    tn_assert_ok(rig->backend->alloc(rig->device, 24, &buffer, &err));
    assert_int_equal(
        rig->backend->upload(rig->device, buffer, 16, bytes, 16, &err),
        TN_EINVALID);
    tn_assert_error_says(err, "16 bytes at 16 is outside a buffer of 24");
    rig->backend->free(rig->device, buffer);
    tn_rig_close(rig);
}

/* ---- memory ---- */

static void buffers_are_aligned_and_zero(void **state)
{
    (void)state;
    const int64_t sizes[] = {1, 300, 5 * 1024 * 1024 + 1};
    tn_rig *rig = tn_rig_open("cpu", "{}");
    for (int i = 0; i < 3; i++) {
        tn_buffer *buffer = NULL;
        tn_assert_ok(rig->backend->alloc(rig->device, sizes[i], &buffer, NULL));
        const char *at = rig->backend->map(rig->device, buffer);
        assert_int_equal((uintptr_t)at % TN_ALIGNMENT, 0);
        for (int64_t k = 0; k < sizes[i]; k++)
            assert_int_equal(at[k], 0);
        rig->backend->free(rig->device, buffer);
    }
    tn_rig_close(rig);
}

/* ---- probe and profile ---- */

static void probe_names_the_processor_and_ends_after_it(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_NONE;
    tn_device_info info = {.struct_size = sizeof info};
    tn_rig *rig = tn_rig_open("cpu", "{}");
    tn_assert_ok_err(rig->backend->probe(NULL, 0, &info, &err), err);
    assert_int_equal(info.score, 100);
    tn_assert_says_(__FILE__, __LINE__, info.name,
                    bench_has_avx512() ? "AVX-512" : "AVX2");
    assert_int_equal(rig->backend->probe(NULL, 1, &info, &err), TN_EEND);
    tn_rig_close(rig);
}

static void profile_adds_seconds_per_node(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_NONE;
    double seconds[1] = {0.0};
    bench t;
    bench_open(&t, "{threads: 2}");
    float *x = bench_in(&t, TN_F32, 2, (int64_t[]){1000, 500});
    bench_out(&t, TN_F32, 2, (int64_t[]){1000, 500});
    bench_fill(x, 500000, 1.0f, 1);
    tn_assert_ok_err(bench_compile(&t, TN_OP_SOFTMAX, NULL, &err), err);

    const tn_backend *b = t.rig->backend;
    const tn_profile_extension *profile =
        b->extension(t.rig->device, "profile/1");
    assert_non_null(profile);
    assert_null(b->extension(t.rig->device, "profile/9"));
    profile->enable(t.rig->device, 1);
    tn_assert_ok_err(b->run(t.rig->device, t.exec, 0, &err), err);
    profile->enable(t.rig->device, 0);
    profile->read(t.rig->device, t.exec, seconds, 1);
    assert_true(seconds[0] > 1e-6 && seconds[0] < 10.0);
    const double once = seconds[0];
    profile->read(t.rig->device, t.exec, seconds, 1);
    assert_true(seconds[0] == once);
    b->exec_free(t.rig->device, t.exec);
    bench_close(&t);
}

/* ---- memory ---- */

static void a_plan_without_room_leaves_others_theirs(void **state)
{
    (void)state;
    const tn_attention_attr attr = {0};
    const int64_t shape[] = {1, 1, 1, 8}, too_many = (int64_t)1 << 43;
    tn_error err = TN_ERROR_NONE;
    bench t;
    bench_open(&t, "{threads: 1}");
    for (int i = 0; i < 3; i++)
        bench_fill(bench_in(&t, TN_F32, 4, shape), 8, 1.0f, (uint32_t)i);
    const float *v = (const float *)(void *)(t.memory + t.in[2].offset);
    const float *o = bench_out(&t, TN_F32, 4, shape);
    bench_out(&t, TN_F32, 3, shape);
    tn_assert_ok_err(bench_compile(&t, TN_OP_ATTENTION, &attr, &err), err);
    tn_exec *small = t.exec;
    t.in[1].shape[1] = t.in[2].shape[1] = too_many;
    assert_int_equal(bench_compile(&t, TN_OP_ATTENTION, &attr, &err),
                     TN_ENOMEM);
    tn_assert_error_says(err, "no memory to compile plan bench");
    t.in[1].shape[1] = t.in[2].shape[1] = 1;
    tn_assert_ok_err(t.rig->backend->run(t.rig->device, small, 0, &err), err);
    assert_memory_equal(o, v, 8 * sizeof *o);
    t.rig->backend->exec_free(t.rig->device, small);
    bench_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_allocates_nothing),
        cmocka_unit_test(
            an_index_past_the_table_fails_the_run_and_names_the_op),
        cmocka_unit_test(a_target_outside_the_vocabulary_fails_the_run),
        cmocka_unit_test(a_wild_index_writes_nowhere),
        cmocka_unit_test(a_dtype_without_kernel_is_refused_with_its_place),
        cmocka_unit_test(an_unknown_instruction_is_refused),
        cmocka_unit_test(an_upload_past_the_end_is_refused),
        cmocka_unit_test(buffers_are_aligned_and_zero),
        cmocka_unit_test(probe_names_the_processor_and_ends_after_it),
        cmocka_unit_test(profile_adds_seconds_per_node),
        cmocka_unit_test(a_plan_without_room_leaves_others_theirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
