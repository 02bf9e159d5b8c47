/*
 * test_weights.c - names, places in the slab, first values.
 */
#include "model_rig.h"

#define SMALL                                                                  \
    "vocab_size: 11\nhidden_size: 8\nlayers:\n"                                \
    "  - {arch: transformer, num_heads: 4, num_kv_heads: 2, "                  \
    "intermediate_size: 12, repeat: 2}\n"

static const tni_weight *weight(const model_rig *rig, const char *name)
{
    const tni_weight *w = tni_model_weight(rig->model, name);
    if (!w)
        print_error("no weight %s\n", name);
    assert_non_null(w);
    return w;
}

static void weights_have_hugging_face_names_and_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t rank;
        int64_t rows, cols;
    } want[] = {
        {"model.embed_tokens.weight", 2, 11, 8},
        {"model.layers.1.input_layernorm.weight", 1, 8, 0},
        {"model.layers.1.self_attn.q_proj.weight", 2, 8, 8},
        {"model.layers.1.self_attn.k_proj.weight", 2, 4, 8},
        {"model.layers.1.self_attn.v_proj.weight", 2, 4, 8},
        {"model.layers.1.self_attn.o_proj.weight", 2, 8, 8},
        {"model.layers.1.post_attention_layernorm.weight", 1, 8, 0},
        {"model.layers.1.mlp.gate_proj.weight", 2, 12, 8},
        {"model.layers.1.mlp.up_proj.weight", 2, 12, 8},
        {"model.layers.1.mlp.down_proj.weight", 2, 8, 12},
        {"model.norm.weight", 1, 8, 0},
        {"lm_head.weight", 2, 11, 8},
    };
    model_rig rig;
    uint32_t count = 0;
    model_rig_open_ok(&rig, SMALL);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const tni_weight *w = weight(&rig, want[i].name);
        assert_int_equal(w->rank, want[i].rank);
        assert_int_equal(w->shape[0], want[i].rows);
        assert_int_equal(w->shape[1], want[i].cols);
    }
    tni_model_weights(rig.model, &count);
    assert_int_equal(count, 3 + 2 * 9);
    /* 2 V C + C + 2 (2 C + 2 C C + 2 (C/2) C + 3 C I) */
    assert_int_equal(tni_model_parameter_count(rig.model),
                     2 * 11 * 8 + 8 +
                         2 * (2 * 8 + 2 * 64 + 2 * 32 + 3 * 8 * 12));
    assert_int_equal(tni_model_matrix_parameters(rig.model),
                     11 * 8 + 2 * (2 * 64 + 2 * 32 + 3 * 8 * 12));
    model_rig_close(&rig);
}

static void tied_embeddings_have_no_head_of_their_own(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(&rig, "tie_embeddings: true\n" SMALL);
    assert_null(tni_model_weight(rig.model, "lm_head.weight"));
    assert_int_equal(tni_model_matrix_parameters(rig.model),
                     11 * 8 + 2 * (2 * 64 + 2 * 32 + 3 * 8 * 12));
    model_rig_close(&rig);
}

/* Biases and qk_norm change names and nothing else. */
static void options_add_their_weights(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(&rig, "vocab_size: 11\nhidden_size: 8\nlayers:\n"
                            "  - {arch: transformer, num_heads: 2, head_dim: "
                            "6, qk_norm: true, attention_bias: true, mlp: "
                            "{type: plain, intermediate_size: 5}}\n");
    assert_int_equal(
        weight(&rig, "model.layers.0.self_attn.q_norm.weight")->shape[0], 6);
    assert_int_equal(
        weight(&rig, "model.layers.0.self_attn.k_norm.weight")->shape[0], 6);
    assert_int_equal(
        weight(&rig, "model.layers.0.self_attn.q_proj.bias")->shape[0], 12);
    assert_int_equal(
        weight(&rig, "model.layers.0.self_attn.o_proj.bias")->shape[0], 8);
    assert_int_equal(
        weight(&rig, "model.layers.0.mlp.down_proj.weight")->shape[1], 5);
    assert_null(
        tni_model_weight(rig.model, "model.layers.0.mlp.gate_proj.weight"));
    model_rig_close(&rig);
}

/* No two weights overlap, groups are stretches in order, alike side by side. */
static void the_slab_holds_groups_one_after_another(void **state)
{
    (void)state;
    model_rig rig;
    uint32_t count = 0, group_of[64];
    int64_t first[2], elements[2];
    model_rig_open_ok(&rig, SMALL);
    const tni_weight *w = tni_model_weights(rig.model, &count);
    for (uint32_t i = 0; i < count; i++)
        group_of[i] = w[i].rank == 2 ? 1 : 0;
    const int64_t total =
        tni_model_layout(rig.model, group_of, 2, first, elements);

    assert_int_equal(first[0], 0);
    assert_int_equal(first[1], elements[0]);
    assert_int_equal(total, elements[0] + elements[1]);
    assert_int_equal(total % 128, 0);
    int64_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const int64_t end = w[i].offset + w[i].elements;
        assert_int_equal(w[i].group, group_of[i]);
        assert_int_equal(w[i].offset % 128, 0);
        assert_true(w[i].offset >= first[w[i].group]);
        assert_true(end <= first[w[i].group] + elements[w[i].group]);
        for (uint32_t j = 0; j < i; j++)
            assert_true(w[j].offset >= end ||
                        w[i].offset >= w[j].offset + w[j].elements);
        used += (w[i].elements + 127) / 128 * 128;
    }
    assert_int_equal(used, total);
    /* q and o of both layers are side by side, across layers and names */
    const int64_t q =
        weight(&rig, "model.layers.0.self_attn.q_proj.weight")->offset;
    assert_int_equal(
        weight(&rig, "model.layers.0.self_attn.o_proj.weight")->offset,
        q + 128);
    assert_int_equal(
        weight(&rig, "model.layers.1.self_attn.q_proj.weight")->offset,
        q + 256);
    model_rig_close(&rig);
}

/* Every matrix has one; the embedding's comes last, for training has none of
 * it. In the slab the embedding is before the matrices and behind the norms. */
static void copies_lie_side_by_side(void **state)
{
    (void)state;
    model_rig rig;
    uint32_t count = 0, group_of[64];
    model_rig_open_ok(&rig, SMALL);
    const tni_weight *w = tni_model_weights(rig.model, &count);
    for (uint32_t i = 0; i < count; i++)
        group_of[i] = w[i].rank == 2 && w[i].shape[0] != 11;
    tni_model_layout(rig.model, group_of, 2, NULL, NULL);
    int64_t taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(w[i].copied, w[i].rank < 2 ? TNI_COPIED_NEVER
                                      : i           ? TNI_COPIED_FOR_PRODUCTS
                                                    : TNI_COPIED_FOR_LOOKUPS);
        if (!w[i].copied)
            continue;
        assert_int_equal(w[i].copy_offset % TN_ALIGNMENT, 0);
        for (uint32_t j = 0; j < count; j++) {
            if (!w[j].copied || w[j].offset <= w[i].offset)
                continue;
            if (w[j].copied == w[i].copied)
                assert_true(w[j].copy_offset >=
                            w[i].copy_offset + 2 * w[i].elements);
        }
        taken += (w[i].elements + 127) / 128 * 256;
    }
    assert_int_equal(weight(&rig, "model.embed_tokens.weight")->copy_offset,
                     taken - 256);
    assert_true(weight(&rig, "model.norm.weight")->offset < w[0].offset);
    assert_true(weight(&rig, "lm_head.weight")->offset > w[0].offset);
    model_rig_close(&rig);
}

static void moments(const float *x, int64_t n, double *mean, double *std)
{
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        square += (double)x[i] * (double)x[i];
    }
    *mean = sum / (double)n;
    *std = sqrt(square / (double)n - *mean * *mean);
}

#define WIDE                                                                   \
    "vocab_size: 256\nhidden_size: 128\ninitializer_range: 0.05\nlayers:\n"    \
    "  - {arch: transformer, num_heads: 4, intermediate_size: 256, repeat: "   \
    "8, attention_bias: true}\n"

/* Standard errors at n = 128 * 128: mean 0.05/128, std 0.05/181. */
static void matrices_start_normal_and_gains_at_one(void **state)
{
    (void)state;
    model_rig rig;
    double mean = 0, std = 0;
    model_rig_open_ok(&rig, WIDE);
    float *slab = malloc((size_t)model_rig_slab(&rig) * sizeof *slab);
    tni_model_initialize(rig.model, 7, slab);

    const tni_weight *q =
        weight(&rig, "model.layers.3.self_attn.q_proj.weight");
    moments(slab + q->offset, q->elements, &mean, &std);
    tn_assert_near(mean, 0.0, 4 * 0.05 / 128);
    tn_assert_near(std, 0.05, 4 * 0.05 / 181);
    /* projections to the residual stream: / sqrt(2 * 8) */
    const tni_weight *o =
        weight(&rig, "model.layers.3.self_attn.o_proj.weight");
    moments(slab + o->offset, o->elements, &mean, &std);
    tn_assert_near(std, 0.0125, 4 * 0.0125 / 181);
    const tni_weight *d = weight(&rig, "model.layers.3.mlp.down_proj.weight");
    moments(slab + d->offset, d->elements, &mean, &std);
    tn_assert_near(std, 0.0125, 4 * 0.0125 / 256);
    const tni_weight *g = weight(&rig, "model.norm.weight");
    const tni_weight *z = weight(&rig, "model.layers.3.self_attn.q_proj.bias");
    for (int64_t i = 0; i < 128; i++) {
        assert_true(slab[g->offset + i] == 1.0f);
        assert_true(slab[z->offset + i] == 0.0f);
    }
    free(slab);
    model_rig_close(&rig);
}

/* Lag-one and between-weights correlations of independent draws are within
 * 4/sqrt(n); the halves of a Box-Muller pair are lag one. */
static void neighbours_are_independent(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(&rig, WIDE);
    float *slab = malloc((size_t)model_rig_slab(&rig) * sizeof *slab);
    tni_model_initialize(rig.model, 7, slab);
    const float *q =
        slab + weight(&rig, "model.layers.0.self_attn.q_proj.weight")->offset;
    const float *k =
        slab + weight(&rig, "model.layers.0.self_attn.k_proj.weight")->offset;
    const int64_t n = 128 * 128;
    double lag = 0, cross = 0;
    for (int64_t i = 0; i + 1 < n; i++) {
        lag += (double)q[i] * (double)q[i + 1];
        cross += (double)q[i] * (double)k[i];
    }
    tn_assert_near(lag / (double)n / 0.0025, 0.0, 4 / 128.0);
    tn_assert_near(cross / (double)n / 0.0025, 0.0, 4 / 128.0);
    free(slab);
    model_rig_close(&rig);
}

/* A weight depends on seed and name: not on its place, layers or groups. */
static void a_weight_starts_the_same_in_another_stack(void **state)
{
    (void)state;
    model_rig small, large;
    model_rig_open_ok(&small, "vocab_size: 11\nhidden_size: 8\nlayers:\n"
                              "  - {arch: transformer, num_heads: 4, "
                              "intermediate_size: 12}\n");
    model_rig_open_ok(&large, SMALL);
    float *a = malloc((size_t)model_rig_slab(&small) * sizeof *a);
    float *b = malloc((size_t)model_rig_slab(&large) * sizeof *b);
    tni_model_initialize(small.model, 1, a);
    tni_model_initialize(large.model, 1, b);
    const char *name = "model.layers.0.mlp.gate_proj.weight";
    const tni_weight *in_a = weight(&small, name);
    const tni_weight *in_b = weight(&large, name);
    assert_int_not_equal(in_a->offset, in_b->offset);
    assert_memory_equal(a + in_a->offset, b + in_b->offset, 96 * sizeof *a);

    tni_model_initialize(small.model, 2, b);
    assert_memory_not_equal(a + in_a->offset, b + in_a->offset, 96 * sizeof *a);
    free(a);
    free(b);
    model_rig_close(&small);
    model_rig_close(&large);
}

static void gaps_of_the_slab_are_zero(void **state)
{
    (void)state;
    model_rig rig;
    model_rig_open_ok(&rig, SMALL);
    const int64_t n = model_rig_slab(&rig);
    float *slab = malloc((size_t)n * sizeof *slab);
    memset(slab, 0xff, (size_t)n * sizeof *slab);
    tni_model_initialize(rig.model, 1, slab);
    const tni_weight *e = weight(&rig, "model.embed_tokens.weight");
    assert_int_equal(e->elements, 88);
    for (int64_t i = 88; i < 128; i++)
        assert_true(slab[e->offset + i] == 0.0f);
    free(slab);
    model_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_have_hugging_face_names_and_shapes),
        cmocka_unit_test(tied_embeddings_have_no_head_of_their_own),
        cmocka_unit_test(options_add_their_weights),
        cmocka_unit_test(the_slab_holds_groups_one_after_another),
        cmocka_unit_test(copies_lie_side_by_side),
        cmocka_unit_test(matrices_start_normal_and_gains_at_one),
        cmocka_unit_test(neighbours_are_independent),
        cmocka_unit_test(a_weight_starts_the_same_in_another_stack),
        cmocka_unit_test(gaps_of_the_slab_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
