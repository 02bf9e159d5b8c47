/*
 * training_laws.h - training on a device is training on the CPU: every
 * architecture with every optimizer walks the same curve, and a checkpoint of
 * one goes on on the other. Each backend's test names its device (ON_DEVICE)
 * and includes this.
 */
#ifndef TRAINING_LAWS_H
#define TRAINING_LAWS_H

#include "training_rig.h"

#include "run/checkpoint.h"
#include "run/evaluate.h"
#include "run/training.h"
#include "run/weights.h"

#define ON_CPU "backend=cpu", "precision=f32"

static const char *const stacks[] = {
    "model.layers=[{arch: transformer, repeat: 2, num_heads: 2, num_kv_heads: "
    "1, intermediate_size: 24}]",
    "model.layers=[{arch: mla, repeat: 2, num_heads: 2, q_lora_rank: 6, "
    "kv_lora_rank: 5, qk_nope_head_dim: 3, qk_rope_head_dim: 2, v_head_dim: 4, "
    "intermediate_size: 24}]",
    "model.layers=[{arch: mamba2, repeat: 2, num_heads: 4, state_size: 5, "
    "chunk_size: 3}]",
    "model.layers=[{arch: transformer, repeat: 2, num_heads: 2, mlp: {type: "
    "moe, num_experts: 4, experts_per_token: 2, shared_experts: 1, "
    "intermediate_size: 9, load_balance_alpha: 0}}]",
};
enum { STACKS = sizeof stacks / sizeof stacks[0] };

static const char *const optimizers[] = {
    "optimizer={plugin: adamw, lr: 1.0e-3}",
    "optimizer={plugin: lion, lr: 1.0e-4}",
    ("optimizer=[{match: '*norm*|*embed*|lm_head*|*bias|*conv1d*|*A_log|*.D', "
     "plugin: adamw, lr: 1.0e-3}, {match: '*', plugin: muon, lr: 0.01}]"),
};
enum { OPTIMIZERS = sizeof optimizers / sizeof optimizers[0] };

/* Counting, modulo a prime; the last target of every second row is ignored. */
static tn_batch batch_of(const tni_recipe *r, int64_t first_row)
{
    tn_batch b = tni_batch_create(r);
    const int64_t T = r->train.seq_len;
    for (int64_t i = 0; i < r->train.batch_size * T; i++) {
        const int64_t row = first_row + i / T, t = i % T;
        b.tokens[i] = (int32_t)((row * 31 + t * 7) % 251);
        b.targets[i] = t == T - 1 && row % 2 ? -1 : (b.tokens[i] + 7) % 251;
    }
    return b;
}

static double step(tni_training *t, int64_t number)
{
    const tni_train_options *o = &t->recipe->train;
    tni_step_result result;
    tn_error err = TN_ERROR_NONE;
    for (int64_t i = 0; i < o->grad_accum; i++) {
        tn_batch b = batch_of(t->recipe, number + i * o->batch_size);
        tn_assert_ok_err(tni_training_accumulate(t, number, i, &b, &err), err);
        tni_batch_destroy(&b);
    }
    tn_assert_ok_err(tni_training_update(t, number, 1.0, &result, &err), err);
    assert_true(result.ok);
    return result.loss;
}

/* ---- curves ---- */

static void expect_one_curve(run_rig *rig, const char *stack,
                             const char *optimizer)
{
    enum { STEPS = 20 };
    tni_training *cpu = start(rig, SET(ON_CPU, stack, optimizer));
    tni_training *device = start(rig, SET(ON_DEVICE, stack, optimizer));
    double first = 0.0, last = 0.0;
    for (int64_t s = 0; s < STEPS; s++) {
        const double want = step(cpu, s), got = step(device, s);
        tn_assert_near(got, want, 1e-3);
        first = s == 0 ? got : first;
        last = got;
    }
    assert_true(last < first);
    tni_training_destroy(cpu);
    tni_training_destroy(device);
}

static void
every_architecture_and_optimizer_walks_the_curve_of_the_cpu(void **state)
{
    for (int i = 0; i < STACKS; i++)
        for (int k = 0; k < OPTIMIZERS; k++)
            expect_one_curve(*state, stacks[i], optimizers[k]);
}

/* ---- checkpoints ---- */

static void expect_resume(run_rig *rig, const char *const *before,
                          const char *const *after)
{
    enum { SAVED = 3, STEPS = 6 };
    const tni_progress saved = {.step = SAVED, .tokens = 48};
    tni_progress found;
    tn_error err = TN_ERROR_NONE;
    char path[256];
    int lock;
    tni_training *whole = start(rig, after), *first = start(rig, before);
    tn_assert_ok_err(
        tni_run_folder_open(first->recipe->checkpoint.dir, &lock, &err), err);
    for (int64_t s = 0; s < SAVED; s++)
        step(first, s);
    tn_assert_ok_err(
        tni_checkpoint_save(first, &saved, path, sizeof path, &err), err);
    tni_training_destroy(first);
    close(lock);

    tni_training *second = start(rig, after);
    tn_assert_ok_err(tni_checkpoint_restore(second, path, &found, &err), err);
    assert_int_equal(found.step, SAVED);
    for (int64_t s = 0; s < STEPS; s++) {
        const double want = step(whole, s);
        if (s >= SAVED)
            tn_assert_near(step(second, s), want, 1e-3);
    }
    tni_training_destroy(whole);
    tni_training_destroy(second);
}

static void a_checkpoint_of_one_backend_goes_on_on_the_other(void **state)
{
    expect_resume(*state, SET(ON_CPU, "checkpoint.dir=a"),
                  SET(ON_DEVICE, "checkpoint.dir=a"));
    expect_resume(*state, SET(ON_DEVICE, "checkpoint.dir=b"),
                  SET(ON_CPU, "checkpoint.dir=b"));
}

static const struct CMUnitTest training_laws[] = {
    cmocka_unit_test(
        every_architecture_and_optimizer_walks_the_curve_of_the_cpu),
    cmocka_unit_test(a_checkpoint_of_one_backend_goes_on_on_the_other),
};

#endif
