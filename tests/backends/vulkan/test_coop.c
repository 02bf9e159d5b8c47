/*
 * test_coop.c - cooperative matrices: which of a device's sizes is chosen, and
 * what its module says. Multiplying takes a device that has them, and is
 * test_ops.c's affair.
 */
#include "tn_test.h"

#include <unistd.h>

#include "coop.h"

/* ---- choosing ---- */

#define ROW(m, n, k, in, sum)                                                  \
    {                                                                          \
        m, n, k, TN_##in, TN_##in, TN_##sum, TN_##sum, 1                       \
    }
#define OTHER(m, n, k)                                                         \
    {                                                                          \
        m, n, k, 0, 0, TN_I32, TN_I32, 1                                       \
    }

/* As devices list them: an RDNA 3 card, where sums in F16 stand beside those in
 * F32 and half of the list is of integers; a card of NVIDIA's with three
 * sizes; one of Intel's, whose rows are 8; llvmpipe's. */
static const gpu_coop_row rdna3[] = {
    ROW(16, 16, 16, F16, F32), ROW(16, 16, 16, F16, F16), OTHER(16, 16, 16),
    OTHER(16, 16, 16), ROW(16, 16, 16, BF16, F32)};
static const gpu_coop_row nvidia[] = {
    ROW(16, 8, 8, F16, F16),   ROW(16, 8, 16, F16, F16),
    ROW(16, 16, 16, F16, F16), ROW(16, 8, 8, F16, F32),
    ROW(16, 8, 16, F16, F32),  ROW(16, 16, 16, F16, F32),
    OTHER(16, 16, 32)};
static const gpu_coop_row intel[] = {OTHER(8, 16, 32),
                                     ROW(8, 16, 16, F16, F32)};
static const gpu_coop_row software[] = {ROW(8, 8, 8, F16, F16)};

#define CHOOSE(table, dtype)                                                   \
    gpu_coop_choose(table, sizeof table / sizeof table[0], dtype,              \
                    GPU_COOP_KHR, 32)

static void expect_size(gpu_coop got, uint32_t m, uint32_t n, uint32_t k)
{
    assert_int_equal(got.kind, GPU_COOP_KHR);
    assert_int_equal(got.subgroup, 32);
    assert_int_equal(got.m, m);
    assert_int_equal(got.n, n);
    assert_int_equal(got.k, k);
}

static void the_largest_size_with_sums_in_f32_is_chosen(void **state)
{
    (void)state;
    expect_size(CHOOSE(rdna3, TN_F16), 16, 16, 16);
    expect_size(CHOOSE(rdna3, TN_BF16), 16, 16, 16);
    expect_size(CHOOSE(nvidia, TN_F16), 16, 16, 16);
    expect_size(CHOOSE(intel, TN_F16), 8, 16, 16);
}

static void without_a_size_that_fits_the_plain_kernel_stays(void **state)
{
    (void)state;
    static const gpu_coop_row odd[] = {ROW(24, 16, 16, F16, F32),
                                       ROW(16, 16, 64, F16, F32),
                                       ROW(64, 16, 16, F16, F32)};
    gpu_coop_row wide[] = {ROW(16, 16, 16, F16, F32)};
    wide[0].of_subgroup = 0; /* the scope is the workgroup */
    assert_int_equal(CHOOSE(nvidia, TN_BF16).kind, GPU_COOP_NONE);
    assert_int_equal(CHOOSE(software, TN_F16).kind, GPU_COOP_NONE);
    assert_int_equal(CHOOSE(odd, TN_F16).kind, GPU_COOP_NONE);
    assert_int_equal(CHOOSE(wide, TN_F16).kind, GPU_COOP_NONE);
    assert_int_equal(gpu_coop_choose(NULL, 0, TN_F16, GPU_COOP_KHR, 32).kind,
                     GPU_COOP_NONE);
}

/* ---- modules ---- */

static const uint32_t source[] = {
#include "kernels/spirv/matmul_coop.inc"
};
enum { SOURCE_WORDS = sizeof source / sizeof source[0] };

/* How many instructions have this opcode, and of them, `value` as operand
 * `operand` (0: whatever it is). */
static uint32_t count_of(const uint32_t *words, uint32_t count, uint32_t opcode,
                         uint32_t operand, uint32_t value)
{
    uint32_t found = 0;
    for (uint32_t i = 5; i < count; i += words[i] >> 16)
        found += (words[i] & 0xffff) == opcode &&
                 (!operand || words[i + operand] == value);
    return found;
}

/* spirv-val's exit status; it must know the extension. */
static int validate(const uint32_t *words, uint32_t count)
{
    char path[] = "/tmp/tenon_coop_XXXXXX", command[128];
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, words, 4u * count), 4u * count);
    close(file);
    snprintf(command, sizeof command,
             "spirv-val --target-env vulkan1.2 %s 2>/dev/null", path);
    const int answer = system(command);
    unlink(path);
    return answer;
}

/* The year of the installed spirv-val; 0: none. */
static int year_of_validator(void)
{
    int year = 0;
    FILE *from = popen("spirv-val --version 2>/dev/null", "r");
    if (from && fscanf(from, "SPIRV-Tools v%d", &year) != 1)
        year = 0;
    if (from)
        pclose(from);
    return year;
}

static void the_first_extension_and_f16_change_nothing(void **state)
{
    (void)state;
    uint32_t count;
    uint32_t *words =
        gpu_coop_rewrite(source, SOURCE_WORDS, GPU_COOP_NV, TN_F16, &count);
    assert_int_equal(count, SOURCE_WORDS);
    assert_memory_equal(words + 5, source + 5, 4u * (count - 5));
    if (year_of_validator())
        assert_int_equal(validate(words, count), 0);
    free(words);
}

/* Of the second extension: its capability and no other, as many instructions
 * of each kind, types for a, b and sums, one layout for each load. */
static void expect_khr(tn_dtype dtype)
{
    uint32_t count;
    uint32_t *words =
        gpu_coop_rewrite(source, SOURCE_WORDS, GPU_COOP_KHR, dtype, &count);
    assert_non_null(words);
    for (uint32_t op = 5357; op <= 5362; op++)
        assert_int_equal(count_of(words, count, op, 0, 0), 0);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(count_of(words, count, 4456 + i, 0, 0),
                         count_of(source, SOURCE_WORDS, 5358 + i, 0, 0));
    assert_int_equal(count_of(words, count, 17, 1, 6022), 1);
    assert_int_equal(count_of(words, count, 17, 1, 5357), 0);
    const uint32_t zero = source[3]; /* the first new id: the constant 0 */
    for (uint32_t use = 0; use < 3; use++) {
        assert_int_equal(count_of(words, count, 43, 2, zero + use), 1);
        assert_int_equal(count_of(words, count, 4456, 6, zero + use), 1);
    }
    assert_int_equal(count_of(words, count, 4457, 4, zero), 1);
    assert_int_equal(count_of(words, count, 4457, 4, zero + 1), 1);
    assert_int_equal(count_of(words, count, 4458, 3, zero), 1);
    assert_int_equal(count_of(words, count, 17, 1, 5116), dtype == TN_BF16);
    assert_int_equal(count_of(words, count, 17, 1, 9), dtype == TN_F16);
    if (year_of_validator() > 2025) /* it knows these extensions */
        assert_int_equal(validate(words, count), 0);
    free(words);
}

static void the_second_extension_says_the_same_in_its_words(void **state)
{
    (void)state;
    expect_khr(TN_F16);
    expect_khr(TN_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_size_with_sums_in_f32_is_chosen),
        cmocka_unit_test(without_a_size_that_fits_the_plain_kernel_stays),
        cmocka_unit_test(the_first_extension_and_f16_change_nothing),
        cmocka_unit_test(the_second_extension_says_the_same_in_its_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
