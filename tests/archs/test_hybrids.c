/*
 * test_hybrids.c - stacks of several architectures, which are config only: the
 * list of layers unrolls as it says, and what holds of each layer holds of
 * them together.
 */
#include "layer_laws.h"

#include "model/stack.h"

#define TRANSFORMER "{arch: transformer, num_heads: 2, intermediate_size: 6}"
#define MAMBA2                                                                 \
    "arch: mamba2, num_heads: 4, head_dim: 4, state_size: 3, chunk_size: 3"
#define MLA                                                                    \
    "arch: mla, num_heads: 2, kv_lora_rank: 5, qk_nope_head_dim: 3, "          \
    "qk_rope_head_dim: 2, v_head_dim: 4"
#define EXPERTS                                                                \
    "mlp: {type: moe, num_experts: 3, experts_per_token: 2, "                  \
    "shared_experts: 1, intermediate_size: 4}"

static const char *const hybrids[] = {
    /* every second one attends */
    LAW_HEAD "layers:\n"
             "  - repeat: 2\n"
             "    layers:\n"
             "      - {" MAMBA2 "}\n"
             "      - " TRANSFORMER "\n",
    /* all three, experts in some */
    LAW_HEAD "layers:\n"
             "  - {" MAMBA2 ", repeat: 2}\n"
             "  - {" MLA ", " EXPERTS "}\n"
             "  - " TRANSFORMER "\n",
    /* groups in groups */
    LAW_HEAD "layers:\n"
             "  - repeat: 2\n"
             "    layers:\n"
             "      - repeat: 2\n"
             "        layers: [{" MAMBA2 "}]\n"
             "      - {" MLA ", intermediate_size: 6}\n",
};

/* One letter for each layer. */
static const char *const unrolled[] = {"mtmt", "mmlt", "mmlmml"};

enum { HYBRIDS = sizeof hybrids / sizeof hybrids[0] };

static void the_list_unrolls_as_it_says(void **state)
{
    (void)state;
    for (int i = 0; i < HYBRIDS; i++) {
        model_rig rig;
        model_rig_open_ok(&rig, hybrids[i]);
        assert_int_equal(tni_model_layer_count(rig.model), strlen(unrolled[i]));
        for (size_t l = 0; unrolled[i][l]; l++)
            assert_string_equal(rig.model->layers[l]->arch_name,
                                unrolled[i][l] == 'm'   ? "mamba2"
                                : unrolled[i][l] == 'l' ? "mla"
                                                        : "transformer");
        model_rig_close(&rig);
    }
}

static void what_holds_of_each_layer_holds_of_the_stack(void **state)
{
    (void)state;
    for (int i = 0; i < HYBRIDS; i++) {
        law_no_layer_sees_the_future(hybrids[i]);
        law_gradients_reach_every_weight_and_are_right(hybrids[i]);
        law_decoding_gives_the_logits_of_training(hybrids[i]);
        law_documents_do_not_meet(hybrids[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_unrolls_as_it_says),
        cmocka_unit_test(what_holds_of_each_layer_holds_of_the_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
