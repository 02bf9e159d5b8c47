/*
 * test_bf16.c - what must hold of `precision: bf16`, whatever is trained and by
 * whom.
 *
 * Losses stay near those of f32. Measured over 20 steps of every stack and
 * optimizer: within 0.5 % with Lion and Muon, 1.1 % with AdamW, whose first
 * steps have the size of lr however small the gradient is.
 *
 * Gradients are those of the oracle (measured: to 6e-8 of their norm), which
 * rounds in the same places. But where the CPU has no bf16 kernel, for scans
 * and convolutions, casts fuse with what makes their operands, and those are
 * not rounded: 5e-3.
 */
#include "bf16.h"
#include "stacks.h"
#include "training_rig.h"

#include "run/checkpoint.h"
#include "run/decoder.h"
#include "run/evaluate.h"
#include "run/score.h"
#include "run/training.h"
#include "run/weights.h"

enum { STEPS = 20 };

static const char on_cpu[] = "backend={plugin: cpu, threads: 2}";
static const char widened[] =
    "backend={plugin: cpu, threads: 2, bf16: widened}";
static const char on_one_thread[] = "backend={plugin: cpu, threads: 1}";
static const char on_oracle[] = "backend=reference";
static const char f32[] = "precision=f32";
static const char bf16[] = "precision=bf16";

static tn_batch batch_of(const tni_recipe *r, int64_t first_row)
{
    tn_batch b = tni_batch_create(r);
    const int64_t T = r->train.seq_len;
    for (int64_t i = 0; i < r->train.batch_size * T; i++) {
        const int64_t row = first_row + i / T, t = i % T;
        b.tokens[i] = (int32_t)((row * 31 + t * 7) % 256);
        b.targets[i] = t == T - 1 && row % 2 ? -1 : (int32_t)((row + t) % 256);
    }
    return b;
}

static void accumulate(tni_training *t, int64_t number)
{
    const tni_train_options *o = &t->recipe->train;
    tn_error err = TN_ERROR_NONE;
    for (int64_t i = 0; i < o->grad_accum; i++) {
        tn_batch b = batch_of(t->recipe, number % 4 + i * o->batch_size);
        tn_assert_ok_err(tni_training_accumulate(t, number, i, &b, &err), err);
        tni_batch_destroy(&b);
    }
}

/* The loss of the step. */
static double step(tni_training *t, int64_t number)
{
    tni_step_result result;
    tn_error err = TN_ERROR_NONE;
    accumulate(t, number);
    tn_assert_ok_err(tni_training_update(t, number, 1.0, &result, &err), err);
    assert_true(result.ok);
    return result.loss;
}

static void steps(tni_training *t, int64_t from, int64_t to)
{
    for (int64_t s = from; s < to; s++)
        step(t, s);
}

static void losses(run_rig *rig, const char *const *set, double loss[STEPS])
{
    tni_training *t = start(rig, set);
    for (int64_t s = 0; s < STEPS; s++)
        loss[s] = step(t, s);
    tni_training_destroy(t);
}

static void expect_near(const char *stack, const char *optimizer,
                        const double *got, const double *want, double tolerance)
{
    double worst = 0.0;
    for (int64_t s = 0; s < STEPS; s++)
        worst = fmax(worst, fabs(got[s] / want[s] - 1.0));
    if (worst <= tolerance)
        return;
    print_error("%s, %s: losses differ by %.2g, allowed %.2g\n", stack,
                optimizer, worst, tolerance);
    fail();
}

/* ---- the laws ---- */

static float *slab_of(const tni_training *t, tn_arena arena)
{
    float *p = malloc((size_t)t->slab_elements * sizeof *p);
    assert_non_null(p);
    tn_assert_ok(tni_session_download(t->session, p, arena, 0,
                                      t->slab_elements * 4, NULL));
    return p;
}

/* |x - y| / |y| of the gradients of the first step. */
static double distance(run_rig *rig, const char *const *x, const char *const *y)
{
    tni_training *a = start(rig, x), *b = start(rig, y);
    accumulate(a, 0);
    accumulate(b, 0);
    float *p = slab_of(a, TN_ARENA_GRAD), *q = slab_of(b, TN_ARENA_GRAD);
    double off = 0.0, size = 0.0;
    for (int64_t i = 0; i < a->slab_elements; i++) {
        off += ((double)p[i] - (double)q[i]) * ((double)p[i] - (double)q[i]);
        size += (double)q[i] * (double)q[i];
    }
    free(p);
    free(q);
    tni_training_destroy(a);
    tni_training_destroy(b);
    return sqrt(off / size);
}

/* Where products are those of f32, so that what differs is where values are
 * rounded. */
static void gradients_are_those_of_the_oracle(void **state)
{
    for (int i = 0; i < STACKS; i++) {
        const double same =
            distance(*state, SET(widened, bf16, stacks[i], adamw),
                     SET(on_oracle, bf16, stacks[i], adamw));
        assert_true(same < (strstr(stacks[i], "mamba2") ? 1e-2 : 1e-6));
    }
}

/* Products of pairs, or of integers, are off by less than what rounding values
 * to bf16 has done to them: gradients are no farther from those of f32. */
static void fast_products_add_nothing_to_the_error_of_bf16(void **state)
{
    for (int i = 0; i < STACKS; i++) {
        const char *const *want = SET(on_cpu, f32, stacks[i], adamw);
        const double fast =
            distance(*state, SET(on_cpu, bf16, stacks[i], adamw), want);
        const double exact =
            distance(*state, SET(widened, bf16, stacks[i], adamw), want);
        assert_true(fast < 1.1 * exact);
    }
}

static void losses_are_near_those_of_f32(void **state)
{
    double got[STEPS], want[STEPS];
    for (int i = 0; i < STACKS; i++)
        for (int k = 0; k < OPTIMIZERS; k++) {
            losses(*state, SET(on_cpu, bf16, stacks[i], optimizers[k]), got);
            losses(*state, SET(on_cpu, f32, stacks[i], optimizers[k]), want);
            expect_near(stacks[i], optimizers[k], got, want, k ? 1e-2 : 2e-2);
        }
}

static uint16_t *copies_of(const tni_training *t)
{
    const int64_t bytes = t->session->arena_bytes[TN_ARENA_COPY];
    uint16_t *copies = malloc((size_t)bytes);
    assert_non_null(copies);
    tn_assert_ok(tni_session_download(t->session, copies, TN_ARENA_COPY, 0,
                                      bytes, NULL));
    return copies;
}

/* Parameters and their bf16 copies. */
static void expect_same_bits(tni_training *a, tni_training *b)
{
    float *p = slab_of(a, TN_ARENA_PARAM), *q = slab_of(b, TN_ARENA_PARAM);
    uint16_t *u = copies_of(a), *v = copies_of(b);
    assert_memory_equal(p, q, (size_t)a->slab_elements * sizeof *p);
    assert_memory_equal(u, v, (size_t)a->session->arena_bytes[TN_ARENA_COPY]);
    free(p);
    free(q);
    free(u);
    free(v);
    tni_training_destroy(a);
    tni_training_destroy(b);
}

static void the_number_of_threads_changes_no_bit(void **state)
{
    for (int i = 0; i < STACKS; i++) {
        tni_training *a =
            start(*state, SET(on_one_thread, bf16, stacks[i], optimizers[2]));
        tni_training *b =
            start(*state, SET(on_cpu, bf16, stacks[i], optimizers[2]));
        steps(a, 0, 3);
        steps(b, 0, 3);
        expect_same_bits(a, b);
    }
}

static void expect_rounded(const uint16_t *copy, const float *p, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const float off = from_bf16(copy[i]) - p[i];
        assert_true(fabsf(off) <= 0x1p-8f * fabsf(p[i]));
    }
}

static void copies_are_the_parameters_rounded(void **state)
{
    for (int k = 0; k < OPTIMIZERS; k++) {
        tni_training *t =
            start(*state, SET(on_cpu, bf16, stacks[3], optimizers[k]));
        steps(t, 0, 2);
        float *p = slab_of(t, TN_ARENA_PARAM);
        uint16_t *copies = copies_of(t);
        uint32_t count, copied = 0;
        const tni_weight *w = tni_model_weights(t->recipe->model, &count);
        for (uint32_t i = 0; i < count; i++) {
            if (!tni_session_copies(t->session, &w[i]))
                continue;
            expect_rounded(copies + w[i].copy_offset / 2, p + w[i].offset,
                           w[i].elements);
            copied++;
        }
        assert_true(copied > 2);
        free(p);
        free(copies);
        tni_training_destroy(t);
    }
}

/* What products of gradients add up is f32, whatever they multiply. */
static void micro_batches_add_up_in_f32(void **state)
{
    for (int i = 0; i < STACKS; i++) {
        tni_training *a =
            start(*state, SET(on_oracle, bf16, stacks[i], adamw,
                              "train.batch_size=1", "train.grad_accum=4"));
        tni_training *b =
            start(*state, SET(on_oracle, bf16, stacks[i], adamw,
                              "train.batch_size=4", "train.grad_accum=1"));
        accumulate(a, 0);
        accumulate(b, 0);
        float *p = slab_of(a, TN_ARENA_GRAD), *q = slab_of(b, TN_ARENA_GRAD);
        tn_assert_close(p, q, a->slab_elements, 1e-5, 1e-5);
        free(p);
        free(q);
        tni_training_destroy(a);
        tni_training_destroy(b);
    }
}

/* Checkpoints hold the f32 parameters, of which the copies follow. */
static void a_resumed_run_has_the_bits_of_one_that_went_on(void **state)
{
    for (int i = 0; i < STACKS; i++) {
        const char *const *set = SET(on_cpu, bf16, stacks[i], optimizers[2]);
        const tni_progress saved = {.step = 2, .tokens = 30};
        tn_error err = TN_ERROR_NONE;
        tni_progress found;
        char path[256];
        int lock;
        tni_training *whole = start(*state, set), *first = start(*state, set);
        tn_assert_ok_err(
            tni_run_folder_open(first->recipe->checkpoint.dir, &lock, &err),
            err);
        steps(first, 0, 2);
        tn_assert_ok_err(
            tni_checkpoint_save(first, &saved, path, sizeof path, &err), err);
        tni_training_destroy(first);
        close(lock);
        tni_training *second = start(*state, set);
        steps(second, 7, 8);
        tn_assert_ok_err(tni_checkpoint_restore(second, path, &found, &err),
                         err);
        steps(second, 2, 4);
        steps(whole, 0, 4);
        expect_same_bits(whole, second);
    }
}

/* Training looks the embedding up in f32 and rounds what it finds, scoring has
 * a bf16 copy of it. */
static void
a_trained_model_is_validated_as_its_checkpoint_is_scored(void **state)
{
    const char *const tied[] = {"model.tie_embeddings=false",
                                "model.tie_embeddings=true"};
    for (int i = 0; i < 2; i++) {
        const tni_progress saved = {.step = 3, .tokens = 45};
        tn_error err = TN_ERROR_NONE;
        char path[256];
        int lock;
        tni_scorer *scorer;
        tni_training *t =
            start(*state, SET(on_cpu, bf16, stacks[0], adamw, tied[i]));
        const tni_recipe *r = t->recipe;
        const int64_t rows = r->train.batch_size, T = r->train.seq_len;
        tn_batch b = batch_of(r, 1);
        float *nll = malloc((size_t)(rows * T) * sizeof *nll);
        assert_non_null(nll);
        assert_true(t->session->arena_bytes[TN_ARENA_COPY] > 0);
        steps(t, 0, 3);
        tn_assert_ok_err(tni_training_score(t, &b, nll, &err), err);
        tn_assert_ok_err(tni_run_folder_open(r->checkpoint.dir, &lock, &err),
                         err);
        tn_assert_ok_err(
            tni_checkpoint_save(t, &saved, path, sizeof path, &err), err);
        close(lock);
        tn_assert_ok_err(tni_scorer_create(r, path, rows, T, 0, &scorer, &err),
                         err);
        tn_assert_ok_err(
            tni_scorer_run(scorer, T, b.tokens, b.targets, NULL, &err), err);
        tn_assert_close(scorer->nll, nll, rows * T, 1e-6, 0);
        free(nll);
        tni_scorer_destroy(scorer);
        tni_batch_destroy(&b);
        tni_training_destroy(t);
    }
}

/* Reading token by token, and all of them at once, with half the cache. */
static void decoding_keeps_only_copies_and_half_the_cache(void **state)
{
    enum { TOKENS = 21 };
    const char *const *set = SET(on_cpu, bf16, stacks[0], adamw);
    tn_error err = TN_ERROR_NONE;
    const tni_recipe *r = run_rig_recipe(*state, set);
    const tni_recipe *wide =
        run_rig_recipe(*state, SET(on_cpu, f32, stacks[0]));
    const int64_t slab = tni_model_slab_elements(r->model);
    int32_t tokens[TOKENS];
    tni_decoder *narrow, *plain;
    for (int i = 0; i < TOKENS; i++)
        tokens[i] = (i * 37 + 5) % 256;
    tn_assert_ok_err(tni_decoder_create(r, NULL, 32, &narrow, &err), err);
    tn_assert_ok_err(tni_decoder_create(wide, NULL, 32, &plain, &err), err);
    assert_true(narrow->session->arena_bytes[TN_ARENA_PARAM] < slab / 2);
    assert_true(narrow->session->arena_bytes[TN_ARENA_COPY] <= slab * 2);
    assert_int_equal(narrow->session->arena_bytes[TN_ARENA_STATE] * 2,
                     plain->session->arena_bytes[TN_ARENA_STATE]);
    tn_assert_ok_err(tni_decoder_read(narrow, tokens, TOKENS, &err), err);
    tn_assert_ok_err(tni_decoder_read(plain, tokens, TOKENS, &err), err);
    tn_assert_ok_err(tni_decoder_logits(narrow, &err), err);
    tn_assert_ok_err(tni_decoder_logits(plain, &err), err);
    tn_assert_close(narrow->logits, plain->logits, narrow->vocab_size, 2e-3,
                    2e-2);
    tni_decoder_destroy(narrow);
    tni_decoder_destroy(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_near_those_of_f32),
        cmocka_unit_test(gradients_are_those_of_the_oracle),
        cmocka_unit_test(fast_products_add_nothing_to_the_error_of_bf16),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
        cmocka_unit_test(copies_are_the_parameters_rounded),
        cmocka_unit_test(micro_batches_add_up_in_f32),
        cmocka_unit_test(a_resumed_run_has_the_bits_of_one_that_went_on),
        cmocka_unit_test(
            a_trained_model_is_validated_as_its_checkpoint_is_scored),
        cmocka_unit_test(decoding_keeps_only_copies_and_half_the_cache),
    };
    return cmocka_run_group_tests(tests, run_rig_setup, run_rig_teardown);
}
