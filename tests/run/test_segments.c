/*
 * test_segments.c - conversations packed into rows teach what they teach one
 * by one, from the file to the gradients; rows that nobody divides are one
 * document; a layer that would mix them stops the run before it starts.
 */
#include "training_rig.h"

#include "run/evaluate.h"
#include "run/training.h"
#include "run/weights.h"

enum { CONVERSATIONS = 11 };

/* Questions and answers of all lengths, a few of which fill a row. */
static void write_conversations(const char *path)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop";
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    for (int i = 0; i < CONVERSATIONS; i++)
        fprintf(to,
                "[{\"role\": \"user\", \"content\": \"%.*s\"}, {\"role\": "
                "\"assistant\", \"content\": \"%.*s\"}]\n",
                1 + i % 9, letters + i, 1 + i * 5 % 19, letters + 3);
    fclose(to);
}

static int setup(void **state)
{
    run_rig *rig = run_rig_create();
    *state = rig;
    write_conversations(tni_path_join(rig->arena, rig->folder, "chat.jsonl"));
    return 0;
}

/* ---- an epoch of gradients ---- */

typedef struct epoch {
    tni_training *training;
    int64_t rows;
    double loss, tokens; /* sums */
    float *gradient;
} epoch;

static void add_rows(epoch *e, tni_data *data, tn_error *err)
{
    tni_training *t = e->training;
    tn_batch batch = tni_batch_create(t->recipe);
    for (int64_t i = 0; i < e->rows; i++) {
        tn_assert_ok_err(tni_data_next(data, &batch, err), *err);
        tn_assert_ok_err(tni_training_accumulate(t, 0, i, &batch, err), *err);
    }
    tni_batch_destroy(&batch);
}

static double metric(const tni_training *t, uint32_t which)
{
    float value = 0;
    tn_assert_ok(tni_session_download_reals(t->session, &value, TN_ARENA_METRIC,
                                            which * TN_ALIGNMENT, 1, NULL));
    return (double)value;
}

/* Gradients of one epoch, row by row. */
static epoch run_epoch(run_rig *rig, const char *const *set)
{
    tni_recipe *recipe = run_rig_recipe(rig, set);
    tn_tokenizer_handle tokenizer;
    tni_data data;
    epoch e = {0};
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_training_create(recipe, &e.training, &err), err);
    tn_assert_ok_err(tni_training_commit(e.training, &err), err);
    tn_assert_ok_err(tni_weights_draw(e.training->session, &err), err);
    tn_assert_ok_err(
        tni_tokenizer_open(rig->host, &recipe->tokenizer, &tokenizer, &err),
        err);
    const tn_dataset_request request = tni_data_request(recipe, &tokenizer);
    tn_assert_ok_err(tni_data_open(rig->host, &recipe->train_data, &request,
                                   recipe->train.prefetch, &data, &err),
                     err);
    e.rows = data.info.rows_per_epoch;
    add_rows(&e, &data, &err);
    e.loss = metric(e.training, TNI_METRIC_LOSS_SUM);
    e.tokens = metric(e.training, TNI_METRIC_TOKENS);
    e.gradient = malloc((size_t)e.training->slab_elements * sizeof(float));
    tn_assert_ok(tni_session_download_reals(e.training->session, e.gradient,
                                            TN_ARENA_GRAD, 0,
                                            e.training->slab_elements, NULL));
    tni_data_close(&data);
    tni_tokenizer_close(&tokenizer);
    return e;
}

static void end_epoch(epoch *e)
{
    free(e->gradient);
    tni_training_destroy(e->training);
}

#define STACK(layers) "model.layers=[" layers "]"
/* weights large enough for a neighbour to be felt */
#define SETTINGS                                                               \
    "model.max_seq_len=96", "model.initializer_range=0.3", "train.seq_len=96", \
        "train.batch_size=1", "train.grad_accum=2"
#define TRAIN(more) "data.train={plugin: sft, path: chat.jsonl" more "}"

static const char *const stacks[] = {
    STACK("{arch: transformer, repeat: 2, num_heads: 2, num_kv_heads: 1, "
          "intermediate_size: 24}"),
    STACK("{arch: transformer, repeat: 2, num_heads: 2, sliding_window: 9, "
          "intermediate_size: 24}"),
    STACK("{arch: mla, repeat: 2, num_heads: 2, kv_lora_rank: 5, "
          "qk_nope_head_dim: 3, qk_rope_head_dim: 2, v_head_dim: 4, "
          "intermediate_size: 24}"),
    STACK("{arch: mamba2, num_heads: 4, state_size: 5, chunk_size: 32}, {arch: "
          "transformer, num_heads: 2, intermediate_size: 24}"),
};
enum { STACKS = sizeof stacks / sizeof stacks[0] };

static const char *const backends[][2] = {
    {"backend=reference", "precision=f64"}, {"backend=cpu", "precision=f32"}};

/* The loss and every gradient, to f32's rounding of a sum. */
static void expect_the_same(const epoch *a, const epoch *b)
{
    double largest = 0;
    assert_true(a->rows < b->rows);
    tn_assert_near(a->tokens, b->tokens, 0);
    tn_assert_near(a->loss / b->loss, 1, 1e-6);
    for (int64_t i = 0; i < b->training->slab_elements; i++)
        largest = fmax(largest, (double)fabsf(b->gradient[i]));
    tn_assert_close(a->gradient, b->gradient, b->training->slab_elements,
                    1e-6 * largest, 1e-5);
}

static void packing_teaches_what_padding_teaches(void **state)
{
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < STACKS; i++) {
            epoch packed =
                run_epoch(*state, SET(stacks[i], SETTINGS, backends[k][0],
                                      backends[k][1], TRAIN("")));
            epoch padded =
                run_epoch(*state, SET(stacks[i], SETTINGS, backends[k][0],
                                      backends[k][1], TRAIN(", packing: pad")));
            assert_int_equal(padded.rows, CONVERSATIONS);
            expect_the_same(&packed, &padded);
            end_epoch(&packed);
            end_epoch(&padded);
        }
}

/* What the option is for: neighbours do change the loss. */
static void without_segments_neighbours_are_seen(void **state)
{
    epoch apart = run_epoch(*state, SET(stacks[0], SETTINGS, TRAIN("")));
    epoch mixed =
        run_epoch(*state, SET(stacks[0], SETTINGS, TRAIN(", segments: false")));
    assert_int_equal(apart.rows, mixed.rows);
    tn_assert_near(apart.tokens, mixed.tokens, 0);
    assert_true(fabs(apart.loss - mixed.loss) > 1e-3 * mixed.loss);
    end_epoch(&apart);
    end_epoch(&mixed);
}

static void recompute_and_threads_change_no_bit(void **state)
{
    static const char *const ways[][2] = {
        {"train.recompute=none", "backend={plugin: cpu, threads: 1}"},
        {"train.recompute=layer", "backend={plugin: cpu, threads: 1}"},
        {"train.recompute=none", "backend={plugin: cpu, threads: 2}"},
    };
    epoch e[3];
    for (int i = 0; i < 3; i++)
        e[i] = run_epoch(*state, SET(stacks[STACKS - 1], SETTINGS, ways[i][0],
                                     ways[i][1], "precision=f32", TRAIN("")));
    for (int i = 1; i < 3; i++)
        assert_memory_equal(e[i].gradient, e[0].gradient,
                            (size_t)e[0].training->slab_elements *
                                sizeof(float));
    for (int i = 0; i < 3; i++)
        end_epoch(&e[i]);
}

/* ---- rows that nobody divides ---- */

/* The same batch with plans that keep documents apart and without: a row of
 * one document has the same bits. */
static void a_row_of_one_document_has_the_bits_of_a_plain_row(void **state)
{
    static const char *const plans[] = {
        "data.train={plugin: text_file, path: text.txt}", TRAIN("")};
    float nll[2][2][96];
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 2; i++) {
            tni_training *t =
                start(*state, SET(stacks[k], SETTINGS, backends[1][0],
                                  backends[1][1], plans[i],
                                  i ? "data.val={plugin: sft, path: "
                                      "chat.jsonl}"
                                    : "train.log_every=2"));
            assert_int_equal(t->firsts != NULL, i);
            tn_batch batch = tni_batch_create(t->recipe);
            for (int n = 0; n < 96; n++) {
                batch.tokens[n] = n * n % 251;
                batch.targets[n] = n % 7 ? n : -1;
                batch.segments[n] = 5;
            }
            if (k)
                batch.segments = NULL;
            tn_assert_ok(tni_training_score(t, &batch, nll[k][i], NULL));
            tni_batch_destroy(&batch);
            tni_training_destroy(t);
        }
    assert_memory_equal(nll[0][0], nll[0][1], sizeof nll[0][0]);
    assert_memory_equal(nll[1][0], nll[1][1], sizeof nll[1][0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_teaches_what_padding_teaches),
        cmocka_unit_test(without_segments_neighbours_are_seen),
        cmocka_unit_test(recompute_and_threads_change_no_bit),
        cmocka_unit_test(a_row_of_one_document_has_the_bits_of_a_plain_row),
    };
    return cmocka_run_group_tests(tests, setup, run_rig_teardown);
}
