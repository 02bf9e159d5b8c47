/*
 * arch.h - one decoder layer, described once for training, prefill and
 * decoding.
 *
 * An architecture receives the residual stream x (B, T, C) and returns it after
 * the layer. It asks for weights by name where it uses them, and builds the
 * rest with <tenon/builder.h>. It sees no memory, device, loop or mode: the
 * helpers below know whether this graph trains or decodes.
 *
 *     static tn_tensor forward(tn_layer *l, tn_tensor x, const void *options)
 *     {
 *         const tn_tensor h = tn_layer_norm(l, x, "input_layernorm");
 *         ...
 *         k = tn_cache(l, "k", k);    all keys so far: (B, S, G, D)
 *         ...
 *         return tn_add(l->b, x, tn_mlp(l, tn_layer_norm(l, x, "...")));
 *     }
 */
#ifndef TENON_ARCH_H
#define TENON_ARCH_H

#include <tenon/builder.h>
#include <tenon/plugin.h>

TN_BEGIN_DECLS

/* How a weight starts. std 0 means the model's initializer_range. */
enum {
    TN_INIT_NORMAL = 1,          /* mean a, standard deviation b */
    TN_INIT_RESIDUAL = 2,        /* normal, std / sqrt(2 layers): a projection
                                    that writes to the residual stream */
    TN_INIT_CONSTANT = 3,        /* a */
    TN_INIT_UNIFORM = 4,         /* in [a, b) */
    TN_INIT_LOG_UNIFORM = 5,     /* log of a uniform draw in [a, b) */
    TN_INIT_SOFTPLUS_INVERSE = 6 /* y with softplus(y) log-uniform in [a, b) */
};
typedef struct tn_init {
    uint32_t kind;
    uint32_t reserved;
    double a, b;
} tn_init;

typedef struct tn_layer tn_layer;

typedef struct tn_layer_api {
    uint32_t struct_size;
    uint32_t reserved;

    /* The weight `name` of this layer ("self_attn.q_proj.weight"); declared
     * by its first use, the same shape ever after. A * in the name stands for
     * the numbers of shape[0] weights, which are one tensor here and many in
     * checkpoints ("mlp.experts.*.up_proj.weight"). */
    tn_tensor (*weight)(tn_layer *l, const char *name, uint32_t rank,
                        const int64_t *shape, tn_init init, tn_here here);

    /* rows (B, T, ...) at the positions of this call. Training: rows as they
     * are. Decoding: written into the cache `name` (B, S, ...), which is
     * returned whole; its rows beyond the current position are not to be
     * read, which attention's causal rule ensures. */
    tn_tensor (*cache)(tn_layer *l, const char *name, tn_tensor rows,
                       tn_here here);

    /* A state (B, ...) of the graph's dtype that starts at zero with each
     * sequence (SSM state, delayed rows). Training: none from `load`, and
     * `store` does nothing. A value stored is what `load` returns in the next
     * call; in this one, what was loaded stays what it was. */
    tn_tensor (*load)(tn_layer *l, const char *name, uint32_t rank,
                      const int64_t *shape, tn_here here);
    void (*store)(tn_layer *l, const char *name, tn_tensor value, tn_here here);

    /* The feed-forward part that this layer's `mlp:` describes: (B, T, C) to
     * (B, T, C), with its weights under "mlp.". */
    tn_tensor (*mlp)(tn_layer *l, tn_tensor x, tn_here here);

    /* A term added to the training loss of every token, reported apart from the
     * cross-entropy: a scalar (1), whatever the number of tokens. Ignored when
     * not training. */
    void (*auxiliary_loss)(tn_layer *l, const char *name, tn_tensor value,
                           tn_here here);

    /* rows (B, T, C) of a layer that looks `length` rows back: the rows
     * before them, (B, length, C), zeros before the sequence began. Training:
     * none, for a sequence begins with its first row. Decoding: kept from call
     * to call, without padded rows. */
    tn_tensor (*window)(tn_layer *l, const char *name, tn_tensor rows,
                        int64_t length, tn_here here);
} tn_layer_api;

struct tn_layer {
    uint32_t struct_size;
    uint32_t index; /* 0-based */
    uint32_t layer_count;
    uint32_t training; /* helpers look at it; architectures need not */
    const tn_layer_api *api;
    tn_builder *b;
    int64_t hidden_size;
    int64_t intermediate_size; /* of the mlp; 0 where the layer gives none */
    int64_t max_seq_len;
    double norm_eps;
    /* i32 (B, T): where each row of this call stands in its sequence. none in
     * training, where row t stands at t; -1 for padded rows, which leave no
     * trace. Pass it to tn_rope and tn_attention; see tn_without_padding. */
    tn_tensor positions;
    tn_tensor rng; /* i32 (2), for tn_dropout; none when not training */
    /* i32 (B, T), since ABI 1.2: at which row of this call each row's document
     * begins, where rows are to be kept to documents; else none. Whatever reads
     * several rows reads none before it: tn_layer_attention, _conv1d and
     * _ssd_scan see to it; an op of one's own compares. A layer that does not
     * read it is refused then. */
    tn_tensor first;
    uint32_t reserved;
};

/* Hugging Face's view of a layer, for config.json. */
typedef struct tn_hf_writer {
    uint32_t struct_size;
    uint32_t reserved;
    void *to;
    void (*number)(void *to, const char *key, double value);
    void (*boolean)(void *to, const char *key, int32_t value);
    void (*string)(void *to, const char *key, const char *value);
    void (*null)(void *to, const char *key);
    /* numbers that stay floats when they are whole, and a list of them */
    void (*real)(void *to, const char *key, double value);
    void (*reals)(void *to, const char *key, const double *values,
                  uint32_t count);
} tn_hf_writer;

/* Names of weights that Hugging Face's form of a stack has: those that begin
 * as `ours` begin there as `theirs`. One * stands for a layer's number. */
typedef struct tn_hf_name {
    const char *ours;   /* "model.layers.*.mamba." */
    const char *theirs; /* "backbone.layers.*.mixer." */
} tn_hf_name;

/* Facts of the layer that options alone do not tell. */
typedef struct tn_arch_context {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t hidden_size;
    int64_t max_seq_len;
    const char *mlp_type; /* "gated" ... */
    const char *mlp_activation;
    int64_t layer_count; /* of the model, for hugging_face; 0 for check */
    double norm_eps;
    /* of a mixture of experts; 0 elsewhere */
    int64_t num_experts, shared_experts;
    uint32_t norm_topk_prob;
    uint32_t reserved2;
} tn_arch_context;

typedef struct tn_arch {
    TN_COMPONENT_HEAD;
    /* May be NULL. Refuses option combinations no range can express. */
    tn_status (*check)(const tn_arch_context *context, const void *options,
                       tn_error *err);
    /* Describe the layer: x (B, T, C) -> (B, T, C). */
    tn_tensor (*forward)(tn_layer *l, tn_tensor x, const void *options);
    /* May be NULL. A model made of this layer alone, repeated, is Hugging
     * Face's: write its keys ("architectures" as a string, "model_type",
     * "num_attention_heads" ...) and return TN_OK; TN_EUNSUPPORTED with the
     * reason where these options have no such form. */
    tn_status (*hugging_face)(const tn_arch_context *context,
                              const void *options, const tn_hf_writer *writer,
                              tn_error *err);
    /* Weights that Hugging Face's form names otherwise. Checkpoints of such a
     * stack carry its names; both are read. */
    const tn_hf_name *hf_names;
    uint32_t hf_name_count;
    uint32_t reserved;
} tn_arch;

#define TN_ARCH(id) TN_SINGLE_(ARCH, tn_arch, id)

/* ------------------------------------------------------------------------ */
/* Helpers                                                                    */

static inline tn_init tn_init_normal(double std)
{
    return (tn_init){TN_INIT_NORMAL, 0, 0.0, std};
}

static inline tn_init tn_init_residual(void)
{
    return (tn_init){TN_INIT_RESIDUAL, 0, 0.0, 0.0};
}

static inline tn_init tn_init_constant(double value)
{
    return (tn_init){TN_INIT_CONSTANT, 0, value, 0.0};
}

/* tn_weight(l, "a.weight", tn_init_normal(0), rows, cols) */
#define tn_weight(l, name, init, ...)                                          \
    (l)->api->weight((l), (name), TN_SIZES_(__VA_ARGS__), (init), TN_HERE)
#define tn_cache(l, name, rows) (l)->api->cache((l), (name), (rows), TN_HERE)
/* tn_load(l, "ssm", B, H, P, N) */
#define tn_load(l, name, ...)                                                  \
    (l)->api->load((l), (name), TN_SIZES_(__VA_ARGS__), TN_HERE)
#define tn_store(l, name, value) (l)->api->store((l), (name), (value), TN_HERE)
/* tn_window(l, "conv", rows, K - 1) */
#define tn_window(l, name, rows, length)                                       \
    (l)->api->window((l), (name), (rows), (length), TN_HERE)
#define tn_mlp(l, x) (l)->api->mlp((l), (x), TN_HERE)
#define tn_auxiliary_loss(l, name, value)                                      \
    (l)->api->auxiliary_loss((l), (name), (value), TN_HERE)

/* x (B, T, X) with zeros where rows are padded. */
static inline tn_tensor tn_without_padding_at(tn_layer *l, tn_tensor x,
                                              tn_here here)
{
    const int64_t column[3] = {tn_dim(l->b, x, 0), tn_dim(l->b, x, 1), 1};
    if (tn_is_none(l->positions))
        return x;
    const tn_tensor real = /* 0 <= position */
        tn_with_constant_at(l->b, TN_MAP_LE, l->positions, 0.0, 1, here);
    return tn_binary_at(
        l->b, TN_MAP_MUL, x,
        tn_shaped_view_at(l->b, real, TN_VIEW_RESHAPE, 3, column, here), here);
}

#define tn_without_padding(l, x) tn_without_padding_at(l, x, TN_HERE)

static inline tn_tensor tn_layer_first_(const tn_layer *l)
{
    return TN_HAS(l, first.id) ? l->first : TN_NONE;
}

/* Attention of this layer's rows, which knows where they stand and which of
 * them are of one document. k and v as tn_cache returns them. */
static inline tn_tensor tn_layer_attention_at(tn_layer *l, tn_tensor q,
                                              tn_tensor k, tn_tensor v,
                                              const tn_attention_attr *attr,
                                              tn_here here)
{
    const tn_tensor in[] = {q, k, v, l->positions, tn_layer_first_(l)};
    return tn_attention_within_at(l->b, in, attr, here);
}

/* rows (B, T, C) convolved with w (C, K): each channel by itself, over the row
 * and the K - 1 before it, which decoding keeps under `name`. */
static inline tn_tensor tn_layer_conv1d_at(tn_layer *l, const char *name,
                                           tn_tensor rows, tn_tensor w,
                                           tn_here here)
{
    const tn_tensor before =
        l->api->window(l, name, rows, tn_dim(l->b, w, 1) - 1, here);
    const tn_tensor in[] = {rows, w, before, tn_layer_first_(l)};
    return tn_conv1d_within_at(l->b, in, here);
}

/* in: x, dt, A, Bm, Cm of tn_ssd_scan; the state that decoding carries is kept
 * under `name`. */
static inline tn_tensor tn_layer_ssd_scan_at(tn_layer *l, const char *name,
                                             const tn_tensor in[5],
                                             int64_t chunk_size, tn_here here)
{
    const int64_t shape[4] = {tn_dim(l->b, in[0], 0), tn_dim(l->b, in[0], 2),
                              tn_dim(l->b, in[0], 3), tn_dim(l->b, in[3], 3)};
    const tn_tensor all[] = {in[0],
                             in[1],
                             in[2],
                             in[3],
                             in[4],
                             l->api->load(l, name, 4, shape, here),
                             tn_layer_first_(l)};
    tn_tensor last;
    const tn_tensor y =
        tn_ssd_scan_within_at(l->b, all, chunk_size, &last, here);
    l->api->store(l, name, last, here);
    return y;
}

#define tn_layer_conv1d(l, name, rows, w)                                      \
    tn_layer_conv1d_at(l, name, rows, w, TN_HERE)
#define tn_layer_ssd_scan(l, name, x, dt, A, Bm, Cm, chunk_size)               \
    tn_layer_ssd_scan_at(l, name, (const tn_tensor[]){x, dt, A, Bm, Cm},       \
                         chunk_size, TN_HERE)

/* tn_layer_attention(l, q, k, v), and any of tn_attention_attr's members:
 * tn_layer_attention(l, q, k, v, .window = 256) */
#define tn_layer_attention(l, q, k, ...)                                       \
    tn_layer_attention_with_(l, q, k, __VA_ARGS__, .reserved = 0)
#define tn_layer_attention_with_(l, q, k, v, ...)                              \
    tn_layer_attention_at(l, q, k, v, &(const tn_attention_attr){__VA_ARGS__}, \
                          TN_HERE)

static inline tn_tensor tn_layer_weight_suffix_(tn_layer *l, const char *name,
                                                const char *suffix,
                                                uint32_t rank,
                                                const int64_t *shape,
                                                tn_init init, tn_here here)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", name, suffix);
    return l->api->weight(l, full, rank, shape, init, here);
}

/* rms_norm of x's last axis with weight NAME.weight, which starts at 1. */
static inline tn_tensor tn_layer_norm_at(tn_layer *l, tn_tensor x,
                                         const char *name, tn_here here)
{
    const int64_t size = tn_dim(l->b, x, -1);
    const tn_tensor w = tn_layer_weight_suffix_(l, name, "weight", 1, &size,
                                                tn_init_constant(1.0), here);
    return tn_rms_norm_at(l->b, x, w, l->norm_eps, here);
}

/* x W^T [+ bias] with NAME.weight (out_features, C) and NAME.bias. */
static inline tn_tensor tn_project_at(tn_layer *l, tn_tensor x,
                                      const char *name, int64_t out_features,
                                      int bias, tn_init init, tn_here here)
{
    const int64_t shape[2] = {out_features, tn_dim(l->b, x, -1)};
    const tn_tensor w =
        tn_layer_weight_suffix_(l, name, "weight", 2, shape, init, here);
    const tn_tensor y = tn_linear_at(l->b, x, w, here);
    if (!bias)
        return y;
    return tn_binary_at(l->b, TN_MAP_ADD, y,
                        tn_layer_weight_suffix_(l, name, "bias", 1, shape,
                                                tn_init_constant(0.0), here),
                        here);
}

#define tn_layer_norm(l, x, name) tn_layer_norm_at(l, x, name, TN_HERE)
/* tn_project(l, x, "self_attn.q_proj", H * D, bias) */
#define tn_project(l, x, name, out_features, bias)                             \
    tn_project_at(l, x, name, out_features, bias, tn_init_normal(0.0), TN_HERE)
/* the same for a projection whose result is added to the residual stream */
#define tn_project_residual(l, x, name, out_features, bias)                    \
    tn_project_at(l, x, name, out_features, bias, tn_init_residual(), TN_HERE)

TN_END_DECLS
#endif
