/*
 * test_load.c - real .so files, good, foreign, older and newer.
 */
#include "support_plugin.h"

#include <tenon/arch.h>
#include <tenon/optimizer.h>
#include <tenon/schedule.h>

#include "plugin/module.h"

typedef struct opening {
    test_host host;
    tni_module *module;
    tn_error err;
    tn_status status;
} opening;

static opening *open_path(const char *path, uint32_t host_minor)
{
    opening *o = tni_arena_alloc(test_arena(), sizeof *o);
    o->host = test_host_make();
    o->host.table.abi_minor = host_minor;
    o->status = tni_module_open(test_arena(), &o->host.table, path, &o->module,
                                &o->err);
    return o;
}

static opening *open_fixture(const char *name)
{
    return open_path(fixture(name), TN_ABI_MINOR);
}

static const tn_component *find(const opening *o, tn_kind kind)
{
    for (uint32_t i = 0; i < o->module->desc.component_count; i++)
        if (o->module->desc.components[i].kind == kind)
            return &o->module->desc.components[i];
    return NULL;
}

static void a_good_plugin_opens_and_computes(void **state)
{
    (void)state;
    const opening *o = open_fixture("good");
    const struct {
        int64_t warmup;
    } options = {4};
    tn_assert_ok_err(o->status, o->err);
    assert_string_equal(o->module->desc.name, "good");
    const tn_schedule *schedule = find(o, TN_KIND_SCHEDULE)->vtable;
    tn_assert_near(schedule->multiplier(&options, 0, 10), 0.25, 0.0);
    tn_assert_near(schedule->multiplier(&options, 9, 10), 1.0, 0.0);
}

static void a_library_without_the_symbol_is_no_plugin(void **state)
{
    (void)state;
    const opening *o = open_fixture("no_symbol");
    assert_int_equal(o->status, TN_EREFUSED);
    tn_assert_error_says(o->err, "exports no tn_plugin_v1");
}

static void a_later_major_version_is_recognised(void **state)
{
    (void)state;
    const opening *o = open_fixture("version_two");
    assert_int_equal(o->status, TN_EREFUSED);
    tn_assert_error_says(o->err, "built for a newer Tenon: it has plugin ABI "
                                 "2 and this program 1");
}

static void another_machines_tag_is_refused_with_both(void **state)
{
    (void)state;
    const opening *o = open_fixture("wrong_tag");
    assert_int_equal(o->status, TN_EREFUSED);
    tn_assert_error_says(o->err, "m68k-amiga;big-endian;pointer=4;asan=0");
    tn_assert_error_says(o->err, TN_ABI_TAG);
}

static void a_wrong_magic_is_refused(void **state)
{
    (void)state;
    const opening *o = open_fixture("wrong_magic");
    assert_int_equal(o->status, TN_EREFUSED);
    tn_assert_error_says(o->err, "0xdeadbeef");
}

static void an_unresolved_symbol_is_named(void **state)
{
    (void)state;
    const opening *o = open_fixture("unresolved");
    assert_int_equal(o->status, TN_EIO);
    tn_assert_error_says(o->err, "nobody_has_this");
}

static void a_file_of_other_bytes_is_a_sentence(void **state)
{
    (void)state;
    const char *folder = test_folder();
    const char *path = tni_arena_printf(test_arena(), "%s/text.so", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("this is not ELF\n", file);
    fclose(file);
    const opening *o = open_path(path, TN_ABI_MINOR);
    assert_int_equal(o->status, TN_EIO);
    tn_assert_error_says(o->err, "cannot load it");
    test_folder_remove(folder);
}

/* A fake older host: this program with an ABI minor below what is asked. */
static void an_older_host_refuses_what_requires_a_newer_one(void **state)
{
    (void)state;
    const opening *o = open_path(fixture("needs_newer"), 6);
    assert_int_equal(o->status, TN_EREFUSED);
    tn_assert_error_says(o->err, "requires plugin ABI 1.7 and this program "
                                 "has 1.6");
    o = open_path(fixture("needs_newer"), 7);
    tn_assert_ok_err(o->status, o->err);
}

/* The plugin's structs are longer than this program's; its host is shorter. */
static void a_plugin_of_newer_headers_runs_on_an_older_host(void **state)
{
    (void)state;
    opening *o = open_fixture("built_newer");
    tn_assert_ok_err(o->status, o->err);
    assert_int_equal(o->module->desc.component_count, 1);
    const tn_component *component = find(o, TN_KIND_SCHEDULE);
    assert_string_equal(component->name, "built_newer");
    const tn_schedule *schedule = component->vtable;
    assert_int_equal(schedule->options.count, 2);
    assert_string_equal(schedule->options.at[1].name, "floor");
    tn_assert_near(schedule->options.at[1].fallback, 0.25, 0.0);
    tn_assert_ok_err(tni_module_init(o->module, &o->host.table, &o->err),
                     o->err);
    char said[64];
    snprintf(said, sizeof said, "started under ABI 1.%d", TN_ABI_MINOR);
    assert_string_equal(o->host.logged, said);
}

typedef struct later_host {
    test_host first;
    void (*later)(void);
} later_host;

static void later(void)
{
}

/* A fake newer host: more members, a higher minor. The plugin was compiled
 * with the first headers ever published (fixtures/v1_0). */
static void a_plugin_of_the_first_headers_runs_on_a_newer_host(void **state)
{
    (void)state;
    opening *o = open_path(fixture("first"), TN_ABI_MINOR + 5);
    later_host host = {.first = o->host, .later = later};
    host.first.table.struct_size = (uint32_t)sizeof host;
    tn_assert_ok_err(o->status, o->err);
    tn_assert_ok_err(tni_module_init(o->module, &host.first.table, &o->err),
                     o->err);
    assert_string_equal(host.first.logged, "first: started");
}

/* What was compiled then says today what it said then. */
static void a_plugin_of_the_first_headers_means_what_it_meant(void **state)
{
    (void)state;
    const opening *o = open_fixture("first");
    const double half = 0.5;
    tn_assert_ok_err(o->status, o->err);
    assert_int_equal(o->module->desc.component_count, 3);
    const tn_schedule *schedule = find(o, TN_KIND_SCHEDULE)->vtable;
    assert_string_equal(schedule->summary, "a constant of one's own");
    assert_string_equal(schedule->options.at[0].name, "value");
    assert_int_equal(schedule->options.at[0].kind, TN_OPTION_KIND_FLOAT);
    tn_assert_near(schedule->options.at[0].max, 2.0, 0.0);
    tn_assert_near(schedule->multiplier(&half, 0, 1), 0.5, 0.0);
    const tn_arch *arch = find(o, TN_KIND_ARCH)->vtable;
    assert_non_null(arch->forward);
    const tn_optimizer *optimizer = find(o, TN_KIND_OPTIMIZER)->vtable;
    assert_int_equal(optimizer->state_count, 1);
    assert_string_equal(optimizer->state[0].name, "velocity");
    assert_int_equal(optimizer->per_matrix, 0);
}

/* Its vtable ends where 1.0's did: what this program knows beyond is NULL. */
static void members_younger_than_a_plugin_read_as_zero(void **state)
{
    (void)state;
    const opening *o = open_fixture("first");
    tn_assert_ok_err(o->status, o->err);
    for (uint32_t i = 0; i < o->module->desc.component_count; i++) {
        const tn_component *c = &o->module->desc.components[i];
        const tni_kind_facts *kind = tni_kind(c->kind);
        const char *bytes = c->vtable;
        assert_int_equal(c->vtable_size, kind->size);
        for (uint32_t at = kind->first; at < kind->size; at++)
            assert_int_equal(bytes[at], 0);
    }
}

static void a_start_that_fails_says_why(void **state)
{
    (void)state;
    opening *o = open_fixture("start_fails");
    tn_assert_ok_err(o->status, o->err);
    assert_int_equal(tni_module_init(o->module, &o->host.table, &o->err),
                     TN_EDEVICE);
    tn_assert_error_says(o->err, "start_fails did not start: refusal number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_plugin_opens_and_computes),
        cmocka_unit_test(a_library_without_the_symbol_is_no_plugin),
        cmocka_unit_test(a_later_major_version_is_recognised),
        cmocka_unit_test(another_machines_tag_is_refused_with_both),
        cmocka_unit_test(a_wrong_magic_is_refused),
        cmocka_unit_test(an_unresolved_symbol_is_named),
        cmocka_unit_test(a_file_of_other_bytes_is_a_sentence),
        cmocka_unit_test(an_older_host_refuses_what_requires_a_newer_one),
        cmocka_unit_test(a_plugin_of_newer_headers_runs_on_an_older_host),
        cmocka_unit_test(a_plugin_of_the_first_headers_runs_on_a_newer_host),
        cmocka_unit_test(a_plugin_of_the_first_headers_means_what_it_meant),
        cmocka_unit_test(members_younger_than_a_plugin_read_as_zero),
        cmocka_unit_test(a_start_that_fails_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
