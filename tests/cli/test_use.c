/*
 * test_use.c - plan, generate, logits and curve from outside.
 */
#include "program.h"

#include <jansson.h>

static const char model_only[] =
    "backend: reference\n"
    "model: {vocab_size: 50, hidden_size: 8, max_seq_len: 16,\n"
    "  layers: [{arch: transformer, num_heads: 2, intermediate_size: 16}]}\n";

static void plan_needs_only_a_model(void **state)
{
    program *p = *state;
    program_write(p, "m.yaml", model_only);
    assert_int_equal(RUN(p, "plan", "m.yaml"), 0);
    assert_non_null(strstr(p->out, "parameters"));
    assert_int_equal(RUN(p, "plan", "m.yaml", "--json"), 0);
    json_t *root = json_loads(p->out, 0, NULL);
    assert_true(json_is_object(root));
    /* embedding and head 2*50*8; attention 4*8*8; mlp 3*8*16; norms 3*8 */
    assert_int_equal(json_integer_value(json_object_get(root, "parameters")),
                     800 + 256 + 384 + 24);
    assert_true(json_real_value(json_object_get(
                    root, "forward_flops_per_token")) > 2 * (400 + 256 + 384));
    json_decref(root);
    assert_int_equal(RUN(p, "plan"), 1);
    assert_int_equal(RUN(p, "plan", "a", "b"), 2);
}

static void logits_of_a_checkpoint_and_of_its_weights_agree(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "2"), 0);
    assert_int_equal(
        RUN(p, "logits", "-m", "run", "--tokens", "1,2,3", "-o", "a.npy"), 0);
    assert_int_equal(RUN(p, "logits", "-f", "c.yaml", "--weights",
                         "run/step-00000002/model.safetensors", "--tokens",
                         "1,2,3", "-o", "b.npy"),
                     0);
    assert_true(program_same(p, "a.npy", "b.npy"));
    assert_int_equal(RUN(p, "logits", "-m", "run", "--tokens", "1,2,x"), 1);
    assert_non_null(strstr(p->err, "\"x\" is not a token"));
    assert_int_equal(RUN(p, "logits", "-m", "run", "--tokens", "1,999"), 1);
    assert_non_null(strstr(p->err, "999"));
    assert_int_equal(RUN(p, "logits", "-m", "run"), 1);
    assert_int_equal(RUN(p, "logits", "--tokens", "1"), 1);
    assert_non_null(strstr(p->err, "-m FOLDER"));
}

static void generate_repeats_itself_for_a_seed(void **state)
{
    program *p = *state;
    char first[sizeof p->out];
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "2"), 0);
    assert_int_equal(RUN(p, "generate", "-m", "run", "-p", "3 times",
                         "--max-tokens", "20", "--seed", "9"),
                     0);
    assert_memory_equal(p->out, "3 times", 7);
    memcpy(first, p->out, sizeof first);
    assert_int_equal(RUN(p, "generate", "-m", "run/step-00000002", "-p",
                         "3 times", "--max-tokens", "20", "--seed", "9"),
                     0);
    assert_string_equal(p->out, first);
    assert_int_equal(RUN(p, "generate", "-m", "run", "-p", "3 times",
                         "--max-tokens", "20", "--seed", "10"),
                     0);
    assert_true(strcmp(p->out, first) != 0);
    assert_int_equal(RUN(p, "generate", "-m", "nowhere", "-p", "x"), 1);
    assert_non_null(strstr(p->err, "nowhere"));
    assert_int_equal(RUN(p, "generate", "-m", "run", "-p", "x", "--top-p", "2"),
                     1);
    assert_non_null(strstr(p->err, "top-p 2"));
    assert_string_equal(p->out, ""); /* nor the prompt */
    /* as many as it takes; the sum with the prompt is no number */
    assert_int_equal(RUN(p, "generate", "-m", "run", "-p", "3 times",
                         "--max-tokens", "9223372036854775807", "--stop", " ",
                         "--seed", "9"),
                     0);
}

/* Also where the weights are 8 bits; rows of 32 are whole blocks. */
static void several_samples_are_those_of_their_seeds(void **state)
{
    program *p = *state;
    char expected[3 * 1024];
    size_t used = 0;
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "2",
                         "--set", "model.hidden_size=32", "--set",
                         "precision=f64"),
                     0);
    for (int seed = 4; seed < 7; seed++) {
        char text[12];
        snprintf(text, sizeof text, "%d", seed);
        assert_int_equal(RUN(p, "generate", "-m", "run", "-p", "3 times",
                             "--max-tokens", "12", "--quantize", "q8_0",
                             "--seed", text),
                         0);
        used += (size_t)snprintf(expected + used, sizeof expected - used,
                                 "%s%s", seed > 4 ? "---\n" : "", p->out);
    }
    assert_int_equal(RUN(p, "generate", "-m", "run", "-p", "3 times",
                         "--max-tokens", "12", "--quantize", "q8_0", "--seed",
                         "4", "--samples", "3"),
                     0);
    assert_string_equal(p->out, expected);
    assert_int_equal(
        RUN(p, "generate", "-m", "run", "-p", "x", "--samples", "65"), 2);
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--set", "quantize=q8_0",
                         "--set", "checkpoint.dir=other"),
                     1);
    assert_non_null(strstr(p->err, "no gradient"));
}

static void the_curve_of_a_run_fits_a_terminal(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "curve", "."), 1);
    assert_int_equal(RUN(p, "train", "-f", "c.yaml"), 0);
    assert_int_equal(RUN(p, "curve", "run", "--rows", "8"), 0);
    assert_non_null(strstr(p->out, "12 steps"));
    assert_non_null(strstr(p->out, "validation"));
    assert_int_equal(RUN(p, "curve"), 2);
}

/* A number in (0, most] under a key. */
static void share_of(const json_t *object, const char *key, double most)
{
    const double value = json_number_value(json_object_get(object, key));
    if (!(value > 0 && value <= most))
        fail_msg("%s is %g", key, value);
}

static void bench_reports_fractions_of_measured_limits(void **state)
{
    program *p = *state;
    if (RUN(p, "plan", "c.yaml", "--backend", "cpu") != 0)
        skip(); /* this machine has no AVX2 */
    assert_int_equal(
        RUN(p, "bench", "-f", "c.yaml", "--backend", "cpu", "--json"), 0);
    json_t *root = json_loads(p->out, 0, NULL);
    assert_true(json_is_object(root));
    share_of(root, "gemm_flops_per_second", 1e15);
    share_of(root, "memory_bytes_per_second", 1e13);
    share_of(json_object_get(root, "train"), "of_gemm", 1.0);
    share_of(json_object_get(root, "train"), "tokens_per_second", 1e9);
    const json_t *op = json_array_get(
        json_object_get(json_object_get(root, "train"), "ops"), 0);
    share_of(op, "seconds", 60);
    share_of(op, "bytes", 1e9);
    share_of(root, "read_bytes_per_second", 1e13);
    const json_t *decode = json_object_get(root, "decode");
    share_of(decode, "tokens_per_second", 1e9);
    share_of(decode, "bytes", 1e9);
    share_of(decode, "read_bytes_per_second", 1e13);
    share_of(decode, "of_memory", 1.0);
    op = json_array_get(json_object_get(decode, "ops"), 0);
    share_of(op, "seconds", 60);
    json_decref(root);
    assert_int_equal(RUN(p, "bench", "gem"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROGRAM(plan_needs_only_a_model),
        WITH_PROGRAM(logits_of_a_checkpoint_and_of_its_weights_agree),
        WITH_PROGRAM(generate_repeats_itself_for_a_seed),
        WITH_PROGRAM(several_samples_are_those_of_their_seeds),
        WITH_PROGRAM(the_curve_of_a_run_fits_a_terminal),
        WITH_PROGRAM(bench_reports_fractions_of_measured_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
