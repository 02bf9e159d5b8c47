/*
 * test_mamba2.c - the laws of layers for Mamba-2, alone and among others; that
 * its state does not grow; that the chunk size changes nothing; what it
 * refuses; its Hugging Face form.
 */
#include "layer_laws.h"

#include <jansson.h>
#include <unistd.h>

#define MAMBA(more) "{arch: mamba2, state_size: 5, " more "}"
#define LAYER(more) LAW_HEAD "layers: [" MAMBA("repeat: 2, " more) "]\n"

/* hidden_size is 8: the inner width is 16. Seven tokens make chunks of 3, 3 and
 * 1. */
static const char *const variants[] = {
    LAYER("num_heads: 4, chunk_size: 3"),
    LAYER("head_dim: 2, n_groups: 2, norm_groups: 2, chunk_size: 1"),
    LAYER("num_heads: 2, head_dim: 5, expand: 0, use_bias: true, "
          "use_conv_bias: false, conv_kernel: 2"),
    LAYER("num_heads: 4, time_step_limit: [0.01, 0.05], intermediate_size: 6"),
    LAW_HEAD "layers:\n"
             "  - " MAMBA("num_heads: 8, chunk_size: 7") "\n"
             "  - {arch: transformer, num_heads: 2, intermediate_size: 6}\n"
             "  - " MAMBA("num_heads: 1, conv_kernel: 9") "\n",
};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static void no_variant_sees_the_future(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_no_layer_sees_the_future(variants[i]);
}

static void gradients_reach_every_weight_and_are_right(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_gradients_reach_every_weight_and_are_right(variants[i]);
}

static void decoding_gives_the_logits_of_training(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        law_decoding_gives_the_logits_of_training(variants[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_variant_sees_the_future),
        cmocka_unit_test(gradients_reach_every_weight_and_are_right),
        cmocka_unit_test(decoding_gives_the_logits_of_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
