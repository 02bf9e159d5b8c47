/*
 * test_blas.c - which of cuBLASLt's algorithms, of a library that recommends
 * three and is timed by a clock of the test's.
 */
#define _GNU_SOURCE /* mkdtemp, setenv */
#include "blas.h"

#include "cache_folder.h"
#include "tn_test.h"

#include <sys/stat.h>

/* ---- what blas.c calls of this backend ---- */

tn_status gpu_buffer_create(tn_device *d, int64_t bytes, tn_buffer **buffer,
                            tn_error *err)
{
    (void)d;
    (void)err;
    *buffer = calloc(1, sizeof **buffer);
    (*buffer)->address = 4096;
    (*buffer)->bytes = bytes;
    return TN_OK;
}

void gpu_buffer_free(tn_device *d, tn_buffer *buffer)
{
    (void)d;
    free(buffer);
}

int64_t gpu_free_bytes(const tn_device *d)
{
    (void)d;
    return (int64_t)1 << 40;
}

tn_status gpu_zero(tn_device *d, tn_buffer *buffer, tn_error *err)
{
    (void)d;
    (void)buffer;
    (void)err;
    return TN_OK;
}

tn_status gpu_finish(tn_device *d, tn_error *err)
{
    (void)d;
    (void)err;
    return TN_OK;
}

/* ---- a driver and a library ---- */

enum { ALGORITHMS = 3 };

static float milliseconds_of[ALGORITHMS];
static uint64_t started; /* the last algorithm */
static int starts;

static int make(void **made)
{
    *made = &started;
    return 0;
}

static int make_desc(void **made, int compute, int scale)
{
    (void)compute;
    (void)scale;
    return make(made);
}

static int make_layout(void **made, int type, uint64_t rows, uint64_t columns,
                       int64_t pitch)
{
    (void)type;
    (void)rows;
    (void)columns;
    (void)pitch;
    return make(made);
}

static int unmake(void *made)
{
    (void)made;
    return 0;
}

static int set(void *made, int attribute, const void *value, size_t bytes)
{
    (void)made;
    (void)attribute;
    (void)value;
    (void)bytes;
    return 0;
}

static int heuristic(void *handle, void *desc, void *a, void *b, void *c,
                     void *d, void *preference, int wanted,
                     cublasLtHeuristic *results, int *found)
{
    const void *const given[] = {handle, desc, a, b, c, d, preference};
    (void)given;
    assert_true(wanted >= ALGORITHMS);
    for (uint64_t i = 0; i < ALGORITHMS; i++)
        results[i] = (cublasLtHeuristic){.algo = {{i}}, .workspace = 0};
    *found = ALGORITHMS;
    return 0;
}

static int multiply(void *handle, void *desc, const void *alpha, const void *a,
                    void *a_layout, const void *b, void *b_layout,
                    const void *beta, const void *c, void *c_layout, void *d,
                    void *d_layout, const cublasLtAlgo *algo, void *workspace,
                    size_t bytes, CUstream stream)
{
    const void *const given[] = {
        handle, desc,     alpha,    a, a_layout, b,         b_layout, beta,
        c,      c_layout, d_layout, d, stream,   workspace, &bytes};
    (void)given;
    started = algo->data[0];
    starts++;
    return 0;
}

static CUresult make_event(CUevent *event, unsigned flags)
{
    (void)flags;
    *event = (CUevent)&started;
    return 0;
}

static CUresult unmake_event(CUevent event)
{
    (void)event;
    return 0;
}

static CUresult record(CUevent event, CUstream stream)
{
    (void)event;
    (void)stream;
    return 0;
}

static CUresult elapsed(float *milliseconds, CUevent start, CUevent end)
{
    (void)start;
    (void)end;
    *milliseconds = milliseconds_of[started];
    return 0;
}

static gpu_blas library = {.DescCreate = make_desc,
                           .DescDestroy = unmake,
                           .DescSet = set,
                           .LayoutCreate = make_layout,
                           .LayoutDestroy = unmake,
                           .LayoutSet = set,
                           .PreferenceCreate = make,
                           .PreferenceDestroy = unmake,
                           .PreferenceSet = set,
                           .Heuristic = heuristic,
                           .Matmul = multiply};
static tn_buffer workspace = {.address = 4096};
static tn_device device = {.driver = {.EventCreate = make_event,
                                      .EventDestroy = unmake_event,
                                      .EventRecord = record,
                                      .EventSynchronize = unmake_event,
                                      .EventElapsedTime = elapsed},
                           .card = {.major = 9, .name = "a card"}};

/* ---- choosing ---- */

/* The algorithm of a product while the clock finds `fastest` so. */
static uint64_t choose(uint32_t steady, int fastest)
{
    const gpu_product p = {.args = {.a = 256,
                                    .b = 512,
                                    .y = 1024,
                                    .a_stride = {64, 1},
                                    .b_stride = {32, 1},
                                    .batch = {1, 1, 1, 1},
                                    .rows = 16,
                                    .columns = 32,
                                    .inner = 64},
                           .operands = TN_F32,
                           .y = TN_F32,
                           .steady = steady};
    gpu_blas_call *call = NULL;
    tn_error err = TN_ERROR_NONE;
    starts = 0;
    for (int i = 0; i < ALGORITHMS; i++)
        milliseconds_of[i] = i == fastest ? 1.0f : 2.0f;
    tn_assert_ok_err(gpu_blas_describe(&device, &p, &call, &err), err);
    assert_non_null(call);
    const uint64_t algorithm = call->algo.data[0];
    gpu_blas_free(&device, call);
    return algorithm;
}

static void open_library(void)
{
    library.workspace = &workspace;
    device.blas = &library;
    gpu_cache_open(&library.chosen, &device.card, "blas1");
}

/* As after kill -9: nothing is closed. */
static void forget_all(void)
{
    gpu_cache list = library.chosen;
    list.path[0] = '\0';
    gpu_cache_close(&list);
    library.chosen = (gpu_cache){.path = ""};
}

static void the_fastest_is_taken_and_stays(void **state)
{
    (void)state;
    open_library();
    assert_int_equal(choose(0, 2), 2);
    assert_true(starts > 0);
    forget_all();
    open_library();
    assert_int_equal(choose(0, 1), 2);
    assert_int_equal(starts, 0);
    forget_all();
}

static void where_nothing_can_be_kept_no_clock_decides(void **state)
{
    char beside[560];
    (void)state;
    open_library();
    snprintf(beside, sizeof beside, "%s.new", library.chosen.path);
    assert_int_equal(mkdir(beside, 0700), 0);
    assert_int_equal(choose(0, 2), 0);
    assert_int_equal(choose(0, 1), 0);
    forget_all(); /* and there is none */
    assert_int_equal(choose(0, 2), 0);
    assert_int_equal(starts, 0);
}

/* Ranks on other machines have other clocks, and other files. */
static void what_all_ranks_compute_alike_no_clock_decides(void **state)
{
    (void)state;
    open_library();
    assert_int_equal(choose(0, 2), 2);
    assert_int_equal(choose(1, 1), 0);
    assert_int_equal(starts, 0);
    assert_int_equal(choose(0, 1), 2); /* nor is it kept */
    forget_all();
}

int main(void)
{
#define EACH(test)                                                             \
    cmocka_unit_test_setup_teardown(test, cache_folder_make,                   \
                                    cache_folder_remove)
    const struct CMUnitTest tests[] = {
        EACH(the_fastest_is_taken_and_stays),
        EACH(where_nothing_can_be_kept_no_clock_decides),
        EACH(what_all_ranks_compute_alike_no_clock_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
