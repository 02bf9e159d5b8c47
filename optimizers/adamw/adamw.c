/*
 * adamw.c - Adam with decoupled weight decay, as PyTorch computes it.
 *
 *     p = p (1 - lr wd)
 *     m = m + (1 - beta1) (g - m)                 exp_avg
 *     v = beta2 v + (1 - beta2) g^2               exp_avg_sq
 *     p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *
 * t is the step, 1 at the first update. The corrections 1 - beta^t are formed
 * as -expm1(t log beta): in f32, 1 - 0.999^1 would keep only four digits.
 *
 * Sources: Kingma and Ba 2014, arXiv:1412.6980; Loshchilov and Hutter 2017,
 * arXiv:1711.05101; torch.optim.AdamW.
 */
#include <tenon/optimizer.h>

typedef struct {
    double lr;
    double betas[2];
    double eps;
    double weight_decay;
} adamw_options;

static const tn_option options[] = {
    TN_OPTION_LR(adamw_options),
    TN_OPTION_FLOATS(adamw_options, betas, 2, "0.9, 0.999", 0, 0.99999,
                     "memory of the mean gradient and of its square"),
    TN_OPTION_FLOAT(adamw_options, eps, 1e-8, 0, 1,
                    "added to the root of the mean square"),
    TN_OPTION_FLOAT(adamw_options, weight_decay, 0.01, 0, INFINITY,
                    "decoupled decay, multiplied by lr"),
};

enum { EXP_AVG, EXP_AVG_SQ };

static const tn_state_spec state[] = {
    [EXP_AVG] = {"exp_avg"},
    [EXP_AVG_SQ] = {"exp_avg_sq"},
};

/* 1 - beta^t */
static tn_tensor bias_correction(tn_builder *b, tn_tensor t, double beta)
{
    /* beta 0: a logarithm that is finite, and e^(t log beta) still 0 */
    const double log_beta = log(fmax(beta, 1e-300));
    return tn_neg(b, tn_expm1(b, tn_scale(b, t, log_beta)));
}

static void step(tn_builder *b, const tn_slot *slot, const void *given)
{
    const adamw_options *o = given;
    const double beta1 = o->betas[0], beta2 = o->betas[1];
    const tn_tensor g = slot->grad, lr = slot->lr;
    const tn_tensor c1 = bias_correction(b, slot->step, beta1);
    const tn_tensor c2 = bias_correction(b, slot->step, beta2);

    const tn_tensor m = tn_lerp(b, slot->state[EXP_AVG], g, 1 - beta1);
    const tn_tensor v = tn_add(b, tn_scale(b, slot->state[EXP_AVG_SQ], beta2),
                               tn_scale(b, tn_square(b, g), 1 - beta2));

    const tn_tensor keep = tn_rsub(b, 1, tn_scale(b, lr, o->weight_decay));
    const tn_tensor decayed = tn_mul(b, slot->param, keep);
    const tn_tensor root = tn_mul(b, tn_sqrt(b, v), tn_rsqrt(b, c2));
    const tn_tensor direction = tn_div(b, m, tn_shift(b, root, o->eps));
    const tn_tensor p =
        tn_sub(b, decayed, tn_mul(b, tn_div(b, lr, c1), direction));

    tn_assign(b, slot->param, p);
    tn_assign(b, slot->state[EXP_AVG], m);
    tn_assign(b, slot->state[EXP_AVG_SQ], v);
}

TN_OPTIMIZER(adamw) = {
    .summary = "Adam with decoupled weight decay, PyTorch's equations",
    .options = TN_OPTIONS(adamw_options, options),
    TN_STATE(state),
    .step = step,
};
