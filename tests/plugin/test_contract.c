/*
 * test_contract.c - descriptors that keep the rules of plugin.h, and others.
 *
 * No .so here: a descriptor is data, so each test writes the one it needs.
 */
#include "support_plugin.h"

#include <tenon/arch.h>
#include <tenon/schedule.h>

#include "plugin/module.h"

static double half(const void *options, int64_t step, int64_t max_steps)
{
    (void)options, (void)step, (void)max_steps;
    return 0.5;
}

typedef struct {
    double rate;
    int32_t shape;
    double pair[2];
} some_options;

typedef struct subject {
    tn_option rows[3];
    tn_schedule schedule;
    tn_component component[2];
    tn_plugin_desc desc;
    tni_module module;
    test_host host;
    tn_error err;
} subject;

static subject *make_subject(void)
{
    subject *s = tni_arena_alloc(test_arena(), sizeof *s);
    *s = (subject){
        .rows = {TN_OPTION_FLOAT(some_options, rate, 0.5, 0, 1, "a rate"),
                 TN_OPTION_ENUM(some_options, shape, "flat|steep", 1, "how"),
                 TN_OPTION_FLOATS(some_options, pair, 2, "0.25, 0.75", 0, 1,
                                  "two of them")},
        .host = test_host_make()};
    s->schedule =
        (tn_schedule){.summary = "a subject",
                      .options = {s->rows, 3, (uint32_t)sizeof(tn_option),
                                  (uint32_t)sizeof(some_options), 0},
                      .multiplier = half};
    for (int i = 0; i < 2; i++)
        s->component[i] =
            (tn_component){.struct_size = (uint32_t)sizeof(tn_component),
                           .kind = TN_KIND_SCHEDULE,
                           .name = i ? "second" : "first",
                           .vtable = &s->schedule,
                           .vtable_size = (uint32_t)sizeof s->schedule};
    s->desc = (tn_plugin_desc){.struct_size = (uint32_t)sizeof s->desc,
                               .magic = TN_PLUGIN_MAGIC,
                               .abi_tag = TN_ABI_TAG,
                               .name = "subject",
                               .components = s->component,
                               .component_count = 2,
                               .component_stride = sizeof(tn_component)};
    s->module.path = "/x/subject.so";
    return s;
}

static tn_status adopt(subject *s)
{
    return tni_module_adopt(test_arena(), &s->host.table, &s->desc, &s->module,
                            &s->err);
}

static void assert_refused(subject *s, const char *why)
{
    assert_int_equal(adopt(s), TN_EREFUSED);
    tn_assert_error_says(s->err, "/x/subject.so: ");
    tn_assert_error_says(s->err, why);
}

static void a_good_descriptor_is_copied_into_our_shapes(void **state)
{
    (void)state;
    subject *s = make_subject();
    tn_assert_ok_err(adopt(s), s->err);
    assert_int_equal(s->module.desc.component_count, 2);
    const tn_schedule *ours = s->module.desc.components[1].vtable;
    assert_ptr_not_equal(ours, &s->schedule);
    assert_ptr_equal(ours->multiplier, half);
    assert_ptr_not_equal(ours->options.at, s->rows);
    assert_string_equal(ours->options.at[2].name, "pair");
    assert_string_equal(s->module.desc.version, "0");
}

static void both_tags_are_printed(void **state)
{
    (void)state;
    subject *s = make_subject();
    s->desc.abi_tag = "vax-linux;pointer=4";
    assert_refused(s, "\"vax-linux;pointer=4\"");
    tn_assert_error_says(s->err, "\"" TN_ABI_TAG "\"");
    s = make_subject();
    s->desc.abi_tag = NULL;
    assert_refused(s, "\"\"");
}

static void both_magics_are_printed(void **state)
{
    (void)state;
    subject *s = make_subject();
    s->desc.magic = 0xfeedface;
    assert_refused(s, "0xfeedface, not 0x4e4e4554");
}

static void both_minors_are_printed(void **state)
{
    (void)state;
    subject *s = make_subject();
    s->desc.abi_minor_built = 4;
    s->desc.abi_minor_required = 3;
    s->host.table.abi_minor = 2;
    assert_refused(s, "requires plugin ABI 1.3 and this program has 1.2");
    s = make_subject();
    s->desc.abi_minor_built = 4;
    s->desc.abi_minor_required = 3;
    s->host.table.abi_minor = 3;
    tn_assert_ok_err(adopt(s), s->err);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    subject *s = make_subject();
    s->desc.struct_size = 8;
    assert_refused(s, "its descriptor claims 8 bytes");
    s = make_subject();
    s->desc.component_stride = 8;
    assert_refused(s, "components of 8 bytes");
    s = make_subject();
    s->desc.component_count = 100000;
    assert_refused(s, "100000 components");
    s = make_subject();
    s->desc.components = NULL;
    assert_refused(s, "0 components");
    s = make_subject();
    s->component[1].vtable_size = 16;
    assert_refused(s, "schedule second has a table of 16 bytes");
    s = make_subject();
    s->component[1].vtable = NULL;
    assert_refused(s, "schedule second has a table of 0 bytes");
}

static void names_that_are_none_are_refused(void **state)
{
    (void)state;
    subject *s = make_subject();
    s->desc.name = "../subject";
    assert_refused(s, "calls itself '../subject'");
    s = make_subject();
    s->component[0].name = "../../etc/passwd";
    assert_refused(s, "component 0 is named '../../etc/passwd'");
    s = make_subject();
    s->component[0].name = NULL;
    assert_refused(s, "component 0 is named ''");
}

static void a_name_listed_twice_is_refused(void **state)
{
    (void)state;
    subject *s = make_subject();
    s->component[1].name = "first";
    assert_refused(s, "lists schedule first twice");
}

static void unknown_kinds_are_refused_unless_the_plugin_is_newer(void **state)
{
    (void)state;
    subject *s = make_subject();
    s->component[0].kind = 99;
    assert_refused(s, "component first is of kind 99");
    s = make_subject();
    s->component[0].kind = 99;
    s->desc.abi_minor_built = TN_ABI_MINOR + 1;
    tn_assert_ok_err(adopt(s), s->err);
    assert_int_equal(s->module.desc.component_count, 1);
    assert_string_equal(s->module.desc.components[0].name, "second");
}

static void a_missing_function_is_named(void **state)
{
    (void)state;
    subject *s = make_subject();
    static const tn_arch nothing = {.summary = "does nothing"};
    s->component[1].kind = TN_KIND_ARCH;
    s->component[1].vtable = &nothing;
    s->component[1].vtable_size = (uint32_t)sizeof nothing;
    assert_refused(s, "arch second does not set .forward");
}

static void options_that_lie_are_refused(void **state)
{
    (void)state;
    subject *s = make_subject();
    s->rows[0].offset = 4000;
    assert_refused(s, "schedule first: option rate lies at byte 4000 of 32");
    s = make_subject();
    s->rows[0].offset = 0xfffffff8u;
    assert_refused(s, "outside the options struct");
    s = make_subject();
    s->rows[0].offset = 4;
    assert_refused(s, "not aligned");
    s = make_subject();
    s->rows[2].count = 0x20000000u; /* times 8 is 2^32 */
    assert_refused(s, "option pair is of kind 6 with 536870912 elements");
    s = make_subject();
    s->rows[2].count = 3;
    assert_refused(s, "outside the options struct");
    s = make_subject();
    s->rows[1].kind = 77;
    assert_refused(s, "option shape is of kind 77");
    s = make_subject();
    s->rows[1].name = "rate";
    assert_refused(s, "option rate is listed twice");
    s = make_subject();
    s->schedule.options.stride = 16;
    assert_refused(s, "3 options of 16 bytes");
}

static void defaults_outside_their_range_are_refused(void **state)
{
    (void)state;
    subject *s = make_subject();
    s->rows[0].fallback = 1.5;
    assert_refused(s, "option rate has the default 1.5 outside its own range "
                      "[0, 1]");
    s = make_subject();
    s->rows[0].fallback = (double)NAN;
    assert_refused(s, "outside its own range");
    s = make_subject();
    s->rows[1].fallback = 2;
    assert_refused(s, "option shape has the default number 2 of 2 names");
    s = make_subject();
    s->rows[2].text = "0.25";
    assert_refused(s, "wants 2 numbers and its default \"0.25\" has 1");
    s = make_subject();
    s->rows[2].text = "0.25, 7";
    assert_refused(s, "option pair has the default 7 outside");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_descriptor_is_copied_into_our_shapes),
        cmocka_unit_test(both_tags_are_printed),
        cmocka_unit_test(both_magics_are_printed),
        cmocka_unit_test(both_minors_are_printed),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(names_that_are_none_are_refused),
        cmocka_unit_test(a_name_listed_twice_is_refused),
        cmocka_unit_test(unknown_kinds_are_refused_unless_the_plugin_is_newer),
        cmocka_unit_test(a_missing_function_is_named),
        cmocka_unit_test(options_that_lie_are_refused),
        cmocka_unit_test(defaults_outside_their_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
