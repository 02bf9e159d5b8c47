/*
 * test_training.c - the laws of training, on Vulkan.
 */
#define ON_DEVICE                                                              \
    "backend={plugin: vulkan, validation: true, cache: false}", "precision="   \
                                                                "f32"

#include "../training_laws.h"
#include "vulkan_device.h"

int main(void)
{
    if (!vulkan_can_run())
        return 0;
    return cmocka_run_group_tests(training_laws, run_rig_setup,
                                  run_rig_teardown);
}
