/*
 * test_vulkan.c - the device: which one is meant, memory that keeps what is
 * written to it, copies of every size by both ways, errors as sentences.
 *
 * Where no Vulkan device can run, the tests say so and pass: that is told by
 * probe, as `tenon devices` tells it.
 */
#include "vulkan_device.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tenon/philox.h>

#include "exec.h"

typedef struct options {
    const char *device;
    int32_t staging, validation, native, cache, cooperative;
} options; /* as vulkan.c declares them */

static const tn_backend *backend;
static tn_host *host;

static tn_status open_with(const char *device, int staging, tn_device **d,
                           tn_error *err)
{
    const options o = {device, staging, 1, 1, 0, 1};
    return backend->open(host, &o, d, err);
}

static tn_device *must_open(int staging)
{
    tn_device *d = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(open_with("auto", staging, &d, &err), err);
    return d;
}

/* ---- which device ---- */

static tn_device_info first_device(void)
{
    tn_device_info info = {.struct_size = (uint32_t)sizeof info};
    tn_assert_ok(backend->probe(host, 0, &info, NULL));
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
static void buffers_keep_what_is_written(int staging)
{
    tn_device *d = must_open(staging);
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

static void buffers_keep_what_is_written_directly(void **state)
{
    (void)state;
    buffers_keep_what_is_written(0);
}

static void buffers_keep_what_is_written_through_staging(void **state)
{
    (void)state;
    buffers_keep_what_is_written(1);
}

static void staging_hides_the_memory(void **state)
{
    (void)state;
    tn_device *d = must_open(1);
    tn_backend_caps caps = {.struct_size = (uint32_t)sizeof caps};
    tn_buffer *b = NULL;
    tn_assert_ok(backend->alloc(d, 1000, &b, NULL));
    assert_null(backend->map(d, b));
    backend->caps(d, &caps);
    assert_int_equal(caps.flags & TN_UNIFIED_MEMORY, 0);
    backend->free(d, b);
    backend->close(d);
}

static void too_much_memory_is_a_sentence(void **state)
{
    (void)state;
    tn_device *d = must_open(0);
    tn_buffer *b = NULL;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(backend->alloc(d, (int64_t)1 << 50, &b, &err), TN_ENOMEM);
    tn_assert_error_says(err, "1125899906842624 are asked for");
    assert_null(b);
    backend->close(d);
}

static void a_copy_outside_a_buffer_is_refused(void **state)
{
    (void)state;
    tn_device *d = must_open(0);
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

/* The only file in the cache folder, or 0. */
static int find_cache(const char *home, char path[256])
{
    char folder[128];
    int found = 0;
    snprintf(folder, sizeof folder, "%s/tenon", home);
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (!strncmp(e->d_name, "vulkan-", 7)) {
            snprintf(path, 256, "%s/%.100s", folder, e->d_name);
            found++;
        }
    if (dir)
        closedir(dir);
    return found;
}

static void open_and_close(void)
{
    const options o = {"auto", 0, 1, 1, 1, 1};
    tn_device *d = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(backend->open(host, &o, &d, &err), err);
    backend->close(d);
}

static void compiled_kernels_are_kept_and_damage_is_not_read(void **state)
{
    (void)state;
    char home[] = "/tmp/tenon_cache_XXXXXX", path[256], folder[64];
    assert_non_null(mkdtemp(home));
    setenv("XDG_CACHE_HOME", home, 1);
    open_and_close();
    assert_int_equal(find_cache(home, path), 1);
    FILE *file = fopen(path, "r+b"); /* from the header's first word on */
    assert_non_null(file);
    for (int i = 0; i < 24; i++)
        fputc(0xa5, file);
    fclose(file);
    open_and_close();
    assert_int_equal(find_cache(home, path), 1);
    unlink(path);
    snprintf(folder, sizeof folder, "%s/tenon", home);
    rmdir(folder);
    rmdir(home);
}

/* Nobody can use it: it is not kept for being longer than a new one. */
static void a_large_damaged_file_of_kernels_is_replaced(void **state)
{
    (void)state;
    char home[] = "/tmp/tenon_cache_XXXXXX", path[256], folder[64];
    struct stat about;
    assert_non_null(mkdtemp(home));
    setenv("XDG_CACHE_HOME", home, 1);
    open_and_close();
    assert_int_equal(find_cache(home, path), 1);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(truncate(path, 3 << 20), 0); /* zeros */
    open_and_close();
    assert_int_equal(stat(path, &about), 0);
    assert_true(about.st_size < 3 << 20);
    unlink(path);
    snprintf(folder, sizeof folder, "%s/tenon", home);
    rmdir(folder);
    rmdir(home);
}

/* ---- indices out of range ---- */

static void gather(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                   const void *with)
{
    (void)with;
    out[0] = tn_gather_rows(b, in[0], in[1]);
}

static void an_index_outside_a_table_fails_the_run_by_name(void **state)
{
    (void)state;
    tn_rig *rig = tn_rig_open("vulkan", "{validation: true, cache: false}");
    tn_error err = TN_ERROR_NONE;
    const tn_rig_how how = {.dtype = TN_F32};
    const double good[] = {0, 4, -1, 2}, bad[] = {0, 4, 5, 2};
    const tn_rig_case c = {
        .in = {{.rank = 2, .shape = {5, 3}},
               {.dtype = TN_I32, .rank = 1, .shape = {4}, .values = bad}},
        .in_count = 2,
        .out_count = 1,
        .describe = gather};
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

/* ---- profile/1 ---- */

static void describe_two(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                         const void *with)
{
    (void)with;
    out[0] = tn_exp(b, tn_matmul(b, in[0], in[1]));
}

static double seconds_of(const tn_rig *rig, const tn_exec *exec,
                         const tn_plan *plan, double seconds[8])
{
    const tn_profile_extension *profile =
        rig->backend->extension(rig->device, "profile/1");
    double sum = 0.0;
    assert_true(plan->node_count <= 8);
    memset(seconds, 0, 8 * sizeof *seconds);
    profile->read(rig->device, exec, seconds, plan->node_count);
    for (uint32_t i = 0; i < plan->node_count; i++)
        sum += seconds[i];
    return sum;
}

static tn_exec *compile_alone(const tn_rig *rig, const tn_plan *plan,
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

static void free_alone(const tn_rig *rig, tn_exec *exec,
                       tn_buffer *arenas[TN_ARENA_COUNT])
{
    rig->backend->exec_free(rig->device, exec);
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++)
        if (arenas[a])
            rig->backend->free(rig->device, arenas[a]);
}

static void expect_profile(const tn_rig *rig, tn_exec *x, const tn_plan *plan,
                           const tn_profile_extension *profile)
{
    const tn_backend *b = rig->backend;
    tn_error err = TN_ERROR_NONE;
    double seconds[8];
    tn_assert_ok_err(b->run(rig->device, x, 0, &err), err);
    assert_true(seconds_of(rig, x, plan, seconds) == 0.0); /* it is not on */
    profile->enable(rig->device, 1);
    tn_assert_ok_err(b->run(rig->device, x, 0, &err), err);
    profile->enable(rig->device, 0);
    const double sum = seconds_of(rig, x, plan, seconds);
    assert_true(sum > 0.0 && sum < 100.0);
    for (uint32_t i = 0; i < plan->node_count; i++)
        assert_true(seconds[i] > 0.0);
    assert_true(seconds_of(rig, x, plan, seconds) == 0.0); /* it was read */
}

static void a_profile_has_seconds_of_the_nodes_that_ran(void **state)
{
    (void)state;
    tn_rig *rig = tn_rig_open("vulkan", "{validation: true, cache: false}");
    const tn_backend *b = rig->backend;
    const tn_profile_extension *profile =
        b->extension(rig->device, "profile/1");
    const tn_rig_how how = {.dtype = TN_F32};
    const tn_rig_case c = {
        .in = {{.rank = 2, .shape = {70, 300}}, {.rank = 2, .shape = {300, 2}}},
        .in_count = 2,
        .out_count = 1,
        .describe = describe_two};
    tn_buffer *arenas[TN_ARENA_COUNT] = {NULL};
    tn_rig_program *p = tn_rig_build(rig, &c, &how, NULL);
    assert_non_null(p);
    tn_exec *x = compile_alone(rig, tn_rig_plan(p), arenas);
    assert_null(b->extension(rig->device, "profile/9"));
    if (profile)
        expect_profile(rig, x, tn_rig_plan(p), profile);
    else
        print_message("passed over: the device has no timestamps\n");
    free_alone(rig, x, arenas);
    tn_rig_free(p);
    tn_rig_close(rig);
}

/* ---- submissions ---- */

static void describe_loss(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    (void)with;
    out[0] = tn_linear_cross_entropy(b, in[0], in[1], in[2], 0.0);
}

/* 4e11 operations in one node, whose logits are made in 160 parts: watchdogs
 * reset a device that is at one submission for seconds. It is compiled and not
 * run. */
static void a_node_of_minutes_is_submitted_in_chunks(void **state)
{
    (void)state;
    enum { ROWS = 50000, CLASSES = 50000, COLUMNS = 80 };
    tn_rig *rig = tn_rig_open("vulkan", "{cache: false}");
    const tn_rig_how how = {.dtype = TN_F32};
    const tn_rig_case c = {
        .in = {{.rank = 2, .shape = {ROWS, COLUMNS}},
               {.op = TN_OP_PARAM, .rank = 2, .shape = {CLASSES, COLUMNS}},
               {.dtype = TN_I32, .rank = 1, .shape = {ROWS}}},
        .in_count = 3,
        .out_count = 1,
        .describe = describe_loss};
    tn_buffer *arenas[TN_ARENA_COUNT] = {NULL};
    tn_rig_program *p = tn_rig_build(rig, &c, &how, NULL);
    assert_non_null(p);
    const tn_plan *plan = tn_rig_plan(p);
    tn_exec *x = compile_alone(rig, plan, arenas);
    assert_int_equal(plan->node_count, 1);
    assert_true(x->segments[0].chunk_count > 1);
    free_alone(rig, x, arenas);
    tn_rig_free(p);
    tn_rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_of_devices_ends),
        cmocka_unit_test(a_device_is_found_by_number_and_by_name),
        cmocka_unit_test(a_device_that_is_not_there_is_refused_with_the_list),
        cmocka_unit_test(buffers_keep_what_is_written_directly),
        cmocka_unit_test(buffers_keep_what_is_written_through_staging),
        cmocka_unit_test(staging_hides_the_memory),
        cmocka_unit_test(too_much_memory_is_a_sentence),
        cmocka_unit_test(a_copy_outside_a_buffer_is_refused),
        cmocka_unit_test(compiled_kernels_are_kept_and_damage_is_not_read),
        cmocka_unit_test(a_large_damaged_file_of_kernels_is_replaced),
        cmocka_unit_test(a_node_of_minutes_is_submitted_in_chunks),
        cmocka_unit_test(an_index_outside_a_table_fails_the_run_by_name),
        cmocka_unit_test(a_profile_has_seconds_of_the_nodes_that_ran),
    };
    if (!vulkan_can_run())
        return 0;
    tn_rig *rig = tn_rig_find("vulkan");
    backend = rig->backend;
    host = rig->host;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tn_rig_close(rig);
    return failed;
}
