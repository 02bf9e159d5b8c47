/*
 * test_config.c - extends, --set, and the folder that paths start from.
 */
#include "config_rig.h"

static tni_yaml *load(rig *r, const char *path, const char *const *set,
                      uint32_t count)
{
    tni_yaml *root = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_config_load(r->arena, path, set, count, &root, &err),
                     err);
    return root;
}

static void fails(rig *r, const char *path, const char *set, const char *says)
{
    tni_yaml *root = NULL;
    tn_error err = TN_ERROR_NONE;
    assert_int_not_equal(
        tni_config_load(r->arena, path, &set, set != NULL, &root, &err), TN_OK);
    tn_assert_error_says(err, says);
    assert_null(root);
}

/* ------------------------------------------------------------------------ */

static void a_file_is_laid_over_what_it_extends(void **state)
{
    rig *r = *state;
    rig_file(r, "base/root.yaml",
             "seed: 1\ntrain: {a: 1, b: 2}\n"
             "layers: [x, y]\nkept: {deep: {k: 1}}\n");
    rig_file(r, "base/middle.yaml",
             "extends: root.yaml\nseed: 2\n"
             "train: {b: 3}\ngone: 1\n");
    const char *top = rig_file(r, "top.yaml",
                               "extends: base/middle.yaml\n"
                               "layers: [z]\n"
                               "train: {c: 4}\n"
                               "gone: null\n");
    const tni_yaml *want = rig_parse(r, "seed: 2\ntrain: {a: 1, b: 3, c: 4}\n"
                                        "layers: [z]\nkept: {deep: {k: 1}}\n"
                                        "gone: null\n");
    assert_true(same_tree(load(r, top, NULL, 0), want));
}

static void merged_values_keep_the_place_they_were_written(void **state)
{
    rig *r = *state;
    rig_file(r, "base.yaml", "train:\n  a: 1\n  b: 2\n");
    const char *top =
        rig_file(r, "top.yaml", "extends: base.yaml\n\ntrain:\n  b: 3\n");
    const tni_yaml *train = tni_yaml_get(load(r, top, NULL, 0), "train");
    assert_string_equal(tni_yaml_get(train, "a")->source.file,
                        tni_path_join(r->arena, r->folder, "base.yaml"));
    assert_int_equal(tni_yaml_get(train, "a")->source.line, 2);
    assert_string_equal(tni_yaml_get(train, "b")->source.file, top);
    assert_int_equal(train->entries[1].key_source.line, 4);
    assert_int_equal(train->source.line, 4);
}

static void extends_that_cannot_be_followed_is_refused(void **state)
{
    rig *r = *state;
    fails(r, rig_file(r, "a.yaml", "x: 1\nextends: none.yaml\n"), NULL,
          "/a.yaml:2:10: extends: there is no file");
    fails(r, rig_file(r, "b.yaml", "extends: [a.yaml]\n"), NULL,
          "/b.yaml:1:10: extends takes the path of one file, not a list");
    fails(r, rig_file(r, "self.yaml", "extends: self.yaml\n"), NULL,
          "/self.yaml:1:10: extends goes in a circle");
    rig_file(r, "c1.yaml", "extends: sub/../c2.yaml\n");
    tn_assert_ok(
        tni_folder_make(tni_path_join(r->arena, r->folder, "sub"), NULL));
    fails(r, rig_file(r, "c2.yaml", "extends: c1.yaml\n"), NULL,
          "/c1.yaml:1:10: extends goes in a circle");
    for (int i = 0; i < 40; i++)
        rig_file(r, tni_arena_printf(r->arena, "n%d.yaml", i),
                 tni_arena_printf(r->arena, "extends: n%d.yaml\n", i + 1));
    rig_file(r, "n40.yaml", "a: 1\n");
    fails(r, tni_path_join(r->arena, r->folder, "n0.yaml"), NULL,
          "extends is deeper than 32 files");
}

static void a_config_must_be_a_map(void **state)
{
    rig *r = *state;
    fails(r, rig_file(r, "a.yaml", ""), NULL, "this file holds nothing");
    fails(r, rig_file(r, "b.yaml", "[1]\n"), NULL,
          "/b.yaml:1:1: a config is a map of keys");
    fails(r, tni_path_join(r->arena, r->folder, "no.yaml"), NULL,
          "cannot open");
    fails(r, r->folder, NULL, "is a folder, not a file");
}

/* ------------------------------------------------------------------------ */

static void set_reaches_every_place(void **state)
{
    rig *r = *state;
    const char *path = rig_file(r, "a.yaml",
                                "a: 1\n"
                                "m:\n"
                                "  l:\n"
                                "    - {k: 1}\n"
                                "    - [5, 6]\n"
                                "n:\n");
    static const char *const set[] = {
        "a=2",        "m.l[0].k=[x, y]", "m.l[1][1]=7", "new.made.here=true",
        "n.filled=1", "t=a=b",           "e=",          "m.l[0].q={z: 1}",
        "a=3",
    };
    const tni_yaml *root = load(r, path, set, 9);
    const tni_yaml *want =
        rig_parse(r, "a: 3\nm: {l: [{k: [x, y], q: {z: 1}}, [5, 7]]}\n"
                     "n: {filled: 1}\nnew: {made: {here: true}}\nt: a=b\n"
                     "e: null\n");
    assert_true(same_tree(root, want));
    assert_string_equal(tni_yaml_get(root, "a")->source.file, "--set");
    assert_int_equal(tni_yaml_get(root, "a")->source.line, 0);
}

/* It would come too late: the file has been read. */
static void set_cannot_extend(void **state)
{
    rig *r = *state;
    const char *path = rig_file(r, "a.yaml", "a: 1\n");
    fails(r, path, "extends=b.yaml", "--set extends=b.yaml: what a config");
    fails(r, path, "extends.x=1", "--set extends.x=1: what a config");
    fails(r, path, "extends[0]=1", "--set extends[0]=1: what a config");
    assert_non_null(tni_yaml_get(
        load(r, path, (const char *[]){"extendsion=1"}, 1), "extendsion"));
}

static void set_writes_a_name_of_a_plugin_out(void **state)
{
    rig *r = *state;
    const char *path = rig_file(r, "a.yaml", "optimizer: adamw\n");
    const tni_yaml *root =
        load(r, path, (const char *[]){"optimizer.lr=0.5"}, 1);
    const tni_yaml *o = tni_yaml_get(root, "optimizer");
    assert_string_equal(tni_yaml_get(o, "plugin")->scalar, "adamw");
    assert_int_equal(tni_yaml_get(o, "plugin")->source.line, 1);
    assert_string_equal(tni_yaml_get(o, "lr")->scalar, "0.5");
}

static void set_that_cannot_be_followed_is_refused(void **state)
{
    rig *r = *state;
    const char *path =
        rig_file(r, "a.yaml", "a: 1\nl: [1, 2]\nm: {k: {x: 1}}\n");
    fails(r, path, "a", "--set a: write it as key=value");
    fails(r, path, "=1", "--set =1: write it as key=value");
    fails(r, path, "a..b=1", "write it as key=value");
    fails(r, path, "m.=1", "write it as key=value");
    fails(r, path, ".a=1", "write it as key=value");
    fails(r, path, "l[x]=1", "write it as key=value");
    fails(r, path, "l[]=1", "write it as key=value");
    fails(r, path, "l[0=1", "write it as key=value");
    fails(r, path, "l]0=1", "write it as key=value");
    fails(r, path, "a.b=1", "--set a.b=1: a is a single value, not a map");
    fails(r, path, "l.b=1",
          "--set l.b=1: l is a list, not a map; name the entry, the first is "
          "[0]");
    fails(r, path, "l[2]=1",
          "--set l[2]=1: l has 2 entries, the first is [0]; there is no [2]");
    fails(r, path, "l[99999999999999999999]=1", "write it as key=value");
    fails(r, path, "m.k[0]=1", "--set m.k[0]=1: m.k is a map, not a list");
    fails(r, path, "[0]=1", "the config is a map, not a list");
    fails(r, path, "a=[1", "--set a=[1: the value:2:1: not valid");
    fails(r, path, "a=&x 1", "anchors (&x) are not supported");
}

static void a_set_path_cannot_be_endless(void **state)
{
    rig *r = *state;
    char *deep = tni_arena_alloc(r->arena, 100000);
    for (size_t i = 0; i < 90000; i += 2)
        memcpy(deep + i, "a.", 2);
    memcpy(deep + 90000, "a=1", 3);
    fails(r, rig_file(r, "a.yaml", "b: 1\n"), deep, "write it as key=value");
}

/* ------------------------------------------------------------------------ */

static void the_project_holds_the_configs_folder(void **state)
{
    rig *r = *state;
    static const struct {
        const char *file, *project;
    } cases[] = {
        {"p/configs/a.yaml", "/p"},
        {"p/configs/pipeline/deep/a.yaml", "/p"},
        {"p/configs/inner/configs/a.yaml", "/p/configs/inner"},
        {"p/other/a.yaml", "/p/other"},
        {"p/configs.d/a.yaml", "/p/configs.d"},
        {"a.yaml", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = rig_file(r, cases[i].file, "");
        assert_string_equal(
            tni_config_base(r->arena, path),
            tni_arena_printf(r->arena, "%s%s", r->folder, cases[i].project));
    }
}

static void the_project_does_not_depend_on_where_one_stands(void **state)
{
    rig *r = *state;
    rig_file(r, "p/configs/sub/a.yaml", "");
    const char *want = tni_path_join(r->arena, r->folder, "p");
    const char *before = tni_path_absolute(r->arena, ".");
    static const char *const places[][2] = {
        {"p", "configs/sub/a.yaml"},        {"p/configs", "sub/a.yaml"},
        {"p/configs/sub", "a.yaml"},        {"p/configs/sub", "./a.yaml"},
        {"p", "configs/sub/../sub/a.yaml"},
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        assert_int_equal(
            chdir(tni_path_join(r->arena, r->folder, places[i][0])), 0);
        assert_string_equal(tni_config_base(r->arena, places[i][1]), want);
    }
    assert_int_equal(chdir(before), 0);
}

static void names_near_enough_are_suggested(void **state)
{
    (void)state;
    static const char *const names[] = {"num_heads", "num_kv_heads", "lr",
                                        "rope_theta"};
    assert_string_equal(tni_nearest("num_head", names, 4), "num_heads");
    assert_string_equal(tni_nearest("num_kv_head", names, 4), "num_kv_heads");
    assert_string_equal(tni_nearest("rope_theat", names, 4), "rope_theta");
    assert_string_equal(tni_nearest("rl", names, 4), "lr");
    assert_null(tni_nearest("dropout", names, 4));
    assert_null(tni_nearest("", names, 4));
    assert_null(tni_nearest("x", names, 0));
    char longest[300];
    memset(longest, 'a', sizeof longest);
    longest[299] = 0;
    assert_null(tni_nearest(longest, names, 4));
    const char *const long_name = longest;
    assert_null(tni_nearest("a", &long_name, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_file_is_laid_over_what_it_extends),
        RIG_TEST(merged_values_keep_the_place_they_were_written),
        RIG_TEST(extends_that_cannot_be_followed_is_refused),
        RIG_TEST(a_config_must_be_a_map),
        RIG_TEST(set_reaches_every_place),
        RIG_TEST(set_cannot_extend),
        RIG_TEST(set_writes_a_name_of_a_plugin_out),
        RIG_TEST(set_that_cannot_be_followed_is_refused),
        RIG_TEST(a_set_path_cannot_be_endless),
        RIG_TEST(the_project_holds_the_configs_folder),
        RIG_TEST(the_project_does_not_depend_on_where_one_stands),
        cmocka_unit_test(names_near_enough_are_suggested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
