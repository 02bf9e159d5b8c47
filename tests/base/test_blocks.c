/*
 * test_blocks.c - weights in 8 and 4 bits against ggml's own package.
 */
#include "tn_test.h"

#include <math.h>
#include <stdlib.h>

#include "../golden/blocks.h"
#include "base/blocks.h"

enum { MANY = 64 * 256 };

static void eight_bits_are_those_of_ggml(void **state)
{
    enum { COUNT = sizeof golden_floats / sizeof *golden_floats };
    float x[COUNT], y[COUNT];
    uint8_t made[sizeof golden_q8_0];
    (void)state;
    memcpy(x, golden_floats, sizeof x);
    assert_int_equal(tn_dtype_span(TN_Q8_0, COUNT), sizeof made);
    tni_blocks_encode(TN_Q8_0, x, COUNT, made);
    assert_memory_equal(made, golden_q8_0, sizeof made);
    tni_blocks_decode(TN_Q8_0, made, COUNT, y);
    for (int i = 0; i < 32; i++) /* half of a 127th of the largest */
        assert_true(fabsf(y[i] - x[i]) <= 3.0f / 250.0f);
}

static void four_bits_are_read_as_ggml_reads_them(void **state)
{
    float y[512];
    (void)state;
    assert_int_equal(tn_dtype_span(TN_Q4_K, 512), sizeof golden_q4_k);
    tni_blocks_decode(TN_Q4_K, golden_q4_k, 512, y);
    assert_memory_equal(y, golden_q4_k_floats, sizeof y);
}

static float draw(uint32_t *x)
{
    float sum = 0.0f;
    for (int i = 0; i < 4; i++) {
        *x = *x * 1664525u + 1013904223u;
        sum += (float)(*x >> 8) / 0x1p24f - 0.5f;
    }
    return sum; /* nearly normal */
}

static double error_of(const float *x, const float *y, int64_t n)
{
    double sum = 0.0, size = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double off = (double)y[i] - (double)x[i];
        sum += off * off;
        size += (double)x[i] * (double)x[i];
    }
    return sqrt(sum / size);
}

/* Sixteen steps from the least to the largest number of 32, in full precision:
 * what one does who does not choose. */
static void take_even_steps(const float *x, float *y, int64_t n)
{
    for (int64_t at = 0; at < n; at += 32) {
        float low = 0.0f, high = 0.0f;
        for (int i = 0; i < 32; i++) {
            low = fminf(low, x[at + i]);
            high = fmaxf(high, x[at + i]);
        }
        const float step = (high - low) / 15.0f;
        for (int i = 0; i < 32; i++)
            y[at + i] = low + step * roundf((x[at + i] - low) / step);
    }
}

static void four_bits_are_chosen_well(void **state)
{
    float *x = malloc(MANY * sizeof *x), *y = malloc(MANY * sizeof *y);
    void *blocks = malloc((size_t)tn_dtype_span(TN_Q4_K, MANY));
    uint32_t seed = 1;
    (void)state;
    for (int i = 0; i < MANY; i++)
        x[i] = draw(&seed) * expf((float)(i / 256 % 5) - 3.0f);
    take_even_steps(x, y, MANY);
    const double even = error_of(x, y, MANY);
    tni_blocks_encode(TN_Q4_K, x, MANY, blocks);
    tni_blocks_decode(TN_Q4_K, blocks, MANY, y);
    const double chosen = error_of(x, y, MANY);
    if (!(chosen < 0.97 * even)) {
        print_error("error %g, even steps make %g\n", chosen, even);
        fail();
    }
    free(x);
    free(y);
    free(blocks);
}

static void constants_and_zeros_stay(void **state)
{
    float x[256], y[256];
    tn_q4_k block;
    (void)state;
    for (int i = 0; i < 256; i++)
        x[i] = i < 128 ? 0.0f : -1.5f;
    tni_blocks_encode(TN_Q4_K, x, 256, &block);
    tni_blocks_decode(TN_Q4_K, &block, 256, y);
    tn_assert_close(y, x, 256, 1e-3, 0);
    memset(x, 0, sizeof x);
    tni_blocks_encode(TN_Q4_K, x, 256, &block);
    tni_blocks_decode(TN_Q4_K, &block, 256, y);
    assert_memory_equal(x, y, sizeof x);
}

static void halves_come_back(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x10000u; half++) {
        const float value = tn_float_of_half((uint16_t)half);
        const int is_nan = (half & 0x7fffu) > 0x7c00u;
        assert_int_equal(isnan(value) != 0, is_nan);
        if (!is_nan)
            assert_int_equal(tni_half_of_float(value), half);
    }
}

static void halves_are_the_nearest(void **state)
{
    static const struct {
        float value;
        uint16_t half;
    } cases[] = {
        {1.0f, 0x3c00},
        {-2.0f, 0xc000},
        {65519.0f, 0x7bff},
        {65520.0f, 0x7c00},
        {0x1p-24f, 1},
        {0x1p-25f, 0},
        {0x1.8p-24f, 2},
        {1.0f + 0x1p-11f, 0x3c00},
        {1.0f + 0x1.8p-10f, 0x3c02},
        {-0x1p-14f, 0x8400},
        {0x1.ffep-15f, 0x0400},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(tni_half_of_float(cases[i].value), cases[i].half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_bits_are_those_of_ggml),
        cmocka_unit_test(four_bits_are_read_as_ggml_reads_them),
        cmocka_unit_test(four_bits_are_chosen_well),
        cmocka_unit_test(constants_and_zeros_stay),
        cmocka_unit_test(halves_come_back),
        cmocka_unit_test(halves_are_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
