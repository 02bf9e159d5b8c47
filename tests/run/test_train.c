/*
 * test_train.c - whole runs: resume, interruption, bad luck, no allocation.
 */
#include "run_rig.h"

#include <errno.h>
#include <sys/resource.h>

#include "run/safetensors.h"
#include "run/train.h"
#include "run/weights.h"

/* ---- counting allocations: malloc and its kin go through here ---- */

static volatile int counting;

/* AddressSanitizer has a malloc of its own. */
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif

#if !defined(UNDER_ASAN)
static volatile long allocations;

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    allocations += counting;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    allocations += counting;
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    allocations += counting;
    return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    allocations += counting;
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    allocations += counting;
    *memory = __libc_memalign(alignment, bytes);
    return *memory ? 0 : ENOMEM;
}
#endif

/* ---- watching a run ---- */

typedef struct {
    volatile sig_atomic_t stop;
    int64_t stop_at, count_from, count_to, reports, vals, steps, last;
    double last_loss, val_loss;
    char saved[256];
} watch;

static void on_step(void *to, const tni_metrics *m)
{
    watch *w = to;
    w->steps++;
    w->last = m->step;
    w->last_loss = m->loss;
    if (m->step == w->stop_at)
        w->stop = 1;
    counting = m->step >= w->count_from && m->step < w->count_to;
}

static void on_report(void *to, const tni_metrics *m)
{
    watch *w = to;
    w->reports++;
    w->vals += m->has_val;
    if (m->has_val)
        w->val_loss = m->val_loss;
}

static void on_saved(void *to, const char *path, int64_t step)
{
    watch *w = to;
    (void)step;
    snprintf(w->saved, sizeof w->saved, "%s", path);
}

static tn_status train(run_rig *rig, const char *const *set, const char *resume,
                       watch *w, tn_error *err)
{
    const tni_train_observer observer = {
        .to = w, .step = on_step, .report = on_report, .saved = on_saved};
    const tni_train_request request = {.recipe = run_rig_recipe(rig, set),
                                       .resume = resume,
                                       .stop = &w->stop,
                                       .observer = &observer};
    const tn_status status = tni_train(&request, err);
    counting = 0;
    return status;
}

static void must_train(run_rig *rig, const char *const *set, const char *resume,
                       watch *w)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(train(rig, set, resume, w, &err), err);
}

/* The bytes of FOLDER/dir/name. */
static char *bytes_of(run_rig *rig, const char *dir, const char *name,
                      size_t *count)
{
    char path[256], *bytes;
    tn_error err = TN_ERROR_NONE;
    snprintf(path, sizeof path, "%s/%s/%s", rig->folder, dir, name);
    tn_assert_ok_err(
        tni_file_read(rig->arena, path, 1 << 26, &bytes, count, &err), err);
    return bytes;
}

static void same_file(run_rig *rig, const char *a, const char *b,
                      const char *name)
{
    size_t m, n;
    const char *x = bytes_of(rig, a, name, &m), *y = bytes_of(rig, b, name, &n);
    assert_int_equal(m, n);
    assert_memory_equal(x, y, n);
}

static int exists(const run_rig *rig, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", rig->folder, name);
    return tni_path_exists(path);
}

/* ---- the tests ---- */

static void
a_run_reports_evaluates_and_keeps_its_newest_checkpoints(void **state)
{
    run_rig *rig = *state;
    watch w = {.stop = 0};
    must_train(rig, NULL, NULL, &w);
    assert_int_equal(w.steps, 6);
    /* log_every 2: steps 2, 4, 6; eval_every 3: steps 3 and 6 */
    assert_int_equal(w.reports, 4);
    assert_int_equal(w.vals, 2);
    assert_true(w.last_loss < log(256));
    assert_false(exists(rig, "run/step-00000002"));
    assert_true(exists(rig, "run/step-00000004"));
    assert_true(exists(rig, "run/step-00000006/config.json"));
    assert_true(exists(rig, "run/loss.svg"));
    assert_true(exists(rig, "run/config.yaml"));
}

static void interrupted_and_resumed_gives_the_same_bits(void **state)
{
    run_rig *rig = *state;
    watch straight = {.stop = 0}, first = {.stop_at = 3}, second = {.stop = 0};
    tn_error err = TN_ERROR_NONE;
    must_train(rig, SET("checkpoint.dir=a"), NULL, &straight);
    assert_int_equal(train(rig, SET("checkpoint.dir=b"), NULL, &first, &err),
                     TN_EINTERRUPTED);
    tn_assert_error_says(err, "step-00000003");
    tn_assert_error_says(err, "--resume auto");
    must_train(rig, SET("checkpoint.dir=b"), "auto", &second);
    assert_int_equal(second.steps, 3);
    same_file(rig, "a/step-00000006", "b/step-00000006", "model.safetensors");
    same_file(rig, "a/step-00000006", "b/step-00000006",
              "optimizer.safetensors");
    tn_assert_near(straight.val_loss, second.val_loss, 0);
}

static void resuming_from_a_named_checkpoint_works(void **state)
{
    run_rig *rig = *state;
    char path[256];
    watch w = {.stop = 0}, again = {.stop = 0}, wrong = {.stop = 0};
    tn_error err = TN_ERROR_NONE;
    must_train(rig, NULL, NULL, &w);
    snprintf(path, sizeof path, "%s/run/step-00000004", rig->folder);
    must_train(rig, NULL, path, &again);
    assert_int_equal(again.steps, 2);
    assert_int_equal(train(rig, NULL, rig->folder, &wrong, &err), TN_ENOTFOUND);
    tn_assert_error_says(err, "neither a checkpoint");
}

static void a_damaged_checkpoint_is_skipped(void **state)
{
    run_rig *rig = *state;
    char path[256];
    watch w = {.stop = 0}, again = {.stop = 0};
    must_train(rig, NULL, NULL, &w);
    snprintf(path, sizeof path, "%s/run/step-00000006/model.safetensors",
             rig->folder);
    assert_int_equal(truncate(path, 3000), 0);
    must_train(rig, SET("train.max_steps=8"), "auto", &again);
    assert_int_equal(again.steps, 4); /* from step 4 */
    tn_error err = TN_ERROR_NONE;
    snprintf(path, sizeof path, "%s/run/step-00000008", rig->folder);
    tn_assert_ok_err(tni_checkpoint_check(path, &err), err);
}

static void leftovers_of_a_kill_are_swept_away(void **state)
{
    run_rig *rig = *state;
    char path[256];
    watch w = {.stop = 0};
    snprintf(path, sizeof path, "%s/run/.tmp-step-00000002", rig->folder);
    tn_assert_ok(tni_folder_make(path, NULL));
    must_train(rig, NULL, "auto", &w);
    assert_false(exists(rig, "run/.tmp-step-00000002"));
    assert_int_equal(w.steps, 6);
}

/* Nothing but ".tmp-step-N" and ".tmp-old-step-N" is Tenon's. */
static void what_others_put_aside_stays(void **state)
{
    static const char *const names[] = {"run/.tmp-precious", "run/.tmp-step-",
                                        "run/.tmp-old-step-00000002",
                                        "run/.tmp-old-photos"};
    run_rig *rig = *state;
    watch w = {.stop = 0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", rig->folder, names[i]);
        tn_assert_ok(tni_folder_make(path, NULL));
    }
    must_train(rig, SET("train.max_steps=1"), NULL, &w);
    assert_true(exists(rig, names[0]));
    assert_true(exists(rig, names[1]));
    assert_false(exists(rig, names[2]));
    assert_true(exists(rig, names[3]));
}

static void a_new_run_sets_an_old_one_aside(void **state)
{
    run_rig *rig = *state;
    watch w = {.stop = 0}, again = {.stop = 0};
    must_train(rig, NULL, NULL, &w);
    must_train(rig, SET("train.max_steps=2"), NULL, &again);
    assert_true(exists(rig, "run.1/step-00000006"));
    assert_true(exists(rig, "run/step-00000002"));
    assert_false(exists(rig, "run/step-00000006"));
}

static void a_run_that_left_reports_alone_is_set_aside(void **state)
{
    run_rig *rig = *state;
    char path[256];
    watch w = {.stop = 0};
    snprintf(path, sizeof path, "%s/run", rig->folder);
    tn_assert_ok(tni_folder_make(path, NULL));
    snprintf(path, sizeof path, "%s/run/metrics.jsonl", rig->folder);
    run_rig_write(path, "{\"step\": 5000, \"loss\": 3.5}\n");
    must_train(rig, SET("train.max_steps=1"), "auto", &w);
    assert_non_null(
        strstr(bytes_of(rig, "run.1", "metrics.jsonl", NULL), "3.5"));
    assert_null(strstr(bytes_of(rig, "run", "metrics.jsonl", NULL), "5000"));
}

static void going_back_keeps_what_is_newer(void **state)
{
    run_rig *rig = *state;
    char path[256];
    watch w = {.stop = 0}, back = {.stop = 0}, on = {.stop = 0};
    must_train(rig, SET("checkpoint.keep=3"), NULL, &w);
    snprintf(path, sizeof path, "%s/run/step-00000002", rig->folder);
    must_train(rig, SET("train.max_steps=3", "checkpoint.keep=1"), path, &back);
    assert_int_equal(back.steps, 1);
    assert_true(exists(rig, "run/step-00000003/trainer.json"));
    assert_true(exists(rig, "run.1/step-00000004/trainer.json"));
    assert_true(exists(rig, "run.1/step-00000006/trainer.json"));
    assert_non_null(
        strstr(bytes_of(rig, "run.1", "metrics.jsonl", NULL), "\"step\": 6"));
    must_train(rig, SET("train.max_steps=4"), "auto", &on);
    assert_int_equal(on.steps, 1);
}

static void another_runs_checkpoint_sets_this_run_aside(void **state)
{
    run_rig *rig = *state;
    char path[256];
    watch w = {.stop = 0};
    must_train(rig, SET("checkpoint.dir=a"), NULL, &w);
    must_train(rig, SET("train.max_steps=5"), NULL, &w);
    snprintf(path, sizeof path, "%s/a/step-00000004", rig->folder);
    must_train(rig, NULL, path, &w);
    assert_true(exists(rig, "a/step-00000006"));
    assert_true(exists(rig, "run.1/step-00000005"));
    assert_true(exists(rig, "run/step-00000006"));
    assert_false(exists(rig, "run/step-00000005"));
}

/* The sentence of a run that is taken up with one key changed. */
static void refuses_to_resume(run_rig *rig, const char *set,
                              const char *sentence)
{
    watch w = {.stop = 0};
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(train(rig, SET(set), "auto", &w, &err), TN_EINVALID);
    tn_assert_error_says(err, sentence);
    tn_assert_error_says(err, "step-00000006/config.yaml:");
    tn_assert_error_says(err, "init.from");
}

static void another_model_or_optimizer_is_refused(void **state)
{
    run_rig *rig = *state;
    watch w = {.stop = 0};
    must_train(rig, NULL, NULL, &w);
    refuses_to_resume(rig, "model.layers[0].num_heads=4",
                      "model.layers[0].num_heads: is 4, and 2 in ");
    refuses_to_resume(rig, "model.layers[0].rope_theta=500",
                      "model.layers[0].rope_theta: is 500, and 1.0e+04 in ");
    refuses_to_resume(rig, "optimizer={plugin: lion, lr: 1.0e-3}",
                      "is lion, and adamw in ");
    assert_true(exists(rig, "run/step-00000006"));
}

/* The same written otherwise, and what may change. */
static void what_is_no_other_model_is_resumed(void **state)
{
    run_rig *rig = *state;
    watch w = {.stop = 0}, on = {.stop = 0};
    must_train(rig, SET("train.max_steps=4"), NULL, &w);
    must_train(rig,
               SET("model.layers[0].rope_theta=1e4", "optimizer.lr=1.0e-3",
                   "optimizer.weight_decay=0.5", "train.batch_size=4",
                   "schedule={plugin: cosine, warmup_steps: 1}",
                   "optimizer=[{match: \"*norm*\", plugin: adamw, lr: 0.1}, "
                   "{match: \"*\", plugin: adamw, lr: 0.1}]"),
               "auto", &on);
    assert_int_equal(on.steps, 2);
}

static void a_slash_behind_the_folder_changes_nothing(void **state)
{
    run_rig *rig = *state;
    watch w = {.stop = 0}, again = {.stop = 0};
    must_train(rig, SET("checkpoint.dir=run//"), NULL, &w);
    must_train(rig, SET("checkpoint.dir=run/"), NULL, &again);
    assert_true(exists(rig, "run.1/step-00000006"));
    assert_true(exists(rig, "run/step-00000006"));
    assert_true(strstr(again.saved, "/run/step-") != NULL);
}

static void a_folder_belongs_to_one_process(void **state)
{
    run_rig *rig = *state;
    char dir[128];
    int lock;
    watch w = {.stop = 0};
    tn_error err = TN_ERROR_NONE;
    snprintf(dir, sizeof dir, "%s/run", rig->folder);
    tn_assert_ok(tni_run_folder_open(dir, &lock, NULL));
    assert_int_equal(train(rig, NULL, NULL, &w, &err), TN_EREFUSED);
    tn_assert_error_says(err, "another process");
    close(lock);
    must_train(rig, NULL, NULL, &w);
}

/* Files of this process cannot grow past `bytes`: what a full disk looks
 * like, without needing one. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_keeps_the_last_checkpoint(void **state)
{
    run_rig *rig = *state;
    watch w = {.stop = 0}, again = {.stop = 0};
    tn_error err = TN_ERROR_NONE;
    must_train(rig, SET("train.max_steps=2"), NULL, &w);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(20000);
    assert_int_equal(train(rig, NULL, "auto", &again, &err), TN_EIO);
    limit_files(RLIM_INFINITY);
    tn_assert_error_says(err, "safetensors");
    assert_true(exists(rig, "run/step-00000002/trainer.json"));
    assert_false(exists(rig, "run/step-00000004"));
    assert_false(exists(rig, "run/.tmp-step-00000004"));
    must_train(rig, NULL, "auto", &again);
    assert_true(exists(rig, "run/step-00000006/trainer.json"));
}

/* The config is written before anything else of a run that is taken up. */
static void a_full_disk_keeps_the_config(void **state)
{
    run_rig *rig = *state;
    watch w = {.stop = 0};
    size_t before, after;
    tn_error err = TN_ERROR_NONE;
    must_train(rig, SET("train.max_steps=2"), NULL, &w);
    const char *text = bytes_of(rig, "run", "config.yaml", &before);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(64);
    assert_int_equal(train(rig, NULL, "auto", &w, &err), TN_EIO);
    limit_files(RLIM_INFINITY);
    tn_assert_error_says(err, "config.yaml");
    const char *now = bytes_of(rig, "run", "config.yaml", &after);
    assert_int_equal(before, after);
    assert_memory_equal(text, now, before);
}

/* A weights file of the rig's model, with one NaN in the named weight. */
static void poison(run_rig *rig, const char *name)
{
    tni_safetensors *file;
    char path[256];
    const double nan = (double)NAN;
    snprintf(path, sizeof path, "%s/run/step-00000002/model.safetensors",
             rig->folder);
    tn_assert_ok(tni_safetensors_open(path, &file, NULL));
    const tni_stored *t = tni_safetensors_find(file, name);
    assert_non_null(t);
    FILE *to = fopen(path, "r+b");
    assert_non_null(to);
    fseek(to, (long)t->offset, SEEK_SET);
    fwrite(&nan, sizeof nan, 1, to);
    fclose(to);
    tni_safetensors_close(file);
}

static void a_bad_weight_is_named(void **state)
{
    run_rig *rig = *state;
    watch w = {.stop = 0}, bad = {.stop = 0};
    tn_error err = TN_ERROR_NONE;
    must_train(rig, SET("train.max_steps=2"), NULL, &w);
    poison(rig, "model.layers.1.mlp.up_proj.weight");
    assert_int_equal(train(rig, NULL, "auto", &bad, &err), TN_ENONFINITE);
    tn_assert_error_says(err, "step 3: the loss is");
    tn_assert_error_says(err, "model.layers.1.mlp.up_proj.weight");
    tn_assert_error_says(err, "step-00000002");
    assert_false(exists(rig, "run/step-00000004"));
}

/* Weights that are finite but overflow a layer: its number is told. */
static void the_first_layer_that_overflows_is_named(void **state)
{
    run_rig *rig = *state;
    watch w = {.stop = 0}, bad = {.stop = 0};
    tn_error err = TN_ERROR_NONE;
    char path[256];
    tni_safetensors *file;
    must_train(rig, SET("train.max_steps=2"), NULL, &w);
    snprintf(path, sizeof path, "%s/run/step-00000002/model.safetensors",
             rig->folder);
    tn_assert_ok(tni_safetensors_open(path, &file, NULL));
    const tni_stored *t =
        tni_safetensors_find(file, "model.layers.1.mlp.down_proj.weight");
    FILE *to = fopen(path, "r+b");
    fseek(to, (long)t->offset, SEEK_SET);
    for (int64_t i = 0; i < t->elements; i++) {
        const double huge = i % 2 ? 1e308 : -1e308;
        fwrite(&huge, sizeof huge, 1, to);
    }
    fclose(to);
    t = tni_safetensors_find(file, "model.layers.1.mlp.up_proj.weight");
    to = fopen(path, "r+b");
    fseek(to, (long)t->offset, SEEK_SET);
    for (int64_t i = 0; i < t->elements; i++) {
        const double large = 1e6 * (double)(1 + i % 3);
        fwrite(&large, sizeof large, 1, to);
    }
    fclose(to);
    tni_safetensors_close(file);
    assert_int_equal(train(rig, NULL, "auto", &bad, &err), TN_ENONFINITE);
    tn_assert_error_says(err, "layers[1] is the first of 2");
}

static void the_step_loop_allocates_nothing(void **state)
{
#if defined(UNDER_ASAN)
    (void)state;
    skip();
#else
    run_rig *rig = *state;
    watch w = {.count_from = 2, .count_to = 12};
    /* the counter counts */
    counting = 1;
    run_rig_recipe(rig, NULL);
    counting = 0;
    assert_true(allocations > 0);
    allocations = 0;
    /* accumulation, reports and evaluations are part of the loop */
    must_train(rig,
               SET("train.max_steps=12", "train.grad_accum=2",
                   "train.eval_every=4", "checkpoint.every=0",
                   "train.log_every=3"),
               NULL, &w);
    /* counting ends with the last step, before the checkpoint */
    assert_int_equal(w.last, 12);
    assert_int_equal(allocations, 0);
#endif
}

static void weights_start_from_a_checkpoint(void **state)
{
    run_rig *rig = *state;
    char set[256];
    watch w = {.stop = 0}, from = {.stop = 0};
    must_train(
        rig,
        SET("train.max_steps=60", "checkpoint.dir=a", "train.eval_every=0"),
        NULL, &w);
    snprintf(set, sizeof set, "init.from=%s/a", rig->folder);
    must_train(rig, SET(set, "checkpoint.dir=b", "train.max_steps=1"), NULL,
               &from);
    assert_true(from.last_loss < log(256) - 1); /* not from the beginning */
}

static void weights_that_do_not_fit_are_listed(void **state)
{
    run_rig *rig = *state;
    char set[256];
    watch w = {.stop = 0};
    tn_error err = TN_ERROR_NONE;
    must_train(rig, SET("train.max_steps=1", "checkpoint.dir=a"), NULL, &w);
    snprintf(set, sizeof set, "init.from=%s/a/step-00000001/model.safetensors",
             rig->folder);
    assert_int_equal(train(rig,
                           SET(set, "checkpoint.dir=b",
                               "model.layers[0].intermediate_size=32"),
                           NULL, &w, &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "model.layers.0.mlp.gate_proj.weight is (24, "
                              "16), the model wants (32, 16)");
    err = TN_ERROR_NONE;
    assert_int_equal(
        train(rig, SET(set, "checkpoint.dir=b", "model.layers[0].repeat=3"),
              NULL, &w, &err),
        TN_EINVALID);
    tn_assert_error_says(err, "model.layers.2.");
    tn_assert_error_says(err, "is missing");
    err = TN_ERROR_NONE;
    assert_int_equal(
        train(rig, SET(set, "checkpoint.dir=b", "model.layers[0].repeat=1"),
              NULL, &w, &err),
        TN_EINVALID);
    tn_assert_error_says(err, "is not of this model");
}

/* A tied checkpoint has no lm_head.weight; an untied model takes a copy of the
 * embedding. */
static void a_tied_file_gives_an_untied_model_its_head(void **state)
{
    run_rig *rig = *state;
    char set[256];
    watch w = {.stop = 0}, tied = {.stop = 0}, untied = {.stop = 0};
    must_train(rig,
               SET("train.max_steps=3", "checkpoint.dir=a",
                   "model.tie_embeddings=true"),
               NULL, &w);
    snprintf(set, sizeof set, "init.from=%s/a", rig->folder);
    must_train(rig,
               SET(set, "checkpoint.dir=b", "train.max_steps=1",
                   "model.tie_embeddings=true"),
               NULL, &tied);
    must_train(rig, SET(set, "checkpoint.dir=c", "train.max_steps=1"), NULL,
               &untied);
    tn_assert_near(tied.last_loss, untied.last_loss, 1e-12);
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(a_run_reports_evaluates_and_keeps_its_newest_checkpoints),
        WITH_RIG(interrupted_and_resumed_gives_the_same_bits),
        WITH_RIG(resuming_from_a_named_checkpoint_works),
        WITH_RIG(a_damaged_checkpoint_is_skipped),
        WITH_RIG(leftovers_of_a_kill_are_swept_away),
        WITH_RIG(what_others_put_aside_stays),
        WITH_RIG(a_new_run_sets_an_old_one_aside),
        WITH_RIG(a_run_that_left_reports_alone_is_set_aside),
        WITH_RIG(going_back_keeps_what_is_newer),
        WITH_RIG(another_runs_checkpoint_sets_this_run_aside),
        WITH_RIG(another_model_or_optimizer_is_refused),
        WITH_RIG(what_is_no_other_model_is_resumed),
        WITH_RIG(a_slash_behind_the_folder_changes_nothing),
        WITH_RIG(a_folder_belongs_to_one_process),
        WITH_RIG(a_full_disk_keeps_the_last_checkpoint),
        WITH_RIG(a_full_disk_keeps_the_config),
        WITH_RIG(a_bad_weight_is_named),
        WITH_RIG(the_first_layer_that_overflows_is_named),
        WITH_RIG(the_step_loop_allocates_nothing),
        WITH_RIG(weights_start_from_a_checkpoint),
        WITH_RIG(a_tied_file_gives_an_untied_model_its_head),
        WITH_RIG(weights_that_do_not_fit_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
