/*
 * footprint.c - bytes by category, and what to change when they are too many.
 */
#include "run/footprint.h"

/* ---- decoding ---- */

/* The model reading one token, as decoding or as training does. */
static tni_graph *describe_token(const tni_training *t, int training)
{
    static const int64_t one[2] = {1, 1};
    tni_graph *g = tni_graph_create(t->session->dtype);
    tni_model_io io = {.batch = 1,
                       .seq_len = 1,
                       .state_len = 1,
                       .cache_dtype =
                           t->session->is_bf16 ? TN_BF16 : TN_DTYPE_NONE,
                       .training = (uint32_t)training,
                       .tokens = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT,
                                                0, TN_I32, 2, one, "tokens")};
    tni_model_out out;
    if (!training)
        io.positions = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_I32,
                                      2, one, "positions");
    tni_model_describe(t->recipe->model, g, &io, &out);
    return g;
}

static void count_states(const tni_training *t, tni_footprint *f)
{
    uint32_t count;
    int64_t bytes;
    tni_graph_destroy(describe_token(t, 0));
    const tni_state *state = tni_model_states(t->recipe->model, &count, &bytes);
    for (uint32_t i = 0; i < count; i++) {
        f->cache_token_bytes += state[i].bytes_per_token;
        if (!state[i].bytes_per_token)
            f->state_bytes += state[i].bytes;
    }
}

/* Training attends with keys and values themselves. */
static void count_keys_and_values(const tni_training *t, tni_footprint *f)
{
    tni_graph *g = describe_token(t, 1);
    const int64_t each = t->session->is_bf16 ? 2 : t->session->real_bytes;
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        for (uint32_t i = 1; node->desc->number == TN_OP_ATTENTION && i <= 2;
             i++) {
            const tn_tensor_info x = tn_info(&g->builder, node->in[i]);
            f->plain_token_bytes += tn_elements(&x) * each;
        }
    }
    tni_graph_destroy(g);
}

/* ---- all of it ---- */

void tni_footprint_of(const tni_training *t, tni_footprint *f)
{
    const tni_session *s = t->session;
    const tni_train_options *o = &t->recipe->train;
    const tni_plan *first = s->compiled[t->first].plan;
    const double tokens = (double)(tni_recipe_rows(t->recipe) * o->seq_len);
    *f = (tni_footprint){
        .parameters = tni_model_parameter_count(t->recipe->model),
        .matrix_parameters = tni_model_matrix_parameters(t->recipe->model),
        .forward_flops = s->compiled[t->eval].plan->flops / tokens,
        .training_flops = first->flops / tokens,
        .tokens_per_step = o->batch_size * o->seq_len * o->grad_accum,
        .workspace_bytes = s->workspace_bytes,
        .program_bytes = s->program_bytes,
        .total_bytes = tni_session_resident_bytes(s),
        .available_bytes = s->device.caps.memory_bytes,
    };
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++)
        f->bytes[a] = s->arena_bytes[a];
    for (uint32_t i = 0; i < first->largest_count && i < TNI_LARGEST; i++) {
        f->largest_name[i] = first->largest[i].name;
        f->largest_bytes[i] = first->largest[i].bytes;
        f->largest_count++;
    }
    count_states(t, f);
    count_keys_and_values(t, f);
}

/* ---- refusing with advice ---- */

static int fits(const tni_recipe *recipe, int64_t available)
{
    tni_training *t;
    if (tni_training_create(recipe, &t, NULL) != TN_OK)
        return 0;
    const int good = tni_session_bytes(t->session) <= available;
    tni_training_destroy(t);
    return good;
}

/* The mildest change that fits: keep less of each layer, then smaller
 * micro-batches, more of them. */
static void advise(const tni_recipe *recipe, int64_t available, char *to,
                   size_t size)
{
    tni_recipe other = *recipe;
    other.train.recompute = TNI_RECOMPUTE_LAYER;
    if (recipe->train.recompute != TNI_RECOMPUTE_LAYER &&
        fits(&other, available)) {
        snprintf(to, size, "train.recompute: layer would fit");
        return;
    }
    while (other.train.batch_size > 1) {
        other.train.batch_size /= 2;
        if (!fits(&other, available))
            continue;
        const int64_t times =
            (recipe->train.batch_size + other.train.batch_size - 1) /
            other.train.batch_size;
        snprintf(to, size,
                 "train.recompute: layer and train.batch_size: %lld (with "
                 "train.grad_accum: %lld for the same step) would fit",
                 (long long)other.train.batch_size,
                 (long long)(recipe->train.grad_accum * times));
        return;
    }
    snprintf(to, size,
             "even train.batch_size: 1 does not fit; shorten "
             "train.seq_len or make the model smaller");
}

static void list_categories(const tni_session *s, char *to, size_t size)
{
    static const char *const name[] = {
#define XX(id, number, text) [number] = text,
        TN_ARENA_MAP(XX)
#undef XX
    };
    size_t used = 0;
    for (uint32_t a = 1; a < TN_ARENA_COUNT && used < size; a++)
        if (s->arena_bytes[a] >= 1 << 16)
            used += (size_t)snprintf(to + used, size - used, "%s%s %.1f MiB",
                                     used ? ", " : "", name[a],
                                     (double)s->arena_bytes[a] / 0x1p20);
    if (s->workspace_bytes >= 1 << 16 && used < size)
        snprintf(to + used, size - used, "%skernels %.1f MiB", used ? ", " : "",
                 (double)s->workspace_bytes / 0x1p20);
}

tn_status tni_footprint_check(const tni_training *t, tn_error *err)
{
    const tni_session *s = t->session;
    const int64_t need = tni_session_bytes(s),
                  have = s->device.caps.memory_bytes;
    char categories[400] = "", advice[240];
    if (have <= 0 || need <= have)
        return TN_OK;
    list_categories(s, categories, sizeof categories);
    advise(t->recipe, have, advice, sizeof advice);
    return tn_fail(err, TN_ENOMEM,
                   "this run needs %.1f MiB and backend %s has %.1f MiB free "
                   "(%s); %s",
                   (double)need / 0x1p20, s->device.name, (double)have / 0x1p20,
                   categories, advice);
}

tn_status tni_footprint_explain(const tni_training *t, tn_status status,
                                tn_error *err)
{
    char categories[400] = "";
    if (status != TN_ENOMEM || !err)
        return status;
    const tn_error why = *err;
    *err = (tn_error){0}; /* an error keeps its first sentence */
    list_categories(t->session, categories, sizeof categories);
    return tn_fail(
        err, status,
        "%.480s. This run's plans need %.1f MiB (%s); train.recompute: layer "
        "or a smaller train.batch_size makes that less",
        why.message, (double)tni_session_bytes(t->session) / 0x1p20,
        categories);
}
