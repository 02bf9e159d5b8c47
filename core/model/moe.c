/*
 * moe.c - a mixture of experts: each token through its k best of E mlps.
 *
 *     p = softmax(W_gate x)            over all experts
 *     w, e = the k largest of p        w / sum(w) with norm_topk_prob
 *     y = sum_j w_j mlp_{e_j}(x)  +  shared(x)
 *
 * N tokens make N k rows, sorted by expert; one grouped product then runs the
 * rows of each expert through its matrix, so only chosen experts are computed:
 *
 *     choice (N, k) -> order: row r is copy order[r] of token order[r] / k
 *                      inverse: where copy i went
 *
 * The router learns through w. Left alone it would feed a few experts only,
 * which is what the balance loss is for: alpha E sum_e f_e P_e, with f_e the
 * share of the N k rows that went to e, and P_e the mean of p_e. It is least
 * where both are uniform; f has no gradient, P has.
 *
 * Sources: Shazeer et al. 2017, arXiv:1701.06538; Fedus et al. 2021 (the
 * balance loss), arXiv:2101.03961; Dai et al. 2024 (shared experts),
 * arXiv:2401.06066. Weights are named as in Hugging Face's DeepSeek and Qwen3.
 */
#include <math.h>

#include "model/stack.h"

typedef struct moe_options {
    int64_t intermediate_size; /* as tni_mlp_options */
    int32_t activation, norm_topk_prob;
    int64_t num_experts, experts_per_token, shared_experts;
    double load_balance_alpha;
} moe_options;

static const tn_option rows[] = {
    TNI_MLP_OPTIONS(moe_options, TNI_SILU),
    TN_OPTION_INT_REQUIRED(moe_options, num_experts, 1, 65536, "experts"),
    TN_OPTION_INT_REQUIRED(moe_options, experts_per_token, 1, 65536,
                           "experts a token goes through"),
    TN_OPTION_INT(moe_options, shared_experts, 0, 0, 65536,
                  "experts that every token goes through, as one mlp of their "
                  "joint width"),
    TN_OPTION_BOOL(moe_options, norm_topk_prob, 0,
                   "weights of a token's experts are scaled to a sum of 1"),
    TN_OPTION_FLOAT(moe_options, load_balance_alpha, 0.01, 0, INFINITY,
                    "weight of the balance loss"),
};

static tn_status check(const tni_yaml *node, const char *where,
                       const void *options, tn_error *err)
{
    const moe_options *o = options;
    if (o->experts_per_token > o->num_experts)
        return tni_yaml_fail(tni_yaml_get(node, "experts_per_token"), err,
                             "%s.experts_per_token: %lld is more than "
                             "num_experts, which is %lld",
                             where, (long long)o->experts_per_token,
                             (long long)o->num_experts);
    if (o->norm_topk_prob && o->experts_per_token == 1)
        return tni_yaml_fail(tni_yaml_get(node, "norm_topk_prob"), err,
                             "%s.norm_topk_prob: with one expert per token "
                             "every weight would be 1 and the router learn "
                             "nothing; set it to false",
                             where);
    return TN_OK;
}

/* Indices pass through maps, which compute in f32. */
enum { MOST_ROWS = 1 << 24 };

/* Where each token goes, and how much of what comes back counts. */
typedef struct route {
    tn_tensor p;       /* (N, E) */
    tn_tensor weight;  /* (N, k) */
    tn_tensor token;   /* i32 (N k): of each sorted row */
    tn_tensor inverse; /* i32 (N k) */
    tn_tensor offsets; /* i32 (E + 1): first row of each expert */
} route;

static route choose(tn_layer *l, tn_tensor x, const moe_options *o)
{
    tn_builder *b = l->b;
    const int64_t E = o->num_experts, k = o->experts_per_token;
    route r;
    tn_tensor choice, plan[3];
    r.p = tn_softmax(b, tn_project(l, x, "mlp.gate", E, 0));
    tn_topk(b, r.p, k, &r.weight, &choice);
    if (o->norm_topk_prob)
        r.weight = tn_div(b, r.weight, tn_sum(b, r.weight, 1u << 1));
    tn_expert_plan(b, choice, E, plan);
    const tn_tensor copies =
        tn_with_constant_at(b, TN_MAP_DIV, plan[0], (double)k, 0, TN_HERE);
    r.token = tn_cast(b, tn_floor(b, copies), TN_I32);
    r.inverse = plan[1];
    r.offsets = plan[2];
    return r;
}

/* Sorted rows (N k, in) through their experts' matrices: (N k, out). */
static tn_tensor grouped(tn_layer *l, const route *r, tn_tensor x,
                         const char *name, int64_t out, tn_init init)
{
    const int64_t E = tn_dim(l->b, r->offsets, 0) - 1;
    const tn_tensor w = tn_weight(l, name, init, E, out, tn_dim(l->b, x, 1));
    return tn_grouped_matmul(l->b, x, tn_transpose(l->b, w), r->offsets);
}

static tn_tensor experts(tn_layer *l, tn_tensor x, const route *r,
                         const moe_options *o)
{
    tn_builder *b = l->b;
    const int64_t N = tn_dim(b, x, 0), C = tn_dim(b, x, 1);
    const int64_t k = o->experts_per_token, I = o->intermediate_size;
    const tn_tensor in = tn_gather_rows(b, x, r->token);
    const tn_tensor gate = grouped(l, r, in, "mlp.experts.*.gate_proj.weight",
                                   I, tn_init_normal(0));
    const tn_tensor up =
        grouped(l, r, in, "mlp.experts.*.up_proj.weight", I, tn_init_normal(0));
    const tn_tensor h = tn_mul(b, tni_activate(b, gate, o->activation), up);
    const tn_tensor out = grouped(l, r, h, "mlp.experts.*.down_proj.weight", C,
                                  tn_init_residual());
    const tn_tensor back =
        tn_reshape(b, tn_gather_rows(b, out, r->inverse), N, k, C);
    const tn_tensor weighted =
        tn_mul(b, back, tn_reshape(b, r->weight, N, k, 1));
    return tn_reshape(b, tn_sum(b, weighted, 1u << 1), N, C);
}

static void balance(tn_layer *l, const route *r, const moe_options *o)
{
    tn_builder *b = l->b;
    const int64_t N = tn_dim(b, r->p, 0), E = o->num_experts;
    const tn_tensor rows_of = tn_sub(b, tn_slice(b, r->offsets, 0, 1, E),
                                     tn_slice(b, r->offsets, 0, 0, E));
    const tn_tensor f =
        tn_scale(b, rows_of, 1.0 / (double)(N * o->experts_per_token));
    const tn_tensor P = tn_scale(b, tn_sum(b, r->p, 1u << 0), 1.0 / (double)N);
    const tn_tensor fP = tn_mul(b, f, tn_reshape(b, P, E));
    tn_auxiliary_loss(
        l, "load_balance",
        tn_scale(b, tn_sum(b, fP, 1u << 0), o->load_balance_alpha * (double)E));
}

static tn_tensor moe(tn_layer *l, tn_tensor x, const void *options)
{
    const moe_options *o = options;
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, x, 0), T = tn_dim(b, x, 1);
    const tn_tensor tokens = tn_reshape(b, x, B * T, l->hidden_size);
    if (B * T * o->experts_per_token > MOST_ROWS) {
        tn_builder_fail(b,
                        "%lld tokens go through %lld experts each; at most %d "
                        "such rows are possible at once: make "
                        "train.batch_size smaller",
                        (long long)(B * T), (long long)o->experts_per_token,
                        MOST_ROWS);
        return TN_NONE;
    }
    const route r = choose(l, tokens, o);
    if (o->load_balance_alpha > 0)
        balance(l, &r, o);
    tn_tensor y =
        tn_reshape(b, experts(l, tokens, &r, o), B, T, l->hidden_size);
    if (o->shared_experts)
        y = tn_add(b, y,
                   tni_gated_mlp(l, x, "mlp.shared_experts",
                                 o->shared_experts * o->intermediate_size,
                                 o->activation));
    return y;
}

static void tell(const void *options, tn_arch_context *context)
{
    const moe_options *o = options;
    context->num_experts = o->num_experts;
    context->shared_experts = o->shared_experts;
    context->norm_topk_prob = (uint32_t)o->norm_topk_prob;
}

/* The models differ in what they call their experts' number. */
static void write(const void *options, const tn_hf_writer *w)
{
    const moe_options *o = options;
    w->number(w->to, "num_experts", (double)o->num_experts);
    w->number(w->to, "n_routed_experts", (double)o->num_experts);
    w->number(w->to, "n_shared_experts", (double)o->shared_experts);
    w->number(w->to, "num_experts_per_tok", (double)o->experts_per_token);
    w->number(w->to, "moe_intermediate_size", (double)o->intermediate_size);
    w->boolean(w->to, "norm_topk_prob", o->norm_topk_prob);
    w->real(w->to, "router_aux_loss_coef", o->load_balance_alpha);
}

const tni_mlp_type tni_moe_type = {
    .name = "moe",
    .options = TN_OPTIONS(moe_options, rows),
    .check = check,
    .forward = moe,
    .tell = tell,
    .hugging_face = write,
};
