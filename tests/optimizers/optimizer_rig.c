/*
 * optimizer_rig.c - see optimizer_rig.h.
 */
#include "optimizer_rig.h"

enum { PARAM, GRAD, STATE, LR, STEP, INPUTS };

tn_status optimizer_rig_load(optimizer_rig *rig, const char *name,
                             const char *options)
{
    const tn_component *component = NULL;
    *rig =
        (optimizer_rig){.arena = tni_arena_create(), .host = tni_host_create()};
    rig->registry = tni_registry_create(rig->host);
    tn_assert_ok_err(tni_registry_find(rig->registry, TN_KIND_OPTIMIZER, name,
                                       &component, &rig->err),
                     rig->err);
    rig->of = tni_component_vtable(rig->registry, component);
    assert_int_equal(rig->of->state_count, 1);
    rig->options = tni_arena_alloc(rig->arena, rig->of->options.size);
    tn_assert_ok_err(tni_config_parse(rig->arena, "test.yaml", options,
                                      strlen(options), &rig->node, &rig->err),
                     rig->err);
    return tni_options_fill(rig->arena, &rig->of->options, rig->node, name,
                            NULL, NULL, rig->options, &rig->err);
}

/* The outputs are parameters and state after the step. */
static void describe(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    const optimizer_rig *rig = with;
    const tn_slot slot = {.struct_size = sizeof slot,
                          .param = in[PARAM],
                          .grad = in[GRAD],
                          .lr = in[LR],
                          .step = in[STEP],
                          .state = {in[STATE]}};
    rig->of->step(b, &slot, rig->options);
    out[0] = tn_copy(b, in[PARAM]);
    out[1] = tn_copy(b, in[STATE]);
}

void optimizer_rig_on(optimizer_rig *rig, const char *backend, tn_dtype dtype,
                      uint32_t rank, const int64_t *shape)
{
    const tn_rig_how how = {.dtype = dtype};
    tn_rig_case c = {
        .in_count = INPUTS, .out_count = 2, .describe = describe, .with = rig};
    for (int i = 0; i < INPUTS; i++) {
        const int scalar = i == LR || i == STEP;
        tn_rig_leaf *leaf = &c.in[i];
        leaf->op = scalar       ? TN_OP_SCALAR
                   : i == PARAM ? TN_OP_PARAM
                                : TN_OP_SLOT;
        leaf->rank = scalar ? 1 : rank;
        for (uint32_t axis = 0; axis < leaf->rank; axis++)
            leaf->shape[axis] = scalar ? 1 : shape[axis];
    }
    rig->elements = tn_rig_leaf_count(&c.in[PARAM]);
    rig->device = tn_rig_open(backend, "{}");
    rig->program = tn_rig_build(rig->device, &c, &how, &rig->err);
    if (!rig->program)
        print_error("%s\n", rig->err.message);
    assert_non_null(rig->program);
}

void optimizer_rig_step(optimizer_rig *rig, double *param, double *state,
                        const double *grad, double lr)
{
    const double first = 1;
    const size_t bytes = (size_t)rig->elements * sizeof *param;
    tn_rig_set(rig->program, PARAM, param);
    tn_rig_set(rig->program, GRAD, grad);
    tn_rig_set(rig->program, STATE, state);
    tn_rig_set(rig->program, LR, &lr);
    tn_rig_set(rig->program, STEP, &first);
    tn_assert_ok_err(tn_rig_run(rig->program, &rig->err), rig->err);
    memcpy(param, tn_rig_output(rig->program, 0).values, bytes);
    memcpy(state, tn_rig_output(rig->program, 1).values, bytes);
}

void optimizer_rig_close(optimizer_rig *rig)
{
    if (rig->program)
        tn_rig_free(rig->program);
    if (rig->device)
        tn_rig_close(rig->device);
    tni_registry_destroy(rig->registry);
    tni_host_destroy(rig->host);
    tni_arena_destroy(rig->arena);
}

const char *optimizer_rig_default(const optimizer_rig *rig, const char *name)
{
    const tni_yaml *value = tni_yaml_get(rig->node, name);
    assert_non_null(value);
    assert_non_null(value->scalar);
    return value->scalar;
}

void optimizer_rig_follow(optimizer_rig *rig, const optimizer_record *record,
                          double tolerance)
{
    const size_t n = (size_t)rig->elements;
    double *param = malloc(n * sizeof *param);
    double *state = calloc(n, sizeof *state);
    memcpy(param, record->start, n * sizeof *param);
    for (int s = 0; s < record->steps; s++) {
        const size_t row = (size_t)s * n;
        optimizer_rig_step(rig, param, state, record->grad + row,
                           record->lr[s]);
        tn_assert_close_double(param, record->param + row, n, tolerance,
                               tolerance);
        tn_assert_close_double(state, record->state + row, n, tolerance,
                               tolerance);
    }
    free(param);
    free(state);
}
