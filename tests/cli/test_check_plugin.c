/*
 * test_check_plugin.c - good plugins pass, and every fault is found.
 *
 * fixtures/faulty.c has one fault per component: the check that looks for it
 * must fail, and checks that have nothing to do with it must not.
 */
#include "support_cli.h"

/* What is said of one component: from its heading to the next. */
static const char *part_about(const said *s, const char *heading)
{
    static char part[SAID_BYTES];
    char start[128];
    snprintf(start, sizeof start, "\n%s\n", heading);
    const char *from = strstr(s->out, start);
    if (!from) {
        fail_msg("nothing is said about %s:\n%s", heading, s->out);
        return "";
    }
    const char *to = strstr(from + 1, "\n\n");
    snprintf(part, sizeof part, "%.*s",
             (int)(to ? to - from : (ptrdiff_t)strlen(from)), from);
    return part;
}

static uint32_t count_of(const char *text, const char *word)
{
    uint32_t count = 0;
    for (; (text = strstr(text, word)); text++)
        count++;
    return count;
}

typedef struct expectation {
    const char *component;
    uint32_t failures;
    const char *check, *why;
} expectation;

static const expectation faults[] = {
    {"arch future", 4, "fail  sees no later token",
     "which comes after it: the layer is not causal"},
    {"arch future", 4, "fail  decodes token by token", "at position 0"},
    {"arch mixing", 2, "fail  sees no later token", "sequences mix"},
    {"arch frozen", 1, "fail  lets gradient reach",
     "no gradient reaches model.layers.0.router.weight"},
    {"arch held", 0, "skip  has the gradient", "stops a gradient"},
    {"arch rounding", 0, "ok    keeps the documents of a row apart", ""},
    {"arch forgetful", 3, "fail  decodes token by token", "at position 1"},
    {"arch stained", 1, "fail  lets padded rows leave no trace",
     "at position 3"},
    {"arch forgetful", 3, "fail  decodes on from a prompt", "at position 5"},
    {"arch leaky", 1, "fail  keeps the documents of a row apart",
     "position 5, of a document that begins at 5, sees the one before it"},
    {"arch crash", 8, "fail  describes a training step", "crashed (signal 11)"},
    {"arch misfit", 7, "fail  describes a training step", "faulty.c:"},
    {"arch slope", 1, "fail  has the gradient", "its gradient says"},
    {"optimizer uphill", 1, "fail  steps against the gradient",
     "goes up the gradient"},
    {"optimizer secret", 2, "fail  resumes from its saved state",
     "something is kept that is no"},
    {"optimizer infinite", 1, "fail  describes a step that runs",
     "after 6 steps"},
    {"optimizer scaled", 1, "fail  works element by element",
     "slots are cut as the core likes"},
    {"dataset wild", 2, "fail  hands out tokens and targets",
     "batch 0, row 0, target 3 is 256"},
    {"dataset amnesia", 1, "fail  goes on where a saved cursor",
     "batch 1 differs after resuming at batch 1"},
    {"schedule ramp", 3, "fail  gives finite multipliers",
     "step 0 of 1 has the multiplier"},
    {"schedule ramp", 3, "fail  says in one line", "ends in a full stop"},
    {"schedule ramp", 3, "fail  explains every option", "lr has no help"},
    {"tokenizer lossy", 2, "fail  gives every text back", "does not come back"},
    {"tokenizer lossy", 2, "fail  refuses ids outside", "accepts an id"},
    {"communicator doubling", 2, "fail  says what there is", "one line is"},
    {"communicator doubling", 2, "fail  alone, is one of one",
     "is not what the process has"},
};

static void every_fault_is_found_by_its_check(void **state)
{
    (void)state;
    const said *s = tenon("check-plugin", at(TEST_FIXTURES, "faulty.so"), NULL);
    assert_status(s, 1);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const expectation *f = &faults[i];
        const char *part = part_about(s, f->component);
        const char *line = strstr(part, f->check);
        if (!line || !strstr(line, f->why) ||
            count_of(part, "  fail  ") != f->failures)
            fail_msg("want '%s' because '%s', and %u failures:%s", f->check,
                     f->why, f->failures, part);
    }
}

static void a_kernel_that_ignores_strides_is_found(void **state)
{
    (void)state;
    const said *s =
        tenon("check-plugin", at(TEST_FIXTURES, "careless.so"), NULL);
    assert_status(s, 1);
    const char *part = part_about(s, "backend template");
    assert_non_null(strstr(part, "fail  computes copy as the oracle does"));
    assert_non_null(strstr(part, "the oracle says"));
    assert_non_null(strstr(part, "ok    computes fill as the oracle does"));
    assert_int_equal(count_of(part, "  fail  "), 1);
}

static void what_tenon_ships_passes(void **state)
{
    (void)state;
    static const char *const files[] = {
        "tenon-arch-transformer.so", "tenon-optimizer-adamw.so",
        "tenon-tokenizer-byte.so",   "tenon-schedule-wsd.so",
        "tenon-backend-cpu.so",      "tenon-backend-reference.so"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const said *s = tenon("check-plugin",
                              at(getenv("TENON_PLUGIN_PATH"), files[i]), NULL);
        assert_status(s, 0);
        assert_out(s, " 0 failed, 0 skipped");
    }
}

static void templates_pass_as_they_lie(void **state)
{
    (void)state;
    static const char *const kinds[] = {"arch", "optimizer", "dataset",
                                        "schedule", "backend"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char file[64], heading[64];
        snprintf(file, sizeof file, "template_%s.so", kinds[i]);
        snprintf(heading, sizeof heading, "%s template", kinds[i]);
        const said *s = tenon("check-plugin", at(TEST_FIXTURES, file), NULL);
        assert_status(s, 0);
        assert_int_equal(count_of(part_about(s, heading), "  fail  "), 0);
    }
}

static void a_dataset_is_checked_with_the_options_given(void **state)
{
    (void)state;
    char set[600];
    const char *plugin =
        at(getenv("TENON_PLUGIN_PATH"), "tenon-dataset-text_file.so");
    const said *s = tenon("check-plugin", plugin, NULL);
    assert_status(s, 0);
    assert_out(s, "3 skipped");
    assert_out(s, "path is");
    snprintf(set, sizeof set, "path=%s/LICENSE", getenv("TENON_SOURCE"));
    s = tenon("check-plugin", plugin, "--set", set, NULL);
    assert_status(s, 0);
    assert_out(s, " 0 failed, 0 skipped");
}

static void required_options_may_be_set(void **state)
{
    (void)state;
    const char *plugin =
        at(getenv("TENON_PLUGIN_PATH"), "tenon-arch-transformer.so");
    const said *s = tenon("check-plugin", plugin, "--set", "num_heads=4",
                          "--set", "num_kv_heads=2", "--set",
                          "sliding_window=3", "--set", "qk_norm=true", NULL);
    assert_status(s, 0);
    s = tenon("check-plugin", plugin, "--set", "num_heads=5", NULL);
    assert_status(s, 1);
    assert_out(s, "hidden_size 32 is not a multiple of");
}

static void a_file_that_is_no_plugin_is_one_failure(void **state)
{
    (void)state;
    const said *s =
        tenon("check-plugin", at(getenv("TENON_SOURCE"), "LICENSE"), NULL);
    assert_status(s, 1);
    assert_out(s, "fail  opens and starts under this Tenon");
    assert_out(s, "0 passed, 1 failed");
    assert_status(tenon("check-plugin", NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_is_found_by_its_check),
        cmocka_unit_test(a_kernel_that_ignores_strides_is_found),
        cmocka_unit_test(what_tenon_ships_passes),
        cmocka_unit_test(templates_pass_as_they_lie),
        cmocka_unit_test(a_dataset_is_checked_with_the_options_given),
        cmocka_unit_test(required_options_may_be_set),
        cmocka_unit_test(a_file_that_is_no_plugin_is_one_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
