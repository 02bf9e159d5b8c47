/*
 * test_dnn.c - what the backend asks of cuDNN, asked of the cuDNN that is
 * installed: for a GPU that is only described, which needs none, it takes the
 * graphs of attention and its gradients, makes plans of them with machine code,
 * and loads these again. Without the library the tests say so and pass.
 *
 * What a plan computes only a device can say, which does (dnn_trial.c).
 */
#define _GNU_SOURCE /* memmem */
#include <tn_test.h>

#include <stdlib.h>
#include <string.h>

#include "dnn.h"

static gpu_dnn dnn;

/* ---- the device ---- */

/* As this library describes the GPU that it finds. */
static const char h200[] =
    "{\"cudaDeviceId\":0,\"deviceName\":\"NVIDIA H200\",\"deviceVer\":900,"
    "\"driverVer\":13000,\"isTccDriver\":0,\"l2CacheSize\":62914560,"
    "\"maxBlockSize\":[1024,1024,64],"
    "\"maxGridSize\":[2147483647,65535,65535],\"maxCtasPerSM\":32,"
    "\"maxRegistersPerSM\":65536,\"maxSharedMemoryPerBlock\":49152,"
    "\"maxSharedMemoryPerBlockOptin\":232448,\"maxThreadsPerBlock\":1024,"
    "\"maxThreadsPerSM\":2048,\"memClockRateKHz\":3201000,"
    "\"memoryBusWidth\":6144,\"multiProcessorCount\":132,\"pciDeviceId\":0,"
    "\"regsPerBlock\":65536,\"reservedSharedMemoryPerBlock\":1024,"
    "\"smClockRateKHz\":1980000,\"smCountOrigin\":0,\"supportCoopLaunch\":1,"
    "\"oversizedSharedMemoryPerBlock\":0,\"totalGlobalMem\":150754820096,"
    "\"warpSize\":32}";

static int describe_h200(void **state)
{
    (void)state;
    return dnn.CreateDescriptor(DNN_DEVICE, &dnn.properties) ||
           dnn.SetAttribute(dnn.properties, DNN_DEVICE_TEXT, DNN_IS_CHAR,
                            (int64_t)strlen(h200), h200) ||
           dnn.Finalize(dnn.properties);
}

static int forget_it(void **state)
{
    (void)state;
    return dnn.DestroyDescriptor(dnn.properties);
}

/* ---- problems ---- */

/* q, k and v side by side in one tensor, as a layer's products leave them, or
 * each dense. */
static gpu_attention_args problem(int32_t batch, int32_t rows, int32_t heads,
                                  int32_t groups, int32_t key_size,
                                  int32_t value_size, int is_side_by_side)
{
    const uint64_t somewhere = (uint64_t)1 << 40;
    gpu_attention_args a = {
        .batch = batch,
        .rows = rows,
        .keys = rows,
        .heads = heads,
        .groups = groups,
        .key_size = key_size,
        .value_size = value_size,
        .scale = 0.125f,
        .causal = 1,
    };
    const int64_t q = heads * key_size, k = groups * key_size;
    const int64_t v = groups * value_size, all = q + k + v;
    const int64_t pitch[3] = {is_side_by_side ? all : q,
                              is_side_by_side ? all : k,
                              is_side_by_side ? all : v};
    const int64_t size[3] = {key_size, key_size, value_size};
    int64_t *strides[3] = {a.q_stride, a.k_stride, a.v_stride};
    uint64_t *address[] = {&a.q,     &a.k,  &a.v,  &a.o,  &a.lse,
                           &a.d_out, &a.dq, &a.dk, &a.dv, &a.delta};
    for (int i = 0; i < 3; i++) {
        strides[i][0] = rows * pitch[i];
        strides[i][1] = pitch[i];
        strides[i][2] = size[i];
    }
    for (size_t i = 0; i < sizeof address / sizeof address[0]; i++)
        *address[i] = somewhere + ((uint64_t)i << 30);
    return a;
}

/* ---- what must come of them ---- */

static int says(const gpu_dnn_text *text, const char *what)
{
    return memmem(text->bytes, (size_t)text->count, what, strlen(what)) != NULL;
}

/* The plan is made, is for this GPU, and loads; returns its workspace. */
static int64_t expect_plans(const gpu_attention_args *a, int backward)
{
    gpu_dnn_text text;
    assert_int_equal(gpu_dnn_recommend(&dnn, a, backward, &text, 1), 1);
    assert_true(says(&text, "sdpa_sm90_flash"));
    assert_true(says(&text, backward ? "bprop" : "fprop"));
    gpu_dnn_plan *plan =
        gpu_dnn_load_plan(&dnn, text.bytes, (size_t)text.count);
    assert_non_null(plan);
    gpu_dnn_call *call = gpu_dnn_bind(&dnn, plan, a, backward, 0);
    assert_non_null(call);
    dnn.DestroyDescriptor(call->pack);
    free(call);
    free(text.bytes);
    const int64_t workspace = plan->workspace;
    gpu_dnn_unload_plan(&dnn, plan);
    return workspace;
}

static void forward_plans_are_made_and_loaded(void **state)
{
    (void)state;
    const gpu_attention_args all[] = {
        problem(8, 1024, 12, 12, 64, 64, 1),   /* GPT-2 124M */
        problem(2, 2048, 16, 4, 128, 128, 0),  /* heads that share keys */
        problem(2, 1000, 12, 12, 64, 64, 0),   /* not in steps of a tile */
        problem(1, 1024, 16, 16, 192, 128, 0), /* latent attention */
        problem(1, 40, 2, 1, 16, 24, 1),
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        expect_plans(&all[i], 0);
}

/* With the gradients of scores kept, two bytes each: they are what makes the
 * order of sums that of one product (dnn_graph.c). */
static void plans_of_gradients_keep_the_order_of_sums(void **state)
{
    (void)state;
    const gpu_attention_args all[] = {
        problem(8, 1024, 12, 12, 64, 64, 1),
        problem(2, 2048, 16, 4, 128, 128, 0),
        problem(2, 1000, 12, 12, 64, 64, 0),
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const gpu_attention_args *a = &all[i];
        const int64_t scores = (int64_t)a->batch * a->heads * a->rows * a->keys;
        assert_true(expect_plans(a, 1) >= 2 * scores);
    }
}

static void windows_and_both_directions_are_taken(void **state)
{
    (void)state;
    gpu_attention_args a = problem(2, 2048, 6, 6, 128, 128, 0);
    a.window = 512;
    expect_plans(&a, 0);
    expect_plans(&a, 1);
    a.window = 0;
    a.causal = 0;
    expect_plans(&a, 0);
    expect_plans(&a, 1);
}

static void a_text_that_is_no_plan_is_not_loaded(void **state)
{
    (void)state;
    const char *const texts[] = {"-", "{}", "{\"cudnnVersion\": 1}", ""};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_null(gpu_dnn_load_plan(&dnn, texts[i], strlen(texts[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_plans_are_made_and_loaded),
        cmocka_unit_test(plans_of_gradients_keep_the_order_of_sums),
        cmocka_unit_test(windows_and_both_directions_are_taken),
        cmocka_unit_test(a_text_that_is_no_plan_is_not_loaded),
    };
    if (!gpu_dnn_load(&dnn)) {
        print_message("passed over: cuDNN 9.12 or newer is not installed\n");
        return 0;
    }
    print_message("cuDNN %zu\n", dnn.version);
    return cmocka_run_group_tests(tests, describe_h200, forget_it);
}
