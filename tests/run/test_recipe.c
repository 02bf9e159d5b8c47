/*
 * test_recipe.c - configs become recipes, or sentences.
 */
#include "run_rig.h"

#include "graph/passes.h"

static void patterns_match_whole_names(void **state)
{
    (void)state;
    assert_true(tni_match("*", "anything"));
    assert_true(tni_match("*norm*|*bias", "model.norm.weight"));
    assert_true(tni_match("*norm*|*bias", "a.bias"));
    assert_false(tni_match("*norm*|*bias", "a.bias.b"));
    assert_false(tni_match("norm", "model.norm.weight"));
    assert_true(tni_match("a*b*c", "aXbXbYc"));
    assert_false(tni_match("a*b*c", "aXbXbY"));
    assert_true(tni_match("lm_head*|x", "lm_head.weight"));
    assert_true(tni_match("", ""));
    assert_false(tni_match("", "a"));
}

static void a_resolved_tree_reads_as_the_same_recipe(void **state)
{
    run_rig *rig = *state;
    tni_recipe *r = run_rig_recipe(rig, SET("train.grad_accum=3"));
    char path[96], *once, *twice;
    snprintf(path, sizeof path, "%s/resolved.yaml", rig->folder);
    FILE *to = fopen(path, "w");
    tn_assert_ok(tni_yaml_write(r->root, to));
    fclose(to);
    tn_assert_ok(tni_file_read(rig->arena, path, 1 << 20, &once, NULL, NULL));

    strcpy(rig->config, path);
    tni_recipe *again = run_rig_recipe(rig, NULL);
    assert_int_equal(again->train.grad_accum, 3);
    assert_int_equal(again->train.recompute, TNI_RECOMPUTE_NONE);
    assert_string_equal(again->checkpoint.dir, r->checkpoint.dir);
    to = fopen(path, "w");
    tn_assert_ok(tni_yaml_write(again->root, to));
    fclose(to);
    tn_assert_ok(tni_file_read(rig->arena, path, 1 << 20, &twice, NULL, NULL));
    assert_string_equal(once, twice);
}

static void defaults_are_what_the_manual_says(void **state)
{
    run_rig *rig = *state;
    const tni_recipe *r = run_rig_recipe(rig, SET("train={}"));
    assert_string_equal(r->name, "c");
    assert_int_equal(r->train.seq_len, 32); /* model.max_seq_len */
    assert_int_equal(r->train.grad_accum, 1);
    tn_assert_near(r->train.grad_clip, 1.0, 0);
    tn_assert_near(tni_recipe_multiplier(r, 5), 1.0, 0);
    assert_null(r->init_from);
}

static void the_first_group_that_matches_wins(void **state)
{
    run_rig *rig = *state;
    const tni_recipe *r = run_rig_recipe(
        rig, SET("optimizer=[{match: \"*norm*|*embed*\", plugin: adamw, lr: "
                 "0.1}, {match: \"*\", plugin: adamw, lr: 0.2}]"));
    uint32_t count;
    const tni_weight *w = tni_model_weights(r->model, &count);
    int64_t covered = 0;
    for (uint32_t i = 0; i < count; i++) {
        const int first =
            strstr(w[i].name, "norm") || strstr(w[i].name, "embed");
        const tni_group *g = &r->groups[r->group_of[i]];
        assert_int_equal(r->group_of[i], first ? 0 : 1);
        assert_true(w[i].offset >= g->first);
        assert_true(w[i].offset + w[i].elements <= g->first + g->elements);
        covered += w[i].elements;
    }
    assert_true(covered <= r->groups[0].elements + r->groups[1].elements);
    tn_assert_near(r->groups[0].lr, 0.1, 1e-12);
}

/* What `train` (YAML) makes the number of steps. */
static int64_t steps_of(run_rig *rig, const char *train)
{
    const char *set = tni_arena_printf(rig->arena, "train=%s", train);
    const tni_recipe_request request = {.path = rig->config,
                                        .set = &set,
                                        .set_count = 1,
                                        .needs = TNI_NEED_TRAINING};
    tni_recipe *r = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_recipe_load(rig->arena, rig->registry, rig->host,
                                     &request, &r, &err),
                     err);
    return r->train.max_steps;
}

static void epochs_end_a_run_where_the_data_does(void **state)
{
    run_rig *rig = *state;
    const int64_t once = steps_of(rig, "{epochs: 1, batch_size: 2}");
    assert_true(once > 1);
    assert_int_equal(steps_of(rig, "{epochs: 3, batch_size: 2}"), 3 * once);
    assert_int_equal(steps_of(rig, "{epochs: 3, max_steps: 2}"), 2);
    assert_int_equal(steps_of(rig, "{epochs: 1000000000, max_steps: 7}"), 7);
    assert_int_equal(steps_of(rig, "{epochs: 0, max_steps: 5}"), 5);
    assert_int_equal(steps_of(rig, "{epochs: 0}"), 1000);
    assert_int_equal(steps_of(rig, "{epochs: 1, batch_size: 1, grad_accum: 2}"),
                     once);
}

static void a_key_that_stands_alone_is_as_if_it_were_absent(void **state)
{
    run_rig *rig = *state;
    const char *dir = tni_arena_printf(rig->arena, "%s/runs/c", rig->folder);
    const tni_recipe *r = run_rig_recipe(
        rig, SET("checkpoint={dir: null, keep: 2}", "data.val=null"));
    assert_string_equal(r->checkpoint.dir, dir);
    assert_null(r->val_data.name);
    assert_int_equal(
        steps_of(rig, "{epochs: 3, batch_size: 2, max_steps: null}"),
        steps_of(rig, "{epochs: 3, batch_size: 2}"));
}

static void refuses(run_rig *rig, const char *set, const char *sentence)
{
    tni_recipe *recipe;
    tn_error err = TN_ERROR_NONE;
    if (run_rig_try(rig, SET(set), &recipe, &err) == TN_OK)
        fail_msg("%s was accepted", set);
    tn_assert_error_says(err, sentence);
}

static void refuses_with_the_fix(void **state)
{
    run_rig *rig = *state;
    refuses(rig, "trian={max_steps: 1}", "did you mean train");
    refuses(rig, "train.max_step=1", "did you mean max_steps");
    refuses(rig, "data.vall={plugin: text_file}", "did you mean val");
    refuses(rig, "train.seq_len=64", "model.max_seq_len 32");
    refuses(rig, "train.batch_size=0", "[1, ");
    refuses(rig, "train.max_steps=0", "train.epochs is 0");
    refuses(rig, "precision=f16", "f32");
    refuses(rig, "optimizer={plugin: adamw}", "lr");
    refuses(rig, "optimizer={plugin: adam, lr: 1}", "adam");
    refuses(rig, "optimizer=[]", "empty");
    refuses(rig, "optimizer={plugin: adamw, lr: 1, match: \"*norm*\"}",
            "no entry matches the parameter");
    refuses(rig, "tokenizer=[1]", "tokenizer");
    refuses(rig, "tokenizer={a: 1}", "plugin");
    refuses(rig, "backend=abacus", "abacus");
}

static void an_optimizer_of_matrices_takes_matrices_and_stacks(void **state)
{
    run_rig *rig = *state;
    static const char muon[] =
        "optimizer=[{match: \"*norm*|*embed*|lm_head*\", plugin: adamw, lr: "
        "0.1}, {match: \"*conv1d*\", plugin: muon, lr: 0.1}, {match: "
        "\"*proj*\", plugin: muon, lr: 0.1}, {match: \"*\", plugin: adamw, "
        "lr: 0.1}]";
    tni_recipe *recipe;
    tn_error err = TN_ERROR_NONE;
    refuses(rig, "optimizer={plugin: muon, lr: 0.1}",
            "which has 1 axis; match");
    /* (C, 1, 4): the taps of C channels */
    if (run_rig_try(rig,
                    SET("model.layers=[{arch: mamba2, num_heads: 4, "
                        "state_size: 5}]",
                        muon),
                    &recipe, &err) == TN_OK)
        fail_msg("taps are no matrices");
    tn_assert_error_says(err, "mamba.conv1d.weight, which has 3 axes; match");
    err = TN_ERROR_NONE;
    recipe = run_rig_recipe(
        rig, SET("model.layers=[{arch: transformer, num_heads: 2, mlp: {type: "
                 "moe, num_experts: 4, experts_per_token: 2, "
                 "intermediate_size: 9}}]",
                 muon));
    assert_int_equal(recipe->groups[2].weights, 4 + 3); /* q k v o, experts' */
}

static void only_training_asks_for_data_and_optimizer(void **state)
{
    run_rig *rig = *state;
    tni_recipe *recipe;
    tn_error err = TN_ERROR_NONE;
    run_rig_write(rig->config,
                  "model: {vocab_size: 8, hidden_size: 8, max_seq_len: 4,\n"
                  "  layers: [{arch: transformer, num_heads: 1,\n"
                  "            intermediate_size: 8}]}\n");
    const tni_recipe_request request = {.path = rig->config,
                                        .needs = TNI_NEED_TRAINING};
    run_rig_recipe(rig, NULL);
    assert_int_equal(tni_recipe_load(rig->arena, rig->registry, rig->host,
                                     &request, &recipe, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "data.train");
    tni_recipe_request alone = request;
    alone.set = SET("data={train: null}");
    alone.set_count = 1;
    assert_int_equal(tni_recipe_load(rig->arena, rig->registry, rig->host,
                                     &alone, &recipe, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "data.train: is missing");
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_whole_names),
        WITH_RIG(a_resolved_tree_reads_as_the_same_recipe),
        WITH_RIG(defaults_are_what_the_manual_says),
        WITH_RIG(the_first_group_that_matches_wins),
        WITH_RIG(epochs_end_a_run_where_the_data_does),
        WITH_RIG(a_key_that_stands_alone_is_as_if_it_were_absent),
        WITH_RIG(refuses_with_the_fix),
        WITH_RIG(an_optimizer_of_matrices_takes_matrices_and_stacks),
        WITH_RIG(only_training_asks_for_data_and_optimizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
