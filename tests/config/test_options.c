/*
 * test_options.c - a component's options from YAML, and every way to be wrong.
 */
#include "config_rig.h"

typedef struct options {
    int32_t flag;
    int32_t mode;
    int64_t steps;
    int64_t any;
    double rate;
    double betas[2];
    const char *name;
    const char *absent;
    tn_strings words;
    const char *path;
    tn_strings paths;
} options;

static const tn_option rows[] = {
    TN_OPTION_BOOL(options, flag, 1, "a switch"),
    TN_OPTION_ENUM(options, mode, "slow|fast|fastest", 1, "how"),
    TN_OPTION_INT(options, steps, 5, 1, 1000000, "how often"),
    TN_OPTION_INT(options, any, 0, -INFINITY, INFINITY, "any integer"),
    TN_OPTION_FLOAT(options, rate, 1e-3, 0, 1, "how much"),
    TN_OPTION_FLOATS(options, betas, 2, "0.9, 0.95", 0, 1, "shares"),
    TN_OPTION_STRING(options, name, "it", "what to call it"),
    TN_OPTION_STRING(options, absent, NULL, "not given"),
    TN_OPTION_STRINGS(options, words, "some words"),
    TN_OPTION_PATH_REQUIRED(options, path, "the file to read"),
    TN_OPTION_PATHS_REQUIRED(options, paths, "the files to read"),
};
static const tn_option_table table = TN_OPTIONS(options, rows);

#define REQUIRED "path: p\npaths: q\n"

static const char *const reserved[] = {"plugin", "match", NULL};

static tn_status fill(rig *r, tni_yaml *node, options *o, tn_error *err)
{
    return tni_options_fill(r->arena, &table, node, "data.train", reserved,
                            "/base", o, err);
}

static options filled(rig *r, const char *text)
{
    options o;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(fill(r, rig_parse(r, text), &o, &err), err);
    return o;
}

static void what_is_not_written_has_its_default(void **state)
{
    rig *r = *state;
    const options o = filled(r, REQUIRED "name: null\n");
    assert_int_equal(o.flag, 1);
    assert_int_equal(o.mode, 1);
    assert_int_equal(o.steps, 5);
    assert_true(o.rate == 1e-3);
    assert_true(o.betas[0] == 0.9 && o.betas[1] == 0.95);
    assert_string_equal(o.name, "it");
    assert_null(o.absent);
    assert_int_equal(o.words.count, 0);
}

static void what_is_written_is_read(void **state)
{
    rig *r = *state;
    const options o = filled(r, "plugin: skipped\nmatch: '*'\n"
                                "flag: false\nmode: fastest\nsteps: 1_000\n"
                                "any: -9223372036854775808\n"
                                "rate: 1\nbetas: [0, 2.5e-1]\nname: '7'\n"
                                "absent: x\nwords: [a, 'b c']\n"
                                "path: /abs/p\npaths: [q, sub/r]\n");
    assert_int_equal(o.flag, 0);
    assert_int_equal(o.mode, 2);
    assert_int_equal(o.steps, 1000);
    assert_true(o.any == INT64_MIN);
    assert_true(o.rate == 1.0);
    assert_true(o.betas[0] == 0.0 && o.betas[1] == 0.25);
    assert_string_equal(o.name, "7");
    assert_string_equal(o.absent, "x");
    assert_int_equal(o.words.count, 2);
    assert_string_equal(o.words.at[1], "b c");
    assert_string_equal(o.path, "/abs/p");
    assert_int_equal(o.paths.count, 2);
    assert_string_equal(o.paths.at[0], "/base/q");
    assert_string_equal(o.paths.at[1], "/base/sub/r");
}

static void one_text_stands_for_a_list_of_one(void **state)
{
    rig *r = *state;
    const options o = filled(r, "words: alone\npath: p\npaths: q\n");
    assert_int_equal(o.words.count, 1);
    assert_string_equal(o.words.at[0], "alone");
    assert_string_equal(o.paths.at[0], "/base/q");
}

static void no_base_leaves_paths_alone(void **state)
{
    rig *r = *state;
    options o;
    tn_assert_ok(tni_options_fill(r->arena, &table, rig_parse(r, REQUIRED), "x",
                                  NULL, NULL, &o, NULL));
    assert_string_equal(o.path, "p");
}

/* Defaults included, what is written back gives the same options again. */
static void the_resolved_tree_fills_to_the_same_options(void **state)
{
    rig *r = *state;
    static const char *const texts[] = {
        REQUIRED,
        "rate: 0.1\nname: 'true'\npath: '12'\npaths: [null_, '~']\nany: -3\n"
        "words: ['1', 'null', \"\"]\nbetas: [1.0e-5, 0.3333333333333333]\n",
    };
    for (size_t i = 0; i < 2; i++) {
        tni_yaml *node = rig_parse(r, texts[i]);
        options once, twice;
        tn_assert_ok(fill(r, node, &once, NULL));
        tni_yaml *again = rig_parse(r, rig_text(r, node));
        assert_int_equal(again->count, table.count);
        tn_error err = TN_ERROR_NONE;
        tn_assert_ok_err(tni_options_fill(r->arena, &table, again, "x", NULL,
                                          "/elsewhere", &twice, &err),
                         err);
        assert_true(same_tree(node, again));
        assert_true(once.rate == twice.rate && once.any == twice.any);
        assert_memory_equal(once.betas, twice.betas, sizeof once.betas);
        assert_string_equal(once.name, twice.name);
        assert_string_equal(once.path, twice.path);
        assert_int_equal(once.words.count, twice.words.count);
        for (uint32_t w = 0; w < once.words.count; w++)
            assert_string_equal(once.words.at[w], twice.words.at[w]);
    }
}

/* Other YAML readers would take them for numbers and bools. */
static void texts_that_look_like_other_types_are_written_in_quotes(void **state)
{
    rig *r = *state;
    static const tn_option two[] = {
        TN_OPTION_STRING(options, name, "1.5", "a name"),
        TN_OPTION_STRING(options, absent, NULL, "another"),
    };
    static const tn_option_table texts = TN_OPTIONS(options, two);
    tni_yaml *node = rig_parse(r, "absent: true\n");
    options o;
    tn_assert_ok(
        tni_options_fill(r->arena, &texts, node, "x", NULL, NULL, &o, NULL));
    assert_string_equal(rig_text(r, node), "absent: \"true\"\nname: \"1.5\"\n");
}

static void nothing_written_is_all_defaults(void **state)
{
    rig *r = *state;
    static const tn_option few[] = {
        TN_OPTION_INT(options, steps, 7, 1, 10, "how often")};
    static const tn_option_table small = TN_OPTIONS(options, few);
    options o;
    tni_yaml *null = rig_parse(r, "");
    tn_assert_ok(
        tni_options_fill(r->arena, &small, NULL, "x", NULL, NULL, &o, NULL));
    assert_int_equal(o.steps, 7);
    tn_assert_ok(
        tni_options_fill(r->arena, &small, null, "x", NULL, NULL, &o, NULL));
    assert_string_equal(rig_text(r, null), "steps: 7\n");
}

static void what_is_wrong_is_said_with_its_place(void **state)
{
    rig *r = *state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"stepps: 3\n" REQUIRED,
         "a.yaml:1:1: data.train: unknown key stepps; did you mean steps?"},
        {"plugn: 3\n" REQUIRED, "did you mean plugin?"},
        {"\n  quite_else: 3\n",
         "a.yaml:2:3: data.train: unknown key quite_else; the keys are flag, "
         "mode, steps, any"},
        {"paths: q\n",
         "a.yaml:1:1: data.train: path is required: the file to read"},
        {"path: ~\npaths: q\n", "data.train: path is required"},
        {"path: p\npaths: []\n",
         "a.yaml:2:8: data.train.paths: the list is empty"},
        {"path: ''\n", "a.yaml:1:7: data.train.path: the path is empty"},
        {"path: [p]\n", "data.train.path: expected a path, not a list"},
        {"paths: {a: b}\npath: p\n", "expected a text or a list of texts, not"},
        {"steps: 0\n",
         "a.yaml:1:8: data.train.steps: 0 is outside [1, 1000000]"},
        {"steps: 3.5\n", "data.train.steps: expected a whole number, not 3.5"},
        {"steps: 1e3\n", "expected a whole number, not 1e3; write 1000"},
        {"steps: '3'\n", "not the quoted text \"3\"; drop the quotes"},
        {"steps: 0x10\n", "expected a whole number, not 0x10"},
        {"steps: 1__0\n", "expected a whole number, not 1__0"},
        {"steps: _1\n", "expected a whole number, not _1"},
        {"steps: +\n", "expected a whole number"},
        {"steps: [1]\n", "expected a whole number, not a list"},
        {"any: 9223372036854775808\n", "does not fit 64 bits"},
        {"any: -9223372036854775809\n", "does not fit 64 bits"},
        {"steps: 99999999999999999999999\n", "is outside [1, 1000000]"},
        {"rate: 1.5\n", "a.yaml:1:7: data.train.rate: 1.5 is outside [0, 1]"},
        {"rate: nan\n", "expected a number, not nan"},
        {"rate: .nan\n", "expected a number, not .nan"},
        {"rate: .inf\n", "data.train.rate: .inf is outside [0, 1]"},
        {"rate: 1e999\n", "expected a number, not 1e999"},
        {"rate: 1e\n", "expected a number, not 1e"},
        {"rate: 0x1p-1\n", "expected a number, not 0x1p-1"},
        {"rate: .\n", "expected a number, not ."},
        {"rate: {a: 1}\n", "expected a number, not a map"},
        {"betas: 0.9\n", "expected a list of 2 numbers, not 0.9"},
        {"betas: [0.9]\n", "expected a list of 2 numbers, not 1"},
        {"betas: [0.9, 2]\n", "a.yaml:1:14: data.train.betas: 2 is outside"},
        {"betas: [0.9, x]\n", "data.train.betas: expected a number, not x"},
        {"flag: yes\n", "data.train.flag: expected true or false, not yes"},
        {"flag: 1\n", "expected true or false, not 1"},
        {"flag: 'true'\n", "drop the quotes"},
        {"mode: quick\n",
         "data.train.mode: quick is not one of slow, fast, fastest"},
        {"mode: [fast]\n", "expected one of slow, fast, fastest, not a list"},
        {"name: {}\n", "data.train.name: expected a text, not a map"},
        {"[1, 2]\n", "a.yaml:1:1: data.train: expected a map of options, not"},
        {"word\n", "expected a map of options, not a single value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        options o;
        tn_error err = TN_ERROR_NONE;
        assert_int_equal(fill(r, rig_parse(r, cases[i].text), &o, &err),
                         TN_EINVALID);
        tn_assert_error_says(err, cases[i].says);
    }
}

static void one_sided_ranges_say_which_side(void **state)
{
    rig *r = *state;
    static const tn_option sides[] = {
        TN_OPTION_INT(options, steps, 1, 1, INFINITY, ""),
        TN_OPTION_FLOAT(options, rate, 0, -INFINITY, 0.5, ""),
    };
    static const tn_option_table sided = TN_OPTIONS(options, sides);
    options o;
    tn_error low = TN_ERROR_NONE, high = TN_ERROR_NONE;
    tni_options_fill(r->arena, &sided, rig_parse(r, "steps: 0\n"), "x", NULL,
                     NULL, &o, &low);
    tn_assert_error_says(low, "x.steps: 0 is below 1, the least it may be");
    tni_options_fill(r->arena, &sided, rig_parse(r, "rate: 0.6\n"), "x", NULL,
                     NULL, &o, &high);
    tn_assert_error_says(high, "x.rate: 0.6 is above 0.5, the most it may be");
}

static void an_error_after_set_says_so(void **state)
{
    rig *r = *state;
    const char *path = rig_file(r, "a.yaml", REQUIRED);
    const char *set = "rate=7";
    tni_yaml *root = NULL;
    options o;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok(tni_config_load(r->arena, path, &set, 1, &root, NULL));
    assert_int_equal(fill(r, root, &o, &err), TN_EINVALID);
    tn_assert_error_says(err, "--set: data.train.rate: 7 is outside [0, 1]");
}

/* A plugin built with other headers has shorter or longer rows. */
static void rows_are_read_at_the_plugins_own_stride(void **state)
{
    rig *r = *state;
    struct longer {
        tn_option row;
        uint64_t news[3];
    } two[2] = {{.row = TN_OPTION_INT(options, steps, 5, 1, 9, "a")},
                {.row = TN_OPTION_FLOAT(options, rate, 0.5, 0, 1, "b")}};
    const tn_option_table wide = {&two[0].row, 2, (uint32_t)sizeof two[0],
                                  (uint32_t)sizeof(options), 0};
    options o;
    tn_assert_ok(tni_options_fill(r->arena, &wide, rig_parse(r, "steps: 3\n"),
                                  "x", NULL, NULL, &o, NULL));
    assert_int_equal(o.steps, 3);
    assert_true(o.rate == 0.5);
}

static void a_kind_from_the_future_is_refused(void **state)
{
    rig *r = *state;
    static const tn_option future[] = {{.name = "x", .help = "", .kind = 77}};
    static const tn_option_table later = TN_OPTIONS(options, future);
    options o;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(
        tni_options_fill(r->arena, &later, NULL, "w", NULL, NULL, &o, &err),
        TN_EUNSUPPORTED);
    tn_assert_error_says(err, "w.x: an option of kind 77");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(what_is_not_written_has_its_default),
        RIG_TEST(what_is_written_is_read),
        RIG_TEST(one_text_stands_for_a_list_of_one),
        RIG_TEST(no_base_leaves_paths_alone),
        RIG_TEST(the_resolved_tree_fills_to_the_same_options),
        RIG_TEST(texts_that_look_like_other_types_are_written_in_quotes),
        RIG_TEST(nothing_written_is_all_defaults),
        RIG_TEST(what_is_wrong_is_said_with_its_place),
        RIG_TEST(one_sided_ranges_say_which_side),
        RIG_TEST(an_error_after_set_says_so),
        RIG_TEST(rows_are_read_at_the_plugins_own_stride),
        RIG_TEST(a_kind_from_the_future_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
