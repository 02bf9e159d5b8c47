/*
 * test_emit.c - modules that the emitters make are SPIR-V, by spirv-val's word,
 * whatever the program, the shape and the device's traits. What they compute is
 * tests/conformance's to judge.
 */
#include "tn_test.h"

#include <unistd.h>

#include "emit.h"

static int has_validator(void)
{
    return system("command -v spirv-val >/dev/null 2>&1") == 0;
}

/* Takes the words. */
static void expect_valid(uint32_t *words, uint32_t count, const char *what)
{
    char path[] = "/tmp/tenon_emit_XXXXXX", command[128];
    assert_non_null(words);
    assert_int_equal(words[0], 0x07230203);
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, words, 4u * count), 4u * count);
    close(file);
    free(words);
    snprintf(command, sizeof command, "spirv-val --target-env vulkan1.2 %s",
             path);
    const int answer = has_validator() ? system(command) : 0;
    unlink(path);
    if (answer)
        print_error("%s: spirv-val refuses it\n", what);
    assert_int_equal(answer, 0);
}

/* ---- programs ---- */

/* Three inputs, then every instruction of map.def that has operands, each of
 * the inputs, in one program after the other. */
static void add_instruction(tn_program *p, tn_map_op op, uint8_t a, uint8_t b)
{
    p->instruction[p->instruction_count++] = (tn_instruction){op, a, b, 2};
}

static tn_program program_of(tn_map_op op)
{
    tn_program p;
    memset(&p, 0, sizeof p);
    for (uint8_t i = 0; i < 3; i++)
        add_instruction(&p, TN_MAP_INPUT, i, 0);
    add_instruction(&p, op, op == TN_MAP_RANDOM ? 3 : 1, 0);
    add_instruction(&p, TN_MAP_ADD, 0, 3);
    p.input_count = 4;
    p.output_count = 1;
    p.output[0] = 4;
    p.constant[0] = 7.0;
    p.constant[1] = 0.5;
    p.constant_count = 2;
    return p;
}

/* Dense, transposed, broadcast; wide: more elements than 32 bits count. */
static gpu_map_spec spec_of(tn_program p, int wide, uint32_t traits)
{
    const int64_t rows = wide ? (int64_t)1 << 20 : 6, columns = wide ? 8192 : 7;
    gpu_map_spec s = {.rank = 3,
                      .in_count = 4,
                      .out_count = 1,
                      .keeps_nan = traits & 1u,
                      .fuses = traits >> 1 & 1u,
                      .divides = traits >> 2 & 1u,
                      .shape = {2, rows, columns},
                      .program = p};
    s.in[0] = (gpu_view){TN_F32, {rows * columns, columns, 1}};
    s.in[1] = (gpu_view){TN_F32, {rows * columns, 1, rows}};
    s.in[2] = (gpu_view){TN_I32, {0, 0, 1}};
    s.in[3] = (gpu_view){TN_I32, {0, 0, 0}};
    s.out[0] = s.in[0];
    return s;
}

static void every_instruction_makes_a_valid_module(void **state)
{
    (void)state;
    uint32_t count;
#define XX(NAME, number, arity, text, meaning)                                 \
    for (uint32_t traits = 0; traits < 8; traits++) {                          \
        const gpu_map_spec s = spec_of(program_of(number), 0, traits);         \
        uint32_t *words = gpu_emit_map(&s, &count);                            \
        expect_valid(words, count, text);                                      \
    }
#include <tenon/map.def>
#undef XX
}

static uint32_t divisions_of(const gpu_map_spec *s)
{
    uint32_t count, found = 0;
    uint32_t *words = gpu_emit_map(s, &count);
    assert_non_null(words);
    for (uint32_t i = 5; i < count; i += words[i] >> 16)
        found += (words[i] & 0xffffu) == SPV_F_DIV;
    free(words);
    return found;
}

/* A quotient's correction divides once more. Only software devices go without:
 * there are GPUs whose fma does not fuse and whose division is 2.5 ulp. */
static void quotients_stay_as_they_are_on_software_devices_alone(void **state)
{
    (void)state;
    for (uint32_t traits = 0; traits < 8; traits++) {
        const gpu_map_spec quotient =
            spec_of(program_of(TN_MAP_DIV), 0, traits);
        const gpu_map_spec root = spec_of(program_of(TN_MAP_SQRT), 0, traits);
        assert_int_equal(divisions_of(&quotient), traits & 4 ? 1 : 2);
        assert_int_equal(divisions_of(&root), traits & 4 ? 0 : 1);
    }
}

static void indices_of_64_bits_make_valid_modules(void **state)
{
    (void)state;
    static const tn_map_op ops[] = {TN_MAP_ADD, TN_MAP_INDEX, TN_MAP_RANDOM};
    uint32_t count;
    for (int i = 0; i < 3; i++) {
        const gpu_map_spec s = spec_of(program_of(ops[i]), 1, 3);
        uint32_t *words = gpu_emit_map(&s, &count);
        expect_valid(words, count, "wide");
    }
}

static void moves_and_integers_make_valid_modules(void **state)
{
    (void)state;
    uint32_t count;
    gpu_map_spec s = spec_of(program_of(TN_MAP_ADD), 0, 3);
    s.out[0].dtype = TN_I32;
    uint32_t *words = gpu_emit_map(&s, &count);
    expect_valid(words, count, "to integer");
    s.program.instruction_count = 0;
    s.in_count = 1;
    words = gpu_emit_map(&s, &count);
    expect_valid(words, count, "move");
    s.in[0].dtype = s.out[0].dtype = TN_BF16;
    words = gpu_emit_map(&s, &count);
    expect_valid(words, count, "move of two bytes");
    s.out[0] = (gpu_view){TN_F32, {42, 7, 1}};
    words = gpu_emit_gather(&s, 1000, &count);
    expect_valid(words, count, "gather");
    words = gpu_emit_gather(&s, (int64_t)1 << 28, &count);
    expect_valid(words, count, "gather from a large table");
}

/* Each dtype read and written by maps and reductions, with both widths of
 * indices. */
static void elements_of_two_bytes_make_valid_modules(void **state)
{
    (void)state;
    static const tn_dtype dtypes[] = {TN_F32, TN_BF16, TN_F16, TN_I32};
    uint32_t count;
    for (int i = 0; i < 32; i++) {
        gpu_reduce_spec s = {.map = spec_of(program_of(TN_MAP_EXP), i / 16, 3),
                             .axes = 4,
                             .kind = TN_REDUCE_SUM,
                             .accumulate = 1,
                             .columns = 8,
                             .lanes = 32,
                             .splits = 1};
        s.map.in[1].dtype = dtypes[i % 4];
        s.map.out[0].dtype = dtypes[i / 4 % 4];
        uint32_t *words = gpu_emit_map(&s.map, &count);
        expect_valid(words, count, "map of two bytes");
        words = gpu_emit_reduce(&s, &count);
        expect_valid(words, count, "reduction of two bytes");
    }
}

static void every_way_to_reduce_makes_a_valid_module(void **state)
{
    (void)state;
    uint32_t count;
    for (uint32_t i = 0; i < 8u * 3u * 8u; i++) {
        const uint32_t lanes = 1u << i % 8 << (i % 8 == 7);
        gpu_reduce_spec s = {
            .map = spec_of(program_of(i & 1 ? TN_MAP_RANDOM : TN_MAP_INDEX),
                           i % 5 == 4, 3),
            .axes = i / 24,
            .kind = 1 + i / 8 % 3,
            .accumulate = i % 3 == 1,
            .lanes = lanes,
            .columns = GPU_LOCAL_SIZE / lanes,
            .splits = 1 + i % 4,
            .by_rows = i % 2};
        s.map.program.output[0] = 3;
        uint32_t *words = gpu_emit_reduce(&s, &count);
        expect_valid(words, count, "reduce");
    }
}

int main(void)
{
    if (!has_validator())
        print_message("spirv-val is not installed: only the making is tried\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_makes_a_valid_module),
        cmocka_unit_test(quotients_stay_as_they_are_on_software_devices_alone),
        cmocka_unit_test(indices_of_64_bits_make_valid_modules),
        cmocka_unit_test(moves_and_integers_make_valid_modules),
        cmocka_unit_test(elements_of_two_bytes_make_valid_modules),
        cmocka_unit_test(every_way_to_reduce_makes_a_valid_module),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
