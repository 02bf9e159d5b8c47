/*
 * test_stored.c - stacks of weights: one tensor in a graph, many in a file.
 */
#include "model_rig.h"

#define EXPERTS(count)                                                         \
    "vocab_size: 11\nhidden_size: 8\nlayers:\n"                                \
    "  - {arch: transformer, num_heads: 2, mlp: {type: moe, num_experts: "     \
    "" count ", experts_per_token: 2, intermediate_size: 5}}\n"

static const tni_weight *find(const tni_weight *stored, uint32_t count,
                              const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(stored[i].name, name))
            return &stored[i];
    print_error("no weight %s\n", name);
    fail();
    return NULL;
}

static void a_stack_is_stored_under_its_parts_names(void **state)
{
    (void)state;
    model_rig rig;
    uint32_t count = 0, whole = 0;
    model_rig_open_ok(&rig, EXPERTS("3"));
    const tni_weight *stored = tni_model_stored(rig.model, rig.arena, &count);
    tni_model_weights(rig.model, &whole);
    assert_int_equal(count, whole + 3 * (3 - 1));

    const tni_weight *stack = tni_model_weight(
        rig.model, "model.layers.0.mlp.experts.*.down_proj.weight");
    assert_non_null(stack);
    assert_true(tni_weight_is_stack(stack));
    assert_int_equal(stack->rank, 3);
    for (int64_t e = 0; e < 3; e++) {
        char name[80];
        snprintf(name, sizeof name,
                 "model.layers.0.mlp.experts.%lld.down_proj.weight",
                 (long long)e);
        const tni_weight *part = find(stored, count, name);
        assert_int_equal(part->rank, 2);
        assert_int_equal(part->shape[0], 8);
        assert_int_equal(part->shape[1], 5);
        assert_int_equal(part->elements, 40);
        assert_int_equal(part->offset, stack->offset + e * 40);
    }
    const tni_weight *gate =
        find(stored, count, "model.layers.0.mlp.gate.weight");
    assert_false(tni_weight_is_stack(gate));
    assert_int_equal(gate->rank, 2);
    assert_int_equal(gate->shape[0], 3);
    model_rig_close(&rig);
}

/* An expert starts as it does among fewer of them. */
static void a_part_starts_by_its_own_name(void **state)
{
    (void)state;
    static const char up[] = "model.layers.0.mlp.experts.1.up_proj.weight";
    model_rig few, many;
    uint32_t n = 0, m = 0;
    model_rig_open_ok(&few, EXPERTS("2"));
    model_rig_open_ok(&many, EXPERTS("7"));
    double *a = malloc((size_t)model_rig_slab(&few) * sizeof *a);
    double *b = malloc((size_t)model_rig_slab(&many) * sizeof *b);
    model_rig_draw(&few, 3, a);
    model_rig_draw(&many, 3, b);
    const tni_weight *of_few = tni_model_stored(few.model, few.arena, &n);
    const tni_weight *of_many = tni_model_stored(many.model, many.arena, &m);
    const tni_weight *x = find(of_few, n, up), *y = find(of_many, m, up);
    assert_memory_equal(a + x->offset, b + y->offset, 40 * sizeof *a);
    assert_memory_not_equal(b + y->offset, b + y->offset + 40, 40 * sizeof *b);
    free(a);
    free(b);
    model_rig_close(&few);
    model_rig_close(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stack_is_stored_under_its_parts_names),
        cmocka_unit_test(a_part_starts_by_its_own_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
