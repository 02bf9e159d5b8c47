/*
 * test_memory.c - what `tenon plan` says of memory is what the system says.
 */
#include <jansson.h>

#include "program.h"

#include <tenon/plugin.h>

static const char config[] =
    "backend: cpu\n"
    "tokenizer: byte\n"
    "model:\n"
    "  vocab_size: 8192\n"
    "  hidden_size: 128\n"
    "  max_seq_len: 128\n"
    "  layers:\n"
    "    - {arch: transformer, repeat: 3, num_heads: 4, num_kv_heads: 2,\n"
    "       intermediate_size: 384}\n"
    "data:\n"
    "  train: {plugin: text_file, path: text.txt, split: [0, 0.8]}\n"
    "  val: {plugin: text_file, path: text.txt, split: [0.8, 1]}\n"
    "optimizer: {plugin: adamw, lr: 1.0e-3}\n"
    "train: {max_steps: 3, batch_size: 8, seq_len: 128, eval_batches: 1}\n"
    "checkpoint: {dir: run}\n";

static double planned(const program *p)
{
    json_t *said = json_loads(p->out, 0, NULL);
    assert_non_null(said);
    const double bytes =
        json_number_value(json_object_get(said, "total_bytes"));
    json_decref(said);
    return bytes;
}

/* Arenas, the kernels' scratch, the program; and nothing else that grows with
 * the model: not in a step, not where a checkpoint is written or read. */
static void expect_planned(program *p)
{
    assert_int_equal(RUN(p, "plan", "m.yaml", "--json"), 0);
    const double plan = planned(p);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(RUN(p, "train", "-f", "m.yaml", "--headless",
                             "--resume", "auto", "--max-steps",
                             again ? "5" : "3"),
                         0);
        const double resident = (double)p->usage.ru_maxrss * 1024.0;
        if (!(fabs(resident - plan) <= 0.05 * plan)) {
            print_error("the plan says %.1f MiB, %.1f were resident\n",
                        plan / 0x1p20, resident / 0x1p20);
            fail();
        }
    }
}

static void the_peak_is_the_plans(void **state)
{
    if (strcmp(TN_ABI_ASAN, "1") == 0) {
        print_message("AddressSanitizer keeps memory of its own\n");
        skip();
    }
    program *p = *state;
    program_write(p, "m.yaml", config);
    expect_planned(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROGRAM(the_peak_is_the_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
