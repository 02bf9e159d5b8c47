/*
 * test_metrics.c - reports keep their keys and survive a kill.
 */
#include "run_rig.h"

#include <jansson.h>

#include "run/curve.h"
#include "run/metrics.h"

static const tni_metrics sample = {.step = 30,
                                   .loss = 2.5,
                                   .grad_norm = 0.75,
                                   .learning_rate = 1e-3,
                                   .epoch = 0.25,
                                   .steps_per_second = 12,
                                   .tokens_per_second = 1536,
                                   .tokens = 3840};

static json_t *json_of(const tni_metrics *m)
{
    char line[1024];
    const size_t n = tni_metrics_json(m, line, sizeof line);
    assert_int_equal(n, strlen(line));
    json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    return root;
}

static void a_report_has_the_keys_of_the_manual(void **state)
{
    static const char *const keys[] = {
        "step",  "loss", "grad_norm",        "learning_rate",
        "epoch", "it/s", "tokens_per_second"};
    (void)state;
    json_t *root = json_of(&sample);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_true(json_is_number(json_object_get(root, keys[i])));
    assert_null(json_object_get(root, "val_loss"));
    assert_null(json_object_get(root, "auxiliary_loss"));
    tn_assert_near(json_number_value(json_object_get(root, "it/s")), 12, 0);
    json_decref(root);
}

static void an_evaluation_adds_its_keys(void **state)
{
    tni_metrics m = sample;
    (void)state;
    m.has_val = 1;
    m.val_loss = 2.75;
    json_t *root = json_of(&m);
    tn_assert_near(json_number_value(json_object_get(root, "val_loss")), 2.75,
                   0);
    assert_null(json_object_get(root, "val_bits_per_byte"));
    json_decref(root);
}

static void what_is_not_finite_is_null(void **state)
{
    tni_metrics m = sample;
    (void)state;
    m.grad_norm = (double)NAN;
    m.loss = HUGE_VAL;
    json_t *root = json_of(&m);
    assert_true(json_is_null(json_object_get(root, "grad_norm")));
    assert_true(json_is_null(json_object_get(root, "loss")));
    json_decref(root);
}

/* Steps 10, 20, 30, and a line that a kill cut short. */
static void write_reports(const char *dir)
{
    char path[128], line[1024];
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    for (int64_t step = 10; step <= 30; step += 10) {
        tni_metrics m = sample;
        m.step = step;
        m.has_val = step == 30;
        m.val_loss = 3;
        tni_metrics_json(&m, line, sizeof line);
        fprintf(to, "%s\n", line);
    }
    fputs("{\"step\": 40, \"lo", to);
    fclose(to);
}

static void resuming_drops_what_lies_after_the_checkpoint(void **state)
{
    run_rig *rig = *state;
    tni_metrics *m;
    size_t count;
    FILE *file;
    write_reports(rig->folder);
    tn_assert_ok(tni_metrics_open(rig->folder, 20, &file, NULL));
    fclose(file);
    tn_assert_ok(tni_metrics_read(rig->arena, rig->folder, &m, &count, NULL));
    assert_int_equal(count, 2);
    assert_int_equal(m[1].step, 20);
    tn_assert_near(m[1].loss, 2.5, 0);
    tn_assert_ok(tni_metrics_open(rig->folder, 0, &file, NULL));
    fclose(file);
    tn_assert_ok(tni_metrics_read(rig->arena, rig->folder, &m, &count, NULL));
    assert_int_equal(count, 0);
}

static void the_curve_is_well_formed_and_escapes_its_title(void **state)
{
    run_rig *rig = *state;
    char path[128], *svg;
    write_reports(rig->folder);
    tn_assert_ok(tni_curve_save(rig->folder, "a<b>&c", NULL));
    snprintf(path, sizeof path, "%s/loss.svg", rig->folder);
    tn_assert_ok(tni_file_read(rig->arena, path, 1 << 20, &svg, NULL, NULL));
    assert_non_null(strstr(svg, "a&lt;b>&amp;c"));
    assert_non_null(strstr(svg, "validation 3.0000"));
    assert_non_null(strstr(svg, "</svg>"));
    assert_null(strstr(svg, "nan"));
}

/* Means of equal losses differ by an ulp. */
static void losses_equal_but_for_rounding_are_a_flat_curve(void **state)
{
    static const double losses[] = {0, 1e-300, 5.5, 1e20};
    run_rig *rig = *state;
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        const double loss = losses[i];
        const tni_metrics m[] = {
            {.step = 1, .loss = loss},
            {.step = 2, .loss = nextafter(loss, HUGE_VAL)}};
        tni_curve c;
        tn_assert_ok(tni_curve_make(rig->arena, m, 2, 100, &c, NULL));
        assert_true(c.y_min + c.y_tick > c.y_min);
        assert_true(c.y_max - c.y_min <= 8 * c.y_tick);
        assert_true(c.y_min < loss && c.y_max > loss);
    }
}

/* The line of a loss that never changes, in a file as runs write it. */
static void a_flat_run_is_drawn(void **state)
{
    run_rig *rig = *state;
    char path[128], line[1024], *svg;
    snprintf(path, sizeof path, "%s/metrics.jsonl", rig->folder);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    for (int64_t step = 1; step <= 3001; step++) {
        tni_metrics m = {.step = step, .loss = 5.545177444};
        tni_metrics_json(&m, line, sizeof line);
        fprintf(to, "%s\n", line);
    }
    fclose(to);
    tn_assert_ok(tni_curve_save(rig->folder, "flat", NULL));
    snprintf(path, sizeof path, "%s/loss.svg", rig->folder);
    tn_assert_ok(tni_file_read(rig->arena, path, 1 << 20, &svg, NULL, NULL));
    assert_non_null(strstr(svg, ">5.5</text>"));
}

static void a_curve_scales_to_round_ticks(void **state)
{
    run_rig *rig = *state;
    tni_metrics m[1000] = {0};
    tni_curve c;
    for (int i = 0; i < 1000; i++)
        m[i] = (tni_metrics){.step = i + 1, .loss = 5.3 - 0.0031 * i};
    tn_assert_ok(tni_curve_make(rig->arena, m, 1000, 100, &c, NULL));
    assert_int_equal(c.train_count, 100);
    tn_assert_near(c.x_tick, 200, 1e-9);
    tn_assert_near(c.y_tick, 1, 1e-9);
    tn_assert_near(c.y_min, 2, 1e-9);
    tn_assert_near(c.y_max, 6, 1e-9);
    assert_int_equal(tni_curve_make(rig->arena, m, 0, 100, &c, NULL), TN_EEND);

    const char *text = tni_curve_text(rig->arena, &c, 60, 10);
    int lines = 0;
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    assert_int_equal(lines, 10);
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_has_the_keys_of_the_manual),
        cmocka_unit_test(an_evaluation_adds_its_keys),
        cmocka_unit_test(what_is_not_finite_is_null),
        WITH_RIG(resuming_drops_what_lies_after_the_checkpoint),
        WITH_RIG(the_curve_is_well_formed_and_escapes_its_title),
        WITH_RIG(a_curve_scales_to_round_ticks),
        WITH_RIG(losses_equal_but_for_rounding_are_a_flat_curve),
        WITH_RIG(a_flat_run_is_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
