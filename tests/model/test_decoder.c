/*
 * test_decoder.c - the stack as a graph: accepted in every mode, stamped with
 * its layers, with states where decoding needs them.
 */
#include "model_rig.h"

#define STACK                                                                  \
    "vocab_size: 11\nhidden_size: 8\nmax_seq_len: 16\nlayers:\n"               \
    "  - {arch: transformer, num_heads: 4, num_kv_heads: 2, "                  \
    "intermediate_size: 12, repeat: 2}\n"

static const int32_t zeros[32];

static tni_graph *described(model_rig *rig, const model_run *run,
                            tni_model_out *out)
{
    tni_graph *g = model_rig_describe(rig, run, out);
    tn_assert_ok_err(tni_graph_status(g, &rig->err), rig->err);
    tn_assert_ok_err(tni_graph_verify(g, &rig->err), rig->err);
    return g;
}

static void training_gives_one_loss_per_token(void **state)
{
    (void)state;
    model_rig rig;
    tni_model_out out;
    model_rig_open_ok(&rig, STACK);
    const model_run run = {
        .batch = 2, .seq_len = 5, .tokens = zeros, .targets = zeros};
    tni_graph *g = described(&rig, &run, &out);
    const tn_tensor_info nll = tn_info(&g->builder, out.nll);
    assert_int_equal(nll.rank, 1);
    assert_int_equal(nll.shape[0], 10);
    assert_true(tn_is_none(out.logits));
    assert_true(tn_is_none(out.auxiliary));
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

static void scoring_gives_logits_of_every_row(void **state)
{
    (void)state;
    model_rig rig;
    tni_model_out out;
    model_rig_open_ok(&rig, "final_logit_softcap: 5\n" STACK);
    const model_run run = {.batch = 2, .seq_len = 5, .tokens = zeros};
    tni_graph *g = described(&rig, &run, &out);
    const tn_tensor_info logits = tn_info(&g->builder, out.logits);
    assert_int_equal(logits.rank, 2);
    assert_int_equal(logits.shape[0], 10);
    assert_int_equal(logits.shape[1], 11);
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

static void decoding_keeps_keys_and_values_of_each_layer(void **state)
{
    (void)state;
    static const char *const names[] = {"layers.0.k", "layers.0.v",
                                        "layers.1.k", "layers.1.v"};
    model_rig rig;
    tni_model_out out;
    uint32_t count = 0;
    int64_t bytes = 0;
    model_rig_open_ok(&rig, STACK);
    const model_run run = {.batch = 2,
                           .seq_len = 5,
                           .state_len = 16,
                           .tokens = zeros,
                           .positions = zeros,
                           .last = zeros,
                           .last_count = 2};
    tni_graph *g = described(&rig, &run, &out);
    const tni_state *s = tni_model_states(rig.model, &count, &bytes);
    assert_int_equal(count, 4);
    for (uint32_t i = 0; i < count; i++) {
        const int64_t shape[] = {2, 16, 2, 2};
        assert_string_equal(s[i].name, names[i]);
        assert_int_equal(s[i].rank, 4);
        assert_memory_equal(s[i].shape, shape, sizeof shape);
        assert_int_equal(s[i].bytes, 2 * 16 * 2 * 2 * 4);
        assert_int_equal(s[i].bytes_per_token, 2 * 2 * 4);
        assert_int_equal(s[i].offset, i * 512);
    }
    assert_int_equal(bytes, 4 * 512);
    assert_int_equal(tn_dim(&g->builder, out.logits, 0), 2);
    tni_graph_destroy(g);

    /* one token at a time finds the same states at the same places */
    const model_run step = {.batch = 2,
                            .seq_len = 1,
                            .state_len = 16,
                            .tokens = zeros,
                            .positions = zeros};
    g = described(&rig, &step, &out);
    s = tni_model_states(rig.model, &count, &bytes);
    assert_int_equal(count, 4);
    assert_int_equal(bytes, 4 * 512);
    assert_string_equal(s[3].name, "layers.1.v");
    assert_int_equal(s[3].offset, 3 * 512);
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

static void nodes_know_their_layer(void **state)
{
    (void)state;
    model_rig rig;
    tni_model_out out;
    int seen[3] = {0};
    model_rig_open_ok(&rig, STACK);
    const model_run run = {
        .batch = 1, .seq_len = 4, .tokens = zeros, .targets = zeros};
    tni_graph *g = described(&rig, &run, &out);
    for (size_t i = 0; i < g->node_count; i++) {
        assert_true(g->nodes[i].layer <= 2);
        seen[g->nodes[i].layer]++;
        if (!strcmp(g->nodes[i].desc->name, "attention"))
            assert_int_not_equal(g->nodes[i].layer, 0);
        if (!strcmp(g->nodes[i].desc->name, "linear_cross_entropy"))
            assert_int_equal(g->nodes[i].layer, 0);
    }
    assert_true(seen[0] > 0);
    assert_int_equal(seen[1], seen[2]);
    assert_string_equal(tni_value_of(g, out.layer_out[1])->name, "layers.1");
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

static void decoding_without_positions_is_refused(void **state)
{
    (void)state;
    model_rig rig;
    tni_model_out out;
    model_rig_open_ok(&rig, STACK);
    tni_graph *g = tni_graph_create(TN_F32);
    const int64_t shape[] = {1, 1};
    const tni_model_io io = {.batch = 1,
                             .seq_len = 1,
                             .state_len = 16,
                             .tokens =
                                 tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT,
                                                0, TN_I32, 2, shape, "tokens")};
    tni_model_describe(rig.model, g, &io, &out);
    assert_int_not_equal(tni_graph_status(g, &rig.err), TN_OK);
    tn_assert_error_says(rig.err, "needs positions");
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_gives_one_loss_per_token),
        cmocka_unit_test(scoring_gives_logits_of_every_row),
        cmocka_unit_test(decoding_keeps_keys_and_values_of_each_layer),
        cmocka_unit_test(nodes_know_their_layer),
        cmocka_unit_test(decoding_without_positions_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
