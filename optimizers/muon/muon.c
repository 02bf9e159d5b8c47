/*
 * muon.c - momentum, orthogonalised by Newton-Schulz, for hidden matrices.
 *
 *     m = momentum m + (1 - momentum) g
 *     u = nesterov ? momentum m + (1 - momentum) g : m
 *     p = p (1 - lr wd) - lr adjust(rows, cols) newton_schulz(u)
 *
 * Semantics and option names are torch.optim.Muon's: momentum is an average;
 * adjust_lr_fn "original" is sqrt(max(1, rows/cols)), "match_rms_adamw" is
 * 0.2 sqrt(max(rows, cols)), which makes an AdamW lr and decay fit. PyTorch
 * orthogonalises in bfloat16, here it is the graph's dtype. Matrices of one
 * shape come as one (m, rows, cols) tensor and share every product.
 *
 * Sources: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
 * networks"; Liu et al. 2025, arXiv:2502.16982 (match_rms_adamw).
 */
#include <tenon/optimizer.h>

typedef struct {
    double lr, weight_decay, momentum, eps;
    double ns_coefficients[3];
    int64_t ns_steps;
    int32_t nesterov, adjust_lr_fn;
} muon_options;

enum { ORIGINAL, MATCH_RMS_ADAMW };

static const tn_option options[] = {
    TN_OPTION_LR(muon_options),
    TN_OPTION_FLOAT(muon_options, weight_decay, 0.1, 0, INFINITY,
                    "decoupled decay, multiplied by lr"),
    TN_OPTION_FLOAT(muon_options, momentum, 0.95, 0, 1,
                    "memory of the average gradient"),
    TN_OPTION_BOOL(muon_options, nesterov, 1, "look ahead by one step"),
    TN_OPTION_FLOATS(muon_options, ns_coefficients, 3,
                     "3.4445, -4.7750, 2.0315", -100, 100,
                     "a, b, c of X = aX + b(XX')X + c(XX')^2 X"),
    TN_OPTION_FLOAT(muon_options, eps, 1e-7, 1e-30, 1,
                    "least norm that a gradient is divided by"),
    TN_OPTION_INT(muon_options, ns_steps, 5, 1, 99, "Newton-Schulz iterations"),
    TN_OPTION_ENUM(muon_options, adjust_lr_fn, "original|match_rms_adamw",
                   ORIGINAL, "how lr follows a matrix's shape"),
};

enum { MOMENTUM };

static const tn_state_spec state[] = {[MOMENTUM] = {"momentum_buffer"}};

static double adjust(const muon_options *o, double rows, double cols)
{
    if (o->adjust_lr_fn == MATCH_RMS_ADAMW)
        return 0.2 * sqrt(fmax(rows, cols));
    return sqrt(fmax(1.0, rows / cols));
}

static void step(tn_builder *b, const tn_slot *slot, const void *given)
{
    const muon_options *o = given;
    const tn_tensor p = slot->param, g = slot->grad;
    const double rows = (double)tn_dim(b, p, 1), cols = (double)tn_dim(b, p, 2);

    const tn_tensor m = tn_lerp(b, slot->state[MOMENTUM], g, 1.0 - o->momentum);
    const tn_tensor u = o->nesterov ? tn_lerp(b, g, m, o->momentum) : m;
    const tn_tensor direction = tn_newton_schulz(
        b, u, .steps = o->ns_steps, .eps = o->eps, .a = o->ns_coefficients[0],
        .b = o->ns_coefficients[1], .c = o->ns_coefficients[2]);

    const tn_tensor keep =
        tn_rsub(b, 1.0, tn_scale(b, slot->lr, o->weight_decay));
    const tn_tensor rate = tn_scale(b, slot->lr, adjust(o, rows, cols));
    tn_assign(b, p, tn_sub(b, tn_mul(b, p, keep), tn_mul(b, rate, direction)));
    tn_assign(b, slot->state[MOMENTUM], m);
}

TN_OPTIMIZER(muon) = {
    .summary = "orthogonalised momentum for hidden matrices",
    .options = TN_OPTIONS(muon_options, options),
    TN_STATE(state),
    .per_matrix = 1,
    .step = step,
};
