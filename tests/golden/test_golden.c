/*
 * test_golden.c - the architectures and the optimizers against PyTorch.
 *
 * Each case is a folder that a make_*.py wrote: a model of transformers, its
 * weights, and what it computed in float32. Logits and gradients come from a
 * description that is run directly, the loss curves from the training plans
 * that `tenon train` runs, each on every backend here.
 */
#include "model_rig.h"
#include "tn_rig.h"

#include <unistd.h>

#include "run/safetensors.h"
#include "run/training.h"
#include "run/weights.h"

/* As frame.py has them. */
enum { VOCAB = 32, BATCH = 2, TIME = 11, ROWS = BATCH * TIME, STEPS = 20 };

static const char *const cases[] = {
    "llama_mha",
    "llama_gqa",
    "llama_tied",
    "llama_wide_heads_biased",
    "mistral_window",
    "qwen3_qk_norm",
    "deepseek",
    "deepseek_q_latent",
    "deepseek_interleaved",
    "deepseek_q_latent_biased",
    "mamba2",
    "mamba2_groups",
    "experts_qwen3",
    "experts_best_one",
    "experts_deepseek",
};
enum { CASES = sizeof cases / sizeof cases[0] };

#define ADAMW "plugin: adamw, lr: 1.0e-2, betas: [0.9, 0.95], weight_decay: 0.1"

/* Each with the curve that it must follow. */
static const struct {
    const char *curve, *config;
} optimizers[] = {
    {"curve.adamw", "optimizer: {" ADAMW "}\n"},
    {"curve.lion",
     "optimizer: {plugin: lion, lr: 1.0e-3, weight_decay: 0.1}\n"},
    {"curve.muon",
     "optimizer:\n"
     "  - {match: '*norm*|*embed*|lm_head*|*bias|*conv1d*|*A_log|*.D|"
     "*.experts.*', " ADAMW "}\n"
     "  - {match: '*', plugin: muon, lr: 2.0e-2, weight_decay: 0.1}\n"},
};
enum { OPTIMIZERS = sizeof optimizers / sizeof optimizers[0] };

/* ---- fixtures ---- */

static const char *fixture(const char *name, const char *file)
{
    static char path[1024];
    const char *source = getenv("TENON_SOURCE");
    assert_non_null(source);
    snprintf(path, sizeof path, "%s/tests/golden/%s/%s", source, name, file);
    return path;
}

static char *read_text(const char *path)
{
    char *text = calloc(1, 4096);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, 4095, file) > 0);
    fclose(file);
    return text;
}

static tni_safetensors *open_tensors(const char *name, const char *file)
{
    tni_safetensors *tensors = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_safetensors_open(fixture(name, file), &tensors, &err),
                     err);
    return tensors;
}

/* `count` numbers of a tensor, as double. */
static void numbers(const tni_safetensors *from, const char *name,
                    int64_t count, double *to)
{
    tn_error err = TN_ERROR_NONE;
    const tni_stored *tensor = tni_safetensors_find(from, name);
    if (!tensor)
        print_error("no tensor %s\n", name);
    assert_non_null(tensor);
    assert_int_equal(tensor->elements, count);
    tn_assert_ok_err(
        tni_safetensors_read_double(from, tensor, 0, count, to, &err), err);
}

static void integers(const tni_safetensors *from, const char *name,
                     int64_t count, int32_t *to)
{
    double values[STEPS * BATCH * (TIME + 1)];
    assert_true(count <= (int64_t)(sizeof values / sizeof values[0]));
    numbers(from, name, count, values);
    for (int64_t i = 0; i < count; i++)
        to[i] = (int32_t)values[i];
}

/* Every weight of the model at its place in the slab. */
static double *load_slab(const model_rig *rig, const char *name)
{
    tni_safetensors *file = open_tensors(name, "model.safetensors");
    double *slab = calloc((size_t)model_rig_slab(rig), sizeof *slab);
    uint32_t count = 0, stored = 0;
    const tni_weight *w = tni_model_stored(rig->model, rig->arena, &count);
    tni_safetensors_list(file, &stored);
    assert_int_equal(stored, count);
    for (uint32_t i = 0; i < count; i++)
        numbers(file, tni_model_stored_name(rig->model, &w[i]), w[i].elements,
                slab + w[i].offset);
    tni_safetensors_close(file);
    return slab;
}

/* ---- one forward and backward pass ---- */

static void check_logits(model_rig *rig, const tni_safetensors *expected,
                         const double *slab)
{
    double want[ROWS * VOCAB], got[ROWS * VOCAB];
    int32_t tokens[ROWS];
    integers(expected, "tokens", ROWS, tokens);
    numbers(expected, "logits", ROWS * VOCAB, want);
    model_run run = {.batch = BATCH,
                     .seq_len = TIME,
                     .tokens = tokens,
                     .params = slab,
                     .logits = got};
    model_rig_run(rig, &run);
    tn_assert_close_double(got, want, ROWS * VOCAB, 1e-4, 0);
}

/* Each weight's gradient within 1e-4 of its own largest element. */
static void check_gradient(const model_rig *rig, const tni_weight *w,
                           const tni_safetensors *expected, const double *got,
                           double trained)
{
    char name[256];
    double *want = calloc((size_t)w->elements, sizeof *want), largest = 0;
    snprintf(name, sizeof name, "grad.%s",
             tni_model_stored_name(rig->model, w));
    numbers(expected, name, w->elements, want);
    for (int64_t i = 0; i < w->elements; i++) {
        want[i] *= trained; /* theirs is of the mean */
        largest = fmax(largest, fabs(want[i]));
    }
    /* an expert that no token chose learns nothing */
    assert_true(largest > 0 || strstr(name, ".experts."));
    tn_assert_close_double(got, want, w->elements, 1e-4 * largest, 0);
    free(want);
}

static void check_training_pass(model_rig *rig, const tni_safetensors *expected,
                                const double *slab)
{
    double nll[ROWS], loss = 0, want = 0, trained = 0;
    int32_t tokens[ROWS], targets[ROWS];
    uint32_t count = 0;
    double *gradient = calloc((size_t)model_rig_slab(rig), sizeof *gradient);
    const tni_weight *w = tni_model_stored(rig->model, rig->arena, &count);
    integers(expected, "tokens", ROWS, tokens);
    integers(expected, "targets", ROWS, targets);
    numbers(expected, "loss", 1, &want);
    model_run run = {.batch = BATCH,
                     .seq_len = TIME,
                     .tokens = tokens,
                     .targets = targets,
                     .params = slab,
                     .nll = nll,
                     .gradient = gradient};
    model_rig_run(rig, &run);
    for (int i = 0; i < ROWS; i++) {
        loss += nll[i];
        trained += targets[i] >= 0;
    }
    tn_assert_near(loss / trained, want, 1e-5);
    for (uint32_t i = 0; i < count; i++)
        check_gradient(rig, &w[i], expected, gradient + w[i].offset, trained);
    free(gradient);
}

static void check_pass(const char *name, const char *backend, tn_dtype dtype)
{
    model_rig rig;
    char *text = read_text(fixture(name, "model.yaml"));
    tni_safetensors *expected = open_tensors(name, "expected.safetensors");
    model_rig_open_ok(&rig, text);
    model_rig_device(&rig, backend, dtype);
    double *slab = load_slab(&rig, name);
    check_logits(&rig, expected, slab);
    check_training_pass(&rig, expected, slab);
    free(slab);
    free(text);
    tni_safetensors_close(expected);
    model_rig_close(&rig);
}

static void logits_and_gradients_in_double_are_pytorchs(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++)
        check_pass(cases[i], "reference", TN_F64);
}

/* Every case on every backend that can run here. */
static void on_every_backend(void (*check)(const char *name,
                                           const char *backend))
{
    const char *backends[16];
    const uint32_t count = tn_rig_backends(backends, 16);
    assert_true(count > 0);
    for (uint32_t b = 0; b < count; b++) {
        for (int i = 0; i < CASES; i++)
            check(cases[i], backends[b]);
        free((void *)backends[b]);
    }
}

static void check_single_precision(const char *name, const char *backend)
{
    check_pass(name, backend, TN_F32);
}

static void logits_and_gradients_of_every_backend_are_pytorchs(void **state)
{
    (void)state;
    on_every_backend(check_single_precision);
}

/* ---- twenty steps ---- */

/* A config around the case's model; the caller removes the file. */
static void write_config(const char *name, const char *optimizer,
                         const char *backend, char *path)
{
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    FILE *to = fdopen(descriptor, "w");
    char *model = read_text(fixture(name, "model.yaml"));
    fprintf(to,
            "name: golden\nbackend: %s\n%s"
            "train: {max_steps: %d, batch_size: %d, seq_len: %d, "
            "grad_clip: 0}\nmodel:\n",
            backend, optimizer, STEPS, BATCH, TIME);
    for (char *line = strtok(model, "\n"); line; line = strtok(NULL, "\n"))
        fprintf(to, "  %s\n", line);
    free(model);
    fclose(to);
}

/* Row r of step s has TIME + 1 tokens: inputs, and the same one later. */
static void take_batch(const int32_t *batches, int step, tn_batch *batch)
{
    for (int r = 0; r < BATCH; r++) {
        const int32_t *row = batches + (step * BATCH + r) * (TIME + 1);
        memcpy(batch->tokens + r * TIME, row, TIME * sizeof *row);
        memcpy(batch->targets + r * TIME, row + 1, TIME * sizeof *row);
    }
}

static void follow_curve(tni_training *training, const char *name,
                         const char *curve)
{
    tni_safetensors *expected = open_tensors(name, "expected.safetensors");
    int32_t batches[STEPS * BATCH * (TIME + 1)];
    int32_t tokens[ROWS], targets[ROWS];
    tn_batch batch = {
        .struct_size = sizeof batch, .tokens = tokens, .targets = targets};
    double want[STEPS], got[STEPS];
    tn_error err = TN_ERROR_NONE;
    integers(expected, "batches", STEPS * BATCH * (TIME + 1), batches);
    numbers(expected, curve, STEPS, want);
    for (int s = 0; s < STEPS; s++) {
        tni_step_result result = {0};
        take_batch(batches, s, &batch);
        tn_assert_ok_err(tni_training_accumulate(training, s, 0, &batch, &err),
                         err);
        tn_assert_ok_err(tni_training_update(training, s, 1.0, &result, &err),
                         err);
        assert_true(result.ok);
        got[s] = result.loss;
    }
    tn_assert_close_double(got, want, STEPS, 1e-3, 0);
    tni_safetensors_close(expected);
}

static void check_curve(const char *name, const char *backend, int optimizer)
{
    model_rig rig; /* for its arena, host and registry */
    char path[] = "/tmp/tenon-golden-XXXXXX";
    char *text = read_text(fixture(name, "model.yaml"));
    tni_recipe *recipe = NULL;
    tni_training *training = NULL;
    model_rig_open_ok(&rig, text);
    write_config(name, optimizers[optimizer].config, backend, path);
    const tni_recipe_request request = {.path = path};
    tn_assert_ok_err(tni_recipe_load(rig.arena, rig.registry, rig.host,
                                     &request, &recipe, &rig.err),
                     rig.err);
    unlink(path);
    tn_assert_ok_err(tni_training_create(recipe, &training, &rig.err), rig.err);
    tn_assert_ok_err(tni_training_commit(training, &rig.err), rig.err);
    tn_assert_ok_err(tni_weights_load(training->session,
                                      fixture(name, "model.safetensors"),
                                      &rig.err),
                     rig.err);
    follow_curve(training, name, optimizers[optimizer].curve);
    tni_training_destroy(training);
    free(text);
    model_rig_close(&rig);
}

static void check_curves(const char *name, const char *backend)
{
    for (int i = 0; i < OPTIMIZERS; i++)
        check_curve(name, backend, i);
}

static void twenty_steps_of_every_optimizer_are_pytorchs(void **state)
{
    (void)state;
    on_every_backend(check_curves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_and_gradients_in_double_are_pytorchs),
        cmocka_unit_test(logits_and_gradients_of_every_backend_are_pytorchs),
        cmocka_unit_test(twenty_steps_of_every_optimizer_are_pytorchs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
