/*
 * test_cuda.c - the device: which one is meant, memory that keeps what is
 * written to it, copies of every size, plans with and without graphs, kernels
 * kept on disk, errors as sentences.
 *
 * Where no device can run, the tests say so and pass: that is told by probe, as
 * `tenon devices` tells it.
 */
#include "cuda_device.h"

#include <dirent.h>
#include <unistd.h>

#include <tenon/philox.h>

typedef struct options {
    const char *device;
    int32_t graph, native, cache, cublas, cudnn, tf32, join, mark;
} options; /* as cuda.c declares them */

static const tn_backend *backend;
static tn_host *host;

static tn_status open_with(const char *device, int cache, tn_device **d,
                           tn_error *err)
{
    const options o = {device, 1, 1, cache, 1, 1, 0, 1, 1};
    return backend->open(host, &o, d, err);
}

static tn_device *must_open(void)
{
    tn_device *d = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(open_with("auto", 0, &d, &err), err);
    return d;
}

/* ---- which device ---- */

static tn_device_info first_device(void)
{
    tn_device_info info = {.struct_size = (uint32_t)sizeof info};
    tn_assert_ok(backend->probe(host, 0, &info, NULL));
    info.name[strcspn(info.name, ",")] = '\0'; /* as config knows it */
    return info;
}

static void the_list_of_devices_ends(void **state)
{
    (void)state;
    tn_device_info info = {.struct_size = (uint32_t)sizeof info};
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(backend->probe(host, 1000, &info, &err), TN_EEND);
}

static void a_device_is_found_by_number_and_by_name(void **state)
{
    (void)state;
    const tn_device_info info = first_device();
    tn_error err = TN_ERROR_NONE;
    tn_device *d = NULL;
    tn_assert_ok_err(open_with("0", 0, &d, &err), err);
    backend->close(d);
    char part[8] = "";
    snprintf(part, sizeof part, "%.5s", info.name);
    for (char *c = part; *c; c++) /* whatever the case */
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    tn_assert_ok_err(open_with(part, 0, &d, &err), err);
    backend->close(d);
}

static void a_device_that_is_not_there_is_refused_with_the_list(void **state)
{
    (void)state;
    const tn_device_info info = first_device();
    const char *const wanted[] = {"99", "no such card", "0x"};
    for (int i = 0; i < 3; i++) {
        tn_error err = TN_ERROR_NONE;
        tn_device *d = NULL;
        assert_int_equal(open_with(wanted[i], 0, &d, &err), TN_EINVALID);
        tn_assert_error_says(err, wanted[i]);
        tn_assert_error_says(err, info.name);
        assert_null(d);
    }
}

/* ---- memory ---- */

enum { BUFFERS = 60 };

/* Sizes from bytes to more than a staging slot. */
static int64_t size_of(int i)
{
    const int64_t sizes[] = {1, 255, 256, 257, 4096, 70001, 1 << 20, 9000001};
    return i % 8 == 7 && i > 8 ? 0 : sizes[i % 8];
}

static void write_pattern(unsigned char *bytes, int64_t count, uint32_t seed)
{
    for (int64_t i = 0; i < count; i++)
        bytes[i] =
            (unsigned char)((uint32_t)i * 2654435761u >> 13 ^ seed * 101u);
}

static void expect_pattern(tn_device *d, tn_buffer *buffer, int64_t count,
                           uint32_t seed)
{
    unsigned char *got = malloc((size_t)count + 1);
    unsigned char *want = malloc((size_t)count + 1);
    tn_error err = TN_ERROR_NONE;
    write_pattern(want, count, seed);
    tn_assert_ok_err(backend->download(d, got, buffer, 0, count, &err), err);
    assert_memory_equal(got, want, (size_t)count);
    free(got);
    free(want);
}

static void fill_buffer(tn_device *d, tn_buffer **buffer, int64_t count,
                        uint32_t seed)
{
    unsigned char *bytes = calloc(1, (size_t)count + 1);
    unsigned char *zeros = calloc(1, (size_t)count + 1);
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(backend->alloc(d, count, buffer, &err), err);
    tn_assert_ok_err(backend->download(d, bytes, *buffer, 0, count, &err), err);
    assert_memory_equal(bytes, zeros, (size_t)count); /* new memory is zero */
    write_pattern(bytes, count, seed);
    tn_assert_ok_err(backend->upload(d, *buffer, 0, bytes, count, &err), err);
    free(bytes);
    free(zeros);
}

/* Buffers come and go in no order; those that stay keep their bytes. */
static void buffers_keep_what_is_written(void **state)
{
    (void)state;
    tn_device *d = must_open();
    tn_buffer *buffers[BUFFERS] = {NULL};
    for (uint32_t round = 0; round < 3; round++) {
        for (int i = 0; i < BUFFERS; i++)
            if (!buffers[i])
                fill_buffer(d, &buffers[i], size_of(i), (uint32_t)i);
        for (int i = 0; i < BUFFERS; i++)
            if (tn_philox_uniform(round, 1, 0, (uint64_t)i) < 0.6f) {
                expect_pattern(d, buffers[i], size_of(i), (uint32_t)i);
                backend->free(d, buffers[i]);
                buffers[i] = NULL;
            }
    }
    for (int i = 0; i < BUFFERS; i++)
        if (buffers[i]) {
            expect_pattern(d, buffers[i], size_of(i), (uint32_t)i);
            backend->free(d, buffers[i]);
        }
    backend->close(d);
}

static void too_much_memory_is_a_sentence(void **state)
{
    (void)state;
    tn_device *d = must_open();
    tn_buffer *b = NULL;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(backend->alloc(d, (int64_t)1 << 50, &b, &err), TN_ENOMEM);
    tn_assert_error_says(err, "1125899906842624 are asked for at once");
    assert_null(b);
    backend->close(d);
}

static void a_copy_outside_a_buffer_is_refused(void **state)
{
    (void)state;
    tn_device *d = must_open();
    tn_buffer *b = NULL;
    char byte = 0;
    tn_assert_ok(backend->alloc(d, 100, &b, NULL));
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(backend->upload(d, b, 100, &byte, 1, &err), TN_EINVALID);
    tn_assert_error_says(err, "an upload of 1 bytes at 100");
    err = TN_ERROR_NONE;
    assert_int_equal(backend->download(d, &byte, b, -1, 1, &err), TN_EINVALID);
    tn_assert_error_says(err, "a download of 1 bytes at -1");
    backend->free(d, b);
    backend->close(d);
}

/* ---- compiled kernels on disk ---- */

/* How many caches lie in the folder, and the path of the last. */
static int find_cache(const char *home, char path[256])
{
    char folder[128];
    int found = 0;
    snprintf(folder, sizeof folder, "%s/tenon", home);
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (!strncmp(e->d_name, "cuda-", 5) && !strstr(e->d_name, ".lock")) {
            snprintf(path, 256, "%s/%.100s", folder, e->d_name);
            found++;
        }
    if (dir)
        closedir(dir);
    return found;
}

/* A run compiles what it needs; closing writes it down. */
static void gather(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                   const void *with)
{
    (void)with;
    out[0] = tn_gather_rows(b, in[0], in[1]);
}

static const double good[] = {0, 4, -1, 2}, bad[] = {0, 4, 5, 2};

static tn_rig_case gather_with(const double *index)
{
    return (tn_rig_case){
        .in = {{.rank = 2, .shape = {5, 3}},
               {.dtype = TN_I32, .rank = 1, .shape = {4}, .values = index}},
        .in_count = 2,
        .out_count = 1,
        .describe = gather};
}

static void run_and_close(const char *options_text)
{
    tn_rig *rig = tn_rig_open("cuda", options_text);
    const tn_rig_case c = gather_with(good);
    const tn_rig_how how = {.dtype = TN_F32};
    tn_error err = TN_ERROR_NONE;
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    assert_non_null(p);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    tn_rig_free(p);
    tn_rig_close(rig);
}

static void compiled_kernels_are_kept_and_damage_is_not_read(void **state)
{
    (void)state;
    char home[] = "/tmp/tenon_cache_XXXXXX", path[256], command[64];
    assert_non_null(mkdtemp(home));
    setenv("XDG_CACHE_HOME", home, 1);
    run_and_close("{cublas: false}");
    assert_int_equal(find_cache(home, path), 1);
    FILE *file = fopen(path, "r+b"); /* the header and more */
    assert_non_null(file);
    for (int i = 0; i < 60; i++)
        fputc(0xa5, file);
    fclose(file);
    run_and_close("{cublas: false}");
    assert_int_equal(find_cache(home, path), 1);
    snprintf(command, sizeof command, "rm -rf '%s'", home);
    assert_int_equal(system(command), 0);
}

/* ---- plans ---- */

static void a_plan_runs_op_by_op_where_graphs_are_off(void **state)
{
    (void)state;
    run_and_close("{graph: false, cache: false}");
}

static void an_index_outside_a_table_fails_the_run_by_name(void **state)
{
    (void)state;
    tn_rig *rig = tn_rig_open("cuda", "{cache: false}");
    tn_error err = TN_ERROR_NONE;
    const tn_rig_how how = {.dtype = TN_F32};
    const tn_rig_case c = gather_with(bad);
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    assert_non_null(p);
    assert_int_equal(tn_rig_run(p, &err), TN_EINVALID);
    tn_assert_error_says(err, "gather_rows: the index 5 is outside [-1, 4]");
    tn_rig_set(p, 1, good); /* and the next run is not haunted by it */
    err = TN_ERROR_NONE;
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    tn_rig_free(p);
    tn_rig_close(rig);
}

/* ---- workspace/1 ---- */

static void orthogonalise(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    (void)with;
    out[0] = tn_newton_schulz(b, in[0], .steps = 2, .a = 3.4445, .b = -4.775,
                              .c = 2.0315, .eps = 1e-7);
}

/* What is said of a plan is what the device has less of once it is compiled. */
static void kernels_need_no_more_memory_than_they_say(void **state)
{
    (void)state;
    tn_rig *rig = tn_rig_open("cuda", "{cache: false}");
    const tn_workspace_extension *x =
        rig->backend->extension(rig->device, "workspace/1");
    const tn_rig_case c = {.in = {{.rank = 3, .shape = {2, 400, 500}}},
                           .in_count = 1,
                           .out_count = 1,
                           .describe = orthogonalise};
    const tn_rig_how how = {.dtype = TN_F32};
    tn_backend_caps before = {.struct_size = sizeof before}, after = before;
    int64_t bytes = 0, arenas = 0;
    tn_error err = TN_ERROR_NONE;
    assert_non_null(x);
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    assert_non_null(p);
    tn_assert_ok_err(x->bytes(rig->device, tn_rig_plan(p), &bytes, &err), err);
    assert_true(bytes >= 4 * 2 * (400 * 500 + 2 * 400 * 400));
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++)
        arenas += tn_rig_plan(p)->arena_bytes[a];
    tn_rig_free(p);
    rig->backend->caps(rig->device, &before);
    p = tn_rig_build(rig, &c, &how, &err);
    assert_non_null(p);
    rig->backend->caps(rig->device, &after);
    const int64_t used = before.memory_bytes - after.memory_bytes - arenas;
    assert_true(used <= bytes + (1 << 20)); /* leaves stand apart in the rig */
    tn_rig_free(p);
    tn_rig_close(rig);
}

/* What is said of a stack of 512 x 512 matrices, which are nowhere. */
static int64_t bytes_for_stack(const tn_rig *rig, int64_t count)
{
    const tn_workspace_extension *x =
        rig->backend->extension(rig->device, "workspace/1");
    const tn_newton_schulz_attr attr = {
        .steps = 1, .a = 3.4445, .b = -4.775, .c = 2.0315, .eps = 1e-7};
    const tn_operand stack = {.arena = TN_ARENA_TRANSIENT,
                              .dtype = TN_F32,
                              .rank = 3,
                              .shape = {count, 512, 512},
                              .stride = {512 * 512, 512, 1}};
    const tn_plan_node node = {.struct_size = sizeof node,
                               .op = TN_OP_NEWTON_SCHULZ,
                               .name = "newton_schulz",
                               .attr = &attr,
                               .in = &stack,
                               .out = &stack,
                               .in_count = 1,
                               .out_count = 1};
    const tn_plan_segment segment = {0, 1};
    const tn_plan plan = {.struct_size = sizeof plan,
                          .name = "stack",
                          .nodes = &node,
                          .node_stride = sizeof node,
                          .node_count = 1,
                          .segments = &segment,
                          .segment_count = 1};
    tn_error err = TN_ERROR_NONE;
    int64_t bytes = 0;
    tn_assert_ok_err(x->bytes(rig->device, &plan, &bytes, &err), err);
    return bytes;
}

/* 170 matrices are taken at a time, whose products are enough for a device. A
 * single one's sums are cut in two, and need room to be summed in. */
static void a_last_group_of_matrices_has_room_for_its_parts(void **state)
{
    (void)state;
    tn_rig *rig = tn_rig_open("cuda", "{cache: false}");
    const int64_t parts = 2 * 4 * 512 * 512;
    assert_true(bytes_for_stack(rig, 171) >= bytes_for_stack(rig, 170) + parts);
    tn_rig_close(rig);
}

/* ---- ask/1 ---- */

static void an_answer_is_of_the_time_of_the_question(void **state)
{
    (void)state;
    tn_device *d = must_open();
    const tn_ask_extension *ask = backend->extension(d, "ask/1");
    const int32_t before[3] = {1, 2, 3}, after[3] = {4, 5, 6};
    int32_t first[2] = {0}, second[2] = {0};
    tn_buffer *b = NULL;
    tn_error err = TN_ERROR_NONE;
    assert_non_null(ask);
    assert_true(ask->slots >= 2 && ask->bytes >= 4096);
    tn_assert_ok(backend->alloc(d, sizeof before, &b, NULL));
    tn_assert_ok(backend->upload(d, b, 0, before, sizeof before, NULL));
    tn_assert_ok_err(ask->ask(d, 0, b, 4, 8, &err), err);
    tn_assert_ok(backend->upload(d, b, 0, after, sizeof after, NULL));
    tn_assert_ok_err(ask->ask(d, 1, b, 4, 8, &err), err);
    tn_assert_ok_err(ask->take(d, 0, first, 8, &err), err);
    tn_assert_ok_err(ask->take(d, 1, second, 8, &err), err);
    assert_memory_equal(first, before + 1, 8);
    assert_memory_equal(second, after + 1, 8);
    assert_int_equal(ask->ask(d, 0, b, 8, 8, &err), TN_EINVALID);
    tn_assert_error_says(err, "a result of 8 bytes at 8");
    tn_error other = TN_ERROR_NONE;
    assert_int_equal(ask->ask(d, 99, b, 0, 8, &other), TN_EINVALID);
    tn_assert_error_says(other, "slot 99");
    backend->free(d, b);
    backend->close(d);
}

/* ---- profile/1 ---- */

/* The plan of a gather, on arenas of its own. */
static tn_exec *compile_gather(const tn_rig *rig, const tn_plan *plan,
                               tn_buffer *arenas[TN_ARENA_COUNT])
{
    tn_error err = TN_ERROR_NONE;
    tn_exec *exec = NULL;
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++)
        if (plan->arena_bytes[a])
            tn_assert_ok_err(rig->backend->alloc(rig->device,
                                                 plan->arena_bytes[a],
                                                 &arenas[a], &err),
                             err);
    tn_assert_ok_err(
        rig->backend->compile(rig->device, plan, arenas, &exec, &err), err);
    return exec;
}

static double seconds_of(const tn_rig *rig, const tn_exec *exec,
                         const tn_plan *plan)
{
    const tn_profile_extension *profile =
        rig->backend->extension(rig->device, "profile/1");
    double seconds[8] = {0}, sum = 0.0;
    assert_true(plan->node_count <= 8);
    profile->read(rig->device, exec, seconds, plan->node_count);
    for (uint32_t i = 0; i < plan->node_count; i++)
        sum += seconds[i];
    return sum;
}

static void a_profile_has_seconds_of_the_nodes_that_ran(void **state)
{
    (void)state;
    tn_rig *rig = tn_rig_open("cuda", "{cache: false}");
    const tn_backend *b = rig->backend;
    const tn_profile_extension *profile =
        b->extension(rig->device, "profile/1");
    const tn_rig_case c = gather_with(good);
    const tn_rig_how how = {.dtype = TN_F32};
    tn_buffer *arenas[TN_ARENA_COUNT] = {NULL};
    tn_error err = TN_ERROR_NONE;
    assert_non_null(profile);
    assert_null(b->extension(rig->device, "profile/9"));
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    assert_non_null(p);
    const tn_plan *plan = tn_rig_plan(p);
    tn_exec *x = compile_gather(rig, plan, arenas);
    tn_assert_ok_err(b->run(rig->device, x, 0, &err), err);
    assert_true(seconds_of(rig, x, plan) == 0.0); /* it is not on */
    profile->enable(rig->device, 1);
    tn_assert_ok_err(b->run(rig->device, x, 0, &err), err);
    profile->enable(rig->device, 0);
    const double seconds = seconds_of(rig, x, plan);
    assert_true(seconds > 0.0 && seconds < 10.0);
    assert_true(seconds_of(rig, x, plan) == 0.0); /* since it was read */
    b->exec_free(rig->device, x);
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++)
        if (arenas[a])
            b->free(rig->device, arenas[a]);
    tn_rig_free(p);
    tn_rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_of_devices_ends),
        cmocka_unit_test(a_device_is_found_by_number_and_by_name),
        cmocka_unit_test(a_device_that_is_not_there_is_refused_with_the_list),
        cmocka_unit_test(buffers_keep_what_is_written),
        cmocka_unit_test(too_much_memory_is_a_sentence),
        cmocka_unit_test(a_copy_outside_a_buffer_is_refused),
        cmocka_unit_test(compiled_kernels_are_kept_and_damage_is_not_read),
        cmocka_unit_test(a_plan_runs_op_by_op_where_graphs_are_off),
        cmocka_unit_test(an_index_outside_a_table_fails_the_run_by_name),
        cmocka_unit_test(kernels_need_no_more_memory_than_they_say),
        cmocka_unit_test(a_last_group_of_matrices_has_room_for_its_parts),
        cmocka_unit_test(an_answer_is_of_the_time_of_the_question),
        cmocka_unit_test(a_profile_has_seconds_of_the_nodes_that_ran),
    };
    if (!cuda_can_run())
        return 0;
    tn_rig *rig = tn_rig_find("cuda");
    backend = rig->backend;
    host = rig->host;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tn_rig_close(rig);
    return failed;
}
