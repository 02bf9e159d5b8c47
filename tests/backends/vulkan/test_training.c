/*
 * test_training.c - the laws of training, on Vulkan.
 */
#define ON_DEVICE                                                              \
    "backend={plugin: vulkan, validation: true, cache: false}", "precision="   \
                                                                "f32"

#include "../training_laws.h"
#include "vulkan_device.h"

/* ---- in bf16 ---- */

static uint32_t narrow_operands(const tni_training *t)
{
    const tn_plan *plan = tni_session_get(t->session, t->first);
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->node_count; i++)
        for (uint32_t k = 0; k < plan->nodes[i].in_count; k++)
            count += plan->nodes[i].in[k].dtype == TN_BF16;
    return count;
}

/* Halved storage rounds: curves lie beside each other, not upon. */
static void bf16_walks_beside_f32(void **state)
{
    enum { STEPS = 12 };
    for (int i = 0; i < STACKS; i++) {
        tni_training *wide =
            start(*state, SET(ON_DEVICE, stacks[i], optimizers[0]));
        tni_training *narrow = start(
            *state, SET(ON_DEVICE, stacks[i], optimizers[0], "precision=bf16"));
        assert_int_equal(narrow_operands(wide), 0);
        assert_true(narrow_operands(narrow) > 10);
        for (int64_t s = 0; s < STEPS; s++)
            tn_assert_near(step(narrow, s), step(wide, s), 2e-2);
        tni_training_destroy(wide);
        tni_training_destroy(narrow);
    }
}

int main(void)
{
    const struct CMUnitTest in_bf16[] = {
        cmocka_unit_test(bf16_walks_beside_f32),
    };
    if (!vulkan_can_run())
        return 0;
    return cmocka_run_group_tests(training_laws, run_rig_setup,
                                  run_rig_teardown) +
           cmocka_run_group_tests(in_bf16, run_rig_setup, run_rig_teardown);
}
