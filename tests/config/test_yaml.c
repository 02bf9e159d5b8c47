/*
 * test_yaml.c - what is read, where it stood, and what is refused.
 */
#include "config_rig.h"

static void maps_lists_and_values_become_a_tree(void **state)
{
    rig *r = *state;
    const tni_yaml *root = rig_parse(r, "a: 1\n"
                                        "b: {c: [x, 'y', null], d: ~}\n"
                                        "e:\n"
                                        "  - f: \"\"\n"
                                        "    g:\n");
    const tni_yaml *b = tni_yaml_get(root, "b"), *c = tni_yaml_get(b, "c");
    const tni_yaml *e = tni_yaml_get(root, "e")->entries[0].value;
    assert_int_equal(root->kind, TNI_YAML_MAP);
    assert_string_equal(tni_yaml_get(root, "a")->scalar, "1");
    assert_int_equal(c->kind, TNI_YAML_LIST);
    assert_int_equal(c->count, 3);
    assert_int_equal(c->entries[0].value->quoted, 0);
    assert_int_equal(c->entries[1].value->quoted, 1);
    assert_int_equal(c->entries[2].value->kind, TNI_YAML_NULL);
    assert_int_equal(tni_yaml_get(b, "d")->kind, TNI_YAML_NULL);
    assert_int_equal(tni_yaml_get(e, "f")->kind, TNI_YAML_SCALAR);
    assert_int_equal(tni_yaml_get(e, "g")->kind, TNI_YAML_NULL);
    assert_null(tni_yaml_get(root, "h"));
    assert_null(tni_yaml_get(c, "a"));
}

static void every_node_and_key_knows_its_place(void **state)
{
    rig *r = *state;
    const tni_yaml *root = rig_parse(r, "# comment\n"
                                        "model:\n"
                                        "  layers:\n"
                                        "    - {arch: x, heads: 4}\n");
    const tni_yaml *model = tni_yaml_get(root, "model");
    const tni_yaml *layer = tni_yaml_get(model, "layers")->entries[0].value;
    const tni_yaml_entry *heads = &layer->entries[1];
    assert_string_equal(heads->key_source.file, "a.yaml");
    assert_int_equal(heads->key_source.line, 4);
    assert_int_equal(heads->key_source.column, 17);
    assert_int_equal(heads->value->source.column, 24);
    assert_int_equal(root->entries[0].key_source.line, 2);
}

static void a_byte_order_mark_is_no_text(void **state)
{
    rig *r = *state;
    const tni_yaml *root = rig_parse(r, "\xef\xbb\xbf"
                                        "a: 1\nb: 2\n");
    assert_string_equal(tni_yaml_get(root, "a")->scalar, "1");
    assert_int_equal(root->entries[0].key_source.column, 1);
    assert_int_equal(rig_parse(r, "\xef\xbb\xbf")->kind, TNI_YAML_NULL);
}

static void an_empty_text_is_a_null(void **state)
{
    rig *r = *state;
    assert_int_equal(rig_parse(r, "")->kind, TNI_YAML_NULL);
    assert_int_equal(rig_parse(r, "# nothing\n")->kind, TNI_YAML_NULL);
}

static void what_configs_do_not_need_is_refused_with_its_place(void **state)
{
    rig *r = *state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"a: 1\nb: 2\na: 3\n",
         "a.yaml:3:1: the key a is written twice, first in line 1"},
        {"m:\n  x: {k: 1, k: 1}\n",
         "a.yaml:2:13: the key k is written twice, first in line 2"},
        {"a: &x 1\n", "a.yaml:1:4: anchors (&x) are not supported"},
        {"a: 1\nb: *x\n", "a.yaml:2:4: aliases (*x) are not supported"},
        {"*x : 1\n", "a.yaml:1:1: aliases (*x) are not supported"},
        {"a: !!int 3\n", "a.yaml:1:4: tags (tag:yaml.org,2002:int) are not"},
        {"a: !mine {}\n", "a.yaml:1:4: tags (!mine) are not supported"},
        {"- &l [1]\n", "a.yaml:1:3: anchors (&l) are not supported"},
        {"a: 1\n---\nb: 2\n", "a.yaml:2:1: a second document starts here"},
        {"[a]: 1\n", "a.yaml:1:1: a key must be a word"},
        {"a: 1\n'': 2\n", "a.yaml:2:1: a key is missing"},
        {"a: \"x\\0y\"\n", "a.yaml:1:4: a text cannot hold a zero byte"},
        {"a: [1, 2\n", "a.yaml:2:1: not valid YAML: did not find"},
        {"a: b: c\n", "a.yaml:1:5: not valid YAML: mapping values"},
        {"a:\n\tb: 1\n", "indent with spaces, not tabs"},
        {"a: \"\xff\"\n", "a.yaml: not valid YAML: invalid leading UTF-8"},
        {"a: \x01\n", "a.yaml: not valid YAML: control characters"},
        {"a: 'b\n", "not valid YAML: found unexpected end of stream"},
        {"%YAML 3.0\n---\na: 1\n", "not valid YAML"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tni_yaml *root = NULL;
        tn_error err = TN_ERROR_NONE;
        assert_int_equal(tni_config_parse(r->arena, "a.yaml", cases[i].text,
                                          strlen(cases[i].text), &root, &err),
                         TN_EINVALID);
        tn_assert_error_says(err, cases[i].says);
        assert_null(root);
    }
}

static tn_status parse_repeated(rig *r, const char *unit, size_t times,
                                tn_error *err)
{
    const size_t bytes = strlen(unit) * times;
    char *text = tni_arena_alloc(r->arena, bytes + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * strlen(unit), unit, strlen(unit));
    tni_yaml *root;
    return tni_config_parse(r->arena, "a.yaml", text, bytes, &root, err);
}

static void depth_and_size_are_limited(void **state)
{
    rig *r = *state;
    tn_error deep = TN_ERROR_NONE, block = TN_ERROR_NONE, big = TN_ERROR_NONE;
    assert_int_equal(parse_repeated(r, "[", 100000, &deep), TN_EINVALID);
    tn_assert_error_says(deep, "a.yaml:1:66: nested deeper than 64 levels");
    assert_int_equal(parse_repeated(r, "- ", 1000, &block), TN_EINVALID);
    tn_assert_error_says(block, "nested deeper than 64 levels");
    assert_int_equal(parse_repeated(r, "- 1\n", 300000, &big), TN_EINVALID);
    tn_assert_error_says(big, "more than 200000 values");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(maps_lists_and_values_become_a_tree),
        RIG_TEST(every_node_and_key_knows_its_place),
        RIG_TEST(a_byte_order_mark_is_no_text),
        RIG_TEST(an_empty_text_is_a_null),
        RIG_TEST(what_configs_do_not_need_is_refused_with_its_place),
        RIG_TEST(depth_and_size_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
