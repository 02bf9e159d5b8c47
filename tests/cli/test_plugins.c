/*
 * test_plugins.c - `tenon plugins`, `plugins show`, `devices`, `config show`.
 */
#include "support_cli.h"

#include <jansson.h>
#include <unistd.h>

static json_t *parse(const said *s)
{
    json_error_t err;
    json_t *root = json_loads(s->out, 0, &err);
    if (!root)
        fail_msg("not JSON: %s\n%s", err.text, s->out);
    return root;
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void the_list_has_every_kind_of_plugin(void **state)
{
    (void)state;
    const said *s = tenon("plugins", NULL);
    assert_status(s, 0);
    assert_out(s, "backend       cpu ");
    assert_out(s, "arch          transformer ");
    assert_out(s, "optimizer     adamw ");
    assert_out(s, "Searched, in this order:");
}

static void the_list_as_json_tells_versions_and_states(void **state)
{
    (void)state;
    json_t *root = parse(tenon("plugins", "--json", NULL));
    json_t *list = json_object_get(root, "plugins"), *entry;
    size_t i, adamw = 0;
    assert_int_equal(json_integer_value(json_object_get(root, "abi_major")), 1);
    json_array_foreach(list, i, entry)
    {
        assert_non_null(text(entry, "path"));
        assert_string_equal(text(entry, "state"), "available");
        assert_true(json_is_null(json_object_get(entry, "reason")));
        adamw += !strcmp(text(entry, "name"), "adamw");
    }
    assert_int_equal(adamw, 1);
    json_decref(root);
}

/* A link to a fixture of tests/plugin, under a plugin's name. */
static void put_fixture(const char *folder, const char *name)
{
    char link[128], file[512];
    snprintf(link, sizeof link, "%s/tenon-schedule-%s.so", folder, name);
    snprintf(file, sizeof file, "%s/%s.so", TEST_FIXTURES, name);
    assert_int_equal(symlink(file, link), 0);
}

static void a_plugin_that_crashes_is_one_line_of_the_list(void **state)
{
    (void)state;
    char folder[64];
    char *before = strdup(getenv("TENON_PLUGIN_PATH"));
    make_folder(folder);
    put_fixture(folder, "crashes");
    put_fixture(folder, "wrong_tag");
    put_fixture(folder, "good");
    setenv("TENON_PLUGIN_PATH", folder, 1);
    const said *s = tenon("plugins", NULL);
    assert_status(s, 0);
    assert_out(s, "crashed (signal 11)");
    assert_out(s, "m68k-amiga");
    assert_out(s, "schedule      good ");
    setenv("TENON_PLUGIN_PATH", before, 1);
    free(before);
    remove_folder(folder);
}

static void a_relative_search_folder_is_ignored_aloud(void **state)
{
    (void)state;
    char *before = strdup(getenv("TENON_PLUGIN_PATH"));
    setenv("TENON_PLUGIN_PATH", "lib/plugins", 1);
    const said *s = tenon("plugins", NULL);
    assert_status(s, 0);
    assert_err(s, "'lib/plugins' is not an absolute path");
    setenv("TENON_PLUGIN_PATH", before, 1);
    free(before);
}

static void show_prints_every_option_with_default_and_range(void **state)
{
    (void)state;
    const said *s = tenon("plugins", "show", "adamw", NULL);
    assert_status(s, 0);
    assert_out(s, "optimizer adamw: ");
    assert_out(s, "lr ");
    assert_out(s, "required");
    assert_out(s, "[0.9, 0.999]");
    assert_out(s, "sha256 ");
    json_t *root = parse(tenon("plugins", "show", "adamw", "--json", NULL));
    json_t *lr =
        json_array_get(json_object_get(json_array_get(root, 0), "options"), 0);
    assert_string_equal(text(lr, "name"), "lr");
    assert_true(json_is_true(json_object_get(lr, "required")));
    json_decref(root);
}

static void show_suggests_a_near_name(void **state)
{
    (void)state;
    const said *s = tenon("plugins", "show", "adamv", NULL);
    assert_status(s, 1);
    assert_err(s, "no plugin is named 'adamv'; did you mean 'adamw'?");
    assert_status(tenon("plugins", "list", NULL), 2);
}

/* Of its backend's own: what the option `device` takes. */
static void devices_have_numbers(void **state)
{
    (void)state;
    const said *s = tenon("devices", NULL);
    assert_status(s, 0);
    assert_out(s, "NUMBER ");
    json_t *root = parse(tenon("devices", "--json", NULL)), *entry;
    const char *backend = "";
    json_int_t next = 0;
    size_t i;
    json_array_foreach(root, i, entry)
    {
        next = strcmp(backend, text(entry, "backend")) ? 0 : next + 1;
        backend = text(entry, "backend");
        assert_true(json_is_integer(json_object_get(entry, "number")));
        assert_int_equal(json_integer_value(json_object_get(entry, "number")),
                         next);
    }
    assert_true(i > 0);
    json_decref(root);
}

static void devices_tell_scores_and_what_auto_takes(void **state)
{
    (void)state;
    const said *s = tenon("devices", NULL);
    assert_status(s, 0);
    assert_out(s, "reference ");
    assert_out(s, "`backend: auto` takes ");
    json_t *root = parse(tenon("devices", "--json", NULL)), *entry;
    size_t i, automatic = 0, oracle = 0;
    json_array_foreach(root, i, entry)
    {
        automatic += json_is_true(json_object_get(entry, "automatic"));
        oracle += !strcmp(text(entry, "backend"), "reference") &&
                  json_integer_value(json_object_get(entry, "score")) == 1;
    }
    assert_int_equal(automatic, 1);
    assert_int_equal(oracle, 1);
    json_decref(root);
}

static void write_text(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

static const char small[] =
    "name: small\n"
    "tokenizer: byte\n"
    "model:\n"
    "  vocab_size: 256\n"
    "  hidden_size: 32\n"
    "  max_seq_len: 16\n"
    "  layers:\n"
    "    - {arch: transformer, num_heads: 2, intermediate_size: 64}\n"
    "data:\n"
    "  train: {plugin: text_file, path: text.txt}\n"
    "optimizer: {plugin: adamw, lr: 0.001}\n";

/* What is printed says everything: shown again, it stays as it is. */
static void a_shown_config_is_complete_and_stable(void **state)
{
    (void)state;
    char folder[64], first[SAID_BYTES];
    make_folder(folder);
    write_text(at(folder, "small.yaml"), small);
    const said *s = tenon("config", "show", at(folder, "small.yaml"), "--set",
                          "train.max_steps=77", NULL);
    assert_status(s, 0);
    assert_out(s, "max_steps: 77");
    assert_out(s, "rope_theta: 1.0e+04");
    assert_out(s, "weight_decay: 0.01");
    memcpy(first, s->out, sizeof first);
    write_text(at(folder, "again.yaml"), first);
    s = tenon("config", "show", at(folder, "again.yaml"), NULL);
    assert_status(s, 0);
    assert_string_equal(s->out, first);
    remove_folder(folder);
}

static void a_wrong_config_is_a_sentence_with_its_place(void **state)
{
    (void)state;
    char folder[64];
    make_folder(folder);
    write_text(at(folder, "small.yaml"), small);
    const said *s = tenon("config", "show", at(folder, "small.yaml"), "--set",
                          "optimizer.weight_decy=1", NULL);
    assert_status(s, 1);
    assert_err(s, "weight_decy");
    assert_err(s, "weight_decay");
    assert_string_equal(s->out, "");
    s = tenon("config", "show", at(folder, "none.yaml"), NULL);
    assert_status(s, 1);
    assert_err(s, "none.yaml");
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_has_every_kind_of_plugin),
        cmocka_unit_test(the_list_as_json_tells_versions_and_states),
        cmocka_unit_test(a_plugin_that_crashes_is_one_line_of_the_list),
        cmocka_unit_test(a_relative_search_folder_is_ignored_aloud),
        cmocka_unit_test(show_prints_every_option_with_default_and_range),
        cmocka_unit_test(show_suggests_a_near_name),
        cmocka_unit_test(devices_have_numbers),
        cmocka_unit_test(devices_tell_scores_and_what_auto_takes),
        cmocka_unit_test(a_shown_config_is_complete_and_stable),
        cmocka_unit_test(a_wrong_config_is_a_sentence_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
