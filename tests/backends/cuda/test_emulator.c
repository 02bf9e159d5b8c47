/*
 * test_emulator.c - the emulator computes what CUDA says, and catches what it
 * is there to catch.
 */
#include "emulator/test_kernels.h"
#include "loader.h"

#include "tn_test.h"

#include <unistd.h>

enum { INVALID_VALUE = 1, ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719 };
enum { CAPTURE_UNJOINED = 904 };

#if defined(__SANITIZE_ADDRESS__)
enum { IS_WATCHED = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { IS_WATCHED = 1 };
#else
enum { IS_WATCHED = 0 };
#endif
#else
enum { IS_WATCHED = 0 };
#endif

static gpu_driver cu;
static gpu_nvrtc nvrtc;
static char *image; /* test_kernels.so */

static const char *const orders[] = {"0", "1", "2", "12345"};
enum { ORDERS = sizeof orders / sizeof orders[0] };

/* ---- a device of the test's own ---- */

typedef struct device {
    CUcontext context;
    CUmodule module;
    CUstream stream, other;
} device;

static device begin(const char *order)
{
    device d;
    setenv("SIMT_ORDER", order, 1);
    assert_int_equal(cu.Init(0), 0);
    assert_int_equal(cu.DevicePrimaryCtxRetain(&d.context, 0), 0);
    assert_int_equal(cu.CtxSetCurrent(d.context), 0);
    assert_int_equal(cu.ModuleLoadData(&d.module, image), 0);
    assert_int_equal(cu.StreamCreate(&d.stream, CU_STREAM_NON_BLOCKING), 0);
    assert_int_equal(cu.StreamCreate(&d.other, CU_STREAM_NON_BLOCKING), 0);
    return d;
}

static void end(device *d)
{
    cu.StreamDestroy(d->stream);
    cu.StreamDestroy(d->other);
    cu.ModuleUnload(d->module);
    cu.DevicePrimaryCtxRelease(0);
}

static CUfunction function(const device *d, const char *name)
{
    CUfunction f = NULL;
    assert_int_equal(cu.ModuleGetFunction(&f, d->module, name), 0);
    return f;
}

static CUdeviceptr floats(int64_t count)
{
    CUdeviceptr address = 0;
    assert_int_equal(cu.MemAlloc(&address, (size_t)count * sizeof(float)), 0);
    return address;
}

static void put(const device *d, CUdeviceptr to, const float *x, int64_t count)
{
    assert_int_equal(
        cu.MemcpyHtoDAsync(to, x, (size_t)count * sizeof *x, d->stream), 0);
}

static void get(const device *d, float *y, CUdeviceptr from, int64_t count)
{
    assert_int_equal(
        cu.MemcpyDtoHAsync(y, from, (size_t)count * sizeof *y, d->stream), 0);
    assert_int_equal(cu.StreamSynchronize(d->stream), 0);
}

typedef struct shape {
    unsigned x, y, threads, rows;
} shape;

static CUresult launch_on(const device *d, CUstream stream, const char *name,
                          shape s, test_args a)
{
    size_t bytes = sizeof a;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &a,
                     CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
    return cu.LaunchKernel(function(d, name), s.x, s.y, 1, s.threads, s.rows, 1,
                           0, stream, NULL, extra);
}

static CUresult launch(const device *d, const char *name, shape s, test_args a)
{
    const CUresult result = launch_on(d, d->stream, name, s, a);
    return result ? result : cu.StreamSynchronize(d->stream);
}

/* ---- kernels that are right ---- */

enum { COUNT = 1000, BLOCKS = 4 };

static void a_block_sums_alike_in_every_order(void **state)
{
    float x[COUNT], first[BLOCKS], sums[BLOCKS];
    (void)state;
    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(i % 17) * 0.1f;
    for (int o = 0; o < ORDERS; o++) {
        device d = begin(orders[o]);
        const test_args a = {floats(COUNT), floats(BLOCKS), COUNT, 0};
        put(&d, a.x, x, COUNT);
        assert_int_equal(
            launch(&d, "sum_blocks", (shape){BLOCKS, 1, 256, 1}, a), 0);
        get(&d, sums, a.y, BLOCKS);
        end(&d);
        if (o == 0)
            memcpy(first, sums, sizeof sums);
        assert_memory_equal(first, sums, sizeof sums);
    }
    for (int b = 0; b < BLOCKS; b++) {
        double want = 0.0;
        for (int i = b * 256; i < COUNT && i < (b + 1) * 256; i++)
            want += (double)x[i];
        tn_assert_near(first[b], want, 1e-4);
    }
}

enum { ROWS = 13, COLUMNS = 21 };

/* The largest difference from x transposed; NaN counts as infinite. */
static double transposed_by(const char *kernel, const char *order)
{
    float x[ROWS * COLUMNS], y[ROWS * COLUMNS];
    double worst = 0.0;
    device d = begin(order);
    const test_args a = {floats(ROWS * COLUMNS), floats(ROWS * COLUMNS), ROWS,
                         COLUMNS};
    const shape s = {(COLUMNS + TEST_TILE - 1) / TEST_TILE,
                     (ROWS + TEST_TILE - 1) / TEST_TILE, TEST_TILE, TEST_TILE};
    for (int i = 0; i < ROWS * COLUMNS; i++)
        x[i] = (float)i;
    put(&d, a.x, x, ROWS * COLUMNS);
    assert_int_equal(launch(&d, kernel, s, a), 0);
    get(&d, y, a.y, ROWS * COLUMNS);
    end(&d);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) {
            const double off =
                fabs((double)(y[c * ROWS + r] - x[r * COLUMNS + c]));
            worst = off <= worst ? worst : isnan(off) ? 1e30 : off;
        }
    return worst;
}

static void tiles_are_transposed_in_every_order(void **state)
{
    (void)state;
    for (int o = 0; o < ORDERS; o++)
        assert_true(transposed_by("transpose", orders[o]) == 0.0);
}

static float collected(int lane, int which)
{
    switch (which) {
    case 0:
        return 5.0f;
    case 1:
        return (float)(lane / 8 * 8 + (lane + 1) % 8);
    case 2:
        return (float)(lane < 3 ? lane : lane - 3);
    case 3:
        return (float)(lane % 16 < 13 ? lane + 3 : lane);
    case 4:
        return (float)(lane ^ 1);
    case 5:
        return 11.0f;
    case 6:
        return 1.0f;
    case 7:
        return 0.0f;
    case 8:
        return (float)(lane < 16 ? lane ^ 8 : lane ^ 4);
    default:
        return 16.0f;
    }
}

static void collectives_of_a_warp_give_what_the_manual_says(void **state)
{
    (void)state;
    for (int o = 0; o < ORDERS; o++) {
        float y[32 * TEST_COLLECTED];
        device d = begin(orders[o]);
        const test_args a = {0, floats(32 * TEST_COLLECTED), 0, 0};
        assert_int_equal(launch(&d, "collect", (shape){1, 1, 32, 1}, a), 0);
        get(&d, y, a.y, 32 * TEST_COLLECTED);
        end(&d);
        for (int i = 0; i < 32 * TEST_COLLECTED; i++)
            assert_true(y[i] ==
                        collected(i / TEST_COLLECTED, i % TEST_COLLECTED));
    }
}

/* ---- kernels that are wrong ---- */

static void a_missing_barrier_gives_other_results(void **state)
{
    (void)state;
    for (int o = 0; o < ORDERS; o++)
        assert_true(transposed_by("transpose_without_barrier", orders[o]) >
                    0.0);
}

static void shared_memory_that_nobody_wrote_is_not_a_number(void **state)
{
    float y[64];
    device d = begin("0");
    const test_args a = {0, floats(64), 0, 0};
    (void)state;
    for (int again = 0; again < 2; again++) {
        assert_int_equal(launch(&d, "unset_shared", (shape){1, 1, 64, 1}, a),
                         0);
        get(&d, y, a.y, 64);
        for (int i = 0; i < 64; i++)
            assert_int_equal(!!isnan(y[i]), i >= 32);
    }
    end(&d);
}

/* What the emulator says on stderr while a launch fails. */
static CUresult listen(const device *d, const char *kernel, shape s,
                       test_args a, char *said, size_t size)
{
    FILE *file = tmpfile();
    const int stderr_was = dup(STDERR_FILENO);
    assert_non_null(file);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    const CUresult result = launch(d, kernel, s, a);
    fflush(stderr);
    dup2(stderr_was, STDERR_FILENO);
    close(stderr_was);
    rewind(file);
    said[fread(said, 1, size - 1, file)] = '\0';
    fclose(file);
    return result;
}

static void expect_failure(const char *kernel, const char *says)
{
    for (int o = 0; o < ORDERS; o++) {
        char said[4096];
        device d = begin(orders[o]);
        const test_args a = {0, floats(64), 64, 0};
        assert_int_equal(
            listen(&d, kernel, (shape){1, 1, 32, 1}, a, said, sizeof said),
            LAUNCH_FAILED);
        if (!strstr(said, says) || !strstr(said, kernel))
            print_error("%s", said);
        assert_non_null(strstr(said, says));
        assert_non_null(strstr(said, kernel));
        /* the context stays broken, as the driver's does */
        assert_int_equal(cu.StreamSynchronize(d.stream), LAUNCH_FAILED);
        end(&d);
        d = begin(orders[o]);
        assert_int_equal(cu.StreamSynchronize(d.stream), 0);
        end(&d);
    }
}

static void threads_that_do_not_meet_are_told(void **state)
{
    (void)state;
    expect_failure("half_a_barrier", "waits at a barrier that not all threads "
                                     "reach");
    expect_failure("half_a_barrier", "thread (16,0,0): has returned");
    expect_failure("half_a_barrier", "emulator/test_kernels.cu:");
    expect_failure("two_barriers", "thread (0,0,0): tests/");
    expect_failure("two_barriers", "thread (16,0,0): tests/");
    expect_failure("half_a_warp", "waits for lanes of its mask 0xffffffff");
    expect_failure("wrong_mask", "its lane is not in the mask 0x0000ffff");
}

static void an_address_past_the_end_fails_the_launch(void **state)
{
    char said[4096];
    (void)state;
    for (int64_t count = 64; count >= (IS_WATCHED ? 64 : 63); count--) {
        device d = begin("0");
        const test_args a = {0, floats(count), count, 0};
        assert_int_equal(listen(&d, "past_the_end", (shape){1, 1, 32, 1}, a,
                                said, sizeof said),
                         ILLEGAL_ADDRESS);
        assert_non_null(strstr(said, "past_the_end"));
        end(&d);
    }
}

static void dynamic_shared_memory_ends_where_the_launch_says(void **state)
{
    (void)state;
    for (unsigned missing = 0; missing < 2; missing++) {
        device d = begin("0");
        test_args a = {0, floats(64), 64, 0};
        void *parameters[] = {&a};
        float y[64];
        assert_int_equal(cu.LaunchKernel(function(&d, "fill_dynamic"), 1, 1, 1,
                                         32, 1, 1, (64 - missing) * 4, d.stream,
                                         parameters, NULL),
                         0);
        assert_int_equal(cu.StreamSynchronize(d.stream),
                         missing ? ILLEGAL_ADDRESS : 0);
        if (!missing)
            get(&d, y, a.y, 64);
        for (int i = 0; i < 64 && !missing; i++)
            assert_true(y[i] == (float)(63 - i));
        end(&d);
    }
}

static CUresult launch_shared(const device *d, CUfunction f, unsigned bytes)
{
    test_args a = {0, floats(64), 64, 0};
    void *parameters[] = {&a};
    const CUresult result = cu.LaunchKernel(f, 1, 1, 1, 32, 1, 1, bytes,
                                            d->stream, parameters, NULL);
    return result ? result : cu.StreamSynchronize(d->stream);
}

/* 48 KB less what the kernel declares, or what it was given leave for last. */
static void dynamic_shared_memory_has_to_be_asked_for(void **state)
{
    const int attribute = CU_FUNC_MAX_DYNAMIC_SHARED_SIZE;
    device d = begin("0");
    CUfunction f = function(&d, "fill_dynamic");
    (void)state;
    assert_int_equal(launch_shared(&d, f, 40 << 10), 0);
    assert_int_equal(launch_shared(&d, f, 48 << 10), INVALID_VALUE);
    assert_int_equal(cu.FuncSetAttribute(f, attribute, 80 << 10), 0);
    assert_int_equal(launch_shared(&d, f, 80 << 10), 0);
    assert_int_equal(cu.FuncSetAttribute(f, attribute, 60 << 10), 0);
    assert_int_equal(launch_shared(&d, f, 80 << 10), INVALID_VALUE);
    assert_int_equal(cu.FuncSetAttribute(f, attribute, 227 << 10),
                     INVALID_VALUE);
    end(&d);
}

static void a_launch_beyond_its_bounds_is_refused(void **state)
{
    char said[4096];
    device d = begin("0");
    const test_args a = {floats(1), floats(1), 1, 0};
    (void)state;
    assert_int_equal(
        listen(&d, "sum_blocks", (shape){1, 1, 257, 1}, a, said, sizeof said),
        INVALID_VALUE);
    assert_int_equal(
        listen(&d, "add_one", (shape){1, 1, 1025, 1}, a, said, sizeof said),
        INVALID_VALUE);
    end(&d);
}

/* ---- streams and graphs ---- */

/* y = (x + 1) * 2 by two streams; `edge`: the second waits for the first. */
static float by_two_streams(const char *order, int edge)
{
    const float x = 3.0f;
    float y = 0.0f;
    CUevent done;
    device d = begin(order);
    const test_args a = {floats(1), floats(1), 1, 0};
    const test_args b = {a.y, floats(1), 1, 0};
    const shape one = {1, 1, 32, 1};
    put(&d, a.x, &x, 1);
    put(&d, a.y, &x, 1);
    cu.StreamSynchronize(d.stream);
    assert_int_equal(cu.EventCreate(&done, CU_EVENT_DISABLE_TIMING), 0);
    assert_int_equal(launch_on(&d, d.stream, "add_one", one, a), 0);
    assert_int_equal(cu.EventRecord(done, d.stream), 0);
    if (edge)
        assert_int_equal(cu.StreamWaitEvent(d.other, done, 0), 0);
    assert_int_equal(launch_on(&d, d.other, "twice", one, b), 0);
    assert_int_equal(cu.StreamSynchronize(d.other), 0);
    assert_int_equal(cu.StreamSynchronize(d.stream), 0);
    get(&d, &y, b.y, 1);
    cu.EventDestroy(done);
    end(&d);
    return y;
}

static void streams_meet_where_they_wait_and_nowhere_else(void **state)
{
    (void)state;
    for (int o = 0; o < ORDERS; o++)
        assert_true(by_two_streams(orders[o], 1) == 8.0f);
    assert_true(by_two_streams("1", 0) == 6.0f);
}

static void pinned_bytes_are_read_when_the_copy_runs(void **state)
{
    void *pinned = NULL;
    float y = 0.0f;
    device d = begin("1");
    const CUdeviceptr to = floats(1);
    (void)state;
    assert_int_equal(cu.MemAllocHost(&pinned, sizeof(float)), 0);
    *(float *)pinned = 1.0f;
    put(&d, to, pinned, 1);
    *(float *)pinned = 2.0f; /* too early */
    get(&d, &y, to, 1);
    assert_true(y == 2.0f);
    cu.MemFreeHost(pinned);
    end(&d);
}

/* The same as a graph, launched twice; `join`: the capture waits for its second
 * stream. */
static CUresult by_graph(const device *d, test_args a, test_args b, int join)
{
    const shape one = {1, 1, 32, 1};
    CUgraph graph;
    CUgraphExec exec;
    CUevent fork, done;
    cu.EventCreate(&fork, CU_EVENT_DISABLE_TIMING);
    cu.EventCreate(&done, CU_EVENT_DISABLE_TIMING);
    assert_int_equal(
        cu.StreamBeginCapture(d->stream, CU_STREAM_CAPTURE_MODE_RELAXED), 0);
    assert_int_equal(launch_on(d, d->stream, "add_one", one, a), 0);
    cu.EventRecord(fork, d->stream);
    assert_int_equal(cu.StreamWaitEvent(d->other, fork, 0), 0);
    assert_int_equal(launch_on(d, d->other, "twice", one, b), 0);
    cu.EventRecord(done, d->other);
    if (join)
        assert_int_equal(cu.StreamWaitEvent(d->stream, done, 0), 0);
    const CUresult result = cu.StreamEndCapture(d->stream, &graph);
    if (!result) {
        assert_int_equal(cu.GraphInstantiateWithFlags(&exec, graph, 0), 0);
        cu.GraphDestroy(graph);
        cu.GraphLaunch(exec, d->stream);
        cu.GraphLaunch(exec, d->stream);
        assert_int_equal(cu.StreamSynchronize(d->stream), 0);
        cu.GraphExecDestroy(exec);
    }
    cu.EventDestroy(fork);
    cu.EventDestroy(done);
    return result;
}

static void a_captured_graph_runs_by_its_edges(void **state)
{
    (void)state;
    for (int o = 0; o < ORDERS; o++) {
        const float x = 3.0f;
        float y = 0.0f;
        device d = begin(orders[o]);
        const test_args a = {floats(1), floats(1), 1, 0};
        const test_args b = {a.y, floats(1), 1, 0};
        put(&d, a.x, &x, 1);
        assert_int_equal(by_graph(&d, a, b, 0), CAPTURE_UNJOINED);
        assert_int_equal(by_graph(&d, a, b, 1), 0);
        get(&d, &y, b.y, 1);
        assert_true(y == 8.0f);
        end(&d);
    }
}

/* ---- text ---- */

static const char text[] =
    "struct args { unsigned long long x, y; long long count, width; };\n"
    "extern \"C\" __global__ void __launch_bounds__(64) kernel(args a)\n"
    "{\n"
    "    const long long i = blockIdx.x * 64 + threadIdx.x;\n"
    "    if (i < a.count)\n"
    "        ((float *)a.y)[i] = expf(((const float *)a.x)[i]);\n"
    "}\n";

static void text_becomes_a_kernel(void **state)
{
    const char *options[] = {"--gpu-architecture=sm_00"};
    const float x[3] = {0.0f, 1.0f, -2.0f};
    float y[3];
    nvrtcProgram program;
    size_t bytes = 0;
    (void)state;
    assert_int_equal(nvrtc.CreateProgram(&program, text, "a.cu", 0, NULL, NULL),
                     0);
    assert_int_equal(nvrtc.CompileProgram(program, 1, options), 0);
    assert_int_equal(nvrtc.GetCUBINSize(program, &bytes), 0);
    char *code = malloc(bytes);
    assert_int_equal(nvrtc.GetCUBIN(program, code), 0);
    nvrtc.DestroyProgram(&program);

    device d = begin("0"), own = d;
    const test_args a = {floats(3), floats(3), 3, 0};
    assert_int_equal(cu.ModuleLoadData(&own.module, code), 0);
    free(code);
    put(&d, a.x, x, 3);
    assert_int_equal(launch(&own, "kernel", (shape){1, 1, 64, 1}, a), 0);
    get(&d, y, a.y, 3);
    for (int i = 0; i < 3; i++)
        tn_assert_near(y[i], exp((double)x[i]), 1e-6);
    cu.ModuleUnload(own.module);
    end(&d);
}

static void text_that_is_wrong_comes_back_with_a_log(void **state)
{
    const char *options[] = {"--gpu-architecture=sm_00"};
    nvrtcProgram program;
    size_t bytes = 0;
    char log[8192] = "";
    (void)state;
    assert_int_equal(nvrtc.CreateProgram(&program,
                                         "int f() { return nothing; }", "a.cu",
                                         0, NULL, NULL),
                     0);
    assert_int_not_equal(nvrtc.CompileProgram(program, 1, options), 0);
    assert_int_equal(nvrtc.GetProgramLogSize(program, &bytes), 0);
    assert_true(bytes < sizeof log);
    nvrtc.GetProgramLog(program, log);
    assert_non_null(strstr(log, "nothing"));
    assert_non_null(strstr(log, "kernel.cu:1"));
    nvrtc.DestroyProgram(&program);
}

/* ---- versions ---- */

/* Code of CUDA 13, which this folder's NVRTC is of, is nothing for a driver of
 * CUDA 12. */
static void a_compiler_that_is_too_new_for_the_driver_is_passed_over(void **s)
{
    gpu_nvrtc old;
    tn_error err = TN_ERROR_NONE;
    (void)s;
    assert_int_equal(nvrtc.major, 13);
    if (gpu_load_nvrtc(&old, 12, &err) == TN_OK)
        assert_int_equal(old.major, 12);
    else
        tn_assert_error_says(err, "update the driver");
}

static int setup(void **state)
{
    char path[4096];
    tn_error err = TN_ERROR_NONE;
    long size;
    (void)state;
    snprintf(path, sizeof path, "%s/test_kernels.so", getenv("SIMT_FOLDER"));
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0)
        return -1;
    rewind(file);
    image = malloc((size_t)size);
    if (!image || fread(image, 1, (size_t)size, file) != (size_t)size)
        return -1;
    fclose(file);
    tn_assert_ok_err(gpu_load_driver(&cu, &err), err);
    tn_assert_ok_err(gpu_load_nvrtc(&nvrtc, cu.major, &err), err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(image);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_sums_alike_in_every_order),
        cmocka_unit_test(tiles_are_transposed_in_every_order),
        cmocka_unit_test(collectives_of_a_warp_give_what_the_manual_says),
        cmocka_unit_test(a_missing_barrier_gives_other_results),
        cmocka_unit_test(shared_memory_that_nobody_wrote_is_not_a_number),
        cmocka_unit_test(threads_that_do_not_meet_are_told),
        cmocka_unit_test(an_address_past_the_end_fails_the_launch),
        cmocka_unit_test(dynamic_shared_memory_ends_where_the_launch_says),
        cmocka_unit_test(dynamic_shared_memory_has_to_be_asked_for),
        cmocka_unit_test(a_launch_beyond_its_bounds_is_refused),
        cmocka_unit_test(streams_meet_where_they_wait_and_nowhere_else),
        cmocka_unit_test(pinned_bytes_are_read_when_the_copy_runs),
        cmocka_unit_test(a_captured_graph_runs_by_its_edges),
        cmocka_unit_test(text_becomes_a_kernel),
        cmocka_unit_test(text_that_is_wrong_comes_back_with_a_log),
        cmocka_unit_test(
            a_compiler_that_is_too_new_for_the_driver_is_passed_over),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
