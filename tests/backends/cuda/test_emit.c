/*
 * test_emit.c - emitted kernels: NVRTC, which needs no GPU, takes the text of
 * every kind for the compute capabilities that the backend is for. Without
 * NVRTC the tests say so and pass.
 */
#include <tn_test.h>

#include <stdlib.h>
#include <string.h>

#include "emit.h"
#include "loader.h"

static gpu_nvrtc nvrtc;

/* ---- compiling ---- */

static void expect_compiles_for(const char *text, const char *architecture)
{
    const char *const options[] = {architecture, "--fmad=false", "--std=c++17"};
    nvrtcProgram program;
    size_t bytes = 0;
    char log[2000] = "";
    assert_int_equal(
        nvrtc.CreateProgram(&program, text, "kernel.cu", 0, NULL, NULL), 0);
    const int bad = nvrtc.CompileProgram(program, 3, options);
    if (bad && !nvrtc.GetProgramLogSize(program, &bytes) && bytes < sizeof log)
        nvrtc.GetProgramLog(program, log);
    if (bad)
        print_error("%s: %s\n%s\n", architecture, log, text);
    assert_int_equal(bad, 0);
    assert_int_equal(nvrtc.GetCUBINSize(program, &bytes), 0);
    assert_true(bytes > 0);
    nvrtc.DestroyProgram(&program);
}

/* Takes the text over. */
static void expect_compiles(char *text)
{
    assert_non_null(text);
    expect_compiles_for(text, "--gpu-architecture=sm_80");
    expect_compiles_for(text, "--gpu-architecture=sm_90");
    free(text);
}

/* ---- programs ---- */

/* Every instruction of map.def once, each on the one before it. */
static tn_program everything(void)
{
    tn_program p = {.input_count = 3, .constant_count = 2, .output_count = 1};
    p.constant[0] = 1.5;
    p.constant[1] = 7.0;
    const struct {
        tn_map_op op;
        int arity;
    } all[] = {
#define XX(NAME, number, arity, text, meaning) {TN_MAP_##NAME, arity},
#include <tenon/map.def>
#undef XX
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const uint8_t last = (uint8_t)(p.instruction_count - 1);
        tn_instruction it = {all[i].op, last, last, last};
        if (all[i].op == TN_MAP_RANDOM)
            it = (tn_instruction){TN_MAP_RANDOM, 2, 1, 0};
        else if (all[i].arity == 0)
            it = (tn_instruction){all[i].op, 0, 0, 0};
        p.instruction[p.instruction_count++] = it;
    }
    p.output[0] = (uint8_t)(p.instruction_count - 1);
    return p;
}

/* x y, of which y is broadcast along rows; both to z */
static gpu_map_spec product(tn_dtype x, tn_dtype y, tn_dtype z)
{
    gpu_map_spec s = {.rank = 2,
                      .in_count = 2,
                      .out_count = 1,
                      .vector = 1,
                      .shape = {40, 64}};
    s.in[0] = (gpu_view){x, {64, 1}};
    s.in[1] = (gpu_view){y, {0, 1}};
    s.out[0] = (gpu_view){z, {64, 1}};
    s.program.instruction[0] = (tn_instruction){TN_MAP_INPUT, 0, 0, 0};
    s.program.instruction[1] = (tn_instruction){TN_MAP_INPUT, 1, 0, 0};
    s.program.instruction[2] = (tn_instruction){TN_MAP_MUL, 0, 1, 0};
    s.program.instruction_count = 3;
    s.program.output[0] = 2;
    return s;
}

/* ---- tests ---- */

static void every_instruction_compiles(void **state)
{
    (void)state;
    gpu_map_spec s = product(TN_F32, TN_F32, TN_F32);
    s.in_count = 3; /* the last is what random reads */
    s.program = everything();
    expect_compiles(gpu_emit_map(&s));
}

static void maps_compile_in_every_dtype_and_width(void **state)
{
    (void)state;
    const tn_dtype dtypes[] = {TN_F32, TN_BF16, TN_I32};
    for (int i = 0; i < 3; i++)
        for (uint32_t vector = 1; vector <= 4; vector += 3) {
            gpu_map_spec s =
                product(dtypes[i], dtypes[(i + 1) % 3], dtypes[(i + 2) % 3]);
            s.vector = vector;
            expect_compiles(gpu_emit_map(&s));
        }
}

static void tensors_beyond_32_bits_compile(void **state)
{
    (void)state;
    gpu_map_spec s = product(TN_F32, TN_F32, TN_F32);
    s.shape[0] = (int64_t)1 << 30;
    char *text = gpu_emit_map(&s);
    assert_non_null(strstr(text, "typedef long long index"));
    expect_compiles(text);
}

static void gathers_compile_in_every_unit(void **state)
{
    (void)state;
    const uint32_t units[] = {2, 4, 16};
    for (int i = 0; i < 3; i++) {
        gpu_map_spec s = product(TN_F32, TN_F32, TN_F32);
        s.in_count = 1;
        expect_compiles(gpu_emit_gather(&s, 1000, units[i]));
    }
}

static void reductions_compile_along_rows_and_columns(void **state)
{
    (void)state;
    for (uint32_t kind = TN_REDUCE_SUM; kind <= TN_REDUCE_MIN; kind++) {
        gpu_reduce_spec s = {.map = product(TN_F32, TN_BF16, TN_F32),
                             .axes = 1u << (kind % 2),
                             .kind = kind,
                             .accumulate = kind == TN_REDUCE_SUM,
                             .columns = 32,
                             .lanes = 8,
                             .splits = 2,
                             .by_rows = kind % 2};
        expect_compiles(gpu_emit_reduce(&s));
    }
}

/* Rows within a warp and of several, a thread with one piece and with more. */
static void norms_compile_around_a_map(void **state)
{
    (void)state;
    const tn_dtype dtypes[] = {TN_F32, TN_BF16};
    for (uint32_t i = 0; i < 8; i++) {
        const tn_dtype dtype = dtypes[i & 1];
        gpu_norm_spec s = {.map = product(dtype, dtype, dtype),
                           .rows = 40,
                           .columns = 64,
                           .lanes = i & 2 ? 32 : 128,
                           .keep = 1,
                           .dtype = dtype,
                           .eps = 1e-5};
        s.map.vector = i & 4 ? 4 : 1;
        expect_compiles(gpu_emit_map_norm(&s));
        expect_compiles(gpu_emit_norm_bwd_map(&s));
    }
}

static void folding_joins_what_is_walked_through_as_one(void **state)
{
    (void)state;
    gpu_map_spec s = {
        .rank = 4, .in_count = 1, .out_count = 1, .shape = {2, 3, 1, 4}};
    s.in[0].stride[0] = 12; /* dense */
    s.in[0].stride[1] = 4;
    s.in[0].stride[3] = 1;
    s.out[0] = s.in[0];
    gpu_fold(&s);
    assert_int_equal(s.rank, 1);
    assert_int_equal(s.shape[0], 24);
    assert_int_equal(s.in[0].stride[0], 1);
}

static void folding_keeps_axes_that_a_broadcast_tells_apart(void **state)
{
    (void)state;
    gpu_map_spec s = product(TN_F32, TN_F32, TN_F32);
    gpu_fold(&s);
    assert_int_equal(s.rank, 2);
    s.program.instruction[0] = (tn_instruction){TN_MAP_INDEX, 1, 0, 0};
    s.in[1].stride[0] = 64;
    gpu_fold(&s);
    assert_int_equal(s.rank, 2); /* coordinates are asked for */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_compiles),
        cmocka_unit_test(maps_compile_in_every_dtype_and_width),
        cmocka_unit_test(tensors_beyond_32_bits_compile),
        cmocka_unit_test(gathers_compile_in_every_unit),
        cmocka_unit_test(reductions_compile_along_rows_and_columns),
        cmocka_unit_test(norms_compile_around_a_map),
        cmocka_unit_test(folding_joins_what_is_walked_through_as_one),
        cmocka_unit_test(folding_keeps_axes_that_a_broadcast_tells_apart),
    };
    tn_error err = TN_ERROR_NONE;
    if (gpu_load_nvrtc(&nvrtc, GPU_NEWEST_CUDA, &err) != TN_OK) {
        print_message("passed over: %s\n", err.message);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
