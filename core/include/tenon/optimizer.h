/*
 * optimizer.h - one update, described with the same ops as a model.
 *
 * An optimizer sees a slot: a stretch of parameters with its gradient and its
 * state. It describes how they change; the core allocates, saves and restores
 * the state, clips the gradient, and keeps everything as it was when the step's
 * loss or gradient is not finite.
 */
#ifndef TENON_OPTIMIZER_H
#define TENON_OPTIMIZER_H

#include <math.h>

#include <tenon/builder.h>
#include <tenon/plugin.h>

TN_BEGIN_DECLS

/* A state tensor: as many elements as the parameters, zero before step 1. */
typedef struct tn_state_spec {
    const char *name; /* its name in optimizer.safetensors: "exp_avg" */
} tn_state_spec;

enum { TN_OPTIMIZER_MAX_STATE = 4 };

/*
 * param, grad and state[i] share one shape. For an optimizer that works element
 * by element: (n), a stretch of many weights, or (rows, columns), a table by
 * itself. The core cuts a group into such slots where it likes, so nothing may
 * depend on a slot's shape, and a sum over one means nothing. For per_matrix:
 * (m, rows, cols), m matrices of one shape, each of them whole.
 */
typedef struct tn_slot {
    uint32_t struct_size;
    uint32_t reserved;
    tn_tensor param;
    tn_tensor grad; /* already averaged over tokens and clipped */
    tn_tensor lr;   /* scalar (1): the group's lr times the schedule */
    tn_tensor step; /* scalar (1), float: 1 at the first update */
    tn_tensor state[TN_OPTIMIZER_MAX_STATE];
} tn_slot;

typedef struct tn_optimizer {
    TN_COMPONENT_HEAD;
    const tn_state_spec *state;
    uint32_t state_count;
    uint32_t per_matrix; /* 1: parameters come as (m, rows, cols) */
    /* Assign new values to slot->param and slot->state[i]. Reads see the
     * values from before the step until the assignment in program order. */
    void (*step)(tn_builder *b, const tn_slot *slot, const void *options);
} tn_optimizer;

#define TN_STATE(specs)                                                        \
    .state = (specs),                                                          \
    .state_count = (uint32_t)(sizeof(specs) / sizeof((specs)[0]))

/* The learning rate is every optimizer's option `lr`: the core reads it by
 * that name from the options table, so declare it with this row. */
#define TN_OPTION_LR(type)                                                     \
    TN_OPTION_FLOAT_REQUIRED(type, lr, 0.0, INFINITY, "peak learning rate")

#define TN_OPTIMIZER(id) TN_SINGLE_(OPTIMIZER, tn_optimizer, id)

TN_END_DECLS
#endif
