/*
 * emit_reduce.c - sums and extremes: each lane takes every lanes-th element of
 * its part, then the lanes of an output are joined in shared memory as a tree.
 *
 *     for (r = begin + lane; r < end; r += lanes)
 *         total = total + program(o, r)
 *
 * The order of a sum follows from shapes alone, never from the device.
 */
#include "emit.h"

#include <math.h>

typedef struct frame {
    const gpu_reduce_spec *s;
    int64_t outputs, reduced;
    gpu_walk walks[2]; /* kept axes, reduced axes */
    spv_id lane, local, output, part;
    spv_id inside; /* this output and this part exist */
} frame;

enum { SEMANTICS = 0x108, SCOPE_WORKGROUP = 2 }; /* acquire-release, shared */

static spv_id identity(gpu_emitter *e, uint32_t kind)
{
    return gpu_f32(e, kind == TN_REDUCE_SUM   ? 0.0f
                      : kind == TN_REDUCE_MAX ? -INFINITY
                                              : INFINITY);
}

static spv_id combine(gpu_emitter *e, uint32_t kind, spv_id a, spv_id b)
{
    if (kind == TN_REDUCE_SUM)
        return gpu_add(e, a, b);
    return gpu_compute(e, kind == TN_REDUCE_MAX ? TN_MAP_MAX : TN_MAP_MIN, a, b,
                       0);
}

static spv_id index_op(gpu_emitter *e, uint32_t opcode, spv_id a, int64_t b)
{
    return SPV(&e->m, opcode, e->index, a, gpu_index(e, b));
}

/* ---- who computes what ---- */

static void make_walks(const gpu_reduce_spec *s, frame *f)
{
    f->outputs = f->reduced = 1;
    for (uint32_t i = 0; i < s->map.rank; i++) {
        const uint32_t which = s->axes >> i & 1u;
        gpu_walk *walk = &f->walks[which];
        walk->axis[walk->count++] = i;
        *(which ? &f->reduced : &f->outputs) *= s->map.shape[i];
    }
}

static void place(gpu_emitter *e, frame *f)
{
    const gpu_reduce_spec *s = f->s;
    const int64_t blocks = (f->outputs + s->columns - 1) / s->columns;
    const spv_id group = gpu_workgroup(e);
    const spv_id block = index_op(e, SPV_U_MOD, group, blocks);
    f->part = index_op(e, SPV_U_DIV, group, blocks);
    f->local = gpu_invocation(e);
    const int64_t inner = s->by_rows ? s->lanes : s->columns;
    const spv_id low = index_op(e, SPV_U_MOD, f->local, inner);
    const spv_id high = index_op(e, SPV_U_DIV, f->local, inner);
    const spv_id column = s->by_rows ? high : low;
    f->lane = s->by_rows ? low : high;
    f->output = SPV(&e->m, SPV_I_ADD, e->index,
                    index_op(e, SPV_I_MUL, block, s->columns), column);
    /* Workgroups in two axes may be some more than there are blocks of parts.
     */
    const spv_id output_is = SPV(&e->m, SPV_U_LESS_THAN, e->bool_, f->output,
                                 gpu_index(e, f->outputs));
    const spv_id part_is =
        SPV(&e->m, SPV_U_LESS_THAN, e->bool_, f->part, gpu_index(e, s->splits));
    f->inside = SPV(&e->m, SPV_LOGICAL_AND, e->bool_, output_is, part_is);
    f->walks[0].counter = f->output;
}

/* ---- the loop ---- */

static spv_id emit_element(gpu_emitter *e, const frame *f,
                           const spv_id *address, const spv_id *fixed)
{
    spv_id r[TN_MAP_MAX_INSTRUCTIONS];
    const gpu_element at = {.spec = &f->s->map,
                            .walks = f->walks,
                            .walk_count = 2,
                            .address = address,
                            .fixed = fixed,
                            .first_in_loop = 1};
    gpu_emit_program(e, &at, r);
    return r[f->s->map.program.output[0]];
}

/* Reduced elements begin + lane .. end of this part, none outside. */
static void make_bounds(gpu_emitter *e, const frame *f, spv_id *first,
                        spv_id *end)
{
    const gpu_reduce_spec *s = f->s;
    const int64_t share = (f->reduced + s->splits - 1) / s->splits;
    const spv_id begin = index_op(e, SPV_I_MUL, f->part, share);
    const spv_id limit = index_op(e, SPV_I_ADD, begin, share);
    const spv_id fits =
        SPV(&e->m, SPV_U_LESS_THAN, e->bool_, limit, gpu_index(e, f->reduced));
    const spv_id bounded =
        SPV(&e->m, SPV_SELECT, e->index, fits, limit, gpu_index(e, f->reduced));
    *first = SPV(&e->m, SPV_I_ADD, e->index, begin, f->lane);
    *end =
        SPV(&e->m, SPV_SELECT, e->index, f->inside, bounded, gpu_index(e, 0));
}

static spv_id emit_loop(gpu_emitter *e, frame *f, spv_id before)
{
    const gpu_reduce_spec *s = f->s;
    spv_module *m = &e->m;
    spv_id address[TN_MAP_MAX_INPUTS], fixed[TN_MAP_MAX_INPUTS], first, end;
    for (uint32_t i = 0; i < s->map.in_count; i++) {
        address[i] = gpu_argument(e, i);
        fixed[i] = gpu_offset(e, &f->walks[0], s->map.in[i].stride);
    }
    make_bounds(e, f, &first, &end);
    const spv_id head = spv_new(m), body = spv_new(m), next = spv_new(m);
    const spv_id out = spv_new(m), r_next = spv_new(m), sum_next = spv_new(m);
    const spv_id start = identity(e, s->kind);
    const spv_id step = gpu_index(e, s->lanes);
    SPV_DO(m, SPV_BRANCH, head);

    SPV_DO(m, SPV_LABEL, head);
    const spv_id r = SPV(m, SPV_PHI, e->index, first, before, r_next, next);
    const spv_id sum = SPV(m, SPV_PHI, e->f32, start, before, sum_next, next);
    const spv_id more = SPV(m, SPV_U_LESS_THAN, e->bool_, r, end);
    SPV_DO(m, SPV_LOOP_MERGE, out, next, 0);
    SPV_DO(m, SPV_BRANCH_CONDITIONAL, more, body, out);

    SPV_DO(m, SPV_LABEL, body);
    f->walks[1].counter = r;
    const spv_id value = emit_element(e, f, address, fixed);
    const spv_id total = combine(e, s->kind, sum, value);
    SPV_DO(m, SPV_BRANCH, next);

    SPV_DO(m, SPV_LABEL, next);
    SPV_DO(m, SPV_I_ADD, e->index, r_next, r, step);
    SPV_DO(m, SPV_COPY_OBJECT, e->f32, sum_next, total);
    SPV_DO(m, SPV_BRANCH, head);

    SPV_DO(m, SPV_LABEL, out);
    return sum;
}

/* ---- the tree ---- */

static spv_id shared_at(gpu_emitter *e, spv_id index)
{
    const spv_id pointer =
        SPV_TYPE(&e->m, SPV_TYPE_POINTER, SPV_STORAGE_WORKGROUP, e->f32);
    return SPV(&e->m, SPV_ACCESS_CHAIN, pointer, e->shared, index);
}

static void meet(gpu_emitter *e)
{
    const spv_id scope = gpu_u32(e, SCOPE_WORKGROUP);
    SPV_DO(&e->m, SPV_CONTROL_BARRIER, scope, scope, gpu_u32(e, SEMANTICS));
}

/* if (condition) body: the label behind it is where code goes on */
static spv_id open_if(gpu_emitter *e, spv_id condition)
{
    const spv_id body = spv_new(&e->m), end = spv_new(&e->m);
    SPV_DO(&e->m, SPV_SELECTION_MERGE, end, 0);
    SPV_DO(&e->m, SPV_BRANCH_CONDITIONAL, condition, body, end);
    SPV_DO(&e->m, SPV_LABEL, body);
    return end;
}

static void close_if(gpu_emitter *e, spv_id end)
{
    SPV_DO(&e->m, SPV_BRANCH, end);
    SPV_DO(&e->m, SPV_LABEL, end);
}

/* The total of all lanes, for lane 0. */
static spv_id emit_tree(gpu_emitter *e, const frame *f, spv_id total)
{
    const gpu_reduce_spec *s = f->s;
    spv_module *m = &e->m;
    if (s->lanes == 1)
        return total;
    const spv_id mine = shared_at(e, f->local);
    SPV_DO(m, SPV_STORE, mine, total);
    for (uint32_t half = s->lanes / 2; half; half /= 2) {
        meet(e);
        const spv_id lower =
            SPV(m, SPV_U_LESS_THAN, e->bool_, f->lane, gpu_index(e, half));
        const spv_id end = open_if(e, lower);
        const int64_t away = (int64_t)half * (s->by_rows ? 1 : s->columns);
        const spv_id other =
            shared_at(e, index_op(e, SPV_I_ADD, f->local, away));
        const spv_id a = SPV(m, SPV_LOAD, e->f32, mine);
        const spv_id b = SPV(m, SPV_LOAD, e->f32, other);
        SPV_DO(m, SPV_STORE, mine, combine(e, s->kind, a, b));
        close_if(e, end);
    }
    return SPV(m, SPV_LOAD, e->f32, mine); /* written by this lane itself */
}

static void emit_result(gpu_emitter *e, const frame *f, spv_id total)
{
    const gpu_reduce_spec *s = f->s;
    spv_module *m = &e->m;
    const spv_id first =
        SPV(m, SPV_I_EQUAL, e->bool_, f->lane, gpu_index(e, 0));
    const spv_id writes = SPV(m, SPV_LOGICAL_AND, e->bool_, first, f->inside);
    const spv_id end = open_if(e, writes);
    const spv_id address = gpu_argument(e, s->map.in_count);
    const spv_id before = index_op(e, SPV_I_MUL, f->part, f->outputs);
    const spv_id at = SPV(m, SPV_I_ADD, e->index, before, f->output);
    const tn_dtype dtype = s->map.out[0].dtype;
    if (s->accumulate)
        total = gpu_add(e, gpu_load(e, address, at, dtype), total);
    gpu_store(e, address, at, dtype, total);
    close_if(e, end);
}

uint32_t *gpu_emit_reduce(const gpu_reduce_spec *s, uint32_t *word_count)
{
    gpu_emitter e;
    frame f = {.s = s};
    make_walks(s, &f);
    gpu_emit_begin(&e, &s->map, f.outputs * s->splits, s->lanes > 1);
    place(&e, &f);
    const spv_id total = emit_tree(&e, &f, emit_loop(&e, &f, e.entry));
    emit_result(&e, &f, total);
    return gpu_emit_end(&e, word_count);
}
