/*
 * test_training.c - the laws of training, and of decoding, on Vulkan.
 */
#define ON_DEVICE                                                              \
    "backend={plugin: vulkan, validation: true, cache: false}", "precision="   \
                                                                "f32"

#include "../training_laws.h"
#include "vulkan_device.h"

#include "run/decoder.h"

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

/* ---- decoding ---- */

static tni_decoder *decoder(run_rig *rig, const char *const *set)
{
    tni_decoder *d;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(
        tni_decoder_create(run_rig_recipe(rig, set), NULL, 32, &d, &err), err);
    return d;
}

/* In pieces of 16, 4 and 1, then one by one: caches and states go on. */
static void every_architecture_decodes_as_the_cpu_does(void **state)
{
    static const int64_t lengths[] = {21, 1, 1, 5};
    int32_t tokens[32];
    for (int i = 0; i < 32; i++)
        tokens[i] = (i * 31 + 7) % 251;
    for (int i = 0; i < STACKS; i++) {
        tni_decoder *cpu = decoder(*state, SET(ON_CPU, stacks[i]));
        tni_decoder *device = decoder(*state, SET(ON_DEVICE, stacks[i]));
        for (int k = 0; k < 4; k++) {
            const int32_t *next = tokens + cpu->position;
            tn_assert_ok(tni_decoder_read(cpu, next, lengths[k], NULL));
            tn_assert_ok(tni_decoder_read(device, next, lengths[k], NULL));
            for (int64_t v = 0; v < cpu->vocab_size; v++)
                tn_assert_near(device->logits[v], cpu->logits[v], 1e-5);
        }
        tni_decoder_destroy(cpu);
        tni_decoder_destroy(device);
    }
}

int main(void)
{
    const struct CMUnitTest here[] = {
        cmocka_unit_test(bf16_walks_beside_f32),
        cmocka_unit_test(every_architecture_decodes_as_the_cpu_does),
    };
    if (!vulkan_can_run())
        return 0;
    return cmocka_run_group_tests(training_laws, run_rig_setup,
                                  run_rig_teardown) +
           cmocka_run_group_tests(here, run_rig_setup, run_rig_teardown);
}
