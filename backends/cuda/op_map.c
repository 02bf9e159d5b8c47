/*
 * op_map.c - map and reduce: what emit_map.c and emit_reduce.c are asked for.
 */
#include "emit_launch.h"

#include <string.h>

static void set_view(gpu_view *view, const tn_operand *o)
{
    view->dtype = o->dtype;
    for (uint32_t i = 0; i < o->rank; i++)
        view->stride[i] = o->stride[i];
}

static void set_inputs(gpu_compiler *c, const tn_plan_node *n, gpu_map_spec *s,
                       gpu_addresses *a)
{
    s->in_count = n->in_count;
    for (uint32_t i = 0; i < n->in_count; i++) {
        if (!gpu_is_rng(&s->program, i))
            set_view(&s->in[i], &n->in[i]);
        a->at[a->count++] = gpu_at(c, &n->in[i]);
    }
}

gpu_map_spec gpu_map_of(gpu_compiler *c, const tn_plan_node *n,
                        gpu_addresses *a)
{
    const tn_map_attr *attr = n->attr;
    gpu_map_spec s = {.rank = n->out->rank, .program = attr->program};
    *a = (gpu_addresses){.count = 0};
    memcpy(s.shape, n->out->shape, sizeof s.shape);
    set_inputs(c, n, &s, a);
    s.out_count = n->out_count;
    for (uint32_t i = 0; i < n->out_count; i++) {
        set_view(&s.out[i], &n->out[i]);
        a->at[a->count++] = gpu_at(c, &n->out[i]);
    }
    return s;
}

tn_status gpu_compile_map(gpu_compiler *c, const tn_plan_node *n, tn_error *err)
{
    gpu_addresses a;
    gpu_map_spec s = gpu_map_of(c, n, &a);
    return gpu_launch_map(c, &s, &a, err);
}

/* ---- reduce: who does what ---- */

enum {
    MOST_LANES = GPU_BLOCK,
    MOST_SPLITS = 512,
    BLOCKS_WANTED = 1024, /* several for each multiprocessor of the largest */
    ELEMENTS_OF_A_LANE = 16, /* at least, before work is split further */
};

static int64_t power_below(int64_t n, int64_t most)
{
    int64_t p = 1;
    while (2 * p <= n && 2 * p <= most)
        p *= 2;
    return p;
}

/* Neighbouring threads should read neighbouring elements: lanes where the last
 * axis is reduced, columns where it is kept. */
static void share_out(gpu_reduce_spec *s, int64_t outputs, int64_t reduced)
{
    uint32_t last = s->map.rank;
    while (last > 1 && s->map.shape[last - 1] == 1)
        last--;
    s->by_rows = last > 0 && (s->axes >> (last - 1) & 1u);
    const int64_t lanes = s->by_rows
                              ? power_below(reduced / 4, MOST_LANES)
                              : power_below(reduced / ELEMENTS_OF_A_LANE, 8);
    s->lanes = (uint32_t)lanes;
    s->columns = (uint32_t)(GPU_BLOCK / lanes);
    const int64_t groups = gpu_ceil(outputs, s->columns);
    const int64_t parts = reduced / (lanes * ELEMENTS_OF_A_LANE);
    const int64_t wanted = BLOCKS_WANTED / groups;
    int64_t splits = parts < wanted ? parts : wanted;
    splits = splits > MOST_SPLITS ? MOST_SPLITS : splits;
    s->splits = (uint32_t)(splits < 2 ? 1 : splits);
}

static tn_status launch_shared(gpu_compiler *c, const gpu_reduce_spec *s,
                               const gpu_addresses *a, int64_t outputs,
                               tn_error *err)
{
    const int64_t blocks = gpu_ceil(outputs, s->columns) * s->splits;
    return gpu_launch_text(c, gpu_emit_reduce(s), a, sizeof a->at,
                           (gpu_grid){blocks, 1, 1, GPU_BLOCK, 0}, err);
}

tn_status gpu_launch_join(gpu_compiler *c, uint32_t kind, int64_t parts,
                          uint64_t partial, uint64_t to, tn_dtype dtype,
                          int64_t count, uint32_t accumulate, tn_error *err)
{
    gpu_reduce_spec s = {.axes = 1, .kind = kind, .accumulate = accumulate};
    const gpu_addresses a = {{partial, to}, 2};
    s.map = (gpu_map_spec){
        .rank = 2, .in_count = 1, .out_count = 1, .shape = {parts, count}};
    s.map.in[0] = (gpu_view){TN_F32, {count, 1}};
    s.map.out[0].dtype = dtype;
    s.map.program.instruction[0] = (tn_instruction){.op = TN_MAP_INPUT};
    s.map.program.instruction_count = 1;
    s.lanes = (uint32_t)power_below(parts, 16);
    s.columns = GPU_BLOCK / s.lanes;
    s.splits = 1;
    return launch_shared(c, &s, &a, count, err);
}

static tn_status reduce_in_parts(gpu_compiler *c, gpu_reduce_spec *s,
                                 const gpu_addresses *a, int64_t outputs,
                                 tn_error *err)
{
    gpu_reduce_spec first = *s;
    gpu_addresses to = *a;
    const uint64_t partial = gpu_scratch(c, 4 * outputs * s->splits);
    first.accumulate = 0;
    first.map.out[0].dtype = TN_F32;
    to.at[to.count - 1] = partial;
    TN_TRY(launch_shared(c, &first, &to, outputs, err));
    return gpu_launch_join(c, s->kind, s->splits, partial, a->at[a->count - 1],
                           s->map.out[0].dtype, outputs, s->accumulate, err);
}

tn_status gpu_launch_reduce(gpu_compiler *c, gpu_reduce_spec *s,
                            const gpu_addresses *a, tn_error *err)
{
    int64_t outputs = 1, reduced = 1;
    for (uint32_t i = 0; i < s->map.rank; i++)
        *(s->axes >> i & 1u ? &reduced : &outputs) *= s->map.shape[i];
    if (!outputs)
        return TN_OK;
    share_out(s, outputs, reduced);
    if (s->splits > 1)
        return reduce_in_parts(c, s, a, outputs, err);
    return launch_shared(c, s, a, outputs, err);
}

tn_status gpu_compile_reduce(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    const tn_reduce_attr *attr = n->attr;
    gpu_reduce_spec s = {.axes = attr->axes, .kind = attr->kind};
    gpu_addresses a = {.count = 0};
    uint32_t shaped = 0;
    s.map.rank = n->out[0].rank;
    s.map.program = attr->program;
    s.map.out_count = 1;
    s.map.out[0].dtype = n->out[0].dtype;
    s.accumulate = n->accumulate & 1u;
    set_inputs(c, n, &s.map, &a);
    while (shaped + 1 < n->in_count && gpu_is_rng(&attr->program, shaped))
        shaped++;
    memcpy(s.map.shape, n->in[shaped].shape, sizeof s.map.shape);
    a.at[a.count++] = gpu_at(c, &n->out[0]);
    return gpu_launch_reduce(c, &s, &a, err);
}
