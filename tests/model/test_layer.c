/*
 * test_layer.c - what an architecture may ask of its layer, and what it is told
 * when it asks for nonsense. The architectures are functions of this file, put
 * in the place of the one that the config named.
 */
#include "model_rig.h"

#include "model/stack.h"

#define STACK                                                                  \
    "vocab_size: 5\nhidden_size: 4\nmax_seq_len: 8\nlayers:\n"                 \
    "  - {arch: transformer, num_heads: 2, intermediate_size: 6, repeat: 2}\n"

static const int32_t zeros[32];

typedef tn_tensor (*forward_fn)(tn_layer *l, tn_tensor x, const void *options);

/* The model of STACK with every layer described by `forward`, which may declare
 * weights of its own. */
static void open_with(model_rig *rig, forward_fn forward)
{
    static tn_arch arch;
    model_rig_open_ok(rig, STACK);
    tni_layer_spec *spec =
        tni_arena_copy(rig->arena, rig->model->layers[0], sizeof *spec);
    arch = (tn_arch){.forward = forward};
    spec->arch = &arch;
    spec->arch_name = "odd";
    spec->mlp = (tni_mlp){0};
    rig->model->layers[0] = rig->model->layers[1] = spec;
    rig->model->learning = 1;
}

static const model_run training = {
    .batch = 2, .seq_len = 3, .tokens = zeros, .targets = zeros};
static const model_run decoding = {.batch = 2,
                                   .seq_len = 3,
                                   .state_len = 8,
                                   .tokens = zeros,
                                   .positions = zeros};

static void refused(forward_fn forward, const model_run *run,
                    const char *sentence)
{
    model_rig rig;
    tni_model_out out;
    open_with(&rig, forward);
    tni_graph *g = model_rig_describe(&rig, run, &out);
    assert_int_not_equal(tni_graph_status(g, &rig.err), TN_OK);
    tn_assert_error_says(rig.err, sentence);
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

/* ---- weights ---- */

static tn_tensor two_shapes(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    tn_weight(l, "w", tn_init_normal(0), 4, 4);
    tn_weight(l, "w", tn_init_normal(0), 4, 3);
    return x;
}

static tn_tensor no_shape(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    tn_weight(l, "w", tn_init_normal(0), 4, 0);
    return x;
}

static tn_tensor late_weight(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    ((tni_scope *)l)->model->learning = 0;
    tn_weight(l, "late", tn_init_normal(0), 4, 4);
    return x;
}

static void weights_have_one_shape_and_are_declared_when_training(void **state)
{
    (void)state;
    refused(two_shapes, &training,
            "weight model.layers.0.w: has shape (4, 4), asked for as (4, 3)");
    refused(no_shape, &training, "a shape of (4, 0) is impossible");
    refused(late_weight, &decoding, "weight model.layers.0.late is asked for");
}

static tn_tensor same_twice(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    const tn_tensor a = tn_weight(l, "w", tn_init_normal(0), 4);
    const tn_tensor b = tn_weight(l, "w", tn_init_normal(0), 4);
    assert_int_equal(a.id, b.id);
    return tn_mul(l->b, x, a);
}

static void a_weight_asked_for_twice_is_one_weight(void **state)
{
    (void)state;
    model_rig rig;
    tni_model_out out;
    open_with(&rig, same_twice);
    tni_graph *g = model_rig_describe(&rig, &training, &out);
    tn_assert_ok_err(tni_graph_status(g, &rig.err), rig.err);
    assert_non_null(tni_model_weight(rig.model, "model.layers.1.w"));
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

/* ---- what comes back ---- */

static tn_tensor narrower(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    return tn_slice(l->b, x, -1, 0, 2);
}

static tn_tensor nothing(tn_layer *l, tn_tensor x, const void *options)
{
    (void)l, (void)x, (void)options;
    return TN_NONE;
}

static tn_tensor asks_for_mlp(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    return tn_mlp(l, x);
}

static tn_tensor broken(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    return tn_add(l->b, x, tn_weight(l, "w", tn_init_normal(0), 3));
}

static void a_layer_returns_the_residual_stream(void **state)
{
    (void)state;
    refused(narrower, &training,
            "architecture odd does not return (batch, time, hidden_size)");
    refused(nothing, &decoding, "(test.yaml:5:5) for decoding");
    refused(asks_for_mlp, &training, "add intermediate_size: N");
}

static void an_error_carries_the_line_of_the_architecture(void **state)
{
    (void)state;
    refused(broken, &training, "test_layer.c:");
}

static tn_tensor untouched(tn_layer *l, tn_tensor x, const void *options)
{
    (void)l, (void)options;
    return x;
}

static void an_mlp_that_is_never_used_is_refused(void **state)
{
    (void)state;
    model_rig rig;
    tni_model_out out;
    open_with(&rig, untouched);
    /* the config's own spec still describes an mlp */
    ((tni_layer_spec *)rig.model->layers[0])->mlp.type =
        &(const tni_mlp_type){.name = "gated"};
    ((tni_layer_spec *)rig.model->layers[0])->mlp.options =
        &(const tni_mlp_options){.intermediate_size = 6};
    tni_graph *g = model_rig_describe(&rig, &training, &out);
    assert_int_not_equal(tni_graph_status(g, &rig.err), TN_OK);
    tn_assert_error_says(rig.err, "architecture odd has no mlp");
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

/* ---- states ---- */

static tn_tensor flat_cache(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    tn_cache(l, "k", tn_reshape(l->b, x, 6, 4));
    return x;
}

static tn_tensor changing_state(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    tn_load(l, "s", 2, 4);
    tn_load(l, "s", 2, 5);
    return x;
}

static void states_have_one_shape(void **state)
{
    (void)state;
    refused(flat_cache, &decoding, "cache k: rows are not (batch, time, ...)");
    refused(changing_state, &decoding,
            "state layers.0.s has another shape than at its first use");
}

static tn_tensor training_sees_none(tn_layer *l, tn_tensor x,
                                    const void *options)
{
    (void)options;
    assert_true(tn_is_none(tn_load(l, "s", 2, 4)));
    assert_true(tn_is_none(l->positions));
    assert_int_equal(tn_cache(l, "k", x).id, x.id);
    tn_store(l, "s", x);
    return x;
}

static void training_has_no_states(void **state)
{
    (void)state;
    model_rig rig;
    tni_model_out out;
    uint32_t count = 0;
    int64_t bytes = 0;
    open_with(&rig, training_sees_none);
    tni_graph *g = model_rig_describe(&rig, &training, &out);
    tn_assert_ok_err(tni_graph_status(g, &rig.err), rig.err);
    tni_model_states(rig.model, &count, &bytes);
    assert_int_equal(count, 0);
    assert_int_equal(bytes, 0);
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

/* y = x + sum of all x so far: a running sum in a state. */
static tn_tensor running_sum(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    tn_tensor sum = tn_cumsum(l->b, x, .axis = 1);
    if (!l->training) {
        const int64_t B = tn_dim(l->b, x, 0), C = l->hidden_size;
        const int64_t T = tn_dim(l->b, x, 1);
        const tn_tensor before = tn_load(l, "sum", B, 1, C);
        sum = tn_add(l->b, sum, before);
        tn_store(l, "sum", tn_slice(l->b, sum, 1, T - 1, 1));
    }
    return tn_add(l->b, x, sum);
}

/* y[t] = x[t] + x[t - 1] + x[t - 2]; what was loaded is read after a store, and
 * stored on. */
static tn_tensor delay_line(tn_layer *l, tn_tensor x, const void *options)
{
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, x, 0), T = tn_dim(b, x, 1), C = l->hidden_size;
    (void)options;
    tn_tensor last = tn_fill(b, 0.0, B, 1, C), before = last;
    if (!l->training) {
        last = tn_load(l, "last", B, 1, C);
        before = tn_load(l, "before", B, 1, C);
        tn_store(l, "last", tn_slice(b, x, 1, T - 1, 1));
        tn_store(l, "before", T > 1 ? tn_slice(b, x, 1, T - 2, 1) : last);
    }
    const tn_tensor all = tn_concat(b, 1, before, last, x);
    return tn_add(
        b, x, tn_add(b, tn_slice(b, all, 1, 1, T), tn_slice(b, all, 1, 0, T)));
}

/* Six tokens at once, or three and then one at a time. */
static void decodes_in_pieces(forward_fn forward)
{
    static const int32_t tokens[6] = {3, 1, 4, 1, 0, 2};
    static const int32_t at[6] = {0, 1, 2, 3, 4, 5};
    model_rig rig;
    double want[6 * 5], got[3 * 5];
    open_with(&rig, forward);
    model_rig_device(&rig, "reference", TN_F64);
    double *slab = calloc((size_t)model_rig_slab(&rig), sizeof *slab);
    model_rig_draw(&rig, 1, slab);
    model_run whole = {.batch = 1,
                       .seq_len = 6,
                       .tokens = tokens,
                       .params = slab,
                       .logits = want};
    model_rig_run(&rig, &whole);
    for (int t = 0; t < 6; t += t < 3 ? 3 : 1) {
        model_run piece = {.batch = 1,
                           .seq_len = t < 3 ? 3 : 1,
                           .state_len = 8,
                           .tokens = tokens + t,
                           .positions = at + t,
                           .params = slab,
                           .reset = t == 0,
                           .logits = got};
        model_rig_run(&rig, &piece);
        tn_assert_close_double(got, want + t * 5, (t < 3 ? 3 : 1) * 5, 1e-12,
                               1e-12);
    }
    free(slab);
    model_rig_close(&rig);
}

static void a_stored_state_is_loaded_by_the_next_call(void **state)
{
    (void)state;
    decodes_in_pieces(running_sum);
}

static void what_was_loaded_stays_what_it_was(void **state)
{
    (void)state;
    decodes_in_pieces(delay_line);
}

/* ---- auxiliary losses ---- */

static tn_tensor with_auxiliary(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    const tn_tensor sum = tn_sum(l->b, x, tn_all_axes(l->b, x));
    tn_auxiliary_loss(l, "size", tn_reshape(l->b, sum, 1));
    return x;
}

static tn_tensor wide_auxiliary(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    tn_auxiliary_loss(l, "size", x);
    return x;
}

static void auxiliary_losses_are_summed_when_training(void **state)
{
    (void)state;
    model_rig rig;
    tni_model_out out;
    open_with(&rig, with_auxiliary);
    tni_graph *g = model_rig_describe(&rig, &training, &out);
    tn_assert_ok_err(tni_graph_status(g, &rig.err), rig.err);
    const tn_tensor_info info = tn_info(&g->builder, out.auxiliary);
    assert_int_equal(info.rank, 1);
    assert_int_equal(info.shape[0], 1);
    tni_graph_destroy(g);
    g = model_rig_describe(&rig, &decoding, &out);
    assert_true(tn_is_none(out.auxiliary));
    tni_graph_destroy(g);
    model_rig_close(&rig);
    refused(wide_auxiliary, &training,
            "auxiliary loss size: is not a scalar (1)");
}

/* ---- documents ---- */

static const model_run packed = {.batch = 2,
                                 .seq_len = 3,
                                 .tokens = zeros,
                                 .targets = zeros,
                                 .first = zeros};

static tn_tensor attends_anywhere(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    const tn_tensor h = tn_reshape(l->b, x, 2, 3, 1, 4);
    return tn_reshape(l->b, tn_attention(l->b, h, h, h, l->positions), 2, 3, 4);
}

static tn_tensor sums_anything(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    return tn_cumsum(l->b, x, .axis = 1);
}

/* Sums of documents: an op that knows no documents, told apart by hand. */
static tn_tensor sums_documents(tn_layer *l, tn_tensor x, const void *options)
{
    (void)options;
    const tn_tensor own = tn_eq(l->b, tn_reshape(l->b, l->first, 2, 3, 1),
                                tn_reshape(l->b, l->first, 2, 1, 3));
    return tn_matmul(l->b, own, x);
}

static tn_tensor attends_to_its_own(tn_layer *l, tn_tensor x,
                                    const void *options)
{
    (void)options;
    const tn_tensor h = tn_reshape(l->b, x, 2, 3, 1, 4);
    return tn_reshape(l->b, tn_layer_attention(l, h, h, h), 2, 3, 4);
}

static void a_layer_that_would_mix_documents_is_refused(void **state)
{
    (void)state;
    refused(attends_anywhere, &packed,
            "architecture odd does not keep the documents of a row apart: "
            "attention of test_layer.c:");
    refused(sums_anything, &packed,
            "does not keep the documents of a row apart: nothing in it reads "
            "where they begin (l->first); train it with segments: false");
}

static void accepted(forward_fn forward, const model_run *run)
{
    model_rig rig;
    tni_model_out out;
    open_with(&rig, forward);
    tni_graph *g = model_rig_describe(&rig, run, &out);
    tn_assert_ok_err(tni_graph_status(g, &rig.err), rig.err);
    tni_graph_destroy(g);
    model_rig_close(&rig);
}

static void a_layer_that_reads_where_they_begin_is_taken(void **state)
{
    (void)state;
    accepted(sums_documents, &packed);
    accepted(attends_to_its_own, &packed);
    accepted(attends_to_its_own, &training);
    accepted(attends_anywhere, &training);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_have_one_shape_and_are_declared_when_training),
        cmocka_unit_test(a_weight_asked_for_twice_is_one_weight),
        cmocka_unit_test(a_layer_returns_the_residual_stream),
        cmocka_unit_test(an_error_carries_the_line_of_the_architecture),
        cmocka_unit_test(an_mlp_that_is_never_used_is_refused),
        cmocka_unit_test(states_have_one_shape),
        cmocka_unit_test(training_has_no_states),
        cmocka_unit_test(a_stored_state_is_loaded_by_the_next_call),
        cmocka_unit_test(what_was_loaded_stays_what_it_was),
        cmocka_unit_test(auxiliary_losses_are_summed_when_training),
        cmocka_unit_test(a_layer_that_would_mix_documents_is_refused),
        cmocka_unit_test(a_layer_that_reads_where_they_begin_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
