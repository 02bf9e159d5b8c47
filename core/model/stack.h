/*
 * stack.h - the model as the files of this folder see it.
 *
 *   config.c       `model:` to a list of layers
 *   mlp.c, moe.c   the feed-forward parts a layer may have
 *   layer.c        what an architecture calls while it describes a layer
 *   decoder.c      the description: embedding, layers, norm, head
 *   weights.c      the slab: what lies where, and how it starts
 *   stored.c       the names and shapes that files have
 *   blocks.c       which weights may be 8 or 4 bits, and where those lie
 *   huggingface.c  config.json
 */
#ifndef TENON_STACK_H
#define TENON_STACK_H

#include "model/model.h"

enum { TNI_MAX_LAYERS = 4096 };

/* The scalars of `model:`. */
typedef struct tni_model_options {
    int64_t vocab_size, hidden_size, max_seq_len;
    int32_t tie_embeddings;
    double norm_eps, initializer_range, final_logit_softcap;
} tni_model_options;

/* ---- feed-forward parts (mlp.c) ---- */

/* How the options of every kind of mlp begin. */
typedef struct tni_mlp_options {
    int64_t intermediate_size;
    int32_t activation; /* index into the table of activations */
} tni_mlp_options;

enum { TNI_SILU, TNI_GELU, TNI_GELU_TANH, TNI_RELU2 };

/* Their rows. */
#define TNI_MLP_OPTIONS(type, activation_)                                     \
    TN_OPTION_INT_REQUIRED(type, intermediate_size, 1, 1 << 24,                \
                           "width between the projections"),                   \
        TN_OPTION_ENUM(type, activation, "silu|gelu|gelu_tanh|relu2",          \
                       activation_, "what stands between the projections")

/* One kind: `mlp: {type: NAME, ...}`. */
typedef struct tni_mlp_type {
    const char *name;
    tn_option_table options;
    tn_tensor (*forward)(tn_layer *l, tn_tensor x, const void *options);
    /* May be NULL, all three: refuse options of `node` that no range can; tell
     * architectures; write keys of config.json. */
    tn_status (*check)(const tni_yaml *node, const char *where,
                       const void *options, tn_error *err);
    void (*tell)(const void *options, tn_arch_context *context);
    void (*hugging_face)(const void *options, const tn_hf_writer *writer);
} tni_mlp_type;

extern const tni_mlp_type tni_moe_type; /* moe.c */

tn_tensor tni_activate(tn_builder *b, tn_tensor x, int32_t activation);

/* down(act(gate(x)) * up(x)) with the weights PREFIX.gate_proj and so on. */
tn_tensor tni_gated_mlp(tn_layer *l, tn_tensor x, const char *prefix,
                        int64_t intermediate_size, int32_t activation);

typedef struct tni_mlp {
    const tni_mlp_type *type; /* NULL: the layer has none */
    const tni_mlp_options *options;
} tni_mlp;

/* Read `mlp:` (a map, which receives defaults). */
tn_status tni_mlp_read(tni_arena *arena, tni_yaml *node, const char *where,
                       tni_mlp *mlp, tn_error *err);

/* "silu" as configs say it and as Hugging Face does. NULL without an mlp. */
const char *tni_mlp_activation(const tni_mlp *mlp);
const char *tni_mlp_hugging_face_activation(const tni_mlp *mlp);

/* ---- the stack ---- */

/* One entry of `layers:`. Repeated layers share theirs. */
typedef struct tni_layer_spec {
    const tn_arch *arch;
    const char *arch_name;
    const void *options; /* the architecture's */
    tni_mlp mlp;
    const char *where; /* "model.layers[0]" */
    const char *place; /* "model.layers[0] (test.yaml:4:5)" */
} tni_layer_spec;

struct tni_model {
    tni_arena *arena;
    tni_registry *registry;
    tni_model_options options;

    const tni_layer_spec **layers;
    size_t layer_count, layer_capacity;

    /* Weights in the order of their first use, which every description
     * repeats; `next` is where the next one is expected. */
    tni_weight *weights;
    size_t weight_count, weight_capacity;
    tn_tensor *params; /* of the graph last described */
    size_t param_capacity;
    size_t next;
    int learning;  /* the first description declares weights */
    int is_theirs; /* Hugging Face has a form of it */
    int64_t slab_elements;
    int64_t copy_bytes; /* of all bf16 copies */

    tni_state *states;
    size_t state_count, state_capacity;
    tn_tensor *state_leaves;
    size_t leaf_capacity;
    int64_t state_bytes;
};

/* config.c: the layers of `model:`, before any description. */
tn_status tni_model_read(tni_model *model, tni_yaml *node, tn_error *err);

/* What check() and hugging_face() of an architecture are told. */
tn_arch_context tni_model_context(const tni_model *model,
                                  const tni_layer_spec *spec);

/* huggingface.c: once the weights are known, what they are called there. */
void tni_model_find_their_names(tni_model *model);

/* ---- a description under way ---- */

/* A state and what the next call finds there. */
typedef struct tni_stored {
    tn_tensor state, value;
    tn_here here;
} tni_stored;

/* The handle that architectures hold, and what stands behind it. */
typedef struct tni_scope {
    tn_layer layer; /* first: a tn_layer * is its tni_scope * */
    tni_model *model;
    tni_graph *g;
    const tni_model_io *io;
    const tni_layer_spec *spec;
    int mlp_used;
    tn_tensor auxiliary; /* sum so far */
    tni_stored *stored;  /* by this layer so far; in the graph's arena */
    size_t stored_count, stored_capacity;
} tni_scope;

/* layer.c: describe layer `index`. */
tn_tensor tni_layer_describe(tni_scope *scope, uint32_t index, tn_tensor x);

/* weights.c: forget the leaves of an earlier graph; the leaf of a weight,
 * declared by its first use. layer: 1-based, 0 outside. */
void tni_weights_begin(tni_model *model);
tn_tensor tni_weight_use(tni_model *model, tni_graph *g,
                         const tni_weight *want);

/* Whether products read it: the embedding alone is looked up. */
int tni_weight_is_multiplied(const tni_model *model, const tni_weight *w);

#endif
