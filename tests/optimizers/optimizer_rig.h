/*
 * optimizer_rig.h - an optimizer's plugin, with options as from a config, that
 * steps a tensor of parameters on a backend. For optimizers with one state.
 */
#ifndef OPTIMIZER_RIG_H
#define OPTIMIZER_RIG_H

#include "tn_rig.h"

#include <tenon/optimizer.h>

#include "config/config.h"
#include "plugin/host.h"
#include "plugin/registry.h"

typedef struct optimizer_rig {
    tni_arena *arena;
    tn_host *host;
    tni_registry *registry;
    const tn_optimizer *of;
    tni_yaml *node; /* the options, completed */
    void *options;
    tn_error err;

    tn_rig *device; /* after optimizer_rig_on() */
    tn_rig_program *program;
    int64_t elements;
} optimizer_rig;

/* Options that are refused leave their sentence in rig->err. */
tn_status optimizer_rig_load(optimizer_rig *rig, const char *name,
                             const char *options);

/* Parameters of this shape, on this backend. */
void optimizer_rig_on(optimizer_rig *rig, const char *backend, tn_dtype dtype,
                      uint32_t rank, const int64_t *shape);

/* One step, in place. */
void optimizer_rig_step(optimizer_rig *rig, double *param, double *state,
                        const double *grad, double lr);

void optimizer_rig_close(optimizer_rig *rig);

/* What option `name` is when none is given. */
const char *optimizer_rig_default(const optimizer_rig *rig, const char *name);

/* A recorded run: `steps` rows of gradients, parameters and states. */
typedef struct optimizer_record {
    int steps;
    const double *lr, *start, *grad, *param, *state;
} optimizer_record;

/* Follow it; every element within tolerance (1 + |want|). */
void optimizer_rig_follow(optimizer_rig *rig, const optimizer_record *record,
                          double tolerance);

#endif
