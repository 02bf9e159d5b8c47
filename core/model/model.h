/*
 * model.h - the decoder stack: embedding, layers, final norm, head.
 *
 * Built from the `model:` part of a config. It knows the names of weights and
 * where each lies in the parameter slab, and describes the stack into a graph
 * for training, scoring or decoding. It computes nothing.
 */
#ifndef TENON_MODEL_H
#define TENON_MODEL_H

#include <tenon/arch.h>

#include "config/config.h"
#include "graph/graph.h"
#include "plugin/registry.h"

/* A weight and its place in the slab. */
enum { TNI_WEIGHT_ALIGN = 128 }; /* elements */

/* Up to where the next weight may begin. */
static inline int64_t tni_weight_aligned(int64_t elements)
{
    return (elements + TNI_WEIGHT_ALIGN - 1) / TNI_WEIGHT_ALIGN *
           TNI_WEIGHT_ALIGN;
}

typedef struct tni_weight {
    const char *name;   /* "model.layers.0.self_attn.q_proj.weight" */
    const char *theirs; /* in Hugging Face's form, where it differs; or NULL */
    uint32_t rank;
    uint32_t group;       /* set by tni_model_layout */
    uint32_t copied;      /* what for, where precision is bf16: a tni_copied */
    tn_dtype block_dtype; /* all read it as blocks (quantise.c); or 0 */
    int64_t shape[TN_MAX_RANK];
    tn_init init; /* std resolved */
    int64_t elements;
    int64_t offset;      /* in elements from the slab's start; 128-aligned */
    int64_t copy_offset; /* of its bf16 copy or of its blocks, in bytes of the
                            COPY arena */
    uint32_t layer;      /* 1-based, 0 outside */
    tn_here here;
} tni_weight;

/* A decoding state: one per tn_cache/tn_load name of each layer. */
typedef struct tni_state {
    const char *name; /* "layers.0.k" */
    tn_dtype dtype;
    uint32_t rank;
    int64_t shape[TN_MAX_RANK];
    int64_t rows;   /* sequences it has room for; shape[0] are described */
    int64_t offset; /* bytes in the STATE arena */
    int64_t bytes;  /* of all rows */
    int64_t bytes_per_token; /* for caches; 0 for fixed-size states */
} tni_state;

typedef struct tni_model tni_model;

/*
 * Read and check `model:` (node), open the architectures it names, describe
 * the stack once to learn its weights. `node` receives defaults. The arena and
 * registry must outlive the model.
 */
tn_status tni_model_create(tni_arena *arena, tni_registry *registry,
                           tni_yaml *node, tni_model **model, tn_error *err);

int64_t tni_model_vocab_size(const tni_model *model);
int64_t tni_model_hidden_size(const tni_model *model);
int64_t tni_model_max_seq_len(const tni_model *model);
uint32_t tni_model_layer_count(const tni_model *model);

const tni_weight *tni_model_weights(const tni_model *model, uint32_t *count);
const tni_weight *tni_model_weight(const tni_model *model, const char *name);
/* Whether the name has a *, which stands for the numbers of shape[0] weights:
 * see stored.c. */
int tni_weight_is_stack(const tni_weight *w);
/* The weights as files hold them: stacks divided. In the arena. */
const tni_weight *tni_model_stored(const tni_model *model, tni_arena *arena,
                                   uint32_t *count);

/* What w is called in the model.safetensors that we write: Hugging Face's name
 * where the whole stack has a form of theirs, else its own. */
const char *tni_model_stored_name(const tni_model *model, const tni_weight *w);
int64_t tni_model_parameter_count(const tni_model *model);

/*
 * Order the slab by parameter groups: group_of[i] for weight i. Weights of a
 * group are contiguous, equal shapes side by side. group_first[g] and
 * group_elements[g] (group_count of each) receive the stretches, in elements.
 * Without a call all weights are one group. Returns the slab's elements.
 */
int64_t tni_model_layout(tni_model *model, const uint32_t *group_of,
                         uint32_t group_count, int64_t *group_first,
                         int64_t *group_elements);

/* Elements of the slab, gaps included. */
int64_t tni_model_slab_elements(const tni_model *model);

/*
 * blocks.c: from now on weights are read as blocks of `dtype` where the model
 * and its sizes allow it, of Q8_0 where only rows of 256 are missing, and as
 * before elsewhere; the slab is laid out anew, as one group. `has_bf16`: the
 * COPY arena holds bf16 copies, too. What was left out goes to `log`. For
 * inference: such a model cannot be trained.
 */
typedef void tni_block_log(void *to, const tni_weight *weight);
tn_status tni_model_quantise(tni_model *model, tn_dtype dtype, int has_bf16,
                             tni_block_log *log, void *to, tn_error *err);

/* Bytes of the matrices that products read, where numbers take `real_bytes`
 * (or 2, as bf16 copies) and blocks what they take. */
int64_t tni_model_matrix_bytes(const tni_model *model, int64_t real_bytes,
                               int has_bf16);

/* Draw initial weights into slab (float, the layout's elements): philox keyed
 * by (seed, name), so a weight's start does not depend on its neighbours. */
void tni_model_initialize(const tni_model *model, uint64_t seed, float *slab);

/* What to describe. Handles are leaves of the graph made by the caller. */
typedef struct tni_model_io {
    int64_t batch, seq_len; /* B, T */
    tn_tensor tokens;       /* i32 (B, T) */
    tn_tensor targets;      /* i32 (B, T): training and scoring; else none */
    tn_tensor positions;    /* i32 (B, T): decoding; else none */
    tn_tensor first; /* i32 (B, T): training on rows of several documents: where
                        each row's own begins; else none */
    tn_tensor last;  /* i32 (n): decoding: flat rows whose logits are asked
                        for; none: every row's */
    tn_tensor rng;   /* i32 (2) where dropout may draw; else none */
    uint32_t training;    /* 1: no states are read or written */
    int64_t state_rows;   /* decoding: sequences that states have room for, of
                             which the first B are described; 0: B */
    int64_t state_len;    /* decoding: S of the caches, */
    tn_dtype cache_dtype; /* and what they are stored in; 0: as the graph */
} tni_model_io;

typedef struct tni_model_out {
    tn_tensor nll;       /* (B*T): with targets */
    tn_tensor logits;    /* (rows, V): without targets */
    tn_tensor auxiliary; /* (1) auxiliary losses, summed over targets that
                            are not -1; or none */
    const tn_tensor *layer_out; /* residual stream after each layer, in the
                                   graph's arena; layer_count of them */
} tni_model_out;

/* Describe the stack. Errors are the graph's, with the plugin's file:line. */
void tni_model_describe(tni_model *model, tni_graph *g, const tni_model_io *io,
                        tni_model_out *out);

/* How many targets are not -1, as a scalar (1). */
tn_tensor tni_count_targets(tn_builder *b, tn_tensor targets);

/* The PARAM leaf of weight i in the graph last described. */
tn_tensor tni_model_param(const tni_model *model, uint32_t i);

/* Decoding states of the description with this batch and state_len; offsets
 * and total bytes of the STATE arena. */
const tni_state *tni_model_states(const tni_model *model, uint32_t *count,
                                  int64_t *bytes);

/* FLOPs of one token's forward pass are counted by plans; parameters that take
 * part in matrix products, without the embedding, are: */
int64_t tni_model_matrix_parameters(const tni_model *model);

/*
 * config.json in Hugging Face's form into `path`. TN_EUNSUPPORTED, with the
 * reason, where the stack has no such form (mixed layers, options without a
 * counterpart): a config.json of our own form is written then.
 */
tn_status tni_model_write_hugging_face(const tni_model *model, const char *path,
                                       tn_error *err);

#endif
