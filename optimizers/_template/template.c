/*
 * template.c - stochastic gradient descent with momentum.
 *
 *     v = momentum * v + g
 *     p = p - lr * (v + weight_decay * p)
 *
 * p, g and v are many weights at once, cut where the core likes: work element
 * by element, or set .per_matrix = 1 below to get matrices (m, rows, cols). lr
 * is a scalar that already follows the schedule. State is zero before the first
 * step; the core saves and restores it.
 */
#include <tenon/optimizer.h>

typedef struct {
    double lr;
    double momentum;
    double weight_decay;
} template_options;

static const tn_option options[] = {
    TN_OPTION_LR(template_options),
    TN_OPTION_FLOAT(template_options, momentum, 0.9, 0, 1,
                    "share of the last step in this one"),
    TN_OPTION_FLOAT(template_options, weight_decay, 0, 0, INFINITY,
                    "decoupled decay, multiplied by lr"),
};

enum { VELOCITY };

static const tn_state_spec state[] = {
    [VELOCITY] = {"velocity"},
};

/* What reads the old p and v stands before they are assigned. */
static void step(tn_builder *b, const tn_slot *slot, const void *given)
{
    const template_options *o = given;
    const tn_tensor p = slot->param, g = slot->grad;
    const tn_tensor kept = tn_scale(b, slot->state[VELOCITY], o->momentum);
    const tn_tensor v = tn_add(b, kept, g);
    const tn_tensor move = tn_add(b, v, tn_scale(b, p, o->weight_decay));

    tn_assign(b, p, tn_sub(b, p, tn_mul(b, slot->lr, move)));
    tn_assign(b, slot->state[VELOCITY], v);
}

TN_OPTIMIZER(template) = {
    .summary = "gradient descent with momentum",
    .options = TN_OPTIONS(template_options, options),
    TN_STATE(state),
    .step = step,
};
