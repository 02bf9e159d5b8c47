/*
 * test_sweep.c - `sweep:` becomes runs with names, folders and --set lists.
 */
#include "run_rig.h"

#include "run/sweep.h"
#include "run/train.h"

/* The sweep of the rig's config with `text` for sweep:. */
static tn_status try_read(run_rig *rig, const char *text, tni_sweep *sweep,
                          tn_error *err)
{
    tni_yaml *root = NULL;
    const char *set = tni_arena_printf(rig->arena, "sweep=%s", text);
    TN_TRY(tni_config_load(rig->arena, rig->config, &set, 1, &root, err));
    return tni_sweep_read(rig->arena, rig->config, root, sweep, err);
}

static tni_sweep must_read(run_rig *rig, const char *text)
{
    tni_sweep sweep = {0};
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(try_read(rig, text, &sweep, &err), err);
    return sweep;
}

static void a_grid_is_every_combination(void **state)
{
    run_rig *rig = *state;
    const tni_sweep s =
        must_read(rig, "{grid: {optimizer.lr: [0.1, 0.2], seed: [1, 2, 3]}}");
    static const char *const names[] = {"lr=0.1,seed=1", "lr=0.1,seed=2",
                                        "lr=0.1,seed=3", "lr=0.2,seed=1",
                                        "lr=0.2,seed=2", "lr=0.2,seed=3"};
    assert_int_equal(s.run_count, 6);
    assert_int_equal(s.key_count, 2);
    assert_string_equal(s.keys[0], "optimizer.lr");
    for (uint32_t i = 0; i < 6; i++)
        assert_string_equal(s.runs[i].name, names[i]);
    const tni_sweep_run *fifth = &s.runs[4];
    assert_int_equal(fifth->set_count, 4);
    assert_string_equal(fifth->set[0], "optimizer.lr=0.2");
    assert_string_equal(fifth->set[1], "seed=2");
    assert_string_equal(fifth->values[0], "0.2");
    assert_string_equal(fifth->values[1], "2");
    assert_string_equal(fifth->set[2], "name='lr=0.2,seed=2'");
    assert_true(!strncmp(fifth->dir, s.dir, strlen(s.dir)));
    assert_string_equal(fifth->dir + strlen(s.dir), "/lr=0.2,seed=2");
}

static void entries_of_a_list_may_set_different_keys(void **state)
{
    run_rig *rig = *state;
    const tni_sweep s = must_read(
        rig, "{list: [{seed: 1}, {name: fast, train.max_steps: 2}], grid: "
             "{optimizer.lr: [0.5]}}");
    assert_int_equal(s.run_count, 2);
    assert_int_equal(s.key_count, 3);
    assert_string_equal(s.runs[0].name, "seed=1,lr=0.5");
    assert_string_equal(s.runs[0].values[0], "1");
    assert_string_equal(s.runs[0].values[2], "");
    assert_string_equal(s.keys[2], "train.max_steps");
    assert_string_equal(s.runs[1].name, "fast");
    assert_string_equal(s.runs[1].values[0], "");
    assert_string_equal(s.runs[1].values[2], "2");
}

/* The root of the rig's config under run `i` of the sweep. */
static tni_yaml *root_of(run_rig *rig, const tni_sweep *s, uint32_t i)
{
    tni_yaml *root = NULL;
    tn_assert_ok(tni_config_load(rig->arena, rig->config, s->runs[i].set,
                                 s->runs[i].set_count, &root, NULL));
    return root;
}

static void values_of_any_shape_survive(void **state)
{
    run_rig *rig = *state;
    const tni_sweep s = must_read(
        rig, "{name: \"{note}\", grid: {note: [\"it's: [a] list\", \"7\", "
             "null, {a: [1, {b: \"x, y\"}], c: }]}}");
    const tni_yaml *first = tni_yaml_get(root_of(rig, &s, 0), "note");
    assert_string_equal(first->scalar, "it's: [a] list");
    assert_string_equal(s.runs[0].name, "it-s-a-list");
    const tni_yaml *second = tni_yaml_get(root_of(rig, &s, 1), "note");
    assert_true(second->quoted);
    assert_string_equal(second->scalar, "7");
    assert_int_equal(tni_yaml_get(root_of(rig, &s, 2), "note")->kind,
                     TNI_YAML_NULL);
    const tni_yaml *map = tni_yaml_get(root_of(rig, &s, 3), "note");
    const tni_yaml *list = tni_yaml_get(map, "a");
    assert_int_equal(list->count, 2);
    assert_string_equal(tni_yaml_get(list->entries[1].value, "b")->scalar,
                        "x, y");
}

static void names_come_from_a_pattern(void **state)
{
    run_rig *rig = *state;
    const tni_sweep s = must_read(
        rig, "{name: \"a{seed}-lr {optimizer.lr}!\", grid: {seed: [4, 5], "
             "optimizer.lr: [1.0e-3]}}");
    assert_string_equal(s.runs[0].name, "a4-lr-1.0e-3");
    assert_string_equal(s.runs[1].name, "a5-lr-1.0e-3");
}

static void refuses(run_rig *rig, const char *text, const char *sentence)
{
    tni_sweep sweep;
    tn_error err = TN_ERROR_NONE;
    if (try_read(rig, text, &sweep, &err) == TN_OK)
        fail_msg("%s was accepted", text);
    tn_assert_error_says(err, sentence);
}

static void refuses_what_makes_no_runs(void **state)
{
    run_rig *rig = *state;
    refuses(rig, "null", "has no sweep");
    refuses(rig, "{}", "neither grid nor list");
    refuses(rig, "{gird: {seed: [1]}}", "did you mean grid");
    refuses(rig, "{grid: [1]}", "not a map");
    refuses(rig, "{grid: {seed: 1}}", "sweep.grid.seed");
    refuses(rig, "{grid: {seed: []}}", "sweep.grid.seed");
    refuses(rig, "{list: {seed: 1}}", "sweep.list");
    refuses(rig, "{list: [1]}", "sweep.list[0]");
    refuses(rig, "{grid: {extends: [a.yaml, b.yaml]}}",
            "extends cannot be swept");
    refuses(rig, "{list: [{extends: a.yaml}]}", "extends cannot be swept");
    refuses(rig, "{grid: {sweep.grid: [1]}}", "sweep.grid cannot be swept");
    refuses(rig, "{grid: {checkpoint.dir: [a, b]}}",
            "checkpoint.dir cannot be swept: it is the sweep's");
    refuses(rig, "{grid: {seed: [1, 1]}}", "two runs are called seed=1");
    refuses(rig, "{name: same, grid: {seed: [1, 2]}}", "sweep.name");
    refuses(rig, "{name: \"{sed}\", grid: {seed: [1, 2]}}", "{sed}");
    refuses(rig, "{name: \"{seed\", grid: {seed: [1, 2]}}", "{seed");
    refuses(rig, "{name: [seed], grid: {seed: [1]}}", "sweep.name");
    refuses(rig, "{name: \"..\", grid: {seed: [1]}}", "no name");
    refuses(rig, "{name: \"/\", grid: {seed: [1]}}", "no name");
}

static void a_run_is_done_where_its_folder_says_so(void **state)
{
    run_rig *rig = *state;
    tni_sweep s = must_read(rig, "{grid: {train.max_steps: [2]}}");
    tni_recipe_request request = {.path = rig->config,
                                  .set = s.runs[0].set,
                                  .set_count = s.runs[0].set_count,
                                  .needs = TNI_NEED_TRAINING};
    tni_recipe *recipe = NULL;
    int how;
    tn_assert_ok(tni_recipe_load(rig->arena, rig->registry, rig->host, &request,
                                 &recipe, NULL));
    tn_assert_ok(tni_sweep_state(recipe, &how, NULL));
    assert_int_equal(how, TNI_SWEEP_NEW);

    const tni_train_request train = {.recipe = recipe};
    tn_assert_ok(tni_train(&train, NULL));
    tn_assert_ok(tni_sweep_state(recipe, &how, NULL));
    assert_int_equal(how, TNI_SWEEP_DONE);
    assert_int_equal(tni_sweep_result_of(&s.runs[0]).step, 2);
    tn_assert_ok(tni_sweep_draw(&s, NULL));
    assert_true(tni_path_exists(tni_path_join(rig->arena, s.dir, "sweep.svg")));

    recipe->train.max_steps = 3;
    tn_assert_ok(tni_sweep_state(recipe, &how, NULL));
    assert_int_equal(how, TNI_SWEEP_CUT_OFF);
    tni_yaml_put(rig->arena, recipe->root, "seed",
                 tni_yaml_scalar(rig->arena, "99"));
    tn_assert_ok(tni_sweep_state(recipe, &how, NULL));
    assert_int_equal(how, TNI_SWEEP_OTHER);
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(a_grid_is_every_combination),
        WITH_RIG(entries_of_a_list_may_set_different_keys),
        WITH_RIG(values_of_any_shape_survive),
        WITH_RIG(names_come_from_a_pattern),
        WITH_RIG(refuses_what_makes_no_runs),
        WITH_RIG(a_run_is_done_where_its_folder_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
