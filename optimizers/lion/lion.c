/*
 * lion.c - step by the sign of an interpolated momentum.
 *
 *     c = beta1 m + (1 - beta1) g               which way to go
 *     p = p - lr (sign(c) + weight_decay p)     moves by lr, whatever g is
 *     m = beta2 m + (1 - beta2) g               what to remember
 *
 * One state where AdamW keeps two. Its steps are larger: the authors use an lr
 * 3 to 10 times smaller than AdamW's, and a weight decay as much larger.
 *
 * Source: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms",
 * algorithm 2, arXiv:2302.06675.
 */
#include <tenon/optimizer.h>

typedef struct {
    double lr;
    double betas[2];
    double weight_decay;
} lion_options;

static const tn_option options[] = {
    TN_OPTION_LR(lion_options),
    TN_OPTION_FLOATS(lion_options, betas, 2, "0.9, 0.99", 0, 1,
                     "share of momentum in the direction, and in the memory"),
    TN_OPTION_FLOAT(lion_options, weight_decay, 0, 0, INFINITY,
                    "decoupled decay, multiplied by lr"),
};

enum { EXP_AVG };

static const tn_state_spec state[] = {[EXP_AVG] = {"exp_avg"}};

static void step(tn_builder *b, const tn_slot *slot, const void *given)
{
    const lion_options *o = given;
    const tn_tensor p = slot->param, g = slot->grad, m = slot->state[EXP_AVG];

    const tn_tensor direction = tn_sign(b, tn_lerp(b, g, m, o->betas[0]));
    const tn_tensor decay = tn_scale(b, p, o->weight_decay);
    const tn_tensor update = tn_mul(b, slot->lr, tn_add(b, direction, decay));

    tn_assign(b, p, tn_sub(b, p, update));
    tn_assign(b, m, tn_lerp(b, g, m, o->betas[1]));
}

TN_OPTIMIZER(lion) = {
    .summary = "sign of an interpolated momentum; half of AdamW's state",
    .options = TN_OPTIONS(lion_options, options),
    TN_STATE(state),
    .step = step,
};
