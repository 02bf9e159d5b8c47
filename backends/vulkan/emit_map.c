/*
 * emit_map.c - element-wise kernels: one invocation for each element.
 */
#include "emit.h"

static void emit_body(gpu_emitter *e, const gpu_map_spec *s,
                      const gpu_walk *walk)
{
    spv_id address[TN_MAP_MAX_INPUTS], r[TN_MAP_MAX_INSTRUCTIONS];
    spv_id to[TN_MAP_MAX_OUTPUTS];
    const gpu_element at = {
        .spec = s, .walks = walk, .walk_count = 1, .address = address};
    for (uint32_t i = 0; i < s->in_count; i++)
        address[i] = gpu_argument(e, i);
    for (uint32_t i = 0; i < s->out_count; i++)
        to[i] = gpu_offset(e, walk, s->out[i].stride);
    if (!s->program.instruction_count) {
        const spv_id from = gpu_offset(e, walk, s->in[0].stride);
        const tn_dtype dtype = s->in[0].dtype;
        gpu_store_bits(e, gpu_argument(e, 1), to[0], dtype,
                       gpu_load_bits(e, address[0], from, dtype));
        return;
    }
    gpu_emit_program(e, &at, r);
    for (uint32_t i = 0; i < s->out_count; i++)
        gpu_store(e, gpu_argument(e, s->in_count + i), to[i], s->out[i].dtype,
                  r[s->program.output[i]]);
}

/* The row that the index names, as a number and as whether there is one. */
static spv_id read_index(gpu_emitter *e, const gpu_walk *walk, int64_t rows,
                         spv_id *valid)
{
    spv_module *m = &e->m;
    int64_t by_row[TN_MAX_RANK] = {1};
    const spv_id at = gpu_offset(e, walk, by_row);
    const spv_id bits = gpu_load_bits(e, gpu_argument(e, 1), at, TN_I32);
    *valid = SPV(m, SPV_U_LESS_THAN, e->bool_, bits,
                 gpu_u32(e, (uint32_t)rows)); /* -1 is 2^32 - 1 */
    const spv_id row = SPV(m, SPV_SELECT, e->u32, *valid, bits, gpu_u32(e, 0));
    return e->wide ? SPV(m, SPV_U_CONVERT, e->u64, row) : row;
}

static void emit_gather(gpu_emitter *e, const gpu_map_spec *s,
                        const gpu_walk *walk, int64_t rows)
{
    spv_module *m = &e->m;
    spv_id valid;
    int64_t stride[TN_MAX_RANK];
    for (uint32_t i = 0; i < s->rank; i++)
        stride[i] = i ? s->in[0].stride[i] : 0;
    const spv_id row = read_index(e, walk, rows, &valid);
    const spv_id begin =
        SPV(m, SPV_I_MUL, e->index, row, gpu_index(e, s->in[0].stride[0]));
    const spv_id from =
        SPV(m, SPV_I_ADD, e->index, begin, gpu_offset(e, walk, stride));
    const tn_dtype dtype = s->in[0].dtype;
    const spv_id bits = gpu_load_bits(e, gpu_argument(e, 0), from, dtype);
    gpu_store_bits(e, gpu_argument(e, 2), walk->counter, dtype,
                   SPV(m, SPV_SELECT, e->u32, valid, bits, gpu_u32(e, 0)));
}

/* Begin a kernel of one invocation for each element; returns the label behind
 * the body. */
static spv_id begin(gpu_emitter *e, const gpu_map_spec *s, int64_t reach,
                    gpu_walk *walk)
{
    int64_t elements = 1;
    gpu_emit_begin(e, s, reach, 0);
    spv_module *m = &e->m;
    walk->count = s->rank;
    for (uint32_t i = 0; i < s->rank; i++) {
        walk->axis[i] = i;
        elements *= s->shape[i];
    }
    const spv_id before = SPV(m, SPV_I_MUL, e->index, gpu_workgroup(e),
                              gpu_index(e, GPU_LOCAL_SIZE));
    walk->counter = SPV(m, SPV_I_ADD, e->index, before, gpu_invocation(e));
    const spv_id inside = SPV(m, SPV_U_LESS_THAN, e->bool_, walk->counter,
                              gpu_index(e, elements));
    const spv_id body = spv_new(m), end = spv_new(m);
    SPV_DO(m, SPV_SELECTION_MERGE, end, 0);
    SPV_DO(m, SPV_BRANCH_CONDITIONAL, inside, body, end);
    SPV_DO(m, SPV_LABEL, body);
    return end;
}

static uint32_t *finish(gpu_emitter *e, spv_id end, uint32_t *word_count)
{
    SPV_DO(&e->m, SPV_BRANCH, end);
    SPV_DO(&e->m, SPV_LABEL, end);
    return gpu_emit_end(e, word_count);
}

uint32_t *gpu_emit_map(const gpu_map_spec *s, uint32_t *word_count)
{
    gpu_emitter e;
    gpu_walk walk;
    const spv_id end = begin(&e, s, 0, &walk);
    emit_body(&e, s, &walk);
    return finish(&e, end, word_count);
}

uint32_t *gpu_emit_gather(const gpu_map_spec *s, int64_t rows,
                          uint32_t *word_count)
{
    gpu_emitter e;
    gpu_walk walk;
    const spv_id end = begin(&e, s, rows * s->in[0].stride[0], &walk);
    emit_gather(&e, s, &walk, rows);
    return finish(&e, end, word_count);
}
