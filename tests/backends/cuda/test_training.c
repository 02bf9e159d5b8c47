/*
 * test_training.c - the laws of training, on CUDA.
 */
#define ON_DEVICE "backend=cuda", "precision=f32"

#include "../training_laws.h"
#include "cuda_device.h"

int main(void)
{
    if (!cuda_can_run())
        return 0;
    return cmocka_run_group_tests(training_laws, run_rig_setup,
                                  run_rig_teardown);
}
