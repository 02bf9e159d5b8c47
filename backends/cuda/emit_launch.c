/*
 * emit_launch.c - what is moved and computed element by element: how many
 * elements a thread takes, and the launch.
 */
#include "emit_launch.h"

void gpu_dense(uint32_t rank, const int64_t *shape, int64_t *stride)
{
    int64_t step = 1;
    for (uint32_t i = rank; i-- > 0;) {
        stride[i] = step;
        step *= shape[i];
    }
}

/* Whether four elements in a row are one aligned piece of memory at every
 * element whose number is a multiple of four, or one element four times. */
static int goes_by_four(const gpu_map_spec *s, const gpu_view *view,
                        uint64_t address, int is_output)
{
    const int64_t last = view->stride[s->rank - 1];
    if (last == 0 && !is_output)
        return 1;
    if (last != 1 || address % (4 * gpu_bytes(view->dtype)))
        return 0;
    for (uint32_t i = 0; i + 1 < s->rank; i++)
        if (view->stride[i] % 4)
            return 0;
    return 1;
}

uint32_t gpu_vector_of(const gpu_map_spec *s, const gpu_addresses *a)
{
    if (!s->rank || s->shape[s->rank - 1] % 4)
        return 1;
    for (uint32_t i = 0; i < s->in_count; i++)
        if (!gpu_is_rng(&s->program, i) &&
            !goes_by_four(s, &s->in[i], a->at[i], 0))
            return 1;
    for (uint32_t i = 0; i < s->out_count; i++)
        if (!goes_by_four(s, &s->out[i], a->at[s->in_count + i], 1))
            return 1;
    return 4;
}

tn_status gpu_launch_map(gpu_compiler *c, gpu_map_spec *s,
                         const gpu_addresses *a, tn_error *err)
{
    gpu_fold(s);
    s->vector = gpu_vector_of(s, a);
    const int64_t threads = gpu_size(s->shape, 0, s->rank) / s->vector;
    if (!threads)
        return TN_OK;
    return gpu_launch_text(
        c, gpu_emit_map(s), a, sizeof a->at,
        (gpu_grid){gpu_ceil(threads, GPU_BLOCK), 1, 1, GPU_BLOCK, 0}, err);
}

tn_status gpu_launch_copy(gpu_compiler *c, uint32_t rank, const int64_t *shape,
                          uint64_t from, const gpu_view *from_view, uint64_t to,
                          const gpu_view *to_view, tn_error *err)
{
    gpu_map_spec s = {.rank = rank, .in_count = 1, .out_count = 1};
    const gpu_addresses a = {{from, to}, 2};
    for (uint32_t i = 0; i < rank; i++)
        s.shape[i] = shape[i];
    s.in[0] = *from_view;
    s.out[0] = *to_view;
    s.program.instruction[0] = (tn_instruction){.op = TN_MAP_INPUT};
    s.program.instruction_count = 1;
    s.program.input_count = 1;
    s.program.output_count = 1;
    return gpu_launch_map(c, &s, &a, err);
}

tn_status gpu_launch_fill(gpu_compiler *c, uint64_t to, int64_t count,
                          tn_dtype dtype, double value, tn_error *err)
{
    gpu_map_spec s = {.rank = 1, .out_count = 1, .shape = {count}};
    const gpu_addresses a = {{to}, 1};
    s.out[0] = (gpu_view){dtype, {1}};
    s.program.instruction[0] = (tn_instruction){.op = TN_MAP_CONST};
    s.program.instruction_count = 1;
    s.program.constant[0] = value;
    s.program.constant_count = 1;
    s.program.output_count = 1;
    return gpu_launch_map(c, &s, &a, err);
}
